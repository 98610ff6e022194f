"""Steps that take longer than their limit: since when, and why, as far as both clusters show.

The beginning is read from records in the clusters, so that every process reports the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import assert_never

from dpunetop.base.quoting import named, sentence
from dpunetop.domain.drain.model.facts import DpuNode, DpuView, HostNode, HostView, Maintenance, MaintenancePhase
from dpunetop.domain.drain.model.hoststate import HostState
from dpunetop.domain.drain.model.limits import LimitedStep, Limits, duration
from dpunetop.domain.drain.model.record import Cycle
from dpunetop.domain.drain.model.times import as_time
from dpunetop.domain.drain.protection.decision import ProtectionPhase
from dpunetop.domain.drain.report.dpustatus import DpuPhase, DpuStatus, OverdueStep
from dpunetop.domain.drain.rules.waiting import how_to_end

BEGINNING_SECONDS = 300
"""Time that the node maintenance operator may take to begin with a maintenance: it begins at once, or not at all."""


def span_of(stage: DpuPhase, cycle: Cycle | None, *, is_ending: bool) -> LimitedStep | None:
    """The step that has its limit at that stage; None: no step runs, or a failure is reported at once.

    `is_ending`: the host is given back already, or will be with the end of its maintenance.
    """
    match stage:
        case DpuPhase.IDLE | DpuPhase.HELD | DpuPhase.FAILED:
            return None
        case DpuPhase.HOST_DRAINING:
            return LimitedStep.HOST_DRAIN if cycle is not None and cycle.asked_at else LimitedStep.STARTING
        case DpuPhase.HOST_DRAINED:
            return LimitedStep.DPU_DRAIN if cycle is not None and cycle.opened_at else LimitedStep.HOST_DRAIN
        case DpuPhase.DPU_DOWN:
            return LimitedStep.DPU_DOWN
        case DpuPhase.DPU_RECOVERING:
            return LimitedStep.RECOVERY
        case DpuPhase.VERIFYING:
            return LimitedStep.GIVING_BACK if is_ending else LimitedStep.VERIFYING
    assert_never(stage)


def guarding_span(guarding: ProtectionPhase) -> LimitedStep | None:
    """The step that has its limit in that phase of protection; None: the phase may last, or its wait is reported
    elsewhere or at once."""
    match guarding:
        case (
            ProtectionPhase.SERVING
            | ProtectionPhase.NOT_SERVING
            | ProtectionPhase.NOT_OURS
            | ProtectionPhase.REMOVAL_PENDING
        ):
            return None
        case ProtectionPhase.BLOCKER_MISSING | ProtectionPhase.CLOSING | ProtectionPhase.BLOCKER_NOT_READY:
            return LimitedStep.PROTECTION
        case ProtectionPhase.NODE_CORDONED | ProtectionPhase.ENTRY_PENDING | ProtectionPhase.LEAVING:
            return LimitedStep.PROTECTION
    assert_never(guarding)


def timed(
    view: HostView, found: Iterable[DpuStatus], guardings: Mapping[str, ProtectionPhase]
) -> tuple[DpuStatus, ...]:
    """The same statuses, each with when it becomes overdue, and with the message if it is."""
    host_state, dpus = HostState(view), {dpu.name: dpu for dpu in view.dpus}
    return tuple(_timed(host_state, dpus[each.dpu], each, guardings.get(each.dpu)) for each in found)


def next_limit(found: Iterable[DpuStatus], now: int) -> int | None:
    """Seconds until the next of these becomes overdue; None: none will."""
    return min((each.late_at - now for each in found if each.late_at > now), default=None)


def _timed(host_state: HostState, dpu: DpuView, dpu_status: DpuStatus, guarding: ProtectionPhase | None) -> DpuStatus:
    span, since = _drain(host_state, dpu, dpu_status.stage)
    what = str(dpu_status.stage)
    if span is None and dpu_status.stage is DpuPhase.IDLE and guarding is not None:
        span, what = guarding_span(guarding), guarding.value
        since = 0 if dpu.budget is None else dpu.budget.since
    if span is None or not since:
        return dpu_status
    limits, now = host_state.view.settings.limits, host_state.view.host_ref.author.now
    late_at, limit = since + limits.seconds(span) + 1, _limit(limits, span)
    begun = _waits_since(host_state, since) if span is LimitedStep.HOST_DRAIN else 0
    if begun and begun + BEGINNING_SECONDS + 1 < late_at:
        late_at, since = begun + BEGINNING_SECONDS + 1, begun
        what, limit = f"{what}, which does not begin,", duration(BEGINNING_SECONDS)
    is_unasked = span is LimitedStep.HOST_DRAIN and host_state.view.evictions is None
    if now < late_at or is_unasked:  # the reported hold says why
        return replace(dpu_status, late_at=late_at)
    cause = _cause(host_state, dpu, span, dpu_status)
    words = f"{what} since {as_time(since)}, longer than {limit}{cause}"
    return replace(
        dpu_status,
        late_at=late_at,
        late=OverdueStep(span.reason, f"host {named(host_state.view.host_ref.host)}: {words}"),
    )


def _drain(host_state: HostState, dpu: DpuView, stage: DpuPhase) -> tuple[LimitedStep | None, int]:
    cycle, own = host_state.cycle(dpu), host_state.own
    span = span_of(stage, cycle, is_ending=own is None or own.terminating)
    if span is LimitedStep.HOST_DRAIN and own is not None and own.terminating:  # another program deleted it
        span = LimitedStep.GIVING_BACK
    return span, 0 if span is None or cycle is None else _since(span, dpu, cycle, own)


def _waits_since(host_state: HostState, asked: int) -> int:
    """Since when the node maintenance operator has not begun with a maintenance, by the tenant's clock, but not before
    `asked`, by ours; 0: it drains the host.

    Source: it acquires the Lease of the host first, which another holder may have, then sets its taint, and names the
        pods that are left (`Reconcile` in internal/controller/nodemaintenance_controller.go of
        medik8s/node-maintenance-operator 3a54cd1). Its error is kept after it has passed.
    """
    own, host = host_state.own, host_state.host
    if own is None or own.terminating or own.is_renewed or not isinstance(host, HostNode):
        return 0
    drains = own.phase not in (MaintenancePhase.NEW, MaintenancePhase.RUNNING) or (host.tainted and own.pending > 0)
    return 0 if drains or not own.made_at else max(own.made_at, asked)


def _since(span: LimitedStep, dpu: DpuView, cycle: Cycle, own: Maintenance | None) -> int:
    """When the step began; a time from another cluster's clock is limited to possible values."""
    changed = dpu.node.ready_since if isinstance(dpu.node, DpuNode) else 0
    match span:
        case LimitedStep.STARTING | LimitedStep.PROTECTION:
            return cycle.since
        case LimitedStep.HOST_DRAIN:
            return cycle.asked_at or cycle.since
        case LimitedStep.DPU_DRAIN:
            return cycle.opened_at
        case LimitedStep.DPU_DOWN:
            return max(cycle.opened_at or cycle.since, changed)
        case LimitedStep.RECOVERY:
            return max(cycle.opened_at or cycle.since, cycle.booted_at)
        case LimitedStep.VERIFYING:
            return max(cycle.returned_at or cycle.since, cycle.booted_at, changed)
        case LimitedStep.GIVING_BACK:
            return max(cycle.returned_at or cycle.since, 0 if own is None else own.ended_at)
    assert_never(span)


def _limit(limits: Limits, span: LimitedStep) -> str:
    return f"spec.drain.limits.{span.value} ({duration(limits.seconds(span))})"


def _cause(host_state: HostState, dpu: DpuView, span: LimitedStep, dpu_status: DpuStatus) -> str:
    found = [dpu_status.message] if dpu_status.message else []
    if span is LimitedStep.HOST_DRAIN and host_state.own is not None:
        found += host_state.view.evictions or ()
    if span is LimitedStep.GIVING_BACK and host_state.own is not None:
        found += _cause_of_no_end(host_state.own)
    if span in (
        LimitedStep.DPU_DRAIN,
        LimitedStep.DPU_DOWN,
        LimitedStep.RECOVERY,
        LimitedStep.VERIFYING,
    ) and isinstance(dpu.node, DpuNode):
        found += [f"the machine-config operator {story}"] if (story := dpu.node.machine.story) else []
    return f": {'; '.join(found)}" if found else ""


def _cause_of_no_end(own: Maintenance) -> list[str]:
    said = [f"the node maintenance operator says {sentence(own.error)}"] if own.error else []
    kept = how_to_end(own)
    return [*said, kept] if kept else said
