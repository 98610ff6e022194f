"""What the caches show of a host becomes a view, and what they do not show is never taken for an absence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from dpunetop.base.stop import Stop
from dpunetop.controllers.drain.epoch import Epoch
from dpunetop.controllers.drain.evictions import Evictions
from dpunetop.controllers.drain.gather_host import INDEXERS, PATIENCE_SECONDS, FirstSyncWaits, HostGatherer, HostSources
from dpunetop.controllers.drain.infrahealth import InfraHealth
from dpunetop.controllers.drain.leases import Leases
from dpunetop.controllers.drain.nodeabsence import NodeAbsences
from dpunetop.controllers.inquiries import Inquiries
from dpunetop.domain import names
from dpunetop.domain.clusterconfig.types import parse_config
from dpunetop.domain.drain.fleet.roster import HostScope, Member, Mode, PodEntry, Roster, Slot
from dpunetop.domain.drain.host import HostSnapshot, decide_host
from dpunetop.domain.drain.hostreport import report_host
from dpunetop.domain.drain.model.facts import (
    Blind,
    DpuNode,
    DrainSettings,
    HostNode,
    MaintenancePhase,
    NodeGone,
    Reason,
    Templates,
    TenantSeen,
)
from dpunetop.domain.drain.protection.blockers import BlockerSettings, blocker, first_budget
from dpunetop.domain.names import blocker_labels
from dpunetop.kube.errors import ApiError, Forbidden, NotFound, Unreachable
from dpunetop.kube.keys import CUSTOMRESOURCEDEFINITIONS, DEPLOYMENTS, INFRA, NODES, PODS, Key, Resource, crd_name
from dpunetop.kube.meta import Obj, name_of, namespace_of
from dpunetop.kube.requests import Selection
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.cluster import Health, Reach
from dpunetop.runtime.clusters import Clusters
from dpunetop.runtime.executor import BEHIND_SECONDS
from dpunetop.runtime.reading import NotEngaged, NotSynced, Reader, Waker
from support.clock import FakeClock
from support.hostsigns import dpu_shows
from support.objects import condition, config
from support.readers import ReadsByName

TENANT, DPU, HOST = "tenant/dpu-one/sample", "d1", "h1"
BLOCKERS = BlockerSettings("dpunetop", "image", "owner", has_scc=True)
READ = f"TENANT_K8S_NODE={HOST}\n"
READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
CRD = {
    "metadata": {"name": crd_name(names.NODEMAINTENANCES)},
    "spec": {"versions": [{"name": "v1beta1", "served": True}]},
    "status": {"conditions": [{"type": "Established", "status": "True"}]},
}


class Caches(ReadsByName):
    """A Reader, and the Clusters behind it, as a script: objects by cluster and resource."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, Resource], list[Obj]] = {}
        self.troubles: dict[str, Exception] = {}
        self.waker = Waker(lambda _: None, Key(TENANT, "host", HOST))
        self.health = Health(Reach.REACHABLE, "", "", FakeClock().now())

    def put(self, cluster: str, resource: Resource, *objects: Obj) -> None:
        self.objects[cluster, resource] = list(objects)

    # --- as a Reader ---

    def get(self, cluster: str, selection: Selection, namespace: str, name: str) -> Obj | None:
        found = self.list(cluster, selection)
        return next((obj for obj in found if (namespace_of(obj), name_of(obj)) == (namespace, name)), None)

    def by_index(self, cluster: str, selection: Selection, index: str, value: str) -> list[Obj]:
        indexer = INDEXERS[selection.resource][index]
        return [obj for obj in self.list(cluster, selection) if value in indexer(obj)]

    def list(self, cluster: str, selection: Selection) -> Any:
        if trouble := self.troubles.get(cluster):
            raise trouble
        found = self.objects.get((cluster, selection.resource), [])
        return [obj for obj in found if selection.namespace in ("", namespace_of(obj))]

    # --- as the cluster of the tenant ---

    def cluster(self, name: str) -> Any:
        return self if name == TENANT else None


class Servers:
    """Clients that know of no object, or do not answer."""

    answer: ApiError = NotFound(404, "NotFound", "")

    def get(self, *_: object) -> Obj:
        raise self.answer


class Desk:
    """A pair that serves, seen by a Gatherer."""

    def __init__(self) -> None:
        self.clock, self.caches = FakeClock(), Caches()
        self.inquiries, self.asked = Inquiries(), set[Key]()
        self.inquiries.connect(self.asked.add, self.asked.discard)
        clusters = type("C", (), {"get": staticmethod(self.caches.cluster)})
        absences = NodeAbsences(self.inquiries, lambda _: cast(Client, Servers()), self.clock)
        evictions = Evictions(self.inquiries, lambda _: cast(Client, Servers()), self.clock)
        terms = Epoch(self.clock, "dpunetop-drain")
        infra = InfraHealth(lambda: None, self.clock)
        leases, first_looks = Leases(self.clock), FirstSyncWaits(self.clock)
        self.sources = HostSources(
            cast(Clusters, clusters), absences, terms, self.newest, evictions, infra, leases, first_looks
        )
        self.written: dict[tuple[str, Resource], Obj] = {}
        self.conditions: list[Any] = [condition("TenantReachable", "True", "Reachable")]
        self.caches.put(INFRA, NODES, {"metadata": {"name": DPU}, "status": READY})
        self.caches.put(INFRA, DEPLOYMENTS, blocker(BLOCKERS, DPU))
        self.caches.put(INFRA, names.PODDISRUPTIONBUDGETS, first_budget(BLOCKERS, DPU, HOST))
        self.caches.put(INFRA, PODS, pod("dpunetop", "blocker", blocker_labels(DPU)), ovn_pod("t1"))
        self.caches.put(TENANT, NODES, {"metadata": {"name": HOST}, "spec": {}})
        self.caches.put(TENANT, CUSTOMRESOURCEDEFINITIONS, CRD)

    def newest(self, cluster: str, resource: Resource, seen: Obj) -> Obj:
        return self.written.get((cluster, resource), seen)

    def look(self, text: str = "", **but: Any) -> HostSnapshot:
        obj = {**config(name="sample"), "status": {"conditions": self.conditions}}
        member = Member(DPU, HOST, text, True, PodEntry(READ), is_home=True)
        slot = Slot(HOST, (member,))
        roster = Roster(
            parse_config(obj), Mode.SERVING, DrainSettings(), BLOCKERS, Templates("t1"), {("host", HOST): slot}
        )
        scope = HostScope(replace(roster, **but), slot)
        HostGatherer(self.sources, cast(Reader, self.caches), scope).snapshot()
        while self.asked:
            self.inquiries.reconcile(self.asked.pop(), Stop())
        return HostGatherer(self.sources, cast(Reader, self.caches), scope).snapshot()

    def tenant(self) -> TenantSeen | Blind | None:
        view = self.look().view
        return None if view is None else view.tenant


def pod(namespace: str, name: str, labels: Mapping[str, str], **more: str) -> Obj:
    metadata = {"name": name, "namespace": namespace, "labels": dict(labels), "annotations": more}
    return {"metadata": metadata, "spec": {"nodeName": DPU}, "status": READY}


def ovn_pod(template: str) -> Obj:
    return pod("dpu-one", "p", {"app": "ovnkube-node"}, **{names.TEMPLATE_HASH_ANNOTATION: template})


def maintenance(host: str) -> Obj:
    return {"metadata": {"name": names.maintenance_name(host), "labels": {names.OWNER_LABEL: "owner"}}, "spec": {
        "nodeName": host, "reason": "x"}}  # fmt: skip


def test_a_pair_that_serves_is_seen_with_everything_it_has() -> None:
    desk = Desk()
    desk.caches.put(TENANT, names.NODEMAINTENANCES, maintenance(HOST), maintenance("other"))
    host_snapshot = desk.look()
    (dpu,) = host_snapshot.dpus
    assert (dpu.name, dpu.blocker_ready, dpu.paired, [each.current for each in dpu.pods]) == (DPU, True, True, [True])
    assert isinstance(dpu.node, DpuNode)
    assert dpu.budget is not None
    assert (dpu.budget.serves, dpu.budget.is_open) == (HOST, False)
    assert host_snapshot.view is not None
    assert (host_snapshot.view.serving, host_snapshot.view.pods_namespace) == (DPU, "dpu-one")
    assert isinstance(host_snapshot.view.tenant, TenantSeen)
    assert isinstance(host_snapshot.view.tenant.node, HostNode)
    assert [each.host for each in host_snapshot.view.tenant.maintenances or ()] == [HOST]


def test_what_was_written_a_moment_ago_is_seen_before_the_caches_show_it() -> None:
    desk = Desk()
    desk.caches.put(TENANT, names.NODEMAINTENANCES, maintenance(HOST))
    desk.written = {
        (INFRA, names.PODDISRUPTIONBUDGETS): first_budget(BLOCKERS, DPU, ""),
        (TENANT, names.NODEMAINTENANCES): {**maintenance(HOST), "status": {"phase": "Failed"}},
        (TENANT, NODES): {"metadata": {"name": HOST}, "spec": {"unschedulable": True}},
    }
    (dpu,) = desk.look().dpus
    assert dpu.budget is not None
    assert dpu.budget.is_open
    tenant = desk.tenant()
    assert isinstance(tenant, TenantSeen)
    assert isinstance(tenant.node, HostNode)
    assert tenant.node.cordoned
    assert [each.phase for each in tenant.maintenances or ()] == [MaintenancePhase.FAILED]


@pytest.mark.parametrize(
    "shown",
    [
        (INFRA, names.PODDISRUPTIONBUDGETS, first_budget(BLOCKERS, DPU, HOST)),
        (TENANT, names.NODEMAINTENANCES, maintenance(HOST)),
        (TENANT, NODES, {"metadata": {"name": HOST}, "spec": {}}),
        (INFRA, NODES, {"metadata": {"name": DPU}, "status": READY}),
    ],
    ids=["budget", "maintenance", "host", "DPU"],
)
def test_a_write_that_a_cache_never_shows_is_looked_at_again(shown: tuple[str, Resource, Obj]) -> None:
    cluster, resource, obj = shown
    desk = Desk()
    desk.caches.put(cluster, resource, obj)
    assert desk.look().recheck_seconds is None
    desk.written = {(cluster, resource): {**obj}}
    assert desk.look().recheck_seconds == BEHIND_SECONDS


def test_a_pod_of_another_template_is_not_current_and_a_blocker_of_another_dpu_guards_nothing() -> None:
    desk = Desk()
    desk.caches.put(INFRA, PODS, pod("dpunetop", "blocker", blocker_labels("d2")), ovn_pod("old"))
    (dpu,) = desk.look().dpus
    assert (dpu.blocker_ready, [each.current for each in dpu.pods]) == (False, [False])


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        (f"{READ}OVN_KUBE_LOG_LEVEL=5\n", f"{READ}OVN_KUBE_LOG_LEVEL=5\n"),
        (READ, ""),
        ("", ""),
        ("TENANT_K8S_NODE=other\nOVN_KUBE_LOG_LEVEL=5\n", ""),
    ],
    ids=["another setting", "the same", "another DPU serves", "another host"],
)
def test_an_entry_that_pods_have_yet_to_read_is_seen(text: str, entry: str) -> None:
    assert Desk().look(text).dpus[0].entry == entry


def test_before_the_first_answer_of_a_server_a_host_counts_as_not_looked_at() -> None:
    desk = Desk()
    desk.caches.put(INFRA, NODES)
    scope = desk.look().scope
    desk.sources.absences.seen(INFRA, DPU)
    first = HostGatherer(desk.sources, cast(Reader, desk.caches), scope).snapshot()
    assert (first.dpus[0].node, first.is_open, desk.look().is_open) == (NodeGone(False), True, False)
    for snapshot, is_looked_at in ((first, False), (desk.look(), True)):
        assert report_host(decide_host(snapshot), None, {}).is_looked_at is is_looked_at


def test_a_node_that_is_missing_is_not_known_to_be_gone_before_it_was_asked_for_twice() -> None:
    desk = Desk()
    desk.caches.put(INFRA, NODES)
    first = desk.look()
    assert first.dpus[0].node == NodeGone(False)
    assert first.recheck_seconds == 600.0
    desk.clock.step(600.0)
    assert desk.look().dpus[0].node == NodeGone(True)


def test_a_tenant_without_the_kind_or_without_its_version_serves_no_maintenances() -> None:
    desk = Desk()
    for crds in ((), ({**CRD, "spec": {"versions": [{"name": "v1", "served": True}]}},)):
        desk.caches.put(TENANT, CUSTOMRESOURCEDEFINITIONS, *crds)
        tenant = desk.tenant()
        assert isinstance(tenant, TenantSeen)
        assert tenant.maintenances is None


NODES_OF_TENANT = Selection(NODES)
BLINDNESS: dict[str, tuple[Exception, tuple[str, str], Reason]] = {
    "refused": (NotSynced(TENANT, NODES_OF_TENANT, Forbidden(403, "Forbidden", "no")), ("True", "Reachable"),
                Reason.TENANT_UNAUTHORIZED),
    "unreachable": (NotEngaged(TENANT), ("False", "Timeout"), Reason.TENANT_UNREACHABLE),
    "swapped": (NotEngaged(TENANT), ("Unknown", "TenantSwapped"), Reason.TENANT_SWAPPED),
    "no credential": (NotEngaged(TENANT), ("Unknown", "NoCredentials"), Reason.TENANT_NOT_ENGAGED),
    "credential refused": (NotEngaged(TENANT), ("True", "Answered"), Reason.TENANT_UNAUTHORIZED),
}  # fmt: skip


@pytest.mark.parametrize(("trouble", "said", "reason"), BLINDNESS.values(), ids=BLINDNESS.keys())
def test_why_a_tenant_cannot_be_read_is_told(trouble: Exception, said: tuple[str, str], reason: Reason) -> None:
    desk = Desk()
    desk.caches.troubles[TENANT] = trouble
    desk.conditions = [condition("TenantReachable", *said)]
    tenant = desk.tenant()
    assert isinstance(tenant, Blind)
    assert tenant.hold.reason is reason


def test_a_tenant_of_which_nothing_is_known_yet_is_waited_for_so_that_a_start_closes_nothing() -> None:
    desk = Desk()
    desk.caches.troubles[TENANT] = NotEngaged(TENANT)
    host_snapshot = desk.look()
    assert (host_snapshot.view, host_snapshot.recheck_seconds) == (None, PATIENCE_SECONDS)
    desk.caches.troubles[TENANT] = NotSynced(TENANT, NODES_OF_TENANT, Unreachable(0, "Timeout", ""))
    desk.clock.step(PATIENCE_SECONDS)
    tenant = desk.tenant()
    assert isinstance(tenant, Blind)
    assert tenant.hold.reason is Reason.TENANT_NOT_SYNCED


def test_caches_of_a_tenant_that_does_not_answer_any_more_count_for_nothing() -> None:
    desk = Desk()
    desk.caches.health = replace(desk.caches.health, reach=Reach.UNREACHABLE, reason="Timeout")
    tenant = desk.tenant()
    assert isinstance(tenant, Blind)
    assert tenant.hold.reason is Reason.TENANT_UNREACHABLE


def test_infra_that_is_not_read_yet_is_refused_whatever_the_tenant_shows() -> None:
    desk = Desk()
    desk.caches.troubles[INFRA] = NotSynced(INFRA, Selection(NODES))
    with pytest.raises(NotSynced):
        desk.look()


def test_an_interconnect_tenant_must_show_the_network_of_the_host() -> None:
    desk = Desk()
    view = desk.look(has_zones=True).view
    assert view is not None
    assert [(each.name, each.holds) for each in view.signals] == [
        ("lease", False),
        ("annotation k8s.ovn.org/node-encap-ips", False),
        ("annotation k8s.ovn.org/l3-gateway-config", False),
        ("annotation k8s.ovn.org/node-chassis-id", False),
    ]
    desk.caches.put(TENANT, NODES, {"metadata": {"name": HOST, "annotations": dpu_shows(HOST)}, "spec": {}})
    view = desk.look(has_zones=True).view
    assert view is not None
    assert [each.name for each in view.signals if not each.holds] == ["lease"]  # followed only where it is of use
    assert desk.look().view is not None


@pytest.mark.parametrize("spec", [None, "text", 3, [], {"nodeName": None}, {"nodeName": ["d"]}])
def test_an_object_that_names_no_node_is_under_none(spec: Any) -> None:
    for indexers in INDEXERS.values():
        for indexer in indexers.values():
            assert list(indexer({"metadata": {"name": "x"}, "spec": spec})) == []


def test_a_host_and_a_dpu_are_gone_only_after_two_answers_far_enough_apart() -> None:
    desk = Desk()
    desk.caches.put(TENANT, NODES)
    desk.caches.put(INFRA, NODES)

    def gone() -> list[bool]:
        view = desk.look().view
        assert view is not None
        assert isinstance(view.tenant, TenantSeen)
        return [node.confirmed for node in (view.tenant.node, view.dpus[0].node) if isinstance(node, NodeGone)]

    seen = [gone()]
    for seconds in (59.0, 1.0, 539.0, 1.0):
        desk.clock.step(seconds)
        seen.append(gone())
    assert seen == [[False, False], [False, False], [True, False], [True, False], [True, True]]
