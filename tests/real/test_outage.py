"""The tenant's API server goes silent for a minute: packets pass, nothing restarts, and all goes on afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from dpunetop.domain import names
from dpunetop.kube.keys import LEASES
from dpunetop.kube.meta import Obj, name_of
from dpunetop.kube.requests import get
from dpunetop.sandbox.components import Component
from dpunetop.sandbox.realovnkube.testbed import RealTestbed
from dpunetop.sandbox.realovnkube.traffic import EchoClient, EchoServer
from dpunetop.sandbox.realovnkube.workload import wire
from support.measuring import Measured
from support.trial import Trial, eventually

pytestmark = pytest.mark.timeout(400)

PORT = 8082
AWAY_SECONDS = 60.0
SLOW = 120.0
MOST_SILENCE_SECONDS = 2.0


def test_packets_pass_while_the_tenants_api_is_away(
    testbed: RealTestbed, trial: Trial, host: Callable[[], Obj], measured: Measured
) -> None:
    wired = wire(testbed.host, trial.tenant, trial.tenant_namespace, "talks-through")
    path = get(LEASES, trial.tenant_namespace, f"{names.LEASE_PREFIX}{name_of(host())}").target
    [pod], fabric = testbed.runtime.pods(), testbed.dpu.addresses.fabric
    before = {name: status.process for name, status in pod.statuses().items()}
    with EchoServer(testbed.dpu.fabric, fabric, PORT):
        asking = EchoClient(wired.place, fabric, PORT)
        testbed.world.tenant.pause(Component.APISERVER)
        time.sleep(AWAY_SECONDS)
        testbed.world.tenant.resume(Component.APISERVER)
        answers = asking.end()
    renewed = trial.tenant.get(path)["spec"]["renewTime"]
    eventually(lambda: trial.tenant.get(path)["spec"]["renewTime"], lambda now: now != renewed, SLOW)
    measured(
        f"{AWAY_SECONDS:.0f} s without the tenant's API: {answers.count} answers, "
        f"{answers.longest_gap_seconds} s without one at most"
    )
    assert answers.connections == 1, answers
    assert answers.longest_gap_seconds < MOST_SILENCE_SECONDS, answers
    assert {name: status.process for name, status in pod.statuses().items()} == before
    trial.wait("Ready", "True", within=SLOW)
