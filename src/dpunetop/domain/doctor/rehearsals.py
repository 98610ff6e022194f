"""Rehearsals: objects that a server is asked to admit in a dry run, and never stores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dpunetop.domain.doctor.model import Place
from dpunetop.domain.drain.protection.blockers import BlockerSettings, blocker
from dpunetop.domain.names import CONTROL_PLANE_LABELS, DPU_HOST_LABEL
from dpunetop.kube.meta import Obj, labels_of, name_of, new_object
from dpunetop.kube.shapes import at

_IMAGE = "registry.example/dpunetop-doctor:never-pulled"


def pod(place: Place, account: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A pod as a controller would create it, under an unused name."""
    return new_object(place.resource, place.namespace, place.name, spec={**spec, "serviceAccountName": account})


def blocker_spec(namespace: str, has_scc: bool) -> dict[str, Any]:
    """The pod of a blocker."""
    made = blocker(BlockerSettings(namespace, _IMAGE, "", has_scc), "doctor")
    return dict(made["spec"]["template"]["spec"])


def ovnkube_spec(live: Obj | None) -> dict[str, Any]:
    """The part of an OVN-Kubernetes pod that admission judges: from the live template, or before there is one, its
    essentials."""
    found = at(live, "spec", "template", "spec")
    if isinstance(found, Mapping):
        return dict(found)
    container = {
        "name": "ovnkube-node",
        "image": _IMAGE,
        "securityContext": {"privileged": True},
        "volumeMounts": [{"name": "host", "mountPath": "/host"}],
    }
    volume = {"name": "host", "hostPath": {"path": "/"}}
    return {"hostNetwork": True, "hostPID": True, "containers": [container], "volumes": [volume]}


def maintenance(place: Place, hosts: Iterable[Obj], under_way: Iterable[object]) -> dict[str, Any] | None:
    """A NodeMaintenance for a host that has none, preferably one that carries a DPU; None: there is no such host.

    Guarantees: never for a node of the control plane, where the real operator's webhook also checks etcd's quorum.
    """
    taken = set(under_way)
    free = [
        host for host in hosts if name_of(host) not in taken and not set(CONTROL_PLANE_LABELS) & set(labels_of(host))
    ]
    if not free:
        return None
    host = min(free, key=lambda each: (DPU_HOST_LABEL not in labels_of(each), name_of(each)))
    return new_object(place.resource, "", place.name, spec={"nodeName": name_of(host), "reason": "dry run of dpunetop"})
