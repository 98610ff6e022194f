"""A right that is missing is named, verb and resource, and everything goes on once it is granted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest

from dpunetop.domain import names
from dpunetop.kube.keys import CONFIGMAPS, DAEMONSETS, SECRETS
from dpunetop.sandbox.admin import AdminClient
from dpunetop.sandbox.operatorprocess import OperatorProcess
from support.trial import ACCOUNT, Trial, eventually

pytestmark = pytest.mark.timeout(600)

HEALED_SECONDS = 120.0
RBAC = "/apis/rbac.authorization.k8s.io/v1"
CLUSTER_ROLE = f"{RBAC}/clusterroles/dpunetop"


def role_of(trial: Trial) -> str:
    """The Role of config/tenant-namespace."""
    return f"{RBAC}/namespaces/{trial.namespace}/roles/dpunetop-tenant"


def tenant_role_of(trial: Trial) -> str:
    """The Role of whoever reads the tenant for us."""
    return f"{RBAC}/namespaces/{trial.tenant_namespace}/roles/{ACCOUNT}"


def without(rules: Iterable[Mapping[str, Any]], verbs: tuple[str, ...], resource: str, name: str = "") -> list[Any]:
    """The rules without those verbs on that resource, or on one object of it."""
    left = []
    for rule in rules:
        hit = resource in rule["resources"] and (not name or name in rule.get("resourceNames", ()))
        if not hit:
            left.append(rule)
            continue
        others = [other for other in rule["resources"] if other != resource]
        siblings = [other for other in rule.get("resourceNames", ()) if name and other != name]
        kept = [verb for verb in rule["verbs"] if verb not in verbs]
        left += [{**rule, "resources": others}] if others else []
        left += [{**rule, "resources": [resource], "resourceNames": siblings}] if siblings else []
        only = {"resourceNames": [name]} if name else {}
        left += [{**rule, "resources": [resource], **only, "verbs": kept}] if kept else []
    return left


@contextlib.contextmanager
def lacking(admin: AdminClient, role: str, verbs: tuple[str, ...], resource: str, name: str = "") -> Iterator[None]:
    """A role without those rights, until the end of the block."""
    whole = admin.get(role)["rules"]
    admin.patch(role, {"rules": without(whole, verbs, resource, name)})
    yield
    admin.patch(role, {"rules": whole})


READS = ("get", "list", "watch")
WRITES = ("create", "patch")

IN_NAMESPACE: dict[str, tuple[tuple[str, ...], str, str, str, str]] = {
    # verbs, resource, name -> condition, what is named
    "reading the kubeconfig": (
        READS,
        "secrets",
        "tenant-cluster-1-kubeconf",
        "CredentialsValid",
        'list resource "secrets"',
    ),
    "watching the kubeconfig": (
        ("watch",),
        "secrets",
        "tenant-cluster-1-kubeconf",
        "CredentialsValid",
        'watch resource "secrets"',
    ),
    "keeping the kubeconfig": (WRITES, "secrets", names.TENANT_KUBECONFIG, "CredentialsValid", 'resource "secrets"'),
    "writing the credential": (WRITES, "secrets", names.TENANT_CREDENTIAL, "DpuCredentialValid", 'resource "secrets"'),
    "creating the certificate": (
        ("create",),
        "secrets",
        names.OVN_CERT,
        "TenantObjsSynced",
        'create resource "secrets"',
    ),
    "patching the configuration": (
        ("patch",),
        "configmaps",
        names.OVNKUBE_CONFIG,
        "TenantObjsSynced",
        'patch resource "configmaps"',
    ),
    "watching a copy": (("watch",), "configmaps", names.OVN_CA, "TenantObjsSynced", 'watch resource "configmaps"'),
    "reading the overrides": (READS, "configmaps", names.ENV_OVERRIDES, "OvnKubeReady", 'list resource "configmaps"'),
    "watching pods": (("watch",), "pods", "", "OvnKubeReady", 'watch resource "pods"'),
    "creating the daemonset": (("create",), "daemonsets", "", "OvnKubeReady", 'create resource "daemonsets"'),
    "creating the account": (("create",), "serviceaccounts", "", "OvnKubeReady", 'create resource "serviceaccounts"'),
}


@pytest.mark.parametrize(
    ("verbs", "resource", "name", "condition", "words"), IN_NAMESPACE.values(), ids=IN_NAMESPACE.keys()
)
def test_a_right_that_is_missing_in_the_namespace_is_named(
    trial: Trial, verbs: tuple[str, ...], resource: str, name: str, condition: str, words: str
) -> None:
    with lacking(trial.infra, role_of(trial), verbs, resource, name):
        trial.quick_start()
        said = trial.wait(condition, "False", "Forbidden")
        assert words in said["message"]
        assert f'in the namespace "{trial.namespace}"' in said["message"]
        trial.wait_event("Forbidden", words)
        if resource != "pods":  # which say who serves, and so what the pool may let go
            trial.wait("McpReady", "True")
    if "watch" in verbs and "list" not in verbs:
        trial.store_kubeconfig()  # whatever changes shows at once that the watch is back
        _stir(trial, resource, name)
    trial.wait("Ready", "True", within=HEALED_SECONDS)


def _stir(trial: Trial, resource: str, name: str) -> None:
    """Change what the watch that was missing shows."""
    kind = {"secrets": SECRETS, "configmaps": CONFIGMAPS}.get(resource)
    if kind is not None and name:
        place = trial.path(kind, name)
        trial.infra.wait_for(place, bool)
        trial.infra.patch(place, {"metadata": {"annotations": {"stirred": "yes"}}})
    for pod in trial.pods():
        trial.infra.patch(
            f"/api/v1/namespaces/{trial.namespace}/pods/{pod['metadata']['name']}",
            {"metadata": {"annotations": {"stirred": "yes"}}},
        )


def test_without_the_right_to_restart_an_idle_pod_that_is_named(trial: Trial) -> None:
    trial.store_kubeconfig()
    trial.create_config()
    trial.wait("McpReady", "True")
    eventually(trial.pods, lambda pods: [pod["status"].get("phase") for pod in pods] == ["Running"])
    with lacking(trial.infra, role_of(trial), ("delete",), "pods"):
        trial.store_overrides()
        said = trial.wait("OvnKubeReady", "False", "Forbidden")
        assert 'delete resource "pods"' in said["message"]
        trial.wait_event("Forbidden", 'delete resource "pods"')
    trial.wait("Ready", "True", within=HEALED_SECONDS)


@pytest.mark.parametrize("verbs", [READS, WRITES], ids=["reading", "writing"])
def test_without_the_rights_of_dpunodes_that_is_named_and_nothing_else_waits(
    trial: Trial, verbs: tuple[str, ...]
) -> None:
    with lacking(trial.infra, role_of(trial), verbs, "dpunodes"):
        trial.quick_start()
        trial.wait("Ready", "True")
        trial.wait_event("DpuNodesNotWritten", 'resource "dpunodes"')


IN_CLUSTER: dict[str, tuple[tuple[str, ...], str, str, str]] = {
    "creating the machine config": (("create",), "machineconfigs", "McpReady", 'create resource "machineconfigs"'),
    "patching the pool": (("patch",), "machineconfigpools", "McpReady", 'patch resource "machineconfigpools"'),
    "the finalizer": (("patch",), "dpuclusterconfigs", "Ready", 'patch resource "dpuclusterconfigs"'),
}


@pytest.mark.parametrize(("verbs", "resource", "condition", "words"), IN_CLUSTER.values(), ids=IN_CLUSTER.keys())
def test_a_right_that_is_missing_in_the_cluster_is_named(
    trial: Trial, verbs: tuple[str, ...], resource: str, condition: str, words: str
) -> None:
    with lacking(trial.infra, CLUSTER_ROLE, verbs, resource):
        trial.quick_start()
        said = trial.wait(condition, "False", "Forbidden")
        assert words in said["message"]
        trial.wait_event("Forbidden", words)
    trial.wait("Ready", "True", within=HEALED_SECONDS)


def test_without_the_right_to_write_the_status_the_log_tells_and_the_work_goes_on(
    trial: Trial, operator: OperatorProcess
) -> None:
    with lacking(trial.infra, CLUSTER_ROLE, ("patch",), "dpuclusterconfigs/status"):
        before = len(operator.log_text())
        trial.quick_start()
        eventually(
            lambda: operator.log_text()[before:],
            lambda text: 'cannot patch resource \\"dpuclusterconfigs/status\\"' in text,
        )
    trial.wait("Ready", "True", within=HEALED_SECONDS)


def test_without_the_right_to_tell_the_work_goes_on(trial: Trial) -> None:
    with lacking(trial.infra, role_of(trial), ("create", "patch"), "events"):
        trial.ready()
        words = "Events are not written"
        eventually(lambda: trial.condition("Ready"), lambda found: words in found["message"], HEALED_SECONDS)
        ready = trial.condition("Ready")
        assert (ready["status"], "events.events.k8s.io is forbidden" in ready["message"]) == ("True", True)
        assert trial.events() == []
    eventually(lambda: trial.condition("Ready"), lambda found: words not in found["message"], 100.0)
    trial.wait_event("EventsRefused", words)


def test_a_right_that_is_missing_at_the_end_is_named_and_the_finalizer_stays(trial: Trial) -> None:
    trial.ready()
    with lacking(trial.infra, role_of(trial), ("delete",), "daemonsets"):
        trial.delete_config()
        said = trial.wait("Ready", "False", "Forbidden")
        assert 'delete resource "daemonsets"' in said["message"]
        trial.wait_event("Forbidden", 'delete resource "daemonsets"')
        assert trial.config()["metadata"]["finalizers"] == [names.FINALIZER]
    eventually(trial.config, lambda config: not config, HEALED_SECONDS)


def test_a_right_that_is_taken_away_later_is_named_and_loses_nothing(trial: Trial) -> None:
    trial.ready()
    before, uid = trial.dpu_status(), trial.config()["status"]["tenantUID"]
    with lacking(trial.infra, role_of(trial), WRITES, "secrets", names.TENANT_KUBECONFIG):
        trial.store_kubeconfig(trial.kubeconfig(token=trial.token(7200)))
        said = trial.wait("CredentialsValid", "False", "Forbidden")
        assert 'patch resource "secrets"' in said["message"]
        assert "parameters.yaml" not in said["message"]
        assert trial.config()["status"]["tenantUID"] == uid
        assert trial.condition("TenantReachable")["status"] == "True"
        assert trial.dpu_status() == before
    trial.wait("Ready", "True", within=HEALED_SECONDS)
    assert trial.config()["status"]["tenantUID"] == uid


def test_a_secret_that_the_shipped_rights_do_not_name_is_told_with_where_its_name_belongs(trial: Trial) -> None:
    trial.store_overrides()
    trial.create_config(kubeConfigFile="another-name")
    said = trial.wait("CredentialsValid", "False", "Forbidden")
    assert "write that name as kubeConfigFile into parameters.yaml" in said["message"]
    assert "another-name" in said["message"]


IN_TENANT: dict[str, tuple[str, str, str]] = {
    "secrets": ("secrets", "TenantObjsSynced", 'list resource "secrets"'),
    "configmaps": ("configmaps", "TenantObjsSynced", 'list resource "configmaps"'),
    "pods": ("pods", "OvnKubeReady", 'list resource "pods"'),
    "daemonsets": ("daemonsets", "OvnKubeReady", 'list resource "daemonsets"'),
}


@pytest.mark.parametrize(("resource", "condition", "words"), IN_TENANT.values(), ids=IN_TENANT.keys())
def test_a_right_that_is_missing_in_the_tenant_is_named(
    trial: Trial, resource: str, condition: str, words: str
) -> None:
    role, everywhere = tenant_role_of(trial), f"{RBAC}/clusterroles/{ACCOUNT}"
    with lacking(trial.tenant, role, READS, resource), lacking(trial.tenant, everywhere, READS, resource):
        trial.quick_start()
        said = eventually(lambda: trial.condition(condition), lambda found: words in found.get("message", ""))
        assert said["status"] != "True"
        assert f'in the namespace "{trial.tenant_namespace}"' in said["message"]
        assert trial.get(DAEMONSETS, names.OVNKUBE_NODE) == {}
    trial.wait("Ready", "True", within=HEALED_SECONDS)


def test_without_the_right_to_see_who_the_tenant_is_nothing_of_it_is_used(trial: Trial) -> None:
    role = f"{RBAC}/clusterroles/{ACCOUNT}"
    with lacking(trial.tenant, role, READS, "namespaces"):
        trial.quick_start()
        said = trial.wait("CredentialsValid", "False", "Forbidden")
        assert 'get resource "namespaces"' in said["message"]
        assert trial.get(SECRETS, names.TENANT_CREDENTIAL) == {}
        trial.store_overrides()
    trial.wait("Ready", "True")
