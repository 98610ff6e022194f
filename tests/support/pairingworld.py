"""A host with two DPUs whose pairs people make and take apart, while the operator is killed, paused and blind, and the
DPUs may say of themselves what they like.

What the decisions of pairing and protection do is carried out one call at a time on two small servers, and judged by
what pods have really read. Drains themselves are `support.drainworld`'s affair: here a host is drained or is not.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dpunetop.domain.drain.model import facts, readers
from dpunetop.domain.drain.model.calls import Call, Done, Run, Task, Write
from dpunetop.domain.drain.model.facts import Author, DpuView, HostRef, NodeGone
from dpunetop.domain.drain.protection.blockers import BlockerSettings
from dpunetop.domain.drain.protection.decision import Entries, ProtectionView, decide_protection
from dpunetop.domain.drain.protection.tasks import PutEntries
from dpunetop.domain.names import (
    DPU_HOST_LABEL,
    IDLE_PODS_ANNOTATION,
    NODEMAINTENANCES,
    OVNKUBE_NODE_ENTRIES,
    OWNER_LABEL,
    PODDISRUPTIONBUDGETS,
    blocker_labels,
    blocker_name,
    maintenance_name,
)
from dpunetop.domain.pairing.entries import (
    EntriesView,
    entries_of,
    idle_pods,
    idle_pods_left,
    judge_entries,
    render_idle_pods,
)
from dpunetop.domain.pairing.envfile import NodeEntry
from dpunetop.domain.pairing.pairing import Claims, Pair, PairingView, host_of, hosts_to_annotate, pair_up
from dpunetop.kube.errors import ApiError, Unreachable
from dpunetop.kube.keys import CONFIGMAPS, DEPLOYMENTS, INFRA, NODES, PODS
from dpunetop.kube.meta import Obj, is_terminating, uid_of
from dpunetop.kube.plan import Apply, Delete, Patch
from support.twoclusters import Server, merged

TENANT, HOST, OWNER, NAMESPACE, OPERATOR = "tenant/ns/sample", "host-1", "owner", "ns", "dpunetop"
DPUS = ("dpu-1", "dpu-2")
SETTINGS = BlockerSettings(OPERATOR, "image", OWNER, has_scc=False)
READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
WORKERS = ("host", "pairs", "ovnkube")
"""They have tasks of their own under way at the same time, as the controllers have."""

Action = Callable[[], object]


@dataclass
class Doing:
    """A task under way, and when it was decided on."""

    run: Run
    began: int


@dataclass
class Process:
    """What ends with the operator."""

    term: str
    caches: dict[str, dict[Any, Obj]] = field(default_factory=dict)
    doing: dict[str, Doing] = field(default_factory=dict)


@dataclass(frozen=True)
class OneWrite:
    """What the executor does with a step of a plan."""

    step: Apply | Patch | Delete

    def run(self) -> Any:
        yield Write(self.step)
        raise AssertionError("one call is all")


class World:
    """Both clusters, everybody who acts on them, and what has gone wrong so far (`violations`)."""

    def __init__(self) -> None:
        self.infra, self.tenant = Server(), Server()
        self.servers = {INFRA: self.infra, TENANT: self.tenant}
        self.process = Process("term-0")
        self.late: list[tuple[int, Write]] = []
        self.wishes: dict[str, str] = {}
        self.annotations: dict[str, str] = {}
        self.read: dict[str, str] = {}
        """UID of a pod to the host that it serves."""
        self.used_since = 0
        """When the host was last given back; it is in use unless it is drained."""
        self.steps = self.terms = self.draws = 0
        self.log: list[str] = []
        self.violations: list[str] = []
        for dpu in DPUS:
            self.infra.put(NODES, {"metadata": {"name": dpu}, "spec": {}, "status": READY})
        metadata = {"name": OVNKUBE_NODE_ENTRIES, "namespace": NAMESPACE, "labels": {OWNER_LABEL: OWNER}}
        self.infra.put(CONFIGMAPS, {"metadata": metadata, "data": {}})
        self.tenant.put(NODES, {"metadata": {"name": HOST, "labels": {DPU_HOST_LABEL: ""}}, "spec": {}})

    # --- the operator -----------------------------------------------------------------------------------------------

    def sync(self, cluster: str) -> None:
        """The caches of a cluster catch up."""
        self.process.caches[cluster] = dict(self.servers[cluster].objects)

    def operate(self, worker: str) -> bool:
        """The next call of a worker, or its next decision."""
        if worker in self.process.doing:
            return self._act(worker)
        if len(self.process.caches) < len(self.servers):
            return False
        tasks = self._tasks(worker)
        if tasks:
            self.process.doing[worker] = Doing(Run(tasks[0], shift=self.steps), self.steps)
        return bool(tasks)

    def _act(self, worker: str) -> bool:
        doing = self.process.doing[worker]
        call = doing.run.next()
        assert not isinstance(call, Done)
        self._answer(worker, self._perform(call, doing.began))
        return True

    def _answer(self, worker: str, answer: Any) -> None:
        doing = self.process.doing[worker]
        doing.run = doing.run.answered(answer)
        is_single = isinstance(doing.run.task, OneWrite)
        try:
            is_over = is_single or isinstance(doing.run.next(), Done)
        except ApiError:
            is_over = True
        if is_over:
            del self.process.doing[worker]

    def crash(self) -> None:
        """The process dies; another one knows nothing."""
        self.terms += 1
        self.process = Process(f"term-{self.terms}")

    def pause(self, worker: str) -> None:
        """A write is under way when another process takes over; it arrives at any later time."""
        doing = self.process.doing.get(worker)
        call = doing.run.next() if doing is not None else None
        if doing is not None and isinstance(call, Write):
            self.late.append((doing.began, call))
        self.crash()

    def unheard(self, worker: str) -> None:
        """A write comes about, and its answer is lost."""
        doing = self.process.doing.get(worker)
        call = doing.run.next() if doing is not None else None
        if doing is not None and isinstance(call, Write):
            self._perform(call, doing.began)
            self._answer(worker, Unreachable(0, "Timeout", "no answer"))

    def deliver(self) -> None:
        """A late write arrives."""
        if self.late:
            began, call = self.late.pop(0)
            self._perform(call, began)

    def _perform(self, call: Call, began: int) -> Any:
        assert hasattr(call, "cluster") or isinstance(call, Write)
        cluster = call.step.cluster if isinstance(call, Write) else call.cluster
        try:
            answer = self.servers[cluster].perform(call)
        except ApiError as err:
            return err
        if isinstance(call, Write):
            self.log.append(f"{self.steps}: {type(call.step).__name__} {call.step.resource.plural}")
            self._judge_write(call.step, began)
        return answer

    # --- its decisions ----------------------------------------------------------------------------------------------

    def _tasks(self, worker: str) -> list[Task]:
        pairs = self._pairs()
        match worker:
            case "host":
                return [task for dpu in DPUS for task in self._of_dpu(dpu, pairs)]
            case "pairs":
                found = [decide_protection(self._view(dpu, pairs)).entry for dpu in DPUS]
                entries = tuple(entry for entry in found if entry is not None)
                return [PutEntries(NAMESPACE, entries)] if entries else self._tidying()
            case _:
                live, pods = self._cached(CONFIGMAPS, NAMESPACE, OVNKUBE_NODE_ENTRIES), self._pods()
                view = EntriesView(pairs=pairs, live=live, configured=frozenset(DPUS), pods=pods)
                return [OneWrite(Delete(INFRA, PODS, pod)) for pod in judge_entries(view).restart]

    def _of_dpu(self, dpu: str, pairs: dict[str, Pair]) -> list[Task]:
        view = self._view(dpu, pairs)
        found = decide_protection(view)
        upkeep: list[Task] = [
            OneWrite(step) for step in found.upkeep if step.live is None or merged(step.live, step.desired) != step.live
        ]
        return [*upkeep, *([found.task] if found.task is not None else [])]

    def _tidying(self) -> list[Task]:
        live = self._cached(CONFIGMAPS, NAMESPACE, OVNKUBE_NODE_ENTRIES)
        left = idle_pods_left(live, self._pods())
        if live is None or idle_pods(live) == left:
            return []
        change = {"metadata": {"annotations": {IDLE_PODS_ANNOTATION: render_idle_pods(left)}}}
        return [OneWrite(Patch(INFRA, CONFIGMAPS, live, change))]

    def _pairs(self) -> dict[str, Pair]:
        budgets = {dpu: self._budget(dpu) for dpu in DPUS}
        host = self.process.caches[TENANT].get((NODES.plural, "", HOST))
        return dict(
            pair_up(
                PairingView(
                    wishes={dpu: NodeEntry(host) for dpu, host in self.wishes.items()},
                    annotations=self.annotations,
                    dropped=frozenset(),
                    entries=entries_of(self._cached(CONFIGMAPS, NAMESPACE, OVNKUBE_NODE_ENTRIES)),
                    serves={dpu: read.serves for dpu, read in budgets.items() if read is not None and read.serves},
                    leaving=frozenset(dpu for dpu, read in budgets.items() if read is not None and read.leaving),
                    claimed=Claims(),
                    hosts=hosts_to_annotate([] if host is None else [host]),
                )
            )
        )

    def _view(self, dpu: str, pairs: dict[str, Pair]) -> ProtectionView:
        self.draws += 1
        read, pair = self._budget(dpu), pairs.get(dpu)
        text = entries_of(self._cached(CONFIGMAPS, NAMESPACE, OVNKUBE_NODE_ENTRIES)).get(dpu, "")
        pairing = pair.host if pair is not None else None
        host = (read.serves if read is not None else "") or pairing or host_of(dpu, text)
        idle = idle_pods(self._cached(CONFIGMAPS, NAMESPACE, OVNKUBE_NODE_ENTRIES)).get(dpu)
        author = Author("dpunetop-drain", self.process.term, f"x{self.draws}", 0)
        return ProtectionView(
            dpu=self._dpu(dpu),
            settings=SETTINGS,
            host_ref=HostRef(host, TENANT, OPERATOR, OWNER, author),
            deployment=self._cached(DEPLOYMENTS, OPERATOR, blocker_name(dpu)),
            pairing=pairing,
            text=pair.text if pair is not None else "",
            configured=True,
            is_tenant_known=True,
            entries=Entries(NAMESPACE, host_of(dpu, text) or None, text, idle=frozenset({idle} if idle else ())),
            drained=self._shows_drained(),
            active=False,
        )

    def _dpu(self, dpu: str) -> DpuView:
        node = self._cached(NODES, "", dpu)
        blockers = [pod for pod in self._all(PODS, OPERATOR) if pod["spec"]["nodeName"] == dpu]
        return DpuView(
            name=dpu,
            node=NodeGone(False) if node is None else readers.dpu_node(node),
            budget=self._budget(dpu),
            blocker=readers.ready_blocker(blockers),
            pods=tuple(readers.ovn_pod(pod) for pod in self._pods() if pod["spec"]["nodeName"] == dpu),
        )

    def _budget(self, dpu: str) -> facts.Budget | None:
        found = self._cached(PODDISRUPTIONBUDGETS, OPERATOR, blocker_name(dpu))
        return None if found is None else readers.budget(found, OWNER)

    def _pods(self) -> tuple[Obj, ...]:
        return tuple(self._all(PODS, NAMESPACE))

    def _shows_drained(self) -> bool:
        cache = self.process.caches[TENANT]
        return _is_drained(
            cache.get(("nodes", "", HOST)), cache.get((NODEMAINTENANCES.plural, "", maintenance_name(HOST)))
        )

    def _cached(self, resource: Any, namespace: str, name: str) -> Obj | None:
        return self.process.caches[INFRA].get((resource.plural, namespace, name))

    def _all(self, resource: Any, namespace: str) -> list[Obj]:
        cache = sorted(self.process.caches[INFRA].items())
        return [obj for (plural, where, _), obj in cache if (plural, where) == (resource.plural, namespace)]

    # --- what others do ---------------------------------------------------------------------------------------------

    def wish(self, dpu: str, host: str | None) -> None:
        """People write a DPU into `env-overrides`, or take it out."""
        self.wishes = {**{other: each for other, each in self.wishes.items() if other != dpu}}
        if host is not None:
            self.wishes[dpu] = host

    def annotate(self, dpu: str, host: str | None) -> None:
        """A DPU's Node is annotated, or that is taken back: by people, or by its own kubelet."""
        self.annotations = {other: each for other, each in self.annotations.items() if other != dpu}
        if host is not None:
            self.annotations[dpu] = host

    def drain(self) -> None:
        """The node maintenance operator has drained the host."""
        metadata = {"name": maintenance_name(HOST), "labels": {OWNER_LABEL: OWNER}}
        found = {"metadata": metadata, "spec": {"nodeName": HOST}, "status": {"phase": "Succeeded"}}
        self.tenant.put(NODEMAINTENANCES, found)
        self.tenant.change(NODES, "", HOST, {"spec": {"unschedulable": True}})

    def give_back(self) -> None:
        """The host is in use again. Its one worker sees to that, so no task of it is under way then; and not before all
        is gone that served it (`proof.needs_proof`)."""
        found = (self.infra.get(PODDISRUPTIONBUDGETS, OPERATOR, blocker_name(dpu)) for dpu in DPUS)
        is_leaving = any(readers.budget(each, OWNER).leaving for each in found if each is not None)
        if self.is_drained and not is_leaving and "host" not in self.process.doing and not self.late:
            self.tenant.remove(NODEMAINTENANCES, "", maintenance_name(HOST))
            self.tenant.change(NODES, "", HOST, {"spec": {"unschedulable": None}})
            self.used_since = self.steps

    def run_blocker(self, dpu: str) -> None:
        """The blocker comes to be Ready, once there is a Deployment."""
        wanted = self.infra.get(DEPLOYMENTS, OPERATOR, blocker_name(dpu)) is not None
        if wanted and self.infra.get(PODS, OPERATOR, f"blocker-{dpu}") is None:
            metadata = {"name": f"blocker-{dpu}", "namespace": OPERATOR, "labels": dict(blocker_labels(dpu))}
            self.infra.put(PODS, {"metadata": metadata, "spec": {"nodeName": dpu}, "status": READY})

    def stop_blocker(self, dpu: str) -> None:
        """The blocker dies."""
        self.infra.remove(PODS, OPERATOR, f"blocker-{dpu}")

    def cordon(self, dpu: str, yes: bool) -> None:
        """People cordon a DPU; what follows from that is not this world's affair."""
        self.infra.change(NODES, "", dpu, {"spec": {"unschedulable": yes or None}})

    def kubelet(self, dpu: str) -> None:
        """The pod ends, or starts, or comes to be: one of these."""
        name = f"ovnkube-node-{dpu}"
        pod = self.infra.get(PODS, NAMESPACE, name)
        if pod is None:
            metadata = {"name": name, "namespace": NAMESPACE, "labels": {"app": "ovnkube-node"}, "finalizers": ["k"]}
            self.infra.put(PODS, {"metadata": metadata, "spec": {"nodeName": dpu}, "status": {"phase": "Pending"}})
        elif is_terminating(pod):
            self.read.pop(uid_of(pod), None)
            self.infra.remove(PODS, NAMESPACE, name)
        elif (pod.get("status") or {}).get("phase") != "Running":
            self.restart(dpu)
            self.infra.change(PODS, NAMESPACE, name, {"status": READY})

    def restart(self, dpu: str) -> None:
        """The container of the pod starts, for the first time or once more, and reads its entry."""
        pod = self.infra.get(PODS, NAMESPACE, f"ovnkube-node-{dpu}")
        if pod is not None and not is_terminating(pod):
            text = entries_of(self.infra.get(CONFIGMAPS, NAMESPACE, OVNKUBE_NODE_ENTRIES)).get(dpu, "")
            self.read[uid_of(pod)] = host_of(dpu, text)

    # --- what must hold ---------------------------------------------------------------------------------------------

    @property
    def is_drained(self) -> bool:
        """Whether the host has no workload."""
        nm = self.tenant.get(NODEMAINTENANCES, "", maintenance_name(HOST))
        return _is_drained(self.tenant.get(NODES, "", HOST), nm)

    def serving(self) -> list[str]:
        """DPUs with a pod that serves the host."""
        pods = [pod for pod in self.infra.list(PODS, NAMESPACE) if self.read.get(uid_of(pod)) == HOST]
        return [pod["spec"]["nodeName"] for pod in pods]

    def judge(self) -> None:
        """What must hold at any moment."""
        serving = self.serving()
        if len(serving) > 1:
            self.violations.append(f"{self.steps}: {serving} serve {HOST} at once")
        for dpu in serving:
            budget = self.infra.get(PODDISRUPTIONBUDGETS, OPERATOR, blocker_name(dpu))
            read = None if budget is None else readers.budget(budget, OWNER)
            if read is None or read.is_open or read.serves != HOST:
                self.violations.append(f"{self.steps}: {dpu} serves without protection")

    def _judge_write(self, step: Apply | Patch | Delete, began: int) -> None:
        """Nothing takes the pod away that serves a host in use; one that is known to have been idle is not missed."""
        if not isinstance(step, Delete) or step.resource is not PODS or self.is_drained or began < self.used_since:
            return
        idle = idle_pods(self.infra.get(CONFIGMAPS, NAMESPACE, OVNKUBE_NODE_ENTRIES)).values()
        if self.read.get(uid_of(step.live)) == HOST and uid_of(step.live) not in idle:
            self.violations.append(f"{self.steps}: the pod that serves {HOST} is taken away while that is in use")

    # --- walking ----------------------------------------------------------------------------------------------------

    def actions(self, dice: random.Random) -> list[Action]:
        """What may happen in one walk: all that goes well, and some of what does not, so that neither hides the
        other."""
        well: list[Action] = [partial(self.sync, name) for name in self.servers]
        well += [partial(self.operate, worker) for worker in WORKERS] * 2
        well += [partial(self.kubelet, dpu) for dpu in DPUS] + [partial(self.run_blocker, dpu) for dpu in DPUS]
        people: list[Action] = [*[self.drain] * 3, self.give_back]
        for dpu in DPUS:
            people += [partial(self.wish, dpu, host) for host in (HOST, None)]
            people += [partial(self.annotate, dpu, host) for host in (HOST, None)]
        bad: list[Action] = [self.crash]
        bad += [partial(self.pause, worker) for worker in WORKERS]
        bad += [partial(self.unheard, worker) for worker in WORKERS]
        bad += [partial(self.stop_blocker, dpu) for dpu in DPUS] + [partial(self.restart, dpu) for dpu in DPUS]
        bad += [partial(self.cordon, dpu, yes) for dpu in DPUS for yes in (True, False)]
        some = [each for each in bad if dice.random() < 0.3]
        return [*well * dice.choice((2, 4, 8)), *people, *some, self.deliver]

    def walk(self, seed: int, length: int) -> None:
        """So many random steps. Raises: AssertionError with what led to it."""
        dice = random.Random(seed)
        actions = self.actions(dice)
        for _ in range(length):
            self.step(dice.choice(actions))
            assert not self.violations, "\n".join([f"seed {seed}", *self.violations, *self.log[-40:]])

    def step(self, action: Action) -> None:
        """One of them."""
        self.steps += 1
        action()
        self.judge()

    def settle(self) -> None:
        """Everybody does what they have to, and nothing goes wrong. Raises: AssertionError if that never ends."""
        for dpu in DPUS:
            self.cordon(dpu, yes=False)
        while self.late:
            self.step(self.deliver)
        for _ in range(80):
            before = self._content()
            for _ in range(12):
                for name in self.servers:
                    self.step(partial(self.sync, name))
                for worker in WORKERS:
                    self.step(partial(self.operate, worker))
            for dpu in DPUS:
                self.step(partial(self.run_blocker, dpu))
                self.step(partial(self.kubelet, dpu))
            if self._content() == before and not self.process.doing and not any(map(self._tasks, WORKERS)):
                return
        left = [type(task).__name__ for worker in WORKERS for task in self._tasks(worker)]
        raise AssertionError("\n".join([f"it never comes to rest: {left}", *self.log[-40:]]))

    def _content(self) -> Any:
        return {name: dict(server.objects) for name, server in self.servers.items()}, dict(self.read)


def _is_drained(host: Obj | None, found: Obj | None) -> bool:
    if host is None or found is None:
        return False
    maintenance = readers.maintenance(found, OWNER)
    return (
        maintenance.phase is facts.MaintenancePhase.SUCCEEDED
        and not maintenance.terminating
        and readers.host_node(host).cordoned
    )
