"""TLS front ends before one API server, each a cluster of its own to whoever comes: another CA, another `kube-system`.

`python -m bench.frontends URL CA-FILE UID COUNT` prints one line of JSON: port and CA of each; then it serves until its
standard input ends. A line `NUMBER SECONDS` there has the last NUMBER of them pass on what they are asked only after so
long, the others at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from dpunetop.kube.keys import NAMESPACES
from dpunetop.kube.meta import uid_of
from dpunetop.kube.requests import get
from dpunetop.sandbox.controlplane import ControlPlane
from dpunetop.sandbox.pki import Authority, server_context

_CHUNK_BYTES = 64 << 10


@dataclass(frozen=True)
class FrontEnd:
    """Where one of them listens, and what it is certified by."""

    port: int
    ca_pem: str


class FrontEnds:
    """All of them, in a process of their own. Threads: one."""

    def __init__(self, ends: list[FrontEnd], orders: IO[bytes]) -> None:
        self.ends = ends
        self._orders = orders

    def slow_down(self, number: int, seconds: float) -> None:
        """Have the last `number` of them answer everything so much later, the others at once."""
        self._orders.write(f"{number} {seconds}\n".encode())
        self._orders.flush()


@contextlib.contextmanager
def front_ends(plane: ControlPlane, number: int) -> Iterator[FrontEnds]:
    """So many tenants that are one control plane."""
    uid = uid_of(plane.admin.get(get(NAMESPACES, "", "kube-system").target))
    with tempfile.NamedTemporaryFile() as ca:
        ca.write(plane.ca_pem)
        ca.flush()
        argv = [sys.executable, "-m", "bench.frontends", plane.url, ca.name, uid, str(number)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        pipe = subprocess.PIPE
        with subprocess.Popen(argv, stdin=pipe, stdout=pipe, env=environment) as running:
            assert running.stdin is not None
            assert running.stdout is not None
            yield FrontEnds([FrontEnd(**end) for end in json.loads(running.stdout.readline())], running.stdin)


@dataclass(frozen=True)
class _Upstream:
    host: str
    port: int
    trust: ssl.SSLContext


@dataclass
class _Pace:
    """How long one of them keeps what it is asked."""

    seconds: float = 0.0


async def _serve(upstream: _Upstream, uid: bytes, number: int, pace: _Pace) -> FrontEnd:
    authority = Authority(f"bench-{number}")
    context = server_context(authority.serving(("localhost",), ("127.0.0.1",)))
    own = str(uuid.uuid5(uuid.UUID(uid.decode()), str(number))).encode()

    async def link(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(upstream.host, upstream.port, ssl=upstream.trust)
        with contextlib.suppress(asyncio.CancelledError):  # all end together, and nobody asks why
            await asyncio.gather(_pump(reader, far_writer, pace), _pump(far_reader, writer, _Pace(), uid, own))

    server = await asyncio.start_server(link, "127.0.0.1", 0, ssl=context)
    return FrontEnd(server.sockets[0].getsockname()[1], authority.pem.decode())


async def _pump(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, pace: _Pace, old: bytes = b"", new: bytes = b""
) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(_CHUNK_BYTES):
            if pace.seconds:
                await asyncio.sleep(pace.seconds)
            sink.write(data.replace(old, new) if old else data)  # as long as each other: no length changes
            await sink.drain()
    with contextlib.suppress(OSError):
        sink.close()


async def _main(url: str, ca_file: str, uid: str, count: int) -> None:
    parts = urlsplit(url)
    upstream = _Upstream(str(parts.hostname), parts.port or 443, ssl.create_default_context(cafile=ca_file))
    paces = [_Pace() for _ in range(count)]
    ends = [await _serve(upstream, uid.encode(), number, pace) for number, pace in enumerate(paces)]
    print(json.dumps([asdict(end) for end in ends]), flush=True)
    while line := await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        number, seconds = line.split()
        for index, pace in enumerate(paces):
            pace.seconds = float(seconds) if index >= count - int(number) else 0.0


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
