"""Generate pages of docs/ from the code: python hack/reference.py

The fields of our kinds come from config/crd, the reasons from their table, the metrics from the registry and from
tests/data/outside.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from dpunetop.app.measuring import FAMILIES
from dpunetop.domain.reasons import CONDITIONS, DPU_NODE_CONDITIONS, REASONS, Gravity
from dpunetop.runtime.metrics import Metrics

ROOT = Path(__file__).parents[1]
HEAD = "<!-- Made by `make reference`. Change {source}. -->\n"
GRAVITIES: Mapping[Gravity, tuple[str, str]] = {
    Gravity.ACTION: (
        "A person has to act",
        "Their Events are Warnings, and `Ready` repeats them while the condition is False.",
    ),
    Gravity.WAITING: ("The operator waits for something else", "No person has to act. Their Events are Normal."),
    Gravity.PASSING: (
        "It passes by itself",
        "No person has to act. `Ready` names only the condition that it waits for.",
    ),
    Gravity.GOOD: ("Nothing is wrong", "These include the stages of a drain, and Events that report success."),
}
TELLING = ("drain.md", "outages.md", "pods.md", "security.md")
"""Pages whose tables say more about a reason."""

Schema = dict[str, Any]


def table(columns: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    """A Markdown table; a bar within a cell is escaped."""
    lines = [columns, ("---",) * len(columns), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def fields(name: str, schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Each field below a schema by its path, in the order of the schema."""
    for each, inner in schema.get("properties", {}).items():
        path = f"{name}.{each}".lstrip(".")
        yield path, inner
        yield from fields(path, inner)
        for part in ("items", "additionalProperties"):
            if isinstance(inner.get(part), dict):
                yield from fields(f"{path}[]", inner[part])


def values(schema: Schema) -> str:
    """The permitted values of a field, in short."""
    kind = "integer or percentage" if schema.get("x-kubernetes-int-or-string") else schema.get("type", "")
    if kind == "array":
        kind = f"list of {schema['items']['type']}"
    said = [", ".join(f"`{each}`" for each in schema["enum"])] if "enum" in schema else [str(kind)]
    if schema.get("default") not in (None, {}):
        said.append(f"default `{schema['default']}`")
    if schema.get("maxLength"):
        said.append(f"at most {schema['maxLength']} characters")
    return "; ".join(said)


def refusals(schema: Schema) -> list[str]:
    """The messages of all validation rules of a schema, each once."""
    own = [rule["message"] for rule in schema.get("x-kubernetes-validations", ())]
    inner = [schema[part] for part in ("items", "additionalProperties") if isinstance(schema.get(part), dict)]
    for each in [*schema.get("properties", {}).values(), *inner]:
        own += refusals(each)
    return list(dict.fromkeys(own))


def of_kind(crd: Schema) -> Iterator[str]:
    """The section about one kind."""
    names = crd["spec"]["names"]
    for version in crd["spec"]["versions"]:
        schema = version["schema"]["openAPIV3Schema"]
        short = ", ".join(f"`{each}`" for each in names.get("shortNames", ()))
        yield f"\n## {names['kind']} ({crd['spec']['group']}/{version['name']})\n\n{schema['description']}\n"
        yield f"\n`kubectl get {names['plural']}`" + (f", short {short}." if short else ".") + "\n\n"
        rows = [(path, each) for path, each in fields("", schema) if path not in ("apiVersion", "kind", "metadata")]
        yield table(
            ("field", "takes", "meaning"),
            ((f"`{path}`", values(each), each.get("description", "")) for path, each in rows),
        )
        yield "\n### Refused when it is applied\n\n"
        yield "".join(f"- {message}\n" for message in refusals(schema))


def api() -> str:
    """The page about our kinds."""
    crds = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "config" / "crd").glob("dpu.*.yaml"))]
    head = HEAD.format(source="config/crd") + "\n# API reference\n\n"
    head += "This page lists every field of the operator's kinds, as `kubectl explain` shows them too.\n"
    return head + "".join(part for crd in crds for part in of_kind(crd))


def reasons() -> str:
    """The page about condition types, and the reasons of conditions and Events."""
    text = HEAD.format(source="src/dpunetop/domain/reasons") + "\n# Conditions and reasons\n\n"
    text += (
        "Find the reason that you see in a condition, an Event or `kubectl get dpu`: this page says what it means and\n"
        "what to do. `kubectl describe dcc <name>` shows the conditions; their messages name the DPU, the host or the\n"
        "object. A reason that is not here, such as `Forbidden`, comes from an API server; the message quotes its\n"
        "answer.\n\n"
        "## Conditions of a DpuClusterConfig\n\n"
    )
    types = ((f"`{each}`", row.true_when, "yes" if row.counts else "no") for each, row in CONDITIONS.items())
    text += table(("type", "True when", "counts for `Ready`"), types)
    text += "\n## Conditions of a DpuNode\n\nA condition is Unknown until the operator has looked.\n\n"
    text += table(("type", "True when"), ((f"`{each}`", when) for each, when in DPU_NODE_CONDITIONS.items()))
    for gravity, (title, what) in GRAVITIES.items():
        text += f"\n## {title}\n\n{what}\n\n"
        text += table(("reason", "the message says", "what to do", "more"), reasons_of(gravity))
    return text


def reasons_of(gravity: Gravity) -> Iterator[tuple[str, ...]]:
    """The rows of all reasons of one gravity."""
    pages = {name: (ROOT / "docs" / name).read_text() for name in TELLING}
    for name, row in sorted(REASONS.items()):
        if row.gravity is gravity:
            more = ", ".join(
                f"[{page}]({page})" for page, text in pages.items() if re.search(rf"(?m)^\|.*`{name}`", text)
            )
            yield f'<a id="{name.lower()}"></a>`{name}`', row.says, row.next_step, more


def metrics() -> str:
    """The page about the metrics."""
    recorded = (ROOT / "tests" / "data" / "outside" / "metrics.txt").read_text().splitlines()
    texts = {family.name: family.documentation for family in Metrics().registry.collect()}
    texts |= {name: family.text for name, family in FAMILIES.items()}
    rows = sorted(row(line, texts) for line in recorded)
    text = HEAD.format(source="where the metric is made, then tests/data/outside (python -m support.outside)")
    text += (
        "\n# Metrics\n\nThis page lists every metric of the operator. `/metrics` serves them on port 49555, over\n"
        "HTTPS, to clients that may `get` the path `/metrics`. [Runbooks](runbooks/index.md) has the alerts.\n"
    )
    text += (
        "Names, labels and buckets are those of client-go and controller-runtime, so that their dashboards work.\n\n"
    )
    return text + table(("metric", "kind", "labels", "meaning"), iter(rows))


def row(line: str, texts: Mapping[str, str]) -> tuple[str, str, str, str]:
    """One row of a recorded metric, which is stored by name and labels, or as the call that creates it."""
    if call := re.fullmatch(r"metrics\.(\w+)(\(.+\))", line):
        name, text, *labels = ast.literal_eval(call[2])
        return f"`{name}`", call[1], ", ".join(labels), text
    found = re.match(r"(\S+) (\w+) \{(.*?)\}", line)
    assert found is not None, line
    name = found[1] + ("_total" if found[2] == "counter" else "")
    return f"`{name}`", found[2], found[3].replace(",", ", "), texts[found[1]]


PAGES: Mapping[str, Callable[[], str]] = {"api.md": api, "reasons.md": reasons, "metrics.md": metrics}


def main() -> None:
    """Write all pages."""
    for name, page in PAGES.items():
        (ROOT / "docs" / name).write_text(page())


if __name__ == "__main__":
    main()
