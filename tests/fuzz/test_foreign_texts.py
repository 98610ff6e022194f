"""Whatever strangers write, each reader of it takes it or refuses it as it says, in bounded time and in words that can
be shown. 10,000 cases in all; `HYPOTHESIS_PROFILE=nightly` tries others each time."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from dpunetop.domain.drain.model.readers import is_ovn_pod
from dpunetop.domain.drain.protection.blockers import blocked_node, kept_spec
from dpunetop.domain.ovnkube.conf import BadOvnkubeConf, read_ovnkube_conf
from dpunetop.domain.ovnkube.release import Flavour
from dpunetop.domain.ovnkube.scriptlib import read_library
from dpunetop.domain.ovnkube.settings import SettingsView, read_settings
from dpunetop.domain.ovnkube.settingstable.openshift import OPTIONS
from dpunetop.domain.pairing.envfile import EntryRejected, parse_entries
from dpunetop.domain.tenant.kubeconfig import parse_kubeconfig
from dpunetop.domain.tenant.kubeconfigmodel import KubeconfigRejected, render_kubeconfig
from dpunetop.domain.tenant.pem import BadPem, certificates, private_key
from dpunetop.kube.errors import ApiError
from dpunetop.kube.keys import NODES
from dpunetop.kube.requests import Selection
from dpunetop.kube.watch import Drop, Put, interpret
from dpunetop.runtime.cache import transform
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.client.net.answers import date_of
from dpunetop.runtime.metrics import Metrics
from support.clock import FakeClock
from support.kubeconfigs import good_kubeconfig
from support.pki import pair
from support.scriptedtransport import ScriptedTransport

LONGEST_SECONDS = 2.0
MOST_WORDS = 1000

SIGNS = [
    *("\n", "\r", "\0", " ", "\t", "=", '"', "'", "#", ";", "[", "]", "{", "}", ":", "-", "--", "\\", "/"),
    *("&a", "*a", "<<", "!!", "null", "$(id)", "`id`", "9" * 30),
    *("\x1b[31m", "\u202e", "\ufeff", "\u2028", "é", "\U0001f600"),
]
SPLINTER = st.one_of(
    st.sampled_from(SIGNS),
    st.builds(lambda sign, count: sign * count, st.sampled_from(SIGNS), st.integers(2, 3000)),
    st.text(max_size=12),
)


@st.composite
def spoiled(draw: st.DrawFn, *goods: str) -> str:
    """One of the good texts, with a few places cut out and something else put in."""
    text = draw(st.sampled_from(goods))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        text = text[:start] + draw(SPLINTER) + text[start + draw(st.integers(0, 40)) :]
    return text


@contextmanager
def bounded() -> Iterator[None]:
    begun = time.thread_time()
    yield
    assert time.thread_time() - begun < LONGEST_SECONDS


def shown(words: str) -> None:
    """The words may stand in a condition."""
    assert words.isascii()
    assert words.isprintable()
    assert len(words) <= MOST_WORDS


def der(pem: bytes) -> bytes:
    return base64.b64decode(b"".join(pem.splitlines()[1:-1]))


def block(label: str, data: bytes) -> bytes:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(data).decode()}-----END {label}-----\n".encode()


@st.composite
def forged(draw: st.DrawFn) -> bytes:
    """A certificate or key that decodes, with a few bytes of its DER changed."""
    label, good = draw(st.sampled_from([("CERTIFICATE", pair().cert), ("PRIVATE KEY", pair().key)]))
    data = bytearray(der(good))
    for _ in range(draw(st.integers(1, 3))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return block(label, bytes(data))


PEMS = [part.decode() for part in (pair().cert, pair().key, pair().cert + pair("other").cert)]


@settings(max_examples=2000)
@given(st.one_of(forged(), spoiled(*PEMS).map(lambda text: text.encode("utf-8", "replace")), st.binary(max_size=200)))
def test_pem(data: bytes) -> None:
    for read in cast("tuple[Callable[[bytes], object], ...]", (certificates, private_key)):
        try:
            with bounded():
                read(data)
        except BadPem as problem:
            shown(str(problem))


DATES = ("Thu, 01 Jan 2026 00:00:40 GMT", "Thursday, 01-Jan-26 00:00:40 GMT", "Thu, 01 Jan 2026 00:00:40 +0200")


@settings(max_examples=300)
@given(spoiled(*DATES))
def test_date_of_an_answer(text: str) -> None:
    with bounded():
        found = date_of(text)
    assert found is None or found.utcoffset() is not None


GOOD = good_kubeconfig().decode()
YAML = """apiVersion: v1
kind: Config
current-context: x
contexts: [{name: x, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "https://a.example"}}]
users:
- name: u
  user: {token: abc, client-certificate-data: LS0t, exec: null}
"""


@settings(max_examples=2500)
@given(st.one_of(spoiled(GOOD, YAML), st.text(max_size=200)))
def test_kubeconfig(text: str) -> None:
    try:
        with bounded():
            model = parse_kubeconfig(text.encode("utf-8", "surrogatepass"))
    except KubeconfigRejected as problem:
        shown(problem.message)
    else:
        assert parse_kubeconfig(render_kubeconfig(model)) == model


CONF = """[default]
mtu="1400"
cluster-subnets="10.128.0.0/14/23"
encap-port=6081
[kubernetes]
service-cidrs=172.30.0.0/16
[ovnkubernetesfeature]
enable-multi-network=true
[gateway]
mode=shared
"""


@settings(max_examples=1500)
@given(st.one_of(spoiled(CONF), st.text(max_size=200)))
def test_ini(text: str) -> None:
    with bounded(), suppress(BadOvnkubeConf):
        read_ovnkube_conf(text)
    with bounded():
        said(text, "")


ENTRY = "# of ours\nTENANT_K8S_NODE=worker-1.example\nOVN_LOG_LEVEL=info\nDPU_IP=1.2.3.4\n"


@settings(max_examples=1500)
@given(st.one_of(spoiled("dpu-1", "_global"), st.text(max_size=80)), spoiled(ENTRY))
def test_env_file(node: str, text: str) -> None:
    with bounded():
        wishes = parse_entries({node: text, "dpu-2": text})
    for wish in wishes.values():
        if isinstance(wish, EntryRejected):
            shown(wish.message)


LIBRARY = """a=
if [[ "true" == "true" ]]; then
  a="--enable-multi-network --enable-egress-ip=true"
elif [[ "${OVN_NODE_MODE}" != "dpu-host" ]]; then
  exec /usr/bin/ovnkube --gateway-v4-join-subnet "100.64.0.0/16" \\
    --acl-logging-rate-limit "20" $a
fi
"""


@settings(max_examples=1500)
@given(st.one_of(spoiled(LIBRARY), st.text(max_size=200)))
def test_script_library(text: str) -> None:
    with bounded():
        read_library(text, OPTIONS)
        said(CONF, text)


def said(conf: str, library: str) -> None:
    """Everything that is said of a tenant with that file and that library."""
    view = SettingsView(
        flavour=Flavour.OPENSHIFT,
        release=None,
        tenant_namespace="ovn",
        config_map={"metadata": {"name": "ovnkube-config"}, "data": {"ovnkube.conf": conf}},
        script_lib={"metadata": {"name": "ovnkube-script-lib"}, "data": {"ovnkube-lib.sh": library}},
        node_daemonset=None,
        host_daemonset=None,
    )
    found = read_settings(view)
    for finding in (*found.impossible, *found.parity):
        assert finding.message.isascii()
        assert finding.message.isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = ("metadata", "spec", "status", "data", "kind")
INNER = ("name", "uid", "annotations", "labels", "managedFields", "conditions", "addresses", "taints", "podCIDRs",
         "containerStatuses", "nodeInfo", "nodeName", "containers")  # fmt: skip
OBJECTS = st.dictionaries(st.sampled_from(MEMBERS), JSON | st.dictionaries(st.sampled_from(INNER), JSON, max_size=5))
METADATA = st.dictionaries(st.sampled_from(INNER), JSON, max_size=4).map(
    lambda given: {"name": "a", "resourceVersion": "7", **given}
)
EVENTS = st.builds(
    lambda kind, obj, metadata: json.dumps({"type": kind, "object": {**obj, "metadata": metadata}}),
    st.sampled_from(["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR", "x\x1b"]) | JSON,
    OBJECTS,
    METADATA | JSON,
)
EVENT = '{"type":"ADDED","object":{"kind":"Node","metadata":{"name":"a","resourceVersion":"1"},"status":{"code":410}}}'
TRANSFORMS = (
    transform.strip_foreign_managed_fields(),
    transform.strip_node(),
    transform.bare_node(["a"], ["b"]),
    transform.bare_lease(),
    transform.bare_pod(["a"]),
    transform.bare_pod(["a"], is_ovn_pod),
    transform.strip_status(),
    transform.own_spec(),
    transform.own_digest(["b"], {"node": blocked_node}),
    transform.own_digest(["b"], {"spec": kept_spec}, transform.strip_status(), ["annotations"]),
)


@settings(max_examples=1000)
@given(st.one_of(EVENTS, spoiled(EVENT)))
def test_watch_event(line: str) -> None:
    for change in TRANSFORMS:
        try:
            with bounded():
                took(line, change)
        except ApiError as problem:
            shown(str(problem))


def took(line: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    transport = ScriptedTransport([line.encode("utf-8", "surrogatepass")])
    client = Client(
        cast(Any, transport), clock=FakeClock(), metrics=Metrics().client("x"), name="t", random=lambda: 0.0
    )
    for event in client.watch(Selection(NODES), "1"):
        _, meaning = interpret(event)
        if isinstance(meaning, Put | Drop):
            change(meaning.object)
