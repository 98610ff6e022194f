"""Files that the owner of a tenant could write to get at the DPUs: what pods read of them is harmless, or nothing."""

from __future__ import annotations

import configparser
import re

import pytest

from dpunetop.domain.ovnkube.conf import BadOvnkubeConf, parse_ovnkube_conf, render_ovnkube_conf

GOOD = "[default]\nmtu=1400\n\n[gateway]\nmode=shared\n"
EXPECTED = {("default", "mtu"): "1400", ("gateway", "mode"): "shared"}

# Each beside a good file: left out, and the rest is as it would be without it.
LEFT_OUT = {
    "log file of ovnkube": "[logging]\nlogfile=/host/etc/cron.d/x\n",
    "log file of its database client": "[logging]\nlibovsdblogfile=/etc/shadow\n",
    "log file size": "[logging]\nlogfile-maxsize=999999999\n",
    "kubeconfig": "[kubernetes]\nkubeconfig=/etc/kubernetes/kubeconfig\n",
    "kubelet's kubeconfig": "[kubernetes]\nbootstrap-kubeconfig=/var/lib/kubelet/kubeconfig\n",
    "folder for keys": "[kubernetes]\ncert-dir=/etc/ssh\n",
    "duration of keys": "[kubernetes]\ncert-duration=1s\n",
    "another API server": "[kubernetes]\napiserver=https://6.6.6.6:6443\n",
    "its CA": "[kubernetes]\ncacert=/tmp/evil.crt\n",
    "its CA inline": "[kubernetes]\ncacert-data=LS0tLS1CRUdJTg==\n",
    "a token": "[kubernetes]\ntoken=eyJhbGciOiJub25lIn0.e30.\n",
    "a token of infra": "[kubernetes]\ntokenFile=/var/run/secrets/kubernetes.io/serviceaccount/token\n",
    "a token file in other letters": "[kubernetes]\nTOKENFILE=/var/run/secrets/kubernetes.io/serviceaccount/token\n",
    "health on every address": "[kubernetes]\nhealthz-bind-address=0.0.0.0:10256\n",
    "metrics on every address": "[kubernetes]\nmetrics-bind-address=0.0.0.0:9\n",
    "metrics on every address, new place": "[metrics]\nbind-address=0.0.0.0:9\n",
    "profiler": "[metrics]\nenable-pprof=true\n",
    "key of the metrics server": "[metrics]\nnode-server-privkey=/etc/kubernetes/pki/ca.key\n",
    "hosts without subnets": "[kubernetes]\nno-hostsubnet-nodes=kubernetes.io/os=linux\n",
    "CNI configuration": "[cni]\nconf-dir=/etc/cni/net.d\n",
    "CNI program": "[cni]\nplugin=/tmp/evil\n",
    "NetFlow": "[monitoring]\nnetflow-targets=6.6.6.6:2056\n",
    "sFlow": "[monitoring]\nsflow-targets=6.6.6.6:6343\n",
    "IPFIX": "[monitoring]\nipfix-targets=6.6.6.6:4739\n",
    "sampling": "[ipfix]\nsampling=1\n",
    "another encap address": "[default]\nencap-ip=6.6.6.6\n",
    "another zone": "[default]\nzone=somebody-else\n",
    "northbound elsewhere": "[ovnnorth]\naddress=ssl:6.6.6.6:6641\n",
    "northbound key": "[ovnnorth]\nclient-privkey=/etc/shadow\n",
    "southbound elsewhere": "[ovnsouth]\naddress=tcp:6.6.6.6:6642\n",
    "run folder of Open vSwitch": "[ovspaths]\nrun-dir=/tmp/evil\n",
    "another interface": "[gateway]\ninterface=eth0\n",
    "another next hop": "[gateway]\nnext-hop=6.6.6.6\n",
    "external gateway": "[gateway]\negw-interface=eth0\n",
    "another VLAN": "[gateway]\nvlan-id=1\n",
    "another node mode": "[ovnkubenode]\nmode=full\n",
    "a management port": "[ovnkubenode]\nmgmt-port-netdev=eth0\n",
    "simulated hardware": "[ovnkubenode]\nsimulate-dpu=true\n",
    "election": "[masterha]\nelection-lease-duration=1\n",
    "hybrid overlay, off, with an address": "[hybridoverlay]\nenabled=false\ncluster-subnets=6.6.6.0/24\n",
    "a section of nobody's": "[evil]\nkey=value\n",
    "a switch of no feature": "[ovnkubernetesfeature]\nenabled=true\n",
    "a feature in another section": "[default]\nenable-egress-ip=true\n",
}
# Each beside a good file: nothing of the file is taken.
REFUSED = {
    "command in a number": "[default]\nrouting=1\nconntrack-zone=$(id)\n",
    "option in a number": "[default]\nencap-port=6081 --kubeconfig=/x\n",
    "line feed in quotes": '[default]\nencap-port="6081\nmtu=1"\n',
    "carriage return inside": "[default]\nencap-port=60\r81\n",
    "null byte": "[default]\nencap-port=6081\x00\n",
    "escape sequence": "[default]\nencap-port=\x1b[31m6081\n",
    "escaped quote": '[default]\nencap-port="60\\"81"\n',
    "continued line": "[default]\nencap-port=60\\\n81\n",
    "comment behind a value": "[default]\nencap-port=6081 ; x\n",
    "comment behind a section": "[default] # x\nencap-port=6081\n",
    "subsection": '[default "x"]\nencap-port=6081\n',
    "section in other letters": "[DEFAULT]\nencap-port=6081\n",
    "section without an end": "[default\nencap-port=6081\n",
    "two sections in a line": "[default][cni]\nencap-port=6081\n",
    "key without a value": "[default]\nencap-port\n",
    "value without a key": "[default]\n=6081\n",
    "colon for an equals sign": "[default]\nencap-port: 6081\n",
    "key in another script": "[default]\nencаp-port=6081\n",
    "digits of another script": "[default]\nencap-port=٦٠٨١\n",
    "space of another script": "[default]\n\u00a0encap-port=6081\n",
    "byte order mark": "\ufeff[default]\nencap-port=6081\n",
    "set twice": "[default]\nmtu=9000\n",
    "set twice in other letters": "[default]\nMTU=9000\n",
    "a switch with a path": "[ovnkubernetesfeature]\nenable-egress-ip=/etc/passwd\n",
    "a switch of another kind": "[ovnkubernetesfeature]\nenable-egress-ip=yes\n",
    "a mode that is none": "[gateway]\nv4-join-subnet=100.64.0.0/16\nnodeport=maybe\n",
    "a subnet with a command": "[kubernetes]\nservice-cidrs=172.30.0.0/16;id\n",
    "a namespace with a path": "[kubernetes]\novn-config-namespace=../kube-system\n",
    "another tunnel": "[default]\nencap-type=stt\n",
    "hybrid overlay": "[hybridoverlay]\nenabled=true\n",
    "hybrid overlay in other words": "[hybridoverlay]\nenabled=TRUE\n",
    "template left over": "[default]\nencap-port={{.GenevePort}}\n",
    "interpolation": "[default]\nencap-port=%(mtu)s\n",
    "very long number": f"[default]\nencap-port={'9' * 4000}\n",
    "too large": f"# {'x' * 70_000}\n",
    "a YAML document": "default:\n  mtu: 1\n",
    "a JSON document": '{"default": {"mtu": 1}}\n',
}
CORPUS = {**LEFT_OUT, **REFUSED}
KEPT = re.compile(r"[A-Za-z0-9.:/,-]+")


def understood(text: str) -> dict[tuple[str, str], str]:
    """The same file as another program reads it, without any of its conveniences."""
    other = configparser.RawConfigParser(
        strict=True, default_section="none", delimiters=("=",), comment_prefixes=("#",)
    )
    other.read_string(text)
    return {(section, key): value for section in other.sections() for key, value in other.items(section)}


@pytest.mark.parametrize("text", LEFT_OUT.values(), ids=LEFT_OUT.keys())
@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
def test_a_hostile_setting_is_left_out_and_named_and_the_rest_is_kept(text: str, first: bool) -> None:
    conf = parse_ovnkube_conf(f"{text}\n{GOOD}" if first else f"{GOOD}\n{text}")
    assert understood(render_ovnkube_conf(conf)) == EXPECTED
    assert conf.left != ()


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
def test_a_hostile_file_is_refused_in_one_line(text: str, first: bool) -> None:
    with pytest.raises(BadOvnkubeConf) as caught:
        parse_ovnkube_conf(f"{text}\n{GOOD}" if first else f"{GOOD}\n{text}")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", CORPUS.values(), ids=CORPUS.keys())
@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_what_is_written_two_parsers_read_alike_and_reading_it_again_changes_nothing(text: str, line_end: str) -> None:
    whole = f"{GOOD}\n{text}".replace("\n", line_end)
    try:
        conf = parse_ovnkube_conf(whole)
    except BadOvnkubeConf:
        return
    rendered = render_ovnkube_conf(conf)
    assert understood(rendered) == {(section, key): value for section, key, value in conf.values}
    assert all(KEPT.fullmatch(value) for _, _, value in conf.values)
    assert parse_ovnkube_conf(rendered).values == conf.values


def test_the_corpus_is_as_large_as_it_claims() -> None:
    assert len(set(CORPUS.values())) == len(LEFT_OUT) + len(REFUSED) >= 75
