"""The context manager of everything that the harness starts: start on entry, close on exit."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from typing import Self


class Lifecycle(ABC):
    """An object with `start` and `close`, which a `with` statement calls."""

    @abstractmethod
    def start(self) -> None:
        """Start it; on failure nothing is left running."""

    @abstractmethod
    def close(self) -> None:
        """End it; may be called again."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Composite(Lifecycle):
    """Starts several parts in order and closes them in reverse order, also if one of the starts fails."""

    def __init__(self) -> None:
        self._open = contextlib.ExitStack()

    @abstractmethod
    def _start(self) -> None:
        """Start each part within `_open`."""

    def start(self) -> None:
        """See `Lifecycle.start`. Raises: the error of the part that failed."""
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """See `Lifecycle.close`."""
        self._open.close()
