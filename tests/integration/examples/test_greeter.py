"""The engine runs other operators too: the example in `examples/`, as a process of its own, on a real API server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dpunetop.kube.keys import CONFIGMAPS, NAMESPACES
from dpunetop.kube.requests import get
from dpunetop.sandbox.controlplane import ControlPlane

EXAMPLE = Path(__file__).parents[3] / "examples" / "greeter.py"


@pytest.fixture
def greeter(infra: ControlPlane) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-W", "error", str(EXAMPLE)]
    process = subprocess.Popen(command, env={**os.environ, "KUBECONFIG": str(infra.admin_kubeconfig)})
    yield process
    process.kill()
    process.wait(120)


def test_the_example_is_no_longer_than_a_page() -> None:
    assert sum(bool(line) for line in EXAMPLE.read_text().splitlines()) <= 60


def test_the_smallest_operator_greets_restores_and_ends_at_a_signal(
    infra: ControlPlane, greeter: subprocess.Popen[bytes]
) -> None:
    admin, greeting = infra.admin, get(CONFIGMAPS, "greeted", "greeting").target
    admin.create(get(NAMESPACES, "", "").target.rstrip("/"), {"metadata": {"name": "greeted"}})
    admin.patch(get(NAMESPACES, "", "greeted").target, {"metadata": {"labels": {"greet": "Ada"}}})
    admin.wait_for(greeting, lambda seen: seen.get("data") == {"hello": "Ada"})
    admin.patch(get(NAMESPACES, "", "greeted").target, {"metadata": {"labels": {"greet": "Grace"}}})
    admin.wait_for(greeting, lambda seen: seen.get("data") == {"hello": "Grace"})
    admin.delete(greeting)
    admin.wait_for(greeting, lambda seen: seen.get("data") == {"hello": "Grace"})
    greeter.terminate()
    assert greeter.wait(120) == 0
