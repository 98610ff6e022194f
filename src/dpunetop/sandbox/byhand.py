"""The sandbox without its operator: all steps of the README's quick start are left to the user, as they stand there."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from dpunetop.sandbox import seed
from dpunetop.sandbox.world import World

README_KUBECONFIG = Path("/root/manifests/kubeconfig.tenant")
"""The file that the quick start takes the tenant's kubeconfig from."""


@contextlib.contextmanager
def tenant_kubeconfig(world: World, wanted: Path = README_KUBECONFIG) -> Iterator[Path]:
    """A file with a kubeconfig that has the rights of deploy/tenant-rights.yaml: the wanted one, if it is absent and
    may be written; else one in the sandbox's own folder.

    Guarantees: a file that is there is never written over; what was made is gone afterwards.
    """
    content = seed.entitled_kubeconfig(world.tenant)
    made = _make(wanted, json.dumps(content))
    try:
        yield wanted if made else world.tenant.write_kubeconfig(content, "for-the-operator")
    finally:
        if made:
            wanted.unlink(missing_ok=True)


def steps(world: World, kubeconfig: Path, kubectl: Path) -> Iterator[str]:
    """What to type before the commands of the quick start, and where one of them must be another."""
    yield "Now follow the quick start of README.md, in two shells of this folder. First, in each:"
    yield ""
    yield f"export PATH={kubectl.parent}:$PATH"
    yield f"export KUBECONFIG={world.infra.admin_kubeconfig}   # infra"
    yield ""
    if kubeconfig == README_KUBECONFIG:
        yield f"{kubeconfig} is the tenant's kubeconfig; all commands work as they stand."
    else:
        yield f"{README_KUBECONFIG} cannot be made here: in `kubectl create secret` write"
        yield f"--from-file=config={kubeconfig}"


def _make(file: Path, text: str) -> bool:
    """Whether the file was made, readable by its owner alone."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            opened.write(text)
    except OSError:
        return False
    return True
