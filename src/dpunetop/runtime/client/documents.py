"""Validates the responses of an API server, which may be hostile, so that all other code may rely on their shape.

Each function raises Unreachable `BadAnswer` for an invalid one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from dpunetop.base import jsonio
from dpunetop.kube.errors import Unreachable
from dpunetop.kube.keys import Resource
from dpunetop.kube.watch import WatchEvent
from dpunetop.runtime.client.transport import Response

_METADATA_SHAPE: Mapping[str, type] = {
    "namespace": str,
    "uid": str,
    "resourceVersion": str,
    "deletionTimestamp": str,
    "generation": int,
    "labels": dict,
    "annotations": dict,
    "finalizers": list,
    "ownerReferences": list,
    "managedFields": list,
}


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list; the version is that of the whole list."""

    items: list[dict[str, Any]]
    resource_version: str
    remaining: bool


def document_of(response: Response) -> dict[str, Any]:
    """The JSON object of a successful response."""
    try:
        document = jsonio.loads(response.body)
    except jsonio.DecodeError as err:
        raise Unreachable(0, "BadAnswer", f"{response.status} with a body that is not JSON") from err
    if not isinstance(document, dict):
        raise Unreachable(0, "BadAnswer", f"{response.status} with JSON that is not an object")
    return document


def page_of(resource: Resource, document: dict[str, Any]) -> tuple[Page, str]:
    """The page of a response, and the continue token of the next one; empty: it was the last."""
    metadata = document.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    version, following = metadata.get("resourceVersion"), metadata.get("continue") or ""
    if not isinstance(version, str) or not version or not isinstance(following, str):
        raise Unreachable(0, "BadAnswer", "a list without a resourceVersion")
    items = items_of(document.get("items"))
    for item in items:
        checked_object(item)
        item.setdefault("apiVersion", resource.api_version)
        item.setdefault("kind", resource.kind)
    return Page(items, version, bool(following)), following


def items_of(value: Any) -> list[Any]:
    """The items of a list; a missing member means none."""
    if value is not None and not isinstance(value, list):
        raise Unreachable(0, "BadAnswer", "a list whose items are not a list")
    return value or []


def event_of(line: bytes) -> WatchEvent:
    """The event of one line of a watch."""
    try:
        event = jsonio.loads(line)
    except jsonio.DecodeError as err:
        raise Unreachable(0, "BadAnswer", "a watch event that is not JSON") from err
    match event:
        case {"type": "ERROR", "object": dict(status)}:
            return WatchEvent("ERROR", status)
        case {"type": "BOOKMARK", "object": {"metadata": dict(metadata)} as mark}:
            _check_metadata(metadata)
            return WatchEvent("BOOKMARK", mark)
        case {"type": str(kind), "object": dict(obj)}:
            return WatchEvent(kind, checked_object(obj))
    raise Unreachable(0, "BadAnswer", "a watch event without type or object")


def checked_object(obj: Any) -> dict[str, Any]:
    """The object itself, once its metadata has been validated."""
    match obj:
        case {"metadata": {"name": str()} as metadata}:
            _check_metadata(metadata)
            return cast("dict[str, Any]", obj)
    raise Unreachable(0, "BadAnswer", "an object without a name")


def _check_metadata(metadata: dict[str, Any]) -> None:
    for member, shape in _METADATA_SHAPE.items():
        value = metadata.get(member)
        if value is not None and not isinstance(value, shape):
            raise Unreachable(0, "BadAnswer", f"an object whose metadata.{member} is not a {shape.__name__}")
    for member in ("labels", "annotations"):
        if not all(isinstance(value, str) for value in (metadata.get(member) or {}).values()):
            raise Unreachable(0, "BadAnswer", f"an object whose metadata.{member} holds more than text")
