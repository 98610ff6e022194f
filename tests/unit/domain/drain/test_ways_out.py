"""No silent wait: whatever holds a drain has a way out, and who takes it has the host back.

Each row brings a host to where it waits with a reason, then does what `docs/drain.md` says: what ends the wait by
itself, or what a person can do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dpunetop.domain.drain.model.facts import DrainSettings, HoldReason, MaintenancePhase, Reason, Signal
from dpunetop.domain.names import (
    CURRENT_CONFIG_ANNOTATION,
    DESIRED_CONFIG_ANNOTATION,
    DESIRED_DRAIN_ANNOTATION,
    LAST_APPLIED_DRAIN_ANNOTATION,
    MACHINE_CONFIG_STATE_ANNOTATION,
)
from dpunetop.kube.keys import NODES, PODS
from dpunetop.kube.meta import name_of
from support import drainfaults
from support.drainworld import HOST, OPERATOR_NAMESPACE, TENANT, World

PAGE = (Path(__file__).parents[4] / "docs" / "drain.md").read_text()
DPU = "dpu-1"
Do = Callable[[World], object]


# --- commands, and what others do -------------------------------------------------------------------------------------


def uncordon(world: World) -> None:
    world.uncordon(DPU)


def force(world: World) -> None:
    """`kubectl uncordon`, then the annotation `force:<bootID>`."""
    world.uncordon(DPU)
    world.force(DPU)


def force_open(world: World) -> None:
    """The annotation alone: the DPU is drained whatever its host does, reboots, and is uncordoned."""
    world.force(DPU)
    world.work()
    assert world.budget(DPU).is_open is True
    world.reboots_by_itself(DPU)
    while world.kubelet(DPU):
        pass
    world.order(DPU, None)
    world.uncordon(DPU)


def skip_and_off(world: World) -> None:
    world.order(DPU, "skip")
    world.settle()
    world.uncordon(DPU)
    world.order(DPU, None)


def annotation_off(world: World) -> None:
    world.order(DPU, None)
    uncordon(world)


def kubelets(world: World) -> None:
    while world.kubelet(DPU):
        pass


def tenant_answers(world: World) -> None:
    world.tenant_comes()
    uncordon(world)


def after_forcing(do: Do) -> Do:
    """The budget is forced open first."""

    def both(world: World) -> None:
        force_open(world)
        do(world)

    return both


def then_forced(do: Do) -> Do:
    """The budget is forced open last."""

    def both(world: World) -> None:
        do(world)
        force_open(world)

    return both


def then_uncordon(do: Do) -> Do:
    """The drain is let go on to its end, and the cordon is taken back."""

    def both(world: World) -> None:
        do(world)
        world.settle()
        assert world.budget(DPU).is_open is True
        uncordon(world)

    return both


def shown(**members: object) -> Do:
    def show(world: World) -> None:
        world.shown = members

    return show


def configs(world: World, current: str, desired: str) -> None:
    marks = {CURRENT_CONFIG_ANNOTATION: current, DESIRED_CONFIG_ANNOTATION: desired}
    world.infra.change(NODES, "", DPU, {"metadata": {"annotations": marks}})


def state(world: World, word: str) -> None:
    marks = {MACHINE_CONFIG_STATE_ANNOTATION: word}
    world.infra.change(NODES, "", DPU, {"metadata": {"annotations": marks}})


def host_drains(world: World, word: str) -> None:
    marks = {DESIRED_DRAIN_ANNOTATION: f"{word}-x", LAST_APPLIED_DRAIN_ANNOTATION: f"{word}-x"}
    world.tenant.change(NODES, "", HOST, {"metadata": {"annotations": marks}})


# --- where it waits ---------------------------------------------------------------------------------------------------


def cordoned(**kinds: Any) -> World:
    world = World(settings=DrainSettings(**kinds))
    world.cordon(DPU)
    return world


def opened() -> World:
    world = World()
    world.cordon(DPU)
    world.drained()
    world.work()
    return world


def without_network() -> World:
    """It comes back from its reboot, and its ovnkube does not."""
    world = opened()
    world.reboots_by_itself(DPU)
    world._boot(DPU)
    world._show_pod(DPU, ready=False)
    world.uncordon(DPU)
    return world


def without_blocker() -> World:
    world = opened()
    found = world._blocker(DPU)
    assert found is not None
    world.infra.change(PODS, OPERATOR_NAMESPACE, name_of(found), {"status": {"phase": "Pending"}})
    world.uncordon(DPU)
    return world


def with_config_to_come() -> World:
    world = opened()
    configs(world, "c1", "c2")
    world.infra.change(NODES, "", DPU, {"spec": {"unschedulable": None}})
    return world


def with_a_degraded_daemon() -> World:
    world = with_config_to_come()
    state(world, "Degraded")
    return world


def repaired(world: World) -> None:
    configs(world, "c2", "c2")
    state(world, "Done")


def failed_twice() -> World:
    world = cordoned()
    for _ in range(2):
        while (own := world.own()) is None or own.phase is not MaintenancePhase.RUNNING:
            world.work()
            world.nmo()
        world.nmo_fails()
        world.work()
        while world.nmo():
            pass
    return world


def refused() -> World:
    world = cordoned()
    world.refuses = True
    return world


def without_operator() -> World:
    world = World()
    drainfaults.is_uninstalled(world)
    world.cordon(DPU)
    return world


def of_a_late_host() -> World:
    world = cordoned(timeout_seconds=600)
    world.work()
    world.tick(601)
    return world


def aborted() -> World:
    world = opened()
    world.uncordon_host()
    world.work()
    while world.nmo():
        pass
    return world


def of_an_absent_host() -> World:
    world = cordoned()
    world.tenant.remove(NODES, "", HOST)
    return world


def of_an_absent_dpu() -> World:
    world = opened()
    world.infra.remove(NODES, "", DPU)
    return world


def held() -> World:
    world = opened()
    world.order(DPU, "hold")
    return world


def held_at_the_end() -> World:
    world = held()
    world.uncordon(DPU)
    return world


def with_somebody_elses() -> World:
    world = World()
    world.foreign_begin()
    world.cordon(DPU)
    return world


def on_its_way_out() -> World:
    world = opened()
    world.uncordon(DPU)
    world.work()
    world.cordon(DPU)
    return world


def of_a_host_in_its_own_drain() -> World:
    world = cordoned()
    host_drains(world, "drain")
    return world


def of_a_silent_tenant() -> World:
    world = cordoned()
    world.sync(TENANT)
    world.tenant_goes()
    return world


def showing(**members: object) -> Callable[[], World]:
    def build() -> World:
        world = cordoned()
        world.shown = members
        return world

    return build


def without_lease() -> World:
    world = opened()
    world.reboots_by_itself(DPU)
    kubelets(world)
    world.uncordon(DPU)
    late = HoldReason(Reason.LEASE_NOT_RENEWED, "the Lease is not renewed")
    world.shown = {"signals": (Signal("lease", holds=False, trouble=late),)}
    return world


def half_ended() -> World:
    """The node maintenance operator went away when it had taken its taint off."""
    world = opened()
    world.uncordon(DPU)
    world.work()
    world.nmo()
    world.maintenance_vanishes()
    return world


@dataclass(frozen=True)
class Way:
    reason: Reason
    where: Callable[[], World]
    out: Do
    comes_out_cordoned: bool = False
    """As is said with an Event, because nothing has proven its network."""


SLOT = HoldReason(Reason.NO_FREE_SLOT, "wait")
WAYS: tuple[Way, ...] = (
    Way(Reason.HOST_DRAINING, cordoned, uncordon),
    Way(Reason.HOST_DRAINING, cordoned, then_uncordon(lambda w: w.settle())),
    Way(Reason.DPU_DRAINING, opened, uncordon),
    Way(Reason.PROOF_MISSING, without_network, kubelets),
    Way(Reason.PROOF_MISSING, without_network, force, comes_out_cordoned=True),
    Way(Reason.LEASE_NOT_RENEWED, without_lease, shown()),
    Way(Reason.LEASE_NOT_RENEWED, without_lease, force, comes_out_cordoned=True),
    Way(Reason.MACHINE_CONFIG_PENDING, with_config_to_come, lambda w: configs(w, "c2", "c2")),
    Way(Reason.MACHINE_CONFIG_PENDING, with_config_to_come, force, comes_out_cordoned=True),
    Way(Reason.MACHINE_CONFIG_STUCK, with_a_degraded_daemon, repaired),
    Way(Reason.MACHINE_CONFIG_STUCK, with_a_degraded_daemon, force, comes_out_cordoned=True),
    Way(Reason.BLOCKER_NOT_READY, without_blocker, kubelets),
    Way(Reason.BLOCKER_NOT_READY, without_blocker, force, comes_out_cordoned=True),
    Way(Reason.HELD_BY_ANNOTATION, held, annotation_off),
    Way(Reason.HELD_BY_ANNOTATION, held_at_the_end, annotation_off),
    Way(Reason.FOREIGN_MAINTENANCE, with_somebody_elses, then_uncordon(lambda w: w.foreign_end())),
    Way(Reason.HOST_IN_OWN_DRAIN, of_a_host_in_its_own_drain, then_uncordon(lambda w: host_drains(w, "uncordon"))),
    Way(Reason.HOST_IN_OWN_DRAIN, of_a_host_in_its_own_drain, after_forcing(lambda w: host_drains(w, "uncordon"))),
    Way(Reason.NO_FREE_SLOT, showing(not_now=SLOT), then_uncordon(shown())),
    Way(Reason.MAINTENANCE_TERMINATING, on_its_way_out, then_uncordon(lambda w: w.nmo())),
    Way(Reason.MAINTENANCE_TERMINATING, on_its_way_out, then_uncordon(lambda w: w.maintenance_vanishes())),
    Way(Reason.MAINTENANCE_FAILED, failed_twice, then_uncordon(lambda w: w.tick(300))),
    Way(Reason.MAINTENANCE_REFUSED, refused, then_uncordon(lambda w: w.tick(300))),
    Way(Reason.NODE_MAINTENANCE_NOT_SERVED, without_operator, then_uncordon(drainfaults.is_installed)),
    Way(Reason.NODE_MAINTENANCE_NOT_SERVED, without_operator, skip_and_off),
    Way(Reason.NODE_MAINTENANCE_NOT_SERVED, without_operator, force_open),
    Way(Reason.DRAIN_TIMEOUT, of_a_late_host, uncordon),
    Way(Reason.DRAIN_TIMEOUT, of_a_late_host, then_uncordon(lambda w: w.nmo())),
    Way(Reason.HOST_STILL_CORDONED, half_ended, lambda w: w.uncordon_stuck_host()),
    Way(Reason.ABORTED, aborted, uncordon),
    Way(Reason.ABORTED, aborted, skip_and_off),
    Way(Reason.HOST_ABSENT, of_an_absent_host, then_uncordon(World.register_host_anew)),
    Way(Reason.HOST_ABSENT, of_an_absent_host, then_forced(World.register_host_anew)),
    Way(Reason.DPU_GONE, of_an_absent_dpu, lambda w: setattr(w, "is_sure", True), comes_out_cordoned=True),
    Way(Reason.TENANT_UNREACHABLE, of_a_silent_tenant, tenant_answers),
    Way(Reason.TENANT_UNREACHABLE, of_a_silent_tenant, after_forcing(lambda w: w.tenant_comes())),
    Way(Reason.TIME_WENT_BACK, showing(unverified=True), then_uncordon(shown())),
)
ELSEWHERE: dict[Reason, str] = {
    Reason.HOST_UNCORDONED: "why a drain was aborted; nothing waits with it",
    Reason.TEARDOWN: "no drain begins any more; what has begun ends as always",
    Reason.CACHE_CONTRADICTED: "about what is watched: controllers/drain/test_stalls.py",
    Reason.DPU_ABSENT: "about what people wrote: controllers/drain/test_mistakes.py",
    Reason.DPU_NOT_SELECTED: "the same",
    Reason.INFRA_FORBIDDEN: "of the worker of a host: controllers/drain",
    Reason.REQUEST_FAILED: "the same",
    Reason.TENANT_NOT_ENGAGED: "as TenantUnreachable, but for the words: controllers/drain/test_gather_host.py",
    Reason.TENANT_NOT_SYNCED: "the same",
    Reason.TENANT_SWAPPED: "the same",
    Reason.TENANT_UNAUTHORIZED: "the same",
}
OFFERED = {"skip": {"skip_and_off"}, "force:<bootID>": {"force", "force_open"}}


def test_every_reason_has_a_way_out_that_is_walked_or_is_walked_elsewhere() -> None:
    walked = {way.reason for way in WAYS}
    assert walked | ELSEWHERE.keys() == set(Reason)
    assert not walked & ELSEWHERE.keys()


def waiting(way: Way) -> World:
    world = way.where()
    for _ in range(30):
        world.work()
        if world.last is not None and world.last.hold is not None and world.last.hold.reason is way.reason:
            return world
    raise AssertionError(f"{way.reason} is not reached: {world.last}\n" + "\n".join(world.trace[-30:]))


def come_to_rest(world: World) -> None:
    if world.infra.get(NODES, "", DPU) is not None:
        world.settle()
        return
    while world.work() or world.nmo():
        pass


@pytest.mark.parametrize("way", WAYS, ids=[f"{i} {way.reason}" for i, way in enumerate(WAYS)])
def test_the_way_out_in_the_message_returns_the_host(way: Way) -> None:
    world = waiting(way)
    world.events.clear()
    way.out(world)
    come_to_rest(world)
    assert world.violations == []
    assert world.own() is None
    assert (world.host().mark, world.host().tainted) == (None, False)
    assert world.host().cordoned is way.comes_out_cordoned
    assert ("HostLeftCordoned" in world.events) is way.comes_out_cordoned
    assert world.budget(DPU).cycle is None
    assert world.budget(DPU).is_open is False


def rows() -> dict[str, str]:
    text = PAGE.split("## Reasons, and what ends them\n")[1].split("\n## ")[0]
    found = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `")]
    return {cells[0].strip().strip("`"): cells[3] for cells in found}


@pytest.mark.parametrize("word", OFFERED)
def test_where_the_page_offers_an_annotation_it_is_tried(word: str) -> None:
    offered = {reason for reason, said in rows().items() if f"`{word}`" in said}
    tried = {
        str(way.reason)
        for way in WAYS
        if set(way.out.__code__.co_names) & OFFERED[word] or way.out.__name__ in OFFERED[word]
    }
    assert offered - {str(reason) for reason in ELSEWHERE} <= tried
