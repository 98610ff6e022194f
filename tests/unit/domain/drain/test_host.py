"""What follows from one look at a host, outside of what protection, drain and outage decide by themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dpunetop.domain.clusterconfig.access import Access
from dpunetop.domain.clusterconfig.types import OutagePolicy
from dpunetop.domain.drain.fleet.roster import Member, Mode, PodEntry, Roster
from dpunetop.domain.drain.host import (
    Finding,
    decide_host,
    is_active,
    is_drained_or_gone,
    is_to_go,
    rehearsal,
    soonest,
    sweeping,
)
from dpunetop.domain.drain.model.cordonmark import CordonMark, CordonProgress
from dpunetop.domain.drain.model.facts import DpuView, HostView, NodeGone, TenantSeen
from dpunetop.domain.drain.outages.unplanned import Cordons
from dpunetop.domain.names import OWNER_LABEL, blocker_name
from dpunetop.kube.plan import Apply, Delete, Fence
from support.drainviews import BLIND, CYCLE, DONE, DRAINED_HOST, closed, cordoned, dpu, view
from support.drainviews import HOST as HOST_NODE
from support.objects import node
from support.rosters import DPU, ENTRY, HOST, member, roster, scope, slot, snapshot

IDLE = replace(member(), pairing=None, text="", entry=PodEntry())
SERVES_NOBODY = dpu(read=closed(serves=""))
OTHER_ENTRY = "TENANT_K8S_NODE=host-2\n"
CHANGED = f"{ENTRY}OVN_LOG_LEVEL=dbg\n"

# mode, member, DPU -> is it swept away
TO_GO: dict[str, tuple[Mode, Member, DpuView, bool]] = {
    "it is paired": (Mode.LEAVING, replace(IDLE, pairing=HOST), SERVES_NOBODY, False),
    "its entry stands": (Mode.LEAVING, replace(IDLE, entry=PodEntry(ENTRY)), SERVES_NOBODY, False),
    "its budget says that it serves": (Mode.LEAVING, IDLE, dpu(), False),
    "nothing asks it to go": (Mode.SERVING, IDLE, SERVES_NOBODY, False),
    "the selector does not pick it": (Mode.SERVING, replace(IDLE, is_dropped=True), SERVES_NOBODY, True),
    "its Node may be gone": (Mode.SERVING, IDLE, replace(SERVES_NOBODY, node=NodeGone(False)), False),
    "its Node is gone": (Mode.SERVING, IDLE, replace(SERVES_NOBODY, node=NodeGone(True)), True),
    "the config is led out": (Mode.LEADING_OUT, IDLE, SERVES_NOBODY, True),
    "the config leaves": (Mode.LEAVING, IDLE, SERVES_NOBODY, True),
    "it has no budget any more": (Mode.LEAVING, IDLE, replace(SERVES_NOBODY, budget=None), True),
}


@pytest.mark.parametrize(("mode", "seen", "found", "goes"), TO_GO.values(), ids=TO_GO.keys())
def test_a_blocker_goes_once_its_dpu_serves_no_host_and_is_not_wanted(
    mode: Mode, seen: Member, found: DpuView, goes: bool
) -> None:
    assert is_to_go(roster(mode), seen, found) is goes
    decided = decide_host(snapshot(found, scope=scope(roster(mode), slot(seen))))
    assert (list(decided.sweeping), list(decided.protections)) == (([DPU], []) if goes else ([], [DPU]))


def test_the_protection_of_a_dpu_is_decided_where_it_is_at_home_alone() -> None:
    decided = decide_host(snapshot(dpu(), scope=scope(place=slot(replace(member(), is_home=False)))))
    assert (decided.protections, decided.sweeping) == ({}, {})


WITHOUT_BUDGET = replace(SERVES_NOBODY, budget=None)


def test_the_budget_is_swept_before_the_blocker_and_as_it_was_seen() -> None:
    assert SERVES_NOBODY.budget is not None
    (first,) = sweeping(SERVES_NOBODY, snapshot(SERVES_NOBODY))
    assert isinstance(first, Delete)
    assert (first.live, first.fence) == (SERVES_NOBODY.budget.live, Fence.VERSION)
    (then,) = sweeping(WITHOUT_BUDGET, snapshot(WITHOUT_BUDGET))
    assert isinstance(then, Delete)
    assert then.live["metadata"]["name"] == blocker_name(DPU)


def test_what_is_somebody_elses_or_serves_is_not_swept() -> None:
    foreign = replace(SERVES_NOBODY, budget=closed(serves="", ours=False))
    assert [sweeping(each, snapshot(each)) for each in (foreign, dpu())] == [(), ()]
    theirs = {DPU: {"metadata": {"name": blocker_name(DPU), "labels": {OWNER_LABEL: "another"}}}}
    for deployments in (theirs, {}):
        assert sweeping(WITHOUT_BUDGET, snapshot(WITHOUT_BUDGET, deployments=deployments)) == ()


DRAINED: dict[str, tuple[HostView | None, bool]] = {
    "nothing is known of the tenant": (None, False),
    "the tenant is out of sight": (view(dpu(), tenant=BLIND), False),
    "the host is in use": (view(dpu()), False),
    "the host is cordoned by a person": (view(dpu(), host=replace(HOST_NODE, cordoned=True)), False),
    "its maintenance has drained it": (view(dpu(), host=DRAINED_HOST, maintenances=(DONE,)), True),
    "its Node may be gone": (view(dpu(), host=NodeGone(False)), False),
    "its Node is gone": (view(dpu(), host=NodeGone(True)), True),
}


@pytest.mark.parametrize(("seen", "expected"), DRAINED.values(), ids=DRAINED.keys())
def test_a_pair_may_be_taken_apart_once_its_host_is_drained_or_gone(seen: HostView | None, expected: bool) -> None:
    assert is_drained_or_gone(seen) is expected


ACTIVE: dict[str, tuple[HostView | None, DpuView, bool]] = {
    "a cycle runs": (None, dpu(read=closed(CYCLE)), True),
    "at rest": (view(dpu()), dpu(), False),
    "at rest, and the tenant unknown": (None, dpu(), False),
    "cordoned, and the tenant unknown": (None, dpu(cordoned=True), True),
    "gone, and the tenant unknown": (None, replace(dpu(), node=NodeGone(True)), False),
    "cordoned": (view(cordoned()), cordoned(), True),
}


@pytest.mark.parametrize(("seen", "found", "expected"), ACTIVE.values(), ids=ACTIVE.keys())
def test_a_blocker_is_not_rolled_near_a_drain(seen: HostView | None, found: DpuView, expected: bool) -> None:
    assert is_active(seen, found) is expected


# mode, access, entry, cycle -> is the host drained for the DPU
PARTING: dict[str, tuple[Mode, Access, str, Any, bool]] = {
    "nothing ends": (Mode.SERVING, Access.GIVEN, ENTRY, None, False),
    "the end is forced": (Mode.LEAVING, Access.GIVEN, ENTRY, None, False),
    "its entry names the host": (Mode.LEADING_OUT, Access.GIVEN, ENTRY, None, True),
    "its entry names another host": (Mode.LEADING_OUT, Access.GIVEN, OTHER_ENTRY, None, False),
    "it has no entry": (Mode.LEADING_OUT, Access.GIVEN, "", None, False),
    "it has no entry, and a cycle runs": (Mode.LEADING_OUT, Access.GIVEN, "", CYCLE, True),
    "its entry cannot be read": (Mode.LEADING_OUT, Access.ENDING, "", None, True),
}


@pytest.mark.parametrize(("mode", "access", "text", "cycle", "expected"), PARTING.values(), ids=PARTING.keys())
def test_at_the_end_the_host_is_drained_for_the_dpu_that_serves_it(
    mode: Mode, access: Access, text: str, cycle: Any, expected: bool
) -> None:
    seen = member(entry=PodEntry(text))
    assert scope(roster(mode, access=access), slot(seen)).is_parting(seen, closed(cycle)) is expected


CHANGES: dict[str, tuple[str, str, str]] = {  # read by the pods, wanted -> yet to be read
    "as it is": (ENTRY, ENTRY, ""),
    "another line": (ENTRY, CHANGED, CHANGED),
    "the first entry": ("", ENTRY, ""),
    "taken away": (ENTRY, "", ""),
    "another host": (ENTRY, OTHER_ENTRY, ""),
}


@pytest.mark.parametrize(("before", "after", "expected"), CHANGES.values(), ids=CHANGES.keys())
def test_an_entry_has_changed_only_if_the_host_is_the_same(before: str, after: str, expected: str) -> None:
    seen = member(text=after, entry=PodEntry(before))
    assert slot(seen).changed_entry(seen) == expected


def test_infra_is_suspected_only_where_an_outage_may_have_anything_done() -> None:
    seen = TenantSeen(HOST_NODE, ())
    marked = TenantSeen(replace(HOST_NODE, unplanned=CordonMark("owner", CordonProgress.CORDONED)), ())
    cordons = roster()
    cordons = replace(
        cordons, config=replace(cordons.config, unplanned=replace(cordons.config.unplanned, policy=OutagePolicy.CORDON))
    )
    assert [scope().may_act_on_outage(each) for each in (None, BLIND, seen, marked)] == [False, False, False, True]
    assert scope(cordons).may_act_on_outage(None)


def test_only_a_maintenance_is_rehearsed_and_only_where_the_host_is_seen() -> None:
    starting = view(cordoned(replace(CYCLE, state=CYCLE.state.STARTING, maintenance="")), maintenances=())
    task = decide_host(snapshot(*starting.dpus, view=starting)).drain_task
    assert task is not None
    assert isinstance(rehearsal(starting, task), Apply)
    assert [rehearsal(each, task) for each in (None, view(host=NodeGone(True)), view(tenant=BLIND))] == [None] * 3
    other = decide_host(snapshot(cordoned(), view=view(cordoned()))).drain_task
    assert other is not None
    assert rehearsal(starting, other) is None


TASKS: dict[str, tuple[Callable[[], HostView | None], list[str]]] = {
    "at rest": (lambda: view(dpu()), []),
    "a drain begins": (lambda: view(cordoned()), ["Rewrite"]),
    "the tenant is not known": (lambda: None, []),
}


@pytest.mark.parametrize(("seen", "expected"), TASKS.values(), ids=TASKS.keys())
def test_the_drain_goes_on_only_where_the_tenant_is_known(
    seen: Callable[[], HostView | None], expected: list[str]
) -> None:
    found = seen()
    dpus = found.dpus if found is not None else (cordoned(),)
    decided = decide_host(snapshot(*dpus, view=found))
    assert [type(task).__name__ for task in decided.tasks] == expected
    assert list(decided.protections) == [DPU]


def test_a_dpu_without_a_host_has_no_drain_and_no_outage() -> None:
    decided = decide_host(snapshot(SERVES_NOBODY, scope=scope(place=slot(IDLE, host=""))))
    assert (decided.drain, decided.outage, decided.network.task, decided.network.state) == (None, None, None, None)


READY_POD: dict[str, Any] = {
    "metadata": {"name": "p", "namespace": "ns", "uid": "p1"},
    "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
}
SERVES = replace(dpu(), pods=(replace(dpu().pods[0], live=READY_POD),))
# which pod has read no entry, on the DPU that serves and on another one; whether the host has a network
IDLE_PODS: dict[str, tuple[str, str, bool]] = {
    "none has": ("", "", True),
    "that of the DPU that serves has": ("p1", "", False),
    "one that is gone has": ("p0", "", True),
    "that of another DPU has": ("", "p1", True),
}


@pytest.mark.parametrize(("idle", "other", "has_network"), IDLE_PODS.values(), ids=IDLE_PODS.keys())
def test_a_host_has_a_network_by_a_pod_of_the_dpu_that_serves_it_which_has_read_its_entry(
    idle: str, other: str, has_network: bool
) -> None:
    serving = member(entry=PodEntry(ENTRY, idle=idle))
    standby = member("d2", entry=PodEntry(idle=other))
    nodes = {DPU: {**node(DPU), "status": {"conditions": READY_POD["status"]["conditions"]}}}
    seen = snapshot(SERVES, replace(SERVES, name="d2"), scope=scope(place=slot(standby, serving)), nodes=nodes)
    assert (decide_host(seen).outage is None) is has_network


@pytest.mark.parametrize(("idle", "text"), [("p1", CHANGED), ("p0", None), ("", None)])
def test_another_entry_is_written_at_once_if_the_pod_has_read_none(idle: str, text: str | None) -> None:
    seen = member(text=CHANGED, entry=PodEntry(ENTRY, idle=idle))
    entry = decide_host(snapshot(SERVES, scope=scope(place=slot(seen)))).protections[DPU].entry
    assert (None if entry is None else entry.text) == text


def cordoning(mode: Mode) -> Roster:
    """A roster of a DpuClusterConfig that has hosts without a network cordoned."""
    known = roster(mode, cordons=Cordons(limit=1))
    unplanned = replace(known.config.unplanned, policy=OutagePolicy.CORDON, after_seconds=0)
    return replace(known, config=replace(known.config, unplanned=unplanned))


FATES = {
    Mode.SERVING: "it is about to be cordoned; repair the DPU",
    Mode.LEADING_OUT: "it stays schedulable; repair the DPU, or cordon the host",
    Mode.LEAVING: "it stays schedulable; repair the DPU, or cordon the host",
}


@pytest.mark.parametrize(("mode", "fate"), FATES.items())
def test_a_host_without_a_network_is_cordoned_only_as_long_as_its_config_serves(mode: Mode, fate: str) -> None:
    seen = dpu(ready=False)
    found = decide_host(snapshot(seen, view=view(seen), scope=scope(cordoning(mode)), nodes={DPU: node(DPU)}))
    assert found.network.state is not None
    assert found.network.state.message.endswith(f"; {fate}")


def test_the_soonest_of_all_findings_counts_and_none_is_no_reason_to_look_again() -> None:
    assert soonest((Finding("a", 5.0), Finding("b"), Finding("c", 2.0))) == 2.0
    assert soonest((Finding("a"),)) is None
