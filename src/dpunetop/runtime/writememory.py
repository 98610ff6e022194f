"""The assume cache: results of our own writes that the caches may not show yet. No decision uses state older than our
own write, and a write that the server accepts without keeping its values is not repeated.

Compare ControllerExpectations of kube-controller-manager and the assume cache of kube-scheduler.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, TypeVar

from dpunetop.base import jsonio
from dpunetop.base.clock import Clock
from dpunetop.kube.fieldsets import is_shadowed, projection_digest, would_change
from dpunetop.kube.keys import Resource
from dpunetop.kube.meta import Obj, name_of, namespace_of, uid_of, version_of
from dpunetop.kube.plan import Apply, ApplyStatus, Delete, Ownership, Patch

TRUST_SECONDS = 30.0
"""The response to our own write counts as newer than the cache for this time."""
SETTLED_SECONDS = 1800.0
"""A write whose values the server did not keep is not repeated for this time; by then a webhook may be gone."""
_REMEMBERED = 8192
Kept = Callable[[str, Resource, dict[str, Any]], Obj]
"""Arguments: cluster, resource, object. Returns a copy as the cache of that resource keeps it."""
_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


@dataclass(frozen=True, slots=True)
class ObjectPlace:
    """Cluster, resource, namespace and name of an object, whatever its uid."""

    cluster: str
    resource: Resource
    namespace: str
    name: str

    @classmethod
    def of(cls, step: Apply | ApplyStatus | Patch | Delete, obj: Obj) -> ObjectPlace:
        """The place of `obj`, the object of the step."""
        return cls(step.cluster, step.resource, namespace_of(obj), name_of(obj))

    def shown(self) -> dict[str, str]:
        """Fields for a log line, which already carries the key of the reconcile."""
        path = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return {"target": self.cluster, "resource": str(self.resource), "object": path}


@dataclass(frozen=True, slots=True)
class ManagedWrite:
    """The desired fields of one field manager in an object or a subresource."""

    place: ObjectPlace
    field_manager: str
    subresource: str
    desired: Obj
    is_whole: bool = False

    @classmethod
    def of(cls, place: ObjectPlace, step: Apply) -> ManagedWrite:
        """The write of an Apply to the object there."""
        return cls(place, step.field_manager, "", step.desired, step.ownership is Ownership.WHOLE)

    def would_change(self, live: Obj) -> bool:
        """Whether sending it would change `live` or the owners of its fields."""
        who = self.field_manager, self.subresource
        return would_change(self.desired, live, *who) or is_shadowed(self.desired, live, *who, self.is_whole)

    @property
    def slot(self) -> tuple[ObjectPlace, str, str]:
        """Identifies the object, manager and subresource: a later write of the same slot replaces this one."""
        return self.place, self.field_manager, self.subresource

    def digests(self, live: Obj) -> tuple[str, str]:
        """The digests of the desired fields, and of the same fields in `live`."""
        return jsonio.digest(self.desired), projection_digest(live, self.field_manager, self.subresource)


@dataclass(frozen=True, slots=True)
class _Written:
    answer: Obj
    until: float


@dataclass(frozen=True, slots=True)
class _Confirmed:
    digests: tuple[str, str]
    until: float


class WriteMemory:
    """Results of our own writes that caches may not show yet. Threads: any; never holds its lock over I/O."""

    def __init__(self, clock: Clock, kept: Kept) -> None:
        self._clock = clock
        self._kept = kept
        self._guard = threading.Lock()  # guards all below; each holds the most recent few thousand
        self._written: dict[ObjectPlace, _Written] = {}
        self._deleted: dict[ObjectPlace, str] = {}  # uid
        self._confirmed: dict[tuple[ObjectPlace, str, str], _Confirmed] = {}

    def newer_than(self, place: ObjectPlace, seen: Obj | None) -> Obj | None:
        """The newest state after our last write, if `seen` is an older state of the same object, or nothing yet."""
        with self._guard:
            self._drop_expired_locked()
            written = self._written.get(place)
            if written is None:
                return None
            if seen is not None and not _is_behind(seen, written.answer):
                # Kept although this view has caught up, since another view may be older; kept as the cache's own
                # object, which costs no memory.
                self._written[place] = _Written(seen, written.until)
                return None
        return written.answer if seen is None or uid_of(seen) == uid_of(written.answer) else None

    def wrote(self, place: ObjectPlace, answer: dict[str, Any]) -> None:
        """`answer` is the server's response to our write."""
        kept = self._kept(place.cluster, place.resource, answer)
        with self._guard:
            known = self._written.get(place)
            if known is None or _is_behind(known.answer, kept):
                _put(self._written, place, _Written(kept, self._clock.monotonic() + TRUST_SECONDS))
            self._drop_expired_locked()

    def _drop_expired_locked(self) -> None:
        now = self._clock.monotonic()
        expired = takewhile(lambda each: each[1].until <= now, self._written.items())  # the oldest come first
        for place in [place for place, _ in expired]:
            del self._written[place]

    def gone(self, place: ObjectPlace) -> None:
        """The object does not exist."""
        with self._guard:
            self._written.pop(place, None)

    def deleted(self, place: ObjectPlace, uid: str) -> None:
        """The object of that uid is deleted or terminating."""
        with self._guard:
            self._written.pop(place, None)
            _put(self._deleted, place, uid)

    def is_deleted(self, place: ObjectPlace, uid: str) -> bool:
        """Whether we deleted the object of that uid; a uid never returns."""
        with self._guard:
            return self._deleted.get(place) == uid

    def confirm(self, write: ManagedWrite, answer: Obj) -> None:
        """Remember a write whose values the server did not keep."""
        digests = write.digests(answer) if write.would_change(answer) else None
        with self._guard:
            self._confirmed.pop(write.slot, None)
            if digests is not None:
                _put(self._confirmed, write.slot, _Confirmed(digests, self._clock.monotonic() + SETTLED_SECONDS))

    def is_confirmed(self, write: ManagedWrite, live: Obj) -> bool:
        """Whether `write` was sent before, and our fields in `live` are still as that write left them."""
        with self._guard:
            known = self._confirmed.get(write.slot)
            now = self._clock.monotonic()
        return known is not None and now < known.until and known.digests == write.digests(live)

    def forget(self, cluster: str) -> None:
        """Drop everything about the cluster."""
        with self._guard:
            for place in [place for place in self._written if place.cluster == cluster]:
                del self._written[place]
            for place in [place for place in self._deleted if place.cluster == cluster]:
                del self._deleted[place]
            for slot in [slot for slot in self._confirmed if slot[0].cluster == cluster]:
                del self._confirmed[slot]


def _put(entries: dict[_K, _V], key: _K, value: _V) -> None:
    entries.pop(key, None)  # so that it becomes the last
    entries[key] = value
    while len(entries) > _REMEMBERED:
        del entries[next(iter(entries))]


def _is_behind(seen: Obj | None, answer: Obj) -> bool:
    # Versions of one resource come from one counter, also across objects that follow each other under one name.
    if seen is None:
        return True
    old, new = version_of(seen), version_of(answer)
    return old.isdecimal() and new.isdecimal() and int(old) < int(new)
