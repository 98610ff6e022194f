"""What a kubelet has the containers of its pods run by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dpunetop.kube.meta import Obj


@dataclass(frozen=True)
class ContainerState:
    """One container as its runtime knows it."""

    name: str
    container_id: str
    ready: bool
    restarts: int
    started_at: str | None
    """None: it has ended, and is started again after a pause."""
    ended: str = ""
    """Why it ended last; empty: it never did."""


class Runtime(Protocol):
    """Runs the containers of some pods as processes; those of all other pods are shown only.

    Threads: any, for different nodes.
    """

    def runs(self, pod: Obj) -> bool:
        """Whether it runs this pod's containers."""

    def sync(self, pod: Obj, boot: str) -> Sequence[ContainerState]:
        """Have the containers run as the pod says, on a node of that boot; how they are. To be called often."""

    def end(self, pod: Obj) -> bool:
        """Have the containers end; whether all have. To be called until they have."""

    def power_off(self, node: str) -> None:
        """End all that runs on a node at once; nothing happens if nothing does."""


class Shown:
    """The runtime of pods that are shown only: it runs none, so that nothing is ever left to be ended."""

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
