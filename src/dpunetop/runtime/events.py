"""The Event recorder: aggregates equal Events and limits their rate per object."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import takewhile
from typing import Any, Protocol

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
from dpunetop.runtime.flowcontrol import ItemBudgets
from dpunetop.runtime.reading import NotEngaged

SERIES_ENDS_SECONDS = 600.0
"""After this time without an equal Event, the next one starts a new series."""
REFRESH_SECONDS = 60.0
"""The count of a series is written at most this often."""
BURST = 25
REFILL_SECONDS = 300.0
"""Burst of different Events per object, and the seconds until one more is allowed."""
MUTE_SECONDS = 30.0
"""For this time no Event is sent to a namespace that refused one, or to a cluster that did not answer."""
EVENTS_LEFT_OUT = "EventsLeftOut"
"""Reason of the one Event, with a count, that replaces those above the limit of an object."""
_LEFT_OUT = "more has happened than there is room for in Events: see the conditions of the object, and the log"
TIMEOUT_SECONDS = 5.0
ACTION = "Reconcile"

_REMEMBERED = 4096

Like = int
"""A hash of what makes two Events equal: cluster, uid, type, reason, note. As a number it takes half of its text."""


@dataclass(frozen=True, slots=True)
class Post:
    """One request: create an Event or, with a count above 1, update the series of one."""

    like: Like
    cluster: str
    event: dict[str, Any]
    """The whole Event to create; for an update only its name, its reason and the reporter."""
    count: int
    last_observed: datetime | None
    """Of a series alone."""


@dataclass(slots=True)
class _Series:
    """One series. Thousands are kept for ten minutes, and most are written once, so each keeps only pending data."""

    cluster: str
    namespace: str
    reason: str
    begun: tuple[Emit, datetime] | None
    """The first occurrence, until its Event is created."""
    seen_at: float
    last_observed: datetime | None = None
    """Once it was seen again."""
    name: str = ""
    """From then on."""
    count: int = 1
    posted: int = 0


class EventBook:
    """The Events seen lately and the pending writes; without threads or I/O.

    Guarantees: equal Events within ten minutes become one Event with a count. One object may have a burst of 25
        different Normal Events and 25 Warnings, and one more of each every five minutes, so that Normal Events never
        displace Warnings. Those above the limit are replaced by one Event with a count. The memory is bounded.
    Threads: one owner, or under its owner's lock.
    """

    def __init__(self, clock: Clock, component: str, instance: str) -> None:
        self._clock = clock
        self._reporter = {"reportingController": component, "reportingInstance": instance}
        self._series: dict[Like, _Series] = {}  # least recently seen first
        self._due: dict[Like, float] = {}  # when (monotonic) a series has a pending write
        # by cluster, uid and type
        self._budgets: ItemBudgets[tuple[str, str, str]] = ItemBudgets(REFILL_SECONDS, BURST, _REMEMBERED, clock)
        self._muted_until: dict[tuple[str, str], float] = {}  # cluster, namespace ("": all of them)

    def __len__(self) -> int:
        return len(self._series)

    def saw(self, step: Emit) -> None:
        """Count one event."""
        now = self._clock.monotonic()
        like = int(jsonio.digest([step.cluster, uid_of(step.regarding), step.type, step.reason, step.note]), 16)
        self._end_series(now)
        series = self._series.get(like)
        if series is None or now - series.seen_at >= SERIES_ENDS_SECONDS:
            self._begin(like, step, now)
            return
        series.count += 1
        series.seen_at, series.last_observed = now, self._clock.now()
        self._due.setdefault(like, now + REFRESH_SECONDS)
        self._series[like] = self._series.pop(like)  # so that it becomes the last

    def next_due_at(self) -> float | None:
        """When (monotonic) the next request is due."""
        return min(self._due.values(), default=None)

    def take_due(self) -> list[Post]:
        """The due requests; pass each one that is not sent to `drop`."""
        now = self._clock.monotonic()
        return [self._post(like, now) for like, due_at in list(self._due.items()) if due_at <= now]

    def drop(self, post: Post) -> None:
        """The request was not sent: the next equal Event starts a new series."""
        self._series.pop(post.like, None)
        self._due.pop(post.like, None)

    def failed(self, post: Post) -> None:
        """The cluster did not answer: drop the request and mute the cluster for a while."""
        self.drop(post)
        self._mute(post.cluster, "")

    def refused(self, post: Post) -> None:
        """The namespace refuses Events (forbidden, or it terminates): drop the request and mute the namespace."""
        self.drop(post)
        self._mute(post.cluster, namespace_of(post.event))

    def is_muted(self, cluster: str, namespace: str) -> bool:
        """Whether the cluster or the namespace is muted."""
        now = self._clock.monotonic()
        return any(now < self._muted_until.get((cluster, place), 0.0) for place in ("", namespace))

    def forget(self, cluster: str) -> None:
        """The cluster is gone: a later one of its name is another cluster."""
        self._muted_until = {place: until for place, until in self._muted_until.items() if place[0] != cluster}

    def _mute(self, cluster: str, namespace: str) -> None:
        now = self._clock.monotonic()
        self._muted_until = {place: until for place, until in self._muted_until.items() if until > now}
        self._muted_until[cluster, namespace] = now + MUTE_SECONDS

    def _end_series(self, now: float) -> None:
        """Forget what was not seen for so long, but for what is due of it: whatever comes now begins a new series."""
        ended = takewhile(lambda each: now - each[1].seen_at >= SERIES_ENDS_SECONDS, self._series.items())
        for like in [like for like, _ in ended if like not in self._due]:
            del self._series[like]

    def _begin(self, like: Like, step: Emit, now: float) -> None:
        namespace = _namespace_for(step.regarding)
        if self.is_muted(step.cluster, namespace):
            return
        spender = step.cluster, uid_of(step.regarding), step.type
        if step.reason != EVENTS_LEFT_OUT and not self._budgets.take(spender):
            self.saw(replace(step, reason=EVENTS_LEFT_OUT, note=_LEFT_OUT))  # equal for all that are left out
            return
        seen = self._clock.now()
        self._series.pop(like, None)
        self._series[like] = _Series(step.cluster, namespace, step.reason, (step, seen), now)
        self._due[like] = now
        while len(self._series) > _REMEMBERED:
            oldest = next(iter(self._series))
            del self._series[oldest]
            self._due.pop(oldest, None)

    def _post(self, like: Like, now: float) -> Post:
        series = self._series[like]
        count = series.count if series.posted else 1  # a new Event has no series
        series.posted = count
        if count == series.count:
            del self._due[like]
        else:
            self._due[like] = now + REFRESH_SECONDS
        return Post(like, series.cluster, self._taken(series), count, series.last_observed if count > 1 else None)

    def _taken(self, series: _Series) -> dict[str, Any]:
        """The whole Event for its creation, after which only the series is kept."""
        if series.begun is None:
            return new_object(EVENTS, series.namespace, series.name, reason=series.reason, **self._reporter)
        event = self._event(*series.begun)
        series.begun, series.name = None, name_of(event)
        return event

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


class LostEvents(Protocol):
    """The metric of the Events of a cluster that could not be written."""

    def set(self, value: float, *labels: str) -> None:
        """Set the number for the cluster in the label."""

    def clear(self, *labels: str) -> None:
        """Remove the series of that cluster."""


class EventRecorder:
    """Writes Events in a thread of its own.

    Guarantees: `emit` never blocks and never fails; an Event is lost rather than waited for.
    Threads: `emit` from any thread; call `run` once.
    """

    def __init__(
        self,
        clients: Callable[[str], Client],
        component: str,
        clock: Clock,
        *,
        instance: str,
        lost: LostEvents | None = None,
    ) -> None:
        """`clients` raises NotEngaged for a cluster that is not engaged."""
        self._clients = clients
        self._lost = lost
        self._clock = clock
        self._log: FilteringBoundLogger = structlog.get_logger().bind()
        self._cond = threading.Condition()  # guards all below; notified when a request may be due
        self._lost_of: Counter[str] = Counter()  # by engaged cluster
        self._refusals: dict[tuple[str, str], str] = {}  # (cluster, namespace) -> why it refuses Events
        self._book = EventBook(clock, component, instance)

    def __repr__(self) -> str:
        with self._cond:
            return f"<EventRecorder {len(self._book)} series>"

    def emit(self, step: Emit) -> None:
        """Queue an Event to be written soon."""
        with self._cond:
            self._book.saw(step)
            self._cond.notify_all()

    def refusal(self, cluster: str, *namespaces: str) -> str:
        """Why one of these namespaces refused its last Event for a missing permission; empty: none did."""
        with self._cond:
            found = (self._refusals.get((cluster, namespace), "") for namespace in namespaces)
            return next(filter(None, found), "")

    def forget(self, cluster: str) -> None:
        """The cluster is gone: drop its state, and count nothing of it until it is engaged again."""
        with self._cond:
            self._book.forget(cluster)
            self._refusals = {place: why for place, why in self._refusals.items() if place[0] != cluster}
            if self._lost_of.pop(cluster, 0) and self._lost is not None:
                self._lost.clear(cluster)

    def run(self, stop: Stop) -> None:
        """Write Events until `stop` is set; pending ones are dropped then."""
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
        cluster = post.cluster
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
        """Under the lock. A deleted namespace no longer counts as refusing."""
        place = post.cluster, namespace_of(post.event)
        self._refusals.pop(place, None)
        if why:
            self._refusals[place] = why

    def _count(self, cluster: str) -> None:
        """Count a lost Event, but not of a cluster that is gone: nothing would remove that series."""
        with self._cond, suppress(NotEngaged):
            self._clients(cluster)
            self._lost_of[cluster] += 1
            if self._lost is not None:
                self._lost.set(self._lost_of[cluster], cluster)

    def _tell(self, post: Post, err: Exception) -> None:
        self._count(post.cluster)
        self._log.warning("event not written", cluster=post.cluster, about=post.event["reason"], error=str(err))


def _request(client: Client, post: Post) -> None:
    namespace, name = namespace_of(post.event), name_of(post.event)
    if post.last_observed is None:
        client.create(EVENTS, namespace, post.event, timeout_seconds=TIMEOUT_SECONDS)
        return
    series = {"count": post.count, "lastObservedTime": _micro_time(post.last_observed)}
    manager = str(post.event["reportingController"])
    client.merge_patch(EVENTS, namespace, name, {"series": series}, manager, timeout_seconds=TIMEOUT_SECONDS)


def _namespace_for(regarding: Obj) -> str:
    """The namespace of an Event: that of its object, or `default` for a cluster-scoped one."""
    return namespace_of(regarding) or "default"


def _micro_time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
