"""Everything about the pairs of a DpuClusterConfig that the caches show, put together once for all of its hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from dpunetop.base.quoting import quoted
from dpunetop.controllers.drain.gather_host import Newest, serves_maintenances
from dpunetop.controllers.drain.infrahealth import InfraHealth
from dpunetop.controllers.drain.store import DrainStore
from dpunetop.controllers.hostclaims import gather_claims
from dpunetop.controllers.reconciler import Installation
from dpunetop.domain import names
from dpunetop.domain.clusterconfig.access import Access
from dpunetop.domain.clusterconfig.grants import Rights, judge_nodes
from dpunetop.domain.clusterconfig.types import DpuClusterConfig, OutagePolicy
from dpunetop.domain.drain.fleet.allowance import limit_of
from dpunetop.domain.drain.fleet.allowance import slots as slots_of
from dpunetop.domain.drain.fleet.roster import (
    Mode,
    Place,
    PodEntry,
    Roster,
    RosterView,
    Slot,
    held,
    hosts_of,
    in_turn,
    served_hosts,
    slots,
)
from dpunetop.domain.drain.fleet.turns import TenantHosts, by_name, holds, one_by_one
from dpunetop.domain.drain.model import facts, readers
from dpunetop.domain.drain.model.cordonmark import mark_of
from dpunetop.domain.drain.model.facts import Budget, DrainSettings, HoldReason, OnTimeout, Reason, Templates
from dpunetop.domain.drain.model.limits import Limits
from dpunetop.domain.drain.outages.cordoning import takes_place
from dpunetop.domain.drain.outages.unplanned import Cordons, Turn, cordon_turns
from dpunetop.domain.drain.protection.blockers import BlockerSettings, blocked_node
from dpunetop.domain.drain.report.mistakes import AskedView, mistakes
from dpunetop.domain.hostconfig.machineconfig import configured_nodes, stuck_nodes
from dpunetop.domain.ovnkube.image import NoImage, blocker_image, running_image
from dpunetop.domain.ovnkube.pod import newest_template, proven_template
from dpunetop.domain.ovnkube.release import release_of_image
from dpunetop.domain.ovnkube.settings import deployed_renewal
from dpunetop.domain.ovnkube.topology import Topology, running_topology
from dpunetop.domain.pairing.entries import entries_of, idle_pods, overwritten
from dpunetop.domain.pairing.envfile import parse_entries
from dpunetop.domain.pairing.pairing import Claims, PairingView, hosts_to_annotate, pair_up, tenant_nodes
from dpunetop.kube.keys import (
    CONFIGMAPS,
    DAEMONSETS,
    DEPLOYMENTS,
    INFRA,
    NODES,
    PODS,
    Resource,
)
from dpunetop.kube.meta import Obj, annotations_of, labels_of, name_of
from dpunetop.kube.requests import Selection
from dpunetop.kube.selectors import by_labels
from dpunetop.runtime.reading import NotEngaged, NotSynced, Reader

_SCC = Resource("security.openshift.io", "v1", "securitycontextconstraints", "SecurityContextConstraints", False)


@dataclass(frozen=True, slots=True)
class PairsSnapshot:
    """What was found. `roster` None: no image is known for the blockers, and `lacking` says why."""

    roster: Roster | None
    lacking: str
    entries: Obj | None
    """ConfigMap of the per-node entries."""
    pods: tuple[Obj, ...]


@dataclass(frozen=True, slots=True)
class _Tenant:
    """What the tenant shows of all hosts; empty while it cannot be read."""

    nodes: Mapping[str, Obj]
    maintenances: tuple[facts.Maintenance, ...]
    is_seen: bool = True
    can_drain: bool = True
    """Whether it serves NodeMaintenances; also where that is not known."""

    @property
    def ours(self) -> frozenset[str]:
        """Hosts with a NodeMaintenance of ours."""
        return frozenset(each.host for each in self.maintenances if each.ours)

    def cordoned_by(self, owner: str) -> frozenset[str]:
        """Hosts with our mark of an outage, which says whose it is."""
        marks = ((name, mark_of(node)) for name, node in self.nodes.items())
        return frozenset(name for name, mark in marks if mark is not None and mark.owner == owner)

    def left_by(self, owner: str) -> frozenset[str]:
        """Hosts that were led out by who bears that label, and are cordoned: they take no turn of the others."""
        shown = ((name, readers.host_node(node)) for name, node in self.nodes.items())
        return frozenset(name for name, host in shown if host.left_by == owner and host.cordoned)

    @property
    def marked(self) -> frozenset[str]:
        """Hosts with a mark, which does not say whose it is."""
        return frozenset(
            n for n, node in self.nodes.items() if names.CORDONED_BEFORE_ANNOTATION in annotations_of(node)
        )


class PairsGatherer:
    """Takes the census. Threads: any; one at a time a DpuClusterConfig."""

    def __init__(
        self,
        drain_store: DrainStore,
        newest: Newest,
        installation: Installation,
        operator_image: str | None,
        infra: InfraHealth,
    ) -> None:
        """`newest` as for the `Gatherer`."""
        self._drain_store = drain_store
        self._infra = infra
        self._newest = newest
        self._namespace = installation.namespace
        self._tenant_namespace = installation.tenant_namespace
        self._operator_image = operator_image
        self._ovnkube_image = installation.ovnkube_image

    def take(
        self,
        reader: Reader,
        config: DpuClusterConfig,
        access: Access,
        siblings: Sequence[DpuClusterConfig],
        rights: Callable[[DpuClusterConfig], Rights],
    ) -> PairsSnapshot:
        """Read all of it; `siblings` share the tenant. Raises: NotSynced and NotEngaged about infra."""
        if access is not Access.GIVEN:
            return PairsSnapshot(self._bare(reader, config, access, siblings, rights(config).owner), "", None, ())
        own = rights(config)
        owner = own.owner
        entries = self._own_entries(reader, config, owner)
        daemonset = _local(reader, config, DAEMONSETS, names.OVNKUBE_NODE)
        pods = Selection(PODS, config.namespace, "", by_labels({"app": names.OVNKUBE_NODE}))
        image, roster = self._image(reader), None
        if not isinstance(image, NoImage):
            settings = BlockerSettings(self._namespace, image, owner, reader.serves(INFRA, _SCC))
            claimed = gather_claims(reader, siblings, rights, self._namespace)
            roster = self._roster(reader, config, siblings, settings, entries, daemonset, own, claimed)
        lacking = image.message if isinstance(image, NoImage) else ""
        return PairsSnapshot(roster, lacking, entries, tuple(reader.list(INFRA, pods)))

    def _bare(
        self, reader: Reader, config: DpuClusterConfig, access: Access, siblings: Sequence[DpuClusterConfig], owner: str
    ) -> Roster:
        """The roster of one that ends and whose namespace is out of reach: whom it protects, and nothing else."""
        tenant, blocked = _tenant(reader, config, owner), self._blocked(reader, owner)
        nodes = by_name(reader.list(INFRA, Selection(NODES)))
        budgets = self._budgets(reader, owner, {*nodes, *blocked})
        mode = Mode.LEAVING if access is Access.ENDING else _mode(config, budgets.values(), {})
        found = slots(
            RosterView(
                mode=mode,
                pairs={},
                selected=frozenset(),
                dropped=frozenset(),
                guarded=frozenset({*budgets, *blocked}),
                serves={dpu: read.serves for dpu, read in budgets.items() if read.serves},
                entries={},
                configured=frozenset(),
                left=self._left(config, siblings, tenant, owner),
            )
        )
        is_leaving = mode is Mode.LEAVING
        return Roster(
            config=config,
            mode=mode,
            settings=_settings(config),
            blockers=BlockerSettings(self._namespace, "", owner, False),
            templates=Templates(),
            has_entries=False,
            tenant_namespace=self._home(config),
            slots=_ended(found) if is_leaving else self._in_turn(reader, config, siblings, found, tenant, owner),
            access=access,
        )

    def _own_entries(self, reader: Reader, config: DpuClusterConfig, owner: str) -> Obj | None:
        """Our ConfigMap, as our own last write left it; somebody else's says nothing about us."""
        found = _local(reader, config, CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES)
        if found is None or labels_of(found).get(names.OWNER_LABEL) != owner:
            return None
        return self._newest(INFRA, CONFIGMAPS, found)

    def _image(self, reader: Reader) -> str | NoImage:
        """Never what a tenant or the author of a DpuClusterConfig names."""
        if self._operator_image or self._ovnkube_image:
            return blocker_image(self._operator_image, self._ovnkube_image, None)
        own, name = names.OVN_KUBERNETES_NAMESPACE, names.OVNKUBE_NODE
        return blocker_image(None, None, reader.one(INFRA, DAEMONSETS, own, name))

    def _roster(
        self,
        reader: Reader,
        config: DpuClusterConfig,
        siblings: Sequence[DpuClusterConfig],
        settings: BlockerSettings,
        entries: Obj | None,
        daemonset: Obj | None,
        rights: Rights,
        claimed: Claims,
    ) -> Roster:
        nodes = reader.list(INFRA, Selection(NODES))
        blocked = self._blocked(reader, settings.owner)
        tenant = _tenant(reader, config, settings.owner)
        budgets = self._budgets(reader, settings.owner, {*by_name(nodes), *blocked, *entries_of(entries)})
        serves = {dpu: read.serves for dpu, read in budgets.items() if read.serves}
        judged = judge_nodes(config, nodes, rights)
        dropped = frozenset(by_name(nodes)) - judged.dpus
        written = {dpu: each for dpu, each in _entries(entries).items() if dpu in judged.dpus or dpu in serves}
        mode = _mode(config, budgets.values(), entries_of(entries))
        wishes = parse_entries(entries_of(_local(reader, config, CONFIGMAPS, names.ENV_OVERRIDES)))
        pairs = pair_up(
            PairingView(
                wishes=wishes,
                annotations=tenant_nodes(judged.dpus, nodes),
                dropped=dropped,
                entries={dpu: each.text for dpu, each in written.items()},
                serves=serves,
                leaving=frozenset(dpu for dpu, read in budgets.items() if read.leaving),
                claimed=claimed,
                hosts=hosts_to_annotate(tenant.nodes.values()) if tenant.is_seen else None,
                refused=judged.why_not_paired(),
            )
        )
        found = slots(
            RosterView(
                mode=mode,
                pairs=pairs,
                selected=judged.dpus,
                dropped=dropped,
                guarded=frozenset({*budgets, *blocked}),
                serves=serves,
                entries=written,
                configured=_configured(reader, config, judged.dpus, nodes),
                left=self._left(config, siblings, tenant, settings.owner),
                stuck=_stuck(reader, config, nodes),
            )
        )
        is_leaving = mode is Mode.LEAVING
        left = _ended(found) if is_leaving else self._in_turn(reader, config, siblings, found, tenant, settings.owner)
        limit, turns = self._cordons(config, siblings, found, tenant)
        return Roster(
            config=config,
            mode=mode,
            settings=_settings(config),
            blockers=settings,
            templates=_templates(daemonset),
            has_entries=entries is not None,
            problems=(
                *(pair.problem for pair in pairs.values() if pair.problem),
                *(_foreign(dpu) for dpu in sorted(entries_of(entries)) if dpu not in written),
            ),
            mistakes=mistakes(
                AskedView(
                    wishes=wishes,
                    entries=written,
                    nodes=by_name(nodes),
                    unpicked=dropped - judged.why_not_paired().keys(),
                    pairs=pairs,
                    hosts=tenant.nodes if tenant.is_seen else None,
                    can_drain=tenant.can_drain,
                )
            ),
            has_zones=running_topology(daemonset) is Topology.INTERCONNECT,
            release=release_of_image(running_image(daemonset), self._neighbours(reader, config)),
            tenant_namespace=self._home(config),
            renewal=deployed_renewal(daemonset),
            slots=in_turn(left, turns),
            cordons=Cordons(limit, self._infra.see(nodes)),
        )

    def _home(self, config: DpuClusterConfig) -> str:
        """Namespace of OVN-Kubernetes in the tenant."""
        return config.tenant_namespace or self._tenant_namespace

    def _neighbours(self, reader: Reader, config: DpuClusterConfig) -> Iterator[Obj | None]:
        """The DaemonSets whose image ours may have, and who say their release: infra's own and the tenant's."""
        name = names.OVNKUBE_NODE
        for cluster, home in ((INFRA, names.OVN_KUBERNETES_NAMESPACE), (config.tenant_cluster, self._home(config))):
            with suppress(NotEngaged, NotSynced):  # a release that is not known only demands less
                yield reader.one(cluster, DAEMONSETS, home, name)

    # --- infra ------------------------------------------------------------------------------------------------------

    def _blocked(self, reader: Reader, owner: str) -> frozenset[str]:
        """Nodes that have a blocker of ours."""
        found = reader.list(INFRA, Selection(DEPLOYMENTS, self._namespace))
        ours = (blocked_node(obj) for obj in found if labels_of(obj).get(names.OWNER_LABEL) == owner)
        return frozenset(node for node in ours if node)

    def _budgets(self, reader: Reader, owner: str, dpus: Iterable[str]) -> dict[str, Budget]:
        """Our budgets by DPU, whose name a budget bears, cut where it is too long."""
        named = {names.blocker_name(dpu): dpu for dpu in dpus}
        found: dict[str, Budget] = {}
        for obj in reader.list(INFRA, Selection(names.PODDISRUPTIONBUDGETS, self._namespace)):
            read = readers.budget(obj, owner)
            if read.ours:
                name = name_of(obj)
                found[named.get(name, name.removeprefix(f"{names.DRAIN_BLOCKER}-"))] = read
        return found

    # --- over all DpuClusterConfigs of the tenant -------------------------------------------------------------------

    def _left(
        self, config: DpuClusterConfig, siblings: Iterable[DpuClusterConfig], tenant: _Tenant, owner: str
    ) -> frozenset[str]:
        """Hosts on which something of ours is left. A mark is ours if the host was; at the end, if nobody else's."""
        before = self._drain_store.roster(config.tenant_cluster)
        known = hosts_of(before.slots) if before is not None else frozenset()
        if config.terminating:
            rosters = (self._drain_store.roster(each.tenant_cluster) for each in siblings)
            others = {host for roster in rosters if roster is not None for host in hosts_of(roster.slots)}
            known = tenant.marked - others
        return tenant.ours | (tenant.marked & known) | tenant.cordoned_by(owner)

    def _cordons(
        self,
        config: DpuClusterConfig,
        siblings: Sequence[DpuClusterConfig],
        found: Mapping[Place, Slot],
        tenant: _Tenant,
    ) -> tuple[int, Mapping[str, Turn]]:
        """How many hosts may be cordoned because of outages, and which of those that ask; as for drains, the hosts of
        all DpuClusterConfigs of the tenant count."""
        cordoning = [each for each in (config, *siblings) if each.unplanned.policy is OutagePolicy.CORDON]
        rosters = [self._drain_store.roster(each.tenant_cluster) for each in siblings]
        if config not in cordoning or not tenant.is_seen or any(roster is None for roster in rosters):
            return 0, {}
        known = [roster for roster in rosters if roster is not None]
        hosts = {*hosts_of(found), *(host for roster in known for host in hosts_of(roster.slots))}
        limit = slots_of([limit_of(each.unplanned.max_hosts) for each in cordoning], len(hosts)) or 0
        before = self._drain_store.roster(config.tenant_cluster)
        reports = (
            each for roster in (*known, before) if roster is not None for each in self._drain_store.reports(roster)
        )
        networks = (each.network for each in reports if each is not None and each.network is not None)
        asking = [(each.asks_since, each.host) for each in networks if each.asks_since is not None]
        taken = frozenset(name for name, node in tenant.nodes.items() if takes_place(node))
        return limit, cordon_turns(limit, asking, taken)

    def _in_turn(
        self,
        reader: Reader,
        config: DpuClusterConfig,
        siblings: Sequence[DpuClusterConfig],
        found: Mapping[Place, Slot],
        tenant: _Tenant,
        owner: str,
    ) -> Mapping[Place, Slot]:
        configs = [config, *siblings]
        is_alone = config.terminating and config.drain.max_unavailable is None
        if not is_alone and all(each.drain.max_unavailable is None for each in configs):
            return found
        rosters = {each.tenant_cluster: self._drain_store.roster(each.tenant_cluster) for each in siblings}
        if unseen := sorted(cluster for cluster, roster in rosters.items() if roster is None):
            hold = HoldReason(Reason.NO_FREE_SLOT, f"it is not known yet how many hosts of {unseen[0]} are unavailable")
            return held(found, dict.fromkeys(hosts_of(found), hold))
        others = (host for roster in rosters.values() if roster is not None for host in hosts_of(roster.slots))
        hosts = {*hosts_of(found), *others}
        owners = {owner, *(roster.blockers.owner for roster in rosters.values() if roster is not None)}
        budgets = [
            readers.budget(obj, owned)
            for obj in reader.list(INFRA, Selection(names.PODDISRUPTIONBUDGETS, self._namespace))
            if (owned := labels_of(obj).get(names.OWNER_LABEL, "")) in owners  # another tenant may have such a host too
        ]
        shown = TenantHosts(tenant.nodes, frozenset(each.host for each in tenant.maintenances))
        turns = one_by_one(hosts_of(found), shown, budgets) if is_alone else {}
        return held(found, {**turns, **holds(configs, hosts - tenant.left_by(owner), shown, budgets)})


def _local(reader: Reader, config: DpuClusterConfig, resource: Resource, name: str) -> Obj | None:
    return reader.one(INFRA, resource, config.namespace, name)


def _foreign(dpu: str) -> str:
    return (
        f"{quoted(dpu)}: its entry in ConfigMap {names.OVNKUBE_NODE_ENTRIES} counts for nothing: no such node is "
        "granted to this DpuClusterConfig, and none serves for it; remove the entry"
    )


def _configured(reader: Reader, config: DpuClusterConfig, dpus: frozenset[str], nodes: Iterable[Obj]) -> frozenset[str]:
    served = reader.serves(INFRA, names.MACHINECONFIGPOOLS)
    pool = reader.get(INFRA, Selection(names.MACHINECONFIGPOOLS), "", config.pool_name) if served else None
    return configured_nodes(dpus, nodes, pool, served)


def _stuck(reader: Reader, config: DpuClusterConfig, nodes: Iterable[Obj]) -> Mapping[str, str]:
    if not reader.serves(INFRA, names.MACHINECONFIGPOOLS):
        return {}
    return stuck_nodes(config.pool_name, reader.list(INFRA, Selection(names.MACHINECONFIGPOOLS)), nodes)


def _mode(config: DpuClusterConfig, budgets: Iterable[Budget], entries: Mapping[str, str]) -> Mode:
    if not config.terminating:
        return Mode.SERVING
    is_waited_for = names.FORCE_DELETE_ANNOTATION not in config.annotations and served_hosts(budgets, entries)
    return Mode.LEADING_OUT if is_waited_for else Mode.LEAVING


def _ended(found: Mapping[Place, Slot]) -> Mapping[Place, Slot]:
    hold = HoldReason(Reason.TEARDOWN, "the DpuClusterConfig is being deleted, so no drain begins")
    return held(found, dict.fromkeys(hosts_of(found), hold))


def _entries(live: Obj | None) -> Mapping[str, PodEntry]:
    idle, foreign = idle_pods(live), overwritten(live)
    return {dpu: PodEntry(text, dpu in foreign, idle.get(dpu, "")) for dpu, text in entries_of(live).items()}


def _settings(config: DpuClusterConfig) -> DrainSettings:
    drain = config.drain
    on_timeout = OnTimeout.ABORT if drain.aborts_on_timeout else OnTimeout.HOLD
    return DrainSettings(drain.timeout_seconds, on_timeout, Limits(drain.limits))


def _templates(daemonset: Obj | None) -> Templates:
    return Templates() if daemonset is None else Templates(newest_template(daemonset), proven_template(daemonset))


def _tenant(reader: Reader, config: DpuClusterConfig, owner: str) -> _Tenant:
    cluster = config.tenant_cluster
    try:
        nodes = by_name(reader.list(cluster, Selection(NODES)))
        if not serves_maintenances(reader, cluster):
            return _Tenant(nodes, (), can_drain=False)
        found = reader.list(cluster, Selection(names.NODEMAINTENANCES))
    except (NotEngaged, NotSynced) as err:
        if err.cluster == INFRA:
            raise
        return _Tenant({}, (), is_seen=False)
    return _Tenant(nodes, tuple(readers.maintenance(obj, owner) for obj in found))
