"""How long a stream may take, whatever the server sends meanwhile."""

from __future__ import annotations

import math

from dpunetop.base.clock import Clock
from dpunetop.kube.errors import Unreachable

FIRST_MARK_SECONDS = 150.0
"""How long a stream that began with a list may be quiet then: kube-apiserver sends its next bookmark 120 s after it was
opened, later ones each 60 s."""


class Pace:
    """The time that a stream has: for all of it, and until it has told all there is, if that is what it begins with.

    Threads: `listed` by who reads the stream; it only ever gives more time, so that the others ask from any thread.
    """

    def __init__(self, clock: Clock, whole_seconds: float = math.inf, listing_seconds: float = math.inf) -> None:
        """Both count from now; `listing_seconds` until `listed` is called."""
        self._marked = -math.inf  # until when quiet is no sign of anything
        self._clock = clock
        self._listing_seconds = listing_seconds
        now = clock.monotonic()
        self._end, self._due = now + whole_seconds, now + listing_seconds

    def listed(self) -> None:
        """All there is has been told; what comes now are changes."""
        self._due = math.inf
        self._marked = self._clock.monotonic() + FIRST_MARK_SECONDS

    def bound(self, idle_seconds: float, heard: float | None = None) -> float:
        """Until when the next thing must have come, by the clock, when the last one came at `heard`; None: now."""
        heard = self._clock.monotonic() if heard is None else heard
        return min(max(heard + idle_seconds, self._marked), self._end, self._due)

    def is_over(self) -> bool:
        """Whether the stream has had its time: it is ended then, as the server should have ended it."""
        return self._clock.monotonic() >= self._end

    def lateness(self, server: str, idle_seconds: float) -> Unreachable:
        """What is to be said when the time that `bound` gave is over."""
        if self._clock.monotonic() >= self._due:
            return Unreachable(0, "Timeout", f"{server}: a list that was not complete in {self._listing_seconds:g} s")
        return Unreachable(0, "IdleTimeout", f"nothing came for {idle_seconds:g} s or more")
