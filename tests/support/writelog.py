"""Writes of undisturbed runs as they were recorded, in their order: how many there are, and which one opens a budget.

Crash tests kill the operator at each of them, or at some. `make record-writes` records them anew, from the runs that
the crash tests compare with; what has changed is then to be seen in the diff.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

_FOLDER = Path(__file__).parents[1] / "data" / "writes"
RECORDING = "DPUNETOP_RECORD_WRITES"
"""Set, the variable has `differences` write down what it is given."""


def recorded(run: str) -> tuple[str, ...]:
    """The writes of a run, one a line; none while the run has never been recorded."""
    file = _FOLDER / f"{run}.txt"
    return tuple(file.read_text().splitlines()) if file.exists() else ()


def differences(run: str, writes: Sequence[str], varies: Callable[[str], bool] = lambda _: False) -> list[str]:
    """Kinds of writes that only one of the two has, and how many more there are now than were recorded.

    `varies` names those of which a run has more or fewer, as others act sooner or later.
    """
    if os.environ.get(RECORDING):
        (_FOLDER / f"{run}.txt").write_text("".join(f"{write}\n" for write in writes))
    now, before = ([write for write in each if not varies(write)] for each in (writes, recorded(run)))
    found = [f"not recorded: {write}" for write in sorted({*now} - {*before})]
    found += [f"recorded only: {write}" for write in sorted({*before} - {*now})]
    return [*found, f"{len(now)} writes, {len(before)} recorded"] if found or len(now) > len(before) else []


def opening(writes: Sequence[str]) -> int:
    """The number, from 1, of the write that opens the budget: the first of it after the NodeMaintenance was marked."""
    of_maintenance = [number for number, write in enumerate(writes) if " nodemaintenances/" in write]
    marked = of_maintenance[1]  # the first one makes it
    return next(n for n, write in enumerate(writes, 1) if n > marked + 1 and " poddisruptionbudgets/" in write)
