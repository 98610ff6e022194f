"""The stub of ovnkube refuses what the real one refuses, in its words and with its exit code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support.podscripts import OPTIONS, RELEASES, known_options
from support.strictovnkube import Exit, Release, check

RECORD = Path(__file__).parents[3] / "hack" / "record-ovnkube-options"
DPU = {
    "init-node": "host-1",
    "ovnkube-node-mode": "dpu",
    "encap-ip": "192.0.2.1",
    "k8s-kubeconfig": "/kubeconfig",
    "gateway-mode": "shared",
    "k8s-token": "x",
    "config-file": "/ovnkube.conf",
}
ZONE = {**DPU, "init-ovnkube-controller": "host-1", "zone": "host-1"}
CENTRAL = {
    **DPU,
    **{f"{side}-address": "ssl:10.0.0.1:9641" for side in ("nb", "sb")},
    **{f"{side}-client-{kind}": "/kubeconfig" for side in ("nb", "sb") for kind in ("privkey", "cert", "cacert")},
    **{f"{side}-cert-common-name": "ovn" for side in ("nb", "sb")},
}


def refusal(root: Path, options: dict[str, str], *more: str, release: str = "upstream-1.3", conf: str = "") -> str:
    """What one call ends with: exit code and words; empty if it would run."""
    (root / "kubeconfig").touch()
    (root / "ovnkube.conf").write_text(conf)
    words = [f"--{name}={value}" if value else f"--{name}" for name, value in options.items()]
    try:
        recorded = Release((OPTIONS / f"{release}.txt").read_text())
        check(recorded, str(root), [*words, *more], {"STUB_ADDRESSES": "192.0.2.1 192.0.2.2"})
    except Exit as end:
        return f"{end.code}: {end.words}"
    return ""


@pytest.mark.parametrize("options", [DPU, ZONE, CENTRAL, {**DPU, "encap-ip": "192.0.2.1,192.0.2.2"}])
def test_what_is_right_for_a_dpu_is_taken(tmp_path: Path, options: dict[str, str]) -> None:
    assert refusal(tmp_path, options) == ""


def less(options: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in options.items() if name not in names}


REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "no token": (less(DPU, "k8s-token"), "1: failed to run ovnkube: cannot initialize node without service account"),
    "only a file of a token": ({**less(DPU, "k8s-token"), "k8s-token-file": "/kubeconfig"}, "1: failed to run ovnkube"),
    "an option of another release": (
        {**ZONE, "routing-table-id-start": "1"},
        "1: flag provided but not defined: -rout",
    ),
    "a switch with a word": ({**DPU, "enable-multicast": "maybe"}, '1: invalid boolean value "maybe"'),
    "no kubeconfig": ({**DPU, "k8s-kubeconfig": "/no"}, '1: kubernetes kubeconfig file "/no" not found'),
    "no configuration": ({**DPU, "config-file": "/no"}, "1: failed to open config file /no"),
    "no mode": (less(DPU, "ovnkube-node-mode"), "1: unexpected ovnkube-node-mode: full"),
    "nothing to do": (less(DPU, "init-node"), "1: need to specify a mode"),
    "two names": ({**ZONE, "init-node": "host-2"}, "1: provided no identity or different identities"),
    "no zone": (less(ZONE, "zone"), "1: failed to start network controller: config zone global"),
    "no tunnel": (less(DPU, "encap-ip"), "1: ovn encap IP must be provided"),
    "an address of elsewhere": (
        {**DPU, "encap-ip": "192.0.2.9"},
        "1: failed to start node network controller: invalid",
    ),
    "a gateway without a mode": ({**less(DPU, "gateway-mode"), "gateway-interface": "br-ex"}, "1: gateway interface"),
    "a hop without a mode": ({**less(DPU, "gateway-mode"), "gateway-nexthop": "10.0.0.1"}, "1: gateway next-hop"),
    "a VLAN in local mode": ({**DPU, "gateway-mode": "local", "gateway-vlanid": "7"}, "1: gateway VLAN ID option: 7"),
    "another gateway mode": ({**DPU, "gateway-mode": "x"}, "1: invalid gateway mode"),
    "hybrid overlay": ({**DPU, "enable-hybrid-overlay": ""}, "1: hybrid overlay is not supported"),
    "a management port": ({**DPU, "ovnkube-node-mgmt-port-netdev": "x"}, "1: ovnkube-node-mgmt-port-netdev or"),
    "a Lease of no time": ({**DPU, "dpu-node-lease-duration": "0"}, "1: invalid dpu-node-lease-duration"),
    "a Lease that ends first": ({**DPU, "dpu-node-lease-duration": "10"}, "1: invalid dpu-node-lease-duration"),
    "a Lease of the past": ({**DPU, "dpu-node-lease-renew-interval": "-1"}, "1: invalid dpu-node-lease-renew"),
    "EVPN alone": ({**DPU, "enable-evpn": ""}, "1: invalid feature configuration: EVPN requires"),
    "isolation": ({**DPU, "advertised-udn-isolation-mode": "x"}, "1: invalid advertised-udn-isolation-mode"),
    "certificates without ssl": (less(CENTRAL, "nb-address"), "1: certificate or key given"),
    "ssl without a certificate": (less(CENTRAL, "sb-client-cert"), "1: must specify private key"),
    "two schemes": ({**CENTRAL, "nb-address": "ssl:10.0.0.1:1,tcp:10.0.0.1:1"}, "1: invalid protocols"),
    "the health port": (
        {**DPU, "enable-egress-ip": "", "egressip-node-healthcheck-port": "9107"},
        "255: Health checking listen failed: listen tcp 10.128.0.2:9107: cannot assign requested address",
    ),
}


@pytest.mark.parametrize(("options", "words"), REFUSED.values(), ids=REFUSED)
def test_what_the_real_one_refuses_is_refused(tmp_path: Path, options: dict[str, str], words: str) -> None:
    assert refusal(tmp_path, options).startswith(words)


def test_the_management_port_is_named_on_old_releases_alone(tmp_path: Path) -> None:
    named = {**DPU, "ovnkube-node-mgmt-port-netdev": "pf0vf0"}
    assert refusal(tmp_path, named, release="openshift-4.13") == ""
    assert refusal(tmp_path, DPU, release="openshift-4.13") == "1: ovnkube-node-mgmt-port-netdev must be provided"
    assert refusal(tmp_path, named, release="upstream-1.0").endswith("must not be provided")


def test_the_configuration_file_counts_as_options_do(tmp_path: Path) -> None:
    conf = "[ovnkubernetesfeature]\nenable-egress-ip=true\negressip-node-healthcheck-port=9107\n"
    assert refusal(tmp_path, DPU, conf=conf).startswith("255: Health checking listen failed")
    assert refusal(tmp_path, DPU, conf="[hybridoverlay]\nenabled=true\n").startswith("1: hybrid overlay")
    assert refusal(tmp_path, DPU, conf="[unknown]\nkey=1\n") == ""


def test_what_follows_a_word_that_is_no_option_is_lost(tmp_path: Path) -> None:
    assert refusal(tmp_path, less(DPU, "k8s-token"), "word", "--k8s-token=x").startswith("1: failed to run ovnkube")
    assert refusal(tmp_path, {"enable-multicast": "", **less(DPU, "k8s-token")}, "--k8s-token", "x") == ""


@pytest.mark.parametrize("release", ["upstream-2026-08-21", "openshift-5.1"])
def test_what_is_gone_is_refused_from_then_on(tmp_path: Path, release: str) -> None:
    assert refusal(tmp_path, ZONE, release=release) == "1: flag provided but not defined: -zone"
    assert refusal(tmp_path, less(ZONE, "zone"), release=release) == ""


@pytest.mark.parametrize("release", RELEASES)
def test_a_list_is_what_its_help_text_is_recorded_as(release: str) -> None:
    recorded = (OPTIONS / f"{release}.txt").read_text()
    told = subprocess.run([RECORD], input=Release(recorded).help(), capture_output=True, text=True, check=True)
    assert told.stdout == recorded


def test_no_list_is_recorded_of_a_text_without_options() -> None:
    told = subprocess.run([RECORD], input="Segmentation fault", capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (1, "")


def test_every_list_is_accounted_for() -> None:
    rows = (OPTIONS / "README.md").read_text()
    assert [release for release in RELEASES if f"\n| {release} | " not in rows] == []
    assert all({"--init-node", "--encap-ip", "--ovnkube-node-mode"} <= known_options(release) for release in RELEASES)
