"""Rule 6, the memory of it: whoever reads a record and writes it again keeps what it knows of the DPU's past."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dpunetop.domain.drain.model.facts import DrainSettings, OnTimeout
from dpunetop.domain.drain.model.record import Cycle, State
from dpunetop.domain.names import NODEMAINTENANCES, maintenance_name, open_for
from dpunetop.kube.keys import NODES
from support.drainworld import HOST, World

DPU = "dpu-1"


def opened(dpus: int = 1) -> World:
    """A drain that is open, of a DPU that rebooted by itself before: its record says both."""
    world = World(dpus)
    world.cordon(DPU)
    world.work()
    world.reboots_by_itself(DPU)
    while world.kubelet(DPU):
        pass
    world.drained()
    world.work()
    assert world.budget(DPU).is_open is True
    return world


def cycle(world: World) -> Cycle:
    found = world.budget(DPU).cycle
    assert found is not None
    return found


def until(world: World, holds: Callable[[Cycle], bool]) -> None:
    """Let the operator go on, with nobody else, until its record is like that."""
    for _ in range(200):
        world.operate()
        found = world.budget(DPU).cycle
        if found is not None and holds(found):
            return
    raise AssertionError("the record is never like that:\n" + "\n".join(world.trace[-40:]))


def cordoned_again(world: World) -> None:
    world.uncordon(DPU)
    until(world, lambda found: found.state is State.RETURNING)
    world.cordon(DPU)
    until(world, lambda found: found.state is State.STARTING)


def cordoned_again_and_adopted(world: World) -> None:
    cordoned_again(world)
    until(world, lambda found: found.state is State.DRAINING)


def registered_anew(world: World) -> None:
    node = world.infra.get(NODES, "", DPU)
    assert node is not None
    world.infra.remove(NODES, "", DPU)
    world.work()
    uid = world.infra.put(NODES, node)["metadata"]["uid"]
    until(world, lambda found: found.node == uid)


def failed(world: World) -> None:
    world.nmo_restarts()
    world.nmo_fails()
    until(world, lambda found: found.failures == 1)


def maintenance_deleted(world: World) -> None:
    world.maintenance_vanishes()
    until(world, lambda found: found.maintenance == "")


def another_maintenance(world: World) -> None:
    before = cycle(world).maintenance
    world.maintenance_vanishes()
    until(world, lambda found: found.maintenance not in ("", before))


def refused(world: World) -> None:
    world.refuses = True
    world.maintenance_vanishes()
    until(world, lambda found: found.failures > 0)


def uncordoned_by_a_person(world: World) -> None:
    world.uncordon_host()
    until(world, lambda found: found.state is State.ABORTED)


def taken_over(world: World) -> None:
    world.crash()
    until(world, lambda found: found.term == world.process.term)


def closed_when_taken_back(world: World) -> None:
    world.uncordon(DPU)
    until(world, lambda _: not world.budget(DPU).is_open)
    assert cycle(world).state is State.RETURNING


def closed_while_held(world: World) -> None:
    world.order(DPU, "hold")
    until(world, lambda _: not world.budget(DPU).is_open)


WRITERS: dict[str, Callable[[World], None]] = {
    do.__name__.replace("_", " "): do
    for do in (
        cordoned_again,
        cordoned_again_and_adopted,
        registered_anew,
        failed,
        maintenance_deleted,
        another_maintenance,
        refused,
        uncordoned_by_a_person,
        taken_over,
        closed_when_taken_back,
        closed_while_held,
    )
}


@pytest.mark.parametrize("what", WRITERS)
def test_a_record_says_for_ever_that_its_budget_was_open_and_its_dpu_disturbed_though_it_was(what: str) -> None:
    world = opened()
    WRITERS[what](world)
    assert (cycle(world).opened, cycle(world).disturbed) == (True, True)


def test_a_drain_that_was_aborted_for_its_time_says_for_ever_that_its_dpu_was_disturbed() -> None:
    world = World(settings=DrainSettings(timeout_seconds=600, on_timeout=OnTimeout.ABORT))
    world.cordon(DPU)
    world.work()
    world.reboots_by_itself(DPU)
    while world.kubelet(DPU):
        pass
    world.work()
    world.tick(601)
    until(world, lambda found: found.state is State.ABORTED)
    assert cycle(world).disturbed is True


def test_a_mark_that_is_found_makes_the_record_say_that_the_budget_was_open() -> None:
    world = World()
    world.cordon(DPU)
    world.drained()
    world.order(DPU, "hold")
    mark = {"metadata": {"annotations": {open_for(DPU): f"{DPU} x"}}}
    world.tenant.change(NODEMAINTENANCES, "", maintenance_name(HOST), mark)
    world.work()
    own = world.own()
    assert own is not None
    assert own.marks == {}
    assert cycle(world).opened is True


def test_a_refused_drain_keeps_where_its_cycle_is_and_counts_one_more() -> None:
    world = World()
    world.refuses = True
    world.cordon(DPU)
    until(world, lambda found: found.failures == 2)
    world.tick(20)
    until(world, lambda found: found.failures == 3)
    assert (cycle(world).state, cycle(world).failed_at) == (State.STARTING, world.now)
