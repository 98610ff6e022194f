from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dpunetop.kube.conditions import MESSAGE_LIMIT, Condition, Status, changed, condition_of, stamp

OLD, NOW = "2025-12-31T00:00:00Z", "2026-01-01T00:00:00Z"


def stored(status: str = "True", since: str = OLD, **members: object) -> dict[str, object]:
    return {"type": "Ready", "status": status, "lastTransitionTime": since, **members}


def live(*conditions: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "c"}, "status": {"conditions": list(conditions)}}


TIMES = {  # what is stored, what is now said -> since when
    "never said before": (live(), "True", NOW),
    "no status at all": ({"metadata": {}}, "True", NOW),
    "status null": ({"metadata": {}, "status": None}, "True", NOW),
    "conditions null": ({"metadata": {}, "status": {"conditions": None}}, "True", NOW),
    "said before": (live(stored()), "True", OLD),
    "turned": (live(stored()), "False", NOW),
    "said before, without a time": (live(stored(since="")), "True", NOW),
    "said of another condition": (live({**stored(), "type": "Other"}), "True", NOW),
}


@pytest.mark.parametrize(("seen", "status", "since"), TIMES.values(), ids=TIMES.keys())
def test_the_transition_time_moves_only_with_the_status(seen: dict[str, Any], status: Status, since: str) -> None:
    (stamped,) = stamp(seen, [Condition("Ready", status, "Good")], 1, NOW)
    assert stamped["lastTransitionTime"] == since


def test_a_condition_is_stamped_with_all_its_members() -> None:
    assert stamp(live(), [Condition("Ready", "True", "Good", "all is well")], 3, NOW) == [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Good",
            "message": "all is well",
            "observedGeneration": 3,
            "lastTransitionTime": NOW,
        }
    ]


def test_conditions_are_sorted_by_type() -> None:
    said = [Condition(type_, "True", "Good") for type_ in ("b", "c", "a")]
    assert [condition["type"] for condition in stamp(live(), said, 1, NOW)] == ["a", "b", "c"]


def test_a_message_is_cut() -> None:
    (stamped,) = stamp(live(), [Condition("Ready", "True", "Good", "x" * 5000)], 1, NOW)
    assert len(stamped["message"]) == MESSAGE_LIMIT


def test_a_condition_is_found_by_type() -> None:
    assert condition_of(live(stored()), "Ready") == stored()
    assert condition_of(live(stored()), "Other") is None


TYPES = st.sampled_from(["Ready", "McpReady", "OvnKubeReady"])
CONDITIONS = st.builds(
    Condition,
    TYPES,
    st.sampled_from(["True", "False", "Unknown"]),
    st.sampled_from(["Good", "Bad"]),
    st.text(max_size=5),
)


def one_each(conditions: list[Condition]) -> list[Condition]:
    return list({condition.type: condition for condition in conditions}.values())


@given(st.lists(CONDITIONS).map(one_each))
def test_what_is_stored_already_is_stamped_as_it_is(said: list[Condition]) -> None:
    before = stamp(live(), said, 1, OLD)
    assert stamp(live(*before), reversed(said), 1, NOW) == before


class Conditions(RuleBasedStateMachine):
    """Someone says things about an object, again and again; a model notes when each status last turned."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.object = live()
        self.turned: dict[str, tuple[str, str]] = {}  # type -> (status, since)

    @rule(said=st.lists(CONDITIONS, min_size=1).map(one_each), generation=st.integers(1, 3))
    def say(self, said: list[Condition], generation: int) -> None:
        self.now += 1
        time = f"2026-01-01T00:00:{self.now:02d}Z"
        for condition in said:
            if self.turned.get(condition.type, ("", ""))[0] != condition.status:
                self.turned[condition.type] = (condition.status, time)
        stamped = {condition["type"]: condition for condition in stamp(self.object, said, generation, time)}
        kept = {condition["type"]: condition for condition in self.object["status"]["conditions"]}
        self.object = live(*(kept | stamped).values())

    @rule()
    def let_time_pass(self) -> None:
        self.now += 1

    @invariant()
    def each_status_is_as_last_said_and_since_it_turned(self) -> None:
        stored = {c["type"]: (c["status"], c["lastTransitionTime"]) for c in self.object["status"]["conditions"]}
        assert stored == self.turned


Conditions.TestCase.settings = settings(stateful_step_count=10)
TestConditions = Conditions.TestCase


CHANGES = {  # what is stored -> whether saying False/Broken changes it
    "never said before": (live(), True),
    "same, in other words": (live({**stored("False"), "reason": "Broken", "message": "once"}), False),
    "another reason": (live({**stored("False"), "reason": "Else"}), True),
    "another status": (live({**stored("True"), "reason": "Broken"}), True),
}


@pytest.mark.parametrize(("before", "is_change"), CHANGES.values(), ids=CHANGES)
def test_a_condition_changes_with_status_or_reason(before: dict[str, Any], is_change: bool) -> None:
    said = Condition("Ready", "False", "Broken", "twice")
    assert changed(before, [said]) == ([said] if is_change else [])
