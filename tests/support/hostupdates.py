"""The machine-config operator of the host's own cluster, for the world of the drain: one small step each.

Each rule is that of openshift/machine-config-operator 7ff337a, by its file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dpunetop.domain.names import (
    CURRENT_CONFIG_ANNOTATION,
    DESIRED_CONFIG_ANNOTATION,
    DESIRED_DRAIN_ANNOTATION,
    LAST_APPLIED_DRAIN_ANNOTATION,
    MACHINE_CONFIG_REASON_ANNOTATION,
    MACHINE_CONFIG_STATE_ANNOTATION,
)

if TYPE_CHECKING:
    from support.drainworld import World


class HostUpdates:
    """All of it. `began` is the step of the world at which the update under way was chosen; None: none is."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._number = 1
        self.began: int | None = None

    def begin(self) -> bool:
        """A node that is unschedulable is not chosen (`getAllCandidateMachines` in node_controller.go)."""
        host = self._world.host()
        return not (host.cordoned or host.machine.is_under_way) and self.choose()

    def choose(self) -> bool:
        """Whatever the node shows: it was looked at before."""
        self._number += 1
        self.began = self._world.steps
        return self._say({DESIRED_CONFIG_ANNOTATION: f"h{self._number}"})

    def fail(self) -> bool:
        """A drain of more than an hour degrades the daemon, and so does what it cannot apply (drain.go, daemon.go)."""
        if self.began is None or self._world.host().machine.is_failing:
            return False
        return self._say({MACHINE_CONFIG_STATE_ANNOTATION: "Degraded", MACHINE_CONFIG_REASON_ANNOTATION: "it is"})

    def step(self) -> bool:
        """The next thing that it does."""
        if self.began is None:
            return False
        machine, number = self._world.host().machine, self._number
        if machine.state != "Working":  # SetWorking comes before the drain is asked for (update.go)
            return self._say({MACHINE_CONFIG_STATE_ANNOTATION: "Working"})
        if machine.asked not in (f"drain-h{number}", f"uncordon-h{number}"):
            return self._say({DESIRED_DRAIN_ANNOTATION: f"drain-h{number}"})
        if machine.drains:
            return self._say({DESIRED_DRAIN_ANNOTATION: f"uncordon-h{number}"}) if machine.is_drained else self._drain()
        return self._end() if machine.asked == machine.applied else self._uncordon()

    def _drain(self) -> bool:
        """It cordons again what somebody has uncordoned meanwhile, and looks at the cordon once more before it says
        that the node is drained (`drainNode` and `syncNode` in drain_controller.go)."""
        host = self._world.host()
        if not host.cordoned:
            return self._world.change_host({"spec": {"unschedulable": True}})
        self._world.workloads = self._world.hidden = self._world.updated = False
        return self._say({LAST_APPLIED_DRAIN_ANNOTATION: host.machine.asked})

    def _uncordon(self) -> bool:
        """Whoever had cordoned it."""
        world = self._world
        host = world.host()
        if host.cordoned:
            world.workloads, world.updated, world.intent = True, True, False
            world.disputed |= host.mark is True
            world.advance()
            return world.change_host({"spec": {"unschedulable": None}})
        return self._say({LAST_APPLIED_DRAIN_ANNOTATION: host.machine.asked})

    def _end(self) -> bool:
        self.began = None
        return self._say({CURRENT_CONFIG_ANNOTATION: f"h{self._number}", MACHINE_CONFIG_STATE_ANNOTATION: "Done"})

    def _say(self, notes: dict[str, str]) -> bool:
        return self._world.change_host({"metadata": {"annotations": notes}})


AT_REST: dict[str, Any] = {
    CURRENT_CONFIG_ANNOTATION: "h1",
    DESIRED_CONFIG_ANNOTATION: "h1",
    MACHINE_CONFIG_STATE_ANNOTATION: "Done",
}

Step = tuple[str, Callable[[], bool], int]


def progress(updates: HostUpdates) -> list[Step]:
    """What brings an update on, as `drainworld.progress`."""
    return [("host mco", updates.step, 8)]


def trouble(updates: HostUpdates) -> list[Step]:
    """What gets in the way of a drain, as `drainworld.trouble`."""
    return [("host mco begins", updates.begin, 2), ("host mco fails", updates.fail, 1)]
