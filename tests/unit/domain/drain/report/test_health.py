"""What `PairsHealthy` says: what is stuck, else what is under way, else how many there are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dpunetop.domain.drain.model.facts import HoldReason, Reason
from dpunetop.domain.drain.outages.unplanned import NetworkReason, NetworkState
from dpunetop.domain.drain.protection.decision import ProtectionPhase
from dpunetop.domain.drain.report.dpustatus import DpuPhase, DpuStatus, OverdueStep
from dpunetop.domain.drain.report.health import PairState, judge_pairs


def pair(
    guarding: ProtectionPhase = ProtectionPhase.SERVING,
    stage: DpuPhase | None = None,
    reason: str = "",
    *,
    served: bool = True,
    dpu: str = "d",
    opened: bool = False,
    late: OverdueStep | None = None,
) -> PairState:
    dpu_status = None
    if stage is not None:
        dpu_status = DpuStatus(dpu, stage, reason, "why", has_opened=opened, late=late)
    return PairState(dpu, guarding, dpu_status, served)


CASES: dict[str, tuple[list[PairState], tuple[str, str]]] = {
    "no pairs": ([], ("True", "AllProtected")),
    "all serve": ([pair(), pair(stage=DpuPhase.IDLE)], ("True", "AllProtected")),
    "a drain that goes as it should": ([pair(stage=DpuPhase.DPU_DOWN, reason="DpuDraining")], ("True", "Draining")),
    "a blocker that was evicted": (
        [pair(ProtectionPhase.BLOCKER_NOT_READY, DpuPhase.DPU_DOWN, "DpuDraining", opened=True)],
        ("True", "Draining"),
    ),
    "a blocker that is not Ready while the host is drained": (
        [pair(ProtectionPhase.BLOCKER_NOT_READY, DpuPhase.HOST_DRAINING, "HostDraining")],
        ("False", "BlockerNotReady"),
    ),
    "a blocker on a DPU that went down before its budget was opened": (
        [pair(ProtectionPhase.BLOCKER_NOT_READY, DpuPhase.DPU_DOWN, "HostDraining")],
        ("False", "BlockerNotReady"),
    ),
    "a drain that takes too long": (
        [pair(stage=DpuPhase.HOST_DRAINING, reason="HostDraining", late=OverdueStep("HostDrainOverdue", "since"))],
        ("False", "HostDrainOverdue"),
    ),
    "protection that takes too long": (
        [pair(ProtectionPhase.CLOSING, DpuPhase.IDLE, late=OverdueStep("ProtectionOverdue", "since"), served=False)],
        ("False", "ProtectionOverdue"),
    ),
    "held says more than that it takes long": (
        [pair(stage=DpuPhase.HELD, reason="HostAbsent", late=OverdueStep("VerifyingOverdue", "since"))],
        ("False", "HostAbsent"),
    ),
    "nothing is known of a drain": ([pair(stage=None)], ("True", "AllProtected")),
    "failed, and it has no word for it yet": ([pair(stage=DpuPhase.FAILED)], ("False", "Failed")),
    "a blocker that was evicted before the DPU ever served": (
        [pair(ProtectionPhase.BLOCKER_NOT_READY, DpuPhase.HOST_DRAINED, served=False)],
        ("False", "Protecting"),
    ),
    "on the way back within a drain": (
        [pair(ProtectionPhase.LEAVING, DpuPhase.DPU_DOWN, "DpuDraining")],
        ("True", "Draining"),
    ),
    "unpaired within a drain": (
        [pair(ProtectionPhase.REMOVAL_PENDING, DpuPhase.HOST_DRAINING, "HostDraining")],
        ("False", "RemovalPending"),
    ),
    "held, which says more than what it guards": (
        [pair(ProtectionPhase.REMOVAL_PENDING, DpuPhase.HELD, "NoFreeSlot")],
        ("False", "NoFreeSlot"),
    ),
    "on the way": ([pair(), pair(ProtectionPhase.NOT_SERVING, served=False)], ("False", "Protecting")),
    "a first blocker that starts": ([pair(ProtectionPhase.BLOCKER_NOT_READY, served=False)], ("False", "Protecting")),
    "a blocker that is down": ([pair(ProtectionPhase.BLOCKER_NOT_READY)], ("False", "BlockerNotReady")),
    "somebody else's": ([pair(ProtectionPhase.NOT_OURS, served=False)], ("False", "NotOurs")),
    "unpaired": ([pair(ProtectionPhase.REMOVAL_PENDING)], ("False", "RemovalPending")),
    "held": ([pair(stage=DpuPhase.HELD, reason="ForeignMaintenance")], ("False", "ForeignMaintenance")),
    "a second DPU of a host that waits for its turn to serve": (
        [pair(), pair(served=False, stage=DpuPhase.IDLE)],
        ("True", "AllProtected"),
    ),
    "failed comes before what is under way": (
        [pair(ProtectionPhase.CLOSING, served=False), pair(stage=DpuPhase.FAILED, reason="MaintenanceFailed")],
        ("False", "MaintenanceFailed"),
    ),
}


@pytest.mark.parametrize(("pairs", "expected"), CASES.values(), ids=CASES.keys())
def test_what_is_said_of_the_pairs(pairs: list[PairState], expected: Any) -> None:
    said = judge_pairs(pairs)
    assert (said.status, said.reason) == expected


def network(dpu: str = "d") -> NetworkState:
    return NetworkState("h", dpu, NetworkReason.HOST_WITHOUT_NETWORK, "host h has no network")


def test_a_host_without_a_network_comes_first_and_hides_that_its_blocker_is_down_too() -> None:
    pairs = [pair(stage=DpuPhase.HELD, reason="NoFreeSlot", dpu="other"), pair(ProtectionPhase.BLOCKER_NOT_READY)]
    said = judge_pairs(pairs, networks=[network()])
    assert (said.status, said.reason) == ("False", "HostWithoutNetwork")
    assert said.message == "host h has no network; other: why"


def test_a_blocker_that_is_down_on_another_dpu_is_told_beside_it() -> None:
    said = judge_pairs([pair(ProtectionPhase.BLOCKER_NOT_READY)], networks=[network("other")])
    assert "host h has no network; d: its blocker is not Ready" in said.message


UNDER_WAY = [
    ProtectionPhase.BLOCKER_MISSING,
    ProtectionPhase.NOT_SERVING,
    ProtectionPhase.CLOSING,
    ProtectionPhase.ENTRY_PENDING,
    ProtectionPhase.LEAVING,
    ProtectionPhase.NODE_CORDONED,
]


@pytest.mark.parametrize("guarding", ProtectionPhase)
def test_every_step_of_protection_is_good_or_under_way_or_has_words_of_its_own(guarding: ProtectionPhase) -> None:
    said = judge_pairs([pair(guarding)])
    if guarding is ProtectionPhase.SERVING:
        assert (said.status, said.reason) == ("True", "AllProtected")
    elif guarding in UNDER_WAY:
        assert (said.status, said.reason) == ("False", "Protecting")
    else:
        assert (said.status, said.message.startswith("d: ")) == ("False", True)
        assert said.reason.isalpha()


def test_the_first_trouble_gives_the_reason_and_all_are_named_in_the_order_of_the_pairs() -> None:
    said = judge_pairs(
        [
            pair(dpu="a"),
            pair(dpu="b", stage=DpuPhase.HELD, reason="HostAbsent"),
            pair(ProtectionPhase.CLOSING, dpu="c"),
            pair(ProtectionPhase.NOT_OURS, dpu="d"),
            pair(dpu="e", stage=DpuPhase.FAILED, reason="MaintenanceFailed"),
        ]
    )
    assert (said.type, said.status, said.reason) == ("PairsHealthy", "False", "HostAbsent")
    not_ours = "d: another writer made a blocker or budget under its name; remove it"
    assert said.message == f"b: why; {not_ours}; e: why"


def test_what_a_person_has_to_put_right_is_named_after_what_is_stuck() -> None:
    said = judge_pairs([pair(), pair(ProtectionPhase.CLOSING)], ["d: first", "e: second"])
    assert (said.status, said.reason, said.message) == ("False", "PairingConflict", "d: first; e: second")
    said = judge_pairs([pair(dpu="x", stage=DpuPhase.HELD, reason="HostAbsent")], ["d: first"])
    assert (said.reason, said.message) == ("HostAbsent", "x: why; d: first")
    assert judge_pairs([], ["d: first"] * 6).message.endswith("; and 1 more")


def test_pairs_are_counted_with_those_that_drain() -> None:
    assert judge_pairs([pair(), pair(), pair(stage=DpuPhase.IDLE)]).message == "3 pairs"
    draining = pair(stage=DpuPhase.VERIFYING, reason="ProofMissing")
    assert judge_pairs([pair(), draining, draining]).message == "3 pairs, 2 of them in a drain"


def test_five_troubles_are_all_that_is_said_and_none_is_left_over() -> None:
    assert "; and" not in judge_pairs([pair(ProtectionPhase.REMOVAL_PENDING)] * 5).message


def test_the_first_five_are_named_and_the_others_counted() -> None:
    said = judge_pairs([pair(ProtectionPhase.REMOVAL_PENDING) for _ in range(7)])
    assert said.message.count("d: is not paired") == 5
    assert said.message.endswith("; and 2 more")


# --- why a blocker does not run ---------------------------------------------------------------------------------------

WHY = "0/3 nodes are available"
WITHOUT_BLOCKER = (ProtectionPhase.BLOCKER_MISSING, ProtectionPhase.BLOCKER_NOT_READY)


@pytest.mark.parametrize("guarding", ProtectionPhase)
@pytest.mark.parametrize(
    ("host", "words"), [("h", "is not protected, so that host h is not served, or not safe"), ("", "has none")]
)
def test_why_a_blocker_does_not_run_is_told_where_it_is_missing(
    guarding: ProtectionPhase, host: str, words: str
) -> None:
    said = judge_pairs([replace(pair(guarding), cause=WHY, host=host)])
    expected = f"d: {words}: its blocker does not run: {WHY}"
    assert (said.message == expected) is (guarding in WITHOUT_BLOCKER)
    if guarding in WITHOUT_BLOCKER:
        assert (said.status, said.reason) == ("False", "BlockerNotReady")


@pytest.mark.parametrize(
    ("stage", "opened", "told"),
    [
        (DpuPhase.DPU_DOWN, True, False),
        (DpuPhase.DPU_DOWN, False, True),
        (DpuPhase.IDLE, True, True),
        (DpuPhase.IDLE, False, True),
        (None, False, True),
    ],
)
def test_a_blocker_that_went_with_its_drain_is_no_trouble_and_has_none(
    stage: DpuPhase | None, opened: bool, told: bool
) -> None:
    lost = pair(ProtectionPhase.BLOCKER_NOT_READY, stage, opened=opened)
    assert (judge_pairs([replace(lost, cause=WHY)]).status == "False") is told
    assert (judge_pairs([lost]).status == "False") is told


def test_what_fails_for_all_comes_after_hosts_without_a_network_and_before_pairs() -> None:
    stuck = pair(stage=DpuPhase.HELD, reason="NoFreeSlot")
    hold = HoldReason(Reason.INFRA_FORBIDDEN, "no rights")
    said = judge_pairs([stuck], failing=[hold], networks=[network("other")])
    assert said.message == "host h has no network; no rights; d: why"
    assert judge_pairs([stuck], failing=[hold]).reason == "InfraForbidden"


def test_a_dpu_whose_host_has_no_network_is_still_told_what_else_holds_it() -> None:
    said = judge_pairs([pair(stage=DpuPhase.HELD, reason="NoFreeSlot")], networks=[network()])
    assert said.message == "host h has no network; d: why"


def test_as_long_as_no_host_was_looked_at_nothing_is_known() -> None:
    unseen = HoldReason(Reason.TENANT_UNREACHABLE, "no answer")
    said = judge_pairs([pair()], unseen=unseen)
    assert (said.status, said.reason) == ("Unknown", "TenantUnreachable")
    assert said.message == "no host has been looked at since the operator began: no answer"
    assert judge_pairs([pair(ProtectionPhase.CLOSING)], unseen=unseen).reason == "Protecting"
    assert judge_pairs([pair(ProtectionPhase.NOT_OURS)], unseen=unseen).reason == "NotOurs"
