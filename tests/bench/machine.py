"""The machine under the benchmarks: who runs on which core, and what a process costs."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cores:
    """Which core each side has for itself; the same one twice where there is only one."""

    control_plane: int
    operator: int

    @classmethod
    def of_this_machine(cls) -> Cores:
        """The first two that we may use."""
        usable = sorted(os.sched_getaffinity(0))
        return cls(usable[0], usable[1 % len(usable)])


@contextlib.contextmanager
def pinned(core: int) -> Iterator[None]:
    """Keep this thread, and every process and thread that it starts meanwhile, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True)
class Cost:
    """What a process has used so far."""

    cpu_seconds: float
    rss_mib: float
    peak_rss_mib: float


def cost(pid: int) -> Cost:
    """Of a process that runs. Raises: OSError, it is gone."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    cpu = (int(fields[11]) + int(fields[12])) / _TICKS
    return Cost(cpu, _mib(status["VmRSS"]), _mib(status["VmHWM"]))


def description(cores: Cores) -> dict[str, Any]:
    """What tells one kind of machine from another."""
    models = [line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith(("model name", "Model"))]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "control_plane_core": cores.control_plane,
        "operator_core": cores.operator,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


def _cpuinfo() -> list[str]:
    with contextlib.suppress(OSError):
        return Path("/proc/cpuinfo").read_text().splitlines()
    return []


def _mib(text: str) -> float:
    return int(text.split()[0]) / 1024
