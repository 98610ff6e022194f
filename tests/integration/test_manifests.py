"""What is shipped in config/ and deploy/, on a real API server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from dpunetop.domain.drain.protection.blockers import BlockerSettings, blocker, service_account
from dpunetop.kube.errors import Forbidden
from dpunetop.sandbox import binaries
from dpunetop.sandbox.controlplane import ControlPlane

ROOT = Path(__file__).parents[2]
OPERATOR = "system:serviceaccount:openshift-dpu-network-operator:dpunetop"

Obj = dict[str, Any]


def documents(name: str) -> list[Obj]:
    return [document for document in yaml.safe_load_all((ROOT / "deploy" / name).read_text()) if document]


def test_deploy_is_what_config_renders_to(programs: binaries.Binaries) -> None:
    command = [str(ROOT / "hack" / "render"), "--check", str(programs.path("kubectl"))]
    environment = {**os.environ, "PYTHON": sys.executable}
    check = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (check.returncode, check.stdout + check.stderr) == (0, "")


@pytest.fixture(scope="module")
def installed(infra: ControlPlane) -> ControlPlane:
    """The operator's manifests, applied as a cluster administrator would; no pod runs."""
    infra.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "openshift-ovn-kubernetes"}})
    infra.apply([without_replicas(document) for document in documents("dpunetop.yaml")])
    infra.apply(documents("tenant-namespace.yaml"))
    return infra


def without_replicas(document: Obj) -> Obj:
    return {**document, "spec": {**document["spec"], "replicas": 0}} if document["kind"] == "Deployment" else document


def test_the_operators_pod_is_accepted_where_pods_are_restricted(installed: ControlPlane) -> None:
    [deployment] = [document for document in documents("dpunetop.yaml") if document["kind"] == "Deployment"]
    template = deployment["spec"]["template"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "labels": {"probe": "yes"}},
        "spec": template["spec"],
    }
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    installed.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "restricted", "labels": labels}})
    account = {"name": template["spec"]["serviceAccountName"], "namespace": "restricted"}
    installed.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    created = installed.admin.create("/api/v1/namespaces/restricted/pods", pod)
    installed.admin.delete("/api/v1/namespaces/restricted")
    assert created["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True


def test_a_blocker_is_accepted_where_the_operator_is_installed(installed: ControlPlane) -> None:
    namespace = next(each for each in documents("dpunetop.yaml") if each["kind"] == "Namespace")["metadata"]["name"]
    settings = BlockerSettings(namespace, image="registry.example/dpunetop:1", owner="owner", has_scc=False)
    installed.apply(service_account(settings))
    pod = blocker(settings, "dpu-1")["spec"]["template"]
    path = f"/api/v1/namespaces/{namespace}/pods"
    created = installed.admin.create(path, {"apiVersion": "v1", "kind": "Pod", **pod, "metadata": {"name": "probe"}})
    installed.admin.delete(f"{path}/probe", {"gracePeriodSeconds": 0})
    assert created["spec"]["hostNetwork"] is True


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Every scalar of an object by its path."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if pairs is None:
        return {path: value}
    return {key: leaf for name, inner in pairs for key, leaf in leaves(inner, f"{path}/{name}").items()}


def rendered(programs: binaries.Binaries, folder: Path, component: str) -> list[Obj]:
    """config/default with a component, as a kustomization of one's own has it."""
    here = {name: os.path.relpath(ROOT / "config" / name, folder) for name in ("default", component)}
    overlay = {"resources": [here["default"]], "components": [here[component]]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    command = [str(programs.path("kubectl")), "kustomize", str(folder)]
    return list(yaml.safe_load_all(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def test_the_host_network_changes_nothing_but_itself(programs: binaries.Binaries, tmp_path: Path) -> None:
    with_it = rendered(programs, tmp_path, "host-network")
    [before, after] = (
        leaves(document["spec"]["template"]["spec"])
        for all_of_it in (documents("dpunetop.yaml"), with_it)
        for document in all_of_it
        if document["kind"] == "Deployment"
    )
    assert before.keys() <= after.keys()
    assert {path: value for path, value in after.items() if before.get(path) != value} == {
        "/hostNetwork": True,
        "/dnsPolicy": "ClusterFirstWithHostNet",
        "/containers/0/args/5": "--health-probe-bind-address=127.0.0.1:49556",
        "/containers/0/livenessProbe/httpGet/host": "127.0.0.1",
        "/containers/0/readinessProbe/httpGet/host": "127.0.0.1",
    }


def test_the_policy_of_egress_is_accepted_beside_what_was_there(
    programs: binaries.Binaries, installed: ControlPlane, tmp_path: Path
) -> None:
    with_it = rendered(programs, tmp_path, "egress")
    [policy] = [document for document in with_it if document not in documents("dpunetop.yaml")]
    installed.apply(policy)
    path = f"/apis/networking.k8s.io/v1/namespaces/{policy['metadata']['namespace']}/networkpolicies"
    stored = installed.admin.get(f"{path}/{policy['metadata']['name']}")
    installed.admin.delete(f"{path}/{policy['metadata']['name']}")
    assert stored["spec"] == policy["spec"]


def allowed(
    cluster: ControlPlane, verb: str, resource: str, name: str = "", group: str = "", namespace: str = ""
) -> bool:
    attributes = {"verb": verb, "group": group, "resource": resource, "name": name, "namespace": namespace}
    review = cluster.admin.create(
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": OPERATOR, "groups": ["system:authenticated"], "resourceAttributes": attributes},
        },
    )
    answer: bool = review["status"]["allowed"]
    return answer


TENANT = "tenant-cluster-1"
GRANTED = [
    ("get", "secrets", "tenant-cluster-1-kubeconf", "", TENANT),
    ("patch", "secrets", "ovn-cert", "", TENANT),
    ("watch", "configmaps", "env-overrides", "", TENANT),
    ("delete", "configmaps", "ovn-ca", "", TENANT),
    ("create", "daemonsets", "ovnkube-node", "apps", TENANT),
    ("list", "pods", "", "", TENANT),
    ("create", "events", "", "events.k8s.io", TENANT),
    ("create", "machineconfigs", "", "machineconfiguration.openshift.io", ""),
    ("update", "leases", "dpunetop", "coordination.k8s.io", "openshift-dpu-network-operator"),
    ("get", "namespaces", "kube-system", "", ""),
    ("create", "tokenreviews", "", "authentication.k8s.io", ""),
]
DENIED = [
    ("list", "secrets", "", "", ""),
    ("list", "secrets", "", "", TENANT),
    ("get", "secrets", "another", "", TENANT),
    ("patch", "secrets", "tenant-cluster-1-kubeconf", "", TENANT),
    ("get", "secrets", "ovn-cert", "", "kube-system"),
    ("list", "configmaps", "", "", TENANT),
    ("patch", "configmaps", "env-overrides", "", TENANT),
    ("create", "pods", "", "", TENANT),
    ("patch", "nodes", "dpu-1", "", ""),
    ("create", "serviceaccounts/token", "ovn-kubernetes-node", "", TENANT),
    ("delete", "dpuclusterconfigs", "tenant", "dpu.openshift.io", TENANT),
    ("patch", "daemonsets", "ovnkube-node", "apps", "openshift-ovn-kubernetes"),
    ("get", "leases", "another", "coordination.k8s.io", "openshift-dpu-network-operator"),
    ("patch", "namespaces", TENANT, "", ""),
]


@pytest.mark.parametrize(("verb", "resource", "name", "group", "namespace"), GRANTED, ids=str)
def test_the_operator_may(
    installed: ControlPlane, verb: str, resource: str, name: str, group: str, namespace: str
) -> None:
    assert allowed(installed, verb, resource, name, group, namespace)


@pytest.mark.parametrize(("verb", "resource", "name", "group", "namespace"), DENIED, ids=str)
def test_the_operator_may_not(
    installed: ControlPlane, verb: str, resource: str, name: str, group: str, namespace: str
) -> None:
    assert not allowed(installed, verb, resource, name, group, namespace)


def test_an_object_with_a_fixed_name_is_created_by_apply_and_by_nothing_else(installed: ControlPlane) -> None:
    token = installed.service_account_token("openshift-dpu-network-operator", "dpunetop")
    operator = installed.client(token)
    path = f"/api/v1/namespaces/{TENANT}/configmaps"
    desired = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ovn-ca", "namespace": TENANT}}
    with pytest.raises(Forbidden):
        operator.create(path, desired)
    created = operator.apply_at(f"{path}/ovn-ca", desired, "dpunetop-tenantobjects")
    operator.delete(f"{path}/ovn-ca")
    operator.close()
    assert created["metadata"]["name"] == "ovn-ca"
