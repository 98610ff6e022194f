"""Stopping: a latch that is set once and wakes every waiter; the counterpart of a Go context."""

from __future__ import annotations

import threading
from collections.abc import Callable

from dpunetop.base.clock import Clock, RealClock


class Stopped(Exception):
    """Work ended because its Stop is set; this is no error, and no further step was begun."""


class Stop:
    """A set-once latch that every blocking call takes.

    Guarantees: once set it stays set. Setting a parent sets its children before the first callback of either runs;
        setting a child leaves the parent unset. Each callback runs exactly once, in the thread that sets the latch,
        or at once if the latch is set already.
    Threads: all methods from any thread. Callbacks run without a lock held.
    """

    def __init__(self, clock: Clock | None = None, parent: Stop | None = None) -> None:
        self._clock = clock or RealClock()
        self._parent = parent
        self._cond = threading.Condition()  # guards _set and _callbacks; _callbacks is empty once _set is true
        self._set = False
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._next_token = 0

    def __repr__(self) -> str:
        return f"<Stop {'set' if self._set else 'not set'}>"

    def is_set(self) -> bool:
        """Whether the latch is set."""
        return self._set or (self._parent is not None and self._parent.is_set())

    def set(self) -> None:
        """Set the latch, wake all waiters, run all callbacks."""
        with self._cond:
            if self._set:
                return
            self._set = True
            callbacks = list(self._callbacks.values())
            self._callbacks.clear()
            self._cond.notify_all()
        for callback in callbacks:
            callback()

    def wait(self, timeout: float | None) -> bool:
        """Wait until set, for `timeout` seconds at most (None: no limit); return whether it is set."""
        deadline = None if timeout is None else self._clock.monotonic() + timeout
        with self._cond:
            while not self._set:
                left = None if deadline is None else deadline - self._clock.monotonic()
                if left is not None and left <= 0:
                    break
                self._clock.wait(self._cond, left)
            return self._set

    def on_set(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Run `callback` when the latch is set, for example to close a socket; returns its unregister function."""
        with self._cond:
            if not self._set:
                token = self._next_token
                self._next_token += 1
                self._callbacks[token] = callback
                return lambda: self._forget(token)
        callback()
        return lambda: None

    def child(self) -> Stop:
        """A latch that is set with this one, and may be set earlier on its own."""
        child = Stop(self._clock, self)
        forget = self.on_set(child.set)
        child.on_set(forget)
        return child

    def _forget(self, token: int) -> None:
        with self._cond:
            self._callbacks.pop(token, None)
