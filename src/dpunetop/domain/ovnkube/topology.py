"""Which of the two OVN-Kubernetes topologies a tenant has. Running pods are changed only on a clear answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from dpunetop.domain.clusterconfig.types import TopologyChoice
from dpunetop.kube.meta import Obj
from dpunetop.kube.shapes import at, mappings

_DATABASE_CONTAINERS = frozenset({"nbdb", "nb-ovsdb"})
"""Containers of nodes with a zone of their own: OpenShift's name, then that of OVN-Kubernetes' chart."""

_CENTRAL_CONTAINERS = frozenset({"ovn-controller", "ovnkube-node"})


class Topology(Enum):
    """A tenant's topology. Only for the first two is anything written."""

    CENTRAL = "Central"
    INTERCONNECT = "Interconnect"
    MIGRATING = "Migrating"
    """Signs of both: the tenant migrates from one to the other."""
    UNKNOWN = "Unknown"


_UNCLEAR = {Topology.UNKNOWN: "TopologyUnknown", Topology.MIGRATING: "TopologyMigrating"}
"""The topologies for which nothing is written, with the reason of the condition."""


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


class Grounds(Enum):
    """The evidence of a finding."""

    CHOICE = "choice"
    """`spec.topology`."""
    CONFIRMED = "confirmed"
    """The tenant's nodes, and another object that only this topology has."""
    NODES = "nodes"
    """The tenant's nodes alone: enough to begin with, not enough to change what runs."""


@dataclass(frozen=True, slots=True)
class TopologyFinding:
    """The answer, and one line about its evidence."""

    topology: Topology
    message: str
    grounds: Grounds = Grounds.NODES


CONFIRMATION_SECONDS = 60.0
"""How long every look must show the new topology before running pods are changed."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The topology to write for, or why to wait."""

    topology: Topology | None
    """The topology to write for; None: change nothing."""
    reason: str = ""
    """Why nothing is changed, for a condition."""
    message: str = ""
    pending: Topology | None = None
    """The change that waits to be confirmed."""
    since: float = 0.0
    """When it was first seen without a break since; monotonic seconds."""
    retry_after: float | None = None
    """When to look again at the latest; seconds."""


def detect(view: TopologyView) -> TopologyFinding:
    """Decide which topology the tenant has.

    Guarantees: an explicit choice wins; a failed read gives UNKNOWN, whatever else was seen; signs that contradict
        each other give MIGRATING. Absence of masters or of a control plane proves nothing, because both may live in
        a hosting cluster.
    """
    if view.choice is not TopologyChoice.AUTO:
        return TopologyFinding(Topology(view.choice.value), f"spec.topology says {view.choice.value}", Grounds.CHOICE)
    if view.node_containers is None:
        return TopologyFinding(Topology.UNKNOWN, "the tenant's DaemonSet ovnkube-node has not been read yet")
    if view.node_containers & _DATABASE_CONTAINERS:
        return _interconnect(view)
    if view.node_containers & _CENTRAL_CONTAINERS:
        return _central(view)
    return TopologyFinding(Topology.UNKNOWN, "the tenant has no DaemonSet ovnkube-node with containers known to us")


def settle(previous: Settled | None, finding: TopologyFinding, running: Topology | None, now: float) -> Settled:
    """Decide which topology to write for, given the running one (see `running_topology`) and the previous result.

    Guarantees: running pods are changed by an explicit choice at once, else only by a confirmed finding that has been
        the same at every look for `CONFIRMATION_SECONDS`; a look that failed, was partial, or saw signs of both
        restarts the count. Where nothing runs yet, a clear finding is enough.
    """
    found = finding.topology
    if found in _UNCLEAR:
        return Settled(None, _UNCLEAR[found], f"{finding.message}; what runs is kept as it is")
    if running in (None, found) or finding.grounds is Grounds.CHOICE:
        return Settled(found)
    if finding.grounds is Grounds.NODES:
        words = f"{finding.message}, and nothing else confirms it; {running.value} is kept"
        return Settled(None, "TopologyUnconfirmed", words)
    return _confirm(previous, finding, running, now)


def running_topology(live: Obj | None) -> Topology | None:
    """The topology of our live DaemonSet; None without one, or where it is neither."""
    names = container_names(live)
    if "nbdb" in names:
        return Topology.INTERCONNECT
    return Topology.CENTRAL if "ovnkube-node" in names else None


def candidates(choice: TopologyChoice, node_daemonset: Obj | None, live: Obj | None) -> frozenset[Topology]:
    """Every topology that the tenant may have by its nodes alone, or that our DaemonSet `live` was written for.

    UNKNOWN is among them where the tenant's nodes show none.
    """
    seen = container_names(node_daemonset)
    if choice is not TopologyChoice.AUTO:
        found = Topology(choice.value)
    elif seen & _DATABASE_CONTAINERS:
        found = Topology.INTERCONNECT
    else:
        found = Topology.CENTRAL if seen & _CENTRAL_CONTAINERS else Topology.UNKNOWN
    running = running_topology(live)
    return frozenset({found} if running is None else {found, running})


def _confirm(previous: Settled | None, finding: TopologyFinding, running: Topology, now: float) -> Settled:
    found = finding.topology
    since = previous.since if previous is not None and previous.pending is found else now
    left = since + CONFIRMATION_SECONDS - now
    if left <= 0:
        return Settled(found)
    words = f"{finding.message}; {running.value} is kept until that has been so for {CONFIRMATION_SECONDS:.0f} s"
    return Settled(None, "TopologyConfirming", words, found, since, left)


def container_names(daemonset: Obj | None) -> frozenset[str]:
    """Names of the containers of a DaemonSet; empty for None, which means known to be absent."""
    containers = mappings(at(daemonset, "spec", "template", "spec", "containers"))
    return frozenset(str(container.get("name")) for container in containers)


def _interconnect(view: TopologyView) -> TopologyFinding:
    if view.master_pods is None:
        return TopologyFinding(Topology.UNKNOWN, "the tenant's pods ovnkube-master have not been read yet")
    if view.master_pods:
        words = "ovnkube-node has the databases of its zone, yet pods ovnkube-master exist"
        return TopologyFinding(Topology.MIGRATING, words)
    grounds = Grounds.CONFIRMED if view.control_plane or view.script_lib else Grounds.NODES
    return TopologyFinding(Topology.INTERCONNECT, "the tenant's ovnkube-node has the databases of its zone", grounds)


def _central(view: TopologyView) -> TopologyFinding:
    if view.control_plane is None or view.script_lib is None:
        missing = "Deployment ovnkube-control-plane or ConfigMap ovnkube-script-lib"
        return TopologyFinding(Topology.UNKNOWN, f"the tenant's {missing} has not been read yet")
    if view.control_plane or view.script_lib:
        sign = "ovnkube-control-plane" if view.control_plane else "ovnkube-script-lib"
        return TopologyFinding(Topology.MIGRATING, f"ovnkube-node has no databases of a zone, yet {sign} exists")
    grounds = Grounds.CONFIRMED if view.master_pods else Grounds.NODES
    return TopologyFinding(Topology.CENTRAL, "the tenant's ovnkube-node has no databases of a zone", grounds)
