"""Rule 1, the way back: when an entry goes, pods go and a budget opens for good, and what each of these looks at."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from dpunetop.domain.drain.model.calls import Answer, Call, Done, QuorumGet, QuorumList, Result, Run, Task, Write, drive
from dpunetop.domain.drain.model.facts import Author, HostRef
from dpunetop.domain.drain.model.readers import budget
from dpunetop.domain.drain.protection.blockers import BlockerSettings, BudgetState, Form, first_budget
from dpunetop.domain.drain.protection.blockers import write_budget as budget_step
from dpunetop.domain.drain.protection.tasks import HOST_CUT_OFF, HOST_LET_GO, ReleaseBudget, StopServing, TakeEntry
from dpunetop.domain.names import (
    DPUCLUSTERCONFIGS,
    DRAIN_ANNOTATION,
    FORCE_DELETE_ANNOTATION,
    NODEMAINTENANCES,
    OVNKUBE_NODE_ENTRIES,
    OWNER_LABEL,
    PODDISRUPTIONBUDGETS,
    blocker_name,
    maintenance_name,
)
from dpunetop.kube.errors import Conflict
from dpunetop.kube.keys import CONFIGMAPS, INFRA, NAMESPACES, NODES, PODS
from dpunetop.kube.plan import Apply, Delete, Emit
from support.twoclusters import Server

DPU, HOST = "d1", "host-1"
SETTINGS = BlockerSettings("dpunetop", "image", "owner", has_scc=True)
REF = HostRef(HOST, "tenant/a/b", "dpunetop", "owner", Author("dpunetop-drain", "t", "x", 0))
READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
ENDS: dict[str, Any] = {"deletionTimestamp": "2026-01-02T00:00:00Z", "finalizers": ["kept"]}


class Clusters:
    """A DPU that serves its host under a closed budget, with one pod that has read its entry."""

    def __init__(self) -> None:
        self.infra, self.tenant = Server(), Server()
        self.log: list[str] = []
        self.infra.put(NODES, {"metadata": {"name": DPU}, "spec": {}, "status": READY})
        self.make_budget(SETTINGS, HOST)
        metadata = {"name": OVNKUBE_NODE_ENTRIES, "namespace": "ns", "labels": {OWNER_LABEL: "owner"}}
        self.infra.put(CONFIGMAPS, {"metadata": metadata, "data": {DPU: f"TENANT_K8S_NODE={HOST}\n"}})
        self.infra.put(NAMESPACES, {"metadata": {"name": "ns"}})
        self.tenant.put(NODES, {"metadata": {"name": HOST}, "spec": {}})
        self.add_pod("a")
        self.log.clear()

    def make_budget(self, settings: BlockerSettings, host: str) -> None:
        self.infra.remove(PODDISRUPTIONBUDGETS, "dpunetop", blocker_name(DPU))
        first = first_budget(settings, DPU, host)
        self.infra.perform(Write(Apply(INFRA, PODDISRUPTIONBUDGETS, first, None, "dpunetop-drain")))

    def add_pod(self, name: str, **metadata: Any) -> None:
        labels = {"name": name, "namespace": "ns", "labels": {"app": "ovnkube-node"}, **metadata}
        self.infra.put(PODS, {"metadata": labels, "spec": {"nodeName": DPU}, "status": READY})

    def perform(self, call: Call) -> Answer:
        match call:
            case Emit():
                self.log.append(call.reason)
                return None
            case Write():
                self.log.append(f"{type(call.step).__name__} {call.step.resource.kind}")
                return (self.infra if call.step.cluster == INFRA else self.tenant).perform(call)
            case QuorumGet() | QuorumList():
                return (self.infra if call.cluster == INFRA else self.tenant).perform(call)

    def run(self, task: Task) -> Done:
        return drive(task, self.perform)

    def state(self) -> tuple[bool, str, tuple[str, ...]]:
        """Whether the budget is open, whom it serves, and which pods it waits for."""
        obj = self.infra.get(PODDISRUPTIONBUDGETS, "dpunetop", blocker_name(DPU))
        assert obj is not None
        read = budget(obj, "owner")
        return read.is_open, read.serves, read.leaving

    def write(self, state: BudgetState) -> None:
        obj = self.infra.get(PODDISRUPTIONBUDGETS, "dpunetop", blocker_name(DPU))
        assert obj is not None
        self.infra.perform(Write(budget_step(REF, budget(obj, "owner"), state)))

    def uid(self, name: str) -> str:
        pod = self.infra.get(PODS, "ns", name)
        assert pod is not None
        return str(pod["metadata"]["uid"])

    def drain(self, *, cordoned: bool = True, ours: bool = True) -> None:
        labels = {OWNER_LABEL: "owner" if ours else "another"}
        metadata = {"name": maintenance_name(HOST), "labels": labels}
        status = {"phase": "Succeeded"}
        self.tenant.put(NODEMAINTENANCES, {"metadata": metadata, "spec": {"nodeName": HOST}, "status": status})
        self.tenant.change(NODES, "", HOST, {"spec": {"unschedulable": cordoned}})


def nothing(clusters: Clusters) -> None:
    """All is as it is."""


def without_budget(clusters: Clusters) -> None:
    clusters.infra.remove(PODDISRUPTIONBUDGETS, "dpunetop", blocker_name(DPU))


def budget_of_another(clusters: Clusters) -> None:
    clusters.make_budget(BlockerSettings("dpunetop", "image", "another", has_scc=True), HOST)


def budget_of_another_host(clusters: Clusters) -> None:
    clusters.make_budget(SETTINGS, "host-9")


def host_gone(clusters: Clusters) -> None:
    clusters.tenant.remove(NODES, "", HOST)


def drained(clusters: Clusters) -> None:
    clusters.drain()


def drained_by_another(clusters: Clusters) -> None:
    clusters.drain(ours=False)


def drained_and_uncordoned(clusters: Clusters) -> None:
    clusters.drain(cordoned=False)


def namespace_gone(clusters: Clusters) -> None:
    clusters.infra.remove(NAMESPACES, "", "ns")


def namespace_ends(clusters: Clusters) -> None:
    clusters.infra.change(NAMESPACES, "", "ns", {"metadata": ENDS})


def config(**metadata: Any) -> Callable[[Clusters], None]:
    def put(clusters: Clusters) -> None:
        clusters.infra.put(DPUCLUSTERCONFIGS, {"metadata": {"name": "c", "namespace": "ns", **metadata}})

    return put


FORCED = {"annotations": {FORCE_DELETE_ANNOTATION: ""}}
Given = Callable[[Clusters], None]
# what is so, whether the host is known to be drained, and what is told; empty: the budget stays closed
RELEASES: dict[str, tuple[Given, bool, str]] = {
    "its host is drained": (drained, True, HOST_LET_GO),
    "its host is gone": (host_gone, True, HOST_LET_GO),
    "its host seemed to be drained": (nothing, True, ""),
    "somebody else drains its host": (drained_by_another, True, ""),
    "its drained host was uncordoned": (drained_and_uncordoned, True, ""),
    "its namespace is gone": (namespace_gone, False, HOST_CUT_OFF),
    "its namespace is being deleted": (namespace_ends, False, HOST_CUT_OFF),
    "a person forces the end": (config(**ENDS, **FORCED), False, HOST_CUT_OFF),
    "a person would force an end": (config(**FORCED), False, ""),
    "the end is not forced": (config(**ENDS), False, ""),
    "nothing ends": (nothing, False, ""),
    "there is no budget": (without_budget, True, ""),
}


@pytest.mark.parametrize(("given", "is_drained", "told"), RELEASES.values(), ids=RELEASES.keys())
def test_a_budget_whose_entry_is_out_of_reach_opens_if(given: Given, is_drained: bool, told: str) -> None:
    clusters = Clusters()
    given(clusters)
    done = clusters.run(ReleaseBudget(REF, DPU, "ns", is_drained))
    assert done.result is (Result.DONE if told else Result.STALE)
    assert clusters.log == (["Apply PodDisruptionBudget", told] if told else [])
    assert not told or clusters.state() == (True, "", ())


BUDGETS = {"none": without_budget, "of another": budget_of_another, "of another host": budget_of_another_host}
TASKS: dict[str, Task] = {
    "ReleaseBudget": ReleaseBudget(REF, DPU, "ns", True),
    "TakeEntry": TakeEntry(REF, DPU, "ns", True),
    "StopServing": StopServing(REF, DPU, "ns"),
}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
@pytest.mark.parametrize("given", BUDGETS.values(), ids=BUDGETS.keys())
def test_nothing_is_written_where_the_budget_is(task: Task, given: Given) -> None:
    clusters = Clusters()
    clusters.drain()
    if isinstance(task, StopServing):
        clusters.infra.change(CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES, {"data": {DPU: None}})
    given(clusters)
    assert clusters.run(task).result is Result.STALE
    assert clusters.log == []


def held(clusters: Clusters) -> None:
    clusters.drain()
    clusters.infra.change(NODES, "", DPU, {"metadata": {"annotations": {DRAIN_ANNOTATION: "hold"}}})


def held_without_pods(clusters: Clusters) -> None:
    held(clusters)
    clusters.infra.remove(PODS, "ns", "a")


def without_pods(clusters: Clusters) -> None:
    clusters.infra.remove(PODS, "ns", "a")


# whether the entry of a DPU goes
TAKES: dict[str, tuple[Given, bool]] = {
    "its host is drained": (drained, True),
    "its host is not, and a pod serves it": (nothing, False),
    "its host is not, and no pod is there": (without_pods, True),
    "a person holds it, and a pod is there": (held, False),
    "a person holds it, and no pod is there": (held_without_pods, True),
}


@pytest.mark.parametrize(("given", "goes"), TAKES.values(), ids=TAKES.keys())
def test_an_entry_goes_if(given: Given, goes: bool) -> None:
    clusters = Clusters()
    given(clusters)
    done = clusters.run(TakeEntry(REF, DPU, "ns", True))
    assert done.result is (Result.DONE if goes else Result.STALE)
    assert clusters.log == (["Apply PodDisruptionBudget", "Patch ConfigMap", HOST_LET_GO] if goes else [])
    assert clusters.state() == (False, HOST, ("entry",) if goes else ())


def test_pods_are_written_down_seen_to_go_and_then_the_budget_opens() -> None:
    clusters, task = Clusters(), StopServing(REF, DPU, "ns")
    clusters.add_pod("going", **ENDS)
    assert clusters.run(task).result is Result.STALE  # the entry is there
    clusters.infra.change(CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES, {"data": {DPU: None}})
    assert clusters.run(task).result is Result.DONE
    assert clusters.state() == (False, HOST, ("entry",))
    assert clusters.run(task).result is Result.DONE
    assert set(clusters.state()[2]) == {clusters.uid("a"), clusters.uid("going")}
    clusters.add_pod("later")
    clusters.log.clear()
    clusters.run(task)
    assert clusters.log == [f"{Delete.__name__} Pod"]  # of the one that has not begun to go
    for name in ("a", "going"):
        if clusters.infra.get(PODS, "ns", name) is not None:
            clusters.infra.remove(PODS, "ns", name)
    clusters.run(task)
    assert clusters.state() == (True, "", ())
    assert clusters.infra.get(PODS, "ns", "later") is not None


def serves_again_and_goes(clusters: Clusters) -> str:
    """Another process has the DPU serve, whose pod reads the entry, and takes the entry away again; UID of the pod."""
    clusters.add_pod("meanwhile")
    clusters.write(BudgetState(Form.CLOSED, HOST, None, leaving=(clusters.uid("meanwhile"),)))
    return clusters.uid("meanwhile")


@pytest.mark.parametrize("after", range(4))
def test_a_pod_that_comes_while_the_last_ones_are_looked_for_holds_the_budget_closed(after: int) -> None:
    clusters = Clusters()
    clusters.infra.change(CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES, {"data": {DPU: None}})
    clusters.write(BudgetState(Form.CLOSED, HOST, None, leaving=(clusters.uid("a"),)))
    clusters.infra.remove(PODS, "ns", "a")
    run = Run(StopServing(REF, DPU, "ns"))
    for _ in range(after):
        call = run.next()
        assert not isinstance(call, Done | Write)
        run = run.answered(clusters.perform(call))
    going = serves_again_and_goes(clusters)
    with contextlib.suppress(Conflict):
        while not isinstance(call := run.next(), Done):
            run = run.answered(clusters.perform(call))
    assert clusters.state() == (False, HOST, (going,))


def test_a_budget_that_the_drain_has_opened_is_left_to_the_drain() -> None:
    clusters = Clusters()
    clusters.infra.change(CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES, {"data": {DPU: None}})
    clusters.write(BudgetState(Form.OPEN, HOST, None, leaving=("u",)))
    assert clusters.run(StopServing(REF, DPU, "ns")).result is Result.STALE
    assert clusters.log == []


def test_without_the_config_map_the_pods_go_all_the_same() -> None:
    clusters = Clusters()
    clusters.infra.remove(CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES)
    clusters.infra.remove(PODS, "ns", "a")
    for _ in range(3):
        assert clusters.run(StopServing(REF, DPU, "ns")).result is Result.DONE
    assert clusters.log == ["Apply PodDisruptionBudget"] * 3
    assert clusters.state() == (True, "", ())
