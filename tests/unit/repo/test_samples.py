"""There is a sample for each step of the quick start, in the namespace that its step uses, and each is taken."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from dpunetop.domain import names
from dpunetop.domain.tenant.kubeconfig import parse_kubeconfig
from support.toolkubeconfigs import CA_PEM

SAMPLES = Path(__file__).parents[3] / "config" / "samples"
QUICK_START = sorted((SAMPLES / "quickstart").glob("*.yaml"))
CLUSTER = "tenant-cluster-1"

Obj = dict[str, Any]


def sample(path: Path) -> Obj:
    loaded: Obj = yaml.safe_load(path.read_text())
    return loaded


def test_each_object_that_the_quick_start_makes_has_a_sample() -> None:
    found = {(sample(path)["kind"], sample(path)["metadata"]["name"]) for path in QUICK_START}
    assert found == {
        ("Secret", "tenant-cluster-1-kubeconf"),
        ("ConfigMap", names.ENV_OVERRIDES),
        ("DpuClusterConfig", "dpuclusterconfig-sample"),
    }


@pytest.mark.parametrize("path", QUICK_START, ids=lambda path: path.stem)
def test_a_sample_of_the_quick_start_differs_from_that_of_a_cluster_in_the_namespace_alone(path: Path) -> None:
    here, there = sample(path), sample(SAMPLES / path.name)
    assert here["metadata"].pop("namespace") == "default"
    assert there["metadata"].pop("namespace") == CLUSTER
    assert here == there


def test_a_kubeconfig_of_the_form_of_the_sample_is_taken() -> None:
    text = sample(SAMPLES / "kubeconfig-secret.yaml")["stringData"]["config"]
    filled = text.replace("<base64 of the PEM of the certificate authority>", base64.b64encode(CA_PEM).decode())
    parsed = parse_kubeconfig(filled.replace("<token>", "abc").encode())
    assert "api.tenant-cluster-1.example" in str(parsed)


def test_the_kustomization_holds_all_but_the_credential_and_what_the_operator_makes() -> None:
    listed = set(sample(SAMPLES / "kustomization.yaml")["resources"])
    assert listed == {"tenant-namespace", "env-overrides.yaml", "dpuclusterconfig.yaml"}
    others = {path.name for path in SAMPLES.glob("*.yaml")} - listed
    assert others == {"kustomization.yaml", "kubeconfig-secret.yaml", "dpunode.yaml"}
