"""Rule 7, an abort concerns the whole host: the drain is aborted for every DPU that wants it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dpunetop.domain.drain.model.calls import Done, Procedure, Result, store
from dpunetop.domain.drain.model.facts import HoldReason, HostNode, HostRef, OnTimeout, Reason
from dpunetop.domain.drain.model.hoststate import HostState, Move
from dpunetop.domain.drain.model.maintenances import is_taken_back, mark_host
from dpunetop.domain.drain.model.reads import read_budget, read_host, read_maintenance
from dpunetop.domain.drain.model.record import Cycle, State
from dpunetop.domain.drain.protection.blockers import BudgetState, Form, write_budget
from dpunetop.domain.drain.rules.records import is_ours
from dpunetop.domain.drain.rules.waiting import is_overdue


def abort_taken_back(host_state: HostState) -> Move | None:
    """Abort after a person uncordoned the host, also while it is only to be given back: it must not be cordoned
    again."""
    marked = isinstance(host_state.host, HostNode) and host_state.host.mark is True
    if not host_state.taken_back or not (host_state.active or marked):
        return None
    return AbortTakenBack(_abort(host_state, Reason.HOST_UNCORDONED))


def abort_overdue(host_state: HostState) -> Move | None:
    """Abort an overdue drain, but only while no budget of the host has been open: afterwards its DPU may be down."""
    if host_state.view.settings.on_timeout is not OnTimeout.ABORT or not is_overdue(host_state):
        return None
    if any(cycle.opened or host_state.is_parting(dpu) for dpu, cycle in host_state.cycles):
        return None
    return _abort(host_state, Reason.DRAIN_TIMEOUT)


def _abort(host_state: HostState, reason: Reason) -> Abort:
    found = ((dpu.name, host_state.cycle(dpu)) for dpu in host_state.active)
    return Abort(
        host_state.view.host_ref, tuple((name, cycle) for name, cycle in found if cycle is not None), str(reason)
    )


def wait_for_uncordon(host_state: HostState) -> Move | None:
    """An aborted drain waits until the DPU is uncordoned; no drain begins before."""
    for dpu, cycle in host_state.cycles:
        if cycle.state is State.ABORTED and host_state.is_parting(dpu):
            host = host_state.view.host_ref.host
            words = f"a person or a controller has uncordoned {host} while it was led out; cordon it to go on"
            return HoldReason(Reason.ABORTED, words)
        if cycle.state is State.ABORTED:
            words = f"the drain of {dpu.name} is aborted ({cycle.reason}); uncordon it, nothing begins before"
            return HoldReason(Reason.ABORTED, words)
    return None


@dataclass(frozen=True, slots=True)
class Abort:
    """Abort the drain of a host in the record of every DPU that wants it, with its budget closed in the same write.

    `dpus` are these DPUs, each with the record that was seen.
    """

    host_ref: HostRef
    dpus: tuple[tuple[str, Cycle], ...]
    reason: str

    def run(self) -> Procedure:
        """See `calls.Task`."""
        for dpu, seen in self.dpus:
            read = yield from read_budget(self.host_ref, dpu)
            if read is None or not is_ours(read, self.host_ref) or read.cycle != seen:
                return Done(Result.STALE, f"{dpu}: the record has changed since it was looked at")
            cycle = replace(read.cycle, state=State.ABORTED, reason=self.reason)
            yield from store(
                write_budget(self.host_ref, read, BudgetState(Form.CLOSED, read.serves, cycle, read.leaving))
            )
        return Done(Result.DONE, f"{self.host_ref.host}: the drain is aborted: {self.reason}")


@dataclass(frozen=True, slots=True)
class AbortTakenBack:
    """Abort because a person has uncordoned the host, if fresh reads of maintenance and host confirm it.

    An earlier cordon does not count any more: the last change was the uncordon.
    """

    abort: Abort

    def run(self) -> Procedure:
        """See `calls.Task`."""
        host_ref = self.abort.host_ref
        found = yield from read_maintenance(host_ref)
        host: HostNode | None = yield from read_host(host_ref)
        if found is None or host is None or not is_taken_back(found, host):
            return Done(Result.STALE, f"{host_ref.host}: it was not taken back")
        done = yield from self.abort.run()
        if done.result is Result.DONE and host.mark:
            yield from store(mark_host(host_ref, host, False))
        return done
