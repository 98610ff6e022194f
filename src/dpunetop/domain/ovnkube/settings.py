"""The settings that the half of OVN-Kubernetes on a DPU shares with its tenant.

The process on the DPU is the zone of its tenant host, so it needs the settings of the tenant's own zones, or it behaves
differently from its neighbours. The place of a setting depends on flavour and release: in `ovnkube.conf`, of which pods
mount a parsed and rendered copy; as a literal in the script library; or in the environment of the tenant's DaemonSets.
The table in `settingstable` decides about each; a setting that it does not list is named. The tenant is not trusted:
the result has only listed options, with values of a listed form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dpunetop.base.quoting import quoted
from dpunetop.domain.names import (
    OVN_CONFIG,
    OVNKUBE_CONFIG,
    OVNKUBE_NODE,
    OVNKUBE_NODE_DPU_HOST,
    OVNKUBE_SCRIPT_LIB,
)
from dpunetop.domain.ovnkube.conf import BadOvnkubeConf, OvnkubeConf, SettingRefused, read_ovnkube_conf
from dpunetop.domain.ovnkube.deployed import FIRST_WITH_LEASE, LEASE_OPTIONS, Deployed
from dpunetop.domain.ovnkube.release import Flavour, Release, SettingsFinding, commands, containers, variables
from dpunetop.domain.ovnkube.scriptlib import Said, read_library
from dpunetop.domain.ovnkube.settingsreader import (
    SettingsReader,
    SettingsReading,
)
from dpunetop.domain.ovnkube.settingstable import openshift, upstream
from dpunetop.domain.ovnkube.settingstable.conf import OVNKUBE_CONF, option_of
from dpunetop.domain.ovnkube.settingstable.rows import (
    AsOption,
    AsVariable,
    FixedOption,
    NotForDpu,
    ReadElsewhere,
    Row,
    Rows,
    expected,
)
from dpunetop.kube.meta import Obj
from dpunetop.kube.shapes import at


@dataclass(frozen=True, slots=True)
class SettingsView:
    """The tenant's objects that hold settings. None: known to be absent."""

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
    deployed: Deployed = field(default_factory=Deployed)


def read_settings(view: SettingsView) -> SettingsReading:
    """Read the settings.

    Guarantees: equal meaning gives equal settings, whatever the order of anything in the tenant; a setting that cannot
        be found keeps the value it was last deployed with, so that a library with another wording restarts no pod;
        every setting of the tenant has a row of the table or a finding that names it.
    """
    reader = SettingsReader(view.deployed)
    if view.flavour is Flavour.OPENSHIFT:
        _read_openshift(reader, view)
        return reader.result(Flavour.OPENSHIFT, openshift.OPTIONS)
    _read_upstream(reader, view)
    return reader.result(Flavour.UPSTREAM, upstream.OPTIONS)


def conf_parity(config_map: Obj | None) -> tuple[SettingsFinding, ...]:
    """How DPUs may differ from a tenant that has all of its settings in `ovnkube.conf`.

    Guarantees: a file that cannot be read gives no finding, because its copy is not written either.
    """
    reader = SettingsReader(Deployed())
    if (conf := _conf(reader, config_map)) is not None:
        _follow_conf(reader, conf)
    return reader.parity()


_NEWEST = (99, 0)
"""Stands for a release that is not known."""
_CONF_KEY = "ovnkube.conf"
_NUMBER = re.compile(r"[0-9]{1,8}")
_LEASE_INTERVAL = re.compile(r"[A-Z0-9_]*LEASE_RENEW_INTERVAL")
_LEASE_DURATION = re.compile(r"[A-Z0-9_]*LEASE_DURATION")
_OF_ENTRY_SCRIPT = frozenset({"gateway-mode", "inactivity-probe", "loglevel"})
_NETWORKS: Mapping[str, str] = {"OVN_NET_CIDR": "cluster-subnets", "OVN_SVC_CIDR": "k8s-service-cidrs"}


def _read_openshift(reader: SettingsReader, view: SettingsView) -> None:
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
    _read_lease(reader, version >= FIRST_WITH_LEASE, host)


def _conf(reader: SettingsReader, config_map: Obj | None) -> OvnkubeConf | None:
    text = _text(config_map, _CONF_KEY)
    what = f"the tenant's ConfigMap {OVNKUBE_CONFIG}"
    try:
        return None if text is None else read_ovnkube_conf(text)
    except SettingRefused as problem:
        reader.refuse(problem.reason, f"{what}: {problem}")
    except BadOvnkubeConf as problem:
        reader.refuse("OvnkubeConfInvalid", f"{what}: {problem}")
    return None


def _follow_conf(reader: SettingsReader, conf: OvnkubeConf) -> None:
    for section, key, value in (*conf.values, *conf.left):
        row = OVNKUBE_CONF.get(f"{section}/{key}")
        if row is None:
            reader.unknown("ovnkube.conf key", f"{section}/{key}")
        else:
            reader.follow(f"[{section}] {key}", row, value)


def _read_conf(reader: SettingsReader, conf: OvnkubeConf) -> None:
    values = {(section, key): value for section, key, value in conf.values}
    for section, *keys in (("default", "cluster-subnets"), ("kubernetes", "service-cidrs", "service-cidr")):
        said = [key for key in keys if (section, key) in values]
        for key in said:
            reader.check_networks(f"{key} of [{section}]", values[section, key])
        if not said:
            reader.miss(f"{keys[0]} of [{section}]")
    _follow_conf(reader, conf)
    _read_port(reader, values.get(("default", "encap-port")))


def _read_library(reader: SettingsReader, view: SettingsView, version: tuple[int, int]) -> None:
    wanted = {row.name for row in expected(openshift.OPTIONS, version)}
    text = _text(view.script_lib, "ovnkube-lib.sh")
    library = read_library(text, openshift.OPTIONS) if text is not None else None
    if library is None:
        what = f"ConfigMap {OVNKUBE_SCRIPT_LIB}, for {', '.join(sorted(wanted))}"
        followed = (*openshift.OPTIONS.values(), *openshift.LITERALS.values())
        reader.miss(what, *(row.verdict for row in followed if isinstance(row.verdict, AsOption | AsVariable)))
        return
    for name, row in openshift.OPTIONS.items():
        _read_option(reader, row, library.options.get(name), name in wanted)
    for name in library.others:
        reader.unknown("option", f"--{name}")
    texts = (commands(view.node_daemonset), library.active)
    for row in openshift.LITERALS.values():
        if row.spellings:
            reader.follow(f"{row.name} of {OVNKUBE_SCRIPT_LIB}", row, _literal(row, texts))


def _read_option(reader: SettingsReader, row: Row, said: str | Said | None, wanted: bool) -> None:
    if not isinstance(row.verdict, AsOption):
        return
    if isinstance(said, str):
        reader.options[row.name] = said
    elif said is None and wanted:
        reader.miss(row.name, row.verdict)


def _literal(row: Row, texts: Iterable[str]) -> str | None:
    """The value of a literal: the first of its spellings that occurs anywhere counts."""
    found = (match for spelling in row.spellings for text in texts if (match := spelling.search(text)))
    first = next(found, None)
    return None if first is None else first.group(1)


def _follow_variables(reader: SettingsReader, table: Rows, environment: Mapping[str, str]) -> None:
    for name, row in table.items():
        reader.follow(name, row, environment.get(name))


def _name_unknown(reader: SettingsReader, table: Rows, view: SettingsView) -> None:
    """Name variables that no row lists, and environments that come as a whole from objects that are not read."""
    for daemonset in (view.node_daemonset, view.host_daemonset):
        for name in variables(daemonset):
            if name not in table and not _LEASE_INTERVAL.fullmatch(name) and not _LEASE_DURATION.fullmatch(name):
                reader.unknown("variable", name)
    for name, daemonset in ((OVNKUBE_NODE, view.node_daemonset), (OVNKUBE_NODE_DPU_HOST, view.host_daemonset)):
        if any(container.get("envFrom") for container in containers(daemonset)):
            reader.unknown("envFrom of", name)


def _read_lease(reader: SettingsReader, expected: bool, environment: Mapping[str, str]) -> None:
    """Host and DPU must agree. Without a number no option is given: host and DPU then use the default of their release.
    A DPU with an option to renew no Lease would take the network from a host that watches one."""
    interval = _only(_LEASE_INTERVAL, environment)
    duration = _only(_LEASE_DURATION, environment)
    if interval is None or duration is None or 0 < duration <= interval:
        if expected:
            reader.miss(f"lease numbers in DaemonSet {OVNKUBE_NODE_DPU_HOST}", AsOption(LEASE_OPTIONS))
    elif not interval or not duration:
        reader.options[LEASE_OPTIONS[0]] = "0"
    else:
        reader.options[LEASE_OPTIONS[0]] = str(interval)
        reader.options[LEASE_OPTIONS[1]] = str(duration)


def _only(pattern: re.Pattern[str], environment: Mapping[str, str]) -> int | None:
    """The number in the one variable whose name matches; None if there is no such, or not one."""
    values = [value for name, value in environment.items() if pattern.fullmatch(name)]
    return int(values[0]) if len(values) == 1 and _NUMBER.fullmatch(values[0]) else None


def _read_port(reader: SettingsReader, text: str | None) -> None:
    if text is None:
        return
    if not 0 < int(text) < 65536:
        reader.refuse("OvnkubeConfInvalid", f"the tenant's encap-port {quoted(text)} is no port")
    reader.given["OVN_ENCAP_PORT"] = text


def _text(config_map: Obj | None, key: str) -> str | None:
    data = (config_map or {}).get("data")
    text = data.get(key) if isinstance(data, Mapping) else None
    return text if isinstance(text, str) else None


def _read_upstream(reader: SettingsReader, view: SettingsView) -> None:
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


def _hand_on_conf(reader: SettingsReader, conf: OvnkubeConf) -> None:
    """Pods of this flavour mount no file, so its settings become options. Variables come later and win, as in the
    tenant, where they become options too."""
    _follow_conf(reader, conf)
    for section, key, value in conf.values:
        name = f"{section}/{key}"
        option = option_of(name) if name in OVNKUBE_CONF else key
        if option not in _OF_ENTRY_SCRIPT:
            reader.options[option] = "" if value == "true" else value


def _resolved(
    reader: SettingsReader, table: Rows, daemonset: Obj | None, config_maps: Mapping[str, Obj | None]
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
    """Whether a DPU sets it itself."""
    return isinstance(row.verdict, FixedOption | ReadElsewhere | NotForDpu)


def _name_keys(reader: SettingsReader, table: Rows, config_maps: Mapping[str, Obj | None]) -> None:
    for name, config_map in config_maps.items():
        data = (config_map or {}).get("data")
        for key in data if isinstance(data, Mapping) else ():
            if f"{name}/{key}" not in table:
                reader.unknown("ConfigMap key", f"{name}/{key}")
