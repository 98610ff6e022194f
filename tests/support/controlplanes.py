"""Plugin of real control planes: shared ones for the session, own ones for tests that break something."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from dpunetop.sandbox import binaries
from dpunetop.sandbox.components import WITH_CONTROLLERS, Spec
from dpunetop.sandbox.controlplane import ControlPlane

StartControlPlane = Callable[[Spec], ControlPlane]

_NEEDS_PROGRAMS = {"programs", "infra", "tenant", "start_control_plane", "namespace", "tenant_namespace"}
_FOUND = pytest.StashKey[binaries.Binaries]()
_MISSING = pytest.StashKey[str]()

_ROOT = Path(__file__).parents[2]
OPERATOR = _ROOT / "tests" / "integration" / "operator"


def shared_out_with(nodeid: str) -> str:
    """A name that all tests of integration have in common which one process runs.

    Tests without an operator use the control planes of the session, which each process would start for itself. A test
    of the operator has a tenant of its own, so that any process may run it, unless its file has fixtures for all of its
    tests.
    """
    file = nodeid.partition("::")[0]
    if OPERATOR not in (_ROOT / file).parents:
        return "without an operator"
    return file if _has_fixtures_of_its_own(file) else nodeid


@cache
def _has_fixtures_of_its_own(file: str) -> bool:
    return 'scope="module"' in (_ROOT / file).read_text()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs the programs, so that `-m 'not controlplane'` leaves it out."""
    for item in items:
        if _NEEDS_PROGRAMS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.controlplane)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Find or build the programs before the clock of the first test runs."""
    wanted = any(item.get_closest_marker("controlplane") for item in session.items)
    if not wanted or session.config.option.collectonly:
        return
    try:
        session.config.stash[_FOUND] = binaries.find()
    except binaries.BinariesNotFound as err:
        session.config.stash[_MISSING] = str(err)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say once more, where it is seen, that tests were left out."""
    missing = config.stash.get(_MISSING, None)
    if missing is not None:
        terminalreporter.write_sep("!", "tests on real control planes did not run", red=True)
        terminalreporter.write_line(missing, red=True)


@pytest.fixture(scope="session")
def programs(pytestconfig: pytest.Config) -> binaries.Binaries:
    """The control-plane programs; without them the test fails, and says how to get them."""
    missing = pytestconfig.stash.get(_MISSING, None)
    if missing is not None:
        pytest.fail(missing)
    return pytestconfig.stash[_FOUND]


@pytest.fixture(scope="session")
def infra(request: pytest.FixtureRequest, programs: binaries.Binaries) -> Iterator[ControlPlane]:
    """The infra cluster, whole, with an audit log; another Spec by indirect parametrisation. Not for breaking."""
    with ControlPlane(getattr(request, "param", Spec("infra", audit=True)), programs) as running:
        yield running


@pytest.fixture(scope="session")
def tenant(request: pytest.FixtureRequest, programs: binaries.Binaries) -> Iterator[ControlPlane]:
    """The tenant cluster, without a scheduler, with an audit log; another Spec by indirect parametrisation."""
    spec = getattr(request, "param", Spec("tenant", WITH_CONTROLLERS, audit=True))
    with ControlPlane(spec, programs) as running:
        yield running


@pytest.fixture
def start_control_plane(programs: binaries.Binaries) -> Iterator[StartControlPlane]:
    """Starts control planes that this test alone uses, and may break."""
    running: list[ControlPlane] = []

    def start(spec: Spec) -> ControlPlane:
        running.append(ControlPlane(spec, programs))
        running[-1].start()
        return running[-1]

    yield start
    for control_plane in running:
        control_plane.stop()


@pytest.fixture
def namespace(infra: ControlPlane) -> Iterator[str]:
    """A namespace of the infra cluster for this test alone."""
    yield from _namespace(infra)


@pytest.fixture
def tenant_namespace(tenant: ControlPlane) -> Iterator[str]:
    """A namespace of the tenant cluster for this test alone."""
    yield from _namespace(tenant)


def _namespace(cluster: ControlPlane) -> Iterator[str]:
    name = f"t-{secrets.token_hex(4)}"
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    cluster.admin.delete(f"/api/v1/namespaces/{name}")
