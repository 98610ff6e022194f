"""How many hosts of a tenant may be drained at once, and which of them next.

Decided from the clusters' objects alone, so that every process gets the same answer: a host that may begin stays among
the first until its slot counts as taken, because later hosts have later requests.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dpunetop.domain.drain.model.facts import HoldReason, Reason


@dataclass(frozen=True, slots=True)
class Percent:
    """A share of the tenant's paired hosts."""

    value: int


Limit = int | Percent


@dataclass(frozen=True, slots=True)
class HostUse:
    """One paired host of a tenant."""

    host: str
    unavailable: bool
    """It takes a slot: it has a NodeMaintenance of any owner and phase, or is cordoned or not Ready."""
    waiting_since: int | None
    """Since when a drain without a maintenance is wanted, by the records; None: none is."""


def slots(limits: Iterable[Limit], paired: int) -> int | None:
    """How many hosts may be unavailable at once; None: there is no limit.

    Guarantees: the smallest of several limits holds; a share is rounded up and is at least one.
    """
    found = [limit if isinstance(limit, int) else max(1, -(-limit.value * paired // 100)) for limit in limits]
    return min(found, default=None)


def may_start(hosts: Iterable[HostUse], allowed: int | None) -> frozenset[str]:
    """The waiting hosts whose drain may begin now.

    Guarantees: one that is unavailable already needs no slot; the others begin in the order of their requests, across
        pools and DpuClusterConfigs; linear in the number of hosts, except for those that wait.
    """
    taken, begun, queue = 0, [], []
    for use in hosts:
        taken += use.unavailable
        if use.waiting_since is not None:
            if use.unavailable:
                begun.append(use.host)
            else:
                queue.append((use.waiting_since, use.host))
    if allowed is None:
        return frozenset((*begun, *(host for _, host in queue)))
    free = max(0, allowed - taken)
    return frozenset((*begun, *(host for _, host in sorted(queue)[:free])))


def no_free_slot(allowed: int) -> HoldReason:
    """The hold of a host for which no slot is free. Guarantees: the same text until the limit changes."""
    return HoldReason(
        Reason.NO_FREE_SLOT, f"spec.drain.maxUnavailable allows {allowed} unavailable hosts; none is free now"
    )


def undecided() -> HoldReason:
    """The hold of a host whose request was just recorded; every drain has it for a moment."""
    return HoldReason(Reason.HOST_DRAINING, "waiting for a drain slot (spec.drain.maxUnavailable)")


def limit_of(said: int | str) -> Limit:
    """Read `spec.drain.maxUnavailable`, which the schema has checked."""
    return said if isinstance(said, int) else Percent(int(said.removesuffix("%")))
