"""What is said of a server whose certificate is not accepted."""

from __future__ import annotations

import ssl

import pytest
from urllib3.exceptions import SSLError

from dpunetop.runtime.client.net.failures import unreachable

WORDS = {
    9: "its certificate is not valid yet; compare the clocks of both sides",
    10: "its certificate has expired; its administrator has to renew it",
    18: "its certificate signs itself, and is not the certificate authority that is trusted",
    20: "its certificate is of another certificate authority than the one that is trusted",
    62: "its certificate is for another name",
    64: "its certificate is for another address",
    23: "its certificate is not accepted: certificate revoked",
}


@pytest.mark.parametrize("code", WORDS)
def test_what_is_wrong_with_a_certificate_is_said_in_plain_words(code: int) -> None:
    inner = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed (_ssl.c:1006)")
    inner.verify_code, inner.verify_message = code, "certificate revoked"
    for err in (inner, SSLError(inner)):
        found = unreachable(err, "tenant.example:6443")
        assert (found.code, found.reason, found.message) == (0, "TLS", f"tenant.example:6443: {WORDS[code]}")
