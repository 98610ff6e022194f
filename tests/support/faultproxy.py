"""The way from an operator to an API server, in the hands of a test: seen, cut, silenced, or struck at a chosen write.

A proxy terminates TLS on both sides and passes HTTP/1.1 on byte by byte; one connection of the client is one connection
to the server. What went through is in its `Trace`; faults at writes are armed on its `WriteCounter`.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
import ssl
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Self, cast
from urllib.parse import urlsplit

from dpunetop.sandbox.admin import Obj
from dpunetop.sandbox.controlplane import ControlPlane
from dpunetop.sandbox.controlplanerun import kubeconfig
from dpunetop.sandbox.pki import RECENTLY, Authority, certify, server_context
from dpunetop.sandbox.processes import reserve_port
from support.faults import Fault, Phase, Then, WriteCounter
from support.httpwire import (
    MAX_HEAD_BYTES,
    Head,
    MalformedMessage,
    RequestMessage,
    read_head,
    read_request,
    response_body,
    status_of,
    with_date,
)
from support.trace import (
    Asked,
    Tap,
    Trace,
    TraceEntry,
    Versions,
    decoded,
    is_effective,
    preconditions,
    sha256,
    version_of,
)

_LOOPBACK = "127.0.0.1"
_NAMES = (("localhost",), (_LOOPBACK, "::1"))
_COMMAND_SECONDS = 60.0
_POLL_SECONDS = 0.002
_GRACE_SECONDS = 0.01  # for a client to act on an answer before a fault in phase ANSWERED strikes
_NOTICE_SECONDS = 0.01  # for the loop to see who has gone before a black hole ends
_CLOSE_SECONDS = 60.0


class ProxyFailed(Exception):
    """Something in the proxy itself went wrong; its cause says what."""


@dataclass(frozen=True)
class Upstream:
    """The API server behind a proxy: its URL with an IP address, and the CA that it must be certified by."""

    url: str
    ca_pem: bytes


class FaultProxy:
    """One proxy in front of one API server: a context manager, or `start` and `stop`.

    Guarantees: without a fault, both sides get the bytes that the other one sent, as they come; a write goes and its
        answer comes in one piece each. Bearer tokens pass, client certificates do not. When `black_hole`, `refuse` or
        `restore` returns, it is in effect. `url` and `ca_pem` never change.
    Threads: any; one thread of its own does the work.
    Raises: ProxyFailed by `stop`, if the proxy itself failed.
    """

    def __init__(
        self, name: str, upstream: Upstream, counter: WriteCounter | None = None, trace_file: Path | None = None
    ) -> None:
        self.name = name
        self.counter = counter or WriteCounter()
        self.trace = Trace(trace_file)
        self.clock_ahead = timedelta()
        self._authority = Authority(f"{name}-proxy")
        self.ca_pem = self._authority.pem
        self._port = reserve_port()
        self.url = f"https://{_LOOPBACK}:{self._port.number}"
        self._trust = server_context(self._authority.serving(*_NAMES))
        self._core = _Core(self, self._port.number, self._trust, upstream)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._core.run()), name=f"faultproxy-{name}")

    @classmethod
    def before(
        cls, control_plane: ControlPlane, counter: WriteCounter | None = None, folder: Path | None = None
    ) -> Self:
        """A proxy before a control plane that runs; its trace goes to `<name>.trace.jsonl` in `folder`."""
        name = control_plane.spec.name
        file = None if folder is None else folder / f"{name}.trace.jsonl"
        return cls(name, Upstream(control_plane.url, control_plane.ca_pem), counter, file)

    def __repr__(self) -> str:
        return f"<FaultProxy {self.name} {self.url} {len(self.trace.entries())} requests, {self.counter!r}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()
        self._core.wait_started(_COMMAND_SECONDS)

    def stop(self) -> None:
        """Reset all connections, end the thread, give the port back; may be called again."""
        if self._thread.is_alive():
            self._core.command(self._core.stop)
            self._thread.join(_COMMAND_SECONDS)
        self.trace.close()
        self._port.release()
        for failure in self._core.failures:
            raise ProxyFailed(self.name) from failure

    def kubeconfig(self, token: str, namespace: str | None = None) -> Obj:
        """A kubeconfig for a bearer token that leads through this proxy."""
        return kubeconfig(self.name, self.url, self.ca_pem, {"token": token}, namespace)

    def certify(self, lifetime: timedelta, begins_in: timedelta = RECENTLY) -> None:
        """Show a certificate that ends so long from now, and begins so long from now, to those who connect from now
        on."""
        certify(self._trust, self._authority.serving(*_NAMES, lifetime, begins_in))

    def set_clock(self, ahead: timedelta) -> None:
        """Have the server say, in the header Date of its answers, that its clock is ahead by that much."""
        self.clock_ahead = ahead

    def black_hole(self) -> None:
        """From now on nothing passes, in neither direction, and nobody is told: sockets stay open, new ones are taken
        and get no answer, not even of TLS. What is on its way is kept.
        """
        self._core.command(self._core.black_hole)

    def refuse(self) -> None:
        """Reset all connections and refuse new ones, as if the server had gone."""
        self._core.command(self._core.refuse)

    def restore(self) -> None:
        """Let bytes flow again; what a black hole kept goes on, unless its client has given up meanwhile."""
        self._core.command(self._core.restore)


class FaultProxyPair:
    """The proxies before infra and tenant, which count writes together.

    Guarantees, Threads: as FaultProxy.
    """

    def __init__(self, infra: ControlPlane, tenant: ControlPlane, folder: Path | None = None) -> None:
        self.counter = WriteCounter()
        self.infra = FaultProxy.before(infra, self.counter, folder)
        self.tenant = FaultProxy.before(tenant, self.counter, folder)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as started:
            started.enter_context(self.infra)
            started.enter_context(self.tenant)
            self._started = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    def effective_writes(self) -> list[TraceEntry]:
        """The effective writes to both clusters, in the order of their numbers."""
        both = self.infra.trace.effective_writes() + self.tenant.trace.effective_writes()
        return sorted(both, key=lambda entry: entry.write)


class _Lost(Exception):
    """A fault wants the exchange to end here, or the client has given up."""


_ENDINGS = (_Lost, OSError, asyncio.IncompleteReadError, MalformedMessage)


class _Core:
    """What happens on the proxy's thread. All but `command`, `wait_started` and `failures` belongs to that thread."""

    def __init__(self, proxy: FaultProxy, port: int, trust: ssl.SSLContext, upstream: Upstream) -> None:
        self.trace = proxy.trace
        self.counter = proxy.counter
        self.name = proxy.name
        self.clock_ahead: Callable[[], timedelta] = lambda: proxy.clock_ahead
        self.versions = Versions()
        self.failures: list[BaseException] = []  # read by others after the thread has ended
        self._port = port
        self._trust = trust
        self._host, self._upstream_port = _address(upstream.url)
        self._upstream_trust = _client_context(upstream.ca_pem)
        self._seq = 0
        self._ends: set[_End] = set()
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        self._accepted: set[socket.socket] = set()  # whose task has not begun
        self._started = threading.Event()

    # --- commands ---------------------------------------------------------------------------------------------------

    def wait_started(self, timeout: float) -> None:
        if not self._started.wait(timeout):
            raise ProxyFailed(f"{self.name} did not start")

    def command(self, function: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run on the proxy's thread, called from another one, until done."""
        asyncio.run_coroutine_threadsafe(function(), self._loop).result(_COMMAND_SECONDS)

    async def stop(self) -> None:
        self._over.set()

    async def black_hole(self) -> None:
        self.flow.clear()

    async def refuse(self) -> None:
        self._stop_listening()
        await self._cancel_all()

    async def restore(self) -> None:
        await asyncio.sleep(_NOTICE_SECONDS)
        self.flow.set()
        if self._listener is None:
            self._listen()
        for connection in list(self._connections):
            connection.look_around()

    # --- life -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._unexpected)
        self._over = asyncio.Event()
        self.flow = asyncio.Event()  # clear: a black hole
        self.flow.set()
        self._listen()
        self._started.set()
        await self._over.wait()
        self._stop_listening()
        await self._cancel_all()
        await self._close_ends()

    def next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def _listen(self) -> None:
        self._listener = socket.create_server((_LOOPBACK, self._port), backlog=128)
        self._listener.setblocking(False)
        self._loop.add_reader(self._listener, self._accept, self._listener)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    async def _cancel_all(self) -> None:
        doomed = list(self._tasks)
        for task in doomed:
            task.cancel()
        if doomed:
            await asyncio.wait(doomed)
        for sock in self._accepted:
            sock.close()
        self._accepted.clear()

    async def _close_ends(self) -> None:
        deadline = self._loop.time() + _CLOSE_SECONDS
        for end in list(self._ends):
            end.abort()
        while self._ends and self._loop.time() < deadline:
            await asyncio.sleep(_POLL_SECONDS)
        await asyncio.sleep(_POLL_SECONDS)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _unexpected(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.failures.append(context.get("exception") or ProxyFailed(context["message"]))

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            self.failures.append(failure)

    # --- connections ------------------------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        """Not by `sock_accept`: if that is cancelled while a connection comes, it fails and the connection leaks."""
        try:
            sock, _ = listener.accept()
        except OSError:  # it has gone again
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a head and its body go in two pieces
        self._accepted.add(sock)
        self._spawn(self._serve(sock))

    async def _serve(self, sock: socket.socket) -> None:
        """The server comes first: a client whose server cannot be reached is told by TCP, before TLS."""
        self._accepted.discard(sock)
        try:
            with _closed_on_error(sock):
                await self.flow.wait()
                upstream = await self._connect()
                client = await self._welcome(sock)
        except OSError:
            return
        connection = _Connection(self, client, upstream)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)

    async def _connect(self) -> _End:
        trust = self._upstream_trust
        _, end = await self._loop.create_connection(self._end, self._host, self._upstream_port, ssl=trust)
        return end

    async def _welcome(self, sock: socket.socket) -> _End:
        _, end = await self._loop.connect_accepted_socket(self._end, sock, ssl=self._trust)
        return end

    def _end(self) -> _End:
        return _End(self._ends)


class _End(asyncio.StreamReaderProtocol):
    """One side of a connection: its reader, its writer, and whether it is still there."""

    def __init__(self, ends: set[_End]) -> None:
        loop = asyncio.get_running_loop()
        self.reader = asyncio.StreamReader(limit=MAX_HEAD_BYTES, loop=loop)
        super().__init__(self.reader, loop=loop)
        self.is_gone = False
        self.when_gone: Callable[[], None] = lambda: None
        self._ends = ends

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._transport = cast("asyncio.Transport", transport)
        self._socket: socket.socket = transport.get_extra_info("socket")
        self.writer = asyncio.StreamWriter(self._transport, self, self.reader, asyncio.get_running_loop())
        self._ends.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.is_gone = True
        self._ends.discard(self)
        self.when_gone()

    def close(self) -> None:
        """End it as TLS wants it; what was written is still sent."""
        self.writer.close()

    def abort(self) -> None:
        """End it with a RST."""
        if not self.is_gone:
            with contextlib.suppress(OSError):
                _reset_on_close(self._socket)
            self._transport.abort()


@dataclass
class _Outcome:
    """What an exchange has come to so far; filled by the connection's task."""

    status: int = 0
    version: str = ""
    write: int = 0
    is_recorded: bool = False


class _Connection:
    """One connection of a client, and the one to the server that carries it on."""

    def __init__(self, core: _Core, client: _End, upstream: _End) -> None:
        self._core = core
        self._client = client
        self._upstream = upstream
        self._is_idle = True
        self._is_writing = False  # a write was sent on, and its answer is wanted whether or not the client still is
        client.when_gone = upstream.when_gone = self.look_around

    async def run(self) -> None:
        try:
            await self._run_exchanges()
        except _ENDINGS:
            await self._core.flow.wait()
            self._client.abort()
            self._upstream.abort()
        except asyncio.CancelledError:
            self._client.abort()
            self._upstream.abort()
            raise

    def look_around(self) -> None:
        """Tell one side that the other has gone, unless the line is dead or something is still to come."""
        if not self._core.flow.is_set():
            return
        if self._client.is_gone and not self._is_writing:
            self._upstream.abort()
        if self._upstream.is_gone and self._is_idle and not self._client.is_gone:
            self._client.close()

    async def _run_exchanges(self) -> None:
        while (request := await read_request(self._client.reader)) is not None:
            self._is_idle = False
            if not await self._exchange(request):
                break
            self._is_idle = True
            self.look_around()
        await self._core.flow.wait()
        self._client.close()
        self._upstream.close()

    async def _exchange(self, request: RequestMessage) -> bool:
        """Carry out one request; whether another may follow."""
        asked, outcome = self._asked(request), _Outcome()
        await self._wait_for_flow()
        try:
            if self._core.counter.counts(asked):
                return await self._count(asked, request, outcome)
            if asked.is_mutating:
                return await self._commit(asked, request, outcome)
            return await self._relay(asked, request, outcome)
        finally:
            self._record(asked, outcome)

    # --- reads ------------------------------------------------------------------------------------------------------

    async def _relay(self, asked: Asked, request: RequestMessage, outcome: _Outcome) -> bool:
        """Pass the answer on as it comes; the end is recorded before the client sees it."""
        self._upstream.writer.write(request.raw)
        head = await self._answer_head(outcome)
        await self._send(head.raw)
        tap = Tap(asked, head.headers.get("content-encoding", ""), self._core.versions)
        async for piece in response_body(head, request.method, self._upstream.reader):
            if outcome.status == 200:
                tap.hear(piece.payload)
            if piece.last:
                tap.end()
                outcome.version = tap.version
                self._record(asked, outcome)
            await self._send(piece.raw)
        return _may_go_on(head, request)

    async def _answer_head(self, outcome: _Outcome) -> Head:
        """The head of the final answer; those of interim answers are passed on."""
        while True:
            head = await read_head(self._upstream.reader)
            if head is None:
                raise _Lost
            outcome.status = status_of(head)
            if outcome.status >= 200:
                return with_date(head, self._core.clock_ahead())
            await self._send(head.raw)

    # --- writes -----------------------------------------------------------------------------------------------------

    async def _count(self, asked: Asked, request: RequestMessage, outcome: _Outcome) -> bool:
        """A write that faults may strike at."""
        async with self._turn():
            asked = dataclasses.replace(asked, version_before=self._core.versions.last(asked.path))
            await self._suffer(self._core.counter.due_before(), asked)
            return await self._commit(asked, request, outcome)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        while not self._core.counter.try_begin():
            await asyncio.sleep(_POLL_SECONDS)
        try:
            await self._wait_for_flow()
            yield
        finally:
            self._core.counter.end()

    async def _commit(self, asked: Asked, request: RequestMessage, outcome: _Outcome) -> bool:
        """Have the server do it, hold its answer until it is counted and recorded, then pass it on."""
        head, raw = await self._whole_answer(asked, request, outcome)
        self._record(asked, outcome)
        await self._suffer(self._due(Phase.COMMITTED_NOT_ANSWERED, outcome), asked)
        await self._send(raw)
        due = self._due(Phase.ANSWERED, outcome)
        if due:
            await asyncio.sleep(_GRACE_SECONDS)
            await self._suffer(due, asked)
        return _may_go_on(head, request)

    async def _whole_answer(self, asked: Asked, request: RequestMessage, outcome: _Outcome) -> tuple[Head, bytes]:
        self._is_writing = True
        try:
            self._upstream.writer.write(request.raw)
            head = await self._answer_head(outcome)
            pieces = [piece async for piece in response_body(head, request.method, self._upstream.reader)]
        finally:
            self._is_writing = False
        self._learn(asked, b"".join(piece.payload for piece in pieces), outcome)
        return head, head.raw + b"".join(piece.raw for piece in pieces)

    def _learn(self, asked: Asked, payload: bytes, outcome: _Outcome) -> None:
        document = decoded(payload)
        outcome.version = version_of(document)
        counter = self._core.counter
        if counter.counts(asked) and is_effective(asked, outcome.status, outcome.version):
            outcome.write = counter.count()
        if outcome.status < 300:
            self._core.versions.answered(asked.path, document)

    # --- faults -----------------------------------------------------------------------------------------------------

    def _due(self, phase: Phase, outcome: _Outcome) -> list[Fault]:
        return self._core.counter.due_at(phase, outcome.write) if outcome.write else []

    async def _suffer(self, faults: list[Fault], asked: Asked) -> None:
        for fault in faults:
            fault.strike(asked)
            self._core.counter.struck(fault)
        for fault in faults:
            await self._follow(fault)

    async def _follow(self, fault: Fault) -> None:
        match fault.then:
            case Then.PASS:
                return
            case Then.DROP:
                raise _Lost
            case Then.HOLD:
                with self._core.counter.stepped_aside():
                    await self._wait_for_release(fault)
                await self._wait_for_flow()

    async def _wait_for_release(self, fault: Fault) -> None:
        while not fault.released.is_set() and not self._client.is_gone:
            await asyncio.sleep(_POLL_SECONDS)

    # --- both -------------------------------------------------------------------------------------------------------

    async def _wait_for_flow(self) -> None:
        await self._core.flow.wait()
        if self._client.is_gone:
            raise _Lost

    async def _send(self, data: bytes) -> None:
        await self._wait_for_flow()
        self._client.writer.write(data)
        await self._client.writer.drain()

    def _asked(self, request: RequestMessage) -> Asked:
        uid, resource_version = preconditions(request.body)
        return Asked(
            cluster=self._core.name,
            seq=self._core.next_seq(),
            t=time.monotonic(),
            user_agent=request.head.headers.get("user-agent", ""),
            method=request.method,
            path=request.path,
            query=request.query,
            uid=uid,
            resource_version=resource_version,
            body_sha256=sha256(request.body),
            version_before=self._core.versions.last(request.path),
        )

    def _record(self, asked: Asked, outcome: _Outcome) -> None:
        if outcome.is_recorded:
            return
        outcome.is_recorded = True
        known = {field.name: getattr(asked, field.name) for field in dataclasses.fields(asked)}
        duration = time.monotonic() - asked.t
        entry = TraceEntry(
            **known,
            status=outcome.status,
            version_after=outcome.version,
            duration_seconds=duration,
            write=outcome.write,
        )
        self._core.trace.add(entry)


def _may_go_on(head: Head, request: RequestMessage) -> bool:
    wishes = (head.headers.get("connection", ""), request.head.headers.get("connection", ""))
    has_end = head.is_chunked or head.length is not None or status_of(head) in (204, 304) or request.method == "HEAD"
    return has_end and not any(wish.lower() == "close" for wish in wishes)


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    if parts.hostname is None:
        raise ValueError(f"no host in {url}")
    return parts.hostname, parts.port or 443


@contextmanager
def _closed_on_error(sock: socket.socket) -> Iterator[None]:
    """Whatever leaves the block as an error resets the connection."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            _reset_on_close(sock)
        sock.close()
        raise


def _reset_on_close(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _client_context(ca_pem: bytes) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=ca_pem.decode())
    context.set_alpn_protocols(["http/1.1"])
    return context
