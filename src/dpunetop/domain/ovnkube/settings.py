"""The settings that the half of OVN-Kubernetes on a DPU shares with its tenant.

The process on the DPU is the zone of its tenant host, so it must be set as the tenant's own zones are, or it behaves
differently from its neighbours. Where a setting stands depends on flavour and release: in `ovnkube.conf`, of which
pods mount a parsed and rendered copy; as a literal in the script library; in the environment of the tenant's
DaemonSets. The table in `settingstable` says what becomes of each; what it does not list is named. All of it comes
from the tenant: what comes out is a listed option with a value of a listed form.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import assert_never

from dpunetop.base.quoting import quoted
from dpunetop.domain.names import (
    OVN_CONFIG,
    OVNKUBE_CONFIG,
    OVNKUBE_CONTROLLER,
    OVNKUBE_NODE,
    OVNKUBE_NODE_DPU_HOST,
    OVNKUBE_SCRIPT_LIB,
)
from dpunetop.domain.ovnkube.conf import BadOvnkubeConf, OvnkubeConf, SettingRefused, read_ovnkube_conf
from dpunetop.domain.ovnkube.release import Flavour, Release, SettingsFinding, commands, containers, variables
from dpunetop.domain.ovnkube.scriptlib import Said, read_library
from dpunetop.domain.ovnkube.settingstable import openshift, upstream
from dpunetop.domain.ovnkube.settingstable.conf import OVNKUBE_CONF, option_of
from dpunetop.domain.ovnkube.settingstable.rows import (
    AlwaysGiven,
    Given,
    Handed,
    Kept,
    NotFollowed,
    NotForDpu,
    Presence,
    RefusesTenant,
    Row,
    Rows,
    SaidBy,
    expected,
)
from dpunetop.kube.meta import Obj
from dpunetop.kube.shapes import at

PARITY_UNKNOWN = "FeatureParityUnknown"
"""Reason: a setting of the tenant could not be found, or is not known here; what was deployed last, or ovnkube's
default, holds."""
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
    """What the DaemonSet of an interconnect tenant is written with."""

    flavour: Flavour
    arguments: tuple[str, ...]
    """Options of ovnkube, `--name` or `--name=value`; sorted. The entry script leaves out what its image lacks."""
    encap_port: int = 6081
    inactivity_probe_ms: int = 30000
    northd_probe_ms: int = 10000
    northd_backoff_ms: int = 0
    audit: Audit = Audit()


@dataclass(frozen=True, slots=True)
class Deployed:
    """What the DPUs run with now: it holds where the tenant says nothing that is understood."""

    arguments: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SettingsView:
    """What the tenant shows. None: known to be absent."""

    flavour: Flavour
    release: Release | None
    tenant_namespace: str
    config_map: Obj | None
    """ConfigMap `ovnkube-config`."""
    script_lib: Obj | None
    """ConfigMap `ovnkube-script-lib`."""
    node_daemonset: Obj | None
    """DaemonSet `ovnkube-node`."""
    host_daemonset: Obj | None
    """DaemonSet `ovnkube-node-dpu-host`."""
    chart_config_map: Obj | None = None
    """ConfigMap `ovn-config`, which only the chart of OVN-Kubernetes itself has."""
    deployed: Deployed = Deployed()


@dataclass(frozen=True, slots=True)
class SettingsReading:
    """The outcome. With `impossible` there are no settings, and what runs is to be kept as it is."""

    settings: NodeSettings | None
    impossible: tuple[SettingsFinding, ...] = ()
    """What cannot work on a DPU, or cannot be read at all."""
    parity: tuple[SettingsFinding, ...] = ()
    """How the zones on DPUs may differ from their neighbours."""


def read_settings(view: SettingsView) -> SettingsReading:
    """Gather the settings.

    Guarantees: equal meaning gives equal settings, whatever the order of anything in the tenant; a setting that cannot
        be found keeps the value it was last deployed with, so that a library with another wording restarts no pod;
        nothing that the tenant sets goes without a row of the table or a finding that names it.
    """
    reader = _Reader(view.deployed)
    if view.flavour is Flavour.OPENSHIFT:
        _read_openshift(reader, view)
        return reader.result(Flavour.OPENSHIFT, openshift.OPTIONS)
    _read_upstream(reader, view)
    return reader.result(Flavour.UPSTREAM, upstream.OPTIONS)


def conf_parity(config_map: Obj | None) -> tuple[SettingsFinding, ...]:
    """How DPUs may differ from a tenant that says all of its settings in `ovnkube.conf`.

    Guarantees: of a file that cannot be read nothing is said, because its copy is not written either.
    """
    reader = _Reader(Deployed())
    if (conf := _conf(reader, config_map)) is not None:
        _follow_conf(reader, conf)
    return reader.parity()


def deployed_settings(live: Obj | None) -> Deployed:
    """What a live DaemonSet of ours was written with."""
    found = {name: text for name, each in variables(live).items() if isinstance(text := each.get("value"), str)}
    return Deployed(deployed_arguments(live), found)


def deployed_arguments(live: Obj | None) -> tuple[str, ...]:
    """The options in a live DaemonSet of ours: what was deployed last."""
    spec = ((live or {}).get("spec") or {}).get("template", {}).get("spec") or {}
    for container in spec.get("containers") or []:
        if container.get("name") == OVNKUBE_CONTROLLER:
            return tuple(container.get("args") or ())
    return ()


class Renewal(Enum):
    """Whether DPUs renew a Lease that their hosts go by, as far as they were told."""

    NEVER = auto()
    """They were told not to."""
    ALWAYS = auto()
    """They were told how often."""
    UNKNOWN = auto()
    """They were told nothing, and do what their release does."""


def deployed_renewal(live: Obj | None) -> Renewal:
    """What a live DaemonSet of ours tells the DPUs about Leases."""
    option = f"--{_LEASE_OPTIONS[0]}="
    said = [text.removeprefix(option) for text in deployed_arguments(live) if text.startswith(option)]
    if not said:
        return Renewal.UNKNOWN
    return Renewal.NEVER if said == ["0"] else Renewal.ALWAYS


def is_without_leases(release: Release | None) -> bool:
    """Whether hosts of that release are known to go by no Lease, unless their DPUs are told of one."""
    return release is not None and release.flavour is Flavour.OPENSHIFT and release.version < _FIRST_WITH_LEASE


_FIRST_WITH_LEASE = (4, 23)
"""From this release of OpenShift on hosts watch a Lease that their DPU renews."""
_NEWEST = (99, 0)
"""What a tenant whose release is not known is read as."""
_CONF_KEY = "ovnkube.conf"
_MOST_UNKNOWN = 10
_LONGEST_NAME = 90
_NUMBER = re.compile(r"[0-9]{1,8}")
_NETWORK_LIST = re.compile(r"[0-9A-Fa-f:.,/]{1,400}")
_LEASE_INTERVAL = re.compile(r"[A-Z0-9_]*LEASE_RENEW_INTERVAL")
_LEASE_DURATION = re.compile(r"[A-Z0-9_]*LEASE_DURATION")
_LEASE_OPTIONS = ("dpu-node-lease-renew-interval", "dpu-node-lease-duration")
_OF_ENTRY_SCRIPT = frozenset({"gateway-mode", "inactivity-probe", "loglevel"})
_NETWORKS: Mapping[str, str] = {"OVN_NET_CIDR": "cluster-subnets", "OVN_SVC_CIDR": "k8s-service-cidrs"}
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


class _Reader:
    """One reading; the fields are its result as it grows."""

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
        """Do with a setting as its row says; `what` names it in messages, None: the tenant does not say it."""
        match row.verdict:
            case Handed() | Given() as verdict if text is None and row.presence is Presence.ALWAYS:
                self.miss(what, verdict)
            case Handed() as verdict:
                self._hand(what, verdict, text or verdict.default)
            case Given() as verdict:
                self._give(what, verdict, text or verdict.default)
            case Kept(unlike=unlike, why=why):
                if text in unlike:
                    self.differs(what, text, why)
            case NotFollowed(why, harmless):
                if text is not None and text not in harmless:
                    self.differs(what, text, why)
            case RefusesTenant(reason, why, harmless):
                if text is not None and text not in harmless:
                    self.refuse(reason, f"the tenant's {what} is {quoted(text)}: {why}")
            case AlwaysGiven() | SaidBy() | NotForDpu():
                pass
            case unreachable:
                assert_never(unreachable)

    def _hand(self, what: str, verdict: Handed, text: str) -> None:
        if verdict.form is None:
            if text == "true":
                self.options.update(dict.fromkeys(verdict.options, ""))
            elif text not in ("", "false"):
                self.miss(what, verdict)
        elif verdict.form.fullmatch(text):
            self.options.update(dict.fromkeys(verdict.options, text))
        elif text:
            self.miss(what, verdict)

    def _give(self, what: str, verdict: Given, text: str) -> None:
        if verdict.form.fullmatch(text):
            self.given[verdict.variable] = text
        elif text and verdict.otherwise:
            self.differs(what, text, verdict.otherwise)
        elif text:
            self.miss(what, verdict)

    def miss(self, what: str, *verdicts: Handed | Given) -> None:
        """What cannot be found is named, and stays as it was deployed."""
        self._missing.append(what)
        for verdict in verdicts:
            match verdict:
                case Handed(options=options):
                    self.options.update(
                        {name: self._last_options[name] for name in options if name in self._last_options}
                    )
                case Given(variable=variable, form=form):
                    if form.fullmatch(last := self._last_given.get(variable, "")):
                        self.given[variable] = last

    def unknown(self, kind: str, name: str) -> None:
        """What no row lists."""
        self._unknown.add(f"{kind} {quoted(name, _LONGEST_NAME)}")

    def differs(self, what: str, text: str, why: str) -> None:
        """What is set in the tenant and not on its DPUs."""
        self._differs.append(SettingsFinding(PARITY_DIFFERS, f"the tenant's {what} is {quoted(text)}; {why}"))

    def refuse(self, reason: str, message: str) -> None:
        """What cannot be on a DPU."""
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
        """How DPUs may differ; what is not understood comes first."""
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
        """What was read, with the options that every DPU of that flavour is handed."""
        if self._impossible:
            return SettingsReading(None, tuple(self._impossible), self.parity())
        fixed = {row.name: row.verdict.value for row in table.values() if isinstance(row.verdict, AlwaysGiven)}
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
    # The last of three parts, where there is one, is the length of a host's prefix.
    parts = text.split("/")
    try:
        network = ipaddress.ip_network("/".join(parts[:2]), strict=False)
        fits = len(parts) == 2 or (len(parts) == 3 and network.prefixlen < int(parts[2]) <= network.max_prefixlen)
    except ValueError:
        return None
    return network if fits else None


def _read_openshift(reader: _Reader, view: SettingsView) -> None:
    version = _NEWEST if view.release is None else view.release.version
    what = f"the tenant's ConfigMap {OVNKUBE_CONFIG}"
    if _text(view.config_map, _CONF_KEY) is None:
        reader.refuse("OvnkubeConfMissing", f"{what} has no {_CONF_KEY}")
    elif (conf := _conf(reader, view.config_map)) is not None:
        _read_conf(reader, conf)
    _read_library(reader, view, version)
    config_maps = {OVNKUBE_CONFIG: view.config_map}
    _name_keys(reader, openshift.KEYS, config_maps)
    host = _resolved(reader, openshift.VARIABLES, view.host_daemonset, config_maps)
    node = _resolved(reader, openshift.VARIABLES, view.node_daemonset, config_maps)
    _follow_variables(reader, openshift.VARIABLES, {**host, **node})
    _name_unknown(reader, openshift.VARIABLES, view)
    _read_lease(reader, version >= _FIRST_WITH_LEASE, host)


def _conf(reader: _Reader, config_map: Obj | None) -> OvnkubeConf | None:
    text = _text(config_map, _CONF_KEY)
    what = f"the tenant's ConfigMap {OVNKUBE_CONFIG}"
    try:
        return None if text is None else read_ovnkube_conf(text)
    except SettingRefused as problem:
        reader.refuse(problem.reason, f"{what}: {problem}")
    except BadOvnkubeConf as problem:
        reader.refuse("OvnkubeConfInvalid", f"{what}: {problem}")
    return None


def _follow_conf(reader: _Reader, conf: OvnkubeConf) -> None:
    for section, key, value in (*conf.values, *conf.left):
        row = OVNKUBE_CONF.get(f"{section}/{key}")
        if row is None:
            reader.unknown("ovnkube.conf key", f"{section}/{key}")
        else:
            reader.follow(f"[{section}] {key}", row, value)


def _read_conf(reader: _Reader, conf: OvnkubeConf) -> None:
    values = {(section, key): value for section, key, value in conf.values}
    for section, *keys in (("default", "cluster-subnets"), ("kubernetes", "service-cidrs", "service-cidr")):
        said = [key for key in keys if (section, key) in values]
        for key in said:
            reader.check_networks(f"{key} of [{section}]", values[section, key])
        if not said:
            reader.miss(f"{keys[0]} of [{section}]")
    _follow_conf(reader, conf)
    _read_port(reader, values.get(("default", "encap-port")))


def _read_library(reader: _Reader, view: SettingsView, version: tuple[int, int]) -> None:
    wanted = {row.name for row in expected(openshift.OPTIONS, version)}
    text = _text(view.script_lib, "ovnkube-lib.sh")
    library = read_library(text, openshift.OPTIONS) if text is not None else None
    if library is None:
        what = f"ConfigMap {OVNKUBE_SCRIPT_LIB}, for {', '.join(sorted(wanted))}"
        followed = (*openshift.OPTIONS.values(), *openshift.LITERALS.values())
        reader.miss(what, *(row.verdict for row in followed if isinstance(row.verdict, Handed | Given)))
        return
    for name, row in openshift.OPTIONS.items():
        _read_option(reader, row, library.options.get(name), name in wanted)
    for name in library.others:
        reader.unknown("option", f"--{name}")
    texts = (commands(view.node_daemonset), library.active)
    for row in openshift.LITERALS.values():
        if row.spellings:
            reader.follow(f"{row.name} of {OVNKUBE_SCRIPT_LIB}", row, _literal(row, texts))


def _read_option(reader: _Reader, row: Row, said: str | Said | None, wanted: bool) -> None:
    if not isinstance(row.verdict, Handed):
        return
    if isinstance(said, str):
        reader.options[row.name] = said
    elif said is None and wanted:
        reader.miss(row.name, row.verdict)


def _literal(row: Row, texts: Iterable[str]) -> str | None:
    """The value of a literal: the first way to spell it that occurs anywhere counts."""
    found = (match for spelling in row.spellings for text in texts if (match := spelling.search(text)))
    first = next(found, None)
    return None if first is None else first.group(1)


def _follow_variables(reader: _Reader, table: Rows, environment: Mapping[str, str]) -> None:
    for name, row in table.items():
        reader.follow(name, row, environment.get(name))


def _name_unknown(reader: _Reader, table: Rows, view: SettingsView) -> None:
    """Name variables that no row lists, and environments that come as a whole from where they are not seen."""
    for daemonset in (view.node_daemonset, view.host_daemonset):
        for name in variables(daemonset):
            if name not in table and not _LEASE_INTERVAL.fullmatch(name) and not _LEASE_DURATION.fullmatch(name):
                reader.unknown("variable", name)
    for name, daemonset in ((OVNKUBE_NODE, view.node_daemonset), (OVNKUBE_NODE_DPU_HOST, view.host_daemonset)):
        if any(container.get("envFrom") for container in containers(daemonset)):
            reader.unknown("envFrom of", name)


def _read_lease(reader: _Reader, expected: bool, environment: Mapping[str, str]) -> None:
    """Both sides must agree. Without a number nothing is passed on: hosts then go by the default of their release, and
    so does a DPU; a DPU told to renew no lease would take the network from a host that watches one."""
    interval = _only(_LEASE_INTERVAL, environment)
    duration = _only(_LEASE_DURATION, environment)
    if interval is None or duration is None or 0 < duration <= interval:
        if expected:
            reader.miss(f"lease numbers in DaemonSet {OVNKUBE_NODE_DPU_HOST}", Handed(_LEASE_OPTIONS))
    elif not interval or not duration:
        reader.options[_LEASE_OPTIONS[0]] = "0"
    else:
        reader.options[_LEASE_OPTIONS[0]] = str(interval)
        reader.options[_LEASE_OPTIONS[1]] = str(duration)


def _only(pattern: re.Pattern[str], environment: Mapping[str, str]) -> int | None:
    """The number in the one variable whose name matches; None if there is no such, or not one."""
    values = [value for name, value in environment.items() if pattern.fullmatch(name)]
    return int(values[0]) if len(values) == 1 and _NUMBER.fullmatch(values[0]) else None


def _read_port(reader: _Reader, text: str | None) -> None:
    if text is None:
        return
    if not 0 < int(text) < 65536:
        reader.refuse("OvnkubeConfInvalid", f"the tenant's encap-port {quoted(text)} is no port")
    reader.given["OVN_ENCAP_PORT"] = text


def _text(config_map: Obj | None, key: str) -> str | None:
    data = (config_map or {}).get("data")
    text = data.get(key) if isinstance(data, Mapping) else None
    return text if isinstance(text, str) else None


def _read_upstream(reader: _Reader, view: SettingsView) -> None:
    if (conf := _conf(reader, view.config_map)) is not None:
        _hand_on_conf(reader, conf)
    config_maps = {OVNKUBE_CONFIG: view.config_map, OVN_CONFIG: view.chart_config_map}
    _name_keys(reader, upstream.KEYS, config_maps)
    environment = _resolved(reader, upstream.VARIABLES, view.node_daemonset, config_maps)
    reader.options["ovn-config-namespace"] = view.tenant_namespace
    for name, option in _NETWORKS.items():
        text = environment.get(name)
        if not text:
            where = f"DaemonSet {OVNKUBE_NODE}, with ConfigMap {OVN_CONFIG},"
            reader.refuse("OvnkubeConfMissing", f"the tenant's {where} does not say {name}")
        elif reader.check_networks(name, text):
            reader.options[option] = text
    _follow_variables(reader, upstream.VARIABLES, environment)
    _read_port(reader, reader.options.get("encap-port"))
    _name_unknown(reader, upstream.VARIABLES, view)
    host = _resolved(reader, upstream.VARIABLES, view.host_daemonset, config_maps)
    if _only(_LEASE_INTERVAL, host) is not None:
        _read_lease(reader, True, host)


def _hand_on_conf(reader: _Reader, conf: OvnkubeConf) -> None:
    """Pods of this flavour mount no file, so what it says is handed on; variables come later and win, as they do in
    the tenant, where they become options too."""
    _follow_conf(reader, conf)
    for section, key, value in conf.values:
        name = f"{section}/{key}"
        option = option_of(name) if name in OVNKUBE_CONF else key
        if option not in _OF_ENTRY_SCRIPT:
            reader.options[option] = "" if value == "true" else value


def _resolved(
    reader: _Reader, table: Rows, daemonset: Obj | None, config_maps: Mapping[str, Obj | None]
) -> Mapping[str, str]:
    """Environment of a DaemonSet, with what it takes from ConfigMaps that are read."""
    found: dict[str, str] = {}
    for name, variable in variables(daemonset).items():
        text, reference = variable.get("value"), at(variable, "valueFrom", "configMapKeyRef")
        of = str(reference.get("name")) if isinstance(reference, Mapping) else ""
        if isinstance(reference, Mapping) and of in config_maps:
            text = _text(config_maps[of], str(reference.get("key")))
        elif variable.get("valueFrom") is not None and name in table and not _is_own(table[name]):
            reader.miss(f"{name}, which comes from where it is not read")
        if isinstance(text, str):
            found[name] = text
    return found


def _is_own(row: Row) -> bool:
    """Whether a DPU says it for itself."""
    return isinstance(row.verdict, AlwaysGiven | SaidBy | NotForDpu)


def _name_keys(reader: _Reader, table: Rows, config_maps: Mapping[str, Obj | None]) -> None:
    for name, config_map in config_maps.items():
        data = (config_map or {}).get("data")
        for key in data if isinstance(data, Mapping) else ():
            if f"{name}/{key}" not in table:
                reader.unknown("ConfigMap key", f"{name}/{key}")
