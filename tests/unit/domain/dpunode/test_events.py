"""Each change of phase is told once, by one of three, and typed by what its reason asks for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dpunetop.domain.dpunode.events import EventWriter, phase_events, teller
from dpunetop.domain.dpunode.judge import unseen_statuses
from dpunetop.domain.dpunode.status import IN_DRAIN, DpuNodeStatus, Phase
from dpunetop.domain.drain.report.dpustatus import DpuPhase
from dpunetop.domain.reasons import meaning
from support.objects import node
from support.rosters import DPU, roster, slot

(UNSEEN,) = unseen_statuses(roster(), slot(), "InternalError", "")
NODES = {DPU: node(DPU)}
REASONS = {
    Phase.SERVING: "Serving",
    Phase.UNPROTECTED: "BlockerNotReady",
    Phase.WAITING: "HostNotConfigured",
    Phase.LEAVING: "RemovalPending",
    Phase.UNPAIRED: "NotPaired",
    Phase.SPARE: "HostServedByOther",
}
CHANGES = [(before, now) for before in Phase for now in Phase if before is not now]


def at(phase: Phase, reason: str = "", message: str = "") -> DpuNodeStatus:
    return replace(UNSEEN, phase=phase, reason=reason or REASONS.get(phase, "Held"), message=message)


@pytest.mark.parametrize(("before", "now"), CHANGES, ids=lambda phase: str(phase))
def test_each_change_is_told_here_or_by_the_report_of_the_host_or_it_was_not_looked_at(
    before: Phase, now: Phase
) -> None:
    events = list(phase_events(NODES, [(at(before), at(now))]))
    if teller(before, now) is not EventWriter.PHASE:
        assert events == []
        return
    (told,) = events
    assert (told.reason, told.type) == (REASONS[now], meaning(REASONS[now]).gravity.event)
    assert told.note.startswith(str(now))


def test_what_the_report_of_the_host_tells_is_a_stage_that_it_has_an_event_for() -> None:
    by_drain = {now for before, now in CHANGES if teller(before, now) is EventWriter.DRAIN}
    assert by_drain == {*IN_DRAIN, Phase.HELD, Phase.SERVING}
    assert len(DpuPhase) == len(by_drain) + 1  # Failed is Held, with a reason of its own


def test_only_a_phase_that_was_not_looked_at_gives_no_event() -> None:
    assert {now for before, now in CHANGES if teller(before, now) is EventWriter.NOBODY} == {Phase.UNKNOWN}


def test_a_reason_within_a_phase_is_told_if_a_person_has_to_act() -> None:
    waiting = at(Phase.WAITING)
    (told,) = phase_events(NODES, [(waiting, at(Phase.WAITING, "MachineConfigStuck", "it gave up"))])
    assert (told.type, told.reason, told.note) == ("Warning", "MachineConfigStuck", "Waiting: it gave up")
    assert list(phase_events(NODES, [(waiting, at(Phase.WAITING, "ProtectionPending"))])) == []
    assert list(phase_events(NODES, [(at(Phase.HELD), at(Phase.HELD, "NoImage"))])) == []


def test_the_first_state_that_a_process_finds_is_no_change_and_without_a_node_there_is_no_event() -> None:
    assert list(phase_events(NODES, [(None, at(Phase.SERVING))])) == []
    assert list(phase_events({}, [(at(Phase.WAITING), at(Phase.SERVING))])) == []
