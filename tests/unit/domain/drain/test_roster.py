"""Each DPU is at home in one slot, and a host that we have left something on has one too."""

from __future__ import annotations

from typing import Any

import pytest

from dpunetop.domain.drain.facts import Hold, Reason
from dpunetop.domain.drain.roster import Entry, Mode, RosterView, held, hosts_of, runs_on, slots
from dpunetop.domain.pairing import Pair
from support.drainviews import CYCLE, STARTING, closed


def pair(dpu: str, host: str | None) -> Pair:
    return Pair(dpu, host, f"TENANT_K8S_NODE={host}\n" if host else "", dpu if host else "")


def seen(mode: Mode = Mode.SERVING, **but: Any) -> dict[tuple[str, str], list[tuple[str, bool, str | None]]]:
    """Place to its members: name, whether it is at home there, and whom it is paired with."""
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
    found = slots(RosterView(mode=mode, **{**given, **but}))
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
    "an entry that nobody asks for": (
        {"entries": {"a": Entry("TENANT_K8S_NODE=x\n")}},
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
    entries = {"a": Entry("TENANT_K8S_NODE=x\n")}
    assert seen(Mode.ENDING, **given, entries=entries) == {("host", "x"): [("a", True, "x")]}
    assert seen(Mode.ENDING, **given, serves={"a": "x"}) == {("host", "x"): [("a", True, None)]}
    assert seen(Mode.LEAVING, **given) == {("dpu", "a"): [("a", True, None)]}
    assert seen(Mode.LEAVING, **given, serves={"a": "x"}) == {("host", "x"): [("a", True, None)]}


def test_the_dpu_whose_entry_names_the_host_serves_it() -> None:
    view = RosterView(
        mode=Mode.SERVING,
        pairs={"a": pair("a", "x"), "b": pair("b", "x")},
        selected=frozenset("ab"),
        dropped=frozenset(),
        guarded=frozenset(),
        serves={},
        entries={"b": Entry("TENANT_K8S_NODE=x\n")},
        configured=frozenset(),
        left=frozenset(),
    )
    found = slots(view)
    assert found["host", "x"].serving == "b"
    hold = Hold(Reason.TEARDOWN, "")
    assert held(found, {"x": hold})["host", "x"].not_now is hold
    assert hosts_of(found) == {"x"}


def test_a_drain_has_left_something_once_its_maintenance_is_known() -> None:
    assert runs_on([closed(), closed(STARTING), closed(CYCLE)]) == ["host-1"]
