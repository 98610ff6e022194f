"""A proxy that only knows CONNECT, for one tunnel after the other."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress


class ConnectProxy:
    """Listens on loopback and tunnels; says what it was asked: method, target, `Proxy-Authorization`."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.asked: list[tuple[str, str, str]] = []
        self._open: list[socket.socket] = []  # appended to by the accepting thread, closed at the end
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> ConnectProxy:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        for sock in (self._listener, *self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(60)
        for sock in (self._listener, *self._open):
            sock.close()

    def _start(self, target: Callable[..., None], *args: socket.socket) -> None:
        thread = threading.Thread(target=target, args=args, name="connect-proxy")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._destination(near))
                self._open += [near, far]
                near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                self._start(_pump, near, far)
                self._start(_pump, far, near)

    def _destination(self, near: socket.socket) -> tuple[str, int]:
        text = b""
        while not text.endswith(b"\r\n\r\n"):
            text += near.recv(1)
        first, *headers = text.decode().split("\r\n")
        method, target, _ = first.split(" ")
        given = dict(line.split(": ", 1) for line in headers if line)
        self.asked.append((method, target, {k.lower(): v for k, v in given.items()}.get("proxy-authorization", "")))
        host, _, port = target.rpartition(":")
        return host, int(port)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
