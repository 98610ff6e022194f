"""A transport used by many threads while its connections are shut down under their hands."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from dpunetop.base.clock import RealClock
from dpunetop.base.stop import Stop
from dpunetop.kube.errors import Unreachable
from dpunetop.kube.requests import Request
from dpunetop.runtime.client.transport import Anonymous, CallOptions, Connection, Transport
from dpunetop.runtime.metrics import Metrics
from support.lyingserver import Asked, LyingServer, Wire, ca_pem

SECONDS = 5.0
ENOUGH = 100
"""Of right answers, however long that takes."""


@pytest.fixture(autouse=True)
def threads_are_switched_every_microsecond() -> Iterator[None]:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def answer(wire: Wire, asked: Asked) -> None:
    if "watch" in asked.target:
        wire.begin_stream()
        while True:
            wire.chunk(b"{}\n")
    wire.json(200, {"said": asked.target})


def test_each_answer_belongs_to_its_request_however_often_connections_are_cut() -> None:
    stop, outcomes = Stop(), Counter[str]()
    with LyingServer(answer) as server:
        transport = Transport(
            Connection(server.url, ca_pem(), Anonymous()),
            stop,
            user_agent="stress",
            metrics=Metrics().client("h"),
            clock=RealClock(),
            max_calls=4,
        )

        def call(number: int) -> None:
            for turn in range(1_000_000):
                target = f"/{number}/{turn}"
                try:
                    body = transport.call(Request("GET", target), CallOptions(60.0)).body
                    outcomes["right" if body == b'{"said": "%s"}' % target.encode() else "wrong"] += 1
                except Unreachable as err:
                    outcomes[err.reason] += 1
                if stop.is_set():
                    return

        def read() -> None:
            while not stop.is_set():
                try:
                    with transport.stream(Request("GET", "/watch")) as lines:
                        for _ in range(50):
                            outcomes["right" if next(lines) == b"{}" else "wrong"] += 1
                except Unreachable as err:
                    outcomes[err.reason] += 1

        threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
        threads += [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        begun = time.monotonic()
        while time.monotonic() - begun < SECONDS or outcomes["right"] <= ENOUGH:
            stop.wait(0.02)
            transport.close_connections()
        stop.set()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)
    assert set(outcomes) <= {"right", "Reset", "Stopped"}
    assert len(transport._sockets) == 0
