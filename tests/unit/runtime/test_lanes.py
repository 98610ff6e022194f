"""Lanes take turns, whatever the others do, and slow ones leave room: a work queue under arbitrary histories."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dpunetop.runtime.lanes import LaneOrder, Lanes
from dpunetop.runtime.workqueue import QueueState

MOST_SLOW = 2
LANES = "abcd"
names = st.sampled_from(LANES)
keys = st.tuples(names, st.integers(0, 5))


class LaneMachine(RuleBasedStateMachine):
    """Any number of workers, each of whom takes a key and gives it back at any time; lanes become slow and quick."""

    def __init__(self) -> None:
        super().__init__()
        self.slow: set[str] = set()
        lanes: Lanes[tuple[str, int]] = Lanes(lambda key: key[0], lambda lane: lane in self.slow, MOST_SLOW)
        self.state = QueueState(lanes)
        self.wanted: set[tuple[str, int]] = set()  # added, and not handed out since
        self.in_hand: set[tuple[str, int]] = set()
        self.passed: dict[str, Counter[str]] = {}  # of lanes with a key that may go: who was served since
        self.order: dict[str, list[tuple[str, int]]] = {lane: [] for lane in LANES}

    @rule(key=keys)
    def add(self, key: tuple[str, int]) -> None:
        self.state.add(key, 0.0)
        self.wanted.add(key)
        if key not in self.in_hand and key not in self.order[key[0]]:
            self.order[key[0]].append(key)
        self._note_waiting()

    @rule()
    def take(self) -> None:
        found = self.state.take(0.0)
        if found is None:
            assert not any(self._may_go(lane) for lane in LANES if self.order[lane])
            return
        key, _ = found
        assert key not in self.in_hand
        assert key == self.order[key[0]].pop(0)
        assert key[0] not in self.slow or self._slow_in_hand() < MOST_SLOW
        self.wanted.discard(key)
        self.in_hand.add(key)
        for lane, seen in self.passed.items():
            seen[key[0]] += lane != key[0]
        self.passed.pop(key[0], None)
        self._note_waiting()

    @precondition(lambda self: self.in_hand)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.in_hand)))
        self.in_hand.remove(key)
        if self.state.done(key, 0.0)[1]:
            self.order[key[0]].append(key)
        self._note_waiting()

    @rule(lane=names)
    def turns_slow(self, lane: str) -> None:
        self.slow.add(lane)
        self._note_waiting()

    @rule(lane=names)
    def turns_quick(self, lane: str) -> None:
        self.slow.discard(lane)
        self._note_waiting()

    def _may_go(self, lane: str) -> bool:
        return lane not in self.slow or self._slow_in_hand() < MOST_SLOW

    def _slow_in_hand(self) -> int:
        return sum(lane in self.slow for lane, _ in self.in_hand)

    def _note_waiting(self) -> None:
        waiting = {lane for lane in LANES if self.order[lane] and self._may_go(lane)}
        self.passed = {lane: self.passed.get(lane, Counter()) for lane in waiting}

    @invariant()
    def no_key_is_lost(self) -> None:
        queued = {key for order in self.order.values() for key in order}
        assert self.wanted <= queued | set(self.state._dirty)
        assert len(self.state) == len(queued)

    @invariant()
    def a_lane_that_may_go_waits_for_one_key_of_each_other_at_most(self) -> None:
        assert all(count <= 1 for seen in self.passed.values() for count in seen.values())

    @invariant()
    def slow_keys_in_hand_are_counted(self) -> None:
        assert self.state.slow_in_hand() == self._slow_in_hand()


TestLanes: Any = LaneMachine.TestCase
TestLanes.settings = settings(stateful_step_count=60)


@given(st.lists(keys, max_size=40, unique=True), st.integers(1, 20))
def test_an_idle_machine_lets_a_single_lane_use_all_workers_unless_it_is_slow(
    given_keys: list[tuple[str, int]], workers: int
) -> None:
    quick: LaneOrder[tuple[str, int]] = LaneOrder(Lanes(lambda _: "one", _never, MOST_SLOW))
    slow: LaneOrder[tuple[str, int]] = LaneOrder(Lanes(lambda _: "one", _always, MOST_SLOW))
    for key in given_keys:
        quick.append(key)
        slow.append(key)
    assert [quick.take() for _ in range(workers)] == [*given_keys[:workers], *[None] * (workers - len(given_keys))]
    assert sum(slow.take() is not None for _ in range(workers)) == min(workers, len(given_keys), MOST_SLOW)


def test_a_lane_waits_for_one_key_of_each_other_however_many_those_have() -> None:
    order: LaneOrder[tuple[str, int]] = LaneOrder(Lanes(lambda key: key[0]))
    for number in range(1000):
        order.append(("crowded", number))
        order.append(("busy", number))
    order.append(("late", 0))
    assert ("late", 0) in [order.take() for _ in range(3)]


def test_without_lanes_the_one_that_came_first_is_first() -> None:
    order: LaneOrder[int] = LaneOrder(Lanes())
    for number in range(100):
        order.append(number)
    assert [order.take() for _ in range(101)] == [*range(100), None]


@given(st.dictionaries(names, st.integers(1, 30), min_size=2))
def test_lanes_that_have_work_are_served_alike(counts: dict[str, int]) -> None:
    order: LaneOrder[tuple[str, int]] = LaneOrder(Lanes(lambda key: key[0]))
    for lane, count in counts.items():
        for number in range(count):
            order.append((lane, number))
    least = min(counts.values())
    served = Counter(key[0] for _ in range(least * len(counts)) if (key := order.take()) is not None)
    assert set(served.values()) == {least}


def _never(_: object) -> bool:
    return False


def _always(_: object) -> bool:
    return True
