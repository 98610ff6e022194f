"""A pod on the DPU: the containers of a rendered DaemonSet with their volumes and probes, from start to end."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from dpunetop.base.stop import Stop
from dpunetop.sandbox.realovn.containers import Container, Status
from dpunetop.sandbox.realovn.datapath import Dpu
from dpunetop.sandbox.realovn.pace import KUBELETS_OWN, Pace
from dpunetop.sandbox.realovn.podspec import Identity, pod_spec
from dpunetop.sandbox.realovn.probes import Prober
from dpunetop.sandbox.realovn.runs import Ended
from dpunetop.sandbox.realovn.volumes import Contents, Volumes

_POLL_SECONDS = 0.05
_END_SECONDS = 30.0

Statuses = Mapping[str, Status]


class Pod:
    """A pod that runs until it is stopped: a context manager.

    Guarantees: after `stop` no process and no mount of it is left; folders of the DPU are as it left them.
    Threads: all methods from any, but one of `start` and `stop` at a time.
    Raises: NotPlayed, for what the template asks for and no kubelet is played for; KeyError, for a missing object.
    """

    def __init__(
        self, dpu: Dpu, template: Mapping[str, Any], identity: Identity, objects: Contents, pace: Pace = KUBELETS_OWN
    ) -> None:
        """`template` is `spec.template` of a workload; `objects` are the ConfigMaps and Secrets that it mounts."""
        self.spec = pod_spec(template, identity)
        self._folder = Path(tempfile.mkdtemp(prefix=f"{identity.name}-", dir=dpu.folder))
        self.volumes = Volumes(self.spec, dpu.root, self._folder / "volumes", objects)
        self.containers = {
            part.name: Container(part, dpu.image, self.volumes, self._folder / part.name, pace)
            for part in self.spec.containers
        }
        self.probers = [
            Prober(container, question, probe)
            for container in self.containers.values()
            for question, probe in container.spec.probes.items()
        ]
        self._stop = Stop()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start all containers, at once, as a kubelet does."""
        for container in self.containers.values():
            self._begin(container.run, f"container {container.spec.name}", self.spec.grace_seconds)
        for number, prober in enumerate(self.probers):
            self._begin(prober.run, f"probe {number}")

    def stop(self) -> Mapping[str, Ended]:
        """End the pod as after its deletion: SIGTERM to each container at once; how each of them ended.

        May be called again. Raises: TimeoutError, when something does not end for half a minute after the grace.
        """
        self._join()
        self.volumes.close()
        return {name: status.last for name, status in self.statuses().items() if status.last is not None}

    def power_off(self) -> None:
        """End it as a loss of power does; its volumes stay, and a pod of the same name finds them."""
        for container in self.containers.values():
            container.kill_first_process()
        self._join()

    def statuses(self) -> Statuses:
        """What the API server would show of each container."""
        return {name: container.status() for name, container in self.containers.items()}

    def is_ready(self) -> bool:
        """Whether each container is Ready."""
        return all(status.ready for status in self.statuses().values())

    def wait(self, what: str, holds: Callable[[Statuses], bool], timeout: float = 30.0) -> None:
        """Wait until something holds of the containers. Raises: TimeoutError, with what each of them said last."""
        deadline = time.monotonic() + timeout
        while not holds(self.statuses()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not {what} after {timeout:g} s\n{self.describe()}")
            time.sleep(_POLL_SECONDS)

    def wait_ready(self, timeout: float = 30.0) -> None:
        """Wait until each container is Ready. Raises: TimeoutError."""
        self.wait("Ready", lambda statuses: all(status.ready for status in statuses.values()), timeout)

    def describe(self) -> str:
        """What each container and its probes said last."""
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
