"""What runs on the DPUs, on a real API server: accepted, canonical, and given up again when it changes."""

from __future__ import annotations

import base64
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from dpunetop.app.assets import ovnkube_scripts
from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.ovnkube.central import (
    CentralInput,
    ContentHashes,
    central_daemonset,
    deployed_databases,
    service_account,
)
from dpunetop.domain.ovnkube.copies import AUTHORITY, CERTIFICATE, CONFIGURATION, Copy, Source, copy_of
from dpunetop.domain.ovnkube.databases import DatabaseList
from dpunetop.domain.pairing.entries import entries_config_map
from dpunetop.kube.fieldsets import would_change
from dpunetop.sandbox.controlplane import ControlPlane
from support.pki import pair

MANAGER = "dpunetop-test"
CRD_FILE = Path(__file__).parents[2] / "config" / "crd" / "dpu.openshift.io_dpuclusterconfigs.yaml"


@pytest.fixture
def owner(infra: ControlPlane, namespace: str) -> Owner:
    """A DpuClusterConfig that exists, else the garbage collector would take what names it as owner."""
    infra.apply(CRD_FILE)
    config = {
        "apiVersion": "dpu.openshift.io/v1alpha1",
        "kind": "DpuClusterConfig",
        "metadata": {"name": "c", "namespace": namespace},
        "spec": {"poolName": "dpu", "nodeSelector": {"matchLabels": {"node-role.kubernetes.io/dpu-worker": ""}}},
    }
    return Owner(infra.apply(config)[0], "0123")


def given(namespace: str, owner: Owner) -> CentralInput:
    return CentralInput(
        namespace=namespace,
        owner=owner,
        image="registry.example/ovn:1",
        databases=DatabaseList("ssl:10.0.0.1:9641,ssl:[fd00::1]:9641", "ssl:10.0.0.1:9642,ssl:[fd00::1]:9642"),
        node_selector={
            "matchLabels": {"node-role.kubernetes.io/dpu-worker": ""},
            "matchExpressions": [{"key": "rack", "operator": "In", "values": ["a", "b"]}],
        },
        hashes=ContentHashes("h1", "h2", "h3", "h4"),
        scripts=ovnkube_scripts(),
    )


def applied(cluster: ControlPlane, desired: dict[str, Any]) -> dict[str, Any]:
    return cluster.admin.apply_at(cluster.admin.path_of(desired), desired, MANAGER)


def copied(source: Source, data: dict[str, str], namespace: str, owner: Owner) -> dict[str, Any]:
    copy = copy_of(source, {"metadata": {"name": source.name}, "data": data}, namespace, owner)
    assert isinstance(copy, Copy)
    return copy.desired


def objects(namespace: str, owner: Owner) -> list[dict[str, Any]]:
    tls = {"tls.crt": base64.b64encode(pair().cert).decode(), "tls.key": base64.b64encode(pair().key).decode()}
    pod = {"metadata": {"name": "p", "uid": "uid"}, "spec": {"nodeName": "dpu-1"}, "status": {}}
    return [
        service_account(namespace, owner),
        copied(CERTIFICATE, tls, namespace, owner),
        copied(AUTHORITY, {"ca-bundle.crt": pair("ca").cert.decode()}, namespace, owner),
        copied(CONFIGURATION, {"ovnkube.conf": "[default]\nmtu=1400\n"}, namespace, owner),
        entries_config_map(namespace, None, (), owner, MANAGER),
        entries_config_map(namespace, None, (pod,), owner, MANAGER),
        central_daemonset(given(namespace, owner)),
    ]


def test_what_is_applied_once_need_not_be_applied_again(infra: ControlPlane, namespace: str, owner: Owner) -> None:
    for desired in objects(namespace, owner):
        live = applied(infra, desired)
        assert not would_change(desired, live, MANAGER), desired["kind"]
        # The DaemonSet controller writes status meanwhile, so a resourceVersion says nothing there.
        unmoved = "generation" if desired["kind"] == "DaemonSet" else "resourceVersion"
        assert applied(infra, desired)["metadata"][unmoved] == live["metadata"][unmoved]


def test_a_changed_input_is_seen_and_applied(infra: ControlPlane, namespace: str, owner: Owner) -> None:
    first = given(namespace, owner)
    live = applied(infra, central_daemonset(first))
    assert deployed_databases(live) == first.databases
    other = DatabaseList("ssl:10.0.0.2:9641", "ssl:10.0.0.2:9642")
    for changed in (
        dataclasses.replace(first, image="registry.example/ovn:2"),
        dataclasses.replace(first, databases=other),
        dataclasses.replace(first, node_selector={"matchExpressions": [{"key": "x", "operator": "Exists"}]}),
        dataclasses.replace(first, hashes=ContentHashes("h1", "h2", "h3", "new")),
    ):
        desired = central_daemonset(changed)
        assert would_change(desired, live, MANAGER)
        live = applied(infra, desired)
        assert not would_change(desired, live, MANAGER)
        assert live["metadata"]["generation"] > 1
