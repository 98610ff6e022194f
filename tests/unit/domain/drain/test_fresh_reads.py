"""Rules 2, 3, 5 and 10: what changes between a decision and the write that follows from it is seen before that write.

Each case lets the operator come to a certain task, changes one thing, and lets it go on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dpunetop.domain.drain.model.calls import Call, QuorumGet, QuorumList, Run, Write
from dpunetop.domain.drain.model.record import State, render_cycle
from dpunetop.domain.drain.rules.asking import Renew
from dpunetop.domain.names import (
    CORDONED_BEFORE_ANNOTATION,
    CYCLE_ANNOTATION,
    DESIRED_CONFIG_ANNOTATION,
    DESIRED_DRAIN_ANNOTATION,
    LAST_APPLIED_DRAIN_ANNOTATION,
    MAINTENANCE_TAINT,
    NODEMAINTENANCES,
    OWNER_LABEL,
    PODDISRUPTIONBUDGETS,
    SERVES_ANNOTATION,
    blocker_name,
    maintenance_name,
    open_for,
)
from dpunetop.kube.errors import ApiError, Forbidden, Invalid
from dpunetop.kube.keys import NODES, PODS
from dpunetop.kube.meta import name_of
from dpunetop.kube.plan import Apply, Delete, Patch
from support.drainworld import HOST, OPERATOR_NAMESPACE, World

DPU, OTHER = "dpu-1", "dpu-2"
NAME = maintenance_name(HOST)
Change = Callable[[World], object]


def at(world: World, task: str) -> World:
    """The operator has just decided on a task of that kind."""
    world.operate_until(lambda _: world.process.run is not None and type(world.process.run.task).__name__ == task)
    assert world.process.run is not None
    world.process.run = replace(world.process.run, answers=())
    return world


def finish(world: World) -> str:
    """The task goes on to its end; what it says of that."""
    while world.process.run is not None:
        world.act()
    return world.trace[-1]


def note(world: World, name: str, **annotations: str) -> None:
    world.infra.change(NODES, "", name, {"metadata": {"annotations": annotations}})


def both(*changes: Change) -> Change:
    """One after the other."""

    def change(world: World) -> None:
        for each in changes:
            each(world)

    return change


def rewrite(world: World, name: str, **fields: Any) -> None:
    """Somebody else has written the record."""
    found = world.budget(name).cycle
    assert found is not None
    text = render_cycle(replace(found, **fields))
    metadata = {"metadata": {"annotations": {CYCLE_ANNOTATION: text}}}
    world.infra.change(PODDISRUPTIONBUDGETS, OPERATOR_NAMESPACE, blocker_name(name), metadata)


def host(world: World, **spec: object) -> None:
    world.tenant.change(NODES, "", HOST, {"spec": spec})


def maintenance(world: World, change: dict[str, object]) -> None:
    world.tenant.change(NODEMAINTENANCES, "", NAME, change)


def another_maintenance(world: World) -> None:
    world.tenant.put(NODEMAINTENANCES, {"metadata": {"name": "other"}, "spec": {"nodeName": HOST}})


# --- giving back: every DPU of the host is asked, the one that proves nothing too -------------------------------------


def rebooted() -> World:
    """A drain of both DPUs has gone by; what is left is to give the host back on the proof of the first."""
    world = World(2)
    for name in world.dpus:
        world.mco_begins(name)
    world.drained()
    world.work()
    for name in world.dpus:
        while world.mco(name) or world.kubelet(name):
            pass
    return world


def unready_blocker(world: World) -> None:
    found = world._blocker(OTHER)
    assert found is not None
    world.infra.change(PODS, OPERATOR_NAMESPACE, name_of(found), {"status": {"phase": "Pending"}})


def drained_by_mco(world: World) -> None:
    note(world, OTHER, **{DESIRED_DRAIN_ANNOTATION: "drain-c9", LAST_APPLIED_DRAIN_ANNOTATION: "drain-c9"})


def asked_to_drain_by_mco(world: World) -> None:
    note(world, OTHER, **{DESIRED_DRAIN_ANNOTATION: "drain-c9"})


def skipped_and(then: Change) -> Change:
    def change(world: World) -> None:
        world.order(OTHER, "skip")
        then(world)

    return change


def aborted_and(then: Change) -> Change:
    def change(world: World) -> None:
        world.infra.change(NODES, "", OTHER, {"spec": {"unschedulable": True}})
        rewrite(world, OTHER, state=State.ABORTED, reason="DrainTimeout")
        then(world)

    return change


REFUSED: dict[str, tuple[Change, str]] = {
    "its drain is wanted": (lambda w: w.cordon(OTHER), "the drain is not wanted"),
    "a person holds it": (lambda w: w.order(OTHER, "hold"), "nobody holds it"),
    "a person wrote a word that nobody knows": (lambda w: w.order(OTHER, "hodl"), "nobody holds it"),
    "another configuration waits for it": (
        lambda w: note(w, OTHER, **{DESIRED_CONFIG_ANNOTATION: "c9"}),
        "the machine-config operator rests",
    ),
    "its drain is asked for": (asked_to_drain_by_mco, "the machine-config operator rests"),
    "it is drained": (drained_by_mco, "the machine-config operator rests"),
    "it is drained though skipped": (skipped_and(drained_by_mco), "the machine-config operator rests"),
    "it is drained though aborted": (aborted_and(drained_by_mco), "the machine-config operator rests"),
    "its budget is open": (
        lambda w: w.infra.change(
            PODDISRUPTIONBUDGETS, OPERATOR_NAMESPACE, blocker_name(OTHER), {"spec": {"maxUnavailable": 1}}
        ),
        "the budget is closed",
    ),
    "its budget is gone": (
        lambda w: w.infra.remove(PODDISRUPTIONBUDGETS, OPERATOR_NAMESPACE, blocker_name(OTHER)),
        "the budget is closed",
    ),
    "its blocker is not Ready": (unready_blocker, "the blocker is Ready"),
    "its Node is gone": (lambda w: w.infra.remove(NODES, "", OTHER), "the drain is not wanted"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_host_is_not_given_back_when_of_the_dpu_that_proves_nothing(what: str) -> None:
    world = at(rebooted(), "EndMaintenance")
    change, guard = REFUSED[what]
    change(world)
    assert f"{OTHER}: not true: {guard}" in finish(world)
    own = world.own()
    assert own is not None
    assert own.terminating is False


ALLOWED: dict[str, Change] = {
    "the machine-config operator asks in vain for the drain of one that is skipped": skipped_and(asked_to_drain_by_mco),
    "the machine-config operator asks in vain for the drain of one that is aborted": aborted_and(asked_to_drain_by_mco),
    "the one that proves nothing is not Ready": lambda w: w.infra.change(
        NODES, "", OTHER, {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    ),
}


@pytest.mark.parametrize("what", ALLOWED)
def test_a_host_is_given_back_though(what: str) -> None:
    world = at(rebooted(), "EndMaintenance")
    ALLOWED[what](world)
    finish(world)
    own = world.own()
    assert own is None or own.terminating


def test_a_force_that_is_taken_off_after_the_decision_makes_nobody_give_the_host_back() -> None:
    world = rebooted()
    unready_blocker(world)
    world.order(OTHER, f"force:{world.node(OTHER).boot_id}")
    at(world, "EndMaintenance")
    world.order(OTHER, None)
    assert "the blocker is Ready" in finish(world)


def test_a_force_that_comes_after_the_decision_makes_nobody_give_the_host_back() -> None:
    world = at(rebooted(), "EndMaintenance")
    unready_blocker(world)
    world.order(OTHER, f"force:{world.node(OTHER).boot_id}")
    assert "the blocker is Ready" in finish(world)


def test_a_host_that_was_in_use_by_the_caches_alone_is_not_given_back_unproven() -> None:
    world = World()
    world.cordon(DPU)
    world.drained()
    world.work()
    world.ovnkube_crashes(DPU)
    world.uncordon(DPU)
    world.work()
    world.uncordon_host()
    at(world, "EndMaintenance")
    host(world, unschedulable=True)
    assert "is not in use" in finish(world)
    own = world.own()
    assert own is not None
    assert own.terminating is False


def test_a_host_is_not_given_back_in_the_middle_of_an_update_of_its_own_cluster() -> None:
    world = at(rebooted(), "EndMaintenance")
    own_drain(world)
    assert "its own machine-config operator is at work there" in finish(world)
    own = world.own()
    assert own is not None
    assert own.terminating is False


def test_a_mark_of_the_host_says_more_than_what_its_maintenance_carries() -> None:
    world = World(cordoned_before=True)
    world.cordon(DPU)
    world.drained()
    world.uncordon(DPU)
    at(world, "EndMaintenance")
    maintenance(world, {"metadata": {"annotations": {CORDONED_BEFORE_ANNOTATION: "no"}}})
    finish(world)
    assert world.host().mark is True


# --- aborting ---------------------------------------------------------------------------------------------------------


def uncordoned(*, cordoned_before: bool = False) -> World:
    """The operator is about to abort, because a person has uncordoned the host."""
    world = World(cordoned_before=cordoned_before)
    world.cordon(DPU)
    world.drained()
    world.work()
    world.uncordon_host()
    return at(world, "AbortTakenBack")


STANDS: dict[str, Change] = {
    "the host is cordoned again": lambda w: host(w, unschedulable=True),
    "the maintenance operator gives the host back, because it loses its lease": both(
        lambda w: host(w, taints=[]), lambda w: maintenance(w, {"status": {"errorOnLeaseCount": 4}})
    ),
    "the maintenance drains again": lambda w: maintenance(w, {"status": {"phase": "Running"}}),
    "the maintenance is on its way out": lambda w: maintenance(w, {"metadata": {"deletionTimestamp": "now"}}),
    "the maintenance is gone": lambda w: w.tenant.remove(NODEMAINTENANCES, "", NAME),
    "the host is gone": lambda w: w.tenant.remove(NODES, "", HOST),
}


@pytest.mark.parametrize("what", STANDS)
def test_nothing_is_aborted_when_before_the_record_is_written(what: str) -> None:
    world = uncordoned()
    STANDS[what](world)
    assert "STALE" in finish(world)
    found = world.budget(DPU).cycle
    assert found is not None
    assert found.state is State.DRAINING


def test_a_record_that_changed_since_it_was_seen_is_not_aborted() -> None:
    world = uncordoned()
    rewrite(world, DPU, state=State.RETURNING)
    assert "STALE" in finish(world)
    found = world.budget(DPU).cycle
    assert found is not None
    assert (found.state, found.reason) == (State.RETURNING, "")


@pytest.mark.parametrize("cordoned_before", [True, False])
def test_with_the_abort_the_host_is_written_only_if_its_mark_asks_for_the_earlier_cordon(cordoned_before: bool) -> None:
    world = uncordoned(cordoned_before=cordoned_before)
    assert world.host().mark is cordoned_before
    calls: list[Call] = []
    while (call := world.pending()) is not None:
        calls.append(call)
        world.act()
    assert sum(is_patch_of_host(call) for call in calls) == int(cordoned_before)
    assert world.host().mark is False


# --- asking for the drain ---------------------------------------------------------------------------------------------


def asking(*, cordoned_before: bool = False) -> World:
    """The operator is about to have the host drained."""
    world = World(cordoned_before=cordoned_before)
    world.cordon(DPU)
    return at(world, "Create")


ASKED_IN_VAIN: dict[str, Change] = {
    "the cordon of the DPU is gone": lambda w: w.uncordon(DPU),
    "the DPU is skipped": lambda w: w.order(DPU, "skip"),
    "the Node of the DPU is gone": lambda w: w.infra.remove(NODES, "", DPU),
    "the host is in a drain of its own cluster": lambda w: w.tenant.change(
        NODES, "", HOST, {"metadata": {"annotations": {DESIRED_DRAIN_ANNOTATION: "drain-x"}}}
    ),
    "the host is being deleted": lambda w: w.tenant.change(
        NODES, "", HOST, {"metadata": {"deletionTimestamp": "now", "finalizers": ["f"]}}
    ),
    "the host is gone": lambda w: w.tenant.remove(NODES, "", HOST),
    "the host has a maintenance": another_maintenance,
}


@pytest.mark.parametrize("what", ASKED_IN_VAIN)
def test_no_drain_is_asked_for_and_no_mark_set_when_before_that(what: str) -> None:
    world = asking()
    ASKED_IN_VAIN[what](world)
    assert "STALE" in finish(world)
    assert world.own() is None
    if world.tenant.get(NODES, "", HOST) is not None:
        assert world.host().mark is None


@pytest.mark.parametrize("mark", ["yes", "no"])
def test_a_mark_that_stands_is_not_written_over_by_the_next_drain(mark: str) -> None:
    world = asking()
    marked = {"metadata": {"annotations": {CORDONED_BEFORE_ANNOTATION: mark}}}
    world.tenant.change(NODES, "", HOST, marked)
    assert "has yet to be restored" in finish(world)
    assert world.host().mark is (mark == "yes")
    assert world.own() is None


def test_a_host_that_a_maintenance_left_cordoned_is_drained_again_as_one_that_was_not_cordoned() -> None:
    world = asking()
    left = {
        "metadata": {"annotations": {CORDONED_BEFORE_ANNOTATION: "no"}},
        "spec": {"unschedulable": True, "taints": [{"key": "medik8s.io/drain", "effect": "NoSchedule"}]},
    }
    world.tenant.change(NODES, "", HOST, left)
    finish(world)
    own = world.own()
    assert own is not None
    assert (world.host().mark, own.cordoned_before) == (False, False)


def test_a_refused_drain_is_not_tried_again_at_once_and_leaves_no_mark() -> None:
    world = asking(cordoned_before=True)
    world.refuses = True
    assert "REFUSED" in finish(world)
    found = world.budget(DPU).cycle
    assert found is not None
    assert (found.failures, found.failed_at, found.failed) == (2, world.now, "")
    assert (world.host().mark, world.host().cordoned) == (None, True)


@pytest.mark.parametrize("refusal", [Forbidden, Invalid])
def test_of_a_refusal_by_whomever_200_characters_are_kept_on_one_line(refusal: type[ApiError]) -> None:
    world = asking()
    while not (isinstance(call := world.pending(), Write) and call.step.resource is NODEMAINTENANCES):
        world.act()
    assert world.process.run is not None
    world.process.run = world.process.run.answered(refusal(422, "no", "so \n it\tis " * 100))
    assert "REFUSED" in finish(world)
    found = world.budget(DPU).cycle
    assert found is not None
    assert (found.failures, found.note) == (2, ("so it is " * 100)[:200])
    assert world.host().mark is None


# --- bringing the earlier cordon back ---------------------------------------------------------------------------------


def is_patch_of_host(call: Call | None) -> bool:
    return isinstance(call, Write) and isinstance(call.step, Patch) and call.step.resource is NODES


def returned(task: str) -> World:
    """The maintenance is gone; the operator is about to put the host right."""
    world = World(cordoned_before=task == "Restore")
    world.cordon(DPU)
    world.drained()
    world.work()
    world.uncordon(DPU)
    if task == "LeadOut":
        world.maintenance_vanishes()
        return at(world, task)
    world.work()
    while world.nmo():
        pass
    return at(world, task)


@pytest.mark.parametrize("task", ["Restore", "LeadOut"])
def test_the_host_is_read_before_it_is_shown_that_no_maintenance_is_there_and_written_as_it_was_read(task: str) -> None:
    """The other way round a maintenance could come and cordon it between the two, and its cordon be taken for ours."""
    world = returned(task)
    calls: list[Call] = []
    while (call := world.pending()) is not None:
        calls.append(call)
        world.act()
    reads = [call for call in calls if isinstance(call, QuorumGet | QuorumList) and call.cluster != "infra"]
    assert [read.resource.plural for read in reads] == ["nodes", "nodemaintenances"]
    assert is_patch_of_host(calls[-1])


@pytest.mark.parametrize("task", ["Restore", "LeadOut"])
def test_a_host_is_left_as_it_is_when_a_maintenance_is_there_again(task: str) -> None:
    world = returned(task)
    before = world.host()
    another_maintenance(world)
    assert "there is a maintenance" in finish(world)
    assert world.host() == before


@pytest.mark.parametrize("task", ["Restore", "LeadOut"])
def test_a_host_that_changes_after_it_was_read_is_read_again(task: str) -> None:
    world = returned(task)
    while not is_patch_of_host(world.pending()):
        world.act()
    world.tenant.change(NODES, "", HOST, {"metadata": {"annotations": {"note": "by another"}}})
    finish(world)
    assert world.host().mark is not None


def test_a_host_that_has_changed_is_not_uncordoned_and_gives_no_event() -> None:
    world = left_behind(OTHER)
    while not is_patch_of_host(world.pending()):
        world.act()
    world.tenant.change(NODES, "", HOST, {"metadata": {"annotations": {"note": "by another"}}})
    finish(world)
    assert (world.host().cordoned, world.events) == (True, [])


def test_a_host_left_behind_is_not_made_schedulable_when_its_dpu_is_wanted_again_meanwhile() -> None:
    world = returned("LeadOut")
    world.cordon(DPU)
    assert "the drain is not wanted" in finish(world)
    assert world.host().cordoned is True


def own_drain(world: World) -> None:
    world.tenant.change(NODES, "", HOST, {"metadata": {"annotations": {DESIRED_DRAIN_ANNOTATION: "drain-x"}}})


def left_behind(*forced: str) -> World:
    """Of two DPUs these are forced; the host is about to be led out."""
    world = World(2)
    world.cordon(DPU)
    world.drained()
    world.work()
    world.uncordon(DPU)
    for name in forced:
        world.order(name, f"force:{world.node(name).boot_id}")
    world.maintenance_vanishes()
    return at(world, "LeadOut")


@pytest.mark.parametrize(("names", "led_out"), [((), False), ((OTHER,), True), ((DPU, OTHER), True)])
def test_a_host_in_a_drain_of_its_own_cluster_is_led_out_only_if_a_person_forces_a_dpu_of_it(
    names: tuple[str, ...], led_out: bool
) -> None:
    world = left_behind(*names)
    own_drain(world)
    finish(world)
    assert (world.host().mark is None) is led_out


def ending() -> World:
    """The operator is about to give a host back that was cordoned before."""
    world = World(cordoned_before=True)
    world.cordon(DPU)
    world.drained()
    world.uncordon(DPU)
    return at(world, "EndMaintenance")


@pytest.mark.parametrize("given", [lambda: ending(), lambda: failing(cordoned_before=True)], ids=["back", "failed"])
def test_the_host_shows_its_earlier_cordon_before_its_maintenance_goes(given: Callable[[], World]) -> None:
    """The other way round a crash between the two would lose it."""
    world = given()
    world.tenant.change(NODES, "", HOST, {"metadata": {"annotations": {CORDONED_BEFORE_ANNOTATION: None}}})
    calls: list[Call] = []
    while (call := world.pending()) is not None:
        calls.append(call)
        world.act()
    assert [type(call.step) for call in calls if isinstance(call, Write)] == [Patch, Delete]


NOT_OURS_TO_CHANGE: dict[str, dict[str, object]] = {
    "is ending": {"deletionTimestamp": "now"},
    "is somebody else's now": {"labels": {OWNER_LABEL: "another"}},
}


@pytest.mark.parametrize("metadata", NOT_OURS_TO_CHANGE.values(), ids=NOT_OURS_TO_CHANGE.keys())
def test_its_mark_stays_when_a_budget_is_closed_whose_maintenance(metadata: dict[str, object]) -> None:
    world = closing()
    maintenance(world, {"metadata": metadata})
    before = world.maintenances()
    assert "closed" in finish(world)
    assert world.budget(DPU).is_open is False
    assert world.maintenances() == before


def test_a_maintenance_that_was_created_again_is_not_renewed_for_the_one_before() -> None:
    world = opening()
    found = world.view()
    assert found is not None
    world.process.run = Run(Renew(found.host_ref, "the uid of another"))
    assert "the maintenance has changed since it was looked at" in finish(world)


def test_a_failed_maintenance_takes_no_earlier_cordon_with_it() -> None:
    world = World(cordoned_before=True)
    world.cordon(DPU)
    world.work()
    world.nmo()
    world.nmo()
    world.nmo_fails()
    world.tenant.change(NODES, "", HOST, {"metadata": {"annotations": {CORDONED_BEFORE_ANNOTATION: None}}})
    at(world, "EndFailedMaintenance")
    finish(world)
    own = world.own()
    assert own is None or own.terminating
    assert world.host().mark is True


def failing(*, cordoned_before: bool = False) -> World:
    """The operator is about to take a failed maintenance away."""
    world = World(cordoned_before=cordoned_before)
    world.cordon(DPU)
    world.work()
    world.nmo()
    world.nmo()
    world.nmo_fails()
    return at(world, "EndFailedMaintenance")


def opened_meanwhile(world: World) -> None:
    world.infra.change(PODDISRUPTIONBUDGETS, OPERATOR_NAMESPACE, blocker_name(DPU), {"spec": {"maxUnavailable": 1}})


STAYS: dict[str, Change] = {
    "it runs again": lambda w: w.nmo_restarts(),
    "its budget is open": opened_meanwhile,
    "a mark stands": lambda w: maintenance(w, {"metadata": {"annotations": {open_for(DPU): f"{DPU} x"}}}),
    "it is on its way out": lambda w: maintenance(w, {"metadata": {"deletionTimestamp": "now"}}),
    "it is gone": lambda w: w.tenant.remove(NODEMAINTENANCES, "", NAME),
    "it is somebody else's": lambda w: maintenance(w, {"metadata": {"labels": {OWNER_LABEL: "another"}}}),
}


@pytest.mark.parametrize("what", STAYS)
def test_a_failed_maintenance_is_not_taken_away_when(what: str) -> None:
    world = failing()
    STAYS[what](world)
    before = world.own()
    assert "STALE" in finish(world)
    assert world.own() == before


def unmarking() -> World:
    """The operator is about to take off a mark that was left."""
    world = World()
    world.cordon(DPU)
    world.drained()
    world.order(DPU, "hold")
    maintenance(world, {"metadata": {"annotations": {open_for(DPU): f"{DPU} x"}}})
    return at(world, "Unmark")


MARK_STAYS: dict[str, Change] = {
    "the maintenance is on its way out": lambda w: maintenance(w, {"metadata": {"deletionTimestamp": "now"}}),
    "the maintenance is somebody else's": lambda w: maintenance(w, {"metadata": {"labels": {OWNER_LABEL: "another"}}}),
    "the maintenance is gone": lambda w: w.tenant.remove(NODEMAINTENANCES, "", NAME),
    "the budget is open": opened_meanwhile,
}


@pytest.mark.parametrize("what", MARK_STAYS)
def test_a_mark_is_left_and_nothing_written_when(what: str) -> None:
    world = unmarking()
    MARK_STAYS[what](world)
    before = (world.maintenances(), world.budget(DPU))
    assert "STALE" in finish(world)
    assert (world.maintenances(), world.budget(DPU)) == before


def test_a_mark_goes_though_the_budget_is_open_by_now_for_another_host() -> None:
    world = unmarking()
    budget_changes(world, annotations={SERVES_ANNOTATION: "host-9"})
    opened_meanwhile(world)
    before = world.budget(DPU)
    assert "took a mark off that was left" in finish(world)
    own = world.own()
    assert own is not None
    assert (own.marks, world.budget(DPU)) == ({}, before)


GONE: dict[str, Change] = {
    "the Node of the DPU": lambda w: w.infra.remove(NODES, "", DPU),
    "the maintenance": lambda w: w.tenant.remove(NODEMAINTENANCES, "", NAME),
    "the host": lambda w: w.tenant.remove(NODES, "", HOST),
    "the budget": lambda w: w.infra.remove(PODDISRUPTIONBUDGETS, OPERATOR_NAMESPACE, blocker_name(DPU)),
}


@pytest.mark.parametrize("what", GONE)
def test_nothing_is_opened_when_this_is_gone(what: str) -> None:
    world = opening()
    while not (isinstance(call := world.pending(), QuorumGet) and call.name == DPU):
        world.act()
    GONE[what](world)
    assert "something is gone" in finish(world)


def test_a_budget_that_is_open_already_is_not_written_again() -> None:
    world = opening()
    opened_meanwhile(world)
    before = world.infra.get(PODDISRUPTIONBUDGETS, OPERATOR_NAMESPACE, blocker_name(DPU))
    assert "is open already" in finish(world)
    assert world.infra.get(PODDISRUPTIONBUDGETS, OPERATOR_NAMESPACE, blocker_name(DPU)) == before


NOT_FORCED: dict[str, Change] = {
    "its cordon is gone": lambda w: w.infra.change(NODES, "", DPU, {"spec": {"unschedulable": None}}),
    "the word is gone": lambda w: w.order(DPU, None),
    "it runs in another boot": lambda w: w.infra.change(
        NODES, "", DPU, {"status": {"nodeInfo": {"bootID": "another"}}}
    ),
    "its Node is gone": lambda w: w.infra.remove(NODES, "", DPU),
}


@pytest.mark.parametrize("what", NOT_FORCED)
def test_a_budget_is_not_forced_open_when_of_its_dpu(what: str) -> None:
    world = forced()
    NOT_FORCED[what](world)
    assert "it is not forced any more" in finish(world)
    assert world.budget(DPU).is_open is False


# --- records of another leadership ------------------------------------------------------------------------------------


def forced() -> World:
    world = World()
    world.cordon(DPU)
    world.force(DPU)
    return at(world, "ForceOpen")


def refreshing() -> World:
    world = World()
    world.cordon(DPU)
    world.drained()
    world.work()
    world.reboots_by_itself(DPU)
    world.kubelet(DPU)
    return at(world, "Refresh")


def adopting() -> World:
    world = World()
    world.cordon(DPU)
    return at(world, "Adopt")


def opening() -> World:
    world = World()
    world.cordon(DPU)
    world.drained()
    return at(world, "Open")


def creating() -> World:
    world = World()
    world.refuses = True
    world.cordon(DPU)
    return at(world, "Create")


OF_THIS_TERM = {"ForceOpen": forced, "Refresh": refreshing, "Adopt": adopting, "Open": opening, "Create": creating}


@pytest.mark.parametrize("task", OF_THIS_TERM)
def test_a_record_that_another_leadership_has_taken_over_is_left_alone_by(task: str) -> None:
    world = OF_THIS_TERM[task]()
    rewrite(world, DPU, term="another")
    before = world.budget(DPU)
    finish(world)
    assert world.budget(DPU) == before


def closing() -> World:
    world = World()
    world.cordon(DPU)
    world.drained()
    world.work()
    world.uncordon(DPU)
    return at(world, "Close")


def beginning() -> World:
    world = World()
    world.cordon(DPU)
    return at(world, "Rewrite")


def budget_changes(world: World, **metadata: dict[str, str]) -> None:
    world.infra.change(PODDISRUPTIONBUDGETS, OPERATOR_NAMESPACE, blocker_name(DPU), {"metadata": metadata})


WRITERS = {**OF_THIS_TERM, "AbortTakenBack": uncordoned, "Rewrite": beginning, "Unmark": unmarking}
TAKEN: dict[str, Change] = {
    "is somebody else's": lambda w: budget_changes(w, labels={OWNER_LABEL: "another"}),
    "serves another host": lambda w: budget_changes(w, annotations={SERVES_ANNOTATION: "host-9"}),
}


@pytest.mark.parametrize("what", TAKEN)
@pytest.mark.parametrize("task", WRITERS)
def test_a_budget_is_not_written_that_before_that(task: str, what: str) -> None:
    world = WRITERS[task]()
    TAKEN[what](world)
    before = world.infra.get(PODDISRUPTIONBUDGETS, OPERATOR_NAMESPACE, blocker_name(DPU))
    finish(world)
    assert world.infra.get(PODDISRUPTIONBUDGETS, OPERATOR_NAMESPACE, blocker_name(DPU)) == before


@pytest.mark.parametrize("metadata", [{"labels": {OWNER_LABEL: "another"}}, {"annotations": {SERVES_ANNOTATION: ""}}])
def test_a_budget_is_not_closed_that_protects_nothing_of_ours_any_more(metadata: dict[str, dict[str, str]]) -> None:
    world = closing()
    budget_changes(world, **metadata)
    assert "there is no protection to close" in finish(world)
    assert world.budget(DPU).is_open is True


@pytest.mark.parametrize("state", [State.RETURNING, State.ABORTED])
def test_a_maintenance_is_not_made_that_of_a_drain_that_is_over_or_aborted(state: State) -> None:
    world = adopting()
    rewrite(world, DPU, state=state)
    before = world.budget(DPU)
    finish(world)
    assert world.budget(DPU) == before


def test_the_containers_are_read_before_the_boot_so_that_none_of_a_new_boot_counts_as_one_from_before() -> None:
    calls = []
    world = refreshing()
    while (call := world.pending()) is not None:
        calls.append(call)
        world.act()
    assert [call.resource.plural for call in calls if isinstance(call, QuorumGet)] == [
        "pods",
        "nodes",
        "poddisruptionbudgets",
    ]


# --- an outdated pod --------------------------------------------------------------------------------------------------


def restarting() -> World:
    """The operator is about to delete the pod of a drained host, whose containers are from before the reboot."""
    world = World()
    world.mco_begins(DPU)
    world.drained()
    world.work()
    while world.mco(DPU):
        pass
    world.kubelet(DPU)
    world.work()
    world.tick(400)
    return at(world, "RestartPod")


RUNS_ON: dict[str, Change] = {
    "the host is in use": lambda w: host(w, unschedulable=None),
    "the maintenance drains again": lambda w: maintenance(w, {"status": {"phase": "Running"}}),
    "the maintenance is on its way out": lambda w: maintenance(w, {"metadata": {"deletionTimestamp": "now"}}),
    "the maintenance is another one": both(
        lambda w: w.tenant.remove(NODEMAINTENANCES, "", NAME),
        lambda w: w.tenant.put(
            NODEMAINTENANCES,
            {"metadata": {"name": NAME}, "spec": {"nodeName": HOST}, "status": {"phase": "Succeeded"}},
        ),
    ),
    "the host is gone": lambda w: w.tenant.remove(NODES, "", HOST),
}


def pods_of(world: World) -> list[str]:
    return [name_of(pod) for pod in world.infra.list(PODS, "dpu-one")]


@pytest.mark.parametrize("what", RUNS_ON)
def test_an_outdated_pod_runs_on_when(what: str) -> None:
    world = restarting()
    RUNS_ON[what](world)
    assert "is not drained" in finish(world)
    assert pods_of(world) == [f"ovnkube-node-{DPU}"]


def test_the_host_is_read_after_its_maintenance_so_that_an_uncordon_between_the_two_is_seen() -> None:
    world = restarting()
    world.act()
    host(world, unschedulable=None)
    assert "is not drained" in finish(world)
    assert pods_of(world) == [f"ovnkube-node-{DPU}"]


def test_a_new_pod_of_the_same_name_is_not_deleted_for_the_outdated_one() -> None:
    world = restarting()
    found = world.infra.get(PODS, "dpu-one", f"ovnkube-node-{DPU}")
    assert found is not None
    world.infra.remove(PODS, "dpu-one", f"ovnkube-node-{DPU}")
    world.infra.put(PODS, found)
    assert "the pod is gone" in finish(world)
    assert pods_of(world) == [f"ovnkube-node-{DPU}"]


def test_nothing_else_is_written_when_an_outdated_pod_is_deleted() -> None:
    world = restarting()
    calls = []
    while (call := world.pending()) is not None:
        calls.append(call)
        world.act()
    writes = [call.step for call in calls if isinstance(call, Write)]
    assert [type(step) for step in writes] == [Delete]
    assert not any(isinstance(step, Apply) for step in writes)
    assert pods_of(world) == []


RENEWED_IN_VAIN: dict[str, Change] = {
    "the maintenance is somebody else's": lambda w: maintenance(w, {"metadata": {"labels": {OWNER_LABEL: "else"}}}),
    "the maintenance is on its way out": lambda w: maintenance(w, {"metadata": {"deletionTimestamp": "now"}}),
    "the maintenance is gone": lambda w: w.tenant.remove(NODEMAINTENANCES, "", NAME),
    "the maintenance drains already": lambda w: maintenance(w, {"status": {"phase": "Running"}}),
    "the host is gone": lambda w: w.tenant.remove(NODES, "", HOST),
    "the host is in a drain of its own cluster again": own_drain,
    "the host is the one that was drained": lambda w: w.tenant.change(
        NODES,
        "",
        HOST,
        {
            "metadata": {"annotations": {CORDONED_BEFORE_ANNOTATION: "no"}},
            "spec": {"taints": [{"key": MAINTENANCE_TAINT}]},
        },
    ),
}


@pytest.mark.parametrize("what", RENEWED_IN_VAIN)
def test_no_host_is_drained_anew_when_before_that(what: str) -> None:
    world = World()
    world.cordon(DPU)
    world.drained()
    world.work()
    world.register_host_anew()
    at(world, "Renew")
    RENEWED_IN_VAIN[what](world)
    before = world.tenant.get(NODEMAINTENANCES, "", NAME)
    assert "STALE" in finish(world)
    assert world.tenant.get(NODEMAINTENANCES, "", NAME) == before


def test_a_mark_that_is_taken_off_is_remembered_in_a_record_of_ours_also_if_that_was_lost() -> None:
    for is_lost in (False, True):
        world = unmarking()
        before = world.budget(DPU).cycle
        assert before is not None
        bare = {"metadata": {"annotations": {CYCLE_ANNOTATION: None}}}
        if is_lost:
            world.infra.change(PODDISRUPTIONBUDGETS, OPERATOR_NAMESPACE, blocker_name(DPU), bare)
        finish(world)
        found = world.budget(DPU).cycle
        assert found is not None
        assert (found.opened, found.state) == (True, State.RETURNING if is_lost else before.state)
        assert found.term == world.process.term
