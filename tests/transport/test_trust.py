"""A CA that is renewed in its file, as the kubelet renews a pod's `ca.crt`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dpunetop.base.clock import RealClock
from dpunetop.kube.errors import Unreachable
from dpunetop.kube.requests import Request
from dpunetop.runtime.client.connection import REREAD_SECONDS
from dpunetop.runtime.client.transport import CallOptions, Response, Transport
from support.lyingserver import Asked, LyingServer, Wire, ca_pem

GET = Request("GET", "/api/v1/nodes/one")
WATCH = Request("GET", "/api/v1/nodes?watch=1")
PATIENCE = 60.0
PATIENT = CallOptions(PATIENCE)


class Later(RealClock):
    """A clock that a test sets on."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


class Pod:
    """A folder with a `ca.crt`, a server that it verifies, and a transport that reads it."""

    def __init__(self, folder: Path, server: LyingServer, connect: Callable[..., Transport]) -> None:
        self.file = folder / "ca.crt"
        self.file.write_text(ca_pem("old"))
        self.server = server
        self.clock = Later()
        self.transport = connect(server, ca_pem=ca_pem("old"), ca_file=self.file, clock=self.clock)

    def rotate(self) -> None:
        self.server.certify("new")
        self.file.write_text(ca_pem("new"))

    def wait(self) -> None:
        self.clock.ahead += REREAD_SECONDS + 1.0

    def get(self) -> int:
        return self.transport.call(GET, PATIENT).status

    def trusts(self, name: str) -> bool:
        return self.transport.anchor_pem.decode().split() == ca_pem(name).split()


def honest(wire: Wire, asked: Asked) -> None:
    wire.json(200, {})


@pytest.fixture
def served() -> LyingServer:
    return LyingServer(honest, certified_by="old")


def test_a_ca_is_read_again_and_the_connections_of_the_old_one_are_let_go(
    connect: Callable[..., Transport], served: LyingServer, tmp_path: Path
) -> None:
    with served as server:
        pod = Pod(tmp_path, server, connect)
        assert (pod.get(), pod.trusts("old")) == (200, True)
        pod.rotate()
        assert (pod.get(), pod.trusts("old")) == (200, True)
        pod.wait()
        assert (pod.get(), pod.trusts("new")) == (200, True)
        assert repr(pod.transport).endswith(" 1 sockets>")


def test_a_server_that_cannot_be_verified_is_tried_by_the_ca_of_now_the_next_time(
    connect: Callable[..., Transport], served: LyingServer, tmp_path: Path
) -> None:
    with served as server:
        pod = Pod(tmp_path, server, connect)
        pod.rotate()
        with pytest.raises(Unreachable) as caught:
            pod.get()
        assert (caught.value.reason, pod.get()) == ("TLS", 200)


@pytest.mark.parametrize("content", ["", "-----BEGIN CERTIFICATE-----\nMII", None], ids=["empty", "cut", "gone"])
def test_a_ca_that_cannot_be_read_changes_nothing(
    connect: Callable[..., Transport], served: LyingServer, tmp_path: Path, content: str | None
) -> None:
    with served as server:
        pod = Pod(tmp_path, server, connect)
        pod.get()
        pod.file.unlink() if content is None else pod.file.write_text(content)
        pod.wait()
        assert pod.get() == 200
        pod.rotate()
        pod.wait()
        assert (pod.get(), pod.trusts("new")) == (200, True)


def test_calls_under_way_when_the_ca_changes_are_answered_and_their_connections_let_go(
    connect: Callable[..., Transport], served: LyingServer, tmp_path: Path
) -> None:
    arrived, go_on, answers = threading.Event(), threading.Event(), list[Response]()

    def slow(wire: Wire, asked: Asked) -> None:
        arrived.set()
        assert go_on.wait(PATIENCE)
        wire.json(200, {})

    with served as server:
        pod = Pod(tmp_path, server, connect)
        server.answer = slow
        call = threading.Thread(target=lambda: answers.append(pod.transport.call(GET, PATIENT)))
        call.start()
        assert arrived.wait(PATIENCE)
        server.answer = honest
        pod.rotate()
        pod.wait()
        assert (pod.get(), pod.trusts("new")) == (200, True)
        go_on.set()
        call.join(PATIENCE)
        assert [answer.status for answer in answers] == [200]
        assert repr(pod.transport).endswith(" 1 sockets>")


def test_watches_are_cut_when_the_ca_changes_so_that_they_go_on_by_the_new_one(
    connect: Callable[..., Transport], served: LyingServer, tmp_path: Path
) -> None:
    def one_line(wire: Wire, asked: Asked) -> None:
        wire.begin_stream()
        wire.chunk(b"{}\n")
        wire.silence()

    with served as server:
        pod = Pod(tmp_path, server, connect)
        server.answer = one_line
        with pod.transport.stream(WATCH) as lines:
            assert next(lines) == b"{}"
            server.answer = honest
            pod.rotate()
            pod.wait()
            assert pod.get() == 200
            with pytest.raises(Unreachable) as caught:
                next(lines)
        assert caught.value.reason == "Reset"


class LaterInTheWorld(Later):
    """A clock whose wall time a test sets on as well."""

    later = timedelta()

    def now(self) -> datetime:
        return super().now() + self.later


def test_a_kept_connection_is_not_used_after_the_end_of_the_certificate_it_verified(
    connect: Callable[..., Transport], served: LyingServer
) -> None:
    clock, end = LaterInTheWorld(), datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    with served as server:
        server.certify("old", until=end)
        transport = connect(server, ca_pem=ca_pem("old"), clock=clock)
        assert [transport.call(GET, PATIENT).status for _ in range(2)] == [200, 200]
        assert (transport.serving and transport.serving.end, len(server.peers)) == (end, 1)
        server.certify("old")
        clock.later = timedelta(days=1)
        assert (transport.call(GET, PATIENT).status, len(server.peers)) == (200, 2)
        assert transport.serving is not None
        assert transport.serving.end > end


def test_a_kept_connection_is_opened_anew_after_an_hour_so_that_a_renewed_certificate_is_seen(
    connect: Callable[..., Transport], served: LyingServer
) -> None:
    clock, end = Later(), datetime.now(UTC).replace(microsecond=0) + timedelta(days=9)
    with served as server:
        transport = connect(server, ca_pem=ca_pem("old"), clock=clock)
        transport.call(GET, PATIENT)
        server.certify("old", until=end)
        clock.ahead = 3000.0
        assert (transport.call(GET, PATIENT).status, len(server.peers)) == (200, 1)
        clock.ahead = 3601.0
        assert (transport.call(GET, PATIENT).status, len(server.peers)) == (200, 2)
        assert transport.serving is not None
        assert transport.serving.end == end
