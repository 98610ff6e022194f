"""Rules 2 and 3: what must hold, and in which order it is asked, before a budget is opened and after it is closed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dpunetop.domain.drain.model.calls import Call, Done, QuorumGet, Result, Steps, Write
from dpunetop.domain.drain.model.facts import MaintenancePhase
from dpunetop.domain.drain.model.record import State, render_cycle
from dpunetop.domain.drain.protection.blockers import write_budget
from dpunetop.domain.drain.rules import opening
from dpunetop.domain.drain.rules.opening import OPENING
from dpunetop.domain.names import (
    CYCLE_ANNOTATION,
    MACHINE_CONFIG_STATE_ANNOTATION,
    NODEMAINTENANCES,
    OWNER_LABEL,
    PODDISRUPTIONBUDGETS,
    SERVES_ANNOTATION,
    blocker_name,
    maintenance_name,
    open_for,
)
from dpunetop.kube.keys import INFRA, NODES
from dpunetop.kube.plan import Apply, Delete, Fence, Patch
from support.drainworld import HOST, OPERATOR_NAMESPACE, TENANT, World

DPU = "dpu-1"
NAME = maintenance_name(HOST)


def is_opening(call: object) -> bool:
    return (
        isinstance(call, Write)
        and isinstance(call.step, Apply)
        and call.step.desired["spec"].get("maxUnavailable") == 1
    )


def is_marking(call: object) -> bool:
    return isinstance(call, Write) and isinstance(call.step, Patch) and call.step.resource is NODEMAINTENANCES


def is_delete(call: object) -> bool:
    return isinstance(call, Write) and isinstance(call.step, Delete)


def before_the_reads() -> World:
    """The host is drained and the mark is set; nothing has been read since."""
    world = at_the_mark()
    world.operate()
    return world


def at_the_mark() -> World:
    """A host is drained, and the mark that comes before an opening is about to be set."""
    world = World()
    world.cordon(DPU)
    world.drained()
    world.operate_until(is_marking)
    return world


def rest_of(world: World) -> list[Call]:
    """Carry the task under way out to its end; its calls from here on."""
    calls = []
    while (call := world.pending()) is not None:
        calls.append(call)
        world.act()
    return calls


def kinds(calls: list[Call]) -> list[str]:
    return [call.resource.plural if isinstance(call, QuorumGet) else type(call).__name__ for call in calls]


def opened() -> World:
    world = World()
    world.cordon(DPU)
    world.drained()
    world.work()
    assert world.budget(DPU).is_open
    return world


def change_maintenance(world: World, change: dict[str, Any]) -> None:
    world.tenant.change(NODEMAINTENANCES, "", NAME, change)


def change_budget(world: World, annotation: str, text: str) -> None:
    change = {"metadata": {"annotations": {annotation: text}}}
    world.infra.change(PODDISRUPTIONBUDGETS, OPERATOR_NAMESPACE, blocker_name(DPU), change)


def register_anew(world: World) -> None:
    node = world.infra.get(NODES, "", DPU)
    assert node is not None
    world.infra.remove(NODES, "", DPU)
    world.infra.put(NODES, node)


def make_anew(world: World) -> None:
    found = world.tenant.get(NODEMAINTENANCES, "", NAME)
    assert found is not None
    world.tenant.remove(NODEMAINTENANCES, "", NAME)
    world.tenant.put(NODEMAINTENANCES, found)


def of_another_term(world: World) -> None:
    read = world.budget(DPU)
    text = read.live["metadata"]["annotations"][CYCLE_ANNOTATION].replace("term-1", "term-0")
    change_budget(world, CYCLE_ANNOTATION, text)


BREAKS: dict[str, Callable[[World], object]] = {
    "the node is that of the cycle": register_anew,
    "the drain is wanted": lambda world: world.uncordon(DPU),
    "the host is the one that was drained": lambda world: world.register_host_anew(cordoned=True),
    "nobody holds it": lambda world: world.order(DPU, "hold"),
    "the maintenance is ours": lambda w: change_maintenance(w, {"metadata": {"labels": {OWNER_LABEL: "other"}}}),
    "the maintenance is of this cycle": make_anew,
    "our mark of this attempt stands": lambda w: change_maintenance(
        w, {"metadata": {"annotations": {open_for(DPU): "dpu-1 x"}}}
    ),
    "the host is drained": lambda w: change_maintenance(w, {"status": {"phase": "Running"}}),
    "the host's own machine-config operator rests": lambda w: w.change_host(
        {"metadata": {"annotations": {MACHINE_CONFIG_STATE_ANNOTATION: "Working"}}}
    ),
    "the record is our own": of_another_term,
    "the budget serves this host": lambda w: change_budget(w, SERVES_ANNOTATION, "host-2"),
}


NOT_DRAINED: dict[str, Callable[[World], object]] = {
    "the maintenance ends": lambda w: change_maintenance(w, {"metadata": {"deletionTimestamp": "now"}}),
    "the maintenance runs": BREAKS["the host is drained"],
    "the host is schedulable": lambda w: w.tenant.change(NODES, "", HOST, {"spec": {"unschedulable": None}}),
}


def finish_task(world: World) -> None:
    while world.process.run is not None:
        world.act()


def test_every_guard_of_an_opening_has_a_case() -> None:
    assert BREAKS.keys() == OPENING.keys()


@pytest.mark.parametrize("guard", BREAKS)
def test_nothing_is_opened_when_it_does_not_hold_that(guard: str) -> None:
    world = before_the_reads()
    BREAKS[guard](world)
    finish_task(world)
    assert world.budget(DPU).is_open is False
    assert guard in world.trace[-1]


@pytest.mark.parametrize("change", NOT_DRAINED.values(), ids=NOT_DRAINED.keys())
def test_nothing_is_opened_when_the_host_is_not_drained_in_any_way(change: Callable[[World], object]) -> None:
    world = before_the_reads()
    change(world)
    finish_task(world)
    assert world.budget(DPU).is_open is False
    assert "the host is drained" in world.trace[-1]


@pytest.mark.parametrize("guard", BREAKS)
def test_without_the_guard_it_would_have_been_opened_when_it_does_not_hold_that(
    guard: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "OPENING", {name: holds for name, holds in OPENING.items() if name != guard})
    world = before_the_reads()
    BREAKS[guard](world)
    finish_task(world)
    assert world.budget(DPU).is_open is True


def test_the_mark_comes_before_the_reads_and_the_budget_is_read_last() -> None:
    world = at_the_mark()
    calls = rest_of(world)
    assert kinds(calls) == ["Write", "nodes", "nodemaintenances", "nodes", "poddisruptionbudgets", "Write"]
    last = calls[-1]
    assert isinstance(last, Write)
    assert isinstance(last.step, Apply)
    assert last.step.fence is Fence.VERSION


def test_a_maintenance_that_was_written_since_the_cache_is_read_before_it_is_marked() -> None:
    world = at_the_mark()
    change_maintenance(world, {"metadata": {"annotations": {"note": "by another"}}})
    assert kinds(rest_of(world))[:4] == ["Write", "nodemaintenances", "Write", "nodes"]
    assert world.budget(DPU).is_open is True


def test_a_maintenance_that_drains_again_since_the_cache_is_not_marked() -> None:
    world = at_the_mark()
    change_maintenance(world, {"status": {"phase": "Running"}})
    assert kinds(rest_of(world)) == ["Write", "nodemaintenances"]
    own = world.own()
    assert own is not None
    assert (own.marks, world.budget(DPU).is_open) == ({}, False)


def test_a_record_is_never_written_onto_an_open_budget_unread() -> None:
    """What is restated with it would open it, if a restored cluster gave the version of the cache out again."""
    world = opened()
    register_anew(world)
    world.cordon(DPU)
    call = world.operate_until(lambda call: getattr(call, "name", blocker_name(DPU)) == blocker_name(DPU))
    assert isinstance(call, QuorumGet)


def take_over_and_abort(world: World) -> None:
    """Another process leads, sees the cordon taken back, and starts a new cycle."""
    world.uncordon(DPU)
    world.work()
    world.cordon(DPU)


def test_an_opening_of_a_deposed_process_fails_once_another_one_has_decided() -> None:
    world = World()
    world.cordon(DPU)
    world.drained()
    world.operate_until(is_opening)
    world.depose()
    take_over_and_abort(world)
    world.deliver()
    assert world.budget(DPU).is_open is False


def test_without_the_version_it_would_open_under_the_other_ones_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "write_budget", lambda *given: replace(write_budget(*given), fence=Fence.UID))
    world = World()
    world.cordon(DPU)
    world.drained()
    world.operate_until(is_opening)
    world.depose()
    take_over_and_abort(world)
    world.deliver()
    assert world.budget(DPU).is_open is True
    assert world.violations


def test_a_new_leader_writes_every_record_before_it_decides() -> None:
    world = World(2)
    for name in world.dpus:
        world.cordon(name)
    world.drained()
    before = {name: world.budget(name).live["metadata"]["resourceVersion"] for name in world.dpus}
    world.crash()
    world.operate_until(is_marking)
    for name in world.dpus:
        read = world.budget(name)
        assert read.live["metadata"]["resourceVersion"] != before[name]
        assert read.cycle is not None
        assert read.cycle.term == world.process.term


def test_a_conflict_leads_to_new_reads_and_then_opens() -> None:
    world = World()
    world.cordon(DPU)
    world.drained()
    world.operate_until(is_opening)
    change_budget(world, "example.com/note", "somebody wrote it")
    finish_task(world)
    assert world.budget(DPU).is_open is True
    assert world.trace[-1].endswith("opened, host-1 is drained")


def test_a_budget_that_keeps_changing_is_left_for_another_time() -> None:
    world = World()
    world.cordon(DPU)
    world.drained()
    world.operate_until(is_opening)
    while world.process.run is not None:
        if is_opening(world.pending()):
            change_budget(world, "example.com/note", str(world.steps))
        world.step(world.act, "act")
    assert world.budget(DPU).is_open is False
    assert "the budget kept changing" in world.trace[-1]


def test_a_mark_that_stands_is_set_anew_so_that_a_late_removal_fails() -> None:
    world = World()
    world.cordon(DPU)
    world.drained()
    world.operate_until(is_opening)
    world.act_lost()  # the mark is left
    change_maintenance(world, {"status": {"phase": "Running"}})
    world.operate_until(
        lambda call: (
            isinstance(call, Write)
            and isinstance(call.step, Patch)
            and is_marking(call)
            and call.step.patch["metadata"]["annotations"] == {open_for(DPU): None}
        )
    )
    world.depose()  # the removal of the mark is under way
    change_maintenance(world, {"status": {"phase": "Succeeded"}})
    world.work()
    assert world.budget(DPU).is_open is True
    world.deliver()
    own = world.own()
    assert own is not None
    assert own.mark_of(DPU)


def test_a_mark_left_behind_goes_only_after_the_record_was_written() -> None:
    world = World()
    world.cordon(DPU)
    world.drained()
    world.operate_until(is_opening)
    world.act_delayed()  # the opening is still under way
    change_maintenance(world, {"status": {"phase": "Running"}})
    world.work()
    own = world.own()
    assert own is not None
    assert own.marks == {}
    world.deliver()
    assert world.budget(DPU).is_open is False


def test_without_that_write_the_opening_would_arrive_when_its_mark_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def unfenced(self: opening.Unmark) -> Steps[Done]:
        yield from opening._take_off(self.host_ref, self.mark, State.RETURNING)
        return Done(Result.DONE)

    monkeypatch.setattr(opening.Unmark, "run", unfenced)
    world = World()
    world.cordon(DPU)
    world.drained()
    world.operate_until(is_opening)
    world.act_delayed()
    change_maintenance(world, {"status": {"phase": "Running"}})
    world.work()
    world.deliver()
    assert world.budget(DPU).is_open is True
    assert world.violations == ["dpu-1 opened without its maintenance"]


def test_a_mark_that_is_gone_already_costs_no_write() -> None:
    world = opened()
    world.uncordon(DPU)
    world.sync(INFRA)
    assert world.think()
    rest_of(world)
    world.sync(INFRA)
    assert world.think()
    assert world.last is not None
    assert isinstance(world.last.task, opening.Unmark)
    assert [call for call in rest_of(world) if isinstance(call, Write)] == []


@pytest.mark.parametrize(("text", "dpu"), [("bf2-1 x", "bf2-1"), ("a/../../pods/b x", ""), ("b?watch=1", ""), ("", "")])
def test_what_a_tenant_writes_into_a_mark_is_a_node_s_name_or_nothing(text: str, dpu: str) -> None:
    assert opening.marked_dpu(text) == dpu


@pytest.mark.parametrize("text", ["gone x1", "no word of ours", ""])
def test_a_mark_of_a_dpu_that_nobody_knows_is_taken_off_whatever_it_says(text: str) -> None:
    world = opened()
    world.uncordon(DPU)
    world.sync(INFRA)
    stranger = {"metadata": {"annotations": {open_for("gone"): text}}}
    change_maintenance(world, stranger)
    world.work()
    assert world.settle() >= 0
    assert world.own() is None


CLOSES: dict[str, Callable[[World], object]] = {
    "the cordon is taken back": lambda w: w.uncordon(DPU),
    "a person says skip": lambda w: w.order(DPU, "skip"),
    "a person says hold": lambda w: w.order(DPU, "hold"),
    "a person says something unknown": lambda w: w.order(DPU, "stop"),
    "the tenant cannot be reached": lambda w: w.tenant_goes(),
    "the maintenance runs again": lambda w: change_maintenance(w, {"status": {"phase": "Running"}}),
    "the maintenance failed": lambda w: change_maintenance(w, {"status": {"phase": "Failed"}}),
    "the maintenance is ending": lambda w: change_maintenance(w, {"metadata": {"deletionTimestamp": "now"}}),
    "the maintenance is gone": lambda w: w.tenant.remove(NODEMAINTENANCES, "", NAME),
    "the maintenance is another": make_anew,
    "the host is uncordoned": lambda w: w.tenant.change(NODES, "", HOST, {"spec": {"unschedulable": None}}),
    "the node is gone": lambda w: w.infra.remove(NODES, "", DPU),
    "somebody else has a maintenance there": lambda w: w.tenant.put(
        NODEMAINTENANCES, {"metadata": {"name": "other"}, "spec": {"nodeName": HOST}}
    ),
}


@pytest.mark.parametrize("why", CLOSES)
def test_an_open_budget_is_closed_at_once_when(why: str) -> None:
    world = opened()
    CLOSES[why](world)
    world.process.run = None
    world.sync(INFRA)
    world.sync(TENANT)
    world.think()
    while world.pending() is not None:
        world.act()
    assert world.budget(DPU).is_open is False


def test_closing_needs_no_answer_of_the_tenant() -> None:
    world = opened()
    world.tenant_goes()
    world.sync(INFRA)
    world.think()
    calls = []
    while (call := world.pending()) is not None:
        calls.append(call)
        world.act()
    assert [call.step.cluster for call in calls if isinstance(call, Write)] == [INFRA]
    assert len(calls) == 1
    assert world.budget(DPU).is_open is False


def test_a_budget_that_was_written_since_the_cache_is_read_and_closed_all_the_same() -> None:
    world = opened()
    world.order(DPU, "hold")
    world.operate_until(lambda call: isinstance(call, Write))
    change_budget(world, "note", "by another")
    kinds = []
    while (call := world.pending()) is not None and world.budget(DPU).is_open:
        kinds.append(type(call).__name__)
        world.act()
    assert (kinds, world.budget(DPU).is_open) == (["Write", "QuorumGet", "Write"], False)


def test_a_budget_that_somebody_has_closed_meanwhile_is_left_alone() -> None:
    world = opened()
    world.order(DPU, "hold")
    world.operate_until(lambda call: isinstance(call, Write))
    spec = {"spec": {"maxUnavailable": 0}}
    world.infra.change(PODDISRUPTIONBUDGETS, OPERATOR_NAMESPACE, blocker_name(DPU), spec)
    kinds = []
    while (call := world.pending()) is not None:
        kinds.append(type(call).__name__)
        world.act()
    assert kinds == ["Write", "QuorumGet"]


def test_the_mark_stands_until_the_server_has_said_that_the_budget_is_closed() -> None:
    world = opened()
    world.order(DPU, "hold")
    world.sync(INFRA)
    world.think()
    kinds = []
    while (call := world.pending()) is not None:
        kinds.append("close" if isinstance(call, Write) and isinstance(call.step, Apply) else "")
        if is_marking(call):
            assert kinds.index("close") < len(kinds) - 1
            assert world.budget(DPU).is_open is False
        world.act()
    own = world.own()
    assert own is not None
    assert own.marks == {}


def test_an_unanswered_closing_leaves_the_mark() -> None:
    world = opened()
    world.order(DPU, "hold")
    world.operate_until(lambda call: isinstance(call, Write))
    world.act_unheard()
    own = world.own()
    assert own is not None
    assert own.mark_of(DPU)


def test_an_abort_that_is_due_comes_before_the_mark_goes_because_that_cordons_the_host_again() -> None:
    world = opened()
    world.uncordon_host()
    world.operate_until(lambda call: isinstance(call, Write) and isinstance(call.step, Apply))
    while world.process.run is not None:
        world.act()
    own = world.own()
    assert own is not None
    assert own.mark_of(DPU)
    world.work()
    read = world.budget(DPU)
    assert read.cycle is not None
    assert (read.cycle.state, read.cycle.reason) == (State.ABORTED, "HostUncordoned")


FORCED: dict[str, tuple[Callable[[World], object], bool]] = {
    "the boot ID is the one that runs": (lambda w: w.force(DPU), True),
    "the boot ID is another": (lambda w: w.order(DPU, "force:other"), False),
    "the annotation names none": (lambda w: w.order(DPU, "force:"), False),
    "the tenant is away": (lambda w: (w.force(DPU), w.tenant_goes()), True),
}


@pytest.mark.parametrize(("given", "opens"), FORCED.values(), ids=FORCED.keys())
def test_force_opens_a_cordoned_dpu_whatever_its_host_does_if(given: Callable[[World], object], opens: bool) -> None:
    world = World()
    world.cordon(DPU)
    given(world)
    world.work()
    assert world.budget(DPU).is_open is opens


def test_force_is_void_after_the_reboot_and_the_budget_closes() -> None:
    world = World()
    world.cordon(DPU)
    world.force(DPU)
    world.work()
    assert world.budget(DPU).is_open is True
    world._boot(DPU)
    world.work()
    assert world.budget(DPU).is_open is False


def test_nothing_is_marked_on_a_host_that_somebody_has_uncordoned() -> None:
    """A mark would make the maintenance cordon it again, and nobody would see that it was taken back."""
    world = at_the_mark()
    world.process.run = None
    world.think()  # with caches that show the cordon
    world.tenant.change(NODES, "", HOST, {"spec": {"unschedulable": None}})
    finish_task(world)
    own = world.own()
    assert own is not None
    assert own.phase is MaintenancePhase.SUCCEEDED
    assert own.marks == {}


def test_the_write_that_closes_says_too_that_the_cordon_was_taken_back() -> None:
    world = opened()
    world.uncordon(DPU)
    world.operate_until(lambda call: isinstance(call, Write))
    world.operate()
    cycle = world.budget(DPU).cycle
    assert cycle is not None
    assert (world.budget(DPU).is_open, cycle.state) == (False, State.RETURNING)


def test_a_record_that_is_not_as_it_was_seen_is_left_as_it_is_when_its_budget_is_closed() -> None:
    world = opened()
    world.uncordon(DPU)
    world.operate_until(lambda call: isinstance(call, Write))
    seen = world.budget(DPU)
    assert seen.cycle is not None
    change_budget(world, CYCLE_ANNOTATION, render_cycle(replace(seen.cycle, note="by another")))
    while world.budget(DPU).is_open:
        world.act()
    cycle = world.budget(DPU).cycle
    assert cycle is not None
    assert (world.budget(DPU).is_open, cycle.state) == (False, State.DRAINING)
