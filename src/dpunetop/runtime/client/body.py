"""The framing of an HTTP response body: finds its end while the bytes arrive in pieces of any size."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from dpunetop.kube.errors import Unreachable

MOST_FRAME_BYTES = 1 << 10
"""Limit of a chunk-size line, and of all trailers together."""
_MOST_DIGITS = 15


class Body(Protocol):
    """The body of one response. Threads: one owner."""

    @property
    def is_complete(self) -> bool:
        """Whether the body has ended, with no bytes behind it."""

    @property
    def may_end_here(self) -> bool:
        """Whether the body is complete if the connection ends now."""

    def take(self, data: bytes) -> bytes:
        """The content among these bytes. Raises: Unreachable `BadAnswer` for a malformed body."""


@dataclass(slots=True)
class ContentLengthBody:
    """A body with a Content-Length."""

    left: int

    @property
    def is_complete(self) -> bool:
        """See `Body.is_complete`."""
        return self.left == 0

    @property
    def may_end_here(self) -> bool:
        """See `Body.may_end_here`."""
        return self.left == 0

    def take(self, data: bytes) -> bytes:
        """See `Body.take`."""
        if len(data) > self.left:
            raise _malformed("more than it announced")
        self.left -= len(data)
        return data


@dataclass(slots=True)
class CloseDelimitedBody:
    """A body without a length, which ends with its connection."""

    is_complete: bool = False
    may_end_here: bool = True

    def take(self, data: bytes) -> bytes:
        """See `Body.take`."""
        return data


class _ChunkState(Enum):
    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILER = auto()
    END = auto()


class ChunkedBody:
    """A body in chunks. Source: RFC 9112, section 7.1; as with Go's reader, a line may end without its CR."""

    may_end_here = False

    def __init__(self) -> None:
        self._state = _ChunkState.SIZE
        self._left = 0  # bytes of the current chunk
        self._line = bytearray()  # an incomplete chunk-size or trailer line
        self._trailers = 0  # their bytes

    @property
    def is_complete(self) -> bool:
        """See `Body.is_complete`."""
        return self._state is _ChunkState.END

    def take(self, data: bytes) -> bytes:
        """See `Body.take`."""
        content: list[bytes] = []
        at = 0
        while at < len(data):
            if self._state is _ChunkState.DATA:
                part = data[at : at + self._left]
                content.append(part)
                at += len(part)
                self._left -= len(part)
                if self._left == 0:
                    self._state = _ChunkState.DATA_END
            else:
                at = self._frame(data, at)
        return content[0] if len(content) == 1 else b"".join(content)

    def _frame(self, data: bytes, at: int) -> int:
        """Read the framing between chunks up to the end of a line; return the position behind it."""
        if self._state is _ChunkState.END:
            raise _malformed("more after its end")
        end = data.find(b"\n", at)
        self._line += data[at:] if end < 0 else data[at:end]
        if len(self._line) > MOST_FRAME_BYTES:
            raise _malformed("a chunk that does not say how long it is")
        if end < 0:
            return len(data)
        line = bytes(self._line).removesuffix(b"\r")
        self._line.clear()
        self._framed(line)
        return end + 1

    def _framed(self, line: bytes) -> None:
        match self._state:
            case _ChunkState.SIZE:
                self._left = _size(line)
                self._state = _ChunkState.DATA if self._left else _ChunkState.TRAILER
            case _ChunkState.DATA_END:
                if line:
                    raise _malformed("a chunk that is longer than it says")
                self._state = _ChunkState.SIZE
            case _:
                self._trailer(line)

    def _trailer(self, line: bytes) -> None:
        self._trailers += len(line)
        if self._trailers > MOST_FRAME_BYTES:
            raise _malformed("trailers without end")
        if not line:
            self._state = _ChunkState.END


def _size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip(b" \t")
    if not digits or len(digits) > _MOST_DIGITS or digits.strip(b"0123456789abcdefABCDEF"):
        raise _malformed("a chunk that does not say how long it is")
    return int(digits, 16)


def _malformed(what: str) -> Unreachable:
    return Unreachable(0, "BadAnswer", f"the body of an answer: {what}")
