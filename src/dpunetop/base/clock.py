"""The clock as an argument, so that tests control time."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tell the time and wait for it.

    Threads: any; an implementation takes no lock of its callers except the condition given to `wait`.
    Units: seconds.
    """

    def monotonic(self) -> float:
        """Seconds since a fixed point; never goes back. Deadlines are compared with this."""

    def thread_cpu(self) -> float:
        """CPU seconds of the calling thread; only differences mean something."""

    def now(self) -> datetime:
        """Wall clock in UTC; only for what people read."""

    def wait(self, cond: threading.Condition, timeout: float | None) -> None:
        """Wait on `cond`, which the caller holds, until notified or `timeout` seconds have passed.

        Guarantees: may return early; callers check again what they waited for.
        """


class RealClock:
    """The clock of this machine."""

    def monotonic(self) -> float:
        """See `Clock.monotonic`; includes the time that the machine was suspended, since other machines went on."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def thread_cpu(self) -> float:
        """See `Clock.thread_cpu`."""
        return time.thread_time()

    def now(self) -> datetime:
        """See `Clock.now`."""
        return datetime.now(UTC)

    def wait(self, cond: threading.Condition, timeout: float | None) -> None:
        """See `Clock.wait`."""
        cond.wait(timeout)
