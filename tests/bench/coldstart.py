"""P1: from the start of the process until all is written, and how near that comes to the raw limit."""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.figures import quantile, rate
from bench.machine import Cost, cost, pinned
from bench.rawlimit import Limit, Target, measure
from bench.report import Bar, Report
from bench.stage import Stage
from bench.writes import Asked, Write
from dpunetop.domain.names import DPUCLUSTERCONFIGS

CONNECTIONS = (1, 4, 16)
QUIET_SECONDS = 3.0
_NEEDED = 0.5
_NEEDED_FROM = 1000
_PER_PAIR = 4
"""A blocker, a budget that is made closed at once, a DpuNode, and its status."""
_CONSTANT = 40
"""What is written once, whatever the number of DPUs: objects of the tenant, and the statuses on the way."""


@dataclass(frozen=True)
class ColdStart:
    """One start, from nothing to rest."""

    asked: Asked
    seconds: float
    """From the start of the process to the last write."""
    ready_seconds: float
    cost: Cost

    @property
    def rate(self) -> float:
        """Writes per second, from the first to the last one."""
        return rate([write.answered for write in self.asked.writes])


def cold_start(stage: Stage, within: float, program: tuple[str, ...] | None = None) -> ColdStart:
    """Start the operator on a stage that it has written nothing on yet; ends it again. Raises: TimeoutError."""
    stage.log.reset()
    began, at = time.monotonic(), time.time()
    with stage.operator(program) as operator:
        operator.wait_ready()
        ready = time.monotonic() - began
        stage.log.await_quiet(QUIET_SECONDS, within, lambda: bool(stage.log.asked().writes))
        used, found = cost(operator.pid), stage.log.asked()
        operator.terminate()
        operator.wait(10.0)
    return ColdStart(found, max(write.answered for write in found.writes) - at, ready, used)


def raw_limits(stage: Stage, writes: tuple[Write, ...]) -> list[Limit]:
    """What the server takes of the same writes from a client that does nothing else."""
    target = Target(stage.infra.url, stage.infra.ca_pem, stage.token)
    limits = []
    for connections in CONNECTIONS:
        stage.take_away(writes)
        with pinned(stage.cores.operator):
            limits.append(measure(target, writes, connections))
    stage.take_away(writes)
    return limits


def repeatable(writes: tuple[Write, ...]) -> tuple[Write, ...]:
    """The applies that can be sent again: not those of the resource itself, which stays what it has become."""
    return tuple(w for w in writes if w.is_apply and w.plural.split("/")[0] != DPUCLUSTERCONFIGS.plural)


def run(stage: Stage, report: Report, part: str, repeat: int, within: float, sample: Path | None = None) -> None:
    """Measure starts and raw limit in turns, `repeat` times, on a stage of N pairs (or N DpuClusterConfigs).

    With `sample`, a sampler runs beside the operator, which it slows down, and leaves its stacks in that file.
    """
    program = None if sample is None else (sys.executable, "-m", "bench.sampled", str(sample.absolute()))
    number = stage.configs or stage.names.dpus
    starts, best = [], []
    for _ in range(repeat):
        start = cold_start(stage, within, program)
        limits = raw_limits(stage, repeatable(start.asked.writes))
        starts.append(start)
        best.append(max(limit.rate for limit in limits))
        report.details.setdefault(part, []).append(_detail(start, limits))
        stage.renew_configs()
    _figures(report, part, number, starts, best)


def _figures(report: Report, part: str, number: int, starts: list[ColdStart], best: list[float]) -> None:
    counts = [len(start.asked.writes) for start in starts]
    ratios = [start.rate / limit for start, limit in zip(starts, best, strict=True)]
    needed = Bar(least=_NEEDED) if part.startswith("P1") and number >= _NEEDED_FROM else None
    most = Bar(most=_PER_PAIR * number + _CONSTANT) if part.startswith("P1") else None
    for what, value, unit, bar in (
        ("writes", quantile(counts, 0.5), "", most),
        ("rate", quantile([start.rate for start in starts], 0.5), "1/s", None),
        ("raw limit", quantile(best, 0.5), "1/s", None),
        ("efficiency", quantile(ratios, 0.5), "", needed),
        ("start to last write", quantile([start.seconds for start in starts], 0.5), "s", None),
        ("start to ready", quantile([start.ready_seconds for start in starts], 0.5), "s", None),
        ("CPU of the operator", quantile([start.cost.cpu_seconds for start in starts], 0.5), "s", None),
        ("RSS at rest", quantile([start.cost.rss_mib for start in starts], 0.5), "MiB", None),
        ("peak RSS", quantile([start.cost.peak_rss_mib for start in starts], 0.5), "MiB", None),
    ):
        report.add(part, what, value, unit, bar)


def _detail(start: ColdStart, limits: list[Limit]) -> dict[str, Any]:
    return {
        "writes": dict(Counter(write.plural for write in start.asked.writes)),
        "requests": dict(start.asked.requests),
        "refused": dict(start.asked.refused),
        "rate": start.rate,
        "seconds": start.seconds,
        "ready_seconds": start.ready_seconds,
        "cost": asdict(start.cost),
        "raw": [{**asdict(limit), "rate": limit.rate} for limit in limits],
    }
