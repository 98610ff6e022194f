"""The end of a DpuClusterConfig: in order, whole, and of nobody else's things."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from dpunetop.domain import names
from dpunetop.kube.keys import CONFIGMAPS, DAEMONSETS, NODES, PODS, SECRETS, SERVICEACCOUNTS
from dpunetop.sandbox import seed
from dpunetop.sandbox.admin import Obj
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.pki import Authority
from dpunetop.sandbox.world import World
from support.faultproxy import FaultProxy
from support.trial import PATIENCE, Trial, eventually

pytestmark = pytest.mark.timeout(600)

NewTrial = Callable[..., Trial]
IN_NAMESPACE = (SECRETS, CONFIGMAPS, SERVICEACCOUNTS, DAEMONSETS)


def gone(trial: Trial, within: float = PATIENCE) -> None:
    """Wait until the DpuClusterConfig is gone."""
    try:
        eventually(trial.config, lambda config: not config, within)
    except TimeoutError:
        raise TimeoutError(f"still there after {within:g} s: {trial.told()}") from None


def owned(trial: Trial, owner: str) -> list[str]:
    """Everything in the namespace that bears our label."""
    selector = f"{names.OWNER_LABEL}={owner}"
    found = []
    for resource in IN_NAMESPACE:
        path = trial.path(resource, "").rstrip("/")
        found += [
            f"{resource.plural}/{o['metadata']['name']}" for o in trial.infra.list_all(path, labelSelector=selector)
        ]
    return found


def owner_of(trial: Trial) -> str:
    """The value of our label."""
    return str(trial.get(DAEMONSETS, names.OVNKUBE_NODE)["metadata"]["labels"][names.OWNER_LABEL])


def boots(trial: Trial) -> dict[str, str]:
    """Boot ID of each DPU."""
    return {node: trial.get(NODES, node)["status"]["nodeInfo"]["bootID"] for node in trial.nodes}


def farewell(world: World, trial: Trial, since: int) -> list[str]:
    """Kind of each thing that the operator took away, in order; the finalizer counts as one."""
    account = f"system:serviceaccount:{seed.OPERATOR_NAMESPACE}:{seed.OPERATOR_ACCOUNT}"
    told = []
    for event in world.infra.audit_events(user=account, since=since):
        reference = event.get("objectRef", {"resource": ""})
        mine = trial.pool in reference.get("name", "") or reference.get("namespace") == trial.namespace
        is_finalizer = reference["resource"] == "dpuclusterconfigs" and "subresource" not in reference
        if mine and event["responseStatus"]["code"] < 300:
            if event["verb"] == "delete":
                told.append(reference["resource"])
            elif event["verb"] == "patch" and is_finalizer:
                told.append("finalizer")
    return told


def test_the_end_with_retain_leaves_host_configuration_and_nothing_else(trial: Trial, world: World) -> None:
    trial.ready()
    owner, kept, mark = owner_of(trial), trial.pool_objects(), world.infra.audit_mark()
    assert len(owned(trial, owner)) == 8
    trial.delete_config()
    gone(trial)
    assert owned(trial, owner) == []
    assert [pool["metadata"]["uid"] for pool in trial.pool_objects()] == [each["metadata"]["uid"] for each in kept]
    told = farewell(world, trial, mark)
    assert told[0] == "pods"  # whose host is drained
    assert sorted(told[1:4]) == ["daemonsets", "deployments", "poddisruptionbudgets"]
    assert told.index("poddisruptionbudgets") < told.index("deployments")  # the blocker names its node, so it goes last
    assert sorted(told[4:-1]) == sorted(["secrets"] * 3 + ["configmaps"] * 3 + ["serviceaccounts"])
    assert told[-3:] == ["serviceaccounts", "secrets", "finalizer"]  # the way to the tenant last
    assert trial.pods() == []


def test_the_end_with_delete_lets_the_nodes_leave_first(trial: Trial, world: World) -> None:
    trial.ready(deletionPolicy="Delete")
    owner, mark = owner_of(trial), world.infra.audit_mark()
    node = trial.path(NODES, trial.nodes[0])
    stuck = {names.MACHINE_CONFIG_STATE_ANNOTATION: "Degraded"}
    trial.infra.patch(node, {"metadata": {"annotations": stuck}})  # the machine-config operator lets it be
    kept = trial.pool_objects()
    trial.delete_config()
    condition = eventually(lambda: trial.condition("Ready"), lambda c: "have not left" in c.get("message", ""))
    assert (condition["status"], condition["reason"]) == ("False", "Terminating")
    assert f"kubectl label node {trial.nodes[0]} {trial.label}-" in condition["message"]
    trial.take_nodes_out()
    eventually(lambda: trial.condition("Ready"), lambda c: "has yet to move it" in c.get("message", ""))
    assert [each["metadata"]["uid"] for each in trial.pool_objects()] == [each["metadata"]["uid"] for each in kept]
    trial.infra.patch(node, {"metadata": {"annotations": {names.MACHINE_CONFIG_STATE_ANNOTATION: "Done"}}})
    gone(trial)
    assert owned(trial, owner) == []
    told = farewell(world, trial, mark)
    gone_first = [each for each in told if each in ("machineconfigs", "machineconfigpools", "daemonsets")]
    assert gone_first == ["machineconfigs", "machineconfigpools", "daemonsets"]
    assert told[-1] == "finalizer"
    annotations = trial.get(NODES, trial.nodes[0])["metadata"]["annotations"]
    assert annotations[names.CURRENT_CONFIG_ANNOTATION].startswith("rendered-worker-")


def test_the_policy_may_change_until_the_end(trial: Trial) -> None:
    trial.ready()
    trial.patch_config({"spec": {"deletionPolicy": "Delete"}})
    trial.delete_config()
    trial.take_nodes_out()
    gone(trial)
    assert trial.pool_objects() == ({}, {})


def test_a_recreated_dpuclusterconfig_adopts_its_objects_and_reboots_no_node(trial: Trial) -> None:
    trial.ready()
    kept, booted = trial.pool_objects(), boots(trial)
    trial.delete_config()
    gone(trial)
    trial.create_config()
    trial.wait("Ready", "True")
    assert [each["metadata"]["uid"] for each in trial.pool_objects()] == [each["metadata"]["uid"] for each in kept]
    assert boots(trial) == booted


def test_a_dpuclusterconfig_created_while_an_earlier_one_is_deleted_is_served_too(trial: Trial) -> None:
    trial.ready()
    trial.delete_config()
    gone(trial)
    trial.create_config()
    trial.delete_config()
    gone(trial)
    trial.create_config()
    trial.wait("Ready", "True")


def bears(authority: str, copy: Obj) -> bool:
    """Whether a copy of `ovn-ca` is of that authority."""
    return bool(copy["data"]["ca-bundle.crt"] == authority)


def test_deleting_one_leaves_the_others_and_their_links(new_trial: NewTrial) -> None:
    first, second, third = new_trial(), new_trial(), new_trial()
    for each in (first, second, third):
        each.quick_start(deletionPolicy="Delete")
    for each in (first, second, third):
        each.settled()
    before = {each.namespace: each.dpu_status() for each in (first, third)}
    second.delete_config()
    second.take_nodes_out()
    gone(second)
    assert {each.namespace: each.dpu_status() for each in (first, third)} == before
    for each in (first, third):
        assert each.condition("Ready")["status"] == "True"
        text = Authority("ovn-next").pem.decode()
        each.tenant.patch(each.tenant_path(CONFIGMAPS, names.OVN_CA), {"data": {"ca-bundle.crt": text}})
        copy = each.path(CONFIGMAPS, names.OVN_CA)
        each.infra.wait_for(copy, partial(bears, text), 60)


@pytest.mark.parametrize("cut", ["refuse", "black_hole"])
@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_the_end_needs_no_tenant_once_it_is_forced(trial: Trial, world: World, cut: str, policy: str) -> None:
    with FaultProxy.before(world.tenant) as way:
        trial.store_kubeconfig(way.kubeconfig(trial.token()))
        trial.store_overrides()
        trial.create_config(deletionPolicy=policy)
        trial.wait("Ready", "True")
        owner = owner_of(trial)
        getattr(way, cut)()
        trial.delete_config()
        said = eventually(lambda: trial.condition("Ready")["message"], lambda words: "cannot be reached" in words)
        assert said.startswith("1 hosts are drained first, and left cordoned: ")
        assert f"{names.FORCE_DELETE_ANNOTATION}=yes" in said
        kept = [(each["metadata"]["uid"], each["spec"]) for each in trial.pool_objects()]
        trial.annotate(force_delete="yes")
        gone(trial, 60)
    assert owned(trial, owner) == []
    assert [(each["metadata"]["uid"], each["spec"]) for each in trial.pool_objects()] == kept  # the node runs it


def test_a_deletion_that_happened_while_no_operator_ran_is_finished_at_the_next_start(
    trial: Trial, operator: OperatorProcess
) -> None:
    trial.ready(deletionPolicy="Delete")
    owner = owner_of(trial)
    operator.kill()
    assert operator.wait(60) is not None
    trial.delete_config()
    trial.take_nodes_out()
    assert trial.config()["metadata"]["finalizers"] == [names.FINALIZER]
    operator.start()
    operator.wait_ready()
    gone(trial)
    assert owned(trial, owner) == []
    assert trial.pool_objects() == ({}, {})


def test_the_end_right_after_the_beginning_leaves_nothing(trial: Trial) -> None:
    trial.store_kubeconfig()
    trial.store_overrides()
    trial.create_config(deletionPolicy="Delete")
    trial.delete_config()
    trial.take_nodes_out()
    gone(trial)
    assert set(trial.dpu_status().values()) == {("", "")}


def test_the_end_waits_for_the_pods_and_says_so(trial: Trial) -> None:
    trial.ready()
    owner = owner_of(trial)
    pod = trial.path(PODS, trial.pods()[0]["metadata"]["name"])
    trial.infra.patch(pod, {"metadata": {"finalizers": ["test.dpu.openshift.io/busy"]}})
    trial.delete_config()
    words = "is drained; its DPU lets it go once its pod has ended"
    eventually(lambda: trial.condition("Ready"), lambda c: words in c.get("message", ""))
    left: list[Any] = owned(trial, owner)
    assert "secrets/ovn-cert" in left
    assert "serviceaccounts/ovn-kubernetes-node" in left
    trial.infra.patch(pod, {"metadata": {"finalizers": None}})
    gone(trial)
    assert owned(trial, owner) == []
