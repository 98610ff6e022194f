"""Every name that is agreed with other programs or with a later run of this one.

A name is a promise: a label that a person sets, an annotation that the machine-config operator writes, an object
that a pod mounts. They stand in one place so that nobody spells one of them twice, and so that a change of one shows.
"""

import hashlib
from typing import Final

from dpunetop.kube.keys import Resource

GROUP: Final = "dpu.openshift.io"

DPUCLUSTERCONFIGS: Final = Resource(GROUP, "v1alpha1", "dpuclusterconfigs", "DpuClusterConfig", True)
MACHINECONFIGS: Final = Resource("machineconfiguration.openshift.io", "v1", "machineconfigs", "MachineConfig", False)
MACHINECONFIGPOOLS: Final = Resource(
    "machineconfiguration.openshift.io", "v1", "machineconfigpools", "MachineConfigPool", False
)
NODEMAINTENANCES: Final = Resource(
    "nodemaintenance.medik8s.io", "v1beta1", "nodemaintenances", "NodeMaintenance", False
)

# Ours, on what we create or guard.
OWNER_LABEL: Final = f"{GROUP}/owner"
"""On every object we create; its value is `owner_hash`."""
FINALIZER: Final = f"{GROUP}/teardown"
"""On the DpuClusterConfig, from before the first object is written until the last one is gone."""

# Set by a person on the DpuClusterConfig.
ADOPT_ANNOTATION: Final = f"{GROUP}/adopt"
ROLL_ANNOTATION: Final = f"{GROUP}/roll"
ACCEPT_TENANT_ANNOTATION: Final = f"{GROUP}/accept-tenant"
FORCE_DELETE_ANNOTATION: Final = f"{GROUP}/force-delete"

# Set by a person on a DPU's Node in infra.
TENANT_NODE_ANNOTATION: Final = f"{GROUP}/tenant-node"

# Labels that others set on Nodes.
DPU_NODE_LABEL: Final = "network.operator.openshift.io/dpu"
"""Infra Node: the cluster network operator leaves the network of this node to us. Needed beside the pool's label."""
DPU_WORKER_LABEL: Final = "node-role.kubernetes.io/dpu-worker"
DPU_HOST_LABEL: Final = "network.operator.openshift.io/dpu-host"

# The machine-config operator's.
MACHINE_CONFIG_ROLE_LABEL: Final = "machineconfiguration.openshift.io/role"
WORKER_ROLE: Final = "worker"
MACHINE_CONFIG_STATE_ANNOTATION: Final = "machineconfiguration.openshift.io/state"
CURRENT_CONFIG_ANNOTATION: Final = "machineconfiguration.openshift.io/currentConfig"
DESIRED_CONFIG_ANNOTATION: Final = "machineconfiguration.openshift.io/desiredConfig"

# Objects with fixed names in the namespace of a DpuClusterConfig.
KUBECONFIG_KEY: Final = "config"
"""Key of the Secret `spec.kubeConfigFile` that holds the tenant's kubeconfig."""
ENV_OVERRIDES: Final = "env-overrides"
"""ConfigMap of the user: one key per DPU node, dotenv lines."""
TENANT_NODE_ENV: Final = "TENANT_K8S_NODE"
OVN_CERT: Final = "ovn-cert"
OVN_CA: Final = "ovn-ca"
OVNKUBE_CONFIG: Final = "ovnkube-config"
OVNKUBE_NODE: Final = "ovnkube-node"
"""DaemonSet that runs OVN-Kubernetes on the DPUs, and its pods' label `app`."""
OVNKUBE_SERVICE_ACCOUNT: Final = "ovn-kubernetes-node"
OVNKUBE_NODE_ENTRIES: Final = "ovnkube-node-entries"
"""ConfigMap of ours that the pods read: one key per DPU node, rendered from a checked entry."""
IDLE_PODS_ANNOTATION: Final = f"{GROUP}/idle-pods"
"""On those entries: JSON, node to the uid of the idle pod that was there when the node's entry was first written."""
TENANT_CREDENTIAL: Final = "dpunetop-tenant-credential"
"""Secret of ours that the pods mount: the rebuilt kubeconfig, never the one that a person stored."""
TENANT_CREDENTIAL_KEY: Final = "kubeconfig"
OVNKUBE_MASTER: Final = "ovnkube-master"
"""Tenant: DaemonSet of the central databases, and its pods' label `app`."""

OVNKUBE_CONTROL_PLANE: Final = "ovnkube-control-plane"
"""Tenant: Deployment of an interconnect cluster's cluster manager."""
OVNKUBE_SCRIPT_LIB: Final = "ovnkube-script-lib"
"""Tenant: ConfigMap that only an interconnect cluster has."""
CLUSTERVERSIONS: Final = Resource("config.openshift.io", "v1", "clusterversions", "ClusterVersion", False)
CLUSTERVERSION: Final = "version"
"""Name of the one ClusterVersion."""

# Fixed places in the clusters.
OVN_KUBERNETES_NAMESPACE: Final = "openshift-ovn-kubernetes"
KUBE_SYSTEM: Final = "kube-system"
"""Namespace whose UID tells one cluster from another."""


def machine_config_name(pool: str) -> str:
    """Name of the one MachineConfig we write for a pool."""
    return f"00-{pool}-bluefield-switchdev"


def field_manager(controller: str) -> str:
    """Field manager of one controller: what it applies, no other controller may give up."""
    return f"dpunetop-{controller}"


def owner_hash(infra_uid: str, namespace: str, name: str) -> str:
    """Value of the owner label of everything written for one DpuClusterConfig.

    Guarantees: the same after the DpuClusterConfig was deleted and made anew, so that it finds its own objects;
    different for another infra cluster, whatever the names are. A valid label value of 32 characters.
    """
    text = "/".join((infra_uid, namespace, name))  # none of the three may hold a slash, so no two triples meet
    return hashlib.sha256(text.encode()).hexdigest()[:32]
