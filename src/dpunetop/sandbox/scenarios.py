"""Scenarios of the sandbox: what people and machines do to two clusters, told step by step as it happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dpunetop.domain import names
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.keys import DEPLOYMENTS, NODES, PODS, SECRETS, Resource
from dpunetop.kube.meta import Obj, new_object, uid_of
from dpunetop.kube.requests import get
from dpunetop.kube.shapes import at, mappings
from dpunetop.sandbox.controlplane import Component, ControlPlane
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.standins.kubelet import REBOOT_ANNOTATION, boot_id
from dpunetop.sandbox.world import World

_LOOK_SECONDS = 0.1
_STEP_SECONDS = 120.0
_WORK = "work"


class Stage:
    """What a scenario acts on, and what it waits for.

    Every step is waited for at most two minutes. Raises: TimeoutError, with what did not come.
    Threads: one.
    """

    def __init__(
        self, world: World, operator: OperatorProcess, say: Callable[[str], None], look: Callable[[], None]
    ) -> None:
        """`look` is called again and again while something is waited for."""
        self.world = world
        self.operator = operator
        self._say = say
        self._look = look
        self.dpu, self.host = next(iter(world.quick_start.pairs.items()))

    def tell(self, text: str) -> None:
        """Say a caption."""
        self._say(f"--- {text}")

    def until(self, what: str, holds: Callable[[], bool]) -> None:
        """Wait for something, and say that it has come."""
        deadline = time.monotonic() + _STEP_SECONDS
        while not holds():
            self._look()
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {_STEP_SECONDS:g} s it is not so that {what}")
            time.sleep(_LOOK_SECONDS)
        self._look()
        self.tell(what)

    # --- acting -----------------------------------------------------------------------------------------------------

    def cordon(self, yes: bool) -> None:
        """As `kubectl cordon` and `uncordon` do to the DPU."""
        self._patch_dpu({"spec": {"unschedulable": yes or None}})

    def reboot(self) -> str:
        """Reboot the DPU; the boot ID that ends."""
        before = boot_id(self.node())
        self._patch_dpu({"metadata": {"annotations": {REBOOT_ANNOTATION: before}}})
        return before

    def run_work(self, *, evictable: bool) -> None:
        """Have something run on the host; a budget of its own may keep it there."""
        labels, namespace = {"app": _WORK}, self.world.quick_start.tenant_namespace
        pod = {
            "nodeSelector": {"kubernetes.io/hostname": self.host},
            "containers": [{"name": _WORK, "image": "quay.io/example/work:1"}],
        }
        spec = {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        }
        objects = [new_object(DEPLOYMENTS, namespace, _WORK, spec=spec)]
        if not evictable:
            guard = {"maxUnavailable": 0, "selector": {"matchLabels": labels}}
            objects.append(new_object(names.PODDISRUPTIONBUDGETS, namespace, _WORK, spec=guard))
        self.world.tenant.apply(objects)

    def end_work(self) -> None:
        """Take away what `run_work` has made."""
        namespace = self.world.quick_start.tenant_namespace
        for resource in (names.PODDISRUPTIONBUDGETS, DEPLOYMENTS):
            path = get(resource, namespace, _WORK).target
            if self.world.tenant.admin.get_or_empty(path):
                self.world.tenant.admin.delete(path)

    def roll(self) -> None:
        """Give the pool another configuration; the machine-config operator does the rest."""
        pool = self.world.quick_start.pool
        spec = {"config": {"ignition": {"version": "3.2.0"}}, "kernelArguments": ["sandbox=rolled"]}
        config = new_object(names.MACHINECONFIGS, "", f"99-{pool}-sandbox", spec=spec)
        config["metadata"]["labels"] = {names.MACHINE_CONFIG_ROLE_LABEL: pool}
        self.world.infra.apply(config)

    def _patch_dpu(self, body: Mapping[str, Any]) -> None:
        self.world.infra.admin.patch(get(NODES, "", self.dpu).target, body)

    # --- looking ----------------------------------------------------------------------------------------------------

    def node(self) -> Obj:
        """The DPU's Node in infra."""
        return self._seen(self.world.infra, NODES, "", self.dpu)

    def is_back(self, before: str) -> bool:
        """Whether the DPU is Ready in another boot than that."""
        node = self.node()
        return _is_true(node, "Ready") and boot_id(node) != before

    def is_given_back(self) -> bool:
        """Whether the host is schedulable, and nothing of a drain is left."""
        host = self._seen(self.world.tenant, NODES, "", self.host)
        return not at(host, "spec", "unschedulable") and not self.maintenance() and not self.is_open()

    def maintenance(self) -> Obj:
        """The NodeMaintenance of the host."""
        return self._seen(self.world.tenant, names.NODEMAINTENANCES, "", names.maintenance_name(self.host))

    def is_open(self) -> bool:
        """Whether the DPU may be drained."""
        namespace = self.world.quick_start.namespace
        budget = self._seen(self.world.infra, names.PODDISRUPTIONBUDGETS, namespace, names.blocker_name(self.dpu))
        return at(budget, "spec", "maxUnavailable") == 1

    def works(self) -> Obj | None:
        """The pod of `run_work`, once it runs."""
        path = get(PODS, self.world.quick_start.tenant_namespace, "").target.rstrip("/")
        found = self.world.tenant.admin.list_all(path, labelSelector=f"app={_WORK}")
        return next((pod for pod in found if _is_true(pod, "Ready")), None)

    def pods(self) -> dict[str, str]:
        """UID of each ovnkube-node pod that is Ready, by DPU."""
        path = get(PODS, self.world.quick_start.namespace, "").target.rstrip("/")
        found = self.world.infra.admin.list_all(path, labelSelector=f"app={names.OVNKUBE_NODE}")
        return {str(at(pod, "spec", "nodeName")): uid_of(pod) for pod in found if _is_true(pod, "Ready")}

    def says(self, type_: str, status: str) -> bool:
        """Whether the DpuClusterConfig has that condition."""
        return (condition_of(self.world.config(), type_) or {}).get("status") == status

    def message(self, type_: str) -> str:
        """What a condition of the DpuClusterConfig says."""
        return str((condition_of(self.world.config(), type_) or {}).get("message"))

    def is_rolled(self) -> bool:
        """Whether every DPU runs what the pool says, and no drain is left."""
        pool = self._seen(self.world.infra, names.MACHINECONFIGPOOLS, "", self.world.quick_start.pool)
        wanted, runs = at(pool, "spec", "configuration", "name"), at(pool, "status", "configuration", "name")
        sources = mappings(at(pool, "spec", "configuration", "source"))
        has_ours = any(str(each.get("name")).endswith("-sandbox") for each in sources)
        rests = (condition_of(self.world.config(), "PairsHealthy") or {}).get("reason") == "AllProtected"
        return has_ours and wanted == runs and self.says("Ready", "True") and rests and self.is_given_back()

    def copied_kubeconfig(self) -> str:
        """The kubeconfig in use, as the operator keeps it."""
        kept = self._seen(self.world.infra, SECRETS, self.world.quick_start.namespace, names.TENANT_KUBECONFIG)
        return str(at(kept, "data", "kubeconfig"))

    def _seen(self, cluster: ControlPlane, resource: Resource, namespace: str, name: str) -> Obj:
        return cluster.admin.get_or_empty(get(resource, namespace, name).target)


@dataclass(frozen=True)
class Scenario:
    """One story, and the line that announces it."""

    title: str
    play: Callable[[Stage], None]


def _drain(stage: Stage) -> None:
    stage.run_work(evictable=True)
    stage.until(f"a workload runs on host {stage.host}", lambda: stage.works() is not None)
    _drain_dpu(stage)
    stage.end_work()


def _drain_dpu(stage: Stage) -> None:
    stage.tell(f"kubectl cordon {stage.dpu}: a person wants to drain the DPU; its host would lose its network")
    stage.cordon(True)
    stage.until(
        f"the operator has host {stage.host} drained first: a NodeMaintenance", lambda: bool(stage.maintenance())
    )
    stage.until("host drained: the budget of the DPU's blocker opens, the DPU may be drained", stage.is_open)
    _finish(stage)


def _finish(stage: Stage) -> None:
    before = stage.reboot()
    stage.until(f"{stage.dpu} is back from its reboot", lambda: stage.is_back(before))
    stage.tell(f"kubectl uncordon {stage.dpu}: the operator waits for the proof that its network works")
    stage.cordon(False)
    stage.until(f"proven: host {stage.host} is given back", stage.is_given_back)
    stage.until("Ready: every DPU serves its host", lambda: stage.says("Ready", "True"))


def _roll(stage: Stage) -> None:
    stage.tell("another MachineConfig for the pool: the machine-config operator drains and reboots DPU after DPU")
    stage.roll()
    stage.until("every DPU runs it, and every host was drained before its DPU went down", stage.is_rolled)


def _tenant_outage(stage: Stage) -> None:
    pods = stage.pods()
    stage.tell("the tenant's API server stops answering")
    stage.world.tenant.pause(Component.APISERVER)
    try:
        stage.until("the condition TenantReachable tells it", lambda: not stage.says("TenantReachable", "True"))
        stage.tell(f"it says: {stage.message('TenantReachable')}")
        stage.tell(f"nothing is changed meanwhile: {_kept(pods, stage.pods())}")
    finally:
        stage.world.tenant.resume(Component.APISERVER)
    stage.until("it answers again: TenantReachable is True", lambda: stage.says("TenantReachable", "True"))


def _rotate(stage: Stage) -> None:
    pods, before = stage.pods(), stage.copied_kubeconfig()
    stage.tell(f"another kubeconfig is put into Secret {stage.world.quick_start.secret}")
    stage.world.store_entitled_kubeconfig()
    stage.until("it was tried, and is the one in use", lambda: stage.copied_kubeconfig() != before)
    stage.tell(f"no pod had to restart for it: {_kept(pods, stage.pods())}")


def _crash(stage: Stage) -> None:
    pods = stage.pods()
    stage.tell("kill -9 of the operator")
    stage.operator.kill()
    stage.operator.wait(10.0)
    stage.tell(f"hosts keep their network without it: {_kept(pods, stage.pods())}")
    stage.operator.start()
    stage.operator.wait_ready()
    stage.until("it is back, has looked at every host, and says Ready", lambda: stage.says("Ready", "True"))
    stage.tell(f"it took over what it found: {_kept(pods, stage.pods())}")


def _blocked_host(stage: Stage) -> None:
    stage.run_work(evictable=False)
    stage.until(f"a workload runs on host {stage.host} that its budget keeps there", lambda: stage.works() is not None)
    stage.tell(f"kubectl cordon {stage.dpu}")
    stage.cordon(True)
    stage.until(f"host {stage.host} is being drained, and a pod is left", lambda: bool(_pending(stage.maintenance())))
    stage.tell(f"its NodeMaintenance names what is left: {', '.join(_pending(stage.maintenance()))}")
    stage.tell("the DPU is kept until then: its budget is " + ("open" if stage.is_open() else "closed"))
    stage.tell(f"kubectl delete pdb {_WORK}: the way out")
    namespace = stage.world.quick_start.tenant_namespace
    stage.world.tenant.admin.delete(get(names.PODDISRUPTIONBUDGETS, namespace, _WORK).target)
    stage.until("host drained: the budget of the DPU's blocker opens", stage.is_open)
    _finish(stage)
    stage.end_work()


SCENARIOS: Mapping[str, Scenario] = {
    "drain": Scenario("one DPU is drained, and gives its host back", _drain),
    "roll": Scenario("all DPUs get another configuration, one after the other", _roll),
    "tenant-outage": Scenario("the tenant's API server goes away and comes back", _tenant_outage),
    "rotate": Scenario("the tenant's kubeconfig is replaced", _rotate),
    "crash": Scenario("the operator is killed and started again", _crash),
    "blocked-host": Scenario("a host does not let its last pod go", _blocked_host),
}
"""By the word for SCENARIO=."""


def _kept(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    stayed = sum(now.get(dpu) == uid for dpu, uid in before.items())
    return f"{stayed} of {len(before)} ovnkube-node pods are the same as before"


def _pending(maintenance: Obj) -> list[str]:
    found = at(maintenance, "status", "pendingPods") or []
    return [str(each) for each in found] if isinstance(found, list) else []


def _is_true(obj: Obj, condition: str) -> bool:
    return (condition_of(obj, condition) or {}).get("status") == "True"
