"""Tasks that are repeated and change nothing: slowed down, reported, and followed by a relist of the cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dpunetop.base.clock import Clock
from dpunetop.domain.drain.model.calls import Done, Result, Task
from dpunetop.domain.drain.model.facts import HoldReason, Reason
from dpunetop.kube.keys import INFRA, Key

SAID_SECONDS = 10.0
"""Longer than a watch lags behind on a loaded server; until then it is not reported."""
READ_ANEW_SECONDS = 30.0
_APART_SECONDS = 600.0
"""Least time between two relists of a cluster, so that they do not overload its server."""
_FREE_TRIES = 3
"""The number of times that a task is repeated without a pause; a key that its own write wakes would never rest."""
_PACE_SECONDS = 0.5
_SLOW_SECONDS = 5.0


@dataclass(slots=True)
class _Trial:
    since: float
    note: str
    tries: int = 0
    last: float = 0.0


class StallDetector:
    """Counts for each host how long the same task has been wanted, however often it was done.

    A task reads everything before it writes. If the server's state differs from the cache, a watch lags, or it follows
    a history that the server no longer has: a cluster was restored from an older state, and has since written as many
    changes as it lost. No watch shows that, and only a relist ends it.
    Threads: any; one at a time for each key.
    """

    def __init__(self, clock: Clock, read_anew: Callable[[str], None]) -> None:
        """`read_anew` relists everything that is watched of the cluster of that name."""
        self._clock = clock
        self._read_anew = read_anew
        self._guard = threading.Lock()  # guards the two below
        self._trials: dict[Key, dict[str, _Trial]] = {}
        self._read_at: dict[str, float] = {}  # cluster -> monotonic

    def forget(self, key: Key) -> None:
        """Drop the counts of a host that is no longer ours."""
        with self._guard:
            self._trials.pop(key, None)

    def wanted(self, key: Key, tasks: Iterable[Task]) -> None:
        """Take all tasks that the host wants now: the counts of others end, and the rests of new ones begin."""
        rests, now = {identity(task): _rest_seconds(task) for task in tasks}, self._clock.monotonic()
        with self._guard:
            kept = {name: trial for name, trial in self._trials.pop(key, {}).items() if name in rests}
            for name in (name for name, seconds in rests.items() if seconds):
                kept.setdefault(name, _Trial(now, ""))
            if kept:
                self._trials[key] = kept

    def pause(self, key: Key, task: Task) -> float:
        """Seconds to wait before the task is done, or repeated; 0: none."""
        with self._guard:
            trial = self._trials.get(key, {}).get(identity(task))
        if trial is not None and trial.tries == 0:
            return max(0.0, trial.since + _rest_seconds(task) - self._clock.monotonic())
        if trial is None or trial.tries < _FREE_TRIES:
            return 0.0
        pace = _SLOW_SECONDS if trial.last - trial.since >= SAID_SECONDS else _PACE_SECONDS
        return max(0.0, trial.last + pace - self._clock.monotonic())

    def tried(self, key: Key, task: Task, done: Done) -> None:
        """Count the outcome of a task; one that was refused has its own pause, and does not count."""
        if done.result is Result.REFUSED:
            return
        now = self._clock.monotonic()
        with self._guard:
            trial = self._trials.setdefault(key, {}).setdefault(identity(task), _Trial(now, done.note))
            trial.tries, trial.last = trial.tries + 1, now
            due = self._due_locked(now, key) if now - trial.since >= READ_ANEW_SECONDS else []
        for cluster in due:
            self._read_anew(cluster)

    def hold(self, key: Key) -> HoldReason | None:
        """The report about a task that has changed nothing for long; None: there is none."""
        with self._guard:
            trials = list(self._trials.get(key, {}).values())
        vain = next((trial for trial in trials if trial.last - trial.since >= SAID_SECONDS), None)
        if vain is None:
            return None
        return HoldReason(Reason.CACHE_CONTRADICTED, f"the watch cache contradicts the API server: {vain.note}")

    def _due_locked(self, now: float, key: Key) -> list[str]:
        last = {name: self._read_at.get(name) for name in (INFRA, key.cluster)}
        due = [name for name, read_at in last.items() if read_at is None or now - read_at >= _APART_SECONDS]
        self._read_at.update(dict.fromkeys(due, now))
        return due


def _rest_seconds(task: Task) -> float:
    """How long a task is wanted before it is done, by its member of that name."""
    return float(getattr(task, "rest_seconds", 0.0))


def identity(task: Task) -> str:
    """The kind and the DPU of a task: two with the same identity are the same job, even if their content differs."""
    return f"{type(task).__name__} {getattr(task, 'dpu', '')}"
