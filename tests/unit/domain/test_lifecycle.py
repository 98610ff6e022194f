from dataclasses import replace

import pytest

from dpunetop.domain.lifecycle import ConfigView, Leftovers, OutOfSight, plan_config
from dpunetop.domain.types import DeletionPolicy, Refused, parse_config
from dpunetop.kube.keys import CONFIGMAPS, ROLEBINDINGS, SERVICEACCOUNTS
from dpunetop.kube.plan import Apply, ApplyStatus, Delete
from support.objects import config, node

MANAGER = "dpunetop-clusterconfig"
NOTHING = Leftovers(
    pool=None,
    machine_config=None,
    nodes=(),
    running=(),
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


def named(name):
    return {"metadata": {"name": name, "namespace": "dpu-one", "uid": f"uid-of-{name}"}}


EVERYTHING = Leftovers(
    pool=named("dpu"),
    machine_config=named("00-dpu-bluefield-switchdev"),
    nodes=(node("bf2-1", **{"machineconfiguration.openshift.io/currentConfig": "rendered-dpu-1"}),),
    running=(),
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
HERE_IS_NOTHING = replace(UNPROTECTED, copies=(), service_account=None, blocker_account=None)


def ending(left, policy=DeletionPolicy.RETAIN):
    doomed = replace(parse_config(config()), terminating=True, deletion_policy=policy)
    return plan_config(ConfigView(doomed, left, MANAGER))


def deleted(plan):
    return [step.live["metadata"]["name"] for step in plan.steps if isinstance(step, Delete)]


def ready(plan):
    (status,) = [step for step in plan.steps if isinstance(step, ApplyStatus)]
    (condition,) = status.conditions
    return condition.status, condition.reason, condition.message


def finalizers(plan):
    return [step.desired["metadata"].get("finalizers") for step in plan.steps if isinstance(step, Apply)]


def test_the_finalizer_comes_before_everything_else():
    plan = plan_config(ConfigView(parse_config(config()), None, MANAGER))
    assert isinstance(plan.steps[0], Apply)
    assert finalizers(plan) == [["dpu.openshift.io/teardown"]]


def test_a_refused_config_gets_a_reason_and_no_finalizer():
    refused = replace(parse_config(config()), refused=Refused("PoolTaken", "another one has it"))
    plan = plan_config(ConfigView(refused, None, MANAGER))
    assert finalizers(plan) == []
    assert ready(plan) == ("False", "PoolTaken", "another one has it")


def test_the_observed_generation_and_the_claim_are_said():
    plan = plan_config(ConfigView(parse_config(config()), None, MANAGER))
    (status,) = [step for step in plan.steps if isinstance(step, ApplyStatus)]
    assert status.members == {"observedGeneration": 3, "claimedPool": "dpu"}


TEARDOWN = {
    "retain: the DaemonSet goes first": (EVERYTHING, DeletionPolicy.RETAIN, ["ovnkube-node"], []),
    "delete: MachineConfig and pool go first": (
        EVERYTHING,
        DeletionPolicy.DELETE,
        ["00-dpu-bluefield-switchdev", "dpu"],
        [],
    ),
    "delete: nodes must have left the pool": (
        replace(EVERYTHING, pool=None, machine_config=None),
        DeletionPolicy.DELETE,
        [],
        [],
    ),
    "drains that run are waited for": (replace(EVERYTHING, running=("host-1",)), DeletionPolicy.RETAIN, [], []),
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
        replace(HERE_IS_NOTHING, tenant=OutOfSight("Timeout: no answer")),
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
def test_teardown_goes_stage_by_stage(left, policy, deletes, releases):
    plan = ending(left, policy)
    assert deleted(plan) == deletes
    assert finalizers(plan) == releases
    if not releases:
        assert ready(plan)[:2] == ("False", "Terminating")


def test_only_what_is_in_the_tenant_is_deleted_there():
    deletes = [step for step in ending(HERE_IS_NOTHING).steps if isinstance(step, Delete)]
    assert {step.cluster for step in deletes} == {"tenant/dpu-one/sample"}


def test_who_waits_for_a_tenant_is_told_how_not_to():
    message = ready(ending(replace(HERE_IS_NOTHING, tenant=OutOfSight("Timeout: no answer"))))[2]
    assert "cannot be read: Timeout: no answer" in message
    assert message.endswith("Annotate dpu.openshift.io/force-delete=yes to leave them there")


@pytest.mark.parametrize(
    "left", [replace(EVERYTHING, running=("host-1",)), replace(UNPROTECTED, maintenances=("host-1",))]
)
def test_who_waits_for_hosts_is_told_which_and_how_not_to(left):
    said = ready(ending(left))[2]
    assert "host-1" in said
    assert "force-delete=yes" in said


def test_nodes_that_hold_up_the_end_are_named():
    plan = ending(replace(EVERYTHING, pool=None, machine_config=None), DeletionPolicy.DELETE)
    assert ready(plan)[2].startswith("1 nodes have not left pool dpu: bf2-1. Annotate ")


def test_nodes_of_a_pool_with_a_longer_name_hold_up_nothing():
    other = node("bf2-1", **{"machineconfiguration.openshift.io/currentConfig": "rendered-dpu-east-1"})
    plan = ending(replace(EVERYTHING, pool=None, machine_config=None, nodes=(other,)), DeletionPolicy.DELETE)
    assert deleted(plan) == ["ovnkube-node"]
