"""One tenant host and its DPUs: protected, drained, returned to use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import structlog

from dpunetop.base.stop import Stop
from dpunetop.controllers.drain.failures import Failures, Job
from dpunetop.controllers.drain.gather_host import HostGatherer, HostSources
from dpunetop.controllers.drain.stalls import StallDetector, identity
from dpunetop.controllers.drain.store import DrainStore, subject
from dpunetop.controllers.drain.taskrunner import CallFailed, TaskOutcome, TaskRunner
from dpunetop.controllers.reconciler import NO_BUG, bug_words
from dpunetop.domain.clusterconfig.status import INTERNAL_ERROR
from dpunetop.domain.dpunode.events import phase_events
from dpunetop.domain.dpunode.judge import dpu_node_statuses, unseen_statuses
from dpunetop.domain.drain.fleet.roster import HostScope
from dpunetop.domain.drain.host import HostDecision, decide_host, rehearsal
from dpunetop.domain.drain.hostreport import HostReport, failed_report, host_events, rechecks, report_host
from dpunetop.domain.drain.model.calls import Result, Task, Write
from dpunetop.domain.drain.model.facts import HoldReason
from dpunetop.domain.drain.report.failures import unwatched, why_failed
from dpunetop.domain.names import field_manager
from dpunetop.kube.errors import ApiError
from dpunetop.kube.keys import LEASES, Key
from dpunetop.kube.plan import Apply, Delete, Plan, Step
from dpunetop.runtime.executor import Executed, Executor
from dpunetop.runtime.latency import Delayed
from dpunetop.runtime.reading import DynamicWatches, NotSynced

NAME = "drain"
MANAGER = field_manager(NAME)
_PAUSES = {Result.DONE: 0.5, Result.STALE: 0.3, Result.REFUSED: 10.0}
"""Seconds until the next pass if nothing wakes the key; usually the caches show the write, which wakes it."""
_DELAYED_SECONDS = 3.0
"""Pause before a task is tried again that found no room in the bulkhead for slow tenants."""
_MOST_TASKS = 10
"""The number of tasks in one pass before other keys have their turn."""
_UPKEEP, _SWEEPING = "Upkeep", "Sweeping"
"""Kinds of the jobs that are no tasks."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The result of one decision: when to look again, and what was done or failed."""

    pauses: tuple[float, ...] = ()
    hold: HoldReason | None = None
    troubles: Mapping[str, HoldReason] = field(default_factory=dict)
    """By DPU: its failure, which replaces every other report about it."""
    done: Task | None = None
    """The task of the drain that was done."""


class Hosts:
    """A Reconciler of hosts; its keys are the places of a roster, under the name of the tenant's cluster.

    Guarantees: a task that fails half-way begins again from the clusters' objects; only the last report is kept in
        memory, and since when tasks have failed or changed nothing.
    Threads: `reconcile` from any worker, one at a time for each key.
    """

    name = NAME

    def __init__(
        self,
        drain_store: DrainStore,
        sources: HostSources,
        task_runner: TaskRunner,
        executor: Executor,
        stall_detector: StallDetector,
        failures: Failures,
    ) -> None:
        self._stall_detector = stall_detector
        self._failures = failures
        self._drain_store = drain_store
        self._sources = sources
        self._task_runner = task_runner
        self._executor = executor
        self._watches: DynamicWatches | None = None
        self._log = structlog.get_logger().bind(controller=NAME)

    def read_through(self, watches: DynamicWatches) -> None:
        """Take the watches of this controller; once, before the first reconcile."""
        self._watches = watches

    def lane(self, key: Key) -> str:
        """See `ConfigReconciler.lane`: all hosts of a tenant are one."""
        return key.cluster

    def reconcile(self, key: Key, stop: Stop) -> float | None:
        """See `runtime.controller.Reconciler`. Raises: ApiError, NotSynced, NotEngaged, Stopped, LeadershipLost."""
        assert self._watches is not None
        scope = self._drain_store.scope(key)
        if scope is None:
            self._watches.forget(key)
            self._sources.forget(key.cluster, key.name)
            self._drain_store.forget(key)
            self._stall_detector.forget(key)
            self._failures.forget(key)
            return None
        try:
            steps = self._go_on(key, scope, stop)
        except NotSynced as err:
            if err.error is not None:
                why = unwatched(err.cluster, err.selection, err.error)
                self._fail(key, scope, str(why.reason), why.message)
            raise
        except NO_BUG:
            raise
        except Exception as err:
            self._fail(key, scope, INTERNAL_ERROR, bug_words(NAME, key, err))
            raise
        for decided, outcome in steps:  # last, so that no drain waits for its report
            report = self._report(key, decided, outcome, stop)
        return min((*outcome.pauses, *rechecks(decided, report)), default=None)

    # --- doing ------------------------------------------------------------------------------------------------------

    def _go_on(self, key: Key, scope: HostScope, stop: Stop) -> list[tuple[HostDecision, _Outcome]]:
        """Decide and act, and repeat that after each task of the drain that was done: its writes are known, so the next
        one need not wait until the caches show them. If the same task is wanted again, its effect does not show yet, so
        the pass ends. Returns all decisions and their outcomes, in order; at least one."""
        decided = self._decide(key, scope)
        steps = [(decided, self._act(key, decided, stop))]
        while (done := steps[-1][1].done) is not None and len(steps) < _MOST_TASKS:
            decided = self._decide(key, scope)
            if decided.drain_task is not None and identity(decided.drain_task) == identity(done):
                break
            steps.append((decided, self._act(key, decided, stop)))
        return steps

    def _decide(self, key: Key, scope: HostScope) -> HostDecision:
        assert self._watches is not None
        with self._watches.reading(key) as reader:
            snapshot = HostGatherer(self._sources, reader, scope).snapshot()
            refusal = reader.refusal()
        if refusal is not None and refusal.selection.resource != LEASES:  # the signals of a host say that of its Lease
            why = unwatched(refusal.cluster, refusal.selection, refusal.error)
            snapshot = replace(snapshot, trouble=snapshot.trouble or why)
        return decide_host(snapshot)

    def _act(self, key: Key, decided: HostDecision, stop: Stop) -> _Outcome:
        """Do everything that is to be done now. Each job reads for itself: one that changes nothing stops no other."""
        kept = list(self._keep_up(key, decided, stop))
        jobs = [*(job for job, _ in kept), *(_job(task) for task in decided.tasks)]
        self._stall_detector.wanted(key, decided.tasks)
        tried = [(task, *self._try(key, decided, task, stop)) for task in decided.tasks]
        done = next((task for task, result, _ in tried if result is Result.DONE and task is decided.drain_task), None)
        if done is None and not any(self._failures.is_passing(key, _job(task)) for task in decided.tasks):
            self._failures.wanted(key, jobs)
        again = (executed.again_seconds for _, executed in kept)
        pauses = [
            *(pause for *_, pause in tried),
            *filter(None, again),
            *filter(None, (self._failures.pause(key, job) for job in jobs)),
        ]
        return _Outcome(tuple(pauses), self._stall_detector.hold(key), self._troubles(key, decided), done)

    def _keep_up(self, key: Key, decided: HostDecision, stop: Stop) -> Iterable[tuple[Job, Executed]]:
        """Apply blockers and first budgets, and remove those that are no longer needed: each DPU by itself."""
        for dpu, found in decided.protections.items():
            job = Job(_UPKEEP, dpu)
            yield job, self._execute(key, job, found.upkeep, stop)
        for dpu, steps in decided.sweeping.items():
            job = Job(_SWEEPING, dpu)
            yield job, self._execute(key, job, steps, stop)

    def _execute(self, key: Key, job: Job, steps: tuple[Step, ...], stop: Stop) -> Executed:
        executed = Executed.NOTHING
        if self._failures.pause(key, job):
            return executed
        for step in steps:
            try:
                executed |= self._executor.execute(Plan((step,)), stop)
            except ApiError as err:
                self._failed(key, job, CallFailed(Write(step), err) if isinstance(step, Apply | Delete) else None)
                return executed
        self._failures.succeeded(key, job)
        return executed

    def _try(self, key: Key, decided: HostDecision, task: Task, stop: Stop) -> tuple[Result | None, float]:
        """The outcome of a task, and how long to wait then; None: it is not tried yet, or it failed."""
        job = _job(task)
        if pause := self._failures.pause(key, job) or self._stall_detector.pause(key, task):
            return None, pause
        step = rehearsal(decided.snapshot.view, task) if self._failures.has_failed(key, job) else None
        try:
            carried = self._task_runner.carry_out(key, task, stop, step)
        except Delayed as err:
            self._log.debug("drain task delayed", **subject(key), task=type(task).__name__, reason=str(err))
            return None, _DELAYED_SECONDS
        except CallFailed as err:
            return None, self._failed(key, job, err)
        return carried.done.result, self._judge(key, task, carried)

    def _judge(self, key: Key, task: Task, carried: TaskOutcome) -> float:
        """How long to wait after a task that ended. One that has written and changed nothing has failed."""
        job, result = _job(task), carried.done.result
        self._stall_detector.tried(key, task, carried.done)
        if result is Result.STALE and carried.wrote:
            return self._failed(key, job, carried.minded)
        if result is Result.DONE:
            self._failures.succeeded(key, job)
        return _PAUSES[result]

    def _failed(self, key: Key, job: Job, failure: CallFailed | None) -> float:
        if failure is None:
            return self._failures.failed(key, job)
        why = why_failed(failure.call, failure.error)
        about = subject(key) | ({"dpu": job.dpu} if job.dpu else {})
        self._log.info("drain job failed", **about, job=job.kind, error=why.message)
        return self._failures.failed(key, job, failure.error, why)

    def _troubles(self, key: Key, decided: HostDecision) -> Mapping[str, HoldReason]:
        snapshot = decided.snapshot
        found = {dpu.name: snapshot.trouble or self._failures.trouble(key, dpu.name) for dpu in snapshot.dpus}
        return {dpu: why for dpu, why in found.items() if why is not None}

    # --- reporting --------------------------------------------------------------------------------------------------

    def _fail(self, key: Key, scope: HostScope, reason: str, message: str) -> None:
        unseen = unseen_statuses(scope.roster, scope.slot, reason, message)
        self._drain_store.show(key, unseen, 0)  # time 0: a drain that runs does not count as over
        self._drain_store.report(key, failed_report(scope.slot, reason, message, scope.outage))

    def _report(self, key: Key, decided: HostDecision, outcome: _Outcome, stop: Stop) -> HostReport:
        report = report_host(decided, outcome.hold, outcome.troubles)
        shown, now = dpu_node_statuses(decided, report), decided.snapshot.host_ref.author.now
        changes = self._drain_store.show(key, shown, now)
        before = self._drain_store.report(key, report)
        events = (*host_events(decided, before, report), *phase_events(decided.snapshot.nodes, changes))
        self._executor.execute(Plan(events), stop)
        return report


def _job(task: Task) -> Job:
    return Job(type(task).__name__, str(getattr(task, "dpu", "")))
