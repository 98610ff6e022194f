"""The connections that are kept: one pool of urllib3 for each kind of traffic, set up as the `kubernetes` package does.

Nothing is retried, redirected, decompressed, or routed by the environment.
"""

from __future__ import annotations

import functools
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
from dpunetop.runtime.client.net.resolver import Lookup, look_up
from dpunetop.runtime.client.net.sockets import Sockets, tls_context
from dpunetop.runtime.client.package import import_bare
from dpunetop.runtime.metrics import ClientMetrics

if TYPE_CHECKING:
    from urllib3.connectionpool import HTTPSConnectionPool

_IDLE_WATCH_CONNECTIONS = 64  # kept for the next watch; no limit on how many are in use
# A way that loses everything silently is noticed within 11 s: at the first of these signs of life, sent after 5, 8 and
# 11 s, that finds the connection without one of the other side for as long as the time-out.
_KEEPALIVE = {"idle": 5, "interval": 3, "count": 3}
_USER_TIMEOUT_MS = 10_000


class Pool(Enum):
    """Whose connections a request uses, so that one kind of traffic never waits for another."""

    CALLS = auto()
    WATCHES = auto()
    LEASE = auto()
    """For the Lease: what tells whether we lead must not wait behind what hangs."""
    PROBE = auto()
    """For the probe, which tells whether the server lives."""
    NEW_PROBE = auto()
    """For the probe too; each request dials anew, as behind a balancer the server of a kept connection may be going."""
    REVIEWS = auto()
    """For reviews of those who ask for metrics: anybody can cause one, so they may take no connection from our work."""


_FEW_CONNECTIONS = {Pool.LEASE: 2, Pool.REVIEWS: 4, Pool.PROBE: 1, Pool.NEW_PROBE: 1}


class Pools:
    """The connections to one API server, and how many calls of each kind of traffic are under way at a time.

    Guarantees: after a change of the CA each request connects by the new one; what is under way then ends on its
        connection, which is not used again. After the stop no connection is kept.
    Threads: any.
    Raises: ConfigurationError from the constructor.
    """

    def __init__(
        self,
        connection: Connection,
        sockets: Sockets,
        stop: Stop,
        metrics: ClientMetrics,
        clock: Clock,
        lookup: Lookup | None,
        max_calls: int,
    ) -> None:
        self._connection = connection
        self._prefix = checked_url(connection.url).path.rstrip("/")
        self._sockets = sockets
        self._stop = stop
        self._metrics = metrics
        self._clock = clock
        self._dialer = Dialer(connection, sockets, stop, metrics, clock, lookup or look_up)
        self._authority = Authority(connection, clock)
        most = {Pool.CALLS: max_calls, **_FEW_CONNECTIONS}
        self._most = {**most, Pool.WATCHES: _IDLE_WATCH_CONNECTIONS}
        self._pools = self._new_pools(connection)  # replaced whole, by any thread
        # A semaphore a pool, since urllib3 counts its own waiting for a connection beside the call's time-out.
        self._slots = {pool: threading.BoundedSemaphore(many) for pool, many in most.items()}

    def doubt_trust(self) -> None:
        """See `Authority.doubt`."""
        self._authority.doubt()

    def renew_trust(self) -> bool:
        """Whether the CA has changed, so that from now on requests connect by another one."""
        pem = self._authority.changed()
        if pem is None:
            return False
        try:
            pools = self._new_pools(replace(self._connection, ca_pem=pem))
        except ConfigurationError:  # half-written, perhaps: read again in a while
            return False
        before, self._pools = self._pools, pools
        for pool in before.values():
            pool.close()
        if self._stop.is_set():
            self.close()
        return True

    @contextmanager
    def slot(self, method: str, pool: Pool, timeout_seconds: float) -> Iterator[None]:
        """One of the calls that may be under way. Raises: Unreachable `Timeout`, when none ended in time."""
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
        """The head of the answer; its body is still to be read. Raises: what FOREIGN lists, and Unreachable."""
        try:
            return self._urlopen(request, headers, pool, timeout)
        except pool_errors.ClosedPoolError:  # before anything was sent: the CA was replaced just now
            return self._urlopen(request, headers, pool, timeout)

    def give_back(self, raw: urllib3.BaseHTTPResponse) -> None:
        """Keep the connection of an answer for the next request, if the answer was read to its end."""
        connection = raw.connection
        raw.release_conn()
        if self._stop.is_set() and connection is not None:  # the pool may have been emptied just before
            connection.close()

    def close(self) -> None:
        """Close the connections that wait for a request."""
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
        context = tls_context(connection, self._sockets)
        return {pool: self._pool(context, many) for pool, many in self._most.items()}

    def _pool(self, context: ssl.SSLContext, maxsize: int) -> HTTPSConnectionPool:
        pool = _rest_pool(self._connection, context, maxsize)
        dialed = functools.partial(DialedConnection, dialer=self._dialer, sockets=self._sockets)
        pool.ConnectionCls = cast(Any, dialed)
        return pool


def all_busy() -> Unreachable:
    """What is said of a call that found no connection free in its time."""
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

    # Empty, not None: None means whatever the environment says.
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
    manager.connection_pool_kw["ssl_context"] = context  # one for all: building one costs more than a handshake
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
