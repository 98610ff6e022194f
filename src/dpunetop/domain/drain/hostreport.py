"""The report about one tenant host: the status of each of its DPUs, for `PairsHealthy` and in Events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain

from dpunetop.base.quoting import named
from dpunetop.domain.drain.fleet.roster import Slot
from dpunetop.domain.drain.host import HostDecision
from dpunetop.domain.drain.model.facts import (
    HoldReason,
)
from dpunetop.domain.drain.outages.detection import Outage
from dpunetop.domain.drain.outages.unplanned import (
    NETWORK_BACK,
    NetworkState,
)
from dpunetop.domain.drain.protection.decision import ProtectionPhase
from dpunetop.domain.drain.protection.tasks import DesiredEntry
from dpunetop.domain.drain.report.dpustatus import DRAIN_SKIPPED, DpuPhase, DpuStatus, dpu_statuses
from dpunetop.domain.drain.report.overdue import next_limit, timed
from dpunetop.domain.names import DPUCLUSTERCONFIGS
from dpunetop.domain.reasons import event
from dpunetop.kube.keys import INFRA, NODES
from dpunetop.kube.meta import Obj
from dpunetop.kube.plan import Step


@dataclass(frozen=True, slots=True)
class HostReport:
    """The state of one host, or of a DPU that has none."""

    guardings: tuple[tuple[str, ProtectionPhase, str | None], ...]
    """For each DPU whose home it is: its name, the phase of its protection, and the host with which it is paired."""
    dpu_statuses: tuple[DpuStatus, ...]
    entries: tuple[DesiredEntry, ...]
    """The entries that may be written now."""
    causes: tuple[tuple[str, str], ...] = ()
    """For each DPU whose blocker does not run: why."""
    stray: HoldReason | None = None
    """Why a host waits to which no DPU belongs, or whose wait concerns none of its DPUs."""
    is_looked_at: bool = True
    """Whether the host was looked at, and not only its DPUs: after a start the tenant's caches are waited for, and the
    first answer of a server that has to be asked."""
    has_failed: bool = False
    """Whether the pass failed, so that only the holds of its DPUs are known."""
    unseen: HoldReason | None = None
    """Why this process has not seen the tenant yet."""
    network: NetworkState | None = None
    """The failure of the host's network, outside a drain."""
    outage: Outage | None = None
    """The outage that was found, reported or not: kept for its beginning."""
    abandoned_since: int = 0
    """See `HostView.abandoned_since`."""

    def outcome(self) -> tuple[object, ...]:
        """The members from which `PairsHealthy` and the entries follow: only a change of them wakes the pass over all
        pairs."""
        entries = tuple((entry.dpu, entry.text) for entry in self.entries)
        seen = self.is_looked_at, self.has_failed, self.unseen
        return self.guardings, self.dpu_statuses, self.causes, self.stray, seen, entries, self.network


def report_host(decided: HostDecision, hold: HoldReason | None, troubles: Mapping[str, HoldReason]) -> HostReport:
    """The report of a host. `hold` is why its drain waits, if that is not what was decided; `troubles` are the failures
    by DPU: such a DPU is held, in a drain or not."""
    snapshot = decided.snapshot
    pairings = {member.dpu: member.pairing for member in decided.slot.members}
    statuses = _statuses(decided, hold, troubles)
    return HostReport(
        guardings=tuple((dpu, found.guarding, pairings[dpu]) for dpu, found in decided.protections.items()),
        dpu_statuses=statuses,
        entries=tuple(found.entry for found in decided.protections.values() if found.entry is not None),
        causes=tuple((dpu.name, dpu.trouble) for dpu in snapshot.dpus if dpu.trouble),
        stray=_stray(decided, statuses),
        is_looked_at=not snapshot.is_open and (snapshot.view is not None or not decided.slot.host),
        unseen=snapshot.unseen,
        network=decided.network.state,
        outage=decided.outage,
        abandoned_since=0 if snapshot.view is None else snapshot.view.abandoned_since,
    )


def failed_report(slot: Slot, reason: str, message: str, outage: Outage | None) -> HostReport:
    """The report of a host whose pass failed: only why. `outage` is the one found last, so that it keeps its beginning
    when the host can be looked at again."""
    at_home = [member for member in slot.members if member.is_home]
    guardings = ((member.dpu, ProtectionPhase.NOT_SERVING, member.pairing) for member in at_home)
    statuses = tuple(_held(member.dpu, reason, message) for member in at_home)
    return HostReport(tuple(guardings), statuses, (), has_failed=True, outage=outage)


def rechecks(decided: HostDecision, report: HostReport) -> tuple[float, ...]:
    """Seconds until the next decision although nothing wakes the key, one for each cause."""
    found = (
        decided.snapshot.recheck_seconds,
        None if decided.drain is None else decided.drain.recheck_seconds,
        decided.network.recheck_seconds,
        next_limit(report.dpu_statuses, decided.snapshot.host_ref.author.now),
    )
    return tuple(seconds for seconds in found if seconds is not None)


def host_events(decided: HostDecision, before: HostReport | None, report: HostReport) -> tuple[Step, ...]:
    """The Events about changes since the previous report."""
    nodes = decided.snapshot.nodes
    last = {each.dpu: each for each in before.dpu_statuses} if before is not None else {}
    of_dpus = (_dpu_events(nodes.get(each.dpu), last.get(each.dpu), each) for each in report.dpu_statuses)
    of_network = _network_events(decided, None if before is None else before.network, report.network)
    return (*chain.from_iterable(of_dpus), *of_network)


def _statuses(
    decided: HostDecision, hold: HoldReason | None, troubles: Mapping[str, HoldReason]
) -> tuple[DpuStatus, ...]:
    view, drain = decided.snapshot.view, decided.drain
    found: dict[str, DpuStatus] = {}
    if view is not None and drain is not None:
        guardings = {dpu: each.guarding for dpu, each in decided.protections.items()}
        of_drain = dpu_statuses(view, replace(drain, hold=hold or drain.hold))
        found = {each.dpu: each for each in timed(view, of_drain, guardings)}
    for dpu, why in troubles.items():
        known = found.get(dpu) or _held(dpu, "", "")
        found[dpu] = replace(known, stage=DpuPhase.HELD, reason=str(why.reason), message=why.message)
    return tuple(found.values())


def _held(dpu: str, reason: str, message: str) -> DpuStatus:
    """A DPU that is held, with nothing else known about it."""
    return DpuStatus(dpu, DpuPhase.HELD, reason, message)


def _stray(decided: HostDecision, statuses: Iterable[DpuStatus]) -> HoldReason | None:
    """Why the drain waits, if no DPU's status shows it: every wait is reported somewhere."""
    hold = None if decided.drain is None else decided.drain.hold
    at_home = {member.dpu for member in decided.slot.members if member.is_home}
    if hold is None or any(each.dpu in at_home and each.reason for each in statuses):
        return None
    return HoldReason(hold.reason, f"host {named(decided.slot.host)}: {hold.message}")


def _dpu_events(node: Obj | None, last: DpuStatus | None, now: DpuStatus) -> Iterable[Step]:
    """Events on the Node of a DPU whose stage or reason differs from the last report."""
    if node is None:
        return
    if now.late is not None and (last is None or last.late is None):
        yield event(INFRA, NODES, node, now.late.reason, now.late.message)
    if _is_newly_skipped(last, now):
        yield event(INFRA, NODES, node, DRAIN_SKIPPED, now.skipped)
    if _is_news(last, now):
        note = f"{now.stage}: {now.message}" if now.message else f"{now.stage}"
        yield event(INFRA, NODES, node, now.reason or str(now.stage), note)


def _is_news(last: DpuStatus | None, now: DpuStatus) -> bool:
    """Within a stage, a moment without a reason is work between two waits, and gives no Event."""
    if last is None:
        return now.stage is not DpuPhase.IDLE
    return last.stage is not now.stage or (last.reason != now.reason and bool(now.reason))


def _is_newly_skipped(last: DpuStatus | None, now: DpuStatus) -> bool:
    """A DPU that a new process finds skipped and idle gives no Event."""
    was = now.stage is DpuPhase.IDLE if last is None else bool(last.skipped)
    return bool(now.skipped) and not was


def _network_events(decided: HostDecision, last: NetworkState | None, now: NetworkState | None) -> Iterable[Step]:
    """An Event on the Node of the DPU, else on the DpuClusterConfig, whenever the failure changes or ends."""
    state = now or last
    if state is None or (last is not None and now is not None and last.reason is now.reason):
        return
    node, view = decided.snapshot.nodes.get(state.dpu), decided.snapshot.view
    config = None if view is None else view.config
    resource, obj = (NODES, node) if node is not None else (DPUCLUSTERCONFIGS, config)
    if obj is None:
        return
    if now is not None:
        yield event(INFRA, resource, obj, str(now.reason), now.message)
    elif decided.slot.serving is not None and decided.outage is None:
        note = f"host {named(state.host)} is no longer reported as without a network"
        yield event(INFRA, resource, obj, NETWORK_BACK, note)
