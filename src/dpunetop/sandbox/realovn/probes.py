"""Container probes, one worker each: pkg/kubelet/prober/worker.go of Kubernetes v1.37.2."""

from __future__ import annotations

import time

from dpunetop.base.stop import Stop
from dpunetop.sandbox.realovn.containers import Container
from dpunetop.sandbox.realovn.podspec import ProbeSpec, ProbeType
from dpunetop.sandbox.realovn.runs import Run


class Prober:
    """One probe of one container.

    Threads: `run` by one thread, once. `said`, the output of the last probe, by any.
    """

    def __init__(self, container: Container, question: ProbeType, spec: ProbeSpec) -> None:
        self.said = "not asked yet"
        self._container = container
        self._question = question
        self._spec = spec
        self._run: Run | None = None
        self._verdict: bool | None = None
        self._times = 0
        self._on_hold = False

    def __repr__(self) -> str:
        return f"<Prober {self._question.value} of {self._container.spec.name}: {self.said}>"

    def run(self, stop: Stop) -> None:
        """Probe at each tick until `stop` is set."""
        while not stop.wait(self._spec.period_seconds * self._container.clock.seconds):
            self.probe()

    def probe(self) -> None:
        """Probe once, if the container runs, and report the result to it."""
        run = self._container.current()
        if run is None:
            return
        if run is not self._run:
            self._run, self._on_hold = run, False
        waited = (time.monotonic() - run.started) / self._container.clock.seconds
        if self._on_hold or waited < self._spec.initial_delay_seconds:
            return
        code, self.said = run.execute(self._spec.command, self._spec.timeout_seconds)
        self._count(run, code == 0)

    def _count(self, run: Run, verdict: bool) -> None:
        # The count continues across restarts, as in the kubelet.
        self._times = self._times + 1 if verdict == self._verdict else 1
        self._verdict = verdict
        threshold = self._spec.success_threshold if verdict else self._spec.failure_threshold
        if self._times < threshold:
            return
        match self._question:
            case ProbeType.READINESS:
                self._container.judge_ready(run, verdict)
            case ProbeType.LIVENESS if not verdict:
                self._on_hold, self._times = True, 0
                self._container.judge_unhealthy(run)
