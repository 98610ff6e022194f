"""Whether a cluster still is the one that was read: what one reflector finds out, all of its cluster know."""

from __future__ import annotations

import threading
from collections.abc import Callable


class History:
    """Counts the histories of one cluster: an etcd that is restored from a backup begins another one.

    Not every collection shows that: one where little happens was last seen in a version that the restored server may
    have come past by the time it is asked. So a reflector that notices records it here, and no other one resumes an
    earlier watch.
    Threads: any.
    """

    def __init__(self, on_turn: Callable[[], None] = lambda: None) -> None:
        """`on_turn` is called when another one has begun, in the thread that found out."""
        self._on_turn = on_turn
        self._guard = threading.Lock()  # guards the one below
        self._number = 0

    @property
    def number(self) -> int:
        """Of the present one."""
        return self._number

    def turn(self, number: int) -> None:
        """One who has read all in the history of that number finds that it is over; to be said again by others of it
        changes nothing."""
        with self._guard:
            if number != self._number:
                return
            self._number += 1
        self._on_turn()
