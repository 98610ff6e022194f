"""How much a test does that could always do more, and which tests `make test` leaves to `make test-more`."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest

_EFFORT = int(os.environ.get("DPUNETOP_EFFORT", "1"))
_LIST = Path(__file__).parents[1] / "data" / "more.txt"


def times(count: int) -> int:
    """`count` random walks or examples, times DPUNETOP_EFFORT: 1, in `make test-more` 8; the first are the same."""
    return count * _EFFORT


@dataclass(frozen=True, slots=True)
class Part:
    """A test, or a file of tests, of which `make test` runs some cases."""

    name: str
    kept: int
    reason: str


def parts() -> list[Part]:
    """What the list says. Raises: ValueError for a line that is none."""
    lines = [line for line in _LIST.read_text().splitlines() if line and not line.startswith("#")]
    rows = [[cell.strip() for cell in line.split(" | ", 2)] for line in lines]
    return [Part(name, int(kept), reason) for name, kept, reason in rows]


def leave_to_more(items: list[pytest.Item]) -> None:
    """Mark as `more` the cases that the list leaves to `make test-more`; which, depends on their number alone."""
    listed, cases = {part.name: part for part in parts()}, defaultdict[str, list[pytest.Item]](list)
    for item in items:
        test = item.nodeid.partition("[")[0]
        for name in {test, test.partition("::")[0]} & listed.keys():
            cases[name].append(item)
    for name, found in cases.items():
        for item in _without(found, listed[name].kept):
            item.add_marker(pytest.mark.more)


def _without(items: list[pytest.Item], kept: int) -> list[pytest.Item]:
    stays = {number * len(items) // kept for number in range(kept)}
    return [item for number, item in enumerate(items) if number not in stays]
