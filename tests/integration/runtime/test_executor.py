"""The executor against a real API server: every kind of object that we write, and everyone else who writes it."""

from __future__ import annotations

import contextlib
import copy
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dpunetop.app.assets import host_assets
from dpunetop.base.clock import RealClock
from dpunetop.base.stop import Stop
from dpunetop.domain.hostconfig.machineconfig import machine_config, machine_config_pool
from dpunetop.domain.names import DPUCLUSTERCONFIGS, MACHINECONFIGPOOLS, MACHINECONFIGS
from dpunetop.kube.conditions import Condition
from dpunetop.kube.errors import Conflict, NotFound
from dpunetop.kube.fieldsets import projection
from dpunetop.kube.keys import CONFIGMAPS, DAEMONSETS, INFRA, NODES, SECRETS, SERVICEACCOUNTS, Resource
from dpunetop.kube.meta import new_object, owner_reference, version_of
from dpunetop.kube.plan import Apply, ApplyStatus, Delete, Fence, Ownership, Patch, Plan, Step
from dpunetop.runtime.cache.transform import strip_foreign_managed_fields
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.client.kubeconfig import infra_connection
from dpunetop.runtime.client.transport import Transport
from dpunetop.runtime.election.gate import OpenGate
from dpunetop.runtime.events import EventRecorder
from dpunetop.runtime.executor import Executed, Executor
from dpunetop.runtime.metrics import Metrics
from dpunetop.sandbox.controlplane import ControlPlane

Obj = dict[str, Any]
ROOT = Path(__file__).parents[3]
CRDS = (
    ROOT / "config" / "crd" / "dpu.openshift.io_dpuclusterconfigs.yaml",
    ROOT / "src" / "dpunetop" / "sandbox" / "crds" / "machineconfiguration.yaml",
)
US = "dpunetop-test"


class World:
    """One executor on the infra cluster, what it sent, and the admin as everyone else."""

    def __init__(self, infra: ControlPlane, namespace: str, stop: Stop) -> None:
        self.admin = infra.admin
        self.namespace = namespace
        self.metrics = Metrics()
        clock, metrics = RealClock(), self.metrics.client("infra")
        connection = infra_connection(str(infra.admin_kubeconfig))
        transport = Transport(connection, stop, user_agent="dpunetop-test", metrics=metrics, clock=clock)
        self.client = Client(transport, clock=clock, metrics=metrics, name=INFRA)
        self.recorder = EventRecorder(lambda _: self.client, "dpunetop", clock, instance="test")
        self.executor = self.new_executor()

    def new_executor(self) -> Executor:
        """One that remembers nothing, as after a restart."""
        return Executor(lambda _: self.client, OpenGate(), self.recorder, RealClock())

    def execute(self, *steps: Step) -> bool:
        return Executed.WROTE in self.executor.execute(Plan(steps), Stop())

    def sent(self) -> int:
        """How many requests there have been."""
        families = [f for f in self.metrics.registry.collect() if f.name == "rest_client_requests"]
        return int(sum(s.value for f in families for s in f.samples if s.name.endswith("_total")))

    def apply_whole(self, wanted: Obj) -> Obj:
        """Apply an object that is ours alone to what lives, once more after a conflict; as it lives then.

        What is claimed after managedFields were cleared carries a version, and the DaemonSet controller writes the
        status meanwhile: the work queue tries again, and so does this.
        """
        while True:
            live = strip_foreign_managed_fields()(self.live(DAEMONSETS, wanted))
            with contextlib.suppress(Conflict):
                self.execute(Apply(INFRA, DAEMONSETS, wanted, live, US, ownership=Ownership.WHOLE))
                return self.live(DAEMONSETS, wanted)

    def live(self, resource: Resource, desired: Obj) -> Obj:
        metadata = desired["metadata"]
        return self.client.get(resource, metadata.get("namespace", ""), metadata["name"])


@pytest.fixture(scope="module")
def served(infra: ControlPlane) -> ControlPlane:
    for file in CRDS:
        infra.apply(file)
    return infra


@pytest.fixture
def world(served: ControlPlane, namespace: str) -> Iterator[World]:
    stop = Stop()
    yield World(served, namespace, stop)
    stop.set()


def daemonset(namespace: str, name: str = "d") -> Obj:
    probe = {"exec": {"command": ["/bin/true"]}, "initialDelaySeconds": 15, "periodSeconds": 30}
    node_name = {"name": "NODE", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}}
    container = {
        "name": "node",
        "image": "registry.example/ovn:1",
        "command": ["/bin/bash", "-c", "true"],
        "env": [{"name": "A", "value": "1"}, node_name],
        "ports": [{"name": "metrics", "containerPort": 29103}],
        "resources": {"requests": {"cpu": "10m", "memory": "300Mi"}},
        "securityContext": {"privileged": True},
        "livenessProbe": probe,
        "volumeMounts": [
            {"name": "host", "mountPath": "/host", "mountPropagation": "HostToContainer"},
            {"name": "conf", "mountPath": "/conf", "readOnly": True},
        ],
    }
    pod = {
        "hostNetwork": True,
        "hostPID": True,
        "serviceAccountName": "s",
        "priorityClassName": "system-node-critical",
        "dnsPolicy": "Default",
        "containers": [container, {"name": "controller", "image": "registry.example/ovn:1"}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "dpu", "operator": "Exists"}]}]
                }
            }
        },
        "tolerations": [{"operator": "Exists"}],
        "volumes": [
            {"name": "host", "hostPath": {"path": "/", "type": ""}},
            {"name": "conf", "configMap": {"name": "m"}},
        ],
    }
    return new_object(
        DAEMONSETS,
        namespace,
        name,
        spec={
            "selector": {"matchLabels": {"app": name}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "33%"}},
            "template": {"metadata": {"labels": {"app": name}, "annotations": {"hash": "1"}}, "spec": pod},
        },
    )


def secret(namespace: str) -> Obj:
    return new_object(SECRETS, namespace, "x", type="Opaque", data={"tls.crt": "YQ==", "tls.key": "Yg=="})


def config(namespace: str) -> Obj:
    selector = {"matchLabels": {"node-role.kubernetes.io/dpu-worker": ""}}
    obj = new_object(DPUCLUSTERCONFIGS, namespace, "c", spec={"poolName": "dpu", "nodeSelector": selector})
    obj["metadata"]["finalizers"] = ["dpu.openshift.io/teardown"]
    return obj


def pool(namespace: str) -> Obj:
    return machine_config_pool(namespace, {"matchLabels": {"node-role.kubernetes.io/dpu-worker": ""}}, "0123")


def annotated_node(namespace: str) -> Obj:
    obj = new_object(NODES, "", namespace)
    obj["metadata"]["annotations"] = {"dpu.openshift.io/cordoned-before": "no"}
    return obj


def config_map(namespace: str) -> Obj:
    obj = new_object(CONFIGMAPS, namespace, "m", data={"a": "1", "b": ""})
    obj["metadata"]["labels"] = {"dpu.openshift.io/owner": "0123"}
    return obj


def service_account(namespace: str) -> Obj:
    obj = new_object(SERVICEACCOUNTS, namespace, "s")
    obj["metadata"]["labels"] = {"dpu.openshift.io/owner": "0123"}
    return obj


# Each kind: its resource, what we want, and what someone else does to a member of ours (merge patch).
KINDS: dict[str, tuple[Resource, Callable[[str], Obj], Obj]] = {
    "ConfigMap": (CONFIGMAPS, config_map, {"data": {"a": "2"}}),
    "ConfigMap, member taken": (CONFIGMAPS, config_map, {"data": {"b": None}}),
    "ConfigMap, label taken": (CONFIGMAPS, config_map, {"metadata": {"labels": None}}),
    "Secret": (SECRETS, secret, {"data": {"tls.key": "Yw=="}}),
    "ServiceAccount": (SERVICEACCOUNTS, service_account, {"metadata": {"labels": {"dpu.openshift.io/owner": "x"}}}),
    "DaemonSet": (DAEMONSETS, daemonset, {"spec": {"template": {"spec": {"hostPID": False}}}}),
    "DaemonSet, containers replaced": (
        DAEMONSETS,
        daemonset,
        {"spec": {"template": {"spec": {"containers": [{"name": "node", "image": "evil"}]}}}},
    ),
    "DaemonSet, tolerations replaced": (
        DAEMONSETS,
        daemonset,
        {"spec": {"template": {"spec": {"tolerations": [{"key": "a", "operator": "Exists"}]}}}},
    ),
    "MachineConfig": (
        MACHINECONFIGS,
        lambda namespace: machine_config(namespace, host_assets(), "0123"),
        {"spec": {"config": {"ignition": {"version": "3.1.0"}}}},
    ),
    "MachineConfigPool": (MACHINECONFIGPOOLS, pool, {"spec": {"nodeSelector": {"matchLabels": {"other": ""}}}}),
    "DpuClusterConfig": (DPUCLUSTERCONFIGS, config, {"metadata": {"finalizers": []}}),
    "Node": (NODES, annotated_node, {"metadata": {"annotations": {"dpu.openshift.io/cordoned-before": "yes"}}}),
}
EACH_KIND = pytest.mark.parametrize(("resource", "build", "meddling"), KINDS.values(), ids=KINDS.keys())


def apply(resource: Resource, desired: Obj, live: Obj | None, fence: Fence = Fence.UID) -> Apply:
    return Apply(INFRA, resource, desired, live, US, fence)


@EACH_KIND
def test_an_applied_object_needs_no_second_request(
    world: World, resource: Resource, build: Callable[[str], Obj], meddling: Obj
) -> None:
    desired = build(world.namespace)
    assert world.execute(apply(resource, desired, None))
    live = world.live(resource, desired)
    before = world.sent()
    assert not world.execute(apply(resource, desired, live))
    assert not world.new_executor().execute(Plan((apply(resource, desired, live),)), Stop())
    assert world.sent() == before


@EACH_KIND
def test_what_others_do_to_our_members_is_healed_by_one_apply(
    world: World, resource: Resource, build: Callable[[str], Obj], meddling: Obj
) -> None:
    desired = build(world.namespace)
    world.execute(apply(resource, desired, None))
    as_applied = world.live(resource, desired)
    world.admin.patch(world.admin.path_of(desired), meddling)
    assert world.execute(apply(resource, desired, world.live(resource, desired)))
    healed = world.live(resource, desired)
    assert projection(healed, US) == projection(as_applied, US)
    assert not world.execute(apply(resource, desired, healed))


@EACH_KIND
def test_changes_of_members_that_we_do_not_own_cause_no_write(
    world: World, resource: Resource, build: Callable[[str], Obj], meddling: Obj
) -> None:
    desired = build(world.namespace)
    world.execute(apply(resource, desired, None))
    others = {"metadata": {"labels": {"someone": "else"}, "annotations": {"any": "thing"}}}
    world.admin.patch(world.admin.path_of(desired), others)
    live = world.live(resource, desired)
    assert not world.execute(apply(resource, desired, live))
    assert live["metadata"]["labels"]["someone"] == "else"


def test_our_items_are_put_back_into_order_with_those_of_others_among_them(world: World) -> None:
    desired = daemonset(world.namespace)
    world.execute(apply(DAEMONSETS, desired, None))
    foreign = copy.deepcopy(world.live(DAEMONSETS, desired))
    env = foreign["spec"]["template"]["spec"]["containers"][0]["env"]
    foreign["spec"]["template"]["spec"]["containers"][0]["env"] = [env[1], {"name": "F", "value": "f"}, env[0]]
    del foreign["metadata"]["resourceVersion"]  # the DaemonSet controller writes its status meanwhile
    world.admin.replace(world.admin.path_of(desired), foreign)
    assert world.execute(apply(DAEMONSETS, desired, world.live(DAEMONSETS, desired)))
    healed = world.live(DAEMONSETS, desired)
    names = [item["name"] for item in healed["spec"]["template"]["spec"]["containers"][0]["env"]]
    assert [name for name in names if name != "F"] == ["A", "NODE"]
    assert "F" in names
    assert not world.execute(apply(DAEMONSETS, desired, healed))


def test_a_member_that_is_no_longer_wanted_is_given_up(world: World) -> None:
    desired = config_map(world.namespace)
    world.execute(apply(CONFIGMAPS, desired, None))
    del desired["data"]["b"]
    assert world.execute(apply(CONFIGMAPS, desired, world.live(CONFIGMAPS, desired)))
    assert world.live(CONFIGMAPS, desired)["data"] == {"a": "1"}


def test_owner_references_and_finalizers_of_others_stay(world: World) -> None:
    owner = world.admin.apply(config(world.namespace))[0]
    desired = config_map(world.namespace)
    desired["metadata"]["ownerReferences"] = [owner_reference(DPUCLUSTERCONFIGS, owner)]
    world.execute(apply(CONFIGMAPS, desired, None))
    world.admin.patch(world.admin.path_of(desired), {"metadata": {"finalizers": ["example.org/other"]}})
    live = world.live(CONFIGMAPS, desired)
    assert not world.execute(apply(CONFIGMAPS, desired, live))
    assert live["metadata"]["finalizers"] == ["example.org/other"]
    world.admin.patch(world.admin.path_of(desired), {"metadata": {"finalizers": []}})


@pytest.mark.parametrize("resource", [CONFIGMAPS, SECRETS, SERVICEACCOUNTS, DAEMONSETS, MACHINECONFIGPOOLS])
def test_the_first_write_does_not_touch_what_is_there_already(world: World, resource: Resource) -> None:
    builders = {res: build for res, build, _ in KINDS.values()}
    desired = builders[resource](world.namespace)
    foreign = copy.deepcopy(desired)
    foreign["metadata"]["labels"] = {"someone": "else"}
    world.admin.apply(foreign)
    with pytest.raises(Conflict):
        world.execute(apply(resource, desired, None))
    live = world.live(resource, desired)
    assert US not in [entry["manager"] for entry in live["metadata"]["managedFields"]]
    assert live["metadata"]["labels"] == {"someone": "else"}


def recreated(world: World, desired: Obj) -> Obj:
    """Someone deletes the object and makes another of its name."""
    path = world.admin.path_of(desired)
    world.admin.delete(path)
    world.admin.wait_for(path, lambda seen: not seen)
    return world.admin.apply({**desired, "metadata": {**desired["metadata"], "labels": {"another": "one"}}})[0]


def test_another_object_of_the_same_name_is_not_changed(world: World) -> None:
    desired = config_map(world.namespace)
    world.execute(apply(CONFIGMAPS, desired, None))
    stale = world.live(CONFIGMAPS, desired)
    another = recreated(world, desired)
    wanted = config_map(world.namespace)
    wanted["data"]["a"] = "2"
    for step in (
        apply(CONFIGMAPS, wanted, stale),
        apply(CONFIGMAPS, wanted, stale, Fence.VERSION),
        Patch(INFRA, CONFIGMAPS, stale, {"data": {"a": "2"}}),
        Delete(INFRA, CONFIGMAPS, stale),
    ):
        with pytest.raises(Conflict):
            world.new_executor().execute(Plan((step,)), Stop())
    assert version_of(world.live(CONFIGMAPS, desired)) == version_of(another)


def test_a_deleted_object_is_not_recreated_from_a_stale_cache(world: World) -> None:
    desired = config_map(world.namespace)
    world.execute(apply(CONFIGMAPS, desired, None))
    stale = world.live(CONFIGMAPS, desired)
    world.admin.delete(world.admin.path_of(desired))
    wanted = config_map(world.namespace)
    wanted["data"]["a"] = "2"
    with pytest.raises(Conflict):
        world.execute(apply(CONFIGMAPS, wanted, stale))
    with pytest.raises(Conflict):
        world.execute(apply(CONFIGMAPS, wanted, stale, Fence.VERSION))
    with pytest.raises(NotFound):
        world.execute(Patch(INFRA, CONFIGMAPS, stale, {"data": {"a": "2"}}))
    assert not world.execute(Delete(INFRA, CONFIGMAPS, stale))


def test_a_fence_holds_against_any_change_that_was_not_seen(world: World) -> None:
    desired = config_map(world.namespace)
    world.execute(apply(CONFIGMAPS, desired, None))
    stale = world.live(CONFIGMAPS, desired)
    world.admin.patch(world.admin.path_of(desired), {"data": {"other": "x"}})
    wanted = config_map(world.namespace)
    wanted["data"]["a"] = "2"
    for step in (
        apply(CONFIGMAPS, wanted, stale, Fence.VERSION),
        Patch(INFRA, CONFIGMAPS, stale, {"data": {"a": "2"}}),
        Delete(INFRA, CONFIGMAPS, stale, Fence.VERSION),
    ):
        with pytest.raises(Conflict):
            world.new_executor().execute(Plan((step,)), Stop())
    assert world.execute(apply(CONFIGMAPS, wanted, stale))


def ready(live: Obj, status: Any = "True", type_: str = "Ready", manager: str = US, **members: Any) -> ApplyStatus:
    condition = Condition(type_, status, "Good", "")
    return ApplyStatus(INFRA, DPUCLUSTERCONFIGS, live, (condition,), manager, members)


def test_a_status_is_written_once_and_keeps_its_time(world: World) -> None:
    live = world.admin.apply(config(world.namespace))[0]
    assert world.execute(ready(live))
    written = world.live(DPUCLUSTERCONFIGS, live)
    before = world.sent()
    assert not world.execute(ready(written))
    assert not world.new_executor().execute(Plan((ready(written),)), Stop())
    assert world.sent() == before
    assert written["status"]["conditions"][0]["observedGeneration"] == 1


def test_each_controller_owns_its_condition_and_no_other(world: World) -> None:
    live = world.admin.apply(config(world.namespace))[0]
    world.execute(ready(live), ready(live, type_="McpReady", manager="dpunetop-hostconfig"))
    written = world.live(DPUCLUSTERCONFIGS, live)
    assert [c["type"] for c in written["status"]["conditions"]] == ["Ready", "McpReady"]
    assert not world.execute(ready(written), ready(written, type_="McpReady", manager="dpunetop-hostconfig"))
    assert world.execute(ready(written, "False", type_="McpReady", manager="dpunetop-hostconfig"))
    turned = world.live(DPUCLUSTERCONFIGS, live)
    assert {c["type"]: c["status"] for c in turned["status"]["conditions"]} == {"Ready": "True", "McpReady": "False"}


def test_controllers_that_write_one_status_at_once_all_succeed(world: World) -> None:
    live = world.admin.apply(config(world.namespace))[0]
    failed: list[Exception] = []

    def write(number: int) -> None:
        step = ready(live, type_=f"C{number}", manager=f"dpunetop-{number}")
        try:
            world.new_executor().execute(Plan((step,)), Stop())
        except Conflict as err:
            failed.append(err)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failed == []
    assert {c["type"] for c in world.live(DPUCLUSTERCONFIGS, live)["status"]["conditions"]} == {"C0", "C1", "C2"}


def test_a_condition_that_someone_turned_is_turned_back(world: World) -> None:
    live = world.admin.apply(config(world.namespace))[0]
    world.execute(ready(live))
    written = world.live(DPUCLUSTERCONFIGS, live)
    lie = copy.deepcopy(written)
    lie["status"]["conditions"][0]["status"] = "False"
    world.admin.replace(world.admin.path_of(live) + "/status", lie)
    assert world.execute(ready(world.live(DPUCLUSTERCONFIGS, live)))
    assert world.live(DPUCLUSTERCONFIGS, live)["status"]["conditions"][0]["status"] == "True"


def test_the_status_of_another_object_is_not_written(world: World) -> None:
    desired = config(world.namespace)
    del desired["metadata"]["finalizers"]
    stale = world.admin.apply(desired)[0]
    another = recreated(world, desired)
    with pytest.raises(Conflict):
        world.execute(ready(stale))
    assert (
        world.live(DPUCLUSTERCONFIGS, desired)["metadata"]["resourceVersion"] == another["metadata"]["resourceVersion"]
    )


def test_the_status_of_what_is_gone_is_not_written(world: World) -> None:
    desired = config(world.namespace)
    del desired["metadata"]["finalizers"]
    stale = world.admin.apply(desired)[0]
    world.admin.delete(world.admin.path_of(desired))
    with pytest.raises((NotFound, Conflict)):
        world.execute(ready(stale))
    assert world.admin.get_or_empty(world.admin.path_of(desired)) == {}


def test_a_value_that_the_server_normalizes_is_written_once(world: World) -> None:
    desired = daemonset(world.namespace)
    resources = {"requests": {"cpu": "0.3", "memory": "0.5Gi"}}
    desired["spec"]["template"]["spec"]["containers"][0]["resources"] = resources
    world.execute(apply(DAEMONSETS, desired, None))
    before = world.sent()
    world.admin.patch(world.admin.path_of(desired), {"metadata": {"labels": {"someone": "else"}}})
    live = world.live(DAEMONSETS, desired)
    assert not world.execute(apply(DAEMONSETS, desired, live))
    assert world.sent() == before + 1
    world.admin.patch(world.admin.path_of(desired), {"spec": {"template": {"spec": {"hostPID": False}}}})
    assert world.execute(apply(DAEMONSETS, desired, world.live(DAEMONSETS, desired)))


def mutation(namespace: str) -> list[Obj]:
    """An admission policy that has its own idea of a member of ours."""
    api = {"apiVersion": "admissionregistration.k8s.io/v1"}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}
    change = "Object{data: {'a': 'mutated'}}"
    policy = {
        "matchConstraints": {"resourceRules": [rule]},
        "reinvocationPolicy": "Never",
        "failurePolicy": "Fail",
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": change}}],
    }
    selector = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    return [
        {**api, "kind": "MutatingAdmissionPolicy", "metadata": {"name": namespace}, "spec": policy},
        {
            **api,
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": namespace},
            "spec": {"policyName": namespace, "matchResources": selector},
        },
    ]


def test_a_member_that_admission_rewrites_is_not_written_again_and_again(world: World) -> None:
    policy = mutation(world.namespace)
    try:
        world.admin.apply(policy)
        trial = new_object(CONFIGMAPS, world.namespace, "trial", data={"a": "1"})
        path = world.admin.path_of(trial)
        deadline, number = time.monotonic() + 60.0, 0
        while world.admin.apply_at(path, trial)["data"]["a"] != "mutated":
            assert time.monotonic() < deadline, "the policy is not in force"
            number += 1
            trial["data"]["n"] = str(number)
        desired = config_map(world.namespace)
        writes = [world.execute(apply(CONFIGMAPS, desired, None))]
        for _ in range(5):
            writes.append(world.execute(apply(CONFIGMAPS, desired, world.live(CONFIGMAPS, desired))))
        assert world.live(CONFIGMAPS, desired)["data"]["a"] == "mutated"
        assert sum(writes) <= 2
        assert not writes[-1]
    finally:
        for obj in policy:
            world.admin.delete(world.admin.path_of(obj))


def env_and_volumes(live: Obj) -> tuple[list[str], list[str]]:
    pod = live["spec"]["template"]["spec"]
    return [each["name"] for each in pod["containers"][0]["env"]], [each["name"] for each in pod["volumes"]]


def upgraded(desired: Obj) -> Obj:
    """As the next version wants it: without an env var, a volume and its mount."""
    newer = copy.deepcopy(desired)
    pod = newer["spec"]["template"]["spec"]
    pod["containers"][0]["env"] = pod["containers"][0]["env"][1:]
    pod["containers"][0]["volumeMounts"] = pod["containers"][0]["volumeMounts"][:1]
    pod["volumes"] = pod["volumes"][:1]
    return newer


def clear(world: World, resource: Resource, live: Obj) -> Obj:
    """As `kubectl replace` of an object without them, or a backup that does not keep them."""
    metadata: Obj = {"managedFields": [{}]}
    cleared = world.client.merge_patch(
        resource, live["metadata"].get("namespace", ""), live["metadata"]["name"], {"metadata": metadata}, "kubectl"
    )
    assert "managedFields" not in cleared["metadata"]
    return cleared


@pytest.mark.parametrize("when", ["before the upgrade", "before a pass of the old version"])
def test_what_an_upgrade_gives_up_goes_although_managed_fields_were_cleared(world: World, when: str) -> None:
    desired = daemonset(world.namespace)
    newer = upgraded(desired)
    world.execute(Apply(INFRA, DAEMONSETS, desired, None, US))
    clear(world, DAEMONSETS, world.live(DAEMONSETS, desired))
    if when != "before the upgrade":
        assert env_and_volumes(world.apply_whole(desired)) == (["A", "NODE"], ["host", "conf"])
    assert env_and_volumes(world.apply_whole(newer)) == (["NODE"], ["host"])
    sent = world.sent()
    live = world.apply_whole(newer)
    assert world.sent() == sent + 2  # the two reads of this test
    assert [each["manager"] for each in live["metadata"]["managedFields"] if "f:spec" in each["fieldsV1"]] == [US]


def test_of_a_shared_object_only_what_we_list_is_ours_after_managed_fields_were_cleared(world: World) -> None:
    desired = new_object(CONFIGMAPS, world.namespace, "m", data={"ours": "1", "more": "1"})
    fewer = new_object(CONFIGMAPS, world.namespace, "m", data={"ours": "1"})
    world.execute(Apply(INFRA, CONFIGMAPS, desired, None, US))
    world.client.merge_patch(CONFIGMAPS, world.namespace, "m", {"data": {"theirs": "1"}}, "somebody")
    clear(world, CONFIGMAPS, world.live(CONFIGMAPS, desired))
    for wanted, found in ((desired, {"ours", "more", "theirs"}), (fewer, {"ours", "theirs"})):
        live = strip_foreign_managed_fields()(world.live(CONFIGMAPS, desired))
        world.execute(Apply(INFRA, CONFIGMAPS, wanted, live, US))
        assert set(world.live(CONFIGMAPS, desired)["data"]) == found


def test_a_condition_that_we_give_up_goes_although_managed_fields_were_cleared(world: World) -> None:
    config = new_object(DPUCLUSTERCONFIGS, world.namespace, "c", spec={"poolName": "p"})
    world.execute(Apply(INFRA, DPUCLUSTERCONFIGS, config, None, US))
    first, second = (Condition(type_, "True", "Fine", "") for type_ in ("First", "Second"))

    def say(*conditions: Condition) -> list[str]:
        live = strip_foreign_managed_fields()(world.live(DPUCLUSTERCONFIGS, config))
        world.execute(ApplyStatus(INFRA, DPUCLUSTERCONFIGS, live, conditions, US))
        return [each["type"] for each in world.live(DPUCLUSTERCONFIGS, config)["status"]["conditions"]]

    say(first, second)
    clear(world, DPUCLUSTERCONFIGS, world.live(DPUCLUSTERCONFIGS, config))
    assert say(first, second) == ["First", "Second"]
    assert say(first) == ["First"]
