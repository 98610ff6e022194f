"""One tenant host and its DPUs: protected, drained, given back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import structlog

from dpunetop.base.quoting import named
from dpunetop.base.stop import Stop
from dpunetop.controllers.drain.failures import Failures, Job
from dpunetop.controllers.drain.gather_host import HostGatherer, HostSnapshot
from dpunetop.controllers.drain.stalls import StallDetector, identity
from dpunetop.controllers.drain.store import DrainStore, HostReport
from dpunetop.controllers.drain.taskrunner import CallFailed, TaskOutcome, TaskRunner
from dpunetop.controllers.reconciler import NO_BUG, bug_words
from dpunetop.domain.clusterconfig.status import INTERNAL_ERROR
from dpunetop.domain.drain.fleet.roster import Member, Mode, Roster, Slot
from dpunetop.domain.drain.model.calls import Result, Task, Write
from dpunetop.domain.drain.model.facts import DpuNode, DpuView, HoldReason, HostNode, HostView, NodeGone, TenantSeen
from dpunetop.domain.drain.model.hoststate import HostState
from dpunetop.domain.drain.model.maintenances import new_maintenance
from dpunetop.domain.drain.outages.outages import Outage, Serving, find_outage
from dpunetop.domain.drain.outages.unplanned import (
    NETWORK_BACK,
    NetworkState,
    OutageDecision,
    OutageView,
    decide_outage,
)
from dpunetop.domain.drain.protection import protection
from dpunetop.domain.drain.protection.protection import (
    Protection,
    ProtectionPhase,
    ProtectionView,
    decide_protection,
)
from dpunetop.domain.drain.report.dpustatus import DRAIN_SKIPPED, DpuPhase, DpuStatus, DrainReason, dpu_statuses
from dpunetop.domain.drain.report.failures import passes, unwatched, why_failed
from dpunetop.domain.drain.report.overdue import next_limit, timed
from dpunetop.domain.drain.rules.cycle import Decision, decide
from dpunetop.domain.drain.rules.starting import Create
from dpunetop.domain.names import DPUCLUSTERCONFIGS, OWNER_LABEL, PODDISRUPTIONBUDGETS, field_manager
from dpunetop.domain.pairing.pairing import host_of
from dpunetop.domain.reasons import event
from dpunetop.kube.errors import ApiError
from dpunetop.kube.keys import DEPLOYMENTS, INFRA, LEASES, NODES, Key
from dpunetop.kube.meta import Obj, labels_of
from dpunetop.kube.plan import Apply, Delete, Fence, Plan, Step
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.reading import NotSynced, Readings

NAME = "drain"
MANAGER = field_manager(NAME)
_PAUSES = {Result.DONE: 0.5, Result.STALE: 0.3, Result.REFUSED: 10.0}
"""So long until the next look if nothing wakes: what was written shows in the caches, and that wakes."""
_MOST_TASKS = 10
"""So many are done one after the other before others have their turn."""
_UPKEEP, _SWEEPING = "Upkeep", "Sweeping"
"""Kinds of the jobs that are no tasks."""


@dataclass(frozen=True, slots=True)
class _Pass:
    """One look at a slot, and what follows from it."""

    slot: Slot
    host_snapshot: HostSnapshot
    protections: Mapping[str, Protection]
    """Of each DPU that is at home here and stays."""
    leaving: tuple[DpuView, ...]
    """DPUs at home here that serve nobody and need no blocker any more."""
    decision: Decision | None
    outage: Outage | None
    network: OutageDecision
    """What is said and done about the network of the host, outside a drain."""

    @property
    def task(self) -> Task | None:
        """What is to be done for the drain."""
        return None if self.decision is None else self.decision.task


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of one pass: when to look again, and what was done or waited for in vain."""

    pauses: tuple[float, ...] = ()
    hold: HoldReason | None = None
    troubles: Mapping[str, HoldReason] = field(default_factory=dict)
    """By DPU: what fails for it, so that nothing else is to be said of it."""
    done: Task | None = None
    """The task of the drain that was done."""


class Hosts:
    """A Reconciler of hosts; its keys are the places of a roster, under the name of the tenant's cluster.

    Guarantees: a task that fails in the middle is begun anew from what the clusters show; nothing is remembered but
        what was told, and since when tasks have come to nothing.
    Threads: `reconcile` from any worker, one at a time a key.
    """

    name = NAME

    def __init__(
        self,
        drain_store: DrainStore,
        gatherer: HostGatherer,
        task_runner: TaskRunner,
        executor: Executor,
        stall_detector: StallDetector,
        failures: Failures,
    ) -> None:
        self._stall_detector = stall_detector
        self._failures = failures
        self._drain_store = drain_store
        self._gatherer = gatherer
        self._task_runner = task_runner
        self._executor = executor
        self._readings: Readings | None = None
        self._log = structlog.get_logger().bind(controller=NAME)

    def read_through(self, readings: Readings) -> None:
        """Hand over what this controller reads through; once, before the first reconcile."""
        self._readings = readings

    def reconcile(self, key: Key, stop: Stop) -> float | None:
        """See `runtime.controller.Reconciler`. Raises: ApiError, NotSynced, NotEngaged, Stopped, LeadershipLost."""
        assert self._readings is not None
        roster = self._drain_store.roster(key.cluster)
        slot = roster.slots.get((key.namespace, key.name)) if roster is not None else None
        if roster is None or slot is None:
            self._readings.forget(key)
            self._gatherer.forget(key.cluster, key.name)
            self._drain_store.forget(key)
            self._stall_detector.forget(key)
            self._failures.forget(key)
            return None
        try:
            steps = self._go_on(key, roster, slot, stop)
        except NotSynced as err:
            if err.error is not None:
                why = unwatched(err.cluster, err.selection, err.error)
                self._drain_store.report(key, _stuck(slot, str(why.reason), why.message))
            raise
        except NO_BUG:
            raise
        except Exception as err:
            self._drain_store.report(key, _stuck(slot, INTERNAL_ERROR, bug_words(NAME, key, err)))
            raise
        for here, outcome in steps:  # afterwards, since nobody's drain waits for what is told of it
            self._tell(key, here, outcome, stop)
        return min((*outcome.pauses, *_rechecks(here, outcome)), default=None)

    # --- doing ------------------------------------------------------------------------------------------------------

    def _go_on(self, key: Key, roster: Roster, slot: Slot, stop: Stop) -> list[tuple[_Pass, _Outcome]]:
        """Look and act, and that again after each task that was done: what it wrote is known, and what comes next
        need not wait until the caches show it. But a task that seems to be wanted still is one whose effect does not
        show yet. All that was seen and came of it, in order; at least one."""
        here = self._look(key, roster, slot)
        steps = [(here, self._act(key, here, stop))]
        while (done := steps[-1][1].done) is not None and len(steps) < _MOST_TASKS:
            here = self._look(key, roster, slot)
            if here.task is not None and identity(here.task) == identity(done):
                break
            steps.append((here, self._act(key, here, stop)))
        return steps

    def _look(self, key: Key, roster: Roster, slot: Slot) -> _Pass:
        assert self._readings is not None
        with self._readings.reading(key) as reader:
            host_snapshot = self._gatherer.host_snapshot(reader, roster, slot)
            refusal = reader.refusal()
        if refusal is not None and refusal.selection.resource != LEASES:  # which has signs of its own
            why = unwatched(refusal.cluster, refusal.selection, refusal.error)
            host_snapshot = replace(host_snapshot, trouble=host_snapshot.trouble or why)
        before = self._drain_store.last(key)
        return _decide(roster, slot, host_snapshot, None if before is None else before.outage)

    def _act(self, key: Key, here: _Pass, stop: Stop) -> _Outcome:
        """Everything that is to be done now. Each job looks for itself: one that comes to nothing stops no other."""
        jobs = [*self._keep_up(key, here, stop)]
        tasks = tuple(_tasks(here))
        self._stall_detector.wanted(key, tasks)
        pauses: list[float] = []
        done = None
        for task in tasks:
            jobs.append(_job(task))
            result, pause = self._try(key, here, task, stop)
            pauses.append(pause)
            done = here.task if task is here.task and result is Result.DONE else done
        if done is None and not any(self._failures.is_passing(key, _job(task)) for task in tasks):
            self._failures.wanted(key, jobs)
        pauses += [pause for job in jobs if (pause := self._failures.pause(key, job))]
        return _Outcome(tuple(pauses), self._stall_detector.hold(key), self._troubles(key, here), done)

    def _keep_up(self, key: Key, here: _Pass, stop: Stop) -> Iterable[Job]:
        """Blockers and first budgets as they are to be, and what nobody needs any more goes: each DPU by itself."""
        for dpu, found in here.protections.items():
            yield self._carry_out(key, Job(_UPKEEP, dpu), found.upkeep, stop)
        for left in here.leaving:
            yield self._carry_out(key, Job(_SWEEPING, left.name), tuple(_sweeping(left, here.host_snapshot)), stop)

    def _carry_out(self, key: Key, job: Job, steps: tuple[Step, ...], stop: Stop) -> Job:
        if self._failures.pause(key, job):
            return job
        for step in steps:
            try:
                self._executor.execute(Plan((step,)), stop)
            except ApiError as err:
                self._failed(key, job, CallFailed(Write(step), err) if isinstance(step, Apply | Delete) else None)
                return job
        self._failures.succeeded(key, job)
        return job

    def _try(self, key: Key, here: _Pass, task: Task, stop: Stop) -> tuple[Result | None, float]:
        """What came of a task, and how long to wait then; None: not yet, or it failed."""
        job = _job(task)
        if pause := self._failures.pause(key, job) or self._stall_detector.pause(key, task):
            return None, pause
        try:
            if self._failures.has_failed(key, job) and (step := _rehearsal(here, task)) is not None:
                self._task_runner.rehearse(step)
            carried = self._task_runner.carry_out(task, stop)
        except CallFailed as err:
            return None, self._failed(key, job, err)
        return carried.done.result, self._judge(key, task, carried)

    def _judge(self, key: Key, task: Task, carried: TaskOutcome) -> float:
        """How long to wait after a task that came to its end. One that has written and came to nothing has failed."""
        job, result = _job(task), carried.done.result
        self._stall_detector.tried(key, task, carried.done)
        if result is Result.STALE and carried.wrote:
            return self._failed(key, job, carried.minded)
        if result is Result.DONE:
            self._failures.succeeded(key, job)
        return _PAUSES[result]

    def _failed(self, key: Key, job: Job, failure: CallFailed | None) -> float:
        if failure is None:
            return self._failures.failed(key, job, None, None, at_once=False)
        error, why = failure.error, why_failed(failure.call, failure.error)
        self._log.info("drain job failed", job=job.kind, dpu=job.dpu, error=why.message)
        return self._failures.failed(key, job, error, why, at_once=not passes(error))

    def _troubles(self, key: Key, here: _Pass) -> Mapping[str, HoldReason]:
        dpus = {dpu.name for dpu in here.host_snapshot.dpus}
        found = {dpu: here.host_snapshot.trouble or self._failures.told(key, dpu) for dpu in dpus}
        return {dpu: why for dpu, why in found.items() if why is not None}

    # --- telling ----------------------------------------------------------------------------------------------------

    def _tell(self, key: Key, here: _Pass, outcome: _Outcome, stop: Stop) -> None:
        pairings = {member.dpu: member.pairing for member in here.slot.members}
        guardings = tuple((dpu, found.guarding, pairings[dpu]) for dpu, found in here.protections.items())
        entries = tuple(found.entry for found in here.protections.values() if found.entry is not None)
        seen = _standings(here, outcome)
        causes = tuple((dpu.name, dpu.trouble) for dpu in here.host_snapshot.dpus if dpu.trouble)
        is_looked_at = here.host_snapshot.view is not None or not here.slot.host
        stray, unseen, network = _stray(here, seen), here.host_snapshot.unseen, here.network.state
        report = HostReport(guardings, seen, entries, causes, stray, is_looked_at, unseen, network, here.outage)
        before = self._drain_store.report(key, report)
        told = {each.dpu: each for each in before.dpu_statuses} if before is not None else {}
        last = None if before is None else before.network
        events = (*_events(told, seen, here.host_snapshot.nodes), *_network_events(here, last, network))
        self._executor.execute(Plan(events), stop)


def _stuck(slot: Slot, reason: str, words: str) -> HostReport:
    """What is known of a host that could not be looked at to the end: nothing but why."""
    at_home = [member for member in slot.members if member.is_home]
    guardings = ((member.dpu, ProtectionPhase.NOT_SERVING, member.pairing) for member in at_home)
    return HostReport(tuple(guardings), tuple(_held(member.dpu, reason, words) for member in at_home), ())


def _held(dpu: str, reason: str, words: str) -> DpuStatus:
    """One DPU of which nothing else is known."""
    return DpuStatus(dpu, DpuPhase.HELD, DrainReason.NOBODY, reason, words)


def _rehearsal(here: _Pass, task: Task) -> Apply | None:
    """A maintenance that could not be made, before the Node is marked for it anew: each try writes that twice."""
    host = HostState(here.host_snapshot.view).host if here.host_snapshot.view is not None else None
    if not isinstance(task, Create) or not isinstance(host, HostNode):
        return None
    return new_maintenance(task.host_ref, host.cordoned, host)


def _job(task: Task) -> Job:
    return Job(type(task).__name__, str(getattr(task, "dpu", "")))


def _tasks(here: _Pass) -> Iterable[Task]:
    """What each DPU needs for its protection, then what the drain does."""
    found = (*(found.task for found in here.protections.values()), here.task or here.network.task)
    return (task for task in found if task is not None)


def _standings(here: _Pass, outcome: _Outcome) -> tuple[DpuStatus, ...]:
    """Where each DPU stands; one for which something fails stands there, be it in a drain or not."""
    view, decision = here.host_snapshot.view, here.decision
    found: dict[str, DpuStatus] = {}
    if view is not None and decision is not None:
        held = replace(decision, hold=outcome.hold or decision.hold)
        guardings = {dpu: each.guarding for dpu, each in here.protections.items()}
        found = {each.dpu: each for each in timed(view, dpu_statuses(view, held), guardings)}
    for dpu, why in outcome.troubles.items():
        known = found.get(dpu) or _held(dpu, "", "")
        found[dpu] = replace(known, stage=DpuPhase.HELD, reason=str(why.reason), message=why.message)
    return tuple(found.values())


def _stray(here: _Pass, seen: Iterable[DpuStatus]) -> HoldReason | None:
    """What is waited for and no DPU shows: nothing is held without a word."""
    hold = None if here.decision is None else here.decision.hold
    at_home = {member.dpu for member in here.slot.members if member.is_home}
    if hold is None or any(each.dpu in at_home and each.reason for each in seen):
        return None
    return HoldReason(hold.reason, f"host {named(here.slot.host)}: {hold.message}")


def _rechecks(here: _Pass, outcome: _Outcome) -> Iterable[float]:
    found = (
        here.host_snapshot.recheck_seconds,
        None if here.decision is None else here.decision.recheck_seconds,
        here.network.recheck_seconds,
        next_limit(_standings(here, outcome), here.host_snapshot.host_ref.author.now),
    )
    return (seconds for seconds in found if seconds is not None)


def _events(told: dict[str, DpuStatus], seen: Iterable[DpuStatus], nodes: dict[str, Obj]) -> Iterable[Step]:
    """An Event on the Node of each DPU whose stage or reason is another one than was told last."""
    for each in seen:
        node, last = nodes.get(each.dpu), told.get(each.dpu)
        if node is not None and each.late is not None and (last is None or last.late is None):
            yield event(INFRA, NODES, node, each.late.reason, each.late.message)
        if node is not None and _is_newly_skipped(last, each):
            yield event(INFRA, NODES, node, DRAIN_SKIPPED, each.skipped)
        is_news = last is None or (last.stage, last.reason) != (each.stage, each.reason)
        if node is None or not is_news or (last is None and each.stage is DpuPhase.IDLE):
            continue
        if last is not None and last.stage is each.stage and not each.reason:
            continue  # between two waits of one stage something is being done
        note = f"{each.stage}: {each.message}" if each.message else f"{each.stage}"
        yield event(INFRA, NODES, node, each.reason or str(each.stage), note)


def _is_newly_skipped(last: DpuStatus | None, each: DpuStatus) -> bool:
    """Not what a process that has just begun finds at rest."""
    was = each.stage is DpuPhase.IDLE if last is None else bool(last.skipped)
    return bool(each.skipped) and not was


# --- the network, outside a drain -----------------------------------------------------------------------------------


def _outage(slot: Slot, host_snapshot: HostSnapshot, before: Outage | None) -> Outage | None:
    """What is wrong with the DPU that serves the host, as infra shows it."""
    member = next((member for member in slot.members if member.dpu == slot.serving), None)
    dpu = next((dpu for dpu in host_snapshot.dpus if dpu.name == slot.serving), None)
    if member is None or dpu is None:
        return None
    pods = tuple(pod.live for pod in dpu.pods)
    serving = Serving(slot.host, dpu.name, host_snapshot.nodes.get(dpu.name), pods, member.entry.idle)
    return find_outage(serving, host_snapshot.host_ref.author.now, before)


def _about_network(roster: Roster, slot: Slot, host_snapshot: HostSnapshot, outage: Outage | None) -> OutageDecision:
    if not slot.host:
        return OutageDecision()
    suspect = roster.cordons.suspect or host_snapshot.suspicion
    return decide_outage(
        OutageView(
            host_ref=host_snapshot.host_ref,
            spec=roster.config.unplanned,
            cordons=replace(roster.cordons, suspect=suspect),
            turn=slot.turn,
            outage=outage,
            dpus=host_snapshot.dpus,
            host=host_snapshot.view,
            is_leaving=roster.mode is not Mode.SERVING,
        )
    )


def _network_events(here: _Pass, last: NetworkState | None, now: NetworkState | None) -> Iterable[Step]:
    """An Event on the Node of the DPU, else on the DpuClusterConfig, whenever another thing is wrong, or none any
    more."""
    said = now or last
    if said is None or (last is not None and now is not None and last.reason is now.reason):
        return
    node, view = here.host_snapshot.nodes.get(said.dpu), here.host_snapshot.view
    regarding = (NODES, node) if node is not None else (DPUCLUSTERCONFIGS, None if view is None else view.config)
    resource, obj = regarding
    if obj is None:
        return
    if now is not None:
        yield event(INFRA, resource, obj, str(now.reason), now.message)
    elif here.slot.serving is not None and here.outage is None:
        note = f"host {named(said.host)} is told to be without a network no more"
        yield event(INFRA, resource, obj, NETWORK_BACK, note)


# --- protection -------------------------------------------------------------------------------------------------------


def _decide(roster: Roster, slot: Slot, host_snapshot: HostSnapshot, before: Outage | None) -> _Pass:
    outage = _outage(slot, host_snapshot, before)
    dpus = {dpu.name: dpu for dpu in host_snapshot.dpus}
    at_home = [member for member in slot.members if member.is_home]
    leaving = [member for member in at_home if _is_to_go(roster, member, dpus[member.dpu])]
    staying = (member for member in at_home if member not in leaving)
    return _Pass(
        slot=slot,
        host_snapshot=host_snapshot,
        protections={member.dpu: _protect(roster, member, dpus[member.dpu], host_snapshot) for member in staying},
        leaving=tuple(dpus[member.dpu] for member in leaving),
        decision=None if host_snapshot.view is None else decide(host_snapshot.view),
        outage=outage,
        network=_about_network(roster, slot, host_snapshot, outage),
    )


def _protect(roster: Roster, member: Member, dpu: DpuView, host_snapshot: HostSnapshot) -> Protection:
    entry = member.entry
    return decide_protection(
        ProtectionView(
            dpu=dpu,
            settings=roster.blockers,
            host_ref=host_snapshot.host_ref,
            deployment=host_snapshot.deployments.get(dpu.name),
            pairing=member.pairing,
            text=member.text,
            configured=member.configured,
            is_tenant_known=roster.config.tenant_uid is not None,
            entries=protection.Entries(
                namespace=roster.config.namespace,
                host=host_of(dpu.name, entry.text) or None,
                text=entry.text,
                foreign=entry.foreign,
                idle=frozenset({entry.idle} if entry.idle else ()),
            ),
            drained=_is_drained(host_snapshot.view),
            access=roster.access,
            active=_is_active(host_snapshot.view, dpu),
        )
    )


def _is_to_go(roster: Roster, member: Member, dpu: DpuView) -> bool:
    """Whether the DPU serves nobody and needs no blocker any more."""
    serves = dpu.budget is not None and bool(dpu.budget.serves)
    if serves or member.pairing is not None or member.entry.text:
        return False
    is_gone = isinstance(dpu.node, NodeGone) and dpu.node.confirmed
    return roster.mode is not Mode.SERVING or member.is_dropped or is_gone


def _sweeping(dpu: DpuView, host_snapshot: HostSnapshot) -> Iterable[Step]:
    """First the budget, as it was seen; the blocker goes last, because it names its node."""
    if dpu.budget is not None:
        if dpu.budget.ours and not dpu.budget.serves:
            yield Delete(INFRA, PODDISRUPTIONBUDGETS, dpu.budget.live, Fence.VERSION)
        return
    deployment = host_snapshot.deployments.get(dpu.name)
    if deployment is not None and labels_of(deployment).get(OWNER_LABEL) == host_snapshot.host_ref.owner:
        yield Delete(INFRA, DEPLOYMENTS, deployment)


def _is_drained(view: HostView | None) -> bool:
    """Whether a pair of this host may be taken apart, as far as the caches show."""
    if view is None or not isinstance(view.tenant, TenantSeen):
        return False
    host_state = HostState(view)
    if isinstance(host_state.host, NodeGone):
        return host_state.host.confirmed
    return host_state.is_drained


def _is_active(view: HostView | None, dpu: DpuView) -> bool:
    """Whether a drain of the DPU is near; also where nothing is known of the tenant."""
    if dpu.budget is not None and dpu.budget.cycle is not None:
        return True
    if view is None:
        return isinstance(dpu.node, DpuNode) and dpu.node.cordoned
    return HostState(view).wants(dpu)
