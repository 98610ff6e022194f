"""Processes end with their reaper, folders with their processes, and a port is one run's alone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dpunetop.sandbox.processes import Process, ReaperError, RunFolder, kill, reserve_port
from support.trial import eventually

MANY_THREADS = """
import threading, time
for _ in range(8):
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
print("there", flush=True)
while True:
    pass
"""
FOREVER = [sys.executable, "-c", "import signal; signal.pause()"]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunFolder]:
    made = RunFolder("run", tmp_path)
    yield made
    made.close()


def test_output_goes_to_the_log_and_the_code_is_known(folder: RunFolder) -> None:
    log = folder.path / "log"
    argv = [sys.executable, "-c", "import os; print(os.environ['WHO'], flush=True); raise SystemExit(3)"]
    process = folder.reaper.spawn(argv, log, {"WHO": "me"})
    assert (process.wait(60), process.poll(), log.read_text()) == (3, 3, "me\n")


def test_a_program_that_cannot_be_started_is_reported(folder: RunFolder) -> None:
    with pytest.raises(ReaperError, match="No such file or directory"):
        folder.reaper.spawn(["/no/such/program"], folder.path / "log")


def test_waiting_ends_with_the_time_and_a_signal_is_seen(folder: RunFolder) -> None:
    process = folder.reaper.spawn(FOREVER, folder.path / "log")
    assert process.wait(0.05) is None
    process.signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    process.signal(signal.SIGKILL)  # to nobody, and no error


def test_after_a_pause_no_thread_of_the_process_runs(folder: RunFolder) -> None:
    process = many_threads(folder, folder.path / "log")
    for _ in range(20):
        process.pause()
        assert states(process.pid) == {"T"}
        process.resume()
        assert process.wait(0.0) is None


def test_after_a_kill_all_threads_have_ended(folder: RunFolder) -> None:
    process = many_threads(folder, folder.path / "log")
    kill(process.pid)
    assert states(process.pid) <= {"Z", "X"}
    with pytest.raises(ProcessLookupError):
        kill(_reaped(process))


def test_pausing_what_has_ended_is_no_error(folder: RunFolder) -> None:
    process = folder.reaper.spawn(["/bin/true"], folder.path / "log")
    assert process.wait(30.0) == 0
    process.pause()
    process.resume()


def test_closing_kills_the_processes_and_removes_the_folder(tmp_path: Path) -> None:
    folder = RunFolder("run", tmp_path)
    process = folder.reaper.spawn(FOREVER, folder.path / "log")
    folder.close()
    folder.close()
    assert not folder.path.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)
    with pytest.raises(ReaperError):
        folder.reaper.spawn(FOREVER, folder.path / "log")


def many_threads(folder: RunFolder, log: Path) -> Process:
    """A process of nine threads that are all there: eight sleep, one is busy."""
    process = folder.reaper.spawn([sys.executable, "-c", MANY_THREADS], log)
    eventually(lambda: log.exists() and log.read_text(), lambda text: text == "there\n")
    return process


def states(pid: int) -> set[str]:
    """Those of its threads, except of one that has gone meanwhile."""
    found = set()
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.add(Path(f"/proc/{pid}/task/{thread}/stat").read_text().rpartition(")")[2].split()[0])
    return found


def _reaped(process: Process) -> int:
    assert process.wait(30.0) == -signal.SIGKILL
    return process.pid


def test_a_folder_without_a_reaper_is_swept_and_a_living_one_is_not(tmp_path: Path, folder: RunFolder) -> None:
    abandoned = tmp_path / "run-1-abandoned"
    abandoned.mkdir()
    (abandoned / "owner.lock").touch()
    (tmp_path / "run-2-without-lock").mkdir()
    second = RunFolder("run", tmp_path)
    left = {path for path in tmp_path.iterdir() if path.is_dir()}
    second.close()
    assert left == {folder.path, second.path}


def test_only_the_owner_may_look_into_a_run_folder(folder: RunFolder) -> None:
    assert folder.path.stat().st_mode & 0o777 == 0o700


_RESERVES_ONE = """
import sys
from dpunetop.sandbox import processes
processes._PORTS = range(int(sys.argv[1]), int(sys.argv[1]) + 1)
processes.reserve_port()
"""


def test_a_reserved_port_is_refused_to_another_process_until_it_is_released() -> None:
    port = reserve_port()
    argv = [sys.executable, "-c", _RESERVES_ONE, str(port.number)]
    refused = subprocess.run(argv, capture_output=True, text=True, check=False)
    port.release()
    port.release()
    granted = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert ("no free port" in refused.stderr, granted.returncode) == (True, 0)
