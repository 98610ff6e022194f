from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpunetop.domain.ovnkube.conf import BadOvnkubeConf, OvnkubeConf, parse_ovnkube_conf, render_ovnkube_conf

REAL = """
[default]
mtu="1400"
cluster-subnets="10.128.0.0/14/23"
encap-port="6081"
enable-lflow-cache=true
lflow-cache-limit-kb=1048576
enable-udp-aggregation=true

[kubernetes]
service-cidrs="172.30.0.0/16"
ovn-config-namespace="openshift-ovn-kubernetes"
apiserver="https://api-int.tenant.example:6443"
host-network-namespace="openshift-host-network"
platform-type="BareMetal"
healthz-bind-address="0.0.0.0:10256"

[ovnkubernetesfeature]
enable-egress-ip=true
enable-egress-firewall=true
egressip-node-healthcheck-port=9107

[gateway]
mode=shared
nodeport=true

[masterha]
election-lease-duration=137
"""

KEPT = """[default]
cluster-subnets=10.128.0.0/14/23
enable-lflow-cache=true
enable-udp-aggregation=true
encap-port=6081
lflow-cache-limit-kb=1048576
mtu=1400

[gateway]
mode=shared
nodeport=true

[kubernetes]
host-network-namespace=openshift-host-network
ovn-config-namespace=openshift-ovn-kubernetes
platform-type=BareMetal
service-cidrs=172.30.0.0/16

[ovnkubernetesfeature]
enable-egress-firewall=true
enable-egress-ip=true
"""


def left(conf: OvnkubeConf) -> list[str]:
    return [f"{section}/{key}" for section, key, _ in conf.left]


def test_a_file_as_tenants_have_it_keeps_what_a_node_needs() -> None:
    conf = parse_ovnkube_conf(REAL)
    assert render_ovnkube_conf(conf) == KEPT
    assert left(conf) == [
        "kubernetes/apiserver",
        "kubernetes/healthz-bind-address",
        "masterha/election-lease-duration",
        "ovnkubernetesfeature/egressip-node-healthcheck-port",
    ]


FORBIDDEN = {
    "log file": "[logging]\nlogfile=/host/etc/shadow",
    "database log file": "[logging]\nlibovsdblogfile=/var/log/x",
    "CNI folder": "[cni]\nconf-dir=/etc/cni",
    "CNI plug-in": "[cni]\nplugin=evil",
    "bootstrap kubeconfig": "[kubernetes]\nbootstrap-kubeconfig=/var/lib/kubelet/kubeconfig",
    "kubeconfig": "[kubernetes]\nkubeconfig=/x",
    "certificate folder": "[kubernetes]\ncert-dir=/etc",
    "token file": "[kubernetes]\ntokenFile=/var/run/secrets/kubernetes.io/serviceaccount/token",
    "token": "[kubernetes]\ntoken=abc",
    "API server": "[kubernetes]\napiserver=https://evil",
    "health address": "[kubernetes]\nhealthz-bind-address=0.0.0.0:10256",
    "metrics address": "[metrics]\nbind-address=0.0.0.0:1",
    "profiler": "[metrics]\nenable-pprof=true",
    "NetFlow": "[default]\nnetflow-targets=6.6.6.6:2056",
    "sFlow": "[default]\nsflow-targets=6.6.6.6:1",
    "IPFIX": "[default]\nipfix-targets=6.6.6.6:1",
    "encap address": "[default]\nencap-ip=6.6.6.6",
    "database address": "[ovnnorth]\naddress=ssl:6.6.6.6:9641",
    "gateway interface": "[gateway]\ninterface=eth0",
    "unknown section": "[anything]\na=b",
    "unknown section with a dash": "[any-thing]\na=b",
}


@pytest.mark.parametrize("text", FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_what_a_privileged_pod_must_not_obey_is_left_out_and_named(text: str) -> None:
    section, key = text.removeprefix("[").split("]\n")[0], text.split("\n")[1].split("=")[0].lower()
    conf = parse_ovnkube_conf(f"{text}\n[gateway]\nmode=shared\n" if section != "gateway" else f"{text}\nmode=shared\n")
    assert conf.values == (("gateway", "mode", "shared"),)
    assert left(conf) == [f"{section}/{key}"]


REFUSED = {
    "nothing": ("", "no setting"),
    "only unneeded": ("[cni]\na=b", "no setting"),
    "hybrid overlay": ("[hybridoverlay]\nenabled=true", "hybridoverlay"),
    "no overlay": ("[default]\ntransport=no-overlay", "Geneve only"),
    "a section that is of no overlay": ("[default]\nmtu=1400\n[no-overlay]\nrouting=managed", "Geneve only"),
    "services that are none": ("[default]\nudn-allowed-default-services=$(id)", "services has the value"),
    "no section": ("mtu=1400", "line 1"),
    "a bare key": ("[default]\nmtu", "line 2"),
    "a subsection": ('[default "x"]\nmtu=1400', "line 1"),
    "a continuation": ("[default]\nmtu=14\\\n00", "line 2"),
    "an open quote": ('[default]\nmtu="1400', "line 2"),
    "a comment behind a value": ("[default]\nmtu=1400 # x", "line 2"),
    "a control character": ("[default]\nmtu=14\x0700", "line 2"),
    "set twice": ("[default]\nmtu=1400\n[gateway]\nmode=shared\n[default]\nMTU=9000", "twice"),
    "a bad number": ("[default]\nmtu=big", "mtu has the value"),
    "a command": ("[default]\ncluster-subnets=$(id)", "cluster-subnets has the value"),
    "a bad switch": ("[ovnkubernetesfeature]\nenable-egress-ip=/etc/passwd", "enable-egress-ip has the value"),
    "too large": ("#" * 70_000, "64 KiB"),
}


@pytest.mark.parametrize(("text", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_file_that_cannot_be_trusted_is_refused_with_one_line(text: str, words: str) -> None:
    with pytest.raises(BadOvnkubeConf) as caught:
        parse_ovnkube_conf(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


KEPT_SINCE = {
    "services of user-defined networks": "[default]\nudn-allowed-default-services=default/kubernetes,x-dns/dns-default",
    "ports": "[gateway]\nephemeral-port-range=32768-60999",
    "no transport": '[default]\nmtu=1400\ntransport=""',
    "routes of all nodes": "[default]\nmtu=1400\n[bgp-managed]\nas-number=64512",
    "a feature that is not known here": "[ovnkubernetesfeature]\nenable-what-comes-next=true",
}


@pytest.mark.parametrize("text", KEPT_SINCE.values(), ids=KEPT_SINCE.keys())
def test_what_a_dpu_may_do_is_kept(text: str) -> None:
    section, key, value = text.split("\n")[0][1:-1], *text.split("\n")[1].split("=")
    assert (section, key, value) in parse_ovnkube_conf(text).values


@pytest.mark.parametrize("blank", [" ", "\t", "=", '"', "a"])
@pytest.mark.parametrize("end", [";", '"', "", "\x00"])
def test_the_time_it_takes_grows_with_the_file_alone(blank: str, end: str) -> None:
    began = time.thread_time()
    with pytest.raises(BadOvnkubeConf):
        parse_ovnkube_conf(f"[default]\nmtu={blank * 65_000}{end}")
    assert time.thread_time() - began < 2


def test_what_is_rendered_is_read_back_the_same() -> None:
    conf = parse_ovnkube_conf(REAL)
    again = parse_ovnkube_conf(render_ovnkube_conf(conf))
    assert (again.values, again.left) == (conf.values, ())


@given(st.text(alphabet="[]default=mu\"'$(`;#\\ \n1-/.:", max_size=80))
def test_only_plain_characters_ever_come_out(text: str) -> None:
    try:
        rendered = render_ovnkube_conf(parse_ovnkube_conf(f"[default]\nmtu=1\n{text}"))
    except BadOvnkubeConf:
        return
    assert set(rendered) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789[]=-.,:/\n")
