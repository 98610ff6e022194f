"""One thread that reads all streams of one server: it waits for whichever brings something, and cuts it into lines.

It decodes nothing and calls no handler, so that nothing but the wire takes its time; who reads a stream takes the lines
in a thread of its own choice. The thread is there while there are streams.
"""

from __future__ import annotations

import math
import os
import selectors
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from typing import Protocol

from dpunetop.base.clock import Clock
from dpunetop.kube.errors import Unreachable
from dpunetop.runtime.client.body import Body
from dpunetop.runtime.client.pace import Pace

MOST_WAITING_BYTES = 512 << 10
"""Of lines that the reader has not taken: then no more is read, so that the server has to wait. Besides, the reader has
as many in hand, and the line that is not complete yet has a limit of its own."""

_LINE_BYTES = 64  # what a line takes beside its content
_CHUNK_BYTES = 64 << 10
_READS = 16  # from one stream, before the others have their turn
_LEAST_LOOK_SECONDS = 0.1  # between two searches for what is late

Wake = Callable[[], None]


class Want(Enum):
    """What a connection waits for before it can be read on."""

    READABLE = selectors.EVENT_READ
    WRITABLE = selectors.EVENT_WRITE
    """TLS has something to say first."""


class Wire(Protocol):
    """A connection whose answer has begun, in the hands of the loop."""

    def fileno(self) -> int:
        """Of its socket."""

    def read(self, most_bytes: int) -> bytes | Want:
        """What is there, without waiting; empty: the other side has ended it. Raises: OSError."""

    def keep(self) -> None:
        """The answer was read to its end: the connection may serve another request."""

    def close(self) -> None:
        """Close the connection."""


class Over(Enum):
    """A stream has ended as it should."""

    OVER = auto()


class Stream:
    """The lines of one stream, between the loop and who reads them.

    Threads: `take` and `close` by one reader at a time; `wake` is called by the loop, after `take` found nothing.
    """

    def __init__(self, wire: Wire, body: Body, pace: Pace, most_line_bytes: int, wake: Wake) -> None:
        self.wire = wire
        self.pace = pace
        self.heard = -math.inf  # of the loop: when the last complete line came
        self._body = body  # of the loop
        self._most_line_bytes = most_line_bytes
        self._wake = wake
        self._rest = bytearray()  # of the loop: a line that is not complete
        self._guard = threading.Lock()  # guards all below
        self._lines: list[bytes] = []
        self._weight = 0
        self._end: BaseException | Over | None = None
        self._is_awaited = False
        self._is_paused = False

    def take(self) -> list[bytes] | Over | None:
        """The lines that have come; None: `wake` will be called. Raises: what the stream ended by, after its lines."""
        with self._guard:
            lines, self._lines, self._weight = self._lines, [], 0
            if lines or self._end is Over.OVER:
                return lines or Over.OVER
            if isinstance(self._end, BaseException):
                raise self._end
            self._is_awaited = True
            return None

    def unpause(self) -> bool:
        """All lines were taken: whether reading has waited for that, and is to be resumed."""
        with self._guard:
            was_paused, self._is_paused = self._is_paused, False
        return was_paused

    # -- for the loop

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come."""
        with self._guard:
            return self._end is not None

    @property
    def is_complete(self) -> bool:
        """Whether the answer was read to its end, so that its connection may serve another one."""
        return self._body.is_complete and not self._rest

    def pause_if_full(self) -> bool:
        """Whether the reader has to take all lines before more is read."""
        with self._guard:
            self._is_paused = self._weight > MOST_WAITING_BYTES
            return self._is_paused

    def feed(self, data: bytes, now: float) -> bool:
        """Take in what was read; none means that the connection has ended. Whether the stream is over by that.

        Raises: Unreachable; OSError.
        """
        if data:
            self._split(self._body.take(data), now)
        elif not self._body.may_end_here:
            raise ConnectionResetError("the connection ended within an answer")
        is_over = not data or self._body.is_complete
        if is_over and self._rest:
            raise Unreachable(0, "Reset", "the stream ended within a line")
        return is_over

    def _split(self, content: bytes, now: float) -> None:
        *lines, tail = content.split(b"\n")
        if lines:
            if self._rest:
                lines[0] = bytes(self._rest) + lines[0]
                self._rest.clear()
            self.heard = now
            self._put(lines)
        self._rest += tail
        if len(self._rest) > self._most_line_bytes:
            raise Unreachable(0, "TooLarge", f"a line of more than {self._most_line_bytes} bytes")

    def _put(self, lines: list[bytes]) -> None:
        with self._guard:
            self._lines += lines
            self._weight += sum(map(len, lines)) + _LINE_BYTES * len(lines)
            is_awaited, self._is_awaited = self._is_awaited, False
        if is_awaited:
            self._wake()

    def end(self, how: BaseException | Over) -> None:
        """Nothing more will come; the first reason counts."""
        with self._guard:
            self._end = self._end or how
            is_awaited, self._is_awaited = self._is_awaited, False
        if is_awaited:
            self._wake()


class Loop:
    """Reads the streams of one server.

    Guarantees: a stream that has ended, or was closed, or whose time is over leaves no socket behind; a reader that
        takes nothing holds up its own stream only; after `end` no thread is left.
    Threads: all methods from any thread but the loop's own, in which `wake` is called: it must be quick.
    """

    def __init__(self, name: str, clock: Clock, idle_seconds: float, on_heard: Callable[[float], None]) -> None:
        self._name = name
        self._clock = clock
        self._idle_seconds = idle_seconds
        self._on_heard = on_heard
        self._guard = threading.Lock()  # guards all below
        self._commands: list[Callable[[_Rounds], None]] = []
        self._thread: threading.Thread | None = None
        self._bell = -1  # an eventfd while the thread is there
        self._has_ended = False

    def add(self, stream: Stream) -> None:
        """Read that stream from now on. Raises: OSError after `end`, or if there can be no more threads."""
        stream.heard = self._clock.monotonic()
        with self._guard:
            if self._has_ended:
                raise ConnectionResetError("shut down while it was being opened")
            if self._thread is None:
                self._start_locked()
            self._command_locked(lambda rounds: rounds.add(stream))

    def resume(self, stream: Stream) -> None:
        """The reader has taken all of it: go on if reading had to wait for that."""
        self._command(lambda rounds: rounds.resume(stream))

    def close(self, stream: Stream) -> None:
        """End a stream that is no longer read."""
        stream.end(Over.OVER)
        self._command(lambda rounds: rounds.drop(stream))

    def cut(self, silent_since: float = math.inf) -> None:
        """End all streams on which nothing has come since then as if their connections were gone; by default all."""
        self._command(lambda rounds: rounds.cut(silent_since))

    def end(self) -> None:
        """Cut all, take no more, and wait until the thread has ended."""
        with self._guard:
            self._has_ended = True
            thread = self._thread
        self.cut()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _command(self, command: Callable[[_Rounds], None]) -> None:
        with self._guard:
            if self._thread is not None:
                self._command_locked(command)

    def _command_locked(self, command: Callable[[_Rounds], None]) -> None:
        self._commands.append(command)
        os.eventfd_write(self._bell, 1)

    def _start_locked(self) -> None:
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        thread = threading.Thread(target=self._run, name=f"streams {self._name}")
        self._thread = thread
        try:
            thread.start()
        except RuntimeError as err:  # the process may have no more threads
            self._leave_locked()
            raise OSError(str(err)) from err

    def _leave_locked(self) -> None:
        os.close(self._bell)
        self._thread, self._bell = None, -1

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            rounds = _Rounds(self._name, selector, self._clock, self._idle_seconds, self._on_heard)
            selector.register(self._bell, selectors.EVENT_READ)
            try:
                while self._obey(rounds):
                    rounds.go()
            except BaseException:  # shown by the interpreter; who reads begins anew
                self._break(rounds)
                raise

    def _break(self, rounds: _Rounds) -> None:
        with self._guard:
            commands, self._commands = self._commands, []
            self._leave_locked()
        for command in commands:
            command(rounds)
        rounds.cut()

    def _obey(self, rounds: _Rounds) -> bool:
        """Carry out the commands; whether there is anything to read."""
        while True:
            with self._guard:
                commands, self._commands = self._commands, []
                if not commands and rounds.is_empty:
                    self._leave_locked()
                    return False
            if not commands:
                return True
            with suppress(BlockingIOError):
                os.eventfd_read(self._bell)
            for command in commands:
                command(rounds)


class _Rounds:
    """What the loop does, in its thread."""

    def __init__(
        self,
        name: str,
        selector: selectors.BaseSelector,
        clock: Clock,
        idle_seconds: float,
        on_heard: Callable[[float], None],
    ) -> None:
        self._name = name
        self._selector = selector
        self._clock = clock
        self._idle_seconds = idle_seconds
        self._on_heard = on_heard
        self._streams: dict[Stream, Want | None] = {}  # what each is registered for; None: it waits for its reader
        self._hot: set[Stream] = set()  # may have more that the selector does not know of: TLS has read it already
        self._next_look = math.inf  # nothing is late before

    @property
    def is_empty(self) -> bool:
        return not self._streams

    def add(self, stream: Stream) -> None:
        if stream.has_ended:  # closed before it began
            stream.wire.close()
            return
        self._streams[stream] = None
        if stream.is_complete:
            self._end(stream, Over.OVER)
        self.resume(stream)

    def resume(self, stream: Stream) -> None:
        if self._streams.get(stream, Want.READABLE) is not None:
            return
        self._register(stream, Want.READABLE)
        self._hot.add(stream)
        stream.heard = self._clock.monotonic()
        self._next_look = min(self._next_look, stream.pace.bound(self._idle_seconds, stream.heard))

    def drop(self, stream: Stream) -> None:
        if stream not in self._streams:
            return
        self._register(stream, None)
        self._hot.discard(stream)
        del self._streams[stream]
        with suppress(OSError):
            if stream.is_complete:
                stream.wire.keep()
            else:
                stream.wire.close()

    def cut(self, silent_since: float = math.inf) -> None:
        for stream in [each for each in self._streams if each.heard < silent_since]:
            self._end(stream, ConnectionResetError("shut down"))

    def go(self) -> None:
        """Wait for something, and read it."""
        pause = 0.0 if self._hot else max(self._next_look - self._clock.monotonic(), 0.0)
        found = self._selector.select(None if math.isinf(pause) else pause)
        ready = self._hot | {key.data for key, _ in found if key.data is not None}
        for stream in ready:
            if stream in self._streams:
                self._read(stream)
        now = self._clock.monotonic()
        if now >= self._next_look:
            self._look(now)

    def _read(self, stream: Stream) -> None:
        self._hot.discard(stream)
        try:
            may_have_more = self._read_some(stream)
        except (Unreachable, OSError, ValueError) as err:
            self._end(stream, err)
            return
        if stream not in self._streams:
            return
        if stream.pause_if_full():
            self._register(stream, None)
        elif may_have_more:
            self._hot.add(stream)

    def _read_some(self, stream: Stream) -> bool:
        """Whether there may be more right now."""
        for _ in range(_READS):
            data = stream.wire.read(_CHUNK_BYTES)
            if isinstance(data, Want):
                self._register(stream, data)
                return False
            now = self._clock.monotonic()
            if data:
                self._on_heard(now)
            if stream.feed(data, now):
                self._end(stream, Over.OVER)
                return False
        return True

    def _end(self, stream: Stream, how: BaseException | Over) -> None:
        """The socket is gone when the reader learns of it."""
        self.drop(stream)
        stream.end(how)

    def _look(self, now: float) -> None:
        """End what is late. A stream that waits for its reader is not late: its socket is not read."""
        following = math.inf
        for stream in [each for each, want in self._streams.items() if want is not None]:
            due = stream.pace.bound(self._idle_seconds, stream.heard)
            if due <= now:
                late = stream.pace.lateness(self._name, self._idle_seconds)
                self._end(stream, Over.OVER if stream.pace.is_over() else late)
            else:
                following = min(following, due)
        self._next_look = max(following, now + _LEAST_LOOK_SECONDS)

    def _register(self, stream: Stream, want: Want | None) -> None:
        before = self._streams[stream]
        if want is before:
            return
        self._streams[stream] = want
        if want is None:
            self._selector.unregister(stream.wire)
        elif before is None:
            self._selector.register(stream.wire, want.value, stream)
        else:
            self._selector.modify(stream.wire, want.value, stream)
