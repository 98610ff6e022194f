"""A tenant pod gets its network from the DPU, and what the DPU shows of itself is what a drain takes for a proof."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from dpunetop.domain import names
from dpunetop.domain.drain.rules import leases
from dpunetop.domain.drain.rules.proof import Evidence, tenant_signals
from dpunetop.kube.keys import LEASES
from dpunetop.kube.meta import Obj, annotations_of, name_of
from dpunetop.kube.requests import get
from dpunetop.sandbox.realovnkube.tenant import LEASE_SECONDS
from dpunetop.sandbox.realovnkube.testbed import ENCAP, RealTestbed
from dpunetop.sandbox.realovnkube.traffic import EchoServer, ask
from dpunetop.sandbox.realovnkube.workload import wire
from support.measuring import Measured
from support.trial import Trial, eventually

pytestmark = pytest.mark.timeout(300)

PORT = 8080


def test_a_pod_on_the_host_reaches_the_fabric_through_its_dpu(
    testbed: RealTestbed, trial: Trial, host: Callable[[], Obj], measured: Measured
) -> None:
    wired = wire(testbed.host, trial.tenant, trial.tenant_namespace, "talks")
    fabric = testbed.dpu.addresses.fabric
    with EchoServer(testbed.dpu.fabric, fabric, PORT):
        answers = ask(wired.place, fabric, PORT, seconds=3.0)
    measured(f"a pod's address after {wired.seconds_to_address:.1f} s, wired {wired.seconds_to_status:.1f} s later")
    assert json.loads(wired.status)["default"]["Status"] == "Ready"
    assert answers.count > 0, answers
    # Its own address stays inside: what leaves has that of the host's gateway.
    addresses = {each["type"]: each["address"] for each in host()["status"]["addresses"]}
    assert answers.seen_as == addresses["InternalIP"]


def test_what_the_dpu_writes_onto_its_host_is_what_a_drain_asks_for(host: Callable[[], Obj]) -> None:
    evidence = Evidence(name_of(host()), None, annotations_of(host()), None)
    assert [signal.name for signal in tenant_signals(evidence) if not signal.holds] == []


def test_geneve_has_the_address_that_open_vswitch_of_the_dpu_says(
    testbed: RealTestbed, host: Callable[[], Obj]
) -> None:
    assert json.loads(annotations_of(host())[names.ENCAP_IPS_ANNOTATION]) == [ENCAP]
    assert testbed.dpu.vsctl("get", "Open_vSwitch", ".", "external_ids:ovn-encap-ip").strip('"') == ENCAP


def test_the_lease_of_the_host_is_a_sign_after_two_renewals(
    trial: Trial, host: Callable[[], Obj], measured: Measured
) -> None:
    period, name = leases.ObservationPeriod("dpu", "boot", "term"), f"{names.LEASE_PREFIX}{name_of(host())}"
    path = get(LEASES, trial.tenant_namespace, name).target
    began, found = time.monotonic(), None

    def look() -> leases.RenewalCount:
        nonlocal found
        seen = leases.lease(trial.tenant.get_or_empty(path) or None)
        found = leases.count_renewals(found, period, seen, time.monotonic(), is_due=True)
        return found

    last = eventually(look, lambda count: count.is_enough(time.monotonic()), within=6 * LEASE_SECONDS)
    measured(f"Lease {name}: {leases.CHANGES} renewals in {time.monotonic() - began:.1f} s")
    assert last.lease.valid_seconds == 4 * LEASE_SECONDS
    assert trial.tenant.get(path)["spec"]["holderIdentity"] == "ovnkube-dpu-node"
