"""A world of its own for the real OVN: network, mounts, processes and IPC, gone with whoever started them.

`python -m dpunetop.sandbox.realovn.namespaces COMMAND…` runs a command in there. The command is an ordinary process of
this machine's programs and files; what it does to interfaces, routes, mounts, `/run` and `/dev/shm` is private, and the
kernel takes it all back when the command ends or is killed, with every process that it left.
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
# A socket of a service of this machine is none of the world's; what is left in memory goes with the world.
_PRIVATE_FOLDERS = ("/run", "/dev/shm")
_THIS = "dpunetop.sandbox.realovn.namespaces"
_FIRST = "--first-process"


def is_inside() -> bool:
    """Whether this process is in a world that this module made; never true in the network namespace of the machine."""
    outside = os.environ.get(_OUTSIDE)
    return outside is not None and outside != _network_namespace()


def require_inside() -> None:
    """Raises: Unavailable, unless `is_inside`: so nobody touches interfaces or mounts of the machine by mistake."""
    if not is_inside():
        raise Unavailable(f"this must run in namespaces of its own: python -m {_THIS} COMMAND…")


def check() -> None:
    """Raises: Unavailable, where this machine lacks a program or does not let us make namespaces."""
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        raise Unavailable(f"this machine has no {', '.join(missing)}: util-linux and coreutils are needed")
    tried = subprocess.run([*_UNSHARE, "--", "true"], capture_output=True, text=True, timeout=30, check=False)
    if tried.returncode != 0:
        said = (tried.stderr.strip() or f"exit code {tried.returncode}").splitlines()[-1]
        raise Unavailable(f"no namespaces here ({said}): it takes root, or a container that is privileged")


def argv(command: Sequence[str]) -> list[str]:
    """What runs `command` in a world of its own; everything in there ends with it, and it ends with its parent."""
    return [*_DIE_WITH_PARENT, *_UNSHARE, "--", sys.executable, "-m", _THIS, _FIRST, *command]


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """What a command in a world has to know of the outside."""
    return {**given, _OUTSIDE: _network_namespace()}


def _network_namespace() -> str:
    return str(Path("/proc/self/ns/net").readlink())


def _first_process(command: Sequence[str]) -> int:
    """What runs as process 1: set the world up, run the command, take in what it leaves; give its exit code."""
    require_inside()
    _furnish()
    # The terminal sends its interrupt to all; the command decides what becomes of it. Not SIG_IGN: that is inherited.
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
    # Interfaces below /sys are those of the network namespace that mounts it.
    _run("mount", "-t", "sysfs", "sysfs", "/sys")
    _run("chroot", str(packages.find().root), "ip", "link", "set", "lo", "up")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=30)


def main(arguments: Sequence[str]) -> int:
    """Run a command in a world of its own; where none is to be had, say so, loud, and fail if CI is what runs it."""
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
