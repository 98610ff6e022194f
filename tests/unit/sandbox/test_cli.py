"""The flags of the command `sandbox`."""

from __future__ import annotations

import re

import pytest

from dpunetop.sandbox.cli import NO_SCENARIO, sandbox
from dpunetop.sandbox.scenarios import SCENARIOS
from dpunetop.sandbox.seed import ROOT


@pytest.mark.parametrize(
    "flags", [["--dpus", "0"], ["--dpus", "many"], ["--dpus", "201"], ["--unknown"], ["--scenario", "flood"]], ids=str
)
def test_a_flag_that_cannot_be_used_ends_with_2_before_anything_is_started(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        sandbox(flags)
    assert (ended.value.code, capsys.readouterr().out) == (2, "")


def test_each_scenario_is_in_the_quick_start_of_the_docs() -> None:
    page = (ROOT / "docs" / "quickstart.md").read_text()
    told = dict(re.findall(r"(?m)^\| `([a-z-]+)` \| (.+) \|$", page))
    assert told == {**{word: each.title for word, each in SCENARIOS.items()}, NO_SCENARIO: "nothing"}
