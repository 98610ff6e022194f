"""Calls and streams to one API server, with a deadline on everything that may block.

`net` holds the pools of urllib3 as the `kubernetes` package sets them up. Both add what urllib3 lacks: deadlines of a
whole call however slowly its bytes arrive, address checks bound to the connection, size limits, a shutdown of all
sockets from another thread, and one error type.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

import urllib3

from dpunetop.base.clock import Clock
from dpunetop.base.stop import Stop
from dpunetop.kube.errors import MOST_MESSAGE_CHARS, ApiError, Unreachable
from dpunetop.kube.requests import Request
from dpunetop.kube.validity import Validity
from dpunetop.kube.watch import QUIET, Quiet
from dpunetop.runtime.client.connection import (
    Anonymous,
    Bearer,
    ClientCertificate,
    ConfigurationError,
    Connection,
    Credential,
    Redacted,
    StaticToken,
    TokenFile,
    TokenSource,
)
from dpunetop.runtime.client.net.answers import (
    OpenAnswer,
    Response,
    body_of,
    bound,
    date_of,
    error_of,
    read_body,
    refuse_encoded,
    refuse_unframed,
)
from dpunetop.runtime.client.net.dialer import CONNECT_SECONDS, Dialer
from dpunetop.runtime.client.net.failures import FOREIGN, unreachable, within
from dpunetop.runtime.client.net.pools import Pool, Pools, all_busy
from dpunetop.runtime.client.net.resolver import Lookup, look_up
from dpunetop.runtime.client.net.sockets import Sockets
from dpunetop.runtime.client.streamdeadline import StreamDeadline
from dpunetop.runtime.client.streams import EndOfStream, Loop, Stream, Wake
from dpunetop.runtime.metrics import ClientMetrics

__all__ = [
    "Anonymous",
    "CallOptions",
    "ClientCertificate",
    "ConfigurationError",
    "Connection",
    "Credential",
    "Pool",
    "Redacted",
    "Response",
    "StaticToken",
    "TokenFile",
    "TokenSource",
    "Transport",
    "error_of",
]

MIB = 1 << 20
MAX_READ_BYTES = 16 * MIB
"""Largest response to a read; a page of a list must fit. Hostile JSON takes up to 35 times as much once decoded."""
MAX_OBJECT_BYTES = 4 * MIB
"""Largest response to a write, and longest line of a stream: one object, which etcd limits to 1.5 MiB."""
MAX_ERROR_BYTES = 64 << 10

_PROBES = (Pool.PROBE, Pool.NEW_PROBE)


@dataclass(frozen=True, slots=True)
class CallOptions:
    """The timeout of a call, and its connection pool."""

    timeout_seconds: float
    """Of the whole call, until its response is read."""
    pool: Pool = Pool.CALLS
    connect_seconds: float | None = None
    """Of connecting, TLS included, if the call needs a new connection; None: as long as the call."""


class Transport:
    """Connections to one API server.

    Guarantees: a call ends by its timeout, a stream by its idle limit, both when `stop` is set or `close_connections`
        is called; each request is sent once; at most `max_calls` calls run at a time (Lease: 2, reviews: 4, probe: 1),
        each on one kept connection. One thread reads all streams; it runs while there are some.
    Threads: any; a stream has one reader at a time.
    Raises: Unreachable, with one of the reasons DNS, Refused, Timeout, TLS, Reset, AddressRefused, TooLarge,
        IdleTimeout, BadAnswer, Stopped; Unauthorized if there is no token to send; ConfigurationError from the
        constructor.
    """

    def __init__(
        self,
        connection: Connection,
        stop: Stop,
        *,
        user_agent: str,
        metrics: ClientMetrics,
        clock: Clock,
        max_calls: int = 24,
        max_response_bytes: int = MAX_READ_BYTES,
        max_error_chars: int = MOST_MESSAGE_CHARS,
        idle_seconds: float = 90.0,
        lookup: Lookup | None = None,
    ) -> None:
        """`max_error_chars` limits the server's message in an ApiError."""
        self.stop = stop
        self.max_error_chars = max_error_chars
        self._connection = connection
        self._user_agent = user_agent
        self._metrics = metrics
        self._clock = clock
        self._max_read_bytes = max_response_bytes
        self._max_object_bytes = min(MAX_OBJECT_BYTES, max_response_bytes)
        self._idle_seconds = idle_seconds
        self._bearer = Bearer(connection.credential, clock)
        self._sockets = Sockets(clock)
        dialer = Dialer(connection, self._sockets, stop, metrics, clock, lookup or look_up)
        self._pools = Pools(connection, dialer, stop, metrics, clock, max_calls)
        self._heard_at = -math.inf  # replaced whole, by any thread, as is the next one
        self._dated = ("", clock.now())  # header Date of the latest response to a call, and when it came
        self._loop = Loop(self._server, clock, idle_seconds, self._heard)
        stop.on_set(self._shut)

    def __repr__(self) -> str:
        return f"<Transport {self._connection.url} {len(self._sockets)} sockets>"

    @property
    def anchor_pem(self) -> bytes:
        """The CA certificate that verified the latest handshake; empty before the first."""
        return self._sockets.anchor_pem

    @property
    def serving(self) -> Validity | None:
        """Validity of the server's certificate at the latest handshake; None before the first.

        Guarantees: at most an hour old while requests are sent, see `DialedConnection.is_connected`.
        """
        return self._sockets.serving

    @property
    def server_ahead(self) -> timedelta | None:
        """By how much the server's clock is ahead of this machine's, to a second or two; None: it has not said.

        Source: RFC 9110 6.6.1; net/http of Go, and so each API server, sends the header Date.
        """
        text, at = self._dated
        sent = date_of(text)
        return None if sent is None else sent - at

    @property
    def heard_at(self) -> float:
        """When (monotonic) the server last answered a call or sent a line of a stream, probes excluded; -inf: never."""
        return self._heard_at

    def call(self, request: Request, options: CallOptions) -> Response:
        """Send one request and read its whole response, whatever its status."""
        started = self._clock.monotonic()
        deadline, pool = started + options.timeout_seconds, options.pool
        headers = self._headers(request)
        if pool is Pool.NEW_PROBE:
            headers["Connection"] = "close"
        with self._pools.slot(request.method, pool, options.timeout_seconds):
            status, size, late = 0, 0, ""
            try:
                timeout = urllib3.Timeout(total=self._left(deadline), connect=options.connect_seconds)
                raw = self._send(request, headers, pool, timeout)
                late = f"an answer that was not complete{within(options.timeout_seconds)}"
                body = self._whole_body(
                    raw, self._max_read_bytes if request.method == "GET" else self._max_object_bytes
                )
                status, size = raw.status, len(body)
            except FOREIGN as err:
                connecting = self._clock.monotonic() < deadline and options.connect_seconds
                raise self._failure(err, late or f"no answer{within(connecting or options.timeout_seconds)}") from err
            finally:
                self._count(request, status, started, size)
        self._dated = raw.headers.get("Date", ""), self._clock.now()
        if status < 500 and pool not in _PROBES:
            self._heard_at = self._clock.monotonic()
        return Response(status, raw.headers, body)

    @contextmanager
    def stream(
        self, request: Request, deadline: StreamDeadline | None = None, wake: Wake | None = None
    ) -> Iterator[Iterator[bytes | Quiet]]:
        """Open a watch and yield its lines as they arrive, without line ends.

        With `wake` the iterator never blocks: it yields QUIET, and `wake` is called once when a line or the end has
        arrived, in a thread that it must not block.
        Guarantees: the stream ends if a line is not complete within the idle limit, even if bytes drip; it also ends by
            the deadlines of `deadline`, by default none.
        Raises: Unreachable, or the ApiError of an unsuccessful response.
        """
        bell = threading.Event()
        stream = self._streaming(request, deadline or StreamDeadline(self._clock), wake or bell.set)
        try:
            yield self._lines(stream, bell if wake is None else None)
        finally:
            self._loop.close(stream)

    @property
    def credential_number(self) -> int:
        """See `Bearer.number`; read it before a request, and pass it to `renew_credential` after a 401."""
        return self._bearer.number

    def renew_credential(self, refused: int) -> bool:
        """After a 401: read the token again; return whether there is a new one, so that a retry is useful."""
        return self._bearer.renew(refused)

    def close_connections(self) -> None:
        """Shut all sockets down at once: running calls raise Unreachable `Reset`; later requests reconnect."""
        self._sockets.shut_down()
        self._loop.cut()

    def leave_silent(self, since: float) -> None:
        """A device on the path has dropped its connection state: reset the streams that have been silent since then
        (monotonic), as by `close_connections`, and use no idle connection again."""
        self._pools.drop_kept()
        self._loop.cut(since)

    def close_unused(self) -> None:
        """See `Pools.close_unused`."""
        self._pools.close_unused()

    def _shut(self) -> None:
        self._sockets.shut_down()
        self._loop.end()
        self._pools.close()
        self._metrics.end()

    def _send(
        self, request: Request, headers: Mapping[str, str], pool: Pool, timeout: urllib3.Timeout
    ) -> urllib3.BaseHTTPResponse:
        if self.stop.is_set():
            raise Unreachable(0, "Stopped", "no request is sent after the stop")
        if self._pools.renew_trust():
            self._loop.cut()  # the watches resume over connections verified by the new CA
        return self._pools.send(request, headers, pool, timeout)

    def _whole_body(self, raw: urllib3.BaseHTTPResponse, limit: int) -> bytes:
        try:
            refuse_encoded(raw)
            refuse_unframed(raw)
            return read_body(raw, limit)
        except BaseException:
            raw.close()  # half-read, so it cannot serve another request
            raise
        finally:
            self._pools.give_back(raw)

    def _headers(self, request: Request) -> dict[str, str]:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": self._user_agent}
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        authorization = self._bearer.header()
        if authorization is not None:
            headers["Authorization"] = authorization
        return headers

    def _left(self, deadline: float) -> float:
        left = deadline - self._clock.monotonic()
        if left <= 0:
            raise all_busy()
        return left

    def _open_stream(self, request: Request, deadline: StreamDeadline) -> urllib3.BaseHTTPResponse:
        status, started = 0, self._clock.monotonic()
        seconds = max(deadline.bound(self._idle_seconds) - started, 0.001)
        try:
            timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=seconds)
            raw = self._send(request, self._headers(request), Pool.WATCHES, timeout)
            status = raw.status
        except FOREIGN as err:
            raise self._failure(err, f"no answer{within(seconds)}") from err
        finally:
            self._count(request, status, started, 0)
        return raw

    def _refusal(self, request: Request, raw: urllib3.BaseHTTPResponse) -> ApiError:
        bound(raw, self._clock.monotonic() + CONNECT_SECONDS)
        try:
            response = Response(raw.status, raw.headers, read_body(raw, MAX_ERROR_BYTES))
            return error_of(request, response, self.max_error_chars)
        except FOREIGN as err:
            return self._failure(err)

    def _streaming(self, request: Request, deadline: StreamDeadline, wake: Wake) -> Stream:
        """Open the stream of the request and add it to the loop."""
        raw = self._open_stream(request, deadline)
        try:
            if not 200 <= raw.status < 300:
                raise self._refusal(request, raw)
            refuse_encoded(raw)
            stream = Stream(
                OpenAnswer(raw, self._pools.give_back), body_of(raw), deadline, self._max_object_bytes, wake
            )
            self._loop.add(stream)
        except BaseException as err:
            if not raw.closed:  # not read to its end: the rest would be taken for the next response
                raw.close()
            self._pools.give_back(raw)
            if isinstance(err, FOREIGN):
                raise self._failure(err) from err
            raise
        return stream

    def _lines(self, stream: Stream, bell: threading.Event | None) -> Iterator[bytes | Quiet]:
        while (found := self._taken(stream)) is not EndOfStream.REACHED:
            if found is not None:
                yield from found
            elif bell is None:
                yield QUIET
            else:
                bell.wait()
                bell.clear()

    def _taken(self, stream: Stream) -> list[bytes] | EndOfStream | None:
        try:
            found = stream.take()
        except (*FOREIGN, ValueError) as err:
            raise self._failure(err) from err
        if found is None and stream.unpause():
            self._loop.resume(stream)
        return found

    def _heard(self, now: float) -> None:
        self._heard_at = now

    def _failure(self, err: BaseException, late: str = "no answer in time") -> Unreachable:
        """`late` is the message of a timeout."""
        if self.stop.is_set():
            return Unreachable(0, "Stopped", "cut off by the stop")
        failure = unreachable(err, self._server)
        if failure.reason == "TLS":
            self._pools.doubt_trust()
        return Unreachable(0, "Timeout", f"{self._server}: {late}") if failure.reason == "Timeout" else failure

    @property
    def _server(self) -> str:
        return urlsplit(self._connection.url).netloc

    def _count(self, request: Request, status: int, started: float, size: int) -> None:
        seconds = self._clock.monotonic() - started
        self._metrics.requested(request.method, status, seconds, len(request.body or b""), size)
