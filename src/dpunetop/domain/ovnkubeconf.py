"""The tenant's `ovnkube.conf`: read as a strict INI file, and written anew with what a DPU needs and nothing else.

The file could also name log files, kubeconfigs, addresses to bind and collectors to send flows to, all of which a
privileged pod on the DPU would obey. So a key is kept because it is listed here, not because it looks harmless.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from dpunetop.domain.quoting import quoted

SIZE_LIMIT_BYTES = 64 * 1024
_MOST_DROPPED = 20
_BOOLEAN = re.compile(r"true|false")
_NUMBER = re.compile(r"[0-9]{1,10}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,62}")
_MODE = re.compile(r"shared|local")
_SUBNET = r"[0-9A-Fa-f:.]{2,45}/[0-9]{1,3}"
_SUBNETS = re.compile(rf"{_SUBNET}(?:,{_SUBNET})*")
_CLUSTER_SUBNET = rf"{_SUBNET}(?:/[0-9]{{1,3}})?"
_CLUSTER_SUBNETS = re.compile(rf"{_CLUSTER_SUBNET}(?:,{_CLUSTER_SUBNET})*")

_KEPT: Mapping[tuple[str, str], re.Pattern[str]] = {
    ("default", "mtu"): _NUMBER,
    ("default", "routable-mtu"): _NUMBER,
    ("default", "encap-type"): re.compile(r"geneve"),
    ("default", "encap-port"): _NUMBER,
    ("default", "conntrack-zone"): _NUMBER,
    ("default", "cluster-subnets"): _CLUSTER_SUBNETS,
    ("default", "enable-lflow-cache"): _BOOLEAN,
    ("default", "lflow-cache-limit"): _NUMBER,
    ("default", "lflow-cache-limit-kb"): _NUMBER,
    ("default", "enable-udp-aggregation"): _BOOLEAN,
    ("default", "inactivity-probe"): _NUMBER,
    ("default", "openflow-probe"): _NUMBER,
    ("default", "ofctrl-wait-before-clear"): _NUMBER,
    ("default", "monitor-all"): _BOOLEAN,
    ("kubernetes", "service-cidrs"): _SUBNETS,
    ("kubernetes", "ovn-config-namespace"): _NAME,
    ("kubernetes", "host-network-namespace"): _NAME,
    ("kubernetes", "platform-type"): _NAME,
    ("kubernetes", "dns-service-namespace"): _NAME,
    ("kubernetes", "dns-service-name"): _NAME,
    ("kubernetes", "ovn-empty-lb-events"): _BOOLEAN,
    ("kubernetes", "disable-requestedchassis"): _BOOLEAN,
    ("ovnkubernetesfeature", "egressip-node-healthcheck-port"): _NUMBER,
    ("ovnkubernetesfeature", "egressip-reachability-total-timeout"): _NUMBER,
    ("ovnkubernetesfeature", "advertised-udn-isolation-mode"): re.compile(r"strict|loose"),
    ("ovnkubernetesfeature", "allow-icmp-network-policy"): _BOOLEAN,
    ("clustermanager", "v4-transit-subnet"): _SUBNETS,
    ("clustermanager", "v6-transit-subnet"): _SUBNETS,
    ("gateway", "mode"): _MODE,
    ("gateway", "nodeport"): _BOOLEAN,
    ("gateway", "disable-snat-multiple-gws"): _BOOLEAN,
    ("gateway", "disable-pkt-mtu-check"): _BOOLEAN,
    ("gateway", "disable-forwarding"): _BOOLEAN,
    ("gateway", "v4-join-subnet"): _SUBNETS,
    ("gateway", "v6-join-subnet"): _SUBNETS,
    ("gateway", "v4-masquerade-subnet"): _SUBNETS,
    ("gateway", "v6-masquerade-subnet"): _SUBNETS,
    ("logging", "loglevel"): _NUMBER,
    ("logging", "acl-logging-rate-limit"): _NUMBER,
}
_FEATURE_SWITCH = re.compile(r"enable-[a-z0-9-]{1,60}")
_SECTION_LINE = re.compile(r"\[([a-z][a-z0-9]{0,40})\]")
_VALUE_LINE = re.compile(r"([A-Za-z][A-Za-z0-9-]{0,60})\s*=\s*(?:\"([^\"\\\x00-\x1f]*)\"|([^\"\\;#\x00-\x1f]*))")


class BadOvnkubeConf(ValueError):
    """What is wrong with the file, in one line."""


class HybridOverlayEnabled(BadOvnkubeConf):
    """The file asks for what no DPU can do."""


@dataclass(frozen=True, slots=True)
class OvnkubeConf:
    """What is kept, and what was left out."""

    values: tuple[tuple[str, str, str], ...]
    """Sorted triples of section, key, value."""
    dropped: tuple[str, ...]
    """`section/key` of what is not needed on a DPU or must not be there; sorted, the first 20."""


def parse_ovnkube_conf(text: str) -> OvnkubeConf:
    """Read the file.

    Guarantees: a kept value matches the pattern of its key; a value that does not is refused rather than dropped,
        because the DPU would then differ from the rest of its cluster without a word.
    Raises: BadOvnkubeConf.
    """
    found = _triples(text)
    if found.get(("hybridoverlay", "enabled"), "false") != "false":
        raise HybridOverlayEnabled("[hybridoverlay] enabled is not possible on a DPU")
    kept = [(section, key, value) for (section, key), value in sorted(found.items()) if _is_kept(section, key, value)]
    dropped = sorted(f"{section}/{key}" for section, key in found if _pattern(section, key) is None)
    if not kept:
        raise BadOvnkubeConf("holds no setting for a node")
    return OvnkubeConf(tuple(kept), tuple(dropped[:_MOST_DROPPED]))


def render_ovnkube_conf(conf: OvnkubeConf) -> str:
    """The file that pods read: sections and keys sorted, one blank line between sections."""
    sections: dict[str, list[str]] = {}
    for section, key, value in conf.values:
        sections.setdefault(section, [f"[{section}]"]).append(f"{key}={value}")
    return "\n\n".join("\n".join(lines) for lines in sections.values()) + "\n"


def _triples(text: str) -> dict[tuple[str, str], str]:
    if len(text) > SIZE_LIMIT_BYTES:
        raise BadOvnkubeConf(f"larger than {SIZE_LIMIT_BYTES // 1024} KiB")
    section: str | None = None
    found: dict[tuple[str, str], str] = {}
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip(" \t\r")
        if not line or line[0] in "#;":
            continue
        if (header := _SECTION_LINE.fullmatch(line)) is not None:
            section = header.group(1)
            continue
        place, value = _pair(number, section, line)
        if place in found:
            raise BadOvnkubeConf(f"line {number}: {quoted(place[1])} is set twice in [{place[0]}]")
        found[place] = value
    return found


def _pair(number: int, section: str | None, line: str) -> tuple[tuple[str, str], str]:
    match = _VALUE_LINE.fullmatch(line)
    if match is None or section is None:
        raise BadOvnkubeConf(f"line {number}: neither [section] nor key=value of a section")
    key, in_quotes, plain = match.groups()
    return (section, key.lower()), (plain.strip() if in_quotes is None else in_quotes)


def _pattern(section: str, key: str) -> re.Pattern[str] | None:
    if section == "ovnkubernetesfeature" and _FEATURE_SWITCH.fullmatch(key):
        return _BOOLEAN
    return _KEPT.get((section, key))


def _is_kept(section: str, key: str, value: str) -> bool:
    pattern = _pattern(section, key)
    if pattern is None:
        return False
    if pattern.fullmatch(value) is None:
        raise BadOvnkubeConf(f"[{section}] {key} has the value {quoted(value)}, which it cannot have")
    return True
