"""The `ovnkube` that the user provides, and the wrapper that it needs on a machine without the hardware."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dpunetop.sandbox.realovn.packages import Unavailable

VARIABLE = "OVNKUBE"
"""The environment variable that names the program."""
SIMULATE = "--simulate-dpu"

# A userspace bridge of `ovnkube` asks for ports of DPDK, which needs hardware; the same ports as plain interfaces do.
# Source: OVN-Kubernetes at 8871cd9ce, go-controller/pkg/cni/helper_linux.go, pkg/node/managementport/utils_linux.go.
_SHIM = """\
#!/bin/bash
exec /usr/bin/ovs-vsctl "${@/#type=dpdk/type=system}"
"""
_HELP_SECONDS = 30.0


@dataclass(frozen=True)
class Ovnkube:
    """An `ovnkube` that runs without the hardware."""

    path: Path
    version: str
    """Its own version text."""
    options: frozenset[str]
    """The options in its help text."""

    def known(self, *options: str) -> tuple[str, ...]:
        """Those of `options` that it knows; releases differ."""
        return tuple(option for option in options if option.partition("=")[0] in self.options)

    def programs(self, folder: Path) -> Mapping[str, Path]:
        """The programs that containers find before those of their image; `folder` is created for them."""
        folder.mkdir(parents=True)
        shim = folder / "ovs-vsctl"
        shim.write_text(_SHIM)
        shim.chmod(0o755)
        return {"ovnkube": self.path, "ovs-vsctl": shim}


def ovnkube_at(path: str) -> Ovnkube:
    """Check the program. Raises: Unavailable, with what to do, if it does not exist or lacks a needed option."""
    file = Path(path).resolve()
    if not (file.is_file() and os.access(file, os.X_OK)):
        raise Unavailable(f"{path} is not an executable program; docs/real-ovn.md says where to get one")
    options = frozenset(re.findall(r"--[a-z0-9-]+", _output(file, "--help")))
    if SIMULATE not in options:
        raise Unavailable(f"{path} does not know {SIMULATE}, which OVN-Kubernetes has had since after 1.3")
    return Ovnkube(file, _version(file), options)


def _version(file: Path) -> str:
    said = next(iter(_output(file, "--version").splitlines()), "").strip()
    return f"{said or 'no version'}, sha256 {hashlib.sha256(file.read_bytes()).hexdigest()[:12]}"


def _output(file: Path, option: str) -> str:
    try:
        answer = subprocess.run(
            [str(file), option], capture_output=True, text=True, timeout=_HELP_SECONDS, check=False, env={}
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        raise Unavailable(f"{file} {option}: {err}") from err
    return answer.stdout + answer.stderr
