"""The threads that step the informers of one cluster: as many as have work at a time, and one when all is quiet."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import structlog

from dpunetop.base.clock import Clock
from dpunetop.runtime.workqueue import QueueState

K = TypeVar("K", bound=Hashable)

MOST_WORKERS = 32
"""At most this many wait for the server at a time, so an outage costs at most this many threads."""
_BROKEN_SECONDS = 1.0


class Workers(Generic[K]):
    """Threads that work on keys.

    Guarantees: after every `add` a `work` of that key begins, one at a time per key. If `work` returns a pause, it runs
        again after that many seconds, or earlier if the key is added. The first thread stays; another one ends when it
        finds nothing to do while one is idle.
    Threads: all methods from any thread.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        work: Callable[[K], float | None],
        on_broken: Callable[[K], None],
        most: int = MOST_WORKERS,
    ) -> None:
        """`on_broken` is called with a key whose `work` raised, in the thread that ends by it; the key is worked on
        again after a second."""
        self._name = name
        self._clock = clock
        self._work = work
        self._on_broken = on_broken
        self._most = most
        self._cond = threading.Condition()  # guards all below; idle threads wait on it
        self._state: QueueState[K] = QueueState()
        self._first: threading.Thread | None = None
        self._idle = 0  # threads that wait
        self._busy = 0  # threads that do not
        self._threads: list[threading.Thread] = []  # that may be alive

    def add(self, key: K) -> None:
        """Work on `key`; no effect after `end`."""
        with self._cond:
            if self._state.add(key, self._clock.monotonic()):
                self._staff_locked()

    def staff(self) -> None:
        """Start a thread if there is work and none; an earlier start may have failed."""
        with self._cond:
            self._staff_if_needed_locked()

    def end(self) -> None:
        """Accept no more keys and drop pausing ones; keys added before are still worked on."""
        with self._cond:
            self._state.close()
            self._cond.notify_all()

    def alive(self) -> list[threading.Thread]:
        """The threads that may still run."""
        with self._cond:
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            return list(self._threads)

    def _staff_locked(self) -> None:
        if self._idle:
            self._cond.notify()
        elif self._busy < self._most:
            self._start_locked()

    def _staff_if_needed_locked(self) -> None:
        if len(self._state) or self._state.next_due() is not None:
            self._staff_locked()

    def _start_locked(self) -> None:
        thread = threading.Thread(target=self._run, name=f"caches {self._name}")
        self._threads = [other for other in self._threads if other.is_alive()]
        try:
            thread.start()
        except RuntimeError as err:  # the process may have no more threads
            structlog.get_logger().warning("no thread could be started", cluster=self._name, error=str(err))
            return
        self._first = self._first or thread
        self._busy += 1
        self._threads.append(thread)

    def _run(self) -> None:
        while (key := self._next()) is not None:
            self._work_on(key)

    def _work_on(self, key: K) -> None:
        has_ended = False
        try:
            pause = self._work(key)
            has_ended = True
        finally:
            if not has_ended:  # by an exception, which the interpreter shows
                self._broke(key)
        with self._cond:
            now = self._clock.monotonic()
            self._state.done(key, now)
            if pause is not None:
                self._state.add_at(key, now + pause)
                if self._idle:
                    self._cond.notify()  # it may be due before all others

    def _broke(self, key: K) -> None:
        with self._cond:
            now = self._clock.monotonic()
            self._state.done(key, now)
            self._state.add_at(key, now + _BROKEN_SECONDS)
            self._busy -= 1
            if self._first is threading.current_thread():
                self._first = None
            self._staff_if_needed_locked()
        self._on_broken(key)

    def _next(self) -> K | None:
        """The next key; None if this thread is no longer needed."""
        with self._cond:
            while True:
                now = self._clock.monotonic()
                self._state.promote(now)
                if (taken := self._state.take(now)) is not None:
                    self._staff_if_needed_locked()
                    return taken[0]
                if self._state.closed or (self._idle and self._first is not threading.current_thread()):
                    self._busy -= 1
                    return None
                self._cond.notify()  # who is idle already may go
                self._wait_locked(now)

    def _wait_locked(self, now: float) -> None:
        due = self._state.next_due()
        self._idle, self._busy = self._idle + 1, self._busy - 1
        try:
            if due is None:
                self._cond.wait()
            else:
                self._clock.wait(self._cond, due - now)
        finally:
            self._idle, self._busy = self._idle - 1, self._busy + 1
