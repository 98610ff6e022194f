"""Leader election over one Lease as a state machine without threads, clocks or requests.

It is safe for clocks with any offset whose rates differ by less than lease duration / renew deadline: every candidate
uses only its own monotonic clock. A leader counts from *before* it sent the renewal that was answered; a standby counts
from *after* it saw the Lease change. No timestamp in the Lease is ever compared with a clock.
The protocol is that of client-go's leaderelection, with stricter rules: there is a write deadline, any change of the
Lease's resourceVersion counts as a renewal, loss is final, and deleting the Lease is safe. A candidate that creates the
Lease cannot know who held a deleted one until just now, so it leads only after a whole lease duration."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any

from dpunetop.kube.errors import ApiError, Conflict, NotFound
from dpunetop.kube.keys import LEASES
from dpunetop.kube.meta import Obj, new_object, version_of

_JITTER = 1.2
_RELEASED_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Timings:
    """Lease duration, renew deadline and retry period of client-go.

    Raises: ValueError unless lease duration > renew deadline > 1.2 · retry period > 0.
    """

    lease_duration_seconds: float = 15.0
    renew_deadline_seconds: float = 10.0
    retry_period_seconds: float = 2.0

    def __post_init__(self) -> None:
        if not self.lease_duration_seconds > self.renew_deadline_seconds:
            raise ValueError("the lease duration must be longer than the renew deadline")
        if not self.renew_deadline_seconds > _JITTER * self.retry_period_seconds:
            raise ValueError(f"the renew deadline must be longer than {_JITTER} times the retry period")
        if not self.retry_period_seconds > 0:
            raise ValueError("the retry period must be longer than nothing")


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `until` (monotonic), unless the Lease changes or `resign` is called."""

    until: float


@dataclass(frozen=True, slots=True)
class Read:
    """Get the Lease, with a quorum read."""

    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Create:
    """Create `lease` if there is none; that alone is no leadership, unless the sender leads already."""

    lease: dict[str, Any]
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Update:
    """Update the Lease to `lease`, if it still has that resourceVersion."""

    lease: dict[str, Any]
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class End:
    """Nothing more to do."""


Request = Read | Create | Update


class Phase(Enum):
    """The phase of a candidate; it never goes back to an earlier one."""

    STANDBY = auto()
    LEADING = auto()
    RELEASING = auto()
    LOST = auto()
    ENDED = auto()


class Election:
    """One candidate's view of one Lease.

    Guarantees: of all candidates with different identities at most one has `seconds_left` above 0, if no other client
        writes the Lease; deleting it is allowed. `leaseTransitions` counts the changes of holder since its creation.
    Threads: one owner. Requests are made one at a time, in the order of `ask`; each is followed by exactly one of
        `wrote`, `read` and `failed`. `noticed` may come at any time.
    Units: seconds; `now` is the monotonic clock, `wall` is only written into the Lease for people to read.
    """

    def __init__(
        self, identity: str, namespace: str, name: str, timings: Timings, random: Callable[[], float], now: float
    ) -> None:
        self.phase = Phase.STANDBY
        self.identity = identity
        self._namespace = namespace
        self._name = name
        self._timings = timings
        self._random = random
        self._deadline = -math.inf  # until when this candidate may write; only counts while LEADING
        self._lease: Obj | None = None  # as last seen; None: not there
        self._was_there = False  # whether there ever was a Lease
        self._version = -1  # newest version seen, of the Lease or of its deletion; -1: never looked
        self._seen_at = now  # when the Lease was seen to change, or to be gone, for the last time
        self._is_current = False  # whether _lease can be the base of a write without reading it first
        self._fell_back = False  # whether this attempt has already gone from the fast path to the slow one
        self._has_created = False  # whether a Lease that names this candidate may be one that it created as a standby
        self._next_at = now

    @property
    def holder(self) -> str:
        """The holder of the Lease as last seen; empty: no holder, or no Lease."""
        return _holder(self._lease)

    def seconds_left(self, now: float) -> float:
        """How many seconds this candidate may still write; 0 if it may not."""
        return max(0.0, self._deadline - now) if self.phase is Phase.LEADING else 0.0

    def is_lost(self, now: float) -> bool:
        """Whether this candidate led and must not lead again."""
        if self.phase is Phase.LEADING and now >= self._deadline:
            self.phase = Phase.LOST
        return self.phase is Phase.LOST

    def ask(self, now: float, wall: datetime) -> Wait | Request | End:
        """What to do next."""
        if self.is_lost(now) or self.phase is Phase.ENDED:
            return End()
        if self.phase is Phase.RELEASING:
            return self._ask_release(now, wall)
        if now < self._next_at:
            return Wait(self._next_at)
        if self._is_current and now >= self._free_at():
            return self._claim(now, wall)
        return Read(self._timeout(now))

    def resign(self, now: float) -> None:
        """Stop being a candidate; a leader releases the Lease.

        All guarded work must have ended, and no request may be running.
        """
        if self.is_lost(now):
            return
        if self.phase is Phase.LEADING:
            self.phase, self._fell_back = Phase.RELEASING, False
        elif self.phase is Phase.STANDBY:
            self.phase = Phase.ENDED

    def wrote(self, request: Create | Update, answer: Obj, sent_at: float, now: float) -> None:
        """`request`, sent at `sent_at`, has succeeded; `answer` is the Lease that it wrote."""
        if self.phase is Phase.RELEASING:
            self.phase = Phase.ENDED
        if self.is_lost(now) or self.phase is Phase.ENDED:
            return  # too late: its time ran out before the answer came
        if version_number(answer) >= self._version:
            self._take(answer, version_number(answer), now)
        elif self.holder != self.identity:
            self._is_current = False  # another client has overwritten this answer already
            return
        self._fell_back = False
        if isinstance(request, Update) or self.phase is Phase.LEADING:
            self._lead(sent_at, now)
        else:
            self._next_at = min(self._free_at(), now + self._pause())

    def read(self, lease: Obj | None, now: float) -> None:
        """The response to a Read: the Lease, or None. A quorum read counts even if the version went back."""
        self._take(lease, version_number(lease) if lease else max(self._version, 0), now)
        if now >= self._free_at():
            self._next_at = now
        else:
            self._fell_back = False
            self._next_at = min(self._free_at(), now + self._pause())

    def noticed(self, lease: Obj | None, version: int, now: float) -> None:
        """A watch shows the Lease at `version`, or its deletion (None); late and repeated events are ignored."""
        if self._version < 0 or version <= self._version:
            return
        self._take(lease, version, now)
        if now >= self._free_at():
            self._next_at = now
        elif self.phase is Phase.STANDBY:
            self._next_at = min(self._free_at(), now + self._pause())

    def failed(self, request: Request, error: ApiError, sent_at: float, now: float) -> bool:
        """`request`, sent at `sent_at`, failed; return whether the slow path follows the fast one at once.

        A failed write may still have taken effect, so the Lease is read before the next one: if this candidate holds
        it after all, the version is taken from there.
        """
        if not isinstance(request, Read):
            self._is_current = False
        if isinstance(error, Conflict | NotFound) and not isinstance(request, Read) and not self._fell_back:
            self._fell_back = True
            self._next_at = now
            return True
        self._fell_back = False
        self._next_at = max(now, sent_at + self._pause())
        if self.phase is Phase.RELEASING:
            self.phase = Phase.ENDED  # it runs out by itself
        return False

    def _take(self, lease: Obj | None, version: int, now: float) -> None:
        is_news = version != self._version or (lease is None) != (self._lease is None)
        self._lease, self._version, self._is_current = lease, version, True
        self._was_there |= lease is not None
        if is_news:
            self._seen_at = now
        if lease is not None and self.phase is Phase.LEADING and self.holder != self.identity:
            self.phase = Phase.LOST

    def _free_at(self) -> float:
        """The time from which this candidate may write the Lease."""
        if self.phase is Phase.LEADING:
            return -math.inf
        if self._lease is None:  # the leader of a deleted Lease recreates it first, at its next renewal
            return self._seen_at + 2 * self._timings.retry_period_seconds if self._was_there else -math.inf
        if not self.holder:
            return -math.inf
        if self.holder == self.identity and not self._has_created:
            return -math.inf  # the response was lost, but the update replaced a version without a holder
        return self._seen_at + _duration(self._lease, self._timings.lease_duration_seconds)

    def _lead(self, sent_at: float, now: float) -> None:
        deadline = sent_at + self._timings.renew_deadline_seconds
        self._next_at = max(now, sent_at + self._timings.retry_period_seconds)
        if now < deadline:
            self.phase, self._deadline = Phase.LEADING, deadline

    def _claim(self, now: float, wall: datetime) -> Create | Update:
        seconds = math.ceil(self._timings.lease_duration_seconds)
        spec = self._spec(self.identity, seconds, wall)
        if self._lease is None:
            self._has_created |= self.phase is Phase.STANDBY
            lease = new_object(LEASES, self._namespace, self._name, spec=spec)
            return Create(lease, self._timeout(now))
        return Update({**self._lease, "spec": spec}, self._timeout(now))

    def _ask_release(self, now: float, wall: datetime) -> Request | End:
        if now < self._deadline and not self._is_current:
            return Read(self._timeout(now))
        if now >= self._deadline or self._lease is None or self.holder != self.identity:
            self.phase = Phase.ENDED
            return End()
        spec = self._spec("", _RELEASED_SECONDS, wall)
        return Update({**self._lease, "spec": spec}, self._timeout(now))

    def _spec(self, holder: str, seconds: int, wall: datetime) -> dict[str, Any]:
        old: dict[str, Any] = (self._lease or {}).get("spec") or {}
        stamp = _micro_time(wall)
        if stamp == old.get(
            "renewTime"
        ):  # an update that changes nothing gets no new resourceVersion, so no watch would show it
            stamp = _micro_time(wall + timedelta(microseconds=1))
        changes_hands = self._lease is not None and holder not in ("", self.holder)
        return {
            **old,
            "holderIdentity": holder,
            "leaseDurationSeconds": seconds,
            "acquireTime": old.get("acquireTime", stamp) if holder == self.holder else stamp,
            "renewTime": stamp,
            "leaseTransitions": (old.get("leaseTransitions") or 0) + changes_hands,
        }

    def _timeout(self, now: float) -> float:
        """Half of the renew deadline, as in client-go, so that a second try fits in."""
        most = self._timings.renew_deadline_seconds / 2
        return most if self.phase is Phase.STANDBY else min(most, self._deadline - now)

    def _pause(self) -> float:
        retry = self._timings.retry_period_seconds
        return retry if self.phase is Phase.LEADING else retry * (1.0 + _JITTER * self._random())


def version_number(obj: Obj) -> int:
    """The resourceVersion as a number, by which versions of one resource are ordered; 0 if it is none."""
    text = version_of(obj)
    return int(text) if text.isdecimal() else 0


def _holder(lease: Obj | None) -> str:
    return str(((lease or {}).get("spec") or {}).get("holderIdentity") or "")


def _duration(lease: Obj, default: float) -> float:
    """The lease duration that the holder wrote, not this candidate's own."""
    seconds = (lease.get("spec") or {}).get("leaseDurationSeconds")
    return float(seconds) if isinstance(seconds, int) and seconds > 0 else default


def _micro_time(wall: datetime) -> str:
    return wall.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
