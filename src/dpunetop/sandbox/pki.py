"""The certificates of one control plane: its CA, and the certificates that this signs."""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFETIME = timedelta(days=365)
RECENTLY = -timedelta(hours=1)
"""When certificates begin, from now: before the clock of anybody who is behind."""

_PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


def server_context(pair: KeyPair) -> ssl.SSLContext:
    """The TLS context of an HTTP/1.1 server with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    certify(context, pair)
    return context


def certify(context: ssl.SSLContext, pair: KeyPair) -> None:
    """Show this certificate to those who connect from now on."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(pair.certificate + pair.key)
        file.flush()
        context.load_cert_chain(file.name)


class Authority:
    """A certificate authority that lives as long as its control plane.

    Guarantees: two authorities never share a key, a subject or a serial number.
    Threads: any; nothing changes after the constructor.
    """

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        serial = x509.random_serial_number()
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name}-ca-{serial:x}"[:64])])
        builder = _builder(self._name, self._name, self._key.public_key(), serial)
        self._certificate = (
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        """The CA certificate, PEM."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def serving(
        self,
        names: Sequence[str],
        addresses: Sequence[str],
        lifetime: timedelta = _LIFETIME,
        begins_in: timedelta = RECENTLY,
    ) -> KeyPair:
        """A server's certificate for DNS names and IP addresses, which ends, and begins, so long from now."""
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        return self._issue(subject, ExtendedKeyUsageOID.SERVER_AUTH, alternatives, lifetime, begins_in)

    def client(self, user: str, groups: Sequence[str] = ()) -> KeyPair:
        """A client certificate by which a kube-apiserver authenticates `user`, a member of `groups`.

        Source: Kubernetes documentation, "Authenticating: X509 client certificates".
        """
        names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        names.append(x509.NameAttribute(NameOID.COMMON_NAME, user))
        return self._issue(x509.Name(names), ExtendedKeyUsageOID.CLIENT_AUTH, [])

    def _issue(
        self,
        subject: x509.Name,
        use: x509.ObjectIdentifier,
        names: list[x509.GeneralName],
        lifetime: timedelta = _LIFETIME,
        begins_in: timedelta = RECENTLY,
    ) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(subject, self._name, key.public_key(), x509.random_serial_number(), lifetime, begins_in)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return KeyPair(certificate.public_bytes(serialization.Encoding.PEM), _pem_of(key))


@dataclass(frozen=True)
class SigningKey:
    """The key pair that signs and verifies ServiceAccount tokens, both PEM."""

    public: bytes
    private: bytes


def signing_key() -> SigningKey:
    """A new key pair for tokens; RSA, which every kube-apiserver accepts."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return SigningKey(public, _pem_of(key))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    serial: int,
    lifetime: timedelta = _LIFETIME,
    begins_in: timedelta = RECENTLY,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(now + begins_in)
        .not_valid_after(now + lifetime)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem_of(key: _PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
