"""An HTTPS server that answers as badly as a test wants: it speaks bytes, not HTTP."""

from __future__ import annotations

import functools
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn

import trustme


def authority(name: str = "test") -> trustme.CA:
    """The certificate authority of that name: the same one each time."""
    return _authority(name)


@functools.cache
def _authority(name: str) -> trustme.CA:
    return trustme.CA(organization_name=name)


def ca_pem(name: str = "test") -> str:
    return authority(name).cert_pem.bytes().decode()


@dataclass(frozen=True)
class Asked:
    """One request as it arrived; header names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """One connection from the server's side."""

    def __init__(self, sock: ssl.SSLSocket, over: threading.Event) -> None:
        self._sock = sock
        self._over = over

    def send(self, data: bytes) -> None:
        """Send these very bytes."""
        self._sock.sendall(data)

    def answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send a whole, honest answer, but for the headers given."""
        given = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
        self.send(head(status, given) + body)

    def json(self, status: int, document: Any, headers: Mapping[str, str] | None = None) -> None:
        self.answer(status, json.dumps(document).encode(), headers)

    def begin_stream(self) -> None:
        self.send(head(200, {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}))

    def chunk(self, data: bytes) -> None:
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def event(self, kind: str, obj: Mapping[str, Any]) -> None:
        self.chunk(json.dumps({"type": kind, "object": obj}).encode() + b"\n")

    def end_stream(self) -> None:
        self.send(b"0\r\n\r\n")

    def drip(self, data: bytes, pause_seconds: float) -> None:
        """Send one byte at a time until the other side has gone or the server closes."""
        for value in data:
            if self._over.wait(pause_seconds):
                return
            self.send(bytes([value]))

    def silence(self) -> None:
        """Keep the connection and say nothing until the server closes."""
        self._over.wait(30)

    def pause(self, seconds: float) -> bool:
        """Wait a little; whether there is still anything to go on for."""
        return not self._over.wait(seconds)

    def reset(self) -> NoReturn:
        """End the connection with a RST instead of a FIN, and the thread that serves it."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.close(self._sock.detach())  # not close(): that waits for who still reads
        raise ConnectionResetError  # whoever read on would read from whatever gets this descriptor next


Answer = Callable[[Wire, Asked], None]


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """A status line and headers, with the empty line behind them."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Lies\r\n{lines}\r\n".encode()


@dataclass
class LyingServer:
    """Listens on loopback and answers each request with `answer`, which a test may change at any time."""

    answer: Answer
    certified_by: str = "test"
    names: tuple[str, ...] = ("127.0.0.1", "localhost")
    address: str = "127.0.0.1"
    asks_client_certificate: bool = False
    asked: list[Asked] = field(default_factory=list)  # appended to by connection threads, read by the test
    peers: list[Mapping[str, Any] | None] = field(default_factory=list)  # one a connection: the client's certificate

    def __post_init__(self) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.certify(self.certified_by)
        if self.asks_client_certificate:
            self._context.verify_mode = ssl.CERT_REQUIRED
            authority(self.certified_by).configure_trust(self._context)
        self._over = threading.Event()
        self._guard = threading.Lock()  # guards _threads and _open
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        self._listener = socket.create_server((self.address, 0), family=family)
        self.port: int = self._listener.getsockname()[1]

    def certify(self, by: str, until: datetime | None = None) -> None:
        """Show a certificate of that authority, good until then, to those who connect from now on."""
        self.certified_by = by
        authority(by).issue_cert(*self.names, not_after=until).configure_cert(self._context)

    @property
    def url(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"https://{host}:{self.port}"

    def __enter__(self) -> LyingServer:
        self._start(self._accept, "accept")
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_all()
        for thread in list(self._threads):
            thread.join(60)

    def cut_all(self) -> None:
        """Cut all connections there are; new ones are welcome."""
        with self._guard:
            doomed, self._open = self._open, []
        for sock in doomed:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _start(self, target: Callable[..., None], name: str, *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, name=f"lying-server-{name}")
        with self._guard:
            self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, "connection", sock)

    def _serve(self, plain: socket.socket) -> None:
        plain.settimeout(30)
        with (
            suppress(OSError),
            plain,
            self._context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False) as sock,
            self._known(sock),
            sock.makefile("rb") as stream,
        ):
            sock.do_handshake()
            self.peers.append(sock.getpeercert())
            wire = Wire(sock, self._over)
            for asked in _requests(stream):
                self.asked.append(asked)
                self.answer(wire, asked)

    @contextmanager
    def _known(self, sock: ssl.SSLSocket) -> Iterator[None]:
        """Cut at the end, or here if that is over."""
        with self._guard:
            self._open.append(sock)
        try:
            if self._over.is_set():
                raise ConnectionAbortedError
            yield
        finally:
            with self._guard:
                if sock in self._open:
                    self._open.remove(sock)


def _requests(stream: Any) -> Iterator[Asked]:
    while line := stream.readline():
        method, target, _ = line.decode().split(" ", 2)
        headers = dict(_headers(stream))
        yield Asked(method, target, headers, stream.read(int(headers.get("content-length", "0"))))


def _headers(stream: Any) -> Iterator[tuple[str, str]]:
    while line := stream.readline().strip():
        name, _, value = line.decode().partition(":")
        yield name.strip().lower(), value.strip()
