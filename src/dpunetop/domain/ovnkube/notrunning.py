"""Why pods do not come to run: refused by the API server, unplaced, or without what their containers need.

Sources, in pkg/controller of Kubernetes: a ReplicaSet that may not make a pod says so in its condition `ReplicaFailure`
(replicaset/replica_set_utils.go), which its Deployment repeats (deployment/progress.go); a DaemonSet has no such
condition and says it in Events with reason `FailedCreate` alone (controller_utils.go). A pod that finds no node has
`PodScheduled` False; what a container waits for is in its status.
"""

from __future__ import annotations

from collections.abc import Iterable

from dpunetop.base.quoting import named, sentence
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.meta import Obj, is_terminating, name_of
from dpunetop.kube.shapes import at, mappings

_USUAL_WAITS = ("", "ContainerCreating", "PodInitializing")
FAILED_CREATE = "FailedCreate"
"""Reason of Events about pods that the API server does not take: Pod Security, SecurityContextConstraints, quota."""


def why_not_running(deployment: Obj | None, pods: Iterable[Obj]) -> str:
    """Why no pod of a Deployment runs, in one line; empty: nothing is known to be in the way."""
    found = (why_pod_waits(pod) for pod in sorted(pods, key=name_of))
    return _not_made(deployment) or next((why for why in found if why), "")


def why_pod_waits(pod: Obj) -> str:
    """What keeps one pod from running, in one line; empty: nothing that does not come by itself."""
    if is_terminating(pod):
        return ""
    where = f"pod {named(name_of(pod))}"
    placed = condition_of(pod, "PodScheduled") or {}
    if placed.get("status") == "False":
        return f"{where} finds no room: {sentence(str(placed.get('message') or placed.get('reason') or ''))}"
    for status in mappings(at(pod, "status", "containerStatuses")):
        waits = at(status, "state", "waiting")
        reason = str(at(waits, "reason") or "")
        if reason not in _USUAL_WAITS:
            return f"{where}, container {named(str(status.get('name')))}: {named_reason(reason)}{_said(waits)}"
    return ""


def named_reason(reason: str) -> str:
    """A reason from the kubelet, or from any writer of the pod's status; bounded."""
    return reason if reason.isascii() and reason.isalpha() and len(reason) <= 40 else sentence(reason, 40)


def why_refused(events: Iterable[Obj]) -> str:
    """The newest refusal among Events about pods that could not be made; empty: none."""
    found = [event for event in events if event.get("reason") == FAILED_CREATE and event.get("note")]
    newest = max(found, key=_seen_at, default=None)
    return "" if newest is None else sentence(str(newest["note"]), 300)


def _not_made(deployment: Obj | None) -> str:
    said = {} if deployment is None else condition_of(deployment, "ReplicaFailure") or {}
    if said.get("status") != "True":
        return ""
    return f"the API server refuses its pod: {sentence(str(said.get('message') or said.get('reason') or ''), 300)}"


def _said(waits: object) -> str:
    message = at(waits, "message") if isinstance(waits, dict) else None
    return f": {sentence(str(message))}" if message else ""


def _seen_at(event: Obj) -> str:
    """Times of the API compare as text."""
    return str(
        at(event, "series", "lastObservedTime") or event.get("eventTime") or event.get("deprecatedLastTimestamp")
    )
