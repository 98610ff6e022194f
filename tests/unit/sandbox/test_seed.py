"""The data of the quick start is what its text says."""

from __future__ import annotations

import base64
import json

import pytest
import yaml

from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.ovnkube.copies import SOURCES, Copy, Source, copy_of
from dpunetop.domain.ovnkube.image import ChosenImage, ImageSource, ImageView, choose_image
from dpunetop.domain.ovnkube.topology import container_names
from dpunetop.domain.pairing.envfile import NodeEntry, parse_entries
from dpunetop.sandbox import seed
from dpunetop.sandbox.seed import QuickStart
from dpunetop.sandbox.standins.ovnkube import IMAGE, central_tenant, infra_network


def test_the_first_pair_is_the_one_of_the_text() -> None:
    assert QuickStart(dpus=2).pairs == {
        "bf2-worker-advnetlab13": "worker-advnetlab13",
        "bf2-worker-advnetlab14": "worker-advnetlab14",
    }


def test_the_overrides_name_a_host_for_each_dpu() -> None:
    entries = parse_entries(seed.env_overrides(QuickStart(dpus=2))["data"])
    hosts = [entry.host for entry in entries.values() if isinstance(entry, NodeEntry)]
    assert hosts == ["worker-advnetlab13", "worker-advnetlab14"]


def test_the_config_is_the_sample_that_is_shipped() -> None:
    made = seed.dpu_cluster_config(QuickStart())
    shipped = yaml.safe_load((seed.ROOT / "config" / "samples" / "dpuclusterconfig.yaml").read_text())
    assert (made["metadata"], made["spec"]) == ({**shipped["metadata"], "namespace": "default"}, shipped["spec"])


def test_the_secret_holds_the_kubeconfig_under_its_key() -> None:
    made = seed.kubeconfig_secret(QuickStart(), {"kind": "Config"})
    assert json.loads(base64.b64decode(made["data"]["config"])) == {"kind": "Config"}
    assert made["metadata"] == {"name": "tenant-cluster-1-kubeconf", "namespace": "default"}


def test_the_served_namespace_gets_the_rights_of_the_component_under_its_own_name() -> None:
    made = seed.served_namespace("default", "another-secret")
    places = {obj["metadata"].get("namespace", obj["metadata"]["name"]) for obj in made}
    [role] = [obj for obj in made if obj["kind"] == "Role"]
    assert (places, role["rules"][0]["resourceNames"]) == ({"default"}, ["another-secret"])
    assert "tenant-cluster-1" not in json.dumps(made)


def test_the_operator_gets_its_kind_and_rights_and_is_not_run_twice() -> None:
    kinds = {obj["kind"] for obj in seed.operator_installation()}
    assert {"CustomResourceDefinition", "ServiceAccount", "ClusterRole", "ClusterRoleBinding"} <= kinds
    assert not kinds & {"Deployment", "Service", "PodDisruptionBudget"}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_the_tenant_shows_what_can_be_copied(source: Source) -> None:
    objects = {(obj["kind"], obj["metadata"]["name"]): obj for obj in central_tenant("ovn")}
    owner = Owner({"metadata": {"name": "c", "uid": "u"}}, "hash")
    assert isinstance(copy_of(source, objects[(source.resource.kind, source.name)], "ns", owner), Copy)


def test_the_tenant_looks_central_and_infra_names_an_image() -> None:
    [_, tenants] = [obj for obj in central_tenant("ovn") if obj["kind"] == "DaemonSet"]
    [infras] = [obj for obj in infra_network("ovn") if obj["kind"] == "DaemonSet"]
    assert container_names(tenants) == {"ovn-controller", "ovnkube-node"}
    assert choose_image(ImageView(None, None, "", tenants, infras)) == ChosenImage(IMAGE, ImageSource.INFRA)
