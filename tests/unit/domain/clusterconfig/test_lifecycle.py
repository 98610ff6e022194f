from dataclasses import replace
from typing import Any

import pytest

from dpunetop.app.sweepcli import parse_sweep
from dpunetop.domain import names
from dpunetop.domain.clusterconfig.access import Access
from dpunetop.domain.clusterconfig.lifecycle import ConfigView, Leftovers, TenantUnreadable, plan_config
from dpunetop.domain.clusterconfig.types import ConfigRefused, DeletionPolicy, parse_config
from dpunetop.kube.keys import CONFIGMAPS, ROLEBINDINGS, SERVICEACCOUNTS
from dpunetop.kube.plan import Apply, ApplyStatus, Delete, Emit, Plan
from support.objects import config, node

MANAGER = "dpunetop-clusterconfig"
CURRENT, DESIRED = (f"machineconfiguration.openshift.io/{which}Config" for which in ("current", "desired"))
OWNER = "0123456789abcdef" * 2
NOTHING = Leftovers(
    owner=OWNER,
    access=Access.GIVEN,
    pool=None,
    machine_config=None,
    nodes=(),
    served=(),
    daemonset=None,
    pods=(),
    protections=(),
    maintenances=(),
    blocker_account=None,
    copies=(),
    service_account=None,
    tenant=(),
    kubeconfig=None,
)


def named(name: str) -> dict[str, dict[str, str]]:
    return {"metadata": {"name": name, "namespace": "dpu-one", "uid": f"uid-of-{name}"}}


EVERYTHING = Leftovers(
    owner=OWNER,
    access=Access.GIVEN,
    pool=named("dpu"),
    machine_config=named("00-dpu-bluefield-switchdev"),
    nodes=(node("bf2-1", **{"machineconfiguration.openshift.io/currentConfig": "rendered-dpu-1"}),),
    served=(),
    daemonset=named("ovnkube-node"),
    protections=("dpu-drain-blocker-bf2-1",),
    maintenances=("host-1",),
    blocker_account=named("dpu-drain-blocker"),
    pods=(named("ovnkube-node-x"),),
    copies=((CONFIGMAPS, named("ovn-ca")),),
    service_account=named("ovn-kubernetes-node"),
    tenant=((ROLEBINDINGS, named("binding")), (SERVICEACCOUNTS, named("account"))),
    kubeconfig=named("last-good"),
)
UNPROTECTED = replace(EVERYTHING, daemonset=None, pods=(), protections=(), maintenances=())


def unlabelled(name: str, current: str, desired: str) -> dict[str, dict[str, Any]]:
    return {"metadata": {"name": name, "uid": f"uid-of-{name}", "annotations": {CURRENT: current, DESIRED: desired}}}


ELSEWHERE = unlabelled("bf2-1", "rendered-worker-1", "rendered-worker-1")
TAKEN_AWAY = replace(NOTHING, access=Access.TAKEN, protections=EVERYTHING.protections)
HERE_IS_NOTHING = replace(UNPROTECTED, copies=(), service_account=None, blocker_account=None)


def ending(left: Leftovers, policy: DeletionPolicy = DeletionPolicy.RETAIN, /, **annotations: str) -> Plan:
    doomed = replace(parse_config(config()), terminating=True, deletion_policy=policy, annotations=annotations)
    return plan_config(ConfigView(doomed, left, MANAGER))


def deleted(plan: Plan) -> list[str]:
    return [step.live["metadata"]["name"] for step in plan.steps if isinstance(step, Delete)]


def ready(plan: Plan) -> tuple[str, str, str]:
    (status,) = [step for step in plan.steps if isinstance(step, ApplyStatus)]
    (condition,) = status.conditions
    return condition.status, condition.reason, condition.message


def finalizers(plan: Plan) -> list[list[str] | None]:
    return [step.desired["metadata"].get("finalizers") for step in plan.steps if isinstance(step, Apply)]


def test_the_finalizer_comes_before_everything_else() -> None:
    plan = plan_config(ConfigView(parse_config(config()), None, MANAGER))
    assert isinstance(plan.steps[0], Apply)
    assert finalizers(plan) == [["dpu.openshift.io/teardown"]]


def test_a_refused_config_gets_a_reason_and_no_finalizer() -> None:
    refused = replace(parse_config(config()), refused=ConfigRefused("PoolTaken", "another one has it"))
    plan = plan_config(ConfigView(refused, None, MANAGER))
    assert finalizers(plan) == []
    assert ready(plan) == ("False", "PoolTaken", "another one has it")


def test_the_observed_generation_and_the_claim_are_said() -> None:
    plan = plan_config(ConfigView(parse_config(config()), None, MANAGER))
    (status,) = [step for step in plan.steps if isinstance(step, ApplyStatus)]
    assert status.members == {"observedGeneration": 3, "claimedPool": "dpu"}


TEARDOWN = {
    "retain: the DaemonSet goes first": (EVERYTHING, DeletionPolicy.RETAIN, ["ovnkube-node"], []),
    "delete: nodes must have left the pool": (EVERYTHING, DeletionPolicy.DELETE, [], []),
    "delete: then MachineConfig and pool go": (
        replace(EVERYTHING, nodes=(ELSEWHERE,)),
        DeletionPolicy.DELETE,
        ["00-dpu-bluefield-switchdev", "dpu"],
        [],
    ),
    "delete: a pool that is gone holds up nothing": (
        replace(EVERYTHING, pool=None, machine_config=None),
        DeletionPolicy.DELETE,
        ["ovnkube-node"],
        [],
    ),
    "a namespace that is being deleted waits for no host": (
        replace(TAKEN_AWAY, served=("host-1",), access=Access.ENDING),
        DeletionPolicy.RETAIN,
        [],
        [],
    ),
    "one without rights leads hosts out first": (
        replace(TAKEN_AWAY, served=("host-1",), protections=()),
        DeletionPolicy.RETAIN,
        [],
        [],
    ),
    "a namespace that is being deleted waits for no tenant": (
        replace(NOTHING, access=Access.ENDING, tenant=TenantUnreadable("Timeout: no answer")),
        DeletionPolicy.RETAIN,
        [],
        [None],
    ),
    "hosts that are served are led out first": (replace(EVERYTHING, served=("host-1",)), DeletionPolicy.RETAIN, [], []),
    "budgets and blockers are waited for": (
        replace(EVERYTHING, daemonset=None, pods=()),
        DeletionPolicy.RETAIN,
        [],
        [],
    ),
    "hosts are given back": (
        replace(UNPROTECTED, maintenances=("host-1",)),
        DeletionPolicy.RETAIN,
        [],
        [],
    ),
    "its pods must have ended": (replace(EVERYTHING, daemonset=None), DeletionPolicy.RETAIN, [], []),
    "then copies and ServiceAccount": (
        UNPROTECTED,
        DeletionPolicy.RETAIN,
        ["ovn-ca", "ovn-kubernetes-node", "dpu-drain-blocker"],
        [],
    ),
    "then what is in the tenant, accounts last": (
        HERE_IS_NOTHING,
        DeletionPolicy.RETAIN,
        ["binding", "account"],
        [],
    ),
    "a tenant out of sight is waited for": (
        replace(HERE_IS_NOTHING, tenant=TenantUnreadable("Timeout: no answer")),
        DeletionPolicy.RETAIN,
        [],
        [],
    ),
    "then the way there": (replace(HERE_IS_NOTHING, tenant=()), DeletionPolicy.RETAIN, ["last-good"], []),
    "then the finalizer": (NOTHING, DeletionPolicy.RETAIN, [], [None]),
    "retain: pool and MachineConfig hold up nothing": (
        replace(NOTHING, pool=named("dpu"), nodes=EVERYTHING.nodes),
        DeletionPolicy.RETAIN,
        [],
        [None],
    ),
}


@pytest.mark.parametrize(("left", "policy", "deletes", "releases"), TEARDOWN.values(), ids=TEARDOWN.keys())
def test_teardown_goes_stage_by_stage(
    left: Leftovers, policy: DeletionPolicy, deletes: list[str], releases: list[None]
) -> None:
    plan = ending(left, policy)
    assert deleted(plan) == deletes
    assert finalizers(plan) == releases
    if not releases:
        assert ready(plan)[:2] == ("False", "Terminating")


def test_only_what_is_in_the_tenant_is_deleted_there() -> None:
    deletes = [step for step in ending(HERE_IS_NOTHING).steps if isinstance(step, Delete)]
    assert {step.cluster for step in deletes} == {"tenant/dpu-one/sample"}


def test_who_waits_for_a_tenant_is_told_how_not_to() -> None:
    message = ready(ending(replace(HERE_IS_NOTHING, tenant=TenantUnreadable("Timeout: no answer"))))[2]
    assert "cannot be read: Timeout: no answer" in message
    assert message.endswith("Annotate dpu.openshift.io/force-delete=yes to leave them there")


@pytest.mark.parametrize(
    "left", [replace(EVERYTHING, served=("host-1",)), replace(UNPROTECTED, maintenances=("host-1",))]
)
def test_who_waits_for_hosts_is_told_which_and_how_not_to(left: Leftovers) -> None:
    said = ready(ending(left))[2]
    assert "host-1" in said
    assert "force-delete=yes" in said


FORCED = {"dpu.openshift.io/force-delete": "yes"}
POOL = {**named("dpu"), "spec": {"nodeSelector": {"matchLabels": {"node-role.kubernetes.io/dpu-worker": ""}}}}
LABELLED = {**node("bf2-1"), "metadata": {"name": "bf2-1", "labels": {"node-role.kubernetes.io/dpu-worker": ""}}}
MOVES = unlabelled("bf2-2", "rendered-dpu-1", "rendered-worker-1")


def told(plan: Plan) -> list[tuple[str, str]]:
    return [(step.reason, step.regarding["metadata"]["name"]) for step in plan.steps if isinstance(step, Emit)]


def test_a_pool_waits_for_its_nodes_and_each_is_told_how_it_comes_out() -> None:
    left = replace(EVERYTHING, pool=POOL, nodes=(MOVES, LABELLED))
    said = ready(ending(left, DeletionPolicy.DELETE))[2]
    assert said.startswith("2 nodes have not left pool dpu, which goes after them; take them out one by one: bf2-1: ")
    assert "kubectl label node bf2-1 node-role.kubernetes.io/dpu-worker-; bf2-2: " in said
    assert 'it is to run "rendered-worker-1"' in said


def test_force_keeps_a_pool_that_nodes_run_and_names_it() -> None:
    left = replace(NOTHING, pool=POOL, machine_config=named("00-dpu"), nodes=(MOVES,))
    plan = ending(left, DeletionPolicy.DELETE, **FORCED)
    assert (deleted(plan), finalizers(plan)) == ([], [None])
    assert told(plan) == [("PoolKept", "sample"), ("PoolKept", "bf2-2")]
    assert told(ending(left, DeletionPolicy.RETAIN, **FORCED)) == []


def test_force_takes_a_pool_that_no_node_runs() -> None:
    left = replace(NOTHING, pool=POOL, nodes=(ELSEWHERE,))
    assert deleted(ending(left, DeletionPolicy.DELETE, **FORCED)) == ["dpu"]


def test_a_forced_end_leads_no_host_out() -> None:
    assert deleted(ending(replace(EVERYTHING, served=("host-1",)), **FORCED)) == ["ovnkube-node"]


def test_events_that_are_refused_are_told_in_ready_and_tried_again() -> None:
    said = "events is forbidden: no right"
    plan = plan_config(ConfigView(parse_config(config()), None, MANAGER, untold=said))
    assert said in ready(plan)[2]
    assert plan.requeue_after_seconds == 35.0
    assert told(plan) == [("EventsRefused", "sample")]
    well = plan_config(ConfigView(parse_config(config()), None, MANAGER))
    assert ready(plan)[:2] == ready(well)[:2]
    assert (told(well), well.requeue_after_seconds) == ([], None)


def test_what_stays_in_a_tenant_that_cannot_be_read_is_named() -> None:
    plan = ending(replace(NOTHING, access=Access.ENDING, tenant=TenantUnreadable("Timeout: no answer")))
    assert told(plan) == [("LeftInTenant", "sample")]
    [note] = [step.note for step in plan.steps if isinstance(step, Emit)]
    command = note.partition("python -m dpunetop sweep ")[2].split()
    assert parse_sweep(command, {}).choice.owners == {OWNER}  # the command of the message is one that is taken
    assert f"{names.OWNER_LABEL}={OWNER}" in note


def test_hosts_that_are_led_out_are_told_with_what_they_wait_for() -> None:
    why = "the tenant has no node maintenance operator, so that host-1 cannot be drained"
    said = f"hosts are led out: host-1: {why} (DPU bf2-1)"
    doomed = parse_config(config())
    live = {**doomed.live, "status": {"conditions": [{"type": "PairsHealthy", "status": "False", "message": said}]}}
    view = ConfigView(replace(doomed, terminating=True, live=live), replace(EVERYTHING, served=("host-1",)), MANAGER)
    message = ready(plan_config(view))[2]
    assert message.startswith(f"1 hosts are drained first, and left cordoned: host-1; {said}. Annotate ")
    assert "force-delete=yes" in message


def test_nodes_of_a_pool_with_a_longer_name_hold_up_nothing() -> None:
    other = node("bf2-1", **{CURRENT: "rendered-dpu-east-1"})
    plan = ending(replace(EVERYTHING, nodes=(other,)), DeletionPolicy.DELETE)
    assert deleted(plan) == ["00-dpu-bluefield-switchdev", "dpu"]
