"""Hosts whose networks fail, while all else goes wrong as well: none is cordoned that must not be, and none stays so.

`DPUNETOP_EFFORT` multiplies the walks.
"""

from __future__ import annotations

import pytest

from dpunetop.domain.drain.outages.unplanned import NetworkReason
from support.effort import times
from support.outageworld import OutageWorld, finish, walk

WALKS = times(8)
LENGTH = 400


@pytest.mark.parametrize("batch", range(8))
def test_whatever_happens_no_host_is_cordoned_or_uncordoned_wrongly_and_all_comes_to_rest(batch: int) -> None:
    for seed in range(batch, WALKS, 8):
        world = OutageWorld(limit=1 + seed % 3)
        walk(world, seed, LENGTH)
        finish(world)


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_of_several_that_fail_as_many_are_cordoned_as_may_be_and_all_come_back(limit: int) -> None:
    world = OutageWorld(hosts=8, limit=limit)
    for host in ("h1", "h2"):
        world.fail(host, node=True)
    for host in ("h3", "h4"):
        world.fail(host, node=False)
    world.settle()
    assert len(world.cordoned_by_us()) == limit
    said = [state.reason for host in world.hosts if (state := world.said(host)) is not None]
    assert sorted(said) == sorted(
        [NetworkReason.HOST_CORDONED] * limit + [NetworkReason.CORDON_LIMIT_REACHED] * (4 - limit)
    )
    finish(world)
    assert [world.said(host) for host in world.hosts] == [None] * 8


def test_at_rest_nothing_is_written() -> None:
    world = OutageWorld()
    world.fail("h1", node=True)
    world.settle()
    before = world.writes
    world.settle()
    world.crash()
    world.settle()
    assert (world.writes, world.cordoned_by_us()) == (before, ["h1"])
