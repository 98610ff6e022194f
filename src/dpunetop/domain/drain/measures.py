"""What is measured of each DpuClusterConfig: its conditions, its pairs and their drains, the networks of its hosts.

Every label is bounded: a DpuClusterConfig's namespace and name, a phase, and the types and reasons of `domain.reasons`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from dpunetop.domain.drain.fleet.roster import Roster
from dpunetop.domain.drain.hostreport import HostReport
from dpunetop.domain.drain.protection.decision import ProtectionPhase
from dpunetop.domain.drain.report.dpustatus import DpuPhase, DpuStatus
from dpunetop.domain.reasons import REASONS
from dpunetop.kube.meta import Obj, name_of, namespace_of
from dpunetop.kube.shapes import at, mappings

OTHER_REASON = "Other"
"""The label of a reason that is an API server's word, not one of ours."""


class Family(NamedTuple):
    """One metric: what it tells, and the labels of its series."""

    text: str
    labels: tuple[str, ...]


class Measurement(NamedTuple):
    """One number of one metric; `labels` in the order of its family."""

    name: str
    labels: tuple[str, ...]
    value: float


CONDITION = "dpunetop_condition"
PAIRS = "dpunetop_pairs"
UNPROTECTED = "dpunetop_pairs_unprotected"
UNPAIRED = "dpunetop_dpus_unpaired"
WITHOUT_NETWORK = "dpunetop_hosts_without_network"
PROOF_AGE = "dpunetop_network_proof_age_seconds"
DRAINS_STUCK = "dpunetop_drains_stuck"

_CONFIG = ("namespace", "name")
FAMILIES: Mapping[str, Family] = {
    CONDITION: Family(
        "1 for the status and the reason that a condition of a DpuClusterConfig has now.",
        (*_CONFIG, "type", "status", "reason"),
    ),
    PAIRS: Family("DPUs that are paired with a host, by how far their drain is.", (*_CONFIG, "phase")),
    UNPROTECTED: Family("DPUs that are paired with a host and that no blocker guards, outside a reboot.", _CONFIG),
    UNPAIRED: Family("DPUs that are selected and paired with no host.", _CONFIG),
    WITHOUT_NETWORK: Family("Hosts that have no network although no drain has emptied them.", _CONFIG),
    PROOF_AGE: Family(
        "Seconds since the network of the host was seen to work whose network has failed longest; 0: all work.", _CONFIG
    ),
    DRAINS_STUCK: Family("DPUs whose drain is held or takes longer than it may, by reason.", (*_CONFIG, "reason")),
}
"""Every metric that `measure` makes numbers of."""
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


def measure(
    configs: Iterable[Obj], fleets: Iterable[tuple[Roster, Sequence[HostReport | None]]], now: int
) -> Iterator[Measurement]:
    """The numbers of all DpuClusterConfigs; `now` in seconds of the epoch.

    Guarantees: a host that was not looked at yet is counted nowhere; of a DpuClusterConfig that is gone there is no
        number.
    """
    for config in configs:
        yield from _conditions(config)
    for roster, reports in fleets:
        labels = (roster.config.namespace, roster.config.name)
        known = [report for report in reports if report is not None]
        yield from _pairs(labels, known)
        yield from _networks(labels, known, now)
        yield from _stuck(labels, known)


def _conditions(config: Obj) -> Iterator[Measurement]:
    place = (namespace_of(config), name_of(config))
    for each in mappings(at(config, "status", "conditions")):
        reason = str(each.get("reason"))
        said = (str(each.get("type")), str(each.get("status")), reason if reason in REASONS else OTHER_REASON)
        yield Measurement(CONDITION, (*place, *said), 1)


def _pairs(labels: tuple[str, str], reports: Sequence[HostReport]) -> Iterator[Measurement]:
    guardings = [each for report in reports for each in report.guardings]
    statuses = {each.dpu: each for report in reports for each in report.dpu_statuses}
    paired = [(statuses.get(dpu), phase) for dpu, phase, host in guardings if host is not None]
    phases = Counter(_phase(status) for status, _ in paired)
    for phase in DpuPhase:
        yield Measurement(PAIRS, (*labels, str(phase)), phases[phase])
    excused = [status is not None and status.was_let_go for status, _ in paired]
    unprotected = sum(phase not in _GUARDED for (_, phase), let_go in zip(paired, excused, strict=True) if not let_go)
    yield Measurement(UNPROTECTED, labels, unprotected)
    yield Measurement(UNPAIRED, labels, sum(host is None for _, _, host in guardings))


def _phase(status: DpuStatus | None) -> DpuPhase:
    return DpuPhase.IDLE if status is None else status.stage


def _networks(labels: tuple[str, str], reports: Sequence[HostReport], now: int) -> Iterator[Measurement]:
    yield Measurement(WITHOUT_NETWORK, labels, sum(report.network is not None for report in reports))
    ages = [max(0, now - report.outage.since) for report in reports if report.outage is not None]
    yield Measurement(PROOF_AGE, labels, max(ages, default=0))


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
