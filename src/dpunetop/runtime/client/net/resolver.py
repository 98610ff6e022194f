"""From a name to addresses, by a deadline that the system's resolver does not know."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable
from typing import Any

from dpunetop.base.clock import Clock
from dpunetop.base.quoting import printable
from dpunetop.base.stop import Stop
from dpunetop.kube.errors import Unreachable
from dpunetop.runtime.metrics import ClientMetrics

SocketAddress = tuple[int, tuple[Any, ...]]
"""Family, and what `socket.connect` takes."""
Lookup = Callable[[str, int], list[SocketAddress]]


def look_up(host: str, port: int) -> list[SocketAddress]:
    """As the system's resolver says, in its order. Raises: OSError, UnicodeError."""
    return [(family, sockaddr) for family, _, _, _, sockaddr in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class _Flight:
    """One lookup under way. `answer` and `failure` belong to its thread until `done` is set."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.answer: list[SocketAddress] = []
        self.failure: Exception | None = None


class Resolver:
    """Looks names up by a deadline, which the system's resolver does not know.

    Threads: any; the lookup runs in a thread of its own, one at a time for all who ask. One that is given up on ends
        when the system's resolver does; until then others who ask wait for it too: there is never a second one.
    """

    def __init__(self, lookup: Lookup, stop: Stop, metrics: ClientMetrics, clock: Clock) -> None:
        self._lookup = lookup
        self._stop = stop
        self._metrics = metrics
        self._clock = clock
        self._guard = threading.Lock()  # guards _flight
        self._flight: _Flight | None = None

    def addresses(self, host: str, port: int, deadline: float) -> list[SocketAddress]:
        """Of a host; one that is an address already is not looked up. Raises: Unreachable `DNS`."""
        literal = _literal(host, port)
        if literal is not None:
            return [literal]
        flight = self._join(host, port)
        forget = self._stop.on_set(flight.done.set)
        try:
            flight.done.wait(max(deadline - self._clock.monotonic(), 0.0))
        finally:
            forget()
        return self._landed(flight, host)

    def _landed(self, flight: _Flight, host: str) -> list[SocketAddress]:
        if flight.failure is not None:
            raise Unreachable(0, "DNS", printable(f"{host}: {flight.failure}", 200)) from flight.failure
        if not flight.answer:
            raise Unreachable(0, "DNS", f"{printable(host, 100)}: no answer in time")
        return flight.answer

    def _join(self, host: str, port: int) -> _Flight:
        with self._guard:
            if self._flight is None:
                flight = _Flight()
                threading.Thread(target=self._fly, args=(flight, host, port), name=f"resolve-{host}").start()
                self._flight = flight
            return self._flight

    def _fly(self, flight: _Flight, host: str, port: int) -> None:
        started = self._clock.monotonic()
        try:
            flight.answer = self._lookup(host, port)
        except (OSError, UnicodeError) as err:
            flight.failure = err
        self._metrics.resolved(self._clock.monotonic() - started)
        with self._guard:
            self._flight = None
        flight.done.set()


def _literal(host: str, port: int) -> SocketAddress | None:
    bare = host.strip("[]")
    try:
        version = ipaddress.ip_address(bare).version
    except ValueError:
        return None
    return (socket.AF_INET, (bare, port)) if version == 4 else (socket.AF_INET6, (bare, port, 0, 0))
