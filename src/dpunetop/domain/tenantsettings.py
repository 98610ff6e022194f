"""The settings that the half of OVN-Kubernetes on a DPU shares with its tenant.

The process on the DPU is the zone of its tenant host, so it must be set as the tenant's own zones are, or it behaves
differently from its neighbours. Where a setting stands depends on flavour and release: in `ovnkube.conf`, which the
pods mount after it was parsed and written anew; as a literal in the script library; in the environment of the tenant's
DaemonSets. All of it is a tenant's word: what comes out is a listed option with a value of a listed form.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from dpunetop.domain.names import OVNKUBE_CONFIG, OVNKUBE_CONTROLLER, OVNKUBE_NODE_DPU_HOST, OVNKUBE_SCRIPT_LIB
from dpunetop.domain.ovnkubeconf import BadOvnkubeConf, HybridOverlayEnabled, OvnkubeConf, parse_ovnkube_conf
from dpunetop.domain.quoting import quoted
from dpunetop.domain.scriptlib import Library, Literal, Option, read_library
from dpunetop.domain.tenantrelease import Finding, Flavour, Release, variables
from dpunetop.kube.meta import Obj

CONFIG_FILE = "/run/ovnkube-config/ovnkube.conf"

PARITY_UNKNOWN = "FeatureParityUnknown"
"""Reason: a setting of the tenant could not be found; what was deployed last, or ovnkube's default, holds."""
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
    deployed: tuple[str, ...] = ()
    """See `deployed_arguments`."""


@dataclass(frozen=True, slots=True)
class SettingsReading:
    """The outcome. With `impossible` there are no settings, and what runs is to be kept as it is."""

    settings: NodeSettings | None
    impossible: tuple[Finding, ...] = ()
    """What cannot work on a DPU, or cannot be read at all."""
    parity: tuple[Finding, ...] = ()
    """How the zones on DPUs may differ from their neighbours."""


def read_settings(view: SettingsView) -> SettingsReading:
    """Gather the settings.

    Guarantees: equal meaning gives equal settings, whatever the order of anything in the tenant; a setting that cannot
        be found keeps the value it was last deployed with, so that a library that changes its wording rolls nobody.
    """
    reader = _Reader(view)
    if view.flavour is Flavour.OPENSHIFT:
        _read_openshift(reader)
    else:
        _read_upstream(reader)
    return reader.result()


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
    return release is not None and release.flavour is Flavour.OPENSHIFT and not _rules(release).lease


_NUMBER = re.compile(r"[0-9]{1,8}")
_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_SUBNET = re.compile(rf"{_BYTE}(?:\.{_BYTE}){{3}}/(?:3[0-2]|[12]?[0-9])")
_NETWORK_LIST = re.compile(r"[0-9A-Fa-f:.,/]{1,400}")
_ISOLATION = re.compile(r"strict|loose")
_ALWAYS = (
    "--enable-interconnect",
    "--export-ovs-metrics",
    "--metrics-enable-config-duration",
    "--ovn-metrics-bind-address=127.0.0.1:29105",
)

# Options that moved from the library into ovnkube.conf with 4.22.
_MOVED = tuple(
    Option(name)
    for name in (
        "enable-admin-network-policy",
        "enable-dns-name-resolver",
        "enable-egress-firewall",
        "enable-egress-ip",
        "enable-egress-qos",
        "enable-egress-service",
        "enable-multi-external-gateway",
        "enable-multi-network",
        "enable-multi-networkpolicy",
        "enable-network-segmentation",
    )
)
_IN_LIBRARY = (
    Option("acl-logging-rate-limit", _NUMBER),
    Option("advertised-udn-isolation-mode", _ISOLATION),
    Option("cluster-manager-v4-transit-subnet", _SUBNET),
    Option("disable-forwarding"),
    Option("enable-multicast"),
    Option("enable-observability"),
    Option("enable-route-advertisements"),
    Option("gateway-v4-join-subnet", _SUBNET),
    Option("gateway-v4-masquerade-subnet", _SUBNET),
)
# Taken over where they are, missed nowhere.
_PERHAPS = (
    Option("allow-icmp-network-policy"),
    Option("disable-requestedchassis"),
    Option("egressip-reachability-total-timeout", _NUMBER),
    Option("enable-evpn"),
    Option("enable-network-connect"),
    Option("enable-persistent-ips"),
    Option("enable-preconfigured-udn-addresses"),
    Option("openflow-probe", _NUMBER),
)


@dataclass(frozen=True, slots=True)
class _Rules:
    """What a release is expected to say, and where."""

    since: tuple[int, int]
    library: tuple[Option, ...]
    lease: bool
    """Hosts watch a lease that their DPU renews."""


_OPENSHIFT = (
    _Rules((4, 20), (*_MOVED, *_IN_LIBRARY), lease=False),
    _Rules((4, 22), _IN_LIBRARY, lease=False),
    _Rules((4, 23), _IN_LIBRARY, lease=True),
)
_OPENSHIFT_FIXED = ("--disable-snat-multiple-gws", "--ovn-empty-lb-events", f"--config-file={CONFIG_FILE}")

_LITERALS = (
    Literal("ipsec", re.compile(r"^ipsec=(true|false)$", re.MULTILINE)),
    Literal("northd-probe", re.compile(r"northd_probe_interval=\$\{1:-([0-9]{1,7})\}")),
    Literal("northd-backoff", re.compile(r"northd-backoff-interval-ms=([0-9]{1,6})")),
    Literal("audit-method", re.compile(r"--syslog-method=\"?(null|libc)\"?")),
    Literal("audit-facility", re.compile(r"-vFACILITY:\"?(local[0-7]|user|daemon|kern|auth|authpriv)\"?")),
    Literal("audit-megabytes", re.compile(r"MAXFILESIZE=\$\(\( ?\"?([0-9]{1,5})\"? ?\*")),
    Literal("audit-files", re.compile(r"MAXLOGFILES=\"?([0-9]{1,4})\"?$", re.MULTILINE)),
)
_COLLECTORS = ("NETFLOW", "SFLOW", "IPFIX")
_LEASE_INTERVAL = re.compile(r"[A-Z0-9_]*LEASE_RENEW_INTERVAL")
_LEASE_DURATION = re.compile(r"[A-Z0-9_]*LEASE_DURATION")
_LEASE_OPTIONS = ("dpu-node-lease-renew-interval", "dpu-node-lease-duration")

# Environment of the tenant's DaemonSet `ovnkube-node`: variable to options, or to one option with a value.
_SWITCHES: Mapping[str, tuple[str, ...]] = {
    "OVN_ADMIN_NETWORK_POLICY_ENABLE": ("enable-admin-network-policy",),
    "OVN_DISABLE_FORWARDING": ("disable-forwarding",),
    "OVN_DISABLE_PKT_MTU_CHECK": ("disable-pkt-mtu-check",),
    "OVN_DISABLE_SNAT_MULTIPLE_GWS": ("disable-snat-multiple-gws",),
    "OVN_EGRESSFIREWALL_ENABLE": ("enable-egress-firewall",),
    "OVN_EGRESSIP_ENABLE": ("enable-egress-ip",),
    "OVN_EGRESSQOS_ENABLE": ("enable-egress-qos",),
    "OVN_EGRESSSERVICE_ENABLE": ("enable-egress-service",),
    "OVN_EMPTY_LB_EVENTS": ("ovn-empty-lb-events",),
    "OVN_ENABLE_MULTI_EXTERNAL_GATEWAY": ("enable-multi-external-gateway",),
    "OVN_MULTICAST_ENABLE": ("enable-multicast",),
    "OVN_MULTI_NETWORK_ENABLE": ("enable-multi-network", "enable-multi-networkpolicy"),
    "OVN_NETWORK_SEGMENTATION_ENABLE": ("enable-multi-network", "enable-network-segmentation"),
}
_SWITCHES_PERHAPS: Mapping[str, tuple[str, ...]] = {
    "OVN_DISABLE_REQUESTEDCHASSIS": ("disable-requestedchassis",),
    "OVN_ENABLE_DNSNAMERESOLVER": ("enable-dns-name-resolver",),
    "OVN_ENABLE_SVC_TEMPLATE_SUPPORT": ("enable-svc-template-support",),
    "OVN_NETWORK_CONNECT_ENABLE": ("enable-network-connect",),
    "OVN_NETWORK_QOS_ENABLE": ("enable-network-qos",),
    "OVN_OBSERV_ENABLE": ("enable-observability",),
    "OVN_PRE_CONF_UDN_ADDR_ENABLE": ("enable-preconfigured-udn-addresses",),
    "OVN_ROUTE_ADVERTISEMENTS_ENABLE": ("enable-route-advertisements",),
}
_VALUES: Mapping[str, Option] = {
    "OVN_ACL_LOGGING_RATE_LIMIT": Option("acl-logging-rate-limit", _NUMBER),
    "OVN_ADVERTISED_UDN_ISOLATION_MODE": Option("advertised-udn-isolation-mode", _ISOLATION),
    "OVN_EGRESSIP_HEALTHCHECK_PORT": Option("egressip-node-healthcheck-port", _NUMBER),
    "OVN_ENCAP_PORT": Option("encap-port", _NUMBER),
    "OVN_MTU": Option("mtu", _NUMBER),
    "OVN_V4_JOIN_SUBNET": Option("gateway-v4-join-subnet", _SUBNET),
    "OVN_V4_MASQUERADE_SUBNET": Option("gateway-v4-masquerade-subnet", _SUBNET),
    "OVN_V4_TRANSIT_SUBNET": Option("cluster-manager-v4-transit-subnet", _SUBNET),
}
_NETWORKS: Mapping[str, str] = {"OVN_NET_CIDR": "cluster-subnets", "OVN_SVC_CIDR": "k8s-service-cidrs"}


class _Reader:
    """One reading; the fields are its result as it grows."""

    def __init__(self, view: SettingsView) -> None:
        self.view = view
        self.options: dict[str, str] = {}  # name -> value, "" of a switch
        self.numbers: dict[str, int] = {}
        self.words: dict[str, str] = {}
        self._last = {name: value for name, _, value in (text[2:].partition("=") for text in view.deployed)}
        self._impossible: list[Finding] = []
        self._missing: list[str] = []
        self._parity: list[Finding] = []

    def want(self, option: str, value: str = "") -> None:
        self.options[option] = value

    def miss(self, what: str, *options: str) -> None:
        """What cannot be found is named, and stays as it was deployed."""
        self._missing.append(what)
        for option in options:
            if option in self._last:
                self.options[option] = self._last[option]

    def differs(self, message: str) -> None:
        self._parity.append(Finding(PARITY_DIFFERS, message))

    def refuse(self, reason: str, message: str) -> None:
        self._impossible.append(Finding(reason, message))

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

    def result(self) -> SettingsReading:
        parity = tuple(self._parity)
        if self._missing:
            names = ", ".join(sorted(self._missing))
            words = f"not found in the tenant: {names}; kept as last deployed, else as ovnkube has it by default"
            parity = (Finding(PARITY_UNKNOWN, words), *parity)
        if self._impossible:
            return SettingsReading(None, tuple(self._impossible), parity)
        return SettingsReading(self._settings(), (), parity)

    def _settings(self) -> NodeSettings:
        wanted = (f"--{name}={value}" if value else f"--{name}" for name, value in self.options.items())
        fixed = _OPENSHIFT_FIXED if self.view.flavour is Flavour.OPENSHIFT else ()
        return NodeSettings(
            flavour=self.view.flavour,
            arguments=tuple(sorted({*_ALWAYS, *fixed, *wanted})),
            encap_port=self.numbers.get("encap-port", 6081),
            inactivity_probe_ms=self.numbers.get("inactivity-probe", 30000),
            northd_probe_ms=self.numbers.get("northd-probe", 10000),
            northd_backoff_ms=self.numbers.get("northd-backoff", 0),
            audit=Audit(
                syslog_method=self.words.get("audit-method", "null"),
                facility=self.words.get("audit-facility", "local0"),
                most_megabytes=max(1, self.numbers.get("audit-megabytes", 50)),
                most_files=max(1, self.numbers.get("audit-files", 5)),
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


def _read_openshift(reader: _Reader) -> None:
    rules = _rules(reader.view.release)
    if (conf := _conf(reader)) is not None:
        _read_conf(reader, conf)
    _read_library(reader, rules)
    environment = _environment(reader)
    _read_lease(reader, rules.lease, environment)
    _read_host(reader, environment)


def _rules(release: Release | None) -> _Rules:
    """Those of the newest release that is not newer than the tenant's; of an unknown release the newest."""
    if release is None:
        return _OPENSHIFT[-1]
    return next((rules for rules in reversed(_OPENSHIFT) if rules.since <= release.version), _OPENSHIFT[0])


def _conf(reader: _Reader) -> OvnkubeConf | None:
    text = _text(reader.view.config_map, "ovnkube.conf")
    what = f"the tenant's ConfigMap {OVNKUBE_CONFIG}"
    if text is None:
        reader.refuse("OvnkubeConfMissing", f"{what} has no ovnkube.conf")
        return None
    try:
        return parse_ovnkube_conf(text)
    except HybridOverlayEnabled as problem:
        reader.refuse("HybridOverlayNotSupported", f"{what}: {problem}")
    except BadOvnkubeConf as problem:
        reader.refuse("OvnkubeConfInvalid", f"{what}: {problem}")
    return None


def _read_conf(reader: _Reader, conf: OvnkubeConf) -> None:
    values = {(section, key): value for section, key, value in conf.values}
    for place in (("default", "cluster-subnets"), ("kubernetes", "service-cidrs")):
        if place in values:
            reader.check_networks(f"{place[1]} of [{place[0]}]", values[place])
        else:
            reader.miss(f"{place[1]} of [{place[0]}]")
    if values.get(("gateway", "mode")) == "local":
        reader.differs("the tenant's [gateway] mode is local; zones on DPUs run in mode shared, the only one there")
    _read_port(reader, values.get(("default", "encap-port")))


def _read_library(reader: _Reader, rules: _Rules) -> None:
    options = (*_MOVED, *_IN_LIBRARY, *_PERHAPS)
    text = _text(reader.view.script_lib, "ovnkube-lib.sh")
    library = read_library(text, options, _LITERALS) if text is not None else None
    if library is None:
        names = [option.name for option in rules.library]
        reader.miss(f"ConfigMap {OVNKUBE_SCRIPT_LIB}, for {', '.join(sorted(names))}", *(o.name for o in options))
        return
    for option in options:
        said = library.options.get(option.name)
        if isinstance(said, str):
            reader.want(option.name, said)
        elif said is None and option in rules.library:
            reader.miss(option.name, option.name)
    _read_literals(reader, library)


def _read_literals(reader: _Reader, library: Library) -> None:
    for name, text in library.literals.items():
        if text.isdigit():
            reader.numbers[name] = int(text)
        else:
            reader.words[name] = text
    if library.literals.get("ipsec") == "true":
        _refuse_ipsec(reader)


def _refuse_ipsec(reader: _Reader) -> None:
    reader.refuse("IPsecNotSupported", "the tenant encrypts its overlay with IPsec, which nothing on a DPU does")


def _environment(reader: _Reader) -> Mapping[str, str]:
    """What is fixed in the environment of the hosts that carry a DPU."""
    found = variables(reader.view.host_daemonset)
    return {name: text for name, variable in found.items() if isinstance(text := variable.get("value"), str)}


def _read_lease(reader: _Reader, expected: bool, environment: Mapping[str, str]) -> None:
    """Both sides must agree. Without a number nothing is passed on: hosts then go by the default of their release, and
    so does a DPU; a DPU told to renew no lease would take the network from a host that watches one."""
    interval = _only(_LEASE_INTERVAL, environment)
    duration = _only(_LEASE_DURATION, environment)
    if interval is None or duration is None or 0 < duration <= interval:
        if expected:
            reader.miss(f"lease numbers in DaemonSet {OVNKUBE_NODE_DPU_HOST}", *_LEASE_OPTIONS)
    elif not interval or not duration:
        reader.want(_LEASE_OPTIONS[0], "0")
    else:
        reader.want(_LEASE_OPTIONS[0], str(interval))
        reader.want(_LEASE_OPTIONS[1], str(duration))


def _only(pattern: re.Pattern[str], environment: Mapping[str, str]) -> int | None:
    """The number in the one variable whose name matches; None if there is no such, or not one."""
    values = [value for name, value in environment.items() if pattern.fullmatch(name)]
    return int(values[0]) if len(values) == 1 and _NUMBER.fullmatch(values[0]) else None


def _read_host(reader: _Reader, environment: Mapping[str, str]) -> None:
    _number(reader, "inactivity-probe", environment.get("OVN_CONTROLLER_INACTIVITY_PROBE"))
    collectors = [name for name in _COLLECTORS if environment.get(f"{name}_COLLECTORS")]
    if collectors:
        reader.differs(
            f"the tenant has flow collectors ({', '.join(collectors)}); DPUs send no flows to a tenant's address"
        )


def _number(reader: _Reader, name: str, text: str | None) -> None:
    if text is not None and _NUMBER.fullmatch(text):
        reader.numbers[name] = int(text)


def _read_port(reader: _Reader, text: str | None) -> None:
    _number(reader, "encap-port", text)
    if not 0 < reader.numbers.get("encap-port", 6081) < 65536:
        reader.refuse("OvnkubeConfInvalid", f"the tenant's encap-port {reader.numbers['encap-port']} is no port")


def _text(config_map: Obj | None, key: str) -> str | None:
    data = (config_map or {}).get("data")
    text = data.get(key) if isinstance(data, Mapping) else None
    return text if isinstance(text, str) else None


def _read_upstream(reader: _Reader) -> None:
    environment = _resolved(reader.view)
    reader.want("ovn-config-namespace", reader.view.tenant_namespace)
    for name, option in _NETWORKS.items():
        if not environment.get(name):
            reader.refuse("OvnkubeConfMissing", f"the tenant's DaemonSet ovnkube-node does not say {name}")
        elif reader.check_networks(name, environment[name]):
            reader.want(option, environment[name])
    for name, options in {**_SWITCHES, **_SWITCHES_PERHAPS}.items():
        _read_switch(reader, name, options, environment.get(name))
    for name, valued in _VALUES.items():
        _read_value(reader, name, valued, environment.get(name))
    _refuse_upstream(reader, environment)
    host = _environment(reader)
    if _only(_LEASE_INTERVAL, host) is not None:
        _read_lease(reader, True, host)
    _read_host(reader, host)


def _resolved(view: SettingsView) -> Mapping[str, str]:
    """Environment of `ovnkube-node`, with what it takes from the ConfigMap."""
    found: dict[str, str] = {}
    for name, variable in variables(view.node_daemonset).items():
        text = variable.get("value")
        source = variable.get("valueFrom")
        reference = source.get("configMapKeyRef") if isinstance(source, Mapping) else None
        if isinstance(reference, Mapping) and reference.get("name") == OVNKUBE_CONFIG:
            text = _text(view.config_map, str(reference.get("key")))
        if isinstance(text, str):
            found[name] = text
    return found


def _read_switch(reader: _Reader, name: str, options: tuple[str, ...], text: str | None) -> None:
    if text == "true":
        for option in options:
            reader.want(option)
    elif text not in ("", "false") and (text is not None or name in _SWITCHES):
        reader.miss(name, *options)


def _read_value(reader: _Reader, name: str, option: Option, text: str | None) -> None:
    assert option.value is not None
    if not text:
        return
    if not option.value.fullmatch(text):
        reader.miss(name, option.name)
        return
    reader.want(option.name, text)
    if option.name == "encap-port":
        _read_port(reader, text)


def _refuse_upstream(reader: _Reader, environment: Mapping[str, str]) -> None:
    if environment.get("OVN_HYBRID_OVERLAY_ENABLE") == "true":
        reader.refuse("HybridOverlayNotSupported", "the tenant's hybrid overlay is not possible on a DPU")
    if environment.get("ENABLE_IPSEC") == "true":
        _refuse_ipsec(reader)
    if environment.get("OVN_GATEWAY_MODE") == "local":
        reader.differs("the tenant's OVN_GATEWAY_MODE is local; zones on DPUs run in mode shared, the only one there")
