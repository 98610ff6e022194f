from __future__ import annotations

import http.client
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest

from dpunetop.base.clock import RealClock
from dpunetop.base.stop import Stop
from dpunetop.runtime.client.connection import ConfigurationError
from dpunetop.runtime.metrics import Metrics
from dpunetop.runtime.serving import listener, server
from dpunetop.runtime.serving.reviews import Reviewer, Verdict
from dpunetop.runtime.serving.server import Certificate, Guarded, HealthServer, MetricsServer, Plain
from support.pki import Pair, pair
from support.trial import eventually

Serve = Callable[[HealthServer | MetricsServer], tuple[str, int]]
Call = Callable[..., socket.socket]

ANYWHERE = ("127.0.0.1", 0)
FOR_EVER = 600.0
VERDICTS = {"good": Verdict.ALLOWED, "weak": Verdict.DENIED, "lost": Verdict.UNDECIDED}


class Judge:
    """A reviewer that knows its tokens by heart."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []

    def judge(self, token: str, path: str, verb: str, stop: Stop, *, peer: str) -> Verdict:
        self.asked.append((token, path, verb))
        return VERDICTS.get(token, Verdict.UNKNOWN_CALLER)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def judge() -> Judge:
    return Judge()


@pytest.fixture
def serve() -> Iterator[Serve]:
    stop = Stop()
    threads: list[threading.Thread] = []

    def start(listening: HealthServer | MetricsServer) -> tuple[str, int]:
        thread = threading.Thread(target=listening.run, args=(stop,), name="server")
        thread.start()
        threads.append(thread)
        return listening.address

    yield start
    stop.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def guarded(serve: Serve, metrics: Metrics, judge: Judge, folder: Path) -> tuple[str, int]:
    certificate = Certificate(str(folder), metrics.certificate(), RealClock())
    return serve(MetricsServer(ANYWHERE, metrics, Guarded(cast(Reviewer, judge), certificate), clock=RealClock()))


def trusting_anyone() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def ask(
    connection: http.client.HTTPConnection | http.client.HTTPSConnection,
    path: str = "/metrics",
    method: str = "GET",
    body: bytes | None = None,
    **headers: str,
) -> tuple[int, str, dict[str, str]]:
    """Status, body and headers of one request."""
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), dict(answer.headers)
    finally:
        connection.close()


def ask_https(address: tuple[str, int], token: str | None = None, **more: Any) -> tuple[int, str, dict[str, str]]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return ask(http.client.HTTPSConnection(*address, timeout=60, context=trusting_anyone()), **{**more, **headers})


def ask_http(address: tuple[str, int], path: str) -> tuple[int, str, dict[str, str]]:
    return ask(http.client.HTTPConnection(*address, timeout=60), path)


@pytest.mark.parametrize(("token", "status"), {None: 401, "bad": 401, "weak": 403, "good": 200, "lost": 500}.items())
def test_metrics_are_for_those_who_may_read_them(guarded: tuple[str, int], token: str | None, status: int) -> None:
    assert ask_https(guarded, token)[0] == status


def test_the_right_to_get_the_path_is_asked_for(guarded: tuple[str, int], judge: Judge) -> None:
    ask_https(guarded, "good", path="/metrics?name=x")
    assert judge.asked == [("good", "/metrics", "get")]


def test_a_reader_gets_the_metrics(guarded: tuple[str, int], metrics: Metrics) -> None:
    metrics.elector("lease").leading(True)
    _, body, headers = ask_https(guarded, "good")
    assert 'leader_election_master_status{name="lease"} 1' in body
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_a_refusal_tells_nothing_but_what_is_needed(guarded: tuple[str, int]) -> None:
    assert ask_https(guarded)[1] == "401 a bearer token is needed\n"
    assert ask_https(guarded)[2]["WWW-Authenticate"] == "Bearer"
    assert ask_https(guarded, "weak")[1] == "403 forbidden\n"


@pytest.mark.parametrize("authorization", ["Basic Z29vZDo=", "good", "Bearer", ""])
def test_only_a_bearer_token_counts(guarded: tuple[str, int], authorization: str) -> None:
    connection = http.client.HTTPSConnection(*guarded, timeout=60, context=trusting_anyone())
    assert ask(connection, Authorization=authorization)[0] == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_only_get_is_served(guarded: tuple[str, int], method: str) -> None:
    status, _, headers = ask_https(guarded, "good", method=method, body=b"x" * 100)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_head_is_answered_as_get_is_but_for_the_body(guarded: tuple[str, int]) -> None:
    status, body, headers = ask_https(guarded, "good", method="HEAD")
    assert (status, body) == (200, "")
    assert int(headers["Content-Length"]) > 1000


def test_head_tells_strangers_no_more_than_get(guarded: tuple[str, int]) -> None:
    assert ask_https(guarded, method="HEAD")[:2] == (401, "")
    assert ask_https(guarded, "weak", method="HEAD")[:2] == (403, "")


def test_an_unknown_path_is_not_found(guarded: tuple[str, int]) -> None:
    assert ask_https(guarded, "good", path="/debug")[0] == 404


def test_a_caller_who_stays_silent_holds_nobody_up(guarded: tuple[str, int]) -> None:
    with socket.create_connection(guarded), socket.create_connection(guarded):
        assert ask_https(guarded, "good")[0] == 200


def test_a_caller_who_speaks_no_tls_holds_nobody_up(guarded: tuple[str, int]) -> None:
    with socket.create_connection(guarded, timeout=60) as plain:
        plain.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert ask_https(guarded, "good")[0] == 200


@pytest.fixture
def plain(serve: Serve, metrics: Metrics) -> tuple[str, int]:
    return serve(MetricsServer(ANYWHERE, metrics, Plain(), clock=RealClock()))


def is_closed(caller: socket.socket | ssl.SSLSocket, within: float = 60) -> bool:
    """Whether the server ends the connection before `within` seconds are over."""
    caller.settimeout(within)
    try:
        return caller.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


@pytest.fixture
def call() -> Iterator[Call]:
    """Connects, from any address of this machine's."""
    opened = []

    def connect(address: tuple[str, int], source: str = "127.0.0.1") -> socket.socket:
        opened.append(socket.create_connection(address, timeout=60, source_address=(source, 0)))
        return opened[-1]

    yield connect
    for caller in opened:
        caller.close()


def test_a_silent_connection_is_ended(plain: tuple[str, int], call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "HEAD_SECONDS", 0.1)
    assert is_closed(call(plain))


def test_a_head_that_never_ends_is_cut_off_however_steadily_it_comes(
    plain: tuple[str, int], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "HEAD_SECONDS", 0.5)
    slow = call(plain)
    slow.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
    with suppress(ConnectionError):  # it may go between the look and the drip
        while not is_closed(slow, within=0.05):
            slow.sendall(b"a")


def test_a_handshake_that_never_ends_is_cut_off(
    guarded: tuple[str, int], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "HEAD_SECONDS", 0.5)
    stalled = call(guarded)
    stalled.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    assert is_closed(stalled)


def test_a_head_that_is_late_after_a_handshake_is_cut_off(
    guarded: tuple[str, int], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "HEAD_SECONDS", 0.5)
    with trusting_anyone().wrap_socket(call(guarded)) as secured:
        assert is_closed(secured)


NO_HELLOS = {
    "no TLS": b"GET /metrics HTTP/1.1\r\n\r\n",
    "a hello of 128 KiB": b"\x16\x03\x01\x40\x00\x01\x01\xff\xfc\x03\x03",
    "a record too short for a message": b"\x16\x03\x01\x00\x01\x01\x00\x00\x40\x03\x03",
    "another message": b"\x16\x03\x01\x02\x00\x02\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("start", NO_HELLOS.values(), ids=NO_HELLOS.keys())
def test_what_begins_no_ordinary_handshake_is_ended_at_once(
    guarded: tuple[str, int], call: Call, start: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "HEAD_SECONDS", FOR_EVER)
    caller = call(guarded)
    caller.sendall(start)
    assert is_closed(caller)


def test_a_hello_that_comes_in_pieces_is_a_hello(guarded: tuple[str, int], call: Call) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    pieces = trusting_anyone().wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        pieces.do_handshake()
    hello, caller = outgoing.read(), call(guarded)
    caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for piece in (hello[:3], hello[3:100], hello[100:]):
        caller.sendall(piece)
        time.sleep(0.05)
    while pieces.version() is None:
        incoming.write(caller.recv(65536))
        with suppress(ssl.SSLWantReadError):  # the answer comes in pieces too
            pieces.do_handshake()
    assert pieces.version() == "TLSv1.3"


def test_a_connection_that_takes_no_answer_is_ended(serve: Serve, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "CONNECTION_SECONDS", 0.5)
    lengthy = HealthServer(ANYWHERE, healthy=lambda: "x" * (32 << 20), ready=lambda: "", clock=RealClock())
    slow = call(serve(lengthy))
    slow.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
    eventually(lambda: is_open_there(slow), lambda is_open: not is_open)
    assert read_to_the_end(slow) < 32 << 20


def is_open_there(caller: socket.socket) -> bool:
    """Whether the server still holds its end: what it has sent is not all read, so that nothing says so here.

    Source: proc_net_tcp(5), and TCP_ESTABLISHED of include/net/tcp_states.h.
    """
    ends = [f"{int(bytes(reversed(socket.inet_aton(host))).hex(), 16):08X}:{port:04X}" for host, port in
            (caller.getpeername(), caller.getsockname())]  # fmt: skip
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[1:4] == [*ends, "01"] for row in rows)


def read_to_the_end(caller: socket.socket) -> int:
    """How many bytes come before the connection ends, in whatever way."""
    count = 0
    with suppress(ConnectionResetError):
        while chunk := caller.recv(1 << 20):
            count += len(chunk)
    return count


def test_for_one_more_than_allowed_the_oldest_idle_one_is_closed(
    plain: tuple[str, int], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "MAX_CONNECTIONS", 2)
    oldest, older = call(plain, "127.0.0.2"), call(plain, "127.0.0.3")
    newest = call(plain, "127.0.0.4")
    assert is_closed(oldest)
    assert not is_closed(older, within=0.2)
    newest.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
    assert newest.recv(100).startswith(b"HTTP/1.1 200")


def test_an_address_that_came_for_nothing_makes_room_before_others_do(
    plain: tuple[str, int], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "MAX_CONNECTIONS", 2)
    nonsense = call(plain, "127.0.0.9")
    nonsense.sendall(b"nonsense\r\n\r\n")
    read_to_the_end(nonsense)  # so it is known what it came for
    patient = call(plain, "127.0.0.2")
    again = call(plain, "127.0.0.9")
    call(plain, "127.0.0.4")
    assert is_closed(again)
    assert not is_closed(patient, within=0.2)


def test_a_full_peer_makes_room_for_itself_and_nobody_else_does(
    plain: tuple[str, int], call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "MAX_CONNECTIONS_OF_A_PEER", 2)
    other = call(plain, "127.0.0.2")
    first, second, third = (call(plain, "127.0.0.3") for _ in range(3))
    assert is_closed(first)
    assert not any(is_closed(caller, within=0.1) for caller in (other, second, third))


def test_whoever_is_being_answered_makes_no_room(serve: Serve, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "MAX_CONNECTIONS", 1)
    asked, told = threading.Event(), threading.Event()

    def slowly() -> str:
        asked.set()
        assert told.wait(60)
        return ""

    address = serve(HealthServer(ANYWHERE, healthy=slowly, ready=lambda: "", clock=RealClock()))
    first = call(address)
    first.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
    assert asked.wait(60)
    assert is_closed(call(address, "127.0.0.2"))
    told.set()
    assert first.recv(100).startswith(b"HTTP/1.1 200")


def test_a_page_that_fails_is_an_answer_and_the_server_goes_on(serve: Serve) -> None:
    failures = [ValueError("a bug")]

    def failing() -> str:
        if failures:
            raise failures.pop()
        return ""

    address = serve(HealthServer(ANYWHERE, healthy=failing, ready=lambda: "", clock=RealClock()))
    assert ask_http(address, "/healthz")[:2] == (500, "500 internal server error\n")
    assert ask_http(address, "/healthz")[0] == 200


def test_no_more_threads_than_said_come_from_many_callers(plain: tuple[str, int], call: Call) -> None:
    def threads() -> int:
        return sum("answer" in thread.name for thread in threading.enumerate())

    callers = [call(plain, f"127.0.1.{n + 1}") for n in range(60)]
    for caller in callers:
        caller.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
    assert all(caller.recv(100).startswith(b"HTTP/1.1 200") for caller in callers)
    assert 1 <= threads() <= listener.ANSWERING_THREADS


IMPROPER = {
    "garbage": (b"\x00" * 100 + b"\r\n\r\n", 400),
    "a line without end": (b"GET " + b"/" * 70_000 + b" HTTP/1.1\r\n\r\n", 431),
    "headers without end": (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 2000, 431),
    "too many headers": (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 65 + b"\r\n", 431),
    "a head that is too long by its end": (b"GET / HTTP/1.1\r\na: " + b"b" * 8170 + b"\r\n\r\n", 431),
}


@pytest.mark.parametrize(("request_bytes", "status"), IMPROPER.values(), ids=IMPROPER.keys())
def test_a_malformed_request_is_refused(plain: tuple[str, int], call: Call, request_bytes: bytes, status: int) -> None:
    caller = call(plain)
    caller.sendall(request_bytes)
    assert caller.recv(100).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_request_may_come_a_byte_at_a_time(plain: tuple[str, int], call: Call) -> None:
    caller = call(plain)
    caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n":
        caller.sendall(bytes([byte]))
        time.sleep(0.001)
    assert caller.recv(100).startswith(b"HTTP/1.1 200")


def subject(address: tuple[str, int]) -> str:
    with socket.create_connection(address, timeout=60) as plain, trusting_anyone().wrap_socket(plain) as secured:
        shown = secured.getpeercert(binary_form=True)
    assert shown is not None
    return ssl.DER_cert_to_PEM_cert(shown)


def lay_down(folder: Path, made: Pair, moment: int) -> None:
    for name, content in (("tls.crt", made.cert), ("tls.key", made.key)):
        (folder / name).write_bytes(content)
        os.utime(folder / name, (moment, moment))


def test_without_files_the_certificate_is_self_signed_and_stays_the_same(guarded: tuple[str, int]) -> None:
    assert subject(guarded) == subject(guarded)


def test_the_certificate_is_read_when_it_comes_and_when_it_changes(
    guarded: tuple[str, int], folder: Path, metrics: Metrics
) -> None:
    lay_down(folder, pair("one"), 1)
    assert subject(guarded).encode() == pair("one").cert
    lay_down(folder, pair("two"), 2)
    assert subject(guarded).encode() == pair("two").cert
    assert metrics.registry.get_sample_value("certwatcher_read_certificate_total") == 2


SPOILED = {
    "no certificate": (b"nonsense", b"nonsense"),
    "the key of another": (pair("two").cert, pair("one").key),
    "an encrypted key": (
        pair("two").cert,
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGb\n-----END ENCRYPTED PRIVATE KEY-----\n",
    ),
}


@pytest.mark.parametrize(("cert", "key"), SPOILED.values(), ids=SPOILED.keys())
def test_a_spoiled_certificate_leaves_the_one_before(
    guarded: tuple[str, int], folder: Path, metrics: Metrics, cert: bytes, key: bytes
) -> None:
    lay_down(folder, pair("one"), 1)
    subject(guarded)
    (folder / "tls.crt").write_bytes(cert)
    (folder / "tls.key").write_bytes(key)
    assert subject(guarded).encode() == pair("one").cert
    assert metrics.registry.get_sample_value("certwatcher_read_certificate_errors_total") == 1


class Waiting(RealClock):
    """A clock that can be put forward."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


def test_a_certificate_that_could_not_be_used_is_tried_again_though_nothing_changed(
    folder: Path, metrics: Metrics
) -> None:
    lay_down(folder, pair("one"), 1)
    clock, whole = Waiting(), (folder / "tls.key").read_bytes()
    (folder / "tls.key").write_bytes(bytes(len(whole)))
    os.utime(folder / "tls.key", (1, 1))
    certificate = Certificate(str(folder), metrics.certificate(), clock)
    signed_here = certificate.context()
    (folder / "tls.key").write_bytes(whole)
    os.utime(folder / "tls.key", (1, 1))
    assert certificate.context() is signed_here
    clock.ahead = server.CERTIFICATE_RETRY_SECONDS
    read = certificate.context()
    assert read is not signed_here
    clock.ahead *= 100
    assert certificate.context() is read
    assert metrics.registry.get_sample_value("certwatcher_read_certificate_total") == 2


def test_vanished_files_leave_the_certificate_before(guarded: tuple[str, int], folder: Path) -> None:
    lay_down(folder, pair("one"), 1)
    subject(guarded)
    (folder / "tls.crt").unlink()
    assert subject(guarded).encode() == pair("one").cert


def test_old_tls_is_refused(guarded: tuple[str, int]) -> None:
    context = trusting_anyone()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert ask(http.client.HTTPSConnection(*guarded, timeout=60, context=context))[0] == 401


def test_plain_metrics_ask_for_nothing_and_are_on_loopback(serve: Serve, metrics: Metrics) -> None:
    address = serve(MetricsServer(("", 0), metrics, Plain(), clock=RealClock()))
    assert address[0] == "127.0.0.1"
    assert ask_http(address, "/metrics")[0] == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org"])
def test_plain_metrics_refuse_other_addresses(metrics: Metrics, host: str) -> None:
    with pytest.raises(ConfigurationError, match="loopback"):
        MetricsServer((host, 0), metrics, Plain(), clock=RealClock())


def test_an_address_in_use_is_told_in_one_line(serve: Serve, metrics: Metrics) -> None:
    host, port = serve(MetricsServer(ANYWHERE, metrics, Plain(), clock=RealClock()))
    with pytest.raises(ConfigurationError) as caught:
        MetricsServer((host, port), metrics, Plain(), clock=RealClock())
    assert str(caught.value) == f"cannot listen on 127.0.0.1:{port}: Address already in use"


def test_health_tells_what_is_wrong(serve: Serve) -> None:
    reasons = {"ready": "caches are not filled"}
    health = HealthServer(("", 0), healthy=lambda: "", ready=lambda: reasons.get("ready", ""), clock=RealClock())
    _, port = serve(health)
    address = ("127.0.0.1", port)
    assert ask_http(address, "/healthz")[:2] == (200, "ok\n")
    assert ask_http(address, "/readyz")[:2] == (503, "caches are not filled\n")
    reasons.clear()
    assert ask_http(address, "/readyz")[:2] == (200, "ok\n")
    assert ask_http(address, "/metrics")[0] == 404


def test_stopping_ends_open_connections(metrics: Metrics) -> None:
    stop = Stop()
    listening = MetricsServer(ANYWHERE, metrics, Plain(), clock=RealClock())
    thread = threading.Thread(target=listening.run, args=(stop,), name="server")
    thread.start()
    with socket.create_connection(listening.address, timeout=60) as idle:
        assert ask_http(listening.address, "/metrics")[0] == 200
        stop.set()
        assert idle.recv(1) == b""
    thread.join(60)
    assert not thread.is_alive()


def test_stopping_waits_for_no_caller(
    metrics: Metrics, judge: Judge, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "HEAD_SECONDS", FOR_EVER)
    stop = Stop()
    certificate = Certificate(None, metrics.certificate(), RealClock())
    listening = MetricsServer(ANYWHERE, metrics, Guarded(cast(Reviewer, judge), certificate), clock=RealClock())
    thread = threading.Thread(target=listening.run, args=(stop,), name="server")
    thread.start()
    callers = [call(listening.address, f"127.0.2.{n + 1}") for n in range(40)]
    for caller in callers[:20]:
        caller.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    assert ask_https(listening.address, "good")[0] == 200
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
    assert all(is_closed(caller) for caller in callers)
