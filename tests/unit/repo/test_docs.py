"""The documentation: pages made from the code are current, none is lost, and commands name what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hack import dashboard, reference

from dpunetop.domain.reasons import CONDITIONS, REASONS
from support.outside import recorded

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAGES = sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
WORD = re.compile(r"`((?:[A-Z][a-z0-9]+){2,}[A-Z]*[a-z0-9]*)`")
SOURCES = [path.read_text() for path in (ROOT / "src" / "dpunetop").rglob("*.py")]
TYPES = {name for text in SOURCES for name in re.findall(r"^class (\w+)", text, re.MULTILINE)}
OURS = {*recorded("words"), *REASONS, *CONDITIONS, *TYPES}
OF_OTHERS = {
    "AllNamespaces": "an install mode of OLM",
    "CrashLoopBackOff": "kubelet",
    "ServiceAccountTokenNodeBinding": "a feature gate of Kubernetes",
}
KNOWN = {"kubectl", "make", "helm", "podman", "cp", "python"}


@pytest.mark.parametrize("name", reference.PAGES)
def test_a_page_that_is_made_from_the_code_is_current(name: str) -> None:
    assert (DOCS / name).read_text() == reference.PAGES[name](), "run `make reference`"


@pytest.mark.parametrize("name", PAGES)
def test_each_page_is_in_the_navigation(name: str) -> None:
    assert re.search(rf"[: ]{re.escape(name)}$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", PAGES)
def test_each_page_begins_with_a_sentence_about_it(name: str) -> None:
    lines = [line for line in (DOCS / name).read_text().splitlines() if line and not line.startswith("<!--")]
    title, first = lines[:2]
    assert title.startswith("# ")
    assert re.match(r"[A-Z*]", first), first


def commands(name: str) -> list[str]:
    bodies = [body for _, language, body in FENCE.findall((DOCS / name).read_text()) if language == "console"]
    return [line.strip()[2:] for body in bodies for line in body.splitlines() if line.strip().startswith("$ ")]


@pytest.mark.parametrize("name", [name for name in PAGES if commands(name)])
def test_each_command_is_of_a_program_that_a_reader_has(name: str) -> None:
    words = [re.sub(r"^(?:[A-Z_]+=\S+ )+", "", command).split() for command in commands(name)]
    assert {program for program, *_ in words} <= KNOWN
    assert {target for program, target, *_ in words if program == "make"} <= TARGETS


@pytest.mark.parametrize("name", PAGES)
def test_each_reason_that_a_page_names_in_a_table_of_causes_is_one_of_ours(name: str) -> None:
    tables = re.findall(r"^\| you see \|.*?\n((?:\|.*\n)+)", (DOCS / name).read_text(), re.MULTILINE)
    cells = [row.split("|")[1] for table in tables for row in table.splitlines()[1:]]
    named = {word for cell in cells for word in re.findall(r"`([A-Z][a-z]+[A-Z]\w*)`", cell)}
    assert named <= set(REASONS)


DASHBOARD = ROOT / "config" / "prometheus" / "dashboard.json"


def test_the_dashboard_is_current() -> None:
    assert json.loads(DASHBOARD.read_text()) == dashboard.dashboard(), "run `make reference`"


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    exposed = set(re.findall(r"^\| `([a-z_]+)` \|", reference.metrics(), re.MULTILINE)) | {"up"}
    queries = [target["expr"] for panel in dashboard.panels() for target in panel.get("targets", ())]
    asked = {name for query in queries for name in re.findall(r"\b([a-z_]+)\{", query)}
    assert len(queries) > 15
    assert {name for name in asked if name.removesuffix("_bucket") not in exposed} == set()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_names_no_reason_that_the_operator_does_not_have(name: str) -> None:
    assert set(WORD.findall((DOCS / name).read_text())) - OURS - OF_OTHERS.keys() == set()


def test_the_readme_lists_every_condition_type() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [type_ for type_ in CONDITIONS if f"| `{type_}` |" not in readme] == []


@pytest.mark.parametrize("path", [DOCS / "architecture.md", ROOT / "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_each_file_that_a_tour_names_is_there(path: Path) -> None:
    named = re.findall(r"`((?:[\w.-]+/)+(?:[\w.-]+)?)`", path.read_text())
    assert len(named) > 30
    assert [
        name
        for name in named
        if not any((base / name).exists() for base in (ROOT, ROOT / "src/dpunetop", ROOT / "tests"))
    ] == []
