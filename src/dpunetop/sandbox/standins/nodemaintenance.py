"""Stand-in for the Node Maintenance Operator: it cordons and drains hosts, and uncordons them again.

An admission policy beside the CRD refuses a second maintenance of a node, as the operator's webhook does. The policy
cannot know whether the node exists: a maintenance of an unknown node is admitted, and becomes `Failed`.

The rules are those of medik8s/node-maintenance-operator 3a54cd1, internal/controller/nodemaintenance_controller.go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dpunetop.base.stop import Stop
from dpunetop.domain.names import NODEMAINTENANCES
from dpunetop.kube.errors import Conflict, NotFound
from dpunetop.kube.keys import NODES, PODS, Key
from dpunetop.kube.meta import Obj, annotations_of, is_terminating, labels_of, name_of, namespace_of, uid_of
from dpunetop.kube.requests import Selection
from dpunetop.sandbox.standins.engine import StandIn, StandInEngine, drainable

FINALIZER = "foregroundDeleteNodeMaintenance"
DRAIN_TAINT = "medik8s.io/drain"
FAIL_ANNOTATION = "standin.dpu.openshift.io/fail"
"""On a NodeMaintenance: fail as if the Lease were not available; start again once the annotation is removed."""

_TAINTS = tuple({"key": key, "effect": "NoSchedule"} for key in (DRAIN_TAINT, "node.kubernetes.io/unschedulable"))
_REMEDIATION_LABEL = "remediation.medik8s.io/exclude-from-remediation"
_PAGE = 500
_TRIES = 6
"""The pauses of 5 s (`waitDurationOnDrainError`) in the 30 s of one drain (`DrainerTimeout`)."""


class NodeMaintenanceOperator(StandIn):
    """All of the Node Maintenance Operator.

    Guarantees: it starts a maintenance with the phase `Running`, then sets the label, the taint and the cordon. It ends
        one by removing the taint, then the cordon (also of another client, if the node was cordoned when it was read),
        then the label, then the finalizer. The taints are written only if they are as read, else everything is retried
        after a growing pause. While `Running`, it cordons an uncordoned node again. Once `Succeeded`, it reconciles
        only when the maintenance itself changes: it then cordons and drains once more, which the phase shows only if
        that takes longer than one drain, and `lastUpdate` shows at each success. It stores no owner reference. It
        writes the status only over the version that it read, else it starts over after a growing pause; it never clears
        `lastError`. It reads nodes and pods from the server each time, so that no stale cache ends a drain early.
    """

    name = "nmo"

    def __init__(self, *, retry_seconds: float = 1.0) -> None:
        """`retry_seconds`: the pause between two reconciles of a node that is not drained yet."""
        self._retry_seconds = retry_seconds
        self._rounds: dict[str, float] = {}
        """The start of the current drain attempt, by the uid of its maintenance. One worker per maintenance."""

    def attach(self, engine: StandInEngine, enqueue: Callable[[Key], None]) -> None:
        """See `StandIn.attach`."""
        self._engine = engine
        self._maintenances = engine.follow(
            NODEMAINTENANCES, lambda maintenance: enqueue(Key(engine.cluster, "", name_of(maintenance)))
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
            self._report(maintenance, _failed(f"node {maintenance['spec']['nodeName']} does not exist"))
        elif FAIL_ANNOTATION in annotations_of(maintenance):
            self._give_back(node)
            self._report(maintenance, _failed("the lease of the node could not be had"))
        else:
            return self._hold(maintenance, node)
        return None

    def _end(self, maintenance: Obj, node: Obj | None) -> None:
        finalizers = maintenance["metadata"].get("finalizers") or []
        if FINALIZER not in finalizers:
            return
        if node is not None:
            self._give_back(node)
        left = [finalizer for finalizer in finalizers if finalizer != FINALIZER]
        self._engine.patch(NODEMAINTENANCES, maintenance, {"metadata": {"finalizers": left}}, self.manager)

    def _hold(self, maintenance: Obj, node: Obj) -> float | None:
        """Each pass writes the maintenance at most once, and that write triggers the next pass."""
        if self._claim(maintenance):
            return None
        if not phase_of(maintenance):
            self._report(maintenance, first_status(*self._pods_of(name_of(node))))
            return None
        self._close(node)
        left = self._drain(name_of(node))
        if not left:
            self._rounds.pop(uid_of(maintenance), None)
            self._report(maintenance, progress(maintenance, []))
            return None
        is_over = self._is_try_over(maintenance)
        if is_over or phase_of(maintenance) == "Running":
            self._report(maintenance, progress(maintenance, left, _timeout(left[0]) if is_over else ""))
        return self._retry_seconds

    def _is_try_over(self, maintenance: Obj) -> bool:
        """Whether a drain attempt is out of time; the next one then begins. The phase changes only at its end."""
        now = self._engine.clock.monotonic()
        if now < self._rounds.setdefault(uid_of(maintenance), now) + _TRIES * self._retry_seconds:
            return False
        self._rounds[uid_of(maintenance)] = now
        return True

    def _claim(self, maintenance: Obj) -> bool:
        """Whether the owner reference was missing. It is set on the object in memory only; the status alone is stored
        (`setOwnerRefToNode`)."""
        finalizers = maintenance["metadata"].get("finalizers") or []
        if FINALIZER in finalizers:
            return False
        metadata = {"finalizers": [*finalizers, FINALIZER]}
        self._engine.patch(NODEMAINTENANCES, maintenance, {"metadata": metadata}, self.manager)
        return True

    # --- the node ---------------------------------------------------------------------------------------------------

    def _node(self, name: str) -> Obj | None:
        try:
            return self._engine.client.get(NODES, "", name)
        except NotFound:
            return None

    def _close(self, node: Obj) -> None:
        if labels_of(node).get(_REMEDIATION_LABEL) != "true":
            self._engine.patch(NODES, node, {"metadata": {"labels": {_REMEDIATION_LABEL: "true"}}}, self.manager)
        taints = node["spec"].get("taints") or []
        missing = [taint for taint in _TAINTS if taint["key"] not in _taint_keys(node)]
        if missing:
            self._taint(node, [*taints, *missing])
        if not node["spec"].get("unschedulable"):
            self._engine.patch(NODES, node, {"spec": {"unschedulable": True}}, self.manager)

    def _give_back(self, node: Obj) -> None:
        """Uncordon by the node as it was read: a later cordon stays (`stopNodeMaintenanceImp`)."""
        ours = {taint["key"] for taint in _TAINTS}
        if ours & _taint_keys(node):
            self._taint(node, [taint for taint in node["spec"]["taints"] if taint["key"] not in ours])
        if node["spec"].get("unschedulable"):
            self._engine.patch(NODES, node, {"spec": {"unschedulable": None}}, self.manager)
        if _REMEDIATION_LABEL in labels_of(node):
            self._engine.patch(NODES, node, {"metadata": {"labels": {_REMEDIATION_LABEL: None}}}, self.manager)

    def _taint(self, node: Obj, taints: list[Obj]) -> None:
        """Write the taints, unless they changed since the read: `test` in its patch (taint.go). Raises: Conflict."""
        now = self._node(name_of(node))
        if now is None or _taint_keys(now) != _taint_keys(node):
            raise Conflict(409, "Conflict", "the taints are not as they were read")
        self._engine.patch(NODES, node, {"spec": {"taints": taints}}, self.manager)

    def _pods_of(self, node: str) -> tuple[list[Obj], list[Obj]]:
        """All pods of the node, and the ones to evict."""
        selection = Selection(PODS, field_selector=f"spec.nodeName={node}")
        pods: list[Obj] = [pod for page in self._engine.client.pages(selection, _PAGE) for pod in page.items]
        return pods, drainable(pods)

    def _drain(self, node: str) -> list[Obj]:
        """Evict the pods of the node; returns the ones that are left."""
        _, left = self._pods_of(node)
        for pod in left:
            if not is_terminating(pod):
                self._engine.evict(pod)
        return left

    # --- the maintenance --------------------------------------------------------------------------------------------

    def _report(self, maintenance: Obj, members: dict[str, Any]) -> None:
        live = maintenance.get("status") or {}
        is_told = all(live.get(name) == value for name, value in members.items())
        now = self._engine.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        if is_told and (members["phase"] != "Succeeded" or live.get("lastUpdate") == now):
            return
        self._engine.update_status(NODEMAINTENANCES, maintenance, {**members, "lastUpdate": now}, self.manager)


def phase_of(maintenance: Obj) -> str:
    """`Running`, `Succeeded` or `Failed`; empty before the first reconcile."""
    return str((maintenance.get("status") or {}).get("phase", ""))


def first_status(pods: list[Obj], left: list[Obj]) -> dict[str, Any]:
    """The members that the first reconcile sets (`initMaintenanceStatus`)."""
    counts = {"drainProgress": 0, "totalpods": len(pods), "evictionPods": len(left)}
    return {"phase": "Running", **counts, **_pending(left)}


def progress(maintenance: Obj, left: list[Obj], error: str = "") -> dict[str, Any]:
    """The status members of a drain while these pods are left."""
    if not left:
        return {"phase": "Succeeded", "drainProgress": 100, **_pending([])}
    live = maintenance.get("status") or {}
    total = int(live.get("evictionPods", 0))
    done = {"drainProgress": 100 * (total - len(left)) // total} if total else {}
    return {"phase": "Running", **done, **_pending(left), **({"lastError": error} if error else {})}


def _pending(left: list[Obj]) -> dict[str, Any]:
    refs = [{"namespace": namespace_of(pod), "name": name_of(pod)} for pod in left]
    return {"pendingPods": [name_of(pod) for pod in left] or None, "pendingPodsRefs": refs or None}


def _timeout(pod: Obj) -> str:
    """Source: `evictPods` of k8s.io/kubectl/pkg/drain/drain.go."""
    return f'error when evicting pods/"{name_of(pod)}" -n "{namespace_of(pod)}": global timeout reached: 30s'


def _failed(error: str) -> dict[str, Any]:
    return {"phase": "Failed", "lastError": error}


def _taint_keys(node: Obj) -> set[str]:
    return {taint["key"] for taint in node["spec"].get("taints") or []}
