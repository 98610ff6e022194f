"""P8, first form: what the process holds at rest, with no pair and with N of them, each Node as large as a real one.
And of P13 what it holds without a tenant, and with one that has no pairs."""

from __future__ import annotations

from bench.benchworld import BenchWorld
from bench.coldstart import cold_start
from bench.figures import slope
from bench.machine import Cores
from bench.report import Bar, Report

_MOST_MIB = {0: 72.0, 1000: 80.0, 5000: 150.0}
_MOST_MIB_ALONE = 56.0
_MOST_KIB_A_PAIR = 16.0
_REST_SECONDS = 20.0  # connections that a burst of calls has left are closed after 10 s, by the next probe


def run(cores: Cores, report: Report, sizes: list[int], within: float) -> None:
    """Measure each size on a world of its own."""
    with BenchWorld(cores, dpus=0, configs=1) as seeded:
        alone = cold_start(seeded, within, rest_seconds=_REST_SECONDS).cost.rss_mib
    report.add("P13", "RSS at rest, no tenant", alone, "MiB", Bar(most=_MOST_MIB_ALONE))
    points = []
    for size in sorted({0, *sizes}):
        with BenchWorld(cores, dpus=size, pods=True) as seeded:
            used = cold_start(seeded, within, rest_seconds=_REST_SECONDS).cost
        points.append((float(size), used.rss_mib * 1024))
        bar = Bar(most=_MOST_MIB[size]) if size in _MOST_MIB else None
        report.add("P8", f"RSS at rest, {size} pairs", used.rss_mib, "MiB", bar)
        report.add("P8", f"peak RSS, {size} pairs", used.peak_rss_mib, "MiB")
    report.add("P8", "memory of a pair", slope(points), "KiB", Bar(most=_MOST_KIB_A_PAIR))
