"""How long each step of a drain or of protection may take before it is reported as stuck."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class LimitedStep(Enum):
    """A step with a limit; the value is its name in `spec.drain.limits`."""

    PROTECTION = "protection"
    """A DPU comes under protection before it serves, or leaves it afterwards."""
    STARTING = "starting"
    """The drain is wanted; the host is not asked to drain yet."""
    HOST_DRAIN = "hostDrain"
    """The host is being drained."""
    DPU_DRAIN = "dpuDrain"
    """The budget is open; the DPU has not gone down yet."""
    DPU_DOWN = "dpuDown"
    """The DPU is not Ready."""
    RECOVERY = "recovery"
    """The DPU is back and still cordoned."""
    VERIFYING = "verifying"
    """Its network has to be proven."""
    GIVING_BACK = "givingBack"
    """The maintenance ends; the host gets its earlier state back."""

    @property
    def reason(self) -> str:
        """The reason that `PairsHealthy` and Events show when it takes too long."""
        return _REASONS[self]


_REASONS: Mapping[LimitedStep, str] = {
    LimitedStep.PROTECTION: "ProtectionOverdue",
    LimitedStep.STARTING: "StartingOverdue",
    LimitedStep.HOST_DRAIN: "HostDrainOverdue",
    LimitedStep.DPU_DRAIN: "DpuDrainOverdue",
    LimitedStep.DPU_DOWN: "DpuDownOverdue",
    LimitedStep.RECOVERY: "RecoveryOverdue",
    LimitedStep.VERIFYING: "VerifyingOverdue",
    LimitedStep.GIVING_BACK: "GivingBackOverdue",
}

DEFAULT_SECONDS: Mapping[LimitedStep, int] = {
    LimitedStep.PROTECTION: 600,
    LimitedStep.STARTING: 600,
    LimitedStep.HOST_DRAIN: 3600,
    LimitedStep.DPU_DRAIN: 3600,
    LimitedStep.DPU_DOWN: 1200,
    LimitedStep.RECOVERY: 1800,
    LimitedStep.VERIFYING: 600,
    LimitedStep.GIVING_BACK: 600,
}
"""Default seconds of every step; the schema of the API has the same."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`spec.drain.limits`, by the names there; a limit that is not set has its default."""

    said: Mapping[str, int] = field(default_factory=dict)

    def seconds(self, span: LimitedStep) -> int:
        """How long it may take."""
        return self.said.get(span.value, DEFAULT_SECONDS[span])


DEFAULT_LIMITS = Limits()


def duration(seconds: int) -> str:
    """A duration as the API reads it, such as `1h30m`."""
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    parts = ((hours, "h"), (minutes, "m"), (left, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"
