"""Events: what people are told about an object, without telling them the same thing a thousand times."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog
from structlog.typing import FilteringBoundLogger

from dpunetop.base import jsonio
from dpunetop.base.clock import Clock
from dpunetop.base.stop import Stop
from dpunetop.kube.errors import ApiError, Forbidden, NotFound
from dpunetop.kube.keys import EVENTS
from dpunetop.kube.meta import Obj, name_of, namespace_of, new_object, uid_of
from dpunetop.kube.plan import Emit
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.flowcontrol import TokenBucket
from dpunetop.runtime.reading import NotEngaged

SERIES_ENDS_SECONDS = 600.0
"""After so long without its like, an event starts a new series."""
REFRESH_SECONDS = 60.0
"""The count of a series is written at most this often."""
BURST = 25
REFILL_SECONDS = 300.0
"""How many different events one object may have at once, and how long it takes to earn another."""
MUTE_SECONDS = 30.0
"""So long no event goes to a namespace that refused one, or to a cluster that did not answer."""
EVENTS_LEFT_OUT = "EventsLeftOut"
"""Reason of the one event, with a count, in place of those that an object may not have any more."""
_LEFT_OUT = "more has happened than there is room for in Events: see the conditions of the object, and the log"
TIMEOUT_SECONDS = 5.0
ACTION = "Reconcile"

_REMEMBERED = 4096

Like = tuple[str, str, str, str, str]
"""What makes two events alike: cluster, uid, type, reason, note."""


@dataclass(frozen=True, slots=True)
class Post:
    """One request to make: an event to create or, with a count above 1, the series of one to bring up to date."""

    like: Like
    event: dict[str, Any]
    count: int
    last_observed: datetime


@dataclass(slots=True)
class _Series:
    event: bytes
    """As JSON, in a third of the memory: most are written once, and remembered for ten minutes."""
    seen_at: float
    last_observed: datetime
    count: int = 1
    posted: int = 0


class EventBook:
    """Which events there were, and what of them is still to be written; without threads or I/O.

    Guarantees: alike events within ten minutes become one event with a count; one object has at most 25 different
        normal events at once and as many warnings, and one more of each every five minutes, so that what goes well
        never takes the place of what does not; what is left out beyond that is one event that says so, with a count;
        a bounded number is remembered.
    Threads: one owner, or under its owner's lock.
    """

    def __init__(self, clock: Clock, component: str, instance: str) -> None:
        self._clock = clock
        self._reporter = {"reportingController": component, "reportingInstance": instance}
        self._series: OrderedDict[Like, _Series] = OrderedDict()  # the most recently seen last
        self._due: dict[Like, float] = {}  # when (monotonic) there is something to write of a series
        self._budgets: OrderedDict[tuple[str, str, str], TokenBucket] = OrderedDict()  # by cluster, uid and type
        self._muted_until: dict[tuple[str, str], float] = {}  # cluster, namespace ("": all of them)

    def __len__(self) -> int:
        return len(self._series)

    def saw(self, step: Emit) -> None:
        """Count one event."""
        now = self._clock.monotonic()
        like: Like = (step.cluster, uid_of(step.regarding), step.type, step.reason, step.note)
        series = self._series.get(like)
        if series is None or now - series.seen_at >= SERIES_ENDS_SECONDS:
            self._begin(like, step, now)
            return
        series.count += 1
        series.seen_at, series.last_observed = now, self._clock.now()
        self._due.setdefault(like, now + REFRESH_SECONDS)
        self._series.move_to_end(like)

    def next_due_at(self) -> float | None:
        """When (monotonic) the next request is to be made."""
        return min(self._due.values(), default=None)

    def take_due(self) -> list[Post]:
        """The requests that are due; each that is not made is to be dropped."""
        now = self._clock.monotonic()
        return [self._post(like, now) for like, due_at in list(self._due.items()) if due_at <= now]

    def drop(self, post: Post) -> None:
        """The request was not made: begin anew when its like is seen again."""
        self._series.pop(post.like, None)
        self._due.pop(post.like, None)

    def failed(self, post: Post) -> None:
        """The cluster took no request: drop it, and give the cluster a rest."""
        self.drop(post)
        self._mute(post.like[0], "")

    def refused(self, post: Post) -> None:
        """The namespace does not take events (no right, or it ends): drop it, and leave that namespace alone."""
        self.drop(post)
        self._mute(post.like[0], namespace_of(post.event))

    def is_muted(self, cluster: str, namespace: str) -> bool:
        """Whether the cluster is given a rest, or the namespace left alone."""
        now = self._clock.monotonic()
        return any(now < self._muted_until.get((cluster, place), 0.0) for place in ("", namespace))

    def _mute(self, cluster: str, namespace: str) -> None:
        now = self._clock.monotonic()
        self._muted_until = {place: until for place, until in self._muted_until.items() if until > now}
        self._muted_until[cluster, namespace] = now + MUTE_SECONDS

    def _begin(self, like: Like, step: Emit, now: float) -> None:
        if self.is_muted(step.cluster, _namespace_for(step.regarding)):
            return
        if step.reason != EVENTS_LEFT_OUT and not self._budget(like[:3]).take():
            self.saw(replace(step, reason=EVENTS_LEFT_OUT, note=_LEFT_OUT))  # alike for all that are left out
            return
        seen = self._clock.now()
        self._series[like] = _Series(jsonio.dumps(self._event(step, seen)), now, seen)
        self._series.move_to_end(like)
        self._due[like] = now
        while len(self._series) > _REMEMBERED:
            oldest, _ = self._series.popitem(last=False)
            self._due.pop(oldest, None)

    def _budget(self, spender: tuple[str, str, str]) -> TokenBucket:
        budget = self._budgets.get(spender)
        if budget is None:
            budget = self._budgets[spender] = TokenBucket(1 / REFILL_SECONDS, BURST, self._clock)
        self._budgets.move_to_end(spender)
        while len(self._budgets) > _REMEMBERED:
            self._budgets.popitem(last=False)
        return budget

    def _post(self, like: Like, now: float) -> Post:
        series = self._series[like]
        count = series.count if series.posted else 1  # a new event is one without a series
        series.posted = count
        if count == series.count:
            del self._due[like]
        else:
            self._due[like] = now + REFRESH_SECONDS
        return Post(like, jsonio.loads(series.event), count, series.last_observed)

    def _event(self, step: Emit, seen: datetime) -> dict[str, Any]:
        regarding = step.regarding
        namespace, uid = namespace_of(regarding), uid_of(regarding)
        reference = {
            "apiVersion": step.resource.api_version,
            "kind": step.resource.kind,
            "name": name_of(regarding),
            "uid": uid,
            **({"namespace": namespace} if namespace else {}),
        }
        digest = jsonio.digest([step.type, step.reason, step.note, uid, _micro_time(seen)])
        return new_object(
            EVENTS,
            _namespace_for(regarding),
            f"{name_of(regarding)[:200].rstrip('-.')}.{digest}",  # no part of a name ends in these
            eventTime=_micro_time(seen),
            type=step.type,
            reason=step.reason,
            action=ACTION,
            note=step.note,
            regarding=reference,
            **self._reporter,
        )


class EventRecorder:
    """Writes events, aside from the work that they tell of.

    Guarantees: `emit` never blocks and never fails; events are lost rather than waited for.
    Threads: `emit` from any thread; call `run` once.
    """

    def __init__(
        self,
        clients: Callable[[str], Client],
        component: str,
        clock: Clock,
        *,
        instance: str,
        lost: Callable[[int, str], None] = lambda _, __: None,
    ) -> None:
        """`lost` is told how many events of a cluster could not be written so far, whenever one could not."""
        self._clients = clients
        self._lost = lost
        self._lost_of: Counter[str] = Counter()  # by cluster; of the one thread that runs
        self._refusals: dict[tuple[str, str], str] = {}  # cluster, namespace -> why it takes none; guarded by _cond
        self._clock = clock
        self._log: FilteringBoundLogger = structlog.get_logger().bind()
        self._cond = threading.Condition()  # guards _book and _refusals; told when something may have become due
        self._book = EventBook(clock, component, instance)

    def __repr__(self) -> str:
        with self._cond:
            return f"<EventRecorder {len(self._book)} series>"

    def emit(self, step: Emit) -> None:
        """Have an event written, soon."""
        with self._cond:
            self._book.saw(step)
            self._cond.notify_all()

    def refusal(self, cluster: str, *namespaces: str) -> str:
        """Why one of these namespaces took no event for want of a right; empty: the last one was taken, or there was
        none."""
        with self._cond:
            found = (self._refusals.get((cluster, namespace), "") for namespace in namespaces)
            return next(filter(None, found), "")

    def run(self, stop: Stop) -> None:
        """Write events until `stop` is set; what is not written then is dropped."""
        forget = stop.on_set(self._wake)
        while not stop.is_set():
            for post in self._wait_for_due(stop):
                if not stop.is_set():
                    self._send(post)
        forget()

    def _wake(self) -> None:
        with self._cond:
            self._cond.notify_all()

    def _wait_for_due(self, stop: Stop) -> list[Post]:
        with self._cond:
            if stop.is_set():
                return []
            due_at = self._book.next_due_at()
            left = None if due_at is None else due_at - self._clock.monotonic()
            if left is None or left > 0:
                self._clock.wait(self._cond, left)
            return self._book.take_due()

    def _send(self, post: Post) -> None:
        cluster = post.like[0]
        with self._cond:
            is_muted = self._book.is_muted(cluster, namespace_of(post.event))
            if is_muted:
                self._book.drop(post)
        if is_muted:
            self._count(cluster)
            return
        try:
            _request(self._clients(cluster), post)
        except (Forbidden, NotFound) as err:
            with self._cond:
                self._book.refused(post)
                self._note(post, err.message if isinstance(err, Forbidden) else "")
            self._tell(post, err)
        except (ApiError, NotEngaged) as err:
            with self._cond:
                self._book.failed(post)
            self._tell(post, err)
        else:
            with self._cond:
                self._note(post, "")

    def _note(self, post: Post, why: str) -> None:
        """Under the lock. A namespace that is gone refuses nothing any more."""
        place = post.like[0], namespace_of(post.event)
        self._refusals.pop(place, None)
        if why:
            self._refusals[place] = why

    def _count(self, cluster: str) -> None:
        self._lost_of[cluster] += 1
        self._lost(self._lost_of[cluster], cluster)

    def _tell(self, post: Post, err: Exception) -> None:
        self._count(post.like[0])
        self._log.warning("event not written", cluster=post.like[0], about=post.event["reason"], error=str(err))


def _request(client: Client, post: Post) -> None:
    namespace, name = namespace_of(post.event), name_of(post.event)
    if post.count == 1:
        client.create(EVENTS, namespace, post.event, timeout_seconds=TIMEOUT_SECONDS)
        return
    series = {"count": post.count, "lastObservedTime": _micro_time(post.last_observed)}
    manager = str(post.event["reportingController"])
    client.merge_patch(EVENTS, namespace, name, {"series": series}, manager, timeout_seconds=TIMEOUT_SECONDS)


def _namespace_for(regarding: Obj) -> str:
    """Where the API wants an event: with its object, or in `default` for one of the cluster."""
    return namespace_of(regarding) or "default"


def _micro_time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
