"""What is cut off an object before it is stored, so that a cache costs what its readers need and no more.

A transform has the only reference to a freshly decoded object: it may change and return it. It copes with any JSON
beside well-formed metadata, since a tenant's server may be hostile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from dpunetop.kube.fieldsets import BEFORE_FIRST_APPLY, OWNED, digested, projection
from dpunetop.kube.meta import Obj

Transform = Callable[[dict[str, Any]], dict[str, Any]]
_OfContainer = Callable[[Mapping[str, Any]], dict[str, Any]]

_NODE_METADATA = (
    "name",
    "uid",
    "resourceVersion",
    "annotations",
    "creationTimestamp",
    "deletionTimestamp",
    "managedFields",
)

_ADDRESSES = ("InternalIP", "ExternalIP")

_IDENTITY = ("name", "namespace", "uid", "resourceVersion", "deletionTimestamp")
_POD_METADATA = (*_IDENTITY, "labels")
_MOST_OF_MESSAGE = 1024
_ON_THE_WAY = ("", "ContainerCreating", "PodInitializing")
_WHY_NOT = ("reason", "message")
_MANAGED = ("manager", "operation", "subresource", "apiVersion", "fieldsV1")  # without the time: so many are equal


def strip_foreign_managed_fields(prefix: str = "dpunetop-") -> Transform:
    """Keep of `managedFields` only the entries of managers whose name begins with `prefix`; beside one of these also
    what was there before anybody applied, since that keeps what we give up."""

    def strip(obj: dict[str, Any]) -> dict[str, Any]:
        _keep_own_fields(obj["metadata"], prefix)
        return obj

    return strip


def strip_node(prefix: str = "dpunetop-") -> Transform:
    """Keep of a Node who it is, how it is marked, whether it is Ready and schedulable, its boot, where it
    answers and which addresses its pods have.

    Guarantees: a beat of the kubelet changes nothing but the resourceVersion of what is kept.
    """

    def strip(node: dict[str, Any]) -> dict[str, Any]:
        kept: dict[str, Any] = {key: node[key] for key in ("apiVersion", "kind") if key in node}
        kept["metadata"] = _node_metadata(node["metadata"], prefix)
        kept["spec"] = _only(_mapping(node.get("spec")), "unschedulable", "taints", "podCIDRs")
        kept["status"] = _node_status(_mapping(node.get("status")))
        return kept

    return strip


def bare_node(annotations: Collection[str], labels: Collection[str]) -> Transform:
    """Keep of a Node who it is, whether it is Ready, schedulable and tainted, and these annotations and labels.

    For Nodes that are only looked at, one by one: they cannot be selected by other labels or compared with what we
    applied.
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
        kept["status"] = _only(_node_status(_mapping(node.get("status"))), "conditions")
        return kept

    return strip


def bare_lease() -> Transform:
    """Keep of a Lease which one it is, and how it is renewed.

    For Leases that are only looked at: they cannot be compared with what we applied.
    """

    def strip(lease: dict[str, Any]) -> dict[str, Any]:
        kept: dict[str, Any] = {key: lease[key] for key in ("apiVersion", "kind") if key in lease}
        kept["metadata"] = _only(lease["metadata"], "name", "namespace", "uid", "resourceVersion")
        kept["spec"] = _only(_mapping(lease.get("spec")), "renewTime", "leaseDurationSeconds")
        return kept

    return strip


def bare_pod(annotations: Collection[str], proves: Callable[[Obj], bool] = lambda _: True) -> Transform:
    """Keep of a Pod who it is, its labels and these annotations, where it runs, whether it is Ready, which
    containers it has, the beginning of what they said when they ended last, and what keeps it from running; of one that
    is not Ready also since when it is there, and how its containers ended last.

    A pod that is Ready and that `proves` denies keeps no IDs of containers: nobody asks whether it is still the same.
    """

    def strip(pod: dict[str, Any]) -> dict[str, Any]:
        kept: dict[str, Any] = {key: pod[key] for key in ("apiVersion", "kind") if key in pod}
        kept["metadata"] = _only(pod["metadata"], *_POD_METADATA)
        if not _is_ready(_mapping(pod.get("status"))):
            kept["metadata"] |= _only(pod["metadata"], "creationTimestamp")
        if notes := _only(_mapping(pod["metadata"].get("annotations")), *annotations):
            kept["metadata"]["annotations"] = notes
        kept["spec"] = _only(_mapping(pod.get("spec")), "nodeName")
        kept["status"] = _pod_status(_mapping(pod.get("status")), _container_status if proves(pod) else _said)
        return kept

    return strip


def strip_status(prefix: str = "dpunetop-") -> Transform:
    """Keep of an object what people and programs ask of it, not how far it is; as `strip_foreign_managed_fields`."""

    def strip(obj: dict[str, Any]) -> dict[str, Any]:
        obj.pop("status", None)
        _keep_own_fields(obj["metadata"], prefix)
        return obj

    return strip


def own_spec(prefix: str = "dpunetop-") -> Transform:
    """Keep of a `spec` what one of us owns, so that an apply of it can still be compared; of `status` what says that
    pods cannot be made; else as `strip_status`.

    For objects of which no reader needs the fields of other managers. Objects with fields of several of our managers
    are kept whole.
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


def own_digest(notes: Mapping[str, Callable[[Obj], str]], prefix: str = "dpunetop-") -> Transform:
    """As `own_spec`, but of what one of us owns only the digest by which an apply of it can still be compared, beside
    the labels and, under these names, what `notes` read of the whole object."""
    with_spec = own_spec(prefix)

    def strip(obj: dict[str, Any]) -> dict[str, Any]:
        found = {name: read(obj) for name, read in notes.items()}
        kept = with_spec(obj)
        owned = digested(kept)
        if owned is None:
            return kept
        metadata = _only(kept["metadata"], *_IDENTITY, "labels")
        return {**_only(kept, "apiVersion", "kind", "status"), "metadata": metadata, OWNED: owned, **found}

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


def _node_status(status: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    ready = _ready(status)
    addresses = [a for a in _mappings(status.get("addresses")) if a.get("type") in _ADDRESSES]
    boot = _only(_mapping(status.get("nodeInfo")), "bootID")
    if ready:
        kept["conditions"] = ready
    if addresses:
        kept["addresses"] = addresses
    if boot:
        kept["nodeInfo"] = boot
    return kept


def _pod_status(status: Mapping[str, Any], of_ready: _OfContainer) -> dict[str, Any]:
    kept = _only(status, "phase")
    if conditions := [*_ready(status), *_unplaced(status)]:
        kept["conditions"] = conditions
    keep = of_ready if _is_ready(status) else _failing_container
    containers = [keep(each) for each in _mappings(status.get("containerStatuses"))]
    if any(containers):
        kept["containerStatuses"] = containers
    return kept


def _container_status(status: Mapping[str, Any]) -> dict[str, Any]:
    """Which container it is, how it ended last, if that left a message, and why it waits."""
    return {**_only(status, "containerID"), **_said(status)}


def _said(status: Mapping[str, Any]) -> dict[str, Any]:
    """How it ended last, if that left a message, and why it waits."""
    kept = _waiting(status)
    for state in ("state", "lastState"):
        said = _mapping(_mapping(status.get(state)).get("terminated")).get("message")
        if isinstance(said, str) and said:
            kept |= {**_only(status, "name", "ready"), state: {"terminated": {"message": said[:_MOST_OF_MESSAGE]}}}
    return kept


def _failing_container(status: Mapping[str, Any]) -> dict[str, Any]:
    """The same, and how it ended last, whether or not that left a message."""
    kept = {**_container_status(status), **_only(status, "name", "ready")}
    for state in ("state", "lastState"):
        ended = _only(_mapping(_mapping(status.get(state)).get("terminated")), "reason", "exitCode")
        if ended:
            known = _mapping(kept.get(state))
            kept[state] = {**known, "terminated": {**ended, **_mapping(known.get("terminated"))}}
    return kept


def _is_ready(status: Mapping[str, Any]) -> bool:
    return any(c.get("status") == "True" for c in _mappings(status.get("conditions")) if c.get("type") == "Ready")


def _waiting(status: Mapping[str, Any]) -> dict[str, Any]:
    """Why a container waits, unless it is only on its way."""
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
    """A condition of that type, if it has the value that is worth a word."""
    found = (c for c in _mappings(status.get("conditions")) if c.get("type") == type_ and c.get("status") == bad)
    return [_only(c, "type", "status", "reason", "message") for c in found]


def _ready(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Since when as well, and of what is not Ready why; of what is, that would be kept for nothing."""
    found = (c for c in _mappings(status.get("conditions")) if c.get("type") == "Ready")
    members = ("type", "status", "lastTransitionTime")
    return [_only(c, *members, *(() if c.get("status") == "True" else _WHY_NOT)) for c in found]


def _only(value: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value[name] for name in names if name in value}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
