"""Builds the roster of a DpuClusterConfig: the pairs, and the hosts that may be drained now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dpunetop.base.quoting import quoted
from dpunetop.domain import names
from dpunetop.domain.clusterconfig.access import Access
from dpunetop.domain.clusterconfig.grants import Nodes, Rights, judge_nodes
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
from dpunetop.domain.drain.outages.unplanned import Cordons, NetworkState, Turn, cordon_turns
from dpunetop.domain.drain.protection.blockers import BlockerSettings, blocked_node
from dpunetop.domain.drain.report.mistakes import MistakesView, mistakes
from dpunetop.domain.hostconfig.machineconfig import configured_nodes, stuck_nodes
from dpunetop.domain.ovnkube.deployed import deployed_renewal
from dpunetop.domain.ovnkube.image import running_image
from dpunetop.domain.ovnkube.pod import newest_template, proven_template
from dpunetop.domain.ovnkube.release import Release
from dpunetop.domain.ovnkube.topology import Topology, running_topology
from dpunetop.domain.pairing.entries import entries_of, idle_pods, overwritten
from dpunetop.domain.pairing.envfile import Wish, parse_entries
from dpunetop.domain.pairing.pairing import Claims, Pair, PairingView, hosts_to_annotate, pair_up, tenant_nodes
from dpunetop.kube.meta import Obj, annotations_of, labels_of, name_of

# --- the facts --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TenantFleet:
    """The tenant's objects for all hosts; empty while it cannot be read."""

    nodes: Mapping[str, Obj] = field(default_factory=dict)
    maintenances: tuple[facts.Maintenance, ...] = ()
    is_seen: bool = True
    can_drain: bool = True
    """Whether it serves NodeMaintenances; True if unknown."""

    @property
    def ours(self) -> frozenset[str]:
        """Hosts with a NodeMaintenance of ours."""
        return frozenset(each.host for each in self.maintenances if each.ours)

    @property
    def marked(self) -> frozenset[str]:
        """Hosts with a mark, which names no owner."""
        return frozenset(
            n for n, node in self.nodes.items() if names.CORDONED_BEFORE_ANNOTATION in annotations_of(node)
        )

    def cordoned_by(self, owner: str) -> frozenset[str]:
        """Hosts with the mark of an outage by that owner."""
        marks = ((name, mark_of(node)) for name, node in self.nodes.items())
        return frozenset(name for name, mark in marks if mark is not None and mark.owner == owner)

    def left_by(self, owner: str) -> frozenset[str]:
        """Cordoned hosts that the DpuClusterConfig with that owner label left at its end: they take no slot of
        others."""
        shown = ((name, readers.host_node(node)) for name, node in self.nodes.items())
        return frozenset(name for name, host in shown if host.left_by == owner and host.cordoned)


@dataclass(frozen=True, slots=True)
class NamespaceView:
    """The objects in the namespace of the DpuClusterConfig from which the pairs follow."""

    rights: Rights
    entries: Obj | None
    """Our ConfigMap of the per-node entries."""
    overrides: Obj | None
    """The ConfigMap in which people name the hosts of DPUs."""
    daemonset: Obj | None
    """Our DaemonSet of ovnkube-node pods."""
    release: Release | None
    """Release of its image."""
    claims: Claims
    """Claims of other DpuClusterConfigs of the tenant to its hosts."""
    pools: tuple[Obj, ...] | None
    """All MachineConfigPools; None: infra has no machine-config operator."""


@dataclass(frozen=True, slots=True)
class FleetView:
    """All facts from which a roster follows."""

    config: DpuClusterConfig
    access: Access
    siblings: Sequence[DpuClusterConfig]
    """The other DpuClusterConfigs of the tenant."""
    blockers: BlockerSettings
    nodes: Sequence[Obj]
    """The Nodes of infra."""
    deployments: Sequence[Obj]
    """In the namespace of the operator."""
    budgets: Sequence[Obj]
    """In the namespace of the operator."""
    tenant: TenantFleet
    tenant_namespace: str
    before: Roster | None
    """The roster that was published last."""
    rosters: Mapping[str, Roster | None]
    """The rosters of the siblings, by the name of the tenant cluster; None: not known yet."""
    networks: Sequence[NetworkState] = ()
    """One for each host of the tenant that is known to have no network."""
    suspect: str = ""
    """Why infra itself is suspected; empty: it is not."""
    namespace: NamespaceView | None = None
    """None: the DpuClusterConfig ends, and its namespace is out of reach."""


# --- the roster -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Paired:
    """The pairs of a DpuClusterConfig's nodes, and the facts from which they follow."""

    judged: Nodes
    dropped: frozenset[str]
    written: Mapping[str, PodEntry]
    wishes: Mapping[str, Wish]
    pairs: Mapping[str, Pair]


def build_roster(view: FleetView) -> Roster:
    """The roster of a DpuClusterConfig.

    Guarantees: if its namespace is out of reach, it has the protected pairs, and no others.
    """
    budgets = budgets_by_dpu(view)
    mode = mode_of(view, budgets.values())
    own = view.namespace
    bare = Roster(
        config=view.config,
        mode=mode,
        settings=_settings(view.config),
        blockers=view.blockers,
        templates=Templates(),
        slots={},
        has_entries=False,
        tenant_namespace=view.tenant_namespace,
        access=view.access,
    )
    if own is None:
        return replace(bare, slots=_with_turns(view, mode, slots(_protected(view, mode, budgets))))
    paired = _pair_up(view, own, budgets)
    found = slots(_known(view, own, paired, _protected(view, mode, budgets)))
    limit, turns = _cordons(view, found)
    return replace(
        bare,
        templates=_templates(own.daemonset),
        has_entries=own.entries is not None,
        problems=_problems(own, paired),
        mistakes=_mistakes(view, paired),
        has_zones=running_topology(own.daemonset) is Topology.INTERCONNECT,
        release=own.release,
        image=running_image(own.daemonset) or "",
        renewal=deployed_renewal(own.daemonset),
        slots=in_turn(_with_turns(view, mode, found), turns),
        cordons=Cordons(limit, view.suspect),
    )


def mode_of(view: FleetView, budgets: Iterable[Budget]) -> Mode:
    """Whether the DpuClusterConfig is served or ends, and how."""
    if view.access is Access.ENDING:
        return Mode.LEAVING
    if not view.config.terminating:
        return Mode.SERVING
    entries = entries_of(view.namespace.entries) if view.namespace is not None else {}
    is_forced = names.FORCE_DELETE_ANNOTATION in view.config.annotations
    return Mode.LEADING_OUT if served_hosts(budgets, entries) and not is_forced else Mode.LEAVING


def budgets_by_dpu(view: FleetView) -> dict[str, Budget]:
    """Our budgets by DPU; the name of a budget has that of its DPU, cut where it is too long."""
    entries = entries_of(view.namespace.entries) if view.namespace is not None else {}
    dpus = {*by_name(view.nodes), *_blocked(view), *entries}
    named = {names.blocker_name(dpu): dpu for dpu in dpus}
    found: dict[str, Budget] = {}
    for obj in view.budgets:
        read = readers.budget(obj, view.blockers.owner)
        if read.ours:
            name = name_of(obj)
            found[named.get(name, name.removeprefix(f"{names.DRAIN_BLOCKER}-"))] = read
    return found


def _blocked(view: FleetView) -> frozenset[str]:
    """Nodes that have a blocker of ours."""
    owner = view.blockers.owner
    ours = (blocked_node(obj) for obj in view.deployments if labels_of(obj).get(names.OWNER_LABEL) == owner)
    return frozenset(node for node in ours if node)


def _protected(view: FleetView, mode: Mode, budgets: Mapping[str, Budget]) -> RosterView:
    """The DPUs that are protected, and the hosts with marks or maintenances of ours."""
    return RosterView(
        mode=mode,
        pairs={},
        selected=frozenset(),
        dropped=frozenset(),
        guarded=frozenset({*budgets, *_blocked(view)}),
        serves=_serves(budgets),
        entries={},
        configured=frozenset(),
        left=left_hosts(view),
    )


def _known(view: FleetView, own: NamespaceView, paired: _Paired, protected: RosterView) -> RosterView:
    """The facts of `protected`, with the pairs and entries of the namespace."""
    config, dpus, is_served = view.config, paired.judged.dpus, own.pools is not None
    pool = by_name(own.pools or ()).get(config.pool_name)
    return replace(
        protected,
        pairs=paired.pairs,
        selected=dpus,
        dropped=paired.dropped,
        entries=paired.written,
        configured=configured_nodes(dpus, view.nodes, pool, is_served),
        stuck=stuck_nodes(config.pool_name, own.pools, view.nodes) if own.pools is not None else {},
    )


def _pair_up(view: FleetView, own: NamespaceView, budgets: Mapping[str, Budget]) -> _Paired:
    judged, serves = judge_nodes(view.config, view.nodes, own.rights), _serves(budgets)
    dropped = frozenset(by_name(view.nodes)) - judged.dpus
    written = {dpu: each for dpu, each in _entries(own.entries).items() if dpu in judged.dpus or dpu in serves}
    wishes = parse_entries(entries_of(own.overrides))
    pairs = pair_up(
        PairingView(
            wishes=wishes,
            annotations=tenant_nodes(judged.dpus, view.nodes),
            dropped=dropped,
            entries={dpu: each.text for dpu, each in written.items()},
            serves=serves,
            leaving=frozenset(dpu for dpu, read in budgets.items() if read.leaving),
            claimed=own.claims,
            hosts=hosts_to_annotate(view.tenant.nodes.values()) if view.tenant.is_seen else None,
            refused=judged.why_not_paired(),
        )
    )
    return _Paired(judged, dropped, written, wishes, pairs)


def _serves(budgets: Mapping[str, Budget]) -> dict[str, str]:
    return {dpu: read.serves for dpu, read in budgets.items() if read.serves}


def _entries(live: Obj | None) -> Mapping[str, PodEntry]:
    idle, foreign = idle_pods(live), overwritten(live)
    return {dpu: PodEntry(text, dpu in foreign, idle.get(dpu, "")) for dpu, text in entries_of(live).items()}


def _problems(own: NamespaceView, paired: _Paired) -> tuple[str, ...]:
    foreign = (_foreign(dpu) for dpu in sorted(entries_of(own.entries)) if dpu not in paired.written)
    return (*(pair.problem for pair in paired.pairs.values() if pair.problem), *foreign)


def _foreign(dpu: str) -> str:
    return (
        f"{quoted(dpu)}: its entry in ConfigMap {names.OVNKUBE_NODE_ENTRIES} counts for nothing: no such node is "
        "granted to this DpuClusterConfig, and none serves for it; remove the entry"
    )


def _mistakes(view: FleetView, paired: _Paired) -> tuple[HoldReason, ...]:
    return mistakes(
        MistakesView(
            wishes=paired.wishes,
            entries=paired.written,
            nodes=by_name(view.nodes),
            unpicked=paired.dropped - paired.judged.why_not_paired().keys(),
            pairs=paired.pairs,
            hosts=view.tenant.nodes if view.tenant.is_seen else None,
            can_drain=view.tenant.can_drain,
        )
    )


def _settings(config: DpuClusterConfig) -> DrainSettings:
    drain = config.drain
    on_timeout = OnTimeout.ABORT if drain.aborts_on_timeout else OnTimeout.HOLD
    return DrainSettings(drain.timeout_seconds, on_timeout, Limits(drain.limits))


def _templates(daemonset: Obj | None) -> Templates:
    return Templates() if daemonset is None else Templates(newest_template(daemonset), proven_template(daemonset))


# --- over all DpuClusterConfigs of the tenant -------------------------------------------------------------------------


def left_hosts(view: FleetView) -> frozenset[str]:
    """Hosts with a NodeMaintenance or mark of ours. A mark is ours if the host was in our last roster; during a
    deletion, if no other DpuClusterConfig has the host in its roster."""
    known = hosts_of(view.before.slots) if view.before is not None else frozenset()
    if view.config.terminating:
        known = view.tenant.marked - _hosts_of_siblings(view)
    marked = view.tenant.marked & known
    return view.tenant.ours | marked | view.tenant.cordoned_by(view.blockers.owner)


def _hosts_of_siblings(view: FleetView) -> frozenset[str]:
    return frozenset(host for each in view.rosters.values() if each is not None for host in hosts_of(each.slots))


def _cordons(view: FleetView, found: Mapping[Place, Slot]) -> tuple[int, Mapping[str, Turn]]:
    """The limit of hosts cordoned for outages, and which hosts that ask may be; as for drains, the hosts of all
    DpuClusterConfigs of the tenant count."""
    cordoning = [each for each in (view.config, *view.siblings) if each.unplanned.policy is OutagePolicy.CORDON]
    if view.config not in cordoning or not view.tenant.is_seen or None in view.rosters.values():
        return 0, {}
    hosts = hosts_of(found) | _hosts_of_siblings(view)
    limit = slots_of([limit_of(each.unplanned.max_hosts) for each in cordoning], len(hosts)) or 0
    asking = [(each.asks_since, each.host) for each in view.networks if each.asks_since is not None]
    taken = frozenset(name for name, node in view.tenant.nodes.items() if takes_place(node))
    return limit, cordon_turns(limit, asking, taken)


def _with_turns(view: FleetView, mode: Mode, found: Mapping[Place, Slot]) -> Mapping[Place, Slot]:
    """The slots, with why no drain of a host may begin now."""
    if mode is Mode.LEAVING:
        ended = HoldReason(Reason.TEARDOWN, "the DpuClusterConfig is being deleted, so no drain begins")
        return held(found, dict.fromkeys(hosts_of(found), ended))
    configs = (view.config, *view.siblings)
    is_alone = view.config.terminating and view.config.drain.max_unavailable is None
    if not is_alone and all(each.drain.max_unavailable is None for each in configs):
        return found
    if unseen := sorted(cluster for cluster, roster in view.rosters.items() if roster is None):
        hold = HoldReason(Reason.NO_FREE_SLOT, f"it is not known yet how many hosts of {unseen[0]} are unavailable")
        return held(found, dict.fromkeys(hosts_of(found), hold))
    hosts = hosts_of(found)
    shown = TenantHosts(view.tenant.nodes, frozenset(each.host for each in view.tenant.maintenances))
    budgets = _budgets_of_tenant(view)
    turns = one_by_one(hosts, shown, budgets) if is_alone else {}
    counted = (hosts | _hosts_of_siblings(view)) - view.tenant.left_by(view.blockers.owner)
    return held(found, {**turns, **holds(configs, counted, shown, budgets)})


def _budgets_of_tenant(view: FleetView) -> list[Budget]:
    """The budgets without those of other tenants, which may have a host of the same name."""
    siblings = (roster.blockers.owner for roster in view.rosters.values() if roster is not None)
    owners = {view.blockers.owner, *siblings}
    owned = ((obj, labels_of(obj).get(names.OWNER_LABEL, "")) for obj in view.budgets)
    return [readers.budget(obj, owner) for obj, owner in owned if owner in owners]
