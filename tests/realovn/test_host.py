"""A host beside the DPU: how it reaches an API server on the other side, and how a pod of it talks."""

from __future__ import annotations

import threading

import pytest

from dpunetop.sandbox.realovn.datapath import EXTERNAL_BRIDGE, Dpu
from dpunetop.sandbox.realovnkube.host import NAME, TenantHost
from dpunetop.sandbox.realovnkube.portforward import PortForward
from dpunetop.sandbox.realovnkube.traffic import EchoClient, EchoServer, ask

pytestmark = pytest.mark.realovn

ADDRESS, PORT = "192.168.50.10", 7000


@pytest.fixture(scope="module")
def host(dpu: Dpu) -> TenantHost:
    made = TenantHost(dpu, "host-1", ADDRESS, functions=3)
    made.plug_in()
    return made


def test_the_host_reaches_the_fabric_by_its_representor_on_the_dpu(dpu: Dpu, host: TenantHost) -> None:
    assert "rep0-0" in dpu.vsctl("list-ports", EXTERNAL_BRIDGE)
    with EchoServer(dpu.fabric, dpu.addresses.fabric, PORT):
        assert ask(host.place, dpu.addresses.fabric, PORT).seen_as == ADDRESS


def test_whoever_asks_says_for_how_long_there_was_no_answer(dpu: Dpu, host: TenantHost) -> None:
    with EchoServer(dpu.fabric, dpu.addresses.fabric, PORT):
        asking = EchoClient(host.place, dpu.addresses.fabric, PORT)
        for state, seconds in (("up", 1.0), ("down", 1.5), ("up", 1.0)):
            dpu.here.ip("link", "set", "rep0-0", state)
            threading.Event().wait(seconds)
        answers = asking.end()
    assert answers.count > 0, answers
    assert answers.longest_gap_seconds >= 1.4, answers


def test_a_request_without_an_answer_is_reported_as_unanswered(dpu: Dpu, host: TenantHost) -> None:
    answers = ask(host.place, dpu.addresses.fabric, PORT)
    assert (answers.count, answers.connections) == (0, 0)
    assert "refused" in answers.trouble


def test_a_door_leads_from_the_host_to_a_port_of_this_side(dpu: Dpu, host: TenantHost) -> None:
    with EchoServer(dpu.here, "127.0.0.1", PORT):
        assert ask(host.place, "127.0.0.1", PORT).count == 0
        with PortForward(dpu.root.inside(f"/run/netns/{NAME}"), PORT):
            assert ask(host.place, "127.0.0.1", PORT).count > 0
        assert ask(host.place, "127.0.0.1", PORT).count == 0


def test_a_pod_of_the_host_has_an_interface_of_its_own(host: TenantHost) -> None:
    place = host.plug("pod-1", "0a:58:0a:80:00:05", "10.128.0.5/23", "10.128.0.1", host.take_function())
    assert "10.128.0.5/23" in place.ip("address", "show", "eth0-2")
    with pytest.raises(IndexError):
        host.take_function()
