"""An HTTP listener for unauthenticated callers: the time and memory of each connection are bounded.

One thread owns all connections and never blocks on one of them: it accepts, handshakes, reads heads and sends responses
as far as each connection allows, and closes late ones. A few other threads compute the responses.
Why no library serves here: docs/adr/0009-serving.md.
"""

from __future__ import annotations

import os
import selectors
import socket
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import structlog
from structlog.typing import FilteringBoundLogger

from dpunetop.base.clock import Clock
from dpunetop.base.stop import Stop
from dpunetop.runtime.client.connection import ConfigurationError
from dpunetop.runtime.http1 import Answer, Refusal, Request, parse, refused, render
from dpunetop.runtime.serving.steps import AwaitedEvent, Coroutine, handshake, head, linger, send

HEAD_SECONDS = 5.0
"""Timeout of the TLS handshake and the whole head, from the connection on."""
CONNECTION_SECONDS = 30.0
"""Timeout of a whole connection."""
LINGER_SECONDS = 1.0
"""Timeout of the caller for closing, once the whole response is sent."""
MAX_CONNECTIONS = 64
"""Limit of connections; at it, the oldest idle one is closed, first one of an address that last sent no request."""
MAX_CONNECTIONS_OF_A_PEER = 16
"""Limit of connections from one address; at it, its oldest idle one is closed."""
ANSWERING_THREADS = 16

_BACKLOG = 128
_ACCEPTED_AT_ONCE = 64
_PAUSE_SECONDS = 0.1
_MOST_SUSPECTS = 1024
_MOST_WAKES = 4 << 10
# Bytes that a caller has not read yet occupy kernel memory that counts for this process, so they are bounded too.
_RECEIVE_BUFFER_BYTES = 16 << 10

Respond = Callable[[Request, Stop], Answer]
Secure = Callable[[socket.socket], socket.socket]


@dataclass(eq=False, slots=True)
class _Connection:
    """One connection of a caller."""

    sock: socket.socket
    peer: str
    end: float
    """The deadline of the whole connection."""
    deadline: float
    """The deadline of the current step."""
    is_idle: bool = True
    """Whether it has sent no request yet, or has its response."""
    has_asked: bool = False
    readiness: AwaitedEvent = AwaitedEvent.RESPONSE  # until the selector watches it
    coroutine: Coroutine[None] = field(init=False)


class Listener:
    """Accepts connections and answers one request on each.

    Guarantees: at most the memory of MAX_CONNECTIONS heads and TLS sessions, and ANSWERING_THREADS + 1 threads,
        whatever callers do. A new caller is accepted at once, unless all others are being answered. When `run` returns,
        all connections are closed and all threads have ended.
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
            wakeup = _Wakeup()
            ends.callback(wakeup.close)
            workers = ThreadPoolExecutor(ANSWERING_THREADS, f"{self._name}-answer")
            ends.callback(workers.shutdown, cancel_futures=True)
            ends.callback(stop.on_set(wakeup.wake))
            loop = _ConnectionLoop(
                self._socket, selector, wakeup, workers, self._answer_until(stop), self._secure, self._clock
            )
            ends.callback(loop.clear)
            loop.serve(stop)

    def _answer_until(self, stop: Stop) -> Callable[[Request], Answer]:
        return lambda request: self._respond(request, stop)


class _ConnectionLoop:
    """All connections of one port. Threads: one, except for computing responses."""

    def __init__(
        self,
        listening: socket.socket,
        selector: selectors.BaseSelector,
        wakeup: _Wakeup,
        workers: ThreadPoolExecutor,
        respond: Callable[[Request], Answer],
        secure: Secure,
        clock: Clock,
    ) -> None:
        self._listening = listening
        self._selector = selector
        self._wakeup = wakeup
        self._workers = workers
        self._respond = respond
        self._secure = secure
        self._clock = clock
        self._log: FilteringBoundLogger = structlog.get_logger().bind()
        self._connections: dict[_Connection, None] = {}  # the oldest first
        self._suspects: OrderedDict[str, None] = OrderedDict()  # addresses whose last connection sent no request
        self._answered: SimpleQueue[_Connection] = SimpleQueue()

    def serve(self, stop: Stop) -> None:
        self._selector.register(self._listening, selectors.EVENT_READ, partial(self._accept, stop))
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._send_answered)
        while not stop.is_set():
            for key, _ in self._selector.select(self._left()):
                key.data()
            self._close_late()

    def clear(self) -> None:
        for connection in list(self._connections):
            self._end(connection)

    def _left(self) -> float | None:
        """Seconds until the next deadline; None: there is no connection."""
        if not self._connections:
            return None
        return max(0.0, min(connection.deadline for connection in self._connections) - self._clock.monotonic())

    def _close_late(self) -> None:
        now = self._clock.monotonic()
        for connection in [connection for connection in self._connections if connection.deadline <= now]:
            self._end(connection)

    def _accept(self, stop: Stop) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                sock, caller = self._listening.accept()
            except BlockingIOError:
                return
            except OSError:  # no file descriptor is left, or the caller is gone already
                self._evict(self._connections)
                stop.wait(_PAUSE_SECONDS)
                return
            self._admit(sock, _peer(caller))

    def _admit(self, sock: socket.socket, peer: str) -> None:
        if not (self._has_room_for(peer) and self._has_room()):
            sock.close()
            return
        sock.setblocking(False)
        try:
            secured = self._secure(sock)
        except OSError:  # gone already
            sock.close()
            return
        now = self._clock.monotonic()
        connection = _Connection(secured, peer, now + CONNECTION_SECONDS, now + HEAD_SECONDS)
        connection.coroutine = self._serve_request(connection)
        self._connections[connection] = None
        self._advance(connection)

    def _has_room_for(self, peer: str) -> bool:
        others = [connection for connection in self._connections if connection.peer == peer]
        return len(others) < MAX_CONNECTIONS_OF_A_PEER or self._evict(others)

    def _has_room(self) -> bool:
        return len(self._connections) < MAX_CONNECTIONS or self._evict(self._connections)

    def _evict(self, candidates: Iterable[_Connection]) -> bool:
        """Close the oldest idle one of `candidates`, first one of a suspect; else one that reads no response."""
        others = list(candidates)
        found = (
            *(connection for connection in others if connection.is_idle and connection.peer in self._suspects),
            *(connection for connection in others if connection.is_idle),
            *(connection for connection in others if connection.readiness is not AwaitedEvent.RESPONSE),
        )
        for connection in found[:1]:
            self._end(connection)
        return bool(found)

    def _send_answered(self) -> None:
        """Send the responses that are ready."""
        self._wakeup.drain()
        with suppress(Empty):
            while True:
                self._advance(self._answered.get_nowait())

    def _advance(self, connection: _Connection) -> None:
        if connection not in self._connections:  # closed meanwhile
            return
        # Any error of a caller ends its connection and is not logged, so callers cannot flood the log.
        with suppress(StopIteration, OSError):
            self._watch(connection, next(connection.coroutine))
            return
        self._end(connection)

    def _watch(self, connection: _Connection, readiness: AwaitedEvent) -> None:
        if readiness is connection.readiness:
            return
        self._unwatch(connection)
        if readiness is not AwaitedEvent.RESPONSE:
            self._selector.register(connection.sock, readiness.value, partial(self._advance, connection))
        connection.readiness = readiness

    def _unwatch(self, connection: _Connection) -> None:
        if connection.readiness is not AwaitedEvent.RESPONSE:
            self._selector.unregister(connection.sock)

    def _end(self, connection: _Connection) -> None:
        del self._connections[connection]
        self._unwatch(connection)
        connection.coroutine.close()
        connection.sock.close()
        if not connection.has_asked:
            self._suspect(connection.peer)

    def _suspect(self, peer: str) -> None:
        """Suspect an address that sent no request, so that such connections cannot displace real callers."""
        self._suspects[peer] = None
        while len(self._suspects) > _MOST_SUSPECTS:
            self._suspects.popitem(last=False)

    def _serve_request(self, connection: _Connection) -> Coroutine[None]:
        yield from handshake(connection.sock)
        method = "GET"
        try:
            request = parse((yield from head(connection.sock)), connection.peer)
            method = request.method
            self._asked(connection)
            answer = yield from self._answer(connection, request)
        except Refusal as refusal:
            answer = refused(refusal.status)
        yield from send(connection.sock, render(answer, self._clock.now(), method=method))
        connection.is_idle, connection.deadline = True, self._clock.monotonic() + LINGER_SECONDS
        yield from linger(connection.sock)

    def _asked(self, connection: _Connection) -> None:
        connection.has_asked, connection.is_idle, connection.deadline = True, False, connection.end
        self._suspects.pop(connection.peer, None)

    def _answer(self, connection: _Connection, request: Request) -> Coroutine[Answer]:
        def found(_: Future[Answer]) -> None:
            self._answered.put(connection)
            self._wakeup.wake()

        future = self._workers.submit(self._respond, request)
        future.add_done_callback(found)
        yield AwaitedEvent.RESPONSE
        error = future.exception()
        if error is None:
            return future.result()
        self._log.error("a request could not be answered, which is a bug", exc_info=error)
        return refused(500)


class _Wakeup:
    """Wakes the thread that selects. Threads: `wake` from any."""

    def __init__(self) -> None:
        self._reading, self._writing = socket.socketpair()
        self._reading.setblocking(False)
        self._writing.setblocking(False)

    def fileno(self) -> int:
        return self._reading.fileno()

    def wake(self) -> None:
        with suppress(OSError):  # full: a wake-up is pending
            self._writing.send(b"\0")

    def drain(self) -> None:
        with suppress(OSError):
            self._reading.recv(_MOST_WAKES)

    def close(self) -> None:
        self._reading.close()
        self._writing.close()


def _peer(caller: Any) -> str:
    """The caller's address; an IPv4-mapped IPv6 address as IPv4."""
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
