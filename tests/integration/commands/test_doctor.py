"""`doctor` on two real API servers: in order, with each of the faults that people make, and under lesser rights."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import not_
from typing import Any

import pytest

from dpunetop.app.commands.doctor import doctor
from dpunetop.domain import names
from dpunetop.domain.doctor.table import CHECKS
from dpunetop.kube.errors import ApiError
from dpunetop.kube.keys import CLUSTERROLES, DEPLOYMENTS, NODES, ROLES, SECRETS, SERVICEACCOUNTS, Resource
from dpunetop.kube.meta import new_object
from dpunetop.kube.requests import get
from dpunetop.sandbox.admin import Obj
from dpunetop.sandbox.controlplane import ControlPlane
from dpunetop.sandbox.crds import NODE_MAINTENANCE
from support.clinic import CONFIG_PATH, DPU, HOME, HOST, OPERATOR, OVERRIDES_PATH, OVN, SECRET, Clinic, overrides
from support.faultproxy import FaultProxy
from support.trial import eventually

Plant = Callable[[Clinic], AbstractContextManager[None]]


@dataclass(frozen=True)
class Fault:
    """One mistake, and what a person must be able to read: the object, the cause, what to do."""

    name: str
    plant: Plant
    says: tuple[str, ...]
    exit: int = 1
    as_operator: bool = False


def at(resource: Resource, namespace: str, name: str) -> str:
    """Path of an object."""
    return get(resource, namespace, name).target


def patched(of: str, path: str, patch: Obj, status: str = "") -> Plant:
    """An object of a cluster is patched."""
    return lambda clinic: clinic.changed(getattr(clinic, of), path, patch, status)


def gone(of: str, path: str) -> Plant:
    """An object of a cluster is deleted."""
    return lambda clinic: clinic.without(getattr(clinic, of), path)


def lesser(of: str, path: str, resource: str) -> Plant:
    """A role without its rules about a resource."""

    @contextmanager
    def plant(clinic: Clinic) -> Iterator[None]:
        plane: ControlPlane = getattr(clinic, of)
        rules = [rule for rule in plane.admin.get(path)["rules"] if resource not in rule["resources"]]
        with clinic.changed(plane, path, {"rules": rules}):
            yield

    return plant


def stored(make: Callable[[Clinic], Obj]) -> Plant:
    """Another kubeconfig in the Secret."""

    @contextmanager
    def plant(clinic: Clinic) -> Iterator[None]:
        clinic.store(make(clinic))
        yield
        clinic.store(clinic.operators_kubeconfig())

    return plant


def jwt(ends: datetime) -> str:
    """A token that says when it ends; nobody verifies it here."""
    claims = json.dumps({"iat": int((ends - timedelta(days=365)).timestamp()), "exp": int(ends.timestamp())})
    return f"e30.{base64.urlsafe_b64encode(claims.encode()).decode().rstrip('=')}.c2ln"


def with_exec(clinic: Clinic) -> Obj:
    """A kubeconfig as cloud providers give it."""
    made: Obj = json.loads(json.dumps(clinic.operators_kubeconfig()))
    made["users"][0]["user"] = {"exec": {"command": "aws", "apiVersion": "client.authentication.k8s.io/v1"}}
    return made


@contextmanager
def older_definition(clinic: Clinic) -> Iterator[None]:
    """The CustomResourceDefinition of a release that knew no spec.unplanned."""
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{names.DPUCLUSTERCONFIGS}"
    versions = clinic.infra.admin.get(path)["spec"]["versions"]
    older = json.loads(json.dumps(versions))
    del older[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["unplanned"]
    with clinic.changed(clinic.infra, path, {"spec": {"versions": older}}):
        yield


@contextmanager
def stale_lease(clinic: Clinic) -> Iterator[None]:
    """The leader has not renewed for an hour."""
    clinic.lead(datetime.now(UTC) - timedelta(hours=1))
    yield
    clinic.lead(datetime.now(UTC))


@contextmanager
def no_maintenance_kind(clinic: Clinic) -> Iterator[None]:
    """The node maintenance operator is not installed."""
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{names.NODEMAINTENANCES}"
    clinic.tenant.admin.delete(path)
    clinic.tenant.admin.wait_for("/apis", lambda found: "nodemaintenance.medik8s.io" not in json.dumps(found))
    yield
    clinic.tenant.apply(NODE_MAINTENANCE)


@contextmanager
def dead_webhook(clinic: Clinic) -> Iterator[None]:
    """The node maintenance operator's webhook does not answer."""
    hook = {
        "name": "vnodemaintenance.kb.io",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "timeoutSeconds": 1,
        "clientConfig": {"url": "https://127.0.0.1:1/validate"},
        "rules": [
            {
                "apiGroups": ["nodemaintenance.medik8s.io"],
                "apiVersions": ["v1beta1"],
                "operations": ["CREATE"],
                "resources": ["nodemaintenances"],
            }
        ],
    }
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    clinic.tenant.admin.create(path, {**kind, "metadata": {"name": "nmo"}, "webhooks": [hook]})
    eventually(lambda: takes_a_maintenance(clinic), not_)
    yield
    clinic.tenant.admin.delete(f"{path}/nmo")
    eventually(lambda: takes_a_maintenance(clinic), bool)


def takes_a_maintenance(clinic: Clinic) -> bool:
    """Whether the tenant would: it asks a new webhook, and leaves one that is gone, a moment later."""
    body = new_object(names.NODEMAINTENANCES, "", "probe", spec={"nodeName": HOST, "reason": "x"})
    try:
        clinic.tenant.admin.apply_at(clinic.tenant.admin.path_of(body), body, dryRun="All")
    except ApiError:
        return False
    return True


@contextmanager
def not_admitted(clinic: Clinic) -> Iterator[None]:
    """The operator has found out that the tenant's webhook refuses the pods of the DPUs."""
    clinic.judge("False", "start the tenant's ovnkube-identity with --extra-allowed-user=x")
    yield
    clinic.judge("True", "")


NETWORK = at(names.NETWORKS, "", names.CLUSTER_NETWORK)
CREDENTIAL = at(SECRETS, HOME, names.TENANT_CREDENTIAL)
DEPLOYMENT = at(DEPLOYMENTS, OPERATOR, "dpunetop")
PAST = "2026-01-01T00:00:00Z"
ENFORCE = "pod-security.kubernetes.io/enforce"

FAULTS = (
    Fault(
        "the operator lacks a right in its own namespace",
        lesser("infra", at(ROLES, OPERATOR, "dpunetop-blockers"), "poddisruptionbudgets"),
        (
            "system:serviceaccount:openshift-dpu-network-operator:dpunetop in infra: may not get poddisruptionbudgets",
            "which Role dpunetop-blockers in openshift-dpu-network-operator gives",
            "-> kubectl apply --server-side -f deploy/dpunetop.yaml",
        ),
    ),
    Fault(
        "a served namespace grants the Secret by another name",
        patched("infra", CONFIG_PATH, {"spec": {"kubeConfigFile": "tenant-cluster-1-kubeconfig"}}),
        (
            "may not get secrets tenant-cluster-1-kubeconfig in tenant-cluster-1",
            "-> cp -r config/samples/tenant-namespace tenant-cluster-1; edit tenant-cluster-1/parameters.yaml: "
            "namespace: tenant-cluster-1, kubeConfigFile: tenant-cluster-1-kubeconfig; kubectl apply -k",
            "Secret tenant-cluster-1/tenant-cluster-1-kubeconfig: does not exist",
        ),
    ),
    Fault(
        "the tenant's kubeconfig lacks a right",
        lesser("tenant", at(ROLES, OVN, "dpunetop-operator"), "leases"),
        (
            "the kubeconfig in tenant: may not get leases in openshift-ovn-kubernetes",
            "which Role dpunetop-operator in openshift-ovn-kubernetes gives",
            "-> kubectl --kubeconfig TENANT-ADMIN apply -f deploy/tenant-rights.yaml",
        ),
        as_operator=True,
    ),
    Fault(
        "the role of the DPU pods is not in the tenant",
        gone("tenant", at(CLUSTERROLES, "", "dpunetop-dpu")),
        ("ClusterRole dpunetop-dpu of the tenant: does not exist", "deploy/tenant-rights.yaml"),
    ),
    Fault(
        "Pod Security refuses the pods of the DPUs",
        patched("infra", f"/api/v1/namespaces/{HOME}", {"metadata": {"labels": {ENFORCE: "restricted"}}}),
        (
            "namespace tenant-cluster-1: does not admit pods of ServiceAccount",
            "violates PodSecurity 'restricted",
            f"-> kubectl label namespace tenant-cluster-1 --overwrite {ENFORCE}=privileged",
        ),
    ),
    Fault(
        "an entry names a host with a typo",
        patched("infra", OVERRIDES_PATH, {"data": overrides(**{DPU: HOST.replace("worker", "wroker")})}),
        (
            f"{DPU}: its host {HOST.replace('worker', 'wroker')} does not exist in the tenant",
            f"did you mean {HOST}",
            "-> kubectl edit configmap env-overrides --namespace tenant-cluster-1",
        ),
    ),
    Fault(
        "an entry names a DPU that does not exist",
        patched("infra", OVERRIDES_PATH, {"data": overrides(**{"bf2-worker-nowhere": "worker-nowhere"})}),
        ("bf2-worker-nowhere", "kubectl edit configmap env-overrides --namespace tenant-cluster-1"),
    ),
    Fault(
        "a DPU lacks its label",
        patched("infra", at(NODES, "", DPU), {"metadata": {"labels": {names.DPU_NODE_LABEL: None}}}),
        (
            f"Node {DPU} of infra: has the label node-role.kubernetes.io/dpu-worker, but not {names.DPU_NODE_LABEL}",
            f"-> kubectl label node {DPU} {names.DPU_NODE_LABEL}=",
        ),
    ),
    Fault(
        "a namespace is granted other nodes",
        patched(
            "infra",
            f"/api/v1/namespaces/{HOME}",
            {"metadata": {"annotations": {names.NODE_GRANT_ANNOTATION: "rack=b"}}},
        ),
        (
            f"does not get Node {DPU}, which it selects: it is not granted by annotation",
            "-> kubectl annotate namespace tenant-cluster-1 --overwrite 'dpu.openshift.io/node-grant=",
        ),
    ),
    Fault(
        "the node maintenance operator is missing",
        no_maintenance_kind,
        (
            "API nodemaintenances.nodemaintenance.medik8s.io of the tenant: is not served",
            "-> install the node maintenance operator in the tenant",
        ),
    ),
    Fault(
        "the node maintenance operator does not answer",
        dead_webhook,
        (
            "node maintenance operator of the tenant: does not take a NodeMaintenance",
            "vnodemaintenance.kb.io",
            "-> kubectl --kubeconfig TENANT get pods --all-namespaces | grep node-maintenance",
        ),
    ),
    Fault(
        "the stored kubeconfig has expired",
        stored(lambda clinic: clinic.tenant.token_kubeconfig(jwt(datetime(2026, 1, 1, tzinfo=UTC)))),
        (
            f"Secret tenant-cluster-1/{SECRET}: its credential ended on 2026-01-01T00:00:00Z",
            "-> python -m dpunetop tenant-kubeconfig",
            f"kubectl create secret generic {SECRET} --from-file=config=tenant.kubeconfig",
        ),
    ),
    Fault(
        "the stored kubeconfig would run a program",
        stored(with_exec),
        (f"Secret tenant-cluster-1/{SECRET}: its kubeconfig is not taken", "exec", "dpunetop tenant-kubeconfig"),
    ),
    Fault(
        "the credential of the pods has ended",
        patched(
            "infra", CREDENTIAL, {"metadata": {"annotations": {names.EXPIRES_AT_ANNOTATION: "2026-01-01T00:00:00Z"}}}
        ),
        (
            "Secret tenant-cluster-1/dpunetop-tenant-credential, of the DPU pods: its token ended on 2026-01-01",
            "-> kubectl describe dcc dpuclusterconfig-sample --namespace tenant-cluster-1",
        ),
    ),
    Fault(
        "the definition is of an older release",
        older_definition,
        (
            "CustomResourceDefinition dpuclusterconfigs.dpu.openshift.io: is of another release",
            "it lacks v1alpha1.spec.unplanned",
            "-> kubectl apply --server-side -f deploy/dpunetop.yaml",
        ),
    ),
    Fault(
        "no operator leads",
        stale_lease,
        (
            "Lease openshift-dpu-network-operator/dpunetop: was last renewed 60 min ago",
            "by dpunetop-0: no operator leads",
            "-> kubectl logs --namespace openshift-dpu-network-operator deployment/dpunetop",
        ),
    ),
    Fault(
        "the operator's pods are not Ready",
        patched("infra", DEPLOYMENT, {"status": {"readyReplicas": 0}}, "/status"),
        (
            "Deployment openshift-dpu-network-operator/dpunetop: none of its 2 pods is Ready",
            "-> kubectl describe pods --namespace openshift-dpu-network-operator",
        ),
    ),
    Fault(
        "the uplinks may be too small",
        patched("infra", NETWORK, {"status": {"clusterNetworkMTU": 1200}}),
        ("its packets take 1500 bytes on the wire", "uplinks of 1300", "each DPU's uplink needs an MTU of 1500"),
        exit=0,
    ),
    Fault(
        "the tenant's webhook refuses the pods",
        not_admitted,
        (
            "DpuCredentialValid: start the tenant's ovnkube-identity with --extra-allowed-user=x",
            "-> kubectl describe dcc dpuclusterconfig-sample",
        ),
    ),
    Fault(
        "another tenant than before",
        patched("infra", CONFIG_PATH, {"status": {"tenantUID": "somebody-else"}}, "/status"),
        ("no DpuClusterConfig is of the tenant whose namespace kube-system has the UID",),
        exit=3,
    ),
)


def look(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """What a person sees, and the exit code."""
    code = doctor(list(arguments))
    return code, capsys.readouterr().out


def test_an_installation_in_order_is_said_to_be(clinic: Clinic, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = look(capsys, *clinic.arguments)
    assert (code, text.splitlines()[-1]) == (0, f"{len(CHECKS)} checks: {len(CHECKS)} ok")


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_fault_is_named_with_its_object_its_cause_and_what_to_do(
    fault: Fault, clinic: Clinic, capsys: pytest.CaptureFixture[str]
) -> None:
    with fault.plant(clinic):
        code, text = look(capsys, *(clinic.as_operator() if fault.as_operator else clinic.arguments))
    assert code == fault.exit
    assert [words for words in fault.says if words not in text] == [], text


@pytest.fixture
def way(clinic: Clinic) -> Iterator[FaultProxy]:
    """A way to the tenant on which a test tells what its API server says of itself."""
    with FaultProxy.before(clinic.tenant) as proxy:
        yield proxy


def clock_ahead(way: FaultProxy) -> None:
    way.set_clock(timedelta(minutes=5))


def clock_behind(way: FaultProxy) -> None:
    way.set_clock(timedelta(minutes=-5))


def certificate_ends_soon(way: FaultProxy) -> None:
    way.certify(timedelta(days=3), begins_in=timedelta(days=-400))


def certificate_ended(way: FaultProxy) -> None:
    way.certify(timedelta(seconds=-60))


def certificate_begins_later(way: FaultProxy) -> None:
    way.certify(timedelta(days=365), begins_in=timedelta(hours=1))


@pytest.mark.parametrize(
    ("plant", "code", "says"),
    [
        (
            clock_ahead,
            0,
            ("its clock is 30", " s ahead of that of infra's", "-> have the machines of both clusters take their time"),
        ),
        (
            clock_behind,
            0,
            ("its clock is ", " s behind that of infra's", "-> have the machines of both clusters take their time"),
        ),
        (certificate_ends_soon, 0, ("the certificate of the tenant's API server ends at", "-> ")),
        (certificate_ended, 3, ("its certificate has expired; its administrator has to renew it",)),
        (certificate_begins_later, 3, ("its certificate is not valid yet; compare the clocks of both sides",)),
    ],
)
def test_what_is_wrong_with_the_tenants_api_server_itself_is_named(
    plant: Callable[[FaultProxy], None],
    code: int,
    says: tuple[str, ...],
    clinic: Clinic,
    way: FaultProxy,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plant(way)
    token = clinic.operators_kubeconfig()["users"][0]["user"]["token"]
    path = clinic.tenant.write_kubeconfig(way.kubeconfig(token), "way")
    found, text = look(capsys, clinic.arguments[0], f"--tenant-kubeconfig={path}", "--check=tenant-server")
    assert found == code, text
    assert [words for words in says if words not in text] == [], text


def test_ends_are_compared_with_the_clock_of_infra_and_a_machine_of_another_time_is_told(
    clinic: Clinic, capsys: pytest.CaptureFixture[str]
) -> None:
    with FaultProxy.before(clinic.infra) as way:
        path = clinic.infra.write_kubeconfig(way.kubeconfig(administrator_of(clinic.infra)), "way")
        looked_at = [f"--kubeconfig={path}", "--check=pod-credential"]
        before = doctor(looked_at), capsys.readouterr()
        way.set_clock(timedelta(days=7))
        after = doctor(looked_at), capsys.readouterr()
    assert (before[0], before[1].err) == (0, "")
    assert after[0] == 1
    assert f"Secret {HOME}/dpunetop-tenant-credential, of the DPU pods: its token ended on" in after[1].out
    assert " s behind that of infra's API server; times are told by the latter" in after[1].err


def administrator_of(plane: ControlPlane) -> str:
    """A token of somebody who may do anything."""
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "administrator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "namespace": "default", "name": "administrator"}],
    }
    plane.apply([new_object(SERVICEACCOUNTS, "default", "administrator"), binding])
    return plane.service_account_token("default", "administrator")


def test_without_read_permission_every_check_is_reported_as_not_looked_at(
    clinic: Clinic, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger = clinic.infra.write_kubeconfig(clinic.infra.certificate_kubeconfig("stranger"), "stranger")
    code, text = look(capsys, f"--kubeconfig={stranger}")
    assert code == 3
    assert "ok  " not in text.replace("ok             Kubernetes of infra", "").replace("ok             APIs", "")


def test_without_a_tenants_kubeconfig_the_tenant_was_not_looked_at(
    clinic: Clinic, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = look(capsys, clinic.arguments[0])
    assert code == 3
    assert text.count("no kubeconfig of it was given") == 1
    assert "-> add --tenant-kubeconfig PATH" in text


def test_it_writes_nothing(clinic: Clinic, capsys: pytest.CaptureFixture[str]) -> None:
    before = [_versions(clinic.infra), _versions(clinic.tenant)]
    look(capsys, *clinic.arguments)
    assert [_versions(clinic.infra), _versions(clinic.tenant)] == before


def _versions(plane: ControlPlane) -> dict[str, Any]:
    paths = ("/api/v1/pods", "/api/v1/configmaps", "/api/v1/nodes", "/apis/apps/v1/daemonsets", "/api/v1/secrets")
    return {path: [each["metadata"]["resourceVersion"] for each in plane.admin.list_all(path)] for path in paths}
