"""The quick start as data: the objects of both clusters before it, and each object that the user then creates."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpunetop.domain.names import (
    CLUSTER_NETWORK,
    CLUSTERVERSION,
    CLUSTERVERSIONS,
    DPU_HOST_LABEL,
    DPU_NODE_LABEL,
    DPU_WORKER_LABEL,
    DPUCLUSTERCONFIGS,
    ENV_OVERRIDES,
    KUBECONFIG_KEY,
    MACHINE_CONFIG_ROLE_LABEL,
    MACHINECONFIGPOOLS,
    MACHINECONFIGS,
    NETWORKS,
    OVN_KUBERNETES_NAMESPACE,
    TENANT_NODE_ENV,
)
from dpunetop.kube.keys import CONFIGMAPS, NODES, SECRETS, SERVICEACCOUNTS
from dpunetop.kube.meta import Obj, new_object
from dpunetop.sandbox.admin import objects_of
from dpunetop.sandbox.controlplane import ControlPlane, ControlPlanePair
from dpunetop.sandbox.crds import CLUSTER_VERSION, MACHINE_CONFIGURATION, NETWORK, NODE_MAINTENANCE
from dpunetop.sandbox.standins.ovnkube import Shows, central_tenant, infra_network

OPERATOR_NAMESPACE = "openshift-dpu-network-operator"
OPERATOR_ACCOUNT = "dpunetop"
"""The operator's ServiceAccount in infra, from config/rbac."""

ROOT = Path(__file__).resolve().parents[3]
"""The checkout that this runs from."""
TENANT_ACCOUNT = "dpu-network-operator"
"""The operator's ServiceAccount in the tenant."""
_TOKEN_SECONDS = 30 * 24 * 3600
_FIRST_NUMBER = 13
_RIGHTS = {
    "Namespace",
    "CustomResourceDefinition",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
}
# The parameters of the component config/tenant-namespace, as in its rendered form.
_SAMPLE_NAMESPACE, _SAMPLE_SECRET = "tenant-cluster-1", "tenant-cluster-1-kubeconf"


class NoCheckout(Exception):
    """The manifests that the sandbox applies do not exist."""


@dataclass(frozen=True)
class QuickStart:
    """The names in the quick start, for a number of DPUs."""

    dpus: int = 3
    namespace: str = "default"
    tenant_namespace: str = OVN_KUBERNETES_NAMESPACE
    secret: str = "tenant-cluster-1-kubeconf"
    pool: str = "dpu"
    name: str = "dpuclusterconfig-sample"

    @property
    def pairs(self) -> dict[str, str]:
        """The host of each DPU, by the name of the DPU's Node."""
        numbers = range(_FIRST_NUMBER, _FIRST_NUMBER + self.dpus)
        return {f"bf2-worker-advnetlab{number}": f"worker-advnetlab{number}" for number in numbers}


# --- objects that exist before the quick start ------------------------------------------------------------------------


def check() -> None:
    """Raises: NoCheckout, in one line, if the package is installed without a checkout of the repository."""
    if not (ROOT / "deploy").is_dir():
        raise NoCheckout(f"{ROOT / 'deploy'} does not exist: run the sandbox from a checkout of the repository")


def seed_infra(pair: ControlPlanePair, quick_start: QuickStart) -> None:
    """Create in infra what the quick start assumes, and install the operator's CRDs and RBAC.

    The RBAC of the served namespace is that of the component config/tenant-namespace.
    """
    _define(pair.infra, MACHINE_CONFIGURATION)
    _define(pair.infra, NETWORK)
    pair.infra.apply(_cluster_network())
    pair.infra.apply(infra_network(OVN_KUBERNETES_NAMESPACE))
    pair.infra.apply(operator_installation())
    pair.infra.apply(served_namespace(quick_start.namespace, quick_start.secret))
    pair.infra.apply(blocker_rights(quick_start.namespace))
    pair.infra.apply(_built_in_pools())
    pair.infra.apply(master_node("infra-master-0"))
    pair.infra.apply(dpu_node(name) for name in quick_start.pairs)


def seed_tenant(pair: ControlPlanePair, quick_start: QuickStart, shows: Shows = central_tenant) -> None:
    """Create in the tenant what the quick start assumes: hosts, masters, OVN-Kubernetes, an account that may read."""
    _define(pair.tenant, NODE_MAINTENANCE)
    _define(pair.tenant, CLUSTER_VERSION)
    pair.tenant.apply(cluster_version())
    pair.tenant.apply(shows(quick_start.tenant_namespace))
    pair.tenant.apply(tenant_reader(quick_start.tenant_namespace))
    pair.tenant.apply(master_node(f"tenant-master-{number}") for number in range(3))
    pair.tenant.apply(host_node(host) for host in quick_start.pairs.values())


def operator_installation() -> list[Obj]:
    """The CRDs, the ServiceAccount and the RBAC of the operator from `deploy/`, without its Deployment."""
    shipped = objects_of(ROOT / "deploy" / "dpunetop.yaml")
    return [obj for obj in shipped if obj["kind"] in _RIGHTS]


def served_namespace(namespace: str, secret: str) -> list[Obj]:
    """The objects of config/tenant-namespace for one served namespace."""
    names = {_SAMPLE_NAMESPACE: namespace, _SAMPLE_SECRET: secret}
    return [_renamed(obj, names) for obj in objects_of(ROOT / "deploy" / "tenant-namespace.yaml")]


def blocker_rights(namespace: str) -> list[Obj]:
    """The RBAC of config/rbac for an operator whose own namespace is another one."""
    shipped = (obj for obj in operator_installation() if obj["metadata"]["name"].startswith("dpunetop-blockers"))
    return [{**obj, "metadata": {**obj["metadata"], "namespace": namespace}} for obj in shipped]


def host_node(name: str) -> dict[str, Any]:
    """The tenant's Node of a host with a DPU."""
    return _node(name, "worker", {DPU_HOST_LABEL: ""})


def dpu_node(name: str) -> dict[str, Any]:
    """Infra's Node of a DPU, with the two labels that its administrator sets."""
    return _node(name, "worker", {DPU_WORKER_LABEL: "", DPU_NODE_LABEL: ""}, arch="arm64")


def master_node(name: str) -> dict[str, Any]:
    """A node of the control plane."""
    return _node(name, "master")


def operator_token(pair: ControlPlanePair) -> str:
    """A token of the operator's ServiceAccount, which has the rights of config/rbac and no others."""
    return pair.infra.service_account_token(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT, _TOKEN_SECONDS)


# --- objects that the user creates ------------------------------------------------------------------------------------


def tenant_kubeconfig(tenant: ControlPlane, quick_start: QuickStart) -> dict[str, Any]:
    """A kubeconfig of an account in the tenant that may read what the operator needs."""
    token = tenant.service_account_token(quick_start.tenant_namespace, TENANT_ACCOUNT, _TOKEN_SECONDS)
    return tenant.token_kubeconfig(token)


def entitled_kubeconfig(tenant: ControlPlane) -> dict[str, Any]:
    """Apply deploy/tenant-rights.yaml, and return a kubeconfig of its ServiceAccount: with it the operator mints the
    credential of the DPU pods."""
    rights = objects_of(ROOT / "deploy" / "tenant-rights.yaml")
    tenant.apply(rights)
    [account] = [obj["metadata"] for obj in rights if obj["kind"] == "ServiceAccount"]
    return tenant.token_kubeconfig(tenant.service_account_token(account["namespace"], account["name"], _TOKEN_SECONDS))


def kubeconfig_secret(quick_start: QuickStart, kubeconfig: Mapping[str, Any]) -> dict[str, Any]:
    """The Secret that holds the tenant's kubeconfig."""
    data = {KUBECONFIG_KEY: base64.b64encode(json.dumps(kubeconfig).encode()).decode()}
    return new_object(SECRETS, quick_start.namespace, quick_start.secret, data=data)


def env_overrides(quick_start: QuickStart) -> dict[str, Any]:
    """The ConfigMap that pairs DPUs with hosts."""
    data = {dpu: f"{TENANT_NODE_ENV}={host}\n" for dpu, host in quick_start.pairs.items()}
    return new_object(CONFIGMAPS, quick_start.namespace, ENV_OVERRIDES, data=data)


def dpu_cluster_config(quick_start: QuickStart) -> dict[str, Any]:
    """The DpuClusterConfig."""
    spec = {
        "kubeConfigFile": quick_start.secret,
        "poolName": quick_start.pool,
        "nodeSelector": {"matchLabels": {DPU_WORKER_LABEL: ""}},
    }
    return new_object(DPUCLUSTERCONFIGS, quick_start.namespace, quick_start.name, spec=spec)


def _define(cluster: ControlPlane, manifests: Path) -> None:
    """Install CRDs and the objects beside them, unless one exists: then a real program has installed its own."""
    objects = objects_of(manifests)
    kinds = [obj for obj in objects if obj["kind"] == "CustomResourceDefinition"]
    if not any(cluster.admin.get_or_empty(cluster.admin.path_of(kind)) for kind in kinds):
        cluster.apply(objects)


def _node(name: str, role: str, labels: Mapping[str, str] | None = None, arch: str = "amd64") -> dict[str, Any]:
    node = new_object(NODES, "", name)
    node["metadata"]["labels"] = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": arch,
        f"node-role.kubernetes.io/{role}": "",
        **(labels or {}),
    }
    return node


def _built_in_pools() -> Iterable[dict[str, Any]]:
    for role in ("master", "worker"):
        config = new_object(MACHINECONFIGS, "", f"00-{role}", spec={"config": {"ignition": {"version": "3.2.0"}}})
        config["metadata"]["labels"] = {MACHINE_CONFIG_ROLE_LABEL: role}
        yield config
        spec = {
            "machineConfigSelector": {"matchLabels": {MACHINE_CONFIG_ROLE_LABEL: role}},
            "nodeSelector": {"matchLabels": {f"node-role.kubernetes.io/{role}": ""}},
        }
        yield new_object(MACHINECONFIGPOOLS, "", role, spec=spec)


def _cluster_network() -> dict[str, Any]:
    said = {"clusterNetwork": [{"cidr": "10.128.0.0/14", "hostPrefix": 23}], "serviceNetwork": ["172.30.0.0/16"]}
    return new_object(NETWORKS, "", CLUSTER_NETWORK, spec=said, status=said)


def cluster_version() -> dict[str, Any]:
    """The ClusterVersion, which names the tenant's release."""
    return new_object(CLUSTERVERSIONS, "", CLUSTERVERSION, spec={"clusterID": str(uuid.uuid4())})


def tenant_reader(namespace: str) -> Iterable[dict[str, Any]]:
    """An account in the tenant that may read what the operator needs, and write as a node's OVN-Kubernetes does."""
    rules = {
        "Role": [
            {"apiGroups": [""], "resources": ["secrets", "configmaps", "pods"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": ["apps"], "resources": ["daemonsets", "deployments"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "list", "watch"]},
        ],
        "ClusterRole": [
            {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch", "patch"]},
            # If nothing is minted, the DPU pods use this account, and write as a node's OVN-Kubernetes does.
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": [""], "resources": ["nodes/status", "pods/status"], "verbs": ["patch", "update"]},
            {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": ["list"]},
            {
                "apiGroups": ["nodemaintenance.medik8s.io"],
                "resources": ["nodemaintenances"],
                "verbs": ["get", "list", "watch", "create", "patch", "delete"],
            },
            {
                "apiGroups": ["apiextensions.k8s.io"],
                "resources": ["customresourcedefinitions"],
                "verbs": ["get", "list", "watch"],
            },
            {
                "apiGroups": ["config.openshift.io"],
                "resources": ["clusterversions"],
                "verbs": ["get", "list", "watch"],
            },
        ],
    }
    subject = {"kind": "ServiceAccount", "namespace": namespace, "name": TENANT_ACCOUNT}
    yield new_object(SERVICEACCOUNTS, namespace, TENANT_ACCOUNT)
    for kind, granted in rules.items():
        where = {"namespace": namespace} if kind == "Role" else {}
        metadata = {"name": TENANT_ACCOUNT, **where}
        yield {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata, "rules": granted}
        yield {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": f"{kind}Binding",
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": TENANT_ACCOUNT},
            "subjects": [subject],
        }


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    match value:
        case str():
            return names.get(value, value)
        case list():
            return [_renamed(item, names) for item in value]
        case Mapping():
            return {key: _renamed(item, names) for key, item in value.items()}
    return value
