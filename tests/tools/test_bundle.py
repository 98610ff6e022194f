"""The bundle for OLM: valid by its own validators and schema, and nothing of config/ is missing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hack.bundle.__main__ import IN_THE_VERSION, LEFT_OUT, key

from dpunetop.sandbox import binaries
from dpunetop.sandbox.controlplane import ControlPlane

pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "deploy" / "bundle"
[VERSION] = BUNDLE.glob("manifests/*.clusterserviceversion.yaml")

Obj = dict[str, Any]


def objects(path: Path) -> list[Obj]:
    return [each for each in yaml.safe_load_all(path.read_text()) if each]


def version() -> Obj:
    [found] = objects(VERSION)
    return found


def installed() -> list[Obj]:
    return objects(ROOT / "deploy" / "dpunetop.yaml")


def validate(installers: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([installers / "olm", "validate", folder], capture_output=True, text=True, check=False)


def test_the_validators_accept_the_bundle(installers: Path) -> None:
    said = validate(installers, BUNDLE)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_the_validators_report_a_broken_bundle(installers: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(BUNDLE, tmp_path / "bundle")
    wrong = version()
    wrong["spec"]["customresourcedefinitions"]["owned"][0]["version"] = "v2"
    (folder / "manifests" / VERSION.name).write_text(yaml.safe_dump(wrong))
    assert validate(installers, folder).returncode == 1


@pytest.fixture(name="api")
def fixture_api(installers: Path, infra: ControlPlane) -> ControlPlane:
    """An API server that serves ClusterServiceVersions by their own definition."""
    said = subprocess.run([installers / "olm", "crd"], capture_output=True, text=True, check=True)
    infra.apply(json.loads(said.stdout))
    return infra


def apply(programs: binaries.Binaries, api: ControlPlane, obj: Obj) -> subprocess.CompletedProcess[str]:
    command = [str(programs.path("kubectl")), f"--kubeconfig={api.admin_kubeconfig}", "apply", "--server-side"]
    command += ["--dry-run=server", "--validate=strict", "--filename=-"]
    placed = {**obj, "metadata": {**obj["metadata"], "namespace": "default"}}
    return subprocess.run(command, input=json.dumps(placed), capture_output=True, text=True, check=False)


def test_the_api_server_takes_it_with_no_field_that_it_does_not_know(
    programs: binaries.Binaries, api: ControlPlane
) -> None:
    said = apply(programs, api, version())
    assert said.returncode == 0, said.stderr


def test_the_api_server_would_refuse_a_field_that_it_does_not_know(
    programs: binaries.Binaries, api: ControlPlane
) -> None:
    wrong = version()
    wrong["spec"]["relatedImage"] = wrong["spec"].pop("relatedImages")
    assert "relatedImage" in apply(programs, api, wrong).stderr


def test_everything_that_is_installed_otherwise_is_in_it() -> None:
    beside = {key(each) for path in BUNDLE.glob("manifests/*.yaml") for each in objects(path)}
    bindings = [each for each in installed() if each["kind"] == "RoleBinding" and each["roleRef"]["kind"] == "Role"]
    granted = {name for each in bindings for name in (key(each), f"Role {each['roleRef']['name']}")}
    assert {key(each) for each in installed()} - beside - granted == {*IN_THE_VERSION, *LEFT_OUT}


def rules(entries: Iterable[Obj]) -> list[str]:
    return sorted(json.dumps(rule, sort_keys=True) for entry in entries for rule in entry["rules"])


def test_it_grants_the_operator_what_the_manifests_grant() -> None:
    spec = version()["spec"]["install"]["spec"]
    ours = [each for each in installed() if each["kind"] == "Role" or key(each) == "ClusterRole dpunetop"]
    assert rules([*spec["permissions"], *spec["clusterPermissions"]]) == rules(ours)
    assert {each["serviceAccountName"] for each in [*spec["permissions"], *spec["clusterPermissions"]]} == {"dpunetop"}


def test_the_description_names_the_rights_that_the_bundle_grants_in_more_namespaces_than_the_manifests() -> None:
    elsewhere = [
        each
        for each in installed()
        if each["kind"] == "Role" and each["metadata"]["namespace"] != "openshift-dpu-network-operator"
    ]
    named = {name for each in elsewhere for rule in each["rules"] for name in rule.get("resourceNames", ["Events"])}
    assert named == {"ovnkube-node", "kubernetes", "Events"}
    assert [name for name in named if name not in version()["spec"]["description"]] == []


def test_each_image_that_it_runs_is_a_related_one_and_no_digest_is_made_up() -> None:
    [deployment] = version()["spec"]["install"]["spec"]["deployments"]
    images = {each["image"] for each in deployment["spec"]["template"]["spec"]["containers"]}
    assert {each["image"] for each in version()["spec"]["relatedImages"]} == images
    assert version()["metadata"]["annotations"]["containerImage"] in images
    assert "sha256:" not in VERSION.read_text()


def test_the_install_mode_is_that_which_the_arguments_say() -> None:
    modes = {each["type"]: each["supported"] for each in version()["spec"]["installModes"]}
    [deployment] = version()["spec"]["install"]["spec"]["deployments"]
    assert "--watch-namespaces=*" in deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert [mode for mode, supported in modes.items() if supported] == ["AllNamespaces"]


def test_the_namespace_that_it_suggests_is_the_one_of_the_manifests() -> None:
    template = json.loads(version()["metadata"]["annotations"]["operatorframework.io/suggested-namespace-template"])
    [namespace] = [each for each in installed() if each["kind"] == "Namespace"]
    assert template == namespace


def test_with_an_image_of_ones_own_it_is_that_everywhere(
    programs: binaries.Binaries, installers: Path, tmp_path: Path
) -> None:
    image = f"registry.example/mine/dpunetop@sha256:{'0' * 64}"
    command = [str(ROOT / "hack" / "deploy"), "print", str(programs.path("kubectl")), image]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (tmp_path / "dpunetop.yaml").write_text(printed)
    subprocess.run([sys.executable, "-m", "hack.bundle", tmp_path, tmp_path / "bundle"], cwd=ROOT, check=True)
    assert validate(installers, tmp_path / "bundle").returncode == 0
    text = (tmp_path / "bundle" / "manifests" / VERSION.name).read_text()
    assert (text.count(image), text.count("registry.example/dpunetop")) == (3, 0)
