"""Reads the facts about one host and its DPUs from the caches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from dpunetop.base.clock import Clock
from dpunetop.controllers.drain.epoch import Epoch
from dpunetop.controllers.drain.evictions import Evictions
from dpunetop.controllers.drain.infrahealth import InfraHealth
from dpunetop.controllers.drain.leases import Leases
from dpunetop.controllers.drain.nodeabsence import DPU_SECONDS, HOST_SECONDS, NodeAbsences
from dpunetop.controllers.reconciler import Connections, probed, unread
from dpunetop.domain import names
from dpunetop.domain.clusterconfig.access import Access
from dpunetop.domain.drain.fleet.roster import HostScope, Member
from dpunetop.domain.drain.host import (
    Finding,
    HostSnapshot,
    soonest,
)
from dpunetop.domain.drain.model import facts, readers
from dpunetop.domain.drain.model.calls import QuorumGet
from dpunetop.domain.drain.model.facts import (
    Blind,
    DpuView,
    HoldReason,
    HostRef,
    HostView,
    NodeGone,
    OvnPod,
    Reason,
    Signal,
    TenantSeen,
)
from dpunetop.domain.drain.model.hoststate import HostState
from dpunetop.domain.drain.report.failures import why_failed
from dpunetop.domain.drain.rules.proof import Evidence, tenant_signals
from dpunetop.domain.drain.rules.remembering import abandoned_since
from dpunetop.domain.names import blocker_labels
from dpunetop.domain.ovnkube.notrunning import why_not_running
from dpunetop.domain.tenant.visibility import Invisible, Obstacle, visibility
from dpunetop.kube.compact import node_of
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.keys import CUSTOMRESOURCEDEFINITIONS, DEPLOYMENTS, INFRA, NODES, PODS, Resource, crd_name
from dpunetop.kube.meta import Obj, annotations_of, labels_of
from dpunetop.kube.requests import Selection
from dpunetop.kube.selectors import by_labels
from dpunetop.kube.shapes import at, mappings
from dpunetop.runtime.cache.store import Indexer
from dpunetop.runtime.executor import BEHIND_SECONDS
from dpunetop.runtime.reading import NotEngaged, NotSynced, Reader

Newest = Callable[[str, Resource, Obj], Obj]

BY_NODE = "node"
"""Index of pods by the name of their Node."""
BY_BLOCKER = "blocker"
"""Index of the pods of blockers by the name of their Deployment: a pod that is not scheduled has no Node yet."""
BY_HOST = "host"
"""Index of NodeMaintenances by the Node that they are about."""
PATIENCE_SECONDS = 30.0
"""How long a tenant that was never read is waited for before it counts as unreadable."""
INDEXERS: dict[Resource, dict[str, Indexer]] = {
    PODS: {
        BY_NODE: lambda pod: _text(node_of(pod)),
        BY_BLOCKER: lambda pod: _text(_app_of_blocker(pod)),
    },
    names.NODEMAINTENANCES: {BY_HOST: lambda obj: _text(at(obj, "spec", "nodeName"))},
}
"""The indexers that the clusters' caches must have; a tenant's objects may have any shape."""


class FirstSyncWaits:
    """The tenants that this process has seen, and since when it waits for the others. Threads: any."""

    def __init__(self, clock: Clock, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """A command that looks once passes 0."""
        self._clock = clock
        self._patience_seconds = patience_seconds
        self._guard = threading.Lock()  # guards the two below
        self._seen: set[str] = set()
        self._waiting_since: dict[str, float] = {}  # cluster -> monotonic

    def seconds_left(self, cluster: str) -> float:
        """Seconds for which the tenant is still waited for; the first call starts the wait. 0: it counts as
        unreadable."""
        now = self._clock.monotonic()
        with self._guard:
            return self._patience_seconds - (now - self._waiting_since.setdefault(cluster, now))

    def can_be_read(self, cluster: str) -> None:
        """End the wait for a tenant that can be read."""
        with self._guard:
            self._waiting_since.pop(cluster, None)

    def is_unseen(self, cluster: str, tenant: TenantSeen | Blind | None) -> bool:
        """Whether no pass has seen the tenant yet; `tenant` is the result of this one."""
        with self._guard:
            if isinstance(tenant, TenantSeen):
                self._seen.add(cluster)
            return cluster not in self._seen


@dataclass(frozen=True, slots=True)
class HostSources:
    """The sources of a host's facts beside the caches; one value for all hosts, and safe for any thread."""

    clusters: Connections
    absences: NodeAbsences
    epoch: Epoch
    newest: Newest
    """Gives the newest known state of a cached object, see `Executor.newest`."""
    evictions: Evictions
    infra: InfraHealth
    leases: Leases
    first_looks: FirstSyncWaits

    def forget(self, cluster: str, host: str) -> None:
        """The host is no longer ours."""
        self.evictions.forget(cluster, host)
        self.leases.forget(cluster, host)


class HostGatherer:
    """Gathers one host's facts from caches and from answers to earlier inquiries; no server is waited for.

    Guarantees: budgets, maintenances and tenant Nodes are never older than our own last write; while a cache does not
        show that write, the host is looked at again soon, in case it never does.
    Threads: one, and one at a time a host.
    """

    def __init__(self, sources: HostSources, reader: Reader, scope: HostScope) -> None:
        self._sources = sources
        self._reader = reader
        self._scope = scope
        self._roster = scope.roster
        self._slot = scope.slot
        self._blockers = scope.roster.blockers
        self._host_ref = HostRef(
            scope.slot.host, scope.cluster, self._blockers.namespace, self._blockers.owner, sources.epoch.author()
        )
        self._is_behind = False  # of a cache

    def snapshot(self) -> HostSnapshot:
        """The snapshot of this pass. Raises: NotSynced and NotEngaged about infra."""
        nodes = {member.dpu: self._node(INFRA, member.dpu, DPU_SECONDS) for member in self._slot.members}
        dpus = tuple(self._dpu(member, nodes[member.dpu].value) for member in self._slot.members)
        deployments = {dpu: self._blocker(dpu) for dpu in nodes}
        tenant = self._tenant() if self._slot.host else Finding(None)
        view = Finding(None) if tenant.value is None else self._view(tenant.value, dpus)
        may_act = self._scope.may_act_on_outage(tenant.value)
        suspicion = self._sources.infra.suspicion() if may_act else Finding("")
        is_unseen = self._sources.first_looks.is_unseen(self._scope.cluster, tenant.value)
        found: tuple[Finding[Any], ...] = (*nodes.values(), tenant, view, suspicion)
        return HostSnapshot(
            scope=self._scope,
            host_ref=self._host_ref,
            dpus=dpus,
            nodes={dpu: each.value for dpu, each in nodes.items() if not isinstance(each.value, NodeGone)},
            deployments={dpu: each for dpu, each in deployments.items() if each is not None},
            view=view.value,
            recheck_seconds=soonest((*found, Finding(None, BEHIND_SECONDS if self._is_behind else None))),
            is_open=any(each.is_open for each in found),
            trouble=next((each.trouble for each in found if each.trouble is not None), None),
            unseen=tenant.value.hold if isinstance(tenant.value, Blind) and is_unseen else None,
            suspicion=suspicion.value,
        )

    def _view(self, tenant: TenantSeen | Blind, dpus: tuple[DpuView, ...]) -> Finding[HostView | None]:
        view = HostView(
            host_ref=self._host_ref,
            tenant=tenant,
            dpus=dpus,
            serving=self._slot.serving,
            pods_namespace=self._roster.config.namespace,
            config=self._roster.config.live,
            not_now=self._slot.not_now,
            settings=self._roster.settings,
            unverified=self._is_unverified(),
        )
        view = replace(view, abandoned_since=abandoned_since(HostState(view), self._scope.abandoned_since))
        evictions, signals = self._sources.evictions.look(view, self._reader.waker), self._signals(view)
        shown = replace(view, signals=signals.value, evictions=evictions.value)
        return Finding(shown, soonest((evictions, signals)), is_open=evictions.value is None)

    def _newest(self, cluster: str, resource: Resource, seen: Obj) -> Obj:
        newest = self._sources.newest(cluster, resource, seen)
        self._is_behind = self._is_behind or newest is not seen
        return newest

    # --- infra ------------------------------------------------------------------------------------------------------

    def _node(self, cluster: str, name: str, apart_seconds: float) -> Finding[Obj | NodeGone]:
        node, absences = self._reader.get(cluster, Selection(NODES), "", name), self._sources.absences
        if node is not None:
            absences.seen(cluster, name)
            return Finding(self._newest(cluster, NODES, node))
        absence = absences.look(cluster, name, apart_seconds, self._reader.waker)
        found = absence.found if absence.found is not None else NodeGone(absence.confirmed)
        error = absence.error
        trouble = None if error is None else why_failed(QuorumGet(cluster, NODES, "", name), error)
        return Finding(found, absence.recheck_seconds, trouble, absence.is_unasked)

    def _dpu(self, member: Member, node: Obj | NodeGone) -> DpuView:
        name = member.dpu
        blocker_pods, budget = self._blocker_pods(name), self._budget(name)
        return DpuView(
            name=name,
            node=node if isinstance(node, NodeGone) else readers.dpu_node(node),
            budget=budget,
            blocker=readers.ready_blocker(blocker_pods),
            trouble=why_not_running(self._blocker(name), blocker_pods),
            pods=self._pods(member),
            paired=bool(self._slot.host) and member.pairing == self._slot.host,
            entry=self._slot.changed_entry(member),
            stuck=member.stuck,
            parting=self._scope.is_parting(member, budget),
        )

    def _budget(self, dpu: str) -> facts.Budget | None:
        selection = Selection(names.PODDISRUPTIONBUDGETS, self._blockers.namespace)
        seen = self._reader.get(INFRA, selection, selection.namespace, names.blocker_name(dpu))
        if seen is None:
            return None
        return readers.budget(self._newest(INFRA, names.PODDISRUPTIONBUDGETS, seen), self._blockers.owner)

    def _blocker(self, dpu: str) -> Obj | None:
        selection = Selection(DEPLOYMENTS, self._blockers.namespace)
        return self._reader.get(INFRA, selection, selection.namespace, names.blocker_name(dpu))

    def _blocker_pods(self, dpu: str) -> list[Obj]:
        wanted, selection = blocker_labels(dpu), Selection(PODS, self._blockers.namespace)
        pods = self._reader.by_index(INFRA, selection, BY_BLOCKER, names.blocker_name(dpu))
        on_it = (pod for pod in pods if node_of(pod) in ("", dpu))  # or not scheduled yet
        return [pod for pod in on_it if wanted.items() <= labels_of(pod).items()]

    def _pods(self, member: Member) -> tuple[OvnPod, ...]:
        if self._roster.access is not Access.GIVEN:
            return ()  # no proof needs them
        selection = Selection(PODS, self._roster.config.namespace, "", by_labels({"app": names.OVNKUBE_NODE}))
        pods = (pod for pod in self._reader.by_index(INFRA, selection, BY_NODE, member.dpu) if not _has_ended(pod))
        in_order = sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))
        return tuple(readers.ovn_pod(pod, self._roster.templates, member.entry.idle) for pod in in_order)

    def _is_unverified(self) -> bool:
        """Whether, after a cluster's time went back, some record has not been taken over yet."""
        epoch, term = self._sources.epoch, self._host_ref.author.term
        if not epoch.needs_takeover:
            return False
        found = self._reader.list(INFRA, Selection(names.PODDISRUPTIONBUDGETS, self._blockers.namespace))
        ours = (obj for obj in found if names.OWNER_LABEL in labels_of(obj))
        cycles = [readers.budget(obj, self._blockers.owner).cycle for obj in ours]
        if any(cycle is not None and cycle.term != term for cycle in cycles):
            return True
        epoch.confirmed(term)
        return False

    # --- tenant -----------------------------------------------------------------------------------------------------

    def _tenant(self) -> Finding[TenantSeen | Blind | None]:
        """The tenant's objects; None: it was not read yet, and is still waited for."""
        cluster = self._scope.cluster
        node: Finding[Obj | NodeGone] = Finding(NodeGone(False))
        try:
            node = self._node(cluster, self._slot.host, HOST_SECONDS)
            maintenances = self._maintenances()
        except (NotEngaged, NotSynced) as err:
            if err.cluster == INFRA:
                raise
            hidden = self._out_of_sight(err)
            return Finding(hidden.value, soonest((node, hidden)), node.trouble)
        self._sources.first_looks.can_be_read(cluster)
        judged, found = visibility(self._roster.config, probed(self._sources.clusters.get(cluster))), node.value
        if isinstance(judged, Invisible):
            return Finding(_blind(judged), node.recheck_seconds, node.trouble)
        seen = found if isinstance(found, NodeGone) else readers.host_node(found)
        return Finding(TenantSeen(seen, maintenances), node.recheck_seconds, node.trouble, node.is_open)

    def _maintenances(self) -> tuple[facts.Maintenance, ...] | None:
        cluster, kind = self._scope.cluster, names.NODEMAINTENANCES
        if not serves_maintenances(self._reader, cluster):
            return None
        shown = self._reader.by_index(cluster, Selection(kind), BY_HOST, self._slot.host)
        newest = (self._newest(cluster, kind, obj) for obj in shown)
        found = (readers.maintenance(obj, self._blockers.owner) for obj in newest)
        return tuple(sorted(found, key=lambda each: each.name))

    def _signals(self, view: HostView) -> Finding[tuple[Signal, ...]]:
        """The signs of the host's network in the tenant."""
        leases, host = self._sources.leases, self._slot.host
        if not self._roster.has_zones or isinstance(view.tenant, Blind) or isinstance(view.tenant.node, NodeGone):
            leases.forget(self._scope.cluster, host)
            return Finding(())
        lease, annotations = leases.look(self._reader, self._roster, view), annotations_of(view.tenant.node.live)
        found = tenant_signals(Evidence(host, lease.value, annotations, self._roster.release))
        return Finding(found, lease.recheck_seconds)

    def _out_of_sight(self, err: NotEngaged | NotSynced) -> Finding[Blind | None]:
        """Why the tenant cannot be read; None while it is still waited for: single reads may fail at a start."""
        seen = visibility(self._roster.config, unread(err))
        if isinstance(seen, Invisible) and seen.obstacle is not Obstacle.UNREADABLE:
            return Finding(_blind(seen))
        left = self._sources.first_looks.seconds_left(self._scope.cluster)
        if left <= 0:
            return Finding(Blind(HoldReason(Reason.TENANT_NOT_SYNCED, _unread_words(err))))
        return Finding(None, left)


_HOLDS = {
    Obstacle.NOT_ENGAGED: Reason.TENANT_NOT_ENGAGED,
    Obstacle.SWAPPED: Reason.TENANT_SWAPPED,
    Obstacle.UNAUTHORIZED: Reason.TENANT_UNAUTHORIZED,
    Obstacle.UNREACHABLE: Reason.TENANT_UNREACHABLE,
    Obstacle.UNREADABLE: Reason.TENANT_NOT_SYNCED,
}


def _unread_words(err: NotEngaged | NotSynced) -> str:
    """What of the tenant has not been read in time; each name stands for itself, none is of the operator's inside."""
    if isinstance(err, NotEngaged):
        return "the tenant has not been read yet: the operator has no connection to it; see TenantReachable"
    why = f": {err.error}" if err.error is not None else "; its API server is slow, or does not answer"
    return f"the tenant has not been read yet: its {err.selection} are not listed{why}"


def _blind(found: Invisible) -> Blind:
    return Blind(HoldReason(_HOLDS[found.obstacle], found.words))


def serves_maintenances(reader: Reader, cluster: str) -> bool:
    """Whether the tenant serves NodeMaintenances in the version that we use. Raises: NotSynced, NotEngaged."""
    found = reader.one(cluster, CUSTOMRESOURCEDEFINITIONS, "", crd_name(names.NODEMAINTENANCES))
    if found is None or (condition_of(found, "Established") or {}).get("status") != "True":
        return False
    versions = mappings(at(found, "spec", "versions"))
    return any(v.get("name") == names.NODEMAINTENANCES.version and v.get("served") for v in versions)


def _has_ended(pod: Obj) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _app_of_blocker(pod: Obj) -> object:
    app = at(pod, "metadata", "labels", "app")
    return app if isinstance(app, str) and app.startswith(names.DRAIN_BLOCKER) else None


def _text(value: object) -> Iterable[str]:
    return (value,) if isinstance(value, str) and value else ()
