"""What the stand-in for the Node Maintenance Operator reports."""

from __future__ import annotations

from typing import Any

from dpunetop.sandbox.standins.nodemaintenance import first_status, phase_of, progress


def pods(*names: str) -> list[Any]:
    return [{"metadata": {"namespace": "ns", "name": name}} for name in names]


def test_a_drain_under_way_names_what_is_left() -> None:
    begun = first_status(pods("daemon", "a", "b", "c", "d"), pods("a", "b", "c", "d"))
    later = progress({"status": begun}, pods("c"))
    assert (begun["phase"], begun["drainProgress"], begun["totalpods"], begun["evictionPods"]) == ("Running", 0, 5, 4)
    assert (later["phase"], later["drainProgress"], later["pendingPods"]) == ("Running", 75, ["c"])
    assert later["pendingPodsRefs"] == [{"namespace": "ns", "name": "c"}]


def test_a_drain_with_nothing_left_has_succeeded_and_leaves_its_last_error() -> None:
    assert progress({"status": {"evictionPods": 4, "lastError": "timeout"}}, []) == {
        "phase": "Succeeded",
        "drainProgress": 100,
        "pendingPods": None,
        "pendingPodsRefs": None,
    }


def test_a_drain_that_takes_too_long_says_so() -> None:
    assert progress({"status": {"evictionPods": 4}}, pods("a"), "timeout")["lastError"] == "timeout"


def test_of_a_host_that_had_nothing_to_evict_no_progress_is_told() -> None:
    assert "drainProgress" not in progress({"status": {"evictionPods": 0}}, pods("late"))


def test_a_maintenance_that_nobody_has_looked_at_has_no_phase() -> None:
    assert phase_of({"metadata": {}}) == ""
