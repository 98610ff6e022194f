"""Requests to an API server as data: method, path, query, headers and body, without I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from dpunetop.base import jsonio
from dpunetop.kube.keys import Resource
from dpunetop.kube.selectors import by_name

APPLY = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"
JSON = "application/json"
_REVIEWS = re.compile(
    r"/apis/(authorization\.k8s\.io/v1/(namespaces/[^/]+/local|self)?subjectaccessreviews"
    r"|authorization\.k8s\.io/v1/selfsubjectrulesreviews"
    r"|authentication\.k8s\.io/v1/(selfsubjectreviews|tokenreviews))"
)
"""Resources that the server does not store: a POST to one is a question (an access review, say)."""


@dataclass(frozen=True, slots=True)
class Request:
    """Method, target (path and query) and body of one request."""

    method: str
    target: str
    body: bytes | None = None
    content_type: str = JSON


_BY_NAME = by_name("")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a resource a list or watch covers; an empty namespace means all."""

    resource: Resource
    namespace: str = ""
    field_selector: str = ""
    label_selector: str = ""

    def covers(self, namespace: str, name: str) -> bool:
        """Whether the selection may include an object of that namespace and name; its labels may still exclude it."""
        wanted = self.field_selector.removeprefix(_BY_NAME)
        is_named = wanted != self.field_selector and "," not in wanted
        return self.namespace in ("", namespace) and (not is_named or wanted == name)

    @property
    def is_of_one(self) -> bool:
        """Whether the selection includes at most one object."""
        is_by_name = self.field_selector.startswith(_BY_NAME) and "," not in self.field_selector
        return is_by_name and (self.namespace != "" or not self.resource.namespaced)

    def is_all_of(self, namespace: str, name: str) -> bool:
        """Whether the selection includes the object of that namespace and name, whatever its labels and fields."""
        is_unasked = self.field_selector in ("", f"{_BY_NAME}{name}") and not self.label_selector
        return is_unasked and self.namespace in ("", namespace)

    def __str__(self) -> str:
        parts = (self.namespace, self.field_selector, self.label_selector)
        return "/".join((str(self.resource), *(part for part in parts if part)))


def one(resource: Resource, namespace: str, name: str) -> Selection:
    """The selection of a single object; RBAC rules with resourceNames allow only such a watch."""
    return Selection(resource, namespace, by_name(name))


def get(resource: Resource, namespace: str, name: str) -> Request:
    """Read one object, with a quorum read."""
    return Request("GET", _path(resource, namespace, name))


def list_page(selection: Selection, limit: int, continue_token: str) -> Request:
    """Read one page of a list, with a quorum read since no resourceVersion is given."""
    query = {"limit": str(limit), "continue": continue_token, **_selectors(selection)}
    return Request("GET", _collection(selection) + _query(query))


def watch(selection: Selection, resource_version: str, timeout_seconds: int) -> Request:
    """Watch a resource from `resource_version` on, with bookmarks."""
    query = {
        "watch": "1",
        "allowWatchBookmarks": "true",
        "resourceVersion": resource_version,
        "timeoutSeconds": str(timeout_seconds),
        **_selectors(selection),
    }
    return Request("GET", _collection(selection) + _query(query))


def watch_list(selection: Selection, timeout_seconds: int) -> Request:
    """Watch a resource, its present state first. Source: KEP-3157."""
    query = {
        "watch": "1",
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
        "timeoutSeconds": str(timeout_seconds),
        **_selectors(selection),
    }
    return Request("GET", _collection(selection) + _query(query))


def apply(resource: Resource, namespace: str, name: str, body: Mapping[str, Any], field_manager: str) -> Request:
    """Server-side apply, forced; preconditions are members of the body's metadata."""
    return _apply(_path(resource, namespace, name), body, field_manager)


def rehearse(resource: Resource, namespace: str, name: str, body: Mapping[str, Any], field_manager: str) -> Request:
    """A server-side dry run of `apply`: goes through admission and is not written."""
    return _apply(_path(resource, namespace, name), body, field_manager, dryRun="All")


def apply_status(resource: Resource, namespace: str, name: str, body: Mapping[str, Any], field_manager: str) -> Request:
    """Server-side apply to the status subresource, forced."""
    return _apply(_path(resource, namespace, name) + "/status", body, field_manager)


def merge_patch(resource: Resource, namespace: str, name: str, patch: Mapping[str, Any], field_manager: str) -> Request:
    """JSON merge patch."""
    target = _path(resource, namespace, name) + _query({"fieldManager": field_manager})
    return Request("PATCH", target, jsonio.dumps(patch), MERGE_PATCH)


def dry_run(
    resource: Resource, namespace: str, name: str, sub: str, patch: Mapping[str, Any], field_manager: str
) -> Request:
    """A server-side dry run of a JSON merge patch to a subresource: goes through admission and is not written."""
    target = f"{_path(resource, namespace, name)}/{sub}" + _query({"fieldManager": field_manager, "dryRun": "All"})
    return Request("PATCH", target, jsonio.dumps(patch), MERGE_PATCH)


def create(resource: Resource, namespace: str, obj: Mapping[str, Any]) -> Request:
    """POST to a collection; for reviews and Events, which have no name to apply to."""
    return Request("POST", _collection(Selection(resource, namespace)), jsonio.dumps(obj))


def log(namespace: str, pod: str, container: str, lines: int, most_bytes: int, is_previous: bool) -> Request:
    """The last lines of a container's log; with `is_previous` those of the container before its restart."""
    query = {
        "container": container,
        "tailLines": str(lines),
        "limitBytes": str(most_bytes),
        "timestamps": "true",
        "previous": "true" if is_previous else "",
    }
    return Request(
        "GET", f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(pod, safe='')}/log{_query(query)}"
    )


def create_sub(resource: Resource, namespace: str, name: str, sub: str, obj: Mapping[str, Any]) -> Request:
    """POST to a subresource: `eviction`, `token`, `binding`."""
    return Request("POST", f"{_path(resource, namespace, name)}/{sub}", jsonio.dumps(obj))


def update(resource: Resource, namespace: str, name: str, obj: Mapping[str, Any]) -> Request:
    """PUT a whole object; the server rejects it with Conflict if its resourceVersion is outdated."""
    return Request("PUT", _path(resource, namespace, name), jsonio.dumps(obj))


def delete(resource: Resource, namespace: str, name: str, uid: str, resource_version: str = "") -> Request:
    """Delete the object with the precondition of that uid and, if given, of that resourceVersion."""
    preconditions = {"uid": uid, **({"resourceVersion": resource_version} if resource_version else {})}
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}
    return Request("DELETE", _path(resource, namespace, name), jsonio.dumps(options))


def changes_nothing(request: Request) -> bool:
    """Whether the request writes nothing: a read, a review, or a dry run."""
    target = urlsplit(request.target)
    if request.method == "GET" or parse_qs(target.query).get("dryRun") == ["All"]:
        return True
    return request.method == "POST" and _REVIEWS.fullmatch(target.path) is not None


def _apply(path: str, body: Mapping[str, Any], field_manager: str, **more: str) -> Request:
    target = path + _query({"fieldManager": field_manager, "force": "true", **more})
    return Request("PATCH", target, jsonio.dumps(body), APPLY)


def _path(resource: Resource, namespace: str, name: str) -> str:
    return f"{_collection(Selection(resource, namespace))}/{quote(name, safe='')}"


def _collection(selection: Selection) -> str:
    resource = selection.resource
    root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    if resource.namespaced and selection.namespace:
        return f"{root}/namespaces/{quote(selection.namespace, safe='')}/{resource.plural}"
    return f"{root}/{resource.plural}"


def _selectors(selection: Selection) -> dict[str, str]:
    return {"fieldSelector": selection.field_selector, "labelSelector": selection.label_selector}


def _query(query: Mapping[str, str]) -> str:
    given = {key: value for key, value in query.items() if value}
    return "?" + urlencode(given) if given else ""
