"""The CustomResourceDefinitions of the neighbours are accepted, and hold what they promise."""

from __future__ import annotations

from typing import Any

import pytest

from dpunetop.kube.errors import Invalid
from dpunetop.sandbox.controlplane import ControlPlane
from dpunetop.sandbox.crds import MACHINE_CONFIGURATION, NODE_MAINTENANCE

POOL_STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "configuration": {"name": "rendered-dpu-1", "source": [{"kind": "MachineConfig", "name": "00-worker"}]},
    "machineCount": 2,
    "readyMachineCount": 1,
    "updatedMachineCount": 1,
    "unavailableMachineCount": 1,
    "degradedMachineCount": 0,
    "conditions": [{"type": "Updated", "status": "False", "lastTransitionTime": None}],
}


def named(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    group = {"NodeMaintenance": "nodemaintenance.medik8s.io/v1beta1"}.get(kind, "machineconfiguration.openshift.io/v1")
    return {"apiVersion": group, "kind": kind, "metadata": {"name": name}, "spec": spec}


def test_a_pool_keeps_spec_and_status_apart_and_loses_no_field(infra: ControlPlane) -> None:
    infra.apply(MACHINE_CONFIGURATION)
    spec = {
        "machineConfigSelector": {"matchExpressions": [{"key": "role", "operator": "In", "values": ["dpu", "worker"]}]},
        "nodeSelector": {"matchLabels": {"node-role.kubernetes.io/dpu": ""}},
    }
    pool = named("MachineConfigPool", "dpu", spec)
    infra.apply(pool)
    infra.admin.apply_at(
        infra.admin.path_of(pool) + "/status", {**named("MachineConfigPool", "dpu", {}), "status": POOL_STATUS}
    )
    seen = infra.admin.get(infra.admin.path_of(pool))
    infra.admin.delete(infra.admin.path_of(pool))
    assert (seen["spec"], seen["status"]) == (spec, POOL_STATUS)


def test_a_selector_of_a_pool_is_owned_as_a_whole(infra: ControlPlane) -> None:
    infra.apply(MACHINE_CONFIGURATION)
    [pool] = infra.apply(named("MachineConfigPool", "owned", {"nodeSelector": {"matchLabels": {"a": "b"}}}))
    infra.admin.delete(infra.admin.path_of(pool))
    [entry] = pool["metadata"]["managedFields"]
    assert entry["fieldsV1"] == {"f:spec": {"f:nodeSelector": {}}}


def test_a_machine_config_keeps_any_ignition(infra: ControlPlane) -> None:
    infra.apply(MACHINE_CONFIGURATION)
    config = {"ignition": {"version": "3.2.0"}, "systemd": {"units": [{"name": "a.service", "enabled": True}]}}
    [machine_config] = infra.apply(named("MachineConfig", "00-dpu", {"config": config}))
    infra.admin.delete(infra.admin.path_of(machine_config))
    assert machine_config["spec"] == {"config": config}


def test_the_node_of_a_maintenance_stays(tenant: ControlPlane) -> None:
    tenant.apply(NODE_MAINTENANCE)
    [maintenance] = tenant.apply(named("NodeMaintenance", "fixed", {"nodeName": "host-1", "reason": "why not"}))
    path = tenant.admin.path_of(maintenance)
    with pytest.raises(Invalid, match="nodeName is immutable"):
        tenant.admin.patch(path, {"spec": {"nodeName": "host-2"}})
    tenant.admin.delete(path)
