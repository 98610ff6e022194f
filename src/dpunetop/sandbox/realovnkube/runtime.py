"""Runs the pods of our DaemonSet on a DPU, with the user's `ovnkube` in their image."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dpunetop.domain.names import OVNKUBE_CONTROLLER, OVNKUBE_NODE
from dpunetop.kube.errors import ApiError
from dpunetop.kube.keys import CONFIGMAPS, SECRETS
from dpunetop.kube.meta import Obj, labels_of, name_of, namespace_of, uid_of
from dpunetop.kube.requests import get
from dpunetop.sandbox.admin import AdminClient
from dpunetop.sandbox.realovn.containers import Status
from dpunetop.sandbox.realovn.datapath import Dpu
from dpunetop.sandbox.realovn.pods import Pod
from dpunetop.sandbox.realovn.podspec import Identity
from dpunetop.sandbox.realovnkube.program import SIMULATE
from dpunetop.sandbox.standins.runtime import ContainerState

# A kubelet's own period is a minute, which would only slow the tests down.
_REFRESH_SECONDS = 2.0


@dataclass
class _Running:
    """A running pod."""

    pod: Pod
    boot: str
    earlier_restarts: Mapping[str, int]
    """The restarts of each container before the last boot."""
    contents: dict[str, dict[str, str]]
    refreshed: float
    ending: threading.Thread | None = None
    since: dict[str, str] = field(default_factory=dict)
    """The time when each container was first seen, by its ID."""


class DpuRuntime:
    """A `Runtime` for the pods of our DaemonSet on one DPU, of tenants with a zone on each DPU.

    Guarantees: containers run as in the pod template, with `--simulate-dpu` added; they see a change of a mounted
        object within seconds; only the folders of the DPU and of the pod survive a reboot.
    Threads: any.
    """

    def __init__(self, dpu: Dpu, node: str, power_on: Callable[[], None] = lambda: None) -> None:
        """`node` is the DPU's Node; `power_on` starts, after a reboot, the DPU's own programs."""
        self._dpu = dpu
        self._node = node
        self._power_on = power_on
        self._admin: AdminClient | None = None
        self._guard = threading.Lock()  # guards all below, and is held over each call
        self._running: dict[str, _Running] = {}  # by UID
        self._is_off = False

    def use(self, admin: AdminClient) -> None:
        """Set the client that reads ConfigMaps and Secrets; call it before the first pod."""
        self._admin = admin

    def close(self) -> None:
        """End all pods; may be called again."""
        with self._guard:
            for running in self._running.values():
                running.pod.stop()
            self._running.clear()

    def pods(self) -> list[Pod]:
        """The running pods."""
        with self._guard:
            return [running.pod for running in self._running.values()]

    def runs(self, pod: Obj) -> bool:
        """See `Runtime.runs`."""
        of_ours = labels_of(pod).get("app") == OVNKUBE_NODE and pod["spec"].get("nodeName") == self._node
        return of_ours and any(part["name"] == OVNKUBE_CONTROLLER for part in pod["spec"]["containers"])

    def sync(self, pod: Obj, boot: str) -> Sequence[ContainerState]:
        """See `Runtime.sync`; the pod does not start while an object that it mounts is missing."""
        with self._guard:
            if self._is_off:
                self._power_on()
                self._is_off = False
            running = self._running.get(uid_of(pod))
            if running is None or running.boot != boot:
                running = self._start(pod, boot, running)
            if running is None:
                return ()
            self._refresh(pod, running)
            return [_state(pod, running, status) for status in running.pod.statuses().values()]

    def end(self, pod: Obj) -> bool:
        """See `Runtime.end`."""
        with self._guard:
            running = self._running.get(uid_of(pod))
            if running is None:
                return True
            if running.ending is None:
                running.ending = threading.Thread(target=running.pod.stop, name=f"ends {name_of(pod)}")
                running.ending.start()
            if running.ending.is_alive():
                return False
            running.ending.join()
            del self._running[uid_of(pod)]
            return True

    def power_off(self, node: str) -> None:
        """See `Runtime.power_off`."""
        with self._guard:
            if node != self._node or self._is_off:
                return
            self._is_off = True
            for running in self._running.values():
                running.pod.power_off()
            self._dpu.power_off()

    def _start(self, pod: Obj, boot: str, before: _Running | None) -> _Running | None:
        try:
            contents = dict(self._contents(pod))
        except ApiError:
            return None
        identity = Identity(self._node, self._dpu.addresses.dpu, name_of(pod), namespace_of(pod))
        made = Pod(self._dpu, {"spec": _simulated(pod["spec"])}, identity, contents)
        made.start()
        running = _Running(made, boot, _restarts(before), contents, time.monotonic())
        self._running[uid_of(pod)] = running
        return running

    def _refresh(self, pod: Obj, running: _Running) -> None:
        if time.monotonic() - running.refreshed < _REFRESH_SECONDS:
            return
        running.refreshed = time.monotonic()
        try:
            found = dict(self._contents(pod))
        except ApiError:
            return  # keep the last content until it can be read again
        for name, data in found.items():
            if running.contents.get(name) != data:
                running.contents[name] = data
                running.pod.volumes.publish(name, data)

    def _contents(self, pod: Obj) -> Iterator[tuple[str, dict[str, str]]]:
        """The data of the objects that the pod mounts, by name. Raises: ApiError."""
        for volume in pod["spec"].get("volumes") or ():
            match volume:
                case {"configMap": {"name": name}}:
                    found = self._client.get(get(CONFIGMAPS, namespace_of(pod), name).target)
                    yield name, dict(found.get("data") or {})
                case {"secret": {"secretName": name}}:
                    found = self._client.get(get(SECRETS, namespace_of(pod), name).target)
                    yield (
                        name,
                        {key: base64.b64decode(text).decode() for key, text in (found.get("data") or {}).items()},
                    )

    @property
    def _client(self) -> AdminClient:
        assert self._admin is not None, "a pod starts before `use` has set a client"
        return self._admin


def _simulated(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The same pod for a DPU without hardware."""
    parts = [
        {**part, "args": [*(part.get("args") or ()), SIMULATE]} if part["name"] == OVNKUBE_CONTROLLER else part
        for part in spec["containers"]
    ]
    return {**spec, "containers": parts}


def _restarts(before: _Running | None) -> dict[str, int]:
    """The restarts of each container once it has started in another boot."""
    if before is None:
        return {}
    return {
        name: before.earlier_restarts.get(name, 0) + status.restarts + 1
        for name, status in before.pod.statuses().items()
    }


def _state(pod: Obj, running: _Running, status: Status) -> ContainerState:
    restarts = running.earlier_restarts.get(status.name, 0) + status.restarts
    identity = f"{uid_of(pod)}/{running.boot}/{status.name}/{restarts}"
    container_id = f"cri-o://{hashlib.sha256(identity.encode()).hexdigest()}"
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    started_at = running.since.setdefault(container_id, now) if status.process is not None else None
    ended = status.last.message if status.last is not None else ""
    return ContainerState(status.name, container_id, status.ready, restarts, started_at, ended)
