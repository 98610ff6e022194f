"""No test depends on how fast a machine is: a limit is so long that only a fault meets it, or it is to be met."""

from __future__ import annotations

import ast
import configparser
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from support.sources import tree_of

ROOT = Path(__file__).parents[3]
LONGEST_PAUSE_SECONDS = 0.5
"""No more is a pause between two looks, and no limit."""
LEAST_LIMIT_SECONDS = 30.0
LEAST_TEST_SECONDS = 300.0
WAITS = {"join", "result", "wait", "wait_for", "until", "eventually", "wait_condition", "wait_ready", "communicate"}
LIMITS = {"timeout", "within", "timeout_seconds"}
ON_A_CLOCK_OF_THEIR_OWN = {"tests/unit/base/test_clock.py", "tests/unit/base/test_stop.py"}
OURS = {"bench", "real", "neighbours"}
"""What is not run to find out whether a change is good."""


def files() -> list[Path]:
    found = (path for path in (ROOT / "tests").rglob("*.py") if path.relative_to(ROOT).parts[1] not in OURS)
    return sorted(path for path in found if path != Path(__file__))


def number(node: ast.expr) -> float | None:
    value = node.value if isinstance(node, ast.Constant) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def name_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


@cache
def calls_and_questions(file: Path) -> list[ast.AST]:
    """What a limit may stand in. Each file is walked once in a process."""
    return those_of(tree_of(file))


def those_of(tree: ast.Module) -> list[ast.AST]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call | ast.Compare | ast.UnaryOp)]


def short_limits(nodes: list[ast.AST]) -> Iterator[ast.expr]:
    """Limits that a busy machine passes; not where it is asserted that nothing comes: then they are met."""
    met = {id(call) for node in nodes for call in expected_to_be_met(node)}
    for node in nodes:
        if isinstance(node, ast.Call) and id(node) not in met:
            given = [keyword.value for keyword in node.keywords if keyword.arg in LIMITS]
            given += node.args[-1:] if name_of(node) in WAITS and not is_count(node) else []
            yield from (each for each in given if LONGEST_PAUSE_SECONDS < (number(each) or 0.0) < LEAST_LIMIT_SECONDS)


def is_count(call: ast.Call) -> bool:
    """Such as `until(2)`: how many are waited for."""
    return name_of(call) == "until" and len(call.args) == 1


def expected_to_be_met(node: ast.AST) -> Iterator[ast.AST]:
    is_not = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    is_none = isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Is) and "None" in ast.unparse(node)
    if is_not or is_none:
        yield from ast.walk(node)


def races_with_the_clock(nodes: list[ast.AST]) -> Iterator[ast.expr]:
    """Comparisons of what has passed on a clock with less than what only a fault takes."""
    for node in nodes:
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Lt | ast.LtE):
            most = number(node.comparators[-1])
            if most is not None and most < LEAST_LIMIT_SECONDS and "time.monotonic() - " in ast.unparse(node):
                yield node


@pytest.mark.parametrize("file", files(), ids=lambda path: str(path.relative_to(ROOT / "tests")))
def test_no_limit_is_met_by_a_machine_that_is_only_slow(file: Path) -> None:
    nodes = calls_and_questions(file)
    found = [*short_limits(nodes), *races_with_the_clock(nodes)]
    told = [f"line {each.lineno}: {ast.unparse(each)}" for each in found]
    assert told == [] or str(file.relative_to(ROOT)) in ON_A_CLOCK_OF_THEIR_OWN


def test_a_test_is_given_up_so_late_that_only_one_which_hangs_is() -> None:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    marks = [
        float(ast.literal_eval(node.args[0]))
        for file in files()
        for node in calls_and_questions(file)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.timeout"
    ]
    assert min([settings.getfloat("tool:pytest", "timeout"), *marks]) >= LEAST_TEST_SECONDS


SHORT = """
    thread.join(5)
    assert event.wait(5)
    assert process.wait(10) == 0
    process.communicate(timeout=10)
    trial.wait("Ready", "True", within=20.0)
    assert time.monotonic() - began < 1.0
    assert (reason, time.monotonic() - began < 3.0) == ("Timeout", True)
"""
LONG = """
    thread.join(60)
    pause.wait(0.05)
    assert not event.wait(1.0)
    assert process.wait(1.0) is None
    assert time.monotonic() - began < CALL_SECONDS
"""


def test_each_kind_of_short_limit_is_found_and_no_other() -> None:
    found = [[*short_limits(nodes), *races_with_the_clock(nodes)] for nodes in map(parsed, (SHORT, LONG))]
    assert [len(each) for each in found] == [len(SHORT.split("\n")) - 2, 0]


def parsed(text: str) -> list[ast.AST]:
    return those_of(ast.parse(textwrap.dedent(text)))
