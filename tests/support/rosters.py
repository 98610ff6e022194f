"""Rosters, members and snapshots of one host for table tests: each gives what all is well with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dpunetop.domain.clusterconfig.types import parse_config
from dpunetop.domain.drain.fleet.roster import HostScope, Member, Mode, PodEntry, Roster, Slot
from dpunetop.domain.drain.host import HostSnapshot
from dpunetop.domain.drain.model.facts import DpuView, DrainSettings, HostView, Templates
from dpunetop.domain.drain.protection.blockers import BlockerSettings, blocker
from support.drainviews import SITE
from support.objects import config, node

BLOCKERS = BlockerSettings("dpunetop", "image", "owner", False)
HOST, DPU = "host-1", "d1"
ENTRY = f"TENANT_K8S_NODE={HOST}\n"


def member(dpu: str = DPU, **but: Any) -> Member:
    return replace(Member(dpu, HOST, ENTRY, True, PodEntry(ENTRY), is_home=True), **but)


def roster(mode: Mode = Mode.SERVING, **but: Any) -> Roster:
    obj = config(name="sample")
    known = parse_config({**obj, "status": {**obj["status"], "tenantUID": "tenant-uid"}})
    return replace(Roster(known, mode, DrainSettings(), BLOCKERS, Templates("t1"), {}), **but)


def scope(of: Roster | None = None, place: Slot | None = None) -> HostScope:
    return HostScope(of or roster(), place or slot())


def snapshot(*dpus: DpuView, view: HostView | None = None, **but: Any) -> HostSnapshot:
    names = [each.name for each in dpus]
    nodes, deployments = {name: node(name) for name in names}, {name: blocker(BLOCKERS, name) for name in names}
    return replace(HostSnapshot(scope(), SITE, dpus, nodes, deployments, view), **but)


def slot(*members: Member, host: str = HOST) -> Slot:
    return Slot(host, members or (member(),))
