"""Sockets with deadlines: registered with their transport, plain or TLS as the connection's settings say."""

from __future__ import annotations

import ipaddress
import math
import os
import socket
import ssl
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, cast

from dpunetop.base.clock import Clock
from dpunetop.base.quoting import printable
from dpunetop.kube.validity import Validity
from dpunetop.runtime.client.connection import ClientCertificate, ConfigurationError, Connection


def unheard(_: str) -> None:
    """Ignore the address: nothing observes this connection."""


class Sockets:
    """All open sockets of one transport, so that any thread can shut them down, and the clock of their deadlines.

    Threads: any.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._guard = threading.Lock()  # guards _open and generation
        self._open: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self.generation = 0  # counts the calls of shut_down
        self.on_verified: Callable[[str], None] = unheard
        self.anchor_pem = b""  # replaced by any thread after a handshake, as is the next one
        self.serving: Validity | None = None

    def __len__(self) -> int:
        with self._guard:
            return sum(sock.fileno() >= 0 for sock in self._open)

    def add(self, sock: socket.socket) -> None:
        """Register a socket for `shut_down`."""
        with self._guard:
            self._open.add(sock)

    def shut_down(self) -> None:
        """Shut all sockets down, also those that a thread waits on; their owners close them."""
        with self._guard:
            self.generation += 1
            doomed = list(self._open)
        for sock in doomed:
            with suppress(OSError):  # closed already
                # Not SSLSocket.shutdown: that drops the TLS state while another thread reads.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _limit(sock: PlainSocket | TlsSocket, clock: Clock) -> None:
    left = sock.deadline - clock.monotonic()
    if left <= 0:
        raise TimeoutError("the time for this is over")
    sock.settimeout(None if math.isinf(left) else left)


class PlainSocket(socket.socket):
    """A TCP socket with a deadline instead of a timeout per operation, so that dripping bytes do not extend it."""

    deadline: float = math.inf
    clock: Clock

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0, /) -> int:
        _limit(self, self.clock)
        return super().recv_into(buffer, nbytes, flags)

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        _limit(self, self.clock)
        super().sendall(data, flags)


class TlsContext(ssl.SSLContext):
    """The TLS context of one transport."""

    sockets: Sockets


class TlsSocket(ssl.SSLSocket):
    """As `PlainSocket`, with TLS; registered with `Sockets` before its handshake."""

    deadline: float = math.inf
    context: TlsContext
    serving: Validity | None = None
    """That of the certificate that the handshake verified."""

    def do_handshake(self, block: bool = False) -> None:
        self.context.sockets.add(self)
        super().do_handshake(block)
        self.context.sockets.anchor_pem = _anchor(self)
        self.context.sockets.serving = self.serving = _validity(self)
        self.context.sockets.on_verified(unmapped(self.getpeername()[0]))

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        try:
            return super().recv(buflen, flags)
        except OSError:
            # Only the constructor calls this, on a connection cut before its handshake; it forgets to close.
            self.close()
            raise

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        _limit(self, self.context.sockets.clock)
        return super().recv_into(buffer, nbytes, flags)

    def send(self, data: Any, flags: int = 0) -> int:
        _limit(self, self.context.sockets.clock)
        return super().send(data, flags)


def _anchor(sock: ssl.SSLSocket) -> bytes:
    """The anchor of the chain that the handshake verified: one of the given CA certificates."""
    if sys.version_info >= (3, 13):
        return ssl.DER_cert_to_PEM_cert(sock.get_verified_chain()[-1]).encode()
    # Public only from 3.13 on; there since 3.10.
    return bytes(cast(Any, sock)._sslobj.get_verified_chain()[-1].public_bytes().encode())


def _validity(sock: ssl.SSLSocket) -> Validity | None:
    """None: OpenSSL accepted times that Python cannot show."""
    certificate = sock.getpeercert() or {}
    try:
        return Validity(_moment(certificate["notBefore"]), _moment(certificate["notAfter"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _moment(text: Any) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)


def unmapped(address: str) -> str:
    """The IPv4 address of an IPv4-mapped IPv6 address; any other unchanged."""
    ip = ipaddress.ip_address(address)
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return str(mapped or ip)


def tls_context(connection: Connection, sockets: Sockets) -> ssl.SSLContext:
    """The TLS context with the CA and the client certificate of `connection`. Raises: ConfigurationError."""
    context = TlsContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sockets = sockets
    sockets.on_verified = connection.on_verified or unheard
    context.sslsocket_class = TlsSocket
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # any certificate given as CA is an anchor, as for kubectl
    try:
        if connection.ca_pem is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(cadata=connection.ca_pem)
        if isinstance(connection.credential, ClientCertificate):
            _load_certificate(context, connection.credential)
    except (ssl.SSLError, ValueError) as err:
        raise ConfigurationError(f"unusable CA or client certificate: {printable(str(err), 100)}") from err
    return context


def _load_certificate(context: ssl.SSLContext, credential: ClientCertificate) -> None:
    """Load the key through an anonymous memory file: OpenSSL takes only files, and the key must not reach a disk."""
    descriptor = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(f"{credential.cert_pem}\n{credential.key_pem.reveal()}\n".encode())
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
