import threading

import pytest

from dpunetop.base.stop import Stop
from support.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def stop(clock: FakeClock) -> Stop:
    return Stop(clock)


def test_it_is_set_once_and_stays_set(stop: Stop) -> None:
    assert (stop.is_set(), repr(stop)) == (False, "<Stop not set>")
    stop.set()
    stop.set()
    assert (stop.is_set(), repr(stop)) == (True, "<Stop set>")


def test_waiting_on_a_stop_that_is_set_returns_at_once(stop: Stop) -> None:
    stop.set()
    assert stop.wait(None)


def test_waiting_ends_when_it_is_set(stop: Stop, clock: FakeClock) -> None:
    said = []
    thread = threading.Thread(target=lambda: said.append(stop.wait(None)))
    thread.start()
    clock.until_parked(1)
    stop.set()
    thread.join(60)
    assert said == [True]


def test_waiting_ends_when_the_time_is_up(stop: Stop, clock: FakeClock) -> None:
    said = []
    thread = threading.Thread(target=lambda: said.append(stop.wait(5)))
    thread.start()
    clock.until_parked(1)
    clock.step(4)
    clock.until_parked(1)
    assert said == []
    clock.step(1)
    thread.join(60)
    assert said == [False]


@pytest.mark.parametrize("seconds", [0, -1])
def test_waiting_for_no_time_is_asking(stop: Stop, seconds: int) -> None:
    assert not stop.wait(seconds)


def test_each_callback_runs_once(stop: Stop) -> None:
    called = []
    stop.on_set(lambda: called.append("a"))
    stop.on_set(lambda: called.append("b"))
    stop.set()
    stop.set()
    assert called == ["a", "b"]


def test_a_callback_that_comes_late_runs_at_once(stop: Stop) -> None:
    called = []
    stop.set()
    stop.on_set(lambda: called.append("late"))()
    assert called == ["late"]


def test_a_callback_that_is_taken_back_does_not_run(stop: Stop) -> None:
    called = []
    forget = stop.on_set(lambda: called.append("a"))
    stop.on_set(lambda: called.append("b"))
    forget()
    forget()
    stop.set()
    assert called == ["b"]


def test_callbacks_run_without_the_lock_held(stop: Stop) -> None:
    def nested() -> None:
        stop.on_set(lambda: None)

    stop.on_set(nested)
    stop.set()
    assert stop.is_set()


def test_a_child_is_set_with_its_parent(stop: Stop) -> None:
    child = stop.child()
    stop.set()
    assert child.is_set()


def test_a_child_of_a_stop_that_is_set_is_set(stop: Stop) -> None:
    stop.set()
    assert stop.child().is_set()


def test_a_parent_is_not_set_with_its_child_and_forgets_it(stop: Stop) -> None:
    child = stop.child()
    child.set()
    assert not stop.is_set()
    assert stop._callbacks == {}


def test_many_who_set_it_at_once_run_its_callbacks_once(stop: Stop) -> None:
    called = []
    stop.on_set(lambda: called.append(1))
    start = threading.Barrier(8)

    def set_it() -> None:
        start.wait(60)
        stop.set()

    threads = [threading.Thread(target=set_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert called == [1]


def test_a_child_is_set_before_the_first_callback_of_its_parent_runs(stop: Stop) -> None:
    seen = []
    stop.on_set(lambda: seen.append(child.is_set()))
    child = stop.child()
    stop.set()
    assert seen == [True]
