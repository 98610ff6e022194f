"""Nodes as large as real ones: fifty images, all conditions, a status that a kubelet owns."""

from __future__ import annotations

import hashlib
from typing import Any

from dpunetop.kube.meta import Obj
from dpunetop.sandbox.standins.kubelet import node_status

_IMAGES = 50
_NOW = "2024-01-01T00:00:00Z"
_PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure")


def status_of(node: Obj) -> dict[str, Any]:
    """The status of a node that is up; about 19 KB with what the API server adds."""
    boot = _digest(node["metadata"]["name"])[:32]
    status = node_status(node, boot, True, {}, _NOW)
    for type_ in _PRESSURES:
        status["conditions"].append(_condition(type_))
    status["nodeInfo"] |= {
        "machineID": boot,
        "systemUUID": boot,
        "kernelVersion": "5.14.0-284.11.1.el9_2.aarch64",
        "osImage": "Red Hat Enterprise Linux CoreOS 413.92.202305231734-0 (Plow)",
        "containerRuntimeVersion": "cri-o://1.26.3-8.rhaos4.13.gitec064c9.el9",
        "kubeProxyVersion": "v1.26.3",
        "architecture": "arm64",
    }
    status["images"] = [_image(number) for number in range(_IMAGES)]
    return status


def _image(number: int) -> dict[str, Any]:
    digest = _digest(str(number))
    name = f"quay.io/openshift-release-dev/ocp-v4.0-art-dev@sha256:{digest}"
    return {"names": [name, name.replace("@sha256:", f"-{number}:") + "-content"], "sizeBytes": 400_000_000 + number}


def _condition(type_: str) -> dict[str, Any]:
    said = {"status": "False", "reason": f"KubeletHasSufficient{type_}", "message": f"kubelet has no {type_}"}
    return {"type": type_, **said, "lastHeartbeatTime": _NOW, "lastTransitionTime": _NOW}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
