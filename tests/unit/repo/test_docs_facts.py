"""What a page names exists: links, files, tests, flags, fields and their defaults, metrics, targets, names in code."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from hack import reference

from dpunetop.app.commands.table import COMMANDS, find_command
from dpunetop.app.settings import parse_settings
from support.outside import recorded
from support.sources import tree_of

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "src" / "dpunetop"
DOCS = sorted((ROOT / "docs").rglob("*.md"))
FRONT = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "RELEASING.md")]
PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in [*DOCS, *FRONT]}
EACH = pytest.mark.parametrize("name", PAGES)
FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")
OF_OTHER_PROGRAMS = {
    "etcdutl": "--bump-revision --mark-compacted",
    "kube-apiserver": "--service-account-max-token-expiration",
    "kubectl": "--all-namespaces --as --dry-run --duration --field-selector --flatten --force --from-file --help"
    " --minify --namespace --output --patch --previous --raw --selector --since --sort-by --type --wait",
    "helm": "--create-namespace --reuse-values --set --take-ownership",
    "oc, podman and git": "--follow --image-for --manifest --path --platform --sign",
    "ovnkube and its webhook": "--dpu-node-lease-renew-interval --extra-allowed-user --gateway-nexthop --simulate-dpu",
    "pip and mypy": "--no-deps --require-hashes --strict",
}


def prose(name: str) -> str:
    """A page without its blocks of code."""
    return FENCED.sub("", PAGES[name])


# Links.


def slug(heading: str) -> str:
    """The anchor of a heading, as Python-Markdown and GitHub make it of the headings that there are."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", text).strip().lower())


@cache
def anchors(path: Path) -> frozenset[str]:
    text = path.read_text()
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE)
    return frozenset({*map(slug, headings), *re.findall(r'<a id="([^"]+)">', text)})


@EACH
def test_each_link_leads_to_a_file_and_a_heading_that_there_are(name: str) -> None:
    page = ROOT / name
    lost = []
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose(name)):
        where, _, anchor = target.partition("#")
        path = (page.parent / where) if where else page
        if not path.exists() or (anchor and anchor not in anchors(path.resolve())):
            lost.append(target)
    assert lost == []


# Files and tests.


def test_each_file_that_a_page_includes_is_there_in_the_form_that_no_formatter_changes() -> None:
    included = [path for text in PAGES.values() for path in re.findall(r"^--8<--\n(.+)\n--8<--$", text, re.MULTILINE)]
    assert included == ["examples/greeter.py"]
    assert [path for path in included if not (ROOT / path).is_file()] == []
    assert [name for name, text in PAGES.items() if re.search(r"8 *< *-- *\"", text)] == []


FOLDERS = "src|tests|docs|config|deploy|hack|examples|base|kube|runtime|domain|controllers|app|sandbox|support"


def is_there(path: str) -> bool:
    return any(list(base.glob(path)) for base in (ROOT, SOURCE, ROOT / "tests"))


@EACH
def test_each_file_that_a_page_names_is_there(name: str) -> None:
    named = re.findall(rf"`((?:{FOLDERS})/[\w./*-]+)(?::\w+|::\w+)?`", prose(name))
    assert [path for path in named if not is_there(path.rstrip("/"))] == []


@EACH
def test_each_test_that_a_page_names_is_there(name: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", prose(name))
    assert [f"{path}::{test}" for path, test in named if f"def {test}(" not in (ROOT / path).read_text()] == []


# Flags.


@cache
def own_flags() -> frozenset[str]:
    """Each flag of the commands, of the benchmarks and of the scripts."""
    scripts = [path.read_text() for folder in ("tests/bench", "hack") for path in (ROOT / folder).rglob("*.py")]
    found = {flag for text in scripts for flag in re.findall(r'add_argument\(\s*"(--[a-z-]+)"', text)}
    found |= {flag.replace("--", "--no-", 1) for flag in found}
    return frozenset(found).union(*(flags_of(command.parser()) for command in COMMANDS))


def flags_of(parser: argparse.ArgumentParser) -> frozenset[str]:
    return frozenset(parser._option_string_actions)


@cache
def flags_of_ovnkube() -> frozenset[str]:
    """What the pods start it with."""
    return frozenset(FLAG.findall("".join(path.read_text() for path in SOURCE.rglob("*.sh"))))


@EACH
def test_each_flag_that_a_page_names_is_of_a_program(name: str) -> None:
    others = {flag for flags in OF_OTHER_PROGRAMS.values() for flag in flags.split()}
    assert set(FLAG.findall(PAGES[name])) - own_flags() - others - flags_of_ovnkube() == set()


def typed(name: str) -> Iterator[tuple[str, str]]:
    """Each command of ours that a page types, and what follows it."""
    text = PAGES[name].replace("\\\n", " ")
    yield from re.findall(r"(?:python -m dpunetop|kubectl[ -]dpu) ([a-z][a-z-]*)\b([^`\n]*)", text)


@EACH
def test_each_command_of_ours_has_the_flags_with_which_a_page_types_it(name: str) -> None:
    for command, rest in typed(name):
        found = find_command(command)
        assert found is not None, command
        assert set(FLAG.findall(rest)) <= flags_of(found.parser()), (command, rest)


# Fields, defaults, metrics, annotations, targets.

CRDS = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "config" / "crd").glob("dpu.*.yaml"))]
SCHEMAS = [version["schema"]["openAPIV3Schema"] for crd in CRDS for version in crd["spec"]["versions"]]
FIELDS = {path: schema for each in SCHEMAS for path, schema in reference.fields("", each)}
OF_OTHER_KINDS = {"spec.unschedulable", "spec.nodeName", "status.phase", "status.pendingPods", "status.lastError"}


@EACH
def test_each_field_that_a_page_names_is_in_a_definition(name: str) -> None:
    named = {field.rstrip(".") for field in re.findall(r"(?<![\w.-])((?:spec|status)\.[a-zA-Z.]+)", prose(name))}
    known = FIELDS.keys() | OF_OTHER_KINDS
    assert {field for field in named if field not in known and not field.endswith((".txt", ".py", ".md"))} == set()


def told_defaults(name: str, table: str) -> Iterator[tuple[str, str]]:
    """The fields of a table of a page with the default of each; `none` and words about no value are left out."""
    for row in PAGES[name].partition(table)[2].split("\n\n")[0].splitlines()[2:]:
        fields, *between, defaults = [cell.strip() for cell in row.strip("| ").split(" | ")]
        names = CODE.findall(fields)
        inner = [f"{names[0]}.{each}" for each in CODE.findall(between[0])] if between else []
        named = inner if inner and all(f"spec.{each}" in FIELDS for each in inner) else names
        yield from zip(named, re.split(", |; ", defaults), strict=False)


def test_each_default_that_the_readme_tells_is_that_of_the_definition() -> None:
    told = dict(told_defaults("README.md", "| field of `spec` | values | default |"))
    known = {field: str(FIELDS[f"spec.{field}"]["default"]) for field in told if "default" in FIELDS[f"spec.{field}"]}
    assert {field: told[field].partition(":")[0].strip("`") for field in known} == known
    assert len(known) > 10


def test_each_limit_that_the_page_of_the_drain_tells_is_that_of_the_definition() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (\w+) \|", PAGES["docs/drain.md"].partition("| limit | default |")[2], re.MULTILINE
    )
    assert dict(rows) == {
        field.rpartition(".")[2]: schema["default"]
        for field, schema in FIELDS.items()
        if field.startswith("spec.drain.limits.")
    }


def test_each_default_of_a_flag_that_the_readme_tells_is_what_is_used() -> None:
    table = PAGES["README.md"].partition("| flag | environment | default |")[2].split("\n\n")[0]
    told = dict(re.findall(r"^\| `(--[\w-]+)` \| +\| `([^`]+)`", table, re.MULTILINE))
    bare = {"NAMESPACE": "default"}
    assert [
        flag
        for flag, default in told.items()
        if parse_settings([f"{flag}={default}"], bare) != parse_settings([], bare)
    ] == []
    assert len(told) > 6


METRIC = re.compile(r"\b((?:dpunetop|controller_runtime|workqueue|rest_client|leader_election|certwatcher)_[a-z_]+)\b")


@EACH
def test_each_metric_that_a_page_names_is_exposed(name: str) -> None:
    exposed = set(re.findall(r"^\| `(\w+)` \|", reference.metrics(), re.MULTILINE))
    assert set(METRIC.findall(prose(name))) <= exposed


@EACH
def test_each_annotation_and_label_of_ours_that_a_page_names_is_one(name: str) -> None:
    known = set(re.findall(r"dpu\.openshift\.io/[a-z-]+", "\n".join([*recorded("names"), *recorded("words")])))
    named = set(re.findall(r"\bdpu\.openshift\.io/[a-z-]+", prose(name)))
    assert {each for each in named if each.rstrip("-") not in known} == set()


@EACH
def test_each_target_that_a_page_names_is_in_the_makefile(name: str) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`(?:[A-Z_]+=\S+ )*make ([a-z][a-z-]*)", prose(name))) <= targets


# Names in the code.


@cache
def members() -> dict[str, frozenset[str]]:
    """What each module and class defines, by its own name: functions, constants, methods and attributes."""
    found: dict[str, set[str]] = {}
    for path in SOURCE.rglob("*.py"):
        tree = tree_of(path)
        found.setdefault(path.stem, set()).update(defined(tree))
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, set()).update(defined(node))
    return {owner: frozenset(names) for owner, names in found.items()}


def defined(node: ast.Module | ast.ClassDef) -> Iterator[str]:
    for each in node.body:
        if isinstance(each, ast.FunctionDef | ast.ClassDef):
            yield each.name
        elif isinstance(each, ast.Assign | ast.AnnAssign):
            targets = each.targets if isinstance(each, ast.Assign) else [each.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


ENDS = re.compile("Dockerfile|cfg|conf|crt|ini|io|json|key|kubeconfig|md|py|sh|toml|txt|yaml")
"""Of a file, or of a domain."""
OF_OTHER_CODE = {
    "http.server": "Python",
    "sys.intern": "Python",
    "resourcelock.NewFromKubeconfig": "client-go",
    "admission.enabled": "a value of the chart",
    "monitoring.enabled": "a value of the chart",
}


@EACH
def test_each_name_in_the_code_that_a_page_cites_is_there(name: str) -> None:
    cited = re.findall(r"`(?:\w+\.)*([A-Za-z]\w+)\.([A-Za-z]\w+)(?:\(\))?`", prose(name))
    fields = {".".join(path.split(".")[-2:]) for path in FIELDS} | OF_OTHER_KINDS | OF_OTHER_CODE.keys()
    code = [(owner, each) for owner, each in cited if not ENDS.fullmatch(each) and f"{owner}.{each}" not in fields]
    assert [f"{owner}.{each}" for owner, each in code if each not in members().get(owner, ())] == []


def test_each_page_that_the_code_names_is_there() -> None:
    named = {page for path in SOURCE.rglob("*.py") for page in re.findall(r"\bdocs/[\w/.-]+\.md\b", path.read_text())}
    assert len(named) > 3
    assert {page for page in named if not (ROOT / page).exists()} == set()


@cache
def variables() -> frozenset[str]:
    """Each variable and constant that the code, the image or the Makefile names."""
    readers = [ROOT / "Makefile", ROOT / "Containerfile", *SOURCE.rglob("*.py"), *SOURCE.rglob("*.sh")]
    text = "\n".join(path.read_text() for path in readers)
    return frozenset(re.findall(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b", text))


@EACH
def test_each_variable_that_a_page_names_is_read(name: str) -> None:
    assert set(re.findall(r"`([A-Z][A-Z0-9]*_[A-Z0-9_]+)(?:=[^`]*)?`", prose(name))) <= variables()
