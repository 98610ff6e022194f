"""A DPU and its host with the `ovnkube` of `make test-real`, and the operator that serves them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from dpunetop.sandbox import binaries, seed
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.realovn.namespaces import is_inside
from dpunetop.sandbox.realovnkube import tenant
from dpunetop.sandbox.realovnkube.bed import Bed, specs
from dpunetop.sandbox.realovnkube.program import VARIABLE, Ovnkube, ovnkube_at
from support.trial import Trial

Measured = Callable[[str], None]

NAME = "real"
"""Of the tenant; its nodes are called after it."""
_MEASURED = "measured"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured, whether or not tests failed."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    for name, line in (each for report in reports if report.when == "call" for each in report.user_properties):
        if name == _MEASURED:
            terminalreporter.write_line(f"measured: {line}")


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Measured:
    """Takes figures to be printed at the end of the run."""
    return lambda line: request.node.user_properties.append((_MEASURED, line))


@pytest.fixture(scope="session")
def ovnkube() -> Ovnkube:
    """The program to be tested with."""
    path = os.environ.get(VARIABLE, "")
    if not (path and is_inside()):
        pytest.skip("run by `make test-real OVNKUBE=/path/to/ovnkube`")
    return ovnkube_at(path)


@pytest.fixture(scope="session")
def bed(programs: binaries.Binaries, ovnkube: Ovnkube) -> Iterator[Bed]:
    """Two control planes, a DPU and its host."""
    with Bed(ovnkube, f"{NAME}-dpu0", f"{NAME}-host0", dpus=0, boot_seconds=1.0, **specs()) as running:
        yield running


@pytest.fixture(scope="session")
def operator(bed: Bed) -> Iterator[OperatorProcess]:
    """The operator, as shipped."""
    env = {"NAMESPACE": seed.OPERATOR_NAMESPACE, "WATCH_NAMESPACE": NAME}
    with OperatorProcess(bed.world.operator_kubeconfig(), env=env) as running:
        running.wait_ready()
        yield running


@pytest.fixture(scope="session")
def trial(bed: Bed, operator: OperatorProcess) -> Trial:
    """The tenant, whose OVN-Kubernetes runs; the operator has done its part when the first test says so."""
    made = Trial(bed.world, NAME, 1, shows=tenant.shows)
    bed.start_tenant(made.tenant_namespace)
    made.quick_start()
    return made


@pytest.fixture(autouse=True)
def told(request: pytest.FixtureRequest) -> Iterator[None]:
    """Show what all programs said last when a test fails."""
    yield
    found = [name for name in ("bed", "operator") if name in request.fixturenames]
    if "bed" in found:
        for pod in request.getfixturevalue("bed").runtime.pods():
            request.node.add_report_section("teardown", "pod", pod.describe())


@pytest.fixture(autouse=True)
def no_thread_outlives_the_test() -> None:
    """In place of the rule for all tests: pods go on from one test to the next, and end with the bed."""
