"""TLS front ends before one API server, each a cluster of its own to whoever comes: another CA, another `kube-system`.

`python -m bench.frontends URL CA-FILE UID COUNT` prints one line of JSON: port and CA of each; then it serves until its
standard input ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import sys
import uuid
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from dpunetop.sandbox.pki import Authority, server_context

_CHUNK_BYTES = 64 << 10


@dataclass(frozen=True)
class FrontEnd:
    """Where one of them listens, and what it is certified by."""

    port: int
    ca_pem: str


@dataclass(frozen=True)
class _Upstream:
    host: str
    port: int
    trust: ssl.SSLContext


async def _serve(upstream: _Upstream, uid: bytes, number: int) -> FrontEnd:
    authority = Authority(f"bench-{number}")
    context = server_context(authority.serving(("localhost",), ("127.0.0.1",)))
    own = str(uuid.uuid5(uuid.UUID(uid.decode()), str(number))).encode()

    async def link(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(upstream.host, upstream.port, ssl=upstream.trust)
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer, uid, own))

    server = await asyncio.start_server(link, "127.0.0.1", 0, ssl=context)
    return FrontEnd(server.sockets[0].getsockname()[1], authority.pem.decode())


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, old: bytes = b"", new: bytes = b"") -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(_CHUNK_BYTES):
            sink.write(data.replace(old, new) if old else data)  # as long as each other: no length changes
            await sink.drain()
    with contextlib.suppress(OSError):
        sink.close()


async def _main(url: str, ca_file: str, uid: str, count: int) -> None:
    parts = urlsplit(url)
    upstream = _Upstream(str(parts.hostname), parts.port or 443, ssl.create_default_context(cafile=ca_file))
    ends = [await _serve(upstream, uid.encode(), number) for number in range(count)]
    print(json.dumps([asdict(end) for end in ends]), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
