"""Each DPU is at home in one slot, and a host that we have left something on has one too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given as over
from hypothesis import strategies as st

from dpunetop.domain.drain.fleet.roster import (
    Member,
    Mode,
    PodEntry,
    RosterView,
    Slot,
    held,
    hosts_of,
    served_hosts,
    slots,
)
from dpunetop.domain.drain.model.facts import HoldReason, Reason
from dpunetop.domain.pairing.pairing import Pair, host_of
from support.drainviews import closed
from support.rosters import roster


def pair(dpu: str, host: str | None) -> Pair:
    return Pair(dpu, host, f"TENANT_K8S_NODE={host}\n" if host else "", dpu if host else "")


def roster_view(mode: Mode = Mode.SERVING, **but: Any) -> RosterView:
    given: dict[str, Any] = {
        "pairs": {},
        "selected": frozenset(),
        "dropped": frozenset(),
        "guarded": frozenset(),
        "serves": {},
        "entries": {},
        "configured": frozenset(),
        "left": frozenset(),
    }
    return RosterView(mode=mode, **{**given, **but})


def seen(mode: Mode = Mode.SERVING, **but: Any) -> dict[tuple[str, str], list[tuple[str, bool, str | None]]]:
    """Place to its members: name, whether it is at home there, and whom it is paired with."""
    found = slots(roster_view(mode, **but))
    return {place: [(m.dpu, m.is_home, m.pairing) for m in slot.members] for place, slot in found.items()}


CASES: dict[str, tuple[dict[str, Any], dict[tuple[str, str], list[tuple[str, bool, str | None]]]]] = {
    "a DPU that has no host": ({"selected": frozenset("a")}, {("dpu", "a"): [("a", True, None)]}),
    "a pair": (
        {"selected": frozenset("a"), "pairs": {"a": pair("a", "x")}},
        {("host", "x"): [("a", True, "x")]},
    ),
    "a wish without a node": ({"pairs": {"a": pair("a", "x")}}, {}),
    "two DPUs in one host": (
        {"selected": frozenset("ab"), "pairs": {"a": pair("a", "x"), "b": pair("b", "x")}},
        {("host", "x"): [("a", True, "x"), ("b", True, "x")]},
    ),
    "a DPU that moves is at home where it serves": (
        {"selected": frozenset("a"), "pairs": {"a": pair("a", "y")}, "serves": {"a": "x"}},
        {("host", "x"): [("a", True, "y")], ("host", "y"): [("a", False, "y")]},
    ),
    "a DPU with a foot in three hosts": (
        {"pairs": {"a": pair("a", "y")}, "serves": {"a": "x"}, "entries": {"a": PodEntry("TENANT_K8S_NODE=z\n")}},
        {
            ("host", "x"): [("a", True, "y")],
            ("host", "y"): [("a", False, "y")],
            ("host", "z"): [("a", False, "y")],
        },
    ),
    "an entry that nobody can read": (
        {"entries": {"a": PodEntry("scribble")}},
        {("dpu", "a"): [("a", True, None)]},
    ),
    "an entry that nobody asks for": (
        {"entries": {"a": PodEntry("TENANT_K8S_NODE=x\n")}},
        {("host", "x"): [("a", True, None)]},
    ),
    "a host with a maintenance of ours": ({"left": frozenset("x")}, {("host", "x"): []}),
    "a blocker without anything": ({"guarded": frozenset("a")}, {("dpu", "a"): [("a", True, None)]}),
}


@pytest.mark.parametrize(("given", "expected"), CASES.values(), ids=CASES.keys())
def test_who_has_to_do_with_whom(given: Any, expected: Any) -> None:
    assert seen(**given) == expected


def test_at_the_end_nobody_is_paired_and_who_serves_is_still_at_home_with_the_host() -> None:
    given: dict[str, Any] = {"selected": frozenset("a"), "pairs": {"a": pair("a", "x")}}
    entries = {"a": PodEntry("TENANT_K8S_NODE=x\n")}
    for mode in (Mode.LEADING_OUT, Mode.LEAVING):
        assert seen(mode, **given) == {("dpu", "a"): [("a", True, None)]}
        assert seen(mode, **given, entries=entries) == {("host", "x"): [("a", True, None)]}
        assert seen(mode, **given, serves={"a": "x"}) == {("host", "x"): [("a", True, None)]}


def test_the_dpu_whose_entry_names_the_host_serves_it() -> None:
    view = roster_view(
        pairs={"a": pair("a", "x"), "b": pair("b", "x")},
        selected=frozenset("ab"),
        entries={"b": PodEntry("TENANT_K8S_NODE=x\n")},
    )
    found = slots(view)
    assert found["host", "x"].serving == "b"
    hold = HoldReason(Reason.TEARDOWN, "")
    assert held(found, {"x": hold})["host", "x"].not_now is hold
    assert hosts_of(found) == {"x"}


def test_a_host_is_served_by_what_protects_it_and_by_what_pods_read() -> None:
    assert served_hosts([closed(), closed(serves="")], {}) == ["host-1"]
    assert served_hosts([], {"a": "TENANT_K8S_NODE=x\n", "b": "scribble"}) == ["x"]


def test_a_dpu_without_a_host_serves_nobody_whatever_is_written() -> None:
    (slot,) = slots(roster_view(entries={"a": PodEntry("scribble")})).values()
    assert (slot.host, slot.serving) == ("", None)


def test_all_that_is_known_of_a_dpu_comes_with_it() -> None:
    entry = PodEntry("TENANT_K8S_NODE=x\n", foreign=True, idle="p1")
    view = roster_view(
        pairs={"a": replace(pair("a", "x"), problem="both say something else")},
        entries={"a": entry},
        dropped=frozenset("a"),
        configured=frozenset("a"),
        stuck={"a": "its pool is paused"},
    )
    member = Member("a", "x", "TENANT_K8S_NODE=x\n", True, entry, is_home=True, is_dropped=True)
    member = replace(member, problem="both say something else", stuck="its pool is paused")
    assert slots(view) == {("host", "x"): Slot("x", (member,))}


def tenant(**condition: str) -> Any:
    """What hosts share while the tenant has that condition."""
    known = roster()
    said = {"type": "TenantReachable", "status": "True", "reason": "Reachable", "message": "", **condition}
    return replace(known, config=replace(known.config, live={"status": {"conditions": [said]}})).shared()


HEARD: dict[str, tuple[dict[str, str], bool]] = {
    "it is as it was": ({}, False),
    "only the words differ": ({"message": "once more"}, False),
    "its status is another": ({"status": "False"}, True),
    "its reason is another": ({"reason": "Elsewhere"}, True),
    "it is about the credentials": ({"type": "CredentialsValid"}, True),
    "it is about something else": ({"type": "PairsHealthy"}, True),
}


@pytest.mark.parametrize(("condition", "hears"), HEARD.values(), ids=HEARD.keys())
def test_every_host_hears_of_what_is_said_of_the_tenant_when(condition: dict[str, str], hears: bool) -> None:
    assert (tenant(**condition) != tenant()) is hears


def test_only_hosts_that_are_named_have_to_wait() -> None:
    found = slots(roster_view(pairs={"a": pair("a", "x"), "b": pair("b", "y")}, selected=frozenset("abc")))
    hold = HoldReason(Reason.NO_FREE_SLOT, "")
    waiting = held(held(found, {"x": hold, "y": hold}), {"x": hold, "z": hold})
    assert {place: slot.not_now for place, slot in waiting.items()} == {
        ("host", "x"): hold,
        ("host", "y"): None,
        ("dpu", "c"): None,
    }


DPUS, HOSTS = st.sampled_from("abcd"), st.sampled_from("xyz")
SETS = st.frozensets(DPUS)
VIEWS = st.builds(
    lambda mode, pairs, serves, entries, **more: roster_view(
        mode,
        pairs={dpu: pair(dpu, host) for dpu, host in pairs.items()},
        serves=serves,
        entries={dpu: PodEntry(f"TENANT_K8S_NODE={host}\n" if host else "scribble") for dpu, host in entries.items()},
        **more,
    ),
    st.sampled_from(Mode),
    st.dictionaries(DPUS, HOSTS | st.none()),
    st.dictionaries(DPUS, HOSTS),
    st.dictionaries(DPUS, HOSTS | st.none()),
    selected=SETS,
    dropped=SETS,
    guarded=SETS,
    configured=SETS,
    left=st.frozensets(HOSTS),
)


@over(VIEWS)
def test_each_dpu_is_at_home_in_exactly_one_slot(view: RosterView) -> None:
    homes = [member.dpu for slot in slots(view).values() for member in slot.members if member.is_home]
    assert sorted(homes) == sorted({*view.selected, *view.guarded, *view.serves, *view.entries})


@over(VIEWS)
def test_a_dpu_that_serves_under_a_mark_is_at_home_with_that_host(view: RosterView) -> None:
    found = slots(view)
    for dpu, host in view.serves.items():
        assert [m.is_home for m in found["host", host].members if m.dpu == dpu] == [True]


@over(VIEWS)
def test_every_host_that_anybody_has_to_do_with_has_a_slot_with_all_of_them(view: RosterView) -> None:
    found = slots(view)
    assert view.left <= hosts_of(found)
    for (kind, name), slot in found.items():
        assert (kind, name) == (("host", slot.host) if slot.host else ("dpu", slot.members[0].dpu))
        for member in slot.members:
            written = host_of(member.dpu, member.entry.text)
            assert slot.host in (view.serves.get(member.dpu, ""), member.pairing or "", written)
    for dpu, entry in view.entries.items():
        if host := host_of(dpu, entry.text):
            assert dpu in [member.dpu for member in found["host", host].members]


@over(VIEWS)
def test_a_config_that_ends_pairs_no_dpu_and_wants_no_entry(view: RosterView) -> None:
    members = [member for slot in slots(view).values() for member in slot.members]
    if view.mode is not Mode.SERVING:
        assert {(member.pairing, member.text) for member in members} <= {(None, "")}
