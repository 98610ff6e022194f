"""The containers of a pod on the DPU: started, probed, restarted and ended as by a kubelet.

A container that ends is restarted whatever its exit code, at once for the first time, then after 10 s, 20 s, … 5 min.
It is Ready only after its readiness probe succeeded since its start. If it fails its liveness probe, or is stopped, it
gets SIGTERM, and SIGKILL after the grace period. Rules cite Kubernetes v1.37.2.
"""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from dpunetop.base.stop import Stop
from dpunetop.sandbox.realovn.clock import Backoff, KubeletClock
from dpunetop.sandbox.realovn.packages import Image
from dpunetop.sandbox.realovn.podspec import ContainerSpec, ProbeType
from dpunetop.sandbox.realovn.rootfs import Failed, Root
from dpunetop.sandbox.realovn.runs import Run, Termination
from dpunetop.sandbox.realovn.volumes import Volumes

_POLL_SECONDS = 0.05
# pkg/kubelet/kubelet.go `plegRelistPeriod`: the delay until the kubelet sees that a container has ended.
_NOTICE_SECONDS = 1.0


@dataclass(frozen=True)
class Status:
    """The status of a container as in the API."""

    name: str
    process: int | None
    """The pid of its first process, while it runs."""
    ready: bool
    restarts: int
    last: Termination | None


class Container:
    """A container that is kept running until it is stopped.

    Threads: `run` by one thread, once; everything else by any.
    """

    def __init__(self, spec: ContainerSpec, image: Image, volumes: Volumes, folder: Path, clock: KubeletClock) -> None:
        self.spec = spec
        self.clock = clock
        self._image = image
        self._volumes = volumes
        self._folder = folder
        self._backoff = Backoff()
        self._guard = threading.Lock()  # guards what follows; never held while anything is started or awaited
        self._run: Run | None = None
        self._ready = False
        self._restarts = 0
        self._last: Termination | None = None
        self._unhealthy = False
        folder.mkdir(parents=True, exist_ok=True)

    def __repr__(self) -> str:
        return f"<Container {self.status()}>"

    def status(self) -> Status:
        """Its current status, as in the API."""
        with self._guard:
            process = self._run.process if self._run else None
            return Status(self.spec.name, process, self._ready and process is not None, self._restarts, self._last)

    def log(self, start: int | None = None) -> Path:
        """The log of its last start, or of start `start`, counted from 0."""
        return self._folder / f"{self.status().restarts if start is None else start}.log"

    def current(self) -> Run | None:
        """The current run, if any."""
        with self._guard:
            return self._run

    def execute(self, *command: str, timeout: float = 120.0) -> str:
        """Run a command in it, as `kubectl exec` does; returns the output. Raises: Failed, also while it is down."""
        run = self.current()
        if run is None:
            raise Failed(f"{self} does not run")
        code, said = run.execute(command, timeout)
        if code != 0:
            raise Failed(f"{' '.join(command)} in {self.spec.name}: exit code {code}: {said[-2000:]}")
        return said

    def judge_ready(self, run: Run, ready: bool) -> None:
        """Record a result of the readiness probe, unless its run is over."""
        with self._guard:
            if self._run is run:
                self._ready = ready

    def judge_unhealthy(self, run: Run) -> None:
        """Restart it, after a failed liveness probe."""
        with self._guard:
            if self._run is run:
                self._unhealthy = True

    def kill_first_process(self) -> None:
        """Send SIGKILL, as the kernel does on OOM."""
        run = self.current()
        if run is not None:
            run.signal(signal.SIGKILL)

    def run(self, stop: Stop, grace_seconds: float) -> None:
        """Keep it running until `stop` is set; then end it."""
        starts = 0
        while not stop.is_set():
            run = self._start(starts)
            starts += 1
            ended = self._see_through(run, stop, grace_seconds)
            finished = time.monotonic()
            self._finish(run, ended)
            if not stop.is_set():
                self._pause(finished, stop)

    def _start(self, number: int) -> Run:
        root = Root(self._image, self._folder / str(number))
        self._volumes.mount(self.spec, root)
        run = Run(self.spec, root, self.log(number))
        with self._guard:
            # Without a readiness probe it is Ready as soon as it runs: pkg/kubelet/prober/prober_manager.go.
            self._run, self._unhealthy, self._restarts = run, False, number
            self._ready = ProbeType.READINESS not in self.spec.probes
        return run

    def _see_through(self, run: Run, stop: Stop, grace_seconds: float) -> Termination:
        while not (stop.is_set() or self._is_unhealthy()):
            code = run.poll()
            if code is not None:
                return run.ended(code)
            stop.wait(_POLL_SECONDS)
        return run.end(grace_seconds)

    def _finish(self, run: Run, ended: Termination) -> None:
        with self._guard:
            self._run, self._ready, self._last = None, False, ended
        # The rest of a container that shares the processes of its node: CRI-O internal/oci/runtime_oci.go
        # `UpdateContainerStatus`; containerd does the same.
        run.root.close()

    def _pause(self, finished: float, stop: Stop) -> None:
        second = self.clock.seconds
        noticed = finished + _NOTICE_SECONDS * second
        pause = self._backoff.next(finished / second, noticed / second) * second
        stop.wait(max(finished + pause, noticed) - time.monotonic())

    def _is_unhealthy(self) -> bool:
        with self._guard:
            return self._unhealthy
