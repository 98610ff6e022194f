"""What the Machine Config Operator decides, without I/O: who is in which pool, who is next, how far a pool is.

Each rule is that of openshift/machine-config-operator 7ff337a, by its file.
"""

from __future__ import annotations

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
    """The MachineConfigs of a pool, in the order in which they are laid over each other."""
    selector = pool["spec"].get("machineConfigSelector") or {}
    return sorted((config for config in machine_configs if matches(selector, labels_of(config))), key=name_of)


def rendered_name(pool: str, machine_configs: Sequence[Obj]) -> str:
    """The name of what these MachineConfigs become: another for another content."""
    content = [(name_of(config), config.get("spec")) for config in machine_configs]
    return f"rendered-{pool}-{jsonio.digest(content)}{jsonio.digest([pool, content])}"


def rendered_config(pool: Obj, name: str) -> dict[str, Any]:
    """What a pool's nodes are given: it belongs to the pool, and goes with it.

    Source: `generateRenderedMachineConfig` in pkg/controller/render/render_controller.go.
    """
    owner = {"apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfigPool", "name": name_of(pool)}
    made = new_object(MACHINECONFIGS, "", name, spec={"config": {"ignition": {"version": "3.5.0"}}})
    made["metadata"]["ownerReferences"] = [
        {**owner, "uid": uid_of(pool), "controller": True, "blockOwnerDeletion": True}
    ]
    return made


def owning_pool(config: Obj) -> str:
    """UID of the pool that a rendered MachineConfig belongs to; empty: it is none."""
    owners = config["metadata"].get("ownerReferences") or []
    return next((str(owner["uid"]) for owner in owners if owner["kind"] == "MachineConfigPool"), "")


def missing_config(name: str) -> str:
    """What the daemon says that cannot read the configuration which it runs (pkg/daemon/daemon.go)."""
    return f'missing MachineConfig {name}\nmachineconfig.machineconfiguration.openshift.io "{name}" not found'


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
    """Whether the node has arrived at `target`, and at the image that it is to have."""
    has_arrived = annotations_of(node).get(CURRENT_CONFIG_ANNOTATION) == target == desired_config(node)
    return has_arrived and has_image(node)


def has_image(node: Obj) -> bool:
    """Whether the node runs the image that is built for its pool; also where none is, and none was before.

    Source: `isNodeImageDone` in pkg/controller/common/layered_node_state.go.
    """
    marks = annotations_of(node)
    if CURRENT_IMAGE_ANNOTATION not in marks and DESIRED_IMAGE_ANNOTATION not in marks:
        return True
    return marks.get(CURRENT_IMAGE_ANNOTATION, "") == marks.get(DESIRED_IMAGE_ANNOTATION, "") != ""


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


@dataclass(frozen=True)
class Pace:
    """How long the controllers and the daemon wait, in seconds.

    Source: `DefaultConfig` and `syncNode` in pkg/controller/drain/drain_controller.go; `performDrain` in
        pkg/daemon/drain.go; `defaultUpdateDelay` in pkg/controller/node/node_controller.go.
    """

    retry: float = 5.0
    """Between two tries of one eviction."""
    window: float = 90.0
    """How long one round of evictions goes on; the next one lists the pods anew."""
    pause: float = 60.0
    """Between two rounds."""
    late_after: float = 600.0
    late_pause: float = 300.0
    """Between two rounds of a drain that has gone on for longer than that."""
    timeout: float = 3600.0
    """How long the daemon waits before it says that it is degraded."""
    update: float = 5.0
    """How long after a change of a pool or a Node the controllers look at it (`UpdateDelay`)."""

    def scaled(self, retry: float) -> Pace:
        """The same with another pause between two tries, and all others in proportion."""
        times = retry / self.retry
        return Pace(*(times * value for value in astuple(self)))


REAL_PACE = Pace()


@dataclass
class Delays:
    """What is to be done once the controllers look at it. Of several changes the first one counts: what waits in a
    queue of client-go keeps its time."""

    since: dict[str, float] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)

    def begin_pass(self) -> None:
        """What was not asked for since is not wanted any more."""
        self.since = {what: when for what, when in self.since.items() if what in self.asked}
        self.asked = set()

    def is_due(self, what: str, pace: Pace, now: float) -> bool:
        """Whether it is done now; once it is, it waits anew."""
        self.asked.add(what)
        if now < self.since.setdefault(what, now) + pace.update:
            return False
        del self.since[what]
        return True


@dataclass
class Drain:
    """A drain under way, as the controller has it in memory: nothing of it outlives a process."""

    mark: str
    began: float
    """When the node was last cordoned for it."""
    pods: dict[str, tuple[str, str]] | None = None
    """Of the round that goes on: those that were there when it began, by uid, with namespace and name."""
    ends: float = 0.0
    next: float = 0.0
    """When the round ends if anything is left by then, and when the next one begins."""
    tried: dict[str, float] = field(default_factory=dict)
    granted: set[str] = field(default_factory=set)

    def begin_round(self, pods: Iterable[Obj], pace: Pace, now: float) -> None:
        """What comes later is looked at in the next round only (`RunNodeDrain` of kubectl lists once)."""
        self.pods = {uid_of(pod): (namespace_of(pod), name_of(pod)) for pod in pods}
        self.ends, self.tried, self.granted = now + pace.window, {}, set()

    def end_round(self, pace: Pace, now: float) -> None:
        """Source: the end of `drainNode`, which takes how long it has gone on from the beginning of the round."""
        is_late = self.ends - pace.window - self.began > pace.late_after
        self.pods, self.next = None, now + (pace.late_pause if is_late else pace.pause)

    def is_due(self, pod: Obj, pace: Pace, now: float) -> bool:
        """Whether its eviction is to be asked for now."""
        uid = uid_of(pod)
        last = self.tried.get(uid)
        if uid in self.granted or (last is not None and now < last + pace.retry):
            return False
        self.tried[uid] = now
        return True


class Action(Enum):
    """What is next on a node that is being updated."""

    NOTHING = auto()
    BEGIN = auto()
    DRAIN = auto()
    RESUME = auto()
    """What the daemon gave up is done: it works on."""
    REBOOT = auto()
    WAIT_FOR_BOOT = auto()
    ASK_UNCORDON = auto()
    UNCORDON = auto()
    FINISH = auto()


def next_action(node: Obj) -> Action:
    """The next step of a node's update, told from its annotations alone.

    An update to another image alone names the configuration that is there already, in its drain and in its uncordon.
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
    """The controller goes on with a drain that the daemon has given up, and the daemon with an update once that is
    done (`initializeNode` in pkg/daemon/daemon.go); nothing else is mended by itself."""
    if not wanted.startswith("drain-"):
        return Action.NOTHING
    if applied != wanted:
        return Action.DRAIN
    gave_up = annotations_of(node).get(MACHINE_CONFIG_REASON_ANNOTATION, "").startswith(DRAIN_FAILED)
    return Action.RESUME if gave_up else Action.NOTHING


def daemon_marks(node: Obj, action: Action) -> Mapping[str, str | None]:
    """What its daemon writes onto a node at that step; nothing: the step is the controller's, or the node's.

    Source: `performDrain` in pkg/daemon/drain.go, `completeUpdate` in pkg/daemon/daemon.go; `SetDone` in
        pkg/daemon/writer.go, which takes the image off where none is asked for any more.
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
    """What the daemon says when a drain takes too long (`performDrain` in pkg/daemon/drain.go)."""
    return f"{DRAIN_FAILED}: {node} after 1 hour. Please see machine-config-controller logs for more information"


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
