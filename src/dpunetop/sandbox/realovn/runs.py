"""One start of a container: its root, its first process, commands beside it, and its termination."""

from __future__ import annotations

import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from dpunetop.sandbox.realovn.podspec import ContainerSpec
from dpunetop.sandbox.realovn.rootfs import Root

# pkg/kubelet/container/runtime.go of Kubernetes v1.37.2: `MaxContainerTerminationMessageLength`, `…LogLength`,
# `…LogLines`.
_WRITTEN_BYTES, _MESSAGE_BYTES, _MESSAGE_LINES = 4096, 2048, 80
# pkg/apis/core/v1/defaults.go `SetDefaults_Container`.
_MESSAGE_FILE = "dev/termination-log"
_POLL_SECONDS = 0.02
# The capabilities of root in an unprivileged container: CRI-O internal/config/capabilities/capabilities_linux.go.
_CAPABILITIES = "chown,dac_override,fsetid,fowner,setgid,setuid,setpcap,net_bind_service,kill"
_UNPRIVILEGED = ("setpriv", f"--bounding-set=-all,+{_CAPABILITIES.replace(',', ',+')}", "--inh-caps=-all")


@dataclass(frozen=True)
class Termination:
    """The termination of a container, as in its API status."""

    code: int
    """128 plus the number of the signal, if a signal ended it."""
    message: str
    """Its termination message, or, if it failed without one, the end of its log: `FallbackToLogsOnError`."""
    seconds_to_end: float | None = None
    """Seconds from SIGTERM to its end, if the kubelet stopped it."""
    killed: bool = False
    """Whether it outlasted the grace period, and was killed."""


class Run:
    """One start of a container: its own root file system, and a first process in it."""

    def __init__(self, spec: ContainerSpec, root: Root, log: Path) -> None:
        self.spec = spec
        self.root = root
        self.started = time.monotonic()
        self.log = log
        self._process = root.spawn(self._confined(spec.command), log, spec.environment)

    @property
    def process(self) -> int:
        """The process id, valid until the run is reaped."""
        return self._process.pid

    def poll(self) -> int | None:
        """The exit code as in the API; None while it runs."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the first process of the container only."""
        self._process.send_signal(number)

    def execute(self, command: tuple[str, ...], timeout: float) -> tuple[int, str]:
        """Run a command in the container, with its environment; returns exit code and output. 124 is a timeout."""
        argv = self.root.argv(self._confined(command), self.spec.environment)
        with subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                said, _ = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                return 124, f"no end after {timeout:g} s"
        return process.returncode, said.strip()

    def message(self, code: int) -> str:
        """Its termination message: the one that it wrote, or, if it failed, the end of its log.

        Source: pkg/kubelet/kuberuntime/kuberuntime_container.go `getTerminationMessage`.
        """
        written = _end_of(self.root.path / _MESSAGE_FILE, _WRITTEN_BYTES)
        if written or code == 0:
            return written
        return "\n".join(_end_of(self.log, _MESSAGE_BYTES).splitlines()[-_MESSAGE_LINES:])

    def end(self, grace_seconds: float) -> Termination:
        """Send SIGTERM, and SIGKILL after the grace period."""
        started = time.monotonic()
        self.signal(signal.SIGTERM)
        while (code := self.poll()) is None and time.monotonic() - started < grace_seconds:
            time.sleep(_POLL_SECONDS)
        took = time.monotonic() - started
        if code is not None:
            return self.ended(code, took)
        self.signal(signal.SIGKILL)
        self._process.wait()
        return self.ended(137, took, killed=True)

    def ended(self, code: int, seconds_to_end: float | None = None, killed: bool = False) -> Termination:
        """Its termination with the exit code `code`."""
        return Termination(code, self.message(code), seconds_to_end, killed)

    def _confined(self, command: tuple[str, ...]) -> tuple[str, ...]:
        return command if self.spec.privileged else (*_UNPRIVILEGED, *command)


def _end_of(file: Path, most_bytes: int) -> str:
    if not file.exists():
        return ""
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - most_bytes))
        return opened.read().decode(errors="replace")
