"""Rows of `ovnkube.conf`, which every flavour and release has, with keys of the same meaning.

Names and meaning: ovn-kubernetes go-controller/pkg/config/config.go, and what go-controller/pkg/node does in mode dpu.
"""

from __future__ import annotations

import re

from dpunetop.domain.ovnkube.settingstable.rows import (
    BOOLEAN,
    NAME,
    NUMBER,
    InConfigFile,
    NotFollowed,
    NotForDpu,
    RefusesTenant,
    Row,
    alike,
    rows,
)

SUBNET = r"[0-9A-Fa-f:.]{2,45}/[0-9]{1,3}"
_SUBNETS = re.compile(rf"{SUBNET}(?:,{SUBNET})*")
_CLUSTER_SUBNET = rf"{SUBNET}(?:/[0-9]{{1,3}})?"
_CLUSTER_SUBNETS = re.compile(rf"{_CLUSTER_SUBNET}(?:,{_CLUSTER_SUBNET})*")
_LABEL = r"[a-z0-9][a-z0-9-]{0,62}"
_SERVICES = re.compile(rf"{_LABEL}/{_LABEL}(?:,{_LABEL}/{_LABEL})*")
_NAMESPACED = re.compile(rf"(?:{_LABEL}/)?{_LABEL}")
_PORTS = re.compile(r"[0-9]{1,5}-[0-9]{1,5}")
FEATURE_SWITCH = re.compile(r"ovnkubernetesfeature/enable-[a-z0-9-]{1,60}")
"""The switch of an unknown feature is kept, since the zones of a tenant are to be alike, and is named in a finding."""

HYBRID_OVERLAY = RefusesTenant("HybridOverlayNotSupported", "ovnkube refuses a hybrid overlay on a DPU")
NO_OVERLAY = RefusesTenant("NoOverlayNotSupported", "a DPU carries the default network in Geneve only")
HEALTH_CHECK_PORT = NotForDpu(
    "it is served at the management address, which is the host's: on a DPU ovnkube ends because it cannot bind it"
)
SHARED_ONLY = "zones on DPUs run in mode shared, the only one there"
NO_FLOWS = "DPUs send no flows to a tenant's address"
IPV4_ONLY = NotForDpu("a DPU serves IPv4 only, and a tenant with IPv6 subnets is refused by those")
OWN_LOGS = NotForDpu("what runs on a DPU logs to its console, at a level of its own")
OWN_CREDENTIAL = NotForDpu("a DPU reaches the tenant's API server with a credential and an address of its own")
OWN_DATABASES = NotForDpu("the databases of a DPU are local, and reached by sockets")
OWN_METRICS = NotForDpu("metrics of a DPU are served inside of its pod, at addresses of its own")
OF_ELECTION = NotForDpu("the election of the cluster manager, which runs in the tenant")
OF_CNI = NotForDpu("the kubelet of the host calls the CNI there")
OF_MANAGEMENT_PORT = NotForDpu("the management port is the host's; ovnkube refuses the option on a DPU")
OF_GATEWAY = NotForDpu("each DPU has a bridge to the network of its own; what differs from the default its OVS says")
OF_FLOWS = NotForDpu("how flows are sampled that a DPU does not send")

_FEATURES = (
    "enable-admin-network-policy",
    "enable-dns-name-resolver",
    "enable-dynamic-udn-allocation",
    "enable-egress-firewall",
    "enable-egress-ip",
    "enable-egress-qos",
    "enable-egress-service",
    "enable-evpn",
    "enable-interconnect",
    "enable-multi-external-gateway",
    "enable-multi-network",
    "enable-multi-networkpolicy",
    "enable-network-connect",
    "enable-network-qos",
    "enable-network-segmentation",
    "enable-observability",
    "enable-persistent-ips",
    "enable-preconfigured-udn-addresses",
    "enable-route-advertisements",
    "enable-stateless-netpol",
    "enable-svc-template-support",
    "enable-uplink",
)


def _of(section: str, *found: Row | tuple[Row, ...]) -> tuple[Row, ...]:
    flat = (row for part in found for row in ((part,) if isinstance(part, Row) else part))
    return tuple(Row(f"{section}/{row.name}", row.verdict) for row in flat)


def _kept(form: re.Pattern[str], *names: str) -> tuple[Row, ...]:
    return alike(InConfigFile(form), *names)


OVNKUBE_CONF = rows(
    _of(
        "default",
        _kept(NUMBER, "mtu", "routable-mtu", "encap-port", "conntrack-zone", "inactivity-probe", "openflow-probe"),
        _kept(NUMBER, "lflow-cache-limit", "lflow-cache-limit-kb", "ofctrl-wait-before-clear"),
        _kept(BOOLEAN, "enable-lflow-cache", "monitor-all"),
        Row("enable-udp-aggregation", InConfigFile(BOOLEAN)),
        Row("encap-type", InConfigFile(re.compile("geneve"))),
        Row("cluster-subnets", InConfigFile(_CLUSTER_SUBNETS)),
        Row("udn-allowed-default-services", InConfigFile(_SERVICES)),
        Row("cluster-default-nad", InConfigFile(_NAMESPACED)),
        Row("transport", NO_OVERLAY),
        Row("encap-ip", NotForDpu("each DPU has a tunnel address of its own")),
        Row("zone", NotForDpu("the zone of a DPU is its host's name")),
        Row("db-txn-timeout", NotFollowed("a DPU waits for its local databases as long as ovnkube does by default")),
    ),
    _of(
        "logging",
        _kept(NUMBER, "loglevel", "acl-logging-rate-limit"),
        alike(OWN_LOGS, "logfile", "cnilogfile", "libovsdblogfile"),
        alike(OWN_LOGS, "logfile-maxsize", "logfile-maxbackups", "logfile-maxage"),
    ),
    _of("monitoring", alike(NotFollowed(NO_FLOWS), "netflow-targets", "sflow-targets", "ipfix-targets")),
    _of("ipfix", alike(OF_FLOWS, "sampling", "cache-active-timeout", "cache-max-flows")),
    _of("cni", alike(OF_CNI, "conf-dir", "plugin")),
    _of(
        "kubernetes",
        Row("service-cidrs", InConfigFile(_SUBNETS, "k8s-service-cidrs")),
        Row("service-cidr", InConfigFile(_SUBNETS, "k8s-service-cidr")),
        _kept(NAME, "ovn-config-namespace", "host-network-namespace", "platform-type"),
        _kept(NAME, "dns-service-namespace", "dns-service-name"),
        _kept(BOOLEAN, "ovn-empty-lb-events", "disable-requestedchassis"),
        alike(OWN_CREDENTIAL, "bootstrap-kubeconfig", "kubeconfig", "cert-dir", "cert-duration", "apiserver"),
        alike(OWN_CREDENTIAL, "cacert", "cacert-data", "token", "tokenfile"),
        alike(OWN_METRICS, "metrics-bind-address", "ovn-metrics-bind-address", "metrics-enable-pprof"),
        Row("healthz-bind-address", NotForDpu("load balancers ask the host's address whether its node is healthy")),
        Row("no-hostsubnet-nodes", NotFollowed("a DPU leaves no node out")),
    ),
    _of(
        "metrics",
        alike(OWN_METRICS, "bind-address", "ovn-metrics-bind-address", "export-ovs-metrics", "enable-pprof"),
        alike(OWN_METRICS, "node-server-privkey", "node-server-cert"),
        alike(OWN_METRICS, "enable-config-duration", "enable-scale-metrics"),
    ),
    _of("tls", alike(OWN_METRICS, "tls-min-version", "tls-cipher-suites")),
    _of(
        "ovnkubernetesfeature",
        _kept(BOOLEAN, *_FEATURES, "allow-icmp-network-policy"),
        Row("advertised-udn-isolation-mode", InConfigFile(re.compile("strict|loose"))),
        Row("egressip-reachability-total-timeout", InConfigFile(NUMBER)),
        Row("egressip-node-healthcheck-port", HEALTH_CHECK_PORT),
        Row("udn-deletion-grace-period", NotFollowed("a DPU gives unused networks ovnkube's default time")),
    ),
    _of("egressip-healthcheck-tls", alike(HEALTH_CHECK_PORT, "client-privkey", "client-cert", "client-cacert")),
    _of("egressip-healthcheck-tls", Row("cert-common-name", HEALTH_CHECK_PORT)),
    *(
        _of(
            section,
            alike(OWN_DATABASES, "address", "client-privkey", "client-cert", "client-cacert", "cert-common-name"),
            alike(OWN_DATABASES, "election-timer", "run-dir", "db-location"),
        )
        for section in ("ovnnorth", "ovnsouth")
    ),
    _of("ovspaths", Row("run-dir", NotForDpu("the OVS of a DPU is where its pod mounts it"))),
    _of(
        "gateway",
        Row("mode", InConfigFile(re.compile("shared|local"), "gateway-mode", frozenset({"local"}), SHARED_ONLY)),
        _kept(BOOLEAN, "nodeport", "disable-snat-multiple-gws", "disable-pkt-mtu-check", "disable-forwarding"),
        _kept(BOOLEAN, "single-node"),
        Row("ephemeral-port-range", InConfigFile(_PORTS)),
        *(
            Row(f"{family}-{kind}-subnet", InConfigFile(_SUBNETS, f"gateway-{family}-{kind}-subnet"))
            for family in ("v4", "v6")
            for kind in ("join", "masquerade")
        ),
        alike(OF_GATEWAY, "interface", "gateway-accelerated-interface", "dpu-host-gateway-representor-interface"),
        alike(OF_GATEWAY, "next-hop", "vlan-id", "router-subnet"),
        Row("egw-interface", NotFollowed("a DPU has no second interface for external gateways")),
        Row("allow-no-uplink", NotForDpu("it says something in gateway mode local only")),
    ),
    *(
        _of(section, alike(OF_ELECTION, "election-lease-duration", "election-renew-deadline", "election-retry-period"))
        for section in ("clustermgrha", "masterha")
    ),
    _of(
        "hybridoverlay",
        Row("enabled", HYBRID_OVERLAY),
        alike(NotForDpu("of the hybrid overlay, which is refused"), "cluster-subnets", "hybrid-overlay-vxlan-port"),
    ),
    _of(
        "ovnkubenode",
        Row("mode", NotForDpu("the mode of a DPU is dpu")),
        alike(OF_MANAGEMENT_PORT, "mgmt-port-netdev", "mgmt-port-dp-resource-name"),
        alike(
            NotFollowed("DPUs go by what DaemonSet ovnkube-node-dpu-host says of the Lease"),
            *("dpu-node-lease-renew-interval", "dpu-node-lease-duration"),
        ),
        Row("simulate-dpu", NotForDpu("it is for machines without a DPU")),
        Row("routing-table-id-start", NotForDpu("the routing tables of networks are on the host")),
    ),
    _of(
        "clustermanager",
        *(
            Row(f"{family}-{word}", InConfigFile(_SUBNETS, f"cluster-manager-{family}-{word}"))
            for family in ("v4", "v6")
            for word in ("transit-subnet", "transit-switch-subnet")
        ),
    ),
    _of("no-overlay", alike(RefusesTenant(NO_OVERLAY.reason, NO_OVERLAY.why, frozenset()), "outbound-snat", "routing")),
    _of(
        "bgp-managed",
        alike(
            NotForDpu("the cluster manager, which runs in the tenant, writes the routes of all nodes"),
            *("as-number", "topology", "frr-namespace"),
        ),
    ),
)
"""By `section/key`, in small letters."""


def option_of(name: str) -> str:
    """The command-line option of a kept key."""
    verdict = OVNKUBE_CONF[name].verdict
    assert isinstance(verdict, InConfigFile)
    return verdict.option or name.partition("/")[2]
