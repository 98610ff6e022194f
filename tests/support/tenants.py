"""Interconnect tenants of each release, as far as their settings go: where each release says what, in words of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dpunetop.domain.tenantrelease import Flavour, Release
from dpunetop.domain.tenantsettings import SettingsView

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
    (4, 20): _COMMON + _FEATURES_UP_TO_4_21 + _EXEC,
    (4, 21): _COMMON + _FEATURES_UP_TO_4_21 + '      addresses="--enable-preconfigured-udn-addresses"\n' + _EXEC,
    (4, 22): _COMMON
    + '      if [[ "true" == "true" ]]; then\n        icmp="--allow-icmp-network-policy"\n      fi\n'
    + _EXEC,
    (4, 23): _COMMON + '      evpn="--enable-evpn"\n' + _EXEC,
}


def openshift(
    version: tuple[int, int], conf: str | None = None, lease: Mapping[str, str] | None = None, **changes: Any
) -> SettingsView:
    """An OpenShift tenant; `changes` replace members of the view."""
    text = CONF
    if version >= (4, 22):
        switches = "".join(f"{name}=true\n" for name in IN_CONF_FROM_4_22 if name != "enable-egress-ip")
        text = CONF.replace("enable-egress-ip=true\n", f"enable-egress-ip=true\n{switches}")
    numbers = {"OVNKUBE_DPU_NODE_LEASE_RENEW_INTERVAL": "10", "OVNKUBE_DPU_NODE_LEASE_DURATION": "40"}
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
        "node_daemonset": workload("ovnkube-controller"),
        "host_daemonset": workload("ovnkube-controller", environment),
    }
    return SettingsView(**{**members, **changes})


UPSTREAM_ENVIRONMENT = {
    "OVN_DAEMONSET_VERSION": "1.3.0",
    "OVN_MTU": "8900",
    "OVN_ENCAP_PORT": "6081",
    "OVN_V4_JOIN_SUBNET": "100.64.0.0/16",
    "OVN_V4_MASQUERADE_SUBNET": "169.254.0.0/17",
    "OVN_ADMIN_NETWORK_POLICY_ENABLE": "true",
    "OVN_DISABLE_FORWARDING": "",
    "OVN_DISABLE_PKT_MTU_CHECK": "",
    "OVN_DISABLE_SNAT_MULTIPLE_GWS": "false",
    "OVN_EGRESSFIREWALL_ENABLE": "true",
    "OVN_EGRESSIP_ENABLE": "true",
    "OVN_EGRESSQOS_ENABLE": "",
    "OVN_EGRESSSERVICE_ENABLE": "",
    "OVN_EMPTY_LB_EVENTS": "",
    "OVN_ENABLE_MULTI_EXTERNAL_GATEWAY": "false",
    "OVN_MULTICAST_ENABLE": "true",
    "OVN_MULTI_NETWORK_ENABLE": "false",
    "OVN_NETWORK_SEGMENTATION_ENABLE": "true",
    "OVN_DISABLE_REQUESTEDCHASSIS": "true",
    "OVN_GATEWAY_MODE": "shared",
}


def upstream(environment: Mapping[str, str] | None = None, **changes: Any) -> SettingsView:
    """A tenant that runs OVN-Kubernetes as it comes from its own project."""
    members: dict[str, Any] = {
        "flavour": Flavour.UPSTREAM,
        "release": Release(Flavour.UPSTREAM, (1, 3)),
        "tenant_namespace": "ovn-kubernetes",
        "config_map": {"data": {"net_cidr": "10.244.0.0/16/24", "svc_cidr": "10.96.0.0/16"}},
        "script_lib": None,
        "node_daemonset": workload(
            "ovnkube-controller",
            {**UPSTREAM_ENVIRONMENT, **(environment or {})},
            {"OVN_NET_CIDR": "net_cidr", "OVN_SVC_CIDR": "svc_cidr"},
        ),
        "host_daemonset": workload("ovnkube-controller"),
    }
    return SettingsView(**{**members, **changes})


def workload(
    container: str, environment: Mapping[str, str] | None = None, referred: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """A DaemonSet with one container; `referred` are variables that come from ConfigMap `ovnkube-config`."""
    variables: list[dict[str, Any]] = [{"name": name, "value": text} for name, text in (environment or {}).items()]
    for name, key in (referred or {}).items():
        variables.append({"name": name, "valueFrom": {"configMapKeyRef": {"name": "ovnkube-config", "key": key}}})
    pod = {"containers": [{"name": container, "env": variables}]}
    return {"metadata": {"name": "ovnkube-node"}, "spec": {"template": {"spec": pod}}}
