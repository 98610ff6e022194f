"""Connections to lying servers, all shut down at the end of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dpunetop.base.clock import RealClock
from dpunetop.base.stop import Stop
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.client.transport import Anonymous, Connection, Transport
from dpunetop.runtime.metrics import Metrics
from support.lyingserver import LyingServer, ca_pem

ConnectTo = Callable[..., Transport]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def connect(metrics: Metrics) -> Iterator[ConnectTo]:
    """Makes a transport to a server: settings of `Connection` and of `Transport` by name."""
    stops: list[Stop] = []

    def make(server: LyingServer | str, credential: Any = None, **settings: Any) -> Transport:
        url = server if isinstance(server, str) else server.url
        of_connection = {
            name: settings.pop(name)
            for name in ("tls_server_name", "proxy_url", "address_policy", "on_connect", "on_verified", "ca_file")
            if name in settings
        }
        ca = settings.pop("ca_pem", ca_pem())
        stops.append(Stop())
        return Transport(
            Connection(url, ca, credential or Anonymous(), **of_connection),
            stops[-1],
            user_agent="dpunetop-test",
            metrics=metrics.client("server"),
            clock=settings.pop("clock", RealClock()),
            **settings,
        )

    yield make
    for stop in stops:
        stop.set()


@pytest.fixture
def client_of(metrics: Metrics) -> Callable[[Transport], Client]:
    return lambda transport: Client(
        transport, clock=RealClock(), metrics=metrics.client("server"), name="tenant/ns/one", random=lambda: 0.5
    )
