"""What is cut off an object before it is stored, so that a cache costs what its readers need and no more.

A transform is given a freshly decoded object, which nobody else holds: it may change and return it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

Transform = Callable[[dict[str, Any]], dict[str, Any]]

_NODE_METADATA = ("name", "uid", "resourceVersion", "annotations", "creationTimestamp", "deletionTimestamp")


def strip_foreign_managed_fields(prefix: str = "dpunetop-") -> Transform:
    """Keep of `managedFields` only the entries of managers whose name begins with `prefix`."""

    def strip(obj: dict[str, Any]) -> dict[str, Any]:
        _keep_own_fields(obj["metadata"], prefix)
        return obj

    return strip


def strip_node(prefix: str = "dpunetop-") -> Transform:
    """Keep of a Node who it is, how it is marked, whether it is Ready and schedulable, its boot and where it answers.

    Guarantees: a beat of the kubelet changes nothing but the resourceVersion of what is kept.
    """

    def strip(node: dict[str, Any]) -> dict[str, Any]:
        spec, status = node.get("spec") or {}, node.get("status") or {}
        kept: dict[str, Any] = {key: node[key] for key in ("apiVersion", "kind") if key in node}
        kept["metadata"] = _node_metadata(node["metadata"], prefix)
        kept["spec"] = {key: spec[key] for key in ("unschedulable", "taints") if key in spec}
        kept["status"] = _node_status(status)
        return kept

    return strip


def _keep_own_fields(metadata: dict[str, Any], prefix: str) -> None:
    own = [entry for entry in metadata.pop("managedFields", None) or () if _manager(entry).startswith(prefix)]
    if own:
        metadata["managedFields"] = own


def _manager(entry: Mapping[str, Any]) -> str:
    return str(entry.get("manager", ""))


def _node_metadata(metadata: dict[str, Any], prefix: str) -> dict[str, Any]:
    kept = {key: metadata[key] for key in _NODE_METADATA if key in metadata}
    if "labels" in metadata:
        # Thousands of nodes share most label values; interned, they are stored once.
        kept["labels"] = {sys.intern(key): sys.intern(value) for key, value in metadata["labels"].items()}
    if "managedFields" in metadata:
        kept["managedFields"] = metadata["managedFields"]
        _keep_own_fields(kept, prefix)
    return kept


def _node_status(status: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    ready = [_only(c, "type", "status") for c in status.get("conditions") or () if c.get("type") == "Ready"]
    addresses = [a for a in status.get("addresses") or () if a.get("type") == "InternalIP"]
    boot = (status.get("nodeInfo") or {}).get("bootID")
    if ready:
        kept["conditions"] = ready
    if addresses:
        kept["addresses"] = addresses
    if boot is not None:
        kept["nodeInfo"] = {"bootID": boot}
    return kept


def _only(value: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value[name] for name in names if name in value}
