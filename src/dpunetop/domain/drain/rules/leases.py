"""Rule 4, proof: the Lease that a DPU renews for its host, a sign that its half of OVN-Kubernetes reaches the tenant.

The host watches the same Lease: once it has expired or is gone, no pod there gets a network. Renewals are judged by the
changes that we see, never by the times in the Lease.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dpunetop.domain.drain.model.facts import HoldReason, Reason, Signal
from dpunetop.kube.meta import Obj, uid_of
from dpunetop.kube.shapes import at

LEASE = "lease"
"""Name of the sign."""
CHANGES = 2
"""The number of changes that must be seen: one may be a late write, and the host changes the Lease when it starts."""
USUAL_SECONDS = 40
"""Validity of a Lease that does not name one."""
_LEAST_SECONDS = 10
_MOST_SECONDS = 600
"""The tenant's value counts within these limits."""
_PATIENCE = 3
"""The Lease is reported as not renewed after this many times its validity without a change."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A Lease of the tenant."""

    uid: str
    renewed: str
    """`renewTime` as text; only a change of it counts."""
    valid_seconds: int


NO_LEASE = Lease("", "", USUAL_SECONDS)
"""Stands for a Lease that does not exist or cannot be read."""


def lease(obj: Obj | None) -> Lease:
    """Read a Lease; None: there is none."""
    if obj is None:
        return NO_LEASE
    renewed, valid = at(obj, "spec", "renewTime"), at(obj, "spec", "leaseDurationSeconds")
    if not isinstance(valid, int) or isinstance(valid, bool):
        valid = USUAL_SECONDS
    return Lease(
        uid=uid_of(obj),
        renewed=renewed if isinstance(renewed, str) else "",
        valid_seconds=max(_LEAST_SECONDS, min(valid, _MOST_SECONDS)),
    )


@dataclass(frozen=True, slots=True)
class ObservationPeriod:
    """The period in which changes of a Lease are counted together: one boot of a DPU that was seen Ready, and one
    leadership over clusters whose time did not go back."""

    dpu: str
    boot: str
    term: str


@dataclass(frozen=True, slots=True)
class RenewalCount:
    """The changes of a Lease that were seen in one period. Times are monotonic."""

    period: ObservationPeriod
    lease: Lease
    """As seen last."""
    changes: int
    since: float
    """When it was last seen to change; before that, when the period began."""
    waiting: float | None
    """Since when the Lease is waited for: the DPU has shown all earlier signs, and the Lease has not changed since.
    None: an earlier sign is missing."""

    def is_enough(self, now: float) -> bool:
        """Whether the Lease was seen to change often enough, and is still valid by our clock."""
        return self.changes >= CHANGES and now - self.since <= self.lease.valid_seconds

    def patience_left(self, now: float) -> float:
        """Seconds until the Lease is reported as not renewed; 0: it is now."""
        waited = 0.0 if self.waiting is None else now - self.waiting
        return max(0.0, _PATIENCE * self.lease.valid_seconds - waited)


def count_renewals(
    before: RenewalCount | None, period: ObservationPeriod, seen: Lease, now: float, *, is_due: bool
) -> RenewalCount:
    """Continue the count with the Lease as it is seen now; `is_due`: the DPU has shown all signs before its Lease.

    Guarantees: the first value, in a period or of a Lease, is no change; a change after the Lease has expired counts
        as the first one again.
    """
    if before is None or before.period != period:
        return RenewalCount(period, seen, 0, now, now if is_due else None)
    waiting = (now if before.waiting is None else before.waiting) if is_due else None
    if seen.uid != before.lease.uid:
        return replace(before, lease=seen, changes=0, waiting=waiting)
    if seen.renewed == before.lease.renewed:
        return replace(before, lease=seen, waiting=waiting)
    is_late = now - before.since > seen.valid_seconds
    return RenewalCount(period, seen, 1 if is_late else before.changes + 1, now, now if is_due else None)


def lease_signal(found: RenewalCount, now: float, name: str, unread: str = "") -> Signal:
    """The sign that the Lease called `name` gives; `unread` says why it cannot be read."""
    if found.is_enough(now):
        return Signal(LEASE, holds=True)
    if found.patience_left(now) > 0:
        return Signal(LEASE, holds=False)
    words = f"the tenant's Lease {name} is not renewed"
    if unread:
        words = f"the tenant's Lease {name} cannot be read: {unread}"
    elif not found.lease.uid:
        words = f"the tenant has no Lease {name}"
    return Signal(LEASE, holds=False, trouble=HoldReason(Reason.LEASE_NOT_RENEWED, words))
