"""Stand-in for the Node Maintenance Operator: hosts that are cordoned, drained, and given back.

That a node has one maintenance at most is seen to by an admission policy beside the CustomResourceDefinition, as the
operator's webhook does. It cannot look for a node that does not exist: such a maintenance is taken, and becomes
`Failed` here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dpunetop.base.stop import Stop
from dpunetop.domain.names import NODEMAINTENANCES
from dpunetop.kube.errors import NotFound
from dpunetop.kube.keys import NODES, PODS, Key
from dpunetop.kube.meta import Obj, annotations_of, is_terminating, name_of, namespace_of, uid_of
from dpunetop.kube.requests import Selection
from dpunetop.sandbox.standins.bench import Bench, StandIn, drainable

FINALIZER = "foregroundDeleteNodeMaintenance"
DRAIN_TAINT = "medik8s.io/drain"
FAIL_ANNOTATION = "standin.dpu.openshift.io/fail"
"""On a NodeMaintenance: give up as if its lease could not be had; once it is taken off, begin again."""

_TAINTS = tuple({"key": key, "effect": "NoSchedule"} for key in (DRAIN_TAINT, "node.kubernetes.io/unschedulable"))
_REMEDIATION_LABEL = "remediation.medik8s.io/exclude-from-remediation"
_PAGE = 500


class NodeMaintenanceOperator(StandIn):
    """All of the Node Maintenance Operator.

    Guarantees: on the way in first `Running`, then the taint, then the cordon; on the way out first the taint goes,
        then the cordon, whoever had set it, then the finalizer. While `Running` the node is cordoned again by itself;
        once `Succeeded` nobody looks at it until the maintenance itself is changed. Reads nodes and pods from the
        server each time, so that no stale cache makes a drain seem complete.
    """

    name = "nmo"

    def __init__(self, *, retry_seconds: float = 1.0) -> None:
        """`retry_seconds`: the pause between two looks at a node that is not drained yet."""
        self._retry_seconds = retry_seconds

    def attach(self, bench: Bench, enqueue: Callable[[Key], None]) -> None:
        """See `StandIn.attach`."""
        self._bench = bench
        self._maintenances = bench.follow(
            NODEMAINTENANCES, lambda maintenance: enqueue(Key(bench.cluster, "", name_of(maintenance)))
        )

    def reconcile(self, key: Key, stop: Stop) -> float | None:
        """See `StandIn.reconcile`."""
        maintenance = self._maintenances.get("", key.name)
        if maintenance is None:
            return None
        node = self._node(maintenance["spec"]["nodeName"])
        if is_terminating(maintenance):
            self._end(maintenance, node)
        elif node is None:
            self._report(maintenance, _failed(f"node {maintenance['spec']['nodeName']} does not exist"), stop)
        elif FAIL_ANNOTATION in annotations_of(maintenance):
            self._give_back(node)
            self._report(maintenance, _failed("the lease of the node could not be had"), stop)
        else:
            return self._hold(maintenance, node, stop)
        return None

    def _end(self, maintenance: Obj, node: Obj | None) -> None:
        finalizers = maintenance["metadata"].get("finalizers") or []
        if FINALIZER not in finalizers:
            return
        if node is not None:
            self._give_back(node)
        left = [finalizer for finalizer in finalizers if finalizer != FINALIZER]
        self._bench.patch(NODEMAINTENANCES, maintenance, {"metadata": {"finalizers": left}}, self.manager)

    def _hold(self, maintenance: Obj, node: Obj, stop: Stop) -> float | None:
        self._claim(maintenance, node)
        if phase_of(maintenance) not in ("Running", "Succeeded"):
            self._report(maintenance, {"phase": "Running", "drainProgress": 0}, stop)
        self._close(node)
        left = self._drain(name_of(node))
        self._report(maintenance, progress(maintenance, left), stop)
        return self._retry_seconds if left else None

    def _claim(self, maintenance: Obj, node: Obj) -> None:
        finalizers = maintenance["metadata"].get("finalizers") or []
        if FINALIZER in finalizers:
            return
        owner = {"apiVersion": "v1", "kind": "Node", "name": name_of(node), "uid": uid_of(node)}
        metadata = {"finalizers": [*finalizers, FINALIZER], "ownerReferences": [owner]}
        self._bench.patch(NODEMAINTENANCES, maintenance, {"metadata": metadata}, self.manager)

    # --- the node ---------------------------------------------------------------------------------------------------

    def _node(self, name: str) -> Obj | None:
        try:
            return self._bench.client.get(NODES, "", name)
        except NotFound:
            return None

    def _close(self, node: Obj) -> None:
        missing = [taint for taint in _TAINTS if taint["key"] not in _taint_keys(node)]
        if missing:
            taints = [*(node["spec"].get("taints") or []), *missing]
            labels = {_REMEDIATION_LABEL: "true"}
            self._bench.patch(NODES, node, {"metadata": {"labels": labels}, "spec": {"taints": taints}}, self.manager)
        if not node["spec"].get("unschedulable"):
            self._bench.patch(NODES, node, {"spec": {"unschedulable": True}}, self.manager)

    def _give_back(self, node: Obj) -> None:
        ours = {taint["key"] for taint in _TAINTS}
        if ours & _taint_keys(node):
            left = [taint for taint in node["spec"]["taints"] if taint["key"] not in ours]
            labels = {_REMEDIATION_LABEL: None}
            self._bench.patch(NODES, node, {"metadata": {"labels": labels}, "spec": {"taints": left}}, self.manager)
        if node["spec"].get("unschedulable"):
            self._bench.patch(NODES, node, {"spec": {"unschedulable": None}}, self.manager)

    def _drain(self, node: str) -> list[Obj]:
        """Ask for what is to go from the node; what is still there."""
        selection = Selection(PODS, field_selector=f"spec.nodeName={node}")
        pods = drainable(pod for page in self._bench.client.pages(selection, _PAGE) for pod in page.items)
        for pod in pods:
            if not is_terminating(pod):
                self._bench.evict(pod)
        return pods

    # --- the maintenance --------------------------------------------------------------------------------------------

    def _report(self, maintenance: Obj, members: dict[str, Any], stop: Stop) -> None:
        live = maintenance.get("status") or {}
        is_same = {name: value for name, value in live.items() if name != "lastUpdate"} == members
        now = self._bench.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        status = {**members, "lastUpdate": live.get("lastUpdate", now) if is_same else now}
        self._bench.apply_status(NODEMAINTENANCES, maintenance, status, self.manager, stop)


def phase_of(maintenance: Obj) -> str:
    """`Running`, `Succeeded` or `Failed`; empty before the first look at it."""
    return str((maintenance.get("status") or {}).get("phase", ""))


def progress(maintenance: Obj, left: list[Obj]) -> dict[str, Any]:
    """The status of a drain of which these pods are left."""
    total = max(int((maintenance.get("status") or {}).get("totalpods", 0)), len(left))
    status: dict[str, Any] = {
        "phase": "Running" if left else "Succeeded",
        "drainProgress": 100 * (total - len(left)) // total if total else 100,
        "totalpods": total,
        "evictionPods": total,
    }
    if left:
        status["pendingPods"] = [name_of(pod) for pod in left]
        status["pendingPodsRefs"] = [{"namespace": namespace_of(pod), "name": name_of(pod)} for pod in left]
    return status


def _failed(error: str) -> dict[str, Any]:
    return {"phase": "Failed", "lastError": error}


def _taint_keys(node: Obj) -> set[str]:
    return {taint["key"] for taint in node["spec"].get("taints") or []}
