"""The clock of a command: the wall time of infra's API server, since what is compared with it was written there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from dpunetop.base.clock import Clock

_LEAST = timedelta(seconds=5)
"""A smaller difference counts as none: the header Date has whole seconds, and a response takes its time."""


class ServerClock:
    """`own`, with the wall time of a server once that has told it.

    Threads: any.
    """

    def __init__(self, own: Clock) -> None:
        self.own = own
        self._ahead: Callable[[], timedelta | None] = lambda: None  # replaced whole, by any thread

    def follow(self, server_ahead: Callable[[], timedelta | None]) -> None:
        """Take the wall time from a server; see `Transport.server_ahead`."""
        self._ahead = server_ahead

    @property
    def ahead(self) -> timedelta:
        """By how much the server's clock is ahead of this machine's; zero: by nothing that counts, or it is unknown."""
        found = self._ahead()
        return timedelta() if found is None or abs(found) < _LEAST else found

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self.own.monotonic()

    def thread_cpu(self) -> float:
        """See `Clock.thread_cpu`."""
        return self.own.thread_cpu()

    def now(self) -> datetime:
        """See `Clock.now`."""
        return self.own.now() + self.ahead

    def wait(self, cond: threading.Condition, timeout: float | None) -> None:
        """See `Clock.wait`."""
        self.own.wait(cond, timeout)


def skew_words(ahead: timedelta) -> str:
    """The words about a clock of this machine that differs from that of infra's API server; empty: it does not."""
    if not ahead:
        return ""
    which = "behind" if ahead > timedelta() else "ahead of"
    seconds = round(abs(ahead).total_seconds())
    return f"the clock of this machine is {seconds} s {which} that of infra's API server; times are told by the latter"
