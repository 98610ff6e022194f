"""Hosts of one tenant take turns, whichever DpuClusterConfig they belong to."""

from __future__ import annotations

from dataclasses import replace

from dpunetop.domain.drain.facts import Budget, Reason
from dpunetop.domain.drain.turns import TenantHosts, by_name, holds
from dpunetop.domain.types import DpuClusterConfig, DrainSpec, parse_config
from support.drainviews import STARTING, closed
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
    assert all(hold.reason is Reason.NO_FREE_SLOT for hold in found.values())
    return " ".join(sorted(found))


def test_without_a_limit_nobody_waits() -> None:
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
