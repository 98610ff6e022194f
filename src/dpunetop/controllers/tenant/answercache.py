"""A cache of one tenant's answers with expiry, so that a pass does not repeat the requests of the last one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from dpunetop.base.clock import Clock

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Question(Generic[T]):
    """One question to tenants, by name; `T` is the type of its answer."""

    name: str


@dataclass(frozen=True, slots=True)
class _Known:
    about: object
    value: object
    until: float


class ExpiringCache:
    """The last answer of a tenant to each question, until it expires. Threads: one at a time, as passes of a key."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[Question[Any], _Known] = {}

    def get(self, question: Question[T], about: object) -> T | None:
        """The answer, if it is about the same thing and has not expired; else None."""
        known = self._known.get(question)
        if known is None or known.about != about or self._clock.monotonic() >= known.until:
            return None
        return cast(T, known.value)  # `put` took a T under this question

    def put(self, question: Question[T], about: object, value: T, seconds: float) -> None:
        """Remember an answer."""
        self._known[question] = _Known(about, value, self._clock.monotonic() + seconds)

    def cached(self, question: Question[T], about: object, ask: Callable[[], T], seconds: float) -> T:
        """The answer, else the one that `ask` gives now, which is remembered."""
        known = self.get(question, about)
        if known is None:
            known = ask()
            self.put(question, about, known, seconds)
        return known
