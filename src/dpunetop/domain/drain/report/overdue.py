"""What takes longer than it may: since when, and why, as far as both clusters say.

Since when is read from what is recorded in the clusters, so that another process says the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import assert_never

from dpunetop.base.quoting import (
    named,
    sentence,
)
from dpunetop.domain.drain.model.facts import (
    DpuNode,
    DpuView,
    HostNode,
    HostView,
    Maintenance,
    Phase,
)
from dpunetop.domain.drain.model.limits import (
    Limits,
    Span,
    duration,
)
from dpunetop.domain.drain.model.record import (
    Cycle,
    State,
)
from dpunetop.domain.drain.model.scene import Scene
from dpunetop.domain.drain.model.times import as_time
from dpunetop.domain.drain.protection.protection import Guarding
from dpunetop.domain.drain.report.standing import (
    Late,
    Stage,
    Standing,
)

BEGINNING_SECONDS = 300
"""So long the node maintenance operator may have a maintenance until it drains the host: it begins at once, or not at
all."""


def span_of(stage: Stage, cycle: Cycle | None, *, is_ending: bool) -> Span | None:
    """What of a drain has its limit at that stage; None: nothing goes on, or it is told at once.

    `is_ending`: the host is given back already, or is so with its maintenance that ends.
    """
    match stage:
        case Stage.IDLE | Stage.HELD | Stage.FAILED:
            return None
        case Stage.HOST_DRAINING:
            return Span.HOST_DRAIN if cycle is not None and cycle.asked_at else Span.STARTING
        case Stage.HOST_DRAINED:
            return Span.DPU_DRAIN if cycle is not None and cycle.opened_at else Span.HOST_DRAIN
        case Stage.DPU_DOWN:
            return Span.DPU_DOWN
        case Stage.DPU_RECOVERING:
            return Span.RECOVERY
        case Stage.VERIFYING:
            return Span.GIVING_BACK if is_ending else Span.VERIFYING
    assert_never(stage)


def guarding_span(guarding: Guarding) -> Span | None:
    """What has its limit at that step of protection; None: it lasts, waits for what is told elsewhere, or is told at
    once."""
    match guarding:
        case Guarding.SERVING | Guarding.NOT_SERVING | Guarding.NOT_OURS | Guarding.REMOVAL_PENDING:
            return None
        case Guarding.BLOCKER_MISSING | Guarding.CLOSING | Guarding.BLOCKER_NOT_READY:
            return Span.PROTECTION
        case Guarding.NODE_CORDONED | Guarding.ENTRY_PENDING | Guarding.LEAVING:
            return Span.PROTECTION
    assert_never(guarding)


def timed(view: HostView, found: Iterable[Standing], guardings: Mapping[str, Guarding]) -> tuple[Standing, ...]:
    """The same, each with when it is late, and with the words for what is late already."""
    scene, dpus = Scene(view), {dpu.name: dpu for dpu in view.dpus}
    return tuple(_timed(scene, dpus[each.dpu], each, guardings.get(each.dpu)) for each in found)


def next_limit(found: Iterable[Standing], now: int) -> int | None:
    """In how many seconds the next of these is late; None: none will be."""
    return min((each.late_at - now for each in found if each.late_at > now), default=None)


def _timed(scene: Scene, dpu: DpuView, standing: Standing, guarding: Guarding | None) -> Standing:
    span, since = _drain(scene, dpu, standing.stage)
    what = str(standing.stage)
    if span is None and standing.stage is Stage.IDLE and guarding is not None:
        span, what = guarding_span(guarding), _words(guarding)
        since = 0 if dpu.budget is None else dpu.budget.since
    if span is None or not since:
        return standing
    limits, now = scene.view.settings.limits, scene.view.site.author.now
    late_at, limit = since + limits.seconds(span) + 1, _limit(limits, span)
    begun = _waits_since(scene, since) if span is Span.HOST_DRAIN else 0
    if begun and begun + BEGINNING_SECONDS + 1 < late_at:
        late_at, since = begun + BEGINNING_SECONDS + 1, begun
        what, limit = f"{what}, which does not begin,", duration(BEGINNING_SECONDS)
    if now < late_at:
        return replace(standing, late_at=late_at)
    cause = _cause(scene, dpu, span, standing)
    words = f"{what} since {as_time(since)}, longer than {limit}{cause}"
    return replace(standing, late_at=late_at, late=Late(span.reason, f"host {named(scene.view.site.host)}: {words}"))


def _drain(scene: Scene, dpu: DpuView, stage: Stage) -> tuple[Span | None, int]:
    cycle, own = scene.cycle(dpu), scene.own
    returns = cycle is not None and cycle.state is State.RETURNING
    span = span_of(stage, cycle, is_ending=returns and (own is None or own.terminating))
    return span, 0 if span is None or cycle is None else _since(span, dpu, cycle, own)


def _waits_since(scene: Scene, asked: int) -> int:
    """Since when the node maintenance operator has a maintenance that it does nothing about, by the tenant's clock, but
    not before it was `asked` for by ours; 0: it drains the host.

    Source: it gets the Lease of the host first, which somebody else may hold, then sets its taint, and names the pods
        that are left (`Reconcile` in internal/controller/nodemaintenance_controller.go of
        medik8s/node-maintenance-operator 3a54cd1). Its error stands also after it has passed.
    """
    own, host = scene.own, scene.host
    if own is None or own.terminating or own.is_renewed or not isinstance(host, HostNode):
        return 0
    drains = own.phase not in (Phase.NEW, Phase.RUNNING) or (host.tainted and own.pending > 0)
    return 0 if drains or not own.made_at else max(own.made_at, asked)


def _since(span: Span, dpu: DpuView, cycle: Cycle, own: Maintenance | None) -> int:
    """When it began; times of other clusters are not taken to be later than they can be."""
    changed = dpu.node.ready_since if isinstance(dpu.node, DpuNode) else 0
    match span:
        case Span.STARTING | Span.PROTECTION:
            return cycle.since
        case Span.HOST_DRAIN:
            return cycle.asked_at or cycle.since
        case Span.DPU_DRAIN:
            return cycle.opened_at
        case Span.DPU_DOWN:
            return max(cycle.opened_at or cycle.since, changed)
        case Span.RECOVERY:
            return max(cycle.opened_at or cycle.since, cycle.booted_at)
        case Span.VERIFYING:
            return max(cycle.returned_at or cycle.since, cycle.booted_at, changed)
        case Span.GIVING_BACK:
            return max(cycle.returned_at or cycle.since, 0 if own is None else own.ended_at)
    assert_never(span)


def _words(guarding: Guarding) -> str:
    return "".join(word.capitalize() for word in guarding.name.split("_"))


def _limit(limits: Limits, span: Span) -> str:
    return f"spec.drain.limits.{span.value} ({duration(limits.seconds(span))})"


def _cause(scene: Scene, dpu: DpuView, span: Span, standing: Standing) -> str:
    found = [standing.message] if standing.message else []
    if span is Span.HOST_DRAIN and scene.own is not None:
        found += scene.view.evictions
    if span is Span.GIVING_BACK and scene.own is not None and scene.own.error:
        found.append(f"the node maintenance operator says {sentence(scene.own.error)}")
    if span in (Span.DPU_DRAIN, Span.DPU_DOWN, Span.RECOVERY, Span.VERIFYING) and isinstance(dpu.node, DpuNode):
        found += [f"the machine-config operator {story}"] if (story := dpu.node.machine.story) else []
    return f": {'; '.join(found)}" if found else ""
