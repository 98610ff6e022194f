"""Hosts of one tenant take turns, whichever DpuClusterConfig they belong to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dpunetop.domain.clusterconfig.types import DpuClusterConfig, DrainSpec, parse_config
from dpunetop.domain.drain.fleet.allowance import no_free_slot, undecided
from dpunetop.domain.drain.fleet.turns import TenantHosts, by_name, holds, one_by_one
from dpunetop.domain.drain.model.facts import Budget, Reason
from dpunetop.domain.drain.model.record import Cycle, State
from support.drainviews import ABORTED, CYCLE, RETURNING, STARTING, closed
from support.objects import config

UP = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
HOSTS = ("h1", "h2", "h3", "h4")


def limited(said: int | str | None) -> DpuClusterConfig:
    return replace(parse_config(config()), drain=DrainSpec(max_unavailable=said))


def hosts(*maintained: str, gone: str = "", cordoned: str = "") -> TenantHosts:
    nodes = by_name(
        {**UP, "metadata": {"name": host}, "spec": {"unschedulable": True} if host == cordoned else {}}
        for host in HOSTS
        if host != gone
    )
    return TenantHosts(nodes, frozenset(maintained))


def waiting(host: str, since: int) -> Budget:
    return replace(closed(replace(STARTING, since=since)), serves=host)


def held(limit: int | str | None, tenant: TenantHosts, *budgets: Budget) -> str:
    found = holds([limited(None), limited(limit)], HOSTS, tenant, budgets)
    asked = {budget.serves for budget in budgets if budget.serves not in tenant.maintained}
    asked &= {budget.serves for budget in budgets if budget.cycle is not None and budget.cycle.state is State.STARTING}
    reasons = {host: Reason.NO_FREE_SLOT if host in asked else Reason.HOST_DRAINING for host in found}
    assert {host: hold.reason for host, hold in found.items()} == reasons
    return " ".join(sorted(found))


def test_without_a_limit_every_drain_may_begin() -> None:
    assert held(None, hosts("h1", "h2"), waiting("h3", 1)) == ""


def test_the_wishes_are_served_in_their_order_and_whoever_has_none_waits() -> None:
    assert held(1, hosts(), waiting("h2", 5), waiting("h3", 4)) == "h1 h2 h4"
    assert held(2, hosts(), waiting("h2", 5), waiting("h3", 4)) == "h1 h4"
    assert held("50%", hosts(), waiting("h2", 5), waiting("h3", 4)) == "h1 h4"


def test_whatever_makes_a_host_unavailable_takes_a_slot() -> None:
    assert held(1, hosts("h1"), waiting("h2", 5)) == "h1 h2 h3 h4"
    assert held(1, hosts(gone="h1"), waiting("h2", 5)) == "h1 h2 h3 h4"
    assert held(1, hosts(cordoned="h1"), waiting("h2", 5)) == "h1 h2 h3 h4"


def test_one_that_is_unavailable_already_needs_no_slot() -> None:
    assert held(1, hosts(cordoned="h2"), waiting("h2", 5)) == "h1 h3 h4"


LIMITS: dict[str, tuple[tuple[int | str | None, ...], str, int]] = {  # -> who waits of h2 (5) and h3 (4), how many
    "of two configs the smaller number": ((2, 1), "h1 h2 h4", 1),
    "of a number and a share the smaller one": (("50%", 3), "h1 h4", 2),
    "a config without a limit asks for nothing": ((None, 1), "h1 h2 h4", 1),
    "a share is of all hosts of the tenant": (("26%",), "h1 h4", 2),
    "a share of little lets one begin": (("1%",), "h1 h2 h4", 1),
}


@pytest.mark.parametrize(("limits", "wait", "allowed"), LIMITS.values(), ids=LIMITS.keys())
def test_all_configs_of_a_tenant_are_asked_for_their_limit(
    limits: tuple[int | str | None, ...], wait: str, allowed: int
) -> None:
    found = holds(map(limited, limits), HOSTS, hosts(), [waiting("h2", 5), waiting("h3", 4)])
    assert found == {h: no_free_slot(allowed) if h in ("h2", "h3") else undecided() for h in wait.split()}


def test_a_host_that_two_configs_name_counts_once() -> None:
    assert holds([limited("50%")], (*HOSTS, *HOSTS), hosts(), [waiting("h2", 5)]).keys() == {"h1", "h3", "h4"}


def test_of_two_dpus_in_one_host_the_earlier_wish_counts() -> None:
    assert held(1, hosts(), waiting("h2", 5), waiting("h2", 3), waiting("h3", 4)) == "h1 h3 h4"
    assert held(1, hosts(), waiting("h2", 3), waiting("h2", 5), waiting("h3", 4)) == "h1 h3 h4"


def test_a_host_that_is_not_ready_takes_a_slot() -> None:
    seen = hosts()
    down = {**seen.nodes["h1"], "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}
    assert held(1, replace(seen, nodes={**seen.nodes, "h1": down}), waiting("h2", 5)) == "h1 h2 h3 h4"


def test_a_host_in_a_maintenance_is_in_no_queue_and_takes_a_slot_whosever_that_is() -> None:
    assert held(1, hosts("h2"), waiting("h2", 1), waiting("h3", 5)) == "h1 h2 h3 h4"
    assert held(2, hosts("h2"), waiting("h2", 1), waiting("h3", 5)) == "h1 h2 h4"


@pytest.mark.parametrize("cycle", [CYCLE, RETURNING, ABORTED, None], ids=["draining", "returning", "aborted", "none"])
def test_a_dpu_whose_cycle_is_not_about_to_begin_is_in_no_queue(cycle: Cycle | None) -> None:
    other = replace(closed(cycle), serves="h2")
    assert held(1, hosts(), other, waiting("h3", 5000)) == "h1 h2 h4"


def test_a_wish_without_a_host_is_in_no_queue() -> None:
    assert held(1, hosts(), waiting("", 1), waiting("h3", 5)) == "h1 h2 h4"


def test_hosts_of_other_tenants_do_not_count() -> None:
    assert held(1, hosts("elsewhere"), waiting("elsewhere", 1), waiting("h3", 5)) == "h1 h2 h4"


def test_a_host_that_several_dpus_and_configs_name_takes_one_slot_and_is_counted_once() -> None:
    wishes = [waiting("h2", 5), waiting("h3", 4)]
    twice = [*HOSTS, *HOSTS]
    assert holds([limited(2)], twice, hosts("h1"), wishes) == holds([limited(2)], HOSTS, hosts("h1"), wishes)
    assert holds([limited("26%")], twice, hosts("h1"), wishes) == holds([limited("26%")], HOSTS, hosts("h1"), wishes)
    assert sorted(holds([limited(2)], twice, hosts("h1"), wishes)) == ["h1", "h2", "h4"]


LED_OUT: dict[str, tuple[TenantHosts, tuple[Budget, ...], str]] = {  # who waits
    "nobody has asked": (hosts(), (), "h1 h2 h3 h4"),
    "the first that has asked goes": (hosts(), (waiting("h2", 5), waiting("h3", 4)), "h1 h2 h4"),
    "one is being led out": (hosts("h1"), (waiting("h2", 5),), "h1 h2 h3 h4"),
    "one that is down takes no slot": (hosts(gone="h1"), (waiting("h2", 5),), "h1 h3 h4"),
    "one that is cordoned takes no slot": (hosts(cordoned="h1"), (waiting("h2", 5),), "h1 h3 h4"),
    "one of another tenant takes no slot": (hosts("elsewhere"), (waiting("h2", 5),), "h1 h3 h4"),
}


@pytest.mark.parametrize(("tenant", "budgets", "wait"), LED_OUT.values(), ids=LED_OUT.keys())
def test_hosts_are_led_out_one_after_the_other(tenant: TenantHosts, budgets: tuple[Budget, ...], wait: str) -> None:
    found = one_by_one((*HOSTS, "h1"), tenant, budgets)
    assert " ".join(found) == wait
    words = "hosts are led out one after the other; spec.drain.maxUnavailable lets more of them go at once"
    assert {(hold.reason, hold.message) for hold in found.values()} == {(Reason.HOST_DRAINING, words)}
