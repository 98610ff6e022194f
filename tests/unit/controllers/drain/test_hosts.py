"""One DpuClusterConfig with its hosts over scripted clusters: protected, drained, given back, taken down."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from dpunetop.base.stop import Stop
from dpunetop.controllers.drain.absences import DPU_SECONDS, Absences
from dpunetop.controllers.drain.board import Board, key_of
from dpunetop.controllers.drain.gather import PATIENCE_SECONDS, Gatherer
from dpunetop.controllers.drain.hand import Hand
from dpunetop.controllers.drain.hosts import MANAGER, Hosts
from dpunetop.controllers.drain.pairs import Pairs
from dpunetop.controllers.drain.terms import Terms
from dpunetop.controllers.flow import Installation
from dpunetop.domain import names
from dpunetop.domain.drain.blockers import blocker_labels
from dpunetop.domain.drain.facts import Budget, budget
from dpunetop.domain.drain.record import State
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.errors import Conflict, Forbidden, Unauthorized, Unreachable
from dpunetop.kube.keys import (
    CONFIGMAPS,
    CUSTOMRESOURCEDEFINITIONS,
    DAEMONSETS,
    DEPLOYMENTS,
    INFRA,
    NAMESPACES,
    NODES,
    PODS,
    SERVICEACCOUNTS,
    Key,
    crd_name,
)
from dpunetop.kube.plan import Emit
from dpunetop.kube.requests import Selection
from dpunetop.runtime.cluster import Clusters, Reach
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.gate import OpenGate
from dpunetop.runtime.reading import NotEngaged, NotSynced
from support.clock import FakeClock
from support.objects import NAMESPACE, condition, config, node
from support.scriptedcluster import Fuse, ScriptedCluster, ScriptedReadings

KEY = Key(INFRA, NAMESPACE, "sample")
TENANT = f"tenant/{NAMESPACE}/sample"
OPERATOR = "dpunetop"
HOST, DPU = "host-1", "d1"
OWNER = names.owner_hash("infra-uid", NAMESPACE, "sample")
PLACE = key_of(TENANT, ("host", HOST))
DRAINED = {"unschedulable": True, "taints": [{"key": names.MAINTENANCE_TAINT}]}
REACHABLE = SimpleNamespace(reach=Reach.REACHABLE, reason="", message="")
REFUSING = SimpleNamespace(reach=Reach.REACHABLE, reason="Unauthorized", message="token expired")
UNREACHABLE = SimpleNamespace(reach=Reach.UNREACHABLE, reason="Timeout", message="no answer")


class World:
    """Two clusters with one pair, and the two controllers of its drain; `settle` runs them until neither writes."""

    def __init__(self, **spec: Any) -> None:
        self.clock, self.health, self.told = FakeClock(), REACHABLE, list[Emit]()
        fuse = Fuse()
        self.infra, self.tenant = (ScriptedCluster(name, fuse, self._time) for name in (INFRA, TENANT))
        self.readings = ScriptedReadings(self.infra, self.tenant)
        self.executor = Executor(
            self._client, OpenGate(), cast(Any, SimpleNamespace(emit=self.told.append)), self.clock
        )
        self._infra(spec)
        self._tenant()
        self.start()

    def start(self) -> None:
        """A new process: it remembers nothing."""
        board, hand = Board(), Hand(self.executor, self._client)
        clusters = cast(Clusters, SimpleNamespace(get=lambda _: SimpleNamespace(health=self.health)))
        gatherer = Gatherer(clusters, Absences(self._client, self.clock), Terms(self.clock, MANAGER), self.clock)
        self.board, self.hosts = board, Hosts(board, gatherer, hand, self.executor)
        self.pairs = Pairs(Installation(None, "ovn", None, OPERATOR), self.executor, board, hand, "image")
        self.woken = set[Key]()
        board.connect(self.woken.add, self.woken.add)
        for each in (self.hosts, self.pairs):
            each.read_through(cast(Any, self.readings))

    def settle(self) -> float | None:
        """Look again and again until nobody writes or wakes; when the host wants to be looked at again."""
        for _ in range(30):
            before = self.writes()
            self.woken.discard(KEY)
            self.pairs.reconcile(KEY, Stop())
            roster = self.board.roster(TENANT)
            keys = {key_of(TENANT, place) for place in roster.slots} if roster is not None else set()
            hosts = (keys | self.woken) - {KEY}
            self.woken.clear()
            pauses = {key: self.hosts.reconcile(key, Stop()) for key in sorted(hosts, key=str)}
            if self.writes() == before and not self.woken:
                return pauses.get(PLACE)
        raise AssertionError("it never comes to rest")

    def protected(self) -> World:
        """The pair serves under protection; what was written on the way is forgotten."""
        self.settle()
        self.run_blocker()
        self.settle()
        assert self.said() == ("True", "AllProtected")
        self.infra.writes.clear()
        self.tenant.writes.clear()
        self.told.clear()
        return self

    # --- what others do ---

    def run_blocker(self, ready: bool = True) -> None:
        labels = dict(blocker_labels(DPU))
        self.infra.put(PODS, pod("blocker", OPERATOR, labels, ready=ready))

    def run_pod(self, uid: str, container: str) -> None:
        found = pod("ovnkube-node-1", NAMESPACE, {"app": names.OVNKUBE_NODE}, container, template="t1")
        found["metadata"]["uid"] = uid
        self.infra.put(PODS, found)

    def change(self, cluster: ScriptedCluster, resource: Any, namespace: str, name: str, **members: Any) -> None:
        """Replace top-level members of an object, as somebody else does."""
        cluster.put(resource, {**cluster.shown(resource, namespace, name), **members})

    def cordon(self, yes: bool = True) -> None:
        self.change(self.infra, NODES, "", DPU, spec={"unschedulable": True} if yes else {})

    def reboot(self, boot: str) -> None:
        self.infra.put(NODES, dpu_node(boot, cordoned=True))
        self.run_pod("p1", f"container-of-{boot}")

    def drain_host(self) -> None:
        """The node maintenance operator has emptied the host."""
        self.change(self.tenant, NODES, "", HOST, spec=DRAINED)
        self.change(
            self.tenant, names.NODEMAINTENANCES, "", names.maintenance_name(HOST), status={"phase": "Succeeded"}
        )

    def end_maintenance(self) -> None:
        """It has seen its maintenance go."""
        assert self.maintenance() is None
        self.change(self.tenant, NODES, "", HOST, spec={})

    def say(self, *conditions: dict[str, Any], **metadata: Any) -> None:
        """What other controllers, or people, say of the DpuClusterConfig."""
        live = self.infra.shown(names.DPUCLUSTERCONFIGS, NAMESPACE, "sample")
        kept = [each for each in (live.get("status") or {}).get("conditions", []) if each["type"] == "PairsHealthy"]
        changed = {**live, "metadata": {**live["metadata"], **metadata}, "status": {"conditions": [*kept, *conditions]}}
        self.infra.put(names.DPUCLUSTERCONFIGS, changed)

    # --- what is there ---

    def writes(self) -> list[str]:
        return [*self.infra.writes, *self.tenant.writes]

    def acts(self) -> list[str]:
        """All that was written but for status, each without its cluster's long name."""
        return [each.removeprefix(f"{TENANT} ") for each in self.writes() if " status " not in each]

    def budget(self) -> Budget:
        found = self.infra.shown(names.PODDISRUPTIONBUDGETS, OPERATOR, names.blocker_name(DPU))
        return budget(found, OWNER)

    def state(self) -> State | None:
        cycle = self.budget().cycle
        return cycle.state if cycle is not None else None

    def entries(self) -> dict[str, str]:
        return dict(self.infra.shown(CONFIGMAPS, NAMESPACE, names.OVNKUBE_NODE_ENTRIES).get("data", {}))

    def maintenance(self) -> Any:
        return self.tenant.shown(names.NODEMAINTENANCES, "", names.maintenance_name(HOST))

    def host(self) -> Any:
        return self.tenant.shown(NODES, "", HOST)

    def said(self) -> tuple[str, str]:
        found = condition_of(self.infra.shown(names.DPUCLUSTERCONFIGS, NAMESPACE, "sample"), "PairsHealthy")
        assert found is not None
        return found["status"], found["reason"]

    def events(self) -> list[str]:
        """What was told of the DPU, in order."""
        return [f"{each.type} {each.reason}" for each in self.told if each.resource is NODES]

    # --- inside ---

    def _client(self, name: str) -> Any:
        if name in self.readings.silent:
            raise NotEngaged(name)
        return self.readings.clusters[name]

    def _time(self) -> str:
        return self.clock.now().isoformat()

    def _infra(self, spec: dict[str, Any]) -> None:
        put = self.infra.put
        put(names.DPUCLUSTERCONFIGS, config(**spec))
        put(NAMESPACES, {"metadata": {"name": "kube-system", "uid": "infra-uid"}})
        put(NODES, dpu_node("b1"))
        put(CONFIGMAPS, named(names.ENV_OVERRIDES, data={DPU: f"TENANT_K8S_NODE={HOST}"}))
        put(CONFIGMAPS, named(names.OVNKUBE_NODE_ENTRIES))
        template = {"metadata": {"annotations": {names.TEMPLATE_HASH_ANNOTATION: "t1"}}}
        put(DAEMONSETS, named(names.OVNKUBE_NODE, spec={"template": template}))
        self.run_pod("p0", "container-of-b1")

    def _tenant(self) -> None:
        self.tenant.put(NODES, {"metadata": {"name": HOST}, "spec": {}})
        established = {"conditions": [{"type": "Established", "status": "True"}]}
        served = {"versions": [{"name": names.NODEMAINTENANCES.version, "served": True}]}
        crd = {"metadata": {"name": crd_name(names.NODEMAINTENANCES)}, "spec": served, "status": established}
        self.tenant.put(CUSTOMRESOURCEDEFINITIONS, crd)


def named(name: str, **members: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "metadata": {"name": name, "namespace": NAMESPACE}, **members}


def dpu_node(boot: str, *, cordoned: bool = False) -> dict[str, Any]:
    status = {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"bootID": boot}}
    return {**node(DPU), "spec": {"unschedulable": True} if cordoned else {}, "status": status}


def pod(
    name: str, namespace: str, labels: dict[str, str], container: str = "c", template: str = "", *, ready: bool = True
) -> dict[str, Any]:
    notes = {names.TEMPLATE_HASH_ANNOTATION: template} if template else {}
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    status = {"phase": "Running", "conditions": conditions, "containerStatuses": [{"containerID": container}]}
    metadata = {"name": name, "namespace": namespace, "labels": labels, "annotations": notes}
    return {"metadata": metadata, "spec": {"nodeName": DPU}, "status": status}


# --- protection -------------------------------------------------------------------------------------------------------


def test_a_dpu_is_protected_before_its_entry_is_written() -> None:
    world = World()
    world.settle()
    blocker = names.blocker_name(DPU)
    assert world.acts() == [
        f"infra apply {SERVICEACCOUNTS.plural}/{names.DRAIN_BLOCKER}",
        f"infra apply {DEPLOYMENTS.plural}/{blocker}",
        f"infra apply {names.PODDISRUPTIONBUDGETS.plural}/{blocker}",
        f"infra apply {names.PODDISRUPTIONBUDGETS.plural}/{blocker}",
    ]
    assert (world.budget().is_open, world.budget().serves, world.entries()) == (False, HOST, {})
    assert world.said() == ("False", "Protecting")
    world.run_blocker(ready=False)
    world.settle()
    assert world.entries() == {}
    world.run_blocker()
    world.settle()
    assert world.entries() == {DPU: f"TENANT_K8S_NODE={HOST}\n"}
    assert world.said() == ("True", "AllProtected")
    assert world.tenant.writes == []
    assert world.events() == []


def test_the_pod_that_was_there_before_its_entry_is_written_down_as_idle() -> None:
    world = World().protected()
    live = world.infra.shown(CONFIGMAPS, NAMESPACE, names.OVNKUBE_NODE_ENTRIES)
    assert live["metadata"]["annotations"][names.IDLE_PODS_ANNOTATION] == f'{{"{DPU}":"p0"}}'
    world.run_pod("p1", "container-of-b1")
    world.settle()
    live = world.infra.shown(CONFIGMAPS, NAMESPACE, names.OVNKUBE_NODE_ENTRIES)
    assert names.IDLE_PODS_ANNOTATION not in live["metadata"]["annotations"]


def test_a_pair_that_is_protected_costs_no_write_also_of_a_new_process() -> None:
    world = World().protected()
    world.settle()
    world.start()
    world.settle()
    assert world.writes() == []


def test_a_cordoned_dpu_does_not_come_to_serve_before_it_is_schedulable() -> None:
    world = World()
    world.cordon()
    world.run_blocker()
    world.settle()
    assert (world.budget().is_open, world.budget().serves, world.entries()) == (True, "", {})
    world.cordon(False)
    world.settle()
    assert (world.budget().is_open, world.entries()) == (False, {DPU: f"TENANT_K8S_NODE={HOST}\n"})


def test_a_budget_of_somebody_else_is_left_alone_and_named() -> None:
    world = World()
    theirs = {"apiVersion": "policy/v1", "metadata": {"name": names.blocker_name(DPU), "namespace": OPERATOR}}
    world.infra.put(names.PODDISRUPTIONBUDGETS, {**theirs, "spec": {"maxUnavailable": 1}})
    world.run_blocker()
    world.settle()
    assert world.said() == ("False", "NotOurs")
    assert world.entries() == {}
    assert [each for each in world.acts() if "serviceaccounts" not in each] == []


def test_a_host_that_a_dpu_is_moved_from_is_kept_until_it_is_drained() -> None:
    world = World().protected()
    world.run_pod("p1", "container-of-b1")
    world.change(
        world.infra, CONFIGMAPS, NAMESPACE, names.ENV_OVERRIDES, data={DPU: "TENANT_K8S_NODE=host-2"}
    )  # fmt: skip
    world.settle()
    assert world.said() == ("False", "RemovalPending")
    assert (world.budget().serves, world.entries()) == (HOST, {DPU: f"TENANT_K8S_NODE={HOST}\n"})


# --- a drain ----------------------------------------------------------------------------------------------------------


def test_a_cordon_is_mirrored_onto_the_host_and_holds_the_dpu_until_the_host_is_drained() -> None:
    world = World().protected()
    world.cordon()
    world.settle()
    maintenance = f"{names.NODEMAINTENANCES.plural}/{names.maintenance_name(HOST)}"
    budgets = f"infra apply {names.PODDISRUPTIONBUDGETS.plural}/{names.blocker_name(DPU)}"
    assert world.acts() == [budgets, budgets, f"patch nodes/{HOST}", f"apply {maintenance}"]
    assert world.maintenance()["spec"]["nodeName"] == HOST
    assert world.maintenance()["metadata"]["labels"] == {names.OWNER_LABEL: OWNER}
    assert world.host()["metadata"]["annotations"] == {names.CORDONED_BEFORE_ANNOTATION: "no"}
    assert (world.state(), world.budget().is_open) == (State.DRAINING, False)
    assert world.said() == ("True", "Draining")
    assert world.events()[-1] == "Normal HostDraining"
    world.settle()
    assert world.budget().is_open is False


def drained() -> World:
    """The host is empty and the budget open."""
    world = World().protected()
    world.run_pod("p1", "container-of-b1")
    world.cordon()
    world.settle()
    world.drain_host()
    world.settle()
    return world


def test_the_budget_is_opened_under_a_mark_once_the_host_is_drained() -> None:
    world = drained()
    assert world.budget().is_open
    assert world.maintenance()["metadata"]["annotations"][names.open_for(DPU)].startswith(f"{DPU} ")
    assert world.events()[-1] == "Normal DpuDraining"


def test_the_host_is_given_back_on_proof_and_nothing_of_the_drain_is_left() -> None:
    world = drained()
    world.reboot("b2")
    world.settle()
    assert world.budget().is_open
    world.cordon(False)
    world.infra.drop(PODS, OPERATOR, "blocker")
    world.settle()
    assert (world.budget().is_open, world.state()) == (False, State.RETURNING)
    assert world.maintenance() is not None
    world.run_blocker()
    world.settle()
    world.end_maintenance()
    world.settle()
    assert world.state() is None
    assert world.host()["spec"] == {}
    assert names.CORDONED_BEFORE_ANNOTATION not in world.host()["metadata"]["annotations"]
    assert (world.budget().is_open, world.said()) == (False, ("True", "AllProtected"))
    assert world.events()[-1] == "Normal Idle"


def test_containers_of_the_boot_before_prove_nothing() -> None:
    world = drained()
    world.infra.put(NODES, dpu_node("b2", cordoned=True))
    world.cordon(False)
    world.settle()
    assert world.maintenance() is not None
    assert world.events()[-1] == "Normal ProofMissing"
    world.run_pod("p1", "container-of-b2")
    world.settle()
    assert world.maintenance() is None


def test_a_new_process_takes_a_drain_over_and_goes_on() -> None:
    world = World().protected()
    world.cordon()
    world.settle()
    before = world.budget().cycle
    world.start()
    world.settle()
    after = world.budget().cycle
    assert before is not None
    assert after is not None
    assert (after.state, after.maintenance) == (State.DRAINING, before.maintenance)
    assert after.term != before.term


def test_a_right_that_the_tenant_refuses_is_named_and_the_next_look_is_late() -> None:
    world = World().protected()
    world.tenant.refuses["nodes"] = Forbidden(403, "Forbidden", "cannot patch nodes")
    world.cordon()
    assert world.settle() == 30.0
    assert world.said() == ("False", "TenantUnauthorized")
    assert world.events()[-1] == "Warning TenantUnauthorized"
    world.tenant.refuses.clear()
    world.settle()
    assert world.state() is State.DRAINING


PASSING = [Conflict(409, "Conflict", ""), Unreachable(0, "Timeout", "")]


@pytest.mark.parametrize("error", PASSING, ids=lambda error: error.reason)
def test_what_passes_by_itself_is_tried_again_soon(error: Any) -> None:
    world = World().protected()
    world.tenant.refuses["nodes"] = error
    world.cordon()
    assert world.settle() == 1.0
    world.tenant.refuses.clear()
    world.settle()
    assert world.state() is State.DRAINING


# --- a tenant that cannot be seen -------------------------------------------------------------------------------------

OUT_OF_REACH = condition("TenantReachable", "False", "Timeout", "no answer")
SWAPPED = condition("TenantReachable", "False", "TenantSwapped", "another cluster")
NOT_YET = condition("TenantReachable", "Unknown", "KubeconfigMissing", "no Secret")
ANSWERED = condition("TenantReachable", "True", "Answered", "refused")
LOST = NotEngaged(TENANT)
REFUSED = NotSynced(TENANT, Selection(NODES), Forbidden(403, "Forbidden", "cannot list nodes"))
EXPIRED = NotSynced(TENANT, Selection(NODES), Unauthorized(401, "Unauthorized", "token expired"))
UNSYNCED = NotSynced(TENANT, Selection(NODES), Unreachable(0, "Timeout", ""))

BLIND: dict[str, tuple[Exception | None, Any, dict[str, Any] | None, str]] = {  # caches, health, condition -> reason
    "it is not engaged and said to be out of reach": (LOST, REACHABLE, OUT_OF_REACH, "TenantUnreachable"),
    "it is not engaged and another cluster": (LOST, REACHABLE, SWAPPED, "TenantSwapped"),
    "it is not engaged and never was": (LOST, REACHABLE, NOT_YET, "TenantNotEngaged"),
    "it is not engaged and refuses the credential": (LOST, REACHABLE, ANSWERED, "TenantUnauthorized"),
    "it forbids to list": (REFUSED, REACHABLE, None, "TenantUnauthorized"),
    "it refuses the token": (EXPIRED, REACHABLE, None, "TenantUnauthorized"),
    "its caches are full and it does not answer": (None, UNREACHABLE, None, "TenantUnreachable"),
    "its caches are full and it refuses the token": (None, REFUSING, None, "TenantUnauthorized"),
}


@pytest.mark.parametrize(("silence", "health", "said", "reason"), BLIND.values(), ids=BLIND.keys())
def test_a_drain_is_held_and_told_while(silence: Any, health: Any, said: Any, reason: str) -> None:
    world = World().protected()
    blind(world, silence, health, said)
    world.cordon()
    world.settle()
    assert (world.state(), world.budget().is_open) == (State.STARTING, False)
    assert world.tenant.writes == []
    assert world.said() == ("False", reason)
    assert world.events() == ["Normal HostDraining", f"Warning {reason}"]
    blind(world, None, REACHABLE, None)
    world.settle()
    assert world.state() is State.DRAINING


@pytest.mark.parametrize(("silence", "health", "said", "reason"), BLIND.values(), ids=BLIND.keys())
def test_an_open_budget_is_closed_when(silence: Any, health: Any, said: Any, reason: str) -> None:
    world = drained()
    world.tenant.writes.clear()
    blind(world, silence, health, said)
    world.settle()
    assert not world.budget().is_open
    assert world.tenant.writes == []
    assert world.said() == ("False", reason)
    blind(world, None, REACHABLE, None)
    world.settle()
    assert world.budget().is_open


def blind(world: World, silence: Exception | None, health: Any, said: dict[str, Any] | None) -> None:
    world.readings.silent = {TENANT: silence} if silence is not None else {}
    world.health = health
    world.say(*((said,) if said is not None else ()))


@pytest.mark.parametrize("silence", [LOST, UNSYNCED], ids=["not engaged", "not synced"])
def test_a_tenant_of_which_nothing_is_known_yet_is_waited_for_a_while(silence: Exception) -> None:
    world = World().protected()
    world.cordon()
    world.start()
    world.readings.silent = {TENANT: silence}
    assert world.settle() == PATIENCE_SECONDS
    assert world.writes() == []
    assert world.state() is None
    world.clock.step(PATIENCE_SECONDS - 1)
    assert world.settle() == 1.0
    world.clock.step(1)
    world.settle()
    assert (world.state(), world.said()) == (State.STARTING, ("False", "TenantNotSynced"))


def test_protection_needs_nothing_of_the_tenant() -> None:
    world = World()
    world.readings.silent = {TENANT: LOST}
    world.say(OUT_OF_REACH)
    world.run_blocker()
    world.settle()
    assert (world.budget().is_open, world.entries()) == (False, {DPU: f"TENANT_K8S_NODE={HOST}\n"})


# --- endings ----------------------------------------------------------------------------------------------------------

DOOMED = "2026-01-01T00:00:00Z"


def left(world: World) -> list[str]:
    """What still protects, or is served."""
    kinds = (DEPLOYMENTS, names.PODDISRUPTIONBUDGETS)
    return [str(kind) for kind in kinds if world.infra.listed(Selection(kind))] + sorted(world.entries())


def test_at_the_end_entry_budget_and_blocker_go_in_this_order() -> None:
    world = World().protected()
    world.infra.drop(PODS, NAMESPACE, "ovnkube-node-1")
    world.say(deletionTimestamp=DOOMED)
    world.settle()
    assert left(world) == []
    kinds = [each.split()[2].partition("/")[0] for each in world.acts()]
    budgets, deployments = names.PODDISRUPTIONBUDGETS.plural, DEPLOYMENTS.plural
    assert kinds.index(CONFIGMAPS.plural) < kinds.index(budgets)
    assert kinds[-2:] == [budgets, deployments]
    assert world.tenant.writes == []


def test_at_the_end_a_pod_that_serves_is_waited_for() -> None:
    world = World().protected()
    world.run_pod("p1", "container-of-b1")
    world.say(deletionTimestamp=DOOMED)
    world.settle()
    assert DPU in left(world)
    assert not world.budget().is_open
    world.infra.drop(PODS, NAMESPACE, "ovnkube-node-1")
    world.settle()
    assert left(world) == []


def test_at_the_end_a_drain_that_runs_is_finished_and_none_begins() -> None:
    world = drained()
    world.say(deletionTimestamp=DOOMED)
    world.settle()
    assert world.budget().is_open
    world.cordon(False)
    world.settle()
    world.end_maintenance()
    world.cordon()
    world.settle()
    assert world.maintenance() is None


def test_a_dpu_that_is_gone_keeps_its_blocker_until_that_is_certain() -> None:
    world = World().protected()
    world.infra.drop(NODES, "", DPU)
    world.infra.drop(PODS, NAMESPACE, "ovnkube-node-1")
    world.change(world.infra, CONFIGMAPS, NAMESPACE, names.ENV_OVERRIDES, data={})
    world.settle()
    assert left(world) == [str(DEPLOYMENTS), str(names.PODDISRUPTIONBUDGETS)]
    world.clock.step(DPU_SECONDS)
    world.settle()
    assert left(world) == []


def test_the_blocker_of_somebody_else_is_not_swept() -> None:
    world = World().protected()
    world.infra.drop(PODS, NAMESPACE, "ovnkube-node-1")
    deployment = world.infra.shown(DEPLOYMENTS, OPERATOR, names.blocker_name(DPU))
    theirs = {**deployment["metadata"], "labels": {names.OWNER_LABEL: "somebody else"}}
    world.change(world.infra, DEPLOYMENTS, OPERATOR, names.blocker_name(DPU), metadata=theirs)
    world.say(deletionTimestamp=DOOMED)
    world.settle()
    assert str(DEPLOYMENTS) in left(world)


def test_a_host_that_no_roster_names_is_forgotten() -> None:
    world = World().protected()
    world.board.drop(TENANT)
    assert world.woken == {PLACE}
    assert world.hosts.reconcile(PLACE, Stop()) is None
    assert world.writes() == []
