"""Who serves whom: the ConfigMap of per-node entries that the pods read, and which idle pods must look at it anew.

A pod decides at its start: with an entry it serves that host, without one it idles. A pod that was there before its
node's entry was first written is idle by that rule; its uid is recorded in the same write, so that after a crash it
is still known to be harmless to delete. Every other pod on a node with an entry counts as serving, and a serving
pod's entry is neither changed nor taken away here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dpunetop.domain.envfile import EntryRejected, NodeEntry, parse_entry, render_entry
from dpunetop.domain.names import IDLE_PODS_ANNOTATION, OVNKUBE_NODE_ENTRIES
from dpunetop.domain.ownership import Owner
from dpunetop.kube.keys import CONFIGMAPS
from dpunetop.kube.meta import Obj, annotations_of, is_terminating, name_of, new_object, uid_of


class Wait(StrEnum):
    """Why an entry is not as it was asked for."""

    HOST_NOT_CONFIGURED = "HostNotConfigured"
    ENTRY_CHANGE_PENDING = "EntryChangePending"
    ENTRY_REMOVAL_PENDING = "EntryRemovalPending"
    HOST_SERVED_BY_OTHER = "HostServedByOther"
    SEVERAL_PODS = "SeveralPods"


@dataclass(frozen=True, slots=True)
class Waiting:
    """One node whose entry is not as it was asked for; `message` is one line that names the node."""

    node: str
    reason: Wait
    message: str


@dataclass(frozen=True, slots=True)
class EntriesView:
    """What the decision looks at."""

    desired: Mapping[str, NodeEntry | EntryRejected]
    """As `envfile.parse_entries` gives it. A node that is not in it asks for nothing."""
    live: Obj | None
    """The ConfigMap as it is; None: there is none."""
    configured: frozenset[str]
    """Nodes whose host configuration has arrived (or needs none)."""
    pods: tuple[Obj, ...]
    """All pods of the DaemonSet."""
    overwritten: frozenset[str] = frozenset()
    """Nodes whose entry in `live` is somebody else's, so that it does not say what their pods have read."""


@dataclass(frozen=True, slots=True)
class EntriesPlan:
    """What to write, then which pods to delete, in this order."""

    data: Mapping[str, str]
    idle_pods: Mapping[str, str]
    """Node to the uid of its idle pod."""
    restart: tuple[Obj, ...]
    """Idle pods of nodes that have an entry now: to be deleted, with their uid, once the entries are written."""
    waiting: tuple[Waiting, ...]


def serving_nodes(live: Obj | None, pods: Iterable[Obj]) -> frozenset[str]:
    """Nodes that have an entry and a pod that is not known to be idle."""
    entries = _data(live)
    idle = _idle_pods(live)
    nodes = ((_node_of(pod), pod) for pod in pods if not _has_ended(pod))
    return frozenset(node for node, pod in nodes if node in entries and idle.get(node) != uid_of(pod))


def plan_entries(view: EntriesView) -> EntriesPlan:
    """Bring the entries to what is asked for, as far as nobody's network is touched.

    Guarantees: the entry of a serving node stays as it is, unless somebody else has written over it; a rejected entry
        leaves the last good one; a host is in one entry only, the one that had it first; a new entry waits for the host
        configuration. If the ConfigMap itself was deleted, pods that are there count as serving, because nothing says
        that they idle.
    """
    return _Planner(view).plan()


def entries_config_map(namespace: str, plan: EntriesPlan, owner: Owner) -> dict[str, Any]:
    """The desired ConfigMap, canonical for server-side apply."""
    desired = owner.mark(new_object(CONFIGMAPS, namespace, OVNKUBE_NODE_ENTRIES))
    if plan.idle_pods:
        text = json.dumps(dict(plan.idle_pods), sort_keys=True, separators=(",", ":"))
        desired["metadata"]["annotations"] = {IDLE_PODS_ANNOTATION: text}
    if plan.data:
        desired["data"] = dict(plan.data)
    return desired


class _Planner:
    """One run of the decision; the fields are its result as it grows."""

    def __init__(self, view: EntriesView) -> None:
        self._view = view
        self._live = _data(view.live)
        self._idle = _idle_pods(view.live)
        self._serving = serving_nodes(view.live, view.pods)
        self._pods: dict[str, list[Obj]] = {}
        for pod in sorted(view.pods, key=name_of):
            if not _has_ended(pod):
                self._pods.setdefault(_node_of(pod), []).append(pod)
        self._data: dict[str, str] = {}
        self._idle_out: dict[str, str] = {}
        self._restart: list[Obj] = []
        self._waiting: list[Waiting] = []
        self._host_of: dict[str, str] = {}  # host -> the node whose entry has it

    def plan(self) -> EntriesPlan:
        changes = [node for node in sorted(self._live) if not self._keep(node)]
        for node in changes:
            self._rewrite(node)
        for node in sorted(self._view.desired):
            if node not in self._live:
                self._add(node)
        waiting = tuple(sorted(self._waiting, key=lambda waiting: waiting.node))
        return EntriesPlan(self._data, self._idle_out, tuple(self._restart), waiting)

    def _keep(self, node: str) -> bool:
        """Settle a node whose live entry stays; False if it is to be rewritten or dropped."""
        wanted = self._view.desired.get(node)
        same = isinstance(wanted, EntryRejected) or (wanted is not None and render_entry(wanted) == self._live[node])
        if not same and (node not in self._serving or self._is_overwritten(node)):
            return False
        if not same:
            self._waiting.append(_serves(node, wanted, parse_entry(node, self._live[node])))
        self._write(node, self._live[node])
        return True

    def _is_overwritten(self, node: str) -> bool:
        return node in self._view.overwritten and isinstance(self._view.desired.get(node), NodeEntry)

    def _rewrite(self, node: str) -> None:
        wanted = self._view.desired.get(node)
        if isinstance(wanted, NodeEntry) and self._may_have(node, wanted.host):
            self._write(node, render_entry(wanted))
            return
        # Without an entry from here on; its pod, if it has one, is idle and learns of it by a fresh start.
        self._restart += [pod for pod in self._active(node) if uid_of(pod) == self._idle.get(node)]

    def _add(self, node: str) -> None:
        wanted = self._view.desired[node]
        if isinstance(wanted, EntryRejected) or not self._may_add(node, wanted):
            return
        there = self._active(node)
        if there and self._view.live is not None:
            self._idle[node] = uid_of(there[0])
        self._write(node, render_entry(wanted))

    def _may_add(self, node: str, wanted: NodeEntry) -> bool:
        if node not in self._view.configured:
            words = f"{node} gets its entry once its host configuration has arrived"
            self._waiting.append(Waiting(node, Wait.HOST_NOT_CONFIGURED, words))
            return False
        if len(self._active(node)) > 1:
            words = f"{node} gets its entry once only one ovnkube-node pod is left there"
            self._waiting.append(Waiting(node, Wait.SEVERAL_PODS, words))
            return False
        return self._may_have(node, wanted.host)

    def _may_have(self, node: str, host: str) -> bool:
        other = self._host_of.get(host)
        if other is None:
            return True
        words = f"{node} does not serve {host}, because {other} does"
        self._waiting.append(Waiting(node, Wait.HOST_SERVED_BY_OTHER, words))
        return False

    def _write(self, node: str, text: str) -> None:
        self._data[node] = text
        entry = parse_entry(node, text)
        if isinstance(entry, NodeEntry):
            self._host_of.setdefault(entry.host, node)
        for pod in self._pods.get(node, []):
            if uid_of(pod) == self._idle.get(node):
                self._idle_out[node] = uid_of(pod)
                if not is_terminating(pod):
                    self._restart.append(pod)

    def _active(self, node: str) -> list[Obj]:
        return [pod for pod in self._pods.get(node, []) if not is_terminating(pod)]


def _serves(node: str, wanted: NodeEntry | EntryRejected | None, live: NodeEntry | EntryRejected) -> Waiting:
    host = live.host if isinstance(live, NodeEntry) else "its host"
    if wanted is None:
        words = f"{node} keeps serving {host}, although its entry was removed"
        return Waiting(node, Wait.ENTRY_REMOVAL_PENDING, words)
    words = f"{node} keeps serving {host} with its old entry; the new one waits until the node no longer serves"
    return Waiting(node, Wait.ENTRY_CHANGE_PENDING, words)


def _data(live: Obj | None) -> Mapping[str, str]:
    return (live or {}).get("data") or {}


def _idle_pods(live: Obj | None) -> dict[str, str]:
    """Raises nothing: an annotation that somebody has broken says of no pod that it idles."""
    if live is None:
        return {}
    try:
        found = json.loads(annotations_of(live).get(IDLE_PODS_ANNOTATION, "{}"))
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {node: uid for node, uid in found.items() if isinstance(uid, str) and uid}


def _node_of(pod: Obj) -> str:
    return str((pod.get("spec") or {}).get("nodeName", ""))


def _has_ended(pod: Obj) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
