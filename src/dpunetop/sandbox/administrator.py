"""An administrator whose changes of rights are in force when the call returns.

The authorizer of an API server reads roles and bindings from caches of its own, which lag behind what was written: for
a moment whoever was granted something is refused, and whoever lost it is let through.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dpunetop.kube.errors import NotFound
from dpunetop.kube.keys import CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES, Resource
from dpunetop.kube.meta import new_object
from dpunetop.kube.requests import get
from dpunetop.sandbox.admin import AdminClient, Obj, objects_of

_GROUP = "rbac.authorization.k8s.io"
_NAME = "sandbox-rights-in-force"
_NAMESPACE = "default"
_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_SECONDS = 120.0
_POLL_SECONDS = 0.005
_PAIRS = ((ROLES, ROLEBINDINGS), (CLUSTERROLES, CLUSTERROLEBINDINGS))


class Administrator(AdminClient):
    """Guarantees: as AdminClient, and each change of roles and bindings that a call has made is in force on return.

    Threads: any.
    Raises: as AdminClient; TimeoutError if a change is not in force after two minutes.
    Source: the caches are watches, one of each kind, so who sees the newest object of a kind has seen all before it.
    """

    def apply(self, manifests: str | Path | Mapping[str, Any] | Iterable[Mapping[str, Any]]) -> list[Obj]:
        """See `AdminClient.apply`."""
        objects = objects_of(manifests)
        applied = super().apply(objects)
        kinds = {obj["kind"] for obj in objects if str(obj["apiVersion"]).startswith(_GROUP)}
        self._until_in_force([pair for pair in _PAIRS if kinds & {each.kind for each in pair}])
        return applied

    def create(self, path: str, obj: Mapping[str, Any]) -> Obj:
        """See `AdminClient.create`."""
        return self._in_force(path, super().create(path, obj))

    def replace(self, path: str, obj: Mapping[str, Any]) -> Obj:
        """See `AdminClient.replace`."""
        return self._in_force(path, super().replace(path, obj))

    def patch(self, path: str, body: Mapping[str, Any], **query: str) -> Obj:
        """See `AdminClient.patch`."""
        return self._in_force(path, super().patch(path, body, **query))

    def delete(self, path: str, options: Mapping[str, Any] | None = None) -> Obj:
        """See `AdminClient.delete`."""
        return self._in_force(path, super().delete(path, options))

    def _in_force(self, path: str, answer: Obj) -> Obj:
        parts = path.partition("?")[0].split("/")
        if _GROUP in parts:
            self._until_in_force([pair for pair in _PAIRS if set(parts) & {each.plural for each in pair}])
        return answer

    def _until_in_force(self, pairs: Iterable[tuple[Resource, Resource]]) -> None:
        """Grant somebody new something new, and wait until that is granted."""
        deadline = time.monotonic() + _SECONDS
        for roles, bindings in pairs:
            mark = secrets.token_hex(8)
            while not self._is_granted(roles, bindings, mark):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"a new {bindings.kind} is not in force after {_SECONDS:g} s")
                time.sleep(_POLL_SECONDS)

    def _is_granted(self, roles: Resource, bindings: Resource, mark: str) -> bool:
        """Whether the marked user may get what is marked; it is granted on the way, once the namespace is there."""
        namespace = _NAMESPACE if roles.namespaced else ""
        try:
            for resource, members in ((roles, _rule(mark)), (bindings, _subject(roles, mark))):
                self.apply_at(get(resource, namespace, _NAME).target, new_object(resource, namespace, _NAME, **members))
        except NotFound:
            return False
        asked = {"verb": "get", "group": _NAME, "resource": mark, "namespace": namespace}
        review = super().create(_REVIEWS, {"spec": {"user": mark, "resourceAttributes": asked}})
        return bool(review["status"]["allowed"])


def _rule(mark: str) -> dict[str, Any]:
    return {"rules": [{"apiGroups": [_NAME], "resources": [mark], "verbs": ["get"]}]}


def _subject(roles: Resource, mark: str) -> dict[str, Any]:
    subject = {"apiGroup": _GROUP, "kind": "User", "name": mark}
    return {"roleRef": {"apiGroup": _GROUP, "kind": roles.kind, "name": _NAME}, "subjects": [subject]}
