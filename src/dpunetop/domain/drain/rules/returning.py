"""Rules 5 and 6, giving the host back: the reads that must all hold, then the delete with the version of the first.

An opening marks the NodeMaintenance first, which changes its resourceVersion. So if an opening and a deletion overlap,
one of them fails, and of two DPUs in a host the last one decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
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
from dpunetop.domain.drain.model.sidebyside import each_of, side_by_side
from dpunetop.domain.drain.rules.proof import ends_unproven, needs_proof, prove, vouches
from dpunetop.domain.drain.rules.waiting import how_to_force, in_own_drain, pending_update, stuck_update
from dpunetop.domain.names import DPUCLUSTERCONFIGS, NODEMAINTENANCES
from dpunetop.domain.reasons import event
from dpunetop.kube.errors import Conflict
from dpunetop.kube.keys import INFRA
from dpunetop.kube.meta import Obj, annotations_of, name_of, namespace_of
from dpunetop.kube.plan import Delete, Fence


def wait_to_return(host_state: HostState) -> Move | None:
    """Wait while anything forbids to give the host back, even with a proof."""
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
    """Why one DPU forbids to give its host back; None: it does not."""
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
    """Whether the host can be given back now: no earlier step is left, and nothing forbids it.

    `end_maintenance` gives it back exactly then, so writes that only matter while the maintenance exists can be
    skipped. A budget that must not be open is closed earlier, so no mark may exist.
    """
    own, host = host_state.own, host_state.host
    if own is None or own.terminating or own.marks or host_state.active or host_state.foreign is not None:
        return False
    if host_state.view.unverified or (isinstance(host, NodeGone) and not host.confirmed):
        return False
    if host_state.taken_back and isinstance(host, HostNode) and host.mark is True:
        return False  # the abort removes the mark first
    if any(cycle.maintenance != own.uid for _, cycle in host_state.cycles):
        return False
    return wait_to_return(host_state) is None and prove(host_state) is None


def end_maintenance(host_state: HostState) -> Move | None:
    """Give the host back: on proof, or cordoned where nothing proves its network."""
    if host_state.own is None or not may_end_maintenance(host_state):
        return None
    view = host_state.view
    unproven = needs_proof(host_state) and ends_unproven(host_state)
    dpu_checks = dpu_checks_of(host_state)
    before = True if unproven else (False if host_state.was_uncordoned else None)
    why = ReturnInputs.IN_USE if host_state.is_in_use and not host_state.was_uncordoned else ReturnInputs.DECIDED
    told = LeftCordoned(view.config, host_state.is_parted) if unproven else None
    return EndMaintenance(view.host_ref, host_state.own.uid, dpu_checks, before, told, why)


def dpu_checks_of(host_state: HostState) -> tuple[DpuCheck, ...]:
    """A check for every DPU that serves the host, as this decision saw it."""
    return tuple(_dpu_check(host_state, dpu) for dpu in host_state.view.dpus if host_state.serves(dpu))


def _dpu_check(host_state: HostState, dpu: DpuView) -> DpuCheck:
    if isinstance(dpu.node, NodeGone):
        return DpuCheck(dpu.name, dpu.blocker, gone=True)
    proven_boot = dpu.node.boot_id if vouches(host_state, dpu) else None
    return DpuCheck(dpu.name, dpu.blocker, forced=host_state.is_forced(dpu), proven_boot=proven_boot)


HOST_FORCED_BACK = "HostForcedBack"
"""Reason of the Event about a host that is given back without checks of a DPU, because a person forces it.
"""
HOST_LEFT_CORDONED = "HostLeftCordoned"
"""Reason of the Event about a host that stays cordoned after its maintenance, because nothing proved its network."""


@dataclass(frozen=True, slots=True)
class DpuCheck:
    """One DPU as the decision to give its host back saw it."""

    dpu: str
    blocker: str = ""
    """Name of its blocker pod that was Ready."""
    gone: bool = False
    """Its Node is known to be gone; only its budget has to be closed."""
    forced: bool = False
    """A person wants the host given back whatever the DPU shows."""
    proven_boot: str | None = None
    """Boot ID for which the proof was given; None: this DPU has nothing to prove."""


@dataclass(frozen=True, slots=True)
class DpuCheckReads:
    """The results of the reads about one DPU before the delete."""

    dpu_check: DpuCheck
    node: DpuNode | None
    budget: Budget | None
    blocker_ready: bool

    @property
    def is_aborted(self) -> bool:
        """Whether its cycle is aborted, so that its cordon asks for no drain."""
        cycle = None if self.budget is None else self.budget.cycle
        return cycle is not None and cycle.state is State.ABORTED

    @property
    def exempt(self) -> bool:
        """Whether it needs no checks: a person forces it, or its Node is gone."""
        return self.dpu_check.gone and self.node is None


Guard = Callable[[DpuCheckReads], bool]


def _wants_nothing(seen: DpuCheckReads) -> bool:
    node = seen.node
    if node is None:
        return seen.dpu_check.gone
    return not node.cordoned or node.override is DrainOverride.SKIP or seen.is_aborted


def _mco_rests(seen: DpuCheckReads) -> bool:
    """The drain of an aborted or skipped DPU is held by its budget and may keep trying; a DPU that is drained already
    reboots."""
    if seen.node is None or seen.dpu_check.forced:
        return True
    refused = seen.is_aborted or seen.node.override is DrainOverride.SKIP
    return seen.node.mco is Mco.IDLE or (refused and seen.node.mco is not Mco.DRAINED)


def _is_forced(seen: DpuCheckReads) -> bool:
    """Whether a person still forces the DPU that the decision took for forced."""
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
    """Why a host stays cordoned after its maintenance."""

    config: Obj
    """The DpuClusterConfig for the Event."""
    is_parted: bool
    """Whether it is because no DPU serves it any more; else nothing has proven its network."""


class ReturnInputs(Enum):
    """What a decision to give a host back depends on, beside the checks of its DPUs."""

    DECIDED = auto()
    """The maintenance and the records alone."""
    IN_USE = auto()
    """A person has uncordoned the host, or its Node was registered again, so that it runs workloads already."""


@dataclass(frozen=True, slots=True)
class EndMaintenance:
    """Delete the maintenance, so that its operator uncordons the host.

    Guarantees: deletes only the maintenance that was read, in the version that was read, without a mark of an open
        budget, after all guards held for every DPU; before that the host's mark records whether it was cordoned before.
    """

    host_ref: HostRef
    maintenance: str
    """UID."""
    dpu_checks: tuple[DpuCheck, ...]
    cordoned_before: bool | None = None
    """The mark to write on the host; None: its own mark, or else that of the maintenance."""
    left_cordoned: LeftCordoned | None = None
    """Why it stays cordoned; None: it is cordoned only if it was before."""
    because: ReturnInputs = ReturnInputs.DECIDED

    def run(self) -> Procedure:
        """See `calls.Task`."""
        found = yield from deletable(self.host_ref, self.maintenance)
        if isinstance(found, Done):
            return found
        broken, host = yield from side_by_side(first_broken(self.host_ref, self.dpu_checks), read_host(self.host_ref))
        if broken is not None:
            return broken
        if forbidden := self._forbidden(found, host):
            return Done(Result.STALE, f"{self.host_ref.host}: {forbidden}")
        if self.left_cordoned is not None and self.left_cordoned.is_parted:
            yield from _leave(self.host_ref, found, host)
        else:
            yield from remember_cordon(self.host_ref, found, host, self.cordoned_before)
        yield from take_away(self.host_ref, found)
        yield from tell_end(self.host_ref, self.dpu_checks, self.left_cordoned)
        return Done(Result.DONE, f"{self.host_ref.host}: is given back")

    def _forbidden(self, found: Maintenance, host: HostNode | None) -> str:
        """Why the host forbids it; its own machine-config operator must not find it uncordoned in the middle of an
        update."""
        if self.because is ReturnInputs.IN_USE and (host is None or not is_in_use(found, host)):
            return "is not in use"
        is_forced = any(dpu_check.forced for dpu_check in self.dpu_checks)
        is_at_work = host is not None and host.in_own_drain and not is_forced
        return "its own machine-config operator is at work there" if is_at_work else ""


def tell_end(host_ref: HostRef, dpu_checks: tuple[DpuCheck, ...], left_cordoned: LeftCordoned | None) -> Steps[None]:
    """Write Events on the DpuClusterConfig and the Nodes of its DPUs if the host stays cordoned; else on the Nodes of
    DPUs that were not checked."""
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
        return f"no DPU serves it any more. Served again by DpuClusterConfig {name}, it becomes schedulable on proof"
    forced = ", ".join(dpu_check.dpu for dpu_check in dpu_checks if dpu_check.forced)
    return "nothing has shown that its network works" + (f", and the drain of {forced} ends by force" if forced else "")


def deletable(host_ref: HostRef, uid: str) -> Steps[Maintenance | Done]:
    """The NodeMaintenance as read now, or why it must not be deleted."""
    found = yield from read_maintenance(host_ref)
    if found is None or not found.ours or found.terminating or found.uid != uid:
        return Done(Result.STALE, f"{host_ref.host}: the maintenance has changed since it was looked at")
    if found.marks:
        return Done(Result.STALE, f"{host_ref.host}: a budget may be open")
    return found


def first_broken(host_ref: HostRef, dpu_checks: Iterable[DpuCheck]) -> Steps[Done | None]:
    """Part of a procedure: the first guard of giving back that does not hold; None: all hold."""
    return (yield from broken_of(host_ref, dpu_checks, ENDING))


def broken_of(host_ref: HostRef, dpu_checks: Iterable[DpuCheck], guards: Mapping[str, Guard]) -> Steps[Done | None]:
    """Part of a procedure: the first guard that does not hold for one of the DPUs; None: all hold."""
    for seen in (yield from each_of([_check_reads(host_ref, dpu_check) for dpu_check in dpu_checks])):
        if broken := next((name for name, holds in guards.items() if not holds(seen)), ""):
            return Done(Result.STALE, f"{seen.dpu_check.dpu}: not true: {broken}")
    return None


def _check_reads(host_ref: HostRef, dpu_check: DpuCheck) -> Steps[DpuCheckReads]:
    node, read, ready = yield from side_by_side(
        read_node(dpu_check.dpu),
        read_budget(host_ref, dpu_check.dpu),
        read_blocker_ready(host_ref, dpu_check.dpu, dpu_check.blocker),
    )
    return DpuCheckReads(dpu_check, node, read, ready)


def _leave(host_ref: HostRef, found: Maintenance, host: HostNode | None) -> Steps[None]:
    """Leave the host cordoned. The Node records the DpuClusterConfig, unless it was cordoned before: the operator never
    removes such a cordon."""
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
    """Write the host's mark if it is not there; a host that is gone needs none."""
    if host is None:
        return
    wanted = cordoned_before
    if is_taken_back(found, host):
        wanted = False
    elif wanted is None:
        wanted = was_cordoned(found, host)
    if host.mark != wanted:
        yield from store(mark_host(host_ref, host, wanted))


def take_away(host_ref: HostRef, found: Maintenance) -> Steps[None]:
    """Part of a procedure: delete the NodeMaintenance as it was read.

    Where only its operator has told of it since, as it does after each write, all that was read still holds: no mark
    came, and none can come before the delete without changing the version that this names. Raises: Conflict, it says
    something else by now.
    """
    try:
        yield Write(delete_maintenance(host_ref, found))
    except Conflict:
        now = yield from read_maintenance(host_ref)
        if now is None or not _says_the_same(now, found):
            raise
        yield Write(delete_maintenance(host_ref, now))


def _says_the_same(now: Maintenance, found: Maintenance) -> bool:
    """Whether nothing but the time of its last status has changed. Annotations as a whole: a drain that is asked for
    once more shows nowhere else after its end."""
    told = replace(now, live=found.live, last_update=found.last_update, is_renewed=found.is_renewed)
    return told == found and annotations_of(now.live) == annotations_of(found.live)


def delete_maintenance(host_ref: HostRef, found: Maintenance) -> Delete:
    """Delete the NodeMaintenance as it was read; fails if it changed since."""
    return Delete(host_ref.tenant_cluster, NODEMAINTENANCES, found.live, Fence.VERSION)
