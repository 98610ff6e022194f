from __future__ import annotations

from dataclasses import dataclass

import pytest

from dpunetop.domain.drain.model.calls import (
    Answer,
    Call,
    Done,
    Procedure,
    QuorumGet,
    QuorumList,
    Result,
    Run,
    drive,
    fetch,
    fetch_all,
)
from dpunetop.kube.errors import Conflict, NotFound
from dpunetop.kube.keys import INFRA, NODES, PODS

GET = QuorumGet(INFRA, NODES, "", "a")
LIST = QuorumList(INFRA, PODS, "ns")


@dataclass(frozen=True, slots=True)
class Example:
    """Reads one object, then a collection; minds a conflict at the first."""

    def run(self) -> Procedure:
        try:
            found = yield from fetch(GET)
        except Conflict:
            return Done(Result.STALE, "conflict")
        objs = yield from fetch_all(LIST)
        return Done(Result.DONE, f"{found} {len(objs)}")


def test_a_run_gives_one_call_after_the_other_and_then_the_end() -> None:
    run = Run(Example())
    assert run.next() == GET
    run = run.answered(None)
    assert run.next() == LIST
    assert run.answered(({}, {})).next() == Done(Result.DONE, "None 2")


def test_a_run_can_be_gone_on_with_from_any_point_more_than_once() -> None:
    run = Run(Example()).answered({"a": 1})
    assert run.answered(()).next() == Done(Result.DONE, "{'a': 1} 0")
    assert run.answered(({},)).next() == Done(Result.DONE, "{'a': 1} 1")


def test_an_error_that_the_task_minds_is_an_answer() -> None:
    assert Run(Example()).answered(Conflict(409, "Conflict", "")).next() == Done(Result.STALE, "conflict")


def test_an_error_that_the_task_does_not_mind_ends_it() -> None:
    with pytest.raises(NotFound):
        Run(Example()).answered(NotFound(404, "NotFound", "")).next()


def test_driving_a_task_takes_the_same_calls_as_running_it_step_by_step() -> None:
    taken: list[Call] = []

    def perform(call: Call) -> Answer:
        taken.append(call)
        return None if call == GET else ({},)

    assert drive(Example(), perform) == Done(Result.DONE, "None 1")
    assert taken == [GET, LIST]


def test_driving_a_task_hands_it_the_errors_of_its_calls() -> None:
    def perform(call: Call) -> Answer:
        raise Conflict(409, "Conflict", "")

    assert drive(Example(), perform) == Done(Result.STALE, "conflict")


def test_driving_a_task_raises_what_it_does_not_mind() -> None:
    def perform(call: Call) -> Answer:
        raise NotFound(404, "NotFound", "")

    with pytest.raises(NotFound):
        drive(Example(), perform)
