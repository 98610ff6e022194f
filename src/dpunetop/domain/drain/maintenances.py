"""The NodeMaintenance of a tenant host, and the mark that keeps a cordon which was there before."""

from __future__ import annotations

from typing import Any

from dpunetop.domain.drain.facts import HostNode, Site
from dpunetop.domain.names import CORDONED_BEFORE_ANNOTATION, NODEMAINTENANCES, OWNER_LABEL, maintenance_name
from dpunetop.kube.keys import NODES
from dpunetop.kube.meta import new_object
from dpunetop.kube.plan import Apply, Patch

_REASON = "The DPU of this host is about to be drained and rebooted; the host comes back by itself"


def new_maintenance(site: Site, cordoned_before: bool) -> Apply:
    """Have the host drained. Guarantees: fails if there is a maintenance under our name already."""
    desired = new_object(NODEMAINTENANCES, "", maintenance_name(site.host))
    desired["metadata"]["labels"] = {OWNER_LABEL: site.owner}
    desired["metadata"]["annotations"] = {CORDONED_BEFORE_ANNOTATION: _word(cordoned_before)}
    desired["spec"] = {"nodeName": site.host, "reason": _REASON}
    return Apply(site.tenant_cluster, NODEMAINTENANCES, desired, None, site.author.field_manager)


def mark_host(site: Site, read: HostNode, cordoned_before: bool) -> Patch:
    """Write onto the host whether it was cordoned before; fails if the host changed since `read`."""
    return _change_host(site, read, {"metadata": {"annotations": {CORDONED_BEFORE_ANNOTATION: _word(cordoned_before)}}})


def unmark_host(site: Site, read: HostNode) -> Patch:
    """Take the mark off and leave the cordon as it is; fails if the host changed since `read`."""
    return _change_host(site, read, {"metadata": {"annotations": {CORDONED_BEFORE_ANNOTATION: None}}})


def restore_host(site: Site, read: HostNode) -> Patch:
    """Take the mark off and cordon the host if it was so before; fails if the host changed since `read`."""
    change: dict[str, Any] = {"metadata": {"annotations": {CORDONED_BEFORE_ANNOTATION: None}}}
    if read.mark:
        change["spec"] = {"unschedulable": True}
    return _change_host(site, read, change)


def _change_host(site: Site, read: HostNode, change: dict[str, Any]) -> Patch:
    return Patch(site.tenant_cluster, NODES, read.live, change)


def _word(yes: bool) -> str:
    return "yes" if yes else "no"
