"""The state machine of a reflector: which request comes next, and how each response changes the store.

It decides without I/O; `reflector` sends the requests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Protocol, assert_never

from dpunetop.kube.errors import (
    MOST_PAUSE_SECONDS,
    ApiError,
    Forbidden,
    Gone,
    NotFound,
    TooManyRequests,
    Unauthorized,
    Unreachable,
)
from dpunetop.kube.meta import Obj, version_of
from dpunetop.kube.requests import Selection
from dpunetop.kube.watch import Drop, Progress, Put, WatchEvent, interpret
from dpunetop.runtime.cache.history import History
from dpunetop.runtime.cache.scale import Overfull, Scale, check_room
from dpunetop.runtime.cache.store import Place, Writer, has_same_content, place_of
from dpunetop.runtime.cache.transform import Transform
from dpunetop.runtime.flowcontrol import Backoff

TimeWentBack = Callable[[Selection, int, int], None]
"""Called when a complete list is older than the state seen before: the selection, the version seen, the list's."""
BRIEF_SECONDS = 1.0
"""A watch that ends sooner than this without an event counts as a failure."""
LIVED_SECONDS = 5.0
"""A reset of a watch after this time is no failure of the server: proxies and balancers cut idle connections."""
PAUSE_SECONDS = 0.8
"""The shortest pause before a relist, since all informers of a cluster may relist at the same time."""
MOST_TOMBSTONES = 10_000
"""After this many deletions without a bookmark the reflector relists: that costs less than remembering more."""


class Page(Protocol):
    """One page of a list."""

    @property
    def items(self) -> list[dict[str, Any]]:
        """The objects, freshly decoded."""

    @property
    def resource_version(self) -> str:
        """The resourceVersion of the whole list, the same on every page."""


@dataclass(frozen=True, slots=True)
class ListPages:
    """List the collection in pages."""


@dataclass(frozen=True, slots=True)
class WatchList:
    """Open a WatchList stream."""


@dataclass(frozen=True, slots=True)
class ProbeVersion:
    """Ask for the current resourceVersion of the collection."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Watch from this resourceVersion on."""

    resource_version: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Back off for this time."""

    seconds: float


Query = ListPages | WatchList | ProbeVersion | Watch
Action = Query | Pause


class _Streaming(Enum):
    """Whether the server supports WatchList, as far as known."""

    WANTED = auto()
    NOT_NOW = auto()
    NOT_SERVED = auto()


class ListWatchState:
    """The list-watch loop of one reflector as a state machine.

    Guarantees: within one watch no object goes back to an earlier version, however often an event is repeated. A
        complete list replaces everything, also with lower versions; an incomplete one changes nothing. A pause comes
        between two failures, and before each list but the first. A watch is resumed only after the server has shown a
        resourceVersion at least as high as ours: a watch from a version ahead of the server is silent, and it is wrong
        once the server reaches that version in another history (etcd restored from a backup).
    Threads: one owner, who calls `next`, then `take` for each page or event of the action, then `ended` or `failed`;
        for ProbeVersion, `answered` or `failed`.
    """

    def __init__(
        self,
        selection: Selection,
        writer: Writer,
        transform: Transform,
        backoff: Backoff,
        history: History,
        on_time_went_back: TimeWentBack,
        most_weight: int | None = None,
    ) -> None:
        self._selection = selection
        self._scale = Scale(most_weight)
        self._writer = writer
        self._transform = transform
        self._backoff = backoff
        self._history = history
        self._read_in = self._reading_in = history.number  # the history of the last complete list, and of the next
        self._on_time_went_back = on_time_went_back
        self._streaming = _Streaming.WANTED
        self._pause = 0.0
        self._may_list = True  # no pause is needed: the first list, after a pause, or after a refused WatchList
        self._got_error_event = False  # the last event was of type ERROR
        self._version: int | None = None  # where to resume the watch; None: list first
        self._seen = 0  # version of the last complete state
        self._is_confirmed = False  # the server has shown a version >= _seen, and no watch has ended since
        self._is_probing = False
        self._fell_to: int | None = None  # the version of a server that is behind `_seen`
        self._floor = 0  # everything up to this version was delivered, so an event below it is a repetition
        self._tombstones: dict[Place, int] = {}  # deleted above the floor, by place: the version
        self._incoming: dict[Place, Obj] | None = None  # the list being read; None while watching
        self._incoming_version = ""
        self._made_progress = False  # the current watch has brought an event

    @property
    def resource_version(self) -> str:
        """The resourceVersion of the store; empty while it must be relisted."""
        return "" if self._version is None else str(self._version)

    @property
    def reached(self) -> int | None:
        """The same as a number; None while the store must be relisted or that is unknown. Threads: any."""
        return self._version if self._is_confirmed and self._read_in == self._history.number else None

    @property
    def is_to_pause(self) -> bool:
        """Whether a pause follows the action that has just ended."""
        return self._pause > 0

    @property
    def must_list(self) -> bool:
        """Whether the next read is a list, the first or a relist."""
        return self._version is None or self._read_in != self._history.number

    def next(self) -> Action:
        """The next action."""
        if self._pause <= 0 and self.must_list and not self._may_list:
            self._pause = self._backoff.next()
        if self._pause > 0:
            pause, self._pause = self._pause, 0.0
            self._may_list = True
            return Pause(pause)
        self._made_progress = self._got_error_event = False
        if self._version is not None and not self.must_list:
            self._is_probing = not self._is_confirmed
            if self._is_probing:
                return ProbeVersion()
            self._may_list = False
            return Watch(str(self._version))
        self._may_list = False
        self._version, self._reading_in = None, self._history.number
        self._incoming = {}
        self._incoming_version = ""
        self._scale.clear()
        return WatchList() if self._streaming is _Streaming.WANTED else ListPages()

    def relist(self) -> None:
        """Abandon the current action and relist after a pause."""
        self._version, self._incoming = None, None
        self._is_confirmed = self._is_probing = False
        self._may_list, self._pause = False, self._backoff.next()

    def hasten(self) -> None:
        """The server answers again: reset the backoff."""
        self._backoff.reset()

    def take(self, given: Page | WatchEvent) -> None:
        """Apply one page or one event. Raises: ApiError, which the caller passes to `failed`."""
        if isinstance(given, WatchEvent):
            self._got_error_event = given.type == "ERROR"
            self._take_event(given)
        else:
            self._take_page(given)

    def answered(self, resource_version: str) -> None:
        """The response to ProbeVersion: the server's version. Raises: ApiError, which the caller passes to `failed`."""
        version = _number(resource_version)
        self._is_probing = False
        if version >= self._seen:
            self._is_confirmed = True
            return
        self._fell_to, self._version = version, None
        self._history.turn(self._read_in)

    def ended(self, lasted_seconds: float) -> None:
        """The action has ended without an error. Raises: ApiError if it should have brought a list and did not."""
        if self._incoming is None:
            self._watch_ended(lasted_seconds)
        elif self._streaming is _Streaming.WANTED:  # a stream without the bookmark that ends its initial part
            self._streaming, self._may_list = _Streaming.NOT_SERVED, True
        else:
            self._complete(self._incoming_version)

    def failed(self, error: ApiError, lasted_seconds: float = 0.0) -> bool:
        """The action failed; return whether that is worth a report. A server without WatchList is not, nor is a watch
        that was reset after LIVED_SECONDS, which is resumed at once."""
        has_lived = _is_cut(error) and lasted_seconds >= LIVED_SECONDS
        if self._is_probing:
            self._is_probing = False
            self._pause = self._pause_after(error)
        elif self._incoming is None and has_lived:
            self._watch_cut()
            return False
        elif self._incoming is None:
            self._watch_failed(error)
        elif self._streaming is _Streaming.WANTED:
            self._stream_failed(error)
        else:
            self._list_failed(error)
        return self._streaming is not _Streaming.NOT_SERVED or self._pause > 0

    def _take_page(self, page: Page) -> None:
        """Raises: Unreachable if a list of one name brings several objects, before it brings any number of them."""
        if self._selection.is_of_one and len(page.items) + len(self._incoming or ()) > 1:
            raise Unreachable(0, "BadAnswer", "the list of one name brought several objects")
        for item in page.items:
            self._collect(self._transform(item))
        self._incoming_version = page.resource_version

    def _take_event(self, event: WatchEvent) -> None:
        text, meaning = interpret(event)
        version = _number(text)
        if self._incoming is not None:
            self._take_initial(meaning, text)
            return
        match meaning:
            case Progress():
                self._progress(version)
            case Put(obj):
                self._put(obj, version)
            case Drop(obj):
                self._drop(obj, version)
            case _:
                assert_never(meaning)

    def _take_initial(self, meaning: Put | Drop | Progress, version: str) -> None:
        match meaning:
            case Put(obj):
                self._collect(self._transform(obj))
            case Drop(obj):
                if self._incoming is not None:
                    place = self._place(obj)
                    self._incoming.pop(place, None)
                    self._scale.remove(place)
            case Progress(is_initial_end=True):
                self._complete(version)
            case Progress():
                pass
            case _:
                assert_never(meaning)

    def _collect(self, obj: Obj) -> None:
        """Add to the list being read. An unchanged object stays the one in the store, so memory does not double.

        Unchanged means equal content: a restored etcd gives the same version twice.
        """
        assert self._incoming is not None
        place = self._place(obj)
        known, doubled = self._writer.get(place), self._incoming.get(place)
        version = _version(obj)
        if doubled is not None and _version(doubled) > version:
            return
        check_room(len(self._incoming))
        self._scale.add(place, obj)
        is_unchanged = known is not None and has_same_content(known, obj)
        self._incoming[place] = known if known is not None and is_unchanged else self._writer.share(obj)

    def _complete(self, text: str) -> None:
        version = _number(text)
        assert self._incoming is not None
        objects, self._incoming = self._incoming, None
        fell_to, self._fell_to = self._fell_to, None
        if fell_to is None and version < self._seen:
            fell_to = version
            self._history.turn(self._read_in)
            self._reading_in = self._history.number
        if fell_to is not None:  # even if the server has passed `_seen` since: its history is another one
            self._on_time_went_back(self._selection, self._seen, fell_to)
        self._writer.replace(objects)
        self._version = self._seen = self._floor = version
        self._is_confirmed, self._read_in = True, self._reading_in
        self._tombstones.clear()
        if self._streaming is _Streaming.NOT_NOW:
            self._streaming = _Streaming.WANTED

    def _progress(self, version: int) -> None:
        if version < self._floor:
            raise Gone(410, "WentBack", f"bookmark {version} is below {self._floor}")
        self._floor = version
        self._tombstones.clear()
        self._advance(version)

    def _put(self, obj: dict[str, Any], version: int) -> None:
        place = self._place(obj)
        if self._is_repeated(place, version):
            return
        check_room(len(self._writer))
        kept = self._transform(obj)
        self._scale.add(place, kept)
        self._writer.put(kept)
        self._tombstones.pop(place, None)
        self._advance(version)

    def _drop(self, obj: dict[str, Any], version: int) -> None:
        place = self._place(obj)
        if self._is_repeated(place, version):
            return
        self._writer.drop(self._transform(obj))
        self._scale.remove(place)
        if len(self._tombstones) >= MOST_TOMBSTONES:
            raise Overfull(0, "TooLarge", f"more than {MOST_TOMBSTONES} deletions without a bookmark")
        self._tombstones[place] = version
        self._advance(version)

    def _place(self, obj: Obj) -> Place:
        """Raises: Unreachable if the selection does not cover it: else a watch of one name could fill the cache."""
        place = place_of(obj)
        if not self._selection.covers(*place):
            raise Unreachable(0, "BadAnswer", "the server sent an object outside the selection")
        return place

    def _is_repeated(self, place: Place, version: int) -> bool:
        stored = self._writer.get(place)
        known = self._tombstones.get(place, 0) if stored is None else _version(stored)
        return version <= max(self._floor, known)

    def _advance(self, version: int) -> None:
        """Only progress resets the backoff; a connection without an event does not."""
        self._version = self._seen = max(version, self._version or 0)
        self._made_progress = True
        self._backoff.reset()

    def _watch_ended(self, lasted_seconds: float) -> None:
        self._is_confirmed = False
        if not self._made_progress and lasted_seconds < BRIEF_SECONDS:
            self._pause = self._backoff.next()

    def _watch_cut(self) -> None:
        """No event was missed; the next action asks whether the server still answers."""
        self._is_confirmed = False
        self._backoff.reset()

    def _watch_failed(self, error: ApiError) -> None:
        self._is_confirmed = False
        if not _can_resume(error) or (self._got_error_event and not isinstance(error, TooManyRequests)):
            self._version = None
        if _is_silence(error):  # the idle limit is long enough to be a pause
            self._backoff.reset()
        self._pause = self._pause_after(error)

    def _stream_failed(self, error: ApiError) -> None:
        self._incoming = {}
        if not self._got_error_event and _is_refusal(error):
            self._streaming, self._may_list = _Streaming.NOT_SERVED, True
            return
        self._streaming = _Streaming.NOT_NOW
        self._pause = self._pause_after(error)

    def _list_failed(self, error: ApiError) -> None:
        self._incoming = {}  # an expired continue token: list from the first page again
        self._pause = self._pause_after(error)

    def _pause_after(self, error: ApiError) -> float:
        asked = min(error.retry_after_seconds or 0.0, MOST_PAUSE_SECONDS)
        return max(self._backoff.next(), asked)


def _number(version: str) -> int:
    """Source: resourceVersions of one resource compare as integers (Kubernetes API Concepts, KEP-5504)."""
    if not (version.isascii() and version.isdecimal() and len(version) <= 20):
        raise ApiError(0, "BadAnswer", f"resourceVersion {version[:40]!r} is no number")
    return int(version)


def _version(obj: Obj) -> int:
    return _number(version_of(obj))


def _can_resume(error: ApiError) -> bool:
    """Whether a watch that failed with this error resumes at its version: the server was away, no event was missed.

    After any other error an event may be lost, or the server does not know the version: relist. An ERROR event means
    a relist too, unless it is 429: the server cannot send that event, for example the deletion of an object that it
    cannot decode (TestReflectorReplacesStoreOnUnsafeDelete of client-go).
    """
    match error:
        case Unreachable():
            return error.reason not in ("IdleTimeout", "TooLarge", "BadAnswer")
        case TooManyRequests() | Unauthorized() | Forbidden() | NotFound():
            return True
    return error.code >= 500 and not _is_too_large_version(error)


def _is_cut(error: ApiError) -> bool:
    return isinstance(error, Unreachable) and error.reason == "Reset"


def _is_silence(error: ApiError) -> bool:
    return isinstance(error, Unreachable) and error.reason == "IdleTimeout"


def _is_too_large_version(error: ApiError) -> bool:
    return any(cause.get("reason") == "ResourceVersionTooLarge" for cause in error.causes)


def _is_refusal(error: ApiError) -> bool:
    """Whether a WatchList that failed with this error is not tried again: the server does not support it or never ends
    its initial part."""
    if _is_silence(error):
        return True
    return 400 <= error.code < 500 and not isinstance(error, Unauthorized | TooManyRequests | Gone)
