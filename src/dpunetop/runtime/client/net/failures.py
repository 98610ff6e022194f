"""Maps the exceptions of urllib3, http.client, ssl and the system to one `Unreachable`."""

from __future__ import annotations

import errno
import http.client
import math
import ssl

from urllib3 import exceptions as pool_errors

from dpunetop.base.quoting import printable
from dpunetop.kube.errors import Unreachable

FOREIGN = (pool_errors.HTTPError, http.client.HTTPException, OSError)  # ssl.SSLError is an OSError
"""Everything that urllib3, http.client, ssl and the system raise."""


def unreachable(err: BaseException, server: str) -> Unreachable:
    """The `Unreachable` for an exception of a request to `server`.

    Guarantees: equal failures give equal texts, so that a status which shows them does not change.
    """
    match err:
        case (
            pool_errors.ProxyError(original_error=OSError() as inner)
            | pool_errors.ProxyError(original_error=pool_errors.HTTPError() as inner)
        ):
            return unreachable(inner, server)
        case TimeoutError(errno=errno.ETIMEDOUT):  # from the kernel: keepalive probes get no reply
            reason = "Reset"
        case pool_errors.TimeoutError() | TimeoutError():
            return Unreachable(0, "Timeout", f"{server}: no answer in time")
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            reason = "Reset"
        case (
            pool_errors.SSLError(args=(BaseException() as inner, *_))
            | pool_errors.ProtocolError(args=(_, BaseException() as inner, *_))
        ):
            return unreachable(inner, server)
        case ssl.SSLError() | ssl.CertificateError() | pool_errors.SSLError():
            reason = "TLS"
        case ConnectionRefusedError():
            return Unreachable(0, "Refused", f"{server}: connection refused")
        case OSError() | pool_errors.EmptyPoolError() | http.client.IncompleteRead():
            reason = "Reset"
        case _:
            reason = "BadAnswer"
    return Unreachable(0, reason, printable(f"{server}: {type(err).__name__}: {err}", 200))


def within(seconds: float) -> str:
    """The timeout in whole seconds, since fractions differ from call to call."""
    return f" within {math.ceil(seconds)} s" if seconds >= 1 else " in time"
