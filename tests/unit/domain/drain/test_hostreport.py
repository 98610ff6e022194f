"""What is reported of a host, and which changes of it are told in Events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any

import pytest

from dpunetop.domain.drain.fleet.roster import PodEntry
from dpunetop.domain.drain.host import HostDecision, decide_host
from dpunetop.domain.drain.hostreport import HostReport, failed_report, host_events, rechecks, report_host
from dpunetop.domain.drain.model.facts import HoldReason, Reason
from dpunetop.domain.drain.outages.detection import Outage
from dpunetop.domain.drain.outages.unplanned import NetworkReason, NetworkState, OutageDecision
from dpunetop.domain.drain.protection.decision import ProtectionPhase
from dpunetop.domain.drain.protection.tasks import DesiredEntry
from dpunetop.domain.drain.report.dpustatus import DpuPhase, DpuStatus, OverdueStep
from dpunetop.domain.drain.rules.cycle import Decision
from dpunetop.kube.keys import NODES
from dpunetop.kube.plan import Emit, Step
from support.drainviews import BLIND, SITE, cordoned, dpu, view
from support.rosters import DPU, ENTRY, HOST, member, scope, slot, snapshot

AT_REST = decide_host(snapshot(dpu(), view=view(dpu())))
WAITS = HoldReason(Reason.NO_FREE_SLOT, "all slots are taken")
FAILS = HoldReason(Reason.TENANT_UNAUTHORIZED, "may not patch nodes")
IDLE = DpuStatus(DPU, DpuPhase.IDLE, "", "")
DRAINS = replace(IDLE, stage=DpuPhase.HOST_DRAINING, reason="HostDraining", message="2 pods are left")
LATE = OverdueStep("HostDrainOverdue", "it takes long")
DOWN = NetworkState(HOST, DPU, NetworkReason.HOST_WITHOUT_NETWORK, "the node is down")


def report(*statuses: DpuStatus, network: NetworkState | None = None) -> HostReport:
    return HostReport((), statuses, (), network=network)


def told(steps: Iterable[Step]) -> list[tuple[str, str]]:
    emits = [step for step in steps if isinstance(step, Emit)]
    return [(each.reason, each.note) for each in emits]


def test_a_host_at_rest_is_reported_with_its_protection_and_nothing_else() -> None:
    found = report_host(AT_REST, None, {})
    assert found.guardings == ((DPU, ProtectionPhase.SERVING, HOST),)
    assert [(each.stage, each.reason) for each in found.dpu_statuses] == [(DpuPhase.IDLE, "")]
    assert (found.entries, found.causes, found.stray, found.is_looked_at) == ((), (), None, True)


def test_the_entry_that_may_be_written_is_reported() -> None:
    seen = member(entry=PodEntry())
    found = report_host(decide_host(snapshot(dpu(), view=view(dpu()), scope=scope(place=slot(seen)))), None, {})
    assert [(entry.dpu, entry.text) for entry in found.entries] == [(DPU, ENTRY)]


def test_what_fails_for_a_dpu_holds_it_whether_or_not_anything_is_known_of_its_drain() -> None:
    unknown = decide_host(snapshot(dpu()))
    for decided in (AT_REST, unknown):
        (status,) = report_host(decided, None, {DPU: FAILS}).dpu_statuses
        assert (status.stage, status.reason, status.message) == (DpuPhase.HELD, str(FAILS.reason), FAILS.message)


def test_a_host_whose_tenant_is_not_known_yet_is_not_looked_at_and_a_dpu_without_host_is() -> None:
    unknown = decide_host(snapshot(dpu()))
    alone = decide_host(snapshot(dpu(), scope=scope(place=slot(host=""))))
    assert [report_host(each, None, {}).is_looked_at for each in (unknown, alone)] == [False, True]


@pytest.mark.parametrize("is_open", [True, False])
def test_a_host_is_looked_at_once_every_server_has_answered(is_open: bool) -> None:
    decided = replace(AT_REST, snapshot=replace(AT_REST.snapshot, is_open=is_open))
    assert report_host(decided, None, {}).is_looked_at is not is_open


def test_a_wait_that_the_status_of_no_dpu_shows_is_reported_of_the_host() -> None:
    held = replace(AT_REST, drain=Decision(None, WAITS, None))
    away = scope(place=slot(replace(member(), is_home=False)))
    elsewhere = replace(held, snapshot=replace(held.snapshot, scope=away))
    assert report_host(elsewhere, None, {}).stray == HoldReason(WAITS.reason, f"host {HOST}: {WAITS.message}")
    assert report_host(held, None, {DPU: FAILS}).stray is None


def test_why_a_task_changes_nothing_is_reported_in_place_of_what_was_decided() -> None:
    blind = view(cordoned(), tenant=BLIND)
    decided = decide_host(snapshot(*blind.dpus, view=blind))
    (status,) = report_host(decided, WAITS, {}).dpu_statuses
    assert (status.reason, status.message) == (str(WAITS.reason), WAITS.message)


def test_of_a_host_that_could_not_be_looked_at_only_the_reason_is_reported() -> None:
    members = (member(), member("d2", is_home=False))
    before = Outage(HOST, DPU, 1, "the node is down", 1)
    found = failed_report(slot(*members), "InternalError", "a bug", before)
    assert [(each.dpu, each.stage, each.reason, each.message) for each in found.dpu_statuses] == [
        (DPU, DpuPhase.HELD, "InternalError", "a bug")
    ]
    assert found.guardings == ((DPU, ProtectionPhase.NOT_SERVING, HOST),)
    assert (found.has_failed, found.outage) == (True, before)


def test_every_cause_to_decide_again_is_named() -> None:
    decided = replace(
        AT_REST,
        snapshot=replace(AT_REST.snapshot, recheck_seconds=5.0),
        drain=Decision(None, None, 7),
        network=OutageDecision(recheck_seconds=9),
    )
    late = replace(DRAINS, late_at=1011)
    assert rechecks(decided, report(late)) == (5.0, 7, 9, 11)
    assert rechecks(AT_REST, report(IDLE)) == ()


def test_another_state_of_a_report_is_news_and_the_budget_behind_an_entry_is_not() -> None:
    seen = member(entry=PodEntry())
    one = report_host(decide_host(snapshot(dpu(), view=view(dpu()), scope=scope(place=slot(seen)))), None, {})
    other = replace(one, entries=tuple(replace(each, blocker="another pod") for each in one.entries))
    assert one.outcome() == other.outcome()
    assert one.outcome() != replace(one, is_looked_at=False).outcome()


# before, now -> reasons of the Events
EVENTS: dict[str, tuple[DpuStatus | None, DpuStatus, list[str]]] = {
    "a process begins and finds it at rest": (None, IDLE, []),
    "a process begins and finds a drain": (None, DRAINS, ["HostDraining"]),
    "nothing has changed": (DRAINS, DRAINS, []),
    "only the words have changed": (DRAINS, replace(DRAINS, message="1 pod is left"), []),
    "another reason": (DRAINS, replace(DRAINS, reason="HostAbsent"), ["HostAbsent"]),
    "something is done between two waits of one stage": (DRAINS, replace(DRAINS, reason="", message=""), []),
    "another stage without a reason": (DRAINS, replace(IDLE, stage=DpuPhase.VERIFYING), [str(DpuPhase.VERIFYING)]),
    "it is late": (DRAINS, replace(DRAINS, late=LATE), [LATE.reason]),
    "it is late still": (replace(DRAINS, late=LATE), replace(DRAINS, late=LATE), []),
    "a cordon is skipped": (IDLE, replace(IDLE, skipped="drain: skip"), ["DrainSkipped"]),
    "a cordon is skipped still": (replace(IDLE, skipped="drain: skip"), replace(IDLE, skipped="drain: skip"), []),
    "a process begins and finds a skipped cordon": (None, replace(IDLE, skipped="drain: skip"), []),
}


@pytest.mark.parametrize(("before", "now", "reasons"), EVENTS.values(), ids=EVENTS.keys())
def test_an_event_tells_what_is_new_of_a_dpu(before: DpuStatus | None, now: DpuStatus, reasons: list[str]) -> None:
    last = None if before is None else report(before)
    assert [reason for reason, _ in told(host_events(AT_REST, last, report(now)))] == reasons


# before, now -> reasons of the Events
NETWORKS: dict[str, tuple[NetworkState | None, NetworkState | None, list[str]]] = {
    "all is well": (None, None, []),
    "it fails": (None, DOWN, ["HostWithoutNetwork"]),
    "it fails still, in other words": (DOWN, replace(DOWN, message="still down"), []),
    "another thing is wrong": (DOWN, replace(DOWN, reason=NetworkReason.HOST_CORDONED), ["HostCordoned"]),
    "it is back": (DOWN, None, ["NetworkBack"]),
}


@pytest.mark.parametrize(("before", "now", "reasons"), NETWORKS.values(), ids=NETWORKS.keys())
def test_an_event_tells_what_is_new_of_a_network(
    before: NetworkState | None, now: NetworkState | None, reasons: list[str]
) -> None:
    found = told(host_events(replace(AT_REST, outage=None), report(network=before), report(network=now)))
    assert [reason for reason, _ in found] == reasons


def test_the_events_of_a_network_are_about_the_config_where_the_node_is_gone_and_about_nothing_without_both() -> None:
    gone = replace(AT_REST, snapshot=replace(AT_REST.snapshot, nodes={}))
    (event,) = host_events(gone, None, report(network=DOWN))
    assert isinstance(event, Emit)
    assert event.regarding["metadata"]["name"] == "c"
    nowhere: HostDecision = replace(gone, snapshot=replace(gone.snapshot, view=None))
    assert host_events(nowhere, None, report(network=DOWN)) == ()


# --- all that a report says -------------------------------------------------------------------------------------------

OTHERWISE: dict[str, Any] = {
    "guardings": ((DPU, ProtectionPhase.CLOSING, HOST),),
    "dpu_statuses": (DRAINS,),
    "entries": (DesiredEntry(SITE, DPU, ENTRY),),
    "causes": ((DPU, "no rights"),),
    "stray": WAITS,
    "is_looked_at": False,
    "has_failed": True,
    "unseen": WAITS,
    "network": DOWN,
    "outage": Outage(HOST, DPU, 1, "the node is down", 1),
    "abandoned_since": 1,
}
SINCE_WHEN = {"outage", "abandoned_since"}


def test_whatever_a_report_says_is_news_but_since_when_something_lasts() -> None:
    assert OTHERWISE.keys() == {each.name for each in fields(HostReport)}
    for name, value in OTHERWISE.items():
        other = replace(report(IDLE), **{name: value})
        assert (other.outcome() != report(IDLE).outcome()) is (name not in SINCE_WHEN), name


def test_an_entry_is_news_by_its_dpu_and_its_text() -> None:
    one, two = DesiredEntry(SITE, DPU, ENTRY), DesiredEntry(SITE, "d2", ENTRY)
    found = {HostReport((), (), entries).outcome() for entries in ((one,), (two,), (replace(one, text="else"),))}
    assert len(found) == 3


def test_what_was_found_of_a_host_is_reported_as_it_was_found() -> None:
    decided = replace(
        AT_REST,
        snapshot=replace(AT_REST.snapshot, unseen=WAITS, dpus=(replace(dpu(), trouble="no rights"), dpu("d2"))),
        outage=Outage(HOST, DPU, 1, "the node is down", 1),
        network=OutageDecision(state=DOWN),
    )
    found = report_host(decided, None, {})
    assert (found.unseen, found.causes) == (WAITS, ((DPU, "no rights"),))
    assert (found.outage, found.network) == (decided.outage, DOWN)


def test_the_wait_that_was_decided_is_reported_where_no_task_has_another() -> None:
    given = view(cordoned())
    decided = replace(decide_host(snapshot(*given.dpus, view=given)), drain=Decision(None, WAITS, None))
    for hold, expected in ((None, WAITS), (FAILS, FAILS)):
        (status,) = report_host(decided, hold, {}).dpu_statuses
        assert (status.reason, status.message) == (str(expected.reason), expected.message)


def test_what_fails_takes_nothing_away_of_what_is_known_of_a_drain() -> None:
    given = view(cordoned())
    decided = decide_host(snapshot(*given.dpus, view=given))
    (before,), (status,) = (report_host(decided, None, each).dpu_statuses for each in ({}, {DPU: FAILS}))
    said = replace(before, stage=DpuPhase.HELD, reason=str(FAILS.reason), message=FAILS.message)
    assert status == said


def test_a_wait_is_of_the_host_unless_a_dpu_at_home_there_shows_one() -> None:
    """Whether all of them show it does not matter."""
    members = slot(member(), member("d2"))
    given = view(cordoned(), dpu("d2"))
    decided = decide_host(snapshot(*given.dpus, view=given, scope=scope(place=members)))
    held = replace(decided, drain=Decision(None, WAITS, None))
    assert [each.reason for each in report_host(held, None, {}).dpu_statuses] == [str(WAITS.reason), ""]
    assert report_host(held, None, {}).stray is None
    nobody = replace(AT_REST, drain=Decision(None, HoldReason(Reason.HOST_ABSENT, "gone"), None))
    silent = replace(nobody, snapshot=replace(nobody.snapshot, view=None))
    assert report_host(silent, None, {}).stray == HoldReason(Reason.HOST_ABSENT, f"host {HOST}: gone")


def test_an_event_says_the_stage_and_what_is_waited_for() -> None:
    quiet = replace(IDLE, stage=DpuPhase.VERIFYING)
    for status, note in ((DRAINS, "HostDraining: 2 pods are left"), (quiet, "Verifying")):
        assert [words for _, words in told(host_events(AT_REST, None, report(status)))] == [note]


def test_the_events_of_a_network_are_about_the_node_of_the_dpu_that_is_there() -> None:
    (event,) = host_events(AT_REST, None, report(network=DOWN))
    assert isinstance(event, Emit)
    assert (event.resource, event.regarding["metadata"]["name"]) == (NODES, DPU)


@pytest.mark.parametrize("why", ["another DPU is to serve it, and none does", "it fails again, untold as yet"])
def test_that_a_network_is_back_is_not_told_where(why: str) -> None:
    away = scope(place=slot(replace(member(), entry=PodEntry())))
    decided = replace(AT_REST, outage=Outage(HOST, DPU, 1, "a pod starts", 9))
    if why.startswith("another"):
        decided = replace(AT_REST, snapshot=replace(AT_REST.snapshot, scope=away))
    assert told(host_events(decided, report(network=DOWN), report())) == []


def test_of_a_host_of_which_nothing_is_decided_the_other_causes_to_look_again_are_named() -> None:
    decided = replace(AT_REST, drain=None, network=OutageDecision(recheck_seconds=9))
    assert rechecks(decided, report(IDLE)) == (9,)
