"""Stand-in for OVN-Kubernetes itself: its objects in a cluster. Data only; the kubelet stand-ins run its pods."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from dpunetop.domain.names import (
    DPU_NODE_LABEL,
    OVN_CA,
    OVN_CERT,
    OVN_CONFIG,
    OVNKUBE_CONFIG,
    OVNKUBE_CONTROL_PLANE,
    OVNKUBE_CONTROLLER,
    OVNKUBE_MASTER,
    OVNKUBE_NODE,
    OVNKUBE_NODE_DPU_HOST,
    OVNKUBE_SCRIPT_LIB,
)
from dpunetop.domain.ovnkube.release import RELEASE_ANNOTATION
from dpunetop.kube.keys import CONFIGMAPS, DAEMONSETS, DEPLOYMENTS, NAMESPACES, SECRETS
from dpunetop.kube.meta import new_object
from dpunetop.sandbox.pki import Authority

Shows = Callable[[str], list[dict[str, Any]]]
"""The objects of a tenant's OVN-Kubernetes in a namespace."""

IMAGE = "quay.io/openshift/origin-ovn-kubernetes:4.13"

_OVNKUBE_CONF = """\
[default]
mtu="1400"
cluster-subnets="10.128.0.0/14/23"
encap-port="6081"
enable-lflow-cache=true
lflow-cache-limit-kb=1048576
udn-allowed-default-services="default/kubernetes,openshift-dns/dns-default"

[kubernetes]
service-cidrs="172.30.0.0/16"
ovn-config-namespace="{namespace}"
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


# Says what cluster-network-operator's bindata/network/ovn-kubernetes/common/008-script-lib.yaml of release-4.21 does.
_SCRIPT_LIB = """\
start-ovn-controller() {
  exec ovn-controller --syslog-method="null" -vFACILITY:"local0"
}
start-ovn-northd() {
  exec ovn-northd --n-threads=1
}
start-audit-log-rotation() {
  MAXFILESIZE=$(( "50"*1000000 ))
  MAXLOGFILES="5"
}
nbdb-post-start() {
  local northd_probe_interval=${1:-10000}
  NORTHD_SLEEP_OPTION="options:northd-backoff-interval-ms=300"
  ovn-nbctl -t 5 --inactivity-probe=60000 set-connection punix:x
}
start-ovnkube-node() {
  egress="--enable-egress-ip=true --enable-egress-firewall=true --enable-egress-qos=true --enable-egress-service=true"
  networks="--enable-multi-network --enable-network-segmentation --enable-preconfigured-udn-addresses"
  policies="--enable-multi-networkpolicy --enable-admin-network-policy --enable-multi-external-gateway=true"
  if [[ "" == "true" ]]; then
    others="--enable-dns-name-resolver --enable-route-advertisements --enable-observability --enable-evpn"
    others="$others --openflow-probe= --gateway-v4-join-subnet  --gateway-v4-masquerade-subnet "
    others="$others --cluster-manager-v4-transit-subnet  --cluster-manager-v4-transit-switch-subnet "
    others="$others --allow-icmp-network-policy="
  fi
  exec /usr/bin/ovnkube --init-ovnkube-controller "${K8S_NODE}" --init-node "${K8S_NODE}" \\
    --acl-logging-rate-limit "20" --enable-multicast --disable-forwarding --advertised-udn-isolation-mode=strict
}
"""
_VALID_TIMES = 4
"""The lease duration as a multiple of the renew interval."""
_CHART_CONTAINERS = ("nb-ovsdb", "sb-ovsdb", "ovn-northd", OVNKUBE_CONTROLLER, "ovn-controller")
_ZONE_CONTAINERS = ("ovn-controller", "ovn-acl-logging", "northd", "nbdb", "sbdb", "ovnkube-controller")


def central_tenant(namespace: str) -> list[dict[str, Any]]:
    """A tenant with central databases: DaemonSets of nodes and masters, certificates, configuration."""
    return [
        new_object(NAMESPACES, "", namespace),
        _certificate(namespace, authority := Authority("ovn")),
        new_object(CONFIGMAPS, namespace, OVN_CA, data={"ca-bundle.crt": authority.pem.decode()}),
        new_object(CONFIGMAPS, namespace, OVNKUBE_CONFIG, data={"ovnkube.conf": _ovnkube_conf(namespace)}),
        daemonset(namespace, OVNKUBE_MASTER, ("northd", "nbdb", "sbdb", "ovnkube-master"), _nodes_of_role("master")),
        daemonset(namespace, OVNKUBE_NODE, ("ovn-controller", "ovnkube-node"), _nodes_of_role("worker")),
    ]


def interconnect_tenant(
    namespace: str, release: str = "4.21.3", lease_seconds: int | None = None
) -> list[dict[str, Any]]:
    """A tenant with a zone on each node: DaemonSets of nodes and DPU hosts, script library, cluster manager, and the
    certificates, which DPUs do not use in this topology.

    `lease_seconds` is the interval at which DPUs renew the Leases of their hosts, 10 by default in a cluster; 0: no
    renewal. None: the setting does not exist, as before 4.23.
    """
    version = {RELEASE_ANNOTATION: release}
    control_plane = daemonset(namespace, OVNKUBE_CONTROL_PLANE, ("ovnkube-cluster-manager",), _nodes_of_role("master"))
    objects = [
        new_object(NAMESPACES, "", namespace),
        _certificate(namespace, authority := Authority("ovn")),
        new_object(CONFIGMAPS, namespace, OVN_CA, data={"ca-bundle.crt": authority.pem.decode()}),
        new_object(CONFIGMAPS, namespace, OVNKUBE_CONFIG, data={"ovnkube.conf": _ovnkube_conf(namespace)}),
        new_object(CONFIGMAPS, namespace, OVNKUBE_SCRIPT_LIB, data={"ovnkube-lib.sh": _SCRIPT_LIB}),
        daemonset(namespace, OVNKUBE_NODE, _ZONE_CONTAINERS, _nodes_of_role("worker")),
        _dpu_hosts(namespace, lease_seconds),
        new_object(DEPLOYMENTS, namespace, OVNKUBE_CONTROL_PLANE, spec={**control_plane["spec"], "replicas": 1}),
    ]
    for obj in objects:
        if obj["kind"] == "DaemonSet":
            obj["metadata"]["annotations"] = dict(version)
    [node] = [obj for obj in objects if obj["kind"] == "DaemonSet" and obj["metadata"]["name"] == OVNKUBE_NODE]
    _controller(node)["env"] = [{"name": "OVN_CONTROLLER_INACTIVITY_PROBE", "value": "180000"}]
    return objects


def upstream_tenant(namespace: str) -> list[dict[str, Any]]:
    """A tenant with OVN-Kubernetes from the project's own chart, with a zone on each node.

    Source: ovn-kubernetes helm/ovn-kubernetes of release-1.3, templates/ovn-setup.yaml and
    charts/ovnkube-single-node-zone.
    """
    chart = {"net_cidr": "10.244.0.0/16/24", "svc_cidr": "10.96.0.0/16", "mtu": "1400"}
    node = daemonset(namespace, OVNKUBE_NODE, _CHART_CONTAINERS, _nodes_of_role("worker"))
    referred = {"OVN_NET_CIDR": "net_cidr", "OVN_SVC_CIDR": "svc_cidr", "OVN_MTU": "mtu"}
    _controller(node)["env"] = [
        {"name": "OVN_DAEMONSET_VERSION", "value": "1.3.0"},
        {"name": "OVN_EGRESSIP_ENABLE", "value": "true"},
        {"name": "OVN_EGRESSIP_HEALTHCHECK_PORT", "value": "9107"},
        *(
            {"name": name, "valueFrom": {"configMapKeyRef": {"name": OVN_CONFIG, "key": key}}}
            for name, key in referred.items()
        ),
    ]
    return [
        new_object(NAMESPACES, "", namespace),
        new_object(CONFIGMAPS, namespace, OVN_CONFIG, data=chart),
        new_object(CONFIGMAPS, namespace, OVNKUBE_CONFIG, data={"ovnkube.conf": ""}),
        node,
        daemonset(namespace, OVNKUBE_NODE_DPU_HOST, (OVNKUBE_CONTROLLER,), _nodes_of_role("dpu-host")),
    ]


def _dpu_hosts(namespace: str, lease_seconds: int | None) -> dict[str, Any]:
    found = daemonset(namespace, OVNKUBE_NODE_DPU_HOST, ("ovnkube-controller",), _nodes_of_role("dpu-host"))
    if lease_seconds is not None:
        numbers = {"RENEW_INTERVAL": lease_seconds, "DURATION": _VALID_TIMES * lease_seconds}
        _controller(found)["env"] = [{"name": f"OVNKUBE_NODE_LEASE_{n}", "value": str(v)} for n, v in numbers.items()]
    return found


def _controller(found: Mapping[str, Any]) -> dict[str, Any]:
    parts: list[dict[str, Any]] = found["spec"]["template"]["spec"]["containers"]
    return next(part for part in parts if part["name"] == OVNKUBE_CONTROLLER)


def infra_network(namespace: str) -> list[dict[str, Any]]:
    """Infra's own OVN-Kubernetes, whose DaemonSet names the image for the DPUs."""
    own_nodes = {"matchExpressions": [{"key": DPU_NODE_LABEL, "operator": "DoesNotExist"}]}
    return [
        new_object(NAMESPACES, "", namespace),
        daemonset(namespace, OVNKUBE_NODE, ("ovn-controller", "ovnkube-node"), own_nodes),
    ]


def daemonset(namespace: str, name: str, containers: tuple[str, ...], term: Mapping[str, Any]) -> dict[str, Any]:
    """A DaemonSet on the host network, for the nodes of that selector term."""
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


def _ovnkube_conf(namespace: str) -> str:
    return _OVNKUBE_CONF.format(namespace=namespace)


def _nodes_of_role(role: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": f"node-role.kubernetes.io/{role}", "operator": "Exists"}]}


def _certificate(namespace: str, authority: Authority) -> dict[str, Any]:
    pair = authority.client("ovn")
    data = {
        "tls.crt": base64.b64encode(pair.certificate).decode(),
        "tls.key": base64.b64encode(pair.key).decode(),
    }
    return new_object(SECRETS, namespace, OVN_CERT, type="kubernetes.io/tls", data=data)
