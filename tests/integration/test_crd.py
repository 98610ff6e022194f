"""The schema of DpuClusterConfig on a real API server: what is refused, with which words, and what is not."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dpunetop.kube.errors import Invalid
from dpunetop.sandbox import binaries
from dpunetop.sandbox.controlplane import ControlPlane
from support.explaining import check_explained

CRD_FILE = Path(__file__).parents[2] / "config" / "crd" / "dpu.openshift.io_dpuclusterconfigs.yaml"
SELECTOR = {"matchLabels": {"node-role.kubernetes.io/dpu-worker": ""}}
LOOSE = {
    "type": "object",
    "properties": {
        name: {"type": "object", "x-kubernetes-preserve-unknown-fields": True} for name in ("spec", "status")
    },
}

Obj = dict[str, Any]


def crd() -> Obj:
    loaded: Obj = yaml.safe_load(CRD_FILE.read_text())
    return loaded


def config(namespace: str, spec: Obj | None, name: str = "tenant", group: str = "dpu.openshift.io") -> Obj:
    body: Obj = {
        "apiVersion": f"{group}/v1alpha1",
        "kind": "DpuClusterConfig",
        "metadata": {"name": name, "namespace": namespace},
    }
    return body if spec is None else {**body, "spec": spec}


def condition(kind: str, status: str) -> Obj:
    return {
        "type": kind,
        "status": status,
        "reason": "Tested",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": 1,
    }


@pytest.fixture(scope="module")
def served(infra: ControlPlane) -> ControlPlane:
    infra.apply(crd())
    return infra


def refusal(cluster: ControlPlane, obj: Obj) -> str:
    with pytest.raises(Invalid) as caught:
        cluster.apply(obj)
    return caught.value.message


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (None, "spec is required"),
        ({}, "spec.poolName: Required value"),
        ({"poolName": ""}, "spec.poolName must be a DNS label"),
        ({"poolName": "Dpu"}, "spec.poolName must be a DNS label"),
        ({"poolName": "dpu.east"}, "spec.poolName must be a DNS label"),
        ({"poolName": "d" * 64}, "spec.poolName must be a DNS label"),
        ({"poolName": "master"}, "spec.poolName must not be master or worker"),
        ({"poolName": "worker"}, "spec.poolName must not be master or worker"),
        ({"poolName": "dpu", "nodeSelector": {}}, "spec.nodeSelector must not be empty"),
        ({"poolName": "dpu", "nodeSelector": {"matchLabels": {}}}, "spec.nodeSelector must not be empty"),
        (
            {"poolName": "dpu", "nodeSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
            "operator must be In or NotIn with values",
        ),
        (
            {
                "poolName": "dpu",
                "nodeSelector": {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]},
            },
            "operator must be In or NotIn with values",
        ),
        ({"poolName": "dpu", "kubeConfigFile": "other/secret"}, "spec.kubeConfigFile must be the name of a Secret"),
        ({"poolName": "dpu", "kubeConfigFile": "../secret"}, "spec.kubeConfigFile must be the name of a Secret"),
        ({"poolName": "dpu", "topology": "auto"}, "spec.topology: Unsupported value"),
        ({"poolName": "dpu", "deletionPolicy": "Keep"}, "spec.deletionPolicy: Unsupported value"),
        ({"poolName": "dpu", "image": "two words"}, "spec.image"),
        ({"poolName": "dpu", "image": ""}, "spec.image"),
        ({"poolName": "dpu", "tenantNamespace": "A"}, "spec.tenantNamespace"),
        ({"poolName": "dpu", "drain": {"maxUnavailable": 0}}, "maxUnavailable must be a number from 1 on"),
        ({"poolName": "dpu", "drain": {"maxUnavailable": "0%"}}, "maxUnavailable must be a number from 1 on"),
        ({"poolName": "dpu", "drain": {"maxUnavailable": "ten"}}, "maxUnavailable must be a number from 1 on"),
        ({"poolName": "dpu", "drain": {"timeout": "soon"}}, "spec.drain.timeout"),
        ({"poolName": "dpu", "drain": {"timeout": ""}}, "spec.drain.timeout"),
        ({"poolName": "dpu", "drain": {"onTimeout": "Force"}}, "spec.drain.onTimeout: Unsupported value"),
        ({"poolName": "dpu", "drain": {"limits": {"hostDrain": "soon"}}}, "spec.drain.limits.hostDrain"),
        ({"poolName": "dpu", "drain": {"limits": {"verifying": "0m"}}}, "spec.drain.limits.verifying"),
        ({"poolName": "dpu", "unplanned": {"policy": "Drain"}}, "spec.unplanned.policy: Unsupported value"),
        ({"poolName": "dpu", "unplanned": {"after": "0s"}}, "spec.unplanned.after"),
        ({"poolName": "dpu", "unplanned": {"after": ""}}, "spec.unplanned.after"),
        ({"poolName": "dpu", "unplanned": {"maxHosts": 0}}, "maxHosts must be a number from 1 on"),
        ({"poolName": "dpu", "unplanned": {"maxHosts": "101%"}}, "maxHosts must be a number from 1 on"),
    ],
    ids=str,
)
def test_a_wrong_spec_is_refused_when_it_is_created(
    served: ControlPlane, namespace: str, spec: Obj | None, said: str
) -> None:
    assert said in refusal(served, config(namespace, spec))


@pytest.mark.parametrize(
    "spec",
    [
        {"poolName": "dpu"},
        {"poolName": "dpu", "nodeSelector": SELECTOR, "kubeConfigFile": "tenant-cluster-1-kubeconf"},
        {"poolName": "d" * 63, "nodeSelector": {"matchExpressions": [{"key": "dpu", "operator": "Exists"}]}},
        {
            "poolName": "dpu",
            "nodeSelector": SELECTOR,
            "topology": "Central",
            "image": "registry.example:5000/ovn@sha256:00",
            "tenantNamespace": "ovn-kubernetes",
            "deletionPolicy": "Delete",
        },
        {"poolName": "dpu", "drain": {"maxUnavailable": 3, "timeout": "1h30m", "onTimeout": "Abort"}},
        {"poolName": "dpu", "drain": {"maxUnavailable": "100%", "timeout": "45m"}},
        {"poolName": "dpu", "unplanned": {"policy": "Cordon", "after": "1h30m", "maxHosts": 3}},
    ],
    ids=str,
)
def test_a_right_spec_is_kept_as_it_is(served: ControlPlane, namespace: str, spec: Obj) -> None:
    [stored] = served.apply(config(namespace, spec))
    limits = stored["spec"].get("drain", {}).pop("limits", None)
    assert stored["spec"] == spec
    assert (limits is None) is ("drain" not in spec)


LIMITS = {
    "protection": "10m",
    "starting": "10m",
    "hostDrain": "1h",
    "dpuDrain": "1h",
    "dpuDown": "20m",
    "recovery": "30m",
    "verifying": "10m",
    "givingBack": "10m",
}


def test_limits_of_time_that_are_not_given_have_their_defaults_also_in_what_was_stored_before_there_were_any(
    served: ControlPlane, namespace: str
) -> None:
    [stored] = served.apply(config(namespace, {"poolName": "dpu", "drain": {"limits": {"hostDrain": "2h30m"}}}))
    assert stored["spec"]["drain"]["limits"] == {**LIMITS, "hostDrain": "2h30m"}
    [older] = served.apply(config(namespace, {"poolName": "dpu-2", "drain": {"timeout": "45m"}}, name="older"))
    assert older["spec"]["drain"] == {"timeout": "45m", "limits": LIMITS}


def test_what_is_left_out_of_unplanned_is_filled_in_and_whoever_leaves_it_out_gets_none(
    served: ControlPlane, namespace: str
) -> None:
    [stored] = served.apply(config(namespace, {"poolName": "dpu", "unplanned": {"policy": "Cordon"}}))
    assert stored["spec"]["unplanned"] == {"policy": "Cordon", "after": "5m", "maxHosts": "10%"}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"poolName": "dpu"}, {"poolName": "dpu2"}, "poolName is immutable"),
        ({"poolName": "dpu", "kubeConfigFile": "a"}, {"poolName": "dpu"}, "kubeConfigFile may be added and changed"),
        (
            {"poolName": "dpu", "kubeConfigFile": "a"},
            {"poolName": "dpu", "kubeConfigFile": ""},
            "kubeConfigFile may be added and changed",
        ),
        ({"poolName": "dpu"}, {"poolName": "dpu", "nodeSelector": {}}, "nodeSelector must not be empty"),
        ({"poolName": "dpu"}, None, "spec cannot be removed"),
    ],
    ids=str,
)
def test_a_wrong_change_is_refused_also_of_an_object_with_a_status(
    served: ControlPlane, namespace: str, before: Obj, after: Obj | None, said: str
) -> None:
    served.apply(config(namespace, before))
    apply_status(served, config(namespace, None), condition("Ready", "True"))
    assert said in refusal(served, config(namespace, after))


def test_a_kubeconfig_may_be_added_and_then_changed(served: ControlPlane, namespace: str) -> None:
    for spec in ({"poolName": "dpu"}, {"poolName": "dpu", "kubeConfigFile": "a"}):
        served.apply(config(namespace, spec))
    [stored] = served.apply(config(namespace, {"poolName": "dpu", "kubeConfigFile": "b"}))
    assert stored["spec"]["kubeConfigFile"] == "b"


def apply_status(cluster: ControlPlane, obj: Obj, entry: Obj, manager: str = "one") -> Obj:
    path = cluster.admin.path_of(obj) + "/status"
    return cluster.admin.apply_at(path, {**obj, "status": {"conditions": [entry]}}, manager)


def test_two_managers_each_own_their_condition(served: ControlPlane, namespace: str) -> None:
    obj = config(namespace, None)
    served.apply(config(namespace, {"poolName": "dpu"}))
    apply_status(served, obj, condition("McpReady", "True"), "one")
    seen = apply_status(served, obj, condition("TenantReachable", "False"), "two")
    assert [(c["type"], c["status"]) for c in seen["status"]["conditions"]] == [
        ("McpReady", "True"),
        ("TenantReachable", "False"),
    ]


def test_kubectl_shows_pool_and_conditions_under_the_short_name(served: ControlPlane, namespace: str) -> None:
    served.apply(config(namespace, {"poolName": "dpu"}))
    apply_status(served, config(namespace, None), condition("TenantReachable", "False"))
    header, row = served.kubectl("get", "dcc", "-n", namespace).splitlines()
    assert header.split() == ["NAME", "POOL", "READY", "PAIRS", "MCP", "TENANT", "OVN", "AGE"]
    assert row.split()[:3] == ["tenant", "dpu", "False"]


STORED: dict[str, Obj | None] = {
    "no-spec": None,
    "no-pool-name": {"poolName": ""},
    "reserved-pool": {"poolName": "master"},
    "empty-selector": {"poolName": "Dpu.East", "nodeSelector": {}, "kubeConfigFile": ""},
    "bad-operator": {"poolName": "dpu", "nodeSelector": {"matchExpressions": [{"key": "a", "operator": "Gt"}]}},
    "bad-secret": {"poolName": "dpu", "kubeConfigFile": "other/secret"},
}


def group_of(namespace: str) -> str:
    """A group for one test, because a group that is deleted and made anew is served late."""
    return f"{namespace}.dpu.example"


@pytest.fixture
def outlived(infra: ControlPlane, namespace: str) -> Iterator[ControlPlane]:
    """The cluster with objects that were stored under a schema which refused nothing, and now our schema."""
    ours = crd()
    ours["metadata"]["name"] = f"dpuclusterconfigs.{group_of(namespace)}"
    ours["spec"]["group"] = group_of(namespace)
    ours["spec"]["names"]["shortNames"] = []
    loose = copy.deepcopy(ours)
    loose["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = LOOSE
    infra.apply(loose)
    for name, spec in STORED.items():
        infra.apply(config(namespace, spec, name, group_of(namespace)))
    infra.apply(ours)
    wait_until_strict(infra, namespace)
    yield infra
    infra.admin.delete(infra.admin.path_of(ours))


def wait_until_strict(cluster: ControlPlane, namespace: str) -> None:
    """The server takes a moment to validate by a schema that was changed."""
    path = cluster.admin.path_of(config(namespace, None, "no-spec", group_of(namespace)))
    probe = config(namespace, {"poolName": "master"}, "probe", group_of(namespace))

    def is_strict(_seen: Obj) -> bool:
        try:
            cluster.admin.apply_at(cluster.admin.path_of(probe), probe)
        except Invalid:
            return True
        cluster.admin.delete(cluster.admin.path_of(probe))
        return False

    cluster.admin.wait_for(path, is_strict)


def test_what_an_older_schema_let_in_still_takes_status_and_then_a_finalizer(
    outlived: ControlPlane, namespace: str
) -> None:
    for name in STORED:
        obj = config(namespace, None, name, group_of(namespace))
        seen = apply_status(outlived, obj, condition("Ready", "False"))
        assert seen["status"]["conditions"][0]["status"] == "False"
        for finalizers in (["dpu.openshift.io/teardown"], None):
            outlived.admin.patch(outlived.admin.path_of(obj), {"metadata": {"finalizers": finalizers}})


def test_what_an_older_schema_let_in_may_be_repaired(outlived: ControlPlane, namespace: str) -> None:
    obj = config(namespace, None, "bad-operator", group_of(namespace))
    apply_status(outlived, obj, condition("Ready", "False"))
    seen = outlived.admin.patch(
        outlived.admin.path_of(obj), {"spec": {"nodeSelector": SELECTOR | {"matchExpressions": None}}}
    )
    assert seen["spec"]["nodeSelector"] == SELECTOR


@pytest.mark.parametrize("field", ["dcc", "dcc.spec", "dcc.status", "dcc.status.conditions"])
def test_kubectl_explains_each_field(programs: binaries.Binaries, served: ControlPlane, field: str) -> None:
    check_explained(programs, served, field)
