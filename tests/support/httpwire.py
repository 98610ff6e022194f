"""HTTP/1.1 as it lies on the wire: where a message begins and ends, with every byte kept as it came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from urllib.parse import urlsplit

MAX_HEAD_BYTES = 1 << 20
_READ_BYTES = 1 << 16
_BODILESS = (204, 304)


class MalformedMessage(Exception):
    """What came is not HTTP/1.1, or not the part of it that is spoken here."""


@dataclass(frozen=True, slots=True)
class Head:
    """First line and headers: as bytes, and what they say; header names in lower case, the last of a name wins."""

    raw: bytes
    first: tuple[str, str, str]
    headers: Mapping[str, str]

    @property
    def is_chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return self.headers.get("transfer-encoding", "").lower() == "chunked"

    @property
    def length(self) -> int | None:
        """The length that is announced, if any."""
        text = self.headers.get("content-length")
        if text is None:
            return None
        if not text.isdecimal():
            raise MalformedMessage(f"Content-Length: {text}")
        return int(text)


@dataclass(frozen=True, slots=True)
class RequestMessage:
    """A whole request."""

    head: Head
    raw: bytes
    body: bytes

    @property
    def method(self) -> str:
        """The method, in capitals."""
        return self.head.first[0]

    @property
    def path(self) -> str:
        """The target without its query."""
        return urlsplit(self.head.first[1]).path

    @property
    def query(self) -> str:
        """The query, as sent."""
        return urlsplit(self.head.first[1]).query


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of a body: on the wire, and without the framing; `last` on the one that ends the message."""

    raw: bytes
    payload: bytes
    last: bool


async def read_head(stream: asyncio.StreamReader) -> Head | None:
    """The next first line and headers; None if the other side ended before the first byte.

    Raises: IncompleteReadError if it ended later; MalformedMessage.
    """
    try:
        raw = await stream.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as err:
        if not err.partial:
            return None
        raise
    except asyncio.LimitOverrunError as err:
        raise MalformedMessage("head too long") from err
    return parse_head(raw)


def with_date(head: Head, ahead: timedelta) -> Head:
    """The head of an answer whose server's clock is ahead by that much; zero: as it came."""
    said = head.headers.get("date")
    if said is None or not ahead:
        return head
    moved = format_datetime(parsedate_to_datetime(said) + ahead, usegmt=True)
    return parse_head(head.raw.replace(said.encode(), moved.encode()))


def parse_head(raw: bytes) -> Head:
    """Take first line and headers apart. Raises: MalformedMessage."""
    first, *lines = raw[:-4].decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2:
        raise MalformedMessage(first)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Head(raw, (words[0], words[1], words[2] if len(words) > 2 else ""), headers)


async def read_request(stream: asyncio.StreamReader) -> RequestMessage | None:
    """The next request with its body; None if there is none any more. Raises: as `read_head`."""
    head = await read_head(stream)
    if head is None:
        return None
    pieces = [piece async for piece in _request_body(head, stream)]
    raw = head.raw + b"".join(piece.raw for piece in pieces)
    return RequestMessage(head, raw, b"".join(piece.payload for piece in pieces))


def response_body(head: Head, method: str, stream: asyncio.StreamReader) -> AsyncIterator[Piece]:
    """The body of an answer to `method`, piece by piece as it comes; at least one piece, the last one marked.

    Raises: IncompleteReadError, MalformedMessage.
    Source: RFC 9112, 6.3.
    """
    status = status_of(head)
    if method == "HEAD" or status < 200 or status in _BODILESS:
        return _exactly(stream, 0)
    if head.is_chunked:
        return _chunks(stream)
    length = head.length
    return _until_end(stream) if length is None else _exactly(stream, length)


def status_of(head: Head) -> int:
    """The status code of an answer. Raises: MalformedMessage."""
    if not head.first[1].isdecimal():
        raise MalformedMessage(" ".join(head.first))
    return int(head.first[1])


def _request_body(head: Head, stream: asyncio.StreamReader) -> AsyncIterator[Piece]:
    return _chunks(stream) if head.is_chunked else _exactly(stream, head.length or 0)


async def _exactly(stream: asyncio.StreamReader, length: int) -> AsyncIterator[Piece]:
    left = length
    while left > 0:
        data = await _some(stream, left)
        left -= len(data)
        yield Piece(data, data, left == 0)
    if length == 0:
        yield Piece(b"", b"", True)


async def _until_end(stream: asyncio.StreamReader) -> AsyncIterator[Piece]:
    while data := await stream.read(_READ_BYTES):
        yield Piece(data, data, False)
    yield Piece(b"", b"", True)


async def _chunks(stream: asyncio.StreamReader) -> AsyncIterator[Piece]:
    while True:
        line = await stream.readuntil(b"\r\n")
        size = _chunk_size(line)
        if size == 0:
            yield Piece(line + await _trailers(stream), b"", True)
            return
        async for piece in _chunk(stream, line, size):
            yield piece


async def _chunk(stream: asyncio.StreamReader, line: bytes, size: int) -> AsyncIterator[Piece]:
    """What has arrived of a chunk is passed on at once: its size with its first bytes, its end with its last."""
    before, left = line, size
    while left > 0:
        data = await _some(stream, left)
        left -= len(data)
        after = await stream.readexactly(2) if left == 0 else b""
        yield Piece(before + data + after, data, False)
        before = b""


def _chunk_size(line: bytes) -> int:
    try:
        return int(line.split(b";")[0], 16)
    except ValueError as err:
        raise MalformedMessage(f"chunk size {line!r}") from err


async def _trailers(stream: asyncio.StreamReader) -> bytes:
    lines = b""
    while True:
        line = await stream.readuntil(b"\r\n")
        lines += line
        if line == b"\r\n":
            return lines


async def _some(stream: asyncio.StreamReader, most: int) -> bytes:
    data = await stream.read(min(most, _READ_BYTES))
    if not data:
        raise asyncio.IncompleteReadError(b"", most)
    return data
