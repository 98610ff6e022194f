"""Who works for whom: two places where people say it, and those who serve already."""

from __future__ import annotations

from typing import Any

import pytest

from dpunetop.domain.envfile import parse_entries
from dpunetop.domain.names import TENANT_NODE_ANNOTATION
from dpunetop.domain.pairing import PairingView, host_of, pair_up, tenant_nodes


def text(host: str) -> str:
    return f"TENANT_K8S_NODE={host}\n"


def paired(
    wishes: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    entries: dict[str, str] | None = None,
    serves: dict[str, str] | None = None,
    **more: Any,
) -> dict[str, tuple[str | None, str, bool]]:
    """DPU to its host, the host that its entry is to name, and whether there is a problem."""
    view = PairingView(
        wishes=parse_entries({dpu: text(host) for dpu, host in (wishes or {}).items()}),
        annotations=annotations or {},
        dropped=more.get("dropped", frozenset()),
        entries={dpu: text(host) for dpu, host in (entries or {}).items()},
        serves=serves or {},
        claimed=more.get("claimed", {}),
    )
    return {dpu: (pair.host, host_of(dpu, pair.text), bool(pair.problem)) for dpu, pair in pair_up(view).items()}


CASES: dict[str, tuple[dict[str, Any], dict[str, tuple[str | None, str, bool]]]] = {
    "nobody says anything": ({}, {}),
    "the overrides": ({"wishes": {"a": "x"}}, {"a": ("x", "x", False)}),
    "the annotation": ({"annotations": {"a": "x"}}, {"a": ("x", "x", False)}),
    "both agree": ({"wishes": {"a": "x"}, "annotations": {"a": "x"}}, {"a": ("x", "x", False)}),
    "both differ, and it is new": ({"wishes": {"a": "x"}, "annotations": {"a": "y"}}, {"a": (None, "", True)}),
    "both differ, and it serves": (
        {"wishes": {"a": "x"}, "annotations": {"a": "y"}, "entries": {"a": "x"}, "serves": {"a": "x"}},
        {"a": ("x", "x", True)},
    ),
    "an annotation that is no name": ({"annotations": {"a": "$(id)"}}, {"a": (None, "", True)}),
    "an entry that is rejected, and it serves": (
        {"wishes": {"a": "$(id)"}, "entries": {"a": "x"}, "serves": {"a": "x"}},
        {"a": ("x", "x", True)},
    ),
    "taken out of the overrides": ({"entries": {"a": "x"}, "serves": {"a": "x"}}, {"a": (None, "", False)}),
    "not picked any more": (
        {"wishes": {"a": "x"}, "entries": {"a": "x"}, "dropped": frozenset("a")},
        {"a": (None, "", False)},
    ),
    "two for one host": (
        {"wishes": {"a": "x", "b": "x"}},
        {"a": ("x", "x", False), "b": ("x", "", False)},
    ),
    "two for one host, the annotated one": (
        {"wishes": {"a": "x"}, "annotations": {"b": "x"}},
        {"a": ("x", "", False), "b": ("x", "x", False)},
    ),
    "two for one host, the one that has it": (
        {"wishes": {"a": "x", "b": "x"}, "annotations": {"a": "x"}, "entries": {"b": "x"}},
        {"a": ("x", "", False), "b": ("x", "x", False)},
    ),
    "another tenant object has the host": (
        {"wishes": {"a": "x"}, "claimed": {"x": "other/config"}},
        {"a": (None, "", True)},
    ),
    "another one claims a host that is served": (
        {"wishes": {"a": "x"}, "entries": {"a": "x"}, "serves": {"a": "x"}, "claimed": {"x": "other/config"}},
        {"a": ("x", "x", False)},
    ),
}


@pytest.mark.parametrize(("given", "expected"), CASES.values(), ids=CASES.keys())
def test_what_people_say_is_followed_unless_it_stops_a_pair_that_serves(given: Any, expected: Any) -> None:
    assert paired(**given) == expected


def test_annotations_count_on_nodes_that_are_picked() -> None:
    def node(name: str, **labels: str) -> dict[str, Any]:
        return {"metadata": {"name": name, "labels": labels, "annotations": {TENANT_NODE_ANNOTATION: "x"}}}

    nodes = [node("a", dpu="yes"), node("b"), {"metadata": {"name": "c", "labels": {"dpu": "yes"}}}]
    assert tenant_nodes({"matchLabels": {"dpu": "yes"}}, nodes) == {"a": "x"}
