"""Rows of what the chart of OVN-Kubernetes itself renders beside `ovnkube.conf`, from 1.3 on.

Source: ovn-kubernetes helm/ovn-kubernetes/charts/ovnkube-single-node-zone and ovnkube-node-dpu-host, whose containers
run dist/images/ovnkube.sh: its defaults are the defaults here.
"""

from __future__ import annotations

import re

from dpunetop.domain.names import OVN_CONFIG, OVNKUBE_CONFIG
from dpunetop.domain.ovnkube.settingstable.conf import (
    HEALTH_CHECK_PORT,
    HYBRID_OVERLAY,
    IPV4_ONLY,
    NO_FLOWS,
    NO_OVERLAY,
    OF_FLOWS,
    OF_GATEWAY,
    OF_MANAGEMENT_PORT,
    OWN_CREDENTIAL,
    OWN_DATABASES,
    OWN_LOGS,
    OWN_METRICS,
    SHARED_ONLY,
)
from dpunetop.domain.ovnkube.settingstable.openshift import IPSEC, ISOLATION, METRICS_ADDRESS, OF_START
from dpunetop.domain.ovnkube.settingstable.rows import (
    BOOLEAN,
    EVERY,
    NAME,
    NUMBER,
    AsOption,
    AsVariable,
    FixedOption,
    NotFollowed,
    NotForDpu,
    Presence,
    ReadElsewhere,
    ReleaseSpan,
    Row,
    alike,
    rows,
)

_1_3 = ReleaseSpan(last=(1, 3))
_NEXT = ReleaseSpan((1, 4))
_SUBNET = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}/[0-9]{1,2}")
_DURATION = re.compile(r"[0-9]{1,9}(?:ms|s|m|h)")
_NAMESPACED = re.compile(r"(?:[a-z0-9][a-z0-9-]{0,62}/)?[a-z0-9][a-z0-9-]{0,62}")
OF_NO_ZONE = NotForDpu("the start script hands it to no node with a zone of its own")


def _switch(name: str, *options: str, default: str = "", span: ReleaseSpan = EVERY) -> Row:
    return Row(name, AsOption(options, default=default), span, Presence.ALWAYS)


def _perhaps(name: str, *options: str, span: ReleaseSpan = EVERY) -> Row:
    return Row(name, AsOption(options), span)


def _value(name: str, option: str, form: re.Pattern[str], default: str = "", span: ReleaseSpan = EVERY) -> Row:
    return Row(name, AsOption((option,), form, default), span)


VARIABLES = rows(
    _switch("OVN_ADMIN_NETWORK_POLICY_ENABLE", "enable-admin-network-policy"),
    _switch("OVN_DISABLE_FORWARDING", "disable-forwarding"),
    _switch("OVN_DISABLE_PKT_MTU_CHECK", "disable-pkt-mtu-check"),
    _switch("OVN_DISABLE_SNAT_MULTIPLE_GWS", "disable-snat-multiple-gws"),
    _switch("OVN_EGRESSFIREWALL_ENABLE", "enable-egress-firewall"),
    _switch("OVN_EGRESSIP_ENABLE", "enable-egress-ip"),
    _switch("OVN_EGRESSQOS_ENABLE", "enable-egress-qos"),
    _switch("OVN_EGRESSSERVICE_ENABLE", "enable-egress-service"),
    _switch("OVN_EMPTY_LB_EVENTS", "ovn-empty-lb-events"),
    _switch("OVN_ENABLE_MULTI_EXTERNAL_GATEWAY", "enable-multi-external-gateway"),
    _switch("OVN_MULTICAST_ENABLE", "enable-multicast"),
    _switch("OVN_MULTI_NETWORK_ENABLE", "enable-multi-network", "enable-multi-networkpolicy"),
    _switch("OVN_NETWORK_SEGMENTATION_ENABLE", "enable-multi-network", "enable-network-segmentation"),
    _switch("OVN_ALLOW_ICMP_NETPOL", "allow-icmp-network-policy"),
    _switch("OVN_DYNAMIC_UDN_ALLOCATION", "enable-dynamic-udn-allocation"),
    _switch("OVN_ENABLE_DNSNAMERESOLVER", "enable-dns-name-resolver"),
    _switch("OVN_ENABLE_SVC_TEMPLATE_SUPPORT", "enable-svc-template-support", default="true"),
    _switch("OVN_EVPN_ENABLE", "enable-evpn"),
    _switch("OVN_NETWORK_CONNECT_ENABLE", "enable-network-connect"),
    _switch("OVN_NETWORK_QOS_ENABLE", "enable-network-qos"),
    _switch("OVN_OBSERV_ENABLE", "enable-observability"),
    _switch("OVN_PRE_CONF_UDN_ADDR_ENABLE", "enable-preconfigured-udn-addresses"),
    _switch("OVN_ROUTE_ADVERTISEMENTS_ENABLE", "enable-route-advertisements"),
    _perhaps("OVN_UPLINK_ENABLE", "enable-uplink", span=_NEXT),
    _perhaps("OVN_DISABLE_REQUESTEDCHASSIS", "disable-requestedchassis"),
    _value("OVN_ACL_LOGGING_RATE_LIMIT", "acl-logging-rate-limit", NUMBER),
    _value("OVN_ADVERTISED_UDN_ISOLATION_MODE", "advertised-udn-isolation-mode", ISOLATION),
    _value("OVN_DYNAMIC_UDN_GRACE_PERIOD", "udn-deletion-grace-period", _DURATION),
    _value("OVN_ENABLE_LFLOW_CACHE", "enable-lflow-cache", BOOLEAN),
    _value("OVN_LFLOW_CACHE_LIMIT", "lflow-cache-limit", NUMBER),
    _value("OVN_LFLOW_CACHE_LIMIT_KB", "lflow-cache-limit-kb", NUMBER),
    _value("OVN_MONITOR_ALL", "monitor-all", BOOLEAN),
    _value("OVN_OFCTRL_WAIT_BEFORE_CLEAR", "ofctrl-wait-before-clear", NUMBER),
    _value("OVN_ENCAP_PORT", "encap-port", NUMBER),
    _value("OVN_HOST_NETWORK_NAMESPACE", "host-network-namespace", NAME, "ovn-host-network"),
    _value("OVN_MTU", "mtu", NUMBER),
    _value("OVN_ROUTABLE_MTU", "routable-mtu", NUMBER),
    _value("OVN_V4_JOIN_SUBNET", "gateway-v4-join-subnet", _SUBNET),
    _value("OVN_V4_MASQUERADE_SUBNET", "gateway-v4-masquerade-subnet", _SUBNET),
    _value("OVNKUBE_CLUSTER_DEFAULT_NAD", "cluster-default-nad", _NAMESPACED, span=_NEXT),
    Row("OVN_REMOTE_PROBE_INTERVAL", AsVariable("OVN_CONTROLLER_INACTIVITY_PROBE", NUMBER, "100000")),
    Row("OVN_NORTHD_BACKOFF_INTERVAL", AsVariable("OVN_NORTHD_BACKOFF_MS", NUMBER, "300")),
    alike(ReadElsewhere("networks of the tenant"), "OVN_NET_CIDR", "OVN_SVC_CIDR"),
    alike(ReadElsewhere("release of the tenant"), "OVN_DAEMONSET_VERSION"),
    alike(ReadElsewhere("option ovn-config-namespace"), "OVN_KUBERNETES_NAMESPACE"),
    alike(ReadElsewhere("option metrics-enable-config-duration"), "OVNKUBE_CONFIG_DURATION_ENABLE"),
    Row("OVN_ENABLE_INTERCONNECT", ReadElsewhere("option enable-interconnect"), _1_3),
    alike(IPSEC, "ENABLE_IPSEC"),
    alike(HYBRID_OVERLAY, "OVN_HYBRID_OVERLAY_ENABLE"),
    alike(NotForDpu("of the hybrid overlay, which is refused"), "OVN_HYBRID_OVERLAY_NET_CIDR"),
    alike(NO_OVERLAY, "OVN_NO_OVERLAY_ENABLE"),
    Row("OVN_GATEWAY_MODE", NotFollowed(SHARED_ONLY, frozenset({"", "shared"}))),
    alike(NotFollowed("options in free text are not handed on"), "OVN_GATEWAY_OPTS"),
    alike(NotFollowed("a DPU has no second interface for external gateways"), "OVN_EX_GW_NETWORK_INTERFACE"),
    alike(NotFollowed("DPUs start it with options of their own"), "OVN_NORTHD_OPTS", "OVN_CONTROLLER_OPTS"),
    alike(NotFollowed(NO_FLOWS), "OVN_NETFLOW_TARGETS", "OVN_SFLOW_TARGETS", "OVN_IPFIX_TARGETS"),
    alike(OF_FLOWS, "OVN_IPFIX_SAMPLING", "OVN_IPFIX_CACHE_MAX_FLOWS", "OVN_IPFIX_CACHE_ACTIVE_TIMEOUT"),
    alike(HEALTH_CHECK_PORT, "OVN_EGRESSIP_HEALTHCHECK_PORT"),
    alike(IPV4_ONLY, "OVN_V6_JOIN_SUBNET", "OVN_V6_MASQUERADE_SUBNET", "OVN_V6_TRANSIT_SUBNET"),
    alike(OF_MANAGEMENT_PORT, "OVNKUBE_NODE_MGMT_PORT_NETDEV", "OVNKUBE_NODE_MGMT_PORT_DP_RESOURCE_NAME"),
    alike(OF_GATEWAY, "OVN_GATEWAY_ROUTER_SUBNET", "OVN_ENCAP_IP"),
    alike(OF_GATEWAY, "OVN_DPU_HOST_GATEWAY_REPRESENTOR_INTERFACE", span=_NEXT),
    alike(OWN_CREDENTIAL, "K8S_APISERVER", "K8S_CACERT", "K8S_CACERT_DATA", "K8S_TOKEN", "K8S_TOKEN_FILE"),
    alike(OWN_CREDENTIAL, "OVN_ENABLE_OVNKUBE_IDENTITY"),
    alike(OWN_DATABASES, "OVN_SSL_ENABLE"),
    alike(
        OWN_DATABASES,
        *("OVN_NORTH", "OVN_SOUTH", "OVN_NB_PORT", "OVN_SB_PORT", "OVN_NB_RAFT_PORT", "OVN_SB_RAFT_PORT"),
        *("OVN_NB_RAFT_ELECTION_TIMER", "OVN_SB_RAFT_ELECTION_TIMER"),
        span=_1_3,
    ),
    alike(OWN_LOGS, "OVNKUBE_LOGLEVEL", "OVNKUBE_LOGFILE_MAXSIZE", "OVNKUBE_LOGFILE_MAXBACKUPS", "GOTRACEBACK"),
    alike(OWN_LOGS, "OVNKUBE_LOGFILE_MAXAGE", "OVNKUBE_LIBOVSDB_CLIENT_LOGFILE", "OVNKUBE_SH_VERBOSE"),
    alike(OWN_LOGS, "OVN_LOGLEVEL_CONTROLLER", "OVN_LOGLEVEL_NB", "OVN_LOGLEVEL_NORTHD", "OVN_LOGLEVEL_SB"),
    alike(OWN_METRICS, "METRICS_IP", "OVNKUBE_METRICS_SCALE_ENABLE", "OVNKUBE_METRICS_CERT", "OVNKUBE_METRICS_PK"),
    alike(OWN_METRICS, "OVN_METRICS_BIND_PORT", "OVN_METRICS_EXPORTER_PORT", "OVN_METRICS_WORKER_PORT"),
    Row("OVN_METRICS_MASTER_PORT", OWN_METRICS),
    Row("OVN_METRICS_CONTROLLER_PORT", OWN_METRICS, _NEXT),
    alike(OF_START, "K8S_NODE", "K8S_NODE_IP", "OVNKUBE_NODE_MODE", "POD_NAME"),
    Row("OVN_SIMULATE_DPU", NotForDpu("it is for machines without a DPU"), _NEXT),
    alike(NotForDpu("containers of a DPU have rights of their own"), "OVN_UNPRIVILEGED_MODE", "OVS_USER_ID"),
    alike(NotForDpu("the OVS of a DPU is not started by its pod"), "OVS_OPTIONS"),
    alike(OF_NO_ZONE, "OVN_ENABLE_PERSISTENT_IPS", "OVN_KUBERNETES_CONNTRACK_ZONE", "OVN_NOHOSTSUBNET_LABEL"),
    alike(OF_NO_ZONE, "OVN_STATELESS_NETPOL_ENABLE", "OVN_V4_TRANSIT_SUBNET"),
    alike(OF_NO_ZONE, "OVNKUBE_COMPACT_MODE_ENABLE", span=_1_3),
    alike(OF_NO_ZONE, "OVN_NORTHD_PROBE_INTERVAL", span=_NEXT),
)
"""Environment of DaemonSets `ovnkube-node` and `ovnkube-node-dpu-host`, and variables that the start script reads."""

_BY_VARIABLES = tuple(
    dict.fromkeys(
        option for row in VARIABLES.values() if isinstance(row.verdict, AsOption) for option in row.verdict.options
    )
)

OPTIONS = rows(
    alike(ReadElsewhere("variable"), *_BY_VARIABLES),
    Row("nodeport", FixedOption()),
    Row("enable-interconnect", FixedOption(), _1_3),
    Row("export-ovs-metrics", FixedOption()),
    Row("metrics-enable-config-duration", FixedOption()),
    Row("ovn-metrics-bind-address", FixedOption(METRICS_ADDRESS)),
    alike(ReadElsewhere("networks of the tenant"), "cluster-subnets", "k8s-service-cidr"),
    alike(ReadElsewhere("namespace of the tenant"), "ovn-config-namespace"),
    alike(ReadElsewhere("variable"), "inactivity-probe", "gateway-mode"),
    alike(ReadElsewhere("its own rows"), "config-file"),
    alike(HEALTH_CHECK_PORT, "egressip-node-healthcheck-port"),
    alike(HYBRID_OVERLAY, "enable-hybrid-overlay", "hybrid-overlay-cluster-subnets"),
    alike(IPV4_ONLY, "gateway-v6-join-subnet", "gateway-v6-masquerade-subnet"),
    alike(OF_FLOWS, "netflow-targets", "sflow-targets", "ipfix-targets"),
    alike(OF_FLOWS, "ipfix-sampling", "ipfix-cache-max-flows", "ipfix-cache-active-timeout"),
    alike(OF_GATEWAY, "encap-ip", "exgw-interface", "gateway-router-subnet"),
    Row("gateway-vlanid", OF_GATEWAY, _1_3),
    Row("dpu-host-gateway-representor-interface", OF_GATEWAY, _NEXT),
    alike(OF_MANAGEMENT_PORT, "ovnkube-node-mgmt-port-netdev", "ovnkube-node-mgmt-port-dp-resource-name"),
    alike(OWN_CREDENTIAL, "bootstrap-kubeconfig", "cert-dir", "k8s-apiserver", "k8s-cacert", "k8s-cacert-data"),
    alike(OWN_CREDENTIAL, "k8s-token", "k8s-token-file"),
    alike(OWN_DATABASES, "nb-client-privkey", "nb-client-cert", "nb-client-cacert", "nb-cert-common-name"),
    alike(
        OWN_DATABASES,
        *("nb-address", "sb-address", "sb-client-privkey", "sb-client-cert", "sb-client-cacert", "sb-cert-common-name"),
        span=_1_3,
    ),
    alike(
        OWN_LOGS, "libovsdblogfile", "logfile", "logfile-maxage", "logfile-maxbackups", "logfile-maxsize", "loglevel"
    ),
    alike(OWN_METRICS, "metrics-bind-address", "metrics-enable-pprof", "metrics-enable-scale"),
    alike(OWN_METRICS, "node-server-cert", "node-server-privkey"),
    alike(OF_START, "init-node", "init-ovnkube-controller", "init-ovnkube-controller-with-node", "ovnkube-node-mode"),
    alike(OF_START, "pidfile"),
    Row("zone", OF_START, _1_3),
    Row("simulate-dpu", NotForDpu("it is for machines without a DPU"), _NEXT),
    alike(NotForDpu("containers of a DPU have rights of their own"), "unprivileged-mode"),
    alike(OF_NO_ZONE, "enable-stateless-netpol"),
    alike(NotForDpu("an option of ovs-vsctl"), "if-exists"),
)
"""Options that the start script spells for a node with a zone of its own."""

KEYS = rows(
    Row(f"{OVN_CONFIG}/net_cidr", ReadElsewhere("variable OVN_NET_CIDR")),
    Row(f"{OVN_CONFIG}/svc_cidr", ReadElsewhere("variable OVN_SVC_CIDR")),
    Row(f"{OVN_CONFIG}/mtu", ReadElsewhere("variable OVN_MTU")),
    Row(f"{OVN_CONFIG}/routable_mtu", ReadElsewhere("variable OVN_ROUTABLE_MTU")),
    Row(f"{OVN_CONFIG}/host_network_namespace", ReadElsewhere("variable OVN_HOST_NETWORK_NAMESPACE")),
    Row(f"{OVN_CONFIG}/k8s_apiserver", OWN_CREDENTIAL),
    Row(f"{OVNKUBE_CONFIG}/ovnkube.conf", ReadElsewhere("its own rows")),
)
"""Keys of the chart's ConfigMaps."""
