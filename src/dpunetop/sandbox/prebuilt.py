"""Prebuilt programs of a control plane: their releases, and whether their versions fit together."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

_APISERVER = "kube-apiserver"
_ASKED = {"etcd": ("--version",), "kubectl": ("version", "--client")}
_RELEASE = re.compile(r"\bv?(\d+)\.(\d+)\.\d+\b")
_SECONDS = 30.0
_OLDER, _NEWER = 1, 0
"""Minor releases by which a controller manager or scheduler may differ from its API server.
Source: https://kubernetes.io/releases/version-skew-policy/."""
_KUBECTL = 1
"""The same for kubectl, both ways."""


class Unusable(Exception):
    """The programs cannot be used; the text is the reason."""


@lru_cache(64)
def release_of(program: Path) -> str:
    """The release that a program prints, like v1.37.2. Raises: Unusable, if it does not run or prints none."""
    command = [str(program), *_ASKED.get(program.name, ("--version",))]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as err:
        raise Unusable(f"its {program.name} does not run here ({_why(err)})") from err
    found = _RELEASE.search(answer.stdout)
    if found is None:
        raise Unusable(f"its {program.name} prints no release")
    return f"v{found.group().removeprefix('v')}"


def check(given: Mapping[str, str], built: Iterable[str], kubernetes: str) -> None:
    """Check that the versions of the given programs, by name, fit those of the programs that are built.

    Raises: Unusable.
    """
    releases = {**dict.fromkeys(built, kubernetes), **given}
    server = releases[_APISERVER]
    for name, release in releases.items():
        older = _minor(server) - _minor(release)
        allowed = range(-_KUBECTL, _KUBECTL + 1) if name == "kubectl" else range(-_NEWER, _OLDER + 1)
        if name not in ("etcd", _APISERVER) and older not in allowed:
            raise Unusable(
                f"{_which(_APISERVER, given)} is {server}, and {_which(name, given)}, {release}, does not fit it"
            )


def _which(name: str, given: Mapping[str, str]) -> str:
    return f"its {name}" if name in given else f"the {name} that is built"


def _minor(release: str) -> int:
    found = _RELEASE.fullmatch(release)
    if found is None:
        raise Unusable(f"{release} is no release")
    return int(found.group(1)) * 1000 + int(found.group(2))


def _why(err: Exception) -> str:
    if isinstance(err, subprocess.CalledProcessError):
        return f"exit code {err.returncode}"
    return f"no answer in {_SECONDS:g} s" if isinstance(err, subprocess.TimeoutExpired) else str(err)
