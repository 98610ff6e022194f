"""What stands between a decision and its write: whether this process may still write, and for how long."""

from __future__ import annotations

import math
from typing import Protocol


class LeadershipLost(Exception):
    """This process may not write any more, or not yet. The caller ends its work; the manager ends the process."""


class WriteGate(Protocol):
    """Ask before each write, and give the request no more time than is left."""

    def seconds_left(self) -> float:
        """For how long a write may still be under way; always above 0.

        Threads: any; never blocks on I/O. Raises: LeadershipLost.
        """


class OpenGate:
    """The gate of a process that runs without election."""

    def seconds_left(self) -> float:
        """See `WriteGate.seconds_left`."""
        return math.inf
