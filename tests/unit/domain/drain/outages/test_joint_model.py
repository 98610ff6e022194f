"""Outages and drains of the same host, decided by one operator, while everything goes wrong: no host is lost between
the two. `DPUNETOP_EFFORT` multiplies the walks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from support.drainworld import finish
from support.effort import times
from support.jointworld import JointWorld, repair_by_drain, walk

WALKS = times(8)
LENGTH = 150
Do = Callable[[JointWorld], object]


def world_of(seed: int) -> JointWorld:
    """One or two DPUs, a host that a person has cordoned or not, and an outage at the beginning or not."""
    world = JointWorld(1 + seed % 2, cordoned_before=seed % 5 == 4)
    if seed % 4:
        world.outage_lasts(node=bool(seed // 4 % 2))
    return world


@pytest.mark.parametrize("batch", range(8))
def test_whatever_happens_no_host_is_lost_between_its_drain_and_its_outage(batch: int) -> None:
    for seed in range(batch, WALKS, 8):
        world = world_of(seed)
        walk(world, seed, LENGTH)
        finish(world)


# --- a drain of a host that is cordoned for an outage -----------------------------------------------------------------


@cache
def calls_of(dpus: int) -> int:
    """Of all that, when nothing goes wrong. Not asked while tests are collected: each process does that."""
    world = JointWorld(dpus)
    world.outage_lasts(node=False)
    repair_by_drain(world)
    assert (world.violations, world.unsettled()) == ([], [])
    return world.calls


FAULTS: dict[str, Do] = {
    "before the call": lambda world: world.act_lost() and world.crash(),
    "after its effect": lambda world: world.act_unheard() and world.crash(),
    "with the call under way": lambda world: world.depose() or (world.act_lost() and world.crash()),
    "and its answer is lost": lambda world: world.act_unheard(),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("dpus", [1, 2])
def test_a_crash_at_any_call_from_the_outage_to_the_end_of_the_drain_leads_to_the_same_end(
    dpus: int, fault: str
) -> None:
    for number in range(0, calls_of(dpus), 1 if WALKS > 8 else 5 * dpus):
        world = JointWorld(dpus)
        world.strike(number, FAULTS[fault])
        world.outage_lasts(node=False)
        repair_by_drain(world)
        assert world.struck, number
        assert (world.violations, world.unsettled()) == ([], []), (number, world.trace[-40:])
