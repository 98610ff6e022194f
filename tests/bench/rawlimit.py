"""The raw limit: the same server-side applies, byte for byte, from a client that does nothing but send them.

It holds the same watches meanwhile, and decodes what they bring. What a plan decides, compares and waits for is left
out; so is whatever a client library does. A write that named the version of what was read before names the version of
the answer before.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bench.writes import Write

_APPLY = "application/apply-patch+yaml"
_SECONDS = 60.0
_QUIET_SECONDS = 0.5


@dataclass(frozen=True)
class Limit:
    """What the server took from a number of connections."""

    connections: int
    writes: int
    seconds: float

    @property
    def rate(self) -> float:
        """Writes per second."""
        return self.writes / self.seconds if self.seconds else 0.0


class Target:
    """One API server, and who writes to it."""

    def __init__(self, url: str, ca_pem: bytes, token: str) -> None:
        self._address = urlsplit(url)
        self._trust = ssl.create_default_context(cadata=ca_pem.decode())
        self.headers = {"Authorization": f"Bearer {token}", "Accept": "application/json", "Content-Type": _APPLY}

    def connect(self) -> http.client.HTTPSConnection:
        """A connection that stays open."""
        assert self._address.hostname is not None
        connection = http.client.HTTPSConnection(
            self._address.hostname, self._address.port, timeout=_SECONDS, context=self._trust
        )
        connection.connect()
        return connection

    def send(self, connection: http.client.HTTPSConnection, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        """Ask and wait for the answer."""
        connection.request(method, target, body, self.headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def measure(target: Target, writes: Sequence[Write], connections: int) -> Limit:
    """Send all of `writes`; those of one object in their order, over one connection.

    Raises: RuntimeError if one is refused.
    """
    lanes = [
        [w for w in writes if zlib.crc32(object_of(w.path).encode()) % connections == n] for n in range(connections)
    ]
    senders = [_Lane(target, lane) for lane in lanes if lane]
    threads = [threading.Thread(target=sender.run, name=f"raw-{n}") for n, sender in enumerate(senders)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - begin
    for sender in senders:
        if sender.failure:
            raise RuntimeError(sender.failure)
    return Limit(connections, len(writes), seconds)


def object_of(path: str) -> str:
    """The path of an object, of whichever of its subresources a path is: they have one version."""
    return path.removesuffix("/status")


class _Watch:
    """One watch that is read until it is closed. Threads: `run` by one, the rest by another."""

    def __init__(self, target: Target, collection: str) -> None:
        self._connection = target.connect()
        self._connection.request("GET", collection, None, target.headers)
        self._thread = threading.Thread(target=self.run, name=f"watch {collection}")
        self.lines = 0

    def run(self) -> None:
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):  # it is being closed
            for line in self._connection.getresponse():
                json.loads(line)
                self.lines += 1

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._connection.close()


@contextmanager
def watching(target: Target, collections: Iterable[str]) -> Iterator[None]:
    """Hold watches of these; what exists at first is read before the block begins."""
    watches = [_Watch(target, each) for each in collections]
    for watch in watches:
        watch.start()
    try:
        _await_quiet(watches)
        yield
    finally:
        for watch in watches:
            watch.close()


def _await_quiet(watches: Sequence[_Watch]) -> None:
    before = -1
    while (now := sum(watch.lines for watch in watches)) != before:
        before = now
        time.sleep(_QUIET_SECONDS)


class _Lane:
    """The writes of one connection, encoded before the clock runs. Threads: `run` by one."""

    def __init__(self, target: Target, writes: Sequence[Write]) -> None:
        self.failure = ""
        self._target = target
        self._connection = target.connect()
        self._writes = [(f"{w.path}?{w.query}", object_of(w.path), w.body, json.dumps(w.body).encode()) for w in writes]
        self._answers: dict[str, Any] = {}

    def run(self) -> None:
        try:
            for where, obj, body, encoded in self._writes:
                status, answer = self._target.send(self._connection, "PATCH", where, self._current(obj, body, encoded))
                if status >= 300:
                    self.failure = f"PATCH {where}: {status} {answer[:300].decode(errors='replace')}"
                    return
                self._answers[obj] = answer
        finally:
            self._connection.close()

    def _current(self, obj: str, body: Any, encoded: bytes) -> bytes:
        before = self._answers.get(obj)
        if before is None or not {"uid", "resourceVersion"} & body["metadata"].keys():
            return encoded
        live = json.loads(before)["metadata"]
        named = {key: live[key] for key in ("uid", "resourceVersion") if key in body["metadata"]}
        return json.dumps({**body, "metadata": {**body["metadata"], **named}}).encode()
