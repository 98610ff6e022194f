"""How fast is fast enough: growing pauses after failures, and a budget for what comes in bursts."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from dpunetop.base.clock import Clock

K = TypeVar("K", bound=Hashable)


class Backoff:
    """Pauses for one thing that is tried again and again: they grow by `factor` up to a cap, and are spread.

    Guarantees: the n-th pause since the last reset lies within d and d·(1 + jitter) for d = min(cap, base·factor^n).
    Threads: one owner.
    """

    def __init__(
        self,
        base_seconds: float,
        factor: float,
        cap_seconds: float,
        jitter: float,
        random: Callable[[], float],
    ) -> None:
        self._base = min(base_seconds, cap_seconds)
        self._factor = factor
        self._cap = cap_seconds
        self._jitter = jitter
        self._random = random
        self._pause = self._base

    def next(self) -> float:
        """The pause before the next try, in seconds."""
        pause = self._pause
        self._pause = min(self._cap, pause * self._factor)
        return pause * (1.0 + self._jitter * self._random())

    def reset(self) -> None:
        """Start small again; to be called on progress, not on a mere connection."""
        self._pause = self._base


class ItemBackoff(Generic[K]):
    """Pauses per key: base·2^n seconds after n failures, up to a cap.

    Guarantees: a key's pauses never shrink until it is forgotten; no number of failures overflows.
    Threads: one owner; a work queue calls it under its lock.
    """

    def __init__(self, base_seconds: float = 0.005, cap_seconds: float = 1000.0) -> None:
        self._base = base_seconds
        self._cap = cap_seconds
        self._enough = max(0, math.ceil(math.log2(cap_seconds / base_seconds)))  # failures from which the cap holds
        self._failures: dict[K, int] = {}

    def next(self, key: K) -> float:
        """Count one more failure of `key` and say how long to wait, in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        return min(self._cap, math.ldexp(self._base, min(failures, self._enough)))

    def failures(self, key: K) -> int:
        """How often `key` has failed since it was last forgotten."""
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """`key` succeeded, or is gone."""
        self._failures.pop(key, None)


_NOTHING_SECONDS = 0.001
_LEAST_REST_SECONDS = 0.2
_REST_FACTOR = 9.0
_LONGEST_REST_SECONDS = 1.0


DEBOUNCE_SECONDS = 0.1
"""How long a key that stands for many objects waits when one of them has changed: for the others that change with it,
and for the workers of that one object, which need the processor just then."""


def rest_after(cpu_seconds: float) -> float:
    """How long a key is to rest after a pass that kept a core busy for so long.

    Guarantees: no time after a pass that found nothing to look at; else passes of one key take a tenth of a core at
        most, or each of them more than 0.1 s. For keys that stand for many objects, of which each wakes them: what all
        of them say is looked at once, and said in one write.
    """
    if cpu_seconds < _NOTHING_SECONDS:
        return 0.0
    return min(_LONGEST_REST_SECONDS, max(_LEAST_REST_SECONDS, _REST_FACTOR * cpu_seconds))


def no_rest(_: float) -> float:
    """For keys whose passes cost little, or are never too soon."""
    return 0.0


class TokenBucket:
    """A budget that fills steadily and may be spent in bursts.

    Guarantees: within any t seconds at most burst + rate·t tokens are handed out and kept.
    Threads: any.
    """

    __slots__ = ("_burst", "_clock", "_filled_at", "_guard", "_rate", "_tokens")

    def __init__(self, rate_per_second: float, burst: int, clock: Clock) -> None:
        self._rate = rate_per_second
        self._burst = float(burst)
        self._clock = clock
        self._guard = threading.Lock()  # guards _tokens, what there was at _filled_at
        self._tokens = float(burst)
        self._filled_at = clock.monotonic()

    def take(self) -> bool:
        """Spend one token; False if there is none."""
        with self._guard:
            now = self._clock.monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
            self._filled_at = now
            if self._tokens < 1.0:
                return False
            self._tokens -= 1.0
            return True

    def give_back(self) -> None:
        """One token was not needed after all."""
        with self._guard:
            self._tokens = min(self._burst, self._tokens + 1.0)
