"""Rows of what a person has to do in infra: namespaces, nodes, pools, rights, and the operator itself."""

from __future__ import annotations

from dpunetop.domain.reasons.rows import Rows

INFRA_ROWS: Rows = {
    "ApiRemoved": (
        "infra no longer serves the MachineConfig API, although DPUs run its configuration; McpReady does not count",
        "install the machine-config operator in infra again, with its CustomResourceDefinitions",
    ),
    "CacheContradicted": (
        "the watch cache and the API server disagree for more than 10 s",
        "nothing at once: all is listed again after 30 s; look at the load of the API servers if it stays",
    ),
    "DpuNodesNotWritten": (
        "why no DpuNode is written or brought up to date; nothing else stops",
        "apply the operator's CustomResourceDefinitions and roles again",
    ),
    "DpuNotSelected": (
        "an entry names a DPU that spec.nodeSelector does not pick",
        "label the Node as spec.nodeSelector asks, or remove its entry in ConfigMap env-overrides",
    ),
    "EventsLeftOut": (
        "an object has more different Events than it may have",
        "see the conditions of the object, and the operator's log",
    ),
    "EventsRefused": (
        "which right the operator lacked to write Events; earlier Events are missing",
        "apply the operator's roles again",
    ),
    "InfraForbidden": ("which right the operator lacks in infra", "apply the operator's manifests again"),
    "InternalError": (
        "the operator met a bug and tries again, or a server answers so: the message says which",
        "of the operator, look at its log and report it; of a server, look at its log and its admission webhooks",
    ),
    "Invalid": ("which object of the tenant is not valid, and why", "correct the object that the message names"),
    "MachineConfigStuck": (
        "the machine-config operator gave up on the DPU, in its own words",
        "repair what the message names in the machine-config operator's words",
    ),
    "NamespaceNotServed": (
        "the operator has no rights in the namespace",
        "have an administrator apply config/tenant-namespace for the namespace",
    ),
    "NamespaceTaken": ("the namespace has an older DpuClusterConfig", "use a namespace of its own"),
    "NodeInTwoPools": ("a node is in two MachineConfigPools", "take the Node out of one of the pools"),
    "NodeNotGranted": (
        "which nodes the namespace may not have, or another DpuClusterConfig holds",
        "have a cluster administrator label the Node or annotate the Namespace",
    ),
    "NodeSelectorMissing": ("spec.nodeSelector is missing; nothing is written", "set spec.nodeSelector"),
    "NoMachines": ("the pool has no machines", "label the DPU Nodes as spec.nodeSelector asks"),
    "NotFound": (
        "which object, or API of a server, does not exist",
        "see that the object or API which the message names exists",
    ),
    "NotOurs": (
        "an object of the operator's name exists and is not the operator's",
        "remove the object that the message names",
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
    "ReservedNamespace": ("the namespace belongs to infra's own network", "use a namespace of its own"),
    "RollPending": (
        "a change of the host configuration would reboot DPUs; it waits for consent",
        "annotate the DpuClusterConfig with dpu.openshift.io/roll, as the message says",
    ),
    "SelectorDropsServing": (
        "spec.nodeSelector would drop DPUs that serve",
        "drain the hosts of the DPUs that the message names, or select them again",
    ),
    "TimeWentBack": (
        "an API server reports older data than before; drains wait until each is verified",
        "wait until every drain is checked; restart the operator after a restore",
    ),
    "TooManyInNamespace": (
        "too many DpuClusterConfigs wait in the namespace",
        "delete the DpuClusterConfigs there that are not needed",
    ),
}
