"""The clients of commands: they use the caller's credentials and refuse every write."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from dpunetop import __version__
from dpunetop.app.commands.serverclock import ServerClock
from dpunetop.base.clock import Clock
from dpunetop.base.sensitive import Sensitive
from dpunetop.base.stop import Stop
from dpunetop.domain.tenant.credentialend import End, end_of_certificate, end_of_token, why_refused
from dpunetop.kube.errors import Unauthorized, Unreachable
from dpunetop.kube.keys import INFRA
from dpunetop.kube.requests import Request, changes_nothing
from dpunetop.kube.watch import Quiet
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.client.connection import (
    Anonymous,
    ClientCertificate,
    Connection,
    Credential,
    StaticToken,
    TokenFile,
    TokenSource,
)
from dpunetop.runtime.client.kubeconfig import infra_connection
from dpunetop.runtime.client.streamdeadline import StreamDeadline
from dpunetop.runtime.client.streams import Wake
from dpunetop.runtime.client.transport import CallOptions, Response, Transport
from dpunetop.runtime.metrics import ClientMetrics, Metrics

MOST_SECONDS = 15.0
"""Of one call: a person waits for it."""
_ANSWERED = ("TooLarge", "BadAnswer", "Stopped")
"""Reasons of what did not fail because a server was silent."""

Open = Callable[[str, str | None, str | None], Client]
"""Makes a client from the cluster's name, the path of a kubeconfig and a context in it."""


class WriteAttempted(Exception):
    """A command tried to write, which is a bug; nothing was sent."""


class ClosedGate:
    """The `WriteGate` of a process that never writes."""

    def seconds_left(self) -> float:
        """See `WriteGate.seconds_left`. Raises: WriteAttempted."""
        raise WriteAttempted("a write of the operator's own")


@dataclass(frozen=True, slots=True)
class GivenCredential:
    """The credential that a person gave for one cluster, or that was found for it."""

    whose: str
    """Where it stands: `kubeconfig PATH`."""
    credential: Credential

    def refused(self, now: datetime) -> str:
        """Why a server does not accept it, as far as it says itself. `now` is the server's time."""
        what, end = _end_of(self.credential)
        why = why_refused(what, end, now) if what else "it holds neither a token nor a client certificate"
        return f"the server does not accept {self.whose}: {why}"


def _end_of(credential: Credential) -> tuple[str, End | None]:
    """The credential as a person names it, empty: there is none; and until when it is good, None: it does not say."""
    match credential:
        case Anonymous():
            return "", None
        case ClientCertificate(cert_pem=pem):
            return "its client certificate", end_of_certificate(pem)
        case StaticToken(token=token):
            return "its token", end_of_token(Sensitive(token.reveal()))
        case TokenFile():
            return "its token", None
        case TokenSource(read=read):
            return "its token", _end_of_source(read)


def _end_of_source(read: Callable[[], str]) -> End | None:
    try:
        return end_of_token(Sensitive(read()))
    except OSError:
        return None


class ReadingTransport(Transport):
    """A transport that sends nothing that could change something, see `changes_nothing`. Raises: WriteAttempted.

    Guarantees: a call takes `MOST_SECONDS` at most. A server that has never answered, or that was silent twice in a
        row, is not asked again: a look at it ends, whatever there is to be asked. What keeps it from being asked says
        whose kubeconfig it is, and of one that is not accepted until when it was good.
    """

    def __init__(
        self, connection: Connection, stop: Stop, *, user_agent: str, metrics: ClientMetrics, clock: Clock, whose: str
    ) -> None:
        super().__init__(connection, stop, user_agent=user_agent, metrics=metrics, clock=clock)
        self._given, self._time = GivenCredential(whose, connection.credential), clock
        self._silences = 0  # in a row; replaced whole, by any thread
        self._away: Unreachable | None = None

    def call(self, request: Request, options: CallOptions) -> Response:
        """See `Transport.call`. Raises: Unauthorized for a 401, in words of our own."""
        _check(request)
        if self._away is not None:
            raise Unreachable(0, self._away.reason, self._away.message)
        try:
            seconds = min(options.timeout_seconds, MOST_SECONDS)
            response = super().call(request, replace(options, timeout_seconds=seconds))
        except Unreachable as err:
            raise self._silent(err) from err
        self._silences = 0
        if response.status == 401:
            now = self._time.now() + (self.server_ahead or timedelta())
            raise Unauthorized(401, "Unauthorized", self._given.refused(now))
        return response

    @contextmanager
    def stream(
        self, request: Request, deadline: StreamDeadline | None = None, wake: Wake | None = None
    ) -> Iterator[Iterator[bytes | Quiet]]:
        """See `Transport.stream`."""
        _check(request)
        with super().stream(request, deadline, wake) as lines:
            yield lines

    def _silent(self, err: Unreachable) -> Unreachable:
        if err.reason in _ANSWERED:
            return err
        told = Unreachable(0, err.reason, f"{err.message} ({self._given.whose})")
        self._silences += 1
        if self._silences > 1 or self.heard_at == -math.inf:
            self._away = told
        return told


@contextmanager
def opened(clock: ServerClock) -> Iterator[Open]:
    """A factory of read-only clients; their connections are closed on exit. `clock` follows the server of infra."""
    stop, own = Stop(clock.own), clock.own

    def make(name: str, kubeconfig: str | None, context: str | None) -> Client:
        """Raises: ConfigurationError."""
        connection = infra_connection(kubeconfig, context=context)
        metrics = Metrics().client(urlsplit(connection.url).netloc)
        agent = f"dpunetop-cli/{__version__}"
        whose = f"kubeconfig {kubeconfig}" if kubeconfig else "the credential that kubectl finds"
        transport = ReadingTransport(connection, stop, user_agent=agent, metrics=metrics, clock=own, whose=whose)
        if name == INFRA:
            clock.follow(lambda: transport.server_ahead)
        return Client(transport, clock=own, metrics=metrics, name=name)

    try:
        yield make
    finally:
        stop.set()


def _check(request: Request) -> None:
    if not changes_nothing(request):
        raise WriteAttempted(f"{request.method} {request.target}")
