from __future__ import annotations

from typing import Any

import pytest

from dpunetop.base import jsonio
from dpunetop.domain.drain.model.readers import is_ovn_pod
from dpunetop.kube.compact import ADDRESSES, BOOT_ID, CONTAINER_IDS, NODE_NAME
from dpunetop.kube.fieldsets import BEFORE_FIRST_APPLY, projection_digest, would_change
from dpunetop.kube.meta import Obj, name_of
from dpunetop.runtime.cache.transform import (
    bare_lease,
    bare_node,
    bare_pod,
    own_digest,
    own_spec,
    strip_foreign_managed_fields,
    strip_node,
    strip_status,
)


def entry(manager: str) -> dict[str, Any]:
    return {"manager": manager, "operation": "Apply", "fieldsV1": {"f:data": {}}}


def test_only_our_own_managed_fields_are_kept() -> None:
    ours = {**entry("dpunetop-ovnkube"), "fieldsType": "FieldsV1", "time": "2026-01-01T00:00:00Z"}
    metadata = {"name": "a", "managedFields": [entry("kubectl"), ours]}
    kept = strip_foreign_managed_fields()({"metadata": metadata, "data": {"k": "v"}})
    assert kept == {"metadata": {"name": "a", "managedFields": [entry("dpunetop-ovnkube")]}, "data": {"k": "v"}}


def test_managed_fields_of_others_alone_leave_no_member_behind() -> None:
    kept = strip_foreign_managed_fields()({"metadata": {"name": "a", "managedFields": [entry("kubectl")]}})
    assert kept == {"metadata": {"name": "a"}}
    assert strip_foreign_managed_fields()({"metadata": {"name": "a"}}) == {"metadata": {"name": "a"}}


def test_how_far_an_object_is_can_be_left_out() -> None:
    metadata = {"name": "a", "managedFields": [entry("kubectl"), entry("dpunetop-drain")]}
    kept = strip_status()({"metadata": metadata, "spec": {"replicas": 1}, "status": {"replicas": 1}})
    assert kept == {"metadata": {"name": "a", "managedFields": [entry("dpunetop-drain")]}, "spec": {"replicas": 1}}


def deployment(*managers: str) -> dict[str, Any]:
    """Of which the managers own all that `desired` wants, as the server shows it."""
    containers = [{"name": "c", "image": "i", "imagePullPolicy": "Always"}, {"name": "injected", "image": "j"}]
    fields: dict[str, Any] = {
        "f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {'k:{"name":"c"}': {".": {}}}}}}
    }
    fields["f:spec"]["f:template"]["f:spec"]["f:containers"]['k:{"name":"c"}'] |= {"f:name": {}, "f:image": {}}
    entries = [{"manager": m, "operation": "Apply", "apiVersion": "apps/v1", "fieldsV1": fields} for m in managers]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "managedFields": entries},
        "spec": {"replicas": 1, "paused": True, "template": {"spec": {"containers": containers, "dnsPolicy": "None"}}},
        "status": {"replicas": 1},
    }


def desired(**members: Any) -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 1, "template": template, **members}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}


def test_of_a_spec_what_we_own_is_enough_to_see_whether_an_apply_would_change_it() -> None:
    kept = own_spec()(deployment("dpunetop-drain"))
    assert kept["spec"] == desired()["spec"]
    assert "status" not in kept
    assert not would_change(desired(), kept, "dpunetop-drain")
    assert would_change(desired(replicas=2), kept, "dpunetop-drain")
    assert would_change(desired(paused=True), kept, "dpunetop-drain")


@pytest.mark.parametrize("managers", [(), ("dpunetop-drain", "dpunetop-other")], ids=["nobody", "several"])
def test_a_spec_that_not_one_of_us_alone_owns_is_kept_whole(managers: tuple[str, ...]) -> None:
    assert own_spec()(deployment(*managers))["spec"] == deployment()["spec"]


def with_labels(obj: dict[str, Any]) -> dict[str, Any]:
    obj["metadata"]["labels"] = {"app": "d", "foreign": "x"}
    for each in obj["metadata"].get("managedFields", ()):
        each["fieldsV1"] = {**each["fieldsV1"], "f:metadata": {"f:labels": {"f:app": {}}}}
    return obj


def wanted(**members: Any) -> dict[str, Any]:
    obj = desired(**members)
    obj["metadata"]["labels"] = {"app": "d"}
    return obj


@pytest.mark.parametrize(
    "asked",
    [
        wanted(),
        wanted(replicas=2),
        wanted(paused=True),
        wanted(template={"spec": {"containers": [{"name": "c", "image": "k"}]}}),
        wanted(template={"spec": {"containers": []}}),
        {**wanted(), "apiVersion": "apps/v2"},
        desired(),
    ],
)
@pytest.mark.parametrize(("manager", "subresource"), [("dpunetop-drain", ""), ("dpunetop-drain", "status"), ("x", "")])
def test_a_digest_of_what_we_own_says_as_well_whether_an_apply_would_change_it(
    asked: Obj, manager: str, subresource: str
) -> None:
    whole = with_labels(deployment("dpunetop-drain"))
    kept = own_digest(("app",), {"called": name_of})(with_labels(deployment("dpunetop-drain")))
    assert "spec" not in kept
    assert "managedFields" not in kept["metadata"]
    assert kept["metadata"]["labels"] == {"app": whole["metadata"]["labels"]["app"]}
    assert kept["called"] == "d"
    assert would_change(asked, kept, manager, subresource) == would_change(asked, whole, manager, subresource)
    assert projection_digest(kept, manager, subresource) == projection_digest(whole, manager, subresource)


def test_what_a_digest_would_not_tell_is_kept_whole() -> None:
    before = {"manager": BEFORE_FIRST_APPLY, "operation": "Update", "apiVersion": "apps/v1", "fieldsV1": {"f:spec": {}}}
    shadowed = deployment("dpunetop-drain")
    shadowed["metadata"]["managedFields"].append(before)
    unowned = deployment("dpunetop-drain")
    del unowned["spec"]["replicas"]
    for each in (shadowed, unowned, deployment(), deployment("dpunetop-drain", "dpunetop-other")):
        same = jsonio.deep_copy(each)
        assert own_digest((), {"called": name_of})(each) == own_spec()(same)


def test_of_a_pod_remains_where_it_runs_whether_it_is_ready_and_its_containers() -> None:
    metadata = {"name": "p", "namespace": "ns", "uid": "u", "resourceVersion": "7", "labels": {"app": "x"}}
    ready, seen = {"type": "Ready", "status": "True"}, "2026-01-01T00:00:00Z"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**metadata, "annotations": {"hash": "1", "large": "x"}, "managedFields": [entry("kubelet")]},
        "spec": {"nodeName": "n", "containers": [{"name": "c"}], "volumes": []},
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.1",
            "conditions": [{"type": "Initialized", "status": "True"}, {**ready, "lastProbeTime": seen}],
            "containerStatuses": [
                {"name": "c", "containerID": "cri-o://1", "restartCount": 0, "ready": True, "lastState": {}},
                {"name": "d"},
                {
                    "name": "e",
                    "ready": False,
                    "state": {"running": {"startedAt": seen}},
                    "lastState": {"terminated": {"exitCode": 1, "message": "x" * 5000}},
                },
            ],
        },
    }
    assert bare_pod(["hash", "other"])(pod) == {
        "metadata": {**metadata, "annotations": {"hash": "1"}},
        NODE_NAME: "n",
        CONTAINER_IDS: ["cri-o://1"],
        "status": {
            "phase": "Running",
            "conditions": [ready],
            "containerStatuses": [
                {},
                {},
                {"name": "e", "ready": False, "lastState": {"terminated": {"message": "x" * 1024}}},
            ],
        },
    }
    assert bare_pod([])({"metadata": {"name": "p"}}) == {"metadata": {"name": "p"}, "status": {}}


def test_only_a_pod_that_proves_something_by_its_containers_keeps_their_ids_while_it_is_ready() -> None:
    def pod(app: str, ready: str, **state: Any) -> dict[str, Any]:
        containers = [{"name": "c", "containerID": "cri-o://1", "ready": ready == "True", **state}]
        status = {"conditions": [{"type": "Ready", "status": ready}], "containerStatuses": containers}
        return {"metadata": {"name": "p", "labels": {"app": app}}, "status": status}

    strip = bare_pod((), is_ovn_pod)
    assert strip(pod("dpu-drain-blocker-n", "True")).keys() == {"metadata", "status"}
    assert strip(pod("ovnkube-node", "True"))[CONTAINER_IDS] == ["cri-o://1"]
    assert "containerStatuses" not in strip(pod("dpu-drain-blocker-n", "True"))["status"]
    assert strip(pod("ovnkube-node", "True")) == bare_pod(())(pod("ovnkube-node", "True"))
    assert strip(pod("dpu-drain-blocker-n", "False")) == bare_pod(())(pod("dpu-drain-blocker-n", "False"))
    waits = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    kept = strip(pod("dpu-drain-blocker-n", "True", **waits))["status"]["containerStatuses"]
    assert kept == [{"name": "c", "ready": True, **waits}]


def test_of_a_pod_that_is_not_ready_remains_since_when_and_why() -> None:
    why = {"type": "Ready", "status": "False", "lastTransitionTime": "t", "reason": "r", "message": "m"}
    ended = {"exitCode": 1, "reason": "Error", "startedAt": "t"}
    crashed = {"state": {"waiting": {"reason": "CrashLoopBackOff", "message": "x"}}, "lastState": {"terminated": ended}}
    containers = [{"name": "c", "ready": False, "restartCount": 7, **crashed}, {"name": "d", "ready": True}, {}]
    metadata = {"name": "p", "creationTimestamp": "t"}
    status = {"conditions": [{**why, "lastProbeTime": "t"}], "containerStatuses": containers}
    seen: dict[str, Any] = {"metadata": {**metadata}, "status": status}
    kept = bare_pod([])(seen)
    assert kept["metadata"] == metadata
    assert kept["status"]["conditions"] == [why]
    assert kept["status"]["containerStatuses"] == [
        {
            "name": "c",
            "ready": False,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "x"}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}},
        },
        {"name": "d", "ready": True},
        {},
    ]


def test_of_a_node_that_is_not_ready_remains_since_when_and_why() -> None:
    why = {"type": "Ready", "status": "Unknown", "lastTransitionTime": "t", "reason": "r", "message": "m"}
    seen = {"metadata": {"name": "n"}, "status": {"conditions": [{**why, "lastHeartbeatTime": "t"}]}}
    assert strip_node()(seen)["status"]["conditions"] == [why]


def node(heartbeat: str, version: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": "n",
            "uid": "u",
            "resourceVersion": version,
            "labels": {"kubernetes.io/arch": "arm64"},
            "annotations": {"x": "y"},
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "generateName": "dropped",
            "managedFields": [entry("kubelet"), entry("dpunetop-drain")],
        },
        "spec": {
            "unschedulable": True,
            "taints": [{"key": "t"}],
            "podCIDR": "10.0.0.0/24",
            "podCIDRs": ["10.0.0.0/24"],
        },
        "status": {
            "conditions": [
                {"type": "MemoryPressure", "status": "False", "lastHeartbeatTime": heartbeat},
                {"type": "Ready", "status": "True", "lastHeartbeatTime": heartbeat, "reason": "KubeletReady"},
            ],
            "addresses": [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "10.0.0.1"}],
            "nodeInfo": {"bootID": "b", "kernelVersion": "6"},
            "images": [{"names": ["big"], "sizeBytes": 1}],
        },
    }


def test_of_a_node_only_what_somebody_reads_is_kept() -> None:
    assert strip_node()(node("t", "7")) == {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": "n",
            "uid": "u",
            "resourceVersion": "7",
            "labels": {"kubernetes.io/arch": "arm64"},
            "annotations": {"x": "y"},
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [entry("dpunetop-drain")],
        },
        "spec": {"unschedulable": True, "taints": [{"key": "t"}], "podCIDRs": ["10.0.0.0/24"]},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            ADDRESSES: ["10.0.0.1"],
            BOOT_ID: "b",
        },
    }


def test_a_beat_of_the_kubelet_leaves_the_kept_part_unchanged() -> None:
    before, after = strip_node()(node("00:00", "7")), strip_node()(node("00:05", "7"))
    assert jsonio.canonical(before) == jsonio.canonical(after)


def test_a_node_that_has_just_been_registered_may_lack_everything() -> None:
    assert strip_node()({"metadata": {"name": "n"}}) == {"metadata": {"name": "n"}, "spec": {}, "status": {}}


@pytest.mark.parametrize("nonsense", [None, 7, "x", [None], ["x", {"type": 1}], {"a": []}])
def test_nonsense_from_a_hostile_server_is_dropped(nonsense: Any) -> None:
    hostile = {
        "metadata": {"name": "n", "labels": None, "managedFields": nonsense},
        "spec": nonsense,
        "status": {"conditions": nonsense, "addresses": nonsense, "nodeInfo": nonsense},
    }
    kept = strip_node()(hostile)
    assert kept == {"metadata": {"name": "n", "labels": {}}, "spec": {}, "status": {}}
    assert strip_node()({"metadata": {"name": "n"}, "status": nonsense})["status"] == {}


def test_of_a_node_that_is_only_looked_at_little_is_kept() -> None:
    seen = node("12:00", "5")
    seen["metadata"] |= {"uid": "u", "annotations": {"kept": "a", "other": "b"}, "managedFields": [entry("dpunetop-x")]}
    seen["spec"] = {"unschedulable": True, "taints": [{"key": "k", "effect": "NoSchedule"}, "garbage"], "podCIDR": "c"}
    seen["metadata"]["labels"] = {"kept-label": "", "other-label": "b"}
    kept = bare_node(("kept", "absent"), ("kept-label", "absent"))(seen)
    assert kept["metadata"] == {
        "name": seen["metadata"]["name"],
        "uid": "u",
        "resourceVersion": "5",
        "annotations": {"kept": "a"},
        "labels": {"kept-label": ""},
    }
    assert kept["spec"] == {"unschedulable": True, "taints": [{"key": "k"}]}
    assert set(kept["status"]) <= {"conditions"}


@pytest.mark.parametrize("shape", [None, "text", [1], {"taints": "x"}, {"conditions": {"a": 1}}])
def test_a_bare_node_may_have_had_any_shape(shape: Any) -> None:
    kept = bare_node(("a",), ("b",))(
        {"metadata": {"name": "n", "annotations": {}, "labels": shape}, "spec": shape, "status": shape}
    )
    assert kept == {"metadata": {"name": "n"}, "spec": {}, "status": {}}


def test_of_a_bare_lease_only_which_one_it_is_and_how_it_is_renewed_is_kept() -> None:
    spec = {"renewTime": "t", "leaseDurationSeconds": 40}
    metadata = {"name": "n", "namespace": "s", "uid": "u", "resourceVersion": "5"}
    more = {"labels": {"a": "b"}, "annotations": {"a": "b"}, "ownerReferences": [{}], "managedFields": [entry("x")]}
    seen = {"kind": "Lease", "metadata": {**metadata, **more}, "spec": {**spec, "holderIdentity": "h"}, "status": {}}
    assert bare_lease()(seen) == {"kind": "Lease", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize("shape", [None, "text", [1], {"other": 1}])
def test_a_bare_lease_may_have_had_any_shape(shape: Any) -> None:
    assert bare_lease()({"metadata": {"name": "n"}, "spec": shape}) == {"metadata": {"name": "n"}, "spec": {}}
