"""Callers who mean harm: each holds a connection for as long as it can, and comes again when it is cut off.

All of 127/8 is this machine, so callers come from as many addresses as a test wants.
"""

from __future__ import annotations

import errno
import itertools
import selectors
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

Address = tuple[str, int]

_STEP_SECONDS = 0.02
_OPENED_A_STEP = 50
_CHUNK = 64 << 10


@dataclass(frozen=True)
class Habit:
    """What a caller sends: a piece at once, then more of the same at its pace, for ever."""

    name: str
    first: bytes = b""
    more: bytes = b""
    steps_between: int = 1
    most_times: int = 10_000
    ends_its_side: bool = False


def _client_hello(announced: int) -> bytes:
    """The beginning of a ClientHello that says it will be so long, in records as large as TLS has them."""
    body = b"\x01" + announced.to_bytes(3, "big") + b"\x03\x03" + bytes(32)
    body = body.ljust(16_384, b"\x00")
    return b"\x16\x03\x01" + struct.pack(">H", len(body)) + body


SILENT = Habit("silent")
HALF_OPEN = Habit("half open", ends_its_side=True)
SLOW_HEAD = Habit("slow head", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: ", b"a", steps_between=10)
MANY_HEADERS = Habit("many headers", b"GET /healthz HTTP/1.1\r\n", b"a: b\r\n" * 1000)
GIANT_HEADERS = Habit("giant headers", b"GET /healthz HTTP/1.1\r\n", b"a: " + b"x" * 65_000 + b"\r\n", most_times=98)
GIANT_LINE = Habit("giant line", b"GET /", b"x" * _CHUNK)
STALLED_HELLO = Habit("stalled hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x00", steps_between=10)
GIANT_HELLO = Habit("giant hello", _client_hello(131_000))

ON_ANY_PORT = (SILENT, HALF_OPEN, SLOW_HEAD, MANY_HEADERS, GIANT_HEADERS, GIANT_LINE)
ON_TLS = (SILENT, HALF_OPEN, STALLED_HELLO, GIANT_HELLO, GIANT_HEADERS)


@dataclass
class _Caller:
    habit: Habit
    source: str
    target: Address
    sock: socket.socket | None = None
    unsent: bytes = b""
    step: int = 0
    times: int = 0


@contextmanager
def besieged(target: Address, habits: tuple[Habit, ...], count: int, sources: int) -> Iterator[None]:
    """While inside, `count` callers from `sources` addresses hold on to `target`, each habit in turn."""
    kinds = itertools.cycle(habits)
    callers = [
        _Caller(next(kinds), f"127.66.{n % sources // 200}.{n % sources % 200 + 1}", target) for n in range(count)
    ]
    over, opened = threading.Event(), threading.Event()
    thread = threading.Thread(target=_besiege, args=(callers, opened, over), name="hostile-callers")
    thread.start()
    try:
        assert opened.wait(120)
        yield
    finally:
        over.set()
        thread.join(60)


def _besiege(callers: list[_Caller], opened: threading.Event, over: threading.Event) -> None:
    try:
        for step in itertools.count():
            if over.wait(_STEP_SECONDS):
                return
            for caller in [caller for caller in callers if caller.sock is None][:_OPENED_A_STEP]:
                _open(caller)
            if step * _OPENED_A_STEP > len(callers):
                opened.set()
            _cut_off(callers)
            for caller in callers:
                _send(caller)
    finally:
        for caller in callers:
            _close(caller)


def _open(caller: _Caller) -> None:
    sock = socket.socket()
    sock.setblocking(False)
    sock.bind((caller.source, 0))
    if sock.connect_ex(caller.target) not in (0, errno.EINPROGRESS):
        sock.close()
        return
    caller.sock, caller.unsent, caller.step, caller.times = sock, caller.habit.first, 0, 0


def _cut_off(callers: list[_Caller]) -> None:
    with selectors.DefaultSelector() as selector:
        for caller in callers:
            if caller.sock is not None:
                selector.register(caller.sock, selectors.EVENT_READ, caller)
        for key, _ in selector.select(0):
            try:
                if not key.data.sock.recv(_CHUNK):
                    _close(key.data)
            except BlockingIOError:
                pass
            except OSError:
                _close(key.data)


def _send(caller: _Caller) -> None:
    if caller.sock is None:
        return
    caller.step += 1
    is_time = caller.step % caller.habit.steps_between == 0 and caller.times < caller.habit.most_times
    if is_time and not caller.unsent:
        caller.unsent = caller.habit.more
        caller.times += 1
    try:
        while caller.unsent:
            caller.unsent = caller.unsent[caller.sock.send(caller.unsent) :]
        if caller.habit.ends_its_side:
            caller.sock.shutdown(socket.SHUT_WR)
    except BlockingIOError:
        pass
    except OSError as err:
        if err.errno != errno.ENOTCONN:
            _close(caller)


def _close(caller: _Caller) -> None:
    if caller.sock is not None:
        with suppress(OSError):
            caller.sock.close()
        caller.sock = None
