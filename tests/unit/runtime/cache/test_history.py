from __future__ import annotations

from dpunetop.runtime.cache.history import History


def test_a_history_turns_once_for_all_who_read_in_the_same() -> None:
    turns: list[int] = []
    history = History(lambda: turns.append(history.number))
    history.turn(0)
    history.turn(0)
    assert (history.number, turns) == (1, [1])
    history.turn(1)
    assert (history.number, turns) == (2, [1, 2])
