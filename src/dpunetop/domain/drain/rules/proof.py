"""Rule 4, proof: when a DPU's network is proven to work, so that its host may have its workloads back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dpunetop.domain.drain.model.calls import Done, Procedure, QuorumGet, Result, Write, fetch
from dpunetop.domain.drain.model.facts import (
    DpuNode,
    DpuView,
    DrainOverride,
    HoldReason,
    HostNode,
    HostRef,
    Maintenance,
    MaintenancePhase,
    NodeGone,
    OvnPod,
    Reason,
    Signal,
)
from dpunetop.domain.drain.model.hoststate import HostState, Move
from dpunetop.domain.drain.model.maintenances import is_drained, is_left_over
from dpunetop.domain.drain.model.reads import read_host, read_maintenance
from dpunetop.domain.drain.model.record import Cycle, State
from dpunetop.domain.drain.protection.tasks import ChangeEntry
from dpunetop.domain.drain.rules.signs import SIGNS
from dpunetop.domain.ovnkube.release import Release
from dpunetop.kube.keys import INFRA, PODS
from dpunetop.kube.meta import Obj, name_of, namespace_of, uid_of
from dpunetop.kube.plan import Delete

# --- whether a proof is needed, and who gives it --------------------------------------------------------------------


def needs_proof(host_state: HostState) -> bool:
    """Whether the host may be given back only on proof.

    Spared is a host whose DPU is seen as it was when the drain began: the proof of the present is there already. A pair
    that was taken apart leaves its host without a network, although the DPU was never down.
    """
    if _asks_nothing(host_state):
        return False
    return _is_taken_apart(host_state) or not _is_as_it_began(host_state)


def ends_unproven(host_state: HostState) -> bool:
    """Whether the host is given back without proof: no DPU is left that could give it, or a person forces the DPU that
    would have to. Of two DPUs, force on one never stands for the proof of the other that serves."""
    prover = host_state.prover()
    asked = host_state.view.dpus if prover is None else (prover,)
    return _nobody_can_prove(host_state) or any(host_state.is_forced(dpu) for dpu in asked)


def vouches(host_state: HostState, dpu: DpuView) -> bool:
    """Whether the host is given back because of what this DPU shows, so that it must still show it then."""
    return dpu is host_state.prover() and not _asks_nothing(host_state) and not ends_unproven(host_state)


def is_verifying(host_state: HostState) -> bool:
    """Whether nothing is left to be done for the host but to prove its network and to give it back, or to make it
    schedulable again that we cordoned."""
    if (_is_marked_for_outage(host_state) and not host_state.active) or host_state.is_to_be_lifted:
        return True
    is_held = host_state.is_asked or host_state.is_left_over
    if not is_held or host_state.active:
        return False
    return needs_proof(host_state) and not ends_unproven(host_state)


def _asks_nothing(host_state: HostState) -> bool:
    """Whether the host is given back whatever its DPUs do: it is in use already, or gone, or a person wants it."""
    failed = host_state.own is not None and host_state.own.phase is MaintenancePhase.FAILED
    return failed or isinstance(host_state.host, NodeGone) or host_state.was_uncordoned or host_state.is_in_use


def _is_as_it_began(host_state: HostState) -> bool:
    """Whether nothing can have happened to the DPU that serves since the drain began, as the records and the
    maintenance say, and it shows that it works."""
    marked = host_state.own is not None and bool(host_state.own.marks)
    if marked or not host_state.cycles or any(cycle.opened for _, cycle in host_state.cycles):
        return False
    prover = host_state.prover()
    if prover is None:
        return True  # it does not serve yet, so no network could be lost
    cycle = host_state.cycle(prover)
    return cycle is not None and not cycle.may_have_been_down and _works(prover, cycle)


def _works(dpu: DpuView, cycle: Cycle) -> bool:
    """Whether node and pod are Ready in the boot and with the containers of the record."""
    if isinstance(dpu.node, NodeGone) or not dpu.node.ready or dpu.node.boot_id != cycle.boot or len(dpu.pods) != 1:
        return False
    pod = dpu.pods[0]
    return pod.ready and bool(pod.containers) and set(pod.containers) == set(cycle.containers)


def _is_taken_apart(host_state: HostState) -> bool:
    """Whether no DPU serves the host any more, be there another DPU that is about to or not."""
    leaves = any(host_state.serves(dpu) and not dpu.paired for dpu in host_state.view.dpus)
    return host_state.view.serving is None and (leaves or _nobody_can_prove(host_state))


def _nobody_can_prove(host_state: HostState) -> bool:
    return all(
        not dpu.paired or (isinstance(dpu.node, NodeGone) and dpu.node.confirmed) for dpu in host_state.view.dpus
    )


def _is_marked_for_outage(host_state: HostState) -> bool:
    mark = host_state.host.unplanned if isinstance(host_state.host, HostNode) else None
    return mark is not None and mark.owner == host_state.view.host_ref.owner


# --- the rule -------------------------------------------------------------------------------------------------------


def prove(host_state: HostState) -> Move | None:
    """What is missing of the proof is waited for; a pod that can prove nothing is started anew."""
    if not host_state.is_to_be_returned or not needs_proof(host_state) or ends_unproven(host_state):
        return None
    prover = host_state.prover()
    if prover is None:
        return HoldReason(Reason.PROOF_MISSING, f"no DPU serves {host_state.view.host_ref.host} now")
    if changed := _changed(host_state, prover):
        return changed
    missing = missing_proofs(prover, host_state.cycle(prover), host_state.view.signals)
    if not missing:
        return None
    return _outdated(host_state, prover) or unproven(host_state, prover, missing)


def unproven(host_state: HostState, prover: DpuView, missing: tuple[str, ...]) -> HoldReason:
    """A sign that does not come by itself is said to be in the way, whatever else is missing."""
    words = f"{prover.name} has yet to show: {', '.join(missing)}"
    found = (signal.trouble for signal in host_state.view.signals if not signal.holds)
    trouble = next((trouble for trouble in found if trouble is not None), None)
    return (
        HoldReason(Reason.PROOF_MISSING, words)
        if trouble is None
        else HoldReason(trouble.reason, f"{words}; {trouble.message}")
    )


STALE_SECONDS = 300
"""So long after a boot a Ready pod may show containers of the boot before, until it is started anew."""


def _proves_nothing(host_state: HostState, prover: DpuView, pod: OvnPod) -> bool:
    cycle = host_state.cycle(prover)
    if cycle is None or not pod.ready or not set(pod.containers) & set(cycle.stale):
        return False
    return host_state.view.host_ref.author.now - cycle.booted_at > STALE_SECONDS


def _changed(host_state: HostState, prover: DpuView) -> Move | None:
    """Another entry that waited for the host to be drained. Only here: what follows is that its network is proven. Not
    while the pod is one of the last template that is known to work: in its place comes one of which that is not known.
    """
    staying = [pod for pod in prover.pods if not pod.terminating]
    if not prover.entry or len(staying) > 1 or not host_state.is_drained:
        return None
    if any(pod.current and not pod.newest for pod in staying):
        return None
    return ChangeEntry(host_state.view.host_ref, prover.name, host_state.view.pods_namespace, prover.entry)


def _outdated(host_state: HostState, prover: DpuView) -> Move | None:
    if not host_state.is_drained and not host_state.is_left_over:
        return None
    own = "" if host_state.own is None else host_state.own.uid
    for pod in prover.pods:
        if not pod.terminating and (not pod.current or _proves_nothing(host_state, prover, pod)):
            return RestartPod(host_state.view.host_ref, prover.name, pod.live, own)
    return None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the tenant shows of the network of one host, for a tenant of the interconnect topology."""

    host: str
    lease: Signal | None
    """What the Lease of the host shows, see `leases`; None: the host does not go by one."""
    annotations: Mapping[str, str]
    """Of the host's Node."""
    release: Release | None
    """Of the image that the DPU runs; None: unknown."""


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
    asks_nothing = node.override is DrainOverride.SKIP or (cycle is not None and cycle.state is State.ABORTED)
    if node.cordoned and not asks_nothing:
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


@dataclass(frozen=True, slots=True)
class RestartPod:
    """Delete an outdated ovnkube-node pod of a drained host, so that a current one can prove itself."""

    host_ref: HostRef
    dpu: str
    pod: Obj
    maintenance: str
    """UID; empty: the one that is gone has left the host cordoned."""

    def run(self) -> Procedure:
        """See `calls.Task`."""
        found = yield from read_maintenance(self.host_ref)
        host = yield from read_host(self.host_ref)
        if host is None or not self._is_held(found, host):
            return Done(Result.STALE, f"{self.host_ref.host}: is not drained")
        live = yield from fetch(QuorumGet(INFRA, PODS, namespace_of(self.pod), name_of(self.pod)))
        if live is None or uid_of(live) != uid_of(self.pod):
            return Done(Result.STALE, f"{self.dpu}: the pod is gone")
        yield Write(Delete(INFRA, PODS, live))
        return Done(Result.DONE, f"{self.dpu}: restarted an outdated pod")

    def _is_held(self, found: Maintenance | None, host: HostNode) -> bool:
        if found is None:
            return not self.maintenance and is_left_over(host)
        return is_drained(found, host) and found.uid == self.maintenance
