"""The harness's own small client of an API server: takes paths, returns objects, raises for any status but success."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
import yaml

from dpunetop.kube.errors import ApiError, NotFound, Unreachable, error_from_status

_MANAGER = "sandbox"
_PAGE = 500
_POLL_SECONDS = 0.05
_ESTABLISH_SECONDS = 120.0

Obj = dict[str, Any]


@dataclass(frozen=True)
class Credential:
    """The caller's credential: a bearer token, a client certificate in files, or none."""

    token: str | None = None
    certificate: Path | None = None
    key: Path | None = None


class AdminClient:
    """Requests to one API server.

    Guarantees: every call has a deadline; nothing is retried.
    Threads: any; connections are shared.
    Raises: the class of `dpunetop.kube.errors` for the status code; Unreachable if the server did not answer.
    """

    def __init__(self, url: str, ca: Path, credential: Credential, timeout: float = 30.0) -> None:
        self.credential = credential
        context = ssl.create_default_context(cafile=str(ca))
        if credential.certificate is not None:
            context.load_cert_chain(credential.certificate, credential.key)
        self._headers = {"Accept": "application/json", "User-Agent": "dpunetop-sandbox"}
        if credential.token is not None:
            self._headers["Authorization"] = f"Bearer {credential.token}"
        self._pool = urllib3.connection_from_url(
            url, ssl_context=context, timeout=timeout, retries=False, maxsize=16, block=False
        )
        self._guard = threading.Lock()  # guards _resources
        self._resources: dict[tuple[str, str], tuple[str, bool]] = {}  # (apiVersion, kind) -> (plural, namespaced)

    def close(self) -> None:
        """Close idle connections; may be called again, and the client used after it."""
        self._pool.close()

    def get(self, path: str, **query: str) -> Obj:
        """GET one object, or any other JSON."""
        return self._json("GET", path, query)

    def text(self, path: str, **query: str) -> str:
        """GET plain text, such as /readyz or /metrics."""
        return self._request("GET", path, query, None, None).decode()

    def list_all(self, path: str, **query: str) -> list[Obj]:
        """GET all items of a collection, page by page."""
        return list(self._items(path, query))

    def create(self, path: str, obj: Mapping[str, Any]) -> Obj:
        """POST to a collection, or to a subresource such as `token` or `eviction`."""
        return self._json("POST", path, {}, obj)

    def replace(self, path: str, obj: Mapping[str, Any]) -> Obj:
        """PUT a whole object."""
        return self._json("PUT", path, {}, obj)

    def patch(self, path: str, body: Mapping[str, Any], **query: str) -> Obj:
        """Merge patch."""
        return self._json("PATCH", path, query, body, "application/merge-patch+json")

    def delete(self, path: str, options: Mapping[str, Any] | None = None) -> Obj:
        """DELETE with DeleteOptions, such as preconditions."""
        return self._json("DELETE", path, {}, options)

    def apply_at(self, path: str, obj: Mapping[str, Any], manager: str = _MANAGER, **query: str) -> Obj:
        """Server-side apply, with force, to the path of an object or of its status."""
        query = {"fieldManager": manager, "force": "true", **query}
        return self._json("PATCH", path, query, obj, "application/apply-patch+yaml")

    def apply(self, manifests: str | Path | Mapping[str, Any] | Iterable[Mapping[str, Any]]) -> list[Obj]:
        """Server-side apply of objects, in order: YAML text, a file, one object or several.

        Guarantees: a CustomResourceDefinition is served when the next object is applied, and on return.
        """
        return [self._apply_one(obj) for obj in objects_of(manifests)]

    def path_of(self, obj: Mapping[str, Any]) -> str:
        """The path of an object by its apiVersion, kind, namespace and name."""
        plural, namespaced = self._resource(obj["apiVersion"], obj["kind"])
        metadata = obj["metadata"]
        namespace = metadata.get("namespace", "default") if namespaced else None
        return f"{collection_path(obj['apiVersion'], plural, namespace)}/{metadata['name']}"

    def wait_for(self, path: str, holds: Callable[[Obj], bool], timeout: float = 120.0) -> Obj:
        """GET until `holds` is true of the object, which is `{}` while it does not exist; returns the object.

        Raises: TimeoutError, with the object as it was last read.
        """
        deadline = time.monotonic() + timeout
        while True:
            seen = self.get_or_empty(path)
            if holds(seen):
                return seen
            if time.monotonic() > deadline:
                raise TimeoutError(f"{path} did not change as expected within {timeout:g} s: {json.dumps(seen)[:2000]}")
            time.sleep(_POLL_SECONDS)

    def get_or_empty(self, path: str) -> Obj:
        """GET one object; `{}` if there is none."""
        try:
            return self.get(path)
        except NotFound:
            return {}

    def _apply_one(self, obj: Mapping[str, Any]) -> Obj:
        applied = self.apply_at(self.path_of(obj), obj)
        if obj["kind"] == "CustomResourceDefinition":
            self._wait_until_served(obj)
        return applied

    def _wait_until_served(self, crd: Mapping[str, Any]) -> None:
        spec = crd["spec"]
        versions = [f"{spec['group']}/{version['name']}" for version in spec["versions"] if version["served"]]
        deadline = time.monotonic() + _ESTABLISH_SECONDS
        for version in versions:
            while not self._is_served(version, spec["names"]["plural"]):
                if time.monotonic() > deadline:
                    raise TimeoutError(
                        f"{version} {spec['names']['plural']} is still not served after its CRD was applied"
                    )
                time.sleep(_POLL_SECONDS)

    def _is_served(self, api_version: str, plural: str) -> bool:
        """Whether both the endpoint and discovery serve it: discovery lags behind for a moment."""
        try:
            found = self.get(collection_path(api_version, plural, None), limit="1")
            listed = self.get(_version_path(api_version))["resources"]
        except NotFound:
            return False
        return "items" in found and any(resource["name"] == plural for resource in listed)

    def _items(self, path: str, query: Mapping[str, str]) -> Iterator[Obj]:
        more: dict[str, str] = {}
        while True:
            page = self._json("GET", path, {"limit": str(_PAGE), **query, **more})
            yield from page["items"]
            if not page["metadata"].get("continue"):
                return
            more = {"continue": page["metadata"]["continue"]}

    def _resource(self, api_version: str, kind: str) -> tuple[str, bool]:
        with self._guard:
            known = self._resources.get((api_version, kind))
        if known is not None:
            return known
        served = self.get(_version_path(api_version))["resources"]
        found = {(api_version, r["kind"]): (r["name"], r["namespaced"]) for r in served if "/" not in r["name"]}
        with self._guard:
            self._resources.update(found)
        if (api_version, kind) not in found:
            raise NotFound(404, "NotFound", f"{api_version} {kind} is not served")
        return found[(api_version, kind)]

    def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None = None,
        content: str = "application/json",
    ) -> Obj:
        encoded = None if body is None else json.dumps(body).encode()
        answer: Obj = json.loads(self._request(method, path, query, encoded, content))
        return answer

    def _request(
        self, method: str, path: str, query: Mapping[str, str], body: bytes | None, content: str | None
    ) -> bytes:
        headers = {**self._headers, **({"Content-Type": content} if body is not None and content else {})}
        target = f"{path}?{urlencode(query)}" if query else path
        try:
            answer = self._pool.urlopen(method, target, body=body, headers=headers)
        except (urllib3.exceptions.HTTPError, OSError) as err:
            raise Unreachable(0, "Refused", f"{method} {path}: {err}") from err
        if answer.status >= 400:
            raise _error(answer.status, answer.data)
        return answer.data


def collection_path(api_version: str, plural: str, namespace: str | None = None) -> str:
    """The path of a collection, in one namespace or across the cluster."""
    within = f"/namespaces/{namespace}" if namespace else ""
    return f"{_version_path(api_version)}{within}/{plural}"


def objects_of(manifests: str | Path | Mapping[str, Any] | Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The objects in YAML text, in a file, or as given; empty documents are skipped."""
    match manifests:
        case Path():
            return objects_of(manifests.read_text())
        case str():
            return [obj for obj in yaml.load_all(manifests, Loader=yaml.CSafeLoader) if obj]
        case Mapping():
            return [manifests]
        case _:
            return list(manifests)


def _version_path(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _error(code: int, body: bytes) -> ApiError:
    try:
        status = json.loads(body)
    except ValueError:
        status = {"message": body.decode(errors="replace")}
    return error_from_status(status if isinstance(status, dict) else {}, code)
