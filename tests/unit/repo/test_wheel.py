"""What ships: the wheel holds the operator and what it reads, and nothing that only a checkout needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCES = ("setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE")
SHIPPED_KINDS = {".py", ".sh", ".service", ".conf", ".rules", ".typed", ".txt", ".yaml"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel, made of a copy: building writes into the tree that it builds."""
    tree, folder = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("installed")
    for name in SOURCES:
        shutil.copy(ROOT / name, tree / name)
    shutil.copytree(ROOT / "src", tree / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", "."]
    subprocess.run([*build, "."], cwd=tree, check=True, capture_output=True, timeout=200)
    (wheel,) = tree.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_wheel_holds_each_file_of_the_operator_and_nothing_of_the_sandbox(installed: Path) -> None:
    source = ROOT / "src" / "dpunetop"
    expected = {name for name in files_below(source) if Path(name).suffix in SHIPPED_KINDS}
    expected = {name for name in expected if not name.startswith("sandbox/")}
    assert files_below(installed / "dpunetop") == expected


def test_an_installed_operator_says_where_the_sandbox_is(installed: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "dpunetop", "sandbox"]
    said = subprocess.run(command, cwd=installed, env=environment, capture_output=True, text=True, timeout=200)
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr == (
        "dpunetop: the sandbox is not part of the installed package; run `make sandbox` in a checkout of the project\n"
    )
