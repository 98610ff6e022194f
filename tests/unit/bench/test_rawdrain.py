from __future__ import annotations

from typing import Any

import pytest

from bench.rawdrain import Call, Names, between, calls


def event(verb: str, resource: str, code: int = 200, agent: str = "dpunetop/1", **more: Any) -> dict[str, Any]:
    return {
        "verb": verb,
        "userAgent": agent,
        "requestURI": f"/api/v1/{resource}/x",
        "objectRef": {"resource": resource},
        "responseStatus": {"code": code},
        "requestReceivedTimestamp": "2026-01-01T00:00:01.000000Z",
        "stageTimestamp": "2026-01-01T00:00:01.500000Z",
        **more,
    }


def call(verb: str, uri: str = "/u", body: Any = None, received: float = 1.0, answered: float = 2.0) -> Call:
    return Call("infra", verb, uri, body, received, answered)


def test_a_call_of_the_operator_has_its_times_and_what_was_sent() -> None:
    [found] = calls("tenant", [event("patch", "nodes", requestObject={"a": 1})])
    assert (found.cluster, found.verb, found.uri, found.body) == ("tenant", "patch", "/api/v1/nodes/x", {"a": 1})
    assert found.answered - found.received == 0.5


@pytest.mark.parametrize(
    "left_out",
    [
        event("patch", "nodes", agent="kubelet/v1"),
        event("patch", "nodes", code=409),
        event("watch", "nodes"),
        event("create", "events"),
        event("update", "leases"),
        event("patch", "dpunodes"),
        event("get", "", objectRef=None),
    ],
    ids=["another's", "refused", "a watch", "an Event", "the Lease", "what is told", "no object"],
)
def test_what_no_step_of_a_drain_waits_for_is_left_out(left_out: dict[str, Any]) -> None:
    assert calls("infra", [left_out]) == []


def test_an_object_that_is_not_there_was_asked_for_all_the_same() -> None:
    assert len(calls("infra", [event("get", "pods", code=404)])) == 1


def test_a_step_has_what_was_asked_after_the_fact_and_answered_before_its_end_in_that_order() -> None:
    early, first, second, late = (call("get", received=t, answered=t + 0.5) for t in (0.0, 1.0, 2.0, 3.0))
    assert between([second, late, first, early], 1.0, 2.5) == [first, second]


NAMES = Names({"dpu0": "dpu0-raw", "namespaces/op/": "namespaces/raw/", "op-dpu0": "op-raw"})


def test_what_is_written_is_about_what_belongs_to_nobody_the_longest_name_first() -> None:
    written = NAMES.of(call("patch", "/apis/policy/v1/namespaces/op/poddisruptionbudgets/op-dpu0", {"for": "dpu0"}))
    assert written.uri == "/apis/policy/v1/namespaces/raw/poddisruptionbudgets/op-raw"
    assert written.body == {"for": "dpu0-raw"}


@pytest.mark.parametrize("asked", [call("get", "/nodes/dpu0"), call("patch", "/nodes/dpu0?dryRun=All", {"a": "dpu0"})])
def test_what_only_asks_stays_as_it_is(asked: Call) -> None:
    assert NAMES.of(asked) == asked
