"""Failed calls of a drain: which are reported at once, and the messages about them."""

from __future__ import annotations

from dpunetop.domain.drain.model.calls import Call, QuorumGet, QuorumList, Write
from dpunetop.domain.drain.model.facts import HoldReason, Reason
from dpunetop.kube.errors import ApiError, Conflict, Forbidden, Gone, NotFound, TooManyRequests, Unauthorized
from dpunetop.kube.keys import INFRA
from dpunetop.kube.meta import name_of
from dpunetop.kube.plan import Apply, Delete, Emit, Patch, Step
from dpunetop.kube.requests import Selection

FIRST_PAUSE_SECONDS = 1.0
CONFLICT_PAUSE_SECONDS = 0.05
"""Pause after the first conflict in a row: another writer was first, such as an operator that reports on our write. Its
state only has to be read."""
LAST_PAUSE_SECONDS = 30.0
_DOUBLINGS = 5


def pause_after(failures: int, error: ApiError | None) -> float:
    """Seconds to wait before the next attempt, after this many failures in a row.

    A missing right gets the longest pause at once, because a person has to grant it.
    """
    if isinstance(error, Forbidden | Unauthorized):
        return LAST_PAUSE_SECONDS
    grown = FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, _DOUBLINGS)
    if isinstance(error, Conflict) and failures == 1:
        grown = CONFLICT_PAUSE_SECONDS
    asked = 0.0 if error is None else error.retry_after_seconds or 0.0
    return max(asked, min(LAST_PAUSE_SECONDS, grown))


def passes(error: ApiError) -> bool:
    """Whether an error usually passes by itself, so that it is reported only after some time."""
    if isinstance(error, Conflict | Gone | NotFound | TooManyRequests):
        return True
    return not 400 <= error.code < 500


def why_failed(call: Call | Step, error: ApiError) -> HoldReason:
    """Why the host or DPU waits, after `call` failed."""
    cluster, what = _named(call)
    if isinstance(error, Forbidden | Unauthorized):
        return refusal(cluster, what, error)
    whose = "infra" if cluster == INFRA else "the tenant"
    words = f"cannot {what} in {whose}: {error}; it is tried again, see the server and its admission webhooks"
    return HoldReason(Reason.REQUEST_FAILED, words)


def refusal(cluster: str, what: str, error: ApiError) -> HoldReason:
    """A missing right: the cluster, the right, and the manifest that grants it."""
    if cluster == INFRA:
        words = f"infra refuses to {what}: {error.message}; apply the operator's roles again"
        return HoldReason(Reason.INFRA_FORBIDDEN, words)
    words = f"the tenant refuses to {what}: {error.message}; apply deploy/tenant-rights.yaml again"
    return HoldReason(Reason.TENANT_UNAUTHORIZED, words)


def unwatched(cluster: str, selection: Selection, error: ApiError) -> HoldReason:
    """A cache that cannot be filled, or is outdated, because the server refuses the watch."""
    if isinstance(error, Forbidden | Unauthorized):
        return refusal(cluster, f"watch {selection}", error)
    whose = "infra" if cluster == INFRA else "the tenant"
    return HoldReason(Reason.REQUEST_FAILED, f"cannot watch {selection} in {whose}: {error}; it is tried again")


def _named(call: Call | Step) -> tuple[str, str]:
    """The cluster of a call, and what it does there, in words for a person."""
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
