"""A work queue with many hands on it, while the interpreter changes threads as often as it can."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from random import Random

import pytest

from dpunetop.base.clock import RealClock
from dpunetop.base.stop import Stop
from dpunetop.runtime.flowcontrol import ItemBackoff
from dpunetop.runtime.metrics import Metrics
from dpunetop.runtime.workqueue import WorkQueue

KEYS = [f"key-{n}" for n in range(20)]
SECONDS = 8.0
ENOUGH = 1000
"""Passes, however long they take."""
WORKERS = 32
PRODUCERS = 8


@pytest.fixture(autouse=True)
def hectic() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Churn:
    """Producers, and workers that check that they are alone with their key and see every add."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.stop = Stop()
        self.queue: WorkQueue[str] = WorkQueue(RealClock(), self.metrics.workqueue("q"), ItemBackoff(0.0001, 0.01))
        self.guard = {key: threading.Lock() for key in KEYS}  # held by the worker that has the key
        self.tally = threading.Lock()  # guards the fields below
        self.added = dict.fromkeys(KEYS, 0)
        self.seen = dict.fromkeys(KEYS, 0)
        self.passes = 0
        self.faults: list[str] = []

    def produce(self, seed: int, until: float) -> None:
        random = Random(seed)
        while time.monotonic() < until or self.passes <= ENOUGH:
            key = random.choice(KEYS)
            with self.tally:
                self.added[key] += 1
            match random.randrange(4):
                case 0:
                    self.queue.add_after(key, random.random() / 100)
                case 1:
                    self.queue.add_rate_limited(key)
                case _:
                    self.queue.add(key)

    def work(self) -> None:
        while (key := self.queue.get(self.stop)) is not None:
            if not self.guard[key].acquire(blocking=False):
                self.faults.append(f"{key} in two hands")
                return
            with self.tally:
                self.seen[key] = self.added[key]
                self.passes += 1
            if self.passes % 3:
                self.queue.forget(key)
            self.guard[key].release()
            self.queue.done(key)


def test_no_key_is_in_two_hands_and_no_add_is_lost() -> None:
    churn = Churn()
    until = time.monotonic() + SECONDS
    workers = [threading.Thread(target=churn.work, name=f"worker-{n}") for n in range(WORKERS)]
    producers = [
        threading.Thread(target=churn.produce, args=(n, until), name=f"producer-{n}") for n in range(PRODUCERS)
    ]
    for thread in workers + producers:
        thread.start()
    for thread in producers:
        thread.join()
    settled = threading.Event()
    while not settled.wait(0.05) and time.monotonic() < until + 120:
        if repr(churn.queue) == "<WorkQueue [0 queued, 0 waiting, 0 in hand]>":
            settled.set()
    churn.queue.shut_down()
    churn.stop.set()
    for thread in workers:
        thread.join()
    assert churn.faults == []
    assert settled.is_set()
    assert churn.seen == churn.added
    sys.stdout.write(f"{churn.passes} passes, {sum(churn.added.values())} adds in {SECONDS} s\n")
