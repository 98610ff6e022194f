"""Rules 2, 7, 9 and 10 at the beginning: records, the mark of an earlier cordon, refusals, and giving up."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dpunetop.domain.drain.model.calls import QuorumGet, QuorumList, Write
from dpunetop.domain.drain.model.facts import DrainSettings, OnTimeout
from dpunetop.domain.drain.model.record import State
from dpunetop.domain.drain.report.dpustatus import DpuPhase
from dpunetop.domain.names import (
    CORDONED_BEFORE_ANNOTATION,
    CYCLE_ANNOTATION,
    DESIRED_DRAIN_ANNOTATION,
    HOST_UID_ANNOTATION,
    HOST_UPDATE_ANNOTATION,
    NODEMAINTENANCES,
    PODDISRUPTIONBUDGETS,
    blocker_name,
    maintenance_name,
)
from dpunetop.kube.keys import NODES
from dpunetop.kube.meta import annotations_of
from dpunetop.kube.plan import Apply, Patch
from support.drainworld import HOST, OPERATOR_NAMESPACE, World

DPU = "dpu-1"
NAME = maintenance_name(HOST)


def is_create(call: object) -> bool:
    return isinstance(call, Write) and isinstance(call.step, Apply) and call.step.resource is NODEMAINTENANCES


def is_mark(call: object) -> bool:
    return isinstance(call, Write) and isinstance(call.step, Patch) and call.step.resource is NODES


def finish_task(world: World) -> None:
    while world.process.run is not None:
        world.act()


def state(world: World, name: str = DPU) -> str:
    cycle = world.budget(name).cycle
    return "" if cycle is None else f"{cycle.state}/{cycle.reason}" if cycle.reason else str(cycle.state)


def test_the_record_comes_before_anything_in_the_tenant() -> None:
    world = World()
    world.cordon(DPU)
    call = world.operate_until(lambda call: isinstance(call, Write))
    assert isinstance(call, Write)
    assert call.step.cluster == "infra"


def test_a_budget_that_was_written_since_the_cache_is_read_before_it_gets_a_record() -> None:
    world = World()
    world.cordon(DPU)
    world.operate_until(lambda call: isinstance(call, Write))
    note = {"metadata": {"annotations": {"note": "by another"}}}
    world.infra.change(PODDISRUPTIONBUDGETS, OPERATOR_NAMESPACE, blocker_name(DPU), note)
    kinds = []
    while (call := world.pending()) is not None:
        kinds.append(type(call).__name__)
        world.act()
    assert kinds == ["Write", "QuorumGet", "Write"]
    assert state(world) == "starting"


def test_the_host_is_read_then_shown_to_have_no_maintenance_then_marked_then_asked_to_drain() -> None:
    world = World(cordoned_before=True)
    world.cordon(DPU)
    world.operate_until(lambda call: isinstance(call, QuorumGet) and call.name == HOST)
    calls = []
    while (call := world.pending()) is not None:
        calls.append(call)
        world.act()
    kinds = [type(call).__name__ if not isinstance(call, Write) else type(call.step).__name__ for call in calls]
    assert kinds[-3:] == ["QuorumList", "Patch", "Apply"]
    assert set(kinds[:-3]) == {"QuorumGet"}
    mark, request = (call.step for call in calls if isinstance(call, Write))
    assert isinstance(mark, Patch)
    assert annotations_of(mark.patch) == {CORDONED_BEFORE_ANNOTATION: "yes"}
    assert isinstance(request, Apply)
    assert annotations_of(request.desired) == {
        CORDONED_BEFORE_ANNOTATION: "yes",
        HOST_UID_ANNOTATION: world.host().uid,
        HOST_UPDATE_ANNOTATION: world.host().machine.update,
    }
    assert request.live is None


def test_a_host_that_changes_between_its_read_and_its_mark_is_read_again() -> None:
    """Else a cordon that goes with another maintenance would be taken for one that a person wants."""
    world = World(cordoned_before=True)
    world.cordon(DPU)
    world.operate_until(is_mark)
    world.tenant.change(NODES, "", HOST, {"spec": {"unschedulable": None}})
    finish_task(world)
    assert world.own() is None
    world.work()
    own = world.own()
    assert own is not None
    assert own.cordoned_before is False


@pytest.mark.parametrize("terminating", [False, True], ids=["stays", "is ending"])
def test_nothing_is_asked_of_a_host_with_a_maintenance_that(terminating: bool) -> None:
    world = World()
    world.cordon(DPU)
    world.operate_until(lambda call: isinstance(call, QuorumList))
    metadata = {"name": "other", **({"deletionTimestamp": "now", "finalizers": ["f"]} if terminating else {})}
    world.tenant.put(NODEMAINTENANCES, {"metadata": metadata, "spec": {"nodeName": HOST}})
    finish_task(world)
    assert world.host().mark is None
    assert world.own() is None


@pytest.mark.parametrize("was_cordoned", [True, False])
def test_what_a_crash_leaves_between_mark_and_maintenance_is_carried_out_and_taken_off(was_cordoned: bool) -> None:
    world = World(cordoned_before=was_cordoned)
    world.cordon(DPU)
    world.operate_until(is_create)
    world.crash()
    world.uncordon(DPU)
    world.work()
    assert (world.host().mark, world.host().cordoned) == (None, was_cordoned)


def test_an_earlier_cordon_survives_a_budget_that_is_deleted_between_giving_back_and_restoring() -> None:
    world = World(cordoned_before=True)
    world.cordon(DPU)
    world.drained()
    world.uncordon(DPU)
    world.work()
    world.delete_budget(DPU)
    world.cordon(DPU)
    world.work()
    while world.step(world.nmo, "nmo"):
        pass
    world.work()
    world.uncordon(DPU)
    world.settle()
    assert (world.host().mark, world.host().cordoned) == (None, True)


def test_a_maintenance_that_was_made_unheard_becomes_that_of_the_cycle() -> None:
    world = World()
    world.cordon(DPU)
    world.operate_until(is_create)
    world.act_unheard()
    world.crash()
    world.work()
    cycle, own = world.budget(DPU).cycle, world.own()
    assert cycle is not None
    assert own is not None
    assert (cycle.state, cycle.maintenance) == (State.DRAINING, own.uid)


def test_a_refusal_is_written_down_and_tried_again_after_a_pause() -> None:
    world = World()
    world.refuses = True
    world.cordon(DPU)
    world.work()
    assert world.host().mark is None
    assert world.last is not None
    assert world.last.hold is not None
    assert world.last.hold.reason == "MaintenanceRefused"
    assert "the webhook says no" in world.last.hold.message
    assert world.last.recheck_seconds == 10
    world.refuses = False
    world.tick(10)
    world.work()
    assert world.own() is not None


def test_a_foreign_maintenance_is_waited_for_and_no_budget_opens_on_it() -> None:
    world = World()
    world.foreign_begin()
    world.cordon(DPU)
    for _ in range(10):
        world.work()
        world.nmo()
    assert world.last is not None
    assert world.last.hold is not None
    assert world.last.hold.reason == "ForeignMaintenance"
    assert world.budget(DPU).is_open is False
    world.foreign_end()
    world.settle()
    assert world.own() is not None
    assert world.budget(DPU).is_open is True


def test_a_host_in_a_drain_of_its_own_cluster_is_waited_for() -> None:
    world = World()
    world.tenant.change(NODES, "", HOST, {"metadata": {"annotations": {DESIRED_DRAIN_ANNOTATION: "drain-x"}}})
    world.cordon(DPU)
    world.work()
    assert world.last is not None
    assert world.last.hold is not None
    assert world.last.hold.reason == "HostInOwnDrain"
    assert world.own() is None


def started(world: World) -> None:
    world.work()


def half_drained(world: World) -> None:
    world.work()
    world.nmo()
    world.nmo()
    world.work()


def host_drained(world: World) -> None:
    world.drained()


def opened(world: World) -> None:
    world.drained()
    world.work()


@pytest.mark.parametrize("how_far", [started, half_drained, host_drained, opened], ids=lambda do: do.__name__)
def test_a_cordon_that_is_taken_back_ends_cleanly_when_it_was(how_far: Callable[[World], None]) -> None:
    world = World(cordoned_before=True)
    world.cordon(DPU)
    how_far(world)
    world.uncordon(DPU)
    world.settle()
    assert world.unsettled() == []


@pytest.mark.parametrize("order", ["skip", None])
def test_skip_ends_a_running_cycle_as_if_uncordoned(order: str | None) -> None:
    world = World()
    world.cordon(DPU)
    opened(world)
    world.order(DPU, "skip")
    world.settle()
    assert world.own() is None
    assert state(world) == ""
    world.order(DPU, order)
    world.settle()
    assert (world.own() is None) is (order == "skip")


def test_cordon_uncordon_cordon_while_the_old_maintenance_hangs_waits_for_a_new_one() -> None:
    world = World()
    world.cordon(DPU)
    opened(world)
    first = world.own()
    assert first is not None
    world.uncordon(DPU)
    world.work()
    world.cordon(DPU)
    world.work()
    own = world.own()
    assert own is not None
    assert own.terminating is True
    assert world.budget(DPU).is_open is False
    world.settle()
    own = world.own()
    assert own is not None
    assert own.uid != first.uid
    assert world.budget(DPU).is_open is True


def test_a_person_who_takes_the_drained_host_back_aborts_and_the_host_stays_in_use() -> None:
    world = World(2, cordoned_before=True)
    for name in world.dpus:
        world.cordon(name)
    opened(world)
    world.uncordon_host()
    world.settle()
    assert [state(world, name) for name in world.dpus] == ["aborted/HostUncordoned", "aborted/HostUncordoned"]
    assert (world.own(), world.host().cordoned) == (None, False)
    assert [world.budget(name).is_open for name in world.dpus] == [False, False]


def test_nothing_begins_after_an_abort_until_the_cordon_is_taken_back() -> None:
    world = World()
    world.cordon(DPU)
    opened(world)
    world.uncordon_host()
    world.settle()
    world.crash()
    world.settle()
    assert world.own() is None
    world.uncordon(DPU)
    world.settle()
    world.cordon(DPU)
    world.settle()
    assert world.own() is not None


def test_an_uncordon_while_the_maintenance_still_drains_aborts_nothing() -> None:
    world = World()
    world.cordon(DPU)
    half_drained(world)
    world.nmo()
    world.tenant.change(NODES, "", HOST, {"spec": {"unschedulable": None}})
    world.work()
    assert state(world) == "draining"


ABORT = DrainSettings(timeout_seconds=600, on_timeout=OnTimeout.ABORT)
HOLD = DrainSettings(timeout_seconds=600, on_timeout=OnTimeout.HOLD)


def test_a_drain_that_takes_too_long_is_aborted_where_that_is_asked_for() -> None:
    world = World(2, settings=ABORT)
    world.cordon(DPU)
    world.cordon("dpu-2")
    half_drained(world)
    assert world.last is not None
    assert world.last.recheck_seconds == 601
    world.tick(601)
    world.work()
    assert [state(world, name) for name in world.dpus] == ["aborted/DrainTimeout", "aborted/DrainTimeout"]
    own = world.own()
    assert own is not None
    assert own.terminating is True


def test_a_drain_that_takes_too_long_is_only_told_of_where_nothing_else_is_asked_for() -> None:
    world = World(settings=HOLD)
    world.cordon(DPU)
    half_drained(world)
    world.tick(601)
    world.work()
    assert world.last is not None
    assert world.last.hold is not None
    assert world.last.hold.reason == "DrainTimeout"
    world.settle()
    assert world.budget(DPU).is_open is True


def test_no_cycle_that_ever_opened_is_aborted_for_its_time() -> None:
    world = World(2, settings=ABORT)
    world.cordon(DPU)
    opened(world)
    world.order(DPU, "hold")
    world.cordon("dpu-2")
    world.work()
    world.tick(10_000)
    world.work()
    assert state(world) == "draining"


def test_an_aborted_drain_that_mco_still_wants_does_not_keep_the_host() -> None:
    world = World(settings=ABORT)
    world.mco_begins(DPU)
    half_drained(world)
    world.tick(601)
    world.settle()
    assert state(world) == "aborted/DrainTimeout"
    assert (world.own(), world.host().cordoned) == (None, False)


def test_a_dpu_that_is_registered_anew_goes_on_with_its_new_node() -> None:
    world = World()
    world.cordon(DPU)
    opened(world)
    node = world.infra.get(NODES, "", DPU)
    assert node is not None
    world.infra.remove(NODES, "", DPU)
    world.work()
    assert world.budget(DPU).is_open is False
    world.infra.put(NODES, node)
    world.settle()
    assert world.budget(DPU).is_open is True


def test_an_unreadable_record_is_taken_over_as_one_that_may_have_been_open() -> None:
    world = World()
    world.cordon(DPU)
    world.drained()
    broken = {"metadata": {"annotations": {CYCLE_ANNOTATION: "?"}}}
    world.infra.change(PODDISRUPTIONBUDGETS, OPERATOR_NAMESPACE, blocker_name(DPU), broken)
    world.settle()
    cycle = world.budget(DPU).cycle
    assert cycle is not None
    assert (cycle.opened, cycle.state) == (True, State.DRAINING)
    world.uncordon(DPU)
    world.settle()
    assert world.unsettled() == []


@pytest.mark.parametrize(
    "form", ['{"state":"aborted/HostUncordoned"}', '{"v":9,"state":"aborted/HostUncordoned","x":[]}']
)
def test_a_drain_that_was_given_up_by_another_version_is_not_begun_again(form: str) -> None:
    world = World()
    world.cordon("dpu-1")
    note = {"metadata": {"annotations": {CYCLE_ANNOTATION: form}}}
    world.infra.change(PODDISRUPTIONBUDGETS, OPERATOR_NAMESPACE, blocker_name("dpu-1"), note)
    world.work()
    assert world.own() is None
    assert world.stages["dpu-1"] is DpuPhase.HELD
    world.uncordon("dpu-1")
    world.settle()
    assert (world.violations, world.unsettled()) == ([], [])
