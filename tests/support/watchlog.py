"""What two clusters went through, state by state, as their API servers tell it."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from dpunetop.kube.keys import Resource
from dpunetop.kube.meta import Obj
from dpunetop.kube.requests import get
from dpunetop.sandbox.controlplane import ControlPlane

_SECONDS = 3600.0
_LATE_SECONDS = 120.0


class Place(NamedTuple):
    """Where an object is, over both clusters."""

    cluster: str
    plural: str
    namespace: str
    name: str


@dataclass(frozen=True)
class Seen:
    """One state of one object; `obj` None: it is gone, and `last` is how it went.

    `revision` orders all that happened in one cluster. `at` is when we were told, on the monotonic clock.
    """

    place: Place
    obj: Obj | None
    last: Obj
    revision: int
    at: float
    listed: bool = False
    """Whether it was so before the watch began."""


class WatchLog:
    """A watch of some collections of both clusters: a context manager.

    Guarantees: every state from `__enter__` on, and the one before it.
    Raises: AssertionError at the end if a watch was cut, because something may be missing then.
    Threads: one; each watch has one of its own.
    """

    def __init__(self, *followed: tuple[ControlPlane, Sequence[Resource]]) -> None:
        self._guard = threading.Condition()  # guards the two below
        self._seen: list[Seen] = []
        self._latest: dict[Place, Seen] = {}
        self._watches = [_Watch(self, plane, resource) for plane, resources in followed for resource in resources]

    def __enter__(self) -> Self:
        for watch in self._watches:
            watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        for watch in self._watches:
            watch.close()
        assert [watch.resource.plural for watch in self._watches if watch.was_cut] == []

    def add(self, seen: Seen) -> None:
        """Remember one state."""
        with self._guard:
            self._seen.append(seen)
            self._latest[seen.place] = seen
            self._guard.notify_all()

    def story(self) -> Story:
        """All that has happened until now: what a server has done before is waited for."""
        for watch in self._watches:
            watch.catch_up()
        with self._guard:
            return Story(sorted(self._seen, key=lambda seen: seen.at))

    def until_told(self, holds: Callable[[Mapping[Place, Seen]], bool]) -> None:
        """Wait until the newest states of all objects are such."""
        with self._guard:
            assert self._guard.wait_for(lambda: holds(self._latest), _LATE_SECONDS), "a watch tells no more"


class Story:
    """States in the order in which they were told."""

    def __init__(self, seen: Sequence[Seen]) -> None:
        self._by_place: dict[Place, list[Seen]] = {}
        for each in seen:
            self._by_place.setdefault(each.place, []).append(each)

    def places(self, cluster: str, plural: str) -> list[Place]:
        """Of all objects of a kind that were ever there."""
        return sorted(place for place in self._by_place if place[:2] == (cluster, plural))

    def states(self, place: Place) -> list[Seen]:
        """Of one object."""
        return self._by_place.get(place, [])

    def changes(self, cluster: str, plural: str) -> Iterator[tuple[Seen | None, Seen]]:
        """Each state of each object of a kind, with the one before it."""
        for place in self.places(cluster, plural):
            states = self.states(place)
            yield from zip([None, *states], states, strict=False)

    def at(self, place: Place, moment: float) -> Obj | None:
        """The object as it was at a moment."""
        states = self.states(place)
        index = bisect_right([seen.at for seen in states], moment)
        return states[index - 1].obj if index else None

    def before(self, place: Place, revision: int) -> Obj | None:
        """The object as it was before a change of the same cluster."""
        earlier = [seen for seen in self.states(place) if seen.revision < revision]
        return max(earlier, key=lambda seen: seen.revision).obj if earlier else None

    def moments(self, begin: float, end: float, *places: Place) -> list[float]:
        """The beginning, and whenever one of these objects changed until the end."""
        changed = (seen.at for place in places for seen in self.states(place))
        return [begin, *sorted(at for at in changed if begin < at <= end)]


class _Watch:
    """One watch, on a connection and a thread of its own."""

    def __init__(self, log: WatchLog, plane: ControlPlane, resource: Resource) -> None:
        self.resource = resource
        self.was_cut = False
        self._log = log
        self._plane = plane
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watchlog-{plane.spec.name}-{resource.plural}")

    def start(self) -> None:
        path, listed = self._path, self._plane.admin.get(self._path)
        for item in listed["items"]:
            self._tell(item, is_gone=False, listed=True)
        version = listed["metadata"]["resourceVersion"]
        self._connection = _connect(self._plane)
        query = f"watch=1&resourceVersion={version}&timeoutSeconds={_SECONDS:.0f}"
        self._connection.request("GET", f"{path}?{query}", headers={"Accept": "application/json"})
        self._answer = self._connection.getresponse()
        self._thread.start()

    def catch_up(self) -> None:
        """Wait until it has told what the server shows now; of one that is over, there is no more to come."""
        if self._over.is_set() or self.was_cut:
            return
        listed = self._plane.admin.get(self._path)
        there = {self._place(item): int(item["metadata"]["resourceVersion"]) for item in listed["items"]}
        kind, version = (self._plane.spec.name, self.resource.plural), int(listed["metadata"]["resourceVersion"])

        def is_told(latest: Mapping[Place, Seen]) -> bool:
            ours = {place: seen for place, seen in latest.items() if place[:2] == kind}
            gone = (seen for place, seen in ours.items() if place not in there)
            return all(place in ours and ours[place].revision >= least for place, least in there.items()) and all(
                seen.obj is None or seen.revision > version for seen in gone
            )

        self._log.until_told(is_told)

    def close(self) -> None:
        self._over.set()
        if self._connection.sock is not None:
            self._connection.sock.shutdown(2)
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        try:
            for line in self._answer:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    break
                self._tell(event["object"], is_gone=event["type"] == "DELETED")
        except (OSError, ValueError, http.client.HTTPException):
            pass
        self.was_cut = not self._over.is_set()

    def _tell(self, obj: dict[str, Any], *, is_gone: bool, listed: bool = False) -> None:
        revision = int(obj["metadata"]["resourceVersion"])
        self._log.add(Seen(self._place(obj), None if is_gone else obj, obj, revision, time.monotonic(), listed))

    @property
    def _path(self) -> str:
        return get(self.resource, "", "").target.rstrip("/")

    def _place(self, obj: Obj) -> Place:
        metadata = obj["metadata"]
        return Place(self._plane.spec.name, self.resource.plural, metadata.get("namespace", ""), metadata["name"])


def _connect(plane: ControlPlane) -> http.client.HTTPSConnection:
    credential, address = plane.admin.credential, urlsplit(plane.url)
    assert credential.certificate is not None
    assert address.hostname is not None
    trust = ssl.create_default_context(cadata=plane.ca_pem.decode())
    trust.load_cert_chain(credential.certificate, credential.key)
    return http.client.HTTPSConnection(address.hostname, address.port, context=trust, timeout=_SECONDS)
