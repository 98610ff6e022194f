"""The metrics of each DpuClusterConfig: its conditions and rollouts, its DPUs, its hosts and their networks.

Every label is bounded: a DpuClusterConfig's namespace and name, a phase, a state, and the types and reasons of
`domain.reasons`. A host or DPU that was not looked at never counts as good.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, assert_never

from dpunetop.domain.clusterconfig.access import Access
from dpunetop.domain.dpunode.status import DpuNodeStatus, Phase
from dpunetop.domain.drain.fleet.roster import Roster
from dpunetop.domain.drain.hostreport import HostReport
from dpunetop.domain.drain.protection.decision import ProtectionPhase
from dpunetop.domain.drain.report.dpustatus import DpuPhase, DpuStatus
from dpunetop.domain.reasons import MCP_READY, OVN_KUBE_READY, REASONS, Gravity, meaning
from dpunetop.kube.meta import Obj, name_of, namespace_of
from dpunetop.kube.shapes import at, mappings

OTHER_REASON = "Other"
"""The label for a reason that comes from an API server, not from our table."""


class Family(NamedTuple):
    """One metric: its help text, and the labels of its series."""

    text: str
    labels: tuple[str, ...]


class Measurement(NamedTuple):
    """One number of one metric; `labels` in the order of its family."""

    name: str
    labels: tuple[str, ...]
    value: float


class Rollout(StrEnum):
    """Whether the DPUs run the desired configuration."""

    COMPLETE = "Complete"
    RUNNING = "Running"
    """The rollout goes on by itself."""
    STOPPED = "Stopped"
    """A person has to act."""
    UNKNOWN = "Unknown"
    """It could not be read."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The hosts and the DPUs of one DpuClusterConfig."""

    roster: Roster
    reports: Sequence[HostReport | None]
    """One for each slot of the roster, in its order; None: not looked at yet."""
    dpus: Sequence[DpuNodeStatus | None]
    """One for each DPU whose home is one of them; None: not looked at yet."""

    @property
    def known(self) -> Sequence[HostReport]:
        """The reports of the slots that could be looked at."""
        return [each for each in self.reports if each is not None and _is_known(each, self.roster)]

    @property
    def unknown_hosts(self) -> int:
        """The number of hosts whose state is unknown."""
        slots = zip(self.roster.slots.values(), self.reports, strict=True)
        return sum(bool(slot.host) and not _is_known(report, self.roster) for slot, report in slots)

    @property
    def is_known(self) -> bool:
        """Whether every host and DPU is known, so that 0 is a true answer."""
        return len(self.known) == len(self.reports)


CONDITION = "dpunetop_condition"
ROLLOUTS = "dpunetop_rollouts"
PAIRS = "dpunetop_pairs"
UNPROTECTED = "dpunetop_pairs_unprotected"
UNPAIRED = "dpunetop_dpus_unpaired"
OUTDATED = "dpunetop_dpus_outdated"
WITHOUT_NETWORK = "dpunetop_hosts_without_network"
UNKNOWN_HOSTS = "dpunetop_hosts_unknown"
PROOF_AGE = "dpunetop_network_proof_age_seconds"
DRAINS_STUCK = "dpunetop_drains_stuck"

_CONFIG = ("namespace", "name")
_WHOLE = "No series instead of 0 while some of them could not be looked at."
FAMILIES: Mapping[str, Family] = {
    CONDITION: Family(
        "1 for the current status and reason of a condition of a DpuClusterConfig.",
        (*_CONFIG, "type", "status", "reason"),
    ),
    ROLLOUTS: Family(
        "1 for the current state of the rollout that the condition in label type reports, 0 for its other states.",
        (*_CONFIG, "type", "state"),
    ),
    PAIRS: Family("DPUs by the phase of their DpuNode; Unknown: not looked at.", (*_CONFIG, "phase")),
    UNPROTECTED: Family(
        f"DPUs that are paired with a host and have no Ready blocker, outside a reboot. {_WHOLE}", _CONFIG
    ),
    UNPAIRED: Family(f"DPUs that are selected and have no host. {_WHOLE}", _CONFIG),
    OUTDATED: Family(f"DPUs that serve a host with a pod of an older template of ovnkube-node. {_WHOLE}", _CONFIG),
    WITHOUT_NETWORK: Family(f"Hosts that have no network and were not emptied by a drain. {_WHOLE}", _CONFIG),
    UNKNOWN_HOSTS: Family("Hosts whose network is not known: not looked at yet, or their reconcile fails.", _CONFIG),
    PROOF_AGE: Family(
        "Seconds since the network was last seen to work, of the host without a network for longest; 0: all have one. "
        + _WHOLE,
        _CONFIG,
    ),
    DRAINS_STUCK: Family("DPUs whose drain is held or takes longer than its limit, by reason.", (*_CONFIG, "reason")),
}
"""Every metric that `measure` computes."""
_GUARDED = frozenset(
    {
        ProtectionPhase.NODE_CORDONED,
        ProtectionPhase.ENTRY_PENDING,
        ProtectionPhase.SERVING,
        ProtectionPhase.REMOVAL_PENDING,
        ProtectionPhase.LEAVING,
    }
)
"""A Ready blocker stands behind a closed budget."""


def measure(configs: Iterable[Obj], fleets: Iterable[Measured], now: int) -> Iterator[Measurement]:
    """The numbers of all DpuClusterConfigs; `now` in seconds of the epoch.

    Guarantees: a host that was not looked at, or whose pass fails, counts as unknown, and while there is one, no metric
        is 0 where that would mean that all is well. A host whose pass fails still counts with how long its network has
        failed, and with what holds its drain. A DpuClusterConfig that is gone has no series.
    """
    for config in configs:
        yield from _conditions(config)
    for fleet in fleets:
        labels = (fleet.roster.config.namespace, fleet.roster.config.name)
        yield from _dpus(labels, fleet)
        yield from _protection(labels, fleet)
        yield from _networks(labels, fleet, now)
        yield from _stuck(labels, [each for each in fleet.reports if each is not None])


def _is_known(report: HostReport | None, roster: Roster) -> bool:
    is_in_reach = roster.access is Access.GIVEN
    return is_in_reach and report is not None and report.is_looked_at and not report.has_failed


def _counted(name: str, labels: tuple[str, ...], value: float, fleet: Measured) -> Iterator[Measurement]:
    """A number whose 0 means that all is well."""
    if value or fleet.is_known:
        yield Measurement(name, labels, value)


def _conditions(config: Obj) -> Iterator[Measurement]:
    place = (namespace_of(config), name_of(config))
    for each in mappings(at(config, "status", "conditions")):
        type_, status, reason = str(each.get("type")), str(each.get("status")), str(each.get("reason"))
        said = (type_, status, reason if reason in REASONS else OTHER_REASON)
        yield Measurement(CONDITION, (*place, *said), 1)
        if type_ in (MCP_READY, OVN_KUBE_READY):
            now = _rollout(status, reason)
            yield from (Measurement(ROLLOUTS, (*place, type_, str(state)), state is now) for state in Rollout)


def _rollout(status: str, reason: str) -> Rollout:
    match status:
        case "True":
            return Rollout.COMPLETE
        case "False":
            return _going(meaning(reason).gravity)
        case _:
            return Rollout.UNKNOWN


def _going(gravity: Gravity) -> Rollout:
    match gravity:
        case Gravity.GOOD | Gravity.PASSING | Gravity.WAITING:
            return Rollout.RUNNING
        case Gravity.ACTION:
            return Rollout.STOPPED
    assert_never(gravity)


def _dpus(labels: tuple[str, str], fleet: Measured) -> Iterator[Measurement]:
    phases = Counter(Phase.UNKNOWN if each is None else each.phase for each in fleet.dpus)
    for phase in Phase:
        yield Measurement(PAIRS, (*labels, str(phase)), phases[phase])
    if fleet.roster.image:
        outdated = sum(each is not None and each.serves and not each.ovn_image for each in fleet.dpus)
        yield from _counted(OUTDATED, labels, outdated, fleet)


def _protection(labels: tuple[str, str], fleet: Measured) -> Iterator[Measurement]:
    guardings = [each for report in fleet.known for each in report.guardings]
    statuses = {each.dpu: each for report in fleet.known for each in report.dpu_statuses}
    unprotected = sum(
        host is not None and phase not in _GUARDED and not _is_excused(statuses.get(dpu))
        for dpu, phase, host in guardings
    )
    yield from _counted(UNPROTECTED, labels, unprotected, fleet)
    yield from _counted(UNPAIRED, labels, sum(host is None for *_, host in guardings), fleet)


def _is_excused(status: DpuStatus | None) -> bool:
    return status is not None and status.was_let_go


def _networks(labels: tuple[str, str], fleet: Measured, now: int) -> Iterator[Measurement]:
    yield Measurement(UNKNOWN_HOSTS, labels, fleet.unknown_hosts)
    down = sum(report.network is not None for report in fleet.known)
    yield from _counted(WITHOUT_NETWORK, labels, down, fleet)
    outages = [report.outage for report in fleet.reports if report is not None and report.outage is not None]
    age = max((max(0, now - each.since) for each in outages), default=0)
    yield from _counted(PROOF_AGE, labels, age, fleet)


def _stuck(labels: tuple[str, str], reports: Sequence[HostReport]) -> Iterator[Measurement]:
    statuses = (each for report in reports for each in report.dpu_statuses)
    reasons = Counter(reason for each in statuses if (reason := _stuck_for(each)))
    for reason, count in sorted(reasons.items()):
        yield Measurement(DRAINS_STUCK, (*labels, reason), count)


def _stuck_for(status: DpuStatus) -> str:
    """Empty: it is not stuck."""
    if status.late is not None:
        return status.late.reason
    if status.stage not in (DpuPhase.HELD, DpuPhase.FAILED):
        return ""
    return status.reason if status.reason in REASONS else OTHER_REASON
