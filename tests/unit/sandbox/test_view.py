"""What a sandbox says of the objects that it sees."""

from __future__ import annotations

from typing import Any

from dpunetop.domain.names import DPU_NODE_LABEL, OWNER_LABEL
from dpunetop.sandbox.view import facts


def said(kind: str, metadata: dict[str, Any], **members: Any) -> list[str]:
    obj = {"kind": kind, "metadata": {"name": "n", **metadata}, **members}
    return [" ".join((*topic, text)) for topic, text in facts(obj, "default", "dpu").items()]


def ready(status: str) -> dict[str, Any]:
    return {"conditions": [{"type": "Ready", "status": status, "reason": "Because", "message": "of it"}]}


def test_conditions_of_the_served_config_are_said_and_no_others() -> None:
    assert said("DpuClusterConfig", {"namespace": "default"}, status=ready("False")) == [
        "condition Ready False Because of it"
    ]
    assert said("DpuClusterConfig", {"namespace": "other"}, status=ready("False")) == []


def test_a_pool_says_how_far_it_is() -> None:
    status = {"machineCount": 3, "updatedMachineCount": 2, "readyMachineCount": 1}
    assert said("MachineConfigPool", {"name": "dpu"}, status=status) == ["pool dpu 2 of 3 updated, 1 ready"]
    assert said("MachineConfigPool", {"name": "worker"}, status=status) == []


def test_a_dpu_says_whether_it_is_ready_and_cordoned() -> None:
    labels = {"labels": {DPU_NODE_LABEL: ""}}
    assert said("Node", labels, spec={"unschedulable": True}, status=ready("False")) == ["node n NotReady, cordoned"]
    assert said("Node", {}, status=ready("True")) == []


def test_a_pod_of_ours_says_its_state_and_its_node() -> None:
    metadata = {"namespace": "default", "labels": {"app": "ovnkube-node"}}
    spec = {"nodeName": "dpu-1"}
    assert said("Pod", metadata, spec=spec, status=ready("True")) == ["pod n Ready on dpu-1"]
    assert said("Pod", metadata, spec={}, status={"phase": "Pending"}) == ["pod n Pending"]
    assert said("Pod", {**metadata, "deletionTimestamp": "t"}, spec=spec) == ["pod n ending on dpu-1"]
    assert said("Pod", {**metadata, "namespace": "other"}, spec=spec) == []


def test_what_we_own_is_said_once_it_is_there() -> None:
    owned = {"labels": {OWNER_LABEL: "hash"}}
    assert said("Secret", owned) == ["object Secret n applied"]
    assert said("ConfigMap", {**owned, "deletionTimestamp": "t"}) == ["object ConfigMap n going"]
    assert said("Secret", {}) == []


def test_a_rollout_counts_its_pods() -> None:
    status = {"numberReady": 1, "desiredNumberScheduled": 3}
    assert said("DaemonSet", {"labels": {OWNER_LABEL: "hash"}}, status=status) == [
        "object DaemonSet n applied",
        "rollout n 1 of 3 pods Ready",
    ]
