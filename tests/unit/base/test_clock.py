import threading
from datetime import UTC

from dpunetop.base.clock import RealClock
from support.clock import FakeClock


def test_the_real_clock_tells_utc_and_never_goes_back() -> None:
    clock = RealClock()
    first = clock.monotonic()
    assert clock.monotonic() >= first
    assert clock.now().tzinfo is UTC


def test_a_thread_that_works_uses_cpu_and_one_that_waits_does_not() -> None:
    clock, never = RealClock(), threading.Event()
    begun = clock.thread_cpu()
    never.wait(0.05)
    waited = clock.thread_cpu() - begun
    while clock.thread_cpu() - begun < 0.05:
        pass
    assert waited < 0.04


def test_waiting_ends_when_the_time_is_up() -> None:
    cond = threading.Condition()
    with cond:
        RealClock().wait(cond, 0.01)


def test_waiting_ends_when_told() -> None:
    cond, waiting = threading.Condition(), threading.Event()

    def wait() -> None:
        with cond:
            waiting.set()
            RealClock().wait(cond, None)

    thread = threading.Thread(target=wait)
    thread.start()
    assert waiting.wait(60)
    with cond:
        cond.notify_all()
    thread.join(60)
    assert not thread.is_alive()


def test_moving_the_fake_clock_wakes_the_waiting_threads() -> None:
    clock, cond = FakeClock(), threading.Condition()

    def wait() -> None:
        with cond:
            while clock.monotonic() < 5:
                clock.wait(cond, 5)

    thread = threading.Thread(target=wait)
    thread.start()
    clock.until_parked(1)
    clock.step(5)
    thread.join(60)
    assert not thread.is_alive()
    assert (clock.now() - FakeClock().now()).total_seconds() == 5
