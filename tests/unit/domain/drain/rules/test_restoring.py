"""Rule 10 at the end: a host that was led out and left cordoned is lifted on proof, and by nothing less."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dpunetop.domain.drain.model.facts import DrainOverride, HostView, Mco, NodeGone, Reason, Signal
from dpunetop.domain.drain.rules.cycle import decide
from dpunetop.domain.drain.rules.restoring import LiftCordon
from dpunetop.domain.names import (
    CORDONED_BEFORE_ANNOTATION,
    DESIRED_CONFIG_ANNOTATION,
    DRAIN_ANNOTATION,
    LEFT_BY_ANNOTATION,
    NODEMAINTENANCES,
    PODDISRUPTIONBUDGETS,
    blocker_name,
)
from dpunetop.kube.keys import NODES, PODS
from dpunetop.kube.meta import annotations_of, name_of
from support.drainviews import ABORTED, FOREIGN, HOST, POD, closed, cordoned, dpu, free, view
from support.drainworld import HOST as HOST_NAME
from support.drainworld import OPERATOR_NAMESPACE, OWNER, World

LEFT = replace(HOST, cordoned=True, left_by="owner")
UNSHOWN = Signal("annotation a", holds=False)
NOT_READY = replace(POD, ready=False)
SECOND = dpu("d2")
CASES: dict[str, tuple[HostView, type | Reason | None]] = {
    "served": (view(free(), host=LEFT), LiftCordon),
    "served, and schedulable already": (view(free(), host=replace(LEFT, cordoned=False)), LiftCordon),
    "left by another": (view(free(), host=replace(LEFT, left_by="else")), None),
    "left by nobody": (view(free(), host=replace(LEFT, left_by="")), None),
    "gone": (view(free(), host=NodeGone(True)), None),
    "served by nobody": (replace(view(free(), host=LEFT), serving=None), None),
    "served by a DPU that leaves": (view(replace(free(), paired=False), host=LEFT), None),
    "served without protection": (view(dpu(read=closed(serves="")), host=LEFT), None),
    "served under protection of another": (view(dpu(read=closed(ours=False)), host=LEFT), None),
    "in somebody's maintenance": (view(free(), host=LEFT, maintenances=(FOREIGN,)), Reason.FOREIGN_MAINTENANCE),
    "its drain was given up": (view(cordoned(ABORTED), host=LEFT), Reason.ABORTED),
    "held": (view(free(override=DrainOverride.HOLD), host=LEFT), Reason.HELD_BY_ANNOTATION),
    "held by the other": (
        view(free(), replace(dpu("d2", override=DrainOverride.HOLD)), host=LEFT),
        Reason.HELD_BY_ANNOTATION,
    ),
    "held by another that does not serve it": (
        view(free(), dpu("d2", closed(serves=""), override=DrainOverride.HOLD), host=LEFT),
        LiftCordon,
    ),
    "an update is to come": (view(free(mco=Mco.PENDING), host=LEFT), Reason.MACHINE_CONFIG_PENDING),
    "no blocker": (view(replace(free(), blocker=""), host=LEFT), Reason.BLOCKER_NOT_READY),
    "forced": (view(free(override=DrainOverride.FORCE), host=LEFT), None),
    "the other is forced": (view(free(), dpu("d2", override=DrainOverride.FORCE), host=LEFT), LiftCordon),
    "the DPU is not Ready": (view(free(ready=False), host=LEFT), Reason.PROOF_MISSING),
    "the pod is not Ready": (view(replace(free(), pods=(NOT_READY,)), host=LEFT), Reason.PROOF_MISSING),
    "no pod": (view(replace(free(), pods=()), host=LEFT), Reason.PROOF_MISSING),
    "a sign is missing": (view(free(), host=LEFT, signals=(UNSHOWN,)), Reason.PROOF_MISSING),
}


@pytest.mark.parametrize(("given", "expected"), CASES.values(), ids=CASES.keys())
def test_a_host_that_was_left_is_lifted_if(given: HostView, expected: type | Reason | None) -> None:
    found = decide(given)
    assert (type(found.task) if found.task is not None else None) == (expected if isinstance(expected, type) else None)
    reason = None if found.hold is None else found.hold.reason
    assert reason == (expected if isinstance(expected, Reason) else None)


def test_what_is_missing_is_said_of_the_dpu_that_serves() -> None:
    hold = decide(view(replace(free(), pods=(NOT_READY,)), host=LEFT)).hold
    assert hold is not None
    assert hold.message == "d1 has yet to show: ovnkube-node pod Ready"


# --- the write --------------------------------------------------------------------------------------------------------

DPU = "dpu-1"


def left(dpus: int = 1) -> World:
    """The operator is about to lift the host."""
    world = World(dpus)
    world.change_host({"metadata": {"annotations": {LEFT_BY_ANNOTATION: OWNER}}, "spec": {"unschedulable": True}})
    world.operate_until(lambda _: world.process.run is not None and isinstance(world.process.run.task, LiftCordon))
    assert world.process.run is not None
    world.process.run = replace(world.process.run, answers=())
    return world


def is_lifted(world: World) -> bool:
    while world.process.run is not None:
        world.act()
    return not world.host().cordoned and not world.host().left_by


def test_it_is_made_schedulable_and_nobody_has_left_it_any_more_and_that_is_told() -> None:
    world = left()
    assert is_lifted(world)
    assert world.events == ["HostSchedulable"]
    world.settle()
    assert (world.unsettled(), world.work()) == ([], 0)


def budget_of(world: World, name: str, change: dict[str, Any]) -> None:
    world.infra.change(PODDISRUPTIONBUDGETS, OPERATOR_NAMESPACE, blocker_name(name), change)


def note(world: World, **annotations: str | None) -> None:
    world.change_host({"metadata": {"annotations": annotations}})


def unready_blocker(world: World, name: str = DPU) -> None:
    found = world._blocker(name)
    assert found is not None
    world.infra.change(PODS, OPERATOR_NAMESPACE, name_of(found), {"status": {"phase": "Pending"}})


def infra_node(world: World, change: dict[str, Any], name: str = DPU) -> None:
    world.infra.change(NODES, "", name, change)


CHANGES: dict[str, Callable[[World], object]] = {
    "the host is gone": lambda w: w.tenant.remove(NODES, "", HOST_NAME),
    "another has left it": lambda w: note(w, **{LEFT_BY_ANNOTATION: "else"}),
    "nobody has left it": lambda w: note(w, **{LEFT_BY_ANNOTATION: None}),
    "it is marked for a drain": lambda w: note(w, **{CORDONED_BEFORE_ANNOTATION: "yes"}),
    "it is marked for a drain, as one to be in use": lambda w: note(w, **{CORDONED_BEFORE_ANNOTATION: "no"}),
    "there is a maintenance": lambda w: w.tenant.put(
        NODEMAINTENANCES, {"metadata": {"name": "theirs"}, "spec": {"nodeName": HOST_NAME}}
    ),
    "its DPU is cordoned": lambda w: w.cordon(DPU),
    "its DPU is held": lambda w: infra_node(w, {"metadata": {"annotations": {DRAIN_ANNOTATION: "hold"}}}),
    "its DPU has rebooted": lambda w: infra_node(w, {"status": {"nodeInfo": {"bootID": "other"}}}),
    "an update is to come": lambda w: infra_node(w, {"metadata": {"annotations": {DESIRED_CONFIG_ANNOTATION: "c9"}}}),
    "its budget is open": lambda w: budget_of(w, DPU, {"spec": {"maxUnavailable": 1}}),
    "its blocker is not Ready": unready_blocker,
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("dpus", [1, 2])
def test_what_changes_before_the_write_is_seen(what: str, dpus: int) -> None:
    world = left(dpus)
    CHANGES[what](world)
    before = world.tenant.get(NODES, "", HOST_NAME)
    if before is None:
        assert "STALE" in ended(world)
        return
    assert not is_lifted(world)
    after = world.tenant.get(NODES, "", HOST_NAME)
    assert after is not None
    assert (after["spec"], annotations_of(after)) == (before["spec"], annotations_of(before))
    assert world.events == []


def ended(world: World) -> str:
    while world.process.run is not None:
        world.act()
    return world.trace[-1]
