from __future__ import annotations

from dataclasses import replace

import pytest

from dpunetop.domain.drain.model.facts import (
    DrainOverride,
    DrainSettings,
    HostView,
    MaintenancePhase,
    Mco,
    NodeGone,
    Reason,
)
from dpunetop.domain.drain.report.dpustatus import DpuPhase, dpu_statuses
from dpunetop.domain.drain.rules.cycle import decide
from support.drainviews import (
    ABORTED,
    BLIND,
    CYCLE,
    DONE,
    DRAINED_HOST,
    NEVER_OPENED,
    OPENED,
    RETURNING,
    STARTING,
    cordoned,
    free,
    nm,
    view,
)

REBOOTED = replace(OPENED, stale=("c0",))
LATE = DrainSettings(timeout_seconds=50)

STAGES: dict[str, tuple[HostView, DpuPhase, str]] = {
    "at rest": (view(free()), DpuPhase.IDLE, ""),
    "at rest and the tenant is away": (view(free(), tenant=BLIND), DpuPhase.IDLE, ""),
    "skipped": (view(cordoned(override=DrainOverride.SKIP)), DpuPhase.IDLE, ""),
    "wanted": (view(cordoned()), DpuPhase.HOST_DRAINING, ""),
    "being drained": (view(cordoned(CYCLE), maintenances=(nm(),)), DpuPhase.HOST_DRAINING, "HostDraining"),
    "drained": (view(cordoned(CYCLE), maintenances=(DONE,), host=DRAINED_HOST), DpuPhase.HOST_DRAINED, ""),
    "open": (
        view(cordoned(OPENED, is_open=True), maintenances=(DONE,), host=DRAINED_HOST),
        DpuPhase.HOST_DRAINED,
        "DpuDraining",
    ),
    "down": (
        view(cordoned(OPENED, is_open=True, ready=False), maintenances=(DONE,), host=DRAINED_HOST),
        DpuPhase.DPU_DOWN,
        "DpuDraining",
    ),
    "back, still cordoned": (
        view(cordoned(REBOOTED, is_open=True), maintenances=(DONE,), host=DRAINED_HOST),
        DpuPhase.DPU_RECOVERING,
        "DpuDraining",
    ),
    "failed, and nobody wants it any more": (
        view(free(RETURNING), maintenances=(nm(MaintenancePhase.FAILED),)),
        DpuPhase.VERIFYING,
        "",
    ),
    "uncordoned while down": (
        view(free(RETURNING, ready=False), maintenances=(DONE,), host=DRAINED_HOST),
        DpuPhase.DPU_DOWN,
        "ProofMissing",
    ),
    "proving itself": (
        view(replace(free(RETURNING), pods=()), maintenances=(DONE,), host=DRAINED_HOST),
        DpuPhase.VERIFYING,
        "ProofMissing",
    ),
    "waiting for mco": (
        view(free(RETURNING, mco=Mco.PENDING), maintenances=(DONE,), host=DRAINED_HOST),
        DpuPhase.VERIFYING,
        "MachineConfigPending",
    ),
    "given back": (view(free(RETURNING), maintenances=(DONE,), host=DRAINED_HOST), DpuPhase.VERIFYING, ""),
    "given back, and it was never opened": (
        view(free(NEVER_OPENED), maintenances=(DONE,), host=DRAINED_HOST),
        DpuPhase.VERIFYING,
        "",
    ),
    "given back, and the maintenance is ending": (
        view(free(RETURNING), maintenances=(replace(DONE, terminating=True),), host=DRAINED_HOST),
        DpuPhase.VERIFYING,
        "MaintenanceTerminating",
    ),
    "wanted again while the maintenance is ending": (
        view(cordoned(STARTING), maintenances=(replace(DONE, terminating=True),), host=DRAINED_HOST),
        DpuPhase.HOST_DRAINING,
        "MaintenanceTerminating",
    ),
    "held": (view(cordoned(STARTING), tenant=BLIND), DpuPhase.HELD, "TenantUnreachable"),
    "held while down": (
        view(replace(free(RETURNING), node=NodeGone(False)), maintenances=(DONE,), host=DRAINED_HOST),
        DpuPhase.HELD,
        "DpuGone",
    ),
    "too late": (view(cordoned(CYCLE), maintenances=(nm(),), settings=LATE), DpuPhase.HELD, "DrainTimeout"),
    "aborted": (view(cordoned(ABORTED)), DpuPhase.HELD, "Aborted"),
    "failed": (view(cordoned(CYCLE), maintenances=(nm(MaintenancePhase.FAILED),)), DpuPhase.FAILED, ""),
    "failed, waiting": (
        view(cordoned(replace(STARTING, failures=2, failed_at=999))),
        DpuPhase.FAILED,
        "MaintenanceFailed",
    ),
    "refused, waiting": (
        view(cordoned(replace(STARTING, failures=2, failed_at=999, note="no"))),
        DpuPhase.FAILED,
        "MaintenanceRefused",
    ),
}


@pytest.mark.parametrize(("given", "stage", "reason"), STAGES.values(), ids=STAGES.keys())
def test_a_dpu_stands_at(given: HostView, stage: DpuPhase, reason: str) -> None:
    (found,) = dpu_statuses(given, decide(given))
    assert (found.stage, found.reason) == (stage, reason)


SKIP = "the cordon of d1 asks for no drain of host host-1: it is annotated dpu.openshift.io/drain=skip"
SKIPPED: dict[str, tuple[HostView, str]] = {
    "it is not cordoned": (view(free(override=DrainOverride.SKIP)), ""),
    "nobody says so": (view(cordoned()), ""),
    "a person says so": (view(cordoned(override=DrainOverride.SKIP)), SKIP),
    "a person says so in a drain": (
        view(cordoned(CYCLE, override=DrainOverride.SKIP), maintenances=(nm(),)),
        f"{SKIP}; the drain that runs ends as if d1 was uncordoned",
    ),
    "its pair ends": (view(replace(cordoned(override=DrainOverride.SKIP), parting=True)), ""),
}


@pytest.mark.parametrize(("given", "words"), SKIPPED.values(), ids=SKIPPED.keys())
def test_a_cordon_that_asks_for_no_drain_is_told_with_why(given: HostView, words: str) -> None:
    (found,) = dpu_statuses(given, decide(given))
    assert found.skipped == words


def test_a_dpu_that_the_hold_of_its_neighbour_does_not_concern_is_idle() -> None:
    neighbour = replace(free(), name="d2")
    given = view(cordoned(STARTING), neighbour, tenant=BLIND)
    first, second = dpu_statuses(given, decide(given))
    assert (first.stage, second.stage, second.reason) == (DpuPhase.HELD, DpuPhase.IDLE, "")


def test_the_message_names_every_missing_proof() -> None:
    given = view(free(RETURNING, ready=False), maintenances=(DONE,), host=DRAINED_HOST)
    (found,) = dpu_statuses(given, decide(given))
    assert found.message == "d1 has yet to show: node Ready"


def test_every_reason_is_one_word_for_a_condition() -> None:
    assert all(str(reason).isalpha() and str(reason)[0].isupper() for reason in Reason)
