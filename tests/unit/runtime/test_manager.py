from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
import structlog
from structlog.testing import LogCapture

from dpunetop.base.stop import Stop
from dpunetop.runtime.election.gate import LeadershipLost
from dpunetop.runtime.manager import Group, Manager, Outcome
from support.clock import FakeClock


class Bench:
    """A manager in a thread, and the order in which things happened."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.stop = Stop(self.clock)
        self.let_go = threading.Event()
        self.log = LogCapture()
        self._told = threading.Condition()  # guards events
        self.events: list[str] = []
        self.outcomes: list[Outcome] = []
        self.thread: threading.Thread | None = None

    def say(self, event: str) -> None:
        with self._told:
            self.events.append(event)
            self._told.notify_all()

    def until(self, event: str) -> None:
        with self._told:
            assert self._told.wait_for(lambda: event in self.events, 60), self.events

    def runs(self, name: str, at_stop: Callable[[], object] = lambda: None) -> Callable[[Stop], None]:
        def run(stop: Stop) -> None:
            self.say(f"+{name}")
            stop.wait(None)
            self.say(f"?{name}")
            at_stop()
            self.say(f"-{name}")

        return run

    def group(self, name: str, ready: Callable[[Stop], object] | None = None) -> Group:
        return Group(name, {name: self.runs(name)}, ready or (lambda _: self.until(f"+{name}")))

    def start(self, *groups: Group) -> None:
        logger = structlog.wrap_logger(
            None, processors=[self.log], wrapper_class=structlog.make_filtering_bound_logger(0)
        )
        manager = Manager(groups, clock=self.clock, logger=logger)
        self.thread = threading.Thread(target=lambda: self.outcomes.append(manager.run(self.stop)), name="manager")
        self.thread.start()

    def outcome(self) -> Outcome:
        assert self.thread is not None
        self.thread.join(60)
        assert not self.thread.is_alive(), self.events
        return self.outcomes[0]


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.stop.set()
    bench.let_go.set()
    if bench.thread is not None:
        bench.thread.join(60)


def test_groups_start_in_order_and_stop_in_reverse(bench: Bench) -> None:
    bench.start(*(bench.group(name) for name in ("servers", "caches", "elector", "controllers")))
    bench.until("+controllers")
    bench.stop.set()
    assert bench.outcome() is Outcome.STOPPED
    assert bench.events == [
        "+servers",
        "+caches",
        "+elector",
        "+controllers",
        "?controllers",
        "-controllers",
        "?elector",
        "-elector",
        "?caches",
        "-caches",
        "?servers",
        "-servers",
    ]


def test_a_group_waits_until_the_one_before_it_is_ready(bench: Bench) -> None:
    synced = threading.Event()

    def sync(_: Stop) -> None:
        bench.until("+caches")
        bench.say("syncing")
        synced.wait(60)

    bench.start(bench.group("caches", sync), bench.group("controllers"))
    bench.until("syncing")
    assert bench.events == ["+caches", "syncing"]
    synced.set()
    bench.until("+controllers")


def test_what_never_got_ready_does_not_start_the_next_group(bench: Bench) -> None:
    bench.start(bench.group("caches", lambda stop: stop.wait(None)), bench.group("controllers"))
    bench.until("+caches")
    bench.stop.set()
    assert bench.outcome() is Outcome.STOPPED
    assert bench.events == ["+caches", "?caches", "-caches"]


def test_a_group_stops_only_when_all_threads_of_the_later_one_have_ended(bench: Bench) -> None:
    slow = bench.runs("slow", lambda: bench.let_go.wait(60))
    workers = Group("workers", {"slow": slow, "quick": bench.runs("quick")}, lambda _: bench.until("+slow"))
    bench.start(bench.group("elector"), workers)
    bench.until("+slow")
    bench.until("+quick")
    bench.stop.set()
    bench.until("-quick")
    assert "-elector" not in bench.events
    bench.let_go.set()
    assert bench.outcome() is Outcome.STOPPED
    assert bench.events[-3:] == ["-slow", "?elector", "-elector"]


def test_a_thread_that_ends_by_itself_stops_all_in_order(bench: Bench) -> None:
    def ends(_: Stop) -> None:
        bench.until("+controllers")

    bench.start(bench.group("servers"), Group("caches", {"infra": ends}), bench.group("controllers"))
    assert bench.outcome() is Outcome.FAILED
    assert bench.events[-3:] == ["-controllers", "?servers", "-servers"]
    assert ("thread ended unexpectedly", "infra") in [(e["event"], e.get("thread")) for e in bench.log.entries]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_raises_stops_all_in_order(bench: Bench) -> None:
    def breaks(_: Stop) -> None:
        raise ZeroDivisionError

    bench.start(bench.group("servers"), Group("caches", {"infra": breaks}))
    assert bench.outcome() is Outcome.FAILED
    assert bench.events == ["+servers", "?servers", "-servers"]


def test_a_failure_ends_a_group_that_waits_to_be_ready(bench: Bench) -> None:
    def ends(_: Stop) -> None:
        bench.until("+caches")

    bench.start(Group("servers", {"https": ends}), bench.group("caches", lambda stop: stop.wait(None)))
    assert bench.outcome() is Outcome.FAILED


def test_lost_leadership_returns_at_once_though_controllers_still_work(bench: Bench) -> None:
    def elector(_: Stop) -> None:
        bench.until("+controllers")
        raise LeadershipLost("too late")

    busy = Group("controllers", {"controllers": bench.runs("controllers", lambda: bench.let_go.wait(60))})
    bench.start(bench.group("servers"), Group("elector", {"elector": elector}), busy)
    assert bench.outcome() is Outcome.LEADERSHIP_LOST
    assert "-controllers" not in bench.events


def test_only_a_clean_stop_is_exit_code_0() -> None:
    assert [outcome.name for outcome in Outcome if outcome.value == 0] == ["STOPPED"]


def test_leadership_lost_while_stopping_returns_at_once_too(bench: Bench) -> None:
    lose = threading.Event()

    def elector(stop: Stop) -> None:
        bench.say("+elector")
        assert lose.wait(60)
        raise LeadershipLost("too late")

    busy = Group("controllers", {"controllers": bench.runs("controllers", lambda: bench.let_go.wait(60))})
    bench.start(Group("elector", {"elector": elector}, lambda _: bench.until("+elector")), busy)
    bench.until("+controllers")
    bench.stop.set()
    bench.until("?controllers")
    bench.clock.until_parked(1)
    lose.set()
    assert bench.outcome() is Outcome.LEADERSHIP_LOST
    assert "-controllers" not in bench.events


def test_what_does_not_end_within_the_grace_time_is_left_and_the_lease_is_not_given_back(bench: Bench) -> None:
    busy = Group("controllers", {"controllers": bench.runs("controllers", lambda: bench.let_go.wait(60))})
    elector_stop: list[Stop] = []

    def elector(stop: Stop) -> None:
        elector_stop.append(stop)
        bench.say("+elector")
        stop.wait(None)

    bench.start(Group("elector", {"elector": elector}, lambda _: bench.until("+elector")), busy)
    bench.until("+controllers")
    bench.stop.set()
    bench.until("?controllers")
    bench.clock.until_parked(2)  # the elector, and the manager in its grace time
    bench.clock.step(29.0)
    bench.clock.until_parked(2)
    assert bench.outcomes == []
    bench.clock.step(1.0)
    assert bench.outcome() is Outcome.GRACE_EXCEEDED
    assert not elector_stop[0].is_set()
    elector_stop[0].set()
    left = next(e for e in bench.log.entries if e["event"] == "grace time exceeded")
    assert left["threads"] == ["controllers"]


def test_the_grace_time_is_for_all_groups_together(bench: Bench) -> None:
    def slowly() -> None:
        bench.clock.until_parked(1)  # the manager, in its grace time
        bench.clock.step(20.0)

    def still_busy() -> None:
        slowly()
        bench.let_go.wait(60)

    caches = Group("caches", {"caches": bench.runs("caches", still_busy)}, lambda _: bench.until("+caches"))
    bench.start(caches, Group("controllers", {"controllers": bench.runs("controllers", slowly)}))
    bench.until("+controllers")
    bench.stop.set()
    assert bench.outcome() is Outcome.GRACE_EXCEEDED


def test_a_stop_before_the_start_starts_nothing(bench: Bench) -> None:
    bench.stop.set()
    bench.start(bench.group("servers"))
    assert bench.outcome() is Outcome.STOPPED
    assert bench.events == []
