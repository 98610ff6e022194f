"""Rules 5 and 6, giving the host back: the reads that must all hold, then the delete with the version of the first.

An opening marks the NodeMaintenance first, which changes its resourceVersion. So of an opening and a deletion that
overlap one fails, and of two DPUs in a host the last one decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from dpunetop.domain.drain.model.calls import Done, Procedure, Result, Steps, Write, store
from dpunetop.domain.drain.model.facts import (
    Budget,
    DpuNode,
    DpuView,
    DrainOverride,
    HoldReason,
    HostNode,
    HostRef,
    Maintenance,
    Mco,
    NodeGone,
    Reason,
)
from dpunetop.domain.drain.model.hoststate import HostState, Move
from dpunetop.domain.drain.model.maintenances import is_in_use, is_taken_back, leave_host, mark_host, was_cordoned
from dpunetop.domain.drain.model.reads import (
    read_blocker_ready,
    read_budget,
    read_host,
    read_maintenance,
    read_node,
    tell_dpu,
)
from dpunetop.domain.drain.model.record import State
from dpunetop.domain.drain.rules.proof import ends_unproven, needs_proof, prove, vouches
from dpunetop.domain.drain.rules.waiting import how_to_force, in_own_drain, pending_update, stuck_update
from dpunetop.domain.names import DPUCLUSTERCONFIGS, NODEMAINTENANCES
from dpunetop.domain.reasons import event
from dpunetop.kube.keys import INFRA
from dpunetop.kube.meta import Obj, name_of, namespace_of
from dpunetop.kube.plan import Delete, Fence


def wait_to_return(host_state: HostState) -> Move | None:
    """What forbids giving back, proof or no proof."""
    if not host_state.is_to_be_returned:
        return None
    for dpu in host_state.view.dpus:
        if not host_state.serves(dpu):
            continue
        if hold := what_keeps(host_state, dpu):
            return hold
    if host_state.is_in_own_drain and not any(host_state.is_forced(dpu) for dpu in host_state.view.dpus):
        return in_own_drain(host_state)
    return None


def what_keeps(host_state: HostState, dpu: DpuView) -> HoldReason | None:
    """What one DPU shows that forbids giving its host back; None: nothing."""
    if isinstance(dpu.node, NodeGone):
        return (
            None
            if dpu.node.confirmed
            else HoldReason(Reason.DPU_GONE, f"the node {dpu.name} is gone; it may come back")
        )
    if dpu.node.held:
        return HoldReason(Reason.HELD_BY_ANNOTATION, f"a person holds {dpu.name} by annotation")
    cycle = host_state.cycle(dpu)
    refused = dpu.node.override is DrainOverride.SKIP or (cycle is not None and cycle.state is State.ABORTED)
    rests = dpu.node.mco is Mco.IDLE or (refused and dpu.node.mco is not Mco.DRAINED)
    if not rests and not host_state.is_forced(dpu):
        return stuck_update(dpu, dpu.node) or pending_update(dpu.node)
    if not dpu.blocker_ready and not host_state.is_forced(dpu):
        words = f"the blocker of {dpu.name} is not Ready, so nothing would hold its next drain"
        return HoldReason(Reason.BLOCKER_NOT_READY, f"{words}; {how_to_force(dpu.node)}")
    return None


def may_end_maintenance(host_state: HostState) -> bool:
    """Whether nothing is left to be done before the host is given back, and nothing forbids it.

    `end_maintenance` gives it back exactly then; what only matters as long as the maintenance stands can be left out
    when this holds. As a budget that must not be open is closed before, no mark may stand.
    """
    own, host = host_state.own, host_state.host
    if own is None or own.terminating or own.marks or host_state.active or host_state.foreign is not None:
        return False
    if host_state.view.unverified or (isinstance(host, NodeGone) and not host.confirmed):
        return False
    if host_state.taken_back and isinstance(host, HostNode) and host.mark is True:
        return False  # the abort takes the mark back first
    if any(cycle.maintenance != own.uid for _, cycle in host_state.cycles):
        return False
    return wait_to_return(host_state) is None and prove(host_state) is None


def end_maintenance(host_state: HostState) -> Move | None:
    """The host is given back: on proof, or cordoned where nothing proves its network."""
    if host_state.own is None or not may_end_maintenance(host_state):
        return None
    view = host_state.view
    unproven = needs_proof(host_state) and ends_unproven(host_state)
    dpu_checks = dpu_checks_of(host_state)
    before = True if unproven else (False if host_state.was_uncordoned else None)
    why = Because.IN_USE if host_state.is_in_use and not host_state.was_uncordoned else Because.DECIDED
    told = LeftCordoned(view.config, host_state.is_parted) if unproven else None
    return EndMaintenance(view.host_ref, host_state.own.uid, dpu_checks, before, told, why)


def dpu_checks_of(host_state: HostState) -> tuple[DpuCheck, ...]:
    """Every DPU that serves the host, as this decision saw it."""
    return tuple(_dpu_check(host_state, dpu) for dpu in host_state.view.dpus if host_state.serves(dpu))


def _dpu_check(host_state: HostState, dpu: DpuView) -> DpuCheck:
    if isinstance(dpu.node, NodeGone):
        return DpuCheck(dpu.name, dpu.blocker, gone=True)
    proven_boot = dpu.node.boot_id if vouches(host_state, dpu) else None
    return DpuCheck(dpu.name, dpu.blocker, forced=host_state.is_forced(dpu), proven_boot=proven_boot)


HOST_FORCED_BACK = "HostForcedBack"
"""Reason of the Event about a host that is given back without anything being asked of a DPU, because a person says so.
"""
HOST_LEFT_CORDONED = "HostLeftCordoned"
"""Reason of the Event about a host that comes out of its maintenance cordoned, because nothing proved its network."""


@dataclass(frozen=True, slots=True)
class DpuCheck:
    """One DPU as the decision to give its host back saw it."""

    dpu: str
    blocker: str = ""
    """Name of its blocker pod that was Ready."""
    gone: bool = False
    """Its Node is known to be gone; nothing is asked of it but a closed budget."""
    forced: bool = False
    """A person wants it given back whatever it does."""
    proven_boot: str | None = None
    """Boot ID that the proof was about; None: this DPU has nothing to prove."""


@dataclass(frozen=True, slots=True)
class DpuCheckReads:
    """What the reads before the delete showed of one DPU."""

    dpu_check: DpuCheck
    node: DpuNode | None
    budget: Budget | None
    blocker_ready: bool

    @property
    def is_aborted(self) -> bool:
        """Whether its cycle is given up, so that its cordon asks for nothing."""
        cycle = None if self.budget is None else self.budget.cycle
        return cycle is not None and cycle.state is State.ABORTED

    @property
    def exempt(self) -> bool:
        """Whether a person or its absence speaks for it."""
        return self.dpu_check.gone and self.node is None


Guard = Callable[[DpuCheckReads], bool]


def _wants_nothing(seen: DpuCheckReads) -> bool:
    node = seen.node
    if node is None:
        return seen.dpu_check.gone
    return not node.cordoned or node.override is DrainOverride.SKIP or seen.is_aborted


def _mco_rests(seen: DpuCheckReads) -> bool:
    """A drain that is refused here is held back by the budget and may go on asking; what is drained already reboots."""
    if seen.node is None or seen.dpu_check.forced:
        return True
    refused = seen.is_aborted or seen.node.override is DrainOverride.SKIP
    return seen.node.mco is Mco.IDLE or (refused and seen.node.mco is not Mco.DRAINED)


def _is_forced(seen: DpuCheckReads) -> bool:
    """Whether a person still forces what the decision took for forced."""
    return seen.dpu_check.forced and seen.node is not None and seen.node.override is DrainOverride.FORCE


def _is_the_proven_one(seen: DpuCheckReads) -> bool:
    if seen.dpu_check.proven_boot is None:
        return True
    return seen.node is not None and seen.node.ready and seen.node.boot_id == seen.dpu_check.proven_boot


ENDING: Mapping[str, Guard] = {
    "the drain is not wanted": _wants_nothing,
    "nobody holds it": lambda seen: seen.node is None or not seen.node.held,
    "the machine-config operator rests": _mco_rests,
    "the node runs in the boot of the proof": _is_the_proven_one,
    "the budget is closed": lambda seen: seen.budget is not None and not seen.budget.is_open,
    "the blocker is Ready": lambda seen: seen.blocker_ready or seen.exempt or _is_forced(seen),
}
"""All must hold for every DPU of the host. The names are for messages and tests."""


@dataclass(frozen=True, slots=True)
class LeftCordoned:
    """How a host comes out cordoned."""

    config: Obj
    """Whom to tell."""
    is_parted: bool
    """Whether that is because no DPU serves it any more; else nothing has proven its network."""


class Because(Enum):
    """What a decision to give a host back leans on, beside what its DPUs show."""

    DECIDED = auto()
    """The maintenance and the records alone."""
    IN_USE = auto()
    """A person has uncordoned the host, or its Node was registered anew, so that it runs workloads already."""


@dataclass(frozen=True, slots=True)
class EndMaintenance:
    """Delete the maintenance, so that the host gets its workloads back.

    Guarantees: deletes only the maintenance that was read, as it was read, with no mark of an open budget, after all
        guards held for every DPU; before that the host shows whether it was cordoned before.
    """

    host_ref: HostRef
    maintenance: str
    """UID."""
    dpu_checks: tuple[DpuCheck, ...]
    cordoned_before: bool | None = None
    """What the host is to show; None: what it shows already, or else what the maintenance carries."""
    left_cordoned: LeftCordoned | None = None
    """How it comes out cordoned although nothing proves its network; None: it is cordoned only if it was before."""
    because: Because = Because.DECIDED

    def run(self) -> Procedure:
        """See `calls.Task`."""
        found = yield from deletable(self.host_ref, self.maintenance)
        if isinstance(found, Done):
            return found
        if (broken := (yield from first_broken(self.host_ref, self.dpu_checks))) is not None:
            return broken
        host = yield from read_host(self.host_ref)
        if forbidden := self._forbidden(found, host):
            return Done(Result.STALE, f"{self.host_ref.host}: {forbidden}")
        if self.left_cordoned is not None and self.left_cordoned.is_parted:
            yield from _leave(self.host_ref, found, host)
        else:
            yield from remember_cordon(self.host_ref, found, host, self.cordoned_before)
        yield Write(delete_maintenance(self.host_ref, found))
        yield from tell_end(self.host_ref, self.dpu_checks, self.left_cordoned)
        return Done(Result.DONE, f"{self.host_ref.host}: is given back")

    def _forbidden(self, found: Maintenance, host: HostNode | None) -> str:
        """What the host shows that forbids it; its own operator would find it uncordoned in the middle of an update."""
        if self.because is Because.IN_USE and (host is None or not is_in_use(found, host)):
            return "is not in use"
        is_forced = any(dpu_check.forced for dpu_check in self.dpu_checks)
        is_at_work = host is not None and host.in_own_drain and not is_forced
        return "its own machine-config operator is at work there" if is_at_work else ""


def tell_end(host_ref: HostRef, dpu_checks: tuple[DpuCheck, ...], left_cordoned: LeftCordoned | None) -> Steps[None]:
    """Say that the host comes out cordoned, on the DpuClusterConfig and on the Nodes of its DPUs; else which of them
    was asked for nothing."""
    if left_cordoned is None:
        for dpu_check in dpu_checks:
            if dpu_check.forced:
                dpu = dpu_check.dpu
                words = f"host {host_ref.host} is given back, and nothing was asked of {dpu}: its drain ends by force"
                yield from tell_dpu(dpu_check.dpu, HOST_FORCED_BACK, words)
        return
    words = f"host {host_ref.host} is left cordoned: {_why(left_cordoned, dpu_checks)}. Uncordon it yourself"
    yield event(INFRA, DPUCLUSTERCONFIGS, left_cordoned.config, HOST_LEFT_CORDONED, words)
    for dpu_check in dpu_checks:
        yield from tell_dpu(dpu_check.dpu, HOST_LEFT_CORDONED, words)


def _why(left_cordoned: LeftCordoned, dpu_checks: tuple[DpuCheck, ...]) -> str:
    if left_cordoned.is_parted:
        name = f"{namespace_of(left_cordoned.config)}/{name_of(left_cordoned.config)}"
        return f"no DPU serves it any more. Served by DpuClusterConfig {name} anew, it becomes schedulable on proof"
    forced = ", ".join(dpu_check.dpu for dpu_check in dpu_checks if dpu_check.forced)
    return "nothing has shown that its network works" + (f", and the drain of {forced} ends by force" if forced else "")


def deletable(host_ref: HostRef, uid: str) -> Steps[Maintenance | Done]:
    """The NodeMaintenance as read now, or why it must not be deleted."""
    found = yield from read_maintenance(host_ref)
    if found is None or not found.ours or found.terminating or found.uid != uid:
        return Done(Result.STALE, f"{host_ref.host}: the maintenance is not as it was seen")
    if found.marks:
        return Done(Result.STALE, f"{host_ref.host}: a budget may be open")
    return found


def first_broken(host_ref: HostRef, dpu_checks: Iterable[DpuCheck]) -> Steps[Done | None]:
    """Part of a procedure, which ends with the first guard of giving back that does not hold; None: all hold."""
    return (yield from broken_of(host_ref, dpu_checks, ENDING))


def broken_of(host_ref: HostRef, dpu_checks: Iterable[DpuCheck], guards: Mapping[str, Guard]) -> Steps[Done | None]:
    """Part of a procedure, which ends with the first guard that does not hold for one of the DPUs; None: all hold."""
    for dpu_check in dpu_checks:
        node = yield from read_node(dpu_check.dpu)
        read = yield from read_budget(host_ref, dpu_check.dpu)
        ready = yield from read_blocker_ready(host_ref, dpu_check.dpu, dpu_check.blocker)
        seen = DpuCheckReads(dpu_check, node, read, ready)
        if broken := next((name for name, holds in guards.items() if not holds(seen)), ""):
            return Done(Result.STALE, f"{dpu_check.dpu}: not true: {broken}")
    return None


def _leave(host_ref: HostRef, found: Maintenance, host: HostNode | None) -> Steps[None]:
    """Leave the host cordoned. The Node names the DpuClusterConfig, unless it was cordoned before: such a cordon is not
    the operator's to lift."""
    if host is None:
        return
    before = was_cordoned(found, host)
    if is_taken_back(found, host):
        yield from store(mark_host(host_ref, host, False))
    elif not before:
        yield from store(leave_host(host_ref, host))
    elif host.mark is None:
        yield from store(mark_host(host_ref, host, True))


def remember_cordon(
    host_ref: HostRef, found: Maintenance, host: HostNode | None, cordoned_before: bool | None
) -> Steps[None]:
    """See to it that the host shows whether it was cordoned before; a host that is gone needs nothing."""
    if host is None:
        return
    wanted = cordoned_before
    if is_taken_back(found, host):
        wanted = False
    elif wanted is None:
        wanted = was_cordoned(found, host)
    if host.mark != wanted:
        yield from store(mark_host(host_ref, host, wanted))


def delete_maintenance(host_ref: HostRef, found: Maintenance) -> Delete:
    """Delete the NodeMaintenance as it was read; fails if it changed since."""
    return Delete(host_ref.tenant_cluster, NODEMAINTENANCES, found.live, Fence.VERSION)
