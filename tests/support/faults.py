"""Faults that strike at a chosen write: what is done, when exactly, and what becomes of the request."""

from __future__ import annotations

import contextlib
import enum
import threading
import time
from collections.abc import Callable, Iterator

from dpunetop.sandbox import processes
from support.trace import Asked, is_counted

_DEBOUNCE_SECONDS = 0.25  # for the kernel to close the connections of a killed process, on a busy machine too


class Phase(enum.Enum):
    """How far the write has come when the fault strikes."""

    BEFORE_FORWARD = "before-forward"
    """The server has not seen it."""
    COMMITTED_NOT_ANSWERED = "committed-not-answered"
    """The server has done it; the operator does not know."""
    ANSWERED = "answered"
    """The operator has had the answer for some milliseconds, and has not got another write through."""


class Then(enum.Enum):
    """What becomes of the request, or of its answer, after the strike; nothing of it is left in phase ANSWERED."""

    PASS = "pass"
    """It goes on."""
    DROP = "drop"
    """It is lost, and the connection is reset."""
    HOLD = "hold"
    """It goes on when the fault is released, unless the operator has given up."""


class Fault:
    """Something that happens once, at write number `at` of both clusters.

    Guarantees: `strike` acts the first time only; `fired` is set after the act.
    Threads: any.
    """

    def __init__(self, at: int, phase: Phase, act: Callable[[], None], then: Then) -> None:
        self.at = at
        self.phase = phase
        self.then = then
        self.fired = threading.Event()
        self.released = threading.Event()
        self.struck: Asked | None = None  # written before `fired` is set, read after
        self._act = act
        self._once = threading.Lock()  # taken for ever by whoever strikes

    def __repr__(self) -> str:
        struck = "armed" if self.struck is None else f"struck {self.struck.method} {self.struck.path}"
        return f"<Fault {self.phase.value} {self.at} {struck}>"

    def strike(self, asked: Asked) -> None:
        """Act, at this request."""
        if self._once.acquire(blocking=False):
            self._act()
            self.struck = asked
            self.fired.set()

    def release(self) -> None:
        """Let go of what the fault holds."""
        self.released.set()


Pid = Callable[[], int]


def kill(at: int, phase: Phase, pid: Pid) -> Fault:
    """SIGKILL at a write; a request that was not forwarded never is."""
    return Fault(at, phase, lambda: _if_there(processes.kill, pid()), Then.DROP)


def stop(at: int, phase: Phase, pid: Pid) -> Fault:
    """SIGSTOP at a write; the request, or its answer, waits for `release`."""
    return Fault(at, phase, lambda: _if_there(processes.pause, pid()), Then.HOLD)


def drop_ack(at: int) -> Fault:
    """The write is committed, and the operator sees a reset connection instead of an answer."""
    return Fault(at, Phase.COMMITTED_NOT_ANSWERED, lambda: None, Then.DROP)


def _if_there(act: Callable[[int], None], pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        act(pid)


class WriteCounter:
    """Counts the effective writes of the operator in both clusters, and strikes with faults at their number.

    Guarantees: while a fault is armed, one counted write is under way at a time, in all proxies that share the
        counter, so that a fault at k finds k - 1 writes committed before (BEFORE_FORWARD), or k (the other phases).
        After a strike the next writes wait a moment, in which those of a killed process vanish with its connections.
        Effectiveness shows in the answer only: BEFORE_FORWARD strikes at the first attempt after write k - 1.
    Threads: any.
    """

    def __init__(self, counts: Callable[[Asked], bool] = is_counted) -> None:
        self.counts = counts
        self._guard = threading.Lock()  # guards all below
        self._effective = 0
        self._under_way = 0
        self._armed: list[Fault] = []
        self._calm_at = 0.0  # monotonic time from which writes may begin again

    def __repr__(self) -> str:
        return f"<WriteCounter {self.effective} effective, armed {self._armed}>"

    @property
    def effective(self) -> int:
        """How many effective writes there were."""
        with self._guard:
            return self._effective

    def arm(self, fault: Fault) -> Fault:
        """Have a fault strike; the fault."""
        with self._guard:
            self._armed.append(fault)
        return fault

    def try_begin(self) -> bool:
        """Whether a counted write may go ahead now; if so, `end` must follow."""
        with self._guard:
            if time.monotonic() < self._calm_at or (self._armed and self._under_way):
                return False
            self._under_way += 1
            return True

    def end(self) -> None:
        """A write that began is over."""
        with self._guard:
            self._under_way -= 1

    @contextlib.contextmanager
    def stepped_aside(self) -> Iterator[None]:
        """While a write that began is held, it is in nobody's way."""
        self.end()
        try:
            yield
        finally:
            with self._guard:
                self._under_way += 1

    def count(self) -> int:
        """One more effective write was committed; its number."""
        with self._guard:
            self._effective += 1
            return self._effective

    def due_before(self) -> list[Fault]:
        """The faults that strike at a write which is about to be forwarded."""
        with self._guard:
            return self._due_locked(Phase.BEFORE_FORWARD, self._effective + 1)

    def due_at(self, phase: Phase, write: int) -> list[Fault]:
        """The faults that strike at effective write number `write`."""
        with self._guard:
            return self._due_locked(phase, write)

    def struck(self, fault: Fault) -> None:
        """A fault has struck and will not again."""
        with self._guard:
            self._armed.remove(fault)
            self._calm_at = time.monotonic() + _DEBOUNCE_SECONDS

    def _due_locked(self, phase: Phase, write: int) -> list[Fault]:
        return [fault for fault in self._armed if fault.phase is phase and fault.at <= write]
