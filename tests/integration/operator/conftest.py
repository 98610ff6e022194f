"""One World with the policies of deploy/ in both clusters, and one operator with the rights of config/rbac; each test
brings a tenant of its own."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest

from dpunetop.sandbox import binaries
from dpunetop.sandbox.components import Spec
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.standins.ovnkube import Shows, central_tenant
from dpunetop.sandbox.world import World
from support.fences import REFUSED, fence
from support.trial import Trial

NewTrial = Callable[..., Trial]


@pytest.fixture(scope="session")
def world(programs: binaries.Binaries) -> Iterator[World]:
    """Two control planes with stand-ins, whose nodes and namespaces the tests bring."""
    with World(
        dpus=0, infra=Spec("infra", audit=True), heartbeat_seconds=30.0, boot_seconds=0.2, retry_seconds=0.2
    ) as running:
        fence(running)
        yield running


@pytest.fixture(scope="session")
def operator(world: World) -> Iterator[OperatorProcess]:
    """The operator, serving all namespaces; a test that ends it starts it again."""
    process = OperatorProcess(
        world.operator_kubeconfig(), env=world.operator_environment, flags=("--watch-namespaces=*",)
    )
    with process:
        process.wait_ready()
        yield process


@pytest.fixture
def new_trial(world: World, operator: OperatorProcess, request: pytest.FixtureRequest) -> Iterator[NewTrial]:
    """Makes tenants; what the operator has logged is shown when the test fails."""
    made: list[Trial] = []

    def new(dpus: int = 1, namespace: str | None = None, shows: Shows = central_tenant) -> Trial:
        made.append(Trial(world, f"t-{secrets.token_hex(4)}", dpus, namespace, shows))
        return made[-1]

    before = len(operator.log_text())
    yield new
    for trial in made:
        trial.close()
    request.node.add_report_section("teardown", "operator", operator.log_text()[before:][-20_000:])


@pytest.fixture(autouse=True)
def nothing_is_refused_wrongly(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test sees a policy refuse what the operator writes, unless it is about that."""
    if "operator" not in request.fixturenames or request.node.get_closest_marker("refused"):
        yield
        return
    operator: OperatorProcess = request.getfixturevalue("operator")
    before = len(operator.log_text())
    yield
    refusals = [line for line in operator.log_text()[before:].splitlines() if REFUSED in line]
    assert not refusals


@pytest.fixture
def trial(new_trial: NewTrial) -> Trial:
    """A tenant with one DPU, of which the user has told nothing yet."""
    return new_trial()
