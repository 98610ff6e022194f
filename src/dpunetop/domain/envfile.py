"""Entries of the ConfigMap `env-overrides`: what a person writes for one DPU, read strictly and written anew.

The values reach a privileged pod. So the grammar is narrow, the keys are a closed list, and what pods read is only
ever what `render_entry` wrote. A bad entry is that node's affair: it never touches another node's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from dpunetop.domain.names import TENANT_NODE_ENV
from dpunetop.domain.quoting import quoted

SIZE_LIMIT_BYTES = 16 * 1024
_TUNABLE: Mapping[str, re.Pattern[str]] = {
    "OVN_CONTROLLER_INACTIVITY_PROBE": re.compile(r"[0-9]{1,8}"),
    "OVN_KUBE_LOG_LEVEL": re.compile(r"[0-9]{1,2}"),
    "OVN_LOG_LEVEL": re.compile(r"off|emer|err|warn|info|dbg"),
}
_OBSOLETE = frozenset({"SMART_NIC_IP", "DPU_IP", "MGMT_IFNAME"})
_LINE = re.compile(r"([A-Z][A-Z0-9_]*)=([A-Za-z0-9._:,-]*)")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """Which tenant host a DPU works for, and the few settings that may differ per DPU."""

    host: str
    tuning: tuple[tuple[str, str], ...] = field(default=())
    """Sorted pairs of an allowlisted key and its value."""


@dataclass(frozen=True, slots=True)
class EntryRejected:
    """An entry that is not taken. `message` is one line that names the node, and the line where there is one."""

    node: str
    message: str


def parse_entries(config_map_data: Mapping[str, str]) -> Mapping[str, NodeEntry | EntryRejected]:
    """Read every entry of `env-overrides`, each for itself."""
    return {node: parse_entry(node, text) for node, text in sorted(config_map_data.items())}


def parse_entry(node: str, text: str) -> NodeEntry | EntryRejected:
    """Read the entry of one DPU node.

    Guarantees: empty lines and lines that begin with `#` are skipped, keys that older versions used are ignored,
        anything else that is not understood rejects the entry.
    """
    try:
        values = _values(text)
    except _Malformed as problem:
        return EntryRejected(node, f"entry of {quoted(node, 80)}, {problem}")
    host = values.pop(TENANT_NODE_ENV, None)
    if host is None:
        return EntryRejected(node, f"entry of {quoted(node, 80)} has no {TENANT_NODE_ENV}=<tenant host>")
    return NodeEntry(host, tuple(sorted(values.items())))


def render_entry(entry: NodeEntry) -> str:
    """The text that pods read: equal entries give equal text, one `KEY=value` a line."""
    lines = [f"{TENANT_NODE_ENV}={entry.host}", *(f"{key}={value}" for key, value in entry.tuning)]
    return "\n".join(lines) + "\n"


def is_host_name(text: str) -> bool:
    """Whether a node can have that name."""
    return _SUBDOMAIN.fullmatch(text) is not None


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
        raise _Malformed(f"line {number}: not KEY=value with plain characters (A-Z a-z 0-9 . _ : , -), no quotes")
    key, value = match.groups()
    if key in _OBSOLETE:
        return key, ""
    if key not in (TENANT_NODE_ENV, *_TUNABLE):
        raise _Malformed(f"line {number}: the key {quoted(key)} is not known; known are {_KNOWN}")
    if key == TENANT_NODE_ENV and not is_host_name(value):
        raise _Malformed(f"line {number}: {quoted(value)} is not the name of a node")
    if key in _TUNABLE and _TUNABLE[key].fullmatch(value) is None:
        raise _Malformed(f"line {number}: {key} cannot be {quoted(value)}")
    return key, value


_KNOWN = ", ".join((TENANT_NODE_ENV, *_TUNABLE))
