"""The stand-ins keep the rules of what they stand for, on real API servers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from operator import not_
from typing import Any

import pytest

from dpunetop.domain.names import (
    CURRENT_CONFIG_ANNOTATION,
    DPU_WORKER_LABEL,
    MACHINE_CONFIG_REASON_ANNOTATION,
    MACHINE_CONFIG_ROLE_LABEL,
    MACHINE_CONFIG_STATE_ANNOTATION,
    MACHINECONFIGPOOLS,
    MACHINECONFIGS,
    NODEMAINTENANCES,
)
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.errors import Forbidden
from dpunetop.kube.keys import DEPLOYMENTS, INFRA, NODES, PODS
from dpunetop.kube.meta import Obj, name_of, new_object, uid_of
from dpunetop.kube.requests import get
from dpunetop.sandbox import binaries
from dpunetop.sandbox.admin import AdminClient
from dpunetop.sandbox.controlplane import ControlPlane
from dpunetop.sandbox.standins.engine import StandInEngine
from dpunetop.sandbox.standins.kubelet import REBOOT_ANNOTATION, boot_id
from dpunetop.sandbox.standins.nodemaintenance import DRAIN_TAINT, FAIL_ANNOTATION, FINALIZER
from dpunetop.sandbox.world import World
from support.trial import eventually

DPUS = ["bf2-worker-advnetlab13", "bf2-worker-advnetlab14", "bf2-worker-advnetlab15"]
HOST = "worker-advnetlab13"
MAINTENANCES = "/apis/nodemaintenance.medik8s.io/v1beta1/nodemaintenances"


@pytest.fixture(scope="module")
def world(programs: binaries.Binaries) -> Iterator[World]:
    with World(dpus=3, heartbeat_seconds=1.0, boot_seconds=0.3, retry_seconds=0.2) as running:
        yield running


def path(name: str) -> str:
    return get(NODES, "", name).target


def pod_path(name: str) -> str:
    return get(PODS, "default", name).target


def pool_path(name: str) -> str:
    return get(MACHINECONFIGPOOLS, "", name).target


def pod(name: str, node: str, *, host_network: bool = True, labels: dict[str, str] | None = None) -> dict[str, Any]:
    spec = {
        "nodeName": node,
        "hostNetwork": host_network,
        "tolerations": [{"operator": "Exists"}],
        "containers": [{"name": "main", "image": "example.com/main:1"}],
        "terminationGracePeriodSeconds": 1,
    }
    made = new_object(PODS, "default", name, spec=spec)
    made["metadata"]["labels"] = labels or {}
    return made


def deployment(name: str, node: str, replicas: int = 1) -> dict[str, Any]:
    labels = {"app": name}
    template = {
        "metadata": {"labels": labels},
        "spec": {
            "hostNetwork": True,
            "nodeSelector": {"kubernetes.io/hostname": node},
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "main", "image": "example.com/main:1"}],
            "terminationGracePeriodSeconds": 1,
        },
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return new_object(DEPLOYMENTS, "default", name, spec=spec)


def budget(name: str, **limit: int) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": name}}, **limit},
    }


def machine_config(name: str, role: str, mark: str) -> dict[str, Any]:
    config = {"ignition": {"version": "3.2.0"}, "mark": mark}
    made = new_object(MACHINECONFIGS, "", name, spec={"config": config})
    made["metadata"]["labels"] = {MACHINE_CONFIG_ROLE_LABEL: role}
    return made


def pool(name: str, **spec: Any) -> dict[str, Any]:
    roles = {"key": MACHINE_CONFIG_ROLE_LABEL, "operator": "In", "values": [name, "worker"]}
    selectors = {
        "machineConfigSelector": {"matchExpressions": [roles]},
        "nodeSelector": {"matchLabels": {DPU_WORKER_LABEL: ""}},
    }
    return new_object(MACHINECONFIGPOOLS, "", name, spec={**selectors, **spec})


def is_true(obj: Obj, type_: str) -> bool:
    return (condition_of(obj, type_) or {}).get("status") == "True"


def is_rolled_out(pool: Obj, machines: int) -> bool:
    status = pool.get("status") or {}
    counts = [status.get(f"{kind}Count") for kind in ("machine", "updatedMachine", "readyMachine")]
    wanted = (pool["spec"].get("configuration") or {}).get("name")
    observed = status.get("observedGeneration") == pool["metadata"]["generation"]
    return observed and counts == [machines] * 3 and status.get("configuration", {}).get("name") == wanted


def pods_of(cluster: ControlPlane, app: str) -> list[dict[str, Any]]:
    return cluster.admin.list_all("/api/v1/namespaces/default/pods", labelSelector=f"app={app}")


class Watched:
    """Which nodes were cordoned at once, and which were not Ready, at any time."""

    def __init__(self, infra: ControlPlane) -> None:
        self.most = 0
        self.order: list[str] = []
        self.down: set[str] = set()
        self._engine = StandInEngine(infra, INFRA)
        self._nodes = self._engine.follow(NODES, self._saw)
        self._engine.start()

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.close()

    def _saw(self, node: Obj) -> None:
        if not is_true(node, "Ready"):
            self.down.add(name_of(node))
        cordoned = sorted(name_of(node) for node in self._nodes.list() if node["spec"].get("unschedulable"))
        self.most = max(self.most, len(cordoned))
        self.order += [name for name in cordoned if name not in self.order]


# --- kubelet ----------------------------------------------------------------------------------------------------------


def test_a_node_is_ready_and_beats(world: World) -> None:
    def beat(node: Obj) -> str:
        return str((condition_of(node, "Ready") or {}).get("lastHeartbeatTime", ""))

    first = world.infra.admin.wait_for(path(DPUS[0]), lambda node: is_true(node, "Ready"))
    later = world.infra.admin.wait_for(path(DPUS[0]), lambda node: beat(node) > beat(first))
    since = [(condition_of(node, "Ready") or {})["lastTransitionTime"] for node in (first, later)]
    assert (boot_id(first), since[0]) == (boot_id(later), since[1])


def test_a_deployment_is_scheduled_and_becomes_available_and_goes(world: World) -> None:
    [applied] = world.infra.apply(deployment("app", "infra-master-0", 2))
    where = world.infra.admin.path_of(applied)
    seen = world.infra.admin.wait_for(where, lambda d: d.get("status", {}).get("availableReplicas") == 2)
    world.infra.admin.delete(where, {"propagationPolicy": "Foreground"})
    gone = world.infra.admin.wait_for(where, lambda d: d == {})
    assert (seen["status"]["readyReplicas"], gone, pods_of(world.infra, "app")) == (2, {}, [])


def test_only_pods_of_the_host_network_run_on_a_dpu(world: World) -> None:
    world.infra.apply([pod("on-pod-network", DPUS[0], host_network=False), pod("on-host-network", DPUS[0])])
    running = world.infra.admin.wait_for(pod_path("on-host-network"), lambda p: is_true(p, "Ready"))
    pending = world.infra.admin.get(pod_path("on-pod-network"))
    for name in ("on-pod-network", "on-host-network"):
        world.infra.admin.delete(pod_path(name))
        world.infra.admin.wait_for(pod_path(name), lambda p: p == {})
    assert (running["status"]["podIP"], pending["status"]["phase"]) == (running["status"]["hostIP"], "Pending")


def test_readiness_is_withheld_as_long_as_it_is_asked_for(world: World) -> None:
    world.infra_kubelet.hold_ready(lambda p: name_of(p) == "held")
    world.infra.apply([pod("held", DPUS[0]), pod("free", DPUS[0])])
    world.infra.admin.wait_for(pod_path("free"), lambda p: is_true(p, "Ready"))
    held = world.infra.admin.wait_for(pod_path("held"), lambda p: p["status"]["phase"] == "Running")
    world.infra_kubelet.hold_ready(lambda _: False)
    released = world.infra.admin.wait_for(pod_path("held"), lambda p: is_true(p, "Ready"))
    for name in ("held", "free"):
        world.infra.admin.delete(pod_path(name))
    assert (is_true(held, "Ready"), is_true(released, "ContainersReady")) == (False, True)


def test_a_reboot_changes_boot_id_and_containers_and_keeps_the_pod(world: World) -> None:
    world.infra.apply(pod("rebooted", DPUS[0]))
    before = world.infra.admin.wait_for(pod_path("rebooted"), lambda p: is_true(p, "Ready"))
    ended = boot_id(world.infra.admin.get(path(DPUS[0])))
    with Watched(world.infra) as watched:
        world.infra.admin.patch(path(DPUS[0]), {"metadata": {"annotations": {REBOOT_ANNOTATION: ended}}})
        node = world.infra.admin.wait_for(path(DPUS[0]), lambda n: boot_id(n) != ended and is_true(n, "Ready"))
        eventually(lambda: watched.down, lambda down: DPUS[0] in down)
    after = world.infra.admin.wait_for(
        pod_path("rebooted"), lambda p: is_true(p, "Ready") and p["status"]["containerStatuses"][0]["restartCount"] == 1
    )
    world.infra.admin.delete(pod_path("rebooted"))
    world.infra.admin.patch(path(DPUS[0]), {"metadata": {"annotations": {REBOOT_ANNOTATION: None}}})
    old, new = (p["status"]["containerStatuses"][0] for p in (before, after))
    assert boot_id(node) != ended
    assert (old["containerID"] != new["containerID"], new["restartCount"]) == (True, 1)


# --- machine config operator ------------------------------------------------------------------------------------------


@pytest.fixture
def rolled(world: World) -> Iterator[World]:
    """The pool `dpu` with all three DPUs in it; they go back to the worker pool afterwards."""
    world.infra.apply([machine_config("00-dpu", "dpu", "first"), pool("dpu", paused=False, maxUnavailable=3)])
    world.infra.admin.wait_for(pool_path("dpu"), lambda p: is_rolled_out(p, 3))
    world.infra.apply(pool("dpu", paused=False))
    yield world
    world.infra.apply(pool("worker", maxUnavailable=3, nodeSelector=WORKERS, machineConfigSelector=WORKER_CONFIGS))
    for name in DPUS:
        world.infra.admin.patch(path(name), {"metadata": {"labels": {DPU_WORKER_LABEL: None}}})
    world.infra.admin.wait_for(pool_path("worker"), lambda p: is_rolled_out(p, 3))
    if world.infra.admin.get_or_empty(pool_path("dpu")):
        world.infra.admin.delete(pool_path("dpu"))
    for name in DPUS:
        world.infra.admin.patch(path(name), {"metadata": {"labels": {DPU_WORKER_LABEL: ""}}})


WORKERS = {"matchLabels": {"node-role.kubernetes.io/worker": ""}}
WORKER_CONFIGS = {"matchLabels": {MACHINE_CONFIG_ROLE_LABEL: "worker"}}


def test_a_pool_rolls_one_node_at_a_time_and_evicts_what_was_there(rolled: World) -> None:
    infra = rolled.infra
    infra.apply(pod(f"app-{name}", name) for name in DPUS)
    for name in DPUS:
        infra.admin.wait_for(pod_path(f"app-{name}"), lambda p: is_true(p, "Ready"))
    boots = {name: boot_id(infra.admin.get(path(name))) for name in DPUS}
    with Watched(infra) as watched:
        infra.apply(machine_config("00-dpu", "dpu", "second"))
        infra.admin.wait_for(pool_path("dpu"), lambda p: not is_rolled_out(p, 3))
        done = infra.admin.wait_for(pool_path("dpu"), lambda p: is_rolled_out(p, 3))
        eventually(lambda: watched.order, DPUS.__eq__)  # who watches is told later than who asks
    nodes = {name: infra.admin.get(path(name)) for name in DPUS}
    left = [name for name in DPUS if infra.admin.get_or_empty(pod_path(f"app-{name}"))]
    assert (watched.most, watched.order, left) == (1, DPUS, [])
    assert all(boot_id(node) != boots[name] for name, node in nodes.items())
    assert {node["metadata"]["annotations"][CURRENT_CONFIG_ANNOTATION] for node in nodes.values()} == {
        done["spec"]["configuration"]["name"]
    }
    assert [source["name"] for source in done["status"]["configuration"]["source"]] == ["00-dpu", "00-worker"]


def test_a_closed_budget_blocks_the_drain_until_it_opens_and_what_comes_then_stays(rolled: World) -> None:
    infra = rolled.infra
    [blocker, closed] = infra.apply([deployment("blocker", DPUS[0]), budget("blocker", maxUnavailable=0)])
    infra.admin.wait_for(infra.admin.path_of(closed), lambda b: (b.get("status") or {}).get("currentHealthy") == 1)
    [before] = pods_of(infra, "blocker")
    infra.apply(machine_config("00-dpu", "dpu", "blocked"))
    infra.admin.wait_for(path(DPUS[0]), lambda n: n["spec"].get("unschedulable", False))
    time_to_try_again(infra, DPUS[0])
    [held] = pods_of(infra, "blocker")
    infra.apply(budget("blocker", maxUnavailable=1))
    infra.admin.wait_for(pod_path(name_of(before)), lambda p: p == {})
    infra.admin.wait_for(pool_path("dpu"), lambda p: is_rolled_out(p, 3))
    [after] = pods_of(infra, "blocker")
    infra.admin.delete(infra.admin.path_of(closed))
    infra.admin.delete(infra.admin.path_of(blocker), {"propagationPolicy": "Foreground"})
    assert (uid_of(held), "deletionTimestamp" in held["metadata"]) == (uid_of(before), False)
    assert (uid_of(after) != uid_of(before), after["spec"]["nodeName"]) == (True, DPUS[0])


def test_a_later_round_evicts_what_came_after_the_first_and_a_person_s_uncordon_is_undone(rolled: World) -> None:
    infra = rolled.infra
    [blocker, stuck] = infra.apply([deployment("again", DPUS[0]), budget("stuck", maxUnavailable=0)])
    infra.apply(pod("stuck", DPUS[0], labels={"app": "stuck"}))
    infra.admin.wait_for(pod_path("stuck"), lambda p: is_true(p, "Ready"))
    infra.admin.wait_for(infra.admin.path_of(blocker), lambda d: d.get("status", {}).get("availableReplicas") == 1)
    infra.admin.wait_for(infra.admin.path_of(stuck), lambda b: (b.get("status") or {}).get("currentHealthy") == 1)
    [first] = pods_of(infra, "again")
    infra.apply(machine_config("00-dpu", "dpu", "by rounds"))
    infra.admin.wait_for(pod_path(name_of(first)), lambda p: p == {})
    second = eventually(lambda: pods_of(infra, "again"), lambda pods: [is_true(p, "Ready") for p in pods] == [True])[0]
    infra.admin.patch(path(DPUS[0]), {"spec": {"unschedulable": None}})
    infra.admin.wait_for(path(DPUS[0]), lambda n: bool(n["spec"].get("unschedulable")))
    infra.admin.wait_for(pod_path(name_of(second)), lambda p: p == {})
    infra.admin.delete(infra.admin.path_of(stuck))
    infra.admin.wait_for(pool_path("dpu"), lambda p: is_rolled_out(p, 3))
    infra.admin.delete(infra.admin.path_of(blocker), {"propagationPolicy": "Foreground"})


def has_beaten(ready: Obj | None, node: Obj) -> bool:
    """Whether the kubelet has written another `Ready` than that one."""
    return condition_of(node, "Ready") != ready


def time_to_try_again(infra: ControlPlane, node: str) -> None:
    """Two beats of the node, each longer than the pause between two tries of an eviction."""
    for _ in range(2):
        infra.admin.wait_for(path(node), partial(has_beaten, condition_of(infra.admin.get(path(node)), "Ready")))


def is_observed(pool: Obj) -> bool:
    """Whether the status is about the newest generation."""
    return bool(pool["status"]["observedGeneration"] == pool["metadata"]["generation"])


def test_a_paused_pool_begins_with_no_node(rolled: World) -> None:
    infra = rolled.infra
    infra.apply(pool("dpu", paused=True))
    infra.admin.wait_for(pool_path("dpu"), is_observed)  # else it may begin before it knows
    infra.apply(machine_config("00-dpu", "dpu", "waits"))
    paused = infra.admin.wait_for(
        pool_path("dpu"),
        lambda p: (
            (p["status"]["updatedMachineCount"], p["status"]["unavailableMachineCount"]) == (0, 0) and is_observed(p)
        ),
    )
    infra.apply(pool("dpu", paused=False, maxUnavailable=3))
    infra.admin.wait_for(pool_path("dpu"), lambda p: is_rolled_out(p, 3))
    assert (is_true(paused, "Updated"), is_true(paused, "Updating")) == (False, False)


def test_a_node_that_leaves_its_pool_goes_back_to_worker(rolled: World) -> None:
    infra = rolled.infra
    infra.admin.patch(path(DPUS[2]), {"metadata": {"labels": {DPU_WORKER_LABEL: None}}})
    worker = infra.admin.wait_for(pool_path("worker"), lambda p: is_rolled_out(p, 1))
    left = infra.admin.get(path(DPUS[2]))
    infra.admin.patch(path(DPUS[2]), {"metadata": {"labels": {DPU_WORKER_LABEL: ""}}})
    infra.admin.wait_for(pool_path("dpu"), lambda p: is_rolled_out(p, 3))
    assert left["metadata"]["annotations"][CURRENT_CONFIG_ANNOTATION] == worker["spec"]["configuration"]["name"]


def test_a_pool_takes_along_what_its_nodes_run_and_they_degrade(rolled: World) -> None:
    infra = rolled.infra
    runs = infra.admin.get(pool_path("dpu"))["spec"]["configuration"]["name"]
    infra.admin.delete(pool_path("dpu"))
    node = infra.admin.wait_for(path(DPUS[0]), lambda n: "Degraded" in n["metadata"]["annotations"].values())
    assert f"missing MachineConfig {runs}" in node["metadata"]["annotations"][MACHINE_CONFIG_REASON_ANNOTATION]
    assert infra.admin.get_or_empty(get(MACHINECONFIGS, "", runs).target) == {}
    infra.apply(pool("dpu", maxUnavailable=3))  # which renders the same again
    for name in DPUS:
        infra.admin.wait_for(
            path(name), lambda n: n["metadata"]["annotations"][MACHINE_CONFIG_STATE_ANNOTATION] == "Done"
        )
    infra.admin.wait_for(pool_path("dpu"), lambda p: is_rolled_out(p, 3))


# --- node maintenance operator ----------------------------------------------------------------------------------------


def maintenance(name: str, node: str) -> dict[str, Any]:
    return new_object(NODEMAINTENANCES, "", name, spec={"nodeName": node, "reason": "test"})


def phase(obj: Obj) -> str:
    return str((obj.get("status") or {}).get("phase", ""))


def is_closed(node: Obj) -> tuple[bool, bool]:
    taints = {taint["key"] for taint in node["spec"].get("taints") or []}
    return DRAIN_TAINT in taints, bool(node["spec"].get("unschedulable"))


def end(tenant: AdminClient, name: str) -> None:
    """Delete it, and wait until the webhook's stand-in, which reads a cache as the real one does, knows that too."""
    node = tenant.get(f"{MAINTENANCES}/{name}")["spec"]["nodeName"]
    tenant.delete(f"{MAINTENANCES}/{name}")
    tenant.wait_for(f"{MAINTENANCES}/{name}", lambda m: m == {})
    eventually(partial(would_be_admitted, tenant, node), bool)


def would_be_admitted(tenant: AdminClient, node: str) -> bool:
    """Whether a maintenance for the node passes admission, by a dry run."""
    try:
        tenant.apply_at(f"{MAINTENANCES}/probe", maintenance("probe", node), dryRun="All")
    except Forbidden:
        return False
    return True


def test_a_maintenance_drains_its_host_and_gives_it_back(world: World) -> None:
    tenant = world.tenant.admin
    [_, closed] = world.tenant.apply(
        [pod("guarded", HOST, labels={"app": "guarded"}), budget("guarded", minAvailable=1)]
    )
    tenant.wait_for(pod_path("guarded"), lambda p: is_true(p, "Ready"))
    tenant.create(MAINTENANCES, maintenance("host", HOST))
    running = tenant.wait_for(
        f"{MAINTENANCES}/host", lambda m: (m.get("status") or {}).get("pendingPods") == ["guarded"]
    )
    during = tenant.wait_for(path(HOST), lambda n: is_closed(n) == (True, True))  # what is pending is told before
    tenant.patch(path(HOST), {"spec": {"unschedulable": None}})
    tenant.wait_for(path(HOST), lambda n: is_closed(n) == (True, True))
    world.tenant.apply(budget("guarded", minAvailable=0))
    done = tenant.wait_for(f"{MAINTENANCES}/host", lambda m: phase(m) == "Succeeded")
    drained = tenant.get(path(HOST))
    end(tenant, "host")
    after = tenant.get(path(HOST))
    tenant.delete(tenant.path_of(closed))
    assert (phase(running), FINALIZER in running["metadata"]["finalizers"]) == ("Running", True)
    assert (is_closed(during), is_closed(drained), is_closed(after)) == ((True, True), (True, True), (False, False))
    assert (done["status"]["drainProgress"], "ownerReferences" in done["metadata"]) == (100, False)


def without_time(found: Obj) -> Obj:
    """Its status, but for when that was last written."""
    return {name: value for name, value in found["status"].items() if name != "lastUpdate"}


def test_an_uncordon_after_success_is_not_noticed(world: World) -> None:
    tenant = world.tenant.admin
    tenant.create(MAINTENANCES, maintenance("unnoticed", HOST))
    done = tenant.wait_for(f"{MAINTENANCES}/unnoticed", lambda m: phase(m) == "Succeeded")
    time_to_try_again(world.tenant, HOST)
    tenant.patch(path(HOST), {"spec": {"unschedulable": None}})
    time_to_try_again(world.tenant, HOST)
    node, after = tenant.get(path(HOST)), tenant.get(f"{MAINTENANCES}/unnoticed")
    tenant.patch(f"{MAINTENANCES}/unnoticed", {"metadata": {"annotations": {"touched": "yes"}}})
    tenant.wait_for(path(HOST), lambda n: is_closed(n) == (True, True))
    once_more = after["status"]["lastUpdate"]
    tenant.wait_for(f"{MAINTENANCES}/unnoticed", lambda m: m["status"]["lastUpdate"] != once_more)
    end(tenant, "unnoticed")
    assert (is_closed(node), without_time(after)) == ((True, False), without_time(done))


def test_a_second_maintenance_for_a_node_is_refused(world: World) -> None:
    tenant = world.tenant.admin
    tenant.create(MAINTENANCES, maintenance("first", HOST))
    eventually(partial(would_be_admitted, tenant, HOST), not_)
    with pytest.raises(Forbidden, match="exists already"):
        tenant.create(MAINTENANCES, maintenance("second", HOST))
    end(tenant, "first")


def test_a_maintenance_of_an_unknown_node_fails(world: World) -> None:
    tenant = world.tenant.admin
    tenant.create(MAINTENANCES, maintenance("nobody", "no-such-host"))
    failed = tenant.wait_for(f"{MAINTENANCES}/nobody", lambda m: phase(m) == "Failed")
    end(tenant, "nobody")
    assert failed["status"]["lastError"] == "node no-such-host does not exist"


def test_a_failed_maintenance_has_given_its_host_back_and_may_begin_again(world: World) -> None:
    tenant, where = world.tenant.admin, f"{MAINTENANCES}/failing"
    tenant.create(MAINTENANCES, maintenance("failing", HOST))
    tenant.wait_for(where, lambda m: phase(m) == "Succeeded")
    tenant.patch(where, {"metadata": {"annotations": {FAIL_ANNOTATION: "yes"}}})
    tenant.wait_for(where, lambda m: phase(m) == "Failed")
    failed = tenant.get(path(HOST))
    tenant.patch(where, {"metadata": {"annotations": {FAIL_ANNOTATION: None}}})
    tenant.wait_for(where, lambda m: phase(m) == "Succeeded")
    again = tenant.get(path(HOST))
    end(tenant, "failing")
    assert (is_closed(failed), is_closed(again)) == ((False, False), (True, True))
