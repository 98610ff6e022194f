import http.client
import os
import socket
import ssl
import threading

import pytest

from dpunetop.base.clock import RealClock
from dpunetop.base.stop import Stop
from dpunetop.runtime import server
from dpunetop.runtime.client.connection import ConfigurationError
from dpunetop.runtime.metrics import Metrics
from dpunetop.runtime.reviews import Verdict
from dpunetop.runtime.server import Certificate, Guarded, HealthServer, MetricsServer, Plain
from support.pki import pair

ANYWHERE = ("127.0.0.1", 0)
VERDICTS = {"good": Verdict.ALLOWED, "weak": Verdict.DENIED, "lost": Verdict.UNDECIDED}


class Judge:
    """A reviewer that knows its tokens by heart."""

    def __init__(self):
        self.asked = []

    def judge(self, token, path, verb, stop):
        self.asked.append((token, path, verb))
        return VERDICTS.get(token, Verdict.UNKNOWN_CALLER)


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def judge():
    return Judge()


@pytest.fixture
def serve():
    stop, threads = Stop(), []

    def start(listening):
        thread = threading.Thread(target=listening.run, args=(stop,), name="server")
        thread.start()
        threads.append(thread)
        return listening.address

    yield start
    stop.set()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


@pytest.fixture
def folder(tmp_path):
    return tmp_path


@pytest.fixture
def guarded(serve, metrics, judge, folder):
    certificate = Certificate(str(folder), metrics.certificate(), RealClock())
    return serve(MetricsServer(ANYWHERE, metrics, Guarded(judge, certificate), clock=RealClock()))


def trusting_anyone():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def ask(connection, path="/metrics", method="GET", body=None, **headers):
    """Status, body and headers of one request."""
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), dict(answer.headers)
    finally:
        connection.close()


def ask_https(address, token=None, **more):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return ask(http.client.HTTPSConnection(*address, timeout=5, context=trusting_anyone()), **more, **headers)


def ask_http(address, path):
    return ask(http.client.HTTPConnection(*address, timeout=5), path)


@pytest.mark.parametrize(("token", "status"), {None: 401, "bad": 401, "weak": 403, "good": 200, "lost": 500}.items())
def test_metrics_are_for_those_who_may_read_them(guarded, token, status):
    assert ask_https(guarded, token)[0] == status


def test_the_right_to_get_the_path_is_asked_for(guarded, judge):
    ask_https(guarded, "good", path="/metrics?name=x")
    assert judge.asked == [("good", "/metrics", "get")]


def test_a_reader_gets_the_metrics(guarded, metrics):
    metrics.elector("lease").leading(True)
    _, body, headers = ask_https(guarded, "good")
    assert 'leader_election_master_status{name="lease"} 1' in body
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_a_refusal_tells_nothing_but_what_is_needed(guarded):
    assert ask_https(guarded)[1] == "401 a bearer token is needed\n"
    assert ask_https(guarded)[2]["WWW-Authenticate"] == "Bearer"
    assert ask_https(guarded, "weak")[1] == "403 forbidden\n"


@pytest.mark.parametrize("authorization", ["Basic Z29vZDo=", "good", "Bearer", ""])
def test_only_a_bearer_token_counts(guarded, authorization):
    connection = http.client.HTTPSConnection(*guarded, timeout=5, context=trusting_anyone())
    assert ask(connection, Authorization=authorization)[0] == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_only_get_is_served(guarded, method):
    status, _, headers = ask_https(guarded, "good", method=method, body=b"x" * 100)
    assert (status, headers["Allow"]) == (405, "GET")


def test_an_unknown_path_is_not_found(guarded):
    assert ask_https(guarded, "good", path="/debug")[0] == 404


def test_a_caller_who_stays_silent_holds_nobody_up(guarded):
    with socket.create_connection(guarded), socket.create_connection(guarded):
        assert ask_https(guarded, "good")[0] == 200


def test_a_caller_who_speaks_no_tls_holds_nobody_up(guarded):
    with socket.create_connection(guarded, timeout=5) as plain:
        plain.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert ask_https(guarded, "good")[0] == 200


def test_a_silent_connection_is_ended(serve, metrics, monkeypatch):
    monkeypatch.setattr(server, "IDLE_SECONDS", 0.1)
    monkeypatch.setattr(server._Handler, "timeout", 0.1)
    address = serve(MetricsServer(ANYWHERE, metrics, Plain(), clock=RealClock()))
    with socket.create_connection(address, timeout=5) as silent:
        assert silent.recv(1) == b""


def test_a_connection_that_drags_on_is_ended(serve, metrics, monkeypatch):
    monkeypatch.setattr(server, "CONNECTION_SECONDS", 0.1)
    monkeypatch.setattr(server, "_SWEEP_SECONDS", 0.05)
    address = serve(MetricsServer(ANYWHERE, metrics, Plain(), clock=RealClock()))
    with socket.create_connection(address, timeout=5) as slow:
        slow.sendall(b"GET /metrics HTTP/1.1\r\n")
        assert slow.recv(1) == b""


def test_more_connections_than_allowed_are_closed_unheard(serve, metrics, monkeypatch):
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 1)
    address = serve(MetricsServer(ANYWHERE, metrics, Plain(), clock=RealClock()))
    with socket.create_connection(address) as first, socket.create_connection(address, timeout=5) as second:
        assert second.recv(1) == b""
        first.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert first.recv(100).startswith(b"HTTP/1.1 200")


IMPROPER = {
    "garbage": b"\x00" * 100 + b"\r\n\r\n",
    "a line without end": b"GET " + b"/" * 70_000 + b" HTTP/1.1\r\n\r\n",
    "headers without end": b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200,
}


@pytest.mark.parametrize("request_bytes", IMPROPER.values(), ids=IMPROPER.keys())
def test_what_is_no_proper_request_is_refused(serve, metrics, request_bytes):
    address = serve(MetricsServer(ANYWHERE, metrics, Plain(), clock=RealClock()))
    with socket.create_connection(address, timeout=5) as caller:
        caller.sendall(request_bytes)
        assert caller.recv(100).startswith(b"HTTP/1.1 4")


def subject(address):
    with socket.create_connection(address, timeout=5) as plain, trusting_anyone().wrap_socket(plain) as secured:
        return ssl.DER_cert_to_PEM_cert(secured.getpeercert(binary_form=True))


def lay_down(folder, made, moment):
    for name, content in (("tls.crt", made.cert), ("tls.key", made.key)):
        (folder / name).write_bytes(content)
        os.utime(folder / name, (moment, moment))


def test_without_files_the_certificate_is_self_signed_and_stays_the_same(guarded):
    assert subject(guarded) == subject(guarded)


def test_the_certificate_is_read_when_it_comes_and_when_it_changes(guarded, folder, metrics):
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
def test_a_spoiled_certificate_leaves_the_one_before(guarded, folder, metrics, cert, key):
    lay_down(folder, pair("one"), 1)
    subject(guarded)
    (folder / "tls.crt").write_bytes(cert)
    (folder / "tls.key").write_bytes(key)
    assert subject(guarded).encode() == pair("one").cert
    assert metrics.registry.get_sample_value("certwatcher_read_certificate_errors_total") == 1


def test_vanished_files_leave_the_certificate_before(guarded, folder):
    lay_down(folder, pair("one"), 1)
    subject(guarded)
    (folder / "tls.crt").unlink()
    assert subject(guarded).encode() == pair("one").cert


def test_old_tls_is_refused(guarded):
    context = trusting_anyone()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert ask(http.client.HTTPSConnection(*guarded, timeout=5, context=context))[0] == 401


def test_plain_metrics_ask_for_nothing_and_are_on_loopback(serve, metrics):
    address = serve(MetricsServer(("", 0), metrics, Plain(), clock=RealClock()))
    assert address[0] == "127.0.0.1"
    assert ask_http(address, "/metrics")[0] == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org"])
def test_plain_metrics_refuse_other_addresses(metrics, host):
    with pytest.raises(ConfigurationError, match="loopback"):
        MetricsServer((host, 0), metrics, Plain(), clock=RealClock())


def test_an_address_in_use_is_told_in_one_line(serve, metrics):
    host, port = serve(MetricsServer(ANYWHERE, metrics, Plain(), clock=RealClock()))
    with pytest.raises(ConfigurationError) as caught:
        MetricsServer((host, port), metrics, Plain(), clock=RealClock())
    assert str(caught.value) == f"cannot listen on 127.0.0.1:{port}: Address already in use"


def test_health_tells_what_is_wrong(serve):
    reasons = {"ready": "caches are not filled"}
    health = HealthServer(("", 0), healthy=lambda: "", ready=lambda: reasons.get("ready", ""), clock=RealClock())
    _, port = serve(health)
    address = ("127.0.0.1", port)
    assert ask_http(address, "/healthz")[:2] == (200, "ok\n")
    assert ask_http(address, "/readyz")[:2] == (503, "caches are not filled\n")
    reasons.clear()
    assert ask_http(address, "/readyz")[:2] == (200, "ok\n")
    assert ask_http(address, "/metrics")[0] == 404


def test_stopping_ends_open_connections(metrics):
    stop = Stop()
    listening = MetricsServer(ANYWHERE, metrics, Plain(), clock=RealClock())
    thread = threading.Thread(target=listening.run, args=(stop,), name="server")
    thread.start()
    with socket.create_connection(listening.address, timeout=5) as idle:
        assert ask_http(listening.address, "/metrics")[0] == 200
        stop.set()
        assert idle.recv(1) == b""
    thread.join(5)
    assert not thread.is_alive()
