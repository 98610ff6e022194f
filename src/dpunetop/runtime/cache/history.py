"""Detects an etcd restored from a backup: when one reflector sees it, all reflectors of its cluster relist."""

from __future__ import annotations

import threading
from collections.abc import Callable


class History:
    """Counts the histories of one cluster: an etcd restored from a backup begins a new one.

    Not every collection shows a restore: where little changes, the restored server may have passed the last version
    seen by the time it is asked. So the reflector that sees a restore records it here, and no other reflector resumes
    a watch of the earlier history.
    Threads: any.
    """

    def __init__(self, on_turn: Callable[[], None] = lambda: None) -> None:
        """`on_turn` is called when a new history has begun, in the thread that called `turn`."""
        self._on_turn = on_turn
        self._guard = threading.Lock()  # guards _number
        self._number = 0

    @property
    def number(self) -> int:
        """The number of the present history."""
        return self._number

    def turn(self, number: int) -> None:
        """End the history of that number; does nothing if it has ended already."""
        with self._guard:
            if number != self._number:
                return
            self._number += 1
        self._on_turn()
