from __future__ import annotations

import re
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpunetop.domain.ovnkube.deployed import Deployed, Renewal, deployed_renewal, is_without_leases
from dpunetop.domain.ovnkube.release import Flavour, Release
from dpunetop.domain.ovnkube.settings import SettingsView, conf_parity, read_settings
from dpunetop.domain.ovnkube.settingsreader import Audit, NodeSettings, SettingsReading
from support.tenants import CONF, OF_CHART, openshift, upstream, workload

SAFE = re.compile(r"--[a-z0-9-]+(=[A-Za-z0-9:./,-]+)?")


def settings(view: SettingsView) -> NodeSettings:
    found = read_settings(view)
    assert found.impossible == ()
    assert found.settings is not None
    return found.settings


def options(view: SettingsView) -> dict[str, str]:
    return {name: value for name, _, value in (text[2:].partition("=") for text in settings(view).arguments)}


def library(version: tuple[int, int]) -> str:
    view = openshift(version)
    assert view.script_lib is not None
    return str(view.script_lib["data"]["ovnkube-lib.sh"])


def edited(version: tuple[int, int], old: str, new: str, **changes: Any) -> SettingsView:
    text = library(version)
    assert old in text
    return openshift(version, script_lib={"data": {"ovnkube-lib.sh": text.replace(old, new)}}, **changes)


@pytest.mark.parametrize("minor", [20, 21, 22, 23])
def test_a_tenant_as_it_should_be_leaves_nothing_to_say(minor: int) -> None:
    found = read_settings(openshift((4, minor)))
    assert (found.impossible, found.parity) == ((), ())
    assert found.settings is not None
    assert found.settings.arguments == tuple(sorted(set(found.settings.arguments)))
    assert (found.settings.encap_port, found.settings.inactivity_probe_ms) == (6081, 180000)
    assert (found.settings.northd_probe_ms, found.settings.northd_backoff_ms) == (10000, 300)
    assert found.settings.audit == Audit("null", "local3", 20, 7)


def test_an_upstream_tenant_says_it_in_the_environment_and_what_that_refers_to() -> None:
    found = read_settings(upstream())
    assert (found.impossible, found.parity) == ((), ())
    expected = {
        "cluster-subnets": "10.244.0.0/16/24",
        "k8s-service-cidrs": "10.96.0.0/16",
        "mtu": "8900",
        "encap-port": "6081",
        "ovn-config-namespace": "ovn-kubernetes",
        "gateway-v4-join-subnet": "100.64.0.0/16",
        "disable-requestedchassis": "",
        "enable-network-segmentation": "",
        "enable-multi-network": "",
    }
    assert options(upstream()).items() >= expected.items()
    assert {"config-file", "enable-multi-networkpolicy", "disable-forwarding"}.isdisjoint(options(upstream()))


def test_features_stand_in_the_library_up_to_4_21_and_in_the_file_from_4_22() -> None:
    assert "enable-egress-ip" in options(openshift((4, 21)))
    assert "enable-egress-ip" not in options(openshift((4, 22)))
    assert "enable-multicast" in options(openshift((4, 22)))


def test_a_release_that_is_newer_than_any_known_is_read_like_the_newest() -> None:
    newest = openshift((4, 23))
    newer = replace(newest, release=Release(Flavour.OPENSHIFT, (5, 1)))
    assert read_settings(newer) == read_settings(newest) == read_settings(replace(newest, release=None))


LEASES = {  # what the host's environment says -> what the DPU is told, and whether anything is missing
    "as it comes": ({"X_LEASE_RENEW_INTERVAL": "10", "X_LEASE_DURATION": "40"}, ("10", "40"), False),
    "slower": ({"DPU_NODE_LEASE_RENEW_INTERVAL": "20", "DPU_NODE_LEASE_DURATION": "90"}, ("20", "90"), False),
    "no interval": ({"X_LEASE_RENEW_INTERVAL": "0", "X_LEASE_DURATION": "40"}, ("0", None), False),
    "no duration": ({"X_LEASE_RENEW_INTERVAL": "10", "X_LEASE_DURATION": "0"}, ("0", None), False),
    "shorter than its interval": ({"X_LEASE_RENEW_INTERVAL": "10", "X_LEASE_DURATION": "10"}, (None, None), True),
    "half of it": ({"X_LEASE_RENEW_INTERVAL": "10"}, (None, None), True),
    "none of it": ({}, (None, None), True),
    "two of them": (
        {"X_LEASE_RENEW_INTERVAL": "10", "Y_LEASE_RENEW_INTERVAL": "20", "X_LEASE_DURATION": "40"},
        (None, None),
        True,
    ),
    "no number": ({"X_LEASE_RENEW_INTERVAL": "10; id", "X_LEASE_DURATION": "40"}, (None, None), True),
}


@pytest.mark.parametrize(("lease", "expected", "missing"), LEASES.values(), ids=LEASES.keys())
def test_both_sides_agree_on_the_lease(
    lease: dict[str, str], expected: tuple[str | None, str | None], missing: bool
) -> None:
    view = openshift((4, 23), lease=lease)
    found = options(view)
    assert (found.get("dpu-node-lease-renew-interval"), found.get("dpu-node-lease-duration")) == expected
    assert [finding.reason for finding in read_settings(view).parity] == (["FeatureParityUnknown"] if missing else [])


def deployed(*arguments: str) -> dict[str, Any]:
    """A DaemonSet of ours whose DPUs were told so."""
    parts = [{"name": "nbdb"}, {"name": "ovnkube-controller", "args": list(arguments)}]
    return {"spec": {"template": {"spec": {"containers": parts}}}}


TOLD: dict[str, tuple[dict[str, Any] | None, Renewal]] = {
    "how often": (deployed("--enable-evpn", "--dpu-node-lease-renew-interval=10"), Renewal.ALWAYS),
    "not to": (deployed("--dpu-node-lease-renew-interval=0"), Renewal.NEVER),
    "nothing": (deployed("--enable-evpn", "--dpu-node-lease-duration=40"), Renewal.UNKNOWN),
    "nothing, since there are none": (None, Renewal.UNKNOWN),
}


@pytest.mark.parametrize(("live", "expected"), TOLD.values(), ids=TOLD.keys())
def test_the_dpus_were_told_of_leases(live: dict[str, Any] | None, expected: Renewal) -> None:
    assert deployed_renewal(live) is expected


def test_what_the_settings_say_of_leases_is_what_is_deployed() -> None:
    for lease, (interval, _), _ in LEASES.values():
        expected = {None: Renewal.UNKNOWN, "0": Renewal.NEVER}.get(interval, Renewal.ALWAYS)
        assert deployed_renewal(deployed(*settings(openshift((4, 23), lease=lease)).arguments)) is expected


RELEASES = {
    "4.20": (Release(Flavour.OPENSHIFT, (4, 20)), True),
    "4.22": (Release(Flavour.OPENSHIFT, (4, 22)), True),
    "4.23": (Release(Flavour.OPENSHIFT, (4, 23)), False),
    "5.0": (Release(Flavour.OPENSHIFT, (5, 0)), False),
    "upstream": (Release(Flavour.UPSTREAM, (1, 3)), False),
    "unknown": (None, False),
}


@pytest.mark.parametrize(("release", "expected"), RELEASES.values(), ids=RELEASES.keys())
def test_a_release_is_known_to_have_no_leases(release: Release | None, expected: bool) -> None:
    assert is_without_leases(release) is expected


def test_before_4_23_nobody_is_told_of_a_lease_that_the_host_does_not_set() -> None:
    assert not any("lease" in option for option in options(openshift((4, 22))))
    backport = openshift((4, 22), lease={"X_LEASE_RENEW_INTERVAL": "10", "X_LEASE_DURATION": "40"})
    assert options(backport)["dpu-node-lease-duration"] == "40"


def test_what_is_missing_is_named() -> None:
    found = read_settings(edited((4, 20), "--enable-multicast", "--enable-multicasting"))
    assert [finding.message for finding in found.parity] == [
        "not found in the tenant: enable-multicast; kept as last deployed, else as ovnkube has it by default",
        'not known here: option "--enable-multicasting" (of these only switches of features are followed)',
    ]
    assert found.settings is not None


@pytest.mark.parametrize("lib", [None, {"data": {}}, {"data": {"ovnkube-lib.sh": "#" * 200_000}}, {"data": "x"}])
def test_without_a_library_all_that_it_would_say_is_missing_and_the_rest_is_read(lib: Any) -> None:
    found = read_settings(openshift((4, 22), script_lib=lib))
    assert found.settings is not None
    assert [finding.reason for finding in found.parity] == ["FeatureParityUnknown"]
    assert "ovnkube-script-lib" in found.parity[0].message
    assert "enable-multicast" in found.parity[0].message
    assert f"--config-file={'/run/ovnkube-config/ovnkube.conf'}" in found.settings.arguments


@pytest.mark.parametrize("lib", [None, {"data": {"ovnkube-lib.sh": "echo other words"}}])
def test_what_is_missing_stays_as_it_was_deployed(lib: Any) -> None:
    before = settings(openshift((4, 20)))
    after = read_settings(
        openshift((4, 20), script_lib=lib, deployed=Deployed(before.arguments, {"OVN_AUDIT_MOST_FILES": "7"}))
    )
    assert after.settings is not None
    assert after.settings.arguments == before.arguments
    assert after.settings.audit.most_files == before.audit.most_files
    assert after.parity != ()


def test_what_was_switched_off_goes_although_it_was_deployed() -> None:
    before = settings(openshift((4, 20)))
    view = edited(
        (4, 20),
        '[[ "true" == "true" ]]; then\n        advertise',
        '[[ "false" == "true" ]]; then\n        advertise',
        deployed=Deployed(before.arguments),
    )
    assert set(before.arguments) - set(settings(view).arguments) == {"--enable-route-advertisements"}


IPV6 = CONF.replace("10.128.0.0/14/23", "10.128.0.0/14/23,fd01::/48/64")
IMPOSSIBLE = {
    "IPv6 pods": (openshift((4, 22), conf=IPV6), "IPv6NotSupported", "cluster-subnets"),
    "IPv6 services": (
        openshift((4, 22), conf=CONF.replace("172.30.0.0/16", "fd02::/112")),
        "IPv6NotSupported",
        "service-cidrs",
    ),
    "hybrid overlay": (
        openshift((4, 22), conf=f"{CONF}\n[hybridoverlay]\nenabled=true\n"),
        "HybridOverlayNotSupported",
        "[hybridoverlay]",
    ),
    "IPsec": (edited((4, 22), "start-node() {", "ipsec=true"), "IPsecNotSupported", "IPsec"),
    "no overlay": (
        openshift((4, 22), conf=f"{CONF}\n[no-overlay]\nrouting=managed\n"),
        "NoOverlayNotSupported",
        "routing",
    ),
    "transport alone": (
        openshift((4, 22), conf=CONF.replace("[default]", "[default]\ntransport=no-overlay")),
        "NoOverlayNotSupported",
        "[default] transport",
    ),
    "upstream, no overlay": (upstream({"OVN_NO_OVERLAY_ENABLE": "true"}), "NoOverlayNotSupported", "OVN_NO_OVERLAY"),
    "upstream, no overlay in the file": (
        upstream(conf="[default]\ntransport = no-overlay\n"),
        "NoOverlayNotSupported",
        "[default] transport",
    ),
    "no file": (openshift((4, 22), config_map=None), "OvnkubeConfMissing", "ovnkube-config"),
    "no key": (openshift((4, 22), config_map={"data": {"other": "x"}}), "OvnkubeConfMissing", "ovnkube.conf"),
    "a broken file": (openshift((4, 22), conf="[default]\nmtu"), "OvnkubeConfInvalid", "line 2"),
    "no subnet": (
        openshift((4, 22), conf=CONF.replace("10.128.0.0/14/23", "10.128.0.0/99")),
        "OvnkubeConfInvalid",
        "no list of subnets",
    ),
    "a host prefix that is none": (
        openshift((4, 22), conf=CONF.replace("10.128.0.0/14/23", "10.128.0.0/14/14")),
        "OvnkubeConfInvalid",
        "no list of subnets",
    ),
    "no port": (openshift((4, 22), conf=CONF.replace("6081", "99999")), "OvnkubeConfInvalid", 'encap-port "99999"'),
    "upstream, IPv6": (
        upstream(chart_config_map={"data": {"net_cidr": "fd00::/48/64", "svc_cidr": "10.96.0.0/16"}}),
        "IPv6NotSupported",
        "OVN_NET_CIDR",
    ),
    "upstream, hybrid overlay": (
        upstream({"OVN_HYBRID_OVERLAY_ENABLE": "true"}),
        "HybridOverlayNotSupported",
        "hybrid",
    ),
    "upstream, IPsec": (upstream({"ENABLE_IPSEC": "true"}), "IPsecNotSupported", "IPsec"),
    "upstream, no networks": (upstream(chart_config_map=None), "OvnkubeConfMissing", "OVN_NET_CIDR"),
    "upstream, a command": (
        upstream(chart_config_map={"data": {"net_cidr": "10.0.0.0/8 --x", "svc_cidr": "10.96.0.0/16"}}),
        "OvnkubeConfInvalid",
        "no list of subnets",
    ),
    "upstream, a number in other digits": (
        upstream(chart_config_map={"data": {"net_cidr": "10.0.0.0/8/٢٤", "svc_cidr": "10.96.0.0/16"}}),
        "OvnkubeConfInvalid",
        "no list of subnets",
    ),
}


@pytest.mark.parametrize(("view", "reason", "words"), IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_what_no_dpu_can_do_is_found_before_a_pod_fails(view: SettingsView, reason: str, words: str) -> None:
    found = read_settings(view)
    assert found.settings is None
    assert found.impossible[0].reason == reason
    assert words in found.impossible[0].message
    assert "\n" not in found.impossible[0].message


DIFFERS = {
    "local gateway": (openshift((4, 22), conf=CONF.replace("mode=shared", "mode=local")), 'mode is "local"'),
    "upstream, local gateway": (upstream({"OVN_GATEWAY_MODE": "local"}), 'OVN_GATEWAY_MODE is "local"'),
    "collectors": (
        openshift((4, 22), lease={"NETFLOW_COLLECTORS": "6.6.6.6:2056"}),
        'NETFLOW_COLLECTORS is "6.6.6.6:2056"; DPUs send no flows',
    ),
    "upstream, collectors": (upstream({"OVN_IPFIX_TARGETS": "6.6.6.6:1"}), "DPUs send no flows"),
    "collectors in the file": (
        openshift((4, 22), conf=f"{CONF}\n[monitoring]\nsflow-targets=6.6.6.6:1\n"),
        "[monitoring] sflow-targets",
    ),
    "upstream, options in free text": (
        upstream({"OVN_GATEWAY_OPTS": "--gateway-interface=eth0"}),
        "OVN_GATEWAY_OPTS is",
    ),
    "an audit log that is sent away": (
        edited((4, 22), '--syslog-method="null"', '--syslog-method="udp:6.6.6.6:514"'),
        'OVNPolicyAuditDestination of ovnkube-script-lib is "udp:6.6.6.6:514"',
    ),
    "an audit log into a socket": (
        edited((4, 22), '--syslog-method="null"', '--syslog-method="unix:/dev/x"'),
        'OVNPolicyAuditDestination of ovnkube-script-lib is "unix:/dev/x"',
    ),
    "threads of northd": (
        edited((4, 22), "--n-threads=1", "--n-threads=4"),
        'NorthdThreads of ovnkube-script-lib is "4"',
    ),
}


@pytest.mark.parametrize(("view", "words"), DIFFERS.values(), ids=DIFFERS.keys())
def test_what_is_not_followed_on_purpose_is_said(view: SettingsView, words: str) -> None:
    found = read_settings(view)
    assert found.settings is not None
    assert [finding.reason for finding in found.parity] == ["FeatureParityDiffers"]
    assert words in found.parity[0].message
    assert not any("6.6.6.6" in argument for argument in found.settings.arguments)


UNKNOWN: dict[str, tuple[SettingsView, str]] = {
    "a section": (
        openshift((4, 22), conf=f"{CONF}\n[what-comes-next]\na-key=$(id)\n"),
        'ovnkube.conf key "what-comes-next/a-key"',
    ),
    "a key": (openshift((4, 22), conf=f"{CONF}\n[bgp-managed]\nnew=1\n"), 'ovnkube.conf key "bgp-managed/new"'),
    "a feature": (
        openshift((4, 22), conf=CONF.replace("enable-egress-ip", "enable-next=true\nenable-egress-ip")),
        'ovnkube.conf key "ovnkubernetesfeature/enable-next"',
    ),
    "an option": (edited((4, 22), "${multicast}", "--what-comes-next"), 'option "--what-comes-next"'),
    "a variable": (openshift((4, 22), lease={"OVN_NEXT": "x"}), 'variable "OVN_NEXT"'),
    "upstream, a variable": (upstream({"OVN_NEXT": "x"}), 'variable "OVN_NEXT"'),
    "upstream, a key": (upstream(conf="[next]\nkey=1\n"), 'ovnkube.conf key "next/key"'),
    "upstream, a key of the chart": (
        upstream(chart_config_map={"data": {**OF_CHART, "next": "x"}}),
        'ConfigMap key "ovn-config/next"',
    ),
    "a key beside the file": (
        openshift((4, 22), config_map={"data": {"ovnkube.conf": CONF, "more": "x"}}),
        'ConfigMap key "ovnkube-config/more"',
    ),
}


@pytest.mark.parametrize(("view", "words"), UNKNOWN.values(), ids=UNKNOWN.keys())
def test_what_the_table_does_not_know_is_named(view: SettingsView, words: str) -> None:
    found = read_settings(view)
    assert found.settings is not None
    assert [finding.reason for finding in found.parity] == ["FeatureParityUnknown"]
    assert words in found.parity[0].message


def test_much_that_is_unknown_is_named_in_part() -> None:
    view = openshift((4, 22), lease={f"NEXT_{number:03}": "x" for number in range(500)})
    [finding] = read_settings(view).parity
    assert "and 490 more" in finding.message
    assert len(finding.message) < 600


def test_an_environment_that_comes_as_a_whole_is_named() -> None:
    view = upstream()
    assert view.node_daemonset is not None
    view.node_daemonset["spec"]["template"]["spec"]["containers"][0]["envFrom"] = [{"configMapRef": {"name": "more"}}]
    assert 'envFrom of "ovnkube-node"' in read_settings(view).parity[0].message


FOLLOWED: dict[str, tuple[SettingsView, dict[str, str]]] = {
    "the name that 4.20 has for the transit subnet": (
        openshift((4, 20)),
        {"cluster-manager-v4-transit-switch-subnet": "100.89.0.0/16"},
    ),
    "its name from 4.21 on": (openshift((4, 21)), {"cluster-manager-v4-transit-subnet": "100.89.0.0/16"}),
    "what every zone of the chart is started with": (
        upstream(),
        {"nodeport": "", "host-network-namespace": "ovn-host-network", "enable-svc-template-support": ""},
    ),
    "what the chart's script takes by itself": (
        upstream({"OVN_ENABLE_SVC_TEMPLATE_SUPPORT": ""}),
        {"enable-svc-template-support": ""},
    ),
    "the routable MTU": (
        upstream(chart_config_map={"data": {**OF_CHART, "routable_mtu": "1500"}}),
        {"routable-mtu": "1500"},
    ),
    "the cache of flows": (upstream({"OVN_ENABLE_LFLOW_CACHE": "false"}), {"enable-lflow-cache": "false"}),
    "a file that the chart is given": (
        upstream(conf="[default]\nudn-allowed-default-services=a/b,c/d\n[gateway]\nsingle-node=true\nmode=shared\n"),
        {"udn-allowed-default-services": "a/b,c/d", "single-node": ""},
    ),
    "a variable before a file": (upstream(conf="[default]\nmtu=1300\n"), {"mtu": "8900"}),
}


@pytest.mark.parametrize(("view", "expected"), FOLLOWED.values(), ids=FOLLOWED.keys())
def test_what_a_dpu_may_do_is_handed_on(view: SettingsView, expected: dict[str, str]) -> None:
    assert options(view).items() >= expected.items()
    assert read_settings(view).parity == ()


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_anything_in_the_tenant_restarts_no_pod(seed: int) -> None:
    random = Random(seed)
    for view in (openshift((4, 22)), upstream()):
        for daemonset in (view.node_daemonset, view.host_daemonset):
            assert daemonset is not None
            random.shuffle(daemonset["spec"]["template"]["spec"]["containers"][0]["env"])
        conf = CONF.strip().split("\n\n")
        random.shuffle(conf)
        text = "" if view.flavour is Flavour.UPSTREAM else "\n\n".join(conf)
        shuffled = replace(view, config_map={"data": {"ovnkube.conf": text}})
        fresh = upstream() if view.flavour is Flavour.UPSTREAM else openshift((4, 22), conf=CONF)
        assert read_settings(shuffled) == read_settings(fresh)


ELSEWHERE = [{"configMapKeyRef": {"name": "elsewhere", "key": "x"}}, {"secretKeyRef": {"name": "x", "key": "x"}}]


@pytest.mark.parametrize("source", ELSEWHERE)
@pytest.mark.parametrize("name", ["OVN_EGRESSIP_ENABLE", "OVN_NO_OVERLAY_ENABLE", "OVN_GATEWAY_OPTS"])
def test_a_setting_that_comes_from_where_it_is_not_read_is_missing(source: dict[str, Any], name: str) -> None:
    view = upstream()
    assert view.node_daemonset is not None
    container = view.node_daemonset["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [each for each in container["env"] if each["name"] != name]
    container["env"].append({"name": name, "valueFrom": source})
    assert f"{name}, which comes from where it is not read" in read_settings(view).parity[0].message


def test_a_setting_that_only_a_host_can_follow_is_never_an_option_of_a_dpu() -> None:
    for view in (upstream(), *(openshift((4, minor)) for minor in (20, 21, 22, 23))):
        assert {"egressip-node-healthcheck-port", "healthz-bind-address", "gateway-mode"}.isdisjoint(options(view))


def test_databases_of_an_upstream_tenant_are_probed_as_its_own_are() -> None:
    found = settings(upstream({"OVN_REMOTE_PROBE_INTERVAL": "200000", "OVN_NORTHD_BACKOFF_INTERVAL": "100"}))
    assert (found.inactivity_probe_ms, found.northd_backoff_ms) == (200000, 100)
    assert settings(upstream()).northd_backoff_ms == 300


def test_what_a_daemonset_says_of_northd_comes_before_what_the_library_does() -> None:
    view = openshift((4, 22))
    assert view.node_daemonset is not None
    started = {"postStart": {"exec": {"command": ["/bin/bash", "-c", "nbdb-post-start 180000\n"]}}}
    view.node_daemonset["spec"]["template"]["spec"]["containers"].append({"name": "nbdb", "lifecycle": started})
    assert settings(view).northd_probe_ms == 180000


def test_a_tenant_with_central_databases_is_told_of_its_file_too() -> None:
    text = f"{CONF}\n[next]\nkey=1\n".replace("mode=shared", "mode=local")
    assert [finding.reason for finding in conf_parity({"data": {"ovnkube.conf": text}})] == [
        "FeatureParityUnknown",
        "FeatureParityDiffers",
    ]
    assert conf_parity({"data": {"ovnkube.conf": CONF}}) == conf_parity(None) == ()


def test_a_switch_of_an_upstream_tenant_that_says_neither_is_missing() -> None:
    view = upstream({"OVN_EGRESSIP_ENABLE": "$(id)", "OVN_NETWORK_QOS_ENABLE": "maybe", "OVN_V4_JOIN_SUBNET": "x"})
    found = read_settings(view)
    assert found.settings is not None
    assert "OVN_EGRESSIP_ENABLE, OVN_NETWORK_QOS_ENABLE, OVN_V4_JOIN_SUBNET;" in found.parity[0].message
    assert "--enable-egress-ip" not in found.settings.arguments


def test_ports_and_audit_log_follow_the_tenant() -> None:
    assert settings(openshift((4, 22), conf=CONF.replace("6081", "6082"))).encap_port == 6082
    assert settings(upstream({"OVN_ENCAP_PORT": "6082"})).encap_port == 6082
    libc = edited((4, 22), '--syslog-method="null"', '--syslog-method="libc"')
    assert settings(libc).audit.syslog_method == "libc"
    away = edited((4, 22), '--syslog-method="null"', '--syslog-method="udp:6.6.6.6:514"')
    assert settings(away).audit.syslog_method == "null"


def test_an_audit_log_is_never_kept_to_nothing() -> None:
    view = edited((4, 22), 'MAXLOGFILES="7"', 'MAXLOGFILES="0"')
    assert settings(view).audit.most_files == 1


HOSTILE = st.sampled_from(
    [
        "$(id)",
        "`id`",
        "true;id",
        "-x",
        "--kubeconfig=/x",
        "\n",
        "/etc/passwd",
        "a b",
        "",
        "9" * 40,
        "true",
        "1\x00",
        "é",
    ]
)


VARIABLES = [
    *("OVN_MTU", "OVN_ENCAP_PORT", "OVN_V4_JOIN_SUBNET", "OVN_EGRESSIP_ENABLE", "OVN_MULTICAST_ENABLE"),
    *("OVN_ACL_LOGGING_RATE_LIMIT", "OVN_ADVERTISED_UDN_ISOLATION_MODE", "OVN_NET_CIDR", "OVN_GATEWAY_OPTS"),
]
WORDS = [
    *("--join", "--enable-multicast", "--gateway-v4-join-subnet", "--acl-logging-rate-limit", "--kubeconfig"),
    *("MAXLOGFILES=", "ipsec=", "-vFACILITY:"),
]


@given(st.dictionaries(st.sampled_from(VARIABLES), HOSTILE))
def test_whatever_an_environment_says_only_listed_options_come_out(values: dict[str, str]) -> None:
    plain(read_settings(upstream(values)))


@given(st.lists(st.tuples(st.sampled_from(WORDS), HOSTILE)))
def test_whatever_a_library_says_only_listed_options_come_out(lines: list[tuple[str, str]]) -> None:
    text = "\n".join(f'x="{option} {value}"\n  {option}={value}' for option, value in lines)
    plain(read_settings(openshift((4, 20), script_lib={"data": {"ovnkube-lib.sh": text}})))


def plain(found: SettingsReading) -> None:
    assert all(finding.message.isprintable() for finding in (*found.parity, *found.impossible))
    if found.settings is None:
        return
    for argument in found.settings.arguments:
        assert SAFE.fullmatch(argument)
        assert not argument.startswith(("--kubeconfig", "--join"))
    audit = found.settings.audit
    assert re.fullmatch(r"[a-z0-7]+", audit.syslog_method + audit.facility)


@pytest.mark.parametrize("hostile", [{"spec": "x"}, {"spec": {"template": {"spec": {"containers": ["x"]}}}}, {}])
def test_a_daemonset_of_any_shape_is_read_without_a_fuss(hostile: Any) -> None:
    view = openshift((4, 22), node_daemonset=hostile, host_daemonset=hostile)
    assert settings(view).inactivity_probe_ms == 30000
    assert read_settings(upstream(node_daemonset=hostile)).settings is None


def test_the_environment_of_the_wrong_kind_is_no_setting() -> None:
    odd = workload("ovnkube-controller")
    odd["spec"]["template"]["spec"]["containers"][0]["env"] = [
        {"name": "OVN_NET_CIDR", "valueFrom": {"configMapKeyRef": {"name": "elsewhere", "key": "net_cidr"}}},
        {"name": "OVN_SVC_CIDR", "valueFrom": {"secretKeyRef": {"name": "ovnkube-config", "key": "svc_cidr"}}},
    ]
    assert [finding.reason for finding in read_settings(upstream(node_daemonset=odd)).impossible] == [
        "OvnkubeConfMissing",
        "OvnkubeConfMissing",
    ]
