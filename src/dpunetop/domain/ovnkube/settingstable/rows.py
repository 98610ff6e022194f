"""What a row of the table of settings says: the name of a setting, and what becomes of it on a DPU.

A process on a DPU does half of the work of its tenant host: it has the zone, the host has the pods' and the node's own
addresses. So each row answers one question: may a DPU do this, or can only its host?
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

BOOLEAN = re.compile(r"true|false")
NUMBER = re.compile(r"[0-9]{1,10}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")
OFF = frozenset({"", "false"})


@dataclass(frozen=True, slots=True)
class Kept:
    """Followed: stays in the `ovnkube.conf` that pods mount; where pods mount none, it is handed on as an option."""

    form: re.Pattern[str]
    option: str = ""
    """Name of the option; empty: as the key."""
    unlike: frozenset[str] = frozenset()
    """Values that the DPU does not follow although it is told of them."""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Handed:
    """Followed: handed to ovnkube as options. `form` None: they are switches, on if the text is `true`."""

    options: tuple[str, ...]
    form: re.Pattern[str] | None = None
    default: str = ""
    """What the tenant's start script takes where nothing is said."""


@dataclass(frozen=True, slots=True)
class Given:
    """Followed: a variable of the pod's environment has it."""

    variable: str
    form: re.Pattern[str]
    default: str = ""
    """What the tenant's start script takes where nothing is said."""
    otherwise: str = ""
    """Why another value than `form` has is not followed; empty: such a value is not understood."""


@dataclass(frozen=True, slots=True)
class AlwaysGiven:
    """Every DPU is handed this option, with this value if there is one."""

    value: str = ""


@dataclass(frozen=True, slots=True)
class SaidBy:
    """The same setting is read at another place."""

    row: str


@dataclass(frozen=True, slots=True)
class NotFollowed:
    """A DPU differs from its neighbours here, and it is said, unless the value is one of `harmless`."""

    why: str
    harmless: frozenset[str] = OFF


@dataclass(frozen=True, slots=True)
class RefusesTenant:
    """A tenant with it cannot be served, unless the value is one of `harmless`."""

    reason: str
    why: str
    harmless: frozenset[str] = OFF


@dataclass(frozen=True, slots=True)
class NotForDpu:
    """Whatever it says is no matter of a DPU's."""

    why: str


Verdict: TypeAlias = Kept | Handed | Given | AlwaysGiven | SaidBy | NotFollowed | RefusesTenant | NotForDpu


@dataclass(frozen=True, slots=True)
class ReleaseSpan:
    """Releases from `first` to `last`, both included; None: without an end."""

    first: tuple[int, int] | None = None
    last: tuple[int, int] | None = None

    def covers(self, version: tuple[int, int]) -> bool:
        """Whether a release is among them."""
        return (self.first is None or self.first <= version) and (self.last is None or version <= self.last)


EVERY = ReleaseSpan()


class Presence(Enum):
    """Whether each tenant of the releases says something."""

    ALWAYS = auto()
    """One that does not is not understood."""
    WHERE_SET = auto()


@dataclass(frozen=True, slots=True)
class Row:
    """One setting at one place."""

    name: str
    verdict: Verdict
    span: ReleaseSpan = EVERY
    """The supported releases whose sources have it; one that is seen in another release is judged alike."""
    presence: Presence = Presence.WHERE_SET
    spellings: tuple[re.Pattern[str], ...] = ()
    """Of a literal: how it is found in the text of scripts; the first group of the first that matches is its value."""


Rows: TypeAlias = Mapping[str, Row]


def rows(*parts: Row | Iterable[Row]) -> Rows:
    """Rows by name, in order; each name once."""
    found: dict[str, Row] = {}
    for part in parts:
        for row in (part,) if isinstance(part, Row) else part:
            assert row.name not in found, row.name
            found[row.name] = row
    return found


def alike(verdict: Verdict, *names: str, span: ReleaseSpan = EVERY) -> tuple[Row, ...]:
    """Rows that share verdict and reason."""
    return tuple(Row(name, verdict, span) for name in names)


def switches(*names: str, span: ReleaseSpan = EVERY, presence: Presence = Presence.WHERE_SET) -> tuple[Row, ...]:
    """Options that are switches and are handed on as they are."""
    return tuple(Row(name, Handed((name,)), span, presence) for name in names)


def expected(table: Rows, version: tuple[int, int]) -> tuple[Row, ...]:
    """What every tenant of a release says."""
    return tuple(row for row in table.values() if row.presence is Presence.ALWAYS and row.span.covers(version))
