"""What starts several parts leaves none of them running when one fails."""

from __future__ import annotations

import pytest

from dpunetop.sandbox.lifecycle import Composite


class Parts(Composite):
    def __init__(self, *, fails: bool) -> None:
        super().__init__()
        self.closed: list[str] = []
        self._fails = fails

    def _start(self) -> None:
        for name in ("first", "second"):
            self._open.callback(self.closed.append, name)
        if self._fails:
            raise TimeoutError("third")


def test_parts_are_closed_in_reverse_order_once() -> None:
    parts = Parts(fails=False)
    with parts:
        assert parts.closed == []
    parts.close()
    assert parts.closed == ["second", "first"]


def test_a_part_that_fails_to_start_closes_the_others_and_its_error_is_raised() -> None:
    parts = Parts(fails=True)
    with pytest.raises(TimeoutError, match="third"):
        parts.start()
    assert parts.closed == ["second", "first"]
