"""The facts about one tenant host and its DPUs, as types for the decisions; `readers` fills them.

An unknown fact has a type of its own, so that it cannot be mistaken for an absence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from dpunetop.base.quoting import named
from dpunetop.domain.drain.model.cordonmark import CordonMark
from dpunetop.domain.drain.model.limits import DEFAULT_LIMITS, Limits
from dpunetop.domain.drain.model.record import Cycle
from dpunetop.domain.hostconfig.machinestate import UNMANAGED, MachineState
from dpunetop.domain.names import open_for
from dpunetop.kube.meta import Obj


class DrainOverride(Enum):
    """The annotation `drain` of a DPU's Node, set by a person."""

    NONE = auto()
    SKIP = auto()
    HOLD = auto()
    FORCE = auto()
    UNKNOWN = auto()
    """Any other value. It counts as HOLD, because a person wanted to override the drain."""


class Mco(Enum):
    """What the machine-config operator is about to do with a DPU's Node."""

    IDLE = auto()
    """It is done with the node, and has no update for it."""
    PENDING = auto()
    """It is at work here, or has a new configuration for the node: a drain may follow at any moment."""
    DRAINS = auto()
    DRAINED = auto()
    """The drain is done and the node not uncordoned: a reboot follows."""


@dataclass(frozen=True, slots=True)
class DpuNode:
    """The infra Node of a DPU."""

    name: str
    uid: str
    cordoned: bool
    ready: bool
    boot_id: str
    terminating: bool
    override: DrainOverride
    """A FORCE that names another boot ID is void, and shows as NONE."""
    mco: Mco
    machine: MachineState = UNMANAGED
    ready_since: int = 0
    """When its condition Ready last changed, in seconds of the epoch; 0: unknown."""

    @property
    def held(self) -> bool:
        """Whether a person forbids to open a budget or to give the host back."""
        return self.override in (DrainOverride.HOLD, DrainOverride.UNKNOWN)


@dataclass(frozen=True, slots=True)
class NodeGone:
    """A Node that does not exist. `confirmed`: two quorum reads, far enough apart, agree."""

    confirmed: bool


@dataclass(frozen=True, slots=True)
class Budget:
    """The disruption budget of a DPU's blocker."""

    live: Obj
    ours: bool
    is_open: bool
    serves: str
    """The tenant host that the DPU serves under this protection; empty: none."""
    cycle: Cycle | None
    leaving: tuple[str, ...]
    """UIDs of pods that may have read an entry that is removed."""
    since: int = 0
    """When its host, or its leaving, was first recorded, in seconds of the epoch; 0: unknown."""


@dataclass(frozen=True, slots=True)
class OvnPod:
    """An ovnkube-node pod on a DPU."""

    live: Obj
    uid: str
    ready: bool
    terminating: bool
    current: bool
    """Whether it runs a template that counts, see `Templates`."""
    containers: tuple[str, ...]
    newest: bool = True
    """Whether a new pod would be made from the same template."""


@dataclass(frozen=True, slots=True)
class Templates:
    """Hashes of the templates of our DaemonSet that count; empty: there is none."""

    newest: str = ""
    """The template of new pods."""
    proven: str = ""
    """The last one with which a DPU was seen to serve: the newest, unless a rollout has not yet shown that the newest
    works, or stopped because it does not."""

    def counts(self, found: str) -> bool:
        """Whether a pod made from the template with that hash may prove that the network works."""
        return bool(found) and found in (self.newest, self.proven)


@dataclass(frozen=True, slots=True)
class DpuView:
    """One DPU of the host. It is in the view as long as it is paired with the host, or its budget names the host."""

    name: str
    node: DpuNode | NodeGone
    budget: Budget | None
    blocker: str
    """Name of a blocker pod that is Ready; empty: none is."""
    pods: tuple[OvnPod, ...]
    paired: bool = True
    """Whether it is still paired with the host; False: it is leaving."""
    entry: str = ""
    """Its desired entry for the same host, if its pods have read another one; empty: no change."""
    stuck: str = ""
    """Why the machine-config operator does nothing for its node, in its words; empty: no reason is known."""
    trouble: str = ""
    """Why its blocker does not run; empty: it runs, or no reason is known."""
    parting: bool = False
    """Whether its DpuClusterConfig ends, so that its host is drained first, with or without a cordon of the DPU."""

    @property
    def blocker_ready(self) -> bool:
        """Whether a Ready blocker is on the node, so that the budget guards a pod."""
        return bool(self.blocker)


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of the tenant that is still on a host in drain."""

    namespace: str
    """Empty: node maintenance operators before release 0.20 do not report it."""
    name: str

    def __str__(self) -> str:
        return named(self.name) if not self.namespace else f"{named(self.namespace)}/{named(self.name)}"


class MaintenancePhase(Enum):
    """The phase of a NodeMaintenance, from the node maintenance operator."""

    NEW = auto()
    RUNNING = auto()
    SUCCEEDED = auto()
    FAILED = auto()


@dataclass(frozen=True, slots=True)
class Maintenance:
    """A NodeMaintenance in the tenant."""

    live: Obj
    name: str
    uid: str
    host: str
    ours: bool
    terminating: bool
    phase: MaintenancePhase
    marks: Mapping[str, str]
    """The annotations of open budgets, by full name."""
    cordoned_before: bool | None
    error: str
    pending: int
    """The number of pods for which it still waits."""
    host_update: str = ""
    """The state of the host's own machine-config operator when it was created; empty: not recorded."""
    last_update: str = ""
    """When its operator last began or ended a drain."""
    pods: tuple[Pod, ...] = ()
    """The first few of them."""
    loses_lease: bool = False
    """Whether its operator could not renew its lease on the host, so that it is about to give up."""
    host_uid: str = ""
    """UID of the Node for which it was created; empty: not recorded."""
    made_at: int = 0
    """When it was created, in seconds of the epoch."""
    ended_at: int = 0
    """When it was deleted, in seconds of the epoch; 0: it was not."""
    is_renewed: bool = False
    """Whether its operator is to drain the host once more; until that ends its `Succeeded` is about the drain
    before."""
    finalizers: tuple[str, ...] = ()
    """What keeps it once it is deleted."""

    def mark_of(self, dpu: str) -> str:
        """The mark for that DPU; empty: there is none."""
        return self.marks.get(open_for(dpu), "")


@dataclass(frozen=True, slots=True)
class HostNode:
    """The tenant Node of the host."""

    live: Obj
    uid: str
    cordoned: bool
    tainted: bool
    """Whether it has the taint of the node maintenance operator."""
    mark: bool | None
    """`cordoned-before`; None: no mark."""
    in_own_drain: bool
    """Whether the tenant's own machine-config operator is at work there, and may cordon or uncordon the host."""
    terminating: bool
    machine: MachineState = UNMANAGED
    unplanned: CordonMark | None = None
    """The operator's mark of an outage, set for any DpuClusterConfig."""
    has_outage_cordon: bool = False
    """Whether its cordon is ours because of an outage. Known only if the Node was read from the API server itself."""
    left_by: str = ""
    """Owner label of the DpuClusterConfig that left the host cordoned at its end; empty: none has."""

    @property
    def earlier_cordon(self) -> bool:
        """Whether it is cordoned for a reason that outlasts a drain; our cordon for an outage ends with the proof."""
        return self.cordoned and not self.has_outage_cordon


class Reason(StrEnum):
    """Why a drain does not go on; status and Events show these words."""

    ABORTED = "Aborted"
    BLOCKER_NOT_READY = "BlockerNotReady"
    CACHE_CONTRADICTED = "CacheContradicted"
    DPU_ABSENT = "DpuAbsent"
    DPU_DRAINING = "DpuDraining"
    DPU_GONE = "DpuGone"
    DPU_NOT_SELECTED = "DpuNotSelected"
    DRAIN_TIMEOUT = "DrainTimeout"
    FOREIGN_MAINTENANCE = "ForeignMaintenance"
    HELD_BY_ANNOTATION = "HeldByAnnotation"
    HOST_ABSENT = "HostAbsent"
    HOST_DRAINING = "HostDraining"
    HOST_IN_OWN_DRAIN = "HostInOwnDrain"
    HOST_STILL_CORDONED = "HostStillCordoned"
    HOST_UNCORDONED = "HostUncordoned"
    INFRA_FORBIDDEN = "InfraForbidden"
    LEASE_NOT_RENEWED = "LeaseNotRenewed"
    MACHINE_CONFIG_PENDING = "MachineConfigPending"
    MACHINE_CONFIG_STUCK = "MachineConfigStuck"
    MAINTENANCE_FAILED = "MaintenanceFailed"
    MAINTENANCE_REFUSED = "MaintenanceRefused"
    MAINTENANCE_TERMINATING = "MaintenanceTerminating"
    NODE_MAINTENANCE_NOT_SERVED = "NodeMaintenanceNotServed"
    NO_FREE_SLOT = "NoFreeSlot"
    PROOF_MISSING = "ProofMissing"
    REQUEST_FAILED = "RequestFailed"
    TEARDOWN = "Teardown"
    TENANT_NOT_ENGAGED = "TenantNotEngaged"
    TENANT_NOT_SYNCED = "TenantNotSynced"
    TENANT_SWAPPED = "TenantSwapped"
    TENANT_UNAUTHORIZED = "TenantUnauthorized"
    TENANT_UNREACHABLE = "TenantUnreachable"
    TIME_WENT_BACK = "TimeWentBack"


@dataclass(frozen=True, slots=True)
class HoldReason:
    """Why the host waits: a reason and a sentence."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Blind:
    """The tenant cannot be read, or must not be, so nothing about it may be concluded. `hold` says why."""

    hold: HoldReason


@dataclass(frozen=True, slots=True)
class TenantSeen:
    """The tenant's objects for this host. `maintenances` are those of any owner; None: the kind is not served."""

    node: HostNode | NodeGone
    maintenances: tuple[Maintenance, ...] | None


@dataclass(frozen=True, slots=True)
class Signal:
    """One sign in the tenant that the DPU's network works; `name` is for a person."""

    name: str
    holds: bool
    trouble: HoldReason | None = None
    """Why it does not come by itself, as far as that is known."""


class OnTimeout(Enum):
    """What the operator does when a drain takes too long."""

    HOLD = "Hold"
    ABORT = "Abort"


@dataclass(frozen=True, slots=True)
class DrainSettings:
    """`spec.drain`, as far as one host needs it."""

    timeout_seconds: int | None = None
    on_timeout: OnTimeout = OnTimeout.HOLD
    limits: Limits = DEFAULT_LIMITS


@dataclass(frozen=True, slots=True)
class Author:
    """The process that decides, and the time. A `term` identifies one leadership: drawn when it begins, and again when
    a cluster's time went back."""

    field_manager: str
    term: str
    draw: str
    """A new random text for each decision."""
    now: int
    """Seconds of the epoch."""


@dataclass(frozen=True, slots=True)
class HostRef:
    """Where the objects of one host are, and with which field manager they are written."""

    host: str
    tenant_cluster: str
    namespace: str
    """Namespace of the operator, where the budgets are."""
    owner: str
    author: Author


@dataclass(frozen=True, slots=True)
class HostView:
    """One tenant host with all its DPUs: all facts of the decision."""

    host_ref: HostRef
    tenant: TenantSeen | Blind
    dpus: tuple[DpuView, ...]
    serving: str | None
    """The DPU whose entry names the host; None: none does."""
    pods_namespace: str
    """Of the ovnkube-node pods."""
    config: Obj
    """The DpuClusterConfig that Events are about."""
    not_now: HoldReason | None = None
    """Why no drain of this host may begin now: no free slot (see `allowance`), or a teardown."""
    signals: tuple[Signal, ...] = ()
    """Signs of the serving DPU's network, where the topology has them."""
    evictions: tuple[str, ...] | None = ()
    """Why the host's pods are not evicted, for a person; empty: nothing was found, or it was not looked up; None: the
    tenant has not answered yet."""
    settings: DrainSettings = DrainSettings()
    unverified: bool = False
    """A cluster's time went back, and not every record has been taken over since."""
    abandoned_since: int = 0
    """Since when the host has the taint of a maintenance that is gone, and no mark, in seconds of the epoch; 0: it has
    not, or the time is unknown."""
