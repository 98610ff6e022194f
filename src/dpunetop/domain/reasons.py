"""Every reason that a condition or an Event bears: how grave it is, and what to do next. The one table of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

from dpunetop.kube.keys import Resource
from dpunetop.kube.meta import Obj
from dpunetop.kube.plan import Emit


class Gravity(Enum):
    """What a reason asks of whoever reads it."""

    GOOD = auto()
    """All is as it should be."""
    PASSING = auto()
    """It takes its time, and becomes good by itself: a summary does not repeat it."""
    WAITING = auto()
    """Something else has its turn first; it is told, and nobody has to do anything about it."""
    ACTION = auto()
    """Somebody has to do something about it."""

    @property
    def event(self) -> Literal["Normal", "Warning"]:
        """The type of an Event about it."""
        return "Warning" if self is Gravity.ACTION else "Normal"


@dataclass(frozen=True, slots=True)
class Meaning:
    """One row of the table."""

    gravity: Gravity
    next_step: str
    """A command, or where to look; for what is good, what there is to know."""


def _rows(gravity: Gravity, rows: Mapping[str, str]) -> dict[str, Meaning]:
    return {reason: Meaning(gravity, next_step) for reason, next_step in rows.items()}


_NOTHING = "nothing to do"
_WAIT = "wait; the message says for what"

_GOOD = (
    "AllReady AllProtected Answered Draining Followed Idle Minted Provided Reachable RolledOut Serving Synced Verified"
    " Central Interconnect AddressRefused ApiNotServed HostDrained DPUDown DPURecovering Verifying"
    " HostLetGo HostSchedulable NetworkBack"
)
_PASSING = (
    "Progressing NotObserved NotRendered RollingOut HostNotConfigured ProtectionPending Protecting SeveralPods"
    " WaitingForTenantObjects Terminating LeadingOut"
)
_WAITING: Mapping[str, str] = {
    "DrainSkipped": "take the annotation dpu.openshift.io/drain off the DPU's Node for its cordon to count again",
    "DpuDraining": "wait for the reboot of the DPU; look at its machine-config operator if that takes long",
    "DpuGone": "register the Node anew, or delete it for good: after 10 minutes its host is left cordoned",
    "HostDraining": "wait; `kubectl get nodemaintenances -o yaml` in the tenant names the pods that are left",
    "HostForcedBack": "repair the DPU, of which nothing was asked; take the annotation dpu.openshift.io/drain off",
    "HostInOwnDrain": "wait for the host's own machine-config operator",
    "HostUncordoned": "uncordon the DPU, when its drain is no longer wanted",
    "MachineConfigPending": "wait for the machine-config operator of the DPU",
    "MaintenanceTerminating": "wait; look at the node maintenance operator if that takes long",
    "NetworkUnproven": "wait; look at the ovnkube-node pod of the DPU if that takes long, or uncordon the host",
    "NoFreeSlot": "wait for other hosts, or raise spec.drain.maxUnavailable",
    "NoCredentials": "create the Secret that spec.kubeConfigFile names",
    "ProofMissing": "wait; look at the ovnkube-node pod of the DPU if that takes long",
    "Teardown": "wait for the end of the DpuClusterConfig",
    "TenantNotSynced": _WAIT,
    "TopologyConfirming": _WAIT,
    "AdmissionNotTried": _WAIT,
}
_ACTION: Mapping[str, str] = {
    "Aborted": "uncordon the DPU; nothing begins before",
    "BadAnswer": "see what answers at the address of the kubeconfig",
    "BlockerNotReady": "see why the blocker's pod does not run: the message quotes it",
    "BudgetNotOurs": "remove the budget that the message names",
    "CacheContradicted": "look at the load of the API servers",
    "CordonLimitReached": "repair the DPU; cordon the host yourself, or raise spec.unplanned.maxHosts",
    "CredentialExpiresSoon": "put a new kubeconfig into the Secret that the message names",
    "CredentialShortLived": "raise the longest life of ServiceAccount tokens in the tenant",
    "DpuDownOverdue": "see why the DPU does not come back from its reboot",
    "DpuDrainOverdue": "see what the machine-config operator of the DPU waits for",
    "DpuNotSelected": "label the Node as spec.nodeSelector asks, or remove its entry in ConfigMap env-overrides",
    "DpuAbsent": "correct or remove the entry in ConfigMap env-overrides",
    "DrainForced": "see what runs on the host: it may have no network until its DPU is back",
    "DrainTimeout": "see what keeps the host from being drained, or take the cordon of the DPU back",
    "EntryChangePending": "cordon the DPU, so that its host is drained and the new entry is read",
    "EntryRejected": "correct the entry in ConfigMap env-overrides",
    "EntryRemovalPending": "cordon the DPU, so that its host is drained and let go",
    "EnvOverridesMissing": "create ConfigMap env-overrides",
    "Expired": "put a new kubeconfig into the Secret that the message names",
    "Failed": "read the message",
    "FeatureParityDiffers": "read which settings of the tenant its DPUs do not follow",
    "FeatureParityUnknown": "read which settings of the tenant are not known",
    "ForeignMaintenance": "delete the NodeMaintenance, if it is yours",
    "Held": "read the message",
    "GivingBackOverdue": "look at the node maintenance operator; see who keeps the host cordoned",
    "HeldByAnnotation": "take the annotation dpu.openshift.io/drain off the DPU's Node",
    "HostAbsent": "correct the entry in ConfigMap env-overrides, or register the host in the tenant",
    "HostCordoned": "repair the DPU; the host becomes schedulable on proof of its network",
    "HostCutOff": "drain the host, or have it served again",
    "HostDrainOverdue": "see what keeps the pods on the host that the message names",
    "HostLeftCordoned": "see whether the host has a network, then uncordon it",
    "HostNotServed": "uncordon the host, or pair it again",
    "HostServedByOther": "remove one of the two entries; delete the Node of a card that was replaced",
    "HostStillCordoned": "see who keeps the host cordoned, as the message says, and uncordon it",
    "HostWithoutNetwork": "repair the DPU, or cordon the host",
    "HybridOverlayNotSupported": "turn the hybrid overlay off in the tenant",
    "IdentityInDoubt": "see which clusters answer at the address of the kubeconfig",
    "ImageNotAllowed": "name the repository in --allowed-images, or another image in spec.image",
    "ImageSkew": "set spec.image to the tenant's release",
    "InfraForbidden": "apply the operator's manifests anew",
    "InfraSuspect": "look at infra's API server and Nodes",
    "InternalError": "look at the operator's log and report it",
    "Invalid": "correct the object that the message names",
    "InvalidKubeconfig": "correct the kubeconfig in the Secret that the message names",
    "LeaseNotRenewed": "see why ovnkube-controller on the DPU does not reach the tenant",
    "LeftInTenant": "run the `sweep` command of the message once the tenant can be read",
    "MachineConfigStuck": "repair what the message names in the machine-config operator's words",
    "MaintenanceFailed": "look at lastError of the NodeMaintenance; it is tried again",
    "MaintenanceRefused": "do what the refusal asks for; it is tried again",
    "ManagementPortUnknown": "set external_ids:dpunetop-mgmt-port-netdev of Open vSwitch on the DPU",
    "MintedWithoutRights": "apply deploy/tenant-rights.yaml in the tenant anew",
    "MintingForbidden": "apply deploy/tenant-rights.yaml in the tenant anew, or set spec.tenantCredential",
    "NamespaceNotServed": "have an administrator apply config/tenant-namespace for the namespace",
    "NamespaceTaken": "use a namespace of its own",
    "NeverServed": "delete the DpuClusterConfig or have its namespace served",
    "NoImage": "set spec.image or OVNKUBE_IMAGE",
    "NoKubeconfig": "create the Secret that spec.kubeConfigFile names",
    "NoMachines": "label the DPU Nodes as spec.nodeSelector asks",
    "NoMasterAddress": "look at the ovnkube-master pods of the tenant",
    "NoMasters": "look at the ovnkube-master pods of the tenant",
    "NoNodes": "label the DPU Nodes as spec.nodeSelector asks",
    "NoOverlayNotSupported": "turn no-overlay off in the tenant",
    "NoPairs": "write entries into ConfigMap env-overrides",
    "NodeInTwoPools": "take the Node out of one of the pools",
    "NodeMaintenanceNotServed": "install the node maintenance operator in the tenant",
    "NodeNotGranted": "have a cluster administrator label the Node or annotate the Namespace",
    "NodeSelectorMissing": "set spec.nodeSelector",
    "NotAdmitted": "start ovnkube-identity with --extra-allowed-user, as the message says",
    "NotFound": "see that the object which the message names exists in the tenant",
    "NotOurs": "remove the object that the message names",
    "NotTried": "see why the tenant does not answer",
    "NotVerified": "see why the tenant does not answer",
    "OpenVSwitchAway": "look at ovsdb-server and ovs-vswitchd on the DPU",
    "OptionsMissing": "set spec.image to one whose ovnkube knows the options",
    "OptionsUnknown": "set spec.image to one of OVN-Kubernetes for the DPU's architecture",
    "OvnkubeConfInvalid": "correct ovnkube.conf of the tenant",
    "OvnkubeConfMissing": "see that the tenant has its ConfigMap of OVN-Kubernetes",
    "PairingConflict": "remove what contradicts: the message names both places",
    "PodsNotAdmitted": "do what the refusal asks for: Pod Security, SecurityContextConstraints or quota",
    "PodsNotRunning": "see the image and the room of the pod that the message names",
    "PoolDegraded": "repair what the machine-config operator names",
    "PoolKept": "take the nodes out of the pool one by one, then delete it",
    "PoolNameInvalid": "set spec.poolName to a DNS label",
    "PoolNameReserved": "set spec.poolName to a new pool",
    "PoolNotFound": "see why the MachineConfigPool is gone",
    "PoolPaused": "unpause the MachineConfigPool",
    "PoolTaken": "set spec.poolName to another pool",
    "ProtectionOverdue": "see why the blocker or the pods of the DPU do not come or go",
    "RecoveryOverdue": "see why the machine-config operator does not uncordon the DPU",
    "RemovalPending": "cordon the DPU; delete the Node of a card that was replaced",
    "RequestFailed": "look at the server and its admission webhooks",
    "ReservedNamespace": "use a namespace of its own",
    "Revoked": "put a good kubeconfig into the Secret that the message names",
    "RollPending": "annotate the DpuClusterConfig with dpu.openshift.io/roll, as the message says",
    "SecretNotFound": "create the Secret that spec.kubeConfigFile names",
    "SelectorDropsServing": "drain the hosts of the DPUs that the message names, or select them again",
    "StartingOverdue": "see what keeps the drain of the host from beginning",
    "TenantIsInfra": "put a kubeconfig of the tenant into the Secret",
    "TenantNotEngaged": "see CredentialsValid",
    "TenantNotRead": "see TenantReachable and CredentialsValid",
    "TenantSwapped": "put the old tenant's kubeconfig back, or accept the new one as the message says",
    "TenantUnanswered": "see why the tenant does not answer",
    "TenantUnauthorized": "apply deploy/tenant-rights.yaml in the tenant anew",
    "TenantUnreachable": "repair the way to the tenant's API",
    "TooManyInNamespace": "delete the DpuClusterConfigs there that are not needed",
    "TimeWentBack": "wait until every drain is checked; restart the operator after a restore",
    "TokenNotAccepted": "look at the tenant's API servers",
    "TooManyMasters": "look at the ovnkube-master pods of the tenant",
    "TopologyUnconfirmed": "set spec.topology",
    "Unreachable": "repair the way to the tenant's API",
    "VerifyingOverdue": "repair the DPU, or annotate its Node with dpu.openshift.io/drain=force:<bootID>",
    "VersionNotSupported": "see which releases of a tenant are supported",
}

REASONS: Mapping[str, Meaning] = {
    **_rows(Gravity.GOOD, dict.fromkeys(_GOOD.split(), _NOTHING)),
    **_rows(Gravity.PASSING, dict.fromkeys(_PASSING.split(), _WAIT)),
    **_rows(Gravity.WAITING, _WAITING),
    **_rows(Gravity.ACTION, _ACTION),
}
"""All reasons of ours. Those of an API server, such as Forbidden, are not ours."""

_OF_A_SERVER = Meaning(Gravity.ACTION, "do what the server's answer in the message asks for")


def meaning(reason: str) -> Meaning:
    """What a reason means; one that is none of ours is a server's, and to be acted on."""
    return REASONS.get(reason, _OF_A_SERVER)


def event(cluster: str, resource: Resource, regarding: Obj, reason: str, note: str) -> Emit:
    """An Event as grave as its reason. Nothing else makes Events, but what says that all is well."""
    return Emit(cluster, resource, regarding, meaning(reason).gravity.event, reason, note)


def good_event(cluster: str, resource: Resource, regarding: Obj, reason: str, note: str) -> Emit:
    """An Event that says that all is well, with a reason that is a warning elsewhere."""
    return Emit(cluster, resource, regarding, "Normal", reason, note)
