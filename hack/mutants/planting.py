"""Replaces a loaded function or constant by a changed one, in a process that ends afterwards."""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType


def plant(module: ModuleType, tree: ast.Module, owner: str) -> None:
    """Replace the function or constant `owner` by the one in the changed tree of the module.

    Raises: any exception of the changed expression of a constant.
    """
    ast.fix_missing_locations(tree)
    function = _function(module, owner)
    if function is None:
        _exchange(owner, getattr(module, owner), _value(module, tree, owner))
        return
    compiled = compile(tree, str(module.__file__), "exec", dont_inherit=True)
    function.__code__ = next(code for code in _codes(compiled) if code.co_qualname == owner)


def _function(module: ModuleType, owner: str) -> FunctionType | None:
    """The function of that name below its decorators; None: it is a constant."""
    found: object = module
    for name in owner.split("."):
        found = inspect.getattr_static(found, name)
    match found:
        case property(fget=FunctionType() as inner) | functools.cached_property(func=FunctionType() as inner):
            return inner
        case FunctionType():
            return found
    return None


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _codes(each)


def _value(module: ModuleType, tree: ast.Module, owner: str) -> object:
    """The constant, evaluated again in its module."""
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == owner and isinstance(node, ast.Assign | ast.AnnAssign):
            assert node.value is not None
            text = ast.Expression(node.value)
            return eval(compile(text, str(module.__file__), "eval", dont_inherit=True), vars(module))
    raise LookupError(owner)


def _exchange(name: str, old: object, new: object) -> None:
    """Replace the constant in every module that has imported it."""
    for module in list(sys.modules.values()):
        if vars(module).get(name) is old:
            setattr(module, name, new)
