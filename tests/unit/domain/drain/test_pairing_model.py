"""Pairs that are made and taken apart while everything goes wrong: one DPU at a time, under protection, and in the end
what people asked for.

`DPUNETOP_EFFORT` multiplies the walks.
"""

from __future__ import annotations

import random
from functools import partial

import pytest

from support.effort import times
from support.pairingworld import DPUS, HOST, WORKERS, Action, World

WALKS = times(8)
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
    """`env-overrides` is theirs. An annotation may be a DPU's own: it takes the host from nobody whom they name, and of
    two that are annotated one serves that did before, or none does."""
    for seed in range(batch, WALKS, 4):
        world = walked(seed)
        world.drain()
        world.settle()
        serving = world.serving()
        if world.wishes or len(world.annotations) == 1:
            assert len(serving) == 1, f"seed {seed}: {serving} of {world.wishes}, {world.annotations}"
        assert set(serving) <= set(world.wishes or world.annotations), f"seed {seed}"


@pytest.mark.parametrize("batch", range(4))
def test_a_dpu_that_annotates_itself_does_not_get_the_host_of_another_at_any_drain(batch: int) -> None:
    victim, attacker = DPUS
    for seed in range(batch, WALKS, 4):
        world = World()
        world.annotate(victim, HOST) if seed % 8 < 4 else world.wish(victim, HOST)
        world.settle()
        assert world.serving() == [victim]
        dice = random.Random(seed)
        for _ in range(LENGTH):
            world.step(dice.choice(attacks(world, attacker)))
            assert not [pod for pod in world.serving() if pod == attacker], f"seed {seed}"
        world.settle()
        assert (world.serving(), world.violations) == ([victim], []), f"seed {seed}"


def attacks(world: World, attacker: str) -> list[Action]:
    """Nobody takes the pair apart; the attacker says what it likes while drains come and go and the operator dies."""
    own: list[Action] = [lambda: world.annotate(attacker, HOST), lambda: world.annotate(attacker, None)]
    others: list[Action] = [world.drain, world.give_back, world.crash]
    works: list[Action] = [partial(world.sync, name) for name in world.servers]
    works += [partial(world.operate, worker) for worker in WORKERS]
    works += [partial(world.kubelet, dpu) for dpu in DPUS] + [partial(world.run_blocker, dpu) for dpu in DPUS]
    return [*works * 3, *own, *others]
