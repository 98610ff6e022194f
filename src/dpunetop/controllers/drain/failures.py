"""Jobs of the drain that fail: tried ever more seldom, and reported as long as they are wanted."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dpunetop.base.clock import Clock
from dpunetop.domain.drain.model.facts import HoldReason
from dpunetop.domain.drain.report.failures import LAST_PAUSE_SECONDS, passes, pause_after
from dpunetop.kube.errors import ApiError
from dpunetop.kube.keys import Key

REPORTED_SECONDS = 10.0
"""An error that passes by itself is reported once it has lasted so long."""
_REMEMBERED_SECONDS = 10 * LAST_PAUSE_SECONDS


@dataclass(frozen=True, slots=True)
class Job:
    """What is tried as a whole. Two of equal kind and DPU are the same one, however much of it has changed."""

    kind: str
    dpu: str = ""
    """Empty: it is about all DPUs of the host."""


@dataclass(slots=True)
class _Failing:
    since: float
    count: int = 0
    last: float = 0.0
    until: float = 0.0
    why: HoldReason | None = None
    lasts: bool = False
    wanted: bool = True


class Failures:
    """Counts how often in a row each job of a key has failed.

    Guarantees: only the success of a job as a whole ends its pauses: what its first calls did, or another job that they
        made necessary, does not; neither does that it is not wanted for a while.
    Threads: any; one at a time a key.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._guard = threading.Lock()  # guards _failing
        self._failing: dict[Key, dict[Job, _Failing]] = {}

    def forget(self, key: Key) -> None:
        """The key is no longer in use."""
        with self._guard:
            self._failing.pop(key, None)

    def pause(self, key: Key, job: Job) -> float:
        """How many seconds to wait before the job is tried again; 0: none."""
        with self._guard:
            found = self._failing.get(key, {}).get(job)
        return 0.0 if found is None else max(0.0, found.until - self._clock.monotonic())

    def has_failed(self, key: Key, job: Job) -> bool:
        """Whether the last try of the job failed."""
        with self._guard:
            return job in self._failing.get(key, {})

    def failed(self, key: Key, job: Job, error: ApiError | None = None, why: HoldReason | None = None) -> float:
        """Count a failure, and say how many seconds to wait now.

        `why` is what to report of it, None: nothing. An error that does not pass by itself is reported from now on,
        and not only once it has lasted.
        """
        now = self._clock.monotonic()
        with self._guard:
            found = self._failing.setdefault(key, {}).setdefault(job, _Failing(now))
            found.count, found.last = found.count + 1, now
            found.why, found.lasts, found.wanted = why, error is not None and not passes(error), True
            found.until = now + pause_after(found.count, error)
            return found.until - now

    def succeeded(self, key: Key, job: Job) -> None:
        """The whole job is done."""
        with self._guard:
            jobs = self._failing.get(key, {})
            jobs.pop(job, None)
            if not jobs:
                self._failing.pop(key, None)

    def wanted(self, key: Key, jobs: Iterable[Job]) -> None:
        """All that is wanted now, in a pass in which nothing was done: no other failure is reported any more."""
        named, now = set(jobs), self._clock.monotonic()
        with self._guard:
            kept = self._failing.pop(key, {})
            for job, found in kept.items():
                found.wanted = job in named
            kept = {job: each for job, each in kept.items() if each.wanted or now < each.until + _REMEMBERED_SECONDS}
            if kept:
                self._failing[key] = kept

    def is_passing(self, key: Key, job: Job) -> bool:
        """Whether the job fails in a way that is not reported yet: what is wanted behind it is not known then."""
        with self._guard:
            found = self._failing.get(key, {}).get(job)
            return found is not None and not _has_lasted(found)

    def trouble(self, key: Key, dpu: str = "") -> HoldReason | None:
        """What to report of the DPU because of what fails: the oldest of it."""
        with self._guard:
            found = sorted(self._reported_locked(key, dpu), key=lambda each: each.since)
        return found[0].why if found else None

    def _reported_locked(self, key: Key, dpu: str) -> Iterator[_Failing]:
        for job, found in self._failing.get(key, {}).items():
            if job.dpu in ("", dpu) and found.wanted and found.why is not None and _has_lasted(found):
                yield found


def _has_lasted(found: _Failing) -> bool:
    return found.lasts or found.last - found.since >= REPORTED_SECONDS
