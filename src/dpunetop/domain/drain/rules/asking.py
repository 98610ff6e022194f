"""Rules 9 and 10: request the drain of the host unless another owner drains it, and remember its earlier cordon."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dpunetop.domain.drain.model.calls import Done, Procedure, QuorumGet, Result, Steps, fetch, store
from dpunetop.domain.drain.model.facts import (
    DrainOverride,
    HoldReason,
    HostNode,
    HostRef,
    MaintenancePhase,
    NodeGone,
    Reason,
)
from dpunetop.domain.drain.model.hoststate import HostState, Move
from dpunetop.domain.drain.model.maintenances import (
    is_abandoned,
    is_left_over,
    is_outdated,
    mark_host,
    new_maintenance,
    renew_maintenance,
    unmark_host,
)
from dpunetop.domain.drain.model.reads import read_budget, read_host, read_maintenance, read_maintenances, read_node
from dpunetop.domain.drain.model.record import NOTE_LIMIT, Cycle, State
from dpunetop.domain.drain.model.sidebyside import side_by_side
from dpunetop.domain.drain.protection.blockers import state_of, write_budget
from dpunetop.domain.drain.rules.failing import backing_off
from dpunetop.domain.drain.rules.records import Rewrite, if_closed, is_ours, is_own
from dpunetop.domain.drain.rules.waiting import how_to_end, in_own_drain
from dpunetop.domain.names import DPUCLUSTERCONFIGS, FORCE_DELETE_ANNOTATION
from dpunetop.kube.errors import ApiError, Conflict, Forbidden, Invalid
from dpunetop.kube.keys import INFRA
from dpunetop.kube.meta import Obj, annotations_of, is_terminating, name_of, namespace_of, uid_of


def drain_again(host_state: HostState) -> Move | None:
    """Drain the host again: its own machine-config operator is, or was, at work under our maintenance, or its Node was
    registered again."""
    own = host_state.own
    if own is None or own.phase is MaintenancePhase.FAILED or not host_state.active or not host_state.is_outdated:
        return None
    if host_state.is_in_own_drain:
        return in_own_drain(host_state)
    return Renew(host_state.view.host_ref, own.uid) if own.phase is MaintenancePhase.SUCCEEDED else None


def wait_for_foreign(host_state: HostState) -> Move | None:
    """Wait for the end of another owner's NodeMaintenance; it is never deleted."""
    if host_state.foreign is None:
        return None
    host = host_state.view.host_ref.host
    words = f"another writer made the maintenance {host_state.foreign.name} of {host}; the drain waits for its end"
    kept = how_to_end(host_state.foreign)
    return HoldReason(Reason.FOREIGN_MAINTENANCE, f"{words}; {kept}" if kept else words)


def resume(host_state: HostState) -> Move | None:
    """Drain a host again that was uncordoned during a deletion, once its DPU is cordoned."""
    if host_state.maintenances or not isinstance(host_state.host, HostNode) or not host_state.host.cordoned:
        return None
    for dpu, cycle in host_state.cycles:
        if cycle.state is State.ABORTED and host_state.is_parting(dpu):
            anew = replace(
                cycle, state=State.STARTING, reason="", maintenance="", since=host_state.view.host_ref.author.now
            )
            return Rewrite(host_state.view.host_ref, dpu.name, cycle, anew, if_closed(dpu))
    return None


def wait_for_host(host_state: HostState) -> Move | None:
    """Wait for a host whose Node is absent, until its DPU is unpaired or forced."""
    if not isinstance(host_state.host, NodeGone) or (host_state.host.confirmed and not host_state.active):
        return None
    words = f"the tenant has no node {host_state.view.host_ref.host}; unpair its DPU, or force it"
    return HoldReason(Reason.HOST_ABSENT, words)


def adopt(host_state: HostState) -> Move | None:
    """The NodeMaintenance of the host becomes that of every cycle that wants the drain."""
    own = host_state.own
    if own is None:
        return None
    for dpu in host_state.active:
        cycle = host_state.cycle(dpu)
        if cycle is not None and (cycle.state, cycle.maintenance) != (State.DRAINING, own.uid):
            return Adopt(host_state.view.host_ref, dpu.name, own.uid)
    return None


def ask(host_state: HostState) -> Move | None:
    """The host is asked to drain, or the reason why it is not asked now."""
    if host_state.own is not None or not host_state.active:
        return None
    if host_state.is_in_own_drain:
        return in_own_drain(host_state)
    if isinstance(host_state.host, HostNode) and host_state.host.terminating:
        return HoldReason(Reason.HOST_ABSENT, f"{host_state.view.host_ref.host} is being deleted from its cluster")
    if waiting := backing_off(host_state):
        return waiting
    first = host_state.active[0]
    ending = host_state.view.config if host_state.is_parting(first) else None
    return host_state.view.not_now or Create(host_state.view.host_ref, first.name, ending)


@dataclass(frozen=True, slots=True)
class Adopt:
    """Record the host's maintenance in the DPU's cycle."""

    host_ref: HostRef
    dpu: str
    maintenance: str

    def run(self) -> Procedure:
        """See `calls.Task`."""
        found, read = yield from side_by_side(read_maintenance(self.host_ref), read_budget(self.host_ref, self.dpu))
        if found is None or not found.ours or found.terminating or found.uid != self.maintenance:
            return Done(Result.STALE, f"{self.dpu}: the maintenance has changed since it was looked at")
        if read is None or not is_own(read, self.host_ref) or read.cycle is None or not _is_wanted(read.cycle):
            return Done(Result.STALE, f"{self.dpu}: the record has changed since it was looked at")
        cycle = replace(read.cycle, state=State.DRAINING, maintenance=found.uid)
        yield from store(write_budget(self.host_ref, read, replace(state_of(read), cycle=cycle)))
        return Done(Result.DONE, f"{self.dpu}: its host is being drained")


@dataclass(frozen=True, slots=True)
class Create:
    """Create the maintenance that drains the host, and record whether the host was cordoned before.

    The host is read before the list shows that no maintenance exists, and marked as it was read: so a cordon that goes
    with another maintenance is not taken for a person's.
    """

    host_ref: HostRef
    dpu: str
    """A DPU that wants the drain; its record counts refusals."""
    ending: Obj | None = None
    """The DpuClusterConfig whose end requests the drain; None: the DPU's cordon does."""

    def run(self) -> Procedure:
        """See `calls.Task`."""
        is_wanted = self._is_cordoned() if self.ending is None else self._is_parting(self.ending)
        wanted, host = yield from side_by_side(is_wanted, read_host(self.host_ref))
        if not wanted:
            return Done(Result.STALE, f"{self.dpu}: wants no drain")
        if host is None or host.terminating or host.in_own_drain:
            return Done(Result.STALE, f"{self.host_ref.host}: has changed since it was looked at")
        if (is_abandoned(host) and host.cordoned) or (host.mark is not None and not is_left_over(host)):
            return Done(Result.STALE, f"{self.host_ref.host}: has yet to be restored")
        if (yield from read_maintenances(self.host_ref)):
            return Done(Result.STALE, f"{self.host_ref.host}: there is a maintenance")
        before = host.earlier_cordon if host.mark is None else host.mark
        yield from store(mark_host(self.host_ref, host, before))
        try:
            yield from store(new_maintenance(self.host_ref, before, host))
        except Conflict:
            return Done(Result.STALE, f"{self.host_ref.host}: there is a maintenance")
        except (Forbidden, Invalid) as refusal:
            return (yield from self._refused(refusal))
        return Done(Result.DONE, f"{self.host_ref.host}: is to be drained")

    def _is_cordoned(self) -> Steps[bool]:
        node = yield from read_node(self.dpu)
        return node is not None and node.cordoned and node.override is not DrainOverride.SKIP

    def _is_parting(self, ending: Obj) -> Steps[bool]:
        live = yield from fetch(QuorumGet(INFRA, DPUCLUSTERCONFIGS, namespace_of(ending), name_of(ending)))
        if live is None or uid_of(live) != uid_of(ending) or not is_terminating(live):
            return False
        read = yield from read_budget(self.host_ref, self.dpu)
        return FORCE_DELETE_ANNOTATION not in annotations_of(live) and read is not None and is_ours(read, self.host_ref)

    def _refused(self, refusal: ApiError) -> Steps[Done]:
        """Record the refusal, then remove the mark, which means nothing any more. The mark of a host that an earlier
        maintenance has left cordoned stays: only it shows that the host should be schedulable."""
        read = yield from read_budget(self.host_ref, self.dpu)
        if read is not None and is_own(read, self.host_ref) and read.cycle is not None:
            note = " ".join(refusal.message.split())[:NOTE_LIMIT]
            failures = max(read.cycle.failures + 1, 2)  # a refusal is never retried at once
            now = self.host_ref.author.now
            cycle = replace(read.cycle, failures=failures, failed_at=now, failed="", note=note)
            yield from store(write_budget(self.host_ref, read, replace(state_of(read), cycle=cycle)))
        host = yield from read_host(self.host_ref)
        if host is not None and host.mark is not None and not is_left_over(host):
            yield from store(unmark_host(self.host_ref, host))
        return Done(Result.REFUSED, f"{self.host_ref.host}: {refusal.message}")


@dataclass(frozen=True, slots=True)
class Renew:
    """Have the host drained once more under its maintenance, after its own machine-config operator was at work there,
    or its Node was registered again.

    Guarantees: not while that operator is at work. Until the host is drained again the maintenance counts as running.
    """

    host_ref: HostRef
    maintenance: str
    """UID."""

    def run(self) -> Procedure:
        """See `calls.Task`."""
        found = yield from read_maintenance(self.host_ref)
        host = yield from read_host(self.host_ref)
        if found is None or not found.ours or found.terminating or found.uid != self.maintenance or host is None:
            return Done(Result.STALE, f"{self.host_ref.host}: the maintenance has changed since it was looked at")
        if found.phase is not MaintenancePhase.SUCCEEDED or host.in_own_drain or not is_outdated(found, host):
            return Done(Result.STALE, f"{self.host_ref.host}: has changed since it was looked at")
        yield from store(renew_maintenance(self.host_ref, found, host))
        return Done(Result.DONE, f"{self.host_ref.host}: is to be drained again")


def _is_wanted(cycle: Cycle) -> bool:
    return cycle.state in (State.STARTING, State.DRAINING)
