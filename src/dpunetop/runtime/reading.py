"""What reconcilers read through: caches only, and never one that is not filled.

A pass says what it reads by reading it; whatever it read wakes its key when it changes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from dpunetop.kube.errors import ApiError, Forbidden
from dpunetop.kube.keys import CUSTOMRESOURCEDEFINITIONS, Key, Resource, crd_name
from dpunetop.kube.meta import Obj, name_of, namespace_of
from dpunetop.kube.requests import Selection, one
from dpunetop.runtime.cache.change import Change
from dpunetop.runtime.cache.informer import Broken
from dpunetop.runtime.cache.store import Lister
from dpunetop.runtime.cluster import Cluster, Clusters, Hold

Want = tuple[str, Selection]
"""A selection of a cluster, by the cluster's name."""
Part = tuple[str, ...]
"""What was asked of a selection: one object, what is under one value of an index, or (empty) all of it."""
Ask = tuple[str, Selection, Part]
_Asks = tuple[tuple[Want, ...], tuple[Part, ...]]
"""What a key asks for: the wants, and of each of them the part; both are of one length."""
_NO_ASKS: _Asks = ((), ())
_ALL: Part = ()
_Keys = tuple[Key, ...] | set[Key]
_FEW = 4


class NotSynced(Exception):
    """The cache of `selection` in `cluster` is not filled yet, so it says nothing; the key is enqueued when it is.

    `error` is what the server says to reading it, if that is the cause; the key is enqueued when the reason changes.
    """

    def __init__(self, cluster: str, selection: Selection, error: ApiError | None = None) -> None:
        super().__init__(cluster, selection, error)
        self.cluster = cluster
        self.selection = selection
        self.error = error

    def __str__(self) -> str:
        return f"{self.selection} of {self.cluster} is not synced yet" + (f": {self.error}" if self.error else "")


@dataclass(frozen=True, slots=True)
class Unwatched:
    """A cache that was filled once and stands still since, because the server forbids to watch what is in it, or its
    informer met a bug."""

    cluster: str
    selection: Selection
    error: Forbidden | Broken


class NotEngaged(Exception):
    """There is no such cluster now; the key is enqueued when it comes."""

    def __init__(self, cluster: str) -> None:
        super().__init__(cluster)
        self.cluster = cluster

    def __str__(self) -> str:
        return f"cluster {self.cluster} is not engaged"


@dataclass(frozen=True, slots=True)
class Waker:
    """Enqueues one key of one controller. Two that enqueue the same are equal."""

    enqueue: Callable[[Key], None]
    key: Key

    def __call__(self) -> None:
        self.enqueue(self.key)


class Readings:
    """Who reads what: keeps the informers that are asked for running, and enqueues the keys whose view changed.

    Guarantees: a key that was refused with NotSynced or NotEngaged is enqueued when that ends; a key is enqueued for
        each announced change of a selection that it read in its last pass, when that can no longer be watched or can
        again, and when a cluster that it read comes, goes or changes its health. It may be enqueued without need, never
        missed.
    Threads: any; one pass of a key at a time. `enqueue` and `debounce` are called without a lock held.
    """

    def __init__(
        self,
        clusters: Clusters,
        enqueue: Callable[[Key], None],
        debounce: Callable[[Key], None] | None = None,
        on_forgotten: Callable[[Key], None] = lambda _: None,
    ) -> None:
        """`debounce` enqueues a key that has read all of a selection, of which something has changed, and maybe is
        still changing; None: at once, as any other. `on_forgotten` is told of a key that is gone."""
        self._clusters = clusters
        self._enqueue = enqueue
        self._enqueue_debounced = debounce or enqueue
        self._on_forgotten = on_forgotten
        # guards all below; an ask is in _keys as long as a key has it in _asks. Thousands of keys have some asks each,
        # mostly of parts that no other key asks for: so both hold the same objects, in tuples where there are few.
        self._guard = threading.Lock()
        self._asks: dict[Key, _Asks] = {}
        self._keys: dict[Want, dict[Part, _Keys]] = {}
        self._followed: dict[Want, _Followed] = {}
        clusters.on_change(self._cluster_changed)

    @contextmanager
    def reading(self, key: Key) -> Iterator[Reader]:
        """One pass of `key`. On a clean exit, what earlier passes read and this one did not is released."""
        reader = Reader(self, key)
        yield reader
        self._drop_unasked(key, reader.asked)

    def waker(self, key: Key) -> Waker:
        """What enqueues `key` for a cause that no cache shows."""
        return Waker(self._enqueue, key)

    def forget(self, key: Key) -> None:
        """Release all that was read for `key`; it is gone."""
        self._on_forgotten(key)
        self._drop_unasked(key, set())

    def interested(self, cluster: str) -> set[Key]:
        """The keys that read something of that cluster."""
        with self._guard:
            parts = [parts for (name, _), parts in self._keys.items() if name == cluster]
            return {key for keys in parts for each in keys.values() for key in each}

    def lister(self, key: Key, want: Want, part: Part = _ALL) -> Lister:
        """The cache behind `want`, in that part of which `key` is interested from now on.

        Raises: NotEngaged, NotSynced.
        """
        name, selection = want
        with self._guard:  # before looking, so that what happens meanwhile wakes the key
            self._ask_locked(key, want, part)
        cluster = self._clusters.get(name)
        if cluster is None:
            raise NotEngaged(name)
        hold = self._follow(want, cluster).hold
        assert hold is not None
        if not hold.has_synced():
            raise NotSynced(name, selection, hold.trouble)
        return hold.lister

    def peek(self, want: Want) -> Lister:
        """The cache behind `want`, which a key of ours reads already, without any interest in its changes.

        Raises: NotEngaged, NotSynced.
        """
        with self._guard:
            followed = self._followed.get(want)
        if followed is None or followed.hold is None:
            raise NotEngaged(want[0])
        if not followed.hold.has_synced():
            raise NotSynced(*want, followed.hold.trouble)
        return followed.hold.lister

    def _ask_locked(self, key: Key, want: Want, part: Part) -> None:
        asks = self._asks.get(key, _NO_ASKS)
        if any(ask == (want, part) for ask in zip(*asks, strict=True)):
            return
        self._asks[key] = _all((*asks[0], _one(want))), (*asks[1], part)
        parts = self._keys.setdefault(want, {})
        parts[part] = _with(parts.get(part, ()), key)

    def refusals(self, wants: set[Want]) -> list[Unwatched]:
        """Those of `wants` whose caches stand still, because the server forbids to watch them, or of a bug."""
        with self._guard:
            followed = [(want, self._followed[want]) for want in wants if want in self._followed]
        troubles = [(want, each.hold.trouble) for want, each in followed if each.hold is not None]
        return [Unwatched(*want, error) for want, error in troubles if isinstance(error, Forbidden | Broken)]

    def _follow(self, want: Want, cluster: Cluster) -> _Followed:
        with self._guard:
            known = self._followed.get(want)
            if known is not None and known.cluster is cluster:
                return known
        mine = _Followed(cluster, lambda change, lister: self._wake(want, change, lister))
        mine.begin(want[1])
        with self._guard:
            known = self._followed.get(want)
            is_late = known is not None and known.cluster is cluster  # another pass was faster
            if not is_late:
                self._followed[want] = mine
        if known is None:
            return mine
        used, unneeded = (known, mine) if is_late else (mine, known)
        unneeded.end()
        return used

    def _drop_unasked(self, key: Key, asked: set[Ask]) -> None:
        with self._guard:
            wants, parts = self._asks.get(key, _NO_ASKS)
            asks = [(*want, part) for want, part in zip(wants, parts, strict=True)]
            gone = [ask for ask in asks if ask not in asked]
            found = [self._without_locked(key, ask) for ask in gone]
            if gone:
                self._keep_locked(key, [ask for ask in asks if ask in asked])
        for followed in found:
            if followed is not None:
                followed.end()

    def _keep_locked(self, key: Key, asks: list[Ask]) -> None:
        if not asks:
            del self._asks[key]
            return
        wants = tuple(_one((cluster, selection)) for cluster, selection, _ in asks)
        self._asks[key] = _all(wants), tuple(part for *_, part in asks)

    def _without_locked(self, key: Key, ask: Ask) -> _Followed | None:
        """Take `ask` from `key`; an informer without asks is returned, to be ended without the lock."""
        cluster, selection, part = ask
        parts = self._keys[cluster, selection]
        if left := _without(parts[part], key):
            parts[part] = left
            return None
        del parts[part]
        if parts:
            return None
        del self._keys[cluster, selection]
        return self._followed.pop((cluster, selection), None)

    def _wake(self, want: Want, change: Change | None, lister: Lister | None) -> None:
        """Enqueue whom a change concerns; without one, all who read there."""
        hit = None if change is None or lister is None else _parts(change, lister)
        with self._guard:
            parts = self._keys.get(want, {})
            found = list(parts.values()) if hit is None else [parts[part] for part in hit if part in parts]
            keys = {key for each in found for key in each}
            debounced = set() if hit is None else set(parts.get(_ALL, ()))
        for key in keys - debounced:
            self._enqueue(key)
        for key in debounced:
            self._enqueue_debounced(key)

    def _cluster_changed(self, name: str) -> None:
        cluster = self._clusters.get(name)
        with self._guard:
            gone = [w for w, followed in self._followed.items() if w[0] == name and followed.cluster is not cluster]
            ended = [self._followed.pop(want) for want in gone]
        for followed in ended:
            followed.end()
        for key in self.interested(name):
            self._enqueue(key)


class Listers(Protocol):
    """Where a Reader gets its caches from."""

    def lister(self, key: Key, want: Want, part: Part) -> Lister:
        """See `Readings.lister`."""

    def peek(self, want: Want) -> Lister:
        """See `Readings.peek`."""

    def refusals(self, wants: set[Want]) -> list[Unwatched]:
        """See `Readings.refusals`."""

    def waker(self, key: Key) -> Waker:
        """See `Readings.waker`."""


def begin(*reads: Callable[[], object]) -> None:
    """Begin all of these reads, so that caches that are not filled yet are filled at the same time, not one after the
    other. What comes of them is for whoever reads again.

    Raises: nothing of NotSynced and NotEngaged, which wake the key all the same.
    """
    for read in reads:
        with suppress(NotSynced, NotEngaged):
            read()


class Reader:
    """The caches as one pass sees them.

    Guarantees: each answer is one state of one cache; two answers may be of different moments. The objects are shared
        and must not be changed.
    Raises: NotEngaged, NotSynced, each method.
    """

    def __init__(self, readings: Listers, key: Key) -> None:
        self._readings = readings
        self._key = key
        self.asked: set[Ask] = set()
        self.waker = readings.waker(key)

    def get(self, cluster: str, selection: Selection, namespace: str, name: str) -> Obj | None:
        """The object of that name within the selection; None means that it does not exist there."""
        return self._lister(cluster, selection, ("", namespace, name)).get(namespace, name)

    def one(self, cluster: str, resource: Resource, namespace: str, name: str) -> Obj | None:
        """The object of that name, watched alone: all that rights by name allow. None means that it does not exist."""
        return self.get(cluster, one(resource, namespace, name), namespace, name)

    def serves(self, cluster: str, resource: Resource) -> bool:
        """Whether the cluster has the CustomResourceDefinition of `resource`, of whatever versions. Ask before a list:
        a list of what is not served fails, again and again."""
        return self.one(cluster, CUSTOMRESOURCEDEFINITIONS, "", crd_name(resource)) is not None

    def list(self, cluster: str, selection: Selection) -> _Objects:
        """All objects of the selection, in no particular order."""
        return self._lister(cluster, selection).list()

    def by_index(self, cluster: str, selection: Selection, index: str, value: str) -> _Objects:
        """The objects that the cluster's indexer `index` puts under `value`."""
        return self._lister(cluster, selection, (index, value)).by_index(index, value)

    def unwoken(self, cluster: str, selection: Selection) -> Lister:
        """The cache of a selection of which this pass has read something. A change of what is read there wakes
        no key: another reader must do that."""
        return self._readings.peek((cluster, selection))

    def refusal(self) -> Unwatched | None:
        """The first of what this pass has read that does not show what is there now, if any."""
        found = self._readings.refusals({(cluster, selection) for cluster, selection, _ in self.asked})
        return min(found, key=lambda each: (each.cluster, str(each.selection)), default=None)

    def _lister(self, cluster: str, selection: Selection, part: Part = _ALL) -> Lister:
        self.asked.add((cluster, selection, part))
        return self._readings.lister(self._key, (cluster, selection), part)


_Objects = list[Obj]  # within Reader, `list` is its method


@lru_cache(1024)
def _one(want: Want) -> Want:
    """The same for all who ask; each of them makes its own."""
    return want


@lru_cache(1024)
def _all(wants: tuple[Want, ...]) -> tuple[Want, ...]:
    """The same for all keys that ask the same caches, each for parts of its own."""
    return wants


@lru_cache(1024)
def _alone(key: Key) -> tuple[Key, ...]:
    """The same for all parts that it reads alone, most of which it asks for in one pass."""
    return (key,)


def _with(keys: _Keys, key: Key) -> _Keys:
    if isinstance(keys, set):
        keys.add(key)
        return keys
    if not keys:
        return _alone(key)
    return (*keys, key) if len(keys) < _FEW else {*keys, key}


def _without(keys: _Keys, key: Key) -> _Keys:
    if isinstance(keys, set):
        keys.discard(key)
        return keys
    return tuple(each for each in keys if each != key)


def _parts(change: Change, lister: Lister) -> set[Part]:
    """Whatever may have been asked in part of a selection and is answered otherwise after the change."""
    found: set[Part] = set()
    for obj in (change.old, change.new):
        if obj is not None:
            found.add(("", namespace_of(obj), name_of(obj)))
            found.update(lister.places(obj))
    return found


class _Followed:
    """One hold of a want, and what of its changes is worth a wake.

    The content of the first list is not: no key could read before it was complete; waiting keys are woken then.
    Nor is what comes while the hold is being taken: its key reads afterwards.
    """

    def __init__(self, cluster: Cluster, wake: Callable[[Change | None, Lister | None], None]) -> None:
        self.cluster = cluster
        self.hold: Hold | None = None  # set once, by begin, before others see this object
        self._wake = wake
        self._guard = threading.Lock()  # guards the three below
        self._is_synced = False
        self._is_live = False
        self._is_refused = False

    def begin(self, selection: Selection) -> None:
        self.hold = self.cluster.hold(selection, self._changed, self._synced, self._troubled)
        with self._guard:
            self._is_live = True

    def end(self) -> None:
        if self.hold is not None:
            self.hold.release()

    def _synced(self) -> None:
        with self._guard:
            self._is_synced = True
            is_live = self._is_live
        if is_live:
            self._wake(None, None)

    def _troubled(self) -> None:
        refused = self.hold is not None and isinstance(self.hold.trouble, Forbidden | Broken)
        with self._guard:
            # A cut connection heals by itself, and says nothing that the health of the cluster does not say.
            counts = self._is_live and (not self._is_synced or refused or self._is_refused)
            self._is_refused = refused
        if counts:
            self._wake(None, None)

    def _changed(self, change: Change) -> None:
        with self._guard:
            counts = self._is_synced and self._is_live
        if counts:
            self._wake(change, None if self.hold is None else self.hold.lister)
