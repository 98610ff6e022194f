"""The audit log of access rules: ovn-controller writes it, ovn-acl-logging keeps it within its bounds."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dpunetop.sandbox.realovn.datapath import Dpu
from dpunetop.sandbox.realovn.pods import Pod
from support.tenants import openshift
from support.zones import entry, zone

pytestmark = pytest.mark.realovn

MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02")
# From one port to the other: Ethernet, IPv4, UDP to port 9, no payload.
FRAME = bytes.fromhex("02000000000202000000000108004500001c000000004011" + "66cf" + "0a0000010a0000020400000900080000")
MEGABYTE = 1_000_000


def library_with_small_logs() -> dict[str, dict[str, str]]:
    view = openshift((4, 22))
    assert view.script_lib is not None
    text = view.script_lib["data"]["ovnkube-lib.sh"]
    return {
        "data": {
            "ovnkube-lib.sh": text.replace('"20"*1000000', '"1"*1000000').replace('MAXLOGFILES="7"', 'MAXLOGFILES="3"')
        }
    }


@pytest.fixture(scope="module")
def pod(dpu: Dpu) -> Iterator[Pod]:
    dpu.vsctl(
        "set", "Open_vSwitch", ".", "external_ids:ovn-encap-type=geneve", "external_ids:ovn-encap-ip=192.168.50.2"
    )
    with zone(dpu, entry("host-1"), openshift((4, 22), script_lib=library_with_small_logs())) as started:
        started.wait_ready()
        _two_ports_and_a_rule(dpu, started)
        yield started


def _two_ports_and_a_rule(dpu: Dpu, pod: Pod) -> None:
    north = pod.containers["nbdb"]
    north.execute("ovn-nbctl", "ls-add", "audited")
    for number, mac in enumerate(MACS, start=1):
        port = f"vif{number}"
        dpu.vsctl(
            "add-port", "br-int", port, "--", "set", "Interface", port, "type=internal", f"external_ids:iface-id={port}"
        )
        dpu.here.ip("link", "set", port, "up")
        north.execute("ovn-nbctl", "lsp-add", "audited", port)
        north.execute("ovn-nbctl", "lsp-set-addresses", port, f"{mac} 10.0.0.{number}")
    rule = ("--log", "--name=seen", "--severity=info", "acl-add", "audited", "from-lport", "1000", "udp", "drop")
    north.execute("ovn-nbctl", "--timeout=60", "--wait=hv", *rule)


@pytest.fixture
def log(dpu: Dpu) -> Path:
    return dpu.root.inside("/var/log/ovn/acl-audit-log.log")


def send() -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as port:
        port.bind(("vif1", 0))
        port.send(FRAME)


def seen(log: Path) -> int:
    return log.read_text(errors="replace").count('name="seen"') if log.exists() else 0


def test_a_packet_that_hits_an_acl_is_logged_and_shown(pod: Pod, log: Path) -> None:
    send()
    pod.wait("a hit", lambda _: seen(log) == 1)
    pod.wait("shown", lambda _: seen(pod.containers["ovn-acl-logging"].log()) == 1)


def test_a_log_that_is_full_is_put_aside_and_hits_go_to_a_new_one(pod: Pod, log: Path) -> None:
    hits = seen(log) + 1
    send()
    pod.wait("a hit", lambda _: seen(log) == hits)
    os.truncate(log, MEGABYTE + 1)
    pod.wait("put aside", lambda _: log.exists() and log.stat().st_size < MEGABYTE)
    [old] = log.parent.glob("acl-audit-log.*.log")
    send()
    pod.wait("a hit in the new one", lambda _: seen(log) == 1)
    assert seen(old) == hits


def test_only_the_newest_logs_are_kept(pod: Pod, log: Path) -> None:
    for number in range(4):
        log.with_name(f"acl-audit-log.2020-01-0{number + 1}T00-00-00.log").touch()

    def kept() -> list[str]:
        return sorted(file.name for file in log.parent.glob("acl-audit-log.*.log"))

    newest = kept()[-2:]
    pod.wait("pruned", lambda _: len(kept()) < 3)
    assert kept() == newest
    assert log.exists()


def test_after_a_restart_of_ovn_controller_hits_go_to_the_same_log(pod: Pod, log: Path) -> None:
    before = pod.statuses()["ovn-controller"].restarts
    pod.containers["ovn-controller"].kill_first_process()
    pod.wait("back", lambda now: now["ovn-controller"].ready and now["ovn-controller"].restarts > before)
    pod.containers["nbdb"].execute("ovn-nbctl", "--timeout=60", "--wait=hv", "sync")
    hits = seen(log)
    send()
    pod.wait("one more hit", lambda _: seen(log) == hits + 1)
