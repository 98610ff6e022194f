"""Failures of a request as exception types; only failures that code branches on have a class."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dpunetop.base.quoting import printable

_REASON = re.compile(r"[A-Za-z][A-Za-z0-9]{0,99}")
MOST_MESSAGE_CHARS = 1000
MOST_PAUSE_SECONDS = 60.0
"""Upper bound of a server's Retry-After."""


class ApiError(Exception):
    """A request that failed.

    `code` is the HTTP status, 0 if no usable response came. `reason` is the server's machine-readable reason, or, if it
    sent none, one of `DNS`, `Refused`, `Timeout`, `TLS`, `Reset`, `TooLarge`, `BadAnswer`.
    `retry_after_seconds` is the server's Retry-After, if any. `causes` names the fields of an Invalid or Conflict.
    `cluster` names the cluster that was asked; the client fills it in.
    Guarantees: the message is one printable line of ASCII, at most `MOST_MESSAGE_CHARS` long.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        retry_after_seconds: float | None = None,
        causes: tuple[Mapping[str, Any], ...] = (),
    ) -> None:
        super().__init__(code, reason, message)
        self.code = code
        self.reason = reason
        self.message = printable(message, MOST_MESSAGE_CHARS)
        self.retry_after_seconds = retry_after_seconds
        self.causes = causes
        self.cluster = ""

    def __str__(self) -> str:
        return f"{self.code} {self.reason}: {self.message}" if self.code else f"{self.reason}: {self.message}"


class Unreachable(ApiError):
    """No response came: name not resolved, connection refused or reset, timeout, TLS failure. A write may or may not
    have taken effect."""


class Unauthorized(ApiError):
    """401: the credential is not accepted."""


class Forbidden(ApiError):
    """403: the credential lacks a permission; the message names it."""


class NotFound(ApiError):
    """404: no such object, or the resource is not served."""


class Conflict(ApiError):
    """409: a precondition did not hold, or another manager owns the field."""


class Gone(ApiError):
    """410: the resourceVersion or continue token has expired; list again."""


class Invalid(ApiError):
    """422: the server rejects the object, or its uid is not that of the live object."""


class TooManyRequests(ApiError):
    """429: the server is overloaded, or a PodDisruptionBudget forbids the eviction now."""


_BY_CODE: dict[int, type[ApiError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: TooManyRequests,
}


def error_from_status(
    status: Mapping[str, Any],
    code: int = 0,
    retry_after_seconds: float | None = None,
    most_chars: int = MOST_MESSAGE_CHARS,
) -> ApiError:
    """The error that a `Status` object of the API describes; `code` is used if the object has none.

    Guarantees: takes any mapping, however malformed, since the server may be hostile and people read the result. The
        reason is valid as the reason of a condition; the message is one printable line of at most `most_chars`.
    Source: Kubernetes API conventions, "Response Status Kind".
    """
    given = status.get("code")
    code = given if isinstance(given, int) and given else code
    details = status.get("details")
    details = details if isinstance(details, Mapping) else {}
    if retry_after_seconds is None and isinstance(details.get("retryAfterSeconds"), int | float):
        retry_after_seconds = float(details["retryAfterSeconds"])
    causes = details.get("causes")
    kind = _BY_CODE.get(code, ApiError)
    return kind(
        code,
        _reason(status.get("reason")),
        printable(str(status.get("message") or ""), most_chars),
        retry_after_seconds=_bounded(retry_after_seconds),
        causes=tuple(c for c in causes if isinstance(c, Mapping)) if isinstance(causes, list) else (),
    )


def _bounded(seconds: float | None) -> float | None:
    return None if seconds is None else max(0.0, min(seconds, MOST_PAUSE_SECONDS))


def _reason(given: object) -> str:
    text = str(given or "")[:100]
    return text if _REASON.fullmatch(text) else "Unknown"
