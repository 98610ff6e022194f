from __future__ import annotations

from time import thread_time

import pytest

from dpunetop.domain.drain.fleet.allowance import HostUse, Limit, Percent, may_start, no_free_slot, slots
from dpunetop.domain.drain.model.facts import Reason

SLOTS: dict[str, tuple[tuple[Limit, ...], int, int | None]] = {
    "no limit": ((), 10, None),
    "a number": ((3,), 10, 3),
    "a share": ((Percent(20),), 10, 2),
    "a share that is rounded up": ((Percent(21),), 10, 3),
    "a share of little is one": ((Percent(1),), 3, 1),
    "a share of nothing is one": ((Percent(50),), 0, 1),
    "of several the smallest": ((3, Percent(20), 5), 10, 2),
}


@pytest.mark.parametrize(("limits", "paired", "allowed"), SLOTS.values(), ids=SLOTS.keys())
def test_so_many_hosts_may_be_unavailable(limits: tuple[Limit, ...], paired: int, allowed: int | None) -> None:
    assert slots(limits, paired) == allowed


def use(host: str, since: int | None = None, unavailable: bool = False) -> HostUse:
    return HostUse(host, unavailable, since)


CASES = {
    "nobody waits": ([use("a"), use("b")], 1, set()),
    "the first wish comes first": ([use("a", 5), use("b", 3)], 1, {"b"}),
    "equal wishes go by name": ([use("b", 3), use("a", 3)], 1, {"a"}),
    "a host that is down takes a slot": ([use("a", 5), use("b", unavailable=True)], 1, set()),
    "a host that is down already needs none": ([use("a", 5, True), use("b", unavailable=True)], 1, {"a"}),
    "two slots": ([use("a", 5), use("b", 3), use("c", 4), use("d", unavailable=True)], 3, {"b", "c"}),
    "no limit": ([use("a", 5), use("b", 3, True)], None, {"a", "b"}),
    "more are down than may be": ([use("a", 5), use("b", None, True), use("c", None, True)], 1, set()),
}


@pytest.mark.parametrize(("hosts", "allowed", "begin"), CASES.values(), ids=CASES.keys())
def test_these_may_begin_when(hosts: list[HostUse], allowed: int | None, begin: set[str]) -> None:
    assert may_start(hosts, allowed) == begin


def test_whoever_was_let_begin_is_so_again_until_it_is_counted() -> None:
    hosts = [use(f"h{n:02}", n) for n in range(20)]
    first = may_start(hosts, 5)
    for host in sorted(first):  # one after the other shows as unavailable, in any order of sight
        hosts = [HostUse(h.host, True, None) if h.host == host else h for h in hosts]
        assert may_start(hosts, 5) <= first


def test_five_thousand_hosts_take_less_than_fifty_milliseconds() -> None:
    hosts = [use(f"host-{n:05}", n * 7919 % 5000 if n % 20 == 0 else None, n % 50 == 1) for n in range(5000)]
    spent = []
    for _ in range(5):
        began = thread_time()
        may_start(hosts, slots((Percent(10),), len(hosts)))
        spent.append(thread_time() - began)
    assert min(spent) < 0.05


def test_a_host_whose_turn_has_not_come_says_so() -> None:
    hold = no_free_slot(2)
    assert hold.reason is Reason.NO_FREE_SLOT
    assert hold.message == "spec.drain.maxUnavailable allows 2 unavailable hosts; none is free now"
