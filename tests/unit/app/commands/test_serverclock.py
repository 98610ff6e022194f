from __future__ import annotations

from datetime import timedelta

import pytest

from dpunetop.app.commands.serverclock import ServerClock, skew_words
from support.clock import EPOCH, FakeClock


@pytest.mark.parametrize(
    ("ahead", "seconds"),
    {
        "it has not said": (None, 0.0),
        "a moment": (timedelta(seconds=-4), 0.0),
        "ahead": (timedelta(seconds=40), 40.0),
        "behind": (timedelta(hours=-3), -10_800.0),
    }.values(),
)
def test_the_wall_time_is_that_of_the_server_once_it_has_told_it(ahead: timedelta | None, seconds: float) -> None:
    clock = ServerClock(FakeClock())
    assert clock.now() == EPOCH
    clock.follow(lambda: ahead)
    assert clock.now() == EPOCH + timedelta(seconds=seconds)
    assert clock.monotonic() == clock.own.monotonic()


def test_a_clock_that_differs_is_told_in_words() -> None:
    assert skew_words(timedelta()) == ""
    assert skew_words(timedelta(seconds=40)).startswith("the clock of this machine is 40 s behind that of infra's")
    assert skew_words(timedelta(seconds=-40)).startswith("the clock of this machine is 40 s ahead of that of infra's")
