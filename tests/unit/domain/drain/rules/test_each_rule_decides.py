"""No rule can be left out of `RULES`: some case would be decided otherwise."""

from __future__ import annotations

import pytest

from dpunetop.domain.drain.model.facts import HostView
from dpunetop.domain.drain.rules import cycle
from dpunetop.domain.drain.rules.cycle import RULES, Rule, decide
from unit.domain.drain.rules.test_cycle import CASES, TWO, told

GIVEN: dict[str, tuple[HostView, str]] = {**CASES, **TWO}


def differing(rules: tuple[Rule, ...], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cases that those rules decide otherwise, or not at all."""
    monkeypatch.setattr(cycle, "RULES", rules)
    return [name for name, (given, expected) in GIVEN.items() if outcome(given) != expected]


def outcome(given: HostView) -> str:
    try:
        return told(decide(given))
    except AssertionError:
        return "a rule relies on one that is not there"


def test_with_all_rules_no_case_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert differing(RULES, monkeypatch) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_without_the_rule_some_case_is_decided_otherwise(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    assert differing(tuple(each for each in RULES if each is not rule), monkeypatch)
