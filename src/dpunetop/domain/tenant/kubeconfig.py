"""The tenant's kubeconfig: parsed to a closed model, and rebuilt from it. The original is never passed on.

Whoever writes the Secret is not trusted: a kubeconfig can name programs to run, files to send and proxies to go
through. So nothing here resolves anything; what the model has no place for is refused, with one line that says what,
where and what to do. A member that is null or empty is not there, whatever its key, and `extensions` say nothing.
Source: client-go, the kubeconfig types `tools/clientcmd/api/v1` and what `tools/clientcmd` makes of them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn

import yaml

from dpunetop.base.quoting import quoted
from dpunetop.base.sensitive import Sensitive
from dpunetop.domain.names import KUBECONFIG_KEY
from dpunetop.domain.tenant.pem import PEM_LIMIT_BYTES, BadPem, certificates, private_key
from dpunetop.kube.meta import Obj

SIZE_LIMIT_BYTES = 256 * 1024
_DEEPEST = 16
_MOST_EVENTS = 4096

_Tree = str | bool | None | list["_Tree"] | dict[str, "_Tree"]


class Rejection(StrEnum):
    """Why a kubeconfig is not taken; each is one thing that a person can repair."""

    MISSING_KEY = "MissingKey"
    TOO_LARGE = "TooLarge"
    NOT_YAML = "NotYaml"
    TOO_DEEP = "TooDeep"
    ALIAS = "Alias"
    TAG = "Tag"
    DUPLICATE_KEY = "DuplicateKey"
    UNKNOWN_KEY = "UnknownKey"
    WRONG_TYPE = "WrongType"
    SEVERAL = "Several"
    MISSING_VALUE = "MissingValue"
    EXEC = "Exec"
    AUTH_PROVIDER = "AuthProvider"
    FILE_REFERENCE = "FileReference"
    IMPERSONATION = "Impersonation"
    BASIC_AUTH = "Password"
    PROXY = "Proxy"
    INSECURE = "Insecure"
    NOT_HTTPS = "NotHttps"
    BAD_SERVER = "BadServer"
    BAD_BEARER = "BadToken"
    BAD_PEM = "BadPem"
    KEY_MISMATCH = "KeyMismatch"


class KubeconfigRejected(ValueError):
    """A tenant kubeconfig that the policy refuses. `message` is one line, safe to show, without any secret."""

    def __init__(self, reason: Rejection, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class TenantKubeconfig:
    """All that may be known of how to reach a tenant. At least a token or a client certificate is there."""

    host: str
    """DNS name or address, lower case, without brackets."""
    port: int
    path_prefix: str
    """Empty, or begins with `/` and does not end with one."""
    ca_pem: str
    tls_server_name: str | None = None
    token: Sensitive | None = None
    client_cert_pem: str | None = None
    client_key_pem: Sensitive | None = None

    @property
    def server(self) -> str:
        """The URL of the API server."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}{self.path_prefix}"


def parse_secret(secret: Obj) -> TenantKubeconfig:
    """Read the kubeconfig from key `config` of a Secret.

    Raises: KubeconfigRejected.
    """
    text = (secret.get("data") or {}).get(KUBECONFIG_KEY)
    if not isinstance(text, str):
        raise KubeconfigRejected(
            Rejection.MISSING_KEY, f'the Secret has no key "{KUBECONFIG_KEY}"; store the kubeconfig under that key'
        )
    return parse_kubeconfig(_decoded(text, f"data.{KUBECONFIG_KEY}"))


def parse_kubeconfig(data: bytes) -> TenantKubeconfig:
    """Read a kubeconfig (YAML or JSON) under the policy for tenants.

    Guarantees: constant depth, bounded size and time whatever the input; nothing is opened, resolved or run.
    Raises: KubeconfigRejected.
    """
    root = _Node(_tree(data), "")
    root.allow("apiVersion", "kind", "preferences", "clusters", "contexts", "users", "current-context")
    root.child("preferences").allow("colors")
    _check_header(root)
    cluster_entry, cluster = _only(root, "clusters", "cluster")
    user_entry, user = _only(root, "users", "user")
    context_entry, context = _only(root, "contexts", "context")
    context.allow("cluster", "user", "namespace")
    if not isinstance(context.child("namespace").value, str | None):
        _refuse(Rejection.WRONG_TYPE, f"{context.path}.namespace", "is not text")
    _check_link(root, "current-context", context_entry)
    _check_link(context, "cluster", cluster_entry)
    _check_link(context, "user", user_entry)
    return _model(cluster, user)


def render_kubeconfig(model: TenantKubeconfig) -> bytes:
    """The kubeconfig that we hand out: canonical JSON with one cluster, one user, one context, all inline."""
    return _rendered(model, _user_members(model))


def render_with_token_file(model: TenantKubeconfig, path: str) -> bytes:
    """The same server with the token in our file at `path`; the text holds no secret."""
    return _rendered(model, {"tokenFile": path})


def render_with_token_aside(model: TenantKubeconfig, path: str) -> bytes:
    """`render_kubeconfig`, but the token, if there is one, is read from a file of ours at `path`; a certificate is
    inline."""
    members = _user_members(model)
    if members.pop("token", None) is not None:
        members["tokenFile"] = path
    return _rendered(model, members)


def _rendered(model: TenantKubeconfig, user: Mapping[str, str]) -> bytes:
    document = document_of(model.server, model.ca_pem, model.tls_server_name, user)
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def document_of(server: str, ca_pem: str, tls_server_name: str | None, user: Mapping[str, str]) -> Mapping[str, Any]:
    """A kubeconfig with one cluster, one user and one context."""
    cluster = {"server": server, "certificate-authority-data": _base64(ca_pem)}
    if tls_server_name is not None:
        cluster["tls-server-name"] = tls_server_name
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tenant", "cluster": cluster}],
        "contexts": [{"name": "tenant", "context": {"cluster": "tenant", "user": "tenant"}}],
        "current-context": "tenant",
        "users": [{"name": "tenant", "user": user}],
    }


def server_print(kubeconfig: TenantKubeconfig) -> str:
    """What tells one server from another: where it is looked for, and which authority it has to prove."""
    said = (kubeconfig.server, kubeconfig.tls_server_name or "", kubeconfig.ca_pem)
    return hashlib.sha256("\0".join(said).encode()).hexdigest()


def fingerprint(model: TenantKubeconfig) -> str:
    """Equal for equal models: says whether a changed Secret changed anything that we use."""
    return hashlib.sha256(render_kubeconfig(model)).hexdigest()


# --- YAML to a tree, without ever building more than the policy needs ---


def _tree(data: bytes) -> _Tree:
    if len(data) > SIZE_LIMIT_BYTES:
        _refuse(Rejection.TOO_LARGE, "", f"is larger than {SIZE_LIMIT_BYTES // 1024} KiB; keep one context only")
    try:
        text = data.decode("utf-8")
        events = _Events(text)
        tree = events.document()
    except (UnicodeDecodeError, yaml.YAMLError):
        # The parser's own words quote the input, which may be a token.
        _refuse(Rejection.NOT_YAML, "", "is not valid YAML or JSON; store the file as it is, in UTF-8")
    return tree


class _Events:
    """A pull parser over YAML events that refuses what parsers disagree on before anything is built."""

    def __init__(self, text: str) -> None:
        self._events = iter(yaml.parse(text, Loader=yaml.CSafeLoader))
        self._count = 0

    def document(self) -> _Tree:
        self._next()  # stream start
        start = self._next()
        if isinstance(start, yaml.StreamEndEvent):
            _refuse(Rejection.NOT_YAML, "", "is empty; store the kubeconfig under this key")
        if isinstance(start, yaml.DocumentStartEvent) and (start.version or start.tags):
            _refuse(Rejection.TAG, "", "has a YAML directive; remove lines that begin with %")
        tree = self._value(self._next(), "", 0)
        self._next()  # document end
        if not isinstance(self._next(), yaml.StreamEndEvent):
            _refuse(Rejection.SEVERAL, "", "holds several YAML documents; keep one")
        return tree

    def _next(self) -> yaml.Event:
        self._count += 1
        if self._count > _MOST_EVENTS:
            _refuse(Rejection.TOO_LARGE, "", "has too many entries; keep one cluster, one user and one context")
        return next(self._events)

    def _value(self, event: yaml.Event, path: str, depth: int) -> _Tree:
        if depth > _DEEPEST:
            _refuse(Rejection.TOO_DEEP, path, f"is nested more than {_DEEPEST} levels deep")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            _refuse(Rejection.ALIAS, path, "uses a YAML anchor or alias; write the value out")
        if getattr(event, "tag", None) is not None:
            _refuse(Rejection.TAG, path, "has a YAML tag; remove it")
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path, depth)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path, depth)
        return _scalar(event)

    def _mapping(self, path: str, depth: int) -> dict[str, _Tree]:
        found: dict[str, _Tree] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                _refuse(Rejection.UNKNOWN_KEY, path, "has a key that is not plain text")
            self._value(event, path, depth)  # anchors and tags of the key itself
            key = str(event.value)
            if key == _MERGE:
                _refuse(Rejection.ALIAS, path, "has a YAML merge key (<<); write the values out")
            if key in found:
                _refuse(Rejection.DUPLICATE_KEY, path, f"has the key {quoted(key)} twice; keep one")
            found[key] = self._value(self._next(), f"{path}.{_shown(key)}", depth + 1)
        return found

    def _sequence(self, path: str, depth: int) -> list[_Tree]:
        found: list[_Tree] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            found.append(self._value(event, f"{path}[{len(found)}]", depth + 1))
        return found


def _scalar(event: yaml.Event) -> str | bool | None:
    # What is neither a truth value nor null stays text: a number is refused where text is not what belongs there.
    assert isinstance(event, yaml.ScalarEvent)
    if not event.implicit[0]:
        return str(event.value)
    return _PLAIN.get(event.value, str(event.value))


def _spellings(*words: str) -> tuple[str, ...]:
    return tuple(form for word in words for form in (word, word.capitalize(), word.upper()))


# As client-go reads them, whose YAML is 1.1 in this; but for `y` and `n`, which are names as well.
_PLAIN: Mapping[str, bool | None] = {
    **dict.fromkeys(_spellings("true", "yes", "on"), True),
    **dict.fromkeys(_spellings("false", "no", "off"), False),
    **dict.fromkeys((*_spellings("null"), "~", ""), None),
}
_MERGE = "<<"


def _shown(key: str) -> str:
    return key if key in _KNOWN_KEYS else quoted(key)


# --- the tree to the model ---


@dataclass(frozen=True, slots=True)
class _Node:
    """A place in the tree that knows its own path, so that each refusal can name it."""

    value: _Tree
    path: str

    def members(self) -> dict[str, _Tree]:
        """What is there, of a mapping. The one place that says what counts as not there."""
        if self.value is None:
            return {}
        if not isinstance(self.value, dict):
            _refuse(Rejection.WRONG_TYPE, self.path, "is not a mapping; this is not a kubeconfig")
        return {key: value for key, value in self.value.items() if value not in _UNSET and key != _EXTENSIONS}

    def child(self, key: str) -> _Node:
        """What is there under `key`; a node without a value if nothing is."""
        return _Node(self.members().get(key), f"{self.path}.{key}")

    def has(self, key: str) -> bool:
        return key in self.members()

    def allow(self, *keys: str) -> None:
        for key in self.members():
            if key in keys:
                continue
            if key in _FORBIDDEN:
                reason, words = _FORBIDDEN[key]
                _refuse(reason, f"{self.path}.{key}", words)
            _refuse(Rejection.UNKNOWN_KEY, self.path, f"has the unknown key {quoted(key)}; remove it")

    def text(self) -> str:
        if self.value is None:
            _refuse(Rejection.MISSING_VALUE, self.path, "is missing")
        if not isinstance(self.value, str):
            _refuse(Rejection.WRONG_TYPE, self.path, "is not text")
        return self.value


_UNSET: tuple[_Tree, ...] = (None, "", [], {})
_EXTENSIONS = "extensions"


def _refuse(reason: Rejection, path: str, words: str) -> NoReturn:
    where = path.lstrip(".") or "the kubeconfig"
    raise KubeconfigRejected(reason, f"{where} {words}")


_RUNS = "would run a program or a plug-in here; use a token or a client certificate instead"
_FILE = "names a file, which is not read; embed it (kubectl config view --minify --flatten --raw)"
_BEARER_FILE = "names a file, which is not read; give what is in it as token"
_ACTS = "impersonates; remove it, and use a credential that has the rights itself"
_LOGIN = "is a user name or password; use a token or a client certificate instead"
_FORBIDDEN: Mapping[str, tuple[Rejection, str]] = {
    "exec": (Rejection.EXEC, _RUNS),
    "auth-provider": (Rejection.AUTH_PROVIDER, _RUNS),
    "tokenFile": (Rejection.FILE_REFERENCE, _BEARER_FILE),
    "client-certificate": (Rejection.FILE_REFERENCE, _FILE),
    "client-key": (Rejection.FILE_REFERENCE, _FILE),
    "certificate-authority": (Rejection.FILE_REFERENCE, _FILE),
    "as": (Rejection.IMPERSONATION, _ACTS),
    "as-uid": (Rejection.IMPERSONATION, _ACTS),
    "as-groups": (Rejection.IMPERSONATION, _ACTS),
    "as-user-extra": (Rejection.IMPERSONATION, _ACTS),
    "act-as": (Rejection.IMPERSONATION, _ACTS),
    "act-as-uid": (Rejection.IMPERSONATION, _ACTS),
    "act-as-groups": (Rejection.IMPERSONATION, _ACTS),
    "act-as-user-extra": (Rejection.IMPERSONATION, _ACTS),
    "username": (Rejection.BASIC_AUTH, _LOGIN),
    "password": (Rejection.BASIC_AUTH, _LOGIN),
    "proxy-url": (Rejection.PROXY, "names a proxy; remove it (the operator's own --tenant-proxy-url is the only one)"),
}
_KNOWN_KEYS = frozenset(_FORBIDDEN) | {
    *("apiVersion", "kind", "preferences", "clusters", "contexts", "users", "current-context", "name", "namespace"),
    *("cluster", "user", "context", "server", "tls-server-name", "insecure-skip-tls-verify", "token"),
    *("certificate-authority-data", "client-certificate-data", "client-key-data", "disable-compression", "colors"),
}


def _check_header(root: _Node) -> None:
    for key, expected in (("apiVersion", "v1"), ("kind", "Config")):
        if root.has(key) and root.child(key).value != expected:
            _refuse(Rejection.WRONG_TYPE, f".{key}", f"is not {expected}; this is not a kubeconfig")


def _only(root: _Node, plural: str, singular: str) -> tuple[str, _Node]:
    """The name and the body of the one entry in a list of named entries."""
    listed = root.child(plural)
    if not isinstance(listed.value, list) or not listed.value:
        _refuse(Rejection.MISSING_VALUE, listed.path, "has no entry; this is not a complete kubeconfig")
    if len(listed.value) > 1:
        words = f"has {len(listed.value)} entries; keep one (kubectl config view --minify --flatten --raw)"
        _refuse(Rejection.SEVERAL, listed.path, words)
    entry = _Node(listed.value[0], f"{listed.path}[0]")
    entry.allow("name", singular)
    return entry.child("name").text(), entry.child(singular)


def _check_link(node: _Node, key: str, expected: str) -> None:
    if node.child(key).text() != expected:
        _refuse(Rejection.MISSING_VALUE, f"{node.path}.{key}", "names something that the kubeconfig does not hold")


def _model(cluster: _Node, user: _Node) -> TenantKubeconfig:
    known = ("server", "tls-server-name", "insecure-skip-tls-verify", "disable-compression")
    cluster.allow("certificate-authority-data", *known)
    user.allow("token", "client-certificate-data", "client-key-data")
    _check_switches(cluster)
    host, port, prefix = _server(cluster.child("server"))
    cert, key = _client_pair(user)
    token = _token(user.child("token")) if user.has("token") else None
    if token is None and cert is None:
        _refuse(Rejection.MISSING_VALUE, user.path, "has neither a token nor client-certificate-data; add one")
    name = _server_name(cluster.child("tls-server-name")) if cluster.has("tls-server-name") else None
    return TenantKubeconfig(host, port, prefix, _authority(cluster), name, token, cert, key)


def _check_switches(cluster: _Node) -> None:
    if cluster.child("insecure-skip-tls-verify").value not in (None, False):
        words = "is set; remove it, and give certificate-authority-data"
        _refuse(Rejection.INSECURE, f"{cluster.path}.insecure-skip-tls-verify", words)
    if cluster.child("disable-compression").value not in (None, False, True):
        _refuse(Rejection.WRONG_TYPE, f"{cluster.path}.disable-compression", "is not true or false")


_URL = re.compile(r"([A-Za-z]+)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::([0-9]{1,5}))?((?:/[A-Za-z0-9._~:@+,=-]*)*)")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DNS_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")
_HEX_NUMBER = re.compile(r"0x[0-9a-f]*")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=:-]+")


def _server(node: _Node) -> tuple[str, int, str]:
    text = node.text()
    match = _URL.fullmatch(text)
    if match is None:
        words = "is not a plain URL such as https://api.example.com:6443 (no user, query or fragment)"
        _refuse(Rejection.BAD_SERVER, node.path, words)
    scheme, host, port, prefix = match.groups()
    if scheme.lower() != "https":
        _refuse(Rejection.NOT_HTTPS, node.path, "is not https; a tenant is only reached over TLS")
    parts = [part for part in prefix.split("/") if part]
    if any(part in (".", "..") for part in parts):
        _refuse(Rejection.BAD_SERVER, node.path, "has a path with . or .. in it")
    number = int(port) if port else 443
    if not 0 < number < 65536:
        _refuse(Rejection.BAD_SERVER, node.path, "has a port that is not a number from 1 to 65535")
    return _host(node, host.lower()), number, "".join(f"/{part}" for part in parts)


def _host(node: _Node, host: str) -> str:
    if host.startswith("[") or _last_label_is_number(host):
        try:
            return str(ipaddress.ip_address(host.strip("[]")))
        except ValueError:
            _refuse(Rejection.BAD_SERVER, node.path, "has a host that is neither a DNS name nor an address")
    if _DNS_NAME.fullmatch(host) is None:
        _refuse(Rejection.BAD_SERVER, node.path, "has a host that is neither a DNS name nor an address")
    return host


def _last_label_is_number(host: str) -> bool:
    # Resolvers read 127.1, 0x7f.1 and 2130706433 as addresses; a DNS name never ends so.
    last = host.rsplit(".", 1)[-1]
    return last.isdigit() or _HEX_NUMBER.fullmatch(last) is not None


def _server_name(node: _Node) -> str:
    name = node.text().lower()
    if _DNS_NAME.fullmatch(name) is None or _last_label_is_number(name):
        _refuse(Rejection.BAD_SERVER, node.path, "is not a DNS name")
    return name


def _token(node: _Node) -> Sensitive:
    text = node.text()
    if len(text) > PEM_LIMIT_BYTES or _TOKEN.fullmatch(text) is None:
        _refuse(Rejection.BAD_BEARER, node.path, "is not a bearer token (one line of letters, digits and ._~+/=:-)")
    return Sensitive(text)


def _authority(cluster: _Node) -> str:
    node = cluster.child("certificate-authority-data")
    if node.value is None:
        _refuse(Rejection.INSECURE, node.path, "is missing; add the CA that signed the API server's certificate")
    try:
        return certificates(_decoded(node.text(), node.path)).pem
    except BadPem as problem:
        _refuse(Rejection.BAD_PEM, node.path, str(problem))


def _client_pair(user: _Node) -> tuple[str | None, Sensitive | None]:
    cert_node, key_node = user.child("client-certificate-data"), user.child("client-key-data")
    if cert_node.value is None:
        return None, None  # a key without a certificate is not used
    node = cert_node
    try:
        cert = certificates(_decoded(cert_node.text(), cert_node.path))
        node = key_node
        key = private_key(_decoded(key_node.text(), key_node.path))
    except BadPem as problem:
        _refuse(Rejection.BAD_PEM, node.path, str(problem))
    if key.public_key != cert.leaf_public_key:
        _refuse(Rejection.KEY_MISMATCH, key_node.path, "does not belong to client-certificate-data; give the pair")
    return cert.pem, key.pem


def _decoded(text: str, path: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        _refuse(Rejection.BAD_PEM, path, "is not base64")


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _user_members(model: TenantKubeconfig) -> dict[str, str]:
    members: dict[str, str] = {}
    if model.token is not None:
        members["token"] = model.token.reveal()
    if model.client_cert_pem is not None and model.client_key_pem is not None:
        members["client-certificate-data"] = _base64(model.client_cert_pem)
        members["client-key-data"] = _base64(model.client_key_pem.reveal())
    return members
