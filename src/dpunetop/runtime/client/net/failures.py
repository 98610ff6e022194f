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
        case ssl.SSLCertVerificationError():
            return Unreachable(0, "TLS", printable(f"{server}: {_certificate_words(err)}", 200))
        case ssl.SSLError() | ssl.CertificateError() | pool_errors.SSLError():
            reason = "TLS"
        case ConnectionRefusedError():
            return Unreachable(0, "Refused", f"{server}: connection refused")
        case OSError() | pool_errors.EmptyPoolError() | http.client.IncompleteRead():
            reason = "Reset"
        case _:
            reason = "BadAnswer"
    return Unreachable(0, reason, printable(f"{server}: {type(err).__name__}: {err}", 200))


_WORDS = {
    9: "its certificate is not valid yet; compare the clocks of both sides",
    10: "its certificate has expired; its administrator has to renew it",
    18: "its certificate signs itself, and is not the certificate authority that is trusted",
    19: "its certificate is of another certificate authority than the one that is trusted",
    20: "its certificate is of another certificate authority than the one that is trusted",
    21: "its certificate is of another certificate authority than the one that is trusted",
    62: "its certificate is for another name",
    64: "its certificate is for another address",
}
"""By X509_V_ERR_… of OpenSSL's x509_vfy.h."""


def _certificate_words(err: ssl.SSLCertVerificationError) -> str:
    return _WORDS.get(err.verify_code, f"its certificate is not accepted: {err.verify_message}")


def within(seconds: float) -> str:
    """The timeout in whole seconds, since fractions differ from call to call."""
    return f" within {math.ceil(seconds)} s" if seconds >= 1 else " in time"
