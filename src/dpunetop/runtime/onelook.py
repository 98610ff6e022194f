"""What reconcilers read, for a process that looks once: each collection listed when it is first asked for, and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from dpunetop.kube.errors import ApiError
from dpunetop.kube.keys import Key, Resource
from dpunetop.kube.meta import Obj, name_of, namespace_of
from dpunetop.kube.requests import Selection
from dpunetop.runtime.cache.store import Indexer, Lister, Store
from dpunetop.runtime.reading import NotSynced, Part, Reader, Unwatched, Waker, Want

List = Callable[[str, Selection], Iterable[Obj]]
"""All objects of a selection in a cluster. Raises: NotEngaged, ApiError."""

_NOBODY = Key("", "", "")


class OneLook:
    """Stands where `Readings` stands, without watches.

    Guarantees: every selection is listed at most once; a list that failed is not tried again, and is reported as a
        cache that is not filled, with the error, so that nothing is taken for absent.
    Threads: one.
    """

    def __init__(self, lists: List, indexers: Mapping[Resource, Mapping[str, Indexer]]) -> None:
        self._lists = lists
        self._indexers = indexers
        self._found: dict[Want, Lister | ApiError] = {}

    def reader(self) -> Reader:
        """What gatherers read through."""
        return Reader(self, _NOBODY)

    def lister(self, key: Key, want: Want, part: Part = ()) -> Lister:
        """See `Readings.lister`; whatever part is asked for, the whole selection is listed."""
        found = self._found.get(want)
        if found is None:
            found = self._found[want] = self._listed(want)
        if isinstance(found, ApiError):
            raise NotSynced(*want, found)
        return found

    def peek(self, want: Want) -> Lister:
        """See `Readings.peek`."""
        return self.lister(_NOBODY, want)

    def refusals(self, wants: set[Want]) -> list[Unwatched]:
        """See `Readings.refusals`: there are no caches that could stand still."""
        return []

    def waker(self, key: Key) -> Waker:
        """See `Readings.waker`: nobody is to be woken."""
        return Waker(lambda _: None, key)

    def failures(self) -> dict[Want, ApiError]:
        """What could not be listed, and why."""
        return {want: each for want, each in self._found.items() if isinstance(each, ApiError)}

    def _listed(self, want: Want) -> Lister | ApiError:
        store = Store(self._indexers.get(want[1].resource, {}))
        try:
            store.writer.replace({(namespace_of(obj), name_of(obj)): obj for obj in self._lists(*want)})
        except ApiError as err:
            return err
        return store.lister
