"""The shell text of the pods, run under bash with stubs in place of the programs of the image."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dpunetop.app.assets import ovnkube_scripts
from support.podscripts import (
    BASH,
    OVS_VSCTL,
    RECORDER,
    RELEASES,
    TABLES,
    WRAPPER,
    answering,
    end,
    first_line,
    known_options,
    started_with,
)
from support.podscripts import ScriptedPod as Pod

SCRIPTS = ovnkube_scripts()
TEXTS = {
    "ovn-controller": SCRIPTS.ovn_controller.entry,
    "ovnkube-node": SCRIPTS.ovnkube_node.entry,
    "ovn-controller probe": SCRIPTS.ovn_controller.probe,
    "ovnkube-node probe": SCRIPTS.ovnkube_node.probe,
}
TEMPLATE = {
    "OVN_LOG_LEVEL": "info",
    "OVN_CONTROLLER_INACTIVITY_PROBE": "30000",
    "OVN_KUBE_LOG_LEVEL": "4",
    "OVN_NB_DB_LIST": "ssl:10.0.0.1:9641,ssl:[fd00::1]:9641",
    "OVN_SB_DB_LIST": "ssl:10.0.0.1:9642,ssl:[fd00::1]:9642",
    "K8S_NODE": "dpu-1",
    "POD_NAME": "ovnkube-node-x",
    "NODE_IP": "192.0.2.1",
}

PROGRAMS = {"ovn-controller": RECORDER, "ovs-vsctl": OVS_VSCTL, "iptables": TABLES, "ip6tables": TABLES}
WITH_DATABASES = [release for release in RELEASES if "--nb-address" in known_options(release)]


def made(tmp_path: Path, release: str, **stubs: str) -> Pod:
    pod = Pod(tmp_path, TEXTS, TEMPLATE, {**PROGRAMS, **stubs})
    pod.plays(release)
    return pod


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return made(tmp_path, "openshift-4.13")


@pytest.fixture(params=WITH_DATABASES)
def every(request: pytest.FixtureRequest, tmp_path: Path) -> Pod:
    """A pod of each release that reaches a database over the network."""
    return made(tmp_path, request.param)


def management_port(pod: Pod) -> str:
    """The option that a release from before May 2023 gets beside the others."""
    named = pod.ovs("dpunetop-mgmt-port-netdev")
    return f" --ovnkube-node-mgmt-port-netdev={named.read_text()}" if named.exists() else ""


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_the_text_is_bash(text: str) -> None:
    checked = subprocess.run([BASH, "-n", "-c", text], check=False, capture_output=True)
    assert (checked.returncode, checked.stderr) == (0, b"")


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_the_text_has_nothing_that_kubernetes_would_fill_in(text: str) -> None:
    assert "$$" not in text
    assert not re.search(rf"\$\(({'|'.join(TEMPLATE)})\)", text)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_the_text_neither_sources_nor_evaluates_nor_traces(text: str) -> None:
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    assert not re.search(r"(?m)(^\s*|[;&|]\s*|\b(then|do|else)\s+)(source|\.|eval)\s", code)
    assert "xtrace" not in code
    assert "set -x" not in code


def test_with_an_entry_ovnkube_is_started_for_its_host(every: Pod) -> None:
    every.entry("TENANT_K8S_NODE=worker-1\n")
    status, output = every.run("ovnkube-node")
    assert status == 0, output
    assert output.endswith("Z serving host worker-1\n")
    assert started_with(every) == (
        "ovnkube --init-node=worker-1 --ovnkube-node-mode=dpu --encap-ip=192.0.2.1"
        " --k8s-kubeconfig=/var/run/secrets/tenant-kubeconfig/kubeconfig --gateway-mode=shared"
        f" --gateway-interface=br-ex{management_port(every)} --metrics-bind-address=127.0.0.1:29103 --loglevel=4"
        " --inactivity-probe=30000"
        " --nb-address=ssl:10.0.0.1:9641,ssl:[fd00::1]:9641 --nb-client-privkey=/ovn-cert/tls.key"
        " --nb-client-cert=/ovn-cert/tls.crt --nb-client-cacert=/ovn-ca/ca-bundle.crt --nb-cert-common-name=ovn"
        " --sb-address=ssl:10.0.0.1:9642,ssl:[fd00::1]:9642 --sb-client-privkey=/ovn-cert/tls.key"
        " --sb-client-cert=/ovn-cert/tls.crt --sb-client-cacert=/ovn-ca/ca-bundle.crt --sb-cert-common-name=ovn"
        " --config-file=/run/ovnkube-config/ovnkube.conf"
    )


@pytest.mark.parametrize("release", sorted(set(RELEASES) - set(WITH_DATABASES)))
def test_an_image_that_knows_no_central_databases_waits_and_says_so(tmp_path: Path, release: str) -> None:
    pod = made(tmp_path, release)
    pod.entry("TENANT_K8S_NODE=a\n")
    assert pod.run("ovnkube-node")[0] == 1
    assert pod.message.startswith("dpunetop: OptionsMissing --nb-address --sb-address ")
    assert [call for call in pod.calls if call[0] == "ovnkube"] == []


def test_with_an_entry_ovn_controller_is_started(pod: Pod) -> None:
    pod.entry("TENANT_K8S_NODE=worker-1\nOVN_LOG_LEVEL=dbg\n")
    assert pod.run("ovn-controller")[0] == 0
    assert " ".join(pod.calls[-1]) == (
        "ovn-controller unix:/var/run/openvswitch/db.sock -vfile:off -vconsole:dbg --no-chdir"
        " --pidfile=/var/run/ovn/ovn-controller.pid -p /ovn-cert/tls.key -c /ovn-cert/tls.crt"
        " -C /ovn-ca/ca-bundle.crt"
    )


def test_an_entry_overrides_the_template_even_without_a_last_newline(pod: Pod) -> None:
    pod.entry("TENANT_K8S_NODE=a\nOVN_KUBE_LOG_LEVEL=5\nOVN_CONTROLLER_INACTIVITY_PROBE=60000")
    pod.run("ovnkube-node")
    call = " ".join(pod.calls[-1])
    assert "--loglevel=5 --inactivity-probe=60000" in call


def test_geneve_is_untracked_once_in_both_families_however_often_the_container_restarts(pod: Pod) -> None:
    pod.entry("TENANT_K8S_NODE=a\n")
    for _ in range(3):
        assert pod.run("ovnkube-node")[0] == 0
    assert sorted((pod.root / "record.rules").read_text().splitlines()) == [
        "ip6tables OUTPUT -p udp --dport 6081 -j NOTRACK",
        "ip6tables PREROUTING -p udp --dport 6081 -j NOTRACK",
        "iptables OUTPUT -p udp --dport 6081 -j NOTRACK",
        "iptables PREROUTING -p udp --dport 6081 -j NOTRACK",
    ]
    assert [call[:6] for call in pod.calls if call[0] == "iptables"][:2] == [
        ["iptables", "-w", "10", "-t", "raw", "-C"],
        ["iptables", "-w", "10", "-t", "raw", "-A"],
    ]


def test_without_the_tools_it_says_so_and_serves(pod: Pod) -> None:
    pod.entry("TENANT_K8S_NODE=a\n")
    pod.without("iptables", "ip6tables")
    status, output = pod.run("ovnkube-node")
    assert status == 0
    assert output.count("Geneve stays tracked") == 4
    assert [call[0] for call in pod.calls if call[0] != "ovs-vsctl"] == ["ovnkube"]


def test_a_wrapper_for_a_host_that_is_not_mounted_is_passed_by(tmp_path: Path) -> None:
    stubs = {"iptables": WRAPPER, "ip6tables": WRAPPER, "xtables-nft-multi": TABLES}
    pod = made(tmp_path, "openshift-4.13", **stubs)
    pod.entry("TENANT_K8S_NODE=a\n")
    status, output = pod.run("ovnkube-node")
    assert status == 0
    assert "tracked" not in output
    assert len((pod.root / "record.rules").read_text().splitlines()) == 4


@pytest.mark.parametrize("container", ["ovn-controller", "ovnkube-node"])
def test_without_an_entry_it_idles_says_so_and_ends_when_told(pod: Pod, container: str) -> None:
    pod.entry("TENANT_K8S_NODE=x\n", node="dpu-2")
    process = pod.start(container)
    assert first_line(process).endswith("Z node dpu-1 has no entry: idle\n")
    assert pod.probe(container, "ready") == 0
    assert pod.probe(container, "alive") == 0
    assert process.poll() is None
    assert end(process) == 0
    assert pod.calls == []


HOSTILE = {
    "command": "TENANT_K8S_NODE=$(touch pwned)\n",
    "backticks": "TENANT_K8S_NODE=`touch pwned`\n",
    "semicolon": "TENANT_K8S_NODE=a;touch pwned\n",
    "option": "TENANT_K8S_NODE=-h\n",
    "a command line": "touch pwned\n",
    "array index": "OVN_LOG_LEVEL[$(touch pwned)]=x\n",
    "empty": "",
    "start file only": "BASH_ENV=./evil\n",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_entry_has_no_effect_and_the_pod_idles(pod: Pod, text: str) -> None:
    pod.entry(text)
    process = pod.start("ovnkube-node")
    assert first_line(process).endswith("Z the entry of node dpu-1 names no host: idle\n")
    assert end(process) == 0
    assert not (pod.root / "pwned").exists()
    assert pod.calls == []


def test_only_listed_variables_come_out_of_an_entry(pod: Pod) -> None:
    hostile = [f"{name}=x" for name in ("LD_PRELOAD", "PATH", "BASH_ENV", "ENV", "IFS", "PS4", "PROMPT_COMMAND")]
    hostile += ["PYTHONPATH=x", "KUBECONFIG=x", "NODE_IP=6.6.6.6", "OVN_NB_DB_LIST=ssl:6.6.6.6:9641"]
    hostile += ["state=/tmp", "OVN_LOG_LEVEL=$(id)", "OVN_LOG_LEVEL", "=x"]
    pod.entry("\n".join([*hostile, "TENANT_K8S_NODE=a", *hostile]))
    pod.run("ovnkube-node")
    seen = pod.seen_by("ovnkube")
    expected = pod.environment(TENANT_K8S_NODE="a", LC_ALL="C", K8S_TOKEN="see-the-kubeconfig")
    assert {name: value for name, value in seen.items() if name not in ("PWD", "SHLVL", "_")} == expected


def test_a_restarted_container_serves_the_host_that_the_pod_began_with(pod: Pod) -> None:
    pod.entry("TENANT_K8S_NODE=first\n")
    pod.run("ovn-controller")
    pod.entry("TENANT_K8S_NODE=second\n")
    pod.run("ovnkube-node")
    (pod.root / "entries" / "dpu-1").unlink()
    assert pod.run("ovnkube-node")[1].endswith("serving host first\n")
    assert pod.seen_by("ovnkube")["TENANT_K8S_NODE"] == "first"


def test_an_idle_pod_waits_to_be_replaced_when_its_entry_comes(pod: Pod) -> None:
    process = pod.start("ovnkube-node")
    first_line(process)
    pod.entry("TENANT_K8S_NODE=a\n")
    assert "has an entry now: idle until this pod is replaced, or for 120 s" in first_line(process)
    assert end(process) == 0
    assert pod.calls == []


def test_an_idle_pod_that_nobody_replaces_takes_its_entry_up(pod: Pod) -> None:
    with pod.start("ovnkube-node", DPUNETOP_GRACE_SECONDS="1") as process:
        first_line(process)
        pod.entry("TENANT_K8S_NODE=a\n")
        output, _ = process.communicate(timeout=60)
    assert output.endswith("serving host a\n")
    assert pod.calls[-1][:2] == ["ovnkube", "--init-node=a"]


def test_a_restarted_container_of_an_idle_pod_waits_too(pod: Pod) -> None:
    process = pod.start("ovn-controller")
    first_line(process)
    end(process)
    pod.entry("TENANT_K8S_NODE=a\n")
    process = pod.start("ovn-controller")
    assert "idle until this pod is replaced" in first_line(process)
    end(process)


def test_both_containers_follow_the_one_that_saw_the_entry_first(pod: Pod) -> None:
    process = pod.start("ovnkube-node")
    first_line(process)
    (pod.root / "new").write_text("TENANT_K8S_NODE=a\n")
    (pod.root / "new").rename(pod.root / "state" / "entry")
    output, _ = process.communicate(timeout=60)
    assert output.endswith("serving host a\n")


APPCTL = """#!/bin/bash
[[ $* == '-t ovn-controller connection-status' ]] && { echo "$STATUS"; exit "${CODE:-0}"; }
[[ $* == '-t ovn-controller version' ]] && exit "${CODE:-0}"
exit 9
"""


@pytest.mark.parametrize(
    ("status", "code", "ready", "alive"),
    [("connected", "0", True, True), ("not connected", "0", False, True), ("", "1", False, False)],
)
def test_ovn_controller_is_ready_when_connected_and_alive_when_it_answers(
    pod: Pod, status: str, code: str, ready: bool, alive: bool
) -> None:
    (pod.root / "state" / "entry").write_text("TENANT_K8S_NODE=a\n")
    pod.program("ovn-appctl", APPCTL)
    environment = {"STATUS": status, "CODE": code}
    assert (pod.probe("ovn-controller", "ready", **environment) == 0) is ready
    assert (pod.probe("ovn-controller", "alive", **environment) == 0) is alive


@pytest.fixture
def metrics(request: pytest.FixtureRequest) -> Iterator[str]:
    with answering(request.param) as port:
        yield port


OK = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n# HELP x y\n"
ANSWERS = {
    "set up": (OK + b"ovnkube_node_ready_duration_seconds 3.25\n" + b"x 0\n" * 9, True, True),
    "not set up": (OK + b"ovnkube_node_ready_duration_seconds 0\n", False, True),
    "does not tell": (OK + b"other 0\n", True, True),
    "error": (b"HTTP/1.0 500 Internal Server Error\r\n\r\n", False, False),
    "silence": (b"", False, False),
}


@pytest.mark.parametrize(("metrics", "ready", "alive"), ANSWERS.values(), ids=ANSWERS.keys(), indirect=["metrics"])
def test_ovnkube_is_alive_when_it_answers_and_ready_when_the_node_is_set_up(
    pod: Pod, metrics: str, ready: bool, alive: bool
) -> None:
    (pod.root / "state" / "entry").write_text("TENANT_K8S_NODE=a\n")
    assert (pod.probe("ovnkube-node", "ready", DPUNETOP_METRICS_PORT=metrics) == 0) is ready
    assert (pod.probe("ovnkube-node", "alive", DPUNETOP_METRICS_PORT=metrics) == 0) is alive


def test_ovnkube_is_not_alive_when_nobody_listens(pod: Pod) -> None:
    (pod.root / "state" / "entry").write_text("TENANT_K8S_NODE=a\n")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = str(unused.getsockname()[1])
        assert pod.probe("ovnkube-node", "alive", DPUNETOP_METRICS_PORT=port) != 0


def test_these_tests_do_not_see_the_environment_of_whoever_runs_them(pod: Pod) -> None:
    assert not set(os.environ) & set(pod.environment()) - {"PATH"}
