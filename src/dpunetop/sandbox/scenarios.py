"""The scenarios of the sandbox: actions of people and machines on two clusters, narrated step by step."""

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
from dpunetop.sandbox.components import Component
from dpunetop.sandbox.controlplane import ControlPlane
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.standins.kubelet import REBOOT_ANNOTATION, boot_id
from dpunetop.sandbox.world import World

_LOOK_SECONDS = 0.1
_STEP_SECONDS = 120.0
_WORK = "work"


class ScenarioRun:
    """The clusters and the operator that a scenario acts on, with its actions and waits.

    A wait takes two minutes at most. Raises: TimeoutError, which names the state that was not reached.
    Threads: one.
    """

    def __init__(
        self, world: World, operator: OperatorProcess, say: Callable[[str], None], look: Callable[[], None]
    ) -> None:
        """`look` is called repeatedly during each wait."""
        self.world = world
        self.operator = operator
        self._say = say
        self._look = look
        self.dpu, self.host = next(iter(world.quick_start.pairs.items()))

    def tell(self, text: str) -> None:
        """Print one line of the story."""
        self._say(f"--- {text}")

    def until(self, what: str, holds: Callable[[], bool]) -> None:
        """Wait until `holds` is true, then print `what`."""
        deadline = time.monotonic() + _STEP_SECONDS
        while not holds():
            self._look()
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {_STEP_SECONDS:g} s this is not true: {what}")
            time.sleep(_LOOK_SECONDS)
        self._look()
        self.tell(what)

    # --- acting -----------------------------------------------------------------------------------------------------

    def cordon(self, yes: bool) -> None:
        """Cordon or uncordon the DPU, as kubectl does."""
        self._patch_dpu({"spec": {"unschedulable": yes or None}})

    def reboot(self) -> str:
        """Reboot the DPU; returns the boot ID before the reboot."""
        before = boot_id(self.node())
        self._patch_dpu({"metadata": {"annotations": {REBOOT_ANNOTATION: before}}})
        return before

    def run_work(self, *, evictable: bool) -> None:
        """Run a pod on the host, with a PodDisruptionBudget that refuses its eviction unless `evictable`."""
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
        """Delete the objects of `run_work`."""
        namespace = self.world.quick_start.tenant_namespace
        for resource in (names.PODDISRUPTIONBUDGETS, DEPLOYMENTS):
            path = get(resource, namespace, _WORK).target
            if self.world.tenant.admin.get_or_empty(path):
                self.world.tenant.admin.delete(path)

    def roll(self) -> None:
        """Add a MachineConfig to the pool, which the machine-config operator then rolls out."""
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
        """Whether the DPU is Ready with another boot ID than `before`."""
        node = self.node()
        return _is_true(node, "Ready") and boot_id(node) != before

    def is_given_back(self) -> bool:
        """Whether the host is schedulable and its NodeMaintenance is gone."""
        host = self._seen(self.world.tenant, NODES, "", self.host)
        return not at(host, "spec", "unschedulable") and not self.maintenance() and not self.is_open()

    def maintenance(self) -> Obj:
        """The NodeMaintenance of the host."""
        return self._seen(self.world.tenant, names.NODEMAINTENANCES, "", names.maintenance_name(self.host))

    def is_open(self) -> bool:
        """Whether the DPU's budget is open."""
        namespace = self.world.quick_start.namespace
        budget = self._seen(self.world.infra, names.PODDISRUPTIONBUDGETS, namespace, names.blocker_name(self.dpu))
        return at(budget, "spec", "maxUnavailable") == 1

    def works(self) -> Obj | None:
        """The pod of `run_work`, once it runs."""
        path = get(PODS, self.world.quick_start.tenant_namespace, "").target.rstrip("/")
        found = self.world.tenant.admin.list_all(path, labelSelector=f"app={_WORK}")
        return next((pod for pod in found if _is_true(pod, "Ready")), None)

    def pods(self) -> dict[str, str]:
        """The UID of each Ready ovnkube-node pod, by DPU."""
        path = get(PODS, self.world.quick_start.namespace, "").target.rstrip("/")
        found = self.world.infra.admin.list_all(path, labelSelector=f"app={names.OVNKUBE_NODE}")
        return {str(at(pod, "spec", "nodeName")): uid_of(pod) for pod in found if _is_true(pod, "Ready")}

    def says(self, type_: str, status: str) -> bool:
        """Whether a condition of the DpuClusterConfig has that status."""
        return (condition_of(self.world.config(), type_) or {}).get("status") == status

    def message(self, type_: str) -> str:
        """The message of a condition of the DpuClusterConfig."""
        return str((condition_of(self.world.config(), type_) or {}).get("message"))

    def is_rolled(self) -> bool:
        """Whether every DPU runs the configuration of the pool, and no drain is under way."""
        pool = self._seen(self.world.infra, names.MACHINECONFIGPOOLS, "", self.world.quick_start.pool)
        wanted, runs = at(pool, "spec", "configuration", "name"), at(pool, "status", "configuration", "name")
        sources = mappings(at(pool, "spec", "configuration", "source"))
        has_ours = any(str(each.get("name")).endswith("-sandbox") for each in sources)
        rests = (condition_of(self.world.config(), "PairsHealthy") or {}).get("reason") == "AllProtected"
        return has_ours and wanted == runs and self.says("Ready", "True") and rests and self.is_given_back()

    def copied_kubeconfig(self) -> str:
        """The kubeconfig in use, from the operator's copy."""
        kept = self._seen(self.world.infra, SECRETS, self.world.quick_start.namespace, names.TENANT_KUBECONFIG)
        return str(at(kept, "data", "kubeconfig"))

    def _seen(self, cluster: ControlPlane, resource: Resource, namespace: str, name: str) -> Obj:
        return cluster.admin.get_or_empty(get(resource, namespace, name).target)


@dataclass(frozen=True)
class Scenario:
    """One scenario, and the line that announces it."""

    title: str
    play: Callable[[ScenarioRun], None]


def _drain(run: ScenarioRun) -> None:
    run.run_work(evictable=True)
    run.until(f"a workload runs on host {run.host}", lambda: run.works() is not None)
    _drain_dpu(run)
    run.end_work()


def _drain_dpu(run: ScenarioRun) -> None:
    run.tell(f"kubectl cordon {run.dpu}: an admin drains the DPU, and its host would lose its network")
    run.cordon(True)
    run.until(
        f"the operator first drains host {run.host}: it creates a NodeMaintenance", lambda: bool(run.maintenance())
    )
    run.until(
        "host drained: the operator opens the budget of the DPU's blocker, so the DPU may be drained", run.is_open
    )
    _finish(run)


def _finish(run: ScenarioRun) -> None:
    before = run.reboot()
    run.until(f"{run.dpu} is back from its reboot", lambda: run.is_back(before))
    run.tell(f"kubectl uncordon {run.dpu}: the operator waits for proof that its network works")
    run.cordon(False)
    run.until(f"proven: the operator gives host {run.host} back", run.is_given_back)
    run.until("Ready: every DPU serves its host", lambda: run.says("Ready", "True"))


def _roll(run: ScenarioRun) -> None:
    run.tell("a new MachineConfig for the pool: the machine-config operator drains and reboots one DPU after the other")
    run.roll()
    run.until("every DPU runs it, and each host was drained before its DPU rebooted", run.is_rolled)


def _tenant_outage(run: ScenarioRun) -> None:
    pods = run.pods()
    run.tell("the tenant's API server stops answering")
    run.world.tenant.pause(Component.APISERVER)
    try:
        run.until("the condition TenantReachable is False", lambda: not run.says("TenantReachable", "True"))
        run.tell(f"its message: {run.message('TenantReachable')}")
        run.tell(f"the operator changes nothing meanwhile: {_kept(pods, run.pods())}")
    finally:
        run.world.tenant.resume(Component.APISERVER)
    run.until("the tenant answers again: TenantReachable is True", lambda: run.says("TenantReachable", "True"))


def _rotate(run: ScenarioRun) -> None:
    pods, before = run.pods(), run.copied_kubeconfig()
    run.tell(f"a new kubeconfig is stored in Secret {run.world.quick_start.secret}")
    run.world.store_entitled_kubeconfig()
    run.until("the operator has verified it and uses it", lambda: run.copied_kubeconfig() != before)
    run.tell(f"no pod restarted: {_kept(pods, run.pods())}")


def _crash(run: ScenarioRun) -> None:
    pods = run.pods()
    run.tell("kill -9 of the operator")
    run.operator.kill()
    run.operator.wait(10.0)
    run.tell(f"the hosts keep their network: {_kept(pods, run.pods())}")
    run.operator.start()
    run.operator.wait_ready()
    run.until("the operator is back, has checked every host, and reports Ready", lambda: run.says("Ready", "True"))
    run.tell(f"it adopted the running objects: {_kept(pods, run.pods())}")


def _blocked_host(run: ScenarioRun) -> None:
    run.run_work(evictable=False)
    run.until(
        f"a workload runs on host {run.host}, and its PodDisruptionBudget refuses the eviction",
        lambda: run.works() is not None,
    )
    run.tell(f"kubectl cordon {run.dpu}")
    run.cordon(True)
    run.until(f"host {run.host} is being drained, and one pod remains", lambda: bool(_pending(run.maintenance())))
    run.tell(f"its NodeMaintenance lists the remaining pods: {', '.join(_pending(run.maintenance()))}")
    run.tell("the DPU stays until then: its budget is " + ("open" if run.is_open() else "closed"))
    run.tell(f"kubectl delete pdb {_WORK}: this lets the pod go")
    namespace = run.world.quick_start.tenant_namespace
    run.world.tenant.admin.delete(get(names.PODDISRUPTIONBUDGETS, namespace, _WORK).target)
    run.until("host drained: the operator opens the budget of the DPU's blocker", run.is_open)
    _finish(run)
    run.end_work()


SCENARIOS: Mapping[str, Scenario] = {
    "drain": Scenario("an admin drains one DPU, and the operator drains its host before it", _drain),
    "roll": Scenario("all DPUs get a new configuration, one after the other", _roll),
    "tenant-outage": Scenario("the tenant's API server stops answering and recovers", _tenant_outage),
    "rotate": Scenario("the tenant's kubeconfig is replaced", _rotate),
    "crash": Scenario("the operator is killed and started again", _crash),
    "blocked-host": Scenario("a budget keeps the last pod on a host", _blocked_host),
}
"""The scenarios, by the value of SCENARIO=."""


def _kept(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    stayed = sum(now.get(dpu) == uid for dpu, uid in before.items())
    return f"{stayed} of {len(before)} ovnkube-node pods kept running"


def _pending(maintenance: Obj) -> list[str]:
    found = at(maintenance, "status", "pendingPods") or []
    return [str(each) for each in found] if isinstance(found, list) else []


def _is_true(obj: Obj, condition: str) -> bool:
    return (condition_of(obj, condition) or {}).get("status") == "True"
