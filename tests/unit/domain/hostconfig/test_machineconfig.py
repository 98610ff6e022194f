"""What is asked of the machine-config operator, and how its answer is judged."""

import difflib
import json
import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from dpunetop.app.assets import host_assets
from dpunetop.domain.hostconfig.machineconfig import (
    NOT_OBSERVED_YET,
    HostAssets,
    PoolReason,
    PoolView,
    content_hash,
    machine_config,
    machine_config_pool,
    node_configured,
    pool_members,
    pool_status,
    shared_nodes,
    stuck_nodes,
)

GOLDEN = Path(__file__).parent / "golden" / "machineconfig.json"
OURS = "00-dpu-bluefield-switchdev"
RENDERED = "rendered-dpu-2"
SELECTOR = {"matchLabels": {"node-role.kubernetes.io/dpu-worker": ""}}

REBOOTS = """The content of the MachineConfig has changed: installing this version DRAINS AND REBOOTS EVERY DPU.
If that is not meant, undo the change of the files under app/assets/host. If it is, run this test once with
UPDATE_GOLDEN=1, and say in the changelog that this version reboots all DPUs.
"""


def test_the_content_that_is_laid_onto_a_dpu_is_the_one_that_was_agreed_to() -> None:
    text = json.dumps(machine_config("dpu", host_assets(), "0123"), indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    agreed = GOLDEN.read_text(encoding="utf-8")
    difference = "\n".join(
        difflib.unified_diff(agreed.splitlines(), text.splitlines(), "agreed", "now", lineterm="", n=0)
    )
    assert text == agreed, REBOOTS + difference


def test_the_content_does_not_depend_on_pool_or_owner() -> None:
    one, other = machine_config("dpu", host_assets(), "a"), machine_config("cards", host_assets(), "b")
    assert one["spec"] == other["spec"]


def test_the_machine_config_belongs_to_its_own_pool() -> None:
    made = machine_config("cards", HostAssets((), ()), "0123")
    assert made == {
        "apiVersion": "machineconfiguration.openshift.io/v1",
        "kind": "MachineConfig",
        "metadata": {
            "name": "00-cards-bluefield-switchdev",
            "labels": {"machineconfiguration.openshift.io/role": "cards", "dpu.openshift.io/owner": "0123"},
        },
        "spec": {"config": {"ignition": {"version": "3.2.0"}}},
    }


@pytest.mark.parametrize(("pool", "roles"), [("dpu", ["dpu", "worker"]), ("x86", ["worker", "x86"])])
def test_the_pool_holds_only_what_is_ours_and_inherits_worker(pool: str, roles: list[str]) -> None:
    assert machine_config_pool(pool, SELECTOR, "0123") == {
        "apiVersion": "machineconfiguration.openshift.io/v1",
        "kind": "MachineConfigPool",
        "metadata": {"name": pool, "labels": {"dpu.openshift.io/owner": "0123"}},
        "spec": {
            "machineConfigSelector": {
                "matchExpressions": [
                    {"key": "machineconfiguration.openshift.io/role", "operator": "In", "values": roles}
                ]
            },
            "nodeSelector": SELECTOR,
        },
    }


def test_a_selector_of_expressions_only_reaches_the_pool_without_empty_members() -> None:
    selector = {
        "matchLabels": {},
        "matchExpressions": [
            {"key": "card", "operator": "In", "values": ["bf2", "bf3"]},
            {"key": "spare", "operator": "DoesNotExist", "values": None},
        ],
    }
    assert machine_config_pool("dpu", selector, "0123")["spec"]["nodeSelector"] == {
        "matchExpressions": [
            {"key": "card", "operator": "In", "values": ["bf2", "bf3"]},
            {"key": "spare", "operator": "DoesNotExist"},
        ]
    }


def test_the_content_hash_does_not_see_the_order_of_members_but_sees_content() -> None:
    made = machine_config("dpu", host_assets(), "a")
    stored = json.loads(json.dumps(made, sort_keys=True))
    changed = deepcopy(made)
    changed["spec"]["config"]["storage"]["files"][0]["mode"] = 420 + 1
    assert content_hash(stored) == content_hash(made)
    assert content_hash(changed) != content_hash(made)
    assert content_hash({}) != content_hash(made)


def configuration(name: str, *sources: str) -> dict[str, Any]:
    return {"name": name, "source": [{"kind": "MachineConfig", "name": source} for source in sources]}


def node(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}}


TWO = (node("dpu-1"), node("dpu-2"))


def pool(**changes: Any) -> dict[str, Any]:
    """A pool at rest with two machines; `changes` name members of its status, or `spec` and `generation`."""
    spec = {"configuration": configuration(RENDERED, OURS, "00-worker")} | changes.pop("spec", {})
    status: dict[str, Any] = {
        "observedGeneration": 3,
        "configuration": configuration(RENDERED, OURS, "00-worker"),
        "machineCount": 2,
        "updatedMachineCount": 2,
        "readyMachineCount": 2,
        "degradedMachineCount": 0,
        "conditions": [
            {"type": "Updated", "status": "True"},
            *({"type": type_, "status": "False"} for type_ in ("Degraded", "NodeDegraded", "RenderDegraded")),
        ],
    }
    metadata = {"name": "dpu", "generation": changes.pop("generation", 3)}
    return {"metadata": metadata, "spec": spec, "status": status | changes}


def degraded(type_: str, status: str = "True", message: str = "") -> dict[str, Any]:
    updated = {"type": "Updated", "status": "True"}
    return pool(conditions=[updated, {"type": type_, "status": status, "message": message}])


OLD = configuration("rendered-dpu-1", "00-worker")
PAUSED = {"paused": True}
STATES: dict[str, tuple[dict[str, Any] | None, PoolReason, str]] = {
    "at rest": (pool(), PoolReason.ROLLED_OUT, "all 2 machines run rendered-dpu-2"),
    "absent": (None, PoolReason.NOT_FOUND, "the MachineConfigPool does not exist"),
    "just made": (
        {"metadata": {"name": "dpu", "generation": 1}, "spec": {}},
        PoolReason.NOT_OBSERVED,
        NOT_OBSERVED_YET,
    ),
    "changed since": (pool(generation=4), PoolReason.NOT_OBSERVED, NOT_OBSERVED_YET),
    "updated without our config": (
        pool(spec={"configuration": OLD}, configuration=OLD),
        PoolReason.NOT_RENDERED,
        f"{OURS} is not in the pool's configuration yet",
    ),
    "nothing rendered": (
        pool(spec={"configuration": {}}, configuration={}),
        PoolReason.NOT_RENDERED,
        f"{OURS} is not in the pool's configuration yet",
    ),
    "updated by a roll during which a person cordoned a machine": (
        pool(configuration=OLD, readyMachineCount=1),
        PoolReason.ROLLED_OUT,
        "all 2 machines run rendered-dpu-2",
    ),
    "half way": (
        pool(configuration=OLD, updatedMachineCount=1, readyMachineCount=1),
        PoolReason.ROLLING,
        "rolling from rendered-dpu-1 to rendered-dpu-2: 1 of 2 machines have it",
    ),
    "half way of a machine that came later": (
        pool(updatedMachineCount=1, readyMachineCount=1),
        PoolReason.ROLLING,
        "rolling to rendered-dpu-2: 1 of 2 machines have it",
    ),
    "for the first time": (
        pool(updatedMachineCount=0, readyMachineCount=0, configuration={}),
        PoolReason.ROLLING,
        "rolling to rendered-dpu-2: 0 of 2 machines have it",
    ),
    "cordoned by hand": (
        pool(readyMachineCount=1, unavailableMachineCount=1, conditions=[{"type": "Updating", "status": "True"}]),
        PoolReason.ROLLED_OUT,
        "all 2 machines run rendered-dpu-2",
    ),
    "paused on the way": (
        pool(spec={"configuration": configuration(RENDERED, OURS)} | PAUSED, configuration=OLD, updatedMachineCount=0),
        PoolReason.PAUSED,
        "the pool is paused; rolling from rendered-dpu-1 to rendered-dpu-2: 0 of 2 machines have it",
    ),
    "paused before our config was rendered": (
        pool(spec={"configuration": OLD} | PAUSED),
        PoolReason.PAUSED,
        f"the pool is paused; {OURS} is not in the pool's configuration yet",
    ),
    "paused when all was done": (
        pool(spec={"configuration": configuration(RENDERED, OURS)} | PAUSED),
        PoolReason.ROLLED_OUT,
        "all 2 machines run rendered-dpu-2",
    ),
    "no machines": (
        pool(machineCount=0, updatedMachineCount=0, readyMachineCount=0),
        PoolReason.NO_MACHINES,
        "the nodeSelector of pool dpu selects no node",
    ),
    "a machine degraded": (
        pool(degradedMachineCount=1),
        PoolReason.DEGRADED,
        "1 of 2 machines are degraded",
    ),
    "node degraded": (
        degraded("NodeDegraded", message="Node dpu-1 is reporting:\n  unexpected on-disk state"),
        PoolReason.DEGRADED,
        "NodeDegraded: Node dpu-1 is reporting: unexpected on-disk state",
    ),
    "render degraded": (degraded("RenderDegraded"), PoolReason.DEGRADED, "RenderDegraded: no reason given"),
    "image not built": (
        degraded("ImageBuildDegraded", message="Failed to build OS image"),
        PoolReason.DEGRADED,
        "ImageBuildDegraded: Failed to build OS image",
    ),
    "degraded by what a later release adds": (
        degraded("Degraded", message="the moon is full"),
        PoolReason.DEGRADED,
        "Degraded: the moon is full",
    ),
    "degraded no more, but for the sum": (degraded("Degraded"), PoolReason.NOT_OBSERVED, NOT_OBSERVED_YET),
    "degradation unknown": (degraded("Degraded", "Unknown"), PoolReason.NOT_OBSERVED, NOT_OBSERVED_YET),
    "null members": ({"metadata": {"name": "dpu"}, "spec": None, "status": None}, PoolReason.NOT_RENDERED, ""),
}


@pytest.mark.parametrize(("live", "reason", "message"), STATES.values(), ids=STATES.keys())
def test_a_pool_is_judged_by_what_its_machines_run(
    live: dict[str, Any] | None, reason: PoolReason, message: str
) -> None:
    state = pool_status(PoolView(live, OURS))
    assert state.reason is reason
    assert state.message == message or not message
    assert state.is_ready is (reason is PoolReason.ROLLED_OUT)


def test_a_sum_without_words_is_told_by_what_it_is_the_sum_of() -> None:
    live = degraded("Degraded")
    live["status"]["conditions"].append({"type": "RenderDegraded", "status": "True", "message": "no such role"})
    assert pool_status(PoolView(live, OURS)).message == "RenderDegraded: no such role"


def test_a_pool_that_has_yet_to_count_a_machine_is_not_rolled_out() -> None:
    state = pool_status(PoolView(pool(machineCount=1, updatedMachineCount=1, readyMachineCount=1), OURS, members=TWO))
    assert (state.reason, state.message) == (PoolReason.NOT_OBSERVED, NOT_OBSERVED_YET)
    assert pool_status(PoolView(pool(), OURS, members=TWO)).is_ready


MCO = "machineconfiguration.openshift.io"


def with_state(name: str, state: str, reason: str = "") -> dict[str, Any]:
    return {"metadata": {"name": name, "annotations": {f"{MCO}/state": state, f"{MCO}/reason": reason}}}


FAILING = (with_state("dpu-2", "Degraded", "unexpected on-disk state"), with_state("dpu-1", "Done"))
SAID = 'node dpu-2 is Degraded: "unexpected on-disk state"'


@pytest.mark.parametrize(
    "live",
    [pool(), pool(degradedMachineCount=1), degraded("NodeDegraded"), degraded("Degraded")],
    ids=["a status of before", "counted", "without words", "the sum alone"],
)
def test_a_node_that_has_given_up_is_named_whatever_the_status_of_the_pool_says(live: dict[str, Any]) -> None:
    state = pool_status(PoolView(live, OURS, members=FAILING))
    assert (state.reason, state.message) == (PoolReason.DEGRADED, SAID)


def test_the_words_of_the_pool_come_first_and_of_many_nodes_five_are_named() -> None:
    live = degraded("NodeDegraded", message="Node dpu-2 is reporting: x")
    assert pool_status(PoolView(live, OURS, members=FAILING)).message == "NodeDegraded: Node dpu-2 is reporting: x"
    many = tuple(with_state(f"dpu-{number}", "Unreconcilable") for number in range(7))
    state = pool_status(PoolView(pool(machineCount=7), OURS, members=many))
    assert state.message.startswith("node dpu-0 is Unreconcilable; node dpu-1")
    assert state.message.endswith("node dpu-4 is Unreconcilable and 2 more")


def test_a_node_without_words_of_its_own_is_degraded_all_the_same() -> None:
    state = pool_status(PoolView(degraded("NodeDegraded"), OURS, members=TWO))
    assert (state.reason, state.message) == (PoolReason.DEGRADED, "NodeDegraded: no reason given")


def test_nodes_of_two_pools_are_named_whatever_else_holds() -> None:
    claimed = tuple((f"dpu-{number}", "infra") for number in range(7, 0, -1))
    state = pool_status(PoolView(pool(degradedMachineCount=1), OURS, claimed))
    assert state.reason is PoolReason.SHARED_NODES
    assert state.message == (
        "nodes selected by another pool too are configured by neither: dpu-1 (also infra), dpu-2 (also infra), "
        "dpu-3 (also infra), dpu-4 (also infra), dpu-5 (also infra) and 2 more"
    )


def selecting(name: str, selector: dict[str, Any] | None) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"nodeSelector": selector}}


def test_a_node_is_shared_only_with_another_custom_pool() -> None:
    pools = [
        selecting("dpu", {"matchLabels": {"dpu": "yes"}}),
        selecting("master", {"matchLabels": {"master": "yes"}}),
        selecting("worker", {"matchExpressions": [{"key": "dpu", "operator": "Exists"}]}),
        selecting("gpu", {"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}),
        selecting("idle", None),
    ]
    nodes = [
        node("c", dpu="yes", gpu="a100"),
        node("a", dpu="yes", gpu="a100"),
        node("b", dpu="yes", master="yes"),
        node("d", gpu="a100"),
        node("e"),
    ]
    assert shared_nodes("dpu", pools, nodes) == (("a", "gpu"), ("c", "gpu"))
    assert shared_nodes("absent", pools, nodes) == ()


def test_a_node_of_two_custom_pools_is_one_that_the_operator_does_nothing_for() -> None:
    pools = [selecting(name, {"matchLabels": {name: "yes"}}) for name in ("dpu", "gpu", "worker", "infra", "master")]
    nodes = [
        node("a", dpu="yes", gpu="yes", worker="yes"),
        node("b", dpu="yes", worker="yes"),
        node("c", gpu="yes", infra="yes"),
        node("d", dpu="yes", gpu="yes", infra="yes"),
    ]
    found = stuck_nodes("dpu", pools, nodes)
    assert found.keys() == {"a", "d"}
    assert found["a"].startswith("node a belongs to 2 custom roles (dpu, gpu), so")
    assert found["d"].startswith("node d belongs to 3 custom roles (dpu, gpu, infra), so")


def test_a_pool_counts_the_machines_that_nobody_else_has() -> None:
    pools = [
        selecting("dpu", {"matchLabels": {"dpu": "yes"}}),
        selecting("master", {"matchLabels": {"master": "yes"}}),
        selecting("worker", {"matchExpressions": [{"key": "dpu", "operator": "Exists"}]}),
        selecting("gpu", {"matchLabels": {"gpu": "a100"}}),
        selecting("idle", None),
    ]
    nodes = [
        node("a", dpu="yes"),
        node("b", dpu="yes", master="yes"),
        node("c", dpu="yes", gpu="a100"),
        node("d", dpu="yes", **{"kubernetes.io/os": "windows"}),
        node("e", dpu="yes", **{"kubernetes.io/os": "linux"}),
        node("f"),
    ]
    assert len(pool_members("dpu", pools, nodes)) == 2
    assert pool_members("absent", pools, nodes) == ()


def arrived(**changes: str) -> dict[str, str]:
    marks = {"state": "Done", "currentConfig": RENDERED, "desiredConfig": RENDERED} | changes
    return {f"machineconfiguration.openshift.io/{name}": value for name, value in marks.items()}


NEWEST = "rendered-dpu-3"
NEWER = {"configuration": configuration(NEWEST, OURS, "00-worker", "99-new")}
AT_OLD = arrived()
NODES: dict[str, tuple[dict[str, str], dict[str, Any], bool]] = {
    "arrived": (arrived(), pool(), True),
    "arrived while the others roll": (arrived(), pool(updatedMachineCount=1, configuration=OLD), True),
    "working": (arrived(state="Working"), pool(), False),
    "degraded": (arrived(state="Degraded"), pool(), False),
    "at the old one": (arrived(currentConfig="rendered-dpu-1"), pool(), False),
    "wanted elsewhere": (arrived(desiredConfig="rendered-dpu-3"), pool(), False),
    "in another pool": (arrived(currentConfig="rendered-gpu-1", desiredConfig="rendered-gpu-1"), pool(), False),
    "waiting for an image": (arrived(desiredImage="i2"), pool(), False),
    "at another image": (arrived(desiredImage="i2", currentImage="i1"), pool(), False),
    "on the way out of image mode": (arrived(currentImage="i1"), pool(), False),
    "at its image": (arrived(desiredImage="i1", currentImage="i1"), pool(), True),
    "paused at the old one with ours in it": (AT_OLD, pool(spec={**NEWER, **PAUSED}), True),
    "paused and begun": (arrived(currentConfig=RENDERED, desiredConfig=NEWEST), pool(spec={**NEWER, **PAUSED}), False),
    "paused and working": (arrived(state="Working"), pool(spec={**NEWER, **PAUSED}), False),
    "at the old one with ours in it": (AT_OLD, pool(spec=NEWER), False),
    "paused at the old one without ours": (
        arrived(currentConfig="rendered-dpu-1", desiredConfig="rendered-dpu-1"),
        pool(spec={**NEWER, **PAUSED}, configuration=OLD),
        False,
    ),
    "our config not in it": (arrived(), pool(spec={"configuration": configuration(RENDERED, "00-worker")}), False),
    "nothing rendered": (arrived(currentConfig="", desiredConfig=""), pool(spec={"configuration": {}}), False),
    "not annotated": ({}, pool(), False),
}


@pytest.mark.parametrize(("annotations", "live", "expected"), NODES.values(), ids=NODES.keys())
def test_a_node_is_configured_when_it_runs_the_newest_configuration_with_ours_in_it(
    annotations: dict[str, str], live: dict[str, Any], expected: bool
) -> None:
    assert node_configured(annotations, live, OURS) is expected
