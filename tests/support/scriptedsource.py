"""Stand-ins for what a reflector reads from: one that says what a test wrote down, and one that loses things."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from dpunetop.base import jsonio
from dpunetop.base.stop import Stop
from dpunetop.kube.errors import ApiError, Invalid, Unreachable
from dpunetop.kube.requests import Selection
from dpunetop.kube.watch import INITIAL_EVENTS_END, WatchEvent
from dpunetop.runtime.cache.workers import Workers

NOT_SERVED = Invalid(422, "Invalid", "sendInitialEvents is forbidden for watch")


def obj(name: str, version: int, *, uid: str = "", namespace: str = "ns", **members: Any) -> dict[str, Any]:
    """An object as a server sends it; the uid follows from the name unless given."""
    metadata = {"name": name, "namespace": namespace, "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **members}


def added(*args: Any, **kwargs: Any) -> WatchEvent:
    return WatchEvent("ADDED", obj(*args, **kwargs))


def modified(*args: Any, **kwargs: Any) -> WatchEvent:
    return WatchEvent("MODIFIED", obj(*args, **kwargs))


def deleted(*args: Any, **kwargs: Any) -> WatchEvent:
    return WatchEvent("DELETED", obj(*args, **kwargs))


def bookmark(version: int, *, ends_initial: bool = False) -> WatchEvent:
    annotations = {INITIAL_EVENTS_END: "true"} if ends_initial else {}
    return WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": str(version), "annotations": annotations}})


def expired() -> WatchEvent:
    """How a server says 410 within a stream that it opened with 200."""
    return WatchEvent("ERROR", {"kind": "Status", "reason": "Expired", "code": 410, "message": "too old"})


@dataclass(frozen=True)
class Page:
    items: list[dict[str, Any]]
    resource_version: str
    remaining: bool = False


def pages(version: int, *parts: Iterable[dict[str, Any]]) -> tuple[Page, ...]:
    """A list in as many pages as there are parts."""
    last = len(parts) - 1
    return tuple(Page(list(part), str(version), index < last) for index, part in enumerate(parts))


class Hang:
    """In a script: nothing comes until the test lets go, or the connections are closed."""


class Gate:
    """In a script: what follows waits until the test opens it."""

    def __init__(self) -> None:
        self._latch = Stop()

    def open(self) -> None:
        self._latch.set()

    def until_open(self) -> None:
        assert self._latch.wait(60), "a gate stayed shut"


Part = Page | WatchEvent | ApiError | Hang | Gate

_FAR = str(10**9)


@dataclass
class ScriptedSource:
    """Answers each kind of request with the next of its scripts; an error in a script is raised where it stands.

    Guarantees: a script that has run out hangs until `close_connections`, as a quiet server does.
    """

    lists: Iterable[Iterable[Part]] = ()
    watches: Iterable[Iterable[Part]] = ()
    streams: Iterable[Iterable[Part]] | None = None
    """WatchList; None: the server does not have it."""
    versions: Iterable[str | ApiError] = ()
    """What it says of its version; when that has run out, one that no test comes to."""
    probes: Iterable[ApiError | None] = ()
    asked: list[str] = field(default_factory=list)
    """The requests, as `list`, `watch <version>`, `stream`, `version`."""

    def __post_init__(self) -> None:
        self._guard = threading.Condition()  # guards all below, and asked
        self._lists = deque(self.lists)
        self._watches = deque(self.watches)
        self._streams = None if self.streams is None else deque(self.streams)
        self._versions = deque(self.versions)
        self._probes = deque(self.probes)
        self._hanging: list[Stop] = []
        self.closings = 0
        self.heard_at = -math.inf

    def present_version(self, selection: Selection) -> str:
        self._ask("version")
        with self._guard:
            answer = self._versions.popleft() if self._versions else _FAR
        if isinstance(answer, ApiError):
            raise answer
        return answer

    def pages(self, selection: Selection, page_size: int) -> Iterator[Page]:
        self._ask("list")
        yield from self._played(self._next(self._lists))

    def follow(self, selection: Selection, resource_version: str, wake: Any) -> Iterator[WatchEvent]:
        self._ask(f"watch {resource_version}")
        yield from self._played(self._next(self._watches))

    def follow_list(self, selection: Selection, wake: Any) -> Iterator[WatchEvent]:
        self._ask("stream")
        if self._streams is None:
            raise NOT_SERVED
        yield from self._played(self._next(self._streams))

    def probe(self, timeout_seconds: float) -> None:
        with self._guard:
            answer = self._probes.popleft() if self._probes else None
        if answer is not None:
            raise answer

    def close_connections(self) -> None:
        with self._guard:
            self.closings += 1
            hanging, self._hanging = self._hanging, []
        for latch in hanging:
            latch.set()

    def until_asked(self, times: int) -> list[str]:
        """Wait until so many requests came; returns them all."""
        with self._guard:
            assert self._guard.wait_for(lambda: len(self.asked) >= times, timeout=60), self.asked
            return list(self.asked)

    def until_hanging(self, readers: int = 1) -> None:
        """Wait until so many readers wait for something to come."""
        with self._guard:
            assert self._guard.wait_for(lambda: len(self._hanging) >= readers, timeout=60), self.asked

    def _ask(self, what: str) -> None:
        with self._guard:
            self.asked.append(what)
            self._guard.notify_all()

    def _next(self, scripts: deque[Iterable[Part]]) -> Iterable[Part]:
        with self._guard:
            return scripts.popleft() if scripts else (Hang(),)

    def _played(self, script: Iterable[Part]) -> Iterator[Any]:
        for part in script:
            match part:
                case ApiError():
                    raise part
                case Hang():
                    self._hang()
                case Gate():
                    part.until_open()
                case _:
                    yield part

    def _hang(self) -> None:
        latch = Stop()
        with self._guard:
            self._hanging.append(latch)
            self._guard.notify_all()
        assert latch.wait(60), "a script hung to its end"
        raise Unreachable(0, "Reset", "connections closed")


class LossySource:
    """A small API server that may be told to lose, repeat and cut: what it holds changes in the test's own thread.

    Guarantees: each write has its own version; a watch from a version below the window is answered with 410; a
        change made `silently` reaches no watch that is open or resumed, only the next list, as after a missed event.
    Threads: any.
    """

    def __init__(self, *, window: int = 100) -> None:
        self._guard = threading.Condition()  # guards all below
        self._window = window
        self._version = 10
        self._objects: dict[str, dict[str, Any]] = {}
        self._history: list[tuple[int, WatchEvent]] = []
        self._cut: ApiError | None = None
        self._cuts = 0
        self._is_refusing: ApiError | None = None
        self.asked: list[str] = []
        self.open = 0
        """Watches that are being read now."""

    def put(self, name: str, **members: Any) -> dict[str, Any]:
        """Create or change an object, and tell the watches."""
        return self._put(name, members, tell=True)

    def put_silently(self, name: str, **members: Any) -> dict[str, Any]:
        """Create or change an object that no watch will hear of."""
        return self._put(name, members, tell=False)

    def delete(self, name: str) -> None:
        """Delete an object, and tell the watches."""
        self._delete(name, tell=True)

    def delete_silently(self, name: str) -> None:
        """Delete an object without a watch hearing of it."""
        self._delete(name, tell=False)

    def forget_history(self) -> None:
        """Answer every watch that resumes with 410, as after a compaction."""
        with self._guard:
            self._version += 1
            self._history = [(self._version, WatchEvent("", {}))]

    def cut(self, error: ApiError) -> None:
        """End all open watches in this way."""
        with self._guard:
            self._cut, self._cuts = error, self._cuts + 1
            self._guard.notify_all()

    def refuse(self, error: ApiError | None) -> None:
        """Answer each new request so; None: serve again."""
        with self._guard:
            self._is_refusing = error

    def names(self) -> set[str]:
        with self._guard:
            return set(self._objects)

    def until_open(self, watches: int = 1) -> None:
        with self._guard:
            assert self._guard.wait_for(lambda: self.open >= watches, timeout=60), self.asked

    heard_at = -math.inf

    def close_connections(self) -> None:
        self.cut(Unreachable(0, "Reset", "connections closed"))

    def probe(self, timeout_seconds: float) -> None:
        with self._guard:
            self._serve("probe")

    def present_version(self, selection: Selection) -> str:
        with self._guard:
            self._serve("version")
            return str(self._version)

    def pages(self, selection: Selection, page_size: int) -> Iterator[Page]:
        with self._guard:
            self._serve("list")
            items, version = list(self._objects.values()), str(self._version)
        parts = [items[i : i + page_size] for i in range(0, len(items), page_size)] or [[]]
        for index, part in enumerate(parts):
            yield Page([jsonio.deep_copy(item) for item in part], version, index < len(parts) - 1)

    def follow(self, selection: Selection, resource_version: str, wake: Any) -> Iterator[WatchEvent]:
        with self._guard:
            self._serve(f"watch {resource_version}")
            cuts, position = self._cuts, int(resource_version)
            if self._history and position < self._history[0][0] - 1:
                yield expired()
                return
            self.open += 1
            self._guard.notify_all()
        try:
            while True:
                news, position = self._news(cuts, position)
                yield from news
        finally:
            with self._guard:
                self.open -= 1

    def follow_list(self, selection: Selection, wake: Any) -> Iterator[WatchEvent]:
        with self._guard:
            self._serve("stream")
        raise NOT_SERVED

    def _news(self, cuts: int, position: int) -> tuple[list[WatchEvent], int]:
        with self._guard:
            assert self._guard.wait_for(lambda: self._cuts != cuts or self._version > position, timeout=60)
            if self._cuts != cuts and self._cut is not None:
                raise self._cut
            news = [_copied(event) for version, event in self._history if version > position]
            return news, self._version

    def _serve(self, what: str) -> None:
        self.asked.append(what)
        self._guard.notify_all()
        if self._is_refusing is not None:
            raise self._is_refusing

    def _put(self, name: str, members: dict[str, Any], *, tell: bool) -> dict[str, Any]:
        with self._guard:
            self._version += 1
            known = self._objects.get(name)
            uid = known["metadata"]["uid"] if known else f"uid-{name}-{self._version}"
            self._objects[name] = obj(name, self._version, uid=uid, **members)
            self._note(WatchEvent("MODIFIED" if known else "ADDED", self._objects[name]), tell)
            return self._objects[name]

    def _delete(self, name: str, *, tell: bool) -> None:
        with self._guard:
            self._version += 1
            last = self._objects.pop(name)
            metadata = {**last["metadata"], "resourceVersion": str(self._version)}
            self._note(WatchEvent("DELETED", {**last, "metadata": metadata}), tell)

    def _note(self, event: WatchEvent, tell: bool) -> None:
        if tell:
            self._history = [*self._history, (self._version, event)][-self._window :]
        self._guard.notify_all()


def _copied(event: WatchEvent) -> WatchEvent:
    return WatchEvent(event.type, jsonio.deep_copy(event.object))


def until_ended(workers: Workers[Any]) -> None:
    """Wait until no thread of workers that are to end is left: one of them may start another for what is queued."""
    deadline = time.monotonic() + 60
    while threads := workers.alive():
        assert time.monotonic() < deadline, threads
        threads[0].join(0.2)
