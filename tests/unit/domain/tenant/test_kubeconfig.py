from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dpunetop.domain.tenant.kubeconfig import parse_kubeconfig, parse_secret
from dpunetop.domain.tenant.kubeconfigmodel import (
    KubeconfigRejected,
    Rejection,
    render_kubeconfig,
)
from support.pki import pair

CANARY = "canary-secret-0123456789"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def document() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "clusters": [
            {
                "name": "c",
                "cluster": {
                    "server": "https://api.tenant.example:6443",
                    "certificate-authority-data": b64(pair("ca").cert),
                },
            }
        ],
        "contexts": [{"name": "admin", "context": {"cluster": "c", "user": "u", "namespace": "default"}}],
        "current-context": "admin",
        "users": [{"name": "u", "user": {"token": CANARY}}],
    }


def with_member(part: str, key: str, value: Any) -> bytes:
    changed = document()
    target = changed if part == "" else changed[f"{part}s"][0][part]
    target[key] = value
    return yaml.safe_dump(changed).encode()


def rejection(data: bytes) -> KubeconfigRejected:
    with pytest.raises(KubeconfigRejected) as caught:
        parse_kubeconfig(data)
    return caught.value


FORBIDDEN = {
    "exec": ("user", "exec", {"command": "touch", "args": ["/canary"]}, Rejection.EXEC),
    "auth provider": ("user", "auth-provider", {"name": "gcp"}, Rejection.AUTH_PROVIDER),
    "token file": ("user", "tokenFile", "/var/run/secrets/x", Rejection.FILE_REFERENCE),
    "certificate file": ("user", "client-certificate", "/x.crt", Rejection.FILE_REFERENCE),
    "key file": ("user", "client-key", "/x.key", Rejection.FILE_REFERENCE),
    "authority file": ("cluster", "certificate-authority", "/ca.crt", Rejection.FILE_REFERENCE),
    "exec with empty members": ("user", "exec", {"command": None, "args": []}, Rejection.EXEC),
    "skipped verification": ("cluster", "insecure-skip-tls-verify", True, Rejection.INSECURE),
    "verification said the 1.1 way": ("cluster", "insecure-skip-tls-verify", "yes", Rejection.INSECURE),
    "proxy": ("cluster", "proxy-url", "http://p:3128", Rejection.PROXY),
    "acting as": ("user", "as", "system:admin", Rejection.IMPERSONATION),
    "acting as groups": ("user", "as-groups", ["system:masters"], Rejection.IMPERSONATION),
    "acting as, old name": ("user", "act-as", "system:admin", Rejection.IMPERSONATION),
    "user name": ("user", "username", "admin", Rejection.BASIC_AUTH),
    "password": ("user", "password", CANARY, Rejection.BASIC_AUTH),
    "preferences that nobody knows": ("", "preferences", {"editor": "vi"}, Rejection.UNKNOWN_KEY),
    "unknown key of the file": ("", "plugin", "x", Rejection.UNKNOWN_KEY),
    "unknown key of the user": ("user", "Token", "x", Rejection.UNKNOWN_KEY),
    "unknown key of the context": ("context", "x", "x", Rejection.UNKNOWN_KEY),
    "plain http": ("cluster", "server", "http://api.tenant.example:6443", Rejection.NOT_HTTPS),
    "another scheme": ("cluster", "server", "file://host/etc", Rejection.NOT_HTTPS),
    "user in the server": ("cluster", "server", "https://u:p@api:6443", Rejection.BAD_SERVER),
    "query in the server": ("cluster", "server", "https://api:6443/?a=b", Rejection.BAD_SERVER),
    "fragment in the server": ("cluster", "server", "https://api:6443/#a", Rejection.BAD_SERVER),
    "escape in the server": ("cluster", "server", "https://api/%2e%2e/x", Rejection.BAD_SERVER),
    "dots in the server's path": ("cluster", "server", "https://api/a/../b", Rejection.BAD_SERVER),
    "newline in the server": ("cluster", "server", "https://api:6443\n", Rejection.BAD_SERVER),
    "port too large": ("cluster", "server", "https://api:65536", Rejection.BAD_SERVER),
    "address in hiding": ("cluster", "server", "https://0x7f.1", Rejection.BAD_SERVER),
    "address as one number": ("cluster", "server", "https://2130706433", Rejection.BAD_SERVER),
    "no server": ("cluster", "server", None, Rejection.MISSING_VALUE),
    "server name that is an address": ("cluster", "tls-server-name", "10.0.0.1", Rejection.BAD_SERVER),
    "token with a newline": ("user", "token", f"{CANARY}\r\nX: y", Rejection.BAD_BEARER),
    "token that is a mapping": ("user", "token", {"a": CANARY}, Rejection.WRONG_TYPE),
    "no authority": ("cluster", "certificate-authority-data", None, Rejection.INSECURE),
    "authority not base64": ("cluster", "certificate-authority-data", "!!", Rejection.BAD_PEM),
    "authority is a key": ("cluster", "certificate-authority-data", b64(pair("ca").key), Rejection.BAD_PEM),
    "authority too large": ("cluster", "certificate-authority-data", b64(b"x" * 65537), Rejection.BAD_PEM),
    "certificate without key": ("user", "client-certificate-data", b64(pair("u").cert), Rejection.MISSING_VALUE),
    "context of another cluster": ("context", "cluster", "other", Rejection.MISSING_VALUE),
    "another current context": ("", "current-context", "other", Rejection.MISSING_VALUE),
    "another kind": ("", "kind", "Secret", Rejection.WRONG_TYPE),
    "namespace that is a list": ("context", "namespace", ["a"], Rejection.WRONG_TYPE),
    "no users": ("", "users", [], Rejection.MISSING_VALUE),
}


@pytest.mark.parametrize(("part", "key", "value", "expected"), FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_what_the_policy_forbids_is_refused_with_its_own_reason(
    part: str, key: str, value: Any, expected: Rejection
) -> None:
    assert rejection(with_member(part, key, value)).reason is expected


@pytest.mark.parametrize(("part", "key", "value", "expected"), FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_a_refusal_is_one_short_line_without_secrets(part: str, key: str, value: Any, expected: Rejection) -> None:
    message = rejection(with_member(part, key, value)).message
    assert "\n" not in message
    assert len(message) < 200
    assert CANARY not in message


VALID = yaml.safe_dump(document())


@pytest.mark.parametrize("part", ["cluster", "context", "user"])
def test_a_second_entry_of_any_kind_is_refused(part: str) -> None:
    changed = document()
    changed[f"{part}s"].append(changed[f"{part}s"][0] | {"name": "second"})
    refused = rejection(json.dumps(changed).encode())
    assert refused.reason is Rejection.SEVERAL
    assert "--minify" in refused.message


def test_a_long_unknown_key_is_shown_short_and_harmless() -> None:
    message = rejection(with_member("user", "\x1b[2J" + "k" * 500, "x")).message
    assert "\x1b" not in message
    assert len(message) < 120


def test_a_token_kubeconfig_becomes_the_model() -> None:
    model = parse_kubeconfig(VALID.encode())
    assert (model.host, model.port, model.path_prefix) == ("api.tenant.example", 6443, "")
    assert model.token is not None
    assert model.token.reveal() == CANARY
    assert model.ca_pem == pair("ca").cert.decode()
    assert CANARY not in f"{model!r} {model.token} {model.token!s:>5}"


def test_json_is_read_like_yaml() -> None:
    assert parse_kubeconfig(json.dumps(document()).encode()) == parse_kubeconfig(VALID.encode())


def client_pair(cert: bytes, key: bytes) -> bytes:
    changed = document()
    changed["users"][0]["user"] = {"client-certificate-data": b64(cert), "client-key-data": b64(key)}
    return json.dumps(changed).encode()


def test_a_client_certificate_is_taken_with_its_key() -> None:
    model = parse_kubeconfig(client_pair(pair("u").cert, pair("u").key))
    assert model.client_cert_pem == pair("u").cert.decode()
    assert model.client_key_pem is not None
    assert model.client_key_pem.reveal() == pair("u").key.decode()
    assert model.token is None


PAIRS = {
    "key of another certificate": (pair("u").cert, pair("v").key, Rejection.KEY_MISMATCH),
    "two keys": (pair("u").cert, pair("u").key * 2, Rejection.BAD_PEM),
    "a certificate as key": (pair("u").cert, pair("u").cert, Rejection.BAD_PEM),
    "cut certificate": (pair("u").cert[:-40], pair("u").key, Rejection.BAD_PEM),
    "broken second block": (pair("u").cert + b"-----BEGIN CERTIFICATE-----\n!", pair("u").key, Rejection.BAD_PEM),
    "garbage inside": (
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        pair("u").key,
        Rejection.BAD_PEM,
    ),
}


@pytest.mark.parametrize(("cert", "key", "expected"), PAIRS.values(), ids=PAIRS.keys())
def test_a_client_pair_that_does_not_work_is_refused(cert: bytes, key: bytes, expected: Rejection) -> None:
    assert rejection(client_pair(cert, key)).reason is expected


def test_text_around_pem_blocks_is_dropped() -> None:
    changed = document()
    changed["clusters"][0]["cluster"]["certificate-authority-data"] = b64(b"# mine\n" + pair("ca").cert + b"trailer\n")
    assert parse_kubeconfig(json.dumps(changed).encode()) == parse_kubeconfig(VALID.encode())


SERVERS = {
    "https://API.Tenant.Example": ("api.tenant.example", 443, ""),
    "https://10.1.2.3:6443/": ("10.1.2.3", 6443, ""),
    "https://[FD00::1]:6443": ("fd00::1", 6443, ""),
    "https://host:8443/k8s/clusters/c-1": ("host", 8443, "/k8s/clusters/c-1"),
}


@pytest.mark.parametrize(("server", "expected"), SERVERS.items())
def test_a_server_is_taken_apart(server: str, expected: tuple[str, int, str]) -> None:
    model = parse_kubeconfig(with_member("cluster", "server", server))
    assert (model.host, model.port, model.path_prefix) == expected


def test_a_secret_without_the_key_says_which_key() -> None:
    with pytest.raises(KubeconfigRejected, match='"config"') as caught:
        parse_secret({"metadata": {"name": "s"}, "data": {"kubeconfig": "eA=="}})
    assert caught.value.reason is Rejection.MISSING_KEY
    assert parse_secret({"data": {"config": b64(VALID.encode())}}).port == 6443


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    with pytest.raises(KubeconfigRejected):
        parse_kubeconfig(data)


@given(st.integers(0, len(VALID) - 1), st.sampled_from(list("\n\t {}[]&*!|>%@`'\",:#?-x\\\x00")))
def test_a_valid_kubeconfig_with_one_character_changed_never_breaks_out(at: int, character: str) -> None:
    changed = VALID[:at] + character + VALID[at + 1 :]
    try:
        model = parse_kubeconfig(changed.encode())
    except KubeconfigRejected:
        return
    assert parse_kubeconfig(render_kubeconfig(model)) == model
