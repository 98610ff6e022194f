"""The parts of a pod template that a kubelet acts on: commands, variables, probes, mounts.

Rules cite Kubernetes v1.37.2. A field that our pods do not use is refused by name.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class NotSupported(Exception):
    """The template uses a field that is not supported here."""


class ProbeType(enum.Enum):
    """The type of a probe; the value is the field of a container that holds it."""

    READINESS = "readinessProbe"
    LIVENESS = "livenessProbe"


@dataclass(frozen=True)
class Identity:
    """The facts about the pod that the kubelet knows beside its template."""

    node: str
    host_address: str
    name: str = "ovnkube-node-x7k2p"
    namespace: str = "default"

    def field(self, path: str) -> str:
        """The value of a `fieldRef`. Raises: NotSupported."""
        known = {
            "spec.nodeName": self.node,
            "status.hostIP": self.host_address,
            # The pods use the host network.
            "status.podIP": self.host_address,
            "metadata.name": self.name,
            "metadata.namespace": self.namespace,
        }
        if path not in known:
            raise NotSupported(f"fieldRef {path}")
        return known[path]


@dataclass(frozen=True)
class ProbeSpec:
    """An exec probe. Defaults: pkg/apis/core/v1/defaults.go `SetDefaults_Probe`."""

    command: tuple[str, ...]
    initial_delay_seconds: float
    period_seconds: float
    timeout_seconds: float
    success_threshold: int
    failure_threshold: int


@dataclass(frozen=True)
class Mount:
    """A volume in a container."""

    volume: str
    path: str
    sub_path: str
    options: tuple[str, ...]
    """Of the mount: `ro`, `rslave`."""


@dataclass(frozen=True)
class ContainerSpec:
    """One container, as the container runtime gets it."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    probes: Mapping[ProbeType, ProbeSpec]
    mounts: tuple[Mount, ...]
    privileged: bool


@dataclass(frozen=True)
class PodSpec:
    """A pod. Default of the grace period: pkg/apis/core/v1/defaults.go `SetDefaults_PodSpec`."""

    containers: tuple[ContainerSpec, ...]
    volumes: tuple[Mapping[str, Any], ...]
    grace_seconds: float


def pod_spec(template: Mapping[str, Any], identity: Identity) -> PodSpec:
    """Read `spec.template` of a workload. Raises: NotSupported."""
    spec = template["spec"]
    _only_these("a pod", spec, _PLAYED_OF_POD)
    if not (spec.get("hostNetwork") and spec.get("hostPID")):
        raise NotSupported("a pod with a network or processes of its own")
    return PodSpec(
        tuple(_container(part, identity) for part in spec["containers"]),
        tuple(spec.get("volumes") or ()),
        float(spec.get("terminationGracePeriodSeconds", 30)),
    )


_PLAYED_OF_POD = {
    *("containers", "volumes", "terminationGracePeriodSeconds"),
    # Scheduler and API server handle these.
    *("affinity", "nodeSelector", "tolerations", "priorityClassName"),
    *("serviceAccountName", "automountServiceAccountToken", "hostNetwork", "hostPID", "dnsPolicy"),
    # API server and scheduler fill these in.
    *("restartPolicy", "schedulerName", "securityContext", "serviceAccount"),
    *("nodeName", "priority", "preemptionPolicy", "enableServiceLinks"),
}
_PLAYED_OF_CONTAINER = {
    *("name", "image", "command", "args", "env", "volumeMounts", "readinessProbe", "livenessProbe"),
    *("securityContext", "resources", "terminationMessagePolicy", "ports"),
    *("terminationMessagePath", "imagePullPolicy"),
}


def _container(part: Mapping[str, Any], identity: Identity) -> ContainerSpec:
    _only_these(f"container {part['name']}", part, _PLAYED_OF_CONTAINER)
    given = part.get("env") or []
    variables = _variables(given, identity)
    command = [*part["command"], *(part.get("args") or [])]
    return ContainerSpec(
        name=part["name"],
        command=tuple(expand(text, variables) for text in command),
        environment={"HOSTNAME": identity.node, **_SERVICE_LINKS, **variables},
        probes=dict(_probes(part, given)),
        mounts=tuple(_mount(mount) for mount in part.get("volumeMounts") or []),
        privileged=_is_privileged(part),
    )


def _is_privileged(part: Mapping[str, Any]) -> bool:
    context = part.get("securityContext") or {}
    _only_these(f"the securityContext of container {part['name']}", context, {"privileged"})
    return bool(context.get("privileged", False))


# Every container gets these: pkg/kubelet/kubelet_pods.go `getServiceEnvVarMap`, whose
# service of the API server is in every pod. Nothing answers at this address here.
_SERVICE_LINKS: Mapping[str, str] = {
    "KUBERNETES_SERVICE_HOST": "172.30.0.1",
    "KUBERNETES_SERVICE_PORT": "443",
    "KUBERNETES_SERVICE_PORT_HTTPS": "443",
    "KUBERNETES_PORT": "tcp://172.30.0.1:443",
    "KUBERNETES_PORT_443_TCP": "tcp://172.30.0.1:443",
    "KUBERNETES_PORT_443_TCP_PROTO": "tcp",
    "KUBERNETES_PORT_443_TCP_PORT": "443",
    "KUBERNETES_PORT_443_TCP_ADDR": "172.30.0.1",
}


def _variables(given: Iterable[Mapping[str, Any]], identity: Identity) -> dict[str, str]:
    """Each variable may refer to earlier ones: pkg/kubelet/kubelet_pods.go `makeEnvironmentVariables`."""
    found: dict[str, str] = {}
    for variable in given:
        source = variable.get("valueFrom")
        if source is None:
            found[variable["name"]] = expand(variable.get("value", ""), found)
        elif "fieldRef" in source:
            found[variable["name"]] = identity.field(source["fieldRef"]["fieldPath"])
        else:
            raise NotSupported(f"variable {variable['name']} from {', '.join(source)}")
    return found


def _probes(part: Mapping[str, Any], given: Iterable[Mapping[str, Any]]) -> Iterable[tuple[ProbeType, ProbeSpec]]:
    # pkg/kubelet/container/helpers.go `ExpandContainerCommandOnlyStatic`: what comes from elsewhere is empty.
    static = {variable["name"]: variable.get("value", "") for variable in given}
    for question in ProbeType:
        probe = part.get(question.value)
        if probe is not None:
            yield question, _probe(probe, static)


def _probe(probe: Mapping[str, Any], static: Mapping[str, str]) -> ProbeSpec:
    if "exec" not in probe:
        raise NotSupported(f"a probe by {', '.join(probe)}")
    return ProbeSpec(
        command=tuple(expand(text, static) for text in probe["exec"]["command"]),
        initial_delay_seconds=float(probe.get("initialDelaySeconds", 0)),
        period_seconds=float(probe.get("periodSeconds", 10)),
        timeout_seconds=float(probe.get("timeoutSeconds", 1)),
        success_threshold=int(probe.get("successThreshold", 1)),
        failure_threshold=int(probe.get("failureThreshold", 3)),
    )


_PROPAGATIONS: Mapping[str, tuple[str, ...]] = {
    "None": ("rprivate",),
    "HostToContainer": ("rslave",),
    "Bidirectional": ("rshared",),
}


def _mount(mount: Mapping[str, Any]) -> Mount:
    _only_these(f"mount {mount['name']}", mount, {"name", "mountPath", "subPath", "readOnly", "mountPropagation"})
    options = (*_PROPAGATIONS[mount.get("mountPropagation", "None")], *(("ro",) if mount.get("readOnly") else ()))
    return Mount(mount["name"], mount["mountPath"], mount.get("subPath", ""), options)


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Expand `$(NAME)`; `$$` is one `$`, and an unknown name stays as it is.

    Source: third_party/forked/golang/expansion/expand.go.
    """
    result, rest = "", text
    while "$" in rest[:-1]:
        before, _, rest = rest.partition("$")
        result += before
        closed = rest.find(")", 1) if rest[0] == "(" else -1
        if rest[0] == "(" and closed > 0:
            name, rest = rest[1:closed], rest[closed + 1 :]
            result += variables.get(name, f"$({name})")
        elif rest[0] == "$":
            result, rest = result + "$", rest[1:]
        else:
            result, rest = f"{result}${rest[0]}", rest[1:]
    return result + rest


def _only_these(what: str, given: Mapping[str, Any], played: Iterable[str]) -> None:
    strange: Sequence[str] = sorted(set(given) - set(played))
    if strange:
        raise NotSupported(f"{', '.join(strange)} of {what}")
