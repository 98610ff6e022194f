"""What lies between a client and a server at the level of TCP: it forgets connections, and says so or not."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import Self

_TICK_SECONDS = 0.05


class Cut(Enum):
    """How both sides learn that their connection is forgotten."""

    FIN = "FIN"
    RST = "RST"


class TcpProxy:
    """Passes bytes on, whatever they mean: a context manager.

    With `idle_seconds` it cuts a connection over which nothing has gone for so long, as balancers do. `swallow` has it
    lose all that comes over the connections that there are, without a word; new ones work. After `turn_to` new ones go
    elsewhere, and those that there are stay.
    Threads: any.
    """

    def __init__(self, host: str, port: int, idle_seconds: float = float("inf"), how: Cut = Cut.RST) -> None:
        self._server = (host, port)  # replaced whole
        self._idle_seconds = idle_seconds
        self._how = how
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._guard = threading.Lock()  # guards all below
        self._links: list[_Link] = []
        self._threads: list[threading.Thread] = []
        self._is_over = False
        self.cuts = 0

    def __enter__(self) -> Self:
        self._start(self._accept)
        self._start(self._watch_idle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._guard:
            self._is_over = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        accepting, *others = self._threads
        accepting.join(60)  # so that no link comes after these
        for link in list(self._links):
            link.end(Cut.FIN)
        for thread in (*others, *self._threads):
            thread.join(60)

    def swallow(self) -> int:
        """Lose what the connections bring that there are now; how many there are."""
        with self._guard:
            alive = [link for link in self._links if not link.is_over]
        for link in alive:
            link.is_silent = True
        return len(alive)

    def turn_to(self, host: str, port: int) -> None:
        """Have connections go there from now on, as a balancer whose own probes have failed."""
        self._server = (host, port)

    def _start(self, target: Callable[..., None], *args: socket.socket) -> None:
        thread = threading.Thread(target=target, args=args, name="tcp-proxy")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    link = _Link(near, socket.create_connection(self._server))
                except OSError:  # of this one; the next is accepted
                    near.close()
                    continue
                with self._guard:
                    self._links.append(link)
                self._start(link.pump, link.near, link.far)
                self._start(link.pump, link.far, link.near)

    def _watch_idle(self) -> None:
        while not self._is_over:
            time.sleep(_TICK_SECONDS)
            with self._guard:
                idle = [link for link in self._links if link.is_idle(self._idle_seconds)]
            for link in idle:
                link.end(self._how)
                self.cuts += 1


class _Link:
    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.near, self.far = near, far
        self.is_silent = self.is_over = False
        self._used = time.monotonic()

    def is_idle(self, seconds: float) -> bool:
        return not self.is_over and time.monotonic() - self._used > seconds

    def end(self, how: Cut) -> None:
        self.is_over = True
        for sock in (self.near, self.far):
            with suppress(OSError):  # gone already
                if how is Cut.RST:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # A blocked recv keeps the connection open until it is woken; for a RST that must send nothing.
                sock.shutdown(socket.SHUT_RD if how is Cut.RST else socket.SHUT_RDWR)
            sock.close()

    def pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._used = time.monotonic()
                if not self.is_silent:
                    sink.sendall(data)
        if not self.is_silent and not self.is_over:
            self.end(Cut.FIN)
