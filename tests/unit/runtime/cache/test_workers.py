from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from dpunetop.runtime.cache.workers import Workers
from support.clock import FakeClock
from support.scriptedsource import until_ended

PATIENCE = 60.0


class Shop:
    """Workers whose work a test holds up, by key."""

    def __init__(self, most: int = 3) -> None:
        self.clock = FakeClock()
        self.guard = threading.Condition()  # guards all below
        self.begun: list[str] = []
        self.under_way: set[str] = set()
        self.held: set[str] = set()
        self.pauses: dict[str, list[float]] = {}
        self.broken = 0
        self.workers: Workers[str] = Workers("infra", self.clock, self._work, self._broke, most)

    def _work(self, key: str) -> float | None:
        with self.guard:
            assert key not in self.under_way, "one key in two pairs of hands"
            self.begun.append(key)
            self.under_way.add(key)
            self.guard.notify_all()
            assert self.guard.wait_for(lambda: key not in self.held, PATIENCE)
            self.under_way.remove(key)
            self.guard.notify_all()
            if key == "bad":
                raise ZeroDivisionError
            return self.pauses[key].pop(0) if self.pauses.get(key) else None

    def _broke(self, key: str) -> None:
        with self.guard:
            self.broken += 1
            self.guard.notify_all()

    def hold(self, *keys: str) -> None:
        with self.guard:
            self.held.update(keys)
        for key in keys:
            self.workers.add(key)

    def let_go(self, *keys: str) -> None:
        with self.guard:
            self.held.difference_update(keys)
            self.guard.notify_all()

    def until(self, holds: Callable[[], bool]) -> None:
        with self.guard:
            assert self.guard.wait_for(holds, PATIENCE), (self.begun, self.under_way)

    def until_threads(self, number: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while len(alive := self.workers.alive()) != number:
            assert time.monotonic() < deadline, alive
            threading.Event().wait(0.005)

    def end(self) -> None:
        self.let_go(*self.held)
        self.workers.end()
        until_ended(self.workers)


@pytest.fixture
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.end()


def test_there_is_no_thread_before_there_is_work_and_one_after_it(shop: Shop) -> None:
    assert shop.workers.alive() == []
    for _ in range(3):
        for key in "abcde":
            shop.workers.add(key)
    shop.until(lambda: set(shop.begun) == set("abcde") and not shop.under_way)
    shop.until_threads(1)


def test_the_thread_that_stays_is_always_the_same(shop: Shop) -> None:
    shop.hold("a")
    shop.until(lambda: shop.under_way == {"a"})
    [first] = shop.workers.alive()
    shop.hold("b")
    shop.until(lambda: shop.under_way == {"a", "b"})
    shop.let_go("b")
    shop.pauses["c"] = [5.0]
    shop.workers.add("c")  # somebody has to see when its time has come
    shop.until(lambda: "c" in shop.begun and shop.under_way == {"a"})
    shop.clock.until_parked(1)
    shop.let_go("a")
    shop.until_threads(1)
    assert shop.workers.alive() == [first]
    shop.clock.until_parked(1)
    shop.clock.step(5.0)
    shop.until(lambda: shop.begun.count("c") == 2)


def test_work_that_waits_holds_up_no_other_until_there_are_as_many_threads_as_may_be(shop: Shop) -> None:
    shop.hold("a", "b")
    shop.until(lambda: shop.under_way == {"a", "b"})
    shop.workers.add("c")
    shop.until(lambda: "c" in shop.begun and shop.under_way == {"a", "b"})
    shop.hold("d", "e")
    shop.until(lambda: len(shop.under_way) == 3)
    assert len(shop.workers.alive()) == 3
    shop.let_go("a")
    shop.until(lambda: shop.under_way == {"b", "d", "e"})


def test_a_key_that_is_added_while_it_is_worked_on_is_worked_on_again(shop: Shop) -> None:
    shop.hold("a")
    shop.until(lambda: shop.under_way == {"a"})
    shop.workers.add("a")
    shop.workers.add("a")
    shop.let_go("a")
    shop.until(lambda: shop.begun == ["a", "a"] and not shop.under_way)


def test_a_key_that_pauses_is_worked_on_when_its_time_has_come_whoever_else_is_busy(shop: Shop) -> None:
    shop.pauses["a"] = [5.0]
    shop.workers.add("a")
    shop.clock.until_parked(1)
    shop.hold("b")
    shop.until(lambda: shop.under_way == {"b"})
    shop.clock.until_parked(1)
    shop.clock.step(4.0)
    shop.clock.until_parked(1)
    assert shop.begun == ["a", "b"]
    shop.clock.step(1.0)
    shop.until(lambda: shop.begun == ["a", "b", "a"])


def test_a_key_that_pauses_is_worked_on_earlier_when_it_is_added(shop: Shop) -> None:
    shop.pauses["a"] = [5.0]
    shop.workers.add("a")
    shop.clock.until_parked(1)
    shop.workers.add("a")
    shop.until(lambda: shop.begun == ["a", "a"])


def test_the_shorter_of_two_pauses_is_kept(shop: Shop) -> None:
    shop.pauses.update(a=[9.0], b=[2.0])
    shop.workers.add("a")
    shop.clock.until_parked(1)
    shop.workers.add("b")
    shop.until(lambda: shop.begun == ["a", "b"])
    shop.until_threads(1)  # the first one is idle again: it has taken note of the pause
    shop.clock.until_parked(1)
    shop.clock.step(2.0)
    shop.until(lambda: shop.begun == ["a", "b", "b"])


def test_what_was_added_before_the_end_is_worked_on_and_nothing_after_it(shop: Shop) -> None:
    shop.pauses["a"] = [5.0]
    shop.workers.add("a")
    shop.clock.until_parked(1)
    shop.hold("b", "c")
    shop.until(lambda: shop.under_way == {"b", "c"})
    shop.workers.add("b")
    shop.workers.end()
    shop.workers.add("d")
    shop.let_go("b", "c")
    shop.until_threads(0)
    assert sorted(shop.begun) == ["a", "b", "b", "c"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_work_that_breaks_is_told_takes_no_other_with_it_and_is_begun_again(shop: Shop) -> None:
    shop.hold("bad")
    shop.until(lambda: shop.under_way == {"bad"})
    shop.hold("b")
    shop.workers.add("c")
    shop.let_go("bad", "b")
    shop.until(lambda: shop.broken == 1 and {"b", "c"} <= set(shop.begun))
    assert shop.begun.count("bad") == 1
    shop.clock.until_parked(1)
    shop.clock.step(1.0)
    shop.until(lambda: shop.broken == 2)


def test_where_no_thread_can_be_started_the_work_is_done_when_one_can(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as short:
        short.setattr(threading.Thread, "start", refused)
        shop.workers.add("a")
    assert shop.begun == []
    shop.workers.staff()
    shop.until(lambda: shop.begun == ["a"])
