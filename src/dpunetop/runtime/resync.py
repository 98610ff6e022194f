"""Periodic resync of keys that no change has enqueued, so that a lost wake-up is made up for."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

RESYNC_SECONDS = 600.0
"""The longest time between two reconciles of a key, unless the workers are overloaded."""
_LEAST_SHARE = 0.5
"""The share of the period before a key is due; the rest is drawn at random each time, so that keys spread."""


class Resync(Generic[K]):
    """The due time of each key.

    Guarantees: a key is due once, between half the period and the whole period after its last reconcile; a forgotten
        key is not due until its next reconcile.
    Threads: any. Units: seconds, on one monotonic clock.
    Source: controllers of kube-controller-manager draw the resync period of each informer from one to two times the
        least one (`ResyncPeriod`); here it is drawn for each key, since one pass costs more than one comparison.
    """

    def __init__(self, period_seconds: float, random: Callable[[], float]) -> None:
        self._period = period_seconds
        self._random = random
        self._guard = threading.Lock()  # guards the two below
        self._due: dict[K, float] = {}
        self._first = math.inf  # no key is due before this time

    def looked(self, key: K, now: float) -> None:
        """A reconcile of `key` begins."""
        due = now + self._period * (_LEAST_SHARE + (1 - _LEAST_SHARE) * self._random())
        with self._guard:
            self._due[key] = due
            self._first = min(self._first, due)

    def forget(self, key: K) -> None:
        """`key` is gone."""
        with self._guard:
            self._due.pop(key, None)

    def take(self, now: float) -> list[K]:
        """The due keys, the earliest first; each once until its next reconcile."""
        # A scan of thousands takes less than a millisecond, twice a second; a heap would double the memory of a key.
        with self._guard:
            if now < self._first:
                return []
            taken = sorted((key for key, due in self._due.items() if due <= now), key=self._due.__getitem__)
            for key in taken:
                del self._due[key]
            self._first = min(self._due.values(), default=math.inf)
        return taken
