"""What `kubectl explain` says of a field of ours."""

from __future__ import annotations

import subprocess

from dpunetop.sandbox.binaries import Binaries
from dpunetop.sandbox.controlplane import ControlPlane
from support.trial import eventually


def check_explained(programs: Binaries, control_plane: ControlPlane, field: str) -> None:
    """A field and all below it have descriptions; the API server publishes them some time after the definition came."""
    command = [str(programs.path("kubectl")), f"--kubeconfig={control_plane.admin_kubeconfig}", "explain", field]

    def explain() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    said = eventually(explain, lambda done: done.returncode == 0).stdout
    assert "<no description>" not in said
    assert "<empty>" not in said
    assert "DESCRIPTION:\n" in said
