"""The page of safety rules names code and tests that exist, and every rule that code or tests cite is on it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from support.sources import tree_of

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "safety.md").read_text()
CODE = re.compile(r"`([a-z0-9_/]+\.py):(\w+)`")
TESTS = re.compile(r"`(tests/[a-z0-9_/]+\.py)::(test_\w+)`")
CITED = re.compile(r"\brules? (\d+(?:(?:, | and | to )\d+)*)", re.IGNORECASE)
RULES: dict[int, str] = {
    int(number): text
    for number, text in re.findall(r"^## Rule (\d+): (.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
}


@cache
def names_in(path: str) -> frozenset[str]:
    """What a module defines at its top level."""
    body = tree_of(ROOT / path).body
    defined = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in body if isinstance(node, ast.AnnAssign)]
    return frozenset(defined | {target.id for target in targets if isinstance(target, ast.Name)})


def cited(text: str) -> set[int]:
    """The numbers of the rules that a text cites; `4 to 6` cites each between."""
    found: set[int] = set()
    for numbers in CITED.findall(text):
        for part in re.split(", | and ", numbers):
            first, _, last = part.partition(" to ")
            found |= set(range(int(first), int(last or first) + 1))
    return found


def docstrings(path: Path) -> str:
    """Those of a module, and none of one that cites no rule anywhere: most files need not be parsed."""
    tree = tree_of(path) if CITED.search(path.read_text()) else ast.Module([], [])
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef)
    return "\n".join(ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, owners))


def test_the_rules_are_numbered_without_a_gap() -> None:
    assert list(RULES) == list(range(1, len(RULES) + 1))


@pytest.mark.parametrize("number", RULES)
def test_code_and_tests_that_a_rule_names_exist(number: int) -> None:
    code, tests = CODE.findall(RULES[number]), TESTS.findall(RULES[number])
    assert code
    assert tests
    found = [(f"src/dpunetop/{path}", name) for path, name in code] + tests
    assert [f"{path}:{name}" for path, name in found if name not in names_in(path)] == []


@pytest.mark.parametrize("folder", ["src", "tests"])
def test_every_rule_that_is_cited_is_on_the_page(folder: str) -> None:
    found = {number: path for path in sorted((ROOT / folder).rglob("*.py")) for number in cited(docstrings(path))}
    assert {number: path for number, path in found.items() if number not in RULES} == {}
    assert found


def test_each_module_of_the_rules_says_which_rule_it_keeps() -> None:
    modules = {path.name: path for path in (ROOT / "src/dpunetop/domain/drain/rules").glob("*.py")}
    without = {name for name, path in modules.items() if not cited(ast.get_docstring(tree_of(path)) or "")}
    assert without == {"__init__.py", "cycle.py"}
