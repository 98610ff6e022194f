"""Where each DPU stands and why: the words that status, Events and the table of DPUs show."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dpunetop.domain.drain.model.facts import (
    DpuNode,
    DpuView,
    Gone,
    Hold,
    HostView,
    Mco,
    Phase,
    Reason,
)
from dpunetop.domain.drain.model.record import (
    Cycle,
    State,
)
from dpunetop.domain.drain.model.scene import Scene
from dpunetop.domain.drain.rules.cycle import Decision
from dpunetop.domain.names import DRAIN_ANNOTATION

DRAIN_SKIPPED = "DrainSkipped"
"""Reason of the Event about a cordon that asks for no drain, because a person says so."""


class Stage(StrEnum):
    """The life of a DPU node."""

    IDLE = "Idle"
    HOST_DRAINING = "HostDraining"
    HOST_DRAINED = "HostDrained"
    DPU_DOWN = "DPUDown"
    DPU_RECOVERING = "DPURecovering"
    VERIFYING = "Verifying"
    HELD = "Held"
    FAILED = "Failed"


class Wish(StrEnum):
    """Who wants the drain."""

    NOBODY = ""
    CORDON = "Cordoned"
    MACHINE_CONFIG = "MachineConfig"
    DELETION = "Deletion"
    """The DpuClusterConfig ends, whether the DPU is cordoned or not."""


@dataclass(frozen=True, slots=True)
class Late:
    """What takes longer than it may, in a word and in a sentence."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Standing:
    """One DPU: its stage, who wants its drain, and what it waits for; `reason` is empty where nothing is in the way."""

    dpu: str
    stage: Stage
    wish: Wish
    reason: str
    message: str
    protected: bool
    """Whether no eviction gets through now: the budget closed over a blocker that is Ready."""
    has_opened: bool = False
    """Whether the budget was opened in this drain: its host was drained, or a person forced it."""
    skipped: str = ""
    """How its cordon asks for no drain, because a person says so; empty: nobody does."""
    late_at: int = 0
    """When it is late, in seconds of the epoch; 0: never."""
    late: Late | None = None


_GOOD = frozenset(
    {
        Reason.HOST_DRAINING,
        Reason.DPU_DRAINING,
        Reason.PROOF_MISSING,
        Reason.MACHINE_CONFIG_PENDING,
        Reason.MAINTENANCE_TERMINATING,
    }
)
"""Waits that belong to every drain; all others hold it."""


def _is_good(scene: Scene, hold: Hold) -> bool:
    """Whether a wait belongs to every drain. A host that is given back is seen cordoned for a moment, as others see the
    end of its maintenance first; that it stays so has its limit of time."""
    if hold.reason is Reason.HOST_STILL_CORDONED:
        return not scene.active
    return hold.reason in _GOOD


def standings(view: HostView, decision: Decision) -> tuple[Standing, ...]:
    """Where each DPU of the host stands, in the order of the view."""
    scene = Scene(view)
    return tuple(_standing(scene, dpu, decision.hold) for dpu in view.dpus)


def _standing(scene: Scene, dpu: DpuView, hold: Hold | None) -> Standing:
    cycle = scene.cycle(dpu)
    hold = hold if _is_concerned(scene, dpu) else None
    return Standing(
        dpu=dpu.name,
        stage=_stage(scene, dpu, hold),
        wish=_wish(scene, dpu),
        reason="" if hold is None else str(hold.reason),
        message="" if hold is None else hold.message,
        protected=scene.serves(dpu) and not scene.is_open(dpu) and dpu.blocker_ready,
        has_opened=cycle is not None and bool(cycle.opened_at),
        skipped=_skipped(scene, dpu),
    )


def _skipped(scene: Scene, dpu: DpuView) -> str:
    if not scene.is_skipped(dpu):
        return ""
    words = f"the cordon of {dpu.name} asks for no drain of host {scene.view.site.host}: it is annotated"
    ends = "" if scene.cycle(dpu) is None else f"; the drain that runs ends as if {dpu.name} was uncordoned"
    return f"{words} {DRAIN_ANNOTATION}=skip{ends}"


def _is_concerned(scene: Scene, dpu: DpuView) -> bool:
    """Whether what the host waits for is this DPU's affair: a drain of its own, or, where none has one, any of them."""
    has_drain = [scene.cycle(each) is not None or scene.wants(each) for each in scene.view.dpus]
    return not any(has_drain) or scene.cycle(dpu) is not None or scene.wants(dpu)


def _stage(scene: Scene, dpu: DpuView, hold: Hold | None) -> Stage:
    is_unrecorded = scene.cycle(dpu) is None and not scene.wants(dpu)  # a maintenance of ours with no record of why
    if hold is not None and (not _is_good(scene, hold) or (is_unrecorded and not scene.is_to_be_lifted)):
        failures = (Reason.MAINTENANCE_FAILED, Reason.MAINTENANCE_REFUSED)
        return Stage.FAILED if hold.reason in failures else Stage.HELD
    if scene.own is not None and scene.own.phase is Phase.FAILED and scene.is_active(dpu):
        return Stage.FAILED
    cycle = scene.cycle(dpu)
    if cycle is None and scene.is_to_be_lifted and dpu is scene.prover():
        return Stage.VERIFYING
    if cycle is None:
        return Stage.HOST_DRAINING if scene.wants(dpu) else Stage.IDLE
    return _stage_of(scene, dpu, cycle)


def _stage_of(scene: Scene, dpu: DpuView, cycle: Cycle) -> Stage:
    if cycle.opened:
        if isinstance(dpu.node, Gone) or not dpu.node.ready:
            return Stage.DPU_DOWN
        if cycle.state is not State.RETURNING and not scene.is_open(dpu) and not scene.is_drained_for(dpu):
            return Stage.HOST_DRAINING
        if cycle.state is not State.RETURNING:
            return Stage.DPU_RECOVERING if cycle.stale else Stage.HOST_DRAINED
        return Stage.VERIFYING
    if cycle.state is State.RETURNING:
        return Stage.VERIFYING
    return Stage.HOST_DRAINED if scene.is_drained_for(dpu) else Stage.HOST_DRAINING


def _wish(scene: Scene, dpu: DpuView) -> Wish:
    if not scene.wants(dpu) or not isinstance(dpu.node, DpuNode):
        return Wish.NOBODY
    if scene.is_parting(dpu):
        return Wish.DELETION
    return Wish.MACHINE_CONFIG if dpu.node.mco in (Mco.DRAINS, Mco.DRAINED) else Wish.CORDON
