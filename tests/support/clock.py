"""A clock that a test moves by hand, for code that runs in real threads."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class FakeClock:
    """Time stands still until `step`; `until_parked` says when the code under test has gone quiet."""

    def __init__(self) -> None:
        self._guard = threading.Condition()  # guards _now and _parked
        self._now = 0.0
        self._parked: list[threading.Condition] = []

    def monotonic(self) -> float:
        with self._guard:
            return self._now

    def now(self) -> datetime:
        with self._guard:
            return EPOCH + timedelta(seconds=self._now)

    def wait(self, cond: threading.Condition, timeout: float | None) -> None:
        with self._guard:
            self._parked.append(cond)
            self._guard.notify_all()
        try:
            cond.wait(20)  # woken by its owner or by step(); callers check again
        finally:
            with self._guard:
                self._parked.remove(cond)

    def until_parked(self, threads: int) -> None:
        """Return when so many threads wait on this clock and nobody has woken them since."""
        deadline = time.monotonic() + 5
        with self._guard:
            while self._waiting() < threads:
                assert time.monotonic() < deadline, f"{self._waiting()} threads are parked, not {threads}"
                self._guard.wait(0.001)

    def _waiting(self) -> int:
        # A thread that was notified still stands in _parked until it runs; its condition knows better.
        return sum(len(cond._waiters) for cond in set(self._parked))  # type: ignore[attr-defined,misc]

    def step(self, seconds: float) -> None:
        with self._guard:
            self._now += seconds
            parked = list(self._parked)
        for cond in parked:
            with cond:
                cond.notify_all()
