"""What is taken out of text that nobody vouches for, and what a reader of logs still finds in it."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpunetop.domain.support.scrubbing import Scrubber, size_of

JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLW9mLWEtdGVzdA"
KEY = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\nAgEGCCqGSM49AwEHBG0\n-----END PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        (f"Authorization: Bearer {JWT}", JWT),
        ("got bearer abcdef.0123456789abcdef", "abcdef.0123456789abcdef"),
        ("Authorization: Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNzd29yZA"),
        (f"token is {JWT}.", JWT),
        (f"key\n{KEY}\nend", "MIGHAgEAMBMGByqGSM49"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA cut off", "MIIEpAIBAAKCAQEA"),
        ("proxy http://user:hunter2@proxy.example:3128 is used", "hunter2"),
        ("password=hunter2 next", "hunter2"),
        ('{"password": "hunter 2", "a": 1}', "hunter 2"),
        ("DB_PASSWORD='hunter2'", "hunter2"),
        ("client-key-data: LS0tLS1CRUdJTi", "LS0tLS1CRUdJTi"),
        ("aws_secret_access_key = wJalrXUtnFEMI", "wJalrXUtnFEMI"),
        ("api-key:abc123", "abc123"),
        ("?access_token=abc123&x=1", "abc123"),
        ('\\"token\\":\\"abc123\\"', "abc123"),
        ("value 4f6c2d1e9b8a7f6e5d4c3b2a19080706 seen", "4f6c2d1e9b8a7f6e5d4c3b2a19080706"),
        ("blob dGhpcyBpcyBhIHZlcnkgc2VjcmV0IHZhbHVl here", "dGhpcyBpcyBhIHZlcnkgc2VjcmV0IHZhbHVl"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out(line: str, secret: str) -> None:
    assert secret not in Scrubber().text(line)


@pytest.mark.parametrize(
    "line",
    [
        "pod ovnkube-node-7xk2p on bf2-worker-advnetlab13 is Ready",
        "pods/dpu-drain-blocker-bf2-worker-advnetlab13-6c9f8d7b5-x2x9z evicted",
        "uid 5f2b8a54-7f0e-4a57-9a3e-2f6a3d9c1b77 changed",
        "image quay.io/ovn/ovnkube@sha256:" + "a1" * 32,
        "requiredDuringSchedulingIgnoredDuringExecution",
        "2026-11-30T12:00:00.123456Z I1130 12:00:00.1 1 reflector.go:227] Listing and watching *v1.Node",
        "https://api.tenant.example:6443/apis/k8s.ovn.org/v1/egressips",
        "rendered-dpu-5d41402abc4b2a76b971",
    ],
)
def test_what_a_reader_needs_stays(line: str) -> None:
    assert Scrubber().text(line) == line


@pytest.mark.parametrize("value", ["correct horse battery", "s3cr3t-canary", "p@ss!w0rd-1234", "lower-case-words"])
def test_the_value_of_a_secret_is_taken_out_wherever_it_stands(value: str) -> None:
    encoded = base64.b64encode(value.encode()).decode()
    line = f"x{value}y {encoded}z"
    assert value not in Scrubber([value]).text(line)
    assert encoded not in Scrubber([value]).text(line)


def test_of_a_kubeconfig_its_secrets_go_and_its_names_stay() -> None:
    text = (
        '{"clusters":[{"name":"tenant-cluster-1","cluster":{"server":"https://api.t.example:6443"}}],"users":[{"name":'
    )
    text += '"operator-of-tenant","user":{"token":"short-t0ken-1"}}]}'
    line = "tenant-cluster-1 at https://api.t.example:6443 as operator-of-tenant with short-t0ken-1"
    shown = Scrubber([text]).text(line)
    assert shown == line.replace("short-t0ken-1", size_of("short-t0ken-1"))


def test_what_says_how_much_there_was_is_left_alone() -> None:
    assert Scrubber().text('"token": "<44 characters>"') == '"token": "<44 characters>"'


@given(st.text(), st.text(alphabet=st.characters(codec="ascii"), min_size=8, max_size=60), st.text())
def test_no_value_survives_in_any_text(before: str, secret: str, after: str) -> None:
    if len(secret.strip()) >= 8:
        assert secret.strip() not in Scrubber([secret]).text(before + secret + after).replace(size_of(secret), "")


def test_a_document_is_scrubbed_text_by_text() -> None:
    assert Scrubber(["s3cr3t-canary"]).tree({"a": ["s3cr3t-canary", 1, None]}) == {"a": ["<13 characters>", 1, None]}
