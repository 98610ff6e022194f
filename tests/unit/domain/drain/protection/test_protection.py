"""Rule 1: a DPU serves only under protection, and is taken apart in the reverse order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from dpunetop.domain.clusterconfig.access import Access
from dpunetop.domain.drain.model import facts, readers
from dpunetop.domain.drain.model.calls import Answer, Call, Done, QuorumGet, QuorumList, Run, Task, Write
from dpunetop.domain.drain.model.facts import Author, DpuView, HostRef, NodeGone
from dpunetop.domain.drain.protection.blockers import BlockerSettings, blocker, first_budget
from dpunetop.domain.drain.protection.decision import (
    Entries,
    Protection,
    ProtectionPhase,
    ProtectionView,
    decide_protection,
)
from dpunetop.domain.drain.protection.tasks import ChangeEntry, ProtectDpu, PutEntries, ReleaseBudget
from dpunetop.domain.names import (
    DRAIN_ANNOTATION,
    IDLE_PODS_ANNOTATION,
    NODEMAINTENANCES,
    OVNKUBE_NODE_ENTRIES,
    OWNER_LABEL,
    PODDISRUPTIONBUDGETS,
    SERVES_ANNOTATION,
    blocker_labels,
    blocker_name,
    maintenance_name,
)
from dpunetop.domain.pairing.entries import EntriesView, idle_pods, judge_entries, render_idle_pods
from dpunetop.kube.errors import ApiError, Conflict
from dpunetop.kube.keys import CONFIGMAPS, DEPLOYMENTS, INFRA, NODES, PODS
from dpunetop.kube.meta import Obj, uid_of
from dpunetop.kube.plan import Delete, Emit
from support.twoclusters import Server, merged

DPU, HOST, TENANT = "bf2-1", "host-1", "tenant/a/b"
SETTINGS = BlockerSettings("dpunetop", "image", "owner", has_scc=True)
READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
TEXT = f"TENANT_K8S_NODE={HOST}\n"


class OneDpu:
    """The infra cluster, with one DPU node and an empty ConfigMap of entries; the tenant, with its host."""

    def __init__(self) -> None:
        self.infra, self.tenant = Server(), Server()
        self.draws = 0
        self.pairing: str | None = HOST
        self.configured, self.active, self.drained = True, False, False
        self.is_tenant_known = True
        self.infra.put(NODES, {"metadata": {"name": DPU}, "spec": {}, "status": {"conditions": READY["conditions"]}})
        metadata = {"name": OVNKUBE_NODE_ENTRIES, "namespace": "ns", "labels": {OWNER_LABEL: "owner"}}
        self.infra.put(CONFIGMAPS, {"metadata": metadata, "data": {}})
        self.tenant.put(NODES, {"metadata": {"name": HOST}, "spec": {}})

    def view(self) -> ProtectionView:
        self.draws += 1
        read = self.budget()
        host = (read.serves if read is not None else "") or self.pairing or self.entry() or ""
        return ProtectionView(
            dpu=self.dpu(),
            settings=SETTINGS,
            host_ref=HostRef(host, TENANT, "dpunetop", "owner", Author("dpunetop-drain", "t", f"x{self.draws}", 0)),
            deployment=self.infra.get(DEPLOYMENTS, "dpunetop", blocker_name(DPU)),
            pairing=self.pairing,
            text=TEXT,
            configured=self.configured,
            is_tenant_known=self.is_tenant_known,
            entries=Entries("ns", self.entry()),
            drained=self.drained,
            active=self.active,
        )

    def dpu(self) -> DpuView:
        node = self.infra.get(NODES, "", DPU)
        pods = self.infra.list(PODS, "ns")
        return DpuView(
            name=DPU,
            node=NodeGone(False) if node is None else readers.dpu_node(node),
            budget=self.budget(),
            blocker=readers.ready_blocker(self.infra.list(PODS, "dpunetop")),
            pods=tuple(readers.ovn_pod(pod) for pod in pods),
        )

    def budget(self) -> facts.Budget | None:
        obj = self.infra.get(PODDISRUPTIONBUDGETS, "dpunetop", blocker_name(DPU))
        return None if obj is None else readers.budget(obj, "owner")

    def entry(self) -> str | None:
        obj = self.infra.get(CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES)
        assert obj is not None
        text = obj["data"].get(DPU)
        return None if text is None else text.strip().partition("=")[2]

    def guarding(self) -> ProtectionPhase:
        return decide_protection(self.view()).guarding

    def task(self) -> Task | None:
        """What is to be done now; an entry is written alone, since no other DPU is here."""
        found = decide_protection(self.view())
        assert found.task is None or found.entry is None
        return found.task if found.entry is None else PutEntries("ns", (found.entry,))

    def run(self) -> Run:
        task = self.task()
        assert task is not None
        return Run(task)

    def perform(self, call: Call | Done) -> Answer | ApiError:
        assert not isinstance(call, Done)
        cluster = call.step.cluster if isinstance(call, Write) else call.cluster
        try:
            return (self.infra if cluster == INFRA else self.tenant).perform(call)
        except ApiError as err:
            return err

    def finish(self, run: Run) -> str:
        while not isinstance(call := run.next(), Done):
            run = run.answered(self.perform(call))
        return f"{call.result.name}: {call.note}"

    def keep_up(self) -> list[str]:
        """What the executor does of the upkeep: all but what is as it should be."""
        done = []
        for step in decide_protection(self.view()).upkeep:
            if step.live is None or merged(step.live, step.desired) != step.live:
                assert not isinstance(self.perform(Write(step)), ApiError)
                done.append(step.resource.kind)
        return done

    def work(self) -> list[str]:
        """Decide and do until there is nothing more to do; what was done, in order."""
        done: list[str] = []
        for _ in range(20):
            done += self.keep_up()
            task = self.task()
            if task is None:
                return done
            done.append(type(task).__name__)
            self.finish(Run(task))
        raise AssertionError(done)

    def blocker_starts(self) -> None:
        metadata = {"name": "blocker-pod", "namespace": "dpunetop", "labels": dict(blocker_labels(DPU))}
        self.infra.put(PODS, {"metadata": metadata, "spec": {"nodeName": DPU}, "status": READY})

    def blocker_stops(self) -> None:
        self.infra.remove(PODS, "dpunetop", "blocker-pod")

    def pod_starts(self, name: str = "ovnkube-node-a") -> None:
        metadata = {"name": name, "namespace": "ns", "labels": {"app": "ovnkube-node"}}
        self.infra.put(PODS, {"metadata": metadata, "spec": {"nodeName": DPU}, "status": READY})

    def cordon(self, yes: bool = True) -> None:
        self.infra.change(NODES, "", DPU, {"spec": {"unschedulable": yes or None}})

    def drain_host(self) -> None:
        metadata = {"name": maintenance_name(HOST), "labels": {OWNER_LABEL: "owner"}}
        status = {"phase": "Succeeded"}
        self.tenant.put(NODEMAINTENANCES, {"metadata": metadata, "spec": {"nodeName": HOST}, "status": status})
        self.tenant.change(NODES, "", HOST, {"spec": {"unschedulable": True}})
        self.drained = True


def serving() -> OneDpu:
    one_dpu = OneDpu()
    one_dpu.work()
    one_dpu.blocker_starts()
    one_dpu.work()
    one_dpu.pod_starts()
    assert (one_dpu.guarding(), one_dpu.entry()) == (ProtectionPhase.SERVING, HOST)
    return one_dpu


def unwanted() -> OneDpu:
    """It serves, is paired with nobody any more, and its host is drained."""
    one_dpu = serving()
    one_dpu.pairing = None
    one_dpu.drain_host()
    return one_dpu


def leaving() -> OneDpu:
    """Its entry is gone, and the pods that may have read it are written down."""
    one_dpu = unwanted()
    one_dpu.finish(one_dpu.run())
    one_dpu.finish(one_dpu.run())
    return one_dpu


def test_blocker_and_budget_exist_from_the_moment_the_node_is_seen() -> None:
    one_dpu = OneDpu()
    one_dpu.pairing, one_dpu.configured = None, False
    assert one_dpu.work() == ["Deployment", "PodDisruptionBudget"]
    read = one_dpu.budget()
    assert read is not None
    assert (read.is_open, read.serves, one_dpu.guarding()) == (True, "", ProtectionPhase.NOT_SERVING)


@pytest.mark.parametrize("begins", ["at once", "later"])
def test_on_the_way_in_the_budget_closes_before_the_blocker_is_waited_for_and_the_entry_comes_last(begins: str) -> None:
    one_dpu = OneDpu()
    if begins == "later":
        one_dpu.configured = False
        assert one_dpu.work() == ["Deployment", "PodDisruptionBudget"]
        one_dpu.configured = True
    assert one_dpu.work() == (["Deployment", "PodDisruptionBudget"] if begins == "at once" else ["ProtectDpu"])
    read = one_dpu.budget()
    assert read is not None
    assert (read.is_open, read.serves, one_dpu.entry()) == (False, HOST, None)
    assert one_dpu.guarding() is ProtectionPhase.BLOCKER_NOT_READY
    one_dpu.blocker_starts()
    assert one_dpu.work() == ["PutEntries"]
    assert one_dpu.entry() == HOST


WAITS: dict[str, Callable[[OneDpu], object]] = {
    "not paired": lambda one_dpu: setattr(one_dpu, "pairing", None),
    "not configured": lambda one_dpu: setattr(one_dpu, "configured", False),
    "of a tenant that may have others": lambda one_dpu: setattr(one_dpu, "is_tenant_known", False),
    "cordoned": lambda one_dpu: one_dpu.cordon(),
    "gone": lambda one_dpu: one_dpu.infra.remove(NODES, "", DPU),
}


@pytest.mark.parametrize("why", WAITS)
def test_the_budget_stays_open_and_the_first_configuration_can_roll_while_the_dpu_is(why: str) -> None:
    one_dpu = OneDpu()
    WAITS[why](one_dpu)
    one_dpu.work()
    read = one_dpu.budget()
    assert read is not None
    assert (read.is_open, read.serves, one_dpu.guarding()) == (True, "", ProtectionPhase.NOT_SERVING)


def test_a_budget_that_was_written_since_it_was_seen_is_not_closed() -> None:
    one_dpu = OneDpu()
    one_dpu.configured = False
    one_dpu.work()
    one_dpu.configured = True
    run = one_dpu.run()
    one_dpu.infra.change(PODDISRUPTIONBUDGETS, "dpunetop", blocker_name(DPU), {"metadata": {"labels": {"x": "y"}}})
    assert one_dpu.finish(run).startswith("STALE")
    assert one_dpu.work() == ["ProtectDpu"]


def test_a_dpu_that_is_found_serving_is_closed_whatever_else_is_true() -> None:
    one_dpu = OneDpu()
    one_dpu.pairing, one_dpu.configured = None, False
    one_dpu.cordon()
    one_dpu.work()
    one_dpu.infra.change(CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES, {"data": {DPU: TEXT}})
    one_dpu.pod_starts()
    one_dpu.work()
    read = one_dpu.budget()
    assert read is not None
    assert (read.is_open, read.serves) == (False, HOST)


def test_a_dpu_that_is_found_serving_without_a_budget_gets_a_closed_one() -> None:
    one_dpu = serving()
    one_dpu.infra.remove(PODDISRUPTIONBUDGETS, "dpunetop", blocker_name(DPU))
    one_dpu.work()
    read = one_dpu.budget()
    assert read is not None
    assert (read.is_open, read.serves) == (False, HOST)


def test_no_entry_while_the_node_is_cordoned_because_its_drain_may_have_gone_by_already() -> None:
    one_dpu = OneDpu()
    one_dpu.work()
    one_dpu.blocker_starts()
    one_dpu.cordon()
    assert one_dpu.work() == []
    assert (one_dpu.guarding(), one_dpu.entry()) == (ProtectionPhase.NODE_CORDONED, None)


PUT_BREAKS: dict[str, Callable[[OneDpu], object]] = {
    "the node is cordoned": lambda one_dpu: one_dpu.cordon(),
    "the blocker is not Ready": lambda one_dpu: one_dpu.blocker_stops(),
    "the budget is open": lambda one_dpu: one_dpu.infra.change(
        PODDISRUPTIONBUDGETS, "dpunetop", blocker_name(DPU), {"spec": {"maxUnavailable": 1}}
    ),
    "the budget serves another": lambda one_dpu: one_dpu.infra.change(
        PODDISRUPTIONBUDGETS, "dpunetop", blocker_name(DPU), {"metadata": {"annotations": {SERVES_ANNOTATION: "x"}}}
    ),
    "the node is gone": lambda one_dpu: one_dpu.infra.remove(NODES, "", DPU),
    "another one has the host": lambda one_dpu: one_dpu.infra.change(
        CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES, {"data": {"bf2-2": TEXT}}
    ),
}


@pytest.mark.parametrize("why", PUT_BREAKS)
def test_no_entry_is_written_when_the_servers_show_that(why: str) -> None:
    one_dpu = OneDpu()
    one_dpu.work()
    one_dpu.blocker_starts()
    run = one_dpu.run()
    PUT_BREAKS[why](one_dpu)
    assert one_dpu.finish(run) == "STALE: no DPU is protected"
    assert one_dpu.entry() is None


def test_the_node_is_read_after_the_budget_and_the_entries_before_both() -> None:
    one_dpu = OneDpu()
    one_dpu.work()
    one_dpu.blocker_starts()
    run, kinds = one_dpu.run(), []
    while not isinstance(call := run.next(), Done):
        kinds.append(call.resource.plural if isinstance(call, QuorumGet | QuorumList) else "write")
        run = run.answered(one_dpu.perform(call))
    assert kinds == ["configmaps", "poddisruptionbudgets", "pods", "nodes", "pods", "write"]


def test_many_entries_are_one_write() -> None:
    one_dpu = OneDpu()
    one_dpu.work()
    one_dpu.blocker_starts()
    entry = decide_protection(one_dpu.view()).entry
    assert entry is not None
    one_dpu.finish(Run(PutEntries("ns", (entry, replace(entry, dpu="stranger"), entry))))
    obj = one_dpu.infra.get(CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES)
    assert obj is not None
    assert obj["data"] == {DPU: TEXT}


def test_no_entry_is_written_into_somebody_elses_config_map() -> None:
    one_dpu = OneDpu()
    one_dpu.work()
    one_dpu.blocker_starts()
    run = one_dpu.run()
    one_dpu.infra.change(CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES, {"metadata": {"labels": {OWNER_LABEL: "another"}}})
    assert one_dpu.finish(run) == "STALE: there are no entries to add to"
    assert one_dpu.entry() is None


ANOTHER = f"{TEXT}OVN_KUBE_LOG_LEVEL=5\n"


def change_entry(one_dpu: OneDpu, text: str = ANOTHER) -> Run:
    return Run(ChangeEntry(one_dpu.view().host_ref, DPU, "ns", text))


def entries(one_dpu: OneDpu) -> Obj:
    found = one_dpu.infra.get(CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES)
    assert found is not None
    return found


def test_another_entry_is_written_with_the_pod_that_is_to_go_before_that_goes() -> None:
    one_dpu = serving()
    one_dpu.drain_host()
    [pod] = one_dpu.infra.list(PODS, "ns")
    run, kinds = change_entry(one_dpu), []
    while not isinstance(call := run.next(), Done):
        assert not isinstance(call, Emit)
        kinds.append(type(call.step).__name__ if isinstance(call, Write) else call.resource.plural)
        if kinds[-1] == "Delete":
            assert (entries(one_dpu)["data"], idle_pods(entries(one_dpu))) == ({DPU: ANOTHER}, {DPU: uid_of(pod)})
        run = run.answered(one_dpu.perform(call))
    assert kinds == ["configmaps", "pods", "nodes", "nodemaintenances", "Patch", "Delete"]
    assert not one_dpu.infra.list(PODS, "ns")


def test_a_crash_before_the_pod_goes_leaves_written_that_it_is_to_go() -> None:
    one_dpu = serving()
    one_dpu.drain_host()
    run = change_entry(one_dpu)
    while not (isinstance(call := run.next(), Write) and isinstance(call.step, Delete)):
        run = run.answered(one_dpu.perform(call))
    pods = tuple(one_dpu.infra.list(PODS, "ns"))
    judged = judge_entries(EntriesView({}, entries(one_dpu), frozenset(), pods))
    assert judged.restart == pods


def test_an_entry_without_a_pod_is_changed_and_none_is_written_down() -> None:
    one_dpu = serving()
    one_dpu.drain_host()
    one_dpu.infra.remove(PODS, "ns", "ovnkube-node-a")
    assert one_dpu.finish(change_entry(one_dpu)).startswith("DONE")
    assert (entries(one_dpu)["data"], idle_pods(entries(one_dpu))) == ({DPU: ANOTHER}, {})


CHANGE_BREAKS: dict[str, Callable[[OneDpu], object]] = {
    "the host is not drained": lambda one_dpu: one_dpu.tenant.remove(NODEMAINTENANCES, "", maintenance_name(HOST)),
    "the host is not cordoned": lambda one_dpu: one_dpu.tenant.change(
        NODES, "", HOST, {"spec": {"unschedulable": None}}
    ),
    "two pods are there": lambda one_dpu: one_dpu.pod_starts("ovnkube-node-b"),
    "it is gone": lambda one_dpu: one_dpu.infra.change(CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES, {"data": {DPU: None}}),
    "it names another host": lambda one_dpu: one_dpu.infra.change(
        CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES, {"data": {DPU: "TENANT_K8S_NODE=host-2\n"}}
    ),
    "it is as it is to be": lambda one_dpu: one_dpu.infra.change(
        CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES, {"data": {DPU: ANOTHER}}
    ),
    "it is in somebody else's ConfigMap": lambda one_dpu: one_dpu.infra.change(
        CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES, {"metadata": {"labels": {OWNER_LABEL: "another"}}}
    ),
}


@pytest.mark.parametrize("why", CHANGE_BREAKS)
def test_an_entry_is_not_changed_and_no_pod_goes_when(why: str) -> None:
    one_dpu = serving()
    one_dpu.drain_host()
    CHANGE_BREAKS[why](one_dpu)
    before, pods = entries(one_dpu), one_dpu.infra.list(PODS, "ns")
    assert one_dpu.finish(change_entry(one_dpu)).startswith("STALE")
    assert (entries(one_dpu), one_dpu.infra.list(PODS, "ns")) == (before, pods)


def test_a_second_dpu_of_a_host_is_protected_without_an_entry() -> None:
    one_dpu = OneDpu()
    one_dpu.work()
    one_dpu.blocker_starts()
    assert decide_protection(replace(one_dpu.view(), text="")).guarding is ProtectionPhase.SERVING
    assert decide_protection(replace(one_dpu.view(), text="")).entry is None


def test_a_serving_pair_is_taken_apart_only_once_its_host_is_drained() -> None:
    one_dpu = serving()
    one_dpu.pairing = None
    assert one_dpu.work() == []
    assert (one_dpu.guarding(), one_dpu.entry()) == (ProtectionPhase.REMOVAL_PENDING, HOST)


def test_on_the_way_back_the_entry_goes_then_the_pods_that_read_it_then_the_mark() -> None:
    one_dpu = unwanted()
    seen = []
    for _ in range(6):
        task = one_dpu.task()
        if task is None:
            break
        one_dpu.finish(Run(task))
        read = one_dpu.budget()
        assert read is not None
        seen.append((one_dpu.entry(), len(one_dpu.infra.list(PODS, "ns")), read.serves, read.is_open))
    assert seen == [
        (None, 1, HOST, False),  # the entry is gone
        (None, 1, HOST, False),  # the pods that may have read it are written down
        (None, 0, HOST, False),  # they are deleted
        (None, 0, "", True),  # and only now it is open
    ]


def test_before_an_entry_goes_the_budget_says_so_and_after_a_crash_it_goes_on() -> None:
    one_dpu = unwanted()
    run = one_dpu.run()
    while not isinstance(run.next(), Write):
        run = run.answered(one_dpu.perform(run.next()))
    one_dpu.perform(run.next())  # and then it crashes
    read = one_dpu.budget()
    assert read is not None
    assert (bool(read.leaving), read.is_open, one_dpu.entry()) == (True, False, HOST)
    one_dpu.finish(one_dpu.run())
    one_dpu.finish(one_dpu.run())
    [pod], read = one_dpu.infra.list(PODS, "ns"), one_dpu.budget()
    assert read is not None
    assert (one_dpu.entry(), read.leaving) == (None, (uid_of(pod),))


def test_an_entry_is_not_taken_away_under_a_budget_of_another_host() -> None:
    one_dpu = unwanted()
    run = one_dpu.run()
    other = {"metadata": {"annotations": {SERVES_ANNOTATION: "host-2"}}}
    one_dpu.infra.change(PODDISRUPTIONBUDGETS, "dpunetop", blocker_name(DPU), other)
    assert one_dpu.finish(run) == f"STALE: {DPU}: the budget has changed since it was looked at"
    assert one_dpu.entry() == HOST


def test_a_pod_that_came_after_the_entry_was_gone_may_stay() -> None:
    one_dpu = leaving()
    one_dpu.pod_starts("ovnkube-node-b")
    one_dpu.work()
    assert [pod["metadata"]["name"] for pod in one_dpu.infra.list(PODS, "ns")] == ["ovnkube-node-b"]
    assert one_dpu.guarding() is ProtectionPhase.NOT_SERVING


def test_a_pod_that_is_ending_is_waited_for() -> None:
    one_dpu = leaving()
    run = one_dpu.run()
    one_dpu.infra.change(PODS, "ns", "ovnkube-node-a", {"metadata": {"deletionTimestamp": "now", "finalizers": ["f"]}})
    assert one_dpu.finish(run) == "DONE: bf2-1: 1 pods have yet to go"
    read = one_dpu.budget()
    assert read is not None
    assert (read.serves, read.is_open) == (HOST, False)


def test_nothing_is_asked_again_and_again_while_a_pod_is_ending() -> None:
    one_dpu = leaving()
    one_dpu.infra.change(PODS, "ns", "ovnkube-node-a", {"metadata": {"deletionTimestamp": "now", "finalizers": ["f"]}})
    found = decide_protection(one_dpu.view())
    assert (found.task, found.guarding) == (None, ProtectionPhase.LEAVING)
    one_dpu.infra.remove(PODS, "ns", "ovnkube-node-a")
    assert one_dpu.finish(one_dpu.run()) == "DONE: bf2-1: serves no host"


def test_of_several_pods_that_are_to_go_the_one_that_has_not_begun_is_told_to() -> None:
    one_dpu = unwanted()
    one_dpu.pod_starts("ovnkube-node-b")
    one_dpu.finish(one_dpu.run())
    one_dpu.finish(one_dpu.run())
    one_dpu.infra.change(PODS, "ns", "ovnkube-node-a", {"metadata": {"deletionTimestamp": "now", "finalizers": ["f"]}})
    assert one_dpu.finish(one_dpu.run()) == "DONE: bf2-1: 2 pods have yet to go"
    assert one_dpu.infra.get(PODS, "ns", "ovnkube-node-b") is None


def serves_nobody(view: ProtectionView) -> DpuView:
    assert view.dpu.budget is not None
    return replace(view.dpu, budget=replace(view.dpu.budget, serves=""))


def held(view: ProtectionView) -> DpuView:
    assert isinstance(view.dpu.node, facts.DpuNode)
    return replace(view.dpu, parting=True, node=replace(view.dpu.node, override=facts.DrainOverride.HOLD))


# a DPU that serves, and whose entries and pods are out of reach; whether its host is drained; how far it is
OUT_OF_REACH: dict[str, tuple[Callable[[ProtectionView], DpuView], bool, ProtectionPhase]] = {
    "it has no budget": (lambda view: replace(view.dpu, budget=None), True, ProtectionPhase.NOT_SERVING),
    "it serves nobody": (serves_nobody, True, ProtectionPhase.NOT_SERVING),
    "its host is drained": (lambda view: replace(view.dpu, parting=True), True, ProtectionPhase.LEAVING),
    "its host has yet to be drained": (
        lambda view: replace(view.dpu, parting=True),
        False,
        ProtectionPhase.REMOVAL_PENDING,
    ),
    "its host is drained, and a person holds it": (held, True, ProtectionPhase.REMOVAL_PENDING),
    "its pod is being deleted, or a person forces the end": (lambda view: view.dpu, False, ProtectionPhase.LEAVING),
}


@pytest.mark.parametrize(("given", "drained", "phase"), OUT_OF_REACH.values(), ids=OUT_OF_REACH.keys())
@pytest.mark.parametrize("access", [Access.TAKEN, Access.ENDING])
def test_without_access_a_budget_is_let_go_for_good_once_its_host_may_lose_its_network(
    given: Callable[[ProtectionView], DpuView], drained: bool, phase: ProtectionPhase, access: Access
) -> None:
    view = serving().view()
    found = decide_protection(replace(view, dpu=given(view), drained=drained, access=access))
    release = ReleaseBudget(view.host_ref, DPU, "ns", drained) if phase is ProtectionPhase.LEAVING else None
    assert found == Protection((), release, phase)


def test_a_dpu_that_serves_without_a_blocker_that_is_ready_is_said_to_lack_that() -> None:
    one_dpu = serving()
    one_dpu.blocker_stops()
    assert one_dpu.guarding() is ProtectionPhase.BLOCKER_NOT_READY


def test_no_entry_is_taken_away_when_the_tenant_shows_that_the_host_is_in_use() -> None:
    one_dpu = unwanted()
    run = one_dpu.run()
    one_dpu.tenant.change(NODES, "", HOST, {"spec": {"unschedulable": None}})
    assert one_dpu.finish(run).startswith("STALE")
    assert one_dpu.entry() == HOST


def test_no_entry_is_taken_away_once_a_person_holds_the_dpu() -> None:
    one_dpu = unwanted()
    run = one_dpu.run()
    one_dpu.infra.change(NODES, "", DPU, {"metadata": {"annotations": {DRAIN_ANNOTATION: "hold"}}})
    assert one_dpu.finish(run).endswith("a person holds it")
    assert (one_dpu.entry(), one_dpu.guarding()) == (HOST, ProtectionPhase.REMOVAL_PENDING)


def test_who_leaves_already_goes_on_although_a_person_holds_the_dpu() -> None:
    one_dpu = leaving()
    one_dpu.infra.change(NODES, "", DPU, {"metadata": {"annotations": {DRAIN_ANNOTATION: "hold"}}})
    assert one_dpu.guarding() is ProtectionPhase.LEAVING
    assert one_dpu.work()


def test_an_entry_of_a_deposed_process_does_not_arrive_after_another_one_has_opened() -> None:
    one_dpu = OneDpu()
    one_dpu.work()
    one_dpu.blocker_starts()
    late = one_dpu.run()
    while not isinstance(call := late.next(), Write):
        late = late.answered(one_dpu.perform(call))
    one_dpu.pairing = None  # the new leader takes the pair apart before it ever served
    one_dpu.work()
    read = one_dpu.budget()
    assert read is not None
    assert read.is_open is True
    assert isinstance(one_dpu.perform(call), Conflict)
    assert one_dpu.entry() is None


def test_a_pair_that_comes_back_while_it_leaves_is_taken_apart_and_put_together_anew() -> None:
    one_dpu = leaving()
    one_dpu.pairing = HOST
    one_dpu.work()
    read = one_dpu.budget()
    assert read is not None
    assert (one_dpu.guarding(), one_dpu.entry(), read.leaving) == (ProtectionPhase.SERVING, HOST, ())


def test_a_pair_whose_entry_is_back_while_it_leaves_stays() -> None:
    one_dpu = leaving()
    one_dpu.pairing = HOST
    one_dpu.infra.change(CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES, {"data": {DPU: TEXT}})
    assert one_dpu.work() == ["KeepPods"]
    assert one_dpu.guarding() is ProtectionPhase.SERVING


def about_to_leave() -> tuple[OneDpu, Run]:
    """The budget says that the entry is about to go; and the task whose next call takes it away."""
    one_dpu = unwanted()
    run = one_dpu.run()
    while not (isinstance(call := run.next(), Write) and call.step.resource is CONFIGMAPS):
        run = run.answered(one_dpu.perform(call))
    return one_dpu, run


def test_who_is_about_to_take_an_entry_away_fails_once_the_pair_is_to_stay() -> None:
    one_dpu, late = about_to_leave()
    one_dpu.pairing = HOST
    assert one_dpu.work() == ["KeepPods"]
    assert isinstance(one_dpu.perform(late.next()), Conflict)
    read = one_dpu.budget()
    assert read is not None
    assert (one_dpu.entry(), read.leaving) == (HOST, ())


def test_an_entry_that_came_late_takes_all_pods_with_it_that_may_have_read_it() -> None:
    one_dpu, late = about_to_leave()
    one_dpu.perform(late.next())
    one_dpu.finish(one_dpu.run())
    one_dpu.infra.change(CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES, {"data": {DPU: TEXT}})
    one_dpu.infra.remove(PODS, "ns", "ovnkube-node-a")
    one_dpu.pod_starts("ovnkube-node-b")
    one_dpu.work()
    assert one_dpu.infra.list(PODS, "ns") == ()


def test_who_has_no_entry_says_first_that_it_leaves_so_that_none_is_written_meanwhile() -> None:
    one_dpu = OneDpu()
    one_dpu.work()
    one_dpu.blocker_starts()
    put = one_dpu.run()
    one_dpu.pairing = None
    assert one_dpu.finish(one_dpu.run()) == f"DONE: {DPU}: leaves {HOST}"
    assert one_dpu.finish(put) == "STALE: no DPU is protected"


def test_a_pair_does_not_stay_once_its_entry_is_gone() -> None:
    one_dpu, late = about_to_leave()
    one_dpu.pairing = HOST
    run = one_dpu.run()
    one_dpu.perform(late.next())
    assert one_dpu.finish(run) == f"STALE: {DPU}: its entry is not there"
    read = one_dpu.budget()
    assert read is not None
    assert read.leaving != ()


def test_a_dpu_that_is_paired_anew_leaves_its_old_host_first() -> None:
    one_dpu = serving()
    one_dpu.pairing = "host-2"
    assert one_dpu.work() == []
    one_dpu.drain_host()
    one_dpu.drained = True
    for _ in range(4):
        one_dpu.finish(one_dpu.run())
    task = decide_protection(one_dpu.view()).task
    assert isinstance(task, ProtectDpu)
    assert task.host == "host-2"


OTHERS: dict[str, Callable[[OneDpu], object]] = {
    "the blocker": lambda one_dpu: one_dpu.infra.put(
        DEPLOYMENTS, {"metadata": {"name": blocker_name(DPU), "namespace": "dpunetop"}, "spec": {}}
    ),
    "the budget": lambda one_dpu: one_dpu.infra.put(
        PODDISRUPTIONBUDGETS, {"metadata": {"name": blocker_name(DPU), "namespace": "dpunetop"}, "spec": {}}
    ),
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_is_not_ours_is_left_alone(what: str) -> None:
    one_dpu = OneDpu()
    OTHERS[what](one_dpu)
    assert one_dpu.work() == []
    assert one_dpu.guarding() is ProtectionPhase.NOT_OURS


ROLLS = {
    "the node is schedulable": (False, False, True),
    "the node is cordoned": (True, False, False),
    "a drain is wanted": (False, True, False),
}


@pytest.mark.parametrize(("cordoned", "active", "rolls"), ROLLS.values(), ids=ROLLS.keys())
def test_a_changed_blocker_is_rolled_only_where_no_eviction_can_come_between(
    cordoned: bool, active: bool, rolls: bool
) -> None:
    one_dpu = serving()
    one_dpu.cordon(cordoned)
    newer = replace(SETTINGS, image="newer")
    upkeep = decide_protection(replace(one_dpu.view(), settings=newer, active=active)).upkeep
    assert [step.desired for step in upkeep] == ([blocker(newer, DPU)] if rolls else [])


def test_a_blocker_that_is_gone_is_made_anew_even_on_a_cordoned_node() -> None:
    one_dpu = serving()
    one_dpu.cordon()
    one_dpu.infra.remove(DEPLOYMENTS, "dpunetop", blocker_name(DPU))
    assert one_dpu.work() == ["Deployment"]


def test_the_first_budget_is_made_only_where_there_is_none() -> None:
    one_dpu = OneDpu()
    view = one_dpu.view()
    one_dpu.infra.put(PODDISRUPTIONBUDGETS, first_budget(SETTINGS, DPU, HOST))
    budget = decide_protection(view).upkeep[1]
    assert isinstance(one_dpu.perform(Write(budget)), Conflict)


OTHER_TEXT = f"TENANT_K8S_NODE={HOST}\nOVN_LOG_LEVEL=dbg\n"
READERS: dict[str, tuple[list[str], str | None, bool, bool]] = {  # pods, which of them idles, ours -> may it be changed
    "no pod is there": ([], None, True, True),
    "the pod was there before the entry": (["a"], "a", True, True),
    "the pod has read the entry": (["a"], None, True, False),
    "one of two pods has read the entry": (["a", "b"], "a", True, False),
    "the pod has read the entry, which somebody has written over": (["a"], None, False, True),
}


@pytest.mark.parametrize("what", READERS)
def test_an_entry_for_the_same_host_is_changed_only_if_no_pod_has_read_it(what: str) -> None:
    pods, idle, ours, changes = READERS[what]
    one_dpu = OneDpu()
    one_dpu.work()
    one_dpu.blocker_starts()
    put = one_dpu.task()
    for name in pods:
        one_dpu.pod_starts(name)
    uids = {pod["metadata"]["name"]: uid_of(pod) for pod in one_dpu.infra.list(PODS, "ns")}
    fields = {"manager": "dpunetop-pairs", "operation": "Update", "fieldsV1": {"f:data": {f"f:{DPU}": {}}}}
    notes = {"annotations": {IDLE_PODS_ANNOTATION: render_idle_pods({DPU: uids[idle]} if idle else {})}}
    metadata = {"metadata": {**notes, "managedFields": [fields] if ours else []}, "data": {DPU: OTHER_TEXT}}
    one_dpu.infra.change(CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES, metadata)
    assert put is not None
    one_dpu.finish(Run(put))
    assert entries(one_dpu)["data"] == {DPU: TEXT if changes else OTHER_TEXT}


def test_a_dpu_on_its_way_out_is_said_to_leave_until_it_serves_nobody() -> None:
    one_dpu = unwanted()
    said = [one_dpu.guarding()]
    while (task := decide_protection(one_dpu.view()).task) is not None:
        one_dpu.finish(Run(task))
        said.append(one_dpu.guarding())
    assert said == [ProtectionPhase.LEAVING] * 4 + [ProtectionPhase.NOT_SERVING]
    opened = unwanted()
    opened.finish(opened.run())
    spec = {"spec": {"maxUnavailable": 1}}
    opened.infra.change(PODDISRUPTIONBUDGETS, "dpunetop", blocker_name(DPU), spec)
    assert opened.guarding() is ProtectionPhase.LEAVING


def test_a_dpu_without_a_budget_is_said_to_lack_its_blocker() -> None:
    assert OneDpu().guarding() is ProtectionPhase.BLOCKER_MISSING


def test_no_entry_is_taken_away_while_the_maintenance_that_holds_the_host_is_somebody_elses() -> None:
    one_dpu = unwanted()
    one_dpu.pod_starts("ovnkube-node-b")
    run = one_dpu.run()
    one_dpu.tenant.change(NODEMAINTENANCES, "", maintenance_name(HOST), {"metadata": {"labels": {OWNER_LABEL: "x"}}})
    assert "is not drained" in one_dpu.finish(run)
    assert one_dpu.entry() == HOST


def test_after_a_crash_an_entry_whose_budget_says_already_that_it_goes_is_taken_without_another_write_of_that() -> None:
    one_dpu = unwanted()
    run = one_dpu.run()
    while not isinstance(call := run.next(), Write):
        run = run.answered(one_dpu.perform(call))
    one_dpu.perform(call)
    read, again, writes = one_dpu.budget(), one_dpu.run(), []
    while not hasattr(call := again.next(), "result"):
        writes += [call.step.resource.plural] if isinstance(call, Write) else []
        again = again.answered(one_dpu.perform(call))
    assert read is not None
    assert (read.leaving, writes, one_dpu.entry()) == (("entry",), ["configmaps"], None)
