"""Network, mount, process and IPC namespaces for the real OVN, which end with the process that started them.

`python -m dpunetop.sandbox.realovn.namespaces COMMAND…` runs a command in them. The command uses this machine's
programs and files, but its interfaces, routes, mounts, `/run` and `/dev/shm` are private. When it ends or is killed,
the kernel removes them all, with every process that it left.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from dpunetop.sandbox.realovn import packages
from dpunetop.sandbox.realovn.packages import Unavailable

_DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")
_UNSHARE = ("unshare", "--net", "--mount", "--pid", "--ipc", "--fork", "--kill-child=SIGKILL", "--mount-proc")
_PROGRAMS = ("setpriv", "unshare", "nsenter", "mount", "umount", "chroot")
_OUTSIDE = "DPUNETOP_OUTSIDE_NET"
# It hides the sockets of the machine's services; files in memory disappear with the namespaces.
_PRIVATE_FOLDERS = ("/run", "/dev/shm")
_THIS = "dpunetop.sandbox.realovn.namespaces"
_FIRST = "--first-process"


def is_inside() -> bool:
    """Whether this process is in namespaces of this module; never true in the network namespace of the machine."""
    outside = os.environ.get(_OUTSIDE)
    return outside is not None and outside != _network_namespace()


def require_inside() -> None:
    """Raises: Unavailable, unless `is_inside`. It protects the machine's interfaces and mounts from mistakes."""
    if not is_inside():
        raise Unavailable(f"this must run in namespaces of its own: python -m {_THIS} COMMAND…")


def check() -> None:
    """Raises: Unavailable, if this machine lacks a program or does not permit namespaces."""
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        raise Unavailable(f"this machine has no {', '.join(missing)}: util-linux and coreutils are needed")
    tried = subprocess.run([*_UNSHARE, "--", "true"], capture_output=True, text=True, timeout=30, check=False)
    if tried.returncode != 0:
        said = (tried.stderr.strip() or f"exit code {tried.returncode}").splitlines()[-1]
        raise Unavailable(f"no namespaces here ({said}): run as root, or in a privileged container")


def argv(command: Sequence[str]) -> list[str]:
    """The argv that runs `command` in new namespaces; its processes end with it, and it ends with its parent."""
    return [*_DIE_WITH_PARENT, *_UNSHARE, "--", sys.executable, "-m", _THIS, _FIRST, *command]


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command in the namespaces, with facts about the machine outside."""
    return {**given, _OUTSIDE: _network_namespace()}


def _network_namespace() -> str:
    return str(Path("/proc/self/ns/net").readlink())


def _first_process(command: Sequence[str]) -> int:
    """Process 1: set up the namespaces, run the command, reap its orphans; returns its exit code."""
    require_inside()
    _furnish()
    # The terminal sends SIGINT to all processes, and only the command acts on it. Not SIG_IGN, which is inherited.
    signal.signal(signal.SIGINT, lambda *_: None)
    child = os.posix_spawnp(command[0], list(command), os.environ)
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _furnish() -> None:
    for folder in _PRIVATE_FOLDERS:
        _run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", folder)
    # /sys shows the interfaces of the network namespace that mounted it.
    _run("mount", "-t", "sysfs", "sysfs", "/sys")
    _run("chroot", str(packages.find().root), "ip", "link", "set", "lo", "up")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=30)


def main(arguments: Sequence[str]) -> int:
    """Run a command in new namespaces; if the machine permits none, print so, and fail in CI."""
    if arguments[:1] == [_FIRST]:
        return _first_process(arguments[1:])
    try:
        check()
        print(f"real OVN: {packages.find()}", file=sys.stderr, flush=True)
    except Unavailable as err:
        return _without(err)
    world = subprocess.Popen(argv(arguments), env=environment(os.environ))
    print(f"to look inside: nsenter --net --mount --target {world.pid} bash", file=sys.stderr, flush=True)
    return _wait(world)


def _wait(world: subprocess.Popen[bytes]) -> int:
    # unshare blocks both while it waits for its child.
    signal.signal(signal.SIGTERM, lambda *_: world.kill())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    code = world.wait()
    return code if code >= 0 else 128 - code


def _without(err: Unavailable) -> int:
    line = "=" * 100
    print(f"{line}\nSKIPPED: the real OVN was not run. {err}\n{line}", file=sys.stderr, flush=True)
    return 1 if os.environ.get("CI") else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
