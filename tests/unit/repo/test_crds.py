"""`kubectl explain` has an answer for every field of every kind of ours, and every column says what it shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.sources import documents_in

ROOT = Path(__file__).parents[3]
CRDS = sorted((ROOT / "config" / "crd").glob("dpu.openshift.io_*.yaml"))

Obj = dict[str, Any]


def schemas(path: Path) -> Iterator[tuple[str, Obj]]:
    """Each schema of each version below its root, by the path that `kubectl explain` takes."""
    [crd] = documents_in(path)
    for version in crd["spec"]["versions"]:
        yield from walk(version["name"], version["schema"]["openAPIV3Schema"])


def walk(name: str, schema: Obj) -> Iterator[tuple[str, Obj]]:
    if name.count(".") == 1 and name.endswith(".metadata"):
        return  # the API server describes it, and refuses other words
    yield name, schema
    for each, inner in schema.get("properties", {}).items():
        yield from walk(f"{name}.{each}", inner)
    for each in ("items", "additionalProperties"):
        if isinstance(schema.get(each), dict):
            yield from walk(f"{name}[]", schema[each])


@pytest.mark.parametrize("path", CRDS, ids=lambda path: path.stem)
def test_every_field_is_described(path: Path) -> None:
    found = list(schemas(path))
    assert len(found) > 10
    assert [name for name, schema in found if not schema.get("description", "").strip()] == []


@pytest.mark.parametrize("path", CRDS, ids=lambda path: path.stem)
def test_a_description_is_a_sentence(path: Path) -> None:
    described = [(name, schema["description"].strip()) for name, schema in schemas(path)]
    assert [name for name, text in described if not (text[0].isupper() and text[-1] in ".")] == []


def test_the_type_of_a_condition_names_those_that_the_readme_explains() -> None:
    [path] = [path for path in CRDS if path.stem.endswith("_dpuclusterconfigs")]
    [text] = [schema["description"] for name, schema in schemas(path) if name.endswith("conditions[].type")]
    table = (ROOT / "README.md").read_text().split("| condition | True when |\n")[1].split("\n\n")[0]
    explained = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert set(re.findall(r"\b[A-Z]\w+", text)) - {"What"} == explained
