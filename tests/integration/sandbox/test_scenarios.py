"""The scenarios of the sandbox, each played to its end on the same two clusters."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dpunetop.sandbox import cards
from dpunetop.sandbox.components import Spec
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.scenarios import SCENARIOS, ScenarioRun
from dpunetop.sandbox.world import TENANT, World
from support.trial import eventually

pytestmark = pytest.mark.timeout(1200)

LAST = {
    "drain": "Ready: every DPU serves its host",
    "roll": "every DPU runs it, and each host was drained before its DPU rebooted",
    "tenant-outage": "the tenant answers again: TenantReachable is True",
    "rotate": "no pod restarted: 1 of 1 ovnkube-node pods kept running",
    "crash": "it adopted the running objects: 1 of 1 ovnkube-node pods kept running",
    "blocked-host": "Ready: every DPU serves its host",
}


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[World, OperatorProcess]]:
    with World(dpus=1, tenant=Spec(TENANT), boot_seconds=0.2, retry_seconds=0.2) as world:
        world.store_entitled_kubeconfig()
        world.store_overrides()
        with OperatorProcess(world.operator_kubeconfig(), env=world.operator_environment) as operator:
            operator.wait_ready()
            world.create_config()
            world.wait_condition("Ready")
            yield world, operator


def test_the_operator_mints_what_the_pods_work_with(running: tuple[World, OperatorProcess]) -> None:
    assert running[0].wait_condition("DpuCredentialValid")["reason"] == "Minted"


@pytest.mark.parametrize("word", SCENARIOS)
def test_a_scenario_tells_its_story_to_the_end_and_leaves_all_cards_at_rest(
    running: tuple[World, OperatorProcess], word: str
) -> None:
    world, operator = running
    told: list[str] = []
    SCENARIOS[word].play(ScenarioRun(world, operator, told.append, lambda: None))
    assert told[-1] == f"--- {LAST[word]}"
    world.wait_condition("Ready")
    at_rest = [("Ready", "Ready", "works", "-")]
    eventually(lambda: [(c.node, c.host_node, c.network, c.drain) for c in cards.of(world)], at_rest.__eq__)


def test_a_host_that_is_not_let_go_is_told_with_the_pod_that_stays(running: tuple[World, OperatorProcess]) -> None:
    told: list[str] = []
    SCENARIOS["blocked-host"].play(ScenarioRun(*running, told.append, lambda: None))
    [left] = [line for line in told if "lists the remaining pods" in line]
    assert "work-" in left
