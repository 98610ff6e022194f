"""The parts of the DaemonSet `ovnkube-node` that both topologies share.

Both topologies use the same name and the same selector, so that a tenant that migrates is served by one DaemonSet
that rolls, never by two at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dpunetop.base import jsonio
from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.names import (
    CONTROL_PLANE_LABELS,
    DPU_NODE_LABEL,
    OVNKUBE_NODE,
    OVNKUBE_NODE_ENTRIES,
    OVNKUBE_SERVICE_ACCOUNT,
    PROVEN_TEMPLATE_ANNOTATION,
    TEMPLATE_HASH_ANNOTATION,
)
from dpunetop.kube.keys import DAEMONSETS
from dpunetop.kube.meta import Obj, annotations_of, new_object

METRICS_PORT = 29103
"""On the loopback of the DPU: ovnkube's own metrics, which its probe reads."""

CREDENTIAL_FOLDER = "/var/run/secrets/tenant-kubeconfig"
"""Where the pods find the credential for the tenant; the Secret's keys are its files."""

_DESCRIPTION = "Runs OVN-Kubernetes on each DPU on behalf of the tenant host that carries it"
_POD_LABELS: Mapping[str, str] = {
    "app": OVNKUBE_NODE,
    "component": "network",
    "type": "infra",
    "openshift.io/component": "network",
    "kubernetes.io/os": "linux",
}

STATE_MOUNTS: tuple[Mapping[str, Any], ...] = (
    {"name": "entries", "mountPath": "/dpunetop/entries", "readOnly": True},
    {"name": "state", "mountPath": "/dpunetop/state"},
)
"""Where an entry script reads its entry, and where it pins it."""


@dataclass(frozen=True, slots=True)
class ContainerScripts:
    """The constant shell text of one container."""

    entry: str
    """Its command."""
    probe: str
    """Its probes; takes `ready` or `alive` as argument. Empty: it has no probes."""


@dataclass(frozen=True, slots=True)
class Part:
    """One container. All that differs between clusters comes in as environment or as arguments of the entry script."""

    name: str
    scripts: ContainerScripts
    environment: tuple[Mapping[str, Any], ...]
    mounts: tuple[Mapping[str, Any], ...]
    cpu: str = "10m"
    memory: str = "300Mi"
    privileged: bool = True
    arguments: tuple[str, ...] = ()
    metrics_port: int | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """The DaemonSet as a whole."""

    namespace: str
    owner: Owner
    image: str
    node_selector: Mapping[str, Any]
    """`spec.nodeSelector` of the DpuClusterConfig: a `metav1.LabelSelector`."""
    annotations: Mapping[str, str]
    """Of the pod template: hashes of the files that pods read only once."""
    labels: Mapping[str, str]
    """Of the pods, beside those that all have."""
    members: Mapping[str, Any]
    """Of the pod, beside those that all have."""
    parts: tuple[Part, ...]
    volumes: tuple[Mapping[str, Any], ...]
    closed: tuple[str, ...] = ()
    """Nodes that the selector picks and that must have no pod; in order."""


def daemonset(shape: Shape) -> dict[str, Any]:
    """The DaemonSet `ovnkube-node`, canonical for server-side apply.

    Guarantees: equal input gives equal output, byte for byte, whatever the order of labels.
    """
    spec = {
        "selector": {"matchLabels": {"app": OVNKUBE_NODE}},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
        "template": _template(shape),
    }
    desired = shape.owner.mark(new_object(DAEMONSETS, shape.namespace, OVNKUBE_NODE, spec=spec))
    desired["metadata"]["annotations"] = {"kubernetes.io/description": _DESCRIPTION}
    return desired


def has_newest_template(daemonset: Obj, pod: Obj) -> bool:
    """Whether `pod` was made from the current template of the live `daemonset`; its status is not asked.

    Guarantees: holds also where an admission webhook changes pods.
    """
    wanted = newest_template(daemonset)
    return bool(wanted) and annotations_of(pod).get(TEMPLATE_HASH_ANNOTATION) == wanted


def newest_template(daemonset: Obj) -> str:
    """Hash of the current template of the live `daemonset`; empty: it has none of ours."""
    return annotations_of(daemonset["spec"]["template"]).get(TEMPLATE_HASH_ANNOTATION, "")


def proven_template(daemonset: Obj) -> str:
    """Hash of the last template with which a DPU was seen to serve; empty: none yet."""
    return annotations_of(daemonset).get(PROVEN_TEMPLATE_ANNOTATION, "")


def with_proven(desired: Mapping[str, Any], template: str) -> dict[str, Any]:
    """The desired DaemonSet, annotated with the template that has served; empty: none has."""
    if not template:
        return dict(desired)
    metadata = desired["metadata"]
    notes = {**metadata["annotations"], PROVEN_TEMPLATE_ANNOTATION: template}
    return {**desired, "metadata": {**metadata, "annotations": notes}}


def _template(shape: Shape) -> dict[str, Any]:
    pod, labels = _pod(shape), {**_POD_LABELS, **shape.labels}
    annotations = dict(shape.annotations)
    annotations[TEMPLATE_HASH_ANNOTATION] = jsonio.digest([labels, annotations, pod])
    return {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod}


def value(name: str, text: str) -> dict[str, Any]:
    """A variable with a fixed value."""
    return {"name": name, "value": text}


def field_of_pod(name: str, path: str) -> dict[str, Any]:
    """A variable that the kubelet fills in from the pod; `apiVersion` is explicit, as the server defaults it."""
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def host_paths(paths: Mapping[str, str]) -> Iterable[Mapping[str, Any]]:
    """Volumes of the host, by name."""
    return ({"name": name, "hostPath": {"path": path}} for name, path in paths.items())


def state_volumes() -> Iterable[Mapping[str, Any]]:
    """Volumes of `STATE_MOUNTS`."""
    return ({"name": "entries", "configMap": {"name": OVNKUBE_NODE_ENTRIES}}, {"name": "state", "emptyDir": {}})


def secret_volume(volume: str, secret: str) -> Mapping[str, Any]:
    """A Secret that only its owner reads."""
    return {"name": volume, "secret": {"secretName": secret, "defaultMode": 0o400}}


def _pod(shape: Shape) -> dict[str, Any]:
    return {
        "serviceAccountName": OVNKUBE_SERVICE_ACCOUNT,
        "automountServiceAccountToken": False,
        "hostNetwork": True,
        "hostPID": True,
        "priorityClassName": "system-node-critical",
        "nodeSelector": {
            "kubernetes.io/os": "linux",
            **dict(sorted((shape.node_selector.get("matchLabels") or {}).items())),
        },
        "affinity": _affinity(shape.node_selector, shape.closed),
        "tolerations": [{"operator": "Exists"}],
        **shape.members,
        "containers": [_container(shape.image, part) for part in shape.parts],
        "volumes": [dict(volume) for volume in shape.volumes],
    }


def _affinity(node_selector: Mapping[str, Any], closed: Iterable[str]) -> dict[str, Any]:
    """Nodes are excluded by name, not selected by a label of the grant: a node that loses that label would lose its pod
    at once, and its host the network before it is drained."""
    expressions = [{"key": DPU_NODE_LABEL, "operator": "Exists"}]
    expressions += [{"key": label, "operator": "DoesNotExist"} for label in CONTROL_PLANE_LABELS]
    expressions += [_requirement(expression) for expression in node_selector.get("matchExpressions") or []]
    term: dict[str, Any] = {"matchExpressions": expressions}
    if fields := [{"key": "metadata.name", "operator": "NotIn", "values": [name]} for name in closed]:
        term["matchFields"] = fields  # one requirement each: the API server accepts a single value
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}


def _requirement(expression: Mapping[str, Any]) -> dict[str, Any]:
    # The operators of a label selector mean the same in a node selector; `values` must be absent where there are none.
    requirement = {"key": expression["key"], "operator": expression["operator"]}
    if expression.get("values"):
        requirement["values"] = list(expression["values"])
    return requirement


def _container(image: str, part: Part) -> dict[str, Any]:
    return {
        "name": part.name,
        "image": image,
        "command": ["/bin/bash", "-c", part.scripts.entry, part.name],
        **({"args": list(part.arguments)} if part.arguments else {}),
        "env": [dict(variable) for variable in part.environment],
        **({"securityContext": {"privileged": True}} if part.privileged else {}),
        "resources": {"requests": {"cpu": part.cpu, "memory": part.memory}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **(_probes(part) if part.scripts.probe else {}),
        "volumeMounts": [dict(mount) for mount in part.mounts],
        **({"ports": [_metrics(part.metrics_port)]} if part.metrics_port else {}),
    }


def _metrics(port: int) -> dict[str, Any]:
    return {"name": "metrics-port", "containerPort": port, "protocol": "TCP"}


def _probes(part: Part) -> dict[str, Any]:
    return {
        "readinessProbe": _probe(part, "ready", initialDelaySeconds=5, periodSeconds=10, failureThreshold=3),
        # Five minutes without an answer: a process that hangs, not one that is busy with a large recomputation.
        "livenessProbe": _probe(part, "alive", initialDelaySeconds=60, periodSeconds=30, failureThreshold=10),
    }


def _probe(part: Part, question: str, **pace: int) -> dict[str, Any]:
    command = ["/bin/bash", "-c", part.scripts.probe, part.name, question]
    return {"exec": {"command": command}, "timeoutSeconds": 10, **pace}
