"""What is read of a process that may end at any moment."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from dpunetop.sandbox import processes


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("code", [errno.ENOENT, errno.ESRCH])
def test_a_process_that_another_thread_has_reaped_meanwhile_is_killed(
    process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def gone(path: object) -> list[str]:
        raise OSError(code, os.strerror(code), str(path))

    for listing in ("scandir", "listdir"):
        monkeypatch.setattr(os, listing, gone)
    processes.kill(process.pid)
    monkeypatch.undo()
    assert process.wait(60) == -9
