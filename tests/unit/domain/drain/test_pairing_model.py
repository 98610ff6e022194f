"""Pairs that are made and taken apart while everything goes wrong: one DPU at a time, under protection, and in the end
what people asked for.

`DPUNETOP_DRAIN_WALKS` takes more walks than the gate does.
"""

from __future__ import annotations

import os

import pytest

from support.pairingworld import HOST, World

WALKS = int(os.environ.get("DPUNETOP_DRAIN_WALKS", "64"))
LENGTH = 400


def walked(seed: int) -> World:
    world = World()
    world.walk(seed, LENGTH)
    return world


@pytest.mark.parametrize("batch", range(4))
def test_whatever_happens_a_host_has_one_dpu_at_most_and_only_under_protection(batch: int) -> None:
    for seed in range(batch, WALKS, 4):
        world = walked(seed)
        world.settle()
        assert world.violations == [], f"seed {seed}"


@pytest.mark.parametrize("batch", range(4))
def test_once_the_host_is_drained_it_is_served_by_whom_people_asked_for(batch: int) -> None:
    for seed in range(batch, WALKS, 4):
        world = walked(seed)
        world.drain()
        world.settle()
        asked = {*world.wishes, *world.annotations}
        annotated = [dpu for dpu in world.annotations if world.wishes.get(dpu, HOST) == HOST]
        serving = world.serving()
        assert len(serving) == min(1, len(asked)), f"seed {seed}: {serving} of {asked}"
        if len(annotated) == 1:
            assert serving == annotated, f"seed {seed}"
