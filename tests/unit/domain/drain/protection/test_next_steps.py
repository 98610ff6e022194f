"""Rule 1 as a table: what one DPU's protection asks for next, of each thing that it may look at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dpunetop.domain.clusterconfig.access import Access
from dpunetop.domain.drain.model.facts import DpuView, DrainOverride
from dpunetop.domain.drain.protection.blockers import blocker
from dpunetop.domain.drain.protection.decision import Entries, ProtectionPhase, ProtectionView, decide_protection
from dpunetop.domain.names import PODDISRUPTIONBUDGETS
from dpunetop.kube.plan import Fence
from support.drainviews import NODE, POD, SITE, closed, dpu
from support.rosters import BLOCKERS, DPU, ENTRY, HOST

OTHER = "TENANT_K8S_NODE=host-1\nOVN_LOG_LEVEL=dbg\n"


def view(seen: DpuView | None = None, **but: Any) -> ProtectionView:
    """It serves its host, and nothing is to be done."""
    at_rest = ProtectionView(
        dpu=seen or dpu(),
        settings=BLOCKERS,
        host_ref=SITE,
        deployment=blocker(BLOCKERS, DPU),
        pairing=HOST,
        text=ENTRY,
        configured=True,
        is_tenant_known=True,
        entries=Entries("ns", HOST, ENTRY),
        drained=False,
        active=False,
    )
    return replace(at_rest, **but)


HELD = replace(NODE, override=DrainOverride.HOLD)
PARTING = replace(dpu(), parting=True)
BARE, GOING = replace(dpu(), pods=()), replace(dpu(), pods=(replace(POD, terminating=True),))
HALF = replace(dpu(), pods=(replace(POD, uid="p1", terminating=True), replace(POD, uid="p2")))
NO_ENTRY = Entries("ns", None)
ENDING: Any = {"access": Access.ENDING}
UNPAIRED: Any = {"pairing": None}
IDLE = Entries("ns", HOST, ENTRY, idle=frozenset({"p1"}))


def leaves(seen: DpuView) -> DpuView:
    return replace(seen, budget=replace(closed(), leaving=("p1", "p2")))


STEPS: dict[str, tuple[ProtectionView, str | None, ProtectionPhase]] = {
    "it serves": (view(), None, ProtectionPhase.SERVING),
    "its blocker is not Ready": (view(replace(dpu(), blocker="")), None, ProtectionPhase.BLOCKER_NOT_READY),
    "its entry is to change, and the pod has read it": (view(text=OTHER), None, ProtectionPhase.SERVING),
    "its entry is to change, and the pod is idle": (
        view(text=OTHER, entries=IDLE),
        None,
        ProtectionPhase.ENTRY_PENDING,
    ),
    "its entry was written over, and is to change": (
        view(text=OTHER, entries=replace(IDLE, foreign=True, idle=frozenset())),
        None,
        ProtectionPhase.ENTRY_PENDING,
    ),
    "unpaired, and the host is not drained": (view(**UNPAIRED), None, ProtectionPhase.REMOVAL_PENDING),
    "unpaired, and no pod serves": (view(BARE, **UNPAIRED), "TakeEntry", ProtectionPhase.LEAVING),
    "at the end, without a pod": (
        view(replace(BARE, parting=True), **UNPAIRED),
        None,
        ProtectionPhase.REMOVAL_PENDING,
    ),
    "unpaired, and the host is drained": (view(**UNPAIRED, drained=True), "TakeEntry", ProtectionPhase.LEAVING),
    "unpaired, drained, and held by a person": (
        view(replace(dpu(), node=HELD), **UNPAIRED, drained=True),
        None,
        ProtectionPhase.REMOVAL_PENDING,
    ),
    "the entry is gone": (view(leaves(dpu()), **UNPAIRED, entries=NO_ENTRY), "StopServing", ProtectionPhase.LEAVING),
    "all of its pods are going": (view(leaves(GOING), **UNPAIRED, entries=NO_ENTRY), None, ProtectionPhase.LEAVING),
    "one of its pods is not": (
        view(leaves(HALF), **UNPAIRED, entries=NO_ENTRY),
        "StopServing",
        ProtectionPhase.LEAVING,
    ),
    "out of reach": (view(**ENDING), "ReleaseBudget", ProtectionPhase.LEAVING),
    "out of reach, and serves nobody": (
        view(replace(dpu(), budget=replace(closed(), serves="")), **ENDING),
        None,
        ProtectionPhase.NOT_SERVING,
    ),
    "out of reach, and led out": (view(PARTING, **ENDING), None, ProtectionPhase.REMOVAL_PENDING),
    "out of reach, led out and drained": (
        view(PARTING, **ENDING, drained=True),
        "ReleaseBudget",
        ProtectionPhase.LEAVING,
    ),
    "out of reach, led out, drained and held": (
        view(replace(PARTING, node=HELD), **ENDING, drained=True),
        None,
        ProtectionPhase.REMOVAL_PENDING,
    ),
}


@pytest.mark.parametrize(("seen", "task", "phase"), STEPS.values(), ids=STEPS.keys())
def test_what_is_done_next_for_a_dpu(seen: ProtectionView, task: str | None, phase: ProtectionPhase) -> None:
    found = decide_protection(seen)
    assert (None if found.task is None else type(found.task).__name__, found.guarding) == (task, phase)


def test_what_is_released_is_released_as_the_host_was_seen() -> None:
    for is_drained in (True, False):
        task = decide_protection(view(**ENDING, drained=is_drained)).task
        assert getattr(task, "drained", None) is is_drained


def test_a_budget_is_made_once_and_never_applied_to_by_what_a_cache_does_not_show_yet() -> None:
    [budget] = [
        step
        for step in decide_protection(view(replace(dpu(), budget=None))).upkeep
        if step.resource == PODDISRUPTIONBUDGETS
    ]
    assert (budget.live, budget.fence) == (None, Fence.VERSION)
