"""The decision about the copies of the tenant's objects: which are written, and what `TenantObjsSynced` reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.clusterconfig.status import CERTIFICATE_EXPIRES_SOON, report
from dpunetop.domain.clusterconfig.types import DpuClusterConfig
from dpunetop.domain.ovnkube.copies import Copy, CopyRefused, Source, copy_of
from dpunetop.domain.reasons import TENANT_OBJS_SYNCED
from dpunetop.domain.tenant.credentialend import End
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
    now: datetime


def ends_of(view: TenantObjectsView) -> Mapping[str, datetime]:
    """The expiry of each certificate that pods mount, by the name of its object; where a copy is not written yet, that
    of the tenant's object."""
    held = ((pair.source, pair.live if view.owner.owns(pair.live) and pair.live else pair.seen) for pair in view.pairs)
    copies = {source.name: copy_of(source, obj, view.config.namespace, view.owner) for source, obj in held}
    return {name: each.not_after for name, each in copies.items() if isinstance(each, Copy) and each.not_after}


def plan_tenant_objects(view: TenantObjectsView) -> Plan:
    """Bring the copies to what the tenant shows.

    Guarantees: a copy is never removed here, whatever happens to its source; an object that is not ours is left alone;
        each object is judged by itself, so that a bad one holds up no other.
    """
    if view.blind is not None:
        message = f"{view.blind}; copies stay as they are"
        return _say(view, (), Condition(TENANT_OBJS_SYNCED, "Unknown", "TenantNotRead", message))
    judged = [(pair, _judge(view, pair)) for pair in view.pairs]
    problems = [verdict for _, verdict in judged if isinstance(verdict, _Problem)]
    steps = tuple(_write(view, pair, verdict) for pair, verdict in judged if isinstance(verdict, Copy))
    if problems:
        message = "; ".join(problem.message for problem in problems) + ". The last good copies stay"
        return _say(view, steps, Condition(TENANT_OBJS_SYNCED, "False", problems[0].reason, message))
    ends = {pair.source: End(each.not_after) for pair, each in judged if isinstance(each, Copy) and each.not_after}
    pauses = [pause for end in ends.values() if (pause := end.pause(view.now)) is not None]
    return _say(view, steps, _synced(ends, view.now), min(pauses, default=None))


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
    """An object that cannot be changed to the desired one, because it is immutable or of another type, is deleted
    first."""
    live = pair.live
    if live is not None and (live.get("immutable") or live.get("type") != copy.desired.get("type")):
        return Delete(INFRA, pair.source.resource, live)
    return Apply(INFRA, pair.source.resource, copy.desired, live, view.field_manager, ownership=Ownership.WHOLE)


def _synced(ends: Mapping[Source, End], now: datetime) -> Condition:
    """All copies are equal to the tenant's objects; the tenant renews its certificates itself."""
    if not ends:
        return Condition(TENANT_OBJS_SYNCED, "True", "Synced", "")
    source, end = min(ends.items(), key=lambda each: each[1].at)
    whose = f"the certificate in the tenant's {source.resource.kind} {source.name}"
    if now >= end.at:
        words = f"{whose} ended at {end.text}, so that DPUs cannot reach the tenant's databases"
        return Condition(TENANT_OBJS_SYNCED, "False", "CertificateExpired", words)
    if now >= end.warn_from:
        words = f"{whose} ends soon, at {end.text}, and the tenant has not renewed it"
        return Condition(TENANT_OBJS_SYNCED, "True", CERTIFICATE_EXPIRES_SOON, words)
    return Condition(TENANT_OBJS_SYNCED, "True", "Synced", f"the first certificate ends at {end.text}")


def _say(view: TenantObjectsView, steps: tuple[Step, ...], condition: Condition, pause: float | None = None) -> Plan:
    return Plan((*steps, *report(view.config.live, (condition,), view.field_manager)), pause)
