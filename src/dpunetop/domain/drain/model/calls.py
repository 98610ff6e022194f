"""Decisions that must look again between their writes: one API call at a time, as data.

A *task* says what is to be done. Its procedure gives the next call, is told the answer, and gives the call after that;
it knows nothing but the task and these answers. So any call may be the last one before a crash, and any other party may
act between two of them: tests do both.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import Enum, auto
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


Call = QuorumGet | QuorumList | Write | Emit
"""An Emit is answered with None and never fails."""
Answer = Obj | tuple[Obj, ...] | None
Steps = Generator[Call, Answer, T]
"""Part of a procedure that ends with a `T`. An ApiError is raised where its call was given."""


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
    """What is to be done, as a value."""

    def run(self) -> Procedure:
        """Begin. Guarantees: the same answers lead to the same calls."""
        ...


@dataclass(frozen=True, slots=True)
class Run:
    """A task as far as it has come: the answers so far, which are all the state it has."""

    task: Task
    answers: tuple[Answer | ApiError, ...] = ()

    def next(self) -> Call | Done:
        """The next call, or the end. Raises: the ApiError that the task does not handle."""
        procedure = self.task.run()
        try:
            call = next(procedure)
            for answer in self.answers:
                call = procedure.throw(answer) if isinstance(answer, ApiError) else procedure.send(answer)
        except StopIteration as end:
            done: Done = end.value
            return done
        return call

    def answered(self, answer: Answer | ApiError) -> Run:
        """One call further."""
        return Run(self.task, (*self.answers, answer))


def drive(task: Task, perform: Callable[[Call], Answer]) -> Done:
    """Carry out a task with `perform`, which does one call. Raises: what `perform` raises and the task leaves."""
    procedure = task.run()
    try:
        call = next(procedure)
        while True:
            try:
                answer = perform(call)
            except ApiError as err:
                call = procedure.throw(err)
            else:
                call = procedure.send(answer)
    except StopIteration as end:
        done: Done = end.value
        return done


def fetch(call: QuorumGet) -> Steps[Obj | None]:
    """Part of a procedure: one object."""
    answer = yield call
    assert not isinstance(answer, tuple)
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
    assert not isinstance(answer, tuple)
    return answer
