"""Who is next of the keys that wait: lanes take turns, and those that are slow leave room for the others."""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


def _one_lane(_: Hashable) -> Hashable:
    return None


def _never(_: Hashable) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Lanes(Generic[K]):
    """How keys are told apart, so that no group of them has others wait; as it comes all are of one that is never slow.

    Both functions are called under the lock of the queue: they only touch memory.
    """

    of: Callable[[K], Hashable] = _one_lane
    """The lane of a key, always the same one."""
    is_slow: Callable[[Hashable], bool] = _never
    """Whether work of that lane keeps its worker waiting, as far as is known now."""
    most_slow: int = sys.maxsize
    """No key of a slow lane is handed out while so many of all slow lanes are in hand."""
    relieved_from: int = sys.maxsize
    """Beyond so many keys of slow lanes in hand, each of their workers is replaced for the other lanes."""


class LaneOrder(Generic[K]):
    """The keys that are queued, in the order in which they come out.

    Guarantees: of one lane the key that came first is first; the first key of a lane that may go on comes out after
        at most one key of each other lane, however many those have. Threads: one owner.
    """

    def __init__(self, lanes: Lanes[K]) -> None:
        # Invariant: _turns holds each lane of _queued exactly once, and none of these is empty.
        self._lanes = lanes
        self._queued: dict[Hashable, deque[K]] = {}
        self._turns: deque[Hashable] = deque()
        self._in_hand: Counter[Hashable] = Counter()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, key: K) -> None:
        """Queue `key`, which is not queued."""
        lane = self._lanes.of(key)
        if lane not in self._queued:
            self._queued[lane] = deque()
            self._turns.append(lane)
        self._queued[lane].append(key)
        self._count += 1

    def take(self) -> K | None:
        """Hand out the next key; None if there is none that may be."""
        turn = self._next_turn()
        if turn is None:
            return None
        lane = self._turns[turn]
        del self._turns[turn]
        waiting = self._queued[lane]
        key = waiting.popleft()
        if waiting:
            self._turns.append(lane)
        else:
            del self._queued[lane]
        self._in_hand[lane] += 1
        self._count -= 1
        return key

    def take_of(self, keys: Iterable[K]) -> K | None:
        """Hand out the first of `keys`, none of which is queued here, that may be; None if there is none."""
        has_room = self._has_room()
        for key in keys:
            lane = self._lanes.of(key)
            if has_room or not self._lanes.is_slow(lane):
                self._in_hand[lane] += 1
                return key
        return None

    def put_down(self, key: K) -> None:
        """`key` is no longer in hand."""
        lane = self._lanes.of(key)
        self._in_hand[lane] -= 1
        if not self._in_hand[lane]:
            del self._in_hand[lane]

    def slow_in_hand(self) -> int:
        """How many keys of slow lanes are in hand."""
        return sum(count for lane, count in self._in_hand.items() if self._lanes.is_slow(lane))

    def _has_room(self) -> bool:
        """Whether one more key of a slow lane may be handed out."""
        return self.slow_in_hand() < self._lanes.most_slow

    def _next_turn(self) -> int | None:
        """The place in `_turns` of the next lane that may go on. A lane that has to wait keeps its place."""
        has_room = self._has_room()
        may_go = (turn for turn, lane in enumerate(self._turns) if has_room or not self._lanes.is_slow(lane))
        return next(may_go, None)
