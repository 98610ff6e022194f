"""The next step for one tenant host: a list of rules, of which the first that applies decides.

The order of the rules is the order of danger: closing a budget comes before everything that needs the tenant, records
come before the writes that they announce, and giving back comes last. Two decisions share no memory but the objects of
both clusters. docs/safety.md has the rules by number; each stands beside its task in the module that is named here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dpunetop.domain.drain.model.calls import Task
from dpunetop.domain.drain.model.facts import HoldReason, HostView
from dpunetop.domain.drain.model.hoststate import HostState, Move
from dpunetop.domain.drain.rules import (
    aborting,
    asking,
    failing,
    opening,
    proof,
    records,
    remembering,
    restoring,
    returning,
    waiting,
)

Rule = Callable[[HostState], Move | None]


@dataclass(frozen=True, slots=True)
class Decision:
    """The task to do now, or the hold why none can be done. At most one of both; neither: nothing is to be done."""

    task: Task | None
    hold: HoldReason | None
    recheck_seconds: int | None
    """When to decide again although nothing wakes the key; None: only when something does."""


def decide(view: HostView) -> Decision:
    """The next task for one host.

    Guarantees: equal views give equal decisions; a task reads again before it writes, so a view may be stale.
    """
    host_state = HostState(view)
    move = None
    if not host_state.is_quiet or any(host_state.is_open(dpu) and host_state.serves(dpu) for dpu in view.dpus):
        move = next((move for move in (rule(host_state) for rule in RULES) if move is not None), None)
    hold = move if isinstance(move, HoldReason) else None
    task = None if isinstance(move, HoldReason) else move
    return Decision(task, hold, _recheck(host_state))


RULES: tuple[Rule, ...] = (
    opening.close_budget,
    records.take_over,
    records.begin,
    records.watch_server,
    records.take_back,
    records.refresh,
    opening.force_open,
    waiting.wait_for_tenant,
    waiting.wait_for_takeover,
    waiting.wait_for_operator,
    aborting.abort_taken_back,
    aborting.abort_overdue,
    remembering.mark_again,
    waiting.wait_for_end,
    asking.drain_again,
    opening.take_mark_off,
    failing.end_failed,
    asking.wait_for_foreign,
    asking.adopt,
    opening.open_budget,
    asking.resume,
    asking.wait_for_host,
    remembering.wait_for_person,
    restoring.restore,
    records.reset,
    asking.ask,
    waiting.wait_for_drain,
    records.name_maintenance,
    returning.wait_to_return,
    proof.prove,
    restoring.lead_out,
    returning.end_maintenance,
    records.finish,
    aborting.wait_for_uncordon,
    restoring.lift_cordon,
)


def _recheck(host_state: HostState) -> int | None:
    """The next moment at which time alone changes the decision."""
    view, now = host_state.view, host_state.view.host_ref.author.now
    found = [left for left in (failing.pause_left(host_state),) if left]
    if (timeout := view.settings.timeout_seconds) is not None:
        begun = [cycle.since for dpu, cycle in host_state.cycles if host_state.is_active(dpu)]
        found += [since + timeout + 1 - now for since in begun if since + timeout + 1 > now]
    if host_state.is_abandoned and (left := remembering.abandoned_seconds_left(host_state)) > 0:
        found.append(left)
    booted = [cycle.booted_at + proof.STALE_SECONDS + 1 - now for _, cycle in host_state.cycles if cycle.booted_at]
    found += [left for left in booted if left > 0]
    return min(found, default=None)
