"""Calls and streams to one API server, with a deadline on everything that may block.

Underneath, in `net`, are the pools of urllib3 as the `kubernetes` package sets them up. What is added here and there is
what they lack: deadlines that cover a whole call however slowly its bytes drip, addresses that are checked and then
connected to as checked, sizes that are capped, a way to shut all sockets down from another thread, and one vocabulary
for what goes wrong.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import urllib3

from dpunetop.base.clock import Clock
from dpunetop.base.stop import Stop
from dpunetop.kube.errors import MOST_MESSAGE_CHARS, ApiError, Unreachable
from dpunetop.kube.requests import Request
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
    error_of,
    read_body,
    refuse_encoded,
    refuse_unframed,
)
from dpunetop.runtime.client.net.dialer import CONNECT_SECONDS
from dpunetop.runtime.client.net.failures import FOREIGN, unreachable, within
from dpunetop.runtime.client.net.pools import Pool, Pools, all_busy
from dpunetop.runtime.client.net.resolver import Lookup
from dpunetop.runtime.client.net.sockets import Sockets
from dpunetop.runtime.client.pace import Pace
from dpunetop.runtime.client.streams import Loop, Over, Stream, Wake
from dpunetop.runtime.metrics import ClientMetrics

__all__ = [
    "Anonymous",
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
"""Largest answer to a read; a page of a list must fit. Decoding JSON made for it takes up to 35 times as much."""
MAX_OBJECT_BYTES = 4 * MIB
"""Largest answer to a write, and longest line of a stream: one object, of which etcd takes no more than 1.5 MiB."""
MAX_ERROR_BYTES = 64 << 10

_PROBES = (Pool.PROBE, Pool.NEW_PROBE)


class Transport:
    """Connections to one API server.

    Guarantees: a call ends by its time-out, a stream by its idle limit, both when `stop` is set or
        `close_connections` is called; what is sent is sent once; at most `max_calls` calls are under way at a time
        (of the Lease: 2, of reviews: 4, of the probe: 1), each on one connection that is kept. All streams are read by
        one thread, which is there while there are some.
    Threads: any; a stream has one reader at a time.
    Raises: Unreachable, with one of the reasons DNS, Refused, Timeout, TLS, Reset, AddressRefused, TooLarge,
        IdleTimeout, BadAnswer, Stopped; Unauthorized where there is no token to send; ConfigurationError from the
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
        """`max_error_chars` is how much of the server's words is passed on when it refuses something."""
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
        self._pools = Pools(connection, self._sockets, stop, metrics, clock, lookup, max_calls)
        self._heard_at = -math.inf  # replaced whole, by any thread
        self._loop = Loop(self._server, clock, idle_seconds, self._heard)
        stop.on_set(self._shut)

    def __repr__(self) -> str:
        return f"<Transport {self._connection.url} {len(self._sockets)} sockets>"

    @property
    def anchor_pem(self) -> bytes:
        """The certificate, of those given as CA, that the newest handshake was verified by; empty before the first."""
        return self._sockets.anchor_pem

    @property
    def heard_at(self) -> float:
        """When, on the monotonic clock, the server last did what it was asked for, probes left out; -inf: never."""
        return self._heard_at

    def call(
        self,
        request: Request,
        timeout_seconds: float,
        pool: Pool = Pool.CALLS,
        connect_seconds: float | None = None,
    ) -> Response:
        """Send one request and read its whole answer, whatever its status, within `timeout_seconds`; a connection that
        is made for it must stand, TLS included, within `connect_seconds` of them."""
        started = self._clock.monotonic()
        deadline = started + timeout_seconds
        headers = self._headers(request)
        if pool is Pool.NEW_PROBE:
            headers["Connection"] = "close"
        with self._pools.slot(request.method, pool, timeout_seconds):
            status, size, late = 0, 0, ""
            try:
                timeout = urllib3.Timeout(total=self._left(deadline), connect=connect_seconds)
                raw = self._send(request, headers, pool, timeout)
                late = f"an answer that was not complete{within(timeout_seconds)}"
                body = self._whole_body(
                    raw, self._max_read_bytes if request.method == "GET" else self._max_object_bytes
                )
                status, size = raw.status, len(body)
            except FOREIGN as err:
                passed = timeout_seconds if self._clock.monotonic() >= deadline else connect_seconds or timeout_seconds
                raise self._failure(err, late or f"no answer{within(passed)}") from err
            finally:
                self._count(request, status, started, size)
        if status < 500 and pool not in _PROBES:
            self._heard_at = self._clock.monotonic()
        return Response(status, raw.headers, body)

    @contextmanager
    def stream(
        self, request: Request, pace: Pace | None = None, wake: Wake | None = None
    ) -> Iterator[Iterator[bytes | Quiet]]:
        """Open a watch and hand out its lines as they come, without their ends.

        With `wake` the iterator does not wait for a line: it gives QUIET, and `wake` is called once, in a thread that
        it must not hold up, when there is another one, or an end.
        Guarantees: a line that is not complete within the idle limit ends the stream, one byte at a time or none; so
            does the end of the time that `pace` gives, by default any.
        Raises: beside Unreachable, the ApiError of an answer that is not success.
        """
        bell = threading.Event()
        stream = self._streaming(request, pace or Pace(self._clock), wake or bell.set)
        try:
            yield self._lines(stream, bell if wake is None else None)
        finally:
            self._loop.close(stream)

    @property
    def credential_number(self) -> int:
        """See `Bearer.number`; to be asked for before a request, and given to `renew_credential` after a 401 of it."""
        return self._bearer.number

    def renew_credential(self, refused: int) -> bool:
        """After a 401: read the token again; True if there is another one, so that trying again makes sense."""
        return self._bearer.renew(refused)

    def close_connections(self) -> None:
        """Shut all sockets down at once: calls that wait on one get Unreachable `Reset`; later requests reconnect."""
        self._sockets.shut_down()
        self._loop.cut()

    def cut_silent_streams(self, since: float) -> None:
        """As `close_connections`, for the streams on which nothing has come since then, on the monotonic clock."""
        self._loop.cut(since)

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
            self._loop.cut()  # watches go on where they were, by the new CA
        return self._pools.send(request, headers, pool, timeout)

    def _whole_body(self, raw: urllib3.BaseHTTPResponse, limit: int) -> bytes:
        try:
            refuse_encoded(raw)
            refuse_unframed(raw)
            return read_body(raw, limit)
        except BaseException:
            raw.close()  # half-read: of no use to the next request
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

    def _open_stream(self, request: Request, pace: Pace) -> urllib3.BaseHTTPResponse:
        status, started = 0, self._clock.monotonic()
        seconds = max(pace.bound(self._idle_seconds) - started, 0.001)
        try:
            timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=seconds)
            raw = self._send(request, self._headers(request), Pool.WATCHES, timeout)
            status = raw.status
        except FOREIGN as err:
            raise self._failure(err, f"no answer{within(seconds)}") from err
        finally:
            self._count(request, status, started, 0)
        return raw

    def _refusal(self, raw: urllib3.BaseHTTPResponse) -> ApiError:
        bound(raw, self._clock.monotonic() + CONNECT_SECONDS)
        try:
            return error_of(Response(raw.status, raw.headers, read_body(raw, MAX_ERROR_BYTES)), self.max_error_chars)
        except FOREIGN as err:
            return self._failure(err)

    def _streaming(self, request: Request, pace: Pace, wake: Wake) -> Stream:
        """The stream that answers the request, in the hands of the loop."""
        raw = self._open_stream(request, pace)
        try:
            if not 200 <= raw.status < 300:
                raise self._refusal(raw)
            refuse_encoded(raw)
            stream = Stream(OpenAnswer(raw, self._pools.give_back), body_of(raw), pace, self._max_object_bytes, wake)
            self._loop.add(stream)
        except BaseException as err:
            if not raw.closed:  # not read to its end: what is left of it would be taken for the next answer
                raw.close()
            self._pools.give_back(raw)
            if isinstance(err, FOREIGN):
                raise self._failure(err) from err
            raise
        return stream

    def _lines(self, stream: Stream, bell: threading.Event | None) -> Iterator[bytes | Quiet]:
        while (found := self._taken(stream)) is not Over.OVER:
            if found is not None:
                yield from found
            elif bell is None:
                yield QUIET
            else:
                bell.wait()
                bell.clear()

    def _taken(self, stream: Stream) -> list[bytes] | Over | None:
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
        """`late` says what was waited for."""
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
