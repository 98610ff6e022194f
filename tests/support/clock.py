"""A clock that a test moves by hand, for code that runs in real threads."""

from __future__ import annotations

import threading
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
        with self._guard:
            assert self._guard.wait_for(lambda: len(self._parked) >= threads, timeout=5)

    def step(self, seconds: float) -> None:
        with self._guard:
            self._now += seconds
            parked = list(self._parked)
        for cond in parked:
            with cond:
                cond.notify_all()
