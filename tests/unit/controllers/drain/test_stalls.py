"""How often the same may be done, how long it may change nothing, and what follows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dpunetop.controllers.drain.stalls import READ_ANEW_SECONDS, SAID_SECONDS, StallDetector
from dpunetop.domain.drain.model.calls import Done, Result
from dpunetop.domain.drain.model.facts import HoldReason, Reason
from dpunetop.domain.drain.rules.opening import ForceOpen
from dpunetop.domain.drain.rules.restoring import Restore
from dpunetop.kube.keys import Key
from support.clock import FakeClock
from support.drainviews import SITE

HOST, OTHER = Key("tenant/a", "", "host0"), Key("tenant/a", "", "host1")
STALE = Done(Result.STALE, "dpu0: not as it was seen")


TASK = ForceOpen(SITE, "dpu0")


class Doubting:
    def __init__(self) -> None:
        self.clock, self.read = FakeClock(), list[str]()
        self.stall_detector = StallDetector(self.clock, self.read.append)

    def tried(self, *moments: float, key: Key = HOST, done: Done = STALE) -> StallDetector:
        """The task is done at each of these moments after the last one, and wanted still."""
        for seconds in moments:
            self.clock.step(seconds)
            self.stall_detector.wanted(key, [TASK])
            self.stall_detector.tried(key, TASK, done)
        return self.stall_detector


@pytest.fixture
def it() -> Doubting:
    return Doubting()


def test_a_task_that_has_to_rest_is_done_once_it_was_wanted_for_that_long(it: Doubting) -> None:
    task = Restore(SITE, 1.0)
    pauses = []
    for _ in range(3):
        it.stall_detector.wanted(HOST, [task])
        pauses.append(it.stall_detector.pause(HOST, task))
        it.clock.step(0.5)
    it.stall_detector.wanted(HOST, [TASK])
    it.stall_detector.wanted(HOST, [task])
    assert (pauses, it.stall_detector.pause(HOST, task)) == ([1.0, 0.5, 0.0], 1.0)
    assert (it.stall_detector.hold(HOST), it.stall_detector.pause(HOST, TASK)) == (None, 0.0)


def test_a_watch_that_lags_a_little_is_nothing_to_speak_of(it: Doubting) -> None:
    assert it.tried(0, SAID_SECONDS - 0.1).hold(HOST) is None


@pytest.mark.parametrize("result", [Result.STALE, Result.DONE])
def test_a_lasting_contradiction_keeps_its_first_message(it: Doubting, result: Result) -> None:
    it.tried(0, done=Done(result, STALE.note))
    it.tried(SAID_SECONDS, done=Done(Result.STALE, "something else"))
    words = "the watch cache contradicts the API server: dpu0: not as it was seen"
    assert it.stall_detector.hold(HOST) == HoldReason(Reason.CACHE_CONTRADICTED, words)
    assert it.stall_detector.hold(OTHER) is None


def test_a_task_that_is_not_wanted_any_more_has_come_to_its_end(it: Doubting) -> None:
    it.tried(0, READ_ANEW_SECONDS - 1)
    it.stall_detector.wanted(HOST, [replace(TASK, dpu="dpu1")])
    it.tried(0.5, 0.5)
    assert (it.stall_detector.hold(HOST), it.read) == (None, [])


def test_a_task_that_is_refused_waits_by_itself(it: Doubting) -> None:
    it.tried(0, READ_ANEW_SECONDS, done=Done(Result.REFUSED))
    assert (it.stall_detector.hold(HOST), it.read) == (None, [])


def test_a_host_that_is_nobodys_any_more_begins_anew(it: Doubting) -> None:
    it.tried(0, READ_ANEW_SECONDS - 1).forget(HOST)
    assert it.tried(1).hold(HOST) is None


def test_what_is_done_again_and_again_is_slowed_down_and_nothing_else(it: Doubting) -> None:
    assert it.tried(0, 0).pause(HOST, TASK) == 0.0
    assert it.tried(0).pause(HOST, TASK) == 0.5
    assert it.stall_detector.pause(HOST, replace(TASK, dpu="dpu1")) == 0.0
    assert it.stall_detector.pause(OTHER, TASK) == 0.0
    it.clock.step(0.5)
    assert it.stall_detector.pause(HOST, TASK) == 0.0
    assert it.tried(SAID_SECONDS).pause(HOST, TASK) == 5.0


def test_both_clusters_are_read_anew_once_however_many_hosts_are_in_doubt(it: Doubting) -> None:
    for host in (HOST, OTHER):
        it.tried(0, key=host)
    it.clock.step(READ_ANEW_SECONDS)
    for host in (HOST, OTHER, HOST):
        it.tried(0, key=host)
    assert it.read == ["infra", "tenant/a"]


def test_a_relist_that_does_not_help_is_repeated_after_a_pause(it: Doubting) -> None:
    it.tried(0, READ_ANEW_SECONDS, 599)
    assert len(it.read) == 2
    it.tried(1)
    assert it.read == ["infra", "tenant/a"] * 2


def test_another_tenant_is_read_anew_without_infra_once_more(it: Doubting) -> None:
    other = Key("tenant/b", "", "host0")
    for host in (HOST, other):
        it.tried(0, key=host)
    it.clock.step(READ_ANEW_SECONDS)
    for host in (HOST, other):
        it.tried(0, key=host)
    assert it.read == ["infra", "tenant/a", "tenant/b"]
