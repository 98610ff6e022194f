"""While the tenant is out of sight nothing is opened and nobody is given back, wherever a drain stands.

`make test` takes one stage, chosen by `DPUNETOP_SEED`; `make test-crash` takes all, and both ways of being away.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from dpunetop.domain.drain.report.dpustatus import DpuPhase
from dpunetop.kube.conditions import condition_of
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.world import World
from support import drainrules, oplog
from support.drains import Drains
from support.faultproxy import FaultProxy
from support.measuring import Measured
from support.trial import Trial, eventually

pytestmark = [pytest.mark.crash, pytest.mark.timeout(1500)]

NewTrial = Callable[..., Trial]

IS_FULL = os.environ.get("DPUNETOP_CRASH_EVERY") == "1"
STAGES = (DpuPhase.HOST_DRAINED, DpuPhase.HOST_DRAINING, DpuPhase.DPU_DOWN, DpuPhase.DPU_RECOVERING, DpuPhase.VERIFYING)
CHOSEN = STAGES if IS_FULL else (STAGES[int(os.environ.get("DPUNETOP_SEED", "0")) % len(STAGES)],)
WAYS = ("silent", "refusing")
SLOW = 180.0


class Away:
    """One DPU and its host, whose tenant may go out of sight."""

    def __init__(self, drains: Drains, proxy: FaultProxy) -> None:
        self.drains = drains
        self.proxy = proxy
        [(self.dpu, self.host)] = drains.pairs.items()

    def arrive_at(self, stage: DpuPhase) -> None:
        """Bring the drain to a stage that it does not leave by itself."""
        if stage is DpuPhase.HOST_DRAINING:
            self.drains.hold_host(self.host)
        self.drains.cordon(self.dpu)
        if stage is DpuPhase.HOST_DRAINING:
            eventually(lambda: self.drains.maintenance(self.host), lambda seen: phase_of(seen) == "Running", SLOW)
            return
        self.drains.until_open(self.dpu)
        if stage is DpuPhase.VERIFYING:
            self.drains.hold_pod(self.dpu)
        if stage is not DpuPhase.HOST_DRAINED:
            self.drains.reboot(self.dpu, stays_down=stage is DpuPhase.DPU_DOWN)
        if stage is DpuPhase.VERIFYING:
            self.drains.cordon(self.dpu, yes=False)

    def go_on(self, stage: DpuPhase) -> None:
        """Have happen what the stage waits for, out of the operator's sight or before its eyes."""
        match stage:
            case DpuPhase.HOST_DRAINING:
                self.drains.let_host_go(self.host)
                eventually(lambda: self.drains.maintenance(self.host), lambda seen: phase_of(seen) == "Succeeded", SLOW)
            case DpuPhase.DPU_DOWN:
                self.drains.let_up(self.dpu)
                self.drains.cordon(self.dpu, yes=False)
            case DpuPhase.DPU_RECOVERING:
                self.drains.cordon(self.dpu, yes=False)
            case DpuPhase.VERIFYING:
                self.drains.let_pod_be_ready(self.dpu)

    def until_resumed(self, stage: DpuPhase) -> None:
        """Wait until the drain has come to where it would have been long since."""
        if stage in (DpuPhase.HOST_DRAINING, DpuPhase.HOST_DRAINED):
            self.drains.until_open(self.dpu)
        else:
            self.drains.until_idle()

    def is_out_of_sight(self) -> bool:
        """Whether the operator says that it does not see the tenant."""
        reachable = condition_of(self.drains.trial.config(), "TenantReachable") or {}
        return reachable.get("status") != "True"


@pytest.fixture
def away(world: World, new_trial: NewTrial, request: pytest.FixtureRequest) -> Iterator[Away]:
    drains = Drains(new_trial())
    with FaultProxy.before(world.tenant) as proxy:
        with OperatorProcess(world.operator_kubeconfig(), env=drains.environment) as operator:
            drains.serve(proxy.kubeconfig(drains.trial.token()))
            drains.run_workloads()
            yield Away(drains, proxy)
            request.node.add_report_section("teardown", "operator", operator.log_text()[-20_000:])
            assert [line for line in oplog.alarms(operator) if line["level"] != "warning"] == []
        drains.close()


@pytest.mark.parametrize("stage", CHOSEN, ids=str)
@pytest.mark.parametrize("way", WAYS if IS_FULL else ["silent"])
def test_an_unreachable_tenant_opens_no_budget_and_returns_no_host(
    away: Away, measured: Measured, stage: DpuPhase, way: str
) -> None:
    drains, before = away.drains, away.drains.state()
    with drains.watch_log() as log:
        away.arrive_at(stage)
        if drains.is_open(away.dpu):  # the log hears of it too, on a busy machine perhaps after what follows
            eventually(lambda: drainrules.openings(log.story(), drains.hosts), bool, SLOW)
        away.proxy.black_hole() if way == "silent" else away.proxy.refuse()
        began = time.monotonic()
        away.go_on(stage)
        eventually(away.is_out_of_sight, bool, SLOW)
        eventually(lambda: drains.is_open(away.dpu), lambda is_open: not is_open, SLOW)
        ended = time.monotonic()
        assert drainrules.let_go(log.story(), drains.hosts, began, ended) == []
        away.proxy.restore()
        away.until_resumed(stage)
        measured(f"{stage}, tenant {way} for {ended - began:.1f} s: went on after {time.monotonic() - ended:.1f} s")
        drains.cordon(away.dpu, yes=False)
        drains.until_idle()
        story = log.story()
    assert drainrules.broken(story, drains.hosts, drains.trial.namespace) == []
    assert drains.state() == before


def phase_of(maintenance: Mapping[str, Any]) -> str:
    status = maintenance.get("status")
    return str(status.get("phase", "")) if isinstance(status, dict) else ""
