"""Each part of a drain has a limit of time; what exceeds it is told with since when, and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dpunetop.domain.clusterconfig.types import parse_config
from dpunetop.domain.drain.model.facts import (
    DrainOverride,
    DrainSettings,
    HostView,
    MaintenancePhase,
    Mco,
    NodeGone,
    Pod,
)
from dpunetop.domain.drain.model.limits import DEFAULT_LIMITS, DEFAULT_SECONDS, LimitedStep, Limits, duration
from dpunetop.domain.drain.model.record import Cycle
from dpunetop.domain.drain.model.times import as_time
from dpunetop.domain.drain.protection.decision import ProtectionPhase
from dpunetop.domain.drain.report.dpustatus import DpuPhase, DpuStatus, dpu_statuses
from dpunetop.domain.drain.report.overdue import BEGINNING_SECONDS, guarding_span, next_limit, span_of, timed
from dpunetop.domain.drain.rules.cycle import decide
from dpunetop.domain.hostconfig.machinestate import MachineState
from support.drainviews import (
    ABORTED,
    CYCLE,
    DONE,
    DRAINED_HOST,
    HOST,
    OPENED,
    RETURNING,
    SITE,
    STARTING,
    closed,
    cordoned,
    dpu,
    free,
    nm,
    view,
)
from support.sources import documents_in

CRD = Path(__file__).parents[5] / "config" / "crd" / "dpu.openshift.io_dpuclusterconfigs.yaml"
ASKED = replace(CYCLE, asked_at=1000)
OPEN = replace(OPENED, asked_at=1000, opened_at=2000)
BACK = replace(RETURNING, asked_at=1000, opened_at=2000, booted_at=3000, returned_at=4000, stale=("c0",))
UNPROVEN: dict[str, Any] = {"pods": ()}


def at(time: int, given: HostView) -> HostView:
    return replace(given, host_ref=replace(SITE, author=replace(SITE.author, now=time)))


def look(given: HostView, guarding: ProtectionPhase = ProtectionPhase.SERVING) -> DpuStatus:
    found = dpu_statuses(given, decide(given))
    (first, *_) = timed(given, found, {each.dpu: guarding for each in found})
    return first


# --- nothing is without a limit -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", DpuPhase)
def test_every_stage_has_a_limit_or_is_told_at_once_or_is_rest(stage: DpuPhase) -> None:
    found = {span_of(stage, cycle, is_ending=ending) for cycle in (None, ASKED, OPEN) for ending in (False, True)}
    assert (found == {None}) is (stage in (DpuPhase.IDLE, DpuPhase.HELD, DpuPhase.FAILED))
    assert None not in found or len(found) == 1


@pytest.mark.parametrize("guarding", ProtectionPhase)
def test_every_step_of_protection_has_a_limit_or_is_told_at_once_or_lasts(guarding: ProtectionPhase) -> None:
    lasts = (
        ProtectionPhase.SERVING,
        ProtectionPhase.NOT_SERVING,
        ProtectionPhase.NOT_OURS,
        ProtectionPhase.REMOVAL_PENDING,
    )
    assert guarding_span(guarding) is (None if guarding in lasts else LimitedStep.PROTECTION)


def test_every_limit_has_a_default_which_is_that_of_the_schema() -> None:
    [crd] = documents_in(CRD)
    [version] = crd["spec"]["versions"]
    drain = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["drain"]["properties"]
    schema = {name: each["default"] for name, each in drain["limits"]["properties"].items()}
    assert schema == {span.value: duration(DEFAULT_LIMITS.seconds(span)) for span in LimitedStep}
    assert DEFAULT_SECONDS.keys() == set(LimitedStep)
    assert all(each["description"] and each["pattern"] for each in drain["limits"]["properties"].values())


def test_every_limit_is_on_the_page_with_its_default_and_its_reason() -> None:
    page = (CRD.parents[2] / "docs" / "drain.md").read_text().split("## Limits of time\n")[1].split("\n## ")[0]
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in page.splitlines() if "|" in line]
    shown = {row[0]: (row[1], row[4]) for row in rows[2:]}
    assert shown == {span.value: (duration(DEFAULT_SECONDS[span]), span.reason) for span in LimitedStep}


def test_limits_are_read_from_the_resource_and_what_is_not_given_has_its_default() -> None:
    given = {"metadata": {"name": "n"}, "spec": {"drain": {"limits": {"hostDrain": "1h30m", "verifying": "45s"}}}}
    limits = Limits(parse_config(given).drain.limits)
    found = {span: limits.seconds(span) for span in LimitedStep}
    assert found == {**DEFAULT_SECONDS, LimitedStep.HOST_DRAIN: 5400, LimitedStep.VERIFYING: 45}
    assert parse_config({"metadata": {"name": "n"}, "spec": {}}).drain.limits == {}


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (45, "45s"), (600, "10m"), (3600, "1h"), (5430, "1h30m30s")])
def test_a_duration_is_shown_as_the_api_takes_it(seconds: int, text: str) -> None:
    assert duration(seconds) == text


# --- since when -----------------------------------------------------------------------------------------------------

DRAINING = view(cordoned(ASKED), maintenances=(nm(),))
SINCE: dict[str, tuple[HostView, LimitedStep, int]] = {
    "the host has not been asked": (view(cordoned(STARTING)), LimitedStep.STARTING, 900),
    "the host is being drained": (DRAINING, LimitedStep.HOST_DRAIN, 1000),
    "drained, and not opened yet": (
        view(cordoned(ASKED), maintenances=(DONE,), host=DRAINED_HOST),
        LimitedStep.HOST_DRAIN,
        1000,
    ),
    "begun anew after an opening": (view(cordoned(replace(ASKED, opened=True))), LimitedStep.HOST_DRAIN, 1000),
    "open": (view(cordoned(OPEN, is_open=True), maintenances=(DONE,), host=DRAINED_HOST), LimitedStep.DPU_DRAIN, 2000),
    "down": (
        view(cordoned(OPEN, is_open=True, ready=False, ready_since=2500), maintenances=(DONE,), host=DRAINED_HOST),
        LimitedStep.DPU_DOWN,
        2500,
    ),
    "down since before it was opened": (
        view(cordoned(OPEN, is_open=True, ready=False, ready_since=5), maintenances=(DONE,), host=DRAINED_HOST),
        LimitedStep.DPU_DOWN,
        2000,
    ),
    "back and cordoned": (
        view(
            cordoned(replace(OPEN, stale=("c0",), booted_at=3000), is_open=True),
            maintenances=(DONE,),
            host=DRAINED_HOST,
        ),
        LimitedStep.RECOVERY,
        3000,
    ),
    "verifying": (
        view(replace(free(BACK), **UNPROVEN), maintenances=(DONE,), host=DRAINED_HOST),
        LimitedStep.VERIFYING,
        4000,
    ),
    "Ready only after the cordon was taken back": (
        view(replace(free(BACK, ready_since=4500), **UNPROVEN), maintenances=(DONE,), host=DRAINED_HOST),
        LimitedStep.VERIFYING,
        4500,
    ),
    "the machine-config operator is not done": (
        view(free(BACK, mco=Mco.PENDING), maintenances=(DONE,), host=DRAINED_HOST),
        LimitedStep.VERIFYING,
        4000,
    ),
    "the maintenance ends": (
        view(free(BACK), maintenances=(replace(nm(MaintenancePhase.SUCCEEDED, terminating=True), ended_at=5000),)),
        LimitedStep.GIVING_BACK,
        5000,
    ),
    "the maintenance is gone": (view(free(BACK), host=replace(DRAINED_HOST, mark=True)), LimitedStep.GIVING_BACK, 4000),
    "a record of a form without times": (
        view(replace(free(RETURNING), **UNPROVEN), maintenances=(DONE,), host=DRAINED_HOST),
        LimitedStep.VERIFYING,
        900,
    ),
}


@pytest.mark.parametrize(("given", "span", "since"), SINCE.values(), ids=SINCE.keys())
def test_a_limit_counts_from_what_is_recorded(given: HostView, span: LimitedStep, since: int) -> None:
    limit = DEFAULT_SECONDS[span]
    assert look(at(since + limit, given)).late is None
    late = look(at(since + limit + 1, given)).late
    assert late is not None
    assert late.reason == span.reason
    assert f"longer than spec.drain.limits.{span.value} ({duration(limit)})" in late.message


def test_what_is_told_at_once_or_rests_is_never_late() -> None:
    for given in (view(free()), view(cordoned(ABORTED)), view(cordoned(override=DrainOverride.SKIP))):
        assert (look(at(10**9, given)).late, look(at(10**9, given)).late_at) == (None, 0)


def test_it_is_looked_at_again_when_the_next_limit_passes() -> None:
    assert next_limit([look(at(1000, DRAINING))], 1000) == 3601
    assert next_limit([look(at(4601, DRAINING))], 4601) is None
    assert next_limit([], 0) is None


def test_a_person_may_set_another_limit() -> None:
    given = replace(DRAINING, settings=DrainSettings(limits=Limits({"hostDrain": 60})))
    late = look(at(1061, given)).late
    assert late is not None
    assert "spec.drain.limits.hostDrain (1m)" in late.message


# --- why ------------------------------------------------------------------------------------------------------------


def told(given: HostView, guarding: ProtectionPhase = ProtectionPhase.SERVING) -> str:
    late = look(at(10**6, given), guarding).late
    assert late is not None
    return late.message


def test_a_host_drain_is_told_to_hang_once_the_tenant_has_answered_what_keeps_its_pods() -> None:
    given = at(10**6, view(cordoned(ASKED), maintenances=(nm(),)))
    found = [look(replace(given, evictions=each)) for each in (None, ())]
    assert [each.late is not None for each in found] == [False, True]
    assert found[0].late_at == found[1].late_at


def test_a_host_drain_that_hangs_names_host_since_when_pods_and_what_keeps_them() -> None:
    own = replace(nm(), pending=7, pods=(Pod("shop", "web-1"), Pod("shop", "web-2")), error='lease "x" is held')
    budget = "PodDisruptionBudget shop/web allows no eviction now"
    assert told(view(cordoned(ASKED), maintenances=(own,), evictions=(budget,))) == (
        "host host-1: HostDraining since 1970-01-01T00:16:40Z, longer than spec.drain.limits.hostDrain (1h): "
        "host-1 is being drained, 7 pods are left: shop/web-1, shop/web-2 and 5 more; the node maintenance operator "
        "says \"lease 'x' is held\"; PodDisruptionBudget shop/web allows no eviction now"
    )


def test_while_a_maintenance_runs_its_error_and_its_pods_are_named() -> None:
    own = replace(nm(), pending=1, pods=(Pod("", "web-1"),), error="the lease is held by another")
    hold = decide(view(cordoned(ASKED), maintenances=(own,))).hold
    assert hold is not None
    assert hold.message == (
        'host-1 is being drained, 1 pod is left: web-1; the node maintenance operator says "the lease is held by '
        'another"'
    )


def test_a_dpu_that_does_not_come_back_is_told_with_what_the_machine_config_operator_says() -> None:
    machine = MachineState(state="Degraded", reason="disk full")
    given = view(
        cordoned(OPEN, is_open=True, ready=False, ready_since=2500, machine=machine),
        maintenances=(DONE,),
        host=DRAINED_HOST,
    )
    assert told(given).endswith('may be drained and rebooted; the machine-config operator is Degraded: "disk full"')


def test_what_is_missing_of_the_proof_is_named_when_it_takes_too_long() -> None:
    given = view(replace(free(BACK), **UNPROVEN), maintenances=(DONE,), host=DRAINED_HOST)
    assert told(given).endswith("d1 has yet to show: ovnkube-node pod Ready")


def test_a_maintenance_that_does_not_end_is_told_with_its_error() -> None:
    own = replace(nm(MaintenancePhase.SUCCEEDED, terminating=True), ended_at=5000, error="no lease")
    words = told(view(free(BACK), maintenances=(own,)))
    assert words.endswith('the maintenance of host-1 is ending; the node maintenance operator says "no lease"')


def protecting(guarding: ProtectionPhase, **but: Any) -> DpuStatus:
    given = view(dpu(read=closed(since=1000, **but)))
    return look(at(1601, given), guarding)


@pytest.mark.parametrize("guarding", ProtectionPhase)
def test_protection_that_hangs_names_the_step_and_since_when(guarding: ProtectionPhase) -> None:
    late = protecting(guarding).late
    if guarding_span(guarding) is None:
        assert late is None
        return
    assert late is not None
    assert late.reason == "ProtectionOverdue"
    step = "".join(word.capitalize() for word in guarding.name.split("_"))
    assert late.message == (
        f"host host-1: {step} since 1970-01-01T00:16:40Z, longer than spec.drain.limits.protection (10m)"
    )


def test_a_drain_that_goes_as_it_should_is_not_late_for_its_protection() -> None:
    given = view(cordoned(ASKED), maintenances=(nm(),))
    assert look(at(2000, given), ProtectionPhase.BLOCKER_NOT_READY).late is None


def test_two_dpus_of_a_host_are_late_each_by_its_own_record() -> None:
    second = replace(cordoned(replace(ASKED, asked_at=4000)), name="d2")
    given = at(4601, view(cordoned(ASKED), second, maintenances=(nm(),)))
    found = timed(given, dpu_statuses(given, decide(given)), {})
    assert [each.late is not None for each in found] == [True, False]


def test_a_maintenance_of_ours_without_any_record_is_told_on_its_dpus() -> None:
    given = replace(view(free(), maintenances=(nm(terminating=True),)), serving=None)
    assert (look(given).stage, look(given).reason) == (DpuPhase.HELD, "MaintenanceTerminating")


def test_whether_the_budget_was_opened_is_told_of_this_drain_alone() -> None:
    found = [look(view(cordoned(cycle), maintenances=(nm(),))).has_opened for cycle in (ASKED, OPENED, OPEN)]
    assert found == [False, False, True]


def test_words_of_strangers_in_a_cause_are_short_and_plain() -> None:
    own = replace(nm(), pods=(Pod("shop\x1b[31m", "web\n"),), error="\x1b[31m" * 500)
    assert told(view(cordoned(ASKED), maintenances=(own,))).isprintable()
    assert len(told(view(cordoned(ASKED), maintenances=(own,)))) < 700


def test_a_record_carries_its_times_through_a_restart() -> None:
    later = at(4601, view(cordoned(replace(ASKED, term="t0")), maintenances=(nm(),)))
    assert look(later).late is not None
    assert isinstance(later.dpus[0].budget.cycle if later.dpus[0].budget else None, Cycle)


def test_a_clock_of_the_tenant_that_is_late_makes_no_drain_late() -> None:
    own = replace(nm(), made_at=1)
    given = view(cordoned(ASKED), maintenances=(own,))
    assert look(at(1000 + BEGINNING_SECONDS, given)).late is None
    assert look(at(1000 + BEGINNING_SECONDS + 1, given)).late is not None


TAINTED = replace(HOST, tainted=True, cordoned=True, mark=False)
MADE = replace(nm(), made_at=2000, pending=3)
BEGUN = 2000 + BEGINNING_SECONDS + 1
LIMIT = 1000 + DEFAULT_SECONDS[LimitedStep.HOST_DRAIN] + 1
BEGINNINGS: dict[str, tuple[HostView, int]] = {  # when it is late
    "no maintenance": (view(cordoned(ASKED), host=TAINTED), LIMIT),
    "not tainted": (view(cordoned(ASKED), maintenances=(MADE,)), BEGUN),
    "tainted, and no pod is named": (
        view(cordoned(ASKED), maintenances=(replace(MADE, pending=0),), host=TAINTED),
        BEGUN,
    ),
    "tainted, and pods are named": (view(cordoned(ASKED), maintenances=(MADE,), host=TAINTED), LIMIT),
    "tainted, and one pod is named": (
        view(cordoned(ASKED), maintenances=(replace(MADE, pending=1),), host=TAINTED),
        LIMIT,
    ),
    "made so late that it is late with the limit": (
        view(cordoned(ASKED), maintenances=(replace(MADE, made_at=LIMIT - BEGINNING_SECONDS - 1),)),
        LIMIT,
    ),
    "made so late that it is late a second before": (
        view(cordoned(ASKED), maintenances=(replace(MADE, made_at=LIMIT - BEGINNING_SECONDS - 2),)),
        LIMIT - 1,
    ),
    "not looked at yet": (
        view(cordoned(ASKED), maintenances=(replace(MADE, phase=MaintenancePhase.NEW),)),
        BEGUN,
    ),
    "drained": (
        view(cordoned(ASKED), maintenances=(replace(MADE, phase=MaintenancePhase.SUCCEEDED, pending=0),), host=TAINTED),
        LIMIT,
    ),
    "drained anew": (view(cordoned(ASKED), maintenances=(replace(MADE, is_renewed=True),)), LIMIT),
    "nobody knows when it was made": (view(cordoned(ASKED), maintenances=(replace(MADE, made_at=0),)), LIMIT),
    "made before it was asked for": (
        view(cordoned(ASKED), maintenances=(replace(MADE, made_at=1),)),
        1000 + BEGINNING_SECONDS + 1,
    ),
    "made so late that the limit is over before": (
        view(cordoned(ASKED), maintenances=(replace(MADE, made_at=LIMIT),)),
        LIMIT,
    ),
}


@pytest.mark.parametrize(("given", "late_at"), BEGINNINGS.values(), ids=BEGINNINGS.keys())
def test_a_maintenance_that_its_operator_does_not_begin_is_late_before_the_limit(given: HostView, late_at: int) -> None:
    before, after = look(at(late_at - 1, given)), look(at(late_at, given))
    assert (before.late, before.late_at, after.late_at) == (None, late_at, late_at)
    assert after.late is not None
    limit = "spec.drain.limits.hostDrain (1h)" if late_at == LIMIT else f"{duration(BEGINNING_SECONDS)}"
    began = "" if late_at == LIMIT else ", which does not begin,"
    since = as_time(1000 if late_at == LIMIT else late_at - BEGINNING_SECONDS - 1)
    assert after.late.reason == LimitedStep.HOST_DRAIN.reason
    assert f"{began} since {since}, longer than {limit}" in after.late.message


def test_a_dpu_of_which_nobody_knows_since_when_is_never_late() -> None:
    for given in (view(dpu(read=closed(since=0))), view(replace(dpu(), budget=None))):
        found = look(at(10**9, given), ProtectionPhase.BLOCKER_NOT_READY)
        assert (found.late, found.late_at) == (None, 0)


def late_by(given: HostView, guarding: ProtectionPhase = ProtectionPhase.SERVING) -> int:
    return look(at(1000, given), guarding).late_at


ENDING = nm(MaintenancePhase.SUCCEEDED, terminating=True)
WITHOUT_TIMES = replace(CYCLE, opened=True)
DOWN: dict[str, Any] = {"ready": False, "ready_since": 0}
LATE_BY: dict[str, tuple[HostView, LimitedStep, int]] = {
    "not asked for, and its operator does not begin": (
        view(cordoned(STARTING), maintenances=(replace(MADE, made_at=950),)),
        LimitedStep.STARTING,
        900,
    ),
    "drained, of a record without times": (
        view(cordoned(CYCLE), maintenances=(DONE,), host=DRAINED_HOST),
        LimitedStep.HOST_DRAIN,
        900,
    ),
    "down, of a record without times": (
        view(cordoned(WITHOUT_TIMES, **DOWN), maintenances=(DONE,), host=DRAINED_HOST),
        LimitedStep.DPU_DOWN,
        900,
    ),
    "gone for good, while its host is given back": (
        view(replace(free(BACK), node=NodeGone(True)), maintenances=(ENDING,)),
        LimitedStep.DPU_DOWN,
        2000,
    ),
    "recovering, of a record without times": (
        view(cordoned(replace(WITHOUT_TIMES, stale=("c0",))), maintenances=(DONE,), host=DRAINED_HOST),
        LimitedStep.RECOVERY,
        900,
    ),
    "recovering, of a record without its boot": (
        view(cordoned(replace(OPEN, stale=("c0",))), maintenances=(DONE,), host=DRAINED_HOST),
        LimitedStep.RECOVERY,
        2000,
    ),
    "given back, of a record without times": (
        view(free(RETURNING), host=replace(DRAINED_HOST, mark=True)),
        LimitedStep.GIVING_BACK,
        900,
    ),
    "to be proven, while its operator does not begin": (
        view(replace(free(BACK), **UNPROVEN), maintenances=(replace(MADE, made_at=3900),), host=HOST),
        LimitedStep.VERIFYING,
        4000,
    ),
}


@pytest.mark.parametrize(("given", "span", "since"), LATE_BY.values(), ids=LATE_BY.keys())
def test_what_is_not_recorded_is_taken_from_what_is(given: HostView, span: LimitedStep, since: int) -> None:
    assert late_by(given) == since + DEFAULT_SECONDS[span] + 1


NEVER: dict[str, tuple[HostView, ProtectionPhase]] = {
    "without a record": (view(cordoned()), ProtectionPhase.SERVING),
    "of a record that knows no time": (
        view(cordoned(replace(OPEN, since=0, opened_at=0), **DOWN), maintenances=(DONE,), host=DRAINED_HOST),
        ProtectionPhase.SERVING,
    ),
    "gone for good, of a record that knows no time": (
        view(replace(free(replace(BACK, since=0, opened_at=0)), node=NodeGone(True)), maintenances=(ENDING,)),
        ProtectionPhase.SERVING,
    ),
    "given back, of a record that knows no time": (
        view(free(replace(RETURNING, since=0)), host=replace(DRAINED_HOST, mark=True)),
        ProtectionPhase.SERVING,
    ),
    "held, whatever becomes of its protection": (
        view(
            dpu(
                read=closed(replace(ASKED, asked_at=0, since=0), since=1000),
                cordoned=True,
                override=DrainOverride.HOLD,
            )
        ),
        ProtectionPhase.BLOCKER_NOT_READY,
    ),
}


@pytest.mark.parametrize(("given", "guarding"), NEVER.values(), ids=NEVER.keys())
def test_a_dpu_is_never_late(given: HostView, guarding: ProtectionPhase) -> None:
    assert late_by(given, guarding) == 0


def test_the_next_of_several_limits_is_the_first() -> None:
    one = look(at(1000, DRAINING))
    assert next_limit([one, replace(one, late_at=1500), replace(one, late_at=2000)], 1000) == 500


AT_WORK = MachineState(current="c1", desired="c2", state="Working")
STORY = 'the machine-config operator is to go to "c2"'
BUDGET = "PodDisruptionBudget shop/web allows no eviction now"
CAUSES: dict[LimitedStep, tuple[HostView, str]] = {
    LimitedStep.STARTING: (view(cordoned(STARTING, machine=AT_WORK)), ""),
    LimitedStep.HOST_DRAIN: (view(cordoned(ASKED, machine=AT_WORK), maintenances=(nm(),)), BUDGET),
    LimitedStep.DPU_DRAIN: (
        view(cordoned(OPEN, is_open=True, machine=AT_WORK), maintenances=(DONE,), host=DRAINED_HOST),
        STORY,
    ),
    LimitedStep.DPU_DOWN: (
        view(cordoned(OPEN, is_open=True, ready=False, machine=AT_WORK), maintenances=(DONE,), host=DRAINED_HOST),
        STORY,
    ),
    LimitedStep.RECOVERY: (
        view(
            cordoned(replace(OPEN, stale=("c0",)), is_open=True, machine=AT_WORK),
            maintenances=(DONE,),
            host=DRAINED_HOST,
        ),
        STORY,
    ),
    LimitedStep.VERIFYING: (
        view(replace(free(BACK, machine=AT_WORK), **UNPROVEN), maintenances=(DONE,), host=DRAINED_HOST),
        STORY,
    ),
    LimitedStep.GIVING_BACK: (
        view(
            free(BACK, machine=AT_WORK),
            maintenances=(replace(nm(MaintenancePhase.SUCCEEDED, terminating=True), ended_at=5000),),
        ),
        "",
    ),
}


@pytest.mark.parametrize("span", CAUSES)
def test_a_cause_is_told_at_the_step_that_it_keeps(span: LimitedStep) -> None:
    """What keeps the pods of the host while that is drained, what the daemon does while the DPU is to come back."""
    given, expected = CAUSES[span]
    words = told(replace(given, evictions=(BUDGET,)))
    assert span.value in words
    for each in (STORY, BUDGET, "the node maintenance operator says"):
        assert (each in words) is (each == expected)


def test_every_step_of_a_drain_has_a_row_for_its_cause() -> None:
    assert CAUSES.keys() == set(LimitedStep) - {LimitedStep.PROTECTION}


# --- a maintenance that nobody ends -----------------------------------------------------------------------------------

KEPT = replace(nm(terminating=True), ended_at=1500, finalizers=("foregroundDeleteNodeMaintenance",))
"""It was deleted while the host was to be drained, and its operator does not run."""
ASKED_HOST = replace(HOST, mark=False, cordoned=True, tainted=True)


@pytest.mark.parametrize("drained", [ASKED, OPEN], ids=["before the host was drained", "after it was"])
def test_a_deleted_maintenance_that_stays_is_told_by_the_limit_of_its_end_with_what_keeps_it(drained: Cycle) -> None:
    given = view(cordoned(drained), maintenances=(KEPT,), host=ASKED_HOST)
    limit = max(1500, drained.since) + DEFAULT_SECONDS[LimitedStep.GIVING_BACK]
    assert look(at(limit, given)).late is None
    late = look(at(limit + 1, given)).late
    assert late is not None
    assert late.reason == "GivingBackOverdue"
    for words in ("host host-1", KEPT.name, "foregroundDeleteNodeMaintenance", "remove the finalizer by hand"):
        assert words in late.message


def test_of_a_drain_that_is_not_wanted_any_more_the_same_is_told() -> None:
    late = look(at(99_999, view(free(BACK), maintenances=(KEPT,), host=ASKED_HOST))).late
    assert late is not None
    assert "foregroundDeleteNodeMaintenance" in late.message


def test_one_of_somebody_else_says_it_at_once() -> None:
    foreign = replace(KEPT, name="other", uid="m2", ours=False, finalizers=("a.example/b", "\x1b[2J", "c", "d"))
    found = look(at(1600, view(cordoned(STARTING), maintenances=(foreign,))))
    assert found.reason == "ForeignMaintenance"
    assert 'NodeMaintenance other is deleted and has the finalizer "a.example/b", "??2J", c and 1 more' in found.message
