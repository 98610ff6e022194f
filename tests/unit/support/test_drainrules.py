"""The rules find what they are for: each is shown a story that breaks it, and one that does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dpunetop.domain import names
from support.drainrules import (
    Hosts,
    cut_off_seconds,
    given_back_too_early,
    given_back_unrenewed,
    let_go,
    opened_without_drain,
    served_unprotected,
)
from support.watchlog import Place, Seen, Story

HOSTS = Hosts({"dpu": "host"}, "operator")
NODE, HOST = Place("infra", "nodes", "", "dpu"), Place("tenant", "nodes", "", "host")
BUDGET, MAINTENANCE = HOSTS.budget("dpu"), HOSTS.maintenance("host")
ENTRIES = Place("infra", "configmaps", "served", names.OVNKUBE_NODE_ENTRIES)
WORK = Place("tenant", "pods", "served", "work")


def node(*, cordoned: bool = False, ready: bool = True) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {"metadata": {}, "spec": {"unschedulable": cordoned}, "status": {"conditions": conditions}}


def budget(*, is_open: bool = False, state: str = "draining") -> dict[str, Any]:
    cycle = json.dumps({"state": state, "maintenance": "nm"}, separators=(",", ":"))
    annotations = {names.SERVES_ANNOTATION: "host", names.CYCLE_ANNOTATION: cycle}
    return {"metadata": {"uid": "b", "annotations": annotations}, "spec": {"maxUnavailable": int(is_open)}}


def maintenance(*, phase: str = "Succeeded", mark: str = "", ending: bool = False) -> dict[str, Any]:
    metadata: dict[str, Any] = {"uid": "nm", "annotations": {names.open_for("dpu"): mark} if mark else {}}
    return {"metadata": metadata | ({"deletionTimestamp": "now"} if ending else {}), "status": {"phase": phase}}


def story(*happened: tuple[Place, dict[str, Any] | None]) -> Story:
    """Told one second apart, in this order."""
    last: dict[Place, dict[str, Any]] = {}
    seen = []
    for number, (place, obj) in enumerate(happened):
        last[place] = obj if obj is not None else last[place]
        seen.append(Seen(place, obj, last[place], 100 + number, 10.0 * number))
    return Story(seen)


DRAINED = [(NODE, node(cordoned=True)), (BUDGET, budget()), (HOST, node(cordoned=True))]
OPENED = (BUDGET, budget(is_open=True))


@pytest.mark.parametrize(
    ("before", "why"),
    [
        ([*DRAINED, (MAINTENANCE, maintenance(mark="1"))], None),
        ([*DRAINED, (MAINTENANCE, maintenance())], "its maintenance was not marked for it"),
        ([*DRAINED, (MAINTENANCE, maintenance(phase="Running", mark="1"))], "its maintenance had not succeeded"),
        ([*DRAINED, (MAINTENANCE, maintenance(mark="1", ending=True))], "there was no maintenance of its cycle"),
        ([*DRAINED[:2], (HOST, node()), (MAINTENANCE, maintenance(mark="1"))], "its host was schedulable"),
        ([(NODE, node()), *DRAINED[1:], (MAINTENANCE, maintenance(mark="1"))], "its drain was not wanted"),
    ],
)
def test_a_budget_opens_on_a_marked_maintenance_that_has_drained_the_host(before: Any, why: str | None) -> None:
    found = opened_without_drain(story(*before, OPENED), HOSTS)
    assert found == ([f"dpu opened at revision {100 + len(before)}: {why}"] if why else [])


@pytest.mark.parametrize(
    ("before", "why"),
    [
        ([(NODE, node()), (BUDGET, budget(state="returning"))], None),
        ([(NODE, node(cordoned=True)), (BUDGET, budget(state="aborted/DrainTimeout"))], None),
        ([(NODE, node(cordoned=True)), (BUDGET, budget())], "wanted the drain"),
        ([(NODE, node()), (BUDGET, budget(is_open=True))], "was open"),
    ],
)
def test_a_host_is_given_back_once_no_dpu_of_it_wants_the_drain(before: Any, why: str | None) -> None:
    found = given_back_too_early(story((MAINTENANCE, maintenance()), *before, (MAINTENANCE, None)), HOSTS)
    assert found == ([f"host given back at 103: dpu {why}"] if why else [])


def test_a_host_is_given_back_once_its_lease_was_renewed_twice_since_its_dpu_was_down() -> None:
    lease = Place("tenant", "leases", "served", f"{names.LEASE_PREFIX}host")
    renewed = (lease, {"metadata": {"uid": "l"}})
    down, up, gone = (NODE, node(ready=False)), (NODE, node()), (MAINTENANCE, None)
    begun = [(MAINTENANCE, maintenance()), (NODE, node())]
    assert given_back_unrenewed(story(*begun, down, up, renewed, renewed, gone), HOSTS, "served") == []
    broken = ["host given back at 106: its Lease was renewed 1 times"]
    assert given_back_unrenewed(story(*begun, down, renewed, up, renewed, gone), HOSTS, "served") == broken
    elsewhere = ["host given back at 106: its Lease was renewed 0 times"]
    assert given_back_unrenewed(story(*begun, down, up, renewed, renewed, gone), HOSTS, "another") == elsewhere


def test_what_failed_may_be_given_up_although_the_drain_is_wanted() -> None:
    told = story((MAINTENANCE, maintenance(phase="Failed")), *DRAINED, (MAINTENANCE, None))
    assert given_back_too_early(told, HOSTS) == []


def test_in_a_stretch_of_time_nothing_may_be_opened_or_taken_away() -> None:
    told = story((BUDGET, budget()), (MAINTENANCE, maintenance()), OPENED, (MAINTENANCE, None), (BUDGET, None))
    assert let_go(told, HOSTS, 0.0, 15.0) == []
    assert let_go(told, HOSTS, 0.0, 50.0) == [
        "dpu was opened",
        f"poddisruptionbudgets/{BUDGET.name} was deleted",
        f"nodemaintenances/{MAINTENANCE.name} was deleted",
    ]


def test_a_dpu_serves_behind_a_closed_budget_and_a_ready_blocker() -> None:
    blocker = {"metadata": {"labels": {"app": names.blocker_name("dpu")}}, "status": node()["status"]}
    pod = Place("infra", "pods", "operator", "blocker")
    entry = (ENTRIES, {"metadata": {}, "data": {"dpu": "TENANT_K8S_NODE=host"}})
    assert served_unprotected(story((BUDGET, budget()), (pod, blocker), entry), HOSTS, "served") == []
    broken = ["dpu got its entry at revision 102 without protection"]
    assert served_unprotected(story(OPENED, (pod, blocker), entry), HOSTS, "served") == broken
    assert served_unprotected(story((BUDGET, budget()), (BUDGET, budget()), entry), HOSTS, "served") == broken


def test_seconds_are_counted_in_which_a_workload_ran_on_a_host_whose_dpu_was_down() -> None:
    work = {"metadata": {"labels": {"work": ""}}, "spec": {"nodeName": "host"}, "status": {"phase": "Running"}}
    told = story((NODE, node()), (WORK, work), (NODE, node(ready=False)), (WORK, None), (NODE, node()))
    assert cut_off_seconds(told, HOSTS, "work") == {"dpu": 10.0}
    told = story((NODE, node()), (WORK, work), (WORK, None), (NODE, node(ready=False)), (NODE, node()))
    assert cut_off_seconds(told, HOSTS, "work") == {}
