from __future__ import annotations

import math
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from dpunetop.base.clock import RealClock
from dpunetop.domain.tenant.pem import certificates
from dpunetop.kube.errors import ApiError, Gone, TooManyRequests, Unreachable
from dpunetop.kube.keys import NODES
from dpunetop.kube.requests import APPLY, Request, Selection
from dpunetop.kube.watch import Quiet
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.client.streamdeadline import StreamDeadline
from dpunetop.runtime.client.transport import (
    CallOptions,
    ClientCertificate,
    ConfigurationError,
    Pool,
    Redacted,
    StaticToken,
    Transport,
)
from dpunetop.runtime.metrics import Metrics
from support.lyingserver import Asked, LyingServer, Wire, authority, ca_pem, head
from support.proxy import ConnectProxy

GET = Request("GET", "/api/v1/nodes/one")
WATCH = Request("GET", "/api/v1/nodes?watch=1")
PATIENCE = 60.0
PATIENT = CallOptions(PATIENCE)
ARRIVES = 3.0
"""Of a call that is never answered: long enough for the request to arrive, on a busy machine too."""


def honest(wire: Wire, asked: Asked) -> None:
    wire.json(200, {"metadata": {"name": "one"}})


def silent(wire: Wire, asked: Asked) -> None:
    wire.silence()


def reason_of(action: Callable[[], Any]) -> str:
    with pytest.raises(Unreachable) as caught:
        action()
    assert caught.value.code == 0
    return caught.value.reason


def lines_of(transport: Transport) -> list[bytes]:
    with transport.stream(WATCH) as lines:
        return [line for line in lines if not isinstance(line, Quiet)]


# -- what is sent ------------------------------------------------------------------------------------------------------


def test_a_request_arrives_as_it_was_described(connect: Callable[..., Transport]) -> None:
    with LyingServer(honest) as server:
        transport = connect(server, StaticToken(Redacted("abc")))
        answer = transport.call(Request("PATCH", "/api/v1/nodes/one?force=true", b'{"a":1}', APPLY), PATIENT)
    assert (answer.status, answer.body) == (200, b'{"metadata": {"name": "one"}}')
    [asked] = server.asked
    assert (asked.method, asked.target, asked.body) == ("PATCH", "/api/v1/nodes/one?force=true", b'{"a":1}')
    assert asked.headers["content-type"] == APPLY
    assert asked.headers["authorization"] == "Bearer abc"
    assert asked.headers["user-agent"] == "dpunetop-test"
    assert asked.headers["accept-encoding"] == "identity"


def test_the_path_of_the_url_goes_before_each_request(connect: Callable[..., Transport]) -> None:
    with LyingServer(honest) as server:
        connect(server.url + "/clusters/c-1/").call(GET, PATIENT)
    assert server.asked[0].target == "/clusters/c-1/api/v1/nodes/one"


def test_an_answer_that_is_no_success_is_an_answer(connect: Callable[..., Transport]) -> None:
    with LyingServer(lambda wire, _: wire.answer(404, b"nothing", {"Retry-After": "3"})) as server:
        answer = connect(server).call(GET, PATIENT)
    assert (answer.status, answer.body, answer.headers["retry-after"]) == (404, b"nothing", "3")


def test_a_redirect_is_an_answer_and_is_not_followed(connect: Callable[..., Transport]) -> None:
    with LyingServer(honest) as target:
        location = {"Location": target.url + GET.target}
        with LyingServer(lambda wire, _: wire.answer(307, b"", location)) as server:
            transport = connect(server, StaticToken(Redacted("secret")))
            assert transport.call(GET, PATIENT).status == 307
            with pytest.raises(ApiError) as caught, transport.stream(WATCH):
                pass
    assert (caught.value.code, caught.value.reason) == (307, "TemporaryRedirect")
    assert target.asked == []


def test_a_proxy_of_the_environment_is_not_used(
    connect: Callable[..., Transport], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with LyingServer(honest) as server:
        assert connect(server).call(GET, PATIENT).status == 200


def test_the_proxy_that_was_given_is_used_and_the_server_still_has_to_prove_itself(
    connect: Callable[..., Transport],
) -> None:
    with LyingServer(honest) as server, ConnectProxy() as proxy:
        url = f"http://user:pass%20word@127.0.0.1:{proxy.port}"
        assert connect(server, proxy_url=url).call(GET, PATIENT).status == 200
        assert reason_of(lambda: connect(server, proxy_url=url, ca_pem=ca_pem("other")).call(GET, PATIENT)) == "TLS"
    assert proxy.asked[0] == ("CONNECT", f"127.0.0.1:{server.port}", "Basic dXNlcjpwYXNzIHdvcmQ=")


def test_behind_a_proxy_an_address_in_the_url_is_still_checked(connect: Callable[..., Transport]) -> None:
    with LyingServer(honest) as server, ConnectProxy() as proxy:
        transport = connect(server, proxy_url=f"http://127.0.0.1:{proxy.port}", address_policy=lambda _: "loopback")
        assert reason_of(lambda: transport.call(GET, PATIENT)) == "AddressRefused"
    assert proxy.asked == []


# -- connections -------------------------------------------------------------------------------------------------------


def test_calls_share_few_connections_and_keep_them(connect: Callable[..., Transport]) -> None:
    with LyingServer(honest) as server:
        transport = connect(server, max_calls=2)
        threads = [threading.Thread(target=transport.call, args=(GET, PATIENT)) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert len(server.asked) == 12
    assert len(server.peers) <= 2


def test_a_call_that_finds_all_connections_busy_gives_up_in_time_and_sends_nothing(
    connect: Callable[..., Transport], metrics: Metrics
) -> None:
    with LyingServer(silent) as server:
        transport = connect(server, max_calls=1)
        holder = threading.Thread(target=reason_of, args=(lambda: transport.call(GET, PATIENT),))
        holder.start()
        wait_until(lambda: len(server.asked) == 1)
        assert reason_of(lambda: transport.call(GET, CallOptions(0.1))) == "Timeout"
        assert (
            reason_of(lambda: transport.call(GET, CallOptions(ARRIVES, Pool.LEASE))) == "Timeout"
        )  # sent: on a connection of its own
        waited = sample(metrics, "rest_client_rate_limiter_duration_seconds_count", verb="GET")
        transport.stop.set()
        holder.join(PATIENCE)
    assert (len(server.asked), waited) == (2, 1)


def test_a_kept_connection_that_died_meanwhile_is_replaced(connect: Callable[..., Transport]) -> None:
    with LyingServer(honest) as server:
        transport = connect(server)
        transport.call(GET, PATIENT)
        server.cut_all()
        wait_until(lambda: len(server.asked) == 1)
        assert transport.call(GET, PATIENT).status == 200
    assert len(server.peers) == 2


def test_of_the_two_probes_one_keeps_its_connection_and_one_dials_each_time(connect: Callable[..., Transport]) -> None:
    def closing(wire: Wire, asked: Asked) -> None:
        wire.json(200, {}, {"Connection": asked.headers.get("connection", "keep-alive")})

    with LyingServer(closing) as server:
        transport = connect(server)
        counts = []
        for pool in (Pool.PROBE, Pool.NEW_PROBE):
            for _ in range(3):
                transport.call(GET, CallOptions(PATIENCE, pool))
            counts.append(len(server.peers))
    assert counts == [1, 4]


def test_a_server_is_heard_of_by_what_it_does_and_not_by_probes(connect: Callable[..., Transport]) -> None:
    def refusing(wire: Wire, asked: Asked) -> None:
        wire.json(503 if asked.target == "/broken" else 200, {})

    with LyingServer(refusing) as server:
        transport = connect(server)
        heard = [transport.heard_at]
        for target, pool in (("/readyz", Pool.PROBE), ("/readyz", Pool.NEW_PROBE), ("/broken", Pool.CALLS)):
            transport.call(Request("GET", target), CallOptions(PATIENCE, pool))
            heard.append(transport.heard_at)
        transport.call(GET, PATIENT)
    assert (set(heard), transport.heard_at > 0) == ({-math.inf}, True)


def test_a_server_is_heard_of_by_what_it_streams(connect: Callable[..., Transport]) -> None:
    def streaming(wire: Wire, asked: Asked) -> None:
        wire.begin_stream()
        wire.event("ADDED", {})
        wire.end_stream()

    with LyingServer(streaming) as server:
        transport = connect(server)
        lines_of(transport)
    assert transport.heard_at > 0


def test_a_dead_peer_is_found_by_the_kernel_too(connect: Callable[..., Transport]) -> None:
    with LyingServer(honest) as server:
        transport = connect(server)
        transport.call(GET, PATIENT)
        [sock] = [sock for sock in transport._sockets._open if sock.fileno() >= 0]
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 5
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 3
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_closing_connections_wakes_who_waits_for_an_answer_and_the_next_call_connects_anew(
    connect: Callable[..., Transport],
) -> None:
    answers = iter((silent, honest))
    with LyingServer(lambda wire, asked: next(answers)(wire, asked)) as server:
        transport = connect(server)
        reasons = in_thread(lambda: reason_of(lambda: transport.call(GET, CallOptions(30))))
        wait_until(lambda: len(server.asked) == 1)
        transport.close_connections()
        assert reasons() == "Reset"
        assert transport.call(GET, PATIENT).status == 200


def test_closing_connections_wakes_who_reads_a_stream(connect: Callable[..., Transport]) -> None:
    def one_line(wire: Wire, asked: Asked) -> None:
        wire.begin_stream()
        wire.chunk(b"{}\n")
        wire.silence()

    with LyingServer(one_line) as server:
        transport = connect(server)
        with transport.stream(WATCH) as lines:
            assert next(lines) == b"{}"
            threading.Timer(0.05, transport.close_connections).start()
            assert reason_of(lambda: next(lines)) == "Reset"


def test_stop_wakes_who_is_still_shaking_hands_and_nothing_is_sent_after_it(connect: Callable[..., Transport]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        transport = connect(f"https://127.0.0.1:{deaf.getsockname()[1]}")
        reasons = in_thread(lambda: reason_of(lambda: transport.call(GET, CallOptions(30))))
        peer, _ = deaf.accept()
        with peer:
            assert peer.recv(1) == b"\x16"  # its hello
            transport.stop.set()
            assert reasons() == "Stopped"
    assert reason_of(lambda: transport.call(GET, PATIENT)) == "Stopped"
    assert repr(transport).endswith("0 sockets>")


def test_closing_connections_wakes_who_waits_for_a_connection_that_nobody_takes(
    connect: Callable[..., Transport],
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.create_connection(full.getsockname()):
        transport = connect(f"https://127.0.0.1:{full.getsockname()[1]}")
        reasons = in_thread(lambda: reason_of(lambda: transport.call(GET, CallOptions(30))))
        wait_until(lambda: len(transport._sockets) == 1)
        transport.close_connections()
        assert reasons() == "Reset"


def test_a_connection_that_nobody_takes_is_given_up_in_time(connect: Callable[..., Transport]) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.create_connection(full.getsockname()):
        transport = connect(f"https://127.0.0.1:{full.getsockname()[1]}")
        started = time.monotonic()
        assert reason_of(lambda: transport.call(GET, CallOptions(0.3))) == "Timeout"
        assert time.monotonic() - started < PATIENCE  # the kernel goes on for two minutes


def test_the_same_failure_is_told_in_the_same_words_and_names_the_server(connect: Callable[..., Transport]) -> None:
    def told(transport: Transport, seconds: float) -> str:
        with pytest.raises(Unreachable) as caught:
            transport.call(GET, CallOptions(seconds))
        return caught.value.message

    with LyingServer(silent) as server:
        transport = connect(server)
        assert {told(transport, seconds) for seconds in (0.1, 0.2)} == {f"127.0.0.1:{server.port}: no answer in time"}
    assert {told(transport, seconds) for seconds in (1, 2)} == {f"127.0.0.1:{server.port}: connection refused"}


# -- addresses ---------------------------------------------------------------------------------------------------------


def test_all_addresses_of_a_name_are_tried_in_order(connect: Callable[..., Transport]) -> None:
    with LyingServer(honest) as server:
        judged: list[str] = []
        transport = connect(
            f"https://localhost:{server.port}",
            lookup=lambda _, port: [v4("127.0.0.9", port), v6("::1", port), v4("127.0.0.1", port)],
            address_policy=judged.append,
        )
        assert transport.call(GET, PATIENT).status == 200
    assert judged == ["127.0.0.9", "::1", "127.0.0.1"]


def test_who_asks_for_it_is_told_of_each_address_before_it_is_connected_to_and_of_none_that_is_refused(
    connect: Callable[..., Transport],
) -> None:
    with LyingServer(honest) as server:
        told: list[str] = []
        transport = connect(
            f"https://localhost:{server.port}",
            lookup=lambda _, port: [v4("127.0.0.9", port), v4("127.0.0.1", port)],
            address_policy={"127.0.0.9": "not this one"}.get,
            on_connect=told.append,
        )
        assert transport.call(GET, PATIENT).status == 200
    assert told == ["127.0.0.1"]


def test_a_refused_address_is_not_connected_to_whatever_name_led_there(connect: Callable[..., Transport]) -> None:
    with LyingServer(honest) as server:
        refuse = {"127.0.0.1": "loopback"}.get
        direct = connect(server, address_policy=refuse)
        named = connect(
            f"https://localhost:{server.port}", lookup=lambda _, port: [v4("127.0.0.1", port)], address_policy=refuse
        )
        wrapped = connect(f"https://[::ffff:127.0.0.1]:{server.port}", address_policy=refuse)
        for transport in (direct, named, wrapped):
            assert reason_of(partial(transport.call, GET, PATIENT)) == "AddressRefused"
    assert server.peers == []


def test_a_name_that_changes_its_address_is_checked_at_each_connection(connect: Callable[..., Transport]) -> None:
    with LyingServer(honest) as good, LyingServer(honest, address="127.0.0.2") as evil:
        addresses = iter([("127.0.0.1", good.port), ("127.0.0.2", evil.port)])
        transport = connect(
            f"https://localhost:{good.port}",
            StaticToken(Redacted("secret")),
            lookup=lambda *_: [v4(*next(addresses))],
            address_policy={"127.0.0.2": "link-local"}.get,
        )
        assert transport.call(GET, PATIENT).status == 200
        transport.close_connections()
        assert reason_of(lambda: transport.call(GET, PATIENT)) == "AddressRefused"
    assert (len(good.asked), evil.peers) == (1, [])


def test_a_port_without_a_listener_is_a_refused_connection(connect: Callable[..., Transport]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert reason_of(lambda: connect(f"https://127.0.0.1:{port}").call(GET, PATIENT)) == "Refused"


def test_a_name_that_does_not_resolve_is_dns(connect: Callable[..., Transport]) -> None:
    def unknown(host: str, port: int) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    assert reason_of(lambda: connect("https://tenant.invalid", lookup=unknown).call(GET, PATIENT)) == "DNS"
    assert reason_of(lambda: connect(f"https://{'x' * 70}.invalid").call(GET, PATIENT)) == "DNS"


def test_a_resolver_that_hangs_does_not_hold_the_call_and_is_asked_once(connect: Callable[..., Transport]) -> None:
    release, asked = threading.Event(), []

    def hang(host: str, port: int) -> list[Any]:
        asked.append(host)
        release.wait(PATIENCE)
        return [v4("127.0.0.1", 1)]

    transport = connect("https://tenant.example", lookup=hang)
    assert reason_of(lambda: transport.call(GET, CallOptions(0.05))) == "DNS"
    assert reason_of(lambda: transport.call(GET, CallOptions(0.05))) == "DNS"
    reasons = in_thread(lambda: reason_of(lambda: transport.call(GET, CallOptions(30))))
    transport.stop.set()
    assert reasons() in ("DNS", "Stopped")
    release.set()
    assert asked == ["tenant.example"]


# -- who it is ---------------------------------------------------------------------------------------------------------


def test_a_server_certified_by_someone_else_is_refused(connect: Callable[..., Transport]) -> None:
    with LyingServer(honest, certified_by="other") as server:
        assert reason_of(lambda: connect(server).call(GET, PATIENT)) == "TLS"
    assert server.asked == []


def test_a_server_with_another_name_is_refused_unless_that_name_is_the_one_wanted(
    connect: Callable[..., Transport],
) -> None:
    with LyingServer(honest, names=("kubernetes.default.svc",)) as server:
        assert reason_of(lambda: connect(server).call(GET, PATIENT)) == "TLS"
        assert connect(server, tls_server_name="kubernetes.default.svc").call(GET, PATIENT).status == 200


def test_a_client_certificate_is_shown(connect: Callable[..., Transport]) -> None:
    mine = authority().issue_cert("operator@example.test")
    credential = ClientCertificate(
        "".join(pem.bytes().decode() for pem in mine.cert_chain_pems), Redacted(mine.private_key_pem.bytes().decode())
    )
    with LyingServer(honest, asks_client_certificate=True) as server:
        assert connect(server, credential).call(GET, PATIENT).status == 200
    [peer] = server.peers
    assert peer is not None
    assert ("email", "operator@example.test") in peer["subjectAltName"]


def test_a_key_that_does_not_match_is_a_mistake_in_the_configuration(connect: Callable[..., Transport]) -> None:
    mine, other = authority().issue_cert("a.test"), authority().issue_cert("b.test")
    credential = ClientCertificate(
        mine.cert_chain_pems[0].bytes().decode(), Redacted(other.private_key_pem.bytes().decode())
    )
    with pytest.raises(ConfigurationError):
        connect("https://127.0.0.1:1", credential)


@pytest.mark.parametrize(
    "url",
    ["http://h", "https://", "https://u:p@h", "https://h?x=1", "https://h#f", "https://h:0", "https://h:x", "h:6443"],
)
def test_a_url_that_is_not_plain_https_is_a_mistake_in_the_configuration(
    connect: Callable[..., Transport], url: str
) -> None:
    with pytest.raises(ConfigurationError):
        connect(url)


def test_an_invalid_ca_is_a_configuration_error(connect: Callable[..., Transport]) -> None:
    with pytest.raises(ConfigurationError):
        connect("https://127.0.0.1:1", ca_pem="-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n")


def test_no_secret_shows_in_any_repr(connect: Callable[..., Transport]) -> None:
    credential = StaticToken(Redacted("hunter2"))
    transport = connect("https://127.0.0.1:1", credential)
    shown = f"{transport!r} {transport._connection!r} {credential!r} {transport._connection}"
    assert "hunter2" not in shown
    assert "***" in shown


# -- lies --------------------------------------------------------------------------------------------------------------


def no_answer(wire: Wire, asked: Asked) -> None:
    wire.reset()


def cut_in_the_body(wire: Wire, asked: Asked) -> None:
    wire.send(head(200, {"Content-Length": "1000"}) + b'{"kind":')
    wire.reset()


def shorter_than_announced(wire: Wire, asked: Asked) -> None:
    wire.send(head(200, {"Content-Length": "1000", "Connection": "close"}) + b'{"kind":')
    wire._sock.unwrap()


def cut_between_chunks(wire: Wire, asked: Asked) -> None:
    wire.begin_stream()
    wire.chunk(b"{}")
    wire.reset()


def not_http(wire: Wire, asked: Asked) -> None:
    wire.send(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")


def header_without_end(wire: Wire, asked: Asked) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n")


def too_many_headers(wire: Wire, asked: Asked) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X%d: x\r\n" % i for i in range(500)) + b"\r\n")


def chunk_that_is_none(wire: Wire, asked: Asked) -> None:
    wire.begin_stream()
    wire.send(b"zz\r\nxx\r\n")


def lengths_that_differ(wire: Wire, asked: Asked) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde")


def gzip_garbage(wire: Wire, asked: Asked) -> None:
    wire.answer(200, b"\x1f\x8b\x08not gzip at all", {"Content-Encoding": "gzip"})


def huge_announced(wire: Wire, asked: Asked) -> None:
    wire.send(head(200, {"Content-Length": str(2 << 30)}) + b" " * 100)
    wire.silence()


def huge_in_chunks(wire: Wire, asked: Asked) -> None:
    wire.begin_stream()
    while True:
        wire.chunk(b" " * 65536)


def dripping_body(wire: Wire, asked: Asked) -> None:
    wire.send(head(200, {"Content-Length": "10000"}))
    wire.drip(b" " * 10_000, 0.02)


def dripping_headers(wire: Wire, asked: Asked) -> None:
    wire.drip(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000, 0.02)


def length_in_other_digits(wire: Wire, asked: Asked) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\nConnection: close\r\n\r\nab")
    wire.silence()


def negative_length(wire: Wire, asked: Asked) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nab")
    wire.silence()


def status_out_of_range(wire: Wire, asked: Asked) -> None:
    wire.send(b"HTTP/1.1 99999 OK\r\n\r\n")


def endless_continue(wire: Wire, asked: Asked) -> None:
    while True:
        wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")


LIES: dict[Callable[[Wire, Asked], None], tuple[str, float]] = {
    length_in_other_digits: ("BadAnswer", PATIENCE),
    negative_length: ("BadAnswer", PATIENCE),
    status_out_of_range: ("BadAnswer", PATIENCE),
    endless_continue: ("Timeout", ARRIVES),
    no_answer: ("Reset", PATIENCE),
    cut_in_the_body: ("Reset", PATIENCE),
    shorter_than_announced: ("Reset", PATIENCE),
    cut_between_chunks: ("Reset", PATIENCE),
    not_http: ("BadAnswer", PATIENCE),
    header_without_end: ("BadAnswer", PATIENCE),
    too_many_headers: ("BadAnswer", PATIENCE),
    chunk_that_is_none: ("Reset", PATIENCE),
    lengths_that_differ: ("BadAnswer", PATIENCE),
    gzip_garbage: ("BadAnswer", PATIENCE),
    huge_announced: ("TooLarge", PATIENCE),
    huge_in_chunks: ("TooLarge", PATIENCE),
    silent: ("Timeout", ARRIVES),
    dripping_body: ("Timeout", ARRIVES),
    dripping_headers: ("Timeout", ARRIVES),
}


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_a_bad_answer_is_unreachable_with_a_reason_and_in_time(
    connect: Callable[..., Transport], lie: Callable[[Wire, Asked], None]
) -> None:
    reason, timeout = LIES[lie]
    with LyingServer(lie) as server:
        transport = connect(server, max_response_bytes=1 << 20)
        started = time.monotonic()
        assert reason_of(lambda: transport.call(Request("PUT", "/x", b"{}"), CallOptions(timeout))) == reason
        assert time.monotonic() - started < timeout + PATIENCE
        server.answer = honest
        assert transport.call(GET, PATIENT).status == 200  # nothing of the lie is left in a connection
    assert [asked.method for asked in server.asked] == ["PUT", "GET"]  # and nothing was sent twice


def test_what_a_hostile_server_can_make_us_hold_is_bounded(
    connect: Callable[..., Transport], client_of: Callable[[Transport], Client]
) -> None:
    """S8: two gigabytes announced or sent, and the JSON that grows most when it is decoded."""
    nested = b'{"metadata":{"resourceVersion":"1"},"items":[' + b"[]," * 300_000 + b"[]]}"
    limit = 900 << 10
    tracemalloc.start()
    try:
        with LyingServer(huge_in_chunks) as server:
            client = client_of(connect(server, max_response_bytes=limit))
            assert reason_of(lambda: list(client.pages(Selection(NODES), 1))) == "TooLarge"
            server.answer = lambda wire, _: wire.answer(200, nested)
            assert reason_of(lambda: list(client.pages(Selection(NODES), 1))) == "BadAnswer"
            server.answer = endless_line
            assert reason_of(lambda: list(client.watch(Selection(NODES), "1"))) == "TooLarge"
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def endless_line(wire: Wire, asked: Asked) -> None:
    wire.begin_stream()
    while True:
        wire.chunk(b"x" * 65536)


def test_what_was_requested_is_counted_by_code(connect: Callable[..., Transport], metrics: Metrics) -> None:
    with LyingServer(honest) as server:
        transport = connect(server)
        transport.call(GET, PATIENT)
        server.answer = no_answer
        reason_of(lambda: transport.call(GET, PATIENT))
    assert sample(metrics, "rest_client_requests_total", code="200", method="GET") == 1
    assert sample(metrics, "rest_client_requests_total", code="<error>", method="GET") == 1


def test_the_page_of_an_old_proxy_that_ends_with_its_connection_is_still_an_answer(
    connect: Callable[..., Transport],
) -> None:
    def unframed(wire: Wire, asked: Asked) -> None:
        wire.send(b"HTTP/1.0 503 Service Unavailable\r\n\r\n<html>503</html>")
        wire._sock.unwrap()

    with LyingServer(unframed) as server:
        answer = connect(server).call(GET, PATIENT)
    assert (answer.status, answer.body) == (503, b"<html>503</html>")


# -- streams -----------------------------------------------------------------------------------------------------------


def test_a_stream_hands_out_lines_however_they_are_cut(connect: Callable[..., Transport]) -> None:
    def sliced(wire: Wire, asked: Asked) -> None:
        wire.begin_stream()
        for part in (b'{"a":', b'1}\n{"b"', b":2}\n", b'{"c":3}\n{"d":4}\n'):
            wire.chunk(part)
        wire.end_stream()

    with LyingServer(sliced) as server:
        transport = connect(server)
        assert lines_of(transport) == [b'{"a":1}', b'{"b":2}', b'{"c":3}', b'{"d":4}']
        assert len(lines_of(transport)) == 4
    assert len(server.peers) == 1  # read to its end, so its connection is used again


def test_a_stream_that_is_left_early_does_not_leave_its_rest_to_the_next(connect: Callable[..., Transport]) -> None:
    def endless(wire: Wire, asked: Asked) -> None:
        wire.begin_stream()
        while True:
            wire.chunk(b"{}\n" * 100)

    with LyingServer(endless) as server:
        transport = connect(server)
        with transport.stream(WATCH) as lines:
            assert next(lines) == b"{}"
        with transport.stream(WATCH) as lines:
            assert next(lines) == b"{}"
    assert len(server.peers) == 2


def trickle(wire: Wire, asked: Asked) -> None:
    """One whole line after the other, none of them late."""
    wire.begin_stream()
    while wire.pause(0.05):
        wire.chunk(b"{}\n")


def test_a_list_that_comes_too_slowly_is_told_from_silence(connect: Callable[..., Transport]) -> None:
    with LyingServer(trickle) as server:
        transport = connect(server)
        with (
            pytest.raises(Unreachable) as caught,
            transport.stream(WATCH, StreamDeadline(RealClock(), 60.0, 0.5)) as lines,
        ):
            list(lines)
        told = f"127.0.0.1:{server.port}: a list that was not complete in 0.5 s"
        assert (caught.value.reason, caught.value.message) == ("Timeout", told)


def test_a_list_that_is_complete_may_be_followed_for_long(connect: Callable[..., Transport]) -> None:
    with LyingServer(trickle) as server:
        transport, deadline = connect(server), StreamDeadline(RealClock(), 60.0, 10.0)
        with transport.stream(WATCH, deadline) as lines:
            deadline.listed()
            assert [next(lines) for _ in range(5)] == [b"{}"] * 5
        assert deadline.bound(90.0) - time.monotonic() > 45.0


def test_a_stream_that_the_server_does_not_end_is_ended(connect: Callable[..., Transport]) -> None:
    with LyingServer(trickle) as server:
        transport = connect(server)
        with transport.stream(WATCH, StreamDeadline(RealClock(), ARRIVES)) as lines:
            assert set(lines) == {b"{}"}
        server.answer = silent
        assert reason_of(lambda: transport.call(GET, CallOptions(0.3))) == "Timeout"  # not the rest of the stream


def test_of_a_refusal_no_more_is_passed_on_than_is_wanted(connect: Callable[..., Transport]) -> None:
    refusal = {"kind": "Status", "code": 403, "reason": "Forbidden", "message": "m" * 5000}
    with LyingServer(lambda wire, _: wire.json(403, refusal)) as server:
        with pytest.raises(ApiError) as caught:
            lines_of(connect(server, max_error_chars=200))
        assert caught.value.message == "m" * 196 + " ..."


def test_an_answer_that_began_is_told_from_none(connect: Callable[..., Transport]) -> None:
    with LyingServer(dripping_body) as server:
        with pytest.raises(Unreachable) as caught:
            connect(server).call(GET, CallOptions(ARRIVES))
        assert caught.value.message == f"127.0.0.1:{server.port}: an answer that was not complete within 3 s"
        server.answer = silent
        with pytest.raises(Unreachable) as caught:
            connect(server).call(GET, CallOptions(1.0))
        assert caught.value.message == f"127.0.0.1:{server.port}: no answer within 1 s"


def test_a_stream_cut_within_a_line_is_a_reset_after_the_whole_lines(connect: Callable[..., Transport]) -> None:
    read = threading.Event()  # a RST takes with it what was not read yet

    def cut(wire: Wire, asked: Asked) -> None:
        wire.begin_stream()
        wire.chunk(b'{"a":1}\n{"b"')
        read.wait(PATIENCE)
        wire.reset()

    with LyingServer(cut) as server, connect(server).stream(WATCH) as lines:
        assert next(lines) == b'{"a":1}'
        read.set()
        assert reason_of(lambda: next(lines)) == "Reset"


def test_a_stream_that_ends_within_a_line_is_a_reset(connect: Callable[..., Transport]) -> None:
    def half(wire: Wire, asked: Asked) -> None:
        wire.begin_stream()
        wire.chunk(b'{"b"')
        wire.end_stream()

    with LyingServer(half) as server:
        assert reason_of(lambda: lines_of(connect(server))) == "Reset"


def test_a_silent_stream_is_given_up_after_the_idle_limit(connect: Callable[..., Transport]) -> None:
    def quiet(wire: Wire, asked: Asked) -> None:
        wire.begin_stream()
        wire.chunk(b"{}\n")
        wire.silence()

    with LyingServer(quiet) as server, connect(server, idle_seconds=ARRIVES).stream(WATCH) as lines:
        assert next(lines) == b"{}"
        assert reason_of(lambda: next(lines)) == "IdleTimeout"


def test_a_line_that_never_gets_complete_does_not_count_as_life(connect: Callable[..., Transport]) -> None:
    def dripping(wire: Wire, asked: Asked) -> None:
        wire.begin_stream()
        for _ in range(1000):
            wire.drip(b"1\r\nx\r\n", 0.01)

    with LyingServer(dripping) as server:
        assert reason_of(lambda: lines_of(connect(server, idle_seconds=0.3))) == "IdleTimeout"


def test_the_time_that_the_reader_takes_is_not_silence(connect: Callable[..., Transport]) -> None:
    def two_lines(wire: Wire, asked: Asked) -> None:
        wire.begin_stream()
        wire.chunk(b"{}\n{}\n")
        wire.chunk(b"{}\n")
        wire.end_stream()

    with LyingServer(two_lines) as server, connect(server, idle_seconds=ARRIVES).stream(WATCH) as lines:
        assert next(lines) == b"{}"
        threading.Event().wait(ARRIVES + 0.5)
        assert list(lines) == [b"{}", b"{}"]


def test_a_line_without_end_is_too_large(connect: Callable[..., Transport]) -> None:
    with LyingServer(endless_line) as server:
        assert reason_of(lambda: lines_of(connect(server))) == "TooLarge"


def test_a_compressed_stream_is_a_bad_answer(connect: Callable[..., Transport]) -> None:
    with LyingServer(gzip_garbage) as server:
        assert reason_of(lambda: lines_of(connect(server))) == "BadAnswer"


def test_a_stream_refused_as_expired_is_gone(connect: Callable[..., Transport]) -> None:
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
    with LyingServer(lambda wire, _: wire.json(410, status)) as server, pytest.raises(Gone) as caught:
        lines_of(connect(server))
    assert (caught.value.code, caught.value.reason) == (410, "Expired")


def test_the_plain_text_of_an_overloaded_server_is_an_error_with_the_time_to_come_back(
    connect: Callable[..., Transport],
) -> None:
    text = b"Too many requests, please try again later.\n"
    with (
        LyingServer(
            lambda wire, _: wire.answer(429, text, {"Retry-After": "1", "Content-Type": "text/plain"})
        ) as server,
        pytest.raises(TooManyRequests) as caught,
    ):
        lines_of(connect(server))
    error = caught.value
    told = f"GET {WATCH.target.partition('?')[0]}: {text.decode().strip()}"
    assert (error.reason, error.retry_after_seconds, error.message) == ("TooManyRequests", 1.0, told)


def test_the_page_of_a_proxy_in_between_is_cut_short_and_made_printable(connect: Callable[..., Transport]) -> None:
    page = "<html>\x1b[31m502\r\nBad Gatewäy" + "x" * 5000
    with LyingServer(lambda wire, _: wire.answer(502, page.encode())) as server, pytest.raises(ApiError) as caught:
        lines_of(connect(server))
    error = caught.value
    asked, _, said = error.message.partition(": ")
    assert (error.code, error.reason, len(said)) == (502, "BadGateway", 200)
    assert (asked, said[:26]) == (f"GET {WATCH.target.partition('?')[0]}", "<html> [31m502 Bad Gatew y")


# -- tools -------------------------------------------------------------------------------------------------------------


def v4(address: str, port: int) -> tuple[int, tuple[Any, ...]]:
    return socket.AF_INET, (address, port)


def v6(address: str, port: int) -> tuple[int, tuple[Any, ...]]:
    return socket.AF_INET6, (address, port, 0, 0)


def wait_until(holds: Callable[[], bool]) -> None:
    pause, deadline = threading.Event(), time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        pause.wait(0.005)


def in_thread(action: Callable[[], Any]) -> Callable[[], Any]:
    """Start the action; the function that is returned waits for its result."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(action()))
    thread.start()

    def result() -> Any:
        thread.join(PATIENCE)
        return results[0] if results else None

    return result


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, {"host": "server", **labels})


def test_the_authority_that_a_server_was_verified_by_is_known_whatever_else_is_trusted(
    connect: Callable[..., Transport],
) -> None:
    with LyingServer(honest) as server:
        transport = connect(server, ca_pem=ca_pem("another") + ca_pem())
        assert transport.anchor_pem == b""
        transport.call(GET, PATIENT)
        assert certificates(transport.anchor_pem) == certificates(ca_pem().encode())


def test_where_a_server_was_verified_is_told_and_where_it_was_not_is_not(connect: Callable[..., Transport]) -> None:
    seen: list[str] = []
    with LyingServer(honest) as server:
        connect(server, on_verified=seen.append).call(GET, PATIENT)
        assert seen == ["127.0.0.1"]
        stranger = connect(server, ca_pem=ca_pem("another"), on_verified=seen.append)
        assert reason_of(lambda: stranger.call(GET, PATIENT)) == "TLS"
        assert seen == ["127.0.0.1"]


DATES = {  # header Date of an answer -> by how many seconds the server is ahead
    "ahead": ("Thu, 01 Jan 2026 00:00:40 GMT", 40.0),
    "behind": ("Wed, 31 Dec 2025 23:00:00 GMT", -3600.0),
    "of another form": ("2026-01-01", None),
    "without a zone": ("Thu, 01 Jan 2026 00:00:40 -0000", None),
    "garbage": ("x" * 5000, None),
    "a year that no calendar has": ("Thu, 01 Jan 99999999999999 00:00:00 GMT", None),
    "a zone that no place has": ("Thu, 01 Jan 2026 00:00:00 +9999999999999", None),
    "none": ("", None),
}


@pytest.mark.parametrize(("date", "ahead"), DATES.values(), ids=DATES)
def test_the_clock_of_a_server_is_known_by_the_date_of_its_answers(
    connect: Callable[..., Transport], date: str, ahead: float | None
) -> None:
    class Fixed(RealClock):
        def now(self) -> datetime:
            return datetime(2026, 1, 1, tzinfo=UTC)

    with LyingServer(lambda wire, _: wire.json(200, {}, {"Date": date} if date else None)) as server:
        transport = connect(server, clock=Fixed())
        assert transport.server_ahead is None
        transport.call(GET, CallOptions(30.0))
        assert transport.server_ahead == (None if ahead is None else timedelta(seconds=ahead))
