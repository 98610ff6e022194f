from __future__ import annotations

import json
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import structlog

from dpunetop.app.logs import configure
from dpunetop.runtime.client.connection import Redacted


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave the process's logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def lines(capfd: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    return lambda: capfd.readouterr().err.splitlines()


def logged(lines: Callable[[], list[str]]) -> list[dict[str, Any] | dict[str, str]]:
    return [json.loads(line) for line in lines()]


def without_time(entry: dict[str, str]) -> dict[str, str]:
    assert entry.pop("timestamp").endswith("Z")
    return entry


def test_json_is_one_object_a_line(lines: Callable[[], list[str]]) -> None:
    configure("info", "json")
    structlog.get_logger().bind(controller="pools").info("applied", object="n/m")
    assert [without_time(entry) for entry in logged(lines)] == [
        {"event": "applied", "level": "info", "controller": "pools", "object": "n/m"}
    ]


def test_lines_of_many_threads_do_not_mix_however_long(lines: Callable[[], list[str]]) -> None:
    configure("info", "json")
    log, begin = structlog.get_logger().bind(), threading.Barrier(4)

    def work(name: str) -> None:
        begin.wait()
        for number in range(200):
            log.info("step", by=name, padding="x" * (6000 if number % 50 == 0 else 10))

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(entry["by"] for entry in logged(lines)) == sorted("abcd" * 200)


def test_a_log_line_that_cannot_be_written_stops_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as broken:
        monkeypatch.setattr(sys, "stderr", broken)
        configure("info", "json")
        structlog.get_logger().bind().info("unheard")


@pytest.mark.parametrize(("level", "shown"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_only_lines_from_the_level_on_are_shown(lines: Callable[[], list[str]], level: str, shown: int) -> None:
    configure(level, "json")
    log = structlog.get_logger().bind()
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    assert len(lines()) == shown


def test_console_lines_are_for_people(lines: Callable[[], list[str]]) -> None:
    configure("info", "console")
    structlog.get_logger().bind().info("applied", object="n/m")
    (line,) = lines()
    assert "[info     ] applied" in line
    assert line.endswith("object=n/m")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_libraries_are_heard_from_warning_on_in_the_same_form(lines: Callable[[], list[str]], log_format: str) -> None:
    configure("debug", log_format)
    library = logging.getLogger("kubernetes.client.rest")
    library.info("unheard")
    library.warning("pool is full: %s", "host")
    (line,) = lines()
    assert "pool is full: host" in line
    assert "kubernetes.client.rest" in line


def test_warnings_of_python_are_logged(lines: Callable[[], list[str]]) -> None:
    configure("info", "json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old ways", stacklevel=1)
    (entry,) = logged(lines)
    assert "old ways" in entry["event"]


@dataclass(frozen=True, repr=False)
class Hiding:
    text: str

    def __repr__(self) -> str:
        return "***"


HIDDEN = {
    "a secret": Redacted("hunter2"),
    "a secret in a list": [Redacted("hunter2")],
    "a secret in a map": {"token": Redacted("hunter2")},
    "a dataclass that hides itself": Hiding("hunter2"),
}


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("value", HIDDEN.values(), ids=HIDDEN.keys())
def test_a_sensitive_value_stays_hidden(
    lines: Callable[[], list[str]], log_format: str, value: dict[str, Redacted] | Redacted | list[Redacted] | Hiding
) -> None:
    configure("info", log_format)
    structlog.get_logger().bind().info("connected", credential=value)
    (line,) = lines()
    assert "hunter2" not in line
    assert "***" in line


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_is_shown_without_the_values_of_variables(lines: Callable[[], list[str]], log_format: str) -> None:
    configure("info", log_format)
    token = "".join(("hunter", "2"))
    try:
        raise ValueError(len(token))
    except ValueError:
        structlog.get_logger().bind().exception("reconcile panicked")
    text = "\n".join(lines())
    assert "ValueError: 7" in text
    assert "hunter2" not in text


def test_a_value_without_a_json_form_is_logged_as_its_repr(lines: Callable[[], list[str]]) -> None:
    configure("info", "json")
    structlog.get_logger().bind().info("odd", value=sys, keys={1: 2})
    (entry,) = logged(lines)
    assert entry["value"] == repr(sys)
    assert entry["keys"] == {"1": 2}


HOSTILE = "a\x1b[31mb\x07\u202ec\nlevel=info forged\r\x00é" + "x" * 10_000


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_words_of_strangers_are_one_short_line_of_plain_characters(
    lines: Callable[[], list[str]], log_format: str
) -> None:
    configure("info", log_format)
    structlog.get_logger().bind(of=HOSTILE).warning("refused", error=HOSTILE)
    logging.getLogger("library").warning("refused %s", HOSTILE)
    found = lines()
    assert len(found) == 2
    for line in found:
        assert line.isascii()
        assert line.isprintable()
        assert len(line) < 20_000


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_words_of_strangers_in_a_traceback_pass_for_no_line_of_the_log(
    lines: Callable[[], list[str]], log_format: str
) -> None:
    configure("info", log_format)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        structlog.get_logger().bind().exception("reconcile panicked")
    head, *rest = lines()
    assert "reconcile panicked" in head
    assert all(line.isascii() and line.isprintable() for line in (head, *rest))
    assert all(line.startswith("  ") for line in rest)
