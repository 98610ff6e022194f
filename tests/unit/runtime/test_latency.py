"""Slow clusters are told by their calls; who works for them finds room for so many, all of them together."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from dpunetop.runtime.latency import CALM_SECONDS, SLOW_SECONDS, Bulkhead, CallLatencies, Delayed
from support.clock import FakeClock


class Bench:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.latencies = CallLatencies(self.clock)

    def call(self, cluster: str, seconds: float) -> None:
        with self.latencies.call(cluster):
            self.clock.step(seconds)


def test_a_cluster_is_slow_while_a_call_is_unanswered_for_long_and_for_a_while_after_one_that_was() -> None:
    bench = Bench()
    with bench.latencies.call("t"):
        bench.clock.step(SLOW_SECONDS - 0.001)
        assert not bench.latencies.is_slow("t")
        bench.clock.step(0.001)
        assert bench.latencies.is_slow("t")
        assert not bench.latencies.is_slow("u")
    bench.clock.step(CALM_SECONDS - 0.001)
    assert bench.latencies.is_slow("t")
    bench.clock.step(0.001)
    assert not bench.latencies.is_slow("t")


def test_quick_calls_in_between_do_not_make_a_slow_cluster_a_quick_one() -> None:
    bench = Bench()
    bench.call("t", SLOW_SECONDS)
    for _ in range(5):
        bench.call("t", 0.01)
        assert bench.latencies.is_slow("t")


def test_a_call_that_fails_counts_by_the_time_that_it_took() -> None:
    bench = Bench()
    with pytest.raises(ZeroDivisionError):
        fail_slowly(bench)
    assert bench.latencies.is_slow("t")


def fail_slowly(bench: Bench) -> None:
    with bench.latencies.call("t"):
        bench.clock.step(SLOW_SECONDS)
        raise ZeroDivisionError


def test_of_several_calls_the_oldest_counts_also_when_a_younger_one_is_answered() -> None:
    bench = Bench()
    with bench.latencies.call("t"):
        bench.clock.step(SLOW_SECONDS / 2)
        bench.call("t", 0.0)
        bench.clock.step(SLOW_SECONDS / 2)
        assert bench.latencies.is_slow("t")


def test_nothing_is_kept_of_clusters_that_are_not_called() -> None:
    bench = Bench()
    for number in range(100):
        bench.call(f"quick-{number}", 0.01)
        bench.call(f"slow-{number}", SLOW_SECONDS)
    bench.clock.step(CALM_SECONDS)
    bench.call("t", 0.01)
    assert bench.latencies._calls == {}


def slow(cluster: object) -> bool:
    return str(cluster).startswith("slow")


def test_all_slow_clusters_together_have_room_for_so_many_and_quick_ones_need_none() -> None:
    bulkhead = Bulkhead(2, slow)
    with ExitStack() as open_:
        for cluster in ("slow-1", "slow-2"):
            open_.enter_context(bulkhead.visit()).call(cluster)
        for cluster in ("quick",) * 5:
            open_.enter_context(bulkhead.visit()).call(cluster)
        third = open_.enter_context(bulkhead.visit())
        with pytest.raises(Delayed, match="slow-3 answers slowly"):
            third.call("slow-3")
        third.call("infra")
    with bulkhead.visit() as visit:
        visit.call("slow-3")


def test_who_has_room_keeps_it_to_the_end_of_its_work() -> None:
    bulkhead = Bulkhead(1, slow)
    with bulkhead.visit() as visit:
        for _ in range(3):
            visit.call("slow-1")
        with bulkhead.visit() as other, pytest.raises(Delayed):
            other.call("slow-1")
    assert bulkhead._visitors == 0


def test_work_under_way_ends_at_its_next_call_if_its_cluster_becomes_slow_and_there_is_no_room() -> None:
    found: set[object] = set()
    bulkhead = Bulkhead(1, found.__contains__)
    with bulkhead.visit() as first, bulkhead.visit() as second:
        first.call("t")
        second.call("t")
        found.add("t")
        first.call("t")
        with pytest.raises(Delayed):
            second.call("t")
