"""What `make test` leaves to `make test-more`: all of it is there, with a reason, and none of it is forgotten."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from support import effort

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("part", effort.parts(), ids=lambda part: part.name)
def test_what_is_left_to_test_more_is_there_with_a_reason(part: effort.Part) -> None:
    path, _, name = part.name.partition("::")
    assert not name or re.search(rf"^def {name}\(", (ROOT / path).read_text(), re.MULTILINE)
    assert (ROOT / path).exists()
    assert part.reason


def test_each_is_listed_once() -> None:
    names = [part.name for part in effort.parts()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("kept", "stays"), [(0, []), (1, ["a"]), (2, ["a", "c"]), (4, ["a", "b", "c", "d"])])
def test_the_cases_that_stay_are_evenly_chosen(monkeypatch: pytest.MonkeyPatch, kept: int, stays: list[str]) -> None:
    monkeypatch.setattr(effort, "parts", lambda: [effort.Part("tests/x.py::test_y", kept, "slow")])
    marked: set[str] = set()
    items = [item(name, marked) for name in "abcd"]
    effort.leave_to_more(cast(Any, [*items, item("z", marked, "tests/z.py::test_z")]))
    assert sorted({"a", "b", "c", "d"} - marked) == stays
    assert "z" not in marked


def item(name: str, marked: set[str], test: str = "tests/x.py::test_y") -> Any:
    return SimpleNamespace(nodeid=f"{test}[{name}]", add_marker=lambda _: marked.add(name))


def test_ci_runs_both() -> None:
    commands = (ROOT / ".ci" / "run").read_text().splitlines()
    assert {"make test", "exec make test-more"} <= set(commands)
