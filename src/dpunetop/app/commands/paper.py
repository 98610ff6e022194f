"""A dry run of plans: objects from files or a cluster, overlaid with the writes of plans; nothing is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dpunetop.app.commands.flags import UsageError
from dpunetop.base import jsonio
from dpunetop.base.quoting import printable
from dpunetop.kube.keys import Resource
from dpunetop.kube.meta import Obj, labels_of, name_of, namespace_of
from dpunetop.kube.plan import Apply, ApplyStatus, Delete, Patch, Step
from dpunetop.kube.requests import Selection
from dpunetop.kube.selectors import matches, parse_selector
from dpunetop.kube.shapes import at, mappings

Base = Callable[[str, Selection], Iterable[Obj]]
"""Lists the underlying objects of a selection in a cluster. Raises: NotEngaged, ApiError."""

_Place = tuple[str, Resource, str, str]
_NAMES = ("*.yaml", "*.yml", "*.json")


@dataclass(frozen=True, slots=True)
class Written:
    """What a plan writes to one object, and its field manager."""

    cluster: str
    resource: Resource
    desired: Obj
    field_manager: str


class DryRunClusters:
    """Objects of clusters to which nothing is sent. Threads: one. Raises: as its base."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._over: dict[_Place, dict[str, Any] | None] = {}  # None: deleted
        self.written: dict[_Place, Written] = {}

    def put(self, cluster: str, resource: Resource, obj: Obj) -> None:
        """Add an existing object."""
        self._over[cluster, resource, namespace_of(obj), name_of(obj)] = jsonio.deep_copy(dict(obj))

    def list(self, cluster: str, selection: Selection) -> Iterable[Obj]:
        """See `Base`."""
        found = {(namespace_of(obj), name_of(obj)): obj for obj in self._base(cluster, selection)}
        for (where, resource, namespace, name), obj in self._over.items():
            if where != cluster or resource != selection.resource:
                continue
            found.pop((namespace, name), None)
            if obj is not None and selected(selection, obj):
                found[namespace, name] = obj
        return found.values()

    def carry_out(self, step: Step) -> bool:
        """Apply a step to the overlay; return whether it changed anything."""
        match step:
            case Apply():
                return self._apply(step)
            case ApplyStatus():
                return self._status(step)
            case Patch():
                return self._merge(step.cluster, step.resource, step.live, step.patch)
            case Delete():
                place = (step.cluster, step.resource, namespace_of(step.live), name_of(step.live))
                self.written.pop(place, None)
                self._over[place] = None
                return True
            case _:
                return False

    def _apply(self, step: Apply) -> bool:
        place = (step.cluster, step.resource, namespace_of(step.desired), name_of(step.desired))
        known = self.written.get(place)
        self.written[place] = Written(step.cluster, step.resource, step.desired, step.field_manager)
        self._merge(step.cluster, step.resource, step.live or step.desired, step.desired)
        return known is None or known.desired != step.desired

    def _status(self, step: ApplyStatus) -> bool:
        kept = {each["type"]: each for each in mappings(at(step.live, "status", "conditions"))}
        said = {
            c.type: {"type": c.type, "status": c.status, "reason": c.reason, "message": c.message}
            for c in step.conditions
        }
        merged = [*({**kept, **said}).values()]
        status = {"conditions": merged, **step.members}
        return self._merge(step.cluster, step.resource, step.live, {"status": status})

    def _merge(self, cluster: str, resource: Resource, live: Obj, patch: Obj) -> bool:
        place = (cluster, resource, namespace_of(live), name_of(live))
        before = self._over.get(place) or jsonio.deep_copy(dict(live))
        after = _merged(before, patch)
        after["metadata"].setdefault("uid", f"uid-of-{name_of(after)}")
        self._over[place] = after
        return after != before


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = dict(old)
    for key, value in new.items():
        if value is None:
            found.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(found.get(key), Mapping):
            found[key] = _merged(found[key], value)
        else:
            found[key] = deepcopy(value)
    return found


def selected(selection: Selection, obj: Obj) -> bool:
    """Whether a selection covers an object: its namespace, its labels, and fields by their paths."""
    if selection.namespace not in ("", namespace_of(obj)):
        return False
    fields = (field.partition("=") for field in selection.field_selector.split(",") if field)
    if not all(str(at(obj, *path.split(".")) or "") == value for path, _, value in fields):
        return False
    labels = parse_selector(selection.label_selector) if selection.label_selector else None
    return not selection.label_selector or (labels is not None and matches(labels, labels_of(obj)))


def read_objects(paths: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The objects of files, and of all files of folders; `-` is stdin. Raises: UsageError."""
    for given in paths:
        for path in _files(given):
            yield from _objects(path)


def _files(given: str) -> list[Path]:
    path = Path("/dev/stdin" if given == "-" else given)
    return sorted(each for name in _NAMES for each in path.rglob(name)) if path.is_dir() else [path]


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    try:
        documents = list(yaml.load_all(path.read_text("utf-8"), yaml.CSafeLoader))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as err:
        raise UsageError(f"{path}: cannot be read: {printable(str(err), 200)}") from err
    for document in documents:
        if isinstance(document, dict) and isinstance(document.get("items"), list):
            yield from (_checked(path, item) for item in document["items"])
        elif document is not None:
            yield _checked(path, document)


def _checked(path: Path, document: Any) -> dict[str, Any]:
    match document:
        case {"apiVersion": str(), "kind": str(), "metadata": {"name": str()}}:
            return dict(document)
    raise UsageError(f"{path}: holds something that is no object of the Kubernetes API")
