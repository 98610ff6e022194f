"""Rule 8, a failed drain: its maintenance is deleted and created again, first at once, then after growing pauses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dpunetop.domain.drain.model.calls import Done, Procedure, Result
from dpunetop.domain.drain.model.facts import HoldReason, HostRef, MaintenancePhase, Reason
from dpunetop.domain.drain.model.hoststate import HostState, Move
from dpunetop.domain.drain.model.reads import read_host
from dpunetop.domain.drain.rules.records import Rewrite, if_closed
from dpunetop.domain.drain.rules.returning import (
    ENDING,
    DpuCheck,
    Guard,
    broken_of,
    deletable,
    remember_cordon,
    take_away,
)
from dpunetop.domain.drain.rules.waiting import failure


def end_failed(host_state: HostState) -> Move | None:
    """Count each failure once, then delete the maintenance although the drain is wanted."""
    own, host_ref = host_state.own, host_state.view.host_ref
    if own is None or own.phase is not MaintenancePhase.FAILED or not host_state.active:
        return None
    for dpu in host_state.active:
        cycle = host_state.cycle(dpu)
        if cycle is not None and cycle.failed != own.uid:
            counted = replace(
                cycle,
                failures=cycle.failures + 1,
                failed=own.uid,
                failed_at=host_ref.author.now,
                note="",
                maintenance=own.uid,
            )
            return Rewrite(host_ref, dpu.name, cycle, counted, if_closed(dpu))
    serving = (dpu for dpu in host_state.view.dpus if host_state.serves(dpu))
    return EndFailedMaintenance(host_ref, own.uid, tuple(DpuCheck(dpu.name, dpu.blocker) for dpu in serving))


@dataclass(frozen=True, slots=True)
class EndFailedMaintenance:
    """Delete a failed maintenance although the drain is wanted; a new one is created afterwards."""

    host_ref: HostRef
    maintenance: str
    dpu_checks: tuple[DpuCheck, ...]

    def run(self) -> Procedure:
        """See `calls.Task`."""
        found = yield from deletable(self.host_ref, self.maintenance)
        if isinstance(found, Done):
            return found
        if found.phase is not MaintenancePhase.FAILED:
            return Done(Result.STALE, f"{self.host_ref.host}: the maintenance has not failed")
        if (broken := (yield from broken_of(self.host_ref, self.dpu_checks, FAILED))) is not None:
            return broken
        host = yield from read_host(self.host_ref)
        yield from remember_cordon(self.host_ref, found, host, None)
        yield from take_away(self.host_ref, found)
        return Done(Result.DONE, f"{self.host_ref.host}: the failed maintenance is taken away")


FAILED: Mapping[str, Guard] = {name: ENDING[name] for name in ("the budget is closed",)}
"""The guards that must hold before a failed maintenance is deleted although the drain is wanted: its host becomes
schedulable."""
FIRST_RETRY_SECONDS = 10
LAST_RETRY_SECONDS = 300


def retry_pause(failures: int) -> int:
    """Seconds to wait after this many failures: none after the first, then growing."""
    if failures <= 1:
        return 0
    return int(min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(failures - 2, 10)))


def pause_left(host_state: HostState) -> int:
    """Seconds until the next attempt after failures; 0: it may be tried now."""
    now = host_state.view.host_ref.author.now
    ends = [
        cycle.failed_at + retry_pause(cycle.failures) for dpu, cycle in host_state.cycles if host_state.is_active(dpu)
    ]
    left = max(ends, default=now) - now
    return max(0, min(left, LAST_RETRY_SECONDS))  # a clock that was set back must not prolong the wait


def backing_off(host_state: HostState) -> HoldReason | None:
    """Why the host is not asked to drain again yet; None: it may be asked."""
    left = pause_left(host_state)
    if not left:
        return None
    note = next((cycle.note for _, cycle in host_state.cycles if cycle.note), "")
    if note:
        return HoldReason(
            Reason.MAINTENANCE_REFUSED, f"the tenant refuses to drain {host_state.view.host_ref.host}: {note}"
        )
    return failure("it is tried again after a pause")
