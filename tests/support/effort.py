"""How much a test does that could always do more: what the inner loop has time for, and several times that."""

from __future__ import annotations

import os

_EFFORT = int(os.environ.get("DPUNETOP_EFFORT", "1"))


def times(count: int) -> int:
    """`count` random walks or examples, times DPUNETOP_EFFORT: 1, in `make test-more` 8; the first are the same."""
    return count * _EFFORT
