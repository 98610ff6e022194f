from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from dpunetop.base.stop import Stop
from dpunetop.runtime.flowcontrol import ItemBackoff
from dpunetop.runtime.metrics import Metrics
from dpunetop.runtime.workqueue import WorkQueue
from support.clock import FakeClock


class Bench:
    """A queue, its clock, and what its metrics show."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.stop = Stop(self.clock)
        self.queue: WorkQueue[str] = WorkQueue(self.clock, self.metrics.workqueue("q"), ItemBackoff())
        self.threads: list[threading.Thread] = []

    def take(self) -> str | None:
        return self.queue.get(self.stop)

    def worked(self) -> str | None:
        key = self.take()
        if key is not None:
            self.queue.done(key)
        return key

    def in_thread(self, stop: Stop | None = None) -> list[str | None]:
        """Get one key in a thread of its own; the list fills when it comes."""
        got: list[str | None] = []
        thread = threading.Thread(target=lambda: got.append(self.queue.get(stop or self.stop)))
        thread.start()
        self.threads.append(thread)
        return got

    def join(self) -> None:
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()

    def shown(self, metric: str) -> float | None:
        labels = {"name": "q", "controller": "q"}
        extra = {"priority": ""} if metric == "workqueue_depth" else {}
        return self.metrics.registry.get_sample_value(metric, labels | extra)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.stop.set()
    bench.join()


def test_keys_come_out_in_the_order_of_their_first_add(bench: Bench) -> None:
    for key in ("b", "a", "b", "c"):
        bench.queue.add(key)
    assert [bench.worked() for _ in range(3)] == ["b", "a", "c"]


def test_many_adds_before_a_get_are_one_pass(bench: Bench) -> None:
    for _ in range(5):
        bench.queue.add("a")
    assert (len(bench.queue), bench.worked(), len(bench.queue)) == (1, "a", 0)


def test_adds_during_a_pass_are_exactly_one_more_after_it(bench: Bench) -> None:
    bench.queue.add("a")
    assert bench.take() == "a"
    bench.queue.add("a")
    bench.queue.add("a")
    assert len(bench.queue) == 0
    bench.queue.done("a")
    assert (len(bench.queue), bench.worked(), len(bench.queue)) == (1, "a", 0)


def test_a_key_in_hand_is_not_handed_out_again_before_it_is_done(bench: Bench) -> None:
    bench.queue.add("a")
    assert bench.take() == "a"
    bench.queue.add("a")
    got = bench.in_thread()
    bench.clock.until_parked(1)
    assert got == []
    bench.queue.done("a")
    bench.join()
    assert got == ["a"]


def test_a_key_that_nobody_holds_cannot_be_done(bench: Bench) -> None:
    with pytest.raises(KeyError):
        bench.queue.done("a")


def test_a_delayed_key_is_handed_over_when_due(bench: Bench) -> None:
    bench.queue.add_after("a", 5.0)
    got = bench.in_thread()
    bench.clock.until_parked(1)
    bench.clock.step(4.9)
    bench.clock.until_parked(1)
    assert got == []
    bench.clock.step(0.1)
    bench.join()
    assert got == ["a"]


def test_of_several_delays_the_earliest_counts(bench: Bench) -> None:
    bench.queue.add_after("a", 50.0)
    bench.queue.add_after("a", 5.0)
    bench.queue.add_after("a", 500.0)
    bench.clock.step(5.0)
    assert bench.worked() == "a"
    bench.clock.step(1000.0)
    bench.queue.add("b")
    assert bench.worked() == "b"
    assert repr(bench.queue) == "<WorkQueue [0 queued, 0 waiting, 0 in hand]>"


def test_delayed_keys_come_out_in_the_order_of_their_time(bench: Bench) -> None:
    bench.queue.add_after("late", 3.0)
    bench.queue.add_after("early", 1.0)
    bench.queue.add_after("middle", 2.0)
    bench.clock.step(3.0)
    assert [bench.worked() for _ in range(3)] == ["early", "middle", "late"]


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_no_delay_is_an_add(bench: Bench, seconds: float) -> None:
    bench.queue.add_after("a", seconds)
    assert bench.worked() == "a"


def test_a_key_that_rests_comes_out_once_when_it_has_rested(bench: Bench) -> None:
    bench.queue.add("a")
    bench.take()
    bench.queue.add("a")
    bench.queue.done("a", rest_seconds=1.0)
    bench.queue.add("a")
    bench.queue.add_after("a", 0.5)
    bench.queue.add("b")
    assert bench.worked() == "b"
    got = bench.in_thread()
    bench.clock.until_parked(1)
    bench.clock.step(0.5)
    bench.clock.until_parked(1)
    assert (got, len(bench.queue)) == ([], 0)
    bench.clock.step(0.5)
    bench.join()
    assert (got, len(bench.queue)) == (["a"], 0)


def test_a_key_that_has_rested_is_handed_out_at_once(bench: Bench) -> None:
    bench.queue.add("a")
    bench.take()
    bench.queue.done("a", rest_seconds=1.0)
    bench.clock.step(1.0)
    bench.queue.add("a")
    assert bench.worked() == "a"


def test_a_worker_that_waits_for_a_later_key_comes_back_for_one_that_rests(bench: Bench) -> None:
    bench.queue.add("a")
    bench.take()
    got = bench.in_thread()
    bench.clock.until_parked(1)
    bench.queue.done("a", rest_seconds=1.0)
    bench.queue.add("a")
    bench.clock.until_parked(1)
    bench.clock.step(1.0)
    bench.join()
    assert got == ["a"]


def test_a_waiting_key_holds_up_nobody(bench: Bench) -> None:
    bench.queue.add_after("slow", 100.0)
    bench.queue.add("fast")
    assert bench.worked() == "fast"


def test_all_idle_workers_know_the_next_due_time(bench: Bench) -> None:
    first, second = bench.in_thread(), bench.in_thread()
    bench.clock.until_parked(2)
    bench.queue.add_after("due", 5.0)
    bench.clock.until_parked(2)
    bench.queue.add("now")
    bench.clock.until_parked(1)
    bench.clock.step(5.0)
    bench.join()
    assert sorted(key or "" for key in first + second) == ["due", "now"]


def test_keys_that_come_due_together_wake_as_many_workers(bench: Bench) -> None:
    for key in ("a", "b", "c"):
        bench.queue.add_after(key, 5.0)
    got = [bench.in_thread() for _ in range(3)]
    bench.clock.until_parked(3)
    bench.clock.step(5.0)
    bench.join()
    assert sorted(key or "" for one in got for key in one) == ["a", "b", "c"]


def test_failures_back_off_until_forgotten(bench: Bench) -> None:
    bench.queue.add_rate_limited("a")
    bench.clock.step(0.004)
    assert repr(bench.queue) == "<WorkQueue [0 queued, 1 waiting, 0 in hand]>"
    bench.clock.step(0.001)
    assert bench.worked() == "a"
    bench.queue.add_rate_limited("a")
    assert bench.queue.retries("a") == 2
    bench.queue.forget("a")
    assert bench.queue.retries("a") == 0


def test_a_server_that_asks_for_more_time_gets_it(bench: Bench) -> None:
    bench.queue.add_rate_limited("a", at_least_seconds=7.0)
    bench.clock.step(6.9)
    bench.queue.add("b")
    assert bench.worked() == "b"
    bench.clock.step(0.1)
    assert bench.worked() == "a"


def test_nothing_is_handed_out_once_stop_is_set(bench: Bench) -> None:
    bench.queue.add("a")
    bench.stop.set()
    assert bench.take() is None
    assert len(bench.queue) == 1


def test_stop_wakes_a_waiting_worker(bench: Bench) -> None:
    got = bench.in_thread()
    bench.clock.until_parked(1)
    bench.stop.set()
    bench.join()
    assert got == [None]


def test_a_stop_leaves_nothing_behind_in_the_stop(bench: Bench) -> None:
    bench.queue.add("a")
    bench.worked()
    assert not bench.stop._callbacks


def test_after_shut_down_adds_are_ignored_and_what_was_queued_is_drained(bench: Bench) -> None:
    bench.queue.add("a")
    bench.queue.add_after("waiting", 1.0)
    bench.queue.shut_down()
    bench.queue.add("b")
    bench.queue.add_after("c", 0.5)
    bench.queue.add_rate_limited("d")
    bench.clock.step(10.0)
    assert [bench.worked(), bench.worked()] == ["a", None]


def test_shut_down_wakes_all_workers(bench: Bench) -> None:
    got = [bench.in_thread() for _ in range(3)]
    bench.clock.until_parked(3)
    bench.queue.shut_down()
    bench.join()
    assert got == [[None], [None], [None]]


def test_a_worker_that_stops_passes_its_call_on(bench: Bench) -> None:
    other = Stop(bench.clock)
    leaving = bench.in_thread(other)
    bench.clock.until_parked(1)
    staying = bench.in_thread()
    bench.clock.until_parked(2)
    other._set = True  # the moment in which a Stop is set but has not called back yet
    bench.queue.add("a")
    bench.join()
    assert (leaving, staying) == ([None], ["a"])


@dataclass(frozen=True)
class Box:
    name: str
    __hash__ = object.__hash__


def test_a_key_that_was_worked_on_is_not_kept_alive() -> None:
    clock = FakeClock()
    queue: WorkQueue[Box] = WorkQueue(clock, Metrics().workqueue("q"), ItemBackoff())
    box = Box("a")
    gone = weakref.ref(box)
    queue.add(box)
    queue.add_after(box, 1.0)
    queue.add_after(box, 0.5)
    clock.step(2.0)
    assert queue.get(Stop(clock)) is box
    queue.done(box)
    del box
    queue.add(Box("b"))
    queue.get(Stop(clock))
    assert gone() is None


def test_a_key_that_is_delayed_ever_earlier_does_not_fill_the_memory(bench: Bench) -> None:
    for n in range(10_000):
        bench.queue.add_after("a", 20_000.0 - n)
    assert len(bench.queue._state._heap) < 100
    bench.clock.step(10_001.0)
    assert bench.worked() == "a"


def test_metrics_show_depth_adds_retries_and_times(bench: Bench) -> None:
    bench.queue.add("a")
    bench.queue.add("b")
    bench.queue.add("a")
    bench.queue.add_rate_limited("c")
    bench.clock.step(2.0)
    bench.queue.refresh()
    assert bench.shown("workqueue_depth") == 2
    assert bench.take() == "a"
    assert bench.shown("workqueue_depth") == 2
    assert bench.shown("workqueue_adds_total") == 3
    assert bench.shown("workqueue_retries_total") == 1
    assert bench.shown("workqueue_queue_duration_seconds_sum") == 2.0
    bench.clock.step(3.0)
    assert bench.take() == "b"
    bench.clock.step(1.0)
    bench.queue.refresh()
    assert bench.shown("workqueue_unfinished_work_seconds") == 5.0
    assert bench.shown("workqueue_longest_running_processor_seconds") == 4.0
    bench.queue.done("a")
    assert bench.shown("workqueue_work_duration_seconds_sum") == 4.0
