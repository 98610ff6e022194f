"""Flow control: exponential backoff, token buckets, and pauses of costly keys."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from dpunetop.base.clock import Clock

K = TypeVar("K", bound=Hashable)


class Backoff:
    """Exponential backoff of one operation: pauses grow by `factor` up to a cap, with jitter.

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
        """Start with the shortest pause again; call it on progress, not after a mere connection."""
        self._pause = self._base


class ItemBackoff(Generic[K]):
    """Exponential backoff per key: base·2^n seconds after n failures, up to a cap.

    Guarantees: a key's pauses never shrink until it is forgotten; no number of failures overflows.
    Threads: one owner; a work queue calls it under its lock.
    """

    def __init__(self, base_seconds: float = 0.005, cap_seconds: float = 1000.0) -> None:
        self._base = base_seconds
        self._cap = cap_seconds
        self._enough = max(0, math.ceil(math.log2(cap_seconds / base_seconds)))  # failures from which the cap holds
        self._failures: dict[K, int] = {}

    def next(self, key: K) -> float:
        """Count one more failure of `key`; return the pause in seconds."""
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
"""Delay of a key that stands for many objects after one of them has changed: others often change with it, and the
workers of that object need the CPU just then."""


def rest_after(cpu_seconds: float) -> float:
    """How long a key rests after a reconcile that used that much CPU.

    Guarantees: none after a reconcile that did nothing; else the reconciles of one key use at most a tenth of a core,
        unless each takes more than 0.1 s. For keys that many objects enqueue: one reconcile covers many changes.
    """
    if cpu_seconds < _NOTHING_SECONDS:
        return 0.0
    return min(_LONGEST_REST_SECONDS, max(_LEAST_REST_SECONDS, _REST_FACTOR * cpu_seconds))


def no_rest(_: float) -> float:
    """For keys whose reconciles are cheap or urgent."""
    return 0.0


class TokenBucket:
    """A token bucket: fills at a steady rate and allows bursts.

    Guarantees: within any t seconds at most burst + rate·t tokens are taken and not given back.
    Threads: any.
    """

    __slots__ = ("_burst", "_clock", "_filled_at", "_guard", "_rate", "_tokens")

    def __init__(self, rate_per_second: float, burst: int, clock: Clock) -> None:
        self._rate = rate_per_second
        self._burst = float(burst)
        self._clock = clock
        self._guard = threading.Lock()  # guards _tokens, the content at _filled_at
        self._tokens = float(burst)
        self._filled_at = clock.monotonic()

    def take(self) -> bool:
        """Take one token; False if there is none."""
        with self._guard:
            now = self._clock.monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
            self._filled_at = now
            if self._tokens < 1.0:
                return False
            self._tokens -= 1.0
            return True

    def give_back(self) -> None:
        """Return a token that was not needed."""
        with self._guard:
            self._tokens = min(self._burst, self._tokens + 1.0)


class ItemBudgets(Generic[K]):
    """Token buckets of equal rate for many keys, at one number per key.

    Guarantees: as `TokenBucket` for each key. A key whose bucket is full again is soon dropped; at most `most` keys are
        kept, those that took a token last.
    Threads: one owner.
    """

    def __init__(self, seconds_a_token: float, burst: int, most: int, clock: Clock) -> None:
        self._seconds = seconds_a_token
        self._burst = burst
        self._most = most
        self._clock = clock
        self._full_at: dict[K, float] = {}  # least recently used first

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: K) -> bool:
        """Take one token of `key`; False if there is none."""
        now = self._clock.monotonic()
        full_at = max(now, self._full_at.pop(key, now))
        is_granted = full_at - now <= (self._burst - 1) * self._seconds
        self._full_at[key] = full_at + self._seconds if is_granted else full_at
        while len(self._full_at) > self._most or next(iter(self._full_at.values())) <= now:
            del self._full_at[next(iter(self._full_at))]
        return is_granted
