"""Two DPUs and their hosts between the real neighbours of `make test-real`, and the operator that serves them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from dpunetop.sandbox import binaries, seed
from dpunetop.sandbox.components import Spec
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.realneighbours.machineconfig import MachineConfigNeighbour
from dpunetop.sandbox.realneighbours.maintenance import NodeMaintenanceNeighbour
from dpunetop.sandbox.realneighbours.program import from_environment
from dpunetop.sandbox.world import World
from support.drains import Drains
from support.neighbours import Neighbours
from support.trial import Trial

NAME = "neighbours"
"""Of the tenant and its pool; its nodes are called after it."""
READY_SECONDS = 180.0
_ORDER = ("test_good", "test_pool", "test_maintenance", "test_leaving")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One world for all tests, so that they go by what they leave behind."""
    items.sort(key=lambda item: _ORDER.index(item.path.stem))


@pytest.fixture(scope="session")
def neighbours() -> Iterator[Neighbours]:
    """The programs to be tested with."""
    mcc, nmo = from_environment("MCC"), from_environment("NMO")
    if mcc is None and nmo is None:  # other projects' programs: built by hand, never part of this repository
        pytest.skip("run by `make test-real NMO=/path/to/manager MCC=/path/to/machine-config-controller`")
    with contextlib.ExitStack() as made:
        controller = MachineConfigNeighbour(mcc) if mcc else None
        maintenance = NodeMaintenanceNeighbour(nmo) if nmo else None
        for each in (controller, maintenance):
            if each is not None:
                made.callback(each.close)
        yield Neighbours(controller, maintenance)


@pytest.fixture(scope="session")
def world(programs: binaries.Binaries, neighbours: Neighbours) -> Iterator[World]:
    """Two control planes with what was named, and stand-ins for the rest."""
    with World(
        dpus=0,
        boot_seconds=2.0,
        infra=Spec("infra", audit=True),
        tenant=Spec("tenant", audit=True),
        machine_config=neighbours.machine_config,
        maintenance=neighbours.maintenance,
    ) as running:
        yield running


@pytest.fixture(scope="session")
def operator(world: World) -> Iterator[OperatorProcess]:
    """The operator, as shipped."""
    env = {"NAMESPACE": seed.OPERATOR_NAMESPACE, "WATCH_NAMESPACE": NAME}
    with OperatorProcess(world.operator_kubeconfig(), env=env) as running:
        running.wait_ready()
        yield running


@dataclass(frozen=True)
class Served:
    """The tenant, whose hosts are served by their DPUs."""

    trial: Trial
    drains: Drains
    seconds_to_ready: float
    """From the creation of the DpuClusterConfig."""


@pytest.fixture(scope="session")
def served(world: World, operator: OperatorProcess) -> Served:
    """The tenant after all of the user's steps, with something that runs on its hosts."""
    trial = Trial(world, NAME, 2)
    drains = Drains(trial)
    began = time.monotonic()
    drains.serve()
    trial.wait("Ready", "True", within=READY_SECONDS)
    seconds = time.monotonic() - began
    drains.run_workloads()
    return Served(trial, drains, seconds)


@pytest.fixture
def trial(served: Served) -> Trial:
    """The tenant, all of which is Ready and idle before the test begins."""
    served.trial.wait("Ready", "True", within=READY_SECONDS)
    served.drains.until_idle(READY_SECONDS)
    return served.trial


@pytest.fixture
def drains(trial: Trial, served: Served) -> Drains:
    """What the tests do to its DPUs and hosts."""
    return served.drains


@pytest.fixture(autouse=True)
def told(request: pytest.FixtureRequest) -> Iterator[None]:
    """Show what all programs said last when a test fails."""
    yield
    if "operator" not in request.fixturenames:
        return
    found: Neighbours = request.getfixturevalue("neighbours")
    said = {"operator": request.getfixturevalue("operator").log_text()}
    said |= {each.program.path.name: each.log_text() for each in (found.machine_config, found.maintenance) if each}
    for name, text in said.items():
        request.node.add_report_section("teardown", name, text[-20_000:])


@pytest.fixture(autouse=True)
def no_thread_outlives_the_test() -> None:
    """In place of the rule for all tests: the world goes on from one test to the next."""
