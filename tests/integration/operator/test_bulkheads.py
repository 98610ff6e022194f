"""No tenant and no namespace reaches further than its own DPUs: each test attacks, with the rights that are shipped."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from dpunetop.domain import names
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.keys import CONFIGMAPS, DAEMONSETS, DEPLOYMENTS, NAMESPACES, NODES
from dpunetop.kube.requests import get
from dpunetop.sandbox.seed import master_node
from dpunetop.sandbox.standins.ovnkube import IMAGE
from support.hostiletenant import HostileTenant
from support.trial import Trial, eventually

pytestmark = pytest.mark.timeout(900)

EVIL = f"registry.example/evil@sha256:{'0' * 64}"
EVERYTHING = {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "Exists"}]}
MASTER = "infra-master-0"
"""A node of infra's control plane; the World brings it."""


def images(obj: dict[str, Any]) -> set[str]:
    """The images of a workload; of none if it is not there."""
    containers = ((obj.get("spec") or {}).get("template") or {}).get("spec", {}).get("containers") or ()
    return {container["image"] for container in containers}


def guard(trial: Trial, dpu: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Blocker and budget of a node; `{}` for one that is not there."""
    namespace, name = trial.world.quick_start.namespace, names.blocker_name(dpu)
    kinds = (DEPLOYMENTS, names.PODDISRUPTIONBUDGETS)
    blocker, budget = (trial.infra.get_or_empty(trial.path(kind, name, namespace)) for kind in kinds)
    return blocker, budget


def label(trial: Trial, node: str, **labels: str | None) -> None:
    """Set labels of a Node in infra; None takes one away."""
    wanted = {
        names.DPU_WORKER_LABEL if key == "worker" else f"test.example/{key}": text for key, text in labels.items()
    }
    trial.infra.patch(trial.path(NODES, node), {"metadata": {"labels": wanted}})


@pytest.fixture
def multi(trial: Trial) -> Iterator[Trial]:
    """A tenant that says it is built for all architectures."""
    path = f"{get(names.CLUSTERVERSIONS, '', names.CLUSTERVERSION).target}/status"
    trial.tenant.patch(path, {"status": {"desired": {"version": "4.13.1", "architecture": "Multi"}}})
    yield trial
    trial.tenant.patch(path, {"status": None})


def name_image(trial: Trial) -> None:
    """The tenant's administrator puts an image of his own into his DaemonSet."""
    path = trial.tenant_path(DAEMONSETS, names.OVNKUBE_NODE)
    template = trial.tenant.get(path)["spec"]["template"]
    for container in template["spec"]["containers"]:
        container["image"] = EVIL
    trial.tenant.patch(path, {"spec": {"template": template}})


def test_a_tenant_does_not_say_what_runs_on_infras_dpus(multi: Trial) -> None:
    name_image(multi)
    multi.quick_start()
    said = multi.wait("OvnKubeReady", "False", "ImageNotAllowed")
    assert f'"{EVIL}"' in said["message"]
    assert "--allowed-images [ALLOWED_IMAGES]" in said["message"]
    assert not multi.get(DAEMONSETS, names.OVNKUBE_NODE)


def test_what_runs_stays_when_a_tenant_comes_to_name_an_image(trial: Trial, request: pytest.FixtureRequest) -> None:
    trial.ready()
    before = trial.roll_mark()
    multi: Trial = request.getfixturevalue("multi")
    name_image(multi)
    multi.wait("OvnKubeReady", "False", "ImageNotAllowed")
    assert multi.roll_mark() == before
    assert images(multi.get(DAEMONSETS, names.OVNKUBE_NODE)) == {IMAGE}
    assert images(guard(multi, multi.nodes[0])[0]) == {IMAGE}
    multi.patch_config({"spec": {"image": EVIL}})
    eventually(lambda: multi.condition("OvnKubeReady"), lambda found: "spec.image" in found["message"])
    assert multi.roll_mark() == before
    assert images(guard(multi, multi.nodes[0])[0]) == {IMAGE}


def test_a_selector_of_everything_takes_nothing(trial: Trial) -> None:
    trial.quick_start(nodeSelector=EVERYTHING)
    said = trial.wait("McpReady", "False", "NodeNotGranted")
    assert f"{MASTER} is a node of the control plane" in said["message"]
    trial.wait("OvnKubeReady", "False", "NodeNotGranted")
    assert trial.pool_objects() == ({}, {})
    assert not trial.get(DAEMONSETS, names.OVNKUBE_NODE)
    assert guard(trial, MASTER) == ({}, {})


def test_a_later_config_does_not_take_the_dpus_of_an_earlier_one(new_trial: Any) -> None:
    first, second = new_trial(), new_trial()
    first.ready()
    before = first.dpu_status()
    selector = {"matchLabels": {first.label: ""}}
    second.quick_start(nodeSelector=selector)
    said = second.wait("McpReady", "False", "NodeNotGranted")
    holder = f"DpuClusterConfig {first.namespace}/{first.names.name}"
    assert f"{first.nodes[0]} is held by {holder}" in said["message"]
    other = f"{first.nodes[0]} is selected by DpuClusterConfig {second.namespace}/{second.names.name} too"
    eventually(lambda: first.condition("McpReady"), lambda found: other in found["message"])
    assert second.pool_objects() == ({}, {})
    assert not second.get(DAEMONSETS, names.OVNKUBE_NODE)
    assert first.dpu_status() == before
    assert first.condition("Ready")["status"] == "True"


def test_a_selector_that_is_widened_takes_nothing_that_another_holds(new_trial: Any) -> None:
    first, second = new_trial(), new_trial()
    second.ready()
    first.ready()
    before, pool = first.dpu_status(), second.pool_objects()[0]["spec"]["nodeSelector"]
    second.patch_config({"spec": {"nodeSelector": {"matchLabels": {names.DPU_WORKER_LABEL: "", second.label: None}}}})
    second.wait("McpReady", "False", "NodeNotGranted")
    assert second.pool_objects()[0]["spec"]["nodeSelector"] == pool
    eventually(second.pods, lambda pods: {pod["spec"].get("nodeName") for pod in pods} == set(second.nodes))
    assert first.dpu_status() == before
    assert first.condition("Ready")["status"] == "True"


def test_an_entry_for_a_node_of_somebody_else_closes_no_budget(trial: Trial) -> None:
    trial.ready()
    data = {MASTER: "TENANT_K8S_NODE=worker-advnetlab13\n"}
    trial.infra.patch(trial.path(CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES), {"data": data})
    told = f'"{MASTER}": its entry in ConfigMap {names.OVNKUBE_NODE_ENTRIES} counts for nothing'
    eventually(lambda: trial.condition("PairsHealthy"), lambda found: told in found["message"])
    assert guard(trial, MASTER) == ({}, {})
    assert guard(trial, trial.nodes[0])[1]["spec"]["maxUnavailable"] == 0


def test_a_dpu_that_annotates_itself_does_not_get_the_host_of_another_at_the_next_drain(new_trial: Any) -> None:
    trial = new_trial(dpus=2)
    (evil, _), (good, host) = sorted(trial.names.pairs.items())
    entries = {good: f"{names.TENANT_NODE_ENV}={host}\n"}
    trial.store_kubeconfig()
    trial.store_overrides(entries)
    trial.create_config()
    trial.wait("PairsHealthy", "True")
    trial.infra.patch(trial.path(NODES, evil), {"metadata": {"annotations": {names.TENANT_NODE_ANNOTATION: host}}})
    told = (
        f"{evil}: annotation {names.TENANT_NODE_ANNOTATION} names {host}, which {names.ENV_OVERRIDES} gives to {good}"
    )
    eventually(lambda: trial.condition("PairsHealthy"), lambda found: told in found["message"])
    trial.infra.patch(trial.path(NODES, good), {"spec": {"unschedulable": True}})
    eventually(lambda: guard(trial, good)[1]["spec"]["maxUnavailable"], lambda found: found == 1)
    assert trial.get(CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES)["data"] == entries
    trial.infra.patch(trial.path(NODES, good), {"spec": {"unschedulable": None}})
    maintenance = get(names.NODEMAINTENANCES, "", names.maintenance_name(host)).target
    eventually(lambda: trial.tenant.get_or_empty(maintenance), lambda found: not found)
    assert trial.get(CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES)["data"] == entries
    assert names.SERVES_ANNOTATION not in guard(trial, evil)[1]["metadata"].get("annotations", {})
    assert told in trial.condition("PairsHealthy")["message"]


def test_a_dpu_does_not_take_a_node_of_the_tenant_that_has_no_dpu(trial: Trial) -> None:
    [dpu], master = trial.nodes, f"{trial.names.name}-master"
    trial.tenant.apply([master_node(master)])
    trial.infra.patch(trial.path(NODES, dpu), {"metadata": {"annotations": {names.TENANT_NODE_ANNOTATION: master}}})
    trial.store_kubeconfig()
    trial.create_config()
    told = f"{dpu}: annotation {names.TENANT_NODE_ANNOTATION} names {master}, which is a node of the"
    eventually(lambda: (trial.condition("PairsHealthy") or {}).get("message", ""), lambda found: told in found)
    assert not trial.get(CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES).get("data")
    assert names.SERVES_ANNOTATION not in guard(trial, dpu)[1]["metadata"].get("annotations", {})


def test_a_config_where_the_operator_has_no_rights_gets_nothing_and_claims_nothing(new_trial: Any) -> None:
    stranger, victim = new_trial(), new_trial()
    role = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{stranger.namespace}/roles/dpunetop-tenant"
    stranger.infra.patch(role, {"rules": []})
    stranger.quick_start(poolName=victim.pool)
    said = stranger.wait("Ready", "False", "NamespaceNotServed")
    assert f"no rights in namespace {stranger.namespace}" in said["message"]
    victim.quick_start()
    victim.wait("Ready", "True")
    assert not stranger.config()["metadata"].get("finalizers")
    assert [each["type"] for each in stranger.config()["status"]["conditions"]] == ["Ready"]
    stranger.annotate(stirred="yes")
    assert stranger.condition("Ready")["reason"] == "NamespaceNotServed"
    assert victim.condition("Ready")["status"] == "True"


def test_a_forged_finalizer_is_no_claim_and_is_taken_off(new_trial: Any) -> None:
    stranger, victim = new_trial(), new_trial()
    role = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{stranger.namespace}/roles/dpunetop-tenant"
    stranger.infra.patch(role, {"rules": []})
    stranger.create_config(poolName=victim.pool)
    stranger.infra.patch(
        stranger.path(names.DPUCLUSTERCONFIGS, stranger.names.name), {"metadata": {"finalizers": [names.FINALIZER]}}
    )
    victim.ready()
    eventually(stranger.config, lambda config: not config["metadata"].get("finalizers"))
    assert stranger.condition("Ready")["reason"] == "NamespaceNotServed"
    assert victim.config()["status"]["claimedPool"] == victim.pool
    assert victim.config()["metadata"]["finalizers"] == [names.FINALIZER]


def test_of_two_new_ones_that_name_one_pool_one_is_served_and_the_other_is_told_which(new_trial: Any) -> None:
    both = sorted((new_trial(), new_trial()), key=lambda trial: str(trial.namespace))
    for trial in reversed(both):
        trial.create_config(poolName=both[0].pool)
    eventually(lambda: [(t.condition("Ready") or {}).get("reason") for t in both], lambda said: "PoolTaken" in said)
    [winner] = eventually(lambda: [t for t in both if t.config().get("status", {}).get("claimedPool")], bool)
    [loser] = [trial for trial in both if trial is not winner]
    assert f"belongs to {winner.namespace}/{winner.names.name}" in loser.condition("Ready")["message"]
    assert not loser.config()["metadata"].get("finalizers")
    winner.delete_config()
    eventually(loser.config, lambda config: config["status"].get("claimedPool") == both[0].pool)


def test_a_dpu_that_loses_its_grant_serves_until_its_host_is_drained(trial: Trial) -> None:
    trial.ready()
    pods = [pod["metadata"]["uid"] for pod in trial.pods()]
    entries = trial.get(CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES)["data"]
    label(trial, trial.nodes[0], worker=None)
    trial.wait("PairsHealthy", "False", "RemovalPending")
    trial.wait("McpReady", "False", "NodeNotGranted")
    assert [pod["metadata"]["uid"] for pod in trial.pods()] == pods
    assert trial.get(CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES)["data"] == entries
    assert guard(trial, trial.nodes[0])[1]["spec"]["maxUnavailable"] == 0
    label(trial, trial.nodes[0], worker="")
    trial.wait("Ready", "True")
    assert [pod["metadata"]["uid"] for pod in trial.pods()] == pods


def test_a_namespace_grants_other_roles_and_narrows(trial: Trial) -> None:
    label(trial, trial.nodes[0], worker=None, rack="a")
    trial.quick_start()
    trial.wait("McpReady", "False", "NodeNotGranted")
    for granted, status in (("test.example/rack=b", "False"), ("test.example/rack in (a, b)", "True")):
        notes = {names.NODE_GRANT_ANNOTATION: granted}
        trial.infra.patch(trial.path(NAMESPACES, trial.namespace), {"metadata": {"annotations": notes}})
        found = eventually(trial.config, partial(_is_pool_ready, status))
        assert found
    trial.wait("Ready", "True")


def test_a_server_that_gives_the_uid_of_another_tenant_claims_none_of_its_hosts(new_trial: Any) -> None:
    victim, stranger = new_trial(), new_trial()
    uid = victim.tenant.get(get(NAMESPACES, "", names.KUBE_SYSTEM).target)["metadata"]["uid"]
    with HostileTenant(uid) as forged:
        stranger.store_kubeconfig(forged.kubeconfig())
        stranger.store_overrides({stranger.nodes[0]: victim.entries()[victim.nodes[0]]})
        stranger.create_config(drain={"maxUnavailable": 1})
        eventually(stranger.config, lambda config: (config.get("status") or {}).get("tenantUID") == uid)
        victim.ready()
        told = (
            f"DpuClusterConfig {stranger.namespace}/{stranger.names.name} gives the same UID behind another authority"
        )
        eventually(lambda: victim.condition("TenantReachable"), lambda found: told in found["message"])
        assert victim.condition("Ready")["status"] == "True"
        assert victim.config()["status"]["tenantRoot"] != stranger.config()["status"]["tenantRoot"]


def _is_pool_ready(status: str, config: dict[str, Any]) -> bool:
    return (condition_of(config, "McpReady") or {}).get("status") == status
