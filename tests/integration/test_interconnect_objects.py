"""What runs on the DPUs of interconnect tenants, on a real API server: accepted, canonical, one with the central."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dpunetop.app.assets import interconnect_scripts, ovnkube_scripts
from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.ovnkube.central import CentralInput, ContentHashes, central_daemonset
from dpunetop.domain.ovnkube.databases import DatabaseList
from dpunetop.domain.ovnkube.deployed import deployed_arguments
from dpunetop.domain.ovnkube.interconnect import InterconnectHashes, InterconnectInput, interconnect_daemonset
from dpunetop.domain.ovnkube.settings import SettingsView, read_settings
from dpunetop.domain.ovnkube.topology import Topology, running_topology
from dpunetop.kube.fieldsets import would_change
from dpunetop.sandbox.controlplane import ControlPlane
from support.tenants import openshift, upstream

MANAGER = "dpunetop-test"
CRD_FILE = Path(__file__).parents[2] / "config" / "crd" / "dpu.openshift.io_dpuclusterconfigs.yaml"
SELECTOR = {"matchLabels": {"node-role.kubernetes.io/dpu-worker": ""}}


@pytest.fixture
def owner(infra: ControlPlane, namespace: str) -> Owner:
    """A DpuClusterConfig that exists, else the garbage collector would take what names it as owner."""
    infra.apply(CRD_FILE)
    config = {
        "apiVersion": "dpu.openshift.io/v1alpha1",
        "kind": "DpuClusterConfig",
        "metadata": {"name": "c", "namespace": namespace},
        "spec": {"poolName": "dpu", "nodeSelector": SELECTOR},
    }
    return Owner(infra.apply(config)[0], "0123")


def interconnect(namespace: str, owner: Owner, view: SettingsView) -> dict[str, Any]:
    settings = read_settings(view).settings
    assert settings is not None
    hashes = InterconnectHashes("h1", "h2")
    given = InterconnectInput(
        namespace, owner, "registry.example/ovn:1", SELECTOR, settings, hashes, interconnect_scripts()
    )
    return interconnect_daemonset(given)


def central(namespace: str, owner: Owner) -> dict[str, Any]:
    return central_daemonset(
        CentralInput(
            namespace=namespace,
            owner=owner,
            image="registry.example/ovn:1",
            databases=DatabaseList("ssl:10.0.0.1:9641", "ssl:10.0.0.1:9642"),
            node_selector=SELECTOR,
            hashes=ContentHashes("h1", "h2", "h3", "h4"),
            scripts=ovnkube_scripts(),
        )
    )


def applied(cluster: ControlPlane, desired: dict[str, Any]) -> dict[str, Any]:
    return cluster.admin.apply_at(cluster.admin.path_of(desired), desired, MANAGER)


def shape(daemonset: dict[str, Any]) -> tuple[Any, ...]:
    """What an owner who gave something up must no longer find."""
    template = daemonset["spec"]["template"]
    pod = template["spec"]
    return (
        template["metadata"],
        [container["name"] for container in pod["containers"]],
        [volume["name"] for volume in pod["volumes"]],
        [[mount["mountPath"] for mount in container["volumeMounts"]] for container in pod["containers"]],
        [[variable["name"] for variable in container["env"]] for container in pod["containers"]],
        [container.get("args") for container in pod["containers"]],
    )


@pytest.mark.parametrize("view", [openshift((4, 20)), openshift((4, 23)), upstream()], ids=["4.20", "4.23", "upstream"])
def test_what_is_applied_once_need_not_be_applied_again(
    infra: ControlPlane, namespace: str, owner: Owner, view: SettingsView
) -> None:
    desired = interconnect(namespace, owner, view)
    live = applied(infra, desired)
    assert not would_change(desired, live, MANAGER)
    assert applied(infra, desired)["metadata"]["generation"] == live["metadata"]["generation"]
    assert running_topology(live) is Topology.INTERCONNECT
    assert deployed_arguments(live) == tuple(desired["spec"]["template"]["spec"]["containers"][-1]["args"])


def test_a_tenant_that_migrates_there_and_back_leaves_nothing_of_the_other_topology(
    infra: ControlPlane, namespace: str, owner: Owner
) -> None:
    there, back = interconnect(namespace, owner, openshift((4, 22))), central(namespace, owner)
    for desired in (back, there, back, there):
        live = applied(infra, desired)
        assert not would_change(desired, live, MANAGER)
        assert shape(live) == shape(desired)
