"""The narration of a sandbox: one line for each fact that changes."""

from __future__ import annotations

import queue
from collections.abc import Mapping
from typing import Any

from dpunetop.domain.names import (
    DPU_NODE_LABEL,
    DPUCLUSTERCONFIGS,
    MACHINECONFIGPOOLS,
    MACHINECONFIGS,
    OVNKUBE_NODE,
    OWNER_LABEL,
)
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.keys import CONFIGMAPS, DAEMONSETS, INFRA, NODES, PODS, SECRETS, SERVICEACCOUNTS
from dpunetop.kube.meta import Obj, is_terminating, labels_of, name_of, namespace_of
from dpunetop.sandbox.controlplane import ControlPlane
from dpunetop.sandbox.standins.engine import StandInEngine

_FOLLOWED = (
    DPUCLUSTERCONFIGS,
    MACHINECONFIGPOOLS,
    MACHINECONFIGS,
    NODES,
    SERVICEACCOUNTS,
    SECRETS,
    CONFIGMAPS,
    DAEMONSETS,
    PODS,
)

Topic = tuple[str, ...]
"""The subject of a fact."""


class View:
    """Watches the infra cluster and returns a line for each change.

    Guarantees: a fact is reported once until it changes.
    Threads: `close` and `next_line` by one thread; the watches have threads of their own.
    """

    def __init__(self, infra: ControlPlane, namespace: str, pool: str) -> None:
        self._namespace = namespace
        self._pool = pool
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._said: dict[Topic, str] = {}  # a topic belongs to one kind, whose cache calls from one thread
        self._engine = StandInEngine(infra, INFRA)
        for resource in _FOLLOWED:
            self._engine.follow(resource, self._saw)
        self._engine.start()

    def close(self) -> None:
        """End the watches; may be called again."""
        self._engine.close()

    def next_line(self, timeout: float) -> str | None:
        """The next line; None if nothing changes within `timeout` seconds."""
        try:
            return self._lines.get(timeout=timeout)
        except queue.Empty:
            return None

    def _saw(self, obj: Obj) -> None:
        for topic, text in facts(obj, self._namespace, self._pool).items():
            if self._said.get(topic) != text:
                self._said[topic] = text
                self._lines.put(" ".join((*topic, text)))


def facts(obj: Obj, namespace: str, pool: str) -> Mapping[Topic, str]:
    """The facts about an object, by topic; none for most objects."""
    match obj.get("kind"):
        case "DpuClusterConfig" if namespace_of(obj) == namespace:
            return _conditions(obj)
        case "MachineConfigPool" if name_of(obj) == pool:
            return {**_owned(obj), ("pool", pool): _progress(obj)}
        case "Node" if DPU_NODE_LABEL in labels_of(obj):
            return {("node", name_of(obj)): _node(obj)}
        case "Pod" if namespace_of(obj) == namespace and labels_of(obj).get("app") == OVNKUBE_NODE:
            return {("pod", name_of(obj)): _pod(obj)}
        case "DaemonSet" if OWNER_LABEL in labels_of(obj):
            return {**_owned(obj), ("rollout", name_of(obj)): _rollout(obj)}
        case _:
            return _owned(obj)


def _owned(obj: Obj) -> Mapping[Topic, str]:
    if OWNER_LABEL not in labels_of(obj):
        return {}
    return {("object", str(obj["kind"]), name_of(obj)): "going" if is_terminating(obj) else "applied"}


def _conditions(config: Obj) -> Mapping[Topic, str]:
    found = (config.get("status") or {}).get("conditions") or []
    return {("condition", c["type"]): f"{c['status']} {c['reason']} {c['message']}".rstrip() for c in found}


def _progress(pool: Obj) -> str:
    status = pool.get("status") or {}
    total, updated, ready = (status.get(f"{kind}Count", 0) for kind in ("machine", "updatedMachine", "readyMachine"))
    return f"{updated} of {total} updated, {ready} ready"


def _node(node: Obj) -> str:
    words = ["Ready" if _is_true(node, "Ready") else "NotReady"]
    if (node.get("spec") or {}).get("unschedulable"):
        words.append("cordoned")
    return ", ".join(words)


def _pod(pod: Obj) -> str:
    node = (pod.get("spec") or {}).get("nodeName")
    phase = (pod.get("status") or {}).get("phase", "Pending")
    state = "ending" if is_terminating(pod) else "Ready" if _is_true(pod, "Ready") else phase
    return f"{state} on {node}" if node else state


def _rollout(daemonset: Obj) -> str:
    status: Mapping[str, Any] = daemonset.get("status") or {}
    return f"{status.get('numberReady', 0)} of {status.get('desiredNumberScheduled', 0)} pods Ready"


def _is_true(obj: Obj, condition: str) -> bool:
    return (condition_of(obj, condition) or {}).get("status") == "True"
