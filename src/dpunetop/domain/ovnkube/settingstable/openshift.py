"""Rows of what OpenShift's cluster-network-operator renders beside `ovnkube.conf`, from 4.20 on.

Source: cluster-network-operator bindata/network/ovn-kubernetes, of each release common/008-script-lib.yaml and
ovnkube-node.yaml, the template of both DaemonSets of nodes.
"""

from __future__ import annotations

import re
from functools import partial

from dpunetop.domain.names import OVNKUBE_CONFIG
from dpunetop.domain.ovnkube.settingstable.conf import (
    IPV4_ONLY,
    NO_FLOWS,
    OF_FLOWS,
    OF_GATEWAY,
    OF_MANAGEMENT_PORT,
    OWN_CREDENTIAL,
    OWN_LOGS,
    OWN_METRICS,
)
from dpunetop.domain.ovnkube.settingstable.rows import (
    EVERY,
    NUMBER,
    AsOption,
    AsVariable,
    FixedOption,
    NotFollowed,
    NotForDpu,
    Presence,
    ReadElsewhere,
    RefusesTenant,
    ReleaseSpan,
    Row,
    alike,
    rows,
    switches,
)

CONFIG_FILE = "/run/ovnkube-config/ovnkube.conf"
METRICS_ADDRESS = "127.0.0.1:29105"
IPSEC = RefusesTenant("IPsecNotSupported", "nothing on a DPU encrypts the overlay with IPsec")

_4_20 = ReleaseSpan(last=(4, 20))
_UP_TO_4_21 = ReleaseSpan(last=(4, 21))
_FROM_4_21, _FROM_4_22, _FROM_4_23 = ReleaseSpan((4, 21)), ReleaseSpan((4, 22)), ReleaseSpan((4, 23))
_FROM_5_1 = ReleaseSpan((5, 1))
_SUBNET = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}/[0-9]{1,2}")
_SECONDS = re.compile(r"[0-9]{1,8}")
ISOLATION = re.compile(r"strict|loose")
OF_OTHER_PROGRAMS = NotForDpu("an option of another program than ovnkube, which DPUs start in their own way")
OF_START = NotForDpu("each start of ovnkube says it for its own node")


def _handed(name: str, form: re.Pattern[str], span: ReleaseSpan = EVERY) -> Row:
    return Row(name, AsOption((name,), form), span, Presence.ALWAYS)


OPTIONS = rows(
    switches(
        *("enable-admin-network-policy", "enable-dns-name-resolver", "enable-egress-firewall", "enable-egress-ip"),
        *("enable-egress-qos", "enable-egress-service", "enable-multi-external-gateway", "enable-multi-network"),
        *("enable-multi-networkpolicy", "enable-network-segmentation", "enable-preconfigured-udn-addresses"),
        span=_UP_TO_4_21,
        presence=Presence.ALWAYS,
    ),
    switches(
        *("disable-forwarding", "enable-multicast", "enable-observability", "enable-route-advertisements"),
        presence=Presence.ALWAYS,
    ),
    switches("allow-icmp-network-policy", "enable-evpn", span=_FROM_4_22, presence=Presence.ALWAYS),
    _handed("acl-logging-rate-limit", NUMBER),
    _handed("advertised-udn-isolation-mode", ISOLATION),
    _handed("openflow-probe", NUMBER),
    _handed("gateway-v4-join-subnet", _SUBNET),
    _handed("gateway-v4-masquerade-subnet", _SUBNET),
    # The option was renamed: a DPU gets the name of its tenant's release, since its image is of that release.
    _handed("cluster-manager-v4-transit-switch-subnet", _SUBNET, _4_20),
    _handed("cluster-manager-v4-transit-subnet", _SUBNET, _FROM_4_21),
    Row(
        "egressip-reachability-total-timeout", AsOption(("egressip-reachability-total-timeout",), _SECONDS), _FROM_4_23
    ),
    alike(
        ReadElsewhere("lease numbers of DaemonSet ovnkube-node-dpu-host"),
        *("dpu-node-lease-renew-interval", "dpu-node-lease-duration"),
        span=_FROM_4_23,
    ),
    # Features that a script library may switch, although no recorded one does.
    switches("disable-requestedchassis", "enable-network-connect", "enable-persistent-ips", "enable-network-qos"),
    Row("config-file", FixedOption(CONFIG_FILE)),
    Row("disable-snat-multiple-gws", FixedOption()),
    Row("ovn-empty-lb-events", FixedOption()),
    Row("enable-interconnect", FixedOption()),
    Row("export-ovs-metrics", FixedOption()),
    Row("metrics-enable-config-duration", FixedOption()),
    Row("ovn-metrics-bind-address", FixedOption(METRICS_ADDRESS)),
    Row("inactivity-probe", ReadElsewhere("variable OVN_CONTROLLER_INACTIVITY_PROBE")),
    Row("gateway-mode", ReadElsewhere("gateway/mode")),
    alike(OF_GATEWAY, "gateway-interface", "exgw-interface"),
    Row("encap-ip", OF_GATEWAY, _FROM_5_1),
    alike(OF_MANAGEMENT_PORT, "ovnkube-node-mgmt-port-netdev", "ovnkube-node-mgmt-port-dp-resource-name"),
    alike(IPV4_ONLY, "gateway-v6-join-subnet", "gateway-v6-masquerade-subnet"),
    Row("cluster-manager-v6-transit-switch-subnet", IPV4_ONLY, _4_20),
    Row("cluster-manager-v6-transit-subnet", IPV4_ONLY, _FROM_4_21),
    alike(OF_FLOWS, "netflow-targets", "sflow-targets", "ipfix-targets"),
    alike(OF_FLOWS, "ipfix-sampling", "ipfix-cache-max-flows", "ipfix-cache-active-timeout"),
    alike(OWN_CREDENTIAL, "bootstrap-kubeconfig", "cert-dir", "cert-duration"),
    alike(OWN_METRICS, "metrics-bind-address", "metrics-enable-pprof"),
    alike(OWN_LOGS, "loglevel", "log-file"),
    alike(OF_START, "init-node", "init-ovnkube-controller", "ovnkube-node-mode", "zone"),
    Row("help", OF_START, _FROM_4_21),
    alike(
        OF_OTHER_PROGRAMS,
        *("db-nb-sock", "db-sb-sock", "dport", "iso-8601", "logtostderr", "n-threads", "no-chdir", "no-monitor"),
        *("ovn-nb-log", "ovn-sb-log", "pidfile", "secure-listen-address", "syslog-method", "timeout", "upstream"),
        *("tls-cert-file", "tls-private-key-file", "tls-cipher-suites"),
    ),
    Row("tls-min-version", OF_OTHER_PROGRAMS, _FROM_4_23),
)
"""Options in the script library, of any program."""


def _literal(name: str, verdict: AsVariable | NotFollowed | RefusesTenant, *spellings: re.Pattern[str]) -> Row:
    presence = Presence.ALWAYS if isinstance(verdict, AsVariable) else Presence.WHERE_SET
    return Row(name, verdict, EVERY, presence, spellings)


_spelled = partial(re.compile, flags=re.MULTILINE)
_TEXT = r"\"?([^\"\s\\]{1,100})\"?"

LITERALS = rows(
    _literal(
        "OVN_NORTHD_PROBE_INTERVAL",
        AsVariable("OVN_NORTHD_PROBE_INTERVAL", _SECONDS),
        _spelled(r"nbdb-post-start ([0-9]{1,8})"),
        _spelled(r"northd_probe_interval=\$\{1:-([0-9]{1,8})\}"),
    ),
    _literal(
        "OVN_NORTHD_BACKOFF_MS",
        AsVariable("OVN_NORTHD_BACKOFF_MS", _SECONDS),
        _spelled(r"northd-backoff-interval-ms=([0-9]{1,8})"),
    ),
    _literal(
        "OVNPolicyAuditDestination",
        AsVariable(
            "OVN_AUDIT_SYSLOG_METHOD",
            re.compile("null|libc"),
            otherwise="a DPU writes its audit log into its file, and to no address or socket of a tenant's",
        ),
        _spelled(rf"--syslog-method={_TEXT}"),
    ),
    _literal(
        "OVNPolicyAuditSyslogFacility",
        AsVariable(
            "OVN_AUDIT_FACILITY",
            re.compile("kern|user|mail|daemon|auth|syslog|lpr|news|uucp|clock|ftp|ntp|audit|alert|clock2|local[0-7]"),
        ),
        _spelled(rf"-vFACILITY:{_TEXT}"),
    ),
    _literal(
        "OVNPolicyAuditMaxFileSize",
        AsVariable("OVN_AUDIT_MOST_MEGABYTES", _SECONDS),
        _spelled(r"MAXFILESIZE=\$\(\( ?\"?([0-9]{1,8})\"? ?\*"),
    ),
    _literal(
        "OVNPolicyAuditMaxLogFiles",
        AsVariable("OVN_AUDIT_MOST_FILES", _SECONDS),
        _spelled(r"MAXLOGFILES=\"?([0-9]{1,8})\"?$"),
    ),
    _literal("OVNIPsecEnable", IPSEC, _spelled(r"^ipsec=(true|false)$")),
    _literal(
        "NorthdThreads",
        NotFollowed("northd of a DPU has one thread", frozenset({"1"})),
        _spelled(r"--n-threads=([0-9]{1,8})"),
    ),
    _literal(
        "OVN_NB_INACTIVITY_PROBE",
        NotFollowed("the northbound database of a DPU probes its local clients each 60000 ms", frozenset({"60000"})),
        _spelled(r"ovn-nbctl -t [0-9]{1,3} --inactivity-probe=([0-9]{1,8})"),
    ),
    alike(ReadElsewhere("OVNIPsecEnable"), "OVNIPsecEncap"),
    alike(ReadElsewhere("default/encap-port"), "GenevePort"),
    alike(ReadElsewhere("hybridoverlay/enabled"), "OVNHybridOverlayVXLANPort"),
    alike(ReadElsewhere("gateway/mode"), "OVN_GATEWAY_MODE"),
    alike(ReadElsewhere("kubernetes/platform-type"), "PlatformType"),
    alike(ReadElsewhere("variable OVN_CONTROLLER_INACTIVITY_PROBE"), "OVN_CONTROLLER_INACTIVITY_PROBE"),
    alike(ReadElsewhere("release of the tenant"), "ReleaseVersion"),
    alike(
        ReadElsewhere("option of ovnkube"),
        *("AdvertisedUDNIsolationMode", "IP_FORWARDING_MODE", "OVNPolicyAuditRateLimit", "OVN_OBSERVABILITY_ENABLE"),
        *("OVN_ROUTE_ADVERTISEMENTS_ENABLE", "OpenFlowProbe", "V4JoinSubnet", "V4MasqueradeSubnet"),
        "V4TransitSwitchSubnet",
    ),
    alike(ReadElsewhere("option of ovnkube"), "AllowICMPNetworkPolicy", "OVN_EVPN_ENABLE", span=_FROM_4_22),
    alike(ReadElsewhere("option of ovnkube"), "ReachabilityTotalTimeoutSeconds", span=_FROM_4_23),
    alike(
        ReadElsewhere("option of ovnkube"),
        *("DNS_NAME_RESOLVER_ENABLE", "OVN_ADMIN_NETWORK_POLICY_ENABLE", "OVN_MULTI_NETWORK_ENABLE"),
        *("OVN_MULTI_NETWORK_POLICY_ENABLE", "OVN_NETWORK_SEGMENTATION_ENABLE", "OVN_PRE_CONF_UDN_ADDR_ENABLE"),
        span=_UP_TO_4_21,
    ),
    alike(IPV4_ONLY, "V6JoinSubnet", "V6MasqueradeSubnet", "V6TransitSwitchSubnet"),
    alike(OWN_CREDENTIAL, "NETWORK_NODE_IDENTITY_ENABLE", "NodeIdentityCertDuration"),
    alike(OWN_LOGS, "OVN_LOG_PATTERN_CONSOLE"),
    alike(OWN_METRICS, "TLSCipherSuites", "TLSMinVersion", "UseTLSProfile", span=_FROM_4_23),
    alike(NotForDpu("it is of nodes that come from another network"), "IsNetworkTypeLiveMigration", span=_UP_TO_4_21),
)
"""Literals that the templates of scripts are rendered with, by their name there."""

VARIABLES = rows(
    Row(
        "OVN_CONTROLLER_INACTIVITY_PROBE",
        AsVariable("OVN_CONTROLLER_INACTIVITY_PROBE", NUMBER),
        presence=Presence.ALWAYS,
    ),
    alike(NotFollowed(NO_FLOWS), "NETFLOW_COLLECTORS", "SFLOW_COLLECTORS", "IPFIX_COLLECTORS"),
    alike(OF_FLOWS, "IPFIX_SAMPLING", "IPFIX_CACHE_MAX_FLOWS", "IPFIX_CACHE_ACTIVE_TIMEOUT"),
    alike(
        ReadElsewhere("lease numbers of DaemonSet ovnkube-node-dpu-host"),
        *("OVNKUBE_NODE_LEASE_RENEW_INTERVAL", "OVNKUBE_NODE_LEASE_DURATION"),
        span=_FROM_4_23,
    ),
    alike(OWN_CREDENTIAL, "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"),
    alike(OWN_CREDENTIAL, "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    alike(OWN_LOGS, "OVN_LOG_LEVEL", "OVN_KUBE_LOG_LEVEL"),
    Row("OVNKUBE_SH_VERBOSE", OWN_LOGS, _FROM_4_21),
    alike(OF_START, "K8S_NODE", "OVN_NODE_MODE", "POD_NAME"),
    alike(OF_MANAGEMENT_PORT, "OVNKUBE_NODE_MGMT_PORT_NETDEV", "OVNKUBE_NODE_MGMT_PORT_DP_RESOURCE_NAME"),
    Row("OVN_ENCAP_IP", OF_GATEWAY, _FROM_5_1),
)
"""Environment of DaemonSets `ovnkube-node` and `ovnkube-node-dpu-host`, and variables that the library reads."""

KEYS = rows(
    Row(f"{OVNKUBE_CONFIG}/ovnkube.conf", ReadElsewhere("its own rows")),
)
"""Keys of ConfigMaps that variables refer to."""
