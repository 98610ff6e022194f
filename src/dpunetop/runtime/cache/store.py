"""The indexed store of one collection, in two halves: one Writer, many Listers."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dpunetop.kube.meta import Obj, name_of, namespace_of, version_of
from dpunetop.runtime.cache.change import Change, NotCurrent, Synced

Indexer = Callable[[Obj], Iterable[str]]
"""Returns the index values of an object. Pure; called without a lock."""

Place = tuple[str, str]
"""Namespace and name."""


def place_of(obj: Obj) -> Place:
    """Namespace and name of an object, as interned strings."""
    return sys.intern(namespace_of(obj)), sys.intern(name_of(obj))


Share = Callable[[Obj], Obj]
"""Returns an equal object that shares parts with others, see `Interner`."""

Feed = deque[Change | Synced | NotCurrent]
"""The changes of a store since the subscription, in order; the subscriber takes from the left."""

_Places = tuple[Place, ...] | dict[Place, None]
_FEW = 4
_Index = dict[str, _Places]  # most values have one object: a tuple of its place costs a quarter of a table
_Objects = list[Obj]  # within Lister, `list` is its method


@dataclass(slots=True)
class _State:
    lock: threading.Lock = field(default_factory=threading.Lock)
    # lock guards all below; only the writer's thread changes `objects` and `indices`, so it reads them without it.
    # Invariant: `indices` holds the index values of `objects`, and no others.
    objects: dict[Place, Obj] = field(default_factory=dict)
    indices: dict[str, _Index] = field(default_factory=dict)
    filled: bool = False
    feeds: list[Feed] = field(default_factory=list)


class Store:
    """All objects of one collection, as last seen.

    Guarantees: each query sees the state before or after a change, never between; an index always agrees with the
        objects; a feed gets each announced change once, in order, after readers see it.
    Threads: `writer` one, everything else any. Objects are shared and must not be changed.
    """

    def __init__(self, indexers: Mapping[str, Indexer] | None = None, share: Share = lambda obj: obj) -> None:
        self._state = _State(indices={name: {} for name in indexers or {}})
        self.writer = Writer(self._state, dict(indexers or {}), share)
        self.lister = Lister(self._state, dict(indexers or {}))

    def __repr__(self) -> str:
        state = self._state
        with state.lock:
            return f"<Store {len(state.objects)} objects{'' if state.filled else ', not filled'}>"

    def is_filled(self) -> bool:
        """Whether a complete list was ever stored. Before that, a missing object means nothing."""
        with self._state.lock:
            return self._state.filled

    def subscribe(self) -> Feed:
        """A feed that begins with the objects that are there now."""
        state = self._state
        with state.lock:
            feed: Feed = deque(Change(None, obj) for obj in state.objects.values())
            if state.filled:
                feed.append(Synced())
            state.feeds.append(feed)
        return feed

    def unsubscribe(self, feed: Feed) -> None:
        """Add nothing more to `feed`."""
        with self._state.lock:
            self._state.feeds = [other for other in self._state.feeds if other is not feed]


class Writer:
    """The half that changes. Threads: one."""

    def __init__(self, state: _State, indexers: Mapping[str, Indexer], share: Share) -> None:
        self._state = state
        self._indexers = indexers
        self.share = share

    def __len__(self) -> int:
        return len(self._state.objects)

    def get(self, place: Place) -> Obj | None:
        """The object at that place, as last stored."""
        return self._state.objects.get(place)

    def put(self, obj: Obj) -> None:
        """Store `obj` in place of what was there; announced unless only the resourceVersion differs."""
        place = place_of(obj)
        old = self.get(place)
        renewed = _renewed(old, obj)
        new = self.share(obj) if renewed is None else renewed
        before, after = self._entries(old), self._entries(new)
        with self._state.lock:
            self._state.objects[place] = new
            self._reindex_locked(place, before, after)
            self._announce_locked(Change(old, new) if renewed is None else None)

    def drop(self, last: Obj) -> None:
        """Forget the object whose last state is `last`; nothing happens if it is not there."""
        place = place_of(last)
        old = self.get(place)
        if old is None:
            return
        before = self._entries(old)
        with self._state.lock:
            del self._state.objects[place]
            self._reindex_locked(place, before, ())
            self._announce_locked(Change(last, None))

    def replace(self, objects: Mapping[Place, Obj]) -> None:
        """Replace the whole content by `objects` (as `share` gave them), whatever their versions; the first call fills
        the store.

        Guarantees: readers see all of it or nothing; a vanished object is announced with its last known state, an
            unchanged one is not announced.
        """
        changes = list(_differences(self._state.objects, objects))
        indices = {name: self._built(indexer, objects) for name, indexer in self._indexers.items()}
        fresh = dict(objects)
        with self._state.lock:
            self._state.objects = fresh
            self._state.indices = indices
            for change in changes:
                self._announce_locked(change)
            if not self._state.filled:
                self._state.filled = True
                self._announce_locked(Synced())

    def _entries(self, obj: Obj | None) -> tuple[tuple[str, str], ...]:
        if obj is None or not self._indexers:
            return ()
        return tuple((name, value) for name, indexer in self._indexers.items() for value in indexer(obj))

    @staticmethod
    def _built(indexer: Indexer, objects: Mapping[Place, Obj]) -> _Index:
        index: _Index = {}
        for place, obj in objects.items():
            for value in indexer(obj):
                index[value] = _with(index.get(value, ()), place)
        return index

    def _reindex_locked(
        self, place: Place, before: tuple[tuple[str, str], ...], after: tuple[tuple[str, str], ...]
    ) -> None:
        if before == after:
            return
        for name, value in before:
            index = self._state.indices[name]
            if left := _without(index.get(value, ()), place):
                index[value] = left
            else:
                index.pop(value, None)
        for name, value in after:
            index = self._state.indices[name]
            index[value] = _with(index.get(value, ()), place)

    def _announce_locked(self, change: Change | Synced | None) -> None:
        if change is not None:
            for feed in self._state.feeds:
                feed.append(change)


class Lister:
    """The reading half, as a Lister of client-go.

    Guarantees: each result is one state of the store; the objects are the store's own and must not be changed.
    Threads: any.
    """

    def __init__(self, state: _State, indexers: Mapping[str, Indexer]) -> None:
        self._state = state
        self._indexers = indexers

    def get(self, namespace: str, name: str) -> Obj | None:
        """The object of that name; None if the store does not hold it."""
        with self._state.lock:
            return self._state.objects.get((namespace, name))

    def list(self, namespace: str | None = None) -> _Objects:
        """All objects, or those of one namespace, in no particular order."""
        with self._state.lock:
            items = list(self._state.objects.items())
        return [obj for (where, _), obj in items if namespace is None or where == namespace]

    def by_index(self, index: str, value: str) -> _Objects:
        """The objects with that value in `index`. Raises: KeyError if there is no such index."""
        with self._state.lock:
            objects = self._state.objects
            return [objects[place] for place in self._state.indices[index].get(value, ())]

    def places(self, obj: Obj) -> Iterator[tuple[str, str]]:
        """The index values of `obj`, whether or not it is in the store."""
        return ((name, value) for name, indexer in self._indexers.items() for value in indexer(obj))


def _with(places: _Places, place: Place) -> _Places:
    if isinstance(places, dict):
        places[place] = None
        return places
    if place in places:
        return places
    return (*places, place) if len(places) < _FEW else dict.fromkeys((*places, place))


def _without(places: _Places, place: Place) -> _Places:
    if isinstance(places, dict):
        places.pop(place, None)
        return places
    return tuple(each for each in places if each != place)


def _differences(old: Mapping[Place, Obj], new: Mapping[Place, Obj]) -> Iterator[Change]:
    for place, gone in old.items():
        if place not in new:
            yield Change(gone, None, final_state_unknown=True)
    for place, obj in new.items():
        before = old.get(place)
        if _renewed(before, obj) is None:
            yield Change(before, obj)


def has_same_content(one: Any, other: Any) -> bool:
    """Whether two values are equal; values nested too deep to compare count as different."""
    try:
        return bool(one == other)
    except RecursionError:
        return False


def _renewed(old: Obj | None, new: Obj) -> Obj | None:
    """`old` at the resourceVersion of `new` if nothing else differs, so that a heartbeat costs no memory."""
    if old is None or old is new:
        return old
    renewed = {**old, "metadata": {**old["metadata"], "resourceVersion": version_of(new)}}
    return renewed if has_same_content(renewed, new) else None
