"""All checks of a preflight, in the order in which a person repairs what they find."""

from __future__ import annotations

from typing import Final

from dpunetop.domain.doctor import cluster, credentials, nodes, pools, rights, tenants
from dpunetop.domain.doctor.model import Check, Side

CHECKS: Final = (
    Check(
        "infra-release",
        "Kubernetes of infra",
        "GET /version",
        Side.INFRA,
        cluster.judge_release,
    ),
    Check(
        "infra-apis",
        "APIs that infra serves",
        "machineconfigpools, machineconfigs, poddisruptionbudgets, securitycontextconstraints",
        Side.INFRA,
        cluster.judge_apis,
    ),
    Check(
        "definition",
        "The kinds DpuClusterConfig and DpuNode",
        "their CustomResourceDefinitions, against those of this release",
        Side.INFRA,
        cluster.judge_definition,
    ),
    Check(
        "operator-rights",
        "Rights of the operator in infra",
        "a SubjectAccessReview for each right of deploy/dpunetop.yaml and, in each served namespace, of "
        "deploy/tenant-namespace.yaml",
        Side.INFRA,
        rights.judge_infra,
    ),
    Check(
        "operator",
        "The operator at work",
        "its Deployment and Lease",
        Side.INFRA,
        cluster.judge_operator,
    ),
    Check(
        "admission",
        "Pods that infra admits",
        "namespaces, a dry run of a blocker and of an ovnkube-node pod, a SubjectAccessReview for their "
        "SecurityContextConstraints",
        Side.INFRA,
        cluster.judge_admission,
    ),
    Check(
        "dpu-nodes",
        "Labels and grants of the DPUs",
        "Nodes of infra, namespaces, DpuClusterConfigs",
        Side.INFRA,
        nodes.judge_labels,
    ),
    Check(
        "pools",
        "MachineConfigPools of the DPUs",
        "machineconfigpools and Nodes of infra, with what the machine-config operator says there",
        Side.INFRA,
        pools.judge_pools,
    ),
    Check(
        "images",
        "Architecture of the images",
        "what Nodes of infra have pulled",
        Side.INFRA,
        nodes.judge_images,
    ),
    Check(
        "tenant-kubeconfig",
        "The stored kubeconfigs of tenants",
        "the Secret of each DpuClusterConfig",
        Side.INFRA,
        credentials.judge_kubeconfigs,
    ),
    Check(
        "pod-credential",
        "The credential of the DPU pods",
        "Secret dpunetop-tenant-credential of each served namespace",
        Side.INFRA,
        credentials.judge_pods,
    ),
    Check(
        "copied-certificates",
        "The certificates that are copied from tenants",
        "Secret ovn-cert and ConfigMap ovn-ca of each served namespace",
        Side.INFRA,
        credentials.judge_copies,
    ),
    Check(
        "operator-credential",
        "The operator's own credential, and the certificate of its metrics",
        "its Deployment, and the Secret that /metrics is served with",
        Side.INFRA,
        credentials.judge_own,
    ),
    Check(
        "tenant-server",
        "The tenant's API server: its certificate and its clock",
        "the certificate that it shows, and the time that it sends with each answer",
        Side.TENANT,
        tenants.judge_server,
    ),
    Check(
        "tenant-rights",
        "Rights in the tenant",
        "an access review for each right of deploy/tenant-rights.yaml",
        Side.TENANT,
        rights.judge_tenant,
    ),
    Check(
        "pod-rights",
        "Rights of the DPU pods in the tenant",
        "Role and ClusterRole dpunetop-dpu, against those of deploy/tenant-rights.yaml",
        Side.TENANT,
        rights.judge_pods,
    ),
    Check(
        "topology",
        "OVN-Kubernetes of the tenant",
        "DaemonSet ovnkube-node, Deployment ovnkube-control-plane, ConfigMap ovnkube-script-lib, ClusterVersion",
        Side.TENANT,
        tenants.judge_topology,
    ),
    Check(
        "settings",
        "Settings that DPUs share with the tenant",
        "ConfigMaps and DaemonSets of OVN-Kubernetes in the tenant",
        Side.TENANT,
        tenants.judge_settings,
    ),
    Check(
        "mtu",
        "MTU",
        "the tenant's ovnkube-config or ovn-config, infra's Network",
        Side.TENANT,
        tenants.judge_mtu,
    ),
    Check(
        "leases",
        "Leases by which hosts know their DPUs",
        "DaemonSet ovnkube-node-dpu-host of the tenant, ovnkube-node of infra",
        Side.TENANT,
        tenants.judge_leases,
    ),
    Check(
        "mapping",
        "Pairs of DPU and host",
        "ConfigMap env-overrides, annotations of DPUs, Nodes of both clusters",
        Side.TENANT,
        nodes.judge_mapping,
    ),
    Check(
        "maintenance",
        "Draining of hosts",
        "NodeMaintenances of the tenant, and a dry run of one",
        Side.TENANT,
        tenants.judge_maintenance,
    ),
    Check(
        "node-identity",
        "What the tenant's admission lets DPU pods write",
        "the operator's own dry runs, in condition DpuCredentialValid",
        Side.TENANT,
        tenants.judge_identity,
    ),
)
"""Their ids are unique, and never change."""
