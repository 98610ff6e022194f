"""One start of a container: its root, its first process, what runs beside it, and how it ended."""

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
# What root may do in a container that is not privileged: CRI-O internal/config/capabilities/capabilities_linux.go.
_CAPABILITIES = "chown,dac_override,fsetid,fowner,setgid,setuid,setpcap,net_bind_service,kill"
_UNPRIVILEGED = ("setpriv", f"--bounding-set=-all,+{_CAPABILITIES.replace(',', ',+')}", "--inh-caps=-all")


@dataclass(frozen=True)
class Ended:
    """How a container ended, as its status in the API has it."""

    code: int
    """128 and the number of the signal, for one that a signal ended."""
    message: str
    """What it wrote for that, else the end of its log, where it failed: `FallbackToLogsOnError`."""
    seconds_to_end: float | None = None
    """From SIGTERM, where the kubelet stopped it."""
    killed: bool = False
    """Whether it outlasted the grace."""


class Run:
    """One start of a container: a root of its own, and a first process in it."""

    def __init__(self, spec: ContainerSpec, root: Root, log: Path) -> None:
        self.spec = spec
        self.root = root
        self.started = time.monotonic()
        self.log = log
        self._process = root.spawn(self._confined(spec.command), log, spec.environment)

    @property
    def process(self) -> int:
        """The process id, valid until the run has been waited for."""
        return self._process.pid

    def poll(self) -> int | None:
        """The exit code as the API has it; None while it runs."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the first process, and to no other of the container."""
        self._process.send_signal(number)

    def execute(self, command: tuple[str, ...], timeout: float) -> tuple[int, str]:
        """Run a command beside it, with its environment: exit code and output; 124 for one that took too long."""
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
        """What the status says of its end: what it wrote for that, else the end of its log if it failed.

        Source: pkg/kubelet/kuberuntime/kuberuntime_container.go `getTerminationMessage`.
        """
        written = _end_of(self.root.path / _MESSAGE_FILE, _WRITTEN_BYTES)
        if written or code == 0:
            return written
        return "\n".join(_end_of(self.log, _MESSAGE_BYTES).splitlines()[-_MESSAGE_LINES:])

    def end(self, grace_seconds: float) -> Ended:
        """SIGTERM, and SIGKILL after the grace."""
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

    def ended(self, code: int, seconds_to_end: float | None = None, killed: bool = False) -> Ended:
        """How it ended, with the exit code `code`."""
        return Ended(code, self.message(code), seconds_to_end, killed)

    def _confined(self, command: tuple[str, ...]) -> tuple[str, ...]:
        return command if self.spec.privileged else (*_UNPRIVILEGED, *command)


def _end_of(file: Path, most_bytes: int) -> str:
    if not file.exists():
        return ""
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - most_bytes))
        return opened.read().decode(errors="replace")
