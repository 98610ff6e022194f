"""A host that is cordoned for an outage and drained: neither undoes, hides or outlives what the other does, and each
reason that is said of its network has a way out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from dpunetop.domain.drain.model.calls import Call, Write
from dpunetop.domain.drain.model.cordonmark import CordonProgress
from dpunetop.domain.drain.model.facts import Reason
from dpunetop.domain.drain.outages.unplanned import NetworkReason
from dpunetop.domain.names import NODEMAINTENANCES
from dpunetop.kube.plan import Apply, Patch
from support.drainworld import FINALIZER, finish
from support.jointworld import JointWorld, cordoned, repair_by_drain

DPU = "dpu-1"
Do = Callable[[JointWorld], object]


def is_of(call: Call, kind: type[Apply | Patch], plural: str) -> bool:
    return isinstance(call, Write) and isinstance(call.step, kind) and call.step.resource.plural == plural


def half_begun() -> JointWorld:
    """The drain marks the cordoned host, and the process dies before it makes the maintenance."""
    world = cordoned()
    world.cordon(DPU)
    world.operate_until(lambda call: is_of(call, Apply, NODEMAINTENANCES.plural))
    world.crash()
    assert (world.host().mark, world.maintenances()) == (False, ())
    return world


def test_a_drain_that_is_half_begun_under_a_cordon_of_ours_goes_on() -> None:
    world = half_begun()
    world.work()
    assert len(world.maintenances()) == 1
    assert world.last is not None
    assert (world.last.hold is None) or world.last.hold.reason is Reason.HOST_DRAINING
    assert world.violations == []


def test_a_drain_that_is_half_begun_and_taken_back_leaves_our_cordon_where_it_was() -> None:
    world = half_begun()
    world.uncordon(DPU)
    world.work()
    assert (world.host().mark, world.is_cordoned_by_us) == (None, True)
    assert world.last is not None
    assert world.last.hold is None
    world.settle()
    assert (world.violations, world.unsettled()) == ([], [])


def test_a_cordon_that_has_come_in_the_place_of_ours_is_told_and_stays() -> None:
    """What says that it is ours goes, so that no proof takes it for ours."""
    world = half_begun()
    for word in (None, True):
        world.change_host({"spec": {"unschedulable": word}})
    world.work()
    assert (world.host().unplanned, world.host().cordoned) == (None, True)
    assert world.last is not None
    assert world.last.hold is not None
    assert world.last.hold.reason is Reason.HOST_STILL_CORDONED


@pytest.mark.parametrize("node", [True, False])
def test_a_drain_that_is_taken_back_does_not_make_a_host_schedulable_that_has_no_network(node: bool) -> None:
    world = cordoned(node=node)
    world.cordon(DPU)
    for steps in range(6):
        world.work()
        for _ in range(steps):
            world.nmo()
    world.uncordon(DPU)
    for _ in range(5):
        world.work()
        world.nmo()
        world.tick()
    assert world.host().cordoned
    world.settle()
    assert (world.violations, world.unsettled(), world.host().cordoned) == ([], [], False)


def test_a_cordon_that_a_tool_sets_beside_ours_is_there_after_the_drain() -> None:
    world = cordoned()
    world.tool_cordons()
    repair_by_drain(world)
    assert (world.violations, world.unsettled(), world.host().cordoned) == ([], [], True)


def test_a_maintenance_that_vanishes_before_it_has_begun_leaves_our_cordon_and_the_drain_goes_on() -> None:
    world = cordoned()
    world.cordon(DPU)
    world.work()
    assert FINALIZER not in world.maintenances()[0]["metadata"].get("finalizers", ())
    world.maintenance_vanishes()
    world.work()
    assert len(world.maintenances()) == 1
    finish(world)


# --- no silent wait ---------------------------------------------------------------------------------------------------


def failing() -> JointWorld:
    world = JointWorld()
    world.breaks(DPU, node=True)
    return world


def without_place() -> JointWorld:
    world = JointWorld()
    world.limit = 0
    world.outage_lasts(node=True)
    return world


def while_infra_is_suspect() -> JointWorld:
    world = failing()
    world.disrupt()
    return world


def repaired(world: JointWorld) -> None:
    world.repair(DPU)
    while world.kubelet(DPU):
        pass


def held() -> JointWorld:
    world = cordoned()
    world.order(DPU, "hold")
    repaired(world)
    return world


def unpaired() -> JointWorld:
    world = cordoned()
    world.paired = False
    return world


def uncordon_host(world: JointWorld) -> None:
    assert world.uncordon_host()
    world.work()
    mark = world.host().unplanned
    assert mark is None or mark.stage is CordonProgress.OVERRULED
    assert not world.host().cordoned
    repaired(world)


def uncordon_and_end_hold(world: JointWorld) -> None:
    uncordon_host(world)
    world.order(DPU, None)


def pair_again(world: JointWorld) -> None:
    world.paired = True
    repaired(world)


def repaired_and_calm(world: JointWorld) -> None:
    repaired(world)
    world.calm()


@dataclass(frozen=True)
class Way:
    reason: NetworkReason
    where: Callable[[], JointWorld]
    out: Do


WAYS = (
    Way(NetworkReason.HOST_WITHOUT_NETWORK, failing, repaired),
    Way(NetworkReason.HOST_CORDONED, cordoned, repaired),
    Way(NetworkReason.HOST_CORDONED, cordoned, uncordon_host),
    Way(NetworkReason.HOST_CORDONED, cordoned, repair_by_drain),
    Way(NetworkReason.CORDON_LIMIT_REACHED, without_place, repaired),
    Way(NetworkReason.INFRA_SUSPECT, while_infra_is_suspect, repaired_and_calm),
    Way(NetworkReason.NETWORK_UNPROVEN, held, lambda world: world.order(DPU, None)),
    Way(NetworkReason.NETWORK_UNPROVEN, held, uncordon_and_end_hold),
    Way(NetworkReason.HOST_NOT_SERVED, unpaired, uncordon_host),
    Way(NetworkReason.HOST_NOT_SERVED, unpaired, pair_again),
)


def test_every_reason_has_a_way_out_that_is_walked() -> None:
    assert {way.reason for way in WAYS} == set(NetworkReason)


@pytest.mark.parametrize("way", WAYS, ids=[f"{i} {way.reason}" for i, way in enumerate(WAYS)])
def test_the_way_out_in_the_message_returns_the_host(way: Way) -> None:
    world = way.where()
    world.work()
    state = world.network.state
    assert state is not None
    assert state.reason is way.reason
    way.out(world)
    world.work()
    for _ in range(2):  # infra is believed again, and pods count as started
        world.tick(120)
        world.work()
    assert world.network.state is None
    assert (world.host().cordoned, world.host().unplanned, world.violations) == (False, None, [])


# --- what the maintenance operator does to our cordon -----------------------------------------------------------------


def failed_drain() -> JointWorld:
    """The node maintenance operator gives a host back that it has failed to drain, and that has no network."""
    world = cordoned()
    world.cordon(DPU)
    world.work()
    while not world.host().tainted:
        world.nmo()
    assert world.nmo_fails()
    assert not world.host().cordoned
    return world


def test_a_host_that_a_failed_drain_has_made_schedulable_is_cordoned_again_for_its_outage() -> None:
    world = failed_drain()
    world.uncordon(DPU)
    for _ in range(3):
        world.work()
        while world.nmo():
            world.work()
    assert (world.is_cordoned_by_us, world.host().mark, world.violations) == (True, None, [])
    world.settle()
    assert (world.violations, world.unsettled(), world.host().cordoned) == ([], [], False)


def test_a_host_that_a_person_has_uncordoned_in_its_drain_stays_schedulable_and_that_is_said() -> None:
    world = cordoned()
    world.cordon(DPU)
    world.drained()
    assert world.uncordon_host()
    world.work()
    world.uncordon(DPU)
    for _ in range(3):
        world.work()
        while world.nmo():
            world.work()
    assert world.network.state is not None
    assert "another writer has made it schedulable" in world.network.state.message
    mark = world.host().unplanned
    assert mark is not None
    assert (world.host().cordoned, world.host().mark, mark.stage) == (False, None, CordonProgress.OVERRULED)
