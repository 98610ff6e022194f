"""What a sweep takes away, what it leaves, and in which order: clusters in, one plan out."""

from __future__ import annotations

from typing import Any

import pytest

from dpunetop.domain import names
from dpunetop.domain.credential.account import ACCOUNTS
from dpunetop.domain.names import owner_hash
from dpunetop.domain.ovnkube.copies import SOURCES
from dpunetop.domain.sweep import (
    INFRA_NAMES,
    TENANT_NAMES,
    Ending,
    Found,
    SweepChoice,
    SweepPlan,
    SweptTenant,
    plan_sweep,
)
from dpunetop.kube.keys import (
    CLUSTERROLEBINDINGS,
    CONFIGMAPS,
    DAEMONSETS,
    DEPLOYMENTS,
    NODES,
    ROLEBINDINGS,
    SECRETS,
    SERVICEACCOUNTS,
    Resource,
)
from dpunetop.kube.meta import new_object
from dpunetop.kube.plan import Delete, Fence, Patch
from support.objects import config, node

INFRA_UID = "uid-of-infra"
SYSTEM = "openshift-dpu-network-operator"
LIVING = owner_hash(INFRA_UID, "dpu-one", "sample")
GONE = owner_hash(INFRA_UID, "dpu-two", "sample")
STRANGER = owner_hash("uid-of-another", "dpu-two", "sample")
FINISH = SweepChoice(Ending.FINISH)

Obj = dict[str, Any]
Ours = tuple[Resource, Obj]


def ours(resource: Resource, name: str, owner: str = GONE, namespace: str = SYSTEM, **notes: str) -> Ours:
    obj = new_object(resource, namespace, name)
    obj["metadata"] |= {"uid": f"uid-of-{name}", "resourceVersion": "7", "labels": {names.OWNER_LABEL: owner}}
    obj["metadata"]["annotations"] = notes
    return resource, obj


def budget(dpu: str = "d1", owner: str = GONE, **notes: str) -> Ours:
    return ours(names.PODDISRUPTIONBUDGETS, names.blocker_name(dpu), owner, **notes)


def everything(owner: str = GONE) -> tuple[Ours, ...]:
    """One of all that the operator makes in infra, the other way round."""
    return (
        pool(owner),
        machine_config(owner),
        ours(names.DPUNODES, "d1", owner),
        ours(SERVICEACCOUNTS, names.OVNKUBE_SERVICE_ACCOUNT, owner),
        ours(SECRETS, names.TENANT_CREDENTIAL, owner),
        ours(CONFIGMAPS, names.OVNKUBE_CONFIG, owner),
        ours(DAEMONSETS, names.OVNKUBE_NODE, owner),
        ours(DEPLOYMENTS, names.blocker_name("d1"), owner),
        budget("d1", owner),
    )


def pool(owner: str = GONE, name: str = "dpu") -> Ours:
    resource, obj = ours(names.MACHINECONFIGPOOLS, name, owner)
    return resource, {**obj, "spec": {"nodeSelector": {"matchLabels": {"node-role.kubernetes.io/dpu-worker": ""}}}}


def machine_config(owner: str = GONE, name: str = "dpu") -> Ours:
    return ours(names.MACHINECONFIGS, names.machine_config_name(name), owner)


def terminating(obj: Obj) -> Obj:
    return {**obj, "metadata": {**obj["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}


def found(
    *left: Ours, configs: tuple[Obj, ...] = (), nodes: tuple[Obj, ...] = (), tenant: SweptTenant | None = None
) -> Found:
    pools = tuple(obj for resource, obj in left if resource == names.MACHINECONFIGPOOLS)
    return Found(INFRA_UID, configs, tuple(left), pools, nodes, tenant)


def gone(said: SweepPlan) -> list[str]:
    """Kinds of what is deleted, in order."""
    return [act.step.resource.kind for act in said.acts if isinstance(act.step, Delete)]


# Infra.


def test_all_that_is_left_goes_and_the_budget_goes_first() -> None:
    said = plan_sweep(found(*everything()), SweepChoice())
    assert gone(said) == [each.kind for each in INFRA_NAMES]
    assert gone(said)[0] == "PodDisruptionBudget"
    assert (said.later, said.kept, said.swept) == ((), (), frozenset({GONE}))


def test_what_belongs_to_a_living_config_stays() -> None:
    assert plan_sweep(found(*everything(LIVING), configs=(config(),)), FINISH).acts == ()


CALLED_BY_OTHERS = (names.MACHINECONFIGPOOLS, names.DPUNODES)
"""A pool is called as `spec` says, a DpuNode as its Node."""


@pytest.mark.parametrize("resource", [each for each in INFRA_NAMES if each not in CALLED_BY_OTHERS], ids=str)
def test_a_name_that_is_not_ours_protects_what_has_our_label(resource: Resource) -> None:
    assert plan_sweep(found(ours(resource, "somebodys")), SweepChoice()).acts == ()


def test_every_copy_and_every_account_that_we_make_has_a_name_that_is_swept() -> None:
    assert all(INFRA_NAMES[each.resource](each.name) for each in SOURCES)
    assert all(swept(account) for swept in TENANT_NAMES.values() for account in ACCOUNTS.values())


def test_the_account_of_all_blockers_stays_while_any_config_lives() -> None:
    account = ours(SERVICEACCOUNTS, names.DRAIN_BLOCKER)
    assert plan_sweep(found(account, configs=(config(),)), SweepChoice()).acts == ()
    assert gone(plan_sweep(found(account), SweepChoice())) == ["ServiceAccount"]


def test_hosts_that_lose_their_network_are_named() -> None:
    left = (budget("d1", **{names.SERVES_ANNOTATION: "w1"}), ours(DAEMONSETS, names.OVNKUBE_NODE))
    texts = [str(act) for act in plan_sweep(found(*left), SweepChoice()).acts]
    assert texts[1] == f"delete DaemonSet {SYSTEM}/ovnkube-node, which cuts off w1"


def test_what_is_deleted_and_held_by_something_is_waited_for() -> None:
    resource, obj = budget()
    said = plan_sweep(found((resource, terminating(obj))), SweepChoice())
    assert said.acts == ()
    assert "look at its finalizers" in said.later[0]


def test_a_pool_stays_while_a_node_is_in_it_with_the_command_that_takes_it_out() -> None:
    said = plan_sweep(found(pool(), machine_config(), nodes=(node("d1"),)), SweepChoice())
    assert said.acts == ()
    assert len(said.kept) == 2
    assert all("kubectl label node d1 node-role.kubernetes.io/dpu-worker-" in words for words in said.kept)


def test_a_pool_stays_while_a_node_runs_its_configuration() -> None:
    runs = node("d1", {}, **{names.CURRENT_CONFIG_ANNOTATION: "rendered-dpu-0a1b"})
    assert plan_sweep(found(pool(), machine_config(), nodes=(runs,)), SweepChoice()).acts == ()


def test_a_machine_config_whose_pool_is_gone_stays_while_a_node_runs_it() -> None:
    runs = node("d1", {}, **{names.DESIRED_CONFIG_ANNOTATION: "rendered-dpu-0a1b"})
    assert plan_sweep(found(machine_config(), nodes=(runs,)), SweepChoice()).acts == ()
    assert gone(plan_sweep(found(machine_config()), SweepChoice())) == ["MachineConfig"]


def test_a_pool_that_a_living_config_names_stays() -> None:
    said = plan_sweep(found(pool(), machine_config(), configs=(config(),)), SweepChoice())
    assert (said.acts, said.kept) == ((), ())


# DpuClusterConfigs that are being deleted.


def test_a_config_that_is_deleted_keeps_what_it_has_and_both_ways_out_are_named() -> None:
    said = plan_sweep(found(*everything(LIVING), configs=(terminating(config()),)), SweepChoice())
    assert said.acts == ()
    assert "install the operator again" in said.kept[0]
    assert "--terminating" in said.kept[0]


def test_a_config_that_is_deleted_loses_our_finalizer_when_all_else_is_gone() -> None:
    ending = terminating(config())
    ending["metadata"]["finalizers"] = ["somebody.else/first", names.FINALIZER]
    first = plan_sweep(found(*everything(LIVING), configs=(ending,)), FINISH)
    assert all(isinstance(act.step, Delete) for act in first.acts)
    assert first.later == ("the finalizer of DpuClusterConfig dpu-one/sample goes after that",)
    (last,) = plan_sweep(found(configs=(ending,)), FINISH).acts
    assert isinstance(last.step, Patch)
    assert last.step.patch == {"metadata": {"finalizers": ["somebody.else/first"]}}


def test_our_finalizer_stays_while_something_is_still_going() -> None:
    resource, obj = budget("d1", LIVING)
    said = plan_sweep(found((resource, terminating(obj)), configs=(terminating(config()),)), FINISH)
    assert said.acts == ()
    assert said.later[-1] == "the finalizer of DpuClusterConfig dpu-one/sample goes after that"


def test_no_finalizer_of_a_config_that_is_not_deleted_goes() -> None:
    assert plan_sweep(found(configs=(config(),)), FINISH) == SweepPlan()


def test_what_keeps_a_pool_does_not_keep_the_finalizer() -> None:
    said = plan_sweep(found(pool(LIVING), configs=(terminating(config()),), nodes=(node("d1"),)), FINISH)
    assert [act.step.resource for act in said.acts] == [names.DPUCLUSTERCONFIGS]
    assert said.kept


# The tenant.


def host(notes: dict[str, str], *, cordoned: bool = False, tainted: bool = False) -> Obj:
    obj = node("w1", {}, **notes)
    obj["metadata"]["resourceVersion"] = "9"
    obj["spec"] = {"unschedulable": True} if cordoned else {}
    if tainted:
        obj["spec"]["taints"] = [{"key": names.MAINTENANCE_TAINT, "effect": "NoSchedule"}]
    return obj


def upkeep(owner: str = GONE, **notes: str) -> Obj:
    _, obj = ours(names.NODEMAINTENANCES, names.maintenance_name("w1"), owner, "", **notes)
    return {**obj, "spec": {"nodeName": "w1"}}


def in_tenant(*left: Ours, upkeeps: tuple[Obj, ...] = (), hosts: tuple[Obj, ...] = ()) -> Found:
    return found(budget(), tenant=SweptTenant(tuple(left), upkeeps, hosts))


def said_of_tenant(*left: Ours, upkeeps: tuple[Obj, ...] = (), hosts: tuple[Obj, ...] = ()) -> SweepPlan:
    """Without the budget that makes the owner known."""
    said = plan_sweep(in_tenant(*left, upkeeps=upkeeps, hosts=hosts), SweepChoice())
    return SweepPlan(said.acts[1:], said.later, said.kept, said.strangers)


BEFORE, LEFT, OUTAGE = names.CORDONED_BEFORE_ANNOTATION, names.LEFT_BY_ANNOTATION, names.UNPLANNED_ANNOTATION


@pytest.mark.parametrize(
    ("notes", "node_notes", "written"),
    [
        pytest.param({BEFORE: "no"}, {BEFORE: "no"}, {BEFORE: "yes", LEFT: GONE}, id="left by us"),
        pytest.param({BEFORE: "no"}, {}, {BEFORE: "yes", LEFT: GONE}, id="left by us, unmarked"),
        pytest.param({BEFORE: "yes"}, {}, {BEFORE: "yes"}, id="cordoned by a person before"),
    ],
)
def test_a_host_in_maintenance_is_marked_to_come_out_cordoned_before_that_goes(
    notes: dict[str, str], node_notes: dict[str, str], written: dict[str, str]
) -> None:
    said = said_of_tenant(upkeeps=(upkeep(**notes),), hosts=(host(node_notes, cordoned=True, tainted=True),))
    (act,) = said.acts
    assert isinstance(act.step, Patch)
    assert act.step.patch == {"metadata": {"annotations": written}}
    assert said.later == ("NodeMaintenance dpu-tenant-w1 goes after that",)


@pytest.mark.parametrize(
    "hosts",
    [
        pytest.param((host({BEFORE: "yes"}, cordoned=True, tainted=True),), id="marked"),
        pytest.param((host({BEFORE: "no"}),), id="made schedulable by a person"),
        pytest.param((), id="without its Node"),
    ],
)
def test_then_the_maintenance_goes_as_it_was_read(hosts: tuple[Obj, ...]) -> None:
    (act,) = said_of_tenant(upkeeps=(upkeep(),), hosts=hosts).acts
    assert isinstance(act.step, Delete)
    assert (act.step.resource, act.step.fence) == (names.NODEMAINTENANCES, Fence.VERSION)


def test_a_maintenance_that_goes_already_is_waited_for_with_its_host() -> None:
    said = said_of_tenant(upkeeps=(terminating(upkeep()),), hosts=(host({BEFORE: "yes", LEFT: GONE}),))
    assert said.acts == ()
    assert said.later == ("NodeMaintenance dpu-tenant-w1 is deleted, and waits for the node maintenance operator",)


def test_a_host_that_was_left_gets_its_cordon_back_once_no_maintenance_is_there() -> None:
    (act,) = said_of_tenant(hosts=(host({BEFORE: "yes", LEFT: GONE}),)).acts
    assert isinstance(act.step, Patch)
    assert act.step.patch == {"metadata": {"annotations": {BEFORE: None}}, "spec": {"unschedulable": True}}


@pytest.mark.parametrize("mark", ["yes", "no"])
def test_a_mark_that_may_be_of_another_cluster_stays(mark: str) -> None:
    account = ours(SERVICEACCOUNTS, names.DPU_ACCOUNT, STRANGER)
    said = said_of_tenant(account, hosts=(host({BEFORE: mark}),))
    assert (said.acts, said.kept) == ((), ())


@pytest.mark.parametrize("mark", ["yes", "no"])
def test_a_mark_that_may_be_of_a_config_that_lives_stays(mark: str) -> None:
    said = plan_sweep(found(configs=(config(),), tenant=SweptTenant((), (), (host({BEFORE: mark}),))), SweepChoice())
    assert said == SweepPlan()


@pytest.mark.parametrize("owner", ["", STRANGER])
def test_a_host_with_our_marks_in_another_writers_maintenance_is_named(owner: str) -> None:
    said = said_of_tenant(upkeeps=(upkeep(owner),), hosts=(host({LEFT: GONE}, cordoned=True),))
    assert said.acts == ()
    assert said.kept == (
        "Node w1 has marks of ours, and is in a maintenance that another writer made: sweep again when that is gone",
    )


def test_without_another_config_a_mark_is_removed_and_the_earlier_cordon_restored() -> None:
    (back,) = said_of_tenant(hosts=(host({BEFORE: "yes"}),)).acts
    assert isinstance(back.step, Patch)
    assert back.step.patch["spec"] == {"unschedulable": True}
    (off,) = said_of_tenant(hosts=(host({BEFORE: "no"}),)).acts
    assert isinstance(off.step, Patch)
    assert "spec" not in off.step.patch


@pytest.mark.parametrize(
    ("notes", "flag"),
    [
        ({LEFT: GONE}, f"{LEFT}-"),
        ({BEFORE: "no"}, f"{BEFORE}-"),
        ({OUTAGE: f'{{"owner":"{GONE}","stage":"cordoned","since":1}}'}, f"{OUTAGE}-"),
    ],
    ids=["led out", "in an ended drain", "for an outage"],
)
def test_no_host_is_uncordoned_but_named_with_the_commands(notes: dict[str, str], flag: str) -> None:
    said = said_of_tenant(hosts=(host(notes, cordoned=True),))
    assert said.acts == ()
    (words,) = said.kept
    assert f"kubectl uncordon w1; kubectl annotate node w1 {flag}" in words


@pytest.mark.parametrize("notes", [{LEFT: GONE}, {OUTAGE: f'{{"owner":"{GONE}","stage":"overruled","since":1}}'}])
def test_marks_of_a_host_that_is_in_use_go(notes: dict[str, str]) -> None:
    (act,) = said_of_tenant(hosts=(host(notes),)).acts
    assert act.step.resource == NODES
    assert isinstance(act.step, Patch)
    assert act.step.patch == {"metadata": {"annotations": dict.fromkeys(notes)}}


@pytest.mark.parametrize(
    "notes", [{LEFT: STRANGER}, {OUTAGE: f'{{"owner":"{STRANGER}","stage":"cordoned","since":1}}'}]
)
def test_marks_of_another_cluster_stay(notes: dict[str, str]) -> None:
    said = said_of_tenant(hosts=(host(notes, cordoned=True),))
    assert (said.acts, said.kept) == ((), ())


def test_the_rest_of_infra_shows_whose_the_tenants_objects_are_and_goes_after_them() -> None:
    tenant = SweptTenant((), (upkeep(),), ())
    said = plan_sweep(found(*everything(), tenant=tenant), SweepChoice())
    assert gone(said) == ["PodDisruptionBudget", "NodeMaintenance"]
    assert len(said.later) == len(INFRA_NAMES) - 1
    ended = plan_sweep(found(*everything(), tenant=SweptTenant((), (), ())), SweepChoice())
    assert gone(ended) == [each.kind for each in INFRA_NAMES]


def test_the_accounts_bindings_go_before_it() -> None:
    left = [ours(each, names.DPU_ACCOUNT) for each in reversed(list(TENANT_NAMES))]
    said = said_of_tenant(*left, ours(ROLEBINDINGS, "somebodys"))
    assert gone(said) == [ROLEBINDINGS.kind, CLUSTERROLEBINDINGS.kind, SERVICEACCOUNTS.kind]


def test_what_is_of_an_owner_that_infra_does_not_know_stays_until_a_person_says_so() -> None:
    account = ours(SERVICEACCOUNTS, names.DPU_ACCOUNT, STRANGER)
    said = said_of_tenant(account, upkeeps=(upkeep(STRANGER),))
    assert (said.acts, said.strangers) == ((), frozenset({STRANGER}))
    tenant = SweptTenant((account,), (upkeep(STRANGER),), ())
    told = plan_sweep(found(tenant=tenant), SweepChoice(owners=frozenset({STRANGER})))
    assert gone(told) == ["NodeMaintenance", "ServiceAccount"]


def test_an_owner_that_lives_is_not_swept_whatever_a_person_says() -> None:
    tenant = SweptTenant((ours(SERVICEACCOUNTS, names.DPU_ACCOUNT, LIVING),), (upkeep(LIVING),), ())
    said = plan_sweep(found(configs=(config(),), tenant=tenant), SweepChoice(owners=frozenset({LIVING})))
    assert said == SweepPlan()


def test_a_hosts_name_that_a_shell_would_obey_is_quoted() -> None:
    evil = host({LEFT: GONE}, cordoned=True)
    evil["metadata"]["name"] = "w1;reboot\n"
    (words,) = said_of_tenant(hosts=(evil,)).kept
    assert ";reboot" not in words
    assert "\n" not in words
