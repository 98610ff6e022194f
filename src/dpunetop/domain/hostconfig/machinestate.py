"""The machine-config operator's annotations of a Node: desired and current configuration, and drain requests.

All code reads them here, for DPUs and for hosts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dpunetop.base import jsonio
from dpunetop.base.quoting import quoted, sentence
from dpunetop.domain.names import (
    CURRENT_CONFIG_ANNOTATION,
    CURRENT_IMAGE_ANNOTATION,
    DESIRED_CONFIG_ANNOTATION,
    DESIRED_DRAIN_ANNOTATION,
    DESIRED_IMAGE_ANNOTATION,
    LAST_APPLIED_DRAIN_ANNOTATION,
    MACHINE_CONFIG_REASON_ANNOTATION,
    MACHINE_CONFIG_STATE_ANNOTATION,
)

DONE, WORKING = "Done", "Working"
FAILING = frozenset({"Degraded", "Unreconcilable"})
"""States in which a daemon has given up an update; an unknown state may be one of a later release."""


@dataclass(frozen=True, slots=True)
class MachineState:
    """The annotations of one Node. An image is None where the annotation is absent.

    Source: openshift/machine-config-operator 7ff337a, pkg/daemon/constants/constants.go.
    """

    current: str = ""
    desired: str = ""
    current_image: str | None = None
    desired_image: str | None = None
    state: str = ""
    reason: str = ""
    """The daemon's message about its state."""
    asked: str = ""
    """The last drain or uncordon that the daemon has requested of its controller."""
    applied: str = ""
    """The last request that the controller has carried out."""

    @property
    def is_configured(self) -> bool:
        """Whether it runs its desired configuration, and its desired image where one is named.

        Source: `isNodeConfigDone` and `isNodeImageDone` in pkg/controller/common/layered_node_state.go; a Node without
            any of the annotations, which that operator does not manage, is configured.
        """
        if self.current_image is None and self.desired_image is None:
            return self.current == self.desired
        return self.current == self.desired and self.current_image == self.desired_image != ""

    @property
    def is_done(self) -> bool:
        """Whether the daemon runs its desired configuration and its state is Done (`IsNodeDone`)."""
        return self.state == DONE and bool(self.current) and self.is_configured

    @property
    def is_failing(self) -> bool:
        """Whether the daemon has given up and waits for a person."""
        return self.state in FAILING

    @property
    def drains(self) -> bool:
        """Whether a drain is requested and no uncordon since: the cordon is the machine-config operator's."""
        return self.asked.startswith("drain-")

    @property
    def is_drained(self) -> bool:
        """Whether that drain is done, so that a reboot may follow at any moment."""
        return self.drains and self.asked == self.applied

    @property
    def is_under_way(self) -> bool:
        """Whether a request to the controller is open, or the daemon works or is about to.

        Source: the controller acts on a difference of `asked` and `applied` alone, whatever the state (`syncNode` in
            pkg/controller/drain/drain_controller.go).
        """
        return self.drains or self.asked != self.applied or self.state == WORKING or not self.is_configured

    @property
    def is_at_work(self) -> bool:
        """Whether the operator may change the node's cordon at any moment.

        A daemon that has given up an update before it asked for a drain changes nothing until a person repairs it; one
        that gave up later has cordoned the node, and may go on at any moment.
        """
        is_out_of_it = self.is_failing and not self.drains and self.asked == self.applied
        return self.is_under_way and not is_out_of_it

    @property
    def update(self) -> str:
        """Short text that changes with every update that the machine-config operator has completed with an uncordon.

        Source: `completeUpdate` and `SetDone` in pkg/daemon: each of them ends with an uncordon, then names what runs.
        """
        return jsonio.digest([self.applied, self.current, self.current_image])

    @property
    def trouble(self) -> str:
        """The daemon's failure, for a person; empty: none."""
        if not self.is_failing:
            return ""
        return f"is {self.state}: {sentence(self.reason, 300)}" if self.reason else f"is {self.state}"

    @property
    def story(self) -> str:
        """The update under way, for a person; empty: none."""
        if self.is_failing:
            return self.trouble
        if self.drains or self.asked != self.applied:
            return f"has asked for {quoted(self.asked, 100)}"
        if not self.is_configured:
            return f"is to go to {quoted(self.desired, 100)}"
        return f"is {WORKING}" if self.state == WORKING else ""


UNMANAGED = MachineState()
"""The state of a Node to which no machine-config operator has ever written."""


def machine_state(annotations: Mapping[str, str]) -> MachineState:
    """Read the annotations of a Node, whatever their content."""

    def text(name: str) -> str:
        return str(annotations.get(name, ""))

    def image(name: str) -> str | None:
        return str(annotations[name]) if name in annotations else None

    return MachineState(
        current=text(CURRENT_CONFIG_ANNOTATION),
        desired=text(DESIRED_CONFIG_ANNOTATION),
        current_image=image(CURRENT_IMAGE_ANNOTATION),
        desired_image=image(DESIRED_IMAGE_ANNOTATION),
        state=text(MACHINE_CONFIG_STATE_ANNOTATION),
        reason=text(MACHINE_CONFIG_REASON_ANNOTATION),
        asked=text(DESIRED_DRAIN_ANNOTATION),
        applied=text(LAST_APPLIED_DRAIN_ANNOTATION),
    )
