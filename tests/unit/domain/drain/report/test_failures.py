"""Calls that fail: how long until the next try, which pass by themselves, and what a person reads of the others."""

from __future__ import annotations

from typing import Any

import pytest

from dpunetop.domain.drain.model.calls import Call, QuorumGet, QuorumList, Write
from dpunetop.domain.drain.model.facts import Reason
from dpunetop.domain.drain.report.failures import passes, pause_after, unwatched, why_failed
from dpunetop.kube.errors import ApiError, Conflict, Forbidden, Gone, NotFound, TooManyRequests, Unauthorized
from dpunetop.kube.keys import INFRA, NODES
from dpunetop.kube.plan import Apply, ApplyStatus, Delete, Emit, Patch, Step
from dpunetop.kube.requests import Selection

NODE: dict[str, Any] = {"metadata": {"name": "n"}}
REFUSED = Forbidden(403, "Forbidden", "no")
BROKEN = ApiError(500, "InternalError", "webhook down")


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 16.0), (6, 30.0), (99, 30.0)]
)
def test_the_pause_doubles_until_it_is_the_longest(failures: int, seconds: float) -> None:
    assert pause_after(failures, None) == seconds
    assert pause_after(failures, BROKEN) == seconds


@pytest.mark.parametrize(("failures", "seconds"), [(1, 0.05), (2, 2.0), (3, 4.0), (99, 30.0)])
def test_only_the_first_conflict_in_a_row_is_tried_again_at_once(failures: int, seconds: float) -> None:
    assert pause_after(failures, Conflict(409, "Conflict", "")) == seconds


@pytest.mark.parametrize("error", [REFUSED, Unauthorized(401, "Unauthorized", "no")])
def test_what_is_refused_waits_the_longest_at_once(error: ApiError) -> None:
    assert pause_after(1, error) == 30.0


@pytest.mark.parametrize(("asked", "seconds"), [(None, 2.0), (1.0, 2.0), (90.0, 90.0)])
def test_a_server_that_asks_for_a_longer_pause_gets_it(asked: float | None, seconds: float) -> None:
    assert pause_after(2, TooManyRequests(429, "TooManyRequests", "wait", retry_after_seconds=asked)) == seconds


PASSING: dict[str, tuple[ApiError, bool]] = {
    "a conflict": (Conflict(409, "Conflict", ""), True),
    "gone": (Gone(410, "Expired", ""), True),
    "not found": (NotFound(404, "NotFound", ""), True),
    "too many": (TooManyRequests(429, "TooManyRequests", ""), True),
    "no answer": (ApiError(0, "Timeout", ""), True),
    "an error of the server": (BROKEN, True),
    "a code below those of the client": (ApiError(399, "x", ""), True),
    "refused": (REFUSED, False),
    "bad": (ApiError(400, "BadRequest", ""), False),
    "the last code of the client": (ApiError(499, "x", ""), False),
}


@pytest.mark.parametrize(("error", "does"), PASSING.values(), ids=PASSING.keys())
def test_an_error_passes_by_itself_if_it_is_not_about_what_was_asked(error: ApiError, does: bool) -> None:
    assert passes(error) is does


CALLS: dict[str, Call | Step] = {
    "get nodes n": QuorumGet(INFRA, NODES, "", "n"),
    "list nodes": QuorumList(INFRA, NODES, ""),
    "create nodes n": Apply(INFRA, NODES, NODE, None, "m"),
    "patch nodes n": Write(Apply(INFRA, NODES, NODE, NODE, "m")),
    "patch nodes n ": Patch(INFRA, NODES, NODE, {}),
    "delete nodes n": Delete(INFRA, NODES, NODE),
    "create events": Emit(INFRA, NODES, NODE, "Normal", "Reason", "note"),
    "patch the status of nodes n": ApplyStatus(INFRA, NODES, NODE, (), "m"),
}


@pytest.mark.parametrize("words", CALLS)
def test_a_call_is_told_as_a_right_is_named(words: str) -> None:
    hold, words = why_failed(CALLS[words], REFUSED), words.strip()
    assert hold.reason is Reason.INFRA_FORBIDDEN
    assert hold.message == f"infra refuses to {words}: no; apply the operator's roles again"


def test_whose_cluster_refuses_says_where_the_rights_come_from() -> None:
    hold = why_failed(QuorumGet("tenant/a/b", NODES, "", "n"), Unauthorized(401, "Unauthorized", "no"))
    assert hold.reason is Reason.TENANT_UNAUTHORIZED
    assert hold.message == "the tenant refuses to get nodes n: no; apply deploy/tenant-rights.yaml again"


@pytest.mark.parametrize(("cluster", "whose"), [(INFRA, "infra"), ("tenant/a/b", "the tenant")])
def test_what_fails_otherwise_is_told_with_the_error_and_where_to_look(cluster: str, whose: str) -> None:
    hold = why_failed(QuorumGet(cluster, NODES, "", "n"), BROKEN)
    again = "it is tried again"
    look = f"{again}, see the server and its admission webhooks"
    assert (hold.reason, hold.message) == (Reason.REQUEST_FAILED, f"cannot get nodes n in {whose}: {BROKEN}; {look}")
    late = unwatched(cluster, Selection(NODES), BROKEN)
    watch = f"watch {Selection(NODES)}"
    assert (late.reason, late.message) == (
        Reason.REQUEST_FAILED,
        f"cannot {watch} in {whose}: {BROKEN}; it is tried again",
    )
    refused = unwatched(cluster, Selection(NODES), REFUSED)
    assert refused.message.startswith(f"{whose} refuses to {watch}: no; ")
