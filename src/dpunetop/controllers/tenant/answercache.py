"""What tenants have said, kept for a while, so that the same thing is not asked in every pass."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from dpunetop.base.clock import Clock


@dataclass(frozen=True, slots=True)
class _Known:
    about: object
    value: Any
    until: float


class ExpiringCache:
    """The last answer to each question of each tenant, for a while. Threads: any."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._guard = threading.Lock()  # guards _known
        self._known: dict[str, dict[str, _Known]] = {}

    def get(self, cluster: str, question: str, about: object) -> Any:
        """The answer, if it was given about the same thing and not too long ago; else None."""
        with self._guard:
            known = self._known.get(cluster, {}).get(question)
        if known is None or known.about != about or self._clock.monotonic() >= known.until:
            return None
        return known.value

    def put(self, cluster: str, question: str, about: object, value: object, seconds: float) -> None:
        """Remember an answer."""
        known = _Known(about, value, self._clock.monotonic() + seconds)
        with self._guard:
            self._known.setdefault(cluster, {})[question] = known

    def forget(self, cluster: str) -> None:
        """Drop all answers of a tenant."""
        with self._guard:
            self._known.pop(cluster, None)
