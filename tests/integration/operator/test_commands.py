"""The commands for people on two real clusters: the five questions of a first-time user, each answered by one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dpunetop.__main__ import main
from dpunetop.app.commands.exits import Exit
from dpunetop.domain import names
from dpunetop.kube.keys import NODES, PODS
from dpunetop.kube.meta import new_object
from dpunetop.kube.requests import get
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.standins.ovnkube import interconnect_tenant
from dpunetop.sandbox.world import World
from support.transcripts import compare, masked
from support.trial import Trial, eventually

pytestmark = pytest.mark.timeout(1500)

SLOW = 120.0
DPUS = 3


class User:
    """Types commands, and reads what they say."""

    def __init__(self, trial: Trial, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self.trial = trial
        self.transcript = ""
        self._capsys = capsys
        self._folder = folder
        world = trial.world
        self._flags = ["--kubeconfig", str(world.infra.admin_kubeconfig), "-n", trial.namespace]
        self._flags += ["--tenant-kubeconfig", f"{trial.namespace}/{trial.names.name}={world.tenant.admin_kubeconfig}"]

    def types(self, command: str, *arguments: str) -> tuple[str, int]:
        """Run one command with the kubeconfigs; what it says, and its exit code."""
        self._capsys.readouterr()
        code = main([command, *self._flags, *arguments])
        return self._capsys.readouterr().out, code

    def asks(self, question: str, command: str, *arguments: str) -> tuple[str, int]:
        """The same, written down."""
        said, code = self.types(command, *arguments)
        typed = " ".join(("kubectl dpu", command, *(Path(each).name for each in arguments)))
        shown = masked(_without_events(said).replace(str(self.trial.world.tenant.admin_kubeconfig), "tenant.yaml"))
        self.transcript += f"### {question}\n\n```\n$ {typed}\n{shown}```\n\nExit code {code}.\n\n"
        return said, code

    def config(self, **spec: Any) -> str:
        """The path of a file with the DpuClusterConfig, changed."""
        path = self._folder / "cr.yaml"
        path.write_text(yaml.safe_dump(self.trial.config_body(**spec)), "utf-8")
        return str(path)


def _without_events(said: str) -> str:
    """Which Events there are by then nobody can tell."""
    kept = re.sub(r"  last events:\n(    .*\n)+", "  last events:\n    ...\n", said)
    return re.sub(r"\n{2,}", "\n\n", kept)


@pytest.fixture
def demo(world: World, operator: OperatorProcess) -> Iterator[Trial]:
    """A tenant that is ready, under names that a reader sees."""
    assert operator
    trial = Trial(world, "demo", DPUS, shows=interconnect_tenant)
    trial.ready()
    yield trial
    trial.close()


def block(trial: Trial, host: str) -> Callable[[], object]:
    """Run a pod on the host that a budget lets nobody evict; how to end that."""
    labels, namespace = {"app": "shop"}, trial.tenant_namespace
    spec = {"nodeName": host, "terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "none"}]}
    pod = new_object(PODS, namespace, "shop-0", spec=spec)
    pod["metadata"]["labels"] = labels
    budget = new_object(names.PODDISRUPTIONBUDGETS, namespace, "shop")
    budget["spec"] = {"maxUnavailable": 0, "selector": {"matchLabels": labels}}
    trial.world.tenant.apply([budget, pod])
    path = get(PODS, namespace, "shop-0").target
    eventually(lambda: trial.tenant.get(path), lambda found: found["status"].get("phase") == "Running", SLOW)
    return lambda: trial.tenant.delete(path, {"gracePeriodSeconds": 0})


CREDENTIALS = "tenant-kubeconfig", "pod-credential", "copied-certificates", "operator-credential"
RIGHTS = "operator-rights", "tenant-rights", "pod-rights"


def _wide(checks: tuple[str, ...]) -> list[str]:
    return ["-o", "wide", *(word for check in checks for word in ("--check", check))]


def _is_told(text: str) -> bool:
    """Whether what blocks the drain is seen, and the operator has written that there is one."""
    written = "operator:  wrote Draining" in text and "goes on: " in text and "  but: " not in text
    return written and "allows no eviction of it now" in text and "1 pod is left: " in text


def cordon(trial: Trial, dpu: str, yes: bool = True) -> None:
    """A person cordons the DPU, or takes that back."""
    trial.infra.patch(get(NODES, "", dpu).target, {"spec": {"unschedulable": yes or None}})


def test_a_first_time_user_has_five_questions_and_types_five_commands(
    demo: Trial, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    user, (dpu, host) = User(demo, capsys, tmp_path), list(demo.names.pairs.items())[-1]
    eventually(lambda: user.types("status", "-o", "wide")[0].count(" Serving "), lambda count: count == 3 * DPUS, SLOW)
    said, code = user.asks("Which hosts have no network?", "status")
    assert f"{DPUS} of {DPUS} hosts have a network" in said
    assert code == Exit.GOOD, said
    unblock = block(demo, host)
    cordon(demo, dpu)
    eventually(lambda: user.types("explain", dpu)[0], _is_told, SLOW)
    said, code = user.asks(f"Why is {dpu} not draining?", "explain", dpu)
    assert f"pod {demo.tenant_namespace}/shop-0 of the tenant is running" in said
    assert f"PodDisruptionBudget {demo.tenant_namespace}/shop allows no eviction of it now" in said
    assert code == Exit.WRONG
    unblock()
    cordon(demo, dpu, False)
    eventually(lambda: user.types("explain", dpu), lambda found: found[1] == Exit.GOOD, SLOW)
    demo.wait("Ready", "True", within=SLOW)
    no_masters = {"key": "node-role.kubernetes.io/master", "operator": "DoesNotExist"}
    changed = user.config(nodeSelector={"matchLabels": {demo.label: ""}, "matchExpressions": [no_masters]})
    said, code = user.asks("What would this change?", "render", "--diff", "-f", changed)
    assert "+      operator: DoesNotExist" in said, said
    assert code == Exit.WRONG
    fewer = user.config(nodeSelector={"matchLabels": {demo.label: "", "rack": "a"}})
    said, code = user.asks("And if the selector picked no DPU any more?", "render", "--diff", "-f", fewer)
    assert "would drop DPUs that serve" in said
    assert code == Exit.UNSEEN
    said, code = user.asks("Is my kubeconfig about to expire?", "doctor", *_wide(CREDENTIALS))
    assert f"Secret {demo.namespace}/{demo.names.secret}" in said, said
    said, code = user.asks("May the operator do its work here?", "doctor", *_wide(RIGHTS))
    assert "3 checks: " in said, said
    said, _ = user.types("doctor", "-o", "wide")  # what it finds in this world is the business of its own tests
    assert re.search(r"\d+ checks: ", said), said
    assert f"Secret {demo.namespace}/{demo.names.secret}" in said, said
    compare(user.transcript)


def test_what_is_rendered_is_what_the_operator_has_written(
    new_trial: Callable[..., Trial], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    trial = new_trial(shows=interconnect_tenant)
    trial.ready()
    user = User(trial, capsys, tmp_path)
    said, code = user.types("render", "--diff", "-f", user.config())
    assert re.search(r"# \d+ objects, 0 of them differ", said), said
    assert code == Exit.GOOD
