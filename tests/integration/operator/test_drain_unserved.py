"""A tenant without a node maintenance operator: its DPUs serve, that it lacks one is told, and drains are held."""

from __future__ import annotations

import pytest

from dpunetop.domain import names
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.keys import CUSTOMRESOURCEDEFINITIONS, NODES, crd_name
from dpunetop.kube.requests import get
from dpunetop.sandbox.crds import NODE_MAINTENANCE
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.world import World
from support.trial import eventually

pytestmark = pytest.mark.timeout(1200)


@pytest.mark.usefixtures("programs")
def test_without_a_node_maintenance_operator_a_dpu_serves_and_its_drain_is_held_until_there_is_one() -> None:
    with World(dpus=1) as world:
        world.tenant.admin.delete(get(CUSTOMRESOURCEDEFINITIONS, "", crd_name(names.NODEMAINTENANCES)).target)
        [(dpu, _)] = world.quick_start.pairs.items()
        node = get(NODES, "", dpu).target
        budget = get(names.PODDISRUPTIONBUDGETS, world.quick_start.namespace, names.blocker_name(dpu)).target

        def allowed() -> int:
            return int(world.infra.admin.get(budget)["spec"]["maxUnavailable"])

        def said() -> str:
            return str((condition_of(world.config(), "PairsHealthy") or {}).get("reason"))

        with OperatorProcess(world.operator_kubeconfig(), env=world.operator_environment):
            world.store_kubeconfig()
            world.store_overrides()
            world.create_config()
            world.wait_condition("OvnKubeReady", "True", 90.0)  # its first MachineConfig was held by nobody
            eventually(said, "NodeMaintenanceNotServed".__eq__)
            assert allowed() == 0
            world.infra.admin.patch(node, {"spec": {"unschedulable": True}})
            eventually(said, "NodeMaintenanceNotServed".__eq__)
            assert allowed() == 0
            world.tenant.apply(NODE_MAINTENANCE)
            eventually(allowed, (1).__eq__, 90.0)
            world.infra.admin.patch(node, {"spec": {"unschedulable": None}})
            eventually(said, "AllProtected".__eq__)
            assert allowed() == 0
