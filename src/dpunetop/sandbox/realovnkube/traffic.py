"""TCP between two network namespaces, by one program in each: `echo ADDRESS PORT` serves, `ask ADDRESS PORT` sends.

The client sends ten requests a second, over one connection while it lasts, until its stdin ends; then it prints its
results as JSON.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Self

from dpunetop.sandbox.realovn.network import NetworkNamespace

_EVERY_SECONDS = 0.1
_TIMEOUT_SECONDS = 3.0
_END_SECONDS = 15.0
_BYTES = 64


@dataclass
class EchoResults:
    """The results of a client."""

    count: int = 0
    connections: int = 0
    longest_gap_seconds: float = 0.0
    """The longest time without a response, the start and the end included."""
    seen_as: str = ""
    """Our address as the server saw it."""
    trouble: str = ""
    """The last error, if any."""


class EchoServer:
    """A server in a network namespace that responds with the address of the client: a context manager."""

    def __init__(self, place: NetworkNamespace, address: str, port: int) -> None:
        self._process = _start(place, "echo", address, port)

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it listens
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        _finish(self._process)


class EchoClient:
    """A client in a network namespace, which sends requests until `end`.

    Guarantees: `end` returns the results; call it once.
    """

    def __init__(self, place: NetworkNamespace, address: str, port: int) -> None:
        self._process = _start(place, "ask", address, port)

    def end(self) -> EchoResults:
        """Stop the client; returns its results."""
        return EchoResults(**json.loads(_finish(self._process)))


def ask(place: NetworkNamespace, address: str, port: int, seconds: float = 1.0) -> EchoResults:
    """Send requests for a while, or longer until the first response."""
    asking = EchoClient(place, address, port)
    time.sleep(seconds)
    return asking.end()


def _start(place: NetworkNamespace, *words: str | int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", __name__, *map(str, words)]
    return subprocess.Popen(place.argv(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _finish(process: subprocess.Popen[str]) -> str:
    try:
        said, _ = process.communicate(timeout=_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
    return said


# --- the program ------------------------------------------------------------------------------------------------------


def _answer(address: str, port: int) -> None:
    with socket.create_server((address, port)) as listener:
        print("listens", flush=True)
        peers: set[socket.socket] = set()
        while True:
            ready, _, _ = select.select([sys.stdin, listener, *peers], [], [])
            if sys.stdin in ready:
                return
            if listener in ready:
                peers.add(listener.accept()[0])
            for one in [peer for peer in peers if peer in ready and not _echo(peer)]:
                peers.discard(one)
                one.close()


def _echo(peer: socket.socket) -> bool:
    """Respond once; returns whether the connection is still open."""
    with contextlib.suppress(OSError):
        if peer.recv(_BYTES):
            peer.sendall(peer.getpeername()[0].encode())
            return True
    return False


def _ask(address: str, port: int) -> None:
    answers, last = EchoResults(), time.monotonic()
    while True:
        try:
            with socket.create_connection((address, port), _TIMEOUT_SECONDS) as connection:
                answers.connections += 1
                while not _is_over():
                    connection.sendall(b"?")
                    answers.seen_as = connection.recv(_BYTES).decode()
                    answers.count += 1
                    answers.longest_gap_seconds = max(answers.longest_gap_seconds, time.monotonic() - last)
                    last = time.monotonic()
        except OSError as err:
            answers.trouble = str(err)
        if _is_over():
            break
    answers.longest_gap_seconds = round(max(answers.longest_gap_seconds, time.monotonic() - last), 2)
    print(json.dumps(asdict(answers)), flush=True)


def _is_over() -> bool:
    """Whether stdin has ended; waits briefly for that."""
    return bool(select.select([sys.stdin], [], [], _EVERY_SECONDS)[0])


def main(arguments: Sequence[str]) -> None:
    """See the module."""
    what, address, port = arguments
    {"echo": _answer, "ask": _ask}[what](address, int(port))


if __name__ == "__main__":
    main(sys.argv[1:])
