"""What an installation leaves behind is swept by one command: on real servers, as their administrator; the objects are
as an operator would have left them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dpunetop.domain import names
from dpunetop.domain.drain.protection.blockers import BlockerSettings, blocker, first_budget, service_account
from dpunetop.domain.names import owner_hash
from dpunetop.kube.keys import (
    CLUSTERROLEBINDINGS,
    CONFIGMAPS,
    CUSTOMRESOURCEDEFINITIONS,
    DAEMONSETS,
    DEPLOYMENTS,
    LEASES,
    NAMESPACES,
    NODES,
    ROLEBINDINGS,
    SECRETS,
    SERVICEACCOUNTS,
    Resource,
    crd_name,
)
from dpunetop.kube.meta import annotations_of, new_object
from dpunetop.kube.requests import get
from dpunetop.sandbox import binaries
from dpunetop.sandbox.components import API_ONLY, Spec
from dpunetop.sandbox.controlplane import ControlPlane
from dpunetop.sandbox.crds import MACHINE_CONFIGURATION, NODE_MAINTENANCE

pytestmark = pytest.mark.timeout(1500)

ROOT = Path(__file__).parents[3]
SYSTEM = "openshift-dpu-network-operator"
HOME = "dpu-gone"
WORKER = names.DPU_WORKER_LABEL
DEFINITIONS = {
    "infra": (ROOT / "config" / "crd" / "dpu.openshift.io_dpuclusterconfigs.yaml", MACHINE_CONFIGURATION),
    "tenant": (NODE_MAINTENANCE,),
}
SECONDS = 120.0

Obj = dict[str, Any]


@dataclass(frozen=True)
class Clusters:
    infra: ControlPlane
    tenant: ControlPlane

    def owner(self, namespace: str) -> str:
        uid = self.infra.admin.get(get(NAMESPACES, "", names.KUBE_SYSTEM).target)["metadata"]["uid"]
        return owner_hash(uid, namespace, "sample")

    def command(self, *flags: str) -> list[str]:
        kubeconfigs = (
            f"--kubeconfig={self.infra.admin_kubeconfig}",
            f"--tenant-kubeconfig={self.tenant.admin_kubeconfig}",
        )
        return [sys.executable, "-m", "dpunetop", "sweep", *kubeconfigs, *flags]

    def sweep(self, *flags: str) -> tuple[int, str]:
        """Exit code, and all that was said."""
        ended = subprocess.run(
            self.command(*flags),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return ended.returncode, ended.stdout


@pytest.fixture(scope="module")
def clusters(programs: binaries.Binaries) -> Iterator[Clusters]:
    with (
        ControlPlane(Spec("infra", API_ONLY), programs) as infra,
        ControlPlane(Spec("tenant", API_ONLY), programs) as tenant,
    ):
        for plane in (infra, tenant):
            for definition in DEFINITIONS[plane.spec.name]:
                plane.admin.apply(definition)
        for namespace in (SYSTEM, HOME, "dpu-living"):
            infra.admin.apply(new_object(NAMESPACES, "", namespace))
        tenant.admin.apply(new_object(NAMESPACES, "", names.OVN_KUBERNETES_NAMESPACE))
        yield Clusters(infra, tenant)


def there(plane: ControlPlane, resource: Resource, namespace: str, name: str) -> Obj:
    """The object; empty if it is gone."""
    return plane.admin.get_or_empty(get(resource, namespace, name).target)


def labelled(resource: Resource, namespace: str, name: str, owner: str, **members: Any) -> Obj:
    obj = new_object(resource, namespace, name, **members)
    obj["metadata"]["labels"] = {names.OWNER_LABEL: owner}
    return obj


def protection(dpu: str, owner: str, serves: str) -> list[Obj]:
    settings = BlockerSettings(SYSTEM, "registry.example/dpunetop:1", owner, False)
    return [first_budget(settings, dpu, serves), blocker(settings, dpu), service_account(settings)]


def of_pool(owner: str) -> list[Obj]:
    config = labelled(names.MACHINECONFIGS, "", names.machine_config_name("dpu"), owner)
    config["metadata"]["labels"][names.MACHINE_CONFIG_ROLE_LABEL] = "dpu"
    config["spec"] = {"config": {"ignition": {"version": "3.2.0"}}}
    selectors = {
        "nodeSelector": {"matchLabels": {WORKER: ""}},
        "machineConfigSelector": {"matchLabels": {names.MACHINE_CONFIG_ROLE_LABEL: "dpu"}},
    }
    return [config, labelled(names.MACHINECONFIGPOOLS, "", "dpu", owner, spec=selectors)]


def daemonset(owner: str) -> Obj:
    pod = {"containers": [{"name": "ovnkube", "image": "registry.example/ovn:1"}]}
    labels = {"app": names.OVNKUBE_NODE}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    return labelled(DAEMONSETS, HOME, names.OVNKUBE_NODE, owner, spec=spec)


def leave(clusters: Clusters) -> None:
    """All that an operator has made for one DpuClusterConfig, which is gone; its host is being drained."""
    owner = clusters.owner(HOME)
    node = new_object(NODES, "", "d1")
    node["metadata"]["labels"] = {WORKER: ""}
    clusters.infra.admin.apply(node)
    clusters.infra.admin.apply([*protection("d1", owner, "w1"), *of_pool(owner), daemonset(owner)])
    clusters.infra.admin.apply(
        [
            labelled(CONFIGMAPS, HOME, names.OVNKUBE_CONFIG, owner, data={}),
            labelled(SECRETS, HOME, names.TENANT_CREDENTIAL, owner, stringData={"kubeconfig": "x"}),
            labelled(SECRETS, HOME, "somebodys", owner, stringData={"key": "x"}),
            labelled(SERVICEACCOUNTS, HOME, names.OVNKUBE_SERVICE_ACCOUNT, owner),
        ]
    )
    host = new_object(NODES, "", "w1", spec={"unschedulable": True})
    host["metadata"]["annotations"] = {names.CORDONED_BEFORE_ANNOTATION: "no"}
    account, home = names.DPU_ACCOUNT, names.OVN_KUBERNETES_NAMESPACE
    upkeep = labelled(names.NODEMAINTENANCES, "", names.maintenance_name("w1"), owner, spec={"nodeName": "w1"})
    role = {"apiGroup": "rbac.authorization.k8s.io", "name": names.DPU_ROLE}
    clusters.tenant.admin.apply(
        [
            host,
            upkeep,
            labelled(SERVICEACCOUNTS, home, account, owner),
            labelled(ROLEBINDINGS, home, account, owner, roleRef={**role, "kind": "Role"}, subjects=[]),
            labelled(CLUSTERROLEBINDINGS, "", account, owner, roleRef={**role, "kind": "ClusterRole"}, subjects=[]),
        ]
    )


def live(clusters: Clusters) -> None:
    """A DpuClusterConfig with its finalizer, and a closed budget of it."""
    config = new_object(names.DPUCLUSTERCONFIGS, "dpu-living", "sample", spec={"poolName": "other"})
    config["spec"] |= {"nodeSelector": {"matchLabels": {"pool": "other"}}, "kubeConfigFile": "tenant"}
    config["metadata"]["finalizers"] = [names.FINALIZER]
    clusters.infra.admin.apply(config)
    clusters.infra.admin.apply(protection("d9", clusters.owner("dpu-living"), "w9"))


def budget(clusters: Clusters, dpu: str) -> Obj:
    return there(clusters.infra, names.PODDISRUPTIONBUDGETS, SYSTEM, names.blocker_name(dpu))


@pytest.fixture
def left(clusters: Clusters) -> Clusters:
    live(clusters)
    leave(clusters)
    assert budget(clusters, "d1")["spec"]["maxUnavailable"] == 0
    return clusters


def lease(holder: str, number: int) -> Obj:
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 10, "renewTime": f"2026-01-01T00:00:00.{number:06}Z"}
    return new_object(LEASES, SYSTEM, names.OPERATOR_LEASE, spec=spec)


def test_nothing_is_swept_while_an_operator_renews_its_lease(left: Clusters) -> None:
    left.infra.admin.apply(lease("dpunetop-0", 0))
    with subprocess.Popen(left.command(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        number = 0
        while process.poll() is None:
            number += 1
            left.infra.admin.apply(lease("dpunetop-0", number))
        assert process.stdout is not None
        said = process.stdout.read()
    left.infra.admin.apply(lease("", 0))
    assert process.returncode == 3, said
    assert "scale deployment dpunetop --replicas=0" in said
    assert budget(left, "d1")


def test_a_dry_run_names_what_would_go_and_changes_nothing(left: Clusters) -> None:
    code, said = left.sweep("--dry-run")
    assert code == 1, said
    assert f"would delete PodDisruptionBudget {SYSTEM}/dpu-drain-blocker-d1" in said
    assert "kubectl label node d1 node-role.kubernetes.io/dpu-worker-" in said
    assert "d9" not in said
    assert budget(left, "d1")


def test_all_goes_but_what_nodes_and_hosts_still_need_until_a_person_has_done_what_is_named(left: Clusters) -> None:
    code, said = left.sweep()
    assert code == 1, said
    gone = (
        (names.PODDISRUPTIONBUDGETS, SYSTEM, names.blocker_name("d1")),
        (DEPLOYMENTS, SYSTEM, names.blocker_name("d1")),
        (DAEMONSETS, HOME, names.OVNKUBE_NODE),
        (CONFIGMAPS, HOME, names.OVNKUBE_CONFIG),
        (SECRETS, HOME, names.TENANT_CREDENTIAL),
        (SERVICEACCOUNTS, HOME, names.OVNKUBE_SERVICE_ACCOUNT),
    )
    assert [place for place in gone if there(left.infra, *place)] == []
    account, home = names.DPU_ACCOUNT, names.OVN_KUBERNETES_NAMESPACE
    places = ((SERVICEACCOUNTS, home), (ROLEBINDINGS, home), (CLUSTERROLEBINDINGS, ""))
    assert [place for place in places if there(left.tenant, *place, account)] == []
    assert not there(left.tenant, names.NODEMAINTENANCES, "", names.maintenance_name("w1"))
    host = there(left.tenant, NODES, "", "w1")
    assert host["spec"]["unschedulable"] is True
    assert annotations_of(host) == {names.LEFT_BY_ANNOTATION: left.owner(HOME)}
    assert there(left.infra, names.MACHINECONFIGPOOLS, "", "dpu")
    assert there(left.infra, names.MACHINECONFIGS, "", names.machine_config_name("dpu"))
    # What is not ours by its name, or belongs to a DpuClusterConfig that lives.
    assert there(left.infra, SECRETS, HOME, "somebodys")
    assert budget(left, "d9")["spec"]["maxUnavailable"] == 0
    assert there(left.infra, SERVICEACCOUNTS, SYSTEM, names.DRAIN_BLOCKER)

    assert f"kubectl uncordon w1; kubectl annotate node w1 {names.LEFT_BY_ANNOTATION}-" in said
    left.tenant.admin.delete(get(NODES, "", "w1").target)
    left.infra.admin.patch(get(NODES, "", "d1").target, {"metadata": {"labels": {WORKER: None}}})
    code, said = left.sweep()
    assert code == 0, said
    assert not there(left.infra, names.MACHINECONFIGPOOLS, "", "dpu")
    assert not there(left.infra, names.MACHINECONFIGS, "", names.machine_config_name("dpu"))


def test_a_definition_that_hangs_in_its_deletion_goes_with_all_that_was_held(left: Clusters) -> None:
    crd = get(CUSTOMRESOURCEDEFINITIONS, "", crd_name(names.DPUCLUSTERCONFIGS)).target
    left.infra.admin.delete(crd)
    config = get(names.DPUCLUSTERCONFIGS, "dpu-living", "sample").target
    left.infra.admin.wait_for(config, lambda obj: "deletionTimestamp" in obj.get("metadata", {}), SECONDS)
    code, said = left.sweep()
    assert code == 1, said
    assert "DpuClusterConfig dpu-living/sample is deleted, and has our finalizer" in said
    assert budget(left, "d9")
    left.sweep("--terminating")
    assert not budget(left, "d9")
    assert not there(left.infra, SERVICEACCOUNTS, SYSTEM, names.DRAIN_BLOCKER)
    left.infra.admin.wait_for(crd, lambda obj: not obj, SECONDS)
    leave(left)
    left.sweep()
    assert not budget(left, "d1")
