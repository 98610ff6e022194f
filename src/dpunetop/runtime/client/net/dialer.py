"""Dials a host by a deadline: resolves it, checks each address, and connects to the very address that was checked."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPSConnection

from dpunetop.base.clock import Clock
from dpunetop.base.quoting import printable
from dpunetop.base.stop import Stop
from dpunetop.kube.errors import Unreachable
from dpunetop.runtime.client.connection import Connection
from dpunetop.runtime.client.net.failures import unreachable
from dpunetop.runtime.client.net.resolver import Lookup, Resolver, SocketAddress
from dpunetop.runtime.client.net.sockets import PlainSocket, Sockets, TlsSocket, unheard, unmapped
from dpunetop.runtime.metrics import ClientMetrics

_LONGEST_USE_SECONDS = 3600.0
"""After this time a kept connection is opened anew, so that a renewed certificate of the server is seen."""
CONNECT_SECONDS = 10.0
"""Timeout of connecting and of the first bytes of a stream; a call has its own timeout."""

SocketOptions = list[tuple[int, int, int]]


class Dialer:
    """Opens TCP connections by a deadline, to checked addresses in the resolver's order.

    Guarantees: no connection to an address that was not checked for this very connection.
    """

    def __init__(
        self,
        connection: Connection,
        sockets: Sockets,
        stop: Stop,
        metrics: ClientMetrics,
        clock: Clock,
        lookup: Lookup,
    ) -> None:
        policy = connection.address_policy or (lambda _: None)
        self._policy = policy if connection.proxy_url is None else _unrefused
        self._refused = _refused_behind_proxy(connection, policy)
        self._on_connect = unheard if connection.proxy_url else connection.on_connect or unheard
        self.sockets = sockets
        self._clock = clock
        self._resolver = Resolver(lookup, stop, metrics, clock)

    def dial(self, host: str, port: int, deadline: float, options: SocketOptions) -> PlainSocket:
        """Connect to the first of the host's addresses that the policy allows and that answers."""
        addresses = self._allowed(host, self._resolver.addresses(host, port, deadline))
        failure: OSError = TimeoutError("no time was left to connect")
        for tried, address in enumerate(addresses):
            left = deadline - self._clock.monotonic()
            try:
                return self._open(address, left / (len(addresses) - tried), deadline, options)
            except OSError as err:
                failure = err
        raise unreachable(failure, f"{host}:{port}") from failure

    def _allowed(self, host: str, addresses: list[SocketAddress]) -> list[SocketAddress]:
        if self._refused is not None:
            raise Unreachable(0, "AddressRefused", self._refused)
        verdicts = [(address, self._policy(_canonical(address))) for address in addresses]
        allowed = [address for address, refusal in verdicts if refusal is None]
        if not allowed:
            reasons = "; ".join(sorted({refusal for _, refusal in verdicts if refusal is not None}))
            raise Unreachable(0, "AddressRefused", printable(f"{host}: {reasons}", 200))
        for address in allowed:
            self._on_connect(_canonical(address))
        return allowed

    def _open(self, address: SocketAddress, timeout: float, deadline: float, options: SocketOptions) -> PlainSocket:
        family, sockaddr = address
        sock = PlainSocket(family, socket.SOCK_STREAM)
        sock.clock, sock.deadline = self._clock, deadline
        self.sockets.add(sock)
        try:
            for option in options:
                sock.setsockopt(*option)
            sock.settimeout(max(timeout, 0.001))
            sock.connect(sockaddr)
            sock.settimeout(max(deadline - self._clock.monotonic(), 0.001))  # for the whole TLS handshake
        except BaseException:
            sock.close()
            raise
        return sock


def _unrefused(_: str) -> None:
    return None


def _refused_behind_proxy(connection: Connection, policy: Callable[[str], str | None]) -> str | None:
    if connection.proxy_url is None:
        return None
    try:
        address = ipaddress.ip_address(urlsplit(connection.url).hostname or "")
    except ValueError:
        return None
    return policy(str(address))


def _canonical(address: SocketAddress) -> str:
    """The address as the policy judges it: an IPv4-mapped IPv6 address counts as IPv4."""
    return unmapped(address[1][0])


class DialedConnection(HTTPSConnection):
    """A connection that dials through `Dialer` and turns the timeouts of urllib3 into deadlines.

    urllib3 sets `timeout` before it connects and sends, and again before it reads, each time to the rest of the whole
    timeout; so each deadline counts from the moment of setting.
    """

    def __init__(self, host: str, *, dialer: Dialer, **settings: Any) -> None:
        self._dialer = dialer
        self._sockets = dialer.sockets
        # The socket of the response; http.client forgets it with the last response.
        self.answering: socket.socket | None = None
        self.used = dialer.sockets.clock.monotonic()
        """When the head of its last response was awaited."""
        self._connected = self.used
        super().__init__(host, **settings)

    @property
    def is_connected(self) -> bool:
        """Whether the next request may use it: urllib3 asks this of each connection that it takes from a pool.

        Guarantees: False once the certificate that its handshake verified has ended, and after an hour, since only a
            handshake shows the certificate that the server has now.
        """
        return super().is_connected and not self._is_outdated()

    def _is_outdated(self) -> bool:
        clock = self._sockets.clock
        serving = self.sock.serving if isinstance(self.sock, TlsSocket) else None
        is_ended = serving is not None and clock.now() >= serving.end
        return is_ended or clock.monotonic() - self._connected >= _LONGEST_USE_SECONDS

    @property
    def timeout(self) -> float:
        return self._timeout

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        self._timeout = CONNECT_SECONDS if seconds is None else seconds
        self._deadline = self._sockets.clock.monotonic() + self._timeout

    def _new_conn(self) -> socket.socket:
        options = cast(SocketOptions, self.socket_options or [])
        return self._dialer.dial(self._dns_host, self.port, self._deadline, options)

    def connect(self) -> None:
        generation = self._sockets.generation
        super().connect()
        self._connected = self._sockets.clock.monotonic()
        self.bound(self._deadline)
        if generation != self._sockets.generation:
            raise ConnectionResetError("shut down while it was being opened")

    def request(self, *args: Any, **kwargs: Any) -> None:
        self.bound(self._deadline)
        super().request(*args, **kwargs)

    # http.client declares an HTTPResponse of its own here. urllib3's connection returns urllib3's, which is not derived
    # from it, and breaks the declaration of its base in the same way; nothing else can be returned to urllib3's pool.
    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        self.bound(self._deadline)
        self.answering, self.used = self.sock, self._sockets.clock.monotonic()
        return super().getresponse()

    def bound(self, deadline: float) -> None:
        """Every later read or write ends at `deadline`."""
        if isinstance(self.sock, PlainSocket | TlsSocket):
            self.sock.deadline = deadline
