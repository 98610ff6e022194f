"""What people ask for that cannot be is told with the pairs: by DPU and host, and with what to do about it."""

from __future__ import annotations

from typing import Any

import pytest

from dpunetop.controllers.drain.gather_host import PATIENCE_SECONDS
from dpunetop.domain import names
from dpunetop.domain.names import blocker_labels
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.keys import CUSTOMRESOURCEDEFINITIONS, DEPLOYMENTS, NODES, PODS, crd_name
from dpunetop.runtime.reading import NotEngaged
from support.objects import NAMESPACE
from support.scripteddrain import DPU, HOST, OPERATOR, TENANT, World, dpu_node


def said(world: World) -> tuple[str, str, str]:
    live = world.infra.shown(names.DPUCLUSTERCONFIGS, NAMESPACE, "sample")
    found = condition_of(live, "PairsHealthy") or {}
    return found["status"], found["reason"], found["message"]


def test_a_typo_in_the_name_of_a_host_is_told_with_what_may_have_been_meant() -> None:
    world = World()
    world.pair_up(**{DPU: "hots-1"})
    world.run_blocker()
    world.settle()
    status, reason, message = said(world)
    assert (status, reason) == ("False", "HostAbsent")
    assert message == (
        f"{DPU}: its host hots-1 does not exist in the tenant (did you mean {HOST}?); correct its entry in ConfigMap "
        "env-overrides, or register the host"
    )
    world.pair_up(**{DPU: HOST})
    world.settle()
    assert said(world)[:2] == ("True", "AllProtected") or said(world)[1] == "RemovalPending"


def test_no_host_is_missed_in_a_tenant_that_is_not_read() -> None:
    world = World()
    world.pair_up(**{DPU: "hots-1"})
    world.run_blocker()
    world.watches.silent = {TENANT: NotEngaged(TENANT)}
    world.settle()
    world.clock.step(PATIENCE_SECONDS)
    world.settle()
    assert said(world)[1] != "HostAbsent"


def test_an_entry_for_a_dpu_that_infra_does_not_have_is_told() -> None:
    world = World().protected()
    world.pair_up(**{DPU: HOST, "d11": "host-2"})
    world.tenant.put(NODES, {"metadata": {"name": "host-2"}, "spec": {}})
    world.settle()
    status, reason, message = said(world)
    assert (status, reason) == ("False", "DpuAbsent")
    assert message == (
        f"d11: infra has no Node of that name (did you mean {DPU}?); correct or remove its entry in ConfigMap "
        "env-overrides"
    )
    world.infra.put(NODES, dpu_node("b1", name="d11"))
    world.settle()
    assert said(world)[1] != "DpuAbsent"


def test_an_entry_for_a_dpu_that_the_selector_does_not_pick_is_told_with_its_host() -> None:
    world = World().protected()
    other = dpu_node("b1", name="d11")
    world.infra.put(NODES, {**other, "metadata": {**other["metadata"], "labels": {}}})
    world.pair_up(**{DPU: HOST, "d11": "host-2"})
    world.tenant.put(NODES, {"metadata": {"name": "host-2"}, "spec": {}})
    world.settle()
    assert said(world) == (
        "False",
        "DpuNotSelected",
        "d11: spec.nodeSelector does not pick its Node, so that it does not serve host host-2; label the Node "
        "as spec.nodeSelector asks, or remove its entry in ConfigMap env-overrides",
    )
    world.infra.put(NODES, other)
    world.settle()
    assert said(world)[1] != "DpuNotSelected"


def test_a_dpu_that_serves_and_is_no_longer_picked_is_told_once() -> None:
    world = World().protected()
    world.run_pod("p1", "container-of-b1")
    world.settle()
    world.label({})
    world.settle()
    assert said(world)[:2] == ("False", "RemovalPending")
    assert "DpuNotSelected" not in said(world)[2]
    assert "nodeSelector" not in said(world)[2]


def test_a_tenant_whose_hosts_nobody_can_drain_is_told_when_there_is_a_pair() -> None:
    world = World()
    live = world.tenant.shown(CUSTOMRESOURCEDEFINITIONS, "", crd_name(names.NODEMAINTENANCES))
    world.tenant.drop(CUSTOMRESOURCEDEFINITIONS, "", crd_name(names.NODEMAINTENANCES))
    world.run_blocker()
    world.settle()
    status, reason, message = said(world)
    assert (status, reason) == ("False", "NodeMaintenanceNotServed")
    assert f"{HOST} cannot be drained before {DPU}" in message
    assert "install the node maintenance operator" in message
    world.tenant.put(CUSTOMRESOURCEDEFINITIONS, live)
    world.settle()
    assert said(world)[:2] == ("True", "AllProtected")


def unfit(**status: Any) -> dict[str, Any]:
    metadata = {"name": "blocker-x", "namespace": OPERATOR, "labels": dict(blocker_labels(DPU))}
    return {"metadata": metadata, "spec": {}, "status": {"phase": "Pending", **status}}


PULL = {"name": "blocker", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "back-off: no such image"}}}
NO_ROOM = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: Insufficient cpu."}
PODS_UNFIT = {
    "its image cannot be pulled": (unfit(containerStatuses=[PULL]), "ImagePullBackOff: "),
    "it finds no room": (unfit(conditions=[NO_ROOM]), "Insufficient cpu."),
}


@pytest.mark.parametrize(("pod", "cause"), PODS_UNFIT.values(), ids=PODS_UNFIT.keys())
@pytest.mark.parametrize("serves", [False, True], ids=["to serve", "that serves"])
def test_a_dpu_is_named_with_why_its_blocker_does_not_run(pod: dict[str, Any], cause: str, serves: bool) -> None:
    world = World().protected() if serves else World()
    if serves:
        world.infra.drop(PODS, OPERATOR, f"blocker-{DPU}")
    world.infra.put(PODS, pod)
    world.settle()
    status, reason, message = said(world)
    assert (status, reason) == ("False", "BlockerNotReady")
    assert message.startswith(f"{DPU}: is not protected")
    assert HOST in message
    assert cause in message


def test_a_blocker_that_the_api_server_does_not_admit_is_told_with_its_words() -> None:
    world = World()
    world.settle()
    deployment = world.infra.shown(DEPLOYMENTS, OPERATOR, names.blocker_name(DPU))
    refusal = 'pods "x" is forbidden: violates PodSecurity "restricted:latest": host namespaces'
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": refusal}
    world.infra.put(DEPLOYMENTS, {**deployment, "status": {"conditions": [failure]}})
    world.settle()
    status, reason, message = said(world)
    assert (status, reason) == ("False", "BlockerNotReady")
    assert "violates PodSecurity" in message
    assert HOST in message


def test_a_replaced_card_is_released_by_deleting_its_node_and_the_message_says_so() -> None:
    world = World().protected()
    world.run_pod("p1", "container-of-b1")
    world.infra.put(NODES, dpu_node("b9", name="d2"))
    world.pair_up(d2=HOST)
    world.settle()
    status, reason, message = said(world)
    assert (status, reason) == ("False", "RemovalPending")
    assert f"kubectl delete node {DPU}" in message
    assert f"host {HOST}" in message
