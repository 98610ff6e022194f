"""The term of this leadership, which each decision carries; replaced when a cluster's time went back."""

from __future__ import annotations

import secrets
import threading

from dpunetop.base.clock import Clock
from dpunetop.domain.drain.model.facts import Author


class Epoch:
    """The term of this process, which is leader at most once.

    Threads: any.
    """

    def __init__(self, clock: Clock, field_manager: str) -> None:
        self._clock = clock
        self._field_manager = field_manager
        self._guard = threading.Lock()  # guards the two below
        self._term = secrets.token_hex(8)
        self._is_shaken = False

    def author(self) -> Author:
        """The author of one decision."""
        with self._guard:
            term = self._term
        return Author(self._field_manager, term, secrets.token_hex(4), int(self._clock.now().timestamp()))

    def advance(self) -> None:
        """A cluster's time went back: every write that was decided before must fail."""
        with self._guard:
            self._term, self._is_shaken = secrets.token_hex(8), True

    @property
    def needs_takeover(self) -> bool:
        """Whether a cluster's time went back and some record may not have been taken over since."""
        with self._guard:
            return self._is_shaken

    def confirmed(self, term: str) -> None:
        """Every record has `term`."""
        with self._guard:
            if term == self._term:
                self._is_shaken = False
