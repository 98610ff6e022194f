"""The quick start of the README, typed as it stands there, in a sandbox that leaves all of its steps to the user."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dpunetop.sandbox import byhand, seed
from dpunetop.sandbox.byhand import README_KUBECONFIG
from support.sandboxprocess import Running, sandbox

pytestmark = pytest.mark.timeout(1500)

QUICK_START = (seed.ROOT / "README.md").read_text().split("### Run the operator locally")[1].split("\n## ")[0]
RUN = "make run"


def steps() -> list[str]:
    """What to type, in order; an example of an object is applied."""
    blocks = re.findall(r"(?ms)^  ```(console|yaml)\n(.*?)^  ```$", QUICK_START)
    return [_typed(kind, re.sub(r"(?m)^  ", "", text)) for kind, text in blocks]


def _typed(kind: str, text: str) -> str:
    if kind == "yaml":
        return f"kubectl apply -f - <<'END'\n{text}END"
    return "\n".join(line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ "))


@contextmanager
def shell(command: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """One that stays; all that it has started ends with it."""
    with subprocess.Popen(
        ["bash", "-c", command],
        cwd=seed.ROOT,
        env=environment,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def typed(command: str, environment: dict[str, str]) -> str:
    answer = subprocess.run(
        ["bash", "-ec", command],
        cwd=seed.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert answer.returncode == 0, f"{command}\n{answer.stderr}"
    return answer.stdout


def told(running: Running) -> tuple[dict[str, str], str]:
    """What the sandbox says to type first, and the file that it has a kubeconfig in."""
    running.read_until("Ctrl-C stops everything")
    text = "".join(running.lines)
    path, kubeconfig = (re.findall(rf"(?m)^export {name}=(\S+)", text)[0] for name in ("PATH", "KUBECONFIG"))
    file = re.findall(r"--from-file=config=(\S+)", text)
    environment = {**os.environ, "PATH": path.replace("$PATH", os.environ["PATH"]), "KUBECONFIG": kubeconfig}
    return environment, file[0] if file else str(README_KUBECONFIG)


def ready(environment: dict[str, str]) -> bool:
    path = '{.items[0].status.conditions[?(@.type=="Ready")].status}'
    return typed(f"kubectl get dcc -o jsonpath='{path}'", environment) == "True"


def test_every_step_works_as_it_is_written_and_ends_in_ready(programs: object) -> None:
    with sandbox("--no-operator") as running:
        environment, file = told(running)
        mode = stat.S_IMODE(Path(file).stat().st_mode)
        operator = next(step for step in steps() if RUN in step)
        before, after = steps()[: steps().index(operator)], steps()[steps().index(operator) + 1 :]
        for step in before:
            typed(step.replace(str(README_KUBECONFIG), file), environment)
        with shell(operator, environment):
            for step in after[:-1]:
                typed(step, environment)
            deadline = time.monotonic() + 300
            while not ready(environment):
                assert time.monotonic() < deadline, typed(after[-1], environment)
                time.sleep(0.5)
            shown = typed(after[-1], environment)
        running.end(signal.SIGINT)
    assert "AllReady" in shown
    assert mode == 0o600
    assert not Path(file).exists()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setattr(seed, "entitled_kubeconfig", lambda tenant: {"kind": "Config"})
    kept = tmp_path / "kept"
    return SimpleNamespace(tenant=SimpleNamespace(write_kubeconfig=lambda content, name: kept))


def test_a_file_that_is_there_is_never_written_over(world: Any, tmp_path: Path) -> None:
    there = tmp_path / "kubeconfig.tenant"
    there.write_text("mine")
    with byhand.tenant_kubeconfig(world, there) as used:
        assert used == tmp_path / "kept"
    assert there.read_text() == "mine"


@pytest.mark.parametrize("text", ["", "[]", "null", '{"preferences": {}}', "kind: Config", "\x00"])
def test_a_file_that_no_sandbox_made_stays_whatever_is_in_it(world: Any, tmp_path: Path, text: str) -> None:
    there = tmp_path / "kubeconfig.tenant"
    there.write_text(text)
    with byhand.tenant_kubeconfig(world, there):
        pass
    assert there.read_text() == text


def test_a_file_that_a_killed_sandbox_has_left_is_made_anew(world: Any, tmp_path: Path) -> None:
    wanted = tmp_path / "kubeconfig.tenant"
    with byhand.tenant_kubeconfig(world, wanted):
        left = wanted.read_text()
    wanted.write_text(left)  # as one that nobody removed, nor holds
    with byhand.tenant_kubeconfig(world, wanted) as used:
        assert used == wanted
    assert not wanted.exists()


def test_a_file_of_a_sandbox_that_runs_stays_its_own(world: Any, tmp_path: Path) -> None:
    wanted = tmp_path / "kubeconfig.tenant"
    with byhand.tenant_kubeconfig(world, wanted):
        with byhand.tenant_kubeconfig(world, wanted) as second:
            assert second == tmp_path / "kept"
        assert wanted.exists()


def test_a_folder_that_may_not_be_made_gives_another_file(world: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with byhand.tenant_kubeconfig(world, tmp_path / "file" / "kubeconfig.tenant") as used:
        assert used == tmp_path / "kept"


def test_what_was_made_is_for_its_owner_alone_and_goes_with_the_sandbox(world: Any, tmp_path: Path) -> None:
    wanted = tmp_path / "manifests" / "kubeconfig.tenant"
    with byhand.tenant_kubeconfig(world, wanted) as used:
        assert (used, stat.S_IMODE(wanted.stat().st_mode)) == (wanted, 0o600)
    assert not wanted.exists()
