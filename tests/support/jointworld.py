"""The world of the drain with outages in it: one operator that drains hosts and cordons those whose network fails.

Both decide about the same host in turn, as `HostDecision.tasks` has it, so each finds what the other has left: marks,
cordons, half of a task. What neither may do is judged against the truth, as in `drainworld`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from dpunetop.controllers.drain.infrahealth import CALM_SECONDS, InfraHealth
from dpunetop.domain.clusterconfig.types import OutagePolicy, UnplannedSpec
from dpunetop.domain.drain.host import HostDecision, HostSnapshot
from dpunetop.domain.drain.model.calls import Task
from dpunetop.domain.drain.model.cordonmark import CORDON_MANAGER
from dpunetop.domain.drain.model.facts import HostView
from dpunetop.domain.drain.outages.cordoning import takes_place
from dpunetop.domain.drain.outages.detection import Outage, Serving, find_outage
from dpunetop.domain.drain.outages.unplanned import (
    Cordons,
    NetworkState,
    OutageDecision,
    OutageView,
    Turn,
    cordon_turns,
    decide_outage,
)
from dpunetop.domain.drain.rules.cycle import Decision
from dpunetop.domain.names import NODEMAINTENANCES
from dpunetop.kube.keys import INFRA, NODES
from dpunetop.kube.meta import Obj
from dpunetop.kube.plan import Apply, Delete, Patch
from dpunetop.runtime.cluster import Health, Reach
from support import drainworld
from support.clock import FakeClock
from support.drainworld import HOST, TENANT, Action, World
from support.owningserver import OwningServer
from support.rosters import scope

AFTER = 300
TOOL = "a-tool-of-the-tenant"
_NEIGHBOURS = tuple(f"infra-{number}" for number in range(1, 7))
"""Nodes of infra that are no DPUs of this host."""


class JointWorld(World):
    """`World`, in which the DPU that serves may fail for long, infra be suspect, and the host be cordoned for that."""

    tenant_server = OwningServer

    def __init__(self, dpus: int = 1, *, cordoned_before: bool = False) -> None:
        self.clock = FakeClock()
        self.policy, self.limit = OutagePolicy.CORDON, 1
        self.network = OutageDecision()
        """What the operator decided last about the network of the host."""
        self.stuck: set[str] = set()
        """DPUs on which nothing comes up again until somebody repairs them."""
        self.paired = True
        """Whether a DPU serves the host."""
        self.disrupted_since = -1
        self._was_up, self._turned_at, self._turned_step = True, 0, 0
        self._turned_before = 0
        self._maintained_since = -1
        self._asked_under_ours = False
        """Whether the host was cordoned by us for an outage when its drain was asked for."""
        super().__init__(dpus, cordoned_before=cordoned_before)
        for name in _NEIGHBOURS:
            self.infra.put(NODES, {"metadata": {"name": name}, "status": {"conditions": [self.ready(True)]}})
        self._forget()
        self.tick(int(CALM_SECONDS) + 1)

    # --- the operator -----------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        health = Health(Reach.REACHABLE, "", "", self.clock.now())
        self._infra_health = InfraHealth(lambda: health, self.clock)
        self._outage: Outage | None = None
        self._asks_since: int | None = None

    def crash(self) -> bool:
        self._forget()
        return super().crash()

    def sync(self, cluster: str) -> bool:
        """A cache of the tenant keeps of nobody which fields are whose."""
        if not super().sync(cluster):
            return False
        if cluster == TENANT:
            self.process.caches[TENANT] = {key: _bare(obj) for key, obj in self.process.caches[TENANT].items()}
        return True

    def view(self) -> HostView | None:
        found = super().view()
        return found if found is None or self.paired else replace(found, serving=None)

    def choose(self, view: HostView, decision: Decision) -> Task | None:
        self.network = self._about_network(view)
        state = self.network.state
        self._asks_since = None if state is None else state.asks_since
        snapshot = HostSnapshot(scope(), view.host_ref, view.dpus, {}, {}, view)
        decided = HostDecision(snapshot, {}, {}, decision, self._outage, self.network)
        return next(iter(decided.tasks), None)

    def _about_network(self, view: HostView) -> OutageDecision:
        infra = self.process.caches[INFRA]
        nodes = [obj for key, obj in infra.items() if key[0] == "nodes"]
        suspect = self._infra_health.see(nodes) or self._infra_health.suspicion().value
        self._outage = self._find_outage(view, infra)
        spec, cordons = UnplannedSpec(self.policy, AFTER, 1), Cordons(self.limit, suspect)
        return decide_outage(OutageView(view.host_ref, spec, cordons, self._turn(), self._outage, view.dpus, view))

    def _find_outage(self, view: HostView, infra: Mapping[Any, Obj]) -> Outage | None:
        server = next((dpu for dpu in view.dpus if dpu.name == view.serving), None)
        if server is None:
            return None
        node, pods = infra.get(("nodes", "", server.name)), [pod.live for pod in server.pods]
        return find_outage(Serving(HOST, server.name, node, pods), self.now, self._outage)

    def _turn(self) -> Turn:
        node = self.process.caches.get(TENANT, {}).get(("nodes", "", HOST))
        taken = [HOST] if node is not None and takes_place(node) else []
        asking = [] if self._asks_since is None else [(self._asks_since, HOST)]
        return cordon_turns(self.limit, asking, taken).get(HOST, Turn.UNDECIDED)

    # --- what must hold ---------------------------------------------------------------------------------------------

    def _facts_before(self, step: Apply | Patch | Delete) -> Any:
        if step.resource is not NODES:
            return super()._facts_before(step)
        return self.host().cordoned, self.owners

    @property
    def owners(self) -> frozenset[str]:
        """Whose the cordon of the host is."""
        return self._owning.owners.get(HOST, frozenset())

    @property
    def is_cordoned_by_us(self) -> bool:
        """Whether the cordon of the host is ours alone, because of an outage."""
        return self.host().cordoned and self.owners == {CORDON_MANAGER}

    @property
    def _owning(self) -> OwningServer:
        assert isinstance(self.tenant, OwningServer)
        return self.tenant

    def _judge(self, step: Apply | Patch | Delete, before: Any) -> None:
        if isinstance(step, Apply) and step.resource is NODES:
            self._judge_outage(*before)
            return
        if isinstance(step, Apply) and step.resource is NODEMAINTENANCES:
            self._asked_under_ours = self.is_cordoned_by_us
        super()._judge(step, before)

    def _judge_return(self, failed: bool) -> None:
        """That it had no network before its drain excuses nothing if we had cordoned it for that."""
        if self._asked_under_ours:
            self.dpus[self.serving].began_without = False
        super()._judge_return(failed)

    def _judge_outage(self, was_cordoned: bool, owners: frozenset[str]) -> None:
        is_cordoned = self.host().cordoned
        if is_cordoned == was_cordoned:
            return
        if 0 <= self.disrupted_since < self._decided:
            self.violations.append("the host was changed while infra is suspect")
        if 0 <= self._maintained_since < self._decided:
            self.violations.append("the host was changed in its maintenance")
        if is_cordoned:
            self._judge_cordon()
        else:
            self._judge_uncordon(owners)

    def _judge_cordon(self) -> None:
        self._watch()
        if self._was_up and self._turned_step < self._decided:
            self.violations.append("the host was cordoned although it has a network")
        if not self._was_up and self.now - self._turned_at < AFTER:
            self.violations.append("the host was cordoned too early")

    def _judge_uncordon(self, owners: frozenset[str]) -> None:
        self._watch()
        if owners != {CORDON_MANAGER} or self.intent:
            self.violations.append(f"a cordon of {sorted(owners)} was lifted, wanted={self.intent}")
        if not self._was_up and self._turned_step < self._decided:
            self.violations.append("the host was made schedulable without a network")

    def unsettled(self) -> list[str]:
        marked = ["the host is marked for an outage"] if self.host().unplanned is not None else []
        return super().unsettled() + marked

    def _watch(self) -> None:
        """Remember when the network of the host came or went, and since when there is a maintenance."""
        if not self.maintenances():
            self._maintained_since = -1
        elif self._maintained_since < 0:
            self._maintained_since = self.steps
        is_up = self.dpus[self.serving].net_up
        if is_up is self._was_up:
            return
        was_there_for_no_time = not is_up and self._turned_at == self.now  # which ends no outage
        turned_at = self._turned_before if was_there_for_no_time else self.now
        self._turned_before = self._turned_at
        self._was_up, self._turned_at, self._turned_step = is_up, turned_at, self.steps

    # --- what happens -----------------------------------------------------------------------------------------------

    def tick(self, seconds: int = 60) -> bool:
        self._watch()
        self.clock.step(float(seconds))
        return super().tick(seconds)

    def step(self, action: Callable[[], bool], name: str) -> bool:
        found = super().step(action, name)
        self._watch()
        return found

    def breaks(self, name: str, *, node: bool) -> bool:
        """A DPU fails, and stays so."""
        if name in self.stuck or not (self.reboots_by_itself(name) if node else self.ovnkube_crashes(name)):
            return False
        self.stuck.add(name)
        return True

    def outage_lasts(self, *, node: bool) -> bool:
        """The DPU that serves fails, and time goes by while nobody but the operator does anything."""
        if not self.breaks(self.serving, node=node) and self.serving not in self.stuck:
            return False
        for _ in range(4):
            self.tick(AFTER // 2)
            self.work()
        return True

    def repair(self, name: str) -> bool:
        was = name in self.stuck
        self.stuck.discard(name)
        return was

    def kubelet(self, name: str) -> bool:
        return name not in self.stuck and super().kubelet(name)

    def disrupt(self) -> bool:
        """Infra's own network fails: its Nodes are shown as not Ready in a body, the DPUs with them."""
        if self.disrupted_since >= 0:
            return False
        self.disrupted_since = self.steps
        return self._show_nodes(self._running(), is_ready=False)

    def calm(self) -> bool:
        """It is back; kubelets report."""
        if self.disrupted_since < 0:
            return False
        self.disrupted_since = -1
        return self._show_nodes(self._running(), is_ready=True)

    def _running(self) -> list[str]:
        return [*_NEIGHBOURS, *(name for name, dpu in self.dpus.items() if not dpu.down)]

    def _show_nodes(self, names: list[str], *, is_ready: bool) -> bool:
        for name in names:
            if self.infra.get(NODES, "", name) is not None:
                self.infra.change(NODES, "", name, {"status": {"conditions": [self.ready(is_ready)]}})
        return True

    def tool_cordons(self) -> bool:
        """A tool of the tenant applies a cordon beside whatever is there; as `cordon_host`, not in a drain."""
        if self.host().mark is not None or self.maintenances() or self.late:
            return False
        self._owning.co_apply(HOST, TOOL, yes=True)
        self.intent, self.workloads = True, False
        return True

    def switch(self) -> bool:
        """An administrator changes the policy."""
        self.policy = OutagePolicy.REPORT if self.policy is OutagePolicy.CORDON else OutagePolicy.CORDON
        return True

    def settle(self, rounds: int = 60) -> int:
        self.policy = OutagePolicy.CORDON
        self.calm()
        for name in self.dpus:
            self.repair(name)
        return super().settle(rounds)

    def said(self) -> NetworkState | None:
        """What is said of the network of the host now."""
        return self.network.state


def _bare(obj: Obj) -> Obj:
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    return {**obj, "metadata": metadata}


def outages(world: JointWorld) -> list[Action]:
    """What happens beside a drain: a name, what, and how often it is to be tried."""
    found: list[Action] = [
        ("long tick", partial(world.tick, 400), 6),
        ("disrupt", world.disrupt, 1),
        ("calm", world.calm, 4),
        ("a tool cordons", world.tool_cordons, 1),
        ("switch", world.switch, 1),
        ("the DPU is down for long", partial(world.outage_lasts, node=True), 4),
        ("the pod is down for long", partial(world.outage_lasts, node=False), 4),
    ]
    for name in world.dpus:
        found += [
            (f"{name} goes down", partial(world.breaks, name, node=True), 2),
            (f"the pod on {name} fails", partial(world.breaks, name, node=False), 2),
            (f"repair {name}", partial(world.repair, name), 3),
        ]
    return found


def walk(world: JointWorld, seed: int, length: int) -> None:
    """`drainworld.walk`, with outages."""
    drainworld.walk(world, seed, length, outages(world))


def cordoned(dpus: int = 1, *, node: bool = False) -> JointWorld:
    """The host has no network, and is cordoned for it."""
    world = JointWorld(dpus)
    world.work()
    world.outage_lasts(node=node)
    assert world.is_cordoned_by_us
    return world


def repair_by_drain(world: JointWorld) -> None:
    """The DPUs are updated, which repairs what had failed."""
    for name in world.dpus:
        world.mco_begins(name)
        world.cordon(name)
    world.work()
    while world.nmo():
        world.work()
    world.settle()
