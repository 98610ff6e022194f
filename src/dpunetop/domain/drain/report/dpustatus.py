"""The stage of each DPU and why: the words that status, Events and the table of DPUs show."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dpunetop.domain.drain.model.facts import (
    DpuView,
    HoldReason,
    HostView,
    MaintenancePhase,
    NodeGone,
    Reason,
)
from dpunetop.domain.drain.model.hoststate import HostState
from dpunetop.domain.drain.model.record import Cycle, State
from dpunetop.domain.drain.rules.cycle import Decision
from dpunetop.domain.names import DRAIN_ANNOTATION

DRAIN_SKIPPED = "DrainSkipped"
"""Reason of the Event about a cordon that asks for no drain, because a person has set `skip`."""


class DpuPhase(StrEnum):
    """The stages of a DPU in its cycle."""

    IDLE = "Idle"
    HOST_DRAINING = "HostDraining"
    HOST_DRAINED = "HostDrained"
    DPU_DOWN = "DPUDown"
    DPU_RECOVERING = "DPURecovering"
    VERIFYING = "Verifying"
    HELD = "Held"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class OverdueStep:
    """A step that takes longer than its limit: reason and sentence."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class DpuStatus:
    """One DPU: its stage, whether its drain is wanted, and why it waits; `reason` is empty if it does not."""

    dpu: str
    stage: DpuPhase
    reason: str
    message: str
    has_opened: bool = False
    """Whether the budget was opened in this drain: its host was drained, or a person forced it."""
    skipped: str = ""
    """The annotation by which a person keeps its cordon from starting a drain; empty: none."""
    late_at: int = 0
    """When its step becomes overdue, in seconds of the epoch; 0: never."""
    late: OverdueStep | None = None

    @property
    def was_let_go(self) -> bool:
        """Whether its blocker is expected to be down: evicted, or rebooting with its DPU. Not before the host is
        drained, since nothing would then hold the drain of the DPU."""
        return self.stage is not DpuPhase.IDLE and self.has_opened


_GOOD = frozenset(
    {
        Reason.HOST_DRAINING,
        Reason.DPU_DRAINING,
        Reason.PROOF_MISSING,
        Reason.MACHINE_CONFIG_PENDING,
        Reason.MAINTENANCE_TERMINATING,
    }
)
"""Waits that every drain has; all others hold it."""


def _is_good(host_state: HostState, hold: HoldReason) -> bool:
    """Whether every drain has this wait. A host that is given back may look cordoned for a moment after its maintenance
    is gone; if it stays so, a limit reports it."""
    if hold.reason is Reason.HOST_STILL_CORDONED:
        is_returning = all(cycle.state is State.RETURNING for _, cycle in host_state.cycles)
        return is_returning and not host_state.is_abandoned
    return hold.reason in _GOOD


def dpu_statuses(view: HostView, decision: Decision) -> tuple[DpuStatus, ...]:
    """The status of each DPU of the host, in the order of the view."""
    host_state = HostState(view)
    return tuple(_dpu_status(host_state, dpu, decision.hold) for dpu in view.dpus)


def _dpu_status(host_state: HostState, dpu: DpuView, hold: HoldReason | None) -> DpuStatus:
    cycle = host_state.cycle(dpu)
    hold = hold if _is_concerned(host_state, dpu) else None
    return DpuStatus(
        dpu=dpu.name,
        stage=_stage(host_state, dpu, hold),
        reason="" if hold is None else str(hold.reason),
        message="" if hold is None else hold.message,
        has_opened=cycle is not None and bool(cycle.opened_at),
        skipped=_skipped(host_state, dpu),
    )


def _skipped(host_state: HostState, dpu: DpuView) -> str:
    if not host_state.is_skipped(dpu):
        return ""
    words = f"the cordon of {dpu.name} asks for no drain of host {host_state.view.host_ref.host}: it is annotated"
    ends = "" if host_state.cycle(dpu) is None else f"; the drain that runs ends as if {dpu.name} was uncordoned"
    return f"{words} {DRAIN_ANNOTATION}=skip{ends}"


def _is_concerned(host_state: HostState, dpu: DpuView) -> bool:
    """Whether the hold of the host concerns this DPU: it is in a drain itself, or no DPU of the host is."""
    has_drain = [host_state.cycle(each) is not None or host_state.wants_drain(each) for each in host_state.view.dpus]
    return not any(has_drain) or host_state.cycle(dpu) is not None or host_state.wants_drain(dpu)


def _stage(host_state: HostState, dpu: DpuView, hold: HoldReason | None) -> DpuPhase:
    is_unrecorded = host_state.cycle(dpu) is None and not host_state.wants_drain(
        dpu
    )  # a maintenance of ours without a record
    if hold is not None and (not _is_good(host_state, hold) or (is_unrecorded and not host_state.is_to_be_lifted)):
        failures = (Reason.MAINTENANCE_FAILED, Reason.MAINTENANCE_REFUSED)
        return DpuPhase.FAILED if hold.reason in failures else DpuPhase.HELD
    if host_state.own is not None and host_state.own.phase is MaintenancePhase.FAILED and host_state.is_active(dpu):
        return DpuPhase.FAILED
    cycle = host_state.cycle(dpu)
    if cycle is None and host_state.is_to_be_lifted and dpu is host_state.prover():
        return DpuPhase.VERIFYING
    if cycle is None:
        return DpuPhase.HOST_DRAINING if host_state.wants_drain(dpu) else DpuPhase.IDLE
    return _stage_of(host_state, dpu, cycle)


def _stage_of(host_state: HostState, dpu: DpuView, cycle: Cycle) -> DpuPhase:
    if cycle.opened:
        if isinstance(dpu.node, NodeGone) or not dpu.node.ready:
            return DpuPhase.DPU_DOWN
        if cycle.state is not State.RETURNING and not host_state.is_open(dpu) and not host_state.is_drained_for(dpu):
            return DpuPhase.HOST_DRAINING
        if cycle.state is not State.RETURNING:
            return DpuPhase.DPU_RECOVERING if cycle.stale else DpuPhase.HOST_DRAINED
        return DpuPhase.VERIFYING
    if cycle.state is State.RETURNING:
        return DpuPhase.VERIFYING
    return DpuPhase.HOST_DRAINED if host_state.is_drained_for(dpu) else DpuPhase.HOST_DRAINING
