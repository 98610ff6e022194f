"""The sandbox without its operator: the user follows the quick start of README.md word for word."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

from dpunetop.sandbox import seed
from dpunetop.sandbox.world import World

README_KUBECONFIG = Path("/root/manifests/kubeconfig.tenant")
"""The quick start reads the tenant's kubeconfig from this file."""
_MARK = {"extensions": [{"name": "dpunetop.sandbox", "extension": {}}]}
"""Marks a kubeconfig that a sandbox wrote, so that none of a person is ever removed."""


@contextlib.contextmanager
def tenant_kubeconfig(world: World, wanted: Path = README_KUBECONFIG) -> Iterator[Path]:
    """Write a kubeconfig with the rights of deploy/tenant-rights.yaml, to `wanted` if that does not exist and may be
    written, else into the sandbox's own folder; returns the file.

    Guarantees: an existing file is never overwritten, except one that a killed sandbox left; the written file is
        removed afterwards.
    """
    content = seed.entitled_kubeconfig(world.tenant)
    _forget_left(wanted)
    made = _make(wanted, json.dumps({**content, "preferences": _MARK}))
    try:
        yield wanted if made is not None else world.tenant.write_kubeconfig(content, "for-the-operator")
    finally:
        if made is not None:
            wanted.unlink(missing_ok=True)
            os.close(made)


def steps(world: World, kubeconfig: Path, kubectl: Path) -> Iterator[str]:
    """The commands to type before those of the quick start, and the one command that differs, if any."""
    yield "Now follow the quick start of README.md, in two shells of this folder. First, in each:"
    yield ""
    yield f"export PATH={kubectl.parent}:$PATH"
    yield f"export KUBECONFIG={world.infra.admin_kubeconfig}   # infra"
    yield ""
    if kubeconfig == README_KUBECONFIG:
        yield f"{kubeconfig} is the tenant's kubeconfig: use all commands unchanged."
    else:
        yield f"{README_KUBECONFIG} {_why_not(README_KUBECONFIG)}."
        yield "In place of the command of the quick start that names it, use:"
        yield ""
        yield f"kubectl create secret generic {world.quick_start.secret} --from-file=config={kubeconfig}"


def _why_not(wanted: Path) -> str:
    """The reason why the sandbox does not write the file."""
    return "exists already, and this sandbox did not write it" if wanted.exists() else "cannot be written"


def _forget_left(file: Path) -> None:
    """Remove the file of a killed sandbox, known by its mark and by its free lock."""
    with contextlib.suppress(OSError, ValueError, AttributeError), file.open("rb") as left:
        fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if json.load(left).get("preferences") == _MARK:
            file.unlink()


def _make(file: Path, text: str) -> int | None:
    """Create the file, for its owner alone; returns its descriptor, which holds its lock, or None on failure."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        made = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError:
        return None
    fcntl.flock(made, fcntl.LOCK_EX)
    os.write(made, text.encode())
    return made
