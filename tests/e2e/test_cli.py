"""The command as it is typed: what it refuses, what it waits for, and how it ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from dpunetop import __version__
from dpunetop.domain.names import DPUCLUSTERCONFIGS, FINALIZER, OVN_KUBERNETES_NAMESPACE
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.keys import NAMESPACES
from dpunetop.kube.meta import new_object
from dpunetop.kube.requests import get
from dpunetop.sandbox import seed
from dpunetop.sandbox.components import API_ONLY, Spec
from dpunetop.sandbox.controlplane import ControlPlane
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.processes import minimal_environment
from dpunetop.sandbox.seed import QuickStart
from support import oplog
from support.faultproxy import FaultProxy
from support.faults import Fault, Phase, Then
from support.trial import eventually

SECONDS = 120.0
NAMES = QuickStart(dpus=0)
CONFIG_PATH = get(DPUCLUSTERCONFIGS, NAMES.namespace, NAMES.name).target


def dpunetop(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command until it ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "dpunetop", *arguments],
        env={**minimal_environment(), "NAMESPACE": "default", **environment},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """What would be infra's API server: it sees whether anybody comes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


@pytest.fixture
def kubeconfig(listener: socket.socket, tmp_path: Path) -> Path:
    """A kubeconfig that leads to the listener."""
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    content = {
        "kind": "Config",
        "apiVersion": "v1",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "c", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    }
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(content))
    return file


REFUSED = {  # flags, environment -> what the line names
    "a flag that there is not": (["--frobnicate"], {}, "--frobnicate"),
    "a word too many": (["now"], {}, "now"),
    "a flag cut short": (["--log-lev=debug"], {}, "--log-lev"),
    "an address without a port": (["--metrics-bind-address=here"], {}, "--metrics-bind-address"),
    "a time without a unit": (["--leader-elect", "--leader-elect-retry-period=5"], {}, "--leader-elect-retry-period"),
    "a lease shorter than its renewal": (
        ["--leader-elect", "--leader-elect-lease-duration=5s"],
        {},
        "--leader-elect-lease-duration",
    ),
    "no workers": (["--max-concurrent-reconciles=0"], {}, "--max-concurrent-reconciles"),
    "a level that there is not": (["--log-level=loud"], {}, "--log-level"),
    "no namespace": ([], {"NAMESPACE": ""}, "NAMESPACE"),
    "a namespace with a slash": ([], {"NAMESPACE": "a/b"}, "NAMESPACE"),
    "a bad tenant namespace": ([], {"TENANT_NAMESPACE": "A B"}, "TENANT_NAMESPACE"),
    "a bad namespace to watch": ([], {"WATCH_NAMESPACE": "a,$(id)"}, "WATCH_NAMESPACE"),
    "a bad network": ([], {"TENANT_ALLOWED_CIDRS": "10.0.0.0/99"}, "TENANT_ALLOWED_CIDRS"),
    "a bad proxy": ([], {"TENANT_PROXY_URL": "proxy.example"}, "TENANT_PROXY_URL"),
    "plain metrics for all": (
        ["--metrics-secure=false", "--metrics-bind-address=0.0.0.0:0", "--health-probe-bind-address=0"],
        {},
        "0.0.0.0",
    ),
}


@pytest.mark.parametrize(("flags", "environment", "named"), REFUSED.values(), ids=REFUSED)
def test_an_unusable_setting_is_reported_in_one_line_and_nothing_starts(
    kubeconfig: Path, listener: socket.socket, flags: list[str], environment: dict[str, str], named: str
) -> None:
    ended = dpunetop("run", f"--kubeconfig={kubeconfig}", *flags, **environment)
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith("dpunetop: ")
    assert named in line
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.parametrize("content", [None, "", "]", "kind: Config"], ids=["no file", "empty", "garbage", "no cluster"])
def test_a_kubeconfig_that_cannot_be_used_is_one_line_that_names_it(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "infra.kubeconfig"
    if content is not None:
        file.write_text(content)
    ended = dpunetop("run", "--health-probe-bind-address=0", "--metrics-bind-address=0", KUBECONFIG=str(file))
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert str(file) in line


def test_outside_of_a_cluster_a_kubeconfig_is_asked_for() -> None:
    ended = dpunetop("run")
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert "kubeconfig" in line.lower()


def test_an_address_that_is_taken_is_one_line_that_names_it(kubeconfig: Path, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    ended = dpunetop(
        "run", f"--kubeconfig={kubeconfig}", "--metrics-bind-address=0", f"--health-probe-bind-address=127.0.0.1:{port}"
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert f"127.0.0.1:{port}" in line
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_an_unknown_command_is_refused() -> None:
    ended = dpunetop("frobnicate")
    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (2, "", 1)


def test_it_says_which_version_it_is() -> None:
    ended = dpunetop("--version")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"dpunetop {__version__}\n", "")


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"]], ids=" ".join)
def test_help_is_no_error(arguments: list[str]) -> None:
    ended = dpunetop(*arguments)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "usage:" in ended.stdout


# --- with an infra cluster that has nothing of ours yet ---------------------------------------------------------------


@pytest.fixture(scope="module")
def bare(programs: object) -> Iterator[ControlPlane]:
    """An API server with the operator's rights, but without its CustomResourceDefinition."""
    installation = seed.operator_installation()
    with ControlPlane(Spec("infra", API_ONLY)) as running:
        running.apply(new_object(NAMESPACES, "", OVN_KUBERNETES_NAMESPACE))
        running.apply(obj for obj in installation if obj["kind"] != "CustomResourceDefinition")
        running.apply(seed.served_namespace(NAMES.namespace, NAMES.secret))
        yield running


@pytest.fixture
def operator(bare: ControlPlane) -> Iterator[OperatorProcess]:
    token = bare.service_account_token(seed.OPERATOR_NAMESPACE, seed.OPERATOR_ACCOUNT)
    with OperatorProcess(bare.token_kubeconfig(token), env={"NAMESPACE": NAMES.namespace}) as running:
        yield running


def readiness(operator: OperatorProcess) -> tuple[int, str]:
    """Status and text of /readyz; 0 while nobody listens."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{operator.health_url}/readyz", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as err:
        with err:
            return err.code, err.read().decode()
    except OSError:
        return 0, ""


def test_without_the_crd_the_operator_waits_and_says_so_and_starts_once_it_is_installed(
    bare: ControlPlane, operator: OperatorProcess
) -> None:
    waiting = f"waiting for the CustomResourceDefinition {DPUCLUSTERCONFIGS.plural}.{DPUCLUSTERCONFIGS.group}"
    status, _ = eventually(lambda: readiness(operator), lambda seen: waiting in seen[1])
    assert status == 503
    (warning,) = eventually(lambda: oplog.alarms(operator), bool)
    assert warning["level"] == "warning"
    assert warning["crd"] == "dpuclusterconfigs.dpu.openshift.io"

    bare.apply(obj for obj in seed.operator_installation() if obj["kind"] == "CustomResourceDefinition")
    bare.apply(seed.dpu_cluster_config(NAMES))
    config = bare.admin.wait_for(CONFIG_PATH, lambda seen: condition_of(seen, "McpReady") is not None)
    assert config["metadata"]["finalizers"] == [FINALIZER]
    assert (condition_of(config, "McpReady") or {})["reason"] == "ApiNotServed"
    eventually(lambda: readiness(operator)[0], (200).__eq__)

    operator.terminate()
    assert operator.wait(SECONDS) == 0


def is_pending(pid: int) -> bool:
    """Whether a SIGTERM of the process has still to be taken. Source: proc_pid_status(5)."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool(int(lines["ShdPnd"], 16) & 1 << signal.SIGTERM - 1)


def test_the_second_sigterm_ends_it_at_once(bare: ControlPlane) -> None:
    """The first one waits for what is under way: here for a write that is not answered."""
    bare.apply(obj for obj in seed.operator_installation() if obj["kind"] == "CustomResourceDefinition")
    with FaultProxy.before(bare) as proxy:
        held = proxy.counter.arm(Fault(1, Phase.BEFORE_FORWARD, lambda: None, Then.HOLD))
        token = bare.service_account_token(seed.OPERATOR_NAMESPACE, seed.OPERATOR_ACCOUNT)
        with OperatorProcess(proxy.kubeconfig(token), env={"NAMESPACE": NAMES.namespace}) as operator:
            bare.apply({**seed.dpu_cluster_config(NAMES), "metadata": {"name": "second", "namespace": "default"}})
            assert held.fired.wait(SECONDS)
            operator.terminate()
            eventually(lambda: is_pending(operator.pid), lambda pending: not pending)  # two at once would be one
            assert operator.wait(1.0) is None
            operator.terminate()
            assert operator.wait(SECONDS) == 128 + signal.SIGTERM
        held.release()
