from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import structlog
from structlog.contextvars import get_contextvars, merge_contextvars
from structlog.testing import LogCapture

from dpunetop.base.stop import Stop, Stopped
from dpunetop.kube.errors import ApiError, Conflict
from dpunetop.kube.keys import INFRA, NODES, Key
from dpunetop.kube.requests import Selection
from dpunetop.runtime.controller import Controller, Terminal
from dpunetop.runtime.election.gate import LeadershipLost
from dpunetop.runtime.flowcontrol import no_rest, rest_after
from dpunetop.runtime.lanes import Lanes
from dpunetop.runtime.metrics import Metrics
from dpunetop.runtime.reading import NotEngaged, NotSynced
from support.clock import FakeClock

A, B = Key(INFRA, "ns", "a"), Key(INFRA, "ns", "b")


class Scripted:
    """Reconciles by script: each pass takes the next step, the last one for ever; a step returns or raises."""

    def __init__(self, *script: Any) -> None:
        self._script = list(script)
        self._told = threading.Condition()  # guards passes
        self.passes: list[Key] = []

    def reconcile(self, key: Key, stop: Stop) -> float | None:
        with self._told:
            step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
            self.passes.append(key)
            self._told.notify_all()
        result = step(stop) if callable(step) else step
        if isinstance(result, Exception):
            raise result
        return cast(float | None, result)

    def until(self, passes: int) -> None:
        with self._told:
            assert self._told.wait_for(lambda: len(self.passes) >= passes, 60)


class Bench:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.stop = Stop(self.clock)
        self.metrics = Metrics()
        self.log = LogCapture()
        self.raised: list[BaseException] = []
        self.draw = 0.5
        self.thread: threading.Thread | None = None

    def start(
        self,
        reconciler: Any,
        workers: int = 1,
        rest: Callable[[float], float] = no_rest,
        debounce_seconds: float = 0.0,
        resync_seconds: float = 600.0,
        lanes: Lanes[Key] | None = None,
    ) -> Controller:
        logger = structlog.wrap_logger(
            None, processors=[merge_contextvars, self.log], wrapper_class=structlog.make_filtering_bound_logger(0)
        )
        self.controller = Controller(
            "c",
            reconciler,
            clock=self.clock,
            metrics=self.metrics,
            workers=workers,
            logger=logger,
            rest=rest,
            debounce_seconds=debounce_seconds,
            resync_seconds=resync_seconds,
            random=lambda: self.draw,
            lanes=lanes,
        )
        self.thread = threading.Thread(target=self._run, name="controller")
        self.thread.start()
        return self.controller

    def quiet(self, workers: int = 1) -> None:
        """Wait until all workers, and the thread in run, have nothing to do."""
        self.clock.until_parked(workers + 1)

    def end(self) -> None:
        self.stop.set()
        if self.thread is not None:
            self.thread.join(60)
            assert not self.thread.is_alive()

    def shown(self, metric: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(metric, {"controller": "c", **labels})

    def results(self) -> dict[str, float | None]:
        names = ("success", "error", "requeue", "requeue_after")
        shown = {name: self.shown("controller_runtime_reconcile_total", result=name) for name in names}
        return {name: count for name, count in shown.items() if count}

    def _run(self) -> None:
        try:
            self.controller.run(self.stop)
        except RuntimeError as err:
            self.raised.append(err)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.end()


def test_each_added_key_is_reconciled(bench: Bench) -> None:
    reconciler = Scripted(None)
    controller = bench.start(reconciler, workers=2)
    controller.queue.add(A)
    controller.queue.add(B)
    reconciler.until(2)
    bench.quiet(2)
    assert sorted(reconciler.passes) == [A, B]
    assert bench.results() == {"success": 2}
    assert bench.shown("controller_runtime_active_workers") == 0
    assert bench.shown("controller_runtime_max_concurrent_reconciles") == 2


def test_there_are_as_many_workers_as_were_busy_at_once_and_one_that_waits(bench: Bench) -> None:
    both = threading.Barrier(2)

    def with_the_other(_: Stop) -> None:
        both.wait(60)

    reconciler = Scripted(None, None, with_the_other, with_the_other, None)
    controller = bench.start(reconciler, workers=16)
    for keys, passes, workers in (((A,), 1, 2), ((B,), 2, 2), ((A, B), 4, 3), ((A,), 5, 3)):
        for key in keys:
            controller.queue.add(key)
        reconciler.until(passes)
        bench.quiet(workers)
        assert [t.name for t in threading.enumerate() if t.name.startswith("c-")] == [f"c-{n}" for n in range(workers)]


def test_workers_that_had_nothing_to_do_between_two_looks_end_but_for_two(bench: Bench) -> None:
    reconciler = Hanging()
    controller = bench.start(reconciler, workers=16)
    for number in range(1, 3):  # what ended is made again when there is as much to do
        for key in SLOW:
            controller.queue.add(key)
        reconciler.until_begun(number * len(SLOW))
        reconciler.release.set()
        reconciler.until_ended(number * len(SLOW))
        bench.quiet(len(SLOW) + 1)
        bench.clock.step(0.5)  # until here they were busy
        bench.quiet(len(SLOW) + 1)
        bench.clock.step(0.5)
        until(lambda: len(workers_of_c()) == 2)
        reconciler.release.clear()
    reconciler.release.set()


def test_workers_that_are_needed_now_and_then_stay(bench: Bench) -> None:
    reconciler = Hanging()
    controller = bench.start(reconciler, workers=16)
    for number in range(1, 4):
        for key in SLOW:
            controller.queue.add(key)
        reconciler.until_begun(number * len(SLOW))
        before = {worker.ident for worker in workers_of_c()}
        reconciler.release.set()
        reconciler.until_ended(number * len(SLOW))
        bench.quiet(len(SLOW) + 1)
        bench.clock.step(0.5)
        bench.quiet(len(SLOW) + 1)
        assert {worker.ident for worker in workers_of_c()} == before
        reconciler.release.clear()
    reconciler.release.set()


def test_no_key_is_lost_while_workers_end(bench: Bench) -> None:
    reconciler = Scripted(None)
    controller = bench.start(reconciler, workers=16)
    for number in range(200):
        controller.queue.thin_out(16)
        controller.queue.add(Key(INFRA, "ns", str(number)))
        if number % 10 == 0:
            bench.clock.step(0.5)
    reconciler.until(200)


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_all_workers_may_be_busy_at_once(bench: Bench) -> None:
    all_of_them = threading.Barrier(2)

    def with_the_other(_: Stop) -> None:
        all_of_them.wait(60)

    reconciler = Scripted(with_the_other)
    controller = bench.start(reconciler, workers=2)
    for key in (A, B):
        controller.queue.add(key)
    reconciler.until(2)
    bench.quiet(2)
    assert sorted(reconciler.passes) == [A, B]
    assert len([t for t in threading.enumerate() if t.name.startswith("c-")]) == 2


class Hanging:
    """Passes of keys of namespace `slow` last until they are let go."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self._told = threading.Condition()  # guards the two below
        self.begun: list[Key] = []
        self.ended: list[Key] = []

    def reconcile(self, key: Key, stop: Stop) -> float | None:
        self._note(self.begun, key)
        if key.namespace == "slow":
            assert self.release.wait(60)
        self._note(self.ended, key)
        return None

    def until_begun(self, number: int) -> None:
        with self._told:
            assert self._told.wait_for(lambda: len(self.begun) >= number, 60)

    def until_ended(self, number: int) -> None:
        with self._told:
            assert self._told.wait_for(lambda: len(self.ended) >= number, 60)

    def _note(self, where: list[Key], key: Key) -> None:
        with self._told:
            where.append(key)
            self._told.notify_all()


SLOW = [Key(INFRA, "slow", str(number)) for number in range(10)]


def test_slow_lanes_hold_half_of_the_workers_and_the_others_go_on(bench: Bench) -> None:
    reconciler = Hanging()
    lanes: Lanes[Key] = Lanes(lambda key: key.namespace, lambda lane: lane == "slow", most_slow=2, relieved_from=2)
    controller = bench.start(reconciler, workers=4, lanes=lanes)
    for key in SLOW:
        controller.queue.add(key)
    reconciler.until_begun(2)
    for number in range(20):
        controller.queue.add(Key(INFRA, "quick", str(number)))
    reconciler.until_ended(20)
    assert controller.queue.slow_in_hand() == 2
    assert reconciler.begun.count(SLOW[2]) == 0
    reconciler.release.set()
    reconciler.until_ended(30)


def test_workers_that_turn_out_to_be_in_a_slow_lane_have_others_in_their_place_until_they_are_back(
    bench: Bench,
) -> None:
    reconciler, slow = Hanging(), set[object]()
    lanes: Lanes[Key] = Lanes(lambda key: key.namespace, slow.__contains__, most_slow=2, relieved_from=2)
    controller = bench.start(reconciler, workers=4, lanes=lanes)
    for key in SLOW[:4]:
        controller.queue.add(key)
    reconciler.until_begun(4)
    controller.queue.add(A)
    bench.quiet(0)
    assert reconciler.ended == []
    slow.add("slow")
    bench.clock.step(0.5)  # a look
    reconciler.until_ended(1)
    assert reconciler.ended == [A]
    reconciler.release.set()
    reconciler.until_ended(5)
    slow.clear()
    bench.quiet(len(workers_of_c()))
    bench.clock.step(0.5)
    bench.quiet(len(workers_of_c()))
    for number in range(40):
        controller.queue.add(Key(INFRA, "quick", str(number)))
    reconciler.until_ended(45)
    bench.quiet(len(workers_of_c()))
    assert len(workers_of_c()) <= 4 + 2


def workers_of_c() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("c-")]


def test_a_lane_that_is_slow_no_longer_goes_on_at_the_next_look(bench: Bench) -> None:
    reconciler, slow = Hanging(), {"slow", "other"}
    lanes: Lanes[Key] = Lanes(lambda key: key.namespace, slow.__contains__, most_slow=1, relieved_from=1)
    controller = bench.start(reconciler, workers=4, lanes=lanes)
    controller.queue.add(SLOW[0])
    reconciler.until_begun(1)
    controller.queue.add(Key(INFRA, "other", "x"))
    bench.quiet(1)
    assert len(reconciler.begun) == 1
    slow.discard("other")
    bench.clock.step(0.5)
    reconciler.until_ended(1)
    reconciler.release.set()


def test_a_key_that_asks_for_it_is_looked_at_again_later(bench: Bench) -> None:
    reconciler = Scripted(30.0, None)
    bench.start(reconciler).queue.add(A)
    reconciler.until(1)
    bench.quiet()
    bench.clock.step(29.0)
    bench.quiet()
    assert reconciler.passes == [A]
    bench.clock.step(1.0)
    reconciler.until(2)
    bench.quiet()
    assert bench.results() == {"requeue_after": 1, "success": 1}


@pytest.mark.parametrize(
    "outcome",
    [None, 1800.0, Terminal("spec is wrong"), NotSynced("infra", Selection(NODES)), NotEngaged("tenant/ns/a")],
    ids=["done", "later", "gave up", "no cache", "no cluster"],
)
def test_each_key_is_looked_at_again_within_the_resync_period_whatever_came_of_it(bench: Bench, outcome: Any) -> None:
    reconciler = Scripted(outcome)
    bench.start(reconciler).queue.add(A)
    for passes, draw, seconds in ((1, 0.0, 300.0), (2, 0.5, 450.0), (3, 1.0, 600.0)):
        bench.draw = draw
        reconciler.until(passes)
        bench.quiet()
        bench.clock.step(seconds - 1.0)
        bench.quiet()
        assert len(reconciler.passes) == passes
        bench.clock.step(1.0)
    reconciler.until(4)


def test_a_key_whose_pass_takes_longer_than_the_resync_period_is_looked_at_again_too(bench: Bench) -> None:
    go_on = threading.Event()
    reconciler = Scripted(lambda _: go_on.wait(60) and None, None)
    bench.start(reconciler).queue.add(A)
    reconciler.until(1)
    bench.clock.until_parked(1)
    bench.clock.step(600.0)  # due while it is in hand
    bench.clock.until_parked(1)
    go_on.set()
    bench.quiet()
    assert len(reconciler.passes) == 1
    bench.clock.step(450.0)
    reconciler.until(2)


def test_a_key_that_was_forgotten_is_looked_at_again_only_when_it_is_woken(bench: Bench) -> None:
    reconciler = Scripted(lambda _: bench.controller.forget(A))
    bench.start(reconciler).queue.add(A)
    reconciler.until(1)
    bench.quiet()
    bench.clock.step(10_000.0)
    bench.quiet()
    assert len(reconciler.passes) == 1
    bench.controller.queue.add(A)
    reconciler.until(2)


def test_a_key_that_was_looked_at_meanwhile_is_not_due_yet(bench: Bench) -> None:
    reconciler = Scripted(None)
    controller = bench.start(reconciler)
    for passes in (1, 2):
        controller.queue.add(A)
        reconciler.until(passes)
        bench.quiet()
        bench.clock.step(400.0)
        bench.quiet()
    assert len(reconciler.passes) == 2


def test_the_resync_of_many_keys_stands_behind_what_is_woken(bench: Bench) -> None:
    go_on = threading.Event()
    reconciler = Scripted(*[None] * 4, lambda _: go_on.wait(60) and None, None)
    controller = bench.start(reconciler)
    many = [Key(INFRA, "ns", str(number)) for number in range(4)]
    for key in many:
        controller.queue.add(key)
    reconciler.until(4)
    bench.quiet()
    bench.clock.step(600.0)  # all are due; the first is being looked at
    reconciler.until(5)
    controller.queue.add(B)
    go_on.set()
    reconciler.until(9)
    assert reconciler.passes[4:] == [many[0], B, *many[1:]]


def test_a_key_whose_pass_was_costly_rests_before_the_next_one(bench: Bench) -> None:
    reconciler = Scripted(lambda _: bench.clock.toil(0.05), None)
    controller = bench.start(reconciler, rest=rest_after)
    controller.queue.add(A)
    reconciler.until(1)
    bench.quiet()
    controller.queue.add(A)
    bench.clock.step(0.4)
    bench.quiet()
    assert reconciler.passes == [A]
    bench.clock.step(0.1)
    reconciler.until(2)


def test_a_key_that_settles_is_looked_at_once_after_what_happens_together(bench: Bench) -> None:
    reconciler = Scripted(None)
    controller = bench.start(reconciler, debounce_seconds=0.1)
    controller.debounce(A)
    bench.clock.step(0.05)
    controller.debounce(A)
    bench.quiet()
    assert reconciler.passes == []
    bench.clock.step(0.05)
    reconciler.until(1)
    bench.clock.step(0.2)
    bench.quiet()
    assert reconciler.passes == [A]
    controller.debounce(A)
    controller.queue.add(A)
    reconciler.until(2)


def test_a_key_that_asks_for_soon_comes_again_with_a_growing_pause(bench: Bench) -> None:
    reconciler = Scripted(0.0, 0.0, None)
    bench.start(reconciler).queue.add(A)
    for retries, seconds in ((1, 0.005), (2, 0.01)):
        reconciler.until(retries)
        bench.quiet()
        assert bench.controller.queue.retries(A) == retries
        bench.clock.step(seconds)
    reconciler.until(3)
    bench.quiet()
    assert bench.results() == {"requeue": 2, "success": 1}


def test_an_api_error_is_tried_again_with_a_growing_pause_and_a_line_without_traceback(bench: Bench) -> None:
    refused = ApiError(403, "Forbidden", "no")
    reconciler = Scripted(refused, refused, None)
    bench.start(reconciler).queue.add(A)
    reconciler.until(1)
    bench.quiet()
    assert bench.controller.queue.retries(A) == 1
    bench.clock.step(0.005)
    reconciler.until(2)
    bench.quiet()
    assert bench.controller.queue.retries(A) == 2
    bench.clock.step(0.01)
    reconciler.until(3)
    bench.quiet()
    assert bench.controller.queue.retries(A) == 0
    assert bench.results() == {"error": 2, "success": 1}
    assert [(e["log_level"], e["event"], e["reason"]) for e in bench.log.entries] == [
        ("warning", "reconcile failed", "Forbidden"),
        ("warning", "reconcile failed", "Forbidden"),
    ]
    assert all("exc_info" not in entry for entry in bench.log.entries)


def test_a_conflict_is_warned_of_only_if_it_stays(bench: Bench) -> None:
    reconciler = Scripted(*[Conflict(409, "Conflict", "changed")] * 4, None)
    bench.start(reconciler).queue.add(A)
    for tries in range(1, 5):
        reconciler.until(tries)
        bench.quiet()
        bench.clock.step(1.0)
    reconciler.until(5)
    bench.quiet()
    assert [entry["log_level"] for entry in bench.log.entries] == ["info", "info", "info", "warning"]


def test_the_server_s_retry_after_is_waited_for(bench: Bench) -> None:
    reconciler = Scripted(ApiError(503, "ServiceUnavailable", "", retry_after_seconds=20.0), None)
    bench.start(reconciler).queue.add(A)
    reconciler.until(1)
    bench.quiet()
    bench.clock.step(19.0)
    bench.quiet()
    assert len(reconciler.passes) == 1
    bench.clock.step(1.0)
    reconciler.until(2)


def test_a_panic_is_an_error_that_is_counted_shown_and_tried_again(bench: Bench) -> None:
    reconciler = Scripted(ZeroDivisionError("bug"), None)
    bench.start(reconciler).queue.add(A)
    reconciler.until(1)
    bench.quiet()
    bench.clock.step(0.005)
    reconciler.until(2)
    bench.quiet()
    assert bench.results() == {"error": 1, "success": 1}
    assert bench.shown("controller_runtime_reconcile_panics_total") == 1
    assert bench.shown("controller_runtime_reconcile_errors_total") == 1
    (entry,) = bench.log.entries
    assert (entry["log_level"], entry["kind"], bool(entry["exc_info"])) == ("error", "ZeroDivisionError", True)


def test_a_terminal_error_is_counted_and_not_tried_again_before_the_resync(bench: Bench) -> None:
    reconciler = Scripted(Terminal("spec is wrong"))
    bench.start(reconciler).queue.add(A)
    reconciler.until(1)
    bench.quiet()
    bench.clock.step(400.0)
    bench.quiet()
    assert reconciler.passes == [A]
    assert bench.results() == {"error": 1}
    assert bench.shown("controller_runtime_terminal_reconcile_errors_total") == 1


@pytest.mark.parametrize("quiet", [NotSynced("infra", Selection(NODES)), NotEngaged("tenant/ns/a")])
def test_a_pass_without_its_caches_ends_quietly_and_is_woken_by_them(bench: Bench, quiet: Exception) -> None:
    reconciler = Scripted(quiet)
    bench.start(reconciler).queue.add(A)
    reconciler.until(1)
    bench.quiet()
    bench.clock.step(400.0)
    bench.quiet()
    assert reconciler.passes == [A]
    assert bench.results() == {"requeue": 1}
    assert [entry["log_level"] for entry in bench.log.entries] == ["debug"]


@pytest.mark.parametrize("end", [Stopped(), LeadershipLost("gone")])
def test_a_pass_that_may_not_go_on_is_no_error(bench: Bench, end: Exception) -> None:
    reconciler = Scripted(end)
    bench.start(reconciler).queue.add(A)
    reconciler.until(1)
    bench.quiet()
    assert (bench.results(), bench.log.entries) == ({}, [])


def test_after_stop_no_pass_begins_and_the_one_under_way_is_waited_for(bench: Bench) -> None:
    go_on = threading.Event()

    def pass_that_takes_long(_: Stop) -> None:
        assert go_on.wait(60)

    reconciler = Scripted(pass_that_takes_long)
    controller = bench.start(reconciler)
    controller.queue.add(A)
    reconciler.until(1)
    controller.queue.add(B)
    bench.stop.set()
    assert bench.thread is not None
    bench.thread.join(0.05)
    assert bench.thread.is_alive()
    go_on.set()
    bench.end()
    assert reconciler.passes == [A]
    assert bench.raised == []


def test_an_api_error_of_connections_closed_on_purpose_is_not_reported(bench: Bench) -> None:
    def cut_off(stop: Stop) -> ApiError:
        stop.wait(None)
        return ApiError(0, "Reset", "closed")

    reconciler = Scripted(cut_off)
    bench.start(reconciler).queue.add(A)
    reconciler.until(1)
    bench.end()
    assert (bench.results(), bench.log.entries) == ({}, [])


def test_each_line_of_a_pass_carries_the_key_and_no_line_after_it_does(bench: Bench) -> None:
    reconciler = Scripted(ApiError(500, "InternalError", ""), Terminal("no"), None)
    controller = bench.start(reconciler)
    controller.queue.add(A)
    reconciler.until(1)
    controller.queue.add(B)
    reconciler.until(2)
    bench.end()
    keys = [(line["controller"], line["cluster"], line["namespace"], line["name"]) for line in bench.log.entries]
    assert keys == [("c", each.cluster, each.namespace, each.name) for each in (A, B)]
    assert get_contextvars() == {}


def test_one_key_is_never_in_two_passes_at_once(bench: Bench) -> None:
    inside = threading.Lock()
    overlaps: list[str] = []

    def exclusive(_: Stop) -> None:
        if not inside.acquire(blocking=False):
            overlaps.append("two passes")
            return
        controller.queue.add(A) if len(reconciler.passes) < 200 else None
        inside.release()

    reconciler = Scripted(exclusive)
    controller = bench.start(reconciler, workers=8)
    for _ in range(20):
        controller.queue.add(A)
    reconciler.until(200)
    assert overlaps == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_dies_ends_the_controller(bench: Bench) -> None:
    def die(_: Stop) -> None:
        raise SystemExit(1)

    bench.start(Scripted(die), workers=3).queue.add(A)
    assert bench.thread is not None
    bench.thread.join(60)
    assert [str(err) for err in bench.raised] == ["a worker of controller c died"]


def test_keys_in_hand_show_in_the_metrics_while_they_are_worked_on(bench: Bench) -> None:
    def slow(stop: Stop) -> None:
        stop.wait(100.0)

    reconciler = Scripted(slow)
    bench.start(reconciler).queue.add(A)
    reconciler.until(1)
    bench.quiet()
    bench.clock.step(3.0)
    bench.quiet()
    bench.clock.step(1.0)
    bench.quiet()
    longest = bench.shown("workqueue_longest_running_processor_seconds", name="c")
    assert (longest, bench.shown("controller_runtime_active_workers")) == (4.0, 1)
