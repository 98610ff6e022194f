"""The shared informer of one selection: one reflector, one store, many handlers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from enum import Enum, auto

from dpunetop.base.clock import Clock
from dpunetop.base.stop import Stop
from dpunetop.kube.errors import ApiError
from dpunetop.kube.meta import Obj
from dpunetop.kube.requests import Selection
from dpunetop.runtime.cache.change import Change, NotCurrent, Synced
from dpunetop.runtime.cache.history import History
from dpunetop.runtime.cache.listwatch import TimeWentBack
from dpunetop.runtime.cache.reflector import ListWatch, Reflector, Wake
from dpunetop.runtime.cache.store import Feed, Indexer, Lister, Share, Store
from dpunetop.runtime.cache.transform import Transform
from dpunetop.runtime.metrics import InformerMetrics

Handler = Callable[[Change], None]


class Absence(Enum):
    """Why a cache lacks an object that existed at a known resourceVersion."""

    GONE = auto()
    """The cache is past that version: the object was deleted."""
    BEHIND = auto()
    """The cache is behind that version: it will still announce the object, or its deletion."""
    UNCERTAIN = auto()
    """The cache is being relisted, or there is none."""


class Broken(ApiError):
    """The informer failed on a bug, see the log; it relists."""


class Informer:
    """A cache of the objects of `selection`, with handlers for their changes.

    Guarantees: a handler is called for one change at a time, in order, after the store and its indexes show it; per
        object the states it sees are a subsequence of the server's. A change of only the resourceVersion is stored and
        not announced. No change is announced twice; a relist announces only differences.
    Threads: `step` by one thread at a time; everything else from any thread. Handlers run in that thread, or for the
        replay in the thread that adds them; they must be quick and must not block.
    """

    def __init__(
        self,
        source: ListWatch,
        selection: Selection,
        *,
        wake: Wake,
        transform: Transform,
        indexers: Mapping[str, Indexer],
        page_size: int,
        clock: Clock,
        random: Callable[[], float],
        metrics: InformerMetrics,
        history: History,
        on_time_went_back: TimeWentBack,
        most_weight: int | None = None,
        share: Share = lambda obj: obj,
    ) -> None:
        """`wake` asks for another `step`; a server whose objects together weigh more than `most_weight`
        (`jsonio.weigh`) is refused."""
        self.selection = selection
        self._clock = clock
        self._metrics = metrics
        self._store = Store(indexers, share)
        self._guard = threading.Lock()  # guards the three below
        self._trouble: ApiError | None = None
        self._subscriptions: tuple[_Subscription, ...] = ()
        self._closed = False
        self._reflector = Reflector(
            source,
            selection,
            self._store.writer,
            wake=wake,
            transform=transform,
            page_size=page_size,
            clock=clock,
            random=random,
            on_stored=self._deliver,
            on_trouble=self._troubled,
            history=history,
            on_time_went_back=on_time_went_back,
            most_weight=most_weight,
        )

    def __repr__(self) -> str:
        return f"<Informer {self.selection} {self._store!r}>"

    @property
    def lister(self) -> Lister:
        """The reading half of the cache. Before `has_synced`, a missing object means nothing."""
        return self._store.lister

    def look(self, namespace: str, name: str, version: int) -> Obj | Absence:
        """The object of that name, or why the cache lacks it although it existed at `version`. Threads: any."""
        # Before the store is read, so that an object stored in between is found.
        reached = self._reflector.reached if self.has_synced() else None
        found = self.lister.get(namespace, name)
        if found is not None:
            return found
        if reached is None:
            return Absence.UNCERTAIN
        return Absence.GONE if reached >= version else Absence.BEHIND

    def step(self, stop: Stop) -> float | None:
        """Update the cache as far as possible without blocking; see `Reflector.step`.

        Guarantees: if it raises, handlers get `Broken` as the trouble, and the next step relists.
        """
        has_ended = False
        try:
            pause = self._reflector.step(stop)
            has_ended = True
        finally:
            if not has_ended:
                self._troubled(Broken(0, "InternalError", f"the informer of {self.selection} met a bug"))
        if stop.is_set():
            self._metrics.end()
        return pause

    def hasten(self) -> None:
        """The server answers again: cut a pause short."""
        self._reflector.hasten()

    def has_synced(self) -> bool:
        """Whether a complete list has been stored since the start. Never false again."""
        return self._store.is_filled()

    def wait_synced(self, stop: Stop, timeout_seconds: float) -> bool:
        """Wait until `has_synced` and until earlier handlers have seen the whole list; return `has_synced`."""
        synced = stop.child()
        forget = self.add_handler(lambda _: None, synced.set)
        synced.wait(timeout_seconds)
        synced.set()
        forget()
        return self.has_synced()

    @property
    def trouble(self) -> ApiError | None:
        """Why the cache is not up to date; None while it is, or before the first failure. Only a complete list or a
        watch event clears it."""
        with self._guard:
            return self._trouble

    def add_handler(
        self,
        handler: Handler,
        on_synced: Callable[[], None] = lambda: None,
        on_trouble: Callable[[], None] = lambda: None,
    ) -> Callable[[], None]:
        """Call `handler` for every object, then for each change; `on_synced` once, after the first complete list;
        `on_trouble` when the reason of `trouble` changes or it ends. Returns the function that removes the handler.

        Guarantees: once that function has returned, no call is begun or running, unless the handler itself called it.
        """
        subscription = _Subscription(self._store.subscribe(), handler, on_synced, on_trouble)
        with self._guard:
            closed = self._closed
            if not closed:
                self._subscriptions = (*self._subscriptions, subscription)
        if closed:
            self._store.unsubscribe(subscription.feed)
        else:
            subscription.drain()
        return lambda: self._remove(subscription)

    def close(self) -> None:
        """Remove all handlers; call it when no further `step` follows, or only the last one."""
        with self._guard:
            self._closed = True
            subscriptions = self._subscriptions
        for subscription in subscriptions:
            self._remove(subscription)

    def _remove(self, subscription: _Subscription) -> None:
        with self._guard:
            self._subscriptions = tuple(other for other in self._subscriptions if other is not subscription)
        self._store.unsubscribe(subscription.feed)
        subscription.close()

    def _troubled(self, error: ApiError) -> None:
        with self._guard:
            self._trouble = error
            subscriptions = self._subscriptions
        for subscription in subscriptions:
            subscription.feed.append(NotCurrent())
            subscription.drain()

    def _deliver(self, resource_version: str) -> None:
        self._metrics.resource_version(resource_version)
        with self._guard:
            was_troubled = bool(resource_version) and self._trouble is not None
            self._trouble = None if resource_version else self._trouble
            subscriptions = self._subscriptions
        if was_troubled:
            for subscription in subscriptions:
                subscription.feed.append(NotCurrent())
        waiting = max((len(subscription.feed) for subscription in subscriptions), default=0)
        if not waiting:
            return
        began = self._clock.monotonic()
        self._metrics.queued(waiting)
        for subscription in subscriptions:
            subscription.drain()
        self._metrics.queued(0)
        self._metrics.processed((self._clock.monotonic() - began) / waiting)


class _Subscription:
    """One handler and its pending notifications.

    Guarantees: one call at a time and in order, whichever threads drain it; a thread that finds another one draining
        may leave, because the other looks again before it ends.
    """

    def __init__(
        self, feed: Feed, handler: Handler, on_synced: Callable[[], None], on_trouble: Callable[[], None]
    ) -> None:
        self.feed = feed  # filled by the store under its lock, emptied by the thread in _calling
        self._handler = handler
        self._on_synced = on_synced
        self._on_trouble = on_trouble
        self._cond = threading.Condition()  # guards the two below
        self._calling: int | None = None  # the thread that calls the handler
        self._closed = False

    def drain(self) -> None:
        """Deliver all pending notifications, unless another thread is doing so."""
        while self._begin():
            try:
                self._call_all()
            finally:
                self._end()

    def close(self) -> None:
        """Begin no further call, and wait for the running one unless this thread makes it."""
        with self._cond:
            self._closed = True
            while self._calling not in (None, threading.get_ident()):
                self._cond.wait()

    def _begin(self) -> bool:
        with self._cond:
            if self._closed or self._calling is not None or not self.feed:
                return False
            self._calling = threading.get_ident()
            return True

    def _end(self) -> None:
        with self._cond:
            self._calling = None
            self._cond.notify_all()

    def _call_all(self) -> None:
        while self.feed and not self._closed:
            match self.feed.popleft():
                case Synced():
                    self._on_synced()
                case NotCurrent():
                    self._on_trouble()
                case change:
                    self._handler(change)
