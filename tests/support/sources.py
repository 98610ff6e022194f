"""Files of the project, read once in a process, whatever number of tests look at them.

What is returned is shared: a test that changes it copies it first.
"""

from __future__ import annotations

import ast
import gc
from functools import cache
from pathlib import Path
from typing import Any

import yaml


@cache
def tree_of(path: Path) -> ast.Module:
    """A module as a tree. Raises: OSError, SyntaxError.

    A tree is many objects that stay: the garbage collector neither runs while they are made nor looks at them later.
    """
    gc.disable()
    try:
        return ast.parse(path.read_text())
    finally:
        gc.freeze()
        gc.enable()


@cache
def documents_in(path: Path) -> tuple[Any, ...]:
    """What a file of YAML holds, an empty document as None. Raises: OSError, yaml.YAMLError."""
    return tuple(yaml.load_all(path.read_text(), yaml.CSafeLoader))
