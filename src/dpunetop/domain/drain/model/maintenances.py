"""The NodeMaintenance of a tenant host: the state that it and the host's Node show together, and the writes to both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dpunetop.domain.drain.model.cordonmark import CordonProgress
from dpunetop.domain.drain.model.facts import HostNode, HostRef, Maintenance, MaintenancePhase, NodeGone
from dpunetop.domain.names import (
    CORDONED_BEFORE_ANNOTATION,
    HOST_UID_ANNOTATION,
    HOST_UPDATE_ANNOTATION,
    LEFT_BY_ANNOTATION,
    MAINTENANCE_TAINT,
    NODEMAINTENANCES,
    OUTDATED_DRAIN_ANNOTATION,
    OWNER_LABEL,
    maintenance_name,
)
from dpunetop.kube.keys import NODES
from dpunetop.kube.meta import new_object
from dpunetop.kube.plan import Apply, Patch
from dpunetop.kube.shapes import at, mappings


def is_left_over(host: HostNode) -> bool:
    """Whether a host without a maintenance still looks as if it had one, and should be in use.

    Source: the node maintenance operator sets its taint with the cordon; one that is killed, uninstalled, or older than
        medik8s/node-maintenance-operator#163 leaves both behind.
    """
    return host.mark is False and host.cordoned and host.tainted


def is_abandoned(host: HostNode) -> bool:
    """Whether a host without a maintenance has the taint of one, and its earlier cordon is not known: its Node was
    registered again meanwhile, or our mark was removed, or the maintenance was another owner's."""
    return host.mark is None and host.tainted


def is_uncordoned(found: Maintenance, host: HostNode) -> bool:
    """Whether another client uncordoned the host after its NodeMaintenance drained it.

    Source: the node maintenance operator removes its taint before it uncordons, and does not watch a host once it is
        drained; while it still drains, it cordons again by itself. One that loses its lease uncordons the host, taint
        first, before it reports `Failed`; it has counted its errors until then (`errorOnLeaseCount`, `Reconcile` in
        internal/controller/nodemaintenance_controller.go of medik8s/node-maintenance-operator 3a54cd1).
    """
    if not has_drained(found) or host.cordoned or is_registered_anew(found, host):
        return False
    return host.tainted or (host.mark is not None and not found.loses_lease)


def is_registered_anew(found: Maintenance, host: HostNode) -> bool:
    """Whether the host's Node is not the one that was drained: it has none of the fields written to that."""
    return has_drained(found) and not host.tainted and (host.mark is None or _is_of_another(found, host))


def is_another_node(found: Maintenance, host: HostNode) -> bool:
    """Whether the host's Node is not that of the maintenance, which then knows neither its cordon nor its mark."""
    return is_registered_anew(found, host) or _is_of_another(found, host)


def _is_of_another(found: Maintenance, host: HostNode) -> bool:
    return found.host_uid not in ("", host.uid)


def lacks_mark(found: Maintenance, host: HostNode) -> bool:
    """Whether the host has no mark of this maintenance, whose end would then lose the earlier cordon. A Node that was
    registered again after its drain is drained once more, or given back, before it is marked."""
    return (host.mark is None or _is_of_another(found, host)) and not is_registered_anew(found, host)


def was_cordoned(found: Maintenance, host: HostNode) -> bool:
    """Whether the host was cordoned before its maintenance. If the maintenance was created for another Node, a cordon
    is a person's, unless the operator's taint shows that it is the maintenance's."""
    if host.mark is not None:
        return host.mark
    if is_another_node(found, host) or found.cordoned_before is None:
        return host.cordoned and not host.tainted
    return found.cordoned_before


def is_in_use(found: Maintenance, host: HostNode) -> bool:
    """Whether the host runs workloads although its maintenance says that it is drained."""
    return is_taken_back(found, host) or (is_registered_anew(found, host) and not host.cordoned)


def is_stuck_cordoned(host: HostNode) -> bool:
    """Whether a host without NodeMaintenance is still cordoned and should be schedulable. The cordon may be a person's,
    or left by a node maintenance operator that stopped half-way."""
    return host.mark is False and host.cordoned and not host.tainted


def bears_outage_cordon(host: HostNode) -> bool:
    """Whether our mark says that the host is cordoned because its network failed outside a drain."""
    return host.cordoned and _is_said_cordoned(host)


def has_lost_outage_cordon(host: HostNode) -> bool:
    """Whether the host was cordoned for an outage, and another client has uncordoned it since."""
    return not host.cordoned and _is_said_cordoned(host)


def _is_said_cordoned(host: HostNode) -> bool:
    return host.unplanned is not None and host.unplanned.stage is CordonProgress.CORDONED


def has_drained(found: Maintenance) -> bool:
    """Whether the maintenance has drained its host, by its status, and is not being deleted."""
    return found.phase is MaintenancePhase.SUCCEEDED and not found.terminating


def is_drained(found: Maintenance | None, host: HostNode | NodeGone | None) -> bool:
    """Whether the host is drained and stays so: the maintenance has drained it, and it is unschedulable.

    Every rule means this by a drained host. `host` None: it is unknown.
    """
    return found is not None and has_drained(found) and isinstance(host, HostNode) and host.cordoned


def is_updated_meanwhile(found: Maintenance, host: HostNode) -> bool:
    """Whether the host's own machine-config operator is at work there, or was since the maintenance was created.

    Each of its updates ends with an uncordon, even of a host that others cordoned; its state is Done soon after.
    """
    return host.in_own_drain or found.host_update not in ("", host.machine.update)


def is_outdated(found: Maintenance, host: HostNode) -> bool:
    """Whether the host has to be drained once more under that maintenance before it counts as drained."""
    return is_updated_meanwhile(found, host) or is_registered_anew(found, host)


def is_taken_back(found: Maintenance, host: HostNode) -> bool:
    """Whether a person uncordoned the drained host: it was uncordoned, and not by its own machine-config operator."""
    return is_uncordoned(found, host) and not is_updated_meanwhile(found, host)


_REASON = "The DPU of this host is about to be drained and rebooted; the host comes back by itself"


def new_maintenance(host_ref: HostRef, cordoned_before: bool, read: HostNode) -> Apply:
    """Create the maintenance that drains the host, as it was `read`. Guarantees: fails if one with our name exists
    already."""
    desired = new_object(NODEMAINTENANCES, "", maintenance_name(host_ref.host))
    desired["metadata"]["labels"] = {OWNER_LABEL: host_ref.owner}
    desired["metadata"]["annotations"] = {
        CORDONED_BEFORE_ANNOTATION: _word(cordoned_before),
        HOST_UID_ANNOTATION: read.uid,
        HOST_UPDATE_ANNOTATION: read.machine.update,
    }
    desired["spec"] = {"nodeName": host_ref.host, "reason": _REASON}
    return Apply(host_ref.tenant_cluster, NODEMAINTENANCES, desired, None, host_ref.author.field_manager)


def renew_maintenance(host_ref: HostRef, found: Maintenance, read: HostNode) -> Patch:
    """Have a host that was uncordoned drained once more; fails if the maintenance changed since `found`.

    Guarantees: the maintenance does not count as succeeded before its operator has drained the host again.
    """
    notes = {OUTDATED_DRAIN_ANNOTATION: found.last_update or None, HOST_UPDATE_ANNOTATION: read.machine.update}
    if is_registered_anew(found, read):  # that Node never had our cordon
        notes[CORDONED_BEFORE_ANNOTATION] = _word(was_cordoned(found, read))
        notes[HOST_UID_ANNOTATION] = read.uid
    return Patch(host_ref.tenant_cluster, NODEMAINTENANCES, found.live, {"metadata": {"annotations": notes}})


def name_host(host_ref: HostRef, found: Maintenance, read: HostNode, cordoned_before: bool) -> Patch:
    """Record in the maintenance the Node that was `read`; fails if the maintenance changed since `found`."""
    notes = {CORDONED_BEFORE_ANNOTATION: _word(cordoned_before), HOST_UID_ANNOTATION: read.uid}
    return Patch(host_ref.tenant_cluster, NODEMAINTENANCES, found.live, {"metadata": {"annotations": notes}})


def leave_host(host_ref: HostRef, read: HostNode) -> Patch:
    """Record on a host that it is left cordoned, and by whom; fails if the host changed since `read`."""
    notes = {CORDONED_BEFORE_ANNOTATION: _word(True), LEFT_BY_ANNOTATION: host_ref.owner}
    return _change_host(host_ref, read, {"metadata": {"annotations": notes}})


def lift_host(host_ref: HostRef, read: HostNode) -> Patch:
    """Remove the cordon of a host that was left, and the record of that; fails if the host changed since `read`."""
    change = {"metadata": {"annotations": {LEFT_BY_ANNOTATION: None}}, "spec": {"unschedulable": None}}
    return _change_host(host_ref, read, change)


def mark_host(host_ref: HostRef, read: HostNode, cordoned_before: bool) -> Patch:
    """Record on the host whether it was cordoned before; fails if the host changed since `read`."""
    return _change_host(
        host_ref, read, {"metadata": {"annotations": {CORDONED_BEFORE_ANNOTATION: _word(cordoned_before)}}}
    )


def unmark_host(host_ref: HostRef, read: HostNode) -> Patch:
    """Remove the mark and leave the cordon as it is; fails if the host changed since `read`."""
    return _change_host(host_ref, read, {"metadata": {"annotations": {CORDONED_BEFORE_ANNOTATION: None}}})


def restore_host(host_ref: HostRef, read: HostNode) -> Patch:
    """Remove the mark and cordon the host if it was cordoned before; fails if the host changed since `read`.

    No maintenance exists, so a taint of its operator is removed too. A host that is schedulable with that taint was
    uncordoned by a person: the operator removes the taint first.
    """
    is_taken_back = read.tainted and not read.cordoned
    cordon = {"unschedulable": True} if read.mark and not is_taken_back else {}
    spec = {**cordon, **_untainted(read)}
    return _change_host(host_ref, read, {**_UNMARKED, **({"spec": spec} if spec else {})})


def release_host(host_ref: HostRef, read: HostNode) -> Patch:
    """Remove the mark, the cordon and the maintenance operator's taint; fails if the host changed since `read`."""
    return _change_host(host_ref, read, {**_UNMARKED, "spec": {"unschedulable": None, **_untainted(read)}})


_UNMARKED: Mapping[str, Any] = {"metadata": {"annotations": {CORDONED_BEFORE_ANNOTATION: None}}}


def _untainted(read: HostNode) -> dict[str, Any]:
    if not read.tainted:
        return {}
    taints = mappings(at(read.live, "spec", "taints"))
    return {"taints": [taint for taint in taints if taint.get("key") != MAINTENANCE_TAINT]}


def _change_host(host_ref: HostRef, read: HostNode, change: dict[str, Any]) -> Patch:
    return Patch(host_ref.tenant_cluster, NODES, read.live, change)


def _word(yes: bool) -> str:
    return "yes" if yes else "no"
