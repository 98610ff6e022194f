"""The mark on a tenant Node that we cordon because its network failed outside a drain. It holds all state, so that any
process can go on.

The mark and the cordon are applied by a field manager of their own. So the API server itself knows whose the cordon is:
one that a person has removed and set again is not ours any more, and stays when we give up our fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dpunetop.base import jsonio
from dpunetop.domain.names import UNPLANNED_ANNOTATION, field_manager
from dpunetop.kube.keys import NODES
from dpunetop.kube.meta import Obj, annotations_of, name_of, new_object
from dpunetop.kube.plan import Apply, Fence
from dpunetop.kube.shapes import at, mappings

CORDON_MANAGER = field_manager("unplanned")
_MOST_CHARS = 4096
_MOST_CONTAINERS = 32
_ID_CHARS = 12
"""Length of the kept end of a container ID, which is a hash."""


class CordonProgress(StrEnum):
    """The stage of a cordon for an outage."""

    WANTED = "wanted"
    """The host is about to be cordoned; it is not yet."""
    CORDONED = "cordoned"
    OVERRULED = "overruled"
    """Another client uncordoned the host; the same outage does not cordon it again."""


@dataclass(frozen=True, slots=True)
class CordonMark:
    """The content of the mark."""

    owner: str
    """Owner label of the DpuClusterConfig that cordons; empty: the mark cannot be parsed, so it has no owner."""
    stage: CordonProgress
    since: int = 0
    """Since when the host has no network, in seconds of the epoch."""
    dpu: str = ""
    boot: str = ""
    """Boot ID of the DPU when the mark was written; empty: unknown."""
    containers: tuple[str, ...] = ()
    """The ends of the IDs of the containers that existed then."""

    def is_stale(self, container: str, boot: str) -> bool:
        """Whether a container, shown in that boot, is from before the DPU's reboot."""
        return boot != self.boot and container[-_ID_CHARS:] in self.containers


def short_ids(containers: tuple[str, ...]) -> tuple[str, ...]:
    """Container IDs as a mark keeps them."""
    return tuple(sorted(each[-_ID_CHARS:] for each in containers))[:_MOST_CONTAINERS]


def mark_of(node: Obj) -> CordonMark | None:
    """The mark on a tenant Node; None: there is none. One that cannot be parsed has no owner and stage `cordoned`."""
    text = annotations_of(node).get(UNPLANNED_ANNOTATION)
    if text is None:
        return None
    try:
        found = jsonio.loads(text) if isinstance(text, str) and len(text) <= _MOST_CHARS else None
        return _read(found) if isinstance(found, Mapping) else _UNOWNED
    except (ValueError, TypeError, KeyError):
        return _UNOWNED


_UNOWNED = CordonMark("", CordonProgress.CORDONED)


def _read(found: Mapping[str, Any]) -> CordonMark:
    containers = found.get("containers", [])
    if not isinstance(containers, list):
        raise TypeError
    return CordonMark(
        owner=str(found["owner"]),
        stage=CordonProgress(str(found["stage"])),
        since=int(found["since"]),
        dpu=str(found.get("dpu", "")),
        boot=str(found.get("boot", "")),
        containers=tuple(str(each) for each in containers[:_MOST_CONTAINERS]),
    )


def is_applied_cordon(node: Obj) -> bool:
    """Whether the operator set the cordon of a Node for an outage, and no other manager has set it since.

    `node` must be read from the API server: a tenant's caches drop the field owners.
    """
    entries = mappings(at(node, "metadata", "managedFields"))
    setters = {
        str(entry.get("manager")) for entry in entries if at(entry, "fieldsV1", "f:spec", "f:unschedulable") is not None
    }
    return setters == {CORDON_MANAGER} and mark_of(node) is not None


def write_mark(cluster: str, node: Obj, mark: CordonMark | None) -> Apply:
    """Apply the mark, and the cordon if the stage is CORDONED; None gives both up.

    Guarantees: fails if the Node changed since `node` was read; a cordon that another manager set stays.
    Source: Kubernetes, server-side apply: a field that an applier gives up is removed unless another manager owns it,
        and a manager that changes a value takes its ownership from the others.
    """
    desired = new_object(NODES, "", name_of(node))
    if mark is not None:
        desired["metadata"]["annotations"] = {UNPLANNED_ANNOTATION: _render(mark)}
        if mark.stage is CordonProgress.CORDONED:
            desired["spec"] = {"unschedulable": True}
    return Apply(cluster, NODES, desired, node, CORDON_MANAGER, Fence.VERSION)


def _render(mark: CordonMark) -> str:
    found: dict[str, Any] = {"owner": mark.owner, "stage": str(mark.stage), "since": mark.since, "dpu": mark.dpu}
    if mark.boot:
        found["boot"] = mark.boot
    if mark.containers:
        found["containers"] = list(mark.containers)
    return jsonio.canonical(found).decode()
