"""Collects a tenant's settings: each is treated as its row in `settingstable` says, and one without a row is named."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from dpunetop.base.quoting import quoted
from dpunetop.domain.ovnkube.deployed import Deployed
from dpunetop.domain.ovnkube.release import Flavour, SettingsFinding
from dpunetop.domain.ovnkube.settingstable.rows import (
    AsOption,
    AsVariable,
    FixedOption,
    InConfigFile,
    NotFollowed,
    NotForDpu,
    Presence,
    ReadElsewhere,
    RefusesTenant,
    Row,
    Rows,
)

PARITY_UNKNOWN = "FeatureParityUnknown"
"""Reason: a setting of the tenant could not be found, or is not known here; the value deployed last holds, or ovnkube's
default."""
PARITY_DIFFERS = "FeatureParityDiffers"
"""Reason: a setting of the tenant is known, and not followed on purpose."""


@dataclass(frozen=True, slots=True)
class Audit:
    """Where the audit log of ACLs goes, and how much of it is kept."""

    syslog_method: str = "null"
    facility: str = "local0"
    most_megabytes: int = 50
    most_files: int = 5


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """The settings in the DaemonSet of an interconnect tenant."""

    flavour: Flavour
    arguments: tuple[str, ...]
    """Options of ovnkube, `--name` or `--name=value`; sorted. The entry script leaves out what its image lacks."""
    encap_port: int = 6081
    inactivity_probe_ms: int = 30000
    northd_probe_ms: int = 10000
    northd_backoff_ms: int = 0
    audit: Audit = Audit()


@dataclass(frozen=True, slots=True)
class SettingsReading:
    """The outcome. With `impossible` there are no settings, and running pods stay as they are."""

    settings: NodeSettings | None
    impossible: tuple[SettingsFinding, ...] = ()
    """Settings that cannot work on a DPU, or cannot be read at all."""
    parity: tuple[SettingsFinding, ...] = ()
    """How the zones on DPUs may differ from their neighbours."""


_MOST_UNKNOWN = 10
_LONGEST_NAME = 90
_NETWORK_LIST = re.compile(r"[0-9A-Fa-f:.,/]{1,400}")
_GIVEN_DEFAULTS: Mapping[str, str] = {
    "OVN_ENCAP_PORT": "6081",
    "OVN_CONTROLLER_INACTIVITY_PROBE": "30000",
    "OVN_NORTHD_PROBE_INTERVAL": "10000",
    "OVN_NORTHD_BACKOFF_MS": "0",
    "OVN_AUDIT_SYSLOG_METHOD": "null",
    "OVN_AUDIT_FACILITY": "local0",
    "OVN_AUDIT_MOST_MEGABYTES": "50",
    "OVN_AUDIT_MOST_FILES": "5",
}


class SettingsReader:
    """Collects one result in its fields."""

    def __init__(self, deployed: Deployed) -> None:
        self.options: dict[str, str] = {}  # name -> value, "" of a switch
        self.given: dict[str, str] = {}  # variable of the pods -> value
        self._last_options = {
            name: value for name, _, value in (text[2:].partition("=") for text in deployed.arguments)
        }
        self._last_given = deployed.variables
        self._impossible: list[SettingsFinding] = []
        self._missing: list[str] = []
        self._unknown: set[str] = set()
        self._differs: list[SettingsFinding] = []

    def follow(self, what: str, row: Row, text: str | None) -> None:
        """Treat a setting as its row says; `what` names it in messages. `text` None: the tenant does not set it."""
        match row.verdict:
            case AsOption() | AsVariable() as verdict if text is None and row.presence is Presence.ALWAYS:
                self.miss(what, verdict)
            case AsOption() as verdict:
                self._hand(what, verdict, text or verdict.default)
            case AsVariable() as verdict:
                self._give(what, verdict, text or verdict.default)
            case InConfigFile(unlike=unlike, why=why):
                if text in unlike:
                    self.differs(what, text, why)
            case NotFollowed(why, harmless):
                if text is not None and text not in harmless:
                    self.differs(what, text, why)
            case RefusesTenant(reason, why, harmless):
                if text is not None and text not in harmless:
                    self.refuse(reason, f"the tenant's {what} is {quoted(text)}: {why}")
            case FixedOption() | ReadElsewhere() | NotForDpu():
                pass
            case unreachable:
                assert_never(unreachable)

    def _hand(self, what: str, verdict: AsOption, text: str) -> None:
        if verdict.form is None:
            if text == "true":
                self.options.update(dict.fromkeys(verdict.options, ""))
            elif text not in ("", "false"):
                self.miss(what, verdict)
        elif verdict.form.fullmatch(text):
            self.options.update(dict.fromkeys(verdict.options, text))
        elif text:
            self.miss(what, verdict)

    def _give(self, what: str, verdict: AsVariable, text: str) -> None:
        if verdict.form.fullmatch(text):
            self.given[verdict.variable] = text
        elif text and verdict.otherwise:
            self.differs(what, text, verdict.otherwise)
        elif text:
            self.miss(what, verdict)

    def miss(self, what: str, *verdicts: AsOption | AsVariable) -> None:
        """A setting that cannot be found is named, and stays as deployed."""
        self._missing.append(what)
        for verdict in verdicts:
            match verdict:
                case AsOption(options=options):
                    self.options.update(
                        {name: self._last_options[name] for name in options if name in self._last_options}
                    )
                case AsVariable(variable=variable, form=form):
                    if form.fullmatch(last := self._last_given.get(variable, "")):
                        self.given[variable] = last

    def unknown(self, kind: str, name: str) -> None:
        """Note a setting that no row lists."""
        self._unknown.add(f"{kind} {quoted(name, _LONGEST_NAME)}")

    def differs(self, what: str, text: str, why: str) -> None:
        """Note a setting of the tenant that its DPUs do not follow."""
        self._differs.append(SettingsFinding(PARITY_DIFFERS, f"the tenant's {what} is {quoted(text)}; {why}"))

    def refuse(self, reason: str, message: str) -> None:
        """Note a setting that no DPU can have."""
        self._impossible.append(SettingsFinding(reason, message))

    def check_networks(self, what: str, value: str) -> bool:
        """Whether a list of subnets, with or without a host prefix, is one that a DPU can have."""
        found = [_network(part) for part in value.split(",")] if _NETWORK_LIST.fullmatch(value) else [None]
        if any(network is None for network in found):
            self.refuse("OvnkubeConfInvalid", f"the tenant's {what} is {quoted(value)}, which is no list of subnets")
        elif any(isinstance(network, ipaddress.IPv6Network) for network in found):
            self.refuse("IPv6NotSupported", f"the tenant's {what} has IPv6 subnets; a DPU serves IPv4 only")
        else:
            return True
        return False

    def parity(self) -> tuple[SettingsFinding, ...]:
        """How DPUs may differ; settings that are not understood come first."""
        found = list(self._differs)
        if self._unknown:
            names = sorted(self._unknown)
            more = f" and {len(names) - _MOST_UNKNOWN} more" if len(names) > _MOST_UNKNOWN else ""
            words = f"not known here: {', '.join(names[:_MOST_UNKNOWN])}{more}"
            words += " (of these only switches of features are followed)"
            found.insert(0, SettingsFinding(PARITY_UNKNOWN, words))
        if self._missing:
            names = sorted(set(self._missing))
            words = (
                f"not found in the tenant: {', '.join(names)}; kept as last deployed, else as ovnkube has it by default"
            )
            found.insert(0, SettingsFinding(PARITY_UNKNOWN, words))
        return tuple(found)

    def result(self, flavour: Flavour, table: Rows) -> SettingsReading:
        """The result, with the options that every DPU of that flavour gets."""
        if self._impossible:
            return SettingsReading(None, tuple(self._impossible), self.parity())
        fixed = {row.name: row.verdict.value for row in table.values() if isinstance(row.verdict, FixedOption)}
        return SettingsReading(self._settings(flavour, {**self.options, **fixed}), (), self.parity())

    def _settings(self, flavour: Flavour, options: Mapping[str, str]) -> NodeSettings:
        given = {**_GIVEN_DEFAULTS, **self.given}
        return NodeSettings(
            flavour=flavour,
            arguments=tuple(sorted(f"--{name}={value}" if value else f"--{name}" for name, value in options.items())),
            encap_port=int(given["OVN_ENCAP_PORT"]),
            inactivity_probe_ms=int(given["OVN_CONTROLLER_INACTIVITY_PROBE"]),
            northd_probe_ms=int(given["OVN_NORTHD_PROBE_INTERVAL"]),
            northd_backoff_ms=int(given["OVN_NORTHD_BACKOFF_MS"]),
            audit=Audit(
                syslog_method=given["OVN_AUDIT_SYSLOG_METHOD"],
                facility=given["OVN_AUDIT_FACILITY"],
                most_megabytes=max(1, int(given["OVN_AUDIT_MOST_MEGABYTES"])),
                most_files=max(1, int(given["OVN_AUDIT_MOST_FILES"])),
            ),
        )


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    # The third part, if there is one, is the length of a host's prefix.
    parts = text.split("/")
    try:
        network = ipaddress.ip_network("/".join(parts[:2]), strict=False)
        fits = len(parts) == 2 or (len(parts) == 3 and network.prefixlen < int(parts[2]) <= network.max_prefixlen)
    except ValueError:
        return None
    return network if fits else None
