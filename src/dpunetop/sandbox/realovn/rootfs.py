"""Root file systems that share the image: each has a layer of its own above, devices, and what the kernel shows.

One of them plays the DPU's own operating system; each start of a container gets another, as from a container runtime.
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
"""What a program finds whatever it is given."""

_FOUND_FIRST = "/usr/local/sbin"
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "net/tun")


class Failed(Exception):
    """A command in a root failed; the text holds what it said."""


class Root:
    """A root file system: commands run in it, folders are mounted into it.

    Guarantees: the image stays as it is; so does `/dev` of this machine, only devices that are named are in here.
    Threads: any.
    Raises: Unavailable, outside of a world of its own.
    """

    def __init__(self, image: Image, folder: Path) -> None:
        """`folder` is new and in memory, so that it goes by itself; it holds the layer and the mount point."""
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
        """What runs `command` in here, with `environment` and `ENVIRONMENT` as its whole environment; same process."""
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
        self, *command: str, environment: Mapping[str, str] | None = None, timeout: float = 30.0, stdin: str = ""
    ) -> str:
        """Run a command to its end; what it wrote to stdout, stripped.

        Raises: Failed, when it fails or takes longer than `timeout`.
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
        """Where an absolute path of this root is, seen from outside; links on the way are followed.

        Raises: ValueError, for one that leads out of the root.
        """
        found = (self.path / path.lstrip("/")).resolve()
        if not found.is_relative_to(self.path):
            raise ValueError(f"{path} leads out of {self.path}")
        return found

    def bind(self, source: Path, target: str, *options: str) -> None:
        """Show `source` at `target`, which is made if need be; `options` are such as `ro` and `rslave`."""
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
        """Those that run in here."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and _root_of(entry) == str(self.path):
                found.append(int(entry.name))
        return found

    def close(self) -> None:
        """Kill what runs in here, unmount, and forget the layer."""
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
    """Run a command to its end; what it wrote to stdout, stripped. Raises: Failed."""
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
        return None  # it has ended, or is the kernel's


def _mount(*arguments: str) -> None:
    output(["mount", *arguments], 30)
