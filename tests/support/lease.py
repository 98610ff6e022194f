"""One Lease on one API server, with a switch for each way in which a request can go wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from dpunetop.base import jsonio
from dpunetop.base.stop import Stop
from dpunetop.kube.errors import ApiError, Conflict, NotFound, Unreachable
from dpunetop.kube.keys import LEASES, Resource
from dpunetop.kube.meta import Obj, name_of
from dpunetop.kube.requests import Selection
from dpunetop.kube.watch import WatchEvent

Fault = Callable[[str], None]
"""Called with the verb of each request before it is carried out; raises, or blocks, or lets it pass."""


class LeaseServer:
    """Holds the Lease; safe from any thread."""

    def __init__(self) -> None:
        self._told = threading.Condition()  # guards the fields below
        self._version = 100
        self.lease: dict[str, Any] | None = None
        self.history: list[WatchEvent] = []

    def client(self, stop: Stop) -> LeaseDoor:
        """A client whose watches end when `stop` is set."""
        return LeaseDoor(self, stop)

    @property
    def holder(self) -> str:
        with self._told:
            return str(self.lease["spec"]["holderIdentity"]) if self.lease else ""

    def put(self, holder: str, duration_seconds: int = 15) -> None:
        """Write the Lease as some stranger."""
        spec = {"holderIdentity": holder, "leaseDurationSeconds": duration_seconds, "leaseTransitions": 7}
        with self._told:
            self._store({"metadata": {"name": "lease", "namespace": "ns"}, "spec": spec})

    def delete(self) -> None:
        with self._told:
            assert self.lease is not None
            self._version += 1
            gone = jsonio.deep_copy(self.lease)
            gone["metadata"]["resourceVersion"] = str(self._version)
            self.lease = None
            self.history.append(WatchEvent("DELETED", gone))
            self._told.notify_all()

    def until(self, holds: Callable[[], bool]) -> None:
        with self._told:
            assert self._told.wait_for(holds, 60), self.lease

    def get(self) -> dict[str, Any]:
        with self._told:
            if self.lease is None:
                raise NotFound(404, "NotFound", "no lease")
            return jsonio.deep_copy(self.lease)

    def create(self, lease: dict[str, Any]) -> dict[str, Any]:
        with self._told:
            if self.lease is not None:
                raise Conflict(409, "Conflict", "there is one")
            return self._store(lease)

    def update(self, lease: dict[str, Any]) -> dict[str, Any]:
        with self._told:
            if self.lease is None:
                raise NotFound(404, "NotFound", "no lease")
            if lease["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
                raise Conflict(409, "Conflict", "the object has been modified")
            return self._store(lease)

    def follow(self, stop: Stop) -> Iterator[WatchEvent]:
        """The state at the start as ADDED, then each change, until `stop` is set."""
        with self._told:
            seen = len(self.history)
            first = [WatchEvent("ADDED", jsonio.deep_copy(self.lease))] if self.lease else []
        yield from first
        while True:
            with self._told:
                while len(self.history) == seen and not stop.is_set():
                    self._told.wait(60)
                news, seen = self.history[seen:], len(self.history)
            if stop.is_set():
                raise Unreachable(0, "Reset", "connection closed")
            yield from news

    def wake(self) -> None:
        with self._told:
            self._told.notify_all()

    def _store(self, lease: dict[str, Any]) -> dict[str, Any]:
        self._version += 1
        lease = jsonio.deep_copy(lease)
        lease["metadata"]["resourceVersion"] = str(self._version)
        self.history.append(WatchEvent("MODIFIED" if self.lease else "ADDED", lease))
        self.lease = lease
        self._told.notify_all()
        return jsonio.deep_copy(lease)


class LeaseDoor:
    """A client of the server, with its own faults before a request is carried out and after."""

    def __init__(self, server: LeaseServer, stop: Stop) -> None:
        self._server = server
        self._stop = stop
        stop.on_set(server.wake)
        self.before: Fault = lambda _: None
        self.after: Fault = lambda _: None
        self.calls: list[tuple[str, float]] = []

    def get(self, resource: Resource, namespace: str, name: str, timeout_seconds: float) -> dict[str, Any]:
        assert (resource, namespace, name) == (LEASES, "ns", "lease")
        return self._call("get", timeout_seconds, self._server.get)

    def apply(self, resource: Resource, body: Obj, field_manager: str, timeout_seconds: float) -> dict[str, Any]:
        assert (resource, name_of(body)) == (LEASES, "lease")
        assert body["metadata"]["resourceVersion"] == "1"
        assert field_manager
        return self._call("create", timeout_seconds, lambda: self._server.create(dict(body)))

    def update(self, resource: Resource, namespace: str, name: str, obj: Obj, timeout_seconds: float) -> dict[str, Any]:
        assert (resource, namespace, name) == (LEASES, "ns", "lease")
        return self._call("update", timeout_seconds, lambda: self._server.update(dict(obj)))

    def watch(self, selection: Selection, resource_version: str) -> Iterator[WatchEvent]:
        assert selection == Selection(LEASES, "ns", "metadata.name=lease")
        self.calls.append(("watch", 0.0))
        self.before("watch")
        return self._server.follow(self._stop)

    def verbs(self) -> list[str]:
        return [verb for verb, _ in self.calls]

    def _call(self, verb: str, timeout_seconds: float, carry_out: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        self.calls.append((verb, timeout_seconds))
        self.before(verb)
        answer = carry_out()
        self.after(verb)
        return answer


def failing(error: ApiError, *verbs: str) -> Fault:
    """A fault that raises for these verbs (all, if none is given)."""

    def fault(verb: str) -> None:
        if not verbs or verb in verbs:
            raise error

    return fault
