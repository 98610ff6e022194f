from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpunetop.domain.envfile import EntryRejected, NodeEntry, parse_entries, parse_entry, render_entry

TAKEN = {
    "the quick start": ("TENANT_K8S_NODE=worker-advnetlab13\n", NodeEntry("worker-advnetlab13")),
    "without a last newline": ("TENANT_K8S_NODE=a", NodeEntry("a")),
    "windows lines": ("TENANT_K8S_NODE=a\r\n", NodeEntry("a")),
    "comments and blanks": ("# mine\n\n  # more\n  TENANT_K8S_NODE=a  \n", NodeEntry("a")),
    "full name": ("TENANT_K8S_NODE=host-1.rack2.example.com", NodeEntry("host-1.rack2.example.com")),
    "obsolete keys": ("SMART_NIC_IP=10.0.0.1\nDPU_IP=::1\nMGMT_IFNAME=p0\nTENANT_K8S_NODE=a", NodeEntry("a")),
    "tuning, sorted": (
        "OVN_LOG_LEVEL=dbg\nTENANT_K8S_NODE=a\nOVN_KUBE_LOG_LEVEL=5\nOVN_CONTROLLER_INACTIVITY_PROBE=60000",
        NodeEntry(
            "a",
            (("OVN_CONTROLLER_INACTIVITY_PROBE", "60000"), ("OVN_KUBE_LOG_LEVEL", "5"), ("OVN_LOG_LEVEL", "dbg")),
        ),
    ),
}

REFUSED = {
    "nothing": ("", "has no TENANT_K8S_NODE"),
    "only obsolete": ("DPU_IP=10.0.0.1", "has no TENANT_K8S_NODE"),
    "command": ("TENANT_K8S_NODE=$(id)", "line 1"),
    "backticks": ("\n\nTENANT_K8S_NODE=`id`", "line 3"),
    "quotes": ('TENANT_K8S_NODE="a"', "no quotes"),
    "two words": ("TENANT_K8S_NODE=a b", "line 1"),
    "export": ("export TENANT_K8S_NODE=a", "line 1"),
    "semicolon": ("TENANT_K8S_NODE=a;reboot", "line 1"),
    "no equals": ("TENANT_K8S_NODE", "line 1"),
    "empty": ("TENANT_K8S_NODE=", "not the name of a node"),
    "upper case": ("TENANT_K8S_NODE=Worker", "not the name of a node"),
    "an option": ("TENANT_K8S_NODE=-h", "not the name of a node"),
    "too long a label": (f"TENANT_K8S_NODE={'a' * 64}", "not the name of a node"),
    "too long a name": (f"TENANT_K8S_NODE={'.'.join(['a' * 63] * 4)}", "not the name of a node"),
    "twice": ("TENANT_K8S_NODE=a\nTENANT_K8S_NODE=b", "line 2: TENANT_K8S_NODE is set twice"),
    "no value": ("TENANT_K8S_NODE=a\nOVN_LOG_LEVEL=", 'line 2: OVN_LOG_LEVEL cannot be ""'),
    "a word for a number": ("TENANT_K8S_NODE=a\nOVN_KUBE_LOG_LEVEL=dbg", "OVN_KUBE_LOG_LEVEL cannot be"),
    "an unknown level": ("TENANT_K8S_NODE=a\nOVN_LOG_LEVEL=debug", "OVN_LOG_LEVEL cannot be"),
    "loader": ("TENANT_K8S_NODE=a\nLD_PRELOAD=x.so", 'line 2: the key "LD_PRELOAD" is not known'),
    "path": ("PATH=.", "is not known"),
    "shell start file": ("BASH_ENV=x", "is not known"),
    "kubeconfig": ("KUBECONFIG=x", "is not known"),
    "node name": ("K8S_NODE=x", "is not known"),
    "wide digits": ("TENANT_K8S_NODE=a\uff11", "line 1"),
    "vertical tab": ("TENANT_K8S_NODE=a\x0b", "line 1"),
    "huge": ("#" * 20_000, "16 KiB"),
}


@pytest.mark.parametrize(("text", "expected"), TAKEN.values(), ids=TAKEN.keys())
def test_an_entry_is_read(text: str, expected: NodeEntry) -> None:
    assert parse_entry("dpu-1", text) == expected


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
