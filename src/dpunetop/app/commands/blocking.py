"""What blocks the drain of a tenant host: its pods, and the PodDisruptionBudgets that allow no eviction of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dpunetop.app.commands.unlooked import unlooked_words
from dpunetop.base.quoting import named
from dpunetop.domain.names import PODDISRUPTIONBUDGETS
from dpunetop.kube.keys import PODS
from dpunetop.kube.meta import Obj, annotations_of, is_terminating, labels_of, name_of, namespace_of
from dpunetop.kube.requests import Selection
from dpunetop.kube.selectors import matches
from dpunetop.kube.shapes import at, mappings
from dpunetop.runtime.reading import NotEngaged, NotSynced, Reader

MOST_PODS = 10
_MIRROR = "kubernetes.io/config.mirror"


@dataclass(frozen=True, slots=True)
class LeftPod:
    """A pod that a drain of the host has to evict."""

    namespace: str
    name: str
    phase: str
    is_terminating: bool
    finalizers: tuple[str, ...]
    """What has to let it go before it is gone."""
    budgets: tuple[str, ...]
    """Those that allow no eviction of it now, by name."""

    @property
    def words(self) -> str:
        """Pod and budgets by name."""
        state = self._ending if self.is_terminating else f"is {named(self.phase.lower() or 'unknown')}"
        pod = f"pod {named(self.namespace)}/{named(self.name)} of the tenant {state}"
        if not self.budgets:
            return pod
        budgets = ", ".join(f"{named(self.namespace)}/{named(each)}" for each in self.budgets)
        return f"{pod}; PodDisruptionBudget {budgets} allows no eviction of it now"

    @property
    def _ending(self) -> str:
        held = ", ".join(map(named, self.finalizers))
        return f"is terminating, and held by its finalizer {held}" if held else "is terminating"


def left_pods(reader: Reader, cluster: str, host: str) -> tuple[LeftPod, ...]:
    """The pods that a drain of the host waits for, first those that a budget blocks. Raises: NotEngaged, NotSynced.

    Source: kubectl's pkg/drain/filters.go: pods of DaemonSets, mirror pods and those that have ended do not count.
    """
    pods = [pod for pod in reader.list(cluster, Selection(PODS, "", f"spec.nodeName={host}")) if _counts(pod)]
    budgets = {where: _closed(reader, cluster, where) for where in {namespace_of(pod) for pod in pods}}
    found = [_left(pod, budgets[namespace_of(pod)]) for pod in pods]
    return tuple(sorted(found, key=lambda each: (not each.budgets, each.namespace, each.name)))


def _counts(pod: Obj) -> bool:
    owners = mappings(at(pod, "metadata", "ownerReferences"))
    has_ended = at(pod, "status", "phase") in ("Succeeded", "Failed")
    is_daemon = any(each.get("kind") == "DaemonSet" and each.get("controller") for each in owners)
    return not (has_ended or is_daemon or _MIRROR in annotations_of(pod))


def _closed(reader: Reader, cluster: str, namespace: str) -> Sequence[Obj]:
    found: Iterable[Obj] = reader.list(cluster, Selection(PODDISRUPTIONBUDGETS, namespace))
    return [each for each in found if at(each, "status", "disruptionsAllowed") == 0]


def _left(pod: Obj, closed: Sequence[Obj]) -> LeftPod:
    selectors = ((name_of(each), at(each, "spec", "selector")) for each in closed)
    holding = (name for name, each in selectors if _covers(each, pod))
    phase = str(at(pod, "status", "phase") or "")
    return LeftPod(
        namespace_of(pod), name_of(pod), phase, is_terminating(pod), _finalizers(pod), tuple(sorted(holding))
    )


def _finalizers(pod: Obj) -> tuple[str, ...]:
    found = at(pod, "metadata", "finalizers")
    return tuple(map(str, found)) if isinstance(found, list) else ()


def _covers(selector: object, pod: Obj) -> bool:
    """Whether a budget's selector matches a pod. Source: policy/v1, where an empty selector matches all pods and a
    missing one none."""
    return isinstance(selector, dict) and (not selector or matches(selector, labels_of(pod)))


def seen_pods(reader: Reader, cluster: str, host: str) -> tuple[tuple[LeftPod, ...], str]:
    """The same; if the tenant cannot be read: no pods, and why."""
    try:
        return left_pods(reader, cluster, host), ""
    except (NotEngaged, NotSynced) as err:
        return (), f"the pods of host {named(host)} were not looked at: {unlooked_words(err)}"
