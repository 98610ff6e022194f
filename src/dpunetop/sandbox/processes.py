"""Processes that end with the process that started them, their run folders, and their ports."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_REAPER = Path(__file__).with_name("reaper.py")
_ANSWER_TIMEOUT_SECONDS = 30.0
_POLL_SECONDS = 0.001
# The third field of /proc/PID/stat (proc_pid_stat(5)): stopped by a signal; a zombie, or dead.
_STOPPED = frozenset("T")
_ENDED = frozenset("ZX")
_MIN_FREE_BYTES = 1 << 30
_OWNER_LOCK = "owner.lock"
# Below the range that the kernel takes for outgoing connections: a port stays ours while its component restarts.
_PORTS = range(20000, 30000)


class ReaperError(Exception):
    """A process could not be started, or the reaper is gone."""


def pause(pid: int) -> None:
    """SIGSTOP, and wait until each thread of the process has stopped: the signal is sent at once, but the threads of a
    server answer on until one of them has taken it, which on a busy machine takes longer than a request.

    Raises: ProcessLookupError; ReaperError if a thread still runs after 30 s.
    """
    _signal_until(pid, signal.SIGSTOP, _STOPPED | _ENDED)


def kill(pid: int) -> None:
    """SIGKILL, and wait until each thread has ended, so that its connections are closed.

    Raises: as `pause`.
    """
    _signal_until(pid, signal.SIGKILL, _ENDED)


def _signal_until(pid: int, number: signal.Signals, states: frozenset[str]) -> None:
    os.kill(pid, number)
    deadline = time.monotonic() + _ANSWER_TIMEOUT_SECONDS
    while not _thread_states(pid) <= states:
        if time.monotonic() > deadline:
            raise ReaperError(f"process {pid} still runs after {number.name}: threads {sorted(_thread_states(pid))}")
        time.sleep(_POLL_SECONDS)


def _thread_states(pid: int) -> frozenset[str]:
    """None of a process that has been reaped meanwhile, by whichever thread waits for it."""
    folder = Path(f"/proc/{pid}/task")
    try:
        threads = os.listdir(folder)
    except (FileNotFoundError, ProcessLookupError):
        return frozenset()
    return frozenset(filter(None, (_thread_state(folder / thread / "stat") for thread in threads)))


def _thread_state(stat: Path) -> str:
    """The letter behind the name, which may hold anything; nothing of a thread that has ended meanwhile."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


class Process:
    """One process of a reaper.

    Guarantees: `pid` is that of this process and of no other, until `poll` or `wait` has reaped it.
    Threads: any.
    """

    def __init__(self, reaper: Reaper, pid: int) -> None:
        self.pid = pid
        self._reaper = reaper
        self._guard = threading.Lock()  # guards _code, and is held over the reaping so that it happens once
        self._code: int | None = None

    def __repr__(self) -> str:
        return f"<Process {self.pid} {'running' if self._code is None else f'ended {self._code}'}>"

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        with self._guard:
            if self._code is None:
                self._code = self._reaper.reap(self.pid)
            return self._code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; no effect if the process has ended."""
        with self._guard:
            if self._code is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, number)

    def pause(self) -> None:
        """See `pause`; nothing happens if the process has ended."""
        with self._guard:
            if self._code is None:
                with contextlib.suppress(ProcessLookupError):
                    pause(self.pid)

    def resume(self) -> None:
        """SIGCONT."""
        self.signal(signal.SIGCONT)

    def wait(self, timeout: float) -> int | None:
        """Wait for the end, `timeout` seconds at most; the exit code, or None if it still runs."""
        code = self.poll()
        if code is not None:
            return code
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return self.poll()
        try:
            select.select([handle], [], [], timeout)
        finally:
            os.close(handle)
        return self.poll()


class Reaper:
    """Starts processes that end with this one, also after a crash or SIGKILL of it.

    Guarantees: after `close`, or the end of this process, every process is killed and the folder removed. SIGINT of the
        terminal reaches neither the reaper nor its processes.
    Threads: any.
    Raises: ReaperError.
    """

    def __init__(self, folder: Path, held: int) -> None:
        """`folder` is removed at the end; `held` is an open descriptor that stays open until then."""
        self._turn = threading.Lock()  # owns the pipe: one request and its answer at a time
        self._reaper = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_REAPER), str(folder), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            pass_fds=(held,),
            start_new_session=True,
        )

    def spawn(self, argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> Process:
        """Start a process whose output is appended to `log`; `env` is the whole environment (None: a minimal one)."""
        environment = dict(env) if env is not None else minimal_environment()
        answer = self._ask({"spawn": list(argv), "env": environment, "log": str(log)})
        if "pid" not in answer:
            raise ReaperError(f"{argv[0]}: {answer.get('error')}")
        return Process(self, int(answer["pid"]))

    def reap(self, pid: int) -> int | None:
        """The exit code of a process; None while it runs."""
        code = self._ask({"reap": pid}).get("code")
        return None if code is None else int(code)

    def close(self, timeout: float = 30.0) -> None:
        """Kill all processes and remove the folder; may be called again."""
        with self._turn:
            for pipe in (self._reaper.stdin, self._reaper.stdout):
                if pipe is not None:
                    pipe.close()
        self._reaper.wait(timeout)

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        with self._turn:
            stdin, stdout = self._reaper.stdin, self._reaper.stdout
            if stdin is None or stdout is None or stdin.closed:
                raise ReaperError("closed")
            try:
                stdin.write(json.dumps(request).encode() + b"\n")
                line = _read_line(stdout.fileno())
            except OSError as err:
                raise ReaperError("the reaper is gone") from err
        answer: dict[str, Any] = json.loads(line)
        return answer


def _read_line(fd: int) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        if not select.select([fd], [], [], _ANSWER_TIMEOUT_SECONDS)[0]:
            raise ReaperError("the reaper does not answer")
        chunk = os.read(fd, 65536)
        if not chunk:
            raise ReaperError("the reaper is gone")
        line += chunk
    return line


def minimal_environment() -> dict[str, str]:
    """The environment of a component: neither proxies nor a kubeconfig of this machine."""
    return {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}


class RunFolder:
    """A folder of one run, in memory if the machine has enough, with the reaper that removes it.

    Guarantees: readable by this user only; gone after `close` or the end of this process. A folder whose reaper was
        killed too is removed when the next one is created.
    """

    def __init__(self, name: str, root: Path | None = None) -> None:
        root = root or _root()
        _own(root)
        with open(root / "sweep.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            sweep(root)
            self.path = Path(tempfile.mkdtemp(prefix=f"{name}-{os.getpid()}-", dir=root))
            held = os.open(self.path / _OWNER_LOCK, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(held, fcntl.LOCK_EX)
        try:
            self.reaper = Reaper(self.path, held)
        finally:
            os.close(held)

    def close(self) -> None:
        """Kill all processes and remove the folder; may be called again."""
        self.reaper.close()


def sweep(root: Path) -> None:
    """Remove the run folders below `root` whose lock no reaper holds; the caller holds the sweep lock."""
    for folder in root.iterdir():
        if folder.is_dir() and _is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    try:
        with open(folder / _OWNER_LOCK) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # its owner died before it created the lock
    return True


def _root() -> Path:
    memory = Path("/dev/shm")
    roomy = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= _MIN_FREE_BYTES
    return (memory if roomy else Path(tempfile.gettempdir())) / f"dpunetop-{os.getuid()}"


def _own(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.is_symlink():
        raise ReaperError(f"{folder} belongs to another user; remove it, or set TMPDIR")


class Port:
    """A loopback port, reserved against other runs of this user until `release`, whether a process listens or not."""

    def __init__(self, number: int, lock: int) -> None:
        self.number = number
        self._lock: int | None = lock

    def __repr__(self) -> str:
        return f"<Port {self.number}>"

    def release(self) -> None:
        """End the reservation; may be called again."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def reserve_port() -> Port:
    """A free loopback port. Raises: ReaperError if none is free."""
    folder = Path(tempfile.gettempdir()) / f"dpunetop-ports-{os.getuid()}"
    _own(folder)
    for number in random.sample(_PORTS, len(_PORTS)):
        lock = os.open(folder / str(number), os.O_CREAT | os.O_RDWR, 0o600)
        if _is_taken(lock) or not _is_bindable(number):
            os.close(lock)
            continue
        return Port(number, lock)
    raise ReaperError("no free port on loopback")


def _is_taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _is_bindable(number: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError:
            return False
    return True
