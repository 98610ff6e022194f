from __future__ import annotations

import json
from collections import Counter
from typing import Any

from bench.writes import Asked, Write, asked

RECEIVED, ANSWERED = "2026-01-01T00:00:00.500000Z", "2026-01-01T00:00:00.750000Z"
AT = 1767225600.0


def event(verb: str, uri: str, resource: str, subresource: str = "", code: int = 200, body: Any = None) -> bytes:
    said = {
        "verb": verb,
        "requestURI": uri,
        "objectRef": {"resource": resource, **({"subresource": subresource} if subresource else {})},
        "responseStatus": {"code": code},
        "requestReceivedTimestamp": RECEIVED,
        "stageTimestamp": ANSWERED,
        **({"requestObject": body} if body else {}),
    }
    return json.dumps(said).encode() + b"\n"


POD = "/api/v1/namespaces/n/pods/p"
APPLIED = event("patch", f"{POD}?fieldManager=m&force=true", "pods", code=201, body={"kind": "Pod"})


def test_a_change_that_was_taken_is_a_write_with_its_body_and_times() -> None:
    (write,) = asked([APPLIED]).writes
    query = "fieldManager=m&force=true"
    assert write == Write("patch", POD, query, "pods", 201, AT + 0.5, AT + 0.75, {"kind": "Pod"})
    assert write.is_apply


def test_reads_and_refusals_are_counted_apart() -> None:
    lines = [APPLIED, event("get", POD, "pods"), event("patch", f"{POD}/status?x=1", "pods", "status", code=409)]
    found = asked(lines)
    assert (found.requests, found.refused) == (Counter(patch=2, get=1), Counter({"patch 409": 1}))
    assert len(found.writes) == 1


def test_leases_events_and_questions_do_not_count() -> None:
    lines = [
        event("update", "/apis/coordination.k8s.io/v1/namespaces/n/leases/l", "leases"),
        event("create", "/apis/events.k8s.io/v1/namespaces/n/events", "events"),
        event("create", "/apis/authorization.k8s.io/v1/subjectaccessreviews", "subjectaccessreviews"),
        event("create", "/api/v1/namespaces/n/serviceaccounts/a/token", "serviceaccounts", "token"),
    ]
    assert asked(lines) == Asked((), Counter(), Counter())
