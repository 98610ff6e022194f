"""Transforms: what an object loses before it is stored, so that a cache holds only what its readers need.

A transform has the only reference to a freshly decoded object, so it may change and return it. It accepts any JSON with
well-formed metadata, since a tenant's server may be hostile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from dpunetop.kube.compact import (
    ADDRESSES,
    BOOT_ID,
    CONTAINER_IDS,
    NODE_NAME,
    addresses_of,
    boot_of,
    container_ids,
    node_of,
)
from dpunetop.kube.fieldsets import BEFORE_FIRST_APPLY, OWNED, digested, projection
from dpunetop.kube.meta import Obj

Transform = Callable[[dict[str, Any]], dict[str, Any]]

_NODE_METADATA = (
    "name",
    "uid",
    "resourceVersion",
    "annotations",
    "creationTimestamp",
    "deletionTimestamp",
    "managedFields",
)

_IDENTITY = ("name", "namespace", "uid", "resourceVersion", "deletionTimestamp")
_POD_METADATA = (*_IDENTITY, "labels")
_MOST_OF_MESSAGE = 1024
_ON_THE_WAY = ("", "ContainerCreating", "PodInitializing")
_WHY_NOT = ("reason", "message")
_MANAGED = ("manager", "operation", "subresource", "apiVersion", "fieldsV1")  # without the time: so many are equal


def strip_foreign_managed_fields(prefix: str = "dpunetop-") -> Transform:
    """Keep of `managedFields` only the entries of managers whose name begins with `prefix`, and beside one of these the
    entry of BEFORE_FIRST_APPLY, which keeps fields that we release."""

    def strip(obj: dict[str, Any]) -> dict[str, Any]:
        _keep_own_fields(obj["metadata"], prefix)
        return obj

    return strip


def strip_node(prefix: str = "dpunetop-") -> Transform:
    """Keep of a Node its identity, labels and annotations, whether it is Ready and schedulable, its bootID, its
    addresses and its pod CIDRs.

    Guarantees: a heartbeat of the kubelet changes only the resourceVersion of the kept object.
    """

    def strip(node: dict[str, Any]) -> dict[str, Any]:
        kept: dict[str, Any] = {key: node[key] for key in ("apiVersion", "kind") if key in node}
        kept["metadata"] = _node_metadata(node["metadata"], prefix)
        kept["spec"] = _only(_mapping(node.get("spec")), "unschedulable", "taints", "podCIDRs")
        kept["status"] = _node_status(node)
        return kept

    return strip


def bare_node(annotations: Collection[str], labels: Collection[str]) -> Transform:
    """Keep of a Node its identity, whether it is Ready, schedulable and tainted, and these annotations and labels.

    For Nodes that are only read one by one: they can neither be selected by other labels nor compared with an apply.
    """

    def strip(node: dict[str, Any]) -> dict[str, Any]:
        kept: dict[str, Any] = {key: node[key] for key in ("apiVersion", "kind") if key in node}
        kept["metadata"] = _only(node["metadata"], "name", "uid", "resourceVersion", "deletionTimestamp")
        if notes := _only(_mapping(node["metadata"].get("annotations")), *annotations):
            kept["metadata"]["annotations"] = notes
        if marks := _only(_mapping(node["metadata"].get("labels")), *labels):
            kept["metadata"]["labels"] = marks
        spec = _only(_mapping(node.get("spec")), "unschedulable")
        if taints := [_only(taint, "key") for taint in _mappings(_mapping(node.get("spec")).get("taints"))]:
            spec["taints"] = taints
        kept["spec"] = spec
        kept["status"] = _only(_node_status(node), "conditions")
        return kept

    return strip


def bare_lease() -> Transform:
    """Keep of a Lease its identity, holder and renewal.

    For Leases that are only read: they cannot be compared with an apply.
    """

    def strip(lease: dict[str, Any]) -> dict[str, Any]:
        kept: dict[str, Any] = {key: lease[key] for key in ("apiVersion", "kind") if key in lease}
        kept["metadata"] = _only(lease["metadata"], "name", "namespace", "uid", "resourceVersion")
        kept["spec"] = _only(_mapping(lease.get("spec")), "renewTime", "leaseDurationSeconds")
        return kept

    return strip


def bare_pod(annotations: Collection[str], proves: Callable[[Obj], bool] = lambda _: True) -> Transform:
    """Keep of a pod its identity, labels and these annotations, its Node, whether it is Ready, its container IDs, the
    beginning of each container's last termination message, and why it does not run. Of a pod that is not Ready also
    keep its creation time and how its containers terminated last.

    A Ready pod for which `proves` is False keeps no container IDs, since no reader compares them.
    """

    def strip(pod: dict[str, Any]) -> dict[str, Any]:
        kept: dict[str, Any] = {"metadata": _only(pod["metadata"], *_POD_METADATA)}
        if not _is_ready(_mapping(pod.get("status"))):
            kept["metadata"] |= _only(pod["metadata"], "creationTimestamp")
        if notes := _only(_mapping(pod["metadata"].get("annotations")), *annotations):
            kept["metadata"]["annotations"] = notes
        if on_node := node_of(pod):
            kept[NODE_NAME] = on_node
        kept["status"] = _pod_status(_mapping(pod.get("status")))
        if (ids := container_ids(pod)) and (proves(pod) or not _is_ready(_mapping(pod.get("status")))):
            kept[CONTAINER_IDS] = ids
        return kept

    return strip


def strip_status(prefix: str = "dpunetop-") -> Transform:
    """Drop the `status` of an object; else as `strip_foreign_managed_fields`."""

    def strip(obj: dict[str, Any]) -> dict[str, Any]:
        obj.pop("status", None)
        _keep_own_fields(obj["metadata"], prefix)
        return obj

    return strip


def own_spec(prefix: str = "dpunetop-") -> Transform:
    """Keep of a `spec` the fields of our manager, so that an apply can still be compared; of `status` the conditions
    that say why pods cannot be created; else as `strip_status`.

    For objects whose readers need no fields of other managers. An object with fields of several of our managers is
    kept whole.
    """
    without_status = strip_status(prefix)

    def strip(obj: dict[str, Any]) -> dict[str, Any]:
        failures = _failures(_mapping(obj.get("status")))
        kept = without_status(obj)
        managers = [str(entry["manager"]) for entry in kept["metadata"].get("managedFields") or ()]
        ours = projection(kept, managers[0]) if len(managers) == 1 else None
        if ours and "spec" in ours:
            kept["spec"] = ours["spec"]
        if failures:
            kept["status"] = {"conditions": failures}
        return kept

    return strip


def own_digest(
    labels: Collection[str],
    notes: Mapping[str, Callable[[Obj], Any]],
    otherwise: Transform | None = None,
    metadata: Collection[str] = (),
) -> Transform:
    """Keep only a digest of the fields of our manager, by which an apply can still be compared, beside these labels,
    the members of `metadata` and, under the names of `notes`, what these functions read from the whole object. An
    object without such a digest is kept as `otherwise` (default: `own_spec`).
    """
    whole = otherwise or own_spec()

    def strip(obj: dict[str, Any]) -> dict[str, Any]:
        found = {name: read(obj) for name, read in notes.items()}
        kept = whole(obj)
        owned = digested(kept)
        if owned is None:
            return kept
        named = _only(kept["metadata"], *_IDENTITY, *metadata)
        if marks := _only(_mapping(kept["metadata"].get("labels")), *labels):
            named["labels"] = marks
        return {**_only(kept, "apiVersion", "kind", "status"), "metadata": named, OWNED: owned, **found}

    return strip


def _keep_own_fields(metadata: dict[str, Any], prefix: str) -> None:
    entries = _mappings(metadata.pop("managedFields", None))
    if any(_is_of(entry, prefix) for entry in entries):
        kept = [entry for entry in entries if _is_of(entry, prefix) or entry.get("manager") == BEFORE_FIRST_APPLY]
        metadata["managedFields"] = [_only(entry, *_MANAGED) for entry in kept]


def _is_of(entry: Mapping[str, Any], prefix: str) -> bool:
    return str(entry.get("manager")).startswith(prefix)


def _node_metadata(metadata: dict[str, Any], prefix: str) -> dict[str, Any]:
    kept = _only(metadata, *_NODE_METADATA)
    _keep_own_fields(kept, prefix)
    if "labels" in metadata:
        kept["labels"] = {key: str(value) for key, value in _mapping(metadata["labels"]).items()}
    return kept


def _node_status(node: Obj) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    ready = _ready(_mapping(node.get("status")))
    if ready:
        kept["conditions"] = ready
    if addresses := addresses_of(node):
        kept[ADDRESSES] = addresses
    if boot := boot_of(node):
        kept[BOOT_ID] = boot
    return kept


def _pod_status(status: Mapping[str, Any]) -> dict[str, Any]:
    kept = _only(status, "phase")
    if conditions := [*_ready(status), *_unplaced(status)]:
        kept["conditions"] = conditions
    keep = _said if _is_ready(status) else _failing_container
    containers = [keep(each) for each in _mappings(status.get("containerStatuses"))]
    if any(containers):
        kept["containerStatuses"] = containers
    return kept


def _said(status: Mapping[str, Any]) -> dict[str, Any]:
    """The last termination message, if any, and why the container waits."""
    kept = _waiting(status)
    for state in ("state", "lastState"):
        said = _mapping(_mapping(status.get(state)).get("terminated")).get("message")
        if isinstance(said, str) and said:
            kept |= {**_only(status, "name", "ready"), state: {"terminated": {"message": said[:_MOST_OF_MESSAGE]}}}
    return kept


def _failing_container(status: Mapping[str, Any]) -> dict[str, Any]:
    """The same, and how the container terminated last, with or without a message."""
    kept = {**_said(status), **_only(status, "name", "ready")}
    for state in ("state", "lastState"):
        ended = _only(_mapping(_mapping(status.get(state)).get("terminated")), "reason", "exitCode")
        if ended:
            known = _mapping(kept.get(state))
            kept[state] = {**known, "terminated": {**ended, **_mapping(known.get("terminated"))}}
    return kept


def _is_ready(status: Mapping[str, Any]) -> bool:
    return any(c.get("status") == "True" for c in _mappings(status.get("conditions")) if c.get("type") == "Ready")


def _waiting(status: Mapping[str, Any]) -> dict[str, Any]:
    """Why a container waits, unless it is only being created."""
    waits = _mapping(_mapping(status.get("state")).get("waiting"))
    reason = waits.get("reason")
    if not isinstance(reason, str) or reason in _ON_THE_WAY:
        return {}
    message = waits.get("message")
    said = {"message": message[:_MOST_OF_MESSAGE]} if isinstance(message, str) else {}
    return {**_only(status, "name", "ready"), "state": {"waiting": {"reason": reason[:_MOST_OF_MESSAGE], **said}}}


def _unplaced(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    return _failing(status, "PodScheduled", "False")


def _failures(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    return _failing(status, "ReplicaFailure", "True")


def _failing(status: Mapping[str, Any], type_: str, bad: str) -> list[dict[str, Any]]:
    """The condition of that type if its status is `bad`."""
    found = (c for c in _mappings(status.get("conditions")) if c.get("type") == type_ and c.get("status") == bad)
    return [_only(c, "type", "status", "reason", "message") for c in found]


def _ready(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The Ready condition with its transition time; the reason only if it is not Ready, since no one reads it else."""
    found = (c for c in _mappings(status.get("conditions")) if c.get("type") == "Ready")
    members = ("type", "status", "lastTransitionTime")
    return [_only(c, *members, *(() if c.get("status") == "True" else _WHY_NOT)) for c in found]


def _only(value: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value[name] for name in names if name in value}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
