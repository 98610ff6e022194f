"""The custom resource DpuClusterConfig, parsed for the decisions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from dpunetop.domain.names import CLAIMED_POOL, FINALIZER, READY_CONDITION
from dpunetop.kube.meta import Obj, annotations_of, generation_of, is_terminating, name_of, namespace_of, uid_of


class TopologyChoice(Enum):
    """`spec.topology`."""

    AUTO = "Auto"
    CENTRAL = "Central"
    INTERCONNECT = "Interconnect"


class DeletionPolicy(Enum):
    """What happens to pool and MachineConfig when the DpuClusterConfig is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class CredentialChoice(Enum):
    """`spec.tenantCredential`: the identity of the DPU pods in the tenant."""

    AUTO = "Auto"
    """Minted where the rights allow it, else provided."""
    MINTED = "Minted"
    """A ServiceAccount of our own, with a token that is renewed."""
    PROVIDED = "Provided"
    """The user of the given kubeconfig."""


@dataclass(frozen=True, slots=True)
class DrainSpec:
    """`spec.drain`: how the hosts of a tenant are drained; None: it is not set."""

    max_unavailable: int | str | None = None
    """A number of hosts, or a percentage such as `10%`."""
    timeout_seconds: int | None = None
    aborts_on_timeout: bool = False
    limits: Mapping[str, int] = field(default_factory=dict)
    """Seconds, by the names of the API; see `drain.limits`."""


class OutagePolicy(Enum):
    """What the operator does about a host whose network fails outside a drain."""

    REPORT = "Report"
    CORDON = "Cordon"


@dataclass(frozen=True, slots=True)
class UnplannedSpec:
    """`spec.unplanned`: what is done about a host whose network fails outside a drain."""

    policy: OutagePolicy = OutagePolicy.REPORT
    after_seconds: int = 300
    max_hosts: int | str = "10%"
    """A number of hosts, or a percentage such as `10%`."""


@dataclass(frozen=True, slots=True)
class ConfigRefused:
    """Why nothing is done for a DpuClusterConfig, as reason and message of its condition."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Proven:
    """The addresses at which a server (see `tenant.kubeconfigmodel.server_print`) has proved its identity by TLS."""

    server: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DpuClusterConfig:
    """One tenant, as its custom resource asks for it.

    `refused` says why it is not served; None: it is (see `admission`). `live` is the object it was parsed from. A
    member that is None was not set. `tenant_uid` is the identity of the tenant cluster, from the status.
    """

    live: Obj
    namespace: str
    name: str
    uid: str
    generation: int
    terminating: bool
    has_finalizer: bool
    was_served: bool
    """See `was_served`."""
    pool_name: str
    node_selector: Mapping[str, Any] | None
    kubeconfig_secret: str | None
    topology: TopologyChoice
    image: str | None
    tenant_namespace: str | None
    deletion_policy: DeletionPolicy
    tenant_uid: str | None
    annotations: Mapping[str, str]
    refused: ConfigRefused | None = None
    tenant_credential: CredentialChoice = CredentialChoice.AUTO
    drain: DrainSpec = DrainSpec()
    unplanned: UnplannedSpec = UnplannedSpec()
    tenant_root: str | None = None
    """Identity of the CA behind the tenant, from the status; see `tenant.link.root_print`."""

    proven: Proven | None = None
    """Where the tenant has proved its identity, from the status."""

    @property
    def tenant_cluster(self) -> str:
        """Name under which the tenant's API server is engaged."""
        return tenant_cluster_name(self.namespace, self.name)


def tenant_cluster_name(namespace: str, name: str) -> str:
    """Name of the tenant cluster of the DpuClusterConfig `namespace`/`name`."""
    return f"tenant/{namespace}/{name}"


def config_of_tenant(cluster: str) -> tuple[str, str]:
    """Namespace and name of the DpuClusterConfig whose tenant cluster has this name."""
    _, namespace, name = cluster.split("/")
    return namespace, name


def has_finalizer(obj: Obj) -> bool:
    """Whether a DpuClusterConfig has our finalizer."""
    return FINALIZER in (obj["metadata"].get("finalizers") or ())


def was_served(obj: Obj) -> bool:
    """Whether the operator has ever begun to serve a DpuClusterConfig, and so may have written something for it.

    Its status says so, which its author cannot write. One that an older release served has our finalizer and a
    condition that was True: that release set the finalizer also where it could do nothing.
    """
    status = obj.get("status") or {}
    if status.get(CLAIMED_POOL):
        return True
    conditions = (each for each in status.get("conditions") or () if each.get("type") != READY_CONDITION)
    has_come_true = bool(status.get("tenantUID")) or any(each.get("status") == "True" for each in conditions)
    return has_finalizer(obj) and has_come_true


def parse_config(obj: Obj) -> DpuClusterConfig:
    """Read a DpuClusterConfig; the schema has checked its types.

    Guarantees: takes what the predecessor stored, such as an empty `poolName`; values that the schema of today would
        refuse are left for `admission` to name.
    """
    spec = obj.get("spec") or {}
    return DpuClusterConfig(
        live=obj,
        namespace=namespace_of(obj),
        name=name_of(obj),
        uid=uid_of(obj),
        generation=generation_of(obj),
        terminating=is_terminating(obj),
        has_finalizer=has_finalizer(obj),
        was_served=was_served(obj),
        pool_name=spec.get("poolName") or "",
        node_selector=spec.get("nodeSelector") or None,
        kubeconfig_secret=spec.get("kubeConfigFile") or None,
        topology=TopologyChoice(spec.get("topology", "Auto")),
        image=spec.get("image") or None,
        tenant_namespace=spec.get("tenantNamespace") or None,
        deletion_policy=DeletionPolicy(spec.get("deletionPolicy", "Retain")),
        tenant_uid=(obj.get("status") or {}).get("tenantUID") or None,
        annotations=annotations_of(obj),
        tenant_credential=CredentialChoice(spec.get("tenantCredential", "Auto")),
        drain=_drain(spec.get("drain") or {}),
        unplanned=_unplanned(spec.get("unplanned") or {}),
        tenant_root=(obj.get("status") or {}).get("tenantRoot") or None,
        proven=_proven(obj.get("status") or {}),
    )


def _proven(status: Mapping[str, Any]) -> Proven | None:
    server = status.get("tenantServer")
    return Proven(server, tuple(status.get("tenantAddresses") or ())) if server else None


_DURATION = re.compile(r"([0-9]{1,9})(h|m|s)")
_UNITS = {"h": 3600, "m": 60, "s": 1}


def _drain(spec: Mapping[str, Any]) -> DrainSpec:
    limits = {name: seconds for name, text in (spec.get("limits") or {}).items() if (seconds := _seconds(text))}
    seconds = _seconds(spec.get("timeout"))
    return DrainSpec(spec.get("maxUnavailable"), seconds or None, spec.get("onTimeout") == "Abort", limits)


def _unplanned(spec: Mapping[str, Any]) -> UnplannedSpec:
    default = UnplannedSpec()
    return UnplannedSpec(
        OutagePolicy(spec.get("policy", default.policy.value)),
        _seconds(spec.get("after")) or default.after_seconds,
        spec.get("maxHosts", default.max_hosts),
    )


def _seconds(duration: object) -> int:
    """Seconds of a duration of the API; 0: none is given."""
    return sum(int(number) * _UNITS[unit] for number, unit in _DURATION.findall(str(duration or "")))
