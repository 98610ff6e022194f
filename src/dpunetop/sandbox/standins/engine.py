"""The engine of stand-ins: caches and writes on one control plane, as its administrator."""

from __future__ import annotations

import math
import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import urlsplit

import structlog

from dpunetop.base import jsonio
from dpunetop.base.clock import RealClock
from dpunetop.base.stop import Stop
from dpunetop.kube import requests
from dpunetop.kube.errors import NotFound, TooManyRequests
from dpunetop.kube.keys import PODS, Key, Resource
from dpunetop.kube.meta import Obj, name_of, namespace_of, uid_of, version_of
from dpunetop.kube.plan import Apply, ApplyStatus, Plan
from dpunetop.kube.requests import Request, Selection
from dpunetop.runtime.cache.change import Change
from dpunetop.runtime.cache.informer import Informer
from dpunetop.runtime.cache.store import Lister
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.client.connection import ClientCertificate, Connection, Redacted
from dpunetop.runtime.client.transport import CallOptions, Transport, error_of
from dpunetop.runtime.cluster import Cluster
from dpunetop.runtime.clusters import Clusters
from dpunetop.runtime.controller import Controller
from dpunetop.runtime.election.gate import OpenGate
from dpunetop.runtime.events import EventRecorder
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.metrics import Metrics
from dpunetop.sandbox.controlplane import ControlPlane
from dpunetop.sandbox.lifecycle import Lifecycle

BY_NODE = "node"
"""The index of pods by the name of their node."""

_CALL = CallOptions(10.0)
_SYNC_SECONDS = 60.0
_WORKERS = 2
_STARTED = "started"


class StandInEngine:
    """One control plane for stand-ins: caches, and the few writes that they need.

    Threads: any. Raises: ApiError, each write.
    """

    def __init__(self, control_plane: ControlPlane, cluster: str) -> None:
        self.cluster = cluster
        self.clock = RealClock()
        self.metrics = Metrics()
        self._stop = Stop(self.clock)
        client_metrics = self.metrics.client(urlsplit(control_plane.url).netloc)
        connection = _admin_connection(control_plane)
        self._transport = Transport(
            connection, self._stop, user_agent="dpunetop-standin", metrics=client_metrics, clock=self.clock
        )
        self.client = Client(self._transport, clock=self.clock, metrics=client_metrics, name=cluster)
        recorder = EventRecorder(lambda _: self.client, "dpunetop-standin", self.clock, instance=cluster)  # never run
        self._executor = Executor(lambda _: self.client, OpenGate(), recorder, self.clock)
        self._clusters = Clusters()
        self._informers: list[Informer] = []
        self._cluster = Cluster(
            cluster,
            self.client,
            clock=self.clock,
            metrics=self.metrics,
            random=random.random,
            stop=self._stop,
            transforms={},  # the kubelet stand-in reads members of a Node that the operator's caches drop
            indexers={PODS: {BY_NODE: _node_of}},
        )

    def kept(self, resource: Resource, obj: dict[str, Any]) -> Obj:
        """A copy of an object as the caches keep it."""
        return self._cluster.kept(resource, obj)

    def start(self) -> None:
        """Sync all caches. Raises: TimeoutError."""
        self._clusters.engage(self._cluster)
        for informer in self._informers:
            if not informer.wait_synced(self._stop, _SYNC_SECONDS):
                raise TimeoutError(f"{self.cluster}: {informer.selection} was not read: {informer.trouble}")

    def close(self) -> None:
        """Stop all caches and connections; may be called again."""
        self._clusters.disengage(self.cluster)
        self._stop.set()

    # --- reading ----------------------------------------------------------------------------------------------------

    def follow(self, resource: Resource, on_change: Callable[[Obj], None] = lambda _: None) -> Lister:
        """A cache of all objects of `resource`; `on_change` gets each changed or deleted one. Call before `start`."""
        informer = self._cluster.informer(Selection(resource))
        self._informers.append(informer)

        def changed(change: Change) -> None:
            for obj in (change.new, change.old):
                if obj is not None:
                    on_change(obj)
                    return

        informer.add_handler(changed)
        return informer.lister

    # --- writing ----------------------------------------------------------------------------------------------------

    def apply(self, resource: Resource, desired: Obj, live: Obj | None, manager: str, stop: Stop) -> None:
        """Server-side apply, unless it would change nothing."""
        self._executor.execute(Plan((Apply(self.cluster, resource, desired, live, manager),)), stop)

    def apply_status(self, resource: Resource, live: Obj, members: Mapping[str, Any], manager: str, stop: Stop) -> None:
        """Server-side apply of status members, unless it would change nothing."""
        step = ApplyStatus(self.cluster, resource, live, (), manager, members)
        self._executor.execute(Plan((step,)), stop)

    def update_status(self, resource: Resource, live: Obj, status: Mapping[str, Any], manager: str) -> None:
        """Write a status as `Update` of client-go does: only over that resourceVersion. Raises: Conflict.

        Members that are None are removed; unnamed ones stay.
        """
        target = f"{requests.get(resource, namespace_of(live), name_of(live)).target}/status?fieldManager={manager}"
        metadata = {"uid": uid_of(live), "resourceVersion": version_of(live)}
        body = jsonio.dumps({"metadata": metadata, "status": status})
        request = Request("PATCH", target, body, requests.MERGE_PATCH)
        answer = self._transport.call(request, _CALL)
        if answer.status >= 300:
            raise error_of(request, answer)

    def patch(self, resource: Resource, live: Obj, patch: Obj, manager: str) -> None:
        """Merge patch of the object of that uid, in any version."""
        metadata = {**patch.get("metadata", {}), "uid": uid_of(live)}
        body = {**patch, "metadata": metadata}
        self.client.merge_patch(resource, namespace_of(live), name_of(live), body, manager)

    def end_pod(self, pod: Obj) -> None:
        """Delete a pod from the API server, as a kubelet does once its processes have ended."""
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid_of(pod)}}
        target = requests.get(PODS, namespace_of(pod), name_of(pod)).target
        request = Request("DELETE", target, jsonio.dumps(options))
        answer = self._transport.call(request, _CALL)
        if answer.status >= 300 and answer.status not in (404, 409):
            raise error_of(request, answer)

    def evict(self, pod: Obj) -> bool:
        """Request an eviction; False if a budget refuses it."""
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name_of(pod), "namespace": namespace_of(pod)},
            "deleteOptions": {"preconditions": {"uid": uid_of(pod)}},
        }
        try:
            self.client.create_sub(PODS, namespace_of(pod), name_of(pod), "eviction", eviction)
        except TooManyRequests:
            return False
        except NotFound:
            pass
        return True


class StandIn(ABC):
    """A reconciler that plays one program.

    Threads: `attach` once, before the engine starts; `reconcile` from any worker, one at a time a key.
    """

    name: ClassVar[str]

    @property
    def manager(self) -> str:
        """The field manager of its writes; the prefix keeps its entry in the engine's caches."""
        return f"dpunetop-standin-{self.name}"

    @abstractmethod
    def attach(self, engine: StandInEngine, enqueue: Callable[[Key], None]) -> None:
        """Register the caches; keys that are enqueued from now on are reconciled once the engine has started."""

    @abstractmethod
    def reconcile(self, key: Key, stop: Stop) -> float | None:
        """See `runtime.controller.Reconciler`."""


class StandIns(Lifecycle):
    """The stand-ins of one control plane: a context manager, or `start` and `close`.

    Guarantees: when `start` returns, all caches are synced and all stand-ins run; after `close` no thread is left.
    Threads: one.
    """

    def __init__(self, control_plane: ControlPlane, cluster: str, stand_ins: Sequence[StandIn]) -> None:
        self._engine = StandInEngine(control_plane, cluster)
        self._stand_ins = stand_ins
        self._stop = Stop()
        self._threads: list[threading.Thread] = []
        self._running = threading.Barrier(_WORKERS * len(stand_ins) + 1)

    def start(self) -> None:
        """Sync the caches and start the workers. Raises: TimeoutError, if a kind is not served or not readable."""
        controllers = [self._controller(stand_in) for stand_in in self._stand_ins]
        try:
            self._engine.start()
        except BaseException:
            self.close()
            raise
        for controller in controllers:
            thread = threading.Thread(
                target=controller.run, args=(self._stop,), name=f"standin {self._engine.cluster} {controller.name}"
            )
            self._threads.append(thread)
            thread.start()
        self._await_workers(controllers)

    def close(self) -> None:
        """Stop all stand-ins; may be called again."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._engine.close()

    def _controller(self, stand_in: StandIn) -> Controller:
        controller = Controller(
            f"standin-{stand_in.name}",
            _Reporting(stand_in, self._running),
            clock=self._engine.clock,
            metrics=self._engine.metrics,
            workers=_WORKERS,
            logger=structlog.get_logger().bind(cluster=self._engine.cluster),
            resync_seconds=math.inf,  # stand-ins never forget a key
        )
        stand_in.attach(self._engine, controller.queue.add)
        return controller

    def _await_workers(self, controllers: Sequence[Controller]) -> None:
        """Wait until every worker has started, so that the number of threads is constant from then on."""
        for controller in controllers:
            for number in range(_WORKERS):
                controller.queue.add(Key(_STARTED, "", str(number)))
        try:
            self._running.wait(_SYNC_SECONDS)
        except threading.BrokenBarrierError as err:
            self.close()
            raise TimeoutError(f"{self._engine.cluster}: not all workers of the stand-ins have started") from err


class _Reporting:
    """A stand-in whose workers report their start once."""

    def __init__(self, stand_in: StandIn, running: threading.Barrier) -> None:
        self._stand_in = stand_in
        self._running = running

    def reconcile(self, key: Key, stop: Stop) -> float | None:
        if key.cluster != _STARTED:
            return self._stand_in.reconcile(key, stop)
        self._running.wait(_SYNC_SECONDS)
        return None


def drainable(pods: Iterable[Obj]) -> list[Obj]:
    """The pods that a drain evicts: neither pods of DaemonSets, nor static ones, nor finished ones."""
    return [pod for pod in pods if not _is_daemons(pod) and not _is_static(pod) and not has_ended(pod)]


def has_ended(pod: Obj) -> bool:
    """Whether its containers have ended for good."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _is_daemons(pod: Obj) -> bool:
    owners = pod["metadata"].get("ownerReferences") or []
    return any(owner.get("controller") and owner["kind"] == "DaemonSet" for owner in owners)


def _is_static(pod: Obj) -> bool:
    return "kubernetes.io/config.mirror" in (pod["metadata"].get("annotations") or {})


def _node_of(pod: Obj) -> list[str]:
    node = (pod.get("spec") or {}).get("nodeName")
    return [node] if node else []


def _admin_connection(control_plane: ControlPlane) -> Connection:
    credential = control_plane.admin.credential
    assert credential.certificate is not None
    assert credential.key is not None
    certificate = ClientCertificate(credential.certificate.read_text(), Redacted(credential.key.read_text()))
    return Connection(control_plane.url, control_plane.ca_pem.decode(), certificate)
