"""How many names a reader meets who follows one Secret, from the watch event to what is written.

They are the functions, the classes and the parameters of the room between the read of a kubeconfig and the plans of
what is written: steps 6 and 8 of `docs/architecture.md`. A name that is added there takes the place of another.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import dpunetop
from support.sources import tree_of

ROOM = Path(dpunetop.__file__).parent / "controllers" / "tenant"
MOST = 259
"""346 once, when the name of the tenant's cluster, its answers and its rights were handed on one by one."""


def names(tree: ast.Module) -> Iterator[str]:
    """The names that a module defines for its reader."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        if isinstance(node, ast.arg) and node.arg != "self":
            yield node.arg


def test_the_way_of_one_secret_stays_as_short_as_it_is() -> None:
    found = {path.name: len(list(names(tree_of(path)))) for path in ROOM.glob("*.py")}
    assert sum(found.values()) <= MOST, found
