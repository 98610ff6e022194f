"""The manager: starts groups of threads in order and stops them in reverse; the order is data."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from structlog.typing import FilteringBoundLogger

from dpunetop.base.clock import Clock
from dpunetop.base.stop import Stop
from dpunetop.runtime.election.gate import LeadershipLost

_CHECK_SECONDS = 1.0


class Outcome(Enum):
    """How a run ended; the value is the exit code for it."""

    STOPPED = 0
    """Stopped on request; all threads have ended."""
    FAILED = 1
    """A thread ended unexpectedly."""
    LEADERSHIP_LOST = 3
    """Leadership lost: another process may be writing, so this one must exit at once. Threads may still run."""
    GRACE_EXCEEDED = 4
    """Stopped on request, but some threads did not end in time. They still run, and the Lease was not released."""


def _at_once(_: Stop) -> object:
    return None


@dataclass(frozen=True)
class Group:
    """Threads that are started and stopped together."""

    name: str
    runs: Mapping[str, Callable[[Stop], None]]
    """The function of each thread, by the thread's name; it returns only after its Stop is set."""
    ready: Callable[[Stop], object] = _at_once
    """Blocks until the next group may start or its Stop is set; raises nothing."""


@dataclass
class _Started:
    group: Group
    stop: Stop
    threads: list[threading.Thread] = field(default_factory=list)


class Manager:
    """Runs groups of threads as one process.

    Guarantees: a group starts when the one before it is ready, and stops when the ones after it have ended; a thread
        that ends unexpectedly stops all groups, in that order; `run` returns within the grace time; once leadership is
        lost, `run` returns at once and the Lease is not released.
    Threads: call `run` once. Set its Stop from another thread than that of `run`, so not in a signal handler.
    """

    def __init__(
        self, groups: Sequence[Group], *, clock: Clock, logger: FilteringBoundLogger, grace_seconds: float = 30.0
    ) -> None:
        self._groups = tuple(groups)
        self._clock = clock
        self._log = logger
        self._grace = grace_seconds
        self._cond = threading.Condition()  # guards _alive and _verdict; notified when either changes
        self._alive: set[str] = set()
        self._verdict = Outcome.STOPPED
        self._started: list[_Started] = []  # only the thread in run uses it

    def run(self, stop: Stop) -> Outcome:
        """Run all groups until `stop` is set or a thread ends; return the outcome.

        The caller exits with the outcome's value, through `os._exit` unless it is STOPPED, since threads may be left.
        """
        halt = stop.child()
        try:
            self._start_all(halt)
            while not halt.wait(_CHECK_SECONDS):
                pass  # wakes regularly, in case the platform blocks a waiting main thread
        finally:
            outcome = self._stop_all()
        return outcome

    def _start_all(self, halt: Stop) -> None:
        for group in self._groups:
            if halt.is_set():
                return
            self._start(group, halt)
            group.ready(halt)

    def _start(self, group: Group, halt: Stop) -> None:
        started = _Started(group, Stop(self._clock))
        self._started.append(started)
        with self._cond:
            self._alive.update(group.runs)
        for name, run in group.runs.items():
            thread = threading.Thread(target=self._guard, args=(name, run, started.stop, halt), name=name)
            started.threads.append(thread)
            thread.start()
        self._log.debug("group started", group=group.name)

    def _guard(self, name: str, run: Callable[[Stop], None], stop: Stop, halt: Stop) -> None:
        verdict = Outcome.FAILED  # for an exception that leaves here; the interpreter shows its traceback
        try:
            run(stop)
            verdict = Outcome.STOPPED if stop.is_set() else Outcome.FAILED
        except LeadershipLost as err:
            verdict = Outcome.LEADERSHIP_LOST
            self._log.error("leadership lost", thread=name, error=str(err))
        finally:
            self._ended(name, verdict)
            if verdict is not Outcome.STOPPED:
                halt.set()

    def _ended(self, name: str, verdict: Outcome) -> None:
        if verdict is Outcome.FAILED:
            self._log.error("thread ended unexpectedly", thread=name)
        with self._cond:
            self._alive.discard(name)
            if verdict is not Outcome.STOPPED and self._verdict is not Outcome.LEADERSHIP_LOST:
                self._verdict = verdict
            self._cond.notify_all()

    def _stop_all(self) -> Outcome:
        deadline = self._clock.monotonic() + self._grace
        for started in reversed(self._started):
            if not self._is_lost():
                started.stop.set()
                self._wait_ended(started, deadline)
            if self._is_lost():
                return self._leave()
            if remaining := self._remaining(started):
                self._log.error("grace time exceeded", group=started.group.name, threads=sorted(remaining))
                return Outcome.GRACE_EXCEEDED
            for thread in started.threads:
                thread.join()
            self._log.debug("group stopped", group=started.group.name)
        with self._cond:
            return self._verdict

    def _leave(self) -> Outcome:
        for started in self._started:
            started.stop.set()
        return Outcome.LEADERSHIP_LOST

    def _wait_ended(self, started: _Started, deadline: float) -> None:
        with self._cond:
            while self._alive & set(started.group.runs) and self._verdict is not Outcome.LEADERSHIP_LOST:
                left = deadline - self._clock.monotonic()
                if left <= 0:
                    return
                self._clock.wait(self._cond, left)

    def _remaining(self, started: _Started) -> set[str]:
        with self._cond:
            return self._alive & set(started.group.runs)

    def _is_lost(self) -> bool:
        with self._cond:
            return self._verdict is Outcome.LEADERSHIP_LOST
