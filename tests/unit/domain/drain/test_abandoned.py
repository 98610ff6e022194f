"""A cordon or taint of a maintenance that is gone, of which no mark is left: it is known in two places, so that one is
enough; else it is told, with what a person does about it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import pytest

from dpunetop.domain.drain.model.facts import DpuView, HostNode, Maintenance, MaintenancePhase, Reason
from dpunetop.domain.drain.model.maintenances import is_abandoned, lacks_mark, was_cordoned
from dpunetop.domain.drain.report.dpustatus import DpuPhase, dpu_statuses
from dpunetop.domain.drain.rules.cycle import decide
from dpunetop.domain.drain.rules.remembering import ABANDONED_SECONDS, MarkAgain
from dpunetop.domain.names import NODEMAINTENANCES
from support.drainfaults import cordons_once_more, is_installed, is_uninstalled, loses_mark, loses_record
from support.drainviews import ABORTED, CYCLE, DONE, DRAINED_HOST, HOST, RETURNING, cordoned, free, nm, view
from support.drainworld import HOST as NAME
from support.drainworld import World, finish

DPU = "dpu-1"
LEFT = replace(DRAINED_HOST, mark=None)
OTHER = replace(DONE, host_uid="another")
Do = Callable[[World], object]


def drained(dpus: int = 1, *, cordoned_before: bool = False) -> World:
    world = World(dpus, cordoned_before=cordoned_before)
    world.cordon(DPU)
    world.drained()
    world.work()
    return world


def nmo(world: World) -> None:
    while world.nmo():
        pass


# --- what is known in one place is written into the other -------------------------------------------------------------

MARKS: dict[str, tuple[Maintenance, HostNode, tuple[bool, bool]]] = {  # lacks a mark, was cordoned before
    "marked": (DONE, DRAINED_HOST, (False, False)),
    "marked as cordoned": (DONE, replace(DRAINED_HOST, mark=True), (False, True)),
    "unmarked": (DONE, LEFT, (True, False)),
    "unmarked, cordoned before": (replace(DONE, cordoned_before=True), LEFT, (True, True)),
    "unmarked, and not drained yet": (nm(), HOST, (True, False)),
    "registered anew": (DONE, HOST, (False, False)),
    "registered anew, and cordoned": (DONE, replace(HOST, cordoned=True), (False, True)),
    "registered anew while it is drained": (replace(OTHER, phase=nm().phase), HOST, (True, False)),
    "the same, and cordoned": (replace(OTHER, phase=nm().phase), replace(HOST, cordoned=True), (True, True)),
    "registered anew, and drained by its operator": (OTHER, LEFT, (True, False)),
    "marked, but not named": (OTHER, DRAINED_HOST, (True, False)),
    "the maintenance says nothing": (replace(nm(), cordoned_before=None), replace(HOST, cordoned=True), (True, True)),
}


@pytest.mark.parametrize(("found", "host", "expected"), MARKS.values(), ids=MARKS.keys())
def test_whether_a_host_is_marked_again_and_as_what(
    found: Maintenance, host: HostNode, expected: tuple[bool, bool]
) -> None:
    assert (lacks_mark(found, host), was_cordoned(found, host)) == expected


@pytest.mark.parametrize("before", [False, True])
def test_a_host_whose_mark_somebody_takes_off_has_it_again(before: bool) -> None:
    world = drained(cordoned_before=before)
    assert loses_mark(world)
    world.work()
    assert world.host().mark is before
    world.maintenance_vanishes()
    world.uncordon(DPU)
    world.settle()
    assert (world.violations, world.unsettled(), world.host().cordoned) == ([], [], before)


def test_a_host_that_loses_its_mark_while_it_is_given_back_has_it_again() -> None:
    world = drained(cordoned_before=True)
    world.uncordon(DPU)
    world.work()
    assert world.maintenance().terminating
    assert loses_mark(world)
    world.settle()
    assert (world.violations, world.unsettled(), world.host().cordoned) == ([], [], True)


def registered_while_it_is_drained(world: World) -> None:
    """Its maintenance runs and has yet to cordon it."""
    world.cordon(DPU)
    world.work()
    world.nmo()
    world.nmo()
    world.register_host_anew()


def registered_when_it_is_drained(world: World) -> None:
    world.cordon(DPU)
    world.drained()
    world.work()
    world.register_host_anew()


@pytest.mark.parametrize("dpus", [1, 2])
@pytest.mark.parametrize("register", [registered_while_it_is_drained, registered_when_it_is_drained])
@pytest.mark.parametrize("loses", [World.maintenance_vanishes, is_uninstalled])
@pytest.mark.parametrize("is_over", [False, True], ids=["drain wanted", "drain over"])
def test_a_host_that_is_registered_anew_in_its_drain_and_loses_its_maintenance_is_led_out(
    is_over: bool, loses: Do, register: Do, dpus: int
) -> None:
    world = World(dpus)
    register(world)
    world.work()
    nmo(world)
    world.work()
    if is_over:
        world.uncordon(DPU)
    assert loses(world)
    assert (world.host().cordoned, world.host().tainted, world.host().mark) == (True, True, False)
    is_installed(world)
    world.settle()
    world.uncordon(DPU)
    world.settle()
    assert (world.violations, world.unsettled(), world.host().cordoned) == ([], [], False)


def test_a_person_who_takes_back_a_host_that_was_marked_again_is_not_overruled() -> None:
    world = World()
    registered_while_it_is_drained(world)
    world.drained()
    world.work()
    assert world.uncordon_and_untaint_host()
    world.settle()
    assert (world.own(), world.host().cordoned, world.stages[DPU]) == (None, False, DpuPhase.HELD)


def test_a_host_that_is_registered_anew_just_before_its_maintenance_says_that_it_is_drained_is_drained_once_more() -> (
    None
):
    world = World()
    world.cordon(DPU)
    world.work()
    for _ in range(4):
        world.nmo()
    assert (world.host().cordoned, world.maintenance().phase) == (True, MaintenancePhase.RUNNING)
    world.register_host_anew()
    world.operate_until(lambda call: world.is_doing(MarkAgain) and world.host().mark is not None)
    world.says_that_it_is_drained()
    world.crash()
    world.settle()
    assert (world.stages[DPU], world.host().cordoned, world.violations) == (DpuPhase.HOST_DRAINED, True, [])


# --- what is known nowhere is told ------------------------------------------------------------------------------------


def loses_both(world: World) -> None:
    loses_mark(world)
    world.maintenance_vanishes()


def registered_and_lost_while_nobody_looks(world: World) -> None:
    world.register_host_anew()
    world.nmo_restarts()
    nmo(world)
    world.maintenance_vanishes()


def lost_with_its_record(world: World) -> None:
    loses_both(world)
    loses_record(world, DPU)


def lost_with_its_budget(world: World) -> None:
    loses_both(world)
    world.delete_budget(DPU)


def of_somebody_else(world: World) -> None:
    world.uncordon(DPU)
    world.settle()
    world.foreign_begin()
    nmo(world)
    world.tenant.remove(NODEMAINTENANCES, "", "somebodys")


def cordoned_once_more(world: World) -> None:
    world.uncordon(DPU)
    world.settle()
    cordons_once_more(world)


LOST: dict[str, Do] = {
    "mark and maintenance": loses_both,
    "with its record": lost_with_its_record,
    "with its budget": lost_with_its_budget,
    "registered anew while nobody looks": registered_and_lost_while_nobody_looks,
    "a maintenance of somebody else": of_somebody_else,
    "cordoned by an operator that is behind": cordoned_once_more,
}


@pytest.mark.parametrize("dpus", [1, 2])
@pytest.mark.parametrize("lost", LOST.values(), ids=LOST.keys())
def test_a_host_of_whose_cordon_nobody_knows_is_told_with_what_ends_it(lost: Do, dpus: int) -> None:
    world = drained(dpus)
    lost(world)
    world.crash()
    world.settle()
    assert (world.host().cordoned, world.host().tainted, world.own()) == (True, True, None)
    assert world.last is not None
    assert world.last.hold is not None
    assert world.last.hold.reason is Reason.HOST_STILL_CORDONED
    for words in (NAME, f"kubectl uncordon {NAME}", f"kubectl taint nodes {NAME} medik8s.io/drain-"):
        assert words in world.last.hold.message
    assert world.stages[DPU] is DpuPhase.HELD
    assert world.uncordon_stuck_host()
    finish(world)


@pytest.mark.parametrize("lost", LOST.values(), ids=LOST.keys())
def test_a_person_who_wants_it_cordoned_takes_only_the_taint_off(lost: Do) -> None:
    world = drained()
    lost(world)
    world.settle()
    world.change_host({"spec": {"taints": []}})
    world.intent = True
    finish(world)
    assert world.host().cordoned


@pytest.mark.parametrize("lost", LOST.values(), ids=LOST.keys())
def test_a_person_who_only_uncordons_it_is_told_of_the_taint(lost: Do) -> None:
    world = drained()
    lost(world)
    world.settle()
    world.change_host({"spec": {"unschedulable": None}})
    world.settle()
    world.uncordon(DPU)
    world.settle()
    if world.host().tainted:
        assert world.last is not None
        assert world.last.hold is not None
        assert "no pod comes to it: kubectl taint nodes host-1 medik8s.io/drain-" in world.last.hold.message
        assert world.uncordon_stuck_host()
    finish(world)


# --- when it is told --------------------------------------------------------------------------------------------------

NOW = view(free()).host_ref.author.now


@pytest.mark.parametrize("host", [LEFT, replace(LEFT, cordoned=False)])
def test_it_is_told_once_it_has_lasted(host: HostNode) -> None:
    assert is_abandoned(host)
    early = view(free(), host=host, abandoned_since=NOW - ABANDONED_SECONDS + 1)
    assert (decide(early).task, decide(early).hold, decide(early).recheck_seconds) == (None, None, 1)
    assert [each.stage for each in dpu_statuses(early, decide(early))] == [DpuPhase.IDLE]
    late = view(free(), host=host, abandoned_since=NOW - ABANDONED_SECONDS)
    (told,) = dpu_statuses(late, decide(late))
    assert (told.stage, told.reason) == (DpuPhase.HELD, Reason.HOST_STILL_CORDONED)


@pytest.mark.parametrize("given", [free(RETURNING), cordoned(ABORTED), cordoned(CYCLE)])
def test_until_then_nothing_is_begun_ended_or_said_to_be_wrong(given: DpuView) -> None:
    early = view(given, host=LEFT, abandoned_since=NOW)
    assert decide(early).task is None
    (told,) = dpu_statuses(early, decide(early))
    assert told.stage not in (DpuPhase.HELD, DpuPhase.FAILED)


# --- a tenant that is restored ----------------------------------------------------------------------------------------

RESTORED: dict[str, tuple[Do, bool]] = {  # what is lost beside, and whether a person is needed
    "all of it": (lambda world: None, False),
    "without the maintenance": (World.maintenance_vanishes, False),
    "without the mark": (loses_mark, False),
    "without both": (loses_both, True),
}


@pytest.mark.parametrize(("loses", "needs_person"), RESTORED.values(), ids=RESTORED.keys())
def test_a_tenant_that_is_restored_into_the_middle_of_a_drain_which_is_over_keeps_no_host(
    loses: Do, needs_person: bool
) -> None:
    world = drained()
    backup = deepcopy(world.tenant.objects)
    world.uncordon(DPU)
    world.settle()
    world.tenant.objects.clear()
    world.tenant.objects.update(backup)
    world.workloads = False
    loses(world)
    world.crash()
    world.settle()
    assert world.uncordon_stuck_host() is needs_person
    world.settle()
    assert (world.violations, world.unsettled(), world.host().cordoned) == ([], [], False)
