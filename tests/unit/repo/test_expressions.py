"""Every regular expression of the operator takes linear time, whatever it meets. A new one is found by itself."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

import dpunetop
from support.expressions import faults
from support.sources import tree_of

SOURCE = Path(dpunetop.__path__[0])
ROOMS = ("app", "base", "controllers", "domain", "kube", "runtime")
SEARCHES = frozenset({"search", "finditer", "findall", "sub", "subn"})
SEARCHED_MEMBER = "spelling"
"""An item of `Row.spellings`, the one place where expressions are looked for that no module has by name."""


def modules() -> list[ModuleType]:
    found = pkgutil.walk_packages(dpunetop.__path__, "dpunetop.")
    names = [each.name for each in found if each.name.split(".")[1] in ROOMS]
    return [importlib.import_module(name) for name in names]


def patterns_in(path: str, value: object) -> Iterator[tuple[str, re.Pattern[str]]]:
    """Expressions in a value, and where in it they are."""
    if isinstance(value, re.Pattern):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from patterns_in(f"{path}[{key!r}]", item)
    elif isinstance(value, tuple | list | set | frozenset):
        for number, item in enumerate(value):
            yield from patterns_in(f"{path}[{number}]", item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from patterns_in(f"{path}.{field.name}", getattr(value, field.name))


@dataclasses.dataclass(frozen=True)
class Expression:
    """One of them: in which module, where in it, and what."""

    module: ModuleType
    path: str
    pattern: re.Pattern[str]

    def __str__(self) -> str:
        return f"{self.module.__name__}.{self.path}"

    @property
    def is_searched(self) -> bool:
        """Whether it is looked for in a text, or matched from its start."""
        name = re.split(r"[.\[]", self.path, maxsplit=1)[0]
        return name in searched_names(Path(str(self.module.__file__))) or f".{SEARCHED_MEMBER}" in self.path


@cache
def registry() -> tuple[Expression, ...]:
    """All of them. No source is parsed for it: tests are named with it in each process."""
    return tuple(
        Expression(module, path, pattern)
        for module in modules()
        for name, value in vars(module).items()
        for path, pattern in patterns_in(name, value)
    )


@cache
def searched_names(path: Path) -> frozenset[str]:
    return frozenset(owner for owner, method in calls(tree_of(path)) if method in {*SEARCHES, "split"})


def calls(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Each call of a method: the last word of what it is called on, and its name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            word = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
            yield word, node.func.attr


def outermost(node: ast.AST) -> Iterator[ast.AST]:
    """The functions that are in no other one: what is in them is looked through once."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
        else:
            yield from outermost(child)


def sources() -> list[Path]:
    return [path for room in ROOMS for path in sorted((SOURCE / room).rglob("*.py"))]


@pytest.mark.parametrize("expression", registry(), ids=str)
def test_takes_linear_time(expression: Expression) -> None:
    assert faults(expression.pattern, searched=expression.is_searched) == [], expression


def test_none_is_built_while_something_runs() -> None:
    for path in sources():
        inside = [call for function in outermost(tree_of(path)) for call in calls(function) if call[0] == "re"]
        assert inside == [], path


def test_each_that_is_looked_for_is_known_to_be() -> None:
    for path in sources():
        tree = tree_of(path)
        named = {target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets
                 if isinstance(target, ast.Name)}  # fmt: skip
        unknown = {owner for owner, method in calls(tree) if method in SEARCHES} - named
        assert unknown <= {SEARCHED_MEMBER}, path


def test_no_module_calls_re_but_to_compile() -> None:
    for path in sources():
        assert {method for owner, method in calls(tree_of(path)) if owner == "re"} <= {"compile"}, path


def test_many_are_found() -> None:
    assert len(registry()) > 100
