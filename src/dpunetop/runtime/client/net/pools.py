"""Connection pools: one pool of urllib3 per kind of traffic, set up as the `kubernetes` package does.

They never retry, follow a redirect, decompress, or take a proxy from the environment.
"""

from __future__ import annotations

import functools
import queue
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import SplitResult, unquote, urlsplit

import urllib3
from urllib3 import exceptions as pool_errors

from dpunetop.base.clock import Clock
from dpunetop.base.quoting import printable
from dpunetop.base.stop import Stop
from dpunetop.kube.errors import Unreachable
from dpunetop.kube.requests import Request
from dpunetop.runtime.client.connection import Authority, ConfigurationError, Connection
from dpunetop.runtime.client.net.dialer import DialedConnection, Dialer
from dpunetop.runtime.client.net.sockets import tls_context
from dpunetop.runtime.client.package import import_bare
from dpunetop.runtime.metrics import ClientMetrics

if TYPE_CHECKING:
    from urllib3.connectionpool import HTTPSConnectionPool

_IDLE_WATCH_CONNECTIONS = 64  # kept for the next watch; no limit on how many are in use
_IDLE_SECONDS = 10.0
_ALWAYS_KEPT = 2  # as many as client-go's transport: http.DefaultMaxIdleConnsPerHost of net/http
# A path that drops all packets is noticed within 11 s: TCP sends keepalive probes after 5, 8 and 11 s; the first one
# that finds the peer silent for the whole timeout ends the connection.
_KEEPALIVE = {"idle": 5, "interval": 3, "count": 3}
_USER_TIMEOUT_MS = 10_000


class Pool(Enum):
    """The pool that a request uses, so that one kind of traffic never waits for another."""

    CALLS = auto()
    WATCHES = auto()
    LEASE = auto()
    """For the Lease: a renewal must not wait behind calls that hang."""
    PROBE = auto()
    """For the health probe."""
    NEW_PROBE = auto()
    """For the health probe on a new connection: behind a balancer, the server of a kept one may be shutting down."""
    REVIEWS = auto()
    """For reviews of scrapers: any caller can cause one, so they must not take connections from our work."""


_FEW_CONNECTIONS = {Pool.LEASE: 2, Pool.REVIEWS: 4, Pool.PROBE: 1, Pool.NEW_PROBE: 1}


class Pools:
    """The connection pools of one API server, and the limit of concurrent calls per kind of traffic.

    Guarantees: after a change of the CA each request connects with the new one; a running request ends on its
        connection, which is then closed. After the stop no connection is kept.
    Threads: any.
    Raises: ConfigurationError from the constructor.
    """

    def __init__(
        self,
        connection: Connection,
        dialer: Dialer,
        stop: Stop,
        metrics: ClientMetrics,
        clock: Clock,
        max_calls: int,
    ) -> None:
        self._connection = connection
        self._prefix = checked_url(connection.url).path.rstrip("/")
        self._stop = stop
        self._metrics = metrics
        self._clock = clock
        self._dialer = dialer
        self._authority = Authority(connection, clock)
        most = {Pool.CALLS: max_calls, **_FEW_CONNECTIONS}
        self._most = {**most, Pool.WATCHES: _IDLE_WATCH_CONNECTIONS}
        self._pools = self._new_pools(connection)  # replaced whole, by any thread
        # One semaphore per pool, since urllib3 does not count its wait for a connection against the call's timeout.
        self._slots = {pool: threading.BoundedSemaphore(many) for pool, many in most.items()}

    def doubt_trust(self) -> None:
        """See `Authority.doubt`."""
        self._authority.doubt()

    def renew_trust(self) -> bool:
        """Reload the CA; return whether it has changed, so that later requests connect with the new one."""
        pem = self._authority.changed()
        if pem is None:
            return False
        try:
            pools = self._new_pools(replace(self._connection, ca_pem=pem))
        except ConfigurationError:  # possibly half-written: read again later
            return False
        before, self._pools = self._pools, pools
        for pool in before.values():
            pool.close()
        if self._stop.is_set():
            self.close()
        return True

    @contextmanager
    def slot(self, method: str, pool: Pool, timeout_seconds: float) -> Iterator[None]:
        """Occupy one of the concurrent calls. Raises: Unreachable `Timeout` if none ended in time."""
        slots = self._slots[pool]
        if not slots.acquire(blocking=False):
            started = self._clock.monotonic()
            acquired = slots.acquire(timeout=timeout_seconds)
            self._metrics.limited(method, self._clock.monotonic() - started)
            if not acquired:
                raise all_busy()
        try:
            yield
        finally:
            slots.release()

    def send(
        self, request: Request, headers: Mapping[str, str], pool: Pool, timeout: urllib3.Timeout
    ) -> urllib3.BaseHTTPResponse:
        """Send the request and read the head of the response, not its body. Raises: FOREIGN, Unreachable."""
        try:
            return self._urlopen(request, headers, pool, timeout)
        except pool_errors.ClosedPoolError:  # nothing was sent yet: a new CA has just replaced the pools
            return self._urlopen(request, headers, pool, timeout)

    def give_back(self, raw: urllib3.BaseHTTPResponse) -> None:
        """Return the connection of a response to its pool if the response was read to its end."""
        connection = raw.connection
        raw.release_conn()
        if self._stop.is_set() and connection is not None:  # the pool may have been emptied just before
            connection.close()

    def drop_kept(self) -> None:
        """Close the idle connections; later requests dial again, running ones stay."""
        for pool in self._pools.values():
            _empty(pool)

    def close_unused(self) -> None:
        """Close the connections of calls that have been idle for 10 s, but for the two that were used last: each holds
        some 57 KiB, and a burst of calls leaves as many as it had at once."""
        for connection in _take_unused(self._pools[Pool.CALLS], self._clock.monotonic() - _IDLE_SECONDS):
            connection.close()

    def close(self) -> None:
        """Close the idle connections, for good."""
        for pool in self._pools.values():
            pool.close()

    def _urlopen(
        self, request: Request, headers: Mapping[str, str], pool: Pool, timeout: urllib3.Timeout
    ) -> urllib3.BaseHTTPResponse:
        return self._pools[pool].urlopen(
            request.method,
            self._prefix + request.target,
            body=request.body,
            headers=headers,
            retries=False,
            redirect=False,
            assert_same_host=False,
            timeout=timeout,
            release_conn=False,
            preload_content=False,
            decode_content=False,
        )

    def _new_pools(self, connection: Connection) -> Mapping[Pool, HTTPSConnectionPool]:
        """Raises: ConfigurationError."""
        context = tls_context(connection, self._dialer.sockets)
        return {pool: self._pool(context, many) for pool, many in self._most.items()}

    def _pool(self, context: ssl.SSLContext, maxsize: int) -> HTTPSConnectionPool:
        pool = _rest_pool(self._connection, context, maxsize)
        dialed = functools.partial(DialedConnection, dialer=self._dialer)
        pool.ConnectionCls = cast(Any, dialed)
        return pool


def _empty(pool: HTTPSConnectionPool) -> None:
    kept = pool.pool  # urllib3's queue; it makes a new connection for each place that it finds empty
    with suppress(queue.Empty):
        while kept is not None:
            connection = kept.get(block=False)
            if connection is not None:
                connection.close()


def _take_unused(pool: HTTPSConnectionPool, since: float) -> list[DialedConnection]:
    """Take from the pool what was not used since then; those used last are behind, since it hands out the last one."""
    taken: list[DialedConnection] = []
    if (kept := pool.pool) is not None:
        with kept.mutex:
            for place in range(len(kept.queue) - _ALWAYS_KEPT):
                connection = kept.queue[place]
                if isinstance(connection, DialedConnection) and connection.used < since:
                    kept.queue[place] = None
                    taken.append(connection)
    return taken


def all_busy() -> Unreachable:
    """The error of a call that found no free connection within its timeout."""
    return Unreachable(0, "Timeout", "all connections stayed busy; nothing was sent")


def checked_url(text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        usable = (
            url.scheme == "https" and url.hostname and not (url.username or url.query or url.fragment) and url.port != 0
        )
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError(
            f"the API server's URL must be https://host[:port][/path], not {printable(text, 100)!r}"
        )
    return url


def _rest_pool(connection: Connection, context: ssl.SSLContext, maxsize: int) -> HTTPSConnectionPool:
    import_bare()
    from kubernetes.client.configuration import Configuration
    from kubernetes.client.rest import RESTClientObject
    from kubernetes.utils.keepalive import tcp_keepalive_socket_options

    # Empty, not None: None would take the proxy settings of the environment.
    settings = Configuration(host=connection.url, proxy=connection.proxy_url or "", no_proxy="")
    settings.tls_server_name = connection.tls_server_name
    settings.connection_pool_maxsize = maxsize
    settings.retries = False
    settings.proxy_headers = _proxy_headers(connection.proxy_url)
    settings.socket_options = [
        *tcp_keepalive_socket_options(**_KEEPALIVE),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS),
    ]
    manager = RESTClientObject(settings).pool_manager
    manager.connection_pool_kw["ssl_context"] = context  # shared by all pools: building one costs more than a handshake
    return cast("HTTPSConnectionPool", manager.connection_from_url(connection.url))


def _proxy_headers(proxy_url: str | None) -> dict[str, str] | None:
    if proxy_url is None:
        return None
    url = urlsplit(proxy_url)
    if url.scheme != "http" or not url.hostname:
        raise ConfigurationError("the proxy's URL must be http://host[:port]")
    if url.username is None:
        return {}
    secret = f"{unquote(url.username)}:{unquote(url.password or '')}"
    return dict(urllib3.make_headers(proxy_basic_auth=secret))
