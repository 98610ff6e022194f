"""P3 and P14: what the operator costs while nothing happens but heartbeats, each key looked at ten times as often."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import threading
import time
from collections import Counter

from bench.benchworld import BenchWorld
from bench.figures import quantile
from bench.machine import cost
from bench.report import Bar, Better, Report
from dpunetop.kube.keys import NODES
from dpunetop.kube.requests import get

PERIOD_SECONDS = 60.0
"""A tenth of the default."""
_BEATS_PER_SECOND = 17.0
_QUIET_SECONDS = 5.0
_NEEDED_FROM = 5000


def run(seeded: BenchWorld, report: Report, within: float, seconds: float) -> None:
    """Bring N pairs to rest, and watch the operator for so long while the kubelets beat: with the period
    shortened tenfold, and in a second start with one that does not end, so that the difference is the resync's."""
    number = seeded.names.dpus
    with seeded.operator() as operator:  # what is to be written is written before
        operator.wait_ready()
        seeded.log.await_quiet(_QUIET_SECONDS, within, lambda: len(seeded.log.asked().writes) >= 2 * number)
        operator.terminate()
        operator.wait(30.0)
    for name, flag in (("resync", f"{PERIOD_SECONDS:g}s"), ("no resync", "1000h")):
        _measure(seeded, report, f"P3 N={number}, {name}", flag, within, seconds)


def _measure(seeded: BenchWorld, report: Report, part: str, flag: str, within: float, seconds: float) -> None:
    ticks = seeded.folder / "ticks.json"
    program = (sys.executable, "-m", "bench.ticking", str(ticks), str(seeded.folder))
    seeded.log.reset()
    with seeded.operator(program, (f"--resync-period={flag}",)) as operator, _Beats(seeded):
        operator.wait_ready()
        seeded.log.await_quiet(_QUIET_SECONDS, within)
        time.sleep(PERIOD_SECONDS)  # what a start leaves to be looked at comes to rest too
        seeded.log.reset()
        os.kill(operator.pid, signal.SIGUSR1)
        before, begun = cost(operator.pid), time.monotonic()
        time.sleep(seconds)
        after, took = cost(operator.pid), time.monotonic() - begun
        asked = seeded.log.asked()
        operator.terminate()
        operator.wait(30.0)
    late = json.loads(ticks.read_text())
    is_measured = seeded.names.dpus >= _NEEDED_FROM
    report.add(part, "writes", len(asked.writes), "", Bar(most=0))
    report.details[part] = {"requests": dict(asked.requests), "writes": dict(Counter(w.plural for w in asked.writes))}
    busy = 100 * (after.cpu_seconds - before.cpu_seconds) / took
    report.add(part, "CPU", busy, "%", Bar(most=3.0) if is_measured else None)
    report.add(part, "reads", sum(asked.requests.values()) - len(asked.writes))
    report.add(part, "worst gap", 1000 * max(late), "ms", Bar(most=200.0) if is_measured else None, Better.NEITHER)
    report.add(
        part, "gap p99.9", 1000 * quantile(late, 0.999), "ms", Bar(most=50.0) if is_measured else None, Better.NEITHER
    )


class _Beats:
    """The heartbeats of the kubelets of hosts and DPUs, in turn, one after the other: a context manager."""

    def __init__(self, seeded: BenchWorld) -> None:
        tenant, infra = seeded.pair.tenant.admin, seeded.pair.infra.admin
        pairs = seeded.names.pairs.items()
        self._nodes = [each for dpu, host in pairs for each in ((tenant, host), (infra, dpu))]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="beats")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        for admin, node in itertools.cycle(self._nodes):
            if self._over.wait(1 / _BEATS_PER_SECOND):
                return
            beat = {"nodeInfo": {"kernelVersion": f"beat-{time.monotonic_ns()}"}}  # nothing that anybody keeps
            admin.patch(f"{get(NODES, '', node).target}/status", {"status": beat}, fieldManager="kubelet")
