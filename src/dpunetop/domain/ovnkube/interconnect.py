"""What runs on each DPU for an interconnect tenant: the DaemonSet `ovnkube-node` with a zone of its own on every DPU.

The zone is the tenant host. Its databases are local and reached by sockets only, so no certificate of the tenant is
copied; only Geneve and requests to the tenant's API cross the clusters. Host folders differ from those of a central
tenant, so that after a change of topology no pod reads the databases of the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dpunetop.base import jsonio
from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.names import (
    CREDENTIAL_FILE_KEY,
    GROUP,
    OVN_CONTROLLER,
    OVNKUBE_CONFIG,
    OVNKUBE_CONTROLLER,
    TENANT_CREDENTIAL,
)
from dpunetop.domain.ovnkube.pod import (
    CREDENTIAL_FOLDER,
    METRICS_PORT,
    STATE_MOUNTS,
    ContainerScripts,
    Part,
    Shape,
    daemonset,
    field_of_pod,
    host_paths,
    secret_volume,
    state_volumes,
    value,
)
from dpunetop.domain.ovnkube.release import Flavour
from dpunetop.domain.ovnkube.settingsreader import NodeSettings
from dpunetop.kube.meta import Obj

_DATABASES: Mapping[str, str] = {"nbdb": "nb", "sbdb": "sb"}


@dataclass(frozen=True, slots=True)
class InterconnectScripts:
    """The constant shell text of the pod."""

    database: ContainerScripts
    northd: ContainerScripts
    ovn_controller: ContainerScripts
    ovn_acl_logging: ContainerScripts
    ovnkube_controller: ContainerScripts


@dataclass(frozen=True, slots=True)
class InterconnectHashes:
    """Hashes of the files that pods read only once; the settings are in the pod template itself."""

    configuration: str | None
    """Of the copied `ovnkube.conf`; None where the tenant's flavour has none."""
    credential: str
    """See `credential_digest`."""

    def annotations(self) -> dict[str, str]:
        """The annotations of the pod template."""
        configuration = {f"{GROUP}/configuration-hash": self.configuration} if self.configuration else {}
        return {**configuration, f"{GROUP}/credential-hash": self.credential}


@dataclass(frozen=True, slots=True)
class InterconnectInput:
    """All that the DaemonSet of an interconnect tenant depends on."""

    namespace: str
    owner: Owner
    image: str
    node_selector: Mapping[str, Any]
    """`spec.nodeSelector` of the DpuClusterConfig: a `metav1.LabelSelector`."""
    settings: NodeSettings
    hashes: InterconnectHashes
    scripts: InterconnectScripts
    closed: tuple[str, ...] = ()
    """See `pod.Shape`."""


def interconnect_daemonset(given: InterconnectInput) -> dict[str, Any]:
    """The DaemonSet `ovnkube-node` of an interconnect tenant.

    Guarantees: equal input gives equal output; the pod template changes only where pods must restart; the pods mount
        files of the tenant only as parsed and rendered again.
    """
    return daemonset(
        Shape(
            namespace=given.namespace,
            owner=given.owner,
            image=given.image,
            node_selector=given.node_selector,
            annotations=given.hashes.annotations(),
            labels={"ovn-db-pod": "true"},
            members={"dnsPolicy": "Default"},
            parts=_parts(given),
            closed=given.closed,
            volumes=_volumes(given),
        )
    )


def credential_digest(secret: Obj) -> str:
    """Hash of the parts of the credential that pods read only once: all but the token file."""
    data = secret.get("data") or {}
    return jsonio.digest({key: text for key, text in data.items() if key != CREDENTIAL_FILE_KEY})


def _parts(given: InterconnectInput) -> tuple[Part, ...]:
    return (
        _ovn_controller(given),
        _ovn_acl_logging(given),
        Part("northd", given.scripts.northd, _environment(), _RUN_MOUNTS, memory="70Mi", privileged=False),
        *(_database(given, name) for name in _DATABASES),
        _ovnkube_controller(given),
    )


def _environment(**more: str) -> tuple[Mapping[str, Any], ...]:
    values = (value(name, text) for name, text in more.items())
    return (value("OVN_LOG_LEVEL", "info"), *values, field_of_pod("K8S_NODE", "spec.nodeName"))


def _ovn_controller(given: InterconnectInput) -> Part:
    audit = given.settings.audit
    environment = _environment(OVN_AUDIT_SYSLOG_METHOD=audit.syslog_method, OVN_AUDIT_FACILITY=audit.facility)
    mounts = (*_OPEN_VSWITCH_MOUNTS, *_LOG_MOUNTS, {"name": "dev-log", "mountPath": "/dev/log"})
    return Part(OVN_CONTROLLER, given.scripts.ovn_controller, environment, mounts, cpu="50m")


def _ovn_acl_logging(given: InterconnectInput) -> Part:
    audit = given.settings.audit
    environment = _environment(
        OVN_AUDIT_MOST_MEGABYTES=str(audit.most_megabytes), OVN_AUDIT_MOST_FILES=str(audit.most_files)
    )
    mounts = (*_RUN_MOUNTS, *_LOG_MOUNTS)
    return Part("ovn-acl-logging", given.scripts.ovn_acl_logging, environment, mounts, memory="20Mi", privileged=False)


def _database(given: InterconnectInput, name: str) -> Part:
    environment = _environment(OVN_DATABASE=_DATABASES[name])
    mounts = (*_RUN_MOUNTS, *_DATABASE_MOUNTS, *_LOG_MOUNTS)
    return Part(name, given.scripts.database, environment, mounts, privileged=False)


def _ovnkube_controller(given: InterconnectInput) -> Part:
    settings = given.settings
    environment = _environment(
        OVN_KUBE_LOG_LEVEL="4",
        OVN_CONTROLLER_INACTIVITY_PROBE=str(settings.inactivity_probe_ms),
        OVN_NORTHD_PROBE_INTERVAL=str(settings.northd_probe_ms),
        OVN_NORTHD_BACKOFF_MS=str(settings.northd_backoff_ms),
        OVN_ENCAP_PORT=str(settings.encap_port),
    )
    pod = (field_of_pod("POD_NAME", "metadata.name"), field_of_pod("NODE_IP", "status.hostIP"))
    configuration = _CONFIGURATION_MOUNTS if settings.flavour is Flavour.OPENSHIFT else ()
    return Part(
        OVNKUBE_CONTROLLER,
        given.scripts.ovnkube_controller,
        (*environment, *pod),
        (*_OPEN_VSWITCH_MOUNTS, *_LOG_MOUNTS, *_OVNKUBE_MOUNTS, *configuration),
        memory="600Mi",
        arguments=settings.arguments,
        metrics_port=METRICS_PORT,
    )


_RUN_MOUNTS: tuple[Mapping[str, Any], ...] = ({"name": "run-ovn", "mountPath": "/run/ovn"}, *STATE_MOUNTS)
_DATABASE_MOUNTS: tuple[Mapping[str, Any], ...] = (
    {"name": "etc-openvswitch", "mountPath": "/etc/openvswitch"},
    # The folder of the database files differs between builds of OVN.
    {"name": "etc-openvswitch", "mountPath": "/etc/ovn"},
    {"name": "etc-openvswitch", "mountPath": "/var/lib/ovn"},
)
_OPEN_VSWITCH_MOUNTS: tuple[Mapping[str, Any], ...] = (
    {"name": "run-openvswitch", "mountPath": "/run/openvswitch"},
    {"name": "var-lib-openvswitch", "mountPath": "/var/lib/openvswitch"},
    *_DATABASE_MOUNTS,
    *_RUN_MOUNTS,
)
_LOG_MOUNTS: tuple[Mapping[str, Any], ...] = ({"name": "var-log-ovn", "mountPath": "/var/log/ovn"},)
_CONFIGURATION_MOUNTS: tuple[Mapping[str, Any], ...] = (
    {"name": OVNKUBE_CONFIG, "mountPath": "/run/ovnkube-config", "readOnly": True},
)
_OVNKUBE_MOUNTS: tuple[Mapping[str, Any], ...] = (
    {"name": "tenant-credential", "mountPath": CREDENTIAL_FOLDER, "readOnly": True},
    {"name": "host-run-ovn-kubernetes", "mountPath": "/run/ovn-kubernetes"},
    {
        "name": "host-run-netns",
        "mountPath": "/run/netns",
        "readOnly": True,
        "mountPropagation": "HostToContainer",
    },
    {"name": "run-systemd", "mountPath": "/run/systemd/private", "subPath": "private", "readOnly": True},
)
_HOST_PATHS: Mapping[str, str] = {
    "run-openvswitch": "/var/run/openvswitch",
    "var-lib-openvswitch": "/var/lib/openvswitch/data",
    "run-ovn": "/var/run/ovn-ic",
    "etc-openvswitch": "/var/lib/ovn-ic/etc",
    "var-log-ovn": "/var/log/ovn",
    "dev-log": "/dev/log",
    "host-run-ovn-kubernetes": "/run/ovn-kubernetes",
    "host-run-netns": "/run/netns",
    "run-systemd": "/run/systemd",
}


def _volumes(given: InterconnectInput) -> tuple[Mapping[str, Any], ...]:
    configuration = {"name": OVNKUBE_CONFIG, "configMap": {"name": OVNKUBE_CONFIG}}
    return (
        *host_paths(_HOST_PATHS),
        *state_volumes(),
        *((configuration,) if given.settings.flavour is Flavour.OPENSHIFT else ()),
        secret_volume("tenant-credential", TENANT_CREDENTIAL),
    )
