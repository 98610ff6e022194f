"""The clients of commands: as whoever calls them, and refusing to write whatever the code above them asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from dpunetop import __version__
from dpunetop.base.clock import Clock
from dpunetop.base.stop import Stop
from dpunetop.kube.requests import Request, changes_nothing
from dpunetop.kube.watch import Quiet
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.client.kubeconfig import infra_connection
from dpunetop.runtime.client.pace import Pace
from dpunetop.runtime.client.streams import Wake
from dpunetop.runtime.client.transport import Pool, Response, Transport
from dpunetop.runtime.metrics import Metrics

Open = Callable[[str, str | None, str | None], Client]
"""From the cluster's name, the path of a kubeconfig and a context in it to a client."""


class NotARead(Exception):
    """A command has asked for a request that would change something: a bug of ours, and nothing was sent."""


class ClosedGate:
    """The `WriteGate` of a process that never writes."""

    def seconds_left(self) -> float:
        """See `WriteGate.seconds_left`. Raises: NotARead."""
        raise NotARead("a write of the operator's own")


class ReadingTransport(Transport):
    """A transport that sends nothing that could change something, see `changes_nothing`. Raises: NotARead."""

    def call(
        self,
        request: Request,
        timeout_seconds: float,
        pool: Pool = Pool.CALLS,
        connect_seconds: float | None = None,
    ) -> Response:
        """See `Transport.call`."""
        _check(request)
        return super().call(request, timeout_seconds, pool, connect_seconds)

    @contextmanager
    def stream(
        self, request: Request, pace: Pace | None = None, wake: Wake | None = None
    ) -> Iterator[Iterator[bytes | Quiet]]:
        """See `Transport.stream`."""
        _check(request)
        with super().stream(request, pace, wake) as lines:
            yield lines


@contextmanager
def opened(clock: Clock) -> Iterator[Open]:
    """What makes clients that only read; their connections are closed on the way out."""
    stop = Stop(clock)

    def make(name: str, kubeconfig: str | None, context: str | None) -> Client:
        """Raises: ConfigurationError."""
        connection = infra_connection(kubeconfig, context=context)
        metrics = Metrics().client(urlsplit(connection.url).netloc)
        agent = f"dpunetop-cli/{__version__}"
        transport = ReadingTransport(connection, stop, user_agent=agent, metrics=metrics, clock=clock)
        return Client(transport, clock=clock, metrics=metrics, name=name)

    try:
        yield make
    finally:
        stop.set()


def _check(request: Request) -> None:
    if not changes_nothing(request):
        raise NotARead(f"{request.method} {request.target}")
