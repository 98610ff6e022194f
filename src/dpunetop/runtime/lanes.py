"""Fair queueing of keys: lanes take turns, and slow lanes leave workers for the others."""

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
    """Maps keys to lanes, so that no group of keys delays the others; by default all share one lane that is never slow.

    Both functions are called under the lock of the queue, so they must only touch memory.
    """

    of: Callable[[K], Hashable] = _one_lane
    """The lane of a key; it never changes."""
    is_slow: Callable[[Hashable], bool] = _never
    """Whether work of that lane currently keeps its worker waiting."""
    most_slow: int = sys.maxsize
    """Limit of keys of slow lanes in hand; at it, no further one is handed out."""
    relieved_from: int = sys.maxsize
    """Above this many keys of slow lanes in hand, each further worker is replaced for the other lanes."""


class LaneOrder(Generic[K]):
    """The queued keys in the order in which they are handed out.

    Guarantees: first in, first out within a lane; the first key of a lane below its limit waits for at most one key of
        each other lane, however many those have. Threads: one owner.
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
        """Hand out the next key; None if none may be handed out."""
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
        """Hand out the first of `keys` (none of them queued here) that may be handed out; None if none may."""
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
        """The index in `_turns` of the next lane below its limit. A lane at its limit keeps its place."""
        has_room = self._has_room()
        may_go = (turn for turn, lane in enumerate(self._turns) if has_room or not self._lanes.is_slow(lane))
        return next(may_go, None)
