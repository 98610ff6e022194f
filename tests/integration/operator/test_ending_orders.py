"""Endings in orders that nobody plans: each leaves no budget that nobody can open, and no finalizer for good."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from dpunetop.domain import names
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.keys import CUSTOMRESOURCEDEFINITIONS, DEPLOYMENTS, NAMESPACES, NODES, PODS, Resource, crd_name
from dpunetop.kube.meta import annotations_of
from dpunetop.kube.requests import get
from dpunetop.sandbox.admin import Obj
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.seed import OPERATOR_NAMESPACE, ROOT, QuickStart, served_namespace
from dpunetop.sandbox.world import World
from support.drainrules import is_cordoned
from support.trial import eventually

pytestmark = pytest.mark.timeout(2000)

SLOW = 120.0
NAMES = QuickStart(dpus=2, namespace="dpu-one")
DEFINITION = get(CUSTOMRESOURCEDEFINITIONS, "", crd_name(names.DPUCLUSTERCONFIGS)).target


@dataclass(frozen=True)
class Installation:
    """An operator as it is installed, whose DPUs serve their hosts."""

    world: World
    operator: OperatorProcess

    def stop(self) -> None:
        """What becomes of it when its Deployment is deleted."""
        self.operator.terminate()
        assert self.operator.wait(120.0) is not None

    def sweep(self, *flags: str) -> tuple[int, str]:
        """Exit code, and all that was said."""
        infra, tenant = (cluster.admin_kubeconfig for cluster in (self.world.infra, self.world.tenant))
        command = [sys.executable, "-m", "dpunetop", "sweep", f"--kubeconfig={infra}", f"--tenant-kubeconfig={tenant}"]
        ended = subprocess.run([*command, *flags], capture_output=True, text=True, timeout=SLOW, check=False)
        return ended.returncode, ended.stdout + ended.stderr

    def serve(self) -> None:
        """The user's steps, until all is Ready."""
        self.world.store_kubeconfig()
        self.world.store_overrides()
        self.world.create_config()
        self.world.wait_condition("Ready", "True", SLOW)

    def hosts(self) -> list[Obj]:
        return [self.world.tenant.admin.get(get(NODES, "", host).target) for host in NAMES.pairs.values()]

    def ours(self, resource: Resource) -> list[str]:
        """Names of what protects DPUs, of one kind, in any namespace."""
        everywhere = get(resource, "x", "").target.replace("/namespaces/x/", "/").rstrip("/")
        found = self.world.infra.admin.list_all(everywhere, labelSelector=names.OWNER_LABEL)
        return [obj["metadata"]["name"] for obj in found]

    def delete_definition(self) -> None:
        self.world.infra.kubectl("delete", "crd", crd_name(names.DPUCLUSTERCONFIGS), "--wait=false")

    def definition(self) -> Obj:
        return self.world.infra.admin.get_or_empty(DEFINITION)

    def blockers(self) -> list[str]:
        """Pods that a drain of the DPUs would wait for."""
        found = self.world.infra.admin.list_all(get(PODS, OPERATOR_NAMESPACE, "").target.rstrip("/"))
        return [pod["metadata"]["name"] for pod in found if (pod.get("spec") or {}).get("nodeName") in NAMES.pairs]


@pytest.fixture
def installed(programs: object) -> Iterator[Installation]:
    """With the operator's own namespace, where its budgets are."""
    env = {"NAMESPACE": OPERATOR_NAMESPACE, "WATCH_NAMESPACE": NAMES.namespace}
    with World(quick_start=NAMES, boot_seconds=0.2, retry_seconds=0.2) as world:
        world.infra.apply(served_namespace(NAMES.namespace, NAMES.secret))
        with OperatorProcess(world.operator_kubeconfig(), env=env) as operator:
            found = Installation(world, operator)
            found.serve()
            assert len(found.ours(names.PODDISRUPTIONBUDGETS)) == len(found.blockers()) == NAMES.dpus
            yield found


def assert_drainable(installed: Installation) -> None:
    """Nothing of ours keeps a DPU from being drained."""
    assert (installed.ours(names.PODDISRUPTIONBUDGETS), installed.ours(DEPLOYMENTS)) == ([], [])
    eventually(installed.blockers, lambda left: not left, SLOW)


def is_left(host: Obj) -> bool:
    return is_cordoned(host) and bool(annotations_of(host).get(names.LEFT_BY_ANNOTATION))


def test_a_definition_that_is_deleted_first_leads_all_hosts_out_and_may_come_back(installed: Installation) -> None:
    installed.delete_definition()
    eventually(installed.definition, lambda found: not found, SLOW)
    assert_drainable(installed)
    assert all(map(is_left, installed.hosts()))
    assert installed.operator.returncode is None
    world = installed.world
    world.infra.apply((ROOT / "config" / "crd" / "dpu.openshift.io_dpuclusterconfigs.yaml").read_text())
    world.infra.admin.wait_for(DEFINITION, lambda crd: (condition_of(crd, "Established") or {}).get("status") == "True")
    world.create_config()
    world.wait_condition("Ready", "True", SLOW)
    eventually(installed.hosts, lambda hosts: not any(map(is_cordoned, hosts)), SLOW)


def test_an_operator_that_is_removed_first_is_made_up_for_by_the_sweep(installed: Installation) -> None:
    world = installed.world
    installed.stop()
    config = get(names.DPUCLUSTERCONFIGS, NAMES.namespace, NAMES.name).target
    world.infra.admin.delete(config)
    assert world.infra.admin.get(config)["metadata"]["finalizers"] == [names.FINALIZER]
    code, said = installed.sweep()
    assert code == 1, said
    assert f"DpuClusterConfig {NAMES.namespace}/{NAMES.name} is deleted, and has our finalizer" in said
    assert len(installed.ours(names.PODDISRUPTIONBUDGETS)) == NAMES.dpus  # an operator that comes back leads out
    code, said = installed.sweep("--terminating")
    assert world.infra.admin.get_or_empty(config) == {}, said
    assert_drainable(installed)
    assert not any(map(is_cordoned, installed.hosts()))  # cut off, as it was said


@pytest.mark.parametrize("first", ["operator", "manifests"])
def test_everything_that_is_deleted_at_once_holds_nobody_after_the_sweep(installed: Installation, first: str) -> None:
    world = installed.world
    if first == "operator":
        installed.stop()
    manifest = str(ROOT / "deploy" / "dpunetop.yaml")
    world.infra.kubectl("delete", "-f", manifest, "--wait=false", "--ignore-not-found")
    if first == "manifests":
        eventually(lambda: installed.ours(names.PODDISRUPTIONBUDGETS), lambda left: not left, SLOW)
        installed.stop()
    namespace = get(NAMESPACES, "", OPERATOR_NAMESPACE).target
    eventually(lambda: world.infra.admin.get_or_empty(namespace), lambda found: not found, SLOW)
    code, said = installed.sweep("--terminating")
    eventually(installed.definition, lambda found: not found, SLOW)
    assert_drainable(installed)
    again, words = installed.sweep()
    assert (code, again) in ((0, 0), (1, 1)), said + words
    for host in installed.hosts():
        assert not is_cordoned(host) or "kubectl uncordon" in words, f"{host}\n{said}\n{words}"


def test_a_namespace_of_the_operator_that_is_deleted_is_made_anew_with_what_protects(installed: Installation) -> None:
    world = installed.world
    before = installed.ours(names.PODDISRUPTIONBUDGETS)
    world.infra.kubectl("delete", "namespace", OPERATOR_NAMESPACE, "--wait=false")
    namespace = get(NAMESPACES, "", OPERATOR_NAMESPACE).target
    eventually(lambda: world.infra.admin.get_or_empty(namespace), lambda found: not found, SLOW)
    assert installed.ours(names.PODDISRUPTIONBUDGETS) == []
    installed.stop()
    world.infra.kubectl("apply", "-f", str(ROOT / "deploy" / "dpunetop.yaml"))
    env = {"NAMESPACE": OPERATOR_NAMESPACE, "WATCH_NAMESPACE": NAMES.namespace}
    with OperatorProcess(world.operator_kubeconfig(), env=env):
        eventually(lambda: sorted(installed.ours(names.PODDISRUPTIONBUDGETS)), sorted(before).__eq__, SLOW)
        world.wait_condition("Ready", "True", SLOW)
