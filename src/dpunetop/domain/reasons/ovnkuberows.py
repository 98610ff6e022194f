"""Rows of what a person has to do about OVN-Kubernetes: its image, topology, settings, and pods."""

from __future__ import annotations

from dpunetop.domain.reasons.rows import Rows

OVNKUBE_ROWS: Rows = {
    "FeatureParityDiffers": (
        "which settings of the tenant the DPUs do not follow",
        "see FeatureParity; change the setting in the tenant, or accept the difference",
    ),
    "FeatureParityUnknown": (
        "which settings of the tenant the operator does not know",
        "see FeatureParity, and whether a newer release of the operator knows the setting",
    ),
    "HybridOverlayNotSupported": (
        "the tenant has a hybrid overlay, which a DPU cannot have",
        "turn the hybrid overlay off in the tenant",
    ),
    "ImageNotAllowed": (
        "the image's repository is not allowed, or it has no digest",
        "name the repository in --allowed-images, or another image in spec.image",
    ),
    "ImageSkew": ("the image and the tenant are of different releases", "set spec.image to the tenant's release"),
    "IPsecNotSupported": (
        "the tenant encrypts its overlay with IPsec, which a DPU cannot do",
        "turn IPsec off in the tenant",
    ),
    "IPv6NotSupported": ("the tenant has IPv6 subnets; a DPU serves IPv4 only", "serve a tenant of IPv4 only"),
    "ManagementPortUnknown": (
        "the container waits: Open vSwitch names no management port",
        "set external_ids:dpunetop-mgmt-port-netdev of Open vSwitch on the DPU",
    ),
    "NeverServed": (
        "the DpuClusterConfig was never served",
        "delete the DpuClusterConfig or have its namespace served",
    ),
    "NoImage": ("no image of OVN-Kubernetes is known", "set spec.image or OVNKUBE_IMAGE"),
    "NoMasterAddress": ("the pods ovnkube-master have no addresses", "look at the ovnkube-master pods of the tenant"),
    "NoMasters": ("the tenant has no pods ovnkube-master", "look at the ovnkube-master pods of the tenant"),
    "NoNodes": ("the DaemonSet selects no node", "label the DPU Nodes as spec.nodeSelector asks"),
    "NoOverlayNotSupported": (
        "the tenant has a network without overlay, which a DPU cannot have",
        "turn no-overlay off in the tenant",
    ),
    "OpenVSwitchAway": (
        "the container waits: Open vSwitch does not run on the DPU",
        "look at ovsdb-server and ovs-vswitchd on the DPU",
    ),
    "OptionsMissing": (
        "the image's ovnkube lacks options that the tenant's settings need",
        "set spec.image to one whose ovnkube knows the options",
    ),
    "OptionsUnknown": (
        "the image's ovnkube does not list its options",
        "set spec.image to one of OVN-Kubernetes for the DPU's architecture",
    ),
    "OvnkubeConfInvalid": (
        "which value of the tenant's ovnkube.conf is not valid",
        "correct ovnkube.conf of the tenant",
    ),
    "OvnkubeConfMissing": (
        "the tenant has no ovnkube.conf, or it lacks a value",
        "see that the tenant has its ConfigMap of OVN-Kubernetes",
    ),
    "PodsNotAdmitted": (
        "infra refuses the pods of ovnkube-node, in its own words",
        "do what the refusal asks for: Pod Security, SecurityContextConstraints or quota",
    ),
    "PodsNotRunning": (
        "which pod of ovnkube-node does not run, and why",
        "see whether the image of the pod can be pulled, and whether its node has room",
    ),
    "TooManyMasters": (
        "the tenant has more pods ovnkube-master than OVN databases can have",
        "look at the ovnkube-master pods of the tenant",
    ),
    "TopologyUnconfirmed": ("the tenant's topology seems to change, and nothing confirms it", "set spec.topology"),
    "VersionNotSupported": (
        "the tenant's release is not supported",
        "use a supported release in the tenant: docs/limits.md lists them",
    ),
}
