"""The record of a running drain, on the budget of the DPU: all that is remembered, so that any process can go on.

A record is written anew with every step, under a number drawn anew: so the budget's resourceVersion changes, and a
write that was decided before fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """How far a cycle is."""

    STARTING = "starting"
    """The drain is wanted; no maintenance of this cycle is known."""
    DRAINING = "draining"
    """The maintenance that the record names drains the host, or has done so."""
    RETURNING = "returning"
    """The cordon was taken back; the host is to be given back."""
    ABORTED = "aborted"
    """The drain is given up, although the cordon stands."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """What the record says. Times are whole seconds of the epoch."""

    state: State
    term: str
    """The leadership that wrote it; a new leader takes over before it decides."""
    number: str = ""
    reason: str = ""
    """Why it was aborted; stays when the cordon is taken back: a host that a person uncordoned needs no proof."""
    maintenance: str = ""
    """UID of the NodeMaintenance of this cycle; empty: none is known."""
    opened: bool = False
    """Whether the budget may have been open in this cycle, so that the DPU may have been down."""
    disturbed: bool = False
    """Whether the DPU may have been down in this cycle without an opening: another boot or other containers were seen,
    or the record began when our NodeMaintenance existed already, so its past is unknown."""
    node: str = ""
    """UID of the infra Node."""
    boot: str = ""
    """Boot ID of the DPU as last recorded."""
    pod: str = ""
    containers: tuple[str, ...] = ()
    """UID and container IDs of its ovnkube-node pod as seen in that boot."""
    stale: tuple[str, ...] = ()
    """Container IDs of boots before that: that they look Ready proves nothing."""
    booted_at: int = 0
    """When that boot was first seen in this cycle; 0: it is the one in which the cycle began."""
    since: int = 0
    """When the drain was first wanted."""
    asked_at: int = 0
    """When the host's drain was first asked for in this cycle; 0: not yet."""
    opened_at: int = 0
    """When the budget was opened last in this cycle; 0: it was not."""
    returned_at: int = 0
    """When the cordon was seen to be taken back; 0: it stands."""
    failures: int = 0
    """How often a maintenance of this cycle failed or was refused."""
    failed_at: int = 0
    failed: str = ""
    """UID of the maintenance that failed last, so that each counts once."""
    note: str = ""
    """The last refusal, for a person."""

    @property
    def may_have_been_down(self) -> bool:
        """Whether anything happened in this cycle after which the DPU's network has to be proven."""
        return self.opened or self.disturbed or bool(self.booted_at)


def lost_record(state: State, term: str) -> Cycle:
    """A record in place of one that is lost: the budget may have been open, and the DPU down."""
    return Cycle(state, term=term, opened=True)


LONG_AGO = 1
"""When a DPU is taken to have booted of whose past nothing is known: what runs is started anew without waiting."""
STALE_LIMIT = 64
"""So many containers of earlier boots are remembered, the youngest."""
NOTE_LIMIT = 200

VERSION = 2
"""Of the form that is written. Form 1, which names no version, remembers no disturbance and no times but the first."""

_FLAT = ("term", "number", "maintenance", "node", "boot", "pod", "failed", "note")
_COUNTS = ("booted_at", "since", "asked_at", "opened_at", "returned_at", "failures", "failed_at")
_LISTS = ("containers", "stale")
_FLAGS = ("opened", "disturbed")


def render_cycle(cycle: Cycle) -> str:
    """The text of the annotation: equal cycles give equal text; what is empty is left out."""
    state = f"{cycle.state}/{cycle.reason}" if cycle.reason else str(cycle.state)
    found: dict[str, Any] = {"v": VERSION, "state": state}
    for name in (*_FLAT, *_COUNTS, *_FLAGS):
        if value := getattr(cycle, name):
            found[name] = value
    for name in _LISTS:
        if values := getattr(cycle, name):
            found[name] = list(values)
    return json.dumps(found, sort_keys=True, separators=(",", ":"))


def parse_cycle(text: str | None) -> Cycle | None:
    """Read the annotation, in the form of any version; None: there is none.

    Guarantees: `state` means the same in every form, so that a drain that was given up stays so. What an older form
        does not say is taken as it is safe. Text in a newer form, or with a member that is not as it should be, counts
        as a cycle of unknown past: it may have been open, and it has to be taken over; nothing is lost that can be
        read. Of text that is no record at all nothing is known, not even a maintenance.
    """
    if text is None:
        return None
    try:
        found = json.loads(text)
        state, _, reason = found["state"].partition("/")
        members = {"state": State(state), "reason": reason}
    except (ValueError, TypeError, KeyError, AttributeError):
        return lost_record(State.STARTING, term="")
    version = found.get("v", 1)
    is_whole = version in (1, VERSION)
    for name, read in _READERS.items():
        try:
            members |= {name: read(found[name])} if name in found else {}
        except (ValueError, TypeError):
            is_whole = False
    cycle = Cycle(**{"term": "", **members})
    if not is_whole:
        return replace(cycle, term="", opened=True)
    return cycle if version == VERSION else _from_first_form(cycle)


def _from_first_form(cycle: Cycle) -> Cycle:
    """Containers that started anew in the same boot were not remembered as a disturbance."""
    asked_at = cycle.since if cycle.maintenance else 0
    return replace(cycle, disturbed=True, asked_at=asked_at, opened_at=cycle.since if cycle.opened else 0)


def _as_list(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(str(item) for item in value)


_READERS: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(_FLAT, str),
    **dict.fromkeys(_COUNTS, int),
    **dict.fromkeys(_LISTS, _as_list),
    **dict.fromkeys(_FLAGS, bool),
}


def stamped(before: Cycle | None, after: Cycle, now: int) -> Cycle:
    """The record as it is written in place of `before`, with the times of what it says for the first time."""
    if after.state is State.DRAINING and not after.asked_at:
        after = replace(after, asked_at=now)
    returns = after.state is State.RETURNING and (before is None or before.state is not State.RETURNING)
    return replace(after, returned_at=now) if returns else after


def begun_anew(cycle: Cycle, now: int) -> Cycle:
    """The record of a drain that is wanted once more before the one before it was over."""
    return replace(
        cycle, state=State.STARTING, reason="", since=now, asked_at=0, opened_at=0, failures=0, note="", returned_at=0
    )


def seen_in_boot(cycle: Cycle, boot: str, pod: str, containers: tuple[str, ...], now: int) -> Cycle:
    """The record after the DPU was seen with this boot ID and these containers.

    Guarantees: containers of an earlier boot stay known as stale; what is not seen now changes nothing; another boot,
        or other containers than those recorded, are remembered as a disturbance. In a record of unknown past all that
        runs counts as stale. After a reboot the containers that are seen first count as stale too, unless some were
        recorded in the boot before: those that ran in it may never have been recorded.
    """
    if not boot:
        return cycle
    if not cycle.boot and cycle.may_have_been_down:  # of an unknown past: what runs now may be from before a reboot
        return replace(cycle, boot=boot, booted_at=LONG_AGO, stale=tuple(sorted(containers))[-STALE_LIMIT:])
    if cycle.boot and boot != cycle.boot:
        seen = () if cycle.containers else containers
        stale = tuple(dict.fromkeys((*cycle.stale, *cycle.containers, *seen)))[-STALE_LIMIT:]
        return replace(cycle, boot=boot, booted_at=now, pod="", containers=(), stale=stale, disturbed=True)
    fresh = tuple(sorted(set(containers) - set(cycle.stale)))
    if not fresh:
        return replace(cycle, boot=boot)
    disturbed = cycle.disturbed or fresh != cycle.containers
    return replace(cycle, boot=boot, pod=pod, containers=fresh, disturbed=disturbed)
