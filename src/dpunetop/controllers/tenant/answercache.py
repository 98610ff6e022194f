"""What tenants have answered, kept for a while, so that a pass does not ask again what the last one asked."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from dpunetop.base.clock import Clock

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Question(Generic[T]):
    """One question that tenants are asked, by its name; `T` is the type of its answer."""

    name: str


@dataclass(frozen=True, slots=True)
class _Known:
    about: object
    value: object
    until: float


class ExpiringCache:
    """The last answer to each question of each tenant, for a while. Threads: any."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._guard = threading.Lock()  # guards _known
        self._known: dict[str, dict[Question[Any], _Known]] = {}

    def get(self, cluster: str, question: Question[T], about: object) -> T | None:
        """The answer, if it was given about the same thing and not too long ago; else None."""
        with self._guard:
            known = self._known.get(cluster, {}).get(question)
        if known is None or known.about != about or self._clock.monotonic() >= known.until:
            return None
        return cast(T, known.value)  # `put` took a T under this question

    def put(self, cluster: str, question: Question[T], about: object, value: T, seconds: float) -> None:
        """Remember an answer."""
        known = _Known(about, value, self._clock.monotonic() + seconds)
        with self._guard:
            self._known.setdefault(cluster, {})[question] = known

    def forget(self, cluster: str) -> None:
        """Drop all answers of a tenant."""
        with self._guard:
            self._known.pop(cluster, None)
