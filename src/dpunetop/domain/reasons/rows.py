"""The rows of the table of reasons for which nobody has to act: the statement of the message, and the next step.

A row that is a single text has the default next step of its gravity.
"""

from __future__ import annotations

from collections.abc import Mapping

Rows = Mapping[str, str | tuple[str, str]]

GOOD: Rows = {
    "AllProtected": "every pair is protected, and no drain runs",
    "AllReady": "every condition that counts is True",
    "Answered": "the tenant's API server answers",
    "ApiNotServed": "infra has no MachineConfig API; McpReady does not count",
    "Central": "the tenant has central OVN databases",
    "Configured": "the DPU's Node runs the host configuration, or needs none",
    "DPUDown": "the DPU is not Ready while its budget is open",
    "DPURecovering": "the DPU is Ready in another boot, and still cordoned",
    "Draining": "every pair is protected; how many are in a drain",
    "Followed": "every setting of the tenant is followed",
    "Guarded": "the DPU's budget is closed and its blocker Ready; its drain begins with that of its host",
    "HostDrained": "the host is drained; the budget is open, or is opened next",
    "HostLetGo": "the DPU no longer serves the host, which is drained or gone",
    "HostSchedulable": "a host that was left cordoned is schedulable again",
    "Idle": "no drain of the DPU is wanted",
    "Interconnect": "each node of the tenant has OVN databases of its own zone",
    "Minted": "the DPU pods use a token of the operator's ServiceAccount in the tenant",
    "NetworkBack": "the host's network works again",
    "NothingServed": "the DPU serves no host, so nothing holds its drain",
    "Paired": "which host the DPU is paired with",
    "Provided": "the DPU pods use the given kubeconfig",
    "Reachable": "the tenant's API server answers",
    "RolledOut": "every machine of the pool runs the host configuration",
    "Serving": "OVN-Kubernetes serves on the DPU; of a DpuClusterConfig, on every DPU that has an entry",
    "Synced": "the copies of the tenant's objects are current",
    "Verified": "the tenant accepts the kubeconfig, and until when",
    "Verifying": "the drain ends; the network is to be proven",
}
"""Nothing is wrong."""
PASSING: Rows = {
    "HostNotConfigured": "the DPU's host configuration has not arrived yet",
    "LeadingOut": "the DpuClusterConfig is deleted; its hosts are drained and released",
    "NotObserved": "the machine-config operator has not looked at the newest pool yet",
    "NotRendered": "the machine-config operator has not rendered the pool yet",
    "Progressing": "what is being created or observed, and how far it is",
    "Protecting": "some pairs are not protected yet",
    "ProtectionPending": "the DPU's entry waits for its drain blocker",
    "RollingOut": "the pool, or the DaemonSet, is being rolled out, and how far it is",
    "SeveralPods": "an old pod of ovnkube-node still runs on the DPU beside the new one",
    "Terminating": "what is being deleted, and what that waits for",
    "WaitingForTenantObjects": "which copies of the tenant's objects do not exist yet",
}
"""It becomes good by itself."""
WAITING: Rows = {
    "AdmissionNotTried": "what could not be tried against the tenant's admission, and why",
    "DpuDraining": (
        "the DPU's own drain and reboot are under way",
        "wait for the reboot of the DPU; look at its machine-config operator if that takes long",
    ),
    "DpuGone": (
        "the DPU's Node is missing; two reads ten minutes apart decide whether it is gone",
        "register the Node again, or delete it: after 10 minutes its host is left cordoned",
    ),
    "DrainSkipped": (
        "the annotation `skip` makes the DPU's cordon ask for no drain of the host",
        "take the annotation dpu.openshift.io/drain off the DPU's Node for its cordon to count again",
    ),
    "HostDraining": (
        "the host's pods are being evicted",
        "wait; `kubectl get nodemaintenances -o yaml` in the tenant names the pods that are left",
    ),
    "HostForcedBack": (
        "the host is given back because of `force`, although its DPU failed",
        "repair the DPU; take the annotation dpu.openshift.io/drain off",
    ),
    "HostInOwnDrain": (
        "the host's own machine-config operator is at work on it",
        "wait for the host's own machine-config operator",
    ),
    "HostUncordoned": (
        "a person uncordoned the drained host, which ends the drain",
        "uncordon the DPU, when its drain is no longer wanted",
    ),
    "MachineConfigPending": (
        "the machine-config operator is not done with the DPU yet",
        "wait for the machine-config operator of the DPU",
    ),
    "MaintenanceTerminating": (
        "the NodeMaintenance of the host is being deleted",
        "wait; look at the node maintenance operator if that takes long",
    ),
    "NetworkUnproven": (
        "a host that was cordoned by an outage waits for the proof of its network",
        "wait; look at the ovnkube-node pod of the DPU if that takes long, or uncordon the host",
    ),
    "NoCredentials": ("there is no kubeconfig to try", "create the Secret that spec.kubeConfigFile names"),
    "NoFreeSlot": (
        "spec.drain.maxUnavailable hosts are unavailable already",
        "wait for other hosts, or raise spec.drain.maxUnavailable",
    ),
    "NotLookedAt": "what could not be looked at yet, and why",
    "NotPaired": (
        "no host is named for the DPU",
        "name its host in ConfigMap env-overrides, or annotate its Node with dpu.openshift.io/tenant-node",
    ),
    "ProofMissing": (
        "which signs of a working network are missing",
        "wait; look at the ovnkube-node pod of the DPU if that takes long",
    ),
    "Teardown": (
        "the end of the DpuClusterConfig was forced; no drain begins",
        "wait for the end of the DpuClusterConfig",
    ),
    "TenantNotSynced": "the first complete list of the tenant's objects is awaited",
    "TopologyMigrating": (
        "the tenant shows signs of both topologies; what runs is kept",
        "wait for the end of the tenant's migration, or set spec.topology",
    ),
    "TopologyUnknown": (
        "which object of the tenant the topology cannot be read from; what runs is kept",
        "see TenantReachable, or set spec.topology",
    ),
    "TopologyConfirming": "the tenant's topology seems to change; the old one is kept for a while",
}
"""It waits for something else."""
