"""The documentation is built strictly, and each command and each YAML in it is carried out as it stands."""

from __future__ import annotations

import html
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from dpunetop.sandbox import binaries
from dpunetop.sandbox.components import API_ONLY, Spec
from dpunetop.sandbox.controlplane import ControlPlane

pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(r"(?:^ *<!-- not run: ([^\n]+?) -->\n)?^( *)```(\w+)[^\n]*\n(.*?)^\2```$", re.MULTILINE | re.DOTALL)
MOST_EXCEPTIONS = 10
NEEDS_A_KUBELET = {"logs", "top"}
"""Of these `kubectl --help` tells that each flag exists: no node runs here."""
OURS = {"performance.md"}
"""Pages whose commands are run by the targets that they name."""
NAMESPACES = ("openshift-ovn-kubernetes", "tenant-cluster-1")
NODES = ("bf2-worker-advnetlab13", "bf2-worker-advnetlab14", "bf2-worker-advnetlab15", "worker-advnetlab13")

Obj = dict[str, Any]


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: str
    exception: str
    language: str
    body: str

    @property
    def commands(self) -> list[str]:
        """What a person types."""
        lines = (line.strip() for line in self.body.splitlines())
        return [line[2:].replace("''", "") for line in lines if line.startswith("$ ")]


def blocks(language: str) -> Iterator[Block]:
    for page in sorted(DOCS.rglob("*.md")):
        for exception, _, found, body in FENCE.findall(page.read_text()):
            if found == language:
                yield Block(str(page.relative_to(DOCS)), exception, found, body)


def test_the_site_is_built_strictly() -> None:
    said = subprocess.run(["make", "docs"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    assert (ROOT / "site" / "troubleshooting" / "index.html").is_file()
    shown = html.unescape(re.sub("<[^>]+>", "", (ROOT / "site" / "engine" / "index.html").read_text()))
    assert (ROOT / "examples" / "greeter.py").read_text().splitlines()[0] in shown


def test_the_plots_are_those_of_the_stored_baseline(tmp_path: Path) -> None:
    said = subprocess.run(["make", ".venv-docs/.ready"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    subprocess.run([ROOT / ".venv-docs" / "bin" / "python", "hack/plots.py", tmp_path], cwd=ROOT, check=True)
    drawn = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert drawn == {path.name: path.read_bytes() for path in (DOCS / "plots").iterdir()}


def test_few_commands_are_excepted_and_each_has_a_reason() -> None:
    excepted = [block for block in blocks("console") if block.exception]
    assert len(excepted) <= MOST_EXCEPTIONS
    assert [block for block in excepted if len(block.exception) < 10] == []


def metadata(name: str, namespace: str = "", **rest: Any) -> Obj:
    return {"name": name, **({"namespace": namespace} if namespace else {}), **rest}


OPERATOR = "openshift-dpu-network-operator"
BUDGET = "dpu-drain-blocker-bf2-worker-advnetlab13"
BEFORE: list[Obj] = [
    *({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata(name)} for name in NAMESPACES),
    *({"apiVersion": "v1", "kind": "Node", "metadata": metadata(name)} for name in NODES),
]
"""What is there before anything is installed."""
AFTER: list[Obj] = [
    {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata("dpunetop", OPERATOR)},
    {"apiVersion": "v1", "kind": "Secret", "metadata": metadata("dpunetop-metrics-tls", OPERATOR)},
    {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata(BUDGET, OPERATOR)},
    {
        "apiVersion": "machineconfiguration.openshift.io/v1",
        "kind": "MachineConfigPool",
        "metadata": metadata("dpu"),
        "spec": {},
    },
]
"""What an operator that runs has around it."""


def sample(name: str, **changes: Any) -> Obj:
    loaded: Obj = yaml.safe_load((ROOT / "config" / "samples" / name).read_text())
    loaded["metadata"] |= changes
    return loaded


@dataclass(frozen=True)
class Reader:
    """Somebody who types what a page says, in a checkout, as administrator of both clusters."""

    cluster: ControlPlane
    programs: tuple[Path, ...]
    folder: Path

    def types(self, page: str) -> None:
        """Each command of a page, in order; the first that fails ends it."""
        folder = self.folder / page.replace("/", "-")
        folder.mkdir()
        for name in ("config", "deploy"):
            (folder / name).symlink_to(ROOT / name)
        shutil.copy(self.cluster.admin_kubeconfig, folder / "tenant.kubeconfig")
        for block in blocks("console"):
            if block.page == page and not block.exception:
                for command in block.commands:
                    self._type(command, folder)

    def _type(self, command: str, folder: Path) -> None:
        words = shlex.split(command)
        if NEEDS_A_KUBELET & set(words[:3]):
            self._look_up(words, folder)
        else:
            said = self._run(command, folder)
            assert said.returncode == 0, f"$ {command}\n{said.stderr}"

    def _look_up(self, words: list[str], folder: Path) -> None:
        end = next(at for at, word in enumerate(words) if word in NEEDS_A_KUBELET) + 1
        command = words[: end + 1] if words[end - 1] == "top" else words[:end]
        told = [self._run(shlex.join(each), folder).stdout for each in ([*command, "--help"], ["kubectl", "options"])]
        assert [word for word in words if word.startswith("--") and word not in "".join(told)] == []

    def _run(self, command: str, folder: Path) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([*map(str, self.programs), os.environ["PATH"]])
        homes = {f"HELM_{each}_HOME": str(folder / each) for each in ("CACHE", "CONFIG", "DATA")}
        environment = {**os.environ, "PATH": path, "KUBECONFIG": str(self.cluster.admin_kubeconfig), **homes}
        shell = ["bash", "-c", command]
        return subprocess.run(shell, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def started(programs: binaries.Binaries, folder: Path, *more: Path) -> Iterator[Reader]:
    with ControlPlane(Spec("docs", API_ONLY), programs) as cluster:
        for crds in sorted((ROOT / "src/dpunetop/sandbox/crds").glob("*.yaml")):
            cluster.apply(crds)
        cluster.apply(BEFORE)
        yield Reader(cluster, (programs.folder, *more), folder)


@pytest.fixture(scope="module")
def serving(programs: binaries.Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Where the operator is installed and serves a tenant; it does not run."""
    for reader in started(programs, tmp_path_factory.mktemp("serving")):
        for name in ("dpunetop", "tenant-namespace"):
            reader.cluster.apply(ROOT / "deploy" / f"{name}.yaml")
        reader.cluster.apply([*AFTER, sample("env-overrides.yaml"), sample("dpuclusterconfig.yaml")])
        yield reader


INSTALLING = ("install.md", "upgrade.md")
WITH_COMMANDS = sorted({block.page for block in blocks("console")} - {*INSTALLING, *OURS})


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_each_command_works_as_it_stands(serving: Reader, page: str) -> None:
    serving.types(page)


def test_what_is_installed_as_the_pages_say_is_upgraded_as_they_say(
    programs: binaries.Binaries, installers: Path, tmp_path: Path
) -> None:
    for reader in started(programs, tmp_path, installers):
        reader.types("install.md")
        reader.cluster.apply(sample("dpuclusterconfig.yaml", finalizers=["dpu.openshift.io/test"]))
        reader.types("upgrade.md")


@pytest.mark.parametrize("block", [block for block in blocks("yaml") if "kind: Kustomization" not in block.body])
def test_each_yaml_is_taken(serving: Reader, block: Block) -> None:
    command = [str(serving.programs[0] / "kubectl"), f"--kubeconfig={serving.cluster.admin_kubeconfig}"]
    command += ["apply", "--dry-run=server", "--validate=strict", "--filename=-"]
    said = subprocess.run(command, input=block.body, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr


@pytest.mark.parametrize("block", [block for block in blocks("yaml") if "kind: Kustomization" in block.body])
def test_each_kustomization_is_rendered(programs: binaries.Binaries, tmp_path: Path, block: Block) -> None:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kustomization.yaml").write_text(block.body)
    command = [str(programs.path("kubectl")), "kustomize", str(tmp_path / "mine")]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert "kind: Deployment" in said.stdout
