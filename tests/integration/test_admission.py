"""What the operator's accounts may write at most where the policies of deploy/ are installed, on real API servers.

The accounts may do everything here, so that only the policies are between them and a write.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dpunetop.domain import names
from dpunetop.domain.drain.protection.blockers import first_budget
from dpunetop.domain.ovnkube.central import service_account
from dpunetop.kube.errors import Forbidden
from dpunetop.kube.keys import CONFIGMAPS, LEASES, NODES, SERVICEACCOUNTS
from dpunetop.kube.meta import new_object
from dpunetop.sandbox.admin import AdminClient, objects_of
from dpunetop.sandbox.controlplane import ControlPlane
from dpunetop.sandbox.crds import MACHINE_CONFIGURATION, NODE_MAINTENANCE
from dpunetop.sandbox.seed import OPERATOR_ACCOUNT, OPERATOR_NAMESPACE
from support.admission import (
    BLOCKER,
    BLOCKER_BEFORE,
    CENTRAL,
    CENTRAL_BEFORE,
    INTERCONNECT,
    INTERCONNECT_BEFORE,
    OWNER,
    PREDECESSORS_BLOCKER,
    SERVED,
    SETTINGS,
    Write,
    anywhere,
    changed,
    config,
    confined,
    container_with,
    host,
    host_path,
    maintenance,
    metadata_of,
    next_release,
    outage_mark,
    pod_with,
    pool,
    renamed,
    spec_of,
    strangers_pool,
    unlabelled,
    with_volume,
)
from support.trial import eventually

DEPLOY = Path(__file__).parents[2] / "deploy"
OVN = names.OVN_KUBERNETES_NAMESPACE
TENANT_OPERATOR = "dpunetop-operator"
HELD = ["example.com/held"]
CONFIGS, POOLS, DAEMONS = "dpunetop-machineconfigs", "dpunetop-machineconfigpools", "dpunetop-daemonsets"
BLOCKERS, MAINTENANCES, HOSTS = "dpunetop-blockers", "dpunetop-nodemaintenances", "dpunetop-nodes"

ROLE = names.MACHINE_CONFIG_ROLE_LABEL
PREDECESSORS_CONFIG = unlabelled(config("old", "dpu-worker"))
STRANGERS_CONFIG = unlabelled(renamed(config("worker"), "99-worker-ssh"))
PREDECESSORS_POOL, STRANGERS_POOL = strangers_pool("old", "dpu-worker"), strangers_pool("infra", "infra")
WORKER_POOL = strangers_pool("worker", "worker")
OTHERS_DEPLOYMENT = renamed(BLOCKER, "another")
OTHERS_DAEMONS = renamed(CENTRAL, "other")
OWNED = {names.OWNER_LABEL: OWNER.hash}
OLD_BLOCKER = renamed(BLOCKER, names.blocker_name("dpu-1"))
FORMER = "tenant-former"
FORMER_DAEMONS = with_volume(changed(CENTRAL, lambda each: each["metadata"].update(namespace=FORMER)), **host_path("/"))

IN_INFRA: Mapping[str, Write] = {
    "a MachineConfig of ours": Write("apply", config("new")),
    "a MachineConfig that we have": Write("apply", config("ours")),
    "a finalizer of it goes": Write("merge", metadata_of(config("ours"), finalizers=None)),
    "it is deleted": Write("delete", config("ours")),
    "a MachineConfig with the predecessor's role": Write("apply", config("new", "dpu-worker")),
    "the predecessor's is taken over": Write("apply", config("old")),
    "who manages the predecessor's": Write("merge", metadata_of(PREDECESSORS_CONFIG, annotations={"a": "b"})),
    "the predecessor's is deleted": Write("delete", PREDECESSORS_CONFIG),
    "a MachineConfig for workers": Write("apply", renamed(config("worker"), "99-worker-root"), CONFIGS),
    "a MachineConfig for masters": Write("apply", renamed(config("master"), "99-master-root"), CONFIGS),
    "one for workers by our pattern": Write("apply", config("worker"), CONFIGS),
    "one for masters by our pattern": Write("apply", config("master"), CONFIGS),
    "our name with the role worker": Write("apply", config("new", "worker"), CONFIGS),
    "our name with the role master": Write("apply", config("new", "master"), CONFIGS),
    "our name with the role of another pool": Write("apply", config("new", "infra"), CONFIGS),
    "our name with no role": Write("apply", config("new", ""), CONFIGS),
    "a role that is changed later": Write("merge", metadata_of(config("ours"), labels={ROLE: "worker"}), CONFIGS),
    "our name without our label": Write("apply", unlabelled(config("new")), CONFIGS),
    "our label goes": Write("merge", metadata_of(config("ours"), labels={names.OWNER_LABEL: None}), CONFIGS),
    "another's MachineConfig": Write("merge", spec_of(STRANGERS_CONFIG, kernelArguments=["x"]), CONFIGS),
    "another's gets our label": Write("merge", metadata_of(STRANGERS_CONFIG, labels=OWNED), CONFIGS),
    "another's MachineConfig is deleted": Write("delete", STRANGERS_CONFIG, CONFIGS),
    "a pool of ours": Write("apply", pool("new")),
    "a pool that we have": Write("merge", spec_of(pool("ours"), nodeSelector={"matchLabels": {"rack": "b"}})),
    "a finalizer of a pool goes": Write("merge", metadata_of(pool("ours"), finalizers=None)),
    "a pool is deleted": Write("delete", pool("ours")),
    "the predecessor's pool is taken over": Write("apply", pool("old")),
    "who manages the predecessor's pool": Write("merge", metadata_of(PREDECESSORS_POOL, annotations={"a": "b"})),
    "the pool worker": Write("merge", spec_of(WORKER_POOL, paused=True), POOLS),
    "the pool worker gets our label": Write("merge", metadata_of(WORKER_POOL, labels=OWNED), POOLS),
    "the pool worker is deleted": Write("delete", WORKER_POOL, POOLS),
    "the pool master": Write("apply", pool("master"), POOLS),
    "a pool without our label": Write("apply", unlabelled(pool("new")), POOLS),
    "a pool's label goes": Write("merge", metadata_of(pool("ours"), labels={names.OWNER_LABEL: None}), POOLS),
    "another's pool": Write("merge", spec_of(STRANGERS_POOL, paused=True), POOLS),
    "another's pool is taken over": Write("apply", pool("infra"), POOLS),
    "another's pool is deleted": Write("delete", STRANGERS_POOL, POOLS),
    "ovnkube-node of a central tenant": Write("apply", CENTRAL),
    "ovnkube-node of an interconnect tenant": Write("apply", INTERCONNECT),
    "ovnkube-node, central, of before": Write("apply", CENTRAL_BEFORE),
    "ovnkube-node, interconnect, of before": Write("apply", INTERCONNECT_BEFORE),
    "ovnkube-node, central, of the next release": Write("apply", next_release(CENTRAL)),
    "ovnkube-node, interconnect, of the next release": Write("apply", next_release(INTERCONNECT)),
    "ovnkube-node with one more folder of OVN": Write("apply", with_volume(CENTRAL, **host_path("/var/lib/ovn/next"))),
    "a finalizer of ovnkube-node goes, whatever its pods are": Write(
        "merge", metadata_of(FORMER_DAEMONS, finalizers=None)
    ),
    "ovnkube-node is deleted": Write("delete", FORMER_DAEMONS),
    "another DaemonSet": Write("apply", OTHERS_DAEMONS, DAEMONS),
    "another DaemonSet is deleted": Write("delete", OTHERS_DAEMONS, DAEMONS),
    "another ServiceAccount on DPUs": Write("apply", pod_with(CENTRAL, serviceAccountName="admin"), DAEMONS),
    "ovnkube-node on any node": Write("apply", anywhere(CENTRAL), DAEMONS),
    "ovnkube-node on all nodes": Write("apply", pod_with(INTERCONNECT, affinity={}), DAEMONS),
    "ovnkube-node on a node by name": Write("apply", pod_with(CENTRAL, nodeName="master-0"), DAEMONS),
    "the root folder": Write("apply", with_volume(CENTRAL, **host_path("/")), DAEMONS),
    "a folder beside those of OVN": Write("apply", with_volume(CENTRAL, **host_path("/var/lib/kubelet")), DAEMONS),
    "the runtime's socket": Write("apply", with_volume(CENTRAL, **host_path("/run/crio/crio.sock")), DAEMONS),
    "hostIPC on DPUs": Write("apply", pod_with(CENTRAL, hostIPC=True), DAEMONS),
    "a blocker": Write("apply", BLOCKER),
    "a blocker of before": Write("apply", renamed(BLOCKER_BEFORE, names.blocker_name("dpu-3"))),
    "a blocker of the next release": Write("apply", next_release(BLOCKER)),
    "a blocker is deleted": Write("delete", OLD_BLOCKER),
    "who manages the predecessor's blocker": Write("merge", metadata_of(PREDECESSORS_BLOCKER, labels=OWNED)),
    "the predecessor's blocker is taken over": Write("apply", renamed(BLOCKER, names.blocker_name("old"))),
    "the predecessor's blocker is deleted": Write("delete", PREDECESSORS_BLOCKER),
    "another Deployment": Write("apply", renamed(BLOCKER, "root"), BLOCKERS),
    "another's Deployment is changed": Write("merge", spec_of(OTHERS_DEPLOYMENT, replicas=0), BLOCKERS),
    "another's Deployment is deleted": Write("delete", OTHERS_DEPLOYMENT, BLOCKERS),
    "a blocker with the operator's account": Write("apply", pod_with(BLOCKER, serviceAccountName="dpunetop"), BLOCKERS),
    "a privileged blocker": Write("apply", container_with(BLOCKER, securityContext={"privileged": True}), BLOCKERS),
    "a second container that is privileged": Write(
        "apply", container_with(next_release(BLOCKER), securityContext={"privileged": True}), BLOCKERS
    ),
    "a privileged container before the others": Write(
        "apply",
        pod_with(BLOCKER, initContainers=[{"name": "i", "image": "x", "securityContext": {"privileged": True}}]),
        BLOCKERS,
    ),
    "a blocker that may rise": Write("apply", container_with(BLOCKER, securityContext={}), BLOCKERS),
    "a blocker with a capability": Write("apply", confined(BLOCKER, capabilities={"add": ["SYS_ADMIN"]}), BLOCKERS),
    "a blocker that runs as root": Write("apply", confined(BLOCKER, runAsNonRoot=False, runAsUser=0), BLOCKERS),
    "a blocker that may run as root": Write("apply", pod_with(BLOCKER, securityContext={}), BLOCKERS),
    "a blocker with hostPID": Write("apply", pod_with(BLOCKER, hostPID=True), BLOCKERS),
    "a blocker with hostIPC": Write("apply", pod_with(BLOCKER, hostIPC=True), BLOCKERS),
    "a blocker with the root folder": Write("apply", with_volume(BLOCKER, **host_path("/")), BLOCKERS),
    "a blocker with a Secret": Write("apply", with_volume(BLOCKER, secret={"secretName": "tls"}), BLOCKERS),
    "a blocker with a Secret as variables": Write(
        "apply", container_with(BLOCKER, envFrom=[{"secretRef": {"name": "tls"}}]), BLOCKERS
    ),
    "a blocker with a Secret as a variable": Write(
        "apply",
        container_with(BLOCKER, env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "tls", "key": "k"}}}]),
        BLOCKERS,
    ),
    "a predecessor's blocker that gets more": Write("apply", pod_with(PREDECESSORS_BLOCKER, hostPID=True), BLOCKERS),
    "a budget": Write("apply", first_budget(SETTINGS, "dpu-2", "host-2")),
    "a budget of any name and form": Write("apply", renamed(first_budget(SETTINGS, "dpu-2", ""), "any")),
    "a budget is deleted": Write("delete", first_budget(SETTINGS, "dpu-1", "")),
    "the account of the pods": Write("apply", service_account(SERVED, OWNER)),
    "a ConfigMap": Write("apply", new_object(CONFIGMAPS, SERVED, names.OVNKUBE_CONFIG, data={"a": "b"})),
    "a Lease": Write("apply", new_object(LEASES, OPERATOR_NAMESPACE, "dpunetop", spec={"holderIdentity": "x"})),
}

OTHER_TAINT = {"key": "gpu", "effect": "NoSchedule"}
DRAIN_TAINT = {"key": names.MAINTENANCE_TAINT, "effect": "NoSchedule"}
ZONE, MARK = names.ZONE_ANNOTATION, names.CORDONED_BEFORE_ANNOTATION

IN_TENANT: Mapping[str, Write] = {
    "a maintenance of ours": Write("apply", maintenance("dpu-tenant-host-2")),
    "its marks": Write("merge", metadata_of(maintenance("dpu-tenant-host-1"), annotations={names.open_for("d"): "1"})),
    "its finalizer goes": Write("merge", metadata_of(maintenance("dpu-tenant-host-1"), finalizers=None)),
    "it is deleted": Write("delete", maintenance("dpu-tenant-host-1")),
    "another's maintenance is made": Write("apply", maintenance("drain-all"), MAINTENANCES),
    "another's maintenance is changed": Write(
        "merge", metadata_of(maintenance("by-hand"), annotations={MARK: "no"}), MAINTENANCES
    ),
    "another's maintenance is ended": Write("delete", maintenance("by-hand"), MAINTENANCES),
    "a mark": Write("merge", metadata_of(host(), annotations={MARK: "yes"})),
    "a mark goes and the cordon": Write(
        "merge", {**metadata_of(host(), annotations={MARK: None}), "spec": {"unschedulable": None}}
    ),
    "a mark of the next release": Write("merge", metadata_of(host(), annotations={"dpu.openshift.io/next": "1"})),
    "the mark of an outage": Write("apply", outage_mark()),
    "the mark of an outage, with a cordon": Write("apply", {**outage_mark(), "spec": {"unschedulable": True}}),
    "it is given up": Write("apply", new_object(NODES, "", "host-1")),
    "a cordon": Write("merge", spec_of(host(), unschedulable=True)),
    "the taint of a maintenance goes": Write("merge", spec_of(host(), taints=[OTHER_TAINT], unschedulable=None)),
    "an annotation of OVN-Kubernetes": Write("merge", metadata_of(host(), annotations={ZONE: "x"}), HOSTS),
    "an annotation of others goes": Write("merge", metadata_of(host(), annotations={ZONE: None}), HOSTS),
    "an annotation of others comes": Write("merge", metadata_of(host(), annotations={"a": "b"}), HOSTS),
    "a label": Write("merge", metadata_of(host(), labels={"node-role.kubernetes.io/master": ""}), HOSTS),
    "a label goes": Write("merge", metadata_of(host(), labels={"rack": None}), HOSTS),
    "a finalizer": Write("merge", metadata_of(host(), finalizers=[*HELD, "example.com/more"]), HOSTS),
    "an owner": Write(
        "merge",
        metadata_of(host(), ownerReferences=[{"apiVersion": "v1", "kind": "Node", "name": "x", "uid": "x"}]),
        HOSTS,
    ),
    "a taint": Write("merge", spec_of(host(), taints=[OTHER_TAINT, {"key": "a", "effect": "NoExecute"}]), HOSTS),
    "a taint of others goes": Write("merge", spec_of(host(), taints=[DRAIN_TAINT]), HOSTS),
    "a taint that becomes another": Write(
        "merge", spec_of(host(), taints=[OTHER_TAINT, {**DRAIN_TAINT, "effect": "NoExecute"}]), HOSTS
    ),
    "a provider's id": Write("merge", spec_of(host(), providerID="x://y"), HOSTS),
    "addresses of pods": Write("merge", spec_of(host(), podCIDR="10.9.0.0/24", podCIDRs=["10.9.0.0/24"]), HOSTS),
    "the account of DPUs": Write("apply", new_object(SERVICEACCOUNTS, OVN, names.DPU_ACCOUNT)),
    "a Lease": Write("apply", new_object(LEASES, OVN, "ovn-dpu-host-1", spec={"holderIdentity": "x"})),
    "the state of a Node": Write("status", metadata_of(host(), annotations={ZONE: "host-1"})),
}


def policies(manifest: str) -> list[Mapping[str, Any]]:
    return objects_of(DEPLOY / manifest)


@contextlib.contextmanager
def fenced(
    cluster: ControlPlane, manifest: str, account: tuple[str, str], there: Iterable[dict[str, Any]]
) -> Iterator[AdminClient]:
    """An account that may do everything but what the policies refuse, and what others wrote before."""
    namespace, name = account
    written = [*everything_to(namespace, name), *(idle(obj) for obj in there), *policies(manifest)]
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    cluster.apply(written)
    client = cluster.client(cluster.service_account_token(namespace, name))
    yield client
    client.close()
    for obj in reversed(written):
        path = cluster.admin.path_of(obj)
        cluster.admin.patch(path, {"metadata": {"finalizers": None}})
        cluster.admin.delete(path)


def everything_to(namespace: str, name: str) -> list[dict[str, Any]]:
    api = "rbac.authorization.k8s.io"
    binding = {
        "apiVersion": f"{api}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "everything"},
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": name}],
    }
    return [new_object(SERVICEACCOUNTS, namespace, name), binding]


def idle(obj: dict[str, Any]) -> dict[str, Any]:
    """The same held by a finalizer, and without a pod or an owner that is not there."""

    def still(each: dict[str, Any]) -> None:
        each["metadata"]["finalizers"] = HELD
        each["metadata"].pop("ownerReferences", None)
        if each["kind"] == "Deployment":
            each["spec"]["replicas"] = 0

    return changed(obj, still)


@pytest.fixture(scope="module")
def in_infra(infra: ControlPlane) -> Iterator[AdminClient]:
    """The operator's account in infra."""
    there = [
        config("ours"), PREDECESSORS_CONFIG, STRANGERS_CONFIG, pool("ours"), PREDECESSORS_POOL, STRANGERS_POOL,
        WORKER_POOL, FORMER_DAEMONS, OTHERS_DAEMONS, OLD_BLOCKER, PREDECESSORS_BLOCKER, OTHERS_DEPLOYMENT,
        first_budget(SETTINGS, "dpu-1", ""),
    ]  # fmt: skip
    infra.apply(MACHINE_CONFIGURATION)
    infra.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in (SERVED, FORMER))
    with fenced(infra, "admission.yaml", (OPERATOR_NAMESPACE, OPERATOR_ACCOUNT), there) as client:
        until_active(client, IN_INFRA)
        yield client


@pytest.fixture(scope="module")
def in_tenant(tenant: ControlPlane) -> Iterator[AdminClient]:
    """The operator's account in the tenant."""
    there = [maintenance("dpu-tenant-host-1"), maintenance("by-hand"), host()]
    tenant.apply(NODE_MAINTENANCE)
    with fenced(tenant, "tenant-admission.yaml", (OVN, TENANT_OPERATOR), there) as client:
        until_active(client, IN_TENANT)
        yield client


def refusal(client: AdminClient, write: Write) -> str:
    """Why a write is refused, whoever refuses it; empty if it is allowed."""
    try:
        write.try_with(client)
    except Forbidden as err:
        return str(err)
    return ""


def refused_by(client: AdminClient, write: Write) -> str:
    """The policy that refuses a write; empty if it is allowed. Whoever else refuses it is shown."""
    said = refusal(client, write)
    found = re.search(r"ValidatingAdmissionPolicy '([^']+)'", said)
    return found[1] if found else said


def until_active(client: AdminClient, table: Mapping[str, Write]) -> None:
    """Policies take effect a moment after they are written."""
    first = {write.refused_by: write for write in table.values() if write.refused_by}
    eventually(lambda: {refused_by(client, write) for write in first.values()}, lambda found: found == first.keys())


@pytest.mark.parametrize("write", IN_INFRA.values(), ids=IN_INFRA.keys())
def test_of_what_the_operators_token_may_write_in_infra_only_its_own_is_let_through(
    in_infra: AdminClient, write: Write
) -> None:
    assert refused_by(in_infra, write) == write.refused_by


@pytest.mark.parametrize("write", IN_TENANT.values(), ids=IN_TENANT.keys())
def test_of_what_the_operators_token_may_write_in_the_tenant_only_its_own_is_let_through(
    in_tenant: AdminClient, write: Write
) -> None:
    assert refused_by(in_tenant, write) == write.refused_by


STRICT: Mapping[str, Write] = {
    "a pool that is named": Write("apply", pool("ours")),
    "its MachineConfig": Write("apply", config("ours")),
    "a pool that is not named": Write("apply", pool("new"), POOLS),
    "the MachineConfig of such a pool": Write("apply", config("new"), CONFIGS),
    "a selector without the label": Write(
        "merge", spec_of(pool("ours"), nodeSelector={"matchLabels": {"rack": None, "kubernetes.io/os": "linux"}}), POOLS
    ),
    "a selector that asks for nodes without it": Write(
        "merge",
        spec_of(
            pool("ours"),
            nodeSelector={"matchLabels": None, "matchExpressions": [{"key": "rack", "operator": "DoesNotExist"}]},
        ),
        POOLS,
    ),
    "a finalizer of a pool that is not named goes": Write("merge", metadata_of(PREDECESSORS_POOL, finalizers=None)),
    "a MachineConfig of such a pool is deleted": Write("delete", PREDECESSORS_CONFIG),
}


def with_parameters(policy: Mapping[str, Any], parameters: Mapping[str, str]) -> dict[str, Any]:
    """A shipped policy as it is rendered with other parameters."""

    def put(each: dict[str, Any]) -> None:
        for variable in each["spec"].get("variables", ()):
            if variable["name"] in parameters:
                assert variable["expression"] == "'*'"
                variable["expression"] = f"'{parameters[variable['name']]}'"

    return changed(policy, put)


def test_pools_that_are_named_have_no_others_beside_them(in_infra: AdminClient, infra: ControlPlane) -> None:
    infra.apply(
        with_parameters(policy, {"pools": "other,ours", "nodeLabel": "rack"}) for policy in policies("admission.yaml")
    )
    until_active(in_infra, STRICT)
    assert {name: refused_by(in_infra, write) for name, write in STRICT.items()} == {
        name: write.refused_by for name, write in STRICT.items()
    }
    infra.apply(policies("admission.yaml"))
    eventually(lambda: {refused_by(in_infra, write) for write in STRICT.values()}, lambda found: found == {""})


def test_every_rule_refuses_one_of_these_writes(in_infra: AdminClient, in_tenant: AdminClient) -> None:
    said = [refusal(in_infra, write) for write in IN_INFRA.values() if write.refused_by]
    said += [refusal(in_tenant, write) for write in IN_TENANT.values() if write.refused_by]
    written = [*policies("admission.yaml"), *policies("tenant-admission.yaml")]
    rules = [rule["message"] for policy in written for rule in policy["spec"].get("validations", ())]
    idle_rules = [rule for rule in rules if not any(rule in text for text in said)]
    assert [rule for rule in idle_rules if "the parameter" not in rule] == []


def test_whoever_else_writes_is_not_judged(in_infra: AdminClient, infra: ControlPlane) -> None:
    Write("apply", renamed(config("worker"), "99-worker-other")).try_with(infra.admin)


@pytest.mark.parametrize(
    ("manifest", "cluster", "account"),
    [("admission.yaml", "infra", "in_infra"), ("tenant-admission.yaml", "tenant", "in_tenant")],
)
def test_the_api_server_finds_nothing_wrong_with_the_types_of_the_policies(
    manifest: str, cluster: str, account: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(account)
    admin = request.getfixturevalue(cluster).admin
    for policy in (obj for obj in policies(manifest) if obj["kind"] == "ValidatingAdmissionPolicy"):
        seen = admin.wait_for(
            admin.path_of(policy),
            lambda live: (live.get("status") or {}).get("observedGeneration") == live["metadata"]["generation"],
        )
        assert seen["status"]["typeChecking"] == {}, policy["metadata"]["name"]


def test_every_policy_is_bound_denies_and_has_a_write_that_it_refuses() -> None:
    written = [*policies("admission.yaml"), *policies("tenant-admission.yaml")]
    found = {obj["metadata"]["name"] for obj in written if obj["kind"] == "ValidatingAdmissionPolicy"}
    bound = {obj["spec"]["policyName"]: obj["spec"] for obj in written if obj["kind"].endswith("Binding")}
    assert {name: spec["validationActions"] for name, spec in bound.items()} == {name: ["Deny"] for name in found}
    assert {write.refused_by for write in (*IN_INFRA.values(), *IN_TENANT.values())} - {""} == found
