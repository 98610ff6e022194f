"""A DPU and its host with the `ovnkube` of `make test-real`, and the operator that serves them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from dpunetop.kube.keys import NODES
from dpunetop.kube.meta import Obj
from dpunetop.kube.requests import get
from dpunetop.sandbox import binaries, seed
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.realovn.namespaces import is_inside
from dpunetop.sandbox.realovnkube import tenant
from dpunetop.sandbox.realovnkube.program import VARIABLE, Ovnkube, ovnkube_at
from dpunetop.sandbox.realovnkube.testbed import RealTestbed, specs
from support.trial import Trial

NAME = "real"
"""Of the tenant; its nodes are called after it."""
READY_SECONDS = 180.0
_ORDER = ("test_upstream", "test_start", "test_network", "test_rotation", "test_outage", "test_drain", "test_rights")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One DPU for all tests, so that they go by what they leave behind."""
    items.sort(key=lambda item: _ORDER.index(item.path.stem))


@pytest.fixture(scope="session")
def ovnkube() -> Ovnkube:
    """The program to be tested with."""
    path = os.environ.get(VARIABLE, "")
    if not (path and is_inside()):  # another project's program, which needs namespaces that `make test-real` makes
        pytest.skip("run by `make test-real OVNKUBE=/path/to/ovnkube`")
    return ovnkube_at(path)


@pytest.fixture(scope="session")
def testbed(programs: binaries.Binaries, ovnkube: Ovnkube) -> Iterator[RealTestbed]:
    """Two control planes, a DPU and its host."""
    with RealTestbed(
        ovnkube, f"{NAME}-dpu0", f"{NAME}-host0", dpus=0, boot_seconds=2.0, retry_seconds=0.5, **specs()
    ) as running:
        yield running


@pytest.fixture(scope="session")
def operator(testbed: RealTestbed) -> Iterator[OperatorProcess]:
    """The operator, as shipped."""
    env = {"NAMESPACE": seed.OPERATOR_NAMESPACE, "WATCH_NAMESPACE": NAME}
    with OperatorProcess(testbed.world.operator_kubeconfig(), env=env) as running:
        running.wait_ready()
        yield running


@dataclass(frozen=True)
class Served:
    """The tenant, whose host is served by its DPU."""

    trial: Trial
    seconds_to_ready: float
    """From the creation of the DpuClusterConfig."""


@pytest.fixture(scope="session")
def served(testbed: RealTestbed, operator: OperatorProcess) -> Served:
    """The tenant after all of the user's steps."""
    trial = Trial(testbed.world, NAME, 1, shows=tenant.shows)
    testbed.start_tenant(trial.tenant_namespace)
    began = time.monotonic()
    trial.quick_start()
    trial.wait("Ready", "True", within=READY_SECONDS)
    return Served(trial, time.monotonic() - began)


@pytest.fixture
def trial(served: Served) -> Trial:
    """The tenant, all of which is Ready before the test begins."""
    served.trial.wait("Ready", "True", within=READY_SECONDS)
    return served.trial


@pytest.fixture
def host(trial: Trial) -> Callable[[], Obj]:
    """Shows the Node of the host, as the tenant has it."""
    [name] = trial.names.pairs.values()
    return lambda: trial.tenant.get(get(NODES, "", name).target)


@pytest.fixture(autouse=True)
def told(request: pytest.FixtureRequest) -> Iterator[None]:
    """Show what all programs said last when a test fails."""
    yield
    if "testbed" in request.fixturenames:
        said = "\n".join(pod.describe() for pod in request.getfixturevalue("testbed").runtime.pods())
        request.node.add_report_section("teardown", "pods", said)
    if "operator" in request.fixturenames:
        request.node.add_report_section(
            "teardown", "operator", request.getfixturevalue("operator").log_text()[-20_000:]
        )


@pytest.fixture(autouse=True)
def no_thread_outlives_the_test() -> None:
    """In place of the rule for all tests: pods go on from one test to the next, and end with the testbed."""
