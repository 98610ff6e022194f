"""The model of a tenant's kubeconfig, why one is refused, and the kubeconfigs that are rendered from the model."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn

from dpunetop.base.sensitive import Sensitive


class Rejection(StrEnum):
    """Why a kubeconfig is refused; each is one thing that a person can repair."""

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


def refuse(reason: Rejection, path: str, words: str) -> NoReturn:
    """Raises: KubeconfigRejected, with a message that begins with the path of the member."""
    where = path.lstrip(".") or "the kubeconfig"
    raise KubeconfigRejected(reason, f"{where} {words}")


@dataclass(frozen=True, slots=True)
class TenantKubeconfig:
    """How to reach a tenant. It has a token or a client certificate, or both."""

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


def render_kubeconfig(kubeconfig: TenantKubeconfig) -> bytes:
    """The kubeconfig that we hand out: canonical JSON with one cluster, one user, one context, all inline."""
    return _rendered(kubeconfig, _user_members(kubeconfig))


def render_with_token_file(kubeconfig: TenantKubeconfig, path: str) -> bytes:
    """The same server with the token in our file at `path`; the text contains no secret."""
    return _rendered(kubeconfig, {"tokenFile": path})


def render_with_token_aside(kubeconfig: TenantKubeconfig, path: str) -> bytes:
    """`render_kubeconfig`, but the token, if there is one, is read from a file of ours at `path`; a certificate is
    inline."""
    members = _user_members(kubeconfig)
    if members.pop("token", None) is not None:
        members["tokenFile"] = path
    return _rendered(kubeconfig, members)


def _rendered(kubeconfig: TenantKubeconfig, user: Mapping[str, str]) -> bytes:
    document = document_of(kubeconfig.server, kubeconfig.ca_pem, kubeconfig.tls_server_name, user)
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
    """A text that identifies a server: its URL, and the CA that has to sign its certificate."""
    said = (kubeconfig.server, kubeconfig.tls_server_name or "", kubeconfig.ca_pem)
    return hashlib.sha256("\0".join(said).encode()).hexdigest()


def fingerprint(kubeconfig: TenantKubeconfig) -> str:
    """Equal for equal models: tells whether a changed Secret changed anything that we use."""
    return hashlib.sha256(render_kubeconfig(kubeconfig)).hexdigest()


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _user_members(kubeconfig: TenantKubeconfig) -> dict[str, str]:
    members: dict[str, str] = {}
    if kubeconfig.token is not None:
        members["token"] = kubeconfig.token.reveal()
    if kubeconfig.client_cert_pem is not None and kubeconfig.client_key_pem is not None:
        members["client-certificate-data"] = _base64(kubeconfig.client_cert_pem)
        members["client-key-data"] = _base64(kubeconfig.client_key_pem.reveal())
    return members
