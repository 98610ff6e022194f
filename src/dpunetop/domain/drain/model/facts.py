"""What both clusters show of one tenant host and its DPUs, as the decisions see it.

Every reader here takes an object as a cache or as the API server gives it, so that a decision and its fresh reads judge
alike. What is not known has a type of its own: nothing here can be mistaken for an absence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from dpunetop.base.quoting import named, printable
from dpunetop.domain.drain.model.cordonmark import CordonMark, is_applied_cordon, mark_of
from dpunetop.domain.drain.model.limits import DEFAULT_LIMITS, Limits
from dpunetop.domain.drain.model.record import Cycle, parse_cycle
from dpunetop.domain.drain.model.times import as_seconds
from dpunetop.domain.hostconfig.machinestate import UNMANAGED, MachineState, machine_state
from dpunetop.domain.names import (
    CORDONED_BEFORE_ANNOTATION,
    CYCLE_ANNOTATION,
    DRAIN_ANNOTATION,
    HOST_UID_ANNOTATION,
    HOST_UPDATE_ANNOTATION,
    LEAVING_ANNOTATION,
    LEFT_BY_ANNOTATION,
    MAINTENANCE_TAINT,
    OPEN_FOR_PREFIX,
    OUTDATED_DRAIN_ANNOTATION,
    OWNER_LABEL,
    SERVES_ANNOTATION,
    SINCE_ANNOTATION,
    maintenance_name,
    open_for,
)
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.meta import Obj, annotations_of, is_terminating, labels_of, name_of, uid_of
from dpunetop.kube.shapes import at, mappings


class DrainOverride(Enum):
    """What a person asks for with the annotation `drain` of a DPU's Node."""

    NONE = auto()
    SKIP = auto()
    HOLD = auto()
    FORCE = auto()
    UNKNOWN = auto()
    """A word that is none of these; it is obeyed like HOLD, because somebody wanted something."""


class Mco(Enum):
    """What the machine-config operator is about to do with a DPU's Node."""

    RESTS = auto()
    PENDING = auto()
    """It is at work here, or has a configuration for the node: a drain may follow without another word."""
    DRAINS = auto()
    DRAINED = auto()
    """The drain is done and not given back: a reboot follows without another word."""


@dataclass(frozen=True, slots=True)
class DpuNode:
    """The infra Node of a DPU."""

    name: str
    uid: str
    cordoned: bool
    ready: bool
    boot_id: str
    terminating: bool
    order: DrainOverride
    """A FORCE that names another boot ID is void, and shows as NONE."""
    mco: Mco
    machine: MachineState = UNMANAGED
    ready_since: int = 0
    """When it became Ready, or ceased to be, in seconds of the epoch; 0: nobody says."""

    @property
    def held(self) -> bool:
        """Whether a person forbids that anything is opened or given back."""
        return self.order in (DrainOverride.HOLD, DrainOverride.UNKNOWN)


@dataclass(frozen=True, slots=True)
class NodeGone:
    """A Node that is not there. `confirmed`: two quorum reads, far enough apart, say so."""

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
    """UIDs of pods that may have read an entry which is gone."""
    since: int = 0
    """When it was first said whom the DPU serves, or that it leaves, in seconds of the epoch; 0: nobody knows."""


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
    """Whether a pod in its place would be made from the same template."""


@dataclass(frozen=True, slots=True)
class Templates:
    """Hashes of the templates of our DaemonSet that count; empty: there is none."""

    newest: str = ""
    """What a pod is made from now."""
    proven: str = ""
    """The last one that a DPU was seen to serve with: the newest, unless a rollout has yet to show that the newest
    works, or is stopped because it does not."""

    def counts(self, found: str) -> bool:
        """Whether a pod made from the template of that hash may show that the network works."""
        return bool(found) and found in (self.newest, self.proven)


@dataclass(frozen=True, slots=True)
class DpuView:
    """One DPU of the host. It is in the view as long as it is paired with the host or its budget says it serves it."""

    name: str
    node: DpuNode | NodeGone
    budget: Budget | None
    blocker: str
    """Name of a blocker pod that is Ready; empty: none is."""
    pods: tuple[OvnPod, ...]
    paired: bool = True
    """Whether the pairing still asks for it; False: the DPU is on its way out."""
    entry: str = ""
    """Its entry for the same host as it is to be, if its pods have read another one; empty: nothing is to change."""
    stuck: str = ""
    """Why the machine-config operator does nothing for its node, in that one's words; empty: nothing is known."""
    trouble: str = ""
    """Why its blocker does not come to run, as far as that is known."""
    parting: bool = False
    """Whether its DpuClusterConfig ends, so that the host which it serves is drained first, cordon or not."""

    @property
    def blocker_ready(self) -> bool:
        """Whether a blocker holds the node, so that the budget guards something."""
        return bool(self.blocker)


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of the tenant that a host is not drained of yet."""

    namespace: str
    """Empty: a node maintenance operator before release 0.20 does not say."""
    name: str

    def __str__(self) -> str:
        return named(self.name) if not self.namespace else f"{named(self.namespace)}/{named(self.name)}"


class MaintenancePhase(Enum):
    """What the node maintenance operator says of a maintenance."""

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
    """Annotations that stand for open budgets, by their full name."""
    cordoned_before: bool | None
    error: str
    pending: int
    """How many pods it still waits for."""
    host_update: str = ""
    """How far the host's own machine-config operator was when it was made; empty: it does not say."""
    last_update: str = ""
    """When its operator last began or ended a drain."""
    pods: tuple[Pod, ...] = ()
    """The first few of them."""
    loses_lease: bool = False
    """Whether its operator could not renew the lease that it holds on the host, so that it is about to give up."""
    host_uid: str = ""
    """UID of the Node that it was made for; empty: it does not say."""
    made_at: int = 0
    """When it was made, in seconds of the epoch."""
    ended_at: int = 0
    """When it was deleted, in seconds of the epoch; 0: it was not."""
    is_renewed: bool = False
    """Whether its operator is to drain the host once more: until that ends it says `Succeeded` of the drain before."""

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
    """Whether the node maintenance operator has its taint on it."""
    mark: bool | None
    """`cordoned-before`; None: no mark."""
    in_own_drain: bool
    """Whether the tenant's own machine-config operator is at work there, so that it may cordon or uncordon the host."""
    terminating: bool
    machine: MachineState = UNMANAGED
    unplanned: CordonMark | None = None
    """Our mark of an outage, whichever DpuClusterConfig set it."""
    has_outage_cordon: bool = False
    """Whether its cordon is ours because of an outage. Known only of what was read from the API server itself."""
    left_by: str = ""
    """Owner label of the DpuClusterConfig that has led the host out and left it cordoned; empty: none has."""

    @property
    def earlier_cordon(self) -> bool:
        """Whether it is cordoned for a reason that a drain does not end: ours of an outage is over with its proof."""
        return self.cordoned and not self.has_outage_cordon


class Reason(StrEnum):
    """Why something does not go on; each is a word that status and Events show."""

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
    """What the host waits for, in a word and in a sentence."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Blind:
    """The tenant cannot be read, or must not be: nothing about it may be concluded. `hold` says why."""

    hold: HoldReason


@dataclass(frozen=True, slots=True)
class TenantSeen:
    """What the tenant shows. `maintenances` are those of this host, whosever they are; None: the kind is not served."""

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
    """What becomes of a drain that takes too long."""

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
    """Who decides now, and when. A `term` is one leadership: drawn when it begins, and anew when time went back."""

    field_manager: str
    term: str
    draw: str
    """Drawn anew for each decision."""
    now: int
    """Seconds of the epoch."""


@dataclass(frozen=True, slots=True)
class HostRef:
    """Where the objects of one host are, and as whom they are written."""

    host: str
    tenant_cluster: str
    namespace: str
    """Of the operator, where the budgets are."""
    owner: str
    author: Author


@dataclass(frozen=True, slots=True)
class HostView:
    """One tenant host with all its DPUs: everything that the decision may look at."""

    host_ref: HostRef
    tenant: TenantSeen | Blind
    dpus: tuple[DpuView, ...]
    serving: str | None
    """The DPU whose entry names the host; None: none does."""
    pods_namespace: str
    """Of the ovnkube-node pods."""
    config: Obj
    """The DpuClusterConfig, whom Events are about."""
    not_now: HoldReason | None = None
    """Why no drain of this host may begin now: see `allowance`, or a teardown."""
    signals: tuple[Signal, ...] = ()
    """Of the serving DPU's network, where the topology has them."""
    evictions: tuple[str, ...] = ()
    """What keeps the host's pods, for a person; empty: nothing was found, or nobody has looked."""
    settings: DrainSettings = DrainSettings()
    unverified: bool = False
    """A cluster's time went back, and not every cycle has been taken over since."""


def dpu_node(obj: Obj) -> DpuNode:
    """Read the infra Node of a DPU."""
    notes = annotations_of(obj)
    boot = str(at(obj, "status", "nodeInfo", "bootID") or "")
    machine = machine_state(notes)
    return DpuNode(
        name=name_of(obj),
        uid=uid_of(obj),
        cordoned=_is_cordoned(obj),
        ready=(condition_of(obj, "Ready") or {}).get("status") == "True",
        boot_id=boot,
        terminating=is_terminating(obj),
        order=_order(str(notes.get(DRAIN_ANNOTATION, "")), boot),
        mco=_mco(machine),
        machine=machine,
        ready_since=as_seconds((condition_of(obj, "Ready") or {}).get("lastTransitionTime")),
    )


def budget(obj: Obj, owner: str) -> Budget:
    """Read a disruption budget.

    Guarantees: anything but a plain `maxUnavailable: 0` counts as open.
    """
    spec, notes = obj.get("spec") or {}, annotations_of(obj)
    closed = spec.get("maxUnavailable") in (0, "0", "0%") and "minAvailable" not in spec
    return Budget(
        live=obj,
        ours=labels_of(obj).get(OWNER_LABEL) == owner,
        is_open=not closed,
        serves=notes.get(SERVES_ANNOTATION, ""),
        cycle=parse_cycle(notes.get(CYCLE_ANNOTATION)),
        leaving=tuple(notes.get(LEAVING_ANNOTATION, "").split()),
        since=as_seconds(notes.get(SINCE_ANNOTATION)) or as_seconds(at(obj, "metadata", "creationTimestamp")),
    )


def is_ready_pod(obj: Obj) -> bool:
    """Whether a pod runs, is Ready and stays."""
    running = (obj.get("status") or {}).get("phase") == "Running"
    return running and (condition_of(obj, "Ready") or {}).get("status") == "True" and not is_terminating(obj)


def ready_blocker(pods: Iterable[Obj]) -> str:
    """Name of one of these pods that is Ready, always the same one; empty: none is."""
    return min((name_of(pod) for pod in pods if is_ready_pod(pod)), default="")


def ovn_pod(obj: Obj, revisions: frozenset[str]) -> OvnPod:
    """Read an ovnkube-node pod; `revisions` are the `controller-revision-hash`es that count as current."""
    statuses = (obj.get("status") or {}).get("containerStatuses") or []
    return OvnPod(
        live=obj,
        uid=uid_of(obj),
        ready=is_ready_pod(obj),
        terminating=is_terminating(obj),
        current=labels_of(obj).get("controller-revision-hash", "") in revisions,
        containers=tuple(sorted(str(status["containerID"]) for status in statuses if status.get("containerID"))),
    )


def maintenance(obj: Obj, owner: str) -> Maintenance:
    """Read a NodeMaintenance. Ours is what bears our label under the name that we give to its host."""
    notes, pending = annotations_of(obj), at(obj, "status", "pendingPods")
    host = str(at(obj, "spec", "nodeName") or "")
    last_update = str(at(obj, "status", "lastUpdate") or "")
    phase = _phase(str(at(obj, "status", "phase")), str(notes.get(OUTDATED_DRAIN_ANNOTATION, "")), last_update)
    return Maintenance(
        live=obj,
        name=name_of(obj),
        uid=uid_of(obj),
        host=host,
        ours=labels_of(obj).get(OWNER_LABEL) == owner and name_of(obj) == maintenance_name(host),
        terminating=is_terminating(obj),
        phase=phase,
        marks={name: str(value) for name, value in notes.items() if name.startswith(OPEN_FOR_PREFIX)},
        cordoned_before=_YES_NO.get(str(notes.get(CORDONED_BEFORE_ANNOTATION, ""))),
        error=printable(str(at(obj, "status", "lastError") or ""), _MOST_WORDS),
        pending=len(pending) if isinstance(pending, list) else 0,
        host_update=str(notes.get(HOST_UPDATE_ANNOTATION, "")),
        last_update=last_update,
        pods=_pending_pods(obj, pending),
        loses_lease=at(obj, "status", "errorOnLeaseCount") not in (None, 0),
        host_uid=str(notes.get(HOST_UID_ANNOTATION, "")),
        made_at=as_seconds(at(obj, "metadata", "creationTimestamp")),
        ended_at=as_seconds(at(obj, "metadata", "deletionTimestamp")),
        is_renewed=phase is MaintenancePhase.RUNNING and at(obj, "status", "phase") != "Running",
    )


def host_node(obj: Obj) -> HostNode:
    """Read the tenant Node of a host."""
    taints, notes = mappings(at(obj, "spec", "taints")), annotations_of(obj)
    machine = machine_state(notes)
    return HostNode(
        live=obj,
        uid=uid_of(obj),
        cordoned=_is_cordoned(obj),
        tainted=any(taint.get("key") == MAINTENANCE_TAINT for taint in taints),
        mark=_YES_NO.get(str(notes.get(CORDONED_BEFORE_ANNOTATION, ""))),
        in_own_drain=machine.is_at_work,
        terminating=is_terminating(obj),
        machine=machine,
        unplanned=mark_of(obj),
        has_outage_cordon=is_applied_cordon(obj),
        left_by=str(notes.get(LEFT_BY_ANNOTATION, "")),
    )


def is_left_over(host: HostNode) -> bool:
    """Whether a host that no maintenance holds any more looks as if one did, and should be in use.

    Source: the node maintenance operator puts its taint on with the cordon; one that is killed, uninstalled, or older
        than medik8s/node-maintenance-operator#163 leaves both behind.
    """
    return host.mark is False and host.cordoned and host.tainted


def is_uncordoned(found: Maintenance, host: HostNode) -> bool:
    """Whether somebody has uncordoned the host although its maintenance has drained it, and holds it.

    Source: the node maintenance operator takes its taint off before it uncordons, and watches no host once it is
        drained; while it still drains it cordons again by itself. One that loses its lease gives the host back, taint
        first, before it says `Failed`; it has counted its errors until then (`errorOnLeaseCount`, `Reconcile` in
        internal/controller/nodemaintenance_controller.go of medik8s/node-maintenance-operator 3a54cd1).
    """
    if not _is_drained(found) or host.cordoned:
        return False
    return host.tainted or (host.mark is not None and not found.loses_lease)


def is_registered_anew(found: Maintenance, host: HostNode) -> bool:
    """Whether the host's Node is another one than was drained: it shows nothing of what was written onto that."""
    return _is_drained(found) and host.mark is None and not host.tainted


def is_another_node(found: Maintenance, host: HostNode) -> bool:
    """Whether the host's Node is another one than its maintenance says anything of: neither its cordon nor its mark."""
    return is_registered_anew(found, host) or found.host_uid not in ("", host.uid)


def is_in_use(found: Maintenance, host: HostNode) -> bool:
    """Whether the host runs workloads although its maintenance says that it is drained."""
    return is_taken_back(found, host) or (is_registered_anew(found, host) and not host.cordoned)


def is_stuck_cordoned(host: HostNode) -> bool:
    """Whether a host that no maintenance holds any more is cordoned, should be in use, and nobody can tell who wants
    that: a node maintenance operator that ended half-way, or a person."""
    return host.mark is False and host.cordoned and not host.tainted


def _is_drained(found: Maintenance) -> bool:
    return found.phase is MaintenancePhase.SUCCEEDED and not found.terminating


def is_updated_meanwhile(found: Maintenance, host: HostNode) -> bool:
    """Whether the host's own machine-config operator is at work there, or was so since the maintenance was made.

    Each of its updates ends with an uncordon, whoever had cordoned the host, and soon after that says that it is done.
    """
    return host.in_own_drain or found.host_update not in ("", host.machine.update)


def is_outdated(found: Maintenance, host: HostNode) -> bool:
    """Whether the host has to be drained once more under that maintenance before it counts as drained."""
    return is_updated_meanwhile(found, host) or is_registered_anew(found, host)


def is_taken_back(found: Maintenance, host: HostNode) -> bool:
    """Whether a person has uncordoned the drained host: somebody has, and it was not the host's own operator."""
    return is_uncordoned(found, host) and not is_updated_meanwhile(found, host)


_PHASES: Mapping[str, MaintenancePhase] = {
    "Running": MaintenancePhase.RUNNING,
    "Succeeded": MaintenancePhase.SUCCEEDED,
    "Failed": MaintenancePhase.FAILED,
}
_MOST_WORDS = 200
"""Of what a tenant says."""
MOST_PODS = 5
"""So many pods of a host are named."""
_YES_NO: Mapping[str, bool] = {"yes": True, "no": False}


def _pending_pods(obj: Obj, names: object) -> tuple[Pod, ...]:
    """Source: medik8s/node-maintenance-operator, api/v1beta1/nodemaintenance_types.go: `pendingPodsRefs` on main since
    2025, `pendingPods`, which are names alone, in all releases."""
    refs = mappings(at(obj, "status", "pendingPodsRefs"))[:MOST_PODS]
    found = tuple(Pod(str(ref.get("namespace") or ""), str(ref["name"])) for ref in refs if ref.get("name"))
    if found or not isinstance(names, list):
        return found
    return tuple(Pod("", str(name)) for name in names[:MOST_PODS])


def _is_cordoned(obj: Obj) -> bool:
    return bool(at(obj, "spec", "unschedulable"))


def _phase(said: str, outdated: str, last_update: str) -> MaintenancePhase:
    """Source: the node maintenance operator leaves `Succeeded` standing while it drains a host once more, and writes
    another `lastUpdate` whenever that ends well (`Reconcile` in internal/controller/nodemaintenance_controller.go of
    medik8s/node-maintenance-operator 3a54cd1)."""
    phase = _PHASES.get(said, MaintenancePhase.NEW)
    return (
        MaintenancePhase.RUNNING
        if phase is MaintenancePhase.SUCCEEDED and outdated and outdated == last_update
        else phase
    )


def _mco(machine: MachineState) -> Mco:
    if machine.drains:
        return Mco.DRAINED if machine.is_drained else Mco.DRAINS
    return Mco.PENDING if machine.is_under_way else Mco.RESTS


def _order(text: str, boot: str) -> DrainOverride:
    word, _, argument = text.partition(":")
    match word, argument:
        case "", "":
            return DrainOverride.NONE
        case "skip", "":
            return DrainOverride.SKIP
        case "hold", "":
            return DrainOverride.HOLD
        case "force", named if named:
            return DrainOverride.FORCE if named == boot else DrainOverride.NONE
    return DrainOverride.UNKNOWN
