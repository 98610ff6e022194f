"""A way from a network namespace to an API server outside of it."""

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


class Door:
    """Takes connections to a loopback port of a network namespace on to the same port of this one's loopback: a
    kubeconfig is good on both sides.

    Guarantees: bytes pass as they come, and the end of one side ends the other; after `close` no thread is left.
    Threads: any; one thread of its own does the work.
    Raises: OSError where the namespace cannot be entered, or the port is taken in it.
    """

    def __init__(self, namespace: Path, port: int) -> None:
        """`namespace` is a file that stands for it, such as `/proc/<pid>/ns/net`."""
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
        """Take no more connections and end those that pass; may be called again."""
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
                return  # like a port that nobody listens on: the client tries again
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
    """A socket that listens in another namespace; it stays there, whoever holds it."""
    made: list[socket.socket] = []
    failures: list[OSError] = []

    def listen() -> None:
        # A thread has the namespace to itself; this one ends at once, and nothing else ever enters.
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
