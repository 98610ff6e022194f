"""The deadlines of one stream, which no data from the server extends."""

from __future__ import annotations

import math

from dpunetop.base.clock import Clock
from dpunetop.kube.errors import Unreachable

FIRST_MARK_SECONDS = 150.0
"""Idle limit of a stream after its initial list: kube-apiserver sends the next bookmark 120 s after the stream was
opened, later ones every 60 s."""


class StreamDeadline:
    """The deadline of a whole stream, and of the initial list of one that begins with a list.

    Threads: `listed` by the reader of the stream; it only extends the time, so the other methods run in any thread.
    """

    def __init__(self, clock: Clock, whole_seconds: float = math.inf, listing_seconds: float = math.inf) -> None:
        """Both count from now; `listing_seconds` until `listed` is called."""
        self._marked = -math.inf  # until when silence is expected
        self._clock = clock
        self._listing_seconds = listing_seconds
        now = clock.monotonic()
        self._end, self._due = now + whole_seconds, now + listing_seconds

    def listed(self) -> None:
        """The initial list is complete; changes follow."""
        self._due = math.inf
        self._marked = self._clock.monotonic() + FIRST_MARK_SECONDS

    def bound(self, idle_seconds: float, heard: float | None = None) -> float:
        """The deadline (monotonic) of the next line if the last one came at `heard`; None: now."""
        heard = self._clock.monotonic() if heard is None else heard
        return min(max(heard + idle_seconds, self._marked), self._end, self._due)

    def is_over(self) -> bool:
        """Whether the time of the whole stream is over; it is ended then, as the server should have done."""
        return self._clock.monotonic() >= self._end

    def lateness(self, server: str, idle_seconds: float) -> Unreachable:
        """The error of a stream whose deadline (`bound`) has passed."""
        if self._clock.monotonic() >= self._due:
            return Unreachable(0, "Timeout", f"{server}: a list that was not complete in {self._listing_seconds:g} s")
        return Unreachable(0, "IdleTimeout", f"nothing came for {idle_seconds:g} s or more")
