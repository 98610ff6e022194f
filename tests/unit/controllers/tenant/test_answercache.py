from __future__ import annotations

from dpunetop.controllers.tenant.answercache import ExpiringCache, Question
from support.clock import FakeClock

MAY: Question[bool] = Question("may")
HAS: Question[bool] = Question("has")


def test_an_answer_is_kept_for_its_time_and_about_what_it_was_given() -> None:
    clock = FakeClock()
    answers = ExpiringCache(clock)
    answers.put("a", MAY, ("kubeconfig", "ns"), False, 10.0)
    assert answers.get("a", MAY, ("kubeconfig", "ns")) is False
    assert answers.get("a", MAY, ("another", "ns")) is None
    assert answers.get("b", MAY, ("kubeconfig", "ns")) is None
    assert answers.get("a", HAS, ("kubeconfig", "ns")) is None
    clock.step(10.0)
    assert answers.get("a", MAY, ("kubeconfig", "ns")) is None


def test_of_a_tenant_that_is_forgotten_nothing_is_kept() -> None:
    answers = ExpiringCache(FakeClock())
    answers.put("a", MAY, 1, True, 10.0)
    answers.put("b", MAY, 1, True, 10.0)
    answers.forget("a")
    answers.forget("c")
    assert (answers.get("a", MAY, 1), answers.get("b", MAY, 1)) == (None, True)
