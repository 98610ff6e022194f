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


class Stage:
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


def serving() -> Stage:
    stage = Stage()
    stage.work()
    stage.blocker_starts()
    stage.work()
    stage.pod_starts()
    assert (stage.guarding(), stage.entry()) == (ProtectionPhase.SERVING, HOST)
    return stage


def unwanted() -> Stage:
    """It serves, is paired with nobody any more, and its host is drained."""
    stage = serving()
    stage.pairing = None
    stage.drain_host()
    return stage


def leaving() -> Stage:
    """Its entry is gone, and the pods that may have read it are written down."""
    stage = unwanted()
    stage.finish(stage.run())
    stage.finish(stage.run())
    return stage


def test_blocker_and_budget_exist_from_the_moment_the_node_is_seen() -> None:
    stage = Stage()
    stage.pairing, stage.configured = None, False
    assert stage.work() == ["Deployment", "PodDisruptionBudget"]
    read = stage.budget()
    assert read is not None
    assert (read.is_open, read.serves, stage.guarding()) == (True, "", ProtectionPhase.NOT_SERVING)


@pytest.mark.parametrize("begins", ["at once", "later"])
def test_on_the_way_in_the_budget_closes_before_the_blocker_is_waited_for_and_the_entry_comes_last(begins: str) -> None:
    stage = Stage()
    if begins == "later":
        stage.configured = False
        assert stage.work() == ["Deployment", "PodDisruptionBudget"]
        stage.configured = True
    assert stage.work() == (["Deployment", "PodDisruptionBudget"] if begins == "at once" else ["ProtectDpu"])
    read = stage.budget()
    assert read is not None
    assert (read.is_open, read.serves, stage.entry()) == (False, HOST, None)
    assert stage.guarding() is ProtectionPhase.BLOCKER_NOT_READY
    stage.blocker_starts()
    assert stage.work() == ["PutEntries"]
    assert stage.entry() == HOST


WAITS: dict[str, Callable[[Stage], object]] = {
    "not paired": lambda stage: setattr(stage, "pairing", None),
    "not configured": lambda stage: setattr(stage, "configured", False),
    "of a tenant that may have others": lambda stage: setattr(stage, "is_tenant_known", False),
    "cordoned": lambda stage: stage.cordon(),
    "gone": lambda stage: stage.infra.remove(NODES, "", DPU),
}


@pytest.mark.parametrize("why", WAITS)
def test_the_budget_stays_open_and_the_first_configuration_can_roll_while_the_dpu_is(why: str) -> None:
    stage = Stage()
    WAITS[why](stage)
    stage.work()
    read = stage.budget()
    assert read is not None
    assert (read.is_open, read.serves, stage.guarding()) == (True, "", ProtectionPhase.NOT_SERVING)


def test_a_budget_that_was_written_since_it_was_seen_is_not_closed() -> None:
    stage = Stage()
    stage.configured = False
    stage.work()
    stage.configured = True
    run = stage.run()
    stage.infra.change(PODDISRUPTIONBUDGETS, "dpunetop", blocker_name(DPU), {"metadata": {"labels": {"x": "y"}}})
    assert stage.finish(run).startswith("STALE")
    assert stage.work() == ["ProtectDpu"]


def test_a_dpu_that_is_found_serving_is_closed_whatever_else_is_true() -> None:
    stage = Stage()
    stage.pairing, stage.configured = None, False
    stage.cordon()
    stage.work()
    stage.infra.change(CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES, {"data": {DPU: TEXT}})
    stage.pod_starts()
    stage.work()
    read = stage.budget()
    assert read is not None
    assert (read.is_open, read.serves) == (False, HOST)


def test_a_dpu_that_is_found_serving_without_a_budget_gets_a_closed_one() -> None:
    stage = serving()
    stage.infra.remove(PODDISRUPTIONBUDGETS, "dpunetop", blocker_name(DPU))
    stage.work()
    read = stage.budget()
    assert read is not None
    assert (read.is_open, read.serves) == (False, HOST)


def test_no_entry_while_the_node_is_cordoned_because_its_drain_may_have_gone_by_already() -> None:
    stage = Stage()
    stage.work()
    stage.blocker_starts()
    stage.cordon()
    assert stage.work() == []
    assert (stage.guarding(), stage.entry()) == (ProtectionPhase.NODE_CORDONED, None)


PUT_BREAKS: dict[str, Callable[[Stage], object]] = {
    "the node is cordoned": lambda stage: stage.cordon(),
    "the blocker is not Ready": lambda stage: stage.blocker_stops(),
    "the budget is open": lambda stage: stage.infra.change(
        PODDISRUPTIONBUDGETS, "dpunetop", blocker_name(DPU), {"spec": {"maxUnavailable": 1}}
    ),
    "the budget serves another": lambda stage: stage.infra.change(
        PODDISRUPTIONBUDGETS, "dpunetop", blocker_name(DPU), {"metadata": {"annotations": {SERVES_ANNOTATION: "x"}}}
    ),
    "the node is gone": lambda stage: stage.infra.remove(NODES, "", DPU),
    "another one has the host": lambda stage: stage.infra.change(
        CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES, {"data": {"bf2-2": TEXT}}
    ),
}


@pytest.mark.parametrize("why", PUT_BREAKS)
def test_no_entry_is_written_when_the_servers_show_that(why: str) -> None:
    stage = Stage()
    stage.work()
    stage.blocker_starts()
    run = stage.run()
    PUT_BREAKS[why](stage)
    assert stage.finish(run) == "STALE: no DPU is protected"
    assert stage.entry() is None


def test_the_node_is_read_after_the_budget_and_the_entries_before_both() -> None:
    stage = Stage()
    stage.work()
    stage.blocker_starts()
    run, kinds = stage.run(), []
    while not isinstance(call := run.next(), Done):
        kinds.append(call.resource.plural if isinstance(call, QuorumGet | QuorumList) else "write")
        run = run.answered(stage.perform(call))
    assert kinds == ["configmaps", "poddisruptionbudgets", "pods", "nodes", "pods", "write"]


def test_many_entries_are_one_write() -> None:
    stage = Stage()
    stage.work()
    stage.blocker_starts()
    entry = decide_protection(stage.view()).entry
    assert entry is not None
    stage.finish(Run(PutEntries("ns", (entry, replace(entry, dpu="stranger"), entry))))
    obj = stage.infra.get(CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES)
    assert obj is not None
    assert obj["data"] == {DPU: TEXT}


def test_no_entry_is_written_into_somebody_elses_config_map() -> None:
    stage = Stage()
    stage.work()
    stage.blocker_starts()
    run = stage.run()
    stage.infra.change(CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES, {"metadata": {"labels": {OWNER_LABEL: "another"}}})
    assert stage.finish(run) == "STALE: there are no entries to add to"
    assert stage.entry() is None


ANOTHER = f"{TEXT}OVN_KUBE_LOG_LEVEL=5\n"


def change_entry(stage: Stage, text: str = ANOTHER) -> Run:
    return Run(ChangeEntry(stage.view().host_ref, DPU, "ns", text))


def entries(stage: Stage) -> Obj:
    found = stage.infra.get(CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES)
    assert found is not None
    return found


def test_another_entry_is_written_with_the_pod_that_is_to_go_before_that_goes() -> None:
    stage = serving()
    stage.drain_host()
    [pod] = stage.infra.list(PODS, "ns")
    run, kinds = change_entry(stage), []
    while not isinstance(call := run.next(), Done):
        assert not isinstance(call, Emit)
        kinds.append(type(call.step).__name__ if isinstance(call, Write) else call.resource.plural)
        if kinds[-1] == "Delete":
            assert (entries(stage)["data"], idle_pods(entries(stage))) == ({DPU: ANOTHER}, {DPU: uid_of(pod)})
        run = run.answered(stage.perform(call))
    assert kinds == ["configmaps", "pods", "nodes", "nodemaintenances", "Patch", "Delete"]
    assert not stage.infra.list(PODS, "ns")


def test_a_crash_before_the_pod_goes_leaves_written_that_it_is_to_go() -> None:
    stage = serving()
    stage.drain_host()
    run = change_entry(stage)
    while not (isinstance(call := run.next(), Write) and isinstance(call.step, Delete)):
        run = run.answered(stage.perform(call))
    pods = tuple(stage.infra.list(PODS, "ns"))
    judged = judge_entries(EntriesView({}, entries(stage), frozenset(), pods))
    assert judged.restart == pods


def test_an_entry_without_a_pod_is_changed_and_none_is_written_down() -> None:
    stage = serving()
    stage.drain_host()
    stage.infra.remove(PODS, "ns", "ovnkube-node-a")
    assert stage.finish(change_entry(stage)).startswith("DONE")
    assert (entries(stage)["data"], idle_pods(entries(stage))) == ({DPU: ANOTHER}, {})


CHANGE_BREAKS: dict[str, Callable[[Stage], object]] = {
    "the host is not drained": lambda stage: stage.tenant.remove(NODEMAINTENANCES, "", maintenance_name(HOST)),
    "the host is not cordoned": lambda stage: stage.tenant.change(NODES, "", HOST, {"spec": {"unschedulable": None}}),
    "two pods are there": lambda stage: stage.pod_starts("ovnkube-node-b"),
    "it is gone": lambda stage: stage.infra.change(CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES, {"data": {DPU: None}}),
    "it names another host": lambda stage: stage.infra.change(
        CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES, {"data": {DPU: "TENANT_K8S_NODE=host-2\n"}}
    ),
    "it is as it is to be": lambda stage: stage.infra.change(
        CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES, {"data": {DPU: ANOTHER}}
    ),
    "it is in somebody else's ConfigMap": lambda stage: stage.infra.change(
        CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES, {"metadata": {"labels": {OWNER_LABEL: "another"}}}
    ),
}


@pytest.mark.parametrize("why", CHANGE_BREAKS)
def test_an_entry_is_not_changed_and_no_pod_goes_when(why: str) -> None:
    stage = serving()
    stage.drain_host()
    CHANGE_BREAKS[why](stage)
    before, pods = entries(stage), stage.infra.list(PODS, "ns")
    assert stage.finish(change_entry(stage)).startswith("STALE")
    assert (entries(stage), stage.infra.list(PODS, "ns")) == (before, pods)


def test_a_second_dpu_of_a_host_is_protected_without_an_entry() -> None:
    stage = Stage()
    stage.work()
    stage.blocker_starts()
    assert decide_protection(replace(stage.view(), text="")).guarding is ProtectionPhase.SERVING
    assert decide_protection(replace(stage.view(), text="")).entry is None


def test_a_serving_pair_is_taken_apart_only_once_its_host_is_drained() -> None:
    stage = serving()
    stage.pairing = None
    assert stage.work() == []
    assert (stage.guarding(), stage.entry()) == (ProtectionPhase.REMOVAL_PENDING, HOST)


def test_on_the_way_back_the_entry_goes_then_the_pods_that_read_it_then_the_mark() -> None:
    stage = unwanted()
    seen = []
    for _ in range(6):
        task = stage.task()
        if task is None:
            break
        stage.finish(Run(task))
        read = stage.budget()
        assert read is not None
        seen.append((stage.entry(), len(stage.infra.list(PODS, "ns")), read.serves, read.is_open))
    assert seen == [
        (None, 1, HOST, False),  # the entry is gone
        (None, 1, HOST, False),  # the pods that may have read it are written down
        (None, 0, HOST, False),  # they are deleted
        (None, 0, "", True),  # and only now it is open
    ]


def test_before_an_entry_goes_the_budget_says_so_and_after_a_crash_it_goes_on() -> None:
    stage = unwanted()
    run = stage.run()
    while not isinstance(run.next(), Write):
        run = run.answered(stage.perform(run.next()))
    stage.perform(run.next())  # and then it crashes
    read = stage.budget()
    assert read is not None
    assert (bool(read.leaving), read.is_open, stage.entry()) == (True, False, HOST)
    stage.finish(stage.run())
    stage.finish(stage.run())
    [pod], read = stage.infra.list(PODS, "ns"), stage.budget()
    assert read is not None
    assert (stage.entry(), read.leaving) == (None, (uid_of(pod),))


def test_an_entry_is_not_taken_away_under_a_budget_of_another_host() -> None:
    stage = unwanted()
    run = stage.run()
    other = {"metadata": {"annotations": {SERVES_ANNOTATION: "host-2"}}}
    stage.infra.change(PODDISRUPTIONBUDGETS, "dpunetop", blocker_name(DPU), other)
    assert stage.finish(run) == f"STALE: {DPU}: the budget has changed since it was looked at"
    assert stage.entry() == HOST


def test_a_pod_that_came_after_the_entry_was_gone_may_stay() -> None:
    stage = leaving()
    stage.pod_starts("ovnkube-node-b")
    stage.work()
    assert [pod["metadata"]["name"] for pod in stage.infra.list(PODS, "ns")] == ["ovnkube-node-b"]
    assert stage.guarding() is ProtectionPhase.NOT_SERVING


def test_a_pod_that_is_ending_is_waited_for() -> None:
    stage = leaving()
    run = stage.run()
    stage.infra.change(PODS, "ns", "ovnkube-node-a", {"metadata": {"deletionTimestamp": "now", "finalizers": ["f"]}})
    assert stage.finish(run) == "DONE: bf2-1: 1 pods have yet to go"
    read = stage.budget()
    assert read is not None
    assert (read.serves, read.is_open) == (HOST, False)


def test_nothing_is_asked_again_and_again_while_a_pod_is_ending() -> None:
    stage = leaving()
    stage.infra.change(PODS, "ns", "ovnkube-node-a", {"metadata": {"deletionTimestamp": "now", "finalizers": ["f"]}})
    found = decide_protection(stage.view())
    assert (found.task, found.guarding) == (None, ProtectionPhase.LEAVING)
    stage.infra.remove(PODS, "ns", "ovnkube-node-a")
    assert stage.finish(stage.run()) == "DONE: bf2-1: serves no host"


def test_of_several_pods_that_are_to_go_the_one_that_has_not_begun_is_told_to() -> None:
    stage = unwanted()
    stage.pod_starts("ovnkube-node-b")
    stage.finish(stage.run())
    stage.finish(stage.run())
    stage.infra.change(PODS, "ns", "ovnkube-node-a", {"metadata": {"deletionTimestamp": "now", "finalizers": ["f"]}})
    assert stage.finish(stage.run()) == "DONE: bf2-1: 2 pods have yet to go"
    assert stage.infra.get(PODS, "ns", "ovnkube-node-b") is None


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
    stage = serving()
    stage.blocker_stops()
    assert stage.guarding() is ProtectionPhase.BLOCKER_NOT_READY


def test_no_entry_is_taken_away_when_the_tenant_shows_that_the_host_is_in_use() -> None:
    stage = unwanted()
    run = stage.run()
    stage.tenant.change(NODES, "", HOST, {"spec": {"unschedulable": None}})
    assert stage.finish(run).startswith("STALE")
    assert stage.entry() == HOST


def test_no_entry_is_taken_away_once_a_person_holds_the_dpu() -> None:
    stage = unwanted()
    run = stage.run()
    stage.infra.change(NODES, "", DPU, {"metadata": {"annotations": {DRAIN_ANNOTATION: "hold"}}})
    assert stage.finish(run).endswith("a person holds it")
    assert (stage.entry(), stage.guarding()) == (HOST, ProtectionPhase.REMOVAL_PENDING)


def test_who_leaves_already_goes_on_although_a_person_holds_the_dpu() -> None:
    stage = leaving()
    stage.infra.change(NODES, "", DPU, {"metadata": {"annotations": {DRAIN_ANNOTATION: "hold"}}})
    assert stage.guarding() is ProtectionPhase.LEAVING
    assert stage.work()


def test_an_entry_of_a_deposed_process_does_not_arrive_after_another_one_has_opened() -> None:
    stage = Stage()
    stage.work()
    stage.blocker_starts()
    late = stage.run()
    while not isinstance(call := late.next(), Write):
        late = late.answered(stage.perform(call))
    stage.pairing = None  # the new leader takes the pair apart before it ever served
    stage.work()
    read = stage.budget()
    assert read is not None
    assert read.is_open is True
    assert isinstance(stage.perform(call), Conflict)
    assert stage.entry() is None


def test_a_pair_that_comes_back_while_it_leaves_is_taken_apart_and_put_together_anew() -> None:
    stage = leaving()
    stage.pairing = HOST
    stage.work()
    read = stage.budget()
    assert read is not None
    assert (stage.guarding(), stage.entry(), read.leaving) == (ProtectionPhase.SERVING, HOST, ())


def test_a_pair_whose_entry_is_back_while_it_leaves_stays() -> None:
    stage = leaving()
    stage.pairing = HOST
    stage.infra.change(CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES, {"data": {DPU: TEXT}})
    assert stage.work() == ["KeepPods"]
    assert stage.guarding() is ProtectionPhase.SERVING


def about_to_leave() -> tuple[Stage, Run]:
    """The budget says that the entry is about to go; and the task whose next call takes it away."""
    stage = unwanted()
    run = stage.run()
    while not (isinstance(call := run.next(), Write) and call.step.resource is CONFIGMAPS):
        run = run.answered(stage.perform(call))
    return stage, run


def test_who_is_about_to_take_an_entry_away_fails_once_the_pair_is_to_stay() -> None:
    stage, late = about_to_leave()
    stage.pairing = HOST
    assert stage.work() == ["KeepPods"]
    assert isinstance(stage.perform(late.next()), Conflict)
    read = stage.budget()
    assert read is not None
    assert (stage.entry(), read.leaving) == (HOST, ())


def test_an_entry_that_came_late_takes_all_pods_with_it_that_may_have_read_it() -> None:
    stage, late = about_to_leave()
    stage.perform(late.next())
    stage.finish(stage.run())
    stage.infra.change(CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES, {"data": {DPU: TEXT}})
    stage.infra.remove(PODS, "ns", "ovnkube-node-a")
    stage.pod_starts("ovnkube-node-b")
    stage.work()
    assert stage.infra.list(PODS, "ns") == ()


def test_who_has_no_entry_says_first_that_it_leaves_so_that_none_is_written_meanwhile() -> None:
    stage = Stage()
    stage.work()
    stage.blocker_starts()
    put = stage.run()
    stage.pairing = None
    assert stage.finish(stage.run()) == f"DONE: {DPU}: leaves {HOST}"
    assert stage.finish(put) == "STALE: no DPU is protected"


def test_a_pair_does_not_stay_once_its_entry_is_gone() -> None:
    stage, late = about_to_leave()
    stage.pairing = HOST
    run = stage.run()
    stage.perform(late.next())
    assert stage.finish(run) == f"STALE: {DPU}: its entry is not there"
    read = stage.budget()
    assert read is not None
    assert read.leaving != ()


def test_a_dpu_that_is_paired_anew_leaves_its_old_host_first() -> None:
    stage = serving()
    stage.pairing = "host-2"
    assert stage.work() == []
    stage.drain_host()
    stage.drained = True
    for _ in range(4):
        stage.finish(stage.run())
    task = decide_protection(stage.view()).task
    assert isinstance(task, ProtectDpu)
    assert task.host == "host-2"


OTHERS: dict[str, Callable[[Stage], object]] = {
    "the blocker": lambda stage: stage.infra.put(
        DEPLOYMENTS, {"metadata": {"name": blocker_name(DPU), "namespace": "dpunetop"}, "spec": {}}
    ),
    "the budget": lambda stage: stage.infra.put(
        PODDISRUPTIONBUDGETS, {"metadata": {"name": blocker_name(DPU), "namespace": "dpunetop"}, "spec": {}}
    ),
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_is_not_ours_is_left_alone(what: str) -> None:
    stage = Stage()
    OTHERS[what](stage)
    assert stage.work() == []
    assert stage.guarding() is ProtectionPhase.NOT_OURS


ROLLS = {
    "the node is schedulable": (False, False, True),
    "the node is cordoned": (True, False, False),
    "a drain is wanted": (False, True, False),
}


@pytest.mark.parametrize(("cordoned", "active", "rolls"), ROLLS.values(), ids=ROLLS.keys())
def test_a_changed_blocker_is_rolled_only_where_no_eviction_can_come_between(
    cordoned: bool, active: bool, rolls: bool
) -> None:
    stage = serving()
    stage.cordon(cordoned)
    newer = replace(SETTINGS, image="newer")
    upkeep = decide_protection(replace(stage.view(), settings=newer, active=active)).upkeep
    assert [step.desired for step in upkeep] == ([blocker(newer, DPU)] if rolls else [])


def test_a_blocker_that_is_gone_is_made_anew_even_on_a_cordoned_node() -> None:
    stage = serving()
    stage.cordon()
    stage.infra.remove(DEPLOYMENTS, "dpunetop", blocker_name(DPU))
    assert stage.work() == ["Deployment"]


def test_the_first_budget_is_made_only_where_there_is_none() -> None:
    stage = Stage()
    view = stage.view()
    stage.infra.put(PODDISRUPTIONBUDGETS, first_budget(SETTINGS, DPU, HOST))
    budget = decide_protection(view).upkeep[1]
    assert isinstance(stage.perform(Write(budget)), Conflict)


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
    stage = Stage()
    stage.work()
    stage.blocker_starts()
    put = stage.task()
    for name in pods:
        stage.pod_starts(name)
    uids = {pod["metadata"]["name"]: uid_of(pod) for pod in stage.infra.list(PODS, "ns")}
    fields = {"manager": "dpunetop-pairs", "operation": "Update", "fieldsV1": {"f:data": {f"f:{DPU}": {}}}}
    notes = {"annotations": {IDLE_PODS_ANNOTATION: render_idle_pods({DPU: uids[idle]} if idle else {})}}
    metadata = {"metadata": {**notes, "managedFields": [fields] if ours else []}, "data": {DPU: OTHER_TEXT}}
    stage.infra.change(CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES, metadata)
    assert put is not None
    stage.finish(Run(put))
    assert entries(stage)["data"] == {DPU: TEXT if changes else OTHER_TEXT}


def test_a_dpu_on_its_way_out_is_said_to_leave_until_it_serves_nobody() -> None:
    stage = unwanted()
    said = [stage.guarding()]
    while (task := decide_protection(stage.view()).task) is not None:
        stage.finish(Run(task))
        said.append(stage.guarding())
    assert said == [ProtectionPhase.LEAVING] * 4 + [ProtectionPhase.NOT_SERVING]
    opened = unwanted()
    opened.finish(opened.run())
    spec = {"spec": {"maxUnavailable": 1}}
    opened.infra.change(PODDISRUPTIONBUDGETS, "dpunetop", blocker_name(DPU), spec)
    assert opened.guarding() is ProtectionPhase.LEAVING


def test_a_dpu_without_a_budget_is_said_to_lack_its_blocker() -> None:
    assert Stage().guarding() is ProtectionPhase.BLOCKER_MISSING


def test_no_entry_is_taken_away_while_the_maintenance_that_holds_the_host_is_somebody_elses() -> None:
    stage = unwanted()
    stage.pod_starts("ovnkube-node-b")
    run = stage.run()
    stage.tenant.change(NODEMAINTENANCES, "", maintenance_name(HOST), {"metadata": {"labels": {OWNER_LABEL: "x"}}})
    assert "is not drained" in stage.finish(run)
    assert stage.entry() == HOST


def test_after_a_crash_an_entry_whose_budget_says_already_that_it_goes_is_taken_without_another_write_of_that() -> None:
    stage = unwanted()
    run = stage.run()
    while not isinstance(call := run.next(), Write):
        run = run.answered(stage.perform(call))
    stage.perform(call)
    read, again, writes = stage.budget(), stage.run(), []
    while not hasattr(call := again.next(), "result"):
        writes += [call.step.resource.plural] if isinstance(call, Write) else []
        again = again.answered(stage.perform(call))
    assert read is not None
    assert (read.leaving, writes, stage.entry()) == (("entry",), ["configmaps"], None)
