"""What handlers were told, to be waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable

from dpunetop.kube.meta import name_of
from dpunetop.runtime.cache.change import Change


class Told:
    """The callbacks of one handler, which only remember. Threads: any."""

    def __init__(self) -> None:
        self._cond = threading.Condition()
        self.changes: list[Change] = []
        self.synced = 0
        self.troubles = 0

    def change(self, change: Change) -> None:
        with self._cond:
            self.changes.append(change)
            self._cond.notify_all()

    def filled(self) -> None:
        with self._cond:
            self.synced += 1
            self._cond.notify_all()

    def trouble(self) -> None:
        with self._cond:
            self.troubles += 1
            self._cond.notify_all()

    def until(self, holds: Callable[[Told], bool], timeout_seconds: float = 60) -> None:
        """Wait until `holds`."""
        with self._cond:
            assert self._cond.wait_for(lambda: holds(self), timeout=timeout_seconds), (
                self.changes,
                self.synced,
                self.troubles,
            )

    def names(self) -> list[str]:
        """The names of the changed objects, in order."""
        with self._cond:
            return [name_of(change.new or change.old or {}) for change in self.changes]
