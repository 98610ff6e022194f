"""One thread that reads all watch streams of one server: it selects over their sockets and splits data into lines.

It decodes nothing and calls no handler; the reader of a stream takes the lines in a thread of its own. The thread runs
while there are streams.
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
from dpunetop.runtime.client.streamdeadline import StreamDeadline

MOST_WAITING_BYTES = 512 << 10
"""Limit of the lines that the reader has not taken; at it the loop stops reading, so that the server waits. The reader
may hold as many again, and an incomplete line has its own limit."""

_LINE_BYTES = 64  # memory of a line beside its content
_CHUNK_BYTES = 64 << 10
_READS = 16  # from one stream before the next one's turn
_DEADLINE_CHECK_SECONDS = 0.1  # between two searches for late streams

Wake = Callable[[], None]


class Readiness(Enum):
    """The readiness that a connection waits for before the next read."""

    READABLE = selectors.EVENT_READ
    WRITABLE = selectors.EVENT_WRITE
    """TLS must write first."""


class StreamConnection(Protocol):
    """A connection whose response has begun, owned by the loop."""

    def fileno(self) -> int:
        """Of its socket."""

    def read(self, most_bytes: int) -> bytes | Readiness:
        """Read without blocking; empty: the peer has closed. Raises: OSError."""

    def keep(self) -> None:
        """The response was read to its end: return the connection to its pool."""

    def close(self) -> None:
        """Close the connection."""


class EndOfStream(Enum):
    """A stream has ended without an error."""

    REACHED = auto()


class Stream:
    """The lines of one stream, between the loop and its reader.

    Threads: `take` and `close` by one reader at a time; the loop calls `wake` after `take` found nothing.
    """

    def __init__(
        self, connection: StreamConnection, body: Body, deadline: StreamDeadline, most_line_bytes: int, wake: Wake
    ) -> None:
        self.connection = connection
        self.deadline = deadline
        self.heard = -math.inf  # of the loop: when the last complete line came
        self._body = body  # of the loop
        self._most_line_bytes = most_line_bytes
        self._wake = wake
        self._rest = bytearray()  # of the loop: a line that is not complete
        self._guard = threading.Lock()  # guards all below
        self._lines: list[bytes] = []
        self._weight = 0
        self._end: BaseException | EndOfStream | None = None
        self._is_awaited = False
        self._is_paused = False

    def take(self) -> list[bytes] | EndOfStream | None:
        """The lines that have arrived; None: `wake` will be called. Raises: the error that ended the stream, after its
        last lines."""
        with self._guard:
            lines, self._lines, self._weight = self._lines, [], 0
            if lines or self._end is EndOfStream.REACHED:
                return lines or EndOfStream.REACHED
            if isinstance(self._end, BaseException):
                raise self._end
            self._is_awaited = True
            return None

    def unpause(self) -> bool:
        """All lines were taken; return whether the loop has paused for that and must resume."""
        with self._guard:
            was_paused, self._is_paused = self._is_paused, False
        return was_paused

    # -- for the loop

    @property
    def has_ended(self) -> bool:
        """Whether the stream has ended."""
        with self._guard:
            return self._end is not None

    @property
    def is_complete(self) -> bool:
        """Whether the response was read to its end, so that its connection can be used again."""
        return self._body.is_complete and not self._rest

    def pause_if_full(self) -> bool:
        """Pause if the limit is reached; return whether the reader must take all lines before the loop reads on."""
        with self._guard:
            self._is_paused = self._weight > MOST_WAITING_BYTES
            return self._is_paused

    def feed(self, data: bytes, now: float) -> bool:
        """Add bytes that were read (none: the connection has ended); return whether the stream is over.

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

    def end(self, how: BaseException | EndOfStream) -> None:
        """End the stream; the first reason counts."""
        with self._guard:
            self._end = self._end or how
            is_awaited, self._is_awaited = self._is_awaited, False
        if is_awaited:
            self._wake()


class Loop:
    """Reads the streams of one server.

    Guarantees: a stream that has ended, was closed, or is past its deadline leaves no open socket; a reader that takes
        nothing delays only its own stream; after `end` no thread is left.
    Threads: all methods from any thread except the loop's own, which calls `wake`: that must be quick.
    """

    def __init__(self, name: str, clock: Clock, idle_seconds: float, on_heard: Callable[[float], None]) -> None:
        self._name = name
        self._clock = clock
        self._idle_seconds = idle_seconds
        self._on_heard = on_heard
        self._guard = threading.Lock()  # guards all below
        self._commands: list[Callable[[_LoopSteps], None]] = []
        self._thread: threading.Thread | None = None
        self._bell = -1  # an eventfd while the thread is there
        self._has_ended = False

    def add(self, stream: Stream) -> None:
        """Begin to read that stream. Raises: OSError after `end`, or if no thread can be started."""
        stream.heard = self._clock.monotonic()
        with self._guard:
            if self._has_ended:
                raise ConnectionResetError("shut down while it was being opened")
            if self._thread is None:
                self._start_locked()
            self._command_locked(lambda steps: steps.add(stream))

    def resume(self, stream: Stream) -> None:
        """The reader has taken all lines: read on if the stream was paused."""
        self._command(lambda steps: steps.resume(stream))

    def close(self, stream: Stream) -> None:
        """End a stream that is no longer read."""
        stream.end(EndOfStream.REACHED)
        self._command(lambda steps: steps.drop(stream))

    def cut(self, silent_since: float = math.inf) -> None:
        """End the streams that have been silent since then as if their connections were reset; by default all."""
        self._command(lambda steps: steps.cut(silent_since))

    def end(self) -> None:
        """End all streams, accept no more, and wait until the thread has ended."""
        with self._guard:
            self._has_ended = True
            thread = self._thread
        self.cut()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _command(self, command: Callable[[_LoopSteps], None]) -> None:
        with self._guard:
            if self._thread is not None:
                self._command_locked(command)

    def _command_locked(self, command: Callable[[_LoopSteps], None]) -> None:
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
            steps = _LoopSteps(self._name, selector, self._clock, self._idle_seconds, self._on_heard)
            selector.register(self._bell, selectors.EVENT_READ)
            try:
                while self._obey(steps):
                    steps.go()
            except BaseException:  # the interpreter shows it; the readers reconnect
                self._break(steps)
                raise

    def _break(self, steps: _LoopSteps) -> None:
        with self._guard:
            commands, self._commands = self._commands, []
            self._leave_locked()
        for command in commands:
            command(steps)
        steps.cut()

    def _obey(self, steps: _LoopSteps) -> bool:
        """Carry out the pending commands; return whether there are streams to read."""
        while True:
            with self._guard:
                commands, self._commands = self._commands, []
                if not commands and steps.is_empty:
                    self._leave_locked()
                    return False
            if not commands:
                return True
            with suppress(BlockingIOError):
                os.eventfd_read(self._bell)
            for command in commands:
                command(steps)


class _LoopSteps:
    """The state and the steps of the loop, in its thread."""

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
        self._streams: dict[Stream, Readiness | None] = {}  # the readiness; None: paused for its reader
        self._hot: set[Stream] = set()  # TLS may hold decrypted bytes that the selector does not see
        self._next_deadline = math.inf  # no stream is late before

    @property
    def is_empty(self) -> bool:
        return not self._streams

    def add(self, stream: Stream) -> None:
        if stream.has_ended:  # closed before it began
            stream.connection.close()
            return
        self._streams[stream] = None
        if stream.is_complete:
            self._end(stream, EndOfStream.REACHED)
        self.resume(stream)

    def resume(self, stream: Stream) -> None:
        if self._streams.get(stream, Readiness.READABLE) is not None:
            return
        self._register(stream, Readiness.READABLE)
        self._hot.add(stream)
        stream.heard = self._clock.monotonic()
        self._next_deadline = min(self._next_deadline, stream.deadline.bound(self._idle_seconds, stream.heard))

    def drop(self, stream: Stream) -> None:
        if stream not in self._streams:
            return
        self._register(stream, None)
        self._hot.discard(stream)
        del self._streams[stream]
        with suppress(OSError):
            if stream.is_complete:
                stream.connection.keep()
            else:
                stream.connection.close()

    def cut(self, silent_since: float = math.inf) -> None:
        for stream in [each for each in self._streams if each.heard < silent_since]:
            self._end(stream, ConnectionResetError("shut down"))

    def go(self) -> None:
        """Wait until a stream is readable, and read it."""
        pause = 0.0 if self._hot else max(self._next_deadline - self._clock.monotonic(), 0.0)
        found = self._selector.select(None if math.isinf(pause) else pause)
        ready = self._hot | {key.data for key, _ in found if key.data is not None}
        for stream in ready:
            if stream in self._streams:
                self._read(stream)
        now = self._clock.monotonic()
        if now >= self._next_deadline:
            self._end_late(now)

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
        """Read once; return whether more may be readable at once."""
        for _ in range(_READS):
            data = stream.connection.read(_CHUNK_BYTES)
            if isinstance(data, Readiness):
                self._register(stream, data)
                return False
            now = self._clock.monotonic()
            if data:
                self._on_heard(now)
            if stream.feed(data, now):
                self._end(stream, EndOfStream.REACHED)
                return False
        return True

    def _end(self, stream: Stream, how: BaseException | EndOfStream) -> None:
        """End a stream; its socket is closed before the reader learns of the end."""
        self.drop(stream)
        stream.end(how)

    def _end_late(self, now: float) -> None:
        """End the streams past their deadline; not a paused one, whose socket is not read."""
        following = math.inf
        for stream in [each for each, readiness in self._streams.items() if readiness is not None]:
            due = stream.deadline.bound(self._idle_seconds, stream.heard)
            if due <= now:
                late = stream.deadline.lateness(self._name, self._idle_seconds)
                self._end(stream, EndOfStream.REACHED if stream.deadline.is_over() else late)
            else:
                following = min(following, due)
        self._next_deadline = max(following, now + _DEADLINE_CHECK_SECONDS)

    def _register(self, stream: Stream, readiness: Readiness | None) -> None:
        before = self._streams[stream]
        if readiness is before:
            return
        self._streams[stream] = readiness
        if readiness is None:
            self._selector.unregister(stream.connection)
        elif before is None:
            self._selector.register(stream.connection, readiness.value, stream)
        else:
            self._selector.modify(stream.connection, readiness.value, stream)
