"""What the Machine Config Operator decides, without I/O: who is in which pool, who is next, how far a pool is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from dpunetop.base import jsonio
from dpunetop.domain.names import (
    CURRENT_CONFIG_ANNOTATION,
    DESIRED_CONFIG_ANNOTATION,
    MACHINE_CONFIG_STATE_ANNOTATION,
    WORKER_ROLE,
)
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.meta import Obj, annotations_of, generation_of, labels_of, name_of
from dpunetop.kube.selectors import matches
from dpunetop.sandbox.standins.kubelet import REBOOT_ANNOTATION, boot_id

DESIRED_DRAIN_ANNOTATION = "machineconfiguration.openshift.io/desiredDrain"
LAST_APPLIED_DRAIN_ANNOTATION = "machineconfiguration.openshift.io/lastAppliedDrain"

DONE, WORKING, DEGRADED = "Done", "Working", "Degraded"
MASTER_ROLE = "master"


def selected(pool: Obj, machine_configs: Iterable[Obj]) -> list[Obj]:
    """The MachineConfigs of a pool, in the order in which they are laid over each other."""
    selector = pool["spec"].get("machineConfigSelector") or {}
    return sorted((config for config in machine_configs if matches(selector, labels_of(config))), key=name_of)


def rendered_name(pool: str, machine_configs: Sequence[Obj]) -> str:
    """The name of what these MachineConfigs become: another for another content."""
    content = [(name_of(config), config.get("spec")) for config in machine_configs]
    return f"rendered-{pool}-{jsonio.digest(content)}{jsonio.digest([pool, content])}"


def pool_of(node: Obj, pools: Iterable[Obj]) -> str | None:
    """The pool that configures a node: master beats a custom one, which beats worker; None for a node in two."""
    names = {name_of(pool) for pool in pools if matches(pool["spec"].get("nodeSelector") or {}, labels_of(node))}
    if MASTER_ROLE in names:
        return MASTER_ROLE
    custom = names - {WORKER_ROLE}
    if len(custom) > 1:
        return None
    return next(iter(custom or names), None)


def is_ready(node: Obj) -> bool:
    """Whether the node is Ready and schedulable."""
    return (condition_of(node, "Ready") or {}).get("status") == "True" and not is_cordoned(node)


def is_cordoned(node: Obj) -> bool:
    """Whether new pods are kept away."""
    return bool((node.get("spec") or {}).get("unschedulable"))


def state_of(node: Obj) -> str:
    """What the node's daemon says it does."""
    return annotations_of(node).get(MACHINE_CONFIG_STATE_ANNOTATION, "")


def desired_config(node: Obj) -> str:
    """The rendered configuration that the node is to have."""
    return annotations_of(node).get(DESIRED_CONFIG_ANNOTATION, "")


def has_config(node: Obj, target: str) -> bool:
    """Whether the node has arrived at `target`."""
    return annotations_of(node).get(CURRENT_CONFIG_ANNOTATION) == target == desired_config(node)


def next_nodes(pool: Obj, members: Sequence[Obj], target: str) -> list[Obj]:
    """The nodes that may begin their update now.

    Guarantees: never more nodes unavailable than the pool allows, whoever made them so; a node that is not Ready or
        that somebody has cordoned is not begun with.
    """
    if pool["spec"].get("paused"):
        return []
    unavailable = [node for node in members if not is_ready(node) or _is_updating(node)]
    free = _max_unavailable(pool, len(members)) - len(unavailable)
    waiting = [node for node in members if desired_config(node) != target and is_ready(node)]
    idle = [node for node in waiting if not _is_updating(node)]
    return sorted(idle, key=name_of)[: max(free, 0)]


class Action(Enum):
    """What is next on a node that is being updated."""

    NOTHING = auto()
    BEGIN = auto()
    DRAIN = auto()
    REBOOT = auto()
    WAIT_FOR_BOOT = auto()
    ASK_UNCORDON = auto()
    UNCORDON = auto()
    FINISH = auto()


def next_action(node: Obj) -> Action:
    """The next step of a node's update, told from its annotations alone."""
    marks = annotations_of(node)
    desired, current = desired_config(node), marks.get(CURRENT_CONFIG_ANNOTATION)
    if not desired or desired == current or state_of(node) == DEGRADED:
        return Action.NOTHING
    wanted, applied = marks.get(DESIRED_DRAIN_ANNOTATION, ""), marks.get(LAST_APPLIED_DRAIN_ANNOTATION, "")
    if wanted == uncordon_mark(desired):
        return Action.FINISH if applied == wanted else Action.UNCORDON
    if wanted != drain_mark(desired) or state_of(node) != WORKING:
        return Action.BEGIN
    if applied != wanted:
        return Action.DRAIN
    return _boot_action(node, marks.get(REBOOT_ANNOTATION))


def drain_mark(config: str) -> str:
    """What `desiredDrain` says while a node is to be drained for `config`."""
    return f"drain-{config}"


def uncordon_mark(config: str) -> str:
    """What `desiredDrain` says once `config` has been booted into."""
    return f"uncordon-{config}"


@dataclass(frozen=True)
class PoolView:
    """All that the status of a pool is made of."""

    pool: Obj
    members: Sequence[Obj]
    sources: Sequence[str]
    """Names of the MachineConfigs in the newest rendered configuration; none: it could not be rendered."""
    now: str


def configuration(name: str, sources: Sequence[str]) -> dict[str, Any]:
    """The member `configuration` of a pool."""
    kind = {"apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfig"}
    return {"name": name, "source": [{**kind, "name": source} for source in sources]}


def pool_status(view: PoolView) -> dict[str, Any]:
    """The status of a pool whose `spec.configuration` is rendered.

    Source: the Machine Config Operator's status of a pool; `Updated` with no machine, and neither `Updated` nor
        `Updating` while paused, as there.
    """
    target = str((view.pool["spec"].get("configuration") or {}).get("name", ""))
    total = len(view.members)
    updated = [node for node in view.members if has_config(node, target) and state_of(node) == DONE]
    ready = [node for node in updated if is_ready(node)]
    degraded = sum(state_of(node) == DEGRADED for node in view.members)
    unavailable = sum(not is_ready(node) or _is_updating(node) for node in view.members)
    is_updated = len(updated) == len(ready) == total
    live = view.pool.get("status") or {}
    return {
        "observedGeneration": generation_of(view.pool),
        "configuration": view.pool["spec"]["configuration"] if is_updated else live.get("configuration") or {},
        "machineCount": total,
        "updatedMachineCount": len(updated),
        "readyMachineCount": len(ready),
        "unavailableMachineCount": unavailable,
        "degradedMachineCount": degraded,
        "conditions": _conditions(view, is_updated, degraded),
    }


def _conditions(view: PoolView, is_updated: bool, degraded: int) -> list[dict[str, Any]]:
    states = {
        "Updated": is_updated,
        "Updating": not is_updated and not view.pool["spec"].get("paused"),
        "NodeDegraded": degraded > 0,
        "RenderDegraded": not view.sources,
        "Degraded": degraded > 0 or not view.sources,
    }
    return [_condition(view, name, str(state)) for name, state in states.items()]


def _condition(view: PoolView, name: str, status: str) -> dict[str, Any]:
    old = condition_of(view.pool, name) or {}
    since = old.get("lastTransitionTime") if old.get("status") == status else None
    return {"type": name, "status": status, "reason": "", "message": "", "lastTransitionTime": since or view.now}


def _is_updating(node: Obj) -> bool:
    return not has_config(node, desired_config(node)) or state_of(node) != DONE


def _boot_action(node: Obj, ended: str | None) -> Action:
    if ended is None:
        return Action.REBOOT
    came_up = boot_id(node) != ended and (condition_of(node, "Ready") or {}).get("status") == "True"
    return Action.ASK_UNCORDON if came_up else Action.WAIT_FOR_BOOT


def _max_unavailable(pool: Obj, machines: int) -> int:
    limit = pool["spec"].get("maxUnavailable", 1)
    if isinstance(limit, str) and limit.endswith("%"):
        return max(math.floor(machines * int(limit.removesuffix("%")) / 100), 1)
    return int(limit)
