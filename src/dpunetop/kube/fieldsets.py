"""Field ownership: reads `managedFields`, so that an apply that would change nothing is not sent.

The shape of `fieldsV1` alone tells associative lists, sets and atomic values apart, so no schema is needed. Desired
objects must be canonical, that is, spelled as the server prints them: quantities, `fieldRef.apiVersion`, no null, no
empty maps or strings that the server drops.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from dpunetop.base import jsonio
from dpunetop.kube.meta import Obj

BEFORE_FIRST_APPLY = "before-first-apply"
"""The manager that the API server gives all existing fields on the first apply to an object without `managedFields`
(one older than that feature, or one whose `managedFields` were cleared). It never releases them, so no apply removes
them.
Source: skipNonAppliedManager of k8s.io/apimachinery/pkg/util/managedfields."""

OWNED = "owned"
"""Member of a cached object that replaces the fields of its only manager: an `Owned`."""

FieldsV1 = Mapping[str, Any]
KeyFields = tuple[tuple[str, Any], ...]

_TYPE = frozenset(("apiVersion", "kind", "metadata"))
_IDENTITY = frozenset(("name", "namespace", "uid", "resourceVersion"))


@dataclass(frozen=True, slots=True)
class Owned:
    """A digest of the fields of an object's only manager, see `digested`. A server cannot send one."""

    manager: str
    api_version: str
    digest: str

    def is_of(self, field_manager: str, subresource: str, api_version: str) -> bool:
        """Whether these are the fields of that manager, subresource and API version."""
        return not subresource and (field_manager, api_version) == (self.manager, self.api_version)


def would_change(desired: Obj, live: Obj, field_manager: str, subresource: str = "") -> bool:
    """Whether the server would change `live` if `field_manager` applied `desired`, which is canonical.

    Guarantees: False only if `field_manager` owns exactly the fields of `desired`, at this API version, and `live` has
        their values, list items in the same order. Needs only our own entry of the live `managedFields`.
    Source: Kubernetes API reference, FieldsV1; structured-merge-diff.
    """
    ours = _without_identity(desired)
    known = live.get(OWNED)
    if isinstance(known, Owned):
        is_owner = known.is_of(field_manager, subresource, str(desired["apiVersion"]))
        return jsonio.digest(ours) != known.digest if is_owner else bool(ours)
    owned = _owned_fields(live, field_manager, subresource, str(desired["apiVersion"]))
    if owned is None:
        return bool(ours)
    return _members_differ(owned, ours, live)


def is_shadowed(desired: Obj, live: Obj, field_manager: str, subresource: str, is_whole: bool) -> bool:
    """Whether fields that we release would stay in the object, because BEFORE_FIRST_APPLY owns them too.

    Needs our own entry of the live `managedFields` and that of BEFORE_FIRST_APPLY.
    """
    return _unshadowed(desired, live, field_manager, subresource, is_whole) is not None


def claimed(
    desired: Obj, live: Obj, field_manager: str, subresource: str, is_whole: bool
) -> list[Mapping[str, Any]] | None:
    """The `managedFields` to write so that BEFORE_FIRST_APPLY no longer shares our fields; None: it shares none.

    `live` must have its complete `managedFields`. With `is_whole` we also take the fields of BEFORE_FIRST_APPLY within
    the members of `desired`, so that the next apply of `desired` removes those that it does not list.
    """
    found = _unshadowed(desired, live, field_manager, subresource, is_whole)
    if found is None:
        return None
    entries: list[Mapping[str, Any]] = []
    for entry in live["metadata"]["managedFields"]:
        if _is_entry(entry, field_manager, "Apply", subresource, str(desired["apiVersion"])):
            entries.append({**entry, "fieldsV1": found[0]})
        elif not _is_entry(entry, BEFORE_FIRST_APPLY, "Update", subresource, str(desired["apiVersion"])):
            entries.append(entry)
        elif found[1]:
            entries.append({**entry, "fieldsV1": found[1]})
    return entries


def _unshadowed(
    desired: Obj, live: Obj, field_manager: str, subresource: str, is_whole: bool
) -> tuple[FieldsV1, FieldsV1] | None:
    """Our fields, and those that BEFORE_FIRST_APPLY keeps; None if nothing needs to change."""
    api_version = str(desired["apiVersion"])
    before = _fields(live, BEFORE_FIRST_APPLY, "Update", subresource, api_version)
    ours = _fields(live, field_manager, "Apply", subresource, api_version)
    if not before or not ours:
        return None
    members = (f"f:{name}" for name in desired if is_whole and name not in _TYPE)
    ours = _union(ours, {path: before[path] for path in members if path in before})
    rest = _difference(before, ours)
    return None if rest == before else (ours, rest)


def _union(one: FieldsV1, other: FieldsV1) -> FieldsV1:
    united = dict(one)
    for path, below in other.items():
        if path in one and path != ".":
            both = _union(_node(one[path]), _node(below))
            united[path] = {} if both == _node({}) else both
        else:
            united[path] = below
    return united


def _difference(one: FieldsV1, other: FieldsV1) -> FieldsV1:
    left = {}
    for path, below in one.items():
        if path not in other:
            left[path] = below
        elif path != "." and (rest := _difference(_node(below), _node(other[path]))):
            left[path] = rest
    return left


def _node(below: FieldsV1) -> FieldsV1:
    """A leaf as a node: the member itself, and nothing inside it."""
    return below or {".": {}}


def projection(live: Obj, field_manager: str, subresource: str = "") -> Any:
    """The part of `live` that `field_manager` owns; while it stays equal, nobody has changed our fields."""
    owned = _owned_fields(live, field_manager, subresource, str(live["apiVersion"]))
    return _projected(owned, live) if owned else None


def projection_digest(live: Obj, field_manager: str, subresource: str = "") -> str:
    """The digest of `projection`; also works on a cached object whose fields are `digested`."""
    known = live.get(OWNED)
    if isinstance(known, Owned) and known.is_of(field_manager, subresource, str(live["apiVersion"])):
        return known.digest
    return jsonio.digest(projection(live, field_manager, subresource))


def digested(live: Obj) -> Owned | None:
    """A digest that replaces the fields of `live`'s only manager and its `managedFields` in a cache; None: the fields
    themselves are needed, since `live` has several managers, or since any `desired` would change it.

    Guarantees: `would_change` and `projection_digest` give the same result for `live` as for the object that keeps this
        digest as OWNED and has lost those fields and its `managedFields`.
    """
    entries = live["metadata"].get("managedFields") or []
    ours = projection(live, str(entries[0].get("manager"))) if len(entries) == 1 else None
    if not isinstance(ours, dict) or ours.keys() & {"apiVersion", "kind"}:
        return None
    manager, api_version = sys.intern(str(entries[0]["manager"])), sys.intern(str(live["apiVersion"]))
    if would_change({"apiVersion": api_version, "metadata": {}, **ours}, live, manager):
        return None
    return Owned(manager, api_version, jsonio.digest(ours))


def _owned_fields(live: Obj, field_manager: str, subresource: str, api_version: str) -> FieldsV1 | None:
    return _fields(live, field_manager, "Apply", subresource, api_version)


def _fields(live: Obj, manager: str, operation: str, subresource: str, api_version: str) -> FieldsV1 | None:
    for entry in live["metadata"].get("managedFields") or ():
        if _is_entry(entry, manager, operation, subresource, api_version):
            fields: FieldsV1 = entry.get("fieldsV1") or {}
            return fields
    return None


def _is_entry(entry: Mapping[str, Any], manager: str, operation: str, subresource: str, api_version: str) -> bool:
    return (
        entry.get("manager") == manager
        and entry.get("operation") == operation
        and entry.get("subresource", "") == subresource
        and entry.get("apiVersion") == api_version
    )


def _without_identity(desired: Obj) -> dict[str, Any]:
    # The server never lists these as owned: the type and the identity of the object.
    ours = {name: value for name, value in desired.items() if name not in _TYPE}
    metadata = {name: value for name, value in desired["metadata"].items() if name not in _IDENTITY}
    if metadata:
        ours["metadata"] = metadata
    return ours


def _differs(owned: FieldsV1, desired: Any, live: Any) -> bool:
    if not owned:  # a leaf: a scalar, or a value that is replaced as a whole
        return bool(desired != live)
    match desired:
        case dict():
            return not isinstance(live, dict) or _members_differ(owned, desired, live)
        case list():
            return not isinstance(live, list) or _items_differ(owned, desired, live)
    return True


def _members_differ(owned: FieldsV1, desired: Mapping[str, Any], live: Mapping[str, Any]) -> bool:
    seen = 0
    for path, below in owned.items():
        if path == ".":  # the member itself, beside its content
            continue
        name = path[2:]
        if name not in desired or name not in live or _differs(below, desired[name], live[name]):
            return True
        seen += 1
    return seen != len(desired)


def _items_differ(owned: FieldsV1, desired: list[Any], live: list[Any]) -> bool:
    paths = [path for path in owned if path != "."]
    if not paths or len(paths) != len(desired):
        return bool(paths or desired)
    if paths[0].startswith("v:"):
        return _values_differ(paths, desired, live)
    return _keyed_items_differ({_key_fields(path): owned[path] for path in paths}, desired, live)


def _values_differ(paths: list[str], desired: list[Any], live: list[Any]) -> bool:
    wanted = [jsonio.canonical(item) for item in desired]
    if {jsonio.canonical(jsonio.loads(path[2:])) for path in paths} != set(wanted):
        return True
    rest = iter([jsonio.canonical(item) for item in live])
    return not all(item in rest for item in wanted)  # `rest` is an iterator: each is searched behind the one before


def _keyed_items_differ(owned: Mapping[KeyFields, FieldsV1], desired: list[Any], live: list[Any]) -> bool:
    names = [name for name, _ in next(iter(owned))]
    places = {_key_of(item, names): place for place, item in enumerate(live)}
    last = -1
    for item in desired:
        key = _owned_key(owned, names, item)
        place = -1 if key is None else places.get(key, -1)
        if key is None or place <= last or _differs(owned[key], item, live[place]):
            return True
        last = place
    return False


def _owned_key(owned: Mapping[KeyFields, FieldsV1], names: list[str], item: Any) -> KeyFields | None:
    # A key field that desired leaves out was filled in by the server, such as a port's protocol.
    if not isinstance(item, dict):
        return None
    key = tuple((name, item.get(name)) for name in names)
    if key in owned:
        return key
    given = {pair for pair in key if pair[1] is not None}
    fitting = [candidate for candidate in owned if given <= set(candidate)]
    return fitting[0] if len(fitting) == 1 else None


def _key_of(item: Any, names: list[str]) -> KeyFields:
    return tuple((name, item.get(name)) for name in names) if isinstance(item, dict) else ()


@lru_cache(maxsize=4096)
def _key_fields(path: str) -> KeyFields:
    return tuple(jsonio.loads(path[2:]).items())


def _projected(owned: FieldsV1, live: Any) -> Any:
    paths = [path for path in owned if path != "."]
    if not paths:
        return live
    match live:
        case dict():
            return {path[2:]: _projected(owned[path], live[path[2:]]) for path in paths if path[2:] in live}
        case list() if paths[0].startswith("k:"):
            return _projected_items({_key_fields(path): owned[path] for path in paths}, live)
        case list():
            values = {jsonio.canonical(jsonio.loads(path[2:])) for path in paths}
            return [item for item in live if jsonio.canonical(item) in values]
    return live


def _projected_items(owned: Mapping[KeyFields, FieldsV1], live: list[Any]) -> list[Any]:
    names = [name for name, _ in next(iter(owned))]
    keyed = ((_key_of(item, names), item) for item in live)
    return [_projected(owned[key], item) for key, item in keyed if key in owned]
