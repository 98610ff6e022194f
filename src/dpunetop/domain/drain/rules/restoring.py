"""Rule 10, an earlier cordon is restored: the state of the host once no maintenance holds it."""

from __future__ import annotations

from dataclasses import dataclass

from dpunetop.base.quoting import named
from dpunetop.domain.drain.model.calls import Done, Procedure, Result, Steps, store
from dpunetop.domain.drain.model.cordonmark import write_mark
from dpunetop.domain.drain.model.facts import HoldReason, HostNode, HostRef, Reason
from dpunetop.domain.drain.model.hoststate import HostState, Move
from dpunetop.domain.drain.model.maintenances import (
    bears_outage_cordon,
    has_lost_outage_cordon,
    is_left_over,
    is_stuck_cordoned,
    leave_host,
    lift_host,
    release_host,
    restore_host,
)
from dpunetop.domain.drain.model.reads import read_host, read_maintenances
from dpunetop.domain.drain.rules.proof import ends_unproven, missing_proofs, needs_proof, unproven
from dpunetop.domain.drain.rules.returning import (
    DpuCheck,
    LeftCordoned,
    dpu_checks_of,
    first_broken,
    tell_end,
    what_keeps,
)
from dpunetop.domain.names import CORDONED_BEFORE_ANNOTATION, DPUCLUSTERCONFIGS
from dpunetop.domain.reasons import event
from dpunetop.kube.keys import INFRA
from dpunetop.kube.meta import Obj


def restore(host_state: HostState) -> Move | None:
    """Restore the state in the mark, whatever the records say: they may be lost, and only the mark knows of the earlier
    cordon."""
    if host_state.own is not None or not isinstance(host_state.host, HostNode) or host_state.host.mark is None:
        return None
    if host_state.is_left_over:
        return None  # it is returned on proof, or drained again, as if the maintenance existed
    if has_lost_outage_cordon(host_state.host) and not host_state.was_uncordoned:
        return ForgetOutage(host_state.view.host_ref)
    host = host_state.host
    rest = RESTORE_REST_SECONDS if host.mark and not host.cordoned else 0.0
    return _still_cordoned(host_state, host_state.host) or Restore(host_state.view.host_ref, rest)


def _still_cordoned(host_state: HostState, host: HostNode) -> HoldReason | None:
    """Wait where a cordon without the taint may be a person's: neither it is removed, nor the mark that says it should
    be. Our cordon for an outage stays until the network is proven, and is no reason to wait."""
    if host_state.maintenances or not is_stuck_cordoned(host) or bears_outage_cordon(host):
        return None
    name = named(host_state.view.host_ref.host)
    words = f"{name} is cordoned although its maintenance is gone and it was not cordoned before"
    theirs = f"kubectl annotate node {name} {CORDONED_BEFORE_ANNOTATION}-"
    return HoldReason(
        Reason.HOST_STILL_CORDONED, f"{words}: kubectl uncordon {name}, or, if it is to stay cordoned, {theirs}"
    )


def lead_out(host_state: HostState) -> Move | None:
    """Uncordon a host whose NodeMaintenance is gone and has left it cordoned: no one else would."""
    if not host_state.is_left_over:
        return None
    unproven = needs_proof(host_state) and ends_unproven(host_state)
    told = LeftCordoned(host_state.view.config, host_state.is_parted) if unproven else None
    return LeadOut(host_state.view.host_ref, dpu_checks_of(host_state), told)


def lift_cordon(host_state: HostState) -> Move | None:
    """Uncordon a host, on proof, that a DpuClusterConfig of our name left cordoned and that is served again."""
    prover = host_state.prover()
    if not host_state.is_to_be_lifted or prover is None or ends_unproven(host_state):
        return None
    waits = (what_keeps(host_state, dpu) for dpu in host_state.view.dpus if host_state.serves(dpu))
    if hold := next((hold for hold in waits if hold is not None), None):
        return hold
    if missing := missing_proofs(prover, host_state.cycle(prover), host_state.view.signals):
        return unproven(host_state, prover, missing)
    return LiftCordon(host_state.view.host_ref, dpu_checks_of(host_state), host_state.view.config)


RESTORE_REST_SECONDS = 1.0
"""How long a cordon is left off after its maintenance: a maintenance operator whose cache lags behind its own last
write uncordons the host once more, and nobody would know whose that uncordon is."""
HOST_SCHEDULABLE = "HostSchedulable"
"""Reason of the Event about a host that is in use again after a DpuClusterConfig had left it."""


@dataclass(frozen=True, slots=True)
class Restore:
    """Restore the earlier cordon once no maintenance is left that could undo it."""

    host_ref: HostRef
    rest_seconds: float = 0.0
    """How long it is wanted before it is done; see `StallDetector.pause`."""

    def run(self) -> Procedure:
        """See `calls.Task`."""
        host = yield from read_host(self.host_ref)
        if host is None or host.mark is None:
            return Done(Result.STALE, f"{self.host_ref.host}: nothing to restore")
        if (yield from read_maintenances(self.host_ref)):
            return Done(Result.STALE, f"{self.host_ref.host}: there is a maintenance")
        if is_stuck_cordoned(host) and not host.has_outage_cordon:
            return (yield from self._disown(host))
        yield from store(restore_host(self.host_ref, host))
        return Done(Result.DONE, f"{self.host_ref.host}: is as it was before")

    def _disown(self, host: HostNode) -> Steps[Done]:
        """Another client's cordon has replaced ours: remove our mark, so that the cordon is reported."""
        if host.unplanned is None:
            return Done(Result.STALE, f"{self.host_ref.host}: is cordoned, and it is not known by whom")
        yield from store(write_mark(self.host_ref.tenant_cluster, host.live, None))
        return Done(Result.DONE, f"{self.host_ref.host}: another writer has cordoned it, our mark is taken off")


@dataclass(frozen=True, slots=True)
class ForgetOutage:
    """Remove our mark of an outage from a host that a maintenance has uncordoned: if its network still fails, it is
    cordoned for that again. A host that a person has uncordoned keeps the mark, so that it stays schedulable."""

    host_ref: HostRef

    def run(self) -> Procedure:
        """See `calls.Task`."""
        host = yield from read_host(self.host_ref)
        if host is None or host.mark is None or not has_lost_outage_cordon(host):
            return Done(Result.STALE, f"{self.host_ref.host}: has changed since it was looked at")
        if (yield from read_maintenances(self.host_ref)):
            return Done(Result.STALE, f"{self.host_ref.host}: there is a maintenance")
        yield from store(write_mark(self.host_ref.tenant_cluster, host.live, None))
        return Done(Result.DONE, f"{self.host_ref.host}: its cordon went with its maintenance, the mark is taken off")


@dataclass(frozen=True, slots=True)
class LeadOut:
    """Uncordon a host that a maintenance which is gone has left cordoned, as its end would have.

    Guarantees: all guards of giving back held for every DPU, and no maintenance existed, after the read of the host
        whose version the write carries.
    """

    host_ref: HostRef
    dpu_checks: tuple[DpuCheck, ...]
    left_cordoned: LeftCordoned | None
    """Why the host stays cordoned, because nothing proves its network; None: it is proven."""

    def run(self) -> Procedure:
        """See `calls.Task`."""
        if (broken := (yield from first_broken(self.host_ref, self.dpu_checks))) is not None:
            return broken
        host = yield from read_host(self.host_ref)
        is_forced = any(dpu_check.forced for dpu_check in self.dpu_checks)
        if host is None or not is_left_over(host) or (host.in_own_drain and not is_forced):
            return Done(Result.STALE, f"{self.host_ref.host}: is not as a maintenance leaves it")
        if (yield from read_maintenances(self.host_ref)):
            return Done(Result.STALE, f"{self.host_ref.host}: there is a maintenance")
        if self.left_cordoned is None:
            yield from store(release_host(self.host_ref, host))
            yield from tell_end(self.host_ref, self.dpu_checks, None)
            return Done(Result.DONE, f"{self.host_ref.host}: is schedulable again, which its maintenance left undone")
        if self.left_cordoned.is_parted:  # it stays cordoned with its mark: the next pass restores the rest
            yield from store(leave_host(self.host_ref, host))
        else:
            yield from store(restore_host(self.host_ref, host))
        yield from tell_end(self.host_ref, self.dpu_checks, self.left_cordoned)
        return Done(Result.DONE, f"{self.host_ref.host}: is left cordoned")


@dataclass(frozen=True, slots=True)
class LiftCordon:
    """Uncordon a host that a DpuClusterConfig left cordoned, and that is served again by a proven network.

    Guarantees: all guards of giving back held for every DPU, and no maintenance existed, after the read of the host
        whose version the write carries.
    """

    host_ref: HostRef
    dpu_checks: tuple[DpuCheck, ...]
    config: Obj

    def run(self) -> Procedure:
        """See `calls.Task`."""
        if (broken := (yield from first_broken(self.host_ref, self.dpu_checks))) is not None:
            return broken
        host = yield from read_host(self.host_ref)
        if host is None or host.left_by != self.host_ref.owner or host.mark is not None:
            return Done(Result.STALE, f"{self.host_ref.host}: has changed since it was left cordoned")
        if (yield from read_maintenances(self.host_ref)):
            return Done(Result.STALE, f"{self.host_ref.host}: there is a maintenance")
        yield from store(lift_host(self.host_ref, host))
        words = (
            f"host {self.host_ref.host}, which was led out and left cordoned, is schedulable again: its network works"
        )
        yield event(INFRA, DPUCLUSTERCONFIGS, self.config, HOST_SCHEDULABLE, words)
        return Done(Result.DONE, f"{self.host_ref.host}: is schedulable again")
