from dataclasses import replace
from typing import Any

import pytest

from dpunetop.domain.clusterconfig.grants import Claim, ClaimStrength, Rights
from dpunetop.domain.clusterconfig.types import parse_config
from dpunetop.domain.hostconfig.ignition import File
from dpunetop.domain.hostconfig.machineconfig import HostAssets, content_hash, machine_config, machine_config_pool
from dpunetop.domain.hostconfig.plan import HostConfigView, plan_host_config
from dpunetop.kube.plan import Apply, ApplyStatus, Plan
from support.objects import DPU_LABELS, config, node

ASSETS = HostAssets(files=(File("/etc/a", 0o644, "a"),), units=())
OWNER = "0123"
SELECTOR = config()["spec"]["nodeSelector"]


def live(obj: dict[str, Any], **metadata: dict[str, Any]) -> dict[str, Any]:
    return {**obj, "metadata": {**obj["metadata"], "uid": "u", "resourceVersion": "1", "generation": 1, **metadata}}


POOL = live(machine_config_pool("dpu", SELECTOR, OWNER))
CONFIG = live(machine_config("dpu", ASSETS, OWNER))


def view(**but: Any) -> HostConfigView:
    base = HostConfigView(
        config=parse_config(config()),
        owner=OWNER,
        assets=ASSETS,
        pools=(POOL,),
        machine_config=CONFIG,
        nodes=(node("bf2-1"),),
        serving=frozenset(),
        field_manager="dpunetop-hostconfig",
    )
    return replace(base, **but)


def written(plan: Plan) -> list[str]:
    return [step.desired["kind"] for step in plan.steps if isinstance(step, Apply)]


def said(plan: Plan) -> tuple[str, str]:
    (status,) = [step for step in plan.steps if isinstance(step, ApplyStatus)]
    return status.conditions[0].status, status.conditions[0].reason


def test_the_machine_config_is_written_before_the_pool_that_would_roll_without_it() -> None:
    plan = plan_host_config(view(pools=(), machine_config=None))
    assert written(plan) == ["MachineConfig", "MachineConfigPool"]
    assert [step.live for step in plan.steps if isinstance(step, Apply)] == [None, None]
    assert said(plan) == ("False", "NotObserved")


CONFIGURED = {"machineconfiguration.openshift.io/currentConfig": "rendered-dpu-1"}
NOTHING_WRITTEN = {
    "infra has no such API": (view(pools=None), "ApiNotServed"),
    "infra has no such API any more": (view(pools=None, nodes=(node("bf2-1", **CONFIGURED),)), "ApiRemoved"),
    "infra has no such API, and other nodes had": (
        view(pools=None, nodes=(node("bf2-1"), node("worker", {}, **CONFIGURED))),
        "ApiNotServed",
    ),
    "a stored config without selector": (
        view(config=parse_config(config(nodeSelector=None))),
        "NodeSelectorMissing",
    ),
    "a pool of somebody else": (view(pools=(live(POOL, labels={}),)), "NotOurs"),
    "a pool of another config": (view(owner="another"), "NotOurs"),
    "a MachineConfig of somebody else": (view(machine_config=live(CONFIG, labels={})), "NotOurs"),
}


@pytest.mark.parametrize(("given", "reason"), NOTHING_WRITTEN.values(), ids=NOTHING_WRITTEN.keys())
def test_nothing_is_written_and_a_reason_is_given(given: HostConfigView, reason: str) -> None:
    plan = plan_host_config(given)
    assert written(plan) == []
    assert said(plan) == ("False", reason)


def test_content_that_differs_waits_to_be_asked_for_because_it_reboots_every_dpu() -> None:
    other = live(machine_config("dpu", HostAssets(files=(File("/etc/a", 0o644, "b"),), units=()), OWNER))
    plan = plan_host_config(view(machine_config=other))
    assert written(plan) == ["MachineConfigPool"]
    assert said(plan) == ("False", "RollPending")


def test_content_that_was_asked_for_by_its_hash_is_written() -> None:
    other = live(machine_config("dpu", HostAssets(files=(), units=()), OWNER))
    asked = config()
    asked["metadata"]["annotations"] = {"dpu.openshift.io/roll": content_hash(CONFIG)}
    plan = plan_host_config(view(machine_config=other, config=parse_config(asked)))
    assert written(plan) == ["MachineConfig", "MachineConfigPool"]


def test_a_selector_that_drops_a_dpu_that_serves_reaches_no_pool() -> None:
    narrow = parse_config(config(nodeSelector={"matchLabels": {"no": "such"}}))
    plan = plan_host_config(view(config=narrow, serving=frozenset({"bf2-1"})))
    assert written(plan) == ["MachineConfig"]
    assert said(plan) == ("False", "SelectorDropsServing")


EVERYTHING = parse_config(config(nodeSelector={"matchExpressions": [{"key": "os", "operator": "Exists"}]}))
MIXED = (node("bf2-1", {**DPU_LABELS, "os": ""}), node("master-0", {"node-role.kubernetes.io/master": "", "os": ""}))


def message(plan: Plan) -> str:
    (status,) = [step for step in plan.steps if isinstance(step, ApplyStatus)]
    return status.conditions[0].message


def test_no_pool_is_made_for_nodes_that_are_not_granted_and_they_are_named() -> None:
    plan = plan_host_config(view(pools=(), machine_config=None, config=EVERYTHING, nodes=MIXED))
    assert written(plan) == []
    assert said(plan) == ("False", "NodeNotGranted")
    assert message(plan).endswith("master-0 is a node of the control plane; nothing is written")


def test_a_pool_that_is_there_does_not_come_to_hold_nodes_that_are_not_granted() -> None:
    plan = plan_host_config(view(config=EVERYTHING, nodes=MIXED))
    assert written(plan) == []
    assert said(plan) == ("False", "NodeNotGranted")
    assert message(plan).endswith("the pool stays as it is")


def test_a_pool_as_it_was_written_stays_and_what_it_should_not_hold_is_named() -> None:
    plan = plan_host_config(view(nodes=(node("bf2-1", {**DPU_LABELS, "node-role.kubernetes.io/master": ""}),)))
    assert written(plan) == ["MachineConfig", "MachineConfigPool"]
    assert said(plan) == ("False", "NodeNotGranted")


def test_who_has_a_node_is_told_who_else_selects_it() -> None:
    claims = {
        "bf2-1": (
            Claim("other", "DpuClusterConfig b/c", ClaimStrength.WISH, ("2", "", "")),
            Claim(OWNER, "us", ClaimStrength.POOL, ("3", "", "")),
        )
    }
    plan = plan_host_config(view(rights=Rights(owner=OWNER, claims=claims)))
    assert written(plan) == ["MachineConfig", "MachineConfigPool"]
    assert message(plan).endswith("; not given to others: bf2-1 is selected by DpuClusterConfig b/c too")


def test_a_node_that_somebody_else_holds_is_not_taken() -> None:
    claims = {
        "bf2-1": (
            Claim("other", "DpuClusterConfig b/c", ClaimStrength.POOL, ("9", "", "")),
            Claim(OWNER, "us", ClaimStrength.WISH, ("1", "", "")),
        )
    }
    plan = plan_host_config(view(pools=(), machine_config=None, rights=Rights(owner=OWNER, claims=claims)))
    assert written(plan) == []
    assert "bf2-1 is held by DpuClusterConfig b/c" in message(plan)


def test_the_condition_follows_what_the_nodes_run() -> None:
    name = {"name": "rendered-dpu-1", "source": [{"name": "00-dpu-bluefield-switchdev"}]}
    rolled = {
        **POOL,
        "spec": {**POOL["spec"], "configuration": name},
        "status": {
            "observedGeneration": 1,
            "configuration": name,
            "machineCount": 1,
            "updatedMachineCount": 1,
            "readyMachineCount": 1,
            "degradedMachineCount": 0,
        },
    }
    assert said(plan_host_config(view(pools=(rolled,), nodes=(node("bf2-1", DPU_LABELS),)))) == ("True", "RolledOut")
    two = (node("bf2-1", DPU_LABELS), node("bf2-2", DPU_LABELS))
    assert said(plan_host_config(view(pools=(rolled,), nodes=two))) == ("False", "NotObserved")
