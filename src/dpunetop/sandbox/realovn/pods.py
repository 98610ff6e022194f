"""A pod on the DPU: the containers of a rendered DaemonSet, with their volumes and probes."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dpunetop.base.stop import Stop
from dpunetop.sandbox.lifecycle import Lifecycle
from dpunetop.sandbox.realovn.clock import REAL_TIME, KubeletClock
from dpunetop.sandbox.realovn.containers import Container, Status
from dpunetop.sandbox.realovn.datapath import Dpu
from dpunetop.sandbox.realovn.podspec import Identity, pod_spec
from dpunetop.sandbox.realovn.probes import Prober
from dpunetop.sandbox.realovn.runs import Termination
from dpunetop.sandbox.realovn.volumes import Contents, Volumes

_POLL_SECONDS = 0.05
_END_SECONDS = 30.0

Statuses = Mapping[str, Status]


class Pod(Lifecycle):
    """A pod that runs until it is stopped: a context manager.

    Guarantees: after `stop` no process and no mount of it is left; its files in folders of the DPU stay.
    Threads: any, but only one of `start` and `stop` at a time.
    Raises: NotSupported, for a field of the template that is not supported here; KeyError, for a missing object.
    """

    def __init__(
        self,
        dpu: Dpu,
        template: Mapping[str, Any],
        identity: Identity,
        objects: Contents,
        clock: KubeletClock = REAL_TIME,
    ) -> None:
        """`template` is `spec.template` of a workload; `objects` are the ConfigMaps and Secrets that it mounts."""
        self.spec = pod_spec(template, identity)
        self._folder = Path(tempfile.mkdtemp(prefix=f"{identity.name}-", dir=dpu.folder))
        self.volumes = Volumes(self.spec, dpu.root, self._folder / "volumes", objects)
        self.containers = {
            part.name: Container(part, dpu.image, self.volumes, self._folder / part.name, clock)
            for part in self.spec.containers
        }
        self.probers = [
            Prober(container, question, probe)
            for container in self.containers.values()
            for question, probe in container.spec.probes.items()
        ]
        self._stop = Stop()
        self._threads: list[threading.Thread] = []

    def close(self) -> None:
        """See `stop`."""
        self.stop()

    def start(self) -> None:
        """Start all containers at the same time, as a kubelet does."""
        for container in self.containers.values():
            self._begin(container.run, f"container {container.spec.name}", self.spec.grace_seconds)
        for number, prober in enumerate(self.probers):
            self._begin(prober.run, f"probe {number}")

    def stop(self) -> Mapping[str, Termination]:
        """End the pod as after its deletion, with SIGTERM to all containers; returns how each of them ended.

        May be called again. Raises: TimeoutError, if a process is left half a minute after the grace period.
        """
        self._join()
        self.volumes.close()
        return {name: status.last for name, status in self.statuses().items() if status.last is not None}

    def power_off(self) -> None:
        """End it as a loss of power does; its volumes stay for the next pod of that name."""
        for container in self.containers.values():
            container.kill_first_process()
        self._join()

    def statuses(self) -> Statuses:
        """The status of each container as in the API."""
        return {name: container.status() for name, container in self.containers.items()}

    def is_ready(self) -> bool:
        """Whether each container is Ready."""
        return all(status.ready for status in self.statuses().values())

    def wait(self, what: str, holds: Callable[[Statuses], bool], timeout: float = 120.0) -> None:
        """Wait until `holds` is true of the statuses. Raises: TimeoutError, with the end of each log."""
        deadline = time.monotonic() + timeout
        while not holds(self.statuses()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not {what} after {timeout:g} s\n{self.describe()}")
            time.sleep(_POLL_SECONDS)

    def wait_ready(self, timeout: float = 120.0) -> None:
        """Wait until each container is Ready. Raises: TimeoutError."""
        self.wait("Ready", lambda statuses: all(status.ready for status in statuses.values()), timeout)

    def describe(self) -> str:
        """The end of the log of each container, and the last result of its probes."""
        parts = [f"{container}\n{_tail(container.log())}" for container in self.containers.values()]
        return "\n".join([*parts, *map(repr, self.probers)])

    def _join(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(self.spec.grace_seconds + _END_SECONDS)
            if thread.is_alive():
                raise TimeoutError(f"{thread.name} goes on\n{self.describe()}")

    def _begin(self, work: Callable[..., None], name: str, *arguments: float) -> None:
        thread = threading.Thread(target=work, args=(self._stop, *arguments), name=name)
        self._threads.append(thread)
        thread.start()


def _tail(log: Path, lines: int = 10) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""
