"""The steps of a random world, and a trace of those in which something happened: what the worlds of drains and outages
share, whose servers and people differ."""

from __future__ import annotations

from collections.abc import Callable


class Traced:
    """Counts steps, and records the names of those in which something happened."""

    steps: int
    trace: list[str]

    def step(self, action: Callable[[], bool], name: str) -> bool:
        """Take one step; return whether anything happened. Its name stands before what it traced itself."""
        self.steps += 1
        before = len(self.trace)
        happened = action()
        if happened:
            self.trace.insert(before, f"{self.steps}: {name}")
        return happened
