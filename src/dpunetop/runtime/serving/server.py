"""The servers of the process: metrics for authorized scrapers, health for the kubelet."""

from __future__ import annotations

import math
import os
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import structlog
from structlog.typing import FilteringBoundLogger

from dpunetop.base.clock import Clock
from dpunetop.base.stop import Stop
from dpunetop.runtime.client.connection import ConfigurationError
from dpunetop.runtime.http1 import Answer, Request
from dpunetop.runtime.metrics import CertificateMetrics, Metrics
from dpunetop.runtime.serving.listener import Listener, Respond
from dpunetop.runtime.serving.reviews import Reviewer, Verdict

LOOPBACK = "127.0.0.1"
CERT_FILE = "tls.crt"
KEY_FILE = "tls.key"
CERTIFICATE_RETRY_SECONDS = 10.0
"""Unusable certificate files are read again after this time, even if unchanged."""

_METHODS = ("GET", "HEAD")
_SELF_SIGNED_FOR = timedelta(days=3650)

Check = Callable[[], str]
"""Returns why a check fails; empty if it passes."""


class HealthServer:
    """`/healthz` and `/readyz` over plain HTTP: 200, or 503 with the reason.

    Threads: `healthy` and `ready` are called from any thread; call `run` once.
    Raises: ConfigurationError when the address cannot be listened on.
    """

    def __init__(self, address: tuple[str, int], *, healthy: Check, ready: Check, clock: Clock) -> None:
        pages = {"/healthz": _checked(healthy), "/readyz": _checked(ready)}
        self._listener = Listener("health", address, _among(pages), _plain, clock)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self._listener.address

    def run(self, stop: Stop) -> None:
        """Serve until `stop` is set and all connections are closed."""
        self._listener.run(stop)


@dataclass(frozen=True, slots=True)
class Plain:
    """Plain HTTP without authentication, so on loopback only."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """HTTPS with a bearer token whose user may `get` the path."""

    reviewer: Reviewer
    certificate: Certificate


class MetricsServer:
    """`/metrics`.

    Guarantees: 401 without a valid token, 403 without the permission, 500 if the API server does not answer; a refused
        request gets only the status. An address without a host means all addresses if guarded, else loopback.
    Threads: call `run` once.
    Raises: ConfigurationError when the address cannot be listened on, or is not on loopback though unguarded.
    """

    def __init__(self, address: tuple[str, int], metrics: Metrics, door: Plain | Guarded, *, clock: Clock) -> None:
        def exposition(_: Request, __: Stop) -> Answer:
            return Answer(200, *metrics.exposition())

        match door:
            case Plain():
                pages = _among({"/metrics": exposition})
                self._listener = Listener("metrics", _on_loopback(address), pages, _plain, clock)
            case Guarded(reviewer, certificate):
                pages = _among({"/metrics": _guarded(exposition, reviewer)})
                self._listener = Listener("metrics", address, pages, certificate.wrap, clock)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self._listener.address

    def run(self, stop: Stop) -> None:
        """Serve until `stop` is set and all connections are closed."""
        self._listener.run(stop)


@dataclass(frozen=True, slots=True)
class _Served:
    """The certificate in use; `chain` is the PEM that the context was made from."""

    context: ssl.SSLContext
    chain: str


class Certificate:
    """The serving certificate: `tls.crt` and `tls.key` of a folder, read again when they change; self-signed while they
    are absent.

    Guarantees: unusable files leave the previous certificate in place, and are read again when they change or after
        CERTIFICATE_RETRY_SECONDS, since the cause may lie outside of them.
    Threads: any.
    """

    def __init__(self, folder: str | None, metrics: CertificateMetrics, clock: Clock) -> None:
        self._folder = None if folder is None else Path(folder)
        self._metrics = metrics
        self._clock = clock
        self._log: FilteringBoundLogger = structlog.get_logger().bind()
        # Guards the three below: the certificate in use; the state of the files at the last read; the next read.
        self._guard = threading.Lock()
        self._served: _Served | None = None
        self._state: tuple[Any, ...] | None = None
        self._again = math.inf

    def wrap(self, connection: socket.socket) -> socket.socket:
        """Wrap the connection in TLS; the handshake comes with the first read or write."""
        return self.context().wrap_socket(connection, server_side=True, do_handshake_on_connect=False)

    def context(self) -> ssl.SSLContext:
        """The context of the current files, or of the last usable ones."""
        return self._current().context

    def chain(self) -> str:
        """The serving certificate and its chain, as PEM."""
        return self._current().chain

    def _current(self) -> _Served:
        state, now = self._state_of_files(), self._clock.monotonic()
        with self._guard:
            known = self._served
            if known is not None and (state is None or (state == self._state and now < self._again)):
                return known
        read = self._read() if state is not None else None
        served = read or known or _self_signed(self._clock)
        with self._guard:
            self._served, self._state = served, state
            self._again = math.inf if read else now + CERTIFICATE_RETRY_SECONDS
        return served

    def _state_of_files(self) -> tuple[Any, ...] | None:
        if self._folder is None:
            return None
        with suppress(OSError):
            found = [(self._folder / name).stat() for name in (CERT_FILE, KEY_FILE)]
            return tuple((file.st_ino, file.st_mtime_ns, file.st_size) for file in found)
        return None

    def _read(self) -> _Served | None:
        assert self._folder is not None
        self._metrics.read()
        context = _tls()
        try:
            chain = (self._folder / CERT_FILE).read_text("ascii", "replace")
            context.load_cert_chain(self._folder / CERT_FILE, self._folder / KEY_FILE, password=_no_password)
        except (OSError, ValueError) as err:  # an SSLError is an OSError
            self._metrics.failed()
            self._log.warning("serving certificate not usable", folder=str(self._folder), error=str(err))
            return None
        self._log.info("serving certificate read", folder=str(self._folder))
        return _Served(context, chain)


def _among(pages: Mapping[str, Respond]) -> Respond:
    """Serve the page at the path, for GET and HEAD only."""

    def respond(request: Request, stop: Stop) -> Answer:
        if request.method not in _METHODS:
            return Answer(405, b"405 only GET\n", headers=(("Allow", ", ".join(_METHODS)),))
        page = pages.get(request.path)
        return Answer(404, b"404 not found\n") if page is None else page(request, stop)

    return respond


def _checked(check: Check) -> Respond:
    def page(_: Request, __: Stop) -> Answer:
        reason = check()
        return Answer(503, f"{reason}\n".encode()) if reason else Answer(200, b"ok\n")

    return page


def _guarded(page: Respond, reviewer: Reviewer) -> Respond:
    def guarded(request: Request, stop: Stop) -> Answer:
        # HEAD needs the permission to GET.
        verdict = reviewer.judge(_bearer_token(request), request.path, "get", stop, peer=request.peer)
        if verdict is Verdict.ALLOWED:
            return page(request, stop)
        return Answer(
            verdict.value, f"{verdict.value} {_REFUSALS[verdict]}\n".encode(), headers=_HINTS.get(verdict, ())
        )

    return guarded


def _bearer_token(request: Request) -> str:
    scheme, _, token = request.authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


_REFUSALS = {
    Verdict.UNKNOWN_CALLER: "a bearer token is needed",
    Verdict.DENIED: "forbidden",
    Verdict.CROWDED: "too many unknown tokens at once",
    Verdict.UNDECIDED: "cannot review the token now",
}
_HINTS = {
    Verdict.UNKNOWN_CALLER: (("WWW-Authenticate", "Bearer"),),
    Verdict.CROWDED: (("Retry-After", "5"),),
}


def _plain(connection: socket.socket) -> socket.socket:
    return connection


def _on_loopback(address: tuple[str, int]) -> tuple[str, int]:
    host, port = address
    try:
        if not host or host == "localhost" or ip_address(host).is_loopback:
            return host or LOOPBACK, port
    except ValueError:
        pass
    raise ConfigurationError(f"metrics without authentication are for loopback only, not for {host}:{port}")


def _tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION  # a caller could repeat the handshake without end
    return context


def _no_password() -> str:
    # Without a callback OpenSSL would prompt on the terminal for the password of an encrypted key.
    raise ValueError("the key is encrypted")


def _self_signed(clock: Clock) -> _Served:
    private, public = _self_signed_pem(clock)
    context = _tls()
    # OpenSSL loads only from files; this one lives in memory and has no name that another process could open.
    with open(os.memfd_create("serving-certificate"), "wb") as file:
        file.write(private + public)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
    return _Served(context, public.decode())


def _self_signed_pem(clock: Clock) -> tuple[bytes, bytes]:
    """A new key and a self-signed certificate."""
    from cryptography import x509  # imported here, since it takes megabytes that most runs never need
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "dpunetop")])
    now = clock.now()
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _SELF_SIGNED_FOR)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, certificate.public_bytes(serialization.Encoding.PEM)
