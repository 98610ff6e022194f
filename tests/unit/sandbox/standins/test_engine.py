from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dpunetop.kube.keys import NODES, PODS, Resource
from dpunetop.sandbox.standins.engine import StandInEngine
from dpunetop.sandbox.standins.kubelet import node_status
from support.lyingserver import authority, ca_pem

NODE: dict[str, Any] = {"metadata": {"name": "n", "uid": "u", "labels": {"a": "b"}, "annotations": {"c": "d"}}}
POD: dict[str, Any] = {
    "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
    "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}], "hostNetwork": True},
    "status": {"phase": "Running", "containerStatuses": [{"name": "c", "containerID": "x", "ready": True}]},
}


@pytest.mark.parametrize(
    ("resource", "obj"),
    [(NODES, {**NODE, "status": node_status(NODE, "boot", True, {}, "2026-01-01T00:00:00Z")}), (PODS, POD)],
    ids=["a Node", "a pod"],
)
def test_a_stand_in_sees_of_an_object_all_that_its_server_shows(
    resource: Resource, obj: dict[str, Any], tmp_path: Path
) -> None:
    leaf, certificate, key = authority("test").issue_cert("admin"), tmp_path / "crt", tmp_path / "key"
    leaf.cert_chain_pems[0].write_to_path(str(certificate))
    leaf.private_key_pem.write_to_path(str(key))
    admin = SimpleNamespace(credential=SimpleNamespace(certificate=certificate, key=key))
    plane = SimpleNamespace(url="https://127.0.0.1:1", ca_pem=ca_pem().encode(), admin=admin)
    assert StandInEngine(cast(Any, plane), "infra").kept(resource, obj) == obj
