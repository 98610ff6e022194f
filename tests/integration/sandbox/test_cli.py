"""The command `sandbox` as a user runs it: a process of its own, ended by Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dpunetop.sandbox import binaries

pytestmark = pytest.mark.timeout(180)


class Running:
    """A sandbox and what it has said so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []

    def read_until(self, pattern: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if re.search(pattern, line):
                return line
        pytest.fail(f"it ended without {pattern}:\n{''.join(self.lines)}")

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        assert self.process.stdout is not None
        self.lines += self.process.stdout
        return self.process.wait(30)


@contextmanager
def sandbox(*flags: str) -> Iterator[Running]:
    """Started as a shell starts what runs in the background: SIGINT is ignored, unless it sees to that itself."""
    command = [sys.executable, "-u", "-m", "dpunetop", "sandbox", *flags]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        signal.signal(signal.SIGINT, before)
        limit = threading.Timer(150, process.kill)
        limit.start()
        try:
            yield Running(process)
        finally:
            limit.cancel()
            limit.join()
            process.kill()


def kubeconfigs(lines: list[str]) -> list[Path]:
    return [Path(found) for found in re.findall(r"(?m)^export KUBECONFIG=(\S+)", "".join(lines))]


def kubectl(programs: binaries.Binaries, kubeconfig: Path, *arguments: str) -> str:
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    command = [str(programs.path("kubectl")), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_it_does_the_quick_start_hands_out_two_clusters_and_leaves_nothing(programs: binaries.Binaries) -> None:
    with sandbox("--dpus", "1") as running:
        running.read_until("Ready: every DPU serves its host")
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
    assert told.endswith("stopped\n")


def test_without_the_operator_it_says_how_to_run_it_and_ends_by_sigterm(programs: binaries.Binaries) -> None:
    with sandbox("--no-operator", "--dpus", "1") as running:
        line = running.read_until("make run")
        code = running.end(signal.SIGTERM)
    kubeconfig = r"KUBECONFIG=\S+/operator\.kubeconfig"
    settings = "TENANT_NAMESPACE=openshift-ovn-kubernetes NAMESPACE=default make run"
    assert re.search(f"{kubeconfig} {settings}$", line)
    assert code == 0


def test_it_ends_by_itself_with_1_when_nothing_becomes_ready_in_time(programs: binaries.Binaries) -> None:
    with sandbox("--no-operator", "--dpus", "1", "--exit-when-ready", "--timeout", "1") as running:
        running.read_until("not Ready after 1 s")
        code = running.process.wait(30)
    assert code == 1
