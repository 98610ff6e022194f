"""What a procedure asks for, and how it judges the answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from dpunetop.domain.drain.model.calls import Answer, QuorumGet, QuorumList, Steps
from dpunetop.domain.drain.model.facts import Author, HostRef
from dpunetop.domain.drain.model.reads import read_blocker_ready, read_pods
from dpunetop.domain.names import blocker_labels
from dpunetop.kube.meta import Obj

SITE = HostRef("host", "tenant", "dpunetop", "owner", Author("dpunetop-drain", "term", "draw", 0))


def blocker(name: str, dpu: str = "d", *, labels: Mapping[str, str] | None = None, **status: Any) -> Obj:
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], **status}
    metadata = {"name": name, "labels": dict(blocker_labels("d") if labels is None else labels)}
    return {"metadata": metadata, "spec": {"nodeName": dpu}, "status": ready}


def ran(steps: Steps[Any], pods: Mapping[str, Obj]) -> tuple[Any, list[str]]:
    """What a read found among these pods, and what it asked for."""
    asked: list[str] = []
    answer: Answer = None
    try:
        call = next(steps)
        while True:
            match call:
                case QuorumGet():
                    asked.append(call.name)
                    answer = pods.get(call.name)
                case QuorumList():
                    asked.append("*")
                    answer = tuple(pods.values())
                case _:
                    raise AssertionError(call)
            call = steps.send(answer)
    except StopIteration as end:
        return end.value, asked


def test_a_blocker_that_the_caches_know_is_asked_for_by_its_name_alone() -> None:
    assert ran(read_blocker_ready(SITE, "d", "b"), {"b": blocker("b")}) == (True, ["b"])


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"b": blocker("b", phase="Pending")},
        {"b": blocker("b", dpu="another")},
        {"b": blocker("b", labels={"app": "else"})},
    ],
    ids=["gone", "not Ready", "on another node", "somebody else's"],
)
def test_without_it_another_one_counts_and_none_if_there_is_none(found: dict[str, Obj]) -> None:
    assert ran(read_blocker_ready(SITE, "d", "b"), {**found, "c": blocker("c")}) == (True, ["b", "*"])
    lone = {name: pod for name, pod in found.items() if pod["metadata"]["labels"] == blocker_labels("d")}
    assert ran(read_blocker_ready(SITE, "d", "b"), lone) == (False, ["b", "*"])
    assert ran(read_blocker_ready(SITE, "d", ""), {"c": blocker("c")}) == (True, ["*"])


def test_of_the_pods_that_the_caches_show_those_count_that_are_there_and_on_the_node() -> None:
    there = {"p": blocker("p"), "q": blocker("q", dpu="another")}
    assert ran(read_pods("ns", "d", ("p", "q", "gone")), there) == ((there["p"],), ["p", "q", "gone"])
