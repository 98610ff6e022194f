"""A host without network outside a drain: since when and why, as infra shows its DPU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from dpunetop.base.quoting import named, quoted, sentence
from dpunetop.domain.drain.model.readers import dpu_node, is_ready_pod
from dpunetop.domain.ovnkube.notrunning import OTHER_MACHINE, tells_other_machine
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.meta import Obj, is_terminating, name_of, uid_of
from dpunetop.kube.shapes import at, mappings

STARTING_SECONDS = 120
"""Time that a new pod, or the next one, may take before its host counts as without a network: pods are replaced when
their template changes."""
SUSPECT_NODES = 3
SUSPECT_SHARE = 3
"""If at least this many Nodes of infra are not Ready, and at least one of this many, infra itself is suspected, not its
DPUs."""


@dataclass(frozen=True, slots=True)
class Outage:
    """A host without a network."""

    host: str
    dpu: str
    since: int
    """Seconds of the epoch."""
    cause: str
    told_from: int
    """Until then it may be only a pod that starts."""
    is_dated: bool = True
    """Whether infra shows when it began. If not, it may have begun earlier, with the previous pod."""

    def is_told(self, now: int) -> bool:
        """Whether it is reported."""
        return now >= self.told_from

    @property
    def words(self) -> str:
        """The host, since when, and why."""
        return f"host {named(self.host)} has no network since {spelled(self.since)}: {self.cause}"


@dataclass(frozen=True, slots=True)
class Serving:
    """The DPU that serves a host, as infra shows it, in a cache or in a fresh read."""

    host: str
    dpu: str
    node: Obj | None
    pods: Sequence[Obj]
    idle: str = ""
    """UID of a pod that has read no entry, and so serves no host."""


def find_outage(serving: Serving, now: int, before: Outage | None = None) -> Outage | None:
    """The failure of the DPU that serves a host, as far as infra shows one; None: none.

    `before` is the previous result: an outage whose beginning infra does not show keeps that of `before`.
    """
    node, pod = _node_outage(serving, now), _pod_outage(serving, now)
    found = node or pod
    if node is not None and pod is not None and pod.is_dated:
        found = replace(node, since=min(node.since, pod.since), is_dated=node.is_dated)
    if found is None or found.is_dated or before is None or before.dpu != found.dpu:
        return found
    return replace(found, since=min(before.since, found.since), told_from=min(before.told_from, found.told_from))


def is_disrupted(nodes: Iterable[Obj]) -> bool:
    """Whether so many Nodes of infra are not Ready that infra itself is suspected.

    Source: the node lifecycle controller of Kubernetes judges zones in the same way, from 55 % on; a cordon is never
        urgent, so a third is enough here.
    """
    ready = [dpu_node(node).ready for node in nodes]
    lost = len(ready) - sum(ready)
    return lost == len(ready) or (lost >= SUSPECT_NODES and lost * SUSPECT_SHARE >= len(ready))


def spelled(seconds: int) -> str:
    """A time as people read it, and as the API writes it."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return "long ago"


def _node_outage(serving: Serving, now: int) -> Outage | None:
    host, dpu, node = serving.host, serving.dpu, serving.node
    if node is None:
        return Outage(host, dpu, now, f"the node of DPU {named(dpu)} is gone", now, is_dated=False)
    if dpu_node(node).ready:
        return None
    said = condition_of(node, "Ready")
    cause = f"DPU node {named(dpu)} is not Ready{_because(said)}"
    return Outage(host, dpu, _moment(at(said, "lastTransitionTime"), now), cause, now)


def _pod_outage(serving: Serving, now: int) -> Outage | None:
    host, dpu = serving.host, serving.dpu
    pods = [pod for pod in serving.pods if uid_of(pod) != serving.idle]
    if any(is_ready_pod(pod) for pod in pods):
        return None
    staying = [pod for pod in pods if not is_terminating(pod)]
    if not staying:
        cause = f"no ovnkube-node pod runs on DPU {named(dpu)}"
        return Outage(host, dpu, now, cause, now + STARTING_SECONDS, is_dated=False)
    pod = staying[0]
    made = _moment(at(pod, "metadata", "creationTimestamp"), now)
    since = _moment(at(condition_of(pod, "Ready"), "lastTransitionTime"), now, made)
    cause = f"pod {named(name_of(pod))} on DPU {named(dpu)} is not Ready{_why(pod)}"
    is_new = since - made < STARTING_SECONDS
    told_from = made + STARTING_SECONDS if is_new and not _has_failed(pod) else now
    return Outage(host, dpu, since, cause, told_from, is_dated=not is_new)


def _why(pod: Obj) -> str:
    """The first container that does not run; its last end says more than its wait for the next start."""
    failing = [each for each in _containers(pod) if not each.get("ready")]
    for each in failing:
        if ended := _ended(each):
            code = at(ended, "exitCode")
            reason = str(at(ended, "reason") or "Error")
            exit_code = f", exit code {code}" if isinstance(code, int) else ""
            # Of a pull nothing is read: a kubelet says why only every other time, and the cause would go to and fro.
            built = f": {OTHER_MACHINE}" if tells_other_machine(at(ended, "message")) else ""
            return f": container {quoted(str(each.get('name')))} ended with {quoted(reason)}{exit_code}{built}"
    for each in failing:
        if isinstance(waits := at(each, "state", "waiting", "reason"), str):
            return f": container {quoted(str(each.get('name')))} waits: {quoted(_PULLS.get(waits, waits))}"
    return _because(condition_of(pod, "Ready"))


_PULLS: Mapping[str, str] = {"ErrImagePull": "ImagePullBackOff"}
"""A kubelet reports these reasons alternately, so they count as one."""


def _has_failed(pod: Obj) -> bool:
    return any(_ended(each) for each in _containers(pod) if not each.get("ready"))


def _ended(container: Mapping[str, Any]) -> object:
    return at(container, "state", "terminated") or at(container, "lastState", "terminated")


def _containers(pod: Obj) -> Sequence[Mapping[str, Any]]:
    return mappings(at(pod, "status", "containerStatuses"))


def _because(condition: object) -> str:
    reason, message = str(at(condition, "reason") or ""), str(at(condition, "message") or "")
    found = [*([quoted(reason)] if reason else []), *([sentence(message, 100)] if message else [])]
    return f" ({': '.join(found)})" if found else ""


def _moment(text: object, now: int, otherwise: int | None = None) -> int:
    """A time that infra wrote, never later than now; `otherwise`, or now, where it wrote none."""
    fallback = now if otherwise is None else otherwise
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
        return fallback if found is None or found.tzinfo is None else min(int(found.timestamp()), now)
    except (ValueError, OverflowError):
        return fallback
