"""The steps of the image, as the Containerfile has them, in folders of a test and by this Python.

No base image can be had here: what is not shown is that its Python is the one that the file names, and that a registry
has it. Everything else is run: what is installed, from which hashes, what is taken away, and how it starts.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dpunetop import __version__

pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]
CONTAINERFILE = (ROOT / "Containerfile").read_text().replace("\\\n", " ")
IN_THE_IMAGE = "3.12"
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def placed(text: str, root: Path) -> str:
    """A step with its folders below `root`, by the Python that runs this."""
    text = re.sub(r"(?<=[\s=])/(opt|dist|src)\b", rf"{root}/\1", text)
    text = text.replace(f"/usr/bin/python{IN_THE_IMAGE}", sys.executable).replace(
        f"python{IN_THE_IMAGE}", f"python{HERE}"
    )
    return text if os.geteuid() == 0 else text.replace("chown -R 0:0", "true")


def steps(root: Path) -> Iterator[str]:
    """What the first stage does: copies and commands, as lines of a shell."""
    first = CONTAINERFILE.split("\nFROM ${RUNTIME}")[0]
    for keyword, rest in re.findall(r"^(COPY|RUN) (.*)$", first, re.MULTILINE):
        if keyword == "RUN":
            yield placed(f" {rest}", root)
        else:
            *sources, target = rest.split()
            yield f"cp -r {' '.join(str(ROOT / each) for each in sources)} {root}/src/{target.removeprefix('./')}"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the image would have in its root."""
    root = tmp_path_factory.mktemp("image")
    (root / "src").mkdir()
    settings = dict(re.findall(r"(PIP_\w+)=(\S+)", CONTAINERFILE))
    for step in steps(root):
        command = ["bash", "-euc", step]
        said = subprocess.run(
            command, cwd=root / "src", env={**os.environ, **settings}, capture_output=True, text=True, check=False
        )
        assert said.returncode == 0, f"{step}\n{said.stderr}"
    shutil.rmtree(root / "src")
    return root


def start(image: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The entry point as the image has it, without the folder that it was built in."""
    [entrypoint] = re.findall(r"^ENTRYPOINT (.*)$", CONTAINERFILE, re.MULTILINE)
    command = [placed(f" {word}", image).strip() for word in json.loads(entrypoint)]
    return subprocess.run([*command, *words], cwd="/", env={}, capture_output=True, text=True, check=False)


def test_it_starts_and_says_its_version(image: Path) -> None:
    said = start(image, "--version")
    assert (said.returncode, said.stdout, said.stderr) == (0, f"dpunetop {__version__}\n", "")


def test_it_says_what_it_lacks_and_how_to_run(image: Path) -> None:
    said = start(image, "run")
    assert (said.returncode, said.stdout) == (2, "")
    assert "NAMESPACE" in said.stderr


def test_neither_pip_nor_the_sandbox_is_in_it(image: Path) -> None:
    packages = image / "opt" / "app" / "lib" / f"python{HERE}" / "site-packages"
    assert (packages / "dpunetop" / "app").is_dir()
    assert [name for name in ("pip", "dpunetop/sandbox", "kubernetes/aio") if (packages / name).exists()] == []


def test_only_the_owner_may_write_the_installed_files(image: Path) -> None:
    app = image / "opt" / "app"
    assert [path for path in app.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o022] == []
