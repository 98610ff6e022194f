"""How long clusters let their callers wait: a circuit that tells slow ones, and a bulkhead for their workers.

Slow is neither away nor ill: it says nothing of the health of a cluster (`cluster.Health`), and nothing but the order
of work follows from it.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from dpunetop.base.clock import Clock

SLOW_SECONDS = 1.0
"""A call that takes so long, or has taken so long and is not answered yet, makes its cluster slow."""
CALM_SECONDS = 30.0
"""A cluster stops being slow when none of its calls has been for so long."""


@dataclass(slots=True)
class _Calls:
    begun: dict[int, float] = field(default_factory=dict)
    """When each call that is under way began, the oldest first."""
    slow_until: float = float("-inf")


def nobody(_: Hashable) -> bool:
    """No cluster is slow: for work that delays no other."""
    return False


class CallLatencies:
    """The circuit on call latency: which clusters answer slowly.

    Guarantees: of a cluster that is not called and was not slow lately nothing is kept. Threads: any; it only touches
        memory.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._numbers = itertools.count()
        self._guard = threading.Lock()  # guards _calls
        self._calls: dict[Hashable, _Calls] = {}

    @contextmanager
    def call(self, cluster: str) -> Iterator[None]:
        """Around each call to a cluster, with all the tries and pauses that belong to it."""
        number = next(self._numbers)
        self._begin(cluster, number)
        try:
            yield
        finally:
            self._end(cluster, number)

    def is_slow(self, cluster: Hashable) -> bool:
        """Whether the cluster has let a caller wait lately, or does now."""
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
    """A cluster is slow, and as many work for slow clusters as may: to be tried again a little later. It is no error
    of the cluster."""

    def __init__(self, cluster: str) -> None:
        super().__init__(cluster)
        self.cluster = cluster

    def __str__(self) -> str:
        return f"cluster {self.cluster} answers slowly, and others that do are worked for already"


class Bulkhead:
    """Room for a bounded number of workers in slow clusters, all of them together. Threads: any."""

    def __init__(self, most: int, is_slow: Callable[[Hashable], bool]) -> None:
        self._most = most
        self._is_slow = is_slow
        self._guard = threading.Lock()  # guards _visitors
        self._visitors = 0

    @contextmanager
    def visit(self) -> Iterator[Visit]:
        """One piece of work, which has its place from the first call of a slow cluster to its own end."""
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
        """To be asked before each call, whatever the cluster; also work under way is stopped here, if its cluster has
        become slow meanwhile and there is no room. Raises: Delayed."""
        if self.has_place or not self._is_slow(cluster):
            return
        if not self._take_place():
            raise Delayed(cluster)
        self.has_place = True
