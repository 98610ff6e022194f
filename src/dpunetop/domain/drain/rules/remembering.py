"""Rule 10, the earlier cordon is recorded in two places: on the host's Node and on its maintenance. If one is lost, it
is written again from the other; if both are lost, the host stays as it is, and a person is told."""

from __future__ import annotations

from dataclasses import dataclass

from dpunetop.base.quoting import named
from dpunetop.domain.drain.model.calls import Done, Procedure, Result, store
from dpunetop.domain.drain.model.facts import HoldReason, HostNode, HostRef, MaintenancePhase, Reason
from dpunetop.domain.drain.model.hoststate import HostState, Move
from dpunetop.domain.drain.model.maintenances import (
    is_another_node,
    is_taken_back,
    lacks_mark,
    mark_host,
    name_host,
    was_cordoned,
)
from dpunetop.domain.drain.model.reads import read_host, read_maintenance
from dpunetop.domain.drain.rules.returning import may_end_maintenance
from dpunetop.domain.names import MAINTENANCE_TAINT

ABANDONED_SECONDS = 60
"""A taint without a maintenance is reported only after this time: the caches of Node and maintenance are not in step,
and another owner's maintenance that begins or ends looks the same for a moment."""


def mark_again(host_state: HostState) -> Move | None:
    """Mark the host again under our maintenance: its Node was registered again, or another client removed the mark. If
    the maintenance failed, or ends now, its end marks the host."""
    own, host = host_state.own, host_state.host
    if own is None or own.phase is MaintenancePhase.FAILED or not isinstance(host, HostNode):
        return None
    if not lacks_mark(own, host) or may_end_maintenance(host_state):
        return None
    return MarkAgain(host_state.view.host_ref, own.uid)


def wait_for_person(host_state: HostState) -> Move | None:
    """Wait for a person where a host has the taint of a maintenance that is gone, and no mark: it is unknown whether a
    person wants its cordon, so it is neither removed nor taken for an earlier cordon by another drain."""
    if not host_state.is_abandoned or not isinstance(host_state.host, HostNode):
        return None
    if host_state.active and not host_state.host.cordoned:
        return None  # the end of its drain removes the taint
    if abandoned_seconds_left(host_state) <= 0:
        return HoldReason(Reason.HOST_STILL_CORDONED, _abandoned(named(host_state.view.host_ref.host), host_state.host))
    words = f"{named(host_state.view.host_ref.host)} bears the taint of a maintenance that is not seen"
    return HoldReason(Reason.HOST_DRAINING, words) if host_state.active or host_state.cycles else None


def abandoned_seconds_left(host_state: HostState) -> int:
    """Seconds until the host is reported as abandoned; 0 or less: it is, or it is not abandoned."""
    since = host_state.view.abandoned_since
    return since + ABANDONED_SECONDS - host_state.view.host_ref.author.now if since else 0


def abandoned_since(host_state: HostState, before: int) -> int:
    """Since when the host is seen abandoned, in seconds of the epoch, given the last pass's answer `before` (0: it was
    not); 0: it is not now."""
    now = host_state.view.host_ref.author.now
    return (min(before, now) if before else now) if host_state.is_abandoned else 0


def _abandoned(name: str, host: HostNode) -> str:
    untaint = f"kubectl taint nodes {name} {MAINTENANCE_TAINT}-"
    if not host.cordoned:
        words = f"{name} bears the taint {MAINTENANCE_TAINT} of a maintenance that is gone, so that no pod comes to it"
        return f"{words}: {untaint}"
    words = f"{name} is cordoned and bears the taint {MAINTENANCE_TAINT} of a maintenance that is gone"
    return (
        f"{words}, and nothing says whether it was cordoned before: once it has a network, kubectl uncordon {name} && "
        f"{untaint}; or, if it is to stay cordoned, only {untaint}"
    )


@dataclass(frozen=True, slots=True)
class MarkAgain:
    """Write the earlier cordon from the maintenance onto the host, and record this Node in the maintenance.

    Guarantees: the Node is marked as it was read; the maintenance names it only once it has the mark.
    """

    host_ref: HostRef
    maintenance: str
    """UID."""

    def run(self) -> Procedure:
        """See `calls.Task`."""
        found = yield from read_maintenance(self.host_ref)
        host = yield from read_host(self.host_ref)
        if found is None or not found.ours or found.uid != self.maintenance or host is None:
            return Done(Result.STALE, f"{self.host_ref.host}: the maintenance has changed since it was looked at")
        if not lacks_mark(found, host):
            return Done(Result.STALE, f"{self.host_ref.host}: bears its mark")
        before = was_cordoned(found, host) and not is_taken_back(found, host)
        if host.mark is None:
            yield from store(mark_host(self.host_ref, host, before))
        if is_another_node(found, host):
            yield from store(name_host(self.host_ref, found, host, before))
        return Done(Result.DONE, f"{self.host_ref.host}: shows again whether it was cordoned before")
