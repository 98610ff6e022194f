"""A pod on the tenant host. This module plays scheduler, kubelet and CNI of the host; OVN-Kubernetes is real."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass

from dpunetop.kube.keys import PODS
from dpunetop.kube.meta import annotations_of, new_object
from dpunetop.kube.requests import get
from dpunetop.sandbox.admin import AdminClient
from dpunetop.sandbox.realovn.network import NetworkNamespace
from dpunetop.sandbox.realovnkube.host import TenantHost, interface_of

# Source: OVN-Kubernetes at 8871cd9ce, go-controller/pkg/util: pod_annotation.go, dpu_annotations.go.
NETWORKS, DETAILS, STATUS = (
    "k8s.ovn.org/pod-networks",
    "k8s.ovn.org/dpu.connection-details",
    "k8s.ovn.org/dpu.connection-status",
)
_NETWORK = "default"
_WAIT_SECONDS = 30.0


@dataclass(frozen=True)
class WiredPod:
    """A pod whose network is ready according to OVN-Kubernetes."""

    place: NetworkNamespace
    address: str
    status: str
    """The last annotation of the DPU."""
    seconds_to_address: float
    """Seconds from the pod's creation to its address."""
    seconds_to_status: float
    """Seconds from the CNI's request to the DPU's annotation."""


def wire(host: TenantHost, tenant: AdminClient, namespace: str, name: str) -> WiredPod:
    """Create a pod on the host and wait until the DPU has connected it. Raises: TimeoutError, with the pod."""
    path = get(PODS, namespace, name).target
    began = time.monotonic()
    tenant.apply(_pod(host.name, namespace, name))
    seen = tenant.wait_for(path, lambda pod: NETWORKS in annotations_of(pod), _WAIT_SECONDS)
    network = json.loads(annotations_of(seen)[NETWORKS])[_NETWORK]
    addressed = time.monotonic()
    function = host.take_function()
    tenant.patch(path, {"metadata": {"annotations": {DETAILS: json.dumps(_details(function))}}})
    seen = tenant.wait_for(path, lambda pod: STATUS in annotations_of(pod), _WAIT_SECONDS)
    wired = time.monotonic()
    address = network["ip_addresses"][0]
    place = host.plug(name, network["mac_address"], address, network["gateway_ips"][0], function)
    said = annotations_of(seen)[STATUS]
    return WiredPod(place, address.partition("/")[0], said, addressed - began, wired - addressed)


def _pod(host: str, namespace: str, name: str) -> dict[str, object]:
    spec = {
        "nodeName": host,
        "containers": [{"name": "work", "image": "quay.io/example/work:1"}],
        "tolerations": [{"operator": "Exists"}],
    }
    return new_object(PODS, namespace, name, spec=spec)


def _details(function: int) -> dict[str, dict[str, str]]:
    """The request of a host's CNI to its DPU."""
    return {
        _NETWORK: {
            "pfId": "0",
            "vfId": str(function),
            "sandboxId": secrets.token_hex(32),
            "vfNetdevName": interface_of(function),
        }
    }
