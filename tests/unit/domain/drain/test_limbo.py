"""A host that its maintenance calls drained and that is not: taken back with its taint, or registered anew; and one
that is cordoned although no maintenance holds it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dpunetop.domain.drain.model.facts import HostNode, Maintenance, MaintenancePhase
from dpunetop.domain.drain.model.maintenances import is_in_use, is_registered_anew, is_stuck_cordoned, is_taken_back
from dpunetop.domain.drain.model.readers import maintenance
from dpunetop.domain.drain.report.dpustatus import DpuPhase, dpu_statuses
from dpunetop.domain.drain.rules.cycle import decide
from support.drainviews import CYCLE, DONE, DRAINED_HOST, HOST, RETURNING, cordoned, free, nm, view
from support.drainworld import World

DPU = "dpu-1"
MARKED = replace(HOST, mark=False)
LIMBO: dict[str, tuple[Maintenance, HostNode, tuple[bool, bool, bool]]] = {  # taken back, registered anew, in use
    "drained": (DONE, DRAINED_HOST, (False, False, False)),
    "uncordoned": (DONE, replace(DRAINED_HOST, cordoned=False), (True, False, True)),
    "uncordoned and untainted": (DONE, MARKED, (True, False, True)),
    "untainted alone": (DONE, replace(MARKED, cordoned=True), (False, False, False)),
    "registered anew": (DONE, HOST, (False, True, True)),
    "registered anew, and cordoned": (DONE, replace(HOST, cordoned=True), (False, True, False)),
    "registered anew, and drained by its operator": (DONE, replace(DRAINED_HOST, mark=None), (False, False, False)),
    "the operator is losing its lease": (replace(DONE, loses_lease=True), MARKED, (False, False, False)),
    "still running": (nm(), MARKED, (False, False, False)),
    "ending": (nm(MaintenancePhase.SUCCEEDED, terminating=True), MARKED, (False, False, False)),
    "failed": (nm(MaintenancePhase.FAILED), HOST, (False, False, False)),
}


@pytest.mark.parametrize(("found", "host", "expected"), LIMBO.values(), ids=LIMBO.keys())
def test_what_became_of_a_drained_host(found: Maintenance, host: HostNode, expected: tuple[bool, bool, bool]) -> None:
    assert (is_taken_back(found, host), is_registered_anew(found, host), is_in_use(found, host)) == expected


@pytest.mark.parametrize(("count", "expected"), [(None, False), (0, False), (4, True), ("odd", True)])
def test_that_its_operator_loses_the_lease_is_read_from_its_count_of_errors(count: object, expected: bool) -> None:
    status = {} if count is None else {"errorOnLeaseCount": count}
    obj = {"metadata": {"name": "n"}, "spec": {"nodeName": "h"}, "status": status}
    assert maintenance(obj, "owner").loses_lease is expected


def drained() -> World:
    world = World()
    world.cordon(DPU)
    world.drained()
    world.work()
    assert world.budget(DPU).is_open
    return world


def test_a_host_that_a_person_uncordons_and_untaints_is_not_overruled() -> None:
    world = drained()
    assert world.uncordon_and_untaint_host()
    world.settle()
    assert world.own() is None
    assert (world.host().cordoned, world.host().mark, world.budget(DPU).is_open) == (False, None, False)
    assert world.stages[DPU] is DpuPhase.HELD
    world.uncordon(DPU)
    world.settle()
    assert (world.violations, world.unsettled()) == ([], [])


def test_a_host_that_is_registered_anew_is_drained_anew_before_anything_stays_open() -> None:
    world = drained()
    world.register_host_anew()
    world.work()
    assert world.budget(DPU).is_open is False
    while world.nmo():
        pass
    world.work()
    assert world.host().cordoned
    assert world.budget(DPU).is_open
    world.uncordon(DPU)
    world.settle()
    assert (world.violations, world.unsettled()) == ([], [])


def test_a_host_that_is_registered_anew_once_its_drain_is_over_is_given_back_at_once() -> None:
    world = drained()
    world.uncordon(DPU)
    world.ovnkube_crashes(DPU)
    world.register_host_anew()
    world.work()
    while world.nmo():
        pass
    world.work()
    assert world.own() is None
    assert (world.host().cordoned, world.violations) == (False, [])


def test_a_person_who_cordons_the_host_that_was_registered_anew_keeps_the_cordon() -> None:
    world = drained()
    world.register_host_anew(cordoned=True)
    world.work()
    assert world.budget(DPU).is_open is False
    world.settle()
    world.uncordon(DPU)
    world.settle()
    assert (world.violations, world.unsettled(), world.host().cordoned) == ([], [], True)


@pytest.mark.parametrize("was_cordoned", [False, True])
@pytest.mark.parametrize("is_cordoned", [False, True])
def test_what_a_failed_maintenance_says_of_the_node_before_is_not_done_to_one_that_was_registered_anew(
    was_cordoned: bool, is_cordoned: bool
) -> None:
    world = World(cordoned_before=was_cordoned)
    world.cordon(DPU)
    world.work()
    world.nmo()
    world.nmo()
    world.nmo_fails()
    world.register_host_anew(cordoned=is_cordoned)
    world.uncordon(DPU)
    world.settle()
    assert world.own() is None
    assert (world.host().cordoned, world.violations, world.unsettled()) == (is_cordoned, [], [])


def test_a_failed_maintenance_that_is_made_anew_does_not_cordon_a_host_that_was_registered_anew() -> None:
    world = World(cordoned_before=True)
    world.cordon(DPU)
    world.work()
    world.nmo()
    world.nmo()
    world.nmo_fails()
    world.register_host_anew()
    world.settle()
    assert (world.maintenance().cordoned_before, world.maintenance().host_uid) == (False, world.host().uid)
    world.uncordon(DPU)
    world.settle()
    assert (world.host().cordoned, world.violations, world.unsettled()) == (False, [], [])


STUCK = replace(HOST, cordoned=True, mark=False)


def test_a_host_that_is_cordoned_under_our_mark_without_a_maintenance_keeps_the_mark_and_is_told() -> None:
    assert is_stuck_cordoned(STUCK)
    given = view(cordoned(CYCLE), host=STUCK)
    hold = decide(given).hold
    assert hold is not None
    assert hold.reason == "HostStillCordoned"
    assert "kubectl uncordon host-1" in hold.message
    assert "kubectl annotate node host-1 dpu.openshift.io/cordoned-before-" in hold.message
    assert [each.stage for each in dpu_statuses(given, decide(given))] == [DpuPhase.HELD]


def test_it_is_no_trouble_yet_while_the_host_is_given_back() -> None:
    given = view(free(RETURNING), host=STUCK)
    assert [each.stage for each in dpu_statuses(given, decide(given))] == [DpuPhase.VERIFYING]


def test_it_is_told_at_once_where_no_record_says_since_when() -> None:
    given = view(free(), host=STUCK)
    assert [(each.stage, each.reason) for each in dpu_statuses(given, decide(given))] == [
        (DpuPhase.HELD, "HostStillCordoned")
    ]


def half_ended() -> World:
    """The node maintenance operator goes away between taint and cordon."""
    world = drained()
    world.uncordon(DPU)
    world.work()
    world.nmo()
    assert (world.host().tainted, world.host().cordoned) == (False, True)
    world.maintenance_vanishes()
    world.work()
    return world


def test_a_maintenance_that_vanishes_half_way_leaves_the_mark_until_a_person_uncordons_the_host() -> None:
    world = half_ended()
    assert (world.host().mark, world.host().cordoned) == (False, True)
    assert world.uncordon_stuck_host()
    world.settle()
    assert (world.violations, world.unsettled()) == ([], [])


def test_a_maintenance_that_vanishes_half_way_keeps_a_cordon_that_somebody_claims() -> None:
    world = half_ended()
    world.change_host({"metadata": {"annotations": {"dpu.openshift.io/cordoned-before": None}}})
    world.intent = True
    world.settle()
    assert (world.violations, world.unsettled(), world.host().cordoned) == ([], [], True)
