from __future__ import annotations

from dataclasses import dataclass

import pytest

from dpunetop.domain.drain.model.calls import (
    Answer,
    Answers,
    Call,
    Done,
    Procedure,
    QuorumGet,
    QuorumList,
    Result,
    Run,
    SideBySide,
    drive,
    fetch,
    fetch_all,
)
from dpunetop.kube.errors import Conflict, NotFound
from dpunetop.kube.keys import INFRA, NODES, PODS

GET = QuorumGet(INFRA, NODES, "", "a")
LIST = QuorumList(INFRA, PODS, "ns")
CONFLICT = Conflict(409, "Conflict", "")


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
    assert Run(Example()).answered(CONFLICT).next() == Done(Result.STALE, "conflict")


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
        raise CONFLICT

    assert drive(Example(), perform) == Done(Result.STALE, "conflict")


def test_driving_a_task_raises_what_it_does_not_mind() -> None:
    def perform(call: Call) -> Answer:
        raise NotFound(404, "NotFound", "")

    with pytest.raises(NotFound):
        drive(Example(), perform)


@dataclass(frozen=True, slots=True)
class Beside:
    """Reads three objects side by side, then one."""

    def run(self) -> Procedure:
        answers = yield SideBySide(THREE)
        assert isinstance(answers, Answers)
        last = yield from fetch(GET)
        return Done(Result.DONE, f"{answers.each} {last}")


THREE = tuple(QuorumGet(INFRA, NODES, "", name) for name in ("x", "y", "z"))


@pytest.mark.parametrize("shift", range(4))
def test_a_run_gives_reads_side_by_side_one_by_one_in_any_order_and_tells_them_in_their_own(shift: int) -> None:
    run, seen = Run(Beside(), shift=shift), []
    while isinstance(call := run.next(), QuorumGet):
        seen.append(call)
        run = run.answered({call.name: 1})
    begin = shift % 3
    assert seen == [*THREE[begin:], *THREE[:begin], GET]
    assert run.next() == Done(Result.DONE, "({'x': 1}, {'y': 1}, {'z': 1}) {'a': 1}")


def test_an_error_of_one_of_the_reads_side_by_side_is_told_with_the_answers_of_the_others() -> None:
    def perform(call: Call) -> Answer:
        assert isinstance(call, QuorumGet)
        if call.name == "y":
            raise CONFLICT
        return {}

    assert drive(Beside(), perform).note == f"{({}, CONFLICT, {})} {{}}"
    run = Run(Beside(), (CONFLICT, {}, {}, {}), shift=1)
    assert run.next() == Done(Result.DONE, f"{({}, CONFLICT, {})} {{}}")


def test_reads_side_by_side_are_handed_over_together_to_who_can_do_them_so() -> None:
    handed: list[object] = []

    def read_all(reads: tuple[object, ...]) -> Answers:
        handed.append(reads)
        return Answers((None,) * len(reads))

    assert drive(Beside(), lambda _: None, read_all).result is Result.DONE
    assert handed == [THREE]
