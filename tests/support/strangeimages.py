"""Pods of DPUs whose image is built for another machine, as each container runtime says it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dpunetop.domain import names
from dpunetop.kube.keys import PODS
from dpunetop.kube.meta import new_object
from support.lookedat import LookedAt
from support.objects import NAMESPACE

IMAGE = "quay.io/ovn/ovnkube@sha256:" + "a" * 64
DPU = "dpu-1"
Plant = Callable[[LookedAt, LookedAt], object]

WRONG_MACHINE: dict[str, dict[str, Any]] = {
    "CRI-O, of a list": {
        "state": {
            "waiting": {
                "reason": "ErrImagePull",
                "message": "choosing image instance: no image found in manifest list for architecture "
                '"arm64", variant "v8", OS "linux"',
            }
        }
    },
    "CRI-O, of an index": {
        "state": {"waiting": {"message": 'no image found in image index for architecture "arm64"', "reason": "x"}}
    },
    "containerd": {
        "state": {
            "waiting": {
                "reason": "ErrImagePull",
                "message": "rpc error: code = NotFound desc = failed to pull and unpack image: "
                "no match for platform in manifest: not found",
            }
        }
    },
    "Docker": {"state": {"waiting": {"message": "no matching manifest for linux/arm64/v8 in the manifest list"}}},
    "it is pulled all the same": {
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}},
        "lastState": {"terminated": {"exitCode": 255, "message": "exec /bin/bash: exec format error"}},
    },
    "it has just ended": {"state": {"terminated": {"exitCode": 126, "message": "ovnkube: Exec format error"}}},
}
"""What the status of a container says."""


def pulls(status: dict[str, Any]) -> Plant:
    """The pod of a DPU that has the image, and whose container says this."""

    def plant(infra: LookedAt, tenant: LookedAt) -> None:
        pod = new_object(PODS, NAMESPACE, "ovnkube-node-x")
        pod["metadata"]["labels"] = {"app": names.OVNKUBE_NODE}
        pod["spec"] = {"nodeName": DPU, "containers": [{"name": "nbdb", "image": IMAGE}]}
        pod["status"] = {"containerStatuses": [{"name": "nbdb", "image": "sha256:1", "ready": False, **status}]}
        infra.put(PODS, [pod])

    return plant
