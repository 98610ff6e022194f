"""The parent of a control plane's processes: it outlives the requesting process just long enough to end them.

It runs as a program of its own and imports only the standard library, so that it starts fast. Each line on stdin is a
JSON request, each line on stdout its JSON response:

    {"spawn": [argv], "env": {…}, "log": "file"}  ->  {"pid": 123}    or {"error": "text"}
    {"reap": 123}                                 ->  {"code": -9}    null: still running

When stdin ends, because the owner closed it or was killed, every child is killed, and the folder in the first argument
is removed. If this process is killed, the kernel kills the children (PR_SET_PDEATHSIG; it is tied to the forking
thread, and there is only one here).
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from typing import Any

_PR_SET_PDEATHSIG = 1
_OWNER_CHECK_SECONDS = 1.0

_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class _Children:
    """The processes started here and not yet reaped; the system does not reuse a pid before `reap`."""

    def __init__(self) -> None:
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def spawn(self, argv: list[str], env: dict[str, str], log: str) -> dict[str, Any]:
        try:
            with open(log, "ab") as output:
                child = subprocess.Popen(
                    argv,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    preexec_fn=_die_with_parent,
                )
        except OSError as err:
            return {"error": str(err)}
        self._running[child.pid] = child
        return {"pid": child.pid}

    def reap(self, pid: int) -> dict[str, Any]:
        child = self._running.get(pid)
        if child is None:
            return {"error": f"no child {pid}"}
        code = child.poll()
        if code is not None:
            del self._running[pid]
        return {"code": code}

    def kill_all(self) -> None:
        for child in self._running.values():
            child.kill()
        for child in self._running.values():
            child.wait()
        self._running.clear()


def _answer(children: _Children, line: bytes) -> dict[str, Any]:
    request = json.loads(line)
    if "spawn" in request:
        return children.spawn(request["spawn"], request["env"], request["log"])
    return children.reap(request["reap"])


def _serve(children: _Children, owner: int) -> None:
    """Serve requests until stdin ends or the owner is gone (a fork of the owner may hold the pipe open)."""
    pending = b""
    while os.getppid() == owner:
        if not select.select([0], [], [], _OWNER_CHECK_SECONDS)[0]:
            continue
        chunk = os.read(0, 65536)
        if not chunk:
            return
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            os.write(1, json.dumps(_answer(children, line)).encode() + b"\n")


def main(folder: str, owner: int) -> None:
    """Serve the owner's requests, then kill all children and remove `folder`."""
    children = _Children()
    try:
        _serve(children, owner)
    finally:
        children.kill_all()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
