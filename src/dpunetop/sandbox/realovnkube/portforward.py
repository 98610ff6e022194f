"""Forwards a port of a network namespace to an API server outside of it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

_LOOPBACK = "127.0.0.1"
_CHUNK = 65536
_CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


class PortForward:
    """Forwards connections from a loopback port of a network namespace to the same port here, so that one kubeconfig
    works on both sides.

    Guarantees: bytes pass unchanged, and the end of one side ends the other; after `close` no thread is left.
    Threads: any; one thread of its own forwards.
    Raises: OSError, if the namespace cannot be entered or the port is in use in it.
    """

    def __init__(self, namespace: Path, port: int) -> None:
        """`namespace` is the file of the namespace, such as `/proc/<pid>/ns/net`."""
        self._port = port
        listener = _listener(namespace, port)
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(listener),))
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Accept no more connections and end the current ones; may be called again."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join()
            self._loop.close()

    async def _serve(self, listener: socket.socket) -> None:
        passing: set[asyncio.Task[None]] = set()

        def took(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._connect(reader, writer))
            passing.add(task)
            task.add_done_callback(passing.discard)

        server = await asyncio.start_server(took, sock=listener)
        await self._closing.wait()
        server.close()
        for task in passing:
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass both directions until one of them ends."""
        with contextlib.ExitStack() as opened:
            opened.callback(writer.transport.abort)
            try:
                upstream, downstream = await asyncio.open_connection(_LOOPBACK, self._port)
            except OSError:
                return  # as a port without a listener does: the client retries
            opened.callback(downstream.transport.abort)
            ways = [asyncio.ensure_future(_pass(reader, downstream)), asyncio.ensure_future(_pass(upstream, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()


def _listener(namespace: Path, port: int) -> socket.socket:
    """A listening socket in another network namespace; it stays in that namespace whichever process uses it."""
    made: list[socket.socket] = []
    failures: list[OSError] = []

    def listen() -> None:
        # setns changes the namespace of this thread only, and the thread ends at once.
        try:
            _enter(namespace)
            made.append(socket.create_server((_LOOPBACK, port)))
        except OSError as err:
            failures.append(err)

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return made[0]


def _enter(namespace: Path) -> None:
    handle = os.open(namespace, os.O_RDONLY)
    try:
        if _libc.setns(handle, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(namespace))
    finally:
        os.close(handle)
