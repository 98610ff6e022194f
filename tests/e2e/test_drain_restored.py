"""A cluster is set back to a backup from before a drain, while the DPU may be drained: nobody is given back without
proof, and nothing stays open for a host that is not drained."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dpunetop.domain import names
from dpunetop.domain.drain.record import Cycle, parse_cycle
from dpunetop.kube.meta import annotations_of, uid_of
from dpunetop.sandbox.controlplane import ControlPlane
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.world import World
from support import oplog
from support.drainrules import is_cordoned
from support.drains import SLOW, Drains
from support.trial import Trial, eventually

pytestmark = pytest.mark.timeout(300)

_THEN = "then"


@pytest.fixture(scope="module")
def own_world() -> Iterator[World]:
    """One that is set back: others would not stand that."""
    with World(dpus=0, boot_seconds=0.2, retry_seconds=0.2) as world:
        yield world


@pytest.fixture
def operator(own_world: World, drains: Drains) -> Iterator[OperatorProcess]:
    with OperatorProcess(own_world.operator_kubeconfig(), env=drains.environment) as running:
        yield running
    drains.close()


@pytest.fixture
def drains(own_world: World, request: pytest.FixtureRequest) -> Drains:
    return Drains(Trial(own_world, f"restored-{request.node.callspec.id if hasattr(request.node, 'callspec') else 0}"))


def until_drained_anew(drains: Drains, dpu: str, host: str, before: str) -> None:
    """Wait until the budget is open for another maintenance than before, whose host is empty."""

    def opened() -> str:
        cycle: Cycle | None = parse_cycle(annotations_of(drains.budget(dpu)).get(names.CYCLE_ANNOTATION))
        is_open = drains.is_open(dpu) and is_cordoned(drains.host(host))
        return cycle.maintenance if cycle is not None and is_open else ""

    eventually(opened, lambda uid: uid not in ("", before) and uid == uid_of(drains.maintenance(host)), SLOW)


def went_back(operator: OperatorProcess) -> bool:
    return any(line["event"] == "time went back" for line in oplog.lines(operator))


@pytest.mark.parametrize("which", ["infra", "tenant"])
def test_a_cluster_that_is_set_back_in_the_middle_of_a_drain_comes_to_the_same_end(
    own_world: World, drains: Drains, operator: OperatorProcess, which: str
) -> None:
    cluster: ControlPlane = getattr(own_world, which)
    [(dpu, host)] = drains.pairs.items()
    drains.serve()
    drains.run_workloads()
    cluster.back_up(_THEN + which)
    drains.until_idle()
    before = drains.state()
    drains.cordon(dpu)
    drains.until_open(dpu)
    maintenance = uid_of(drains.maintenance(host))
    cluster.restore(_THEN + which)
    eventually(lambda: went_back(operator), bool, SLOW)
    if which == "tenant":
        until_drained_anew(drains, dpu, host, maintenance)
        drains.cordon(dpu, yes=False)
    drains.until_idle()
    assert drains.state() == before
    assert operator.returncode is None
