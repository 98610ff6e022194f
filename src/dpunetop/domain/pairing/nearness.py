"""Suggestions for a mistyped name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from dpunetop.base.quoting import named

_MOST = 2
_LOOKED_AT = 2000
_LONGEST = 80


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` (did you mean …?)` with the names of `known` that resemble `name`; empty: none does.

    Guarantees: bounded work: it compares few names, and few characters of each.
    """
    likely = sorted(each for each in known if len(each) <= _LONGEST and abs(len(each) - len(name)) <= _LONGEST // 4)
    near = get_close_matches(name[:_LONGEST], likely[:_LOOKED_AT], _MOST, 0.75)
    return f" (did you mean {' or '.join(named(each) for each in near)}?)" if near else ""
