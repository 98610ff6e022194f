"""Which changes of a DPU's phase give an Event, and which code writes it: each once, on the Node of the DPU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum, auto
from typing import assert_never

from dpunetop.domain.dpunode.status import IN_DRAIN, DpuNodeStatus, Phase
from dpunetop.domain.reasons import Gravity, event, meaning
from dpunetop.kube.keys import INFRA, NODES
from dpunetop.kube.meta import Obj
from dpunetop.kube.plan import Emit


class EventWriter(Enum):
    """The code that writes the Event when a DPU enters a phase."""

    DRAIN = auto()
    """The report of the host, about the stage of the drain; see `hostreport`."""
    NETWORK = auto()
    """The same, about the network of the host."""
    PHASE = auto()
    """The functions of this module."""
    NOBODY = auto()
    """None: the DPU could not be looked at, which is no event of the DPU. The log and `PairsHealthy` say why."""


def teller(before: Phase, now: Phase) -> EventWriter:
    """The teller of that change."""
    match now:
        case Phase.UNKNOWN:
            return EventWriter.NOBODY
        case Phase.NO_NETWORK:
            return EventWriter.NETWORK
        case Phase.HELD | Phase.DRAINING | Phase.DRAINED | Phase.DOWN | Phase.RECOVERING | Phase.VERIFYING:
            return EventWriter.DRAIN
        case Phase.SERVING | Phase.UNPROTECTED | Phase.WAITING | Phase.LEAVING | Phase.UNPAIRED | Phase.SPARE:
            return _back(before, now)
    assert_never(now)


def _back(before: Phase, now: Phase) -> EventWriter:
    """A DPU that serves again after a drain or an outage ends it, so the teller of that writes the Event."""
    if now is Phase.SERVING and (before in IN_DRAIN or before is Phase.HELD):
        return EventWriter.DRAIN
    return EventWriter.NETWORK if now is Phase.SERVING and before is Phase.NO_NETWORK else EventWriter.PHASE


def phase_events(
    nodes: Mapping[str, Obj], changes: Iterable[tuple[DpuNodeStatus | None, DpuNodeStatus]]
) -> Iterable[Emit]:
    """The Events whose teller is PHASE. The first state that a new process finds is no change."""
    for before, now in changes:
        node = nodes.get(now.dpu)
        if node is not None and before is not None and _is_news(before, now):
            note = f"{now.phase}: {now.message}" if now.message else _words(now)
            yield event(INFRA, NODES, node, now.reason, note)


def _is_news(before: DpuNodeStatus, now: DpuNodeStatus) -> bool:
    """Within a phase a new reason gives an Event only if a person has to act."""
    if before.phase is not now.phase:
        return teller(before.phase, now.phase) is EventWriter.PHASE
    is_grave = before.reason != now.reason and meaning(now.reason).gravity is Gravity.ACTION
    return is_grave and teller(Phase.UNKNOWN, now.phase) is EventWriter.PHASE


def _words(now: DpuNodeStatus) -> str:
    return f"{now.phase}: host {now.host} has a network through {now.dpu}" if now.host else f"{now.phase}"
