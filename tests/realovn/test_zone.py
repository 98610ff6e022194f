"""Databases, northd, ovn-controller and the audit log of a zone: ours to start, real programs to be started."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dpunetop.sandbox.realovn.datapath import Dpu
from dpunetop.sandbox.realovn.pods import Pod, Statuses
from dpunetop.sandbox.realovn.podspec import ProbeType
from support.zones import PARTS, entry, zone

pytestmark = pytest.mark.realovn


@pytest.fixture(scope="module")
def pod(dpu: Dpu) -> Iterator[Pod]:
    dpu.vsctl("set", "Open_vSwitch", ".", *ENCAP)
    with zone(dpu, entry("host-1")) as started:
        started.wait_ready()
        yield started


# ovnkube sets them in a pod that is whole.
ENCAP = ("external_ids:ovn-encap-type=geneve", "external_ids:ovn-encap-ip=192.168.50.2")


def test_each_part_is_alive_by_its_own_probe(pod: Pod) -> None:
    asked = {}
    for name, container in pod.containers.items():
        if ProbeType.LIVENESS in container.spec.probes:
            run = container.current()
            assert run is not None
            asked[name] = run.execute(container.spec.probes[ProbeType.LIVENESS].command, 10)
    assert asked == dict.fromkeys(("ovn-controller", "northd", "nbdb", "sbdb"), (0, ""))


def test_a_write_to_the_northbound_database_reaches_the_southbound_one(pod: Pod) -> None:
    pod.containers["nbdb"].execute("ovn-nbctl", "--timeout=60", "--wait=sb", "ls-add", "goes-south")
    found = pod.containers["sbdb"].execute("ovn-sbctl", "--bare", "--columns=external_ids", "list", "Datapath_Binding")
    assert "name=goes-south" in found


def test_the_chassis_bears_the_name_of_the_tenant_host(pod: Pod) -> None:
    def chassis() -> str:
        return pod.containers["sbdb"].execute("ovn-sbctl", "--bare", "--columns=hostname", "list", "Chassis")

    pod.wait("a chassis", lambda _: chassis() != "")
    assert chassis() == "host-1"


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_is_killed_is_ready_again_and_the_others_do_not_notice(pod: Pod, name: str) -> None:
    before = pod.statuses()
    others = {other: status for other, status in before.items() if other != name}

    def is_back(now: Statuses) -> bool:
        return now[name].ready and now[name].restarts > before[name].restarts

    pod.containers[name].kill_first_process()
    pod.wait(f"{name} Ready again", is_back)
    pod.wait_ready()
    assert {other: status for other, status in pod.statuses().items() if other != name} == others
    last = pod.statuses()[name].last
    assert last is not None
    assert last.code == 137


def test_a_killed_database_has_all_that_was_written(pod: Pod) -> None:
    north = pod.containers["nbdb"]
    north.execute("ovn-nbctl", "--timeout=60", "ls-add", "survives")
    starts = north.status().restarts
    north.kill_first_process()
    pod.wait("north is back", lambda now: now["nbdb"].ready and now["nbdb"].restarts > starts)
    assert "survives" in north.execute(
        "ovn-nbctl", "--timeout=60", "--bare", "--columns=name", "list", "Logical_Switch"
    )
