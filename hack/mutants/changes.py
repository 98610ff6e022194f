"""The bugs to plant: each is one small change of a module's syntax tree.

The name of a change is its text before and after, without line numbers, so that edits elsewhere do not rename it.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_LONGEST = 130
_A_TABLE = 9
"""A tuple of this length is a table, in which the order matters."""
_UNSEEN = {"annotation", "returns", "decorator_list", "type_params"}
_UNSEEN_NODES = (ast.JoinedStr, ast.ImportFrom, ast.Import, ast.Assert)
"""Calls that make messages, and those that only the type checker reads."""
_LISTS_OF_STATEMENTS = ("body", "orelse", "finalbody")

_OPPOSITES: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_OF_PACE = {"Result"}
"""Enums that only set the time of the next look."""
_OF_A_RECORD = {"state", "maintenance", "node", "failures"}
_MEMORY = {"opened", "disturbed"}
"""The members of a record that each rewrite must keep."""
_CALLED = {"any": "all", "all": "any", "min": "max", "max": "min"}


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a syntax tree."""

    owner: str
    """The qualified name of the function, or the name of the constant, that contains it."""
    name: str
    holder: ast.AST
    field: str
    index: int | None
    value: object

    def apply(self) -> None:
        """Make the change; it cannot be undone."""
        new = self.value
        if self.index is not None:
            old = getattr(self.holder, self.field)
            new = [*old[: self.index], *([] if new is None else [new]), *old[self.index + 1 :]]
        setattr(self.holder, self.field, new)


def changes_of(tree: ast.Module, enums: dict[str, tuple[str, ...]]) -> list[Change]:
    """All changes of a module, in order; equal names within one owner are numbered."""
    found: list[Change] = []
    counts: dict[tuple[str, str], int] = {}
    for owner, node in owners(tree):
        for change in _within(owner, node, enums):
            number = counts[owner, change.name] = counts.get((owner, change.name), 0) + 1
            name = change.name if number == 1 else f"{change.name} #{number}"
            found.append(Change(owner, name, change.holder, change.field, change.index, change.value))
    return found


def owners(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """The replaceable parts of a loaded module: its functions, the methods of its classes, and its constants."""
    for node in tree.body:
        match node:
            case ast.FunctionDef():
                yield node.name, node
            case ast.ClassDef():
                yield from (
                    (f"{node.name}.{each.name}", each) for each in node.body if isinstance(each, ast.FunctionDef)
                )
            case ast.Assign(value=ast.BinOp(op=ast.BitOr()) | ast.Subscript()):
                pass  # a name for a type
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
                yield name, node
            case _:
                pass


def enums_of(paths: list[Path]) -> dict[str, tuple[str, ...]]:
    """The members of every enum that the modules define, by its name."""
    classes = (node for path in paths for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef))
    enums = (node for node in classes if any(ast.unparse(base) in ("Enum", "StrEnum") for base in node.bases))
    return {node.name: tuple(_members(node)) for node in enums if node.name not in _OF_PACE}


def _members(node: ast.ClassDef) -> Iterator[str]:
    for each in node.body:
        if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name):
            yield each.targets[0].id


def _within(owner: str, root: ast.AST, enums: dict[str, tuple[str, ...]]) -> Iterator[Change]:
    todo = [root]
    while todo:
        holder = todo.pop(0)
        for field, value in ast.iter_fields(holder):
            if field in _UNSEEN or _is_signature(holder, field):
                continue
            if isinstance(value, list):
                yield from _in_list(owner, holder, field, value)
            children = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
            for index, child in children:
                if not isinstance(child, ast.AST) or isinstance(child, _UNSEEN_NODES) or _is_for_readers(child):
                    continue
                yield from _of_child(owner, holder, field, index, child, enums)
                if not _is_type(holder, field, index):
                    todo.append(child)


def _of_child(
    owner: str, holder: ast.AST, field: str, index: int | None, child: ast.AST, enums: dict[str, tuple[str, ...]]
) -> Iterator[Change]:
    if isinstance(child, ast.expr):
        for new in _instead(child, enums):
            yield Change(owner, _told(child, new), holder, field, index, new)
        if field == "test" and not isinstance(holder, ast.While) and not _is_narrowing(child):
            for word in (True, False):
                name = f"{_text(holder)}: {word} in place of the test"
                yield Change(owner, name, holder, field, index, ast.Constant(word))
    elif isinstance(child, ast.Expr | ast.Continue) or (isinstance(child, ast.Assign) and len(child.targets) > 1):
        yield Change(owner, f"without {_text(child)}", holder, field, index, ast.Pass())
    elif isinstance(child, ast.Try):
        yield Change(owner, f"without except in {_text(child)}", holder, field, index, _bare(child))


def _instead(node: ast.expr, enums: dict[str, tuple[str, ...]]) -> Iterator[ast.expr]:
    match node:
        case ast.BoolOp(op, values):
            for i in (i for i, each in enumerate(values) if not _is_narrowing(each)):
                left = [*values[:i], *values[i + 1 :]]
                yield left[0] if len(left) == 1 else ast.BoolOp(op, left)
        case ast.UnaryOp(ast.Not(), operand):
            yield operand
        case ast.Compare(left, [op], [right]):
            for other in _OPPOSITES[type(op)]:
                yield ast.Compare(left, [other()], [right])
        case ast.BinOp(left, op, right) if type(op) in _OPERATORS:
            yield ast.BinOp(left, _OPERATORS[type(op)](), right)
        case ast.Constant(bool() as word):
            yield ast.Constant(not word)
        case ast.Constant(int() as number):
            yield ast.Constant(number + 1)
        case ast.Attribute(ast.Name(id=enum), member) if member in enums.get(enum, ()):
            members = enums[enum]
            yield ast.Attribute(
                ast.Name(enum, ast.Load()), members[(members.index(member) + 1) % len(members)], ast.Load()
            )
        case ast.Call(ast.Name(id=name)) if name in _CALLED:
            yield ast.Call(ast.Name(_CALLED[name], ast.Load()), node.args, node.keywords)
        case ast.Call(ast.Name(id="replace"), [first], keywords) if {word.arg for word in keywords} & _OF_A_RECORD:
            for flag in sorted(_MEMORY - {word.arg for word in keywords}):
                forgets = ast.keyword(flag, ast.Constant(False))
                yield ast.Call(node.func, [first], [*keywords, forgets])
        case ast.IfExp(_, body, other):
            yield from (body, other)
        case _:
            pass


def _is_narrowing(node: ast.expr) -> bool:
    """Whether a condition narrows a type; the type checker fails without it."""
    match node:
        case ast.Compare(ops=[ast.Is() | ast.IsNot()], comparators=[ast.Constant(None)]):
            return True
        case ast.Call(ast.Name("isinstance")) | ast.UnaryOp(ast.Not(), ast.Call(ast.Name("isinstance"))):
            return True
    return False


def _in_list(owner: str, holder: ast.AST, field: str, value: list[ast.AST]) -> Iterator[Change]:
    """Remove one of several items, or swap two neighbours."""
    match holder, field:
        case (ast.Call(), "keywords") | (ast.comprehension(), "ifs"):
            yield from _without_each(owner, holder, field, value)
        case ((ast.Tuple(ctx=ast.Load()) | ast.List(ctx=ast.Load()) | ast.Set()), "elts") if len(value) > 1:
            yield from _without_each(owner, holder, field, value)
            if len(value) >= _A_TABLE and owner.isupper():
                yield from _swapped(owner, holder, field, value, lambda one, other: True)
        case _, name if name in _LISTS_OF_STATEMENTS:
            yield from _swapped(owner, holder, field, value, _may_be_swapped)
        case _:
            pass


def _swapped(
    owner: str, holder: ast.AST, field: str, value: list[ast.AST], may_be: Callable[[ast.AST, ast.AST], bool]
) -> Iterator[Change]:
    for i, (one, other) in enumerate(itertools.pairwise(value)):
        if may_be(one, other):
            name = f"{_text(other)} before {_text(one)}"
            yield Change(owner, name, holder, field, None, [*value[:i], other, one, *value[i + 2 :]])


def _may_be_swapped(one: ast.AST, other: ast.AST) -> bool:
    """Whether the second of two calls does not use the result of the first."""
    return _is_call(one) and _is_call(other) and not _bound(one) & _named(other)


def _without_each(owner: str, holder: ast.AST, field: str, value: list[ast.AST]) -> Iterator[Change]:
    for i, each in enumerate(value):
        yield Change(owner, f"{_text(holder)}: without {_text(each)}", holder, field, i, None)


def _is_call(node: ast.AST) -> bool:
    """Whether a statement of a task yields a call."""
    value = getattr(node, "value", None) if isinstance(node, ast.Assign | ast.AnnAssign | ast.Expr) else None
    return isinstance(value, ast.Yield | ast.YieldFrom)


def _bound(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}


def _named(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def _bare(node: ast.Try) -> ast.stmt:
    return ast.If(ast.Constant(True), [*node.body, *node.orelse], [])


def _is_signature(holder: ast.AST, field: str) -> bool:
    is_definition = isinstance(holder, ast.FunctionDef) and field in ("args", "name")
    return is_definition or (isinstance(holder, ast.Assign | ast.AnnAssign) and field in ("target", "targets"))


def _is_for_readers(node: ast.AST) -> bool:
    """Whether it is a docstring, or an exhaustiveness check for the type checker."""
    match node:
        case ast.Expr(ast.Constant()) | ast.Expr(ast.Call(ast.Name("assert_never"))):
            return True
    return False


def _is_type(holder: ast.AST, field: str, index: int | None) -> bool:
    """Whether it is the second argument of `isinstance`, where the type checker finds mistakes."""
    is_call = isinstance(holder, ast.Call) and field == "args" and index == 1
    return is_call and isinstance(holder, ast.Call) and ast.unparse(holder.func) == "isinstance"


def _told(old: ast.expr, new: ast.expr) -> str:
    return f"{_text(old)} -> {_text(new)}"


def _text(node: ast.AST) -> str:
    """The source on one line, cut to a limit."""
    found = " ".join(ast.unparse(ast.fix_missing_locations(node)).split())
    if isinstance(node, ast.If):
        found = f"if {ast.unparse(node.test)}"
    return found if len(found) <= _LONGEST else f"{found[: _LONGEST - 30]} … {found[-27:]}"
