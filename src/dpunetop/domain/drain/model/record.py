"""The record of a running drain, on the budget of the DPU. It holds all state, so that any process can go on.

Every step writes the record with a new random number: so the budget's resourceVersion changes, and a write that was
decided before fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """The state of a cycle."""

    STARTING = "starting"
    """The drain is wanted; no maintenance of this cycle is known."""
    DRAINING = "draining"
    """The maintenance in the record drains the host, or has drained it."""
    RETURNING = "returning"
    """The cordon is removed; the host is to be given back."""
    ABORTED = "aborted"
    """The drain is aborted, although the cordon stands."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """The content of the record. Times are whole seconds of the epoch."""

    state: State
    term: str
    """The leadership that wrote it; a new leader takes it over before it decides."""
    number: str = ""
    reason: str = ""
    """Why it was aborted; kept after the cordon is removed, because a host that a person uncordoned needs no proof."""
    maintenance: str = ""
    """UID of the NodeMaintenance of this cycle; empty: none."""
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
    """UID and container IDs of its ovnkube-node pod, as seen in that boot."""
    stale: tuple[str, ...] = ()
    """Container IDs of earlier boots: if they look Ready, that proves nothing."""
    booted_at: int = 0
    """When that boot was first seen in this cycle; 0: the cycle began in it."""
    since: int = 0
    """When the drain was first wanted."""
    asked_at: int = 0
    """When the host's drain was first asked for in this cycle; 0: not yet."""
    opened_at: int = 0
    """When the budget was last opened in this cycle; 0: never."""
    returned_at: int = 0
    """When the cordon was seen to be removed; 0: it stands."""
    failures: int = 0
    """The number of maintenances of this cycle that failed or were refused."""
    failed_at: int = 0
    failed: str = ""
    """UID of the maintenance that failed last, so that each counts once."""
    note: str = ""
    """The last refusal, for a person."""

    @property
    def may_have_been_down(self) -> bool:
        """Whether the DPU may have been down in this cycle, so that its network has to be proven."""
        return self.opened or self.disturbed or bool(self.booted_at)


def lost_record(state: State, term: str) -> Cycle:
    """A record in place of a lost one: the budget may have been open, and the DPU down."""
    return Cycle(state, term=term, opened=True)


LONG_AGO = 1
"""The boot time of a DPU whose past is unknown: its pod is restarted without waiting."""
STALE_LIMIT = 64
"""The number of containers of earlier boots that are kept, the youngest."""
NOTE_LIMIT = 200

VERSION = 2
"""Version of the form that is written. Form 1, which names no version, has no `disturbed` and only the first time."""

_FLAT = ("term", "number", "maintenance", "node", "boot", "pod", "failed", "note")
_COUNTS = ("booted_at", "since", "asked_at", "opened_at", "returned_at", "failures", "failed_at")
_LISTS = ("containers", "stale")
_FLAGS = ("opened", "disturbed")


def render_cycle(cycle: Cycle) -> str:
    """The text of the annotation: equal cycles give equal text; empty members are left out."""
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

    Guarantees: `state` means the same in every form, so that an aborted drain stays aborted. Members that an older form
        lacks get their safe value. Text in a newer form, or with an invalid member, counts as a cycle of unknown past:
        it may have been open, and has to be taken over; all valid members are kept. Text that is no record at all gives
        an unknown cycle without a maintenance.
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
    """The first form did not record containers that restarted in the same boot as a disturbance."""
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
    """The record that replaces `before`, with the times of the steps that it has for the first time."""
    if after.state is State.DRAINING and not after.asked_at:
        after = replace(after, asked_at=now)
    returns = after.state is State.RETURNING and (before is None or before.state is not State.RETURNING)
    return replace(after, returned_at=now) if returns else after


def begun_anew(cycle: Cycle, now: int) -> Cycle:
    """The record of a drain that is wanted again before the previous one was over."""
    return replace(
        cycle, state=State.STARTING, reason="", since=now, asked_at=0, opened_at=0, failures=0, note="", returned_at=0
    )


def seen_in_boot(cycle: Cycle, boot: str, pod: str, containers: tuple[str, ...], now: int) -> Cycle:
    """The record after the DPU was seen with this boot ID and these containers.

    Guarantees: containers of an earlier boot stay known as stale; a container that is not seen now changes nothing;
        another boot, or containers other than the recorded ones, are recorded as a disturbance. In a record of unknown
        past all running containers count as stale. After a reboot the containers that are seen first count as stale
        too, unless some were recorded in the boot before: those that ran in it may never have been recorded.
    """
    if not boot:
        return cycle
    if not cycle.boot and cycle.may_have_been_down:  # the past is unknown: what runs now may be from before a reboot
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
