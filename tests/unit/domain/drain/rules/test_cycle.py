"""What is next for a host, one line a case: the first rule that has something to say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dpunetop.domain.drain.model.facts import (
    DpuNode,
    DpuView,
    DrainOverride,
    DrainSettings,
    HoldReason,
    HostView,
    MaintenancePhase,
    Mco,
    NodeGone,
    OnTimeout,
    Reason,
    Signal,
)
from dpunetop.domain.drain.model.hoststate import HostState
from dpunetop.domain.drain.model.record import Cycle, State
from dpunetop.domain.drain.rules.cycle import Decision, decide
from dpunetop.domain.drain.rules.failing import retry_pause
from dpunetop.domain.drain.rules.opening import Close
from dpunetop.domain.drain.rules.records import Reset, Rewrite
from dpunetop.domain.drain.rules.restoring import LeadOut
from dpunetop.domain.drain.rules.returning import EndMaintenance, LeftCordoned
from dpunetop.domain.names import open_for
from support.drainviews import (
    ABORTED,
    BLIND,
    COUNTED,
    CYCLE,
    DONE,
    DRAINED_HOST,
    FOREIGN,
    HOST,
    NEVER_OPENED,
    NODE,
    OPENED,
    POD,
    RETURNING,
    STARTING,
    TAKEN_BACK,
    closed,
    cordoned,
    dpu,
    free,
    nm,
    view,
)


def told(decision: Decision) -> str:
    """The task and what it is about, or the reason of a hold, or nothing."""
    if decision.task is not None:
        dpu_name = getattr(decision.task, "dpu", "")
        becomes: Any = getattr(decision.task, "becomes", "")
        state = "" if becomes == "" else " over" if becomes is None else f" {becomes.state}"
        return f"{type(decision.task).__name__} {dpu_name}{state}".strip()
    return "" if decision.hold is None else str(decision.hold.reason)


LAPSED = replace(ABORTED, reason="DrainTimeout")
UNSEEN = replace(RETURNING, pod="", containers=(), stale=("c0",))
CHANGED = replace(free(RETURNING), entry="new")
MARK = {open_for("d1"): "d1 x"}
LIMIT = DrainSettings(timeout_seconds=50, on_timeout=OnTimeout.ABORT)
LATE = DrainSettings(timeout_seconds=50)

CASES: dict[str, tuple[HostView, str]] = {
    # at rest
    "nothing is wanted": (view(free()), ""),
    "nothing is wanted and the tenant is away": (view(free(), tenant=BLIND), ""),
    "nothing is wanted and somebody has a maintenance": (view(free(), maintenances=(FOREIGN,)), ""),
    "nothing is wanted of a host without NMO": (view(free(), maintenances=None), ""),
    "nothing is wanted, and a taint is left": (
        view(free(), host=replace(DRAINED_HOST, mark=None)),
        "HostStillCordoned",
    ),
    "a drain is wanted, and cordon and taint are left": (
        view(cordoned(STARTING), host=replace(DRAINED_HOST, mark=None)),
        "HostStillCordoned",
    ),
    "a drain is wanted, and only the taint is left": (
        view(cordoned(STARTING), host=replace(TAKEN_BACK, mark=None)),
        "Create d1",
    ),
    "drained, and the mark is lost": (
        view(cordoned(CYCLE), host=replace(DRAINED_HOST, mark=None), maintenances=(DONE,)),
        "MarkAgain",
    ),
    "a cordon without a mark is no wish": (view(dpu(read=closed(serves="", is_open=True), cordoned=True)), ""),
    "a cordon under somebody else's budget is no wish": (view(dpu(read=closed(ours=False), cordoned=True)), ""),
    "skip": (view(cordoned(override=DrainOverride.SKIP)), ""),
    # closing, whatever else
    "open at rest": (view(free(is_open=True)), "Close d1"),
    "open without a record": (view(cordoned(is_open=True)), "Close d1"),
    "open and taken back": (view(free(OPENED, is_open=True), maintenances=(DONE,), host=DRAINED_HOST), "Close d1"),
    "open and the tenant is away": (view(cordoned(OPENED, is_open=True), tenant=BLIND), "Close d1"),
    "open and held": (
        view(cordoned(OPENED, is_open=True, override=DrainOverride.HOLD), maintenances=(DONE,), host=DRAINED_HOST),
        "Close d1",
    ),
    "open and all is well": (
        view(cordoned(OPENED, is_open=True), maintenances=(DONE,), host=DRAINED_HOST),
        "DpuDraining",
    ),
    "open by force": (
        view(cordoned(STARTING, is_open=True, override=DrainOverride.FORCE), tenant=BLIND),
        "TenantUnreachable",
    ),
    # records
    "a new wish": (view(cordoned()), "Rewrite d1 starting"),
    "a new wish and the tenant is away": (view(cordoned(), tenant=BLIND), "Rewrite d1 starting"),
    "a record of another term": (view(cordoned(replace(CYCLE, term="t0"))), "Rewrite d1 draining"),
    "a record of another term and no wish": (view(free(replace(RETURNING, term="t0"))), "Rewrite d1 returning"),
    "taken back": (view(free(CYCLE), maintenances=(nm(),)), "Rewrite d1 returning"),
    "taken back after an abort": (view(free(ABORTED)), "Rewrite d1 returning"),
    "skip in the middle": (
        view(cordoned(CYCLE, override=DrainOverride.SKIP), maintenances=(nm(),)),
        "Rewrite d1 returning",
    ),
    "wanted again": (view(cordoned(RETURNING), maintenances=(DONE,), host=DRAINED_HOST), "Rewrite d1 starting"),
    "the node is another": (view(cordoned(replace(CYCLE, node="n0"))), "Rewrite d1 draining"),
    "the node may be gone": (view(replace(free(CYCLE), node=NodeGone(False)), maintenances=(nm(),)), "DpuGone"),
    "the node is gone": (view(replace(free(CYCLE), node=NodeGone(True)), maintenances=(nm(),)), "Rewrite d1 returning"),
    "a reboot": (view(cordoned(OPENED, boot_id="b2"), maintenances=(DONE,), host=DRAINED_HOST), "Refresh d1"),
    "what runs is not recorded": (
        view(free(UNSEEN, ready=False), maintenances=(DONE,), host=DRAINED_HOST),
        "Refresh d1",
    ),
    "what runs is not recorded and the tenant is away": (view(free(UNSEEN), tenant=BLIND), "Refresh d1"),
    "what runs is not recorded and held": (
        view(free(UNSEEN, override=DrainOverride.HOLD), maintenances=(DONE,), host=DRAINED_HOST),
        "Refresh d1",
    ),
    "what runs is not recorded but proves": (
        view(free(UNSEEN), maintenances=(DONE,), host=DRAINED_HOST),
        "EndMaintenance",
    ),
    "what runs is not recorded and the host is given back": (
        view(free(UNSEEN), maintenances=(nm(MaintenancePhase.SUCCEEDED, terminating=True),), host=DRAINED_HOST),
        "MaintenanceTerminating",
    ),
    "what runs is not recorded and the host was given back": (view(free(UNSEEN)), "Reset d1 over"),
    "what runs is not recorded and a drain is wanted": (
        view(cordoned(replace(UNSEEN, state=State.DRAINING)), maintenances=(DONE,), host=DRAINED_HOST),
        "Refresh d1",
    ),
    "another reboot": (view(free(UNSEEN, boot_id="b2"), maintenances=(DONE,), host=DRAINED_HOST), "Refresh d1"),
    # what must be known first
    "wanted and the tenant is away": (view(cordoned(STARTING), tenant=BLIND), "TenantUnreachable"),
    "wanted and time went back": (view(cordoned(STARTING), unverified=True), "TimeWentBack"),
    "given back and time went back": (view(free(RETURNING), maintenances=(DONE,), unverified=True), "TimeWentBack"),
    "wanted of a host without NMO": (view(cordoned(STARTING), maintenances=None), "NodeMaintenanceNotServed"),
    "force needs no tenant": (view(cordoned(STARTING, override=DrainOverride.FORCE), tenant=BLIND), "ForceOpen d1"),
    # giving up
    "taken back by a person": (
        view(cordoned(OPENED), maintenances=(DONE,), host=TAKEN_BACK),
        "AbortTakenBack",
    ),
    "taken back by a person while it returns": (
        view(free(RETURNING), maintenances=(DONE,), host=replace(TAKEN_BACK, mark=True)),
        "AbortTakenBack",
    ),
    "too late, abort": (view(cordoned(CYCLE), maintenances=(nm(),), settings=LIMIT), "Abort"),
    "too late, but it was open": (view(cordoned(OPENED), maintenances=(nm(),), settings=LIMIT), "DrainTimeout"),
    "too late, hold": (view(cordoned(CYCLE), maintenances=(nm(),), settings=LATE), "DrainTimeout"),
    "aborted": (view(cordoned(ABORTED)), "Aborted"),
    "aborted with a maintenance": (view(cordoned(ABORTED), maintenances=(nm(),)), "EndMaintenance"),
    # the maintenance
    "asked for": (view(cordoned(STARTING)), "Create d1"),
    "asked for on a cordoned host": (view(cordoned(STARTING), host=replace(HOST, cordoned=True)), "Create d1"),
    "not its turn": (view(cordoned(STARTING), not_now=HoldReason(Reason.NO_FREE_SLOT, "")), "NoFreeSlot"),
    "not its turn, but drained already": (
        view(cordoned(CYCLE), maintenances=(DONE,), host=DRAINED_HOST, not_now=HoldReason(Reason.NO_FREE_SLOT, "")),
        "Open d1",
    ),
    "somebody else's": (view(cordoned(STARTING), maintenances=(FOREIGN,)), "ForeignMaintenance"),
    "somebody else's beside ours": (
        view(cordoned(CYCLE), maintenances=(DONE, FOREIGN), host=DRAINED_HOST),
        "ForeignMaintenance",
    ),
    "the host is in its own drain": (view(cordoned(STARTING), host=replace(HOST, in_own_drain=True)), "HostInOwnDrain"),
    "the host may be gone": (view(cordoned(STARTING), host=NodeGone(False)), "HostAbsent"),
    "the host is gone": (view(cordoned(STARTING), host=NodeGone(True)), "HostAbsent"),
    "the host is about to go": (view(cordoned(STARTING), host=replace(HOST, terminating=True)), "HostAbsent"),
    "ours, not recorded": (view(cordoned(STARTING), maintenances=(nm(),)), "Adopt d1"),
    "ours, another than recorded": (view(cordoned(replace(CYCLE, maintenance="m0")), maintenances=(nm(),)), "Adopt d1"),
    "ours, draining": (view(cordoned(CYCLE), maintenances=(nm(),)), "HostDraining"),
    "ours, just made": (view(cordoned(CYCLE), maintenances=(nm(MaintenancePhase.NEW),)), "HostDraining"),
    "ours, ending": (
        view(cordoned(CYCLE), maintenances=(nm(MaintenancePhase.SUCCEEDED, terminating=True),), host=DRAINED_HOST),
        "MaintenanceTerminating",
    ),
    "ours, gone": (view(cordoned(CYCLE)), "Reset d1 starting"),
    "ours, gone, the host still marked": (view(cordoned(CYCLE), host=replace(HOST, mark=True)), "Restore"),
    "a mark of a maintenance that no record names": (
        view(cordoned(STARTING), host=replace(HOST, mark=True)),
        "Restore",
    ),
    "a mark that nobody remembers": (view(free(), host=replace(HOST, mark=True)), "Restore"),
    "failed": (view(cordoned(CYCLE), maintenances=(nm(MaintenancePhase.FAILED),)), "Rewrite d1 draining"),
    "failed and counted": (
        view(cordoned(COUNTED), maintenances=(nm(MaintenancePhase.FAILED),)),
        "EndFailedMaintenance",
    ),
    "failed with a mark": (view(cordoned(CYCLE), maintenances=(nm(MaintenancePhase.FAILED, marks=MARK),)), "Unmark d1"),
    "failed once": (view(cordoned(replace(STARTING, failures=1, failed_at=999))), "Create d1"),
    "failed twice just now": (view(cordoned(replace(STARTING, failures=2, failed_at=999))), "MaintenanceFailed"),
    "failed twice a while ago": (view(cordoned(replace(STARTING, failures=2, failed_at=990))), "Create d1"),
    "refused just now": (view(cordoned(replace(STARTING, failures=2, failed_at=999, note="no"))), "MaintenanceRefused"),
    # opening
    "drained": (view(cordoned(CYCLE), maintenances=(DONE,), host=DRAINED_HOST), "Open d1"),
    "drained with a mark": (
        view(cordoned(CYCLE), maintenances=(nm(MaintenancePhase.SUCCEEDED, marks=MARK),), host=DRAINED_HOST),
        "Open d1",
    ),
    "drained and held": (
        view(cordoned(CYCLE, override=DrainOverride.HOLD), maintenances=(DONE,), host=DRAINED_HOST),
        "HeldByAnnotation",
    ),
    "running again with a mark": (view(cordoned(OPENED), maintenances=(nm(marks=MARK),)), "Unmark d1"),
    "a mark of a stranger": (
        view(free(RETURNING), maintenances=(nm(marks={open_for("d9"): "d9 x"}),)),
        "Unmark d9",
    ),
    # giving back
    "proven": (view(free(RETURNING), maintenances=(DONE,), host=DRAINED_HOST), "EndMaintenance"),
    "not proven": (view(free(RETURNING, ready=False), maintenances=(DONE,), host=DRAINED_HOST), "ProofMissing"),
    "never opened, and as it was when it began": (
        view(free(NEVER_OPENED), maintenances=(DONE,), host=DRAINED_HOST),
        "EndMaintenance",
    ),
    "never opened, and its node is not Ready": (
        view(free(NEVER_OPENED, ready=False), maintenances=(DONE,), host=DRAINED_HOST),
        "ProofMissing",
    ),
    "never opened, and its pod is not Ready": (
        view(replace(free(NEVER_OPENED), pods=(replace(POD, ready=False),)), maintenances=(DONE,), host=DRAINED_HOST),
        "ProofMissing",
    ),
    "never opened, and its pod is gone": (
        view(replace(free(NEVER_OPENED), pods=()), maintenances=(DONE,), host=DRAINED_HOST),
        "ProofMissing",
    ),
    "never opened, and in another boot": (
        view(free(NEVER_OPENED, boot_id="b2"), maintenances=(DONE,), host=DRAINED_HOST),
        "Refresh d1",
    ),
    "never opened, and rebooted since": (
        view(
            free(replace(NEVER_OPENED, boot="b1", booted_at=990, containers=(), stale=("c1",))),
            maintenances=(DONE,),
            host=DRAINED_HOST,
        ),
        "ProofMissing",
    ),
    "never opened, and marked as open": (
        view(free(NEVER_OPENED), maintenances=(nm(MaintenancePhase.SUCCEEDED, marks=MARK),), host=DRAINED_HOST),
        "Unmark d1",
    ),
    "aborted in time, and its node is not Ready": (
        view(cordoned(LAPSED, ready=False), maintenances=(DONE,), host=DRAINED_HOST),
        "ProofMissing",
    ),
    "aborted in time, and as it was when it began": (
        view(cordoned(LAPSED), maintenances=(DONE,), host=DRAINED_HOST),
        "EndMaintenance",
    ),
    "in use again, whatever its DPU shows": (
        view(free(RETURNING, ready=False), maintenances=(DONE,), host=TAKEN_BACK),
        "EndMaintenance",
    ),
    "held": (
        view(free(RETURNING, override=DrainOverride.HOLD), maintenances=(DONE,), host=DRAINED_HOST),
        "HeldByAnnotation",
    ),
    "mco is not done": (
        view(free(RETURNING, mco=Mco.PENDING), maintenances=(DONE,), host=DRAINED_HOST),
        "MachineConfigPending",
    ),
    "mco asks in vain": (
        view(cordoned(ABORTED, mco=Mco.DRAINS), maintenances=(DONE,), host=TAKEN_BACK),
        "EndMaintenance",
    ),
    "mco has drained what was aborted": (
        view(cordoned(ABORTED, mco=Mco.DRAINED), maintenances=(DONE,), host=TAKEN_BACK),
        "MachineConfigPending",
    ),
    "mco asks in vain for one that is skipped": (
        view(cordoned(RETURNING, override=DrainOverride.SKIP, mco=Mco.DRAINS), maintenances=(DONE,), host=DRAINED_HOST),
        "EndMaintenance",
    ),
    "mco has drained what is skipped": (
        view(
            cordoned(RETURNING, override=DrainOverride.SKIP, mco=Mco.DRAINED), maintenances=(DONE,), host=DRAINED_HOST
        ),
        "MachineConfigPending",
    ),
    "the blocker is not Ready": (
        view(replace(free(RETURNING), blocker=""), maintenances=(DONE,), host=DRAINED_HOST),
        "BlockerNotReady",
    ),
    "the blocker is not Ready, and a person forces it": (
        view(
            replace(free(RETURNING, override=DrainOverride.FORCE, ready=False), blocker=""),
            maintenances=(DONE,),
            host=DRAINED_HOST,
        ),
        "EndMaintenance",
    ),
    "the pod is outdated": (
        view(replace(free(RETURNING), pods=(replace(POD, current=False),)), maintenances=(DONE,), host=DRAINED_HOST),
        "RestartPod d1",
    ),
    "the pod is outdated and the host may be in use": (
        view(replace(free(RETURNING), pods=(replace(POD, current=False),)), maintenances=(nm(),)),
        "ProofMissing",
    ),
    "its entry is another": (view(CHANGED, maintenances=(DONE,), host=DRAINED_HOST), "ChangeEntry d1"),
    "its entry is another and the pod is not Ready yet": (
        view(replace(CHANGED, pods=(replace(POD, ready=False),)), maintenances=(DONE,), host=DRAINED_HOST),
        "ChangeEntry d1",
    ),
    "its entry is another and two pods are there": (
        view(replace(CHANGED, pods=(POD, replace(POD, uid="p0"))), maintenances=(DONE,), host=DRAINED_HOST),
        "ProofMissing",
    ),
    "its entry is another and one of two pods goes": (
        view(
            replace(CHANGED, pods=(POD, replace(POD, uid="p0", terminating=True))),
            maintenances=(DONE,),
            host=DRAINED_HOST,
        ),
        "ChangeEntry d1",
    ),
    "its entry is another and the host is drained again": (
        view(CHANGED, maintenances=(nm(),), host=DRAINED_HOST),
        "EndMaintenance",
    ),
    "its entry is another and its drain is held": (
        view(
            replace(CHANGED, node=replace(NODE, override=DrainOverride.HOLD)), maintenances=(DONE,), host=DRAINED_HOST
        ),
        "HeldByAnnotation",
    ),
    "its entry is another but the DPU was never let go": (
        view(replace(free(NEVER_OPENED), entry="new"), maintenances=(DONE,), host=DRAINED_HOST),
        "EndMaintenance",
    ),
    "its entry is another and the drain is wanted": (
        view(replace(cordoned(OPENED, is_open=True), entry="new"), maintenances=(DONE,), host=DRAINED_HOST),
        "DpuDraining",
    ),
    "no record at all": (view(free(), maintenances=(DONE,), host=DRAINED_HOST), "Rewrite d1 returning"),
    "wanted, and a maintenance stands without a record": (
        view(cordoned(), maintenances=(DONE,), host=DRAINED_HOST),
        "Rewrite d1 starting",
    ),
    "the record names another": (
        view(free(replace(RETURNING, maintenance="m0")), maintenances=(DONE,), host=DRAINED_HOST),
        "Rewrite d1 returning",
    ),
    "failed and nobody wants it": (
        view(free(RETURNING, ready=False), maintenances=(nm(MaintenancePhase.FAILED),)),
        "EndMaintenance",
    ),
    "nobody is left to prove it": (
        view(replace(free(RETURNING), node=NodeGone(True)), maintenances=(DONE,), host=DRAINED_HOST),
        "EndMaintenance",
    ),
    "unpaired": (
        view(replace(free(RETURNING, ready=False), paired=False), maintenances=(DONE,), host=DRAINED_HOST),
        "EndMaintenance",
    ),
    "no DPU is left at all": (view(maintenances=(DONE,), host=DRAINED_HOST), "EndMaintenance"),
    "forced": (
        view(free(RETURNING, ready=False, override=DrainOverride.FORCE), maintenances=(DONE,), host=DRAINED_HOST),
        "EndMaintenance",
    ),
    "the host is gone, its maintenance not": (
        view(free(RETURNING), maintenances=(DONE,), host=NodeGone(True)),
        "EndMaintenance",
    ),
    "over": (view(free(RETURNING)), "Reset d1 over"),
    "over, the host is gone": (view(free(RETURNING), host=NodeGone(True)), "Reset d1 over"),
    "over, the host still marked": (view(free(RETURNING), host=replace(HOST, mark=False)), "Restore"),
    "drained, and its own operator was at work meanwhile": (
        view(cordoned(CYCLE), maintenances=(replace(DONE, host_update="c0"),), host=DRAINED_HOST),
        "Renew",
    ),
    "being drained, and its own operator was at work meanwhile": (
        view(cordoned(CYCLE), maintenances=(replace(nm(), host_update="c0"),), host=DRAINED_HOST),
        "HostDraining",
    ),
    "led out, uncordoned and cordoned again while its maintenance is there yet": (
        view(replace(free(ABORTED), parting=True), maintenances=(DONE,), host=DRAINED_HOST),
        "EndMaintenance",
    ),
    "led out, uncordoned and cordoned again": (
        view(replace(free(ABORTED), parting=True), host=replace(HOST, cordoned=True)),
        "Rewrite d1 starting",
    ),
    "ours, gone, and what it did is left": (view(free(RETURNING), host=DRAINED_HOST), "LeadOut"),
    "left cordoned by us and served again": (
        view(free(), host=replace(HOST, cordoned=True, left_by="owner")),
        "LiftCordon",
    ),
}


@pytest.mark.parametrize(("given", "expected"), CASES.values(), ids=CASES.keys())
def test_next_is(given: HostView, expected: str) -> None:
    assert told(decide(given)) == expected


def test_a_first_record_names_the_dpu_that_it_is_about_and_when_the_drain_was_wanted() -> None:
    task = decide(view(cordoned())).task
    assert isinstance(task, Rewrite)
    assert task.becomes == Cycle(State.STARTING, "t1", node="n1", boot="b1", pod="p1", containers=("c1",), since=1000)


def two(first: DpuView, second: DpuView, **but: Any) -> HostView:
    other = replace(
        second, name="d2", node=replace(second.node, name="d2") if isinstance(second.node, DpuNode) else second.node
    )
    return view(first, other, **but)


TWO: dict[str, tuple[HostView, str]] = {
    "both are drained for": (two(cordoned(CYCLE), cordoned(CYCLE), maintenances=(DONE,), host=DRAINED_HOST), "Open d1"),
    "the second wants it too": (
        two(cordoned(OPENED, is_open=True), cordoned(), maintenances=(DONE,), host=DRAINED_HOST),
        "Rewrite d2 starting",
    ),
    "one is done, the other not": (
        two(free(RETURNING), cordoned(OPENED, is_open=True), maintenances=(DONE,), host=DRAINED_HOST),
        "DpuDraining",
    ),
    "both are done": (two(free(RETURNING), free(RETURNING), maintenances=(DONE,), host=DRAINED_HOST), "EndMaintenance"),
    "the other one wants it, the serving one is watched too": (
        two(free(), cordoned(CYCLE), maintenances=(nm(),)),
        "Rewrite d1 returning",
    ),
    "the other one was rebooted, the serving one proves it": (
        two(free(NEVER_OPENED), free(RETURNING, ready=True), maintenances=(DONE,), host=DRAINED_HOST),
        "EndMaintenance",
    ),
    "the serving one cannot prove it": (
        two(free(NEVER_OPENED, ready=False), free(RETURNING), maintenances=(DONE,), host=DRAINED_HOST),
        "ProofMissing",
    ),
    "neither was opened, and the serving one is not Ready": (
        two(free(NEVER_OPENED, ready=False), free(NEVER_OPENED), maintenances=(DONE,), host=DRAINED_HOST),
        "ProofMissing",
    ),
    "the other one is dead and forced, and the serving one proves it": (
        two(
            free(RETURNING),
            replace(free(RETURNING, override=DrainOverride.FORCE, ready=False), blocker=""),
            maintenances=(DONE,),
            host=DRAINED_HOST,
        ),
        "EndMaintenance",
    ),
    "the other one is forced, and the serving one cannot prove it": (
        two(
            free(RETURNING, ready=False),
            free(RETURNING, override=DrainOverride.FORCE),
            maintenances=(DONE,),
            host=DRAINED_HOST,
        ),
        "ProofMissing",
    ),
    "the serving one is gone, the other may serve": (
        two(replace(free(RETURNING), node=NodeGone(True)), free(), maintenances=(DONE,), host=DRAINED_HOST),
        "ProofMissing",
    ),
    "the other one was open, and the serving one never was and is not Ready": (
        two(free(NEVER_OPENED, ready=False), free(RETURNING, ready=False), maintenances=(DONE,), host=DRAINED_HOST),
        "ProofMissing",
    ),
    "the serving one was open and is not Ready, the other one never was": (
        two(free(RETURNING, ready=False), free(NEVER_OPENED), maintenances=(DONE,), host=DRAINED_HOST),
        "ProofMissing",
    ),
    "the serving one was open and is not Ready, the drain of the other one was aborted": (
        two(free(RETURNING, ready=False), cordoned(LAPSED), maintenances=(DONE,), host=DRAINED_HOST),
        "ProofMissing",
    ),
    "the drain of the serving one was aborted after it was open, and it is not Ready": (
        two(
            cordoned(replace(LAPSED, opened=True), ready=False),
            free(NEVER_OPENED),
            maintenances=(DONE,),
            host=DRAINED_HOST,
        ),
        "ProofMissing",
    ),
    "the other one was open and aborted, and a sign of the serving one is missing that never was": (
        two(
            free(NEVER_OPENED),
            cordoned(replace(LAPSED, opened=True)),
            maintenances=(DONE,),
            host=DRAINED_HOST,
            signals=(Signal("zone", holds=False),),
        ),
        "ProofMissing",
    ),
    "the other one was open, and a sign of the serving one is missing that never was": (
        two(
            free(NEVER_OPENED),
            free(RETURNING),
            maintenances=(DONE,),
            host=DRAINED_HOST,
            signals=(Signal("zone", holds=False),),
        ),
        "ProofMissing",
    ),
    "too late, and the other one was open": (
        two(cordoned(CYCLE), cordoned(OPENED), maintenances=(nm(),), settings=LIMIT),
        "DrainTimeout",
    ),
    "too late, and the other one that was open wants nothing any more": (
        two(cordoned(CYCLE), free(RETURNING), maintenances=(nm(),), settings=LIMIT),
        "DrainTimeout",
    ),
    "too late, and neither was open": (
        two(cordoned(CYCLE), cordoned(CYCLE), maintenances=(nm(),), settings=LIMIT),
        "Abort",
    ),
    "the other one wants its drain, and nothing is to be proven of the serving one": (
        two(free(NEVER_OPENED), cordoned(CYCLE), maintenances=(nm(),)),
        "HostDraining",
    ),
    "mco has drained the other one, whose drain was aborted": (
        two(free(RETURNING), cordoned(ABORTED, mco=Mco.DRAINED), maintenances=(DONE,), host=DRAINED_HOST),
        "MachineConfigPending",
    ),
    "mco has drained the other one, which is skipped": (
        two(free(RETURNING), cordoned(RETURNING, mco=Mco.DRAINED, override=DrainOverride.SKIP), maintenances=(DONE,)),
        "MachineConfigPending",
    ),
    "one of two that are drained is held": (
        two(
            cordoned(OPENED, is_open=True),
            cordoned(CYCLE, override=DrainOverride.HOLD),
            maintenances=(DONE,),
            host=DRAINED_HOST,
        ),
        "HeldByAnnotation",
    ),
    "one of them is held": (
        two(free(RETURNING), free(override=DrainOverride.HOLD), maintenances=(DONE,), host=DRAINED_HOST),
        "HeldByAnnotation",
    ),
    "an abort is of all that want it": (
        two(cordoned(OPENED), cordoned(CYCLE), maintenances=(DONE,), host=TAKEN_BACK),
        "AbortTakenBack",
    ),
    "one aborted, one taken back": (two(cordoned(ABORTED), free(CYCLE), maintenances=(DONE,)), "Rewrite d2 returning"),
}


@pytest.mark.parametrize(("given", "expected"), TWO.values(), ids=TWO.keys())
def test_next_for_two_dpus_in_one_host_is(given: HostView, expected: str) -> None:
    assert told(decide(given)) == expected


PAST: dict[str, Any] = {
    "opened": True,
    "disturbed": True,
    "booted_at": 7,
    "stale": ("c0",),
    "boot": "b1",
    "containers": ("c1",),
}
"""What a record knows, of a DPU that runs as it was seen last."""


def with_a_past(dpu: DpuView) -> DpuView:
    if dpu.budget is None or dpu.budget.cycle is None:
        return dpu
    return replace(dpu, budget=replace(dpu.budget, cycle=replace(dpu.budget.cycle, **PAST)))


@pytest.mark.parametrize("case", [*CASES, *TWO])
def test_no_decision_writes_a_record_that_has_forgotten_what_the_one_before_knew(case: str) -> None:
    given = {**CASES, **TWO}[case][0]
    task = decide(replace(given, dpus=tuple(map(with_a_past, given.dpus)))).task
    if not isinstance(task, Rewrite | Reset) or task.seen is None or task.becomes is None:
        return
    assert {name: getattr(task.becomes, name) for name in PAST} == {name: getattr(task.seen, name) for name in PAST}


def becomes(given: HostView) -> Cycle:
    task = decide(given).task
    assert isinstance(task, Rewrite | Reset)
    assert task.becomes is not None
    return task.becomes


def test_a_drain_that_is_wanted_again_begins_without_what_ended_the_last_one() -> None:
    ended = replace(RETURNING, reason="DrainTimeout", failures=3, note="no", since=5)
    found = becomes(view(cordoned(ended)))
    assert (found.state, found.reason, found.failures, found.note, found.since) == (State.STARTING, "", 0, "", 1000)


def test_a_node_that_is_registered_anew_has_all_the_time_again() -> None:
    found = becomes(view(cordoned(replace(CYCLE, node="n0"))))
    assert (found.node, found.since, found.state) == ("n1", 1000, State.DRAINING)


def test_an_abort_whose_cordon_is_taken_back_goes_on_saying_why_it_was_aborted() -> None:
    found = becomes(view(free(ABORTED)))
    assert (found.state, found.reason) == (State.RETURNING, "HostUncordoned")


def test_who_waits_for_the_hosts_own_operator_is_told_to_force_the_dpu_whose_drain_is_wanted() -> None:
    hold = decide(two(free(), cordoned(STARTING), host=replace(HOST, in_own_drain=True))).hold
    assert hold is not None
    assert "annotate d2 " in hold.message
    assert "annotate d1 " not in hold.message


def test_who_is_held_for_a_blocker_is_told_how_to_force_it() -> None:
    hold = decide(view(replace(free(RETURNING), blocker=""), maintenances=(DONE,), host=DRAINED_HOST)).hold
    assert hold is not None
    assert hold.message == (
        "the blocker of d1 is not Ready, so nothing would hold its next drain;"
        " repair it, or annotate it dpu.openshift.io/drain=force:b1"
    )


def test_a_host_that_ends_without_proof_is_to_come_out_cordoned_and_somebody_is_told() -> None:
    task = decide(view(replace(free(RETURNING), node=NodeGone(True)), maintenances=(DONE,), host=DRAINED_HOST)).task
    assert isinstance(task, EndMaintenance)
    assert (task.cordoned_before, task.left_cordoned) == (
        True,
        LeftCordoned({"metadata": {"name": "c"}}, is_parted=False),
    )


@pytest.mark.parametrize("maintenances", [(DONE,), ()], ids=["stands", "is gone"])
def test_force_tells_nobody_of_a_host_of_which_nothing_is_to_be_proven_when_the_maintenance(maintenances: Any) -> None:
    task = decide(
        view(free(NEVER_OPENED, override=DrainOverride.FORCE), maintenances=maintenances, host=DRAINED_HOST)
    ).task
    assert isinstance(task, EndMaintenance if maintenances else LeadOut)
    assert task.left_cordoned is None


def test_a_host_that_a_person_uncordoned_comes_out_in_use_whatever_it_was_before() -> None:
    over = replace(RETURNING, reason=str(Reason.HOST_UNCORDONED))
    task = decide(view(free(over), maintenances=(DONE,), host=replace(DRAINED_HOST, mark=True))).task
    assert isinstance(task, EndMaintenance)
    assert task.cordoned_before is False


@pytest.mark.parametrize(("since", "reason", "recheck"), [(950, "HostDraining", 1), (949, "DrainTimeout", None)])
def test_a_drain_is_late_in_the_second_after_its_time_and_is_looked_at_then(
    since: int, reason: str, recheck: int | None
) -> None:
    limit = DrainSettings(timeout_seconds=50)
    found = decide(view(cordoned(replace(CYCLE, since=since)), maintenances=(nm(),), settings=limit))
    assert (told(found), found.recheck_seconds) == (reason, recheck)


@pytest.mark.parametrize(("term", "says_so"), [("t1", True), ("t0", False)])
def test_the_write_that_closes_says_that_the_cordon_was_taken_back_only_in_a_record_of_ours(
    term: str, says_so: bool
) -> None:
    cycle = replace(OPENED, term=term)
    task = decide(view(free(cycle, is_open=True), maintenances=(DONE,), host=DRAINED_HOST)).task
    assert isinstance(task, Close)
    assert task.taken_back == (cycle if says_so else None)


def test_a_host_that_was_proven_is_to_come_out_as_it_was() -> None:
    task = decide(view(free(RETURNING), maintenances=(DONE,), host=DRAINED_HOST)).task
    assert isinstance(task, EndMaintenance)
    assert (task.cordoned_before, task.left_cordoned) == (None, None)
    assert [dpu_check.proven_boot for dpu_check in task.dpu_checks] == ["b1"]


LATE_SIGN = Signal("lease", False, HoldReason(Reason.LEASE_NOT_RENEWED, "the Lease is not renewed"))
SHOWN: dict[str, tuple[tuple[Signal, ...], Reason, str]] = {
    "it may yet come": ((Signal("lease", False), Signal("zone", True)), Reason.PROOF_MISSING, "lease"),
    "it does not come by itself": (
        (Signal("lease", False), LATE_SIGN),
        Reason.LEASE_NOT_RENEWED,
        "lease, lease; the Lease is not renewed",
    ),
    "trouble of a sign that holds is over": (
        (replace(LATE_SIGN, holds=True), Signal("zone", False)),
        Reason.PROOF_MISSING,
        "zone",
    ),
}


@pytest.mark.parametrize(("signals", "reason", "words"), SHOWN.values(), ids=SHOWN.keys())
def test_a_sign_that_the_tenant_does_not_show_is_waited_for_with_a_reason(
    signals: tuple[Signal, ...], reason: Reason, words: str
) -> None:
    found = decide(view(free(RETURNING), maintenances=(DONE,), host=DRAINED_HOST, signals=signals)).hold
    assert found == HoldReason(reason, f"d1 has yet to show: {words}")


def test_an_outdated_pod_is_started_anew_before_its_lease_is_waited_for() -> None:
    outdated = replace(free(RETURNING), pods=(replace(POD, current=False),))
    found = decide(view(outdated, maintenances=(DONE,), host=DRAINED_HOST, signals=(LATE_SIGN,)))
    assert told(found) == "RestartPod d1"


def test_a_dpu_that_serves_nobody_yet_has_no_say_in_giving_back() -> None:
    newcomer = replace(free(), name="d2", budget=closed(serves="", is_open=True))
    task = decide(view(free(RETURNING), newcomer, maintenances=(DONE,), host=DRAINED_HOST)).task
    assert isinstance(task, EndMaintenance)
    assert [dpu_check.dpu for dpu_check in task.dpu_checks] == ["d1"]


def test_stale_containers_are_waited_for_and_then_started_anew() -> None:
    stale = replace(RETURNING, boot="b1", containers=(), pod="", stale=("c1",), booted_at=990)
    waiting = decide(view(free(stale), maintenances=(DONE,), host=DRAINED_HOST))
    assert (told(waiting), waiting.recheck_seconds) == ("ProofMissing", 291)
    old = replace(stale, booted_at=600)
    assert told(decide(view(free(old), maintenances=(DONE,), host=DRAINED_HOST))) == "RestartPod d1"


PAUSES = {0: 0, 1: 0, 2: 10, 3: 20, 4: 40, 5: 80, 6: 160, 7: 300, 1000: 300}


@pytest.mark.parametrize(("failures", "seconds"), PAUSES.items())
def test_after_so_many_failures_the_next_try_waits(failures: int, seconds: int) -> None:
    assert retry_pause(failures) == seconds


def test_a_clock_that_was_set_back_makes_nobody_wait_for_longer_than_the_longest_pause() -> None:
    future = replace(STARTING, failures=2, failed_at=10_000_000)
    assert decide(view(cordoned(future))).recheck_seconds == 300


def test_equal_views_give_equal_decisions() -> None:
    for given, _ in CASES.values():
        assert decide(given) == decide(given)


def test_a_view_without_anything_of_a_drain_is_quiet() -> None:
    assert HostState(view(free())).is_quiet is True
    assert HostState(view(cordoned())).is_quiet is False


def test_a_host_whose_next_server_has_yet_to_come_is_held_with_the_proof_as_the_reason() -> None:
    given = replace(view(free(RETURNING), maintenances=(DONE,), host=DRAINED_HOST), serving=None)
    hold = decide(given).hold
    assert hold is not None
    assert (hold.reason, hold.message) == (Reason.PROOF_MISSING, "no DPU serves host-1 now")
