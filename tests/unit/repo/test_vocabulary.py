"""One word, one meaning: of type names within a layer, and of the terms of docs/glossary.md."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import dpunetop
from support.sources import tree_of

SOURCE = Path(dpunetop.__path__[0])
LAYERS = ("base", "kube", "runtime", "domain", "controllers", "app")
TWICE = {
    ("runtime", "Page"): "the protocol that the cache asks for, and the client's value that fulfils it",
}
"""Public types of one name within one layer, each with the reason."""
DOCS = Path(__file__).parents[3] / "docs"
GLOSSARY = (DOCS / "glossary.md").read_text()
TERMS = re.findall(r"^\| \*\*([^*]+)\*\* \|", GLOSSARY, re.MULTILINE)
VAGUE = re.compile(r"\b(somebody|nobody|anybody|whoever)\b", re.IGNORECASE)
"""A message or a page names the actor: a person, another writer, no client, the operator."""
ROWS = {"nobody holds it"}
"""Names of rows of a table, which tests and mutants cite; no client shows them."""
MADE = {"api.md": "from the CRDs' descriptions", "architecture.md": "the tree, from docstrings"}
PAGES = [path for path in DOCS.rglob("*.md") if "adr" not in path.parts and path.name not in MADE]
NEEDED = (
    "admission blocker budget claim closed cordon cycle entry epoch grant infra lease limit mark outage pair plan proof"
    " record roster slot task tenant view"
)


def modules() -> dict[Path, ast.Module]:
    return {path: tree_of(path) for layer in LAYERS for path in (SOURCE / layer).rglob("*.py")}


def types_of(tree: ast.Module) -> Iterator[str]:
    """Names of the public classes of a module."""
    return (node.name for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_"))


def imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Names that a module imports from the project, and whence."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dpunetop"):
            yield from ((each.name, str(node.module)) for each in node.names)


def test_no_public_type_has_the_name_of_another_in_its_layer() -> None:
    owners: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path, tree in modules().items():
        for name in types_of(tree):
            owners[path.relative_to(SOURCE).parts[0], name].append(path.name)
    assert {key for key, paths in owners.items() if len(paths) > 1} == TWICE.keys()


def test_no_module_imports_two_types_of_one_name_or_one_that_it_defines() -> None:
    known = {name for tree in modules().values() for name in types_of(tree)}
    for path, tree in modules().items():
        sources: dict[str, set[str]] = defaultdict(set)
        for name, module in (*imported(tree), *((name, "itself") for name in types_of(tree))):
            sources[name].add(module)
        assert {name for name, modules in sources.items() if len(modules) > 1 and name in known} == set(), path


@pytest.mark.parametrize("term", NEEDED.split())
def test_the_glossary_explains_each_term_of_ours(term: str) -> None:
    assert term in TERMS


def test_the_glossary_explains_each_term_once_in_the_order_of_the_alphabet() -> None:
    assert sorted(set(TERMS)) == TERMS


def texts_of(tree: ast.Module) -> Iterator[str]:
    """Texts of a module that are no docstrings, of which each part counts."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value


def test_each_message_names_who_acts() -> None:
    found = {text for tree in modules().values() for text in texts_of(tree) if VAGUE.search(text)}
    assert found == ROWS


def test_the_search_finds_a_message_that_names_no_actor() -> None:
    tree = ast.parse("""def f(x):\n    'Nobody reads this.'\n    return f'{x}: somebody has taken it'""")
    assert [text for text in texts_of(tree) if VAGUE.search(text)] == [": somebody has taken it"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_each_page_names_who_acts(page: Path) -> None:
    assert VAGUE.findall(page.read_text()) == []
