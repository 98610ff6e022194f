"""A pool is updated: the host is drained, the DPU reboots, and what it shows then gives the host back."""

from __future__ import annotations

import time

import pytest

from dpunetop.domain.names import OVNKUBE_CONTROLLER
from dpunetop.kube.meta import Obj
from dpunetop.sandbox.realovnkube.testbed import RealTestbed
from dpunetop.sandbox.realovnkube.traffic import EchoServer, ask
from dpunetop.sandbox.realovnkube.workload import wire
from support import drainrules
from support.drains import WORKLOAD, Drains
from support.measuring import Measured
from support.trial import Trial

pytestmark = pytest.mark.timeout(500)

PORT = 8083
ROLL_SECONDS = 300.0


def test_a_drain_ends_once_the_rebooted_dpu_has_proven_its_network(
    testbed: RealTestbed, trial: Trial, measured: Measured
) -> None:
    drains = Drains(trial)
    drains.run_workloads()
    before, state = containers(trial), drains.state()
    began = time.monotonic()
    with drains.watch_log() as log:
        drains.roll("2")
        drains.until_rolled(ROLL_SECONDS)
        story = log.story()
    measured(
        f"a drain with a reboot, from the new configuration to the host's return: {time.monotonic() - began:.1f} s"
    )
    assert drainrules.broken(story, drains.hosts, trial.namespace) == []
    assert drainrules.cut_off_seconds(story, drains.hosts, WORKLOAD) == {}
    assert drainrules.openings(story, drains.hosts) == 1
    assert drains.state() == state
    assert before.keys() == containers(trial).keys()
    assert not set(before.values()) & set(containers(trial).values())
    wired = wire(testbed.host, trial.tenant, trial.tenant_namespace, "talks-again")
    fabric = testbed.dpu.addresses.fabric
    with EchoServer(testbed.dpu.fabric, fabric, PORT):
        assert ask(wired.place, fabric, PORT, seconds=3.0).count > 0


def containers(trial: Trial) -> dict[str, str]:
    """Container IDs of the DPU's pod."""
    [pod] = trial.pods()
    statuses: list[Obj] = pod["status"]["containerStatuses"]
    assert OVNKUBE_CONTROLLER in {each["name"] for each in statuses}
    return {each["name"]: each["containerID"] for each in statuses}
