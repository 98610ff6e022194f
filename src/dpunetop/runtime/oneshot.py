"""The reader of a process that runs once: each collection is listed when it is first read, and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from dpunetop.kube.errors import ApiError
from dpunetop.kube.keys import Key, Resource
from dpunetop.kube.meta import Obj, name_of, namespace_of
from dpunetop.kube.requests import Selection
from dpunetop.runtime.cache.store import Indexer, Lister, Store
from dpunetop.runtime.reading import NotSynced, Reader, ReadScope, Unwatched, Waker, WatchTarget

List = Callable[[str, Selection], Iterable[Obj]]
"""All objects of a selection in a cluster. Raises: NotEngaged, ApiError."""

_NOBODY = Key("", "", "")


class OneShotListers:
    """The `Listers` of a process that runs once: no watch, no informer.

    Guarantees: every selection is listed at most once. A failed list is not retried and counts as a cache that has not
        synced, with the error, so that no object is taken for absent.
    Threads: one.
    """

    def __init__(self, lists: List, indexers: Mapping[Resource, Mapping[str, Indexer]]) -> None:
        self._lists = lists
        self._indexers = indexers
        self._found: dict[WatchTarget, Lister | ApiError] = {}

    def reader(self) -> Reader:
        """The reader of a gatherer."""
        return Reader(self, _NOBODY)

    def lister(self, key: Key, target: WatchTarget, scope: ReadScope = ()) -> Lister:
        """See `DynamicWatches.lister`; the whole selection is listed for any scope."""
        found = self._found.get(target)
        if found is None:
            found = self._found[target] = self._listed(target)
        if isinstance(found, ApiError):
            raise NotSynced(*target, found)
        return found

    def peek(self, target: WatchTarget) -> Lister:
        """See `DynamicWatches.peek`."""
        return self.lister(_NOBODY, target)

    def refusals(self, targets: set[WatchTarget]) -> list[Unwatched]:
        """See `DynamicWatches.refusals`: there are no caches, so none is stale."""
        return []

    def waker(self, key: Key) -> Waker:
        """See `DynamicWatches.waker`: there is nothing to enqueue."""
        return Waker(lambda _: None, key)

    def failures(self) -> dict[WatchTarget, ApiError]:
        """The selections that could not be listed, each with its error."""
        return {target: each for target, each in self._found.items() if isinstance(each, ApiError)}

    def _listed(self, target: WatchTarget) -> Lister | ApiError:
        store = Store(self._indexers.get(target[1].resource, {}))
        try:
            store.writer.replace({(namespace_of(obj), name_of(obj)): obj for obj in self._lists(*target)})
        except ApiError as err:
            return err
        return store.lister
