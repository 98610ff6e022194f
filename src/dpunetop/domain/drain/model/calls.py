"""Decisions that must look again between their writes: API calls as data.

A *task* says what is to be done. Its procedure gives the next call, is told the answer, and gives the call after that;
it knows nothing but the task and these answers. So any call may be the last one before a crash, and any other party may
act between two of them: tests do both. Reads that do not depend on each other are given at once (`sidebyside`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Protocol, TypeVar

from dpunetop.kube.errors import ApiError, Conflict
from dpunetop.kube.keys import Resource
from dpunetop.kube.meta import Obj
from dpunetop.kube.plan import Apply, Delete, Emit, Patch

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class QuorumGet:
    """Ask the API server, not a cache, for one object. Answer: the object, or None if there is none."""

    cluster: str
    resource: Resource
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class QuorumList:
    """Ask the API server, not a cache, for all objects of a collection. Answer: a tuple, complete.

    `labels` and `fields` are selectors as text; empty selects all.
    """

    cluster: str
    resource: Resource
    namespace: str
    labels: str = ""
    fields: str = ""


@dataclass(frozen=True, slots=True)
class Write:
    """Send one write, always: what it expects is the point of it, even where it changes nothing.

    Answer: the object as the server shows it afterwards; None for a Delete.
    """

    step: Apply | Patch | Delete


Read = QuorumGet | QuorumList
Call = Read | Write | Emit
"""An Emit is answered with None and never fails."""
Answer = Obj | tuple[Obj, ...] | None


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Reads of which none depends on another: all after the call before, in any order. Answer: `Answers`."""

    reads: tuple[Read, ...]


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of reads side by side, in their order; an error stands for the answer of the read that it ended."""

    each: tuple[Answer | ApiError, ...]


Steps = Generator[Call | SideBySide, Answer | Answers, T]
"""Part of a procedure that ends with a `T`. The ApiError of a single call is raised where the call was given."""


class Result(Enum):
    """How a task ended, when no ApiError ended it."""

    DONE = auto()
    """It did what it was for; the caches will show it."""
    STALE = auto()
    """The server shows something else than the view did: look again, after a moment if nothing wakes."""
    REFUSED = auto()
    """The API server does not want it; that is written down, and tried again only after a while."""


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a task; `note` is one line for the log."""

    result: Result
    note: str = ""


Procedure = Steps[Done]


class Task(Protocol):
    """A task as a value."""

    def run(self) -> Procedure:
        """Begin. Guarantees: the same answers lead to the same calls."""
        ...


@dataclass(frozen=True, slots=True)
class Run:
    """A task as far as it has come: the answers so far, which are all the state it has.

    Reads side by side are given one by one, so that any other party may act between two of them.
    """

    task: Task
    answers: tuple[Answer | ApiError, ...] = ()
    shift: int = 0
    """With which of the reads side by side it begins, modulo their number: servers may see them in any order."""

    def next(self) -> Call | Done:
        """The next call, or the end. Raises: the ApiError that the task does not handle."""
        procedure, left = self.task.run(), list(self.answers)
        try:
            step = next(procedure)
            while True:
                reads = self._shifted(step) if isinstance(step, SideBySide) else (step,)
                if len(left) < len(reads):
                    return reads[len(left)]
                given, left = left[: len(reads)], left[len(reads) :]
                step = self._send(procedure, step, given)
        except StopIteration as end:
            done: Done = end.value
            return done

    def answered(self, answer: Answer | ApiError) -> Run:
        """One call further."""
        return Run(self.task, (*self.answers, answer), self.shift)

    def _shifted(self, step: SideBySide) -> tuple[Read, ...]:
        begin = self.shift % len(step.reads)
        return step.reads[begin:] + step.reads[:begin]

    def _send(self, procedure: Procedure, step: Call | SideBySide, given: list[Answer | ApiError]) -> Call | SideBySide:
        if isinstance(step, SideBySide):
            begin = -self.shift % len(step.reads)
            return procedure.send(Answers((*given[begin:], *given[:begin])))
        return procedure.throw(given[0]) if isinstance(given[0], ApiError) else procedure.send(given[0])


def drive(
    task: Task, perform: Callable[[Call], Answer], read_all: Callable[[tuple[Read, ...]], Answers] | None = None
) -> Done:
    """Carry out a task with `perform`, which does one call, and `read_all`, which does reads side by side; without it
    they are done one after the other. Raises: what these raise and the task leaves."""
    procedure = task.run()
    read_all = read_all or partial(_read_in_turn, perform)
    try:
        step = next(procedure)
        while True:
            try:
                answer = read_all(step.reads) if isinstance(step, SideBySide) else perform(step)
            except ApiError as err:
                step = procedure.throw(err)
            else:
                step = procedure.send(answer)
    except StopIteration as end:
        done: Done = end.value
        return done


def _read_in_turn(perform: Callable[[Call], Answer], reads: tuple[Read, ...]) -> Answers:
    return Answers(tuple(answer_or_error(perform, read) for read in reads))


def answer_or_error(perform: Callable[[Call], Answer], read: Read) -> Answer | ApiError:
    """The answer of one of several reads, or the ApiError that ended it, which ends no other. Raises: any other."""
    try:
        return perform(read)
    except ApiError as err:
        return err


def fetch(call: QuorumGet) -> Steps[Obj | None]:
    """Part of a procedure: one object."""
    answer = yield call
    assert not isinstance(answer, tuple | Answers)
    return answer


def fetch_all(call: QuorumList) -> Steps[tuple[Obj, ...]]:
    """Part of a procedure: a whole collection."""
    answer = yield call
    assert isinstance(answer, tuple)
    return answer


def attempt(step: Apply | Patch) -> Steps[bool]:
    """Part of a procedure: a write of what a cache has shown; whether it stands. If not, that was outdated."""
    try:
        yield from store(step)
    except Conflict:
        return False
    return True


def store(step: Apply | Patch) -> Steps[Obj]:
    """Part of a procedure: a write, and what it left."""
    answer = yield Write(step)
    assert answer is not None
    assert not isinstance(answer, tuple | Answers)
    return answer
