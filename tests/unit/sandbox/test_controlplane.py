"""The files of a control plane say what its programs expect."""

from __future__ import annotations

import pytest

from dpunetop.sandbox.components import Spec, User, token_file
from dpunetop.sandbox.controlplane import ControlPlane
from dpunetop.sandbox.controlplanerun import kubeconfig


def test_a_kubeconfig_names_one_way_to_one_server() -> None:
    assert kubeconfig("infra", "https://127.0.0.1:1", b"CA", {"token": "t"}, "ns") == {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "infra", "cluster": {"server": "https://127.0.0.1:1", "certificate-authority-data": "Q0E="}}
        ],
        "users": [{"name": "infra", "user": {"token": "t"}}],
        "contexts": [{"name": "infra", "context": {"cluster": "infra", "user": "infra", "namespace": "ns"}}],
        "current-context": "infra",
    }


def test_users_of_the_token_file_keep_all_their_groups() -> None:
    users = [User("eve", ("a", "b"), token="1"), User("bob", token="2")]
    assert token_file(users) == '1,eve,eve,"a,b"\n2,bob,bob,""\n'


def test_a_token_is_not_shown() -> None:
    assert "secret" not in repr(User("eve", token="secret"))


def test_what_was_not_started_has_no_address() -> None:
    with pytest.raises(RuntimeError, match="control plane infra is not started"):
        _ = ControlPlane(Spec("infra")).url
