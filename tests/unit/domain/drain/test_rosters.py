"""How the roster of a DpuClusterConfig follows from what the clusters show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from dpunetop.domain.clusterconfig.access import Access
from dpunetop.domain.clusterconfig.grants import Rights
from dpunetop.domain.clusterconfig.types import DpuClusterConfig, OutagePolicy, UnplannedSpec, parse_config
from dpunetop.domain.drain.fleet.roster import Mode
from dpunetop.domain.drain.protection.blockers import blocker, first_budget
from dpunetop.domain.drain.rosters import (
    FleetView,
    NamespaceView,
    TenantFleet,
    budgets_by_dpu,
    build_roster,
    left_hosts,
    mode_of,
)
from dpunetop.domain.names import (
    CORDONED_BEFORE_ANNOTATION,
    DRAIN_BLOCKER,
    FORCE_DELETE_ANNOTATION,
    OVNKUBE_NODE_ENTRIES,
    blocker_name,
)
from dpunetop.domain.pairing.pairing import Claims
from support.drainviews import nm
from support.objects import NAMESPACE, config, node
from support.rosters import BLOCKERS, DPU, ENTRY, HOST, roster, slot

OTHER = "another-host"


def parsed(
    name: str = "sample", *, ends: bool = False, annotations: Mapping[str, str] | None = None
) -> DpuClusterConfig:
    obj = config(name=name)
    ending = {"deletionTimestamp": "2026-01-02T00:00:00Z"} if ends else {}
    return parse_config({**obj, "metadata": {**obj["metadata"], **ending, "annotations": dict(annotations or {})}})


def namespace(entries: Mapping[str, str] | None = None) -> NamespaceView:
    metadata = {"name": OVNKUBE_NODE_ENTRIES, "namespace": NAMESPACE, "uid": "entries"}
    live = {"metadata": metadata, "data": dict(entries)} if entries is not None else None
    return NamespaceView(Rights(owner="owner"), live, None, None, None, Claims(), None)


def fleet(**but: Any) -> FleetView:
    view = FleetView(
        config=parsed(),
        access=Access.GIVEN,
        siblings=(),
        blockers=BLOCKERS,
        nodes=[node(DPU)],
        deployments=[blocker(BLOCKERS, DPU)],
        budgets=[first_budget(BLOCKERS, DPU, HOST)],
        tenant=TenantFleet({HOST: node(HOST)}),
        tenant_namespace="ovn",
        before=None,
        rosters={},
        namespace=namespace({DPU: ENTRY}),
    )
    return replace(view, **but)


FORCED = {FORCE_DELETE_ANNOTATION: ""}
MODES: dict[str, tuple[FleetView, Mode]] = {
    "it is not deleted": (fleet(), Mode.SERVING),
    "it is forced before it is deleted": (fleet(config=parsed(annotations=FORCED)), Mode.SERVING),
    "a budget says that a host is served": (fleet(config=parsed(ends=True), namespace=namespace()), Mode.LEADING_OUT),
    "an entry names a host": (fleet(config=parsed(ends=True), budgets=[]), Mode.LEADING_OUT),
    "no host is served": (fleet(config=parsed(ends=True), budgets=[], namespace=namespace({})), Mode.LEAVING),
    "the end is forced": (fleet(config=parsed(ends=True, annotations=FORCED)), Mode.LEAVING),
    "its namespace ends": (fleet(config=parsed(ends=True), access=Access.ENDING, namespace=None), Mode.LEAVING),
}


@pytest.mark.parametrize(("view", "expected"), MODES.values(), ids=MODES.keys())
def test_a_config_that_is_deleted_is_led_out_as_long_as_a_host_is_served_and_nobody_forces_it(
    view: FleetView, expected: Mode
) -> None:
    assert mode_of(view, budgets_by_dpu(view).values()) is expected
    assert build_roster(view).mode is expected


def test_a_dpu_that_serves_a_host_is_at_home_there() -> None:
    found = build_roster(fleet()).slots["host", HOST]
    assert [(each.dpu, each.entry.text, each.is_home) for each in found.members] == [(DPU, ENTRY, True)]
    assert found.serving == DPU


def test_one_whose_namespace_is_out_of_reach_keeps_whom_it_protects_and_nothing_else() -> None:
    found = build_roster(fleet(access=Access.ENDING, config=parsed(ends=True), namespace=None))
    assert (list(found.slots), found.has_entries, found.access) == ([("host", HOST)], False, Access.ENDING)
    (seen,) = found.slots["host", HOST].members
    assert (seen.dpu, seen.pairing, seen.text, seen.entry.text) == (DPU, None, "", "")


def test_an_entry_counts_only_for_a_node_that_is_granted_or_serves() -> None:
    found = build_roster(fleet(namespace=namespace({DPU: ENTRY, "stranger": ENTRY})))
    assert [each.dpu for each in found.slots["host", HOST].members] == [DPU]
    assert any("stranger" in problem for problem in found.problems)


def test_a_budget_is_known_by_the_dpu_whose_name_it_bears_and_only_if_it_is_ours() -> None:
    theirs = first_budget(replace(BLOCKERS, owner="another"), "d2", HOST)
    assert list(budgets_by_dpu(fleet(budgets=[theirs, first_budget(BLOCKERS, DPU, HOST)]))) == [DPU]


LONG = "d" * 70
KNOWN_BY: dict[str, tuple[dict[str, Any], bool]] = {
    "its Node": ({"nodes": [node(LONG)]}, True),
    "its blocker": ({"deployments": [blocker(BLOCKERS, LONG)]}, True),
    "its entry": ({"namespace": namespace({LONG: ENTRY})}, True),
    "somebody else's blocker": ({"deployments": [blocker(replace(BLOCKERS, owner="another"), LONG)]}, False),
    "nothing": ({"namespace": None}, False),
}


@pytest.mark.parametrize(("seen", "is_known"), KNOWN_BY.values(), ids=KNOWN_BY.keys())
def test_a_dpu_whose_name_is_cut_in_that_of_its_budget_is_known_by(seen: dict[str, Any], is_known: bool) -> None:
    given = fleet(**{"nodes": [], "deployments": [], "budgets": [first_budget(BLOCKERS, LONG, HOST)], **seen})
    cut = blocker_name(LONG).removeprefix(f"{DRAIN_BLOCKER}-")
    assert list(budgets_by_dpu(given)) == [LONG if is_known else cut]


MARKED = TenantFleet({HOST: node(HOST, {}, **{CORDONED_BEFORE_ANNOTATION: "no"})})
KNOWN = roster(slots={("host", HOST): slot()})
# what of ours is left on the host
LEFT: dict[str, tuple[FleetView, frozenset[str]]] = {
    "nothing": (fleet(), frozenset()),
    "a maintenance": (fleet(tenant=TenantFleet({}, (nm(),))), frozenset({HOST})),
    "somebody else's maintenance": (fleet(tenant=TenantFleet({}, (replace(nm(), ours=False),))), frozenset()),
    "a mark on a host that was not ours": (fleet(tenant=MARKED), frozenset()),
    "a mark on a host that was ours": (fleet(tenant=MARKED, before=KNOWN), frozenset({HOST})),
    "a mark at the end": (fleet(tenant=MARKED, config=parsed(ends=True)), frozenset({HOST})),
    "a mark at the end, and another has the host": (
        fleet(tenant=MARKED, config=parsed(ends=True), rosters={"tenant/a/b": KNOWN}),
        frozenset(),
    ),
}


@pytest.mark.parametrize(("view", "expected"), LEFT.values(), ids=LEFT.keys())
def test_a_host_on_which_something_of_ours_is_left_has_a_slot(view: FleetView, expected: frozenset[str]) -> None:
    assert left_hosts(view) == expected
    assert expected <= {each.host for each in build_roster(view).slots.values()}


def limited(**but: Any) -> FleetView:
    known = parsed()
    return fleet(config=replace(known, drain=replace(known.drain, max_unavailable="1")), **but)


HOLDS: dict[str, tuple[FleetView, str | None]] = {
    "without a limit nobody waits": (fleet(), None),
    "at the end no drain begins": (fleet(config=parsed(ends=True, annotations=FORCED)), "Teardown"),
    "another of the tenant is not known yet": (
        limited(siblings=(parsed("other"),), rosters={"tenant/dpu-one/other": None}),
        "NoFreeSlot",
    ),
    "there is a limit, and it has not asked yet": (limited(), "HostDraining"),
}


@pytest.mark.parametrize(("view", "reason"), HOLDS.values(), ids=HOLDS.keys())
def test_a_drain_may_not_begin_where(view: FleetView, reason: str | None) -> None:
    hold = build_roster(view).slots["host", HOST].not_now
    assert (None if hold is None else str(hold.reason)) == reason


CORDONING = replace(parsed(), unplanned=UnplannedSpec(OutagePolicy.CORDON, max_hosts=1))
LIMITS: dict[str, tuple[FleetView, int]] = {
    "the spec says so": (fleet(config=CORDONING), 1),
    "a sibling is known": (fleet(config=CORDONING, siblings=[parsed("b")], rosters={"b": roster()}), 1),
    "the spec says that it is only reported": (fleet(siblings=[CORDONING], rosters={"b": roster()}), 0),
    "the tenant is not seen": (fleet(config=CORDONING, tenant=TenantFleet({}, is_seen=False)), 0),
    "a sibling is not known yet": (fleet(config=CORDONING, siblings=[parsed("b")], rosters={"b": None}), 0),
}


@pytest.mark.parametrize(("view", "limit"), LIMITS.values(), ids=LIMITS.keys())
def test_no_host_is_cordoned_for_an_outage_before_all_hosts_of_the_tenant_are_known(
    view: FleetView, limit: int
) -> None:
    assert build_roster(view).cordons.limit == limit
