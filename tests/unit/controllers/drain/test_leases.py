"""A host of a tenant with zones is given back once its Lease was seen to be renewed, by the process that gives it."""

from __future__ import annotations

from typing import Any

import pytest

from dpunetop.base.stop import Stop
from dpunetop.domain import names
from dpunetop.domain.ovnkube.release import RELEASE_ANNOTATION
from dpunetop.kube.errors import ApiError, Forbidden, Unauthorized, Unreachable
from dpunetop.kube.keys import DAEMONSETS, LEASES, NODES, PODS
from dpunetop.kube.requests import Selection
from dpunetop.runtime.reading import NotEngaged, NotSynced, Unwatched
from support.objects import NAMESPACE, condition
from support.scripteddrain import DPU, HOST, OVN, PLACE, TENANT, World, dpu_node

TOLD = ("--dpu-node-lease-duration=40", "--dpu-node-lease-renew-interval=10")
NOT_TO = ("--dpu-node-lease-renew-interval=0",)
NAME = f"{names.LEASE_PREFIX}{HOST}"


def verifying(*arguments: str, lease: str = "10:00:00", release: str = "", unread: Any = None, **spec: Any) -> World:
    """The DPU was drained, is back in another boot, and shows everything but a renewed Lease."""
    world = World(**spec).of_zones(*arguments).protected()
    if release:
        metadata = {"name": names.OVNKUBE_NODE, "namespace": OVN, "annotations": {RELEASE_ANNOTATION: release}}
        world.tenant.put(DAEMONSETS, {"metadata": metadata})
    if lease:
        world.renew(lease)
    world.run_pod("p1", "container-of-b1")
    world.cordon()
    world.settle()
    world.drain_host()
    world.settle()
    world.reboot("b2")
    world.settle()
    world.watches.unread = unread or {}
    world.cordon(False)
    world.settle()
    return world


def is_followed(world: World) -> bool:
    """Whether the last look at the host was also one at its Lease."""
    world.hosts.reconcile(PLACE, Stop())
    return (TENANT, LEASES.plural) in world.watches.asked


def is_given_back(world: World) -> bool:
    world.settle()
    return world.maintenance() is None


def renew(world: World, time: str) -> None:
    world.clock.step(10.0)
    world.renew(time)
    world.settle()


def said(world: World) -> str:
    """What is said of the DPU."""
    [dpu_status] = [each for report in reports(world) for each in report.dpu_statuses]
    return f"{dpu_status.stage} {dpu_status.reason}: {dpu_status.message}"


def reports(world: World) -> list[Any]:
    roster = world.drain_store.roster(TENANT)
    assert roster is not None
    return [report for report in world.drain_store.reports(roster) if report is not None]


# --- what counts ------------------------------------------------------------------------------------------------------


def test_a_host_is_given_back_once_its_lease_was_seen_to_change_twice() -> None:
    world = verifying(*TOLD)
    assert said(world) == f"Verifying ProofMissing: {DPU} has yet to show: lease"
    assert world.said() == ("True", "Draining")
    renew(world, "10:00:10")
    assert not is_given_back(world)
    renew(world, "10:00:20")
    assert is_given_back(world)


def test_the_lease_is_followed_only_while_the_host_is_verified() -> None:
    world = World().of_zones(*TOLD).protected()
    world.renew("10:00:00")
    assert not is_followed(world)
    world.run_pod("p1", "container-of-b1")
    world.cordon()
    world.settle()
    assert not is_followed(world)
    world.drain_host()
    world.settle()
    world.reboot("b2")
    world.settle()
    assert not is_followed(world)
    world.cordon(False)
    world.settle()
    assert is_followed(world)
    renew(world, "10:00:10")
    renew(world, "10:00:20")
    world.end_maintenance()
    world.settle()
    assert not is_followed(world)


def test_a_cycle_that_never_opened_asks_for_no_lease() -> None:
    world = World().of_zones(*TOLD).protected()
    world.run_pod("p1", "container-of-b1")
    world.cordon()
    world.settle()
    world.cordon(False)
    assert is_given_back(world)
    assert not is_followed(world)


def test_another_boot_counts_anew() -> None:
    world = verifying(*TOLD)
    renew(world, "10:00:10")
    world.infra.put(NODES, dpu_node("b3"))
    world.settle()
    world.run_pod("p1", "container-of-b3")
    renew(world, "10:00:20")
    assert not is_given_back(world)
    renew(world, "10:00:30")
    assert is_given_back(world)


def test_a_dpu_that_was_not_ready_meanwhile_counts_anew() -> None:
    world = verifying(*TOLD)
    renew(world, "10:00:10")
    down = dpu_node("b2")
    down["status"] = {**down["status"], "conditions": [{"type": "Ready", "status": "False"}]}
    world.infra.put(NODES, down)
    renew(world, "10:00:20")
    renew(world, "10:00:30")
    world.infra.put(NODES, dpu_node("b2"))
    world.settle()
    renew(world, "10:00:40")
    assert not is_given_back(world)
    renew(world, "10:00:50")
    assert is_given_back(world)


def test_another_process_counts_anew() -> None:
    world = verifying(*TOLD)
    renew(world, "10:00:10")
    world.start()
    world.settle()
    renew(world, "10:00:20")
    assert not is_given_back(world)
    renew(world, "10:00:30")
    assert is_given_back(world)


def test_another_leadership_counts_anew_so_that_a_cluster_whose_time_went_back_renews_nothing() -> None:
    world = verifying(*TOLD)
    renew(world, "10:00:10")
    world.terms.advance()
    world.settle()
    renew(world, "10:00:00")
    assert not is_given_back(world)


def test_a_verification_that_was_broken_off_counts_anew() -> None:
    world = verifying(*TOLD)
    renew(world, "10:00:10")
    world.cordon()
    world.settle()
    world.renew("10:00:20")
    world.cordon(False)
    world.settle()
    renew(world, "10:00:30")
    assert not is_given_back(world)
    renew(world, "10:00:40")
    assert is_given_back(world)


def test_a_count_goes_with_the_host_from_the_roster() -> None:
    world = verifying(*TOLD)
    renew(world, "10:00:10")
    roster = world.drain_store.roster(TENANT)
    assert roster is not None
    world.drain_store.drop(TENANT)
    world.hosts.reconcile(PLACE, Stop())
    world.drain_store.publish(roster)
    renew(world, "10:00:20")
    renew(world, "10:00:30")
    assert not is_given_back(world)


# --- whether it is asked for ------------------------------------------------------------------------------------------

WITHOUT: dict[str, dict[str, Any]] = {
    "the DPUs are told not to renew one": {"arguments": NOT_TO},
    "its release has none": {"release": "4.22.1"},
    "nobody says so and there is none": {"lease": ""},
    "nobody says so, it is of a release that might, and there is none": {"lease": "", "release": "4.23.0"},
}


@pytest.mark.parametrize("given", WITHOUT.values(), ids=WITHOUT.keys())
def test_no_lease_is_asked_for_if(given: dict[str, Any]) -> None:
    world = verifying(*given.pop("arguments", ()), **given)
    assert is_given_back(world)


WITH: dict[str, dict[str, Any]] = {
    "the DPUs are told to renew one, whatever the release": {"arguments": TOLD, "release": "4.22.1"},
    "the DPUs are told to renew one and there is none": {"arguments": TOLD, "lease": ""},
    "nobody says so and there is one": {},
    "nobody says so, it is of a release that might, and there is one": {"release": "4.23.0"},
}


@pytest.mark.parametrize("given", WITH.values(), ids=WITH.keys())
def test_a_renewed_lease_is_asked_for_if(given: dict[str, Any]) -> None:
    world = verifying(*given.pop("arguments", ()), **given)
    assert not is_given_back(world)
    renew(world, "10:00:10")
    renew(world, "10:00:20")
    renew(world, "10:00:30")
    assert is_given_back(world)


def test_a_tenant_whose_release_cannot_be_read_is_one_that_might_have_leases() -> None:
    for trouble in (NotSynced(TENANT, Selection(DAEMONSETS)), NotEngaged(TENANT)):
        world = verifying(release="4.22.1", unread={(TENANT, DAEMONSETS.plural): trouble})
        assert is_followed(world)
        assert not is_given_back(world)
        world.watches.unread.clear()
        assert is_given_back(world)


def test_the_lease_is_looked_for_where_the_spec_says_that_the_tenants_network_is() -> None:
    world = verifying(*TOLD, tenantNamespace="elsewhere")
    for number in range(1, 4):
        renew(world, f"10:00:{number}0")
    assert not is_given_back(world)
    for number in range(3):
        world.renew(f"10:00:{number}5", "elsewhere")
        world.settle()
    assert is_given_back(world)


# --- why it does not come ---------------------------------------------------------------------------------------------


def test_a_dpu_that_does_not_renew_its_lease_is_named() -> None:
    world = verifying(*TOLD)
    assert world.settle() == 120.0
    world.clock.step(120.0)
    assert not is_given_back(world)
    assert said(world) == (
        f"Held LeaseNotRenewed: {DPU} has yet to show: lease; the tenant's Lease {NAME} is not renewed"
    )
    assert world.said() == ("False", "LeaseNotRenewed")
    assert world.events()[-1] == "Warning LeaseNotRenewed"
    renew(world, "10:03:00")
    renew(world, "10:03:10")
    assert is_given_back(world)


def test_a_lease_that_is_not_there_is_named() -> None:
    world = verifying(*TOLD, lease="")
    world.clock.step(120.0)
    assert not is_given_back(world)
    assert said(world).endswith(f"the tenant has no Lease {NAME}")


def test_a_lease_is_not_in_the_way_before_the_pod_is_there() -> None:
    world = verifying(*TOLD)
    world.infra.drop(PODS, NAMESPACE, f"{names.OVNKUBE_NODE}-{DPU}")
    world.settle()
    world.clock.step(600.0)
    world.run_pod("p2", "container-of-b2")
    world.settle()
    assert said(world) == f"Verifying ProofMissing: {DPU} has yet to show: lease"


REFUSALS = [Forbidden(403, "Forbidden", "leases is forbidden"), Unauthorized(401, "Unauthorized", "token expired")]


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: error.reason)
@pytest.mark.parametrize("arguments", [TOLD, ()], ids=["told", "not told"])
def test_a_tenant_that_lets_nobody_look_is_named_at_once(arguments: tuple[str, ...], error: ApiError) -> None:
    world = verifying(*arguments)
    refuse(world, error)
    assert not is_given_back(world)
    assert world.said() == ("False", "TenantUnauthorized")
    assert said(world).endswith(f"the tenant does not let us look at Lease {NAME}: {error.message}")
    world.watches.unread.clear()
    for number in range(3):
        renew(world, f"10:00:{number}5")
    assert is_given_back(world)


def test_a_tenant_that_lets_nobody_look_any_more_is_named_at_once() -> None:
    world = verifying(*TOLD)
    renew(world, "10:00:10")
    selection, error = Selection(LEASES, OVN, f"metadata.name={NAME}"), Forbidden(403, "Forbidden", "cannot watch")
    world.watches.unwatched = Unwatched(TENANT, selection, error)
    world.settle()
    assert world.said() == ("False", "TenantUnauthorized")
    world.watches.unwatched = Unwatched(TENANT, Selection(NODES), error)
    renew(world, "10:00:20")
    assert not is_given_back(world)
    renew(world, "10:00:30")
    renew(world, "10:00:40")
    assert is_given_back(world)


@pytest.mark.parametrize("arguments", [TOLD, ()], ids=["told", "not told"])
def test_a_lease_of_which_nothing_is_known_yet_is_waited_for_and_then_named(arguments: tuple[str, ...]) -> None:
    world = verifying(*arguments)
    refuse(world, None)
    assert not is_given_back(world)
    assert said(world) == f"Verifying ProofMissing: {DPU} has yet to show: lease"
    refuse(world, Unreachable(0, "TooLarge", "an answer that is too large"))
    world.clock.step(120.0)
    assert not is_given_back(world)
    assert said(world).endswith(f"the tenant's Lease {NAME} cannot be read: an answer that is too large")


def test_a_tenant_that_goes_away_meanwhile_gives_nothing_back_and_counts_anew() -> None:
    world = verifying(*TOLD)
    renew(world, "10:00:10")
    world.watches.silent = {TENANT: NotEngaged(TENANT)}
    world.say(condition("TenantReachable", "False", "Timeout", "no answer"))
    world.settle()
    assert world.said() == ("False", "TenantUnreachable")
    world.watches.silent = {}
    world.say()
    renew(world, "10:00:20")
    renew(world, "10:00:30")
    assert not is_given_back(world)
    renew(world, "10:00:40")
    assert is_given_back(world)


def test_a_tenant_that_goes_away_between_two_reads_gives_nothing_back() -> None:
    world = verifying(*TOLD)
    world.watches.unread = {(TENANT, LEASES.plural): NotEngaged(TENANT)}
    assert not is_given_back(world)


def test_a_person_may_force_a_host_whose_lease_is_not_renewed() -> None:
    world = verifying(*TOLD)
    forced = dpu_node("b2")
    forced["metadata"] = {**forced["metadata"], "annotations": {names.DRAIN_ANNOTATION: "force:b2"}}
    world.infra.put(NODES, forced)
    assert is_given_back(world)


def refuse(world: World, error: ApiError | None) -> None:
    selection = Selection(LEASES, OVN, f"metadata.name={NAME}")
    world.watches.unread = {(TENANT, LEASES.plural): NotSynced(TENANT, selection, error)}
