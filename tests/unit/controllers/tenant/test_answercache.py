from __future__ import annotations

import pytest

from dpunetop.controllers.tenant.answercache import ExpiringCache, Question
from dpunetop.kube.errors import ApiError
from support.clock import FakeClock

MAY: Question[bool] = Question("may")
HAS: Question[bool] = Question("has")


def test_an_answer_is_kept_for_its_time_and_about_what_it_was_given() -> None:
    clock = FakeClock()
    answers = ExpiringCache(clock)
    answers.put(MAY, ("kubeconfig", "ns"), False, 10.0)
    assert answers.get(MAY, ("kubeconfig", "ns")) is False
    assert answers.get(MAY, ("another", "ns")) is None
    assert answers.get(HAS, ("kubeconfig", "ns")) is None
    clock.step(10.0)
    assert answers.get(MAY, ("kubeconfig", "ns")) is None


def test_a_question_is_asked_once_in_its_time_and_again_after_an_error() -> None:
    clock, asked = FakeClock(), list[int]()
    answers = ExpiringCache(clock)

    def ask() -> bool:
        asked.append(1)
        if len(asked) == 1:
            raise ApiError(500, "InternalError", "")
        return False

    with pytest.raises(ApiError):
        answers.cached(MAY, "", ask, 10.0)
    assert [answers.cached(MAY, "", ask, 10.0) for _ in range(2)] == [False, False]
    assert len(asked) == 2
    clock.step(10.0)
    answers.cached(MAY, "", ask, 10.0)
    assert len(asked) == 3
