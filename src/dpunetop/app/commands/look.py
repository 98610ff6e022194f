"""One look at both clusters through the operator's own gatherers and decisions, with no operator running."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from dpunetop.app.commands.clients import ClosedGate
from dpunetop.app.commands.flags import DEFAULT_OPERATOR_NAMESPACE
from dpunetop.app.commands.installed import installation_of, installed_settings
from dpunetop.app.commands.lease import OperatorSeen, see_operator
from dpunetop.base.clock import Clock, RealClock
from dpunetop.base.stop import Stop
from dpunetop.controllers.drain.epoch import Epoch
from dpunetop.controllers.drain.evictions import Evictions
from dpunetop.controllers.drain.failures import Failures
from dpunetop.controllers.drain.gather_host import INDEXERS, FirstLooks, HostGatherer, HostSources
from dpunetop.controllers.drain.hosts import MANAGER
from dpunetop.controllers.drain.infrahealth import InfraHealth
from dpunetop.controllers.drain.leases import Leases
from dpunetop.controllers.drain.nodeabsence import NodeAbsences
from dpunetop.controllers.drain.pairs import Pairs
from dpunetop.controllers.drain.store import DrainStore, key_of
from dpunetop.controllers.drain.taskrunner import TaskRunner
from dpunetop.controllers.inquiries import Inquiries
from dpunetop.controllers.reconciler import CONFIG_INDEXERS, Connections, Installation
from dpunetop.domain.clusterconfig.types import DpuClusterConfig
from dpunetop.domain.dpunode.judge import NOT_LOOKED_AT, dpu_node_statuses, unseen_statuses
from dpunetop.domain.dpunode.objects import written_for
from dpunetop.domain.dpunode.status import DpuNodeStatus
from dpunetop.domain.dpunode.written import Written, read_written
from dpunetop.domain.drain.fleet.roster import HostScope, Roster, Slot
from dpunetop.domain.drain.host import HostDecision, HostSnapshot, decide_host
from dpunetop.domain.drain.hostreport import report_host
from dpunetop.domain.drain.pairs import PairsView
from dpunetop.domain.names import DPUCLUSTERCONFIGS, DPUNODES
from dpunetop.kube.errors import ApiError, NotFound
from dpunetop.kube.keys import INFRA, Key
from dpunetop.kube.meta import Obj, name_of, namespace_of
from dpunetop.kube.requests import Selection
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.cluster import Health, Reach
from dpunetop.runtime.events import EventRecorder
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.latency import Bulkhead, nobody
from dpunetop.runtime.onelook import OneLook
from dpunetop.runtime.reading import NotEngaged, NotSynced, Reader

Clients = Mapping[str, Client]
"""By cluster; a tenant that is not among them is not looked at."""

_PAGE = 500
_LONG_AGO = timedelta(hours=1)
_SOME_IMAGE = "unknown"
"""Of blockers that nobody makes here: what they run changes nothing of what is shown."""


@dataclass(frozen=True, slots=True)
class HostLook:
    """One host, or a DPU that has none: what the operator would decide, and what that says of its DPUs."""

    config: DpuClusterConfig
    slot: Slot
    statuses: tuple[DpuNodeStatus, ...]
    decided: HostDecision | None = None
    """None: it could not be looked at; its statuses say why."""


@dataclass(frozen=True, slots=True)
class ConfigLook:
    """One DpuClusterConfig."""

    config: DpuClusterConfig
    hosts: tuple[HostLook, ...] = ()
    roster: Roster | None = None
    trouble: str = ""
    """Why nothing is known of its hosts; empty: they are looked at."""
    unseen: str = ""
    """Why its tenant was not looked at; empty: it was."""
    written: Mapping[str, Written] = field(default_factory=dict)
    """What the operator has written in the `DpuNode` of each DPU."""
    unread: str = ""
    """Why that is not known; empty: it is, or there is no such kind."""


@dataclass(frozen=True, slots=True)
class Look:
    """All that one look shows."""

    operator: OperatorSeen
    configs: tuple[ConfigLook, ...]


def one_look(
    clusters: Connections,
    inquiries: Inquiries,
    client: Callable[[str], Client],
    executor: Executor,
    infra: InfraHealth,
    clock: Clock,
) -> HostSources:
    """What a `HostGatherer` reads beside lists, for whoever looks once and so waits for nobody; what it asks of servers
    is put to `inquiries`."""
    return HostSources(
        clusters,
        NodeAbsences(inquiries, client, clock),
        Epoch(clock, MANAGER),
        executor.newest,
        Evictions(inquiries, client, clock),
        infra,
        Leases(clock),
        FirstLooks(clock, patience_seconds=0.0),
    )


def pairs_of(
    installation: Installation, executor: Executor, store: DrainStore, operator_image: str | None, infra: InfraHealth
) -> Pairs:
    """The controller of all pairs, which is asked what it sees and plans, and never carries anything out."""
    clock = RealClock()
    tasks = TaskRunner(executor, no_client, Bulkhead(1, nobody))
    return Pairs(installation, executor, store, tasks, Failures(clock), operator_image, infra)


def no_client(name: str) -> Client:
    """For what never calls. Raises: NotEngaged."""
    raise NotEngaged(name)


class Looker:
    """Looks once. Threads: one. Raises: ApiError, where infra cannot be looked at."""

    def __init__(self, clients: Clients, clock: Clock, operator_namespace: str | None) -> None:
        self._clients = clients
        self._clock = clock
        self._look = OneLook(self._list, {**INDEXERS, DPUCLUSTERCONFIGS: CONFIG_INDEXERS})
        self._reader = self._look.reader()
        self._operator = see_operator(self._reader, clock.now(), operator_namespace)
        namespace = self._operator.namespace or DEFAULT_OPERATOR_NAMESPACE
        self._store = DrainStore()
        self._infra = InfraHealth(self._health, clock)
        recorder = EventRecorder(self._client, "dpunetop", clock, instance="cli")
        self._executor = Executor(self._client, ClosedGate(), recorder, clock)
        settings = installed_settings(self._reader, namespace)
        self._pairs = pairs_of(
            installation_of(settings, namespace),
            self._executor,
            self._store,
            (settings.operator_image if settings else None) or _SOME_IMAGE,
            self._infra,
        )
        self._inquiries, self._asked = Inquiries(), set[Key]()
        self._inquiries.connect(self._asked.add, self._asked.discard)
        clusters = _Unprobed(clients, self._health)
        self._sources = one_look(clusters, self._inquiries, self._client, self._executor, self._infra, clock)

    @property
    def reader(self) -> Reader:
        """What this look reads through, for whatever else is to be shown of the same moment."""
        return self._reader

    def look(self, is_wanted: Callable[[DpuClusterConfig], bool] = lambda _: True) -> Look:
        """Everything of the DpuClusterConfigs that are wanted; those that share a tenant count all the same."""
        configs = self._configs()
        for _ in range(2):  # the second time those that share a tenant know of each other
            views = {each.uid: self._gathered(each) for each in configs}
        looks = tuple(self._config(each, views[each.uid]) for each in configs if is_wanted(each))
        return Look(self._operator, looks)

    def _configs(self) -> list[DpuClusterConfig]:
        found = sorted(self._listed_configs(), key=lambda each: (namespace_of(each), name_of(each)))
        judged = (self._pairs.judged(self._reader, Key(INFRA, namespace_of(each), name_of(each))) for each in found)
        return [each for each in judged if each is not None]

    def _listed_configs(self) -> list[Obj]:
        try:
            return self._reader.list(INFRA, Selection(DPUCLUSTERCONFIGS))
        except NotSynced as err:
            if isinstance(err.error, NotFound):
                return []  # their definition is not there
            raise err.error or err from err

    def _gathered(self, config: DpuClusterConfig) -> PairsView | str:
        """What follows for all pairs, or why nothing does."""
        if config.refused is not None:
            return f"{config.refused.reason}: {config.refused.message}"
        if config.kubeconfig_secret is None:
            return "spec.kubeConfigFile is not set: host configuration only, no DPU serves a host"
        try:
            view = self._pairs.gather(self._reader, config)
        except NotSynced as err:
            return str(err)
        if view.roster is None:
            return view.lacking
        self._store.publish(view.roster)
        return view

    def _config(self, config: DpuClusterConfig, view: PairsView | str) -> ConfigLook:
        if isinstance(view, str) or view.roster is None:
            return ConfigLook(config, trouble=view if isinstance(view, str) else view.lacking)
        hosts = tuple(self._host(view.roster, place_slot) for place_slot in view.roster.slots.items())
        written, unread = self._written(config)
        return ConfigLook(config, hosts, view.roster, unseen=self._unseen(config), written=written, unread=unread)

    def _written(self, config: DpuClusterConfig) -> tuple[Mapping[str, Written], str]:
        """What the operator has written of each DPU; a release that does not know `DpuNode` wrote nothing."""
        try:
            found = self._reader.list(INFRA, Selection(DPUNODES, config.namespace))
        except NotSynced as err:
            return {}, "" if isinstance(err.error, NotFound) else str(err)
        read = ((name_of(obj), read_written(obj)) for obj in found if written_for(obj) == config.uid)
        return {name: written for name, written in read if written is not None}, ""

    def _unseen(self, config: DpuClusterConfig) -> str:
        cluster = config.tenant_cluster
        if cluster not in self._clients:
            return "no --tenant-kubeconfig was given for it"
        failed = [f"{want[1]}: {err}" for want, err in self._look.failures().items() if want[0] == cluster]
        return min(failed, default="")

    def _host(self, roster: Roster, place_slot: tuple[tuple[str, str], Slot]) -> HostLook:
        place, slot = place_slot
        try:
            snapshot = self._snapshot(HostScope(roster, slot))
        except (NotSynced, NotEngaged, ApiError) as err:
            return HostLook(roster.config, slot, unseen_statuses(roster, slot, NOT_LOOKED_AT, str(err)))
        decided = decide_host(snapshot)
        report = report_host(decided, None, {})
        self._store.report(key_of(roster.config.tenant_cluster, place), report)
        return HostLook(roster.config, slot, dpu_node_statuses(decided, report), decided)

    def _snapshot(self, scope: HostScope) -> HostSnapshot:
        """What a look shows once the servers have answered what it asks."""
        gatherer = HostGatherer(self._sources, self._reader, scope)
        if not (first := gatherer.snapshot()).is_open:
            return first
        while self._asked:
            self._inquiries.reconcile(self._asked.pop(), Stop())
        return gatherer.snapshot()

    # --- the clusters -------------------------------------------------------------------------------------------------

    def _client(self, name: str) -> Client:
        client = self._clients.get(name)
        if client is None:
            raise NotEngaged(name)
        return client

    def _list(self, name: str, selection: Selection) -> Iterable[Obj]:
        for page in self._client(name).pages(selection, _PAGE):
            yield from page.items

    def _health(self) -> Health:
        """It has just answered."""
        return Health(Reach.REACHABLE, "", "", self._clock.now() - _LONG_AGO)


@dataclass(frozen=True, slots=True)
class _Answering:
    """A cluster that has just answered."""

    health: Health


class _Unprobed:
    """Clusters that nobody probes: what they answer is what is read of them."""

    def __init__(self, clients: Clients, health: Callable[[], Health]) -> None:
        self._clients = clients
        self._health = health

    def get(self, name: str) -> _Answering | None:
        """See `Clusters.get`."""
        return _Answering(self._health()) if name in self._clients else None
