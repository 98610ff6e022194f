"""What people install and watch with, as it is: Helm, the validators of OLM, promtool, mkdocs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def installers() -> Path:
    """The folder of `helm` and `olm`, built if need be; without it the test fails and says why."""
    command = [sys.executable, str(ROOT / "hack" / "installers.py")]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        pytest.fail(answer.stderr)
    return Path(answer.stdout.strip())
