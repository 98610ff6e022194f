from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpunetop.domain.clusterconfig.types import TopologyChoice
from dpunetop.domain.ovnkube.topology import (
    Topology,
    TopologyView,
    candidates,
    container_names,
    detect,
    running_topology,
    settle,
)

AUTO = TopologyChoice.AUTO
OLD = frozenset({"ovn-controller", "ovn-acl-logging", "kube-rbac-proxy", "ovnkube-node"})
NEW = frozenset({"ovn-controller", "northd", "nbdb", "sbdb", "ovnkube-controller"})
NONE: frozenset[str] = frozenset()

CASES = {  # (choice, containers, masters, control plane, script lib) -> topology
    "up to 4.13": ((AUTO, OLD, True, False, False), Topology.CENTRAL),
    "up to 4.13, masters restarting": ((AUTO, OLD, False, False, False), Topology.CENTRAL),
    "from 4.15": ((AUTO, NEW, False, True, True), Topology.INTERCONNECT),
    "upstream": ((AUTO, frozenset({"nb-ovsdb"}), False, True, False), Topology.INTERCONNECT),
    "hosted control plane": ((AUTO, NEW, False, False, True), Topology.INTERCONNECT),
    "4.14 underway, old nodes": ((AUTO, OLD, True, True, True), Topology.MIGRATING),
    "4.14 underway, only the library": ((AUTO, OLD, True, False, True), Topology.MIGRATING),
    "4.14 underway, new nodes": ((AUTO, NEW, True, True, True), Topology.MIGRATING),
    "nothing read": ((AUTO, None, None, None, None), Topology.UNKNOWN),
    "DaemonSet not read": ((AUTO, None, True, False, False), Topology.UNKNOWN),
    "control plane not read": ((AUTO, OLD, True, None, False), Topology.UNKNOWN),
    "library not read": ((AUTO, OLD, True, False, None), Topology.UNKNOWN),
    "masters not read": ((AUTO, NEW, None, True, True), Topology.UNKNOWN),
    "no such DaemonSet": ((AUTO, NONE, False, False, False), Topology.UNKNOWN),
    "another network": ((AUTO, frozenset({"sdn"}), False, False, False), Topology.UNKNOWN),
    "central by choice": ((TopologyChoice.CENTRAL, NEW, False, True, True), Topology.CENTRAL),
    "interconnect by choice, blind": ((TopologyChoice.INTERCONNECT, None, None, None, None), Topology.INTERCONNECT),
}


@pytest.mark.parametrize(("case", "expected"), CASES.values(), ids=CASES.keys())
def test_a_topology_is_found_only_on_clear_signs(
    case: tuple[TopologyChoice, frozenset[str] | None, bool | None, bool | None, bool | None], expected: Topology
) -> None:
    finding = detect(TopologyView(*case))
    assert finding.topology is expected
    assert finding.message


def test_containers_are_read_by_name() -> None:
    daemonset = {"spec": {"template": {"spec": {"containers": [{"name": "nbdb"}, {"name": "sbdb"}]}}}}
    assert container_names(daemonset) == {"nbdb", "sbdb"}
    assert container_names(None) == NONE
    assert container_names({"spec": {}}) == NONE


# What is done about a finding.

RUNS = {None: None, "central": Topology.CENTRAL, "interconnect": Topology.INTERCONNECT}
UP_TO_4_13 = (AUTO, OLD, True, False, False)
FROM_4_15 = (AUTO, NEW, False, True, True)
HOSTED = (AUTO, NEW, False, False, True)
UPSTREAM = (AUTO, frozenset({"nb-ovsdb", "sb-ovsdb", "ovnkube-controller"}), False, True, False)
SETTLED = {  # (view, what runs) -> (what to write for, reason)
    "the first time, central": ((UP_TO_4_13, None), (Topology.CENTRAL, "")),
    "the first time, interconnect": ((FROM_4_15, None), (Topology.INTERCONNECT, "")),
    "the first time, upstream": ((UPSTREAM, None), (Topology.INTERCONNECT, "")),
    "the first time, by nodes alone": (((AUTO, NEW, False, False, False), None), (Topology.INTERCONNECT, "")),
    "as before": ((UP_TO_4_13, "central"), (Topology.CENTRAL, "")),
    "as before, masters gone for a moment": (((AUTO, OLD, False, False, False), "central"), (Topology.CENTRAL, "")),
    "changed, just seen": ((FROM_4_15, "central"), (None, "TopologyConfirming")),
    "changed, hosted, just seen": ((HOSTED, "central"), (None, "TopologyConfirming")),
    "changed, by nodes alone": (((AUTO, NEW, False, False, False), "central"), (None, "TopologyUnconfirmed")),
    "back, no masters to be seen": (
        ((AUTO, OLD, False, False, False), "interconnect"),
        (None, "TopologyUnconfirmed"),
    ),
    "on the way": (((AUTO, NEW, True, True, True), "central"), (None, "TopologyMigrating")),
    "on the way, from the start": (((AUTO, OLD, True, True, True), None), (None, "TopologyMigrating")),
    "not read": (((AUTO, None, None, None, None), "central"), (None, "TopologyUnknown")),
    "partly read": (((AUTO, NEW, None, True, True), "central"), (None, "TopologyUnknown")),
    "the DaemonSet is gone": (((AUTO, NONE, False, False, False), "interconnect"), (None, "TopologyUnknown")),
    "by choice, at once": (
        ((TopologyChoice.INTERCONNECT, OLD, True, False, False), "central"),
        (Topology.INTERCONNECT, ""),
    ),
    "by choice, blind": (((TopologyChoice.CENTRAL, None, None, None, None), "interconnect"), (Topology.CENTRAL, "")),
}


@pytest.mark.parametrize(("case", "expected"), SETTLED.values(), ids=SETTLED.keys())
def test_what_runs_is_changed_only_for_good_reason(
    case: tuple[Any, str | None], expected: tuple[Topology | None, str]
) -> None:
    view, running = case
    settled = settle(None, detect(TopologyView(*view)), RUNS[running], now=100.0)
    assert (settled.topology, settled.reason) == expected
    assert bool(settled.message) is (settled.topology is None)


def looks(*views: tuple[float, Any]) -> list[Topology | None]:
    """Look again and again while a central tenant's pods run."""
    previous, written = None, []
    for now, view in views:
        previous = settle(previous, detect(TopologyView(*view)), Topology.CENTRAL, now)
        written.append(previous.topology)
    return written


def test_a_change_is_made_once_it_has_been_seen_for_a_minute() -> None:
    assert looks((0, FROM_4_15), (30, FROM_4_15), (59.9, FROM_4_15), (60, FROM_4_15)) == [
        None,
        None,
        None,
        Topology.INTERCONNECT,
    ]


@pytest.mark.parametrize(
    "between",
    [
        (AUTO, None, None, None, None),
        (AUTO, NEW, None, True, True),
        (AUTO, NEW, True, True, True),
        (AUTO, NEW, False, False, False),
        UP_TO_4_13,
    ],
    ids=["blind", "partly read", "signs of both", "unconfirmed", "as before"],
)
def test_a_look_that_shows_less_restarts_the_minute(between: Any) -> None:
    written = looks((0, FROM_4_15), (50, between), (61, FROM_4_15), (120, FROM_4_15), (121, FROM_4_15))
    assert Topology.INTERCONNECT not in written[:4]
    assert written[4] is Topology.INTERCONNECT


def test_while_it_waits_it_says_how_long_and_for_what() -> None:
    finding = detect(TopologyView(*FROM_4_15))
    first = settle(None, finding, Topology.CENTRAL, 10.0)
    assert (first.pending, first.since, first.retry_after) == (Topology.INTERCONNECT, 10.0, 60.0)
    second = settle(first, finding, Topology.CENTRAL, 25.0)
    assert (second.since, second.retry_after) == (10.0, 45.0)
    assert "Central is kept until that has been so for 60 s" in second.message


def test_what_runs_is_read_off_its_containers() -> None:
    def live(*names: str) -> dict[str, Any]:
        return {"spec": {"template": {"spec": {"containers": [{"name": name} for name in names]}}}}

    assert running_topology(live("ovn-controller", "ovnkube-node")) is Topology.CENTRAL
    assert running_topology(live("ovn-controller", "nbdb", "sbdb")) is Topology.INTERCONNECT
    assert running_topology(live("other")) is None
    assert running_topology(None) is None


@given(
    st.lists(
        st.tuples(
            st.floats(0, 40),
            st.sampled_from(
                [UP_TO_4_13, FROM_4_15, HOSTED, (AUTO, None, None, None, None), (AUTO, NEW, True, True, True)]
            ),
        ),
        max_size=20,
    )
)
def test_a_flip_follows_a_minute_of_nothing_but_its_signs(steps: list[tuple[float, Any]]) -> None:
    now, previous = 0.0, None
    seen: list[tuple[float, Any]] = []
    for pause, view in steps:
        now += pause
        seen.append((now, view))
        previous = settle(previous, detect(TopologyView(*view)), Topology.CENTRAL, now)
        if previous.topology is Topology.INTERCONNECT:
            start = max((when for when, other in seen if other not in (FROM_4_15, HOSTED)), default=-1.0)
            first = min(when for when, other in seen if when >= start and other in (FROM_4_15, HOSTED))
            assert now - first >= 60
            return


CANDIDATES = {   # choice, containers in the tenant, containers of ours -> topologies
    "chosen": (TopologyChoice.CENTRAL, ["nbdb"], None, {Topology.CENTRAL}),
    "nodes with zones": (TopologyChoice.AUTO, ["nbdb"], None, {Topology.INTERCONNECT}),
    "nodes without": (TopologyChoice.AUTO, ["ovn-controller"], None, {Topology.CENTRAL}),
    "no nodes": (TopologyChoice.AUTO, None, None, {Topology.UNKNOWN}),
    "on the way": (TopologyChoice.AUTO, ["nbdb"], ["ovnkube-node"], {Topology.INTERCONNECT, Topology.CENTRAL}),
}  # fmt: skip


@pytest.mark.parametrize(("choice", "theirs", "ours", "expected"), CANDIDATES.values(), ids=CANDIDATES.keys())
def test_what_a_tenant_may_have_counts_what_was_written_for(
    choice: TopologyChoice, theirs: list[str] | None, ours: list[str] | None, expected: set[Topology]
) -> None:
    def written(containers: list[str] | None) -> dict[str, dict[str, dict[str, dict[str, Any]]]] | None:
        pods = {"containers": [{"name": name} for name in containers or []]}
        return None if containers is None else {"spec": {"template": {"spec": pods}}}

    assert candidates(choice, written(theirs), written(ours)) == expected
