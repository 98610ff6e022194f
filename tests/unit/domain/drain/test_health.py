"""What `PairsHealthy` says: what is stuck, else what is under way, else how many there are."""

from __future__ import annotations

from typing import Any

import pytest

from dpunetop.domain.drain.health import PairState, judge_pairs
from dpunetop.domain.drain.protection import Guarding
from dpunetop.domain.drain.standing import Stage, Standing, Wish


def pair(
    guarding: Guarding = Guarding.SERVING, stage: Stage | None = None, reason: str = "", *, served: bool = True
) -> PairState:
    standing = None if stage is None else Standing("d", stage, Wish.CORDON, reason, "why", True)
    return PairState("d", guarding, standing, served)


CASES: dict[str, tuple[list[PairState], tuple[str, str]]] = {
    "no pairs": ([], ("True", "AllProtected")),
    "all serve": ([pair(), pair(stage=Stage.IDLE)], ("True", "AllProtected")),
    "a drain that goes as it should": ([pair(stage=Stage.DPU_DOWN, reason="DpuDraining")], ("True", "Draining")),
    "a blocker that was evicted": (
        [pair(Guarding.BLOCKER_NOT_READY, Stage.DPU_DOWN, "DpuDraining")],
        ("True", "Draining"),
    ),
    "on the way": ([pair(), pair(Guarding.NOT_SERVING, served=False)], ("False", "Protecting")),
    "a first blocker that starts": ([pair(Guarding.BLOCKER_NOT_READY, served=False)], ("False", "Protecting")),
    "a blocker that is down": ([pair(Guarding.BLOCKER_NOT_READY)], ("False", "BlockerNotReady")),
    "somebody else's": ([pair(Guarding.NOT_OURS, served=False)], ("False", "NotOurs")),
    "unpaired": ([pair(Guarding.REMOVAL_PENDING)], ("False", "RemovalPending")),
    "held": ([pair(stage=Stage.HELD, reason="ForeignMaintenance")], ("False", "ForeignMaintenance")),
    "failed comes before what is under way": (
        [pair(Guarding.CLOSING, served=False), pair(stage=Stage.FAILED, reason="MaintenanceFailed")],
        ("False", "MaintenanceFailed"),
    ),
}


@pytest.mark.parametrize(("pairs", "expected"), CASES.values(), ids=CASES.keys())
def test_what_is_said_of_the_pairs(pairs: list[PairState], expected: Any) -> None:
    said = judge_pairs(pairs)
    assert (said.status, said.reason) == expected


def test_the_first_five_are_named_and_the_others_counted() -> None:
    said = judge_pairs([pair(Guarding.REMOVAL_PENDING) for _ in range(7)])
    assert said.message.count("d: is not paired") == 5
    assert said.message.endswith("; and 2 more")
