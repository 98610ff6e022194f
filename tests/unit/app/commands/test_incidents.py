"""Twelve incidents with a user's eyes: one command each names host or object, cause and next step."""

from __future__ import annotations

from typing import Any

import pytest

from dpunetop.app.commands.exits import Exit
from dpunetop.domain import names
from dpunetop.domain.reasons import meaning
from dpunetop.kube.errors import Unreachable
from dpunetop.kube.keys import CUSTOMRESOURCEDEFINITIONS, DEPLOYMENTS, NODES, PODS, crd_name
from support.looks import explained, say, serving, status_of
from support.objects import condition
from support.scripteddrain import DPU, HOST, OPERATOR, World


def says(text: str, *words: str) -> None:
    """One line holds all of the words."""
    assert any(all(word in line for word in words) for line in text.splitlines()), text


def test_u1_a_typed_host_is_named_with_the_one_that_was_meant() -> None:
    world = serving()
    world.pair_up(**{DPU: "hots-1"})
    said, code = status_of(world)
    says(
        said,
        "HostAbsent",
        DPU,
        "host hots-1 does not exist in the tenant",
        f"did you mean {HOST}?",
        "correct its entry",
    )
    assert code is Exit.WRONG


def test_u1_a_name_that_only_a_mistake_has_is_explained_by_that_and_no_other_pair_is_blamed() -> None:
    world = serving()
    world.pair_up(**{DPU: HOST, "d-typed": "hots-1"})
    for name in ("hots-1", "d-typed"):
        said, code = explained(world, name)
        says(said, "no DPU and no host is called")
        says(said, "d-typed", "correct")
        assert code is Exit.USAGE
    assert "mistake:" not in explained(world, DPU)[0]


def test_u2_an_entry_for_a_dpu_that_does_not_exist_is_named() -> None:
    world = serving()
    world.pair_up(**{DPU: HOST, "d-typed": HOST})
    said, code = status_of(world)
    says(said, "DpuAbsent", "d-typed", "infra has no Node of that name", "correct or remove its entry")
    assert code is Exit.WRONG


def test_u3_a_dead_credential_of_the_pods_is_named_with_its_secret() -> None:
    world = serving()
    words = "Secret dpu-one/tenant-cluster-1-kubeconf: the tenant answers 401 to its token; the pods keep the last one"
    say(world, condition("DpuCredentialValid", "False", "Unauthorized", words))
    said, code = status_of(world)
    says(said, "DpuCredentialValid=False Unauthorized", "Secret dpu-one/tenant-cluster-1-kubeconf")
    assert code is Exit.WRONG


def test_u3_the_summary_does_not_say_what_a_condition_says_anyway() -> None:
    world = serving()
    words = "Secret dpu-one/tenant-cluster-1-kubeconf: the tenant answers 401 to its token"
    dead = condition("DpuCredentialValid", "False", "Unauthorized", words)
    say(world, dead, condition("Ready", "False", "Unauthorized", f"DpuCredentialValid: {words}"))
    assert status_of(world)[0].count(words) == 1


def test_u4_a_right_that_the_operator_lacks_is_named_verb_and_resource() -> None:
    world = serving()
    words = 'poddisruptionbudgets.policy is forbidden: cannot patch resource "poddisruptionbudgets"'
    say(world, condition("PairsHealthy", "False", "Forbidden", words))
    said, code = status_of(world)
    says(said, "PairsHealthy=False Forbidden", "cannot patch resource")
    assert code is Exit.WRONG


def test_u5_a_dpu_that_crashed_is_told_as_a_host_without_network_since_when_and_why() -> None:
    world = serving()
    live = world.infra.shown(NODES, "", DPU)
    lost = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "Kubelet stopped posting"}
    lost["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    world.infra.put(NODES, {**live, "status": {**live.get("status", {}), "conditions": [lost]}})
    world.clock.step(600.0)
    for said, code in (status_of(world), explained(world, HOST)):
        says(said, HOST, "has no network since 2026-01-01T00:00:00Z", f"DPU node {DPU} is not Ready", "repair the DPU")
        assert code is Exit.WRONG


def test_u6_a_budget_of_the_tenant_in_the_way_of_a_drain_is_named_with_its_pod() -> None:
    world = serving()
    world.cordon()
    world.settle()
    metadata = {"name": "web-0", "namespace": "shop", "labels": {"app": "web"}}
    world.tenant.put(PODS, {"metadata": metadata, "spec": {"nodeName": HOST}, "status": {"phase": "Running"}})
    held = {"spec": {"selector": {"matchLabels": {"app": "web"}}}, "status": {"disruptionsAllowed": 0}}
    world.tenant.put(names.PODDISRUPTIONBUDGETS, {"metadata": {"name": "one", "namespace": "shop"}, **held})
    said, code = explained(world, DPU)
    says(said, "waits for:", "pod shop/web-0", "PodDisruptionBudget shop/one allows no eviction")
    says(said, "kubectl", "-n shop describe pdb one")
    assert code is Exit.WRONG


def test_u6_a_pod_that_its_finalizer_keeps_is_named_with_it() -> None:
    world = serving()
    world.cordon()
    world.settle()
    metadata = {"name": "web-0", "namespace": "shop", "finalizers": ["example.com/hold"]}
    metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    world.tenant.put(PODS, {"metadata": metadata, "spec": {"nodeName": HOST}, "status": {"phase": "Running"}})
    said, _ = explained(world, DPU)
    says(said, "pod shop/web-0", "is terminating, and held by its finalizer", "example.com/hold")


def test_u7_a_pod_that_is_not_admitted_is_told_with_the_refusal() -> None:
    world = serving()
    name = names.blocker_name(DPU)
    world.infra.drop(PODS, OPERATOR, f"blocker-{DPU}")
    refusal = 'pods "x" is forbidden: violates PodSecurity "restricted:latest"'
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": refusal}
    live = world.infra.shown(DEPLOYMENTS, OPERATOR, name)
    world.infra.put(DEPLOYMENTS, {**live, "status": {"conditions": [failure]}})
    for said, code in (status_of(world), explained(world, DPU)):
        says(said, "violates PodSecurity")
        says(said, HOST, DPU)
        assert code is Exit.WRONG


def test_u8_a_wrong_name_of_the_secret_is_told_as_that() -> None:
    world = serving()
    words = "there is no Secret dpu-one/tenant-cluster-1-konf; create it, or correct spec.kubeConfigFile"
    say(world, condition("CredentialsValid", "False", "SecretNotFound", words))
    said, code = status_of(world)
    says(said, "CredentialsValid=False", "no Secret dpu-one/tenant-cluster-1-konf")
    assert code is Exit.WRONG


def test_u9_a_kubeconfig_that_ends_soon_is_told_although_all_is_well() -> None:
    world = serving()
    words = "the kubeconfig in Secret dpu-one/tenant-cluster-1-kubeconf is good until 2026-01-05T00:00:00Z"
    say(world, condition("CredentialsValid", "True", "CredentialExpiresSoon", words))
    said, code = status_of(world)
    says(said, "CredentialExpiresSoon", "good until 2026-01-05", "put a new kubeconfig into the Secret")
    assert code is Exit.GOOD


def test_u9_a_certificate_that_the_tenant_does_not_renew_is_told_with_its_object_and_then_counts() -> None:
    world = serving()
    words = "the certificate in the tenant's Secret ovn-cert ends soon, at 2026-01-05T00:00:00Z"
    say(world, condition("TenantObjsSynced", "True", "CertificateExpiresSoon", words))
    said, code = status_of(world)
    says(said, "CertificateExpiresSoon", "Secret ovn-cert", "2026-01-05", "cluster network operator renew it")
    assert code is Exit.GOOD
    say(world, condition("TenantObjsSynced", "False", "CertificateExpired", words))
    assert status_of(world)[1] is Exit.WRONG


def test_u10_a_tenant_that_refuses_connections_is_told_and_nothing_is_concluded() -> None:
    world = serving()
    refused = Unreachable(0, "Refused", "10.0.0.1:6443 refuses connections")
    for each in ("nodes", "customresourcedefinitions", "nodemaintenances"):
        world.tenant.refuses[f"list {each}"] = refused
    said, code = status_of(world)
    says(said, "tenant was not looked at", "10.0.0.1:6443 refuses connections")
    assert code is Exit.UNSEEN


@pytest.mark.parametrize("reason", ["DNS", "Refused", "Reset", "TLS", "Timeout", "BadAnswer"])
def test_u10_each_way_in_which_a_tenant_does_not_answer_has_a_next_step_of_its_own(reason: str) -> None:
    world = serving()
    say(world, condition("TenantReachable", "False", reason, "10.0.0.1:6443: said"))
    said, code = status_of(world)
    says(said, f"TenantReachable=False {reason}: 10.0.0.1:6443: said; {meaning(reason).next_step}")
    assert "do what the server's answer" not in said
    assert code is Exit.WRONG


def test_u10_what_only_follows_from_a_tenant_that_does_not_answer_is_not_told_beside_it() -> None:
    world = serving()
    say(
        world,
        condition("CredentialsValid", "Unknown", "NotVerified", "the tenant did not answer"),
        condition("TenantReachable", "False", "Refused", "10.0.0.1:6443: connection refused"),
        condition("DpuCredentialValid", "Unknown", "NoKubeconfig", "no kubeconfig has worked yet"),
        condition("TenantObjsSynced", "Unknown", "TenantNotRead", "the tenant has not been read"),
        condition("OvnKubeReady", "False", "TenantNotRead", "the tenant has not been read"),
    )
    told = [
        line for line in status_of(world)[0].splitlines() if "the operator says" in line and "Ready=True" not in line
    ]
    assert [line.split()[4] for line in told] == ["TenantReachable=False"]


def test_what_follows_from_nothing_that_is_told_is_told_itself() -> None:
    world = serving()
    say(world, condition("OvnKubeReady", "False", "TenantNotRead", "the tenant has not been read"))
    assert "OvnKubeReady=False TenantNotRead" in status_of(world)[0]


def test_u11_a_tenant_without_a_maintenance_operator_is_told_before_the_first_cordon() -> None:
    world = serving()
    world.tenant.drop(CUSTOMRESOURCEDEFINITIONS, "", crd_name(names.NODEMAINTENANCES))
    said, code = status_of(world)
    says(said, "NodeMaintenanceNotServed", "install")
    assert code is Exit.WRONG


def test_u12_a_healthy_drain_is_nobodys_alarm_at_any_step() -> None:
    world = serving()
    codes: list[tuple[str, Any]] = []
    for step in (world.cordon, world.drain_host, lambda: world.reboot("b2")):
        step()
        world.settle()
        said, code = status_of(world)
        codes.append((said.splitlines()[1].split()[3], code))
    assert [phase for phase, _ in codes] == ["Draining", "Drained", "Recovering"]
    assert {code for _, code in codes} == {Exit.GOOD}


def test_the_incidents_are_twelve() -> None:
    names = {name.split("_")[1] for name in globals() if name.startswith("test_u")}
    assert names == {f"u{number}" for number in range(1, 13)}
    assert World is not None
