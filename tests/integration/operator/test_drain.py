"""The drain of a DPU waits for its host, and the host comes back once the DPU's network works."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dpunetop.domain import names
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.errors import TooManyRequests
from dpunetop.kube.keys import CONFIGMAPS, DEPLOYMENTS, NODES, PODS
from dpunetop.kube.requests import get
from dpunetop.sandbox.admin import Obj
from dpunetop.sandbox.standins.kubelet import REBOOT_ANNOTATION, boot_id
from support.trial import Trial, eventually

pytestmark = pytest.mark.timeout(180)

NewTrial = Callable[..., Trial]
OPERATOR = "default"
"""Namespace of the operator in the quick start, where its blockers are."""
SLOW = 40.0


class Pair:
    """One DPU and its host, as a test sees and moves them."""

    def __init__(self, trial: Trial, number: int = 0) -> None:
        self.trial = trial
        self.dpu, self.host = list(trial.names.pairs.items())[number]

    # --- looking ----------------------------------------------------------------------------------------------------

    def budget(self) -> Obj:
        name = names.blocker_name(self.dpu)
        return self.trial.infra.get_or_empty(get(names.PODDISRUPTIONBUDGETS, OPERATOR, name).target)

    def blocker(self) -> Obj:
        return self.trial.infra.get_or_empty(get(DEPLOYMENTS, OPERATOR, names.blocker_name(self.dpu)).target)

    def blocker_pods(self) -> list[Obj]:
        path = f"/api/v1/namespaces/{OPERATOR}/pods"
        return self.trial.infra.list_all(path, labelSelector=f"app={names.blocker_name(self.dpu)}")

    def serves(self) -> str:
        return str(notes(self.budget()).get(names.SERVES_ANNOTATION, ""))

    def is_open(self) -> bool:
        return (self.budget().get("spec") or {}).get("maxUnavailable") == 1

    def entry(self) -> str:
        data = self.trial.get(CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES).get("data") or {}
        return str(data.get(self.dpu, ""))

    def node(self) -> Obj:
        return self.trial.infra.get_or_empty(get(NODES, "", self.dpu).target)

    def host_node(self) -> Obj:
        return self.trial.tenant.get_or_empty(get(NODES, "", self.host).target)

    def maintenance(self) -> Obj:
        path = get(names.NODEMAINTENANCES, "", names.maintenance_name(self.host)).target
        return self.trial.tenant.get_or_empty(path)

    def events(self) -> list[tuple[str, str]]:
        found = self.trial.infra.list_all("/apis/events.k8s.io/v1/namespaces/default/events")
        about = (event for event in found if (event.get("regarding") or {}).get("name") == self.dpu)
        return [(event["reason"], event.get("note", "")) for event in about]

    # --- moving -----------------------------------------------------------------------------------------------------

    def cordon(self, yes: bool = True) -> None:
        self.trial.infra.patch(get(NODES, "", self.dpu).target, {"spec": {"unschedulable": yes or None}})

    def order(self, word: str | None) -> None:
        body = {"metadata": {"annotations": {names.DRAIN_ANNOTATION: word}}}
        self.trial.infra.patch(get(NODES, "", self.dpu).target, body)

    def reboot(self) -> str:
        """Reboot the DPU; its new boot ID."""
        before = boot_id(self.node())
        body = {"metadata": {"annotations": {REBOOT_ANNOTATION: before}}}
        self.trial.infra.patch(get(NODES, "", self.dpu).target, body)
        return boot_id(eventually(self.node, lambda node: boot_id(node) != before and is_ready(node), SLOW))

    def evict_blocker(self) -> bool:
        """Ask the real eviction API for the blocker."""
        [pod] = [pod for pod in self.blocker_pods() if "deletionTimestamp" not in pod["metadata"]]
        name = pod["metadata"]["name"]
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": OPERATOR}}
        try:
            self.trial.infra.create(f"{get(PODS, OPERATOR, name).target}/eviction", body)
        except TooManyRequests:
            return False
        return True

    def uncordon_host(self) -> None:
        self.trial.tenant.patch(get(NODES, "", self.host).target, {"spec": {"unschedulable": None}})

    # --- waiting ----------------------------------------------------------------------------------------------------

    def until_open(self) -> None:
        eventually(self.budget, lambda _: self.is_open(), SLOW)

    def until_idle(self) -> None:
        """Wait until nothing of a drain is left."""
        eventually(lambda: self.left(), lambda left: not left, SLOW)

    def left(self) -> list[str]:
        host, found = self.host_node(), []
        if self.maintenance():
            found.append("maintenance")
        if names.CORDONED_BEFORE_ANNOTATION in notes(host):
            found.append("mark")
        if names.CYCLE_ANNOTATION in notes(self.budget()):
            found.append("cycle")
        if self.serves() and self.is_open():
            found.append("open")
        return found


def notes(obj: Obj) -> dict[str, str]:
    return dict((obj.get("metadata") or {}).get("annotations") or {})


def is_cordoned(node: Obj) -> bool:
    return bool((node.get("spec") or {}).get("unschedulable"))


def is_ready(obj: Obj) -> bool:
    return (condition_of(obj, "Ready") or {}).get("status") == "True"


def serving(trial: Trial) -> Pair:
    trial.ready()
    return Pair(trial)


def test_a_drain_goes_all_the_way_and_leaves_everything_as_it_was(trial: Trial) -> None:
    pair = serving(trial)
    assert (pair.serves(), pair.is_open()) == (pair.host, False)
    assert not pair.evict_blocker()
    pair.cordon()
    pair.until_open()
    assert is_cordoned(pair.host_node())
    assert pair.evict_blocker()
    pair.reboot()
    assert is_cordoned(pair.host_node())
    pair.cordon(False)
    pair.until_idle()
    assert not is_cordoned(pair.host_node())
    assert (pair.serves(), pair.is_open()) == (pair.host, False)
