"""The shell text of interconnect pods, run under bash with stubs in place of the programs of the image."""

from __future__ import annotations

import itertools
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dpunetop.app.assets import interconnect_scripts
from dpunetop.domain.ovnkube.conf import parse_ovnkube_conf, render_ovnkube_conf
from dpunetop.domain.ovnkube.release import Flavour
from dpunetop.domain.ovnkube.settings import SettingsView, read_settings
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
from support.tenants import openshift, upstream

SCRIPTS = interconnect_scripts()
CONTAINERS = {
    "nbdb": SCRIPTS.database,
    "sbdb": SCRIPTS.database,
    "northd": SCRIPTS.northd,
    "ovn-controller": SCRIPTS.ovn_controller,
    "ovn-acl-logging": SCRIPTS.ovn_acl_logging,
    "ovnkube-controller": SCRIPTS.ovnkube_controller,
}
TEXTS = {name: scripts.entry for name, scripts in CONTAINERS.items()} | {
    f"{name} probe": scripts.probe for name, scripts in CONTAINERS.items() if scripts.probe
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
    "OVN_AUDIT_MOST_MEGABYTES": "1",
    "OVN_AUDIT_MOST_FILES": "3",
    "OVN_DATABASE": "nb",
    "K8S_NODE": "dpu-1",
    "POD_NAME": "ovnkube-node-x",
    "NODE_IP": "192.0.2.1",
}
ENTRY = "TENANT_K8S_NODE=worker-1\n"

NFT = """#!/bin/bash
cat >"$RECORD.nft"
{ printf 'nft'; for a; do printf '\\t%s' "$a"; done; printf '\\n'; } >>"$RECORD"
"""
PROGRAMS = {
    **dict.fromkeys(("ovn-controller", "ovn-northd", "ovn-ctl", "ovn-nbctl", "ovn-sbctl"), RECORDER),
    "ovs-vsctl": OVS_VSCTL,
    "nft": NFT,
    "tail": "#!/bin/bash\n",
    "iptables": TABLES,
    "ip6tables": TABLES,
}


NEWEST = "openshift-4.23"
ZONES = [release for release in RELEASES if "--init-ovnkube-controller" in known_options(release)]


class Zone(Pod):
    """A pod, and the folder of its databases."""

    def environment(self, **more: str) -> dict[str, str]:
        own = {"DPUNETOP_DATABASES": str(self.root / "databases"), "DPUNETOP_AUDIT_LOG": str(self.root / "log/acl.log")}
        return super().environment(**{**own, "DPUNETOP_ROTATE_SECONDS": "0.05", **more})


def made(tmp_path: Path, release: str) -> Zone:
    for folder in ("databases", "log"):
        (tmp_path / folder).mkdir()
    zone = Zone(tmp_path, TEXTS, TEMPLATE, dict(PROGRAMS))
    zone.plays(release)
    return zone


@pytest.fixture
def pod(tmp_path: Path) -> Zone:
    return made(tmp_path, NEWEST)


@pytest.fixture(params=ZONES)
def every(request: pytest.FixtureRequest, tmp_path: Path) -> Zone:
    """A pod of each release that can have a zone on a DPU."""
    return made(tmp_path, request.param)


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


FIRST = (
    "ovnkube --init-node=worker-1 --ovnkube-node-mode=dpu --encap-ip=192.0.2.1"
    " --k8s-kubeconfig=/var/run/secrets/tenant-kubeconfig/kubeconfig --gateway-mode=shared --gateway-interface=br-ex"
    " --metrics-bind-address=127.0.0.1:29103 --loglevel=4 --inactivity-probe=180000 --init-ovnkube-controller=worker-1"
)
TENANTS = {
    **{f"openshift-4.{minor}": openshift((4, minor)) for minor in (20, 21, 22, 23)},
    "openshift-5.1": openshift((4, 23)),
    **{release: upstream() for release in RELEASES if release.startswith("upstream-")},
}
LEFT_OUT = {
    # A zone is always interconnected there, and in the end it is always named by its node.
    "openshift-4.23": ["--enable-interconnect"],
    "upstream-2026-08-13": ["--enable-interconnect"],
    "openshift-5.1": ["--zone", "--enable-interconnect"],
    "upstream-2026-08-21": ["--zone", "--enable-interconnect"],
    # The settings are of a tenant of release 1.3.
    "upstream-1.0": ["--disable-requestedchassis", "--enable-network-segmentation"],
}
"""What a tenant of the release asks for, or every tenant, and the release does not know."""


def configured(pod: Zone, tenant: SettingsView) -> tuple[str, ...]:
    """Give the pod the file that it would mount; the options that the DaemonSet passes."""
    reading = read_settings(tenant)
    assert reading.settings is not None
    if tenant.flavour is Flavour.OPENSHIFT:
        assert tenant.config_map is not None
        conf = parse_ovnkube_conf(tenant.config_map["data"]["ovnkube.conf"])
        pod.file("run/ovnkube-config/ovnkube.conf", render_ovnkube_conf(conf))
    return reading.settings.arguments


@pytest.mark.parametrize("release", ZONES)
def test_ovnkube_of_each_release_is_started_as_its_tenant_is_set_with_what_it_knows(
    tmp_path: Path, release: str
) -> None:
    pod = made(tmp_path, release)
    asked = ("--zone=worker-1", *configured(pod, TENANTS[release]))
    pod.entry(ENTRY)
    status, output = pod.run("ovnkube-controller", *asked[1:])
    assert status == 0, output
    lacks = LEFT_OUT.get(release, [])
    assert re.findall(r"does not know (\S+): left out", output) == lacks
    assert started_with(pod) == " ".join(
        (FIRST, *(option for option in asked if option.partition("=")[0] not in lacks))
    )


def test_a_zone_is_named_where_there_is_such_an_option_alone() -> None:
    named = {release for release in ZONES if "--zone" in known_options(release)}
    assert set(ZONES) - named == {"openshift-5.1", "upstream-2026-08-21"}


def test_an_option_that_the_image_lacks_is_left_out_and_named(pod: Zone) -> None:
    pod.entry(ENTRY)
    pod.plays(NEWEST, "--enable-multi-network")
    status, output = pod.run("ovnkube-controller", "--enable-multi-network", "--enable-multi-networkpolicy")
    assert status == 0
    assert "this image does not know --enable-multi-network: left out\n" in output
    assert pod.calls[-1][-1] == "--enable-multi-networkpolicy"
    assert "--enable-multi-network" not in pod.calls[-1]


def test_the_zone_is_named_in_its_database_before_ovnkube_starts(every: Zone) -> None:
    every.entry(ENTRY)
    every.run("ovnkube-controller")
    calls = [" ".join(call) for call in every.calls]
    assert [call for call in calls if call.startswith("ovn-")] == [
        "ovn-nbctl --timeout=10 --inactivity-probe=60000 set-connection punix:/var/run/ovn/ovnnb_db.sock",
        "ovn-sbctl --timeout=10 --inactivity-probe=180000 set-connection punix:/var/run/ovn/ovnsb_db.sock",
        'ovn-nbctl --timeout=10 set NB_Global . name="worker-1" options:name="worker-1"'
        " options:northd_probe_interval=10000 options:northd-backoff-interval-ms=300",
    ]
    assert calls[-1].startswith("ovnkube ")


def test_ovnkube_waits_until_the_databases_answer(pod: Zone) -> None:
    pod.entry(ENTRY)
    pod.program("ovn-nbctl", '#!/bin/bash\n[[ -e "$RECORD.up" ]] || exit 1\n')
    process = pod.start("ovnkube-controller")
    assert first_line(process).endswith("serving host worker-1\n")
    assert first_line(process).endswith("waiting for the databases of the zone\n")
    (pod.root / "record.up").touch()
    assert process.communicate(timeout=60)[0] == ""
    assert pod.calls[-1][0] == "ovnkube"


def test_ovnkube_that_waits_for_the_databases_ends_when_told(pod: Zone) -> None:
    pod.entry(ENTRY)
    pod.program("ovn-nbctl", "#!/bin/bash\nexit 1\n")
    process = pod.start("ovnkube-controller")
    for _ in range(2):
        first_line(process)
    assert end(process) == 0


def test_ovnkube_has_the_name_of_the_host_and_beside_it_that_of_the_dpu(every: Zone) -> None:
    every.entry(ENTRY)
    every.run("ovnkube-controller")
    seen = every.seen_by("ovnkube")
    assert (seen["K8S_NODE"], seen["K8S_NODE_DPU"], seen["TENANT_K8S_NODE"]) == ("worker-1", "dpu-1", "worker-1")


def test_geneve_is_untracked_with_nft_at_the_port_of_the_tenant(every: Zone) -> None:
    every.entry(ENTRY)
    for _ in range(2):
        assert every.run("ovnkube-controller", OVN_ENCAP_PORT="6082")[0] == 0
    assert (every.root / "record.nft").read_text() == (
        "add table inet ovn_notrack\n"
        "flush table inet ovn_notrack\n"
        "add chain inet ovn_notrack prerouting { type filter hook prerouting priority raw; }\n"
        "add rule inet ovn_notrack prerouting udp dport 6082 notrack\n"
        "add chain inet ovn_notrack output { type filter hook output priority raw; }\n"
        "add rule inet ovn_notrack output udp dport 6082 notrack\n"
    )
    assert not {"iptables", "ip6tables"} & {call[0] for call in every.calls}


@pytest.mark.parametrize("nft", [None, "#!/bin/bash\nexit 1\n"], ids=["absent", "failing"])
def test_without_nft_geneve_is_untracked_once_in_both_families(pod: Zone, nft: str | None) -> None:
    pod.entry(ENTRY)
    pod.without("nft")
    if nft is not None:
        pod.program("nft", nft)
    for _ in range(3):
        assert pod.run("ovnkube-controller", OVN_ENCAP_PORT="6082")[0] == 0
    assert sorted((pod.root / "record.rules").read_text().splitlines()) == [
        f"{tool} {chain} -p udp --dport 6082 -j NOTRACK"
        for tool, chain in itertools.product(("ip6tables", "iptables"), ("OUTPUT", "PREROUTING"))
    ]


@pytest.mark.parametrize("tables", [None, WRAPPER], ids=["absent", "wrapper"])
def test_without_any_tool_it_says_so_and_serves(pod: Zone, tables: str | None) -> None:
    pod.entry(ENTRY)
    pod.without("nft", "iptables", "ip6tables")
    for name in ("iptables", "ip6tables") if tables else ():
        pod.program(name, str(tables))
    status, output = pod.run("ovnkube-controller")
    assert status == 0
    assert output.count("Geneve stays tracked") == 4
    assert pod.calls[-1][0] == "ovnkube"


def test_the_chassis_bears_the_name_of_the_host_and_looks_for_its_own_database(pod: Zone) -> None:
    pod.entry(f"{ENTRY}OVN_LOG_LEVEL=dbg\n")
    assert pod.run("ovn-controller", OVN_AUDIT_SYSLOG_METHOD="libc", OVN_AUDIT_FACILITY="local3")[0] == 0
    assert [" ".join(call) for call in pod.calls] == [
        'ovs-vsctl --timeout=15 set Open_vSwitch . external_ids:hostname="worker-1"'
        ' external_ids:host-k8s-nodename="worker-1" external_ids:ovn-remote="unix:/var/run/ovn/ovnsb_db.sock"',
        "ovn-controller unix:/var/run/openvswitch/db.sock -vfile:off -vconsole:dbg --no-chdir"
        " --pidfile=/var/run/ovn/ovn-controller.pid --log-file=/var/log/ovn/acl-audit-log.log --syslog-method=libc"
        " -vFACILITY:local3 -vconsole:acl_log:off -vsyslog:acl_log:info -vfile:acl_log:info",
    ]


def test_northd_works_between_the_databases_of_the_pod(pod: Zone) -> None:
    pod.entry(ENTRY)
    assert pod.run("northd")[0] == 0
    assert " ".join(pod.calls[-1]) == (
        "ovn-northd --no-chdir -vfile:off -vconsole:info --pidfile=/var/run/ovn/ovn-northd.pid"
        " --ovnnb-db=unix:/var/run/ovn/ovnnb_db.sock --ovnsb-db=unix:/var/run/ovn/ovnsb_db.sock"
    )


@pytest.mark.parametrize(("container", "name"), [("nbdb", "nb"), ("sbdb", "sb")])
def test_a_database_is_served_on_its_socket_alone(pod: Zone, container: str, name: str) -> None:
    pod.entry(ENTRY)
    assert pod.run(container, OVN_DATABASE=name)[0] == 0
    assert pod.calls == [
        [
            "ovn-ctl",
            "--no-monitor",
            f"--db-{name}-sock=/var/run/ovn/ovn{name}_db.sock",
            f"--ovn-{name}-log=-vconsole:info -vfile:off",
            f"run_{name}_ovsdb",
        ]
    ]


def test_a_database_of_the_same_zone_is_kept(pod: Zone) -> None:
    pod.entry(ENTRY)
    pod.run("nbdb")
    (pod.root / "databases/ovnnb_db.db").write_text("rows")
    assert "forgetting" not in pod.run("nbdb")[1]
    assert (pod.root / "databases/ovnnb_db.db").read_text() == "rows"


def test_a_database_of_another_zone_is_forgotten(pod: Zone) -> None:
    (pod.root / "databases/ovnnb_db.db").write_text("rows")
    (pod.root / "databases/ovnnb_db.zone").write_text("worker-0\n")
    (pod.root / "databases/ovnsb_db.db").write_text("rows of a cluster that says no zone")
    pod.entry(ENTRY)
    assert "forgetting the database of worker-0\n" in pod.run("nbdb")[1]
    assert "forgetting the database of an unknown zone\n" in pod.run("sbdb", OVN_DATABASE="sb")[1]
    left = {path.name: path.read_text() for path in (pod.root / "databases").iterdir()}
    assert left == {"ovnnb_db.zone": "worker-1\n", "ovnsb_db.zone": "worker-1\n"}


def audit(pod: Zone, **files: int) -> None:
    for name, size in files.items():
        (pod.root / "log" / f"acl{name}.log").write_bytes(b"x" * size)


def rounds(pod: Zone) -> list[str]:
    """Let it go round twice, and end it; what it said before the first round ended."""
    pod.program("sleep", "#!/bin/bash\necho round\nexec /usr/bin/sleep 0.02\n")
    process = pod.start("ovn-acl-logging")
    said = list(iter(lambda: first_line(process), "round\n"))
    assert "round\n" in iter(lambda: first_line(process), "")
    assert end(process) == 0
    return said


APPCTL_REOPEN = """#!/bin/bash
{ printf 'ovn-appctl'; for a; do printf '\\t%s' "$a"; done; printf '\\n'; } >>"$RECORD"
: >"$DPUNETOP_AUDIT_LOG"
echo reopened >>"$RECORD.reopened"
"""


def test_a_small_audit_log_is_left_alone(pod: Zone) -> None:
    pod.program("ovn-appctl", APPCTL_REOPEN)
    pod.entry(ENTRY)
    audit(pod, **{"": 10})
    rounds(pod)
    assert sorted(path.name for path in (pod.root / "log").iterdir()) == ["acl.log"]
    assert pod.calls == []


def test_a_large_audit_log_is_put_aside_and_reopened_and_old_ones_go(pod: Zone) -> None:
    pod.program("ovn-appctl", APPCTL_REOPEN)
    pod.entry(ENTRY)
    audit(pod, **{"": 1_000_001, ".2020-01-01T00-00-00": 1, ".2021-01-01T00-00-00": 1, ".2022-01-01T00-00-00": 1})
    rounds(pod)
    names = sorted(path.name for path in (pod.root / "log").iterdir())
    assert names[0] == "acl.2022-01-01T00-00-00.log"
    assert re.fullmatch(r"acl\.20\d\d-\d\d-\d\dT\d\d-\d\d-\d\d\.log", names[1])
    assert names[2:] == ["acl.log"]
    assert pod.calls == [["ovn-appctl", "-t", "ovn-controller", "--timeout=10", "vlog/reopen"]]


def test_the_audit_log_is_shown_from_now_on_whatever_becomes_of_the_file(pod: Zone) -> None:
    pod.program("tail", RECORDER)
    pod.program("ovn-appctl", "#!/bin/bash\nexit 1\n")
    pod.entry(ENTRY)
    assert "serving host worker-1" in rounds(pod)[0]
    assert pod.calls == [["tail", "-n", "0", "-F", str(pod.root / "log/acl.log")]]


@pytest.mark.parametrize("container", CONTAINERS)
def test_without_an_entry_it_idles_says_so_and_ends_when_told(pod: Zone, container: str) -> None:
    pod.entry("TENANT_K8S_NODE=x\n", node="dpu-2")
    process = pod.start(container)
    assert first_line(process).endswith("Z node dpu-1 has no entry: idle\n")
    for question in ("ready", "alive") if f"{container} probe" in TEXTS else ():
        assert pod.probe(container, question) == 0
    assert process.poll() is None
    assert end(process) == 0
    assert pod.calls == []


HOSTILE = {
    "command": "TENANT_K8S_NODE=$(touch pwned)\n",
    "backticks": "TENANT_K8S_NODE=`touch pwned`\n",
    "semicolon": "TENANT_K8S_NODE=a;touch pwned\n",
    "option": "TENANT_K8S_NODE=--help\n",
    "array index": "OVN_LOG_LEVEL[$(touch pwned)]=x\n",
    "start file only": "BASH_ENV=./evil\n",
    "quote": 'TENANT_K8S_NODE=a"\n',
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("container", ["nbdb", "ovn-controller", "ovnkube-controller"])
def test_a_hostile_entry_has_no_effect_and_the_pod_idles(pod: Zone, container: str, text: str) -> None:
    pod.entry(text)
    process = pod.start(container)
    assert first_line(process).endswith("Z the entry of node dpu-1 names no host: idle\n")
    assert end(process) == 0
    assert not (pod.root / "pwned").exists()
    assert pod.calls == []


@pytest.mark.parametrize(
    "argument",
    [
        "--enable-x=$(touch pwned)",
        "--enable-x=`touch pwned`",
        "--.*",
        "--(",
        "--x[$(touch pwned)]",
        "$(touch pwned)",
        "",
    ],
)
def test_a_hostile_argument_is_text_and_no_more(pod: Zone, argument: str) -> None:
    pod.entry(ENTRY)
    status, _ = pod.run("ovnkube-controller", argument, "--enable-multicast")
    assert not (pod.root / "pwned").exists()
    assert status == 0
    assert pod.calls[-1][-1] == "--enable-multicast"


def test_what_open_vswitch_says_is_one_argument(pod: Zone) -> None:
    pod.entry(ENTRY)
    pod.open_vswitch(ovn_gw_interface="br ex; touch pwned $(touch pwned)")
    pod.run("ovnkube-controller")
    assert "--gateway-interface=brex;touchpwned$(touchpwned)" in pod.calls[-1]
    assert not (pod.root / "pwned").exists()


APPCTL = """#!/bin/bash
case "$*" in
  "-t $TARGET --timeout=5 $QUESTION") printf '%b\\n' "$STATUS"; exit "${CODE:-0}" ;;
  "-t $TARGET --timeout=5 version") exit "${CODE:-0}" ;;
esac
exit 9
"""
STATES = {
    "active": ("state: active", "0", True, True),
    "standby": ("state: backup\\nreplicating: tcp:1.2.3.4:6641", "0", False, True),
    "gone": ("", "1", False, False),
}


@pytest.mark.parametrize(("status", "code", "ready", "alive"), STATES.values(), ids=STATES.keys())
@pytest.mark.parametrize(
    ("container", "target", "question"),
    [
        ("nbdb", "/var/run/ovn/ovnnb_db.ctl", "ovsdb-server/sync-status"),
        ("sbdb", "/var/run/ovn/ovnsb_db.ctl", "ovsdb-server/sync-status"),
        ("northd", "ovn-northd", "status"),
    ],
)
def test_a_part_is_ready_when_active_and_alive_when_it_answers(
    pod: Zone, container: str, target: str, question: str, status: str, code: str, ready: bool, alive: bool
) -> None:
    (pod.root / "state" / "entry").write_text(ENTRY)
    pod.program("ovn-appctl", APPCTL)
    shown = status.replace("state", "Status") if container == "northd" else status
    asked = {"TARGET": target, "QUESTION": question, "STATUS": shown, "CODE": code, "OVN_DATABASE": container[:2]}
    assert (pod.probe(container, "ready", **asked) == 0) is ready
    assert (pod.probe(container, "alive", **asked) == 0) is alive


OK = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n# HELP x y\n"
NODE, ZONE = b"ovnkube_node_ready_duration_seconds ", b"ovnkube_controller_ready_duration_seconds "
ANSWERS = {
    "both set up": (OK + NODE + b"3.25\n" + b"x 0\n" * 9 + ZONE + b"0.04\n", True, True),
    "in a blink": (OK + ZONE + b"5e-05\n" + NODE + b"1\n", True, True),
    "node not set up": (OK + NODE + b"0\n" + ZONE + b"2\n", False, True),
    "zone not set up": (OK + NODE + b"2\n" + ZONE + b"0e+00\n", False, True),
    "zone not told": (OK + NODE + b"2\n" + b"# HELP " + ZONE + b"1\n", False, True),
    "nothing told": (OK, False, True),
    "error": (b"HTTP/1.0 500 Internal Server Error\r\n\r\n", False, False),
    "silence": (b"", False, False),
}


@pytest.fixture
def metrics(request: pytest.FixtureRequest) -> Iterator[str]:
    with answering(request.param) as port:
        yield port


@pytest.mark.parametrize(("metrics", "ready", "alive"), ANSWERS.values(), ids=ANSWERS.keys(), indirect=["metrics"])
def test_ovnkube_is_ready_when_node_and_zone_are_set_up(pod: Zone, metrics: str, ready: bool, alive: bool) -> None:
    (pod.root / "state" / "entry").write_text(ENTRY)
    assert (pod.probe("ovnkube-controller", "ready", DPUNETOP_METRICS_PORT=metrics) == 0) is ready
    assert (pod.probe("ovnkube-controller", "alive", DPUNETOP_METRICS_PORT=metrics) == 0) is alive
