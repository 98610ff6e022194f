"""Rows of what a person has to do about pairs of DPU and host, and about their drains."""

from __future__ import annotations

from dpunetop.domain.reasons.rows import Rows

PAIR_ROWS: Rows = {
    "Aborted": ("the drain was aborted; the DPU is still cordoned", "uncordon the DPU; no drain begins before"),
    "BlockerNotReady": (
        "the DPU's blocker is not Ready, so nothing would hold the next drain",
        "see why the blocker's pod does not run: the message quotes it",
    ),
    "CordonLimitReached": (
        "spec.unplanned.maxHosts hosts are cordoned already",
        "repair the DPU; cordon the host yourself, or raise spec.unplanned.maxHosts",
    ),
    "DpuAbsent": (
        "an entry names a DPU that infra has no Node of",
        "correct or remove the entry in ConfigMap env-overrides",
    ),
    "DpuDownOverdue": (
        "the DPU is not Ready for longer than its limit",
        "see why the DPU does not come back from its reboot",
    ),
    "DpuDrainOverdue": (
        "the DPU's own drain takes longer than its limit",
        "see what the machine-config operator of the DPU waits for",
    ),
    "DrainForced": (
        "the budget is opened because of `force`, whether the host is drained or not",
        "see what runs on the host: it may have no network until its DPU is back",
    ),
    "DrainTimeout": (
        "the drain of the host takes longer than spec.drain.timeout",
        "see what keeps the host from being drained, or take the cordon of the DPU back",
    ),
    "EntryChangePending": (
        "the DPU's entry changed while it serves; it is read in the next drain",
        "cordon the DPU, so that its host is drained and the new entry is read",
    ),
    "EntryRejected": ("which entries are not valid, and why", "correct the entry in ConfigMap env-overrides"),
    "EntryRemovalPending": (
        "the DPU's entry is gone while it serves; it leaves in the next drain",
        "cordon the DPU, so that its host is drained and let go",
    ),
    "EnvOverridesMissing": (
        "ConfigMap env-overrides does not exist, nor any annotation in its place",
        "create ConfigMap env-overrides",
    ),
    "Failed": ("why the host could not be drained", "do what the message says; the drain is tried again"),
    "ForeignMaintenance": (
        "a NodeMaintenance of the host exists that is not the operator's",
        "delete the NodeMaintenance, if it is yours",
    ),
    "GivingBackOverdue": (
        "the end of the maintenance takes longer than its limit",
        "see that the node maintenance operator of the tenant runs, and who keeps the host cordoned",
    ),
    "Held": ("what holds the drain", "do what the message says"),
    "HeldByAnnotation": (
        "the annotation `hold` holds the drain",
        "take the annotation dpu.openshift.io/drain off the DPU's Node",
    ),
    "HostAbsent": (
        "the tenant has no Node of the host's name; similar names",
        "correct the entry in ConfigMap env-overrides, or register the host in the tenant",
    ),
    "HostCordoned": (
        "the host's DPU failed; the host is cordoned",
        "repair the DPU; the host becomes schedulable on proof of its network",
    ),
    "HostCutOff": (
        "the DPU no longer serves the host, which is not known to be drained",
        "drain the host, or have it served again",
    ),
    "HostDrainOverdue": (
        "the drain of the host takes longer than its limit; which pods are left",
        "see what keeps the pods on the host that the message names",
    ),
    "HostLeftCordoned": (
        "the host stays cordoned: nothing proved its network, or no DPU serves it",
        "see whether the host has a network, then uncordon it",
    ),
    "HostNotServed": (
        "the host was left cordoned by a DpuClusterConfig, and no DPU serves it",
        "uncordon the host, or pair it again",
    ),
    "HostServedByOther": (
        "another DPU serves the host already",
        "remove one of the two entries; delete the Node of a card that was replaced",
    ),
    "HostStillCordoned": (
        "the maintenance is gone and the host is cordoned; it is not known who wants that",
        "find out who keeps the host cordoned, as the message says, then uncordon it",
    ),
    "HostWithoutNetwork": (
        "the host's DPU failed outside a drain: since when and why",
        "repair the DPU, or cordon the host",
    ),
    "InfraSuspect": (
        "so many DPUs fail at once that infra itself is suspected; no host is cordoned",
        "look at infra's API server and Nodes",
    ),
    "LeaseNotRenewed": (
        "the DPU does not renew the Lease of its host",
        "see why ovnkube-controller on the DPU does not reach the tenant",
    ),
    "MaintenanceFailed": (
        "the NodeMaintenance failed: its lastError",
        "look at lastError of the NodeMaintenance; it is tried again",
    ),
    "MaintenanceRefused": (
        "an admission webhook refuses the NodeMaintenance, in its own words",
        "do what the refusal asks for; it is tried again",
    ),
    "NodeMaintenanceNotServed": (
        "the tenant has no NodeMaintenance API",
        "install the node maintenance operator in the tenant",
    ),
    "NoPairs": ("no DPU is paired with a host", "write entries into ConfigMap env-overrides"),
    "PairingConflict": (
        "which two places contradict each other",
        "remove what contradicts: the message names both places",
    ),
    "ProtectionOverdue": (
        "protection takes longer than its limit, and at what it is",
        "see why the blocker or the pods of the DPU do not come or go",
    ),
    "RecoveryOverdue": (
        "the DPU is back and stays cordoned for longer than its limit",
        "see why the machine-config operator does not uncordon the DPU",
    ),
    "RemovalPending": (
        "the DPU is not paired with its host any more, and serves it until the host is drained",
        "cordon the DPU; delete the Node of a card that was replaced",
    ),
    "StartingOverdue": (
        "the host has not been asked to drain within the limit, and why",
        "see what keeps the drain of the host from beginning",
    ),
    "VerifyingOverdue": (
        "the network is not proven within the limit; which signs are missing",
        "repair the DPU, or annotate its Node with dpu.openshift.io/drain=force:<bootID>",
    ),
}
