"""One API server as a unit: its client, its informers and its health, started and stopped as one.

Clusters come and go while the process runs; `Clusters` knows which are there.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from dpunetop.base import jsonio
from dpunetop.base.clock import Clock
from dpunetop.base.stop import Stop
from dpunetop.kube.errors import ApiError, Unreachable
from dpunetop.kube.keys import NODES, Resource
from dpunetop.kube.meta import Obj
from dpunetop.kube.requests import Selection
from dpunetop.runtime.cache.history import History
from dpunetop.runtime.cache.informer import Absence, Handler, Informer
from dpunetop.runtime.cache.reflector import Wake
from dpunetop.runtime.cache.sharing import Commons
from dpunetop.runtime.cache.store import Indexer, Lister
from dpunetop.runtime.cache.transform import Transform, strip_foreign_managed_fields, strip_node
from dpunetop.runtime.cache.workers import MOST_WORKERS, Workers
from dpunetop.runtime.metrics import Metrics

if TYPE_CHECKING:
    from dpunetop.runtime.client.client import Client

_L = TypeVar("_L", bound=Callable[..., None])

PROBE_SECONDS = 5.0
"""Pause between probes while the server answers."""
PROBE_AGAIN_SECONDS = 2.0
"""Pause between probes while it does not: work goes on so soon after it is back."""
PROBE_TIMEOUT_SECONDS = 5.0
"""Until a connection to the server stands; for its answer there is as long as for one to a call."""
PROBE_FAILURES = 3
"""So many in a row, and a server that answered before counts as unreachable."""
PAGE_SIZE = 500
NODE_PAGE_SIZE = 100
"""Nodes are big: decoding a page holds all threads up."""
TRANSFORMS: Mapping[Resource, Transform] = {NODES: strip_node()}
"""What is cut off objects, unless a cluster is given something else."""


class Reach(Enum):
    """What is known of the way to a server."""

    UNKNOWN = "Unknown"
    """Not probed yet."""
    REACHABLE = "Reachable"
    UNREACHABLE = "Unreachable"


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a server answers.

    `reason` is why not; of one that is reachable, what it refused the probe with (`Unauthorized`), or empty.
    """

    reach: Reach
    reason: str
    message: str
    since: datetime


class Hold:
    """A right to a running informer, given back by `release`. Threads: any."""

    def __init__(self, informer: Informer, release: Callable[[], None]) -> None:
        self._informer = informer
        self._guard = threading.Lock()  # guards _release, which is used once
        self._release: Callable[[], None] | None = release

    @property
    def lister(self) -> Lister:
        """The reading half of the cache."""
        return self._informer.lister

    def has_synced(self) -> bool:
        """See `Informer.has_synced`."""
        return self._informer.has_synced()

    @property
    def trouble(self) -> ApiError | None:
        """See `Informer.trouble`."""
        return self._informer.trouble

    def release(self) -> None:
        """Give it back; the handler is not called any more. The second time nothing happens."""
        with self._guard:
            release, self._release = self._release, None
        if release is not None:
            release()


@dataclass(slots=True, eq=False)
class _Entry:
    stop: Stop
    informer: Informer = field(init=False)
    holds: int = 0
    is_kept: bool = False


def _step(entry: _Entry) -> float | None:
    return entry.informer.step(entry.stop)


class Cluster:
    """One API server: its client, its informers, its health.

    Guarantees: one informer a selection, however many hold it; when `run` has returned, no thread of this cluster
        lives and none of its callbacks is called any more.
    Threads: `run` once; everything else from any thread. Health callbacks run in the thread of `run`.
    """

    def __init__(
        self,
        name: str,
        client: Client,
        *,
        clock: Clock,
        metrics: Metrics,
        random: Callable[[], float],
        stop: Stop | None = None,
        transforms: Mapping[Resource, Transform] = TRANSFORMS,
        page_sizes: Mapping[Resource, int] | None = None,
        indexers: Mapping[Resource, Mapping[str, Indexer]] | None = None,
        most_weight: Callable[[Selection], int | None] = lambda _: None,
        commons: Commons | None = None,
        most_workers: int = MOST_WORKERS,
    ) -> None:
        """`most_weight` says what the cache of a selection may weigh, see `Informer`; None: any number of bytes.
        `commons` is what its caches have in common; None: a small one, which cannot be made to cost much.
        `most_workers` is how many of its caches may wait for the server at a time.
        """
        self.name = name
        self.client = client
        self.stop = stop or Stop(clock)  # set: this cluster ends; the one that its transport was built with, if given
        self._clock = clock
        self._metrics = metrics
        self._random = random
        self._transforms = transforms
        self._page_sizes = page_sizes or {NODES: NODE_PAGE_SIZE}
        self._indexers = indexers or {}
        self._most_weight = most_weight
        self._commons = commons or Commons()
        self._log = structlog.get_logger().bind(cluster=name)
        self._failures = 0  # of the thread in run
        self._workers: Workers[_Entry] = Workers(name, clock, _step, self._broke, most_workers)
        self._history = History(client.close_connections)  # who waits on a silent watch of before looks again
        self._guard = threading.Lock()  # guards all below
        self._entries: dict[Selection, _Entry] = {}
        self._is_running = False
        self._health = Health(Reach.UNKNOWN, "NotProbed", "", clock.now())
        self._listeners: list[Callable[[], None]] = []
        self._time_went_back: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        with self._guard:
            return f"<Cluster {self.name} {self._health.reach.value}, {len(self._entries)} informers>"

    @property
    def health(self) -> Health:
        """What the last probes say."""
        with self._guard:
            return self._health

    def on_health(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` whenever `health` has changed; returns how to end that."""
        return self._listen(self._listeners, callback)

    def on_time_went_back(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` when a complete list is older than what was seen before (an etcd restored from a backup),
        before the store shows that list; returns how to end that."""
        return self._listen(self._time_went_back, callback)

    def informer(self, selection: Selection, indexers: Mapping[str, Indexer] | None = None) -> Informer:
        """The informer of that selection, which then runs as long as the cluster does.

        `indexers` count for the first who asks; else the cluster's own for that resource are used.
        """
        with self._guard:
            entry = self._entry_locked(selection, indexers)
            entry.is_kept = True
        return entry.informer

    def hold(
        self,
        selection: Selection,
        handler: Handler,
        on_synced: Callable[[], None] = lambda: None,
        on_trouble: Callable[[], None] = lambda: None,
    ) -> Hold:
        """Share the informer of that selection; it runs until the last hold is released.

        The callbacks as in `Informer.add_handler`: what is there already is replayed before this returns.
        """
        with self._guard:
            entry = self._entry_locked(selection, None)
            entry.holds += 1
        forget = entry.informer.add_handler(handler, on_synced, on_trouble)

        def release() -> None:
            forget()
            self._release(selection, entry)

        return Hold(entry.informer, release)

    def look(self, resource: Resource, namespace: str, name: str, version: int) -> Obj | Absence:
        """The object as a cache shows it, or what the caches' silence says of one that was there in `version`.

        Guarantees: GONE if one of them has come past the version; BEHIND if all of them will yet announce it.
        """
        with self._guard:
            informers = [entry.informer for each, entry in self._entries.items() if each.resource == resource]
        seen = [each.look(namespace, name, version) for each in informers if each.selection.is_all_of(namespace, name)]
        objects = [each for each in seen if not isinstance(each, Absence)]
        if objects:
            return objects[0]
        order = (Absence.GONE, Absence.UNCERTAIN, Absence.BEHIND)
        return next((absence for absence in order if absence in seen), Absence.UNCERTAIN)

    def kept(self, resource: Resource, obj: dict[str, Any]) -> Obj:
        """`obj` as the caches of this cluster keep it; it is left as it is itself."""
        return self._commons.share(self._transform(resource)(jsonio.deep_copy(obj)))

    def read_anew(self) -> None:
        """List everything again: the server has contradicted the caches for long.

        Guarantees: who waits for `on_time_went_back` is told, since that may well have come to pass unnoticed.
        """
        self._log.warning("what is watched is in doubt: all is read anew")
        self._tell_time_went_back()
        self._history.turn(self._history.number)

    def run(self, stop: Stop) -> None:
        """Run all informers, also those asked for later, and probe the server, until `stop` or `self.stop`.

        Guarantees: an informer that ends by an exception is begun again, those who hold it are told.
        """
        forget = stop.on_set(self.stop.set)
        with self._guard:
            self._is_running = True
            for entry in self._entries.values():
                self._start_locked(entry)
        try:
            self._probe_until_stopped()
        finally:
            self.stop.set()
            forget()
            self._end()

    def _entry_locked(self, selection: Selection, indexers: Mapping[str, Indexer] | None) -> _Entry:
        entry = self._entries.get(selection)
        if entry is None:
            entry = _Entry(self.stop.child())
            entry.informer = self._new_informer(selection, indexers, partial(self._wake, entry))
            self._entries[selection] = entry
            if self._is_running:
                self._start_locked(entry)
        return entry

    def _new_informer(self, selection: Selection, indexers: Mapping[str, Indexer] | None, wake: Wake) -> Informer:
        resource = selection.resource
        return Informer(
            self.client,
            selection,
            wake=wake,
            transform=self._transform(resource),
            indexers=self._indexers.get(resource, {}) if indexers is None else indexers,
            page_size=self._page_sizes.get(resource, PAGE_SIZE),
            clock=self._clock,
            random=self._random,
            metrics=self._metrics.informer(self.name, resource),
            history=self._history,
            on_time_went_back=self._time_has_gone_back,
            most_weight=self._most_weight(selection),
            share=self._commons.share,
        )

    def _transform(self, resource: Resource) -> Transform:
        return self._transforms.get(resource) or strip_foreign_managed_fields()

    def _start_locked(self, entry: _Entry) -> None:
        if self.stop.is_set():
            return
        self._workers.add(entry)
        entry.stop.on_set(partial(self._workers.add, entry))

    def _wake(self, entry: _Entry) -> None:
        if self._is_running:
            self._workers.add(entry)

    def _broke(self, entry: _Entry) -> None:
        self._log.error("an informer ended by an exception and is begun again", selection=str(entry.informer.selection))

    def _release(self, selection: Selection, entry: _Entry) -> None:
        with self._guard:
            entry.holds -= 1
            if entry.holds > 0 or entry.is_kept:
                return
            if self._entries.get(selection) is entry:
                del self._entries[selection]
        entry.stop.set()

    def _end(self) -> None:
        with self._guard:
            entries = list(self._entries.values())
        for entry in entries:
            self._workers.add(entry)  # for a last time, in which it lets go of its connection
        self._workers.end()
        while threads := self._workers.alive():
            # One may have opened a connection after the last round: shut them down until no thread is left.
            self.client.close_connections()
            threads[0].join(0.2)
        for entry in entries:
            entry.informer.close()

    def _probe_until_stopped(self) -> None:
        since = self._clock.monotonic()
        while not self.stop.is_set():
            began = self._clock.monotonic()
            error = self._probe(since)
            since = began
            if self.stop.is_set():
                return
            self._judge(error)
            self._workers.staff()
            is_up = self.health.reach is Reach.REACHABLE and not self._failures
            self.stop.wait(PROBE_SECONDS if is_up else PROBE_AGAIN_SECONDS)

    def _probe(self, since: float) -> ApiError | None:
        """What speaks against the server."""
        began = self._clock.monotonic()
        try:
            self.client.probe(PROBE_TIMEOUT_SECONDS)
        except ApiError as error:
            return None if self.client.heard_at >= _disproved_from(error, since, began) else error
        return None

    def _judge(self, error: ApiError | None) -> None:
        if error is None or not (isinstance(error, Unreachable) or error.code >= 500):
            is_back, self._failures = self._failures > 0, 0
            self._set_health(Reach.REACHABLE, error)
            if is_back:
                self._hasten()
            return
        self._failures += 1
        if self._failures >= PROBE_FAILURES or self.health.reach is Reach.UNKNOWN:
            if self._failures == PROBE_FAILURES:
                self.client.close_connections()
            self._set_health(Reach.UNREACHABLE, error)

    def _set_health(self, reach: Reach, error: ApiError | None) -> None:
        reason, message = (error.reason, error.message) if error else ("", "")
        with self._guard:
            before = self._health
            if (before.reach, before.reason) == (reach, reason):
                return
            since = before.since if before.reach is reach else self._clock.now()
            self._health = Health(reach, reason, message, since)
            listeners = list(self._listeners)
        tell = self._log.warning if reach is Reach.UNREACHABLE or reason else self._log.info
        tell("health changed", reach=reach.value, reason=reason, message=message)
        if reach is Reach.REACHABLE:
            self._hasten()
        for listener in listeners:
            listener()

    def _hasten(self) -> None:
        with self._guard:
            informers = [entry.informer for entry in self._entries.values()]
        for informer in informers:
            informer.hasten()

    def _time_has_gone_back(self, selection: Selection, seen: int, got: int) -> None:
        self._log.warning("time went back", selection=str(selection), seen=seen, got=got)
        self._tell_time_went_back()

    def _tell_time_went_back(self) -> None:
        with self._guard:
            listeners = list(self._time_went_back)
        for listener in listeners:
            listener()

    def _listen(self, listeners: list[_L], callback: _L) -> Callable[[], None]:
        with self._guard:
            listeners.append(callback)

        def forget() -> None:
            with self._guard:
                if callback in listeners:
                    listeners.remove(callback)

        return forget


def _disproved_from(error: ApiError, since: float, began: float) -> float:
    """From when on anything that the server has done shows that it is there although a probe, which began at `began`,
    failed so; the one before it began at `since`."""
    if error.code >= 500:  # one that is not ready, or one of several behind a balancer
        return since
    if error.reason == "Timeout":  # it lets this one wait, not others; one that has stopped did something before
        return began
    return math.inf


class Clusters:
    """The clusters that are there now; the tenants among them come and go.

    Threads: any, but `disengage` never from a callback of the cluster that it ends. Callbacks of `on_change` run in
        the thread that engages or disengages, or in the one that saw the health change.
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

        Raises: ValueError, if one of that name is there; RuntimeError, if the process may have no more threads.
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
        """End the cluster of that name, if there is one, and wait until its threads have ended.

        Guarantees: it is not found from the moment this is called; none of its callbacks is called after this returns.
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
        """Wait for `stop`, then disengage all, the last first. Returns earlier when one ended by an exception."""
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
        """The engaged ones, the first engaged first."""
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
