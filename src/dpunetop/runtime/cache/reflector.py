"""List, watch, resume, relist: mirrors one collection of an API server into a store.

`listwatch` decides the next request; this module sends it and reads the response without blocking.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Protocol, assert_never

import structlog

from dpunetop.base.clock import Clock
from dpunetop.base.stop import Stop
from dpunetop.kube.errors import ApiError, Unreachable
from dpunetop.kube.requests import Selection
from dpunetop.kube.watch import Quiet, WatchEvent
from dpunetop.runtime.cache.history import History
from dpunetop.runtime.cache.listwatch import (
    PAUSE_SECONDS,
    Action,
    ListPages,
    ListWatchState,
    Page,
    Pause,
    ProbeVersion,
    Query,
    TimeWentBack,
    Watch,
    WatchList,
)
from dpunetop.runtime.cache.store import Writer
from dpunetop.runtime.cache.transform import Transform
from dpunetop.runtime.flowcontrol import Backoff

Wake = Callable[[], None]
"""Called from any thread when `step` has work; it must not block."""


class ListWatch(Protocol):
    """The source of a reflector; a `Client` is one.

    Threads: an iterator is used by one thread at a time, not always the same one.
    Raises: ApiError, from each method and from each iterator.
    """

    def present_version(self, selection: Selection) -> str:
        """The current resourceVersion of the collection, by the cheapest quorum read."""

    def pages(self, selection: Selection, page_size: int) -> Iterator[Page]:
        """All objects, by a quorum read in pages."""

    def follow(self, selection: Selection, resource_version: str, wake: Wake) -> Iterator[WatchEvent | Quiet]:
        """Changes from that version on; ends at the server's timeout, raises `IdleTimeout` if no line comes.

        Instead of blocking it may yield QUIET and call `wake` once there is more.
        """

    def follow_list(self, selection: Selection, wake: Wake) -> Iterator[WatchEvent | Quiet]:
        """All objects as events, the bookmark that ends them, then changes; as `follow`."""


class Reflector:
    """Mirror one collection of the API server into a store.

    Guarantees: readers see, per object, a subsequence of the server's states in order; the next list removes objects
        that were deleted while the watch was down. The store is eventually consistent.
    Threads: `step` by one thread at a time, which is the store's only writer. Everything else from any thread.
    Raises: no ApiError: `step` backs off instead. Any other exception is a bug and leaves `step`; the next `step`
        relists after a pause.
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
        """`wake` asks for another `step`; `on_stored` gets the resourceVersion of the store, empty while a list is not
        complete."""
        self._source = source
        self._selection = selection
        self._wake = wake
        self._page_size = page_size
        self._clock = clock
        self._on_stored = on_stored
        self._on_trouble = on_trouble
        self._random = random
        backoff = Backoff(PAUSE_SECONDS, 2.0, 30.0, 1.0, random)
        self._state = ListWatchState(selection, writer, transform, backoff, history, on_time_went_back, most_weight)
        self._log = structlog.get_logger().bind(selection=str(selection))
        self._last_reason = ""
        self._current: _CurrentAction | None = None
        self._rest_until: float | None = None
        self._rest_at_least_until = 0.0
        self._is_hastened = False  # set by any thread, cleared by the thread in step

    def step(self, stop: Stop) -> float | None:
        """Read until nothing more is there; return the seconds until the next step, None: until `wake`.

        Guarantees: after a step with `stop` set no connection is held, so call it once more when `stop` is set.
        """
        has_ended = False
        try:
            rest = self._go(stop)
            has_ended = True
        finally:
            if not has_ended:
                self._rest_until = None
                self._state.relist()
                self._leave()
        return rest

    def _go(self, stop: Stop) -> float | None:
        while not stop.is_set():
            if self._current is None:
                rest = self._left_to_rest()
                if rest > 0:
                    return rest
                self._begin(self._state.next())
            elif not self._go_on(self._current, stop):
                return None
        self._leave()
        return None

    @property
    def reached(self) -> int | None:
        """The version up to which the store is complete; None while it must be relisted."""
        return self._state.reached

    def hasten(self) -> None:
        """The server answers again: cut the current or the next pause short; a pause before a relist keeps the length
        of a first one."""
        self._is_hastened = True
        self._wake()

    def _left_to_rest(self) -> float:
        if self._rest_until is None:
            return 0.0
        if self._is_hastened:
            self._is_hastened = False
            self._state.hasten()
            self._rest_until = min(self._rest_until, self._rest_at_least_until)
        left = self._rest_until - self._clock.monotonic()
        if left <= 0:
            self._rest_until = None
        return left

    def _begin(self, action: Action) -> None:
        now = self._clock.monotonic()
        if isinstance(action, Pause):
            least = PAUSE_SECONDS * (1.0 + self._random()) if self._state.must_list else 0.0
            self._rest_until, self._rest_at_least_until = now + action.seconds, now + least
        else:
            self._current = _CurrentAction(action, now, self._parts(action))

    def _parts(self, action: Query) -> Generator[Page | WatchEvent | Quiet, None, None]:
        """The pages or events of the action. Closing the generator returns its connection."""
        match action:
            case ProbeVersion():
                pass
            case ListPages():
                yield from self._source.pages(self._selection, self._page_size)
            case WatchList():
                yield from self._source.follow_list(self._selection, self._wake)
            case Watch(version):
                yield from self._source.follow(self._selection, version, self._wake)
            case _:
                assert_never(action)

    def _go_on(self, current: _CurrentAction, stop: Stop) -> bool:
        """Read on; return whether the action has ended or `stop` is set."""
        try:
            if isinstance(current.action, ProbeVersion):
                self._state.answered(self._source.present_version(self._selection))
            elif not self._read(current, stop):
                return stop.is_set()
        except ApiError as error:
            error.__traceback__ = None  # it references the page that was read, and `trouble` keeps the error
            self._leave()
            if not stop.is_set() and self._state.failed(error, self._clock.monotonic() - current.began):
                self._report(current.action, error)
        self._leave()
        return True

    def _read(self, current: _CurrentAction, stop: Stop) -> bool:
        """Apply what has arrived; return whether the response is complete."""
        for part in current.parts:
            if isinstance(part, Quiet) or stop.is_set():
                return False
            self._state.take(part)
            self._stored()
            del part  # else it stays in memory until the next one is decoded
        self._leave()
        self._state.ended(self._clock.monotonic() - current.began)
        if not self._state.is_to_pause:
            self._stored()
        return True

    def _leave(self) -> None:
        """End the current action and return its connection."""
        current, self._current = self._current, None
        if current is not None:
            current.parts.close()

    def _stored(self) -> None:
        version = self._state.resource_version
        if version:
            self._last_reason = ""
        self._on_stored(version)

    def _report(self, action: Action, error: ApiError) -> None:
        """Log each cause once, not its repetitions. An unreachable server is no warning here: the cluster warns of it
        once for all collections."""
        if error.reason == self._last_reason:
            return
        self._last_reason = error.reason
        doing = type(action).__name__
        tell = self._log.info if isinstance(error, Unreachable) else self._log.warning
        tell("reading failed", doing=doing, code=error.code, reason=error.reason, error=error.message)
        self._on_trouble(error)


@dataclass(frozen=True, slots=True)
class _CurrentAction:
    """The current action: when it began, and its pages or events."""

    action: Query
    began: float
    parts: Generator[Page | WatchEvent | Quiet, None, None]
