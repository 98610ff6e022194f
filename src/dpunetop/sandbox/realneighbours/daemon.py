"""Stand-in for the machine-config-daemons alone, beside a real machine-config-controller."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dpunetop.base.stop import Stop
from dpunetop.domain.names import (
    CURRENT_CONFIG_ANNOTATION,
    DESIRED_CONFIG_ANNOTATION,
    MACHINE_CONFIG_STATE_ANNOTATION,
    MACHINECONFIGPOOLS,
    WORKER_ROLE,
)
from dpunetop.kube.keys import NODES, Key
from dpunetop.kube.meta import Obj, annotations_of, labels_of, name_of
from dpunetop.sandbox.standins import mcorules
from dpunetop.sandbox.standins.engine import StandIn, StandInEngine


class MachineConfigDaemon(StandIn):
    """The daemons of all nodes: each requests the drain, reboots, requests the uncordon, and reports Done.

    Guarantees: a new node has the configuration of the worker or the master pool, and requests one uncordon.
    Source: machine-config-operator at 7ff337a4, pkg/daemon/drain.go (performDrain), pkg/daemon/daemon.go
        (updateConfigAndState, completeUpdate); which configuration a new node gets: pkg/server/cluster_server.go.
    """

    name = "mcd"

    def attach(self, engine: StandInEngine, enqueue: Callable[[Key], None]) -> None:
        """See `StandIn.attach`."""
        self._engine = engine
        self._nodes = engine.follow(NODES, lambda node: enqueue(Key(engine.cluster, "", name_of(node))))
        self._pools = engine.follow(MACHINECONFIGPOOLS, lambda _: self._enqueue_all(enqueue))

    def reconcile(self, key: Key, stop: Stop) -> float | None:
        """See `StandIn.reconcile`."""
        node = self._nodes.get("", key.name)
        if node is None:
            return None
        if CURRENT_CONFIG_ANNOTATION in annotations_of(node):
            self._advance(node)
        else:
            self._welcome(node)
        return None

    def _enqueue_all(self, enqueue: Callable[[Key], None]) -> None:
        for node in self._nodes.list():
            enqueue(Key(self._engine.cluster, "", name_of(node)))

    def _welcome(self, node: Obj) -> None:
        is_master = f"node-role.kubernetes.io/{mcorules.MASTER_ROLE}" in labels_of(node)
        pool = self._pools.get("", mcorules.MASTER_ROLE if is_master else WORKER_ROLE) or {}
        first = ((pool.get("spec") or {}).get("configuration") or {}).get("name")
        if first:
            configs = {CURRENT_CONFIG_ANNOTATION: first, DESIRED_CONFIG_ANNOTATION: first}
            asks = {mcorules.DESIRED_DRAIN_ANNOTATION: mcorules.uncordon_mark(first)}
            self._mark(node, {**configs, **asks, MACHINE_CONFIG_STATE_ANNOTATION: mcorules.DONE})

    def _advance(self, node: Obj) -> None:
        if marks := mcorules.daemon_marks(node, mcorules.next_action(node)):
            self._mark(node, marks)

    def _mark(self, node: Obj, annotations: Mapping[str, str | None]) -> None:
        self._engine.patch(NODES, node, {"metadata": {"annotations": annotations}}, self.manager)
