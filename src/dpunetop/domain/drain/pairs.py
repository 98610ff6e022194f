"""All pairs of a DpuClusterConfig: the writes for all of them together, and `PairsHealthy`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from dpunetop.domain import names
from dpunetop.domain.clusterconfig.lifecycle import ENDING_RIGHTS_SECONDS
from dpunetop.domain.clusterconfig.status import LEADING_OUT, report
from dpunetop.domain.clusterconfig.types import DpuClusterConfig
from dpunetop.domain.drain.fleet.roster import (
    Mode,
    Roster,
    Slot,
)
from dpunetop.domain.drain.hostreport import HostReport
from dpunetop.domain.drain.model.facts import HoldReason
from dpunetop.domain.drain.protection.blockers import BlockerSettings, service_account
from dpunetop.domain.drain.report.dpustatus import DpuPhase
from dpunetop.domain.drain.report.health import PairState, judge_pairs
from dpunetop.domain.drain.report.parting import ServedHost, judge_partings
from dpunetop.domain.pairing.entries import idle_pods, idle_pods_left, render_idle_pods
from dpunetop.domain.reasons import PAIRS_HEALTHY
from dpunetop.kube.conditions import Condition
from dpunetop.kube.keys import CONFIGMAPS, INFRA, SERVICEACCOUNTS
from dpunetop.kube.meta import Obj, labels_of
from dpunetop.kube.plan import Apply, Patch, Plan, Step
from dpunetop.kube.shapes import at


@dataclass(frozen=True, slots=True)
class PairsView:
    """The facts from which the writes and `PairsHealthy` follow."""

    config: DpuClusterConfig
    roster: Roster | None
    """None: the image of the blockers is unknown, and `lacking` says why."""
    lacking: str
    entries: Obj | None
    """ConfigMap of the per-node entries."""
    pods: tuple[Obj, ...]
    """The pods of ovnkube-node."""
    reports: tuple[HostReport | None, ...]
    """The last report of each slot of the roster."""
    account: Obj | None
    """ServiceAccount of the blockers."""
    failing: HoldReason | None
    """Why the entries cannot be written."""
    field_manager: str
    dpus: Mapping[str, int] | None = None
    """The number of DPUs by phase; None: not all were looked at yet."""


def plan_pairs(view: PairsView) -> Plan:
    """Write the ServiceAccount of the blockers, forget idle pods that are gone, and report `PairsHealthy`."""
    roster = view.roster
    if roster is None:
        return Plan(_status(view, Condition(PAIRS_HEALTHY, "False", "NoImage", view.lacking)))
    account = () if roster.mode is Mode.LEAVING else (_account(view, roster.blockers),)
    again = ENDING_RIGHTS_SECONDS if view.config.terminating else None
    return Plan((*account, *_tidy(view), *_status(view, pairs_healthy(view, roster))), again)


def pairs_healthy(view: PairsView, roster: Roster) -> Condition | None:
    """The condition; None: not every host was looked at yet, so the previous condition stays."""
    if roster.mode is Mode.LEAVING:
        return Condition(PAIRS_HEALTHY, "False", LEADING_OUT, "no host is waited for any more")
    reports = [each for each in view.reports if each is not None and each.is_looked_at]
    if len(reports) < len(view.reports):
        return None
    by_slot = list(zip(roster.slots.values(), reports, strict=True))
    if roster.mode is Mode.LEADING_OUT:
        partings = (ServedHost(slot.host, each.dpu_statuses) for slot, each in by_slot if slot.host and slot.members)
        return judge_partings(list(partings))
    unseen = next((each.unseen for each in reports if each.unseen is not None), None)
    strays = (each.stray for each in reports if each.stray is not None)
    failing = (*(() if view.failing is None else (view.failing,)), *roster.mistakes, *strays)
    networks = [each.network for each in reports if each.network is not None]
    return judge_pairs(list(_states(by_slot)), roster.problems, failing, unseen, networks)


def _states(by_slot: Sequence[tuple[Slot, HostReport]]) -> Iterable[PairState]:
    entries = {m.dpu for slot, _ in by_slot for m in slot.members if m.entry.text}
    for slot, each in by_slot:
        statuses, causes = {status.dpu: status for status in each.dpu_statuses}, dict(each.causes)
        for dpu, guarding, pairing in each.guardings:
            status = statuses.get(dpu)
            is_held = status is not None and status.stage is DpuPhase.HELD
            if pairing is not None or dpu in entries or is_held:
                yield PairState(dpu, guarding, status, dpu in entries, slot.host, causes.get(dpu, ""))


def _account(view: PairsView, settings: BlockerSettings) -> Step:
    """One for all DpuClusterConfigs: it has the owner label of the one that created it, and any of them recreates
    it."""
    live = view.account
    owner = settings.owner if live is None else labels_of(live).get(names.OWNER_LABEL, settings.owner)
    return Apply(INFRA, SERVICEACCOUNTS, service_account(replace(settings, owner=owner)), live, view.field_manager)


def _tidy(view: PairsView) -> tuple[Step, ...]:
    """Remove idle pods from the annotation once other pods have replaced them."""
    live = view.entries
    if live is None or idle_pods(live) == (left := idle_pods_left(live, view.pods)):
        return ()
    change = {"metadata": {"annotations": {names.IDLE_PODS_ANNOTATION: render_idle_pods(left)}}}
    return (Patch(INFRA, CONFIGMAPS, live, change),)


def _status(view: PairsView, condition: Condition | None) -> tuple[Step, ...]:
    if condition is None:
        return ()
    dpus = at(view.config.live, "status", "dpus") if view.dpus is None else view.dpus
    members = {"dpus": dict(dpus)} if isinstance(dpus, Mapping) and dpus else {}
    return report(view.config.live, (condition,), view.field_manager, **members)
