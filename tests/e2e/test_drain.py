"""A pool of DPUs is updated under a load, and no workload runs on a host whose DPU is down.

All that is asserted is taken from a watch of both clusters: nothing between two looks is missed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.world import World
from support import drainrules
from support.drains import WORKLOAD, Drains
from support.trial import Trial
from support.watchlog import Story

pytestmark = pytest.mark.timeout(1200)

NewTrial = Callable[..., Trial]

DPUS = 6
AT_ONCE = 3
ROLL_SECONDS = 300.0


@pytest.fixture
def drains(new_trial: NewTrial) -> Drains:
    """Six DPUs, the last two of them in one host."""
    trial = new_trial(DPUS)
    pairs = dict(trial.names.pairs)
    *_, shared, last = pairs
    return Drains(trial, {**pairs, last: pairs[shared]})


@pytest.fixture
def operator(world: World, drains: Drains, request: pytest.FixtureRequest) -> Iterator[OperatorProcess]:
    with OperatorProcess(world.operator_kubeconfig(), env=drains.environment) as running:
        yield running
        request.node.add_report_section("teardown", "operator", running.log_text()[-20_000:])
    drains.close()


@pytest.mark.usefixtures("operator")
def test_no_workload_runs_on_a_host_whose_dpu_is_down_while_the_pool_is_updated(drains: Drains) -> None:
    with drains.watch_log() as beginning:
        drains.serve()
        drains.run_workloads()
        before = drains.state()
        with drains.watch_log() as log:
            drains.roll("2", AT_ONCE)
            drains.until_rolled(ROLL_SECONDS)
            story = log.story()
        assert drainrules.broken(beginning.story(), drains.hosts, drains.trial.namespace) == []
    assert drains.state() == before
    assert untouched(story, drains) == []
    assert drainrules.openings(story, drains.hosts) >= DPUS
    assert drainrules.cut_off_seconds(story, drains.hosts, WORKLOAD) == {}


def untouched(story: Story, drains: Drains) -> list[str]:
    """DPUs that were never down, and hosts whose workload never went: then nothing would have been shown."""
    hosts = set(drains.pairs.values())
    still = [dpu for dpu in drains.pairs if not drainrules.down_seconds(story, dpu)]
    return still + [host for host in hosts if len(drainrules.running_seconds(story, host, WORKLOAD)) < 2]
