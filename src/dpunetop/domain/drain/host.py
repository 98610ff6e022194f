"""One tenant host and its DPUs: the snapshot of both clusters, and the decision that follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from dpunetop.domain.drain.fleet.roster import HostScope, Member, Mode, Roster, Slot
from dpunetop.domain.drain.model.calls import Task
from dpunetop.domain.drain.model.facts import (
    DpuNode,
    DpuView,
    HoldReason,
    HostNode,
    HostRef,
    HostView,
    NodeGone,
    TenantSeen,
)
from dpunetop.domain.drain.model.hoststate import HostState
from dpunetop.domain.drain.model.maintenances import new_maintenance
from dpunetop.domain.drain.outages.detection import Outage, Serving, find_outage
from dpunetop.domain.drain.outages.unplanned import (
    OutageDecision,
    OutageView,
    decide_outage,
)
from dpunetop.domain.drain.protection.decision import Entries, Protection, ProtectionView, decide_protection
from dpunetop.domain.drain.rules.asking import Create
from dpunetop.domain.drain.rules.cycle import Decision, decide
from dpunetop.domain.names import OWNER_LABEL, PODDISRUPTIONBUDGETS
from dpunetop.domain.pairing.pairing import host_of
from dpunetop.kube.keys import DEPLOYMENTS, INFRA
from dpunetop.kube.meta import Obj, labels_of
from dpunetop.kube.plan import Apply, Delete, Fence, Step

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Finding(Generic[T]):
    """One part of a snapshot, with its recheck time and trouble."""

    value: T
    recheck_seconds: float | None = None
    """When to look again although no watch wakes the key; None: every change wakes it."""
    trouble: HoldReason | None = None
    """Why it could not be read completely."""
    is_open: bool = False
    """Whether the first answer of a server is still missing; the answer wakes the key."""


def soonest(findings: Iterable[Finding[Any]]) -> float | None:
    """The earliest recheck of them."""
    return min((each.recheck_seconds for each in findings if each.recheck_seconds is not None), default=None)


@dataclass(frozen=True, slots=True)
class HostSnapshot:
    """The facts about a host that one pass has read."""

    scope: HostScope
    """The slot, and the facts known before the pass."""
    host_ref: HostRef
    dpus: tuple[DpuView, ...]
    nodes: Mapping[str, Obj]
    """The Nodes of its DPUs that exist."""
    deployments: Mapping[str, Obj]
    """The blockers of its DPUs that exist."""
    view: HostView | None
    """None: too little is known of the tenant to decide anything."""
    recheck_seconds: float | None = None
    is_open: bool = False
    """Whether the first answer of a server is still missing, so that the previous report stays."""
    trouble: HoldReason | None = None
    """Why the host could not be read completely."""
    unseen: HoldReason | None = None
    """Why this process has not seen the tenant yet, so that nothing is reported of it."""
    suspicion: str = ""
    """Why infra itself is suspected of failing, beside what its Nodes show; empty: it is not."""


@dataclass(frozen=True, slots=True)
class HostDecision:
    """The decision that follows from one snapshot of a host."""

    snapshot: HostSnapshot
    protections: Mapping[str, Protection]
    """The protection of each DPU whose home is here and that stays."""
    sweeping: Mapping[str, tuple[Step, ...]]
    """Of each DPU of this host that serves no host and needs no blocker: the next steps that remove its blocker."""
    drain: Decision | None
    """None: nothing may be decided yet."""
    outage: Outage | None
    network: OutageDecision
    """The decision about the network of the host, outside a drain."""

    @property
    def slot(self) -> Slot:
        """The slot of the decision."""
        return self.snapshot.scope.slot

    @property
    def drain_task(self) -> Task | None:
        """The next task of the drain."""
        return None if self.drain is None else self.drain.task

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks for each DPU's protection, then that of the drain, or else that for an outage."""
        found = (*(each.task for each in self.protections.values()), self.drain_task or self.network.task)
        return tuple(task for task in found if task is not None)


# --- deciding ---------------------------------------------------------------------------------------------------------


def decide_host(snapshot: HostSnapshot) -> HostDecision:
    """Decide what to do now for a host, or for a DPU that has none.

    Guarantees: equal snapshots give equal decisions; each task reads again before it writes, so a snapshot may be
        stale. Protection is decided also where the tenant is not known.
    """
    outage = _outage(snapshot)
    dpus = {dpu.name: dpu for dpu in snapshot.dpus}
    at_home = [member for member in snapshot.scope.slot.members if member.is_home]
    leaving = [member for member in at_home if is_to_go(snapshot.scope.roster, member, dpus[member.dpu])]
    staying = [member for member in at_home if member not in leaving]
    return HostDecision(
        snapshot=snapshot,
        protections={member.dpu: _protect(snapshot, member, dpus[member.dpu]) for member in staying},
        sweeping={member.dpu: sweeping(dpus[member.dpu], snapshot) for member in leaving},
        drain=None if snapshot.view is None else decide(snapshot.view),
        outage=outage,
        network=_about_network(snapshot, outage),
    )


def is_to_go(roster: Roster, member: Member, dpu: DpuView) -> bool:
    """Whether the DPU serves no host and needs no blocker."""
    serves = dpu.budget is not None and bool(dpu.budget.serves)
    if serves or member.pairing is not None or member.entry.text:
        return False
    is_gone = isinstance(dpu.node, NodeGone) and dpu.node.confirmed
    return roster.mode is not Mode.SERVING or member.is_dropped or is_gone


def sweeping(dpu: DpuView, snapshot: HostSnapshot) -> tuple[Step, ...]:
    """The steps that remove the blocker of a DPU: first the budget, as it was seen; last the blocker, because it names
    its node. Objects of other owners stay."""
    if dpu.budget is not None:
        is_idle = dpu.budget.ours and not dpu.budget.serves
        return (Delete(INFRA, PODDISRUPTIONBUDGETS, dpu.budget.live, Fence.VERSION),) if is_idle else ()
    deployment = snapshot.deployments.get(dpu.name)
    if deployment is None or labels_of(deployment).get(OWNER_LABEL) != snapshot.host_ref.owner:
        return ()
    return (Delete(INFRA, DEPLOYMENTS, deployment),)


def is_drained_or_gone(view: HostView | None) -> bool:
    """Whether a pair of this host may end, as far as the caches show."""
    if view is None or not isinstance(view.tenant, TenantSeen):
        return False
    host_state = HostState(view)
    if isinstance(host_state.host, NodeGone):
        return host_state.host.confirmed
    return host_state.is_drained


def is_active(view: HostView | None, dpu: DpuView) -> bool:
    """Whether a drain of the DPU is wanted or runs; True also where nothing is known of the tenant."""
    if dpu.budget is not None and dpu.budget.cycle is not None:
        return True
    if view is None:
        return isinstance(dpu.node, DpuNode) and dpu.node.cordoned
    return HostState(view).wants_drain(dpu)


def rehearsal(view: HostView | None, task: Task) -> Apply | None:
    """The write to try in a dry run before a failed task is repeated: the maintenance that could not be created, since
    each attempt marks the Node and unmarks it again. None: no dry run is needed."""
    host = HostState(view).host if view is not None else None
    if not isinstance(task, Create) or not isinstance(host, HostNode):
        return None
    return new_maintenance(task.host_ref, host.cordoned, host)


def _protect(snapshot: HostSnapshot, member: Member, dpu: DpuView) -> Protection:
    roster, entry = snapshot.scope.roster, member.entry
    return decide_protection(
        ProtectionView(
            dpu=dpu,
            settings=roster.blockers,
            host_ref=snapshot.host_ref,
            deployment=snapshot.deployments.get(dpu.name),
            pairing=member.pairing,
            text=member.text,
            configured=member.configured,
            is_tenant_known=roster.config.tenant_uid is not None,
            entries=Entries(
                namespace=roster.config.namespace,
                host=host_of(dpu.name, entry.text) or None,
                text=entry.text,
                foreign=entry.foreign,
                idle=frozenset({entry.idle} if entry.idle else ()),
            ),
            drained=is_drained_or_gone(snapshot.view),
            access=roster.access,
            active=is_active(snapshot.view, dpu),
        )
    )


def _outage(snapshot: HostSnapshot) -> Outage | None:
    """The outage of the host, by the DPU that serves it, as infra shows that one."""
    slot = snapshot.scope.slot
    member = next((member for member in slot.members if member.dpu == slot.serving), None)
    dpu = next((dpu for dpu in snapshot.dpus if dpu.name == slot.serving), None)
    if member is None or dpu is None:
        return None
    pods = tuple(pod.live for pod in dpu.pods)
    serving = Serving(slot.host, dpu.name, snapshot.nodes.get(dpu.name), pods, member.entry.idle)
    return find_outage(serving, snapshot.host_ref.author.now, snapshot.scope.outage)


def _about_network(snapshot: HostSnapshot, outage: Outage | None) -> OutageDecision:
    roster, slot = snapshot.scope.roster, snapshot.scope.slot
    if not slot.host:
        return OutageDecision()
    suspect = roster.cordons.suspect or snapshot.suspicion
    return decide_outage(
        OutageView(
            host_ref=snapshot.host_ref,
            spec=roster.config.unplanned,
            cordons=replace(roster.cordons, suspect=suspect),
            turn=slot.turn,
            outage=outage,
            dpus=snapshot.dpus,
            host=snapshot.view,
            is_leaving=roster.mode is not Mode.SERVING,
        )
    )
