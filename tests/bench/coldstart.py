"""P1: from the start of the process until all is written, and how near that comes to the raw limit."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.benchworld import BenchWorld
from bench.figures import quantile, rate
from bench.machine import Cost, cost, pinned
from bench.rawlimit import Limit, Target, measure, watching
from bench.report import Bar, Better, Report
from bench.writes import Asked, Write
from dpunetop.domain.dpunode.status import Phase
from dpunetop.domain.names import DPUCLUSTERCONFIGS, DPUNODES

CONNECTIONS = (1, 4, 16)
QUIET_SECONDS = 3.0
_NEEDED = 0.85
_NEEDED_FROM = 1000
_FIRST_SECONDS = 0.7
_FIRST_UNTIL = 100
"""With more Nodes to read it takes longer."""
_PER_PAIR = 2
"""A blocker, and a budget that is made closed at once."""
_DPU_NODES_PER_PAIR = 2
"""A DpuNode, and its status."""
_CONSTANT = 40
"""What is written once, whatever the number of DPUs: objects of the tenant, and the statuses on the way."""


@dataclass(frozen=True)
class ColdStart:
    """One start, from nothing to rest."""

    asked: Asked
    seconds: float
    """From the start of the process to the last write."""
    first_seconds: float
    """And to the first one, as the server has it."""
    ready_seconds: float
    cost: Cost

    @property
    def rate(self) -> float:
        """Writes per second, from the first to the last one."""
        return rate([write.answered for write in self.asked.writes])


def cold_start(
    seeded: BenchWorld, within: float, program: tuple[str, ...] | None = None, rest_seconds: float = 0.0
) -> ColdStart:
    """Start the operator on a world that it has written nothing on yet; ends it again once all is told, no more is
    written, and it has rested so long. Raises: TimeoutError."""
    seeded.log.reset()
    began, at = time.monotonic(), time.time()
    with seeded.operator(program) as operator:
        operator.wait_ready()
        ready = time.monotonic() - began
        number = seeded.names.dpus if not seeded.configs else 0
        phase = Phase.SERVING if seeded.pods else None
        seeded.log.await_quiet(
            QUIET_SECONDS,
            within,
            lambda: is_told(seeded.log.asked().writes, number, phase, seeded.configs or 1),
        )
        time.sleep(rest_seconds)
        used, found = cost(operator.pid), seeded.log.asked()
        operator.terminate()
        operator.wait(10.0)
    answers = [write.answered - at for write in found.writes]
    return ColdStart(found, max(answers), min(answers), ready, used)


def is_told(writes: Iterable[Write], dpus: int, phase: Phase | None, configs: int) -> bool:
    """Whether so many DPUs are told to be in that phase (None: in any) and so many DpuClusterConfigs to be anything:
    a pause alone is no end, since a machine that is busy makes some within a start."""
    phases: dict[str, str] = {}
    told = set()
    for write in writes:
        if write.plural == f"{DPUNODES.plural}/status":
            phases[write.path] = write.body["status"]["phase"]
        if write.plural == f"{DPUCLUSTERCONFIGS.plural}/status":
            told.add(write.path)
    return sum(phase in (None, each) for each in phases.values()) >= dpus and len(told) >= configs


def raw_limits(seeded: BenchWorld, writes: tuple[Write, ...], watched: Iterable[str]) -> list[Limit]:
    """What the server takes of the same writes from a client that holds the same watches, and does nothing else."""
    target = Target(seeded.infra.url, seeded.infra.ca_pem, seeded.token)
    limits = []
    for connections in CONNECTIONS:
        seeded.take_away(writes)
        with pinned(seeded.cores.operator), watching(target, watched):
            limits.append(measure(target, writes, connections))
    seeded.take_away(writes)
    return limits


def repeatable(writes: tuple[Write, ...]) -> tuple[Write, ...]:
    """The applies that can be sent again: not those of the resource itself, which stays what it has become."""
    return tuple(w for w in writes if w.is_apply and w.plural.split("/")[0] != DPUCLUSTERCONFIGS.plural)


def run(seeded: BenchWorld, report: Report, part: str, repeat: int, within: float, sample: Path | None = None) -> None:
    """Measure starts and raw limit in turns, `repeat` times, on a seeded world of N pairs (or N DpuClusterConfigs).

    With `sample`, a sampler runs beside the operator, which it slows down, and leaves its stacks in that file.
    """
    program = None if sample is None else (sys.executable, "-m", "bench.sampled", str(sample.absolute()))
    number = seeded.configs or seeded.names.dpus
    starts, best = [], []
    for _ in range(repeat):
        start = cold_start(seeded, within, program)
        limits = raw_limits(seeded, repeatable(start.asked.writes), start.asked.watched)
        starts.append(start)
        best.append(max(limit.rate for limit in limits))
        report.details.setdefault(part, []).append(_detail(start, limits))
        seeded.renew_configs()
    _figures(report, part, number, starts, best)


def _figures(report: Report, part: str, number: int, starts: list[ColdStart], best: list[float]) -> None:
    counts = [len(start.asked.writes) for start in starts]
    ratios = [start.rate / limit for start, limit in zip(starts, best, strict=True)]
    needed = Bar(least=_NEEDED) if part.startswith("P1") and number >= _NEEDED_FROM else None
    told = [sum(w.plural.split("/")[0] == DPUNODES.plural for w in start.asked.writes) for start in starts]
    others = [count - dpu_nodes for count, dpu_nodes in zip(counts, told, strict=True)]
    most = Bar(most=_PER_PAIR * number + _CONSTANT) if part.startswith("P1") else None
    most_told = Bar(most=_DPU_NODES_PER_PAIR * number) if part.startswith("P1") else None
    first = Bar(most=_FIRST_SECONDS) if part.startswith("P1") and number <= _FIRST_UNTIL else None
    for what, values, unit, bar, better in (
        ("writes, but for DpuNodes", others, "", most, Better.LESS),
        ("writes of DpuNodes", told, "", most_told, Better.LESS),
        ("rate", [start.rate for start in starts], "1/s", None, Better.MORE),
        ("raw limit", best, "1/s", None, Better.NEITHER),
        ("efficiency", ratios, "", needed, Better.MORE),
        ("start to first write", [start.first_seconds for start in starts], "s", first, Better.LESS),
        ("start to last write", [start.seconds for start in starts], "s", None, Better.LESS),
        ("start to ready", [start.ready_seconds for start in starts], "s", None, Better.LESS),
        ("CPU of the operator", [start.cost.cpu_seconds for start in starts], "s", None, Better.LESS),
        ("RSS at rest", [start.cost.rss_mib for start in starts], "MiB", None, Better.LESS),
        ("peak RSS", [start.cost.peak_rss_mib for start in starts], "MiB", None, Better.LESS),
    ):
        report.add(part, what, quantile(values, 0.5), unit, bar, better)


def _detail(start: ColdStart, limits: list[Limit]) -> dict[str, Any]:
    return {
        "writes": dict(Counter(write.plural for write in start.asked.writes)),
        "requests": dict(start.asked.requests),
        "refused": dict(start.asked.refused),
        "rate": start.rate,
        "seconds": start.seconds,
        "first_seconds": start.first_seconds,
        "ready_seconds": start.ready_seconds,
        "cost": asdict(start.cost),
        "raw": [{**asdict(limit), "rate": limit.rate} for limit in limits],
    }
