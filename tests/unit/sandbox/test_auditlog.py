"""Of a log that is being written, whole lines are read, and each of them once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dpunetop.sandbox.auditlog import AuditLog


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


def event(user: str, verb: str) -> bytes:
    return json.dumps({"user": {"username": user}, "verb": verb}).encode() + b"\n"


@pytest.mark.parametrize(
    ("user", "verb", "expected"),
    [
        (None, None, ["eve get", "eve patch", "bob get"]),
        ("eve", None, ["eve get", "eve patch"]),
        (None, "get", ["eve get", "bob get"]),
        ("bob", "patch", []),
    ],
)
def test_audit_events_are_selected_by_user_and_verb(
    file: Path, user: str | None, verb: str | None, expected: list[str]
) -> None:
    file.write_bytes(event("eve", "get") + event("eve", "patch") + event("bob", "get") + b'{"half of a li')
    found = [f"{e['user']['username']} {e['verb']}" for e in AuditLog(file).events(0, user, verb)]
    assert found == expected


def test_an_event_without_a_user_is_nobodys(file: Path) -> None:
    file.write_bytes(b'{"user": {}, "verb": "get"}\n')  # the token was no good
    assert list(AuditLog(file).events(0, "eve", None)) == []


def test_each_line_is_read_once_and_not_before_it_is_complete(file: Path) -> None:
    log, whole, position, seen = AuditLog(file), event("eve", "get") * 3, 0, []
    for shown in range(0, len(whole) + 1, 7):
        file.write_bytes(whole[:shown])
        assert log.end() <= shown
        lines, position = log.lines(position)
        seen += lines
    file.write_bytes(whole)
    assert seen + log.lines(position)[0] == [event("eve", "get")] * 3


def test_a_mark_in_the_middle_of_a_write_is_the_end_of_the_line_before(file: Path) -> None:
    file.write_bytes(event("eve", "get") + b'{"half of a li')
    log = AuditLog(file)
    mark = log.end()
    file.write_bytes(event("eve", "get") + event("bob", "get"))
    assert [found["user"]["username"] for found in log.events(mark, None, None)] == ["bob"]


def test_a_log_without_a_line_ends_where_it_begins(file: Path) -> None:
    file.write_bytes(b"{")
    assert AuditLog(file).end() == 0
