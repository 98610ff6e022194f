"""What is measured of the fleet: each number follows from the reports of hosts, each label from a table of ours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dpunetop.domain.drain.hostreport import HostReport
from dpunetop.domain.drain.measures import (
    CONDITION,
    DRAINS_STUCK,
    FAMILIES,
    OTHER_REASON,
    PAIRS,
    PROOF_AGE,
    UNPAIRED,
    UNPROTECTED,
    WITHOUT_NETWORK,
    measure,
)
from dpunetop.domain.drain.outages.detection import Outage
from dpunetop.domain.drain.outages.unplanned import NetworkReason, NetworkState
from dpunetop.domain.drain.protection.decision import ProtectionPhase
from dpunetop.domain.drain.report.dpustatus import DpuPhase, DpuStatus, Late
from support.rosters import DPU, HOST, roster

NOW = 1_000
SERVES = HostReport(((DPU, ProtectionPhase.SERVING, HOST),), (), ())
DRAINS = DpuStatus(DPU, DpuPhase.HOST_DRAINING, "HostDraining", "2 pods are left")
HELD = replace(DRAINS, stage=DpuPhase.HELD, reason="HostAbsent")
DOWN = NetworkState(HOST, DPU, NetworkReason.HOST_WITHOUT_NETWORK, "the node is down")
OUTAGE = Outage(HOST, DPU, since=700, cause="the node is down", told_from=700)
CONFIG = roster().config
PLACE = (CONFIG.namespace, CONFIG.name)


def numbers(*reports: HostReport | None) -> dict[tuple[str, ...], float]:
    return {(each.name, *each.labels): each.value for each in measure((), [(roster(), reports)], NOW)}


def of(metric: str, *reports: HostReport | None) -> dict[tuple[str, ...], float]:
    """The numbers of one metric that are not zero, by the labels behind the DpuClusterConfig's."""
    return {key[3:]: value for key, value in numbers(*reports).items() if key[0] == metric and value}


def paired(phase: ProtectionPhase) -> HostReport:
    return replace(SERVES, guardings=((DPU, phase, HOST),))


def test_pairs_are_counted_by_the_phase_of_their_drain() -> None:
    other = HostReport((("dpu-2", ProtectionPhase.SERVING, "host-2"),), (replace(DRAINS, dpu="dpu-2"),), ())
    assert of(PAIRS, SERVES, other) == {("Idle",): 1, ("HostDraining",): 1}


def test_each_phase_has_a_series_so_that_none_is_missing_from_a_graph() -> None:
    assert {key[3] for key in numbers(SERVES) if key[0] == PAIRS} == {str(phase) for phase in DpuPhase}


@pytest.mark.parametrize("phase", ProtectionPhase)
def test_a_pair_is_unprotected_unless_a_ready_blocker_stands_behind_a_closed_budget(phase: ProtectionPhase) -> None:
    guarded = {
        ProtectionPhase.NODE_CORDONED,
        ProtectionPhase.ENTRY_PENDING,
        ProtectionPhase.SERVING,
        ProtectionPhase.REMOVAL_PENDING,
        ProtectionPhase.LEAVING,
    }
    assert of(UNPROTECTED, paired(phase)) == ({} if phase in guarded else {(): 1})


def test_a_dpu_that_reboots_in_its_drain_is_not_unprotected() -> None:
    reboots = replace(paired(ProtectionPhase.BLOCKER_NOT_READY), dpu_statuses=(replace(DRAINS, has_opened=True),))
    at_rest = replace(reboots, dpu_statuses=(replace(DRAINS, stage=DpuPhase.IDLE, has_opened=True),))
    assert (of(UNPROTECTED, reboots), of(UNPROTECTED, at_rest)) == ({}, {(): 1})


def test_a_dpu_without_a_host_is_no_pair() -> None:
    alone = HostReport(((DPU, ProtectionPhase.NOT_SERVING, None),), (), ())
    assert (of(UNPAIRED, alone), of(PAIRS, alone), of(UNPROTECTED, alone)) == ({(): 1}, {}, {})


def test_a_host_without_a_network_is_counted_and_the_longest_outage_gives_the_age_of_the_proof() -> None:
    later = replace(OUTAGE, since=900)
    down = replace(SERVES, network=DOWN, outage=OUTAGE)
    assert of(WITHOUT_NETWORK, down, SERVES) == {(): 1}
    assert of(PROOF_AGE, down, replace(SERVES, outage=later)) == {(): 300}
    assert numbers(SERVES)[PROOF_AGE, *PLACE] == 0


def test_an_outage_in_a_drain_is_none_and_still_ages_the_proof() -> None:
    drained = replace(SERVES, outage=OUTAGE)
    assert (of(WITHOUT_NETWORK, drained), of(PROOF_AGE, drained)) == ({}, {(): 300})


def test_a_clock_that_was_set_back_makes_no_negative_age() -> None:
    assert of(PROOF_AGE, replace(SERVES, outage=replace(OUTAGE, since=NOW + 60))) == {}


STUCK: dict[str, tuple[DpuStatus, dict[tuple[str, ...], float]]] = {
    "a drain under way": (DRAINS, {}),
    "one that is held": (HELD, {("HostAbsent",): 1}),
    "one that failed": (replace(HELD, stage=DpuPhase.FAILED, reason="MaintenanceFailed"), {("MaintenanceFailed",): 1}),
    "one that is late": (replace(DRAINS, late=Late("HostDrainOverdue", "it takes long")), {("HostDrainOverdue",): 1}),
    "one that a server refuses": (replace(HELD, reason="Forbidden"), {(OTHER_REASON,): 1}),
}


@pytest.mark.parametrize(("status", "expected"), STUCK.values(), ids=STUCK.keys())
def test_drains_that_are_stuck_are_counted_by_reason(status: DpuStatus, expected: dict[tuple[str, ...], float]) -> None:
    assert of(DRAINS_STUCK, replace(SERVES, dpu_statuses=(status,))) == expected


def test_a_host_that_was_not_looked_at_yet_is_counted_nowhere() -> None:
    assert not any(numbers(None).values())


def test_a_condition_is_one_series_with_the_status_and_the_reason_that_it_has() -> None:
    said = [
        {"type": "Ready", "status": "False", "reason": "HostAbsent"},
        {"type": "PairsHealthy", "status": "Unknown", "reason": "a word of a server"},
    ]
    config: dict[str, Any] = {"metadata": {"namespace": "n", "name": "c"}, "status": {"conditions": said}}
    found = [(each.name, each.labels, each.value) for each in measure([config], (), NOW)]
    assert found == [
        (CONDITION, ("n", "c", "Ready", "False", "HostAbsent"), 1),
        (CONDITION, ("n", "c", "PairsHealthy", "Unknown", OTHER_REASON), 1),
    ]


@pytest.mark.parametrize("status", [None, {}, {"conditions": None}, {"conditions": [None, 3]}, []])
def test_a_config_that_says_nothing_has_no_condition(status: Any) -> None:
    config: dict[str, Any] = {"metadata": {"namespace": "n", "name": "c"}, "status": status}
    assert list(measure([config], (), NOW)) == []


def test_every_number_bears_the_labels_of_its_family() -> None:
    full = replace(SERVES, dpu_statuses=(HELD,), network=DOWN, outage=OUTAGE)
    config: dict[str, Any] = {
        "metadata": {"namespace": "n", "name": "c"},
        "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "AllReady"}]},
    }
    found = list(measure([config], [(roster(), [full])], NOW))
    assert {each.name for each in found} == set(FAMILIES)
    assert all(len(each.labels) == len(FAMILIES[each.name].labels) for each in found)
