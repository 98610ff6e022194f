"""Each alert has a page of one form, which tells the alert as it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
RUNBOOKS = ROOT / "docs" / "runbooks"
GROUPS = yaml.safe_load((ROOT / "config" / "prometheus" / "rules.yaml").read_text())["spec"]["groups"]
RULES: dict[str, dict[str, Any]] = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
SECTIONS = ["Meaning", "Impact", "First command", "Ways out"]
UNITS = {"m": "minutes", "h": "hour"}


def sections(alert: str) -> dict[str, str]:
    """The text of each section by its heading; that above the first one by an empty heading."""
    head, *parts = re.split(r"^## ", (RUNBOOKS / f"{alert}.md").read_text(), flags=re.MULTILINE)
    return {"": head} | {title: body.strip() for title, _, body in (part.partition("\n") for part in parts)}


def summary(alert: str) -> str:
    """What the alert says, with an ellipsis for each value."""
    text: str = RULES[alert]["annotations"]["summary"]
    return re.sub(r"\{\{.*?\}\}(?:/\{\{.*?\}\})?", "…", text)


def test_each_alert_has_a_page_and_each_page_an_alert() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} - {"index"} == RULES.keys()


@pytest.mark.parametrize("alert", RULES)
def test_a_page_begins_with_the_words_and_the_severity_of_its_alert(alert: str) -> None:
    head = sections(alert)[""]
    assert head.splitlines()[2:] == [f"**{RULES[alert]['labels']['severity']}**: {summary(alert)}", ""]


@pytest.mark.parametrize("alert", RULES)
def test_a_page_has_meaning_impact_first_command_and_ways_out(alert: str) -> None:
    found = sections(alert)
    assert list(found) == ["", *SECTIONS]
    assert len(re.findall(r"^\$ ", found["First command"], re.MULTILINE)) == 1
    head, rule, *rows = found["Ways out"].splitlines()
    assert (head, rule) == ("| what it shows | what to do |", "|---|---|")
    assert rows
    assert all(len(re.split(r"(?<!\\)\|", row)) == 4 for row in rows)


@pytest.mark.parametrize(
    "alert", [alert for alert, rule in RULES.items() if "for" in rule and "time()" not in rule["expr"]]
)
def test_the_meaning_says_for_how_long_it_has_been_so(alert: str) -> None:
    number, unit = RULES[alert]["for"][:-1], RULES[alert]["for"][-1]
    assert f"{number} {UNITS[unit]}" in " ".join(sections(alert)["Meaning"].split())


def test_the_overview_lists_each_alert_with_severity_and_words() -> None:
    rows = {
        f"| [{alert}]({alert}.md) | {rule['labels']['severity']} | {summary(alert)} |" for alert, rule in RULES.items()
    }
    listed = {line for line in (RUNBOOKS / "index.md").read_text().splitlines() if line.startswith("| [")}
    assert listed == rows
