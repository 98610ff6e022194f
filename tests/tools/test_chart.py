"""The chart, by the real Helm: object by object what config/ renders to, refused where it would go wrong silently."""

from __future__ import annotations

import copy
import os
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from dpunetop.sandbox import binaries
from dpunetop.sandbox.components import Spec
from support.controlplanes import StartControlPlane

pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "chart" / "dpunetop"
NAMESPACE = "openshift-dpu-network-operator"
IMAGE = ("--set", "image.repository=registry.example/dpunetop")
KEEP = {"helm.sh/resource-policy": "keep"}
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/dpuclusterconfigs.dpu.openshift.io"

Obj = dict[str, Any]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(name="helm")
def fixture_helm(installers: Path, tmp_path: Path) -> Run:
    def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        homes = {f"HELM_{each}_HOME": str(tmp_path / each) for each in ("CACHE", "CONFIG", "DATA")}
        command = [str(installers / "helm"), *words]
        environment = {**os.environ, **homes, **environment}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)

    return run


def template(helm: Run, *options: str, namespace: str = NAMESPACE) -> list[Obj]:
    said = helm("template", "dpunetop", str(CHART), "--namespace", namespace, *IMAGE, *options)
    assert said.returncode == 0, said.stderr
    return [each for each in yaml.safe_load_all(said.stdout) if each]


def by_name(objects: Iterable[Obj]) -> dict[tuple[str, str, str], Obj]:
    """Objects by what names them, less the one annotation that the chart alone has."""
    found = {}
    for each in copy.deepcopy(list(objects)):
        metadata = each["metadata"]
        if metadata.get("annotations") == KEEP:
            del metadata["annotations"]
        found[each["kind"], metadata.get("namespace", ""), metadata["name"]] = each
    return found


def deployed(*names: str) -> list[Obj]:
    return [each for name in names for each in yaml.safe_load_all((ROOT / "deploy" / f"{name}.yaml").read_text())]


def kustomized(programs: binaries.Binaries, folder: Path, *components: str) -> list[Obj]:
    here = [os.path.relpath(ROOT / "config" / name, folder) for name in ("default", *components)]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump({"resources": here[:1], "components": here[1:]}))
    command = [str(programs.path("kubectl")), "kustomize", str(folder)]
    return list(yaml.safe_load_all(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def test_by_default_it_is_what_config_renders_to(helm: Run) -> None:
    assert by_name(template(helm)) == by_name(deployed("dpunetop"))


@pytest.mark.parametrize(
    ("option", "component"), [("hostNetwork=true", "host-network"), ("egressPolicy=true", "egress")]
)
def test_a_component_is_a_value(
    helm: Run, programs: binaries.Binaries, tmp_path: Path, option: str, component: str
) -> None:
    assert by_name(template(helm, "--set", option)) == by_name(kustomized(programs, tmp_path, component))


TENANTS = "tenants[0].namespace=tenant-cluster-1,tenants[0].kubeConfigFile=tenant-cluster-1-kubeconf"
OPTIONAL = {"admission.enabled=true": "admission", "monitoring.enabled=true": "monitoring", TENANTS: "tenant-namespace"}


@pytest.mark.parametrize("option", OPTIONAL)
def test_what_is_applied_beside_it_is_a_value(helm: Run, option: str) -> None:
    assert by_name(template(helm, "--set", option)) == by_name(deployed("dpunetop", OPTIONAL[option]))


def test_in_another_namespace_nothing_names_the_usual_one(helm: Run) -> None:
    options = ("--set", ",".join([*OPTIONAL, "hostNetwork=true", "egressPolicy=true"]))
    elsewhere = template(helm, *options, namespace="elsewhere")
    assert NAMESPACE not in yaml.safe_dump_all(elsewhere)
    assert ("Namespace", "", "elsewhere") in by_name(elsewhere)


def container(objects: list[Obj]) -> Obj:
    [found] = [each for each in objects if each["kind"] == "Deployment"]
    return dict(found["spec"]["template"]["spec"]["containers"][0])


def test_each_value_reaches_the_operator(helm: Run) -> None:
    digest = f"sha256:{'0' * 64}"
    values = ["image.digest=" + digest, "ovnkubeImage=r.example/ovn:1", "tenantNamespace=ovn", "replicas=1"]
    values += ["allowedImages={r.example/a,r.example/b/}", "extraArgs={--log-level=debug}", "resources.limits.cpu=1"]
    found = template(helm, *(word for each in values for word in ("--set", each)))
    operator = container(found)
    environment = {each["name"]: each.get("value") for each in operator["env"]}
    assert operator["image"] == f"registry.example/dpunetop@{digest}"
    assert operator["args"][-1] == "--log-level=debug"
    assert operator["resources"]["limits"] == {"memory": "512Mi", "cpu": 1}
    assert environment == {
        "NAMESPACE": None,
        "TENANT_NAMESPACE": "ovn",
        "OVNKUBE_IMAGE": "r.example/ovn:1",
        "ALLOWED_IMAGES": "r.example/a,r.example/b/",
    }


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("image.repository=", "image/repository"),
        ("imagee.tag=1", "imagee"),
        ("tenants[0].namespace=a", "kubeConfigFile"),
        ("admission.pools=it's", "admission/pools"),
        ("image.digest=latest", "image/digest"),
    ],
)
def test_a_value_that_would_go_wrong_silently_is_refused_by_name(helm: Run, option: str, words: str) -> None:
    said = helm("template", "dpunetop", str(CHART), *IMAGE, "--set", option)
    assert said.returncode != 0
    assert words in said.stderr


def test_helm_lint_accepts_the_chart(helm: Run) -> None:
    said = helm("lint", "--strict", str(CHART), *IMAGE)
    assert said.returncode == 0, said.stdout


def test_it_is_installed_upgraded_and_taken_away_without_the_configs(
    helm: Run, start_control_plane: StartControlPlane
) -> None:
    cluster = start_control_plane(Spec("infra"))
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "openshift-ovn-kubernetes"}})
    where = ("--namespace", NAMESPACE, "--kubeconfig", str(cluster.admin_kubeconfig))
    first = ("--create-namespace", "--take-ownership", "--set", TENANTS)
    said = helm("install", "dpunetop", str(CHART), *where, *IMAGE, *first)
    assert said.returncode == 0, said.stderr
    assert "the Secret tenant-cluster-1-kubeconf (key config)" in said.stdout
    labels = cluster.admin.get(f"/api/v1/namespaces/{NAMESPACE}")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "privileged"

    said = helm("upgrade", "dpunetop", str(CHART), *where, *IMAGE, "--reuse-values", "--set", "image.tag=9.9.9")
    assert said.returncode == 0, said.stderr
    live = cluster.admin.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/dpunetop")
    assert container([live])["image"] == "registry.example/dpunetop:9.9.9"

    said = helm("uninstall", "dpunetop", *where)
    assert said.returncode == 0, said.stderr
    assert cluster.admin.get_or_empty(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/dpunetop") == {}
    assert cluster.admin.get(CRD)
    assert cluster.admin.get("/api/v1/namespaces/tenant-cluster-1")["status"] == {"phase": "Active"}
