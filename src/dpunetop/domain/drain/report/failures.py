"""Calls of a drain that fail: which of them a person has to hear of at once, and in which words."""

from __future__ import annotations

from dpunetop.domain.drain.model.calls import Call, QuorumGet, QuorumList, Write
from dpunetop.domain.drain.model.facts import HoldReason, Reason
from dpunetop.kube.errors import ApiError, Conflict, Forbidden, Gone, NotFound, TooManyRequests, Unauthorized
from dpunetop.kube.keys import INFRA
from dpunetop.kube.meta import name_of
from dpunetop.kube.plan import Apply, Delete, Emit, Patch, Step
from dpunetop.kube.requests import Selection

FIRST_PAUSE_SECONDS = 1.0
LAST_PAUSE_SECONDS = 30.0
_DOUBLINGS = 5


def pause_after(failures: int, error: ApiError | None) -> float:
    """How many seconds to wait before what has failed so often in a row is tried again.

    What is refused for want of a right waits the longest at once: a person has to give it.
    """
    if isinstance(error, Forbidden | Unauthorized):
        return LAST_PAUSE_SECONDS
    grown = FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, _DOUBLINGS)
    asked = 0.0 if error is None else error.retry_after_seconds or 0.0
    return max(asked, min(LAST_PAUSE_SECONDS, grown))


def passes(error: ApiError) -> bool:
    """Whether an error usually passes by itself, so that it is told only once it has lasted."""
    if isinstance(error, Conflict | Gone | NotFound | TooManyRequests):
        return True
    return not 400 <= error.code < 500


def why_failed(call: Call | Step, error: ApiError) -> HoldReason:
    """What the host or DPU waits for because `call` fails."""
    cluster, what = _named(call)
    if isinstance(error, Forbidden | Unauthorized):
        return refusal(cluster, what, error)
    whose = "infra" if cluster == INFRA else "the tenant"
    words = f"cannot {what} in {whose}: {error}; it is tried again, see the server and its admission webhooks"
    return HoldReason(Reason.REQUEST_FAILED, words)


def refusal(cluster: str, what: str, error: ApiError) -> HoldReason:
    """A right is missing: in whose cluster, which one, and where the rights come from."""
    if cluster == INFRA:
        words = f"infra refuses to {what}: {error.message}; apply the operator's roles anew"
        return HoldReason(Reason.INFRA_FORBIDDEN, words)
    words = f"the tenant refuses to {what}: {error.message}; apply deploy/tenant-rights.yaml anew"
    return HoldReason(Reason.TENANT_UNAUTHORIZED, words)


def unwatched(cluster: str, selection: Selection, error: ApiError) -> HoldReason:
    """A cache that cannot be filled, or stands still, because the server does not let us watch."""
    if isinstance(error, Forbidden | Unauthorized):
        return refusal(cluster, f"watch {selection}", error)
    whose = "infra" if cluster == INFRA else "the tenant"
    return HoldReason(Reason.REQUEST_FAILED, f"cannot watch {selection} in {whose}: {error}; it is tried again")


def _named(call: Call | Step) -> tuple[str, str]:
    """The cluster of a call, and what it does there as a person says it."""
    match call:
        case QuorumGet():
            return call.cluster, f"get {call.resource} {call.name}"
        case QuorumList():
            return call.cluster, f"list {call.resource}"
        case Write(step):
            return _named(step)
        case Apply():
            verb = "create" if call.live is None else "patch"
            return call.cluster, f"{verb} {call.resource} {name_of(call.desired)}"
        case Patch():
            return call.cluster, f"patch {call.resource} {name_of(call.live)}"
        case Delete():
            return call.cluster, f"delete {call.resource} {name_of(call.live)}"
        case Emit():
            return call.cluster, "create events"
    return call.cluster, f"patch the status of {call.resource} {name_of(call.live)}"
