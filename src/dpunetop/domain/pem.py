"""PEM blocks from people and from the tenant: checked, and written anew without whatever stood around them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from dpunetop.domain.sensitive import Sensitive

if TYPE_CHECKING:
    from cryptography import x509

PEM_LIMIT_BYTES = 64 * 1024
_MOST_CERTIFICATES = 64
_LARGEST_RSA_BITS = 16384
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\s[A-Za-z0-9+/=\s]+-----END \1-----")
_BEGIN = "-----BEGIN "
_KEY_LABELS = frozenset({"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"})


class BadPem(ValueError):
    """What is wrong with a PEM text, in words that hold nothing of it."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """One or more certificates in their order; the first one is the leaf where there is a leaf."""

    pem: str
    """Canonical: only the blocks, each as the library writes it."""
    not_after: datetime
    """The earliest end of validity among them, UTC."""
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
    """Read certificates, and nothing but certificates.

    Raises: BadPem.
    """
    blocks = _blocks(pem)
    if any(label != "CERTIFICATE" for label, _ in blocks):
        raise BadPem("holds a block that is not a CERTIFICATE")
    if len(blocks) > _MOST_CERTIFICATES:
        raise BadPem(f"holds more than {_MOST_CERTIFICATES} certificates")
    return _summary([_certificate(text) for _, text in blocks])


def private_key(pem: bytes) -> PrivateKey:
    """Read exactly one unencrypted private key.

    Raises: BadPem.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    blocks = _blocks(pem)
    if len(blocks) != 1 or blocks[0][0] not in _KEY_LABELS:
        raise BadPem("is not exactly one unencrypted PRIVATE KEY block")
    try:
        # Without the skip, a forged modulus of 60 KiB costs half a minute of primality tests.
        key = form.load_pem_private_key(blocks[0][1].encode(), password=None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadPem("holds a private key that cannot be read") from None
    if isinstance(key, RSAPrivateKey) and key.key_size > _LARGEST_RSA_BITS:
        raise BadPem(f"holds an RSA key of more than {_LARGEST_RSA_BITS} bits")
    text = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()).decode()
    public = key.public_key().public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
    return PrivateKey(Sensitive(text), public)


def _blocks(pem: bytes) -> list[tuple[str, str]]:
    if len(pem) > PEM_LIMIT_BYTES:
        raise BadPem(f"is larger than {PEM_LIMIT_BYTES // 1024} KiB")
    try:
        text = pem.decode("ascii")
    except UnicodeDecodeError:
        raise BadPem("is not PEM text") from None
    found = [(match.group(1), match.group(0) + "\n") for match in _BLOCK.finditer(text)]
    if not found:
        raise BadPem("holds no PEM block")
    if len(found) != text.count(_BEGIN):
        raise BadPem("holds a broken PEM block")
    return found


def _certificate(text: str) -> x509.Certificate:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(text.encode())
    except ValueError:
        raise BadPem("holds a certificate that cannot be read") from None


def _summary(found: list[x509.Certificate]) -> Certificates:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization as form

    try:
        public = found[0].public_key().public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        raise BadPem("holds a certificate whose public key cannot be read") from None
    pem = "".join(certificate.public_bytes(form.Encoding.PEM).decode() for certificate in found)
    return Certificates(pem, min(certificate.not_valid_after_utc for certificate in found), public)
