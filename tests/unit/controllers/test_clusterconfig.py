"""The end of a DpuClusterConfig whose operator has written to the tenant."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, cast

import pytest

from dpunetop.base.stop import Stop
from dpunetop.controllers.admissions import Admissions
from dpunetop.controllers.clusterconfig import ClusterConfig
from dpunetop.controllers.inquiries import Inquiries
from dpunetop.controllers.namespacerights import NamespaceRights
from dpunetop.controllers.reconciler import Installation
from dpunetop.domain.names import (
    DPU_ACCOUNT,
    DPUCLUSTERCONFIGS,
    FINALIZER,
    FORCE_DELETE_ANNOTATION,
    MINTED_IN_ANNOTATION,
    OWNER_LABEL,
    TENANT_KUBECONFIG,
    owner_hash,
)
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.errors import ApiError, Unreachable
from dpunetop.kube.keys import (
    CLUSTERROLEBINDINGS,
    INFRA,
    NAMESPACES,
    ROLEBINDINGS,
    SECRETS,
    SERVICEACCOUNTS,
    Key,
    Resource,
)
from dpunetop.kube.plan import Emit
from dpunetop.kube.requests import Selection
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.election.gate import OpenGate
from dpunetop.runtime.reading import DynamicWatches, NotEngaged, NotSynced, Waker
from support.clock import FakeClock
from support.objects import NAMESPACE, condition, config
from support.scriptedcluster import Fuse, ScriptedCluster, ScriptedWatches, executor_over

TENANT = f"tenant/{NAMESPACE}/sample"
OWNER = owner_hash("infra-uid", NAMESPACE, "sample")
OURS = ((ROLEBINDINGS, "ovn"), (CLUSTERROLEBINDINGS, ""), (SERVICEACCOUNTS, "ovn"))
REACHABLE = condition("TenantReachable", "True", "Reachable")
FINALIZER_IS_OURS = {
    "manager": "dpunetop-clusterconfig",
    "operation": "Apply",
    "apiVersion": DPUCLUSTERCONFIGS.api_version,
    "subresource": "",
    "fieldsV1": {"f:metadata": {"f:finalizers": {'v:"dpu.openshift.io/teardown"': {}}}},
}
VALID = condition("CredentialsValid", "True", "Verified")


class Blind(ScriptedWatches):
    """Caches of infra alone."""

    def get(self, cluster: str, selection: Selection, namespace: str, name: str) -> dict[str, Any] | None:
        if cluster != INFRA:
            raise NotEngaged(cluster)
        found: dict[str, Any] | None = super().get(cluster, selection, namespace, name)
        return found


class World:
    def __init__(
        self, *conditions: dict[str, Any], minted_in: str = "ovn", blind: bool = False, **annotations: str
    ) -> None:
        clock, fuse = FakeClock(), Fuse()
        self.infra, self.tenant = (
            ScriptedCluster(name, fuse, lambda: clock.now().isoformat()) for name in (INFRA, TENANT)
        )
        doomed = copy.deepcopy(config())
        doomed["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z", annotations=annotations)
        doomed["metadata"]["managedFields"] = [FINALIZER_IS_OURS]
        doomed["status"]["conditions"] = list(conditions)
        self.infra.put(DPUCLUSTERCONFIGS, doomed)
        self.infra.put(NAMESPACES, {"metadata": {"name": "kube-system", "uid": "infra-uid"}})
        self.infra.put(NAMESPACES, {"metadata": {"name": NAMESPACE, "uid": "namespace-uid"}})
        note = {MINTED_IN_ANNOTATION: minted_in} if minted_in else {}
        self.infra.put(SECRETS, ours(TENANT_KUBECONFIG, NAMESPACE, annotations=note))
        for resource, namespace in OURS:
            self.tenant.put(resource, ours(DPU_ACCOUNT, namespace))
        watches = (Blind if blind else ScriptedWatches)(self.infra, self.tenant)
        executor = executor_over(watches.clusters.__getitem__, OpenGate(), clock)
        self.controller = ClusterConfig(Installation(None, "ovn", None, "dpunetop"), executor)
        self.controller.read_through(cast(DynamicWatches, watches))
        self.inquiries = Inquiries()

    def once(self) -> float | None:
        """One pass, and what it asked of infra answered: then one more."""
        key = Key(INFRA, NAMESPACE, "sample")
        try:
            return self.controller.reconcile(key, Stop())
        except NotSynced:
            self.inquiries.reconcile(Key(INFRA, "", "rights"), Stop())
            return self.controller.reconcile(key, Stop())

    def message(self) -> str:
        found = condition_of(self.infra.shown(DPUCLUSTERCONFIGS, NAMESPACE, "sample"), "Ready")
        return str(found and found["message"])

    def deletes(self) -> list[str]:
        return [write for write in (*self.tenant.writes, *self.infra.writes) if " delete " in write]

    def has_let_go(self) -> bool:
        return f"{INFRA} apply dpuclusterconfigs/sample" in self.infra.writes


def ours(name: str, namespace: str, **metadata: dict[str, Any]) -> dict[str, dict[str, Any]]:
    where = {"namespace": namespace} if namespace else {}
    return {"metadata": {"name": name, **where, "labels": {OWNER_LABEL: OWNER}, **metadata}}


def test_what_was_made_in_the_tenant_goes_accounts_last_and_then_the_way_there() -> None:
    world = World(REACHABLE, VALID)
    for _ in range(3):
        world.once()
    assert world.deletes() == [
        f"{TENANT} delete rolebindings/{DPU_ACCOUNT}",
        f"{TENANT} delete clusterrolebindings/{DPU_ACCOUNT}",
        f"{TENANT} delete serviceaccounts/{DPU_ACCOUNT}",
        f"{INFRA} delete secrets/{TENANT_KUBECONFIG}",
    ]
    assert world.has_let_go()


def test_accounts_of_every_name_that_was_noted_go() -> None:
    world = World(REACHABLE, VALID, minted_in="ovn,ovn/ovnkube-node-dpu")
    for resource, namespace in OURS:
        world.tenant.put(resource, ours("ovnkube-node-dpu", namespace))
    for _ in range(3):
        world.once()
    for resource, _ in OURS:
        assert f"{TENANT} delete {resource.plural}/{DPU_ACCOUNT}" in world.deletes()
        assert f"{TENANT} delete {resource.plural}/ovnkube-node-dpu" in world.deletes()
    assert world.has_let_go()


def test_what_a_stranger_has_made_there_stays() -> None:
    world = World(REACHABLE, VALID)
    world.tenant.put(SERVICEACCOUNTS, {"metadata": {"name": DPU_ACCOUNT, "namespace": "ovn"}})
    for _ in range(3):
        world.once()
    assert f"{TENANT} delete serviceaccounts/{DPU_ACCOUNT}" not in world.deletes()
    assert world.has_let_go()


SILENT = {  # conditions -> what is told
    "unreachable": (
        (condition("TenantReachable", "False", "Unreachable", "Timeout"), VALID),
        "the tenant cannot be reached: Timeout",
    ),
    "another cluster": (
        (condition("TenantReachable", "Unknown", "TenantSwapped", "another"), VALID), "another",
    ),
    "credential refused": (
        (
            condition("TenantReachable", "True", "Answered"),
            condition("CredentialsValid", "False", "Unauthorized", "no"),
        ),
        "no",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("conditions", "words"), SILENT.values(), ids=SILENT.keys())
def test_a_tenant_that_cannot_be_read_is_waited_for_and_the_way_out_is_told(
    conditions: tuple[dict[str, Any], dict[str, Any]], words: str
) -> None:
    world = World(*conditions, blind=True)
    world.once()
    assert f"cannot be read: {words}. Annotate {FORCE_DELETE_ANNOTATION}=yes" in world.message()
    assert (world.deletes(), world.has_let_go()) == ([], False)


def test_the_start_of_a_process_is_no_reason_to_complain() -> None:
    world = World(REACHABLE, VALID, blind=True)
    with pytest.raises(NotEngaged):
        world.once()
    assert world.infra.writes == []


FREE = {
    "forced": {"conditions": (condition("TenantReachable", "False", "Unreachable"),), FORCE_DELETE_ANNOTATION: "yes"},
    "nothing was ever written": {
        "conditions": (condition("TenantReachable", "False", "Unreachable"),),
        "minted_in": "",
    },
}


@pytest.mark.parametrize("given", FREE.values(), ids=FREE.keys())
def test_nobody_waits_for_the_tenant_without_need(given: dict[str, Any]) -> None:
    conditions = given["conditions"]
    world = World(*conditions, blind=True, **{key: value for key, value in given.items() if key != "conditions"})
    for _ in range(2):
        world.once()
    assert world.deletes() == [f"{INFRA} delete secrets/{TENANT_KUBECONFIG}"]
    assert world.has_let_go()


class Asked:
    """Infra, asked about rights."""

    def __init__(self, allowed: bool) -> None:
        self.allowed = allowed
        self.error: ApiError | None = None
        self.namespaces: list[str] = []

    def create(self, _: Resource, __: str, body: dict[str, Any]) -> dict[str, dict[str, bool]]:
        self.namespaces.append(body["spec"]["resourceAttributes"]["namespace"])
        if self.error is not None:
            raise self.error
        return {"status": {"allowed": self.allowed}}


def beginning(allowed: bool) -> tuple[World, Asked, FakeClock]:
    """A DpuClusterConfig that is new, its controller, and what infra was asked."""
    world, asked, clock = World(), Asked(allowed), FakeClock()
    rights = NamespaceRights(world.inquiries, lambda: cast(Client, asked), clock)
    world.infra.put(DPUCLUSTERCONFIGS, new())
    installation = Installation(None, "ovn", None, "dpunetop", has_rights=rights.has)
    watches, executor = world.controller._watches, world.controller._executor
    admissions = Admissions(rights.look, rights.has, lambda _: None)
    world.controller = ClusterConfig(installation, executor, admissions, rights.again_seconds)
    assert watches is not None
    world.controller.read_through(watches)
    return world, asked, clock


def reason_of(live: dict[str, Any]) -> str:
    """Of Ready."""
    found = condition_of(live, "Ready")
    return str(found and found["reason"])


def new(**metadata: Any | list[str]) -> dict[str, Any]:
    """A DpuClusterConfig as its author has made it."""
    made = copy.deepcopy(config())
    made["metadata"] = {**made["metadata"], "finalizers": [], **metadata}
    return {**made, "status": {}}


def test_one_that_was_never_served_gets_a_condition_and_nothing_else_without_rights_in_its_namespace() -> None:
    world, asked, clock = beginning(allowed=False)
    again = world.once()
    live = world.infra.shown(DPUCLUSTERCONFIGS, NAMESPACE, "sample")
    assert not live["metadata"].get("finalizers")
    assert reason_of(live) == "NamespaceNotServed"
    assert not world.has_let_go()
    asked.allowed = True
    assert again is not None
    clock.step(again)
    world.once()
    assert world.infra.shown(DPUCLUSTERCONFIGS, NAMESPACE, "sample")["metadata"]["finalizers"]
    assert asked.namespaces == [NAMESPACE, NAMESPACE]


def test_the_rights_in_a_namespace_are_asked_for_once_in_a_while_and_not_for_what_is_served() -> None:
    world, asked, _ = beginning(allowed=True)
    for _ in range(3):
        world.once()
    assert asked.namespaces == [NAMESPACE]


OURS_AND_ANOTHER = ["example.test/other", FINALIZER]
LEFT = {  # what an older release, or the author, has left on one that was never served
    "our finalizer": {"finalizers": OURS_AND_ANOTHER},
    "our finalizer, by an apply in our name": {
        "finalizers": OURS_AND_ANOTHER,
        "managedFields": [FINALIZER_IS_OURS],
    },
    "our finalizer, and it is being deleted": {
        "finalizers": OURS_AND_ANOTHER,
        "deletionTimestamp": "2026-01-01T00:00:00Z",
    },
}


@pytest.mark.parametrize("metadata", LEFT.values(), ids=LEFT)
def test_a_finalizer_on_one_that_was_never_served_is_taken_off(metadata: dict[str, Any]) -> None:
    world, _, _ = beginning(allowed=False)
    made = new(**metadata)
    made["status"] = {
        "conditions": [condition("Ready", "True", "AllReady"), condition("McpReady", "False", "Forbidden")]
    }
    world.infra.put(DPUCLUSTERCONFIGS, made)
    world.once()
    live = world.infra.shown(DPUCLUSTERCONFIGS, NAMESPACE, "sample")
    assert live["metadata"]["finalizers"] == ["example.test/other"]
    assert "claimedPool" not in live["status"]


def test_one_that_was_never_served_ends_without_a_look_at_what_it_might_have() -> None:
    world, asked, _ = beginning(allowed=True)
    world.infra.put(DPUCLUSTERCONFIGS, new(finalizers=[FINALIZER], deletionTimestamp="2026-01-01T00:00:00Z"))
    world.once()
    assert world.infra.shown(DPUCLUSTERCONFIGS, NAMESPACE, "sample")["metadata"]["finalizers"] == []
    assert (world.deletes(), asked.namespaces) == ([], [])


SERVED_ONCE = {
    "by this release": {"status": {"claimedPool": "dpu"}},
    "by an older one": {"status": {"conditions": [condition("McpReady", "True", "Ready")]}, "finalizers": [FINALIZER]},
    "by an older one that knew its tenant": {"status": {"tenantUID": "tenant-uid"}, "finalizers": [FINALIZER]},
}


@pytest.mark.parametrize("given", SERVED_ONCE.values(), ids=SERVED_ONCE)
def test_one_that_was_served_stays_claimed_whatever_becomes_of_the_rights_and_of_its_finalizer(
    given: dict[str, Any],
) -> None:
    world, asked, _ = beginning(allowed=False)
    world.infra.put(DPUCLUSTERCONFIGS, {**new(finalizers=given.get("finalizers", [])), "status": given["status"]})
    world.once()
    live = world.infra.shown(DPUCLUSTERCONFIGS, NAMESPACE, "sample")
    assert live["metadata"]["finalizers"] == [FINALIZER]
    assert live["status"]["claimedPool"] == "dpu"
    assert reason_of(live) != "NamespaceNotServed"
    assert asked.namespaces == []


def test_the_more_namespaces_are_without_rights_the_less_often_each_is_asked_about() -> None:
    desk = Desk()
    desk.answer(f"ns-{number}" for number in range(3000))
    assert desk.rights.again_seconds() == 600.0
    desk.clock.step(100.0)
    desk.rights.look(("ns-2999",), desk.waker)
    assert len(desk.asked.namespaces) == 3000


class Desk:
    """What infra was asked about rights by whom, outside of any pass."""

    def __init__(self) -> None:
        self.asked, self.clock, self.inquiries, self.woken = Asked(False), FakeClock(), Inquiries(), list[str]()
        self.rights = NamespaceRights(self.inquiries, lambda: cast(Client, self.asked), self.clock)
        self.waker, self.other = self.waker_of("own"), self.waker_of("other")

    def waker_of(self, name: str) -> Waker:
        return Waker(self._wake, Key(INFRA, "", name))

    def _wake(self, key: Key) -> None:
        self.woken.append(key.name)

    def run(self) -> None:
        self.inquiries.reconcile(Key(INFRA, "", "rights"), Stop())

    def answer(self, namespaces: Iterable[str], waker: Waker | None = None) -> None:
        """Let these be asked about, and the answers be there."""
        with pytest.raises(NotSynced):
            self.rights.look(namespaces, waker or self.waker)
        self.run()


def test_rights_that_are_not_known_are_asked_about_outside_of_the_pass_and_the_answer_wakes_it() -> None:
    desk = Desk()
    with pytest.raises(NotSynced):
        desk.rights.look(("a", "b"), desk.waker)
    assert desk.asked.namespaces == []
    desk.run()
    assert (desk.asked.namespaces, set(desk.woken)) == (["a", "b"], {"own"})
    desk.rights.look(("a", "b"), desk.waker)


def test_an_answer_is_new_enough_for_whoever_has_asked_for_it_however_long_the_pass_had_to_wait() -> None:
    desk = Desk()
    desk.answer(("a",))
    desk.clock.step(1000.0)
    with pytest.raises(NotSynced):
        desk.rights.look(("a",), desk.other)
    desk.rights.look(("a",), desk.waker)
    with pytest.raises(NotSynced):
        desk.rights.look(("a",), desk.waker)


def test_who_waits_for_one_of_several_answers_keeps_the_others() -> None:
    desk = Desk()
    desk.answer(("a",))
    desk.clock.step(1000.0)
    desk.answer(("a", "b"))
    assert desk.asked.namespaces == ["a", "b"]
    desk.clock.step(1000.0)
    desk.rights.look(("a", "b"), desk.waker)


def test_what_keeps_infra_from_answering_fails_the_pass_once_and_the_last_answer_stays() -> None:
    desk = Desk()
    desk.asked.allowed = True
    desk.answer(("a",))
    desk.rights.look(("a",), desk.waker)
    desk.clock.step(1000.0)
    desk.asked.error = Unreachable(0, "Timeout", "no answer")
    desk.answer(("a",))
    with pytest.raises(Unreachable):
        desk.rights.look(("a",), desk.waker)
    assert desk.rights.has("a")
    desk.asked.error, desk.asked.allowed = None, False
    desk.answer(("a",))
    desk.rights.look(("a",), desk.waker)
    assert not desk.rights.has("a")


def test_what_is_told_of_one_that_was_never_served_is_a_condition_and_no_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, _, _ = beginning(allowed=False)
    told: list[Emit] = []
    monkeypatch.setattr(world.controller._executor._recorder, "emit", told.append)
    world.once()
    assert told == []
    assert world.infra.writes == [f"{INFRA} status dpuclusterconfigs/sample"]
