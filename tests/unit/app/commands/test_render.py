"""`render`: what a DpuClusterConfig would have written, from files, and what cannot be known of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from dpunetop.__main__ import main
from dpunetop.app.commands.exits import Exit
from dpunetop.app.commands.paper import DryRunClusters, selected
from dpunetop.kube.keys import CONFIGMAPS, INFRA, NODES
from dpunetop.kube.plan import Apply, Delete
from dpunetop.kube.requests import Selection
from dpunetop.sandbox.seed import dpu_node, host_node
from dpunetop.sandbox.standins.ovnkube import central_tenant, infra_network, interconnect_tenant

SAMPLES = Path(__file__).parents[4] / "config" / "samples"
CONFIG, OVERRIDES = str(SAMPLES / "dpuclusterconfig.yaml"), str(SAMPLES / "env-overrides.yaml")
DPU, HOST, OVN = "bf2-worker-advnetlab13", "worker-advnetlab13", "openshift-ovn-kubernetes"


def written(path: Path, *objects: dict[str, Any]) -> str:
    path.write_text(yaml.safe_dump_all(objects), "utf-8")
    return str(path)


@pytest.fixture(name="infra")
def fixture_infra(tmp_path: Path) -> str:
    return written(tmp_path / "infra.yaml", dpu_node(DPU), *infra_network(OVN))


def tenant(path: Path, shows: Callable[[str], list[dict[str, Any]]]) -> str:
    return written(path / "tenant.yaml", *shows(OVN), host_node(HOST))


def rendered(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, int]:
    code = main(["render", "--operator-namespace", "dpunetop", *arguments])
    return capsys.readouterr().out, code


def kinds(text: str) -> set[tuple[str, str]]:
    return {(each["kind"], each["metadata"]["name"]) for each in yaml.safe_load_all(text) if each}


def test_an_interconnect_tenant_is_rendered_whole(
    infra: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ("-f", CONFIG, "-f", OVERRIDES, "-f", infra)
    said, code = rendered(capsys, *files, "--tenant-dir", tenant(tmp_path, interconnect_tenant))
    assert kinds(said) == {
        ("MachineConfig", "00-dpu-bluefield-switchdev"),
        ("MachineConfigPool", "dpu"),
        ("ConfigMap", "ovnkube-config"),
        ("ServiceAccount", "ovn-kubernetes-node"),
        ("ConfigMap", "ovnkube-node-entries"),
        ("DaemonSet", "ovnkube-node"),
        ("ServiceAccount", "dpu-drain-blocker"),
        ("Deployment", f"dpu-drain-blocker-{DPU}"),
        ("PodDisruptionBudget", f"dpu-drain-blocker-{DPU}"),
    }
    assert "not written" not in said
    assert code == Exit.GOOD


def test_what_the_tenant_does_not_show_is_named_and_the_rest_rendered(
    infra: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said, code = rendered(capsys, "-f", CONFIG, "-f", infra, "--tenant-dir", tenant(tmp_path, central_tenant))
    assert "# not written: OvnKubeReady=False NoMasters: " in said
    assert ("Secret", "ovn-cert") in kinds(said)
    assert code == Exit.UNSEEN


def test_without_a_tenant_host_configuration_is_rendered_and_the_rest_is_not_known(
    infra: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said, code = rendered(capsys, "-f", CONFIG, "-f", infra)
    assert ("MachineConfigPool", "dpu") in kinds(said)
    assert ("DaemonSet", "ovnkube-node") not in kinds(said)
    assert "# not written: TenantObjsSynced=Unknown TenantNotRead" in said
    assert code == Exit.UNSEEN


def test_the_content_of_a_secret_is_never_shown(infra: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    objects = central_tenant(OVN)
    (secret,) = [each for each in objects if each["kind"] == "Secret"]
    folder = written(tmp_path / "tenant.yaml", *objects)
    for form in ("yaml", "json", "table"):
        said, _ = rendered(capsys, "-f", CONFIG, "-f", infra, "--tenant-dir", folder, "-o", form)
        assert all(value not in said for value in secret["data"].values())
        assert "<not shown>" in said


def test_json_is_one_document(infra: str, capsys: pytest.CaptureFixture[str]) -> None:
    said, _ = rendered(capsys, "-f", CONFIG, "-f", infra, "-o", "json")
    assert set(json.loads(said)) == {"objects", "unknown"}


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        ((), "0 DpuClusterConfigs"),
        (({"kind": "DpuClusterConfig"},), "no object of the Kubernetes API"),
        (({"apiVersion": "v1", "kind": "Cat\x1b", "metadata": {"name": "x"}},), "0 DpuClusterConfigs"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(
    objects: tuple[dict[str, Any], ...], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["render", "-f", written(tmp_path / "f.yaml", *objects)]) == Exit.USAGE
    said = capsys.readouterr().err
    assert words in said
    assert "\x1b" not in said


def test_a_file_that_is_not_there_or_no_yaml_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("a: [\x07", "utf-8")
    for path in (str(tmp_path / "none.yaml"), str(bad)):
        assert main(["render", "-f", path]) == Exit.USAGE
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("selection", "is_selected"),
    [
        (Selection(NODES), True),
        (Selection(NODES, "other"), False),
        (Selection(NODES, "", "metadata.name=a"), True),
        (Selection(NODES, "", "metadata.name=b"), False),
        (Selection(NODES, "", "spec.nodeName=n,metadata.name=a"), True),
        (Selection(NODES, "", "", "app=x"), True),
        (Selection(NODES, "", "", "app=y"), False),
    ],
)
def test_a_dry_run_selects_objects_as_an_api_server_does(selection: Selection, is_selected: bool) -> None:
    obj = {"metadata": {"name": "a", "namespace": "ns", "labels": {"app": "x"}}, "spec": {"nodeName": "n"}}
    assert selected(selection, obj) is is_selected


def test_a_dry_run_write_is_read_back_and_the_second_one_changes_nothing() -> None:
    paper = DryRunClusters(lambda _cluster, _selection: ())
    desired = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "n"}, "data": {"k": "v"}}
    step = Apply(INFRA, CONFIGMAPS, desired, None, "m")
    assert paper.carry_out(step)
    assert not paper.carry_out(step)
    (found,) = paper.list(INFRA, Selection(CONFIGMAPS, "n"))
    assert found["data"] == {"k": "v"}
    assert paper.carry_out(Delete(INFRA, CONFIGMAPS, found))
    assert list(paper.list(INFRA, Selection(CONFIGMAPS, "n"))) == []
