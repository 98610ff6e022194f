"""Stand-in for the kubelets of a cluster: nodes send heartbeats and reboot; pods run, end and become Ready."""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from dpunetop.base.stop import Stop
from dpunetop.domain.names import DPU_NODE_LABEL
from dpunetop.kube.compact import boot_of
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.keys import NODES, PODS, Key
from dpunetop.kube.meta import Obj, annotations_of, is_terminating, labels_of, name_of, namespace_of, new_object, uid_of
from dpunetop.runtime.cache.store import Lister
from dpunetop.sandbox.standins.engine import BY_NODE, StandIn, StandInEngine, has_ended
from dpunetop.sandbox.standins.runtime import ContainerState, NoRuntime, Runtime

REBOOT_ANNOTATION = "standin.dpu.openshift.io/reboot"
"""On a Node: the boot ID to end. A node with this boot ID reboots and comes back with another."""
HOLD_READY_ANNOTATION = "standin.dpu.openshift.io/hold-ready"
"""On a pod: it runs but does not become Ready. On a Node: once down, it stays down."""

_UNSEEN_SECONDS = 0.2
_RUNNING_SECONDS = 0.5
_CAPACITY = {"cpu": "16", "memory": "32Gi", "pods": "250", "ephemeral-storage": "100Gi"}


class Kubelet(StandIn):
    """All kubelets of one cluster.

    Guarantees: on a node that is up, a pod runs and becomes Ready, and a terminating one is removed. After a reboot its
        containers have new IDs. While a node is down, its pods are not Ready and none ends. On a node whose network is
        left to a DPU, a pod of the pod network stays Pending. Init containers are ignored. A pod of the runtime has the
        state of its processes.
    """

    name = "kubelet"

    def __init__(
        self,
        *,
        heartbeat_seconds: float = 10.0,
        boot_seconds: float = 1.0,
        binds_daemon_pods: bool = False,
        runtime: Runtime | None = None,
    ) -> None:
        """`binds_daemon_pods`: bind pods of DaemonSets, if there is no scheduler. `runtime` runs pods as processes."""
        self._heartbeat_seconds = heartbeat_seconds
        self._boot_seconds = boot_seconds
        self._binds_daemon_pods = binds_daemon_pods
        self._runtime = runtime or NoRuntime()
        self._guard = threading.Lock()  # guards the three below
        self._is_held: Callable[[Obj], bool] = lambda _: False
        self._up_again_at: dict[str, float] = {}  # node that is down -> monotonic
        self._reported: dict[str, Obj] = {}  # node -> what was last written of it

    def attach(self, engine: StandInEngine, enqueue: Callable[[Key], None]) -> None:
        """See `StandIn.attach`."""
        self._engine = engine
        self._enqueue = enqueue
        self._pods: Lister = engine.follow(PODS, lambda pod: enqueue(self._key(pod)))
        self._nodes: Lister = engine.follow(NODES, self._node_changed)

    def hold_ready(self, predicate: Callable[[Obj], bool]) -> None:
        """From now on keep the pods that match `predicate` from being Ready, and no others."""
        with self._guard:
            self._is_held = predicate
        for pod in self._pods.list():
            self._enqueue(self._key(pod))

    def reconcile(self, key: Key, stop: Stop) -> float | None:
        """See `StandIn.reconcile`; pods have a namespace, nodes do not."""
        if not key.namespace:
            node = self._nodes.get("", key.name)
            return self._tend_node(node) if node is not None else None
        pod = self._pods.get(key.namespace, key.name)
        return self._tend_pod(pod, stop) if pod is not None and not has_ended(pod) else None

    # --- nodes ------------------------------------------------------------------------------------------------------

    def _node_changed(self, node: Obj) -> None:
        self._enqueue(self._key(node))
        for pod in self._pods.by_index(BY_NODE, name_of(node)):
            self._enqueue(self._key(pod))

    def _tend_node(self, node: Obj) -> float:
        down_seconds = self._down_seconds(node)
        boot = boot_id(node)
        if not boot or (not down_seconds and _is_rebooting(node)):
            boot = next_boot_id(node)
        if down_seconds:
            self._runtime.power_off(name_of(node))
        body = self._report(node, boot, down_seconds <= 0)
        self._engine.client.apply_status(NODES, body, self.manager)
        return down_seconds or self._heartbeat_seconds

    def _down_seconds(self, node: Obj) -> float:
        """Seconds until the node is up again; 0 if it is up, or comes up now."""
        now, name = self._engine.clock.monotonic(), name_of(node)
        with self._guard:
            if not _is_rebooting(node):
                self._up_again_at.pop(name, None)
                return 0.0
            if HOLD_READY_ANNOTATION in annotations_of(node):
                return self._boot_seconds
            return max(self._up_again_at.setdefault(name, now + self._boot_seconds) - now, 0.0)

    def _report(self, node: Obj, boot: str, is_up: bool) -> Obj:
        now = _written(self._engine.clock.now())
        with self._guard:
            before = self._reported.get(uid_of(node), {})
            report = new_object(NODES, "", name_of(node), status=node_status(node, boot, is_up, before, now))
            self._reported[uid_of(node)] = report
        return report

    # --- pods -------------------------------------------------------------------------------------------------------

    def _tend_pod(self, pod: Obj, stop: Stop) -> float | None:
        node_name = (pod.get("spec") or {}).get("nodeName")
        if not node_name:
            return self._bind(pod)
        node = self._nodes.get("", node_name)
        if node is None or not boot_id(node):
            return None
        if self._runtime.runs(pod):
            return self._run_pod_on(node, pod, stop)
        self._tend_pod_on(node, pod, stop)
        return None

    def _tend_pod_on(self, node: Obj, pod: Obj, stop: Stop) -> None:
        is_up = _is_up(node)
        if is_terminating(pod):
            if is_up:
                self._engine.end_pod(pod)
            return
        if may_run(pod, node):
            with self._guard:
                is_held = self._is_held
            is_ready = is_up and HOLD_READY_ANNOTATION not in annotations_of(pod) and not is_held(pod)
            status = pod_status(pod, node, is_ready, _written(self._engine.clock.now()))
            self._engine.apply_status(PODS, pod, status, self.manager, stop)

    def _run_pod_on(self, node: Obj, pod: Obj, stop: Stop) -> float | None:
        """Report a pod whose containers are processes; on a node that is down, the last report stays."""
        now = _written(self._engine.clock.now())
        if not _is_up(node):
            last = (pod.get("status") or {}).get("containerStatuses") or []
            status = running_status(pod, node, [{**each, "ready": False} for each in last], now)
        elif is_terminating(pod):
            if self._runtime.end(pod):
                self._engine.end_pod(pod)
                return None
            return _UNSEEN_SECONDS
        else:
            states = self._runtime.sync(pod, boot_id(node))
            status = running_status(pod, node, [container_status(state, pod) for state in states], now)
        self._engine.apply_status(PODS, pod, status, self.manager, stop)
        return _RUNNING_SECONDS

    def _bind(self, pod: Obj) -> float | None:
        """Bind a pod of a DaemonSet to its node; returns the delay of a retry if the node is not cached yet."""
        target = daemon_target(pod) if self._binds_daemon_pods and not is_terminating(pod) else None
        if target is None:
            return None
        if self._nodes.get("", target) is None:
            return _UNSEEN_SECONDS  # the change of a node does not enqueue an unbound pod
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name_of(pod), "namespace": namespace_of(pod)},
            "target": {"apiVersion": "v1", "kind": "Node", "name": target},
        }
        self._engine.client.create_sub(PODS, namespace_of(pod), name_of(pod), "binding", binding)
        return None

    def _key(self, obj: Obj) -> Key:
        return Key(self._engine.cluster, namespace_of(obj), name_of(obj))


def boot_id(node: Obj) -> str:
    """The node's boot ID, from a cached or a complete Node; empty before its first report."""
    return boot_of(node)


def next_boot_id(node: Obj) -> str:
    """The boot ID after the current one; deterministic, so that a stale cache causes no second reboot."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{uid_of(node)}/{boot_id(node)}"))


def address(name: str) -> str:
    """The address of the node of that name; deterministic."""
    a, b, c = hashlib.sha256(name.encode()).digest()[:3]
    return f"10.{64 + a % 64}.{b}.{1 + c % 254}"


def node_status(node: Obj, boot: str, is_up: bool, before: Obj, now: str) -> dict[str, Any]:
    """The node's report; it keeps lastTransitionTime of `before`, its last report, unless the status changes."""
    condition = {
        "type": "Ready",
        "status": "True" if is_up else "False",
        "reason": "KubeletReady" if is_up else "KubeletNotReady",
        "message": "kubelet is posting ready status" if is_up else "the node is rebooting",
        "lastHeartbeatTime": now,
    }
    return {
        "conditions": [_since(condition, before, now)],
        "addresses": [
            {"type": "InternalIP", "address": address(name_of(node))},
            {"type": "Hostname", "address": name_of(node)},
        ],
        "nodeInfo": {"bootID": boot, "kubeletVersion": "v1.27.0", "operatingSystem": "linux"},
        "capacity": _CAPACITY,
        "allocatable": _CAPACITY,
    }


def may_run(pod: Obj, node: Obj) -> bool:
    """Whether the pod's network can be set up; a running pod keeps running."""
    on_host = bool(pod["spec"].get("hostNetwork"))
    is_running = (pod.get("status") or {}).get("phase") == "Running"
    return on_host or is_running or DPU_NODE_LABEL not in labels_of(node)


def pod_status(pod: Obj, node: Obj, is_ready: bool, now: str) -> dict[str, Any]:
    """The status of a pod that runs on `node`; each time stays until the fact that it dates changes."""
    containers = [_container_status(container, pod, boot_id(node), is_ready, now) for container in _containers(pod)]
    return _status(pod, node, is_ready, containers, now)


def running_status(pod: Obj, node: Obj, containers: list[dict[str, Any]], now: str) -> dict[str, Any]:
    """The status of a pod with these containers."""
    is_ready = len(containers) == len(_containers(pod)) and all(each["ready"] for each in containers)
    return _status(pod, node, is_ready, containers, now)


def container_status(state: ContainerState, pod: Obj) -> dict[str, Any]:
    """The status of one container of a pod, from its state in the runtime."""
    image = next(each["image"] for each in _containers(pod) if each["name"] == state.name)
    waiting = {"reason": "CrashLoopBackOff", "message": state.ended}
    last = {"terminated": {"exitCode": 1, "reason": "Error", "message": state.ended}} if state.ended else {}
    return {
        "name": state.name,
        "image": image,
        "imageID": image,
        "containerID": state.container_id,
        "ready": state.ready,
        "started": state.started_at is not None,
        "restartCount": state.restarts,
        "state": {"waiting": waiting} if state.started_at is None else {"running": {"startedAt": state.started_at}},
        "lastState": last,
    }


def _status(pod: Obj, node: Obj, is_ready: bool, containers: list[dict[str, Any]], now: str) -> dict[str, Any]:
    host = address(name_of(node))
    own = host if pod["spec"].get("hostNetwork") else _pod_address(pod)
    states = {"PodReadyToStartContainers": True, "Initialized": True, "ContainersReady": is_ready, "Ready": is_ready}
    conditions = [{"type": name, "status": str(state)} for name, state in states.items()]
    return {
        "phase": "Running",
        "startTime": (pod.get("status") or {}).get("startTime") or now,
        "hostIP": host,
        "hostIPs": [{"ip": host}],
        "podIP": own,
        "podIPs": [{"ip": own}],
        "conditions": [_since(condition, pod, now) for condition in conditions],
        "containerStatuses": containers,
    }


def daemon_target(pod: Obj) -> str | None:
    """The node that a DaemonSet created the pod for; None for other pods."""
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    terms = (affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}).get("nodeSelectorTerms") or []
    for term in terms:
        for field in term.get("matchFields") or []:
            if field["key"] == "metadata.name":
                return str(field["values"][0])
    return None


def _container_status(container: Obj, pod: Obj, boot: str, is_ready: bool, now: str) -> dict[str, Any]:
    identity = hashlib.sha256("/".join((uid_of(pod), boot, container["name"])).encode()).hexdigest()
    container_id = f"cri-o://{identity}"
    before = _status_of(container["name"], pod)
    is_same = before.get("containerID") == container_id
    restarts = int(before.get("restartCount", 0))
    started_at = before["state"]["running"]["startedAt"] if is_same else now
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": container["image"],
        "containerID": container_id,
        "ready": is_ready,
        "started": True,
        "restartCount": restarts if is_same or not before else restarts + 1,
        "state": {"running": {"startedAt": started_at}},
        "lastState": {},
    }


def _containers(pod: Obj) -> list[Obj]:
    return list(pod["spec"]["containers"])


def _status_of(container: str, pod: Obj) -> Mapping[str, Any]:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return next((status for status in statuses if status["name"] == container), {})


def _pod_address(pod: Obj) -> str:
    a, b = hashlib.sha256(uid_of(pod).encode()).digest()[:2]
    return f"10.128.{a}.{1 + b % 254}"


def _since(condition: dict[str, Any], before: Obj, now: str) -> dict[str, Any]:
    old = condition_of(before, condition["type"]) or {}
    is_same = old.get("status") == condition["status"] and old.get("lastTransitionTime")
    return {**condition, "lastTransitionTime": old["lastTransitionTime"] if is_same else now}


def _is_up(node: Obj) -> bool:
    return (condition_of(node, "Ready") or {}).get("status") == "True"


def _is_rebooting(node: Obj) -> bool:
    boot = boot_id(node)
    return bool(boot) and annotations_of(node).get(REBOOT_ANNOTATION) == boot


def _written(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
