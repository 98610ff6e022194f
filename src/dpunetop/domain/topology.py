"""Which of the two OVN-Kubernetes topologies a tenant has. What runs is only changed on a clear answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from dpunetop.domain.types import TopologyChoice
from dpunetop.kube.meta import Obj


class Topology(Enum):
    """What was found. Only the first two are grounds for writing anything."""

    CENTRAL = "Central"
    INTERCONNECT = "Interconnect"
    MIGRATING = "Migrating"
    """Signs of both: the tenant is on its way from one to the other."""
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class TopologyView:
    """The signs. None means not read, not synced, or not reachable; it is never taken for an absence."""

    choice: TopologyChoice
    node_containers: frozenset[str] | None
    """Containers of the tenant's DaemonSet `ovnkube-node`; empty if the tenant is known to have none."""
    master_pods: bool | None
    """Pods `app=ovnkube-master` exist."""
    control_plane: bool | None
    """Deployment `ovnkube-control-plane` exists; with hosted control planes it is out of sight."""
    script_lib: bool | None
    """ConfigMap `ovnkube-script-lib` exists."""


@dataclass(frozen=True, slots=True)
class TopologyFinding:
    """The answer, and one line that says what it rests on."""

    topology: Topology
    message: str


def detect(view: TopologyView) -> TopologyFinding:
    """Say which topology the tenant has.

    Guarantees: an explicit choice wins; a failed read gives UNKNOWN, whatever else was seen; signs that contradict
        each other give MIGRATING. Absence of masters or of a control plane proves nothing, because both may live in
        a hosting cluster.
    """
    if view.choice is not TopologyChoice.AUTO:
        return TopologyFinding(Topology(view.choice.value), f"spec.topology says {view.choice.value}")
    if view.node_containers is None:
        return TopologyFinding(Topology.UNKNOWN, "the tenant's DaemonSet ovnkube-node has not been read yet")
    if "nbdb" in view.node_containers:
        return _interconnect(view)
    if "ovn-controller" in view.node_containers or "ovnkube-node" in view.node_containers:
        return _central(view)
    return TopologyFinding(Topology.UNKNOWN, "the tenant has no DaemonSet ovnkube-node with containers known to us")


def container_names(daemonset: Obj | None) -> frozenset[str]:
    """Names of the containers of a DaemonSet; empty for None, which means known to be absent."""
    spec = (daemonset or {}).get("spec") or {}
    pod = (spec.get("template") or {}).get("spec") or {}
    return frozenset(str(container.get("name")) for container in pod.get("containers") or [])


def _interconnect(view: TopologyView) -> TopologyFinding:
    if view.master_pods is None:
        return TopologyFinding(Topology.UNKNOWN, "the tenant's pods ovnkube-master have not been read yet")
    if view.master_pods:
        return TopologyFinding(Topology.MIGRATING, "ovnkube-node has container nbdb, yet pods ovnkube-master exist")
    return TopologyFinding(Topology.INTERCONNECT, "the tenant's ovnkube-node has container nbdb")


def _central(view: TopologyView) -> TopologyFinding:
    if view.control_plane is None or view.script_lib is None:
        missing = "Deployment ovnkube-control-plane or ConfigMap ovnkube-script-lib"
        return TopologyFinding(Topology.UNKNOWN, f"the tenant's {missing} has not been read yet")
    if view.control_plane or view.script_lib:
        sign = "ovnkube-control-plane" if view.control_plane else "ovnkube-script-lib"
        return TopologyFinding(Topology.MIGRATING, f"ovnkube-node has no container nbdb, yet {sign} exists")
    return TopologyFinding(Topology.CENTRAL, "the tenant's ovnkube-node has no container nbdb")
