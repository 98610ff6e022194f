"""Rules 4 to 6, 8 and 10: what must hold before a host is given back, and how it comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from dpunetop.domain.drain.model.calls import QuorumGet, QuorumList, Write
from dpunetop.domain.drain.model.facts import DpuView, DrainOverride, HoldReason, HostNode, NodeGone, Reason
from dpunetop.domain.drain.model.hoststate import HostState
from dpunetop.domain.drain.rules import returning
from dpunetop.domain.drain.rules.cycle import decide
from dpunetop.domain.drain.rules.failing import EndFailedMaintenance
from dpunetop.domain.drain.rules.proof import RestartPod
from dpunetop.domain.drain.rules.records import Reset
from dpunetop.domain.drain.rules.restoring import LeadOut, Restore
from dpunetop.domain.drain.rules.returning import ENDING, DpuCheck, EndMaintenance, LeftCordoned
from dpunetop.domain.names import (
    CORDONED_BEFORE_ANNOTATION,
    DESIRED_CONFIG_ANNOTATION,
    NODEMAINTENANCES,
    OPEN_FOR_PREFIX,
    OUTDATED_DRAIN_ANNOTATION,
    OWNER_LABEL,
    PODDISRUPTIONBUDGETS,
    TEMPLATE_HASH_ANNOTATION,
    blocker_name,
    maintenance_name,
)
from dpunetop.kube.keys import NODES, PODS
from dpunetop.kube.meta import name_of
from dpunetop.kube.plan import Delete, Emit, Fence
from support.drainviews import DONE, DRAINED_HOST, RETURNING, SITE, free, view
from support.drainworld import HOST, OPERATOR_NAMESPACE, PODS_NAMESPACE, World

DPU = "dpu-1"
NAME = maintenance_name(HOST)


def is_delete(call: object) -> bool:
    return isinstance(call, Write) and isinstance(call.step, Delete) and call.step.resource is NODEMAINTENANCES


def is_first_leg(call: object) -> bool:
    """The first read about a DPU in a giving back."""
    return isinstance(call, QuorumGet) and call.name == DPU


def rebooted(dpus: int = 1, *, cordoned_before: bool = False) -> World:
    """A whole drain of the first DPU has gone by; what is left is to give the host back."""
    world = World(dpus, cordoned_before=cordoned_before)
    world.mco_begins(DPU)
    world.drained()
    world.work()
    while world.mco(DPU):
        pass
    while world.kubelet(DPU):
        pass
    assert world.node(DPU).boot_id == "dpu-1-b2"
    return world


def before_the_legs() -> World:
    world = rebooted()
    world.operate_until(lambda call: world.is_doing(EndMaintenance))
    world.operate_until(is_first_leg)
    return world


def finish_task(world: World) -> None:
    while world.process.run is not None:
        world.act()


def unready_blocker(world: World) -> None:
    blocker = world._blocker(DPU)
    assert blocker is not None
    world.infra.change(PODS, OPERATOR_NAMESPACE, name_of(blocker), {"status": {"phase": "Pending"}})


def change_node(world: World, change: dict[str, object]) -> None:
    world.infra.change(NODES, "", DPU, change)


BREAKS: dict[str, Callable[[World], object]] = {
    "the drain is not wanted": lambda w: w.cordon(DPU),
    "nobody holds it": lambda w: w.order(DPU, "hold"),
    "the machine-config operator rests": lambda w: change_node(
        w, {"metadata": {"annotations": {DESIRED_CONFIG_ANNOTATION: "next"}}}
    ),
    "the node runs in the boot of the proof": lambda w: change_node(w, {"status": {"nodeInfo": {"bootID": "another"}}}),
    "the budget is closed": lambda w: w.infra.change(
        PODDISRUPTIONBUDGETS, OPERATOR_NAMESPACE, blocker_name(DPU), {"spec": {"maxUnavailable": 1}}
    ),
    "the blocker is Ready": unready_blocker,
}


def test_every_guard_of_a_giving_back_has_a_case() -> None:
    assert BREAKS.keys() == ENDING.keys()


@pytest.mark.parametrize("guard", BREAKS)
def test_the_host_is_not_given_back_when_it_does_not_hold_that(guard: str) -> None:
    world = before_the_legs()
    BREAKS[guard](world)
    finish_task(world)
    own = world.own()
    assert own is not None
    assert own.terminating is False
    assert guard in world.trace[-1]


@pytest.mark.parametrize("guard", BREAKS)
def test_without_the_guard_it_would_have_been_given_back_when_it_does_not_hold_that(
    guard: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(returning, "ENDING", {name: holds for name, holds in ENDING.items() if name != guard})
    world = before_the_legs()
    BREAKS[guard](world)
    finish_task(world)
    own = world.own()
    assert own is not None
    assert own.terminating is True


def test_the_serving_node_must_be_ready_too() -> None:
    world = before_the_legs()
    change_node(world, {"status": {"conditions": [{"type": "Ready", "status": "False"}]}})
    finish_task(world)
    assert "the boot of the proof" in world.trace[-1]


def test_the_maintenance_is_read_first_and_deleted_as_it_was_read_then() -> None:
    world = rebooted(2)
    world.operate_until(is_delete)
    run = world.process.run
    assert run is not None
    world.process.run = replace(run, answers=())
    calls = []
    while (call := world.pending()) is not None:
        assert not isinstance(call, Emit)
        calls.append(call)
        world.act()
    names = [type(call.step).__name__ if isinstance(call, Write) else call.resource.plural for call in calls]
    first, *guards, last = names
    of_each = ["nodes", "poddisruptionbudgets", "pods"]
    assert (first, sorted(guards), last) == ("nodemaintenances", sorted([*of_each, *of_each, "nodes"]), "Delete")
    delete = calls[-1]
    assert isinstance(delete, Write)
    assert isinstance(delete.step, Delete)
    assert delete.step.fence is Fence.VERSION


AT_WORK = replace(DRAINED_HOST, in_own_drain=True)
FORCED = free(RETURNING, override=DrainOverride.FORCE)
# a host, its DPUs, and whether it has to wait for its own machine-config operator
KEPT: dict[str, tuple[HostNode, tuple[DpuView, ...], bool]] = {
    "its own operator rests": (DRAINED_HOST, (free(RETURNING),), False),
    "its own operator is at work": (AT_WORK, (free(RETURNING),), True),
    "its DPU is forced": (AT_WORK, (FORCED,), False),
    "one of its two DPUs is forced": (AT_WORK, (free(RETURNING), replace(FORCED, name="d2")), False),
}


@pytest.mark.parametrize(("host", "dpus", "waits"), KEPT.values(), ids=KEPT.keys())
def test_a_host_waits_for_its_own_machine_config_operator_unless_a_dpu_is_forced(
    host: HostNode, dpus: tuple[DpuView, ...], waits: bool
) -> None:
    found = returning.wait_to_return(HostState(view(*dpus, host=host, maintenances=(DONE,))))
    assert (isinstance(found, HoldReason) and found.reason is Reason.HOST_IN_OWN_DRAIN) is waits
    assert waits or found is None


def mark(world: World) -> None:
    change = {"metadata": {"annotations": {f"{OPEN_FOR_PREFIX}other": "other x1"}}}
    world.tenant.change(NODEMAINTENANCES, "", NAME, change)


def test_a_mark_that_comes_between_the_reads_and_the_delete_makes_it_fail() -> None:
    world = rebooted()
    world.operate_until(is_delete)
    mark(world)
    world.act()
    own = world.own()
    assert own is not None
    assert own.terminating is False


def tell(world: World) -> None:
    """As the node maintenance operator does after each write to its object: internal/controller, Reconcile."""
    world.tenant.change(NODEMAINTENANCES, "", NAME, {"status": {"lastUpdate": str(world.steps)}})


def calls_of_the_rest(world: World) -> list[str]:
    """What the task under way still asks, as the kind of each call."""
    calls = []
    while world.process.run is not None:
        call = world.pending()
        if isinstance(call, QuorumGet | QuorumList):
            calls.append(call.resource.plural)
        elif isinstance(call, Write):
            calls.append(type(call.step).__name__)
        world.step(world.act, "act")
    return calls


def test_after_a_status_that_is_told_meanwhile_the_maintenance_is_deleted_as_it_is_now() -> None:
    world = rebooted()
    world.operate_until(is_delete)
    tell(world)
    assert calls_of_the_rest(world) == ["Delete", "nodemaintenances", "Delete"]
    own = world.own()
    assert own is None or own.terminating
    assert world.trace[-1].endswith("host-1: is given back")


CHANGES: dict[str, dict[str, object]] = {
    "its phase": {"status": {"phase": "Running"}},
    "its owner": {"metadata": {"labels": {OWNER_LABEL: "other"}}},
    "a mark": {"metadata": {"annotations": {f"{OPEN_FOR_PREFIX}other": "other x1"}}},
    "how the host was": {"metadata": {"annotations": {CORDONED_BEFORE_ANNOTATION: "true"}}},
    "a drain that is asked for once more": {"metadata": {"annotations": {OUTDATED_DRAIN_ANNOTATION: "some time"}}},
    "the pods that it waits for": {"status": {"pendingPods": ["a"], "pendingPodsRefs": [{"name": "a"}]}},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_after_any_other_change_it_is_not_deleted(change: dict[str, object]) -> None:
    world = rebooted()
    world.operate_until(is_delete)
    world.tenant.change(NODEMAINTENANCES, "", NAME, change)
    assert calls_of_the_rest(world) == ["Delete", "nodemaintenances"]
    found = world.tenant.get(NODEMAINTENANCES, "", NAME)
    assert found is not None
    assert "deletionTimestamp" not in found["metadata"]


def test_a_maintenance_that_never_stays_as_it_was_read_is_not_deleted() -> None:
    world = rebooted()
    world.operate_until(is_delete)
    while world.process.run is not None:
        if is_delete(world.pending()):
            tell(world)
        world.step(world.act, "act")
    own = world.own()
    assert own is not None
    assert own.terminating is False


def test_without_the_version_the_mark_would_not_hold_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fenced = returning.delete_maintenance
    monkeypatch.setattr(returning, "delete_maintenance", lambda *given: replace(fenced(*given), fence=Fence.UID))
    world = rebooted()
    world.operate_until(is_delete)
    mark(world)
    world.act()
    own = world.own()
    assert own is not None
    assert own.terminating is True


def test_a_mark_that_stands_forbids_giving_back() -> None:
    world = rebooted()
    world.operate_until(lambda call: world.is_doing(EndMaintenance))
    mark(world)
    finish_task(world)
    assert "a budget may be open" in world.trace[-1]


def test_with_two_dpus_the_last_one_returns_the_host() -> None:
    world = rebooted(2)
    world.cordon("dpu-2")
    world.settle()
    assert world.own() is not None
    world.uncordon("dpu-2")
    world.settle()
    assert world.own() is None


def test_a_maintenance_made_anew_is_not_deleted_for_the_old_one() -> None:
    world = rebooted()
    world.operate_until(is_delete)
    found = world.tenant.get(NODEMAINTENANCES, "", NAME)
    assert found is not None
    world.tenant.remove(NODEMAINTENANCES, "", NAME)
    world.tenant.put(NODEMAINTENANCES, found)
    world.act()
    own = world.own()
    assert own is not None
    assert own.terminating is False


def test_one_of_somebody_else_is_never_deleted() -> None:
    world = rebooted()
    world.operate_until(lambda call: world.is_doing(EndMaintenance))
    world.tenant.change(NODEMAINTENANCES, "", NAME, {"metadata": {"labels": {OWNER_LABEL: "other"}}})
    finish_task(world)
    world.work()
    found = world.tenant.get(NODEMAINTENANCES, "", NAME)
    assert found is not None
    assert "deletionTimestamp" not in found["metadata"]


CORDONS = {"an uncordoned host comes back uncordoned": False, "a cordoned host comes back cordoned": True}


@pytest.mark.parametrize("before", CORDONS.values(), ids=CORDONS.keys())
def test_a_cordon_that_was_there_before_is_there_after(before: bool) -> None:
    world = rebooted(cordoned_before=before)
    world.settle()
    assert (world.own(), world.host().mark, world.host().cordoned) == (None, None, before)


def test_a_host_without_its_mark_gets_it_from_the_maintenance_before_that_goes() -> None:
    world = rebooted(cordoned_before=True)
    world.tenant.change(NODES, "", HOST, {"metadata": {"annotations": {"dpu.openshift.io/cordoned-before": None}}})
    world.settle()
    assert world.host().cordoned is True


def test_the_cordon_comes_back_only_after_no_maintenance_is_there_to_undo_it() -> None:
    world = rebooted(cordoned_before=True)
    world.operate_until(is_delete)
    world.act()
    world.work()
    assert world.host().mark is True  # the maintenance is ending, and nothing is restored yet
    world.settle()
    assert world.host().cordoned is True


def test_without_a_running_dpu_the_host_waits() -> None:
    world = World()
    world.mco_begins(DPU)
    world.drained()
    world.work()
    while world.mco(DPU):
        pass
    world.kubelet(DPU)  # the blocker runs; the ovnkube-node pod still shows the containers of the boot before
    world.work()
    assert world.own() is not None
    assert world.last is not None
    assert world.last.hold is not None
    assert world.last.hold.message == "dpu-1 has yet to show: ovnkube-node containers of this boot"
    world.settle()
    assert world.own() is None


def test_an_outdated_pod_of_a_drained_host_is_started_anew() -> None:
    world = rebooted()
    change = {"metadata": {"annotations": {TEMPLATE_HASH_ANNOTATION: "r0"}}}
    world.infra.change(PODS, PODS_NAMESPACE, f"ovnkube-node-{DPU}", change)
    world.operate_until(lambda call: isinstance(call, Write) and isinstance(call.step, Delete))
    world.act()
    assert world.infra.get(PODS, PODS_NAMESPACE, f"ovnkube-node-{DPU}") is None
    world.settle()
    assert world.own() is None


def test_an_outdated_pod_of_a_host_in_use_is_left_alone() -> None:
    world = rebooted()
    change = {"metadata": {"annotations": {TEMPLATE_HASH_ANNOTATION: "r0"}}}
    world.infra.change(PODS, PODS_NAMESPACE, f"ovnkube-node-{DPU}", change)
    world.operate_until(lambda call: world.is_doing(RestartPod))
    world.tenant.change(NODES, "", HOST, {"spec": {"unschedulable": None}})
    finish_task(world)
    assert world.infra.get(PODS, PODS_NAMESPACE, f"ovnkube-node-{DPU}") is not None


def test_a_forced_end_needs_no_proof_and_leaves_the_host_cordoned() -> None:
    world = World()
    world.mco_begins(DPU)
    world.drained()
    world.work()
    while world.mco(DPU):
        pass
    world.kubelet(DPU)
    world.force(DPU)
    world.work()
    while world.nmo():
        pass
    world.work()
    assert world.own() is None
    assert world.host().cordoned is True
    assert world.events == ["HostLeftCordoned"] * 2  # of the DpuClusterConfig, and of the Node


HAPPENED: dict[str, Callable[[World], object]] = {
    "nothing": lambda world: True,
    "its pod went": lambda world: world.infra.remove(PODS, PODS_NAMESPACE, f"ovnkube-node-{DPU}"),
    "it rebooted by itself": lambda world: world.reboots_by_itself(DPU) and world.kubelet(DPU),
    "ovnkube crashed": lambda world: world.ovnkube_crashes(DPU),
    "its budget was deleted, and it rebooted": lambda world: (
        world.delete_budget(DPU) and world.reboots_by_itself(DPU) and world.kubelet(DPU)
    ),
}


@pytest.mark.parametrize("what", HAPPENED)
def test_a_host_whose_budget_never_opened_is_given_back_at_once_only_if_nothing_happened_to_its_dpu(what: str) -> None:
    world = World()
    world.cordon(DPU)
    world.drained()
    HAPPENED[what](world)
    change_node(world, {"spec": {"unschedulable": None}})
    world.process.run = None
    world.work()
    own = world.own()
    assert own is not None
    assert own.terminating is (what == "nothing")
    assert world.violations == []
    world.settle()
    assert world.unsettled() == []


def returned(world: World) -> None:
    """The DPU is back, its cordon is gone, and the operator has asked the maintenance to go."""
    world.cordon(DPU)
    world.drained()
    world.work()
    world.uncordon(DPU)
    world.work()
    own = world.own()
    assert own is not None
    assert own.terminating is True


def test_a_host_that_its_maintenance_leaves_cordoned_and_tainted_is_made_schedulable() -> None:
    world = World()
    returned(world)
    world.maintenance_vanishes()
    world.work()
    assert (world.host().cordoned, world.host().tainted, world.host().mark) == (False, False, None)
    assert (world.unsettled(), world.violations) == ([], [])


def test_a_host_that_was_cordoned_before_stays_so_when_its_maintenance_vanishes_and_loses_the_taint() -> None:
    world = World(cordoned_before=True)
    returned(world)
    world.maintenance_vanishes()
    world.work()
    assert (world.host().cordoned, world.host().tainted, world.host().mark) == (True, False, None)


def test_a_drained_host_whose_maintenance_vanishes_is_returned_only_on_proof() -> None:
    world = World()
    world.mco_begins(DPU)
    world.drained()
    world.work()
    assert world.mco(DPU)
    assert world.mco(DPU)
    assert world.mco(DPU)  # evicted, drained, down
    world.maintenance_vanishes()
    world.work()
    assert world.host().cordoned is True
    world.settle()
    assert (world.unsettled(), world.violations) == ([], [])


def test_a_refused_drain_of_a_host_left_behind_does_not_forget_that_it_should_be_schedulable() -> None:
    world = World()
    world.cordon(DPU)
    world.drained()
    world.work()
    world.maintenance_vanishes()
    world.refuses = True
    world.work()
    assert (world.own(), world.host().cordoned, world.host().mark) == (None, True, False)
    world.refuses = False
    world.uncordon(DPU)
    world.settle()
    assert (world.unsettled(), world.violations) == ([], [])


def test_what_an_uninstalled_maintenance_operator_left_is_led_out_without_it() -> None:
    left = view(free(RETURNING), host=replace(DRAINED_HOST, mark=False), maintenances=None)
    assert isinstance(decide(left).task, LeadOut)
    unproven = decide(view(free(RETURNING, ready=False), host=DRAINED_HOST, maintenances=None))
    assert unproven.hold is not None
    assert unproven.hold.reason == "ProofMissing"


CONFIG = {"metadata": {"name": "c", "namespace": "ns"}}
FORCED_CHECK = DpuCheck("d1", forced=True)
# how a host comes out cordoned, what the decision saw of its DPUs, and what everybody is told
TOLD: dict[str, tuple[LeftCordoned, tuple[DpuCheck, ...], str]] = {
    "nobody serves it": (
        LeftCordoned(CONFIG, is_parted=True),
        (FORCED_CHECK,),
        "no DPU serves it any more. Served again by DpuClusterConfig ns/c, it becomes schedulable on proof",
    ),
    "nothing proves its network": (
        LeftCordoned(CONFIG, is_parted=False),
        (DpuCheck("d1"),),
        "nothing has shown that its network works",
    ),
    "its DPU is forced": (
        LeftCordoned(CONFIG, is_parted=False),
        (FORCED_CHECK, DpuCheck("d2")),
        "nothing has shown that its network works, and the drain of d1 ends by force",
    ),
}


@pytest.mark.parametrize(("left", "checks", "why"), TOLD.values(), ids=TOLD.keys())
def test_it_is_told_why_a_host_is_left_cordoned_and_what_to_do(
    left: LeftCordoned, checks: tuple[DpuCheck, ...], why: str
) -> None:
    first = next(returning.tell_end(SITE, checks, left))
    assert isinstance(first, Emit)
    assert (first.reason, first.note) == (
        "HostLeftCordoned",
        f"host host-1 is left cordoned: {why}. Uncordon it yourself",
    )


def test_a_host_left_behind_of_a_dpu_that_is_gone_stays_cordoned_and_somebody_is_told() -> None:
    task = decide(view(replace(free(RETURNING), node=NodeGone(True)), host=DRAINED_HOST)).task
    assert isinstance(task, LeadOut)
    assert task.left_cordoned == LeftCordoned({"metadata": {"name": "c"}}, is_parted=False)


def dead(world: World, name: str) -> None:
    """A DPU that never comes back, and whose blocker is Pending for ever."""
    world.reboots_by_itself(name)
    world.delete_blocker(name)


def test_a_dpu_that_never_comes_back_is_let_go_by_force_and_its_host_comes_out_cordoned() -> None:
    world = World()
    world.cordon(DPU)
    world.drained()
    world.work()
    dead(world, DPU)
    world.uncordon(DPU)
    world.work()
    assert world.last is not None
    assert world.last.hold is not None
    assert f"dpu.openshift.io/drain=force:{DPU}-b1" in world.last.hold.message
    world.force(DPU)
    world.work()
    while world.step(world.nmo, "nmo"):
        pass
    world.work()
    assert (world.own(), world.host().cordoned, world.host().mark) == (None, True, None)
    assert world.budget(DPU).cycle is None
    assert world.events == ["HostLeftCordoned"] * 2  # of the DpuClusterConfig, and of the Node


def test_a_dead_standby_is_let_go_by_force_and_the_host_comes_back_on_the_proof_of_the_one_that_serves() -> None:
    world = World(2)
    world.cordon(DPU)
    world.drained()
    world.work()
    dead(world, "dpu-2")
    world.uncordon(DPU)
    world.work()
    assert world.own() is not None
    world.force("dpu-2")
    world.work()
    while world.step(world.nmo, "nmo"):
        pass
    world.work()
    assert (world.own(), world.host().cordoned, world.host().mark) == (None, False, None)
    assert (world.events, world.violations) == (["HostForcedBack"], [])


def test_a_failed_maintenance_is_taken_away_though_the_drain_is_wanted_and_made_anew() -> None:
    world = World()
    world.cordon(DPU)
    world.work()
    while world.maintenance().phase.name != "RUNNING":
        world.nmo()
    first = world.maintenance().uid
    world.nmo_fails()
    world.work()
    while world.nmo():
        pass
    world.work()
    own = world.own()
    assert own is not None
    assert own.uid != first
    read = world.budget(DPU)
    assert read.cycle is not None
    assert (read.cycle.failures, read.is_open) == (1, False)


def test_the_second_failure_is_followed_by_a_pause() -> None:
    world = World()
    world.cordon(DPU)
    world.work()
    for _ in range(2):
        while (found := world.own()) is None or found.phase.name != "RUNNING":
            world.nmo()
            world.work()
        world.nmo_fails()
        world.work()
        while (found := world.own()) is not None and found.terminating:
            world.nmo()
        world.work()
    assert world.own() is None
    assert world.last is not None
    assert world.last.hold is not None
    assert (world.last.hold.reason, world.last.recheck_seconds) == ("MaintenanceFailed", 10)
    world.tick(10)
    world.work()
    assert world.own() is not None


def test_a_failed_one_is_not_taken_away_while_a_budget_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.cordon(DPU)
    world.work()
    while world.maintenance().phase.name != "RUNNING":
        world.nmo()
    world.nmo_fails()
    world.operate_until(lambda call: world.is_doing(EndFailedMaintenance))
    BREAKS["the budget is closed"](world)
    finish_task(world)
    own = world.own()
    assert own is not None
    assert own.terminating is False


def test_a_failed_one_whose_status_is_told_meanwhile_is_read_once_more_and_taken_away() -> None:
    world = World()
    world.cordon(DPU)
    world.work()
    while world.maintenance().phase.name != "RUNNING":
        world.nmo()
    world.nmo_fails()
    world.operate_until(lambda call: world.is_doing(EndFailedMaintenance) and is_delete(call))
    tell(world)
    finish_task(world)
    own = world.own()
    assert own is None or own.terminating
    assert world.trace[-1].endswith("the failed maintenance is taken away")


def given_back(*, cordoned_before: bool) -> World:
    """The maintenance is gone for good; the host has yet to be restored."""
    world = rebooted(cordoned_before=cordoned_before)
    world.work()
    while world.nmo():
        pass
    assert world.own() is None
    return world


def test_nothing_is_restored_on_a_host_that_has_a_maintenance_again() -> None:
    world = given_back(cordoned_before=True)
    world.operate_until(lambda call: world.is_doing(Restore) and isinstance(call, QuorumList))
    world.tenant.put(NODEMAINTENANCES, {"metadata": {"name": "other"}, "spec": {"nodeName": HOST}})
    finish_task(world)
    assert "there is a maintenance" in world.trace[-1]
    assert (world.host().mark, world.host().cordoned) == (True, False)


LEFT = {
    "the host is marked": lambda w: w.tenant.change(
        NODES, "", HOST, {"metadata": {"annotations": {"dpu.openshift.io/cordoned-before": "yes"}}}
    ),
    "there is a maintenance": lambda w: w.tenant.put(
        NODEMAINTENANCES, {"metadata": {"name": "other"}, "spec": {"nodeName": HOST}}
    ),
}


@pytest.mark.parametrize("why", LEFT)
def test_the_record_is_not_dropped_while_the_tenant_shows_that(why: str) -> None:
    world = given_back(cordoned_before=False)
    world.operate_until(lambda call: world.is_doing(Reset))
    LEFT[why](world)
    finish_task(world)
    assert world.trace[-1].split(": ", 1)[1].startswith("ends STALE")
    assert world.budget(DPU).cycle is not None


def test_an_outdated_pod_of_a_host_that_its_maintenance_has_left_cordoned_is_started_anew() -> None:
    world = rebooted(1)
    world.maintenance_vanishes()
    world.kubelet(DPU)
    world.roll(works=True)
    world.settle()
    assert world.unsettled() == []


ENDED = {"metadata": {"name": "c", "deletionTimestamp": "2024-01-01T00:00:00Z"}}


@pytest.mark.parametrize("dpu", [free(RETURNING), replace(free(), budget=None)], ids=["record", "no budget"])
def test_a_host_that_comes_out_cordoned_at_the_end_of_its_config_says_so_although_an_entry_is_left(
    dpu: DpuView,
) -> None:
    """All is deleted at once: the budgets with their records may go before the entries."""
    found = view(replace(dpu, paired=False), host=DRAINED_HOST, maintenances=(DONE,))
    task = decide(replace(found, config=ENDED)).task
    assert isinstance(task, EndMaintenance), task
    assert task.left_cordoned == LeftCordoned(ENDED, is_parted=True)
