"""Whether a regular expression may take more than linear time, read off its structure.

What backtracks is a walk over all ways to read a prefix of the text. Their number is bounded, and so the time linear,
unless some text leads from a repeated place back to itself, from there on to another repeated place, and from that back
to itself: two repetitions that share a text and follow one another, or one inside of the other. A search begins
anywhere, as if a repetition of every character stood before the expression.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

sre: Any = import_module("re._constants")
parser: Any = import_module("re._parser")

FEW = 10
"""A repetition of at most so many is no repetition here, unless it stands directly around another."""
_ALPHABET = [*map(chr, range(256)), "\u0660", "\u2003", "\u2028", "\u4e00"]
_ALL = frozenset(range(len(_ALPHABET)))
_DEAD: frozenset[int] = frozenset()
_CHARS: dict[tuple[Any, str, int], frozenset[int]] = {}
"""What an item of an expression takes: its operation, its argument and the flags."""
_AHEAD = 1


@dataclass
class _Part:
    """What Glushkov's construction knows of a part of an expression."""

    first: set[int] = field(default_factory=set)
    last: set[int] = field(default_factory=set)
    nullable: bool = True


class _Automaton:
    """Positions of an expression with the characters of each, and which may follow which."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.chars: list[frozenset[int]] = []
        self.follow: set[tuple[int, int]] = set()
        self.few: set[tuple[int, int]] = set()
        self.problems: list[str] = []
        self.behind: frozenset[int] | None = None
        tree = parser.parse(pattern.pattern, pattern.flags & ~re.DEBUG)
        self._flags = pattern.flags
        self.whole = self._sequence(tree)

    def _sequence(self, items: Any) -> _Part:
        whole = _Part()
        for op, argument in items:
            part = self._part(op, argument)
            self._link(whole.last, part.first, few=False)
            if whole.nullable:
                whole.first |= part.first
            whole.last = part.last | whole.last if part.nullable else part.last
            whole.nullable = whole.nullable and part.nullable
        return whole

    def _part(self, op: Any, argument: Any) -> _Part:
        if op in (sre.LITERAL, sre.NOT_LITERAL, sre.IN, sre.ANY, sre.CATEGORY):
            return self._position(self._chars(op, argument))
        if op in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            return self._repeat(*argument)
        if op is sre.SUBPATTERN:
            return self._sequence(argument[-1])
        if op is sre.ATOMIC_GROUP:
            return self._sequence(argument)
        if op is sre.BRANCH:
            return self._branch(argument[1])
        if op is sre.AT:
            return self._position(_DEAD) if argument in (sre.AT_END, sre.AT_END_STRING) else _Part()
        if op is sre.ASSERT and argument[0] == _AHEAD:
            return _Part(first=self._sequence(argument[1]).first)
        if op is sre.ASSERT_NOT and argument[0] != _AHEAD and not self.chars and len(argument[1]) == 1:
            inner = argument[1][0]
            self.behind = self._chars(inner[0], inner[1])
            return _Part()
        self.problems.append(f"{op} is not understood here")
        return _Part()

    def _chars(self, op: Any, argument: Any) -> frozenset[int]:
        key = (op, repr(argument), self._flags)  # most expressions are made of few characters and classes
        if key not in _CHARS:
            _CHARS[key] = frozenset(i for i, char in enumerate(_ALPHABET) if self._takes(op, argument, char))
        return _CHARS[key]

    def _position(self, chars: frozenset[int]) -> _Part:
        self.chars.append(chars)
        here = {len(self.chars) - 1}
        return _Part(set(here), set(here), nullable=False)

    def _repeat(self, least: int, most: Any, body: Any) -> _Part:
        part = self._sequence(body)
        if part.nullable and part.first:
            self.problems.append("what is repeated, or optional, may be empty")
        if most is sre.MAXREPEAT or most > 1:
            few = most is not sre.MAXREPEAT and most <= FEW
            self._link(part.last, part.first, few=few)
        return _Part(part.first, part.last, part.nullable or least == 0)

    def _branch(self, branches: Any) -> _Part:
        parts = [self._sequence(branch) for branch in branches]
        if sum(part.nullable for part in parts) > 1:
            self.problems.append("several alternatives may be empty")
        first, last = (set().union(*sets) for sets in zip(*((p.first, p.last) for p in parts), strict=True))
        return _Part(first, last, any(part.nullable for part in parts))

    def _link(self, before: set[int], after: set[int], *, few: bool) -> None:
        for edge in ((a, b) for a in before for b in after):
            if edge in self.follow or edge in self.few:
                self.problems.append("one repetition stands directly in another")
            (self.few if few else self.follow).add(edge)

    def _takes(self, op: Any, argument: Any, char: str) -> bool:
        match op:
            case sre.LITERAL:
                return self._same(argument, char)
            case sre.NOT_LITERAL:
                return not self._same(argument, char)
            case sre.ANY:
                return char != "\n" or bool(self._flags & re.DOTALL)
            case sre.RANGE:
                return bool(argument[0] <= ord(char) <= argument[1])
            case sre.CATEGORY:
                return re.fullmatch(_CATEGORIES[argument], char, self._flags & re.ASCII) is not None
            case sre.IN:
                negated = argument[0][0] is sre.NEGATE
                return any(self._takes(item[0], item[1], char) for item in argument[negated:]) is not negated
        raise AssertionError(op)

    def _same(self, code: int, char: str) -> bool:
        if self._flags & re.IGNORECASE:
            return chr(code).lower() == char.lower()
        return code == ord(char)


_CATEGORIES = {
    sre.CATEGORY_DIGIT: r"\d",
    sre.CATEGORY_NOT_DIGIT: r"\D",
    sre.CATEGORY_SPACE: r"\s",
    sre.CATEGORY_NOT_SPACE: r"\S",
    sre.CATEGORY_WORD: r"\w",
    sre.CATEGORY_NOT_WORD: r"\W",
}


def faults(pattern: re.Pattern[str], *, searched: bool) -> list[str]:
    """Why `pattern` may take more than linear time; `searched`: it is looked for, and not matched from the start on."""
    automaton = _Automaton(pattern)
    found = list(automaton.problems)
    if pattern.flags & re.IGNORECASE and any(ord(char) > 127 for char in pattern.pattern):
        found.append("ignores the case of letters beyond ASCII")
    chars, edges = list(automaton.chars), set(automaton.follow)
    before = _with_search(automaton, chars, edges) if searched else set()
    steps: dict[int, set[int]] = {at: {b for a, b in edges if a == at} for at in range(len(chars))}
    after = {at: _reachable(steps, at) for at in steps}
    loops = [at for at in steps if at in after[at]]
    for p in loops:
        for q in loops:
            harmless = p in before and q in automaton.whole.last  # once there, the search has found something
            if p != q and not harmless and q in after[p] and _shares(chars, steps, p, q):
                found.append(f"two repetitions follow one another and share a text (positions {p} and {q})")
    return found


def _with_search(automaton: _Automaton, chars: list[frozenset[int]], edges: set[tuple[int, int]]) -> set[int]:
    """Add what a search skips: characters after which the expression may begin, and those after which it may not."""
    behind = automaton.behind or _DEAD
    may, may_not = len(chars), len(chars) + 1
    chars += [_ALL - behind, behind]
    edges |= {(a, b) for a in (may, may_not) for b in (may, may_not)}
    edges |= {(may, first) for first in automaton.whole.first}
    return {may, may_not}


def _reachable(steps: dict[int, set[int]], start: int) -> set[int]:
    seen: set[int] = set()
    todo = list(steps[start])
    while todo:
        if (at := todo.pop()) not in seen:
            seen.add(at)
            todo += steps[at]
    return seen


def _shares(chars: list[frozenset[int]], steps: dict[int, set[int]], p: int, q: int) -> bool:
    """Whether one text leads from `p` to `p`, from `p` to `q` and from `q` to `q`."""
    start, end = (p, p, q), (p, q, q)
    seen: set[tuple[int, int, int]] = set()
    todo = [start]
    while todo:
        for after in _together(chars, steps, todo.pop()):
            if after == end:
                return True
            if after not in seen:
                seen.add(after)
                todo.append(after)
    return False


def _together(
    chars: list[frozenset[int]], steps: dict[int, set[int]], at: tuple[int, int, int]
) -> Iterator[tuple[int, int, int]]:
    one, two, three = (steps[each] for each in at)
    for a in one:
        for b in two:
            if common := chars[a] & chars[b]:
                yield from ((a, b, c) for c in three if common & chars[c])
