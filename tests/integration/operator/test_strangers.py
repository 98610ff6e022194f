"""What others made is left as it is and named; what others change of ours is put right."""

from __future__ import annotations

from typing import Any

import pytest

from dpunetop.domain import names
from dpunetop.kube.keys import CONFIGMAPS, DAEMONSETS, SECRETS, SERVICEACCOUNTS, Resource
from dpunetop.kube.meta import new_object
from support.trial import OUR_OBJECTS, Trial, encoded, eventually

pytestmark = pytest.mark.timeout(600)

REPAIR_SECONDS = 60.0


def daemonset_of_theirs() -> dict[str, Any]:
    """A DaemonSet that finds no node."""
    labels = {"app": "theirs"}
    pod = {"nodeSelector": {"nowhere": "yes"}, "containers": [{"name": "theirs", "image": "theirs"}]}
    return {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}


def generation(trial: Trial) -> int:
    """How often our DaemonSet was written anew."""
    return int(trial.get(DAEMONSETS, names.OVNKUBE_NODE)["metadata"]["generation"])


STRANGERS: dict[str, tuple[Resource, str, dict[str, Any], str, str]] = {
    "certificate": (SECRETS, names.OVN_CERT, {"data": {"k": encoded("v")}}, "TenantObjsSynced", "Secret ovn-cert in"),
    "authority": (CONFIGMAPS, names.OVN_CA, {"data": {"k": "v"}}, "TenantObjsSynced", "ConfigMap ovn-ca in"),
    "configuration": (
        CONFIGMAPS,
        names.OVNKUBE_CONFIG,
        {"data": {"k": "v"}},
        "TenantObjsSynced",
        "ConfigMap ovnkube-config in",
    ),
    "entries": (
        CONFIGMAPS,
        names.OVNKUBE_NODE_ENTRIES,
        {"data": {"k": "v"}},
        "OvnKubeReady",
        "ConfigMap ovnkube-node-entries",
    ),
    "credential": (
        SECRETS,
        names.TENANT_CREDENTIAL,
        {"data": {"k": encoded("v")}},
        "DpuCredentialValid",
        names.TENANT_CREDENTIAL,
    ),
    "kubeconfig": (
        SECRETS,
        names.TENANT_KUBECONFIG,
        {"data": {"k": encoded("v")}},
        "DpuCredentialValid",
        names.TENANT_KUBECONFIG,
    ),
    "account": (
        SERVICEACCOUNTS,
        names.OVNKUBE_SERVICE_ACCOUNT,
        {"automountServiceAccountToken": False},
        "OvnKubeReady",
        "ServiceAccount ovn-kubernetes-node",
    ),
    "daemonset": (
        DAEMONSETS,
        names.OVNKUBE_NODE,
        {"spec": daemonset_of_theirs()},
        "OvnKubeReady",
        "DaemonSet ovnkube-node",
    ),
}
CASES = pytest.mark.parametrize(
    ("resource", "name", "content", "condition", "words"), STRANGERS.values(), ids=STRANGERS.keys()
)


def settled(trial: Trial, resource: Resource, name: str) -> dict[str, Any]:
    """The object without what the controllers of the platform write."""
    seen = trial.get(resource, name)
    if resource is DAEMONSETS:
        return {"spec": seen["spec"], "uid": seen["metadata"]["uid"], "labels": seen["metadata"].get("labels")}
    return seen


@CASES
def test_what_others_made_is_left_as_it_is_until_it_is_gone(
    trial: Trial, resource: Resource, name: str, content: dict[str, Any], condition: str, words: str
) -> None:
    trial.world.infra.apply(new_object(resource, trial.namespace, name, **content))
    before = settled(trial, resource, name)
    trial.quick_start()
    said = trial.wait(condition, "False", "NotOurs")
    assert words in said["message"]
    assert "exists and is not ours; it is left as it is" in said["message"]
    trial.wait_event("NotOurs", words)
    trial.wait("McpReady", "True")
    trial.wait("Ready", "False", "NotOurs")
    assert settled(trial, resource, name) == before
    trial.infra.delete(trial.path(resource, name))
    trial.wait("Ready", "True")


def test_a_machine_config_of_someone_else_is_left_as_it_is_until_it_is_gone(trial: Trial) -> None:
    name = names.machine_config_name(trial.pool)
    theirs = new_object(names.MACHINECONFIGS, "", name, spec={"config": {"ignition": {"version": "3.2.0"}}})
    trial.world.infra.apply(theirs)
    before = trial.pool_objects()
    trial.quick_start()
    said = trial.wait("McpReady", "False", "NotOurs")
    assert said["message"].startswith(f"MachineConfig {name} exists and is not ours")
    trial.wait_event("NotOurs", name)
    trial.wait("TenantObjsSynced", "True")
    assert trial.pool_objects() == before == ({}, before[1])
    trial.infra.delete(trial.path(names.MACHINECONFIGS, name))
    trial.wait("Ready", "True")


@CASES
def test_objects_of_other_owners_stay_after_the_deletion(
    trial: Trial, resource: Resource, name: str, content: dict[str, Any], condition: str, words: str
) -> None:
    trial.world.infra.apply(new_object(resource, trial.namespace, name, **content))
    before = settled(trial, resource, name)
    trial.quick_start(deletionPolicy="Delete")
    trial.wait(condition, "False", "NotOurs")
    trial.delete_config()
    trial.take_nodes_out()
    eventually(trial.config, lambda config: not config)
    assert settled(trial, resource, name) == before


def test_objects_with_our_marks_of_another_cluster_are_not_ours(trial: Trial) -> None:
    labels = {names.OWNER_LABEL: names.owner_hash("another-uid", trial.namespace, trial.names.name)}
    theirs = new_object(CONFIGMAPS, trial.namespace, names.OVN_CA, data={"k": "v"})
    theirs["metadata"]["labels"] = labels
    trial.world.infra.apply(theirs)
    trial.quick_start()
    trial.wait("TenantObjsSynced", "False", "NotOurs")
    assert trial.get(CONFIGMAPS, names.OVN_CA)["data"] == {"k": "v"}


# --- drift ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("resource", "name"), OUR_OBJECTS, ids=[name for _, name in OUR_OBJECTS])
def test_what_is_deleted_comes_back(trial: Trial, resource: Resource, name: str) -> None:
    trial.ready()
    old = trial.get(resource, name)["metadata"]["uid"]
    trial.infra.delete(trial.path(resource, name))
    found = trial.infra.wait_for(
        trial.path(resource, name), lambda obj: obj.get("metadata", {}).get("uid", old) != old, REPAIR_SECONDS
    )
    assert names.OWNER_LABEL in found["metadata"]["labels"]
    trial.wait("Ready", "True")


EDITS: dict[str, tuple[Resource, str, dict[str, Any]]] = {
    "certificate": (SECRETS, names.OVN_CERT, {"data": {"tls.crt": encoded("x")}}),
    "certificate without key": (SECRETS, names.OVN_CERT, {"data": {"tls.key": ""}}),
    "authority": (CONFIGMAPS, names.OVN_CA, {"data": {"ca-bundle.crt": "x"}}),
    "configuration": (CONFIGMAPS, names.OVNKUBE_CONFIG, {"data": {"ovnkube.conf": None}}),
    "credential": (SECRETS, names.TENANT_CREDENTIAL, {"data": {names.TENANT_CREDENTIAL_KEY: encoded("x")}}),
    "kubeconfig": (SECRETS, names.TENANT_KUBECONFIG, {"data": {names.TENANT_CREDENTIAL_KEY: encoded("x")}}),
    "account": (SERVICEACCOUNTS, names.OVNKUBE_SERVICE_ACCOUNT, {"metadata": {"ownerReferences": []}}),
    "daemonset": (DAEMONSETS, names.OVNKUBE_NODE, {"spec": {"template": {"spec": {"hostNetwork": False}}}}),
    "account of the pods": (
        DAEMONSETS,
        names.OVNKUBE_NODE,
        {"spec": {"template": {"spec": {"serviceAccountName": "default", "serviceAccount": "default"}}}},
    ),
}


@pytest.mark.parametrize(("resource", "name", "edit"), EDITS.values(), ids=EDITS.keys())
def test_what_is_edited_is_put_right(trial: Trial, resource: Resource, name: str, edit: dict[str, Any]) -> None:
    def content(obj: dict[str, Any]) -> Any:
        if resource is DAEMONSETS:
            return obj["spec"]["template"]
        return obj.get("data"), obj["metadata"].get("ownerReferences")

    trial.ready()
    right, rolled = (
        content(trial.get(resource, name)),
        trial.get(DAEMONSETS, names.OVNKUBE_NODE)["metadata"]["generation"],
    )
    assert content(trial.infra.patch(trial.path(resource, name), edit)) != right
    trial.infra.wait_for(trial.path(resource, name), lambda obj: content(obj) == right, REPAIR_SECONDS)
    trial.wait("Ready", "True")
    _stir(trial)
    edits = 2 if resource is DAEMONSETS else 0  # theirs, and ours back; what pods read is back before they are rolled
    assert generation(trial) == rolled + edits


def _stir(trial: Trial) -> None:
    """See that every controller has looked at all that there is."""
    trial.store_overrides({})
    said = ("EntryRemovalPending", "NoPairs")
    eventually(lambda: trial.condition("OvnKubeReady"), lambda found: found.get("reason") in said)


@pytest.mark.parametrize(
    ("resource", "name"), [each for each in OUR_OBJECTS if each[0] in (SECRETS, CONFIGMAPS)], ids=lambda each: str(each)
)
def test_a_key_that_others_add_rolls_nobody(trial: Trial, resource: Resource, name: str) -> None:
    trial.ready()
    rolled = generation(trial)
    trial.infra.patch(trial.path(resource, name), {"data": {"theirs": encoded("x")}})
    _stir(trial)
    assert generation(trial) == rolled


def test_an_entry_that_is_edited_is_put_right_and_restarts_nobody(trial: Trial) -> None:
    trial.ready()
    right, pods = trial.get(CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES)["data"], trial.dpu_status()
    wrong = {trial.nodes[0]: "TENANT_K8S_NODE=another\n"}
    place = trial.path(CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES)
    trial.infra.patch(place, {"data": wrong})
    trial.infra.wait_for(place, lambda obj: obj["data"] == right, REPAIR_SECONDS)
    trial.wait("Ready", "True")
    same = {place: mark for place, mark in trial.dpu_status().items() if place.startswith("pods/")}
    assert same == {place: mark for place, mark in pods.items() if place.startswith("pods/")}


def test_what_others_add_to_ours_stays(trial: Trial) -> None:
    trial.ready()
    for resource, name in OUR_OBJECTS:
        trial.infra.patch(trial.path(resource, name), {"metadata": {"annotations": {"theirs": "yes"}}})
    trial.infra.patch(trial.path(names.MACHINECONFIGPOOLS, trial.pool), {"spec": {"maxUnavailable": 2}})
    before = trial.dpu_status()
    trial.store_overrides()
    trial.annotate(theirs="too")
    trial.wait("Ready", "True")
    assert trial.dpu_status() == before
    assert trial.pool_objects()[0]["spec"]["maxUnavailable"] == 2
    assert all(trial.get(*each)["metadata"]["annotations"]["theirs"] == "yes" for each in OUR_OBJECTS)


def test_a_pool_that_is_edited_or_deleted_is_put_right(trial: Trial) -> None:
    trial.ready()
    place, right = trial.path(names.MACHINECONFIGPOOLS, trial.pool), trial.pool_objects()[0]["spec"]
    trial.infra.patch(place, {"spec": {"nodeSelector": {"matchLabels": {"nowhere": "yes"}}}})
    trial.infra.wait_for(place, lambda obj: obj["spec"]["nodeSelector"] == right["nodeSelector"], REPAIR_SECONDS)
    trial.wait("McpReady", "True")
    trial.infra.delete(place)
    trial.infra.wait_for(place, lambda obj: bool(obj), REPAIR_SECONDS)
    trial.wait("Ready", "True")


def test_a_machine_config_that_is_edited_waits_to_be_rolled(trial: Trial) -> None:
    trial.ready()
    place, right = trial.path(names.MACHINECONFIGS, names.machine_config_name(trial.pool)), trial.pool_objects()[1]
    edited = trial.infra.patch(place, {"spec": {"config": {"systemd": {"units": []}}}})
    condition = trial.wait("McpReady", "False", "RollPending")
    assert "differs from what this version renders" in condition["message"]
    trial.wait_event("RollPending", "which reboots the DPUs one by one")
    assert trial.pool_objects()[1]["spec"] == edited["spec"]
    wanted = condition["message"].partition(f"{names.ROLL_ANNOTATION}=")[2].split()[0]
    trial.annotate(roll=wanted)
    trial.infra.wait_for(place, lambda obj: obj["spec"] == right["spec"], REPAIR_SECONDS)
    trial.wait("Ready", "True")


def test_a_machine_config_that_is_deleted_comes_back(trial: Trial) -> None:
    trial.ready()
    place, right = trial.path(names.MACHINECONFIGS, names.machine_config_name(trial.pool)), trial.pool_objects()[1]
    trial.infra.delete(place)
    trial.infra.wait_for(place, lambda obj: obj.get("spec") == right["spec"], REPAIR_SECONDS)
    trial.wait("Ready", "True")
