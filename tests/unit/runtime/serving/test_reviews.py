from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from dpunetop.base.stop import Stop
from dpunetop.kube.errors import ApiError, Forbidden, Unreachable
from dpunetop.kube.keys import SUBJECTACCESSREVIEWS, TOKENREVIEWS, Resource
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.serving.reviews import STRANGERS, Reviewer, Verdict
from support.clock import FakeClock

SCRAPER = {"username": "system:serviceaccount:mon:prom", "uid": "u", "groups": ["g"], "extra": {"pod": ["p"]}}


class Server:
    """Knows the token `good`, and lets its bearer read /metrics."""

    def __init__(self) -> None:
        self.asked: list[tuple[Resource, dict[str, Any]]] = []
        self.user: str | dict[str, Any] | None = SCRAPER
        self.allowed = True
        self.failures: list[Exception] = []
        self.entered = threading.Event()
        self.hold: threading.Event | None = None

    def create(
        self, resource: Resource, namespace: str, obj: dict[str, Any], timeout_seconds: float
    ) -> dict[str, Any] | None:
        self.asked.append((resource, obj["spec"]))
        self.entered.set()
        if self.hold is not None:
            assert self.hold.wait(60)
        if self.failures:
            raise self.failures.pop(0)
        if resource is TOKENREVIEWS:
            good = obj["spec"]["token"].startswith("good")
            return {"status": {"authenticated": True, "user": self.user} if good else {}}
        return {"status": {"allowed": self.allowed}}

    def count(self, resource: Resource) -> int:
        return sum(asked is resource for asked, _ in self.asked)


class Hurried(Stop):
    """Notes the pauses that it is asked for, and lets the clock go on instead of waiting."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock = clock
        self.pauses: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.pauses.append(timeout)
        self.clock.step(timeout)
        return self.is_set()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def stop(clock: FakeClock) -> Hurried:
    return Hurried(clock)


@pytest.fixture
def reviewer(server: Server, clock: FakeClock) -> Reviewer:
    return Reviewer(cast(Client, server), clock, lambda: 0.0)


@pytest.fixture
def judge(reviewer: Reviewer, stop: Hurried) -> Callable[..., Verdict]:
    return lambda token="good", path="/metrics", peer="192.0.2.1": reviewer.judge(token, path, "get", stop, peer=peer)


def test_a_known_caller_with_the_right_is_allowed(judge: Callable[..., Verdict], server: Server) -> None:
    assert judge() is Verdict.ALLOWED
    assert server.asked == [
        (TOKENREVIEWS, {"token": "good"}),
        (
            SUBJECTACCESSREVIEWS,
            {
                "user": "system:serviceaccount:mon:prom",
                "uid": "u",
                "groups": ["g"],
                "extra": {"pod": ["p"]},
                "nonResourceAttributes": {"path": "/metrics", "verb": "get"},
            },
        ),
    ]


def test_an_unknown_token_is_refused_without_asking_for_rights(judge: Callable[..., Verdict], server: Server) -> None:
    assert judge("bad") is Verdict.UNKNOWN_CALLER
    assert server.count(SUBJECTACCESSREVIEWS) == 0


@pytest.mark.parametrize("token", ["", "x" * 20_000], ids=["no token", "an enormous token"])
def test_what_is_no_token_is_refused_without_asking(judge: Callable[..., Verdict], server: Server, token: str) -> None:
    assert judge(token) is Verdict.UNKNOWN_CALLER
    assert server.asked == []


@pytest.mark.parametrize("user", [None, {}, {"username": ""}, "root"])
def test_an_answer_without_a_name_is_no_authentication(
    judge: Callable[..., Verdict], server: Server, user: str | dict[str, Any] | None
) -> None:
    server.user = user
    assert judge() is Verdict.UNKNOWN_CALLER


def test_a_known_caller_without_the_right_is_denied(judge: Callable[..., Verdict], server: Server) -> None:
    server.allowed = False
    assert judge() is Verdict.DENIED


def test_a_token_is_reviewed_once_a_minute(judge: Callable[..., Verdict], server: Server, clock: FakeClock) -> None:
    for _ in range(100):
        judge()
    assert server.count(TOKENREVIEWS) == 1
    clock.step(60)
    judge()
    assert server.count(TOKENREVIEWS) == 2


def test_a_refused_token_is_reviewed_once_a_minute_too(judge: Callable[..., Verdict], server: Server) -> None:
    for _ in range(100):
        judge("bad")
    assert server.count(TOKENREVIEWS) == 1


@pytest.mark.parametrize(("allowed", "seconds"), [(True, 300), (False, 30)])
def test_a_right_is_remembered_for_its_time(
    judge: Callable[..., Verdict], server: Server, clock: FakeClock, allowed: bool, seconds: int
) -> None:
    server.allowed = allowed
    judge()
    clock.step(seconds - 1)
    judge()
    assert server.count(SUBJECTACCESSREVIEWS) == 1
    clock.step(1)
    judge()
    assert server.count(SUBJECTACCESSREVIEWS) == 2


def test_a_right_counts_for_its_path_only(judge: Callable[..., Verdict], server: Server) -> None:
    judge(path="/metrics")
    server.allowed = False
    assert judge(path="/other") is Verdict.DENIED


def test_a_passing_failure_is_tried_again_with_growing_pauses(
    judge: Callable[..., Verdict], server: Server, stop: Hurried
) -> None:
    server.failures = [Unreachable(0, "Reset", ""), ApiError(503, "ServiceUnavailable", "")]
    assert judge() is Verdict.ALLOWED
    assert stop.pauses == [0.5, 0.75]


def test_a_failure_that_lasts_refuses(judge: Callable[..., Verdict], server: Server) -> None:
    server.failures = [Unreachable(0, "Refused", "")] * 5
    assert judge() is Verdict.UNDECIDED
    assert len(server.asked) == 5


def test_a_failure_is_not_remembered(judge: Callable[..., Verdict], server: Server) -> None:
    server.failures = [Unreachable(0, "Refused", "")] * 5
    judge()
    assert judge() is Verdict.ALLOWED


def test_a_review_that_we_may_not_make_refuses_at_once(judge: Callable[..., Verdict], server: Server) -> None:
    server.failures = [Forbidden(403, "Forbidden", "")]
    assert judge() is Verdict.UNDECIDED
    assert len(server.asked) == 1


def test_no_try_is_begun_once_it_is_time_to_stop(judge: Callable[..., Verdict], server: Server, stop: Hurried) -> None:
    stop.set()
    server.failures = [Unreachable(0, "Refused", "")] * 5
    assert judge() is Verdict.UNDECIDED
    assert len(server.asked) == 1


def test_many_callers_at_once_ask_once(judge: Callable[..., Verdict], server: Server) -> None:
    server.hold = hold = threading.Event()
    verdicts = []
    threads = [threading.Thread(target=lambda: verdicts.append(judge())) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert server.entered.wait(60)
    hold.set()
    for thread in threads:
        thread.join(60)
    assert verdicts == [Verdict.ALLOWED] * 8
    assert (server.count(TOKENREVIEWS), server.count(SUBJECTACCESSREVIEWS)) == (1, 1)


def refused(judge: Callable[..., Verdict], count: int, peer: Callable[[int], str] = lambda n: "192.0.2.1") -> int:
    """Of `count` tokens that nobody knows, how many are not even asked about."""
    return sum(judge(f"bad-{n}-{peer(n)}", peer=peer(n)) is Verdict.CROWDED for n in range(count))


def test_one_address_has_few_strangers_reviewed(
    judge: Callable[..., Verdict], server: Server, clock: FakeClock
) -> None:
    assert refused(judge, 100) == 80
    clock.step(1)
    assert judge("another") is judge("yet another") is Verdict.UNKNOWN_CALLER
    assert judge("one more") is Verdict.CROWDED
    assert server.count(TOKENREVIEWS) == 22


def test_all_addresses_together_have_few_strangers_reviewed(
    judge: Callable[..., Verdict], server: Server, clock: FakeClock
) -> None:
    assert refused(judge, 100, peer=lambda n: f"192.0.2.{n}") == 60
    clock.step(1)
    assert refused(judge, 100, peer=lambda n: f"198.51.100.{n}") == 90
    assert server.count(TOKENREVIEWS) == 40 + 10


def test_a_stranger_from_another_address_is_heard_while_one_address_has_had_its_share(
    judge: Callable[..., Verdict],
) -> None:
    refused(judge, 100)
    assert judge("good", peer="192.0.2.2") is Verdict.ALLOWED


def test_whoever_was_allowed_is_reviewed_again_whatever_strangers_do(
    judge: Callable[..., Verdict], server: Server, clock: FakeClock
) -> None:
    assert judge() is Verdict.ALLOWED
    clock.step(59)
    refused(judge, 100, peer=lambda n: f"192.0.2.{n % 100}")
    clock.step(1)
    assert judge() is Verdict.ALLOWED
    clock.step(300)
    refused(judge, 100, peer=lambda n: f"192.0.2.{n % 100}")
    assert judge() is Verdict.ALLOWED


def test_rights_that_nobody_gave_are_asked_for_within_the_budget_too(
    judge: Callable[..., Verdict], server: Server
) -> None:
    server.allowed = False
    for n in range(30):
        server.user = {"username": f"user-{n}"}
        judge(f"good-{n}")
    assert len(server.asked) == 20


def test_a_scraper_with_a_new_token_each_time_is_no_burden(judge: Callable[..., Verdict]) -> None:
    assert {judge(f"good-{n}") for n in range(200)} == {Verdict.ALLOWED}


def test_strangers_never_wait_in_more_threads_than_are_theirs(judge: Callable[..., Verdict], server: Server) -> None:
    server.hold = hold = threading.Event()
    verdicts = []
    threads = [
        threading.Thread(target=lambda n=n: verdicts.append(judge(f"bad-{n}", peer=f"192.0.2.{n}")))
        for n in range(STRANGERS)
    ]
    for thread in threads:
        thread.start()
    while len(server.asked) < STRANGERS:
        assert server.entered.wait(60)
    assert judge("one more", peer="192.0.2.100") is Verdict.CROWDED
    hold.set()
    for thread in threads:
        thread.join(60)
    assert verdicts == [Verdict.UNKNOWN_CALLER] * STRANGERS


def test_a_failure_gives_the_strangers_place_back(judge: Callable[..., Verdict], server: Server) -> None:
    for n in range(STRANGERS + 1):
        server.failures = [Forbidden(403, "Forbidden", "")]
        assert judge(f"bad-{n}", peer=f"192.0.2.{n}") is Verdict.UNDECIDED
    assert judge("good", peer="192.0.2.200") is Verdict.ALLOWED


def test_whoever_lost_the_right_is_a_stranger(judge: Callable[..., Verdict], server: Server, clock: FakeClock) -> None:
    assert judge() is Verdict.ALLOWED
    server.allowed = False
    clock.step(300)
    assert judge() is Verdict.DENIED
    refused(judge, 100)
    clock.step(60)
    refused(judge, 100)
    assert judge() is Verdict.CROWDED
