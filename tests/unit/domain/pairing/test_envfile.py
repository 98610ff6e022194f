from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpunetop.domain.pairing.envfile import (
    EntryRejected,
    HostlessEntry,
    NodeEntry,
    nobodys_keys,
    parse_entries,
    parse_entry,
    render_entry,
)

LONGEST = "n" * 253
LONGEST_OF_PARTS = ".".join(["n" * 63] * 3 + ["n" * 61])
TAKEN = {
    "the quick start": ("TENANT_K8S_NODE=worker-advnetlab13\n", NodeEntry("worker-advnetlab13")),
    "without a last newline": ("TENANT_K8S_NODE=a", NodeEntry("a")),
    "windows lines": ("TENANT_K8S_NODE=a\r\n", NodeEntry("a")),
    "comments and blanks": ("# mine\n\n  # more\n  TENANT_K8S_NODE=a  \n", NodeEntry("a")),
    "full name": ("TENANT_K8S_NODE=host-1.rack2.example.com", NodeEntry("host-1.rack2.example.com")),
    "obsolete keys": ("SMART_NIC_IP=10.0.0.1\nDPU_IP=::1\nMGMT_IFNAME=p0\nTENANT_K8S_NODE=a", NodeEntry("a")),
    "tabs and spaces around a line": ("\t TENANT_K8S_NODE=a\t \r\n\r\n", NodeEntry("a")),
    "the longest name": (f"TENANT_K8S_NODE={LONGEST}", NodeEntry(LONGEST)),
    "the longest name, of parts": (f"TENANT_K8S_NODE={LONGEST_OF_PARTS}", NodeEntry(LONGEST_OF_PARTS)),
    "tuning, sorted": (
        "OVN_LOG_LEVEL=dbg\nTENANT_K8S_NODE=a\nOVN_KUBE_LOG_LEVEL=5\nOVN_CONTROLLER_INACTIVITY_PROBE=60000",
        NodeEntry(
            "a",
            (("OVN_CONTROLLER_INACTIVITY_PROBE", "60000"), ("OVN_KUBE_LOG_LEVEL", "5"), ("OVN_LOG_LEVEL", "dbg")),
        ),
    ),
}

HOSTLESS = {
    "nothing": ("", HostlessEntry(())),
    "only comments": ("# later\n", HostlessEntry(())),
    "only obsolete": ("DPU_IP=10.0.0.1", HostlessEntry(())),
    "a level": ("OVN_KUBE_LOG_LEVEL=5\n", HostlessEntry((("OVN_KUBE_LOG_LEVEL", "5"),))),
    "as the manual of OpenShift has it": (
        "OVN_KUBE_LOG_LEVEL=5\nOVN_LOG_LEVEL=dbg\n",
        HostlessEntry((("OVN_KUBE_LOG_LEVEL", "5"), ("OVN_LOG_LEVEL", "dbg"))),
    ),
}

REFUSED = {
    "command": ("TENANT_K8S_NODE=$(id)", "line 1: write KEY=value with plain characters"),
    "backticks": ("\n\nTENANT_K8S_NODE=`id`", "line 3"),
    "quotes": (
        'TENANT_K8S_NODE="a"',
        "line 1: write KEY=value with plain characters (A-Z a-z 0-9 . _ : , -): no quotes",
    ),
    "single quotes": ("OVN_LOG_LEVEL='dbg'", "): no quotes"),
    "two words": ("TENANT_K8S_NODE=a b", "line 1"),
    "export": (
        "# host\nexport TENANT_K8S_NODE=a",
        'line 2: write KEY=value with plain characters (A-Z a-z 0-9 . _ : , -): no "export"',
    ),
    "export with a tab": ("export\tTENANT_K8S_NODE=a", '): no "export"'),
    "export and quotes": ("export TENANT_K8S_NODE='a'", '): no "export", no quotes'),
    "comment behind it": ("TENANT_K8S_NODE=a # mine", "): comments on lines of their own"),
    "comment right behind it": ("TENANT_K8S_NODE=a#mine", "): comments on lines of their own"),
    "space before the equals sign": ("TENANT_K8S_NODE =a", "): no spaces around ="),
    "space after the equals sign": ("TENANT_K8S_NODE= a", "): no spaces around ="),
    "tabs around the equals sign": ("TENANT_K8S_NODE\t=\ta", "): no spaces around ="),
    "YAML": ("TENANT_K8S_NODE: a", "): = after the key"),
    "semicolon": ("TENANT_K8S_NODE=a;reboot", "line 1"),
    "no equals": ("TENANT_K8S_NODE", "): = after the key"),
    "empty": ("TENANT_K8S_NODE=", 'line 1: "" is not the name of a node'),
    "upper case": ("TENANT_K8S_NODE=Worker-1.Lab", 'node: names are in lower case, "worker-1.lab"'),
    "an option": ("TENANT_K8S_NODE=-h", "not the name of a node"),
    "an underscore": ("TENANT_K8S_NODE=worker_1", "not the name of a node"),
    "too long a name": (f"TENANT_K8S_NODE={'n' * 254}", "not the name of a node"),
    "too long a name, of parts": (f"TENANT_K8S_NODE={'.'.join(['a' * 63] * 4)}", "not the name of a node"),
    "an empty part": ("TENANT_K8S_NODE=a..b", "not the name of a node"),
    "twice": ("TENANT_K8S_NODE=a\nTENANT_K8S_NODE=b", "line 2: TENANT_K8S_NODE is set twice"),
    "no value": ("TENANT_K8S_NODE=a\nOVN_LOG_LEVEL=", 'line 2: OVN_LOG_LEVEL cannot be ""'),
    "a word for a number": ("OVN_KUBE_LOG_LEVEL=dbg", 'OVN_KUBE_LOG_LEVEL cannot be "dbg"; it is a number of at most'),
    "an unknown level": (
        "TENANT_K8S_NODE=a\nOVN_LOG_LEVEL=debug",
        'OVN_LOG_LEVEL cannot be "debug"; it is one of off, emer, err, warn, info, dbg',
    ),
    "loader": (
        "TENANT_K8S_NODE=a\nLD_PRELOAD=x.so",
        'line 2: the key "LD_PRELOAD" is not known; known are TENANT_K8S_NODE',
    ),
    "a key that is nearly one": (
        "OVN_LOGLEVEL=dbg",
        "known are TENANT_K8S_NODE, OVN_CONTROLLER_INACTIVITY_PROBE, OVN_KUBE_LOG_LEVEL, OVN_LOG_LEVEL",
    ),
    "small letters": ("TENANT_K8S_NODE=a\novn_log_level=dbg", "): the key in capitals"),
    "path": ("PATH=.", "is not known"),
    "shell start file": ("BASH_ENV=x", "is not known"),
    "kubeconfig": ("KUBECONFIG=x", "is not known"),
    "node name": ("K8S_NODE=x", "is not known"),
    "wide digits": ("TENANT_K8S_NODE=a\uff11", "line 1"),
    "vertical tab": ("TENANT_K8S_NODE=a\x0b", "line 1"),
    "huge": ("#" * 20_000, "16 KiB"),
}


@pytest.mark.parametrize(("text", "expected"), HOSTLESS.values(), ids=HOSTLESS.keys())
def test_an_entry_without_a_host_is_settings_alone(text: str, expected: HostlessEntry) -> None:
    assert parse_entry("dpu-1", text) == expected


@pytest.mark.parametrize(("text", "expected"), TAKEN.values(), ids=TAKEN.keys())
def test_an_entry_is_read(text: str, expected: NodeEntry) -> None:
    assert parse_entry("dpu-1", text) == expected


def test_a_line_that_shows_no_habit_of_another_language_is_told_the_form_alone() -> None:
    refused = parse_entry("d", "TENANT_K8S_NODE=$(id)")
    assert isinstance(refused, EntryRejected)
    assert refused.message.endswith("line 1: write KEY=value with plain characters (A-Z a-z 0-9 . _ : , -)")


@pytest.mark.parametrize(("text", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_entry_is_refused_and_names_node_and_line(text: str, words: str) -> None:
    refused = parse_entry("dpu-1", text)
    assert isinstance(refused, EntryRejected)
    assert refused.node == "dpu-1"
    assert words in refused.message
    assert '"dpu-1"' in refused.message
    assert "\n" not in refused.message


def test_a_bad_entry_leaves_the_others_alone() -> None:
    parsed = parse_entries({"b": "$(id)", "a": "TENANT_K8S_NODE=x", "c": "TENANT_K8S_NODE=y"})
    assert parsed["a"] == NodeEntry("x")
    assert parsed["c"] == NodeEntry("y")
    assert isinstance(parsed["b"], EntryRejected)


NOBODY = ["_master", "_global", "_control-plane", "..", "Bf2-1", "README.md", "a_b", "-a", "a.", "n" * 254]


def test_keys_that_no_node_can_have_as_its_name_are_ignored_and_named() -> None:
    """`_master` is read by OpenShift's own pods from a ConfigMap of this name: ovn-kubernetes' and node-identity's.

    Source: cluster-network-operator, bindata/network/ovn-kubernetes and README.md.
    """
    data = {**dict.fromkeys(NOBODY, "OVN_LOG_LEVEL=$(id)"), "dpu-1": "TENANT_K8S_NODE=x", LONGEST: "TENANT_K8S_NODE=y"}
    assert parse_entries(data) == {"dpu-1": NodeEntry("x"), LONGEST: NodeEntry("y")}
    assert nobodys_keys(data) == sorted(NOBODY)


def test_what_is_rendered_is_read_back_the_same() -> None:
    for text, entry in TAKEN.values():
        assert parse_entry("n", text) == entry
        assert parse_entry("n", render_entry(entry)) == entry
        assert render_entry(entry).endswith("\n")


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_and_only_plain_characters_come_out(text: str) -> None:
    entry = parse_entry("n", f"TENANT_K8S_NODE=a\n{text}")
    if isinstance(entry, NodeEntry):
        assert set(render_entry(entry)) <= set(string.ascii_letters + string.digits + "._:,-=\n")
