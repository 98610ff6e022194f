"""What the process serves: metrics to those who may read them, and health to the kubelet.

The TLS handshake, like all that a caller can draw out, happens in the connection's own thread and under a deadline, so
nobody holds up anybody else.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import structlog
from structlog.typing import FilteringBoundLogger

from dpunetop.base.clock import Clock
from dpunetop.base.stop import Stop
from dpunetop.runtime.client.connection import ConfigurationError
from dpunetop.runtime.metrics import CertificateMetrics, Metrics
from dpunetop.runtime.reviews import Reviewer, Verdict

IDLE_SECONDS = 5.0
"""How long one read or write on a connection may take, the handshake's included."""
CONNECTION_SECONDS = 30.0
"""How long a connection may last, whatever its caller does."""
MAX_CONNECTIONS = 64
"""So many at once; one more is closed unheard."""
TEXT = "text/plain; charset=utf-8"
LOOPBACK = "127.0.0.1"
CERT_FILE = "tls.crt"
KEY_FILE = "tls.key"

_BACKLOG = 32
_SWEEP_SECONDS = 1.0
_PAUSE_SECONDS = 0.1
_DRAINED_BYTES = 64 << 10
_SELF_SIGNED_FOR = timedelta(days=3650)

Check = Callable[[], str]
"""Why something is not as it should be; empty if it is."""


@dataclass(frozen=True, slots=True)
class _Visit:
    """One GET, as far as a page looks at it."""

    path: str
    authorization: str
    stop: Stop


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    content_type: str = TEXT
    challenge: str = ""


_Page = Callable[[_Visit], _Answer]
_Secure = Callable[[socket.socket], socket.socket]


class HealthServer:
    """`/healthz` and `/readyz` over plain HTTP: 200, or 503 with the reason.

    Threads: `healthy` and `ready` are called from any thread; call `run` once.
    Raises: ConfigurationError when the address cannot be listened on.
    """

    def __init__(self, address: tuple[str, int], *, healthy: Check, ready: Check, clock: Clock) -> None:
        pages = {"/healthz": _checked(healthy), "/readyz": _checked(ready)}
        self._listener = _Listener("health", address, pages, _plain, clock)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self._listener.address

    def run(self, stop: Stop) -> None:
        """Serve until `stop` is set and all connections are closed."""
        self._listener.run(stop)


@dataclass(frozen=True, slots=True)
class Plain:
    """Whoever can connect may read, so only from this machine."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """HTTPS, and only for bearers of a token that may `get` the path."""

    reviewer: Reviewer
    certificate: Certificate


class MetricsServer:
    """`/metrics`.

    Guarantees: 401 without a token that the API server knows, 403 without the right, 500 if neither can be found out;
        nothing of a refused request but its status is told. An address without a host means all addresses if guarded,
        else loopback.
    Threads: call `run` once.
    Raises: ConfigurationError when the address cannot be listened on, or is not on loopback though unguarded.
    """

    def __init__(self, address: tuple[str, int], metrics: Metrics, door: Plain | Guarded, *, clock: Clock) -> None:
        def exposition(_: _Visit) -> _Answer:
            return _Answer(200, *metrics.exposition())

        match door:
            case Plain():
                address = _on_loopback(address)
                self._listener = _Listener("metrics", address, {"/metrics": exposition}, _plain, clock)
            case Guarded(reviewer, certificate):
                pages = {"/metrics": _guarded(exposition, reviewer)}
                self._listener = _Listener("metrics", address, pages, certificate.wrap, clock)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self._listener.address

    def run(self, stop: Stop) -> None:
        """Serve until `stop` is set and all connections are closed."""
        self._listener.run(stop)


class Certificate:
    """The serving certificate: `tls.crt` and `tls.key` of a folder, read again when they change; self-signed while they
    are absent.

    Guarantees: files that cannot be used leave the certificate before in place.
    Threads: any.
    """

    def __init__(self, folder: str | None, metrics: CertificateMetrics, clock: Clock) -> None:
        self._folder = None if folder is None else Path(folder)
        self._metrics = metrics
        self._clock = clock
        self._log: FilteringBoundLogger = structlog.get_logger().bind()
        self._guard = threading.Lock()  # guards both below: a context, and the state of the files it was read from
        self._context: ssl.SSLContext | None = None
        self._state: tuple[Any, ...] | None = None

    def wrap(self, connection: socket.socket) -> socket.socket:
        """The connection with TLS over it; the handshake comes with the first read or write."""
        return self.context().wrap_socket(connection, server_side=True, do_handshake_on_connect=False)

    def context(self) -> ssl.SSLContext:
        """What the files hold now, or held when they were last of use."""
        state = self._state_of_files()
        with self._guard:
            if self._context is not None and state in (self._state, None):
                return self._context
            known = self._context
        context = self._read() if state is not None else None
        context = context or known or _self_signed(self._clock)
        with self._guard:
            self._context, self._state = context, state
        return context

    def _state_of_files(self) -> tuple[Any, ...] | None:
        if self._folder is None:
            return None
        with suppress(OSError):
            found = [(self._folder / name).stat() for name in (CERT_FILE, KEY_FILE)]
            return tuple((file.st_ino, file.st_mtime_ns, file.st_size) for file in found)
        return None

    def _read(self) -> ssl.SSLContext | None:
        assert self._folder is not None
        self._metrics.read()
        context = _tls()
        try:
            context.load_cert_chain(self._folder / CERT_FILE, self._folder / KEY_FILE, password=_no_password)
        except (OSError, ValueError) as err:  # an SSLError is an OSError
            self._metrics.failed()
            self._log.warning("serving certificate not usable", folder=str(self._folder), error=str(err))
            return None
        self._log.info("serving certificate read", folder=str(self._folder))
        return context


class _Listener:
    """Accepts connections, and gives each a thread that answers one request.

    Guarantees: at most MAX_CONNECTIONS at once, none longer than CONNECTION_SECONDS; when `run` returns, all are closed
        and all threads have ended.
    """

    def __init__(
        self, name: str, address: tuple[str, int], pages: Mapping[str, _Page], secure: _Secure, clock: Clock
    ) -> None:
        self._name = name
        self._pages = pages
        self._secure = secure
        self._clock = clock
        self._socket = _listen(address)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self._guard = threading.Lock()  # guards _open: sockets in use, and until when
        self._open: dict[socket.socket, float] = {}
        self._threads: list[threading.Thread] = []  # of the thread in run

    def run(self, stop: Stop) -> None:
        """Accept until `stop` is set."""
        forget = stop.on_set(lambda: _shut(self._socket))
        self._socket.settimeout(_SWEEP_SECONDS)
        with self._socket:
            while not stop.is_set():
                self._accept(stop)
                self._sweep(self._clock.monotonic())
        forget()
        self._sweep(float("inf"))
        for thread in self._threads:
            thread.join()

    def _accept(self, stop: Stop) -> None:
        try:
            connection, caller = self._socket.accept()
        except TimeoutError:
            return
        except OSError:  # stop, or no descriptor is left
            stop.wait(_PAUSE_SECONDS)
            return
        if len(self._threads) >= MAX_CONNECTIONS:
            connection.close()
            return
        connection.settimeout(IDLE_SECONDS)
        thread = threading.Thread(target=self._serve, args=(connection, caller, stop), name=f"{self._name}-connection")
        self._threads.append(thread)
        thread.start()

    def _serve(self, connection: socket.socket, caller: Any, stop: Stop) -> None:
        # Callers may do what they like: whatever is wrong with a connection ends it, and is nobody's concern.
        with suppress(OSError), connection, self._held(connection) as held:
            if not stop.is_set():
                _Handler(held, caller, self._pages, stop)

    @contextmanager
    def _held(self, connection: socket.socket) -> Iterator[socket.socket]:
        with self._secure(connection) as held:
            with self._guard:
                self._open[held] = self._clock.monotonic() + CONNECTION_SECONDS
            try:
                yield held
            finally:
                with self._guard:
                    del self._open[held]

    def _sweep(self, now: float) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        with self._guard:
            overdue = [held for held, until in self._open.items() if until <= now]
        for held in overdue:
            _shut(held)


class _Handler(BaseHTTPRequestHandler):
    """One request of one connection: GET of a page, and nothing else."""

    protocol_version = "HTTP/1.1"
    server_version = "dpunetop"
    sys_version = ""
    timeout = IDLE_SECONDS
    error_content_type = TEXT
    error_message_format = "%(code)d\n"  # the message would repeat what the caller sent
    default_request_version = "HTTP/1.1"  # so that garbage gets a status line too

    def __init__(self, connection: socket.socket, caller: Any, pages: Mapping[str, _Page], stop: Stop) -> None:
        self._pages = pages
        self._stop = stop
        # Serves the request. The base only stores its third argument, a BaseServer; there is none behind this handler.
        super().__init__(connection, caller, None)  # type: ignore[arg-type]

    def do_GET(self) -> None:  # named so for http.server
        """Answer with the page at the path."""
        path = self.path.partition("?")[0]
        page = self._pages.get(path)
        if page is None:
            self._send(_Answer(404, b"404 not found\n"))
            return
        self._send(page(_Visit(path, self.headers.get("Authorization", ""), self._stop)))

    def refuse_method(self) -> None:
        """Answer any other method; its body is read first, or closing would take the answer back."""
        length = self.headers.get("Content-Length", "")
        if length.isdecimal():
            self.rfile.read(min(int(length), _DRAINED_BYTES))
        self._send(_Answer(405, b"405 only GET\n"))

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = refuse_method

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: what callers send does not belong into logs."""

    def _send(self, answer: _Answer) -> None:
        self.close_connection = True
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Connection", "close")
        if answer.status == 405:
            self.send_header("Allow", "GET")
        if answer.challenge:
            self.send_header("WWW-Authenticate", answer.challenge)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)


def _checked(check: Check) -> _Page:
    def page(_: _Visit) -> _Answer:
        reason = check()
        return _Answer(503, f"{reason}\n".encode()) if reason else _Answer(200, b"ok\n")

    return page


def _guarded(page: _Page, reviewer: Reviewer) -> _Page:
    def guarded(visit: _Visit) -> _Answer:
        scheme, _, token = visit.authorization.partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else ""
        verdict = reviewer.judge(token, visit.path, "get", visit.stop)
        if verdict is Verdict.ALLOWED:
            return page(visit)
        challenge = "Bearer" if verdict is Verdict.UNKNOWN_CALLER else ""
        return _Answer(verdict.value, f"{verdict.value} {_REFUSALS[verdict]}\n".encode(), challenge=challenge)

    return guarded


_REFUSALS = {
    Verdict.UNKNOWN_CALLER: "a bearer token is needed",
    Verdict.DENIED: "forbidden",
    Verdict.UNDECIDED: "cannot review the token now",
}


def _plain(connection: socket.socket) -> socket.socket:
    return connection


def _listen(address: tuple[str, int]) -> socket.socket:
    host, port = address
    try:
        if not host and socket.has_dualstack_ipv6():
            return socket.create_server(("::", port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as err:
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {os.strerror(err.errno) if err.errno else err}"
        ) from err


def _on_loopback(address: tuple[str, int]) -> tuple[str, int]:
    host, port = address
    try:
        if not host or host == "localhost" or ip_address(host).is_loopback:
            return host or LOOPBACK, port
    except ValueError:
        pass
    raise ConfigurationError(f"metrics without authentication are for loopback only, not for {host}:{port}")


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        # As a plain socket also where TLS is on it: whoever is in a read then sees the end of the connection.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _no_password() -> str:
    # Without it OpenSSL would ask on the terminal for that of an encrypted key.
    raise ValueError("the key is encrypted")


def _self_signed(clock: Clock) -> ssl.SSLContext:
    pem = _self_signed_pem(clock)
    context = _tls()
    # The only way in is by a file name; this file lives in memory and has no name that anyone else could open.
    with open(os.memfd_create("serving-certificate"), "wb") as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
    return context


def _self_signed_pem(clock: Clock) -> bytes:
    from cryptography import x509  # only here: it costs megabytes that most runs never need
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
    return private + certificate.public_bytes(serialization.Encoding.PEM)
