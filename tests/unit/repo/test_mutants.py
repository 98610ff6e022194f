"""What `make test-mutants` plants, and that it is there once it is planted."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hack.mutants.__main__ import LIST, MODULES, Fate, bugs, sample
from hack.mutants.changes import changes_of
from hack.mutants.planting import plant
from hack.mutants.survivors import Survivors

TEXT = '''
from __future__ import annotations
from dataclasses import replace
from functools import cached_property

LIMIT = 3
RULES = ("a", "b")

def waits(age: int, held: bool) -> bool:
    """A word for people."""
    if held:
        return True
    return age < LIMIT and any((age, held))

def procedure():
    one = yield "first"
    other = yield "second"
    return one, other

def again(cycle):
    return replace(cycle, state="starting")

def nothing_is_left(one):
    """The type checker tells."""
    assert_never(one)

class Sample:
    age = 1

    @cached_property
    def is_old(self) -> bool:
        return self.age >= LIMIT
'''


@pytest.fixture
def module() -> Iterator[ModuleType]:
    found = ModuleType("planted")
    found.__file__ = "planted.py"
    exec(TEXT, vars(found))
    sys.modules["planted"] = found
    yield found
    del sys.modules["planted"]


def names(owner: str) -> list[str]:
    return [change.name for change in changes_of(ast.parse(TEXT), {}) if change.owner == owner]


def planted(module: ModuleType, owner: str, name: str) -> ModuleType:
    tree = ast.parse(TEXT)
    (change,) = (each for each in changes_of(tree, {}) if (each.owner, each.name) == (owner, name))
    change.apply()
    plant(module, tree, owner)
    return module


def test_of_a_function_conditions_guards_comparisons_and_words_are_changed_and_no_text_for_people() -> None:
    assert names("waits") == [
        "if held: True in place of the test",
        "if held: False in place of the test",
        "age < LIMIT and any((age, held)) -> any((age, held))",
        "age < LIMIT and any((age, held)) -> age < LIMIT",
        "True -> False",
        "age < LIMIT -> age <= LIMIT",
        "age < LIMIT -> age >= LIMIT",
        "any((age, held)) -> all((age, held))",
        "(age, held): without age",
        "(age, held): without held",
    ]


def test_what_the_type_checker_alone_reads_is_left_as_it_is() -> None:
    assert names("nothing_is_left") == []


def test_two_calls_of_which_neither_needs_the_other_are_swapped() -> None:
    assert "other = (yield 'second') before one = (yield 'first')" in names("procedure")


def test_a_record_that_is_written_again_is_made_to_forget() -> None:
    assert "replace(cycle, state='starting') -> replace(cycle, state='starting', opened=False)" in names("again")


def test_a_constant_is_exchanged_wherever_it_is_used(module: ModuleType) -> None:
    assert planted(module, "LIMIT", "3 -> 4").waits(3, False) is True
    assert planted(module, "RULES", "('a', 'b'): without 'a'").RULES == ("b",)


def test_a_function_is_exchanged_for_all_who_have_it(module: ModuleType) -> None:
    waits = module.waits
    planted(module, "waits", "if held: False in place of the test")
    assert (waits(9, True), waits(1, False)) == (False, True)


def test_a_property_is_exchanged_too(module: ModuleType) -> None:
    host_state = module.Sample()
    assert planted(module, "Sample.is_old", "self.age >= LIMIT -> self.age < LIMIT")
    assert host_state.is_old is True


def test_a_survivor_is_listed_with_the_reason_why_nothing_falls(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("# why\n\nx:f: a -> b\n    equivalent: so it is\nx:g: a -> b\n    open: too dear\n")
    known = Survivors.read(path)
    assert [known.is_open(name) for name in ("x:f: a -> b", "x:g: a -> b", "x:h: a -> b")] == [False, True, True]
    path.write_text("x:f: a -> b\n    because\n")
    with pytest.raises(ValueError, match="because"):
        Survivors.read(path)


def test_every_survivor_that_is_listed_can_still_be_planted() -> None:
    assert Survivors.read(LIST).reasons.keys() <= {bug.name for bug in bugs()}


def test_a_share_counts_no_kills_behind_a_bug_of_which_nothing_is_known() -> None:
    first, second, third, fourth = bugs(MODULES[:8])[:4]
    found = sample([(first, Fate.KILLED), (second, Fate.SURVIVED), (third, None), (fourth, Fate.KILLED)])
    assert found == {first: Fate.KILLED, second: Fate.SURVIVED}
