"""The container runtime of the kubelet stand-in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dpunetop.kube.meta import Obj


@dataclass(frozen=True)
class ContainerState:
    """The state of one container in the runtime."""

    name: str
    container_id: str
    ready: bool
    restarts: int
    started_at: str | None
    """None: it has ended, and restarts after a pause."""
    ended: str = ""
    """The reason of its last termination; empty: none yet."""


class Runtime(Protocol):
    """Runs the containers of some pods as processes; all other pods exist as objects only.

    Threads: any, for different nodes.
    """

    def runs(self, pod: Obj) -> bool:
        """Whether it runs the containers of this pod."""

    def sync(self, pod: Obj, boot: str) -> Sequence[ContainerState]:
        """Run the containers as in the pod, on a node with that boot ID; returns their states. Called repeatedly."""

    def end(self, pod: Obj) -> bool:
        """Stop the containers; returns whether all have ended. Called until they have."""

    def power_off(self, node: str) -> None:
        """Kill everything that runs on a node; no effect if nothing runs."""


class NoRuntime:
    """Runs no pod: all pods exist as objects only."""

    def runs(self, pod: Obj) -> bool:
        """See `Runtime.runs`."""
        return False

    def sync(self, pod: Obj, boot: str) -> Sequence[ContainerState]:
        """See `Runtime.sync`."""
        return ()

    def end(self, pod: Obj) -> bool:
        """See `Runtime.end`."""
        return True

    def power_off(self, node: str) -> None:
        """See `Runtime.power_off`."""
