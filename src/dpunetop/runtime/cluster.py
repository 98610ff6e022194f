"""One API server as a unit: its client, its informers and its health, started and stopped as one."""

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
from dpunetop.runtime.cache.interning import Interner
from dpunetop.runtime.cache.reflector import Wake
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
"""Pause between probes while it does not answer, so that work resumes soon after it is back."""
PROBE_TIMEOUT_SECONDS = 5.0
"""Timeout of connecting for a probe; its response may take as long as one to a call."""
PROBE_FAILURES = 3
"""After this many failed probes in a row a server that answered before counts as unreachable."""
PAGE_SIZE = 500
NODE_PAGE_SIZE = 100
"""Small pages, since Nodes are large and decoding a page blocks all threads."""
TRANSFORMS: Mapping[Resource, Transform] = {NODES: strip_node()}
"""The default transforms of a cluster."""


class Reach(Enum):
    """Whether a server is reachable, as far as known."""

    UNKNOWN = "Unknown"
    """Not probed yet."""
    REACHABLE = "Reachable"
    UNREACHABLE = "Unreachable"


@dataclass(frozen=True, slots=True)
class Health:
    """The health of a server.

    `reason` says why it is unreachable; for a reachable one, why it refused the probe (`Unauthorized`), or empty.
    """

    reach: Reach
    reason: str
    message: str
    since: datetime


class InformerHandle:
    """A reference to a running informer, until `release`. Threads: any."""

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
        """End the reference; its handler is no longer called. A second call does nothing."""
        with self._guard:
            release, self._release = self._release, None
        if release is not None:
            release()


@dataclass(slots=True, eq=False)
class _SharedInformer:
    stop: Stop
    informer: Informer = field(init=False)
    handles: int = 0
    is_kept: bool = False


def _step(entry: _SharedInformer) -> float | None:
    return entry.informer.step(entry.stop)


class Cluster:
    """One API server: its client, its informers, its health.

    Guarantees: one informer per selection, however many users share it; once `run` has returned, no thread of this
        cluster runs and none of its callbacks is called.
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
        interner: Interner | None = None,
        most_workers: int = MOST_WORKERS,
    ) -> None:
        """`most_weight` limits the weight of a selection's cache, see `Informer`; None: no limit.
        `interner` interns parts of its objects; None: a small one, of bounded cost.
        `most_workers` limits how many of its informers wait for the server at a time.
        """
        self.name = name
        self.client = client
        self.stop = stop or Stop(clock)  # ends this cluster; if given, that of its transport
        self._clock = clock
        self._metrics = metrics
        self._random = random
        self._transforms = transforms
        self._page_sizes = page_sizes or {NODES: NODE_PAGE_SIZE}
        self._indexers = indexers or {}
        self._most_weight = most_weight
        self._interner = interner or Interner()
        self._log = structlog.get_logger().bind(cluster=name)
        self._failures = 0  # only the thread in run uses it
        self._workers: Workers[_SharedInformer] = Workers(name, clock, _step, self._broke, most_workers)
        self._history = History(client.close_connections)  # ends the watches of the earlier history
        self._guard = threading.Lock()  # guards all below
        self._entries: dict[Selection, _SharedInformer] = {}
        self._is_running = False
        self._health = Health(Reach.UNKNOWN, "NotProbed", "", clock.now())
        self._listeners: list[Callable[[], None]] = []
        self._time_went_back: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        with self._guard:
            return f"<Cluster {self.name} {self._health.reach.value}, {len(self._entries)} informers>"

    @property
    def health(self) -> Health:
        """The result of the last probes."""
        with self._guard:
            return self._health

    def on_health(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` whenever `health` changes; returns the function that removes it."""
        return self._listen(self._listeners, callback)

    def on_time_went_back(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` when a complete list is older than the state seen before (an etcd restored from a backup),
        before the store shows that list; returns the function that removes it."""
        return self._listen(self._time_went_back, callback)

    def informer(self, selection: Selection, indexers: Mapping[str, Indexer] | None = None) -> Informer:
        """The informer of that selection, which runs until the cluster ends.

        `indexers` apply if this is the first request for it; by default the cluster's own for the resource.
        """
        with self._guard:
            entry = self._entry_locked(selection, indexers)
            entry.is_kept = True
        return entry.informer

    def share_informer(
        self,
        selection: Selection,
        handler: Handler,
        on_synced: Callable[[], None] = lambda: None,
        on_trouble: Callable[[], None] = lambda: None,
    ) -> InformerHandle:
        """Share the informer of that selection; it runs until the last handle is released.

        The callbacks are those of `Informer.add_handler`: existing objects are replayed before this returns.
        """
        with self._guard:
            entry = self._entry_locked(selection, None)
            entry.handles += 1
        forget = entry.informer.add_handler(handler, on_synced, on_trouble)

        def release() -> None:
            forget()
            self._release(selection, entry)

        return InformerHandle(entry.informer, release)

    def look(self, resource: Resource, namespace: str, name: str, version: int) -> Obj | Absence:
        """The object from a cache, or why no cache holds it although it existed at `version`.

        Guarantees: GONE if a cache is past that version; BEHIND if all caches are before it.
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
        """A copy of `obj` as the caches of this cluster keep it."""
        return self._interner.share(self._transform(resource)(jsonio.deep_copy(obj)))

    def read_anew(self) -> None:
        """Relist everything, since the server has contradicted the caches for long.

        Guarantees: the callbacks of `on_time_went_back` are called, since a restore may have gone unnoticed.
        """
        self._log.warning("the API server contradicts the caches: every collection is listed again")
        self._tell_time_went_back()
        self._history.turn(self._history.number)

    def run(self, stop: Stop) -> None:
        """Run all informers, also later ones, and probe the server, until `stop` or `self.stop` is set.

        Guarantees: an informer that raises is restarted, and its handlers get the trouble.
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

    def _entry_locked(self, selection: Selection, indexers: Mapping[str, Indexer] | None) -> _SharedInformer:
        entry = self._entries.get(selection)
        if entry is None:
            entry = _SharedInformer(self.stop.child())
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
            share=self._interner.share,
        )

    def _transform(self, resource: Resource) -> Transform:
        return self._transforms.get(resource) or strip_foreign_managed_fields()

    def _start_locked(self, entry: _SharedInformer) -> None:
        if self.stop.is_set():
            return
        self._workers.add(entry)
        entry.stop.on_set(partial(self._workers.add, entry))

    def _wake(self, entry: _SharedInformer) -> None:
        if self._is_running:
            self._workers.add(entry)

    def _broke(self, entry: _SharedInformer) -> None:
        self._log.error("an informer ended by an exception and is begun again", selection=str(entry.informer.selection))

    def _release(self, selection: Selection, entry: _SharedInformer) -> None:
        with self._guard:
            entry.handles -= 1
            if entry.handles > 0 or entry.is_kept:
                return
            if self._entries.get(selection) is entry:
                del self._entries[selection]
        entry.stop.set()

    def _end(self) -> None:
        with self._guard:
            entries = list(self._entries.values())
        for entry in entries:
            self._workers.add(entry)  # for a last step, which returns its connection
        self._workers.end()
        while threads := self._workers.alive():
            # An informer may have opened a connection after the last round: close them until no thread is left.
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
        """The error of a probe; None: the server answers."""
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
    """The time from which any response of the server disproves this failed probe. The probe began at `began`, the one
    before it at `since`."""
    if error.code >= 500:  # not ready, or one of several servers behind a balancer
        return since
    if error.reason == "Timeout":  # it may answer others meanwhile; a server that hangs answered only before
        return began
    return math.inf
