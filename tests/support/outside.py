"""All that leaves the process and that somebody outside relies on, as lines of text.

Names of modules, classes and variables may change; none of these lines may, unless the changelog says so: a
controller's name is its field manager and a label of its metrics, a label is how a later release finds its objects.

`PYTHONPATH=tests python -m support.outside` writes the lines anew into `tests/data/outside`.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from prometheus_client.registry import Collector

from dpunetop.app import settings, wiring
from dpunetop.app.measuring import FAMILIES
from dpunetop.domain import names
from dpunetop.domain.drain.model.record import Cycle, State, render_cycle
from dpunetop.kube.keys import Resource
from dpunetop.runtime.metrics import Metrics
from support.sources import tree_of

RECORDED = Path(__file__).parents[1] / "data" / "outside"
_SOURCE = Path(wiring.__file__).parents[1]
_ROOMS = ("kube", "domain", "runtime", "controllers", "app")
CAMEL_CASE = re.compile(r"[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*")
_VARIABLE = re.compile(r"\[([A-Z][A-Z0-9_]*)\]")


def agreed_names() -> Iterator[str]:
    """Labels, annotations and names of objects: values of `domain.names`, and what its functions make of examples."""
    for name, value in vars(names).items():
        if name.isupper() and isinstance(value, str | Resource | tuple):
            yield _shown(value)
    for made in (names.machine_config_name, names.blocker_name, names.maintenance_name, names.open_for):
        yield f"{made.__name__}: {made('example')}"
        yield f"{made.__name__}, long: {made('example-' * 30)}"
    yield f"owner_hash: {names.owner_hash('uid', 'namespace', 'name')}"


def _shown(value: str | Resource | tuple[object, ...]) -> str:
    if isinstance(value, Resource):
        return f"{value.group}/{value.version} {value.plural} {value.kind}"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else value


def field_managers() -> Iterator[str]:
    """Who writes: each controller under its name, by which its queue and its metrics are called too."""
    for tree in _trees("controllers"):
        for name in _controller_names(tree):
            yield names.field_manager(name)
    yield f"events: {wiring.COMPONENT}"
    yield f"Lease: {names.OPERATOR_LEASE}"


def _controller_names(tree: ast.Module) -> Iterator[str]:
    constants = {name: value for node in tree.body for name, value in _assigned(node)}
    for class_ in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        for name, value in (pair for node in class_.body for pair in _assigned(node)):
            if name == "name":
                yield str(ast.literal_eval(constants[value.id] if isinstance(value, ast.Name) else value))


def _assigned(node: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        yield node.targets[0].id, node.value
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        yield node.target.id, node.value


def words() -> Iterator[str]:
    """Reasons, condition types, kinds: every text of the form `CamelCase` that the product holds, but for the names of
    its own that a module exports; and each API error, whose class's name is a reason."""
    for room in _ROOMS:
        for tree in _trees(room):
            yield from (text for text in _texts(tree) if CAMEL_CASE.fullmatch(text))
    for tree in _trees("kube"):
        yield from (node.name for node in tree.body if isinstance(node, ast.ClassDef) and _is_error(node))


def _is_error(node: ast.ClassDef) -> bool:
    return any(isinstance(base, ast.Name) and base.id in ("ApiError", "Conflict") for base in node.bases)


def _is_export(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and [ast.unparse(each) for each in node.targets] == ["__all__"]


def _texts(tree: ast.Module) -> Iterator[str]:
    saying = (each for each in tree.body if not _is_export(each))
    for node in (node for each in saying for node in ast.walk(each)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def metrics() -> Iterator[str]:
    """Each metric's name, kind, labels and buckets."""
    registry = Metrics().registry
    for collector in list(registry._collector_to_names):
        yield from _family(collector)
    yield from (f"{name} gauge {{{','.join(family.labels)}}}" for name, family in FAMILIES.items())
    for room in ("controllers", "app"):
        for tree in _trees(room):
            yield from (ast.unparse(node) for node in ast.walk(tree) if _is_metric(node))


def _family(collector: Collector) -> Iterator[str]:
    labels = ",".join(getattr(collector, "_labelnames", ()))
    buckets = " ".join(f"{bound:g}" for bound in getattr(collector, "_upper_bounds", ()))
    for family in collector.collect():
        yield f"{family.name} {family.type} {{{labels}}} {buckets}".rstrip()


def _is_metric(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    return node.func.attr in ("gauge", "histogram")


def records() -> Iterator[str]:
    """The record of a drain, which the next release reads."""
    for state in State:
        yield render_cycle(Cycle(state, term="t"))
    full = Cycle(**{field.name: _example(field) for field in fields(Cycle)})
    yield from json.dumps(json.loads(render_cycle(full)), indent=1, sort_keys=True).splitlines()


def _example(field: Field[Any]) -> Any:
    examples = {"State": State.ABORTED, "bool": True, "int": 7, "str": field.name, "tuple[str, ...]": (field.name,)}
    return examples[str(field.type)]


def flags() -> Iterator[str]:
    """Options and environment variables of `dpunetop run`."""
    for flag, text in settings._FLAGS.items():
        yield " ".join((f"--{flag}", *_VARIABLE.findall(text)))


def _trees(room: str) -> Iterator[ast.Module]:
    for path in sorted((_SOURCE / room).rglob("*.py")):
        yield tree_of(path)


SECTIONS: Mapping[str, Callable[[], Iterator[str]]] = {
    "names": agreed_names,
    "managers": field_managers,
    "words": words,
    "metrics": metrics,
    "records": records,
    "flags": flags,
}


def lines_of(section: str) -> list[str]:
    """What the product says today, one line each; sorted, but for the record, which is a text."""
    found = list(SECTIONS[section]())
    return found if section == "records" else sorted(set(found))


def recorded(section: str) -> list[str]:
    """What it has promised."""
    return (RECORDED / f"{section}.txt").read_text().splitlines()


def _record() -> None:
    for section in SECTIONS:
        (RECORDED / f"{section}.txt").write_text("".join(f"{line}\n" for line in lines_of(section)))


if __name__ == "__main__":
    _record()
