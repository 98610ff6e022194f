"""Rule 4, proof: the Lease that a DPU renews for its host, a sign that its half of OVN-Kubernetes reaches the tenant.

The host goes by the same Lease: once it is not valid any more, or gone, no pod there gets a network. Whether it is
renewed is judged by when we see it change, never by the times in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dpunetop.domain.drain.model.facts import HoldReason, Reason, Signal
from dpunetop.kube.meta import Obj, uid_of
from dpunetop.kube.shapes import at

LEASE = "lease"
"""What the sign is called."""
CHANGES = 2
"""So often the Lease must be seen to change: once may be a late echo, and the host changes it when it starts."""
USUAL_SECONDS = 40
"""How long a Lease is valid that does not say so."""
_LEAST_SECONDS = 10
_MOST_SECONDS = 600
"""A tenant's word is taken within these limits."""
_PATIENCE = 3
"""So many times as long as it is valid a Lease may stay as it is, before that is said to be in the way."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A Lease as the tenant shows it."""

    uid: str
    renewed: str
    """`renewTime` as it is written; only whether it changes counts."""
    valid_seconds: int


NO_LEASE = Lease("", "", USUAL_SECONDS)
"""What is seen where there is none, or none can be read."""


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
class Stretch:
    """What changes of a Lease must have in common to be counted together: a DPU that was seen Ready in one boot, and
    one leadership over clusters whose time did not go back."""

    dpu: str
    boot: str
    term: str


@dataclass(frozen=True, slots=True)
class Tally:
    """What was seen of a Lease in one stretch. Times are monotonic."""

    stretch: Stretch
    lease: Lease
    """As seen last."""
    changes: int
    since: float
    """When it was last seen to change; before that, when the stretch began."""
    waiting: float | None
    """Since when it is waited for: the DPU has shown all that comes before, and the Lease has not changed since. None:
    something else comes before."""

    def is_enough(self, now: float) -> bool:
        """Whether the Lease was seen to change often enough, and is still valid by our clock."""
        return self.changes >= CHANGES and now - self.since <= self.lease.valid_seconds

    def patience_left(self, now: float) -> float:
        """How long the Lease may still stay as it is; 0: not any more."""
        waited = 0.0 if self.waiting is None else now - self.waiting
        return max(0.0, _PATIENCE * self.lease.valid_seconds - waited)


def tally(before: Tally | None, stretch: Stretch, seen: Lease, now: float, *, is_due: bool) -> Tally:
    """Count on, with what is seen of the Lease now; `is_due`: the DPU has shown all that comes before its Lease.

    Guarantees: what was seen first, in a stretch or of a Lease, is no change; a change that comes after the Lease has
        lost its validity is the first one again.
    """
    if before is None or before.stretch != stretch:
        return Tally(stretch, seen, 0, now, now if is_due else None)
    waiting = (now if before.waiting is None else before.waiting) if is_due else None
    if seen.uid != before.lease.uid:
        return replace(before, lease=seen, changes=0, waiting=waiting)
    if seen.renewed == before.lease.renewed:
        return replace(before, lease=seen, waiting=waiting)
    is_late = now - before.since > seen.valid_seconds
    return Tally(stretch, seen, 1 if is_late else before.changes + 1, now, now if is_due else None)


def lease_signal(found: Tally, now: float, name: str, unread: str = "") -> Signal:
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
