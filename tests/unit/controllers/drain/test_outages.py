"""A host whose DPU fails outside a drain, over scripted clusters: told, cordoned, and made schedulable again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dpunetop.controllers.drain.infrahealth import CALM_SECONDS
from dpunetop.domain import names
from dpunetop.domain.drain.outages.detection import spelled
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.errors import Forbidden
from dpunetop.kube.keys import NODES, PODS
from dpunetop.kube.meta import annotations_of
from dpunetop.runtime.cluster import Health, Reach
from support.clock import EPOCH
from support.objects import NAMESPACE, node
from support.scripteddrain import DPU, HOST, OWNER, World, dpu_node

CORDON = {"policy": "Cordon", "after": "1m", "maxHosts": 1}


def serving(**unplanned: Any) -> World:
    """A host whose DPU serves it, beside two other Nodes of infra."""
    world = World(unplanned=unplanned)
    for name in ("master-0", "master-1"):
        world.infra.put(NODES, {**node(name, {}), "status": dpu_node("b")["status"]})
    world.protected().run_pod("p1", "container-of-b1")
    world.settle()
    return world


def fails(world: World, name: str = DPU) -> None:
    said = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "lastTransitionTime": now(world)}
    live = world.infra.shown(NODES, "", name)
    world.infra.put(NODES, {**live, "status": {**live["status"], "conditions": [said]}})
    world.settle()


def works(world: World, boot: str = "b1") -> None:
    world.infra.put(NODES, dpu_node(boot))
    world.settle()


def now(world: World) -> str:
    return spelled(int(world.clock.now().timestamp()))


def said(world: World) -> str:
    world.settle()
    found = condition_of(world.infra.shown(names.DPUCLUSTERCONFIGS, NAMESPACE, "sample"), "PairsHealthy") or {}
    return f"{found['status']} {found['reason']}: {found['message']}"


def is_cordoned(world: World) -> bool:
    return bool(world.host()["spec"].get("unschedulable"))


def mark(world: World) -> str:
    return annotations_of(world.host()).get(names.UNPLANNED_ANNOTATION, "")


def test_a_dpu_that_crashes_is_told_with_its_host_in_the_condition_and_on_its_node() -> None:
    world = serving()
    fails(world)
    words = f"host {HOST} has no network since {spelled(int(EPOCH.timestamp()))}: DPU node {DPU} is not Ready"
    assert said(world).startswith(f"False HostWithoutNetwork: {words}")
    [told] = [event for event in world.told if event.resource == NODES]
    assert (told.type, told.reason, told.regarding["metadata"]["name"]) == ("Warning", "HostWithoutNetwork", DPU)
    assert told.note.startswith(words)
    works(world)
    assert said(world).startswith("True AllProtected")
    assert [event.reason for event in world.told if event.resource == NODES] == ["HostWithoutNetwork", "NetworkBack"]


def test_a_failure_is_told_while_the_tenant_is_out_of_sight() -> None:
    world = serving()
    world.health = SimpleNamespace(reach=Reach.UNREACHABLE, reason="Timeout", message="no answer")
    fails(world)
    assert f"host {HOST} has no network" in said(world)


def test_with_the_default_policy_no_host_is_touched() -> None:
    world = serving()
    fails(world)
    world.clock.step(86_400.0)
    assert "it stays schedulable" in said(world)
    assert (is_cordoned(world), mark(world)) == (False, "")


def cordoned() -> World:
    world = serving(**CORDON)
    fails(world)
    assert "it is to be cordoned at" in said(world)
    world.clock.step(59.0)
    assert "it is to be cordoned at" in said(world)
    assert not is_cordoned(world)
    world.clock.step(1.0)
    assert said(world).startswith("False HostCordoned")
    assert is_cordoned(world)
    return world


def test_after_a_while_the_host_is_cordoned_and_comes_back_on_proof() -> None:
    world = cordoned()
    works(world)
    assert said(world).startswith("True AllProtected")
    assert (is_cordoned(world), mark(world)) == (False, "")


def test_a_new_process_goes_on_where_the_last_one_ended() -> None:
    world = cordoned()
    world.start()
    assert said(world).startswith("False HostCordoned")
    works(world)
    assert (is_cordoned(world), mark(world)) == (False, "")


def test_containers_of_the_boot_in_which_it_failed_prove_nothing() -> None:
    world = cordoned()
    works(world, "b2")
    assert "has yet to show: ovnkube-node containers of this boot" in said(world)
    assert is_cordoned(world)
    world.told.clear()
    world.run_pod("p1", "container-of-b2")
    assert said(world).startswith("True AllProtected")
    assert not is_cordoned(world)
    assert [reason for reason in world.events() if reason.startswith("Warning")] == []
    assert "Normal NetworkBack" in world.events()


def test_a_cordon_that_cannot_be_taken_back_is_told_as_long_as_it_stands() -> None:
    world = cordoned()
    world.tenant.refuses["nodes"] = Forbidden(403, "Forbidden", "cannot patch nodes")
    works(world)
    assert "the tenant refuses" in said(world)
    assert is_cordoned(world)


def test_while_infra_itself_is_suspect_nothing_is_done_and_that_is_said() -> None:
    world = serving(**CORDON)
    for name in ("master-0", "master-1"):
        fails(world, name)
    fails(world)
    world.clock.step(600.0)
    assert said(world).startswith("False InfraSuspect")
    assert not is_cordoned(world)
    for name in ("master-0", "master-1"):
        world.infra.put(NODES, {**node(name, {}), "status": dpu_node("b")["status"]})
    assert "a moment ago" in said(world)
    world.clock.step(CALM_SECONDS)
    assert said(world).startswith("False HostCordoned")


@pytest.mark.parametrize("reach", [Reach.UNREACHABLE, Reach.UNKNOWN, Reach.REACHABLE])
def test_outages_are_not_judged_until_the_infra_api_server_has_been_back_for_a_while(reach: Reach) -> None:
    world = serving(**CORDON)
    fails(world)
    world.clock.step(600.0)
    world.infra_health = Health(reach, "", "", world.clock.now())
    assert said(world).startswith("False InfraSuspect")
    assert not is_cordoned(world)
    world.infra_health = Health(Reach.REACHABLE, "", "", world.clock.now())
    world.clock.step(CALM_SECONDS)
    assert said(world).startswith("False HostCordoned")


def test_a_refusal_of_the_tenant_is_told() -> None:
    world = serving(**CORDON)
    fails(world)
    world.clock.step(60.0)
    world.tenant.refuses["nodes"] = Forbidden(403, "Forbidden", "cannot patch nodes")
    assert "the tenant refuses" in said(world)


def test_a_config_that_ends_leaves_the_cordon_and_its_mark() -> None:
    world = cordoned()
    world.say(deletionTimestamp="2026-01-01T00:00:00Z")
    world.settle()
    assert is_cordoned(world)
    assert mark(world)


def test_a_failed_dpu_is_not_reported_for_its_blocker_too() -> None:
    world = serving()
    world.run_blocker(ready=False)
    fails(world)
    assert "its blocker" not in said(world)


@pytest.mark.parametrize("forced", [False, True], ids=["led out", "by force"])
def test_a_host_that_is_cordoned_at_the_end_is_named_and_comes_back_with_a_config_made_anew(forced: bool) -> None:
    world = cordoned()
    world.delete_config(**({"force_delete": "yes"} if forced else {}))
    world.settle()
    if forced:
        world.infra.drop(PODS, NAMESPACE, f"ovnkube-node-{DPU}")
    else:
        world.drain_host()
    world.settle()
    assert (world.left(), world.maintenance(), is_cordoned(world)) == ([], None, True)
    assert annotations_of(world.host()).get(names.LEFT_BY_ANNOTATION) == (None if forced else OWNER)
    told = {each.reason: each for each in world.told if each.resource == names.DPUCLUSTERCONFIGS}
    assert "HostLeftCordoned" in told or forced
    assert f"kubectl uncordon {HOST}" in told["HostNotServed"].note
    returns(world)
    assert (is_cordoned(world), mark(world)) == (False, "")
    assert names.LEFT_BY_ANNOTATION not in annotations_of(world.host())


def returns(world: World) -> None:
    """The DPU is back, and serves for a DpuClusterConfig of the same name."""
    world.infra.put(NODES, dpu_node("b2"))
    live = world.infra.shown(names.DPUCLUSTERCONFIGS, NAMESPACE, "sample")
    metadata = {**live["metadata"], "uid": "another", "annotations": {}}
    metadata.pop("deletionTimestamp")
    world.infra.put(names.DPUCLUSTERCONFIGS, {**live, "metadata": metadata})
    world.start()
    world.settle()
    world.run_blocker()
    world.settle()
    world.run_pod("p2", "container-of-b2")
    world.settle()
