"""A port that anybody may connect to: what one caller costs, in time and in memory, is bounded before it is known.

One thread has all connections and never waits for one of them: it accepts, shakes hands, reads heads and sends answers
as far as each connection lets it, and cuts off what is late. What an answer takes happens in a few threads beside it.
Why it is written here: docs/adr/0009-serving.md.
"""

from __future__ import annotations

import os
import selectors
import socket
import ssl
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import structlog
from structlog.typing import FilteringBoundLogger

from dpunetop.base.clock import Clock
from dpunetop.base.stop import Stop
from dpunetop.runtime.client.connection import ConfigurationError
from dpunetop.runtime.http1 import END_OF_HEAD, MAX_HEAD_BYTES, Answer, Refusal, Request, parse, refused, render

HEAD_SECONDS = 5.0
"""How long a caller has, from its connection on, for the TLS handshake and the whole head."""
CONNECTION_SECONDS = 30.0
"""How long a connection may last, whatever its caller does."""
LINGER_SECONDS = 1.0
"""How long a caller has to take the answer and close, once all of it is sent."""
MAX_CONNECTIONS = 64
"""So many at once; for one more the oldest idle one is closed, first of addresses that last came for nothing."""
MAX_CONNECTIONS_OF_A_PEER = 16
"""So many from one address; for one more the oldest idle one from there is closed."""
ANSWERING_THREADS = 16
MAX_HELLO_BYTES = 16 << 10

_BACKLOG = 128
_ACCEPTED_AT_ONCE = 64
_PAUSE_SECONDS = 0.1
_DOUBTED = 1024
_DRAINED_BYTES = 64 << 10
_CHUNK_BYTES = 4 << 10
_MESSAGE_HEAD_BYTES = 4
_HELLO_START_BYTES = 5 + _MESSAGE_HEAD_BYTES
# Bytes that are sent and not read yet lie in the kernel, on this process's account: so they may not be many either.
_RECEIVE_BUFFER_BYTES = 16 << 10

Respond = Callable[[Request, Stop], Answer]
Secure = Callable[[socket.socket], socket.socket]

T = TypeVar("T")


class _Need(Enum):
    """What a connection waits for."""

    INPUT = selectors.EVENT_READ
    ROOM = selectors.EVENT_WRITE
    ANSWER = 0
    """A thread that answers; nothing of its caller."""


_Course = Generator[_Need, None, T]
"""Steps of one connection: it yields what it must wait for."""


@dataclass(eq=False, slots=True)
class _Visitor:
    """One connection."""

    connection: socket.socket
    peer: str
    end: float
    """When it is over, whatever comes."""
    deadline: float
    """When it is over, unless it gets on."""
    is_idle: bool = True
    """Whether it has yet to ask for something, or has its answer."""
    has_asked: bool = False
    need: _Need = _Need.ANSWER  # of nothing of its caller, until it is watched
    course: _Course[None] = field(init=False)


class Listener:
    """Accepts connections and answers one request on each.

    Guarantees: memory by MAX_CONNECTIONS times a head and a TLS session, and ANSWERING_THREADS + 1 threads, whatever
        callers do; a new caller is heard at once, unless all others are being answered; when `run` returns, all
        connections are closed and all threads have ended.
    Threads: call `run` once; `respond` is called from several threads.
    Raises: ConfigurationError when the address cannot be listened on.
    """

    def __init__(self, name: str, address: tuple[str, int], respond: Respond, secure: Secure, clock: Clock) -> None:
        self._name = name
        self._respond = respond
        self._secure = secure
        self._clock = clock
        self._socket = _listen(address)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]

    def run(self, stop: Stop) -> None:
        """Serve until `stop` is set."""
        with ExitStack() as ends:
            ends.enter_context(self._socket)
            selector = ends.enter_context(selectors.DefaultSelector())
            bell = _Bell()
            ends.callback(bell.close)
            workers = ThreadPoolExecutor(ANSWERING_THREADS, f"{self._name}-answer")
            ends.callback(workers.shutdown, cancel_futures=True)
            ends.callback(stop.on_set(bell.ring))
            room = _Room(self._socket, selector, bell, workers, self._answer_until(stop), self._secure, self._clock)
            ends.callback(room.clear)
            room.serve(stop)

    def _answer_until(self, stop: Stop) -> Callable[[Request], Answer]:
        return lambda request: self._respond(request, stop)


class _Room:
    """All connections of one port. Threads: one, but for the answers."""

    def __init__(
        self,
        listening: socket.socket,
        selector: selectors.BaseSelector,
        bell: _Bell,
        workers: ThreadPoolExecutor,
        respond: Callable[[Request], Answer],
        secure: Secure,
        clock: Clock,
    ) -> None:
        self._listening = listening
        self._selector = selector
        self._bell = bell
        self._workers = workers
        self._respond = respond
        self._secure = secure
        self._clock = clock
        self._log: FilteringBoundLogger = structlog.get_logger().bind()
        self._visitors: dict[_Visitor, None] = {}  # the oldest first
        self._doubted: OrderedDict[str, None] = OrderedDict()  # addresses whose last connection asked for nothing
        self._answered: SimpleQueue[_Visitor] = SimpleQueue()

    def serve(self, stop: Stop) -> None:
        self._selector.register(self._listening, selectors.EVENT_READ, partial(self._accept, stop))
        self._selector.register(self._bell, selectors.EVENT_READ, self._go_on)
        while not stop.is_set():
            for key, _ in self._selector.select(self._left()):
                key.data()
            self._cut_off_the_late()

    def clear(self) -> None:
        for visitor in list(self._visitors):
            self._end(visitor)

    def _left(self) -> float | None:
        """How long until a caller is late; None: there is none."""
        if not self._visitors:
            return None
        return max(0.0, min(visitor.deadline for visitor in self._visitors) - self._clock.monotonic())

    def _cut_off_the_late(self) -> None:
        now = self._clock.monotonic()
        for visitor in [visitor for visitor in self._visitors if visitor.deadline <= now]:
            self._end(visitor)

    def _accept(self, stop: Stop) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connection, caller = self._listening.accept()
            except BlockingIOError:
                return
            except OSError:  # no descriptor is left, or the caller is gone already
                self._make_room(self._visitors)
                stop.wait(_PAUSE_SECONDS)
                return
            self._admit(connection, _peer(caller))

    def _admit(self, connection: socket.socket, peer: str) -> None:
        if not (self._has_room_for(peer) and self._has_room()):
            connection.close()
            return
        connection.setblocking(False)
        try:
            held = self._secure(connection)
        except OSError:  # gone already
            connection.close()
            return
        now = self._clock.monotonic()
        visitor = _Visitor(held, peer, now + CONNECTION_SECONDS, now + HEAD_SECONDS)
        visitor.course = self._course(visitor)
        self._visitors[visitor] = None
        self._advance(visitor)

    def _has_room_for(self, peer: str) -> bool:
        others = [visitor for visitor in self._visitors if visitor.peer == peer]
        return len(others) < MAX_CONNECTIONS_OF_A_PEER or self._make_room(others)

    def _has_room(self) -> bool:
        return len(self._visitors) < MAX_CONNECTIONS or self._make_room(self._visitors)

    def _make_room(self, crowd: Iterable[_Visitor]) -> bool:
        """Close the oldest idle one of `crowd`: of an address in doubt, else of any; else one that takes no answer."""
        others = list(crowd)
        found = (
            *(visitor for visitor in others if visitor.is_idle and visitor.peer in self._doubted),
            *(visitor for visitor in others if visitor.is_idle),
            *(visitor for visitor in others if visitor.need is not _Need.ANSWER),
        )
        for visitor in found[:1]:
            self._end(visitor)
        return bool(found)

    def _go_on(self) -> None:
        """Send the answers that have been found meanwhile."""
        self._bell.hush()
        with suppress(Empty):
            while True:
                self._advance(self._answered.get_nowait())

    def _advance(self, visitor: _Visitor) -> None:
        if visitor not in self._visitors:  # closed meanwhile
            return
        # Callers may do what they like: whatever is wrong with a connection ends it, and is not reported.
        with suppress(StopIteration, OSError):
            self._watch(visitor, next(visitor.course))
            return
        self._end(visitor)

    def _watch(self, visitor: _Visitor, need: _Need) -> None:
        if need is visitor.need:
            return
        self._unwatch(visitor)
        if need is not _Need.ANSWER:
            self._selector.register(visitor.connection, need.value, partial(self._advance, visitor))
        visitor.need = need

    def _unwatch(self, visitor: _Visitor) -> None:
        if visitor.need is not _Need.ANSWER:
            self._selector.unregister(visitor.connection)

    def _end(self, visitor: _Visitor) -> None:
        del self._visitors[visitor]
        self._unwatch(visitor)
        visitor.course.close()
        visitor.connection.close()
        if not visitor.has_asked:
            self._doubt(visitor.peer)

    def _doubt(self, peer: str) -> None:
        """Callers that connect again and again without a request must not displace those that have one."""
        self._doubted[peer] = None
        while len(self._doubted) > _DOUBTED:
            self._doubted.popitem(last=False)

    def _course(self, visitor: _Visitor) -> _Course[None]:
        yield from _shake_hands(visitor.connection)
        method = "GET"
        try:
            request = parse((yield from _head(visitor.connection)), visitor.peer)
            method = request.method
            self._asked(visitor)
            answer = yield from self._answer(visitor, request)
        except Refusal as refusal:
            answer = refused(refusal.status)
        yield from _send(visitor.connection, render(answer, self._clock.now(), method=method))
        visitor.is_idle, visitor.deadline = True, self._clock.monotonic() + LINGER_SECONDS
        yield from _see_out(visitor.connection)

    def _asked(self, visitor: _Visitor) -> None:
        visitor.has_asked, visitor.is_idle, visitor.deadline = True, False, visitor.end
        self._doubted.pop(visitor.peer, None)

    def _answer(self, visitor: _Visitor, request: Request) -> _Course[Answer]:
        def found(_: Future[Answer]) -> None:
            self._answered.put(visitor)
            self._bell.ring()

        future = self._workers.submit(self._respond, request)
        future.add_done_callback(found)
        yield _Need.ANSWER
        error = future.exception()
        if error is None:
            return future.result()
        self._log.error("a request could not be answered, which is a bug", exc_info=error)
        return refused(500)


class _Bell:
    """Wakes the thread that selects. Threads: `ring` from any."""

    def __init__(self) -> None:
        self._near, self._far = socket.socketpair()
        self._near.setblocking(False)
        self._far.setblocking(False)

    def fileno(self) -> int:
        return self._near.fileno()

    def ring(self) -> None:
        with suppress(OSError):  # full: it rings already
            self._far.send(b"\0")

    def hush(self) -> None:
        with suppress(OSError):
            self._near.recv(_CHUNK_BYTES)

    def close(self) -> None:
        self._near.close()
        self._far.close()


def _patiently(act: Callable[[], T], plainly: _Need) -> _Course[T]:
    """What `act` returns once it need not wait; `plainly` is what it waits for where no TLS says otherwise."""
    while True:
        try:
            return act()
        except ssl.SSLWantReadError:
            need = _Need.INPUT
        except ssl.SSLWantWriteError:
            need = _Need.ROOM
        except BlockingIOError:
            need = plainly
        yield need


def _shake_hands(connection: socket.socket) -> _Course[None]:
    if isinstance(connection, ssl.SSLSocket):
        yield from _look_at_hello(connection)
        yield from _patiently(connection.do_handshake, _Need.INPUT)


def _look_at_hello(connection: socket.socket) -> _Course[None]:
    """Leave what comes to OpenSSL only if it begins as a ClientHello of ordinary length: OpenSSL at once makes room for
    as much as is announced, up to 128 KiB.

    Raises: ConnectionError otherwise.
    Source: RFC 8446, sections 4 and 5.1: a record's type, version (2 bytes) and length (2); a message's type and length
        (3 bytes).
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, _HELLO_START_BYTES)  # less of it wakes no thread
    look = partial(socket.socket.recv, connection, _HELLO_START_BYTES, socket.MSG_PEEK)
    start = yield from _patiently(look, _Need.INPUT)
    if len(start) < _HELLO_START_BYTES:
        yield _Need.INPUT
        start = look()
    if not _begins_hello(start):
        raise ConnectionError("no ClientHello")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)


def _begins_hello(start: bytes) -> bool:
    is_hello = len(start) == _HELLO_START_BYTES and start[:2] + start[5:6] == b"\x16\x03\x01"
    record_bytes, hello_bytes = int.from_bytes(start[3:5], "big"), int.from_bytes(start[6:9], "big")
    return is_hello and record_bytes >= _MESSAGE_HEAD_BYTES and hello_bytes <= MAX_HELLO_BYTES


def _head(connection: socket.socket) -> _Course[bytes]:
    """All bytes up to the empty line. Raises: Refusal when they are too many, ConnectionError when they end before."""
    head, end = bytearray(), -1
    while end < 0:
        if len(head) == MAX_HEAD_BYTES:
            raise Refusal(431)
        searched = max(0, len(head) - len(END_OF_HEAD) + 1)
        chunk = yield from _patiently(partial(connection.recv, MAX_HEAD_BYTES - len(head)), _Need.INPUT)
        if not chunk:
            raise ConnectionError("the caller left")
        head += chunk
        end = head.find(END_OF_HEAD, searched)
    return bytes(head[:end])


def _send(connection: socket.socket, content: bytes) -> _Course[None]:
    unsent = memoryview(content)
    while unsent:
        sent = yield from _patiently(partial(connection.send, unsent), _Need.ROOM)
        unsent = unsent[sent:]


def _see_out(connection: socket.socket) -> _Course[None]:
    """Wait for the caller to close: closing before would take the answer back if the caller had sent more."""
    connection.shutdown(socket.SHUT_WR)
    drained = 0
    while drained < _DRAINED_BYTES:
        yield _Need.INPUT  # each time, or who sends fast would keep the thread
        # As a plain socket also where TLS was on it: these bytes are discarded.
        chunk = socket.socket.recv(connection, _CHUNK_BYTES)
        if not chunk:
            return
        drained += len(chunk)


def _peer(caller: Any) -> str:
    """The caller's address; the IPv4 one where IPv6 only wraps it."""
    address: str = caller[0]
    return address.removeprefix("::ffff:")


def _listen(address: tuple[str, int]) -> socket.socket:
    host, port = address
    try:
        listening = _bound(host, port)
    except OSError as err:
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {os.strerror(err.errno) if err.errno else err}"
        ) from err
    listening.setblocking(False)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)  # of each that it accepts
    return listening


def _bound(host: str, port: int) -> socket.socket:
    if not host and socket.has_dualstack_ipv6():
        return socket.create_server(("::", port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)
