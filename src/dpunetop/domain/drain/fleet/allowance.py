"""How many hosts of a tenant may be drained at once, and whose turn it is.

Decided from what the clusters show, so that any process comes to the same answer: a host that was let begin stays among
the first until it is counted as taken, because those that come later have a later wish.
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
    """It is in a maintenance, whosever and in whichever phase, or else cordoned or not Ready: it takes a slot."""
    waiting_since: int | None
    """Since when a drain is wanted that has no maintenance yet, as the records say; None: none is."""


def slots(limits: Iterable[Limit], paired: int) -> int | None:
    """How many hosts may be unavailable at once; None: there is no limit.

    Guarantees: of several limits the smallest holds; a share is rounded up and is at least one.
    """
    found = [limit if isinstance(limit, int) else max(1, -(-limit.value * paired // 100)) for limit in limits]
    return min(found, default=None)


def may_start(hosts: Iterable[HostUse], allowed: int | None) -> frozenset[str]:
    """The waiting hosts whose drain may begin now.

    Guarantees: one that is unavailable already needs no slot; the others begin in the order of their wishes, however
        many pools and DpuClusterConfigs they belong to; linear in the number of hosts, but for those that wait.
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
    """What a host waits for whose turn has not come. Guarantees: the same words until the limit changes."""
    return HoldReason(
        Reason.NO_FREE_SLOT, f"spec.drain.maxUnavailable allows {allowed} unavailable hosts; none is free now"
    )


def undecided() -> HoldReason:
    """What a host waits for whose wish has just been written down, as every drain does for a moment."""
    return HoldReason(Reason.HOST_DRAINING, "waiting for a drain slot (spec.drain.maxUnavailable)")


def limit_of(said: int | str) -> Limit:
    """Read `spec.drain.maxUnavailable`, which the schema has checked."""
    return said if isinstance(said, int) else Percent(int(said.removesuffix("%")))
