"""How ovnkube is started, whatever the topology, by the shell text of both and with the options of each release."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from dpunetop.app.assets import interconnect_scripts, ovnkube_scripts
from dpunetop.domain.ovnkube.unready import Cause, WaitingContainer, held_up
from support.podscripts import OVS_VSCTL, RECORDER, RELEASES, ScriptedPod, end, first_line, known_options, started_with

SCRIPTS = {
    "ovnkube-node": ovnkube_scripts().ovnkube_node,
    "ovnkube-controller": interconnect_scripts().ovnkube_controller,
    "ovn-controller": interconnect_scripts().ovn_controller,
}
TEXTS = {name: scripts.entry for name, scripts in SCRIPTS.items()} | {
    f"{name} probe": scripts.probe for name, scripts in SCRIPTS.items()
}
TEMPLATE = {
    "OVN_LOG_LEVEL": "info",
    "OVN_KUBE_LOG_LEVEL": "4",
    "OVN_CONTROLLER_INACTIVITY_PROBE": "180000",
    "OVN_NORTHD_PROBE_INTERVAL": "10000",
    "OVN_NORTHD_BACKOFF_MS": "300",
    "OVN_ENCAP_PORT": "6081",
    "OVN_AUDIT_SYSLOG_METHOD": "null",
    "OVN_AUDIT_FACILITY": "local0",
    "OVN_NB_DB_LIST": "ssl:10.0.0.1:9641",
    "OVN_SB_DB_LIST": "ssl:10.0.0.1:9642",
    "K8S_NODE": "dpu-1",
    "NODE_IP": "192.0.2.1",
}
PROGRAMS = {
    **dict.fromkeys(("ovn-nbctl", "ovn-sbctl", "nft", "iptables", "ip6tables", "ovn-controller"), RECORDER),
    "ovs-vsctl": OVS_VSCTL,
}
NEEDS = {"ovnkube-node": "--nb-address", "ovnkube-controller": "--init-ovnkube-controller"}
STARTS = [(name, release) for name, need in NEEDS.items() for release in RELEASES if need in known_options(release)]
ANY = [("ovnkube-node", "openshift-4.13"), ("ovnkube-controller", "openshift-4.23")]

every_start = pytest.mark.parametrize(("container", "release"), STARTS)
each_topology = pytest.mark.parametrize(("container", "release"), ANY, ids=NEEDS)


@pytest.fixture
def pod(tmp_path: Path) -> ScriptedPod:
    made = ScriptedPod(tmp_path, TEXTS, TEMPLATE, PROGRAMS)
    made.entry("TENANT_K8S_NODE=worker-1\n")
    return made


def status_of(pod: ScriptedPod, container: str, is_ready: bool = False) -> WaitingContainer | None:
    """What the operator makes of the message that the container left."""
    ended = {"terminated": {"exitCode": 1, "message": pod.message}}
    status = {"name": container, "ready": is_ready, "state": {"running": {}}, "lastState": ended}
    return held_up({"metadata": {"name": "ovnkube-node-x"}, "status": {"containerStatuses": [status]}})


def waits(pod: ScriptedPod, container: str, **environment: str) -> subprocess.Popen[str]:
    """Start it anew after it has ended; it stays, not Ready and alive."""
    process = pod.start(container, **environment)
    first_line(process)
    first_line(process)
    assert process.poll() is None
    assert pod.probe(container, "ready") == 1
    assert pod.probe(container, "alive") == 0
    return process


@every_start
def test_ovnkube_is_given_a_token_beside_its_kubeconfig(pod: ScriptedPod, container: str, release: str) -> None:
    pod.plays(release)
    status, output = pod.run(container)
    assert status == 0, output
    assert "--k8s-kubeconfig=/var/run/secrets/tenant-kubeconfig/kubeconfig" in pod.calls[-1]
    assert pod.seen_by("ovnkube")["K8S_TOKEN"] == "see-the-kubeconfig"


@every_start
def test_each_option_is_one_that_the_image_knows(pod: ScriptedPod, container: str, release: str) -> None:
    pod.plays(release)
    assert pod.run(container, "--enable-multicast", "--enable-of-the-future=true")[0] == 0
    given = {word.partition("=")[0] for word in pod.calls[-1][1:]}
    assert given <= known_options(release)


@every_start
def test_the_tunnels_end_where_open_vswitch_says(pod: ScriptedPod, container: str, release: str) -> None:
    pod.plays(release)
    for said in ("198.51.100.10", "198.51.100.10,198.51.100.11"):
        pod.open_vswitch(ovn_encap_ip=said)
        status, output = pod.run(container)
        assert status == 0, output
        assert f" --encap-ip={said} " in started_with(pod)
        assert pod.ovs("ovn-encap-ip").read_text() == said


@every_start
def test_without_a_word_of_open_vswitch_they_end_at_the_node(pod: ScriptedPod, container: str, release: str) -> None:
    pod.plays(release)
    assert pod.run(container)[0] == 0
    assert " --encap-ip=192.0.2.1 " in started_with(pod)


@each_topology
def test_what_ovnkube_wrote_of_an_earlier_address_of_the_node_is_nobodys_wish(
    pod: ScriptedPod, container: str, release: str
) -> None:
    pod.plays(release)
    assert pod.run(container, NODE_IP="198.51.100.11")[0] == 0
    pod.open_vswitch(ovn_encap_ip="198.51.100.11")  # ovnkube does so, with what it was given
    for _ in range(2):
        assert pod.run(container, NODE_IP="192.0.2.1", STUB_ADDRESSES="192.0.2.1")[0] == 0
        assert " --encap-ip=192.0.2.1 " in started_with(pod)
        pod.open_vswitch(ovn_encap_ip="192.0.2.1")


@each_topology
def test_a_wish_that_comes_later_is_followed(pod: ScriptedPod, container: str, release: str) -> None:
    pod.plays(release)
    assert pod.run(container)[0] == 0
    pod.open_vswitch(ovn_encap_ip="198.51.100.10")
    assert pod.run(container)[0] == 0
    assert " --encap-ip=198.51.100.10 " in started_with(pod)


@every_start
def test_what_the_dpu_says_of_its_gateway_is_passed_on(pod: ScriptedPod, container: str, release: str) -> None:
    pod.plays(release)
    pod.open_vswitch(
        ovn_gw_interface="brp0", ovn_gw_nexthop="10.0.0.1", ovn_gw_vlanid="7", ovn_gw_router_subnet="10.1.0.0/16"
    )
    assert pod.run(container)[0] == 0
    assert (
        " --gateway-interface=brp0 --gateway-nexthop=10.0.0.1 --gateway-vlanid=7 --gateway-router-subnet=10.1.0.0/16"
    ) in started_with(pod)


BOTH = (
    *("--init-node", "--ovnkube-node-mode", "--encap-ip", "--k8s-kubeconfig", "--gateway-mode"),
    *("--gateway-interface", "--metrics-bind-address"),
)
OF_THE_HOST = ("--gateway-nexthop", "--gateway-vlanid", "--gateway-router-subnet")
OF_ONE = {
    "ovnkube-node": (
        *(f"--{side}-{what}" for side in ("nb", "sb") for what in ("address", "client-privkey", "cert-common-name")),
        "--config-file",
    ),
    "ovnkube-controller": (
        *("--init-ovnkube-controller", "--config-file", "--cluster-subnets", "--k8s-service-cidrs", "--mtu"),
        *("--encap-port", "--ovn-config-namespace"),
    ),
}
MANDATORY = [(name, release, option) for name, release in ANY for option in (*BOTH, *OF_THE_HOST, *OF_ONE[name])]
ARGUMENTS = tuple(f"{option}=x" for option in OF_ONE["ovnkube-controller"][1:])


@pytest.mark.parametrize(("container", "release", "option"), MANDATORY)
def test_an_image_without_an_option_that_a_dpu_needs_ends_once_and_waits_with_a_word(
    pod: ScriptedPod, container: str, release: str, option: str
) -> None:
    pod.plays(release, option)
    pod.open_vswitch(ovn_gw_nexthop="10.0.0.1", ovn_gw_vlanid="7", ovn_gw_router_subnet="10.1.0.0/16")
    assert pod.run(container, *ARGUMENTS)[0] == 1
    assert status_of(pod, container) == WaitingContainer(Cause.OPTIONS_MISSING, "ovnkube-node-x", container, (option,))
    process = pod.start(container, *ARGUMENTS)
    assert first_line(process).endswith("serving host worker-1\n")
    while f"does not know {option}, without which it cannot serve" not in first_line(process):
        assert process.poll() is None
    ready, told = pod.answer(container, "ready")
    assert (ready, pod.probe(container, "alive")) == (1, 0)
    assert f"ovnkube of this image does not know {option}" in told
    assert end(process) == 0
    assert "ovnkube" not in [call[0] for call in pod.calls]


@every_start
def test_options_that_ovnkube_can_do_without_are_left_out_and_said(
    pod: ScriptedPod, container: str, release: str
) -> None:
    pod.plays(release, "--loglevel", "--inactivity-probe")
    status, output = pod.run(container)
    assert status == 0, output
    assert "this image does not know --loglevel: left out\n" in output
    assert "this image does not know --inactivity-probe: left out\n" in output


OLD = [release for release in RELEASES if "--ovnkube-node-mgmt-port-dp-resource-name" not in known_options(release)]


@pytest.mark.parametrize("release", OLD)
def test_an_old_image_waits_until_its_dpu_names_the_management_port(pod: ScriptedPod, release: str) -> None:
    pod.plays(release)
    pod.ovs("dpunetop-mgmt-port-netdev").unlink()
    assert pod.run("ovnkube-node")[0] == 1
    told = WaitingContainer(Cause.MANAGEMENT_PORT_UNKNOWN, "ovnkube-node-x", "ovnkube-node", ())
    assert status_of(pod, "ovnkube-node") == told
    process = waits(pod, "ovnkube-node")
    pod.open_vswitch(dpunetop_mgmt_port_netdev="pf0vf0")
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert " --ovnkube-node-mgmt-port-netdev=pf0vf0 " in started_with(pod)


def test_which_images_are_old() -> None:
    assert OLD == ["openshift-4.12", "openshift-4.13"]


SILENT = {
    "crashes": "#!/bin/bash\nkill -SEGV $BASHPID\n",
    "is another program": "#!/bin/bash\necho 'usage: ovnkube COMMAND, with --help for more' >&2\nexit 2\n",
    "is not there": None,
}


@pytest.mark.parametrize("program", SILENT.values(), ids=SILENT)
@each_topology
def test_an_ovnkube_that_tells_no_options_is_not_started(
    pod: ScriptedPod, container: str, release: str, program: str | None
) -> None:
    pod.plays(release)
    pod.without("ovnkube")
    if program:
        pod.program("ovnkube", program)
    assert pod.run(container)[0] == 1
    assert status_of(pod, container) == WaitingContainer(Cause.OPTIONS_UNKNOWN, "ovnkube-node-x", container, ())
    assert end(waits(pod, container, DPUNETOP_PATIENCE_SECONDS="0.1")) == 0


@pytest.mark.parametrize("container", ["ovnkube-node", "ovnkube-controller", "ovn-controller"])
def test_without_open_vswitch_a_container_waits_at_once_and_says_so_in_its_probe(
    pod: ScriptedPod, container: str
) -> None:
    pod.plays("openshift-4.20")
    (pod.root / "record.no-ovs").touch()
    process = waits(pod, container)
    assert "Open vSwitch of this DPU does not answer" in pod.answer(container, "ready")[1]
    assert "database connection failed" in pod.answer(container, "ready")[1]
    assert (pod.message, process.poll()) == ("", None)
    (pod.root / "record.no-ovs").unlink()
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert pod.calls[-1][0] in ("ovnkube", "ovn-controller")
    assert not list((pod.root / "state").glob("held*"))


@pytest.mark.parametrize("container", ["ovnkube-node", "ovnkube-controller", "ovn-controller"])
def test_without_open_vswitch_for_long_it_ends_once_and_goes_on_waiting(pod: ScriptedPod, container: str) -> None:
    pod.plays("openshift-4.20")
    (pod.root / "record.no-ovs").touch()
    assert pod.run(container, DPUNETOP_PATIENCE_SECONDS="0")[0] == 1
    assert status_of(pod, container) == WaitingContainer(Cause.OPEN_VSWITCH_AWAY, "ovnkube-node-x", container, ())
    process = waits(pod, container, DPUNETOP_PATIENCE_SECONDS="0")
    (pod.root / "record.no-ovs").unlink()
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_container_that_is_killed_while_it_waits_leaves_its_message_once_more(pod: ScriptedPod) -> None:
    pod.plays("openshift-4.20", "--encap-ip")
    assert pod.run("ovnkube-controller")[0] == 1
    process = waits(pod, "ovnkube-controller")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    (pod.root / "message").unlink()
    assert pod.run("ovnkube-controller")[0] == 1
    assert status_of(pod, "ovnkube-controller") is not None
    assert end(waits(pod, "ovnkube-controller")) == 0


def test_another_cause_is_told_anew(pod: ScriptedPod) -> None:
    pod.plays("openshift-4.20", "--encap-ip")
    (pod.root / "record.no-ovs").touch()
    assert pod.run("ovnkube-controller", DPUNETOP_PATIENCE_SECONDS="0")[0] == 1
    (pod.root / "record.no-ovs").unlink()
    assert pod.run("ovnkube-controller")[0] == 1
    told = status_of(pod, "ovnkube-controller")
    assert told is not None
    assert told.cause is Cause.OPTIONS_MISSING


def test_one_container_that_waits_does_not_keep_another_from_being_ready(pod: ScriptedPod) -> None:
    pod.plays("openshift-4.20", "--encap-ip")
    assert pod.run("ovnkube-controller")[0] == 1
    pod.program("ovn-appctl", "#!/bin/bash\necho connected\n")
    assert pod.probe("ovn-controller", "ready") == 0
