"""A Node is gone once two quorum reads say so, far enough apart."""

from __future__ import annotations

from typing import Any, cast

import pytest

from dpunetop.base.stop import Stop
from dpunetop.controllers.drain.nodeabsence import NodeAbsence, NodeAbsences
from dpunetop.controllers.inquiries import Inquiries
from dpunetop.kube.errors import ApiError, Forbidden, NotFound, Unreachable
from dpunetop.kube.keys import INFRA, Key
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.reading import Waker
from support.clock import FakeClock

GONE = NotFound(404, "NotFound", "")


class Server:
    def __init__(self) -> None:
        self.answer: Any = GONE
        self.asked = 0

    def get(self, *_: object) -> Any:
        self.asked += 1
        if isinstance(self.answer, ApiError):
            raise self.answer
        return self.answer


class Desk:
    def __init__(self) -> None:
        self.clock, self.server, self.woken = FakeClock(), Server(), list[Key]()
        self.waker = Waker(self.woken.append, Key(INFRA, "host", "h"))
        self.inquiries = Inquiries()
        self.absences = NodeAbsences(self.inquiries, lambda _: cast(Client, self.server), self.clock)

    def look(self) -> tuple[bool, float | None]:
        """What a look shows once all questions are answered."""
        found = self.find()
        return found.confirmed, found.recheck_seconds

    def find(self, cluster: str = INFRA, name: str = "d", apart_seconds: float = 600.0) -> NodeAbsence:
        self.absences.look(cluster, name, apart_seconds, self.waker)
        self.inquiries.reconcile(Key(cluster, "", "node"), Stop())
        return self.absences.look(cluster, name, apart_seconds, self.waker)


def test_it_is_asked_twice_and_not_in_between() -> None:
    desk = Desk()
    assert desk.look() == (False, 600.0)
    desk.clock.step(599.0)
    assert desk.look() == (False, 1.0)
    assert desk.server.asked == 1
    desk.clock.step(1.0)
    assert desk.look() == (True, None)
    assert desk.look() == (True, None)
    assert desk.server.asked == 2


def test_a_node_that_was_seen_meanwhile_is_counted_anew() -> None:
    desk = Desk()
    desk.look()
    desk.absences.seen(INFRA, "d")
    desk.clock.step(600.0)
    assert desk.look() == (False, 600.0)


def test_a_node_that_the_server_shows_is_there_whatever_the_cache_says() -> None:
    desk = Desk()
    desk.server.answer = {"metadata": {"name": "d"}}
    found = desk.find()
    assert (found.confirmed, found.found) == (False, {"metadata": {"name": "d"}})


def test_a_server_that_does_not_answer_confirms_nothing() -> None:
    desk = Desk()
    desk.look()
    desk.clock.step(600.0)
    desk.server.answer = Unreachable(0, "Timeout", "")
    assert desk.look() == (False, 5.0)
    desk.server.answer = GONE
    desk.clock.step(5.0)
    assert desk.look() == (True, None)


def test_a_node_that_the_server_shows_meanwhile_is_counted_anew() -> None:
    desk = Desk()
    desk.look()
    desk.clock.step(600.0)
    desk.server.answer = {"metadata": {"name": "d"}}
    desk.look()
    desk.server.answer = GONE
    desk.clock.step(5.0)
    assert desk.look() == (False, 600.0)


def test_one_that_is_gone_for_certain_is_so_until_it_is_seen_again() -> None:
    desk = Desk()
    desk.look()
    desk.clock.step(600.0)
    desk.look()
    desk.clock.step(86_400.0)
    assert desk.look() == (True, None)
    desk.absences.seen(INFRA, "d")
    assert desk.look() == (False, 600.0)


@pytest.mark.parametrize("error", [Unreachable(0, "Timeout", ""), Forbidden(403, "Forbidden", "no")])
def test_an_error_at_the_first_look_begins_no_count(error: ApiError) -> None:
    desk = Desk()
    desk.server.answer = error
    assert desk.look() == (False, 5.0)
    desk.clock.step(600.0)
    desk.server.answer = GONE
    assert desk.look() == (False, 600.0)


def test_nodes_of_one_name_in_two_clusters_are_counted_each_for_itself() -> None:
    desk = Desk()
    desk.look()
    desk.clock.step(60.0)
    assert desk.find("tenant/a/b", "d", 60.0).confirmed is False
    assert desk.find(INFRA, "e", 60.0).confirmed is False
    desk.clock.step(540.0)
    desk.absences.seen("tenant/a/b", "d")
    assert desk.look() == (True, None)


def test_a_look_waits_for_no_server_and_is_woken_by_the_answer() -> None:
    desk = Desk()
    assert [desk.absences.look(INFRA, "d", 600.0, desk.waker) for _ in range(2)] == [NodeAbsence(is_unasked=True)] * 2
    assert (desk.server.asked, desk.woken) == (0, [])
    desk.inquiries.reconcile(Key(INFRA, "", "node"), Stop())
    assert (desk.server.asked, desk.woken) == (1, [desk.waker.key])
