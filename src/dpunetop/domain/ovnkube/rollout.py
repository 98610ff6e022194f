"""The rollout of OVN-Kubernetes on the DPUs: what keeps a pair from serving, and how far the DaemonSet is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dpunetop.base.quoting import quoted
from dpunetop.domain.names import DPU_NODE_LABEL, ENV_OVERRIDES, OVNKUBE_NODE, TENANT_NODE_ANNOTATION, TENANT_NODE_ENV
from dpunetop.domain.ovnkube.notrunning import why_pod_waits, why_refused
from dpunetop.domain.ovnkube.pod import has_newest_template, newest_template, proven_template
from dpunetop.domain.ovnkube.unready import Cause, held_up
from dpunetop.domain.pairing.entries import PASSING, EntriesState, EntryWait, Waiting
from dpunetop.domain.pairing.pairing import host_of
from dpunetop.domain.reasons import OVN_KUBE_READY
from dpunetop.kube.compact import node_of
from dpunetop.kube.conditions import Condition, condition_of
from dpunetop.kube.meta import Obj, generation_of, is_terminating, uid_of


@dataclass(frozen=True, slots=True)
class RolloutView:
    """The facts by which the rollout is judged."""

    has_pairing: bool
    """Whether the ConfigMap `env-overrides` exists, or a Node names its host."""
    rejected: Sequence[str]
    """Lines about entries that are refused."""
    ignored: Sequence[str]
    """Keys of `env-overrides` that are no Node's name."""
    dropped: Sequence[str]
    """DPUs that serve and that the selector no longer picks."""
    entries: EntriesState
    daemonset: Obj | None
    pods: Sequence[Obj]
    refusals: Sequence[Obj] = ()
    """Events about pods that could not be made."""


def judge_rollout(view: RolloutView) -> Condition:
    """`OvnKubeReady`: the first thing that keeps a pair from serving, else how far the DaemonSet is.

    Guarantees: a rejected entry is named first, with the number of DPUs that serve; keys that are not names of Nodes
        are named too, and never make the condition False.
    """
    found = _trouble(view) or _progress(view)
    reason, message = found or ("Serving", f"{len(view.entries.data)} DPUs serve their hosts")
    if view.ignored:
        message = f"{message}. {_told(view.ignored)}"
    return Condition(OVN_KUBE_READY, "False" if found else "True", reason, message)


def template_to_keep(view: RolloutView) -> str:
    """Hash of the last template with which a DPU was seen to serve, for the DaemonSet's annotation; empty: none.

    Guarantees: a template whose pods do not become Ready never replaces one whose pods did.
    """
    if view.daemonset is None:
        return ""
    return newest_template(view.daemonset) if _serving(view) else proven_template(view.daemonset)


def _told(ignored: Sequence[str]) -> str:
    keys = some([quoted(key) for key in ignored])
    return f"Ignored in {ENV_OVERRIDES}, because no Node can have such a name: {keys}"


def _trouble(view: RolloutView) -> tuple[str, str] | None:
    if not view.has_pairing:
        words = f"does not exist, nor has a Node the annotation {TENANT_NODE_ANNOTATION}"
        return "EnvOverridesMissing", f"ConfigMap {ENV_OVERRIDES} {words}: they say which DPU serves which host"
    if view.rejected:
        serving = len(_serving(view))
        return "EntryRejected", f"{some(view.rejected)}. No other DPU is touched by that: {serving} serve their hosts"
    if view.dropped:
        return "SelectorDropsServing", f"spec.nodeSelector would drop DPUs that serve: {some(view.dropped)}; they stay"
    if view.entries.waiting:
        return _waits(view.entries.waiting)
    if not view.entries.data:
        return "NoPairs", f"no DPU serves a host: {ENV_OVERRIDES} has no entry with {TENANT_NODE_ENV}"
    return None


def _waits(waiting: Sequence[Waiting]) -> tuple[str, str]:
    """Waits that need a person come first. Of those that pass only the earliest is reported: each DPU goes through all
    of them, and the reason must not go back and forth."""
    stuck = [each for each in waiting if each.reason not in PASSING]
    earliest = next(reason for reason in (*(each.reason for each in stuck), *PASSING) if _of(waiting, reason))
    return earliest.value, some([each.message for each in stuck] or _of(waiting, earliest))


def _of(waiting: Sequence[Waiting], reason: EntryWait) -> list[str]:
    return [each.message for each in waiting if each.reason is reason]


def _progress(view: RolloutView) -> tuple[str, str] | None:
    """How far the DaemonSet is; None: it is done.

    Judged by its pods: the numbers in its status count idle pods too, and lag behind the pods, so `OvnKubeReady` would
    go back and forth.
    """
    if view.daemonset is None:
        return "Progressing", "the DaemonSet is being created"
    status = view.daemonset.get("status") or {}
    if status.get("observedGeneration", 0) != generation_of(view.daemonset):
        return "Progressing", "the DaemonSet's newest generation is not observed yet"
    if not status.get("desiredNumberScheduled", 0):
        return (
            "NoNodes",
            f"the DaemonSet finds no node: DPU nodes need the labels of spec.nodeSelector and {DPU_NODE_LABEL}",
        )
    if silent := sorted(set(view.entries.data) - _serving(view)):
        words = f"no up-to-date pod serves yet on {some(silent)}"
        return _held_up(view, view.daemonset, silent) or _not_running(view, silent) or ("Progressing", words)
    return None


def _held_up(view: RolloutView, daemonset: Obj, silent: Sequence[str]) -> tuple[str, str] | None:
    """The first reason why pods wait for something that a person has to provide."""
    found = {
        node_of(pod): held
        for pod in view.pods
        if not is_terminating(pod) and has_newest_template(daemonset, pod) and (held := held_up(pod)) is not None
    }
    told = [(dpu, found[dpu]) for dpu in silent if dpu in found]
    first = next((cause for cause in Cause if any(held.cause is cause for _, held in told)), None)
    if first is None:
        return None
    host = {dpu: host_of(dpu, text) or "without a name" for dpu, text in view.entries.data.items()}
    return first.value, some([held.sentence(dpu, host[dpu]) for dpu, held in told if held.cause is first])


def _not_running(view: RolloutView, silent: Sequence[str]) -> tuple[str, str] | None:
    """Why pods do not run at all: the API server refuses them, no node has room, or the image cannot be pulled."""
    found: dict[str, str] = {}
    for pod in view.pods:
        if why := why_pod_waits(pod):
            found.setdefault(node_of(pod), why)
    host = {dpu: host_of(dpu, text) or "without a name" for dpu, text in view.entries.data.items()}
    waits = [f"DPU {dpu} cannot serve host {host[dpu]}: {found[dpu]}" for dpu in silent if dpu in found]
    if waits:
        return "PodsNotRunning", some(waits)
    there = {node_of(pod) for pod in view.pods}
    missing = [f"DPU {dpu} cannot serve host {host[dpu]}" for dpu in silent if dpu not in there]
    if missing and (why := why_refused(view.refusals)):
        return "PodsNotAdmitted", f"{some(missing)}: the API server refuses pods of DaemonSet {OVNKUBE_NODE}: {why}"
    return None


def _serving(view: RolloutView) -> set[str]:
    """Nodes with an entry whose pod is Ready, has the newest template, and is not idle."""
    daemonset, idle = view.daemonset, set(view.entries.idle_pods.values())
    if daemonset is None:
        return set()
    ready = (pod for pod in view.pods if _is_ready(pod) and not is_terminating(pod) and uid_of(pod) not in idle)
    nodes = {node_of(pod) for pod in ready if has_newest_template(daemonset, pod)}
    return nodes & set(view.entries.data)


def some(words: Sequence[str], most: int = 5) -> str:
    """The first few of `words`, and how many more there are."""
    return "; ".join(words[:most]) + (f"; and {len(words) - most} more" if len(words) > most else "")


def _is_ready(pod: Obj) -> bool:
    return (condition_of(pod, "Ready") or {}).get("status") == "True"
