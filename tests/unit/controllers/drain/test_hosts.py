"""A host and its DPUs over scripted clusters: drained, given back, out of sight, taken down."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from dpunetop.base.stop import Stop
from dpunetop.controllers.drain.gather_host import PATIENCE_SECONDS
from dpunetop.controllers.drain.nodeabsence import DPU_SECONDS
from dpunetop.controllers.drain.stalls import READ_ANEW_SECONDS, SAID_SECONDS
from dpunetop.controllers.drain.taskrunner import TaskOutcome
from dpunetop.domain import names
from dpunetop.domain.drain.model.calls import Done, Result, Task
from dpunetop.domain.drain.model.record import Cycle, State, render_cycle
from dpunetop.domain.drain.rules.restoring import RESTORE_REST_SECONDS
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.errors import Conflict, Forbidden, Unauthorized, Unreachable
from dpunetop.kube.keys import CONFIGMAPS, DEPLOYMENTS, NODES, PODS, Key
from dpunetop.kube.plan import Apply
from dpunetop.kube.requests import Selection
from dpunetop.runtime.cluster import Reach
from dpunetop.runtime.reading import NotEngaged, NotSynced
from support.objects import NAMESPACE, condition
from support.scripteddrain import DPU, HOST, KEY, OPERATOR, OWNER, PLACE, REACHABLE, TENANT, World, dpu_node

REFUSING = SimpleNamespace(reach=Reach.REACHABLE, reason="Unauthorized", message="token expired")
READY = {"conditions": [{"type": "Ready", "status": "True"}]}
UNREACHABLE = SimpleNamespace(reach=Reach.UNREACHABLE, reason="Timeout", message="no answer")


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
    world.infra.drop(PODS, OPERATOR, f"blocker-{DPU}")
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


def test_an_earlier_cordon_is_restored_a_moment_after_its_maintenance_has_gone() -> None:
    """A maintenance operator whose cache lags behind uncordons the host once more."""
    world = World().protected()
    noted = {**world.host()["metadata"], "annotations": {names.CORDONED_BEFORE_ANNOTATION: "yes"}}
    world.change(world.tenant, NODES, "", HOST, metadata=noted, spec={})
    assert world.settle() == pytest.approx(RESTORE_REST_SECONDS)
    assert (world.host()["spec"], world.host()["metadata"]["annotations"]) == ({}, noted["annotations"])
    world.clock.step(RESTORE_REST_SECONDS)
    world.settle()
    assert world.host()["spec"] == {"unschedulable": True}
    assert names.CORDONED_BEFORE_ANNOTATION not in world.host()["metadata"]["annotations"]


def test_a_changed_entry_is_read_by_a_new_pod_before_the_host_is_given_back() -> None:
    world = drained()
    text = f"TENANT_K8S_NODE={HOST}\nOVN_KUBE_LOG_LEVEL=5"
    world.change(world.infra, CONFIGMAPS, NAMESPACE, names.ENV_OVERRIDES, data={DPU: text})
    world.settle()
    assert "OVN_KUBE_LOG_LEVEL" not in world.entries()[DPU]
    world.reboot("b2")
    world.settle()
    world.cordon(False)
    world.settle()
    assert "OVN_KUBE_LOG_LEVEL=5" in world.entries()[DPU]
    assert world.infra.listed(Selection(PODS, NAMESPACE)) == []
    assert world.maintenance() is not None
    world.run_pod("p2", "container-of-the-new-pod")
    world.settle()
    assert world.maintenance() is None


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


def contradicted() -> World:
    """The tenant was set back to the moment before the host was drained, and no watch has told."""
    world = World().protected()
    world.cordon()
    world.settle()
    before = world.maintenance(), world.host()
    world.drain_host()
    for resource in (names.NODEMAINTENANCES, NODES):
        world.watches.stand_still(TENANT, resource)
    world.tenant.put(names.NODEMAINTENANCES, before[0])
    world.tenant.put(NODES, before[1])
    world.executor.forget(TENANT)
    return world


def test_what_the_servers_contradict_for_long_is_said_then_read_anew_and_the_drain_goes_on() -> None:
    world = contradicted()
    assert world.settle() == 0.3
    assert world.said() == ("True", "Draining")
    world.clock.step(SAID_SECONDS)
    assert world.settle() == 5.0
    assert world.said() == ("False", "CacheContradicted")
    assert world.events()[-1] == "Warning CacheContradicted"
    assert world.read_anew == []
    world.clock.step(READ_ANEW_SECONDS - SAID_SECONDS)
    world.settle()
    assert world.read_anew == ["infra", TENANT]
    world.watches.go_on()
    world.settle()
    assert world.said() == ("True", "Draining")
    world.drain_host()
    world.settle()
    assert world.budget().is_open


def test_an_open_dpu_whose_tenant_forgot_the_drain_unseen_is_closed_once_and_comes_to_rest() -> None:
    world = World().protected()
    before = world.host()
    world.cordon()
    world.settle()
    world.drain_host()
    world.settle()
    for resource in (names.NODEMAINTENANCES, NODES):
        world.watches.stand_still(TENANT, resource)
    world.tenant.drop(names.NODEMAINTENANCES, "", names.maintenance_name(HOST))
    world.tenant.put(NODES, before)
    world.executor.forget(TENANT)
    world.infra.writes.clear()
    world.cordon(False)
    world.settle()
    budgets = [each for each in world.infra.writes if names.PODDISRUPTIONBUDGETS.plural in each]
    assert budgets == [f"infra apply {names.PODDISRUPTIONBUDGETS.plural}/{names.blocker_name(DPU)}"]
    world.clock.step(SAID_SECONDS)
    world.settle()
    assert world.said() == ("False", "CacheContradicted")
    world.watches.go_on()
    world.settle()
    assert (world.state(), world.said()) == (None, ("True", "AllProtected"))


def test_a_host_that_may_be_drained_is_never_said_to_have_no_free_slot() -> None:
    world = World(drain={"maxUnavailable": 1}).protected()
    world.cordon()
    world.hosts.reconcile(PLACE, Stop())
    assert (world.state(), world.maintenance()) == (State.STARTING, None)
    world.settle()
    assert world.maintenance() is not None
    assert [event for event in world.events() if not event.startswith("Normal")] == []


@pytest.mark.parametrize(("owner", "waits"), [("a-stranger", False), (OWNER, True)])
def test_a_drain_of_a_host_of_that_name_in_another_tenant_takes_no_turn(owner: str, waits: bool) -> None:
    world = World(drain={"maxUnavailable": 1}).protected()
    world.infra.put(NODES, dpu_node("b1", name="d2"))
    world.pair_up(**{DPU: HOST, "d2": "host-2"})
    for host in (HOST, "host-2"):
        world.tenant.put(NODES, {"metadata": {"name": host}, "spec": {}, "status": READY})
    world.settle()
    notes = {
        names.SERVES_ANNOTATION: "host-2",
        names.CYCLE_ANNOTATION: render_cycle(Cycle(State.STARTING, term="t", since=1)),
    }
    metadata = {"name": "theirs", "namespace": OPERATOR, "labels": {names.OWNER_LABEL: owner}, "annotations": notes}
    world.infra.put(names.PODDISRUPTIONBUDGETS, {"metadata": metadata, "spec": {"maxUnavailable": 0}})
    world.cordon()
    world.settle()
    assert (world.maintenance() is None) is waits


def test_what_follows_from_its_own_writes_is_done_in_one_pass() -> None:
    world = World().protected()
    world.cordon()
    world.hosts.reconcile(PLACE, Stop())
    assert world.maintenance() is not None
    world.drain_host()
    world.hosts.reconcile(PLACE, Stop())
    assert world.budget().is_open


def test_a_task_whose_effect_does_not_show_yet_is_not_done_twice_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    world, tasks = World().protected(), []
    world.cordon()

    def carry_out(_: Key, task: Task, __: Stop, ___: Apply | None) -> TaskOutcome:
        tasks.append(type(task).__name__)
        return TaskOutcome(Done(Result.DONE), wrote=True)

    monkeypatch.setattr(world.hosts, "_task_runner", SimpleNamespace(carry_out=carry_out))
    assert world.hosts.reconcile(PLACE, Stop()) == pytest.approx(0.5)
    assert tasks == ["Rewrite"]


def test_a_dpu_that_is_cordoned_before_it_has_its_entry_is_drained_and_gets_it_afterwards() -> None:
    world = World()
    world.settle()
    world.cordon()
    world.run_blocker()
    world.settle()
    assert (world.state(), world.entries()) == (State.DRAINING, {})
    world.drain_host()
    world.settle()
    assert world.budget().is_open
    world.reboot("b2")
    world.cordon(False)
    world.settle()
    assert world.entries() == {DPU: f"TENANT_K8S_NODE={HOST}\n"}
    assert world.maintenance() is not None
    world.infra.drop(PODS, NAMESPACE, f"ovnkube-node-{DPU}")  # the one that idled; ovnkube deletes it
    world.run_pod("p9", "container-of-b2-again")
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
    world.clock.step(30.0)
    world.settle()
    assert world.state() is State.DRAINING


PASSING = {"Conflict": (Conflict(409, "Conflict", ""), 0.05), "Timeout": (Unreachable(0, "Timeout", ""), 1.0)}


@pytest.mark.parametrize(("error", "pause"), PASSING.values(), ids=PASSING.keys())
def test_a_transient_error_is_retried_soon(error: Any, pause: float) -> None:
    world = World().protected()
    world.tenant.refuses["nodes"] = error
    world.cordon()
    assert world.settle() == pause
    world.tenant.refuses.clear()
    world.clock.step(pause)
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


@contextmanager
def crowded(world: World) -> Iterator[None]:
    """The tenant is slow, and another one that is takes all the room."""
    with world.bulkhead.visit() as other:
        world.slow = {TENANT, "tenant/another/one"}
        other.call("tenant/another/one")
        yield
    world.slow.clear()


def test_a_drain_waits_for_room_among_those_of_slow_tenants_and_is_neither_held_nor_failed() -> None:
    world = World().protected()
    world.cordon()
    with crowded(world):
        for _ in range(5):
            assert world.settle() == pytest.approx(3.0)
            assert world.tenant.writes == []
            world.clock.step(3.0)
        assert (world.state(), world.said()) == (State.STARTING, ("True", "Draining"))
        assert world.events() == ["Normal HostDraining"]
    world.clock.step(3.0)
    world.settle()
    assert world.state() is State.DRAINING


@pytest.mark.parametrize(("silence", "health", "said", "reason"), BLIND.values(), ids=BLIND.keys())
def test_an_open_budget_is_closed_although_slow_tenants_have_taken_all_room(
    silence: Any, health: Any, said: Any, reason: str
) -> None:
    world = drained()
    world.tenant.writes.clear()
    blind(world, silence, health, said)
    with crowded(world):
        world.settle()
        assert (world.budget().is_open, world.tenant.writes) == (False, [])


def test_an_open_budget_stays_open_while_the_tenant_is_slow() -> None:
    world = drained()
    with crowded(world):
        world.settle()
        assert world.budget().is_open


def test_closing_a_budget_never_waits_for_room_among_those_of_slow_tenants() -> None:
    world = drained()
    world.tenant.writes.clear()
    world.cordon(False)
    with crowded(world):
        world.settle()
        assert not world.budget().is_open
        assert world.tenant.writes == []


def blind(world: World, silence: Exception | None, health: Any, said: dict[str, Any] | None) -> None:
    world.watches.silent = {TENANT: silence} if silence is not None else {}
    world.health = health
    world.say(*((said,) if said is not None else ()))


@pytest.mark.parametrize("silence", [LOST, UNSYNCED], ids=["not engaged", "not synced"])
def test_a_tenant_of_which_nothing_is_known_yet_is_waited_for_a_while(silence: Exception) -> None:
    world = World().protected()
    world.cordon()
    world.start()
    world.watches.silent = {TENANT: silence}
    assert world.settle() == PATIENCE_SECONDS
    assert world.writes() == []
    assert world.state() is None
    world.clock.step(PATIENCE_SECONDS - 1)
    assert world.settle() == 1.0
    world.clock.step(1)
    world.settle()
    assert (world.state(), world.said()) == (State.STARTING, ("False", "TenantNotSynced"))


def test_a_new_process_says_nothing_of_a_held_drain_that_it_has_not_looked_at() -> None:
    world = World().protected()
    world.cordon()
    world.settle()
    blind(world, None, UNREACHABLE, None)
    world.settle()
    assert world.said() == ("False", "TenantUnreachable")
    world.start()
    blind(world, UNSYNCED, UNREACHABLE, None)
    heard = []
    for _ in range(int(PATIENCE_SECONDS) + 1):
        world.settle()
        heard.append(world.said())
        world.clock.step(1)
    assert set(heard[:-1]) == {("False", "TenantUnreachable")}
    assert heard[-1] == ("False", "TenantNotSynced")


def test_what_stands_stays_until_the_first_look_and_is_unknown_after_a_while() -> None:
    world = World().protected()
    world.start()
    blind(world, UNSYNCED, UNREACHABLE, None)
    world.settle()
    assert world.said() == ("True", "AllProtected")
    world.clock.step(PATIENCE_SECONDS)
    world.settle()
    assert world.said() == ("Unknown", "TenantNotSynced")
    blind(world, None, REACHABLE, None)
    world.settle()
    assert world.said() == ("True", "AllProtected")


def test_protection_needs_nothing_of_the_tenant() -> None:
    world = World()
    world.watches.silent = {TENANT: LOST}
    world.say(OUT_OF_REACH)
    world.run_blocker()
    world.settle()
    assert (world.budget().is_open, world.entries()) == (False, {DPU: f"TENANT_K8S_NODE={HOST}\n"})


# --- endings ----------------------------------------------------------------------------------------------------------


def test_a_dpu_that_is_gone_keeps_its_blocker_until_that_is_certain() -> None:
    world = World().protected()
    world.infra.drop(NODES, "", DPU)
    world.infra.drop(PODS, NAMESPACE, f"ovnkube-node-{DPU}")
    world.pair_up()
    world.settle()
    assert world.left() == [str(DEPLOYMENTS), str(names.PODDISRUPTIONBUDGETS)]
    world.clock.step(DPU_SECONDS)
    world.settle()
    assert world.left() == []


def test_the_blocker_of_somebody_else_is_not_swept() -> None:
    world = World().protected()
    world.infra.drop(PODS, NAMESPACE, f"ovnkube-node-{DPU}")
    deployment = world.infra.shown(DEPLOYMENTS, OPERATOR, names.blocker_name(DPU))
    theirs = {**deployment["metadata"], "labels": {names.OWNER_LABEL: "somebody else"}}
    world.change(world.infra, DEPLOYMENTS, OPERATOR, names.blocker_name(DPU), metadata=theirs)
    world.delete_config()
    world.settle()
    assert str(DEPLOYMENTS) in world.left()


def test_a_host_that_no_roster_names_is_forgotten() -> None:
    world = World().protected()
    world.drain_store.drop(TENANT)
    assert world.woken == {PLACE}
    assert world.hosts.reconcile(PLACE, Stop()) is None
    assert world.writes() == []


def test_a_bug_about_one_host_is_said_of_its_dpu_and_goes_on_to_whoever_counts_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World().protected()
    with monkeypatch.context() as patched:
        nothing: dict[str, None] = {}
        patched.setattr("dpunetop.domain.drain.host.decide_protection", lambda _: nothing["a bug"])
        with pytest.raises(KeyError):
            world.hosts.reconcile(PLACE, Stop())
        world.pairs.reconcile(KEY, Stop())
        assert world.said() == ("False", "InternalError")
        shown = world.infra.shown(names.DPUCLUSTERCONFIGS, NAMESPACE, "sample")
        said = condition_of(shown, "PairsHealthy") or {}
        assert said["message"].startswith(f"{DPU}: controller drain met KeyError on ")
    world.settle()
    assert world.said() == ("True", "AllProtected")
