from __future__ import annotations

from dpunetop.runtime.client.streamdeadline import FIRST_MARK_SECONDS, StreamDeadline
from support.clock import FakeClock

IDLE = 90.0


def test_each_thing_that_comes_gives_the_next_one_its_time() -> None:
    clock = FakeClock()
    deadline = StreamDeadline(clock)
    assert deadline.bound(IDLE) == IDLE
    clock.step(60.0)
    assert deadline.bound(IDLE) == 60.0 + IDLE
    assert not deadline.is_over()


def test_a_stream_has_its_time_however_much_comes() -> None:
    clock = FakeClock()
    deadline = StreamDeadline(clock, 100.0)
    clock.step(60.0)
    assert deadline.bound(IDLE) == 100.0
    clock.step(40.0)
    assert deadline.is_over()


def test_a_list_has_its_time_and_is_told_from_silence() -> None:
    clock = FakeClock()
    deadline = StreamDeadline(clock, 600.0, 60.0)
    clock.step(59.0)
    assert deadline.bound(IDLE) == 60.0
    clock.step(1.0)
    error = deadline.lateness("server", IDLE)
    assert (error.reason, error.message) == ("Timeout", "server: a list that was not complete in 60 s")


def test_after_a_list_the_server_may_be_quiet_until_its_first_bookmark() -> None:
    clock = FakeClock()
    deadline = StreamDeadline(clock, 600.0, 60.0)
    clock.step(10.0)
    deadline.listed()
    assert deadline.bound(IDLE) == 10.0 + FIRST_MARK_SECONDS
    clock.step(15.0)  # a change does not bring the bookmark nearer
    assert deadline.bound(IDLE) == 10.0 + FIRST_MARK_SECONDS
    clock.step(95.0)
    assert deadline.bound(IDLE) == 120.0 + IDLE
    assert deadline.lateness("server", IDLE).reason == "IdleTimeout"
