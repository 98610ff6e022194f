"""What runs on each DPU for a tenant with central databases: ServiceAccount and DaemonSet `ovnkube-node`.

Shell text in the pods is constant and comes with this package; everything that differs arrives as an environment
variable or as a mounted file that the operator rendered. Desired objects are canonical for server-side apply.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dpunetop.domain.databases import DatabaseList
from dpunetop.domain.names import (
    DPU_NODE_LABEL,
    GROUP,
    OVN_CA,
    OVN_CERT,
    OVNKUBE_CONFIG,
    OVNKUBE_NODE,
    OVNKUBE_NODE_ENTRIES,
    OVNKUBE_SERVICE_ACCOUNT,
    TENANT_CREDENTIAL,
)
from dpunetop.domain.ownership import Owner
from dpunetop.kube.keys import DAEMONSETS, SERVICEACCOUNTS
from dpunetop.kube.meta import Obj, new_object

_METRICS_PORT = 29103

_OVN_CONTROLLER = "ovn-controller"
_DESCRIPTION = "Runs OVN-Kubernetes on each DPU on behalf of the tenant host that carries it"
_POD_LABELS: Mapping[str, str] = {
    "app": OVNKUBE_NODE,
    "component": "network",
    "type": "infra",
    "openshift.io/component": "network",
    "kubernetes.io/os": "linux",
}


@dataclass(frozen=True, slots=True)
class ContainerScripts:
    """The constant shell text of one container."""

    entry: str
    """Its command."""
    probe: str
    """Its probes; takes `ready` or `alive` as argument."""


@dataclass(frozen=True, slots=True)
class OvnkubeScripts:
    """The constant shell text of the pod."""

    ovn_controller: ContainerScripts
    ovnkube_node: ContainerScripts


@dataclass(frozen=True, slots=True)
class ContentHashes:
    """Hashes of what pods read only once: a change rolls the DaemonSet. The entries are not among them."""

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


def service_account(namespace: str, owner: Owner) -> dict[str, Any]:
    """The ServiceAccount of the pods; it needs no rights and its token is mounted nowhere."""
    return owner.mark(
        new_object(SERVICEACCOUNTS, namespace, OVNKUBE_SERVICE_ACCOUNT, automountServiceAccountToken=False)
    )


def central_daemonset(given: CentralInput) -> dict[str, Any]:
    """The DaemonSet `ovnkube-node` of a central tenant.

    Guarantees: equal input gives equal output; the pod template changes only with what it must be restarted for.
    """
    spec = {
        "selector": {"matchLabels": {"app": OVNKUBE_NODE}},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
        "template": {
            "metadata": {"labels": dict(_POD_LABELS), "annotations": given.hashes.annotations()},
            "spec": _pod(given),
        },
    }
    desired = given.owner.mark(new_object(DAEMONSETS, given.namespace, OVNKUBE_NODE, spec=spec))
    desired["metadata"]["annotations"] = {"kubernetes.io/description": _DESCRIPTION}
    return desired


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


def _pod(given: CentralInput) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "serviceAccountName": OVNKUBE_SERVICE_ACCOUNT,
        "automountServiceAccountToken": False,
        "hostNetwork": True,
        "hostPID": True,
        "priorityClassName": "system-node-critical",
        "nodeSelector": {"kubernetes.io/os": "linux", **(given.node_selector.get("matchLabels") or {})},
        "affinity": _affinity(given.node_selector),
        "tolerations": [{"operator": "Exists"}],
        "containers": [_ovn_controller(given), _ovnkube_node(given)],
        "volumes": _volumes(),
    }
    return pod


def _affinity(node_selector: Mapping[str, Any]) -> dict[str, Any]:
    expressions = [{"key": DPU_NODE_LABEL, "operator": "Exists"}]
    expressions += [_requirement(expression) for expression in node_selector.get("matchExpressions") or []]
    terms = [{"matchExpressions": expressions}]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


def _requirement(expression: Mapping[str, Any]) -> dict[str, Any]:
    # The operators of a label selector mean the same in a node selector; `values` must be absent where there are none.
    requirement = {"key": expression["key"], "operator": expression["operator"]}
    if expression.get("values"):
        requirement["values"] = list(expression["values"])
    return requirement


def _ovn_controller(given: CentralInput) -> dict[str, Any]:
    environment = [_value("OVN_LOG_LEVEL", "info"), _field("K8S_NODE", "spec.nodeName")]
    return _container(given, _OVN_CONTROLLER, given.scripts.ovn_controller, environment, _COMMON_MOUNTS)


def _ovnkube_node(given: CentralInput) -> dict[str, Any]:
    environment = [
        _value("OVN_CONTROLLER_INACTIVITY_PROBE", "30000"),
        _value("OVN_KUBE_LOG_LEVEL", "4"),
        _value("OVN_NB_DB_LIST", given.databases.nb),
        _value("OVN_SB_DB_LIST", given.databases.sb),
        _field("K8S_NODE", "spec.nodeName"),
        _field("POD_NAME", "metadata.name"),
        _field("NODE_IP", "status.hostIP"),
    ]
    container = _container(
        given, OVNKUBE_NODE, given.scripts.ovnkube_node, environment, (*_COMMON_MOUNTS, *_OVNKUBE_MOUNTS)
    )
    container["ports"] = [{"name": "metrics-port", "containerPort": _METRICS_PORT, "protocol": "TCP"}]
    return container


def _container(
    given: CentralInput,
    name: str,
    scripts: ContainerScripts,
    environment: list[dict[str, Any]],
    mounts: Iterable[Mapping[str, Any]],
) -> dict[str, Any]:
    return {
        "name": name,
        "image": given.image,
        "command": ["/bin/bash", "-c", scripts.entry, name],
        "env": environment,
        "securityContext": {"privileged": True},
        "resources": {"requests": {"cpu": "10m", "memory": "300Mi"}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "readinessProbe": _probe(scripts, "ready", initialDelaySeconds=5, periodSeconds=10, failureThreshold=3),
        # Five minutes of silence: only a process that hangs, not one that is busy with a large recomputation.
        "livenessProbe": _probe(scripts, "alive", initialDelaySeconds=60, periodSeconds=30, failureThreshold=10),
        "volumeMounts": [dict(mount) for mount in mounts],
    }


def _probe(scripts: ContainerScripts, question: str, **pace: int) -> dict[str, Any]:
    command = ["/bin/bash", "-c", scripts.probe, "probe", question]
    return {"exec": {"command": command}, "timeoutSeconds": 10, **pace}


def _value(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "value": value}


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


_COMMON_MOUNTS: tuple[Mapping[str, Any], ...] = (
    {"name": "run-openvswitch", "mountPath": "/run/openvswitch"},
    {"name": "run-ovn", "mountPath": "/run/ovn"},
    {"name": "etc-openvswitch", "mountPath": "/etc/openvswitch"},
    {"name": "etc-openvswitch", "mountPath": "/etc/ovn"},
    {"name": "var-lib-openvswitch", "mountPath": "/var/lib/openvswitch"},
    {"name": "entries", "mountPath": "/dpunetop/entries", "readOnly": True},
    {"name": "state", "mountPath": "/dpunetop/state"},
    {"name": OVN_CERT, "mountPath": "/ovn-cert", "readOnly": True},
    {"name": OVN_CA, "mountPath": "/ovn-ca", "readOnly": True},
)
_OVNKUBE_MOUNTS: tuple[Mapping[str, Any], ...] = (
    {"name": "tenant-credential", "mountPath": "/var/run/secrets/tenant-kubeconfig", "readOnly": True},
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


def _volumes() -> list[dict[str, Any]]:
    return [
        *({"name": name, "hostPath": {"path": path}} for name, path in _HOST_PATHS.items()),
        {"name": "entries", "configMap": {"name": OVNKUBE_NODE_ENTRIES}},
        {"name": "state", "emptyDir": {}},
        {"name": OVNKUBE_CONFIG, "configMap": {"name": OVNKUBE_CONFIG}},
        {"name": OVN_CA, "configMap": {"name": OVN_CA}},
        {"name": OVN_CERT, "secret": {"secretName": OVN_CERT, "defaultMode": 0o400}},
        {"name": "tenant-credential", "secret": {"secretName": TENANT_CREDENTIAL, "defaultMode": 0o400}},
    ]
