"""The steps of one connection that a caller opened: coroutines that never block, and say what they wait for."""

from __future__ import annotations

import selectors
import socket
import ssl
from collections.abc import Callable, Generator
from enum import Enum
from functools import partial
from typing import TypeVar

from dpunetop.runtime.http1 import END_OF_HEAD, MAX_HEAD_BYTES, Refusal

MAX_HELLO_BYTES = 16 << 10
_DRAINED_BYTES = 64 << 10
_CHUNK_BYTES = 4 << 10
_MESSAGE_HEAD_BYTES = 4
_HELLO_START_BYTES = 5 + _MESSAGE_HEAD_BYTES

T = TypeVar("T")


class AwaitedEvent(Enum):
    """The event that a connection waits for."""

    READABLE = selectors.EVENT_READ
    WRITABLE = selectors.EVENT_WRITE
    RESPONSE = 0
    """A thread that computes the response; nothing from the caller."""


Coroutine = Generator[AwaitedEvent, None, T]
"""The steps of one connection as a generator that yields what it waits for."""


def _retried(act: Callable[[], T], otherwise: AwaitedEvent) -> Coroutine[T]:
    """The result of `act` once it no longer blocks; `otherwise` is the readiness it waits for without TLS."""
    while True:
        try:
            return act()
        except ssl.SSLWantReadError:
            readiness = AwaitedEvent.READABLE
        except ssl.SSLWantWriteError:
            readiness = AwaitedEvent.WRITABLE
        except BlockingIOError:
            readiness = otherwise
        yield readiness


def handshake(sock: socket.socket) -> Coroutine[None]:
    """The TLS handshake, if the port has TLS. Raises: OSError."""
    if isinstance(sock, ssl.SSLSocket):
        yield from _look_at_hello(sock)
        yield from _retried(sock.do_handshake, AwaitedEvent.READABLE)


def _look_at_hello(sock: socket.socket) -> Coroutine[None]:
    """Pass input to OpenSSL only if it begins as a ClientHello of ordinary length: OpenSSL allocates the announced
    length at once, up to 128 KiB.

    Raises: ConnectionError otherwise.
    Source: RFC 8446, sections 4 and 5.1: a record's type, version (2 bytes) and length (2); a message's type and length
        (3 bytes).
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, _HELLO_START_BYTES)  # fewer wake no thread
    look = partial(socket.socket.recv, sock, _HELLO_START_BYTES, socket.MSG_PEEK)
    start = yield from _retried(look, AwaitedEvent.READABLE)
    if len(start) < _HELLO_START_BYTES:
        yield AwaitedEvent.READABLE
        start = look()
    if not _begins_hello(start):
        raise ConnectionError("no ClientHello")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)


def _begins_hello(start: bytes) -> bool:
    is_hello = len(start) == _HELLO_START_BYTES and start[:2] + start[5:6] == b"\x16\x03\x01"
    record_bytes, hello_bytes = int.from_bytes(start[3:5], "big"), int.from_bytes(start[6:9], "big")
    return is_hello and record_bytes >= _MESSAGE_HEAD_BYTES and hello_bytes <= MAX_HELLO_BYTES


def head(sock: socket.socket) -> Coroutine[bytes]:
    """The bytes up to the empty line. Raises: Refusal if there are too many, ConnectionError if they end before it."""
    head, end = bytearray(), -1
    while end < 0:
        if len(head) == MAX_HEAD_BYTES:
            raise Refusal(431)
        searched = max(0, len(head) - len(END_OF_HEAD) + 1)
        chunk = yield from _retried(partial(sock.recv, MAX_HEAD_BYTES - len(head)), AwaitedEvent.READABLE)
        if not chunk:
            raise ConnectionError("the caller left")
        head += chunk
        end = head.find(END_OF_HEAD, searched)
    return bytes(head[:end])


def send(sock: socket.socket, content: bytes) -> Coroutine[None]:
    """Send all of it, as fast as the caller reads. Raises: OSError."""
    unsent = memoryview(content)
    while unsent:
        sent = yield from _retried(partial(sock.send, unsent), AwaitedEvent.WRITABLE)
        unsent = unsent[sent:]


def linger(sock: socket.socket) -> Coroutine[None]:
    """Wait for the caller to close: if it had sent more, closing first would reset the connection."""
    sock.shutdown(socket.SHUT_WR)
    drained = 0
    while drained < _DRAINED_BYTES:
        yield AwaitedEvent.READABLE  # before each read, or a fast sender would occupy the thread
        # Read from the plain socket also under TLS, since these bytes are discarded.
        chunk = socket.socket.recv(sock, _CHUNK_BYTES)
        if not chunk:
            return
        drained += len(chunk)
