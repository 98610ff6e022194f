"""HTTP responses whose head was read: the body is read whole, up to a limit, or handed to the loop as a stream."""

from __future__ import annotations

import http
import http.client
import math
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast

import urllib3

from dpunetop.base import jsonio
from dpunetop.base.quoting import printable
from dpunetop.kube.errors import MOST_MESSAGE_CHARS, ApiError, Unreachable, error_from_status
from dpunetop.kube.requests import Request
from dpunetop.runtime.client.body import Body, ChunkedBody, CloseDelimitedBody, ContentLengthBody
from dpunetop.runtime.client.net.dialer import DialedConnection
from dpunetop.runtime.client.net.sockets import TlsSocket
from dpunetop.runtime.client.streams import Readiness


@dataclass(frozen=True, slots=True)
class Response:
    """A response of any status; header names are case-insensitive."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


def error_of(request: Request, response: Response, most_chars: int = MOST_MESSAGE_CHARS) -> ApiError:
    """The error of an unsuccessful response to `request`.

    Guarantees: accepts any body, from a `Status` object to the HTML of a proxy; its text is printable and short. A
        `Status` names the object that it is about; before any other text stands what was asked.
    """
    retry_after = _retry_after(response.headers)
    status: Any = None
    with suppress(ValueError):
        status = jsonio.loads(response.body)
    if isinstance(status, dict) and status.get("kind") == "Status":
        return error_from_status({**status, "code": response.status}, response.status, retry_after, most_chars)
    asked = f"{request.method} {request.target.partition('?')[0]}"
    said = printable(response.body[:1000].decode("utf-8", "replace"), 200)
    text = f"{asked}: {said}" if said else asked
    return error_from_status({"reason": _word(response.status), "message": text}, response.status, retry_after)


def date_of(text: str) -> datetime | None:
    """The time of a header Date, UTC; None: it is none."""
    try:
        found = parsedate_to_datetime(text[:40])
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo is not None else None


def _word(status: int) -> str:
    try:
        return "".join(filter(str.isalpha, http.HTTPStatus(status).phrase))
    except ValueError:
        return "Unknown"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def read_body(raw: urllib3.BaseHTTPResponse, limit: int) -> bytes:
    """Read the whole body. Raises: Unreachable `TooLarge` before more than `limit` bytes were read."""
    announced = raw.headers.get("Content-Length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:20]) > limit:
        raise Unreachable(0, "TooLarge", f"an answer of {announced[:20]} bytes, more than {limit}")
    parts: list[bytes] = []
    left = limit + 1
    while left > 0 and (part := raw.read(left, decode_content=False)):
        parts.append(part)
        left -= len(part)
    if left <= 0:
        raise Unreachable(0, "TooLarge", f"an answer of more than {limit} bytes")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def refuse_encoded(raw: urllib3.BaseHTTPResponse) -> None:
    """Raises: Unreachable `BadAnswer` for a compressed body."""
    encoding = raw.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity":
        raise Unreachable(0, "BadAnswer", f"content encoding {printable(encoding, 20)!r} was not asked for")


def refuse_unframed(raw: urllib3.BaseHTTPResponse) -> None:
    """Refuse a successful response without a length: its body may have been cut. Part of an error is enough."""
    is_chunked = raw.headers.get("Transfer-Encoding", "").lower() == "chunked"
    if 200 <= raw.status < 300 and raw.status != 204 and raw.length_remaining is None and not is_chunked:
        raise Unreachable(0, "BadAnswer", "an answer that does not say where it ends")


class OpenAnswer:
    """A response whose head was read; the loop reads on from the socket itself, since a read of urllib3 blocks.

    Threads: that of the loop.
    """

    def __init__(self, raw: urllib3.BaseHTTPResponse, give_back: Callable[[urllib3.BaseHTTPResponse], None]) -> None:
        """Raises: OSError, if the connection is gone."""
        self._raw = raw
        self._give_back = give_back
        connection = raw.connection
        if not isinstance(connection, DialedConnection) or not isinstance(connection.answering, TlsSocket):
            raise ConnectionResetError("the connection is gone")
        self._sock = connection.answering
        self._read_ahead = _read_ahead(raw, self._sock)
        self._sock.setblocking(False)

    def fileno(self) -> int:
        """See `StreamConnection.fileno`."""
        return self._sock.fileno()

    def read(self, most_bytes: int) -> bytes | Readiness:
        """See `StreamConnection.read`; bytes that came with the head are returned first."""
        if self._read_ahead:
            ahead, self._read_ahead = self._read_ahead, b""
            return ahead
        try:
            return self._sock.read(most_bytes)
        except ssl.SSLWantReadError:
            return Readiness.READABLE
        except ssl.SSLWantWriteError:
            return Readiness.WRITABLE

    def keep(self) -> None:
        """See `StreamConnection.keep`."""
        _http_answer(self._raw).close()  # tells http.client that the body was read
        self._give_back(self._raw)

    def close(self) -> None:
        """See `StreamConnection.close`."""
        self._raw.close()
        self._give_back(self._raw)


def _http_answer(raw: urllib3.BaseHTTPResponse) -> http.client.HTTPResponse:
    """The response of http.client that urllib3 wraps without a public name."""
    return cast(http.client.HTTPResponse, cast(Any, raw)._fp)


def _read_ahead(raw: urllib3.BaseHTTPResponse, sock: TlsSocket) -> bytes:
    """The bytes that were read together with the head. A timeout of zero keeps the read off the socket."""
    sock.deadline = -math.inf
    try:
        return cast(bytes, cast(Any, _http_answer(raw).fp).peek())
    except TimeoutError:
        return b""


def body_of(raw: urllib3.BaseHTTPResponse) -> Body:
    """The framing of the body, as the head declares it."""
    answer = _http_answer(raw)
    if answer.chunked:
        return ChunkedBody()
    return CloseDelimitedBody() if answer.length is None else ContentLengthBody(answer.length)


def bound(raw: urllib3.BaseHTTPResponse, deadline: float) -> None:
    """See `DialedConnection.bound`."""
    connection = raw.connection
    if isinstance(connection, DialedConnection):
        connection.bound(deadline)
