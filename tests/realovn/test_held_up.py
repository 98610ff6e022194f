"""A container that waits for Open vSwitch, with the real programs on both sides."""

from __future__ import annotations

import pytest

from dpunetop.sandbox.realovn.datapath import Dpu
from dpunetop.sandbox.realovn.pods import Pod
from dpunetop.sandbox.realovn.podspec import ProbeType
from support.zones import entry, zone

pytestmark = pytest.mark.realovn


def asked(pod: Pod, question: ProbeType) -> tuple[int, str]:
    """What the probe of ovn-controller answers."""
    container = pod.containers["ovn-controller"]
    run = container.current()
    assert run is not None
    return run.execute(container.spec.probes[question].command, 10)


def test_ovn_controller_waits_for_open_vswitch_says_so_and_goes_on_without_a_crash(dpu: Dpu) -> None:
    dpu.vsctl(
        "set", "Open_vSwitch", ".", "external_ids:ovn-encap-type=geneve", "external_ids:ovn-encap-ip=192.168.50.2"
    )
    socket = dpu.root.inside("/run/openvswitch/db.sock")
    away = socket.rename(socket.with_name("away.sock"))
    with zone(dpu, entry("host-1")) as pod:
        pod.wait("all others Ready", lambda now: all(now[name].ready for name in ("nbdb", "sbdb", "northd")))
        code, said = asked(pod, ProbeType.READINESS)
        assert (code, "Open vSwitch of this DPU does not answer" in said) == (1, True)
        assert "database connection failed" in said
        assert asked(pod, ProbeType.LIVENESS) == (0, "")
        away.rename(socket)
        pod.wait_ready()
        assert pod.statuses()["ovn-controller"].restarts == 0
        assert asked(pod, ProbeType.READINESS) == (0, "")


def test_what_open_vswitch_is_asked_in_one_go_comes_in_the_order_of_the_keys(dpu: Dpu) -> None:
    dpu.vsctl(
        "set", "Open_vSwitch", ".", "external_ids:ovn-gw-interface=brp0", 'external_ids:ovn-encap-ip="1.2.3.4,5.6.7.8"'
    )
    keys = ("ovn-encap-ip", "dpunetop-encap-ip", "ovn-gw-interface", "ovn-gw-vlanid")
    answer = dpu.vsctl("--if-exists", "get", "Open_vSwitch", ".", *(f"external_ids:{key}" for key in keys))
    assert answer.splitlines()[:3] == ['"1.2.3.4,5.6.7.8"', "", "brp0"]
