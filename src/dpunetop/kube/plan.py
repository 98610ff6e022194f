"""The result of a decision: ordered steps. Each carries the live object that the decision saw, so every write has a
precondition, and a stale cache can neither merge into a stranger's object nor recreate a deleted one."""

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
"""The API rejects a longer note of an Event."""


class Fence(Enum):
    """The precondition of a write on the live object."""

    UID = auto()
    """The uid is the same."""
    VERSION = auto()
    """The uid and the resourceVersion are the same."""


class Ownership(Enum):
    """Who owns the fields that we do not list, if the object has lost its `managedFields`, which would tell."""

    WHOLE = auto()
    """We own the members that we list (`spec`, `data`) with all their content: the apply removes what we do not list in
    them."""
    SHARED = auto()
    """We own what we list; the rest belongs to others and stays."""


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply `desired`, which holds exactly the fields that `field_manager` owns.

    `live` None means create only: the write fails with Conflict if the object exists. An object that this process has
    created itself since the decision is applied to; with `Fence.VERSION` it is left unchanged.
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
    """Merge-patch members that an apply must not own or release; sent with uid and resourceVersion of `live`."""

    cluster: str
    resource: Resource
    live: Obj
    patch: Obj


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete `live`; done at once if it is gone or already terminating."""

    cluster: str
    resource: Resource
    live: Obj
    fence: Fence = Fence.UID


@dataclass(frozen=True, slots=True)
class Emit:
    """Record an Event about `regarding`; the recorder aggregates equal ones.

    Guarantees: the note is one printable line of ASCII, at most `NOTE_LIMIT` long.
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
    """By condition type: the Events to record once this write has changed its status or reason."""


Step = Apply | Patch | Delete | ApplyStatus | Emit


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in the order that makes them safe, and when to requeue the key (None: only on the next change).

    Guarantees: the executor stops at the first step that fails and tries no later step.
    """

    steps: tuple[Step, ...] = ()
    requeue_after_seconds: float | None = None

    def then(self, *steps: Step) -> Plan:
        """The same plan with `steps` appended."""
        return Plan((*self.steps, *steps), self.requeue_after_seconds)
