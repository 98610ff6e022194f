"""When keys are looked at again though nothing has woken them: so no wake that was lost is lost for good."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

RESYNC_SECONDS = 600.0
"""No key goes without a look for longer, unless more are woken than can be looked at."""
_LEAST_SHARE = 0.5
"""Of the period, before a key is due; the rest is drawn for each key and look, so that keys of one start part."""


class Resync(Generic[K]):
    """For each key when it is due.

    Guarantees: a key is due between half the period and all of it after it was last looked at, and once a look; one
        that was forgotten is not, until it is looked at again.
    Threads: any. Units: seconds, on one monotonic clock.
    Source: controllers of kube-controller-manager draw the resync period of each informer from one to two times the
        least one (`ResyncPeriod`); here it is drawn for each key, since one pass costs more than one comparison.
    """

    def __init__(self, period_seconds: float, random: Callable[[], float]) -> None:
        self._period = period_seconds
        self._random = random
        self._guard = threading.Lock()  # guards the two below
        self._due: dict[K, float] = {}
        self._first = math.inf  # no key is due before; maybe none is due then

    def looked(self, key: K, now: float) -> None:
        """`key` is being looked at."""
        due = now + self._period * (_LEAST_SHARE + (1 - _LEAST_SHARE) * self._random())
        with self._guard:
            self._due[key] = due
            self._first = min(self._first, due)

    def forget(self, key: K) -> None:
        """`key` is gone."""
        with self._guard:
            self._due.pop(key, None)

    def take(self, now: float) -> list[K]:
        """The keys that are due, the earliest first; each of them once, until it is looked at again."""
        # To go through thousands takes less than a millisecond, twice a second; a heap would double what a key costs.
        with self._guard:
            if now < self._first:
                return []
            taken = sorted((key for key, due in self._due.items() if due <= now), key=self._due.__getitem__)
            for key in taken:
                del self._due[key]
            self._first = min(self._due.values(), default=math.inf)
        return taken
