"""Every name that is agreed with other programs or with a later run of this one.

A name is a promise: a label that a person sets, an annotation that the machine-config operator writes, an object
that a pod mounts. They stand in one place, so that none is spelled twice and a change of one shows.
"""

import hashlib
import sys
from collections.abc import Mapping
from typing import Final

from dpunetop.kube.keys import Resource

GROUP: Final = "dpu.openshift.io"

DPUCLUSTERCONFIGS: Final = Resource(GROUP, "v1alpha1", "dpuclusterconfigs", "DpuClusterConfig", True)
DPUNODES: Final = Resource(GROUP, "v1alpha1", "dpunodes", "DpuNode", True)
MACHINECONFIGS: Final = Resource("machineconfiguration.openshift.io", "v1", "machineconfigs", "MachineConfig", False)
MACHINECONFIGPOOLS: Final = Resource(
    "machineconfiguration.openshift.io", "v1", "machineconfigpools", "MachineConfigPool", False
)
NODEMAINTENANCES: Final = Resource(
    "nodemaintenance.medik8s.io", "v1beta1", "nodemaintenances", "NodeMaintenance", False
)

PODDISRUPTIONBUDGETS: Final = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", True)

# Ours, on what we create or guard.
OWNER_LABEL: Final = f"{GROUP}/owner"
"""On every object we create; its value is `owner_hash`."""
OPERATOR_LEASE: Final = "dpunetop"
"""Lease of the leader, in the namespace of the operator."""
FINALIZER: Final = f"{GROUP}/teardown"
"""On the DpuClusterConfig, from before the first object is written until the last one is gone."""

SERVES_ANNOTATION: Final = f"{GROUP}/serves"
"""On the budget of a DPU: the tenant host that it serves. A cordon asks for a drain only where this stands."""
CYCLE_ANNOTATION: Final = f"{GROUP}/cycle"
"""On the budget of a DPU: the record of its running drain, see `drain.model.record`."""
LEAVING_ANNOTATION: Final = f"{GROUP}/leaving"
"""On the budget of a DPU whose entry is gone: UIDs of the pods that may have read it."""
FENCE_ANNOTATION: Final = f"{GROUP}/fence"
"""On the per-node entries: changes with every removal, so that a write that was decided on before it is refused."""
HOST_UPDATE_ANNOTATION: Final = f"{GROUP}/host-update"
"""On a NodeMaintenance: how far the host's own machine-config operator was when it was made, see `machinestate`."""
HOST_UID_ANNOTATION: Final = f"{GROUP}/host-uid"
"""On a NodeMaintenance: UID of the Node that its `cordoned-before` is about."""
OUTDATED_DRAIN_ANNOTATION: Final = f"{GROUP}/outdated-drain"
"""On a NodeMaintenance: `lastUpdate` of a drain that no longer counts, because its host was uncordoned since."""
OPEN_FOR_PREFIX: Final = f"{GROUP}/open-for."
"""On a NodeMaintenance, with a hash of the DPU behind it: that DPU's budget is open, or about to be."""
CORDONED_BEFORE_ANNOTATION: Final = f"{GROUP}/cordoned-before"
"""On a tenant Node and on its NodeMaintenance: `yes` or `no`, whether the host was cordoned before we drained it."""
UNPLANNED_ANNOTATION: Final = f"{GROUP}/unplanned"
"""On a tenant Node that we cordon because its network failed outside a drain, see `drain.model.cordonmark`."""
LEFT_BY_ANNOTATION: Final = f"{GROUP}/left-by"
"""On a tenant Node that was left cordoned: the owner label of the DpuClusterConfig that left it. A new one with the
same namespace and name removes the cordon on proof."""
DRAIN_BLOCKER: Final = "dpu-drain-blocker"
"""ServiceAccount of the blockers, and how their names begin."""

# In the status of the DpuClusterConfig.
READY_CONDITION: Final = "Ready"
"""Type of the condition that sums up the others: the only one of a DpuClusterConfig that was never served."""
CLAIMED_POOL: Final = "claimedPool"
"""The pool of a DpuClusterConfig that is served, from before anything else is written for it until it is gone. In the
status, because its author may write its finalizers, but not its status."""

# Set by a person on the DpuClusterConfig.
ROLL_ANNOTATION: Final = f"{GROUP}/roll"
ACCEPT_TENANT_ANNOTATION: Final = f"{GROUP}/accept-tenant"
FORCE_DELETE_ANNOTATION: Final = f"{GROUP}/force-delete"

# Set by a person on a DPU's Node in infra.
TENANT_NODE_ANNOTATION: Final = f"{GROUP}/tenant-node"
DRAIN_ANNOTATION: Final = f"{GROUP}/drain"
"""`skip`, `hold` or `force:<bootID>`."""

# Set by a cluster administrator on a Namespace of infra.
NODE_GRANT_ANNOTATION: Final = f"{GROUP}/node-grant"
"""A label selector, as `kubectl -l` takes it, of the nodes that DpuClusterConfigs there may have. Without it they may
have those with `DPU_WORKER_LABEL`."""

SAME_TENANT_ANNOTATION: Final = f"{GROUP}/tenant"
"""UID of a tenant's `kube-system`: DpuClusterConfigs in namespaces with this UID, and whose clusters give it, share a
tenant whatever CA signs for each."""

# Labels that others set on Nodes.
CONTROL_PLANE_LABELS: Final = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
"""No kubelet may set or remove these; see the admission plugin NodeRestriction."""
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
CURRENT_IMAGE_ANNOTATION: Final = "machineconfiguration.openshift.io/currentImage"
DESIRED_IMAGE_ANNOTATION: Final = "machineconfiguration.openshift.io/desiredImage"
MACHINE_CONFIG_REASON_ANNOTATION: Final = "machineconfiguration.openshift.io/reason"
DESIRED_DRAIN_ANNOTATION: Final = "machineconfiguration.openshift.io/desiredDrain"
LAST_APPLIED_DRAIN_ANNOTATION: Final = "machineconfiguration.openshift.io/lastAppliedDrain"

# The node maintenance operator's.
MAINTENANCE_TAINT: Final = "medik8s.io/drain"
"""On a tenant Node from before its cordon until before its uncordon."""

# OVN-Kubernetes', on a tenant Node of the interconnect topology; `drain.rules.signs` says which side writes each, and
# when.
ZONE_ANNOTATION: Final = "k8s.ovn.org/zone-name"
ENCAP_IPS_ANNOTATION: Final = "k8s.ovn.org/node-encap-ips"
GATEWAY_ANNOTATION: Final = "k8s.ovn.org/l3-gateway-config"
CHASSIS_ANNOTATION: Final = "k8s.ovn.org/node-chassis-id"
CONNECTION_STATUS_ANNOTATION: Final = "k8s.ovn.org/dpu.connection-status"
"""OVN-Kubernetes', on a tenant Pod: how its DPU has answered its request for a network."""
LEASE_PREFIX: Final = "ovn-dpu-"
"""Prefix of the Lease that a DPU renews in the namespace of OVN-Kubernetes; the name of its host follows."""
MACHINE_ANNOTATIONS: Final = (
    CURRENT_CONFIG_ANNOTATION,
    DESIRED_CONFIG_ANNOTATION,
    CURRENT_IMAGE_ANNOTATION,
    DESIRED_IMAGE_ANNOTATION,
    MACHINE_CONFIG_STATE_ANNOTATION,
    MACHINE_CONFIG_REASON_ANNOTATION,
    DESIRED_DRAIN_ANNOTATION,
    LAST_APPLIED_DRAIN_ANNOTATION,
)
"""All that is read of what the machine-config operator writes onto a Node."""
HOST_ANNOTATIONS: Final = (
    CORDONED_BEFORE_ANNOTATION,
    UNPLANNED_ANNOTATION,
    LEFT_BY_ANNOTATION,
    *MACHINE_ANNOTATIONS,
    ZONE_ANNOTATION,
    ENCAP_IPS_ANNOTATION,
    GATEWAY_ANNOTATION,
    CHASSIS_ANNOTATION,
)
"""All that is read of a tenant Node's annotations."""
HOST_LABELS: Final = (DPU_HOST_LABEL, *CONTROL_PLANE_LABELS)
"""All that is read of a tenant Node's labels."""

# Objects with fixed names in the namespace of a DpuClusterConfig.
KUBECONFIG_KEY: Final = "config"
"""Key of the Secret `spec.kubeConfigFile` that holds the tenant's kubeconfig."""
ENV_OVERRIDES: Final = "env-overrides"
"""ConfigMap of the user: one key per DPU node, dotenv lines."""
TENANT_NODE_ENV: Final = "TENANT_K8S_NODE"
OVN_CERT: Final = "ovn-cert"
OVN_CA: Final = "ovn-ca"
OVNKUBE_CONFIG: Final = "ovnkube-config"
OVN_CONFIG: Final = "ovn-config"
"""ConfigMap with networks and MTU, from OVN-Kubernetes' own chart."""
OVNKUBE_NODE: Final = "ovnkube-node"
"""DaemonSet that runs OVN-Kubernetes on the DPUs, and its pods' label `app`."""
OVNKUBE_SERVICE_ACCOUNT: Final = "ovn-kubernetes-node"
OVNKUBE_NODE_ENTRIES: Final = "ovnkube-node-entries"
"""ConfigMap of ours that the pods read: one key per DPU node, rendered from a checked entry."""
IDLE_PODS_ANNOTATION: Final = f"{GROUP}/idle-pods"
"""On those entries: JSON, node to the UID of the idle pod that ran when the node's entry was first written."""
UNSURE_PODS_ANNOTATION: Final = f"{GROUP}/unsure-pods"
"""Beside it: UIDs of the pods that ran before the ConfigMap was made; what they have read is unknown."""
TEMPLATE_HASH_ANNOTATION: Final = f"{GROUP}/template-hash"
"""On the pods of our DaemonSet: hash of the whole template that a pod was made from."""
SINCE_ANNOTATION: Final = f"{GROUP}/since"
"""On a budget: when it was first written which host its DPU serves, or that it leaves."""
PROVEN_TEMPLATE_ANNOTATION: Final = f"{GROUP}/proven-template"
"""On our DaemonSet: hash of the last template that a DPU was seen to serve with."""
TENANT_CREDENTIAL: Final = "dpunetop-tenant-credential"
"""Secret of ours that the pods mount: a kubeconfig that we made, never the one that a person stored."""
TENANT_CREDENTIAL_KEY: Final = "kubeconfig"
CREDENTIAL_FILE_KEY: Final = "token"
"""Key of the token in a Secret of ours whose kubeconfig names a token file; pods read it again when it changes."""
CREDENTIAL_ANNOTATION: Final = f"{GROUP}/credential"
"""On `TENANT_CREDENTIAL`: `Provided` if it comes from the given kubeconfig; a token beside it is then not minted."""
PROVIDED: Final = "Provided"
MINTED_AT_ANNOTATION: Final = f"{GROUP}/minted-at"
EXPIRES_AT_ANNOTATION: Final = f"{GROUP}/expires-at"
"""On `TENANT_CREDENTIAL` with a minted token: when it was requested, and when it expires; RFC 3339."""
MINTED_FOR_ANNOTATION: Final = f"{GROUP}/minted-for"
"""Beside them: UID of the token's ServiceAccount."""
TENANT_KUBECONFIG: Final = "dpunetop-tenant-kubeconfig"
"""Secret of ours that no pod mounts: the rebuilt kubeconfig that worked last, for the operator itself."""
MINTED_IN_ANNOTATION: Final = f"{GROUP}/minted-in"
"""On `TENANT_KUBECONFIG`, from before we write to the tenant: our accounts there, separated by commas, each `namespace`
for `DPU_ACCOUNT` and `namespace/name` for another."""
OVNKUBE_MASTER: Final = "ovnkube-master"
"""Tenant: DaemonSet of the central databases, and its pods' label `app`."""

OVNKUBE_CONTROL_PLANE: Final = "ovnkube-control-plane"
"""Tenant: Deployment of an interconnect cluster's cluster manager."""
OVNKUBE_SCRIPT_LIB: Final = "ovnkube-script-lib"
"""Tenant: ConfigMap that only an interconnect cluster has."""
DPU_ACCOUNT: Final = "dpunetop-dpu"
"""Tenant: our ServiceAccount for the DPU pods, and its RoleBinding and ClusterRoleBinding."""
UPSTREAM_DPU_ACCOUNT: Final = "ovnkube-node-dpu"
"""The same in a tenant with OVN-Kubernetes' own charts, whose webhook knows DPUs by this name."""
DPU_ROLE: Final = "dpunetop-dpu"
"""Tenant: Role and ClusterRole of config/tenant with what a DPU's OVN-Kubernetes uses, and no more."""
OVNKUBE_NODE_DPU_HOST: Final = "ovnkube-node-dpu-host"
"""Tenant: DaemonSet of the hosts that carry a DPU."""
OVNKUBE_CONTROLLER: Final = "ovnkube-controller"
"""Container that runs ovnkube in an interconnect cluster, there and here."""
OVN_CONTROLLER: Final = "ovn-controller"
CLUSTERVERSIONS: Final = Resource("config.openshift.io", "v1", "clusterversions", "ClusterVersion", False)
CLUSTERVERSION: Final = "version"
"""Name of the one ClusterVersion."""
NETWORKS: Final = Resource("config.openshift.io", "v1", "networks", "Network", False)
CLUSTER_NETWORK: Final = "cluster"
"""Name of the one Network of an OpenShift cluster: which addresses its pods and Services have."""

# Fixed places in the clusters.
OVN_KUBERNETES_NAMESPACE: Final = "openshift-ovn-kubernetes"
KUBE_SYSTEM: Final = "kube-system"
"""Namespace whose UID tells one cluster from another."""


def machine_config_name(pool: str) -> str:
    """Name of the one MachineConfig we write for a pool."""
    return f"00-{pool}-bluefield-switchdev"


def blocker_name(node: str) -> str:
    """Name of a DPU node's Deployment and budget, and value of the label by which they find their pod.

    Guarantees: the predecessor's name wherever that is a valid label value, else cut, with a hash in its place.
    """
    name = f"{DRAIN_BLOCKER}-{node}"
    # One string object for all caches that hold it.
    return sys.intern(name if len(name) <= 63 else f"{name[:46].rstrip('-.')}-{short_hash(node)}")


def blocker_labels(node: str) -> Mapping[str, str]:
    """The label by which a budget and its Deployment find their pod."""
    return labels_of_blocker(blocker_name(node))


def labels_of_blocker(name: str) -> Mapping[str, str]:
    """The same label, by the name of the budget and its Deployment."""
    return {"app": name}


def maintenance_name(host: str) -> str:
    """Name of our NodeMaintenance of a tenant host: the predecessor's where that is a valid name."""
    name = f"dpu-tenant-{host}"
    return name if len(name) <= 253 else f"dpu-tenant-{short_hash(host)}"


def open_for(dpu: str) -> str:
    """Annotation of a NodeMaintenance that stands for the open budget of one DPU."""
    return f"{OPEN_FOR_PREFIX}{short_hash(dpu)}"


def short_hash(text: str) -> str:
    """16 hex digits that tell names apart."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def field_manager(controller: str) -> str:
    """Field manager of one controller; no other controller can give up the fields that it applies."""
    return f"dpunetop-{controller}"


def owner_hash(infra_uid: str, namespace: str, name: str) -> str:
    """Value of the owner label of everything written for one DpuClusterConfig.

    Guarantees: the same after the DpuClusterConfig was deleted and created again, so that it finds its own objects;
        different for another infra cluster, whatever the names are. A valid label value of 32 characters.
    """
    text = "/".join((infra_uid, namespace, name))  # none of the three may hold a slash, so no two triples give one text
    return hashlib.sha256(text.encode()).hexdigest()[:32]
