"""Writes that the policies of deploy/ judge: what this release writes, the one before and the next, and forgeries."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpunetop.app.assets import interconnect_scripts, ovnkube_scripts
from dpunetop.domain import names
from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.drain.protection.blockers import BlockerSettings, blocker
from dpunetop.domain.hostconfig.machineconfig import HostAssets, machine_config, machine_config_pool
from dpunetop.domain.ovnkube.central import CentralInput, ContentHashes, central_daemonset
from dpunetop.domain.ovnkube.databases import DatabaseList
from dpunetop.domain.ovnkube.interconnect import InterconnectHashes, InterconnectInput, interconnect_daemonset
from dpunetop.domain.ovnkube.settings import read_settings
from dpunetop.kube.keys import NODES
from dpunetop.kube.meta import new_object
from dpunetop.sandbox.admin import AdminClient, objects_of
from dpunetop.sandbox.seed import OPERATOR_NAMESPACE
from support.tenants import openshift

Obj = dict[str, Any]

_BEFORE = Path(__file__).parents[1] / "data" / "admission" / "before.yaml"
SERVED = "tenant-cluster-1"
OWNER = Owner({"metadata": {"name": "c", "namespace": SERVED, "uid": "cr"}}, "0123")
SETTINGS = BlockerSettings(OPERATOR_NAMESPACE, "dpunetop:1", OWNER.hash, has_scc=False)
_SELECTOR = {"matchLabels": {"rack": "a"}, "matchExpressions": [{"key": "old", "operator": "DoesNotExist"}]}


@dataclass(frozen=True)
class Write:
    """One write of `obj`: `apply` it, `merge` it as a patch, also of its `status`, or `delete` what has its name."""

    verb: str
    obj: Obj
    refused_by: str = ""
    """The policy; empty: it is allowed."""

    def try_with(self, client: AdminClient) -> None:
        """As a dry run, which goes through admission and is not stored. Raises: ApiError."""
        path = client.path_of(self.obj)
        match self.verb:
            case "apply":
                client.apply_at(path, self.obj, "dpunetop-test", dryRun="All")
            case "merge":
                client.patch(path, self.obj, dryRun="All")
            case "status":
                client.patch(f"{path}/status", self.obj, dryRun="All")
            case _:
                client.delete(path, {"dryRun": ["All"]})


# --- changes --------------------------------------------------------------------------------------------------------


def changed(obj: Mapping[str, Any], change: Callable[[Obj], object]) -> Obj:
    """A copy with a change made to it."""
    fresh = copy.deepcopy(dict(obj))
    change(fresh)
    return fresh


def renamed(obj: Obj, name: str) -> Obj:
    """The same under another name."""
    return changed(obj, lambda each: each["metadata"].update(name=name))


def unlabelled(obj: Obj) -> Obj:
    """The same without our owner label."""
    return changed(obj, lambda each: each["metadata"]["labels"].pop(names.OWNER_LABEL))


def metadata_of(obj: Obj, **members: Any) -> Obj:
    """A patch of metadata alone."""
    place = {key: value for key, value in obj["metadata"].items() if key in ("name", "namespace")}
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": {**place, **members}}


def spec_of(obj: Obj, **members: Any) -> Obj:
    """A patch of the spec alone."""
    return {**metadata_of(obj), "spec": members}


def pod_with(obj: Obj, **members: Any) -> Obj:
    """The same with other members of its pod."""
    return changed(obj, lambda each: each["spec"]["template"]["spec"].update(members))


def container_with(obj: Obj, **members: Any) -> Obj:
    """The same with other members of its last container."""
    return changed(obj, lambda each: each["spec"]["template"]["spec"]["containers"][-1].update(members))


def confined(obj: Obj, **members: Any) -> Obj:
    """The same with other members of its last container's security context."""
    return changed(
        obj, lambda each: each["spec"]["template"]["spec"]["containers"][-1]["securityContext"].update(members)
    )


def with_volume(obj: Obj, **source: Any) -> Obj:
    """The same with one more volume."""
    volume = {"name": "more", **source}
    return changed(obj, lambda each: each["spec"]["template"]["spec"].setdefault("volumes", []).append(volume))


def host_path(path: str) -> Obj:
    """A volume's source."""
    return {"hostPath": {"path": path}}


def next_release(obj: Obj) -> Obj:
    """One container and one variable more."""

    def add(each: Obj) -> None:
        containers = each["spec"]["template"]["spec"]["containers"]
        containers.append({**copy.deepcopy(containers[0]), "name": "next"})
        containers[0].setdefault("env", []).append({"name": "NEXT", "value": "1"})

    return changed(obj, add)


def anywhere(obj: Obj) -> Obj:
    """The same with one more term of its node affinity, which any node fits."""
    any_node = {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "Exists"}]}

    def add(each: Obj) -> None:
        affinity = each["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
        affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"].append(any_node)

    return changed(obj, add)


# --- what is written ------------------------------------------------------------------------------------------------


def config(pool_name: str, role: str | None = None) -> Obj:
    """Our MachineConfig of a pool, or one with another role."""
    labels = {names.MACHINE_CONFIG_ROLE_LABEL: pool_name if role is None else role}
    desired = machine_config(pool_name, HostAssets((), ()), OWNER.hash)
    return changed(desired, lambda each: each["metadata"]["labels"].update(labels))


def pool(name: str) -> Obj:
    """Our MachineConfigPool."""
    return machine_config_pool(name, {"matchLabels": {"rack": "a"}}, OWNER.hash)


def strangers_pool(name: str, role: str) -> Obj:
    """A MachineConfigPool that selects a role, without our label."""
    return unlabelled(renamed(machine_config_pool(role, {"matchLabels": {"x": ""}}, ""), name))


def _central() -> Obj:
    hashes, databases = ContentHashes("1", "2", "3", "4"), DatabaseList("ssl:10.0.0.1:9641", "ssl:10.0.0.1:9642")
    return central_daemonset(
        CentralInput(SERVED, OWNER, "ovn:1", databases, _SELECTOR, hashes, ovnkube_scripts(), closed=("a", "b"))
    )


def _interconnect() -> Obj:
    settings = read_settings(openshift((4, 22))).settings
    assert settings is not None
    hashes = InterconnectHashes("1", "2")
    return interconnect_daemonset(
        InterconnectInput(SERVED, OWNER, "ovn:1", _SELECTOR, settings, hashes, interconnect_scripts())
    )


CENTRAL, INTERCONNECT, BLOCKER = _central(), _interconnect(), blocker(SETTINGS, "dpu-2")
CENTRAL_BEFORE, INTERCONNECT_BEFORE, BLOCKER_BEFORE = (dict(obj) for obj in objects_of(_BEFORE))
PREDECESSORS_BLOCKER = pod_with(
    container_with(unlabelled(renamed(BLOCKER, names.blocker_name("old"))), securityContext={}),
    serviceAccountName="other",
)


def maintenance(name: str) -> Obj:
    """A NodeMaintenance."""
    return new_object(names.NODEMAINTENANCES, "", name, spec={"nodeName": name, "reason": "x"})


def host() -> Obj:
    """A tenant's Node in a maintenance, with what belongs to others."""
    taints = [{"key": names.MAINTENANCE_TAINT, "effect": "NoSchedule"}, {"key": "gpu", "effect": "NoSchedule"}]
    node = new_object(NODES, "", "host-1", spec={"taints": taints, "unschedulable": True})
    node["metadata"]["labels"] = {"rack": "a"}
    node["metadata"]["annotations"] = {names.ZONE_ANNOTATION: "host-1", names.CORDONED_BEFORE_ANNOTATION: "no"}
    return node


def outage_mark() -> Obj:
    """What we apply to the Node of a host that is to be cordoned because of an outage."""
    node = new_object(NODES, "", "host-1")
    node["metadata"]["annotations"] = {names.UNPLANNED_ANNOTATION: "{}"}
    return node
