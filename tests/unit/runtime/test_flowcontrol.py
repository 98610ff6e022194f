from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dpunetop.runtime.flowcontrol import Backoff, ItemBackoff, ItemBudgets, TokenBucket, no_rest, rest_after
from support.clock import FakeClock


def constant(value: float) -> Callable[[], float]:
    return lambda: value


def test_pauses_grow_by_the_factor_up_to_the_cap() -> None:
    backoff = Backoff(0.8, 2.0, 30.0, 1.0, constant(0.0))
    assert [backoff.next() for _ in range(8)] == [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]


def test_after_a_reset_pauses_start_small_again() -> None:
    backoff = Backoff(1.0, 2.0, 30.0, 0.0, constant(0.0))
    assert [backoff.next(), backoff.next()] == [1.0, 2.0]
    backoff.reset()
    assert backoff.next() == 1.0


def test_jitter_comes_on_top_of_the_cap() -> None:
    backoff = Backoff(30.0, 2.0, 30.0, 1.0, constant(0.5))
    assert backoff.next() == 45.0


@given(st.lists(st.one_of(st.floats(0.0, 1.0, exclude_max=True), st.just("reset")), max_size=60))
def test_each_pause_lies_between_its_step_and_its_jittered_step(inputs: list[float | str]) -> None:
    draws: list[float] = []
    backoff = Backoff(0.5, 2.0, 20.0, 0.7, lambda: draws[-1])
    step = 0
    for drawn in inputs:
        if isinstance(drawn, str):
            backoff.reset()
            step = 0
            continue
        draws.append(drawn)
        least = min(20.0, 0.5 * 2.0**step)
        assert least <= backoff.next() <= least * 1.7
        step += 1


def test_a_key_backs_off_from_5_ms_by_doubling_to_1000_s() -> None:
    backoff: ItemBackoff[str] = ItemBackoff()
    pauses = [backoff.next("a") for _ in range(20)]
    assert pauses[:4] == [0.005, 0.01, 0.02, 0.04]
    assert pauses[-3:] == [655.36, 1000.0, 1000.0]


def test_keys_back_off_apart_from_each_other() -> None:
    backoff: ItemBackoff[str] = ItemBackoff()
    for _ in range(5):
        backoff.next("a")
    assert (backoff.next("b"), backoff.failures("a"), backoff.failures("b")) == (0.005, 5, 1)


def test_a_forgotten_key_starts_small_again() -> None:
    backoff: ItemBackoff[str] = ItemBackoff()
    backoff.next("a")
    backoff.forget("a")
    backoff.forget("never seen")
    assert (backoff.failures("a"), backoff.next("a")) == (0, 0.005)


def test_a_million_failures_do_not_overflow() -> None:
    backoff: ItemBackoff[str] = ItemBackoff()
    assert max(backoff.next("a") for _ in range(1_000_000)) == 1000.0


@pytest.mark.parametrize(("base", "cap", "pauses"), [(2.0, 2.0, [2.0, 2.0]), (5.0, 1.0, [1.0, 1.0])])
def test_a_cap_at_or_below_the_base_is_the_pause(base: float, cap: float, pauses: list[float]) -> None:
    backoff: ItemBackoff[str] = ItemBackoff(base, cap)
    assert [backoff.next("a"), backoff.next("a")] == pauses


def test_what_is_given_back_to_a_bucket_can_be_taken_again_but_never_more_than_its_burst() -> None:
    bucket = TokenBucket(2.0, 2, FakeClock())
    bucket.give_back()
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    bucket.give_back()
    assert [bucket.take() for _ in range(2)] == [True, False]


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    clock = FakeClock()
    bucket = TokenBucket(2.0, 3, clock)
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    clock.step(0.5)
    assert [bucket.take(), bucket.take()] == [True, False]


def test_each_key_has_a_budget_of_its_own_that_gives_its_burst_and_then_its_rate() -> None:
    clock = FakeClock()
    budgets: ItemBudgets[str] = ItemBudgets(0.5, 3, 10, clock)
    assert [budgets.take("a") for _ in range(4)] == [True, True, True, False]
    assert budgets.take("b")
    clock.step(0.5)
    assert [budgets.take("a"), budgets.take("a")] == [True, False]


def test_a_budget_that_is_full_again_is_not_kept_and_of_the_others_only_so_many() -> None:
    clock = FakeClock()
    budgets: ItemBudgets[int] = ItemBudgets(0.5, 3, 10, clock)
    for key in range(20):
        budgets.take(key)
    assert len(budgets) == 10
    clock.step(0.5)
    budgets.take(99)
    assert len(budgets) == 1


@given(st.lists(st.one_of(st.just(None), st.integers(1, 40)), max_size=60), st.integers(1, 5))
def test_the_budget_of_a_key_is_a_bucket(steps: list[int | None], burst: int) -> None:
    clock = FakeClock()
    bucket, budgets = TokenBucket(2.0, burst, clock), ItemBudgets[str](0.5, burst, 10, clock)
    for eighths in steps:
        if eighths is None:
            assert budgets.take("a") == bucket.take()
        else:
            clock.step(eighths / 8)


class BucketMachine(RuleBasedStateMachine):
    """H6: within any span of time a bucket hands out at most burst + rate · span tokens, and it does hand them out."""

    @initialize(rate=st.integers(1, 8), burst=st.integers(1, 5))
    def begin(self, rate: int, burst: int) -> None:
        self.clock = FakeClock()
        self.rate, self.burst = rate, burst
        self.bucket = TokenBucket(rate, burst, self.clock)
        self.taken_at: list[float] = []
        self.idle_since = 0.0

    @rule()
    def take(self) -> None:
        now = self.clock.monotonic()
        must = (now - self.idle_since) * self.rate >= 1.0
        got = self.bucket.take()
        assert got or not must
        if got:
            self.taken_at.append(now)
        self.idle_since = now

    @rule(eighths=st.integers(1, 40))
    def tick(self, eighths: int) -> None:
        self.clock.step(eighths / 8)

    @invariant()
    def never_above_burst_and_rate(self) -> None:
        times: list[float] = getattr(self, "taken_at", [])
        for i, first in enumerate(times):
            for j in range(i, len(times)):
                assert j - i + 1 <= self.burst + self.rate * (times[j] - first) + 1e-9


TestBucket: Any = BucketMachine.TestCase


@pytest.mark.parametrize(
    ("cpu", "rest"), [(0.0, 0.0), (0.0009, 0.0), (0.001, 0.2), (0.03, 0.27), (0.1, 0.9), (0.5, 1.0)]
)
def test_what_was_worked_on_rests_for_nine_times_as_long_from_a_fifth_of_a_second_up_to_a_whole_one(
    cpu: float, rest: float
) -> None:
    assert rest_after(cpu) == pytest.approx(rest)
    assert no_rest(cpu) == 0
