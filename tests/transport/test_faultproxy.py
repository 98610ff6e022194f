"""A fault proxy before a scripted server: transparent when idle, silent or struck exactly when told."""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from weakref import WeakKeyDictionary

import pytest

from support.faultproxy import FaultProxy, Upstream
from support.faults import Fault, Phase, Then, WriteCounter, drop_ack, kill, stop
from support.lyingserver import Answer, Asked, LyingServer, Wire, ca_pem, head
from support.trial import eventually

SECONDS = 60.0
CONFIG_MAP = "/api/v1/namespaces/a/configmaps/c"


class Client:
    """One TLS connection that speaks bytes."""

    def __init__(self, proxy: FaultProxy) -> None:
        trust = ssl.create_default_context(cadata=proxy.ca_pem.decode())
        plain = socket.create_connection(("127.0.0.1", int(proxy.url.rsplit(":", 1)[1])), SECONDS)
        try:
            self.sock = trust.wrap_socket(plain, server_hostname="127.0.0.1")
        except OSError:
            plain.close()
            raise
        self.stream = self.sock.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        self.sock.close()

    def send(self, method: str, path: str, body: bytes = b"", agent: str = "test/1") -> None:
        lines = f"{method} {path} HTTP/1.1\r\nHost: api\r\nUser-Agent: {agent}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.sock.sendall(lines.encode() + body)

    def status(self) -> int:
        """Read one whole answer with a Content-Length; its status."""
        first, length = self.stream.readline(), 0
        if not first:
            raise EOFError
        while line := self.stream.readline().strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        self.stream.read(length)
        return int(first.split()[1])

    def until_reset(self) -> None:
        """Read past TLS, which would take a RST for an end. Raises: AssertionError for any other ending."""
        with pytest.raises(ConnectionResetError):
            self._read_past_tls()

    def _read_past_tls(self) -> None:
        while socket.socket.recv(self.sock, 4096):
            pass

    def ask(self, method: str, path: str, body: bytes = b"") -> int:
        self.send(method, path, body)
        return self.status()


@contextlib.contextmanager
def proxied(answer: Answer, counter: WriteCounter | None = None) -> Iterator[tuple[FaultProxy, LyingServer]]:
    with LyingServer(answer) as server, FaultProxy("infra", Upstream(server.url, ca_pem().encode()), counter) as proxy:
        yield proxy, server


_VERSIONS: WeakKeyDictionary[Wire, Iterator[int]] = WeakKeyDictionary()
"""Of each connection."""


def versioned(wire: Wire, asked: Asked) -> None:
    """Every write makes a new version; reads show version 0."""
    versions = _VERSIONS.setdefault(wire, itertools.count(1))
    version = "0" if asked.method == "GET" else str(next(versions))
    wire.json(200, {"metadata": {"name": "c", "namespace": "a", "resourceVersion": version}})


# --- transparent ----------------------------------------------------------------------------------------------------

ANSWERS = {
    "with a length": head(200, {"X-b": "1", "x-A": "2", "Content-Length": "3"}) + b"abc",
    "in chunks, with an extension and a trailer": head(200, {"Transfer-Encoding": "chunked", "Trailer": "T"})
    + b"3;x=y\r\nabc\r\n0002\r\nde\r\n0\r\nT: 1\r\n\r\n",
    "until the end": head(200, {"Connection": "close"}) + b"abc",
    "without a body": head(204, {}),
    "after an interim answer": head(103, {"Link": "x"}) + head(200, {"Content-Length": "1"}) + b"a",
    "a refusal": head(429, {"Retry-After": "1", "Content-Length": "0"}),
}


@pytest.mark.parametrize("method", ["GET", "PATCH"])
@pytest.mark.parametrize("sent", ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_arrives_byte_for_byte(sent: bytes, method: str) -> None:
    def answer(wire: Wire, _: Asked) -> None:
        wire.send(sent)
        if b"Connection: close" in sent:
            raise ConnectionAbortedError  # ends the connection

    with proxied(answer) as (proxy, _), Client(proxy) as client:
        client.send(method, CONFIG_MAP)
        assert client.stream.read(len(sent)) == sent


REQUESTS = {
    "with a body": b"PATCH /a%20b?x=1&y HTTP/1.1\r\nhOST: x\r\nAuthorization: Bearer t\r\ncontent-length: 2\r\n\r\n{}",
    "in chunks": b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: x\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "without a body": b"GET / HTTP/1.1\r\nZ: 1\r\nA:2\r\n\r\n",
}


@pytest.mark.parametrize("sent", REQUESTS.values(), ids=REQUESTS.keys())
def test_a_request_arrives_byte_for_byte(sent: bytes) -> None:
    with (
        raw_server(len(sent)) as (port, received),
        FaultProxy("infra", Upstream(f"https://127.0.0.1:{port}", ca_pem().encode())) as proxy,
        Client(proxy) as client,
    ):
        client.sock.sendall(sent)
        assert client.status() == 204
    assert received == [sent]


@contextlib.contextmanager
def raw_server(length: int) -> Iterator[tuple[int, list[bytes]]]:
    """Takes one connection and so many bytes of it, and answers 204."""
    with LyingServer(lambda *_: None) as for_its_certificate, socket.create_server(("127.0.0.1", 0)) as listener:
        received: list[bytes] = []

        def serve() -> None:
            plain, _ = listener.accept()
            with plain, for_its_certificate._context.wrap_socket(plain, server_side=True) as sock:
                received.append(sock.makefile("rb").read(length))
                sock.sendall(head(204, {}))

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], received
        thread.join(SECONDS)


def test_a_connection_carries_one_request_after_another() -> None:
    with proxied(versioned) as (proxy, server), Client(proxy) as client:
        assert [client.ask("GET", CONFIG_MAP) for _ in range(5)] == [200] * 5
    assert len(server.peers) == 1


def test_an_answer_does_not_wait_for_acknowledgements_of_its_parts() -> None:
    """The kernel delays an acknowledgement by 0.04 s, each time, where a busy machine delays some answers."""
    with proxied(versioned) as (proxy, _), Client(proxy) as client:

        def took() -> float:
            begun = time.monotonic()
            client.ask("GET", CONFIG_MAP)
            return time.monotonic() - begun

        eventually(lambda: statistics.median(took() for _ in range(20)), lambda median: median < 0.03)


def test_an_event_of_a_watch_arrives_while_the_watch_goes_on() -> None:
    second = threading.Event()

    def answer(wire: Wire, _: Asked) -> None:
        wire.begin_stream()
        wire.chunk(b'{"n":1}\n')
        assert second.wait(SECONDS)
        wire.chunk(b'{"n":2}\n')
        wire.end_stream()

    with proxied(answer) as (proxy, _), Client(proxy) as client:
        client.send("GET", "/api/v1/nodes?watch=1")
        begun = head(200, {"Content-Type": "application/json", "Transfer-Encoding": "chunked"})
        assert client.stream.read(len(begun)) == begun
        assert client.stream.read(13) == b'8\r\n{"n":1}\n\r\n'
        second.set()
        assert client.stream.read(18) == b'8\r\n{"n":2}\n\r\n0\r\n\r\n'


def test_a_watch_that_the_client_leaves_is_closed_at_the_server() -> None:
    left = threading.Event()

    def answer(wire: Wire, _: Asked) -> None:
        wire.begin_stream()
        try:
            wire.drip(b"x" * 10_000, 0.01)
        except OSError:
            left.set()

    with proxied(answer) as (proxy, _):
        with Client(proxy) as client:
            client.send("GET", "/api/v1/nodes?watch=1")
            assert client.stream.readline().startswith(b"HTTP/1.1 200")
        assert left.wait(SECONDS)


def test_a_connection_that_the_server_leaves_is_closed_at_the_client() -> None:
    with proxied(versioned) as (proxy, server), Client(proxy) as client:
        assert client.ask("GET", CONFIG_MAP) == 200
        server.cut_all()
        assert client.stream.read() == b""


# Python leaves a socket open that is reset before it is wrapped (ssl.SSLSocket._create), and warns once that is freed.
LEAKY = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:unclosed:ResourceWarning")


@LEAKY
def test_a_server_that_refuses_is_a_reset_before_tls() -> None:
    with LyingServer(versioned) as server:
        url = server.url
    with (
        FaultProxy("infra", Upstream(url, ca_pem().encode())) as proxy,
        pytest.raises((ConnectionResetError, ssl.SSLEOFError)),
    ):
        Client(proxy)
    gc.collect()  # here, and not in another test


@LEAKY
def test_a_server_of_another_authority_is_not_talked_to() -> None:
    with (
        LyingServer(versioned, certified_by="someone else") as server,
        FaultProxy("infra", Upstream(server.url, ca_pem().encode())) as proxy,
        pytest.raises((ConnectionResetError, ssl.SSLEOFError)),
    ):
        Client(proxy)
    gc.collect()


# --- trace ----------------------------------------------------------------------------------------------------------


def test_a_request_leaves_one_line_with_its_preconditions_and_versions(tmp_path: Path) -> None:
    body = b'{"metadata":{"uid":"u","resourceVersion":"0"}}'
    with (
        LyingServer(versioned) as server,
        FaultProxy("infra", Upstream(server.url, ca_pem().encode()), trace_file=tmp_path / "t.jsonl") as proxy,
        Client(proxy) as client,
    ):
        client.ask("GET", CONFIG_MAP)
        client.ask("PATCH", f"{CONFIG_MAP}?force=true", body)
    read, write = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert (read["method"], read["version_before"], read["version_after"], read["write"]) == ("GET", "", "0", 0)
    assert 0 <= write.pop("duration_seconds") < SECONDS
    assert write.pop("t") > read["t"]
    assert write == {
        "cluster": "infra",
        "seq": 2,
        "user_agent": "test/1",
        "method": "PATCH",
        "path": CONFIG_MAP,
        "query": "force=true",
        "uid": "u",
        "resource_version": "0",
        "body_sha256": "c6750ad3b51e60a6e6c93bf238e49033da6f85e3adbbaa62c0b7c5776c8e2e7c",
        "version_before": "0",
        "status": 200,
        "version_after": "1",
        "write": 1,
    }


def test_a_write_that_leaves_the_version_as_it_was_is_not_effective() -> None:
    with proxied(lambda wire, _: wire.json(200, {"metadata": {"resourceVersion": "7"}})) as (proxy, _):
        with Client(proxy) as client:
            client.ask("GET", CONFIG_MAP)
            client.ask("PATCH", CONFIG_MAP, b"{}")
        assert [entry.method for entry in proxy.trace.writes()] == ["PATCH"]
        assert proxy.trace.effective_writes() == []


def test_a_request_that_is_never_answered_is_recorded_without_a_status() -> None:
    with proxied(lambda wire, _: wire.reset()) as (proxy, _), Client(proxy) as client:
        client.send("GET", CONFIG_MAP)
        client.until_reset()
        assert proxy.trace.wait_for(lambda entry: entry.path == CONFIG_MAP, SECONDS).status == 0


# --- faults at writes -----------------------------------------------------------------------------------------------


def test_a_dropped_acknowledgement_is_a_committed_write_and_a_reset() -> None:
    counter = WriteCounter()
    with proxied(versioned, counter) as (proxy, server):
        fault = counter.arm(drop_ack(2))
        with Client(proxy) as client:
            assert client.ask("PATCH", CONFIG_MAP, b"{}") == 200
            client.send("PATCH", CONFIG_MAP, b"{}")
            client.until_reset()
        assert fault.fired.is_set()
        assert [entry.write for entry in proxy.trace.effective_writes()] == [1, 2]
        assert len(server.asked) == 2
        with Client(proxy) as client:
            assert client.ask("PATCH", CONFIG_MAP, b"{}") == 200


COMMITTED = {Phase.BEFORE_FORWARD: 1, Phase.COMMITTED_NOT_ANSWERED: 2, Phase.ANSWERED: 2}


@pytest.mark.parametrize("phase", Phase)
def test_a_process_is_killed_once_at_the_write_and_in_the_phase(phase: Phase) -> None:
    counter = WriteCounter()
    with proxied(versioned, counter) as (proxy, server), sleeper() as process:
        fault = counter.arm(kill(2, phase, lambda: process.pid))
        with Client(proxy) as client:
            assert client.ask("GET", CONFIG_MAP) == 200
            assert client.ask("PATCH", CONFIG_MAP, b"{}") == 200
            assert not fault.fired.is_set()
            client.send("PATCH", CONFIG_MAP, b"{}")
            assert fault.fired.wait(SECONDS)
            if phase is Phase.ANSWERED:
                assert client.status() == 200
            else:
                client.until_reset()
        assert process.wait(SECONDS) == -9
        assert [asked.method for asked in server.asked].count("PATCH") == COMMITTED[phase]
        assert counter.effective == COMMITTED[phase]


@contextlib.contextmanager
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process


def test_an_answer_that_is_held_goes_on_when_released() -> None:
    counter = WriteCounter()
    with proxied(versioned, counter) as (proxy, server), sleeper() as process, Client(proxy) as client:
        fault = counter.arm(stop(1, Phase.COMMITTED_NOT_ANSWERED, lambda: process.pid))
        client.send("PATCH", CONFIG_MAP, b"{}")
        assert fault.fired.wait(SECONDS)
        assert len(server.asked) == 1
        client.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.sock.recv(1)
        client.sock.settimeout(SECONDS)
        fault.release()
        assert client.sock.recv(12) == b"HTTP/1.1 200"
        process.kill()


def test_a_held_write_is_not_in_the_way_of_others() -> None:
    counter = WriteCounter()
    with proxied(versioned, counter) as (proxy, server), Client(proxy) as held, Client(proxy) as other:
        fault = counter.arm(Fault(1, Phase.BEFORE_FORWARD, lambda: None, Then.HOLD))
        later = counter.arm(drop_ack(3))
        held.send("PATCH", "/api/v1/nodes/late", b"{}")
        assert fault.fired.wait(SECONDS)
        assert other.ask("PATCH", CONFIG_MAP, b"{}") == 200
        fault.release()
        assert held.status() == 200
        assert [asked.target for asked in server.asked] == [CONFIG_MAP, "/api/v1/nodes/late"]
        assert not later.fired.is_set()


def test_two_proxies_count_together() -> None:
    counter = WriteCounter()
    with proxied(versioned, counter) as (infra, _), proxied(versioned, counter) as (tenant, _):
        fault = counter.arm(drop_ack(3))
        with Client(infra) as one, Client(tenant) as two:
            assert one.ask("PATCH", CONFIG_MAP, b"{}") == 200
            assert two.ask("PATCH", CONFIG_MAP, b"{}") == 200
            one.send("PATCH", CONFIG_MAP, b"{}")
            one.until_reset()
        assert fault.fired.is_set()


# --- faults of the line ---------------------------------------------------------------------------------------------


def test_in_a_black_hole_nothing_passes_and_nobody_is_told() -> None:
    with proxied(versioned) as (proxy, server), Client(proxy) as client:
        assert client.ask("GET", CONFIG_MAP) == 200
        proxy.black_hole()
        client.send("GET", CONFIG_MAP)
        client.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.sock.recv(1)
        with socket.create_connection(("127.0.0.1", int(proxy.url.rsplit(":", 1)[1])), 0.1) as silent:
            silent.sendall(b"hello")
            with pytest.raises(TimeoutError):
                silent.recv(1)
        assert len(server.asked) == 1
        client.sock.settimeout(SECONDS)
        proxy.restore()
        assert client.sock.recv(12) == b"HTTP/1.1 200"


def test_a_request_whose_client_gave_up_in_the_black_hole_is_never_forwarded() -> None:
    with proxied(versioned) as (proxy, server):
        with Client(proxy) as client:
            assert client.ask("GET", CONFIG_MAP) == 200
            proxy.black_hole()
            client.send("PATCH", CONFIG_MAP, b"{}")
        proxy.restore()
        with Client(proxy) as client:
            assert client.ask("GET", CONFIG_MAP) == 200
        assert [asked.method for asked in server.asked] == ["GET", "GET"]
        assert proxy.trace.effective_writes() == []


def test_a_black_hole_hides_from_the_client_that_the_server_left() -> None:
    with proxied(versioned) as (proxy, server), Client(proxy) as client:
        assert client.ask("GET", CONFIG_MAP) == 200
        proxy.black_hole()
        server.cut_all()
        client.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.sock.recv(1)
        client.sock.settimeout(SECONDS)
        proxy.restore()
        assert client.sock.recv(1) == b""


def test_a_refusing_proxy_resets_and_refuses_until_restored() -> None:
    with proxied(versioned) as (proxy, _):
        with Client(proxy) as client:
            assert client.ask("GET", CONFIG_MAP) == 200
            proxy.refuse()
            client.until_reset()
        with pytest.raises(ConnectionRefusedError):
            Client(proxy)
        proxy.restore()
        with Client(proxy) as client:
            assert client.ask("GET", CONFIG_MAP) == 200
