"""Root file systems over the shared image: each has a writable layer, devices, /proc and /sys of its own.

One is the DPU's own operating system; each start of a container gets a new one, as from a container runtime.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from dpunetop.sandbox.realovn.namespaces import require_inside
from dpunetop.sandbox.realovn.packages import Image

ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
}
"""The variables that every program gets."""

_FOUND_FIRST = "/usr/local/sbin"
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "net/tun")


class Failed(Exception):
    """A command in a root failed; the text holds its output."""


class Root:
    """A root file system: commands run in it, folders are mounted into it.

    Guarantees: neither the image nor `/dev` of this machine changes; the root holds the listed devices only.
    Threads: any.
    Raises: Unavailable, outside of namespaces of its own.
    """

    def __init__(self, image: Image, folder: Path) -> None:
        """`folder` is new and in memory, so that it needs no removal; it holds the layer and the mount point."""
        require_inside()
        self.path = folder / "root"
        for name in ("root", "layer", "work"):
            (folder / name).mkdir(parents=True)
        layers = f"lowerdir={image.root},upperdir={folder / 'layer'},workdir={folder / 'work'}"
        _mount("-t", "overlay", "-o", layers, "overlay", str(self.path))
        for name in ("proc", "sys"):
            _mount("--rbind", f"/{name}", str(self.path / name))
        _mount("-t", "tmpfs", "-o", "mode=0755", "tmpfs", str(self.path / "dev"))
        self._devices()
        for name, program in image.programs.items():
            self.bind(program, f"{_FOUND_FIRST}/{name}", "ro")

    def __repr__(self) -> str:
        return f"<Root {self.path}>"

    def argv(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> list[str]:
        """The argv that runs `command` in this root, in the same process, with `environment` and `ENVIRONMENT` only."""
        variables = {**ENVIRONMENT, **(environment or {})}
        return [
            "chroot",
            str(self.path),
            "env",
            "-i",
            *(f"{name}={text}" for name, text in variables.items()),
            *command,
        ]

    def run(
        self, *command: str, environment: Mapping[str, str] | None = None, timeout: float = 120.0, stdin: str = ""
    ) -> str:
        """Run a command to its end; returns its stdout, stripped.

        Raises: Failed, if it fails or takes longer than `timeout`.
        """
        return output(self.argv(command, environment), timeout, stdin)

    def spawn(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a process whose output is appended to `log`."""
        with log.open("ab") as transcript:
            return subprocess.Popen(
                self.argv(command, environment), stdin=subprocess.DEVNULL, stdout=transcript, stderr=transcript
            )

    def inside(self, path: str) -> Path:
        """The path outside for an absolute path of this root; links are followed.

        Raises: ValueError, if it leads out of the root.
        """
        found = (self.path / path.lstrip("/")).resolve()
        if not found.is_relative_to(self.path):
            raise ValueError(f"{path} leads out of {self.path}")
        return found

    def bind(self, source: Path, target: str, *options: str) -> None:
        """Bind mount `source` at `target`, which is created if necessary; `options` are such as `ro` and `rslave`."""
        where = self.inside(target)
        if source.is_dir():
            where.mkdir(parents=True, exist_ok=True)
        else:
            where.parent.mkdir(parents=True, exist_ok=True)
            where.touch()
        _mount("--rbind", str(source), str(where))
        for option in options:
            _mount(*(("-o", "remount,bind,ro") if option == "ro" else (f"--make-{option}",)), str(where))

    def processes(self) -> list[int]:
        """The processes that run in this root."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and _root_of(entry) == str(self.path):
                found.append(int(entry.name))
        return found

    def close(self) -> None:
        """Kill its processes, unmount it, and remove the layer."""
        for process in self.processes():
            with_signal(process, signal.SIGKILL)
        subprocess.run(["umount", "--recursive", "--lazy", str(self.path)], check=True, timeout=30)
        shutil.rmtree(self.path.parent, ignore_errors=True)

    def _devices(self) -> None:
        for name in _DEVICES:
            if Path("/dev", name).exists():
                self.bind(Path("/dev", name), f"/dev/{name}")
        for name in ("pts", "shm"):
            (self.path / "dev" / name).mkdir()
        (self.path / "dev" / "fd").symlink_to("/proc/self/fd")


def output(command: Sequence[str], timeout: float, stdin: str = "") -> str:
    """Run a command to its end; returns its stdout, stripped. Raises: Failed."""
    try:
        answer = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as err:
        raise Failed(f"{' '.join(command)}: no end after {timeout:.0f} s") from err
    if answer.returncode != 0:
        raise Failed(f"{' '.join(command)}: exit code {answer.returncode}: {answer.stderr.strip()[-2000:]}")
    return answer.stdout.strip()


def with_signal(process: int, number: signal.Signals) -> None:
    """Send a signal to a process that may have ended."""
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return


def _root_of(process: Path) -> str | None:
    try:
        return str((process / "root").readlink())
    except OSError:
        return None  # it has ended, or is a kernel thread


def _mount(*arguments: str) -> None:
    output(["mount", *arguments], 30)
