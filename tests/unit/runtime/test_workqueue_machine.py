"""H1: a work queue against a model that is too simple to be wrong."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dpunetop.base.stop import Stop
from dpunetop.runtime.flowcontrol import ItemBackoff
from dpunetop.runtime.metrics import Metrics
from dpunetop.runtime.workqueue import QueueState, WorkQueue
from support.clock import FakeClock

keys = st.sampled_from("abcd")
delays = st.sampled_from([0.0, 0.001, 0.5, 1.0, 1.5, 3.0])


class Model:
    """Lists and dicts, searched from end to end."""

    def __init__(self) -> None:
        self.now = 0.0
        self.queued: list[str] = []
        self.behind: list[str] = []
        self.in_hand: set[str] = set()
        self.dirty: list[str] = []
        self.waiting: list[tuple[float, int, str]] = []
        self.resting: dict[str, float] = {}
        self.failures: dict[str, int] = {}
        self.closed = False
        self.adds = self.retries = self.delays = 0

    def add(self, key: str) -> None:
        if self.closed or key in self.queued or key in self.dirty:
            return
        if key not in self.in_hand and self.rests(key):
            self.add_after(key, self.resting[key] - self.now)
            return
        self.adds += 1
        if key in self.in_hand:
            self.dirty.append(key)
        else:
            self.enqueue(key)

    def enqueue(self, key: str) -> None:
        self.queued.append(key)
        self.behind = [other for other in self.behind if other != key]

    def add_behind(self, key: str) -> None:
        known = {*self.queued, *self.behind, *self.in_hand}
        if not self.closed and key not in known and not self.rests(key):
            self.adds += 1
            self.behind.append(key)

    def rests(self, key: str) -> bool:
        return self.resting.get(key, 0.0) > self.now

    def add_after(self, key: str, seconds: float) -> None:
        if self.closed:
            return
        if seconds <= 0:
            self.add(key)
            return
        due = self.now + seconds
        if any(other == key and at <= due for at, _, other in self.waiting):
            return
        self.delays += 1
        self.waiting = [entry for entry in self.waiting if entry[2] != key] + [(due, self.delays, key)]

    def add_rate_limited(self, key: str) -> None:
        pause = min(1000.0, 0.005 * 2 ** self.failures.get(key, 0))
        self.failures[key] = self.failures.get(key, 0) + 1
        self.retries += 1
        self.add_after(key, pause)

    def promote(self) -> None:
        for entry in sorted(self.waiting):
            if entry[0] <= self.now:
                self.waiting.remove(entry)
                self.add(entry[2])

    def has_work(self) -> bool:
        due = [key for at, _, key in self.waiting if at <= self.now]
        return bool(self.queued or self.behind) or any(key not in self.in_hand and not self.rests(key) for key in due)

    def get(self) -> str | None:
        self.promote()
        if not self.queued and not self.behind:
            return None
        key = (self.queued or self.behind).pop(0)
        self.in_hand.add(key)
        return key

    def done(self, key: str, rest_seconds: float) -> None:
        self.in_hand.remove(key)
        if rest_seconds and not self.closed:
            self.resting[key] = self.now + rest_seconds
        if key not in self.dirty:
            return
        self.dirty.remove(key)
        if self.rests(key):
            self.add_after(key, self.resting[key] - self.now)
        else:
            self.enqueue(key)

    def close(self) -> None:
        self.closed = True
        self.behind.clear()
        self.resting.clear()
        self.waiting.clear()


class QueueMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.queue: WorkQueue[str] = WorkQueue(self.clock, self.metrics.workqueue("q"), ItemBackoff())
        self.stop = Stop(self.clock)
        self.model = Model()
        self.wanted: set[str] = set()  # added and not handed out since

    @rule(key=keys)
    def add(self, key: str) -> None:
        self.queue.add(key)
        self.model.add(key)
        if not self.model.closed:
            self.wanted.add(key)

    @rule(key=keys)
    def add_behind(self, key: str) -> None:
        self.queue.add_behind(key)
        self.model.add_behind(key)

    @rule(key=keys, seconds=delays)
    def add_after(self, key: str, seconds: float) -> None:
        self.queue.add_after(key, seconds)
        self.model.add_after(key, seconds)

    @rule(key=keys)
    def add_rate_limited(self, key: str) -> None:
        self.queue.add_rate_limited(key)
        self.model.add_rate_limited(key)

    @rule()
    def get(self) -> None:
        if not self.model.closed and not self.model.has_work():
            return  # it would wait
        expected = self.model.get()
        assert self.queue.get(self.stop) == expected
        self.wanted.discard(expected or "")

    @precondition(lambda self: self.model.in_hand)
    @rule(data=st.data(), rest_seconds=st.sampled_from([0.0, 0.0, 1.0, 2.0]))
    def done(self, data: st.DataObject, rest_seconds: float) -> None:
        key = data.draw(st.sampled_from(sorted(self.model.in_hand)))
        self.queue.done(key, rest_seconds)
        self.model.done(key, rest_seconds)

    @rule(key=keys)
    def forget(self, key: str) -> None:
        self.queue.forget(key)
        self.model.failures.pop(key, None)

    @rule(seconds=st.sampled_from([0.001, 0.5, 1.0, 10.0]))
    def tick(self, seconds: float) -> None:
        self.clock.step(seconds)
        self.model.now = self.clock.monotonic()

    @precondition(lambda self: self.model.adds > 10)
    @rule()
    def shut_down(self) -> None:
        self.queue.shut_down()
        self._closed()

    def _closed(self) -> None:
        self.model.close()
        self.wanted &= {*self.model.queued, *self.model.dirty}  # what rests is not waited for

    @invariant()
    def state_is_the_model_s(self) -> None:
        # Keys that are due are added by the next get; until then they count as waiting.
        queued = len(self.model.queued) + len(self.model.behind)
        waiting, in_hand = len(self.model.waiting), len(self.model.in_hand)
        state: QueueState[str] = self.queue._state
        assert len(self.queue) == queued
        assert sorted(state._in_hand) == sorted(self.model.in_hand)
        assert repr(self.queue) == f"<WorkQueue [{queued} queued, {waiting} waiting, {in_hand} in hand]>"

    @invariant()
    def no_add_is_lost(self) -> None:
        waiting = {key for _, _, key in self.model.waiting}
        assert self.wanted <= {*self.model.queued, *self.model.dirty, *waiting}

    @invariant()
    def metrics_are_the_model_s(self) -> None:
        assert self._shown("workqueue_depth", priority="") == len(self.model.queued) + len(self.model.behind)
        assert self._shown("workqueue_adds_total") == self.model.adds
        assert self._shown("workqueue_retries_total") == self.model.retries
        assert all(self.queue.retries(key) == self.model.failures.get(key, 0) for key in "abcd")

    def _shown(self, metric: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(metric, {"name": "q", "controller": "q", **labels})


TestQueue: Any = QueueMachine.TestCase
TestQueue.settings = settings(stateful_step_count=50)
