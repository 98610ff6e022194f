from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import structlog
from structlog.testing import LogCapture

from dpunetop.base.stop import Stop
from dpunetop.kube.errors import ApiError, Unreachable
from dpunetop.runtime.election.election import Timings
from dpunetop.runtime.election.elector import Elector
from dpunetop.runtime.election.gate import LeadershipLost
from dpunetop.runtime.manager import Group, Manager, Outcome
from dpunetop.runtime.metrics import Metrics
from support.clock import FakeClock
from support.lease import LeaseServer, failing

RESET = Unreachable(0, "Reset", "connection reset by peer")
TIMED_OUT = Unreachable(0, "Timeout", "no answer in time")
BROKEN = ApiError(500, "InternalError", "etcdserver: request timed out")


class Candidate:
    """An elector with its threads, and a client of its own whose requests can be made to fail."""

    def __init__(self, bench: Bench, identity: str) -> None:
        self.clock = bench.clock
        self.identity = identity
        self.closed = Stop(bench.clock)
        self.door = bench.server.client(self.closed)
        self.metrics = Metrics()
        self.log = LogCapture()
        self.stop = Stop(bench.clock)
        self.ended: list[BaseException | None] = []
        self.elector = Elector(
            self.door,
            "ns",
            "lease",
            identity,
            Timings(15.0, 10.0, 2.0),
            clock=bench.clock,
            metrics=self.metrics.elector("lease"),
            random=lambda: 0.0,
            logger=structlog.wrap_logger(
                None, processors=[self.log], wrapper_class=structlog.make_filtering_bound_logger(0)
            ),
        )
        self.thread = threading.Thread(target=self._run, name=f"{identity}-run")
        self.watcher = threading.Thread(target=self.elector.watch, args=(self.closed,), name=f"{identity}-watch")

    def start(self) -> Candidate:
        self.thread.start()
        return self

    def watch(self) -> Candidate:
        self.watcher.start()
        return self

    def wait_leading(self) -> bool:
        given_up = threading.Timer(5, self.stop.set)
        given_up.start()
        try:
            return self.elector.wait_leading(self.stop)
        finally:
            given_up.cancel()
            given_up.join()

    def end(self) -> BaseException | None:
        """What run raised, once it has ended."""
        self.thread.join(60)
        assert not self.thread.is_alive()
        return self.ended[0]

    def closes_down(self) -> None:
        self.stop.set()
        self.closed.set()
        self.clock.step(100)
        if self.watcher.ident is not None:
            self.watcher.join(60)
            assert not self.watcher.is_alive()
        if self.thread.ident is not None:
            self.thread.join(60)

    def shown(self, metric: str) -> float | None:
        return self.metrics.registry.get_sample_value(metric, {"name": "lease"})

    def _run(self) -> None:
        try:
            self.elector.run(self.stop)
            self.ended.append(None)
        except LeadershipLost as err:
            self.ended.append(err)


class Bench:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.server = LeaseServer()
        self.candidates: list[Candidate] = []
        self.hung = threading.Event()
        self.let_go = threading.Event()

    def candidate(self, identity: str = "me") -> Candidate:
        candidate = Candidate(self, identity)
        self.candidates.append(candidate)
        return candidate

    def leader(self) -> Candidate:
        """A candidate that leads and has nothing to do until its first renewal in 2 s."""
        self.server.put("")
        candidate = self.candidate().start()
        assert candidate.wait_leading()
        self.clock.until_parked(2)
        return candidate

    def hang(self, verb: str) -> None:
        """A fault: the request never comes back, whatever its timeout was."""
        self.hung.set()
        self.let_go.wait(60)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.let_go.set()
    for candidate in bench.candidates:
        candidate.closes_down()


def assert_closed(elector: Elector) -> None:
    assert not elector.is_leader
    with pytest.raises(LeadershipLost):
        elector.gate.seconds_left()


def test_a_free_lease_is_taken_and_opens_the_gate(bench: Bench) -> None:
    candidate = bench.candidate()
    assert_closed(candidate.elector)
    bench.server.put("")
    candidate.start()
    assert candidate.wait_leading()
    assert candidate.elector.gate.seconds_left() == 10.0
    assert bench.server.holder == "me"
    assert candidate.door.verbs() == ["get", "update"]


def test_a_leader_renews_with_one_put_each_retry_period(bench: Bench) -> None:
    leader = bench.leader()
    for _ in range(3):
        bench.clock.step(2.0)
        bench.clock.until_parked(2)
        assert leader.elector.gate.seconds_left() == 10.0
    assert leader.door.verbs()[2:] == ["update", "update", "update"]
    assert {timeout for _, timeout in leader.door.calls} == {5.0}
    assert leader.shown("leader_election_slowpath_total") == 0
    assert leader.shown("leader_election_master_status") == 1


def test_the_first_lease_ever_is_created_and_leads_after_its_duration(bench: Bench) -> None:
    candidate = bench.candidate().start()
    bench.server.until(lambda: bench.server.lease is not None)
    bench.clock.until_parked(2)
    bench.clock.step(14.9)
    bench.clock.until_parked(2)
    assert_closed(candidate.elector)
    bench.clock.step(0.1)
    assert candidate.wait_leading()
    assert "create" in candidate.door.verbs()


def test_connection_resets_while_leading_end_leadership_at_the_deadline(bench: Bench) -> None:
    leader = bench.leader()
    leader.door.before = failing(RESET)
    for _ in range(4):
        bench.clock.step(2.0)
        bench.clock.until_parked(2)
    assert leader.elector.gate.seconds_left() == 2.0
    bench.clock.step(2.0)
    assert isinstance(leader.end(), LeadershipLost)
    assert_closed(leader.elector)
    assert leader.shown("leader_election_master_status") == 0


def test_the_gate_counts_from_before_a_slow_renewal_was_sent(bench: Bench) -> None:
    leader = bench.leader()
    leader.door.before = lambda _: bench.clock.step(1.5)
    bench.clock.step(2.0)
    bench.clock.until_parked(2)
    assert leader.elector.gate.seconds_left() == 8.5


def test_a_renewal_that_never_returns_does_not_keep_the_deadline_from_ending_leadership(bench: Bench) -> None:
    leader = bench.leader()
    leader.door.before = bench.hang
    bench.clock.step(2.0)
    assert bench.hung.wait(60)
    bench.clock.until_parked(1)
    bench.clock.step(8.0)
    assert isinstance(leader.end(), LeadershipLost)
    assert_closed(leader.elector)


def test_the_process_ends_at_the_deadline_though_a_renewal_never_returns(bench: Bench) -> None:
    bench.server.put("")
    candidate = bench.candidate()
    began = threading.Event()
    let_go = threading.Event()

    def controllers(stop: Stop) -> None:
        began.set()
        let_go.wait(60)

    manager = Manager(
        [
            Group("elector", {"elector": candidate.elector.run}, candidate.elector.wait_leading),
            Group("controllers", {"controllers": controllers}),
        ],
        clock=bench.clock,
        logger=structlog.wrap_logger(None, processors=[LogCapture()]),
    )
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(manager.run(Stop(bench.clock))), name="manager")
    thread.start()
    assert began.wait(60)
    candidate.door.before = bench.hang
    bench.clock.until_parked(3)
    bench.clock.step(2.0)
    assert bench.hung.wait(60)
    bench.clock.until_parked(2)
    bench.clock.step(8.0)
    thread.join(60)
    assert outcomes == [Outcome.LEADERSHIP_LOST]
    let_go.set()


def test_a_process_that_was_paused_too_long_sends_nothing_more(bench: Bench) -> None:
    leader = bench.leader()
    calls = len(leader.door.calls)
    bench.server.put("other")
    bench.clock.step(60.0)
    assert isinstance(leader.end(), LeadershipLost)
    assert len(leader.door.calls) == calls
    assert bench.server.holder == "other"


def test_a_stop_gives_the_lease_back(bench: Bench) -> None:
    leader = bench.leader()
    leader.stop.set()
    assert leader.end() is None
    assert bench.server.holder == ""
    assert_closed(leader.elector)


def test_the_gate_is_closed_before_the_lease_is_given_back(bench: Bench) -> None:
    leader = bench.leader()
    seen: list[bool] = []
    leader.door.before = lambda _: seen.append(leader.elector.is_leader)
    leader.stop.set()
    assert leader.end() is None
    assert seen == [False]


def test_a_release_is_tried_again_after_a_conflict(bench: Bench) -> None:
    leader = bench.leader()
    bench.server.put("me")
    leader.stop.set()
    assert leader.end() is None
    assert leader.door.verbs()[2:] == ["update", "get", "update"]
    assert bench.server.holder == ""


def test_a_standby_that_stops_leaves_the_lease_alone(bench: Bench) -> None:
    bench.server.put("other")
    standby = bench.candidate().start()
    bench.clock.until_parked(2)
    standby.stop.set()
    assert standby.end() is None
    assert standby.door.verbs() == ["get"]
    assert bench.server.holder == "other"


def test_a_leader_that_lost_gives_nothing_back(bench: Bench) -> None:
    leader = bench.leader()
    bench.server.put("other")
    bench.clock.step(2.0)
    assert isinstance(leader.end(), LeadershipLost)
    leader.stop.set()
    assert bench.server.holder == "other"


def test_a_release_is_taken_over_at_once_by_a_standby_that_watches(bench: Bench) -> None:
    leader = bench.leader()
    standby = bench.candidate("standby").start().watch()
    bench.clock.until_parked(4)
    leader.stop.set()
    assert standby.wait_leading()
    assert bench.clock.monotonic() == 0.0
    assert bench.server.holder == "standby"


def test_a_release_is_taken_over_by_polling_where_the_watch_fails(bench: Bench) -> None:
    leader = bench.leader()
    standby = bench.candidate("standby")
    standby.door.before = failing(BROKEN, "watch")
    standby.start().watch()
    bench.clock.until_parked(5)
    leader.stop.set()
    assert leader.end() is None
    bench.clock.step(2.0)
    assert standby.wait_leading()


def test_a_watch_that_fails_is_tried_again_with_a_growing_pause(bench: Bench) -> None:
    candidate = bench.candidate()
    candidate.door.before = failing(BROKEN, "watch")
    candidate.watch()
    counts = []
    for seconds in (0.4, 0.1, 0.9, 0.1, 1.9, 0.1):
        bench.clock.until_parked(1)
        bench.clock.step(seconds)
        bench.clock.until_parked(1)
        counts.append(len(candidate.door.calls))
    assert counts == [1, 2, 2, 3, 3, 4]


def test_a_leader_that_died_is_followed_when_its_lease_runs_out(bench: Bench) -> None:
    bench.server.put("dead")
    standby = bench.candidate().start().watch()
    bench.clock.until_parked(2)
    bench.clock.step(14.9)
    bench.clock.until_parked(2)
    assert_closed(standby.elector)
    bench.clock.step(0.1)
    assert standby.wait_leading()


def test_a_lease_that_another_takes_ends_leadership_as_soon_as_it_is_seen(bench: Bench) -> None:
    leader = bench.leader().watch()
    bench.server.put("third")
    assert isinstance(leader.end(), LeadershipLost)
    assert bench.clock.monotonic() == 0.0


def test_a_leader_whose_lease_is_deleted_makes_it_anew_and_leads_on(bench: Bench) -> None:
    leader = bench.leader().watch()
    bench.server.until(lambda: bool(bench.server.lease))
    bench.server.delete()
    bench.server.until(lambda: bench.server.lease is not None)
    bench.clock.until_parked(2)
    assert (leader.elector.is_leader, bench.server.holder) == (True, "me")


def test_a_renewal_whose_answer_is_lost_is_recognised_as_our_own(bench: Bench) -> None:
    leader = bench.leader()
    leader.door.after = failing(TIMED_OUT, "update")
    bench.clock.step(2.0)
    bench.clock.until_parked(2)
    leader.door.after = lambda _: None
    bench.clock.step(2.0)
    bench.clock.until_parked(2)
    assert leader.door.verbs()[2:] == ["update", "get", "update"]
    assert leader.elector.gate.seconds_left() == 10.0


def test_a_conflict_is_settled_by_reading_and_counted_as_the_slow_path(bench: Bench) -> None:
    leader = bench.leader()
    bench.server.put("me")
    bench.clock.step(2.0)
    bench.clock.until_parked(2)
    assert leader.door.verbs()[2:] == ["update", "get", "update"]
    assert leader.shown("leader_election_slowpath_total") == 1
    assert leader.elector.gate.seconds_left() == 10.0


def test_errors_on_the_lease_alone_are_logged_and_survived_within_the_deadline(bench: Bench) -> None:
    leader = bench.leader()
    leader.door.before = failing(BROKEN)
    bench.clock.step(2.0)
    bench.clock.until_parked(2)
    leader.door.before = lambda _: None
    bench.clock.step(2.0)
    bench.clock.until_parked(2)
    assert leader.elector.gate.seconds_left() == 10.0
    warnings = [entry["code"] for entry in leader.log.entries if entry["log_level"] == "warning"]
    assert warnings == [500]


def test_waiting_to_lead_ends_with_stop(bench: Bench) -> None:
    stop = Stop(bench.clock)
    candidate = bench.candidate()
    answers: list[bool] = []
    waiter = threading.Thread(target=lambda: answers.append(candidate.elector.wait_leading(stop)))
    waiter.start()
    bench.clock.until_parked(1)
    stop.set()
    waiter.join(60)
    assert answers == [False]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_in_the_campaign_ends_the_process(bench: Bench) -> None:
    leader = bench.leader()

    def bug(_: str) -> None:
        raise ZeroDivisionError

    leader.door.before = bug
    bench.clock.step(2.0)
    assert isinstance(leader.end(), LeadershipLost)


def test_the_repr_says_where_a_candidate_stands(bench: Bench) -> None:
    assert repr(bench.leader().elector) == "<Elector me LEADING>"


@pytest.mark.parametrize(
    "fault", [RESET, TIMED_OUT, BROKEN, ApiError(401, "Unauthorized", "no")], ids=lambda e: e.reason
)
def test_a_standby_without_an_answer_for_longer_than_the_lease_lasts_could_not_take_over(
    bench: Bench, fault: ApiError
) -> None:
    bench.server.put("other")
    candidate = bench.candidate()
    candidate.door.before = failing(fault)
    candidate.start()
    bench.clock.until_parked(2)
    bench.clock.step(15.0)
    assert candidate.elector.trouble() == ""
    bench.clock.until_parked(2)
    bench.clock.step(1.0)
    assert "no request about the Lease has succeeded" in candidate.elector.trouble()
    assert str(fault) in candidate.elector.trouble()
    candidate.door.before = lambda _: None
    for _ in range(3):
        bench.clock.until_parked(2)
        bench.clock.step(3.0)
        bench.server.put("other")
    bench.clock.until_parked(2)
    assert candidate.elector.trouble() == ""


def test_a_leader_is_never_unready_for_its_lease(bench: Bench) -> None:
    assert bench.leader().elector.trouble() == ""
