"""Read the objects of one tenant host and its DPUs into facts.

Every reader takes an object from a cache or from the API server, so that a decision and its fresh reads judge in the
same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dpunetop.base.quoting import printable
from dpunetop.domain.drain.model.cordonmark import is_applied_cordon, mark_of
from dpunetop.domain.drain.model.facts import (
    Budget,
    DpuNode,
    DrainOverride,
    HostNode,
    Maintenance,
    MaintenancePhase,
    Mco,
    OvnPod,
    Pod,
    Templates,
)
from dpunetop.domain.drain.model.record import parse_cycle
from dpunetop.domain.drain.model.times import as_seconds
from dpunetop.domain.hostconfig.machinestate import MachineState, machine_state
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
    OVNKUBE_NODE,
    OWNER_LABEL,
    SERVES_ANNOTATION,
    SINCE_ANNOTATION,
    TEMPLATE_HASH_ANNOTATION,
    maintenance_name,
)
from dpunetop.kube.compact import boot_of, container_ids
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.meta import Obj, annotations_of, is_terminating, labels_of, name_of, uid_of
from dpunetop.kube.shapes import at, mappings


def dpu_node(obj: Obj) -> DpuNode:
    """Read the infra Node of a DPU."""
    notes = annotations_of(obj)
    boot = boot_of(obj)
    machine = machine_state(notes)
    return DpuNode(
        name=name_of(obj),
        uid=uid_of(obj),
        cordoned=_is_cordoned(obj),
        ready=(condition_of(obj, "Ready") or {}).get("status") == "True",
        boot_id=boot,
        terminating=is_terminating(obj),
        override=_override(str(notes.get(DRAIN_ANNOTATION, "")), boot),
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
    """Whether a pod runs, is Ready and is not being deleted."""
    running = (obj.get("status") or {}).get("phase") == "Running"
    return running and (condition_of(obj, "Ready") or {}).get("status") == "True" and not is_terminating(obj)


def ready_blocker(pods: Iterable[Obj]) -> str:
    """Name of one of these pods that is Ready, always the same one; empty: none."""
    return min((name_of(pod) for pod in pods if is_ready_pod(pod)), default="")


def is_ovn_pod(obj: Obj) -> bool:
    """Whether a pod has the label of ovnkube-node pods; `ovn_pod` takes only these."""
    return at(obj, "metadata", "labels", "app") == OVNKUBE_NODE


NO_TEMPLATES = Templates()
"""For a caller to which the template of a pod does not matter."""


def ovn_pod(obj: Obj, templates: Templates = NO_TEMPLATES, idle: str = "") -> OvnPod:
    """Read an ovnkube-node pod. `idle` is the UID of a pod that has read no entry; empty: none is known.

    It defines rule 4's pod that is Ready and at the current template. A pod that has read no entry serves no host: it
    proves nothing, even if it is Ready.
    """
    template = annotations_of(obj).get(TEMPLATE_HASH_ANNOTATION, "")
    return OvnPod(
        live=obj,
        uid=uid_of(obj),
        ready=is_ready_pod(obj) and uid_of(obj) != idle,
        terminating=is_terminating(obj),
        current=templates.counts(template),
        newest=bool(template) and template == templates.newest,
        containers=tuple(sorted(container_ids(obj))),
    )


def maintenance(obj: Obj, owner: str) -> Maintenance:
    """Read a NodeMaintenance. It is ours if it has our label and the name that we give to its host."""
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
        finalizers=_finalizers(obj),
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


_PHASES: Mapping[str, MaintenancePhase] = {
    "Running": MaintenancePhase.RUNNING,
    "Succeeded": MaintenancePhase.SUCCEEDED,
    "Failed": MaintenancePhase.FAILED,
}
_MOST_WORDS = 200
"""Words of a tenant's text that are shown."""
MOST_PODS = 5
"""The number of pods of a host that are named."""
_YES_NO: Mapping[str, bool] = {"yes": True, "no": False}


def _pending_pods(obj: Obj, names: object) -> tuple[Pod, ...]:
    """Source: medik8s/node-maintenance-operator, api/v1beta1/nodemaintenance_types.go: `pendingPodsRefs` on main since
    2025, `pendingPods`, which are names alone, in all releases."""
    refs = mappings(at(obj, "status", "pendingPodsRefs"))[:MOST_PODS]
    found = tuple(Pod(str(ref.get("namespace") or ""), str(ref["name"])) for ref in refs if ref.get("name"))
    if found or not isinstance(names, list):
        return found
    return tuple(Pod("", str(name)) for name in names[:MOST_PODS])


def _finalizers(obj: Obj) -> tuple[str, ...]:
    found = at(obj, "metadata", "finalizers")
    return tuple(map(str, found)) if isinstance(found, list) else ()


def _is_cordoned(obj: Obj) -> bool:
    return bool(at(obj, "spec", "unschedulable"))


def _phase(said: str, outdated: str, last_update: str) -> MaintenancePhase:
    """Source: the node maintenance operator keeps `Succeeded` while it drains a host once more, and writes another
    `lastUpdate` when that succeeds (`Reconcile` in internal/controller/nodemaintenance_controller.go of
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
    return Mco.PENDING if machine.is_under_way else Mco.IDLE


def _override(text: str, boot: str) -> DrainOverride:
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
