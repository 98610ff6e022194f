"""While a rollout is stopped, a pod of the last template that proved itself is as good as one of the newest."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from dpunetop.domain.drain.model.facts import Templates
from dpunetop.domain.drain.protection.tasks import ChangeEntry
from dpunetop.domain.drain.rules.cycle import decide
from dpunetop.domain.drain.rules.returning import EndMaintenance
from support.drainviews import DONE, DRAINED_HOST, POD, RETURNING, free, view
from support.drainworld import World

DPU = "dpu-1"
COUNTS = {  # newest, proven, that of the pod
    "the newest, which is proven": ("t2", "t2", "t2", True),
    "the newest, which is not": ("t2", "t1", "t2", True),
    "the one before, while the newest is not proven": ("t2", "t1", "t1", True),
    "the one before, once the newest is proven": ("t2", "t2", "t1", False),
    "an older one": ("t3", "t2", "t1", False),
    "none is known to be proven": ("t2", "", "t1", False),
    "a pod without a template": ("t2", "", "", False),
    "no DaemonSet, and a pod without a template": ("", "", "", False),
}


@pytest.mark.parametrize(("newest", "proven", "found", "expected"), COUNTS.values(), ids=COUNTS.keys())
def test_a_template_counts(newest: str, proven: str, found: str, expected: bool) -> None:
    assert Templates(newest, proven).counts(found) is expected


def in_a_drain(number: int) -> World:
    """A world whose DPU is drained and rebooted, after so many more steps of the machine-config operator."""
    world = World()
    world.mco_begins(DPU)
    world.drained()
    for _ in range(number):
        world.work()
        world.mco(DPU)
    return world


@pytest.mark.parametrize("number", range(6))
def test_a_bad_template_that_is_rolled_during_a_drain_holds_no_host(number: int) -> None:
    world = in_a_drain(number)
    before = world.template_of(DPU)
    world.roll(works=False)
    world.settle()
    assert (world.violations, world.unsettled()) == ([], [])
    assert world.template_of(DPU) == before


def test_the_working_pod_stays_when_the_process_that_knew_it_has_gone() -> None:
    world = in_a_drain(2)
    world.roll(works=False)
    world.crash()
    world.settle()
    assert (world.violations, world.unsettled(), world.template_of(DPU)) == ([], [], "r1")


def test_a_pod_of_the_template_before_is_started_anew_once_the_newest_has_proved_itself() -> None:
    world = in_a_drain(2)
    world.roll(works=True)
    world.proven = world.template  # on another DPU
    world.settle()
    assert (world.violations, world.unsettled(), world.template_of(DPU)) == ([], [], "r2")


def test_no_working_pod_goes_for_another_entry_while_the_rollout_is_stopped() -> None:
    waiting = replace(free(RETURNING), entry="TENANT_K8S_NODE=host-1\nOVN_LOG_LEVEL=dbg")
    look = partial(view, maintenances=(DONE,), host=DRAINED_HOST)
    assert isinstance(decide(look(waiting)).task, ChangeEntry)
    stopped = replace(waiting, pods=(replace(POD, newest=False),))
    assert isinstance(decide(look(stopped)).task, EndMaintenance)
