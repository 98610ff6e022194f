"""Whether the copies of the tenant's objects are written, and what is said about them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.clusterconfig.status import report
from dpunetop.domain.clusterconfig.types import DpuClusterConfig
from dpunetop.domain.ovnkube.copies import Copy, CopyRefused, Source, copy_of
from dpunetop.domain.reasons import TENANT_OBJS_SYNCED
from dpunetop.kube.conditions import Condition
from dpunetop.kube.keys import INFRA
from dpunetop.kube.meta import Obj, is_terminating
from dpunetop.kube.plan import Apply, Delete, Ownership, Plan, Step


@dataclass(frozen=True, slots=True)
class CopiedObject:
    """One object of the tenant, as it was last seen there (None: known to be absent), and its copy here."""

    source: Source
    seen: Obj | None
    live: Obj | None


@dataclass(frozen=True, slots=True)
class TenantObjectsView:
    """All that the decision looks at. `blind` says why the tenant cannot be read; `pairs` then are empty."""

    config: DpuClusterConfig
    owner: Owner
    pairs: tuple[CopiedObject, ...]
    blind: str | None
    field_manager: str


def plan_tenant_objects(view: TenantObjectsView) -> Plan:
    """Bring the copies to what the tenant shows.

    Guarantees: a copy is never removed here, whatever becomes of its source; what is not ours is left alone; each
        object is judged for itself, so that one that is bad holds up no other.
    """
    if view.blind is not None:
        message = f"the tenant has not been read: {view.blind}; copies stay as they are"
        return _say(view, (), Condition(TENANT_OBJS_SYNCED, "Unknown", "TenantNotRead", message))
    judged = [(pair, _judge(view, pair)) for pair in view.pairs]
    problems = [verdict for _, verdict in judged if isinstance(verdict, _Problem)]
    steps = tuple(_write(view, pair, verdict) for pair, verdict in judged if isinstance(verdict, Copy))
    if problems:
        message = "; ".join(problem.message for problem in problems) + ". The last good copies stay"
        return _say(view, steps, Condition(TENANT_OBJS_SYNCED, "False", problems[0].reason, message))
    ends = [verdict.not_after for _, verdict in judged if isinstance(verdict, Copy) and verdict.not_after]
    return _say(view, steps, Condition(TENANT_OBJS_SYNCED, "True", "Synced", _expiry(ends)))


@dataclass(frozen=True, slots=True)
class _Problem:
    reason: str
    message: str


def _judge(view: TenantObjectsView, pair: CopiedObject) -> Copy | _Problem:
    what = f"{pair.source.resource.kind} {pair.source.name} in {view.config.namespace}"
    if not view.owner.owns(pair.live):
        return _Problem("NotOurs", f"{what} exists and is not ours; it is left as it is. Remove it to have it copied")
    if pair.live is not None and is_terminating(pair.live):
        return _Problem("Terminating", f"{what} is being deleted; it is written again once it is gone")
    copy = copy_of(pair.source, pair.seen, view.config.namespace, view.owner)
    return _Problem(copy.reason.value, copy.message) if isinstance(copy, CopyRefused) else copy


def _write(view: TenantObjectsView, pair: CopiedObject, copy: Copy) -> Step:
    """An object that cannot become what it should be, immutable or of another type, makes way first."""
    live = pair.live
    if live is not None and (live.get("immutable") or live.get("type") != copy.desired.get("type")):
        return Delete(INFRA, pair.source.resource, live)
    return Apply(INFRA, pair.source.resource, copy.desired, live, view.field_manager, ownership=Ownership.WHOLE)


def _expiry(ends: list[datetime]) -> str:
    return f"the first certificate ends at {min(ends):%Y-%m-%dT%H:%M:%SZ}" if ends else ""


def _say(view: TenantObjectsView, steps: tuple[Step, ...], condition: Condition) -> Plan:
    return Plan((*steps, *report(INFRA, view.config.live, (condition,), view.field_manager)))
