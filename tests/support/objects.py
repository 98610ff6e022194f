"""Builders of API objects: each gives the least that is valid, changes name only what a case is about."""

from __future__ import annotations

from typing import Any

NAMESPACE = "dpu-one"
POOL = "dpu"
UID = "uid-of-config"
DPU_LABELS = {"node-role.kubernetes.io/dpu-worker": "", "network.operator.openshift.io/dpu": ""}


def config(name: str = "sample", namespace: str = NAMESPACE, **spec: Any) -> dict[str, Any]:
    """A DpuClusterConfig that is served: it has its finalizer, and its status says so."""
    given = {
        "poolName": POOL,
        "nodeSelector": {"matchLabels": {"node-role.kubernetes.io/dpu-worker": ""}},
        "kubeConfigFile": "tenant-cluster-1-kubeconf",
        **spec,
    }
    return {
        "apiVersion": "dpu.openshift.io/v1alpha1",
        "kind": "DpuClusterConfig",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": UID if name == "sample" else f"uid-of-{namespace}-{name}",
            "resourceVersion": "10",
            "generation": 3,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "finalizers": ["dpu.openshift.io/teardown"],
        },
        "spec": {key: value for key, value in given.items() if value is not None},
        "status": {"claimedPool": given["poolName"] or "none"},
    }


def node(name: str, labels: dict[str, str] | None = None, /, **annotations: str) -> dict[str, Any]:
    """A Node as the cache keeps it."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "uid": f"uid-of-{name}",
            "labels": DPU_LABELS if labels is None else labels,
            "annotations": annotations,
        },
    }


def condition(type_: str, status: str, reason: str, message: str = "", generation: int = 3) -> dict[str, Any]:
    """A condition as stored."""
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
