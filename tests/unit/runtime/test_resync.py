from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import cycle

from hypothesis import given
from hypothesis import strategies as st

from dpunetop.runtime.resync import Resync

PERIOD = 600.0


def drawing(*numbers: float) -> Resync[str]:
    drawn: Iterator[float] = cycle(numbers)
    return Resync(PERIOD, lambda: next(drawn))


def test_a_key_is_due_between_half_the_period_and_all_of_it() -> None:
    resync = drawing(0.0, 1.0)
    resync.looked("a", 0.0)
    resync.looked("b", 0.0)
    assert (resync.take(299.9), resync.take(300.0)) == ([], ["a"])
    assert (resync.take(599.9), resync.take(600.0)) == ([], ["b"])


def test_a_key_is_due_once_a_look() -> None:
    resync = drawing(0.0)
    resync.looked("a", 0.0)
    assert [resync.take(now) for now in (300.0, 1000.0)] == [["a"], []]


def test_each_look_puts_a_key_off() -> None:
    resync = drawing(0.0)
    for now in (0.0, 200.0, 400.0):
        resync.looked("a", now)
        assert resync.take(now) == []
    assert (resync.take(699.0), resync.take(700.0)) == ([], ["a"])


def test_keys_of_one_start_part_over_half_the_period() -> None:
    resync = drawing(*(number / 1000 for number in range(1000)))
    for number in range(1000):
        resync.looked(str(number), 0.0)
    shares = [len(resync.take(300.0 + second)) for second in range(0, 301, 30)]
    assert sum(shares) == 1000
    assert max(shares) <= 101


def test_a_period_without_end_makes_no_key_due() -> None:
    resync: Resync[str] = Resync(math.inf, lambda: 0.5)
    resync.looked("a", 0.0)
    assert resync.take(1e9) == []


@given(st.lists(st.tuples(st.sampled_from(["look", "forget", "pass"]), st.sampled_from("abc"), st.floats(0, 700))))
def test_every_key_that_was_not_forgotten_is_due_in_time_and_no_other(steps: list[tuple[str, str, float]]) -> None:
    resync, now, looked = drawing(0.0, 0.25, 1.0), 0.0, dict[str, float]()
    for what, key, seconds in steps:
        match what:
            case "look":
                resync.looked(key, now)
                looked[key] = now
            case "forget":
                resync.forget(key)
                looked.pop(key, None)
            case _:
                now += seconds
                due = resync.take(now)
                assert len(due) == len(set(due))
                for each in due:
                    assert now - looked.pop(each) >= PERIOD / 2
                assert all(now - at < PERIOD for at in looked.values())
    assert resync._due.keys() == looked.keys()
