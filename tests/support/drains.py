"""Drains on real clusters: a tenant whose DPUs serve, what moves them, and whether anything of a drain is left."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from dpunetop.domain import names
from dpunetop.domain.pairing.entries import serving_nodes
from dpunetop.kube.errors import NotFound
from dpunetop.kube.keys import CONFIGMAPS, DEPLOYMENTS, NODES, PODS, Resource
from dpunetop.kube.meta import Obj, annotations_of, labels_of, new_object
from dpunetop.kube.requests import get
from dpunetop.sandbox import seed
from dpunetop.sandbox.standins import mcorules
from dpunetop.sandbox.standins.kubelet import HOLD_READY_ANNOTATION, REBOOT_ANNOTATION, boot_id
from support.drainrules import FOLLOWED_INFRA, FOLLOWED_TENANT, Hosts, is_cordoned, is_open_budget, is_ready
from support.trial import Trial, eventually
from support.watchlog import WatchLog

WORKLOAD = "test.dpu.openshift.io/workload"
"""Label of pods that stand for what people run on hosts."""
SLOW = 120.0
_GUARD = "hold-the-drain"


class Drains:
    """What a test does to the DPUs and hosts of a trial, and sees of them.

    Threads: one.
    """

    def __init__(self, trial: Trial, pairs: Mapping[str, str] | None = None) -> None:
        """`pairs` other than the trial's own are written into `env-overrides` by `serve`."""
        self.trial = trial
        self.pairs = dict(pairs or trial.names.pairs)
        self.operator_namespace = seed.OPERATOR_NAMESPACE
        self.hosts = Hosts(self.pairs, self.operator_namespace)
        trial.world.tenant.apply(map(seed.host_node, sorted(set(self.pairs.values()))))

    @property
    def environment(self) -> dict[str, str]:
        """Of an operator that serves this trial alone."""
        return {"NAMESPACE": self.operator_namespace, "WATCH_NAMESPACE": self.trial.namespace}

    def watch_log(self, *of_tenant: Resource) -> WatchLog:
        """A watch of all that the rules look at, and of more in the tenant."""
        world = self.trial.world
        return WatchLog((world.infra, FOLLOWED_INFRA), (world.tenant, (*FOLLOWED_TENANT, *of_tenant)))

    # --- moving -----------------------------------------------------------------------------------------------------

    def run_workloads(self) -> None:
        """Have something run on every host that stays there as long as it may."""
        trial = self.trial
        for host in sorted(set(self.pairs.values())):
            trial.world.tenant.apply(_workload(trial.tenant_namespace, host))
        eventually(self.idle_hosts, lambda hosts: not hosts, SLOW)

    def serve(self, kubeconfig: Mapping[str, Any] | None = None, **spec: Any) -> None:
        """All of the user's steps, until every DPU that can serves its host under protection."""
        self.trial.store_kubeconfig(kubeconfig)
        self.trial.store_overrides({dpu: f"{names.TENANT_NODE_ENV}={host}\n" for dpu, host in self.pairs.items()})
        self.trial.create_config(**spec)
        eventually(self.unprotected, lambda dpus: not dpus, SLOW)
        eventually(self.unserved, lambda hosts: not hosts, SLOW)

    def roll(self, revision: str, max_unavailable: int = 1) -> None:
        """Give the pool another configuration, and let the machine-config operator do the rest."""
        pool = self.trial.pool
        limit = new_object(names.MACHINECONFIGPOOLS, "", pool, spec={"maxUnavailable": max_unavailable})
        spec = {"config": {"ignition": {"version": "3.2.0"}}, "kernelArguments": [f"revision={revision}"]}
        config = new_object(names.MACHINECONFIGS, "", f"99-{pool}-roll", spec=spec)
        config["metadata"]["labels"] = {names.MACHINE_CONFIG_ROLE_LABEL: pool}
        self.trial.world.infra.apply([limit, config])

    def cordon(self, dpu: str, yes: bool = True) -> None:
        """Say that the drain of a DPU is wanted, or that it is not."""
        self._patch_dpu(dpu, {"spec": {"unschedulable": yes or None}})

    def reboot(self, dpu: str, *, stays_down: bool = False) -> str:
        """Reboot a DPU, and wait until it is down or, unless it stays so, up; the boot ID that ended."""
        before = boot_id(self.dpu(dpu))
        hold = {HOLD_READY_ANNOTATION: "true"} if stays_down else {}
        self._patch_dpu(dpu, {"metadata": {"annotations": {REBOOT_ANNOTATION: before, **hold}}})
        if stays_down:
            eventually(lambda: self.dpu(dpu), lambda node: not is_ready(node), SLOW)
        else:
            self.until_up(dpu, before)
        return before

    def let_up(self, dpu: str) -> None:
        """End what keeps a DPU down."""
        self._patch_dpu(dpu, {"metadata": {"annotations": {HOLD_READY_ANNOTATION: None}}})

    def until_up(self, dpu: str, before: str) -> None:
        """Wait for another boot."""
        eventually(lambda: self.dpu(dpu), lambda node: is_ready(node) and boot_id(node) != before, SLOW)

    def hold_pod(self, dpu: str) -> None:
        """Keep the ovnkube-node pods of a DPU from being Ready."""
        self._patch_pods(dpu, {HOLD_READY_ANNOTATION: "true"})

    def let_pod_be_ready(self, dpu: str) -> None:
        """End `hold_pod`."""
        self._patch_pods(dpu, {HOLD_READY_ANNOTATION: None})

    def hold_host(self, host: str) -> None:
        """Keep the workload of a host from being evicted."""
        spec = {"maxUnavailable": 0, "selector": {"matchLabels": {WORKLOAD: host}}}
        guard = new_object(names.PODDISRUPTIONBUDGETS, self.trial.tenant_namespace, f"{_GUARD}-{host}", spec=spec)
        self.trial.world.tenant.apply(guard)

    def let_host_go(self, host: str) -> None:
        """End `hold_host`."""
        namespace = self.trial.tenant_namespace
        self.trial.tenant.delete(get(names.PODDISRUPTIONBUDGETS, namespace, f"{_GUARD}-{host}").target)

    def close(self) -> None:
        """Take the protections away, once no operator runs any more."""
        for dpu in self.pairs:
            for resource in (names.PODDISRUPTIONBUDGETS, DEPLOYMENTS):
                with contextlib.suppress(NotFound):
                    self.trial.infra.delete(get(resource, self.operator_namespace, names.blocker_name(dpu)).target)

    # --- looking ----------------------------------------------------------------------------------------------------

    def dpu(self, name: str) -> Obj:
        """The Node of a DPU."""
        return self.trial.infra.get_or_empty(get(NODES, "", name).target)

    def host(self, name: str) -> Obj:
        """The Node of a host."""
        return self.trial.tenant.get_or_empty(get(NODES, "", name).target)

    def budget(self, dpu: str) -> Obj:
        """The budget of a DPU's blocker."""
        path = get(names.PODDISRUPTIONBUDGETS, self.operator_namespace, names.blocker_name(dpu)).target
        return self.trial.infra.get_or_empty(path)

    def is_open(self, dpu: str) -> bool:
        """Whether the budget of a DPU that serves is open."""
        budget = self.budget(dpu)
        return bool(budget) and is_open_budget(budget)

    def maintenance(self, host: str) -> Obj:
        """Our NodeMaintenance of a host."""
        return self.trial.tenant.get_or_empty(get(names.NODEMAINTENANCES, "", names.maintenance_name(host)).target)

    def until_open(self, dpu: str, within: float = SLOW) -> None:
        """Wait until a DPU may be drained."""
        eventually(lambda: self.is_open(dpu), bool, within)

    def until_idle(self, within: float = SLOW) -> None:
        """Wait until nothing of any drain is left, and every host has its workload."""
        eventually(self.left, lambda left: not left, within)

    def until_rolled(self, within: float = SLOW) -> None:
        """Wait until the pool is updated, and then until nothing is left."""

        def is_updated(pool: Obj) -> bool:
            newest = mcorules.rendered_name(self.trial.pool, mcorules.selected(pool, self._machine_configs()))
            arrived = ((pool.get("status") or {}).get("configuration") or {}).get("name") == newest
            marks = [annotations_of(self.dpu(dpu)) for dpu in self.pairs]
            return arrived and all(mark.get(names.CURRENT_CONFIG_ANNOTATION) == newest for mark in marks)

        eventually(lambda: self.trial.get(names.MACHINECONFIGPOOLS, self.trial.pool), is_updated, within)
        self.until_idle(within)

    def left(self) -> list[str]:
        """What is still left of drains."""
        found = [f"{host} has no workload" for host in self.idle_hosts()]
        for host in sorted(set(self.pairs.values())):
            node = self.host(host)
            if self.maintenance(host):
                found.append(f"{host} has its maintenance")
            if is_cordoned(node) or names.CORDONED_BEFORE_ANNOTATION in annotations_of(node):
                found.append(f"{host} is cordoned or marked")
        for dpu in self.pairs:
            budget = self.budget(dpu)
            if names.CYCLE_ANNOTATION in annotations_of(budget) or is_open_budget(budget):
                found.append(f"{dpu} has a record or is open")
        return found

    def unprotected(self) -> list[str]:
        """DPUs whose budget does not bear the mark of a host, or is open."""
        return [
            dpu
            for dpu in self.pairs
            if not (budget := self.budget(dpu))
            or is_open_budget(budget)
            or names.SERVES_ANNOTATION not in annotations_of(budget)
        ]

    def unserved(self) -> list[str]:
        """Hosts that no pod on a DPU serves."""
        pods = [pod for pod in self.trial.pods() if is_ready(pod)]
        serving = serving_nodes(self.trial.get(CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES) or None, pods)
        return sorted({host for host in self.pairs.values() if not serving & set(self.hosts.dpus(host))})

    def idle_hosts(self) -> list[str]:
        """Hosts whose workload does not run."""
        path = get(PODS, self.trial.tenant_namespace, "").target.rstrip("/")
        pods = self.trial.tenant.list_all(path, labelSelector=WORKLOAD)
        running = {
            labels_of(pod)[WORKLOAD] for pod in pods if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]
        }
        wanted = self.trial.tenant.list_all(get(DEPLOYMENTS, self.trial.tenant_namespace, "").target.rstrip("/"))
        return sorted({labels_of(each).get(WORKLOAD, "") for each in wanted} - running - {""})

    def state(self) -> dict[str, Any]:
        """What a drain must leave as it was."""
        found: dict[str, Any] = {}
        for dpu, host in self.pairs.items():
            budget, node = self.budget(dpu), self.host(host)
            marks = {key: text for key, text in annotations_of(budget).items() if key != names.SINCE_ANNOTATION}
            found[dpu] = (budget["spec"], marks, labels_of(budget))
            ours = {key: text for key, text in annotations_of(node).items() if names.GROUP in key}
            found[host] = (node["spec"].get("unschedulable"), node["spec"].get("taints"), ours)
        found["entries"] = self.trial.get(CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES).get("data")
        found["pods"] = sorted(pod["spec"]["nodeName"] for pod in self.trial.pods() if is_ready(pod))
        return found

    def _machine_configs(self) -> list[Obj]:
        return list(self.trial.infra.list_all(get(names.MACHINECONFIGS, "", "").target.rstrip("/")))

    def _patch_pods(self, dpu: str, annotations: Mapping[str, Any]) -> None:
        for pod in self.trial.pods():
            if pod["spec"].get("nodeName") == dpu:
                path = self.trial.path(PODS, pod["metadata"]["name"])
                self.trial.infra.patch(path, {"metadata": {"annotations": annotations}})

    def _patch_dpu(self, dpu: str, body: Mapping[str, Any]) -> None:
        self.trial.infra.patch(get(NODES, "", dpu).target, body)


def _workload(namespace: str, host: str) -> dict[str, Any]:
    labels = {WORKLOAD: host}
    pod = {
        "nodeSelector": {"kubernetes.io/hostname": host},
        "containers": [{"name": "work", "image": "quay.io/example/work:1"}],
        "terminationGracePeriodSeconds": 1,
    }
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    deployment = new_object(DEPLOYMENTS, namespace, f"work-{host}", spec=spec)
    deployment["metadata"]["labels"] = labels
    return deployment
