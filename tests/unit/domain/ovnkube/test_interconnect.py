from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from dpunetop.app.assets import interconnect_scripts, ovnkube_scripts
from dpunetop.base import jsonio
from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.ovnkube.central import CentralInput, ContentHashes, central_daemonset
from dpunetop.domain.ovnkube.databases import DatabaseList, databases
from dpunetop.domain.ovnkube.deployed import deployed_arguments
from dpunetop.domain.ovnkube.interconnect import (
    InterconnectHashes,
    InterconnectInput,
    credential_digest,
    interconnect_daemonset,
)
from dpunetop.domain.ovnkube.settings import SettingsView, read_settings
from dpunetop.domain.ovnkube.settingsreader import NodeSettings
from dpunetop.domain.ovnkube.topology import Topology, running_topology
from support.tenants import openshift, upstream

OWNER = Owner({"metadata": {"name": "c", "namespace": "ns", "uid": "cr"}}, "0123")


def settings(view: SettingsView) -> NodeSettings:
    found = read_settings(view).settings
    assert found is not None
    return found


GIVEN = InterconnectInput(
    namespace="ns",
    owner=OWNER,
    image="ovn:1",
    node_selector={"matchLabels": {"pool": "dpu"}, "matchExpressions": [{"key": "rack", "operator": "Exists"}]},
    settings=settings(openshift((4, 22))),
    hashes=InterconnectHashes("h1", "h2"),
    scripts=interconnect_scripts(),
)
UPSTREAM = dataclasses.replace(GIVEN, settings=settings(upstream()), hashes=InterconnectHashes(None, "h2"))
BOTH = pytest.mark.parametrize("given", [GIVEN, UPSTREAM], ids=["OpenShift", "upstream"])


def pod(given: InterconnectInput = GIVEN) -> dict[str, Any]:
    template: dict[str, Any] = interconnect_daemonset(given)["spec"]["template"]
    return dict(template["spec"])


def container(name: str, given: InterconnectInput = GIVEN) -> dict[str, Any]:
    return next(part for part in pod(given)["containers"] if part["name"] == name)


def fixed(part: dict[str, Any]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in part["env"] if "value" in variable}


def walk(value: Any) -> Iterator[Any]:
    yield value
    for member in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(member)


def test_a_pod_has_the_parts_of_a_zone_and_two_of_them_are_privileged() -> None:
    assert {part["name"]: "securityContext" in part for part in pod()["containers"]} == {
        "ovn-controller": True,
        "ovn-acl-logging": False,
        "northd": False,
        "nbdb": False,
        "sbdb": False,
        "ovnkube-controller": True,
    }
    assert container("ovn-controller")["securityContext"] == {"privileged": True}


def test_it_is_the_same_daemonset_as_for_a_central_tenant() -> None:
    desired = interconnect_daemonset(GIVEN)
    central = central_daemonset(CENTRAL)
    assert desired["metadata"]["name"] == central["metadata"]["name"] == "ovnkube-node"
    assert desired["spec"]["selector"] == central["spec"]["selector"]
    assert desired["spec"]["updateStrategy"] == central["spec"]["updateStrategy"]
    assert pod()["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"] == [
        {
            "matchExpressions": [
                {"key": "network.operator.openshift.io/dpu", "operator": "Exists"},
                {"key": "node-role.kubernetes.io/control-plane", "operator": "DoesNotExist"},
                {"key": "node-role.kubernetes.io/master", "operator": "DoesNotExist"},
                {"key": "rack", "operator": "Exists"},
            ]
        }
    ]
    assert pod()["nodeSelector"] == {"kubernetes.io/os": "linux", "pool": "dpu"}
    assert (running_topology(desired), running_topology(central)) == (Topology.INTERCONNECT, Topology.CENTRAL)


def test_host_folders_of_databases_and_sockets_are_not_those_of_a_central_tenant() -> None:
    def paths(spec: dict[str, Any]) -> dict[str, str]:
        return {volume["name"]: volume["hostPath"]["path"] for volume in spec["volumes"] if "hostPath" in volume}

    central = paths(central_daemonset(CENTRAL)["spec"]["template"]["spec"])
    mine = paths(pod())
    assert (mine["run-ovn"], mine["etc-openvswitch"]) == ("/var/run/ovn-ic", "/var/lib/ovn-ic/etc")
    assert (central["run-ovn"], central["etc-openvswitch"]) == ("/var/run/ovn", "/var/lib/openvswitch/etc")
    assert mine["run-openvswitch"] == central["run-openvswitch"]


@BOTH
def test_every_mount_has_its_volume_and_every_volume_its_mount(given: InterconnectInput) -> None:
    spec = pod(given)
    mounted = {mount["name"] for part in spec["containers"] for mount in part["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["volumes"]}
    for part in spec["containers"]:
        paths = [mount["mountPath"] for mount in part["volumeMounts"]]
        assert len(paths) == len(set(paths))
        assert {"/dpunetop/entries", "/dpunetop/state"} <= set(paths)


@BOTH
def test_a_pod_mounts_only_what_we_rendered_and_never_the_root_of_the_host(given: InterconnectInput) -> None:
    volumes = pod(given)["volumes"]
    secrets = [volume["secret"]["secretName"] for volume in volumes if "secret" in volume]
    maps = [volume["configMap"]["name"] for volume in volumes if "configMap" in volume]
    assert secrets == ["dpunetop-tenant-credential"]
    assert maps == ["ovnkube-node-entries", *(["ovnkube-config"] if given is GIVEN else [])]
    assert all(volume["hostPath"]["path"] not in ("/", "/etc", "/var") for volume in volumes if "hostPath" in volume)


def test_the_files_that_the_scripts_and_options_name_are_where_the_pod_mounts_them() -> None:
    node = container("ovnkube-controller")
    paths = [mount["mountPath"] for mount in node["volumeMounts"]]
    assert "/var/run/secrets/tenant-kubeconfig/kubeconfig" in node["command"][2]
    assert {"/var/run/secrets/tenant-kubeconfig", "/run/ovnkube-config"} <= set(paths)
    assert "--config-file=/run/ovnkube-config/ovnkube.conf" in node["args"]
    for name in ("nbdb", "sbdb"):
        mounts = {mount["mountPath"]: mount["name"] for mount in container(name)["volumeMounts"]}
        assert mounts["/etc/ovn"] == mounts["/var/lib/ovn"] == "etc-openvswitch"
    assert "/var/log/ovn" in [mount["mountPath"] for mount in container("ovn-acl-logging")["volumeMounts"]]


@BOTH
def test_every_variable_that_a_script_needs_is_in_its_container(given: InterconnectInput) -> None:
    for part in pod(given)["containers"]:
        known = {variable["name"] for variable in part["env"]} | {"TENANT_K8S_NODE", "BASHPID", "SECONDS", "PATH"}
        texts = [part["command"][2]]
        texts += [part[probe]["exec"]["command"][2] for probe in ("readinessProbe", "livenessProbe") if probe in part]
        for text in texts:
            used = set(re.findall(r"\$\{?([A-Z][A-Z0-9_]+)(?![A-Z0-9_:])", text)) | set(
                re.findall(r"\(\(.*?\b(OVN_[A-Z_]+)", text)
            )
            assert used - known - {"K8S_NODE_DPU", "LC_ALL"} == set(), part["name"]


def test_what_differs_reaches_the_containers_as_environment_and_arguments_only() -> None:
    other = dataclasses.replace(UPSTREAM, image="ovn:2", namespace="n2")
    for mine, theirs in zip(pod()["containers"], pod(other)["containers"], strict=True):
        assert mine["command"] == theirs["command"]
        assert mine.get("readinessProbe") == theirs.get("readinessProbe")
        assert mine.get("livenessProbe") == theirs.get("livenessProbe")


def test_the_settings_arrive_where_they_are_used() -> None:
    node = container("ovnkube-controller")
    assert node["args"] == list(GIVEN.settings.arguments)
    assert fixed(node) == {
        "OVN_LOG_LEVEL": "info",
        "OVN_KUBE_LOG_LEVEL": "4",
        "OVN_CONTROLLER_INACTIVITY_PROBE": "180000",
        "OVN_NORTHD_PROBE_INTERVAL": "10000",
        "OVN_NORTHD_BACKOFF_MS": "300",
        "OVN_ENCAP_PORT": "6081",
    }
    paths = {v["name"]: v["valueFrom"]["fieldRef"]["fieldPath"] for v in node["env"] if "valueFrom" in v}
    assert paths == {"K8S_NODE": "spec.nodeName", "POD_NAME": "metadata.name", "NODE_IP": "status.hostIP"}
    assert fixed(container("ovn-controller"))["OVN_AUDIT_FACILITY"] == "local3"
    assert fixed(container("ovn-acl-logging"))["OVN_AUDIT_MOST_FILES"] == "7"
    assert [fixed(container(name))["OVN_DATABASE"] for name in ("nbdb", "sbdb")] == ["nb", "sb"]


def test_all_but_the_log_rotation_is_probed() -> None:
    probed = {part["name"]: ("readinessProbe" in part, "livenessProbe" in part) for part in pod()["containers"]}
    assert {name for name, probes in probed.items() if probes != (True, True)} == {"ovn-acl-logging"}
    assert probed["ovn-acl-logging"] == (False, False)


def test_only_content_rolls_the_pods_and_a_token_is_none() -> None:
    template = interconnect_daemonset(GIVEN)["spec"]["template"]["metadata"]
    assert template["annotations"].pop("dpu.openshift.io/template-hash")
    assert template["annotations"] == {
        "dpu.openshift.io/configuration-hash": "h1",
        "dpu.openshift.io/credential-hash": "h2",
    }
    assert template["labels"].items() >= {"app": "ovnkube-node", "ovn-db-pod": "true"}.items()
    upstream_annotations = interconnect_daemonset(UPSTREAM)["spec"]["template"]["metadata"]["annotations"]
    assert set(upstream_annotations) == {"dpu.openshift.io/credential-hash", "dpu.openshift.io/template-hash"}
    old, new = {"data": {"kubeconfig": "k", "token": "a"}}, {"data": {"kubeconfig": "k", "token": "b"}}
    assert credential_digest(old) == credential_digest(new) == credential_digest({"data": {"kubeconfig": "k"}})
    assert credential_digest({"data": {"kubeconfig": "other", "token": "a"}}) != credential_digest(old)


def test_what_was_deployed_is_read_back() -> None:
    assert deployed_arguments(interconnect_daemonset(GIVEN)) == GIVEN.settings.arguments
    assert deployed_arguments(central_daemonset(CENTRAL)) == ()
    assert deployed_arguments(None) == ()


@BOTH
def test_the_object_is_canonical(given: InterconnectInput) -> None:
    desired = interconnect_daemonset(given)
    assert json.loads(json.dumps(desired)) == desired
    for value in walk(desired):
        assert value is not None
        assert value != []
        if isinstance(value, dict) and "fieldRef" in value:
            assert value["fieldRef"]["apiVersion"] == "v1"
    assert [volume["name"] for volume in pod(given)["volumes"] if volume.get("emptyDir") == {}] == ["state"]
    assert "blockOwnerDeletion" not in desired["metadata"]["ownerReferences"][0]
    assert pod(given)["automountServiceAccountToken"] is False


# H8: equal meaning gives equal bytes, so that nothing rolls for the order of anything.

CENTRAL = CentralInput(
    namespace="ns",
    owner=OWNER,
    image="ovn:1",
    databases=DatabaseList("ssl:10.0.0.1:9641", "ssl:10.0.0.1:9642"),
    node_selector={"matchLabels": {"pool": "dpu"}},
    hashes=ContentHashes("h1", "h2", "h3", "h4"),
    scripts=ovnkube_scripts(),
)
LABELS = {"pool": "dpu", "zone": "ä", "a": "", "kubernetes.io/arch": "arm64", "z.example/x": "1"}


def master(address: str, ready: bool = True) -> dict[str, Any]:
    owner = {"kind": "DaemonSet", "name": "ovnkube-master", "controller": True}
    return {
        "metadata": {
            "name": f"m-{address}",
            "namespace": "ovn",
            "labels": {"app": "ovnkube-master"},
            "ownerReferences": [owner],
        },
        "status": {"podIP": address, "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


MASTERS = [master("10.0.0.1"), master("10.0.0.2"), master("10.0.0.10"), master("fd00::1"), master("10.0.0.9", False)]


def shuffled(value: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.permutations(list(value.items())).map(dict)


@drawn(
    pods=st.permutations(MASTERS),
    twice=st.lists(st.sampled_from(MASTERS), max_size=3),
    labels=shuffled(LABELS),
)
def test_the_order_of_masters_and_labels_never_rolls_a_central_tenant(
    pods: list[dict[str, Any]], twice: list[dict[str, Any]], labels: dict[str, str]
) -> None:
    found = databases([*pods, *twice], "ovn")
    assert isinstance(found, DatabaseList)
    desired = central_daemonset(dataclasses.replace(CENTRAL, databases=found, node_selector={"matchLabels": labels}))
    straight = databases(MASTERS, "ovn")
    assert isinstance(straight, DatabaseList)
    plain = dataclasses.replace(CENTRAL, databases=straight, node_selector={"matchLabels": LABELS})
    assert jsonio.dumps(desired) == jsonio.dumps(central_daemonset(plain))


def reordered(view: SettingsView, data: st.DataObject) -> SettingsView:
    """The same tenant, as another server could have listed it."""

    def again(daemonset: Any) -> Any:
        pod = daemonset["spec"]["template"]["spec"]["containers"][0]
        variables = data.draw(st.permutations(pod["env"]))
        return {"spec": {"template": {"spec": {"containers": [{**pod, "env": variables}]}}}}

    config_map = {"data": data.draw(shuffled(view.config_map["data"]))} if view.config_map else None
    if view.script_lib is not None and config_map is not None:
        sections = config_map["data"]["ovnkube.conf"].split("\n\n")
        config_map = {"data": {"ovnkube.conf": "\n\n".join(data.draw(st.permutations(sections)))}}
    return dataclasses.replace(
        view,
        config_map=config_map,
        node_daemonset=again(view.node_daemonset),
        host_daemonset=again(view.host_daemonset),
    )


@drawn(
    data=st.data(), view=st.sampled_from([openshift((4, 20)), openshift((4, 23)), upstream()]), labels=shuffled(LABELS)
)
def test_the_order_of_what_a_tenant_says_and_of_labels_never_rolls_an_interconnect_tenant(
    data: st.DataObject, view: SettingsView, labels: dict[str, str]
) -> None:
    again = settings(reordered(view, data))
    desired = dataclasses.replace(GIVEN, settings=again, node_selector={"matchLabels": labels})
    plain = dataclasses.replace(GIVEN, settings=settings(view), node_selector={"matchLabels": LABELS})
    assert jsonio.dumps(interconnect_daemonset(desired)) == jsonio.dumps(interconnect_daemonset(plain))
