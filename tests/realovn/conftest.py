"""The DPU that the tests of a file share; they run in a world of their own, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dpunetop.sandbox.realovn.datapath import Dpu
from dpunetop.sandbox.realovn.namespaces import is_inside

WHERE = Path("/run/dpunetop")


@pytest.fixture(scope="session", autouse=True)
def in_a_world_of_its_own() -> None:
    """Nothing here may touch the interfaces and mounts of this machine; in CI a skip is a failure."""
    if not is_inside():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("run it with: make test-ovn")


@pytest.fixture(scope="module")
def dpu(request: pytest.FixtureRequest) -> Iterator[Dpu]:
    with Dpu(WHERE / request.node.path.stem) as started:
        yield started
