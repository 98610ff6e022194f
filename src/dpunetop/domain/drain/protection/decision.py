"""Rule 1, a DPU serves only under protection: the order of the writes to one DPU's blocker, budget and entry.

On the way in the budget is closed, then the blocker must be Ready and the node schedulable, and only then the entry is
written, without which the pod serves no host. On the way back the entry is removed first, then the pods that may have
read it, and only then the budget is opened. A fact that is unknown never opens a budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dpunetop.domain.clusterconfig.access import Access
from dpunetop.domain.drain.model.calls import Task
from dpunetop.domain.drain.model.facts import Budget, DpuNode, DpuView, HostRef
from dpunetop.domain.drain.protection.blockers import BlockerSettings, blocker, first_budget
from dpunetop.domain.drain.protection.tasks import (
    DesiredEntry,
    KeepPods,
    ProtectDpu,
    ReleaseBudget,
    StopServing,
    TakeEntry,
)
from dpunetop.domain.names import OWNER_LABEL, PODDISRUPTIONBUDGETS
from dpunetop.kube.keys import DEPLOYMENTS, INFRA
from dpunetop.kube.meta import Obj, labels_of
from dpunetop.kube.plan import Apply, Fence, Ownership


class ProtectionPhase(StrEnum):
    """The phase of one DPU's protection, as conditions show it."""

    BLOCKER_MISSING = "BlockerMissing"
    """Blocker or budget are about to be created."""
    NOT_OURS = "NotOurs"
    """Blocker or budget are not ours: they are left alone, and the DPU serves no host."""
    NOT_SERVING = "NotServing"
    """The budget is open: the DPU serves no host, and its drain is not held."""
    CLOSING = "Closing"
    BLOCKER_NOT_READY = "BlockerNotReady"
    """The budget is closed over a pod that is not Ready, which it does not guard."""
    NODE_CORDONED = "NodeCordoned"
    """Closed; the entry waits until the node is schedulable."""
    ENTRY_PENDING = "EntryPending"
    """Closed and guarded: the entry is about to be written."""
    SERVING = "Serving"
    REMOVAL_PENDING = "RemovalPending"
    """It serves a host that it is no longer paired with, until that host is drained."""
    LEAVING = "Leaving"
    """The entry is removed; pods that may have read it have yet to end."""


@dataclass(frozen=True, slots=True)
class Entries:
    """The part of the ConfigMap of entries that concerns one DPU."""

    namespace: str
    host: str | None
    """Host that the DPU's entry names; None: it has none."""
    text: str = ""
    """The current entry; empty: unknown, or there is none."""
    foreign: bool = False
    """Whether another client overwrote it, so that it does not show the entry that pods have read."""
    idle: frozenset[str] = frozenset()
    """UIDs of pods that are known to have read no entry."""


@dataclass(frozen=True, slots=True)
class ProtectionView:
    """All facts of the decision about one DPU's protection."""

    dpu: DpuView
    settings: BlockerSettings
    host_ref: HostRef
    """Its `host` is the one in the budget, else the one with which the DPU is paired, else empty."""
    deployment: Obj | None
    pairing: str | None
    """Host with which it is validly paired; None: none, or the pairing is ambiguous."""
    text: str
    """Its desired entry; empty: another DPU serves the host, and this one only counts for its drains."""
    configured: bool
    """Whether its Node runs its host configuration, or needs none."""
    is_tenant_known: bool
    """Whether the identity of the tenant cluster is known. Before that other claims to the host are unknown, and a
    protection for it counts as one."""
    entries: Entries
    drained: bool
    """Whether the host that it serves is drained or absent, so that the pair may end."""
    active: bool
    """Whether its drain is wanted or a cycle runs: then its blocker is not rolled."""
    access: Access = Access.GIVEN
    """Whether entries and pods may be read and written."""


@dataclass(frozen=True, slots=True)
class Protection:
    """The next steps, and the phase."""

    upkeep: tuple[Apply, ...]
    """The desired blocker and first budget, for the executor, which skips writes that would change nothing."""
    task: Task | None
    """The task after that."""
    guarding: ProtectionPhase
    entry: DesiredEntry | None = None
    """The entry that may be written now, with those of all other DPUs in one write; see `PutEntries`."""


def decide_protection(view: ProtectionView) -> Protection:
    """The next step for one DPU.

    Guarantees: the budget of a DPU that is found serving is closed in any case; it never opens while an entry or a pod
        that serves is left; the decision does not depend on whether the tenant can be reached.
    """
    if not _is_ours(view):
        return Protection((), None, ProtectionPhase.NOT_OURS)
    if view.access is not Access.GIVEN:
        return Protection((), *_out_of_reach(view))
    task, guarding = _next(view)
    entry = _entry(view) if guarding is ProtectionPhase.ENTRY_PENDING else None
    return Protection(_upkeep(view), task, guarding, entry)


def _next(view: ProtectionView) -> tuple[Task | None, ProtectionPhase]:
    budget = view.dpu.budget
    if budget is None:
        return None, ProtectionPhase.BLOCKER_MISSING
    if not budget.serves:
        return _not_serving(view, budget)
    if budget.leaving and view.pairing == view.entries.host == budget.serves:
        return KeepPods(view.host_ref, view.dpu.name, view.entries.namespace), ProtectionPhase.CLOSING
    if budget.leaving or view.pairing != budget.serves:
        return _way_back(view, budget)
    return _way_in(view, budget)


def _is_ours(view: ProtectionView) -> bool:
    live, budget = view.deployment, view.dpu.budget
    mine = live is None or labels_of(live).get(OWNER_LABEL) == view.settings.owner
    return mine and (budget is None or budget.ours)


def _upkeep(view: ProtectionView) -> tuple[Apply, ...]:
    """A blocker is rolled only while no pod of it can be evicted meanwhile; the budget is created once, and every later
    write carries the version that was read (rule 2)."""
    name, manager, steps = view.dpu.name, view.host_ref.author.field_manager, []
    if view.deployment is None or _may_roll(view):
        desired, live = blocker(view.settings, name), view.deployment
        steps.append(Apply(INFRA, DEPLOYMENTS, desired, live, manager, ownership=Ownership.WHOLE))
    if view.dpu.budget is None:
        first = first_budget(view.settings, name, _host_to_guard(view) or "")
        steps.append(Apply(INFRA, PODDISRUPTIONBUDGETS, first, None, manager, Fence.VERSION))
    return tuple(steps)


def _may_roll(view: ProtectionView) -> bool:
    """With two Ready pods one could be evicted, so a blocker is never rolled near a drain."""
    node = view.dpu.node
    return isinstance(node, DpuNode) and not node.cordoned and not view.active


def _not_serving(view: ProtectionView, budget: Budget) -> tuple[Task | None, ProtectionPhase]:
    host = _host_to_guard(view)
    if host is None:
        return None, ProtectionPhase.NOT_SERVING
    return ProtectDpu(view.host_ref, view.dpu.name, host, budget), ProtectionPhase.CLOSING


def _host_to_guard(view: ProtectionView) -> str | None:
    """The host that the DPU serves already, or that it may begin to serve now."""
    node = view.dpu.node
    if view.entries.host is not None:
        return view.entries.host
    may_begin = isinstance(node, DpuNode) and not node.cordoned and view.configured and view.is_tenant_known
    return view.pairing if may_begin else None


def _way_in(view: ProtectionView, budget: Budget) -> tuple[Task | None, ProtectionPhase]:
    node = view.dpu.node
    if view.entries.host == budget.serves and not _may_change(view):
        return None, ProtectionPhase.SERVING if view.dpu.blocker_ready else ProtectionPhase.BLOCKER_NOT_READY
    if not view.dpu.blocker_ready:
        return None, ProtectionPhase.BLOCKER_NOT_READY
    if not isinstance(node, DpuNode) or node.cordoned:
        return None, ProtectionPhase.NODE_CORDONED
    if not view.text or budget.is_open:
        return None, ProtectionPhase.SERVING
    return None, ProtectionPhase.ENTRY_PENDING


def _entry(view: ProtectionView) -> DesiredEntry:
    return DesiredEntry(view.host_ref, view.dpu.name, view.text, view.dpu.blocker)


def _may_change(view: ProtectionView) -> bool:
    """Whether the entry differs from the desired one and no pod has read it."""
    changed = bool(view.text) and view.entries.text not in ("", view.text)
    return changed and (view.entries.foreign or all(pod.uid in view.entries.idle for pod in view.dpu.pods))


def _way_back(view: ProtectionView, budget: Budget) -> tuple[Task | None, ProtectionPhase]:
    if view.entries.host is not None:
        if not _may_be_let_go(view) and (view.dpu.pods or view.dpu.parting):
            return None, ProtectionPhase.REMOVAL_PENDING
        parting = TakeEntry(view.host_ref, view.dpu.name, view.entries.namespace, view.drained)
        return parting, ProtectionPhase.LEAVING
    if budget.is_open:
        return None, ProtectionPhase.LEAVING  # the drain's tasks close it first
    going = [pod for pod in view.dpu.pods if pod.uid in budget.leaving]
    if going and all(pod.terminating for pod in going):
        return None, ProtectionPhase.LEAVING  # the kubelet ends them, and their deletion wakes us
    return StopServing(view.host_ref, view.dpu.name, view.entries.namespace), ProtectionPhase.LEAVING


def _may_be_let_go(view: ProtectionView) -> bool:
    """Whether the host may lose its network: it is drained or absent, and no person holds it. A removal that has begun
    goes on."""
    node = view.dpu.node
    return view.drained and not (isinstance(node, DpuNode) and node.held)


def _out_of_reach(view: ProtectionView) -> tuple[Task | None, ProtectionPhase]:
    """The steps while entries and pods cannot be reached. The host is drained first, unless its pod is being deleted or
    a person forces the deletion."""
    budget = view.dpu.budget
    if budget is None or not budget.serves:
        return None, ProtectionPhase.NOT_SERVING
    if view.dpu.parting and not _may_be_let_go(view):
        return None, ProtectionPhase.REMOVAL_PENDING
    return ReleaseBudget(view.host_ref, view.dpu.name, view.entries.namespace, view.drained), ProtectionPhase.LEAVING
