"""The command `sandbox` as a user runs it: a process of its own, ended by Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from dpunetop.sandbox import binaries
from support.sandboxprocess import sandbox

pytestmark = pytest.mark.timeout(900)


def kubeconfigs(lines: list[str]) -> list[Path]:
    return [Path(found) for found in re.findall(r"(?m)^export KUBECONFIG=(\S+)", "".join(lines))]


def kubectl(programs: binaries.Binaries, kubeconfig: Path, *arguments: str) -> str:
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    command = [str(programs.path("kubectl")), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_it_does_the_quick_start_hands_out_two_clusters_and_leaves_nothing(programs: binaries.Binaries) -> None:
    with sandbox("--dpus", "1", "--scenario", "none") as running:
        running.read_until("Ready: every DPU serves its host, ")
        running.read_until("Ctrl-C stops everything")
        infra, tenant = kubeconfigs(running.lines)
        seen = kubectl(programs, infra, "get", "dcc", "-o", "jsonpath={.items[0].metadata.name}")
        nodes = kubectl(programs, tenant, "get", "nodes", "-o", "name").split()
        code = running.end(signal.SIGINT)
    assert (seen, "node/worker-advnetlab13" in nodes, code) == ("dpuclusterconfig-sample", True, 0)
    assert not [folder for folder in (infra.parent, tenant.parent) if folder.exists()]
    told = "".join(running.lines)
    for fact in ("both clusters are up", "object DaemonSet ovnkube-node applied", "pool dpu 1 of 1 updated"):
        assert fact in told
    [since] = re.findall(r"serves its host, ([0-9.]+) s after both API servers were ready\n", told)
    assert 0.0 < float(since) < float(told.split("both clusters are up")[1].split(" s  Ready:")[0].split()[-1])
    assert told.endswith("stopped\n")


def test_it_ends_by_itself_with_1_when_nothing_becomes_ready_in_time(programs: binaries.Binaries) -> None:
    with sandbox("--no-operator", "--dpus", "1", "--exit-when-ready", "--timeout", "1") as running:
        running.read_until("not Ready after 1 s")
        code = running.process.wait(120)
    assert code == 1
