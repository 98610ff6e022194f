"""Giving the host back: the reads that must all hold, then the one delete that carries the version of the first.

Whoever opens a budget marks the NodeMaintenance first, which changes its version. So of an opening and a giving back
that meet, one fails; and of two DPUs in a host the last one decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from dpunetop.domain.drain.model.calls import Done, Procedure, QuorumGet, Result, Steps, Write, fetch, store
from dpunetop.domain.drain.model.facts import (
    Budget,
    DpuNode,
    DrainOverride,
    HostNode,
    HostRef,
    Maintenance,
    MaintenancePhase,
    Mco,
    is_another_node,
    is_in_use,
    is_left_over,
    is_stuck_cordoned,
    is_taken_back,
)
from dpunetop.domain.drain.model.maintenances import leave_host, lift_host, mark_host, release_host, restore_host
from dpunetop.domain.drain.model.reads import (
    read_blocker_ready,
    read_budget,
    read_host,
    read_maintenance,
    read_maintenances,
    read_node,
    tell_dpu,
)
from dpunetop.domain.drain.model.record import State
from dpunetop.domain.names import DPUCLUSTERCONFIGS, NODEMAINTENANCES
from dpunetop.domain.reasons import event
from dpunetop.kube.keys import INFRA, PODS
from dpunetop.kube.meta import Obj, name_of, namespace_of, uid_of
from dpunetop.kube.plan import Delete, Fence

HOST_SCHEDULABLE = "HostSchedulable"
"""Reason of the Event about a host that is in use again after it was led out."""
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
    return not node.cordoned or node.order is DrainOverride.SKIP or seen.is_aborted


def _mco_rests(seen: DpuCheckReads) -> bool:
    """A drain that is refused here is held back by the budget and may go on asking; what is drained already reboots."""
    if seen.node is None or seen.dpu_check.forced:
        return True
    refused = seen.is_aborted or seen.node.order is DrainOverride.SKIP
    return seen.node.mco is Mco.RESTS or (refused and seen.node.mco is not Mco.DRAINED)


def _is_forced(seen: DpuCheckReads) -> bool:
    """Whether a person still forces what the decision took for forced."""
    return seen.dpu_check.forced and seen.node is not None and seen.node.order is DrainOverride.FORCE


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

FAILED: Mapping[str, Guard] = {name: ENDING[name] for name in ("the budget is closed",)}
"""What must hold before a failed maintenance is taken away, although the drain is wanted: its host is schedulable."""


@dataclass(frozen=True, slots=True)
class Farewell:
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
    farewell: Farewell | None = None
    """How it comes out cordoned although nothing proves its network; None: it is cordoned only if it was before."""
    because: Because = Because.DECIDED

    def run(self) -> Procedure:
        """See `calls.Task`."""
        found = yield from _deletable(self.host_ref, self.maintenance)
        if isinstance(found, Done):
            return found
        for dpu_check in self.dpu_checks:
            broken = yield from _broken(self.host_ref, dpu_check, ENDING)
            if broken:
                return Done(Result.STALE, f"{dpu_check.dpu}: not true: {broken}")
        host = yield from read_host(self.host_ref)
        if forbidden := self._forbidden(found, host):
            return Done(Result.STALE, f"{self.host_ref.host}: {forbidden}")
        if self.farewell is not None and self.farewell.is_parted:
            yield from _leave(self.host_ref, found, host)
        else:
            yield from _remember(self.host_ref, found, host, self.cordoned_before)
        yield Write(_delete(self.host_ref, found))
        yield from _told(self.host_ref, self.dpu_checks, self.farewell)
        return Done(Result.DONE, f"{self.host_ref.host}: is given back")

    def _forbidden(self, found: Maintenance, host: HostNode | None) -> str:
        """What the host shows that forbids it; its own operator would find it uncordoned in the middle of an update."""
        if self.because is Because.IN_USE and (host is None or not is_in_use(found, host)):
            return "is not in use"
        is_forced = any(dpu_check.forced for dpu_check in self.dpu_checks)
        is_at_work = host is not None and host.in_own_drain and not is_forced
        return "its own machine-config operator is at work there" if is_at_work else ""


@dataclass(frozen=True, slots=True)
class EndFailedMaintenance:
    """Take a failed maintenance away although the drain is wanted; it is made anew afterwards."""

    host_ref: HostRef
    maintenance: str
    dpu_checks: tuple[DpuCheck, ...]

    def run(self) -> Procedure:
        """See `calls.Task`."""
        found = yield from _deletable(self.host_ref, self.maintenance)
        if isinstance(found, Done):
            return found
        if found.phase is not MaintenancePhase.FAILED:
            return Done(Result.STALE, f"{self.host_ref.host}: the maintenance has not failed")
        for dpu_check in self.dpu_checks:
            broken = yield from _broken(self.host_ref, dpu_check, FAILED)
            if broken:
                return Done(Result.STALE, f"{dpu_check.dpu}: not true: {broken}")
        host = yield from read_host(self.host_ref)
        yield from _remember(self.host_ref, found, host, None)
        yield Write(_delete(self.host_ref, found))
        return Done(Result.DONE, f"{self.host_ref.host}: the failed maintenance is taken away")


@dataclass(frozen=True, slots=True)
class Restore:
    """Bring back the cordon that was there before, once no maintenance is left that could undo it."""

    host_ref: HostRef

    def run(self) -> Procedure:
        """See `calls.Task`."""
        host = yield from read_host(self.host_ref)
        if host is None or host.mark is None:
            return Done(Result.STALE, f"{self.host_ref.host}: nothing to restore")
        if (yield from read_maintenances(self.host_ref)):
            return Done(Result.STALE, f"{self.host_ref.host}: there is a maintenance")
        if is_stuck_cordoned(host):
            return Done(Result.STALE, f"{self.host_ref.host}: is cordoned, and nobody knows by whom")
        yield from store(restore_host(self.host_ref, host))
        return Done(Result.DONE, f"{self.host_ref.host}: is as it was before")


@dataclass(frozen=True, slots=True)
class LeadOut:
    """Make a host schedulable that a maintenance which is gone has left cordoned, as giving it back would have.

    Guarantees: all guards of giving back held for every DPU, and no maintenance was there, after the host was read as
        it is changed.
    """

    host_ref: HostRef
    dpu_checks: tuple[DpuCheck, ...]
    farewell: Farewell | None
    """How the host stays cordoned, because nothing proves its network; None: it is proven."""

    def run(self) -> Procedure:
        """See `calls.Task`."""
        for dpu_check in self.dpu_checks:
            broken = yield from _broken(self.host_ref, dpu_check, ENDING)
            if broken:
                return Done(Result.STALE, f"{dpu_check.dpu}: not true: {broken}")
        host = yield from read_host(self.host_ref)
        is_forced = any(dpu_check.forced for dpu_check in self.dpu_checks)
        if host is None or not is_left_over(host) or (host.in_own_drain and not is_forced):
            return Done(Result.STALE, f"{self.host_ref.host}: is not as a maintenance leaves it")
        if (yield from read_maintenances(self.host_ref)):
            return Done(Result.STALE, f"{self.host_ref.host}: there is a maintenance")
        if self.farewell is None:
            yield from store(release_host(self.host_ref, host))
            yield from _told(self.host_ref, self.dpu_checks, None)
            return Done(Result.DONE, f"{self.host_ref.host}: is schedulable again, which its maintenance left undone")
        if self.farewell.is_parted:  # it is cordoned, so that what is left to do shows: the next look restores it
            yield from store(leave_host(self.host_ref, host))
        else:
            yield from store(restore_host(self.host_ref, host))
        yield from _told(self.host_ref, self.dpu_checks, self.farewell)
        return Done(Result.DONE, f"{self.host_ref.host}: is left cordoned")


@dataclass(frozen=True, slots=True)
class LiftCordon:
    """Make a host schedulable that was led out and left cordoned, and is served again by a proven network.

    Guarantees: all guards of giving back held for every DPU, and no maintenance was there, after the host was read as
        it is changed.
    """

    host_ref: HostRef
    dpu_checks: tuple[DpuCheck, ...]
    config: Obj

    def run(self) -> Procedure:
        """See `calls.Task`."""
        for dpu_check in self.dpu_checks:
            broken = yield from _broken(self.host_ref, dpu_check, ENDING)
            if broken:
                return Done(Result.STALE, f"{dpu_check.dpu}: not true: {broken}")
        host = yield from read_host(self.host_ref)
        if host is None or host.left_by != self.host_ref.owner or host.mark is not None:
            return Done(Result.STALE, f"{self.host_ref.host}: is not as it was left")
        if (yield from read_maintenances(self.host_ref)):
            return Done(Result.STALE, f"{self.host_ref.host}: there is a maintenance")
        yield from store(lift_host(self.host_ref, host))
        words = (
            f"host {self.host_ref.host}, which was led out and left cordoned, is schedulable again: its network works"
        )
        yield event(INFRA, DPUCLUSTERCONFIGS, self.config, HOST_SCHEDULABLE, words)
        return Done(Result.DONE, f"{self.host_ref.host}: is schedulable again")


@dataclass(frozen=True, slots=True)
class RestartPod:
    """Delete an outdated ovnkube-node pod of a drained host, so that a current one can prove itself."""

    host_ref: HostRef
    dpu: str
    pod: Obj
    maintenance: str
    """UID; empty: the one that is gone has left the host cordoned."""

    def run(self) -> Procedure:
        """See `calls.Task`."""
        found = yield from read_maintenance(self.host_ref)
        host = yield from read_host(self.host_ref)
        if host is None or not self._is_held(found, host):
            return Done(Result.STALE, f"{self.host_ref.host}: is not drained")
        live = yield from fetch(QuorumGet(INFRA, PODS, namespace_of(self.pod), name_of(self.pod)))
        if live is None or uid_of(live) != uid_of(self.pod):
            return Done(Result.STALE, f"{self.dpu}: the pod is gone")
        yield Write(Delete(INFRA, PODS, live))
        return Done(Result.DONE, f"{self.dpu}: restarted an outdated pod")

    def _is_held(self, found: Maintenance | None, host: HostNode) -> bool:
        if found is None:
            return not self.maintenance and is_left_over(host)
        is_drained = not found.terminating and found.phase is MaintenancePhase.SUCCEEDED and host.cordoned
        return is_drained and found.uid == self.maintenance


def _told(host_ref: HostRef, dpu_checks: tuple[DpuCheck, ...], farewell: Farewell | None) -> Steps[None]:
    """Say that the host comes out cordoned, on the DpuClusterConfig and on the Nodes of its DPUs; else which of them
    was asked for nothing."""
    if farewell is None:
        for dpu_check in dpu_checks:
            if dpu_check.forced:
                dpu = dpu_check.dpu
                words = f"host {host_ref.host} is given back, and nothing was asked of {dpu}: its drain ends by force"
                yield from tell_dpu(dpu_check.dpu, HOST_FORCED_BACK, words)
        return
    words = f"host {host_ref.host} is left cordoned: {_why(farewell, dpu_checks)}. Uncordon it yourself"
    yield event(INFRA, DPUCLUSTERCONFIGS, farewell.config, HOST_LEFT_CORDONED, words)
    for dpu_check in dpu_checks:
        yield from tell_dpu(dpu_check.dpu, HOST_LEFT_CORDONED, words)


def _why(farewell: Farewell, dpu_checks: tuple[DpuCheck, ...]) -> str:
    if farewell.is_parted:
        name = f"{namespace_of(farewell.config)}/{name_of(farewell.config)}"
        return f"no DPU serves it any more. Served by DpuClusterConfig {name} anew, it becomes schedulable on proof"
    forced = ", ".join(dpu_check.dpu for dpu_check in dpu_checks if dpu_check.forced)
    return "nothing has shown that its network works" + (f", and the drain of {forced} ends by force" if forced else "")


def _deletable(host_ref: HostRef, uid: str) -> Steps[Maintenance | Done]:
    found = yield from read_maintenance(host_ref)
    if found is None or not found.ours or found.terminating or found.uid != uid:
        return Done(Result.STALE, f"{host_ref.host}: the maintenance is not as it was seen")
    if found.marks:
        return Done(Result.STALE, f"{host_ref.host}: a budget may be open")
    return found


def _broken(host_ref: HostRef, dpu_check: DpuCheck, guards: Mapping[str, Guard]) -> Steps[str | None]:
    """The first guard that does not hold for one DPU."""
    node = yield from read_node(dpu_check.dpu)
    read = yield from read_budget(host_ref, dpu_check.dpu)
    ready = yield from read_blocker_ready(host_ref, dpu_check.dpu, dpu_check.blocker)
    seen = DpuCheckReads(dpu_check, node, read, ready)
    return next((name for name, holds in guards.items() if not holds(seen)), None)


def first_broken(host_ref: HostRef, dpu_check: DpuCheck) -> Steps[str | None]:
    """Part of a procedure: the first guard of giving back that does not hold for one DPU; None: all hold."""
    return (yield from _broken(host_ref, dpu_check, ENDING))


def _leave(host_ref: HostRef, found: Maintenance, host: HostNode | None) -> Steps[None]:
    """Have the host come out cordoned. Who leaves it is written down where nobody had cordoned it before: a cordon that
    was there before is not ours to take back."""
    if host is None:
        return
    before = host.mark if host.mark is not None else _was_cordoned(found, host)
    if is_taken_back(found, host):
        yield from store(mark_host(host_ref, host, False))
    elif not before:
        yield from store(leave_host(host_ref, host))
    elif host.mark is None:
        yield from store(mark_host(host_ref, host, True))


def _remember(
    host_ref: HostRef, found: Maintenance, host: HostNode | None, cordoned_before: bool | None
) -> Steps[None]:
    """See to it that the host shows whether it was cordoned before; a host that is gone needs nothing."""
    if host is None:
        return
    wanted = cordoned_before
    if is_taken_back(found, host):
        wanted = False
    elif wanted is None:
        wanted = host.mark if host.mark is not None else _was_cordoned(found, host)
    if host.mark != wanted:
        yield from store(mark_host(host_ref, host, wanted))


def _was_cordoned(found: Maintenance, host: HostNode) -> bool:
    """The cordon of a Node that was registered anew is a person's, or the maintenance's, which sets its taint first."""
    if is_another_node(found, host):
        return host.cordoned and not host.tainted
    return bool(found.cordoned_before)


def _delete(host_ref: HostRef, found: Maintenance) -> Delete:
    return Delete(host_ref.tenant_cluster, NODEMAINTENANCES, found.live, Fence.VERSION)
