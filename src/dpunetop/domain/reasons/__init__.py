"""Every condition type and every reason of a condition or an Event: its meaning, its gravity, and the next step.

`docs/reasons.md` is generated from here. A reason that is missing here, or that nothing emits, fails a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Literal

from dpunetop.domain.names import READY_CONDITION
from dpunetop.domain.reasons.infrarows import INFRA_ROWS
from dpunetop.domain.reasons.ovnkuberows import OVNKUBE_ROWS
from dpunetop.domain.reasons.pairrows import PAIR_ROWS
from dpunetop.domain.reasons.rows import GOOD, PASSING, WAITING, Rows
from dpunetop.domain.reasons.tenantrows import TENANT_ROWS
from dpunetop.kube.errors import ApiError, Unreachable
from dpunetop.kube.keys import Resource
from dpunetop.kube.meta import Obj
from dpunetop.kube.plan import Emit

READY: Final = READY_CONDITION
MCP_READY: Final = "McpReady"
CREDENTIALS_VALID: Final = "CredentialsValid"
TENANT_REACHABLE: Final = "TenantReachable"
DPU_CREDENTIAL_VALID: Final = "DpuCredentialValid"
TENANT_OBJS_SYNCED: Final = "TenantObjsSynced"
PAIRS_HEALTHY: Final = "PairsHealthy"
OVN_KUBE_READY: Final = "OvnKubeReady"
TOPOLOGY_SUPPORTED: Final = "TopologySupported"
FEATURE_PARITY: Final = "FeatureParity"

PAIRED: Final = "Paired"
PROTECTED: Final = "Protected"
HOST_CONFIGURED: Final = "HostConfigured"
NETWORK_READY: Final = "NetworkReady"
CREDENTIAL_CURRENT: Final = "CredentialCurrent"
DRAIN_ALLOWED: Final = "DrainAllowed"


@dataclass(frozen=True, slots=True)
class ConditionType:
    """One type of condition on a DpuClusterConfig."""

    true_when: str
    counts: bool = True
    """Whether `Ready` needs it to be True."""


CONDITIONS: Mapping[str, ConditionType] = {
    MCP_READY: ConditionType("every machine of the pool runs the host configuration"),
    CREDENTIALS_VALID: ConditionType("the tenant accepts the given kubeconfig"),
    TENANT_REACHABLE: ConditionType("the tenant's API server answers, and is the same cluster as before"),
    DPU_CREDENTIAL_VALID: ConditionType("the DPU pods hold a credential that the tenant accepts"),
    TENANT_OBJS_SYNCED: ConditionType("the copies of the tenant's configuration and certificates are current"),
    PAIRS_HEALTHY: ConditionType("every pair is protected, every host has a network, and no drain is stuck"),
    OVN_KUBE_READY: ConditionType("OVN-Kubernetes serves on every DPU that has an entry"),
    TOPOLOGY_SUPPORTED: ConditionType("the tenant's topology is clear and its release is supported", counts=False),
    FEATURE_PARITY: ConditionType("the DPUs follow every setting of the tenant", counts=False),
    READY: ConditionType("all conditions that count are True", counts=False),
}
"""All condition types, in the order in which `Ready` reports them: a failure of an earlier one may cause that of a
later one."""

DPU_NODE_CONDITIONS: Mapping[str, str] = {
    PAIRED: "a host is validly named for the DPU",
    PROTECTED: "nothing drains the DPU before its host: its budget is closed, and its blocker Ready",
    HOST_CONFIGURED: "the DPU's Node runs the host configuration, or infra has no machine-config operator",
    NETWORK_READY: "the host has a network through the DPU that serves it, as infra shows that one",
    CREDENTIAL_CURRENT: "the tenant accepts the credential that the DPU's pods hold",
    DRAIN_ALLOWED: "the DPU may be drained now: its host is drained, or it serves none",
}
"""All condition types of a DpuNode, each with when it is True. It is Unknown if it was not looked at."""


class Gravity(Enum):
    """How grave a reason is, and whether a person has to act."""

    GOOD = auto()
    """Nothing is wrong."""
    PASSING = auto()
    """It becomes good by itself after some time; a summary does not repeat it."""
    WAITING = auto()
    """It waits for something else; it is reported, and no person has to act."""
    ACTION = auto()
    """A person has to act."""

    @property
    def event(self) -> Literal["Normal", "Warning"]:
        """The type of an Event about it."""
        return "Warning" if self is Gravity.ACTION else "Normal"


@dataclass(frozen=True, slots=True)
class Meaning:
    """One row of the table."""

    gravity: Gravity
    says: str
    """The statement of the message, without names of objects."""
    next_step: str
    """A command, or where to look."""


def _rows(gravity: Gravity, default: str, rows: Rows) -> dict[str, Meaning]:
    """A row that is one text has the `default` next step."""
    pairs = {reason: row if isinstance(row, tuple) else (row, default) for reason, row in rows.items()}
    return {reason: Meaning(gravity, says, next_step) for reason, (says, next_step) in pairs.items()}


REASONS: Mapping[str, Meaning] = {
    **_rows(Gravity.GOOD, "nothing to do", GOOD),
    **_rows(Gravity.PASSING, "wait", PASSING),
    **_rows(Gravity.WAITING, "wait; the message says for what", WAITING),
    **_rows(Gravity.ACTION, "read the message", INFRA_ROWS),
    **_rows(Gravity.ACTION, "read the message", TENANT_ROWS),
    **_rows(Gravity.ACTION, "read the message", PAIR_ROWS),
    **_rows(Gravity.ACTION, "read the message", OVNKUBE_ROWS),
}
"""All reasons of the operator. Those of an API server, such as Forbidden, are not in it."""

REQUEST_FAILED: Final = "RequestFailed"
_OF_BOTH = frozenset({"Expired", "InternalError", "Invalid", "NotFound", "Timeout"})
"""Reasons of the operator that the API has too; each asks a person to act."""
_RIGHTS = "deploy/dpunetop.yaml and deploy/tenant-namespace.yaml in infra, deploy/tenant-rights.yaml in the tenant"
_OF_SERVERS: Mapping[str, str] = {
    "Conflict": "wait; if it stays, see which other writer the message names",
    "Forbidden": f"give the operator its rights again: {_RIGHTS}; `kubectl dpu doctor` names what is missing",
    "ServiceUnavailable": "see whether the API server, or the webhook that the message names, is up",
    "TooManyRequests": "wait; if it stays, look at the load of the API server, and at its priority and fairness",
    "Unauthorized": "put a good kubeconfig into the Secret; `kubectl dpu doctor` says which has ended",
}
"""The next step of what API servers answer in words of their own."""
_OF_ANY_SERVER = "do what the server's answer in the message asks for"


def meaning(reason: str) -> Meaning:
    """The row of a reason; one that is not in the table comes from a server, and a person has to act."""
    of_a_server = Meaning(Gravity.ACTION, "the server's answer", _OF_SERVERS.get(reason, _OF_ANY_SERVER))
    return REASONS.get(reason, of_a_server)


def server_reason(reason: str) -> str:
    """The reason of a server's answer, for a condition of ours.

    Guarantees: never a reason of the operator's own: the gravity follows from the reason, so a tenant that refuses a
        request as `Progressing` would look like one that progresses.
    """
    return REQUEST_FAILED if reason in REASONS and reason not in _OF_BOTH else reason


def reason_of(error: ApiError) -> str:
    """The reason of a condition about an error; of a failed connection it is one of the operator's own."""
    return error.reason if isinstance(error, Unreachable) else server_reason(error.reason)


def event(cluster: str, resource: Resource, regarding: Obj, reason: str, note: str) -> Emit:
    """An Event as grave as its reason. With `good_event` the only maker of Events."""
    return Emit(cluster, resource, regarding, meaning(reason).gravity.event, reason, note)


def good_event(cluster: str, resource: Resource, regarding: Obj, reason: str, note: str) -> Emit:
    """A Normal Event, of a reason that is a Warning elsewhere."""
    return Emit(cluster, resource, regarding, "Normal", reason, note)
