"""Stand-in for OVN-Kubernetes itself: what a cluster shows of it. Data only; kubelets make its pods run."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from dpunetop.domain.names import (
    DPU_NODE_LABEL,
    OVN_CA,
    OVN_CERT,
    OVNKUBE_CONFIG,
    OVNKUBE_MASTER,
    OVNKUBE_NODE,
)
from dpunetop.kube.keys import CONFIGMAPS, DAEMONSETS, NAMESPACES, SECRETS
from dpunetop.kube.meta import new_object
from dpunetop.sandbox.pki import Authority

IMAGE = "quay.io/openshift/origin-ovn-kubernetes:4.13"

_OVNKUBE_CONF = """\
[default]
mtu="1400"
cluster-subnets="10.128.0.0/14/23"
encap-port="6081"
enable-lflow-cache=true
lflow-cache-limit-kb=1048576

[kubernetes]
service-cidrs="172.30.0.0/16"
ovn-config-namespace="openshift-ovn-kubernetes"
apiserver="https://api-int.tenant.example:6443"
host-network-namespace="openshift-host-network"
platform-type="BareMetal"
healthz-bind-address="0.0.0.0:10256"

[ovnkubernetesfeature]
enable-egress-ip=true
enable-egress-firewall=true
enable-egress-qos=true
egressip-node-healthcheck-port=9107

[gateway]
mode=shared
nodeport=true
v4-join-subnet="100.64.0.0/16"

[logging]
libovsdblogfile=/var/log/ovnkube/libovsdb.log
logfile-maxsize=100
"""


def central_tenant(namespace: str) -> list[dict[str, Any]]:
    """What a tenant with central databases shows: DaemonSets of nodes and masters, certificates, configuration."""
    return [
        new_object(NAMESPACES, "", namespace),
        _certificate(namespace, authority := Authority("ovn")),
        new_object(CONFIGMAPS, namespace, OVN_CA, data={"ca-bundle.crt": authority.pem.decode()}),
        new_object(CONFIGMAPS, namespace, OVNKUBE_CONFIG, data={"ovnkube.conf": _OVNKUBE_CONF}),
        daemonset(namespace, OVNKUBE_MASTER, ("northd", "nbdb", "sbdb", "ovnkube-master"), _nodes_of_role("master")),
        daemonset(namespace, OVNKUBE_NODE, ("ovn-controller", "ovnkube-node"), _nodes_of_role("worker")),
    ]


def infra_network(namespace: str) -> list[dict[str, Any]]:
    """Infra's own OVN-Kubernetes, which runs beside the DPUs and names the image for them."""
    own_nodes = {"matchExpressions": [{"key": DPU_NODE_LABEL, "operator": "DoesNotExist"}]}
    return [
        new_object(NAMESPACES, "", namespace),
        daemonset(namespace, OVNKUBE_NODE, ("ovn-controller", "ovnkube-node"), own_nodes),
    ]


def daemonset(namespace: str, name: str, containers: tuple[str, ...], term: Mapping[str, Any]) -> dict[str, Any]:
    """A DaemonSet on the host network, on the nodes of that selector term."""
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [dict(term)]}}
    pod = {
        "hostNetwork": True,
        "affinity": {"nodeAffinity": required},
        "tolerations": [{"operator": "Exists"}],
        "containers": [{"name": container, "image": IMAGE} for container in containers],
    }
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod}
    return new_object(DAEMONSETS, namespace, name, spec={"selector": {"matchLabels": labels}, "template": template})


def _nodes_of_role(role: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": f"node-role.kubernetes.io/{role}", "operator": "Exists"}]}


def _certificate(namespace: str, authority: Authority) -> dict[str, Any]:
    pair = authority.client("ovn")
    data = {
        "tls.crt": base64.b64encode(pair.certificate).decode(),
        "tls.key": base64.b64encode(pair.key).decode(),
    }
    return new_object(SECRETS, namespace, OVN_CERT, type="kubernetes.io/tls", data=data)
