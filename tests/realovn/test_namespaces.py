"""A world of its own ends with whoever started it, and leaves nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dpunetop.sandbox.realovn.namespaces import environment

pytestmark = pytest.mark.realovn

THIS = "dpunetop.sandbox.realovn.namespaces"
BED = """
import time
from pathlib import Path
from dpunetop.sandbox.realovn.datapath import Dpu
with Dpu(Path("/run/testbed")) as dpu:
    dpu.root.spawn(["sleep", "1000"], Path("/run/log"))
    print("up", flush=True)
    time.sleep(1000)
"""


def namespaces() -> set[str]:
    found = set()
    for kind in ("net", "mnt", "pid", "ipc"):
        for link in Path("/proc").glob(f"[0-9]*/ns/{kind}"):
            with contextlib.suppress(OSError):
                found.add(str(link.readlink()))
    return found


def machine() -> set[str]:
    """All that a world could leave behind."""
    processes = {f"process {entry.name}" for entry in Path("/proc").iterdir() if entry.name.isdecimal()}
    files = {f"{folder}/{name}" for folder in ("/run", "/dev/shm") for name in os.listdir(folder)}
    return namespaces() | processes | files | set(Path("/proc/self/mountinfo").read_text().splitlines())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_when_the_one_who_started_it_is_killed(number: signal.Signals) -> None:
    before = machine()
    command = [sys.executable, "-m", THIS, sys.executable, "-c", BED]
    with subprocess.Popen(command, env=environment(os.environ), stdout=subprocess.PIPE, text=True) as world:
        assert world.stdout is not None
        assert world.stdout.readline() == "up\n"
        assert len(machine() - before) > 10
        world.send_signal(number)
        world.stdout.read()  # ends when the last process in there has
    deadline = time.monotonic() + 60
    while (left := machine() - before) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == set()


def test_the_exit_code_is_that_of_the_command() -> None:
    command = [sys.executable, "-m", THIS, "sh", "-c", "exit 5"]
    assert subprocess.run(command, env=environment(os.environ), check=False).returncode == 5
