"""What takes too long in a drain, or on the way to protection, is told by the condition and by an Event."""

from __future__ import annotations

from typing import Any

import pytest

from dpunetop.domain import names
from dpunetop.domain.drain.model.limits import DEFAULT_SECONDS, LimitedStep
from dpunetop.domain.drain.report.overdue import BEGINNING_SECONDS
from dpunetop.domain.drain.rules.remembering import ABANDONED_SECONDS
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.errors import Forbidden
from dpunetop.kube.keys import CONFIGMAPS, NODES, PODS
from support.objects import NAMESPACE
from support.scripteddrain import DPU, DRAINED, HOST, OPERATOR, OWNER, World

REFS = [{"namespace": "shop", "name": "web-1"}]


def message(world: World) -> str:
    found = condition_of(world.infra.shown(names.DPUCLUSTERCONFIGS, NAMESPACE, "sample"), "PairsHealthy")
    assert found is not None
    return str(found["message"])


def passes(world: World, span: LimitedStep) -> None:
    world.clock.step(DEFAULT_SECONDS[span] + 2)
    world.settle()


def hanging(world: World | None = None) -> World:
    """The host is asked to drain, and one of its pods stays."""
    world = (world or World()).protected()
    world.run_pod("p1", "container-of-b1")
    world.cordon()
    world.settle()
    status = {"phase": "Running", "pendingPods": ["web-1"], "pendingPodsRefs": REFS}
    world.change(world.tenant, names.NODEMAINTENANCES, "", names.maintenance_name(HOST), status=status)
    world.change(world.tenant, NODES, "", HOST, spec=DRAINED)
    budget = {"metadata": {"name": "web", "namespace": "shop"}, "status": {"disruptionsAllowed": 0}}
    world.tenant.put(names.PODDISRUPTIONBUDGETS, budget)
    world.settle()
    assert world.said() == ("True", "Draining")
    return world


def test_a_host_whose_drain_a_disruption_budget_blocks_is_told_with_pod_and_budget_after_the_limit() -> None:
    world = hanging()
    passes(world, LimitedStep.HOST_DRAIN)
    assert world.said() == ("False", "HostDrainOverdue")
    assert "1 pod is left: shop/web-1; PodDisruptionBudget shop/web allows no eviction now" in message(world)
    assert message(world).startswith(f"{DPU}: host {HOST}: HostDraining since ")
    assert world.events()[-1] == "Warning HostDrainOverdue"


def test_another_process_says_the_same_at_once_and_writes_nothing_anew() -> None:
    world = hanging()
    passes(world, LimitedStep.HOST_DRAIN)
    before = message(world)
    world.start()
    world.settle()
    assert (world.said(), message(world)) == (("False", "HostDrainOverdue"), before)
    writes = len(world.writes())
    world.settle()
    assert len(world.writes()) == writes


def test_the_host_is_looked_at_when_the_limit_passes_although_nothing_wakes() -> None:
    world = hanging()
    pause = world.settle()
    assert pause is not None
    assert pause <= DEFAULT_SECONDS[LimitedStep.HOST_DRAIN] + 1


def test_the_budgets_are_asked_for_once_a_minute_and_not_before_the_limit() -> None:
    world = hanging()
    asks = f"list {names.PODDISRUPTIONBUDGETS.plural}"
    assert world.tenant.asked.count(asks) == 0
    passes(world, LimitedStep.HOST_DRAIN)
    world.settle()
    assert world.tenant.asked.count(asks) == 1
    world.clock.step(61)
    world.settle()
    assert world.tenant.asked.count(asks) == 2


def test_a_limit_of_the_resource_holds_instead() -> None:
    world = hanging(World(drain={"limits": {"hostDrain": "1m"}}))
    world.clock.step(62)
    world.settle()
    assert world.said() == ("False", "HostDrainOverdue")


def test_an_overdue_step_is_cleared_once_the_drain_continues() -> None:
    world = hanging()
    passes(world, LimitedStep.HOST_DRAIN)
    world.drain_host()
    world.settle()
    assert world.said() == ("True", "Draining")


def test_an_open_budget_that_no_reboot_follows_is_told() -> None:
    world = hanging()
    world.drain_host()
    world.settle()
    passes(world, LimitedStep.DPU_DRAIN)
    assert world.said() == ("False", "DpuDrainOverdue")


def test_a_proof_that_does_not_come_is_told() -> None:
    world = hanging()
    world.run_pod("p1", "container-of-b1")
    world.drain_host()
    world.settle()
    world.reboot("b2")
    world.infra.drop(PODS, NAMESPACE, f"ovnkube-node-{DPU}")
    world.cordon(False)
    world.run_blocker()
    world.settle()
    assert world.said() == ("True", "Draining")
    passes(world, LimitedStep.VERIFYING)
    assert world.said() == ("False", "VerifyingOverdue")
    assert "has yet to show: ovnkube-node pod Ready" in message(world)


def test_a_blocker_that_is_not_ready_when_a_drain_is_wanted_is_told_at_once_and_excused_once_it_was_evicted() -> None:
    world = World().protected()
    world.run_blocker(ready=False)
    world.cordon()
    world.settle()
    assert world.said() == ("False", "BlockerNotReady")
    world.run_blocker()
    world.settle()
    world.drain_host()
    world.settle()
    world.infra.drop(PODS, OPERATOR, f"blocker-{DPU}")
    world.settle()
    assert world.said() == ("True", "Draining")


def test_a_pair_that_does_not_come_under_protection_is_told_by_name_after_the_limit_by_any_process() -> None:
    world = World()
    world.settle()
    world.run_blocker(ready=False)
    world.settle()
    assert world.said() == ("False", "Protecting")
    world.start()
    passes(world, LimitedStep.PROTECTION)
    assert world.said() == ("False", "ProtectionOverdue")
    assert message(world).startswith(f"{DPU}: host {HOST}: BlockerNotReady since ")


def maintenance_of_ours(host: str) -> dict[str, Any]:
    metadata = {"name": names.maintenance_name(host), "labels": {names.OWNER_LABEL: OWNER}, "uid": "m1"}
    return {"metadata": metadata, "spec": {"nodeName": host}, "status": {"phase": "Succeeded"}}


def test_a_maintenance_of_ours_on_a_host_without_a_dpu_is_told() -> None:
    world = World().protected()
    ending = maintenance_of_ours("host-9")
    ending["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x"]}
    world.tenant.put(NODES, {"metadata": {"name": "host-9"}, "spec": {}})
    world.tenant.put(names.NODEMAINTENANCES, ending)
    world.settle()
    assert world.said() == ("False", "MaintenanceTerminating")
    assert message(world).startswith("host host-9: ")


def test_a_maintenance_of_ours_that_no_record_explains_is_told_on_the_dpu() -> None:
    world = World().protected()
    world.infra.put(CONFIGMAPS, {**world.infra.shown(CONFIGMAPS, NAMESPACE, names.OVNKUBE_NODE_ENTRIES), "data": {}})
    world.run_blocker(ready=False)
    world.tenant.put(names.NODEMAINTENANCES, maintenance_of_ours(HOST))
    world.settle()
    assert world.said()[0] == "False"
    assert HOST in message(world) or DPU in message(world)


def test_a_right_that_is_missing_is_named_in_place_of_the_budgets() -> None:
    world = hanging()
    refusal = Forbidden(403, "Forbidden", "poddisruptionbudgets is forbidden")
    world.tenant.refuses[f"list {names.PODDISRUPTIONBUDGETS.plural}"] = refusal
    passes(world, LimitedStep.HOST_DRAIN)
    assert "PodDisruptionBudgets of namespace shop of the tenant cannot be listed" in message(world)


# --- a drain that does not begin --------------------------------------------------------------------------------------

LEASE = (
    "failed to obtain a lease that is not owned by us : can't update or invalidate the lease because it is held by "
    "different owner: somebody errorOnLeaseCount 0"
)


def says(world: World, **status: Any) -> None:
    """The node maintenance operator writes the status of our maintenance."""
    world.change(world.tenant, names.NODEMAINTENANCES, "", names.maintenance_name(HOST), status=status)
    world.settle()


def asked() -> World:
    """The host is asked to drain, and nobody has done anything about it."""
    world = World().protected()
    world.run_pod("p1", "container-of-b1")
    world.cordon()
    world.settle()
    return world


@pytest.mark.parametrize("pods", [[], ["web-1"]], ids=["nothing to evict", "pods"])
def test_a_host_whose_lease_somebody_else_holds_is_told_within_minutes_with_the_words_of_the_operator(
    pods: list[str],
) -> None:
    world = asked()
    says(world, phase="Running", drainProgress=0, lastError=LEASE, errorOnLeaseCount=0, pendingPods=pods)
    assert world.said() == ("True", "Draining")
    world.clock.step(BEGINNING_SECONDS + 2)
    world.settle()
    assert world.said() == ("False", "HostDrainOverdue")
    assert f"{DPU}: host {HOST}: HostDraining, which does not begin, since " in message(world)
    assert "longer than 5m: " in message(world)
    assert "held by different owner: somebody" in message(world)
    assert world.events()[-1] == "Warning HostDrainOverdue"


def test_a_maintenance_that_no_operator_does_anything_about_is_told_within_minutes() -> None:
    world = asked()
    pause = world.settle()
    assert pause is not None
    assert pause <= BEGINNING_SECONDS + 1
    world.clock.step(BEGINNING_SECONDS + 2)
    world.settle()
    assert world.said() == ("False", "HostDrainOverdue")


def test_a_drain_that_takes_its_time_is_not_told_by_the_error_that_an_earlier_round_left() -> None:
    world = hanging()
    error = "[error when waiting for pod web-1 to terminate: global timeout reached: 30s]"
    says(world, phase="Running", drainProgress=50, lastError=error, pendingPods=["web-1"], pendingPodsRefs=REFS)
    world.clock.step(DEFAULT_SECONDS[LimitedStep.HOST_DRAIN] - 10)
    world.settle()
    assert world.said() == ("True", "Draining")


def test_a_maintenance_made_anew_has_its_time_to_begin() -> None:
    world = hanging()
    world.clock.step(BEGINNING_SECONDS + 2)
    world.change(world.tenant, NODES, "", HOST, spec={})
    says(world, phase="Failed", lastError="lease")
    assert "status" not in world.maintenance()
    assert world.said() == ("True", "Draining")
    world.clock.step(BEGINNING_SECONDS + 2)
    world.settle()
    assert world.said() == ("False", "HostDrainOverdue")


def test_a_host_that_is_drained_once_more_is_not_told_at_once() -> None:
    world = asked()
    world.change(world.tenant, NODES, "", HOST, spec=DRAINED)
    says(world, phase="Succeeded", lastUpdate="2026-01-01T00:00:00Z")
    live = world.maintenance()
    notes = {**live["metadata"]["annotations"], names.OUTDATED_DRAIN_ANNOTATION: "2026-01-01T00:00:00Z"}
    world.tenant.put(names.NODEMAINTENANCES, {**live, "metadata": {**live["metadata"], "annotations": notes}})
    world.clock.step(BEGINNING_SECONDS + 2)
    world.settle()
    assert world.said()[1] != "HostDrainOverdue"


# --- a taint without a maintenance ------------------------------------------------------------------------------------


def tainted() -> World:
    """A look at a host that bears the taint of a maintenance which nobody sees."""
    world = World().protected()
    world.change(world.tenant, NODES, "", HOST, spec=DRAINED)
    assert world.settle() == ABANDONED_SECONDS
    assert world.said() == ("True", "AllProtected")
    return world


def test_a_taint_whose_maintenance_is_gone_is_told_once_it_has_lasted_and_until_it_is_off() -> None:
    world = tainted()
    world.clock.step(ABANDONED_SECONDS)
    world.settle()
    assert world.said() == ("False", "HostStillCordoned")
    assert f"kubectl uncordon {HOST} && kubectl taint nodes {HOST} {names.MAINTENANCE_TAINT}-" in world.message()
    assert world.events() == ["Warning HostStillCordoned"]
    world.change(world.tenant, NODES, "", HOST, spec={})
    world.settle()
    assert world.said() == ("True", "AllProtected")


def test_a_taint_whose_maintenance_is_only_seen_later_is_not_told_and_counts_anew_when_that_is_gone() -> None:
    world = tainted()
    theirs = {"metadata": {"name": "theirs"}, "spec": {"nodeName": HOST}, "status": {"phase": "Succeeded"}}
    world.tenant.put(names.NODEMAINTENANCES, theirs)
    world.clock.step(ABANDONED_SECONDS)
    world.settle()
    assert (world.said(), world.events()) == (("True", "AllProtected"), [])
    world.tenant.drop(names.NODEMAINTENANCES, "", "theirs")
    assert world.settle() == ABANDONED_SECONDS
    assert (world.said(), world.events()) == (("True", "AllProtected"), [])
