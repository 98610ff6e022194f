"""What the stand-in for kubelets says of nodes and pods."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dpunetop.base.clock import RealClock
from dpunetop.base.stop import Stop
from dpunetop.domain.names import DPU_NODE_LABEL
from dpunetop.kube.keys import Key, Resource
from dpunetop.runtime.cache.transform import strip_node
from dpunetop.sandbox.standins import kubelet
from dpunetop.sandbox.standins.engine import drainable
from dpunetop.sandbox.standins.runtime import ContainerState

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"


def node(boot: str = "boot-1", **labels: str) -> dict[str, Any]:
    metadata = {"name": "n", "uid": "uid-of-n", "labels": labels}
    return {"metadata": metadata, "status": {"nodeInfo": {"bootID": boot}} if boot else {}}


def pod(**spec: Any) -> dict[str, Any]:
    containers = [{"name": "a", "image": "image-a"}, {"name": "b", "image": "image-b"}]
    return {"metadata": {"name": "p", "uid": "uid-of-p"}, "spec": {"containers": containers, **spec}}


def running(boot: str = "boot-1") -> dict[str, Any]:
    made = pod(hostNetwork=True)
    made["status"] = kubelet.pod_status(made, node(boot), True, NOW)
    return made


def test_a_pod_of_the_host_network_has_the_address_of_its_node() -> None:
    status = kubelet.pod_status(pod(hostNetwork=True), node(), True, NOW)
    address = kubelet.address("n")
    assert (status["podIP"], status["hostIP"], status["phase"]) == (address, address, "Running")
    assert [(c["name"], c["ready"], c["image"]) for c in status["containerStatuses"]] == [
        ("a", True, "image-a"),
        ("b", True, "image-b"),
    ]


class StandInEngine:
    """The little of a `StandInEngine` that binding needs: caches that a test fills, and a client that takes notes."""

    cluster = "tenant"

    def __init__(self) -> None:
        self.shown: dict[str, dict[str, Any]] = {"pods": {}, "nodes": {}}
        self.bound: list[tuple[str, str]] = []
        self.client = SimpleNamespace(create_sub=self._create_sub)

    def follow(self, resource: Resource, _: object) -> Any:
        return SimpleNamespace(get=lambda _, name: self.shown[resource.plural].get(name))

    def _create_sub(self, *place: Any) -> None:
        *_, name, _, binding = place
        self.bound.append((name, binding["target"]["name"]))


def test_a_pod_that_a_daemonset_made_is_bound_also_if_its_node_shows_after_it() -> None:
    fields = [{"key": "metadata.name", "operator": "In", "values": ["n"]}]
    terms = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": fields}]}}
    engine, stand_in, key = StandInEngine(), kubelet.Kubelet(binds_daemon_pods=True), Key("tenant", "ns", "p")
    stand_in.attach(cast(Any, engine), lambda _: None)
    engine.shown["pods"]["p"] = pod(affinity={"nodeAffinity": terms})
    engine.shown["pods"]["p"]["metadata"]["namespace"] = "ns"
    assert stand_in.reconcile(key, Stop()) == pytest.approx(0.2)
    assert engine.bound == []
    engine.shown["nodes"]["n"] = node()
    assert stand_in.reconcile(key, Stop()) is None
    assert engine.bound == [("p", "n")]


def test_a_pod_of_the_pod_network_has_an_address_of_its_own() -> None:
    status = kubelet.pod_status(pod(), node(), True, NOW)
    assert status["podIP"].startswith("10.128.")
    assert status["podIP"] != status["hostIP"]


def test_a_pod_that_stays_as_it_is_has_the_same_status_later() -> None:
    before = running()
    assert kubelet.pod_status(before, node(), True, LATER) == before["status"]


def test_readiness_lost_moves_the_times_of_readiness_only() -> None:
    status = kubelet.pod_status(running(), node(), False, LATER)
    times = {c["type"]: (c["status"], c["lastTransitionTime"]) for c in status["conditions"]}
    assert (times["Ready"], times["Initialized"]) == (("False", LATER), ("True", NOW))
    assert [c["restartCount"] for c in status["containerStatuses"]] == [0, 0]


def test_containers_start_anew_after_a_boot() -> None:
    before = running()
    after = kubelet.pod_status(before, node("boot-2"), True, LATER)
    old, new = before["status"]["containerStatuses"][0], after["containerStatuses"][0]
    assert old["containerID"] != new["containerID"]
    assert (new["restartCount"], new["state"]["running"]["startedAt"], after["startTime"]) == (1, LATER, NOW)


def test_only_the_host_network_works_on_a_dpu() -> None:
    dpu, other = node(**{DPU_NODE_LABEL: ""}), node()
    given = [(pod(), dpu), (pod(hostNetwork=True), dpu), (pod(), other)]
    assert [kubelet.may_run(each, where) for each, where in given] == [False, True, True]


def test_a_pod_that_runs_when_its_node_becomes_a_dpu_keeps_running() -> None:
    made = {**pod(), "status": {"phase": "Running"}}
    assert kubelet.may_run(made, node(**{DPU_NODE_LABEL: ""}))


def test_the_next_boot_of_a_state_is_always_the_same_one() -> None:
    first = kubelet.next_boot_id(node(""))
    assert first == kubelet.next_boot_id(node(""))
    assert len({first, kubelet.next_boot_id(node(first)), kubelet.next_boot_id(node("boot-1"))}) == 3


def test_a_beat_keeps_the_time_of_transition() -> None:
    before = {"status": kubelet.node_status(node(), "boot-1", True, {}, NOW)}
    [ready] = kubelet.node_status(node(), "boot-1", True, before, LATER)["conditions"]
    [down] = kubelet.node_status(node(), "boot-1", False, before, LATER)["conditions"]
    assert (ready["lastHeartbeatTime"], ready["lastTransitionTime"]) == (LATER, NOW)
    assert (down["status"], down["lastTransitionTime"]) == ("False", LATER)


def test_a_daemons_pod_says_which_node_it_is_for() -> None:
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    assert kubelet.daemon_target(pod(affinity={"nodeAffinity": required})) == "n"
    assert kubelet.daemon_target(pod()) is None


def test_addresses_of_many_nodes_differ() -> None:
    assert len({kubelet.address(f"node-{number}") for number in range(1000)}) > 990


def test_a_drain_leaves_daemons_static_and_ended_pods() -> None:
    def named(name: str, **metadata: Any) -> dict[str, Any]:
        return {"metadata": {"name": name, **metadata}, "spec": {}, "status": {"phase": "Running"}}

    daemons = named("daemon", ownerReferences=[{"kind": "DaemonSet", "name": "d", "controller": True}])
    static = named("static", annotations={"kubernetes.io/config.mirror": "x"})
    replica = named("replica", ownerReferences=[{"kind": "ReplicaSet", "name": "r", "controller": True}])
    ended = {**named("ended"), "status": {"phase": "Succeeded"}}
    pods = [daemons, static, replica, ended, named("bare")]
    assert [each["metadata"]["name"] for each in drainable(pods)] == ["replica", "bare"]


class Processes:
    """A runtime whose containers are as a test says; it runs every pod and takes notes."""

    def __init__(self) -> None:
        self.ready = {"a": False, "b": True}
        self.has_ended = False
        self.boots: list[str] = []
        self.off: list[str] = []

    def runs(self, _: object) -> bool:
        return True

    def sync(self, _: object, boot: str) -> list[ContainerState]:
        self.boots.append(boot)
        return [ContainerState(name, f"cri-o://{name}", ready, 0, NOW) for name, ready in self.ready.items()]

    def end(self, _: object) -> bool:
        return self.has_ended

    def power_off(self, node: str) -> None:
        self.off.append(node)


class RunningBench(StandInEngine):
    """A `StandInEngine` that takes notes of what the kubelet writes."""

    def __init__(self) -> None:
        super().__init__()
        self.status: dict[str, Any] = {}
        self.ended: list[str] = []
        self.clock = RealClock()
        self.client.apply_status = lambda *_: None

    def apply_status(self, _: object, __: object, status: dict[str, Any], *___: object) -> None:
        self.status = status

    def end_pod(self, pod: dict[str, Any]) -> None:
        self.ended.append(pod["metadata"]["name"])


def run_by(runtime: Processes, status: str = "True") -> tuple[RunningBench, Callable[[Key], float | None]]:
    engine, stand_in = RunningBench(), kubelet.Kubelet(runtime=runtime)
    stand_in.attach(cast(Any, engine), lambda _: None)
    engine.shown["pods"]["p"] = pod(hostNetwork=True, nodeName="n")
    engine.shown["nodes"]["n"] = node()
    engine.shown["nodes"]["n"]["status"]["conditions"] = [{"type": "Ready", "status": status}]
    return engine, lambda key: stand_in.reconcile(key, Stop())


def is_ready(status: dict[str, Any]) -> str:
    return next(str(each["status"]) for each in status["conditions"] if each["type"] == "Ready")


def test_a_pod_that_is_run_is_as_ready_as_all_its_processes_are() -> None:
    runtime, key = Processes(), Key("tenant", "ns", "p")
    engine, reconcile = run_by(runtime)
    assert reconcile(key) is not None  # it looks again
    assert (is_ready(engine.status), [each["ready"] for each in engine.status["containerStatuses"]]) == (
        "False",
        [False, True],
    )
    runtime.ready["a"] = True
    reconcile(key)
    assert (is_ready(engine.status), runtime.boots) == ("True", ["boot-1", "boot-1"])


def test_a_pod_that_is_run_goes_when_its_processes_have_ended_and_no_sooner() -> None:
    runtime, key = Processes(), Key("tenant", "ns", "p")
    engine, reconcile = run_by(runtime)
    engine.shown["pods"]["p"]["metadata"]["deletionTimestamp"] = NOW
    assert (reconcile(key) is not None, engine.ended) == (True, [])
    runtime.has_ended = True
    assert (reconcile(key), engine.ended, runtime.boots) == (None, ["p"], [])


def test_a_node_that_reboots_runs_nothing_and_its_pods_are_not_ready() -> None:
    runtime = Processes()
    engine, reconcile = run_by(runtime, "False")
    engine.shown["pods"]["p"]["status"] = {"containerStatuses": [{"name": "a", "ready": True}]}
    engine.shown["nodes"]["n"]["metadata"]["annotations"] = {kubelet.REBOOT_ANNOTATION: "boot-1"}
    reconcile(Key("tenant", "", "n"))
    reconcile(Key("tenant", "ns", "p"))
    assert (runtime.off, runtime.boots, is_ready(engine.status)) == (["n"], [], "False")
    assert engine.status["containerStatuses"] == [{"name": "a", "ready": False}]


def test_the_boot_of_a_node_is_read_off_what_a_cache_keeps_of_it() -> None:
    kept = strip_node()(node("boot-1"))
    assert kubelet.boot_id(kept) == kubelet.boot_id(node("boot-1")) == "boot-1"
    assert kubelet.next_boot_id(kept) == kubelet.next_boot_id(node("boot-1"))
