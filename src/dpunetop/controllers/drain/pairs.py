"""All pairs of a DpuClusterConfig: who is paired with whom, their entries in one write, and `PairsHealthy`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from dpunetop.base.stop import Stop
from dpunetop.controllers.drain.failures import Failures, Job
from dpunetop.controllers.drain.gather_pairs import PairsGatherer, PairsSnapshot
from dpunetop.controllers.drain.infrahealth import InfraHealth
from dpunetop.controllers.drain.store import DrainStore
from dpunetop.controllers.drain.taskrunner import CallFailed, TaskRunner
from dpunetop.controllers.reconciler import ConfigReconciler, Installation
from dpunetop.domain import names
from dpunetop.domain.clusterconfig.lifecycle import ENDING_RIGHTS_SECONDS
from dpunetop.domain.clusterconfig.status import LEADING_OUT, report
from dpunetop.domain.clusterconfig.types import DpuClusterConfig, tenant_cluster_name
from dpunetop.domain.drain.fleet.roster import Mode, Roster
from dpunetop.domain.drain.host import HostReport
from dpunetop.domain.drain.model.calls import Result
from dpunetop.domain.drain.model.facts import HoldReason
from dpunetop.domain.drain.protection.blockers import BlockerSettings, service_account
from dpunetop.domain.drain.protection.tasks import PutEntries
from dpunetop.domain.drain.report.dpustatus import DpuPhase
from dpunetop.domain.drain.report.failures import why_failed
from dpunetop.domain.drain.report.health import PairState, judge_pairs
from dpunetop.domain.drain.report.parting import Parting, judge_partings
from dpunetop.domain.pairing.entries import idle_pods, idle_pods_left, render_idle_pods
from dpunetop.domain.reasons import PAIRS_HEALTHY
from dpunetop.kube.conditions import Condition
from dpunetop.kube.keys import CONFIGMAPS, INFRA, SERVICEACCOUNTS, Key
from dpunetop.kube.meta import Obj, labels_of
from dpunetop.kube.plan import Apply, Patch, Plan, Step
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.reading import Reader

_AGAIN_SECONDS = 1.0
_PUTTING = Job(PutEntries.__name__)


@dataclass(frozen=True, slots=True)
class PairsView:
    """All that the decision looks at."""

    config: DpuClusterConfig
    pairs_snapshot: PairsSnapshot
    reports: tuple[HostReport | None, ...]
    """What is known of each slot of the roster."""
    account: Obj | None
    """ServiceAccount of the blockers."""
    failing: HoldReason | None
    """Why the entries cannot be written."""
    field_manager: str


class Pairs(ConfigReconciler[PairsView]):
    """Sees to the ServiceAccount of the blockers, the entries of DPUs that are protected, and `PairsHealthy`.

    Guarantees: hosts are looked at only once their blockers can run.
    """

    name = "pairs"
    condition = PAIRS_HEALTHY

    def __init__(
        self,
        installation: Installation,
        executor: Executor,
        drain_store: DrainStore,
        task_runner: TaskRunner,
        failures: Failures,
        operator_image: str | None,
        infra: InfraHealth,
    ) -> None:
        super().__init__(installation, executor)
        self._failures = failures
        self._drain_store = drain_store
        self._task_runner = task_runner
        self._namespace = installation.namespace
        self._pairs_snapshot = PairsGatherer(drain_store, executor.newest, installation, operator_image, infra)

    def serves(self, config: DpuClusterConfig) -> bool:
        """See `ConfigController.serves`; to the very end, since what protects goes last."""
        return config.refused is None and config.has_finalizer and config.kubeconfig_secret is not None

    def forget(self, key: Key) -> None:
        """See `ConfigController.forget`."""
        self._drain_store.drop(tenant_cluster_name(key.namespace, key.name))
        self._failures.forget(key)

    def reconcile(self, key: Key, stop: Stop) -> float | None:
        """See `ConfigController.reconcile`; then writes the entries of those that are protected by now."""
        again = super().reconcile(key, stop)
        roster = self._drain_store.roster(tenant_cluster_name(key.namespace, key.name))
        if roster is None or not roster.has_entries:
            return again
        entries = tuple(e for each in self._drain_store.reports(roster) if each is not None for e in each.entries)
        if not entries:
            self._failures.forget(key)
            return again
        pause = self._put(key, PutEntries(key.namespace, entries), stop)
        return again if pause is None else pause

    def _put(self, key: Key, task: PutEntries, stop: Stop) -> float | None:
        """How long to wait after the entries were tried; None: they are written."""
        if pause := self._failures.pause(key, _PUTTING):
            return pause
        try:
            carried = self._task_runner.carry_out(key, task, stop)
        except CallFailed as err:
            why = why_failed(err.call, err.error)
            self._failures.failed(key, _PUTTING, err.error, why)
            return _AGAIN_SECONDS  # so that it is told
        if carried.done.result is Result.DONE:
            self._failures.succeeded(key, _PUTTING)
            return None
        return _AGAIN_SECONDS

    def plan(self, view: PairsView) -> Plan:
        """See `ConfigController.plan`."""
        roster = view.pairs_snapshot.roster
        if roster is None:
            condition = Condition(PAIRS_HEALTHY, "False", "NoImage", view.pairs_snapshot.lacking)
            return Plan(report(INFRA, view.config.live, (condition,), view.field_manager))
        is_leaving = roster.mode is Mode.LEAVING
        account = () if is_leaving else (_account(view, roster.blockers),)
        again = ENDING_RIGHTS_SECONDS if view.config.terminating else None
        return Plan((*account, *_tidy(view.pairs_snapshot), *_status(view, roster)), again)

    # --- gathering --------------------------------------------------------------------------------------------------

    def gather(self, reader: Reader, config: DpuClusterConfig) -> PairsView:
        """See `ConfigController.gather`; posts the roster, from which the workers of the hosts start."""
        siblings = self.siblings(reader, config)
        access = self.access(reader, config)
        found = self._pairs_snapshot.take(reader, config, access, siblings, lambda each: self.rights(reader, each))
        account = reader.one(INFRA, SERVICEACCOUNTS, self._namespace, names.DRAIN_BLOCKER)
        if found.roster is not None and (account is not None or found.roster.mode is Mode.LEAVING):
            self._drain_store.publish(found.roster)
        reports = tuple(self._drain_store.reports(found.roster)) if found.roster is not None else ()
        failing = self._failures.trouble(Key(INFRA, config.namespace, config.name))
        return PairsView(config, found, reports, account, failing, self.manager)


def _account(view: PairsView, settings: BlockerSettings) -> Step:
    """One for all: it bears the label of whoever made it, and whoever else needs it makes it anew."""
    live = view.account
    owner = settings.owner if live is None else labels_of(live).get(names.OWNER_LABEL, settings.owner)
    desired = service_account(replace(settings, owner=owner))
    return Apply(INFRA, SERVICEACCOUNTS, desired, live, view.field_manager)


def _tidy(found: PairsSnapshot) -> tuple[Step, ...]:
    """Of idle pods that others have followed nothing needs to be known."""
    live = found.entries
    if live is None or idle_pods(live) == (left := idle_pods_left(live, found.pods)):
        return ()
    change = {"metadata": {"annotations": {names.IDLE_PODS_ANNOTATION: render_idle_pods(left)}}}
    return (Patch(INFRA, CONFIGMAPS, live, change),)


def _status(view: PairsView, roster: Roster) -> tuple[Step, ...]:
    """Nothing is said before every host has been looked at; what was said before stands until then."""
    condition = _condition(view, roster)
    if condition is None:
        return ()
    return report(INFRA, view.config.live, (condition,), view.field_manager)


def _condition(view: PairsView, roster: Roster) -> Condition | None:
    if roster.mode is Mode.LEAVING:
        return Condition(PAIRS_HEALTHY, "False", LEADING_OUT, "no host is waited for any more")
    reports = [each for each in view.reports if each is not None and each.is_looked_at]
    if len(reports) < len(view.reports):
        return None
    if roster.mode is Mode.LEADING_OUT:
        return judge_partings(list(_partings(view.reports, roster)))
    unseen = next((each.unseen for each in reports if each.unseen is not None), None)
    failing = () if view.failing is None else (view.failing,)
    strays = tuple(each.stray for each in reports if each.stray is not None)
    told = (*failing, *roster.mistakes, *strays)
    networks = [each.network for each in view.reports if each is not None and each.network is not None]
    return judge_pairs(list(_states(view.reports, roster)), roster.problems, told, unseen, networks)


def _partings(reports: Iterable[HostReport | None], roster: Roster) -> Iterable[Parting]:
    for slot, each in zip(roster.slots.values(), reports, strict=True):
        if slot.host and slot.members:
            yield Parting(slot.host, each.dpu_statuses if each is not None else ())


def _states(reports: Iterable[HostReport | None], roster: Roster) -> Iterable[PairState]:
    entries = {m.dpu for slot in roster.slots.values() for m in slot.members if m.entry.text}
    for each, slot in zip(reports, roster.slots.values(), strict=True):
        dpu_statuses = {dpu_status.dpu: dpu_status for dpu_status in each.dpu_statuses} if each is not None else {}
        for dpu, guarding, pairing in each.guardings if each is not None else ():
            dpu_status = dpu_statuses.get(dpu)
            if pairing is not None or dpu in entries or (dpu_status is not None and dpu_status.stage is DpuPhase.HELD):
                cause = dict(each.causes).get(dpu, "") if each is not None else ""
                yield PairState(dpu, guarding, dpu_status, dpu in entries, slot.host, cause)
