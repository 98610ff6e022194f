"""`kubectl get dpu` says of each card where it stands: on the way to serving, in a drain, and when it fails."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from dpunetop.domain import names
from dpunetop.domain.names import DPUNODES
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.keys import CUSTOMRESOURCEDEFINITIONS, NODES, crd_name
from dpunetop.kube.requests import get
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.standins.kubelet import HOLD_READY_ANNOTATION, REBOOT_ANNOTATION, boot_id
from dpunetop.sandbox.world import World
from support.trial import Trial, eventually

pytestmark = pytest.mark.timeout(3000)

NewTrial = Callable[..., Trial]
SLOW = 150.0
WIDEST = 120
BACK = "NetworkReady=True"


class Card:
    """One DPU of a trial, as `kubectl` shows it and a test moves it."""

    def __init__(self, trial: Trial, number: int = 0) -> None:
        self.trial = trial
        self.dpu, self.host = list(trial.names.pairs.items())[number]

    def lines(self) -> list[str]:
        world: World = self.trial.world
        return world.infra.kubectl("get", "dpu", "--namespace", self.trial.namespace).splitlines()

    def columns(self) -> list[str]:
        """Of its line."""
        return next((line.split() for line in self.lines() if line.startswith(f"{self.dpu} ")), [])

    def status(self) -> dict[str, Any]:
        return dict(self.trial.get(DPUNODES, self.dpu).get("status") or {})

    def until(self, phase: str, network: str) -> dict[str, Any]:
        """Wait until `kubectl get dpu` shows both."""
        eventually(self.columns, lambda columns: columns[1:4] == [self.host, phase, network], SLOW)
        return self.status()

    def patch(self, change: dict[str, Any]) -> None:
        self.trial.infra.patch(get(NODES, "", self.dpu).target, change)

    def cordon(self, yes: bool = True) -> None:
        self.patch({"spec": {"unschedulable": yes or None}})

    def node(self) -> dict[str, Any]:
        return self.trial.infra.get(get(NODES, "", self.dpu).target)

    def reboot(self, *, stays_down: bool = False) -> None:
        before = boot_id(self.node())
        hold = {HOLD_READY_ANNOTATION: "true"} if stays_down else {}
        self.patch({"metadata": {"annotations": {REBOOT_ANNOTATION: before, **hold}}})
        if not stays_down:
            eventually(self.node, partial(is_up, before), SLOW)


def is_up(before: str, node: dict[str, Any]) -> bool:
    return boot_id(node) != before and (condition_of(node, "Ready") or {}).get("status") == "True"


@pytest.fixture
def card(new_trial: NewTrial) -> Card:
    """One of two that serve; one of two that fail is no reason to suspect infra."""
    trial = new_trial(dpus=2)
    trial.ready()
    return Card(trial)


def test_each_card_has_a_line_that_is_short_and_says_that_it_serves(card: Card) -> None:
    status = card.until("Serving", "True")
    header, *lines = card.lines()
    assert header.split() == ["NAME", "HOST", "PHASE", "NETWORK", "REASON", "SINCE"]
    assert len(lines) == len(card.trial.names.pairs)
    assert max(map(len, card.lines())) <= WIDEST
    said = {each["type"]: each["status"] for each in status["conditions"]}
    assert said.pop("DrainAllowed") == "False"
    assert set(said.values()) == {"True"}
    assert status["ovnImage"]
    assert status["machineConfig"].startswith("rendered-")
    counts = eventually(lambda: card.trial.config()["status"]["dpus"], lambda dpus: dpus["serving"] == 2, SLOW)
    assert (counts["protected"], counts["draining"], counts["withoutNetwork"]) == (2, 0, 0)


def test_a_drain_goes_through_its_phases_and_leaves_the_seconds_of_its_steps(card: Card) -> None:
    card.until("Serving", "True")
    card.cordon()
    assert card.until("Drained", "True")["lastDrain"].keys() >= {"startedAt", "hostDrainSeconds"}
    card.reboot()
    card.cordon(False)
    eventually(card.status, lambda status: "endedAt" in status.get("lastDrain", {}), SLOW)
    last = card.until("Serving", "True")["lastDrain"]
    assert last.keys() == {
        "startedAt",
        "endedAt",
        "waitingSeconds",
        "hostDrainSeconds",
        "dpuDrainSeconds",
        "verifyingSeconds",
    }


def test_an_outage_shows_which_host_has_no_network_and_why(card: Card) -> None:
    card.until("Serving", "True")
    card.reboot(stays_down=True)
    status = card.until("NoNetwork", "False")
    assert card.columns()[4] == "HostWithoutNetwork"
    assert all(word in status["message"] for word in (card.host, card.dpu, "is not Ready", "repair the DPU"))
    assert eventually(lambda: card.trial.config()["status"]["dpus"]["withoutNetwork"], lambda found: found == 1, SLOW)
    card.patch({"metadata": {"annotations": {HOLD_READY_ANNOTATION: None}}})
    card.until("Serving", "True")


def test_a_card_that_is_not_selected_any_more_loses_its_object_and_a_strangers_stays(card: Card, world: World) -> None:
    card.until("Serving", "True")
    stranger = {
        "apiVersion": DPUNODES.api_version,
        "kind": DPUNODES.kind,
        "metadata": {"name": "somebodys", "namespace": card.trial.namespace},
    }
    world.infra.apply([stranger])
    card.trial.patch_config({"metadata": {"annotations": {names.FORCE_DELETE_ANNOTATION: "yes"}}})
    card.trial.delete_config()
    eventually(lambda: [line.split()[0] for line in card.lines()[1:]], lambda left: left == ["somebodys"], SLOW)


def unwritten(operator: OperatorProcess) -> int:
    """How often it has said that DpuNodes are not written."""
    return operator.log_text().count("DpuNodes are not written")


def test_without_their_definition_all_else_goes_on_and_they_come_when_it_comes(
    new_trial: NewTrial, world: World, operator: OperatorProcess
) -> None:
    path = get(CUSTOMRESOURCEDEFINITIONS, "", crd_name(DPUNODES)).target
    definition = world.infra.admin.get(path)
    world.infra.admin.delete(path)
    eventually(lambda: world.infra.admin.get_or_empty(path), lambda found: not found, SLOW)
    operator.kill()
    operator.wait(SLOW)
    before = unwritten(operator)  # the one that ran may have seen that they went
    operator.start()
    operator.wait_ready()
    card = Card(new_trial())
    try:
        card.trial.ready()
        eventually(lambda: unwritten(operator), lambda count: count == before + 1, SLOW)
    finally:
        metadata = {"name": definition["metadata"]["name"]}
        world.infra.apply([{**definition, "metadata": metadata, "status": None}])
    card.until("Serving", "True")
