"""What an authority signs is what TLS and kube-apiserver want to see."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store

from dpunetop.sandbox.pki import Authority, KeyPair, signing_key


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("infra")


def parsed(pair: KeyPair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.certificate)


def ca_of(authority: Authority) -> x509.Certificate:
    return x509.load_pem_x509_certificate(authority.pem)


def test_a_serving_certificate_is_valid_for_its_names_and_addresses(authority: Authority) -> None:
    certificate = parsed(authority.serving(["localhost", "kubernetes"], ["127.0.0.1", "::1"]))
    verifier = PolicyBuilder().store(Store([ca_of(authority)]))
    assert verifier.build_server_verifier(x509.DNSName("kubernetes")).verify(certificate, [])[0] == certificate
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]


def test_a_client_certificate_carries_user_and_groups(authority: Authority) -> None:
    certificate = parsed(authority.client("eve", ["a", "b"]))
    assert [name.value for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["eve"]
    assert [g.value for g in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == ["a", "b"]
    use = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(use) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_the_key_of_a_pair_is_that_of_its_certificate(authority: Authority) -> None:
    pair = authority.client("eve")
    key = serialization.load_pem_private_key(pair.key, None)
    assert key.public_key() == parsed(pair).public_key()


def test_two_authorities_do_not_vouch_for_each_other(authority: Authority) -> None:
    other = ca_of(Authority("infra"))
    certificate = parsed(authority.client("eve"))
    certificate.verify_directly_issued_by(ca_of(authority))
    with pytest.raises((ValueError, InvalidSignature)):
        certificate.verify_directly_issued_by(other)
    assert other.subject != ca_of(authority).subject


def test_the_halves_of_a_signing_key_belong_together() -> None:
    pair = signing_key()
    private = serialization.load_pem_private_key(pair.private, None)
    assert private.public_key() == serialization.load_pem_public_key(pair.public)
