"""Programs that are given from outside, and the manifests beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dpunetop.sandbox.realneighbours import __main__ as command
from dpunetop.sandbox.realneighbours import machineconfig, maintenance
from dpunetop.sandbox.realneighbours.program import Program, Unavailable, program_at

CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "a"},
    "spec": {},
}


@pytest.fixture(name="folder")
def fixture_folder(tmp_path: Path) -> Path:
    """A program that says its version, with manifests beside it."""
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho 'Controller v4.23.0-1-g77-dirty-7ff337a4'\n")
    program.chmod(0o755)
    (tmp_path / "program.manifests").mkdir()
    return tmp_path


def manifest(folder: Path, *objects: object) -> None:
    (folder / "program.manifests" / "some.yaml").write_text(yaml.safe_dump_all(objects))


def program(folder: Path) -> Program:
    return program_at("MCC", str(folder / "program"))


def test_definitions_are_found_as_files_have_them_and_as_a_cluster_shows_them(folder: Path) -> None:
    shown = {**CRD, "metadata": {"name": "b", "uid": "u", "managedFields": [], "labels": {"x": "y"}}, "status": {}}
    manifest(folder, CRD, {"apiVersion": "v1", "kind": "List", "items": [shown]}, {"kind": "Secret", "metadata": {}})
    found = program(folder).objects("CustomResourceDefinition")
    assert [obj["metadata"] for obj in found] == [{"name": "a"}, {"name": "b", "labels": {"x": "y"}}]
    assert all("status" not in obj for obj in found)


def test_a_program_that_is_none_is_refused_with_its_variable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"^NMO: .*nothing is not an executable program"):
        program_at("NMO", str(tmp_path / "nothing"))


def test_a_program_without_manifests_is_refused_with_the_folder_that_was_looked_at(folder: Path) -> None:
    with pytest.raises(Unavailable, match=r"^NMO_CRDS: .*program\.manifests holds no manifests"):
        program_at("NMO", str(folder / "program"))


def test_the_version_is_what_stands_before_the_commit(folder: Path) -> None:
    manifest(folder, CRD)
    assert machineconfig.version_of(program(folder)) == "v4.23.0-1-g77-dirty"


def test_a_program_that_does_not_say_its_version_is_refused(folder: Path) -> None:
    manifest(folder, CRD)
    (folder / "program").write_text("#!/bin/sh\necho usage\n")
    with pytest.raises(Unavailable, match=r"prints 'usage.*not a machine-config-controller"):
        machineconfig.version_of(program(folder))


def test_a_policy_is_left_out_with_its_binding_where_its_parameter_is_not_there(folder: Path) -> None:
    def policy(name: str, **spec: Any) -> Any:
        return {"kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": spec}

    def binding(name: str) -> Any:
        spec = {"policyName": name}
        return {"kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": f"{name}-binding"}, "spec": spec}

    given = {"paramKind": {"kind": "Infrastructure"}}, {"paramKind": {"kind": "OSImageStream"}}
    policies = policy("plain"), policy("there", **given[0]), policy("not-there", **given[1])
    manifest(folder, *policies, *map(binding, ("plain", "there", "not-there")))
    apt = machineconfig.apt_policies(program(folder), {"Infrastructure"})
    assert [obj["metadata"]["name"] for obj in apt] == ["plain", "there", "plain-binding", "there-binding"]


def test_the_controller_renders_only_from_what_its_own_version_made() -> None:
    [config] = [obj for obj in machineconfig.presumed("v1", b"ca") if obj["kind"] == "ControllerConfig"]
    assert config["metadata"]["annotations"]["machineconfiguration.openshift.io/generated-by-version"] == "v1"


def test_webhooks_are_asked_where_the_program_listens() -> None:
    service = {"name": "s", "namespace": "n", "path": "/validate"}
    configuration = {"webhooks": [{"name": "w", "failurePolicy": "Fail", "clientConfig": {"service": service}}]}
    [webhook] = maintenance.reachable(configuration, b"ca")["webhooks"]
    assert webhook["clientConfig"] == {"url": "https://127.0.0.1:9443/validate", "caBundle": "Y2E="}
    assert webhook["failurePolicy"] == "Fail"


def test_without_any_program_nothing_is_run_and_that_is_said_aloud(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for variable in command.VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    assert command.main(["touch", str(tmp_path / "ran")]) == 0
    assert not (tmp_path / "ran").exists()
    assert capsys.readouterr().err.count("SKIPPED") == len(command.VARIABLES)


def test_a_program_that_cannot_be_used_is_no_skip(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NMO", "/nowhere")
    assert command.main(["true"]) == 1
    assert "NMO: /nowhere" in capsys.readouterr().err
