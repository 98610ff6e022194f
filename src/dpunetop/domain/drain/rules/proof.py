"""When a DPU's network is proven to work, so that its host may have its workloads back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dpunetop.domain.drain.model.facts import DpuNode, DpuView, DrainOverride, NodeGone, OvnPod, Signal
from dpunetop.domain.drain.model.record import Cycle, State
from dpunetop.domain.drain.rules.signs import SIGNS
from dpunetop.domain.ovnkube.release import Release


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the tenant shows of the network of one host, for a tenant of the interconnect topology."""

    host: str
    lease: Signal | None
    """What the Lease of the host shows, see `leases`; None: the host does not go by one."""
    annotations: Mapping[str, str]
    """Of the host's Node."""
    release: Release | None
    """Of the image that the DPU runs; None: nobody knows."""


def tenant_signals(evidence: Evidence) -> tuple[Signal, ...]:
    """The signs that must hold before a host is given back; a central tenant has none.

    Guarantees: no sign is asked for that the DPU's release does not give; see `signs`.
    """
    found = (
        Signal(
            f"annotation {sign.annotation}", sign.shows(evidence.annotations.get(sign.annotation, ""), evidence.host)
        )
        for sign in SIGNS
        if sign.is_demanded(evidence.release)
    )
    return (*(() if evidence.lease is None else (evidence.lease,)), *found)


def missing_proofs(dpu: DpuView, cycle: Cycle | None, signals: tuple[Signal, ...]) -> tuple[str, ...]:
    """What is yet to be shown before the host of `dpu` may be given back, most basic first; empty: it is proven.

    Guarantees: no container counts that ran before the last reboot.
    """
    if isinstance(dpu.node, NodeGone):
        return ("the DPU node",)
    found = (*_of_node(dpu.node, cycle), *_of_pod(dpu.pods, cycle))
    return (*found, *(signal.name for signal in signals if not signal.holds))


def _of_node(node: DpuNode, cycle: Cycle | None) -> tuple[str, ...]:
    missing = []
    if not node.ready or node.terminating:
        missing.append("node Ready")
    is_no_wish = node.order is DrainOverride.SKIP or (cycle is not None and cycle.state is State.ABORTED)
    if node.cordoned and not is_no_wish:
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
