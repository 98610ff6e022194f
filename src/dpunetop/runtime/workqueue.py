"""The work queue: de-duplicates, delays and backs off keys; a key is in hand once at a time and never lost."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from dpunetop.base.clock import Clock
from dpunetop.base.stop import Stop
from dpunetop.runtime.flowcontrol import ItemBackoff
from dpunetop.runtime.lanes import LaneOrder, Lanes
from dpunetop.runtime.metrics import QueueMetrics

K = TypeVar("K", bound=Hashable)

_SPARE_ENTRIES = 64  # outdated heap entries that are not worth a rebuild


class QueueState(Generic[K]):
    """The state of a work queue without threads: every method takes the time and returns what follows from it.

    A key is *queued* (to be handed out), *in hand*, or *waiting* for its time. In hand it may be *dirty*: it is queued
    again when it is done. A key may wait and be in any other state too. A key that *rests* is not queued before its
    time; an `add` meanwhile makes it wait until then. Resyncs stand *behind* all queued keys. `LaneOrder` decides which
    queued key is next.
    Threads: one owner; the queue calls it under its lock.
    Units: seconds, on one monotonic clock.
    """

    def __init__(self, lanes: Lanes[K] | None = None) -> None:
        # Invariant: _order holds each key of _queued exactly once; _queued, _behind and _in_hand share no key; _dirty
        # is part of _in_hand; for each key of _waiting the heap has an entry with that time, and maybe outdated ones.
        self._order: LaneOrder[K] = LaneOrder(lanes or Lanes())
        self._queued: dict[K, float] = {}  # since when
        self._behind: dict[K, float] = {}  # since when
        self._in_hand: dict[K, float] = {}  # since when
        self._dirty: dict[K, float] = {}  # since when
        self._waiting: dict[K, float] = {}  # until when
        self._resting: dict[K, float] = {}  # until when
        self._heap: list[tuple[float, int, K]] = []
        self._entries = 0
        self.closed = False

    def __len__(self) -> int:
        return len(self._order) + len(self._behind)

    def __repr__(self) -> str:
        return f"{len(self)} queued, {len(self._waiting)} waiting, {len(self._in_hand)} in hand"

    def add(self, key: K, now: float) -> bool:
        """Queue `key`; return whether that is new. A resting key waits until its rest is over."""
        if self.closed or key in self._queued or key in self._dirty:
            return False
        if key in self._in_hand:
            self._dirty[key] = now
            return True
        return self._enqueue(key, now)

    def add_behind(self, key: K, now: float) -> bool:
        """Queue `key` behind all others; return whether that is new. A key in hand or at rest was just reconciled."""
        if self.closed or key in self._queued or key in self._in_hand or key in self._behind:
            return False
        if self._resting.get(key, now) > now:
            return False
        self._behind[key] = now
        return True

    def add_at(self, key: K, due: float) -> bool:
        """Add `key` at `due`, or earlier if it waits already; return whether it is now the first to come due."""
        if self.closed or due >= self._waiting.get(key, float("inf")):
            return False
        self._waiting[key] = due
        self._entries += 1
        heapq.heappush(self._heap, (due, self._entries, key))
        if len(self._heap) > 2 * len(self._waiting) + _SPARE_ENTRIES:
            self._rebuild_heap()
        return self._heap[0][2] == key

    def promote(self, now: float) -> int:
        """Add the keys whose time has come, the earliest first; return how many were new."""
        news = 0
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._waiting.get(key) == due:
                del self._waiting[key]
                news += self.add(key, now)
        return news

    def next_due(self) -> float | None:
        """When to promote next; None if nothing waits. May be too early, never too late."""
        return self._heap[0][0] if self._heap else None

    def take(self, now: float) -> tuple[K, float] | None:
        """Hand out the next key and the time since when it was queued; None if none may be handed out now."""
        if (key := self._order.take()) is not None:
            since = self._queued.pop(key)
        elif (key := self._order.take_of(self._behind)) is not None:
            since = self._behind.pop(key)
        else:
            return None
        self._in_hand[key] = now
        return key, since

    def done(self, key: K, now: float, rest_seconds: float = 0.0) -> tuple[float, bool]:
        """`key` is done and rests; return since when it was in hand, and whether it is queued again.

        Raises: KeyError.
        """
        since = self._in_hand.pop(key)
        self._order.put_down(key)
        if rest_seconds > 0 and not self.closed:
            self._resting = {each: until for each, until in self._resting.items() if until > now}
            self._resting[key] = now + rest_seconds
        if key not in self._dirty:
            return since, False
        del self._dirty[key]
        return since, self._enqueue(key, now)

    def close(self) -> None:
        """Accept no more keys and drop waiting ones and resyncs; queued and dirty keys stay."""
        self.closed = True
        self._behind.clear()
        self._resting.clear()
        self._waiting.clear()
        self._heap.clear()

    def in_hand_since(self) -> list[float]:
        """Since when each key in hand has been there."""
        return list(self._in_hand.values())

    def slow_in_hand(self) -> int:
        """How many keys of slow lanes are in hand."""
        return self._order.slow_in_hand()

    def _enqueue(self, key: K, now: float) -> bool:
        """Queue `key`, or let it wait until it has rested; return whether it is queued."""
        if (until := self._resting.get(key, now)) > now:
            self.add_at(key, until)
            return False
        self._resting.pop(key, None)
        self._behind.pop(key, None)
        self._queued[key] = now
        self._order.append(key)
        return True

    def _rebuild_heap(self) -> None:
        self._heap = [(due, number, key) for due, number, key in self._heap if self._waiting.get(key) == due]
        heapq.heapify(self._heap)


class WorkQueue(Generic[K]):
    """A queue of keys that de-duplicates, delays and backs off.

    Guarantees: one worker at a time has a key. After every `add` that returns before `shut_down`, a later `get` hands
        that key out, unless it still rests at the shutdown. Keys of one lane come out in the order of their first add,
        and lanes take turns; keys of `add_behind` come out when no other is queued. A slow lane at its limit delays no
        other lane; a waiting key delays no other key. Of several delays of one key the earliest counts. A resting key
        comes out once after its rest.
    Source: client-go's workqueue for processing and dirty keys; API Priority and Fairness (KEP-1040) for the lanes.
    Threads: all methods from any thread. Metrics are set under the lock, so that the last depth is the true one; they
        only touch memory.
    Units: seconds.
    """

    def __init__(
        self, clock: Clock, metrics: QueueMetrics, backoff: ItemBackoff[K], lanes: Lanes[K] | None = None
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._work = threading.Condition()  # guards all below; notified when a key may be ready
        self._state: QueueState[K] = QueueState(lanes)
        self._backoff = backoff
        self._unneeded = 0  # of those who wait, as far as is known

    def __len__(self) -> int:
        with self._work:
            return len(self._state)

    def __repr__(self) -> str:
        with self._work:
            return f"<WorkQueue [{self._state!r}]>"

    def add(self, key: K) -> None:
        """Enqueue `key`; no effect if it is queued already, or after `shut_down`."""
        with self._work:
            self._add_locked(key)

    def add_behind(self, key: K) -> bool:
        """Enqueue `key` behind all others, for a resync; False, and no effect, if it is queued, in hand or at rest."""
        with self._work:
            is_news = self._state.add_behind(key, self._clock.monotonic())
            if is_news:
                self._metrics.added()
                self._metrics.depth(len(self._state))
                self._work.notify()
            return is_news

    def add_after(self, key: K, seconds: float) -> None:
        """Enqueue `key` after that many seconds, or earlier if it waits already."""
        with self._work:
            if seconds <= 0:
                self._add_locked(key)
            elif self._state.add_at(key, self._clock.monotonic() + seconds):
                # Invariant: every idle worker wakes when the first key is due, so that it waits for no busy one.
                self._work.notify_all()

    def add_rate_limited(self, key: K, at_least_seconds: float = 0.0) -> None:
        """Enqueue `key` after its backoff, which grows with each call until `forget`."""
        with self._work:
            pause = max(at_least_seconds, self._backoff.next(key))
            self._metrics.retried()
            if self._state.add_at(key, self._clock.monotonic() + pause):
                self._work.notify_all()

    def get(self, stop: Stop, may_leave: Callable[[], bool] = lambda: False) -> K | None:
        """Wait for a key and take it in hand; None when `stop` is set, once the queue is shut down and empty, or to a
        worker that `thin_out` has woken, for which there is no key, and which `may_leave`.

        Guarantees: hands out nothing after `stop` is set. A worker that gets a key ends its work with `done`.
        Threads: `may_leave` is called under the lock.
        """
        forget_wake = stop.on_set(self._wake)
        try:
            with self._work:
                while not stop.is_set():
                    now = self._clock.monotonic()
                    self._promote_locked(now)
                    if (taken := self._state.take(now)) is not None:
                        return self._hand_out_locked(*taken, now)
                    if self._state.closed and not len(self._state):
                        return None
                    if self._unneeded:
                        self._unneeded -= 1
                        if may_leave():
                            return None
                    due = self._state.next_due()
                    self._clock.wait(self._work, None if due is None else due - now)
                self._work.notify()  # pass a wake-up on: this thread may have been woken for a key
                return None
        finally:
            forget_wake()

    def done(self, key: K, rest_seconds: float = 0.0) -> None:
        """`key` is done; it is queued again if it was added meanwhile, but not before it has rested that long.

        Raises: KeyError if it was not in hand.
        """
        with self._work:
            now, due = self._clock.monotonic(), self._state.next_due()
            since, again = self._state.done(key, now, rest_seconds)
            self._metrics.worked(now - since)
            if again:
                self._metrics.depth(len(self._state))
            if self._state.closed:
                self._work.notify_all()
            elif len(self._state):
                self._work.notify()
            if self._state.next_due() != due:
                self._work.notify_all()

    def forget(self, key: K) -> None:
        """`key` succeeded: reset its backoff."""
        with self._work:
            self._backoff.forget(key)

    def retries(self, key: K) -> int:
        """How often `key` was requeued with backoff since it last succeeded."""
        with self._work:
            return self._backoff.failures(key)

    def shut_down(self) -> None:
        """Accept no more keys and drop waiting ones; queued keys may still be taken."""
        with self._work:
            self._state.close()
            self._metrics.depth(len(self._state))
            self._work.notify_all()

    def slow_in_hand(self) -> int:
        """How many keys of slow lanes are in hand; above the limit if a lane became slow meanwhile."""
        with self._work:
            return self._state.slow_in_hand()

    def thin_out(self, count: int) -> None:
        """Ask so many of the workers that wait whether they may leave; those that find a key take it instead."""
        with self._work:
            self._unneeded = count
            if count:
                self._work.notify_all()

    def refresh(self) -> None:
        """Update the metrics of keys in hand, and check which lanes are still slow; call it regularly."""
        with self._work:
            now = self._clock.monotonic()
            ages = [now - since for since in self._state.in_hand_since()]
            self._metrics.unfinished(sum(ages))
            self._metrics.longest(max(ages, default=0.0))
            if len(self._state):
                self._work.notify_all()

    def _add_locked(self, key: K) -> None:
        due = self._state.next_due()
        if self._state.add(key, self._clock.monotonic()):
            self._metrics.added()
            self._metrics.depth(len(self._state))
            self._work.notify()
        elif self._state.next_due() != due:
            self._work.notify_all()

    def _promote_locked(self, now: float) -> None:
        for _ in range(self._state.promote(now)):
            self._metrics.added()

    def _hand_out_locked(self, key: K, since: float, now: float) -> K:
        self._metrics.waited(now - since)
        self._metrics.depth(len(self._state))
        return key

    def _wake(self) -> None:
        with self._work:
            self._work.notify_all()
