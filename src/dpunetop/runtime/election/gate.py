"""The gate before each write: whether this process may still write, and for how long."""

from __future__ import annotations

import math
from typing import Protocol


class LeadershipLost(Exception):
    """This process must not write, or not yet. The caller ends its work; the manager ends the process."""


class WriteGate(Protocol):
    """Asked before each write; the request gets no more time than is left."""

    def seconds_left(self) -> float:
        """How many seconds a write may still take; always above 0.

        Threads: any; never blocks on I/O. Raises: LeadershipLost.
        """


class OpenGate:
    """The gate of a process that runs without election."""

    def seconds_left(self) -> float:
        """See `WriteGate.seconds_left`."""
        return math.inf
