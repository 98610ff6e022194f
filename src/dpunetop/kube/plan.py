"""What a decision asks for: ordered steps. Each carries the live object that the decision saw, so every write says
what it expects and a stale cache can neither merge into a stranger's object nor revive a deleted one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Literal

from dpunetop.base.quoting import printable
from dpunetop.kube.conditions import Condition
from dpunetop.kube.keys import Resource
from dpunetop.kube.meta import Obj

NOTE_LIMIT = 1024
"""The API takes no longer note of an Event."""


class Fence(Enum):
    """What must still be true of the live object when the write arrives."""

    UID = auto()
    """It is the same object."""
    VERSION = auto()
    """It is the same object and nobody has changed it."""


class Ownership(Enum):
    """Whose the object is, for the day on which its `managedFields` were lost: then nobody can tell whose a field is
    that we do not list."""

    WHOLE = auto()
    """Of the members of the object that we list (`spec`, `data`), all that is in them is ours; what we do not list of
    it goes."""
    SHARED = auto()
    """What we list is ours, the rest is others'."""


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply `desired`, which holds exactly the fields that `field_manager` owns.

    `live` None means create-only: the write fails with Conflict if anything is there. What this process has made itself
    meanwhile is applied to; with `Fence.VERSION` it is left as it is.
    """

    cluster: str
    resource: Resource
    desired: Obj
    live: Obj | None
    field_manager: str
    fence: Fence = Fence.UID
    ownership: Ownership = Ownership.SHARED


@dataclass(frozen=True, slots=True)
class Patch:
    """Merge-patch members that must not be given up by an apply; with uid and resourceVersion of `live`."""

    cluster: str
    resource: Resource
    live: Obj
    patch: Obj


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete `live`; one that is gone, or already terminating, counts as done."""

    cluster: str
    resource: Resource
    live: Obj
    fence: Fence = Fence.UID


@dataclass(frozen=True, slots=True)
class Emit:
    """Tell a person who looks at `regarding`: one Event, aggregated with its like.

    Guarantees: the note is one printable line of ASCII, at most `NOTE_LIMIT` long, as the message of a Condition is.
    """

    cluster: str
    resource: Resource
    regarding: Obj
    type: Literal["Normal", "Warning"]
    reason: str
    note: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "note", printable(self.note, NOTE_LIMIT))


@dataclass(frozen=True, slots=True)
class ApplyStatus:
    """Server-side apply of our conditions, and of other status members, to the status of `live`.

    The executor adds transition times and observedGeneration (kube.conditions.stamp).
    """

    cluster: str
    resource: Resource
    live: Obj
    conditions: tuple[Condition, ...]
    field_manager: str
    members: Mapping[str, Any] = field(default_factory=dict)
    telling: Mapping[str, Emit] = field(default_factory=dict)
    """By type of condition: what to tell once this write has changed its status or reason."""


Step = Apply | Patch | Delete | ApplyStatus | Emit


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in the order that makes them safe, and when to look again without being woken (None: only when woken).

    Guarantees: the executor stops at the first step that fails; no later step has then been tried.
    """

    steps: tuple[Step, ...] = ()
    requeue_after_seconds: float | None = None

    def then(self, *steps: Step) -> Plan:
        """The same plan with `steps` behind it."""
        return Plan((*self.steps, *steps), self.requeue_after_seconds)
