"""Whether an operator is at work, as its Lease shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dpunetop.base.quoting import named, quoted
from dpunetop.domain.names import OPERATOR_LEASE
from dpunetop.kube.keys import INFRA, LEASES
from dpunetop.kube.meta import Obj, namespace_of
from dpunetop.kube.requests import Selection
from dpunetop.kube.selectors import by_name
from dpunetop.kube.shapes import at
from dpunetop.runtime.reading import NotSynced, Reader

_DEFAULT_SECONDS = 15
_LATE = 2
"""So many lease durations without a renewal are more than a slow one."""


@dataclass(frozen=True, slots=True)
class OperatorSeen:
    """What the Leases say."""

    namespace: str
    """Of the operator; empty: not found."""
    is_alive: bool | None
    """None: not known, since there is no Lease or it may not be read."""
    words: str


def see_operator(reader: Reader, now: datetime, namespace: str | None) -> OperatorSeen:
    """Look for the operator's Lease in that namespace, or in all."""
    try:
        found = reader.list(INFRA, Selection(LEASES, namespace or "", by_name(OPERATOR_LEASE)))
    except NotSynced as err:
        return OperatorSeen(namespace or "", None, f"whether an operator is at work is not known: {err}")
    if not found:
        where = f"in namespace {namespace}" if namespace else "in any namespace"
        words = (
            f"no operator is at work: there is no Lease {OPERATOR_LEASE} {where} (one without --leader-elect has none)"
        )
        return OperatorSeen(namespace or "", None, words)
    return _judged(max(found, key=lambda lease: str(at(lease, "spec", "renewTime") or "")), now)


def _judged(lease: Obj, now: datetime) -> OperatorSeen:
    namespace, holder = namespace_of(lease), str(at(lease, "spec", "holderIdentity") or "")
    where = f"Lease {named(namespace)}/{OPERATOR_LEASE}"
    if not holder:
        return OperatorSeen(namespace, False, f"no operator is at work: {where} has no holder")
    renewed = _time(at(lease, "spec", "renewTime"))
    if renewed is None:
        return OperatorSeen(namespace, False, f"no operator is at work: {where} was never renewed")
    seconds = max(0, round((now - renewed).total_seconds()))
    given = at(lease, "spec", "leaseDurationSeconds")
    limit = _LATE * (given if isinstance(given, int) and given > 0 else _DEFAULT_SECONDS)
    who = quoted(holder, 80)
    if seconds <= limit:
        return OperatorSeen(namespace, True, f"an operator is at work: {who} renewed {where} {seconds} s ago")
    return OperatorSeen(namespace, False, f"no operator is at work: {who} has not renewed {where} for {seconds} s")


def _time(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
