"""Rule 4, proof: when a DPU's network is proven to work, so that its host may be uncordoned."""

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

    It is not needed if the DPU is seen unchanged since the drain began, and works. A pair that has ended leaves its
    host without a network, although the DPU was never down.
    """
    if _asks_nothing(host_state):
        return False
    return _is_taken_apart(host_state) or not _is_as_it_began(host_state)


def ends_unproven(host_state: HostState) -> bool:
    """Whether the host is given back without proof: no DPU is left that could prove it, or a person forces the DPU that
    would have to. Of two DPUs, force on one never stands for the proof of the other that serves."""
    prover = host_state.prover()
    asked = host_state.view.dpus if prover is None else (prover,)
    return _nobody_can_prove(host_state) or any(host_state.is_forced(dpu) for dpu in asked)


def vouches(host_state: HostState, dpu: DpuView) -> bool:
    """Whether the host is given back on the proof of this DPU, which must then still hold."""
    return dpu is host_state.prover() and not _asks_nothing(host_state) and not ends_unproven(host_state)


def is_verifying(host_state: HostState) -> bool:
    """Whether only the proof and the return of the host are left, or the uncordon of a host that we cordoned."""
    if (_is_marked_for_outage(host_state) and not host_state.active) or host_state.is_to_be_lifted:
        return True
    is_held = host_state.is_asked or host_state.is_left_over
    if not is_held or host_state.active:
        return False
    return needs_proof(host_state) and not ends_unproven(host_state)


def _asks_nothing(host_state: HostState) -> bool:
    """Whether the host is given back whatever its DPUs show: it is in use already, or gone, or a person wants it."""
    failed = host_state.own is not None and host_state.own.phase is MaintenancePhase.FAILED
    return failed or isinstance(host_state.host, NodeGone) or host_state.was_uncordoned or host_state.is_in_use


def _is_as_it_began(host_state: HostState) -> bool:
    """Whether the DPU that serves is unchanged since the drain began, by the records and the maintenance, and works."""
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
    """Whether no DPU serves the host any more, even if another one is about to."""
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
    """Wait for the missing signs of the proof; restart a pod that can prove nothing."""
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
    """A missing sign that needs a person is reported first, whatever else is missing."""
    words = f"{prover.name} has yet to show: {', '.join(missing)}"
    found = (signal.trouble for signal in host_state.view.signals if not signal.holds)
    trouble = next((trouble for trouble in found if trouble is not None), None)
    return (
        HoldReason(Reason.PROOF_MISSING, words)
        if trouble is None
        else HoldReason(trouble.reason, f"{words}; {trouble.message}")
    )


STALE_SECONDS = 300
"""Seconds after a boot in which a Ready pod may show containers of the previous boot before it is restarted."""


def _proves_nothing(host_state: HostState, prover: DpuView, pod: OvnPod) -> bool:
    cycle = host_state.cycle(prover)
    if cycle is None or not pod.ready or not set(pod.containers) & set(cycle.stale):
        return False
    return host_state.view.host_ref.author.now - cycle.booted_at > STALE_SECONDS


def _changed(host_state: HostState, prover: DpuView) -> Move | None:
    """Write the changed entry that waited for the host to be drained. Only here, because the proof comes next. Not
    while the pod has the last template that is known to work, since its successor would have one that is not.
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
    """The tenant's objects that show the network of one host, for a tenant of the interconnect topology."""

    host: str
    lease: Signal | None
    """The sign from the host's Lease, see `leases`; None: the host does not watch one."""
    annotations: Mapping[str, str]
    """Annotations of the host's Node."""
    release: Release | None
    """Release of the image that the DPU runs; None: unknown."""


def tenant_signals(evidence: Evidence) -> tuple[Signal, ...]:
    """The signs that must hold before a host is given back; a central tenant has none.

    Guarantees: only signs that the DPU's release gives are required; see `signs`.
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
    """The signs that are missing before the host of `dpu` may be given back, most basic first; empty: it is proven.

    Guarantees: a container that ran before the last reboot does not count.
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
    """The signs of the only pod; with two pods it is unknown which one serves."""
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
    """Delete an outdated ovnkube-node pod of a drained host, so that a current one can give the proof."""

    host_ref: HostRef
    dpu: str
    pod: Obj
    maintenance: str
    """UID; empty: it is gone and has left the host cordoned."""

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
