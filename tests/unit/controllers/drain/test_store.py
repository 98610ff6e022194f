"""Hosts are woken by what concerns them, and the DpuClusterConfig by what its hosts have to tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dpunetop.controllers.drain.store import DrainStore, key_of, subject
from dpunetop.domain.clusterconfig.types import parse_config
from dpunetop.domain.dpunode.status import DpuNodeStatus, DrainTimes, Phase
from dpunetop.domain.drain.fleet.roster import Member, Mode, PodEntry, Roster, Slot
from dpunetop.domain.drain.hostreport import HostReport
from dpunetop.domain.drain.model.facts import Author, DrainSettings, HostRef, Templates
from dpunetop.domain.drain.protection.blockers import BlockerSettings
from dpunetop.domain.drain.protection.decision import ProtectionPhase
from dpunetop.domain.drain.protection.tasks import DesiredEntry
from dpunetop.domain.ovnkube.deployed import Renewal
from dpunetop.kube.keys import INFRA, Key
from support.objects import condition, config

TENANT = "tenant/dpu-one/sample"
BLOCKERS = BlockerSettings("dpunetop", "image", "owner", has_scc=True)


def slot(host: str, text: str = "") -> Slot:
    return Slot(host, (Member(f"dpu-of-{host}", host, "", True, PodEntry(text), True),))


def roster(*slots: Slot, **but: Any) -> Roster:
    parsed = parse_config(config(name="sample"))
    places = {("host", each.host): each for each in slots}
    return replace(Roster(parsed, Mode.SERVING, DrainSettings(), BLOCKERS, Templates(), places), **but)


class Desk:
    def __init__(self) -> None:
        self.drain_store = DrainStore()
        self.hosts: list[str] = []
        self.configs: list[Key] = []
        self.drain_store.connect(lambda key: self.hosts.append(key.name), self.configs.append)

    def post(self, posted: Roster) -> list[str]:
        self.hosts.clear()
        self.drain_store.publish(posted)
        return sorted(self.hosts)


def test_a_host_is_woken_when_it_comes_when_it_changes_and_when_it_goes() -> None:
    desk = Desk()
    assert desk.post(roster(slot("x"), slot("y"))) == ["x", "y"]
    assert desk.post(roster(slot("x"), slot("y"))) == []
    assert desk.post(roster(slot("x", "changed"), slot("y"))) == ["x"]
    assert desk.post(roster(slot("y"))) == ["x"]


def test_all_hosts_are_woken_by_what_they_share_and_by_nothing_else_that_the_config_says() -> None:
    desk = Desk()
    desk.post(roster(slot("x"), slot("y")))
    assert desk.post(roster(slot("x"), slot("y"), mode=Mode.LEAVING)) == ["x", "y"]
    told = parse_config(
        {**config(name="sample"), "status": {"conditions": [condition("PairsHealthy", "True", "Fine")]}}
    )
    assert desk.post(roster(slot("x"), slot("y"), mode=Mode.LEAVING, config=told)) == []
    away = condition("TenantReachable", "False", "Refused")
    silent = parse_config({**config(name="sample"), "status": {"conditions": [away]}})
    assert desk.post(roster(slot("x"), slot("y"), mode=Mode.LEAVING, config=silent)) == ["x", "y"]


def test_a_roster_that_is_dropped_wakes_its_hosts_which_then_find_nothing() -> None:
    desk = Desk()
    desk.post(roster(slot("x")))
    desk.hosts.clear()
    desk.drain_store.drop(TENANT)
    assert desk.hosts == ["x"]
    assert desk.drain_store.roster(TENANT) is None


def test_a_report_wakes_the_config_only_if_it_says_something_new() -> None:
    desk, key = Desk(), Key(TENANT, "host", "x")
    posted = roster(slot("x"), slot("y"))
    desk.post(posted)
    one = HostReport((("dpu-of-x", ProtectionPhase.CLOSING, "x"),), (), ())
    assert desk.drain_store.report(key, one) is None
    assert desk.drain_store.report(key, one) == one
    assert desk.configs == [Key(INFRA, "dpu-one", "sample")]
    desk.drain_store.report(key, replace(one, guardings=(("dpu-of-x", ProtectionPhase.SERVING, "x"),)))
    assert len(desk.configs) == 2
    assert [each is None for each in desk.drain_store.reports(posted)] == [False, True]
    desk.drain_store.forget(key)
    assert desk.drain_store.reports(posted) == [None, None]


CHANGES: dict[str, dict[str, Any]] = {
    "the settings of the drain": {"settings": DrainSettings(timeout_seconds=60)},
    "the image of the blockers": {"blockers": replace(BLOCKERS, image="another")},
    "the newest template of the pods": {"templates": Templates("t2")},
    "the last template that proved itself": {"templates": Templates("", "t1")},
    "what the tenant shows": {"has_zones": True},
    "where the tenant shows it": {"tenant_namespace": "ovn-kubernetes"},
    "what the DPUs are told of Leases": {"renewal": Renewal.NEVER},
    "the identity of the tenant": {
        "config": parse_config({**config(name="sample"), "status": {"tenantUID": "another"}}),
    },
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_every_host_hears_of(change: dict[str, Any]) -> None:
    desk = Desk()
    desk.post(roster(slot("x"), slot("y")))
    assert desk.post(roster(slot("x"), slot("y"), **change)) == ["x", "y"]


def test_when_all_hear_of_something_those_that_are_gone_do_too() -> None:
    desk = Desk()
    desk.post(roster(slot("x")))
    assert desk.post(roster(slot("y"), mode=Mode.LEAVING)) == ["x", "y"]


def test_tenants_do_not_wake_each_other() -> None:
    desk = Desk()
    desk.post(roster(slot("x")))
    other = roster(slot("x"), slot("z"), config=parse_config(config("other", "dpu-two")))
    keys: list[Key] = []
    desk.drain_store.connect(keys.append, desk.configs.append)
    desk.drain_store.publish(other)
    assert {key.cluster for key in keys} == {"tenant/dpu-two/other"}
    keys.clear()
    desk.drain_store.wake_all()
    assert sorted((key.cluster, key.name) for key in keys) == [
        (TENANT, "x"),
        ("tenant/dpu-two/other", "x"),
        ("tenant/dpu-two/other", "z"),
    ]
    assert len(desk.drain_store.rosters()) == 2


def test_a_host_that_is_in_no_roster_any_more_wakes_nobody() -> None:
    desk = Desk()
    desk.drain_store.report(Key(TENANT, "host", "x"), HostReport((), (), ()))
    desk.drain_store.drop(TENANT)
    assert (desk.configs, desk.hosts) == ([], [])


def test_an_unchanged_decision_is_not_announced() -> None:
    def entry(draw: str, text: str) -> DesiredEntry:
        return DesiredEntry(HostRef("x", TENANT, "dpunetop", "owner", Author("m", "t", draw, 0)), "dpu-of-x", text)

    desk, key = Desk(), Key(TENANT, "host", "x")
    desk.post(roster(slot("x")))
    for told, woken in ((entry("1", "a"), 1), (entry("2", "a"), 1), (entry("3", "b"), 2)):
        desk.drain_store.report(key, HostReport((), (), (told,)))
        assert len(desk.configs) == woken


def test_a_line_of_the_log_names_the_tenant_the_config_and_the_host_or_dpu() -> None:
    shared = {"cluster": "tenant/ns/one", "config": "ns/one"}
    assert subject(Key(INFRA, "ns", "one")) == shared
    assert subject(key_of("tenant/ns/one", ("host", "h"))) == {**shared, "host": "h"}
    assert subject(key_of("tenant/ns/one", ("dpu", "d"))) == {**shared, "dpu": "d"}


def shown(drain: DrainTimes | None) -> DpuNodeStatus:
    return DpuNodeStatus("d1", "host-1", Phase.DRAINING, "HostDraining", "", (), drain=drain)


def test_each_step_of_a_drain_is_told_once_when_it_is_over_and_the_last_when_the_record_goes() -> None:
    store, told = DrainStore(), list[tuple[str, int]]()
    store.connect(lambda _: None, lambda _: None, step_over=lambda step, seconds: told.append((str(step), seconds)))
    times = DrainTimes(100, asked=103)
    shows = (None, DrainTimes(100), times, times, replace(times, opened=143, returned=243), None, None)
    for now, drain in enumerate(shows, start=300):
        store.show(Key("tenant/n/c", "host", "host-1"), (shown(drain),), now)
    assert told == [("waiting", 3), ("hostDrain", 40), ("dpuDrain", 100), ("verifying", 62)]


def test_a_process_that_has_just_begun_tells_only_of_the_steps_that_it_sees_end() -> None:
    store, told = DrainStore(), list[str]()
    store.connect(lambda _: None, lambda _: None, step_over=lambda step, _: told.append(str(step)))
    store.show(Key("tenant/n/c", "host", "host-1"), (shown(DrainTimes(100, asked=103, opened=143)),), 150)
    store.show(Key("tenant/n/c", "host", "host-1"), (shown(DrainTimes(100, asked=103, opened=143, returned=160)),), 160)
    assert told == ["dpuDrain"]


def test_the_next_drain_has_its_own_steps() -> None:
    store, told = DrainStore(), list[int]()
    store.connect(lambda _: None, lambda _: None, step_over=lambda _, seconds: told.append(seconds))
    for drain in (None, DrainTimes(100, asked=103), DrainTimes(200), DrainTimes(200, asked=209)):
        store.show(Key("tenant/n/c", "host", "host-1"), (shown(drain),), 300)
    assert told == [3, 9]
