"""Two machine-config operators: that of infra drains the DPU, that of the tenant updates the host."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dpunetop.domain.drain.model.facts import MaintenancePhase, Mco, Reason
from dpunetop.domain.drain.model.record import State
from support.drainworld import World, finish

DPU = "dpu-1"


def held(world: World) -> Reason | None:
    assert world.last is not None
    return None if world.last.hold is None else world.last.hold.reason


def updates(world: World, steps: int) -> None:
    """So many steps of the host's own operator."""
    for _ in range(steps):
        assert world.host_updates.step()
        world.steps += 1


CHOSEN, WORKING, ASKED, CORDONED, DRAINED, UNCORDON_ASKED, UNCORDONED = range(7)
"""Steps of an update of the host."""


def drained(dpus: int = 1) -> World:
    world = World(dpus)
    world.mco_begins(DPU)
    world.drained()
    return world


def test_no_maintenance_is_made_for_a_host_that_its_own_operator_has_chosen() -> None:
    world = World()
    world.host_updates.begin()
    world.mco_begins(DPU)
    world.work()
    assert (world.own(), held(world)) == (None, Reason.HOST_IN_OWN_DRAIN)
    while world.host_updates.step():
        assert world.own() is None
        world.work()
    assert world.own() is not None


def chosen_at_the_same_time() -> World:
    """The host is chosen between our look at it and the cordon of its maintenance."""
    world = World()
    world.mco_begins(DPU)
    world.work()
    assert world.own() is not None
    world.host_updates.begin()
    world.drained()
    return world


@pytest.mark.parametrize("steps", range(UNCORDONED))
def test_no_budget_is_opened_while_the_host_s_own_operator_is_at_work(steps: int) -> None:
    world = chosen_at_the_same_time()
    updates(world, min(steps, DRAINED))
    world.work()
    assert world.budget(DPU).is_open is False
    assert held(world) is Reason.HOST_IN_OWN_DRAIN
    assert world.own() is not None


def test_an_open_budget_is_closed_as_soon_as_the_host_s_own_operator_is_at_work() -> None:
    world = drained()
    world.work()
    assert world.budget(DPU).is_open
    world.change_host({"metadata": {"annotations": {"machineconfiguration.openshift.io/state": "Working"}}})
    world.work()
    assert world.budget(DPU).is_open is False
    assert held(world) is Reason.HOST_IN_OWN_DRAIN


def undone_while_open() -> World:
    """All of its update happens before we look."""
    world = drained()
    world.work()
    assert world.budget(DPU).is_open
    world.host_updates.choose()
    while world.host_updates.step():
        world.steps += 1
    assert not world.host().cordoned
    assert world.workloads
    return world


def test_an_uncordon_by_the_host_s_own_operator_closes_the_budget_and_is_no_abort() -> None:
    world = undone_while_open()
    world.work()
    cycle = world.budget(DPU).cycle
    assert cycle is not None
    assert (world.budget(DPU).is_open, cycle.state, cycle.reason) == (False, State.DRAINING, "")
    assert cycle.opened
    own = world.own()
    assert own is not None
    assert own.phase is MaintenancePhase.RUNNING  # its operator still says Succeeded, of the drain before


def test_after_it_the_host_is_drained_anew_before_its_dpu_goes_down() -> None:
    world = undone_while_open()
    world.work()
    world.drained()
    assert not world.workloads
    world.work()
    assert world.budget(DPU).is_open
    while world.node(DPU).mco in (Mco.DRAINS, Mco.DRAINED) and world.mco(DPU):
        world.kubelet(DPU)
    finish(world)


def down(world: World) -> None:
    while not world.dpus[DPU].down:
        world.mco(DPU)


def test_a_dpu_that_is_down_when_the_host_is_uncordoned_has_to_prove_its_network() -> None:
    world = drained()
    world.work()
    down(world)
    world.host_updates.choose()
    while world.host_updates.step():
        world.steps += 1
        world.work()
    while world.node(DPU).mco is not Mco.IDLE:
        world.mco(DPU)
        world.work()
    assert not world.dpus[DPU].net_up
    world.work()
    assert world.own() is not None
    assert not world.violations
    finish(world)


def test_no_host_is_given_back_in_the_middle_of_an_update_of_its_own() -> None:
    world = chosen_at_the_same_time()
    updates(world, ASKED)
    world.order(DPU, "skip")
    world.work()
    assert world.own() is not None
    assert held(world) in (Reason.HOST_IN_OWN_DRAIN, Reason.MACHINE_CONFIG_PENDING)


WAYS: dict[str, Callable[[World], object]] = {
    "force": lambda world: world.force(DPU),
    "it ends by itself": lambda world: world.settle(),
}


@pytest.mark.parametrize("way", WAYS)
def test_there_is_a_way_out_of_an_update_of_the_host_that_failed(way: str) -> None:
    world = chosen_at_the_same_time()
    updates(world, ASKED)
    world.host_updates.fail()
    world.work()
    assert world.last is not None
    assert world.last.hold is not None
    assert 'is Degraded: "it is"' in world.last.hold.message
    assert f"annotate {DPU} dpu.openshift.io/drain=force:{world.node(DPU).boot_id}" in world.last.hold.message
    WAYS[way](world)
    world.work()
    assert world.budget(DPU).is_open or world.own() is None
    finish(world)


def test_a_host_whose_operator_gave_up_before_it_drained_does_not_hold_its_dpu() -> None:
    world = World()
    world.host_updates.begin()
    world.host_updates.fail()
    world.mco_begins(DPU)
    world.drained()
    world.work()
    assert world.budget(DPU).is_open


def test_a_person_who_uncordons_a_drained_host_aborts_as_ever() -> None:
    world = drained()
    world.work()
    world.uncordon_host()
    world.work()
    cycle = world.budget(DPU).cycle
    assert cycle is not None
    assert (cycle.state, cycle.reason) == (State.ABORTED, Reason.HOST_UNCORDONED)
