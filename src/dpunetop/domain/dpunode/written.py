"""The status of a `DpuNode` as any client reads it, and whether a new judgement of that DPU agrees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dpunetop.base.quoting import printable
from dpunetop.domain.dpunode.objects import STEP_FIELDS
from dpunetop.domain.dpunode.status import DpuNodeStatus, DrainStep, Phase
from dpunetop.domain.drain.model.times import as_seconds
from dpunetop.kube.meta import Obj
from dpunetop.kube.shapes import at

_LONGEST = 253


@dataclass(frozen=True, slots=True)
class PastDrain:
    """The last drain in the status; times in seconds of the epoch."""

    started: int
    ended: int
    """0: it is still running."""
    steps: Mapping[DrainStep, int]
    """The seconds of each step that is over."""


@dataclass(frozen=True, slots=True)
class Written:
    """The status that the operator wrote last. Foreign text in it is printable, and bounded."""

    phase: str
    since: int
    """Since when it has been in that phase, in seconds of the epoch; 0: unknown."""
    reason: str
    message: str
    """Empty: the reason says all."""
    host: str
    """Empty: none."""
    drain: PastDrain | None

    def contradicts(self, judged: DpuNodeStatus) -> bool:
        """Whether it differs from a judgement that was made now; a part that the judgement could not look at never
        differs."""
        return judged.phase is not Phase.UNKNOWN and (self.phase, self.host) != (str(judged.phase), judged.host)


def read_written(dpu_node: Obj) -> Written | None:
    """The status of a full `DpuNode`; None: it has none yet."""
    status = dpu_node.get("status")
    if not isinstance(status, Mapping) or not status.get("phase"):
        return None
    return Written(
        phase=_text(status.get("phase")),
        since=as_seconds(status.get("since")),
        reason=_text(status.get("reason")),
        message=_text(status.get("message")),
        host=_text(status.get("host")),
        drain=_drain(at(status, "lastDrain")),
    )


def _text(value: object) -> str:
    return printable(value, _LONGEST) if isinstance(value, str) else ""


def _drain(found: Any) -> PastDrain | None:
    started = as_seconds(at(found, "startedAt"))
    if not started:
        return None
    told = ((step, at(found, field)) for step, field in STEP_FIELDS.items())
    steps = {step: seconds for step, seconds in told if isinstance(seconds, int) and seconds >= 0}
    return PastDrain(started, as_seconds(at(found, "endedAt")), steps)
