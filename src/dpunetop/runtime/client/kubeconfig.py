"""The connection to the infra API server, from a kubeconfig or from the ServiceAccount of our pod.

Only for the infra side, whose kubeconfig is trusted: its exec plugins run and its file paths are read. A tenant's
kubeconfig never comes here.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dpunetop.runtime.client.connection import (
    Anonymous,
    ClientCertificate,
    ConfigurationError,
    Connection,
    Credential,
    Redacted,
    TokenFile,
    TokenSource,
)
from dpunetop.runtime.client.package import import_bare

if TYPE_CHECKING:
    from kubernetes.client.configuration import Configuration

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_IN_CLUSTER = "KUBERNETES_SERVICE_HOST"


def infra_connection(
    kubeconfig: str | None,
    environ: Mapping[str, str] = os.environ,
    service_account: Path = SERVICE_ACCOUNT,
    context: str | None = None,
) -> Connection:
    """The connection to infra: from the given kubeconfig, else the pod's ServiceAccount, else `~/.kube/config`.

    `context` selects a context of the kubeconfig; None: its current one.

    Raises: ConfigurationError, in one line, if none of these exists or the one found is unusable.
    """
    if kubeconfig:
        return _from_kubeconfig(kubeconfig, context)
    if environ.get(_IN_CLUSTER):
        return _from_pod(environ, service_account)
    default = Path(environ.get("HOME", "/")) / ".kube" / "config"
    if default.is_file():
        return _from_kubeconfig(str(default), context)
    raise ConfigurationError("no cluster: give --kubeconfig or KUBECONFIG, or run in a pod with a ServiceAccount")


def _from_pod(environ: Mapping[str, str], service_account: Path) -> Connection:
    import_bare()
    from kubernetes.config.config_exception import ConfigException
    from kubernetes.config.incluster_config import InClusterConfigLoader

    settings = _settings()
    token, authority = service_account / "token", service_account / "ca.crt"
    try:
        loader = InClusterConfigLoader(str(token), str(authority), environ=environ)
        loader.load_and_set(settings)
        return Connection(settings.host, authority.read_text("utf-8"), TokenFile(str(token)), ca_file=authority)
    except (ConfigException, OSError, ValueError) as err:
        raise ConfigurationError(_line("the pod's ServiceAccount cannot be used", err)) from err


def _from_kubeconfig(path: str, context: str | None) -> Connection:
    import_bare()
    from kubernetes.config.config_exception import ConfigException
    from kubernetes.config.kube_config import load_kube_config
    from yaml import YAMLError

    settings = _settings()
    # The loader writes embedded certificates and keys to files; they are read back and removed with the folder.
    with tempfile.TemporaryDirectory(prefix="dpunetop-") as folder:
        try:
            load_kube_config(path, context, client_configuration=settings, persist_config=False, temp_file_path=folder)
            return _connection(path, settings, Path(folder))
        except (ConfigException, OSError, YAMLError, ValueError, TypeError, AttributeError) as err:
            raise ConfigurationError(_line(f"kubeconfig {path} cannot be used", err)) from err


def _connection(path: str, settings: Configuration, embedded: Path) -> Connection:
    """`embedded` is the folder of the files that the loader made of embedded data, which are never rotated."""
    if not settings.verify_ssl:
        raise ConfigurationError(f"kubeconfig {path}: insecure-skip-tls-verify is not supported; give the CA")
    if settings.proxy:
        raise ConfigurationError(f"kubeconfig {path}: proxy-url is not supported for infra")
    authority = Path(settings.ssl_ca_cert) if settings.ssl_ca_cert else None
    return Connection(
        settings.host,
        authority.read_text("utf-8") if authority else None,
        _credential(path, settings),
        settings.tls_server_name or None,
        ca_file=None if authority is None or authority.is_relative_to(embedded) else authority,
    )


def _credential(path: str, settings: Configuration) -> Credential:
    if "BearerToken" in settings.api_key:
        if not _bearer(settings):
            raise ConfigurationError(f"kubeconfig {path}: user and password are not supported; use a token")
        return TokenSource(lambda: _bearer(settings))
    if settings.cert_file and settings.key_file:
        key = Redacted(Path(settings.key_file).read_text("utf-8"))
        return ClientCertificate(Path(settings.cert_file).read_text("utf-8"), key)
    return Anonymous()


def _bearer(settings: Configuration) -> str:
    """The current token: the loader's hook runs the exec plugin again once its token has expired."""
    scheme, _, token = str(settings.get_api_key_with_prefix("BearerToken")).partition(" ")
    return token if scheme.lower() == "bearer" else ""


def _settings() -> Configuration:
    from kubernetes.client.configuration import Configuration

    return Configuration(proxy="", no_proxy="")


def _line(what: str, err: Exception) -> str:
    return f"{what}: {' '.join(str(err).split())[:200]}"
