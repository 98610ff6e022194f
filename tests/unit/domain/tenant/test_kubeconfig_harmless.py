"""Kubeconfigs as people's tools make them, and what client-go takes beside: each is taken, and read as client-go does.

The counterpart of the hostile corpus. Source: client-go `tools/clientcmd/api/v1/types.go` and `tools/clientcmd`
(v0.37.2), which takes all of this but empty values of another type than the member's, such as a list for a text: those
are nothing here too.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from dpunetop.domain.tenant.kubeconfig import parse_kubeconfig
from dpunetop.domain.tenant.kubeconfigmodel import KubeconfigRejected, TenantKubeconfig
from support.toolkubeconfigs import (
    CA,
    CA_PEM,
    CERT,
    CERT_PEM,
    KEY,
    KEY_PEM,
    PARAMETERS,
    SEC1,
    SERVER,
    TOKEN,
    TOOLS,
    b64,
)


def base() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": SERVER, "certificate-authority-data": CA}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
        "users": [{"name": "u", "user": {"token": TOKEN}}],
    }


BASE = json.dumps(base(), indent=1)
"""YAML takes JSON: members can be put into it as text."""
MODEL = parse_kubeconfig(BASE.encode())
_PLACES = {
    "file": '"apiVersion": "v1"',
    "cluster": f'"server": "{SERVER}"',
    "context": '"user": "u"',
    "user": f'"token": "{TOKEN}"',
}


def beside(place: str, text: str) -> str:
    """The file with one more member at a place."""
    assert BASE.count(_PLACES[place]) == 1
    return BASE.replace(_PLACES[place], f"{_PLACES[place]},\n{text}")


# --- null and empty ---------------------------------------------------------------------------------------------------

UNSET = ("null", "~", "Null", "NULL", "", '""', "''", "[]", "{}")
OPTIONAL = {
    "file": ("preferences", "extensions"),
    "cluster": (
        *("tls-server-name", "insecure-skip-tls-verify", "certificate-authority", "proxy-url", "disable-compression"),
        *("extensions", "LocationOfOrigin"),
    ),
    "context": ("namespace", "extensions"),
    "user": (
        *(
            "client-certificate",
            "client-certificate-data",
            "client-key",
            "client-key-data",
            "tokenFile",
            "as",
            "as-uid",
        ),
        *("as-groups", "as-user-extra", "username", "password", "auth-provider", "exec", "extensions"),
    ),
}
"""Every member that client-go's types do not ask for, by where it belongs; `LocationOfOrigin` older versions wrote."""
NOTHING = {
    f"{place}: {key}: {unset or 'nothing'}": beside(place, f'"{key}": {unset}')
    for place, keys in OPTIONAL.items()
    for key in keys
    for unset in UNSET
}


@pytest.mark.parametrize("text", NOTHING.values(), ids=NOTHING.keys())
def test_a_member_that_is_null_or_empty_is_not_there(text: str) -> None:
    assert parse_kubeconfig(text.encode()) == MODEL


@pytest.mark.parametrize("unset", UNSET)
@pytest.mark.parametrize("key", ["apiVersion", "kind"])
def test_a_header_may_be_empty_or_missing(key: str, unset: str) -> None:
    document = base()
    expected = document.pop(key)
    assert parse_kubeconfig(json.dumps(document).encode()) == MODEL
    assert parse_kubeconfig(BASE.replace(f'"{key}": "{expected}"', f'"{key}": {unset}').encode()) == MODEL


@pytest.mark.parametrize("unset", UNSET)
def test_a_token_that_is_empty_leaves_the_certificate(unset: str) -> None:
    text = f'"client-certificate-data": "{CERT}", "client-key-data": "{KEY}", "token": {unset}'
    model = parse_kubeconfig(BASE.replace(_PLACES["user"], text).encode())
    assert model.token is None
    assert model.client_cert_pem == CERT_PEM.decode()


REQUIRED = {
    "server": (_PLACES["cluster"], "server"),
    "authority": (f'"certificate-authority-data": "{CA}"', "certificate-authority-data"),
    "token": (_PLACES["user"], "token"),
    "user of the context": (_PLACES["context"], "user"),
    "cluster of the context": ('"cluster": "c"', "cluster"),
    "context in use": ('"current-context": "x"', "current-context"),
}


@pytest.mark.parametrize(("text", "key"), REQUIRED.values(), ids=REQUIRED.keys())
@pytest.mark.parametrize("unset", UNSET)
def test_what_is_needed_is_missing_when_it_is_null_or_empty(text: str, key: str, unset: str) -> None:
    with pytest.raises(KubeconfigRejected, match=r"is missing|neither a token nor"):
        parse_kubeconfig(BASE.replace(text, f'"{key}": {unset}').encode())


# --- what else client-go takes ----------------------------------------------------------------------------------------

_EXTENSIONS = '"extensions": [{"name": "a", "extension": {"exec": {"command": "x"}, "tokenFile": "/x", "n": [1, 1.5]}}]'
ALIKE = {
    **{f"extensions of the {place}": beside(place, _EXTENSIONS) for place in _PLACES},
    "extensions of the preferences": beside("file", f'"preferences": {{"colors": true, {_EXTENSIONS}}}'),
    "colours": beside("file", '"preferences": {"colors": true}'),
    **{
        f"verification that is not skipped: {word}": beside("cluster", f'"insecure-skip-tls-verify": {word}')
        for word in ("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF")
    },
    **{
        f"compression: {word}": beside("cluster", f'"disable-compression": {word}')
        for word in ("true", "True", "yes", "on", "false", "no", "off")
    },
    "namespace": beside("context", '"namespace": "kube-system"'),
    "a key that no certificate goes with": beside("user", f'"client-key-data": "{KEY}"'),
    "one slash at the end": BASE.replace(SERVER, f"{SERVER}/"),
    "two slashes at the end": BASE.replace(SERVER, f"{SERVER}//"),
    "capitals in the server": BASE.replace(SERVER, "HTTPS://API.Tenant.Example:6443"),
    "CRLF": BASE.replace("\n", "\r\n"),
    "document marks": f"---\n{BASE}\n...\n",
    "comments": f"# mine\n{BASE}\n# end \u00e9\n",
    "one line of JSON": json.dumps(base(), separators=(",", ":")),
    "indented by tabs, as JSON": json.dumps(base(), indent="\t"),
    "authority in escaped lines": BASE.replace(CA, CA[:76] + "\\n" + CA[76:] + "\\r\\n"),
}


@pytest.mark.parametrize("text", ALIKE.values(), ids=ALIKE.keys())
def test_what_changes_nothing_is_read_as_if_it_were_not_there(text: str) -> None:
    assert parse_kubeconfig(text.encode()) == MODEL


PATHS = {
    "https://rancher.example/k8s/clusters/local": "/k8s/clusters/local",
    "https://rancher.example/k8s/clusters/c-1/": "/k8s/clusters/c-1",
    "https://kcp.example/clusters/root:org:team": "/clusters/root:org:team",
    "https://proxy.example:8443/a//b": "/a/b",
    "https://proxy.example/v1/projects/1/memberships/m@x": "/v1/projects/1/memberships/m@x",
    "https://proxy.example/kind=cluster,name=a+b": "/kind=cluster,name=a+b",
}


@pytest.mark.parametrize(("server", "prefix"), PATHS.items())
def test_a_server_behind_a_path_is_taken(server: str, prefix: str) -> None:
    model = parse_kubeconfig(BASE.replace(SERVER, server).encode())
    assert model.path_prefix == prefix
    assert parse_kubeconfig(BASE.replace(SERVER, model.server).encode()) == model


# --- PEM as tools write it --------------------------------------------------------------------------------------------

_BAG = "Bag Attributes\n    localKeyID: 01 02 03\n    friendlyName: Gerät\nsubject=/O=Société\n".encode()
_TEXT = b"Certificate:\n    Data:\n        Version: 3 (0x2)\n        Signature: 30:45-02:21 -- x\n"
_KEY_BAG = b"Bag Attributes\n    localKeyID: 01 02 03\nKey Attributes: <No Attributes>\n"
KEYS = {
    "PKCS #8": KEY_PEM,
    "SEC 1": SEC1,
    "parameters before it": PARAMETERS + SEC1,
    "parameters after it": SEC1 + PARAMETERS,
    "parameters and attributes": _KEY_BAG + PARAMETERS + b"\n" + SEC1,
    "attributes": _KEY_BAG + KEY_PEM,
    "a comment": b"# key of u\n" + KEY_PEM + b"# end\n",
    "its certificate before it": CERT_PEM + KEY_PEM,
    "its certificate after it": KEY_PEM + CERT_PEM,
    "a chain around it": CERT_PEM + KEY_PEM + CA_PEM,
    "CRLF": (PARAMETERS + SEC1).replace(b"\n", b"\r\n"),
    "blank lines": b"\n\n" + KEY_PEM + b"\n\n\n",
    "no last newline": KEY_PEM.rstrip(),
}
CERTS = {
    "a chain": CERT_PEM + CA_PEM,
    "its key after it": CERT_PEM + KEY_PEM,
    "its key before it": KEY_PEM + CERT_PEM,
    "parameters": PARAMETERS + SEC1 + CERT_PEM,
    "attributes, not in ASCII": _BAG + CERT_PEM,
    "its text before it": _TEXT + CERT_PEM,
    "a request beside it": CERT_PEM + b"-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n",
    "CRLF": CERT_PEM.replace(b"\n", b"\r\n"),
    "no last newline": CERT_PEM.rstrip(),
}
AUTHORITIES = {
    "attributes, not in ASCII": _BAG + CA_PEM,
    "its text before it": _TEXT + CA_PEM,
    "a key beside it": KEY_PEM + CA_PEM,
    "a list of revocations beside it": CA_PEM + b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n",
    "CRLF": CA_PEM.replace(b"\n", b"\r\n"),
}


def of_pair(cert: bytes, key: bytes) -> str:
    members = {"client-certificate-data": b64(cert), "client-key-data": b64(key)}
    return BASE.replace(_PLACES["user"], json.dumps(members)[1:-1])


PAIRS = {
    **{f"key with {name}": of_pair(CERT_PEM, pem) for name, pem in KEYS.items()},
    **{f"certificate with {name}": of_pair(pem, KEY_PEM) for name, pem in CERTS.items()},
    "both in both": of_pair(CERT_PEM + PARAMETERS + SEC1, CERT_PEM + PARAMETERS + SEC1),
}


@pytest.mark.parametrize("text", PAIRS.values(), ids=PAIRS.keys())
def test_a_client_pair_is_taken_whatever_stands_around_it(text: str) -> None:
    model = parse_kubeconfig(text.encode())
    assert model.client_cert_pem is not None
    assert model.client_cert_pem.startswith(CERT_PEM.decode())
    assert "PRIVATE" not in model.client_cert_pem
    assert model.client_key_pem is not None
    assert model.client_key_pem.reveal() == KEY_PEM.decode()


@pytest.mark.parametrize("pem", AUTHORITIES.values(), ids=AUTHORITIES.keys())
def test_an_authority_is_taken_whatever_stands_around_it(pem: bytes) -> None:
    assert parse_kubeconfig(BASE.replace(CA, b64(pem)).encode()) == MODEL


# --- the files of tools -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", TOOLS.values(), ids=TOOLS.keys())
def test_what_a_tool_makes_is_taken(text: str) -> None:
    model = parse_kubeconfig(text.encode())
    assert model.ca_pem.startswith(CA_PEM.decode())
    assert (model.token is None) != (model.client_cert_pem is None)


@pytest.mark.parametrize("text", TOOLS.values(), ids=TOOLS.keys())
def test_what_a_tool_makes_is_taken_in_lines_of_windows_too(text: str) -> None:
    assert _parsed(text.replace("\n", "\r\n")) == _parsed(text)


def _parsed(text: str) -> TenantKubeconfig:
    return parse_kubeconfig(text.encode())


CORPUS = {
    **{f"tool: {name}": text for name, text in TOOLS.items()},
    **{f"nothing: {name}": text for name, text in NOTHING.items()},
    **{f"alike: {name}": text for name, text in ALIKE.items()},
    **{f"path: {name}": BASE.replace(SERVER, name) for name in PATHS},
    **{f"pair: {name}": text for name, text in PAIRS.items()},
    **{f"authority: {name}": BASE.replace(CA, b64(pem)) for name, pem in AUTHORITIES.items()},
}


def test_the_corpus_is_as_large_as_it_claims() -> None:
    assert len(CORPUS) >= 280
