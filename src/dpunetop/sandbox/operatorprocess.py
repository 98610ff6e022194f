"""The operator as a process, which tests pause, kill and restart."""

from __future__ import annotations

import signal
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from dpunetop.sandbox.lifecycle import Lifecycle
from dpunetop.sandbox.processes import Process, RunFolder, minimal_environment, reserve_port

_LOOPBACK = "127.0.0.1"
_POLL_SECONDS = 0.02
_PROBE_SECONDS = 1.0
IMAGE_ENVIRONMENT = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "131072"}
"""The environment of the image, so that the process uses as much memory here as there."""
_TAIL_LINES = 40
_END_SECONDS = 60.0


class OperatorFailed(Exception):
    """The operator ended, or was not ready in time; the text ends with the last lines of its log."""


class OperatorProcess(Lifecycle):
    """`python -m dpunetop run` against a kubeconfig: a context manager, or `start` and `close`.

    `flags` follow ours, so they win; `env` is added to the image's environment and a minimal one. `program` runs in
    place of Python, with the same arguments.
    Guarantees: after `close`, or after any end of this process, the operator is gone. It may be started again after its
        end, with the same ports and flags; its output is appended to the same log.
    Threads: any, but `start` and `close` by one.
    """

    def __init__(
        self,
        kubeconfig: Mapping[str, Any],
        *,
        flags: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        name: str = "operator",
        program: Sequence[str] = (sys.executable, "-m", "dpunetop"),
    ) -> None:
        self.name = name
        self._metrics_port = reserve_port()
        self._health_port = reserve_port()
        self.metrics_url = f"http://{_LOOPBACK}:{self._metrics_port.number}"
        self.health_url = f"http://{_LOOPBACK}:{self._health_port.number}"
        self._folder = RunFolder(name)
        self.log = self._folder.path / f"{name}.log"
        self._argv = (*program, "run", *self._flags(self._write(kubeconfig)), *flags)
        self._env = {**minimal_environment(), **IMAGE_ENVIRONMENT, "PYTHONUNBUFFERED": "1", **(env or {})}
        self._process: Process | None = None

    def __repr__(self) -> str:
        return f"<OperatorProcess {self.name} {self._process or 'not started'}>"

    # --- life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, also again; does not wait. Raises: OperatorFailed if it still runs; ReaperError."""
        if self._process is not None and self.returncode is None:
            raise OperatorFailed(f"{self!r} still runs")
        self._process = self._folder.reaper.spawn(self._argv, self.log, self._env)

    def close(self) -> None:
        """Kill it, remove its folder with the log, give the ports back; may be called again."""
        self._folder.close()
        self._metrics_port.release()
        self._health_port.release()

    def wait_ready(self, timeout: float = 120.0) -> None:
        """Wait until /readyz answers 200. Raises: OperatorFailed if it ends or is late."""
        deadline = time.monotonic() + timeout
        while not self._is_ready():
            if self.returncode is not None:
                raise OperatorFailed(self._failure(f"ended with code {self.returncode}"))
            if time.monotonic() > deadline:
                raise OperatorFailed(self._failure(f"was not ready after {timeout:g} s"))
            time.sleep(_POLL_SECONDS)

    def wait(self, timeout: float) -> int | None:
        """Wait for its end; the exit code, negative for a signal, or None if it still runs."""
        return self._running.wait(timeout)

    def restart(self) -> None:
        """Send SIGKILL if it runs, then start it; does not wait until it is ready."""
        self.kill()
        if self.wait(_END_SECONDS) is None:
            raise OperatorFailed(self._failure("does not end"))
        self.start()

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._running.poll()

    @property
    def pid(self) -> int:
        """The process id of its last start."""
        return self._running.pid

    # --- signals ----------------------------------------------------------------------------------------------------

    def terminate(self) -> None:
        """Send SIGTERM; `wait` returns once it has ended."""
        self._running.signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self._running.signal(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP, until all of it has stopped."""
        self._running.pause()

    def resume(self) -> None:
        """SIGCONT."""
        self._running.resume()

    # --- log --------------------------------------------------------------------------------------------------------

    def log_text(self) -> str:
        """The whole log, of all its runs."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @property
    def _running(self) -> Process:
        if self._process is None:
            raise OperatorFailed(f"{self.name} is not started")
        return self._process

    def _failure(self, what: str) -> str:
        tail = "\n".join(self.log_text().splitlines()[-_TAIL_LINES:])
        return f"{self.name} {what}; the end of its log:\n{tail}"

    def _is_ready(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.health_url}/readyz", timeout=_PROBE_SECONDS) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _write(self, kubeconfig: Mapping[str, Any]) -> Path:
        file = self._folder.path / "kubeconfig"
        file.touch(mode=0o600)
        file.write_text(yaml.dump(dict(kubeconfig), Dumper=yaml.CSafeDumper, sort_keys=False))
        return file

    def _flags(self, kubeconfig: Path) -> tuple[str, ...]:
        return (
            f"--kubeconfig={kubeconfig}",
            f"--metrics-bind-address={_LOOPBACK}:{self._metrics_port.number}",
            "--metrics-secure=false",
            f"--health-probe-bind-address={_LOOPBACK}:{self._health_port.number}",
            "--log-format=json",
            "--tenant-allowed-cidrs=127.0.0.0/8",
        )
