"""One DpuClusterConfig with one pair over scripted clusters, and the two controllers of its drain."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from dpunetop.base.stop import Stop
from dpunetop.controllers.drain.epoch import Epoch
from dpunetop.controllers.drain.evictions import Evictions
from dpunetop.controllers.drain.failures import Failures
from dpunetop.controllers.drain.gather_host import FirstSyncWaits, HostSources
from dpunetop.controllers.drain.hosts import MANAGER, Hosts
from dpunetop.controllers.drain.infrahealth import InfraHealth
from dpunetop.controllers.drain.leases import Leases
from dpunetop.controllers.drain.nodeabsence import NodeAbsences
from dpunetop.controllers.drain.pairs import Pairs
from dpunetop.controllers.drain.stalls import StallDetector
from dpunetop.controllers.drain.store import DrainStore, key_of
from dpunetop.controllers.drain.taskrunner import TaskRunner
from dpunetop.controllers.inquiries import Inquiries
from dpunetop.controllers.reconciler import Installation
from dpunetop.domain import names
from dpunetop.domain.drain.model.facts import Budget
from dpunetop.domain.drain.model.readers import budget
from dpunetop.domain.drain.model.record import State
from dpunetop.domain.names import blocker_labels
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.keys import (
    CONFIGMAPS,
    CUSTOMRESOURCEDEFINITIONS,
    DAEMONSETS,
    DEPLOYMENTS,
    INFRA,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    Key,
    crd_name,
)
from dpunetop.kube.plan import Emit
from dpunetop.kube.requests import Selection
from dpunetop.runtime.cluster import Health, Reach
from dpunetop.runtime.clusters import Clusters
from dpunetop.runtime.election.gate import OpenGate
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.latency import Bulkhead
from dpunetop.runtime.reading import NotEngaged
from support.clock import FakeClock
from support.hostsigns import dpu_shows
from support.objects import NAMESPACE, config, node
from support.scriptedcluster import Fuse, ScriptedCluster, ScriptedWatches

KEY = Key(INFRA, NAMESPACE, "sample")
TENANT = f"tenant/{NAMESPACE}/sample"
OPERATOR = "dpunetop"
OVN = "ovn"
"""Namespace of OVN-Kubernetes in the tenant."""
TENANT_UID = "tenant-uid"
HOST, DPU = "host-1", "d1"
OWNER = names.owner_hash("infra-uid", NAMESPACE, "sample")
PLACE = key_of(TENANT, ("host", HOST))
DRAINED = {"unschedulable": True, "taints": [{"key": names.MAINTENANCE_TAINT}]}
REACHABLE = SimpleNamespace(reach=Reach.REACHABLE, reason="", message="")


class World:
    """Two clusters with one pair, and the two controllers of its drain; `settle` runs them until neither writes."""

    def __init__(self, **spec: Any) -> None:
        self.clock, self.health, self.told = FakeClock(), REACHABLE, list[Emit]()
        self.infra_health = Health(Reach.REACHABLE, "", "", datetime.min.replace(tzinfo=UTC))
        self.has_rights = True
        self.slow: set[str] = set()  # clusters that answer slowly
        self.bulkhead = Bulkhead(1, lambda cluster: cluster in self.slow)
        fuse = Fuse()
        self.infra, self.tenant = (ScriptedCluster(name, fuse, self._time) for name in (INFRA, TENANT))
        self.watches = ScriptedWatches(self.infra, self.tenant)
        self.executor = Executor(
            self._client, OpenGate(), cast(Any, SimpleNamespace(emit=self.told.append)), self.clock
        )
        self._infra(spec)
        self._tenant()
        self.start()

    def start(self) -> None:
        """A new process: it remembers nothing."""
        drain_store, task_runner = DrainStore(), TaskRunner(self.executor, self._client, self.bulkhead)
        clusters = cast(Clusters, SimpleNamespace(get=lambda _: SimpleNamespace(health=self.health)))
        self.inquiries, self.asking = Inquiries(), set[Key]()
        self.inquiries.connect(self.asking.add, self.asking.discard)
        absences = NodeAbsences(self.inquiries, self._client, self.clock)
        evictions = Evictions(self.inquiries, self._client, self.clock)
        self.terms, infra = Epoch(self.clock, MANAGER), InfraHealth(lambda: self.infra_health, self.clock)
        leases, first_looks = Leases(self.clock), FirstSyncWaits(self.clock)
        sources = HostSources(
            clusters, absences, self.terms, self.executor.newest, evictions, infra, leases, first_looks
        )
        self.read_anew: list[str] = []
        stall_detector = StallDetector(self.clock, self.read_anew.append)
        self.drain_store = drain_store
        self.hosts = Hosts(drain_store, sources, task_runner, self.executor, stall_detector, Failures(self.clock))
        failures = Failures(self.clock)
        installation = Installation(None, OVN, None, OPERATOR, has_rights=lambda _: self.has_rights)
        self.pairs = Pairs(installation, self.executor, drain_store, task_runner, failures, "image", infra)
        self.woken = set[Key]()
        drain_store.connect(self.woken.add, self.woken.add)
        self.watches.enqueue = self.woken.add
        for each in (self.hosts, self.pairs):
            each.read_through(cast(Any, self.watches))

    def settle(self) -> float | None:
        """Look again and again until nobody writes or wakes; when the host wants to be looked at again."""
        for _ in range(30):
            before = self.writes()
            self.woken.discard(KEY)
            self.pairs.reconcile(KEY, Stop())
            roster = self.drain_store.roster(TENANT)
            keys = {key_of(TENANT, place) for place in roster.slots} if roster is not None else set()
            hosts = (keys | self.woken) - {KEY}
            self.woken.clear()
            pauses = {key: self.hosts.reconcile(key, Stop()) for key in sorted(hosts, key=str)}
            self.answer()
            if self.writes() == before and not self.woken:
                return pauses.get(PLACE)
        raise AssertionError("it never comes to rest")

    def answer(self) -> None:
        """The servers answer what they are asked outside of every look."""
        for key in list(self.asking):
            self.inquiries.reconcile(key, Stop())

    def of_zones(self, *arguments: str) -> World:
        """The tenant has the interconnect topology, the DPUs are told `arguments`, and the host shows its network."""
        template = {"metadata": {"annotations": {names.TEMPLATE_HASH_ANNOTATION: "t1"}}}
        parts = [{"name": "nbdb"}, {"name": names.OVNKUBE_CONTROLLER, "args": list(arguments)}]
        self.infra.put(
            DAEMONSETS, named(names.OVNKUBE_NODE, spec={"template": {**template, "spec": {"containers": parts}}})
        )
        self.tenant.put(NODES, {"metadata": {"name": HOST, "annotations": dpu_shows(HOST)}, "spec": {}})
        return self

    def protected(self) -> World:
        """The pair serves under protection; what was written on the way is forgotten."""
        self.settle()
        self.run_blocker()
        self.settle()
        assert self.said() == ("True", "AllProtected")
        self.infra.writes.clear()
        self.tenant.writes.clear()
        self.told.clear()
        return self

    # --- what others do ---

    def renew(self, time: str, namespace: str = OVN) -> None:
        """The Lease of the host, as somebody has written it now."""
        metadata = {"name": f"{names.LEASE_PREFIX}{HOST}", "namespace": namespace, "uid": "lease"}
        self.tenant.put(LEASES, {"metadata": metadata, "spec": {"renewTime": time, "leaseDurationSeconds": 40}})

    def run_blocker(self, dpu: str = DPU, *, ready: bool = True) -> None:
        self.infra.put(PODS, pod(f"blocker-{dpu}", OPERATOR, dict(blocker_labels(dpu)), node=dpu, ready=ready))

    def pair_up(self, **hosts: str) -> None:
        """What people write into `env-overrides`."""
        texts = {dpu: f"TENANT_K8S_NODE={host}" for dpu, host in hosts.items()}
        self.infra.put(CONFIGMAPS, named(names.ENV_OVERRIDES, data=texts))

    def run_pod(self, uid: str, container: str, dpu: str = DPU) -> None:
        labels = {"app": names.OVNKUBE_NODE}
        found = pod(f"ovnkube-node-{dpu}", NAMESPACE, labels, container, template="t1", node=dpu)
        found["metadata"]["uid"] = uid
        self.infra.put(PODS, found)

    def change(self, cluster: ScriptedCluster, resource: Any, namespace: str, name: str, **members: Any) -> None:
        """Replace top-level members of an object, as somebody else does."""
        cluster.put(resource, {**cluster.shown(resource, namespace, name), **members})

    def cordon(self, yes: bool = True) -> None:
        self.change(self.infra, NODES, "", DPU, spec={"unschedulable": True} if yes else {})

    def label(self, labels: dict[str, str]) -> None:
        """The DPU's labels are these."""
        live = self.infra.shown(NODES, "", DPU)
        self.infra.put(NODES, {**live, "metadata": {**live["metadata"], "labels": labels}})

    def reboot(self, boot: str) -> None:
        self.infra.put(NODES, dpu_node(boot, cordoned=True))
        self.run_pod("p1", f"container-of-{boot}")

    def drain_host(self) -> None:
        """The node maintenance operator has emptied the host."""
        self.change(self.tenant, NODES, "", HOST, spec=DRAINED)
        self.change(
            self.tenant, names.NODEMAINTENANCES, "", names.maintenance_name(HOST), status={"phase": "Succeeded"}
        )

    def end_maintenance(self) -> None:
        """It has seen its maintenance go."""
        assert self.maintenance() is None
        self.change(self.tenant, NODES, "", HOST, spec={})

    def delete_config(self, **annotations: str) -> None:
        """A person deletes the DpuClusterConfig, with these annotations of ours."""
        notes = {f"{names.GROUP}/{name.replace('_', '-')}": text for name, text in annotations.items()}
        self.say(deletionTimestamp="2026-01-01T00:00:00Z", annotations=notes)

    def say(self, *conditions: dict[str, Any], **metadata: Any) -> None:
        """What other controllers, or people, say of the DpuClusterConfig."""
        live = self.infra.shown(names.DPUCLUSTERCONFIGS, NAMESPACE, "sample")
        kept = [each for each in (live.get("status") or {}).get("conditions", []) if each["type"] == "PairsHealthy"]
        status = {**live["status"], "conditions": [*kept, *conditions]}
        changed = {**live, "metadata": {**live["metadata"], **metadata}, "status": status}
        self.infra.put(names.DPUCLUSTERCONFIGS, changed)

    # --- what is there ---

    def writes(self) -> list[str]:
        return [*self.infra.writes, *self.tenant.writes]

    def acts(self) -> list[str]:
        """All that was written but for status, each without its cluster's long name."""
        return [each.removeprefix(f"{TENANT} ") for each in self.writes() if " status " not in each]

    def budget(self) -> Budget:
        found = self.infra.shown(names.PODDISRUPTIONBUDGETS, OPERATOR, names.blocker_name(DPU))
        return budget(found, OWNER)

    def state(self) -> State | None:
        cycle = self.budget().cycle
        return cycle.state if cycle is not None else None

    def entries(self) -> dict[str, str]:
        return dict(self.infra.shown(CONFIGMAPS, NAMESPACE, names.OVNKUBE_NODE_ENTRIES).get("data", {}))

    def maintenance(self) -> Any:
        return self.tenant.shown(names.NODEMAINTENANCES, "", names.maintenance_name(HOST))

    def host(self) -> Any:
        return self.tenant.shown(NODES, "", HOST)

    def message(self) -> str:
        """What `PairsHealthy` says."""
        found = condition_of(self.infra.shown(names.DPUCLUSTERCONFIGS, NAMESPACE, "sample"), "PairsHealthy")
        return str((found or {}).get("message"))

    def left(self) -> list[str]:
        """What still protects, or is served."""
        kinds = (DEPLOYMENTS, names.PODDISRUPTIONBUDGETS)
        return [str(kind) for kind in kinds if self.infra.listed(Selection(kind))] + sorted(self.entries())

    def said(self) -> tuple[str, str]:
        found = condition_of(self.infra.shown(names.DPUCLUSTERCONFIGS, NAMESPACE, "sample"), "PairsHealthy")
        assert found is not None
        return found["status"], found["reason"]

    def events(self) -> list[str]:
        """What was told of the DPU, in order."""
        return [f"{each.type} {each.reason}" for each in self.told if each.resource is NODES]

    # --- inside ---

    def _client(self, name: str) -> Any:
        if name in self.watches.silent:
            raise NotEngaged(name)
        return self.watches.clusters[name]

    def _time(self) -> str:
        return self.clock.now().isoformat()

    def _infra(self, spec: dict[str, Any]) -> None:
        put = self.infra.put
        own = config(**spec)
        put(names.DPUCLUSTERCONFIGS, {**own, "status": {**own["status"], "tenantUID": TENANT_UID}})
        put(NAMESPACES, {"metadata": {"name": "kube-system", "uid": "infra-uid"}})
        put(NAMESPACES, {"metadata": {"name": NAMESPACE, "uid": "namespace-uid"}})
        put(NODES, dpu_node("b1"))
        self.pair_up(**{DPU: HOST})
        entries = named(names.OVNKUBE_NODE_ENTRIES)
        entries["metadata"]["labels"] = {names.OWNER_LABEL: OWNER}
        put(CONFIGMAPS, entries)
        template = {"metadata": {"annotations": {names.TEMPLATE_HASH_ANNOTATION: "t1"}}}
        put(DAEMONSETS, named(names.OVNKUBE_NODE, spec={"template": template}))
        self.run_pod("p0", "container-of-b1")

    def _tenant(self) -> None:
        self.tenant.put(NODES, {"metadata": {"name": HOST}, "spec": {}})
        established = {"conditions": [{"type": "Established", "status": "True"}]}
        served = {"versions": [{"name": names.NODEMAINTENANCES.version, "served": True}]}
        crd = {"metadata": {"name": crd_name(names.NODEMAINTENANCES)}, "spec": served, "status": established}
        self.tenant.put(CUSTOMRESOURCEDEFINITIONS, crd)


def named(name: str, **members: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "metadata": {"name": name, "namespace": NAMESPACE}, **members}


def dpu_node(boot: str, *, name: str = DPU, cordoned: bool = False) -> dict[str, Any]:
    status = {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"bootID": boot}}
    return {**node(name), "spec": {"unschedulable": True} if cordoned else {}, "status": status}


def pod(
    name: str,
    namespace: str,
    labels: dict[str, str],
    container: str = "c",
    template: str = "",
    *,
    node: str = DPU,
    ready: bool = True,
) -> dict[str, Any]:
    notes = {names.TEMPLATE_HASH_ANNOTATION: template} if template else {}
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    status = {"phase": "Running", "conditions": conditions, "containerStatuses": [{"containerID": container}]}
    metadata = {"name": name, "namespace": namespace, "labels": labels, "annotations": notes}
    return {"metadata": metadata, "spec": {"nodeName": node}, "status": status}
