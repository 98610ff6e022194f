"""A DPU that fails outside a drain: told, its host cordoned where the policy says so, and made schedulable on proof."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dpunetop.domain import names
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.keys import NODES
from dpunetop.kube.meta import annotations_of
from dpunetop.kube.requests import get
from dpunetop.sandbox.admin import Obj
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.standins.kubelet import HOLD_READY_ANNOTATION, REBOOT_ANNOTATION, boot_id
from support.trial import Trial, eventually

pytestmark = pytest.mark.timeout(3000)

NewTrial = Callable[..., Trial]
SLOW = 150.0
"""A process suspects infra for its first minute."""
CORDON = {"policy": "Cordon", "after": "1s", "maxHosts": 1}


class Tenant:
    """Hosts and their DPUs, as a test moves and sees them."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.dpus = list(trial.names.pairs)
        self.hosts = list(trial.names.pairs.values())

    def go_down(self, *numbers: int) -> None:
        """The DPUs crash, at once, and stay down."""
        for number in numbers:
            notes = {REBOOT_ANNOTATION: boot_id(self.dpu(number)), HOLD_READY_ANNOTATION: "true"}
            self.trial.infra.patch(self._dpu_path(number), {"metadata": {"annotations": notes}})
        eventually(lambda: [n for n in numbers if _is_ready(self.dpu(n))], lambda up: not up, SLOW)

    def come_up(self, number: int) -> None:
        self.trial.infra.patch(self._dpu_path(number), {"metadata": {"annotations": {HOLD_READY_ANNOTATION: None}}})

    def schedulable(self, number: int, yes: bool) -> None:
        """What a person does with `kubectl`."""
        self.trial.tenant.patch(self._host_path(number), {"spec": {"unschedulable": None if yes else True}})

    def dpu(self, number: int) -> Obj:
        return self.trial.infra.get(self._dpu_path(number))

    def host(self, number: int) -> Obj:
        return self.trial.tenant.get(self._host_path(number))

    def is_cordoned(self, number: int) -> bool:
        return bool((self.host(number).get("spec") or {}).get("unschedulable"))

    def mark(self, number: int) -> str:
        return annotations_of(self.host(number)).get(names.UNPLANNED_ANNOTATION, "")

    def says(self, reason: str, *words: str) -> str:
        """Wait until `PairsHealthy` is False for that reason, with those words; what it says."""

        def fits(found: dict[str, str]) -> bool:
            said = found.get("message", "")
            return (found.get("status"), found.get("reason")) == ("False", reason) and all(w in said for w in words)

        return str(eventually(lambda: self.trial.condition("PairsHealthy"), fits, SLOW)["message"])

    def events(self, number: int) -> dict[str, str]:
        """Reasons and notes of the Events about a DPU's Node."""
        found = self.trial.infra.list_all("/apis/events.k8s.io/v1/namespaces/default/events")
        about = (event for event in found if (event.get("regarding") or {}).get("name") == self.dpus[number])
        return {event["reason"]: event.get("note", "") for event in about}

    def _dpu_path(self, number: int) -> str:
        return get(NODES, "", self.dpus[number]).target

    def _host_path(self, number: int) -> str:
        return get(NODES, "", self.hosts[number]).target


def _is_ready(node: Obj) -> bool:
    return (condition_of(node, "Ready") or {}).get("status") == "True"


@pytest.fixture
def tenant(new_trial: NewTrial) -> Tenant:
    """Five hosts that are served; infra has no other Nodes."""
    trial = new_trial(dpus=5)
    return Tenant(trial)


def test_a_dpu_that_crashes_is_told_and_its_host_named_and_nothing_is_done(tenant: Tenant) -> None:
    tenant.trial.ready()
    tenant.go_down(0)
    words = (f"host {tenant.hosts[0]} has no network since 20", f"DPU node {tenant.dpus[0]} is not Ready")
    tenant.says("HostWithoutNetwork", *words)
    assert tenant.trial.wait("Ready", "False", "HostWithoutNetwork", within=SLOW)
    told = eventually(lambda: tenant.events(0), lambda events: "HostWithoutNetwork" in events, SLOW)
    assert all(word in told["HostWithoutNetwork"] for word in words)
    assert (tenant.is_cordoned(0), tenant.mark(0)) == (False, "")
    tenant.come_up(0)
    tenant.trial.wait("Ready", "True", within=SLOW)
    eventually(lambda: tenant.events(0), lambda events: "NetworkBack" in events, SLOW)


def test_a_host_is_cordoned_up_to_the_limit_and_comes_back_on_proof_whoever_operates(
    tenant: Tenant, operator: OperatorProcess
) -> None:
    tenant.trial.ready(unplanned=CORDON)
    tenant.go_down(0)
    eventually(lambda: tenant.is_cordoned(0), bool, SLOW)
    tenant.says("HostCordoned", tenant.hosts[0])
    tenant.go_down(1)
    tenant.says("HostCordoned", f"host {tenant.hosts[1]} has no network", "as many as spec.unplanned.maxHosts allows")
    operator.restart()
    operator.wait_ready()
    assert (tenant.is_cordoned(0), tenant.is_cordoned(1)) == (True, False)
    tenant.come_up(0)
    eventually(lambda: tenant.is_cordoned(0), lambda yes: not yes, SLOW)
    eventually(lambda: tenant.is_cordoned(1), bool, SLOW)
    assert tenant.mark(0) == ""
    tenant.come_up(1)
    tenant.trial.wait("Ready", "True", within=SLOW)
    assert [(tenant.is_cordoned(n), tenant.mark(n)) for n in (0, 1)] == [(False, "")] * 2


def test_a_cordon_of_a_person_stays_whatever_became_of_ours(tenant: Tenant) -> None:
    tenant.trial.ready(unplanned=CORDON)
    tenant.go_down(0)
    eventually(lambda: tenant.is_cordoned(0), bool, SLOW)
    tenant.schedulable(0, True)
    tenant.says("HostWithoutNetwork", "another writer has made it schedulable")
    assert not tenant.is_cordoned(0)
    tenant.schedulable(0, False)
    tenant.come_up(0)
    eventually(lambda: tenant.mark(0), lambda mark: not mark, SLOW)
    tenant.trial.wait("Ready", "True", within=SLOW)
    assert tenant.is_cordoned(0)


def test_while_infra_itself_may_be_what_fails_no_host_is_touched(tenant: Tenant) -> None:
    tenant.trial.ready(unplanned={**CORDON, "after": "10s", "maxHosts": 5})
    tenant.go_down(*range(4))
    tenant.says("InfraSuspect", tenant.hosts[0], "many of its Nodes are not Ready")
    assert [tenant.is_cordoned(number) for number in range(5)] == [False] * 5
    for number in range(4):
        tenant.come_up(number)
    tenant.trial.wait("Ready", "True", within=SLOW)
    assert [tenant.mark(number) for number in range(5)] == [""] * 5
