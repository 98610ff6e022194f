"""Settings in the tenant's script library, found in its text by a few patterns; it is never run.

The library is shell text with the tenant's settings as literals in it, such as `if [[ "true" == "true" ]]` around an
option. So a small part of shell is evaluated: which `if` holds, by comparisons of two literals. Everything else is
skipped. The result has only listed options, each with a value that matches its pattern.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from dpunetop.domain.ovnkube.settingstable.rows import AsOption, Row, Rows

SIZE_LIMIT_BYTES = 128 * 1024
_LONGEST_LINE = 1000

_LITERAL = r"\"([A-Za-z0-9./:_-]{0,64})\""
_COMPARISON = re.compile(rf"{_LITERAL} (==|!=) {_LITERAL}")
_NODE_MODE = re.compile(r"\"\$\{OVN_NODE_MODE\}\" (==|!=) \"(?:dpu-host|dpu|smart-nic)\"")
_IF = re.compile(r"if\s")
_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z0-9-]*)")
_VALUE = re.compile(r"([ =])\"?([^\"\s\\]{0,200})")
_LONGEST_OPTION = 60


class Said(Enum):
    """The verdict on an option that occurs, but without a usable value."""

    OFF = "off"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Library:
    """The options found in a script library."""

    options: Mapping[str, str | Said]
    """By name: the text of a value, "" of a switch that is on. Absent: it does not occur, or is not understood."""
    others: tuple[str, ...]
    """Names of options in force that are not listed; sorted."""
    active: str
    """All lines that are in force, one below the other."""


def read_library(text: str, options: Rows) -> Library | None:
    """Find the listed options, and name those that are not listed.

    Guarantees: an option counts as set if it is set anywhere outside of an `if` that does not hold for the mode of an
        ordinary node, because the zone on a DPU is to behave like its neighbours. One that is set to two different
        values, or to an impossible one, counts as not understood. None: the text is too large.
    """
    if len(text) > SIZE_LIMIT_BYTES:
        return None
    lines = tuple(_lines(text))
    active = "\n".join(line for line, in_force in lines if in_force)
    spelled = {match.group(1) for match in _OPTION.finditer(active)}
    others = sorted(name[:_LONGEST_OPTION] for name in spelled if name not in options)
    return Library(_asked(options, lines), tuple(others), active)


@dataclass(slots=True)
class _Block:
    """One `if` that is open at a line."""

    outer: bool
    """Whether the text around it is in force."""
    in_force: bool = False
    taken: bool = False
    """Whether a branch so far holds for certain, so that no later one does."""

    def enter(self, holds: bool | None) -> None:
        """Enter a branch whose condition holds, does not, or (None) cannot be judged: then it may be in force."""
        self.in_force = self.outer and not self.taken and holds is not False
        self.taken = self.taken or holds is True


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """Each line that may set an option, and whether it is in force."""
    blocks: list[_Block] = []
    for raw in text.split("\n"):
        line = raw.strip(" \t\r")
        if not line or line[0] == "#" or len(line) > _LONGEST_LINE:
            continue
        if not _follow(blocks, line):
            yield line, _in_force(blocks)


def _follow(blocks: list[_Block], line: str) -> bool:
    """Keep track of `if`; False: the line is not part of one."""
    if _IF.match(line) and not line.endswith("fi"):
        blocks.append(_Block(_in_force(blocks)))
        blocks[-1].enter(_holds(line))
    elif line == "fi" and blocks:
        blocks.pop()
    elif line == "else" and blocks:
        blocks[-1].enter(None)
    elif line.startswith("elif ") and blocks:
        blocks[-1].enter(_holds(line))
    else:
        return False
    return True


def _in_force(blocks: list[_Block]) -> bool:
    return not blocks or blocks[-1].in_force


def _holds(condition: str) -> bool | None:
    """Whether a condition holds on an ordinary node; it does not if one of its comparisons fails."""
    told = [(left == right) is (sign == "==") for left, sign, right in _COMPARISON.findall(condition)]
    told += [sign == "!=" for sign in _NODE_MODE.findall(condition)]
    if not told or " || " in condition:
        return None
    return all(told)


def _asked(options: Rows, lines: tuple[tuple[str, bool], ...]) -> dict[str, str | Said]:
    spelled: dict[str, set[str | Said]] = {}
    for line, in_force in lines:
        for name, sign, text in _spelled(line):
            if name in options:
                said = _said(options[name], sign, text) if in_force else Said.OFF
                spelled.setdefault(name, set()).add(said)
    asked = {name: said - {Said.OFF} or {Said.OFF} for name, said in spelled.items()}
    return {name: said.pop() for name, said in asked.items() if len(said) == 1 and Said.UNCLEAR not in said}


def _spelled(line: str) -> Iterator[tuple[str, str, str]]:
    """Each option of a line, with the text between it and its value, and that value; both may be empty."""
    for option in _OPTION.finditer(line):
        value = _VALUE.match(line, option.end())
        sign, text = value.groups() if value is not None else ("", "")
        yield option.group(1), sign, text


def _said(row: Row, sign: str, text: str) -> str | Said:
    form = row.verdict.form if isinstance(row.verdict, AsOption) else None
    if form is None:
        return Said.OFF if (sign, text) == ("=", "false") else ""
    if not text:
        return Said.OFF
    return text if form.fullmatch(text) else Said.UNCLEAR
