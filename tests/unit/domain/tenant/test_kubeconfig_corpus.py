"""Kubeconfigs that somebody could store to get at the operator, infra or the DPUs: each is refused for its reason.

One hostile member each, in an otherwise good file, beside files that are no kubeconfig at all. Source: the kubeconfig
types of client-go, and what parsers of YAML are known to disagree on.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dpunetop.domain.tenant.kubeconfig import parse_kubeconfig, parse_secret
from dpunetop.domain.tenant.kubeconfigmodel import KubeconfigRejected, Rejection, TenantKubeconfig, render_kubeconfig
from support.pki import pair

TOKEN = "eyJhbGciOiJub25lIn0.canary-0123456789.c2lnbmF0dXJl"
SERVER = "https://api.tenant.example:6443"
CANARY = "CANARY-FILE"
"""Stands in the corpus for the path of a file that must never come to be."""


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


CA = b64(pair("ca").cert)
CERT, KEY = b64(pair("u").cert), b64(pair("u").key)
ENCRYPTED = b64(pair("u").key.replace(b" PRIVATE", b" ENCRYPTED PRIVATE"))
GOOD = f"""apiVersion: v1
kind: Config
clusters:
- name: c
  cluster:
    server: {SERVER}
    certificate-authority-data: {CA}
contexts:
- name: x
  context:
    cluster: c
    user: u
current-context: x
users:
- name: u
  user:
    token: {TOKEN}
"""


def of_user(text: str) -> str:
    return GOOD.replace(f"    token: {TOKEN}\n", f"    token: {TOKEN}\n{text}")


def as_user(text: str) -> str:
    return GOOD.replace(f"    token: {TOKEN}\n", text)


def of_cluster(text: str) -> str:
    return GOOD.replace(f"    server: {SERVER}\n", f"    server: {SERVER}\n{text}")


def at(server: str) -> str:
    return GOOD.replace(SERVER, server)


def of_context(text: str) -> str:
    return GOOD.replace("    user: u\n", f"    user: u\n{text}")


EXEC = f"    exec: {{apiVersion: client.authentication.k8s.io/v1, command: touch, args: [{CANARY}]}}\n"
RUNS = {
    "program": (of_user(EXEC), Rejection.EXEC),
    "program only": (as_user(EXEC), Rejection.EXEC),
    "program in a shell": (as_user(f"    exec: {{command: sh, args: [-c, 'touch {CANARY}']}}\n"), Rejection.EXEC),
    "program with an environment": (
        of_user("    exec: {command: id, env: [{name: LD_PRELOAD, value: /tmp/x.so}], interactiveMode: Always}\n"),
        Rejection.EXEC,
    ),
    "program as JSON in YAML": (of_user(f'    "exec": {{"command": "{CANARY}"}}\n'), Rejection.EXEC),
    "program with an escaped name": (of_user(f'    "\\x65xec": {{"command": "{CANARY}"}}\n'), Rejection.EXEC),
    "program with a unicode escape": (of_user(f'    "\\u0065xec": {{"command": "{CANARY}"}}\n'), Rejection.EXEC),
    "program as a complex key": (of_user(f"    ? exec\n    : {{command: {CANARY}}}\n"), Rejection.EXEC),
    "program without a command": (of_user("    exec: {command: ~, args: []}\n"), Rejection.EXEC),
    "program beside a null of the same name": (
        of_user(f"    exec:\n    exec: {{command: {CANARY}}}\n"),
        Rejection.DUPLICATE_KEY,
    ),
    "program that is false": (of_user("    exec: false\n"), Rejection.EXEC),
    "program of a cluster": (of_cluster(f"    exec: {{command: {CANARY}}}\n"), Rejection.EXEC),
    "program of the file": (f"{GOOD}exec: {{command: {CANARY}}}\n", Rejection.EXEC),
    "plug-in": (
        of_user(f"    auth-provider: {{name: gcp, config: {{cmd-path: {CANARY}}}}}\n"),
        Rejection.AUTH_PROVIDER,
    ),
    "object of Python": (
        of_user(f"    x: !!python/object/apply:os.system ['touch {CANARY}']\n"),
        Rejection.TAG,
    ),
    "module of Python": (f"!!python/module:antigravity\n{GOOD}", Rejection.TAG),
    "object of Python as a key": (of_user(f"    !!python/name:os.system x: {CANARY}\n"), Rejection.TAG),
}
FILES = {
    "token file of the operator": (
        as_user("    tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token\n"),
        Rejection.FILE_REFERENCE,
    ),
    "token and token file": (of_user("    tokenFile: /proc/self/environ\n"), Rejection.FILE_REFERENCE),
    "token file by a relative path": (as_user("    tokenFile: ../../token\n"), Rejection.FILE_REFERENCE),
    "certificate file": (as_user("    client-certificate: /etc/shadow\n"), Rejection.FILE_REFERENCE),
    "key file": (of_user("    client-key: /etc/kubernetes/pki/ca.key\n"), Rejection.FILE_REFERENCE),
    "authority file": (of_cluster("    certificate-authority: /etc/passwd\n"), Rejection.FILE_REFERENCE),
    "token file in other letters": (of_user("    TokenFile: /etc/passwd\n"), Rejection.UNKNOWN_KEY),
    "token file with a dash": (of_user("    token-file: /etc/passwd\n"), Rejection.UNKNOWN_KEY),
    "location of origin": (of_cluster("    LocationOfOrigin: /etc\n"), Rejection.UNKNOWN_KEY),
}
WAYS = {
    "proxy": (of_cluster("    proxy-url: http://6.6.6.6:3128\n"), Rejection.PROXY),
    "proxy by SOCKS": (of_cluster("    proxy-url: socks5://6.6.6.6\n"), Rejection.PROXY),
    "http": (at("http://api.tenant.example:6443"), Rejection.NOT_HTTPS),
    "unix socket": (at("unix:///var/run/docker.sock"), Rejection.BAD_SERVER),
    "file": (at("file://localhost/etc/passwd"), Rejection.NOT_HTTPS),
    "no scheme": (at("api.tenant.example:6443"), Rejection.BAD_SERVER),
    "user and host": (at("https://api.tenant.example@6.6.6.6:6443"), Rejection.BAD_SERVER),
    "backslash": (at("https://api.tenant.example\\@6.6.6.6"), Rejection.BAD_SERVER),
    "query": (at(f"{SERVER}?x=/readyz"), Rejection.BAD_SERVER),
    "fragment": (at(f"'{SERVER}#x'"), Rejection.BAD_SERVER),
    "path upwards": (at(f"{SERVER}/k8s/../../metrics"), Rejection.BAD_SERVER),
    "escaped path": (at(f"{SERVER}/%2e%2e/x"), Rejection.BAD_SERVER),
    "second header": (at(f'"{SERVER}\\r\\nAuthorization: Basic eA=="'), Rejection.BAD_SERVER),
    "white space": (at(f'"{SERVER} /x"'), Rejection.BAD_SERVER),
    "null byte in the server": (at(f'"{SERVER}\\0.example"'), Rejection.BAD_SERVER),
    "metadata service as one number": (at("https://2852039166"), Rejection.BAD_SERVER),
    "metadata service in hexadecimal": (at("https://0xa9.0xfe.0xa9.0xfe"), Rejection.BAD_SERVER),
    "loopback in octal": (at("https://0177.0.0.1:6443"), Rejection.BAD_SERVER),
    "zone of an address": (at("https://[fe80::1%25eth0]:6443"), Rejection.BAD_SERVER),
    "name in another script": (at("https://аpi.tenant.example"), Rejection.BAD_SERVER),
    "port zero": (at("https://api.tenant.example:0"), Rejection.BAD_SERVER),
    "port too large": (at("https://api.tenant.example:65536"), Rejection.BAD_SERVER),
    "server that is a list": (at(f"[{SERVER}]"), Rejection.WRONG_TYPE),
    "no verification": (of_cluster("    insecure-skip-tls-verify: true\n"), Rejection.INSECURE),
    "no verification in 1.1": (of_cluster("    insecure-skip-tls-verify: on\n"), Rejection.INSECURE),
    "no verification as a number": (of_cluster("    insecure-skip-tls-verify: 1\n"), Rejection.INSECURE),
    "no verification as text": (of_cluster('    insecure-skip-tls-verify: "true"\n'), Rejection.INSECURE),
    "no authority": (GOOD.replace(f"    certificate-authority-data: {CA}\n", ""), Rejection.INSECURE),
    "authority that is null": (GOOD.replace(CA, "null"), Rejection.INSECURE),
    "authority that is a key": (GOOD.replace(CA, KEY), Rejection.BAD_PEM),
    "authority in DER": (GOOD.replace(CA, b64(b"\x30\x82\x01\x00" * 8)), Rejection.BAD_PEM),
    "authority that is a path": (GOOD.replace(CA, b64(b"/etc/passwd")), Rejection.BAD_PEM),
    "server name that is an address": (of_cluster("    tls-server-name: 127.0.0.1\n"), Rejection.BAD_SERVER),
    "server name with a wildcard": (of_cluster('    tls-server-name: "*.example"\n'), Rejection.BAD_SERVER),
}
WHO = {
    "acting as an administrator": (of_user("    as: system:admin\n"), Rejection.IMPERSONATION),
    "acting as masters": (of_user("    as-groups: [system:masters]\n"), Rejection.IMPERSONATION),
    "acting as a UID": (of_user("    as-uid: '0'\n"), Rejection.IMPERSONATION),
    "acting as with more": (of_user("    as-user-extra: {scopes: [all]}\n"), Rejection.IMPERSONATION),
    "acting as in old words": (of_user("    act-as: system:admin\n"), Rejection.IMPERSONATION),
    "acting as groups in old words": (of_user("    act-as-groups: [system:masters]\n"), Rejection.IMPERSONATION),
    "acting as groups of nobody": (of_user('    as: ""\n    as-groups: [system:masters]\n'), Rejection.IMPERSONATION),
    "user name": (of_user("    username: admin\n"), Rejection.BASIC_AUTH),
    "password": (of_user(f"    password: {TOKEN}\n"), Rejection.BASIC_AUTH),
    "token with a second header": (as_user(f'    token: "{TOKEN}\\r\\nX-Remote-User: admin"\n'), Rejection.BAD_BEARER),
    "token with a space": (as_user(f'    token: "Basic {TOKEN}"\n'), Rejection.BAD_BEARER),
    "token with a command": (as_user(f"    token: $(touch {CANARY})\n"), Rejection.BAD_BEARER),
    "token that is a list": (as_user(f"    token: [{TOKEN}]\n"), Rejection.WRONG_TYPE),
    "token that is empty": (as_user('    token: ""\n'), Rejection.MISSING_VALUE),
    "token that is huge": (as_user(f"    token: {'x' * 70_000}\n"), Rejection.BAD_BEARER),
    "no credential": (as_user("    token:\n"), Rejection.MISSING_VALUE),
    "certificate without its key": (as_user(f"    client-certificate-data: {CERT}\n"), Rejection.MISSING_VALUE),
    "key of another certificate": (
        as_user(f"    client-certificate-data: {CERT}\n    client-key-data: {b64(pair('v').key)}\n"),
        Rejection.KEY_MISMATCH,
    ),
    "key that is encrypted": (
        as_user(f"    client-certificate-data: {CERT}\n    client-key-data: {ENCRYPTED}\n"),
        Rejection.BAD_PEM,
    ),
}
SHAPES = {
    "alias": (GOOD.replace(TOKEN, f"&a {TOKEN}") + "x: *a\n", Rejection.ALIAS),
    "alias of nothing": (as_user("    token: *nowhere\n"), Rejection.ALIAS),
    "alias bomb": (
        "a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [*{'b' + str(n - 1) if n else 'a'}]\n" for n in range(30)),
        Rejection.ALIAS,
    ),
    "alias to itself": ("a: &a [*a]\n", Rejection.ALIAS),
    "anchor of the document": (f"--- &all\n{GOOD}", Rejection.ALIAS),
    "anchor of a key": (GOOD.replace("    token:", "    &a token:"), Rejection.ALIAS),
    "merge key": (of_user("    <<: {token: other}\n"), Rejection.ALIAS),
    "merge key in quotes": (of_user('    "<<": {token: other}\n'), Rejection.ALIAS),
    "merge key of the file": (f"{GOOD}<<: [{{users: []}}]\n", Rejection.ALIAS),
    "tag": (GOOD.replace("token: ", "token: !!str "), Rejection.TAG),
    "tag of bytes": (GOOD.replace("token: ", "token: !!binary "), Rejection.TAG),
    "tag of a mapping": (GOOD.replace("  user:\n", "  user: !!omap\n"), Rejection.TAG),
    "tag that says nothing": (GOOD.replace("token: ", "token: ! "), Rejection.TAG),
    "tag by its URI": (GOOD.replace("token: ", "token: !<tag:yaml.org,2002:str> "), Rejection.TAG),
    "directive of tags": (f"%TAG ! tag:evil.example,2026:\n---\n{GOOD}", Rejection.TAG),
    "directive of the version": (f"%YAML 1.2\n---\n{GOOD}", Rejection.TAG),
    "a second token": (of_user("    token: other\n"), Rejection.DUPLICATE_KEY),
    "a second token in quotes": (of_user("    'token': other\n"), Rejection.DUPLICATE_KEY),
    "a second token in escapes": (of_user('    "\\x74oken": other\n'), Rejection.DUPLICATE_KEY),
    "a second token beside an empty one": (of_user('    token: ""\n'), Rejection.DUPLICATE_KEY),
    "extensions twice": (f"{GOOD}extensions: []\nextensions: []\n", Rejection.DUPLICATE_KEY),
    "alias in extensions": (f"{GOOD}extensions: [{{name: a, extension: &a [*a]}}]\n", Rejection.ALIAS),
    "deep extensions": (f"{GOOD}extensions: {'[' * 40}{']' * 40}\n", Rejection.TOO_DEEP),
    "many extensions": (f"{GOOD}extensions: [{'x,' * 5000}]\n", Rejection.TOO_LARGE),
    "preferences that nobody knows": (f"{GOOD}preferences: {{editor: {CANARY}}}\n", Rejection.UNKNOWN_KEY),
    "empty merge key": (of_user("    <<: {}\n"), Rejection.ALIAS),
    "a second user of one entry": (f"{GOOD}  user: {{token: other}}\n", Rejection.DUPLICATE_KEY),
    "a second name": (f"{GOOD}  name: u\n", Rejection.DUPLICATE_KEY),
    "a second server": (of_cluster("    server: https://6.6.6.6\n"), Rejection.DUPLICATE_KEY),
    "a second user of the context": (of_context("    user: other\n"), Rejection.DUPLICATE_KEY),
    "a second list of users": (f"{GOOD}users: []\n", Rejection.DUPLICATE_KEY),
    "a second context in use": (f"{GOOD}current-context: other\n", Rejection.DUPLICATE_KEY),
    "a second user": (f"{GOOD}- name: v\n  user: {{token: other}}\n", Rejection.SEVERAL),
    "a second document": (f"{GOOD}---\n{GOOD}", Rejection.SEVERAL),
    "a context of another user": (GOOD.replace("    user: u\n", "    user: v\n"), Rejection.MISSING_VALUE),
    "another context in use": (GOOD.replace("current-context: x", "current-context: y"), Rejection.MISSING_VALUE),
    "no context in use": (GOOD.replace("current-context: x\n", ""), Rejection.MISSING_VALUE),
    "another kind": (GOOD.replace("kind: Config", "kind: List"), Rejection.WRONG_TYPE),
    "another version": (GOOD.replace("apiVersion: v1", "apiVersion: v2"), Rejection.WRONG_TYPE),
    "a mapping as a key": (f"{GOOD}? {{a: b}}\n: c\n", Rejection.UNKNOWN_KEY),
    "users as a mapping": (GOOD.replace("- name: u\n  user:", "  name: u\n  user:"), Rejection.MISSING_VALUE),
    "a null byte": (f"{GOOD}\x00", Rejection.NOT_YAML),
    "a null byte in a token": (as_user(f'    token: "{TOKEN}\\0"\n'), Rejection.BAD_BEARER),
    "a control character": (f"{GOOD}# \x1b[2J\n", Rejection.NOT_YAML),
    "tabs": (GOOD.replace("    ", "\t"), Rejection.NOT_YAML),
    "deep lists": ("- " * 100_000 + "a", Rejection.TOO_DEEP),
    "deep JSON": ("[\n" * 100_000, Rejection.TOO_DEEP),
    "deep JSON in one line": ("[" * 200_000, Rejection.NOT_YAML),
    "deep mappings": ("".join(f"{' ' * n}a:\n" for n in range(600)), Rejection.TOO_DEEP),
    "many entries": ("a: [" + "x," * 50_000 + "]", Rejection.TOO_LARGE),
    "ten megabytes": (f"{GOOD}# {'x' * 10_000_000}\n", Rejection.TOO_LARGE),
    "a page of HTML": ("<html><body>not found</body></html>", Rejection.WRONG_TYPE),
    "a certificate": (pair("ca").cert.decode(), Rejection.WRONG_TYPE),
    "a Secret": ("apiVersion: v1\nkind: Secret\ndata: {a: b}\n", Rejection.UNKNOWN_KEY),
    "an empty Secret": ("apiVersion: v1\nkind: Secret\ndata: {}\n", Rejection.WRONG_TYPE),
    "nothing": ("", Rejection.NOT_YAML),
    "a comment": ("# nothing\n", Rejection.NOT_YAML),
}
CORPUS = {**RUNS, **FILES, **WAYS, **WHO, **SHAPES}
BYTES = {
    "UTF-16 with a mark": (b"\xff\xfe" + GOOD.encode("utf-16-le"), Rejection.NOT_YAML),
    "UTF-16 without a mark": (GOOD.encode("utf-16-be"), Rejection.NOT_YAML),
    "UTF-32": (GOOD.encode("utf-32"), Rejection.NOT_YAML),
    "overlong UTF-8": (GOOD.encode() + b"#\xc0\xaf\n", Rejection.NOT_YAML),
    "half a character": (GOOD.encode() + b"#\xe2\x82\n", Rejection.NOT_YAML),
    "a surrogate": (GOOD.encode() + b"#\xed\xa0\x80\n", Rejection.NOT_YAML),
    "compressed": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", Rejection.NOT_YAML),
}
_SECRETS = (TOKEN, CA, CERT, KEY, CA[:24], KEY[:24])


# Cannot be taken out of an interpreter again, so it is there once, and hears only while a list stands here.
_heard: list[list[str]] = []


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if _heard and event.partition(".")[0] in ("open", "socket", "subprocess", "os", "pty", "import", "exec", "compile"):
        _heard[0].append(f"{event} {arguments!r:.100}")


sys.addaudithook(_hear)


@contextmanager
def hearing() -> Iterator[list[str]]:
    """What the interpreter is asked to open, run, resolve or connect to meanwhile."""
    events: list[str] = []
    _heard.append(events)
    try:
        yield events
    finally:
        _heard.clear()


def rejection(data: bytes) -> KubeconfigRejected:
    with pytest.raises(KubeconfigRejected) as caught:
        parse_kubeconfig(data)
    return caught.value


def test_the_file_that_the_corpus_changes_is_good() -> None:
    model = parse_kubeconfig(GOOD.encode())
    assert (model.server, model.token and model.token.reveal()) == (SERVER, TOKEN)


def test_the_corpus_is_as_large_as_it_claims() -> None:
    assert len({text for text, _ in CORPUS.values()}) == len(CORPUS) >= 120
    assert {reason for _, reason in CORPUS.values()} | {Rejection.MISSING_KEY} == set(Rejection)


@pytest.mark.parametrize(("text", "expected"), CORPUS.values(), ids=CORPUS.keys())
def test_a_hostile_kubeconfig_is_refused_for_its_reason_and_nothing_is_opened_or_run(
    text: str, expected: Rejection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    parse_kubeconfig(GOOD.encode())  # has imported what is imported late
    data = text.replace(CANARY, str(tmp_path / "canary")).encode()
    with hearing() as heard:
        refused = rejection(data)
    assert refused.reason is expected
    assert heard == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("text", "_"), CORPUS.values(), ids=CORPUS.keys())
def test_what_is_said_of_a_hostile_kubeconfig_is_one_harmless_line(text: str, _: Rejection) -> None:
    message = rejection(text.encode()).message
    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 200
    assert not [secret for secret in _SECRETS if secret in message]
    assert not any(secret in str(rejection(text.encode()).__context__) for secret in _SECRETS)


@pytest.mark.parametrize(("data", "expected"), BYTES.values(), ids=BYTES.keys())
def test_bytes_that_are_not_plain_utf8_are_refused(data: bytes, expected: Rejection) -> None:
    assert rejection(data).reason is expected


def test_a_byte_order_mark_changes_nothing_or_refuses() -> None:
    try:
        model = parse_kubeconfig(b"\xef\xbb\xbf" + GOOD.encode())
    except KubeconfigRejected:
        return
    assert model == parse_kubeconfig(GOOD.encode())


@pytest.mark.parametrize(("text", "_"), CORPUS.values(), ids=CORPUS.keys())
def test_base64_around_it_changes_nothing(text: str, _: Rejection) -> None:
    with pytest.raises(KubeconfigRejected) as caught:
        parse_secret({"data": {"config": b64(text.encode())}})
    assert caught.value.reason is rejection(text.encode()).reason


# --- what is taken, two parsers read alike ----------------------------------------------------------------------------

MEMBERS = {
    "token": st.sampled_from(
        [TOKEN, "a", "12345", "yes", "null", "~", "0x1f", "1e3", "2026-01-01", "a: b", "x #y", "=", ""]
    ),
    "server": st.sampled_from(
        [SERVER, "HTTPS://API.tenant.example", "https://10.0.0.1/k8s/", "https://[FD00::1]", "http://a", "https://a b"]
    ),
    "tls-server-name": st.sampled_from([None, "a.example", "no", "1.example", "127.0.0.1", "A.EXAMPLE"]),
    "insecure-skip-tls-verify": st.sampled_from([None, False, True, "no", "off", 0, ""]),
    "disable-compression": st.sampled_from([None, True, False, "y", 1]),
    "namespace": st.sampled_from([None, "default", "true", 1, "kube-system"]),
    "exec": st.sampled_from([None, None, None, None, {"command": "x"}]),
    "style": st.sampled_from(["JSON", "plain", "'", '"', "|", ">"]),
}


def _drawn(drawn: dict[str, Any]) -> dict[str, Any]:
    def given_ones(**members: Any) -> dict[str, Any]:
        return {key.replace("_", "-"): value for key, value in members.items() if value is not None}

    cluster = given_ones(
        server=drawn["server"],
        certificate_authority_data=CA,
        tls_server_name=drawn["tls-server-name"],
        insecure_skip_tls_verify=drawn["insecure-skip-tls-verify"],
        disable_compression=drawn["disable-compression"],
    )
    return {
        "clusters": [{"name": "c", "cluster": cluster}],
        "contexts": [{"name": "x", "context": given_ones(cluster="c", user="u", namespace=drawn["namespace"])}],
        "current-context": "x",
        "users": [{"name": "u", "user": given_ones(token=drawn["token"], exec=drawn["exec"])}],
    }


def _written(document: dict[str, Any], style: str) -> bytes:
    if style == "JSON":
        return json.dumps(document).encode()
    return yaml.dump(document, Dumper=yaml.CSafeDumper, default_style=None if style == "plain" else style).encode()


def _members_of(document: Any) -> dict[str, Any]:
    """What another program takes from a document."""
    cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
    return {
        "server": str(cluster["server"]),
        "ca": base64.b64decode(cluster["certificate-authority-data"]).decode(),
        "tls-server-name": cluster.get("tls-server-name"),
        "token": user.get("token"),
    }


def _is_closed(model: TenantKubeconfig, rendered: bytes) -> None:
    """What is handed out has the members of the closed model and no others, and is its own fixed point."""
    document = json.loads(rendered)
    assert set(document) == {"apiVersion", "kind", "clusters", "contexts", "current-context", "users"}
    assert set(document["clusters"][0]["cluster"]) <= {"server", "certificate-authority-data", "tls-server-name"}
    assert set(document["users"][0]["user"]) <= {"token", "client-certificate-data", "client-key-data"}
    assert document["contexts"][0]["context"] == {"cluster": "tenant", "user": "tenant"}
    assert parse_kubeconfig(rendered) == model
    assert render_kubeconfig(parse_kubeconfig(rendered)) == rendered


@given(st.fixed_dictionaries(MEMBERS))
def test_what_is_taken_another_parser_reads_alike_and_comes_out_closed(drawn: dict[str, Any]) -> None:
    data = _written(_drawn(drawn), drawn["style"])
    try:
        model = parse_kubeconfig(data)
    except KubeconfigRejected:
        return
    assert drawn["exec"] is None
    other = json.loads(data) if drawn["style"] == "JSON" else yaml.load(data, Loader=yaml.CSafeLoader)
    theirs = _members_of(other)
    assert model.token is not None
    assert model.token.reveal() == theirs["token"]
    assert model.ca_pem == theirs["ca"]
    assert model.tls_server_name == (theirs["tls-server-name"] and theirs["tls-server-name"].lower())
    assert model.server.startswith(theirs["server"].lower().removesuffix("/").partition("/k8s")[0])
    _is_closed(model, render_kubeconfig(model))


@given(st.integers(0, len(GOOD) - 1), st.text(max_size=3), st.integers(0, 4))
def test_a_good_file_with_a_few_characters_changed_is_refused_or_read_alike(at_: int, text: str, cut: int) -> None:
    data = (GOOD[:at_] + text + GOOD[at_ + cut :]).encode("utf-8", "surrogatepass")
    try:
        model = parse_kubeconfig(data)
    except KubeconfigRejected:
        return
    theirs = _members_of(yaml.load(data, Loader=yaml.CSafeLoader))
    assert model.token is not None
    assert model.token.reveal() == str(theirs["token"])
    assert (model.tls_server_name or None) == theirs["tls-server-name"]
    _is_closed(model, render_kubeconfig(model))
