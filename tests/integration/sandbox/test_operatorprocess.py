"""The operator's process does what a test tells it, and never outlives the test; tried with a stand-in program."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from dpunetop.sandbox.operatorprocess import OperatorFailed, OperatorProcess

SECONDS = 60.0
KUBECONFIG = {"kind": "Config", "current-context": "infra"}
STAND_IN = """
import http.server, signal, sys, os
flags = dict(argument.removeprefix("--").split("=", 1) for argument in sys.argv[2:])
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print(sys.argv[1], flags, os.environ.get("NAMESPACE"))
host, port = flags["health-probe-bind-address"].rsplit(":", 1)
http.server.HTTPServer((host, int(port)), Health).serve_forever()
"""


@pytest.fixture
def stand_in(tmp_path: Path) -> tuple[str, str]:
    program = tmp_path / "standin.py"
    program.write_text(STAND_IN)
    return sys.executable, str(program)


@pytest.fixture
def operator(stand_in: tuple[str, str]) -> Iterator[OperatorProcess]:
    with OperatorProcess(KUBECONFIG, flags=["--log-format=console"], env={"NAMESPACE": "a"}, program=stand_in) as it:
        it.wait_ready(SECONDS)
        yield it


def test_it_is_run_with_our_flags_then_those_given_and_a_private_kubeconfig(operator: OperatorProcess) -> None:
    port = operator.health_url.rsplit(":", 1)[1]
    assert operator.log_text().startswith("run {")
    assert operator.log_text().splitlines()[0].endswith("} a")
    assert f"'health-probe-bind-address': '127.0.0.1:{port}'" in operator.log_text()
    assert "'log-format': 'console'" in operator.log_text()
    kubeconfig = operator.log.with_name("kubeconfig")
    assert f"'kubeconfig': '{kubeconfig}'" in operator.log_text()
    assert yaml.safe_load(kubeconfig.read_text()) == KUBECONFIG
    assert kubeconfig.stat().st_mode & 0o777 == 0o600


def test_it_ends_by_sigterm_with_its_own_code_and_by_sigkill(operator: OperatorProcess) -> None:
    assert operator.returncode is None
    operator.terminate()
    assert operator.wait(SECONDS) == 7
    operator.start()
    operator.wait_ready(SECONDS)
    operator.kill()
    assert operator.wait(SECONDS) == -9
    assert operator.returncode == -9


def test_a_paused_one_ends_only_after_it_was_resumed(operator: OperatorProcess) -> None:
    operator.pause()
    operator.terminate()
    assert operator.wait(0.2) is None
    operator.resume()
    assert operator.wait(SECONDS) == 7


def test_a_restarted_one_has_the_same_ports_and_the_same_log(operator: OperatorProcess) -> None:
    first = operator.pid
    operator.restart()
    operator.wait_ready(SECONDS)
    assert operator.pid != first
    assert operator.log_text().count("run {") == 2


def test_it_is_not_started_twice(operator: OperatorProcess) -> None:
    with pytest.raises(OperatorFailed, match="still runs"):
        operator.start()


def test_one_that_ends_before_it_is_ready_shows_its_log(tmp_path: Path) -> None:
    program = (sys.executable, "-c", "print('no such flag'); raise SystemExit(2)")
    with (
        OperatorProcess(KUBECONFIG, program=program) as operator,
        pytest.raises(OperatorFailed, match=r"(?s)ended with code 2.*no such flag"),
    ):
        operator.wait_ready(SECONDS)


def test_one_that_is_never_ready_is_given_up() -> None:
    program = (sys.executable, "-c", "import signal; signal.pause()")
    with (
        OperatorProcess(KUBECONFIG, program=program) as operator,
        pytest.raises(OperatorFailed, match=r"not ready after 0\.2 s"),
    ):
        operator.wait_ready(0.2)


def test_nothing_is_left_after_close(stand_in: tuple[str, str]) -> None:
    with OperatorProcess(KUBECONFIG, program=stand_in) as operator:
        operator.wait_ready(SECONDS)
        pid, folder = operator.pid, operator.log.parent
    assert not Path(f"/proc/{pid}").exists()
    assert not folder.exists()


OWNER = """
import sys, signal
from dpunetop.sandbox.operatorprocess import OperatorProcess
operator = OperatorProcess({}, program=sys.argv[1:])
operator.start()
operator.wait_ready(60)
print(operator.pid, flush=True)
signal.pause()
"""


def test_it_dies_with_a_test_run_that_is_killed(stand_in: tuple[str, str]) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER, *stand_in], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        handle = os.pidfd_open(int(owner.stdout.readline()))
        try:
            owner.send_signal(signal.SIGKILL)
            assert select.select([handle], [], [], SECONDS)[0] == [handle]
        finally:
            os.close(handle)
