"""H11 and H5: two clusters in which everything goes wrong, and in which nothing must happen that cuts a host off.

`DPUNETOP_EFFORT` multiplies the walks.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from dpunetop.domain.drain.model.facts import DrainSettings, OnTimeout, Reason
from dpunetop.domain.drain.protection.decision import ProtectionPhase
from dpunetop.domain.drain.report.dpustatus import DpuPhase
from support.drainfaults import faults
from support.drainworld import World, finish, walk
from support.effort import times

WALKS = times(8)
PAGE = (Path(__file__).parents[4] / "docs" / "drain.md").read_text()
LENGTH = 250


def section(title: str) -> list[list[str]]:
    """The rows of the table under a heading of the page, without its head."""
    text = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


WAYS_OUT = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[-1])) for row in section("Stages")}


def world_of(seed: int) -> World:
    """Worlds of each kind in turn: one or two DPUs, a host that was cordoned or not, a limit of time or none."""
    settings = DrainSettings(timeout_seconds=900, on_timeout=OnTimeout.ABORT) if seed % 8 >= 6 else DrainSettings()
    return World(1 + seed % 2, cordoned_before=bool(seed // 2 % 2), settings=settings)


@pytest.mark.parametrize("batch", range(8))
def test_whatever_happens_no_host_is_cut_off_and_all_comes_to_rest_as_it_was(batch: int) -> None:
    for seed in range(batch, WALKS, 8):
        world = world_of(seed)
        walk(world, seed, LENGTH, faults(world) if seed % 3 else ())
        finish(world)
        for begin, end in world.passed:
            assert str(end) in WAYS_OUT[str(begin)], f"seed {seed}: {begin} -> {end} is not on the page"


def whole_drain(world: World) -> None:
    """Both DPUs of a host are updated at once, from the cordon to the end."""
    for name in world.dpus:
        world.mco_begins(name)
    world.settle()


@cache
def calls_of_a_whole_drain(dpus: int) -> int:
    """Not asked while tests are collected: each process does that."""
    world = World(dpus)
    whole_drain(world)
    assert world.unsettled() == []
    return world.calls


def test_a_whole_drain_takes_a_bounded_number_of_calls() -> None:
    assert calls_of_a_whole_drain(1) <= 60
    assert calls_of_a_whole_drain(2) <= 120


FAULTS = {
    "before the call": lambda world: world.act_lost() and world.crash(),
    "after its effect": lambda world: world.act_unheard() and world.crash(),
    "with the call under way": lambda world: world.depose() or (world.act_lost() and world.crash()),
    "and its answer is lost": lambda world: world.act_unheard(),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_crash_at_any_call_leads_to_the_same_end_in_few_more_calls(fault: str) -> None:
    calls = calls_of_a_whole_drain(2)
    for number in range(0, calls, 1 if WALKS > 64 else 3):
        world = World(2, cordoned_before=bool(number % 2))
        world.strike(number, FAULTS[fault])
        whole_drain(world)
        assert world.struck, number
        assert (world.violations, world.unsettled()) == ([], []), (number, world.trace[-30:])
        assert world.calls <= calls + 45, number


def test_at_rest_nothing_is_asked_or_written() -> None:
    world = World(2)
    whole_drain(world)
    before = world.calls
    for _ in range(5):
        world.work()
    world.crash()
    world.work()
    assert world.calls == before


def test_every_stage_is_on_the_page_with_ways_out_that_lead_to_idle() -> None:
    assert WAYS_OUT.keys() == {str(stage) for stage in DpuPhase}
    home = {"Idle"}
    while more := {stage for stage, routes in WAYS_OUT.items() if routes & home} - home:
        home |= more
    assert home == WAYS_OUT.keys()
    assert set().union(*WAYS_OUT.values()) <= WAYS_OUT.keys()


def test_every_reason_is_on_the_page_with_what_ends_it() -> None:
    rows = section("Reasons, and what ends them")
    assert {row[0].strip("`") for row in rows} == {*map(str, Reason), str(ProtectionPhase.NOT_OURS)}
    never = {"HostUncordoned", "Teardown"}
    assert {row[0].strip("`") for row in rows if not row[2] and not row[3]} == never
