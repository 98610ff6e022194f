"""Prometheus and promtool from Debian's package, unpacked into the cache and never installed.

python hack/promtool.py fetches them if necessary (20 MB, once per machine) and prints their folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGE = "prometheus"
PROGRAMS = ("promtool", "prometheus")
# apt uses a cache and lists of its own, as if no package were installed, so that the machine does not change.
_APT = """\
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
Debug::NoLocking "true";
Dir::Cache "{work}/cache";
Dir::State "{work}/state";
Dir::State::status "/dev/null";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


class Unavailable(Exception):
    """The programs do not exist and cannot be fetched; one line says why."""


def find() -> Path:
    """The folder of PROGRAMS; of several processes at once, one fetches and the others wait. Raises: Unavailable."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dpunetop" / PACKAGE
    base.mkdir(parents=True, exist_ok=True)
    folder = base / "usr" / "bin"
    with open(base / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not all(os.access(folder / name, os.X_OK) for name in PROGRAMS):
            _fetch(base)
    return folder


def _fetch(base: Path) -> None:
    missing = [name for name in ("apt-get", "dpkg-deb") if shutil.which(name) is None]
    if missing:
        raise Unavailable(f"this machine has no {', '.join(missing)}: use Debian, or a distribution with apt")
    with tempfile.TemporaryDirectory() as work:
        for part in ("cache/archives/partial", "state/lists/partial"):
            Path(work, part).mkdir(parents=True)
        configuration = Path(work, "apt.conf")
        configuration.write_text(_APT.format(work=work))
        apt = ["apt-get", "-qq", f"--config-file={configuration}"]
        _run([*apt, "update"], work)
        _run([*apt, "download", PACKAGE], work)
        [archive] = Path(work).glob("*.deb")
        _run(["dpkg-deb", "--extract", str(archive), str(base)], work)


def _run(command: list[str], folder: str) -> None:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    answer = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    if answer.returncode != 0:
        raise Unavailable(f"{command[0]} failed: {(answer.stderr.strip().splitlines() or ['no output'])[-1]}")


def main() -> int:
    """Fetch the programs if necessary, and print their folder."""
    try:
        print(find())
    except Unavailable as err:
        print(f"no promtool: {err}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
