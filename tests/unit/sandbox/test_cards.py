"""The table of cards: what it says of a DPU, its host and a drain."""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from dpunetop.domain import names
from dpunetop.kube.errors import Unreachable
from dpunetop.kube.keys import NODES, PODS
from dpunetop.kube.requests import get
from dpunetop.sandbox import cards
from dpunetop.sandbox.cards import Row

READY = {"conditions": [{"type": "Ready", "status": "True"}]}


class Admin:
    def __init__(self, objects: dict[str, list[dict[str, Any]]]) -> None:
        self._objects = objects

    def list_all(self, path: str) -> list[dict[str, Any]]:
        return self._objects.get(path, [])


class Paused:
    """Connections stay open and silent, until whoever waits gives up."""

    def __init__(self) -> None:
        self.asked, self.given_up = threading.Event(), threading.Event()

    def list_all(self, path: str) -> list[dict[str, Any]]:
        self.asked.set()
        assert threading.current_thread() is not threading.main_thread()
        self.given_up.wait()
        raise Unreachable(0, "Refused", f"GET {path}: timed out")


def path(resource: Any, namespace: str = "") -> str:
    return get(resource, namespace, "").target.rstrip("/")


def node(name: str, *, cordoned: bool = False, ready: bool = True) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"unschedulable": cordoned}, "status": READY if ready else {}}


def world(infra: dict[str, Any], tenant: dict[str, Any]) -> Any:
    quick_start = SimpleNamespace(namespace="ns", pairs={"dpu-1": "host-1"})
    clusters = (SimpleNamespace(admin=Admin(each)) for each in (infra, tenant))
    return SimpleNamespace(quick_start=quick_start, **dict(zip(("infra", "tenant"), clusters, strict=True)))


POD = {"metadata": {"name": "pod", "labels": {"app": names.OVNKUBE_NODE}}, "spec": {"nodeName": "dpu-1"}}
BUDGET: dict[str, Any] = {"metadata": {"name": names.blocker_name("dpu-1")}, "spec": {"maxUnavailable": 0}}
MAINTENANCE: dict[str, Any] = {"metadata": {"name": names.maintenance_name("host-1")}, "status": {"phase": "Running"}}
OPEN = {**BUDGET, "spec": {"maxUnavailable": 1}}
DRAINED = {**MAINTENANCE, "status": {"phase": "Succeeded"}}

DRAINS = {
    "at rest": (BUDGET, [], "-"),
    "host being drained": (BUDGET, [MAINTENANCE], "host draining"),
    "host drained": (BUDGET, [DRAINED], "host drained"),
    "open": (OPEN, [DRAINED], "budget open"),
}


@pytest.mark.parametrize(("budget", "maintenances", "said"), DRAINS.values(), ids=DRAINS.keys())
def test_a_row_says_how_far_the_drain_is(budget: Any, maintenances: Any, said: str) -> None:
    infra = {path(names.PODDISRUPTIONBUDGETS, "ns"): [budget], path(NODES): [node("dpu-1")]}
    tenant = {path(NODES): [node("host-1")], path(names.NODEMAINTENANCES): maintenances}
    [card] = cards.of(world(infra, tenant))
    assert card.drain == said


def test_a_row_says_how_the_nodes_are_and_whether_the_network_works() -> None:
    infra = {path(NODES): [node("dpu-1", cordoned=True, ready=False)], path(PODS, "ns"): [{**POD, "status": READY}]}
    [serving] = cards.of(world(infra, {path(NODES): [node("host-1", cordoned=True)]}))
    [absent] = cards.of(world({path(PODS, "ns"): [POD]}, {}))
    assert serving == Row("dpu-1", "NotReady, cordoned", "host-1", "Ready, cordoned", "works", "-")
    assert absent == Row("dpu-1", "absent", "host-1", "absent", "none", "-")


def test_the_plain_table_has_a_head_and_columns_that_line_up() -> None:
    rows = [Row("dpu-1", "Ready", "host-1", "Ready", "works", "-"), Row("d", "Ready", "h", "Ready", "none", "-")]
    head, first, second = cards.lines(rows)
    assert head.split("  ")[0] == "DPU"
    assert "HOST NODE" in head
    assert first.index("works") == second.index("none") == head.index("NETWORK")


def test_without_a_terminal_nothing_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    with cards.watching(world({}, {})) as draw:
        draw()
    assert capsys.readouterr().out == ""


def test_on_a_terminal_nobody_waits_for_a_tenant_that_is_paused(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, paused = world({path(NODES): [node("dpu-1")]}, {}), Paused()
    stage.tenant.admin = paused
    monkeypatch.setattr(cards, "impatient", lambda cluster: cluster.admin)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with cards.watching(stage) as draw:
        paused.asked.wait()
        draw()  # comes back, though the tenant has not answered
        paused.given_up.set()


def test_of_a_tenant_that_does_not_answer_that_is_said() -> None:
    stage, paused = world({path(NODES): [node("dpu-1")], path(PODS, "ns"): [{**POD, "status": READY}]}, {}), Paused()
    paused.given_up.set()
    with cards.Refresher(stage.quick_start, stage.infra.admin, paused) as refresher:
        while not refresher.newest:
            threading.Event().wait(0.01)
    assert refresher.newest == [Row("dpu-1", "Ready", "host-1", "no answer", "works", "no answer")]
