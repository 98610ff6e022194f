"""Slow clusters: a circuit breaker on call latency that detects them, and a bulkhead that limits their workers.

Slow is not unhealthy: it does not affect `cluster.Health`, only the order of work.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from dpunetop.base.clock import Clock

SLOW_SECONDS = 1.0
"""A call that takes this long, or is still unanswered after it, makes its cluster slow."""
CALM_SECONDS = 30.0
"""A cluster stops being slow after this time without a slow call."""


@dataclass(slots=True)
class _Calls:
    begun: dict[int, float] = field(default_factory=dict)
    """The start of each running call, the oldest first."""
    slow_until: float = float("-inf")


def nobody(_: Hashable) -> bool:
    """For work that delays no other: no cluster is slow."""
    return False


class CallLatencies:
    """The circuit breaker on call latency.

    Guarantees: keeps nothing of a cluster that is not called and was not slow lately. Threads: any; it only touches
        memory.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._numbers = itertools.count()
        self._guard = threading.Lock()  # guards _calls
        self._calls: dict[Hashable, _Calls] = {}

    @contextmanager
    def call(self, cluster: str) -> Iterator[None]:
        """Wraps each call to a cluster, with all its retries and pauses."""
        number = next(self._numbers)
        self._begin(cluster, number)
        try:
            yield
        finally:
            self._end(cluster, number)

    def is_slow(self, cluster: Hashable) -> bool:
        """Whether a call to the cluster was slow lately, or is now."""
        with self._guard:
            calls = self._calls.get(cluster)
            if calls is None:
                return False
            now = self._clock.monotonic()
            oldest = next(iter(calls.begun.values()), now)
            return now < calls.slow_until or now - oldest >= SLOW_SECONDS

    def _begin(self, cluster: str, number: int) -> None:
        now = self._clock.monotonic()
        with self._guard:
            if cluster not in self._calls:
                self._calls = {k: calls for k, calls in self._calls.items() if calls.begun or now < calls.slow_until}
            self._calls.setdefault(cluster, _Calls()).begun[number] = now

    def _end(self, cluster: str, number: int) -> None:
        now = self._clock.monotonic()
        with self._guard:
            calls = self._calls[cluster]
            if now - calls.begun.pop(number) >= SLOW_SECONDS:
                calls.slow_until = now + CALM_SECONDS
            if not calls.begun and now >= calls.slow_until:
                del self._calls[cluster]


class Delayed(Exception):
    """The cluster is slow, and the bulkhead for slow clusters is full: try again a little later. This is no error of
    the cluster."""

    def __init__(self, cluster: str) -> None:
        super().__init__(cluster)
        self.cluster = cluster

    def __str__(self) -> str:
        return f"cluster {self.cluster} answers slowly, and others that do are worked for already"


class Bulkhead:
    """Limits the workers in all slow clusters together. Threads: any."""

    def __init__(self, most: int, is_slow: Callable[[Hashable], bool]) -> None:
        self._most = most
        self._is_slow = is_slow
        self._guard = threading.Lock()  # guards _visitors
        self._visitors = 0

    @contextmanager
    def visit(self) -> Iterator[Visit]:
        """One piece of work; it occupies a place from its first call to a slow cluster until its end."""
        visit = Visit(self._takes_place, self._is_slow)
        try:
            yield visit
        finally:
            if visit.has_place:
                self._leave()

    def _takes_place(self) -> bool:
        with self._guard:
            if self._visitors >= self._most:
                return False
            self._visitors += 1
            return True

    def _leave(self) -> None:
        with self._guard:
            self._visitors -= 1


class Visit:
    """A piece of work that makes calls. Threads: one."""

    def __init__(self, take_place: Callable[[], bool], is_slow: Callable[[Hashable], bool]) -> None:
        self._take_place = take_place
        self._is_slow = is_slow
        self.has_place = False

    def call(self, cluster: str) -> None:
        """Call it before each call to any cluster. It also ends running work whose cluster has become slow if the
        bulkhead is full. Raises: Delayed."""
        if self.has_place or not self._is_slow(cluster):
            return
        if not self._take_place():
            raise Delayed(cluster)
        self.has_place = True
