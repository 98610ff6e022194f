from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from dpunetop.base.clock import RealClock
from dpunetop.kube.errors import ApiError, Gone, TooManyRequests, Unreachable
from dpunetop.kube.keys import LEASES, NODES, TOKENREVIEWS
from dpunetop.kube.requests import Request, Selection
from dpunetop.kube.watch import interpret
from dpunetop.runtime.client.client import CALL_SECONDS, Client
from dpunetop.runtime.client.transport import CallOptions, Pool, TokenFile, Transport
from support.lyingserver import Asked, LyingServer, Wire

NODE = {"metadata": {"name": "dpu-1", "resourceVersion": "7"}}


def test_a_token_that_was_replaced_is_read_when_the_old_one_is_refused(
    connect: Callable[..., Transport], client_of: Callable[[Transport], Client], tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("old")

    def only_new(wire: Wire, asked: Asked) -> None:
        known = asked.headers["authorization"] == "Bearer new"
        wire.json(200, NODE) if known else wire.answer(401, b"")

    with LyingServer(only_new) as server:
        client = client_of(connect(server, TokenFile(str(file))))
        server.answer = lambda wire, _: wire.json(200, NODE)
        client.get(NODES, "", "dpu-1")
        file.write_text("new")
        server.answer = only_new
        assert client.update(NODES, "", "dpu-1", NODE) == NODE
    assert [asked.headers["authorization"] for asked in server.asked] == ["Bearer old", "Bearer old", "Bearer new"]


def test_of_requests_in_flight_when_a_token_changes_none_fails(
    connect: Callable[..., Transport], client_of: Callable[[Transport], Client], tmp_path: Path
) -> None:
    file, in_flight, answers = tmp_path / "token", 8, list[Any]()
    file.write_text("old")
    all_there = threading.Barrier(in_flight)

    def only_new(wire: Wire, asked: Asked) -> None:
        if asked.headers["authorization"] == "Bearer new":
            wire.json(200, NODE)
            return
        if all_there.wait(60) == 0:
            file.write_text("new")
        all_there.wait(60)
        wire.answer(401, b"")

    with LyingServer(only_new) as server:
        client = client_of(connect(server, TokenFile(str(file))))
        threads = [
            threading.Thread(target=lambda: answers.append(client.get(NODES, "", "dpu-1"))) for _ in range(in_flight)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert answers == [NODE] * in_flight


def test_a_probe_that_met_a_token_that_has_changed_since_asks_again(
    connect: Callable[..., Transport], client_of: Callable[[Transport], Client], tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("old")

    def only_new(wire: Wire, asked: Asked) -> None:
        known = asked.headers["authorization"] == "Bearer new"
        file.write_text("new")
        wire.answer(200 if known else 401, b"ok")

    with LyingServer(only_new) as server:
        client_of(connect(server, TokenFile(str(file)))).probe(60.0)
    assert [asked.headers["authorization"] for asked in server.asked] == ["Bearer old", "Bearer new"]


def test_a_server_that_takes_longer_for_each_answer_than_a_connection_may_take_to_stand_is_there(
    connect: Callable[..., Transport], client_of: Callable[[Transport], Client]
) -> None:
    def slow(wire: Wire, asked: Asked) -> None:
        if wire.pause(6.6):
            wire.answer(200, b"ok")

    with LyingServer(slow) as server:
        client_of(connect(server)).probe(6.0)
        assert len(server.asked) == 2


def test_a_port_that_takes_connections_and_says_nothing_is_given_up_before_the_time_of_a_call(
    connect: Callable[..., Transport], client_of: Callable[[Transport], Client]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        client = client_of(connect(f"https://127.0.0.1:{mute.getsockname()[1]}"))
        began = time.monotonic()
        with pytest.raises(Unreachable) as caught:
            client.probe(0.5)
    assert (caught.value.reason, time.monotonic() - began < CALL_SECONDS / 2) == ("Timeout", True)


KEPT = [pool for pool in Pool if pool is not Pool.WATCHES]


@pytest.mark.parametrize("pool", KEPT, ids=[pool.name for pool in KEPT])
def test_no_request_waits_on_a_connection_that_was_kept_when_something_in_between_went_silent(
    connect: Callable[..., Transport], pool: Pool
) -> None:
    known: set[Wire] = set()
    forgotten: set[Wire] = set()

    def answer(wire: Wire, asked: Asked) -> None:
        known.add(wire)
        wire.silence() if wire in forgotten else wire.json(200, {})

    with LyingServer(answer) as server:
        transport = connect(server)
        options = CallOptions(CALL_SECONDS, pool)
        transport.call(Request("GET", "/before"), options)
        forgotten |= known
        transport.leave_silent(time.monotonic())
        assert transport.call(Request("GET", "/after"), options).status == 200
        assert len(known) == 2


class Ahead(RealClock):
    """The real time, and some more."""

    seconds = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.seconds


def test_a_probe_closes_the_connections_that_a_burst_of_calls_has_left_but_two(
    connect: Callable[..., Transport], client_of: Callable[[Transport], Client]
) -> None:
    clock, burst = Ahead(), 6
    all_there, wires = threading.Barrier(burst), list[Wire]()

    def answer(wire: Wire, asked: Asked) -> None:
        if asked.target == "/readyz":
            wire.answer(200, b"ok")
            return
        wires.append(wire)
        all_there.wait(60)
        wire.json(200, NODE)

    with LyingServer(answer) as server:
        client = client_of(connect(server, clock=clock))

        def new_connections() -> int:
            before = set(wires)
            threads = [threading.Thread(target=client.get, args=(NODES, "", "dpu-1")) for _ in range(burst)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            return len(set(wires) - before)

        assert new_connections() == burst
        client.probe(5.0)
        assert new_connections() == 0
        clock.seconds = 60.0
        client.probe(5.0)
        assert new_connections() == burst - 2


@pytest.mark.parametrize("lives", [True, False])
def test_a_server_that_is_not_ready_is_asked_whether_it_lives(
    connect: Callable[..., Transport], client_of: Callable[[Transport], Client], lives: bool
) -> None:
    """kube-apiserver that shuts down: /readyz fails, /livez does not; without etcd both do."""

    def ending(wire: Wire, asked: Asked) -> None:
        wire.answer(200 if asked.target == "/livez" and lives else 500, b"[-]shutdown failed: reason withheld")

    with LyingServer(ending) as server, nullcontext() if lives else pytest.raises(ApiError, match="shutdown failed"):
        client_of(connect(server)).probe(60.0)
    assert [asked.target for asked in server.asked] == ["/readyz", "/readyz", "/livez"]


def test_an_overloaded_server_is_waited_for(
    connect: Callable[..., Transport], client_of: Callable[[Transport], Client]
) -> None:
    answers = iter((429, 200))

    def once_too_many(wire: Wire, asked: Asked) -> None:
        if next(answers) == 429:
            wire.answer(429, b"Too many requests, please try again later.\n", {"Retry-After": "1"})
        else:
            wire.json(200, NODE)

    with LyingServer(once_too_many) as server:
        assert client_of(connect(server)).get(NODES, "", "dpu-1") == NODE


def test_a_budget_that_forbids_an_eviction_is_said_at_once(
    connect: Callable[..., Transport], client_of: Callable[[Transport], Client]
) -> None:
    status = {"kind": "Status", "code": 429, "details": {"causes": [{"reason": "DisruptionBudget"}]}}
    with LyingServer(lambda wire, _: wire.json(429, status)) as server, pytest.raises(TooManyRequests) as caught:
        client_of(connect(server)).create_sub(NODES, "", "p", "eviction", {})
    assert caught.value.causes == ({"reason": "DisruptionBudget"},)


def test_a_watch_whose_version_expired_says_so_in_its_first_line(
    connect: Callable[..., Transport], client_of: Callable[[Transport], Client]
) -> None:
    def expired(wire: Wire, asked: Asked) -> None:
        wire.begin_stream()
        wire.event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"})
        wire.end_stream()

    with LyingServer(expired) as server:
        [event] = client_of(connect(server)).watch(Selection(NODES), "1")
    with pytest.raises(Gone):
        interpret(event)


def test_a_renewal_does_not_wait_for_calls_that_hang(
    connect: Callable[..., Transport], client_of: Callable[[Transport], Client]
) -> None:
    def hang_but_for_leases(wire: Wire, asked: Asked) -> None:
        wire.json(200, NODE) if "leases" in asked.target else wire.silence()

    with LyingServer(hang_but_for_leases) as server:
        client = client_of(connect(server, max_calls=1))
        hanging = threading.Thread(target=pytest.raises, args=(Unreachable, client.get, NODES, "", "dpu-1"))
        hanging.start()
        while not server.asked:
            threading.Event().wait(0.005)
        assert client.for_lease().get(LEASES, "ns", "l") == NODE
        client.close_connections()
        hanging.join(60)
    assert [asked.target.rsplit("/", 1)[-1] for asked in server.asked] == ["dpu-1", "l"]


def test_calls_do_not_wait_for_reviews_that_hang_and_those_take_four_connections(
    connect: Callable[..., Transport], client_of: Callable[[Transport], Client]
) -> None:
    def hang_but_for_nodes(wire: Wire, asked: Asked) -> None:
        wire.json(200, NODE) if "nodes" in asked.target else wire.silence()

    with LyingServer(hang_but_for_nodes) as server:
        client = client_of(connect(server, max_calls=1))
        ask: tuple[Any, ...] = (client.for_reviews().create, TOKENREVIEWS, "", {})
        hanging = [threading.Thread(target=pytest.raises, args=(Unreachable, *ask)) for _ in range(4)]
        for thread in hanging:
            thread.start()
        while len(server.asked) < 4:
            threading.Event().wait(0.005)
        with pytest.raises(Unreachable, match="all connections stayed busy"):
            client.for_reviews().create(TOKENREVIEWS, "", {}, timeout_seconds=0.1)
        assert client.get(NODES, "", "dpu-1") == NODE
        client.close_connections()
        for thread in hanging:
            thread.join(60)
