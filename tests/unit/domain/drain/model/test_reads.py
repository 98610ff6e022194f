"""What a procedure asks for, and how it judges the answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from dpunetop.domain.drain.model.calls import Answer, Call, QuorumGet, QuorumList, Steps
from dpunetop.domain.drain.model.facts import Author, HostRef
from dpunetop.domain.drain.model.reads import (
    read_blocker_ready,
    read_budget,
    read_host,
    read_maintenance,
    read_maintenances,
    read_node,
    read_pods,
    tell_dpu,
)
from dpunetop.domain.names import NODEMAINTENANCES, PODDISRUPTIONBUDGETS, blocker_labels, blocker_name, maintenance_name
from dpunetop.kube.errors import ApiError, Forbidden, NotFound
from dpunetop.kube.keys import INFRA, NODES
from dpunetop.kube.meta import Obj
from dpunetop.kube.plan import Emit

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


# --- every read, in what it asks and what it makes of an answer -------------------------------------------------------

OBJ: Obj = {"metadata": {"name": "o", "uid": "u"}}
MAINTENANCE: Obj = {"metadata": {"name": "any", "uid": "m"}, "spec": {"nodeName": "host"}}
OWN: Obj = {"metadata": {"name": maintenance_name("host"), "uid": "m"}, "spec": {"nodeName": "another"}}
OTHERS: Obj = {"metadata": {"name": "others", "uid": "m"}, "spec": {"nodeName": "another"}}
READS: dict[str, tuple[Callable[[], Steps[Any]], Call]] = {
    "node": (lambda: read_node("d"), QuorumGet(INFRA, NODES, "", "d")),
    "budget": (
        lambda: read_budget(SITE, "d"),
        QuorumGet(INFRA, PODDISRUPTIONBUDGETS, "dpunetop", blocker_name("d")),
    ),
    "host": (lambda: read_host(SITE), QuorumGet("tenant", NODES, "", "host")),
    "maintenance": (
        lambda: read_maintenance(SITE),
        QuorumGet("tenant", NODEMAINTENANCES, "", maintenance_name("host")),
    ),
}


@pytest.mark.parametrize(("read", "call"), READS.values(), ids=READS.keys())
def test_a_read_of_one_object_asks_for_it_and_says_none_if_it_is_not_there(
    read: Callable[[], Steps[Any]], call: Call
) -> None:
    for answer in (OBJ, None):
        steps = read()
        assert next(steps) == call
        with pytest.raises(StopIteration) as end:
            steps.send(answer)
        assert (end.value.value is None) is (answer is None)


def maintenances(answer: Answer | ApiError) -> tuple[str, ...]:
    steps = read_maintenances(SITE)
    assert next(steps) == QuorumList("tenant", NODEMAINTENANCES, "")
    with pytest.raises(StopIteration) as end:
        steps.throw(answer) if isinstance(answer, ApiError) else steps.send(answer)
    return tuple(each.name for each in end.value.value)


def test_the_maintenances_of_a_host_are_those_that_name_it_and_the_one_under_our_name() -> None:
    assert maintenances((MAINTENANCE, OWN, OTHERS)) == ("any", maintenance_name("host"))
    assert maintenances(()) == ()


def test_where_the_kind_is_not_served_there_is_no_maintenance_and_any_other_refusal_is_one() -> None:
    assert maintenances(NotFound(404, "NotFound", "the server could not find the requested resource")) == ()
    with pytest.raises(Forbidden):
        maintenances(Forbidden(403, "Forbidden", "no"))


@pytest.mark.parametrize("answer", [OBJ, None])
def test_an_event_about_a_dpu_is_told_on_its_node_if_that_is_there(answer: Answer) -> None:
    steps = tell_dpu("d", "Reason", "words")
    assert next(steps) == QuorumGet(INFRA, NODES, "", "d")
    if answer is None:
        with pytest.raises(StopIteration):
            steps.send(answer)
        return
    emit = steps.send(answer)
    assert isinstance(emit, Emit)
    assert (emit.reason, emit.note) == ("Reason", "words")
