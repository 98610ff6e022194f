"""The ConfigMap of per-node entries, which names the host that each DPU serves, and the idle pods that must read it
again.

A pod decides at its start: with an entry it serves that host, without one it idles. A pod that ran before its node's
entry was first written is therefore idle; its UID is recorded in the same write, so that after a crash it is still
known to be harmless to delete. Every other pod on a node with an entry counts as serving.

The ConfigMap is created here, without entries; only `drain.protection` adds and removes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dpunetop.base.quoting import named
from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.names import ENV_OVERRIDES, IDLE_PODS_ANNOTATION, OVNKUBE_NODE_ENTRIES, UNSURE_PODS_ANNOTATION
from dpunetop.domain.pairing.nearness import did_you_mean
from dpunetop.domain.pairing.pairing import Pair, host_of
from dpunetop.kube.compact import node_of
from dpunetop.kube.fieldsets import projection
from dpunetop.kube.keys import CONFIGMAPS
from dpunetop.kube.meta import Obj, annotations_of, is_terminating, name_of, new_object, uid_of
from dpunetop.kube.shapes import at, mappings

_OURS = "dpunetop-"


class EntryWait(StrEnum):
    """Why an entry is not as requested."""

    HOST_NOT_CONFIGURED = "HostNotConfigured"
    PROTECTION_PENDING = "ProtectionPending"
    ENTRY_CHANGE_PENDING = "EntryChangePending"
    ENTRY_REMOVAL_PENDING = "EntryRemovalPending"
    HOST_SERVED_BY_OTHER = "HostServedByOther"
    DPU_ABSENT = "DpuAbsent"
    PAIRING_CONFLICT = "PairingConflict"
    SEVERAL_PODS = "SeveralPods"


PASSING = (EntryWait.HOST_NOT_CONFIGURED, EntryWait.PROTECTION_PENDING)
"""Waits that pass by themselves, in the order in which they occur."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One node whose entry is not as requested; `message` is one line that names the node."""

    node: str
    reason: EntryWait
    message: str


@dataclass(frozen=True, slots=True)
class EntriesView:
    """The facts by which the entries are judged."""

    pairs: Mapping[str, Pair]
    live: Obj | None
    """The ConfigMap as it is; None: there is none."""
    configured: frozenset[str]
    """Nodes whose host configuration has arrived (or needs none)."""
    pods: tuple[Obj, ...]
    """All pods of the DaemonSet."""
    nodes: frozenset[str] | None = None
    """Names of infra's Nodes; None: every name counts as existing."""


@dataclass(frozen=True, slots=True)
class EntriesState:
    """The verdict: the entries, those that wait, and the pods to delete for them."""

    data: Mapping[str, str]
    idle_pods: Mapping[str, str]
    """Node to the UID of its idle pod."""
    restart: tuple[Obj, ...]
    """Idle pods of nodes that have an entry now: to be deleted, each with its UID as precondition."""
    waiting: tuple[Waiting, ...]


def entries_of(live: Obj | None) -> Mapping[str, str]:
    """DPU node to its entry."""
    return (live or {}).get("data") or {}


def idle_pods(live: Obj | None) -> dict[str, str]:
    """Node to the UID of the pod that ran before the node's entry was written.

    Raises nothing: with a broken annotation no pod counts as idle.
    """
    try:
        found = json.loads(annotations_of(live).get(IDLE_PODS_ANNOTATION, "{}")) if live is not None else {}
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {node: uid for node, uid in found.items() if isinstance(uid, str) and uid}


def render_idle_pods(idle: Mapping[str, str]) -> str | None:
    """The text of the annotation; None: there is no idle pod."""
    return json.dumps(dict(idle), sort_keys=True, separators=(",", ":")) if idle else None


def idle_pods_left(live: Obj | None, pods: Iterable[Obj]) -> dict[str, str]:
    """Those of `idle_pods` that no other pod has replaced yet."""
    uids: dict[str, set[str]] = {}
    for pod in pods:
        if not _has_ended(pod):
            uids.setdefault(node_of(pod), set()).add(uid_of(pod))
    return {node: uid for node, uid in idle_pods(live).items() if not uids.get(node) or uid in uids[node]}


def unsure_pods(live: Obj) -> frozenset[str]:
    """UIDs of pods that ran when the ConfigMap was created: what they have read is unknown."""
    return frozenset(annotations_of(live).get(UNSURE_PODS_ANNOTATION, "").split())


def overwritten(live: Obj | None) -> frozenset[str]:
    """Nodes whose entry another writer has changed: the server then no longer counts the field as ours."""
    if live is None:
        return frozenset()
    found = (
        at(each, "fieldsV1", "f:data") for each in mappings(at(live, "metadata", "managedFields")) if _is_ours(each)
    )
    ours = {str(name).removeprefix("f:") for data in found if isinstance(data, Mapping) for name in data}
    return frozenset(entries_of(live)) - ours


def serving_nodes(live: Obj | None, pods: Iterable[Obj]) -> frozenset[str]:
    """Nodes that have an entry and a pod that is not known to be idle."""
    entries, idle = entries_of(live), idle_pods(live)
    nodes = ((node_of(pod), pod) for pod in pods if not _has_ended(pod))
    return frozenset(node for node, pod in nodes if node in entries and idle.get(node) != uid_of(pod))


def entries_config_map(
    namespace: str, live: Obj | None, pods: Iterable[Obj], owner: Owner, field_manager: str
) -> dict[str, Any]:
    """The desired ConfigMap, canonical for server-side apply.

    Guarantees: removes no entry and adds none; keeps every field that `field_manager` owns. One that was deleted is
        created again with the UIDs of the pods that run, which count as serving.
    """
    desired = owner.mark(new_object(CONFIGMAPS, namespace, OVNKUBE_NODE_ENTRIES))
    if live is None:
        unsure = " ".join(sorted(uid_of(pod) for pod in pods if not _has_ended(pod)))
        if unsure:
            desired["metadata"]["annotations"] = {UNSURE_PODS_ANNOTATION: unsure}
        return desired
    ours = projection(live, field_manager) or {}
    if isinstance(annotations := at(ours, "metadata", "annotations"), Mapping):
        desired["metadata"]["annotations"] = dict(annotations)
    if data := ours.get("data"):
        desired["data"] = dict(data)
    return desired


def judge_entries(view: EntriesView) -> EntriesState:
    """Compare the entries with those requested, and find the idle pods that have yet to read theirs."""
    data = entries_of(view.live)
    serving = serving_nodes(view.live, view.pods)
    found = (_waiting(view, pair, data.get(dpu), dpu in serving) for dpu, pair in sorted(view.pairs.items()))
    waiting = tuple(each for each in found if each is not None)
    left = idle_pods_left(view.live, view.pods)
    restart = (
        pod
        for pod in view.pods
        if node_of(pod) in data and left.get(node_of(pod)) == uid_of(pod) and not is_terminating(pod)
    )
    return EntriesState(data, left, tuple(sorted(restart, key=name_of)), waiting)


def _waiting(view: EntriesView, pair: Pair, text: str | None, serves: bool) -> Waiting | None:
    if pair.problem:
        return Waiting(pair.dpu, EntryWait.PAIRING_CONFLICT, pair.problem)
    if text is not None and text != pair.text:
        return _outdated(pair, host_of(pair.dpu, text) or "its host", serves)
    if pair.host is None or text is not None:
        return None
    if view.nodes is not None and pair.dpu not in view.nodes:
        words = f"{named(pair.dpu)} cannot serve {pair.host}: infra has no Node of that name"
        do = f"correct or remove its entry in ConfigMap {ENV_OVERRIDES}"
        return Waiting(pair.dpu, EntryWait.DPU_ABSENT, f"{words}{did_you_mean(pair.dpu, view.nodes)}; {do}")
    if pair.server != pair.dpu:
        words = (
            f"{pair.dpu} does not serve {pair.host}, because {pair.server} does; if the card {pair.server} was "
            f"replaced by {pair.dpu}, delete its Node: kubectl delete node {pair.server}"
        )
        return Waiting(pair.dpu, EntryWait.HOST_SERVED_BY_OTHER, words)
    if pair.dpu not in view.configured:
        words = f"{pair.dpu} gets its entry once its host configuration has arrived"
        return Waiting(pair.dpu, EntryWait.HOST_NOT_CONFIGURED, words)
    if sum(node_of(pod) == pair.dpu and not _has_ended(pod) and not is_terminating(pod) for pod in view.pods) > 1:
        words = f"{pair.dpu} gets its entry once only one ovnkube-node pod is left there"
        return Waiting(pair.dpu, EntryWait.SEVERAL_PODS, words)
    return Waiting(pair.dpu, EntryWait.PROTECTION_PENDING, f"{pair.dpu} gets its entry once it is protected")


def _outdated(pair: Pair, host: str, serves: bool) -> Waiting:
    if not serves:
        return Waiting(pair.dpu, EntryWait.PROTECTION_PENDING, f"{pair.dpu} gets its new entry once it is protected")
    if pair.host is None:
        words = f"{pair.dpu} keeps serving {host}, although its entry was removed"
        return Waiting(pair.dpu, EntryWait.ENTRY_REMOVAL_PENDING, words)
    words = f"{pair.dpu} keeps serving {host} with its old entry; the new one waits until {host} is drained"
    return Waiting(pair.dpu, EntryWait.ENTRY_CHANGE_PENDING, words)


def _is_ours(entry: Mapping[str, Any]) -> bool:
    return str(entry.get("manager", "")).startswith(_OURS)


def _has_ended(pod: Obj) -> bool:
    return at(pod, "status", "phase") in ("Succeeded", "Failed")
