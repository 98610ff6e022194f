"""Parts of procedures that only read are done at once, and end as they would alone."""

from __future__ import annotations

import pytest

from dpunetop.domain.drain.model.calls import Answer, Answers, QuorumGet, QuorumList, SideBySide, Steps, Write, fetch
from dpunetop.domain.drain.model.sidebyside import each_of, side_by_side
from dpunetop.kube.errors import ApiError, Conflict, NotFound
from dpunetop.kube.keys import INFRA, NODES, PODS
from dpunetop.kube.plan import Delete

GONE = NotFound(404, "NotFound", "")
LIST = QuorumList(INFRA, PODS, "ns")


def get(name: str) -> QuorumGet:
    return QuorumGet(INFRA, NODES, "", name)


def one(name: str) -> Steps[str]:
    answer = yield from fetch(get(name))
    return f"{name}={answer}"


def two(name: str) -> Steps[list[str]]:
    first = yield from one(f"{name}1")
    return [first, (yield from one(f"{name}2"))]


def forgiving(name: str) -> Steps[str]:
    try:
        return (yield from one(name))
    except NotFound:
        return "none"


def writing() -> Steps[None]:
    yield Write(Delete(INFRA, NODES, {"metadata": {"name": "n"}}))


def rounds(steps: Steps[object], *answers: tuple[Answer | ApiError, ...]) -> tuple[list[tuple[str, ...]], object]:
    """What was asked for, round by round, and the end."""
    asked = []
    try:
        step = next(steps)
        for answer in answers:
            assert isinstance(step, SideBySide)
            asked.append(tuple(read.name if isinstance(read, QuorumGet) else "list" for read in step.reads))
            step = steps.send(Answers(answer))
    except StopIteration as end:
        return asked, end.value
    raise AssertionError(f"goes on with {step}")


def test_the_first_reads_of_all_parts_are_asked_for_at_once_then_the_second_ones() -> None:
    found = rounds(side_by_side(two("a"), one("b"), two("c")), (None, {}, None), ({}, None))
    end = (["a1=None", "a2={}"], "b={}", ["c1=None", "c2=None"])
    assert found == ([("a1", "b", "c1"), ("a2", "c2")], end)


def test_parts_within_parts_are_asked_for_in_the_same_round() -> None:
    nested = side_by_side(each_of([one("a"), one("b")]), one("c"))
    assert rounds(nested, (None, {}, None)) == ([("a", "b", "c")], (("a=None", "b={}"), "c=None"))


def test_parts_that_ask_nothing_need_no_round() -> None:
    assert rounds(each_of([])) == ([], ())


def test_an_error_is_raised_in_the_part_whose_read_it_ended() -> None:
    found = rounds(side_by_side(one("a"), forgiving("b")), (None, GONE))
    assert found == ([("a", "b")], ("a=None", "none"))
    with pytest.raises(NotFound):
        rounds(side_by_side(forgiving("a"), one("b")), (None, GONE))


def test_of_two_errors_that_of_the_first_part_is_raised() -> None:
    with pytest.raises(Conflict):
        rounds(side_by_side(one("a"), one("b")), (Conflict(409, "Conflict", ""), GONE))


def test_a_part_that_writes_is_refused() -> None:
    with pytest.raises(TypeError, match="Write is not a read"):
        rounds(side_by_side(one("a"), writing()), (None, None))
