"""The hosts of a DpuClusterConfig that ends: each is drained before its DPU releases it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dpunetop.base.quoting import named
from dpunetop.domain.clusterconfig.status import LEADING_OUT
from dpunetop.domain.drain.report.dpustatus import DpuPhase, DpuStatus
from dpunetop.domain.reasons import PAIRS_HEALTHY
from dpunetop.kube.conditions import Condition

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class ServedHost:
    """One host that is still served. `standings` are the statuses of its DPUs; empty: no drain is known yet."""

    host: str
    dpu_statuses: tuple[DpuStatus, ...]

    @property
    def held(self) -> DpuStatus | None:
        """The DPU that holds the drain, if one does."""
        return next((each for each in self.dpu_statuses if each.stage in (DpuPhase.HELD, DpuPhase.FAILED)), None)


def judge_partings(partings: Sequence[ServedHost]) -> Condition:
    """`PairsHealthy` at the end: each host with why it waits, held ones first."""
    ordered = sorted(partings, key=lambda each: (each.held is None, each.host))
    words = "; ".join(f"{named(each.host)}: {_words(each)}" for each in ordered[:_SHOWN])
    more = f"; and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else ""
    held = next((each.held for each in ordered if each.held is not None), None)
    reason = LEADING_OUT if held is None else held.reason or str(held.stage)
    return Condition(PAIRS_HEALTHY, "False", reason, f"hosts are led out: {words}{more}")


def _words(parting: ServedHost) -> str:
    said = (parting.held, *(each for each in parting.dpu_statuses if each.message))
    first = next((each for each in said if each is not None), None)
    return "is about to be drained" if first is None else f"{first.message} (DPU {named(first.dpu)})"
