"""Dynamic watches: reconcilers read from synced caches only, and a key is enqueued when what it read changes.

A reconcile registers its watches by reading; nothing else declares them.
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
from dpunetop.runtime.cluster import Cluster, InformerHandle
from dpunetop.runtime.clusters import Clusters

WatchTarget = tuple[str, Selection]
"""What one informer lists and watches: a selection of a cluster, by the cluster's name."""
ReadScope = tuple[str, ...]
"""What was read of a target: one object, one value of an index, or (empty) all of it."""
Dependency = tuple[str, Selection, ReadScope]
"""One target that a key has read, and the scope."""
_Dependencies = tuple[tuple[WatchTarget, ...], tuple[ReadScope, ...]]
"""All that a key has read: the targets and the scope of each; both of equal length."""
_NO_DEPENDENCIES: _Dependencies = ((), ())
_ALL: ReadScope = ()
_Keys = tuple[Key, ...] | set[Key]
_FEW = 4


class NotSynced(Exception):
    """The cache of `selection` in `cluster` has not synced; the key is enqueued when it has.

    `error` is why the server refuses to list it, if that is the cause; the key is enqueued when the reason changes.
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
    """A cache that has synced once and is stale since, because the server forbids the watch or its informer failed on
    a bug."""

    cluster: str
    selection: Selection
    error: Forbidden | Broken


class NotEngaged(Exception):
    """The cluster is not engaged; the key is enqueued when it is."""

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


class DynamicWatches:
    """Tracks which key reads what: runs the informers that are read, and enqueues the keys whose view has changed.

    Guarantees: a key that got NotSynced or NotEngaged is enqueued when that ends. A key is enqueued for each announced
        change of what it read in its last reconcile, when that can no longer be watched or can be again, and when a
        cluster that it read is engaged, disengaged or changes its health. Spurious wake-ups occur, missed ones do not.
    Threads: any; one reconcile of a key at a time. `enqueue` and `debounce` are called without a lock held.
    """

    def __init__(
        self,
        clusters: Clusters,
        enqueue: Callable[[Key], None],
        debounce: Callable[[Key], None] | None = None,
        on_forgotten: Callable[[Key], None] = lambda _: None,
    ) -> None:
        """`debounce` enqueues a key that has read all of a selection, of which more objects may be changing; None: at
        once, as any other key. `on_forgotten` is called with a key that is gone."""
        self._clusters = clusters
        self._enqueue = enqueue
        self._enqueue_debounced = debounce or enqueue
        self._on_forgotten = on_forgotten
        # Guards all below. A dependency is in _keys as long as a key has it in _dependencies. Thousands of keys have a
        # few each, mostly of scopes that no other key reads, so both share the same objects, in tuples where few.
        self._guard = threading.Lock()
        self._dependencies: dict[Key, _Dependencies] = {}
        self._keys: dict[WatchTarget, dict[ReadScope, _Keys]] = {}
        self._followed: dict[WatchTarget, _Followed] = {}
        clusters.on_change(self._cluster_changed)

    @contextmanager
    def reading(self, key: Key) -> Iterator[Reader]:
        """One reconcile of `key`. On a clean exit, what earlier reconciles read and this one did not is released."""
        reader = Reader(self, key)
        yield reader
        self._drop_others(key, reader.dependencies)

    def waker(self, key: Key) -> Waker:
        """A callback that enqueues `key` for a change that no cache shows."""
        return Waker(self._enqueue, key)

    def forget(self, key: Key) -> None:
        """`key` is gone: release all that it read."""
        self._on_forgotten(key)
        self._drop_others(key, set())

    def interested(self, cluster: str) -> set[Key]:
        """The keys that read from that cluster."""
        with self._guard:
            scopes = [scopes for (name, _), scopes in self._keys.items() if name == cluster]
            return {key for keys in scopes for each in keys.values() for key in each}

    def lister(self, key: Key, target: WatchTarget, scope: ReadScope = _ALL) -> Lister:
        """The cache of `target`; from now on, a change of that scope enqueues `key`.

        Raises: NotEngaged, NotSynced.
        """
        name, selection = target
        with self._guard:  # before the read, so that a change after it enqueues the key
            self._depend_locked(key, target, scope)
        cluster = self._clusters.get(name)
        if cluster is None:
            raise NotEngaged(name)
        handle = self._follow(target, cluster).handle
        assert handle is not None
        if not handle.has_synced():
            raise NotSynced(name, selection, handle.trouble)
        return handle.lister

    def peek(self, target: WatchTarget) -> Lister:
        """The cache of `target`, which one of our keys reads already; its changes enqueue no key for this read.

        Raises: NotEngaged, NotSynced.
        """
        with self._guard:
            followed = self._followed.get(target)
        if followed is None or followed.handle is None:
            raise NotEngaged(target[0])
        if not followed.handle.has_synced():
            raise NotSynced(*target, followed.handle.trouble)
        return followed.handle.lister

    def _depend_locked(self, key: Key, target: WatchTarget, scope: ReadScope) -> None:
        dependencies = self._dependencies.get(key, _NO_DEPENDENCIES)
        if any(each == (target, scope) for each in zip(*dependencies, strict=True)):
            return
        self._dependencies[key] = _all((*dependencies[0], _one(target))), (*dependencies[1], scope)
        scopes = self._keys.setdefault(target, {})
        scopes[scope] = _with(scopes.get(scope, ()), key)

    def refusals(self, targets: set[WatchTarget]) -> list[Unwatched]:
        """Those of `targets` whose caches are stale, because the server forbids the watch or of a bug."""
        with self._guard:
            followed = [(target, self._followed[target]) for target in targets if target in self._followed]
        troubles = [(target, each.handle.trouble) for target, each in followed if each.handle is not None]
        return [Unwatched(*target, error) for target, error in troubles if isinstance(error, Forbidden | Broken)]

    def _follow(self, target: WatchTarget, cluster: Cluster) -> _Followed:
        with self._guard:
            known = self._followed.get(target)
            if known is not None and known.cluster is cluster:
                return known
        mine = _Followed(cluster, lambda change, lister: self._wake(target, change, lister))
        mine.begin(target[1])
        with self._guard:
            known = self._followed.get(target)
            is_late = known is not None and known.cluster is cluster  # another pass was faster
            if not is_late:
                self._followed[target] = mine
        if known is None:
            return mine
        used, unneeded = (known, mine) if is_late else (mine, known)
        unneeded.end()
        return used

    def _drop_others(self, key: Key, kept: set[Dependency]) -> None:
        with self._guard:
            targets, scopes = self._dependencies.get(key, _NO_DEPENDENCIES)
            dependencies = [(*target, scope) for target, scope in zip(targets, scopes, strict=True)]
            gone = [each for each in dependencies if each not in kept]
            found = [self._without_locked(key, each) for each in gone]
            if gone:
                self._keep_locked(key, [each for each in dependencies if each in kept])
        for followed in found:
            if followed is not None:
                followed.end()

    def _keep_locked(self, key: Key, dependencies: list[Dependency]) -> None:
        if not dependencies:
            del self._dependencies[key]
            return
        targets = tuple(_one((cluster, selection)) for cluster, selection, _ in dependencies)
        self._dependencies[key] = _all(targets), tuple(scope for *_, scope in dependencies)

    def _without_locked(self, key: Key, dependency: Dependency) -> _Followed | None:
        """Remove `dependency` from `key`; returns the informer if no key needs it, to be ended without the lock."""
        cluster, selection, scope = dependency
        scopes = self._keys[cluster, selection]
        if left := _without(scopes[scope], key):
            scopes[scope] = left
            return None
        del scopes[scope]
        if scopes:
            return None
        del self._keys[cluster, selection]
        return self._followed.pop((cluster, selection), None)

    def _wake(self, target: WatchTarget, change: Change | None, lister: Lister | None) -> None:
        """Enqueue the keys that a change concerns; without a change, all readers of the target."""
        hit = None if change is None or lister is None else _scopes(change, lister)
        with self._guard:
            scopes = self._keys.get(target, {})
            found = list(scopes.values()) if hit is None else [scopes[scope] for scope in hit if scope in scopes]
            keys = {key for each in found for key in each}
            debounced = set() if hit is None else set(scopes.get(_ALL, ()))
        for key in keys - debounced:
            self._enqueue(key)
        for key in debounced:
            self._enqueue_debounced(key)

    def _cluster_changed(self, name: str) -> None:
        cluster = self._clusters.get(name)
        with self._guard:
            gone = [w for w, followed in self._followed.items() if w[0] == name and followed.cluster is not cluster]
            ended = [self._followed.pop(target) for target in gone]
        for followed in ended:
            followed.end()
        for key in self.interested(name):
            self._enqueue(key)


class Listers(Protocol):
    """The source of a Reader's caches."""

    def lister(self, key: Key, target: WatchTarget, scope: ReadScope) -> Lister:
        """See `DynamicWatches.lister`."""

    def peek(self, target: WatchTarget) -> Lister:
        """See `DynamicWatches.peek`."""

    def refusals(self, targets: set[WatchTarget]) -> list[Unwatched]:
        """See `DynamicWatches.refusals`."""

    def waker(self, key: Key) -> Waker:
        """See `DynamicWatches.waker`."""


def begin(*reads: Callable[[], object]) -> None:
    """Begin all of these reads, so that their caches sync at the same time, not one after the other. The results are
    discarded; read again for them.

    Raises: neither NotSynced nor NotEngaged; both enqueue the key all the same.
    """
    for read in reads:
        with suppress(NotSynced, NotEngaged):
            read()


class Reader:
    """The caches as one reconcile reads them.

    Guarantees: each result is one state of one cache; two results may be of different moments. The objects are shared
        and must not be changed.
    Raises: NotEngaged, NotSynced, from each method.
    """

    def __init__(self, watches: Listers, key: Key) -> None:
        self._watches = watches
        self._key = key
        self.dependencies: set[Dependency] = set()
        self.waker = watches.waker(key)

    def get(self, cluster: str, selection: Selection, namespace: str, name: str) -> Obj | None:
        """The object of that name within the selection; None means that it does not exist there."""
        return self._lister(cluster, selection, ("", namespace, name)).get(namespace, name)

    def one(self, cluster: str, resource: Resource, namespace: str, name: str) -> Obj | None:
        """The object of that name, watched alone, as RBAC rules with resourceNames need. None: it does not exist."""
        return self.get(cluster, one(resource, namespace, name), namespace, name)

    def serves(self, cluster: str, resource: Resource) -> bool:
        """Whether the cluster has the CustomResourceDefinition of `resource`, in any version. Ask before a list, since
        a list of a resource that is not served keeps failing."""
        return self.one(cluster, CUSTOMRESOURCEDEFINITIONS, "", crd_name(resource)) is not None

    def list(self, cluster: str, selection: Selection) -> _Objects:
        """All objects of the selection, in no particular order."""
        return self._lister(cluster, selection).list()

    def by_index(self, cluster: str, selection: Selection, index: str, value: str) -> _Objects:
        """The objects with that value in the cluster's index `index`."""
        return self._lister(cluster, selection, (index, value)).by_index(index, value)

    def unwoken(self, cluster: str, selection: Selection) -> Lister:
        """The cache of a selection that this reconcile has read from. Reads through it enqueue no key on a change, so
        another read must."""
        return self._watches.peek((cluster, selection))

    def refusal(self) -> Unwatched | None:
        """The first stale cache that this reconcile has read, if any."""
        found = self._watches.refusals({(cluster, selection) for cluster, selection, _ in self.dependencies})
        return min(found, key=lambda each: (each.cluster, str(each.selection)), default=None)

    def _lister(self, cluster: str, selection: Selection, scope: ReadScope = _ALL) -> Lister:
        self.dependencies.add((cluster, selection, scope))
        return self._watches.lister(self._key, (cluster, selection), scope)


_Objects = list[Obj]  # within Reader, `list` is its method


@lru_cache(1024)
def _one(target: WatchTarget) -> WatchTarget:
    """Intern a target, of which each reader creates its own."""
    return target


@lru_cache(1024)
def _all(targets: tuple[WatchTarget, ...]) -> tuple[WatchTarget, ...]:
    """Intern the targets of a key, which many keys share with other scopes."""
    return targets


@lru_cache(64)
def _alone(key: Key) -> tuple[Key, ...]:
    """Intern the tuple of one key, shared by all scopes that only this key reads. Most are read in one reconcile, so
    only the running ones are remembered."""
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


def _scopes(change: Change, lister: Lister) -> set[ReadScope]:
    """The scopes of a selection whose content the change affects."""
    found: set[ReadScope] = set()
    for obj in (change.old, change.new):
        if obj is not None:
            found.add(("", namespace_of(obj), name_of(obj)))
            found.update(lister.places(obj))
    return found


class _Followed:
    """One shared informer in use; decides which of its changes enqueue keys.

    The objects of the first list do not: no key could read before it was complete, and waiting keys are enqueued then.
    Nor do changes while the handlers are being added, since the key reads afterwards.
    """

    def __init__(self, cluster: Cluster, wake: Callable[[Change | None, Lister | None], None]) -> None:
        self.cluster = cluster
        self.handle: InformerHandle | None = None  # set once, by begin, before others see this object
        self._wake = wake
        self._guard = threading.Lock()  # guards the three below
        self._is_synced = False
        self._is_live = False
        self._is_refused = False

    def begin(self, selection: Selection) -> None:
        self.handle = self.cluster.share_informer(selection, self._changed, self._synced, self._troubled)
        with self._guard:
            self._is_live = True

    def end(self) -> None:
        if self.handle is not None:
            self.handle.release()

    def _synced(self) -> None:
        with self._guard:
            self._is_synced = True
            is_live = self._is_live
        if is_live:
            self._wake(None, None)

    def _troubled(self) -> None:
        refused = self.handle is not None and isinstance(self.handle.trouble, Forbidden | Broken)
        with self._guard:
            # A reset connection recovers by itself, and the health of the cluster shows a lasting one.
            counts = self._is_live and (not self._is_synced or refused or self._is_refused)
            self._is_refused = refused
        if counts:
            self._wake(None, None)

    def _changed(self, change: Change) -> None:
        with self._guard:
            counts = self._is_synced and self._is_live
        if counts:
            self._wake(change, None if self.handle is None else self.handle.lister)
