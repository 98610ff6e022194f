"""PEM blocks from people and from the tenant: checked, and rewritten without the text around them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from dpunetop.base.sensitive import Sensitive

if TYPE_CHECKING:
    from cryptography import x509

PEM_LIMIT_BYTES = 64 * 1024
_MOST_CERTIFICATES = 64
_LARGEST_RSA_BITS = 16384
_MARK = re.compile(r"-----(BEGIN|END) ([A-Z0-9 ]{1,64})-----")
_BEGIN = "-----BEGIN "
_BODY = re.compile(r"\s[A-Za-z0-9+/=\s]+", re.ASCII)
_CERTIFICATE = "CERTIFICATE"
_KEY_END = "PRIVATE KEY"
_ENCRYPTED = "ENCRYPTED"
_PANIC = "PanicException"
"""The exception of a Rust library that meets a bug of its own; no module exports the type."""


class BadPem(ValueError):
    """The defect of a PEM text, in words that quote nothing of it."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """One or more certificates in their order; the first one is the leaf where there is a leaf."""

    pem: str
    """Canonical: only the blocks, each as the library writes it."""
    not_before: datetime
    """The latest begin of validity among them, UTC."""
    not_after: datetime
    """The earliest end of validity among them, UTC."""
    trusted_until: datetime
    """The latest end among them, UTC: a bundle of authorities serves as long as one of them does."""
    leaf_public_key: bytes
    """DER of the first one's public key."""


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """One unencrypted private key."""

    pem: Sensitive
    """Canonical: PKCS #8."""
    public_key: bytes
    """DER of the public key that belongs to it."""


def certificates(pem: bytes) -> Certificates:
    """Read the certificates. Everything else is dropped: text, parameters of curves, a private key.

    Raises: BadPem.
    Source: what `AppendCertsFromPEM` and `X509KeyPair` of Go do, and so client-go.
    """
    blocks = [block for block in _blocks(pem) if block.label == _CERTIFICATE]
    if not blocks:
        raise BadPem("holds no CERTIFICATE block")
    if len(blocks) > _MOST_CERTIFICATES:
        raise BadPem(f"holds more than {_MOST_CERTIFICATES} certificates")
    return _summary([_certificate(block.plain()) for block in blocks])


def private_key(pem: bytes) -> PrivateKey:
    """Read the one unencrypted private key. Everything else is dropped, as in `certificates`.

    Raises: BadPem.
    """
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    blocks = [block for block in _blocks(pem) if block.label.endswith(_KEY_END)]
    if len(blocks) != 1:
        raise BadPem(f"holds {len(blocks) or 'no'} PRIVATE KEY blocks, where one belongs")
    text = blocks[0].plain()
    with _readable("a private key that cannot be read"):
        # Without the skip, a forged modulus of 60 KiB costs half a minute of primality tests.
        key = form.load_pem_private_key(text.encode(), password=None, unsafe_skip_rsa_key_validation=True)
        if isinstance(key, RSAPrivateKey) and key.key_size > _LARGEST_RSA_BITS:
            raise BadPem(f"holds an RSA key of more than {_LARGEST_RSA_BITS} bits")
        canonical = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()).decode()
        public = key.public_key().public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
        return PrivateKey(Sensitive(canonical), public)


@dataclass(frozen=True, slots=True)
class _Block:
    label: str
    body: str = field(repr=False)

    def plain(self) -> str:
        """The block as PEM. Raises: BadPem, if it holds anything but base64."""
        if _ENCRYPTED in self.label or _ENCRYPTED in self.body:
            raise BadPem("holds an encrypted private key; decrypt it (openssl pkey)")
        if _BODY.fullmatch(self.body) is None:
            raise BadPem("holds a broken PEM block")
        return f"-----BEGIN {self.label}-----{self.body}-----END {self.label}-----\n"


def _blocks(pem: bytes) -> list[_Block]:
    """Every block, in order; text around them may have any characters, and is ignored."""
    if len(pem) > PEM_LIMIT_BYTES:
        raise BadPem(f"is larger than {PEM_LIMIT_BYTES // 1024} KiB")
    text = pem.decode("latin-1")
    marks = list(_MARK.finditer(text))
    found = [
        _Block(begin.group(2), text[begin.end() : end.start()])
        for begin, end in pairwise(marks)
        if (begin.group(1), end.group(1)) == ("BEGIN", "END") and begin.group(2) == end.group(2)
    ]
    if len(found) != text.count(_BEGIN):
        raise BadPem("holds a broken PEM block")
    if not found:
        raise BadPem("holds no PEM block")
    return found


@contextmanager
def _readable(what: str) -> Iterator[None]:
    """The one place where cryptography reads foreign text: any exception means that it cannot read it.

    Its exceptions are not a closed set (`InvalidVersion` is no ValueError, a panic no Exception), and grow by release.
    Raises: BadPem.
    """
    try:
        yield
    except BadPem:
        raise
    except BaseException as problem:
        if isinstance(problem, Exception) or type(problem).__name__ == _PANIC:
            raise BadPem(f"holds {what}") from None
        raise


def _certificate(text: str) -> x509.Certificate:
    from cryptography import x509

    with _readable("a certificate that cannot be read"):
        return x509.load_pem_x509_certificate(text.encode())


def _summary(found: list[x509.Certificate]) -> Certificates:
    from cryptography.hazmat.primitives import serialization as form

    with _readable("a certificate whose public key cannot be read"):
        public = found[0].public_key().public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
    with _readable("a certificate that cannot be read"):
        pem = "".join(certificate.public_bytes(form.Encoding.PEM).decode() for certificate in found)
        ends = [certificate.not_valid_after_utc for certificate in found]
        begins = [certificate.not_valid_before_utc for certificate in found]
        return Certificates(pem, max(begins), min(ends), max(ends), public)
