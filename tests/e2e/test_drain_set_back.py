"""Either cluster is restored from an older state in the middle of a drain: it is noticed, and the drain begins anew."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from dpunetop.kube.conditions import condition_of
from dpunetop.kube.keys import CONFIGMAPS, NODES
from dpunetop.kube.meta import Obj, new_object, uid_of
from dpunetop.kube.requests import get
from dpunetop.sandbox import binaries
from dpunetop.sandbox.components import Spec
from dpunetop.sandbox.controlplane import ControlPlane
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.world import World
from support import oplog
from support.drainrules import is_cordoned
from support.drains import Drains
from support.faultproxy import FaultProxy
from support.measuring import Measured
from support.trial import Trial, eventually

pytestmark = pytest.mark.timeout(1500)


LOST_WRITES = 300
"""More than a control plane writes while it starts: who compares versions must see that some are lost."""
NOTICED = 120.0
SLOW = 180.0


@pytest.fixture
def restorable(programs: binaries.Binaries) -> Iterator[World]:
    """A World of its own: what is restored is lost for everybody."""
    tenant = Spec("tenant")
    with World(dpus=0, infra=Spec("infra"), tenant=tenant, boot_seconds=0.2, retry_seconds=0.2) as running:
        yield running


@pytest.fixture
def drains(restorable: World) -> Iterator[Drains]:
    trial = Trial(restorable, "t-back")
    yield Drains(trial)
    trial.close()


@pytest.fixture
def operator(restorable: World, drains: Drains, request: pytest.FixtureRequest) -> Iterator[OperatorProcess]:
    with OperatorProcess(restorable.operator_kubeconfig(), env=drains.environment) as running:
        yield running
        request.node.add_report_section("teardown", "operator", running.log_text()[-20_000:])


def test_a_tenant_that_is_set_back_has_its_host_drained_anew_before_the_dpu_may_go(
    drains: Drains, operator: OperatorProcess, measured: Measured
) -> None:
    [(dpu, host)] = drains.pairs.items()
    before, drained = set_back_in_a_drain(drains, drains.trial.world.tenant, host)
    measured(f"tenant set back: noticed after {until_noticed(operator):.1f} s")
    eventually(lambda: drains.maintenance(host), lambda seen: seen and uid_of(seen) != uid_of(drained), SLOW)
    drains.until_open(dpu)
    assert is_cordoned(drains.host(host))
    drains.cordon(dpu, yes=False)
    drains.until_idle(SLOW)
    assert drains.state() == before


def test_an_infra_cluster_that_is_set_back_gives_the_host_of_a_forgotten_drain_back(
    drains: Drains, operator: OperatorProcess, measured: Measured
) -> None:
    [(dpu, host)] = drains.pairs.items()
    before, _ = set_back_in_a_drain(drains, drains.trial.world.infra, dpu)
    measured(f"infra set back: noticed after {until_noticed(operator):.1f} s")
    drains.until_idle(SLOW)
    assert not is_cordoned(drains.host(host))
    assert drains.state() == before


def test_a_restore_from_a_backup_that_no_watch_shows_is_detected_by_contradicting_reads(
    restorable: World, drains: Drains, operator: OperatorProcess, measured: Measured
) -> None:
    [(dpu, host)] = drains.pairs.items()
    tenant = restorable.tenant
    with FaultProxy.before(tenant) as proxy:
        before = drained_since_a_backup(drains, tenant, proxy)
        seen = version_of_nodes(tenant)
        proxy.refuse()
        tenant.set_back()
        while version_of_nodes(tenant) <= seen:
            write(tenant, 10)
        proxy.restore()
        drains.cordon(dpu, yes=False)
        began = time.monotonic()
        eventually(lambda: reason_of(drains), lambda reason: reason == "CacheContradicted", SLOW)
        measured(f"tenant set back unnoticed: said after {time.monotonic() - began:.1f} s")
        assert oplog.said(operator, "time went back") == []
        until_over(drains, host, before)
        measured(f"tenant set back unnoticed: over after {time.monotonic() - began:.1f} s")
        eventually(lambda: reason_of(drains), lambda reason: reason == "AllProtected", SLOW)
        assert drains.maintenance(host) == {}


def until_over(drains: Drains, host: str, before: dict[str, Any]) -> None:
    """Wait until the DPUs are as they were.

    The stand-in for the node maintenance operator may act once more on the maintenance that is lost, as the real one
    does from its cache: it cordons and taints the restored host. That is told, with what a person is to do.
    """

    def over() -> bool:
        return drains.state() == before

    eventually(lambda: (over(), reason_of(drains)), lambda seen: seen[0] or seen[1] == "HostStillCordoned", SLOW)
    if not over():
        tenant = drains.trial.world.tenant
        tenant.admin.patch(get(NODES, "", host).target, {"spec": {"unschedulable": None, "taints": None}})
        eventually(over, bool, SLOW)


def drained_since_a_backup(drains: Drains, cluster: ControlPlane, proxy: FaultProxy | None = None) -> dict[str, Any]:
    """Back a cluster up, then have the host drained; what there was at the time of the backup."""
    drains.serve(proxy.kubeconfig(drains.trial.token()) if proxy is not None else None)
    drains.run_workloads()
    [(dpu, host)] = drains.pairs.items()
    before = drains.state()
    cluster.back_up()
    drains.cordon(dpu)
    drains.until_open(dpu)
    assert is_cordoned(drains.host(host))
    return before


def set_back_in_a_drain(drains: Drains, cluster: ControlPlane, node: str) -> tuple[dict[str, Any], Obj]:
    """Restore a cluster, once the host is drained, to the moment before; what there was then, and the maintenance."""
    [(_, host)] = drains.pairs.items()
    before = drained_since_a_backup(drains, cluster)
    drained = drains.maintenance(host)
    write_much(cluster, node)
    cluster.set_back()
    return before, drained


def until_noticed(operator: OperatorProcess) -> float:
    """Wait until the operator says so; how long that took since everything runs again, in seconds."""
    began = time.monotonic()
    eventually(lambda: oplog.said(operator, "time went back"), bool, NOTICED)
    return time.monotonic() - began


def write_much(cluster: ControlPlane, node: str) -> None:
    """Have the cluster come far, which only those see who follow its nodes."""
    write(cluster, LOST_WRITES)
    cluster.admin.patch(get(NODES, "", node).target, {"metadata": {"annotations": {"test.example.org/lost": "yes"}}})


def write(cluster: ControlPlane, times: int) -> None:
    for number in range(times):
        text = f"{number} {time.monotonic()}"
        cluster.apply(new_object(CONFIGMAPS, "default", "lost", data={"number": text}))


def version_of_nodes(cluster: ControlPlane) -> int:
    """How far the cluster has come."""
    return int(cluster.admin.get(get(NODES, "", "").target.rstrip("/"))["metadata"]["resourceVersion"])


def reason_of(drains: Drains) -> str:
    return str((condition_of(drains.trial.config(), "PairsHealthy") or {}).get("reason"))
