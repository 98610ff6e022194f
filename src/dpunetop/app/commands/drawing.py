"""Computes what the operator would write for a DpuClusterConfig: runs its reconcilers until nothing changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dpunetop.app.assets import host_assets, interconnect_scripts, ovnkube_scripts
from dpunetop.app.commands.clients import ClosedGate
from dpunetop.app.commands.inspection import no_client, one_look, pairs_of
from dpunetop.app.commands.installed import installation_of, installed_settings
from dpunetop.app.commands.paper import DryRunClusters, Written
from dpunetop.base.clock import Clock
from dpunetop.controllers.copies import TenantObjects
from dpunetop.controllers.drain.gather_host import INDEXERS, HostGatherer
from dpunetop.controllers.drain.infrahealth import InfraHealth
from dpunetop.controllers.drain.store import DrainStore
from dpunetop.controllers.hostconfig import HostConfig
from dpunetop.controllers.inquiries import Inquiries
from dpunetop.controllers.ovnkube import OvnKube
from dpunetop.controllers.reconciler import CONFIG_INDEXERS, ConfigReconciler
from dpunetop.domain.clusterconfig.types import DpuClusterConfig, parse_config
from dpunetop.domain.drain.fleet.roster import HostScope
from dpunetop.domain.drain.host import decide_host
from dpunetop.domain.names import DPUCLUSTERCONFIGS
from dpunetop.domain.ovnkube.view import PodScripts
from dpunetop.domain.reasons import CONDITIONS, READY, Gravity, meaning
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.keys import INFRA
from dpunetop.kube.plan import Step
from dpunetop.runtime.events import EventRecorder
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.oneshot import OneShotListers
from dpunetop.runtime.reading import NotEngaged, NotSynced, Reader

_MOST_PASSES = 12


@dataclass(frozen=True, slots=True)
class Drawing:
    """The writes in order, and what cannot be known."""

    written: tuple[Written, ...]
    unknown: tuple[str, ...]


def draw(paper: DryRunClusters, namespace: str, name: str, operator_namespace: str, clock: Clock) -> Drawing:
    """Run the operator's reconcilers on paper until nothing changes. Raises: ApiError."""
    troubles: tuple[str, ...] = ()
    for _ in range(_MOST_PASSES):
        painter = _Pass(paper, namespace, name, operator_namespace, clock)
        changed, troubles = painter.run(), tuple(painter.troubles)
        if not changed:
            break
    return Drawing(tuple(paper.written.values()), (*troubles, *_unsaid(painter.config())))


class _Pass:
    """One pass of all reconcilers over one state of the paper."""

    def __init__(self, paper: DryRunClusters, namespace: str, name: str, operator_namespace: str, clock: Clock) -> None:
        self.troubles: list[str] = []
        self._paper = paper
        self._namespace, self._name = namespace, name
        self._look = OneShotListers(paper.list, {**INDEXERS, DPUCLUSTERCONFIGS: CONFIG_INDEXERS})
        reader = self._look.reader()
        settings = installed_settings(reader, operator_namespace)
        installation = installation_of(settings, operator_namespace)
        executor = Executor(no_client, ClosedGate(), EventRecorder(no_client, "dpunetop", clock, instance="cli"), clock)
        scripts = PodScripts(ovnkube_scripts(), interconnect_scripts())
        networks = settings.tenant_allowed_cidrs if settings is not None else ()
        self._reconcilers: Sequence[ConfigReconciler[Any]] = (
            HostConfig(installation, executor, host_assets()),
            TenantObjects(installation, executor, clock),
            OvnKube(installation, executor, scripts, networks, clock),
        )
        infra = InfraHealth(lambda: None, clock)
        image = settings.operator_image if settings is not None else None
        self._pairs = pairs_of(installation, executor, DrainStore(), image, infra)
        self._sources = one_look(_Unconnected(), Inquiries(), no_client, executor, infra, clock)

    def run(self) -> bool:
        """Run one pass; return whether anything has changed."""
        changed = False
        for each in (*self._reconcilers, self._pairs):
            for step in self._steps(each):
                changed |= self._paper.carry_out(step)
        for step in self._blockers():
            changed |= self._paper.carry_out(step)
        return changed

    def config(self) -> DpuClusterConfig:
        """The DpuClusterConfig on paper, even if it would be rejected."""
        live = self._look_anew().one(INFRA, DPUCLUSTERCONFIGS, self._namespace, self._name)
        assert live is not None
        return replace(parse_config(live), refused=None)

    def _look_anew(self) -> Reader:
        return OneShotListers(self._paper.list, {**INDEXERS, DPUCLUSTERCONFIGS: CONFIG_INDEXERS}).reader()

    def _steps(self, reconciler: ConfigReconciler[Any]) -> Iterable[Step]:
        config = self.config()
        if not reconciler.serves(config):
            return ()
        try:
            return reconciler.plan(reconciler.gather(self._look_anew(), config)).steps
        except (NotSynced, NotEngaged) as err:
            self.troubles.append(f"{reconciler.condition}: {err}")
            return ()

    def _blockers(self) -> Iterable[Step]:
        """The blocker and the first budget of each DPU, as the worker of its host would write them."""
        config = self.config()
        if not self._pairs.serves(config):
            return
        reader = self._look_anew()
        try:
            roster = self._pairs.gather(reader, config).roster
            for slot in () if roster is None else roster.slots.values():
                assert roster is not None
                snapshot = HostGatherer(self._sources, reader, HostScope(roster, slot)).snapshot()
                for found in decide_host(snapshot).protections.values():
                    yield from found.upkeep
        except (NotSynced, NotEngaged):
            return  # said of `PairsHealthy` already


def _unsaid(config: DpuClusterConfig) -> Iterable[str]:
    """The conditions that keep something from being written."""
    said = (condition_of(config.live, type_) for type_ in CONDITIONS if type_ != READY)
    return [f"{c['type']}={c['status']} {c['reason']}: {c['message']}" for c in said if c and _keeps_back(c)]


def _keeps_back(said: Mapping[str, Any]) -> bool:
    """Whether the condition says more than that something takes time."""
    is_good = said["status"] == "True" or meaning(said["reason"]).gravity in (Gravity.GOOD, Gravity.PASSING)
    return not is_good


class _Unconnected:
    """Clusters on paper are not connected."""

    def get(self, name: str) -> None:
        """See `Clusters.get`."""
