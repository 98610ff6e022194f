"""Streams as one thread reads them: who does not read holds up nobody, and what is over leaves nothing behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from dpunetop.kube.errors import Unreachable
from dpunetop.kube.requests import Request
from dpunetop.kube.watch import QUIET, Quiet
from dpunetop.runtime.client.streams import MOST_WAITING_BYTES
from dpunetop.runtime.client.transport import Transport
from support.lyingserver import Asked, LyingServer, Wire

PATIENCE = 60.0
IDLE = 3.0


def watch(name: str) -> Request:
    return Request("GET", f"/{name}?watch=1")


class Reader:
    """Reads a stream without waiting; `wakes` counts how often it was told that there is more."""

    def __init__(self, open_streams: ExitStack, transport: Transport, name: str) -> None:
        self._guard = threading.Condition()  # guards wakes
        self.wakes = 0
        self.lines: Iterator[bytes | Quiet] = open_streams.enter_context(
            transport.stream(watch(name), None, self._wake)
        )

    def _wake(self) -> None:
        with self._guard:
            self.wakes += 1
            self._guard.notify_all()

    def until_woken(self, times: int) -> None:
        with self._guard:
            assert self._guard.wait_for(lambda: self.wakes >= times, PATIENCE)

    def next(self) -> bytes:
        """The next line, however long it takes."""
        while True:
            seen = self.wakes
            line = next(self.lines)
            if not isinstance(line, Quiet):
                return line
            self.until_woken(seen + 1)

    def rest(self) -> Iterator[bytes]:
        """All lines that come until the stream ends."""
        while True:
            seen = self.wakes
            line = next(self.lines, None)
            if line is None:
                return
            if line is QUIET:
                self.until_woken(seen + 1)
            else:
                yield line


@pytest.fixture
def open_streams() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


class Script:
    """A server that sends the lines that a test tells it to, by stream."""

    def __init__(self) -> None:
        self._guard = threading.Condition()  # guards all below
        self._wires: dict[str, Wire] = {}
        self._over = False

    def __call__(self, wire: Wire, asked: Asked) -> None:
        name = asked.target.partition("?")[0].strip("/")
        wire.begin_stream()
        with self._guard:
            self._wires[name] = wire
            self._guard.notify_all()
            self._guard.wait_for(lambda: self._over or name not in self._wires, PATIENCE)

    def send(self, name: str, data: bytes) -> None:
        self._wire(name).chunk(data)

    def finish(self, name: str) -> None:
        self._wire(name).end_stream()
        with self._guard:
            del self._wires[name]
            self._guard.notify_all()

    def close(self) -> None:
        with self._guard:
            self._over = True
            self._guard.notify_all()

    def _wire(self, name: str) -> Wire:
        with self._guard:
            assert self._guard.wait_for(lambda: name in self._wires, PATIENCE)
            return self._wires[name]


@pytest.fixture
def script() -> Iterator[Script]:
    made = Script()
    yield made
    made.close()


@pytest.fixture
def server(script: Script) -> Iterator[LyingServer]:
    with LyingServer(script) as running:
        try:
            yield running
        finally:
            script.close()


def loops() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("streams ")]


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


def test_many_streams_are_one_thread_which_ends_with_the_last(
    connect: Callable[..., Transport], server: LyingServer, script: Script
) -> None:
    transport = connect(server)
    with ExitStack() as open_streams:
        readers = [Reader(open_streams, transport, f"w{number}") for number in range(30)]
        assert [next(reader.lines) for reader in readers] == [QUIET] * 30
        assert len(loops()) == 1
        for number, reader in enumerate(readers):
            script.send(f"w{number}", b'{"n":%d}\n' % number)
            reader.until_woken(1)
            assert next(reader.lines) == b'{"n":%d}' % number
            assert next(reader.lines) is QUIET
        assert [reader.wakes for reader in readers] == [1] * 30
    until(lambda: loops() == [])
    assert len(transport._sockets) == 0
    with transport.stream(watch("again")):
        assert len(loops()) == 1


def test_a_reader_is_woken_once_and_only_while_it_waits(
    connect: Callable[..., Transport], server: LyingServer, script: Script, open_streams: ExitStack
) -> None:
    reader = Reader(open_streams, connect(server), "one")
    script.send("one", b"1\n")
    assert reader.next() == b"1"
    assert next(reader.lines) is QUIET
    before = reader.wakes
    script.send("one", b"2\n3\n")
    reader.until_woken(before + 1)
    script.send("one", b"4\n")
    assert [reader.next() for _ in range(3)] == [b"2", b"3", b"4"]
    assert reader.wakes <= before + 2


def test_the_end_of_a_stream_wakes_and_is_told_after_its_lines(
    connect: Callable[..., Transport], server: LyingServer, script: Script, open_streams: ExitStack
) -> None:
    reader = Reader(open_streams, connect(server), "one")
    assert next(reader.lines) is QUIET
    script.send("one", b"1\n")
    script.finish("one")
    reader.until_woken(1)
    assert [line for line in reader.lines if line is not QUIET] == [b"1"]


def test_a_server_whose_reader_takes_nothing_is_made_to_wait_and_nobody_else(
    connect: Callable[..., Transport], script: Script
) -> None:
    sent = [0]

    def flood(wire: Wire, asked: Asked) -> None:
        if "quiet" in asked.target:
            script(wire, asked)
            return
        wire.begin_stream()
        while sent[0] < 64 << 20:
            wire.chunk(b"x" * 999 + b"\n")
            sent[0] += 1000
        wire.end_stream()

    with LyingServer(flood) as server, ExitStack() as open_streams:
        transport = connect(server, idle_seconds=IDLE)
        slow, other = (Reader(open_streams, transport, name) for name in ("flood", "quiet"))
        until(lambda: sent[0] > MOST_WAITING_BYTES)
        seen, since = -1, time.monotonic()
        while seen != sent[0] or time.monotonic() - since < IDLE + 0.5:  # until the server is stuck for long
            seen, since = sent[0], since if seen == sent[0] else time.monotonic()
            script.send("quiet", b"1\n")
            assert other.next() == b"1"
            threading.Event().wait(0.1)
        assert seen < 16 << 20  # the rest is what the system buffers on both sides
        assert next(slow.lines) == b"x" * 999
        count = 1 + sum(len(line) == 999 for line in slow.rest())
        assert count * 1000 == sent[0] >= 64 << 20
        script.close()


@pytest.mark.parametrize("end", ["close_connections", "stop"])
def test_all_streams_are_cut_at_once_also_one_that_waits_for_its_reader(
    connect: Callable[..., Transport], script: Script, end: str
) -> None:
    def flood(wire: Wire, asked: Asked) -> None:
        if "quiet" in asked.target:
            script(wire, asked)
            return
        wire.begin_stream()
        while True:
            wire.chunk(b"x" * 999 + b"\n")

    with LyingServer(flood) as server, ExitStack() as open_streams:
        transport = connect(server)
        readers = [Reader(open_streams, transport, name) for name in ("flood", "quiet")]
        assert next(readers[1].lines) is QUIET
        transport.close_connections() if end == "close_connections" else transport.stop.set()
        readers[1].until_woken(1)
        for reader in readers:
            with pytest.raises(Unreachable) as caught:
                all(reader.next() for _ in iter(int, 1))
            assert caught.value.reason == ("Reset" if end == "close_connections" else "Stopped")
        until(lambda: len(transport._sockets) == 0)
        script.close()
    until(lambda: loops() == [])


def test_only_silent_streams_are_cut_where_something_in_between_went_silent(
    connect: Callable[..., Transport], server: LyingServer, script: Script, open_streams: ExitStack
) -> None:
    transport = connect(server)
    silent, lively = (Reader(open_streams, transport, name) for name in ("silent", "lively"))
    assert [next(silent.lines), next(lively.lines)] == [QUIET, QUIET]
    since = time.clock_gettime(time.CLOCK_BOOTTIME)
    script.send("lively", b"1\n")
    assert lively.next() == b"1"
    transport.leave_silent(since)
    silent.until_woken(1)
    with pytest.raises(Unreachable) as caught:
        next(silent.lines)
    assert caught.value.reason == "Reset"
    script.send("lively", b"2\n")
    assert lively.next() == b"2"


@pytest.mark.parametrize(
    "garbage",
    [b"what is this?\r\n", b"-5\r\nhello\r\n", b"fffffffffffffffff\r\n", b"5\r\nhello, and more\r\n", b"\0" * 4096],
)
def test_garbage_in_one_stream_is_its_own_bad_answer_and_no_other_stream_knows(
    connect: Callable[..., Transport], script: Script, garbage: bytes
) -> None:
    def lie(wire: Wire, asked: Asked) -> None:
        if "quiet" in asked.target:
            script(wire, asked)
            return
        wire.begin_stream()
        wire.chunk(b"1\n")
        wire.send(garbage)
        wire.silence()

    with LyingServer(lie) as server, ExitStack() as open_streams:
        transport = connect(server)
        liar, other = (Reader(open_streams, transport, name) for name in ("liar", "quiet"))
        with pytest.raises(Unreachable) as caught:
            all(liar.next() for _ in iter(int, 1))
        assert caught.value.reason == "BadAnswer"
        script.send("quiet", b"1\n")
        assert other.next() == b"1"
        script.close()


def test_an_answer_that_is_empty_from_the_start_is_a_stream_that_is_over(connect: Callable[..., Transport]) -> None:
    with LyingServer(lambda wire, _: wire.answer(200, b"")) as server, connect(server).stream(watch("one")) as lines:
        assert list(lines) == []


@pytest.mark.parametrize("headers", [{"Connection": "close"}, {}])
def test_a_stream_of_a_known_length_is_read_to_its_end(
    connect: Callable[..., Transport], headers: dict[str, Any]
) -> None:
    with (
        LyingServer(lambda wire, _: wire.answer(200, b"1\n22\n", headers)) as server,
        connect(server).stream(watch("one")) as lines,
    ):
        assert list(lines) == [b"1", b"22"]


def test_a_stream_cannot_begin_after_the_stop(connect: Callable[..., Transport], server: LyingServer) -> None:
    transport = connect(server)
    transport.stop.set()
    with pytest.raises(Unreachable, match="Stopped"), transport.stream(watch("one")):
        pass
    assert loops() == []
