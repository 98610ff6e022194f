"""What runs on each DPU for a tenant with central databases: ServiceAccount and DaemonSet `ovnkube-node`.

Shell text in the pods is constant and comes with this package; everything that varies arrives as an environment
variable or in a mounted file that the operator rendered. Desired objects are canonical for server-side apply.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.names import (
    GROUP,
    OVN_CA,
    OVN_CERT,
    OVN_CONTROLLER,
    OVNKUBE_CONFIG,
    OVNKUBE_NODE,
    OVNKUBE_SERVICE_ACCOUNT,
    TENANT_CREDENTIAL,
)
from dpunetop.domain.ovnkube.databases import DatabaseList
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
from dpunetop.kube.keys import SERVICEACCOUNTS
from dpunetop.kube.meta import Obj, new_object


@dataclass(frozen=True, slots=True)
class OvnkubeScripts:
    """The constant shell text of the pod."""

    ovn_controller: ContainerScripts
    ovnkube_node: ContainerScripts


@dataclass(frozen=True, slots=True)
class ContentHashes:
    """Hashes of the files that pods read only once: a change rolls the DaemonSet. The entries are not among them."""

    configuration: str
    certificate: str
    authority: str
    credential: str

    def annotations(self) -> dict[str, str]:
        """The annotations of the pod template."""
        return {
            f"{GROUP}/configuration-hash": self.configuration,
            f"{GROUP}/certificate-hash": self.certificate,
            f"{GROUP}/authority-hash": self.authority,
            f"{GROUP}/credential-hash": self.credential,
        }


@dataclass(frozen=True, slots=True)
class CentralInput:
    """All that the DaemonSet of a central tenant depends on."""

    namespace: str
    owner: Owner
    image: str
    databases: DatabaseList
    node_selector: Mapping[str, Any]
    """`spec.nodeSelector` of the DpuClusterConfig: a `metav1.LabelSelector`."""
    hashes: ContentHashes
    scripts: OvnkubeScripts
    closed: tuple[str, ...] = ()
    """See `pod.Shape`."""


def service_account(namespace: str, owner: Owner) -> dict[str, Any]:
    """The ServiceAccount of the pods; it needs no rights and its token is mounted nowhere."""
    return owner.mark(
        new_object(SERVICEACCOUNTS, namespace, OVNKUBE_SERVICE_ACCOUNT, automountServiceAccountToken=False)
    )


def central_daemonset(given: CentralInput) -> dict[str, Any]:
    """The DaemonSet `ovnkube-node` of a central tenant.

    Guarantees: equal input gives equal output; the pod template changes only where pods must restart.
    """
    return daemonset(
        Shape(
            namespace=given.namespace,
            owner=given.owner,
            image=given.image,
            node_selector=given.node_selector,
            annotations=given.hashes.annotations(),
            labels={},
            members={},
            parts=(_ovn_controller(given), _ovnkube_node(given)),
            closed=given.closed,
            volumes=_volumes(),
        )
    )


def deployed_databases(daemonset: Obj | None) -> DatabaseList | None:
    """The database list in a live DaemonSet, which is the last good one; None if it has none."""
    if daemonset is None:
        return None
    values = {
        variable.get("name"): variable.get("value")
        for container in daemonset["spec"]["template"]["spec"].get("containers") or []
        for variable in container.get("env") or []
    }
    nb, sb = values.get("OVN_NB_DB_LIST"), values.get("OVN_SB_DB_LIST")
    return DatabaseList(nb, sb) if nb and sb else None


def _ovn_controller(given: CentralInput) -> Part:
    environment = (value("OVN_LOG_LEVEL", "info"), field_of_pod("K8S_NODE", "spec.nodeName"))
    return Part(OVN_CONTROLLER, given.scripts.ovn_controller, environment, _COMMON_MOUNTS)


def _ovnkube_node(given: CentralInput) -> Part:
    environment = (
        value("OVN_CONTROLLER_INACTIVITY_PROBE", "30000"),
        value("OVN_KUBE_LOG_LEVEL", "4"),
        value("OVN_NB_DB_LIST", given.databases.nb),
        value("OVN_SB_DB_LIST", given.databases.sb),
        field_of_pod("K8S_NODE", "spec.nodeName"),
        field_of_pod("POD_NAME", "metadata.name"),
        field_of_pod("NODE_IP", "status.hostIP"),
    )
    mounts = (*_COMMON_MOUNTS, *_OVNKUBE_MOUNTS)
    return Part(OVNKUBE_NODE, given.scripts.ovnkube_node, environment, mounts, metrics_port=METRICS_PORT)


_COMMON_MOUNTS: tuple[Mapping[str, Any], ...] = (
    {"name": "run-openvswitch", "mountPath": "/run/openvswitch"},
    {"name": "run-ovn", "mountPath": "/run/ovn"},
    {"name": "etc-openvswitch", "mountPath": "/etc/openvswitch"},
    {"name": "etc-openvswitch", "mountPath": "/etc/ovn"},
    {"name": "var-lib-openvswitch", "mountPath": "/var/lib/openvswitch"},
    *STATE_MOUNTS,
    {"name": OVN_CERT, "mountPath": "/ovn-cert", "readOnly": True},
    {"name": OVN_CA, "mountPath": "/ovn-ca", "readOnly": True},
)
_OVNKUBE_MOUNTS: tuple[Mapping[str, Any], ...] = (
    {"name": "tenant-credential", "mountPath": CREDENTIAL_FOLDER, "readOnly": True},
    {"name": OVNKUBE_CONFIG, "mountPath": "/run/ovnkube-config", "readOnly": True},
    {"name": "host-run-ovn-kubernetes", "mountPath": "/run/ovn-kubernetes"},
    {
        "name": "host-run-netns",
        "mountPath": "/run/netns",
        "readOnly": True,
        "mountPropagation": "HostToContainer",
    },
)
_HOST_PATHS: Mapping[str, str] = {
    "run-openvswitch": "/var/run/openvswitch",
    "run-ovn": "/var/run/ovn",
    "etc-openvswitch": "/var/lib/openvswitch/etc",
    "var-lib-openvswitch": "/var/lib/openvswitch/data",
    "host-run-ovn-kubernetes": "/run/ovn-kubernetes",
    "host-run-netns": "/run/netns",
}


def _volumes() -> tuple[Mapping[str, Any], ...]:
    return (
        *host_paths(_HOST_PATHS),
        *state_volumes(),
        {"name": OVNKUBE_CONFIG, "configMap": {"name": OVNKUBE_CONFIG}},
        {"name": OVN_CA, "configMap": {"name": OVN_CA}},
        secret_volume(OVN_CERT, OVN_CERT),
        secret_volume("tenant-credential", TENANT_CREDENTIAL),
    )
