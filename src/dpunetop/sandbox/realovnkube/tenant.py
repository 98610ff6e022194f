"""The tenant of a real OVN-Kubernetes: its objects, its RBAC, and the two programs that run there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from dpunetop.domain.names import DPU_ROLE, OVN_CONFIG, OVNKUBE_CONFIG
from dpunetop.kube.keys import CONFIGMAPS
from dpunetop.kube.requests import get
from dpunetop.sandbox import seed
from dpunetop.sandbox.admin import objects_of
from dpunetop.sandbox.controlplane import ControlPlane
from dpunetop.sandbox.realovn.datapath import Dpu
from dpunetop.sandbox.realovn.pods import Pod
from dpunetop.sandbox.realovn.podspec import Identity
from dpunetop.sandbox.realovnkube import kinds
from dpunetop.sandbox.realovnkube.host import GATEWAY, MANAGEMENT, NAME, TenantHost
from dpunetop.sandbox.realovnkube.program import SIMULATE, Ovnkube
from dpunetop.sandbox.standins.ovnkube import interconnect_tenant, upstream_tenant

RELEASE, LEASE_SECONDS = "4.23.0", 10
# Releases that support clusters without zones too.
_ZONES = "--enable-interconnect"
_MINTING = "dpunetop-minting"
_RBAC = "rbac.authorization.k8s.io"

# The settings in the `ovnkube.conf` of the OpenShift stand-in, by their names in the chart.
_NETWORKS: Mapping[str, str] = {"net_cidr": "10.128.0.0/14/23", "svc_cidr": "172.30.0.0/16", "mtu": "1400"}
# The host's ovnkube does nothing that its DPU does for it.
_HOST_CONFIGURATION = """\
[default]
mtu={mtu}
cluster-subnets={net_cidr}

[kubernetes]
service-cidrs={svc_cidr}
ovn-config-namespace={namespace}

[gateway]
mode=shared
nodeport=true
"""
_FEATURES = "\n[ovnkubernetesfeature]\nenable-egress-ip=true\n"


def shows(namespace: str) -> list[dict[str, Any]]:
    """The objects of an OpenShift tenant of `RELEASE` in its namespace, and the RBAC of DPUs there."""
    found = interconnect_tenant(namespace, RELEASE, LEASE_SECONDS)
    return [*found, *_beside(namespace)]


def shows_upstream(namespace: str) -> list[dict[str, Any]]:
    """The objects of a tenant with OVN-Kubernetes' own chart in its namespace, and the RBAC of DPUs there."""
    return [*upstream_tenant(namespace), *_beside(namespace)]


def _beside(namespace: str) -> Iterator[dict[str, Any]]:
    """The other objects of a tenant of either flavour."""
    yield from kinds.definitions()
    yield from _rights(namespace)


def _rights(namespace: str) -> Iterator[dict[str, Any]]:
    """The permissions of `deploy/tenant-rights.yaml`, for the DPUs and for the operator's user in this tenant."""
    subject = {"kind": "ServiceAccount", "namespace": namespace, "name": seed.TENANT_ACCOUNT}
    roles = objects_of(seed.ROOT / "deploy" / "tenant-rights.yaml")
    for role in (each for each in roles if each["kind"] in ("Role", "ClusterRole")):
        is_of_dpus = role["metadata"]["name"] == DPU_ROLE
        name = DPU_ROLE if is_of_dpus else _MINTING
        metadata = {"name": name, **({"namespace": namespace} if role["kind"] == "Role" else {})}
        yield {**role, "metadata": metadata}
        if not is_of_dpus:
            yield {
                "apiVersion": role["apiVersion"],
                "kind": f"{role['kind']}Binding",
                "metadata": metadata,
                "roleRef": {"apiGroup": _RBAC, "kind": role["kind"], "name": name},
                "subjects": [subject],
            }


def programs(ovnkube: Ovnkube, dpu: Dpu, host: TenantHost, tenant: ControlPlane, namespace: str) -> Pod:
    """The tenant's cluster manager, and the `ovnkube` of the host whose network is on a DPU.

    They run beside the DPU's pods without access to the DPU: the second one is in the host's network namespace.
    """
    kubeconfig = json.dumps(tenant.certificate_kubeconfig("admin", ["system:masters"]))
    files = {**_configurations(tenant, namespace), "kubeconfig": kubeconfig}
    template = {"spec": _pod(_cluster_manager(ovnkube, host.name), _dpu_host(ovnkube, host.name))}
    return Pod(dpu, template, Identity(host.name, "", "tenant"), {"files": files})


def _configurations(tenant: ControlPlane, namespace: str) -> dict[str, str]:
    """The configuration files of both programs, in place of the chart's arguments."""

    def data_of(name: str) -> dict[str, str]:
        found: dict[str, str] = tenant.admin.get_or_empty(get(CONFIGMAPS, namespace, name).target).get("data") or {}
        return found

    networks = {**_NETWORKS, **data_of(OVN_CONFIG)}
    host = _HOST_CONFIGURATION.format(namespace=namespace, **networks)
    return {"tenant.conf": data_of(OVNKUBE_CONFIG)["ovnkube.conf"] or f"{host}{_FEATURES}", "host.conf": host}


def _pod(*containers: dict[str, Any]) -> dict[str, Any]:
    volumes = [
        {"name": "files", "configMap": {"name": "files"}},
        {"name": "run-netns", "hostPath": {"path": "/run/netns"}},
    ]
    return {"hostNetwork": True, "hostPID": True, "containers": list(containers), "volumes": volumes}


def _cluster_manager(ovnkube: Ovnkube, host: str) -> dict[str, Any]:
    return _container(
        "cluster-manager",
        *("ovnkube", "--init-cluster-manager", "cluster-manager", "--config-file=/files/tenant.conf"),
        *("--k8s-kubeconfig=/files/kubeconfig", "--metrics-bind-address=127.0.0.1:29108"),
        *ovnkube.known(_ZONES),
        K8S_NODE=host,
    )


def _dpu_host(ovnkube: Ovnkube, host: str) -> dict[str, Any]:
    # ovnkube requires a token beside the kubeconfig, and does not use it.
    return _container(
        "dpu-host",
        *("ip", "netns", "exec", NAME, "ovnkube", "--init-node", host, "--config-file=/files/host.conf"),
        *("--k8s-kubeconfig=/files/kubeconfig", "--k8s-token=unused", SIMULATE, *ovnkube.known(_ZONES)),
        *("--ovnkube-node-mode=dpu-host", f"--ovnkube-node-mgmt-port-netdev={MANAGEMENT}"),
        *("--gateway-mode=shared", f"--gateway-interface={GATEWAY}", "--metrics-bind-address=127.0.0.1:29103"),
        K8S_NODE=host,
    )


def _container(name: str, *command: str, **environment: str) -> dict[str, Any]:
    mounts = [
        {"name": "files", "mountPath": "/files", "readOnly": True},
        {"name": "run-netns", "mountPath": "/run/netns", "mountPropagation": "HostToContainer"},
    ]
    return {
        "name": name,
        "command": [*command, "--loglevel=4"],
        "env": [{"name": key, "value": text} for key, text in environment.items()],
        "securityContext": {"privileged": True},
        "volumeMounts": mounts,
    }
