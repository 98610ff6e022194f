"""An API server that knows whose the cordon of a Node is, as server-side apply does."""

from __future__ import annotations

from typing import Any

from dpunetop.kube.keys import NODES, Resource
from dpunetop.kube.meta import Obj, name_of, version_of
from dpunetop.kube.plan import Apply
from dpunetop.kube.shapes import at
from support.twoclusters import Server, place

SOMEBODY = "somebody"


class OwningServer(Server):
    """Whoever changes `spec.unschedulable` owns it alone; whoever applies the value that it has owns it as well; an
    applier that gives it up leaves it to the others, and takes it away only if there are none.

    Source: kubernetes-sigs/structured-merge-diff, merge/update.go: an update takes changed fields from all other
    managers; an apply removes what it owned before and leaves out, unless another manager owns it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.owners: dict[str, frozenset[str]] = {}
        self._applier: str | None = None

    def put(self, resource: Resource, obj: Obj) -> Obj:
        return super().put(resource, self._with_owners(obj) if resource is NODES else obj)

    def _with_owners(self, obj: Obj) -> Obj:
        name, old = name_of(obj), self.get(NODES, "", name_of(obj))
        before, now = _cordon(old), _cordon(obj)
        if self._applier is None and before != now:
            self.owners[name] = frozenset({SOMEBODY}) if now else frozenset()
        fields: dict[str, dict[str, Any]] = {"f:spec": {"f:unschedulable": {}}}
        managed = [{"manager": each, "fieldsV1": fields} for each in sorted(self.owners.get(name, ()))]
        return {**obj, "metadata": {**obj["metadata"], "managedFields": managed}}

    def remove(self, resource: Resource, namespace: str, name: str) -> None:
        super().remove(resource, namespace, name)
        if resource is NODES:
            self.owners.pop(name, None)

    def co_apply(self, name: str, manager: str, yes: bool) -> None:
        """Somebody else's tool applies the cordon, or gives it up; that it owns it as well is a change of the Node."""
        live = self.get(NODES, "", name)
        assert live is not None
        spec = {"spec": {"unschedulable": True}} if yes else {}
        desired = {"kind": "Node", "metadata": {"name": name, "annotations": {manager: version_of(live)}}, **spec}
        self._apply(Apply("", NODES, desired, live, manager))

    def _apply(self, step: Apply) -> Obj:
        if step.resource is not NODES:
            return super()._apply(step)
        name, manager = name_of(step.desired), step.field_manager
        owners, key = self.owners.get(name, frozenset()), (place(NODES, "", name), step.field_manager)
        if step.live is not None:
            self._same(NODES, step.live, step.fence)
        if key in self._applied and owners != {manager}:
            self._applied[key] = {name: value for name, value in self._applied[key].items() if name != "spec"}
        self.owners[name] = owners | {manager} if _cordon(step.desired) else owners - {manager}
        self._applier = manager
        try:
            return super()._apply(step)
        finally:
            self._applier = None


def _cordon(node: Any) -> bool:
    return bool(at(node, "spec", "unschedulable"))
