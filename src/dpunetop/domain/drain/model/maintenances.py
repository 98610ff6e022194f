"""The NodeMaintenance of a tenant host, and the mark that keeps a cordon which was there before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dpunetop.domain.drain.model.facts import HostNode, HostRef, Maintenance, is_registered_anew
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

_REASON = "The DPU of this host is about to be drained and rebooted; the host comes back by itself"


def new_maintenance(host_ref: HostRef, cordoned_before: bool, read: HostNode) -> Apply:
    """Have the host drained, as it was `read`. Guarantees: fails if there is a maintenance under our name already."""
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
    """Have a host drained once more that was uncordoned since; fails if the maintenance changed since `found`.

    Guarantees: the maintenance does not count as succeeded before its operator has drained the host again.
    """
    notes = {OUTDATED_DRAIN_ANNOTATION: found.last_update or None, HOST_UPDATE_ANNOTATION: read.machine.update}
    if is_registered_anew(found, read):  # that Node never bore our cordon
        notes[CORDONED_BEFORE_ANNOTATION] = _word(read.cordoned)
        notes[HOST_UID_ANNOTATION] = read.uid
    return Patch(host_ref.tenant_cluster, NODEMAINTENANCES, found.live, {"metadata": {"annotations": notes}})


def leave_host(host_ref: HostRef, read: HostNode) -> Patch:
    """Write onto a host that it is to come out cordoned, and who leaves it; fails if the host changed since `read`."""
    notes = {CORDONED_BEFORE_ANNOTATION: _word(True), LEFT_BY_ANNOTATION: host_ref.owner}
    return _change_host(host_ref, read, {"metadata": {"annotations": notes}})


def lift_host(host_ref: HostRef, read: HostNode) -> Patch:
    """Take back the cordon of a host that was left, and who left it; fails if the host changed since `read`."""
    change = {"metadata": {"annotations": {LEFT_BY_ANNOTATION: None}}, "spec": {"unschedulable": None}}
    return _change_host(host_ref, read, change)


def mark_host(host_ref: HostRef, read: HostNode, cordoned_before: bool) -> Patch:
    """Write onto the host whether it was cordoned before; fails if the host changed since `read`."""
    return _change_host(
        host_ref, read, {"metadata": {"annotations": {CORDONED_BEFORE_ANNOTATION: _word(cordoned_before)}}}
    )


def unmark_host(host_ref: HostRef, read: HostNode) -> Patch:
    """Take the mark off and leave the cordon as it is; fails if the host changed since `read`."""
    return _change_host(host_ref, read, {"metadata": {"annotations": {CORDONED_BEFORE_ANNOTATION: None}}})


def restore_host(host_ref: HostRef, read: HostNode) -> Patch:
    """Take the mark off and cordon the host if it was so before; fails if the host changed since `read`.

    No maintenance is there, so a taint of its operator goes too. A host that is schedulable under that taint has been
    uncordoned by a person: the operator takes the taint off first.
    """
    is_taken_back = read.tainted and not read.cordoned
    cordon = {"unschedulable": True} if read.mark and not is_taken_back else {}
    spec = {**cordon, **_untainted(read)}
    return _change_host(host_ref, read, {**_UNMARKED, **({"spec": spec} if spec else {})})


def release_host(host_ref: HostRef, read: HostNode) -> Patch:
    """Take mark, cordon and the taint of the maintenance operator off; fails if the host changed since `read`."""
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
