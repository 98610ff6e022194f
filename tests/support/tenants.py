"""Interconnect tenants of each release, as far as their settings go: where each release says what, in words of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dpunetop.domain.ovnkube.release import Flavour, Release
from dpunetop.domain.ovnkube.settings import SettingsView

IN_CONF_FROM_4_22 = (
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

CONF = """[default]
mtu="8900"
cluster-subnets="10.128.0.0/14/23"
encap-port="6081"
udn-allowed-default-services="default/kubernetes,openshift-dns/dns-default"

[kubernetes]
service-cidrs="172.30.0.0/16"
ovn-config-namespace="openshift-ovn-kubernetes"
apiserver="https://api-int.tenant.example:6443"
healthz-bind-address="0.0.0.0:10256"

[ovnkubernetesfeature]
enable-egress-ip=true
egressip-node-healthcheck-port=9107

[gateway]
mode=shared
nodeport=true
"""

_COMMON = """
    local northd_probe_interval=${1:-10000}
    backoff="options:northd-backoff-interval-ms=300"
    start-northd() {
      exec ovn-northd --n-threads=1 &
    }
    nbdb-post-start() {
      ovn-nbctl -t 5 --inactivity-probe=60000 set-connection punix:x
      local ipsec=false
    }
    start-controller() {
      exec ovn-controller \\
        --syslog-method="null" \\
        -vFACILITY:"local3"
    }
    rotate() {
      MAXFILESIZE=$(( "20"*1000000 ))
      MAXLOGFILES="7"
    }
    start-node() {
      multicast="--enable-multicast"
      mode_flag=
      if [ "${OVN_NODE_MODE}" == "dpu-host" ]; then
        mode_flag="--ovnkube-node-mode dpu-host"
        multicast=""
      fi
      # an option in a comment says nothing: --enable-evpn
      advertise=
      if [[ "true" == "true" ]]; then
        advertise="--enable-route-advertisements"
      fi
      observe=
      if [[ "false" == "true" ]]; then
        observe="--enable-observability"
      fi
      forward=
      if [ "Restricted" == "Global" ]; then
        sysctl -w net.ipv4.ip_forward=1
      else
        forward="--disable-forwarding"
      fi
      if [[ "strict" != "" ]]; then
        isolation="--advertised-udn-isolation-mode=strict"
      fi
      if [[ "100.65.0.0/16" != "" ]]; then
        join="--gateway-v4-join-subnet 100.65.0.0/16"
      fi
      if [[ "" != "" ]]; then
        join6="--gateway-v6-join-subnet "
      fi
      if [[ "" != "" ]]; then
        masquerade="--gateway-v4-masquerade-subnet "
      fi
      if [[ "100.89.0.0/16" != "" ]]; then
        transit="--cluster-manager-v4-transit-subnet 100.89.0.0/16"
      fi
      if [[ "" != "" ]]; then
        openflow="--openflow-probe="
      fi
"""
_SINCE_4_22 = """
      if [[ "false" == "true" ]]; then
        evpn="--enable-evpn"
      fi
      if [[ "true" != "" ]]; then
        icmp="--allow-icmp-network-policy=true"
      fi
"""
_FEATURES_UP_TO_4_21 = """
      egress="--enable-egress-ip=true --enable-egress-firewall=true --enable-egress-qos=true"
      service="--enable-egress-service=true"
      external="--enable-multi-external-gateway=true"
      if [ "${OVN_NODE_MODE}" == "dpu-host" ]; then
        egress=""
        external=""
      fi
      if [[ "${OVN_NODE_MODE}" != "dpu-host" ]]; then
        networks="--enable-multi-network"
        segments="--enable-network-segmentation"
        policy="--enable-admin-network-policy"
      fi
      if [[ "true" == "true"&& "${OVN_NODE_MODE}" != "dpu-host" ]]; then
        netpolicy="--enable-multi-networkpolicy"
      fi
      if [[ "" == "true" ]]; then
        resolver="--enable-dns-name-resolver"
      fi
      if [[ "true" == "true" ]]; then
        addresses="--enable-preconfigured-udn-addresses"
      fi
"""
_EXEC = """
      exec /usr/bin/ovnkube \\
        --init-node "${K8S_NODE}" \\
        --loglevel "${log_level}" \\
        ${multicast} \\
        --acl-logging-rate-limit "25"
    }
"""
_LIBRARIES = {
    # Its option is named otherwise: bindata/network/ovn-kubernetes/common/008-script-lib.yaml of release-4.20.
    (4, 20): (_COMMON + _FEATURES_UP_TO_4_21 + _EXEC).replace("v4-transit-subnet", "v4-transit-switch-subnet"),
    (4, 21): _COMMON + _FEATURES_UP_TO_4_21 + _EXEC,
    (4, 22): _COMMON + _SINCE_4_22 + _EXEC,
    (4, 23): _COMMON + _SINCE_4_22 + _EXEC,
}


def openshift(
    version: tuple[int, int], conf: str | None = None, lease: Mapping[str, str] | None = None, **changes: Any
) -> SettingsView:
    """An OpenShift tenant; `changes` replace members of the view."""
    text = CONF
    if version >= (4, 22):
        switches = "".join(f"{name}=true\n" for name in IN_CONF_FROM_4_22 if name != "enable-egress-ip")
        text = CONF.replace("enable-egress-ip=true\n", f"enable-egress-ip=true\n{switches}")
    numbers = {"OVNKUBE_NODE_LEASE_RENEW_INTERVAL": "10", "OVNKUBE_NODE_LEASE_DURATION": "40"}
    environment = {
        "OVN_CONTROLLER_INACTIVITY_PROBE": "180000",
        **(lease if lease is not None else numbers if version >= (4, 23) else {}),
    }
    members: dict[str, Any] = {
        "flavour": Flavour.OPENSHIFT,
        "release": Release(Flavour.OPENSHIFT, version),
        "tenant_namespace": "openshift-ovn-kubernetes",
        "config_map": {"data": {"ovnkube.conf": text if conf is None else conf}},
        "script_lib": {"data": {"ovnkube-lib.sh": _LIBRARIES[version]}},
        "node_daemonset": workload("ovnkube-controller", {"OVN_CONTROLLER_INACTIVITY_PROBE": "180000"}),
        "host_daemonset": workload("ovnkube-controller", environment),
    }
    return SettingsView(**{**members, **changes})


# As the chart writes them where nobody says anything, but for a few that are set here: ovn-kubernetes
# helm/ovn-kubernetes/charts/ovnkube-single-node-zone/templates/ovnkube-single-node-zone.yaml of release-1.3.
UPSTREAM_ENVIRONMENT = {
    "OVN_DAEMONSET_VERSION": "1.3.0",
    "OVN_ENCAP_PORT": "6081",
    "OVN_V4_JOIN_SUBNET": "100.64.0.0/16",
    "OVN_V4_MASQUERADE_SUBNET": "169.254.0.0/17",
    "OVN_V6_JOIN_SUBNET": "fd98::/64",
    "OVN_V6_MASQUERADE_SUBNET": "fd69::/112",
    "OVN_ADMIN_NETWORK_POLICY_ENABLE": "true",
    "OVN_ALLOW_ICMP_NETPOL": "false",
    "OVN_DISABLE_FORWARDING": "",
    "OVN_DISABLE_PKT_MTU_CHECK": "",
    "OVN_DISABLE_REQUESTEDCHASSIS": "true",
    "OVN_DISABLE_SNAT_MULTIPLE_GWS": "false",
    "OVN_DYNAMIC_UDN_ALLOCATION": "false",
    "OVN_DYNAMIC_UDN_GRACE_PERIOD": "",
    "OVN_EGRESSFIREWALL_ENABLE": "true",
    "OVN_EGRESSIP_ENABLE": "true",
    "OVN_EGRESSIP_HEALTHCHECK_PORT": "9107",
    "OVN_EGRESSQOS_ENABLE": "",
    "OVN_EGRESSSERVICE_ENABLE": "",
    "OVN_EMPTY_LB_EVENTS": "",
    "OVN_ENABLE_DNSNAMERESOLVER": "false",
    "OVN_ENABLE_INTERCONNECT": "true",
    "OVN_ENABLE_LFLOW_CACHE": "true",
    "OVN_ENABLE_MULTI_EXTERNAL_GATEWAY": "false",
    "OVN_ENABLE_SVC_TEMPLATE_SUPPORT": "true",
    "OVN_EVPN_ENABLE": "false",
    "OVN_GATEWAY_MODE": "shared",
    "OVN_GATEWAY_OPTS": "",
    "OVN_MULTICAST_ENABLE": "true",
    "OVN_MULTI_NETWORK_ENABLE": "false",
    "OVN_NETWORK_CONNECT_ENABLE": "",
    "OVN_NETWORK_QOS_ENABLE": "false",
    "OVN_NETWORK_SEGMENTATION_ENABLE": "true",
    "OVN_NO_OVERLAY_ENABLE": "false",
    "OVN_OBSERV_ENABLE": "false",
    "OVN_PRE_CONF_UDN_ADDR_ENABLE": "",
    "OVN_REMOTE_PROBE_INTERVAL": "100000",
    "OVN_ROUTE_ADVERTISEMENTS_ENABLE": "false",
    "OVN_UNPRIVILEGED_MODE": "no",
}
OF_CHART = {"net_cidr": "10.244.0.0/16/24", "svc_cidr": "10.96.0.0/16", "mtu": "8900"}
"""ConfigMap `ovn-config` of that chart."""
REFERRED = {
    "OVN_NET_CIDR": "net_cidr",
    "OVN_SVC_CIDR": "svc_cidr",
    "OVN_MTU": "mtu",
    "OVN_ROUTABLE_MTU": "routable_mtu",
    "OVN_HOST_NETWORK_NAMESPACE": "host_network_namespace",
    "K8S_APISERVER": "k8s_apiserver",
}


def upstream(environment: Mapping[str, str] | None = None, conf: str = "", **changes: Any) -> SettingsView:
    """A tenant that runs OVN-Kubernetes as it comes from its own project."""
    chart = {**OF_CHART, "host_network_namespace": "ovn-host-network", "k8s_apiserver": "https://192.0.2.9:6443"}
    members: dict[str, Any] = {
        "flavour": Flavour.UPSTREAM,
        "release": Release(Flavour.UPSTREAM, (1, 3)),
        "tenant_namespace": "ovn-kubernetes",
        "config_map": {"data": {"ovnkube.conf": conf}},
        "chart_config_map": {"data": chart},
        "script_lib": None,
        "node_daemonset": workload("ovnkube-controller", {**UPSTREAM_ENVIRONMENT, **(environment or {})}, REFERRED),
        "host_daemonset": workload("ovnkube-controller", {"OVNKUBE_NODE_MODE": "dpu-host"}),
    }
    return SettingsView(**{**members, **changes})


def workload(
    container: str, environment: Mapping[str, str] | None = None, referred: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """A DaemonSet with one container; `referred` are variables that come from ConfigMap `ovn-config`."""
    variables: list[dict[str, Any]] = [{"name": name, "value": text} for name, text in (environment or {}).items()]
    for name, key in (referred or {}).items():
        variables.append({"name": name, "valueFrom": {"configMapKeyRef": {"name": "ovn-config", "key": key}}})
    pod = {"containers": [{"name": container, "env": variables}]}
    return {"metadata": {"name": "ovnkube-node"}, "spec": {"template": {"spec": pod}}}
