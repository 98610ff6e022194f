"""What the caches show of one host and its DPUs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from dpunetop.base.clock import Clock
from dpunetop.controllers.drain.epoch import Epoch
from dpunetop.controllers.drain.evictions import Evictions
from dpunetop.controllers.drain.infrahealth import InfraHealth
from dpunetop.controllers.drain.leases import Leases
from dpunetop.controllers.drain.nodeabsence import DPU_SECONDS, HOST_SECONDS, NodeAbsences
from dpunetop.controllers.reconciler import probed, unread
from dpunetop.domain import names
from dpunetop.domain.clusterconfig.access import Access
from dpunetop.domain.drain.fleet.roster import Member, Roster, Slot
from dpunetop.domain.drain.host import (
    Finding,
    HostSnapshot,
    changed_entry,
    is_parting,
    may_act_on_outage,
    soonest,
)
from dpunetop.domain.drain.model import facts, readers
from dpunetop.domain.drain.model.calls import QuorumGet
from dpunetop.domain.drain.model.facts import (
    Author,
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
from dpunetop.domain.drain.report.failures import why_failed
from dpunetop.domain.drain.rules.proof import Evidence, tenant_signals
from dpunetop.domain.names import blocker_labels
from dpunetop.domain.ovnkube.notrunning import why_not_running
from dpunetop.domain.tenant.visibility import Invisible, Obstacle, visibility
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.keys import CUSTOMRESOURCEDEFINITIONS, DEPLOYMENTS, INFRA, NODES, PODS, Resource, crd_name
from dpunetop.kube.meta import Obj, annotations_of, labels_of
from dpunetop.kube.requests import Selection
from dpunetop.kube.selectors import by_labels
from dpunetop.kube.shapes import at, mappings
from dpunetop.runtime.cluster import Clusters
from dpunetop.runtime.reading import NotEngaged, NotSynced, Reader

Newest = Callable[[str, Resource, Obj], Obj]

BY_NODE = "node"
"""Index of pods by the name of their Node."""
BY_BLOCKER = "blocker"
"""Index of the pods of blockers by the name of their Deployment: one that finds no room has no Node yet."""
BY_HOST = "host"
"""Index of NodeMaintenances by the Node that they are about."""
PATIENCE_SECONDS = 30.0
"""So long a tenant of which nothing is known yet is waited for, before its silence counts."""
INDEXERS = {
    PODS: {
        BY_NODE: lambda pod: _text(at(pod, "spec", "nodeName")),
        BY_BLOCKER: lambda pod: _text(_app_of_blocker(pod)),
    },
    names.NODEMAINTENANCES: {BY_HOST: lambda obj: _text(at(obj, "spec", "nodeName"))},
}
"""What the clusters' caches must be indexed by; a tenant's objects may have any shape."""


class HostGatherer:
    """Reads caches, and where a Node is missing asks the server.

    Guarantees: budgets, maintenances and tenant Nodes are never shown as they were before our own last write.
    Threads: any; one at a time a key.
    """

    def __init__(
        self,
        clusters: Clusters,
        absences: NodeAbsences,
        terms: Epoch,
        clock: Clock,
        newest: Newest,
        evictions: Evictions,
        infra: InfraHealth,
    ) -> None:
        """`newest` gives the newest state that is known of what a cache shows, see `Executor.newest`."""
        self._newest = newest
        self._infra = infra
        self._clusters = clusters
        self._absences = absences
        self._evictions = evictions
        self._terms = terms
        self._clock = clock
        self._leases = Leases(clock)
        self._guard = threading.Lock()  # guards the two below
        self._seen: set[str] = set()  # tenant clusters of which this process has seen something
        self._waiting_since: dict[str, float] = {}  # tenant cluster of which nothing is known yet -> monotonic

    def host_snapshot(self, reader: Reader, roster: Roster, slot: Slot) -> HostSnapshot:
        """Look at one slot. Raises: NotSynced and NotEngaged about infra."""
        author = self._terms.author()
        cluster, settings = roster.config.tenant_cluster, roster.blockers
        host_ref = HostRef(slot.host, cluster, settings.namespace, settings.owner, author)
        nodes = {member.dpu: self._node(reader, INFRA, member.dpu, DPU_SECONDS) for member in slot.members}
        dpus = tuple(self._dpu(reader, roster, slot, member, nodes[member.dpu].value) for member in slot.members)
        deployments = {dpu: _blocker(reader, settings.namespace, dpu) for dpu in nodes}
        tenant = self._tenant(reader, roster, slot.host) if slot.host else Finding(None)
        view = self._view(reader, roster, slot, host_ref, tenant.value, dpus)
        suspicion = self._infra.suspicion() if may_act_on_outage(roster, tenant.value) else Finding("")
        found: tuple[Finding[Any], ...] = (*nodes.values(), tenant, view, suspicion)
        return HostSnapshot(
            host_ref=host_ref,
            dpus=dpus,
            nodes={dpu: each.value for dpu, each in nodes.items() if not isinstance(each.value, NodeGone)},
            deployments={dpu: each for dpu, each in deployments.items() if each is not None},
            view=view.value,
            recheck_seconds=soonest(found),
            trouble=next((each.trouble for each in found if each.trouble is not None), None),
            unseen=self._unseen(cluster, tenant.value),
            suspicion=suspicion.value,
        )

    def _view(
        self,
        reader: Reader,
        roster: Roster,
        slot: Slot,
        host_ref: HostRef,
        tenant: TenantSeen | Blind | None,
        dpus: tuple[DpuView, ...],
    ) -> Finding[HostView | None]:
        if tenant is None:
            return Finding(None)
        view = HostView(
            host_ref=host_ref,
            tenant=tenant,
            dpus=dpus,
            serving=slot.serving,
            pods_namespace=roster.config.namespace,
            config=roster.config.live,
            not_now=slot.not_now,
            settings=roster.settings,
            unverified=self._is_unverified(reader, roster, host_ref.author),
        )
        evictions, signals = self._evictions.look(view), self._signals(reader, roster, view)
        return Finding(replace(view, signals=signals.value, evictions=evictions.value), soonest((evictions, signals)))

    def _unseen(self, cluster: str, tenant: TenantSeen | Blind | None) -> HoldReason | None:
        with self._guard:
            if isinstance(tenant, TenantSeen):
                self._seen.add(cluster)
            is_seen = cluster in self._seen
        return tenant.hold if isinstance(tenant, Blind) and not is_seen else None

    def forget(self, cluster: str, host: str) -> None:
        """The host is nobody's any more."""
        self._evictions.forget(cluster, host)
        self._leases.forget(cluster, host)

    # --- infra ------------------------------------------------------------------------------------------------------

    def _node(self, reader: Reader, cluster: str, name: str, apart: float) -> Finding[Obj | NodeGone]:
        node = reader.get(cluster, Selection(NODES), "", name)
        if node is not None:
            self._absences.seen(cluster, name)
            return Finding(self._newest(cluster, NODES, node))
        absence = self._absences.look(cluster, name, apart)
        found = absence.found if absence.found is not None else NodeGone(absence.confirmed)
        error = absence.error
        trouble = None if error is None else why_failed(QuorumGet(cluster, NODES, "", name), error)
        return Finding(found, absence.recheck_seconds, trouble)

    def _dpu(self, reader: Reader, roster: Roster, slot: Slot, member: Member, node: Obj | NodeGone) -> DpuView:
        settings, name = roster.blockers, member.dpu
        blockers = _blocker_pods(reader, settings.namespace, name)
        budget = reader.get(
            INFRA,
            Selection(names.PODDISRUPTIONBUDGETS, settings.namespace),
            settings.namespace,
            names.blocker_name(name),
        )
        read = None if budget is None else self._budget(budget, settings.owner)
        return DpuView(
            name=name,
            node=node if isinstance(node, NodeGone) else readers.dpu_node(node),
            budget=read,
            blocker=readers.ready_blocker(blockers),
            trouble=why_not_running(_blocker(reader, settings.namespace, name), blockers),
            pods=_pods(reader, roster, member),
            paired=bool(slot.host) and member.pairing == slot.host,
            entry=changed_entry(slot, member),
            stuck=member.stuck,
            parting=is_parting(roster, slot, member, read),
        )

    def _budget(self, seen: Obj, owner: str) -> facts.Budget:
        return readers.budget(self._newest(INFRA, names.PODDISRUPTIONBUDGETS, seen), owner)

    def _is_unverified(self, reader: Reader, roster: Roster, author: Author) -> bool:
        """Whether, after a cluster's time went back, a cycle is left that has not been taken over."""
        if not self._terms.needs_takeover:
            return False
        namespace, owner = roster.blockers.namespace, roster.blockers.owner
        found = reader.list(INFRA, Selection(names.PODDISRUPTIONBUDGETS, namespace))
        cycles = [readers.budget(obj, owner).cycle for obj in found if names.OWNER_LABEL in labels_of(obj)]
        if any(cycle is not None and cycle.term != author.term for cycle in cycles):
            return True
        self._terms.confirmed(author.term)
        return False

    # --- tenant -----------------------------------------------------------------------------------------------------

    def _tenant(self, reader: Reader, roster: Roster, host: str) -> Finding[TenantSeen | Blind | None]:
        """None: nothing is known of the tenant yet, and it is not waited for too long."""
        cluster = roster.config.tenant_cluster
        node: Finding[Obj | NodeGone] = Finding(NodeGone(False))
        try:
            node = self._node(reader, cluster, host, HOST_SECONDS)
            maintenances = self._maintenances(reader, cluster, roster.blockers.owner, host)
        except (NotEngaged, NotSynced) as err:
            if err.cluster == INFRA:
                raise
            hidden = self._out_of_sight(roster, err)
            return Finding(hidden.value, soonest((node, hidden)), node.trouble)
        with self._guard:
            self._waiting_since.pop(cluster, None)
        judged, found = visibility(roster.config, probed(self._clusters.get(cluster))), node.value
        if isinstance(judged, Invisible):
            return Finding(_blind(judged), node.recheck_seconds, node.trouble)
        seen = found if isinstance(found, NodeGone) else readers.host_node(found)
        return Finding(TenantSeen(seen, maintenances), node.recheck_seconds, node.trouble)

    def _maintenances(
        self, reader: Reader, cluster: str, owner: str, host: str
    ) -> tuple[facts.Maintenance, ...] | None:
        if not serves_maintenances(reader, cluster):
            return None
        shown = reader.by_index(cluster, Selection(names.NODEMAINTENANCES), BY_HOST, host)
        found = (self._newest(cluster, names.NODEMAINTENANCES, obj) for obj in shown)
        seen = sorted((readers.maintenance(obj, owner) for obj in found), key=lambda each: each.name)
        return tuple(seen)

    def _signals(self, reader: Reader, roster: Roster, view: HostView) -> Finding[tuple[Signal, ...]]:
        """What the tenant shows of the host's network."""
        if not roster.has_zones or isinstance(view.tenant, Blind) or isinstance(view.tenant.node, NodeGone):
            self._leases.forget(roster.config.tenant_cluster, view.host_ref.host)
            return Finding(())
        lease, annotations = self._leases.look(reader, roster, view), annotations_of(view.tenant.node.live)
        found = tenant_signals(Evidence(view.host_ref.host, lease.value, annotations, roster.release))
        return Finding(found, lease.recheck_seconds)

    def _out_of_sight(self, roster: Roster, err: NotEngaged | NotSynced) -> Finding[Blind | None]:
        """Why the tenant cannot be read, once that is more than the first moments of a start; an error of a single read
        may be one of them."""
        seen = visibility(roster.config, unread(err))
        if isinstance(seen, Invisible) and seen.obstacle is not Obstacle.UNREADABLE:
            return Finding(_blind(seen))
        cluster, now = roster.config.tenant_cluster, self._clock.monotonic()
        with self._guard:
            waited = now - self._waiting_since.setdefault(cluster, now)
        if waited >= PATIENCE_SECONDS:
            return Finding(Blind(HoldReason(Reason.TENANT_NOT_SYNCED, f"the tenant has not been read yet: {err}")))
        return Finding(None, PATIENCE_SECONDS - waited)


_HOLDS = {
    Obstacle.NOT_ENGAGED: Reason.TENANT_NOT_ENGAGED,
    Obstacle.SWAPPED: Reason.TENANT_SWAPPED,
    Obstacle.UNAUTHORIZED: Reason.TENANT_UNAUTHORIZED,
    Obstacle.UNREACHABLE: Reason.TENANT_UNREACHABLE,
    Obstacle.UNREADABLE: Reason.TENANT_NOT_SYNCED,
}


def _blind(found: Invisible) -> Blind:
    return Blind(HoldReason(_HOLDS[found.obstacle], found.words))


def serves_maintenances(reader: Reader, cluster: str) -> bool:
    """Whether the tenant has NodeMaintenances in the version that we speak. Raises: NotSynced, NotEngaged."""
    found = reader.one(cluster, CUSTOMRESOURCEDEFINITIONS, "", crd_name(names.NODEMAINTENANCES))
    if found is None or (condition_of(found, "Established") or {}).get("status") != "True":
        return False
    versions = mappings(at(found, "spec", "versions"))
    return any(v.get("name") == names.NODEMAINTENANCES.version and v.get("served") for v in versions)


def _blocker(reader: Reader, namespace: str, dpu: str) -> Obj | None:
    return reader.get(INFRA, Selection(DEPLOYMENTS, namespace), namespace, names.blocker_name(dpu))


def _blocker_pods(reader: Reader, namespace: str, dpu: str) -> list[Obj]:
    wanted = blocker_labels(dpu)
    pods = reader.by_index(INFRA, Selection(PODS, namespace), BY_BLOCKER, names.blocker_name(dpu))
    on_it = (pod for pod in pods if at(pod, "spec", "nodeName") in (None, "", dpu))  # or nowhere yet
    return [pod for pod in on_it if wanted.items() <= labels_of(pod).items()]


def _pods(reader: Reader, roster: Roster, member: Member) -> tuple[OvnPod, ...]:
    if roster.access is not Access.GIVEN:
        return ()  # nobody asks for them
    namespace = roster.config.namespace
    selection = Selection(PODS, namespace, "", by_labels({"app": names.OVNKUBE_NODE}))
    found = (pod for pod in reader.by_index(INFRA, selection, BY_NODE, member.dpu) if not _has_ended(pod))
    return tuple(
        readers.ovn_pod(pod, roster.templates, member.entry.idle)
        for pod in sorted(found, key=lambda pod: str(pod["metadata"]["name"]))
    )


def _has_ended(pod: Obj) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _app_of_blocker(pod: Obj) -> object:
    app = at(pod, "metadata", "labels", "app")
    return app if isinstance(app, str) and app.startswith(names.DRAIN_BLOCKER) else None


def _text(value: object) -> Iterable[str]:
    return (value,) if isinstance(value, str) and value else ()
