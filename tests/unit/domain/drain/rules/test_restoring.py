"""Rule 10 at the end: a host that was led out and left cordoned is lifted on proof, and by nothing less."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dpunetop.domain.drain.model.calls import Run, Task, Write
from dpunetop.domain.drain.model.cordonmark import CordonMark, CordonProgress, mark_of, write_mark
from dpunetop.domain.drain.model.facts import DrainOverride, HostNode, HostRef, HostView, Mco, NodeGone, Reason, Signal
from dpunetop.domain.drain.rules.cycle import decide
from dpunetop.domain.drain.rules.restoring import RESTORE_REST_SECONDS, ForgetOutage, LeadOut, LiftCordon, Restore
from dpunetop.domain.drain.rules.returning import DpuCheck, LeftCordoned
from dpunetop.domain.names import (
    CORDONED_BEFORE_ANNOTATION,
    DESIRED_CONFIG_ANNOTATION,
    DRAIN_ANNOTATION,
    LEFT_BY_ANNOTATION,
    MAINTENANCE_TAINT,
    NODEMAINTENANCES,
    PODDISRUPTIONBUDGETS,
    UNPLANNED_ANNOTATION,
    blocker_name,
)
from dpunetop.kube.keys import NODES, PODS
from dpunetop.kube.meta import annotations_of, name_of
from support.drainviews import ABORTED, FOREIGN, HOST, POD, RETURNING, SITE, closed, cordoned, dpu, free, view
from support.drainworld import HOST as HOST_NAME
from support.drainworld import OPERATOR_NAMESPACE, OWNER, TENANT, World
from support.jointworld import JointWorld

LEFT = replace(HOST, cordoned=True, left_by="owner")
UNSHOWN = Signal("annotation a", holds=False)
NOT_READY = replace(POD, ready=False)
SECOND = dpu("d2")
CONFIG = view().config
TAINT = {"key": MAINTENANCE_TAINT, "effect": "NoSchedule"}


def proven() -> DpuCheck:
    return DpuCheck("d1", "blocker", proven_boot="b1")


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


# --- a host without a maintenance ------------------------------------------------------------------------------------

UNMARKED, IN_USE, STUCK = replace(HOST, mark=None), replace(HOST, mark=False), replace(HOST, mark=False, cordoned=True)
LEFT_OVER = replace(STUCK, tainted=True)


def for_outage(host: HostNode, stage: CordonProgress) -> HostNode:
    return replace(host, unplanned=CordonMark("owner", stage))


ENDINGS: dict[str, tuple[HostView, Task | Reason | None]] = {
    "no mark": (view(free(), host=UNMARKED), None),
    "to be in use, and is": (view(free(), host=IN_USE), Restore(SITE)),
    "to be cordoned, and is not": (view(free(), host=replace(HOST, mark=True)), Restore(SITE, RESTORE_REST_SECONDS)),
    "to be cordoned, and is": (view(free(), host=replace(STUCK, mark=True)), Restore(SITE)),
    "to be in use, and is cordoned": (view(free(), host=STUCK), Reason.HOST_STILL_CORDONED),
    "to be in use, and was to be cordoned for an outage": (
        view(free(), host=for_outage(STUCK, CordonProgress.WANTED)),
        Reason.HOST_STILL_CORDONED,
    ),
    "to be in use, and a person wants that in an outage": (
        view(free(), host=for_outage(STUCK, CordonProgress.OVERRULED)),
        Reason.HOST_STILL_CORDONED,
    ),
    "to be in use, and is cordoned for an outage": (
        view(free(), host=for_outage(STUCK, CordonProgress.CORDONED)),
        Restore(SITE),
    ),
    "in use, and was cordoned for an outage": (
        view(free(), host=for_outage(IN_USE, CordonProgress.CORDONED)),
        ForgetOutage(SITE),
    ),
    "in use, and was to be cordoned for an outage": (
        view(free(), host=for_outage(IN_USE, CordonProgress.WANTED)),
        Restore(SITE),
    ),
    "in use, and a person wants that although it was cordoned for an outage": (
        view(cordoned(ABORTED), host=for_outage(IN_USE, CordonProgress.CORDONED)),
        Restore(SITE),
    ),
    "left over, and proven": (view(free(), host=LEFT_OVER), LeadOut(SITE, (proven(),), None)),
    "left over, and not proven": (view(replace(free(), pods=()), host=LEFT_OVER), Reason.PROOF_MISSING),
    "left over, and forced": (
        view(free(RETURNING, override=DrainOverride.FORCE), host=LEFT_OVER),
        LeadOut(SITE, (DpuCheck("d1", "blocker", forced=True),), LeftCordoned(CONFIG, is_parted=False)),
    ),
    "left over, and served by nobody": (
        replace(view(replace(free(RETURNING), paired=False), host=LEFT_OVER), serving=None),
        LeadOut(SITE, (DpuCheck("d1", "blocker"),), LeftCordoned(CONFIG, is_parted=True)),
    ),
}


@pytest.mark.parametrize(("given", "expected"), ENDINGS.values(), ids=ENDINGS.keys())
def test_a_host_that_no_maintenance_holds_is(given: HostView, expected: Task | Reason | None) -> None:
    found = decide(given)
    assert found.task == (None if isinstance(expected, Reason) else expected)
    assert (None if found.hold is None else found.hold.reason) == (expected if isinstance(expected, Reason) else None)


def test_who_is_to_uncordon_a_host_that_is_still_cordoned_is_told_how_and_how_to_keep_it() -> None:
    hold = decide(view(free(), host=STUCK)).hold
    assert hold is not None
    assert hold.message == (
        "host-1 is cordoned although its maintenance is gone and it was not cordoned before: kubectl uncordon host-1, "
        "or, if it is to stay cordoned, kubectl annotate node host-1 dpu.openshift.io/cordoned-before-"
    )


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


# --- the writes of the others -----------------------------------------------------------------------------------------


def host_with(task: Task, note_of_host: dict[str, str], **spec: Any) -> World:
    """The operator is at that task."""
    world, live = JointWorld(), {"kind": "Node", "metadata": {"name": HOST_NAME, "annotations": note_of_host}}
    if (mark := mark_of(live)) is not None:
        read = world.tenant.get(NODES, "", HOST_NAME)
        assert read is not None
        world.tenant.perform(Write(write_mark(TENANT, read, mark)))
        world.change_host({"spec": {"unschedulable": None}})
    notes = {name: word for name, word in note_of_host.items() if name != UNPLANNED_ANNOTATION}
    world.change_host({"metadata": {"annotations": notes}, "spec": spec})
    world.process.run = Run(task)
    return world


MINE = HostRef(HOST_NAME, TENANT, OPERATOR_NAMESPACE, OWNER, SITE.author)
WAS_IN_USE = {CORDONED_BEFORE_ANNOTATION: "no"}
OUTAGE = {UNPLANNED_ANNOTATION: '{"owner":"owner-hash","stage":"cordoned","since":1}'}
THEIRS = {"metadata": {"name": "theirs"}, "spec": {"nodeName": HOST_NAME}}


def test_a_mark_of_an_outage_goes_alone_and_only_from_a_host_that_is_in_use_and_marked_for_a_drain() -> None:
    world = host_with(ForgetOutage(MINE), {**WAS_IN_USE, **OUTAGE})
    assert "DONE" in ended(world)
    assert (world.host().unplanned, world.host().mark, world.host().cordoned) == (None, False, False)


FORGET: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "cordoned": ({**WAS_IN_USE, **OUTAGE}, {"unschedulable": True}),
    "not marked for a drain": (OUTAGE, {}),
    "not marked for an outage": (WAS_IN_USE, {}),
    "marked as one that stays in use": (
        {**WAS_IN_USE, UNPLANNED_ANNOTATION: OUTAGE[UNPLANNED_ANNOTATION].replace("cordoned", "overruled")},
        {},
    ),
}


@pytest.mark.parametrize(("notes", "spec"), FORGET.values(), ids=FORGET.keys())
def test_a_mark_of_an_outage_stays_on_a_host_that_is(notes: dict[str, str], spec: dict[str, Any]) -> None:
    world = host_with(ForgetOutage(MINE), notes, **spec)
    before = world.tenant.get(NODES, "", HOST_NAME)
    assert "STALE" in ended(world)
    assert world.tenant.get(NODES, "", HOST_NAME) == before


@pytest.mark.parametrize("task", [ForgetOutage(MINE), Restore(MINE)])
@pytest.mark.parametrize("what", ["the host is gone", "there is a maintenance"])
def test_nothing_is_taken_off_a_host_when(task: Task, what: str) -> None:
    world = host_with(task, {**WAS_IN_USE, **OUTAGE})
    if what == "the host is gone":
        world.tenant.remove(NODES, "", HOST_NAME)
    else:
        world.tenant.put(NODEMAINTENANCES, THEIRS)
    before = world.tenant.get(NODES, "", HOST_NAME)
    assert "STALE" in ended(world)
    assert world.tenant.get(NODES, "", HOST_NAME) == before


def test_a_host_without_a_mark_is_not_restored() -> None:
    assert "nothing to restore" in ended(host_with(Restore(MINE), {}))


@pytest.mark.parametrize("is_marked", [False, True])
def test_a_cordon_of_which_nobody_knows_whose_it_is_stays_and_what_says_that_it_is_ours_goes(is_marked: bool) -> None:
    world = host_with(Restore(MINE), {**WAS_IN_USE, **(OUTAGE if is_marked else {})}, unschedulable=True)
    assert ("DONE" if is_marked else "STALE") in ended(world)
    assert (world.host().unplanned, world.host().mark, world.host().cordoned) == (None, False, True)


LED_OUT: dict[str, tuple[LeftCordoned | None, DpuCheck, tuple[bool, bool, bool | None, str], list[str]]] = {
    "proven": (None, DpuCheck("dpu-1"), (False, False, None, ""), []),
    "by force, of a DPU that proves nothing": (
        None,
        DpuCheck("dpu-1", forced=True),
        (False, False, None, ""),
        ["HostForcedBack"],
    ),
    "by force": (
        LeftCordoned(CONFIG, is_parted=False),
        DpuCheck("dpu-1", forced=True),
        (False, False, None, ""),
        ["HostLeftCordoned", "HostLeftCordoned"],
    ),
    "served by nobody": (
        LeftCordoned(CONFIG, is_parted=True),
        DpuCheck("dpu-1"),
        (True, True, True, OWNER),
        ["HostLeftCordoned", "HostLeftCordoned"],
    ),
}


@pytest.mark.parametrize(("left_cordoned", "check", "state", "events"), LED_OUT.values(), ids=LED_OUT.keys())
def test_a_host_that_its_maintenance_left_behind_is_led_out(
    left_cordoned: LeftCordoned | None, check: DpuCheck, state: tuple[bool, bool, bool | None, str], events: list[str]
) -> None:
    """To be cordoned where that is said: the next look carries the mark out."""
    world = host_with(LeadOut(MINE, (check,), left_cordoned), WAS_IN_USE, unschedulable=True, taints=[TAINT])
    assert "DONE" in ended(world)
    host = world.host()
    if left_cordoned is not None and not left_cordoned.is_parted:
        state = (True, *state[1:])  # it stays as it is, without the mark and the taint
    assert (host.cordoned, host.tainted, host.mark, host.left_by) == state
    assert world.events == events


LEFT_AS_IT_IS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "not tainted": (WAS_IN_USE, {"unschedulable": True}),
    "not cordoned": (WAS_IN_USE, {"taints": [TAINT]}),
    "not marked": ({}, {"unschedulable": True, "taints": [TAINT]}),
    "marked as cordoned before": ({CORDONED_BEFORE_ANNOTATION: "yes"}, {"unschedulable": True, "taints": [TAINT]}),
}


@pytest.mark.parametrize(("notes", "spec"), LEFT_AS_IT_IS.values(), ids=LEFT_AS_IT_IS.keys())
def test_a_host_is_not_led_out_that_is(notes: dict[str, str], spec: dict[str, Any]) -> None:
    world = host_with(LeadOut(MINE, (DpuCheck("dpu-1"),), None), notes, **spec)
    before = world.tenant.get(NODES, "", HOST_NAME)
    assert "is not as a maintenance leaves it" in ended(world)
    assert (world.tenant.get(NODES, "", HOST_NAME), world.events) == (before, [])
