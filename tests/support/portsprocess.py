"""A process that serves nothing but the two ports, so that what callers cost is seen in its memory.

Run as `python -m support.portsprocess FOLDER`: the serving certificate lies in FOLDER. It prints the numbers of the
health and of the metrics port, and ends with its standard input. Whoever brings the token `good` may read the metrics.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from dpunetop.base.clock import RealClock
from dpunetop.base.stop import Stop
from dpunetop.runtime.metrics import Metrics
from dpunetop.runtime.serving.reviews import Reviewer, Verdict
from dpunetop.runtime.serving.server import Certificate, Guarded, HealthServer, MetricsServer

ANYWHERE = ("127.0.0.1", 0)
KIB_PER_MIB = 1024


class PortsProcess:
    """The process, from outside."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.portsprocess", str(folder)],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        health, metrics = self._process.stdout.readline().split()
        self.health, self.metrics = ("127.0.0.1", int(health)), ("127.0.0.1", int(metrics))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=60)
        assert self._process.returncode == 0 or kind is not None

    def memory_mib(self) -> float:
        """What of it is in memory now."""
        return self._status("VmRSS") / KIB_PER_MIB

    def most_memory_mib(self) -> float:
        """The most that has been in memory."""
        return self._status("VmHWM") / KIB_PER_MIB

    def threads(self) -> int:
        """How many threads it has now."""
        return self._status("Threads")

    def _status(self, field: str) -> int:
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


class _Judge(Reviewer):
    """Knows one token, and asks nobody."""

    def __init__(self) -> None:
        pass

    def judge(self, token: str, *_: object, **__: object) -> Verdict:
        return Verdict.ALLOWED if token == "good" else Verdict.UNKNOWN_CALLER


def _serve(folder: str) -> None:
    stop, clock, metrics = Stop(), RealClock(), Metrics()
    door = Guarded(_Judge(), Certificate(folder, metrics.certificate(), clock))
    servers = (
        HealthServer(ANYWHERE, healthy=lambda: "", ready=lambda: "", clock=clock),
        MetricsServer(ANYWHERE, metrics, door, clock=clock),
    )
    threads = [threading.Thread(target=server.run, args=(stop,)) for server in servers]
    for thread in threads:
        thread.start()
    sys.stdout.write(" ".join(str(server.address[1]) for server in servers) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    _serve(sys.argv[1])
