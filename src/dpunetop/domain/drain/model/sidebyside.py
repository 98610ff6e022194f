"""Parts of a procedure that only read, done side by side: as long as the slowest, not as all of them together.

For reads whose order says nothing: all come after the call before, and the write after them carries no version that one
of them had to be read before. Where a rule asks for an order, as "no maintenance existed after the read of the Node",
the reads stay one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from dpunetop.domain.drain.model.calls import Answer, Answers, Call, QuorumGet, QuorumList, Read, SideBySide, Steps
from dpunetop.kube.errors import ApiError

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
T = TypeVar("T")


@overload
def side_by_side(_a: Steps[A], _b: Steps[B], /) -> Steps[tuple[A, B]]: ...
@overload
def side_by_side(_a: Steps[A], _b: Steps[B], _c: Steps[C], /) -> Steps[tuple[A, B, C]]: ...
@overload
def side_by_side(_a: Steps[A], _b: Steps[B], _c: Steps[C], _d: Steps[D], /) -> Steps[tuple[A, B, C, D]]: ...
def side_by_side(*parts: Steps[Any]) -> Steps[tuple[Any, ...]]:
    """What the parts end with, in their order. Raises: the first ApiError that a part does not handle."""
    return (yield from each_of(parts))


def each_of(parts: Sequence[Steps[T]]) -> Steps[tuple[T, ...]]:
    """The same for any number of parts of one kind."""
    states = [_Part(part) for part in parts]
    for state in states:
        state.go_on(None)
    while waiting := [state for state in states if state.reads]:
        answers = yield SideBySide(tuple(read for state in waiting for read in state.reads))
        assert isinstance(answers, Answers)
        left = list(answers.each)
        for state in waiting:
            given, left = left[: len(state.reads)], left[len(state.reads) :]
            state.answer(given)
    return tuple(state.end for state in states)


@dataclass(slots=True)
class _Part:
    """One part, as far as it has come."""

    steps: Steps[Any]
    step: Call | SideBySide | None = None
    """What it waits for; None: it has ended."""
    end: Any = None

    @property
    def reads(self) -> tuple[Read, ...]:
        match self.step:
            case None:
                return ()
            case SideBySide():
                return self.step.reads
            case QuorumGet() | QuorumList():
                return (self.step,)
            case _:
                raise TypeError(f"{type(self.step).__name__} is not a read: writes are done one after the other")

    def answer(self, given: list[Answer | ApiError]) -> None:
        self.go_on(Answers(tuple(given)) if isinstance(self.step, SideBySide) else given[0])

    def go_on(self, answer: Answer | Answers | ApiError) -> None:
        try:
            self.step = self.steps.throw(answer) if isinstance(answer, ApiError) else self.steps.send(answer)
        except StopIteration as end:
            self.step, self.end = None, end.value
