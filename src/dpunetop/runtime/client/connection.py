"""The settings of a connection to one API server: address, CA, credential. No socket is opened here."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from dpunetop.base.clock import Clock
from dpunetop.kube.errors import Unauthorized

REREAD_SECONDS = 30.0
"""A token is read again from its source after this time."""

_TOKEN = re.compile(r"[\x21-\x7e]+")  # valid in one header line


class ConfigurationError(Exception):
    """A setting is invalid; the text is one line for the person who made it, without any secret."""


class Hidden(Protocol):
    """Text that only `reveal` shows."""

    def reveal(self) -> str:
        """The text itself."""


@dataclass(frozen=True, slots=True, repr=False)
class Redacted:
    """A secret that repr, str and format hide."""

    _text: str

    def reveal(self) -> str:
        """The text itself; only for the place that sends it."""
        return self._text

    def __repr__(self) -> str:
        return "***"


@dataclass(frozen=True, slots=True)
class Anonymous:
    """Requests without credentials."""


@dataclass(frozen=True, slots=True)
class StaticToken:
    """A bearer token that never changes."""

    token: Hidden


@dataclass(frozen=True, slots=True)
class TokenFile:
    """A bearer token in a file that is rotated, such as a pod's projected ServiceAccount token."""

    path: str


@dataclass(frozen=True, slots=True)
class TokenSource:
    """A bearer token from a function, such as a kubeconfig's plugin; `read` may block and raises OSError."""

    read: Callable[[], str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A certificate and its key, both PEM."""

    cert_pem: str = field(repr=False)
    key_pem: Hidden


Credential = Anonymous | StaticToken | TokenFile | TokenSource | ClientCertificate


@dataclass(frozen=True, slots=True)
class Connection:
    """One API server: its URL, the CA that verifies it, and the credential that we present.

    `ca_pem` None trusts the CAs of the machine. `proxy_url` is `http://…`; the environment sets none.
    `address_policy` returns why an IP address must not be connected to, or None; it is asked for every address at every
    connection. Behind a proxy it is asked only if the URL itself holds an address, since the proxy resolves names.
    """

    url: str
    ca_pem: str | None = field(repr=False)
    credential: Credential
    tls_server_name: str | None = None
    proxy_url: str | None = field(default=None, repr=False)  # may carry a password
    address_policy: Callable[[str], str | None] | None = field(default=None, repr=False)
    ca_file: Path | None = None
    """The file of `ca_pem`, if it is rotated there, such as a pod's `ca.crt`."""
    on_connect: Callable[[str], None] | None = field(default=None, repr=False)
    """Called in any thread with each IP address that is about to be connected to; never behind a proxy."""
    on_verified: Callable[[str], None] | None = field(default=None, repr=False)
    """Called in any thread with each IP address at which a handshake has verified the server."""


@dataclass(frozen=True, slots=True)
class _Held:
    token: Redacted
    read_at: float
    number: int
    """How many different tokens came before this one."""


class Authority:
    """The CA of a connection, reloaded from its file.

    Guarantees: the file is read again after 30 seconds, and at once after `doubt`; each change is returned to one
        caller. An unreadable or empty file changes nothing.
    Threads: any.
    """

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._file = connection.ca_file
        self._clock = clock
        self._guard = threading.Lock()  # guards the two below
        self._pem = connection.ca_pem
        self._read_at = clock.monotonic()

    def doubt(self) -> None:
        """A server could not be verified: read the file again, the CA may have changed."""
        with self._guard:
            self._read_at = -math.inf

    def changed(self) -> str | None:
        """The new CA if it has changed, else None."""
        with self._guard:
            now = self._clock.monotonic()
            if self._file is None or now - self._read_at <= REREAD_SECONDS:
                return None
            self._read_at = now
            pem = _text_of(self._file)
            if not pem or pem == self._pem:
                return None
            self._pem = pem
            return pem


def _text_of(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, ValueError):
        return ""


class Bearer:
    """The `Authorization` header of a credential.

    Guarantees: a token from a file or a function is read again after 30 seconds; if that fails, the last one is used.
    Threads: any. Two threads may read the source at once; either result is valid.
    Raises: Unauthorized when there is no token to send.
    """

    def __init__(self, credential: Credential, clock: Clock) -> None:
        self._clock = clock
        self._read = _reader(credential)
        self._guard = threading.Lock()  # guards _held
        self._held: _Held | None = None

    def header(self) -> str | None:
        """The header's value; None for a credential that is not a token."""
        if self._read is None:
            return None
        held = self._held
        if held is None or self._clock.monotonic() - held.read_at > REREAD_SECONDS:
            held = self._reread(self._read)
        return f"Bearer {held.token.reveal()}"

    @property
    def number(self) -> int:
        """The number of the token in use: each different token read adds one; 0: the first, or none."""
        held = self._held
        return 0 if held is None else held.number

    def renew(self, refused: int) -> bool:
        """Read the token again after the server refused the one of number `refused`; return whether there is a newer
        one, from this read or another thread's: only then is a retry useful."""
        return self._read is not None and self._reread(self._read).number > refused

    def _reread(self, read: Callable[[], str]) -> _Held:
        now = self._clock.monotonic()
        try:
            fresh: Redacted | None = Redacted(_checked(read()))
            failure = ""
        except (OSError, ValueError) as err:
            fresh, failure = None, f"{type(err).__name__}: {err}"
        with self._guard:
            if fresh is not None:
                self._held = _Held(fresh, now, self._number_locked(fresh))
            if self._held is None:
                raise Unauthorized(0, "TokenUnreadable", failure[:200])
            return self._held

    def _number_locked(self, token: Redacted) -> int:
        held = self._held
        return 0 if held is None else held.number + (token != held.token)


def _reader(credential: Credential) -> Callable[[], str] | None:
    match credential:
        case StaticToken(token):
            return token.reveal
        case TokenFile(path):
            return lambda: Path(path).read_text("utf-8")
        case TokenSource(read):
            return read
    return None


def _checked(text: str) -> str:
    token = text.strip()
    if not _TOKEN.fullmatch(token):
        raise ValueError("a token is one word of printable ASCII")
    return token
