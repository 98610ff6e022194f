"""The rows of the table of reasons: the statement of the message, and the next step.

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
ACTION: Rows = {
    "Aborted": ("the drain was aborted; the DPU is still cordoned", "uncordon the DPU; no drain begins before"),
    "AddressRefused": (
        "the kubeconfig names an address that the operator never connects to",
        "add the address to --tenant-allowed-cidrs, if it is a tenant's",
    ),
    "ApiRemoved": (
        "infra no longer serves the MachineConfig API, although DPUs run its configuration; McpReady does not count",
        "install the machine-config operator in infra again, with its CustomResourceDefinitions",
    ),
    "BadAnswer": (
        "the server's answer is not one of the Kubernetes API",
        "see which server answers at the address of the kubeconfig",
    ),
    "BlockerNotReady": (
        "the DPU's blocker is not Ready, so nothing would hold the next drain",
        "see why the blocker's pod does not run: the message quotes it",
    ),
    "CacheContradicted": (
        "the watch cache and the API server disagree for more than 10 s",
        "nothing at once: all is listed again after 30 s; look at the load of the API servers if it stays",
    ),
    "CertificateExpired": (
        "which certificate of the tenant's databases ended, and when",
        "have the tenant's cluster network operator renew it: `oc describe co network` there says what keeps it",
    ),
    "CertificateExpiresSoon": (
        "which certificate of the tenant's databases ends within seven days, and when",
        "have the tenant's cluster network operator renew it: `oc describe co network` there says what keeps it",
    ),
    "CordonLimitReached": (
        "spec.unplanned.maxHosts hosts are cordoned already",
        "repair the DPU; cordon the host yourself, or raise spec.unplanned.maxHosts",
    ),
    "CredentialExpiresSoon": (
        "until when the given kubeconfig is good",
        "put a new kubeconfig into the Secret that the message names",
    ),
    "CredentialShortLived": (
        "the minted token expires sooner than an operator may be down",
        "raise the longest lifetime of ServiceAccount tokens in the tenant (--service-account-max-token-expiration)",
    ),
    "DNS": (
        "the name of the tenant's API server is not resolved",
        "correct the server in the kubeconfig, or add its name to infra's DNS",
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
    "DpuNodesNotWritten": (
        "why no DpuNode is written or brought up to date; nothing else stops",
        "apply the operator's CustomResourceDefinitions and roles again",
    ),
    "DpuNotSelected": (
        "an entry names a DPU that spec.nodeSelector does not pick",
        "label the Node as spec.nodeSelector asks, or remove its entry in ConfigMap env-overrides",
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
    "EventsLeftOut": (
        "an object has more different Events than it may have",
        "see the conditions of the object, and the operator's log",
    ),
    "EventsRefused": (
        "which right the operator lacked to write Events; earlier Events are missing",
        "apply the operator's roles again",
    ),
    "Expired": ("when the credential ended", "put a new kubeconfig into the Secret that the message names"),
    "Failed": ("why the host could not be drained", "do what the message says; the drain is tried again"),
    "FeatureParityDiffers": (
        "which settings of the tenant the DPUs do not follow",
        "see FeatureParity; change the setting in the tenant, or accept the difference",
    ),
    "FeatureParityUnknown": (
        "which settings of the tenant the operator does not know",
        "see FeatureParity, and whether a newer release of the operator knows the setting",
    ),
    "ForeignMaintenance": (
        "a NodeMaintenance of the host exists that is not the operator's",
        "delete the NodeMaintenance, if it is yours",
    ),
    "GivingBackOverdue": (
        "the end of the maintenance takes longer than its limit",
        "look at the node maintenance operator, and at who keeps the host cordoned",
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
    "HybridOverlayNotSupported": (
        "the tenant has a hybrid overlay, which a DPU cannot have",
        "turn the hybrid overlay off in the tenant",
    ),
    "IPsecNotSupported": (
        "the tenant encrypts its overlay with IPsec, which a DPU cannot do",
        "turn IPsec off in the tenant",
    ),
    "IPv6NotSupported": ("the tenant has IPv6 subnets; a DPU serves IPv4 only", "serve a tenant of IPv4 only"),
    "IdentityInDoubt": (
        "the tenant shows the identity of two clusters in turn",
        "see which clusters answer at the address of the kubeconfig",
    ),
    "ImageNotAllowed": (
        "the image's repository is not allowed, or it has no digest",
        "name the repository in --allowed-images, or another image in spec.image",
    ),
    "ImageSkew": ("the image and the tenant are of different releases", "set spec.image to the tenant's release"),
    "InfraForbidden": ("which right the operator lacks in infra", "apply the operator's manifests again"),
    "InfraSuspect": (
        "so many DPUs fail at once that infra itself is suspected; no host is cordoned",
        "look at infra's API server and Nodes",
    ),
    "InternalError": (
        "the operator met a bug and tries again, or a server answers so: the message says which",
        "of the operator, look at its log and report it; of a server, look at its log and its admission webhooks",
    ),
    "Invalid": ("which object of the tenant is not valid, and why", "correct the object that the message names"),
    "InvalidKubeconfig": (
        "which member of the kubeconfig is refused, and why",
        "correct the kubeconfig in the Secret that the message names",
    ),
    "LeaseNotRenewed": (
        "the DPU does not renew the Lease of its host",
        "see why ovnkube-controller on the DPU does not reach the tenant",
    ),
    "LeftInTenant": (
        "which objects stay in the tenant after the DpuClusterConfig is gone",
        "run the `sweep` command of the message once the tenant can be read",
    ),
    "MachineConfigStuck": (
        "the machine-config operator gave up on the DPU, in its own words",
        "repair what the message names in the machine-config operator's words",
    ),
    "MaintenanceFailed": (
        "the NodeMaintenance failed: its lastError",
        "look at lastError of the NodeMaintenance; it is tried again",
    ),
    "MaintenanceRefused": (
        "an admission webhook refuses the NodeMaintenance, in its own words",
        "do what the refusal asks for; it is tried again",
    ),
    "ManagementPortUnknown": (
        "the container waits: Open vSwitch names no management port",
        "set external_ids:dpunetop-mgmt-port-netdev of Open vSwitch on the DPU",
    ),
    "MintedWithoutRights": (
        "which rights the operator's ServiceAccount lacks in the tenant",
        "apply deploy/tenant-rights.yaml in the tenant again",
    ),
    "MintingForbidden": (
        "which rights the given kubeconfig lacks to mint a token",
        "apply deploy/tenant-rights.yaml in the tenant again, or set spec.tenantCredential",
    ),
    "NamespaceNotServed": (
        "the operator has no rights in the namespace",
        "have an administrator apply config/tenant-namespace for the namespace",
    ),
    "NamespaceTaken": ("the namespace has an older DpuClusterConfig", "use a namespace of its own"),
    "NeverServed": (
        "the DpuClusterConfig was never served",
        "delete the DpuClusterConfig or have its namespace served",
    ),
    "NoImage": ("no image of OVN-Kubernetes is known", "set spec.image or OVNKUBE_IMAGE"),
    "NoKubeconfig": (
        "no kubeconfig has worked yet",
        "see CredentialsValid and TenantReachable; spec.kubeConfigFile has to name a Secret with one that works",
    ),
    "NoMachines": ("the pool has no machines", "label the DPU Nodes as spec.nodeSelector asks"),
    "NoMasterAddress": ("the pods ovnkube-master have no addresses", "look at the ovnkube-master pods of the tenant"),
    "NoMasters": ("the tenant has no pods ovnkube-master", "look at the ovnkube-master pods of the tenant"),
    "NoNodes": ("the DaemonSet selects no node", "label the DPU Nodes as spec.nodeSelector asks"),
    "NoOverlayNotSupported": (
        "the tenant has a network without overlay, which a DPU cannot have",
        "turn no-overlay off in the tenant",
    ),
    "NoPairs": ("no DPU is paired with a host", "write entries into ConfigMap env-overrides"),
    "NodeInTwoPools": ("a node is in two MachineConfigPools", "take the Node out of one of the pools"),
    "NodeMaintenanceNotServed": (
        "the tenant has no NodeMaintenance API",
        "install the node maintenance operator in the tenant",
    ),
    "NodeNotGranted": (
        "which nodes the namespace may not have, or another DpuClusterConfig holds",
        "have a cluster administrator label the Node or annotate the Namespace",
    ),
    "NodeSelectorMissing": ("spec.nodeSelector is missing; nothing is written", "set spec.nodeSelector"),
    "NotAdmitted": (
        "which write of the DPU pods the tenant's admission refuses, in its own words",
        "start ovnkube-identity with --extra-allowed-user, as the message says",
    ),
    "NotFound": (
        "which object, or API of a server, does not exist",
        "see that the object or API which the message names exists",
    ),
    "NotOurs": (
        "an object of the operator's name exists and is not the operator's",
        "remove the object that the message names",
    ),
    "NotTried": ("the tenant could not be asked", "see why the tenant does not answer"),
    "NotVerified": (
        "the tenant did not answer, so the kubeconfig is not verified",
        "see why the tenant does not answer",
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
    "PairingConflict": (
        "which two places contradict each other",
        "remove what contradicts: the message names both places",
    ),
    "PodsNotAdmitted": (
        "infra refuses the pods of ovnkube-node, in its own words",
        "do what the refusal asks for: Pod Security, SecurityContextConstraints or quota",
    ),
    "PodsNotRunning": (
        "which pod of ovnkube-node does not run, and why",
        "see whether the image of the pod can be pulled, and whether its node has room",
    ),
    "PoolDegraded": (
        "the pool is degraded, in the machine-config operator's words",
        "repair what the machine-config operator names",
    ),
    "PoolKept": (
        "the pool stays after the DpuClusterConfig is gone, and why",
        "take the nodes out of the pool one by one, then delete it",
    ),
    "PoolNameInvalid": ("spec.poolName is not a DNS label", "set spec.poolName to a DNS label"),
    "PoolNameReserved": ("spec.poolName is a pool of the platform", "set spec.poolName to a new pool"),
    "PoolNotFound": ("the MachineConfigPool does not exist", "see why the MachineConfigPool is gone"),
    "PoolPaused": ("the MachineConfigPool is paused", "unpause the MachineConfigPool"),
    "PoolTaken": ("the pool belongs to another DpuClusterConfig", "set spec.poolName to another pool"),
    "ProtectionOverdue": (
        "protection takes longer than its limit, and at what it is",
        "see why the blocker or the pods of the DPU do not come or go",
    ),
    "RecoveryOverdue": (
        "the DPU is back and stays cordoned for longer than its limit",
        "see why the machine-config operator does not uncordon the DPU",
    ),
    "Refused": (
        "nothing listens at the address of the tenant's API server",
        "see whether the tenant's API server is up, and whether the kubeconfig names its address",
    ),
    "RemovalPending": (
        "the DPU is not paired with its host any more, and serves it until the host is drained",
        "cordon the DPU; delete the Node of a card that was replaced",
    ),
    "RequestFailed": (
        "which request a server does not carry out, and its answer",
        "look at the server and its admission webhooks",
    ),
    "ReservedNamespace": ("the namespace belongs to infra's own network", "use a namespace of its own"),
    "Reset": (
        "the connection to the tenant's API server breaks off",
        "see whether the tenant's API server is up, and what lies on the way to it",
    ),
    "Revoked": (
        "the tenant rejects the credential of the DPU pods",
        "put a good kubeconfig into the Secret that the message names",
    ),
    "RollPending": (
        "a change of the host configuration would reboot DPUs; it waits for consent",
        "annotate the DpuClusterConfig with dpu.openshift.io/roll, as the message says",
    ),
    "SecretNotFound": (
        "the Secret that spec.kubeConfigFile names does not exist",
        "create the Secret that spec.kubeConfigFile names",
    ),
    "SelectorDropsServing": (
        "spec.nodeSelector would drop DPUs that serve",
        "drain the hosts of the DPUs that the message names, or select them again",
    ),
    "ServingCertificateExpiresSoon": (
        "when the certificate of the tenant's API server ends; nothing connects to it from then on",
        "have the tenant's administrator renew the serving certificate of its API server",
    ),
    "StartingOverdue": (
        "the host has not been asked to drain within the limit, and why",
        "see what keeps the drain of the host from beginning",
    ),
    "TenantIsInfra": ("the kubeconfig leads to infra itself", "put a kubeconfig of the tenant into the Secret"),
    "TenantNotEngaged": ("the tenant has no valid credential", "see CredentialsValid"),
    "TenantNotRead": (
        "the tenant's objects are not read; what runs stays as it is",
        "see TenantReachable and CredentialsValid",
    ),
    "TenantSwapped": (
        "another cluster answers behind the kubeconfig",
        "put the old tenant's kubeconfig back, or accept the new one as the message says",
    ),
    "TenantUnanswered": ("the tenant answered a question with an error", "see why the tenant does not answer"),
    "TenantUnauthorized": (
        "which right the operator lacks in the tenant",
        "apply deploy/tenant-rights.yaml in the tenant again",
    ),
    "TenantUnreachable": ("the tenant's API server does not answer", "repair the way to the tenant's API"),
    "Timeout": (
        "the tenant's API server does not answer in time",
        "see whether the tenant's API server is up, and the way to it",
    ),
    "TimeWentBack": (
        "an API server reports older data than before; drains wait until each is verified",
        "wait until every drain is checked; restart the operator after a restore",
    ),
    "TLS": (
        "the server's certificate is not one that the kubeconfig trusts",
        "see whether that certificate has ended, and whether the kubeconfig has its certificate authority",
    ),
    "TokenNotAccepted": (
        "the tenant does not accept the token that it has just given",
        "look at the tenant's API servers",
    ),
    "TooManyInNamespace": (
        "too many DpuClusterConfigs wait in the namespace",
        "delete the DpuClusterConfigs there that are not needed",
    ),
    "TooManyMasters": (
        "the tenant has more pods ovnkube-master than OVN databases can have",
        "look at the ovnkube-master pods of the tenant",
    ),
    "TopologyUnconfirmed": ("the tenant's topology seems to change, and nothing confirms it", "set spec.topology"),
    "Unreachable": (
        "no verified TLS connection to the tenant's API server can be made",
        "repair the way to the tenant's API",
    ),
    "VerifyingOverdue": (
        "the network is not proven within the limit; which signs are missing",
        "repair the DPU, or annotate its Node with dpu.openshift.io/drain=force:<bootID>",
    ),
    "VersionNotSupported": (
        "the tenant's release is not supported",
        "use a supported release in the tenant: docs/limits.md lists them",
    ),
}
"""A person has to act."""
