"""All pairs of a DpuClusterConfig: the roster, the entries in one write, and `PairsHealthy`."""

from __future__ import annotations

from dpunetop.base.stop import Stop
from dpunetop.controllers.drain.failures import Failures, Job
from dpunetop.controllers.drain.gather_pairs import PairsGatherer
from dpunetop.controllers.drain.infrahealth import InfraHealth
from dpunetop.controllers.drain.store import DrainStore
from dpunetop.controllers.drain.taskrunner import CallFailed, TaskRunner
from dpunetop.controllers.reconciler import ConfigReconciler, Installation
from dpunetop.domain import names
from dpunetop.domain.clusterconfig.access import Access
from dpunetop.domain.clusterconfig.types import DpuClusterConfig, tenant_cluster_name
from dpunetop.domain.dpunode.judge import counted
from dpunetop.domain.drain.fleet.roster import Mode
from dpunetop.domain.drain.model.calls import Result
from dpunetop.domain.drain.pairs import PairsView, plan_pairs
from dpunetop.domain.drain.protection.tasks import PutEntries
from dpunetop.domain.drain.report.failures import why_failed
from dpunetop.domain.drain.rosters import build_roster
from dpunetop.domain.ovnkube.image import NoImage
from dpunetop.domain.reasons import PAIRS_HEALTHY
from dpunetop.kube.keys import INFRA, SERVICEACCOUNTS, Key
from dpunetop.kube.plan import Plan
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.reading import Reader

_AGAIN_SECONDS = 1.0
_PUTTING = Job(PutEntries.__name__)


class Pairs(ConfigReconciler[PairsView]):
    """Manages the ServiceAccount of the blockers, the entries of DPUs that are protected, and `PairsHealthy`.

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
        self._gatherer = PairsGatherer(drain_store, executor.newest, installation, operator_image, infra)

    def serves(self, config: DpuClusterConfig) -> bool:
        """See `ConfigReconciler.serves`; until its deletion ends, since protections are removed late."""
        return config.refused is None and config.has_finalizer and config.kubeconfig_secret is not None

    def forget(self, key: Key) -> None:
        """See `ConfigReconciler.forget`."""
        self._drain_store.drop(tenant_cluster_name(key.namespace, key.name))
        self._failures.forget(key)

    def reconcile(self, key: Key, stop: Stop) -> float | None:
        """See `ConfigReconciler.reconcile`; then writes the entries of DPUs that are protected by now."""
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
        """How long to wait before the entries are tried again; None: they are written."""
        if pause := self._failures.pause(key, _PUTTING):
            return pause
        try:
            carried = self._task_runner.carry_out(key, task, stop)
        except CallFailed as err:
            why = why_failed(err.call, err.error)
            pause = self._failures.failed(key, _PUTTING, err.error, why)
            return min(pause, _AGAIN_SECONDS)  # at the latest, so that it is reported
        if carried.done.result is Result.DONE:
            self._failures.succeeded(key, _PUTTING)
            return None
        return _AGAIN_SECONDS

    def plan(self, view: PairsView) -> Plan:
        """See `ConfigReconciler.plan`."""
        return plan_pairs(view)

    def publish(self, view: PairsView) -> None:
        """See `ConfigReconciler.publish`: the roster, from which the workers of the hosts start."""
        roster = view.roster
        if roster is not None and (view.account is not None or roster.mode is Mode.LEAVING):
            self._drain_store.publish(roster)

    def gather(self, reader: Reader, config: DpuClusterConfig) -> PairsView:
        """See `ConfigReconciler.gather`."""
        siblings, access = self.siblings(reader, config), self.access(reader, config)
        if access is Access.GIVEN:
            self._gatherer.begin(reader, config)
        fleet = self._gatherer.fleet(reader, config, access, siblings, lambda each: self.rights(reader, each))
        roster = None if isinstance(fleet, NoImage) else build_roster(fleet)
        account = reader.one(INFRA, SERVICEACCOUNTS, self._namespace, names.DRAIN_BLOCKER)
        is_given = access is Access.GIVEN
        statuses = None if roster is None else self._drain_store.statuses(roster)
        return PairsView(
            config=config,
            roster=roster,
            lacking=fleet.message if isinstance(fleet, NoImage) else "",
            entries=self._gatherer.entries(reader, config, self.owner(reader, config)) if is_given else None,
            pods=self._gatherer.pods(reader, config) if is_given else (),
            reports=tuple(self._drain_store.reports(roster)) if roster is not None else (),
            account=account,
            failing=self._failures.trouble(Key(INFRA, config.namespace, config.name)),
            field_manager=self.manager,
            dpus=None if statuses is None else counted(statuses),
        )
