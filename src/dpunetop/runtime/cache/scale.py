"""Limits of one cached collection, in objects and in memory, against a hostile server."""

from __future__ import annotations

from dpunetop.base import jsonio
from dpunetop.kube.errors import ApiError
from dpunetop.kube.meta import Obj
from dpunetop.runtime.cache.store import Place

MOST_OBJECTS = 100_000
"""A larger collection is refused: no real cluster has as many, so the server is hostile."""


class Overfull(ApiError):
    """The collection exceeds a limit. Listing it again at once would not help."""


def check_room(objects: int) -> None:
    """Raises: Overfull if a collection of that many objects is full."""
    if objects >= MOST_OBJECTS:
        raise Overfull(0, "TooLarge", f"the collection holds more than {MOST_OBJECTS} objects")


class Scale:
    """The sum of the weights (`jsonio.weigh`) of a collection's objects, if it is limited.

    Threads: that of the ListWatchState.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._weights: dict[Place, int] = {}  # empty without a limit
        self._total = 0

    def clear(self) -> None:
        """Remove all objects."""
        self._weights, self._total = {}, 0

    def add(self, place: Place, obj: Obj) -> None:
        """Add or replace an object. Raises: Overfull if there is no room; then nothing has changed."""
        if self._most is None:
            return
        weight = _weight(obj)
        total = self._total - self._weights.get(place, 0) + weight
        if total > self._most:
            raise Overfull(0, "TooLarge", f"the collection would take more than {self._most >> 10} KiB of memory")
        self._weights[place], self._total = weight, total

    def remove(self, place: Place) -> None:
        """Remove the object there, if any."""
        self._total -= self._weights.pop(place, 0)


def _weight(obj: Obj) -> int:
    """Raises: Overfull if the object is nested so deep that comparing it would exhaust the stack."""
    try:
        return jsonio.weigh(jsonio.dumps(obj))
    except jsonio.EncodeError as err:
        raise Overfull(0, "TooLarge", "an object is nested too deep") from err
