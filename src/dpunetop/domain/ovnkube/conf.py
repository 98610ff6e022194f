"""The tenant's `ovnkube.conf`: parsed as a strict INI file, and rendered with only what a DPU needs.

The file can also name log files, kubeconfigs, addresses to bind and flow collectors, and a privileged pod on the DPU
would obey it. So a key is kept only if the table of settings lists it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dpunetop.base.quoting import quoted
from dpunetop.domain.ovnkube.settingstable.conf import FEATURE_SWITCH, OVNKUBE_CONF
from dpunetop.domain.ovnkube.settingstable.rows import BOOLEAN, InConfigFile, RefusesTenant

SIZE_LIMIT_BYTES = 64 * 1024
_LONGEST_LINE = 4096
_BLANKS = " \t\r"
_SECTION_LINE = re.compile(r"\[([a-z][a-z0-9-]{0,40})\]")
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,60}")
_QUOTED = re.compile(r"\"([^\"\\\x00-\x1f]*)\"")
_PLAIN = re.compile(r"[^\"\\;#\x00-\x1f]*")


class BadOvnkubeConf(ValueError):
    """The file's fault, in one line."""


class SettingRefused(BadOvnkubeConf):
    """The file asks for something that no DPU can do. `reason` is that of a condition."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class OvnkubeConf:
    """The settings that pods may have, and the rest of the file."""

    values: tuple[tuple[str, str, str], ...]
    """Sorted triples of section, key, value."""
    left: tuple[tuple[str, str, str], ...]
    """The triples that pods do not get: not for a DPU, not followed, or not known. Values are unchanged."""


def parse_ovnkube_conf(text: str) -> OvnkubeConf:
    """Read a file that pods are to have.

    Guarantees: as `read_ovnkube_conf`; there is something to keep.
    Raises: BadOvnkubeConf.
    """
    conf = read_ovnkube_conf(text)
    if not conf.values:
        raise BadOvnkubeConf("holds no setting for a node")
    return conf


def read_ovnkube_conf(text: str) -> OvnkubeConf:
    """Read the file.

    Guarantees: a kept value matches the form of its key; a value that does not is refused rather than dropped, because
        the DPU would then silently differ from the rest of its cluster. Time is linear in the size.
    Raises: BadOvnkubeConf; SettingRefused.
    """
    kept: list[tuple[str, str, str]] = []
    left: list[tuple[str, str, str]] = []
    for (section, key), value in sorted(_triples(text).items()):
        (kept if _is_kept(section, key, value) else left).append((section, key, value))
    return OvnkubeConf(tuple(kept), tuple(left))


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
        line = raw.strip(_BLANKS)
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
    key, sign, text = line.partition("=")
    key, text = key.rstrip(_BLANKS), text.lstrip(_BLANKS)
    match = (_QUOTED if text.startswith('"') else _PLAIN).fullmatch(text) if len(text) <= _LONGEST_LINE else None
    if match is None or section is None or not sign or _KEY.fullmatch(key) is None:
        raise BadOvnkubeConf(f"line {number}: neither [section] nor key=value of a section")
    return (section, key.lower()), match.group(match.lastindex or 0)


def _is_kept(section: str, key: str, value: str) -> bool:
    name = f"{section}/{key}"
    row = OVNKUBE_CONF.get(name)
    if row is None:
        return FEATURE_SWITCH.fullmatch(name) is not None and _has_form(BOOLEAN, section, key, value)
    match row.verdict:
        case RefusesTenant(reason, why, harmless) if value not in harmless:
            raise SettingRefused(reason, f"[{section}] {key} is {quoted(value)}: {why}")
        case InConfigFile(form=form):
            return _has_form(form, section, key, value)
        case _:
            return False


def _has_form(form: re.Pattern[str], section: str, key: str, value: str) -> bool:
    if form.fullmatch(value) is None:
        raise BadOvnkubeConf(f"[{section}] {key} has the value {quoted(value)}, which it cannot have")
    return True
