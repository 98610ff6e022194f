"""Whatever a certificate or a key is, and whatever the library says to it, what comes out is one or is BadPem."""

from __future__ import annotations

import base64
from typing import NoReturn

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization as form

from dpunetop.domain.tenant import pem
from support.pki import pair

VERSION_3, VERSION_9 = b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x09"


def block(label: str, der: bytes) -> bytes:
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (label.encode(), base64.encodebytes(der), label.encode())


def der_of(cert: bytes) -> bytes:
    return x509.load_pem_x509_certificate(cert).public_bytes(form.Encoding.DER)


def test_a_certificate_of_an_unknown_version_is_bad() -> None:
    forged = der_of(pair().cert).replace(VERSION_3, VERSION_9, 1)
    with pytest.raises(pem.BadPem, match="holds a certificate that cannot be read"):
        pem.certificates(block("CERTIFICATE", forged))


def test_each_byte_of_a_certificate_may_be_any_other() -> None:
    good = der_of(pair().cert)
    for at in range(len(good)):
        for wrong in (0, good[at] ^ 0x01, good[at] ^ 0x80, 0xFF):
            forged = block("CERTIFICATE", good[:at] + bytes([wrong]) + good[at + 1 :])
            try:
                pem.certificates(forged)
            except pem.BadPem:
                continue


def test_each_byte_of_a_key_may_be_any_other() -> None:
    key = form.load_pem_private_key(pair().key, None)
    good = key.private_bytes(form.Encoding.DER, form.PrivateFormat.PKCS8, form.NoEncryption())
    for at in range(len(good)):
        for wrong in (0, good[at] ^ 0x01, good[at] ^ 0x80, 0xFF):
            try:
                pem.private_key(block("PRIVATE KEY", good[:at] + bytes([wrong]) + good[at + 1 :]))
            except pem.BadPem:
                continue


class PanicException(BaseException):
    """As pyo3 raises it: no Exception, and under this name."""


RAISED = [
    ValueError("x"),
    TypeError("x"),
    OverflowError("x"),
    MemoryError("x"),
    RecursionError("x"),
    UnsupportedAlgorithm("x"),
    x509.InvalidVersion("x", 9),
    x509.DuplicateExtension("x", x509.ObjectIdentifier("1.2.3")),
    x509.UnsupportedGeneralNameType("x"),
    PanicException("x"),
]


@pytest.mark.parametrize("problem", RAISED, ids=[type(each).__name__ for each in RAISED])
def test_whatever_the_library_raises_is_bad_pem(problem: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise problem

    monkeypatch.setattr(x509, "load_pem_x509_certificate", fail)
    monkeypatch.setattr(form, "load_pem_private_key", fail)
    with pytest.raises(pem.BadPem, match="holds a certificate that cannot be read"):
        pem.certificates(pair().cert)
    with pytest.raises(pem.BadPem, match="holds a private key that cannot be read"):
        pem.private_key(pair().key)


def test_a_key_press_goes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(x509, "load_pem_x509_certificate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pem.certificates(pair().cert)
