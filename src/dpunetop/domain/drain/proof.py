"""When a DPU's network is proven to work, so that its host may have its workloads back."""

from __future__ import annotations

from dataclasses import dataclass

from dpunetop.domain.drain.facts import DpuNode, DpuView, Gone, Order, OvnPod, Signal
from dpunetop.domain.drain.record import Cycle

LEASE_CHANGES = 2
"""So often the DPU's Lease must be seen to change, on our clock, after the node was Ready: once may be a late echo."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the tenant shows of the network of one host, for a tenant of the interconnect topology."""

    host: str
    lease_changes: int | None
    """Changes of the Lease seen since the DPU node was last seen to become Ready; None: this tenant has no Leases."""
    zone: str
    """Annotation `k8s.ovn.org/zone-name` of the host."""
    encap_ips: str
    """Annotation `k8s.ovn.org/node-encap-ips` of the host."""
    chassis: str
    """Annotation `k8s.ovn.org/node-chassis-id` of the host."""


def tenant_signals(evidence: Evidence) -> tuple[Signal, ...]:
    """The signs that must hold before a host is given back; a central tenant has none."""
    found = [
        Signal("zone", evidence.zone == evidence.host),
        Signal("encapsulation address", bool(evidence.encap_ips)),
        Signal("chassis", bool(evidence.chassis)),
    ]
    if evidence.lease_changes is not None:
        found.insert(0, Signal("lease", evidence.lease_changes >= LEASE_CHANGES))
    return tuple(found)


def missing_proofs(dpu: DpuView, cycle: Cycle | None, signals: tuple[Signal, ...]) -> tuple[str, ...]:
    """What is yet to be shown before the host of `dpu` may be given back, most basic first; empty: it is proven.

    Guarantees: no container counts that ran before the last reboot.
    """
    if isinstance(dpu.node, Gone):
        return ("the DPU node",)
    found = (*_of_node(dpu.node), *_of_pod(dpu.pods, cycle))
    return (*found, *(signal.name for signal in signals if not signal.holds))


def _of_node(node: DpuNode) -> tuple[str, ...]:
    missing = []
    if not node.ready or node.terminating:
        missing.append("node Ready")
    if node.cordoned and node.order is not Order.SKIP:
        missing.append("node schedulable")
    return tuple(missing)


def _of_pod(pods: tuple[OvnPod, ...], cycle: Cycle | None) -> tuple[str, ...]:
    """One pod, and one that leaves no doubt; a second one could be the one that answers."""
    if len(pods) != 1 or not pods[0].ready:
        return ("ovnkube-node pod Ready",)
    if not pods[0].current:
        return ("ovnkube-node pod at the current template",)
    stale = set(cycle.stale if cycle is not None else ())
    if not pods[0].containers or stale & set(pods[0].containers):
        return ("ovnkube-node containers of this boot",)
    return ()
