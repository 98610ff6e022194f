"""Where the body of an answer ends, told from its bytes alone as they come in any pieces."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from dpunetop.kube.errors import Unreachable

MOST_FRAME_BYTES = 1 << 10
"""Of a line that says how long a chunk is, and of all trailers together."""
_MOST_DIGITS = 15


class Body(Protocol):
    """The body of one answer. Threads: one owner."""

    @property
    def is_complete(self) -> bool:
        """Whether its end has come, and nothing behind it."""

    @property
    def may_end_here(self) -> bool:
        """Whether the end of the connection is an end of the body too."""

    def take(self, data: bytes) -> bytes:
        """What of these bytes is content. Raises: Unreachable `BadAnswer` for what is no body."""


@dataclass(slots=True)
class Counted:
    """A body that said beforehand how long it is."""

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
class Unframed:
    """A body that ends with its connection."""

    is_complete: bool = False
    may_end_here: bool = True

    def take(self, data: bytes) -> bytes:
        """See `Body.take`."""
        return data


class _In(Enum):
    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILER = auto()
    NOTHING = auto()


class Chunked:
    """A body in chunks. Source: RFC 9112, section 7.1; as with Go's reader, a line may end without its CR."""

    may_end_here = False

    def __init__(self) -> None:
        self._place = _In.SIZE
        self._left = 0  # of the chunk
        self._line = bytearray()  # of its frame, not complete yet
        self._trailers = 0  # their bytes

    @property
    def is_complete(self) -> bool:
        """See `Body.is_complete`."""
        return self._place is _In.NOTHING

    def take(self, data: bytes) -> bytes:
        """See `Body.take`."""
        content: list[bytes] = []
        at = 0
        while at < len(data):
            if self._place is _In.DATA:
                part = data[at : at + self._left]
                content.append(part)
                at += len(part)
                self._left -= len(part)
                if self._left == 0:
                    self._place = _In.DATA_END
            else:
                at = self._frame(data, at)
        return content[0] if len(content) == 1 else b"".join(content)

    def _frame(self, data: bytes, at: int) -> int:
        """Take in what lies between chunks, up to the end of a line; where it ends."""
        if self._place is _In.NOTHING:
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
        match self._place:
            case _In.SIZE:
                self._left = _size(line)
                self._place = _In.DATA if self._left else _In.TRAILER
            case _In.DATA_END:
                if line:
                    raise _malformed("a chunk that is longer than it says")
                self._place = _In.SIZE
            case _:
                self._trailer(line)

    def _trailer(self, line: bytes) -> None:
        self._trailers += len(line)
        if self._trailers > MOST_FRAME_BYTES:
            raise _malformed("trailers without end")
        if not line:
            self._place = _In.NOTHING


def _size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip(b" \t")
    if not digits or len(digits) > _MOST_DIGITS or digits.strip(b"0123456789abcdefABCDEF"):
        raise _malformed("a chunk that does not say how long it is")
    return int(digits, 16)


def _malformed(what: str) -> Unreachable:
    return Unreachable(0, "BadAnswer", f"the body of an answer: {what}")
