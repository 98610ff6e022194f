"""When a Node that a cache does not show is really gone: two quorum reads, far enough apart, must say so."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from dpunetop.base.clock import Clock
from dpunetop.kube.errors import ApiError, NotFound
from dpunetop.kube.keys import NODES
from dpunetop.kube.meta import Obj
from dpunetop.runtime.client.client import Client

DPU_SECONDS = 600.0
HOST_SECONDS = 60.0
_AGAIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class NodeAbsence:
    """A Node that a cache does not show. `found` is what the server shows all the same."""

    confirmed: bool
    found: Obj | None
    recheck_seconds: float | None
    error: ApiError | None = None
    """Why the server could not be asked."""


class NodeAbsences:
    """Counts for each Node how long it is known to be gone. Threads: any; one at a time a Node."""

    def __init__(self, clients: Callable[[str], Client], clock: Clock) -> None:
        self._clients = clients
        self._clock = clock
        self._guard = threading.Lock()  # guards _since
        self._since: dict[tuple[str, str], tuple[float, bool]] = {}  # first 404, and whether a second one came

    def seen(self, cluster: str, name: str) -> None:
        """The Node is there."""
        with self._guard:
            self._since.pop((cluster, name), None)

    def look(self, cluster: str, name: str, apart_seconds: float) -> NodeAbsence:
        """Ask the server, if it is time to. Raises: NotEngaged."""
        with self._guard:
            since, confirmed = self._since.get((cluster, name), (None, False))
        now = self._clock.monotonic()
        if confirmed:
            return NodeAbsence(True, None, None)
        if since is not None and now - since < apart_seconds:
            return NodeAbsence(False, None, apart_seconds - (now - since))
        try:
            found = self._clients(cluster).get(NODES, "", name)
        except NotFound:
            with self._guard:
                self._since[cluster, name] = (now if since is None else since, since is not None)
            return NodeAbsence(since is not None, None, apart_seconds if since is None else None)
        except ApiError as err:
            return NodeAbsence(False, None, _AGAIN_SECONDS, err)
        self.seen(cluster, name)
        return NodeAbsence(False, found, None)
