from __future__ import annotations

from dataclasses import replace

import pytest

from dpunetop.domain.drain.model.cordonmark import CordonMark, CordonProgress
from dpunetop.domain.drain.model.facts import (
    DpuView,
    DrainOverride,
    HostNode,
    HostView,
    Maintenance,
    MaintenancePhase,
    NodeGone,
)
from dpunetop.domain.drain.model.hoststate import HostState
from dpunetop.domain.drain.rules.cycle import decide
from dpunetop.domain.drain.rules.proof import is_verifying, needs_proof
from dpunetop.domain.drain.rules.returning import EndMaintenance
from support.drainviews import (
    ABORTED,
    BLIND,
    DONE,
    DRAINED_HOST,
    FOREIGN,
    HOST,
    NEVER_OPENED,
    OPENED,
    RETURNING,
    cordoned,
    free,
    nm,
    view,
)


def at_the_end(*dpus: DpuView, maintenance: Maintenance = DONE, host: HostNode | NodeGone = DRAINED_HOST) -> HostView:
    return view(*dpus, maintenances=(maintenance,), host=host)


def nobody_serves(dpu: DpuView) -> HostView:
    return replace(at_the_end(dpu), serving=None)


MARK = CordonMark("owner", CordonProgress.CORDONED, 900, "d1")
OUTAGE = replace(HOST, cordoned=True, unplanned=MARK)
VERIFYING: dict[str, tuple[HostView, bool]] = {
    "the cordon is taken back": (at_the_end(free(RETURNING)), True),
    "and the DPU is not Ready": (at_the_end(free(RETURNING, ready=False)), True),
    "and no record is left": (at_the_end(free()), True),
    "the drain is still wanted": (at_the_end(cordoned(OPENED)), False),
    "it never opened": (at_the_end(free(NEVER_OPENED)), False),
    "it was aborted": (at_the_end(cordoned(ABORTED)), False),
    "the maintenance has failed": (at_the_end(free(RETURNING), maintenance=nm(MaintenancePhase.FAILED)), False),
    "the maintenance is going": (
        at_the_end(free(RETURNING), maintenance=nm(MaintenancePhase.SUCCEEDED, terminating=True)),
        False,
    ),
    "the maintenance is gone": (view(free(RETURNING), host=replace(HOST, mark=False)), False),
    "the maintenance is gone and has left the host cordoned": (view(free(RETURNING), host=DRAINED_HOST), True),
    "the maintenance is somebody else's": (at_the_end(free(RETURNING), maintenance=FOREIGN), False),
    "the host is gone": (at_the_end(free(RETURNING), host=NodeGone(True)), False),
    "a person forces it": (at_the_end(free(RETURNING, override=DrainOverride.FORCE)), False),
    "nobody is left to prove it": (at_the_end(replace(free(RETURNING), paired=False)), False),
    "nothing is known of the tenant": (view(free(RETURNING), tenant=BLIND), False),
    "we have cordoned it for an outage": (view(free(), host=OUTAGE), True),
    "we have, and a drain is wanted": (view(cordoned(), host=OUTAGE), False),
    "another DpuClusterConfig has": (view(free(), host=replace(OUTAGE, unplanned=replace(MARK, owner="other"))), False),
}


@pytest.mark.parametrize(("seen", "expected"), VERIFYING.values(), ids=VERIFYING.keys())
def test_a_host_is_verified_or_not_when(seen: HostView, expected: bool) -> None:
    assert is_verifying(HostState(seen)) is expected


ABANDONED: dict[str, tuple[HostView, bool]] = {
    "its pair was taken apart": (nobody_serves(replace(free(NEVER_OPENED), paired=False)), True),
    "its pair is to be taken apart, and serves still": (at_the_end(replace(free(NEVER_OPENED), paired=False)), False),
    "its pair was taken apart, and another DPU is about to begin": (
        replace(at_the_end(replace(free(NEVER_OPENED), paired=False), replace(free(), name="d2")), serving=None),
        True,
    ),
    "its pair was taken apart, and its drain was given up in time": (
        nobody_serves(replace(free(replace(NEVER_OPENED, reason="DrainTimeout")), paired=False)),
        True,
    ),
    "its pair has yet to begin": (nobody_serves(free(NEVER_OPENED)), False),
    "a person has uncordoned it": (nobody_serves(replace(free(ABORTED), paired=False)), False),
}


@pytest.mark.parametrize(("given", "needs"), ABANDONED.values(), ids=ABANDONED.keys())
def test_a_host_whose_dpu_was_never_down_needs_proof_only_if_nobody_serves_it_any_more(
    given: HostView, needs: bool
) -> None:
    assert needs_proof(HostState(given)) is needs


def test_a_host_that_nobody_serves_any_more_comes_back_cordoned_although_its_dpu_was_never_down() -> None:
    task = decide(ABANDONED["its pair was taken apart"][0]).task
    assert isinstance(task, EndMaintenance)
    assert task.cordoned_before is True
