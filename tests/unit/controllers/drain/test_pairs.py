"""A pair comes under protection and serves; what people say of it is followed, or named."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, cast

import pytest

from dpunetop.base.stop import Stop
from dpunetop.domain import names
from dpunetop.domain.drain.report.failures import CONFLICT_PAUSE_SECONDS, FIRST_PAUSE_SECONDS
from dpunetop.domain.pairing.entries import render_idle_pods
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.errors import ApiError, Conflict, Forbidden
from dpunetop.kube.keys import CONFIGMAPS, DEPLOYMENTS, INFRA, NAMESPACES, NODES, PODS, SERVICEACCOUNTS, Resource
from dpunetop.kube.requests import Selection
from dpunetop.runtime.reading import NotSynced, Reader
from support.objects import DPU_LABELS, NAMESPACE, config, node
from support.scripteddrain import DPU, HOST, KEY, OPERATOR, PLACE, TENANT, TENANT_UID, World, dpu_node


def test_a_dpu_is_protected_before_its_entry_is_written() -> None:
    world = World()
    world.settle()
    blocker = names.blocker_name(DPU)
    assert world.acts() == [
        f"infra apply {SERVICEACCOUNTS.plural}/{names.DRAIN_BLOCKER}",
        f"infra apply {DEPLOYMENTS.plural}/{blocker}",
        f"infra apply {names.PODDISRUPTIONBUDGETS.plural}/{blocker}",
    ]
    assert (world.budget().is_open, world.budget().serves, world.entries()) == (False, HOST, {})
    assert world.said() == ("False", "Protecting")
    world.run_blocker(ready=False)
    world.settle()
    assert world.entries() == {}
    world.run_blocker()
    world.settle()
    assert world.entries() == {DPU: f"TENANT_K8S_NODE={HOST}\n"}
    assert world.said() == ("True", "AllProtected")
    assert world.tenant.writes == []
    assert world.events() == ["Normal Serving"]


def test_gather_and_plan_publish_nothing() -> None:
    world = World()
    world.settle()
    found = world.drain_store.roster(TENANT)
    assert found is not None
    world.start()
    with world.watches.reading(KEY) as reader:
        view = world.pairs.gather(cast(Reader, reader), found.config)
    world.pairs.plan(view)
    assert (world.drain_store.roster(TENANT), world.woken) == (None, set())
    world.pairs.publish(view)
    assert (world.drain_store.roster(TENANT), world.woken) == (view.roster, {PLACE})


def asked_of(world: World, config: Any) -> set[tuple[str, str]]:
    """The kinds that a pass asks for, whether or not it ends."""
    with world.watches.reading(KEY) as reader, suppress(NotSynced):
        world.pairs.gather(cast(Reader, reader), config)
    return world.watches.asked


@pytest.mark.parametrize("kind", [NODES, DEPLOYMENTS, CONFIGMAPS])
def test_a_first_pass_asks_for_all_caches_whichever_of_them_is_not_synced_yet(kind: Resource) -> None:
    world = World()
    world.settle()
    found = world.drain_store.roster(TENANT)
    assert found is not None
    world.start()
    everything = asked_of(world, found.config)
    world.watches.unread[INFRA, kind.plural] = NotSynced(INFRA, Selection(kind))
    assert everything - asked_of(world, found.config) == set()


def test_the_pod_that_was_there_before_its_entry_is_written_down_as_idle() -> None:
    world = World().protected()
    live = world.infra.shown(CONFIGMAPS, NAMESPACE, names.OVNKUBE_NODE_ENTRIES)
    assert live["metadata"]["annotations"][names.IDLE_PODS_ANNOTATION] == f'{{"{DPU}":"p0"}}'
    world.run_pod("p1", "container-of-b1")
    world.settle()
    live = world.infra.shown(CONFIGMAPS, NAMESPACE, names.OVNKUBE_NODE_ENTRIES)
    assert names.IDLE_PODS_ANNOTATION not in live["metadata"]["annotations"]


def test_a_pair_that_is_protected_costs_no_write_also_of_a_new_process() -> None:
    world = World().protected()
    world.settle()
    world.start()
    world.settle()
    assert world.writes() == []


def test_a_cordoned_dpu_does_not_come_to_serve_before_it_is_schedulable() -> None:
    world = World()
    world.cordon()
    world.run_blocker()
    world.settle()
    assert (world.budget().is_open, world.budget().serves, world.entries()) == (True, "", {})
    world.cordon(False)
    world.settle()
    assert (world.budget().is_open, world.entries()) == (False, {DPU: f"TENANT_K8S_NODE={HOST}\n"})


def test_a_budget_of_somebody_else_is_left_alone_and_named() -> None:
    world = World()
    theirs = {"apiVersion": "policy/v1", "metadata": {"name": names.blocker_name(DPU), "namespace": OPERATOR}}
    world.infra.put(names.PODDISRUPTIONBUDGETS, {**theirs, "spec": {"maxUnavailable": 1}})
    world.run_blocker()
    world.settle()
    assert world.said() == ("False", "NotOurs")
    assert world.entries() == {}
    assert [each for each in world.acts() if "serviceaccounts" not in each] == []


def test_a_host_that_a_dpu_is_moved_from_is_kept_until_it_is_drained() -> None:
    world = World().protected()
    world.run_pod("p1", "container-of-b1")
    world.tenant.put(NODES, {"metadata": {"name": "host-2"}, "spec": {}})
    world.pair_up(**{DPU: "host-2"})
    world.settle()
    assert world.said() == ("False", "RemovalPending")
    assert (world.budget().serves, world.entries()) == (HOST, {DPU: f"TENANT_K8S_NODE={HOST}\n"})


def test_a_mistake_is_named_and_changes_nothing_for_a_pair_that_serves() -> None:
    world = World().protected()
    world.pair_up(**{DPU: "$(id)"})
    world.settle()
    assert world.said() == ("False", "PairingConflict")
    assert (world.budget().is_open, world.entries()) == (False, {DPU: f"TENANT_K8S_NODE={HOST}\n"})
    assert world.acts() == []
    world.pair_up(**{DPU: HOST})
    world.settle()
    assert world.said() == ("True", "AllProtected")


def of_tenant(uid: str | None) -> World:
    """Its host is served by another DpuClusterConfig of that tenant; its own says which tenant it has, if any."""
    world = World()
    live = world.infra.shown(names.DPUCLUSTERCONFIGS, NAMESPACE, "sample")
    world.infra.put(names.DPUCLUSTERCONFIGS, {**live, "status": {**live["status"], "tenantUID": uid}})
    theirs = {"matchLabels": {"rack": "two"}}
    other = {**config("other", "dpu-two", poolName="two", nodeSelector=theirs), "status": {"tenantUID": TENANT_UID}}
    world.infra.put(NODES, node("x1", {**DPU_LABELS, "rack": "two"}))
    older = "2025-01-01T00:00:00Z"
    other["metadata"] |= {"uid": "other", "finalizers": [names.FINALIZER], "creationTimestamp": older}
    world.infra.put(names.DPUCLUSTERCONFIGS, other)
    metadata = {"name": names.OVNKUBE_NODE_ENTRIES, "namespace": "dpu-two"}
    world.infra.put(CONFIGMAPS, {"metadata": metadata, "data": {"x1": f"TENANT_K8S_NODE={HOST}\n"}})
    world.woken.clear()
    world.run_blocker()
    world.settle()
    return world


def test_a_host_that_another_config_of_the_tenant_serves_is_left_to_that_and_named() -> None:
    world = of_tenant(TENANT_UID)
    assert (world.budget().is_open, world.entries()) == (True, {})
    said = condition_of(world.infra.shown(names.DPUCLUSTERCONFIGS, NAMESPACE, "sample"), "PairsHealthy")
    assert said is not None
    assert (said["reason"], said["message"]) == (
        "PairingConflict",
        f"{DPU}: {HOST} is a host of DpuClusterConfig dpu-two/other too; remove its entry there, and it passes on once "
        "it is drained; to exchange hosts, remove both entries, cordon both DPUs, then write the new entries",
    )


def test_no_host_is_taken_before_it_is_known_which_cluster_the_tenant_is_and_so_who_else_has_it() -> None:
    world = of_tenant(None)
    assert (world.budget().is_open, world.budget().serves, world.entries()) == (True, "", {})
    assert world.said() == ("False", "Protecting")
    live = world.infra.shown(names.DPUCLUSTERCONFIGS, NAMESPACE, "sample")
    world.infra.put(names.DPUCLUSTERCONFIGS, {**live, "status": {**live["status"], "tenantUID": TENANT_UID}})
    world.settle()
    assert (world.budget().serves, world.entries(), world.said()) == ("", {}, ("False", "PairingConflict"))


def test_another_card_gets_the_host_only_after_the_one_that_has_it_has_let_go() -> None:
    world = World().protected()
    world.run_pod("p1", "container-of-b1")
    world.infra.put(NODES, dpu_node("b1", name="d2"))
    world.run_blocker("d2")
    world.pair_up(d2=HOST)
    world.settle()
    assert world.entries() == {DPU: f"TENANT_K8S_NODE={HOST}\n"}
    world.cordon()
    world.settle()
    world.drain_host()
    world.settle()
    assert world.entries() == {}
    world.cordon(False)
    world.settle()
    assert world.infra.shown(PODS, NAMESPACE, f"ovnkube-node-{DPU}") is None
    assert (world.budget().is_open, world.budget().serves) == (True, "")
    assert world.entries() == {"d2": f"TENANT_K8S_NODE={HOST}\n"}


def test_a_pod_that_has_not_read_its_entry_proves_nothing() -> None:
    world = World().protected()
    world.run_pod("p1", "container-of-b1")
    world.infra.put(NODES, dpu_node("b1", name="d2"))
    world.run_blocker("d2")
    world.run_pod("p2", "container-of-d2", "d2")
    world.pair_up(d2=HOST)
    world.settle()
    world.cordon()
    world.settle()
    world.drain_host()
    world.settle()
    world.cordon(False)
    world.settle()
    assert world.entries() == {"d2": f"TENANT_K8S_NODE={HOST}\n"}
    assert world.maintenance() is not None
    world.run_pod("p3", "container-of-d2-too", "d2")
    world.settle()
    assert world.maintenance() is None


def test_the_entries_are_taken_as_the_last_write_left_them_before_the_caches_show_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World().protected()

    def newest(cluster: str, resource: Resource, seen: Any) -> Any:
        assert (cluster, resource) == (INFRA, CONFIGMAPS)
        notes = {names.IDLE_PODS_ANNOTATION: render_idle_pods({DPU: "a pod that has gone"})}
        return {**seen, "metadata": {**seen["metadata"], "annotations": notes}}

    monkeypatch.setattr(world.pairs._gatherer, "_newest", newest)
    world.pairs.reconcile(KEY, Stop())
    assert world.acts() == [f"infra patch {CONFIGMAPS.plural}/{names.OVNKUBE_NODE_ENTRIES}"]


@pytest.mark.parametrize(
    ("error", "pause"),
    [
        (Conflict(409, "Conflict", "another writer was first"), CONFLICT_PAUSE_SECONDS),
        (ApiError(500, "InternalError", "etcd"), FIRST_PAUSE_SECONDS),
        (Forbidden(403, "Forbidden", "no"), FIRST_PAUSE_SECONDS),  # to report it; it is tried again later
    ],
)
def test_entries_that_meet_another_writer_are_written_again_at_once(error: ApiError, pause: float) -> None:
    world = World()
    world.settle()
    world.run_blocker()
    world.hosts.reconcile(PLACE, Stop())
    world.infra.refuses[f"patch {CONFIGMAPS.plural}"] = error
    assert world.pairs.reconcile(KEY, Stop()) == pytest.approx(pause)


def test_an_entry_for_a_node_that_is_not_granted_closes_no_budget_and_is_told() -> None:
    world = World().protected()
    world.infra.put(NODES, node("master-0", {"node-role.kubernetes.io/master": "", **DPU_LABELS}))
    live = world.infra.shown(CONFIGMAPS, NAMESPACE, names.OVNKUBE_NODE_ENTRIES)
    data = {**live["data"], "master-0": f"TENANT_K8S_NODE={HOST}\n", "no-such": "TENANT_K8S_NODE=host-9\n"}
    world.infra.put(CONFIGMAPS, {**live, "data": data})
    world.settle()
    for name in ("master-0", "no-such"):
        assert world.infra.shown(names.PODDISRUPTIONBUDGETS, OPERATOR, names.blocker_name(name)) is None
        assert world.infra.shown(DEPLOYMENTS, OPERATOR, names.blocker_name(name)) is None
    said = condition_of(world.infra.shown(names.DPUCLUSTERCONFIGS, NAMESPACE, "sample"), "PairsHealthy")
    assert said is not None
    assert '"master-0": its entry in ConfigMap ovnkube-node-entries counts for nothing' in said["message"]
    assert (world.budget().is_open, world.budget().serves) == (False, HOST)


@pytest.mark.parametrize("lost", [names.DPU_WORKER_LABEL, names.DPU_NODE_LABEL])
def test_a_dpu_that_loses_its_grant_serves_until_its_host_is_drained(lost: str) -> None:
    world = World().protected()
    world.run_pod("p1", "container-of-b1")
    world.label({name: "" for name in DPU_LABELS if name != lost})
    world.settle()
    assert (world.budget().is_open, world.budget().serves) == (False, HOST)
    assert world.entries() == {DPU: f"TENANT_K8S_NODE={HOST}\n"}
    assert world.said() == ("False", "RemovalPending")
    world.cordon()
    world.settle()
    world.drain_host()
    world.settle()
    assert world.entries() == {}


def test_a_namespace_may_narrow_what_its_configs_have() -> None:
    world = World()
    namespace = {"metadata": {"name": NAMESPACE, "annotations": {names.NODE_GRANT_ANNOTATION: "rack=two"}}}
    world.infra.put(NAMESPACES, namespace)
    world.run_blocker()
    world.settle()
    assert world.entries() == {}
    assert world.infra.shown(names.PODDISRUPTIONBUDGETS, OPERATOR, names.blocker_name(DPU)) is None
    assert world.said() == ("False", "PairingConflict")
    world.infra.put(NAMESPACES, {"metadata": {"name": NAMESPACE}})
    world.settle()
    world.run_blocker()
    world.settle()
    assert world.entries() == {DPU: f"TENANT_K8S_NODE={HOST}\n"}
