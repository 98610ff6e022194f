"""The command `sandbox` as a process of its own, and what it has said so far."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


class Running:
    """A sandbox and what it has said so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []

    def read_until(self, pattern: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if re.search(pattern, line):
                return line
        pytest.fail(f"it ended without {pattern}:\n{''.join(self.lines)}")

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        assert self.process.stdout is not None
        self.lines += self.process.stdout
        return self.process.wait(60)


@contextmanager
def sandbox(*flags: str) -> Iterator[Running]:
    """Started as a shell starts what runs in the background: SIGINT is ignored, unless it sees to that itself."""
    command = [sys.executable, "-u", "-m", "dpunetop", "sandbox", *flags]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        signal.signal(signal.SIGINT, before)
        limit = threading.Timer(600, process.kill)
        limit.start()
        try:
            yield Running(process)
        finally:
            limit.cancel()
            limit.join()
            process.kill()
