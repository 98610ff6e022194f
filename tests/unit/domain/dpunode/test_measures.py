"""What is measured of the fleet: each number follows from the reports of hosts, each label from a table of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from dpunetop.domain.clusterconfig.access import Access
from dpunetop.domain.dpunode.measures import (
    CONDITION,
    DRAINS_STUCK,
    FAMILIES,
    OTHER_REASON,
    OUTDATED,
    PAIRS,
    PROOF_AGE,
    ROLLOUTS,
    UNKNOWN_HOSTS,
    UNPAIRED,
    UNPROTECTED,
    WITHOUT_NETWORK,
    Measured,
    Rollout,
    measure,
)
from dpunetop.domain.dpunode.status import NOTHING_SERVED, DpuNodeStatus, Phase
from dpunetop.domain.drain.hostreport import HostReport, failed_report
from dpunetop.domain.drain.outages.detection import Outage
from dpunetop.domain.drain.outages.unplanned import NetworkReason, NetworkState
from dpunetop.domain.drain.protection.decision import ProtectionPhase
from dpunetop.domain.drain.report.dpustatus import DpuPhase, DpuStatus, OverdueStep
from dpunetop.domain.reasons import DPU_NODE_CONDITIONS, DRAIN_ALLOWED, MCP_READY, OVN_KUBE_READY
from dpunetop.kube.conditions import Condition
from support.rosters import DPU, HOST, roster, slot

NOW = 1_000
SERVES = HostReport(((DPU, ProtectionPhase.SERVING, HOST),), (), ())
DRAINS = DpuStatus(DPU, DpuPhase.HOST_DRAINING, "HostDraining", "2 pods are left")
HELD = replace(DRAINS, stage=DpuPhase.HELD, reason="HostAbsent")
DOWN = NetworkState(HOST, DPU, NetworkReason.HOST_WITHOUT_NETWORK, "the node is down")
OUTAGE = Outage(HOST, DPU, since=700, cause="the node is down", told_from=700)
CONFIG = roster().config
PLACE = (CONFIG.namespace, CONFIG.name)


def measured(*reports: HostReport | None, dpus: Sequence[DpuNodeStatus | None] = (), **but: Any) -> Measured:
    """One host for each report."""
    hosts = {("host", f"h{number}"): slot(host=f"h{number}") for number in range(len(reports))}
    return Measured(replace(roster(slots=hosts, image="image@sha256:1"), **but), reports, dpus)


def all_of(fleet: Measured) -> dict[tuple[str, ...], float]:
    return {(each.name, *each.labels): each.value for each in measure((), [fleet], NOW)}


def numbers(*reports: HostReport | None) -> dict[tuple[str, ...], float]:
    return all_of(measured(*reports))


def of(metric: str, *reports: HostReport | None) -> dict[tuple[str, ...], float]:
    """The numbers of one metric that are not zero, by the labels behind the DpuClusterConfig's."""
    return {key[3:]: value for key, value in numbers(*reports).items() if key[0] == metric and value}


def shown(phase: Phase = Phase.SERVING, **but: Any) -> DpuNodeStatus:
    good = tuple(Condition(type_, "True", "Guarded") for type_ in DPU_NODE_CONDITIONS)
    return replace(DpuNodeStatus(DPU, HOST, phase, "Serving", "", good, ovn_image="image@sha256:1"), **but)


def paired(phase: ProtectionPhase) -> HostReport:
    return replace(SERVES, guardings=((DPU, phase, HOST),))


def test_dpus_are_counted_by_the_phase_that_their_dpunodes_show() -> None:
    found = all_of(measured(dpus=(shown(), shown(), shown(Phase.DRAINING), shown(Phase.UNPAIRED, host=""))))
    counted = {key[3]: value for key, value in found.items() if key[0] == PAIRS and value}
    assert counted == {"Serving": 2, "Draining": 1, "Unpaired": 1}


def test_a_dpu_that_was_not_looked_at_is_in_phase_unknown() -> None:
    assert all_of(measured(dpus=(None, shown(Phase.UNKNOWN))))[PAIRS, *PLACE, "Unknown"] == 2


def test_each_phase_of_a_dpunode_has_a_series_so_that_none_is_missing_from_a_graph() -> None:
    assert {key[3] for key in numbers(SERVES) if key[0] == PAIRS} == {str(phase) for phase in Phase}


UNSERVED = tuple(
    Condition(type_, "True", NOTHING_SERVED if type_ == DRAIN_ALLOWED else "Guarded") for type_ in DPU_NODE_CONDITIONS
)
UNSEEN = tuple(Condition(type_, "Unknown", "NotLookedAt") for type_ in DPU_NODE_CONDITIONS)


def test_a_dpu_that_serves_without_a_pod_of_the_newest_template_is_outdated() -> None:
    older = shown(ovn_image="")
    dpus = shown(), older, replace(older, conditions=UNSERVED), replace(older, conditions=UNSEEN)
    assert all_of(measured(SERVES, dpus=dpus))[OUTDATED, *PLACE] == 1


def test_nothing_is_outdated_as_long_as_the_newest_template_is_not_known() -> None:
    assert (OUTDATED, *PLACE) not in all_of(measured(SERVES, dpus=(shown(ovn_image=""),), image=""))


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
    assert (of(UNPAIRED, alone), of(UNPROTECTED, alone)) == ({(): 1}, {})


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
    "one that is late": (
        replace(DRAINS, late=OverdueStep("HostDrainOverdue", "it takes long")),
        {("HostDrainOverdue",): 1},
    ),
    "one that a server refuses": (replace(HELD, reason="Forbidden"), {(OTHER_REASON,): 1}),
}


@pytest.mark.parametrize(("status", "expected"), STUCK.values(), ids=STUCK.keys())
def test_drains_that_are_stuck_are_counted_by_reason(status: DpuStatus, expected: dict[tuple[str, ...], float]) -> None:
    assert of(DRAINS_STUCK, replace(SERVES, dpu_statuses=(status,))) == expected


FAILED = failed_report(slot(), "InternalError", "a bug", None)
BLIND: dict[str, HostReport | None] = {
    "one that was not looked at yet": None,
    "one that waits for the first answer of its tenant": replace(SERVES, is_looked_at=False),
    "one whose look fails": FAILED,
}
WELL_AT_ZERO = (WITHOUT_NETWORK, PROOF_AGE, UNPROTECTED, UNPAIRED, OUTDATED)


def test_a_fleet_that_is_well_says_so_with_a_zero_of_each() -> None:
    assert [numbers(SERVES)[name, *PLACE] for name in (*WELL_AT_ZERO, UNKNOWN_HOSTS)] == [0] * 6


@pytest.mark.parametrize("blind", BLIND.values(), ids=BLIND.keys())
def test_a_host_that_is_not_known_counts_as_unknown_and_lets_no_zero_stand(blind: HostReport | None) -> None:
    found = numbers(SERVES, blind)
    assert found[UNKNOWN_HOSTS, *PLACE] == 1
    assert not [name for name in WELL_AT_ZERO if (name, *PLACE) in found]


@pytest.mark.parametrize("blind", BLIND.values(), ids=BLIND.keys())
def test_what_is_wrong_with_others_is_told_beside_a_host_that_is_not_known(blind: HostReport | None) -> None:
    down = replace(paired(ProtectionPhase.BLOCKER_NOT_READY), network=DOWN, outage=OUTAGE)
    found = numbers(down, blind)
    assert [found[name, *PLACE] for name in (WITHOUT_NETWORK, PROOF_AGE, UNPROTECTED)] == [1, 300, 1]


def test_an_outage_ages_on_while_the_look_at_its_host_fails() -> None:
    assert of(PROOF_AGE, failed_report(slot(), "InternalError", "a bug", OUTAGE)) == {(): 300}


def test_without_rights_in_the_namespace_nothing_is_known() -> None:
    found = all_of(measured(SERVES, access=Access.TAKEN))
    assert (found[UNKNOWN_HOSTS, *PLACE], (WITHOUT_NETWORK, *PLACE) in found) == (1, False)


def test_a_dpu_without_a_host_is_no_host_that_is_unknown() -> None:
    alone = measured(None, slots={("dpu", DPU): slot(host="")})
    assert all_of(alone)[UNKNOWN_HOSTS, *PLACE] == 0


ROLLED = {
    ("True", "Serving"): "Complete",
    ("False", "RollingOut"): "Running",
    ("False", "TopologyMigrating"): "Running",
    ("False", "PodsNotRunning"): "Stopped",
    ("False", "a word of a server"): "Stopped",
    ("Unknown", "NotLookedAt"): "Unknown",
}


@pytest.mark.parametrize("type_", [MCP_READY, OVN_KUBE_READY])
@pytest.mark.parametrize(("said", "state"), ROLLED.items(), ids=str)
def test_a_rollout_is_in_the_one_state_that_its_condition_says(said: tuple[str, str], state: str, type_: str) -> None:
    condition = {"type": type_, "status": said[0], "reason": said[1]}
    config = {"metadata": {"namespace": "n", "name": "c"}, "status": {"conditions": [condition]}}
    found = {each.labels: each.value for each in measure([config], (), NOW) if each.name == ROLLOUTS}
    assert found == {("n", "c", type_, str(each)): each == state for each in Rollout}


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
        "status": {"conditions": [{"type": OVN_KUBE_READY, "status": "True", "reason": "Serving"}]},
    }
    found = list(measure([config], [measured(full, dpus=(shown(),))], NOW))
    assert {each.name for each in found} == set(FAMILIES)
    assert all(len(each.labels) == len(FAMILIES[each.name].labels) for each in found)
