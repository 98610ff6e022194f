"""What a store tells those who follow it."""

from __future__ import annotations

from dataclasses import dataclass

from dpunetop.kube.meta import Obj


@dataclass(frozen=True, slots=True)
class Change:
    """One object became another: `old` None says it is new, `new` None says it is gone.

    Guarantees: the uids may differ, because an object that was deleted and created anew may arrive as one change.
        `final_state_unknown` says that the deletion was found by a list: `old` is the last state seen, not the last
        there was.
    """

    old: Obj | None
    new: Obj | None
    final_state_unknown: bool = False


@dataclass(frozen=True, slots=True)
class Filled:
    """The store holds a complete list for the first time; the changes before this one were its content."""


@dataclass(frozen=True, slots=True)
class Troubled:
    """The store is not kept up to date for now; the informer knows why."""
