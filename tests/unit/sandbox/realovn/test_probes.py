from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dpunetop.sandbox.realovn.clock import KubeletClock
from dpunetop.sandbox.realovn.podspec import ProbeSpec, ProbeType
from dpunetop.sandbox.realovn.probes import Prober


class Played:
    """A container whose probe gives the codes of a list, one after another; `told` is what followed."""

    def __init__(self, *codes: int, started: float = 0.0) -> None:
        self.spec = SimpleNamespace(name="c")
        self.clock = KubeletClock()
        self.codes = list(codes)
        self.told: list[Any] = []
        self.start(started)

    def start(self, started: float = 0.0) -> None:
        self.run: Any = SimpleNamespace(started=started, execute=lambda command, timeout: (self.codes.pop(0), "why"))

    def current(self) -> Any:
        return self.run

    def judge_ready(self, run: Any, ready: bool) -> None:
        self.told.append(ready)

    def judge_unhealthy(self, run: Any) -> None:
        self.told.append("unhealthy")


def prober(container: Any, question: ProbeType, successes: int = 1, failures: int = 3, delay: float = 0.0) -> Prober:
    return Prober(container, question, ProbeSpec(("probe",), delay, 10, 1, successes, failures))


def asked(container: Played, prober: Prober) -> list[Any]:
    while container.codes:
        prober.probe()
    return container.told


@pytest.mark.parametrize(
    ("codes", "told"),
    [
        ((0,), [True]),
        ((1, 1), []),
        ((1, 1, 1), [False]),
        ((1, 1, 0, 1, 1), [True]),
        ((0, 1, 1, 1, 0), [True, False, True]),
        ((1, 124, 2), [False]),
    ],
)
def test_readiness_changes_after_as_many_answers_in_a_row_as_the_probe_says(
    codes: tuple[int, ...], told: list[Any]
) -> None:
    container = Played(*codes)
    assert asked(container, prober(container, ProbeType.READINESS)) == told


def test_readiness_may_take_more_than_one_success() -> None:
    container = Played(0, 1, 0, 0)
    assert asked(container, prober(container, ProbeType.READINESS, successes=2)) == [True]


def test_a_container_that_is_not_alive_is_not_asked_again_before_its_next_start() -> None:
    container = Played(1, 1, 1, 1, 1)
    worker = prober(container, ProbeType.LIVENESS, failures=2)
    for _ in range(4):
        worker.probe()
    assert (container.told, len(container.codes)) == (["unhealthy"], 3)
    container.start()
    for _ in range(4):
        worker.probe()
    assert (container.told, len(container.codes)) == (["unhealthy", "unhealthy"], 1)


def test_a_container_is_not_asked_before_the_delay_is_over_nor_while_it_does_not_run() -> None:
    container = Played(0, started=float("inf"))
    worker = prober(container, ProbeType.READINESS, delay=5)
    worker.probe()
    container.run = None
    worker.probe()
    assert (container.told, worker.said) == ([], "not asked yet")
