"""How the roster of a DpuClusterConfig follows from what the clusters show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from dpunetop.domain.clusterconfig.access import Access
from dpunetop.domain.clusterconfig.grants import Rights
from dpunetop.domain.clusterconfig.types import DpuClusterConfig, OutagePolicy, UnplannedSpec, parse_config
from dpunetop.domain.drain.fleet.roster import Member, Mode
from dpunetop.domain.drain.model.facts import DrainSettings, OnTimeout
from dpunetop.domain.drain.model.limits import Limits
from dpunetop.domain.drain.outages.unplanned import NetworkReason, NetworkState, Turn
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
    DPU_HOST_LABEL,
    DRAIN_BLOCKER,
    FORCE_DELETE_ANNOTATION,
    LEFT_BY_ANNOTATION,
    OVNKUBE_NODE_ENTRIES,
    TENANT_NODE_ANNOTATION,
    blocker_name,
)
from dpunetop.domain.pairing.pairing import Claims
from dpunetop.kube.meta import Obj
from support.drainviews import nm
from support.objects import NAMESPACE, POOL, config, node
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


def has_settings(**drain: Any) -> DrainSettings:
    known = parsed()
    return build_roster(fleet(config=replace(known, drain=replace(known.drain, **drain)))).settings


def test_what_the_spec_says_of_drains_is_what_they_keep_to() -> None:
    said = has_settings(timeout_seconds=90, aborts_on_timeout=True, limits={"verifying": 7})
    assert (said.timeout_seconds, said.on_timeout) == (90, OnTimeout.ABORT)
    assert said.limits == Limits({"verifying": 7})
    assert has_settings().on_timeout is OnTimeout.HOLD


POOLED = {
    "metadata": {"name": POOL},
    "spec": {"nodeSelector": {"matchLabels": {"node-role.kubernetes.io/dpu-worker": ""}}},
}
SECOND = {**POOLED, "metadata": {"name": "second"}}
BARE = {"nodes": [], "deployments": [], "budgets": [], "namespace": namespace({})}


def the_member(**but: Any) -> Member | None:
    """The DPU in the roster, wherever it is; None: nowhere."""
    found = build_roster(fleet(**but)).slots.values()
    return next((each for slot in found for each in slot.members if each.dpu == DPU), None)


# a DPU is in the roster because of one thing alone
WHY: dict[str, tuple[dict[str, Any], bool]] = {
    "of nothing": ({}, False),
    "it is selected": ({"nodes": [node(DPU)]}, True),
    "it has a budget of ours": ({"budgets": [first_budget(BLOCKERS, DPU, "")]}, True),
    "it has a blocker of ours": ({"deployments": [blocker(BLOCKERS, DPU)]}, True),
    "its node is not picked, nor has it anything of ours": ({"nodes": [node(DPU, {})]}, False),
    "an entry names it, and it does not serve": ({"namespace": namespace({DPU: ENTRY})}, False),
}


@pytest.mark.parametrize(("seen", "is_known"), WHY.values(), ids=WHY.keys())
def test_a_dpu_has_a_slot_because(seen: dict[str, Any], is_known: bool) -> None:
    assert (the_member(**{**BARE, **seen}) is not None) == is_known


def test_an_entry_of_a_node_that_is_not_picked_any_more_counts_while_it_serves() -> None:
    seen = the_member(nodes=[node(DPU, {})])
    assert seen is not None
    assert (seen.entry.text, seen.is_dropped) == (ENTRY, True)


def with_pools(*pools: Obj | None) -> Member:
    known = replace(namespace({DPU: ENTRY}), pools=tuple(each for each in pools if each is not None))
    seen = the_member(namespace=known if pools else namespace({DPU: ENTRY}))
    assert seen is not None
    return seen


def test_where_infra_has_pools_a_dpu_is_configured_by_its_own_and_stuck_in_two() -> None:
    without, absent, two = with_pools(), with_pools(None), with_pools(POOLED, SECOND)
    assert (without.configured, without.stuck) == (True, "")
    assert (absent.configured, absent.stuck) == (False, "")
    assert "second" in two.stuck


def test_a_dpu_that_is_picked_is_not_dropped() -> None:
    seen = the_member()
    assert seen is not None
    assert not seen.is_dropped


ANNOTATED = node(DPU, **{TENANT_NODE_ANNOTATION: HOST})
FIT = TenantFleet({HOST: node(HOST, {DPU_HOST_LABEL: ""})})
# the tenant -> whom the annotation of the DPU's Node pairs it with
SEEN: dict[str, tuple[TenantFleet, str | None]] = {
    "shows the host, which may be annotated": (FIT, HOST),
    "shows the host, which may not": (TenantFleet({HOST: node(HOST, {})}), None),
    "does not show the host": (TenantFleet({}), None),
}


@pytest.mark.parametrize(("tenant", "host"), SEEN.values(), ids=SEEN.keys())
def test_an_annotation_pairs_a_dpu_if_the_tenant(tenant: TenantFleet, host: str | None) -> None:
    seen = the_member(**{**BARE, "nodes": [ANNOTATED], "tenant": tenant})
    assert seen is not None
    assert seen.pairing == host


SECOND_HOST = "host-2"


def led_out(**but: Any) -> dict[str, str | None]:
    """Why each of two served hosts waits, when the DpuClusterConfig of both is deleted and the first asks to be led
    out."""
    budgets = [first_budget(BLOCKERS, DPU, HOST), first_budget(BLOCKERS, "d2", SECOND_HOST)]
    entries = {DPU: ENTRY, "d2": f"TENANT_K8S_NODE={SECOND_HOST}\n"}
    tenant = TenantFleet({HOST: node(HOST), SECOND_HOST: node(SECOND_HOST)})
    view = fleet(nodes=[node(DPU), node("d2")], budgets=budgets, tenant=tenant, namespace=namespace(entries))
    found = build_roster(replace(view, **{"config": parsed(ends=True), **but})).slots
    return {
        host: None if (hold := found["host", host].not_now) is None else str(hold.reason)
        for host in (HOST, SECOND_HOST)
    }


def test_hosts_are_led_out_one_after_the_other_unless_a_limit_says_otherwise() -> None:
    ends = parsed(ends=True)
    for_two = replace(ends, drain=replace(ends.drain, max_unavailable=2))
    waits = {HOST: "HostDraining", SECOND_HOST: "HostDraining"}
    assert led_out() == waits  # neither has asked yet
    assert led_out(config=parsed()) == {HOST: None, SECOND_HOST: None}
    assert led_out(config=for_two) == waits


LEFT_BY = {LEFT_BY_ANNOTATION: "owner"}


@pytest.mark.parametrize(
    ("annotations", "is_cordoned", "is_left"),
    [(LEFT_BY, True, True), (LEFT_BY, False, False), ({LEFT_BY_ANNOTATION: "another"}, True, False), ({}, True, False)],
)
def test_a_host_that_was_led_out_is_known_by_our_mark_and_its_cordon(
    annotations: dict[str, str], is_cordoned: bool, is_left: bool
) -> None:
    host = {**node(HOST, {}, **annotations), "spec": {"unschedulable": is_cordoned}}
    assert TenantFleet({HOST: host}).left_by("owner") == (frozenset({HOST}) if is_left else frozenset())


def network(host: str, since: int | None) -> NetworkState:
    return NetworkState(host, DPU, NetworkReason.HOST_WITHOUT_NETWORK, "", since)


def test_of_the_hosts_without_a_network_those_that_ask_have_a_turn_the_longest_outage_first() -> None:
    networks = [network("late", 20), network(HOST, 10), network("does-not-ask", None)]
    found = build_roster(fleet(config=CORDONING, networks=networks, suspect="the network of infra")).slots
    assert found["host", HOST].turn is Turn.GRANTED
    quiet = build_roster(fleet(config=CORDONING, networks=[network(HOST, None)])).slots
    assert quiet["host", HOST].turn is Turn.UNDECIDED
    later = build_roster(fleet(config=CORDONING, networks=[network("late", 5), network(HOST, 10)])).slots
    assert later["host", HOST].turn is Turn.REFUSED


def test_of_several_configs_that_cordon_the_smallest_limit_holds() -> None:
    wide = replace(parsed(), unplanned=UnplannedSpec(OutagePolicy.CORDON, max_hosts=5))
    others = {"rosters": {"b": roster()}}
    assert build_roster(fleet(config=wide, **others, siblings=[CORDONING])).cordons.limit == 1
    reporting = replace(CORDONING, unplanned=replace(CORDONING.unplanned, policy=OutagePolicy.REPORT))
    assert build_roster(fleet(config=wide, **others, siblings=[reporting])).cordons.limit == 5


def test_that_infra_itself_is_suspect_is_said_to_all_hosts() -> None:
    assert build_roster(fleet(config=CORDONING, suspect="its Nodes")).cordons.suspect == "its Nodes"
