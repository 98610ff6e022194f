"""The decisions of the Machine Config Operator, without I/O: the pool of a node, the next nodes, the status of a pool.

Each rule cites its file in openshift/machine-config-operator 7ff337a.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from enum import Enum, auto
from typing import Any

from dpunetop.base import jsonio
from dpunetop.domain.names import (
    CURRENT_CONFIG_ANNOTATION,
    CURRENT_IMAGE_ANNOTATION,
    DESIRED_CONFIG_ANNOTATION,
    DESIRED_IMAGE_ANNOTATION,
    MACHINE_CONFIG_REASON_ANNOTATION,
    MACHINE_CONFIG_STATE_ANNOTATION,
    MACHINECONFIGS,
    WORKER_ROLE,
)
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.meta import Obj, annotations_of, generation_of, labels_of, name_of, namespace_of, new_object, uid_of
from dpunetop.kube.selectors import matches
from dpunetop.sandbox.standins.kubelet import REBOOT_ANNOTATION, boot_id

DESIRED_DRAIN_ANNOTATION = "machineconfiguration.openshift.io/desiredDrain"
LAST_APPLIED_DRAIN_ANNOTATION = "machineconfiguration.openshift.io/lastAppliedDrain"

DONE, WORKING, DEGRADED = "Done", "Working", "Degraded"
MASTER_ROLE = "master"


def selected(pool: Obj, machine_configs: Iterable[Obj]) -> list[Obj]:
    """The MachineConfigs of a pool, in the order in which they are merged."""
    selector = pool["spec"].get("machineConfigSelector") or {}
    return sorted((config for config in machine_configs if matches(selector, labels_of(config))), key=name_of)


def rendered_name(pool: str, machine_configs: Sequence[Obj]) -> str:
    """The name of the rendered MachineConfig, with a hash of its content."""
    content = [(name_of(config), config.get("spec")) for config in machine_configs]
    return f"rendered-{pool}-{jsonio.digest(content)}{jsonio.digest([pool, content])}"


def rendered_config(pool: Obj, name: str) -> dict[str, Any]:
    """The rendered MachineConfig of a pool's nodes; the pool owns it.

    Source: `generateRenderedMachineConfig` in pkg/controller/render/render_controller.go.
    """
    owner = {"apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfigPool", "name": name_of(pool)}
    made = new_object(MACHINECONFIGS, "", name, spec={"config": {"ignition": {"version": "3.5.0"}}})
    made["metadata"]["ownerReferences"] = [
        {**owner, "uid": uid_of(pool), "controller": True, "blockOwnerDeletion": True}
    ]
    return made


def owning_pool(config: Obj) -> str:
    """The UID of the pool that owns a rendered MachineConfig; empty for other MachineConfigs."""
    owners = config["metadata"].get("ownerReferences") or []
    return next((str(owner["uid"]) for owner in owners if owner["kind"] == "MachineConfigPool"), "")


def missing_config(name: str) -> str:
    """The reason of a daemon whose current configuration does not exist (pkg/daemon/daemon.go)."""
    return f'missing MachineConfig {name}\nmachineconfig.machineconfiguration.openshift.io "{name}" not found'


def pool_of(node: Obj, pools: Iterable[Obj]) -> str | None:
    """The pool of a node: master before a custom pool before worker; None for a node in two custom pools."""
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
    """Whether the node is unschedulable."""
    return bool((node.get("spec") or {}).get("unschedulable"))


def state_of(node: Obj) -> str:
    """The state that the node's daemon reports."""
    return annotations_of(node).get(MACHINE_CONFIG_STATE_ANNOTATION, "")


def desired_config(node: Obj) -> str:
    """The desired rendered configuration of the node."""
    return annotations_of(node).get(DESIRED_CONFIG_ANNOTATION, "")


def has_config(node: Obj, target: str) -> bool:
    """Whether the node runs `target` and its desired image."""
    has_arrived = annotations_of(node).get(CURRENT_CONFIG_ANNOTATION) == target == desired_config(node)
    return has_arrived and has_image(node)


def has_image(node: Obj) -> bool:
    """Whether the node runs the image that is built for its pool; also if there is no image, and was none before.

    Source: `isNodeImageDone` in pkg/controller/common/layered_node_state.go.
    """
    marks = annotations_of(node)
    if CURRENT_IMAGE_ANNOTATION not in marks and DESIRED_IMAGE_ANNOTATION not in marks:
        return True
    return marks.get(CURRENT_IMAGE_ANNOTATION, "") == marks.get(DESIRED_IMAGE_ANNOTATION, "") != ""


def next_nodes(pool: Obj, members: Sequence[Obj], target: str) -> list[Obj]:
    """The nodes that may start their update now.

    Guarantees: no more unavailable nodes than the pool allows, whatever their cause; an update never starts on a node
        that is not Ready or is cordoned.
    """
    if pool["spec"].get("paused"):
        return []
    unavailable = [node for node in members if not is_ready(node) or _is_updating(node)]
    free = _max_unavailable(pool, len(members)) - len(unavailable)
    waiting = [node for node in members if desired_config(node) != target and is_ready(node)]
    idle = [node for node in waiting if not _is_updating(node)]
    return sorted(idle, key=name_of)[: max(free, 0)]


@dataclass(frozen=True)
class Intervals:
    """The intervals of the controllers and the daemon, in seconds.

    Source: `DefaultConfig` and `syncNode` in pkg/controller/drain/drain_controller.go; `performDrain` in
        pkg/daemon/drain.go; `defaultUpdateDelay` in pkg/controller/node/node_controller.go.
    """

    retry: float = 5.0
    """Between two attempts of one eviction."""
    window: float = 90.0
    """The length of one round of evictions; the next one lists the pods again."""
    pause: float = 60.0
    """Between two rounds."""
    late_after: float = 600.0
    late_pause: float = 300.0
    """Between two rounds of a drain that has lasted longer than that."""
    timeout: float = 3600.0
    """The time after which the daemon reports Degraded."""
    update: float = 5.0
    """The delay from a change of a pool or Node to its reconcile (`UpdateDelay`)."""

    def scaled(self, retry: float) -> Intervals:
        """The same with `retry` between two attempts, and all other intervals in proportion."""
        times = retry / self.retry
        return Intervals(*(times * value for value in astuple(self)))


REAL_INTERVALS = Intervals()


@dataclass
class Delays:
    """The actions that wait for a delayed reconcile. The first of several changes sets the time, as in a delaying queue
    of client-go."""

    since: dict[str, float] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)

    def begin_pass(self) -> None:
        """Forget the actions that the last pass did not request."""
        self.since = {what: when for what, when in self.since.items() if what in self.asked}
        self.asked = set()

    def is_due(self, what: str, intervals: Intervals, now: float) -> bool:
        """Whether the action is due now; its delay then begins again."""
        self.asked.add(what)
        if now < self.since.setdefault(what, now) + intervals.update:
            return False
        del self.since[what]
        return True


@dataclass
class Drain:
    """A running drain, in the memory of the controller only."""

    mark: str
    began: float
    """The time of the last cordon for it."""
    pods: dict[str, tuple[str, str]] | None = None
    """The pods that existed when the current round began: uid to namespace and name."""
    ends: float = 0.0
    next: float = 0.0
    """When the current round ends if a pod is left, and when the next one begins."""
    tried: dict[str, float] = field(default_factory=dict)
    granted: set[str] = field(default_factory=set)

    def begin_round(self, pods: Iterable[Obj], intervals: Intervals, now: float) -> None:
        """Start a round; later pods wait for the next one (`RunNodeDrain` of kubectl lists once)."""
        self.pods = {uid_of(pod): (namespace_of(pod), name_of(pod)) for pod in pods}
        self.ends, self.tried, self.granted = now + intervals.window, {}, set()

    def end_round(self, intervals: Intervals, now: float) -> None:
        """End a round. Source: the end of `drainNode`, which measures the duration at the beginning of the round."""
        is_late = self.ends - intervals.window - self.began > intervals.late_after
        self.pods, self.next = None, now + (intervals.late_pause if is_late else intervals.pause)

    def is_due(self, pod: Obj, intervals: Intervals, now: float) -> bool:
        """Whether the eviction of the pod is due."""
        uid = uid_of(pod)
        last = self.tried.get(uid)
        if uid in self.granted or (last is not None and now < last + intervals.retry):
            return False
        self.tried[uid] = now
        return True


class Action(Enum):
    """The next step of a node's update."""

    NOTHING = auto()
    BEGIN = auto()
    DRAIN = auto()
    RESUME = auto()
    """The drain that the daemon had given up is done: the daemon continues."""
    REBOOT = auto()
    WAIT_FOR_BOOT = auto()
    ASK_UNCORDON = auto()
    UNCORDON = auto()
    FINISH = auto()


def next_action(node: Obj) -> Action:
    """The next step of a node's update, from its annotations alone.

    An update of the image only names the current configuration in its drain and its uncordon.
    """
    marks = annotations_of(node)
    desired = desired_config(node)
    if not desired or has_config(node, desired):
        return Action.NOTHING
    wanted, applied = marks.get(DESIRED_DRAIN_ANNOTATION, ""), marks.get(LAST_APPLIED_DRAIN_ANNOTATION, "")
    if state_of(node) == DEGRADED:
        return _while_degraded(node, wanted, applied)
    if state_of(node) == DONE:
        return Action.BEGIN
    if wanted == uncordon_mark(desired):
        return Action.FINISH if applied == wanted else Action.UNCORDON
    if wanted != drain_mark(desired) or state_of(node) != WORKING:
        return Action.BEGIN
    if applied != wanted:
        return Action.DRAIN
    return _boot_action(node, marks.get(REBOOT_ANNOTATION))


def _while_degraded(node: Obj, wanted: str, applied: str) -> Action:
    """The controller continues a drain that the daemon has given up, and then the daemon continues the update
    (`initializeNode` in pkg/daemon/daemon.go); nothing else recovers by itself."""
    if not wanted.startswith("drain-"):
        return Action.NOTHING
    if applied != wanted:
        return Action.DRAIN
    gave_up = annotations_of(node).get(MACHINE_CONFIG_REASON_ANNOTATION, "").startswith(DRAIN_FAILED)
    return Action.RESUME if gave_up else Action.NOTHING


def daemon_marks(node: Obj, action: Action) -> Mapping[str, str | None]:
    """The annotations that the daemon writes at that step; empty, if the step is the controller's or the node's.

    Source: `performDrain` in pkg/daemon/drain.go, `completeUpdate` in pkg/daemon/daemon.go; `SetDone` in
        pkg/daemon/writer.go, which removes the image annotation if no image is desired.
    """
    desired = desired_config(node)
    match action:
        case Action.BEGIN:
            asked = {DESIRED_DRAIN_ANNOTATION: drain_mark(desired)}
            return {MACHINE_CONFIG_STATE_ANNOTATION: WORKING, REBOOT_ANNOTATION: None, **asked}
        case Action.RESUME:
            return {MACHINE_CONFIG_STATE_ANNOTATION: WORKING}
        case Action.REBOOT:
            return {REBOOT_ANNOTATION: boot_id(node)}
        case Action.ASK_UNCORDON:
            return {REBOOT_ANNOTATION: None, DESIRED_DRAIN_ANNOTATION: uncordon_mark(desired)}
        case Action.FINISH:
            image = annotations_of(node).get(DESIRED_IMAGE_ANNOTATION) or None
            images = {CURRENT_IMAGE_ANNOTATION: image, DESIRED_IMAGE_ANNOTATION: image}
            done = {MACHINE_CONFIG_STATE_ANNOTATION: DONE, MACHINE_CONFIG_REASON_ANNOTATION: ""}
            return {CURRENT_CONFIG_ANNOTATION: desired, **images, **done}
        case Action.DRAIN | Action.UNCORDON | Action.NOTHING | Action.WAIT_FOR_BOOT:
            return {}


DRAIN_FAILED = "failed to drain node"


def drain_failure(node: str) -> str:
    """The reason of a daemon whose drain takes too long (`performDrain` in pkg/daemon/drain.go)."""
    return f"{DRAIN_FAILED}: {node} after 1 hour. Please see machine-config-controller logs for more information"


def drain_mark(config: str) -> str:
    """The value of `desiredDrain` that requests a drain for `config`."""
    return f"drain-{config}"


def uncordon_mark(config: str) -> str:
    """The value of `desiredDrain` that requests the uncordon after the boot into `config`."""
    return f"uncordon-{config}"


@dataclass(frozen=True)
class PoolView:
    """The input of a pool's status."""

    pool: Obj
    members: Sequence[Obj]
    sources: Sequence[str]
    """The names of the MachineConfigs in the newest rendered configuration; empty: it could not be rendered."""
    now: str


def configuration(name: str, sources: Sequence[str]) -> dict[str, Any]:
    """The member `configuration` of a pool."""
    kind = {"apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfig"}
    return {"name": name, "source": [{**kind, "name": source} for source in sources]}


def pool_status(view: PoolView) -> dict[str, Any]:
    """The status of a pool whose `spec.configuration` is rendered.

    Source: the Machine Config Operator, which reports `Updated` for a pool without machines, and neither `Updated` nor
        `Updating` for a paused one.
    """
    target = str((view.pool["spec"].get("configuration") or {}).get("name", ""))
    total = len(view.members)
    updated = [node for node in view.members if has_config(node, target) and state_of(node) == DONE]
    ready = [node for node in updated if is_ready(node)]
    degraded = [node for node in view.members if state_of(node) == DEGRADED]
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
        "degradedMachineCount": len(degraded),
        "conditions": _conditions(view, is_updated, degraded),
    }


def _conditions(view: PoolView, is_updated: bool, degraded: Sequence[Obj]) -> list[dict[str, Any]]:
    """Source: `calculateStatus` in pkg/controller/node/status.go; the reason of a Node is its annotation."""
    states = {
        "Updated": is_updated,
        "Updating": not is_updated and not view.pool["spec"].get("paused"),
        "NodeDegraded": bool(degraded),
        "RenderDegraded": not view.sources,
        "Degraded": bool(degraded) or not view.sources,
    }
    told = {"NodeDegraded": ", ".join(filter(None, map(_report, degraded)))}
    return [_condition(view, name, str(state), told.get(name, "")) for name, state in states.items()]


def _report(node: Obj) -> str:
    reason = annotations_of(node).get(MACHINE_CONFIG_REASON_ANNOTATION)
    return f"Node {name_of(node)} is reporting: {json.dumps(reason)}" if reason else ""


def _condition(view: PoolView, name: str, status: str, message: str) -> dict[str, Any]:
    old = condition_of(view.pool, name) or {}
    since = old.get("lastTransitionTime") if old.get("status") == status else None
    return {"type": name, "status": status, "reason": "", "message": message, "lastTransitionTime": since or view.now}


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
