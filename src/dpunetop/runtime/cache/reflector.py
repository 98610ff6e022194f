"""List, watch, resume, relist: how one collection of an API server gets into a store and stays there.

`Course` decides and never blocks; `Reflector` carries out what it decides.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Protocol, assert_never

import structlog

from dpunetop.base import jsonio
from dpunetop.base.clock import Clock
from dpunetop.base.stop import Stop
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
from dpunetop.kube.watch import Drop, Progress, Put, Quiet, WatchEvent, interpret
from dpunetop.runtime.cache.history import History
from dpunetop.runtime.cache.store import Place, Writer, has_same_content, place_of
from dpunetop.runtime.cache.transform import Transform
from dpunetop.runtime.flowcontrol import Backoff

Wake = Callable[[], None]
"""Called when there is something to do; from any thread, which it must not hold up."""

TimeWentBack = Callable[[Selection, int, int], None]
"""Told of a complete list that is older than what was seen before: the selection, the version seen, the one got."""

BRIEF_SECONDS = 1.0
"""A watch that ends in less without having brought anything is taken for a failure."""

LIVED_SECONDS = 5.0
"""A watch that is cut after so long was one: what lies between cuts what is idle, which is no failure of the server."""

PAUSE_SECONDS = 0.8
"""The shortest pause before a list that is not the first: all informers of a cluster may need one at the same time."""

MOST_OBJECTS = 100_000
"""A collection with more is refused: no cluster of a size that exists has them, so its server means harm."""

MOST_GRAVES = 10_000
"""So many deletions since the last bookmark, and reading all anew costs less than to remember them."""


class _Overfull(ApiError):
    """The collection is larger than any that we serve. There is no use in reading it again at once."""


class Page(Protocol):
    """One part of a list."""

    @property
    def items(self) -> list[dict[str, Any]]:
        """The objects, freshly decoded."""

    @property
    def resource_version(self) -> str:
        """The version of the whole list, the same on every page."""


class ListWatch(Protocol):
    """Where a reflector reads from; a `Client` is one.

    Threads: an iterator is used by one thread at a time, not always the same.
    Raises: ApiError, from each method and from each iterator.
    """

    def present_version(self, selection: Selection) -> str:
        """The version that the collection has by now, from quorum; the least work that tells it."""

    def pages(self, selection: Selection, page_size: int) -> Iterator[Page]:
        """All that there is, from quorum, in pages."""

    def follow(self, selection: Selection, resource_version: str, wake: Wake) -> Iterator[WatchEvent | Quiet]:
        """What changes from that version on; ends when the server's time is up, raises `IdleTimeout` in silence.

        Where it would wait for an event it gives QUIET instead, and calls `wake` when to go on; or it waits.
        """

    def follow_list(self, selection: Selection, wake: Wake) -> Iterator[WatchEvent | Quiet]:
        """All that there is as events, a bookmark that ends it, then what changes; as `follow`."""


@dataclass(frozen=True, slots=True)
class ReadPages:
    """List the collection in pages."""


@dataclass(frozen=True, slots=True)
class ReadStream:
    """Open a WatchList stream."""


@dataclass(frozen=True, slots=True)
class AskVersion:
    """Ask for the version that the collection has by now."""


@dataclass(frozen=True, slots=True)
class Follow:
    """Watch from this version on."""

    resource_version: str


@dataclass(frozen=True, slots=True)
class Rest:
    """Do nothing for so long."""

    seconds: float


_Asking = ReadPages | ReadStream | AskVersion | Follow
Action = _Asking | Rest


class _Streaming(Enum):
    """What is known of the server's WatchList."""

    WANTED = auto()
    NOT_NOW = auto()
    NOT_SERVED = auto()


class Course:
    """What to ask of the server next, and what its answers mean for the store.

    Guarantees: within one watch no object goes back to an earlier version, however often an event is repeated; a
        complete list replaces everything, lower versions too; an incomplete one changes nothing; two failures never
        follow each other without a pause in between, and one comes before each list but the first. No watch is resumed
        before the server was seen to have come as far as we have: from a version that is ahead of it a watch is silent,
        and once it has caught up with another history (etcd restored from a backup), it is wrong.
    Threads: one owner, who calls `next`, then `take` for each thing the action brings, then `ended` or `failed`; for
        AskVersion, `answered` or `failed`.
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
        self._scale = _Scale(most_weight)
        self._writer = writer
        self._transform = transform
        self._backoff = backoff
        self._history = history
        self._read_in = self._reading_in = history.number  # the history of the last complete list, and of the next
        self._on_time_went_back = on_time_went_back
        self._streaming = _Streaming.WANTED
        self._pause = 0.0
        self._may_read = True  # the first list, or one that a pause or another way of reading comes before
        self._is_told = False  # the server has said within its answer that it cannot go on
        self._version: int | None = None  # where to resume; None: all has to be read first
        self._seen = 0  # version of the last state that was complete
        self._is_at_hand = False  # nothing has ended since the server last showed its version: it was not restored
        self._is_asking = False  # for its version
        self._fell_to: int | None = None  # the version of a server that has not come as far as `_seen`
        self._floor = 0  # everything up to this version has been delivered: an event below it is a repetition
        self._graves: dict[Place, int] = {}  # what was deleted above the floor, and when
        self._incoming: dict[Place, Obj] | None = None  # a list in the making; None while following
        self._incoming_version = ""
        self._brought = False  # something came from the action under way

    @property
    def resource_version(self) -> str:
        """The version that the store has reached; empty while it has to be read anew."""
        return "" if self._version is None else str(self._version)

    @property
    def reached(self) -> int | None:
        """The same as a number; None while the store has to be read anew, or that is not known. Threads: any."""
        return self._version if self._is_at_hand and self._read_in == self._history.number else None

    @property
    def is_to_pause(self) -> bool:
        """Whether what has just ended is followed by a pause."""
        return self._pause > 0

    @property
    def is_reading_anew(self) -> bool:
        """Whether all has to be read, for the first time or again."""
        return self._version is None or self._read_in != self._history.number

    def next(self) -> Action:
        """What to do now."""
        if self._pause <= 0 and self.is_reading_anew and not self._may_read:
            self._pause = self._backoff.next()
        if self._pause > 0:
            pause, self._pause = self._pause, 0.0
            self._may_read = True
            return Rest(pause)
        self._brought = self._is_told = False
        if self._version is not None and not self.is_reading_anew:
            self._is_asking = not self._is_at_hand
            if self._is_asking:
                return AskVersion()
            self._may_read = False
            return Follow(str(self._version))
        self._may_read = False
        self._version, self._reading_in = None, self._history.number
        self._incoming = {}
        self._incoming_version = ""
        self._scale.clear()
        return ReadStream() if self._streaming is _Streaming.WANTED else ReadPages()

    def begin_anew(self) -> None:
        """What was under way came to nothing: read all again, after a pause."""
        self._version, self._incoming = None, None
        self._is_at_hand = self._is_asking = False
        self._may_read, self._pause = False, self._backoff.next()

    def hasten(self) -> None:
        """The server is known to answer again: forget earlier failures."""
        self._backoff.reset()

    def take(self, given: Page | WatchEvent) -> None:
        """Take in one page or one event. Raises: ApiError, to be handed to `failed`."""
        if isinstance(given, WatchEvent):
            self._is_told = given.type == "ERROR"
            self._take_event(given)
        else:
            self._take_page(given)

    def answered(self, resource_version: str) -> None:
        """The server says how far it has come. Raises: ApiError, to be handed to `failed`."""
        version = _number(resource_version)
        self._is_asking = False
        if version >= self._seen:
            self._is_at_hand = True
            return
        self._fell_to, self._version = version, None
        self._history.turn(self._read_in)

    def ended(self, lasted_seconds: float) -> None:
        """The action has run its course. Raises: ApiError, if what it brought is no usable list."""
        if self._incoming is None:
            self._watch_ended(lasted_seconds)
        elif self._streaming is _Streaming.WANTED:  # a stream that never said that its first part was over
            self._streaming, self._may_read = _Streaming.NOT_SERVED, True
        else:
            self._complete(self._incoming_version)

    def failed(self, error: ApiError, lasted_seconds: float = 0.0) -> bool:
        """The action broke off; say whether that is trouble: more than a server without WatchList, or a watch that was
        cut when it had lived, which is resumed at once."""
        has_lived = _is_cut(error) and lasted_seconds >= LIVED_SECONDS
        if self._is_asking:
            self._is_asking = False
            self._pause = self._pause_after(error)
        elif self._incoming is None and has_lived:
            self._watch_cut()
            return False
        elif self._incoming is None:
            self._watch_failed(error)
        elif self._streaming is _Streaming.WANTED:
            self._stream_failed(error)
        else:
            self._reading_failed(error)
        return self._streaming is not _Streaming.NOT_SERVED or self._pause > 0

    def _take_page(self, page: Page) -> None:
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
        """Add to the list in the making; what has not changed stays the object we have, so memory does not double.

        Equal means equal content: a restored etcd hands out the same version twice.
        """
        assert self._incoming is not None
        place = self._place(obj)
        known, doubled = self._writer.get(place), self._incoming.get(place)
        version = _version(obj)
        if doubled is not None and _version(doubled) > version:
            return
        _check_room(len(self._incoming))
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
        if fell_to is not None:  # by now it may have come past where we were, which makes it no less another history
            self._on_time_went_back(self._selection, self._seen, fell_to)
        self._writer.replace(objects)
        self._version = self._seen = self._floor = version
        self._is_at_hand, self._read_in = True, self._reading_in
        self._graves.clear()
        if self._streaming is _Streaming.NOT_NOW:
            self._streaming = _Streaming.WANTED

    def _progress(self, version: int) -> None:
        if version < self._floor:
            raise Gone(410, "WentBack", f"bookmark {version} is below {self._floor}")
        self._floor = version
        self._graves.clear()
        self._advance(version)

    def _put(self, obj: dict[str, Any], version: int) -> None:
        place = self._place(obj)
        if self._is_repeated(place, version):
            return
        _check_room(len(self._writer))
        kept = self._transform(obj)
        self._scale.add(place, kept)
        self._writer.put(kept)
        self._graves.pop(place, None)
        self._advance(version)

    def _drop(self, obj: dict[str, Any], version: int) -> None:
        place = self._place(obj)
        if self._is_repeated(place, version):
            return
        self._writer.drop(self._transform(obj))
        self._scale.remove(place)
        if len(self._graves) >= MOST_GRAVES:
            raise _Overfull(0, "TooLarge", f"more than {MOST_GRAVES} deletions without a bookmark")
        self._graves[place] = version
        self._advance(version)

    def _place(self, obj: Obj) -> Place:
        """Raises: Unreachable for what was not asked for: else one name could bring a crowd."""
        place = place_of(obj)
        if not self._selection.covers(*place):
            raise Unreachable(0, "BadAnswer", "an object that was not asked for")
        return place

    def _is_repeated(self, place: Place, version: int) -> bool:
        stored = self._writer.get(place)
        known = self._graves.get(place, 0) if stored is None else _version(stored)
        return version <= max(self._floor, known)

    def _advance(self, version: int) -> None:
        """Only progress earns a fast retry: a mere connection does not."""
        self._version = self._seen = max(version, self._version or 0)
        self._brought = True
        self._backoff.reset()

    def _watch_ended(self, lasted_seconds: float) -> None:
        self._is_at_hand = False
        if not self._brought and lasted_seconds < BRIEF_SECONDS:
            self._pause = self._backoff.next()

    def _watch_cut(self) -> None:
        """Nothing was missed, and the server did what it was asked for: whether it still does is asked next."""
        self._is_at_hand = False
        self._backoff.reset()

    def _watch_failed(self, error: ApiError) -> None:
        self._is_at_hand = False
        if not _leaves_us_in_step(error) or (self._is_told and not isinstance(error, TooManyRequests)):
            self._version = None
        if _is_silence(error):  # which took so long that nothing follows it too soon
            self._backoff.reset()
        self._pause = self._pause_after(error)

    def _stream_failed(self, error: ApiError) -> None:
        self._incoming = {}
        if not self._is_told and _is_refusal(error):
            self._streaming, self._may_read = _Streaming.NOT_SERVED, True
            return
        self._streaming = _Streaming.NOT_NOW
        self._pause = self._pause_after(error)

    def _reading_failed(self, error: ApiError) -> None:
        self._incoming = {}  # a list that lost its continue token starts anew
        self._pause = self._pause_after(error)

    def _pause_after(self, error: ApiError) -> float:
        asked = min(error.retry_after_seconds or 0.0, MOST_PAUSE_SECONDS)
        return max(self._backoff.next(), asked)


class Reflector:
    """Mirror one collection of the API server into a store.

    Guarantees: readers see, per object, a subsequence of the server's states in order; what was deleted while the
        watch was down is gone after the next list. The store is eventually right, never promised to be fresh.
    Threads: `step` by one thread at a time, which is the store's only writer. Everything else from any thread.
    Raises: nothing that the server says. ApiError is answered with a pause; anything else is a bug and leaves `step`,
        of which the next one reads all anew after a pause.
    """

    def __init__(
        self,
        source: ListWatch,
        selection: Selection,
        writer: Writer,
        *,
        wake: Wake,
        transform: Transform,
        page_size: int,
        clock: Clock,
        random: Callable[[], float],
        on_stored: Callable[[str], None],
        on_trouble: Callable[[ApiError], None],
        history: History,
        on_time_went_back: TimeWentBack,
        most_weight: int | None = None,
    ) -> None:
        """`wake` is called when `step` is to be called again; `on_stored` with the version that the store has reached,
        empty while a list is not complete."""
        self._source = source
        self._selection = selection
        self._wake = wake
        self._page_size = page_size
        self._clock = clock
        self._on_stored = on_stored
        self._on_trouble = on_trouble
        self._random = random
        backoff = Backoff(PAUSE_SECONDS, 2.0, 30.0, 1.0, random)
        self._course = Course(selection, writer, transform, backoff, history, on_time_went_back, most_weight)
        self._log = structlog.get_logger().bind(selection=str(selection))
        self._last_reason = ""
        self._doing: _Doing | None = None  # what is under way
        self._rest_until: float | None = None
        self._rest_at_least_until = 0.0
        self._is_hastened = False  # set by any thread, taken back by the one in step

    def step(self, stop: Stop) -> float | None:
        """Go on until there is nothing to do for now: how many seconds that holds; None: until `wake`.

        Guarantees: holds no connection once it has returned with `stop` set, which calls for one more step.
        """
        has_ended = False
        try:
            rest = self._go(stop)
            has_ended = True
        finally:
            if not has_ended:
                self._rest_until = None
                self._course.begin_anew()
                self._leave()
        return rest

    def _go(self, stop: Stop) -> float | None:
        while not stop.is_set():
            if self._doing is None:
                rest = self._left_to_rest()
                if rest > 0:
                    return rest
                self._begin(self._course.next())
            elif not self._go_on(self._doing, stop):
                return None
        self._leave()
        return None

    @property
    def reached(self) -> int | None:
        """The version up to which the store shows everything, or more; None while it has to be read anew."""
        return self._course.reached

    def hasten(self) -> None:
        """The server is known to answer again: cut a pause short, this one or the next; one before a list is left as
        long as a first one."""
        self._is_hastened = True
        self._wake()

    def _left_to_rest(self) -> float:
        if self._rest_until is None:
            return 0.0
        if self._is_hastened:
            self._is_hastened = False
            self._course.hasten()
            self._rest_until = min(self._rest_until, self._rest_at_least_until)
        left = self._rest_until - self._clock.monotonic()
        if left <= 0:
            self._rest_until = None
        return left

    def _begin(self, action: Action) -> None:
        now = self._clock.monotonic()
        if isinstance(action, Rest):
            least = PAUSE_SECONDS * (1.0 + self._random()) if self._course.is_reading_anew else 0.0
            self._rest_until, self._rest_at_least_until = now + action.seconds, now + least
        else:
            self._doing = _Doing(action, now, self._parts(action))

    def _parts(self, action: _Asking) -> Generator[Page | WatchEvent | Quiet, None, None]:
        """What the action brings. Closing it gives the connection back."""
        match action:
            case AskVersion():
                pass
            case ReadPages():
                yield from self._source.pages(self._selection, self._page_size)
            case ReadStream():
                yield from self._source.follow_list(self._selection, self._wake)
            case Follow(version):
                yield from self._source.follow(self._selection, version, self._wake)
            case _:
                assert_never(action)

    def _go_on(self, doing: _Doing, stop: Stop) -> bool:
        """Whether the action is over, or was told to end."""
        try:
            if isinstance(doing.action, AskVersion):
                self._course.answered(self._source.present_version(self._selection))
            elif not self._read(doing, stop):
                return stop.is_set()
        except ApiError as error:
            self._leave()
            if not stop.is_set() and self._course.failed(error, self._clock.monotonic() - doing.began):
                self._report(doing.action, error)
        self._leave()
        return True

    def _read(self, doing: _Doing, stop: Stop) -> bool:
        """Whether there is nothing more to come."""
        for part in doing.parts:
            if isinstance(part, Quiet) or stop.is_set():
                return False
            self._course.take(part)
            self._stored()
        self._leave()
        self._course.ended(self._clock.monotonic() - doing.began)
        if not self._course.is_to_pause:
            self._stored()
        return True

    def _leave(self) -> None:
        """Have done with what was under way, and give its connection back."""
        doing, self._doing = self._doing, None
        if doing is not None:
            doing.parts.close()

    def _stored(self) -> None:
        version = self._course.resource_version
        if version:
            self._last_reason = ""
        self._on_stored(version)

    def _report(self, action: Action, error: ApiError) -> None:
        """A cause is worth one warning; its repetitions are not, nor is in each collection that no answer comes: the
        cluster says so once."""
        if error.reason == self._last_reason:
            return
        self._last_reason = error.reason
        doing = type(action).__name__
        tell = self._log.info if isinstance(error, Unreachable) else self._log.warning
        tell("reading failed", doing=doing, code=error.code, reason=error.reason, error=error.message)
        self._on_trouble(error)


@dataclass(frozen=True, slots=True)
class _Doing:
    """An action under way: since when, and what it brings."""

    action: _Asking
    began: float
    parts: Generator[Page | WatchEvent | Quiet, None, None]


def _number(version: str) -> int:
    """Source: resourceVersions of one resource compare as integers (Kubernetes API Concepts, KEP-5504)."""
    if not (version.isascii() and version.isdecimal() and len(version) <= 20):
        raise ApiError(0, "BadAnswer", f"resourceVersion {version[:40]!r} is no number")
    return int(version)


def _check_room(objects: int) -> None:
    if objects >= MOST_OBJECTS:
        raise _Overfull(0, "TooLarge", f"the collection holds more than {MOST_OBJECTS} objects")


class _Scale:
    """What the objects of one collection weigh together (`jsonio.weigh`), where that is limited.

    Threads: that of the course.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._weights: dict[Place, int] = {}  # empty without a limit
        self._total = 0

    def clear(self) -> None:
        self._weights, self._total = {}, 0

    def add(self, place: Place, obj: Obj) -> None:
        """Raises: _Overfull when there is no room; then nothing has changed."""
        if self._most is None:
            return
        weight = _weight(obj)
        total = self._total - self._weights.get(place, 0) + weight
        if total > self._most:
            raise _Overfull(0, "TooLarge", f"the collection would take more than {self._most >> 10} KiB of memory")
        self._weights[place], self._total = weight, total

    def remove(self, place: Place) -> None:
        self._total -= self._weights.pop(place, 0)


def _weight(obj: Obj) -> int:
    """Raises: _Overfull for what is nested so deep that comparing it would exhaust the stack."""
    try:
        return jsonio.weigh(jsonio.dumps(obj))
    except jsonio.EncodeError as err:
        raise _Overfull(0, "TooLarge", "an object is nested too deep") from err


def _version(obj: Obj) -> int:
    return _number(version_of(obj))


def _leaves_us_in_step(error: ApiError) -> bool:
    """Whether a watch that failed so may go on from where it was: nothing was missed, the server just was not there.

    Anything else may have cost us an event, or its version is of no use to this server: all has to be read again. So
    it has after an error that comes as an event, but for a "later": the server cannot show what stands there, such as
    the deletion of an object that it cannot decode (TestReflectorReplacesStoreOnUnsafeDelete of client-go).
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
    """Whether a WatchList that failed so is not worth another try: the server does not have it, or never ends it."""
    if _is_silence(error):
        return True
    return 400 <= error.code < 500 and not isinstance(error, Unauthorized | TooManyRequests | Gone)
