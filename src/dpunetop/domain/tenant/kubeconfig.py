"""The tenant's kubeconfig under the policy for tenants: parsed to a closed model; the original is never passed on.

The author of the Secret is not trusted: a kubeconfig can name programs to run, files to send and proxies to use. So
nothing here is resolved. A member that the model does not have is refused, with one line that says what, where and what
to do. A member that is null or empty counts as absent, whatever its key, and `extensions` are ignored.
Source: client-go, the kubeconfig types `tools/clientcmd/api/v1` and what `tools/clientcmd` makes of them.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

from dpunetop.base.quoting import quoted
from dpunetop.base.sensitive import Sensitive
from dpunetop.domain.names import KUBECONFIG_KEY
from dpunetop.domain.tenant.kubeconfigmodel import KubeconfigRejected, Rejection, TenantKubeconfig, refuse
from dpunetop.domain.tenant.kubeconfigtree import Tree, read_tree
from dpunetop.domain.tenant.pem import PEM_LIMIT_BYTES, BadPem, certificates, private_key
from dpunetop.kube.meta import Obj


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
    root = _Node(read_tree(data, _KNOWN_KEYS), "")
    root.allow("apiVersion", "kind", "preferences", "clusters", "contexts", "users", "current-context")
    root.child("preferences").allow("colors")
    _check_header(root)
    cluster_entry, cluster = _only(root, "clusters", "cluster")
    user_entry, user = _only(root, "users", "user")
    context_entry, context = _only(root, "contexts", "context")
    context.allow("cluster", "user", "namespace")
    if not isinstance(context.child("namespace").value, str | None):
        refuse(Rejection.WRONG_TYPE, f"{context.path}.namespace", "is not text")
    _check_link(root, "current-context", context_entry)
    _check_link(context, "cluster", cluster_entry)
    _check_link(context, "user", user_entry)
    return _model(cluster, user)


@dataclass(frozen=True, slots=True)
class _Node:
    """A place in the tree that knows its own path, so that each refusal can name it."""

    value: Tree
    path: str

    def members(self) -> dict[str, Tree]:
        """The members of a mapping that count as present. Only this function decides which count as absent."""
        if self.value is None:
            return {}
        if not isinstance(self.value, dict):
            refuse(Rejection.WRONG_TYPE, self.path, "is not a mapping; this is not a kubeconfig")
        return {key: value for key, value in self.value.items() if value not in _UNSET and key != _EXTENSIONS}

    def child(self, key: str) -> _Node:
        """The member `key`; a node without a value if it is absent."""
        return _Node(self.members().get(key), f"{self.path}.{key}")

    def has(self, key: str) -> bool:
        return key in self.members()

    def allow(self, *keys: str) -> None:
        for key in self.members():
            if key in keys:
                continue
            if key in _FORBIDDEN:
                reason, words = _FORBIDDEN[key]
                refuse(reason, f"{self.path}.{key}", words)
            refuse(Rejection.UNKNOWN_KEY, self.path, f"has the unknown key {quoted(key)}; remove it")

    def text(self) -> str:
        if self.value is None:
            refuse(Rejection.MISSING_VALUE, self.path, "is missing")
        if not isinstance(self.value, str):
            refuse(Rejection.WRONG_TYPE, self.path, "is not text")
        return self.value


_UNSET: tuple[Tree, ...] = (None, "", [], {})
_EXTENSIONS = "extensions"


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
            refuse(Rejection.WRONG_TYPE, f".{key}", f"is not {expected}; this is not a kubeconfig")


def _only(root: _Node, plural: str, singular: str) -> tuple[str, _Node]:
    """The name and the body of the one entry in a list of named entries."""
    listed = root.child(plural)
    if not isinstance(listed.value, list) or not listed.value:
        refuse(Rejection.MISSING_VALUE, listed.path, "has no entry; this is not a complete kubeconfig")
    if len(listed.value) > 1:
        words = f"has {len(listed.value)} entries; keep one (kubectl config view --minify --flatten --raw)"
        refuse(Rejection.SEVERAL, listed.path, words)
    entry = _Node(listed.value[0], f"{listed.path}[0]")
    entry.allow("name", singular)
    return entry.child("name").text(), entry.child(singular)


def _check_link(node: _Node, key: str, expected: str) -> None:
    if node.child(key).text() != expected:
        refuse(Rejection.MISSING_VALUE, f"{node.path}.{key}", "names something that the kubeconfig does not hold")


def _model(cluster: _Node, user: _Node) -> TenantKubeconfig:
    known = ("server", "tls-server-name", "insecure-skip-tls-verify", "disable-compression")
    cluster.allow("certificate-authority-data", *known)
    user.allow("token", "client-certificate-data", "client-key-data")
    _check_switches(cluster)
    host, port, prefix = _server(cluster.child("server"))
    cert, key = _client_pair(user)
    token = _token(user.child("token")) if user.has("token") else None
    if token is None and cert is None:
        refuse(Rejection.MISSING_VALUE, user.path, "has neither a token nor client-certificate-data; add one")
    name = _server_name(cluster.child("tls-server-name")) if cluster.has("tls-server-name") else None
    return TenantKubeconfig(host, port, prefix, _authority(cluster), name, token, cert, key)


def _check_switches(cluster: _Node) -> None:
    if cluster.child("insecure-skip-tls-verify").value not in (None, False):
        words = "is set; remove it, and give certificate-authority-data"
        refuse(Rejection.INSECURE, f"{cluster.path}.insecure-skip-tls-verify", words)
    if cluster.child("disable-compression").value not in (None, False, True):
        refuse(Rejection.WRONG_TYPE, f"{cluster.path}.disable-compression", "is not true or false")


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
        refuse(Rejection.BAD_SERVER, node.path, words)
    scheme, host, port, prefix = match.groups()
    if scheme.lower() != "https":
        refuse(Rejection.NOT_HTTPS, node.path, "is not https; a tenant is only reached over TLS")
    parts = [part for part in prefix.split("/") if part]
    if any(part in (".", "..") for part in parts):
        refuse(Rejection.BAD_SERVER, node.path, "has a path with . or .. in it")
    number = int(port) if port else 443
    if not 0 < number < 65536:
        refuse(Rejection.BAD_SERVER, node.path, "has a port that is not a number from 1 to 65535")
    return _host(node, host.lower()), number, "".join(f"/{part}" for part in parts)


def _host(node: _Node, host: str) -> str:
    if host.startswith("[") or _last_label_is_number(host):
        try:
            return str(ipaddress.ip_address(host.strip("[]")))
        except ValueError:
            refuse(Rejection.BAD_SERVER, node.path, "has a host that is neither a DNS name nor an address")
    if _DNS_NAME.fullmatch(host) is None:
        refuse(Rejection.BAD_SERVER, node.path, "has a host that is neither a DNS name nor an address")
    return host


def _last_label_is_number(host: str) -> bool:
    # Resolvers read 127.1, 0x7f.1 and 2130706433 as addresses; a DNS name never ends so.
    last = host.rsplit(".", 1)[-1]
    return last.isdigit() or _HEX_NUMBER.fullmatch(last) is not None


def _server_name(node: _Node) -> str:
    name = node.text().lower()
    if _DNS_NAME.fullmatch(name) is None or _last_label_is_number(name):
        refuse(Rejection.BAD_SERVER, node.path, "is not a DNS name")
    return name


def _token(node: _Node) -> Sensitive:
    text = node.text()
    if len(text) > PEM_LIMIT_BYTES or _TOKEN.fullmatch(text) is None:
        refuse(Rejection.BAD_BEARER, node.path, "is not a bearer token (one line of letters, digits and ._~+/=:-)")
    return Sensitive(text)


def _authority(cluster: _Node) -> str:
    node = cluster.child("certificate-authority-data")
    if node.value is None:
        refuse(Rejection.INSECURE, node.path, "is missing; add the CA that signed the API server's certificate")
    try:
        return certificates(_decoded(node.text(), node.path)).pem
    except BadPem as problem:
        refuse(Rejection.BAD_PEM, node.path, str(problem))


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
        refuse(Rejection.BAD_PEM, node.path, str(problem))
    if key.public_key != cert.leaf_public_key:
        refuse(Rejection.KEY_MISMATCH, key_node.path, "does not belong to client-certificate-data; give the pair")
    return cert.pem, key.pem


def _decoded(text: str, path: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        refuse(Rejection.BAD_PEM, path, "is not base64")
