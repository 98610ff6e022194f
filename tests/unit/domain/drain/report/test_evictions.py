"""What keeps the pods of a host: asked only of a host that is late, in the namespaces of the pods that are named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dpunetop.domain.drain.model.facts import DrainSettings, HostView, Pod
from dpunetop.domain.drain.model.limits import Limits
from dpunetop.domain.drain.model.record import State
from dpunetop.domain.drain.report.evictions import in_the_way, is_late, namespaces, unread
from support.drainviews import CYCLE, SITE, STARTING, cordoned, free, nm, view

ASKED = replace(CYCLE, asked_at=1000)


def at(time: int, given: HostView) -> HostView:
    return replace(given, host_ref=replace(SITE, author=replace(SITE.author, now=time)))


def limited(**seconds: int) -> HostView:
    return view(cordoned(ASKED), maintenances=(nm(),), settings=DrainSettings(limits=Limits(seconds)))


OVER = replace(ASKED, state=State.RETURNING)
LATE: dict[str, tuple[HostView, int, bool]] = {
    "within its limit": (view(cordoned(ASKED), maintenances=(nm(),)), 4600, False),
    "over it": (view(cordoned(ASKED), maintenances=(nm(),)), 4601, True),
    "not asked yet": (view(cordoned(STARTING)), 10**6, False),
    "opened": (view(cordoned(replace(ASKED, opened_at=2000)), maintenances=(nm(),)), 10**6, False),
    "at rest": (view(), 10**6, False),
    "over a limit of its own": (limited(hostDrain=60), 1061, True),
    "over the limit of what comes after": (limited(dpuDrain=60), 1061, False),
    "asked just now, beside a drain that is over": (
        view(cordoned(replace(ASKED, asked_at=9000)), replace(free(OVER), name="d2"), maintenances=(nm(),)),
        9001,
        False,
    ),
    "over it beside a drain that is over": (
        view(cordoned(ASKED), replace(free(OVER), name="d2"), maintenances=(nm(),)),
        9001,
        True,
    ),
}


@pytest.mark.parametrize(("given", "now", "expected"), LATE.values(), ids=LATE.keys())
def test_a_host_is_late(given: HostView, now: int, expected: bool) -> None:
    assert is_late(at(now, given)) is expected


def budget(name: str, allowed: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"disruptionsAllowed": allowed}}


def test_budgets_that_let_no_pod_go_are_named_and_others_are_not() -> None:
    found = in_the_way("shop", [budget("web", 0), budget("db", 1), {"metadata": {"name": "new"}}])
    assert found == "PodDisruptionBudget shop/web allows no eviction now"
    assert in_the_way("shop", [budget("db", 1)]) == ""


def test_of_many_budgets_the_first_are_named_and_the_others_counted() -> None:
    found = in_the_way("shop", [budget(name, 0) for name in "edcba"])
    assert found == "PodDisruptionBudget shop/a, shop/b, shop/c and 2 more allows no eviction now"


def test_each_namespace_is_looked_at_once_and_no_more_than_a_few() -> None:
    pods = [Pod(name, "x") for name in ("b", "a", "b", "", "c", "d")]
    assert namespaces(pods) == ("b", "a", "c")
    assert namespaces([Pod("", "x")]) == ()


def test_a_right_that_is_missing_is_told_with_what_gives_it() -> None:
    words = unread("shop", "poddisruptionbudgets is forbidden")
    assert words.startswith("the PodDisruptionBudgets of namespace shop of the tenant cannot be listed: ")
    assert words.endswith("apply deploy/tenant-rights.yaml again")
