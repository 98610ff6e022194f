"""Resolves host names by a deadline, which the system's resolver lacks."""

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
"""Address family, and the argument of `socket.connect`."""
Lookup = Callable[[str, int], list[SocketAddress]]


def look_up(host: str, port: int) -> list[SocketAddress]:
    """The addresses from the system's resolver, in its order. Raises: OSError, UnicodeError."""
    return [(family, sockaddr) for family, _, _, _, sockaddr in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class _Flight:
    """One running lookup. `answer` and `failure` belong to its thread until `done` is set."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.answer: list[SocketAddress] = []
        self.failure: Exception | None = None


class Resolver:
    """Resolves names by a deadline.

    Threads: any; the lookup runs in a thread of its own. There is only one at a time: a caller whose deadline has
        passed abandons it, later callers wait for the same lookup until the system's resolver returns.
    """

    def __init__(self, lookup: Lookup, stop: Stop, metrics: ClientMetrics, clock: Clock) -> None:
        self._lookup = lookup
        self._stop = stop
        self._metrics = metrics
        self._clock = clock
        self._guard = threading.Lock()  # guards _flight
        self._flight: _Flight | None = None

    def addresses(self, host: str, port: int, deadline: float) -> list[SocketAddress]:
        """The addresses of a host; a literal address needs no lookup. Raises: Unreachable `DNS`."""
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
