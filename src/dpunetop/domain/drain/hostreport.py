"""What is reported of one tenant host: how far each of its DPUs is, to all pairs together and in Events."""

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
    """How far one host, or a DPU that has none, is."""

    guardings: tuple[tuple[str, ProtectionPhase, str | None], ...]
    """Of each DPU that is at home there: its name, how far its protection is, and whom it is paired with."""
    dpu_statuses: tuple[DpuStatus, ...]
    entries: tuple[DesiredEntry, ...]
    """Those that may be written now."""
    causes: tuple[tuple[str, str], ...] = ()
    """Of DPUs whose blocker does not run: why."""
    stray: HoldReason | None = None
    """What a host waits for that no DPU is at home in, or that no DPU has a part in."""
    is_looked_at: bool = True
    """Whether the host was looked at, and not only its DPUs: at a start the tenant is waited for, and so is the first
    answer of a server that has to be asked."""
    has_failed: bool = False
    """Whether the look was not brought to its end, so that nothing is known of the host but what its DPUs wait for."""
    unseen: HoldReason | None = None
    """Why the tenant was not seen by this process."""
    network: NetworkState | None = None
    """What is wrong with the network of the host, outside a drain."""
    outage: Outage | None = None
    """What was found wrong with it, reported or not: so that it keeps its beginning."""
    abandoned_since: int = 0
    """See `HostView.abandoned_since`."""

    def outcome(self) -> tuple[object, ...]:
        """What `PairsHealthy` and the entries follow from: only a change of it is worth a look at all pairs."""
        entries = tuple((entry.dpu, entry.text) for entry in self.entries)
        seen = self.is_looked_at, self.has_failed, self.unseen
        return self.guardings, self.dpu_statuses, self.causes, self.stray, seen, entries, self.network


def report_host(decided: HostDecision, hold: HoldReason | None, troubles: Mapping[str, HoldReason]) -> HostReport:
    """How far the host is. `hold` is why its drain waits, if that is not what was decided; `troubles` are what fails,
    by DPU: such a DPU is held, be it in a drain or not."""
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
    """What is known of a host that could not be looked at to the end: nothing but why. `outage` is what was found last,
    so that it goes on from its beginning when the host can be looked at again."""
    at_home = [member for member in slot.members if member.is_home]
    guardings = ((member.dpu, ProtectionPhase.NOT_SERVING, member.pairing) for member in at_home)
    statuses = tuple(_held(member.dpu, reason, message) for member in at_home)
    return HostReport(tuple(guardings), statuses, (), has_failed=True, outage=outage)


def rechecks(decided: HostDecision, report: HostReport) -> tuple[float, ...]:
    """In how many seconds to decide again although nothing wakes, for each cause there is."""
    found = (
        decided.snapshot.recheck_seconds,
        None if decided.drain is None else decided.drain.recheck_seconds,
        decided.network.recheck_seconds,
        next_limit(report.dpu_statuses, decided.snapshot.host_ref.author.now),
    )
    return tuple(seconds for seconds in found if seconds is not None)


def host_events(decided: HostDecision, before: HostReport | None, report: HostReport) -> tuple[Step, ...]:
    """The Events that say what has changed since the report before."""
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
    """One DPU of which nothing else is known."""
    return DpuStatus(dpu, DpuPhase.HELD, reason, message)


def _stray(decided: HostDecision, statuses: Iterable[DpuStatus]) -> HoldReason | None:
    """Why the drain waits, if the status of no DPU shows it: every wait has its reason in the status."""
    hold = None if decided.drain is None else decided.drain.hold
    at_home = {member.dpu for member in decided.slot.members if member.is_home}
    if hold is None or any(each.dpu in at_home and each.reason for each in statuses):
        return None
    return HoldReason(hold.reason, f"host {named(decided.slot.host)}: {hold.message}")


def _dpu_events(node: Obj | None, last: DpuStatus | None, now: DpuStatus) -> Iterable[Step]:
    """Events on the Node of a DPU whose stage or reason is another one than was reported last."""
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
    """Between two waits of one stage something is being done, which is no news."""
    if last is None:
        return now.stage is not DpuPhase.IDLE
    return last.stage is not now.stage or (last.reason != now.reason and bool(now.reason))


def _is_newly_skipped(last: DpuStatus | None, now: DpuStatus) -> bool:
    """Not what a process that has just begun finds at rest."""
    was = now.stage is DpuPhase.IDLE if last is None else bool(last.skipped)
    return bool(now.skipped) and not was


def _network_events(decided: HostDecision, last: NetworkState | None, now: NetworkState | None) -> Iterable[Step]:
    """An Event on the Node of the DPU, else on the DpuClusterConfig, whenever another thing is wrong, or none any
    more."""
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
        note = f"host {named(state.host)} is told to be without a network no more"
        yield event(INFRA, resource, obj, NETWORK_BACK, note)
