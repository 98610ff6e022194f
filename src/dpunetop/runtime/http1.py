"""The part of HTTP/1.1 for a server that answers one request per connection and reads no body.

Source: RFC 9110 and RFC 9112. What this leaves out, and why no library does it, is in docs/adr/0009-serving.md.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

MAX_HEAD_BYTES = 8 << 10
"""Limit of a request head, with its empty line."""
MAX_HEADERS = 64
END_OF_HEAD = b"\r\n\r\n"
TEXT = "text/plain; charset=utf-8"

_VERSIONS = ("HTTP/1.0", "HTTP/1.1")
_TOKEN = frozenset("!#$%&'*+-.^_`|~" + string.digits + string.ascii_letters)
_PHRASES = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class Request:
    """The parts of a request that are used here; the path is without its query."""

    method: str
    path: str
    authorization: str
    peer: str
    """The caller's address."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; `headers` come in addition to those of every response."""

    status: int
    body: bytes
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()


class Refusal(Exception):
    """The request is refused with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def parse(head: bytes, peer: str) -> Request:
    """Parse a request head, given without its empty line and of at most MAX_HEAD_BYTES.

    Guarantees: linear time.
    Raises: Refusal.
    """
    first, *lines = head.decode("latin-1").split("\r\n")
    if len(lines) > MAX_HEADERS:
        raise Refusal(431)
    method, path = _request_line(first)
    fields = [_field(line) for line in lines]
    found = [value for name, value in fields if name == "authorization"]
    if len(found) > 1:
        raise Refusal(400)
    return Request(method, path, "".join(found), peer)


def render(answer: Answer, now: datetime, *, method: str = "GET") -> bytes:
    """The bytes of a response, after which the connection closes; without the body for HEAD."""
    head = "".join(f"{line}\r\n" for line in _head_of(answer, now)) + "\r\n"
    return head.encode("latin-1") + (b"" if method == "HEAD" else answer.body)


def refused(status: int) -> Answer:
    """A response with only the status: a text could repeat what the caller sent."""
    return Answer(status, f"{status} {_PHRASES[status].lower()}\n".encode())


def _head_of(answer: Answer, now: datetime) -> Iterator[str]:
    yield f"HTTP/1.1 {answer.status} {_PHRASES[answer.status]}"
    yield f"Date: {format_datetime(now, usegmt=True)}"
    yield f"Content-Type: {answer.content_type}"
    yield f"Content-Length: {len(answer.body)}"
    yield "Connection: close"
    for name, value in answer.headers:
        yield f"{name}: {value}"


def _request_line(line: str) -> tuple[str, str]:
    method, _, rest = line.partition(" ")
    target, _, version = rest.partition(" ")
    if not _is_token(method) or not target.startswith("/") or version not in _VERSIONS:
        raise Refusal(400)
    return method, target.partition("?")[0]


def _field(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not _is_token(name):  # this also refuses a folded line, which begins with a blank
        raise Refusal(400)
    value = value.strip(" \t")
    if any(char < " " and char != "\t" for char in value):
        raise Refusal(400)
    return name.lower(), value


def _is_token(text: str) -> bool:
    return bool(text) and _TOKEN.issuperset(text)
