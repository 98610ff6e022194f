"""Two API servers as small as they can be: objects, versions and preconditions, and nothing that acts by itself.

They take the calls of tasks, and answer as the executor does for a real server: its tests have what both refuse, and
tests/unit/support/test_fake_servers.py holds them against the executor over `ScriptedCluster`. The two are not one:
these run in models by the ten thousand calls, without clients, caches and managedFields, which that one is about.
Stored objects are never changed in place, so a snapshot is a copy of a dict.
"""

from __future__ import annotations

from typing import Any

from dpunetop.base import jsonio
from dpunetop.domain.drain.model.calls import Answer, Call, QuorumGet, QuorumList, Write
from dpunetop.kube.errors import ApiError, Conflict, NotFound
from dpunetop.kube.keys import Resource
from dpunetop.kube.meta import Obj, is_terminating, name_of, namespace_of, uid_of, version_of
from dpunetop.kube.plan import Apply, Delete, Emit, Fence, Patch

Place = tuple[str, str, str]
"""Plural, namespace, name."""


def place(resource: Resource, namespace: str, name: str) -> Place:
    return resource.plural, namespace if resource.namespaced else "", name


class Server:
    """One API server."""

    def __init__(self) -> None:
        self.objects: dict[Place, Obj] = {}
        self._applied: dict[tuple[Place, str], Obj] = {}
        self._version = 100
        self._uids = 0

    def get(self, resource: Resource, namespace: str, name: str) -> Obj | None:
        return self.objects.get(place(resource, namespace, name))

    def list(self, resource: Resource, namespace: str = "") -> tuple[Obj, ...]:
        return tuple(
            obj
            for (plural, where, _), obj in sorted(self.objects.items())
            if plural == resource.plural and (not namespace or where == namespace)
        )

    def perform(self, call: Call) -> Answer:
        """Do one call. Raises: ApiError."""
        match call:
            case QuorumGet(_, resource, namespace, name):
                return self.get(resource, namespace, name)
            case QuorumList(_, resource, namespace, labels, fields):
                return tuple(obj for obj in self.list(resource, namespace) if _selected(obj, labels, fields))
            case Write(step):
                return self._write(step)
            case Emit():
                return None

    def put(self, resource: Resource, obj: Obj) -> Obj:
        """Create or replace, as somebody who asks for nothing."""
        where = place(resource, namespace_of(obj), name_of(obj))
        old = self.objects.get(where)
        self._version += 1
        if old is None:
            self._uids += 1
        uid = uid_of(old) if old is not None else f"{resource.plural}-{self._uids}"
        metadata = {**obj["metadata"], "uid": uid, "resourceVersion": str(self._version)}
        self.objects[where] = {**obj, "metadata": metadata}
        self._collect(where)
        return self.objects.get(where, self.objects.get(where) or {**obj, "metadata": metadata})

    def change(self, resource: Resource, namespace: str, name: str, change: Obj) -> Obj:
        """Merge-patch, as somebody who asks for nothing."""
        found = self.get(resource, namespace, name)
        assert found is not None
        return self.put(resource, merged(found, change))

    def remove(self, resource: Resource, namespace: str, name: str) -> None:
        where = place(resource, namespace, name)
        self.objects.pop(where, None)
        self._applied = {key: applied for key, applied in self._applied.items() if key[0] != where}

    def _write(self, step: Apply | Patch | Delete) -> Obj | None:
        match step:
            case Apply():
                return self._apply(step)
            case Patch(_, resource, live, patch):
                found = self._same(resource, live, Fence.VERSION)
                changed = merged(found, patch)
                return found if changed == found else self.put(resource, changed)
            case Delete(_, resource, live, fence):
                if self.get(resource, namespace_of(live), name_of(live)) is None:
                    return None
                found = self._same(resource, live, fence)
                if found["metadata"].get("finalizers"):
                    if not is_terminating(found):
                        self.change(resource, namespace_of(live), name_of(live), _TERMINATING)
                else:
                    self.remove(resource, namespace_of(live), name_of(live))
                return None

    def _apply(self, step: Apply) -> Obj:
        where = place(step.resource, namespace_of(step.desired), name_of(step.desired))
        found = self.objects.get(where)
        if step.live is None and found is not None:
            raise Conflict(409, "Conflict", "there is something")
        if step.live is not None:
            found = self._same(step.resource, step.live, step.fence, gone=Conflict)
        owned = (where, step.field_manager)
        left = _without(found, self._applied.get(owned), step.desired) if found is not None else {}
        result = merged(left, step.desired)
        self._applied[owned] = step.desired
        return found if found is not None and result == found else self.put(step.resource, result)

    def _same(self, resource: Resource, live: Obj, fence: Fence, gone: type[ApiError] = NotFound) -> Obj:
        found = self.get(resource, namespace_of(live), name_of(live))
        if found is None:
            raise gone(404, "NotFound", name_of(live))
        if uid_of(found) != uid_of(live):
            raise Conflict(409, "Conflict", "uid")
        if fence is Fence.VERSION and version_of(found) != version_of(live):
            raise Conflict(409, "Conflict", "resourceVersion")
        return found

    def _collect(self, where: Place) -> None:
        obj = self.objects[where]
        if is_terminating(obj) and not obj["metadata"].get("finalizers"):
            del self.objects[where]


_TERMINATING = {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}


def merged(old: Any, change: Any) -> Any:
    """RFC 7396."""
    if not isinstance(change, dict):
        return jsonio.deep_copy(change)
    result = dict(old) if isinstance(old, dict) else {}
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def _without(live: Any, before: Any, desired: Any) -> Any:
    """`live` without the members that were applied before and are no longer desired."""
    if not isinstance(live, dict) or not isinstance(before, dict):
        return live
    result = dict(live)
    for name, value in before.items():
        if name not in result:
            continue
        if not isinstance(desired, dict) or name not in desired:
            left = _without(result[name], value, {}) if isinstance(value, dict) else None
            if left:
                result[name] = left
            else:
                del result[name]
        else:
            result[name] = _without(result[name], value, desired[name])
    return result


def _selected(obj: Obj, labels: str, fields: str) -> bool:
    have = obj["metadata"].get("labels") or {}
    wanted = [pair.partition("=") for pair in labels.split(",") if pair]
    if any(have.get(key) != value for key, _, value in wanted):
        return False
    if not fields:
        return True
    key, _, value = fields.partition("=")
    assert key in ("spec.nodeName", "metadata.name")
    return bool(name_of(obj) == value if key == "metadata.name" else (obj.get("spec") or {}).get("nodeName") == value)
