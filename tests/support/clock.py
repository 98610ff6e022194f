"""A clock that a test moves by hand, for code that runs in real threads."""

from __future__ import annotations

import math
import threading
import time
from datetime import UTC, datetime, timedelta

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class FakeClock:
    """Time stands still until `step`; `until_parked` says when the code under test has gone quiet."""

    def __init__(self) -> None:
        self._guard = threading.Condition()  # guards _now and _parked
        self._now = 0.0
        self._cpu = 0.0  # of all threads alike
        self._parked: dict[object, tuple[threading.Condition, float]] = {}  # by wait: where, and until when

    def monotonic(self) -> float:
        with self._guard:
            return self._now

    def thread_cpu(self) -> float:
        with self._guard:
            return self._cpu

    def toil(self, seconds: float) -> None:
        """Have every thread seem to have worked for so long."""
        with self._guard:
            self._cpu += seconds

    def now(self) -> datetime:
        with self._guard:
            return EPOCH + timedelta(seconds=self._now)

    def wait(self, cond: threading.Condition, timeout: float | None) -> None:
        wait = object()
        with self._guard:
            self._parked[wait] = (cond, math.inf if timeout is None else self._now + timeout)
            self._guard.notify_all()
        try:
            cond.wait(60)  # woken by its owner or by step(); callers check again
        finally:
            with self._guard:
                del self._parked[wait]

    def until_parked(self, threads: int) -> None:
        """Return when so many threads wait on this clock and nobody has woken them since."""
        deadline = time.monotonic() + 60
        with self._guard:
            while self._waiting() < threads:
                assert time.monotonic() < deadline, f"{self._waiting()} threads are parked, not {threads}"
                self._guard.wait(0.001)

    def _waiting(self) -> int:
        # A thread that was notified still stands in _parked until it runs. Its condition alone knows better, and has no
        # public way to say how many wait, of which typeshed therefore knows nothing.
        return sum(len(cond._waiters) for cond in {cond for cond, _ in self._parked.values()})  # type: ignore[attr-defined,misc]

    def step(self, seconds: float) -> None:
        """Let time pass, and wake those whose wait is over by it."""
        with self._guard:
            self._now += seconds
            due = {cond for cond, until in self._parked.values() if until <= self._now + 1e-9}
        for cond in due:
            with cond:
                cond.notify_all()
