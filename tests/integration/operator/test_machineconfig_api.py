"""An infra cluster whose MachineConfig API goes and comes back: what the DPUs run stays, and no condition hides it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dpunetop.domain import names
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.keys import CUSTOMRESOURCEDEFINITIONS, DAEMONSETS, crd_name
from dpunetop.kube.requests import get
from dpunetop.sandbox.admin import Obj
from dpunetop.sandbox.crds import MACHINE_CONFIGURATION
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.seed import QuickStart
from dpunetop.sandbox.world import World
from support.trial import eventually

pytestmark = pytest.mark.timeout(900)

SLOW = 120.0
NAMES = QuickStart(dpus=2, namespace="dpu-one")
DAEMONSET = get(DAEMONSETS, NAMES.namespace, names.OVNKUBE_NODE).target


@pytest.fixture
def serving(programs: object) -> Iterator[World]:
    """Two DPUs that serve their hosts."""
    with (
        World(quick_start=NAMES, boot_seconds=0.2, retry_seconds=0.2) as world,
        OperatorProcess(world.operator_kubeconfig(), env=world.operator_environment),
    ):
        world.store_kubeconfig()
        world.store_overrides()
        world.create_config()
        world.wait_condition("Ready", "True", SLOW)
        yield world


def mcp_ready(world: World) -> Obj:
    return dict(condition_of(world.config(), "McpReady") or {})


def remove(world: World, *kinds: str) -> None:
    for kind in kinds:
        world.infra.admin.delete(get(CUSTOMRESOURCEDEFINITIONS, "", kind).target)


def test_nodes_whose_configuration_went_with_its_definition_are_told_though_the_pool_looks_well(
    serving: World,
) -> None:
    before = serving.infra.admin.get(DAEMONSET)["spec"]
    remove(serving, crd_name(names.MACHINECONFIGS))
    eventually(lambda: mcp_ready(serving), lambda said: said["status"] == "False", SLOW)
    serving.infra.apply(MACHINE_CONFIGURATION)
    told = eventually(lambda: mcp_ready(serving), lambda said: said["reason"] == "PoolDegraded", SLOW)
    assert all(f"node {dpu} is Degraded: " in told["message"] for dpu in NAMES.pairs)
    assert "missing MachineConfig rendered-" in told["message"]
    assert serving.infra.admin.get(DAEMONSET)["spec"] == before


def test_an_api_that_is_removed_is_named_with_the_dpus_that_it_configured(serving: World) -> None:
    before = serving.infra.admin.get(DAEMONSET)["spec"]
    remove(serving, crd_name(names.MACHINECONFIGPOOLS), crd_name(names.MACHINECONFIGS))
    told = eventually(lambda: mcp_ready(serving), lambda said: said["reason"] == "ApiRemoved", SLOW)
    assert all(dpu in told["message"] for dpu in NAMES.pairs)
    assert serving.infra.admin.get(DAEMONSET)["spec"] == before
