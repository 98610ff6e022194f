"""The last Events of both clusters about one pair."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from dpunetop.base.quoting import named, printable
from dpunetop.kube.keys import EVENTS, INFRA
from dpunetop.kube.meta import Obj
from dpunetop.kube.requests import Selection
from dpunetop.kube.shapes import at
from dpunetop.runtime.reading import NotEngaged, NotSynced, Reader

MOST_EVENTS = 6
"""Of one cluster."""
_NOTE = 300
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Subject:
    """An object that Events may be about; `namespace` is empty for one that has none."""

    cluster: str
    kind: str
    namespace: str
    name: str

    @property
    def side(self) -> str:
        """`infra` or `tenant`, as a person names the cluster."""
        return INFRA if self.cluster == INFRA else "tenant"

    @property
    def words(self) -> str:
        """Kind and name."""
        return f"{self.kind}/{named(self.name)}"

    @property
    def listing(self) -> str:
        """The arguments by which kubectl lists all Events about it."""
        where = f"--namespace {named(self.namespace)}" if self.namespace else "--all-namespaces"
        about = f"involvedObject.kind={self.kind},involvedObject.name={named(self.name)}"
        return f"get events {where} --field-selector {about}"


@dataclass(frozen=True, slots=True)
class EventLine:
    """One Event, or several that say the same; `at` is when it was last told."""

    at: datetime
    subject: Subject
    type: str
    reason: str
    note: str
    times: int = 1

    @property
    def words(self) -> str:
        """One line."""
        when = "at no known time" if self.at == _LONG_AGO else f"{self.at:%Y-%m-%dT%H:%M:%SZ}"
        often = f" ({self.times} times)" if self.times > 1 else ""
        what = f"{self.subject.side} {self.type} {self.reason} {self.subject.words}"
        return f"{when} {what}{often}: {self.note}"


@dataclass(frozen=True, slots=True)
class HiddenEvents:
    """Events about an object that are not shown."""

    subject: Subject
    count: int

    @property
    def words(self) -> str:
        """How many, and about what."""
        return f"and {self.count} more about {self.subject.words} of {self.subject.side}"


@dataclass(frozen=True, slots=True)
class Events:
    """What was told of some objects: the newest of each cluster, how many more there are, and what was not read."""

    shown: tuple[EventLine, ...]
    more: tuple[HiddenEvents, ...]
    unseen: tuple[str, ...]
    """Why the Events about an object are not among them."""


def last_events(reader: Reader, subjects: Sequence[Subject]) -> Events:
    """The newest Events about some objects, the newest first; those that say the same are one.

    Guarantees: at most `MOST_EVENTS` of each cluster, so that neither crowds out the other.
    """
    found: list[EventLine] = []
    unseen: dict[str, None] = {}
    for subject in subjects:
        try:
            found += _read(reader, subject)
        except NotEngaged:  # nobody gave a kubeconfig of that tenant, which is told anyway
            continue
        except NotSynced as err:
            unseen[f"Events of {subject.side}: {err.error or err}"] = None
    ordered = sorted(_folded(found), key=lambda each: each.at, reverse=True)
    shown = [each for side in ("infra", "tenant") for each in _of(side, ordered)[:MOST_EVENTS]]
    more = (HiddenEvents(subject, _count(subject, ordered) - _count(subject, shown)) for subject in subjects)
    newest = sorted(shown, key=lambda each: each.at, reverse=True)
    return Events(tuple(newest), tuple(each for each in more if each.count), tuple(unseen))


def _of(side: str, found: Iterable[EventLine]) -> list[EventLine]:
    return [each for each in found if each.subject.side == side]


def _count(subject: Subject, found: Iterable[EventLine]) -> int:
    return sum(each.subject == subject for each in found)


def _read(reader: Reader, subject: Subject) -> list[EventLine]:
    """Raises: NotEngaged, NotSynced."""
    about = f"regarding.kind={subject.kind},regarding.name={subject.name}"
    return [
        _happened(subject, obj) for obj in reader.list(subject.cluster, Selection(EVENTS, subject.namespace, about))
    ]


def _folded(found: Iterable[EventLine]) -> list[EventLine]:
    """One for all that differ in nothing but the time."""
    folded: dict[tuple[Subject, str, str, str], EventLine] = {}
    for each in found:
        key = (each.subject, each.type, each.reason, each.note)
        known = folded.get(key)
        times = each.times + (known.times if known else 0)
        folded[key] = replace(each, at=max(each.at, known.at if known else _LONG_AGO), times=times)
    return list(folded.values())


def _happened(subject: Subject, event: Obj) -> EventLine:
    return EventLine(
        at=_newest(event),
        subject=subject,
        type=printable(str(event.get("type") or ""), 20),
        reason=printable(str(event.get("reason") or ""), 80),
        note=printable(str(event.get("note") or ""), _NOTE),
        times=_times(event),
    )


def _times(event: Obj) -> int:
    """How often it was told. Source: events.k8s.io/v1, where a series counts, and older writers use another field."""
    counts = (at(event, "series", "count"), event.get("deprecatedCount"))
    return max((each for each in counts if isinstance(each, int)), default=1) or 1


def _newest(event: Obj) -> datetime:
    times = (
        at(event, "series", "lastObservedTime"),
        event.get("deprecatedLastTimestamp"),
        event.get("eventTime"),
        at(event, "metadata", "creationTimestamp"),
    )
    return next((found for each in times if (found := _time(each)) is not None), _LONG_AGO)


def _time(text: object) -> datetime | None:
    """With its fraction of a second, by which Events of one second are in order."""
    try:
        time = datetime.fromisoformat(text) if isinstance(text, str) else None
        return time.astimezone(UTC) if time is not None and time.tzinfo else None
    except (ValueError, OverflowError):
        return None
