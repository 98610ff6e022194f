"""What the stand-in for the Node Maintenance Operator reports."""

from __future__ import annotations

from typing import Any

from dpunetop.sandbox.standins.nodemaintenance import phase_of, progress


def pods(*names: str) -> list[Any]:
    return [{"metadata": {"namespace": "ns", "name": name}} for name in names]


def test_a_drain_under_way_names_what_is_left() -> None:
    begun = progress({"metadata": {}}, pods("a", "b", "c", "d"))
    later = progress({"status": begun}, pods("c"))
    assert (begun["phase"], begun["drainProgress"], begun["totalpods"]) == ("Running", 0, 4)
    assert (later["drainProgress"], later["totalpods"], later["pendingPods"]) == (75, 4, ["c"])
    assert later["pendingPodsRefs"] == [{"namespace": "ns", "name": "c"}]


def test_a_drain_with_nothing_left_has_succeeded() -> None:
    assert progress({"status": {"totalpods": 4}}, []) == {
        "phase": "Succeeded",
        "drainProgress": 100,
        "totalpods": 4,
        "evictionPods": 4,
    }


def test_an_empty_host_is_drained_at_once() -> None:
    assert progress({"metadata": {}}, [])["drainProgress"] == 100


def test_a_maintenance_that_nobody_has_looked_at_has_no_phase() -> None:
    assert phase_of({"metadata": {}}) == ""
