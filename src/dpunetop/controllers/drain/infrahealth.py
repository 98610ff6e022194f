"""Whether infra itself is suspected of failing, so that its view of single DPUs must not be acted upon."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from dpunetop.base.clock import Clock
from dpunetop.domain.drain.host import Finding
from dpunetop.domain.drain.outages.detection import is_disrupted
from dpunetop.kube.meta import Obj
from dpunetop.runtime.cluster import Health, Reach

CALM_SECONDS = 60.0
"""How long infra's API server must have answered, without many of its Nodes being down, before the failure of a single
DPU counts. Longer than a restarted control plane needs to see which kubelets still report."""


class InfraHealth:
    """Remembers when infra was last suspected. A new process does not know, and so suspects it at first.

    Threads: any.
    """

    def __init__(self, health: Callable[[], Health | None], clock: Clock) -> None:
        self._health = health
        self._clock = clock
        self._guard = threading.Lock()  # guards _disrupted_at
        self._disrupted_at: float | None = None  # monotonic

    def see(self, nodes: Iterable[Obj]) -> str:
        """Note the state of infra's Nodes; return why infra is suspected because of them, empty: it is not."""
        if not is_disrupted(nodes):
            return ""
        with self._guard:
            self._disrupted_at = self._clock.monotonic()
        return "many of its Nodes are not Ready at once"

    def suspicion(self) -> Finding[str]:
        """Why infra is suspected although its Nodes are Ready now, and when that may end; empty: it is not."""
        health = self._health()
        if health is None or health.reach is not Reach.REACHABLE or health.reason:
            return Finding("its API server does not answer")
        answers = (self._clock.now() - health.since).total_seconds()
        if answers < CALM_SECONDS:
            left = max(1.0, CALM_SECONDS - max(0.0, answers))
            return Finding("its API server has not answered for long", left)
        with self._guard:
            disrupted_at = self._disrupted_at
        if disrupted_at is not None and (left := disrupted_at + CALM_SECONDS - self._clock.monotonic()) > 0:
            return Finding("many of its Nodes were not Ready a moment ago", left)
        return Finding("")
