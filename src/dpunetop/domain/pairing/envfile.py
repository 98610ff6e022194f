"""Entries of the ConfigMap `env-overrides`: what a person writes for one DPU, parsed strictly and rendered again.

The values reach a privileged pod. So the grammar is narrow, the keys are a closed list, and pods read only text that
`render_entry` wrote. A bad entry affects its own node only. The ConfigMap has a namesake in OpenShift, with keys that
are not names of Nodes (`_master`): those are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from dpunetop.base.quoting import quoted
from dpunetop.domain.names import ENV_OVERRIDES, TENANT_NODE_ENV

SIZE_LIMIT_BYTES = 16 * 1024
_TUNABLE: Mapping[str, tuple[re.Pattern[str], str]] = {
    "OVN_CONTROLLER_INACTIVITY_PROBE": (re.compile(r"[0-9]{1,8}"), "a number of at most 8 digits"),
    "OVN_KUBE_LOG_LEVEL": (re.compile(r"[0-9]{1,2}"), "a number of at most 2 digits"),
    "OVN_LOG_LEVEL": (re.compile(r"off|emer|err|warn|info|dbg"), "one of off, emer, err, warn, info, dbg"),
}
_OBSOLETE = frozenset({"SMART_NIC_IP", "DPU_IP", "MGMT_IFNAME"})
_LINE = re.compile(r"([A-Z][A-Z0-9_]*)=([A-Za-z0-9._:,-]*)")
_PLAIN = "plain characters (A-Z a-z 0-9 . _ : , -)"
_LONGEST_NAME = 253
# Kubernetes bounds the name of a Node as a whole, not its parts: `IsDNS1123Subdomain` of apimachinery.
_PART = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_PART}(?:\.{_PART})*")

Tuning = tuple[tuple[str, str], ...]
"""Sorted pairs of an allowlisted key and its value."""


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """Which tenant host a DPU works for, and the few settings that may differ per DPU."""

    host: str
    tuning: Tuning = ()


@dataclass(frozen=True, slots=True)
class HostlessEntry:
    """Settings alone: the annotation of the DPU's Node has to name the host."""

    tuning: Tuning


@dataclass(frozen=True, slots=True)
class EntryRejected:
    """An entry that is refused. `message` is one line that names the node and the line, and says what to change."""

    node: str
    message: str


Wish = NodeEntry | HostlessEntry | EntryRejected
"""The parsed entry of one DPU."""


def parse_entries(config_map_data: Mapping[str, str]) -> Mapping[str, Wish]:
    """Read every entry of `env-overrides`, each for itself. A key that cannot be a Node's name is ignored."""
    return {node: parse_entry(node, text) for node, text in sorted(config_map_data.items()) if is_node_name(node)}


def nobodys_keys(config_map_data: Mapping[str, str]) -> list[str]:
    """The keys that `parse_entries` ignores, sorted."""
    return sorted(key for key in config_map_data if not is_node_name(key))


def parse_entry(node: str, text: str) -> Wish:
    """Read the entry of one DPU node.

    Guarantees: empty lines and lines that begin with `#` are skipped, keys that older versions used are ignored,
        anything else that is not understood rejects the entry.
    """
    try:
        values = _values(text)
    except _Malformed as problem:
        return EntryRejected(node, f"{ENV_OVERRIDES}, entry of {quoted(node, 80)}, {problem}")
    host = values.pop(TENANT_NODE_ENV, None)
    tuning = tuple(sorted(values.items()))
    return HostlessEntry(tuning) if host is None else NodeEntry(host, tuning)


def render_entry(entry: NodeEntry) -> str:
    """The text that pods read: equal entries give equal text, one `KEY=value` a line."""
    lines = [f"{TENANT_NODE_ENV}={entry.host}", *(f"{key}={value}" for key, value in entry.tuning)]
    return "\n".join(lines) + "\n"


def is_node_name(text: str) -> bool:
    """Whether a Node can have that name."""
    return len(text) <= _LONGEST_NAME and _SUBDOMAIN.fullmatch(text) is not None


class _Malformed(Exception):
    pass


def _values(text: str) -> dict[str, str]:
    if len(text.encode("utf-8", "replace")) > SIZE_LIMIT_BYTES:
        raise _Malformed(f"more than {SIZE_LIMIT_BYTES // 1024} KiB")
    found: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip(" \t\r")
        if not stripped or stripped.startswith("#"):
            continue
        key, value = _pair(number, stripped)
        if key in found:
            raise _Malformed(f"line {number}: {key} is set twice")
        if key not in _OBSOLETE:
            found[key] = value
    return found


def _pair(number: int, line: str) -> tuple[str, str]:
    match = _LINE.fullmatch(line)
    if match is None:
        raise _Malformed(f"line {number}: {_advice(line)}")
    key, value = match.groups()
    if key in _OBSOLETE:
        return key, ""
    if key == TENANT_NODE_ENV:
        return key, _host(number, value)
    if key not in _TUNABLE:
        raise _Malformed(f"line {number}: the key {quoted(key)} is not known; known are {_KNOWN}")
    pattern, form = _TUNABLE[key]
    if pattern.fullmatch(value) is None:
        raise _Malformed(f"line {number}: {key} cannot be {quoted(value)}; it is {form}")
    return key, value


def _host(number: int, value: str) -> str:
    if is_node_name(value):
        return value
    words = f"line {number}: {quoted(value)} is not the name of a node"
    if is_node_name(value.lower()):
        words = f"{words}: names are in lower case, {quoted(value.lower(), 80)}"
    raise _Malformed(words)


def _advice(line: str) -> str:
    """What to change in a line: the habit of another language that it shows, else the expected form."""
    key, equals, value = line.partition("=")
    name = key.split()[-1] if key.split() else ""
    habits = {
        'no "export"': line.startswith(("export ", "export\t")),
        "no spaces around =": key != key.rstrip() or value != value.lstrip(),
        "no quotes": "'" in line or '"' in line,
        "comments on lines of their own": "#" in line,
        "= after the key": not equals,
        "the key in capitals": name != name.upper(),
    }
    wanted = [words for words, shown in habits.items() if shown]
    return f"write KEY=value with {_PLAIN}" + (f": {', '.join(wanted)}" if wanted else "")


_KNOWN = ", ".join((TENANT_NODE_ENV, *_TUNABLE))
