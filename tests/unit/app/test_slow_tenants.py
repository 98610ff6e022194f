"""Some of 50 tenants let their callers wait: what others wait for, counted on a clock that stands still."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterable
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from dpunetop.app import wiring
from dpunetop.base.stop import Stop
from dpunetop.controllers.drain.hosts import Hosts
from dpunetop.controllers.inquiries import Inquiries
from dpunetop.controllers.reconciler import ConfigReconciler
from dpunetop.kube.keys import INFRA, Key
from dpunetop.runtime.controller import Controller
from dpunetop.runtime.lanes import Lanes
from dpunetop.runtime.latency import SLOW_SECONDS, Bulkhead, CallLatencies, Delayed
from dpunetop.runtime.metrics import Metrics
from dpunetop.runtime.workqueue import QueueState
from support.clock import FakeClock

TENANTS = 50
WORKERS = 16
KEYS_EACH = 9
"""More of all slow tenants together than any controller has workers."""


def kinds(kind: type = ConfigReconciler) -> list[type[Any]]:
    """All controllers of DpuClusterConfigs that there are."""
    subclasses: list[type[Any]] = kind.__subclasses__()
    below = [each for sub in subclasses for each in kinds(sub)]
    return below if inspect.isabstract(kind) else [kind, *below]


class Place:
    """The circuit and the lanes as they are wired, with some tenants of which a call is unanswered."""

    def __init__(self, open_: ExitStack, slow: int) -> None:
        self.clock = FakeClock()
        self.latencies = CallLatencies(self.clock)
        for number in range(slow):
            open_.enter_context(self.latencies.call(cluster(number)))
        self.clock.step(SLOW_SECONDS)

    def lanes(self, kind: type[Any]) -> Lanes[Key]:
        wired: Any = object.__new__(wiring._Wiring)
        wired._latencies = self.latencies
        wired._settings = SimpleNamespace(max_concurrent_reconciles=WORKERS)
        lanes: Lanes[Key] = wired._lanes(object.__new__(kind))
        return lanes


def cluster(number: int) -> str:
    return f"tenant/ns-{number}/one"


def keys(kind: type[Any], tenants: Iterable[int]) -> list[Key]:
    """Of a controller of configs one a tenant, of hosts several; of inquiries each tenant is a key."""
    if issubclass(kind, ConfigReconciler):
        return [Key(INFRA, f"ns-{number}", "one") for number in tenants]
    each = range(KEYS_EACH if kind is Hosts else 1)
    return [Key(cluster(number), "host", f"h{host}") for number in tenants for host in each]


@pytest.mark.parametrize("slow", [1, 5, 20])
@pytest.mark.parametrize("kind", [*filter(lambda kind: not inspect.isabstract(kind), kinds()), Inquiries])
def test_slow_tenants_hold_half_of_the_workers_of_a_controller_and_healthy_ones_come_next(
    kind: type[Any], slow: int
) -> None:
    with ExitStack() as open_:
        state = QueueState(Place(open_, slow).lanes(kind))
        for key in keys(kind, range(slow)):
            state.add(key, 0.0)
        held = 0
        while state.take(0.0) is not None:
            held += 1
        healthy = keys(kind, range(slow, TENANTS))
        for key in healthy:
            state.add(key, 0.0)
        taken = [state.take(0.0) for _ in healthy]
    assert held == min(slow, wiring.workers(kind, WORKERS) // 2)
    assert taken == [(key, 0.0) for key in healthy]


class Passes:
    """What passes of hosts do whose drains are wanted: a slow tenant answers no call before it is let go."""

    def __init__(self, place: Place) -> None:
        self.bulkhead = Bulkhead(WORKERS // 2, place.latencies.is_slow)
        self.let_go = threading.Event()
        self._is_slow = place.latencies.is_slow
        self._told = threading.Condition()  # guards the three below
        self.held, self.delayed, self.done = set[Key](), set[Key](), set[Key]()

    def reconcile(self, key: Key, stop: Stop) -> float | None:
        try:
            with self.bulkhead.visit() as visit:
                visit.call(key.cluster)
                if self._is_slow(key.cluster):
                    self._note(self.held, key)
                    assert self.let_go.wait(60)
        except Delayed:
            self._note(self.delayed, key)
            return 3.0
        self._note(self.done, key)
        return None

    def until(self, what: Any) -> None:
        with self._told:
            assert self._told.wait_for(what, 60)

    def _note(self, where: set[Key], key: Key) -> None:
        with self._told:
            where.add(key)
            self._told.notify_all()


@pytest.mark.parametrize("slow", [1, 5, 20])
def test_hosts_of_healthy_tenants_wait_for_nothing_while_drains_are_wanted_in_slow_ones(slow: int) -> None:
    with ExitStack() as open_:
        place, metrics, stop = Place(open_, slow), Metrics(), Stop()
        passes, log = Passes(place), structlog.get_logger().bind()
        lanes = place.lanes(Hosts)
        controller = Controller(
            "drain", passes, clock=place.clock, metrics=metrics, workers=WORKERS, logger=log, lanes=lanes
        )
        wanted, healthy = keys(Hosts, range(slow)), keys(Hosts, range(slow, TENANTS))
        running = threading.Thread(target=controller.run, args=(stop,))
        running.start()
        try:
            for key in wanted:
                controller.queue.add(key)
            passes.until(lambda: len(passes.held) + len(passes.delayed) == len(wanted))
            for key in healthy:
                controller.queue.add(key)
            passes.until(lambda: passes.done >= set(healthy))
            waited = metrics.registry.get_sample_value(
                "workqueue_queue_duration_seconds_sum", {"name": "drain", "controller": "drain"}
            )
        finally:
            passes.let_go.set()
            stop.set()
            running.join()
    assert len(passes.held) == WORKERS // 2
    assert waited == 0.0
