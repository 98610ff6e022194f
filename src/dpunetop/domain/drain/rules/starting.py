"""Beginning and ending a cycle on its record, and asking for the host's drain."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dpunetop.domain.drain.model.calls import Done, Procedure, QuorumGet, Result, Steps, attempt, fetch, store
from dpunetop.domain.drain.model.facts import (
    Budget,
    DrainOverride,
    HostNode,
    HostRef,
    MaintenancePhase,
    is_left_over,
    is_outdated,
    is_taken_back,
    ovn_pod,
)
from dpunetop.domain.drain.model.maintenances import mark_host, new_maintenance, renew_maintenance, unmark_host
from dpunetop.domain.drain.model.reads import (
    read_budget,
    read_host,
    read_maintenance,
    read_maintenances,
    read_node,
    read_pods,
)
from dpunetop.domain.drain.model.record import NOTE_LIMIT, Cycle, State, seen_in_boot
from dpunetop.domain.drain.protection.blockers import BudgetState, Form, state_of, write_budget
from dpunetop.domain.names import DPUCLUSTERCONFIGS, FORCE_DELETE_ANNOTATION
from dpunetop.kube.errors import ApiError, Conflict, Forbidden, Invalid
from dpunetop.kube.keys import INFRA
from dpunetop.kube.meta import Obj, annotations_of, is_terminating, name_of, namespace_of, uid_of
from dpunetop.kube.plan import Apply


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Write a record, provided that the one that was seen still stands. Beginning, taking over and ending are such.

    Guarantees: the budget stays as it is read; every write that was decided before fails from then on.
    """

    host_ref: HostRef
    dpu: str
    seen: Cycle | None
    becomes: Cycle | None
    """None: the cycle is over."""
    budget: Budget | None = None
    """The closed budget with that record as a cache shows it, if that will do; None: it has to be read first."""

    def run(self) -> Procedure:
        """See `calls.Task`."""
        if self.budget is not None and (yield from attempt(self._written(self.budget))):
            return Done(Result.DONE, f"{self.dpu}: {_story(self.becomes)}")
        read = yield from read_budget(self.host_ref, self.dpu)
        if read is None or not _is_ours(read, self.host_ref) or read.cycle != self.seen:
            return Done(Result.STALE, f"{self.dpu}: the record is not as it was seen")
        yield from store(self._written(read))
        return Done(Result.DONE, f"{self.dpu}: {_story(self.becomes)}")

    def _written(self, read: Budget) -> Apply:
        return write_budget(self.host_ref, read, replace(state_of(read), cycle=self.becomes))


@dataclass(frozen=True, slots=True)
class Refresh:
    """Keep boot ID, pod and containers of the record current.

    The containers are read before the boot ID: so none that started after a reboot counts as one from before.
    """

    host_ref: HostRef
    dpu: str
    pods_namespace: str
    pods: tuple[str, ...]
    """Names of its pods. One that the caches do not show yet is recorded once they do, with the next such task."""

    def run(self) -> Procedure:
        """See `calls.Task`."""
        objs = yield from read_pods(self.pods_namespace, self.dpu, self.pods)
        node = yield from read_node(self.dpu)
        read = yield from read_budget(self.host_ref, self.dpu)
        if node is None or read is None or not _is_own(read, self.host_ref) or read.cycle is None:
            return Done(Result.STALE, f"{self.dpu}: there is no record to keep")
        pod, containers = _containers(objs)
        becomes = seen_in_boot(read.cycle, node.boot_id, pod, containers, self.host_ref.author.now)
        if becomes == read.cycle:
            return Done(Result.STALE, f"{self.dpu}: the record is current")
        yield from store(write_budget(self.host_ref, read, replace(state_of(read), cycle=becomes)))
        return Done(Result.DONE, f"{self.dpu}: recorded what runs")


@dataclass(frozen=True, slots=True)
class Adopt:
    """Make the maintenance of the host that of the DPU's cycle."""

    host_ref: HostRef
    dpu: str
    maintenance: str

    def run(self) -> Procedure:
        """See `calls.Task`."""
        found = yield from read_maintenance(self.host_ref)
        read = yield from read_budget(self.host_ref, self.dpu)
        if found is None or not found.ours or found.terminating or found.uid != self.maintenance:
            return Done(Result.STALE, f"{self.dpu}: the maintenance is not as it was seen")
        if read is None or not _is_own(read, self.host_ref) or read.cycle is None or not _is_wanted(read.cycle):
            return Done(Result.STALE, f"{self.dpu}: the record is not as it was seen")
        cycle = replace(read.cycle, state=State.DRAINING, maintenance=found.uid)
        yield from store(write_budget(self.host_ref, read, replace(state_of(read), cycle=cycle)))
        return Done(Result.DONE, f"{self.dpu}: its host is being drained")


@dataclass(frozen=True, slots=True)
class Reset:
    """Begin anew on the record after its maintenance is gone for good and the host is as it was before."""

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


@dataclass(frozen=True, slots=True)
class Create:
    """Have the host drained, remembering whether it was cordoned before.

    The host is read before it is shown that no maintenance is there, and marked as it was read then: so a cordon that
    is about to go with another maintenance is not taken for one that a person wants.
    """

    host_ref: HostRef
    dpu: str
    """One that wants the drain; it keeps the count of refusals."""
    ending: Obj | None = None
    """The DpuClusterConfig whose end asks for the drain; None: the cordon of the DPU does."""

    def run(self) -> Procedure:
        """See `calls.Task`."""
        if not (yield from (self._is_cordoned() if self.ending is None else self._is_parting(self.ending))):
            return Done(Result.STALE, f"{self.dpu}: wants no drain")
        host = yield from read_host(self.host_ref)
        if host is None or host.terminating or host.in_own_drain:
            return Done(Result.STALE, f"{self.host_ref.host}: is not as it was seen")
        if host.mark is not None and not is_left_over(host):
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
        return node is not None and node.cordoned and node.order is not DrainOverride.SKIP

    def _is_parting(self, ending: Obj) -> Steps[bool]:
        live = yield from fetch(QuorumGet(INFRA, DPUCLUSTERCONFIGS, namespace_of(ending), name_of(ending)))
        if live is None or uid_of(live) != uid_of(ending) or not is_terminating(live):
            return False
        read = yield from read_budget(self.host_ref, self.dpu)
        return (
            FORCE_DELETE_ANNOTATION not in annotations_of(live) and read is not None and _is_ours(read, self.host_ref)
        )

    def _refused(self, refusal: ApiError) -> Steps[Done]:
        """Write down that it was refused, then take the mark off: it says nothing any more. The mark of a host that an
        earlier maintenance has left cordoned stays: it alone knows that the host should be schedulable."""
        read = yield from read_budget(self.host_ref, self.dpu)
        if read is not None and _is_own(read, self.host_ref) and read.cycle is not None:
            note = " ".join(refusal.message.split())[:NOTE_LIMIT]
            failures = max(read.cycle.failures + 1, 2)  # no refusal is tried again at once
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
    or its Node was registered anew.

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
            return Done(Result.STALE, f"{self.host_ref.host}: the maintenance is not as it was seen")
        if found.phase is not MaintenancePhase.SUCCEEDED or host.in_own_drain or not is_outdated(found, host):
            return Done(Result.STALE, f"{self.host_ref.host}: is not as it was seen")
        yield from store(renew_maintenance(self.host_ref, found, host))
        return Done(Result.DONE, f"{self.host_ref.host}: is to be drained anew")


@dataclass(frozen=True, slots=True)
class Abort:
    """Give the drain of a host up: on the record of every DPU that wants it, with its budget closed in the same write.

    `dpus` are those that want it, each with the record that was seen.
    """

    host_ref: HostRef
    dpus: tuple[tuple[str, Cycle], ...]
    reason: str

    def run(self) -> Procedure:
        """See `calls.Task`."""
        for dpu, seen in self.dpus:
            read = yield from read_budget(self.host_ref, dpu)
            if read is None or not _is_ours(read, self.host_ref) or read.cycle != seen:
                return Done(Result.STALE, f"{dpu}: the record is not as it was seen")
            cycle = replace(read.cycle, state=State.ABORTED, reason=self.reason)
            yield from store(
                write_budget(self.host_ref, read, BudgetState(Form.CLOSED, read.serves, cycle, read.leaving))
            )
        return Done(Result.DONE, f"{self.host_ref.host}: the drain is aborted: {self.reason}")


@dataclass(frozen=True, slots=True)
class AbortTakenBack:
    """Abort because a person has uncordoned the host, if both say so when asked: the maintenance and the host.

    Whether it was cordoned before does not matter any more: its last word is that it is to be in use.
    """

    abort: Abort

    def run(self) -> Procedure:
        """See `calls.Task`."""
        host_ref = self.abort.host_ref
        found = yield from read_maintenance(host_ref)
        host: HostNode | None = yield from read_host(host_ref)
        if found is None or host is None or not is_taken_back(found, host):
            return Done(Result.STALE, f"{host_ref.host}: nobody has taken it back")
        done = yield from self.abort.run()
        if done.result is Result.DONE and host.mark:
            yield from store(mark_host(host_ref, host, False))
        return done


def _is_ours(read: Budget, host_ref: HostRef) -> bool:
    return read.ours and read.serves == host_ref.host


def _is_own(read: Budget, host_ref: HostRef) -> bool:
    return _is_ours(read, host_ref) and read.cycle is not None and read.cycle.term == host_ref.author.term


def _is_wanted(cycle: Cycle) -> bool:
    return cycle.state in (State.STARTING, State.DRAINING)


def _story(cycle: Cycle | None) -> str:
    return "the cycle is over" if cycle is None else f"the cycle is {cycle.state}"


def _containers(objs: tuple[Obj, ...]) -> tuple[str, tuple[str, ...]]:
    """UID and containers of the pod that stays on the DPU; the last one by uid if there are several."""
    pods = (ovn_pod(obj, frozenset()) for obj in objs)
    staying = sorted((pod for pod in pods if not pod.terminating), key=lambda pod: pod.uid)
    containers = tuple(container for pod in staying for container in pod.containers)
    return (staying[-1].uid if staying else "", containers)
