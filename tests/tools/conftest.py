"""What people install and watch with, as it is: Helm, the validators of OLM, promtool, mkdocs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def got(script: str) -> Path:
    """The folder that a script of hack/ prints; where it cannot get what it is for, the test fails and says why."""
    answer = subprocess.run([sys.executable, str(ROOT / "hack" / script)], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        pytest.fail(answer.stderr)
    return Path(answer.stdout.strip())


@pytest.fixture(scope="session")
def installers() -> Path:
    """The folder of `helm` and `olm`, built if need be."""
    return got("installers.py")


@pytest.fixture(scope="session")
def promtool() -> Path:
    """The program, fetched if need be; `prometheus` lies beside it."""
    return got("promtool.py") / "promtool"
