"""The engaged clusters: each runs in its own thread from `engage` to `disengage`."""

from __future__ import annotations

import threading
from collections.abc import Callable

from dpunetop.base.stop import Stop
from dpunetop.runtime.cluster import Cluster


class Clusters:
    """The engaged clusters; tenants come and go at run time.

    Threads: any, except `disengage` from a callback of the cluster that it ends. Callbacks of `on_change` run in the
        thread that engages or disengages, or in the one that saw the health change.
    """

    def __init__(self) -> None:
        self._broken = Stop()  # set: a cluster ended by an exception
        self._guard = threading.Lock()  # guards all below
        self._engaged: dict[str, tuple[Cluster, threading.Thread]] = {}
        self._listeners: list[Callable[[str], None]] = []

    def __repr__(self) -> str:
        return f"<Clusters {self.names()}>"

    def engage(self, cluster: Cluster) -> None:
        """Run `cluster` until it is disengaged.

        Raises: ValueError if one of that name is engaged; RuntimeError if no thread can be started.
        """
        thread = threading.Thread(target=self._run, args=(cluster,), name=f"cluster {cluster.name}")
        with self._guard:
            if cluster.name in self._engaged:
                raise ValueError(f"cluster {cluster.name} is engaged already")
            forget = cluster.on_health(lambda: self._tell(cluster.name))
            try:
                thread.start()
            except RuntimeError:
                forget()
                raise
            self._engaged[cluster.name] = (cluster, thread)
        self._tell(cluster.name)

    def disengage(self, name: str) -> None:
        """End the cluster of that name, if engaged, and wait until its threads have ended.

        Guarantees: `get` no longer returns it from the start of this call; none of its callbacks is called after it.
        """
        with self._guard:
            engaged = self._engaged.pop(name, None)
        if engaged is None:
            return
        cluster, thread = engaged
        cluster.stop.set()
        thread.join()
        self._tell(name)

    def run(self, stop: Stop) -> None:
        """Wait for `stop`, then disengage all, the last first. Returns earlier if a cluster ended by an exception."""
        over = stop.child()
        self._broken.on_set(over.set)
        over.wait(None)
        for name in reversed(self.names()):
            self.disengage(name)

    def get(self, name: str) -> Cluster | None:
        """The cluster of that name; None if it is not engaged."""
        with self._guard:
            engaged = self._engaged.get(name)
        return engaged[0] if engaged else None

    def names(self) -> list[str]:
        """The names of the engaged clusters, in the order of engaging."""
        with self._guard:
            return list(self._engaged)

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Call `callback` with a cluster's name when it is engaged, has been disengaged, or its health has changed."""
        with self._guard:
            self._listeners.append(callback)

    def _run(self, cluster: Cluster) -> None:
        has_ended = False
        try:
            cluster.run(cluster.stop)
            has_ended = True
        finally:
            if not has_ended:
                self._broken.set()

    def _tell(self, name: str) -> None:
        with self._guard:
            listeners = list(self._listeners)
        for listener in listeners:
            listener(name)
