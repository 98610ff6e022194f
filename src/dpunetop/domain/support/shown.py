"""The members of each kind of object that an archive shows; of every other member only its size.

A member that is not listed never gets into the archive: the content of Secrets, last-applied annotations, scripts and
unknown variables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from dpunetop.domain import names
from dpunetop.domain.ovnkube.conf import BadOvnkubeConf, SettingRefused, read_ovnkube_conf
from dpunetop.domain.ovnkube.release import RELEASE_ANNOTATION
from dpunetop.domain.ovnkube.settingstable import openshift, upstream
from dpunetop.domain.ovnkube.settingstable.conf import OVNKUBE_CONF
from dpunetop.domain.pairing.envfile import EntryRejected, HostlessEntry, NodeEntry, parse_entry
from dpunetop.domain.support.scrubbing import size_of
from dpunetop.kube.meta import Obj
from dpunetop.kube.shapes import at, mappings

_METADATA = ("name", "namespace", "uid", "generation", "resourceVersion", "creationTimestamp", "deletionTimestamp")
_OURS = frozenset(text for text in vars(names).values() if isinstance(text, str) and text.startswith(f"{names.GROUP}/"))
_ANNOTATIONS = _OURS.union(names.HOST_ANNOTATIONS, names.MACHINE_ANNOTATIONS, (RELEASE_ANNOTATION,))
_OPERATOR_VARIABLES = frozenset(
    {"NAMESPACE", "TENANT_NAMESPACE", "WATCH_NAMESPACE", "OVNKUBE_IMAGE", "OPERATOR_IMAGE", "ALLOWED_IMAGES"}
)
_VARIABLES = _OPERATOR_VARIABLES | openshift.VARIABLES.keys() | upstream.VARIABLES.keys()
_OPTIONS = frozenset(
    option
    for table in (openshift.VARIABLES, upstream.VARIABLES, openshift.OPTIONS, upstream.OPTIONS)
    for row in table.values()
    for option in getattr(row.verdict, "options", (row.name,))
)
_POD_SPEC = (
    *("nodeName", "serviceAccountName", "hostNetwork", "hostPID", "priorityClassName", "nodeSelector", "affinity"),
    *("tolerations", "securityContext", "terminationGracePeriodSeconds", "automountServiceAccountToken"),
)
_CONTAINER = ("name", "image", "resources", "securityContext", "ports", "imagePullPolicy")


def shown(obj: Obj) -> dict[str, Any]:
    """The members of an object that are shown, by its kind."""
    kind = str(obj.get("kind"))
    body = _BODIES.get(kind, _nothing)(obj)
    return {"apiVersion": obj.get("apiVersion"), "kind": kind, "metadata": _metadata(obj), **body}


def shown_event(event: Obj) -> dict[str, Any]:
    """One line of the list of events."""
    kept = ("type", "reason", "action", "note", "message", "eventTime", "reportingController", "count", "series")
    about = event.get("regarding") or event.get("involvedObject") or {}
    last = event.get("deprecatedLastTimestamp") or event.get("lastTimestamp")
    return {**_picked(event, kept), "last": last, "regarding": _picked(about, ("kind", "namespace", "name"))}


def _metadata(obj: Obj) -> dict[str, Any]:
    metadata = obj.get("metadata") or {}
    owners = [_picked(each, ("kind", "name", "uid")) for each in mappings(metadata.get("ownerReferences"))]
    return {
        **_picked(metadata, _METADATA),
        "labels": dict(metadata.get("labels") or {}),
        "annotations": {key: _annotation(key, text) for key, text in (metadata.get("annotations") or {}).items()},
        "finalizers": list(metadata.get("finalizers") or ()),
        "ownerReferences": owners,
    }


def _annotation(key: str, text: object) -> object:
    return text if key in _ANNOTATIONS or key.startswith(names.OPEN_FOR_PREFIX) else size_of(text)


def _picked(value: object, keys: Iterable[str]) -> dict[str, Any]:
    return {key: value[key] for key in keys if key in value} if isinstance(value, Mapping) else {}


def _sizes(value: object) -> dict[str, str]:
    return {str(key): size_of(text) for key, text in value.items()} if isinstance(value, Mapping) else {}


def _nothing(_: Obj) -> dict[str, Any]:
    return {}


def _secret(obj: Obj) -> dict[str, Any]:
    return {"type": obj.get("type"), "data": _sizes(obj.get("data"))}


def _whole(obj: Obj) -> dict[str, Any]:
    """All members of a kind whose schema, ours or Kubernetes', has no place for a secret."""
    return _picked(obj, ("spec", "status"))


def _rights(obj: Obj) -> dict[str, Any]:
    return _picked(obj, ("rules", "aggregationRule", "roleRef", "subjects"))


def _definition(obj: Obj) -> dict[str, Any]:
    """The versions only; their schemas follow from the release."""
    versions = [_picked(each, ("name", "served", "storage")) for each in mappings(at(obj, "spec", "versions"))]
    status = _picked(obj.get("status"), ("conditions", "storedVersions"))
    return {"spec": {**_picked(obj.get("spec"), ("scope", "names")), "versions": versions}, "status": status}


def _node(obj: Obj) -> dict[str, Any]:
    status = _picked(obj.get("status"), ("conditions", "nodeInfo", "addresses", "capacity", "allocatable"))
    return {"spec": _picked(obj.get("spec"), ("unschedulable", "taints")), "status": status}


def _pod(obj: Obj) -> dict[str, Any]:
    kept = ("phase", "reason", "message", "conditions", "hostIP", "podIP", "startTime", "containerStatuses")
    status = _picked(obj.get("status"), (*kept, "initContainerStatuses"))
    return {"spec": _pod_spec(obj.get("spec")), "status": status}


def _workload(obj: Obj) -> dict[str, Any]:
    spec = _picked(obj.get("spec"), ("replicas", "selector", "strategy", "updateStrategy", "minReadySeconds"))
    template = {"spec": _pod_spec(at(obj, "spec", "template", "spec"))}
    metadata = {"metadata": _template_metadata(at(obj, "spec", "template", "metadata"))}
    return {"spec": {**spec, "template": {**metadata, **template}}, "status": dict(obj.get("status") or {})}


def _template_metadata(metadata: object) -> dict[str, Any]:
    found = metadata if isinstance(metadata, Mapping) else {}
    annotations = {key: _annotation(key, text) for key, text in (found.get("annotations") or {}).items()}
    return {"labels": dict(found.get("labels") or {}), "annotations": annotations}


def _pod_spec(spec: object) -> dict[str, Any]:
    return {
        **_picked(spec, _POD_SPEC),
        "volumes": [_volume(each) for each in mappings(at(spec, "volumes"))],
        "initContainers": [_container(each) for each in mappings(at(spec, "initContainers"))],
        "containers": [_container(each) for each in mappings(at(spec, "containers"))],
    }


def _volume(volume: Mapping[str, Any]) -> dict[str, Any]:
    sources = [key for key in volume if key != "name"]
    where = [_picked(volume[key], ("name", "secretName", "path", "claimName")) for key in sources]
    return {"name": volume.get("name"), "sources": dict(zip(sources, where, strict=True))}


def _container(container: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **_picked(container, _CONTAINER),
        "command": [size_of(word) for word in container.get("command") or ()],
        "args": [_argument(str(word)) for word in container.get("args") or ()],
        "env": [_variable(each) for each in mappings(container.get("env"))],
        "volumeMounts": [_picked(each, ("name", "mountPath")) for each in mappings(container.get("volumeMounts"))],
    }


def _argument(word: str) -> str:
    name, equals, value = word.partition("=")
    if not name.startswith("--"):
        return size_of(word)
    return word if not equals or name[2:] in _OPTIONS else f"{name}={size_of(value)}"


def _variable(variable: Mapping[str, Any]) -> dict[str, Any]:
    name, source = str(variable.get("name")), variable.get("valueFrom")
    if isinstance(source, Mapping):
        return {
            "name": name,
            "valueFrom": {key: _picked(each, ("name", "key", "fieldPath")) for key, each in source.items()},
        }
    value = variable.get("value", "")
    return {"name": name, "value": value if name in _VARIABLES else size_of(value)}


def _config_map(obj: Obj) -> dict[str, Any]:
    data = obj.get("data")
    read = _DATA.get(str(at(obj, "metadata", "name")), _unread)
    found = {str(key): read(str(key), str(text)) for key, text in data.items()} if isinstance(data, Mapping) else {}
    return {"data": found, "binaryData": _sizes(obj.get("binaryData"))}


def _unread(_: str, text: str) -> object:
    return size_of(text)


def _entry(node: str, text: str) -> object:
    """The parsed entry; one that is rejected is not shown, because it may have any content."""
    match parse_entry(node, text):
        case NodeEntry(host, tuning):
            return {names.TENANT_NODE_ENV: host, **dict(tuning)}
        case HostlessEntry(tuning):
            return dict(tuning)
        case EntryRejected():
            return f"{size_of(text)}, not understood"


def _ovnkube_config(key: str, text: str) -> object:
    if key != "ovnkube.conf":
        return size_of(text)
    try:
        conf = read_ovnkube_conf(text)
    except (BadOvnkubeConf, SettingRefused):
        return f"{size_of(text)}, not understood"
    known = {f"{section}/{name}": value for section, name, value in (*conf.values, *conf.left)}
    return {name: value if name in OVNKUBE_CONF else size_of(value) for name, value in known.items()}


_DATA: Mapping[str, Callable[[str, str], object]] = {
    names.ENV_OVERRIDES: _entry,
    names.OVNKUBE_NODE_ENTRIES: _entry,
    names.OVNKUBE_CONFIG: _ovnkube_config,
}
_BODIES: Mapping[str, Callable[[Obj], dict[str, Any]]] = {
    "Secret": _secret,
    "ConfigMap": _config_map,
    "Node": _node,
    "Pod": _pod,
    "Deployment": _workload,
    "DaemonSet": _workload,
    "DpuClusterConfig": _whole,
    "DpuNode": _whole,
    "MachineConfigPool": _whole,
    "PodDisruptionBudget": _whole,
    "NodeMaintenance": _whole,
    "Lease": _whole,
    "Namespace": _whole,
    "Role": _rights,
    "ClusterRole": _rights,
    "RoleBinding": _rights,
    "ClusterRoleBinding": _rights,
    "CustomResourceDefinition": _definition,
    "ServiceAccount": _nothing,
    "MachineConfig": _nothing,
}
"""The members shown beside the metadata; of a kind that is not listed, none."""
KINDS: Final = frozenset(_BODIES)
"""The kinds whose shown members are listed here."""
