from __future__ import annotations

import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dpunetop.sandbox.realovn.podspec import NotSupported, PodSpec
from dpunetop.sandbox.realovn.volumes import Volumes


def volumes(tmp_path: Path, *given: Any, objects: Any = None) -> Volumes:
    node: Any = SimpleNamespace(inside=lambda path: tmp_path / "node" / path.lstrip("/"))
    return Volumes(PodSpec((), given, 30), node, tmp_path / "pod", objects or {})


def files(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir() if not file.name.startswith("..")}


def test_data_changes_in_one_step_and_old_data_goes(tmp_path: Path) -> None:
    found = volumes(tmp_path, {"name": "v", "configMap": {"name": "o"}}, objects={"o": {"a": "1", "b": "1"}})
    folder = tmp_path / "pod" / "v"
    assert files(folder) == {"a": "1", "b": "1"}
    for round in range(3):
        found.publish("o", {"a": str(round), "c": "new"})
        assert files(folder) == {"a": str(round), "c": "new"}
        assert len(list(folder.glob("..[0-9]*"))) == 1


def test_a_secret_keeps_its_mode(tmp_path: Path) -> None:
    secret = {"name": "v", "secret": {"secretName": "o", "defaultMode": 0o400}}
    found = volumes(tmp_path, secret, objects={"o": {"token": "1"}})
    found.publish("o", {"token": "2"})
    assert stat.S_IMODE((tmp_path / "pod" / "v" / "token").stat().st_mode) == 0o400


def test_what_is_missing_on_the_host_becomes_a_folder_and_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "socket").touch()
    volumes(
        tmp_path,
        {"name": "a", "hostPath": {"path": "/socket"}},
        {"name": "b", "hostPath": {"path": "/not/there"}},
    )
    assert (tmp_path / "node" / "socket").is_file()
    assert (tmp_path / "node" / "not" / "there").is_dir()


@pytest.mark.parametrize("volume", [{"hostPath": {"path": "/x", "type": "Directory"}}, {"projected": {}}])
def test_other_volumes_are_not_played(tmp_path: Path, volume: dict[str, Any]) -> None:
    with pytest.raises(NotSupported):
        volumes(tmp_path, {"name": "v", **volume})
