"""A world of two clusters for the drain: a host, its DPUs, and everybody who has a hand on them, one small step each.

The operator is one of them: it takes one API call a step, sees caches of any age, dies and is deposed. What it must
never do is checked whenever something is written, against the truth that only this world knows: whether workloads run
on the host, and whether the network of a DPU works.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Self

from dpunetop.domain.drain.model import facts, readers
from dpunetop.domain.drain.model.calls import Call, Done, QuorumGet, QuorumList, Run, Task, Write
from dpunetop.domain.drain.model.facts import (
    Author,
    Blind,
    DpuView,
    DrainSettings,
    HoldReason,
    HostRef,
    HostView,
    NodeGone,
    Reason,
    Templates,
    TenantSeen,
)
from dpunetop.domain.drain.model.hoststate import HostState
from dpunetop.domain.drain.model.record import State
from dpunetop.domain.drain.outages.detection import spelled
from dpunetop.domain.drain.protection.blockers import BlockerSettings, first_budget
from dpunetop.domain.drain.report.dpustatus import DpuPhase, dpu_statuses
from dpunetop.domain.drain.rules import records, returning
from dpunetop.domain.drain.rules.cycle import RULES, Decision, decide
from dpunetop.domain.drain.rules.remembering import abandoned_since
from dpunetop.domain.drain.rules.returning import EndMaintenance
from dpunetop.domain.names import (
    CURRENT_CONFIG_ANNOTATION,
    DESIRED_CONFIG_ANNOTATION,
    DESIRED_DRAIN_ANNOTATION,
    DRAIN_ANNOTATION,
    LAST_APPLIED_DRAIN_ANNOTATION,
    MACHINE_CONFIG_STATE_ANNOTATION,
    MAINTENANCE_TAINT,
    NODEMAINTENANCES,
    PODDISRUPTIONBUDGETS,
    TEMPLATE_HASH_ANNOTATION,
    blocker_labels,
    blocker_name,
    maintenance_name,
)
from dpunetop.kube.errors import ApiError, Forbidden, NotFound, Unreachable
from dpunetop.kube.keys import INFRA, NODES, PODS
from dpunetop.kube.meta import Obj, annotations_of, is_terminating, name_of, uid_of, version_of
from dpunetop.kube.plan import Apply, Delete, Emit, Patch
from dpunetop.kube.shapes import at
from support import hostupdates
from support.traced import Traced
from support.twoclusters import Server

TENANT = "tenant/dpu-one/sample"
HOST = "host-1"
OPERATOR_NAMESPACE, PODS_NAMESPACE = "dpunetop", "dpu-one"
OWNER = "owner-hash"
FOREIGN = "somebodys"
FINALIZER = "foregroundDeleteNodeMaintenance"
CONFIG = {"metadata": {"name": "sample", "namespace": "dpu-one", "uid": "uid-of-config"}}


NO_SETTINGS = DrainSettings()


@dataclass
class Process:
    """One process of the operator: a term, caches of some age, and at most one task under way."""

    term: str
    caches: dict[str, Mapping[Any, Obj]] = field(default_factory=dict)
    run: Run | None = None
    began: int = 0
    """Step of the world at which the task began."""
    abandoned_since: int = 0


@dataclass
class Dpu:
    """What is true of a DPU, whatever the API shows."""

    name: str
    boots: int = 1
    down: bool = False
    net_up: bool = True
    containers: int = 1
    saw: str = ""
    """UID of the blocker that the machine-config operator waits for."""
    mark: tuple[int, int] | None = None
    """The counts of what was broken when the last mark was set, and at the last opening."""
    opened_at: tuple[int, int] | None = None
    marked_at: int = -1
    """Step of the world at which the last mark was set."""
    began_without: bool = False
    """Whether it had no network already when its record was begun, and the API did not show it yet."""
    failed_at: int = -1
    """Step of the world at which it went down or lost its network by itself."""
    bypassed: bool = False
    """The drain under way went through because a person deleted the blocker, not because a budget was open."""
    unguarded: bool = False
    """A person deleted the blocker, and the next one is not Ready yet: no budget holds back what is Pending."""


class World(Traced):
    """Everything there is. `violations` lists what must never happen, as sentences."""

    tenant_server: type[Server] = Server

    def __init__(
        self, dpus: int = 1, *, cordoned_before: bool = False, settings: DrainSettings = NO_SETTINGS, serving: int = 0
    ) -> None:
        self.infra, self.tenant = Server(), self.tenant_server()
        self.servers = {INFRA: self.infra, TENANT: self.tenant}
        self.dpus = {f"dpu-{i + 1}": Dpu(f"dpu-{i + 1}") for i in range(dpus)}
        self.serving = f"dpu-{serving + 1}"
        self.settings = settings
        self.now, self.steps, self._draws = 1_000_000, 0, 0
        self.tenant_up, self.refuses = True, False
        self.served, self.leaves_behind = True, False
        """Whether there is a node maintenance operator, and whether it is of a release that leaves cordon and taint."""
        self.workloads = not cordoned_before
        self.intent = cordoned_before
        """Whether people want the host cordoned; means nothing once it is `disputed`."""
        self.disputed = False
        self.shaken = 0
        self.hidden = False
        """Whether a person uncordoned the drained host, and the maintenance cordoned it again before anybody saw: its
        phase stays Succeeded while it drains what came meanwhile, and nothing that is read tells."""
        self.updated = False
        """Whether the host's own machine-config operator uncordoned the host under a maintenance: that is seen."""
        self.host_updates = hostupdates.HostUpdates(self)
        self.unwished = dict.fromkeys(self.dpus, 0)
        self.wished_at = dict.fromkeys(self.dpus, -1)
        self.looked: dict[str, str] = {}
        self.late: list[tuple[str, int, Write]] = []
        self._decided = 0
        self.violations: list[str] = []
        self.trace: list[str] = []
        self.events: list[str] = []
        self.process = Process("term-1")
        self._terms = 1
        self.last: Decision | None = None
        self.stages: dict[str, DpuPhase] = {}
        self.passed: set[tuple[DpuPhase, DpuPhase]] = set()
        """Where DPUs were seen to go, from one decision to the next."""
        self.calls = 0
        """API calls of the operator so far."""
        self.struck = False
        self._strike: tuple[int, Callable[[], object]] | None = None
        self.template, self.proven = "r1", "r1"
        """What a pod is made from now, and the last template that a DPU was seen to serve with."""
        self.shown: dict[str, Any] = {}
        """Members of the view that nothing here makes."""
        self.is_sure = False
        """Whether a Node that is not there is known to be gone."""
        self.broken: set[str] = set()
        """Templates with which no pod comes to be Ready."""
        self._found(cordoned_before)

    # --- what is there at first -------------------------------------------------------------------------------------

    def _found(self, cordoned: bool) -> None:
        for name in self.dpus:
            self.infra.put(NODES, self._dpu_node(name))
            self._protect(name)
            self._new_blocker(name, ready=True)
            self.infra.put(PODS, self._ovn_pod(name))
        spec = {"unschedulable": True} if cordoned else {}
        metadata = {"name": HOST, "annotations": dict(hostupdates.AT_REST)}
        self.tenant.put(NODES, {"kind": "Node", "metadata": metadata, "spec": spec})

    def _protect(self, name: str) -> None:
        settings = BlockerSettings(OPERATOR_NAMESPACE, "image", OWNER, True)
        step = Apply(INFRA, PODDISRUPTIONBUDGETS, first_budget(settings, name, HOST), None, "dpunetop-drain")
        self.infra.perform(Write(step))

    def _dpu_node(self, name: str) -> Obj:
        marks = {
            CURRENT_CONFIG_ANNOTATION: "c1",
            DESIRED_CONFIG_ANNOTATION: "c1",
            MACHINE_CONFIG_STATE_ANNOTATION: "Done",
        }
        return {
            "kind": "Node",
            "metadata": {"name": name, "annotations": marks},
            "spec": {},
            "status": {"nodeInfo": {"bootID": f"{name}-b1"}, "conditions": [self.ready(True)]},
        }

    def _new_blocker(self, name: str, ready: bool) -> None:
        pod_name = f"{blocker_name(name)}-{self.steps}-{len(self.infra.objects)}"
        status = {"phase": "Running", "conditions": [self.ready(True)]} if ready else {"phase": "Pending"}
        metadata = {"name": pod_name, "namespace": OPERATOR_NAMESPACE, "labels": dict(blocker_labels(name))}
        self.infra.put(PODS, {"metadata": metadata, "spec": {"nodeName": name}, "status": status})

    def _ovn_pod(self, name: str) -> Obj:
        """Containers start anew in the pod that is there; a new one is made from the newest template."""
        dpu = self.dpus[name]
        template = self.template_of(name) or self.template
        notes = {TEMPLATE_HASH_ANNOTATION: template}
        live = self.infra.get(PODS, PODS_NAMESPACE, f"ovnkube-node-{name}")
        made = spelled(self.now if self.steps else self.now - 86_400)
        return {
            "metadata": {
                "creationTimestamp": made if live is None else at(live, "metadata", "creationTimestamp"),
                "name": f"ovnkube-node-{name}",
                "namespace": PODS_NAMESPACE,
                "labels": {"app": "ovnkube-node"},
                "annotations": notes,
            },
            "spec": {"nodeName": name},
            "status": {
                "phase": "Running",
                "conditions": [self.ready(template not in self.broken)],
                "containerStatuses": [{"name": "ovnkube-node", "containerID": f"{name}-c{dpu.containers}"}],
            },
        }

    def ready(self, yes: bool) -> dict[str, str]:
        """The condition, as it is written when it changes."""
        return {"type": "Ready", "status": "True" if yes else "False", "lastTransitionTime": spelled(self.now)}

    def template_of(self, name: str) -> str:
        """Of the ovnkube-node pod on a DPU; empty: there is none."""
        pod = self.infra.get(PODS, PODS_NAMESPACE, f"ovnkube-node-{name}")
        return "" if pod is None else str(pod["metadata"]["annotations"][TEMPLATE_HASH_ANNOTATION])

    # --- the operator -----------------------------------------------------------------------------------------------

    def sync(self, cluster: str) -> bool:
        """The caches of one cluster catch up."""
        if cluster == TENANT and not self.tenant_up:
            return False
        self.process.caches[cluster] = dict(self.servers[cluster].objects)
        return True

    def view(self) -> HostView | None:
        """What the operator sees; None: infra is not synced."""
        infra = self.process.caches.get(INFRA)
        if infra is None:
            return None
        self._draws += 1
        author = Author("dpunetop-drain", self.process.term, f"x{self._draws}", self.now)
        host_ref = HostRef(HOST, TENANT, OPERATOR_NAMESPACE, OWNER, author)
        view = HostView(
            host_ref=host_ref,
            tenant=self._tenant_view(),
            dpus=tuple(self._dpu_view(infra, name) for name in self.dpus),
            serving=self.serving,
            pods_namespace=PODS_NAMESPACE,
            config=CONFIG,
            settings=self.settings,
            **self.shown,
        )
        self.process.abandoned_since = abandoned_since(HostState(view), self.process.abandoned_since)
        return replace(view, abandoned_since=self.process.abandoned_since)

    def _tenant_view(self) -> TenantSeen | Blind:
        cache = self.process.caches.get(TENANT)
        if cache is None:
            return Blind(HoldReason(Reason.TENANT_NOT_SYNCED, "not synced"))
        if not self.tenant_up:
            return Blind(HoldReason(Reason.TENANT_UNREACHABLE, "down"))
        node = cache.get(("nodes", "", HOST))
        found = (readers.maintenance(obj, OWNER) for key, obj in sorted(cache.items()) if key[0] == "nodemaintenances")
        return TenantSeen(
            NodeGone(self.is_sure) if node is None else readers.host_node(node),
            tuple(each for each in found if each.host == HOST) if self.served else None,
        )

    def _dpu_view(self, infra: Mapping[Any, Obj], name: str) -> DpuView:
        node = infra.get(("nodes", "", name))
        read = infra.get(("poddisruptionbudgets", OPERATOR_NAMESPACE, blocker_name(name)))
        pods = [obj for key, obj in sorted(infra.items()) if key[0] == "pods" and obj["spec"]["nodeName"] == name]
        return DpuView(
            name=name,
            node=NodeGone(self.is_sure) if node is None else readers.dpu_node(node),
            budget=None if read is None else readers.budget(read, OWNER),
            blocker=readers.ready_blocker(pod for pod in pods if pod["metadata"]["namespace"] == OPERATOR_NAMESPACE),
            pods=tuple(
                readers.ovn_pod(pod, Templates(self.template, self.proven))
                for pod in pods
                if pod["metadata"]["namespace"] == PODS_NAMESPACE
            ),
        )

    def think(self) -> bool:
        """Decide, if nothing is under way; whether there is something to do."""
        if self.process.run is not None:
            return False
        view = self.view()
        if view is None:
            return False
        self.last = decide(view)
        _check_ending(HostState(view))
        self._note(view, self.last)
        task = self.choose(view, self.last)
        if task is None:
            return False
        self._log(f"begins {type(task).__name__}")
        self.process.run, self.process.began = Run(task, shift=self.steps), self.steps
        return True

    def choose(self, view: HostView, decision: Decision) -> Task | None:
        """What is carried out of all that was decided."""
        return decision.task

    def _note(self, view: HostView, decision: Decision) -> None:
        for found in dpu_statuses(view, decision):
            old = self.stages.get(found.dpu, DpuPhase.IDLE)
            if found.stage is not old:
                self.passed.add((old, found.stage))
            self.stages[found.dpu] = found.stage

    def act(self) -> bool:
        """Take one API call of the task under way."""
        call = self._next_call()
        if call is None:
            return False
        self._decided = self.process.began
        self._answer(self._perform(call, self.process.term))
        return True

    def act_unheard(self) -> bool:
        """A call whose effect comes about, and whose answer is lost."""
        call = self._next_call()
        if call is None:
            return False
        self._decided = self.process.began
        self._perform(call, self.process.term)
        self._answer(Unreachable(0, "Timeout", "no answer"))
        return True

    def act_delayed(self) -> bool:
        """A write that the process gives up, and that arrives at any later time."""
        call = self._next_call()
        if not isinstance(call, Write):
            return False
        self.late.append((self.process.term, self.process.began, call))
        self._answer(Unreachable(0, "Timeout", "no answer"))
        return True

    def act_lost(self) -> bool:
        """A call that never arrives."""
        if self._next_call() is None:
            return False
        self._answer(Unreachable(0, "Timeout", "not sent"))
        return True

    def operate(self) -> bool:
        """The next thing that the operator does with fresh caches."""
        if self.process.run is not None:
            return self.act()
        self.sync(INFRA)
        self.sync(TENANT)
        return self.think()

    def operate_half_blind(self) -> bool:
        """The same, with the caches of one cluster as they were."""
        if self.process.run is not None:
            return self.act()
        self.sync(INFRA if self.steps % 2 else TENANT)
        return self.think()

    def crash(self) -> bool:
        """The process dies; another one begins with nothing but a new term."""
        self._terms += 1
        self.process = Process(f"term-{self._terms}")
        return True

    def depose(self) -> bool:
        """The process is paused at a write, which will arrive at any later time; another one leads."""
        call = self._next_call()
        if not isinstance(call, Write):
            return False
        self.late.append((self.process.term, self.process.began, call))
        return self.crash()

    def deliver(self) -> bool:
        """A write of a deposed process arrives."""
        if not self.late:
            return False
        term, self._decided, call = self.late.pop(0)
        answer = self._perform(call, f"late {term}")
        if isinstance(call.step, Apply) and call.step.resource is NODEMAINTENANCES:
            self.disputed |= not isinstance(answer, ApiError)  # what it carries was true when it was sent
        return True

    def _next_call(self) -> Call | None:
        run = self.process.run
        if run is None:
            return None
        try:
            call = run.next()
        except ApiError as err:
            self._log(f"ends with {type(err).__name__}")
            self.process.run = None
            return None
        if isinstance(call, Done):
            self._log(f"ends {call.result.name}: {call.note}")
            self.process.run = None
            return None
        return call

    def _answer(self, answer: Any) -> None:
        assert self.process.run is not None
        self.process.run = self.process.run.answered(answer)
        self._next_call()  # so that a task that is over is over at once

    def _perform(self, call: Call, who: str) -> Any:
        self.calls += 1
        cluster = call.step.cluster if isinstance(call, Write) else call.cluster
        if cluster == TENANT and not self.tenant_up:
            return Unreachable(0, "Refused", "down")
        if cluster == TENANT and not self.served and _is_of_maintenances(call):
            return None if isinstance(call, QuorumGet) else NotFound(404, "NotFound", "the kind is not served")
        if isinstance(call, Write) and _makes_maintenance(call) and self._webhook_refuses():
            self._log("the webhook refuses a maintenance")
            return Forbidden(403, "Forbidden", "the webhook says no")
        if isinstance(call, Write):
            return self._write(call, who)
        if isinstance(call, Emit):
            self.events.append(call.reason)
            return None
        return self.servers[cluster].perform(call)

    def _webhook_refuses(self) -> bool:
        """A node has one maintenance at most."""
        return self.refuses or any(
            not found["metadata"]["name"].startswith("dpu-tenant") for found in self.maintenances()
        )

    def _write(self, call: Write, who: str) -> Any:
        step = call.step
        server = self.servers[step.cluster]
        before = self._facts_before(step)
        try:
            answer = server.perform(call)
        except ApiError as err:
            self._log(f"{who}: {_told(step)} refused: {type(err).__name__}")
            return err
        self._log(f"{who}: {_told(step)}")
        self._judge(step, before)
        return answer

    # --- what must hold ---------------------------------------------------------------------------------------------

    def _facts_before(self, step: Apply | Patch | Delete) -> Any:
        if isinstance(step, Apply) and step.resource is PODDISRUPTIONBUDGETS:
            live = self.infra.get(PODDISRUPTIONBUDGETS, OPERATOR_NAMESPACE, name_of(step.desired))
            return None if live is None else readers.budget(live, OWNER)
        return self.own()

    def _judge(self, step: Apply | Patch | Delete, before: Any) -> None:
        match step:
            case Apply() if step.resource is PODDISRUPTIONBUDGETS:
                name = name_of(step.desired).removeprefix("dpu-drain-blocker-")
                if before is not None and not before.is_open and self.budget(name).is_open:
                    self._judge_opening(name)
                if before is not None and before.cycle is None:
                    self.dpus[name].began_without = not self.dpus[name].net_up
            case Patch() if step.resource is NODEMAINTENANCES:
                own = self.own()
                for dpu in self.dpus.values():
                    if own is not None and own.mark_of(dpu.name) and before.mark_of(dpu.name) != own.mark_of(dpu.name):
                        dpu.mark, dpu.marked_at = (self.shaken, self.unwished[dpu.name]), self.steps
            case Delete() if step.resource is NODEMAINTENANCES and before is not None:
                self._judge_giving_back(before)
            case Patch() if step.resource is NODES and "unschedulable" in step.patch.get("spec", {}):
                if not self.host().cordoned:
                    self._judge_return(failed=False)
                    self.workloads, self.updated = True, False

    def _judge_opening(self, name: str) -> None:
        dpu, own, node, read = self.dpus[name], self.own(), self.node(name), self.budget(name)
        dpu.opened_at = (self.shaken, self.unwished[name])
        if node.override is facts.DrainOverride.FORCE:
            return
        if self._is_updated_since(dpu.marked_at):
            self.violations.append(f"{name} opened although the host's own operator is at work there")
        cycle = read.cycle
        excused = dpu.mark is not None and dpu.mark != dpu.opened_at
        if own is None or own.terminating or cycle is None or own.uid != cycle.maintenance or not own.mark_of(name):
            if not excused or own is not None:
                self.violations.append(f"{name} opened without its maintenance")
            return
        wanted = node.cordoned and node.override is facts.DrainOverride.NONE and cycle.state is State.DRAINING
        drained = (
            own.phase is facts.MaintenancePhase.SUCCEEDED
            and self.host().cordoned
            and (not self.workloads or self.hidden)
        )
        if not (wanted and drained) and not excused:
            self.violations.append(f"{name} opened although wanted={wanted}, drained={drained}")

    def _judge_giving_back(self, before: facts.Maintenance) -> None:
        if not before.ours:
            self.violations.append("a maintenance of somebody else was deleted")
        self._judge_return(before.phase is facts.MaintenancePhase.FAILED)

    def _judge_return(self, failed: bool) -> None:
        there = [name for name in self.dpus if self.infra.get(NODES, "", name) is not None]
        for name in there:
            read, node = self.budget(name), self.node(name)
            if read.is_open and node.override is not facts.DrainOverride.FORCE:
                self.violations.append(f"the host was given back while the budget of {name} was open")
            aborted = read.cycle is not None and read.cycle.state is State.ABORTED
            wants = node.cordoned and node.override is not facts.DrainOverride.SKIP and not aborted
            if wants and not failed and self.wished_at[name] < self._decided:
                self.violations.append(f"the host was given back although {name} wants its drain")
        cycles = [self.budget(name).cycle for name in self.dpus]
        uncordoned = any(cycle is not None and cycle.reason == Reason.HOST_UNCORDONED for cycle in cycles)
        proofless = (
            uncordoned or self.serving not in there or self.node(self.serving).override is facts.DrainOverride.FORCE
        )
        server = self.dpus[self.serving]
        is_too_late = server.failed_at > self._decided  # it failed by itself after the decision had looked
        cycle = self.budget(self.serving).cycle
        was_so_before = server.began_without and cycle is not None and not cycle.may_have_been_down
        is_in_use = self.workloads and not self.updated
        if not (server.net_up or failed or proofless or is_too_late or was_so_before or is_in_use):
            self.violations.append("the host was given back without network")
        forced = any(self.node(name).override is facts.DrainOverride.FORCE for name in there)
        if not (failed or forced) and self._is_updated_since(self._decided):
            self.violations.append("the host was given back although its own operator is at work there")

    def _is_updated_since(self, step: int) -> bool:
        """Whether the host's own operator has been at work there since before that step."""
        began = self.host_updates.began
        return began is not None and began < step and self.host().in_own_drain

    def _judge_reboot(self, name: str) -> None:
        """A DPU goes down because its drain went through: its host must be empty."""
        dpu = self.dpus[name]
        if not self.workloads or self.hidden or dpu.unguarded or self.node(name).override is facts.DrainOverride.FORCE:
            return
        if dpu.mark is None or dpu.mark[0] == self.shaken:
            self.violations.append(f"{name} went down under the workloads of its host")

    # --- reading the truth ------------------------------------------------------------------------------------------

    def node(self, name: str) -> facts.DpuNode:
        found = self.infra.get(NODES, "", name)
        assert found is not None
        return readers.dpu_node(found)

    def budget(self, name: str) -> facts.Budget:
        found = self.infra.get(PODDISRUPTIONBUDGETS, OPERATOR_NAMESPACE, blocker_name(name))
        assert found is not None
        return readers.budget(found, OWNER)

    def host(self) -> facts.HostNode:
        found = self.tenant.get(NODES, "", HOST)
        assert found is not None
        return readers.host_node(found)

    def own(self) -> facts.Maintenance | None:
        found = self.tenant.get(NODEMAINTENANCES, "", maintenance_name(HOST))
        return None if found is None else readers.maintenance(found, OWNER)

    def maintenances(self) -> tuple[Obj, ...]:
        return self.tenant.list(NODEMAINTENANCES)

    def _blocker(self, name: str) -> Obj | None:
        labels = dict(blocker_labels(name))
        return next(
            (pod for pod in self.infra.list(PODS, OPERATOR_NAMESPACE) if pod["metadata"]["labels"] == labels), None
        )

    def _log(self, text: str) -> None:
        self.trace.append(f"{self.steps}: {text}")

    # --- people -----------------------------------------------------------------------------------------------------

    def cordon(self, name: str) -> bool:
        node = self.node(name)
        if node.cordoned or self.dpus[name].down:
            return False
        self._change_dpu(name, {"spec": {"unschedulable": True}})
        self.wished_at[name] = self.steps
        return True

    def uncordon(self, name: str) -> bool:
        node = self.node(name)
        if not node.cordoned or node.mco is not facts.Mco.IDLE:
            return False
        self._change_dpu(name, {"spec": {"unschedulable": None}})
        self.unwished[name] += 1
        return True

    def uncordon_in_drain(self, name: str) -> bool:
        """By a person, while the machine-config operator drains it."""
        node = self.node(name)
        if not node.cordoned or node.mco is not facts.Mco.DRAINS:
            return False
        self._change_dpu(name, {"spec": {"unschedulable": None}})
        self.unwished[name] += 1
        return True

    def order(self, name: str, text: str | None) -> bool:
        self._change_dpu(name, {"metadata": {"annotations": {DRAIN_ANNOTATION: text}}})
        self.unwished[name] += 1
        self.wished_at[name] = self.steps
        return True

    def force(self, name: str) -> bool:
        self.advance()
        return self.order(name, f"force:{self.node(name).boot_id}")

    def cordon_host(self) -> bool:
        """Only while no drain of ours has begun, nor is on its way, else nobody could tell whose cordon it is."""
        host = self.host()
        if host.cordoned or host.mark is not None or self.maintenances() or self.late:
            return False
        self.change_host({"spec": {"unschedulable": True}})
        self.intent, self.workloads = True, False
        return True

    def uncordon_host(self) -> bool:
        host, own = self.host(), self.own()
        if not host.cordoned or (own is None and host.mark is not None):
            return False
        if own is not None and (own.phase is not facts.MaintenancePhase.SUCCEEDED or own.terminating):
            return False
        self.intent = False
        self.change_host({"spec": {"unschedulable": None}})
        self.workloads = True
        self.hidden = own is not None
        self.disputed |= self.process.run is not None or bool(self.late)  # it may be too late to be seen
        self.advance()
        return True

    def uncordon_and_untaint_host(self) -> bool:
        """Nothing is left of the maintenance but itself."""
        own = self.own()
        if own is None or not self.host().tainted or not self.uncordon_host():
            return False
        self.change_host({"spec": {"taints": []}})
        return True

    def register_host_anew(self, *, cordoned: bool = False) -> bool:
        """Its Node is deleted and comes back with nothing of ours on it."""
        self.disputed |= self.process.run is not None or bool(self.late)
        self.intent, self.workloads, self.hidden = cordoned, not cordoned, self.own() is not None
        self.tenant.remove(NODES, "", HOST)
        metadata = {"name": HOST, "annotations": dict(hostupdates.AT_REST)}
        spec = {"unschedulable": True} if cordoned else {}
        self.tenant.put(NODES, {"kind": "Node", "metadata": metadata, "spec": spec})
        self.advance()
        return True

    def uncordon_stuck_host(self) -> bool:
        """A person does what the message asks for."""
        hold = None if self.last is None else self.last.hold
        if hold is None or hold.reason is not Reason.HOST_STILL_CORDONED:
            return False
        self.change_host({"spec": {"unschedulable": None, "taints": []}})
        self.intent, self.workloads = False, True
        return True

    def delete_blocker(self, name: str) -> bool:
        """Not evicted but deleted, which no budget holds back."""
        blocker = self._blocker(name)
        if blocker is None or not readers.is_ready_pod(blocker):
            return False
        self.infra.remove(PODS, OPERATOR_NAMESPACE, name_of(blocker))
        self._new_blocker(name, ready=False)
        self.dpus[name].unguarded = self.dpus[name].bypassed = True
        return True

    def delete_budget(self, name: str) -> bool:
        """With the record on it; the DPU comes under protection again at once."""
        self.infra.remove(PODDISRUPTIONBUDGETS, OPERATOR_NAMESPACE, blocker_name(name))
        self._protect(name)
        self.wished_at[name] = self.steps  # that its wish was given up is forgotten
        return True

    def foreign_begin(self) -> bool:
        """One maintenance a node. With our mark on the host nobody could tell whose cordon its end takes away."""
        if not self.served or self.maintenances() or self.host().mark is not None:
            return False
        metadata = {"name": FOREIGN, "finalizers": [FINALIZER]}
        self.tenant.put(NODEMAINTENANCES, {"metadata": metadata, "spec": {"nodeName": HOST}})
        return True

    def foreign_end(self) -> bool:
        found = self.tenant.get(NODEMAINTENANCES, "", FOREIGN)
        if found is None or is_terminating(found):
            return False
        self.tenant.change(NODEMAINTENANCES, "", FOREIGN, {"metadata": {"deletionTimestamp": "now"}})
        self.advance()
        return True

    def tenant_goes(self) -> bool:
        self.tenant_up, was = False, self.tenant_up
        return was

    def tenant_comes(self) -> bool:
        self.tenant_up, was = True, self.tenant_up
        return not was

    def tick(self, seconds: int = 60) -> bool:
        self.now += seconds
        return True

    def advance(self) -> None:
        """Something happened to the host that no look before it could have seen."""
        self.shaken += 1

    def _change_dpu(self, name: str, change: dict[str, Any]) -> None:
        self.infra.change(NODES, "", name, change)

    def change_host(self, change: dict[str, Any]) -> bool:
        self.tenant.change(NODES, "", HOST, change)
        return True

    # --- the node maintenance operator ------------------------------------------------------------------------------

    def nmo(self) -> bool:
        """One step of it: what is next for any maintenance."""
        return any(self._nmo_step(found) for found in self.maintenances())

    def _nmo_step(self, found: Obj) -> bool:
        if is_terminating(found):
            return self._nmo_end(found)
        phase = (found.get("status") or {}).get("phase", "")
        if FINALIZER not in (found["metadata"].get("finalizers") or ()):
            self._nmo_change(found, {"metadata": {"finalizers": [FINALIZER]}})
            return True
        if phase == "":
            self._nmo_change(found, {"status": {"phase": "Running"}})
            return True
        if phase == "Failed" or (phase == "Succeeded" and self.looked.get(name_of(found)) == version_of(found)):
            return False
        return self._nmo_drain(found, phase)

    def _nmo_drain(self, found: Obj, phase: str) -> bool:
        host = self.host()
        if not host.tainted:
            self.change_host({"spec": {"taints": [{"key": MAINTENANCE_TAINT, "effect": "NoSchedule"}]}})
            return True
        if not host.cordoned:
            if phase == "Succeeded" and not self.updated:
                self.disputed = True  # cordoned again, perhaps before anybody saw that it was taken back
            self.change_host({"spec": {"unschedulable": True}})
            return True
        self.workloads = self.hidden = self.updated = False
        # Whenever it has drained the host, also once more (Reconcile in nodemaintenance_controller.go of NMO 3a54cd1).
        self._nmo_change(found, {"status": {"phase": "Succeeded", "lastUpdate": f"at {self.steps}"}})
        return True

    def _nmo_end(self, found: Obj) -> bool:
        host = self.host()
        if self.leaves_behind and name_of(found) != FOREIGN:
            self._nmo_change(found, {"metadata": {"finalizers": []}})
        elif host.tainted:
            self.change_host({"spec": {"taints": []}})
        elif host.cordoned and host.uid not in self.looked.get("ended", ""):
            self.change_host({"spec": {"unschedulable": None}})
            self.workloads, self.updated = True, False
            self.looked["ended"] = host.uid
        else:
            if name_of(found) == FOREIGN:
                self._end_by_stranger(host)
            self.looked.pop("ended", None)
            self._nmo_change(found, {"metadata": {"finalizers": []}})
        return True

    def _end_by_stranger(self, host: facts.HostNode) -> None:
        """Whoever made a maintenance knows that it ends with an uncordon. A mark of ours that stands says what was
        before, and is carried out."""
        self.intent = False
        self.disputed |= host.mark is not None

    def maintenance_vanishes(self) -> bool:
        """Its operator was uninstalled, or somebody took its finalizer off: the host stays as it is."""
        own, host = self.own(), self.host()
        if own is None:
            return False
        if host.tainted and not host.cordoned:
            self.disputed = True  # uncordoned by a person, or about to be cordoned by the operator: nothing tells
        self.tenant.remove(NODEMAINTENANCES, "", own.name)
        self.looked.pop("ended", None)
        self.advance()
        return True

    def says_that_it_is_drained(self) -> bool:
        """It has drained a Node that is not there any more: it does not look at the new one first."""
        own = self.own()
        if own is None or own.phase is not facts.MaintenancePhase.RUNNING or own.terminating:
            return False
        self._nmo_change(own.live, {"status": {"phase": "Succeeded", "lastUpdate": f"at {self.steps}"}})
        return True

    def nmo_fails(self) -> bool:
        """It loses its lease: the host is given back, the maintenance stays."""
        found = next(iter(self.maintenances()), None)
        if found is None or is_terminating(found) or (found.get("status") or {}).get("phase") != "Running":
            return False
        self.change_host({"spec": {"taints": [], "unschedulable": None}})
        self.workloads, self.updated = True, False
        if name_of(found) == FOREIGN:
            self._end_by_stranger(self.host())
        self._nmo_change(found, {"status": {"phase": "Failed", "lastError": "lease"}})
        self.advance()
        return True

    def nmo_restarts(self) -> bool:
        """What had succeeded or failed is run again."""
        found = next(iter(self.maintenances()), None)
        if found is None or is_terminating(found):
            return False
        phase = (found.get("status") or {}).get("phase")
        if phase not in ("Succeeded", "Failed"):
            return False
        if phase == "Succeeded" and not self.host().cordoned:
            self.disputed = True  # it cordons again, perhaps before anybody saw that it was taken back
        self._nmo_change(found, {"status": {"phase": "Running"}})
        self.advance()
        return True

    def _nmo_change(self, found: Obj, change: dict[str, Any]) -> None:
        left = self.tenant.change(NODEMAINTENANCES, "", name_of(found), change)
        if "status" in change and change["status"]["phase"] == "Succeeded":
            self.looked[name_of(found)] = version_of(left)

    # --- the machine-config operator, and kubelets ------------------------------------------------------------------

    def mco_begins(self, name: str) -> bool:
        node = self.node(name)
        if node.mco is not facts.Mco.IDLE or node.cordoned or self.dpus[name].down:
            return False
        asked = f"drain-c{self.dpus[name].boots + 1}"
        marks = {
            DESIRED_CONFIG_ANNOTATION: asked.removeprefix("drain-"),
            DESIRED_DRAIN_ANNOTATION: asked,
            MACHINE_CONFIG_STATE_ANNOTATION: "Working",
        }
        self._change_dpu(name, {"metadata": {"annotations": marks}, "spec": {"unschedulable": True}})
        self.wished_at[name] = self.steps
        blocker = self._blocker(name)
        self.dpus[name].bypassed = self.dpus[name].unguarded
        self.dpus[name].saw = "" if blocker is None else uid_of(blocker)
        return True

    def mco(self, name: str) -> bool:
        """The next step of a drain that it has begun."""
        node, dpu = self.node(name), self.dpus[name]
        notes = annotations_of(self.infra.get(NODES, "", name) or {})
        asked = notes.get(DESIRED_DRAIN_ANNOTATION, "")
        if node.mco is facts.Mco.DRAINS:
            return self._mco_evict(name, asked)
        if node.mco is facts.Mco.DRAINED:
            if dpu.down:
                return self._boot(name)
            if notes[CURRENT_CONFIG_ANNOTATION] != notes[DESIRED_CONFIG_ANNOTATION]:
                return self._reboot(name, notes[DESIRED_CONFIG_ANNOTATION])
            return self._mco_done(name, asked)
        return False

    def _mco_evict(self, name: str, asked: str) -> bool:
        """What somebody has uncordoned meanwhile is cordoned again, and not said to be drained before (`drainNode` and
        `syncNode` in drain_controller.go of MCO 7ff337a)."""
        if not self.node(name).cordoned:
            self._change_dpu(name, {"spec": {"unschedulable": True}})
            self.wished_at[name] = self.steps
            return self.mco_lists_anew(name)
        blocker = self._blocker(name)
        if blocker is not None and uid_of(blocker) == self.dpus[name].saw:
            return self._evict(name, blocker)
        self._change_dpu(name, {"metadata": {"annotations": {LAST_APPLIED_DRAIN_ANNOTATION: asked}}})
        return True

    def mco_lists_anew(self, name: str) -> bool:
        """Another round, because some pod was left in the last one: a blocker that came meanwhile is to go as well."""
        if self.node(name).mco is not facts.Mco.DRAINS:
            return False
        blocker = self._blocker(name)
        self.dpus[name].saw = "" if blocker is None else uid_of(blocker)
        return True

    def _evict(self, name: str, blocker: Obj) -> bool:
        if readers.is_ready_pod(blocker) and not self.budget(name).is_open:
            return False
        self.infra.remove(PODS, OPERATOR_NAMESPACE, name_of(blocker))
        self._judge_reboot(name)
        self._new_blocker(name, ready=False)
        return True

    def _reboot(self, name: str, config: str) -> bool:
        self._goes_down(name)
        current = {"metadata": {"annotations": {CURRENT_CONFIG_ANNOTATION: config}}}
        self._change_dpu(name, {**current, "status": {"conditions": [self.ready(False)]}})
        return True

    def reboots_by_itself(self, name: str) -> bool:
        dpu = self.dpus[name]
        if dpu.down:
            return False
        self._goes_down(name)
        dpu.failed_at = self.steps
        self._change_dpu(name, {"status": {"conditions": [self.ready(False)]}})
        return True

    def _goes_down(self, name: str) -> None:
        """The API shows what ran before until a kubelet says otherwise. But containers that started so late that no
        record has them are not Ready yet when they end."""
        cycle = self.budget(name).cycle
        dpu = self.dpus[name]
        if cycle is not None and f"{name}-c{dpu.containers}" not in (*cycle.containers, *cycle.stale):
            self._show_pod(name, ready=False)
        dpu.down, dpu.net_up = True, False
        if dpu.bypassed:
            dpu.failed_at = self.steps

    def _show_pod(self, name: str, ready: bool) -> None:
        change, pod = {"status": {"conditions": [self.ready(ready)]}}, f"ovnkube-node-{name}"
        if self.infra.get(PODS, PODS_NAMESPACE, pod) is not None:
            self.infra.change(PODS, PODS_NAMESPACE, pod, change)

    def ovnkube_crashes(self, name: str) -> bool:
        dpu = self.dpus[name]
        if dpu.down or not dpu.net_up:
            return False
        dpu.net_up, dpu.failed_at = False, self.steps
        self._show_pod(name, ready=False)
        return True

    def _boot(self, name: str) -> bool:
        dpu = self.dpus[name]
        dpu.down, dpu.boots = False, dpu.boots + 1
        boot = {"nodeInfo": {"bootID": f"{name}-b{dpu.boots}"}, "conditions": [self.ready(True)]}
        self._change_dpu(name, {"status": boot})
        return True

    def _mco_done(self, name: str, asked: str) -> bool:
        back = asked.replace("drain-", "uncordon-")
        marks = {
            DESIRED_DRAIN_ANNOTATION: back,
            LAST_APPLIED_DRAIN_ANNOTATION: back,
            MACHINE_CONFIG_STATE_ANNOTATION: "Done",
        }
        self._change_dpu(name, {"metadata": {"annotations": marks}, "spec": {"unschedulable": None}})
        self.unwished[name] += 1
        return True

    def kubelet(self, name: str) -> bool:
        """One thing that a kubelet has to do: start a blocker, or show the containers of this boot."""
        dpu, blocker = self.dpus[name], self._blocker(name)
        if dpu.down:
            return self.node(name).mco is not facts.Mco.DRAINED and self._boot(name)
        if blocker is not None and not readers.is_ready_pod(blocker):
            status = {"phase": "Running", "conditions": [self.ready(True)]}
            self.infra.change(PODS, OPERATOR_NAMESPACE, name_of(blocker), {"status": status})
            dpu.unguarded = False
            return True
        return self._daemonset(name) or self._start_containers(name)

    def _start_containers(self, name: str) -> bool:
        dpu, template = self.dpus[name], self.template_of(name)
        if template and (dpu.net_up or template in self.broken):
            return False
        dpu.containers += 1
        self.infra.put(PODS, self._ovn_pod(name))
        dpu.net_up = self.template_of(name) not in self.broken
        if dpu.net_up and self.template_of(name) == self.template:
            self.proven = self.template
        return True

    def _daemonset(self, name: str) -> bool:
        """A rollout: an old pod that is not Ready is replaced at once, one that is Ready in its turn. It never comes to
        that where the newest template is broken: its pod on some other DPU of the tenant is not Ready.

        Source: kubernetes, pkg/controller/daemon/update.go at v1.37.2, rollingUpdate, with maxUnavailable 1.
        """
        pod = self.infra.get(PODS, PODS_NAMESPACE, f"ovnkube-node-{name}")
        if pod is None or self.template_of(name) == self.template:
            return False
        if readers.is_ready_pod(pod) and self.template in self.broken:
            return False
        self.infra.remove(PODS, PODS_NAMESPACE, name_of(pod))
        self.dpus[name].net_up, self.dpus[name].failed_at = False, self.steps
        return True

    def roll(self, *, works: bool) -> bool:
        """Another template, which works or does not."""
        if not works and self.template in self.broken:
            return False
        self.template = f"r{int(self.template[1:]) + 1}"
        self.broken |= set() if works else {self.template}
        return True

    # --- a script ---------------------------------------------------------------------------------------------------

    def strike(self, number: int, fault: Callable[[Self], object]) -> None:
        """Have something go wrong at the call of that number."""
        self._strike = (number, partial(fault, self))

    def _struck(self) -> bool:
        if self._strike is None or self.calls < self._strike[0] or self.struck:
            return False
        self.struck = True
        self._strike[1]()
        return True

    def pending(self) -> Call | None:
        """The call that the operator takes next, if it is at one."""
        return self._next_call()

    def is_doing(self, task: type[Task]) -> bool:
        """Whether the operator is at a task of that kind."""
        return self.process.run is not None and isinstance(self.process.run.task, task)

    def maintenance(self) -> facts.Maintenance:
        """Our NodeMaintenance, which is there."""
        found = self.own()
        assert found is not None
        return found

    def operate_until(self, wanted: Callable[[Call], bool], limit: int = 200) -> Call:
        """Let the operator go on until its next call is a certain one, which it has not taken yet."""
        for _ in range(limit):
            self.steps += 1
            call = self.pending()
            if call is not None and wanted(call):
                return call
            self.operate()
        raise AssertionError("the operator never does that:\n" + "\n".join(self.trace[-40:]))

    def drained(self) -> None:
        """The host is cordoned and empty: the first half of a drain is over."""
        for _ in range(20):
            self.work()
            while self.step(self.nmo, "nmo"):
                pass
            own = self.own()
            if own is not None and own.phase is facts.MaintenancePhase.SUCCEEDED:
                return
        raise AssertionError("the host is not drained")

    # --- together ---------------------------------------------------------------------------------------------------

    def work(self, limit: int = 200) -> int:
        """Let the operator see everything and do all it can; how many calls that took."""
        calls = 0
        for _ in range(limit):
            self.steps += 1
            if self.process.run is None:
                self.sync(INFRA)
                self.sync(TENANT)
                if not self.think():
                    return calls
            elif self._struck() or self.act():
                calls += 1
        raise AssertionError("the operator does not come to rest:\n" + "\n".join(self.trace[-60:]))

    def settle(self, rounds: int = 60) -> int:
        """Everybody behaves from here on and does all there is to do; how many rounds that took."""
        self.tenant_up, self.refuses, self.served = True, False, True
        for number in range(rounds):
            if not self._round() and not self.late and not self.work():
                return number
            while self.late:
                self.step(self.deliver, "deliver")
        raise AssertionError("the world does not come to rest:\n" + "\n".join(self.trace[-80:]))

    def unsettled(self) -> list[str]:
        """What is not as it was before anything happened, and as people want it."""
        left = [f"the host is {word} without a word" for word in self.untold()]
        if self.own() is not None:
            left.append("the maintenance is there")
        if self.host().mark is not None:
            left.append("the host is marked")
        if self.host().tainted:
            left.append("the host is tainted")
        if not self.disputed and self.host().cordoned != self.intent:
            left.append("the host is not cordoned as people want it")
        for name in self.dpus:
            if self.budget(name).cycle is not None or self.budget(name).is_open:
                left.append(f"the cycle of {name} is not over")
            if self.node(name).cordoned:
                left.append(f"{name} is cordoned")
        return left

    def untold(self) -> list[str]:
        """How a host that no maintenance holds is kept from use, when everything is at rest and nobody says so."""
        if self.maintenances() or (self.last is not None and self.last.hold is not None):
            return []
        host = self.host()
        is_unwanted = host.cordoned and not self.intent and not self.disputed
        return ["tainted"] * host.tainted + ["cordoned"] * is_unwanted

    def _round(self) -> bool:
        busy = self.work() > 0
        self.tick(400)
        busy = self.step(self.foreign_end, "foreign ends") or busy
        while self.step(self.nmo, "nmo"):
            busy = True
        busy = self.step(self.host_updates.step, "host mco") or busy
        for name in self.dpus:
            busy = self._round_of(name) or busy
        return busy

    def _round_of(self, name: str) -> bool:
        busy = False
        while self.step(lambda: self.kubelet(name), f"kubelet {name}"):
            busy = True
        while self.step(lambda: self.mco(name), f"mco {name}"):
            busy = True
        return busy


def _makes_maintenance(call: Write) -> bool:
    return isinstance(call.step, Apply) and call.step.resource is NODEMAINTENANCES


def _is_of_maintenances(call: Call) -> bool:
    if isinstance(call, Write):
        return call.step.resource is NODEMAINTENANCES
    return isinstance(call, QuorumGet | QuorumList) and call.resource is NODEMAINTENANCES


def _check_ending(host_state: HostState) -> None:
    """A record that is over with this decision is not refreshed: the table has to agree that it is."""
    later = RULES[RULES.index(records.refresh) + 1 :]
    move = next((move for move in (rule(host_state) for rule in later) if move is not None), None)
    is_next = isinstance(move, EndMaintenance)
    if not any(host_state.is_open(dpu) and host_state.serves(dpu) for dpu in host_state.view.dpus):
        assert returning.may_end_maintenance(host_state) == is_next, (move, host_state.view)


def _told(step: Apply | Patch | Delete) -> str:
    match step:
        case Apply():
            notes = annotations_of(step.desired)
            more = f" {notes}" if notes else ""
            spec = step.desired.get("spec") or {}
            return f"apply {name_of(step.desired)} max={spec.get('maxUnavailable')}{more}"
        case Patch():
            return f"patch {name_of(step.live)} {step.patch}"
        case Delete():
            return f"delete {name_of(step.live)}"


Action = tuple[str, Callable[[], bool], int]


def progress(world: World) -> list[Action]:
    """What brings a drain on: a name, what happens, and how often it is to be tried."""
    found: list[Action] = [
        ("operate", world.operate, 60),
        ("nmo", world.nmo, 20),
        ("tenant comes", world.tenant_comes, 8),
        ("foreign ends", world.foreign_end, 4),
        *hostupdates.progress(world.host_updates),
    ]
    for name in world.dpus:
        found += [
            (f"mco begins {name}", partial(world.mco_begins, name), 3),
            (f"mco {name}", partial(world.mco, name), 14),
            (f"kubelet {name}", partial(world.kubelet, name), 8),
            (f"no order {name}", partial(world.order, name, None), 3),
        ]
    return found


def trouble(world: World) -> list[Action]:
    """What gets in the way of a drain."""
    found: list[Action] = [
        ("operate half blind", world.operate_half_blind, 12),
        ("act unheard", world.act_unheard, 2),
        ("act lost", world.act_lost, 2),
        ("act delayed", world.act_delayed, 3),
        ("crash", world.crash, 2),
        ("depose", world.depose, 3),
        ("deliver", world.deliver, 3),
        ("nmo fails", world.nmo_fails, 2),
        ("nmo restarts", world.nmo_restarts, 2),
        ("the maintenance vanishes", world.maintenance_vanishes, 1),
        ("uncordon and untaint host", world.uncordon_and_untaint_host, 1),
        ("the host is registered anew", world.register_host_anew, 1),
        ("tenant goes", world.tenant_goes, 2),
        ("cordon host", world.cordon_host, 2),
        ("uncordon host", world.uncordon_host, 2),
        ("foreign begins", world.foreign_begin, 2),
        ("tick", world.tick, 2),
        ("a bad template is rolled", partial(world.roll, works=False), 1),
        ("a good template is rolled", partial(world.roll, works=True), 1),
    ]
    for name in world.dpus:
        found += [
            (f"cordon {name}", partial(world.cordon, name), 4),
            (f"uncordon {name}", partial(world.uncordon, name), 4),
            (f"skip {name}", partial(world.order, name, "skip"), 2),
            (f"hold {name}", partial(world.order, name, "hold"), 2),
            (f"mco lists anew on {name}", partial(world.mco_lists_anew, name), 2),
            (f"uncordon {name} in its drain", partial(world.uncordon_in_drain, name), 1),
            (f"{name} reboots by itself", partial(world.reboots_by_itself, name), 2),
            (f"ovnkube crashes on {name}", partial(world.ovnkube_crashes, name), 2),
            (f"delete blocker {name}", partial(world.delete_blocker, name), 2),
            (f"delete budget {name}", partial(world.delete_budget, name), 1),
        ]
    return found


def swarm(world: World, dice: random.Random, more: Sequence[Action] = ()) -> list[Action]:
    """All that brings on, and some troubles, each as often as the dice say: so walks differ in kind, not in luck."""
    found = [*trouble(world), *more]
    picked = [(name, do, weight * dice.choice((0, 0, 1, 1, 4))) for name, do, weight in found]
    return progress(world) + [action for action in picked if action[2]]


def finish(world: World) -> None:
    """After a walk everybody behaves, and people clear up what only they can; then all must be as it should be."""
    if world.template in world.broken:
        world.roll(works=True)
    world.settle()
    if world.uncordon_stuck_host():
        world.settle()
    for order in (None, "skip", None):  # a cordon that was aborted is no wish until it is taken back once
        for name in world.dpus:
            world.order(name, order)
        world.settle()
    for name in world.dpus:
        world.uncordon(name)
    world.settle()
    if world.uncordon_stuck_host():
        world.settle()
    assert not world.violations, f"{world.violations}\n" + "\n".join(world.trace[-80:])
    assert world.unsettled() == [], f"{world.unsettled()} {world.last}\n" + "\n".join(world.trace[-80:])


def walk(world: World, seed: int, length: int, more: Sequence[Action] = ()) -> None:
    """Let things happen at random, and stop at the first that must not."""
    dice = random.Random(seed)
    names, doings, weights = zip(*swarm(world, dice, more), strict=True)
    for index in dice.choices(range(len(names)), weights, k=length):
        world.step(doings[index], names[index])
        assert not world.violations, f"seed {seed}: {world.violations}\n" + "\n".join(world.trace[-80:])
