"""What goes well with the real neighbours: the quick start, rest, a hand cordon, a roll with a reboot."""

from __future__ import annotations

import time

import pytest

from dpunetop.domain import names
from dpunetop.kube.meta import annotations_of
from support import audit, drainrules
from support.drains import WORKLOAD, Drains
from support.measuring import Measured
from support.neighbours import configuration, told, until_arrived, until_rendered, warnings, watched
from support.trial import Trial

pytestmark = pytest.mark.timeout(900)

REST_SECONDS = 40.0


def test_the_quick_start_ends_ready(trial: Trial, drains: Drains, measured: Measured) -> None:
    until_arrived(drains, configuration(trial))
    pool, machine_config = trial.pool_objects()
    assert annotations_of(drains.dpu(trial.nodes[0]))[names.CURRENT_CONFIG_ANNOTATION] == configuration(trial)
    assert pool["status"]["updatedMachineCount"] == len(trial.nodes)
    assert machine_config["spec"]["config"]["ignition"]
    measured(f"conditions after the quick start: {trial.told()}")


def test_at_rest_the_operator_writes_nothing(trial: Trial, drains: Drains) -> None:
    looks = [
        audit.of_operator(trial.world.infra),
        audit.of_tenant_reader(trial.world.tenant, trial.tenant_namespace),
    ]
    time.sleep(REST_SECONDS)
    assert [asked for look in looks for asked in look.requests() if asked.is_write] == []


def test_a_dpu_that_a_person_cordons_opens_and_closes_again_without_a_false_word(
    trial: Trial, drains: Drains, measured: Measured
) -> None:
    before = warnings(trial)
    dpu = trial.nodes[0]
    with watched(drains) as story:
        began = time.monotonic()
        drains.cordon(dpu)
        drains.until_open(dpu, 120.0)
        opened = time.monotonic() - began
        drains.cordon(dpu, yes=False)
        drains.until_idle(180.0)
        seen = story()
    measured(f"a hand cordon: open after {opened:.1f} s, the host back after {time.monotonic() - began:.1f} s")
    assert drainrules.broken(seen, drains.hosts, trial.namespace) == []
    assert [said for said in told(seen, trial, "PairsHealthy") if said[0] != "True"] == []
    assert [said for said in told(seen, trial, "McpReady") if said[0] != "True"] == []
    assert [each for each in warnings(trial) if each not in before] == []


def test_a_roll_drains_reboots_and_gives_both_hosts_back_without_a_false_word(
    trial: Trial, drains: Drains, measured: Measured
) -> None:
    before, state, warned = configuration(trial), drains.state(), warnings(trial)
    began = time.monotonic()
    with watched(drains) as story:
        drains.roll("2")
        until_arrived(drains, until_rendered(trial, before))
        seen = story()
    measured(f"a roll of two DPUs with reboots: {time.monotonic() - began:.0f} s")
    assert drainrules.broken(seen, drains.hosts, trial.namespace) == []
    assert drainrules.cut_off_seconds(seen, drains.hosts, WORKLOAD) == {}
    assert drainrules.openings(seen, drains.hosts) == len(drains.pairs)
    assert drains.state() == state
    assert [said for said in told(seen, trial, "PairsHealthy") if said[0] != "True"] == []
    assert [each for each in warnings(trial) if each not in warned] == []
