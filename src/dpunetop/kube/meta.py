"""Reading and building object metadata on plain dicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dpunetop.kube.keys import Resource

Obj = Mapping[str, Any]


def name_of(obj: Obj) -> str:
    """The object's name."""
    return str(obj["metadata"]["name"])


def namespace_of(obj: Obj) -> str:
    """The object's namespace; empty for a cluster-scoped object."""
    return str(obj["metadata"].get("namespace", ""))


def uid_of(obj: Obj) -> str:
    """The object's uid, which tells a recreated object from its predecessor."""
    return str(obj["metadata"].get("uid", ""))


def version_of(obj: Obj) -> str:
    """The object's resourceVersion; empty if it has none."""
    return str(obj.get("metadata", {}).get("resourceVersion", ""))


def labels_of(obj: Obj) -> Mapping[str, str]:
    """The object's labels; empty if it has none."""
    return obj["metadata"].get("labels") or {}


def annotations_of(obj: Obj) -> Mapping[str, str]:
    """The object's annotations; empty if it has none."""
    return obj["metadata"].get("annotations") or {}


def is_terminating(obj: Obj) -> bool:
    """Whether the object is being deleted and only finalizers or its grace period keep it."""
    return "deletionTimestamp" in obj["metadata"]


def generation_of(obj: Obj) -> int:
    """The object's generation; 0 if it has none."""
    return int(obj["metadata"].get("generation", 0))


def new_object(resource: Resource, namespace: str, name: str, **members: Any) -> dict[str, Any]:
    """An object of `resource` with its type and name filled in, and `members` beside its metadata.

    Guarantees: no namespace member for a cluster-scoped resource; canonical for server-side apply.
    """
    metadata: dict[str, Any] = {"name": name}
    if resource.namespaced:
        metadata["namespace"] = namespace
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **members}


def owner_reference(resource: Resource, owner: Obj) -> dict[str, Any]:
    """A controller reference to `owner`, without `blockOwnerDeletion`.

    Source: the admission plugin OwnerReferencesPermissionEnforcement demands update on the owner's finalizers for it.
    """
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
    }
