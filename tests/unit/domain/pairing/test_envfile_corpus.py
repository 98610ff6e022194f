"""Entries of `env-overrides` that somebody could write to get at a DPU: refused, and never a word of them comes out."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpunetop.domain.pairing.envfile import EntryRejected, NodeEntry, parse_entries, parse_entry, render_entry
from support.podscripts import BASH

HOST = "TENANT_K8S_NODE=host-1"
ALLOWED = {"TENANT_K8S_NODE", "OVN_CONTROLLER_INACTIVITY_PROBE", "OVN_KUBE_LOG_LEVEL", "OVN_LOG_LEVEL"}

HOSTS = {
    "command": "$(reboot)",
    "backticks": "`reboot`",
    "variable": "$HOME",
    "variable in braces": "${IFS}",
    "arithmetic": "$((1+1))",
    "two commands": "a;reboot",
    "and then": "a&&reboot",
    "or else": "a||reboot",
    "background": "a&",
    "pipe": "a|sh",
    "redirection": "a>/etc/passwd",
    "here string": "a<<<x",
    "process substitution": "<(id)",
    "quotes": '"a"',
    "open quote": "a'",
    "escape": "a\\nb",
    "pattern": "*",
    "home": "~root",
    "braces": "{a,b}",
    "history": "!!",
    "option": "--kubeconfig",
    "path": "../../etc/passwd",
    "slash": "a/b",
    "equals sign": "a=b",
    "null byte": "a\0b",
    "escape sequence": "\x1b[31m",
    "carriage return inside": "a\rb",
    "line separator": "a\u2028reboot",
    "next line": "a\x85reboot",
    "soft hyphen": "a\u00adb",
    "other script": "h\u043est-1",
    "right to left": "a\u202eb",
    "zero width": "a\u200bb",
    "byte order mark": "\ufeffa",
    "upper case": "Host-1",
    "colon": "a:1",
    "comma": "a,b",
    "dots": "a..b",
    "last dot": "a.",
    "long": "a" * 254,
}
LINES = {
    "loader": "LD_PRELOAD=x.so",
    "loader's path": "LD_LIBRARY_PATH=x",
    "auditor": "LD_AUDIT=x",
    "path": "PATH=.",
    "start file": "BASH_ENV=x",
    "start file of sh": "ENV=x",
    "separator": "IFS=x",
    "prompt": "PS4=x",
    "prompt command": "PROMPT_COMMAND=id",
    "function": "BASH_FUNC_ovnkube=x",
    "shell options": "SHELLOPTS=xtrace",
    "Python": "PYTHONPATH=x",
    "Python at the start": "PYTHONSTARTUP=x",
    "Perl": "PERL5OPT=x",
    "Go": "GODEBUG=http2debug=2",
    "proxy": "HTTPS_PROXY=6.6.6.6",
    "kubeconfig": "KUBECONFIG=x",
    "who it is": "K8S_NODE=other",
    "its databases": "OVN_NB_DB_LIST=ssl:6.6.6.6:9641",
    "its address": "NODE_IP=6.6.6.6",
    "our own folder": "DPUNETOP_ENTRIES=x",
    "our own state": "DPUNETOP_STATE=x",
    "level with an option": "OVN_KUBE_LOG_LEVEL=5 --config-file=/x",
    "level with a command": "OVN_LOG_LEVEL=dbg;id",
    "probe without an end": f"OVN_CONTROLLER_INACTIVITY_PROBE={'9' * 9}",
    "negative probe": "OVN_CONTROLLER_INACTIVITY_PROBE=-1",
    "small letters": "path=.",
    "export": "export PATH=.",
    "readonly": "readonly X=1",
    "no key": "=x",
    "no value": "PATH",
    "append": "PATH+=.",
    "element": "PATH[0]=x",
    "space before": "OVN_LOG_LEVEL =dbg",
    "space after": "OVN_LOG_LEVEL= dbg",
    "command": "reboot",
    "source": ". /etc/profile",
    "second host": "TENANT_K8S_NODE=host-2",
    "continued": "OVN_LOG_LEVEL=\\",
    "vertical tab": "\x0bPATH=.",
    "form feed": "\x0cPATH=.",
    "wide equals sign": "PATH\uff1d.",
}
CORPUS = {f"host: {name}": f"TENANT_K8S_NODE={text}\n" for name, text in HOSTS.items()}
CORPUS |= {f"line: {name}": f"{HOST}\n{text}\n" for name, text in LINES.items()}

READ_AS_PODS_DO = """
set -u
while IFS='=' read -r key value || [[ -n $key ]]; do
  case $key in
    TENANT_K8S_NODE | OVN_CONTROLLER_INACTIVITY_PROBE | OVN_KUBE_LOG_LEVEL | OVN_LOG_LEVEL)
      printf '%s=%s\\n' "$key" "$value" ;;
    *) exit 3 ;;
  esac
done
"""


def test_the_corpus_is_as_large_as_it_claims() -> None:
    assert len(set(CORPUS.values())) == len(CORPUS) >= 80


@pytest.mark.parametrize("text", CORPUS.values(), ids=CORPUS.keys())
def test_a_hostile_entry_is_refused_in_one_harmless_line(text: str) -> None:
    refused = parse_entry("dpu-1", text)
    assert isinstance(refused, EntryRejected)
    assert refused.message.isascii()
    assert refused.message.isprintable()
    assert len(refused.message) < 250


@pytest.mark.parametrize("text", CORPUS.values(), ids=CORPUS.keys())
@pytest.mark.parametrize("name", ["$(reboot)", "../x", "a\nb", "\x1b[2J", "x" * 300])
def test_a_hostile_name_of_a_node_stays_out_of_what_is_said(name: str, text: str) -> None:
    refused = parse_entry(name, text)
    assert isinstance(refused, EntryRejected)
    assert refused.message.isprintable()
    assert not set(refused.message) & set("$`\x1b\n\\")
    assert len(refused.message) < 350


ADVICE = [
    HOST,
    "export",
    " ",
    "=",
    "'",
    '"',
    "#",
    "\x1b[2J",
    "$(reboot)",
    "x" * 60,
    "OVN_LOG_LEVEL=",
    "TENANT_K8S_NODE=A",
]


@given(st.lists(st.sampled_from(ADVICE), max_size=8).map("".join))
def test_advice_says_nothing_of_what_it_is_about(line: str) -> None:
    refused = parse_entry("dpu-1", line)
    if isinstance(refused, EntryRejected):
        assert refused.message.isascii()
        assert refused.message.isprintable()
        assert len(refused.message) < 350
        assert "$" not in refused.message


def test_a_hostile_entry_takes_nothing_from_its_neighbours() -> None:
    parsed = parse_entries({**CORPUS, "good": HOST})
    assert [node for node, entry in parsed.items() if isinstance(entry, NodeEntry)] == ["good"]


_PARTS = st.sampled_from(
    [HOST, "TENANT_K8S_NODE=a.b-c", "OVN_LOG_LEVEL=dbg", "OVN_KUBE_LOG_LEVEL=5", "DPU_IP=::1", "# $(reboot)", "", " "]
    + [f"TENANT_K8S_NODE={text}" for text in HOSTS.values()]
    + list(LINES.values())
)


@given(st.lists(_PARTS, max_size=5), st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_what_is_taken_comes_out_in_the_closed_grammar_and_is_its_own_fixed_point(parts: list[str], end: str) -> None:
    entry = parse_entry("dpu-1", end.join(parts))
    if not isinstance(entry, NodeEntry):
        return
    rendered = render_entry(entry)
    pairs = [line.split("=") for line in rendered.splitlines()]
    assert {key for key, _ in pairs} <= ALLOWED
    assert all(len(pair) == 2 for pair in pairs)
    assert parse_entry("dpu-1", rendered) == entry
    assert not set(rendered) & set("$`;&|<>\"'\\!*?~{}()[]# \t\r")


def test_the_shell_of_the_pods_reads_what_is_rendered_as_we_do() -> None:
    tuned = f"{HOST}\nOVN_LOG_LEVEL=dbg\nOVN_KUBE_LOG_LEVEL=5\nOVN_CONTROLLER_INACTIVITY_PROBE=60000"
    for text in (HOST, tuned, f"TENANT_K8S_NODE={'.'.join(['a' * 63] * 3)}"):
        entry = parse_entry("dpu-1", text)
        assert isinstance(entry, NodeEntry)
        rendered = render_entry(entry)
        read = subprocess.run([BASH, "-c", READ_AS_PODS_DO], input=rendered, capture_output=True, text=True, check=True)
        assert read.stdout == rendered
