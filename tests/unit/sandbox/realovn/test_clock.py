from __future__ import annotations

from dpunetop.sandbox.realovn.clock import Backoff


def test_the_first_restart_is_at_once_and_each_next_pause_twice_as_long_up_to_five_minutes() -> None:
    backoff, now, pauses = Backoff(), 0.0, []
    for _ in range(8):
        pauses.append(backoff.next(now, now + 1))
        now += pauses[-1] + 2
    assert pauses == [0, 10, 20, 40, 80, 160, 300, 300]


def test_pauses_begin_anew_after_ten_minutes_in_peace() -> None:
    backoff = Backoff()
    for ended in (0.0, 1.0, 20.0):
        backoff.next(ended, ended)
    assert backoff.next(700, 700) == 0
    assert backoff.next(701, 701) == 10
