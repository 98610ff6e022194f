"""The notifications that a store sends to its handlers."""

from __future__ import annotations

from dataclasses import dataclass

from dpunetop.kube.meta import Obj


@dataclass(frozen=True, slots=True)
class Change:
    """An object was added (`old` None), changed, or deleted (`new` None).

    Guarantees: the uids may differ, because a deletion and a recreation may arrive as one change.
        `final_state_unknown`: a list found the deletion, so `old` is the last state seen, which may not be the final
        one (DeletedFinalStateUnknown of client-go).
    """

    old: Obj | None
    new: Obj | None
    final_state_unknown: bool = False


@dataclass(frozen=True, slots=True)
class Synced:
    """The store has synced: it holds a complete list for the first time, whose objects were the changes before."""


@dataclass(frozen=True, slots=True)
class NotCurrent:
    """The store is not kept up to date now; `Informer.trouble` says why."""
