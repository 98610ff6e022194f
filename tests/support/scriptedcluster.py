"""As much of an API server as a controller needs to make headway: objects, and answers that a test sets.

Reads see every write at once. For crash tests a request can be the last one that a process makes, either not carried
out or carried out without an answer.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from dpunetop.base import jsonio
from dpunetop.base.clock import Clock
from dpunetop.controllers.drain import gather_host as gather
from dpunetop.controllers.reconciler import CONFIG_INDEXERS
from dpunetop.kube.errors import ApiError, Conflict, Invalid, NotFound
from dpunetop.kube.keys import Key, Resource
from dpunetop.kube.meta import Obj, labels_of, name_of, namespace_of, uid_of, version_of
from dpunetop.kube.plan import Emit
from dpunetop.kube.requests import Selection
from dpunetop.kube.selectors import matches, parse_selector
from dpunetop.runtime.cache.store import Indexer
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.client.documents import Page
from dpunetop.runtime.election.gate import WriteGate
from dpunetop.runtime.events import EventRecorder
from dpunetop.runtime.executor import CREATE_ONLY, Executor
from dpunetop.runtime.reading import Unwatched, Waker
from support.readers import ReadsByName
from support.twoclusters import merged

T = TypeVar("T")
Place = tuple[str, str, str]
_INDEXERS: dict[str, Indexer] = {
    **CONFIG_INDEXERS,
    **{name: index for each in gather.INDEXERS.values() for name, index in each.items()},
}


class NoRecorder:
    """Takes every Event and keeps none."""

    def emit(self, step: Emit) -> None:
        """See `EventRecorder.emit`."""


def executor_over(clients: Callable[[str], ScriptedCluster], gate: WriteGate, clock: Clock) -> Executor:
    """An executor that writes to scripted clusters."""
    return Executor(cast(Callable[[str], Client], clients), gate, cast(EventRecorder, NoRecorder()), clock)


class Crash(BaseException):
    """The process ends here."""


class Fuse:
    """Ends the process at the n-th request to any cluster that shares it; 0: never."""

    def __init__(self) -> None:
        self.requests = 0
        self.at = 0
        self.is_carried_out = False

    def arm(self, at: int, is_carried_out: bool) -> None:
        self.requests, self.at, self.is_carried_out = 0, at, is_carried_out

    def around(self, request: Callable[[], T]) -> T:
        self.requests += 1
        if self.requests != self.at:
            return request()
        if self.is_carried_out:
            request()
        raise Crash


class ScriptedCluster:
    """The client of one cluster, and its caches. `creates` answers POSTs to collections, `subs` those to subresources;
    an ApiError in `refuses` is the answer to each request of a kind: `patch nodes`; by plural alone, to each apply and
    patch there. `asked` are the kinds of all requests, `get nodes`."""

    def __init__(self, name: str, fuse: Fuse, now: Callable[[], str]) -> None:
        self.name = name
        self.objects: dict[Place, dict[str, Any]] = {}
        self.creates: Callable[[Resource, Obj], Obj] = _no_answer
        self.subs: Callable[[Resource, str, str], Obj] = _no_answer
        self.refuses: dict[str, ApiError] = {}
        self.writes: list[str] = []
        self.asked: list[str] = []
        self._fuse = fuse
        self._now = now
        self._versions = itertools.count(100)

    # --- the client ---

    def get(self, resource: Resource, namespace: str, name: str, timeout_seconds: float = 10.0) -> Obj:
        return self._fuse.around(lambda: self._get(resource, namespace, name))

    def apply(self, resource: Resource, body: Obj, field_manager: str, timeout_seconds: float = 10.0) -> Obj:
        return self._fuse.around(lambda: self._apply(resource, body, field_manager))

    def rehearse(self, resource: Resource, body: Obj, field_manager: str, timeout_seconds: float = 10.0) -> None:
        def ask() -> None:
            self._ask("rehearse", resource)
            self._ask("apply", resource)

        self._fuse.around(ask)

    def apply_status(self, resource: Resource, body: Obj, field_manager: str, timeout_seconds: float = 10.0) -> Obj:
        return self._fuse.around(lambda: self._apply_status(resource, body, field_manager))

    def delete(
        self, resource: Resource, namespace: str, name: str, uid: str, version: str = "", timeout_seconds: float = 10.0
    ) -> None:
        self._fuse.around(lambda: self._delete(resource, namespace, name, uid, version))

    def merge_patch(
        self, resource: Resource, namespace: str, name: str, patch: Obj, manager: str, timeout_seconds: float = 10.0
    ) -> Obj:
        return self._fuse.around(lambda: self._patch(resource, namespace, name, patch, manager))

    def pages(self, selection: Selection, page_size: int) -> Iterator[Page]:
        self._ask("list", selection.resource)
        yield self._fuse.around(lambda: Page(self.listed(selection), "1", remaining=False))

    def create(self, resource: Resource, namespace: str, obj: Obj, timeout_seconds: float = 10.0) -> Obj:
        return self._fuse.around(lambda: self.creates(resource, obj))

    def create_sub(
        self, resource: Resource, namespace: str, name: str, sub: str, obj: Obj, timeout_seconds: float = 10.0
    ) -> Obj:
        self._found(resource, namespace, name)
        return self._fuse.around(lambda: self.subs(resource, namespace, name))

    # --- what the test does and sees ---

    def put(self, resource: Resource, obj: Obj) -> None:
        """An object that somebody else has made or changed."""
        stored = jsonio.deep_copy(dict(obj))
        stored["metadata"].setdefault("uid", f"uid-{next(self._versions)}")
        stored["metadata"]["resourceVersion"] = str(next(self._versions))
        self.objects[_place(resource, obj)] = stored

    def shown(self, resource: Resource, namespace: str, name: str) -> Any:
        """The object, or None."""
        return self.objects.get((str(resource), namespace, name))

    def drop(self, resource: Resource, namespace: str, name: str) -> None:
        """Somebody else deletes it."""
        del self.objects[(str(resource), namespace, name)]

    def listed(self, selection: Selection) -> list[Any]:
        """All objects of a selection."""
        found = (obj for (plural, _, _), obj in self.objects.items() if plural == str(selection.resource))
        return [jsonio.deep_copy(obj) for obj in found if _selects(selection, obj)]

    def content(self) -> dict[Place, Any]:
        """All objects without what differs from one way to the same end to another."""
        return {place: _content(obj) for place, obj in self.objects.items()}

    # --- inside ---

    def _found(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        found = self.shown(resource, namespace, name)
        if found is None:
            raise NotFound(404, "NotFound", name)
        fresh: dict[str, Any] = jsonio.deep_copy(found)
        return fresh

    def _ask(self, verb: str, resource: Resource) -> None:
        kind = f"{verb} {resource.plural}"
        self.asked.append(kind)
        error = self.refuses.get(kind)
        if error is None and verb in ("apply", "patch"):
            error = self.refuses.get(resource.plural)
        if error is not None:
            error.cluster = self.name
            raise error

    def _get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        self._ask("get", resource)
        return self._found(resource, namespace, name)

    def _apply(self, resource: Resource, body: Obj, manager: str) -> Obj:
        self._ask("apply", resource)
        live, wanted = self.objects.get(_place(resource, body)), dict(body["metadata"])
        if live is None and wanted.get("resourceVersion") != CREATE_ONLY:
            raise Conflict(409, "Conflict", "uid mismatch")
        if live is not None and wanted.get("resourceVersion") == CREATE_ONLY:
            raise Conflict(409, "Conflict", "exists")
        if live is not None and wanted.get("uid") != uid_of(live):
            raise Invalid(422, "Invalid", "", causes=({"field": "metadata.uid"},))
        if live is not None and wanted.get("resourceVersion", version_of(live)) != version_of(live):
            raise Conflict(409, "Conflict", "resourceVersion mismatch")
        self.writes.append(f"{self.name} apply {resource.plural}/{name_of(body)}")
        return self._store(resource, live, body, manager, "")

    def _apply_status(self, resource: Resource, body: Obj, manager: str) -> Obj:
        live = self._found(resource, namespace_of(body), name_of(body))
        self.writes.append(f"{self.name} status {resource.plural}/{name_of(body)}")
        return self._store(resource, live, body, manager, "status")

    def _delete(self, resource: Resource, namespace: str, name: str, uid: str, version: str) -> None:
        self._ask("delete", resource)
        self._same(resource, namespace, name, {"uid": uid, "resourceVersion": version})
        self.writes.append(f"{self.name} delete {resource.plural}/{name}")
        self.drop(resource, namespace, name)

    def _patch(self, resource: Resource, namespace: str, name: str, patch: Obj, manager: str) -> Obj:
        self._ask("patch", resource)
        live = self._same(resource, namespace, name, patch["metadata"])
        asked = {k: v for k, v in patch["metadata"].items() if k not in ("uid", "resourceVersion")}
        stored = merged(live, {**patch, "metadata": asked})
        self.writes.append(f"{self.name} patch {resource.plural}/{name}")
        entries = stored["metadata"].get("managedFields", [])
        known: dict[str, Any] = next((e["fieldsV1"] for e in entries if e["manager"] == manager), {})
        ours = {*known.get("f:data", {}), *(f"f:{key}" for key in patch.get("data", {}))}
        fields: dict[str, Any] = {"f:data": {each: {} for each in sorted(ours) if each[2:] in stored.get("data", {})}}
        entry = {"manager": manager, "operation": "Update", "subresource": "", "fieldsV1": fields}
        stored["metadata"]["managedFields"] = [*(e for e in entries if e["manager"] != manager), entry]
        stored["metadata"]["resourceVersion"] = str(next(self._versions))
        self.objects[_place(resource, stored)] = stored
        fresh: dict[str, Any] = jsonio.deep_copy(stored)
        return fresh

    def _same(self, resource: Resource, namespace: str, name: str, expected: Obj) -> dict[str, Any]:
        found = self._found(resource, namespace, name)
        if expected.get("uid", uid_of(found)) != uid_of(found):
            raise Conflict(409, "Conflict", "uid mismatch")
        if (expected.get("resourceVersion") or version_of(found)) != version_of(found):
            raise Conflict(409, "Conflict", "resourceVersion mismatch")
        return found

    def _store(self, resource: Resource, live: Obj | None, body: Obj, manager: str, sub: str) -> Obj:
        stored: dict[str, Any] = jsonio.deep_copy(dict(live)) if live is not None else {"metadata": {}}
        desired = {key: value for key, value in body.items() if key != "metadata"}
        ours = {k: v for k, v in body["metadata"].items() if k not in ("uid", "resourceVersion")}
        entry = {
            "manager": manager,
            "operation": "Apply",
            "apiVersion": body["apiVersion"],
            "subresource": sub,
            "fieldsV1": _fields(desired, ours),
        }
        entries = stored["metadata"].get("managedFields", [])
        self._give_up(stored, [e for e in entries if (e["manager"], e["subresource"]) == (manager, sub)], desired)
        _merge(stored, {**desired, "metadata": ours})
        metadata = stored["metadata"]
        metadata["managedFields"] = [
            *(e for e in entries if (e["manager"], e["subresource"]) != (manager, sub)),
            entry,
        ]
        metadata.setdefault("uid", f"uid-{next(self._versions)}")
        metadata.setdefault("creationTimestamp", self._now())
        metadata["resourceVersion"] = str(next(self._versions))
        self.objects[_place(resource, body)] = stored
        return jsonio.deep_copy(stored)

    def _give_up(self, stored: dict[str, Any], entries: list[Any], desired: Obj) -> None:
        for entry in entries:
            for key in entry["fieldsV1"].get("f:data", {}):
                if key[2:] not in desired.get("data", {}):
                    stored["data"].pop(key[2:], None)
            for key in entry["fieldsV1"].get("f:metadata", {}).get("f:annotations", {}):
                stored["metadata"].get("annotations", {}).pop(key[2:], None)
            if "f:unschedulable" in entry["fieldsV1"].get("f:spec", {}) and "spec" not in desired:
                stored["spec"].pop("unschedulable", None)


class ScriptedWatches(ReadsByName):
    """Caches that show what the clusters hold; what `silent` has for a cluster, or `unread` for a plural in it, is
    raised instead."""

    def __init__(self, *clusters: ScriptedCluster) -> None:
        self.clusters = {cluster.name: cluster for cluster in clusters}
        self.silent: dict[str, Exception] = {}
        self.unwatched: Unwatched | None = None
        self.unread: dict[tuple[str, str], Exception] = {}
        self.asked: set[tuple[str, str]] = set()
        self.enqueue: Callable[[Key], None] = lambda _: None
        self.waker = Waker(self.enqueue, Key("", "", ""))
        self._still: dict[tuple[str, str], ScriptedCluster] = {}

    def stand_still(self, cluster: str, resource: Resource) -> None:
        """A watch that brings nothing any more: its cache stays as it is now."""
        still = copy.copy(self.clusters[cluster])
        still.objects = dict(still.objects)
        self._still[cluster, resource.plural] = still

    def go_on(self) -> None:
        """All caches show again what the clusters hold."""
        self._still.clear()

    @contextmanager
    def reading(self, key: Key) -> Iterator[ScriptedWatches]:
        self.asked, self.waker = set(), Waker(self.enqueue, key)
        yield self

    def forget(self, _: Key) -> None:
        """Nothing was kept."""

    def get(self, cluster: str, selection: Selection, namespace: str, name: str) -> Any:
        return jsonio.deep_copy(self._cache(cluster, selection).shown(selection.resource, namespace, name))

    def refusal(self) -> Unwatched | None:
        """The cache that stands still, if one does of those that were asked."""
        still = self.unwatched
        is_asked = still is not None and (still.cluster, still.selection.resource.plural) in self.asked
        return still if is_asked else None

    def list(self, cluster: str, selection: Selection) -> list[Any]:
        return self._cache(cluster, selection).listed(selection)

    def by_index(self, cluster: str, selection: Selection, index: str, value: str) -> Any:
        return [obj for obj in self.list(cluster, selection) if value in _INDEXERS[index](obj)]

    def unwoken(self, cluster: str, selection: Selection) -> ScriptedLister:
        return ScriptedLister(self, cluster, selection)

    def _cache(self, cluster: str, selection: Selection) -> ScriptedCluster:
        self.asked.add((cluster, selection.resource.plural))
        if cluster in self.silent:
            raise self.silent[cluster]
        if trouble := self.unread.get((cluster, selection.resource.plural)):
            raise trouble
        return self._still.get((cluster, selection.resource.plural), self.clusters[cluster])


class ScriptedLister:
    """See `Reader.unwoken`."""

    def __init__(self, watches: ScriptedWatches, cluster: str, selection: Selection) -> None:
        self._watches, self._cluster, self._selection = watches, cluster, selection

    def get(self, namespace: str, name: str) -> Any:
        return self._watches.get(self._cluster, self._selection, namespace, name)

    def by_index(self, index: str, value: str) -> Any:
        return self._watches.by_index(self._cluster, self._selection, index, value)


def _no_answer(*request: Any) -> Obj:
    raise AssertionError(f"nobody expected {request}")


def _selects(selection: Selection, obj: Obj) -> bool:
    wanted = parse_selector(selection.label_selector) if selection.label_selector else {}
    assert wanted is not None, selection
    fields = [pair.partition("=") for pair in selection.field_selector.split(",") if pair]
    return (
        selection.namespace in ("", namespace_of(obj))
        and (not wanted or matches(wanted, labels_of(obj)))
        and all(_at(obj, path) == value for path, _, value in fields)
    )


def _at(obj: Any, path: str) -> Any:
    for name in path.split("."):
        obj = (obj or {}).get(name)
    return obj


def _place(resource: Resource, obj: Obj) -> Place:
    return str(resource), namespace_of(obj), name_of(obj)


def _fields(desired: Obj, metadata: Obj) -> dict[str, Any]:
    fields = {f"f:{key}": _field(value) for key, value in desired.items() if key not in ("apiVersion", "kind")}
    ours = {f"f:{key}": _field(value) for key, value in metadata.items() if key not in ("name", "namespace")}
    return {**fields, **({"f:metadata": ours} if ours else {})}


def _field(value: Any) -> dict[str, Any]:
    """Maps member by member; lists, and whatever is empty, as a whole."""
    return {f"f:{key}": _field(inner) for key, inner in value.items()} if isinstance(value, dict) else {}


def _merge(stored: dict[str, Any], desired: Obj) -> None:
    for key, value in desired.items():
        if isinstance(value, dict) and isinstance(stored.get(key), dict):
            _merge(stored[key], value)
        elif key == "conditions":
            others = [c for c in stored.get(key, []) if c["type"] not in {new["type"] for new in value}]
            stored[key] = [*others, *jsonio.deep_copy(value)]
        else:
            stored[key] = jsonio.deep_copy(value)


def _content(obj: Obj) -> Any:
    kept = jsonio.deep_copy({key: value for key, value in obj.items() if key != "metadata"})
    for condition in (kept.get("status") or {}).get("conditions", []):
        condition.pop("lastTransitionTime", None)
    metadata = obj["metadata"]
    return kept, metadata.get("labels"), sorted(metadata.get("annotations", {}))
