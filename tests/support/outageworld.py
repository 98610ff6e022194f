"""A world of several hosts whose DPUs fail, of people and drains that have to do with them, and of an infra cluster
that may itself be what fails; one small step each.

The operator is one of them: it takes one API call a step, sees caches of any age, dies and is deposed. What it must
never do is checked whenever it changes a host, against the truth that only this world knows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dpunetop.controllers.drain.infrahealth import CALM_SECONDS, InfraHealth
from dpunetop.domain.clusterconfig.types import OutagePolicy, UnplannedSpec
from dpunetop.domain.drain.model import facts, readers
from dpunetop.domain.drain.model.calls import Call, Done, Run, Task, Write, drive
from dpunetop.domain.drain.model.cordonmark import CORDON_MANAGER
from dpunetop.domain.drain.model.facts import Author, DpuView, HostRef, HostView, NodeGone, Templates, TenantSeen
from dpunetop.domain.drain.outages.cordoning import takes_place
from dpunetop.domain.drain.outages.detection import Serving, find_outage, is_disrupted, spelled
from dpunetop.domain.drain.outages.unplanned import (
    Cordons,
    NetworkState,
    OutageDecision,
    OutageView,
    Turn,
    cordon_turns,
    decide_outage,
)
from dpunetop.domain.drain.protection.blockers import BlockerSettings, first_budget
from dpunetop.domain.drain.rules.asking import Create
from dpunetop.domain.drain.rules.restoring import Restore
from dpunetop.domain.names import (
    MAINTENANCE_TAINT,
    NODEMAINTENANCES,
    PODDISRUPTIONBUDGETS,
    TEMPLATE_HASH_ANNOTATION,
    blocker_labels,
    maintenance_name,
)
from dpunetop.kube.errors import ApiError, Unreachable
from dpunetop.kube.keys import INFRA, NODES, PODS
from dpunetop.kube.meta import Obj, name_of
from dpunetop.kube.plan import Apply, Delete, Patch
from dpunetop.kube.shapes import at
from dpunetop.runtime.cluster import Health, Reach
from support.clock import FakeClock
from support.owningserver import OwningServer
from support.traced import Traced
from support.twoclusters import Server, place

TENANT, OWNER = "tenant/dpu-one/sample", "owner-hash"
OPERATOR_NAMESPACE, PODS_NAMESPACE = "dpunetop", "dpu-one"
BLOCKERS = BlockerSettings(OPERATOR_NAMESPACE, "image", OWNER, True)
CONFIG = {"metadata": {"name": "sample", "namespace": "dpu-one", "uid": "uid-of-config"}}
TOOL = "a-tool-of-the-tenant"
AFTER = 300
EPOCH_SECONDS = 1_767_225_600
"""Of the FakeClock's first moment."""


@dataclass
class Process:
    """One process of the operator: caches of some age, what it said last, and at most one task a host."""

    infra_health: InfraHealth
    caches: dict[str, Mapping[Any, Obj]] = field(default_factory=dict)
    said: dict[str, OutageDecision] = field(default_factory=dict)
    outages: dict[str, Any] = field(default_factory=dict)
    runs: dict[str, tuple[Run, int]] = field(default_factory=dict)
    """With the step of the world at which each began."""


@dataclass
class Truth:
    """What is so of a host, whatever the API shows. Steps of the world; -1: not so."""

    dpu: str
    standby: str | None = None
    node_down: bool = False
    """Whether it is the DPU that is down, not its pod alone."""
    down_since: int = -1
    down_at: int = 0
    """In seconds."""
    up_since: int = 0
    wanted: bool = False
    """Whether people want it cordoned."""
    maintained_since: int = -1
    serves: bool = True


class OutageWorld(Traced):
    """Everything there is. `violations` lists what must never happen, as sentences."""

    def __init__(self, hosts: int = 4, limit: int = 2) -> None:
        self.clock, self.steps, self.limit = FakeClock(), 0, limit
        self.infra, self.tenant = Server(), OwningServer()
        self.servers: dict[str, Server] = {INFRA: self.infra, TENANT: self.tenant}
        self.hosts = {f"h{n}": Truth(f"d{n}") for n in range(1, hosts + 1)}
        self.hosts["h1"].standby = "d1b"
        self.policy, self.leaving = OutagePolicy.CORDON, False
        self.disrupted_since = -1
        self.violations: list[str] = []
        self.trace: list[str] = []
        self.late: list[tuple[str, int, Write]] = []
        self.writes = 0
        self._found()
        self.health_since = self.clock.now()
        self.process = self._new_process()
        self.tick(int(CALM_SECONDS) + 1)

    def _found(self) -> None:
        for name in ("master-0", "master-1", "master-2"):
            self.infra.put(NODES, _node(name))
        for host, truth in self.hosts.items():
            self.tenant.put(NODES, {"kind": "Node", "metadata": {"name": host}, "spec": {}})
            for dpu in filter(None, (truth.dpu, truth.standby)):
                self.infra.put(NODES, _node(dpu))
                step = Apply(INFRA, PODDISRUPTIONBUDGETS, first_budget(BLOCKERS, dpu, host), None, "dpunetop-drain")
                self.infra.perform(Write(step))
                self.infra.put(PODS, _pod(f"blocker-{dpu}", OPERATOR_NAMESPACE, dpu, dict(blocker_labels(dpu))))
                self.infra.put(PODS, _pod(f"ovn-{dpu}", PODS_NAMESPACE, dpu, {"app": "ovnkube-node"}))

    def _new_process(self) -> Process:
        health = Health(Reach.REACHABLE, "", "", self.clock.now())
        return Process(InfraHealth(lambda: health, self.clock))

    @property
    def now(self) -> int:
        return EPOCH_SECONDS + int(self.clock.monotonic())

    # --- the operator -----------------------------------------------------------------------------------------------

    def sync(self, cluster: str) -> bool:
        self.process.caches[cluster] = dict(self.servers[cluster].objects)
        return True

    def look(self, host: str) -> OutageDecision | None:
        """What the operator decides about a host; None: it has seen nothing yet."""
        infra, tenant = self.process.caches.get(INFRA), self.process.caches.get(TENANT)
        if infra is None or tenant is None:
            return None
        view = self._host_view(host, infra, tenant)
        server = next((dpu for dpu in view.dpus if dpu.name == view.serving), None)
        outage = None
        if server is not None:
            pods = [pod.live for pod in server.pods]
            serving = Serving(host, server.name, infra.get(("nodes", "", server.name)), pods)
            outage = find_outage(serving, self.now, self.process.outages.get(host))
        self.process.outages[host] = outage
        limit, turns = self._turns(tenant)
        suspect = self.process.infra_health.see(_nodes(infra)) or self.process.infra_health.suspicion().value
        spec = UnplannedSpec(self.policy, AFTER, self.limit)
        turn = turns.get(host, Turn.UNDECIDED)
        found = decide_outage(
            OutageView(
                view.host_ref, spec, Cordons(limit, suspect), turn, outage, view.dpus, view, is_leaving=self.leaving
            )
        )
        self.process.said[host] = found
        return found

    def _turns(self, tenant: Mapping[Any, Obj]) -> tuple[int, Mapping[str, Turn]]:
        if self.policy is not OutagePolicy.CORDON:
            return 0, {}
        states = (said.state for said in self.process.said.values() if said.state is not None)
        asking = [(state.asks_since, state.host) for state in states if state.asks_since is not None]
        taken = {name_of(node) for node in _nodes(tenant) if takes_place(node)}
        return self.limit, cordon_turns(self.limit, asking, taken)

    def _host_view(self, host: str, infra: Mapping[Any, Obj], tenant: Mapping[Any, Obj]) -> HostView:
        truth = self.hosts[host]
        author = Author("dpunetop-drain", "term", f"x{self.steps}", self.now)
        host_ref = HostRef(host, TENANT, OPERATOR_NAMESPACE, OWNER, author)
        found = (readers.maintenance(obj, OWNER) for key, obj in sorted(tenant.items()) if key[0] == "nodemaintenances")
        seen = tenant.get(("nodes", "", host))
        node = NodeGone(False) if seen is None else readers.host_node(seen)
        dpus = tuple(self._dpu_view(infra, dpu) for dpu in filter(None, (truth.dpu, truth.standby)))
        return HostView(
            host_ref=host_ref,
            tenant=TenantSeen(node, tuple(each for each in found if each.host == host)),
            dpus=dpus,
            serving=truth.dpu if truth.serves else None,
            pods_namespace=PODS_NAMESPACE,
            config=CONFIG,
        )

    def _dpu_view(self, infra: Mapping[Any, Obj], name: str) -> DpuView:
        pods = [obj for key, obj in sorted(infra.items()) if key[0] == "pods" and obj["spec"]["nodeName"] == name]
        budget = next(o for k, o in infra.items() if k[0] == "poddisruptionbudgets" and k[2].endswith(f"-{name}"))
        ovn = (pod for pod in pods if pod["metadata"]["namespace"] == PODS_NAMESPACE)
        return DpuView(
            name=name,
            node=readers.dpu_node(infra["nodes", "", name]),
            budget=readers.budget(budget, OWNER),
            blocker=readers.ready_blocker(p for p in pods if p["metadata"]["namespace"] == OPERATOR_NAMESPACE),
            pods=tuple(readers.ovn_pod(pod, Templates("r1")) for pod in ovn),
        )

    def think(self, host: str) -> bool:
        """Decide about a host, if nothing is under way there; whether there is something to do."""
        if host in self.process.runs:
            return False
        found = self.look(host)
        if found is None or found.task is None:
            return False
        self._log(f"{host} begins {type(found.task).__name__}")
        self.process.runs[host] = (Run(found.task, shift=self.steps), self.steps)
        return True

    def act(self, host: str, *, sent: bool = True, heard: bool = True) -> bool:
        """Take one API call of the task under way."""
        call = self._next_call(host)
        if call is None:
            return False
        began = self.process.runs[host][1]
        answer = self._perform(call, began) if sent else None
        self._answer(host, answer if sent and heard else Unreachable(0, "Timeout", "no answer"))
        return True

    def operate(self, host: str) -> bool:
        """The next thing that the operator does with fresh caches."""
        if host in self.process.runs:
            return self.act(host)
        return self.sync(INFRA) and self.sync(TENANT) and self.think(host)

    def operate_half_blind(self, host: str) -> bool:
        if host in self.process.runs:
            return self.act(host)
        self.sync(INFRA if self.steps % 2 else TENANT)
        return self.think(host)

    def work(self, host: str) -> bool:
        """Several steps of it without anybody in between."""
        busy = [self.operate(host) for _ in range(6)]
        return any(busy)

    def crash(self) -> bool:
        self.process = self._new_process()
        return True

    def depose(self, host: str) -> bool:
        """The process is paused at a write, which will arrive at any later time; another one leads."""
        call = self._next_call(host)
        if not isinstance(call, Write):
            return False
        self.late.append((host, self.process.runs[host][1], call))
        return self.crash()

    def deliver(self) -> bool:
        if not self.late:
            return False
        _, began, call = self.late.pop(0)
        self._perform(call, began)
        return True

    def _next_call(self, host: str) -> Call | None:
        run = self.process.runs.get(host)
        if run is None:
            return None
        try:
            call = run[0].next()
        except ApiError as err:
            self._log(f"{host} ends with {type(err).__name__}")
            del self.process.runs[host]
            return None
        if isinstance(call, Done):
            self._log(f"{host} ends {call.result.name}: {call.note}")
            del self.process.runs[host]
            return None
        return call

    def _answer(self, host: str, answer: Any) -> None:
        run, began = self.process.runs[host]
        self.process.runs[host] = (run.answered(answer), began)
        self._next_call(host)

    def _perform(self, call: Call, began: int) -> Any:
        step = call.step if isinstance(call, Write) else None
        before = None if step is None else self._cordon(_target(step))
        cluster = call.cluster if not isinstance(call, Write) else call.step.cluster
        try:
            answer = self.servers[cluster].perform(call)
        except ApiError as err:
            return err
        if step is not None and before is not None:
            self.writes += 1
            self._judge(_target(step), before, began)
        return answer

    # --- what must hold ---------------------------------------------------------------------------------------------

    def _cordon(self, host: str) -> tuple[bool, frozenset[str]]:
        node = self.tenant.get(NODES, "", host)
        assert node is not None
        return bool(at(node, "spec", "unschedulable")), self.tenant.owners.get(host, frozenset())

    def cordoned_by_us(self) -> list[str]:
        """Hosts whose cordon is ours alone."""
        return [host for host in self.hosts if self._cordon(host) == (True, frozenset({CORDON_MANAGER}))]

    def _judge(self, host: str, before: tuple[bool, frozenset[str]], began: int) -> None:
        now, truth = self._cordon(host)[0], self.hosts[host]
        self._log(
            f"{host} written: cordoned {before[0]} -> {now}, {self.tenant.objects[place(NODES, '', host)]['metadata']}"
        )
        if now == before[0]:
            return
        if 0 <= self.disrupted_since < began:
            self.violations.append(f"{host} was changed while infra is suspect")
        if 0 <= truth.maintained_since < began:
            self.violations.append(f"{host} was changed in its maintenance")
        if now:
            self._judge_cordon(host, truth, began)
        else:
            self._judge_uncordon(host, truth, before, began)

    def _judge_cordon(self, host: str, truth: Truth, began: int) -> None:
        if len(self.cordoned_by_us()) > self.limit:
            self.violations.append(f"{self.cordoned_by_us()} are cordoned, and {self.limit} may be")
        if truth.down_since < 0 and truth.up_since < began:
            self.violations.append(f"{host} was cordoned although it has a network")
        if truth.down_since >= 0 and self.now - truth.down_at < AFTER:
            self.violations.append(f"{host} was cordoned too early")

    def _judge_uncordon(self, host: str, truth: Truth, before: tuple[bool, frozenset[str]], began: int) -> None:
        if before[1] != {CORDON_MANAGER} or truth.wanted:
            self.violations.append(f"{host}: a cordon of {set(before[1])} was lifted, wanted={truth.wanted}")
        if 0 <= truth.down_since < began:
            self.violations.append(f"{host} was made schedulable without a network")

    def unsettled(self) -> list[str]:
        """What is not as it should be once every network works."""
        left = [f"{host} is marked" for host in self.hosts if self._host(host).unplanned is not None]
        for host, truth in self.hosts.items():
            if self._host(host).cordoned != truth.wanted:
                left.append(f"{host} is cordoned={self._host(host).cordoned}, and people want {truth.wanted}")
        return left

    def _host(self, host: str) -> facts.HostNode:
        node = self.tenant.get(NODES, "", host)
        assert node is not None
        return readers.host_node(node)

    def _log(self, text: str) -> None:
        self.trace.append(f"{self.steps}: {text}")

    # --- what happens -----------------------------------------------------------------------------------------------

    def tick(self, seconds: int = 60) -> bool:
        self.clock.step(float(seconds))
        return True

    def fail(self, host: str, *, node: bool) -> bool:
        """The DPU that serves goes down, or its pod does."""
        truth = self.hosts[host]
        if truth.down_since >= 0:
            return False
        truth.down_since, truth.down_at = self.steps, self.now
        truth.node_down = node
        if self.disrupted_since < 0:
            self._show(truth.dpu, node=not node, pod=False)
        return True

    def recover(self, host: str) -> bool:
        truth = self.hosts[host]
        if truth.down_since < 0:
            return False
        truth.down_since, truth.up_since = -1, self.steps
        if self.disrupted_since < 0:
            self._show(truth.dpu, node=True, pod=True)
        return True

    def fail_standby(self) -> bool:
        self._show("d1b", node=self.steps % 2 == 0, pod=self.steps % 3 == 0)
        return True

    def disrupt(self) -> bool:
        """Infra's own network fails: Nodes are shown as not Ready in a body, and nothing is the matter with them."""
        if self.disrupted_since >= 0:
            return False
        self.disrupted_since = self.steps
        for truth in self.hosts.values():
            self._show(truth.dpu, node=False, pod=False)
        return is_disrupted(self.infra.list(NODES))

    def calm(self) -> bool:
        """It is back; kubelets report."""
        if self.disrupted_since < 0:
            return False
        self.disrupted_since = -1
        for truth in self.hosts.values():
            up = truth.down_since < 0
            self._show(truth.dpu, node=up or not truth.node_down, pod=up)
        return True

    def _show(self, dpu: str, *, node: bool, pod: bool) -> None:
        when = spelled(self.now)
        self.infra.change(NODES, "", dpu, {"status": {"conditions": [_ready(node, when)]}})
        self.infra.change(PODS, PODS_NAMESPACE, f"ovn-{dpu}", {"status": {"conditions": [_ready(pod, when)]}})

    def person(self, host: str, *, cordons: bool) -> bool:
        """A person who looks first: `kubectl cordon` sends nothing where nothing changes."""
        node, truth = self._host(host), self.hosts[host]
        if node.cordoned == cordons or truth.maintained_since >= 0:
            return False
        truth.wanted = cordons
        self.tenant.change(NODES, "", host, {"spec": {"unschedulable": cordons or None}})
        return True

    def tool(self, host: str) -> bool:
        """A tool of the tenant applies a cordon beside whatever is there."""
        truth = self.hosts[host]
        if truth.maintained_since >= 0:
            return False
        self.tenant.co_apply(host, TOOL, yes=True)
        truth.wanted = True
        return True

    def drain(self, host: str) -> bool:
        """A drain of ours begins: the DPU is cordoned, the maintenance is made, and the host emptied."""
        truth = self.hosts[host]
        if truth.maintained_since >= 0:
            return False
        self.infra.change(NODES, "", truth.dpu, {"spec": {"unschedulable": True}})
        self._drive(host, Create(self._host_ref(host), truth.dpu))
        if self._maintenance(host) is None:
            self.infra.change(NODES, "", truth.dpu, {"spec": {"unschedulable": None}})
            return False
        truth.maintained_since = self.steps
        spec = {"unschedulable": True, "taints": [{"key": MAINTENANCE_TAINT}]}
        self.tenant.change(NODES, "", host, {"spec": spec})
        return True

    def end_drain(self, host: str) -> bool:
        """It is given back on proof, by the operator's drain and the node maintenance operator."""
        truth = self.hosts[host]
        if truth.maintained_since < 0 or truth.down_since >= 0 or self.disrupted_since >= 0:
            return False
        self.infra.change(NODES, "", truth.dpu, {"spec": {"unschedulable": None}})
        self.tenant.change(NODES, "", host, {"spec": {"unschedulable": None, "taints": []}})
        self.tenant.remove(NODEMAINTENANCES, "", maintenance_name(host))
        self._drive(host, Restore(self._host_ref(host)))
        truth.maintained_since = -1
        return True

    def _drive(self, host: str, task: Task) -> None:
        def perform(call: Call) -> Any:
            return self.servers[call.step.cluster if isinstance(call, Write) else call.cluster].perform(call)

        self._log(f"{host}: {drive(task, perform).note}")

    def _maintenance(self, host: str) -> Obj | None:
        return self.tenant.get(NODEMAINTENANCES, "", maintenance_name(host))

    def _host_ref(self, host: str) -> HostRef:
        return HostRef(host, TENANT, OPERATOR_NAMESPACE, OWNER, Author("dpunetop-drain", "term", "x", self.now))

    def switch(self) -> bool:
        """An administrator changes the policy."""
        self.policy = OutagePolicy.REPORT if self.policy is OutagePolicy.CORDON else OutagePolicy.CORDON
        return True

    def delete_config(self, yes: bool) -> bool:
        was, self.leaving = self.leaving, yes
        return was != yes

    def unpair(self, host: str, yes: bool) -> bool:
        was, self.hosts[host].serves = self.hosts[host].serves, not yes
        return was == yes

    # --- together ---------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let the operator see everything and do all it can, however long that takes."""
        for _ in range(12):
            self.tick(120)
            for _ in range(200):
                busy = [self.step(partial(self.operate, host), f"operate {host}") for host in self.hosts]
                if not any(busy):
                    break
            else:
                raise AssertionError("it never comes to rest:\n" + "\n".join(self.trace[-60:]))

    def said(self, host: str) -> NetworkState | None:
        """What the operator says of a host now."""
        self.sync(INFRA)
        self.sync(TENANT)
        found = self.look(host)
        return None if found is None else found.state


def _ready(yes: bool, since: str) -> dict[str, str]:
    return {"type": "Ready", "status": "True" if yes else "False", "lastTransitionTime": since}


def _node(name: str) -> Obj:
    status = {"nodeInfo": {"bootID": f"{name}-b1"}, "conditions": [_ready(True, spelled(EPOCH_SECONDS))]}
    return {"kind": "Node", "metadata": {"name": name}, "spec": {}, "status": status}


def _pod(name: str, namespace: str, node: str, labels: dict[str, str]) -> Obj:
    old = spelled(EPOCH_SECONDS - 86_400)
    notes = {TEMPLATE_HASH_ANNOTATION: "r1"}
    metadata = {"name": name, "namespace": namespace, "labels": labels, "annotations": notes, "creationTimestamp": old}
    containers = [{"name": "ovnkube-node", "containerID": f"cri-o://{name}", "ready": True}]
    status = {"phase": "Running", "conditions": [_ready(True, old)], "containerStatuses": containers}
    return {"metadata": metadata, "spec": {"nodeName": node}, "status": status}


def _nodes(cache: Mapping[Any, Obj]) -> list[Obj]:
    return [obj for key, obj in cache.items() if key[0] == "nodes"]


def _target(step: Apply | Patch | Delete) -> str:
    return name_of(step.desired if isinstance(step, Apply) else step.live)


Action = tuple[str, Callable[[], bool], int]


def actions(world: OutageWorld) -> list[Action]:
    """Everything that can happen: a name, what, and how often it is to be tried."""
    found: list[Action] = [
        ("tick", world.tick, 12),
        ("long tick", partial(world.tick, 400), 6),
        ("crash", world.crash, 1),
        ("deliver", world.deliver, 3),
        ("disrupt", world.disrupt, 1),
        ("calm", world.calm, 3),
        ("standby", world.fail_standby, 1),
        ("switch", world.switch, 1),
        ("delete config", partial(world.delete_config, True), 1),
        ("make config anew", partial(world.delete_config, False), 3),
    ]
    for host in world.hosts:
        found += [
            (f"work {host}", partial(world.work, host), 60),
            (f"operate {host}", partial(world.operate, host), 30),
            (f"operate half blind {host}", partial(world.operate_half_blind, host), 6),
            (f"act lost {host}", partial(world.act, host, sent=False), 1),
            (f"act unheard {host}", partial(world.act, host, heard=False), 2),
            (f"depose {host}", partial(world.depose, host), 2),
            (f"node of {host} fails", partial(world.fail, host, node=True), 2),
            (f"pod of {host} fails", partial(world.fail, host, node=False), 2),
            (f"{host} recovers", partial(world.recover, host), 2),
            (f"cordon {host}", partial(world.person, host, cordons=True), 1),
            (f"uncordon {host}", partial(world.person, host, cordons=False), 2),
            (f"tool {host}", partial(world.tool, host), 1),
            (f"drain {host}", partial(world.drain, host), 2),
            (f"end drain {host}", partial(world.end_drain, host), 4),
            (f"unpair {host}", partial(world.unpair, host, True), 1),
            (f"pair {host}", partial(world.unpair, host, False), 3),
        ]
    return found


def walk(world: OutageWorld, seed: int, length: int) -> None:
    """Let things happen at random, and stop at the first that must not."""
    dice = random.Random(seed)
    usual = ("operate h", "work h", "tick", "long tick")
    picked = [
        (name, do, weight if name.startswith(usual) else weight * dice.choice((0, 0, 1, 1, 3)))
        for name, do, weight in actions(world)
    ]
    names, doings, weights = zip(*picked, strict=True)
    for index in dice.choices(range(len(names)), weights, k=length):
        world.step(doings[index], names[index])
        assert not world.violations, f"seed {seed}: {world.violations}\n" + "\n".join(world.trace[-60:])


def finish(world: OutageWorld) -> None:
    """After a walk everybody behaves; then every host must be as people want it."""
    while world.late:
        world.step(world.deliver, "deliver")
    world.policy, world.leaving = OutagePolicy.CORDON, False
    world.step(world.calm, "calm")
    for host in world.hosts:
        for action in (partial(world.unpair, host, False), partial(world.recover, host)):
            world.step(action, f"end {host}")
        world.step(partial(world.end_drain, host), f"end drain {host}")
    world.settle()
    assert not world.violations, f"{world.violations}\n" + "\n".join(world.trace[-60:])
    assert world.unsettled() == [], f"{world.unsettled()}\n" + "\n".join(world.trace[-60:])
