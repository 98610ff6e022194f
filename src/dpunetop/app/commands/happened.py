"""The last Events of both clusters about one pair."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dpunetop.base.quoting import named, printable
from dpunetop.kube.keys import EVENTS, INFRA
from dpunetop.kube.meta import Obj
from dpunetop.kube.requests import Selection
from dpunetop.kube.shapes import at
from dpunetop.runtime.reading import NotEngaged, NotSynced, Reader

MOST_EVENTS = 10
_NOTE = 300


@dataclass(frozen=True, slots=True)
class Happened:
    """One Event."""

    at: str
    cluster: str
    """`infra` or `tenant`."""
    type: str
    reason: str
    regarding: str
    note: str

    @property
    def words(self) -> str:
        """One line."""
        return f"{self.at or 'at no known time'} {self.cluster} {self.type} {self.reason} {self.regarding}: {self.note}"


def last_events(reader: Reader, subjects: Iterable[tuple[str, str, str]]) -> tuple[Happened, ...]:
    """The newest Events about some objects, the newest first; `subjects` are cluster, kind and name of each.

    What cannot be read is left out: it was asked for to tell more, not to decide.
    """
    found = [_read(each, obj) for each in subjects for obj in _listed(reader, *each)]
    return tuple(sorted(found, key=lambda each: each.at, reverse=True)[:MOST_EVENTS])


def _listed(reader: Reader, cluster: str, kind: str, name: str) -> Iterable[Obj]:
    about = f"regarding.kind={kind},regarding.name={name}"
    try:
        return reader.list(cluster, Selection(EVENTS, "", about))
    except (NotEngaged, NotSynced):
        return ()


def _read(subject: tuple[str, str, str], event: Obj) -> Happened:
    cluster, kind, name = subject
    return Happened(
        at=_newest(event),
        cluster=INFRA if cluster == INFRA else "tenant",
        type=printable(str(event.get("type") or ""), 20),
        reason=printable(str(event.get("reason") or ""), 80),
        regarding=f"{kind}/{named(name)}",
        note=printable(str(event.get("note") or ""), _NOTE),
    )


def _newest(event: Obj) -> str:
    times = (
        at(event, "series", "lastObservedTime"),
        event.get("deprecatedLastTimestamp"),
        event.get("eventTime"),
        at(event, "metadata", "creationTimestamp"),
    )
    return printable(next((str(each) for each in times if each), ""), 40)
