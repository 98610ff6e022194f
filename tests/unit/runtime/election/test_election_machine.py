"""H4: three candidates over one Lease, with clocks of any offset and unequal rates, and all that can go wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dpunetop.base import jsonio
from dpunetop.kube.errors import ApiError, Conflict, NotFound, Unreachable
from dpunetop.runtime.election.election import Create, Election, End, Phase, Read, Request, Timings, Wait

TIMINGS = Timings(15.0, 10.0, 2.0)
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
CANDIDATES = (0, 1, 2)
candidates = st.sampled_from(CANDIDATES)


class Server:
    """One Lease, its versions, and what a watch would show."""

    def __init__(self) -> None:
        self.version = 10
        self.lease: dict[str, Any] | None = None
        self.history: list[tuple[int, dict[str, Any] | None]] = []

    def carry_out(self, request: Request) -> dict[str, Any] | ApiError:
        if isinstance(request, Read):
            return jsonio.deep_copy(self.lease) if self.lease else NotFound(404, "NotFound", "")
        if isinstance(request, Create):
            return Conflict(409, "Conflict", "exists") if self.lease else self._store(request.lease, None)
        if self.lease is None:
            return NotFound(404, "NotFound", "")
        if request.lease["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            return Conflict(409, "Conflict", "version")
        return self._store(request.lease, self.lease)

    def delete(self) -> None:
        if self.lease is not None:
            self.version += 1
            self.lease = None
            self.history.append((self.version, None))

    def _store(self, lease: dict[str, Any], old: dict[str, Any] | None) -> dict[str, Any]:
        lease = jsonio.deep_copy(lease)
        if old is not None and old["spec"] == lease["spec"]:
            return jsonio.deep_copy(old)
        self._check_transitions(lease["spec"], old["spec"] if old else None)
        self.version += 1
        lease["metadata"]["resourceVersion"] = str(self.version)
        self.lease = lease
        self.history.append((self.version, jsonio.deep_copy(lease)))
        return jsonio.deep_copy(lease)

    @staticmethod
    def _check_transitions(new: dict[str, Any], old: dict[str, Any] | None) -> None:
        if old is None:
            assert new["leaseTransitions"] == 0
            return
        changes = new["holderIdentity"] not in ("", old["holderIdentity"])
        assert new["leaseTransitions"] == old["leaseTransitions"] + changes
        if new["holderIdentity"] == old["holderIdentity"]:
            assert new["acquireTime"] == old["acquireTime"]


@dataclass
class Process:
    """One run of one candidate: its core, its clock, and the request that it waits for."""

    election: Election
    offset: float
    rate: float
    pending: Request | None = None
    sent_at: float = 0.0
    arrived: bool = False
    answer: dict[str, Any] | ApiError | None = None
    watched: int = 0

    def now(self, truth: float) -> float:
        return self.offset + self.rate * truth


@dataclass
class World:
    server: Server = field(default_factory=Server)
    truth: float = 0.0
    processes: list[Process] = field(default_factory=list)
    late: list[Request] = field(default_factory=list)
    started: int = 0

    def process(self, offset: float, rate: float) -> Process:
        self.started += 1
        now = offset + rate * self.truth
        election = Election(f"p{self.started}", "ns", "lease", TIMINGS, Random(self.started).random, now)
        return Process(election, offset, rate, watched=len(self.server.history))

    def restart(self, who: int) -> None:
        old = self.processes[who]
        if old.pending is not None and not old.arrived:
            self.late.append(old.pending)
        self.processes[who] = self.process(old.offset, old.rate)

    def ask(self, who: int) -> None:
        process = self.processes[who]
        if process.pending is not None:
            return
        now = process.now(self.truth)
        match process.election.ask(now, EPOCH):  # wall clocks that stand still must do no harm
            case End():
                self.restart(who)
            case Wait(until):
                assert until > now
            case request:
                assert 0 < request.timeout_seconds <= TIMINGS.renew_deadline_seconds / 2
                process.pending, process.sent_at, process.arrived = request, now, False

    def arrive(self, who: int) -> None:
        process = self.processes[who]
        if process.pending is not None and not process.arrived:
            process.answer = self.server.carry_out(process.pending)
            process.arrived = True

    def hear(self, who: int) -> None:
        process = self.processes[who]
        if process.pending is None or not process.arrived:
            return
        now, answer = process.now(self.truth), process.answer
        if isinstance(process.pending, Read) and isinstance(answer, NotFound):
            process.pending = None
            process.election.read(None, now)
        elif isinstance(answer, ApiError):
            self.give_up(who, answer)
        elif isinstance(process.pending, Read):
            process.pending = None
            process.election.read(answer, now)
        else:
            request, process.pending = process.pending, None
            assert answer is not None
            process.election.wrote(request, answer, process.sent_at, now)

    def give_up(self, who: int, error: ApiError) -> None:
        process = self.processes[who]
        if process.pending is None:
            return
        request, process.pending = process.pending, None
        process.election.failed(request, error, process.sent_at, process.now(self.truth))

    def notice(self, who: int) -> None:
        process = self.processes[who]
        if process.watched < len(self.server.history):
            version, lease = self.server.history[process.watched]
            process.watched += 1
            process.election.noticed(jsonio.deep_copy(lease) if lease else None, version, process.now(self.truth))

    def notice_all(self, who: int) -> None:
        while self.processes[who].watched < len(self.server.history):
            self.notice(who)

    def skip_ahead(self, who: int) -> None:
        """Let exactly the time pass that a candidate with nothing to do waits for."""
        process = self.processes[who]
        if process.pending is None:
            step = process.election.ask(process.now(self.truth), EPOCH)
            if isinstance(step, Wait):
                self.truth = max(self.truth, (step.until - process.offset) / process.rate + 1e-6)

    def leaders(self) -> list[Process]:
        return [p for p in self.processes if p.election.seconds_left(p.now(self.truth)) > 0]


class ElectionMachine(RuleBasedStateMachine):
    @initialize(
        offsets=st.tuples(*[st.integers(-1_000_000, 1_000_000) for _ in CANDIDATES]),
        rates=st.tuples(*[st.sampled_from([1.0, 1.49]) for _ in CANDIDATES]),
    )
    def begin(self, offsets: tuple[int, ...], rates: tuple[float, ...]) -> None:
        self.world = World()
        for offset, rate in zip(offsets, rates, strict=True):
            self.world.processes.append(self.world.process(offset, rate))

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 2.0, 5.0, 9.9, 10.1, 15.1]))
    def time_passes(self, seconds: float) -> None:
        self.world.truth += seconds

    @rule(who=candidates)
    def candidate_sends(self, who: int) -> None:
        self.world.ask(who)

    @rule(who=candidates)
    def request_arrives(self, who: int) -> None:
        self.world.arrive(who)

    @rule(who=candidates)
    def candidate_hears(self, who: int) -> None:
        self.world.hear(who)

    @rule(who=candidates, seconds=st.sampled_from([0.0, 1.9, 7.5, 10.1]), is_seen=st.booleans())
    def exchange(self, who: int, seconds: float, is_seen: bool) -> None:
        self.world.ask(who)
        self.world.arrive(who)
        if is_seen:
            for other in CANDIDATES:
                self.world.notice_all(other)
        self.world.truth += seconds
        self.world.hear(who)

    @precondition(lambda self: self.world.leaders())
    @rule(seconds=st.sampled_from([0.0, 1.9, 7.5, 10.1]))
    def leader_renews_slowly(self, seconds: float) -> None:
        who = self.world.processes.index(self.world.leaders()[0])
        self.world.skip_ahead(who)
        self.exchange(who, seconds, True)

    @rule(who=candidates, rounds=st.integers(5, 20))
    def others_are_paused(self, who: int, rounds: int) -> None:
        for _ in range(rounds):
            self.world.ask(who)
            self.world.arrive(who)
            self.world.hear(who)
            self.at_most_one_may_write()
            self.world.skip_ahead(who)

    @rule(who=candidates, kind=st.sampled_from(["lost", "late", "error"]))
    def answer_does_not_come(self, who: int, kind: str) -> None:
        process = self.world.processes[who]
        if process.pending is None:
            return
        if kind == "error" and not process.arrived:
            self.world.give_up(who, ApiError(500, "InternalError", ""))
            return
        if kind == "late" and not process.arrived:
            self.world.late.append(process.pending)
        self.world.give_up(who, Unreachable(0, "Timeout", ""))

    @precondition(lambda self: self.world.late)
    @rule(data=st.data())
    def late_request_arrives(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(self.world.late) - 1))
        self.world.server.carry_out(self.world.late.pop(at))

    @rule(who=candidates)
    def watch_delivers(self, who: int) -> None:
        self.world.notice(who)

    @rule()
    def lease_is_deleted(self) -> None:
        self.world.server.delete()

    @rule(who=candidates)
    def candidate_resigns(self, who: int) -> None:
        process = self.world.processes[who]
        if process.pending is None:
            process.election.resign(process.now(self.world.truth))

    @rule(who=candidates)
    def candidate_dies(self, who: int) -> None:
        self.world.restart(who)

    @rule(rounds=st.integers(1, 40))
    def all_goes_well(self, rounds: int) -> None:
        self._calm(rounds)

    @invariant()
    def at_most_one_may_write(self) -> None:
        if hasattr(self, "world"):
            leaders = [p.election.identity for p in self.world.leaders()]
            assert len(leaders) <= 1, leaders

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self._calm(160)
            assert len(self.world.leaders()) == 1
            leader = self.world.leaders()[0]
            self._calm(40)
            assert self.world.leaders() == [leader]
            assert leader.election.holder == leader.election.identity

    def _calm(self, rounds: int) -> None:
        for _ in range(rounds):
            for who in CANDIDATES:
                for _ in range(3):
                    self.world.ask(who)
                    self.world.arrive(who)
                    self.world.hear(who)
                    self.at_most_one_may_write()
                self.world.notice_all(who)
                self.at_most_one_may_write()
            self.world.truth += 0.5


TestElection: Any = ElectionMachine.TestCase
TestElection.settings = settings(stateful_step_count=50)


def test_phase_names_are_in_the_order_in_which_a_candidate_goes_through_them() -> None:
    assert [phase.name for phase in Phase] == ["STANDBY", "LEADING", "RELEASING", "LOST", "ENDED"]
