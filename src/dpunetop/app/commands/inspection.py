"""One look at both clusters through the operator's own gatherers and decisions, with no operator running."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta

from dpunetop.app.commands.blocking import LeftPod, seen_pods
from dpunetop.app.commands.clients import ClosedGate
from dpunetop.app.commands.installed import installation_of, installed_settings
from dpunetop.app.commands.lease import OperatorSeen, see_operator
from dpunetop.app.commands.ownends import own_ends
from dpunetop.app.commands.unlooked import next_step, unlooked_words
from dpunetop.base.clock import Clock, RealClock
from dpunetop.base.quoting import quoted
from dpunetop.base.stop import Stop
from dpunetop.controllers.drain.epoch import Epoch
from dpunetop.controllers.drain.evictions import Evictions
from dpunetop.controllers.drain.failures import Failures
from dpunetop.controllers.drain.gather_host import INDEXERS, FirstSyncWaits, HostGatherer, HostSources
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
from dpunetop.domain.doctor.model import Diagnosis
from dpunetop.domain.dpunode.judge import NOT_LOOKED_AT, dpu_node_statuses, unseen_statuses
from dpunetop.domain.dpunode.objects import written_for
from dpunetop.domain.dpunode.status import DpuNodeStatus, Phase
from dpunetop.domain.dpunode.written import Written, read_written
from dpunetop.domain.drain.fleet.roster import HostScope, Roster, Slot
from dpunetop.domain.drain.host import HostDecision, HostSnapshot, decide_host
from dpunetop.domain.drain.hostreport import report_host
from dpunetop.domain.drain.model.facts import Blind
from dpunetop.domain.drain.pairs import PairsView
from dpunetop.domain.names import DPUCLUSTERCONFIGS, DPUNODES, KUBE_SYSTEM
from dpunetop.kube.errors import ApiError, NotFound
from dpunetop.kube.keys import INFRA, NAMESPACES, Key
from dpunetop.kube.meta import Obj, name_of, namespace_of, uid_of
from dpunetop.kube.requests import Selection
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.cluster import Health, Reach
from dpunetop.runtime.events import EventRecorder
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.latency import Bulkhead, nobody
from dpunetop.runtime.oneshot import OneShotListers
from dpunetop.runtime.reading import NotEngaged, NotSynced, Reader

Clients = Mapping[str, Client]
"""By cluster; a tenant without a client is not looked at."""

_PAGE = 500
_MOST_DRAINS = 50
"""So many hosts that are being drained are asked for their pods."""
_LONG_AGO = timedelta(hours=1)
_SOME_IMAGE = "unknown"
"""The image of blockers; none is created here, so it does not affect the output."""


@dataclass(frozen=True, slots=True)
class HostInspection:
    """One host, or a DPU without one: the operator's decision, and the statuses of its DPUs."""

    config: DpuClusterConfig
    slot: Slot
    statuses: tuple[DpuNodeStatus, ...]
    decided: HostDecision | None = None
    """None: the host could not be looked at; its statuses say why."""
    pods: tuple[LeftPod, ...] = ()
    """Of a host that is being drained, those that are left, those that a budget holds first."""
    unseen_pods: str = ""
    """Why these are not known; empty: they are, or nobody asks for them."""


@dataclass(frozen=True, slots=True)
class ConfigInspection:
    """One DpuClusterConfig."""

    config: DpuClusterConfig
    hosts: tuple[HostInspection, ...] = ()
    roster: Roster | None = None
    trouble: str = ""
    """Why it has no pairs; empty: it may have some."""
    blind: str = ""
    """Why infra was not looked at for it, so that nothing is known of its hosts; empty: it was."""
    unseen: str = ""
    """Why its tenant was not looked at; empty: it was."""
    written: Mapping[str, Written] = field(default_factory=dict)
    """The operator's record in the `DpuNode` of each DPU."""
    unread: str = ""
    """Why that is unknown; empty: it is known, or the kind does not exist."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What one look at the clusters found."""

    operator: OperatorSeen
    configs: tuple[ConfigInspection, ...]
    own: tuple[Diagnosis, ...] = ()
    """What is said of the operator's own credentials, and of the certificate of its metrics."""


def one_look(
    clusters: Connections,
    inquiries: Inquiries,
    client: Callable[[str], Client],
    executor: Executor,
    infra: InfraHealth,
    clock: Clock,
) -> HostSources:
    """The sources of a `HostGatherer` for a single look, which never waits; requests to servers go to `inquiries`."""
    return HostSources(
        clusters,
        NodeAbsences(inquiries, client, clock),
        Epoch(clock, MANAGER),
        executor.newest,
        Evictions(inquiries, client, clock),
        infra,
        Leases(clock),
        FirstSyncWaits(clock, patience_seconds=0.0),
    )


def pairs_of(
    installation: Installation, executor: Executor, store: DrainStore, operator_image: str | None, infra: InfraHealth
) -> Pairs:
    """The controller of all pairs; it gathers and plans here, and never executes."""
    clock = RealClock()
    tasks = TaskRunner(executor, no_client, Bulkhead(1, nobody))
    return Pairs(installation, executor, store, tasks, Failures(clock), operator_image, infra)


def stranger(
    config: DpuClusterConfig, configs: Iterable[DpuClusterConfig], uid_of_cluster: Callable[[str], str]
) -> str:
    """Which other cluster the kubeconfig leads to that was given for a tenant, and what to do; empty: none is known."""
    found = uid_of_cluster(config.tenant_cluster) if config.tenant_uid else ""
    if found in ("", config.tenant_uid):
        return ""
    owners = (f"{each.namespace}/{each.name}" for each in configs if each.tenant_uid == found)
    infra = "infra itself" if found == uid_of_cluster(INFRA) else ""
    other = infra or next((f"the tenant of {each}" for each in owners), f"the cluster with the UID {quoted(found)}")
    give = f"add --tenant-kubeconfig {config.namespace}/{config.name}=PATH"
    return f"the kubeconfig that was given for it leads to {other}; {give}"


def no_client(name: str) -> Client:
    """For code that must not call a cluster. Raises: NotEngaged."""
    raise NotEngaged(name)


class Inspector:
    """Inspects the clusters once. Threads: one. Raises: ApiError if infra cannot be read."""

    def __init__(self, clients: Clients, clock: Clock, operator_namespace: str | None) -> None:
        self._clients = dict(clients)
        self._strangers: dict[str, str] = {}  # cluster -> which other one the given kubeconfig leads to
        self._clock = clock
        self._look = OneShotListers(self._list, {**INDEXERS, DPUCLUSTERCONFIGS: CONFIG_INDEXERS})
        self._reader = self._look.reader()
        self._operator = see_operator(self._reader, clock.now, operator_namespace)
        namespace = self._operator.namespace
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
        self._drains_left = _MOST_DRAINS
        self._inquiries, self._asked = Inquiries(), set[Key]()
        self._inquiries.connect(self._asked.add, self._asked.discard)
        clusters = _Unprobed(self._clients, self._health)
        self._sources = one_look(clusters, self._inquiries, self._client, self._executor, self._infra, clock)

    @property
    def reader(self) -> Reader:
        """The reader of this look, for further output of the same moment."""
        return self._reader

    def inspect(self, is_wanted: Callable[[DpuClusterConfig], bool] = lambda _: True) -> Inspection:
        """Look at the wanted DpuClusterConfigs; others that share their tenants are taken into account too."""
        configs = self._configs()
        for _ in range(2):  # in the second round those that share a tenant know of each other
            views = {each.uid: self._gathered(each) for each in configs}
        looks = tuple(self._config(each, views[each.uid]) for each in configs if is_wanted(each))
        own = own_ends(self._reader, self._clock.now(), self._operator.namespace)
        return Inspection(self._operator, looks, own)

    def _configs(self) -> list[DpuClusterConfig]:
        found = sorted(self._listed_configs(), key=lambda each: (namespace_of(each), name_of(each)))
        judged = (self._pairs.judged(self._reader, Key(INFRA, namespace_of(each), name_of(each))) for each in found)
        configs = [each for each in judged if each is not None]
        for config, words in [(each, stranger(each, configs, self._uid_of)) for each in configs]:
            if words:
                self._strangers[config.tenant_cluster] = words
                self._clients.pop(config.tenant_cluster, None)
        return configs

    def _uid_of(self, cluster: str) -> str:
        """The UID by which a cluster is known; empty: it is not asked, or does not say it."""
        client = self._clients.get(cluster)
        with suppress(ApiError):
            return "" if client is None else uid_of(client.get(NAMESPACES, "", KUBE_SYSTEM))
        return ""

    def _listed_configs(self) -> list[Obj]:
        try:
            return self._reader.list(INFRA, Selection(DPUCLUSTERCONFIGS))
        except NotSynced as err:
            if isinstance(err.error, NotFound):
                return []  # their definition is not there
            raise err.error or err from err

    def _gathered(self, config: DpuClusterConfig) -> PairsView | str | NotSynced:
        """What follows for all pairs, or why nothing does, or why that is not known."""
        if config.refused is not None:
            return f"{config.refused.reason}: {config.refused.message}"
        if config.kubeconfig_secret is None:
            return "spec.kubeConfigFile is not set: host configuration only, no DPU serves a host"
        try:
            view = self._pairs.gather(self._reader, config)
        except NotSynced as err:
            return err
        if view.roster is None:
            return view.lacking
        self._store.publish(view.roster)
        return view

    def _config(self, config: DpuClusterConfig, view: PairsView | str | NotSynced) -> ConfigInspection:
        if isinstance(view, NotSynced):
            written, unread = self._written(config)
            return ConfigInspection(config, blind=unlooked_words(view), written=written, unread=unread)
        if isinstance(view, str) or view.roster is None:
            return ConfigInspection(config, trouble=view if isinstance(view, str) else view.lacking)
        hosts = tuple(self._host(view.roster, place_slot) for place_slot in view.roster.slots.items())
        unseen = self._unseen(config)
        hosts = hosts if unseen else tuple(map(self._with_pods, hosts))
        written, unread = self._written(config)
        return ConfigInspection(config, hosts, view.roster, unseen=unseen, written=written, unread=unread)

    def _written(self, config: DpuClusterConfig) -> tuple[Mapping[str, Written], str]:
        """The operator's record of each DPU; none from a release without `DpuNode`."""
        try:
            found = self._reader.list(INFRA, Selection(DPUNODES, config.namespace))
        except NotSynced as err:
            return {}, "" if isinstance(err.error, NotFound) else unlooked_words(err)
        read = ((name_of(obj), read_written(obj)) for obj in found if written_for(obj) == config.uid)
        return {name: written for name, written in read if written is not None}, ""

    def _unseen(self, config: DpuClusterConfig) -> str:
        cluster = config.tenant_cluster
        if cluster in self._strangers:
            return self._strangers[cluster]
        if cluster not in self._clients:
            return "no --tenant-kubeconfig was given for it"
        failures = self._look.failures().items()
        failed = [f"{want[1]}: {err}; {next_step(err)}" for want, err in failures if want[0] == cluster]
        return min(failed, default="")

    def _host(self, roster: Roster, place_slot: tuple[tuple[str, str], Slot]) -> HostInspection:
        place, slot = place_slot
        try:
            snapshot = self._snapshot(HostScope(roster, slot))
        except (NotSynced, NotEngaged, ApiError) as err:
            return HostInspection(
                roster.config, slot, unseen_statuses(roster, slot, NOT_LOOKED_AT, unlooked_words(err))
            )
        decided = decide_host(_as_its_author(snapshot))
        report = report_host(decided, None, {})
        self._store.report(key_of(roster.config.tenant_cluster, place), report)
        return HostInspection(roster.config, slot, dpu_node_statuses(decided, report), decided)

    def _with_pods(self, host: HostInspection) -> HostInspection:
        """The same with what keeps the drain of the host; for the first hosts alone, since each is a request."""
        is_draining = host.slot.host and any(each.phase is Phase.DRAINING for each in host.statuses)
        if not is_draining or not self._drains_left:
            return host
        self._drains_left -= 1
        pods, why = seen_pods(self._reader, host.config.tenant_cluster, host.slot.host)
        return replace(host, pods=pods, unseen_pods=why)

    def _snapshot(self, scope: HostScope) -> HostSnapshot:
        """The snapshot of a host, after the servers have answered its inquiries."""
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


def _as_its_author(snapshot: HostSnapshot) -> HostSnapshot:
    """The same, as whoever wrote the records of the drain decides on it: another process takes a record over before it
    looks at what the drain waits for, and a look takes nothing over. Of a tenant that it cannot read it knows less."""
    cycles = (dpu.budget.cycle for dpu in snapshot.dpus if dpu.budget is not None)
    terms = {cycle.term for cycle in cycles if cycle is not None}
    if snapshot.view is None or isinstance(snapshot.view.tenant, Blind) or len(terms) != 1:
        return snapshot
    host_ref = replace(snapshot.host_ref, author=replace(snapshot.host_ref.author, term=terms.pop()))
    return replace(snapshot, host_ref=host_ref, view=replace(snapshot.view, host_ref=host_ref))


@dataclass(frozen=True, slots=True)
class _Answering:
    """A cluster that has just answered."""

    health: Health


class _Unprobed:
    """Clusters without a health probe."""

    def __init__(self, clients: Clients, health: Callable[[], Health]) -> None:
        self._clients = clients
        self._health = health

    def get(self, name: str) -> _Answering | None:
        """See `Clusters.get`."""
        return _Answering(self._health()) if name in self._clients else None
