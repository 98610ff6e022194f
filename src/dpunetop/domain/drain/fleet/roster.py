"""The roster of a DpuClusterConfig: its DPUs by host, from which the workers of its hosts start."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from dpunetop.domain.clusterconfig.access import Access
from dpunetop.domain.clusterconfig.status import configuring_hindrance, hindrance
from dpunetop.domain.clusterconfig.types import DpuClusterConfig, OutagePolicy
from dpunetop.domain.drain.model.facts import (
    Blind,
    Budget,
    DrainSettings,
    HoldReason,
    HostNode,
    Templates,
    TenantSeen,
)
from dpunetop.domain.drain.outages.detection import Outage
from dpunetop.domain.drain.outages.unplanned import NO_CORDONS, Cordons, Turn
from dpunetop.domain.drain.protection.blockers import BlockerSettings
from dpunetop.domain.names import OVN_KUBERNETES_NAMESPACE
from dpunetop.domain.ovnkube.deployed import Renewal
from dpunetop.domain.ovnkube.release import Release
from dpunetop.domain.pairing.pairing import Pair, host_of


class Mode(Enum):
    """Whether a DpuClusterConfig is served or ends, and how."""

    SERVING = auto()
    LEADING_OUT = auto()
    """It is deleted: no DPU is paired any more, and each host that is still served is drained before its DPU leaves
    it."""
    LEAVING = auto()
    """It is deleted, and waits for no host: none is served, or a person forces the deletion."""


def served_hosts(budgets: Iterable[Budget], entries: Mapping[str, str]) -> list[str]:
    """The hosts that are served, or may be, by the budgets and by the entries that pods read."""
    written = (host_of(dpu, text) for dpu, text in entries.items())
    return sorted({host for host in (*(read.serves for read in budgets), *written) if host})


@dataclass(frozen=True, slots=True)
class PodEntry:
    """The entry of one DPU as pods read it; empty text: it has none."""

    text: str = ""
    foreign: bool = False
    """Whether another client overwrote it."""
    idle: str = ""
    """UID of the pod that has read no entry."""


_NO_ENTRY = PodEntry()


@dataclass(frozen=True, slots=True)
class Member:
    """One DPU, with the facts that concern one host."""

    dpu: str
    pairing: str | None
    text: str
    configured: bool
    entry: PodEntry
    is_home: bool
    """Whether this host's worker protects it: the worker of the host that it serves, else of the one with which it is
    paired."""
    is_dropped: bool = False
    """Whether its Node exists and `spec.nodeSelector` does not pick it."""
    stuck: str = ""
    """Why the machine-config operator does nothing for its node; empty: no reason is known."""
    problem: str = ""
    """Why the request for its pair is not followed; see `pairing`."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One host with its DPUs; an empty host: a DPU that has none."""

    host: str
    members: tuple[Member, ...]
    not_now: HoldReason | None = None
    """Why no drain of the host may begin now."""
    turn: Turn = Turn.UNDECIDED
    """Whether it may be cordoned, if it has no network."""

    @property
    def serving(self) -> str | None:
        """The DPU whose entry names the host."""
        return next((member.dpu for member in self.members if self.is_served_by(member)), None) if self.host else None

    def is_served_by(self, member: Member) -> bool:
        """Whether the entry of the DPU names the host."""
        return host_of(member.dpu, member.entry.text) == self.host

    def changed_entry(self, member: Member) -> str:
        """The entry that the pods of a DPU have yet to read; empty if it names another host, which is another pair."""
        before, after = member.entry.text, member.text
        stays = bool(before and after) and self.is_served_by(member) and host_of(member.dpu, after) == self.host
        return after if stays and after != before else ""


Place = tuple[str, str]
"""`host` or `dpu`, and its name."""


@dataclass(frozen=True, slots=True)
class Roster:
    """The facts that all hosts of one DpuClusterConfig share, and its slots."""

    config: DpuClusterConfig
    mode: Mode
    settings: DrainSettings
    blockers: BlockerSettings
    templates: Templates
    """The templates of ovnkube-node pods that count."""
    slots: Mapping[Place, Slot]
    has_entries: bool = True
    """Whether our ConfigMap for the entries exists."""
    problems: tuple[str, ...] = ()
    """Why requests for pairs are not followed; see `pairing`."""
    mistakes: tuple[HoldReason, ...] = ()
    """Requests that cannot be met, see `mistakes`."""
    has_zones: bool = False
    """Whether the tenant shows the network state of each DPU's host; one of the interconnect topology does."""
    release: Release | None = None
    """Release of the image that the DPUs run; None: unknown."""
    image: str = ""
    """Image of ovnkube-node pods; empty: unknown."""
    tenant_namespace: str = OVN_KUBERNETES_NAMESPACE
    """Namespace of OVN-Kubernetes in the tenant."""
    access: Access = Access.GIVEN
    """Whether objects in the namespace of the DpuClusterConfig may be read and written."""
    renewal: Renewal = Renewal.UNKNOWN
    """Whether the DPUs renew a Lease for their hosts, by their options."""
    cordons: Cordons = NO_CORDONS

    def shared(self) -> tuple[object, ...]:
        """The members whose change wakes every host."""
        config = self.config
        tenant = [each for each in (config.live.get("status") or {}).get("conditions") or () if each["type"] in _TENANT]
        said = tuple((each["type"], each["status"], each["reason"]) for each in tenant)
        return (
            config.uid,
            configuring_hindrance(config),
            hindrance(config, self.has_entries),
            self.mode,
            self.settings,
            self.blockers,
            self.templates,
            self.has_zones,
            self.release,
            self.tenant_namespace,
            self.renewal,
            self.cordons,
            config.unplanned,
            self.access,
            said,
            config.tenant_uid,
        )


_TENANT = ("TenantReachable", "CredentialsValid")


@dataclass(frozen=True, slots=True)
class HostScope:
    """One slot of a roster, and the facts about its host that are known before a pass."""

    roster: Roster
    slot: Slot
    outage: Outage | None = None
    """The outage that the last pass found."""
    abandoned_since: int = 0
    """`HostView.abandoned_since` of the last pass."""

    @property
    def cluster(self) -> str:
        """Name of the tenant's cluster."""
        return self.roster.config.tenant_cluster

    def is_parting(self, member: Member, budget: Budget | None) -> bool:
        """Whether the host is to be drained because this DPU leaves it. A DPU whose entry names the host serves it,
        whether or not its pod exists now; a removal that has begun goes on until the host is released."""
        if self.roster.mode is not Mode.LEADING_OUT:
            return False
        has_entry = self.roster.access is not Access.GIVEN or self.slot.is_served_by(member)
        return has_entry or (budget is not None and budget.cycle is not None)

    def may_act_on_outage(self, tenant: TenantSeen | Blind | None) -> bool:
        """Whether the operator may act on a host without network: the spec says to cordon it, or it has our mark."""
        node = tenant.node if isinstance(tenant, TenantSeen) else None
        marked = isinstance(node, HostNode) and node.unplanned is not None
        return marked or self.roster.config.unplanned.policy is OutagePolicy.CORDON


@dataclass(frozen=True, slots=True)
class RosterView:
    """The facts from which the slots follow."""

    mode: Mode
    pairs: Mapping[str, Pair]
    selected: frozenset[str]
    """Nodes that `spec.nodeSelector` picks."""
    dropped: frozenset[str]
    """Nodes that exist and that it does not pick."""
    guarded: frozenset[str]
    """DPUs that have a blocker or a budget of ours."""
    serves: Mapping[str, str]
    entries: Mapping[str, PodEntry]
    configured: frozenset[str]
    left: frozenset[str]
    """Hosts with a NodeMaintenance or a mark of ours."""
    stuck: Mapping[str, str] = field(default_factory=dict)
    """DPUs for which the machine-config operator does nothing, each with why."""


def slots(view: RosterView) -> Mapping[Place, Slot]:
    """One slot for every host that a DPU concerns, and for every DPU that has no host.

    Guarantees: each DPU has its home in exactly one slot; a host with marks or maintenances of ours has one too.
    """
    dpus = sorted({*view.selected, *view.guarded, *view.serves, *view.entries})
    known = {dpu: _hosts(view, dpu) for dpu in dpus}
    hosts = {host for found in known.values() for host in found} | view.left
    members: dict[str, list[Member]] = {host: [] for host in hosts}
    alone: dict[Place, Slot] = {}
    for dpu, found in known.items():
        for host in found:
            members[host].append(_member(view, dpu, is_home=host == found[0]))
        if not found:
            alone["dpu", dpu] = Slot("", (_member(view, dpu, is_home=True),))
    return {**{("host", host): Slot(host, tuple(found)) for host, found in sorted(members.items())}, **alone}


def held(found: Mapping[Place, Slot], not_now: Mapping[str, HoldReason]) -> Mapping[Place, Slot]:
    """The same slots, with the reason why no drain may begin for the hosts in `not_now`."""
    return {place: replace(slot, not_now=not_now.get(slot.host)) for place, slot in found.items()}


def in_turn(found: Mapping[Place, Slot], turns: Mapping[str, Turn]) -> Mapping[Place, Slot]:
    """The same slots, each with whether its host may be cordoned."""
    return {place: replace(slot, turn=turns.get(slot.host, Turn.UNDECIDED)) for place, slot in found.items()}


def _hosts(view: RosterView, dpu: str) -> tuple[str, ...]:
    """The hosts of a DPU, its home first; interned, because rosters, keys and reports all keep them."""
    pair = view.pairs.get(dpu)
    written = host_of(dpu, view.entries.get(dpu, _NO_ENTRY).text)
    named = (view.serves.get(dpu, ""), _pairing(view, pair) or "", written)
    return tuple(dict.fromkeys(sys.intern(host) for host in named if host))


def _pairing(view: RosterView, pair: Pair | None) -> str | None:
    """The host with which a DPU is paired; None during a deletion."""
    if pair is None or pair.host is None or view.mode is not Mode.SERVING:
        return None
    return sys.intern(pair.host)


def _member(view: RosterView, dpu: str, *, is_home: bool) -> Member:
    pair = view.pairs.get(dpu)
    return Member(
        dpu=dpu,
        pairing=_pairing(view, pair),
        text="" if pair is None or view.mode is not Mode.SERVING else sys.intern(pair.text),
        configured=dpu in view.configured,
        entry=view.entries.get(dpu, _NO_ENTRY),
        is_home=is_home,
        is_dropped=dpu in view.dropped,
        stuck=view.stuck.get(dpu, ""),
        problem="" if pair is None else pair.problem,
    )


def hosts_of(found: Iterable[Place]) -> frozenset[str]:
    """The names of the hosts among places."""
    return frozenset(name for kind, name in found if kind == "host")
