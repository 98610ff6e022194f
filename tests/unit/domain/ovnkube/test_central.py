from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest

from dpunetop.app.assets import ovnkube_scripts
from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.ovnkube.central import (
    CentralInput,
    ContentHashes,
    central_daemonset,
    deployed_databases,
    service_account,
)
from dpunetop.domain.ovnkube.databases import DatabaseList

OWNER = Owner({"metadata": {"name": "c", "namespace": "ns", "uid": "cr"}}, "0123")
GIVEN = CentralInput(
    namespace="ns",
    owner=OWNER,
    image="ovn:1",
    databases=DatabaseList("ssl:10.0.0.1:9641", "ssl:10.0.0.1:9642"),
    node_selector={
        "matchLabels": {"node-role.kubernetes.io/dpu-worker": ""},
        "matchExpressions": [
            {"key": "rack", "operator": "In", "values": ["a", "b"]},
            {"key": "old", "operator": "DoesNotExist", "values": []},
        ],
    },
    hashes=ContentHashes("h1", "h2", "h3", "h4"),
    scripts=ovnkube_scripts(),
)


def pod(given: CentralInput = GIVEN) -> dict[str, Any]:
    template: dict[str, Any] = central_daemonset(given)["spec"]["template"]
    return dict(template["spec"])


def walk(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, dict):
        for member in value.values():
            yield from walk(member)
    elif isinstance(value, list):
        for item in value:
            yield from walk(item)


def test_a_pod_goes_to_the_dpus_that_the_selector_picks() -> None:
    spec = pod()
    assert spec["nodeSelector"] == {"kubernetes.io/os": "linux", "node-role.kubernetes.io/dpu-worker": ""}
    required = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert required["nodeSelectorTerms"] == [
        {
            "matchExpressions": [
                {"key": "network.operator.openshift.io/dpu", "operator": "Exists"},
                {"key": "node-role.kubernetes.io/control-plane", "operator": "DoesNotExist"},
                {"key": "node-role.kubernetes.io/master", "operator": "DoesNotExist"},
                {"key": "rack", "operator": "In", "values": ["a", "b"]},
                {"key": "old", "operator": "DoesNotExist"},
            ]
        }
    ]
    assert spec["tolerations"] == [{"operator": "Exists"}]


def test_a_node_that_is_closed_is_excluded_by_its_name() -> None:
    affinity = pod(dataclasses.replace(GIVEN, closed=("a", "b")))["affinity"]["nodeAffinity"]
    [term] = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchFields"] == [
        {"key": "metadata.name", "operator": "NotIn", "values": ["a"]},
        {"key": "metadata.name", "operator": "NotIn", "values": ["b"]},
    ]


@pytest.mark.parametrize("selector", [{"matchExpressions": [{"key": "x", "operator": "Exists"}]}, {"matchLabels": {}}])
def test_a_selector_may_lack_labels_or_expressions(selector: dict[str, Any]) -> None:
    assert pod(dataclasses.replace(GIVEN, node_selector=selector))["nodeSelector"] == {"kubernetes.io/os": "linux"}


def test_a_pod_mounts_only_what_we_rendered_and_never_the_root_of_the_host() -> None:
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    assert [volume["secret"]["secretName"] for volume in volumes.values() if "secret" in volume] == [
        "ovn-cert",
        "dpunetop-tenant-credential",
    ]
    assert [volume["configMap"]["name"] for volume in volumes.values() if "configMap" in volume] == [
        "ovnkube-node-entries",
        "ovnkube-config",
        "ovn-ca",
    ]
    assert {name: volume["hostPath"]["path"] for name, volume in volumes.items() if "hostPath" in volume} == {
        "run-openvswitch": "/var/run/openvswitch",
        "run-ovn": "/var/run/ovn",
        "etc-openvswitch": "/var/lib/openvswitch/etc",
        "var-lib-openvswitch": "/var/lib/openvswitch/data",
        "host-run-ovn-kubernetes": "/run/ovn-kubernetes",
        "host-run-netns": "/run/netns",
    }


def test_every_mount_has_its_volume_and_every_volume_its_mount() -> None:
    spec = pod()
    mounted = {mount["name"] for container in spec["containers"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["volumes"]}
    for container in spec["containers"]:
        paths = [mount["mountPath"] for mount in container["volumeMounts"]]
        assert len(paths) == len(set(paths))


def test_the_files_that_the_scripts_name_are_where_the_pod_mounts_them() -> None:
    for container in pod()["containers"]:
        text = container["command"][2]
        for path in ("/ovn-cert", "/ovn-ca", "/dpunetop/entries", "/dpunetop/state"):
            assert path in text
            assert path in [mount["mountPath"] for mount in container["volumeMounts"]]
    node = pod()["containers"][1]
    for folder, file in (
        ("/run/ovnkube-config", "ovnkube.conf"),
        ("/var/run/secrets/tenant-kubeconfig", "kubeconfig"),
    ):
        assert f"{folder}/{file}" in node["command"][2]
        assert folder in [mount["mountPath"] for mount in node["volumeMounts"]]


def test_what_differs_reaches_the_containers_as_environment_only() -> None:
    other = dataclasses.replace(
        GIVEN, image="ovn:2", databases=DatabaseList("ssl:9.9.9.9:9641", "ssl:9.9.9.9:9642"), namespace="n2"
    )
    for mine, theirs in zip(pod()["containers"], pod(other)["containers"], strict=True):
        assert mine["command"] == theirs["command"]
        assert mine["readinessProbe"] == theirs["readinessProbe"]
        assert mine["livenessProbe"] == theirs["livenessProbe"]
    variables = {variable["name"]: variable.get("value") for variable in pod(other)["containers"][1]["env"]}
    assert variables["OVN_NB_DB_LIST"] == "ssl:9.9.9.9:9641"
    assert variables["OVN_SB_DB_LIST"] == "ssl:9.9.9.9:9642"
    assert variables["OVN_KUBE_LOG_LEVEL"] == "4"


def test_the_pod_has_no_token_of_the_infra_cluster() -> None:
    assert pod()["automountServiceAccountToken"] is False
    account = service_account("ns", OWNER)
    assert account["automountServiceAccountToken"] is False
    assert account["metadata"]["name"] == pod()["serviceAccountName"] == "ovn-kubernetes-node"


def test_one_pod_at_a_time_is_rolled_and_for_content_only() -> None:
    spec = central_daemonset(GIVEN)["spec"]
    assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}
    annotations = spec["template"]["metadata"]["annotations"]
    assert annotations.pop("dpu.openshift.io/template-hash")
    assert annotations == {
        "dpu.openshift.io/configuration-hash": "h1",
        "dpu.openshift.io/certificate-hash": "h2",
        "dpu.openshift.io/authority-hash": "h3",
        "dpu.openshift.io/credential-hash": "h4",
    }
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()


def test_the_objects_are_canonical() -> None:
    for desired in (central_daemonset(GIVEN), service_account("ns", OWNER)):
        assert json.loads(json.dumps(desired)) == desired
        for value in walk(desired):
            assert value is not None
            assert value != []
            if isinstance(value, dict) and "fieldRef" in value:
                assert value["fieldRef"]["apiVersion"] == "v1"
        assert desired["metadata"]["labels"] == {"dpu.openshift.io/owner": "0123"}
        assert "blockOwnerDeletion" not in desired["metadata"]["ownerReferences"][0]
    assert central_daemonset(GIVEN) == central_daemonset(GIVEN)


def test_the_databases_of_a_live_daemonset_are_read_back() -> None:
    assert deployed_databases(central_daemonset(GIVEN)) == GIVEN.databases
    assert deployed_databases(None) is None
    assert deployed_databases({"spec": {"template": {"spec": {"containers": [{"name": "x"}]}}}}) is None
