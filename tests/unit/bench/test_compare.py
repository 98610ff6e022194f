from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import compare
from bench.compare import changes, kind, shown_changes, stored
from bench.report import Bar, Better, Report

MACHINE = {"cpu": "a", "cores": 2, "python": "3.11.7", "load_before": 1.0}


def run(machine: dict[str, Any] | None = None, **values: float) -> dict[str, Any]:
    made = Report(machine or MACHINE)
    made.add("P1", "writes", values.get("writes", 100.0), bar=Bar(most=340))
    made.add("P1", "seconds", values.get("seconds", 2.0), "s")
    made.add("P1", "efficiency", values.get("efficiency", 0.8), better=Better.MORE)
    made.add("P5", "p99", values.get("p99", 0.2), "s", better=Better.NEITHER)
    return dict(json.loads(made.json()))


@pytest.mark.parametrize(
    ("figure", "now", "is_worse"),
    [
        ("seconds", 2.2, False),
        ("seconds", 2.4, True),
        ("seconds", 0.5, False),
        ("efficiency", 0.75, False),
        ("efficiency", 0.6, True),
        ("efficiency", 1.0, False),
        ("p99", 9.0, False),
    ],
)
def test_a_figure_is_worse_when_it_moved_by_more_than_a_machine_differs_from_itself(
    figure: str, now: float, is_worse: bool
) -> None:
    found = changes(run(None, **{figure: now}), run())
    assert [each.what for each in found if each.is_worse] == ([figure] if is_worse else [])


def test_a_value_that_was_zero_and_no_longer_is_counts_as_worse() -> None:
    assert [each.what for each in changes(run(writes=1.0), run(writes=0.0)) if each.is_worse] == ["writes"]
    assert not [each for each in changes(run(writes=0.0), run(writes=0.0)) if each.is_worse]


def test_times_of_machines_of_two_kinds_are_not_compared_and_numbers_are() -> None:
    other = {**MACHINE, "cpu": "b"}
    found = changes(run(other, seconds=20.0, writes=200.0), run())
    assert [(each.what, each.is_worse) for each in found] == [("writes", True), ("efficiency", False)]


def test_a_machine_is_of_one_kind_whatever_its_load_and_the_patch_of_python() -> None:
    assert kind(MACHINE) == kind({**MACHINE, "python": "3.11.9", "load_before": 9.0})
    assert kind(MACHINE) != kind({**MACHINE, "python": "3.12.1"})


def test_what_only_one_run_has_is_left_out() -> None:
    assert changes(run(), {"machine": MACHINE, "figures": []}) == []


def test_a_run_of_one_part_takes_the_place_of_that_part_alone() -> None:
    only = run(p99=0.1)
    only["figures"] = only["figures"][-1:]
    made = stored(only, stored(run(), None))
    assert [(each["part"], each["value"]) for each in made["figures"]] == [
        ("P1", 100.0),
        ("P1", 2.0),
        ("P1", 0.8),
        ("P5", 0.1),
    ]
    with pytest.raises(ValueError, match="another kind"):
        stored(run({**MACHINE, "cores": 64}), made)


def test_the_table_names_what_is_worse() -> None:
    lines = shown_changes(changes(run(seconds=4.0, writes=0.0), run(writes=0.0))).splitlines()
    assert lines[2:4] == [
        "| P1   | writes     |      0 |   0 |      |        |       |",
        "| P1   | seconds    |      2 |   4 | s    | +100 % | WORSE |",
    ]


def test_the_command_stores_a_run_and_fails_when_the_next_is_worse(tmp_path: Path) -> None:
    first, second, baseline = tmp_path / "first.json", tmp_path / "second.json", tmp_path / "baseline.json"
    first.write_text(json.dumps(run()))
    second.write_text(json.dumps(run(seconds=4.0)))
    where = ["--baseline", str(baseline)]
    assert compare.main([str(first), *where]) == 2
    assert compare.main([str(first), *where, "--store"]) == 0
    assert compare.main([str(first), *where]) == 0
    assert compare.main([str(second), *where]) == 1
