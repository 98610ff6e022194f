"""Programs that somebody has are used as far as they go, and what they lack is built beside them."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from dpunetop.sandbox import binaries, prebuilt
from dpunetop.sandbox.binaries import PROGRAMS, BinariesNotFound

OURS = "v1.37.2"
ENVTEST = {"etcd": "etcd Version: 3.7.0", "kube-apiserver": "Kubernetes v1.37.1", "kubectl": "Client Version: v1.37.1"}
"""What setup-envtest gives."""


def fill(folder: Path, says: Mapping[str, str]) -> Path:
    """Programs that say which release they are, as they are asked."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, words in says.items():
        asked = "version --client" if name == "kubectl" else "--version"
        (folder / name).write_text(f'#!/bin/sh\n[ "$*" = "{asked}" ] && echo "{words}"\n')
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is built, instead of building it."""
    found: list[str] = []

    def compile_(go: Path, package: str, output: Path, log: Path, lock: int) -> None:
        found.append(package)
        fill(output.parent, {output.name: f"Kubernetes {OURS}"})

    monkeypatch.setattr(binaries, "_compile", compile_)
    monkeypatch.setattr(binaries, "_go", lambda folder: Path("go"))
    monkeypatch.setattr(binaries, "_kubernetes_version", lambda module: OURS)
    return found


def find(tmp_path: Path, says: Mapping[str, str]) -> binaries.Binaries:
    assets = fill(tmp_path / "assets", says)
    return binaries.find({"KUBEBUILDER_ASSETS": str(assets), "XDG_CACHE_HOME": str(tmp_path)})


def test_what_setup_envtest_gives_is_used_and_the_two_that_it_lacks_are_built_once(
    tmp_path: Path, built: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    found = find(tmp_path, ENVTEST)
    assert built == ["k8s.io/kubernetes/cmd/kube-controller-manager", "k8s.io/kubernetes/cmd/kube-scheduler"]
    assert binaries.missing_programs(found.folder) == []
    assert {name for name in PROGRAMS if found.path(name).readlink() == tmp_path / "assets" / name} == set(ENVTEST)
    line, *progress = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"KUBEBUILDER_ASSETS={tmp_path}/assets: using its etcd v3.7.0, kube-apiserver v1.37.1, kubectl v1.37.1;"
        f" kube-controller-manager, kube-scheduler {OURS} built into {tmp_path}/dpunetop/controlplane/"
    )
    assert [each.split(":")[0] for each in progress] == ["building kube-controller-manager", "building kube-scheduler"]
    binaries._given.cache_clear()
    assert find(tmp_path, ENVTEST) == found
    assert len(built) == 2


def test_programs_of_an_earlier_whole_build_are_taken_before_anything_is_built(
    tmp_path: Path, built: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    cache = fill(binaries.cache_folder({"XDG_CACHE_HOME": str(tmp_path)}), dict.fromkeys(PROGRAMS, "any"))
    found = find(tmp_path, ENVTEST)
    assert built == []
    assert found.path("kube-scheduler").readlink() == cache / "kube-scheduler"
    assert found.path("kube-apiserver").readlink() == tmp_path / "assets" / "kube-apiserver"
    assert f"{OURS} from {cache}\n" in capsys.readouterr().err


@pytest.mark.parametrize("program", PROGRAMS)
def test_any_single_program_that_is_missing_is_built_alone(tmp_path: Path, built: list[str], program: str) -> None:
    whole = {name: ENVTEST.get(name, "Kubernetes v1.37.0") for name in PROGRAMS}
    found = find(tmp_path, {name: words for name, words in whole.items() if name != program})
    assert [package.split("/")[-1] for package in built] == ["v3" if program == "etcd" else program]
    assert found.path(program).readlink().parent != tmp_path / "assets"


UNUSABLE = {
    "older than what is built": (
        {**ENVTEST, "kube-apiserver": "Kubernetes v1.36.4"},
        "its kube-apiserver is v1.36.4, and the kube-controller-manager that is built, v1.37.2, does not fit it",
    ),
    "two releases newer than what is built": (
        {**ENVTEST, "kube-apiserver": "Kubernetes v1.39.0"},
        "its kube-apiserver is v1.39.0, and the kube-controller-manager that is built, v1.37.2, does not fit it",
    ),
    "a scheduler for another API server": (
        {"kube-scheduler": "Kubernetes v1.38.0"},
        "the kube-apiserver that is built is v1.37.2, and its kube-scheduler, v1.38.0, does not fit it",
    ),
    "a kubectl of long ago": (
        {**ENVTEST, "kubectl": "Client Version: v1.30.0"},
        "its kube-apiserver is v1.37.1, and its kubectl, v1.30.0, does not fit it",
    ),
    "something else under that name": ({**ENVTEST, "etcd": "hello"}, "its etcd prints no release"),
    "nothing": ({}, f"it has none of {', '.join(PROGRAMS)}"),
}


@pytest.mark.parametrize(("says", "why"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_what_does_not_go_together_is_passed_over_and_said_in_one_line(
    tmp_path: Path, built: list[str], capsys: pytest.CaptureFixture[str], says: dict[str, str], why: str
) -> None:
    cache = fill(binaries.cache_folder({"XDG_CACHE_HOME": str(tmp_path)}), dict.fromkeys(PROGRAMS, "any"))
    assert find(tmp_path, says).folder == cache
    assert capsys.readouterr().err == f"KUBEBUILDER_ASSETS={tmp_path}/assets is ignored: {why}\n"
    assert built == []


def test_an_api_server_of_the_next_release_goes_with_what_is_built(tmp_path: Path, built: list[str]) -> None:
    found = find(tmp_path, {**ENVTEST, "kube-apiserver": "Kubernetes v1.38.0"})
    assert (len(built), found.folder.name.count("-with-")) == (2, 1)


@pytest.mark.parametrize(("text", "why"), [("#!/bin/sh\nexit 3\n", "exit code 3"), ("\x7fELF", "Exec format error")])
def test_a_program_of_another_machine_does_not_run_here(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "etcd").write_text(text)
    (tmp_path / "etcd").chmod(0o755)
    with pytest.raises(prebuilt.Unusable, match=r"its etcd does not run here \(.*" + why):
        prebuilt.release_of(tmp_path / "etcd")


def test_a_folder_that_is_called_like_a_program_is_none(tmp_path: Path) -> None:
    (tmp_path / "etcd").mkdir()
    assert "etcd" in binaries.missing_programs(tmp_path)


def test_links_follow_what_the_folder_holds_later(tmp_path: Path, built: list[str]) -> None:
    find(tmp_path, ENVTEST)
    binaries._given.cache_clear()
    found = find(tmp_path, {**ENVTEST, "kube-scheduler": "Kubernetes v1.37.1"})
    assert found.path("kube-scheduler").readlink() == tmp_path / "assets" / "kube-scheduler"
    answer = subprocess.run([found.path("kube-scheduler"), "--version"], capture_output=True, text=True, check=True)
    assert answer.stdout == "Kubernetes v1.37.1\n"


def test_without_the_sources_the_rest_cannot_be_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_MODULE", tmp_path / "nowhere")
    with pytest.raises(BinariesNotFound, match="are not installed with the package"):
        find(tmp_path, ENVTEST)
