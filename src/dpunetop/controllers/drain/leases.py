"""Watches the Leases of hosts that are to be given back on proof."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from dpunetop.base.clock import Clock
from dpunetop.domain.drain.fleet.roster import Roster
from dpunetop.domain.drain.host import Finding
from dpunetop.domain.drain.model.facts import DpuNode, HoldReason, HostView, Reason, Signal
from dpunetop.domain.drain.model.hoststate import HostState
from dpunetop.domain.drain.rules.leases import (
    LEASE,
    NO_LEASE,
    Lease,
    ObservationPeriod,
    RenewalCount,
    count_renewals,
    lease,
    lease_signal,
)
from dpunetop.domain.drain.rules.proof import is_verifying, missing_proofs
from dpunetop.domain.names import LEASE_PREFIX, OVNKUBE_NODE
from dpunetop.domain.ovnkube.deployed import Renewal, is_without_leases
from dpunetop.domain.ovnkube.release import release_of
from dpunetop.kube.errors import ApiError, Forbidden, Unauthorized
from dpunetop.kube.keys import DAEMONSETS, LEASES
from dpunetop.runtime.reading import NotEngaged, NotSynced, Reader


@dataclass(frozen=True, slots=True)
class _Look:
    """The result of reading a Lease."""

    lease: Lease
    unread: str = ""
    """Why it could not be read."""
    refused: HoldReason | None = None
    """Reported at once: the tenant denies the read."""


class Leases:
    """Counts how often the Lease of a host is renewed.

    Guarantees: a Lease is read, and so watched, only while its host is verified; the count is kept in memory and only
        as long, so that it begins again with each process, leadership and verification.
    Threads: any; one at a time for each host.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._guard = threading.Lock()  # guards _counts
        self._counts: dict[tuple[str, str], RenewalCount] = {}  # by the tenant's cluster and the host

    def look(self, reader: Reader, roster: Roster, view: HostView) -> Finding[Signal | None]:
        """The sign from the Lease of the host; None: the host does not watch one."""
        place = (roster.config.tenant_cluster, view.host_ref.host)
        if not is_verifying(HostState(view)):
            self.forget(*place)
            return Finding(Signal(LEASE, holds=False))
        name = f"{LEASE_PREFIX}{view.host_ref.host}"
        seen = _look(reader, roster, name)
        if seen is None:
            self.forget(*place)
            return Finding(None)
        found = self._count(place, view, seen.lease)
        if seen.refused is not None or found is None:
            return Finding(Signal(LEASE, holds=False, trouble=seen.refused))
        now = self._clock.monotonic()
        return Finding(lease_signal(found, now, name, seen.unread), found.patience_left(now) or None)

    def forget(self, cluster: str, host: str) -> None:
        """Drop the count of a host that is not verified."""
        with self._guard:
            self._counts.pop((cluster, host), None)

    def _count(self, place: tuple[str, str], view: HostView, seen: Lease) -> RenewalCount | None:
        """None: the DPU that has to give the proof is not Ready, so nothing counts."""
        host_state = HostState(view)
        prover = host_state.prover()
        if prover is None or not isinstance(prover.node, DpuNode) or not prover.node.ready:
            self.forget(*place)
            return None
        period = ObservationPeriod(prover.name, prover.node.boot_id, view.host_ref.author.term)
        is_due, now = not missing_proofs(prover, host_state.cycle(prover), ()), self._clock.monotonic()
        with self._guard:
            found = self._counts[place] = count_renewals(self._counts.get(place), period, seen, now, is_due=is_due)
        return found


def _look(reader: Reader, roster: Roster, name: str) -> _Look | None:
    """None: the host watches no Lease. The options of the DPUs count first, then the release, then whether a Lease
    exists."""
    if roster.renewal is Renewal.NEVER or (roster.renewal is Renewal.UNKNOWN and _has_none(reader, roster)):
        return None
    namespace = roster.tenant_namespace
    try:
        found = reader.one(roster.config.tenant_cluster, LEASES, namespace, name)
    except NotEngaged:
        return _Look(NO_LEASE, "the operator has no connection to the tenant; see TenantReachable")
    except NotSynced as err:
        return _unread(err.error, name)
    unwatched = reader.refusal()
    if unwatched is not None and unwatched.selection.resource == LEASES:
        return _unread(unwatched.error, name)
    return None if found is None and roster.renewal is Renewal.UNKNOWN else _Look(lease(found))


def _has_none(reader: Reader, roster: Roster) -> bool:
    """Whether the tenant's release is known to have no Leases."""
    cluster, namespace = roster.config.tenant_cluster, roster.tenant_namespace
    try:
        found = reader.one(cluster, DAEMONSETS, namespace, OVNKUBE_NODE)
    except (NotEngaged, NotSynced):
        return False
    return is_without_leases(release_of(found, None))


def _unread(error: ApiError | None, name: str) -> _Look:
    if isinstance(error, Forbidden | Unauthorized):
        words = f"the tenant does not let us look at Lease {name}: {error.message}"
        return _Look(NO_LEASE, refused=HoldReason(Reason.TENANT_UNAUTHORIZED, words))
    return _Look(NO_LEASE, "it has not been read yet" if error is None else error.message)
