"""Views of one host for table tests: each gives what all is well with, and changes only what a case is about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dpunetop.domain.drain.model.facts import (
    Author,
    Blind,
    Budget,
    DpuNode,
    DpuView,
    DrainOverride,
    HoldReason,
    HostNode,
    HostRef,
    HostView,
    Maintenance,
    MaintenancePhase,
    Mco,
    NodeGone,
    OvnPod,
    Reason,
    TenantSeen,
)
from dpunetop.domain.drain.model.readers import budget
from dpunetop.domain.drain.model.record import Cycle, State
from dpunetop.domain.drain.protection.blockers import BlockerSettings, first_budget
from dpunetop.domain.names import maintenance_name

SITE = HostRef("host-1", "tenant/a/b", "dpunetop", "owner", Author("dpunetop-drain", "t1", "x1", 1000))
NODE = DpuNode("d1", "n1", False, True, "b1", False, DrainOverride.NONE, Mco.IDLE)
POD = OvnPod({"metadata": {"name": "p", "namespace": "ns"}}, "p1", True, False, True, ("c1",))
HOST = HostNode({"metadata": {"name": "host-1"}}, "h", False, False, None, False, False)
CYCLE = Cycle(
    State.DRAINING, "t1", "x.1", maintenance="m1", node="n1", boot="b1", pod="p1", containers=("c1",), since=900
)
STARTING = replace(CYCLE, state=State.STARTING, maintenance="")
OPENED = replace(CYCLE, opened=True)
RETURNING = replace(OPENED, state=State.RETURNING)
COUNTED = replace(CYCLE, failed="m1")
ABORTED = replace(CYCLE, state=State.ABORTED, reason="HostUncordoned")
NEVER_OPENED = replace(RETURNING, opened=False)


def closed(cycle: Cycle | None = None, **but: Any) -> Budget:
    obj = first_budget(BlockerSettings("dpunetop", "i", "owner", True), "d1", "host-1")
    return replace(budget(obj, "owner"), cycle=cycle, **but)


def dpu(name: str = "d1", read: Budget | None = None, **node: Any) -> DpuView:
    return DpuView(name, replace(NODE, name=name, **node), closed() if read is None else read, "blocker", (POD,))


def nm(
    phase: MaintenancePhase = MaintenancePhase.RUNNING,
    *,
    terminating: bool = False,
    marks: dict[str, str] | None = None,
) -> Maintenance:
    name = maintenance_name("host-1")
    return Maintenance(
        {"metadata": {"name": name}}, name, "m1", "host-1", True, terminating, phase, marks or {}, False, "", 3
    )


FOREIGN = replace(nm(), name="other", uid="m2", ours=False)


def view(*dpus: DpuView, host: HostNode | NodeGone | None = None, maintenances: Any = (), **but: Any) -> HostView:
    """A host in a maintenance of ours bears our mark, if nothing else is said of it."""
    usual = replace(HOST, mark=False) if any(found.ours for found in maintenances or ()) else HOST
    seen = TenantSeen(host or usual, maintenances)
    return HostView(SITE, but.pop("tenant", seen), dpus, "d1", "ns", {"metadata": {"name": "c"}}, **but)


def cordoned(cycle: Cycle | None = None, *, is_open: bool = False, **node: Any) -> DpuView:
    return dpu(read=closed(cycle, is_open=is_open), cordoned=True, **node)


def free(cycle: Cycle | None = None, *, is_open: bool = False, **node: Any) -> DpuView:
    return dpu(read=closed(cycle, is_open=is_open), **node)


BLIND = Blind(HoldReason(Reason.TENANT_UNREACHABLE, ""))
DRAINED_HOST = replace(HOST, cordoned=True, tainted=True, mark=False)
TAKEN_BACK = replace(DRAINED_HOST, cordoned=False)
DONE = nm(MaintenancePhase.SUCCEEDED)
