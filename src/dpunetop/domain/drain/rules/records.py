"""Rule 2, a cycle is fenced: every step of a drain first writes the record of its DPU."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dpunetop.domain.drain.model.calls import Done, Procedure, Result, attempt, store
from dpunetop.domain.drain.model.facts import Blind, Budget, DpuNode, DpuView, HostRef, NodeGone
from dpunetop.domain.drain.model.hoststate import HostState, Move
from dpunetop.domain.drain.model.maintenances import is_left_over
from dpunetop.domain.drain.model.readers import ovn_pod
from dpunetop.domain.drain.model.reads import read_budget, read_host, read_maintenances, read_node, read_pods
from dpunetop.domain.drain.model.record import Cycle, State, begun_anew, lost_record, seen_in_boot
from dpunetop.domain.drain.protection.blockers import state_of, write_budget
from dpunetop.domain.drain.rules.returning import may_end_maintenance
from dpunetop.kube.meta import Obj, name_of
from dpunetop.kube.plan import Apply


def take_over(host_state: HostState) -> Move | None:
    """Take the record over: pending writes of another leadership fail from then on."""
    host_ref = host_state.view.host_ref
    for dpu, cycle in host_state.cycles:
        if cycle.term != host_ref.author.term:
            return Rewrite(host_ref, dpu.name, cycle, cycle)
    return None


def begin(host_state: HostState) -> Move | None:
    """Give every DPU whose drain is wanted a record, or begin again on the one that it has."""
    host_ref = host_state.view.host_ref
    for dpu in host_state.active:
        cycle = host_state.cycle(dpu)
        if cycle is None:
            return Rewrite(host_ref, dpu.name, None, _first_record(host_state, dpu), if_closed(dpu))
        if isinstance(dpu.node, DpuNode) and cycle.node != dpu.node.uid:  # registered again, or an unreadable record
            renewed = replace(cycle, node=dpu.node.uid, since=host_ref.author.now)
            return Rewrite(host_ref, dpu.name, cycle, renewed, if_closed(dpu))
        if cycle.state is State.RETURNING:
            return Rewrite(host_ref, dpu.name, cycle, begun_anew(cycle, host_ref.author.now), if_closed(dpu))
    return None


def watch_server(host_state: HostState) -> Move | None:
    """The DPU that serves has a record while a maintenance of ours exists, whichever DPU requested that: a reboot of it
    meanwhile has to be recorded, and its network proven."""
    prover = host_state.prover()
    if (
        not host_state.is_asked
        or prover is None
        or not host_state.serves(prover)
        or host_state.cycle(prover) is not None
    ):
        return None
    if not isinstance(prover.node, DpuNode):
        return None
    author = host_state.view.host_ref.author
    begun = Cycle(State.RETURNING, term=author.term)
    if host_state.has_lost_record:
        begun = lost_record(State.RETURNING, author.term)
    seen = _as_seen(host_state, prover, replace(begun, node=prover.node.uid, since=author.now))
    watched = replace(seen, disturbed=host_state.has_lost_record)
    return Rewrite(host_state.view.host_ref, prover.name, None, watched, if_closed(prover))


def take_back(host_state: HostState) -> Move | None:
    """A removed cordon ends the cycle; a Node that is gone does so only once that is confirmed."""
    for dpu, cycle in host_state.cycles:
        if seems_taken_back(host_state, dpu, cycle):
            returning = replace(cycle, state=State.RETURNING)
            return Rewrite(host_state.view.host_ref, dpu.name, cycle, returning, if_closed(dpu))
    return None


def refresh(host_state: HostState) -> Move | None:
    """Keep the record current, unless it ends with this decision: the host need not wait for that."""
    for dpu, cycle in host_state.cycles:
        if not isinstance(dpu.node, DpuNode):
            continue
        seen = _as_seen(host_state, dpu, cycle)
        if seen.boot != cycle.boot or (seen != cycle and not _is_ending(host_state, cycle)):
            return Refresh(
                host_state.view.host_ref,
                dpu.name,
                host_state.view.pods_namespace,
                tuple(name_of(pod.live) for pod in dpu.pods),
            )
    return None


def _is_ending(host_state: HostState, cycle: Cycle) -> bool:
    """Whether the host is given back already, or with this decision."""
    tenant = host_state.view.tenant
    if cycle.state is not State.RETURNING or isinstance(tenant, Blind) or tenant.maintenances is None:
        return False
    return host_state.own is None or host_state.own.terminating or may_end_maintenance(host_state)


def name_maintenance(host_state: HostState) -> Move | None:
    """Every record names the maintenance before that ends: otherwise the host's mark would mean nothing."""
    for dpu, cycle in host_state.cycles if host_state.own is not None else ():
        if host_state.own is not None and cycle.maintenance != host_state.own.uid:
            named = replace(cycle, maintenance=host_state.own.uid)
            return Rewrite(host_state.view.host_ref, dpu.name, cycle, named, if_closed(dpu))
    return None


def reset(host_state: HostState) -> Move | None:
    """Reset the record: its maintenance is gone although the drain is wanted, so another one is needed."""
    for dpu in host_state.active if host_state.own is None else ():
        cycle = host_state.cycle(dpu)
        if cycle is not None and cycle.maintenance:
            anew = replace(cycle, state=State.STARTING, maintenance="")
            return Reset(host_state.view.host_ref, dpu.name, cycle, anew)
    return None


def finish(host_state: HostState) -> Move | None:
    """Delete the record once the maintenance is gone and the host has its earlier state."""
    for dpu, cycle in host_state.cycles if host_state.own is None else ():
        if cycle.state is State.RETURNING:
            return Reset(host_state.view.host_ref, dpu.name, cycle, None)
    return None


def seems_taken_back(host_state: HostState, dpu: DpuView, cycle: Cycle) -> bool:
    """Whether the caches show that the drain is no longer wanted; a Node that may come back does not count."""
    is_unsure = isinstance(dpu.node, NodeGone) and not dpu.node.confirmed
    return cycle.state is not State.RETURNING and not host_state.wants_drain(dpu) and not is_unsure


def _first_record(host_state: HostState, dpu: DpuView) -> Cycle:
    assert isinstance(dpu.node, DpuNode)
    author = host_state.view.host_ref.author
    begun = Cycle(State.STARTING, term=author.term)
    if host_state.has_lost_record:
        begun = lost_record(State.STARTING, author.term)
    # If another DPU of the host has begun earlier, this one may have been down since.
    begun = _as_seen(host_state, dpu, replace(begun, node=dpu.node.uid, since=author.now))
    return replace(begun, disturbed=host_state.is_asked)


def _as_seen(host_state: HostState, dpu: DpuView, cycle: Cycle) -> Cycle:
    assert isinstance(dpu.node, DpuNode)
    staying = sorted((pod for pod in dpu.pods if not pod.terminating), key=lambda pod: pod.uid)
    containers = tuple(container for pod in staying for container in pod.containers)
    pod = staying[-1].uid if staying else ""
    return seen_in_boot(cycle, dpu.node.boot_id, pod, containers, host_state.view.host_ref.author.now)


def if_closed(dpu: DpuView) -> Budget | None:
    """The budget to which a record may be written without a fresh read: a closed one, so the write opens nothing, even
    if the cache is stale."""
    return None if dpu.budget is None or dpu.budget.is_open else dpu.budget


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Write a record if the one that was seen is unchanged: to begin, take over or end a cycle.

    Guarantees: the budget's other fields stay as read; every write that was decided before fails from then on.
    """

    host_ref: HostRef
    dpu: str
    seen: Cycle | None
    becomes: Cycle | None
    """None: the cycle is over."""
    budget: Budget | None = None
    """The closed budget with that record, from a cache, if that is enough; None: it has to be read first."""

    def run(self) -> Procedure:
        """See `calls.Task`."""
        if self.budget is not None and (yield from attempt(self._written(self.budget))):
            return Done(Result.DONE, f"{self.dpu}: {_story(self.becomes)}")
        read = yield from read_budget(self.host_ref, self.dpu)
        if read is None or not is_ours(read, self.host_ref) or read.cycle != self.seen:
            return Done(Result.STALE, f"{self.dpu}: the record has changed since it was looked at")
        yield from store(self._written(read))
        return Done(Result.DONE, f"{self.dpu}: {_story(self.becomes)}")

    def _written(self, read: Budget) -> Apply:
        return write_budget(self.host_ref, read, replace(state_of(read), cycle=self.becomes))


@dataclass(frozen=True, slots=True)
class Refresh:
    """Keep boot ID, pod and containers of the record current.

    The containers are read before the boot ID, so that none that started after a reboot is recorded for the boot
    before.
    """

    host_ref: HostRef
    dpu: str
    pods_namespace: str
    pods: tuple[str, ...]
    """Names of its pods. The next such task records a pod that the caches do not show yet."""

    def run(self) -> Procedure:
        """See `calls.Task`."""
        objs = yield from read_pods(self.pods_namespace, self.dpu, self.pods)
        node = yield from read_node(self.dpu)
        read = yield from read_budget(self.host_ref, self.dpu)
        if node is None or read is None or not is_own(read, self.host_ref) or read.cycle is None:
            return Done(Result.STALE, f"{self.dpu}: there is no record to keep")
        pod, containers = _containers(objs)
        becomes = seen_in_boot(read.cycle, node.boot_id, pod, containers, self.host_ref.author.now)
        if becomes == read.cycle:
            return Done(Result.STALE, f"{self.dpu}: the record is current")
        yield from store(write_budget(self.host_ref, read, replace(state_of(read), cycle=becomes)))
        return Done(Result.DONE, f"{self.dpu}: recorded what runs")


@dataclass(frozen=True, slots=True)
class Reset:
    """Begin the record again after its maintenance is gone and the host has its earlier state."""

    host_ref: HostRef
    dpu: str
    seen: Cycle
    becomes: Cycle | None

    def run(self) -> Procedure:
        """See `calls.Task`."""
        host = yield from read_host(self.host_ref)
        if host is not None and host.mark is not None and not is_left_over(host):
            return Done(Result.STALE, f"{self.host_ref.host}: has yet to be restored")
        if (yield from read_maintenances(self.host_ref)):
            return Done(Result.STALE, f"{self.host_ref.host}: there is a maintenance")
        return (yield from Rewrite(self.host_ref, self.dpu, self.seen, self.becomes).run())


def is_ours(read: Budget, host_ref: HostRef) -> bool:
    """Whether the budget is ours and serves this host."""
    return read.ours and read.serves == host_ref.host


def is_own(read: Budget, host_ref: HostRef) -> bool:
    """Whether the record on the budget was written under this leadership."""
    return is_ours(read, host_ref) and read.cycle is not None and read.cycle.term == host_ref.author.term


def _story(cycle: Cycle | None) -> str:
    return "the cycle is over" if cycle is None else f"the cycle is {cycle.state}"


def _containers(objs: tuple[Obj, ...]) -> tuple[str, tuple[str, ...]]:
    """UID and containers of the pod that stays on the DPU; of several, the last one by UID."""
    pods = (ovn_pod(obj) for obj in objs)
    staying = sorted((pod for pod in pods if not pod.terminating), key=lambda pod: pod.uid)
    containers = tuple(container for pod in staying for container in pod.containers)
    return (staying[-1].uid if staying else "", containers)
