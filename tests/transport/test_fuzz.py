"""Whatever bytes a server sends, what comes out is an answer or an ApiError, and the next request is answered."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dpunetop.base.clock import RealClock
from dpunetop.base.stop import Stop
from dpunetop.kube.errors import ApiError, Unreachable
from dpunetop.kube.keys import NODES
from dpunetop.kube.requests import Selection
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.client.transport import Anonymous, Connection, Transport
from dpunetop.runtime.metrics import Metrics
from support.lyingserver import Asked, LyingServer, Wire, ca_pem

PLAIN = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 59\r\n\r\n"
    b'{"metadata":{"resourceVersion":"1","continue":""},"items":[]}'
)
EVENT = b'{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"1"}}}\n'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(EVENT), EVENT)

TOKENS = [
    b"\r\n",
    b"\r",
    b"\n\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 99999999999999999999999\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Connection: close\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.0 410 Gone\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"-1\r\n",
    b"\xb2",
    b"\x00",
    b"[[[[",
    b'"metadata":null,',
    b'"continue":"x",',
]
PIECE = st.one_of(st.sampled_from(TOKENS), st.binary(max_size=8))


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """An honest answer in which a few places are cut out and replaced."""
    data = draw(st.sampled_from([PLAIN, CHUNKED]))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = start + draw(st.integers(0, 12))
        data = data[:start] + draw(PIECE) + data[end:]
    return data


def test_any_bytes_are_an_answer_or_an_error() -> None:
    lie = b""

    def answer(wire: Wire, asked: Asked) -> None:
        wire.send(lie)
        wire.reset() if len(lie) % 2 else wire._sock.unwrap()

    def honest(wire: Wire, asked: Asked) -> None:
        wire.json(200, {"metadata": {"name": "a"}})

    stop, clock, metrics = Stop(), RealClock(), Metrics().client("h")
    with LyingServer(answer) as server:
        connection = Connection(server.url, ca_pem(), Anonymous())
        transport = Transport(connection, stop, user_agent="fuzz", metrics=metrics, clock=clock, max_calls=1)
        client = Client(transport, clock=clock, metrics=metrics, name="t", random=lambda: 0.0)

        @given(spoiled(), st.booleans())
        def holds(data: bytes, is_watch: bool) -> None:
            nonlocal lie
            lie, server.answer = data, answer
            with suppress(ApiError):
                list(client.watch(Selection(NODES), "1") if is_watch else client.pages(Selection(NODES), 9))
            server.answer = honest
            assert after_resets(client) == {"metadata": {"name": "a"}}

        holds()
        stop.set()


def after_resets(client: Client) -> dict[str, Any]:
    """The end of the last connection may be on its way still."""
    for _ in range(3):
        try:
            return client.get(NODES, "", "a")
        except Unreachable as err:
            if err.reason != "Reset":
                raise
    raise AssertionError("reset again and again")
