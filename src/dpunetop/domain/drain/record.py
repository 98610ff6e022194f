"""The record of a running drain, on the budget of the DPU: all that is remembered, so that any process can go on.

A record is written anew with every step, under a number drawn anew: so the budget's resourceVersion changes, and a
write that was decided before fails.
"""

from __future__ import annotations

import json
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
    """Why it was aborted; stays when the cordon is taken back, because what was aborted needs no proof."""
    maintenance: str = ""
    """UID of the NodeMaintenance of this cycle; empty: none is known."""
    opened: bool = False
    """Whether the budget may have been open in this cycle, so that the DPU may have been down."""
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
    failures: int = 0
    """How often a maintenance of this cycle failed or was refused."""
    failed_at: int = 0
    failed: str = ""
    """UID of the maintenance that failed last, so that each counts once."""
    note: str = ""
    """The last refusal, for a person."""

    @property
    def needs_proof(self) -> bool:
        """Whether the host may be given back only once the DPU's network is proven."""
        return self.opened and not self.reason


STALE_LIMIT = 64
"""So many containers of earlier boots are remembered, the youngest."""
NOTE_LIMIT = 200

_FLAT = ("term", "number", "maintenance", "node", "boot", "pod", "failed", "note")
_COUNTS = ("booted_at", "since", "failures", "failed_at")
_LISTS = ("containers", "stale")


def render_cycle(cycle: Cycle) -> str:
    """The text of the annotation: equal cycles give equal text; what is empty is left out."""
    found: dict[str, Any] = {"state": f"{cycle.state}/{cycle.reason}" if cycle.reason else str(cycle.state)}
    for name in (*_FLAT, *_COUNTS, "opened"):
        if value := getattr(cycle, name):
            found[name] = value
    for name in _LISTS:
        if values := getattr(cycle, name):
            found[name] = list(values)
    return json.dumps(found, sort_keys=True, separators=(",", ":"))


def parse_cycle(text: str | None) -> Cycle | None:
    """Read the annotation; None: there is none.

    Guarantees: text that nobody of us wrote, or of another version, counts as a cycle of unknown past: it may have
        been open, its maintenance is not known, and it has to be taken over.
    """
    if text is None:
        return None
    try:
        found = json.loads(text)
        state, _, reason = str(found["state"]).partition("/")
        values: dict[str, Any] = {name: str(found.get(name, "")) for name in _FLAT}
        values |= {name: int(found.get(name, 0)) for name in _COUNTS}
        values |= {name: tuple(str(item) for item in found.get(name, ())) for name in _LISTS}
        return Cycle(state=State(state), reason=reason, opened=bool(found.get("opened", False)), **values)
    except (ValueError, TypeError, KeyError, AttributeError):
        return Cycle(State.STARTING, term="", opened=True)


def seen_in_boot(cycle: Cycle, boot: str, pod: str, containers: tuple[str, ...], now: int) -> Cycle:
    """The record after the DPU was seen with this boot ID and these containers.

    Guarantees: containers of an earlier boot stay known as stale; what is not seen now changes nothing. After a second
        reboot in one cycle the containers that are seen first count as stale too, unless some were recorded in the boot
        before: else nobody may have seen those that ran then.
    """
    if not boot:
        return cycle
    if cycle.boot and boot != cycle.boot:
        seen = containers if cycle.stale and not cycle.containers else ()
        stale = tuple(dict.fromkeys((*cycle.stale, *cycle.containers, *seen)))[-STALE_LIMIT:]
        return replace(cycle, boot=boot, booted_at=now, pod="", containers=(), stale=stale)
    fresh = tuple(sorted(set(containers) - set(cycle.stale)))
    if not fresh:
        return replace(cycle, boot=boot)
    return replace(cycle, boot=boot, pod=pod, containers=fresh)
