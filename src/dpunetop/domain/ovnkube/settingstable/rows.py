"""A row of the table of settings: the name of a setting, and the verdict on it for a DPU.

A process on a DPU does half of the work of its tenant host: it has the zone, the host has the addresses of the pods and
of the node. So each row answers one question: may a DPU do this, or can only its host?
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
class InConfigFile:
    """Followed: stays in the `ovnkube.conf` that pods mount; where pods mount none, it becomes an option."""

    form: re.Pattern[str]
    option: str = ""
    """Name of the option; empty: as the key."""
    unlike: frozenset[str] = frozenset()
    """Values that the DPU does not follow although it gets them."""
    why: str = ""


@dataclass(frozen=True, slots=True)
class AsOption:
    """Followed: given to ovnkube as options. `form` None: they are switches, on if the text is `true`."""

    options: tuple[str, ...]
    form: re.Pattern[str] | None = None
    default: str = ""
    """The default of the tenant's start script."""


@dataclass(frozen=True, slots=True)
class AsVariable:
    """Followed: set as a variable of the pod's environment."""

    variable: str
    form: re.Pattern[str]
    default: str = ""
    """The default of the tenant's start script."""
    otherwise: str = ""
    """Why another value than `form` has is not followed; empty: such a value is not understood."""


@dataclass(frozen=True, slots=True)
class FixedOption:
    """Every DPU gets this option, with this value if there is one."""

    value: str = ""


@dataclass(frozen=True, slots=True)
class ReadElsewhere:
    """The same setting is read from another place."""

    row: str


@dataclass(frozen=True, slots=True)
class NotFollowed:
    """A DPU differs from its neighbours here; that is reported, unless the value is one of `harmless`."""

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
    """The setting does not concern a DPU, whatever its value."""

    why: str


Verdict: TypeAlias = (
    InConfigFile | AsOption | AsVariable | FixedOption | ReadElsewhere | NotFollowed | RefusesTenant | NotForDpu
)


@dataclass(frozen=True, slots=True)
class ReleaseSpan:
    """Releases from `first` to `last`, both included; None: no limit."""

    first: tuple[int, int] | None = None
    last: tuple[int, int] | None = None

    def covers(self, version: tuple[int, int]) -> bool:
        """Whether a release is among them."""
        return (self.first is None or self.first <= version) and (self.last is None or version <= self.last)


EVERY = ReleaseSpan()


class Presence(Enum):
    """Whether every tenant of the releases sets it."""

    ALWAYS = auto()
    """A tenant that does not set it is not understood."""
    WHERE_SET = auto()


@dataclass(frozen=True, slots=True)
class Row:
    """One setting at one place."""

    name: str
    verdict: Verdict
    span: ReleaseSpan = EVERY
    """The supported releases whose sources have it; in any other release it is judged the same way."""
    presence: Presence = Presence.WHERE_SET
    spellings: tuple[re.Pattern[str], ...] = ()
    """Of a literal: patterns for the text of scripts; the first group of the first match is its value."""


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
    """Options that are switches and are given unchanged."""
    return tuple(Row(name, AsOption((name,)), span, presence) for name in names)


def expected(table: Rows, version: tuple[int, int]) -> tuple[Row, ...]:
    """The settings that every tenant of a release has."""
    return tuple(row for row in table.values() if row.presence is Presence.ALWAYS and row.span.covers(version))
