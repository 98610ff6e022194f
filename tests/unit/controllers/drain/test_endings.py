"""The end of a DpuClusterConfig over scripted clusters: hosts are led out before they lose their network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from dpunetop.base.stop import Stop
from dpunetop.domain import names
from dpunetop.domain.clusterconfig.access import Access
from dpunetop.kube.errors import Forbidden
from dpunetop.kube.keys import (
    CONFIGMAPS,
    CUSTOMRESOURCEDEFINITIONS,
    DAEMONSETS,
    DEPLOYMENTS,
    NAMESPACES,
    NODES,
    PODS,
    SERVICEACCOUNTS,
    crd_name,
)
from dpunetop.kube.requests import Selection
from dpunetop.runtime.reading import NotEngaged, NotSynced, Reader
from support.objects import NAMESPACE, condition, config
from support.scripteddrain import DPU, DRAINED, HOST, KEY, OPERATOR, OWNER, TENANT, TENANT_UID, World, dpu_node

OUT_OF_REACH = condition("TenantReachable", "False", "Unreachable", "no answer")


def serving() -> World:
    """A pair whose pod serves its host."""
    world = World().protected()
    world.run_pod("p1", "container-of-b1")
    world.settle()
    return world


def notes(world: World) -> dict[str, str]:
    """Our marks on the host."""
    return {key: text for key, text in world.host()["metadata"].get("annotations", {}).items() if "dpu.open" in key}


def is_cordoned(world: World) -> bool:
    return bool(world.host()["spec"].get("unschedulable"))


def led_out(world: World) -> World:
    """The host has been drained and let go."""
    world.drain_host()
    world.settle()
    assert world.maintenance() is None
    return world


def test_rights_are_reviewed_before_anything_is_gathered_and_only_while_the_config_ends() -> None:
    world, asked = World().protected(), list[str]()
    world.pairs.installation = replace(world.pairs.installation, ask_rights=lambda found, *_: asked.extend(found))
    world.pairs.reconcile(KEY, Stop())
    assert asked == []
    world.delete_config()
    world.pairs.reconcile(KEY, Stop())
    assert asked == [NAMESPACE]
    roster = world.drain_store.roster(TENANT)
    assert roster is not None
    with world.watches.reading(KEY) as reader:
        world.pairs.gather(cast(Reader, reader), roster.config)
    assert asked == [NAMESPACE]
    world.infra.drop(NAMESPACES, "", NAMESPACE)
    world.pairs.reconcile(KEY, Stop())
    assert asked == [NAMESPACE]


def test_a_serving_host_is_drained_before_its_dpu_lets_it_go_and_left_cordoned_with_a_mark() -> None:
    world = serving()
    world.delete_config()
    world.settle()
    assert world.maintenance()["spec"]["nodeName"] == HOST
    assert (world.entries()[DPU], world.budget().is_open) == (f"TENANT_K8S_NODE={HOST}\n", False)
    assert len(world.infra.listed(Selection(PODS, NAMESPACE))) == 1
    assert world.said() == ("False", "LeadingOut")
    assert f"{HOST}: {HOST} is being drained" in world.message()
    led_out(world)
    assert world.left() == []
    assert world.infra.listed(Selection(PODS, NAMESPACE)) == []
    assert (is_cordoned(world), notes(world)) == (True, {names.LEFT_BY_ANNOTATION: OWNER})
    assert next(each for each in world.told if each.reason == "HostLetGo").note.startswith(f"{DPU} no longer serves")
    assert [each.reason for each in world.told if each.resource is names.DPUCLUSTERCONFIGS][-1] == "HostLeftCordoned"


def test_nothing_is_opened_for_a_cordon_while_a_host_is_led_out() -> None:
    world = serving()
    world.cordon()
    world.delete_config()
    world.settle()
    world.drain_host()
    opened = []
    while world.left():
        before = world.writes()
        world.settle()
        opened += [world.budget()] if world.infra.listed(Selection(names.PODDISRUPTIONBUDGETS)) else []
        assert world.writes() != before
    assert [each for each in opened if each.is_open and each.serves] == []


def test_an_open_drain_ends_in_the_host_being_led_out() -> None:
    world = serving()
    world.cordon()
    world.settle()
    world.drain_host()
    world.settle()
    assert world.budget().is_open
    world.delete_config()
    world.settle()
    assert world.maintenance() is None
    assert (world.left(), notes(world)) == ([], {names.LEFT_BY_ANNOTATION: OWNER})


def anew(world: World) -> World:
    """A DpuClusterConfig of that name is made once more, and its pair protected."""
    live = world.infra.shown(names.DPUCLUSTERCONFIGS, NAMESPACE, "sample")
    metadata = {**live["metadata"], "uid": "another", "annotations": {}}
    metadata.pop("deletionTimestamp")
    status = {**config()["status"], "tenantUID": TENANT_UID}
    world.infra.put(names.DPUCLUSTERCONFIGS, {**live, "metadata": metadata, "status": status})
    world.start()
    world.settle()
    world.run_blocker()
    world.settle()
    return world


def test_a_recreated_dpuclusterconfig_uncordons_the_host_on_proof() -> None:
    world = serving()
    world.delete_config()
    world.settle()
    anew(led_out(world))
    assert world.entries() == {DPU: f"TENANT_K8S_NODE={HOST}\n"}
    assert is_cordoned(world)
    assert world.events()[-1] == "Normal ProofMissing"
    world.run_pod("p2", "container-of-the-new-pod")
    world.settle()
    assert (is_cordoned(world), notes(world)) == (False, {})
    assert [each.reason for each in world.told if each.resource is names.DPUCLUSTERCONFIGS][-1] != "HostLeftCordoned"
    assert "HostSchedulable" in [each.reason for each in world.told]


def test_a_cordon_of_a_person_is_not_taken_back() -> None:
    world = serving()
    world.change(world.tenant, NODES, "", HOST, spec={"unschedulable": True})
    world.settle()
    world.delete_config()
    world.settle()
    led_out(world)
    assert (is_cordoned(world), notes(world)) == (True, {})


def test_a_cordon_of_a_person_is_not_taken_back_when_the_host_has_lost_its_mark() -> None:
    """Rule 10: what the maintenance carries counts then."""
    world = serving()
    world.change(world.tenant, NODES, "", HOST, spec={"unschedulable": True})
    world.settle()
    world.delete_config()
    world.settle()
    assert notes(world) == {names.CORDONED_BEFORE_ANNOTATION: "yes"}
    world.change(world.tenant, NODES, "", HOST, metadata={**world.host()["metadata"], "annotations": {}})
    led_out(world)
    assert names.LEFT_BY_ANNOTATION not in notes(world)
    assert is_cordoned(world)


def test_a_host_that_was_unpaired_is_left_with_the_mark_too_and_taken_back_when_it_is_paired_again() -> None:
    world = serving()
    world.pair_up()
    world.settle()
    assert (world.maintenance(), world.said()) == (None, ("False", "RemovalPending"))
    world.cordon()
    world.settle()
    world.drain_host()
    world.settle()
    world.cordon(False)
    world.settle()
    assert (is_cordoned(world), notes(world)) == (True, {names.LEFT_BY_ANNOTATION: OWNER})
    world.pair_up(**{DPU: HOST})
    world.settle()
    world.run_pod("p2", "container-of-the-new-pod")
    world.settle()
    assert (is_cordoned(world), notes(world)) == (False, {})


def uninstalled(world: World) -> None:
    world.tenant.drop(CUSTOMRESOURCEDEFINITIONS, "", crd_name(names.NODEMAINTENANCES))


def away(world: World) -> None:
    world.watches.silent = {TENANT: NotEngaged(TENANT)}


def foreign(world: World) -> None:
    somebodys = {"metadata": {"name": "theirs"}, "spec": {"nodeName": HOST}, "status": {"phase": "Running"}}
    world.tenant.put(names.NODEMAINTENANCES, somebodys)


HELD: dict[str, tuple[Any, str, str]] = {
    "the maintenance operator is missing": (uninstalled, "NodeMaintenanceNotServed", "no node maintenance operator"),
    "the tenant is gone": (away, "TenantUnreachable", "the tenant cannot be reached: no answer"),
    "somebody else maintains the host": (foreign, "ForeignMaintenance", "the maintenance theirs of host-1"),
}


@pytest.mark.parametrize(("happens", "reason", "words"), HELD.values(), ids=HELD.keys())
def test_what_keeps_a_host_from_being_drained_is_waited_for_and_named_until_the_end_is_forced(
    happens: Any, reason: str, words: str
) -> None:
    world = serving()
    happens(world)
    world.delete_config()
    world.say(OUT_OF_REACH, **world.infra.shown(names.DPUCLUSTERCONFIGS, NAMESPACE, "sample")["metadata"])
    world.settle()
    assert (world.said(), len(world.entries())) == (("False", reason), 1)
    assert words in world.message()
    assert f"(DPU {DPU})" in world.message()
    world.delete_config(force_delete="yes")
    world.infra.drop(PODS, NAMESPACE, f"ovnkube-node-{DPU}")  # with its DaemonSet
    world.settle()
    assert world.left() == []
    told = [each for each in world.told if each.resource is NODES and each.reason == "HostCutOff"]
    assert [(each.type, f"no longer serves host {HOST}" in each.note) for each in told] == [("Warning", True)]


def test_a_host_that_somebody_uncordons_meanwhile_is_drained_again_once_it_is_cordoned() -> None:
    world = serving()
    world.delete_config()
    world.settle()
    world.change(world.tenant, names.NODEMAINTENANCES, "", names.maintenance_name(HOST), status={"phase": "Succeeded"})
    world.change(world.tenant, NODES, "", HOST, spec={**DRAINED, "unschedulable": False})
    world.settle()
    assert world.maintenance() is None
    world.change(world.tenant, NODES, "", HOST, spec={})
    world.settle()
    assert (world.said(), len(world.entries())) == (("False", "Aborted"), 1)
    assert f"cordon it to go on (DPU {DPU})" in world.message()
    world.change(world.tenant, NODES, "", HOST, spec={"unschedulable": True})
    world.settle()
    assert world.maintenance() is not None


def many(**drain: Any) -> World:
    """Three pairs that serve; `d3`'s host is down."""
    world = World(**({"drain": drain} if drain else {}))
    hosts = {f"d{n}": f"host-{n}" for n in (1, 2, 3)}
    for dpu, host in hosts.items():
        world.infra.put(NODES, dpu_node("b1", name=dpu))
        ready = [{"type": "Ready", "status": "False" if dpu == "d3" else "True"}]
        world.tenant.put(NODES, {"metadata": {"name": host}, "spec": {}, "status": {"conditions": ready}})
    world.pair_up(**hosts)
    world.settle()
    for dpu in hosts:
        world.run_blocker(dpu)
    world.settle()
    for dpu in hosts:
        world.run_pod(f"p-{dpu}", f"container-of-{dpu}", dpu)
    world.settle()
    assert len(world.entries()) == 3
    return world


def maintained(world: World) -> list[str]:
    return sorted(each["spec"]["nodeName"] for each in world.tenant.listed(Selection(names.NODEMAINTENANCES)))


def lead_out(world: World, host: str) -> None:
    """The maintenance operator drains one host, and sees its maintenance go."""
    node = world.tenant.shown(NODES, "", host)
    world.tenant.put(NODES, {**node, "spec": DRAINED})
    live = world.tenant.shown(names.NODEMAINTENANCES, "", names.maintenance_name(host))
    world.tenant.put(names.NODEMAINTENANCES, {**live, "status": {"phase": "Succeeded"}})
    world.settle()


def test_hosts_are_led_out_one_after_the_other_and_none_that_is_down_holds_the_rest_up() -> None:
    world = many()
    world.delete_config()
    world.settle()
    seen = []
    while now := maintained(world):
        seen.append(now)
        lead_out(world, now[0])
    assert seen == [["host-1"], ["host-2"], ["host-3"]]
    assert world.left() == []
    assert not [each for each in world.told if each.resource is NODES and each.type == "Warning"]


def test_more_hosts_go_at_once_where_the_limit_says_so_and_those_led_out_take_no_turn() -> None:
    world = many(maxUnavailable=2)
    world.delete_config()
    world.settle()
    assert maintained(world) == ["host-1", "host-3"]  # the one that is down takes a turn, and needs none
    lead_out(world, "host-1")
    assert maintained(world) == ["host-2", "host-3"]
    lead_out(world, "host-3")
    lead_out(world, "host-2")
    assert world.left() == []


# --- what no operator can prevent -------------------------------------------------------------------------------------


def refuse(world: World) -> None:
    """Nothing in the namespace may be read any more."""
    for resource in (CONFIGMAPS, DAEMONSETS):
        err = Forbidden(403, "Forbidden", f"cannot list {resource.plural}")
        world.watches.unread["infra", resource.plural] = NotSynced("infra", Selection(resource, NAMESPACE), err)
    world.infra.refuses[CONFIGMAPS.plural] = Forbidden(403, "Forbidden", "cannot patch configmaps")


def taken_down(world: World) -> None:
    """The namespace is being deleted, with all that is in it."""
    live = world.infra.shown(NAMESPACES, "", NAMESPACE)
    world.infra.put(NAMESPACES, {**live, "metadata": {**live["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}})
    refuse(world)
    world.has_rights = False


def test_no_closed_budget_outlives_a_namespace_and_the_host_that_is_cut_off_is_named() -> None:
    world = serving()
    taken_down(world)
    world.delete_config()
    world.settle()
    assert world.infra.listed(Selection(names.PODDISRUPTIONBUDGETS)) == []
    assert world.infra.listed(Selection(DEPLOYMENTS)) == []
    (told,) = [each for each in world.told if each.reason == "HostCutOff"]
    assert (told.resource, told.regarding["metadata"]["name"], told.type) == (NODES, DPU, "Warning")
    assert f"no longer serves host {HOST}" in told.note


def test_a_namespace_goes_without_the_tenant_too() -> None:
    world = serving()
    taken_down(world)
    away(world)
    world.delete_config()
    world.say(OUT_OF_REACH, **world.infra.shown(names.DPUCLUSTERCONFIGS, NAMESPACE, "sample")["metadata"])
    world.settle()
    assert world.infra.listed(Selection(names.PODDISRUPTIONBUDGETS)) == []


def test_a_drain_that_runs_when_the_namespace_goes_leaves_no_maintenance_and_no_budget() -> None:
    world = serving()
    world.cordon()
    world.settle()
    world.drain_host()
    world.settle()
    assert world.budget().is_open
    taken_down(world)
    world.delete_config()
    world.settle()
    assert world.infra.listed(Selection(names.PODDISRUPTIONBUDGETS)) == []
    assert world.maintenance() is None


def test_without_rights_in_the_namespace_hosts_are_led_out_and_the_rest_is_left() -> None:
    world = serving()
    refuse(world)
    world.has_rights = False
    world.delete_config()
    world.settle()
    assert (maintained(world), world.budget().is_open) == ([HOST], False)
    world.drain_host()
    world.settle()
    assert world.infra.listed(Selection(names.PODDISRUPTIONBUDGETS)) == []
    assert world.maintenance() is None
    assert notes(world) == {names.LEFT_BY_ANNOTATION: OWNER}
    assert len(world.infra.listed(Selection(PODS, NAMESPACE))) == 1


def test_without_rights_in_the_namespace_too_a_dpu_is_held_by_whoever_holds_it() -> None:
    world = serving()
    live = world.infra.shown(NODES, "", DPU)
    held = {**live["metadata"], "annotations": {names.DRAIN_ANNOTATION: "hold"}}
    world.infra.put(NODES, {**live, "metadata": held})
    refuse(world)
    world.has_rights = False
    world.delete_config()
    world.settle()
    world.drain_host()
    world.settle()
    assert (world.budget().serves, world.budget().is_open) == (HOST, False)
    assert maintained(world) == [HOST]
    world.infra.put(NODES, live)
    world.settle()
    assert world.maintenance() is None


def test_force_needs_no_rights_in_the_namespace() -> None:
    world = serving()
    refuse(world)
    world.has_rights = False
    world.delete_config(force_delete="yes")
    world.settle()
    assert world.infra.listed(Selection(names.PODDISRUPTIONBUDGETS)) == []
    assert world.maintenance() is None


def test_whoever_made_the_other_rights_is_not_asked_while_a_config_lives() -> None:
    world = serving()
    world.has_rights = False
    world.settle()
    roster = world.drain_store.roster(TENANT)
    assert roster is not None
    assert roster.access is Access.GIVEN
    assert len(world.entries()) == 1


# --- where there is no pod --------------------------------------------------------------------------------------------


def test_at_the_end_entry_budget_and_blocker_go_in_this_order() -> None:
    world = World().protected()
    world.infra.drop(PODS, NAMESPACE, f"ovnkube-node-{DPU}")
    world.delete_config(force_delete="yes")
    world.settle()
    assert world.left() == []
    kinds = [each.split()[2].partition("/")[0] for each in world.acts()]
    budgets, deployments = names.PODDISRUPTIONBUDGETS.plural, DEPLOYMENTS.plural
    assert kinds[:2] == [budgets, CONFIGMAPS.plural]  # that it is about to go, and the entry
    assert kinds[-2:] == [budgets, deployments]
    assert world.tenant.writes == []


def test_a_pod_that_is_away_for_a_moment_is_no_reason_to_cut_its_host_off() -> None:
    world = serving()
    world.infra.drop(PODS, NAMESPACE, f"ovnkube-node-{DPU}")
    world.delete_config()
    world.settle()
    assert (maintained(world), list(world.entries())) == ([HOST], [DPU])


def test_a_dpu_that_has_yet_to_serve_has_no_host_that_is_to_be_drained() -> None:
    world = World()
    world.settle()
    assert (world.entries(), world.budget().serves) == ({}, HOST)
    world.delete_config()
    world.settle()
    world.clock.step(1)
    world.settle()  # its pod is gone
    assert (world.left(), world.tenant.writes) == ([], [])


def test_the_end_comes_also_after_a_neighbour_whose_end_took_the_account_of_all_blockers() -> None:
    world = World().protected()
    world.infra.drop(PODS, NAMESPACE, f"ovnkube-node-{DPU}")
    world.infra.drop(SERVICEACCOUNTS, OPERATOR, names.DRAIN_BLOCKER)
    world.delete_config(force_delete="yes")
    world.settle()
    assert world.left() == []


def test_by_force_a_pod_that_serves_is_waited_for_and_nothing_else() -> None:
    world = serving()
    world.delete_config(force_delete="yes")
    world.settle()
    assert DPU in world.left()
    assert not world.budget().is_open
    world.infra.drop(PODS, NAMESPACE, f"ovnkube-node-{DPU}")
    world.settle()
    assert (world.left(), world.maintenance()) == ([], None)
