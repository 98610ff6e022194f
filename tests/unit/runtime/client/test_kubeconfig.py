from __future__ import annotations

import base64
import json
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from dpunetop.runtime.client.connection import (
    Anonymous,
    ClientCertificate,
    ConfigurationError,
    Connection,
    Redacted,
    TokenFile,
    TokenSource,
)
from dpunetop.runtime.client.kubeconfig import infra_connection
from support.pki import pair

CA = pair("ca").cert.decode()


def kubeconfig(folder: Path, user: dict[str, Any], **cluster: Any) -> str:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "me",
        "contexts": [{"name": "me", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://infra.test:6443/", **cluster}}],
        "users": [{"name": "u", "user": user}],
    }
    file = folder / "config"
    file.write_text(yaml.safe_dump(config))
    return str(file)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_a_kubeconfig_with_a_certificate_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    mine = pair("me")
    user = {"client-certificate-data": encoded(mine.cert), "client-key-data": encoded(mine.key)}
    path = kubeconfig(
        tmp_path, user, **{"certificate-authority-data": encoded(CA.encode()), "tls-server-name": "kubernetes"}
    )
    assert infra_connection(path) == Connection(
        "https://infra.test:6443",
        CA,
        ClientCertificate(mine.cert.decode(), Redacted(mine.key.decode())),
        "kubernetes",
    )
    assert [file.name for file in tmp_path.iterdir()] == ["config"]


def test_the_ca_of_a_kubeconfig_is_read_again_where_it_is_a_file_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_text(CA)
    named = infra_connection(kubeconfig(tmp_path, {}, **{"certificate-authority": str(file)}))
    embedded = infra_connection(kubeconfig(tmp_path, {}, **{"certificate-authority-data": encoded(CA.encode())}))
    assert (named.ca_pem, named.ca_file, embedded.ca_pem, embedded.ca_file) == (CA, file, CA, None)


def test_a_kubeconfig_with_a_token(tmp_path: Path) -> None:
    connection = infra_connection(kubeconfig(tmp_path, {"token": "abc"}))
    assert isinstance(connection.credential, TokenSource)
    assert connection.credential.read() == "abc"
    assert connection.ca_pem is None
    assert "abc" not in repr(connection)


def test_a_kubeconfig_with_a_plugin_asks_it_again_when_its_token_has_expired(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    told = {"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1"}
    answer = json.dumps({**told, "status": {"token": "t-COUNT", "expirationTimestamp": "2020-01-01T00:00:00Z"}})
    plugin.write_text(
        f"#!/bin/sh\necho x >> {tmp_path}/runs\necho '{answer}' | sed s/COUNT/$(wc -l < {tmp_path}/runs | tr -d ' ')/\n"
    )
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    exec_ = {"apiVersion": told["apiVersion"], "command": str(plugin), "interactiveMode": "Never"}
    credential = infra_connection(kubeconfig(tmp_path, {"exec": exec_})).credential
    assert isinstance(credential, TokenSource)
    first, second = credential.read(), credential.read()
    assert first.startswith("t-")
    assert first != second


def test_a_kubeconfig_without_a_user_is_anonymous(tmp_path: Path) -> None:
    assert infra_connection(kubeconfig(tmp_path, {})).credential == Anonymous()


def test_no_proxy_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert infra_connection(kubeconfig(tmp_path, {})).proxy_url is None


@pytest.mark.parametrize(
    ("user", "cluster", "word"),
    [
        ({}, {"insecure-skip-tls-verify": True}, "insecure-skip-tls-verify"),
        ({}, {"proxy-url": "http://p:1"}, "proxy-url"),
        ({"username": "u", "password": "hunter2"}, {}, "password"),
        ({}, {"certificate-authority": "/nowhere/ca.crt"}, "/nowhere/ca.crt"),
        ({"client-certificate": "/nowhere/c.crt", "client-key": "/nowhere/c.key"}, {}, "/nowhere/c.crt"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_one_line(
    tmp_path: Path, user: dict[str, Any], cluster: dict[str, Any], word: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        infra_connection(kubeconfig(tmp_path, user, **cluster))
    message = str(caught.value)
    assert word in message
    assert "\n" not in message
    assert "hunter2" not in message


@pytest.mark.parametrize("text", ["", "{", "[]", "kind: Config", "a: [b", "contexts: 3", "\x00"])
def test_a_kubeconfig_that_is_none_is_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        infra_connection(str(file))
    assert "\n" not in str(caught.value)


def test_a_kubeconfig_that_does_not_exist_is_one_line() -> None:
    with pytest.raises(ConfigurationError, match="/nowhere/config"):
        infra_connection("/nowhere/config")


def test_in_a_pod_the_service_account_is_used_and_its_token_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc")
    (tmp_path / "ca.crt").write_text(CA)
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    assert infra_connection(None, environ, tmp_path) == Connection(
        "https://[fd00::1]:443", CA, TokenFile(str(tmp_path / "token")), ca_file=tmp_path / "ca.crt"
    )


def test_in_a_pod_without_a_service_account_is_one_line(tmp_path: Path) -> None:
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    with pytest.raises(ConfigurationError, match="ServiceAccount"):
        infra_connection(None, environ, tmp_path)


def test_the_kubeconfig_at_home_is_the_last_resort(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--kubeconfig"):
        infra_connection(None, {"HOME": str(tmp_path)}, tmp_path)
    (tmp_path / ".kube").mkdir()
    kubeconfig(tmp_path / ".kube", {"token": "abc"})
    assert infra_connection(None, {"HOME": str(tmp_path)}, tmp_path).url == "https://infra.test:6443"
