"""Finds the operator's namespace and whether it is at work, from its Lease and the budgets of its blockers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from dpunetop.app.commands.flags import DEFAULT_OPERATOR_NAMESPACE
from dpunetop.app.commands.unlooked import unlooked_words
from dpunetop.base.quoting import named, quoted
from dpunetop.domain.credential.account import parse_time
from dpunetop.domain.names import DRAIN_BLOCKER, OPERATOR_LEASE, OWNER_LABEL, PODDISRUPTIONBUDGETS
from dpunetop.kube.keys import INFRA, LEASES
from dpunetop.kube.meta import Obj, name_of, namespace_of
from dpunetop.kube.requests import Selection
from dpunetop.kube.selectors import by_name
from dpunetop.kube.shapes import at
from dpunetop.runtime.oneshot import List, OneShotListers
from dpunetop.runtime.reading import NotSynced, Reader

_NOT_KNOWN = "whether an operator is at work is not known"
_DEFAULT_SECONDS = 15
_LATE = 2
"""After this many lease durations without a renewal the holder counts as gone, not as slow."""


@dataclass(frozen=True, slots=True)
class OperatorSeen:
    """The operator as its objects show it."""

    namespace: str
    """Of the operator."""
    is_alive: bool | None
    """None: unknown, since there is no Lease or it cannot be read."""
    words: str
    is_unread: bool = False
    """Whether its Lease could not be read."""


def operator_namespace(lists: List, now: Callable[[], datetime], given: str | None) -> str:
    """The operator's namespace: `given`, else the one found in infra."""
    return given or see_operator(OneShotListers(lists, {}).reader(), now, None).namespace


def see_operator(reader: Reader, now: Callable[[], datetime], namespace: str | None) -> OperatorSeen:
    """Find the operator by its Lease, in that namespace or in all. `now` is asked after the Lease was read.

    An operator without leader election, such as one run by hand, has none: then take the namespace of most blockers.
    """
    seen = _leased(reader, now, namespace)
    if namespace or seen.is_alive:
        return seen
    return replace(seen, namespace=_home_of_blockers(reader) or seen.namespace or DEFAULT_OPERATOR_NAMESPACE)


def _leased(reader: Reader, now: Callable[[], datetime], namespace: str | None) -> OperatorSeen:
    try:
        found = reader.list(INFRA, Selection(LEASES, namespace or "", by_name(OPERATOR_LEASE)))
    except NotSynced as err:
        return OperatorSeen(namespace or "", None, f"{_NOT_KNOWN}: {unlooked_words(err)}", is_unread=True)
    if not found:
        where = f"in namespace {namespace}" if namespace else "in any namespace"
        words = f"there is no Lease {OPERATOR_LEASE} {where}, and one that runs without --leader-elect has none"
        return OperatorSeen(namespace or "", None, f"{_NOT_KNOWN}: {words}")
    return _judged(max(found, key=lambda lease: str(at(lease, "spec", "renewTime") or "")), now())


def _home_of_blockers(reader: Reader) -> str:
    """The namespace of most blockers; empty: there are none, or they cannot be read."""
    try:
        budgets = reader.list(INFRA, Selection(PODDISRUPTIONBUDGETS, label_selector=OWNER_LABEL))
    except NotSynced:
        return ""
    homes = Counter(namespace_of(each) for each in budgets if name_of(each).startswith(DRAIN_BLOCKER))
    return min(homes, key=lambda home: (-homes[home], home), default="")


def _judged(lease: Obj, now: datetime) -> OperatorSeen:
    namespace, holder = namespace_of(lease), str(at(lease, "spec", "holderIdentity") or "")
    where = f"Lease {named(namespace)}/{OPERATOR_LEASE}"
    if not holder:
        return OperatorSeen(namespace, False, f"no operator is at work: {where} has no holder")
    renewed = parse_time(at(lease, "spec", "renewTime"))
    if renewed is None:
        return OperatorSeen(namespace, False, f"no operator is at work: {where} was never renewed")
    seconds = max(0, round((now - renewed).total_seconds()))
    given = at(lease, "spec", "leaseDurationSeconds")
    limit = _LATE * (given if isinstance(given, int) and given > 0 else _DEFAULT_SECONDS)
    who = quoted(holder, 80)
    if seconds <= limit:
        return OperatorSeen(namespace, True, f"an operator is at work: {who} renewed {where} {seconds} s ago")
    return OperatorSeen(namespace, False, f"no operator is at work: {who} has not renewed {where} for {seconds} s")
