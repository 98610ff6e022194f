from __future__ import annotations

from dpunetop.controllers.tenant.answercache import ExpiringCache
from support.clock import FakeClock


def test_an_answer_is_kept_for_its_time_and_about_what_it_was_given() -> None:
    clock = FakeClock()
    answers = ExpiringCache(clock)
    answers.put("a", "may", ("kubeconfig", "ns"), False, 10.0)
    assert answers.get("a", "may", ("kubeconfig", "ns")) is False
    assert answers.get("a", "may", ("another", "ns")) is None
    assert answers.get("b", "may", ("kubeconfig", "ns")) is None
    assert answers.get("a", "has", ("kubeconfig", "ns")) is None
    clock.step(10.0)
    assert answers.get("a", "may", ("kubeconfig", "ns")) is None


def test_of_a_tenant_that_is_forgotten_nothing_is_kept() -> None:
    answers = ExpiringCache(FakeClock())
    answers.put("a", "may", 1, True, 10.0)
    answers.put("b", "may", 1, True, 10.0)
    answers.forget("a")
    answers.forget("c")
    assert (answers.get("a", "may", 1), answers.get("b", "may", 1)) == (None, True)
