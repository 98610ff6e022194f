"""Failed jobs of the drain: retried with growing pauses, and reported as long as they are wanted."""

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
"""An error that passes by itself is reported only after this time."""
_REMEMBERED_SECONDS = 10 * LAST_PAUSE_SECONDS


@dataclass(frozen=True, slots=True)
class Job:
    """A unit of work that is retried as a whole. Two of one kind and DPU are the same job, even if their content
    differs."""

    kind: str
    dpu: str = ""
    """Empty: it concerns all DPUs of the host."""


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

    Guarantees: only the success of the whole job ends its pauses; success of its first calls, or of another job that
        they made necessary, does not, nor does a time in which it is not wanted.
    Threads: any; one at a time a key.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._guard = threading.Lock()  # guards _failing
        self._failing: dict[Key, dict[Job, _Failing]] = {}

    def forget(self, key: Key) -> None:
        """Drop the failures of a key that is no longer in use."""
        with self._guard:
            self._failing.pop(key, None)

    def pause(self, key: Key, job: Job) -> float:
        """How many seconds to wait before the job is tried again; 0: none."""
        with self._guard:
            found = self._failing.get(key, {}).get(job)
        return 0.0 if found is None else max(0.0, found.until - self._clock.monotonic())

    def has_failed(self, key: Key, job: Job) -> bool:
        """Whether the last attempt of the job failed."""
        with self._guard:
            return job in self._failing.get(key, {})

    def failed(self, key: Key, job: Job, error: ApiError | None = None, why: HoldReason | None = None) -> float:
        """Count a failure; return the seconds to wait now.

        `why` is the report, None: none. An error that does not pass by itself is reported at once.
        """
        now = self._clock.monotonic()
        with self._guard:
            found = self._failing.setdefault(key, {}).setdefault(job, _Failing(now))
            found.count, found.last = found.count + 1, now
            found.why, found.lasts, found.wanted = why, error is not None and not passes(error), True
            found.until = now + pause_after(found.count, error)
            return found.until - now

    def succeeded(self, key: Key, job: Job) -> None:
        """Forget the failures of a job that is done."""
        with self._guard:
            jobs = self._failing.get(key, {})
            jobs.pop(job, None)
            if not jobs:
                self._failing.pop(key, None)

    def wanted(self, key: Key, jobs: Iterable[Job]) -> None:
        """Take all jobs that are wanted in a pass that did nothing: failures of other jobs are no longer reported."""
        named, now = set(jobs), self._clock.monotonic()
        with self._guard:
            kept = self._failing.pop(key, {})
            for job, found in kept.items():
                found.wanted = job in named
            kept = {job: each for job, each in kept.items() if each.wanted or now < each.until + _REMEMBERED_SECONDS}
            if kept:
                self._failing[key] = kept

    def is_passing(self, key: Key, job: Job) -> bool:
        """Whether the job's failure is not reported yet: later jobs are then unknown."""
        with self._guard:
            found = self._failing.get(key, {}).get(job)
            return found is not None and not _has_lasted(found)

    def trouble(self, key: Key, dpu: str = "") -> HoldReason | None:
        """The report about a DPU with failed jobs: that of the oldest failure."""
        with self._guard:
            found = sorted(self._reported_locked(key, dpu), key=lambda each: each.since)
        return found[0].why if found else None

    def _reported_locked(self, key: Key, dpu: str) -> Iterator[_Failing]:
        for job, found in self._failing.get(key, {}).items():
            if job.dpu in ("", dpu) and found.wanted and found.why is not None and _has_lasted(found):
                yield found


def _has_lasted(found: _Failing) -> bool:
    return found.lasts or found.last - found.since >= REPORTED_SECONDS
